//! For a while, on an admin's wish: what became of every request, those that passed as well, so that one that passed can be
//! explained.
//!
//! Promise: off, it costs a request one relaxed load; on, no more than some hundred are kept, of [`ALL`] bytes in all, and
//! some a second traced, however many are refused meanwhile.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use super::Refused;
use super::budget::InASecond;
use crate::clock::unix_seconds;

/// Requests that are kept.
const KEPT: usize = 256;
/// The longest while.
const LONGEST: Duration = Duration::from_secs(3600);
/// Bytes of them.
const ALL: usize = 2 * 1024 * 1024;
/// Traced within one second.
const TRACES_A_SECOND: u64 = 20;

/// A request that passed, or that the gateway answered itself.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// `passed`, `own` or `gone`, as the access log says it.
    pub outcome: &'static str,
    /// What is known of it; its reason says nothing.
    pub request: Refused,
}

/// The switch, and what was kept since it was turned.
#[derive(Default)]
pub struct Recording {
    /// Seconds since 1970; 0 where it is off.
    until: AtomicU64,
    kept: Mutex<Kept>,
    traced: InASecond,
}

#[derive(Default)]
struct Kept {
    /// The newest first.
    last: VecDeque<Arc<Recorded>>,
    bytes: usize,
}

static RECORDING: LazyLock<Recording> = LazyLock::new(Recording::default);

/// The process's switch.
pub fn recording() -> &'static Recording {
    &RECORDING
}

impl Recording {
    /// Records for `time`, an hour at most, from `now` on; what was kept before is let go.
    pub fn start(&self, time: Duration, now: SystemTime) {
        let gone = std::mem::take(&mut *self.kept());
        drop(gone);
        self.until.store(unix_seconds(now + time.min(LONGEST)), Ordering::Relaxed);
    }

    /// Ends it; what was kept stays.
    pub fn stop(&self) {
        self.until.store(0, Ordering::Relaxed);
    }

    /// Until when it goes on; `None` where it is off.
    pub fn until(&self, now: SystemTime) -> Option<SystemTime> {
        let until = self.until.load(Ordering::Relaxed);
        (until > unix_seconds(now)).then(|| SystemTime::UNIX_EPOCH + Duration::from_secs(until))
    }

    pub fn is_on(&self, now: SystemTime) -> bool {
        // Read first: the clock is not looked at where it is off.
        match self.until.load(Ordering::Relaxed) {
            0 => false,
            until => unix_seconds(now) < until,
        }
    }

    pub fn note(&self, mut request: Refused, outcome: &'static str) {
        request.bound();
        let (bytes, recorded) = (request.bytes(), Arc::new(Recorded { outcome, request }));
        let mut gone = Vec::new();
        let mut kept = self.kept();
        kept.bytes += bytes;
        kept.last.push_front(recorded);
        while (kept.last.len() > KEPT || kept.bytes > ALL)
            && let Some(oldest) = kept.last.pop_back()
        {
            kept.bytes -= oldest.request.bytes();
            gone.push(oldest);
        }
        // What is let go of ends without anybody waiting for it.
        drop(kept);
        drop(gone);
    }

    /// The newest first.
    pub fn all(&self) -> Vec<Arc<Recorded>> {
        self.kept().last.iter().cloned().collect()
    }

    /// The one with that reference, while it is kept.
    pub fn find(&self, reference: &str) -> Option<Arc<Recorded>> {
        self.kept().last.iter().find(|one| one.request.reference.as_str() == reference).cloned()
    }

    /// Whether one more decision may be traced in this second.
    pub fn may_trace(&self, now: SystemTime) -> bool {
        self.traced.take(unix_seconds(now), TRACES_A_SECOND).is_some()
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_ends_by_itself_and_never_goes_on_for_days() {
        let (recording, now) = (Recording::default(), SystemTime::now());
        assert!(!recording.is_on(now) && recording.until(now).is_none());
        recording.start(Duration::from_secs(600), now);
        assert!(recording.is_on(now + Duration::from_secs(598)) && !recording.is_on(now + Duration::from_secs(601)));
        recording.start(Duration::from_secs(1_000_000), now);
        assert!(!recording.is_on(now + LONGEST + Duration::from_secs(1)));
        recording.stop();
        assert!(!recording.is_on(now));
    }

    #[test]
    fn a_flood_is_traced_in_part_and_the_next_second_again() {
        let (recording, now) = (Recording::default(), SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_000_000));
        let traced = (0..1000).filter(|_| recording.may_trace(now)).count();
        assert_eq!(traced as u64, TRACES_A_SECOND);
        assert!(recording.may_trace(now + Duration::from_secs(1)));
    }
}
