//! The self-check: what is wrong with a deployment, found without anybody signing in, and what to change.
//!
//! Each check is a module with one `check`, which adds to a [`Report`] what it found and what it found good. The same
//! [`examine`] serves `doorward doctor` and the console; what is [quick](examine_quickly) also runs at each start.
//!
//! Promise: nothing is changed anywhere, nobody is signed in, and no secret, token or cookie is in a report. An
//! examination ends within its time, and says what it did not get to.

mod client;
mod issuer;
mod look;
mod provider;
mod reach;
mod repair;
mod report;
mod skew;
mod subject;
mod text;
mod unloaded;
mod visit;

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::timeout;

pub use report::{Finding, Report, Weight};
pub use unloaded::unloaded;

use crate::config::{Config, Settings};

/// A part of an examination, in the order in which a report tells them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Configuration,
    PublicUrl,
    Certificate,
    Provider,
    Issuer,
    Cookies,
    Directory,
    Upstream,
    SelfAttack,
    Limits,
    Running,
}

impl Part {
    pub const ALL: [Part; 11] = [
        Part::Configuration,
        Part::PublicUrl,
        Part::Certificate,
        Part::Provider,
        Part::Issuer,
        Part::Cookies,
        Part::Directory,
        Part::Upstream,
        Part::SelfAttack,
        Part::Limits,
        Part::Running,
    ];

    /// Its name on the command line and in a report.
    pub fn name(self) -> &'static str {
        match self {
            Part::Configuration => "configuration",
            Part::PublicUrl => "public-url",
            Part::Certificate => "certificate",
            Part::Provider => "provider",
            Part::Issuer => "issuer",
            Part::Cookies => "cookies",
            Part::Directory => "directory",
            Part::Upstream => "upstream",
            Part::SelfAttack => "self-attack",
            Part::Limits => "limits",
            Part::Running => "running",
        }
    }

    /// How long it may take in all.
    fn patience(self) -> Duration {
        Duration::from_secs(match self {
            // A dozen requests, each with the provider's own time limit.
            Part::Provider | Part::Issuer => 60,
            _ => 30,
        })
    }

    async fn check(self, config: &Arc<Config>, report: &mut Report) {
        match self {
            Part::Configuration => {}
            Part::PublicUrl => {}
            Part::Certificate => {}
            Part::Provider => provider::check(config, report).await,
            Part::Issuer => issuer::check(config, report).await,
            Part::Cookies => {}
            Part::Directory => {}
            Part::Upstream => {}
            Part::SelfAttack => {}
            Part::Limits => {}
            Part::Running => {}
        }
    }
}

/// Which parts are examined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope(pub Vec<Part>);

impl Default for Scope {
    fn default() -> Scope {
        Scope(Part::ALL.into())
    }
}

/// Examines the deployment that `config` describes. The parts run beside each other; the report has the heaviest finding
/// first, and otherwise the order of [`Part::ALL`].
pub async fn examine(config: &Arc<Config>, scope: &Scope) -> Report {
    let mut running = JoinSet::new();
    for part in Part::ALL.into_iter().filter(|part| scope.0.contains(part)) {
        let config = Arc::clone(config);
        running.spawn(async move { (part, bounded(part, &config).await) });
    }
    let mut found = Vec::new();
    while let Some(ended) = running.join_next().await {
        // A part that panicked found nothing that could be told.
        found.extend(ended);
    }
    found.sort_by_key(|(part, _)| *part as u8);
    let mut report = Report::default();
    found.into_iter().for_each(|(_, part)| report.merge(part));
    report.sort();
    report
}

/// What a part found, within its time.
async fn bounded(part: Part, config: &Arc<Config>) -> Report {
    let mut report = Report::default();
    let patience = part.patience();
    if timeout(patience, part.check(config, &mut report)).await.is_err() {
        report.skipped(part.name(), "", format!("the rest, for it took longer than {} s", patience.as_secs()));
    }
    report
}

/// What can be found without the network, and therefore at each start.
pub fn examine_quickly(_config: &Arc<Config>) -> Report {
    let mut report = Report::default();
    report.sort();
    report
}

/// Examines one provider of `settings`, which need not be those the gateway runs with: nothing of them is kept.
pub async fn examine_provider(settings: &Settings, name: &str) -> Report {
    let mut report = provider::one(settings, name).await;
    report.sort();
    report
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_are_told_in_the_order_of_their_list() {
        let order: Vec<u8> = Part::ALL.iter().map(|part| *part as u8).collect();
        assert_eq!(order, (0..Part::ALL.len() as u8).collect::<Vec<_>>());
    }
}
