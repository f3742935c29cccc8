//! Sessions that ended before their time: what makes sealed cookies end when somebody says so.
//!
//! A cookie cannot be called back. So whatever ends sessions leaves a mark here, and a session that was signed in when the
//! mark was made is refused, for as long as it could have lived. Promise: what has ended stays ended until then; the memory
//! is bounded; each way of ending has its own room, so that what anybody may send pushes out nothing that a provider or a
//! person said. While nothing has ended, a session costs one look at one number.
//!
//! The list is of one process: a restart empties it, and other replicas do not know of it.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use foldhash::fast::RandomState;
use ring::digest::{Context, SHA256};
use tokio::sync::watch;

use super::{CLOCK_TOLERANCE, Session};
use crate::background;
use crate::clock::unix_seconds;
use crate::telemetry::metrics;

/// Which sessions end, and who says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark<'a> {
    /// The session of that id: its person signed out.
    SignedOut { id: &'a str },
    /// A provider's `sid`, by a logout token. Sessions of `subject` that were made without a `sid` cannot be told from
    /// the one that is meant, and end too.
    ProviderSession { provider: &'a str, session: &'a str, subject: Option<&'a str> },
    /// All sessions of a provider's `sub`, by a logout token.
    Subject { provider: &'a str, subject: &'a str },
    /// A provider's `sid`, said by a browser, which may be anybody's.
    FrontChannel { provider: &'a str, session: &'a str },
}

/// How a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    SignedOut,
    BackChannel,
    FrontChannel,
}

const ENDINGS: [Ending; 3] = [Ending::SignedOut, Ending::BackChannel, Ending::FrontChannel];

/// Marks that each way of ending has room for; the oldest gives way.
const ROOM: [usize; ENDINGS.len()] = [100_000, 200_000, 10_000];
/// Between two looks for marks that have become needless.
const SWEEP_EVERY: Duration = Duration::from_secs(60);
/// Seconds between two warnings that there is no room.
const WARN_EVERY: u64 = 60;

/// SHA-256 of what a mark names, cut: marks are of one size, whatever providers call their sessions.
type Digest = [u8; 16];

/// The list. See the head of this file.
pub struct Ended {
    /// Marks and floors together.
    all: AtomicUsize,
    /// Marks of each way of ending.
    counts: [AtomicUsize; ENDINGS.len()],
    /// When each mark was made, in seconds since 1970.
    marks: papaya::HashMap<Digest, u64, RandomState>,
    /// By provider, the time up to which all of its sessions count as ended, where marks of its logout tokens gave way.
    floors: ArcSwap<HashMap<Arc<str>, u64>>,
    /// Locked to end sessions and to sweep, never to look one up.
    order: Mutex<Order>,
    room: [usize; ENDINGS.len()],
    /// Seconds for which a mark is needed.
    lifetime: u64,
}

/// Marks by age, with the provider of each that has one.
#[derive(Default)]
struct Order {
    by_age: [BTreeMap<(u64, Digest), Arc<str>>; ENDINGS.len()],
    /// The providers' names, each once in memory.
    providers: Vec<Arc<str>>,
    warned_at: Option<u64>,
}

impl Ended {
    /// A list for sessions that live for `absolute` at most.
    pub fn new(absolute: Duration) -> Ended {
        Ended::with_room(absolute, ROOM)
    }

    fn with_room(absolute: Duration, room: [usize; ENDINGS.len()]) -> Ended {
        Ended {
            all: AtomicUsize::new(0),
            counts: Default::default(),
            marks: papaya::HashMap::default(),
            floors: ArcSwap::default(),
            order: Mutex::default(),
            room,
            // A replica whose clock is ahead makes sessions that live that much longer by ours.
            lifetime: absolute.as_secs().saturating_add(CLOCK_TOLERANCE),
        }
    }

    /// Ends the sessions that `mark` names and that were signed in by now, `at` in seconds since 1970.
    pub fn end(&self, mark: Mark<'_>, at: u64) {
        let mut order = self.order();
        self.forget(&mut order, at);
        let (ending, provider) = (mark.ending(), order.name(mark.provider()));
        for digest in mark.digests().into_iter().flatten() {
            self.put(&mut order, ending, &provider, digest, at);
        }
        self.make_room(&mut order, ending, at);
        self.recount(&order);
    }

