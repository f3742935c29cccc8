//! What tells the doctor that an address leads to this gateway: an answer that only who has the secret can give.
//!
//! Promise: the answer says nothing but that. Whoever asks sends a value of one length in one form, and gets an HMAC
//! (RFC 2104) of it by keys for this purpose alone; neither versions, settings nor names are in it.

use std::fmt::Write;

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use ring::hmac;
use serde_json::{Value, json};
use url::Url;

use super::{Answer, Outcome, Visit};
use crate::config::model::{Settings, own_issuer};
use crate::config::values::Secret;
use crate::keys;
use crate::reason::{Failure, Reason};

/// Where it is asked, with [`VALUE`] in the query.
pub const ADDRESS: &str = "/.well-known/doorward";
/// The parameter with the value.
pub const VALUE: &str = "probe";
/// Digits of the value, hexadecimal and small.
const DIGITS: usize = 64;

/// What answers; nothing where there is no secret.
pub struct Reached {
    mark: Mark,
}

/// What can be said with one secret at one public URL.
struct Mark {
    key: hmac::Key,
    public_url: String,
}

impl Mark {
    fn new(secret: &Secret, public_url: &Url) -> Option<Mark> {
        let key = keys::derive(secret, b"reached by the public URL")?;
        Some(Mark { key: hmac::Key::new(hmac::HMAC_SHA256, &*key), public_url: own_issuer(public_url) })
    }

    /// By the secret alone, and by the secret and the public URL.
    fn of(&self, value: &str) -> (String, String) {
        let hex = |text: String| {
            let tag = hmac::sign(&self.key, text.as_bytes());
            tag.as_ref().iter().fold(String::new(), |mut text, byte| {
                let _ = write!(text, "{byte:02x}");
                text
            })
        };
        (hex(value.to_owned()), hex(format!("{value} {}", self.public_url)))
    }
}

impl Reached {
    pub fn new(settings: &Settings) -> Option<Reached> {
        let mark = settings.secrets.first().and_then(|secret| Mark::new(secret, &settings.public_url));
        mark.map(|mark| Reached { mark })
    }

    /// The answer to `visit`, which asks at [`ADDRESS`].
    pub(super) fn answer(&self, visit: &Visit<'_>) -> Result<Answer, Failure> {
        let value = visit.parameter(VALUE)?.filter(|value| is_value(value));
        let value = value.ok_or_else(|| Failure::new(Reason::NoRoute, "no value to answer to"))?;
        let (secret, gateway) = self.mark.of(&value);
        let headers = vec![
            (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
            (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
            (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        ];
        let body = Bytes::from(json!({ "secret": secret, "gateway": gateway }).to_string());
        Ok(Answer { status: StatusCode::OK, headers, body, outcome: Outcome::Own, user: None })
    }
}

fn is_value(text: &str) -> bool {
    text.len() == DIGITS && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// Whose answer it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// This gateway's, or one with the same configuration.
    Ours,
    /// That of a gateway with one of our secrets and another public URL.
    OtherUrl,
    /// That of a gateway with another secret.
    OtherSecret,
    /// No gateway's.
    Nobodys,
}

/// Whose the answer `body` to `value` is, by the secrets of `settings`.
pub fn whose(settings: &Settings, value: &str, body: &[u8]) -> Whose {
    let Ok(body) = serde_json::from_slice::<Value>(body) else { return Whose::Nobodys };
    let said = |name: &str| body[name].as_str().filter(|text| is_value(text));
    let (Some(secret), Some(gateway)) = (said("secret"), said("gateway")) else { return Whose::Nobodys };
    let marks = settings.secrets.iter().filter_map(|secret| Mark::new(secret, &settings.public_url));
    for expected in marks.map(|mark| mark.of(value)) {
        match (secret == expected.0, gateway == expected.1) {
            (true, true) => return Whose::Ours,
            (true, false) => return Whose::OtherUrl,
            _ => {}
        }
    }
    Whose::OtherSecret
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(public_url: &str, secrets: &str) -> Settings {
        toml::from_str(&format!("public_url = '{public_url}'\nsecrets = [{secrets}]")).expect("toml")
    }

    fn asked(settings: &Settings, value: &str) -> Vec<u8> {
        let (secret, gateway) = Reached::new(settings).expect("a secret").mark.of(value);
        json!({ "secret": secret, "gateway": gateway }).to_string().into_bytes()
    }

    #[test]
    fn an_answer_tells_this_gateway_from_others() {
        let value = "0123456789abcdef".repeat(4);
        let own = settings("https://a.example/", "'one'");
        let rolled = settings("https://a.example", "'two', 'one'");
        assert_eq!(whose(&own, &value, &asked(&own, &value)), Whose::Ours);
        // The newest secret answers, and every one is tried.
        assert_eq!(whose(&rolled, &value, &asked(&own, &value)), Whose::Ours);
        assert_eq!(whose(&own, &value, &asked(&settings("https://b.example", "'one'"), &value)), Whose::OtherUrl);
        assert_eq!(whose(&own, &value, &asked(&settings("https://a.example", "'x'"), &value)), Whose::OtherSecret);
        let other = "f".repeat(64);
        assert_eq!(whose(&own, &value, &asked(&own, &other)), Whose::OtherSecret, "an answer counts once");
        for body in ["", "{}", "<html>", r#"{"secret":"x","gateway":"y"}"#] {
            assert_eq!(whose(&own, &value, body.as_bytes()), Whose::Nobodys, "{body}");
        }
        assert!(Reached::new(&settings("https://a.example", "")).is_none());
    }

    #[test]
    fn only_one_form_of_value_is_answered() {
        for text in ["", "abc", &"A".repeat(64), &"g".repeat(64), &"a".repeat(65), &"é".repeat(32)] {
            assert!(!is_value(text), "{text}");
        }
        assert!(is_value(&"a1".repeat(32)));
    }
}
