//! Sessions that ended before their time: what makes sealed cookies end when somebody says so.
//!
//! A cookie cannot be called back. So whatever ends sessions leaves a mark here, and a session that was signed in when the
//! mark was made is refused, for as long as it could have lived. Promise: what has ended stays ended until then, also where
//! the limit of sessions is changed. The memory is bounded: without room, what a provider ended stays ended and takes
//! sessions of its age along, and what a person ended is forgotten, the oldest first. What anybody may send, frames that
//! name sessions never seen here, pushes out nothing but its like. While nothing has ended, a session costs one look at
//! one number.
//!
//! The list is of one process: a restart empties it, and other replicas do not know of it.

mod rooms;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use foldhash::fast::RandomState;
use ring::digest::{Context, SHA256};
use tokio::sync::watch;

use self::rooms::{Limit, Room, Seen};
use super::{CLOCK_TOLERANCE, Session};
use crate::background;
use crate::clock::unix_seconds;
use crate::telemetry::metrics;

/// Which sessions end, and who says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark<'a> {
    /// The session of that id: its person signed out.
    SignedOut { id: &'a str },
    /// The session of that id: its browser got another. It ends [`GRACE`] seconds later.
    Replaced { id: &'a str },
    /// A provider's `sid`, by a logout token. Sessions of `subject` that were made without a `sid` cannot be told from
    /// the one that is meant, and end too.
    ProviderSession { provider: &'a str, session: &'a str, subject: Option<&'a str> },
    /// All sessions of a provider's `sub`, by a logout token.
    Subject { provider: &'a str, subject: &'a str },
    /// A provider's `sid`, said by a browser at `from`, which may be anybody's.
    FrontChannel { provider: &'a str, session: &'a str, from: Option<IpAddr> },
}

/// How a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    SignedOut,
    Replaced,
    BackChannel,
    FrontChannel,
    /// By the limit that sessions had before it was raised.
    Expired,
}

const ENDINGS: [Ending; 5] =
    [Ending::SignedOut, Ending::Replaced, Ending::BackChannel, Ending::FrontChannel, Ending::Expired];

/// Seconds for which a session goes on after its browser got another: what the browser sent before it had the new cookie
/// is answered as if nothing had happened.
pub const GRACE: u64 = 10;

/// Where marks are kept, so that none of one kind pushes out another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// What persons ended.
    SignedOut,
    /// What logout tokens ended.
    BackChannel,
    /// What frames ended, of sessions that were seen here.
    FrontChannel,
    /// What frames say of sessions that nobody has seen, which anybody can make up.
    Unknown,
}

const PLACES: [Place; 4] = [Place::SignedOut, Place::BackChannel, Place::FrontChannel, Place::Unknown];

/// How many marks there is room for.
const LIMITS: [Limit; PLACES.len()] = [
    Limit { all: 100_000, of_one_owner: usize::MAX },
    Limit { all: 200_000, of_one_owner: usize::MAX },
    Limit { all: 200_000, of_one_owner: usize::MAX },
    Limit { all: 10_000, of_one_owner: 300 },
];
/// Half of the provider sessions that are known to have been seen here.
const SEEN: usize = 100_000;
/// Between two looks for marks that have become needless.
const SWEEP_EVERY: Duration = Duration::from_secs(60);
/// Seconds between two warnings that there is no room.
const WARN_EVERY: u64 = 60;

/// SHA-256 of what a mark names, cut: marks are of one size, whatever providers call their sessions.
type Digest = [u8; 16];

/// The list. See the head of this file.
pub struct Ended {
    /// Marks, floors and whether there is an `expired`, together.
    all: AtomicUsize,
    /// Counts what was said here, so that a look again is needed only where it grew.
    said: AtomicU64,
    /// Marks of each place.
    counts: [AtomicUsize; PLACES.len()],
    marks: papaya::HashMap<Digest, Placed, RandomState>,
    /// By provider, the time up to which all of its sessions count as ended, where marks of it gave way.
    floors: ArcSwap<HashMap<Arc<str>, u64>>,
    /// What began by then had expired before the limit was raised; 0 where it was not.
    expired: AtomicU64,
    /// Locked to end sessions and to sweep, never to look one up.
    order: Mutex<Order>,
    limits: [Limit; PLACES.len()],
    /// Provider sessions that people had here.
    seen: Mutex<Seen>,
    /// Seconds for which a session lives.
    absolute: AtomicU64,
}

