//! The doctor on the console: one examination at a time in this process; the last report is kept with its time, and beside it
//! what was found without the network when the configuration in force was loaded.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use askama::Template;
use http::{Response, StatusCode};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::guard::Asked;
use super::shell::Shell;
use super::words::{ago, span, stamp};
use super::{Scene, answer};
use crate::clock::unix_seconds;
use crate::config::Config;
use crate::config::values::{AppScheme, AppUrl};
use crate::doctor::{Finding, Report, Scope, Weight, app_address, examine, examine_quickly};
use crate::reason::{Failure, Reason};
use crate::telemetry::rfc3339;
use crate::words::counted;

/// Seconds between two looks at an examination that is under way.
const LOOK_AGAIN: u32 = 2;

/// Who examines.
#[derive(Default)]
pub struct Doctor(Mutex<State>);

#[derive(Default)]
struct State {
    /// When the examination that is under way began.
    since: Option<SystemTime>,
    last: Option<Arc<Examined>>,
    /// Of the configuration in force, when it was loaded; nobody was asked.
    loaded: Option<Arc<Examined>>,
}

/// An examination that has ended.
pub struct Examined {
    pub at: SystemTime,
    pub took: Duration,
    pub report: Report,
}

/// Says that nothing is under way any more, however an examination ended.
struct UnderWay(Arc<Doctor>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.state().since = None;
    }
}

impl Doctor {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn last(&self) -> Option<Arc<Examined>> {
        self.state().last.clone()
    }

    /// What loading the configuration found, where nobody had everything examined since: that says it again.
    pub(super) fn loaded(&self) -> Option<Arc<Examined>> {
        let state = self.state();
        let since = |loaded: &Arc<Examined>| state.last.as_ref().is_none_or(|last| last.at < loaded.at);
        state.loaded.clone().filter(since)
    }

    /// Looks for what can be found without the network in a configuration that has come into force.
    pub fn examine_quickly(&self, config: &Arc<Config>) -> Arc<Examined> {
        let at = SystemTime::now();
        let report = examine_quickly(config);
        let examined = Arc::new(Examined { at, took: at.elapsed().unwrap_or_default(), report });
        self.state().loaded = Some(Arc::clone(&examined));
        examined
    }

    fn since(&self) -> Option<SystemTime> {
        self.state().since
    }

    /// Examines the deployment that `config` describes, whoever goes on waiting. [`Reason::ConsoleBusy`] where an
    /// examination is under way.
    fn begin(self: &Arc<Self>, config: Arc<Config>, scope: Scope) -> Result<JoinHandle<()>, Failure> {
        let began = SystemTime::now();
        let mut state = self.state();
        if let Some(since) = state.since {
            return Err(Failure::new(Reason::ConsoleBusy, format!("since {}", stamp(since))));
        }
        state.since = Some(began);
        drop(state);
        let under_way = UnderWay(Arc::clone(self));
        Ok(tokio::spawn(async move {
            let report = examine(&config, &scope).await;
            let took = began.elapsed().unwrap_or_default();
            let examined = Examined { at: SystemTime::now(), took, report };
            under_way.0.state().last = Some(Arc::new(examined));
            drop(under_way);
        }))
    }

    /// For programs.
    pub(super) fn as_json(&self) -> Value {
        let state = self.state();
        let told = |one: &Option<Arc<Examined>>| {
            one.as_ref().map(|one| {
                json!({ "at": rfc3339(unix_seconds(one.at)), "seconds": one.took.as_secs_f64(), "report": one.report.as_json() })
            })
        };
        json!({
            "running_since": state.since.map(|since| rfc3339(unix_seconds(since))),
            "last": told(&state.last), "loaded": told(&state.loaded),
        })
    }
}

/// A finding as pages show it.
pub(super) struct Shown {
    pub class: &'static str,
    pub weight: &'static str,
    pub code: &'static str,
    pub title: &'static str,
    pub place: String,
    pub step: &'static str,
    pub seen: String,
    pub change: String,
}

impl Shown {
    pub fn of(finding: &Finding) -> Shown {
        let info = finding.reason.info();
        Shown {
            class: match finding.weight {
                Weight::Broken => "bad",
                Weight::Warning => "warn",
                Weight::Hint => "hint",
            },
            weight: finding.weight.as_str(),
            code: info.code,
            title: finding.title(),
            place: finding.place.clone(),
            step: finding.step,
            seen: finding.seen.clone(),
            change: finding.change.clone(),
        }
    }
}

/// A report as pages show it.
pub(super) struct ShownReport {
    pub findings: Vec<Shown>,
    /// Place and step, and what was said of it.
    pub good: Vec<(String, String)>,
    pub skipped: Vec<(String, String)>,
    pub class: &'static str,
    pub verdict: String,
}

