//! Keys that come from the configured secrets, and sealing with some of them.
//!
//! Promise: what [`Keyring::open`] returns was sealed by a gateway with one of the same secrets, for the same
//! purpose and under the same name; everything else is one of three errors, of which clients learn no more than whether the
//! secret is one of ours. Any number of replicas share nothing but the secrets.
//!
//! A sealed value is base64url of `version 1 │ key id 4 │ nonce 12 │ AES-256-GCM ciphertext and tag`; purpose and
//! name are associated data. Keys are derived by HKDF-SHA-256 (RFC 5869), one for each secret and purpose.

use std::ops::Range;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};
use ring::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroizing;

use crate::config::values::Secret;

/// What a sealed value is for. A value of one purpose never opens as another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A person's session.
    Session,
    /// One open sign-in.
    Attempt,
    /// How often a browser lately came back from the provider.
    Trips,
    /// The ID token kept as `id_token_hint` for signing out.
    LogoutHint,
    /// The `state` of a sign-out.
    LogoutState,
    /// One open form for name and password.
    PasswordForm,
    /// What a route asks of a sign-in, on the way through the page where people choose a provider.
    Demand,
}

const PURPOSES: [Purpose; 7] = [
    Purpose::Session,
    Purpose::Attempt,
    Purpose::Trips,
    Purpose::LogoutHint,
    Purpose::LogoutState,
    Purpose::PasswordForm,
    Purpose::Demand,
];

impl Purpose {
    fn label(self) -> &'static [u8] {
        match self {
            Purpose::Session => b"session",
            Purpose::Attempt => b"sign-in attempt",
            Purpose::Trips => b"sign-in trips",
            Purpose::LogoutHint => b"logout hint",
            Purpose::LogoutState => b"logout state",
            Purpose::PasswordForm => b"password form",
            Purpose::Demand => b"sign-in demand",
        }
    }
}

/// Why a value does not open. For logs; clients see one answer for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    #[error("it is not of the form that this gateway seals")]
    Malformed,
    #[error("it is sealed with a secret that this gateway does not have")]
    UnknownKey,
    #[error("it was altered, or sealed for another purpose or name")]
    Forged,
}

/// The system's random source failed; nothing can be sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the system's random source failed")]
pub struct NoRandomness;

/// Keys of all secrets, newest first.
pub struct Keyring {
    sets: Vec<KeySet>,
    random: SystemRandom,
}

struct KeySet {
    id: [u8; 4],
    keys: [LessSafeKey; PURPOSES.len()],
}

const VERSION: u8 = 1;
const HEAD: usize = 1 + 4 + NONCE_LEN;
const TAG: usize = 16;

impl Keyring {
    /// Keys for `secrets`, newest first. The first seals, all open. `None` where there is no secret.
    pub fn new(secrets: &[Secret]) -> Option<Self> {
        let sets: Option<Vec<_>> = secrets.iter().map(KeySet::derive).collect();
        sets.filter(|sets| !sets.is_empty()).map(|sets| Keyring { sets, random: SystemRandom::new() })
    }

    /// Seals `plain` with the newest key.
    ///
    /// Nonces are random: one key stays far below the 2³² messages at which GCM asks for a new one
    /// (NIST SP 800-38D §8.3), since it seals only on sign-in, renewal and once in minutes of use.
    pub fn seal(&self, purpose: Purpose, name: &str, plain: &[u8]) -> Result<String, NoRandomness> {
        let set = &self.sets[0];
        let mut nonce = [0; NONCE_LEN];
        self.random.fill(&mut nonce).map_err(|_| NoRandomness)?;
        let mut sealed = Vec::with_capacity(HEAD + plain.len() + TAG);
        sealed.push(VERSION);
        sealed.extend_from_slice(&set.id);
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(plain);
        let tag = set.keys[purpose as usize]
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                associated(purpose, name),
                &mut sealed[HEAD..],
            )
            .map_err(|_| NoRandomness)?;
        sealed.extend_from_slice(tag.as_ref());
        Ok(URL_SAFE_NO_PAD.encode(sealed))
    }

    /// Opens `text` into `buffer`, whose bytes in the returned range are the plain text.
    pub fn open(
        &self,
        purpose: Purpose,
        name: &str,
        text: &[u8],
        buffer: &mut Vec<u8>,
    ) -> Result<Range<usize>, OpenError> {
        let needed = text.len() / 4 * 3 + 3;
        if buffer.len() < needed {
            buffer.resize(needed, 0);
        }
        let length = URL_SAFE_NO_PAD.decode_slice(text, buffer).map_err(|_| OpenError::Malformed)?;
        if length < HEAD + TAG || buffer[0] != VERSION {
            return Err(OpenError::Malformed);
        }
        let (head, sealed) = buffer[..length].split_at_mut(HEAD);
        let set = self.sets.iter().find(|set| set.id == head[1..5]).ok_or(OpenError::UnknownKey)?;
        let nonce = Nonce::try_assume_unique_for_key(&head[5..]).map_err(|_| OpenError::Malformed)?;
        let plain = set.keys[purpose as usize]
            .open_in_place(nonce, associated(purpose, name), sealed)
            .map_err(|_| OpenError::Forged)?
            .len();
        Ok(HEAD..HEAD + plain)
    }

    /// 16 random bytes as 22 characters of base64url: ids, `state` (≥ 128 bit).
    pub fn random_id(&self) -> Result<String, NoRandomness> {
        let mut bytes = [0; 16];
        self.random.fill(&mut bytes).map_err(|_| NoRandomness)?;
        Ok(URL_SAFE_NO_PAD.encode(bytes))
    }
}