/// A mark: from when on it counts, in seconds since 1970, and whom it takes room from.
#[derive(Clone)]
struct Placed {
    at: u64,
    owner: Arc<str>,
}

#[derive(Default)]
struct Order {
    rooms: [Room; PLACES.len()],
    warned_at: Option<u64>,
}

impl Ended {
    /// A list for sessions that live for `absolute` at most.
    pub fn new(absolute: Duration) -> Ended {
        // Each is there from the start, as 0: what a graph cannot find looks like a fault of the graph.
        for place in PLACES {
            let _ = metrics().ended_sessions.with_label_values(&[place.name()]);
            let _ = metrics().ended_sessions_dropped.with_label_values(&[place.name()]);
        }
        for ending in ENDINGS {
            let _ = metrics().ended_session_uses.with_label_values(&[ending.name()]);
        }
        Ended::with_room(absolute, LIMITS, SEEN)
    }

    fn with_room(absolute: Duration, limits: [Limit; PLACES.len()], seen: usize) -> Ended {
        Ended {
            all: AtomicUsize::new(0),
            said: AtomicU64::new(0),
            counts: Default::default(),
            marks: papaya::HashMap::default(),
            floors: ArcSwap::default(),
            expired: AtomicU64::new(0),
            order: Mutex::default(),
            limits,
            seen: Mutex::new(Seen::new(seen)),
            absolute: AtomicU64::new(absolute.as_secs()),
        }
    }

    /// From `now` on sessions live for `absolute`. Where that is longer than before, what had expired by then stays so:
    /// it may have been ended, and nobody remembers.
    pub fn live_for(&self, absolute: Duration, now: u64) {
        let order = self.order();
        let before = self.absolute.swap(absolute.as_secs(), Relaxed);
        if before < absolute.as_secs() {
            self.expired.fetch_max(now.saturating_sub(before), Relaxed);
        }
        self.recount(&order);
    }

    /// Notes that `session` is a real one, so that what a frame says of it is remembered as well as a logout token.
    pub fn saw(&self, session: &Session) {
        let Some(theirs) = &session.authentication.provider_session else { return };
        self.seen().note(digest(BY_BROWSER, &session.identity.provider, theirs));
    }

    /// Ends the sessions that `mark` names and that were signed in by now, `at` in seconds since 1970. Returns whether
    /// there is any reason to believe that such a session exists; frames can name any.
    pub fn end(&self, mark: Mark<'_>, at: u64) -> bool {
        let place = self.place(mark);
        let owner: Arc<str> = match mark {
            Mark::FrontChannel { from, .. } if place == Place::Unknown => {
                from.map_or_else(String::new, |from| from.to_string()).into()
            }
            mark => mark.provider().into(),
        };
        let at = if matches!(mark, Mark::Replaced { .. }) { at.saturating_add(GRACE) } else { at };
        let mut order = self.order();
        for digest in mark.digests(place).into_iter().flatten() {
            self.put(&mut order, place, &owner, digest, at);
            self.make_room(&mut order, place, &owner, at);
        }
        self.recount(&order);
        // After the marks: whoever sees the number sees them.
        self.said.fetch_add(1, Release);
        place != Place::Unknown
    }

    /// Another number than before wherever more sessions may have ended.
    pub fn said(&self) -> u64 {
        self.said.load(Acquire)
    }

    /// How `session` ended by `now`; `None` where it did not. Counts that it was used after its end.
    pub fn ended(&self, session: &Session, now: u64) -> Option<Ending> {
        let ending = self.look_at(session, now)?;
        metrics().ended_session_uses.with_label_values(&[ending.name()]).inc();
        Some(ending)
    }

    /// The same for explaining: it is no use of the session.
    pub fn look_at(&self, session: &Session, now: u64) -> Option<Ending> {
        match self.all.load(Relaxed) {
            0 => None,
            _ => self.find(session, now),
        }
    }

    /// Whether the browser of `session` has got another, so that nothing may put this one into its place again.
    pub fn is_replaced(&self, session: &Session) -> bool {
        self.any(Place::SignedOut) && self.marks.pin().contains_key(&digest(OF_REPLACED, "", &session.id))
    }

