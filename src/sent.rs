//! What was sent to somebody who may quote it: servers tell of a request that they refuse by repeating it, with its secrets.
//!
//! Promise: where their words become ours (a log line, a page, a report), the values that went out with the request are not
//! among them, however a request spells them.

use std::borrow::Cow;
use std::collections::HashSet;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use url::form_urlencoded;

use crate::config::values::MASK;
use crate::reason::Failure;
use crate::spellings::spellings;

/// Shorter ones are looked for as words of their own, since they stand in words that mean something else.
const LONG: usize = 6;
/// Shorter ones are nobody's secret.
const SHORTEST: usize = 4;
/// So many bytes of a value in a row tell enough of it.
const PART: usize = 10;
/// Of shorter values no part is looked for: it might be a word.
const WITH_PARTS: usize = 16;

/// Values that went out with a request and are nobody else's business. Has no `Debug`.
#[derive(Clone, Default)]
pub struct Sent {
    values: Vec<String>,
}

impl Sent {
    pub fn new<'v>(values: impl IntoIterator<Item = &'v str>) -> Sent {
        let mut sent = Sent::default();
        values.into_iter().for_each(|value| sent.add(value));
        sent
    }

    pub fn add(&mut self, value: &str) {
        if value.len() >= SHORTEST {
            self.values.push(value.to_owned());
        }
    }

    /// The value of an `Authorization` header with id and secret (RFC 6749 §2.3.1), and what is in it.
    pub fn add_basic(&mut self, header: &str) {
        let value = header.strip_prefix("Basic ").unwrap_or(header);
        self.add(value);
        self.add(value.trim_end_matches('='));
        let pair = STANDARD.decode(value).ok().and_then(|pair| String::from_utf8(pair).ok());
        let Some((id, secret)) = pair.as_deref().and_then(|pair| pair.split_once(':')) else { return };
        self.add(secret);
        let decoded = |text: &str| form_urlencoded::parse(text.as_bytes()).next().map(|(text, _)| text.into_owned());
        if let (Some(id), Some(secret)) = (decoded(id), decoded(secret)) {
            // As others write it, who leave the encoding out.
            let plain = format!("{id}:{secret}");
            self.add(&STANDARD.encode(&plain));
            self.add(&STANDARD_NO_PAD.encode(&plain));
            self.add(&secret);
        }
    }

    /// `text` with masks for what was sent.
    pub fn without(&self, text: &str) -> String {
        let mut text = Cow::Borrowed(text);
        for spelling in spellings(self.values.iter().map(String::as_str), SHORTEST) {
            if text.contains(&spelling) {
                text = replaced(&text, &spelling).into();
            }
        }
        let text = self.without_parts(&text);
        // Spelled in some other way, of which nothing can be cut out.
        let decoded = unescaped(&text);
        let hidden = |value: &String| value.len() >= LONG && decoded.contains(value.as_str());
        match decoded != text && self.values.iter().any(hidden) {
            true => MASK.to_owned(),
            false => text,
        }
    }

    /// `text` with masks for parts of what was sent, in large or small letters: some cut short what they quote.
    fn without_parts(&self, text: &str) -> String {
        let long = self.values.iter().filter(|value| value.len() >= WITH_PARTS);
        let long: Vec<String> = long.map(|value| value.to_ascii_lowercase()).collect();
        let parts: HashSet<&[u8]> = long.iter().flat_map(|value| value.as_bytes().windows(PART)).collect();
        let lower = text.to_ascii_lowercase();
        let (mut out, mut shown) = (String::with_capacity(text.len()), 0);
        for (at, part) in lower.as_bytes().windows(PART).enumerate() {
            if !parts.contains(part) {
                continue;
            }
            let end = (at + PART..text.len()).find(|end| text.is_char_boundary(*end)).unwrap_or(text.len());
            if at >= shown {
                let start = (shown..=at).rev().find(|start| text.is_char_boundary(*start)).unwrap_or(shown);
                out.push_str(&text[shown..start]);
                if !out.ends_with(MASK) || at > shown {
                    out.push_str(MASK);
                }
            }
            shown = shown.max(end);
        }
        out.push_str(&text[shown..]);
        out
    }

    /// `failure` with a detail that does not quote what was sent.
    pub fn cleaned(&self, mut failure: Failure) -> Failure {
        failure.detail = self.without(&failure.detail);
        failure
    }
}

