//! How often passwords may be tried: by account and by client address.
//!
//! Promise: a try is taken before it is judged, so that many at once are no way around the limit, and comes back where it
//! was right or could not be judged. Tries come back one by one, so nobody is locked out for good; and who signed in from an
//! address before has tries of their own there, which nobody elsewhere can use up. Memory is bounded, whatever is tried.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;

use crate::config::model;
use crate::reason::{Failure, Reason};

/// Accounts and addresses that are counted at once.
const MOST_BUCKETS: usize = 50_000;
/// Pairs of account and address that are known.
const MOST_KNOWN: usize = 20_000;

/// A refusal that may say how long to wait.
#[derive(Clone, Debug, PartialEq)]
pub struct Refused {
    pub failure: Failure,
    /// In seconds.
    pub retry_after: Option<NonZeroU32>,
}

impl From<Failure> for Refused {
    fn from(failure: Failure) -> Self {
        Refused { failure, retry_after: None }
    }
}

/// The tries of everybody.
#[derive(Debug)]
pub struct Attempts {
    limits: ArcSwap<model::Attempts>,
    /// Its keys are random, so that nobody can choose an account to share a count with another.
    hasher: RandomState,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    buckets: HashMap<u64, Bucket>,
    known: HashMap<u64, Instant>,
}

/// Tries that are left, and when that was worked out.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    left: f64,
    at: Instant,
    capacity: f64,
}

/// One try. Dropped, it stays taken.
#[must_use]
#[derive(Debug)]
pub struct Try<'a> {
    attempts: &'a Attempts,
    address: Option<IpAddr>,
    taken: Vec<u64>,
    /// By which accounts and addresses are known where it was right.
    pairs: Vec<u64>,
}

impl Attempts {
    pub fn new(limits: &model::Attempts) -> Self {
        Attempts { limits: ArcSwap::from_pointee(limits.clone()), hasher: RandomState::new(), counts: Mutex::default() }
    }

    /// From now on `limits` hold. What was tried counts in proportion: who had used up half has used up half.
    pub fn limit(&self, limits: &model::Attempts) {
        self.limits.store(Arc::new(limits.clone()));
    }

    /// Takes a try for the name `account`, in its canonical form, from `address`. Names are counted whether anybody has them
    /// or not, and apart from entries: who is refused here learns nothing of who is there.
    pub fn begin(&self, account: &str, address: Option<IpAddr>) -> Result<Try<'_>, Refused> {
        self.begin_at(account, address, Instant::now())
    }

    /// Takes a try from `address` alone, where what is tried cannot be guessed: a limit of its account would protect
    /// nothing, and let anybody lock it.
    pub fn begin_from(&self, address: Option<IpAddr>) -> Result<Try<'_>, Refused> {
        self.begin_from_at(address, Instant::now())
    }

    fn begin_from_at(&self, address: Option<IpAddr>, now: Instant) -> Result<Try<'_>, Refused> {
        let address = address.map(network);
        let mut one = Try { attempts: self, address, taken: Vec::new(), pairs: Vec::new() };
        if let Some(address) = address {
            let key = self.hasher.hash_one(("address", address));
            one.take(key, self.limits.load().per_address, "from this address", now)?;
        }
        Ok(one)
    }

    fn begin_at(&self, account: &str, address: Option<IpAddr>, now: Instant) -> Result<Try<'_>, Refused> {
        let mut one = self.begin_from_at(address, now)?;
        match one.account("name", account, now) {
            Ok(()) => Ok(one),
            Err(refused) => {
                // Nobody was asked: it cost the address nothing.
                one.give_back();
                Err(refused)
            }
        }
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        // Counts are whole between any two instructions.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Try<'_> {
    /// Counts it for the entry that was found as well, whatever was typed. A refusal here tells that somebody is there, and
    /// is not for whoever tries.
    pub fn also(&mut self, entry: &str) -> Result<(), Refused> {
        self.account("entry", entry, Instant::now())
    }

    fn account(&mut self, kind: &str, account: &str, now: Instant) -> Result<(), Refused> {
        let pair = self.attempts.hasher.hash_one((kind, account, self.address));
        let known = self.address.is_some() && self.attempts.counts().known.contains_key(&pair);
        let key = if known { pair } else { self.attempts.hasher.hash_one((kind, account)) };
        self.pairs.push(pair);
        self.take(key, self.attempts.limits.load().per_account, "for this account", now)
    }

    fn take(&mut self, key: u64, capacity: u32, whose: &str, now: Instant) -> Result<(), Refused> {
        let window = self.attempts.limits.load().window;
        let taken = self.attempts.counts().take(key, f64::from(capacity), window.0, now);
        match taken {
            Ok(()) => {
                self.taken.push(key);
                Ok(())
            }
            Err(wait) => {
                let wait = u32::try_from(wait.as_secs()).ok().and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MIN);
                let detail = format!("{capacity} wrong tries {whose} within {window}; one more in {wait} s");
                let failure = Failure::new(Reason::TooManyAttempts, detail);
                Err(Refused { failure, retry_after: Some(wait) })
            }
        }
    }

    /// The password was right.
    pub fn right(mut self) {
        self.give_back();
        if self.address.is_some() {
            let mut counts = self.attempts.counts();
            if counts.known.len() + self.pairs.len() > MOST_KNOWN {
                drop_oldest(&mut counts.known, |at| *at);
            }
            let now = Instant::now();
            counts.known.extend(self.pairs.iter().map(|pair| (*pair, now)));
        }
    }

    /// Nobody could tell whether it was right.
    pub fn unjudged(mut self) {
        self.give_back();
    }

    fn give_back(&mut self) {
        let mut counts = self.attempts.counts();
        for key in self.taken.drain(..) {
            if let Some(bucket) = counts.buckets.get_mut(&key) {
                bucket.left = (bucket.left + 1.0).min(bucket.capacity);
            }
        }
    }
}