    fn find(&self, session: &Session, now: u64) -> Option<Ending> {
        let (who, since) = (&session.identity, session.signed_in_at);
        if since <= self.expired.load(Relaxed) {
            return Some(Ending::Expired);
        }
        if self.floors.load().get(who.provider.as_str()).is_some_and(|floor| since <= *floor) {
            return Some(Ending::BackChannel);
        }
        let marks = self.marks.pin();
        // What was said of others in the same second counts for a session that began in it.
        let ended = |digest: &Digest| marks.get(digest).is_some_and(|mark| since <= mark.at);
        if self.any(Place::SignedOut) {
            // No other session has that id, whenever it was made.
            if marks.contains_key(&digest(OF_ID, "", &session.id)) {
                return Some(Ending::SignedOut);
            }
            if marks.get(&digest(OF_REPLACED, "", &session.id)).is_some_and(|mark| mark.at <= now) {
                return Some(Ending::Replaced);
            }
        }
        let theirs = session.authentication.provider_session.as_deref();
        if self.any(Place::BackChannel) {
            let by_session = match theirs {
                Some(theirs) => digest(OF_SESSION, &who.provider, theirs),
                None => digest(OF_SUBJECT_WITHOUT_SESSION, &who.provider, &who.subject),
            };
            if ended(&by_session) || ended(&digest(OF_SUBJECT, &who.provider, &who.subject)) {
                return Some(Ending::BackChannel);
            }
        }
        let by_browser = |(place, kind): (Place, u8)| {
            theirs.is_some_and(|theirs| self.any(place) && ended(&digest(kind, &who.provider, theirs)))
        };
        let kinds = [(Place::FrontChannel, BY_BROWSER), (Place::Unknown, BY_STRANGER)];
        kinds.into_iter().any(by_browser).then_some(Ending::FrontChannel)
    }

    fn any(&self, place: Place) -> bool {
        self.counts[place as usize].load(Relaxed) > 0
    }

    /// Forgets what no session can be meant by any more, until `shutdown` turns true.
    pub async fn keep_swept(&self, shutdown: watch::Receiver<bool>) {
        background::repeat(Duration::ZERO, shutdown, |_| async {
            self.sweep(unix_seconds(SystemTime::now()));
            Some(SWEEP_EVERY)
        })
        .await;
    }

    /// Takes away what was said so long ago that no session is that old.
    fn sweep(&self, now: u64) {
        let mut order = self.order();
        // A replica whose clock is ahead makes sessions that live that much longer by ours.
        let lifetime = self.absolute.load(Relaxed).saturating_add(CLOCK_TOLERANCE);
        let needless = |at: u64| at.saturating_add(lifetime) <= now;
        let marks = self.marks.pin();
        for room in &mut order.rooms {
            for digest in room.pop_needless(needless) {
                marks.remove(&digest);
            }
        }
        let floors = self.floors.load();
        if floors.values().any(|at| needless(*at)) {
            let mut needed = HashMap::clone(&floors);
            needed.retain(|_, at| !needless(*at));
            self.floors.store(Arc::new(needed));
        }
        if needless(self.expired.load(Relaxed)) {
            self.expired.store(0, Relaxed);
        }
        self.recount(&order);
    }

    // A poisoned lock means a panic in memory work below; a mark too many or too few is all that can be wrong then.

    fn order(&self) -> MutexGuard<'_, Order> {
        self.order.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn place(&self, mark: Mark<'_>) -> Place {
        match mark {
            Mark::SignedOut { .. } | Mark::Replaced { .. } => Place::SignedOut,
            Mark::ProviderSession { .. } | Mark::Subject { .. } => Place::BackChannel,
            Mark::FrontChannel { provider, session, .. } => {
                match self.seen().has(&digest(BY_BROWSER, provider, session)) {
                    true => Place::FrontChannel,
                    false => Place::Unknown,
                }
            }
        }
    }

    fn put(&self, order: &mut Order, place: Place, owner: &Arc<str>, digest: Digest, at: u64) {
        let marks = self.marks.pin();
        let room = &mut order.rooms[place as usize];
        let owner = match marks.get(&digest) {
            // The clock was put back, or two said the same at once.
            Some(known) if known.at >= at => return,
            // A later sign-in with the old cookie buys the old session no more time.
            Some(_) if place == Place::SignedOut => return,
            Some(known) => {
                room.remove(&known.owner, known.at, digest);
                // Whoever repeats a mark does not get hold of it.
                known.owner.clone()
            }
            None => owner.clone(),
        };
        room.insert(&owner, at, digest);
        marks.insert(digest, Placed { at, owner });
    }

