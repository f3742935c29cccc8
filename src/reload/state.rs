//! Which configuration is in force, and what became of the last one that was to take its place.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use serde_json::{Value, json};

use crate::clock::unix_seconds;
use crate::config::{Config, ConfigError};
use crate::gateway::Gateway;
use crate::reason::{Failure, Reason};
use crate::telemetry::metrics;

/// The state of the configuration, for whoever asks.
pub struct State(ArcSwap<Report>);

/// One moment of it.
#[derive(Clone)]
pub struct Report {
    /// As it was read: while only the way in is open, the gateway goes by less.
    pub config: Arc<Config>,
    /// What runs by it.
    pub gateway: Arc<Gateway>,
    /// When it came into force.
    pub loaded_at: SystemTime,
    /// 1 for the one of the start.
    pub generation: u64,
    /// `None` before anybody asked for one.
    pub last: Option<LastReload>,
}

/// What asked for a reload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    Signal,
    Files,
}

/// What became of a reload.
#[derive(Clone, Debug)]
pub struct LastReload {
    pub at: SystemTime,
    pub asked: Asked,
    /// Why the new configuration was not taken; empty where it was.
    pub problems: Vec<Problem>,
    /// What is allowed and probably not meant, a sentence each.
    pub warnings: Vec<String>,
    /// Keys with other values, and files with other contents.
    pub changed: Vec<String>,
    /// Keys whose new values wait for a restart.
    pub waiting: Vec<&'static str>,
}

/// One thing that is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub reason: Reason,
    pub file: Option<PathBuf>,
    pub line: Option<usize>,
    pub variable: Option<String>,
    /// Empty where it is about no single one.
    pub key: String,
    pub detail: String,
    pub remedy: String,
}

impl Asked {
    pub fn name(self) -> &'static str {
        match self {
            Asked::Signal => "SIGHUP",
            Asked::Files => "changed file",
        }
    }
}

impl State {
    pub fn new(config: Arc<Config>, gateway: Arc<Gateway>) -> State {
        let now = SystemTime::now();
        State::tell(true, now);
        State(ArcSwap::from_pointee(Report { config, gateway, loaded_at: now, generation: 1, last: None }))
    }

    pub fn report(&self) -> Arc<Report> {
        self.0.load_full()
    }

    /// `config` is in force, and `gateway` runs by it.
    pub(super) fn took(&self, config: Arc<Config>, gateway: Arc<Gateway>, last: LastReload) {
        let (loaded_at, generation) = (last.at, self.report().generation + 1);
        State::tell(true, loaded_at);
        self.0.store(Arc::new(Report { config, gateway, loaded_at, generation, last: Some(last) }));
    }

    /// The one in force stays.
    pub(super) fn refused(&self, last: LastReload) {
        let before = self.report();
        State::tell(false, before.loaded_at);
        self.0.store(Arc::new(Report { last: Some(last), ..Report::clone(&before) }));
    }

    fn tell(good: bool, loaded_at: SystemTime) {
        metrics().configuration_good.set(i64::from(good));
        metrics().configuration_loaded.set(i64::try_from(unix_seconds(loaded_at)).unwrap_or(i64::MAX));
    }
}

impl Report {
    /// Whether what is in force is what was last read.
    pub fn good(&self) -> bool {
        self.last.as_ref().is_none_or(|last| last.problems.is_empty())
    }

    /// For /readyz and for programs.
    pub fn as_json(&self) -> Value {
        let mut said = json!({
            "good": self.good(), "loaded_at": httpdate::fmt_http_date(self.loaded_at), "generation": self.generation,
        });
        let Some(last) = &self.last else { return said };
        said["last_reload"] = json!({
            "at": httpdate::fmt_http_date(last.at), "asked_by": last.asked.name(),
            "problems": last.problems.iter().map(Problem::as_json).collect::<Vec<_>>(),
            "warnings": last.warnings, "changed": last.changed, "wait_for_restart": last.waiting,
        });
        said
    }
}

impl Problem {
    fn as_json(&self) -> Value {
        json!({
            "reason": self.reason.code(), "title": self.reason.info().title, "file": self.file, "line": self.line,
            "variable": self.variable, "key": self.key, "detail": self.detail, "remedy": self.remedy,
        })
    }

    /// In the log, as an error.
    pub(super) fn tell(&self) {
        tracing::error!(
            reason = self.reason.code(),
            file = self.file.as_ref().map(|file| tracing::field::display(file.display())),
            line = self.line,
            variable = self.variable,
            key = (!self.key.is_empty()).then_some(self.key.as_str()),
            detail = self.detail,
            remedy = self.remedy,
            "the new configuration is not taken, the old one stays"
        );
    }
}

impl From<ConfigError> for Problem {
    fn from(error: ConfigError) -> Self {
        let remedy = error.hint.unwrap_or_else(|| error.reason.info().remedy.to_owned());
        let ConfigError { reason, file, line, variable, key, message, .. } = error;
        Problem { reason, file, line, variable, key, detail: message, remedy }
    }
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        Problem {
            reason: failure.reason,
            file: None,
            line: None,
            variable: None,
            key: String::new(),
            remedy: failure.remedy().to_owned(),
            detail: failure.detail,
        }
    }
}