    /// How `session` ended; `None` where it did not.
    pub fn ended(&self, session: &Session) -> Option<Ending> {
        if self.all.load(Relaxed) == 0 {
            return None;
        }
        let ending = self.find(session)?;
        metrics().ended_session_uses.with_label_values(&[ending.name()]).inc();
        Some(ending)
    }

    fn find(&self, session: &Session) -> Option<Ending> {
        let (who, since) = (&session.identity, session.signed_in_at);
        if self.floors.load().get(who.provider.as_str()).is_some_and(|floor| since <= *floor) {
            return Some(Ending::BackChannel);
        }
        let any = |ending: Ending| self.counts[ending as usize].load(Relaxed) > 0;
        let marks = self.marks.pin();
        // What was said of others in the same second counts for a session that began in it.
        let ended = |digest: &Digest| marks.get(digest).is_some_and(|at| since <= *at);
        // No other session has that id, whenever it was made.
        if any(Ending::SignedOut) && marks.contains_key(&digest(OF_ID, "", &session.id)) {
            return Some(Ending::SignedOut);
        }
        let theirs = session.authentication.provider_session.as_deref();
        if any(Ending::BackChannel) {
            let by_session = match theirs {
                Some(theirs) => digest(OF_SESSION, &who.provider, theirs),
                None => digest(OF_SUBJECT_WITHOUT_SESSION, &who.provider, &who.subject),
            };
            if ended(&by_session) || ended(&digest(OF_SUBJECT, &who.provider, &who.subject)) {
                return Some(Ending::BackChannel);
            }
        }
        let by_browser = theirs.filter(|_| any(Ending::FrontChannel));
        let by_browser = by_browser.is_some_and(|theirs| ended(&digest(BY_BROWSER, &who.provider, theirs)));
        by_browser.then_some(Ending::FrontChannel)
    }

    /// Forgets what no session can be meant by any more, until `shutdown` turns true.
    pub async fn keep_swept(&self, shutdown: watch::Receiver<bool>) {
        background::repeat(shutdown, |_| async {
            self.sweep(unix_seconds(SystemTime::now()));
            Some(SWEEP_EVERY)
        })
        .await;
    }

    fn sweep(&self, now: u64) {
        let mut order = self.order();
        self.forget(&mut order, now);
        self.recount(&order);
    }

    fn order(&self) -> MutexGuard<'_, Order> {
        // A poisoned lock means a panic in memory work below; a mark too many or too few is all that can be wrong then.
        self.order.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, order: &mut Order, ending: Ending, provider: &Arc<str>, digest: Digest, at: u64) {
        let marks = self.marks.pin();
        let queue = &mut order.by_age[ending as usize];
        match marks.get(&digest).copied() {
            // The clock was put back, or two said the same at once.
            Some(known) if known >= at => return,
            Some(known) => queue.remove(&(known, digest)),
            None => None,
        };
        marks.insert(digest, at);
        queue.insert((at, digest), provider.clone());
    }

    fn make_room(&self, order: &mut Order, ending: Ending, now: u64) {
        let queue = &mut order.by_age[ending as usize];
        let mut gone = 0;
        while queue.len() > self.room[ending as usize] {
            let Some(((at, digest), provider)) = queue.pop_first() else { break };
            if ending == Ending::BackChannel {
                // Before the mark goes, or the session would live in between.
                self.raise_floor(&provider, at);
            }
            self.marks.pin().remove(&digest);
            gone += 1;
        }
        if gone == 0 {
            return;
        }
        metrics().ended_sessions_dropped.with_label_values(&[ending.name()]).inc_by(gone);
        if order.warned_at.is_none_or(|warned| now >= warned.saturating_add(WARN_EVERY)) {
            order.warned_at = Some(now);
            let consequence = match ending {
                Ending::BackChannel => "all sessions of the provider that are as old as the oldest one have ended",
                _ => "the oldest ones are only ended in their browsers",
            };
            tracing::warn!(kind = ending.name(), consequence, "more sessions were ended than can be remembered");
        }
    }

    fn raise_floor(&self, provider: &Arc<str>, at: u64) {
        let floors = self.floors.load();
        if floors.get(provider).is_some_and(|floor| *floor >= at) {
            return;
        }
        let mut raised = HashMap::clone(&floors);
        raised.insert(provider.clone(), at);
        self.floors.store(Arc::new(raised));
    }

    /// Takes away what was said so long ago that no session is that old.
    fn forget(&self, order: &mut Order, now: u64) {
        let needless = |at: u64| at.saturating_add(self.lifetime) <= now;
        let marks = self.marks.pin();
        for queue in &mut order.by_age {
            while let Some(oldest) = queue.first_entry().filter(|oldest| needless(oldest.key().0)) {
                marks.remove(&oldest.remove_entry().0.1);
            }
        }
        let floors = self.floors.load();
        if floors.values().any(|at| needless(*at)) {
            let mut needed = HashMap::clone(&floors);
            needed.retain(|_, at| !needless(*at));
            self.floors.store(Arc::new(needed));
        }
    }

    fn recount(&self, order: &Order) {
        let mut all = self.floors.load().len();
        for ending in ENDINGS {
            let count = order.by_age[ending as usize].len();
            all += count;
            self.counts[ending as usize].store(count, Relaxed);
            let shown = i64::try_from(count).unwrap_or(i64::MAX);
            metrics().ended_sessions.with_label_values(&[ending.name()]).set(shown);
        }
        self.all.store(all, Relaxed);
    }
}

