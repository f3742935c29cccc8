//! The header of a JWE (RFC 7516 §4): which of the known ways leads to the content.

use aws_lc_rs::agreement::{self, ParsedPublicKey, UnparsedPublicKey};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::jose::{self, Members, base64url};
use crate::words::in_words;

/// How the content's key comes to us (RFC 7518 §4.1). ECDH-ES+A192KW is optional there, and the cryptography that we use
/// has no AES key wrap with 192 bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyManagement {
    RsaOaep,
    RsaOaep256,
    EcdhEs,
    EcdhEsA128kw,
    EcdhEsA256kw,
}

/// How the content is encrypted (RFC 7518 §5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encryption {
    A128Gcm,
    A192Gcm,
    A256Gcm,
    A128CbcHs256,
    A192CbcHs384,
    A256CbcHs512,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Curve {
    P256,
    P384,
    P521,
}

const KEY_MANAGEMENT: [(&str, KeyManagement); 5] = [
    ("RSA-OAEP", KeyManagement::RsaOaep),
    ("RSA-OAEP-256", KeyManagement::RsaOaep256),
    ("ECDH-ES", KeyManagement::EcdhEs),
    ("ECDH-ES+A128KW", KeyManagement::EcdhEsA128kw),
    ("ECDH-ES+A256KW", KeyManagement::EcdhEsA256kw),
];

const ENCRYPTION: [(&str, Encryption); 6] = [
    ("A128GCM", Encryption::A128Gcm),
    ("A192GCM", Encryption::A192Gcm),
    ("A256GCM", Encryption::A256Gcm),
    ("A128CBC-HS256", Encryption::A128CbcHs256),
    ("A192CBC-HS384", Encryption::A192CbcHs384),
    ("A256CBC-HS512", Encryption::A256CbcHs512),
];

pub(super) const CURVES: [(&str, Curve); 3] = [("P-256", Curve::P256), ("P-384", Curve::P384), ("P-521", Curve::P521)];

/// Members that would change what decrypting means. None of them is understood, so none may be there, whatever it says
/// (RFC 7516 §4.1.3, §4.1.13, RFC 7518 §4.8.1).
const REFUSED: [&str; 4] = ["zip", "crit", "p2c", "p2s"];

#[derive(Debug)]
pub(super) struct Header {
    pub management: KeyManagement,
    pub encryption: Encryption,
    /// Of the algorithms with ECDH-ES, and of no other.
    pub agreement: Option<Agreement>,
}

/// What a key is agreed upon with (RFC 7518 §4.6.1).
pub(super) struct Agreement {
    pub curve: Curve,
    /// `epk`, which is on that curve.
    pub ephemeral: ParsedPublicKey,
    /// `apu`.
    pub producer: Vec<u8>,
    /// `apv`.
    pub recipient: Vec<u8>,
}

impl std::fmt::Debug for Agreement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Agreement").field("curve", &self.curve).finish_non_exhaustive()
    }
}

/// `epk` for itself: within the whole it would be read by a parser that takes the last of two members.
#[derive(Deserialize)]
struct Ephemeral {
    epk: Members,
}

impl Header {
    pub fn read(json: &[u8]) -> Result<Header, String> {
        let members = Members::read(json).map_err(|why| format!("its header is {why}"))?;
        if let Some(name) = REFUSED.into_iter().find(|name| members.contains_key(*name)) {
            return Err(format!("its header has `{name}`, which is not supported"));
        }
        let management = one_of(&members, "alg", &KEY_MANAGEMENT)?;
        let encryption = one_of(&members, "enc", &ENCRYPTION)?;
        let agreement = match management {
            KeyManagement::RsaOaep | KeyManagement::RsaOaep256 => None,
            _ => Some(Agreement::read(json, &members)?),
        };
        Ok(Header { management, encryption, agreement })
    }
}

