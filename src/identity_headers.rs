//! From an identity to the headers that tell the app who it is.
//!
//! Promise: one claim is one header value, whatever the provider sent: no value has a control character, no list
//! entry can pass for two, and a value that is too long is a failure with a name rather than a broken request.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use memchr::memchr2;
use serde_json::Value;

use crate::config::model::{HeaderRule, Headers, ListEncoding, TextEncoding};
use crate::identity::{self, Identity};
use crate::reason::{Failure, Reason};

/// The compiled header rules of a configuration.
pub struct IdentityHeaders {
    rules: Vec<Rule>,
    max_bytes: usize,
}

struct Rule {
    name: HeaderName,
    source: Source,
    text: TextEncoding,
    lists: ListEncoding,
}

/// Where a header's value comes from.
enum Source {
    User,
    Subject,
    Email,
    PreferredUsername,
    Name,
    Groups,
    Claim(String),
}

impl Source {
    fn of(claim: &str) -> Self {
        match claim {
            "user" => Source::User,
            "sub" => Source::Subject,
            "email" => Source::Email,
            "preferred_username" => Source::PreferredUsername,
            "name" => Source::Name,
            "groups" => Source::Groups,
            path => Source::Claim(path.to_owned()),
        }
    }
}

/// Headers that are sent unless `headers.standard = false`, and the claim each one carries.
pub const STANDARD_HEADERS: [(HeaderName, &str); 4] = [
    (HeaderName::from_static("x-forwarded-user"), "user"),
    (HeaderName::from_static("x-forwarded-email"), "email"),
    (HeaderName::from_static("x-forwarded-preferred-username"), "preferred_username"),
    (HeaderName::from_static("x-forwarded-groups"), "groups"),
];

impl IdentityHeaders {
    pub fn new(settings: &Headers) -> Self {
        let standard = STANDARD_HEADERS.into_iter().filter(|_| settings.standard).map(|(name, claim)| Rule {
            name,
            source: Source::of(claim),
            text: settings.text,
            lists: settings.lists,
        });
        let configured = settings.set.iter().map(|rule: &HeaderRule| Rule {
            name: rule.name.0.clone(),
            source: Source::of(&rule.claim),
            text: rule.text.unwrap_or(settings.text),
            lists: rule.lists.unwrap_or(settings.lists),
        });
        IdentityHeaders { rules: standard.chain(configured).collect(), max_bytes: settings.max_value_bytes.0 }
    }

    /// Names of all headers that are written here.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.rules.iter().map(|rule| rule.name.as_str())
    }

    /// The headers for `identity`; a claim it does not have makes none.
    pub fn of(&self, identity: &Identity) -> Result<Vec<(HeaderName, HeaderValue)>, Failure> {
        let mut headers = Vec::with_capacity(self.rules.len());
        for rule in &self.rules {
            let Some(text) = rule.text_of(identity) else { continue };
            if text.len() > self.max_bytes {
                let detail = format!(
                    "{} would have {} bytes; headers.max_value_bytes is {}",
                    rule.name,
                    text.len(),
                    self.max_bytes
                );
                return Err(Failure::new(Reason::IdentityTooLarge, detail));
            }
            // White space at the ends is no part of a field's value (RFC 9110 §5.5): the app would read another text.
            if text.starts_with(char::is_whitespace) || text.ends_with(char::is_whitespace) {
                let detail = format!("white space at an end of what {} carries", rule.name);
                return Err(Failure::new(Reason::ClaimMalformed, detail));
            }
            let value = HeaderValue::from_maybe_shared(Bytes::from(text)).map_err(|_| {
                Failure::new(Reason::ClaimMalformed, format!("a control character in what {} carries", rule.name))
            })?;
            headers.push((rule.name.clone(), value));
        }
        Ok(headers)
    }
}

impl Rule {
    fn text_of(&self, identity: &Identity) -> Option<String> {
        match &self.source {
            Source::User => Some(self.encode(&identity.user)),
            Source::Subject => Some(self.encode(&identity.subject)),
            Source::Email => identity.email.as_deref().map(|text| self.encode(text)),
            Source::PreferredUsername => identity.preferred_username.as_deref().map(|text| self.encode(text)),
            Source::Name => identity.name.as_deref().map(|text| self.encode(text)),
            Source::Groups => identity.groups.as_deref().map(|groups| self.encode_list(groups)),
            Source::Claim(path) => match identity.claims.at(path)? {
                list @ Value::Array(_) => Some(self.encode_list(&identity::strings(list))),
                object @ Value::Object(_) => Some(self.encode(&object.to_string())),
                value => identity::scalar(value).map(|text| self.encode(&text)),
            },
        }
    }

    fn encode(&self, text: &str) -> String {
        match self.text {
            TextEncoding::Utf8 => text.to_owned(),
            TextEncoding::Percent => escape(text, |c| !c.is_ascii() || c == '%' || c.is_ascii_control()),
            TextEncoding::Base64 => STANDARD.encode(text),
        }
    }

    fn encode_list(&self, items: &[String]) -> String {
        match self.lists {
            // Escaping `%` as well keeps `a%2Cb` and `a,b` apart.
            ListEncoding::Comma => {
                let mut list = String::with_capacity(items.iter().map(|item| item.len() + 1).sum());
                for (place, item) in items.iter().enumerate() {
                    if place > 0 {
                        list.push(',');
                    }
                    push_entry(&mut list, item);
                }
                match self.text {
                    TextEncoding::Utf8 => list,
                    TextEncoding::Percent => escape(&list, |c| !c.is_ascii() || c.is_ascii_control()),
                    TextEncoding::Base64 => self.encode(&list),
                }
            }
            ListEncoding::Json => self.encode(&ascii_json(items)),
        }
    }
}

