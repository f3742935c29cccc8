//! By what the admin listener tells a route that is kept for chosen people from every other proxy that leads to it.
//!
//! Promise: whatever address leads to the console, and whenever it began to, nobody comes there through a proxy but by a
//! route whose `allow` was judged. The gateway puts a word that only this process knows on what such a route sends there;
//! the console refuses what shows that it was proxied, by whomever, without it.

use std::sync::LazyLock;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderName, HeaderValue};
use ring::rand::{SecureRandom, SystemRandom};

use super::headers::OF_PROXIES;

pub(super) const HEADER_NAME: &str = "x-doorward-console-pass";
pub(super) const HEADER: HeaderName = HeaderName::from_static(HEADER_NAME);

/// What else proxies say, of themselves. This gateway says `Forwarded` and `X-Forwarded-*` on each request that it passes on.
const OF_THEMSELVES: [&str; 4] = ["via", "cdn-loop", "x-cache", "x-varnish"];
const FAMILIES: [&str; 7] = ["x-forwarded-", "x-original-", "x-envoy-", "x-amzn-", "x-arr-", "x-azure-", "cf-"];

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

/// Whether `headers` were brought by a route of this gateway to its console.
pub fn is_brought(headers: &HeaderMap) -> bool {
    let pass = PASS.as_ref().zip(headers.get(HEADER));
    pass.is_some_and(|(pass, brought)| verify_slices_are_equal(pass.as_bytes(), brought.as_bytes()).is_ok())
}

/// Whether `headers` say that a proxy passed them on, one of this gateway's routes among them.
pub fn say_of_a_proxy(headers: &HeaderMap) -> bool {
    let says = |name: &str| {
        OF_PROXIES.contains(&name)
            || OF_THEMSELVES.contains(&name)
            || FAMILIES.iter().any(|family| name.starts_with(family))
    };
    headers.keys().any(|name| says(name.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_known_by_whatever_it_says_and_a_route_by_the_pass() {
        let with = |name: &str, value: &str| {
            let name: HeaderName = name.parse().expect("a name");
            HeaderMap::from_iter([(name, value.parse::<HeaderValue>().expect("a value"))])
        };
        for name in [
            "forwarded",
            "via",
            "x-forwarded-for",
            "x-forwarded-host",
            "x-forwarded-proto",
            "x-forwarded-server",
            "x-forwarded-port",
            "x-forwarded-prefix",
            "x-real-ip",
            "x-client-ip",
            "true-client-ip",
            "cf-connecting-ip",
            "x-envoy-external-address",
            "x-amzn-trace-id",
        ] {
            assert!(say_of_a_proxy(&with(name, "x")), "{name}");
        }
        for name in ["host", "accept", "user-agent", "sec-fetch-site", "origin", "x-doorward-console", "x-request-id"] {
            assert!(!say_of_a_proxy(&with(name, "x")), "{name}");
        }
        let right = pass().expect("randomness").to_str().expect("letters");
        assert!(is_brought(&with(HEADER_NAME, right)));
        assert!(!is_brought(&with(HEADER_NAME, "guessed")) && !is_brought(&HeaderMap::new()));
    }
}
