//! The last look at what leaves the console: no secret is in it, whoever put it there.
//!
//! Settings are masked where they are shown. But a provider may quote the client secret in what it says of a failure, and
//! somebody may have typed a secret into an address; such a text is kept longer than the secret is in force.

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::config::values::{MASK, Secret};

/// Shorter ones would be found in words that mean something else.
const SHORTEST: usize = 6;
/// What RFC 3986 §2.3 leaves as it is.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// `body` without any of `secrets`, as they are written in text, HTML, JSON, addresses, forms and base64.
pub(super) fn without<'s>(body: Vec<u8>, secrets: impl IntoIterator<Item = &'s Secret>) -> Vec<u8> {
    let mut text = match String::from_utf8(body) {
        Ok(text) => text,
        // Nothing that is not text is answered.
        Err(bytes) => return bytes.into_bytes(),
    };
    let known = secrets.into_iter().map(Secret::expose).filter(|secret| secret.len() >= SHORTEST);
    let mut spellings: Vec<String> = known.flat_map(spellings).filter(|one| one.len() >= SHORTEST).collect();
    // The longest first: one secret may be in another.
    spellings.sort_unstable_by(|a, b| b.len().cmp(&a.len()).then(a.cmp(b)));
    spellings.dedup();
    for spelling in spellings {
        if text.contains(&spelling) {
            text = text.replace(&spelling, MASK);
        }
    }
    text.into_bytes()
}

/// How `secret` may be written.
fn spellings(secret: &str) -> Vec<String> {
    let form: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
    let strict = utf8_percent_encode(secret, NON_ALPHANUMERIC).to_string();
    let encoded = [&*form, &strict, &utf8_percent_encode(secret, UNRESERVED).to_string()].map(str::to_owned);
    let json = serde_json::Value::from(secret).to_string();
    let json = json.strip_prefix('"').and_then(|json| json.strip_suffix('"')).unwrap_or(&json);
    let mut all = vec![secret.to_owned(), json.to_owned(), html(secret), html(json)];
    all.extend(encoded.iter().map(|one| in_small_digits(one)));
    all.extend(encoded);
    // RFC 6749 §2.3.1 encodes the parts before HTTP Basic does.
    all.extend([secret, &form].into_iter().flat_map(in_base64));
    all
}

fn html(text: &str) -> String {
    text.chars().fold(String::new(), |mut html, c| {
        match c {
            '&' | '<' | '>' | '"' | '\'' => html.push_str(&format!("&#{};", c as u32)),
            c => html.push(c),
        }
        html
    })
}

/// `%2F` as `%2f`.
fn in_small_digits(encoded: &str) -> String {
    let mut digits = 0u8;
    let small = |c: char| {
        let is_digit = digits > 0;
        digits = if c == '%' { 2 } else { digits.saturating_sub(1) };
        if is_digit { c.to_ascii_lowercase() } else { c }
    };
    encoded.chars().map(small).collect()
}

/// What of `secret` is the same wherever in a text it stood that was encoded, by both alphabets.
fn in_base64(secret: &str) -> Vec<String> {
    let at = |offset: usize| {
        let encoded = STANDARD_NO_PAD.encode([&vec![0; offset], secret.as_bytes()].concat());
        let (start, end) = ((offset * 8).div_ceil(6), (offset + secret.len()) * 8 / 6);
        encoded.get(start..end).unwrap_or_default().to_owned()
    };
    let plain = (0..3).map(at);
    plain.flat_map(|one| [one.replace('+', "-").replace('/', "_"), one]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(said: &str, secrets: &[&str]) -> String {
        let secrets: Vec<Secret> = secrets.iter().map(|secret| Secret::new(*secret)).collect();
        String::from_utf8(without(said.into(), &secrets)).expect("text")
    }

    #[test]
    fn a_secret_is_not_told_in_any_spelling() {
        let secrets = ["one & \"two\" of <thirty-two> letters", "hunter2hunter2"];
        let said = "it said: hunter2hunter2, one &#38; &#34;two&#34; of &#60;thirty-two&#62; letters, one & \\\"two\\\" of <thirty-two> letters";
        assert_eq!(told(said, &secrets), format!("it said: {MASK}, {MASK}, {MASK}"));
        for said in
            ["one+%26+%22two%22+of+%3Cthirty-two%3E+letters", "one%20%26%20%22two%22%20of%20%3cthirty-two%3e%20letters"]
        {
            assert_eq!(told(&format!("?a={said}&b"), &secrets), format!("?a={MASK}&b"));
        }
    }

    #[test]
    fn a_secret_that_ends_in_a_quote_is_masked_to_its_end() {
        let quoted = "ends-in-a-quote\"";
        for spelling in [serde_json::Value::from(quoted).to_string(), format!("{quoted:?}")] {
            assert_eq!(told(&format!("{{\"a\":{spelling}}}"), &[quoted]), format!("{{\"a\":\"{MASK}\"}}"));
        }
    }

    #[test]
    fn a_secret_inside_of_basic_is_not_told() {
        for user in ["", "a", "ab", "client-id"] {
            let basic = STANDARD_NO_PAD.encode(format!("{user}:hunter2hunter2"));
            let shown = told(&format!("Basic {basic}"), &["hunter2hunter2"]);
            assert!(shown.contains(MASK) && !shown.contains(&basic[basic.len() - 8..]), "{user}: {shown}");
        }
    }

    #[test]
    fn of_two_secrets_of_which_one_is_in_the_other_nothing_is_left() {
        assert_eq!(told("hunter2hunter2-more", &["hunter2hunter2", "hunter2hunter2-more"]), MASK);
    }
}
