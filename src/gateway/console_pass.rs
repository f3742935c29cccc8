//! By what the admin listener tells a route that is kept for chosen people from every other proxy that leads to it.
//!
//! Promise: whatever address leads to the console, and whenever it began to, nobody comes there through a proxy but by a
//! route whose `allow` was judged. The gateway puts a word that only this process knows on what such a route sends there;
//! the console refuses what was proxied, by whomever, without it.

use std::sync::LazyLock;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use ring::rand::{SecureRandom, SystemRandom};

pub(super) const HEADER_NAME: &str = "x-doorward-console-pass";
pub(super) const HEADER: HeaderName = HeaderName::from_static(HEADER_NAME);

/// What proxies say of whom they ask for; this gateway says all of it on each request that it passes on.
const OF_PROXIES: [HeaderName; 4] = [
    header::FORWARDED,
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("x-forwarded-proto"),
];

/// None where the system has no randomness: then nobody passes.
static PASS: LazyLock<Option<HeaderValue>> = LazyLock::new(|| {
    let mut bytes = [0u8; 32];
    SystemRandom::new().fill(&mut bytes).ok()?;
    let mut pass = HeaderValue::from_str(&URL_SAFE_NO_PAD.encode(bytes)).ok()?;
    pass.set_sensitive(true);
    Some(pass)
});

/// What a route that may lead to the console brings there.
pub(super) fn pass() -> Option<&'static HeaderValue> {
    PASS.as_ref()
}

/// Whether `headers` came through a proxy that is no route of this gateway to its console.
pub fn is_missing(headers: &HeaderMap) -> bool {
    let brought = headers.get(HEADER);
    let good = PASS
        .as_ref()
        .zip(brought)
        .is_some_and(|(pass, brought)| verify_slices_are_equal(pass.as_bytes(), brought.as_bytes()).is_ok());
    OF_PROXIES.iter().any(|name| headers.contains_key(name)) && !good
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_proxied_needs_the_pass_and_nothing_else_does() {
        let with = |headers: &[(&HeaderName, &str)]| {
            let pairs = headers.iter().map(|(name, value)| ((*name).clone(), value.parse().expect("a value")));
            pairs.collect::<HeaderMap>()
        };
        let right = pass().expect("randomness").to_str().expect("letters");
        assert!(!is_missing(&with(&[])), "of the own host");
        for name in &OF_PROXIES {
            assert!(is_missing(&with(&[(name, "x")])), "{name}");
            assert!(is_missing(&with(&[(name, "x"), (&HEADER, "guessed")])), "{name}");
            assert!(!is_missing(&with(&[(name, "x"), (&HEADER, right)])), "{name}");
        }
    }
}
