//! The self-check: what is wrong with a deployment, found without anybody signing in, and what to change.
//!
//! Each check is a module with one `check`, which adds to a [`Report`] what it found and what it found good. The same
//! [`examine`] serves `doorward doctor` and the console; what is [quick](examine_quickly) also runs at each start.
//!
//! Promise: nothing is changed anywhere, unless [`Scope::identity_headers`] has apps asked as somebody; nobody is signed
//! in, and no secret, token or cookie is in a report. An examination ends within its time, and says what it did not get to.

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
mod way;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::timeout;

pub use configuration::PLACE as CONFIGURATION;
pub use report::{Finding, Report, Said, Weight};
pub use unloaded::unloaded;
pub use upstream::address as app_address;

use crate::config::values::AppUrl;
use crate::config::{Config, Settings};
use crate::reason::Reason;

/// For one provider or issuer in all.
pub const ONE_PROVIDER: Duration = Duration::from_secs(40);

/// For one app, or one address of a directory, in all.
const ONE_APP: Duration = Duration::from_secs(25);

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
            Part::Provider | Part::Issuer => ONE_PROVIDER.as_secs() + 10,
            _ => ONE_APP.as_secs() + 5,
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
            Part::Directory => directory::check(config, scope, report).await,
            Part::Upstream => upstream::check(config, scope, report).await,
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
    /// Whether apps are asked with identity headers of a person who does not exist. Apps that make accounts by themselves
    /// may make one.
    pub identity_headers: bool,
    /// Somebody who is looked for in the directory.
    pub sample_user: Option<String>,
}

impl Default for Scope {
    fn default() -> Scope {
        Scope { parts: Part::ALL.into(), closed: Vec::new(), identity_headers: false, sample_user: None }
    }
}

/// Examines the deployment that `config` describes. The parts run beside each other; the report has the heaviest finding
/// first, and otherwise the order of [`Part::ALL`].
pub async fn examine(config: &Arc<Config>, scope: &Scope) -> Report {
    let parts = Part::ALL.into_iter().filter(|part| scope.parts.contains(part));
    let checks = parts.map(|part| {
        let (config, scope) = (Arc::clone(config), scope.clone());
        let place = part.name().to_owned();
        let chosen = scope.parts.len() < Part::ALL.len();
        let check = async move |report: &mut Report| {
            part.check(&config, &scope, report).await;
            if chosen && *report == Report::default() {
                report.skipped(part.name(), "", "the configuration has nothing of it");
            }
        };
        (place.clone(), within(part.patience(), place, check))
    });
    let mut report = beside(checks).await;
    report.sort();
    report
}

/// What each of several examinations found, in their order; they run beside each other. One that breaks off with a panic is
/// told under its place, and takes nothing of the others along.
async fn beside<F>(checks: impl IntoIterator<Item = (String, F)>) -> Report
where
    F: Future<Output = Report> + Send + 'static,
{
    let running: Vec<_> = checks.into_iter().map(|(place, check)| (place, Task(tokio::spawn(check)))).collect();
    let mut report = Report::default();
    for (place, mut task) in running {
        match (&mut task.0).await {
            Ok(found) => report.merge(found),
            Err(_) => {
                let seen = "this part of the examination ended unexpectedly, and what it had found is lost";
                let finding = Finding::new(Weight::Warning, Reason::Internal, place, seen);
                report.found(
                    finding.change("Report it with what standard error says; the other parts are not touched by it."),
                );
            }
        }
    }
    report
}

/// Ends with whoever waits for it.
struct Task(JoinHandle<Report>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What `check` found within its time.
async fn within(patience: Duration, place: String, check: impl AsyncFnOnce(&mut Report)) -> Report {
    let mut report = Report::default();
    if timeout(patience, check(&mut report)).await.is_err() {
        report.skipped(place, "", format!("the rest, for it took longer than {} s", patience.as_secs()));
    }
    report
}

/// What can be found without the network, and therefore of each configuration that comes into force.
pub fn examine_quickly(config: &Arc<Config>) -> Report {
    let mut report = Report::default();
    configuration::check(config, &mut report);
    certificate::quick(config, &mut report);
    cookies::check(config, &mut report);
    limits::check(config, &mut report);
    report.sort();
    report
}

/// What of a quick examination has to change, without what loading the configuration has told itself.
pub fn told_beside_loading(report: &Report) -> Vec<Finding> {
    let own = |found: &&Finding| found.place != CONFIGURATION || found.reason != Reason::SettingDoubtful;
    report.findings.iter().filter(|found| found.weight >= Weight::Warning).filter(own).cloned().collect()
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

    #[tokio::test]
    async fn a_part_that_panics_is_told_and_takes_nothing_along() {
        let good = |place: &'static str| async move {
            let mut report = Report::default();
            report.good(place, "", "well");
            assert_ne!(place, "second", "as a mistake of ours would");
            report
        };
        let report = beside(["first", "second", "third"].map(|place| (place.to_owned(), good(place)))).await;
        let told: Vec<_> = report.good.iter().map(|said| said.place.as_str()).collect();
        assert_eq!(told, ["first", "third"]);
        let found: Vec<_> = report.findings.iter().map(|one| (one.place.as_str(), one.weight, one.reason)).collect();
        assert_eq!(found, [("second", Weight::Warning, Reason::Internal)]);
    }
}
