//! The order in which tokens came, and the hand that goes along it.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::Kept;

/// Where there is no neighbour.
const NONE: u32 = u32::MAX;

/// How many are looked at for their end when one is put in.
const LOOKED_AT: usize = 4;

/// A list from the newest to the oldest, linked by places in `nodes`.
pub(super) struct Queue {
    nodes: Vec<Node>,
    /// Places that are empty.
    free: Vec<u32>,
    newest: u32,
    oldest: u32,
    /// Where the hand stands; at the oldest where `NONE`.
    hand: u32,
    /// Place that is looked at next for its end.
    sweep: usize,
    bytes: usize,
}

struct Node {
    kept: Option<Arc<Kept>>,
    newer: u32,
    older: u32,
}

impl Default for Queue {
    fn default() -> Self {
        Queue { nodes: Vec::new(), free: Vec::new(), newest: NONE, oldest: NONE, hand: NONE, sweep: 0, bytes: 0 }
    }
}

impl Queue {
    pub(super) fn len(&self) -> usize {
        self.nodes.len() - self.free.len()
    }

    /// Of all that it holds.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Gives the memory of its places back where all are empty.
    pub(super) fn shrink(&mut self) {
        if self.len() == 0 {
            *self = Queue::default();
        }
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<Kept>> {
        self.nodes.iter().filter_map(|node| node.kept.as_ref())
    }

    /// Puts one in as the newest.
    pub(super) fn push(&mut self, kept: Arc<Kept>) {
        let bytes = kept.bytes as usize;
        let place = match self.free.pop() {
            Some(place) => place,
            None => {
                self.nodes.push(Node { kept: None, newer: NONE, older: NONE });
                (self.nodes.len() - 1) as u32
            }
        };
        kept.slot.store(place, Relaxed);
        self.nodes[place as usize] = Node { kept: Some(kept), newer: NONE, older: self.newest };
        match self.newest {
            NONE => self.oldest = place,
            newest => self.nodes[newest as usize].newer = place,
        }
        self.newest = place;
        self.bytes += bytes;
    }

    /// Takes out one that is in.
    pub(super) fn remove(&mut self, kept: &Arc<Kept>) {
        self.take(kept.slot.load(Relaxed));
    }

    /// Takes out the next one, from where the hand stands, that was not used since it last came by or has ended.
    pub(super) fn evict(&mut self, now: u64) -> Option<Arc<Kept>> {
        // Twice around: the first time may find all of them used.
        for _ in 0..=2 * self.len() {
            let place = if self.hand == NONE { self.oldest } else { self.hand };
            let node = self.nodes.get(place as usize)?;
            let kept = node.kept.as_ref()?;
            self.hand = node.newer;
            let used = kept.used.swap(false, Relaxed);
            if !used || has_ended(kept, now) {
                return self.take(place);
            }
        }
        None
    }

    /// Looks at a few, in turn, and takes out those that have ended; `gone` is told of each.
    pub(super) fn next_ended(&mut self, now: u64, gone: impl Fn(&Kept)) {
        for _ in 0..LOOKED_AT.min(self.nodes.len()) {
            self.sweep = (self.sweep + 1) % self.nodes.len();
            let kept = self.nodes[self.sweep].kept.as_ref();
            if kept.is_some_and(|kept| has_ended(kept, now))
                && let Some(kept) = self.take(self.sweep as u32)
            {
                gone(&kept);
            }
        }
    }

    fn take(&mut self, place: u32) -> Option<Arc<Kept>> {
        let node = self.nodes.get_mut(place as usize)?;
        let kept = node.kept.take()?;
        let (newer, older) = (node.newer, node.older);
        match newer {
            NONE => self.newest = older,
            newer => self.nodes[newer as usize].older = older,
        }
        match older {
            NONE => self.oldest = newer,
            older => self.nodes[older as usize].newer = newer,
        }
        if self.hand == place {
            self.hand = newer;
        }
        self.free.push(place);
        self.bytes -= kept.bytes as usize;
        Some(kept)
    }
}

fn has_ended(kept: &Kept, now: u64) -> bool {
    kept.cached.verified.expires_at <= now
}
