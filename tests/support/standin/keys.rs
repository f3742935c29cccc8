//! The keys of a stand-in: made when the first test of a run needs them, and gone with it.

use std::sync::OnceLock;

use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{
    KeySize, OAEP_SHA256_MGF1SHA256, OaepPublicEncryptingKey, PrivateDecryptingKey, PublicEncryptingKey,
};
use aws_lc_rs::signature::{KeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Map, Value, json};

use crate::support::random_bytes;

/// The key's name in headers and in the key set.
pub const KID: &str = "stand-in-1";

/// The RSA key of every stand-in of this run: making one takes a moment.
fn rsa() -> &'static RsaKeyPair {
    static KEY: OnceLock<RsaKeyPair> = OnceLock::new();
    KEY.get_or_init(|| RsaKeyPair::generate(KeySize::Rsa2048).expect("an RSA key"))
}

/// The public key as a JWK, with these members besides.
pub fn jwk(members: &Map<String, Value>) -> Value {
    // RSAPublicKey (RFC 8017 §A.1.1) of 2048 bits: a sequence of the modulus, with a leading zero, and of 65537.
    let der = rsa().public_key().as_ref();
    let modulus = &der[der.len() - 5 - 256..der.len() - 5];
    let mut jwk = json!({"kty": "RSA", "kid": KID, "n": URL_SAFE_NO_PAD.encode(modulus), "e": "AQAB"});
    for (name, value) in members {
        jwk[name] = value.clone();
    }
    jwk
}

/// A JWT of RS256, or of HS256 with the secret.
pub fn sign(alg: &str, secret: &str, claims: &Value) -> String {
    let header = match alg {
        "RS256" => json!({"alg": alg, "typ": "JWT", "kid": KID}),
        "HS256" => json!({"alg": alg, "typ": "JWT"}),
        _ => panic!("stand-ins do not sign with {alg}"),
    };
    let text = format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(claims.to_string()));
    let signature = if alg == "HS256" {
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret.as_bytes());
        ring::hmac::sign(&key, text.as_bytes()).as_ref().to_vec()
    } else {
        let mut signature = vec![0; rsa().public_modulus_len()];
        rsa().sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text.as_bytes(), &mut signature).expect("a signature");
        signature
    };
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// A key pair for encryption: the private key as PEM (PKCS #8), the public one as DER (SPKI).
pub fn encryption_key() -> (String, Vec<u8>) {
    let private = PrivateDecryptingKey::generate(KeySize::Rsa2048).expect("an RSA key");
    let der: Pkcs8V1Der = private.as_der().expect("PKCS #8");
    let public: PublicKeyX509Der = private.public_key().as_der().expect("SPKI");
    (pem(der.as_ref()), public.as_ref().to_vec())
}

/// A private RSA key for assertions, as PEM (PKCS #8).
pub fn assertion_key() -> String {
    let private = RsaKeyPair::generate(KeySize::Rsa2048).expect("an RSA key");
    let der: Pkcs8V1Der = private.as_der().expect("PKCS #8");
    pem(der.as_ref())
}

/// The same in the older form that ZITADEL writes (PKCS #1), and the public one as PEM.
pub fn handed_out_key() -> (String, String) {
    let private = RsaKeyPair::generate(KeySize::Rsa2048).expect("an RSA key");
    let der: Pkcs8V1Der = private.as_der().expect("PKCS #8");
    // Of a key of 2048 bits: a sequence of the version, the algorithm's name and, in 4 bytes of its own, the older form.
    let inner = &der.as_ref()[26..];
    assert_eq!(inner[..2], [0x30, 0x82], "a sequence");
    let public = rcgen::KeyPair::from_pem(&pem(der.as_ref())).expect("the key").public_key_pem();
    (labelled("RSA PRIVATE KEY", inner), public)
}

fn pem(der: &[u8]) -> String {
    labelled("PRIVATE KEY", der)
}

fn labelled(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> = text.as_bytes().chunks(64).map(|l| std::str::from_utf8(l).expect("ASCII")).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

/// A JWE in compact form of RSA-OAEP-256 and `enc` (A128GCM or A256GCM) around a JWT (RFC 7516 §3.1).
pub fn encrypt(public: &[u8], enc: &str, jwt: &str) -> String {
    let (algorithm, key) = match enc {
        "A128GCM" => (&AES_128_GCM, random_bytes::<16>().to_vec()),
        "A256GCM" => (&AES_256_GCM, random_bytes::<32>().to_vec()),
        _ => panic!("stand-ins do not encrypt with {enc}"),
    };
    let header = json!({"alg": "RSA-OAEP-256", "enc": enc, "cty": "JWT"}).to_string();
    let header = URL_SAFE_NO_PAD.encode(header);
    let public = PublicEncryptingKey::from_der(public).expect("a public key");
    let oaep = OaepPublicEncryptingKey::new(public).expect("a key for OAEP");
    let mut wrapped = vec![0; oaep.ciphertext_size()];
    let wrapped = oaep.encrypt(&OAEP_SHA256_MGF1SHA256, &key, &mut wrapped, None).expect("a wrapped key").to_vec();
    let nonce = random_bytes::<12>();
    let mut text = jwt.as_bytes().to_vec();
    let sealing = LessSafeKey::new(UnboundKey::new(algorithm, &key).expect("a key"));
    let tag = sealing
        .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(header.as_bytes()), &mut text)
        .expect("sealed");
    let parts = [wrapped.as_slice(), &nonce, &text, tag.as_ref()].map(|part| URL_SAFE_NO_PAD.encode(part));
    format!("{header}.{}", parts.join("."))
}