/// One entry of a list: escaped where it could pass for two, or, with white space at its ends, for another.
fn push_entry(list: &mut String, item: &str) {
    let core = item.trim();
    if core.len() == item.len() && memchr2(b',', b'%', item.as_bytes()).is_none() {
        return list.push_str(item);
    }
    let start = item.len() - item.trim_start().len();
    list.push_str(&escape(&item[..start], |_| true));
    list.push_str(&escape(core, |c| matches!(c, ',' | '%')));
    list.push_str(&escape(&item[start + core.len()..], |_| true));
}

/// `text` with each character that `must` names percent-encoded as UTF-8 (RFC 3986 §2.1).
fn escape(text: &str, must: impl Fn(char) -> bool) -> String {
    use std::fmt::Write;
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if must(c) {
            let mut bytes = [0; 4];
            for byte in c.encode_utf8(&mut bytes).bytes() {
                let _ = write!(out, "%{byte:02X}");
            }
        } else {
            out.push(c);
        }
    }
    out
}

/// A JSON array of strings in ASCII: header values outside it are read as Latin-1 by many apps.
fn ascii_json(items: &[String]) -> String {
    use std::fmt::Write;
    let json = serde_json::to_string(items).unwrap_or_default();
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        if c.is_ascii() && c != '\u{7f}' {
            out.push(c);
        } else {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                let _ = write!(out, "\\u{unit:04x}");
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Claims;

    fn identity(groups: &[&str]) -> Identity {
        let claims = serde_json::from_str(r#"{"a":{"b":["x","y"]},"n":7,"o":{"k":true}}"#).expect("json");
        Identity {
            provider: "main".into(),
            subject: "s1".into(),
            user: "zoë".into(),
            email: Some("zoe@example.com".into()),
            email_verified: None,
            preferred_username: None,
            name: Some("Zoë 漢".into()),
            groups: Some(groups.iter().map(|g| g.to_string()).collect()),
            claims: Claims(claims),
        }
    }

    fn header(claim: &str, text: TextEncoding, lists: ListEncoding, who: &Identity) -> Option<Result<String, Reason>> {
        let name = "X-Test".parse().expect("name");
        let set = vec![HeaderRule { name, claim: claim.into(), text: Some(text), lists: Some(lists) }];
        let headers = IdentityHeaders::new(&Headers { standard: false, set, ..Headers::default() });
        match headers.of(who) {
            Ok(all) => all.first().map(|(_, v)| Ok(String::from_utf8(v.as_bytes().to_vec()).expect("utf-8"))),
            Err(failure) => Some(Err(failure.reason)),
        }
    }

    #[test]
    fn white_space_at_an_end_makes_nobody_somebody_else() {
        let comma = |groups: &[&str]| {
            header("groups", TextEncoding::Utf8, ListEncoding::Comma, &identity(groups))
                .expect("a header")
                .expect("good")
        };
        assert_eq!(comma(&[" admins", "a b", "x\u{a0}", "  "]), "%20admins,a b,x%C2%A0,%20%20");
        for user in [" admin", "admin ", "\u{a0}admin", "admin\u{3000}"] {
            let who = Identity { user: user.into(), ..identity(&[]) };
            let sent = header("user", TextEncoding::Utf8, ListEncoding::Comma, &who).expect("an answer");
            assert_eq!(sent, Err(Reason::ClaimMalformed), "{user:?}");
        }
    }

    #[test]
    fn one_claim_is_one_value_in_each_encoding() {
        use {ListEncoding::*, TextEncoding::*};
        let who = identity(&["a", "b,c", "50%", "ü"]);
        for (claim, text, lists, expected) in [
            ("user", Utf8, Comma, "zoë"),
            ("user", Percent, Comma, "zo%C3%AB"),
            ("user", Base64, Comma, "em/Dqw=="),
            ("groups", Utf8, Comma, "a,b%2Cc,50%25,ü"),
            ("groups", Percent, Comma, "a,b%2Cc,50%25,%C3%BC"),
            ("groups", Utf8, Json, r#"["a","b,c","50%","\u00fc"]"#),
            ("a.b", Utf8, Comma, "x,y"),
            ("n", Utf8, Comma, "7"),
            ("o", Utf8, Comma, r#"{"k":true}"#),
            ("sub", Utf8, Comma, "s1"),
            ("name", Percent, Comma, "Zo%C3%AB %E6%BC%A2"),
        ] {
            assert_eq!(header(claim, text, lists, &who), Some(Ok(expected.into())), "{claim} {text:?} {lists:?}");
        }
        assert_eq!(header("preferred_username", Utf8, Comma, &who), None);
        assert_eq!(header("absent", Utf8, Comma, &who), None);
    }

    #[test]
    fn a_value_that_breaks_a_header_is_a_failure_with_a_name() {
        use {ListEncoding::*, TextEncoding::*};
        assert_eq!(header("groups", Utf8, Comma, &identity(&["a\r\nX-Evil: 1"])), Some(Err(Reason::ClaimMalformed)));
        assert_eq!(header("groups", Utf8, Comma, &identity(&["g"; 10_000])), Some(Err(Reason::IdentityTooLarge)));
        assert_eq!(
            header("groups", Utf8, Comma, &identity(&[&"g".repeat(10_000)])),
            Some(Err(Reason::IdentityTooLarge))
        );
    }
}
