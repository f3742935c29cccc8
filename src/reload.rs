//! Another configuration while the gateway runs: on SIGHUP, and when the contents of its files change.
//!
//! Promise: a configuration comes into force whole or not at all, and only after everything was tried that a start tries.
//! What is on its way goes on by the one that it began with; what was ended, used up or tried too often stays so; nothing
//! that is known of the world outside has to be fetched before the next request.

mod state;
mod tasks;
mod watched;

use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::sign::CertifiedKey;
use tokio::signal::unix::Signal;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

pub use state::{Asked, LastReload, Problem, Report, State};

use self::tasks::Tasks;
use self::watched::Watched;
use crate::assembly::successor;
use crate::background::stopped;
use crate::certificate::{self, Certificate};
use crate::config::{Config, ConfigErrors, Settings, changed, looser, nobody_listens};
use crate::gateway::listener::Connections;
use crate::gateway::{Current, Gateway};
use crate::reason::{Failure, Reason};
use crate::service_accounts::file::place;
use crate::telemetry::{logs, metrics, say_restore_mode};

/// Between two looks at the files.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Outcomes of reloads that are there from the start, as 0: what a graph cannot find looks like a fault of the graph.
const OUTCOMES: [Reason; 5] = [
    Reason::ConfigUnreadable,
    Reason::ConfigInvalid,
    Reason::SecretMissing,
    Reason::CertificateUnusable,
    Reason::Internal,
];
/// Keys of files whose changes are seen by those who use them, each by itself.
const WATCHED_ELSEWHERE: [&str; 2] = ["jwks_file", "api_keys_file"];

/// What a process starts with.
pub struct Start {
    pub config: Arc<Config>,
    pub environment: Vec<(String, String)>,
    seen: Watched,
}

impl Start {
    /// Reads the configuration of `file` and `environment`, and looks at its files before.
    pub fn read(file: Option<&Path>, environment: Vec<(String, String)>) -> Result<Start, ConfigErrors> {
        let chosen = Config::chosen(file, &environment);
        // A pipe gives what it holds once, and that is for the configuration.
        let files = match chosen.as_deref().is_some_and(is_pipe) {
            true => chosen.into_iter().map(|file| (String::new(), file)).collect(),
            false => Config::files(chosen.as_deref(), &environment),
        };
        let seen = Watched::now(own(&files).cloned());
        Ok(Start { config: Arc::new(Config::load(file, &environment)?), environment, seen })
    }
}

/// What a configuration is in force in.
pub struct Running {
    pub current: Arc<Current>,
    pub connections: Arc<Connections>,
    /// `None` where the listener speaks no TLS.
    pub certificate: Option<Arc<Certificate>>,
}

/// Takes other configurations.
pub struct Reloader {
    running: Running,
    /// Of the start: a process has no other.
    environment: Vec<(String, String)>,
    state: Arc<State>,
    tasks: Tasks,
    watched: Watched,
    /// What the files of the configuration in force held when it was read.
    in_force: Watched,
    /// Gateways that may have requests on their way. The last one to let go of a gateway pays for its end, and that is not
    /// to be a request.
    before: Vec<Arc<Gateway>>,
    examine: Examine,
}

/// Looks over a configuration that has come into force. Nobody waits for it.
pub type Examine = Box<dyn Fn(&Arc<Config>) + Send + Sync>;

/// What was read.
struct Read {
    files: Files,
    /// Before anything was read: what changes meanwhile shows at the next look.
    watched: Watched,
    found: Result<Candidate, Refusal>,
}

/// A configuration that was found good, compiled.
struct Candidate {
    config: Arc<Config>,
    gateway: Arc<Gateway>,
    certified: Option<CertifiedKey>,
    waiting: Vec<&'static str>,
}

/// Why there is none.
struct Refusal {
    problems: Vec<Problem>,
    warnings: Vec<String>,
}

/// Files and the keys that name them.
type Files = Vec<(String, PathBuf)>;

impl Reloader {
    /// Takes care of what runs, and begins what it does beside the requests. `seen` are the files as they were before the
    /// configuration was read of them; what changed since shows at the first look.
    pub fn new(running: Running, start: Start, examine: Examine) -> Reloader {
        let Start { config, environment, seen } = start;
        let _ = metrics().reloads.with_label_values(&["ok"]);
        for reason in OUTCOMES {
            let _ = metrics().reloads.with_label_values(&[reason.code()]);
        }
        let gateway = running.current.get();
        tell_way_in(&gateway, false);
        examine(&config);
        metrics().configuration_generations.set(1);
        Reloader {
            tasks: Tasks::start(&gateway),
            state: Arc::new(State::new(config, gateway)),
            in_force: seen.clone(),
            watched: seen,
            before: Vec::new(),
            examine,
            running,
            environment,
        }
    }

    pub fn state(&self) -> Arc<State> {
        self.state.clone()
    }

