//! Our private keys, and the content's key that each of them makes of a token's second part (RFC 7518 §4).

use std::path::Path;

use aws_lc_rs::agreement::{self, PrivateKey};
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::kdf::{SskdfDigestAlgorithmId, get_sskdf_digest_algorithm, sskdf_digest};
use aws_lc_rs::key_wrap::{AES_128, AES_256, AesKek, KeyWrap};
use aws_lc_rs::rand;
use aws_lc_rs::rsa::{
    KeyPair, OAEP_SHA1_MGF1SHA1, OAEP_SHA256_MGF1SHA256, OaepPrivateDecryptingKey, PrivateDecryptingKey,
};
use aws_lc_rs::signature::KeyPair as _;
use rustls::pki_types::PrivateKeyDer;
use serde_json::Value;
use zeroize::Zeroizing;

use super::header::{Agreement, CURVES, Curve, Header, KeyManagement};
use crate::jwk;
use crate::pem::{self, unusable};
use crate::reason::Failure;

/// More keys than a change of keys needs; each costs a try.
const MAX_KEYS: usize = 4;

/// Our private keys for what a provider encrypts for us.
pub struct DecryptionKeys(Vec<Key>);

enum Key {
    /// With its public half.
    Rsa(Box<OaepPrivateDecryptingKey>, Value),
    Ec(Curve, PrivateKey),
}

/// A key of the content, as long as its encryption asks for.
pub(super) type ContentKey = Zeroizing<Vec<u8>>;

impl std::fmt::Debug for DecryptionKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DecryptionKeys")
    }
}

impl DecryptionKeys {
    /// Reads a PEM file with up to four keys: RSA of 2048 bit or more (PKCS#8, PKCS#1), or P-256, P-384, P-521 (PKCS#8,
    /// SEC1). [`CertificateUnusable`](crate::reason::Reason::CertificateUnusable) says what is wrong with it.
    pub fn from_file(path: &Path) -> Result<DecryptionKeys, Failure> {
        DecryptionKeys::from_pem(&pem::read(path)?).map_err(|failure| pem::named(path, failure))
    }

    /// The same of a text.
    pub fn from_pem(pem: &str) -> Result<DecryptionKeys, Failure> {
        let found = pem::private_keys(pem)?;
        if found.len() > MAX_KEYS {
            return Err(unusable(format!("it holds {} private keys; expected at most {MAX_KEYS}", found.len())));
        }
        found.iter().map(Key::read).collect::<Result<_, _>>().map(DecryptionKeys)
    }

    /// The public halves, for the registration at the provider: each as a JWK for every algorithm, as its `use` says.
    pub fn public_jwks(&self) -> Vec<Value> {
        let public = |key: &Key| match key {
            Key::Rsa(_, public) => Some(public.clone()),
            Key::Ec(curve, key) => jwk::elliptic(curve.name(), key.compute_public_key().ok()?.as_ref()),
        };
        let mut all: Vec<Value> = self.0.iter().filter_map(public).collect();
        all.iter_mut().filter_map(Value::as_object_mut).for_each(|key| {
            key.insert("use".to_owned(), "enc".into());
        });
        all
    }

    /// What each key that fits makes of the encrypted key. Only what the header says is a failure here; a key that does not
    /// decrypt gives a random one, with which the content then does not open either.
    pub(super) fn content_keys<'k>(
        &'k self,
        header: &'k Header,
        encrypted: &'k [u8],
    ) -> Result<impl Iterator<Item = ContentKey> + 'k, String> {
        // RFC 7516 §5.2, step 10.
        if header.management == KeyManagement::EcdhEs && !encrypted.is_empty() {
            return Err("its encrypted key is not empty, as `alg` ECDH-ES asks for".into());
        }
        if !self.0.iter().any(|key| key.fits(header)) {
            return Err(match &header.agreement {
                None => "it is encrypted for an RSA key; ours are none".into(),
                Some(agreement) => format!("it is encrypted for a {} key; ours are none", agreement.curve.name()),
            });
        }
        Ok(self.0.iter().filter(|key| key.fits(header)).filter_map(|key| key.content_key(header, encrypted)))
    }
}

