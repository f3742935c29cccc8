//! Keys of every kind, and tokens signed with them, right or wrong.

use std::sync::LazyLock;

use aws_lc_rs::encoding::AsBigEndian;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{self as sig, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaKeyPair};
use aws_lc_rs::{hmac, signature::EcdsaSigningAlgorithm};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::config::model::TokenAlgorithm::{self, *};
use crate::jwt::key_set::KeySet;

pub const NOW: u64 = 1_800_000_000;
pub const ISSUER: &str = "https://ci.example.com";
pub const SECRET: &str = "a secret of the tests that is sixty-four characters long, or more";

/// Every algorithm that signs with a key pair.
pub const PUBLIC: [TokenAlgorithm; 10] = [RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512, EdDSA];
pub const ALL: [TokenAlgorithm; 13] =
    [RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512, EdDSA, HS256, HS384, HS512];

/// Key pairs, made once for all tests.
pub struct Keys {
    pub rsa: RsaKeyPair,
    /// Of the same kind; nobody's key set holds it.
    pub stranger: RsaKeyPair,
    p256: EcdsaKeyPair,
    p384: EcdsaKeyPair,
    p521: EcdsaKeyPair,
    ed25519: Ed25519KeyPair,
}

pub static KEYS: LazyLock<Keys> = LazyLock::new(|| {
    let rsa = || RsaKeyPair::generate(KeySize::Rsa2048).expect("an RSA key");
    let ec = |algorithm: &'static EcdsaSigningAlgorithm| EcdsaKeyPair::generate(algorithm).expect("an EC key");
    Keys {
        rsa: rsa(),
        stranger: rsa(),
        p256: ec(&sig::ECDSA_P256_SHA256_FIXED_SIGNING),
        p384: ec(&sig::ECDSA_P384_SHA384_FIXED_SIGNING),
        p521: ec(&sig::ECDSA_P521_SHA512_FIXED_SIGNING),
        ed25519: Ed25519KeyPair::generate().expect("an Ed25519 key"),
    }
});

pub fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub fn rsa_sign(key: &RsaKeyPair, algorithm: TokenAlgorithm, message: &[u8]) -> Vec<u8> {
    let encoding: &'static dyn sig::RsaEncoding = match algorithm {
        RS256 => &sig::RSA_PKCS1_SHA256,
        RS384 => &sig::RSA_PKCS1_SHA384,
        RS512 => &sig::RSA_PKCS1_SHA512,
        PS256 => &sig::RSA_PSS_SHA256,
        PS384 => &sig::RSA_PSS_SHA384,
        _ => &sig::RSA_PSS_SHA512,
    };
    let mut signature = vec![0; key.public_modulus_len()];
    key.sign(encoding, &SystemRandom::new(), message, &mut signature).expect("a signature");
    signature
}

pub fn hmac_sign(algorithm: TokenAlgorithm, secret: &[u8], message: &[u8]) -> Vec<u8> {
    let hash = match algorithm {
        HS256 => hmac::HMAC_SHA256,
        HS384 => hmac::HMAC_SHA384,
        _ => hmac::HMAC_SHA512,
    };
    hmac::sign(&hmac::Key::new(hash, secret), message).as_ref().to_vec()
}

/// The signature of our own key for `algorithm`.
pub fn signature(algorithm: TokenAlgorithm, message: &[u8]) -> Vec<u8> {
    let ec = |key: &EcdsaKeyPair| key.sign(&SystemRandom::new(), message).expect("a signature").as_ref().to_vec();
    match algorithm {
        ES256 => ec(&KEYS.p256),
        ES384 => ec(&KEYS.p384),
        ES512 => ec(&KEYS.p521),
        EdDSA => KEYS.ed25519.sign(message).as_ref().to_vec(),
        HS256 | HS384 | HS512 => hmac_sign(algorithm, SECRET.as_bytes(), message),
        rsa => rsa_sign(&KEYS.rsa, rsa, message),
    }
}

/// A token of these very texts, signed with our own key for `algorithm` whatever they say.
pub fn signed(algorithm: TokenAlgorithm, header: &str, claims: &str) -> String {
    sealed(&b64(header), &b64(claims), |message| signature(algorithm, message))
}