impl Counts {
    /// Takes one, or says how long until there is one.
    fn take(&mut self, key: u64, capacity: f64, window: Duration, now: Instant) -> Result<(), Duration> {
        if self.buckets.len() >= MOST_BUCKETS && !self.buckets.contains_key(&key) {
            // What is full again says nothing; and of the rest the fullest go, a quarter at a time: else whoever makes up
            // names would have the one forgotten that they try.
            self.buckets.retain(|_, bucket| bucket.refilled(window, now) < bucket.capacity);
            if self.buckets.len() >= MOST_BUCKETS {
                self.drop_fullest(window, now);
            }
        }
        let bucket = self.buckets.entry(key).or_insert(Bucket { left: capacity, at: now, capacity });
        bucket.left = bucket.refilled(window, now) * capacity / bucket.capacity;
        bucket.capacity = capacity;
        bucket.at = now;
        if bucket.left >= 1.0 {
            bucket.left -= 1.0;
            return Ok(());
        }
        Err(window.mul_f64((1.0 - bucket.left) / capacity))
    }

    /// Drops the fullest quarter, and what is as full.
    fn drop_fullest(&mut self, window: Duration, now: Instant) {
        let full = |bucket: &Bucket| bucket.refilled(window, now) / bucket.capacity;
        let mut all: Vec<_> = self.buckets.values().map(full).collect();
        let quarter = all.len() / 4;
        let (_, limit, _) = all.select_nth_unstable_by(quarter, |a, b| b.total_cmp(a));
        let limit = *limit;
        self.buckets.retain(|_, bucket| full(bucket) < limit);
    }
}

impl Bucket {
    fn refilled(&self, window: Duration, now: Instant) -> f64 {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        (self.left + self.capacity * passed / window.as_secs_f64().max(0.001)).min(self.capacity)
    }
}

/// Drops the oldest quarter.
fn drop_oldest<T>(map: &mut HashMap<u64, T>, at: impl Fn(&T) -> Instant) {
    let mut times: Vec<_> = map.values().map(&at).collect();
    let quarter = times.len() / 4;
    let (_, limit, _) = times.select_nth_unstable(quarter);
    let limit = *limit;
    map.retain(|_, value| at(value) > limit);
}

