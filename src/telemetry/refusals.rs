//! The last decisions that refused, by reason, for the console, the doctor and the debug bundle.
//!
//! Promise: each reason has room of its own, so that a flood of one does not push out what matters of another; no more
//! than some megabytes in all; no token, code, cookie or query.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::SystemTime;

use serde_json::{Value, json};

use super::{Access, Reference, rfc3339};
use crate::clock::unix_seconds;
use crate::examined::{Found, Step};
use crate::reason::Reason;
use crate::words;

/// Kept of one reason.
const OF_ONE: usize = 24;
/// Longest text that is kept of one field.
const LONGEST: usize = 600;

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
    /// The steps of the decision, as far as they were traced.
    pub trace: Vec<Step>,
}

impl Refused {
    /// Cuts long texts.
    pub(super) fn bound(&mut self) {
        let texts = [&mut self.detail, &mut self.host, &mut self.path].into_iter();
        for text in texts.chain(&mut self.user).chain(&mut self.remedy) {
            *text = words::cut(text, LONGEST).into_owned();
        }
        Step::bound(&mut self.trace);
    }

    /// What of credential and rules did not hold, where that was traced.
    fn failed(&self) -> Vec<&str> {
        let asked = self.trace.iter().filter(|step| matches!(step.number, 4 | 5));
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
            trace: Vec::new(),
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

#[derive(Default)]
struct Kept {
    count: u64,
    first: Option<SystemTime>,
    last: VecDeque<Arc<Refused>>,
}

/// All that is kept.
#[derive(Default)]
pub struct Refusals {
    groups: Mutex<BTreeMap<&'static str, (Reason, Kept)>>,
}

static REFUSALS: LazyLock<Refusals> = LazyLock::new(Refusals::default);

/// The process's refusals.
pub fn refusals() -> &'static Refusals {
    &REFUSALS
}

impl Refusals {
    /// Keeps `refused`. Long texts are cut.
    pub fn note(&self, mut refused: Refused) {
        refused.bound();
        let mut groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, kept) = groups.entry(refused.reason.code()).or_insert_with(|| (refused.reason, Kept::default()));
        kept.count += 1;
        kept.first.get_or_insert(refused.at);
        kept.last.push_front(Arc::new(refused));
        kept.last.truncate(OF_ONE);
    }

    /// By reason; the one that was seen last comes first.
    pub fn groups(&self) -> Vec<Group> {
        let groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<_> = groups
            .values()
            .filter_map(|(reason, kept)| {
                let (first, last) = (kept.first?, kept.last.iter().cloned().collect());
                Some(Group { reason: *reason, count: kept.count, first, last })
            })
            .collect();
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
        let groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        groups.values().flat_map(|(_, kept)| &kept.last).find(|one| one.reference.as_str() == reference).cloned()
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
            trace: Vec::new(),
        }
    }

    #[test]
    fn a_flood_of_one_reason_pushes_out_nothing_of_another() {
        let all = Refusals::default();
        let rare = refused(Reason::IssuerMixUp, "/oidc/callback");
        let reference = rare.reference;
        all.note(rare);
        for _ in 0..1000 {
            all.note(refused(Reason::SignInNeeded, &"/x".repeat(4000)));
        }
        let groups = all.groups();
        assert_eq!(groups.len(), 2);
        assert_eq!((groups[0].reason, groups[0].count, groups[0].last.len()), (Reason::SignInNeeded, 1000, OF_ONE));
        assert!(groups[0].last[0].path.chars().count() == LONGEST + 1);
        assert_eq!(all.find(reference.as_str()).expect("kept").path, "/oidc/callback");
        assert!(all.find("0000000000000").is_none());
    }
}
