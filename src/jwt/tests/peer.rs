//! A second opinion: jsonwebtoken, with the same keys.

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::Value;

/// Whether jsonwebtoken refuses the token's algorithm or signature with each of the keys; `None` where it knows none of
/// them or did not come to look at the signature.
pub fn refuses_signature(token: &str, keys: &[Value]) -> Option<bool> {
    let answers: Vec<ErrorKind> = keys.iter().filter_map(|jwk| ask(token, jwk)).collect();
    let about_signature = |kind: &ErrorKind| matches!(kind, ErrorKind::InvalidSignature | ErrorKind::InvalidAlgorithm);
    match answers.iter().find(|kind| !about_signature(kind)) {
        None if answers.is_empty() => None,
        None => Some(true),
        // It accepted, or stumbled over something else.
        Some(ErrorKind::InvalidIssuer) => Some(false),
        Some(_) => None,
    }
}

/// Its answer with one key. Where the signature holds it is always `InvalidIssuer`, since another one is expected.
fn ask(token: &str, jwk: &Value) -> Option<ErrorKind> {
    use Algorithm::*;
    let algorithms = match (jwk["kty"].as_str()?, jwk["crv"].as_str()) {
        ("RSA", _) => vec![RS256, RS384, RS512, PS256, PS384, PS512],
        ("EC", Some("P-256")) => vec![ES256],
        ("EC", Some("P-384")) => vec![ES384],
        ("OKP", _) => vec![EdDSA],
        ("oct", _) => vec![HS256, HS384, HS512],
        _ => return None,
    };
    let key = DecodingKey::from_jwk(&serde_json::from_value(jwk.clone()).ok()?).ok()?;
    let mut validation = Validation::new(algorithms[0]);
    validation.algorithms = algorithms;
    validation.required_spec_claims.clear();
    (validation.validate_exp, validation.validate_aud) = (false, false);
    validation.set_issuer(&["nobody"]);
    match jsonwebtoken::decode::<Value>(token, &key, &validation) {
        Ok(_) => None,
        Err(error) => Some(error.into_kind()),
    }
}
