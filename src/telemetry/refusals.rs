//! The last decisions that refused, by reason, for the console, the doctor and the debug bundle.
//!
//! Promise: each reason has room of its own, so that a flood of one does not push out what matters of another; no more
//! than [`ALL`] bytes in all, however many reasons there are and whatever a client sends; no token, code, cookie or query.
//! Every refusal is counted; of a flood only some a second are kept, and fewer traced.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use super::budget::InASecond;
use super::{Access, Reference, rfc3339};
use crate::clock::unix_seconds;
use crate::examined::{Found, Step};
use crate::reason::Reason;
use crate::words::shorten;

/// Kept of one reason.
const OF_ONE: usize = 24;
/// Longest text that is kept of one field, in characters.
const LONGEST: usize = 600;
/// Longest method that is kept: it is the client's, and may be any token.
const LONGEST_METHOD: usize = 32;
/// Bytes of all that is kept. Where they do not suffice, the reason that has most of them lets go of its oldest.
const ALL: usize = 4 * 1024 * 1024;
/// What one takes beside its texts.
const ITSELF: usize = 512;
/// Kept of one reason within a second; the others are counted.
const KEPT_A_SECOND: u64 = 20;
/// Traced of one reason within a second.
const TRACED_A_SECOND: u64 = 5;
/// Traced of all reasons within a second. The first of each reason is always traced.
const ALL_TRACED_A_SECOND: u64 = 40;

/// One decision that refused, or failed.
#[derive(Clone, Debug)]
pub struct Refused {
    pub at: SystemTime,
    pub reference: Reference,
    pub reason: Reason,
    /// Expected and got; for admins.
    pub detail: String,
    /// What to do about it, where that is more than the reason's own remedy.
    pub remedy: Option<String>,
    /// The provider of people that it is about.
    pub provider: Option<String>,
    pub status: u16,
    pub method: String,
    pub host: String,
    /// Canonical path, without the query.
    pub path: String,
    pub route: String,
    pub user: Option<String>,
    pub issuer: Option<String>,
    pub client: Option<IpAddr>,
    /// The steps of the decision; none where it was not traced, since too many came in the same second.
    pub trace: Option<Vec<Step>>,
}

impl Refused {
    /// Cuts long texts.
    pub(super) fn bound(&mut self) {
        shorten(&mut self.method, LONGEST_METHOD);
        let texts = [&mut self.detail, &mut self.host, &mut self.path, &mut self.route];
        let others = [&mut self.user, &mut self.remedy, &mut self.issuer, &mut self.provider];
        texts.into_iter().chain(others.into_iter().flatten()).for_each(|text| shorten(text, LONGEST));
        if let Some(trace) = &mut self.trace {
            Step::bound(trace);
        }
    }

    /// Bytes that it takes, about.
    pub(super) fn bytes(&self) -> usize {
        let texts = [&self.detail, &self.method, &self.host, &self.path, &self.route].map(String::len);
        let others = [&self.remedy, &self.provider, &self.user, &self.issuer];
        let others = others.into_iter().flatten().map(String::len);
        let steps = self.steps().iter().map(Step::bytes);
        ITSELF + texts.into_iter().chain(others).chain(steps).sum::<usize>()
    }

    /// What was traced.
    pub fn steps(&self) -> &[Step] {
        self.trace.as_deref().unwrap_or_default()
    }

    /// What of credential and rules did not hold, where that was traced.
    fn failed(&self) -> Vec<&str> {
        let asked = self.steps().iter().filter(|step| matches!(step.number, 4 | 5));
        asked
            .flat_map(|step| &step.checks)
            .filter(|check| check.found == Found::Fails)
            .map(|c| c.what.as_str())
            .collect()
    }

    /// What the access log says of it. A line without a reason is none of the gateway's refusals.
    pub fn of(line: &Access<'_>, at: SystemTime) -> Refused {
        Refused {
            at,
            reference: line.reference,
            reason: line.reason.unwrap_or(Reason::Internal),
            detail: line.detail.to_owned(),
            remedy: line.remedy.map(str::to_owned),
            provider: line.provider.map(str::to_owned),
            status: line.status,
            method: line.method.to_owned(),
            host: line.host.to_owned(),
            path: line.path.to_owned(),
            route: line.route.to_owned(),
            user: line.user.map(str::to_owned),
            issuer: line.issuer.map(str::to_owned),
            client: line.peer,
            trace: None,
        }
    }
}

/// What is known of one reason.
#[derive(Clone, Debug)]
pub struct Group {
    pub reason: Reason,
    /// Since the start.
    pub count: u64,
    pub first: SystemTime,
    /// The newest first.
    pub last: Vec<Arc<Refused>>,
}

