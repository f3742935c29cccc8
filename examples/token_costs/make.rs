//! New keys and tokens to measure with. The private parts are forgotten when it ends.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    self as sig, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair, RsaEncoding, RsaKeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};

/// About what an access token of Keycloak says, valid until the year 2286.
fn claims() -> String {
    json!({
        "exp": 9_999_999_999_u64, "iat": 1_700_000_000, "jti": "9b6f1b4e-3c0a-4a8e-9d52-6f3a0c6f2b11",
        "iss": "https://id.example.com/realms/lab", "aud": ["experiments", "account"],
        "sub": "7b1f3c1e-55aa-4b1e-9f3d-0c5b8d1e2a77", "typ": "Bearer", "azp": "experiments-cli",
        "sid": "0d5c2b7e-8f61-4b39-a7d0-3f1e9c4b6a28", "acr": "1",
        "realm_access": { "roles": ["researcher", "team-vision", "offline_access"] },
        "scope": "openid profile email", "email_verified": true, "name": "Ada Lovelace",
        "preferred_username": "ada", "given_name": "Ada", "family_name": "Lovelace", "email": "ada@example.com",
    })
    .to_string()
}

pub fn fixture() -> String {
    let rsa = RsaKeyPair::generate(KeySize::Rsa2048).expect("a key");
    let ec = |algorithm: &'static EcdsaSigningAlgorithm| EcdsaKeyPair::generate(algorithm).expect("a key");
    let curves = [
        ("ES256", "p256", "P-256", ec(&sig::ECDSA_P256_SHA256_FIXED_SIGNING)),
        ("ES384", "p384", "P-384", ec(&sig::ECDSA_P384_SHA384_FIXED_SIGNING)),
        ("ES512", "p521", "P-521", ec(&sig::ECDSA_P521_SHA512_FIXED_SIGNING)),
    ];
    let ed25519 = Ed25519KeyPair::generate().expect("a key");
    let mut keys = vec![
        json!({ "kty": "RSA", "kid": "rsa", "n": b64(rsa.public_key().modulus().big_endian_without_leading_zero()),
                "e": b64(rsa.public_key().exponent().big_endian_without_leading_zero()) }),
        json!({ "kty": "OKP", "crv": "Ed25519", "kid": "ed", "x": b64(ed25519.public_key()) }),
    ];
    let mut tokens = Map::new();
    let encodings: [(&str, &'static dyn RsaEncoding); 6] = [
        ("RS256", &sig::RSA_PKCS1_SHA256),
        ("RS384", &sig::RSA_PKCS1_SHA384),
        ("RS512", &sig::RSA_PKCS1_SHA512),
        ("PS256", &sig::RSA_PSS_SHA256),
        ("PS384", &sig::RSA_PSS_SHA384),
        ("PS512", &sig::RSA_PSS_SHA512),
    ];
    for (name, encoding) in encodings {
        let mut signature = vec![0; rsa.public_modulus_len()];
        let message = message(name, "rsa");
        rsa.sign(encoding, &SystemRandom::new(), message.as_bytes(), &mut signature).expect("a signature");
        tokens.insert(name.into(), token(&message, &signature));
    }
    for (name, kid, curve, key) in &curves {
        let point = key.public_key().as_ref();
        let (x, y) = point[1..].split_at((point.len() - 1) / 2);
        keys.push(json!({ "kty": "EC", "crv": curve, "kid": kid, "x": b64(x), "y": b64(y) }));
        let message = message(name, kid);
        let signature = key.sign(&SystemRandom::new(), message.as_bytes()).expect("a signature");
        tokens.insert((*name).into(), token(&message, signature.as_ref()));
    }
    let message = message("EdDSA", "ed");
    tokens.insert("EdDSA".into(), token(&message, ed25519.sign(message.as_bytes()).as_ref()));
    let fixture = json!({ "claims": claims(), "jwks": { "keys": keys }, "tokens": Value::Object(tokens) });
    serde_json::to_string_pretty(&fixture).expect("JSON")
}

fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn message(algorithm: &str, kid: &str) -> String {
    let header = json!({ "alg": algorithm, "kid": kid, "typ": "at+jwt" }).to_string();
    format!("{}.{}", b64(header), b64(claims()))
}

fn token(message: &str, signature: &[u8]) -> Value {
    format!("{message}.{}", b64(signature)).into()
}