impl ShownReport {
    pub fn of(report: &Report) -> ShownReport {
        let count = |weight| report.findings.iter().filter(|finding| finding.weight == weight).count();
        let [broken, warnings, hints] = [Weight::Broken, Weight::Warning, Weight::Hint].map(count);
        let found = [(broken, "broken", "broken"), (warnings, "warning", "warnings"), (hints, "hint", "hints")];
        let found: Vec<_> =
            found.into_iter().filter(|(number, ..)| *number > 0).map(|(n, one, more)| counted(n, one, more)).collect();
        let good = counted(report.good.len(), "thing is good", "things are good");
        let said = |list: &[crate::doctor::Said]| {
            let place = |said: &crate::doctor::Said| match said.step {
                "" => said.place.clone(),
                step => format!("{}, {step}", said.place),
            };
            list.iter().map(|said| (place(said), said.said.clone())).collect()
        };
        ShownReport {
            findings: report.findings.iter().map(Shown::of).collect(),
            good: said(&report.good),
            skipped: said(&report.skipped),
            class: match report.worst() {
                Some(Weight::Broken) => "bad",
                Some(Weight::Warning) => "warn",
                _ => "good",
            },
            verdict: if found.is_empty() {
                format!("Nothing to change: {good}")
            } else {
                format!("{}, {good}", found.join(", "))
            },
        }
    }
}

#[derive(Template)]
#[template(path = "doctor.html", config = "src/admin/askama.toml")]
struct DoctorPage {
    shell: Shell,
    /// How long one has been under way.
    running: Option<String>,
    /// Whether there is one to look for somebody in.
    directory: bool,
    last: Option<Last>,
    /// Of the configuration in force when it was loaded, where that was later.
    loaded: Option<Last>,
}

struct Last {
    when: String,
    took: String,
    report: ShownReport,
}

impl Last {
    fn of(examined: &Examined, now: SystemTime) -> Last {
        Last {
            when: format!("{} ({})", ago(examined.at, now), stamp(examined.at)),
            took: super::words::brief(examined.took.as_secs_f64()),
            report: ShownReport::of(&examined.report),
        }
    }
}

/// What the form asks for beside the usual. Of what answers at an address no more is shown than status, server and title.
fn scope(asked: &Asked) -> Result<Scope, Failure> {
    let field = |name: &str| asked.form(name).map(str::trim).filter(|text| !text.is_empty());
    let closed = match field("app_address") {
        Some(text) => {
            let unusable = |why: String| Failure::new(Reason::ConsoleForm, format!("app_address: {why}"));
            let address = app_address(text).map_err(|why| unusable(why.to_string()))?;
            match address {
                AppUrl::Tcp { scheme: AppScheme::Http | AppScheme::Https, .. } => vec![address],
                _ => return Err(unusable("expected http:// or https://".to_owned())),
            }
        }
        None => Vec::new(),
    };
    Ok(Scope {
        closed,
        identity_headers: field("identity_headers").is_some(),
        sample_user: field("sample_user").map(str::to_owned),
        ..Scope::default()
    })
}

pub(super) fn page(scene: &Scene<'_>) -> Result<Response<Vec<u8>>, Failure> {
    let doctor = &scene.admin.doctor;
    if scene.asked.is_post() {
        match doctor.begin(Arc::clone(&scene.in_force.config), scope(scene.asked)?) {
            // Whoever presses twice wants to see the one that runs.
            Ok(_) => {}
            Err(busy) if busy.reason == Reason::ConsoleBusy => {}
            Err(failure) => return Err(failure),
        }
        return Ok(answer::see_other(&format!("{}doctor", scene.asked.root)));
    }
    let mut shell = scene.shell("doctor");
    let running = doctor.since();
    shell.refresh = running.map(|_| LOOK_AGAIN);
    let page = DoctorPage {
        shell,
        running: running.map(|since| span(scene.now.duration_since(since).unwrap_or_default())),
        directory: scene.in_force.config.settings.ldap.is_some(),
        last: doctor.last().map(|last| Last::of(&last, scene.now)),
        loaded: doctor.loaded().map(|loaded| Last::of(&loaded, scene.now)),
    };
    Ok(page.shell.page(&page))
}

/// The last report; by POST that of a new examination, which is waited for.
pub(super) async fn for_programs(scene: &Scene<'_>) -> Result<Response<Vec<u8>>, Failure> {
    let doctor = &scene.admin.doctor;
    if scene.asked.is_post() {
        let _ = doctor.begin(Arc::clone(&scene.in_force.config), scope(scene.asked)?)?.await;
    }
    Ok(answer::json(StatusCode::OK, &doctor.as_json()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_told_by_its_worst_and_counted() {
        let mut report = Report::default();
        report.good("provider main", "DNS", "resolves");
        assert_eq!(ShownReport::of(&report).verdict, "Nothing to change: 1 thing is good");
        report.found(Finding::new(Weight::Hint, Reason::NoRoute, "routes", "a"));
        report.found(Finding::new(Weight::Broken, Reason::IssuerMixUp, "provider main", "b").at("issuer"));
        let shown = ShownReport::of(&report);
        assert_eq!((shown.class, shown.verdict.as_str()), ("bad", "1 broken, 1 hint, 1 thing is good"));
        assert_eq!((shown.findings[1].class, shown.findings[1].step), ("bad", "issuer"));
    }
}
