//! The reference id of a request: stands on its page or in its JSON answer, and finds its log lines.
//!
//! Promise: no two requests of a process have the same, and two processes have the same one with a chance of
//! 1 in 2^64 a pair. It is no secret and holds none.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use ring::rand::{SecureRandom, SystemRandom};

/// Crockford's base 32: without `i`, `l`, `o` and `u`, so that it survives being read aloud.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Five bits a character: thirteen hold 64 bits.
const LENGTH: usize = 13;

static START: LazyLock<u64> = LazyLock::new(|| {
    let mut bytes = [0; 8];
    match SystemRandom::new().fill(&mut bytes) {
        Ok(()) => u64::from_le_bytes(bytes),
        // Uniqueness between processes is all that is lost, and the hasher's seed is random too.
        Err(_) => RandomState::new().hash_one(std::process::id()),
    }
});
static COUNT: AtomicU64 = AtomicU64::new(0);

/// A reference id, thirteen characters of `0-9a-z`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Reference([u8; LENGTH]);

impl Reference {
    /// The next one of this process.
    pub fn next() -> Self {
        Reference::of(START.wrapping_add(COUNT.fetch_add(1, Ordering::Relaxed)))
    }

    /// SplitMix64's finaliser: one to one on 64 bits, so unequal counts stay unequal, and neighbours look unlike,
    /// which keeps one from being taken for the next in a log.
    fn of(count: u64) -> Self {
        let mut x = count;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^= x >> 31;
        let mut text = [0; LENGTH];
        for character in text.iter_mut().rev() {
            *character = ALPHABET[(x & 31) as usize];
            x >>= 5;
        }
        Reference(text)
    }

    /// Whether `text` is written as one.
    pub fn is_one(text: &str) -> bool {
        text.len() == LENGTH && text.bytes().all(|character| ALPHABET.contains(&character))
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub fn as_str(&self) -> &str {
        // The alphabet is ASCII, so this cannot fail.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn references_are_unique_over_threads_and_readable() {
        let threads: Vec<_> =
            (0..4).map(|_| std::thread::spawn(|| (0..5000).map(|_| Reference::next()).collect::<Vec<_>>())).collect();
        let all: Vec<_> = threads.into_iter().flat_map(|t| t.join().expect("thread")).collect();
        assert_eq!(all.iter().collect::<HashSet<_>>().len(), 20_000);
        assert!(all.iter().all(|r| r.as_str().len() == 13 && r.as_str().bytes().all(|b| ALPHABET.contains(&b))));
        assert!(all.iter().all(|r| Reference::is_one(r.as_str())));
        for other in ["", "abc", "00000000000000", "000000000000l", "000000000000é"] {
            assert!(!Reference::is_one(other), "{other}");
        }
    }
}
