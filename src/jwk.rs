//! Public keys of ours as others read them (RFC 7517): for the registration of the gateway at a provider.

use aws_lc_rs::io::Positive;
use aws_lc_rs::rsa::PublicKey;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

/// RFC 7518 §6.3.1.
pub fn rsa(key: &PublicKey) -> Value {
    let number = |number: Positive<'_>| URL_SAFE_NO_PAD.encode(number.big_endian_without_leading_zero());
    json!({ "kty": "RSA", "n": number(key.modulus()), "e": number(key.exponent()) })
}

/// A key on `curve` by its uncompressed point: 4, and both coordinates (RFC 7518 §6.2.1). `None` for anything else.
pub fn elliptic(curve: &str, point: &[u8]) -> Option<Value> {
    let coordinates = point.strip_prefix(&[4])?;
    let (x, y) = coordinates.split_at(coordinates.len() / 2);
    Some(json!({ "kty": "EC", "crv": curve, "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y) }))
}

/// RFC 8037 §2.
pub fn ed25519(key: &[u8]) -> Value {
    json!({ "kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode(key) })
}