    /// Takes other configurations until `stopping` turns true: whenever `hangups` come, and when files have changed.
    pub async fn run(mut self, mut hangups: Signal, mut stopping: watch::Receiver<bool>) {
        let mut looks = tokio::time::interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            // In this order: a signal that is there before a look is what asks for the reload.
            let asked = tokio::select! {
                biased;
                () = stopped(&mut stopping) => return,
                Some(()) = hangups.recv() => Some(Asked::Signal),
                _ = looks.tick() => None,
            };
            match asked {
                Some(asked) => self.reload(asked).await,
                None if self.look().await => self.reload(Asked::Files).await,
                None => {}
            }
        }
    }

    /// Whether files have changed.
    async fn look(&mut self) -> bool {
        self.count_generations();
        let mut watched = self.watched.clone();
        let looked = tokio::task::spawn_blocking(move || (watched.has_changed(), watched)).await;
        let Ok((changed, watched)) = looked else { return false };
        self.watched = watched;
        changed
    }

    /// Lets go of gateways that nobody else holds.
    fn count_generations(&mut self) {
        self.before.retain(|gateway| Arc::strong_count(gateway) > 1);
        metrics().configuration_generations.set(i64::try_from(1 + self.before.len()).unwrap_or(i64::MAX));
    }

    async fn reload(&mut self, asked: Asked) {
        let at = SystemTime::now();
        let (config, gateway) = (self.state.report().config.clone(), self.running.current.get());
        let (environment, watched) = (self.environment.clone(), self.watched.paths().cloned().collect());
        let reading = move || Read::now(&config, &gateway, &environment, watched);
        let read = tokio::task::spawn_blocking(reading).await.unwrap_or_else(|error| Read {
            files: Files::new(),
            watched: self.watched.clone(),
            found: Err(Failure::new(Reason::Internal, format!("reading the configuration: {error}")).into()),
        });
        let last = LastReload {
            at,
            asked,
            problems: Vec::new(),
            warnings: Vec::new(),
            changed: Vec::new(),
            waiting: Vec::new(),
        };
        match read.found {
            Ok(candidate) => {
                let changed = self.changes(&candidate.config, &read.files, &read.watched);
                let waiting = candidate.waiting.clone();
                let mut warnings = candidate.config.warnings.clone();
                warnings.extend(looser(&self.state.report().config, &candidate.config));
                self.watched = read.watched.only(own(&read.files));
                self.in_force = self.watched.clone();
                self.take(candidate, LastReload { changed, waiting, warnings, ..last }).await;
            }
            Err(Refusal { problems, warnings }) => {
                self.watched = read.watched;
                self.refuse(LastReload { problems, warnings, ..last });
            }
        }
    }

    /// What the candidate changes: keys, and contents of files that are named as before.
    fn changes(&self, config: &Config, files: &Files, seen: &Watched) -> Vec<String> {
        let mut changes = changed(&self.state.report().config, config);
        let others: Vec<_> = self.in_force.other_than(seen).collect();
        let named = files.iter().filter(|(key, path)| is_own(key) && others.contains(&path.as_path()));
        let contents = named.filter(|(key, _)| !key.is_empty() && !changes.contains(key));
        let contents: Vec<_> = contents.map(|(key, _)| format!("{key} (contents)")).collect();
        changes.extend(contents);
        changes
    }

    async fn take(&mut self, candidate: Candidate, last: LastReload) {
        let Candidate { config, gateway, certified, .. } = candidate;
        // Before the new ones speak of the same.
        self.tasks.end().await;
        logs::init(&config.settings.log);
        gateway.context().take_over(last.at);
        if let (Some(certificate), Some(certified)) = (&self.running.certificate, certified) {
            certificate.replace(certified);
        }
        self.running.connections.follow(&config.settings);
        let old = self.running.current.replace(gateway.clone());
        tasks::succeed(&old, &gateway);
        self.tasks = Tasks::start(&gateway);
        tell_way_in(&gateway, old.context().way_in.is_some());
        self.before.push(old);
        for warning in &last.warnings {
            tracing::warn!(warning, "the configuration is good, and something of it is probably not meant");
        }
        for key in &last.waiting {
            tracing::warn!(key, "the new value takes effect at the next start; until then the old one stays");
        }
        let changed = match last.changed.is_empty() {
            true => "nothing".to_owned(),
            false => last.changed.join(", "),
        };
        tracing::info!(asked_by = last.asked.name(), changed, "the new configuration is in force");
        self.state.took(config.clone(), gateway, last);
        self.count_generations();
        (self.examine)(&config);
        metrics().reloads.with_label_values(&["ok"]).inc();
    }

    fn refuse(&self, last: LastReload) {
        last.problems.iter().for_each(Problem::tell);
        // The first in the order of the file.
        let outcome = last.problems.first().map_or(Reason::Internal, |problem| problem.reason);
        self.state.refused(last);
        metrics().reloads.with_label_values(&[outcome.code()]).inc();
    }
}

