//! How a secret may be written where somebody quotes it: in text, HTML, JSON, addresses, forms and base64.

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What RFC 3986 §2.3 leaves as it is.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// All that may stand for one of `secrets` and has `shortest` bytes or more; the longest first, since one may be in another.
pub fn spellings<'s>(secrets: impl IntoIterator<Item = &'s str>, shortest: usize) -> Vec<String> {
    let mut all: Vec<String> = secrets.into_iter().flat_map(of).filter(|one| one.len() >= shortest).collect();
    all.sort_unstable_by(|a, b| b.len().cmp(&a.len()).then(a.cmp(b)));
    all.dedup();
    all
}

/// How `secret` may be written.
fn of(secret: &str) -> Vec<String> {
    let form: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
    let strict = utf8_percent_encode(secret, NON_ALPHANUMERIC).to_string();
    let encoded = [&*form, &strict, &utf8_percent_encode(secret, UNRESERVED).to_string()].map(str::to_owned);
    let json = serde_json::Value::from(secret).to_string();
    let json = json.strip_prefix('"').and_then(|json| json.strip_suffix('"')).unwrap_or(&json);
    let mut all = vec![secret.to_owned(), json.to_owned(), html(secret), html(json)];
    all.extend(encoded.iter().map(|one| in_small_digits(one)));
    all.extend(encoded);
    all.push(secret.bytes().map(|byte| format!("{byte:02x}")).collect());
    all.push(secret.bytes().map(|byte| format!("{byte:02X}")).collect());
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