impl Order {
    fn name(&mut self, provider: &str) -> Arc<str> {
        if let Some(known) = self.providers.iter().find(|known| &***known == provider) {
            return known.clone();
        }
        let name: Arc<str> = provider.into();
        self.providers.push(name.clone());
        name
    }
}

impl std::fmt::Debug for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ended").field("all", &self.all).finish_non_exhaustive()
    }
}

impl Ending {
    /// The word in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Ending::SignedOut => "signed_out",
            Ending::BackChannel => "back_channel",
            Ending::FrontChannel => "front_channel",
        }
    }

    /// For the log.
    pub fn detail(self) -> &'static str {
        match self {
            Ending::SignedOut => "its person signed out",
            Ending::BackChannel => "the provider ended it by a logout token",
            Ending::FrontChannel => "the provider ended it by way of the browser",
        }
    }
}

impl<'a> Mark<'a> {
    fn ending(self) -> Ending {
        match self {
            Mark::SignedOut { .. } => Ending::SignedOut,
            Mark::ProviderSession { .. } | Mark::Subject { .. } => Ending::BackChannel,
            Mark::FrontChannel { .. } => Ending::FrontChannel,
        }
    }

    fn provider(self) -> &'a str {
        match self {
            Mark::SignedOut { .. } => "",
            Mark::ProviderSession { provider, .. }
            | Mark::Subject { provider, .. }
            | Mark::FrontChannel { provider, .. } => provider,
        }
    }

    fn digests(self) -> [Option<Digest>; 2] {
        match self {
            Mark::SignedOut { id } => [Some(digest(OF_ID, "", id)), None],
            Mark::ProviderSession { provider, session, subject } => [
                Some(digest(OF_SESSION, provider, session)),
                subject.map(|subject| digest(OF_SUBJECT_WITHOUT_SESSION, provider, subject)),
            ],
            Mark::Subject { provider, subject } => [Some(digest(OF_SUBJECT, provider, subject)), None],
            Mark::FrontChannel { provider, session } => [Some(digest(BY_BROWSER, provider, session)), None],
        }
    }
}

const OF_ID: u8 = 0;
const OF_SESSION: u8 = 1;
const OF_SUBJECT: u8 = 2;
const OF_SUBJECT_WITHOUT_SESSION: u8 = 3;
const BY_BROWSER: u8 = 4;

/// Of `kind`, the provider's name and the value, so that no two of them read the same.
fn digest(kind: u8, provider: &str, value: &str) -> Digest {
    let mut context = Context::new(&SHA256);
    context.update(&[kind]);
    context.update(&(provider.len() as u64).to_le_bytes());
    context.update(provider.as_bytes());
    context.update(value.as_bytes());
    let mut cut = Digest::default();
    cut.copy_from_slice(&context.finish().as_ref()[..16]);
    cut
}

#[cfg(test)]
mod tests;
