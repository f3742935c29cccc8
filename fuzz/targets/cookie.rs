//! Any bytes as the cookies of a request: never a panic and never a session.
#![no_main]

use std::sync::LazyLock;

use doorward::config::values::Secret;
use doorward::keys::Keyring;
use doorward::session::Session;
use doorward::session::cookies::{Cookies, Found};
use http::{HeaderMap, HeaderValue, header};
use libfuzzer_sys::fuzz_target;

static COOKIES: LazyLock<Cookies> = LazyLock::new(|| {
    Cookies::new(&Default::default(), &url::Url::parse("http://a.example").expect("a URL"))
});
static KEYS: LazyLock<Keyring> =
    LazyLock::new(|| Keyring::new(&[Secret::new("0123456789abcdef0123456789abcdef")]).expect("a secret"));

fuzz_target!(|input: &[u8]| {
    let mut headers = HeaderMap::new();
    for field in input.split(|&b| b == b'\n').take(8) {
        // Most input should get as far as the seal.
        let Ok(value) = HeaderValue::from_bytes(field) else { continue };
        headers.append(header::COOKIE, value);
    }
    if let Found::Whole(sealed) = COOKIES.find_session(&headers) {
        assert!(Session::open(&KEYS, COOKIES.sealed_for(), &sealed).is_err(), "nobody sealed this");
    }
    assert!(Session::open(&KEYS, COOKIES.sealed_for(), input).is_err(), "nobody sealed this");
});
