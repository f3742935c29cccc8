//! An issuer's keys (RFC 7517), parsed once and ready to check signatures.
//!
//! A key set is read leniently, because issuers publish keys for many purposes in it: what cannot check a signature of
//! ours is left out. It is used strictly: the key decides which algorithms it is good for, an HMAC key never comes from
//! a document, and a token for which more than one key could be meant is refused.

mod listed;

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use aws_lc_rs::signature::{
    self as sig, EcdsaVerificationAlgorithm, ParsedPublicKey, RsaParameters, RsaPublicKeyComponents,
};
use aws_lc_rs::{digest, hmac};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

pub use listed::ListedKey;

use crate::config::model::TokenAlgorithm::{self, *};
use crate::reason::{Failure, Reason};
use crate::words::{in_quotes, in_words, json_fault};

/// More keys than any issuer has use for.
const MAX_KEYS: usize = 100;
/// RSA moduli in bytes (RFC 7518 §3.3): 2048 bit, and no longer than can be checked in a reasonable time.
const RSA_BYTES: std::ops::RangeInclusive<usize> = 256..=1024;

const RSA: [(TokenAlgorithm, &RsaParameters); 6] = [
    (RS256, &sig::RSA_PKCS1_2048_8192_SHA256),
    (RS384, &sig::RSA_PKCS1_2048_8192_SHA384),
    (RS512, &sig::RSA_PKCS1_2048_8192_SHA512),
    (PS256, &sig::RSA_PSS_2048_8192_SHA256),
    (PS384, &sig::RSA_PSS_2048_8192_SHA384),
    (PS512, &sig::RSA_PSS_2048_8192_SHA512),
];
const HMAC: [(TokenAlgorithm, hmac::Algorithm); 3] =
    [(HS256, hmac::HMAC_SHA256), (HS384, hmac::HMAC_SHA384), (HS512, hmac::HMAC_SHA512)];

/// The usable keys of one issuer. A clone shares them.
#[derive(Clone)]
pub struct KeySet {
    /// By key id and then by fingerprint, so that a key id is found by a binary search.
    keys: Arc<[Key]>,
    /// One shared secret: its tokens need name no key.
    secret: bool,
    /// A secret beside published keys, which alone checks what HMAC signed.
    shared: Option<Arc<Key>>,
}

struct Key {
    id: Option<Box<str>>,
    /// Whose tokens it is good for, where the set is that of several issuers, as Entra says it.
    issuer: Option<Box<str>>,
    /// One entry for each algorithm that the key is good for.
    checks: Box<[(TokenAlgorithm, Check)]>,
    /// Of everything above.
    fingerprint: [u8; 32],
}

enum Check {
    Signature { key: ParsedPublicKey, length: usize },
    Hmac(Box<hmac::Key>),
}

/// Two sets are equal where they hold the same keys for the same algorithms under the same ids, in whatever order.
impl PartialEq for KeySet {
    fn eq(&self, other: &Self) -> bool {
        let fingerprint = |set: &KeySet| set.shared.as_ref().map(|key| key.fingerprint);
        self.secret == other.secret
            && fingerprint(self) == fingerprint(other)
            && self.keys.len() == other.keys.len()
            && self.keys.iter().zip(&*other.keys).all(|(a, b)| a.fingerprint == b.fingerprint)
    }
}

impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeySet({})", self.summary())
    }
}

impl KeySet {
    /// Reads a key set document. [`Reason::KeysFailed`] where it is none, has over a hundred keys, or none of use.
    pub fn parse(document: &[u8]) -> Result<KeySet, Failure> {
        let failed = |why: String| Failure::new(Reason::KeysFailed, format!("keys: {why}"));
        let document: Map<String, Value> = serde_json::from_slice(document)
            .map_err(|error| failed(format!("no JSON object ({} of line {})", json_fault(&error), error.line())))?;
        let Some(Value::Array(entries)) = document.get("keys") else { return Err(failed("no list `keys`".into())) };
        if entries.len() > MAX_KEYS {
            return Err(failed(format!("{} keys, more than {MAX_KEYS}", entries.len())));
        }
        let keys: Vec<Key> = entries.iter().filter_map(Key::read).collect();
        if keys.is_empty() {
            return Err(failed(format!("none of {} can verify a signature", entries.len())));
        }
        Ok(KeySet::of(keys, false))
    }

