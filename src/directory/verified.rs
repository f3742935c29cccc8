//! Passwords that were right a moment ago, so that not every request of a program asks the directory.
//!
//! Promise: no password is kept. What is kept is a digest under a key of this process, and it ends by itself.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ring::hmac::{HMAC_SHA256, Key, sign};
use ring::rand::SystemRandom;
use zeroize::Zeroizing;

/// Most of them at once.
const MOST: usize = 10_000;

type Digest = [u8; 32];

/// What was right, by digest, and whose it is.
pub struct VerifiedPasswords<T> {
    key: Key,
    lifetime: Duration,
    known: Mutex<HashMap<Digest, (Instant, Arc<T>)>>,
}

impl<T> VerifiedPasswords<T> {
    /// `None` where the system's random source fails.
    pub fn new(lifetime: Duration) -> Option<Self> {
        let key = Key::generate(HMAC_SHA256, &SystemRandom::new()).ok()?;
        Some(VerifiedPasswords { key, lifetime, known: Mutex::default() })
    }

    fn digest(&self, name: &str, password: &str) -> Digest {
        let mut text = Zeroizing::new(Vec::with_capacity(8 + name.len() + password.len()));
        text.extend_from_slice(&(name.len() as u64).to_be_bytes());
        text.extend_from_slice(name.as_bytes());
        text.extend_from_slice(password.as_bytes());
        let mut digest = [0; 32];
        digest.copy_from_slice(sign(&self.key, &text).as_ref());
        digest
    }

    fn known(&self) -> MutexGuard<'_, HashMap<Digest, (Instant, Arc<T>)>> {
        // The map is whole between any two instructions.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whose they are, where they were right lately.
    pub fn get(&self, name: &str, password: &str) -> Option<Arc<T>> {
        let digest = self.digest(name, password);
        let known = self.known();
        let (at, who) = known.get(&digest)?;
        (at.elapsed() < self.lifetime).then(|| Arc::clone(who))
    }

    /// Remembers that they are right.
    pub fn put(&self, name: &str, password: &str, who: Arc<T>) {
        if self.lifetime.is_zero() {
            return;
        }
        let digest = self.digest(name, password);
        let mut known = self.known();
        if known.len() >= MOST {
            known.retain(|_, (at, _)| at.elapsed() < self.lifetime);
        }
        if known.len() < MOST {
            known.insert(digest, (Instant::now(), who));
        }
    }

    /// Forgets all of them.
    pub fn clear(&self) {
        *self.known() = HashMap::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_counts_for_its_name_alone_and_for_its_time() {
        let lately = VerifiedPasswords::new(Duration::from_secs(60)).expect("randomness");
        lately.put("bob", "secret", Arc::new(7));
        assert_eq!(lately.get("bob", "secret").as_deref(), Some(&7));
        for (name, password) in
            [("bob", "Secret"), ("bo", "bsecret"), ("bobs", "ecret"), ("ada", "secret"), ("bob", "")]
        {
            assert!(lately.get(name, password).is_none(), "{name} {password}");
        }
        lately.clear();
        assert!(lately.get("bob", "secret").is_none());
        let never = VerifiedPasswords::new(Duration::ZERO).expect("randomness");
        never.put("bob", "secret", Arc::new(7));
        assert!(never.get("bob", "secret").is_none());
    }

    #[test]
    fn no_more_are_kept_than_there_is_room_for() {
        let lately = VerifiedPasswords::new(Duration::from_secs(60)).expect("randomness");
        for n in 0..MOST + 10 {
            lately.put(&n.to_string(), "x", Arc::new(n));
        }
        assert_eq!(lately.known().len(), MOST);
    }
}
