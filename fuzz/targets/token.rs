//! Any bytes as a token: never a panic, never a token that verifies, and the same answer twice.
#![no_main]

use std::sync::LazyLock;

use doorward::claims::NeededClaims;
use doorward::config::model::Issuer;
use doorward::identity_headers::IdentityHeaders;
use doorward::jwt::KeySet;
use doorward::jwt::token::{Unverified, WantedClaims};
use doorward::jwt::verify::Policy;
use libfuzzer_sys::fuzz_target;

static POLICY: LazyLock<Policy> = LazyLock::new(|| {
    let issuer = Issuer::own(&url::Url::parse("https://a.example").expect("a URL"));
    Policy::new(0, &issuer, NeededClaims::default().with("a.b").with("c")).expect("an issuer")
});
static WANTED: LazyLock<WantedClaims> = LazyLock::new(|| WantedClaims::new(std::iter::once(&*POLICY)));
static KEYS: LazyLock<KeySet> = LazyLock::new(|| KeySet::ed25519(&[("k".to_owned(), [1; 32])]));
static HEADERS: LazyLock<IdentityHeaders> = LazyLock::new(|| IdentityHeaders::new(&Default::default()));

fuzz_target!(|token: &[u8]| {
    let Ok(read) = Unverified::read(token, &WANTED) else { return };
    let again = Unverified::read(token, &WANTED).expect("the same answer");
    assert_eq!((read.iss(), read.kid()), (again.iss(), again.kid()));
    assert!(POLICY.verify(&read, &KEYS, &HEADERS).is_err(), "nobody signed this");
});
