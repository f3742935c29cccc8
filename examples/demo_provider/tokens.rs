//! ID tokens, signed with ES256 by a key that is made at start, and the claims in them.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest;
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, UnparsedPublicKey,
};
use serde_json::{Map, Value, json};

use crate::grants::{ACCESS_TOKEN_SECONDS, Grant, Person};
use crate::{ISSUER, now};

/// The provider's key.
pub struct Signer {
    key: EcdsaKeyPair,
    id: String,
    random: SystemRandom,
}

impl Signer {
    pub fn generate() -> Result<Self, String> {
        let random = SystemRandom::new();
        let alg = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(alg, &random).map_err(|_| "no randomness for a key")?;
        let key = EcdsaKeyPair::from_pkcs8(alg, pkcs8.as_ref(), &random).map_err(|e| e.to_string())?;
        let id = hash(key.public_key().as_ref())[..16].to_owned();
        Ok(Signer { key, id, random })
    }

    /// The key set (RFC 7517). A public P-256 key is `04`, then x, then y.
    pub fn jwks(&self) -> Value {
        let point = &self.key.public_key().as_ref()[1..];
        let (x, y) = (encode(&point[..32]), encode(&point[32..]));
        json!({ "keys": [
            { "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": self.id, "x": x, "y": y },
        ]})
    }

    /// The ID token for a grant (OpenID Connect Core §2).
    pub fn id_token(&self, grant: &Grant, access_token: &str) -> Result<String, String> {
        let now = now();
        let mut payload = claims(grant.person, &grant.request.scope);
        payload.extend([
            ("iss".into(), json!(ISSUER)),
            ("aud".into(), json!(grant.request.client_id)),
            ("iat".into(), json!(now)),
            ("exp".into(), json!(now + ACCESS_TOKEN_SECONDS)),
            ("auth_time".into(), json!(grant.auth_time)),
            ("at_hash".into(), json!(at_hash(access_token))),
        ]);
        if let Some(nonce) = &grant.request.nonce {
            payload.insert("nonce".into(), json!(nonce));
        }
        let header = json!({ "alg": "ES256", "typ": "JWT", "kid": self.id });
        let signed = format!("{}.{}", encode(header.to_string().as_bytes()), encode(&json_bytes(&payload)));
        let signature = self.key.sign(&self.random, signed.as_bytes()).map_err(|_| "signing failed")?;
        Ok(format!("{signed}.{}", encode(signature.as_ref())))
    }

    /// The claims of an ID token of ours, expired or not, as a logout hint needs them.
    pub fn open(&self, token: &str) -> Option<Value> {
        let (signed, signature) = token.rsplit_once('.')?;
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, self.key.public_key().as_ref());
        key.verify(signed.as_bytes(), &URL_SAFE_NO_PAD.decode(signature).ok()?).ok()?;
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(signed.split_once('.')?.1).ok()?).ok()
    }
}

/// What the scopes let a client know about a person (OpenID Connect Core §5.4).
pub fn claims(person: &Person, scope: &str) -> Map<String, Value> {
    let asked = |name: &str| scope.split(' ').any(|s| s == name);
    let mut claims = Map::from_iter([("sub".to_owned(), json!(person.subject))]);
    if asked("profile") {
        claims.insert("name".into(), json!(person.name));
        claims.insert("preferred_username".into(), json!(person.user));
        claims.insert("groups".into(), json!(person.groups));
    }
    if asked("email") {
        claims.insert("email".into(), json!(person.email));
        claims.insert("email_verified".into(), json!(true));
    }
    claims
}

/// 256 random bits in base64url.
pub fn random() -> String {
    let mut bytes = [0; 32];
    // The system's generator fails only before it is seeded at boot; a predictable code would be worse than an end.
    SystemRandom::new().fill(&mut bytes).expect("the system has randomness");
    encode(&bytes)
}

/// Whether a code verifier belongs to an S256 challenge (RFC 7636 §4.6).
pub fn verifies(verifier: &str, challenge: &str) -> bool {
    (43..=128).contains(&verifier.len()) && hash(verifier.as_bytes()) == challenge
}

/// SHA-256 in base64url. Comparing hashes instead of secrets tells a listener with a stopwatch nothing.
pub fn hash(bytes: &[u8]) -> String {
    encode(digest::digest(&digest::SHA256, bytes).as_ref())
}

/// The left half of the access token's hash (OpenID Connect Core §3.1.3.6).
fn at_hash(access_token: &str) -> String {
    encode(&digest::digest(&digest::SHA256, access_token.as_bytes()).as_ref()[..16])
}

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn json_bytes(claims: &Map<String, Value>) -> Vec<u8> {
    serde_json::to_vec(claims).unwrap_or_default()
}
