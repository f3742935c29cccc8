//! Tokens that were verified, by all of their bytes, so that the next request with the same one costs a look-up.
//!
//! Promise: what is kept is what a token says and never what was decided about it; a hit waits for nobody; the memory is
//! bounded. A token is kept the second time it is seen, since one that never comes again would only push out others. What
//! goes when there is no room is chosen as SIEVE does (Zhang et al., NSDI 2024): a hand goes from the oldest to the newest
//! and takes the first that was not used since it last came by.

mod queue;

use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use bytes::Bytes;
use foldhash::fast::RandomState;
use http::{HeaderName, HeaderValue};
use papaya::{Equivalent, HashMap};
use serde_json::Value;

use self::queue::Queue;
use super::Verified;
use crate::clock::unix_seconds;

/// What is kept of a token.
#[derive(Debug)]
pub struct Cached {
    pub verified: Verified,
    /// Of the keys that verified it. With other keys it has to be verified again.
    pub generation: u64,
}

/// The cache. See the head of this file.
pub struct TokenCache {
    tokens: HashMap<ByToken, (), RandomState>,
    hasher: RandomState,
    /// Who goes next. Locked to put in and take out, never to look up.
    queue: Mutex<Queue>,
    /// Fingerprints of tokens that were offered once: a few for each place.
    seen: Box<[[AtomicU32; WAYS]]>,
    /// Says which fingerprint makes room for another.
    dice: AtomicU32,
    max_bytes: usize,
    entries: AtomicUsize,
    bytes: AtomicUsize,
    evictions: AtomicU64,
    counters: [Counters; STRIPES],
}

/// What the cache has done and what it holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    pub entries: usize,
    /// As estimated, the cache's own tables included.
    pub bytes: usize,
    pub hits: u64,
    pub misses: u64,
    pub evictions: u64,
}

/// One token in the cache.
struct Kept {
    token: Bytes,
    cached: Arc<Cached>,
    /// Whether it was used since the hand last came by.
    used: AtomicBool,
    /// Where it stands in the queue.
    slot: AtomicU32,
    bytes: u32,
}

struct ByToken(Arc<Kept>);

struct Query<'t>(&'t [u8]);

/// Threads count apart, so that no line of memory goes to and fro between them.
#[repr(align(128))]
#[derive(Default)]
struct Counters {
    hits: AtomicU64,
    misses: AtomicU64,
}

const STRIPES: usize = 16;
const WAYS: usize = 4;

/// Bytes of an entry beside its token and what it says: the map's and the queue's places for it, and the parts of it that
/// are allocated by themselves.
const OVERHEAD: usize = 112;

impl TokenCache {
    /// A cache that holds about `max_bytes` at most.
    pub fn new(max_bytes: usize) -> TokenCache {
        // For twice as many tokens as there is room for.
        let seen = (max_bytes / 1024 / WAYS).next_power_of_two().clamp(64, 1 << 20);
        let hasher = RandomState::default();
        TokenCache {
            tokens: HashMap::with_hasher(hasher.clone()),
            hasher,
            queue: Mutex::default(),
            seen: (0..seen).map(|_| Default::default()).collect(),
            max_bytes: max_bytes.saturating_sub(seen * size_of::<[AtomicU32; WAYS]>()),
            dice: AtomicU32::new(0),
            entries: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            evictions: AtomicU64::new(0),
            counters: Default::default(),
        }
    }

    /// What is kept of `token`. Whether its issuer still has the keys of that `generation` is the caller's to see, and
    /// whether it has ended is judged like all else.
    pub fn get(&self, token: &[u8]) -> Option<Arc<Cached>> {
        let counters = &self.counters[stripe()];
        let tokens = self.tokens.pin();
        let Some((ByToken(kept), ())) = tokens.get_key_value(&Query(token)) else {
            counters.misses.fetch_add(1, Relaxed);
            return None;
        };
        // To write what is there already would take the line away from the other cores.
        if !kept.used.load(Relaxed) {
            kept.used.store(true, Relaxed);
        }
        counters.hits.fetch_add(1, Relaxed);
        Some(Arc::clone(&kept.cached))
    }

