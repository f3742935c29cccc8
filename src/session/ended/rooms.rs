//! Room for marks: how many of each kind are kept, and which give way.
//!
//! Promise: whoever fills a room pushes out marks of their own first. What gives way is the oldest of whoever has most.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use super::Digest;

/// Marks of one kind, by whoever they are from and by age.
#[derive(Default)]
pub(super) struct Room {
    by_owner: HashMap<Arc<str>, BTreeSet<(u64, Digest)>>,
    /// Every owner, by how many marks it has, and among equals by the age of its oldest.
    by_size: BTreeSet<Rank>,
    len: usize,
}

type Rank = (usize, Reverse<u64>, Arc<str>);

/// How many marks there may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limit {
    pub all: usize,
    pub of_one_owner: usize,
}

impl Room {
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn insert(&mut self, owner: &Arc<str>, at: u64, digest: Digest) {
        self.change(owner, |marks| marks.insert((at, digest)));
    }

    pub fn remove(&mut self, owner: &Arc<str>, at: u64, digest: Digest) {
        self.change(owner, |marks| marks.remove(&(at, digest)));
    }

    /// Takes out one mark that there is no room for, after `owner` got one more.
    pub fn pop_excess(&mut self, owner: &Arc<str>, limit: Limit) -> Option<(Arc<str>, u64, Digest)> {
        let theirs = self.by_owner.get(owner).map_or(0, BTreeSet::len);
        let owner = match self.by_size.last() {
            _ if theirs > limit.of_one_owner => owner.clone(),
            Some((_, _, largest)) if self.len > limit.all => largest.clone(),
            _ => return None,
        };
        let (at, digest) = self.change(&owner, BTreeSet::pop_first)?;
        Some((owner, at, digest))
    }

    /// Takes out every mark that is `needless` by its age.
    pub fn pop_needless(&mut self, needless: impl Fn(u64) -> bool) -> Vec<Digest> {
        let old = |marks: &BTreeSet<(u64, Digest)>| marks.first().is_some_and(|(at, _)| needless(*at));
        let owners: Vec<_> =
            self.by_owner.iter().filter(|(_, marks)| old(marks)).map(|(owner, _)| owner.clone()).collect();
        let mut gone = Vec::new();
        for owner in owners {
            self.change(&owner, |marks| {
                while let Some((_, digest)) = marks.first().copied().filter(|(at, _)| needless(*at)) {
                    marks.pop_first();
                    gone.push(digest);
                }
            });
        }
        gone
    }

    fn change<R>(&mut self, owner: &Arc<str>, change: impl FnOnce(&mut BTreeSet<(u64, Digest)>) -> R) -> R {
        let marks = self.by_owner.entry(owner.clone()).or_default();
        let before = rank(owner, marks);
        let result = change(marks);
        let after = rank(owner, marks);
        if marks.is_empty() {
            self.by_owner.remove(owner);
        }
        let size = |rank: &Option<Rank>| rank.as_ref().map_or(0, |(size, ..)| *size);
        self.len = (self.len + size(&after)).saturating_sub(size(&before));
        if before != after {
            before.map(|rank| self.by_size.remove(&rank));
            self.by_size.extend(after);
        }
        result
    }
}

fn rank(owner: &Arc<str>, marks: &BTreeSet<(u64, Digest)>) -> Option<Rank> {
    let (oldest, _) = marks.first()?;
    Some((marks.len(), Reverse(*oldest), owner.clone()))
}

/// What this process has seen lately, in a bounded memory: the older half of it goes at once.
pub(super) struct Seen {
    newer: HashSet<Digest>,
    older: HashSet<Digest>,
    half: usize,
}

impl Seen {
    pub fn new(half: usize) -> Seen {
        Seen { newer: HashSet::new(), older: HashSet::new(), half }
    }

    pub fn note(&mut self, digest: Digest) {
        if self.newer.len() >= self.half && !self.newer.contains(&digest) {
            self.older = std::mem::take(&mut self.newer);
        }
        self.newer.insert(digest);
    }

    pub fn has(&self, digest: &Digest) -> bool {
        self.newer.contains(digest) || self.older.contains(digest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_gives_way_is_the_oldest_of_whoever_has_most() {
        let (mut room, limit) = (Room::default(), Limit { all: 4, of_one_owner: 3 });
        let owners: [Arc<str>; 2] = ["much".into(), "little".into()];
        let mut gone = Vec::new();
        for (owner, at) in [(1, 1), (0, 2), (0, 3), (0, 4), (0, 5), (1, 6), (1, 7), (1, 8), (1, 9)] {
            room.insert(&owners[owner], at, [at as u8; 16]);
            while let Some((owner, at, digest)) = room.pop_excess(&owners[owner], limit) {
                assert_eq!(digest, [at as u8; 16]);
                gone.push((owner.to_string(), at));
            }
        }
        let gone: Vec<_> = gone.iter().map(|(owner, at)| (owner.as_str(), *at)).collect();
        assert_eq!(gone, [("much", 2), ("much", 3), ("little", 1), ("little", 6), ("little", 7)]);
        assert_eq!(room.pop_needless(|at| at < 9).len(), 3);
        assert_eq!((room.len(), room.by_owner.len(), room.by_size.len()), (1, 1, 1));
    }

    #[test]
    fn what_was_seen_is_forgotten_by_halves() {
        let mut seen = Seen::new(2);
        for n in [1, 2, 1, 3, 1, 4] {
            seen.note([n; 16]);
        }
        assert_eq!([1, 2, 3, 4].map(|n| seen.has(&[n; 16])), [true, false, true, true]);
    }
}