    fn make_room(&self, order: &mut Order, place: Place, owner: &Arc<str>, now: u64) {
        let limit = self.limits[place as usize];
        let mut gone = 0;
        while let Some((owner, at, digest)) = order.rooms[place as usize].pop_excess(owner, limit) {
            if matches!(place, Place::BackChannel | Place::FrontChannel) {
                // Before the mark goes, or the session would live in between.
                self.raise_floor(&owner, at);
            }
            self.marks.pin().remove(&digest);
            gone += 1;
        }
        if gone == 0 {
            return;
        }
        metrics().ended_sessions_dropped.with_label_values(&[place.name()]).inc_by(gone);
        if order.warned_at.is_none_or(|warned| now >= warned.saturating_add(WARN_EVERY)) {
            order.warned_at = Some(now);
            tracing::warn!(
                kind = place.name(),
                consequence = place.consequence(),
                "more sessions were ended than can be remembered"
            );
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

    fn recount(&self, order: &Order) {
        let mut all = self.floors.load().len() + usize::from(self.expired.load(Relaxed) > 0);
        for place in PLACES {
            let count = order.rooms[place as usize].len();
            all += count;
            self.counts[place as usize].store(count, Relaxed);
            let shown = i64::try_from(count).unwrap_or(i64::MAX);
            metrics().ended_sessions.with_label_values(&[place.name()]).set(shown);
        }
        self.all.store(all, Relaxed);
    }
}

impl std::fmt::Debug for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ended").field("all", &self.all).finish_non_exhaustive()
    }
}

impl Place {
    /// The word in metrics.
    fn name(self) -> &'static str {
        match self {
            Place::SignedOut => "signed_out",
            Place::BackChannel => "back_channel",
            Place::FrontChannel => "front_channel",
            Place::Unknown => "unseen",
        }
    }

    /// What comes of it that marks gave way.
    fn consequence(self) -> &'static str {
        match self {
            Place::SignedOut => "the oldest ones are only ended in their browsers",
            Place::BackChannel | Place::FrontChannel => {
                "all sessions of the provider that are as old as the oldest one have ended"
            }
            Place::Unknown => "sessions that were not seen here are forgotten",
        }
    }
}

impl Ending {
    /// The word in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Ending::SignedOut => "signed_out",
            Ending::Replaced => "replaced",
            Ending::BackChannel => "back_channel",
            Ending::FrontChannel => "front_channel",
            Ending::Expired => "expired",
        }
    }

    /// For the log.
    pub fn detail(self) -> &'static str {
        match self {
            Ending::SignedOut => "its person signed out",
            Ending::Replaced => "its browser got another one by a later sign-in",
            Ending::BackChannel => "the provider ended it by a logout token",
            Ending::FrontChannel => "the provider ended it by way of the browser",
            Ending::Expired => "it had expired before `session.absolute` was raised",
        }
    }
}

impl<'a> Mark<'a> {
    fn provider(self) -> &'a str {
        match self {
            Mark::SignedOut { .. } | Mark::Replaced { .. } => "",
            Mark::ProviderSession { provider, .. }
            | Mark::Subject { provider, .. }
            | Mark::FrontChannel { provider, .. } => provider,
        }
    }

    fn digests(self, place: Place) -> [Option<Digest>; 2] {
        match self {
            Mark::SignedOut { id } => [Some(digest(OF_ID, "", id)), None],
            Mark::Replaced { id } => [Some(digest(OF_REPLACED, "", id)), None],
            Mark::ProviderSession { provider, session, subject } => [
                Some(digest(OF_SESSION, provider, session)),
                subject.map(|subject| digest(OF_SUBJECT_WITHOUT_SESSION, provider, subject)),
            ],
            Mark::Subject { provider, subject } => [Some(digest(OF_SUBJECT, provider, subject)), None],
            Mark::FrontChannel { provider, session, .. } => {
                let kind = if place == Place::Unknown { BY_STRANGER } else { BY_BROWSER };
                [Some(digest(kind, provider, session)), None]
            }
        }
    }
}

const OF_ID: u8 = 0;
const OF_REPLACED: u8 = 1;
const OF_SESSION: u8 = 2;
const OF_SUBJECT: u8 = 3;
const OF_SUBJECT_WITHOUT_SESSION: u8 = 4;
const BY_BROWSER: u8 = 5;
const BY_STRANGER: u8 = 6;

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