    /// One secret shared with the issuer, for HMAC.
    pub fn secret(secret: &[u8]) -> KeySet {
        KeySet::of(vec![Key::secret(secret)], true)
    }

    /// These keys, and a secret shared with the issuer: the client secret, for ID tokens that HMAC signed (OpenID Connect
    /// Core §10.1). A published key never checks such a token, and the secret no other.
    pub fn and_secret(self, secret: &[u8]) -> KeySet {
        KeySet { shared: Some(Arc::new(Key::secret(secret))), ..self }
    }

    /// Those that the issuer published, without any secret; `None` where a secret is all there is.
    pub fn published(&self) -> Option<KeySet> {
        (!self.secret).then(|| KeySet { shared: None, ..self.clone() })
    }

    /// Ed25519 public keys by their ids: the gateway's own.
    pub fn ed25519(keys: &[(String, [u8; 32])]) -> KeySet {
        let key = |(id, public): &(String, [u8; 32])| {
            let check = Check::public(&sig::ED25519, public, 64)?;
            Some(Key::new(Some(id.as_str().into()), None, [(EdDSA, check)].into(), &[b"Ed25519", public]))
        };
        KeySet::of(keys.iter().filter_map(key).collect(), false)
    }

    fn of(mut keys: Vec<Key>, secret: bool) -> KeySet {
        keys.sort_unstable_by(|a, b| a.id.cmp(&b.id).then(a.fingerprint.cmp(&b.fingerprint)));
        // The same key listed twice leaves no doubt which one is meant.
        keys.dedup_by(|a, b| a.fingerprint == b.fingerprint);
        KeySet { keys: keys.into(), secret, shared: None }
    }

    pub fn len(&self) -> usize {
        self.keys.len()
    }

    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// How many, and by which ids: for the log.
    pub fn summary(&self) -> String {
        if self.secret {
            return "a shared secret".into();
        }
        let ids = self.keys.iter().take(10).map(|key| key.id.as_deref().map_or("without id".into(), in_words));
        let more = if self.keys.len() > 10 { ", …" } else { "" };
        format!("{} ({}{more})", self.keys.len(), ids.collect::<Vec<_>>().join(", "))
    }

    /// For which algorithms it holds a key, each once.
    pub fn algorithms(&self) -> Vec<TokenAlgorithm> {
        let mut all = Vec::new();
        for (algorithm, _) in self.keys.iter().chain(self.shared.as_deref()).flat_map(|key| &key.checks) {
            if !all.contains(algorithm) {
                all.push(*algorithm);
            }
        }
        all
    }

    /// Checks `signature` over `message` with the one key that a token's `kid` and `alg` mean. What it gives is the issuer
    /// that this key is published for, where the set says so.
    ///
    /// [`Reason::TokenKey`] where there is none or more than one, [`Reason::TokenAlgorithm`] where the key that `kid`
    /// names is for other algorithms, [`Reason::TokenSignature`] where the signature does not match.
    pub fn verify(
        &self,
        kid: Option<&str>,
        algorithm: TokenAlgorithm,
        message: &[u8],
        signature: &[u8],
    ) -> Result<Option<&str>, Failure> {
        let hmac = HMAC.iter().any(|(hmac, _)| *hmac == algorithm);
        let named = match (&self.shared, kid) {
            (Some(shared), _) if hmac => std::slice::from_ref(&**shared),
            (_, Some(kid)) if !self.secret => self.by_id(kid),
            _ => &self.keys,
        };
        let mut fitting = named.iter().filter_map(|key| Some((key, key.check(algorithm)?)));
        let (key, check) = match (fitting.next(), fitting.next()) {
            (Some(one), None) => one,
            (first, _) => return Err(self.no_one_key(kid, algorithm, named, first.is_some())),
        };
        match check.holds(message, signature) {
            true => Ok(key.issuer.as_deref()),
            false => Err(Failure::new(Reason::TokenSignature, format!("the {algorithm:?} signature does not match"))),
        }
    }

