//! Whether the directory is there: looked at now and then, beside the sign-ins.
//!
//! Promise: a look costs the directory two or three searches and asks about nobody; what was seen lately is not looked for
//! again because of a reload.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::watch;

use super::connection::Query;
use super::{Directory, too_long};
use crate::background;
use crate::ldap::filter::{Filling, Filter};
use crate::ldap::message::{SIZE_LIMIT_EXCEEDED, SUCCESS, Scope};
use crate::reason::{Failure, Reason};
use crate::telemetry::metrics;
use crate::words::counted;

/// All there is to say of a directory before the first look at it has ended.
pub const NOT_ASKED: &str = "not asked yet";

/// Between two looks at whether the directory is there.
const CHECK_EVERY: Duration = Duration::from_secs(30);

/// What the last look at the directory found.
#[derive(Clone, Debug)]
pub(super) struct State {
    at: SystemTime,
    found: Result<Sight, Failure>,
}

/// What a look at a directory that answers saw; for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sight {
    pub said: String,
    /// Why nobody can sign in all the same.
    trouble: Option<String>,
}

/// Whether people can be asked about.
#[derive(Clone, Debug)]
pub enum Readiness {
    Ready {
        checked_at: SystemTime,
        found: String,
        /// Why nobody can sign in although the directory answers.
        trouble: Option<String>,
    },
    NotReady(Failure),
}

impl Directory {
    /// Takes over what `before`, the directory of the configuration until now, saw when it looked: where both look at the
    /// same place with the same eyes, so that a reload does not make the gateway unready.
    pub fn inherit(&self, before: &Directory) {
        // The values themselves: with another password nothing is known of what it opens.
        if self.settings == before.settings {
            self.state.store(before.state.load_full());
        }
    }

    /// Closes what is idle and keeps nothing from now on: another one has taken its place, and this one may be held for long
    /// all the same.
    pub fn retire(&self) {
        self.pool.close();
    }

    /// Looks after it until `shutdown` turns true: whether it answers, and connections that nobody used for long.
    pub async fn keep_checked(self: Arc<Self>, shutdown: watch::Receiver<bool>) {
        let ready = matches!(self.readiness(), Readiness::Ready { .. });
        metrics().directory_ready.with_label_values(&[self.name()]).set(i64::from(ready));
        background::repeat(self.fresh_for(SystemTime::now()), shutdown, |_| async {
            self.pool.drop_unused();
            self.check().await;
            match self.readiness() {
                Readiness::Ready { .. } => Some(CHECK_EVERY),
                Readiness::NotReady(_) => None,
            }
        })
        .await;
    }

    /// For how long it need not be looked at.
    fn fresh_for(&self, now: SystemTime) -> Duration {
        let known = self.state.load();
        let good = known.as_deref().filter(|state| matches!(&state.found, Ok(Sight { trouble: None, .. })));
        let age = good.and_then(|state| now.duration_since(state.at).ok());
        age.map_or(Duration::ZERO, |age| CHECK_EVERY.saturating_sub(age))
    }

    async fn check(&self) {
        let known = match self.state.load().as_deref() {
            // What was wrong may have been mended.
            Some(State { found: Ok(sight), .. }) if sight.trouble.is_none() => Some(sight.clone()),
            _ => None,
        };
        let longest = self.pool.longest();
        let looked = tokio::time::timeout(longest, self.look(known)).await;
        let found = self.counted("check", looked.unwrap_or_else(|_| Err(too_long(longest))));
        metrics().directory_ready.with_label_values(&[self.name()]).set(i64::from(found.is_ok()));
        let before = self.state.swap(Some(Arc::new(State { at: SystemTime::now(), found: found.clone() })));
        let was = before.as_ref().map(|state| &state.found);
        match (was, &found) {
            (Some(Ok(Sight { trouble: None, .. })), Ok(Sight { trouble: None, .. })) => {}
            (Some(Ok(same)), Ok(sight)) if same == sight => {}
            (_, Ok(Sight { said, trouble })) => {
                let (directory, found, login) = (self.name(), said.as_str(), self.takes_sign_ins());
                match trouble {
                    None => tracing::info!(directory, found, login, "the directory answers"),
                    Some(trouble) => tracing::warn!(
                        directory,
                        found,
                        trouble = trouble.as_str(),
                        login,
                        "the directory answers, and nobody can sign in"
                    ),
                }
            }
            (Some(Err(same)), Err(failure)) if same == failure => {}
            (_, Err(failure)) => {
                let remedy = failure.remedy();
                tracing::warn!(directory = self.name(), %failure, remedy, "the directory cannot be used");
            }
        }
    }