impl Read {
    /// Reads the configuration again and tries it, and looks at all files that it may hang on: those of `before`, too,
    /// which it may be mended to.
    fn now(before: &Config, running: &Gateway, environment: &[(String, String)], watched: Vec<PathBuf>) -> Read {
        let file = before.file.as_deref();
        let files = match file.is_some_and(is_pipe) {
            true => before.file.iter().map(|file| (String::new(), file.clone())).collect(),
            false => Config::files(file, environment),
        };
        let all = files.iter().map(|(_, path)| path.clone()).chain(watched).chain([place(&before.settings, file)]);
        let watched = Watched::now(all);
        // Whoever opens one waits for somebody to write into it, which nobody does a second time.
        let found = match files.iter().find(|(_, path)| is_pipe(path)) {
            Some((_, path)) => {
                let detail = format!("{}: is a pipe, which cannot be read again", path.display());
                let remedy = "Have a file in its place, or start again to have it read.";
                Err(Failure::new(Reason::ConfigUnreadable, detail).remedied(remedy).into())
            }
            None => Candidate::read(before, running, environment),
        };
        Read { files, watched, found }
    }
}

fn is_pipe(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|is| is.file_type().is_fifo())
}

impl Candidate {
    fn read(before: &Config, running: &Gateway, environment: &[(String, String)]) -> Result<Candidate, Refusal> {
        let mut config = before.load_again(environment)?;
        config.warnings.extend(nobody_listens(&config.settings, &before.settings));
        let waiting = keep_until_restart(&mut config.settings, &before.settings);
        let config = Arc::new(config);
        let refused = |failure: Failure| Refusal { warnings: config.warnings.clone(), ..failure.into() };
        let certified = certificate::read(&config.settings.listen).map_err(refused)?;
        let gateway = successor(config.clone(), running.context()).and_then(Gateway::new).map_err(refused)?;
        gateway.inherit(running);
        Ok(Candidate { config: config.clone(), gateway: Arc::new(gateway), certified, waiting })
    }
}

impl From<ConfigErrors> for Refusal {
    fn from(errors: ConfigErrors) -> Self {
        Refusal { problems: errors.0.into_iter().map(Problem::from).collect(), warnings: errors.1 }
    }
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        Refusal { problems: vec![failure.into()], warnings: Vec::new() }
    }
}

/// Settings that only a start can follow stay as they are. Returns the keys of those that were to become others.
fn keep_until_restart(settings: &mut Settings, running: &Settings) -> Vec<&'static str> {
    fn keep<T: PartialEq + Clone>(key: &'static str, new: &mut T, old: &T) -> Option<&'static str> {
        (new != old).then(|| {
            new.clone_from(old);
            key
        })
    }
    let (listen, old) = (&mut settings.listen, &running.listen);
    let mut waiting = vec![
        keep("listen.address", &mut listen.address, &old.address),
        keep("listen.threads", &mut listen.threads, &old.threads),
        keep("admin.address", &mut settings.admin.address, &running.admin.address),
    ];
    // Another certificate is followed; whether there is one is not.
    if listen.tls_certificate_file.is_some() != old.tls_certificate_file.is_some() {
        listen.tls_key_file.clone_from(&old.tls_key_file);
        waiting.push(keep("listen.tls_certificate_file", &mut listen.tls_certificate_file, &old.tls_certificate_file));
    }
    waiting.into_iter().flatten().collect()
}

/// Says whether the way in is open, and the password where that is news.
fn tell_way_in(gateway: &Gateway, was_open: bool) {
    let context = gateway.context();
    say_restore_mode(context.way_in.is_some());
    metrics().restore_mode.set(i64::from(context.way_in.is_some()));
    if let Some(way_in) = context.way_in.as_ref().filter(|_| !was_open) {
        way_in.tell(&context.config.settings);
    }
}

/// Files whose changes are seen here.
fn own(files: &Files) -> impl Iterator<Item = &PathBuf> {
    files.iter().filter(|(key, _)| is_own(key)).map(|(_, path)| path)
}

fn is_own(key: &str) -> bool {
    !WATCHED_ELSEWHERE.iter().any(|name| key.ends_with(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_while_the_gateway_starts_is_seen_at_the_first_looks() {
        let folder = tempfile::tempdir().expect("a folder");
        let (file, secret) = (folder.path().join("gateway.toml"), folder.path().join("secret"));
        let text = "public_url = \"http://127.0.0.1:1\"\nsecret_file = \"secret\"\n\
                    [[upstream]]\nurl = \"http://127.0.0.1:2\"\n[[route]]\naccess = \"public\"\n";
        std::fs::write(&file, text).expect("written");
        std::fs::write(&secret, "old ".repeat(12)).expect("written");
        let mut start = Start::read(Some(&file), Vec::new()).unwrap_or_else(|errors| panic!("{errors}"));
        // Before anybody compiles, listens or looks.
        std::fs::write(&secret, "new ".repeat(12)).expect("written");
        assert_eq!([start.seen.has_changed(), start.seen.has_changed()], [false, true]);
    }
}