/// Who has an IPv6 address has at least the 2⁶⁴ beside it.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::from([a, b, c, d, 0, 0, 0, 0])
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::values::Period;

    fn attempts(per_account: u32, per_address: u32) -> Attempts {
        Attempts::new(&model::Attempts { per_account, per_address, window: Period::seconds(600) })
    }

    fn ip(text: &str) -> Option<IpAddr> {
        Some(text.parse().expect("an address"))
    }

    #[test]
    fn an_account_is_tried_so_often_from_wherever_and_tries_come_back_one_by_one() {
        let (attempts, start) = (attempts(3, 100), Instant::now());
        for n in 0..3 {
            assert!(attempts.begin_at("bob", ip(&format!("10.0.0.{n}")), start).is_ok());
        }
        let refused = attempts.begin_at("bob", ip("10.0.0.9"), start).expect_err("none left");
        assert_eq!((refused.failure.reason, refused.retry_after), (Reason::TooManyAttempts, NonZeroU32::new(200)));
        assert!(attempts.begin_at("ada", ip("10.0.0.9"), start).is_ok());
        let later = start + Duration::from_secs(201);
        assert!(attempts.begin_at("bob", ip("10.0.0.9"), later).is_ok());
        assert!(attempts.begin_at("bob", ip("10.0.0.9"), later).is_err());
        assert!(attempts.begin_at("bob", ip("10.0.0.9"), start + Duration::from_secs(100_000)).is_ok());
    }

    #[test]
    fn an_address_is_limited_whatever_the_account_and_a_network_of_ipv6_is_one() {
        let (attempts, now) = (attempts(100, 2), Instant::now());
        for (first, second, third) in
            [("10.0.0.1", "::ffff:10.0.0.1", "10.0.0.1"), ("2001:db8::1", "2001:db8::ffff:2", "2001:db8::3")]
        {
            assert!(attempts.begin_at("a", ip(first), now).is_ok() && attempts.begin_at("b", ip(second), now).is_ok());
            assert!(attempts.begin_at("c", ip(third), now).is_err(), "{third}");
        }
        assert!(attempts.begin_at("c", ip("2001:db8:0:1::3"), now).is_ok());
    }

    #[test]
    fn right_and_unjudged_tries_come_back_and_a_refused_one_takes_nothing() {
        let (attempts, now) = (attempts(2, 2), Instant::now());
        for _ in 0..10 {
            attempts.begin_at("bob", ip("10.0.0.1"), now).expect("a try").right();
            attempts.begin_at("bob", ip("10.0.0.2"), now).expect("a try").unjudged();
        }
        for _ in 0..2 {
            assert!(attempts.begin_at("eve", ip("10.0.0.3"), now).is_ok());
        }
        // Refused for the account: the address has both of its tries yet.
        for _ in 0..10 {
            assert!(attempts.begin_at("eve", ip("10.0.0.4"), now).is_err());
        }
        assert!(
            attempts.begin_at("a", ip("10.0.0.4"), now).is_ok() && attempts.begin_at("b", ip("10.0.0.4"), now).is_ok()
        );
    }

    #[test]
    fn who_signed_in_from_an_address_is_not_locked_out_there_by_others() {
        let (attempts, now) = (attempts(2, 100), Instant::now());
        attempts.begin_at("bob", ip("10.0.0.1"), now).expect("a try").right();
        for _ in 0..50 {
            let _ = attempts.begin_at("bob", ip("10.6.6.6"), now);
        }
        assert!(attempts.begin_at("bob", ip("10.0.0.2"), now).is_err());
        assert!(attempts.begin_at("bob", ip("10.0.0.1"), now).is_ok());
    }

    #[test]
    fn the_entry_that_was_found_is_counted_whatever_it_was_called() {
        let (attempts, now) = (attempts(2, 100), Instant::now());
        let mut results = ["bob", "bob@example.com", "b.ob"].map(|name| {
            attempts
                .begin_at(name, ip("10.0.0.1"), now)
                .and_then(|mut one| one.account("entry", "uid=bob", now))
                .is_ok()
        });
        results.sort_unstable();
        assert_eq!(results, [false, true, true]);
    }

    #[test]
    fn other_limits_hold_for_what_was_tried_before_in_proportion() {
        let (attempts, now) = (attempts(4, 100), Instant::now());
        let tries = |name: &str| (0..20).take_while(|_| attempts.begin_at(name, None, now).is_ok()).count();
        let _ = [attempts.begin_at("bob", None, now), attempts.begin_at("bob", None, now)];
        assert_eq!(tries("eve"), 4);
        let limits = model::Attempts { per_account: 8, ..model::Attempts::clone(&attempts.limits.load()) };
        attempts.limit(&limits);
        assert_eq!([tries("bob"), tries("eve"), tries("new")], [4, 0, 8]);
        attempts.limit(&model::Attempts { per_account: 2, ..limits });
        assert_eq!([tries("bob"), tries("eve"), tries("another")], [0, 0, 2]);
    }

    #[test]
    fn a_name_that_is_an_entry_s_is_no_way_to_ask_how_often_the_entry_was_tried() {
        let (attempts, now) = (attempts(2, 100), Instant::now());
        for name in ["bob", "b.ob"] {
            let mut one = attempts.begin_at(name, ip("10.0.0.1"), now).expect("a try");
            one.account("entry", "uid=bob", now).expect("a try");
        }
        assert!(attempts.begin_at("uid=bob", ip("10.0.0.1"), now).is_ok());
    }

    #[test]
    fn made_up_names_make_nobody_s_tries_forgotten() {
        let (attempts, now) = (attempts(2, 2), Instant::now());
        while attempts.begin_at("bob", None, now).is_ok() {}
        for n in 0..(MOST_BUCKETS * 2) {
            let _ = attempts.begin_at(&n.to_string(), None, now);
        }
        assert!(attempts.begin_at("bob", None, now).is_err());
        assert!(attempts.counts().buckets.len() <= MOST_BUCKETS);
    }

    #[test]
    fn memory_is_bounded_whatever_is_tried() {
        let (attempts, now) = (attempts(2, 2), Instant::now());
        for n in 0..(MOST_BUCKETS + 1000) {
            let _ = attempts.begin_at(&n.to_string(), None, now + Duration::from_micros(n as u64));
        }
        assert!(attempts.counts().buckets.len() <= MOST_BUCKETS);
        for n in 0..(MOST_KNOWN + 100) {
            attempts.begin_at("bob", Some(IpAddr::from((n as u32).to_be_bytes())), now).expect("a try").right();
        }
        assert!(attempts.counts().known.len() <= MOST_KNOWN);
    }
}