    /// Whether it holds a key of that id.
    pub fn names(&self, kid: &str) -> bool {
        !self.by_id(kid).is_empty()
    }

    fn by_id(&self, kid: &str) -> &[Key] {
        let order = |key: &Key| key.id.as_deref().map_or(Ordering::Less, |id| id.cmp(kid));
        let start = self.keys.partition_point(|key| order(key) == Ordering::Less);
        let rest = &self.keys[start..];
        &rest[..rest.partition_point(|key| order(key) == Ordering::Equal)]
    }

    fn no_one_key(&self, kid: Option<&str>, algorithm: TokenAlgorithm, named: &[Key], several: bool) -> Failure {
        let Some(kid) = kid.filter(|_| !self.secret) else {
            let which = if several { "several keys" } else { "no key" };
            let detail = format!("the token names no key (`kid`), and its issuer has {which} for {algorithm:?}");
            return Failure::new(Reason::TokenKey, detail);
        };
        let kid = in_quotes(kid);
        match named {
            [] => Failure::new(Reason::TokenKey, format!("key {kid} is not among the issuer's")),
            _ if several => Failure::new(Reason::TokenKey, format!("the issuer has several keys {kid}")),
            _ => {
                let good_for: Vec<String> =
                    named.iter().flat_map(|key| &key.checks).map(|(good_for, _)| format!("{good_for:?}")).collect();
                let detail = format!("algorithm is {algorithm:?}; key {kid} is for {}", good_for.join(", "));
                Failure::new(Reason::TokenAlgorithm, detail)
            }
        }
    }
}

impl Key {
    fn secret(secret: &[u8]) -> Key {
        let checks = HMAC.map(|(algorithm, hash)| (algorithm, Check::Hmac(Box::new(hmac::Key::new(hash, secret)))));
        Key::new(None, None, checks.into(), &[b"secret", secret])
    }

    fn new(
        id: Option<Box<str>>,
        issuer: Option<Box<str>>,
        checks: Box<[(TokenAlgorithm, Check)]>,
        material: &[&[u8]],
    ) -> Key {
        let mut hash = digest::Context::new(&digest::SHA256);
        let mut update = |part: &[u8]| {
            hash.update(&(part.len() as u64).to_le_bytes());
            hash.update(part);
        };
        for text in [&id, &issuer] {
            update(&[u8::from(text.is_some())]);
            update(text.as_deref().unwrap_or_default().as_bytes());
        }
        update(&checks.iter().map(|(algorithm, _)| *algorithm as u8).collect::<Vec<u8>>());
        material.iter().for_each(|part| update(part));
        let mut fingerprint = [0; 32];
        fingerprint.copy_from_slice(hash.finish().as_ref());
        Key { id, issuer, checks, fingerprint }
    }

    fn check(&self, algorithm: TokenAlgorithm) -> Option<&Check> {
        self.checks.iter().find(|(good_for, _)| *good_for == algorithm).map(|(_, check)| check)
    }

