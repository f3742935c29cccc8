//! The provider's published keys (RFC 7517), as far as ID tokens can be verified with them.
//!
//! A key set is read leniently, because providers publish keys for many purposes in it: what cannot verify a
//! signature is left out. It is used strictly: the key decides which algorithms it can be used with, and a token for
//! which more than one key could be meant is refused.

use openidconnect::core::{CoreJsonWebKey, CoreJsonWebKeyType, CoreJwsSigningAlgorithm as CoreAlgorithm};
use openidconnect::{JsonWebKey, JsonWebKeyAlgorithm};
use serde_json::{Map, Value};

use crate::config::model::IdTokenAlgorithm;
use crate::reason::{Failure, Reason};
use crate::words::{in_words, json_fault};

/// More keys than any provider has use for; the work for a token is bounded by it.
const MAX_KEYS: usize = 100;
/// Shortest RSA modulus (RFC 7518 §3.3): 2048 bits.
const MIN_RSA_BYTES: usize = 256;

/// The usable signing keys of one provider.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct KeySet {
    keys: Vec<Key>,
}

#[derive(Clone, Debug, PartialEq)]
struct Key {
    jwk: CoreJsonWebKey,
    /// `crv` of an elliptic curve key; what [`CoreJsonWebKey`] keeps to itself.
    curve: Option<String>,
}

impl KeySet {
    /// Reads a key set document. [`Reason::KeysFailed`] where it is none, has over a hundred keys, or none of use.
    pub fn parse(body: &[u8]) -> Result<KeySet, Failure> {
        let failed = |why: String| Failure::new(Reason::KeysFailed, format!("keys: {why}"));
        let document: Map<String, Value> = serde_json::from_slice(body)
            .map_err(|error| failed(format!("no JSON object ({} of line {})", json_fault(&error), error.line())))?;
        let Some(Value::Array(entries)) = document.get("keys") else { return Err(failed("no list `keys`".into())) };
        if entries.len() > MAX_KEYS {
            return Err(failed(format!("{} keys, more than {MAX_KEYS}", entries.len())));
        }
        let mut keys: Vec<Key> = Vec::with_capacity(entries.len());
        for key in entries.iter().filter_map(Key::read) {
            // The same key listed twice leaves no doubt which one is meant.
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        if keys.is_empty() {
            return Err(failed(format!("none of {} can verify a signature", entries.len())));
        }
        Ok(KeySet { keys })
    }

    /// How many, and by which ids: for the log.
    pub fn summary(&self) -> String {
        let ids = self.keys.iter().take(10).map(|key| key.jwk.key_id().map_or("without id".into(), |id| in_words(id)));
        format!(
            "{} ({}{})",
            self.keys.len(),
            ids.collect::<Vec<_>>().join(", "),
            if self.keys.len() > 10 { ", …" } else { "" }
        )
    }

    /// Verifies `signature` over `message` with the one key that a token's `kid` and `alg` mean.
    ///
    /// [`Reason::IdTokenKey`] where there is none or more than one, [`Reason::IdTokenSignature`] where it does not
    /// match.
    pub fn verify(
        &self,
        kid: Option<&str>,
        algorithm: IdTokenAlgorithm,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), Failure> {
        let mut fitting = self.keys.iter().filter(|key| key.is_for(kid, algorithm));
        let named = || kid.map_or("a token without key id".into(), |kid| format!("key id {}", in_words(kid)));
        let key = match (fitting.next(), fitting.next()) {
            (Some(key), None) => key,
            (None, _) => {
                let detail = format!("no key for {} and {algorithm:?} among {}", named(), self.summary());
                return Err(Failure::new(Reason::IdTokenKey, detail));
            }
            (Some(_), Some(_)) => {
                let detail = format!("several keys for {} and {algorithm:?} among {}", named(), self.summary());
                return Err(Failure::new(Reason::IdTokenKey, detail));
            }
        };
        let verified = key.jwk.verify_signature(&core_algorithm(algorithm), message, signature);
        verified.map_err(|_| Failure::new(Reason::IdTokenSignature, format!("{} and {algorithm:?}", named())))
    }
}

impl Key {
    /// A key that can verify a signature by one of our algorithms; `None` for any other.
    fn read(entry: &Value) -> Option<Key> {
        let mut entry = entry.as_object()?.clone();
        // RFC 7517 §4.2 and §4.3: what a key is for. Encryption keys stand in the same set.
        if entry.get("use").is_some_and(|purpose| purpose != "sig") {
            return None;
        }
        if let Some(Value::Array(operations)) = entry.get("key_ops")
            && !operations.iter().any(|operation| operation == "verify")
        {
            return None;
        }
        // A published private part or a shared secret is a mistake that we do not keep a copy of.
        entry.remove("d");
        entry.remove("k");
        let curve = entry.get("crv").and_then(Value::as_str).map(str::to_owned);
        let long_enough = |name: &str, least: usize| {
            // Base64url: four characters for three bytes.
            entry
                .get(name)
                .and_then(Value::as_str)
                .is_some_and(|text| text.trim_end_matches('=').len() * 3 / 4 >= least)
        };
        let whole = match entry.get("kty").and_then(Value::as_str)? {
            "RSA" => long_enough("n", MIN_RSA_BYTES) && long_enough("e", 1),
            "EC" => matches!(curve.as_deref(), Some("P-256" | "P-384")) && long_enough("x", 1) && long_enough("y", 1),
            "OKP" => curve.as_deref() == Some("Ed25519") && long_enough("x", 32),
            _ => false,
        };
        let jwk: CoreJsonWebKey = whole.then(|| serde_json::from_value(Value::Object(entry)).ok()).flatten()?;
        let signs = !matches!(jwk.signing_alg(), JsonWebKeyAlgorithm::Unsupported);
        signs.then_some(Key { jwk, curve })
    }

