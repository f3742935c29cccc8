//! The gateway's own tokens (RFC 9068): the keys that sign them, and the key set by which anybody can check them.
//!
//! Promise: the keys follow from the configured secrets alone. Replicas with the same secrets sign and accept the same
//! tokens, a restart invalidates none, and a token dies when the secret it was signed with is taken away. The newest
//! secret signs; the keys of all of them are published.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use serde_json::{Map, Value, json};

use super::key_set::KeySet;
use crate::config::values::Secret;
use crate::keys;
use crate::reason::{Failure, Reason};

/// Signs the gateway's own tokens with Ed25519 (RFC 8037).
pub struct Signer {
    /// Newest first, each once; never empty.
    keys: Vec<Key>,
}

struct Key {
    pair: Ed25519KeyPair,
    public: [u8; 32],
    /// The key's thumbprint (RFC 7638 §3), so that it is the same wherever the secret is.
    kid: String,
    /// Header of a token, encoded.
    header: String,
}

impl Signer {
    /// A key for each of `secrets`, newest first. `None` where there is no secret.
    pub fn new(secrets: &[Secret]) -> Option<Signer> {
        let mut keys: Vec<Key> = Vec::with_capacity(secrets.len());
        for secret in secrets {
            let key = Key::derive(secret)?;
            // A key set with the same key twice has no single key for a token.
            if keys.iter().all(|other| other.kid != key.kid) {
                keys.push(key);
            }
        }
        (!keys.is_empty()).then_some(Signer { keys })
    }

    /// `claims` as a token in compact form (RFC 7515 §7.1), with `typ` `at+jwt` and signed with the newest key.
    pub fn sign(&self, claims: &Map<String, Value>) -> Result<String, Failure> {
        let internal = |what: &str| Failure::new(Reason::Internal, what);
        let key = self.keys.first().ok_or_else(|| internal("a token was to be signed without a key"))?;
        let claims = serde_json::to_vec(claims).map_err(|_| internal("claims that are no JSON"))?;
        let mut token = format!("{}.{}", key.header, URL_SAFE_NO_PAD.encode(claims));
        let signature = key.pair.try_sign(token.as_bytes()).map_err(|_| internal("a token could not be signed"))?;
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        Ok(token)
    }

    /// Key id and public key of each, newest first.
    pub fn public_keys(&self) -> impl Iterator<Item = (&str, &[u8; 32])> {
        self.keys.iter().map(|key| (key.kid.as_str(), &key.public))
    }

    /// What the gateway's own tokens are verified with.
    pub fn key_set(&self) -> KeySet {
        let keys: Vec<_> = self.public_keys().map(|(kid, public)| (kid.to_owned(), *public)).collect();
        KeySet::ed25519(&keys)
    }

    /// The key set as it is published (RFC 7517, RFC 8037 §2).
    pub fn jwks(&self) -> Value {
        let keys = self.public_keys().map(|(kid, public)| {
            let x = URL_SAFE_NO_PAD.encode(public);
            json!({ "kty": "OKP", "crv": "Ed25519", "x": x, "kid": kid, "use": "sig", "alg": "EdDSA" })
        });
        json!({ "keys": keys.collect::<Vec<_>>() })
    }
}

impl Key {
    fn derive(secret: &Secret) -> Option<Key> {
        let seed = keys::derive(secret, b"token signing")?;
        let pair = Ed25519KeyPair::from_seed_unchecked(&*seed).ok()?;
        let public: [u8; 32] = pair.public_key().as_ref().try_into().ok()?;
        let kid = thumbprint(&public);
        // Base64url needs no escapes in JSON.
        let header = URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"EdDSA","typ":"at+jwt","kid":"{kid}"}}"#));
        Some(Key { pair, public, kid, header })
    }
}

