//! The last hour in figures: what was counted, noted every ten seconds, so that the console needs no Prometheus.
//!
//! Promise: fixed memory, and nothing that a request would notice.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::watch;

use crate::telemetry::{Totals, metrics};

/// Between two notes.
const EVERY: Duration = Duration::from_secs(10);
/// An hour's notes, and the one before them.
const KEPT: usize = 361;
/// Bars of a plot: a minute each.
pub(super) const MINUTES: usize = 60;

/// The notes of the last hour.
#[derive(Default)]
pub(super) struct Samples(Mutex<VecDeque<(SystemTime, Totals)>>);

/// What was counted in each minute of the last hour, the last one being under way.
#[derive(Clone, Debug)]
pub(super) struct Hour {
    pub minutes: Vec<Totals>,
    /// In the whole hour.
    pub whole: Totals,
    /// How many of the minutes the gateway has been running.
    pub seen: usize,
}

impl Samples {
    /// Notes what was counted until `stopping` turns true; `told` is asked first to count what is counted elsewhere.
    pub async fn keep(&self, told: impl Fn(), mut stopping: watch::Receiver<bool>) {
        loop {
            told();
            self.note(SystemTime::now(), metrics().totals());
            tokio::select! {
                () = tokio::time::sleep(EVERY) => {}
                gone = stopping.wait_for(|stopping| *stopping) => return drop(gone),
            }
        }
    }

    pub(super) fn note(&self, at: SystemTime, totals: Totals) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push_back((at, totals));
        while kept.len() > KEPT {
            kept.pop_front();
        }
    }

    /// The hour that ends at `now`, at which `totals` are counted.
    pub fn hour(&self, now: SystemTime, totals: Totals) -> Hour {
        let mut minutes = vec![Totals::default(); MINUTES];
        let mut whole = Totals::default();
        let mut seen = 0;
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let last = (now, totals);
        let notes: Vec<_> = kept.iter().chain([&last]).collect();
        for pair in notes.windows(2) {
            let [(_, before), (at, after)] = pair else { continue };
            let age = now.duration_since(*at).unwrap_or_default().as_secs() / 60;
            let Some(back) = usize::try_from(age).ok().filter(|back| *back < MINUTES) else { continue };
            let grown = grown(before, after);
            seen = seen.max(back + 1);
            add(&mut minutes[MINUTES - 1 - back], &grown);
            add(&mut whole, &grown);
        }
        Hour { minutes, whole, seen }
    }
}

/// What came between two notes.
fn grown(before: &Totals, after: &Totals) -> Totals {
    let list = |before: &[(String, u64)], after: &[(String, u64)]| {
        let old = |name: &str| before.iter().find(|(known, _)| known == name).map_or(0, |(_, count)| *count);
        let grown = after.iter().map(|(name, count)| (name.clone(), count.saturating_sub(old(name))));
        grown.filter(|(_, count)| *count > 0).collect()
    };
    Totals {
        passed: after.passed.saturating_sub(before.passed),
        refused: after.refused.saturating_sub(before.refused),
        own: after.own.saturating_sub(before.own),
        signed_in: after.signed_in.saturating_sub(before.signed_in),
        not_signed_in: after.not_signed_in.saturating_sub(before.not_signed_in),
        decided: after.decided.saturating_sub(before.decided),
        deciding: (after.deciding - before.deciding).max(0.0),
        verified: after.verified.saturating_sub(before.verified),
        verifying: (after.verifying - before.verifying).max(0.0),
        cache_hits: after.cache_hits.saturating_sub(before.cache_hits),
        cache_misses: after.cache_misses.saturating_sub(before.cache_misses),
        by_reason: list(&before.by_reason, &after.by_reason),
        by_upstream: list(&before.by_upstream, &after.by_upstream),
    }
}

fn add(sum: &mut Totals, more: &Totals) {
    sum.passed += more.passed;
    sum.refused += more.refused;
    sum.own += more.own;
    sum.signed_in += more.signed_in;
    sum.not_signed_in += more.not_signed_in;
    sum.decided += more.decided;
    sum.deciding += more.deciding;
    sum.verified += more.verified;
    sum.verifying += more.verifying;
    sum.cache_hits += more.cache_hits;
    sum.cache_misses += more.cache_misses;
    for (sums, list) in [(&mut sum.by_reason, &more.by_reason), (&mut sum.by_upstream, &more.by_upstream)] {
        for (name, count) in list {
            match sums.iter_mut().find(|(known, _)| known == name) {
                Some((_, sum)) => *sum += count,
                None => sums.push((name.clone(), *count)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(passed: u64, reason: u64) -> Totals {
        Totals { passed, refused: reason, by_reason: vec![("DW-2001".into(), reason)], ..Totals::default() }
    }

    #[test]
    fn each_minute_has_what_came_in_it_and_the_first_note_nothing() {
        let (samples, now) = (Samples::default(), SystemTime::now());
        let ago = |seconds| now - Duration::from_secs(seconds);
        samples.note(ago(150), counted(1000, 5));
        samples.note(ago(130), counted(1010, 5));
        samples.note(ago(30), counted(1020, 8));
        let hour = samples.hour(now, counted(1023, 8));
        let passed: Vec<_> = hour.minutes[57..].iter().map(|minute| minute.passed).collect();
        assert_eq!(passed, [10, 0, 13]);
        assert_eq!((hour.whole.passed, hour.whole.refused, hour.seen), (23, 3, 3));
        assert_eq!(hour.whole.by_reason, [("DW-2001".to_owned(), 3)]);
    }

    #[test]
    fn a_day_takes_no_more_room_than_an_hour() {
        let (samples, now) = (Samples::default(), SystemTime::now());
        for seconds in (0..86_400).step_by(10) {
            samples.note(now - Duration::from_secs(86_400 - seconds), counted(seconds, 0));
        }
        assert_eq!(samples.0.lock().expect("no panic").len(), KEPT);
        assert_eq!(samples.hour(now, counted(86_400, 0)).seen, MINUTES);
    }
}