    /// Takes what was verified of `token`, and keeps it if it was offered before.
    pub fn offer(&self, token: &[u8], verified: Verified, generation: u64) -> Arc<Cached> {
        if !self.was_seen(token) && !self.tokens.pin().contains_key(&Query(token)) {
            return Arc::new(Cached { verified, generation });
        }
        let (token, headers) = in_one_piece(token, &verified.headers);
        let cached = Arc::new(Cached { verified: Verified { headers, ..verified }, generation });
        self.keep(token, Arc::clone(&cached));
        cached
    }

    /// Whether `token` was offered lately and is not kept yet. From now on the answer is another one.
    fn was_seen(&self, token: &[u8]) -> bool {
        let hash = self.hasher.hash_one(Query(token));
        let fingerprint = (hash >> 32) as u32 | 1;
        let ways = &self.seen[hash as usize & (self.seen.len() - 1)];
        let at = |wanted: u32| ways.iter().find(|way| way.load(Relaxed) == wanted);
        if let Some(found) = at(fingerprint) {
            found.store(0, Relaxed);
            return true;
        }
        // Which one goes must not depend on their order, or five that come in turn would push each other out for ever; nor may
        // each way soon have its turn, or eight would.
        let any = self.hasher.hash_one(self.dice.fetch_add(1, Relaxed)) as usize;
        at(0).unwrap_or(&ways[any % WAYS]).store(fingerprint, Relaxed);
        false
    }

    fn keep(&self, token: Bytes, cached: Arc<Cached>) {
        let bytes = bytes_of(&token, &cached.verified);
        if bytes > self.max_bytes / 4 {
            return;
        }
        let now = unix_seconds(SystemTime::now());
        let kept = Arc::new(Kept {
            token: token.clone(),
            cached,
            used: AtomicBool::new(false),
            slot: AtomicU32::new(0),
            bytes: bytes as u32,
        });
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let tokens = self.tokens.pin();
        // The same token with other keys.
        if let Some((ByToken(old), ())) = tokens.remove_entry(&Query(&token)) {
            queue.remove(old);
        }
        queue.next_ended(now, |ended| {
            tokens.remove(&Query(&ended.token));
        });
        while queue.bytes() + bytes > self.max_bytes {
            let Some(victim) = queue.evict(now) else { break };
            tokens.remove(&Query(&victim.token));
            self.evictions.fetch_add(1, Relaxed);
        }
        queue.push(Arc::clone(&kept));
        tokens.insert(ByToken(kept), ());
        self.note(&queue);
    }

    /// Lets go of all tokens of the issuer at that index.
    pub fn forget_issuer(&self, issuer: usize) {
        self.forget(|verified| verified.issuer == issuer);
    }

    /// Lets go of all tokens.
    pub fn clear(&self) {
        self.forget(|_| true);
    }

    fn forget(&self, gone: impl Fn(&Verified) -> bool) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let tokens = self.tokens.pin();
        let all = queue.all().filter(|kept| gone(&kept.cached.verified));
        for kept in all.cloned().collect::<Vec<_>>() {
            queue.remove(&kept);
            tokens.remove(&Query(&kept.token));
        }
        queue.shrink();
        self.note(&queue);
    }

    fn note(&self, queue: &Queue) {
        self.entries.store(queue.len(), Relaxed);
        self.bytes.store(queue.bytes(), Relaxed);
    }

    /// For the metrics.
    pub fn stats(&self) -> Stats {
        let sum =
            |counter: fn(&Counters) -> &AtomicU64| self.counters.iter().map(|all| counter(all).load(Relaxed)).sum();
        Stats {
            entries: self.entries.load(Relaxed),
            bytes: self.bytes.load(Relaxed) + size_of_val(&*self.seen),
            hits: sum(|counters| &counters.hits),
            misses: sum(|counters| &counters.misses),
            evictions: self.evictions.load(Relaxed),
        }
    }
}