/// RFC 7638 §3 with the members of RFC 8037 §2: SHA-256 of the required members, in order and without spaces.
fn thumbprint(public: &[u8; 32]) -> String {
    let members = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, URL_SAFE_NO_PAD.encode(public));
    URL_SAFE_NO_PAD.encode(digest(&SHA256, members.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::model::TokenAlgorithm;
    use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};

    fn signer(secrets: &[&str]) -> Signer {
        Signer::new(&secrets.iter().map(|text| Secret::new(*text)).collect::<Vec<_>>()).expect("secrets")
    }

    fn claims() -> Map<String, Value> {
        let json = json!({ "iss": "https://a.example", "sub": "jo@example.com", "exp": 4_000_000_000_u64 });
        json.as_object().expect("object").clone()
    }

    /// A second implementation's opinion of `token`, by a key set as it is published.
    fn accepts(jwks: &Value, token: &str) -> bool {
        let kid = decode_header(token).expect("header").kid.expect("kid");
        let keys: jsonwebtoken::jwk::JwkSet = serde_json::from_value(jwks.clone()).expect("key set");
        let Some(key) = keys.find(&kid) else { return false };
        let mut rules = Validation::new(Algorithm::EdDSA);
        rules.validate_aud = false;
        let key = DecodingKey::from_jwk(key).expect("key");
        decode::<Map<String, Value>>(token, &key, &rules).is_ok_and(|token| token.claims == claims())
    }

    #[test]
    fn a_token_is_good_by_the_published_keys_and_by_no_other_secret_s() {
        let signer_a = signer(&["secret a"]);
        let token = signer_a.sign(&claims()).expect("token");
        assert!(accepts(&signer_a.jwks(), &token));
        assert!(!accepts(&signer(&["secret b"]).jwks(), &token));
        // The other secret's key under this key's name.
        let mut renamed = signer(&["secret b"]).jwks();
        renamed["keys"][0]["kid"] = signer_a.jwks()["keys"][0]["kid"].clone();
        assert!(!accepts(&renamed, &token));
        let header = decode_header(&token).expect("header");
        assert_eq!((header.typ.as_deref(), header.alg), (Some("at+jwt"), Algorithm::EdDSA));
    }

    #[test]
    fn the_gateway_s_own_keys_are_those_that_are_published() {
        let signer = signer(&["a", "b"]);
        let published = KeySet::parse(signer.jwks().to_string().as_bytes()).expect("keys");
        assert_eq!(signer.key_set().summary(), published.summary());
        let token = signer.sign(&claims()).expect("token");
        let (message, signature) = token.rsplit_once('.').expect("three parts");
        let signature = URL_SAFE_NO_PAD.decode(signature).expect("base64");
        let kid = decode_header(&token).expect("header").kid;
        for keys in [signer.key_set(), published] {
            let verified = keys.verify(kid.as_deref(), TokenAlgorithm::EdDSA, message.as_bytes(), &signature);
            assert_eq!(verified, Ok(None));
        }
    }

    #[test]
    fn the_newest_secret_signs_and_a_token_lives_as_long_as_its_secret_is_listed() {
        let token = signer(&["old"]).sign(&claims()).expect("token");
        let both = signer(&["new", "old"]);
        assert!(accepts(&both.jwks(), &token));
        let newer = both.sign(&claims()).expect("token");
        let new = signer(&["new"]);
        assert!(accepts(&new.jwks(), &newer));
        assert!(!accepts(&new.jwks(), &token));
    }

    #[test]
    fn replicas_and_restarts_have_the_same_keys() {
        assert_eq!(signer(&["a", "b"]).jwks(), signer(&["a", "b"]).jwks());
        assert_eq!(signer(&["a"]).sign(&claims()), signer(&["a"]).sign(&claims()));
        let twice = signer(&["a", "b", "a"]);
        assert_eq!(twice.public_keys().count(), 2, "a secret that stands twice is one key");
        assert!(Signer::new(&[]).is_none());
    }

    #[test]
    fn a_key_s_name_is_its_thumbprint() {
        // The key of RFC 8037 §A.3.
        let x = URL_SAFE_NO_PAD.decode("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo").expect("base64");
        let public: [u8; 32] = x.try_into().expect("32 bytes");
        assert_eq!(thumbprint(&public), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    }

    #[test]
    fn the_published_keys_hold_nothing_private() {
        let text = signer(&["a", "b"]).jwks().to_string();
        assert!(!text.contains("\"d\""), "{text}");
    }
}
