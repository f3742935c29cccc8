//! What is good for one use: remembered once it was used, for as long as it could be used again.
//!
//! Promise: the memory of each list is bounded; where one is full, what would have ended first is forgotten. What must not be
//! used twice is in lists of its own, into which only what was verified gets, so nobody but a provider fills them. Whoever
//! begins sign-ins fills the list of those that were answered, and pushes out nothing but other words for those who come back.

use std::collections::{BTreeSet, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use ring::digest::{Context, SHA256};

/// How many are remembered.
const MAX_USED: usize = 100_000;

/// The list.
#[derive(Debug, Default)]
pub(super) struct Used(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    ids: HashSet<[u8; 32]>,
    /// By when they can be forgotten.
    by_end: BTreeSet<(u64, [u8; 32])>,
}

fn digest_of([first, second]: [&str; 2]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    context.update(&(first.len() as u64).to_le_bytes());
    context.update(first.as_bytes());
    context.update(second.as_bytes());
    let mut id = [0; 32];
    id.copy_from_slice(context.finish().as_ref());
    id
}

impl Used {
    /// Whether this is the first use of `id`, two texts that name it together; it is remembered until `end`, in seconds
    /// since 1970.
    pub fn once(&self, id: [&str; 2], end: u64, now: u64) -> bool {
        let id = digest_of(id);
        let mut known = self.known();
        let Known { ids, by_end } = &mut *known;
        while let Some((_, old)) = by_end.first().copied().filter(|(end, _)| *end <= now || by_end.len() >= MAX_USED) {
            by_end.pop_first();
            ids.remove(&old);
        }
        let first = ids.insert(id);
        if first {
            by_end.insert((end, id));
        }
        first
    }

    /// Whether `id` was used, as far as is remembered.
    pub fn holds(&self, id: [&str; 2]) -> bool {
        self.known().ids.contains(&digest_of(id))
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // A poisoned lock means a panic in memory work above; an id too many or too few is all that can be wrong then.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_used_once_until_its_end() {
        let used = Used::default();
        assert!(used.once(["a", "bc"], 10, 1));
        assert!(used.once(["ab", "c"], 20, 1), "another, although it reads the same");
        assert!(!used.once(["a", "bc"], 10, 9));
        assert!(used.once(["a", "bc"], 30, 10), "it was over by then");
        assert!(!used.once(["ab", "c"], 20, 10));
    }
}