    /// What signing in needs, tried out: the connection, the bind, both bases; and whether anybody is there where that is not
    /// `known`, since looking for people may cost a large directory something.
    pub(super) async fn look(&self, known: Option<Sight>) -> Result<Sight, Failure> {
        let base = &self.settings.base_dn;
        let none = ["1.1".to_owned()];
        let query = |scope, size_limit, filter: &Filter| Query {
            base,
            scope,
            size_limit,
            filter: filter.encode(Filling::default()),
            attributes: &none,
        };
        let bases = [("base_dn", Some(base)), ("group_base_dn", self.settings.group_base_dn.as_ref())];
        for (key, base) in bases.into_iter().filter_map(|(key, base)| Some((key, base?))) {
            let query = Query { base, ..query(Scope::Base, 1, &Filter::everything()) };
            let found = self.pool.search(&query).await?;
            if found.outcome.code != SUCCESS {
                return Err(self.search_failed(key, base, &found));
            }
        }
        if let Some(known) = known {
            return Ok(known);
        }
        let how = self.pool.said();
        let fine = |said: String| Ok(Sight { said, trouble: None });
        if self.settings.user_filter.is_some() {
            return fine(how);
        }
        let by = &self.settings.user_attribute;
        let found = self.pool.search(&query(Scope::Subtree, 5, &Filter::has_one_of(by))).await?;
        let by = by.join(" or ");
        match (found.outcome.code, found.entries.len()) {
            (SIZE_LIMIT_EXCEEDED, _) => fine(format!("{how}, 5 entries and more with {by}")),
            (SUCCESS, 0) => {
                let whoever = match &self.settings.bind_dn {
                    Some(dn) => format!("{dn} may not see them"),
                    None => "whoever is anonymous may not see them (set bind_dn)".to_owned(),
                };
                let trouble = format!(
                    "nobody can sign in: below base_dn {base:?} is no entry with {by}; the base is another, people have \
                     another attribute (user_attribute), or {whoever}"
                );
                Ok(Sight { said: format!("{how}, no entry with {by}"), trouble: Some(trouble) })
            }
            (SUCCESS, count) => fine(format!("{how}, {} with {by}", counted(count, "entry", "entries"))),
            _ => Err(self.search_failed("base_dn", base, &found)),
        }
    }

    /// What /readyz says of it.
    pub fn readiness(&self) -> Readiness {
        match self.state.load().as_deref() {
            Some(State { at, found: Ok(Sight { said, trouble }) }) => {
                Readiness::Ready { checked_at: *at, found: said.clone(), trouble: trouble.clone() }
            }
            Some(State { found: Err(failure), .. }) => Readiness::NotReady(failure.clone()),
            None => Readiness::NotReady(Failure::new(Reason::DirectoryUnreachable, NOT_ASKED)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(password: &str) -> Arc<Directory> {
        let text = format!(
            "public_url = 'https://app.example'\n[ldap]\naddress = ['ldap://127.0.0.2:9']\nbase_dn = 'dc=x'\n\
             bind_dn = 'cn=reader,dc=x'\nbind_password = '{password}'\n"
        );
        let settings = toml::from_str(&text).expect("settings");
        Directory::new(&settings).expect("a directory").expect("a directory")
    }

    #[test]
    fn nothing_is_known_of_what_another_password_opens() {
        let (before, now) = (directory("old"), SystemTime::now());
        let sight = |trouble| Sight { said: "fine".into(), trouble };
        let seen = |sight| before.state.store(Some(Arc::new(State { at: now, found: Ok(sight) })));
        seen(sight(None));
        let (same, other) = (directory("old"), directory("new"));
        same.inherit(&before);
        other.inherit(&before);
        assert!(matches!(same.readiness(), Readiness::Ready { .. }));
        assert!(matches!(other.readiness(), Readiness::NotReady(_)));
        let later = now + Duration::from_secs(10);
        assert_eq!(same.fresh_for(later), CHECK_EVERY - Duration::from_secs(10));
        assert_eq!(other.fresh_for(later), Duration::ZERO);
        // What was wrong may be why there is another configuration.
        seen(sight(Some("nobody is there".into())));
        let mended = directory("old");
        mended.inherit(&before);
        assert_eq!(mended.fresh_for(later), Duration::ZERO);
    }
}