/// Percent escapes undone, up to three times, as where a request is quoted in an address.
fn unescaped(text: &str) -> String {
    let mut text = text.to_owned();
    for _ in 0..3 {
        // No name and no value, so that `&` and `=` divide nothing.
        let decoded = percent_decoded(&text);
        if decoded == text {
            break;
        }
        text = decoded;
    }
    text
}

fn percent_decoded(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let hex = bytes.get(at + 1..at + 3).filter(|_| *byte == b'%');
        let escaped = hex.and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        out.push(escaped.unwrap_or(*byte));
        at += if escaped.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn replaced(text: &str, spelling: &str) -> String {
    if spelling.len() >= LONG {
        return text.replace(spelling, MASK);
    }
    let mut out = String::with_capacity(text.len());
    let mut last = 0;
    for (at, found) in text.match_indices(spelling) {
        let end = at + found.len();
        let part_of_word = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
        if part_of_word(text[..at].chars().next_back()) || part_of_word(text[end..].chars().next()) {
            continue;
        }
        out.push_str(&text[last..at]);
        out.push_str(MASK);
        last = end;
    }
    out.push_str(&text[last..]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sent_is_not_quoted_in_any_spelling_of_a_request() {
        let secret = "s3cret/with+signs & \"quotes\"";
        let mut sent = Sent::new(["the-c0de-of-anna", "abcd"]);
        let pair = format!("app:{}", form_urlencoded::byte_serialize(secret.as_bytes()).collect::<String>());
        sent.add_basic(&format!("Basic {}", STANDARD.encode(pair)));
        let form = form_urlencoded::Serializer::new(String::new()).append_pair("client_secret", secret).finish();
        let twice = form_urlencoded::byte_serialize(form.as_bytes()).collect::<String>();
        for said in [
            format!("bad client_secret={secret}!"),
            format!("bad {form}"),
            format!("bad {}", form.to_lowercase()),
            format!("bad {}", form.replace('+', "%20")),
            format!("bad {twice}"),
            format!("bad {}", serde_json::json!({ "client_secret": secret })),
            format!("bad Authorization: Basic {}", STANDARD.encode(format!("app:{secret}"))),
            "bad code=the-c0de-of-anna&x".to_owned(),
            "bad code=abcd&x".to_owned(),
        ] {
            let told = sent.without(&said);
            assert!(told.contains(MASK), "{said}: {told}");
            for part in ["s3cret", "signs", "c0de", "abcd", "czNjcmV0"] {
                assert!(!told.contains(part), "{said}: {told}");
            }
        }
        for said in [
            format!("bad secret `{}...`", &secret[..12]),
            format!("BAD SECRET {}", secret.to_uppercase()),
            format!("bad secret ends in {}", &secret[secret.len() - 11..]),
            format!("bad {}", secret.bytes().map(|byte| format!("{byte:02x}")).collect::<String>()),
            "ümläut the-c0de-of-än, the-c0de-of-annä".to_owned(),
        ] {
            let told = sent.without(&said);
            assert!(told.contains(MASK) && !told.contains("s3cret") && !told.contains("uotes"), "{said}: {told}");
            assert!(!told.contains("733363726574") && !told.to_lowercase().contains("s3cret"), "{said}: {told}");
        }
        assert_eq!(sent.without("x the-c0de-of-annathe-c0de-of-anna y"), format!("x {MASK}{MASK} y"));
        assert_eq!(sent.without("x c0de-of-anna y c0de-of-anna"), format!("x {MASK} y {MASK}"));
        for kept in ["Invalid client secret provided.", "abcde is 100% unknown", "%zz %"] {
            assert_eq!(sent.without(kept), kept);
        }
    }
}