/// The counters of this thread.
fn stripe() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local!(static MINE: usize = NEXT.fetch_add(1, Relaxed) % STRIPES);
    MINE.with(|mine| *mine)
}

/// Length and last bytes, which are of the signature and differ with everything before them. Whoever makes two tokens that
/// agree in them has made one that does not verify and is not kept; equality is of all bytes.
fn hash_of<H: Hasher>(token: &[u8], state: &mut H) {
    let last = token.len().saturating_sub(64);
    state.write(&token[last..]);
    state.write_usize(token.len());
}

impl Hash for ByToken {
    fn hash<H: Hasher>(&self, state: &mut H) {
        hash_of(&self.0.token, state);
    }
}

impl PartialEq for ByToken {
    fn eq(&self, other: &Self) -> bool {
        self.0.token == other.0.token
    }
}

impl Eq for ByToken {}

impl Hash for Query<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        hash_of(self.0, state);
    }
}

impl Equivalent<ByToken> for Query<'_> {
    fn equivalent(&self, key: &ByToken) -> bool {
        *self.0 == *key.0.token
    }
}

/// The token, and the headers with their values in the same piece of memory as it: each by itself would take more memory
/// for being there than for what it says.
fn in_one_piece(token: &[u8], headers: &[(HeaderName, HeaderValue)]) -> (Bytes, Box<[(HeaderName, HeaderValue)]>) {
    let length = token.len() + headers.iter().map(|(_, value)| value.len()).sum::<usize>();
    let mut all = Vec::with_capacity(length);
    all.extend_from_slice(token);
    headers.iter().for_each(|(_, value)| all.extend_from_slice(value.as_bytes()));
    let all = Bytes::from(all);
    let mut at = token.len();
    let place = |(name, value): &(HeaderName, HeaderValue)| {
        let here = all.slice(at..at + value.len());
        at += value.len();
        // The same bytes were a value before.
        (name.clone(), HeaderValue::from_maybe_shared(here).unwrap_or_else(|_| value.clone()))
    };
    let headers = headers.iter().map(place).collect();
    (all.slice(..token.len()), headers)
}

/// About how much memory an entry takes.
fn bytes_of(token: &[u8], verified: &Verified) -> usize {
    let Verified { kind: _, identity: who, .. } = verified;
    let text = |text: &Option<String>| text.as_deref().map_or(0, |text| heap(text.len()));
    let groups = who.groups.iter().flatten().map(|group| 24 + heap(group.len())).sum::<usize>();
    let identity = heap(who.provider.len())
        + heap(who.subject.len())
        + heap(who.user.len())
        + text(&who.email)
        + text(&who.preferred_username)
        + text(&who.name)
        + groups
        + who.claims.0.iter().map(|(name, value)| 56 + heap(name.len()) + bytes_of_value(value)).sum::<usize>();
    let values = verified.headers.iter().map(|(_, value)| value.len()).sum::<usize>();
    let headers = heap(size_of_val(&*verified.headers));
    OVERHEAD
        + heap(token.len() + values)
        + size_of::<Kept>()
        + heap(size_of::<Cached>() + 16)
        + heap(verified.audiences.bytes())
        + heap(verified.scopes.bytes())
        + verified.token_id.as_ref().map_or(0, |id| heap(id.len()))
        + identity
        + headers
}

fn bytes_of_value(value: &Value) -> usize {
    match value {
        Value::String(text) => heap(text.len()),
        Value::Array(items) => items.iter().map(|item| 32 + bytes_of_value(item)).sum(),
        Value::Object(members) => {
            members.iter().map(|(name, value)| 56 + heap(name.len()) + bytes_of_value(value)).sum::<usize>() + 64
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    }
}

/// An allocation, rounded up as allocators do.
fn heap(length: usize) -> usize {
    match length {
        0 => 0,
        length => (length + length / 10).next_multiple_of(8).max(16),
    }
}