/// What is counted of one reason, without a lock.
#[derive(Default)]
struct Counted {
    count: AtomicU64,
    /// Milliseconds since 1970; 0 where there was none.
    first: AtomicU64,
    kept: InASecond,
    traced: InASecond,
}

/// All that is kept, by the reason's place among all of them.
struct Kept {
    /// The newest first.
    last: Box<[VecDeque<Arc<Refused>>]>,
    bytes: usize,
}

/// All that is known of refusals.
pub struct Refusals {
    counted: Box<[Counted]>,
    traced: InASecond,
    kept: Mutex<Kept>,
}

static REFUSALS: LazyLock<Refusals> = LazyLock::new(Refusals::default);

/// The process's refusals.
pub fn refusals() -> &'static Refusals {
    &REFUSALS
}

impl Default for Refusals {
    fn default() -> Self {
        let last = Reason::ALL.iter().map(|_| VecDeque::new()).collect();
        Refusals {
            counted: Reason::ALL.iter().map(|_| Counted::default()).collect(),
            traced: InASecond::default(),
            kept: Mutex::new(Kept { last, bytes: 0 }),
        }
    }
}

impl Refusals {
    /// Counts one; whether it is to be kept as well.
    pub fn count(&self, reason: Reason, now: SystemTime) -> bool {
        let counted = &self.counted[reason as usize];
        if counted.count.fetch_add(1, Ordering::Relaxed) == 0 {
            let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            counted.first.store(u64::try_from(since.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
        }
        counted.kept.take(unix_seconds(now), KEPT_A_SECOND).is_some()
    }

    /// Whether one that is kept is to be traced, too.
    pub fn may_trace(&self, reason: Reason, now: SystemTime) -> bool {
        let second = unix_seconds(now);
        match self.counted[reason as usize].traced.take(second, TRACED_A_SECOND) {
            // Other reasons may flood: one that is rare among them is traced all the same.
            Some(0) => true,
            Some(_) => self.traced.take(second, ALL_TRACED_A_SECOND).is_some(),
            None => false,
        }
    }

    /// Keeps `refused`, which was counted. Long texts are cut.
    pub fn note(&self, mut refused: Refused) {
        refused.bound();
        let refused = Arc::new(refused);
        let mut kept = self.kept();
        let gone = kept.push(refused);
        // What is let go of ends without anybody waiting for it.
        drop(kept);
        drop(gone);
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// By reason; the one that was seen last comes first.
    pub fn groups(&self) -> Vec<Group> {
        let kept = self.kept();
        let known = Reason::ALL.iter().zip(&self.counted).zip(&kept.last).filter(|(_, last)| !last.is_empty());
        let mut all: Vec<_> = known
            .map(|((reason, counted), last)| Group {
                reason: *reason,
                count: counted.count.load(Ordering::Relaxed),
                first: SystemTime::UNIX_EPOCH + Duration::from_millis(counted.first.load(Ordering::Relaxed)),
                last: last.iter().cloned().collect(),
            })
            .collect();
        drop(kept);
        all.sort_by_key(|group: &Group| std::cmp::Reverse(group.last.first().map(|refused| refused.at)));
        all
    }

    /// [`groups`](Refusals::groups) for programs.
    pub fn as_json(&self) -> Value {
        let one = |one: &Arc<Refused>| {
            json!({
                "at": rfc3339(unix_seconds(one.at)), "reference": one.reference.as_str(), "status": one.status, "method": one.method,
                "host": one.host, "path": one.path, "route": one.route, "user": one.user, "issuer": one.issuer,
                "client": one.client, "detail": one.detail, "provider": one.provider,
                "remedy": one.remedy.as_deref().unwrap_or(one.reason.info().remedy), "failed": one.failed(),
            })
        };
        let group = |group: Group| {
            let info = group.reason.info();
            json!({
                "code": info.code, "title": info.title, "cause": info.cause, "remedy": info.remedy,
                "count": group.count, "first": rfc3339(unix_seconds(group.first)), "last": group.last.iter().map(one).collect::<Vec<_>>(),
            })
        };
        self.groups().into_iter().map(group).collect()
    }

    /// The one with that reference, while it is kept.
    pub fn find(&self, reference: &str) -> Option<Arc<Refused>> {
        self.kept().last.iter().flatten().find(|one| one.reference.as_str() == reference).cloned()
    }
}

impl Kept {
    /// Returns what has to go.
    fn push(&mut self, refused: Arc<Refused>) -> Vec<Arc<Refused>> {
        let of_reason = refused.reason as usize;
        self.bytes += refused.bytes();
        self.last[of_reason].push_front(refused);
        let mut gone = Vec::new();
        if self.last[of_reason].len() > OF_ONE {
            gone.extend(self.let_go(of_reason));
        }
        while self.bytes > ALL {
            let held = |last: &VecDeque<Arc<Refused>>| last.iter().map(|one| one.bytes()).sum::<usize>();
            let most = self.last.iter().map(held).enumerate().max_by_key(|(_, bytes)| *bytes);
            match most.and_then(|(index, _)| self.let_go(index)) {
                Some(oldest) => gone.push(oldest),
                None => break,
            }
        }
        gone
    }

    fn let_go(&mut self, index: usize) -> Option<Arc<Refused>> {
        let oldest = self.last[index].pop_back()?;
        self.bytes -= oldest.bytes();
        Some(oldest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(reason: Reason, path: &str) -> Refused {
        Refused {
            at: SystemTime::now(),
            reference: Reference::next(),
            reason,
            detail: String::new(),
            remedy: None,
            provider: None,
            status: 401,
            method: "GET".into(),
            host: "app.example".into(),
            path: path.into(),
            route: "app".into(),
            user: None,
            issuer: None,
            client: None,
            trace: None,
        }
    }

    fn moment() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_000_000)
    }

    #[test]
    fn a_flood_of_one_reason_pushes_out_nothing_of_another() {
        let (all, start) = (Refusals::default(), moment());
        let rare = refused(Reason::IssuerMixUp, "/oidc/callback");
        let reference = rare.reference;
        assert!(all.count(rare.reason, start));
        all.note(rare);
        for n in 0..1000 {
            if all.count(Reason::SignInNeeded, start + Duration::from_millis(n * 2)) {
                all.note(refused(Reason::SignInNeeded, &"/x".repeat(4000)));
            }
        }
        let groups = all.groups();
        assert_eq!(groups.len(), 2);
        assert_eq!((groups[0].reason, groups[0].count, groups[0].last.len()), (Reason::SignInNeeded, 1000, OF_ONE));
        assert_eq!(groups[0].first, start);
        assert!(groups[0].last[0].path.chars().count() == LONGEST + 1);
        assert_eq!(all.find(reference.as_str()).expect("kept").path, "/oidc/callback");
        assert!(all.find("0000000000000").is_none());
    }

    #[test]
    fn of_a_flood_only_some_a_second_are_kept_and_the_next_second_again() {
        let (all, now) = (Refusals::default(), moment());
        let kept = |at| (0..1000).filter(|_| all.count(Reason::SignInNeeded, at)).count() as u64;
        assert_eq!(kept(now), KEPT_A_SECOND);
        assert_eq!(kept(now + Duration::from_secs(1)), KEPT_A_SECOND);
        assert!(all.count(Reason::NoRoute, now));
    }

    #[test]
    fn a_flood_of_many_reasons_takes_no_rare_one_its_trace() {
        let (all, now) = (Refusals::default(), moment());
        let (rare, floods) = Reason::ALL.split_last().expect("reasons");
        let traced = |reason: &Reason| (0..100).filter(|_| all.may_trace(*reason, now)).count() as u64;
        assert_eq!(traced(&floods[0]), TRACED_A_SECOND);
        let of_floods: u64 = floods[1..].iter().map(traced).sum();
        assert!(of_floods <= floods.len() as u64 + ALL_TRACED_A_SECOND, "{of_floods}");
        assert!(all.may_trace(*rare, now));
    }

    #[test]
    fn whatever_a_client_sends_no_more_than_so_many_bytes_are_kept() {
        let all = Refusals::default();
        let long = "\u{1f980}".repeat(10_000);
        let big = |reason: Reason| {
            let said = (0..20).fold(Step::new(2, "route"), |step, _| step.saying(long.clone()));
            Refused {
                method: "M".repeat(1024 * 1024),
                detail: long.clone(),
                host: long.clone(),
                route: long.clone(),
                user: Some(long.clone()),
                issuer: Some(long.clone()),
                trace: Some(vec![said]),
                ..refused(reason, &long)
            }
        };
        all.note(refused(Reason::NoRoute, "/rare"));
        for reason in Reason::ALL.iter().filter(|reason| **reason != Reason::NoRoute) {
            (0..3).for_each(|_| all.note(big(*reason)));
        }
        let kept = all.kept();
        assert!(kept.bytes <= ALL && kept.bytes > ALL / 2, "{}", kept.bytes);
        assert_eq!(kept.bytes, kept.last.iter().flatten().map(|one| one.bytes()).sum::<usize>());
        // What was cut is not held beyond its end.
        let held = kept.last.iter().flatten().map(|one| one.method.capacity() + one.path.capacity()).max();
        assert!(held <= Some(4 * (LONGEST + LONGEST_METHOD + 2)), "{held:?}");
        drop(kept);
        assert_eq!(all.groups().iter().filter(|group| group.reason == Reason::NoRoute).count(), 1);
    }
}