impl Agreement {
    fn read(json: &[u8], members: &Map<String, Value>) -> Result<Agreement, String> {
        if !members.contains_key("epk") {
            return Err("its header has no `epk`".into());
        }
        let Ephemeral { epk: Members(epk) } = serde_json::from_slice(json)
            .map_err(|error| format!("its `epk` is no JSON object of single members ({})", jose::fault(&error)))?;
        if epk.get("kty").and_then(Value::as_str) != Some("EC") {
            return Err("its `epk` is not of `kty` EC".into());
        }
        let curve = one_of(&epk, "crv", &CURVES)?;
        let mut point = vec![4];
        for name in ["x", "y"] {
            let coordinate = octets(&epk, name)?.unwrap_or_default();
            // RFC 7518 §6.2.1.2: of full length, with zeros before.
            if coordinate.len() != curve.octets() {
                let expected = curve.octets();
                return Err(format!("`{name}` of its `epk` has {} bytes; expected {expected}", coordinate.len()));
            }
            point.extend(coordinate);
        }
        // A point elsewhere would tell its sender our key bit by bit, with the content as the oracle.
        let ephemeral = ParsedPublicKey::try_from(UnparsedPublicKey::new(curve.algorithm(), point))
            .map_err(|_| format!("its `epk` is no point on {}", curve.name()))?;
        Ok(Agreement {
            curve,
            ephemeral,
            producer: octets(members, "apu")?.unwrap_or_default(),
            recipient: octets(members, "apv")?.unwrap_or_default(),
        })
    }
}

impl KeyManagement {
    /// Its name and, where the agreed key wraps another, the length of that key (RFC 7518 §4.6).
    pub fn wrapping(self) -> Option<(&'static str, usize)> {
        match self {
            KeyManagement::EcdhEsA128kw => Some(("ECDH-ES+A128KW", 16)),
            KeyManagement::EcdhEsA256kw => Some(("ECDH-ES+A256KW", 32)),
            KeyManagement::RsaOaep | KeyManagement::RsaOaep256 | KeyManagement::EcdhEs => None,
        }
    }
}

impl Encryption {
    pub fn name(self) -> &'static str {
        name_of(self, &ENCRYPTION)
    }

    /// Bytes of its key; with CBC that of the MAC is half of it.
    pub fn key_length(self) -> usize {
        match self {
            Encryption::A128Gcm => 16,
            Encryption::A192Gcm => 24,
            Encryption::A256Gcm | Encryption::A128CbcHs256 => 32,
            Encryption::A192CbcHs384 => 48,
            Encryption::A256CbcHs512 => 64,
        }
    }
}

impl Curve {
    pub fn name(self) -> &'static str {
        name_of(self, &CURVES)
    }

    pub fn algorithm(self) -> &'static agreement::Algorithm {
        match self {
            Curve::P256 => &agreement::ECDH_P256,
            Curve::P384 => &agreement::ECDH_P384,
            Curve::P521 => &agreement::ECDH_P521,
        }
    }

    /// Bytes of a coordinate.
    fn octets(self) -> usize {
        match self {
            Curve::P256 => 32,
            Curve::P384 => 48,
            Curve::P521 => 66,
        }
    }
}

fn name_of<T: Copy + PartialEq>(value: T, table: &[(&'static str, T)]) -> &'static str {
    table.iter().find(|(_, entry)| *entry == value).map_or("", |(name, _)| name)
}

fn one_of<T: Copy>(members: &Map<String, Value>, name: &str, table: &[(&'static str, T)]) -> Result<T, String> {
    let got = members.get(name).and_then(Value::as_str);
    let found = table.iter().find(|(entry, _)| Some(*entry) == got);
    found.map(|(_, value)| *value).ok_or_else(|| {
        let expected: Vec<_> = table.iter().map(|(name, _)| *name).collect();
        let got = got.map_or("none".into(), in_words);
        format!("its `{name}` is {got}; expected one of {}", expected.join(", "))
    })
}

/// A member that is bytes in base64url.
fn octets(members: &Map<String, Value>, name: &str) -> Result<Option<Vec<u8>>, String> {
    match members.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => base64url(text, &format!("`{name}`")).map(Some),
        Some(_) => Err(format!("its `{name}` is no text")),
    }
}