    fn is_for(&self, kid: Option<&str>, algorithm: IdTokenAlgorithm) -> bool {
        use IdTokenAlgorithm::*;
        let (kind, curve) = match algorithm {
            RS256 | RS384 | RS512 | PS256 | PS384 | PS512 => (CoreJsonWebKeyType::RSA, None),
            ES256 => (CoreJsonWebKeyType::EllipticCurve, Some("P-256")),
            ES384 => (CoreJsonWebKeyType::EllipticCurve, Some("P-384")),
            EdDSA => (CoreJsonWebKeyType::OctetKeyPair, Some("Ed25519")),
        };
        let fits_algorithm = match self.jwk.signing_alg() {
            JsonWebKeyAlgorithm::Algorithm(only) => *only == core_algorithm(algorithm),
            JsonWebKeyAlgorithm::Unspecified => true,
            JsonWebKeyAlgorithm::Unsupported => false,
        };
        let fits_id = kid.is_none_or(|kid| self.jwk.key_id().is_some_and(|id| id.as_str() == kid));
        fits_id
            && fits_algorithm
            && *self.jwk.key_type() == kind
            && curve.is_none_or(|c| self.curve.as_deref() == Some(c))
    }
}

fn core_algorithm(algorithm: IdTokenAlgorithm) -> CoreAlgorithm {
    match algorithm {
        IdTokenAlgorithm::RS256 => CoreAlgorithm::RsaSsaPkcs1V15Sha256,
        IdTokenAlgorithm::RS384 => CoreAlgorithm::RsaSsaPkcs1V15Sha384,
        IdTokenAlgorithm::RS512 => CoreAlgorithm::RsaSsaPkcs1V15Sha512,
        IdTokenAlgorithm::PS256 => CoreAlgorithm::RsaSsaPssSha256,
        IdTokenAlgorithm::PS384 => CoreAlgorithm::RsaSsaPssSha384,
        IdTokenAlgorithm::PS512 => CoreAlgorithm::RsaSsaPssSha512,
        IdTokenAlgorithm::ES256 => CoreAlgorithm::EcdsaP256Sha256,
        IdTokenAlgorithm::ES384 => CoreAlgorithm::EcdsaP384Sha384,
        IdTokenAlgorithm::EdDSA => CoreAlgorithm::EdDsa,
    }
}