/// Purpose and name, with the length of the purpose so that no two pairs read the same.
fn associated(purpose: Purpose, name: &str) -> Aad<Associated> {
    let label = purpose.label();
    let mut data = Associated { short: [0; 128], length: 0, long: Vec::new() };
    for part in [&[label.len() as u8], label, name.as_bytes()] {
        data.push(part);
    }
    Aad::from(data)
}

/// Bytes on the stack, as far as they fit: they are put together anew for every request with a session.
struct Associated {
    short: [u8; 128],
    length: usize,
    /// All of them, where they do not fit.
    long: Vec<u8>,
}

impl Associated {
    fn push(&mut self, part: &[u8]) {
        let end = self.length + part.len();
        match self.short.get_mut(self.length..end) {
            Some(room) if self.long.is_empty() => room.copy_from_slice(part),
            _ => {
                if self.long.is_empty() {
                    self.long.extend_from_slice(&self.short[..self.length]);
                }
                self.long.extend_from_slice(part);
            }
        }
        self.length = end;
    }
}

impl AsRef<[u8]> for Associated {
    fn as_ref(&self) -> &[u8] {
        if self.long.is_empty() { &self.short[..self.length] } else { &self.long }
    }
}

struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

fn extract(secret: &Secret) -> Prk {
    Salt::new(HKDF_SHA256, b"doorward sealing v1").extract(secret.expose().as_bytes())
}

/// 32 bytes of `secret` for a use other than sealing; `label` is that use's own. `None` never happens for this length.
pub fn derive(secret: &Secret, label: &[u8]) -> Option<Zeroizing<[u8; 32]>> {
    let mut key = Zeroizing::new([0; 32]);
    extract(secret).expand(&[b"other key ", label], Length(32)).ok()?.fill(&mut *key).ok()?;
    Some(key)
}

impl KeySet {
    fn derive(secret: &Secret) -> Option<Self> {
        let extracted = extract(secret);
        let key = |purpose: Purpose| {
            let info: [&[u8]; 2] = [b"key ", purpose.label()];
            let expanded = extracted.expand(&info, &AES_256_GCM).ok()?;
            Some(LessSafeKey::new(UnboundKey::from(expanded)))
        };
        let mut id = [0; 4];
        extracted.expand(&[b"key id"], Length(4)).ok()?.fill(&mut id).ok()?;
        let [session, attempt, trips, hint, state, form, demand] = PURPOSES.map(key);
        Some(KeySet { id, keys: [session?, attempt?, trips?, hint?, state?, form?, demand?] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(secrets: &[&str]) -> Keyring {
        Keyring::new(&secrets.iter().map(|s| Secret::new(*s)).collect::<Vec<_>>()).expect("secrets")
    }

    fn open(keys: &Keyring, purpose: Purpose, name: &str, text: &str) -> Result<Vec<u8>, OpenError> {
        let mut buffer = Vec::new();
        keys.open(purpose, name, text.as_bytes(), &mut buffer).map(|range| buffer[range].to_vec())
    }

    #[test]
    fn the_associated_data_is_purpose_and_name_however_long() {
        for length in [0, 1, 119, 120, 121, 500] {
            let name = "n".repeat(length);
            assert_eq!(
                associated(Purpose::Session, &name).as_ref(),
                format!("\u{7}session{name}").as_bytes(),
                "{length}"
            );
        }
    }

    #[test]
    fn what_was_sealed_opens_for_its_purpose_and_name_alone() {
        let keys = ring(&["a secret of some length"]);
        for plain in [&b""[..], b"x", &[7; 5000]] {
            let sealed = keys.seal(Purpose::Session, "doorward", plain).expect("sealed");
            assert_eq!(open(&keys, Purpose::Session, "doorward", &sealed).as_deref(), Ok(plain));
            assert_eq!(open(&keys, Purpose::Attempt, "doorward", &sealed), Err(OpenError::Forged));
            assert_eq!(open(&keys, Purpose::Session, "other", &sealed), Err(OpenError::Forged));
        }
    }

    #[test]
    fn secrets_roll_over_without_losing_a_session() {
        let sealed = ring(&["old secret"]).seal(Purpose::Session, "n", b"who").expect("sealed");
        assert_eq!(open(&ring(&["new secret", "old secret"]), Purpose::Session, "n", &sealed), Ok(b"who".to_vec()));
        assert_eq!(open(&ring(&["new secret"]), Purpose::Session, "n", &sealed), Err(OpenError::UnknownKey));
    }

    #[test]
    fn no_altered_bit_opens() {
        let keys = ring(&["a secret"]);
        let sealed = keys.seal(Purpose::Session, "n", b"who").expect("sealed");
        let raw = URL_SAFE_NO_PAD.decode(&sealed).expect("base64");
        for bit in 0..raw.len() * 8 {
            let mut altered = raw.clone();
            altered[bit / 8] ^= 1 << (bit % 8);
            assert!(open(&keys, Purpose::Session, "n", &URL_SAFE_NO_PAD.encode(altered)).is_err(), "bit {bit}");
        }
        for length in 0..sealed.len() {
            assert!(open(&keys, Purpose::Session, "n", &sealed[..length]).is_err(), "length {length}");
        }
        assert_eq!(open(&keys, Purpose::Session, "n", "§§§"), Err(OpenError::Malformed));
    }
}