impl Key {
    fn read(der: &PrivateKeyDer<'static>) -> Result<Key, Failure> {
        if let Some(key) = pem::rsa(der)?.and_then(|pair| Key::of_rsa(&pair)) {
            return Ok(key);
        }
        let ec = |(_, curve): &(&str, Curve)| {
            let key = PrivateKey::from_private_key_der(curve.algorithm(), der.secret_der()).ok()?;
            Some(Key::Ec(*curve, key))
        };
        let cannot = || unusable("its private key cannot be used; expected RSA, P-256, P-384 or P-521");
        CURVES.iter().find_map(ec).ok_or_else(cannot)
    }

    fn of_rsa(pair: &KeyPair) -> Option<Key> {
        let pkcs8: Pkcs8V1Der = pair.as_der().ok()?;
        let key = PrivateDecryptingKey::from_pkcs8(pkcs8.as_ref()).ok()?;
        let key = OaepPrivateDecryptingKey::new(key).ok()?;
        Some(Key::Rsa(Box::new(key), jwk::rsa(pair.public_key())))
    }

    fn fits(&self, header: &Header) -> bool {
        match (self, &header.agreement) {
            (Key::Rsa(..), None) => true,
            (Key::Ec(curve, _), Some(agreement)) => *curve == agreement.curve,
            _ => false,
        }
    }

    /// `None` only where the system has no random bytes.
    fn content_key(&self, header: &Header, encrypted: &[u8]) -> Option<ContentKey> {
        let mut random = Zeroizing::new(vec![0; header.encryption.key_length()]);
        rand::fill(&mut random).ok()?;
        let found = match (self, &header.agreement) {
            (Key::Rsa(key, _), _) => decrypt(key, header.management, encrypted),
            (Key::Ec(_, key), Some(agreement)) => agree(key, header, agreement, encrypted),
            (Key::Ec(..), None) => None,
        };
        Some(found.filter(|key| key.len() == random.len()).unwrap_or(random))
    }
}

/// RFC 7518 §4.3.
fn decrypt(key: &OaepPrivateDecryptingKey, management: KeyManagement, encrypted: &[u8]) -> Option<ContentKey> {
    let oaep = match management {
        KeyManagement::RsaOaep => &OAEP_SHA1_MGF1SHA1,
        _ => &OAEP_SHA256_MGF1SHA256,
    };
    let mut room = Zeroizing::new(vec![0; key.min_output_size()]);
    let found = key.decrypt(oaep, encrypted, &mut room, None).ok()?;
    Some(Zeroizing::new(found.to_vec()))
}

/// RFC 7518 §4.6.
fn agree(key: &PrivateKey, header: &Header, agreement: &Agreement, encrypted: &[u8]) -> Option<ContentKey> {
    let wrapping = header.management.wrapping();
    let (name, length) = wrapping.unwrap_or((header.encryption.name(), header.encryption.key_length()));
    let derived = agreement::agree(key, agreement.ephemeral.clone(), None, |secret| {
        Ok(derive(secret, name, &agreement.producer, &agreement.recipient, length))
    });
    let derived = derived.unwrap_or_else(|none: Option<ContentKey>| none)?;
    if wrapping.is_none() {
        return Some(derived);
    }
    let cipher = if length == 16 { &AES_128 } else { &AES_256 };
    let mut room = Zeroizing::new(vec![0; encrypted.len()]);
    let found = AesKek::new(cipher, &derived).ok()?.unwrap(encrypted, &mut room).ok()?;
    Some(Zeroizing::new(found.to_vec()))
}

/// Concat KDF (RFC 7518 §4.6.2): `length` bytes from what was agreed upon, for the algorithm `name`.
pub(super) fn derive(
    secret: &[u8],
    name: &str,
    producer: &[u8],
    recipient: &[u8],
    length: usize,
) -> Option<ContentKey> {
    let mut info = Vec::new();
    for part in [name.as_bytes(), producer, recipient] {
        info.extend(u32::try_from(part.len()).ok()?.to_be_bytes());
        info.extend(part);
    }
    info.extend(u32::try_from(length * 8).ok()?.to_be_bytes());
    let mut key = Zeroizing::new(vec![0; length]);
    let algorithm = get_sskdf_digest_algorithm(SskdfDigestAlgorithmId::Sha256)?;
    sskdf_digest(algorithm, secret, &info, &mut key).ok()?;
    Some(key)
}