/// A token of these very parts and the signature that `sign` makes.
pub fn sealed(header: &str, claims: &str, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let message = format!("{header}.{claims}");
    let signature = sign(message.as_bytes());
    format!("{message}.{}", b64(signature))
}

/// A header as honest issuers write it.
pub fn header(algorithm: TokenAlgorithm) -> String {
    json!({ "alg": format!("{algorithm:?}"), "kid": kid(algorithm), "typ": "at+jwt" }).to_string()
}

/// Claims that pass, with the members of `changes` in them; null takes one away.
pub fn claims(changes: Value) -> String {
    let mut claims = json!({
        "iss": ISSUER, "sub": "ci-7", "aud": "experiments", "exp": NOW + 300, "nbf": NOW - 60, "iat": NOW - 60,
        "jti": "1f2e", "scope": "runs:read runs:write", "email": "ci@example.com", "groups": ["robots"],
    });
    let members = claims.as_object_mut().expect("an object");
    for (name, value) in changes.as_object().expect("an object") {
        match value.is_null() {
            true => drop(members.remove(name)),
            false => drop(members.insert(name.clone(), value.clone())),
        }
    }
    claims.to_string()
}

/// A good token.
pub fn good(algorithm: TokenAlgorithm) -> String {
    signed(algorithm, &header(algorithm), &claims(json!({})))
}

/// The id of our own key for `algorithm`.
pub fn kid(algorithm: TokenAlgorithm) -> &'static str {
    match algorithm {
        ES256 => "p256",
        ES384 => "p384",
        ES512 => "p521",
        EdDSA => "ed",
        HS256 | HS384 | HS512 => "shared",
        _ => "rsa",
    }
}

/// n and e of an RSA key.
pub fn rsa_numbers(key: &RsaKeyPair) -> (Vec<u8>, Vec<u8>) {
    let public = key.public_key();
    let bytes = |number: &[u8]| number.to_vec();
    (
        bytes(public.modulus().big_endian_without_leading_zero()),
        bytes(public.exponent().big_endian_without_leading_zero()),
    )
}

/// The public JWK of our own key for `algorithm`, without `alg`, so that an RSA key is good for six.
pub fn jwk(algorithm: TokenAlgorithm) -> Value {
    let ec = |key: &EcdsaKeyPair, curve: &str| {
        let point = key.public_key().as_ref();
        let (x, y) = point[1..].split_at((point.len() - 1) / 2);
        json!({ "kty": "EC", "crv": curve, "kid": kid(algorithm), "x": b64(x), "y": b64(y) })
    };
    match algorithm {
        ES256 => ec(&KEYS.p256, "P-256"),
        ES384 => ec(&KEYS.p384, "P-384"),
        ES512 => ec(&KEYS.p521, "P-521"),
        EdDSA => json!({ "kty": "OKP", "crv": "Ed25519", "kid": "ed", "x": b64(KEYS.ed25519.public_key()) }),
        HS256 | HS384 | HS512 => json!({ "kty": "oct", "kid": "shared", "k": b64(SECRET) }),
        _ => {
            let (n, e) = rsa_numbers(&KEYS.rsa);
            json!({ "kty": "RSA", "kid": "rsa", "n": b64(n), "e": b64(e) })
        }
    }
}

/// The private key as it stands in a key set by mistake.
pub fn private_jwk() -> Value {
    let mut jwk = jwk(ES256);
    let private: aws_lc_rs::encoding::EcPrivateKeyBin = KEYS.p256.private_key().as_be_bytes().expect("bytes");
    jwk["d"] = json!(b64(private.as_ref()));
    jwk
}

pub fn key_set(keys: &[Value]) -> KeySet {
    KeySet::parse(json!({ "keys": keys }).to_string().as_bytes()).expect("a key set")
}

/// One key of each kind.
pub fn public_jwks() -> Vec<Value> {
    [RS256, ES256, ES384, ES512, EdDSA].map(jwk).into()
}

pub fn all_keys() -> KeySet {
    key_set(&public_jwks())
}
