//! The self-check: what is wrong with a deployment, found without anybody signing in, and what to change.
//!
//! Each check is a module with one `check`, which adds to a [`Report`] what it found and what it found good. The same
//! [`examine`] serves `doorward doctor` and the console; what is [quick](examine_quickly) also runs at each start.
//!
//! Promise: nothing is changed anywhere, nobody is signed in, and no secret, token or cookie is in a report. An
//! examination ends within its time, and says what it did not get to.

mod certificate;
mod client;
mod configuration;
mod cookies;
mod directory;
mod issuer;
mod limits;
mod look;
mod provider;
mod public_url;
mod reach;
mod repair;
mod report;
mod running;
mod self_attack;
mod skew;
mod subject;
mod text;
mod unloaded;
mod upstream;
mod visit;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::timeout;

pub use report::{Finding, Report, Said, Weight};
pub use unloaded::unloaded;
pub use upstream::address as app_address;

use crate::config::values::AppUrl;
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

    async fn check(self, config: &Arc<Config>, scope: &Scope, report: &mut Report) {
        match self {
            Part::Configuration => configuration::check(config, report),
            Part::PublicUrl => public_url::check(config, report).await,
            Part::Certificate => certificate::check(config, report).await,
            Part::Provider => provider::check(config, report).await,
            Part::Issuer => issuer::check(config, report).await,
            Part::Cookies => cookies::check(config, report),
            Part::Directory => directory::check(config, report).await,
            Part::Upstream => upstream::check(config, &scope.closed, report).await,
            Part::SelfAttack => self_attack::check(config, report).await,
            Part::Limits => limits::check(config, report),
            Part::Running => running::check(config, report).await,
        }
    }
}

/// What is examined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    pub parts: Vec<Part>,
    /// Addresses of apps at which nobody but the gateway should be answered.
    pub closed: Vec<AppUrl>,
}

impl Default for Scope {
    fn default() -> Scope {
        Scope { parts: Part::ALL.into(), closed: Vec::new() }
    }
}

/// Examines the deployment that `config` describes. The parts run beside each other; the report has the heaviest finding
/// first, and otherwise the order of [`Part::ALL`].
pub async fn examine(config: &Arc<Config>, scope: &Scope) -> Report {
    let mut running = JoinSet::new();
    for part in Part::ALL.into_iter().filter(|part| scope.parts.contains(part)) {
        let (config, scope) = (Arc::clone(config), scope.clone());
        running.spawn(async move { (part, bounded(part, &config, &scope).await) });
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
async fn bounded(part: Part, config: &Arc<Config>, scope: &Scope) -> Report {
    let mut report = Report::default();
    let patience = part.patience();
    if timeout(patience, part.check(config, scope, &mut report)).await.is_err() {
        report.skipped(part.name(), "", format!("the rest, for it took longer than {} s", patience.as_secs()));
    }
    report
}

/// What can be found without the network, and therefore at each start.
/// What loading the configuration warned of is not among it.
pub fn examine_quickly(config: &Arc<Config>) -> Report {
    let mut report = Report::default();
    configuration::quick(config, &mut report);
    certificate::quick(config, &mut report);
    cookies::check(config, &mut report);
    limits::check(config, &mut report);
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
