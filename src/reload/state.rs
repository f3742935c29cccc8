//! Which configuration is in force, and what became of the last one that was to take its place.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use serde_json::{Value, json};

use crate::clock::unix_seconds;
use crate::config::values::Secret;
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
    /// Secrets of the configurations before, the newest first: what was refused under them is kept longer, and may quote
    /// them.
    pub earlier_secrets: Vec<Secret>,
}

/// Earlier secrets that are remembered.
const EARLIER: usize = 64;

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
        State(ArcSwap::from_pointee(Report {
            config,
            gateway,
            loaded_at: now,
            generation: 1,
            last: None,
            earlier_secrets: Vec::new(),
        }))
    }

    pub fn report(&self) -> Arc<Report> {
        self.0.load_full()
    }

    /// `config` is in force, and `gateway` runs by it.
    pub(super) fn took(&self, config: Arc<Config>, gateway: Arc<Gateway>, last: LastReload) {
        let before = self.report();
        let (loaded_at, generation) = (last.at, before.generation + 1);
        State::tell(true, loaded_at);
        let earlier_secrets = before.secrets_but_for(&config);
        self.0.store(Arc::new(Report { config, gateway, loaded_at, generation, last: Some(last), earlier_secrets }));
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

    /// All that were in force so far, without those of `config`.
    fn secrets_but_for(&self, config: &Config) -> Vec<Secret> {
        let mut earlier: Vec<Secret> = Vec::new();
        for secret in self.config.settings.known_secrets().chain(&self.earlier_secrets) {
            let known = earlier.contains(secret) || config.settings.known_secrets().any(|other| other == secret);
            if !known && earlier.len() < EARLIER {
                earlier.push(secret.clone());
            }
        }
        earlier
    }

    /// For /readyz, whoever asks: without names of files and keys.
    pub fn in_short(&self) -> Value {
        let codes = self.last.iter().flat_map(|last| &last.problems).map(|problem| problem.reason.code());
        json!({ "good": self.good(), "codes": codes.collect::<Vec<_>>() })
    }

    /// For /readyz of this host, and for programs.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn config(secret: &str) -> Arc<Config> {
        let file = tempfile::NamedTempFile::new().expect("file");
        let text = format!(
            "public_url = 'http://localhost:1'\nsecrets = ['0123456789abcdef0123456789abcdef']\n[[upstream]]\nurl = 'http://127.0.0.1:1'\n[[route]]\n\
             [[provider]]\nissuer = 'http://127.0.0.1:2'\nclient_id = 'x'\nclient_secret = '{secret}'\n"
        );
        std::fs::write(file.path(), text).expect("write");
        Arc::new(Config::load(Some(file.path()), &[]).unwrap_or_else(|e| panic!("{e}")))
    }

    /// The gateway of `config`.
    fn of(config: &Arc<Config>) -> Arc<Gateway> {
        let context = crate::assembly::context(config.clone()).unwrap_or_else(|e| panic!("{e}"));
        Arc::new(Gateway::new(context).unwrap_or_else(|e| panic!("{e}")))
    }

    fn took(state: &State, secret: &str) {
        let config = config(secret);
        state.took(config.clone(), of(&config), last(Vec::new()));
    }

    fn new(secret: &str) -> State {
        let config = config(secret);
        State::new(config.clone(), of(&config))
    }

    fn last(problems: Vec<Problem>) -> LastReload {
        let at = SystemTime::now();
        LastReload { at, asked: Asked::Signal, problems, warnings: vec![], changed: vec![], waiting: vec![] }
    }

    #[test]
    fn a_secret_that_was_rotated_is_still_known_and_only_so_many_are() {
        let state = new("first-secret");
        took(&state, "second-secret");
        took(&state, "first-secret");
        assert_eq!(state.report().earlier_secrets, [Secret::new("second-secret")]);
        (0..80).for_each(|n| took(&state, &format!("secret-{n}")));
        let earlier = &state.report().earlier_secrets;
        assert_eq!((earlier.len(), &earlier[0]), (EARLIER, &Secret::new("secret-78")));
    }

    #[test]
    fn other_machines_are_told_codes_and_no_paths() {
        let state = new("a-secret");
        let problem = Problem::from(Failure::new(Reason::ConfigUnreadable, "/etc/doorward/gateway.toml: gone"));
        state.refused(LastReload { changed: vec!["provider.issuer".into()], ..last(vec![problem]) });
        let said = state.report().in_short();
        assert_eq!(said, json!({ "good": false, "codes": [Reason::ConfigUnreadable.code()] }));
        assert!(state.report().as_json().to_string().contains("/etc/doorward"));
    }
}
