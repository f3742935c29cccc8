//! What must fit together: judges settings that are well-formed one by one.
//!
//! Reports all it finds. A rule is here because breaking it locks people out, lets people in, or leaves an option
//! without effect, which is an error too: whoever wrote it believes in it.

mod claims;
mod clients;
pub mod console;
mod cors;
mod directory;
mod flows;
mod headers;
mod listeners;
mod presets;
mod programs;
mod providers;
mod routes;
mod sessions;
mod shadows;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::path::Path;

use super::error::ConfigError;
use super::model::{OF_ACCOUNTS, OWN_ISSUER, RESTORE, Settings};
use super::origin::{KeyPath, Origin, Origins};
use crate::pem;
use crate::reason::{Failure, Reason};

/// What judging found.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    pub errors: Vec<ConfigError>,
    pub warnings: Vec<String>,
    pub hints: Vec<Hint>,
}

/// What may well be meant, and is told where somebody asks: by the doctor and by `doorward check`, not at each start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hint {
    /// Place, key and what it comes to, as in a warning.
    pub said: String,
    pub change: &'static str,
}

/// Judges everything.
pub(crate) fn judge(settings: &Settings, origins: &Origins) -> Verdict {
    let mut judge = Judge { settings, origins, verdict: Verdict::default() };
    judge.listeners();
    judge.limits();
    judge.secrets();
    judge.providers();
    judge.directory();
    judge.flows();
    judge.programs();
    judge.made_claims();
    judge.upstreams();
    judge.routes();
    judge.console();
    judge.headers();
    judge.cors();
    judge.sessions();
    judge.brand();
    judge.shadows();
    judge.verdict
}

struct Judge<'a> {
    settings: &'a Settings,
    origins: &'a Origins,
    verdict: Verdict,
}

impl Judge<'_> {
    /// An error at `key`: what is wrong, and what to do.
    fn error(&mut self, key: &KeyPath, message: impl Into<String>, remedy: impl Into<String>) {
        self.error_because(Reason::ConfigInvalid, key, message, remedy);
    }

    fn error_because(&mut self, reason: Reason, key: &KeyPath, message: impl Into<String>, remedy: impl Into<String>) {
        let error = ConfigError::new(key.to_string(), message).because(reason).hint(remedy);
        self.verdict.errors.push(error.at(self.origins.nearest(key)));
    }

    fn warn(&mut self, key: &KeyPath, message: impl std::fmt::Display) {
        let warning = self.placed(key, message);
        self.verdict.warnings.push(warning);
    }

    fn hint(&mut self, key: &KeyPath, message: impl std::fmt::Display, change: &'static str) {
        let said = self.placed(key, message);
        self.verdict.hints.push(Hint { said, change });
    }

    fn placed(&self, key: &KeyPath, message: impl std::fmt::Display) -> String {
        let place = match self.origins.nearest(key) {
            Origin::Default | Origin::Preset(_) => String::new(),
            // A variable that sets something else of the table is not where this would stand.
            Origin::Variable { .. } if !self.is_set(key) => String::new(),
            origin => format!("{origin}: "),
        };
        format!("{place}{key}: {message}")
    }

    /// Whether somebody set it, be it to the default.
    fn is_set(&self, key: &KeyPath) -> bool {
        !matches!(self.origins.of(key), Origin::Default | Origin::Preset(_))
    }

    /// Whether the value came by a name that W&B deployments use: what goes with it is then told by theirs.
    fn theirs(&self, key: &KeyPath) -> bool {
        matches!(self.origins.of(key), Origin::Variable { foreign: true, .. })
    }

    /// Names by which identities are told apart that neither a provider nor an issuer vouches for.
    fn not_reserved(&mut self, key: &KeyPath, name: &str) {
        let whose = match name {
            OWN_ISSUER => "the gateway's own tokens",
            OF_ACCOUNTS => "the gateway's service accounts",
            RESTORE => "the way in when signing in is broken",
            _ => return,
        };
        self.error(key, format!("`{name}` is the name of {whose}"), "choose another");
    }

    fn file_exists(&mut self, key: &KeyPath, file: Option<&Path>, reason: Reason) {
        if let Some(file) = file.filter(|file| !file.is_file()) {
            let message = format!("{} is no file that can be read", file.display());
            self.error_because(reason, key, message, "correct the path; in the file it is relative to the file");
        }
    }

    /// What `read` makes of the PEM file, where there is one and it is good.
    fn pem<T>(&mut self, key: &KeyPath, file: Option<&Path>, read: fn(&str) -> Result<T, Failure>) -> Option<T> {
        let file = file?;
        if !file.is_file() {
            self.file_exists(key, Some(file), Reason::CertificateUnusable);
            return None;
        }
        let named = |failure| pem::named(file, failure);
        match pem::read(file).and_then(|text| read(&text).map_err(named)) {
            Ok(found) => Some(found),
            Err(failure) => {
                self.error_because(failure.reason, key, failure.detail, "name the PEM file that is meant");
                None
            }
        }
    }

    fn brand(&mut self) {
        let key = KeyPath::of("brand.logo_file");
        self.file_exists(&key, self.settings.brand.logo_file.as_deref(), Reason::ConfigInvalid);
    }
}

/// Whether only this machine can be meant.
pub(super) fn is_loopback(host: Option<url::Host<&str>>) -> bool {
    match host {
        Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(url::Host::Ipv4(address)) => IpAddr::from(address).is_loopback(),
        Some(url::Host::Ipv6(address)) => IpAddr::from(address).is_loopback(),
        None => false,
    }
}

/// Whether it can be a name in metrics, logs and sign-in addresses as it is.
fn is_plain_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
}

/// Whether it is a host without a port: a name, an IPv4 address, or an IPv6 address in brackets.
fn is_host(host: &str) -> bool {
    let name = |host: &str| {
        let label = |label: &str| {
            let inner = label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
            inner && !label.is_empty() && label.len() <= 63 && !label.starts_with('-') && !label.ends_with('-')
        };
        host.len() <= 253 && host.split('.').all(label)
    };
    match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').is_some_and(|inner| inner.parse::<std::net::Ipv6Addr>().is_ok()),
        None => name(host),
    }
}
