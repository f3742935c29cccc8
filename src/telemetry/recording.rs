//! For a while, on an admin's wish: what became of every request, those that passed as well, so that one that passed can be
//! explained. And how many decisions are traced at all, since a flood of refusals must not cost twice what it costs.
//!
//! Promise: off, it costs a request one relaxed load; on, no more than some hundred are kept.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use super::Refused;
use crate::clock::unix_seconds;

/// Requests that are kept.
const KEPT: usize = 256;
/// The longest while.
const LONGEST: Duration = Duration::from_secs(3600);
/// Refusals that are traced within one second.
const TRACES_A_SECOND: u64 = 50;

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
    /// The newest first.
    kept: Mutex<VecDeque<Arc<Recorded>>>,
    /// The second, and in its lowest byte how many were traced within it.
    traced: AtomicU64,
}

static RECORDING: LazyLock<Recording> = LazyLock::new(Recording::default);

/// The process's switch.
pub fn recording() -> &'static Recording {
    &RECORDING
}

impl Recording {
    /// Records for `time`, an hour at most, from `now` on; what was kept before is let go.
    pub fn start(&self, time: Duration, now: SystemTime) {
        self.kept().clear();
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
        let mut kept = self.kept();
        kept.push_front(Arc::new(Recorded { outcome, request }));
        kept.truncate(KEPT);
    }

    /// The newest first.
    pub fn all(&self) -> Vec<Arc<Recorded>> {
        self.kept().iter().cloned().collect()
    }

    /// The one with that reference, while it is kept.
    pub fn find(&self, reference: &str) -> Option<Arc<Recorded>> {
        self.kept().iter().find(|one| one.request.reference.as_str() == reference).cloned()
    }

    /// Whether one more decision may be traced in this second.
    pub fn may_trace(&self, now: SystemTime) -> bool {
        let second = unix_seconds(now) << 8;
        let counted = |kept: u64| match kept & !0xff == second {
            true if kept & 0xff >= TRACES_A_SECOND => None,
            true => Some(kept + 1),
            false => Some(second | 1),
        };
        self.traced.fetch_update(Ordering::Relaxed, Ordering::Relaxed, counted).is_ok()
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, VecDeque<Arc<Recorded>>> {
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