    /// A key that can check a signature by one of our algorithms; `None` for any other. A private part (`d`) or a shared
    /// secret (`k`) that was published by mistake is not looked at.
    fn read(entry: &Value) -> Option<Key> {
        let entry = entry.as_object()?;
        let text = |name: &str| entry.get(name).and_then(Value::as_str);
        // RFC 7517 §4.2 and §4.3: what a key is for. Encryption keys stand in the same set.
        if entry.get("use").is_some_and(|purpose| purpose != "sig") {
            return None;
        }
        if let Some(operations) = entry.get("key_ops")
            && !operations.as_array().is_some_and(|all| all.iter().any(|operation| operation == "verify"))
        {
            return None;
        }
        let said = |name: &str| match entry.get(name) {
            None => Some(None),
            Some(said) => Some(Some(Box::from(said.as_str()?))),
        };
        let (id, issuer) = (said("kid")?, said("issuer")?);
        let octets = |name: &str| URL_SAFE_NO_PAD.decode(text(name)?.trim_end_matches('=')).ok();
        // RFC 7517 §4.4. An algorithm that is not the key's, or not ours, leaves none over.
        let wanted = |algorithm: TokenAlgorithm| match entry.get("alg") {
            None => true,
            Some(Value::String(only)) if only == "Ed25519" => algorithm == EdDSA,
            Some(only) => only.as_str().and_then(super::token::algorithm) == Some(algorithm),
        };
        let (checks, material): (Vec<_>, Vec<u8>) = match text("kty")? {
            "RSA" => {
                let (n, e) = (unsigned(octets("n")?), unsigned(octets("e")?));
                let checks = rsa(&n, &e, wanted)?;
                (checks, [n, vec![0], e].concat())
            }
            "EC" => {
                let (algorithm, parameters, size): (_, &'static EcdsaVerificationAlgorithm, _) = match text("crv")? {
                    "P-256" => (ES256, &sig::ECDSA_P256_SHA256_FIXED, 32),
                    "P-384" => (ES384, &sig::ECDSA_P384_SHA384_FIXED, 48),
                    "P-521" => (ES512, &sig::ECDSA_P521_SHA512_FIXED, 66),
                    _ => return None,
                };
                let point = [vec![4], coordinate(octets("x")?, size)?, coordinate(octets("y")?, size)?].concat();
                let check = Check::public(parameters, &point, 2 * size)?;
                (wanted(algorithm).then_some((algorithm, check)).into_iter().collect(), point)
            }
            "OKP" if text("crv")? == "Ed25519" => {
                let x = octets("x").filter(|x| x.len() == 32)?;
                let check = Check::public(&sig::ED25519, &x, 64)?;
                (wanted(EdDSA).then_some((EdDSA, check)).into_iter().collect(), x)
            }
            _ => return None,
        };
        (!checks.is_empty())
            .then(|| Key::new(id, issuer, checks.into(), &[text("kty").unwrap_or_default().as_bytes(), &material]))
    }
}

/// An RSA key for each algorithm that is wanted. The exponent is odd and more than one: with one, every number would be
/// the signature of itself.
fn rsa(n: &[u8], e: &[u8], wanted: impl Fn(TokenAlgorithm) -> bool) -> Option<Vec<(TokenAlgorithm, Check)>> {
    let odd = |number: &[u8]| number.last().is_some_and(|byte| byte % 2 == 1);
    let long_enough = RSA_BYTES.contains(&n.len()) && (n.len() > *RSA_BYTES.start() || n[0] >= 0x80);
    if !long_enough || !odd(n) || !odd(e) || e == [1] || e.len() > 4 {
        return None;
    }
    let key = RsaPublicKeyComponents { n, e };
    let check = |parameters| key.to_parsed_public_key(parameters).ok();
    RSA.iter()
        .filter(|(algorithm, _)| wanted(*algorithm))
        .map(|(algorithm, parameters)| {
            Some((*algorithm, Check::Signature { key: check(parameters)?, length: n.len() }))
        })
        .collect()
}

/// A number without the zeros that some issuers put before it.
fn unsigned(mut number: Vec<u8>) -> Vec<u8> {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.drain(..zeros);
    number
}

/// A coordinate in its full length (RFC 7518 §6.2.1.2); some issuers leave leading zeros out.
fn coordinate(mut number: Vec<u8>, size: usize) -> Option<Vec<u8>> {
    let missing = size.checked_sub(number.len())?;
    number.splice(..0, std::iter::repeat_n(0, missing));
    Some(number)
}

impl Check {
    fn public(algorithm: &'static dyn sig::VerificationAlgorithm, public: &[u8], length: usize) -> Option<Check> {
        Some(Check::Signature { key: ParsedPublicKey::new(algorithm, public).ok()?, length })
    }

    fn holds(&self, message: &[u8], signature: &[u8]) -> bool {
        match self {
            Check::Signature { key, length } => {
                signature.len() == *length && key.verify_sig(message, signature).is_ok()
            }
            Check::Hmac(key) => hmac::verify(key, message, signature).is_ok(),
        }
    }
}
