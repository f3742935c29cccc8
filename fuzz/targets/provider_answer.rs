//! Any bytes as what comes from a provider by way of a browser: its answer in a form and in an address, and a token that is
//! encrypted for us. Never a panic, and nothing decrypts that nobody encrypted.
#![no_main]

use std::sync::LazyLock;

use aws_lc_rs::agreement::{ECDH_P256, PrivateKey};
use aws_lc_rs::encoding::{AsDer, EcPrivateKeyRfc5915Der, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use doorward::jwe::{self, DecryptionKeys};
use doorward::oidc::AuthorizationResponse;
use doorward::pem;
use doorward::reason::Reason;
use libfuzzer_sys::fuzz_target;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer};

static KEYS: LazyLock<DecryptionKeys> = LazyLock::new(|| {
    let rsa: Pkcs8V1Der = KeyPair::generate(KeySize::Rsa2048).expect("a key").as_der().expect("DER");
    let ec: EcPrivateKeyRfc5915Der = PrivateKey::generate(&ECDH_P256).expect("a key").as_der().expect("DER");
    let keys = [
        PrivateKeyDer::from(PrivatePkcs8KeyDer::from(rsa.as_ref())),
        PrivateKeyDer::from(PrivateSec1KeyDer::from(ec.as_ref())),
    ];
    let pem: String = keys.iter().map(|key| pem::one_text(key, &[]).to_string()).collect();
    DecryptionKeys::from_pem(&pem).expect("keys")
});

fuzz_target!(|input: &[u8]| {
    if let Ok(answer) = AuthorizationResponse::parse_form(input) {
        let again = AuthorizationResponse::parse_form(input).expect("the same answer");
        assert_eq!((answer.state(), answer.parameters()), (again.state(), again.parameters()));
        assert!(!answer.state().is_empty(), "an answer to nothing");
    }
    if let Ok(text) = std::str::from_utf8(input) {
        let _ = AuthorizationResponse::parse(Some(text));
        decrypt(text);
    }
    // Header, key, nonce, content and tag, in a line each: so that most input gets as far as the header's members.
    let parts: Vec<String> = input.splitn(5, |&b| b == b'\n').map(|part| URL_SAFE_NO_PAD.encode(part)).collect();
    decrypt(&parts.join("."));
});

fn decrypt(token: &str) {
    let refused = KEYS.decrypt(token, Reason::IdTokenDecryption).expect_err("nobody encrypted this");
    assert!(refused.reason == Reason::IdTokenDecryption && !refused.detail.is_empty());
    assert!(
        jwe::is_encrypted(token) || refused.detail.contains("dots") || refused.detail.contains("bytes"),
        "{refused}"
    );
}
