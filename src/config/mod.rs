//! The configuration: one immutable value, read whole, judged whole, and never changed afterwards.
//!
//! [`Config::load`] is the story: the file's text becomes a tree, the environment is laid over it, secrets are read
//! from their files, what is known of each provider's product is laid under it, the tree is held against the model and
//! becomes [`Settings`], and those are judged. Every step reports all it finds; a later step runs only where the
//! earlier ones found nothing.

mod changes;
mod check;
mod de;
pub mod environment;
mod error;
mod judge;
pub mod model;
mod origin;
mod presets;
pub mod schema;
mod secret_files;
mod shape;
pub mod table;
mod tree;
pub mod trial;
pub mod values;
mod wandb;
mod wandb_ldap;

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

pub use changes::{changed, looser, nobody_listens};
pub use error::{ConfigError, ConfigErrors, nearest};
pub use judge::{Hint, console};
pub use model::{OWN_ISSUER, Settings};
pub use origin::{KeyPath, Origin, Origins, Step};

use crate::files;
use crate::reason::{Failure, Reason};
use tree::Node;
use values::Secret;

/// The file that is read where none is named and it exists.
pub const DEFAULT_FILE: &str = "gateway.toml";

/// A configuration that was found good.
#[derive(Clone, Debug)]
pub struct Config {
    pub settings: Settings,
    /// Where each setting came from.
    pub origins: Origins,
    /// What is allowed and probably not meant.
    pub warnings: Vec<String>,
    /// What may well be meant, for whoever asks.
    pub hints: Vec<Hint>,
    /// The file it was read from; `None` where the environment says everything.
    pub file: Option<PathBuf>,
    /// By key, so that it can be told which of them another configuration changes.
    secrets: BTreeMap<KeyPath, Secret>,
}

impl Config {
    /// Reads and judges the configuration: from `file`, else from the file that `DOORWARD_CONFIG` names, else from
    /// `gateway.toml` in the working directory where it exists, else from the environment alone.
    ///
    /// Reads files (the configuration, secrets) and nothing else; `env` is handed in so that tests and reloads
    /// see what they want to. Fails with every error that was found.
    pub fn load(file: Option<&Path>, env: &[(String, String)]) -> Result<Config, ConfigErrors> {
        Config::load_chosen(Config::chosen(file, env), env)
    }

    /// The file that [`Config::load`] would read.
    pub fn chosen(file: Option<&Path>, env: &[(String, String)]) -> Option<PathBuf> {
        let variable = || env.iter().find(|(name, value)| name == environment::CONFIG_FILE && !value.is_empty());
        let default = || Some(PathBuf::from(DEFAULT_FILE)).filter(|path| path.exists());
        file.map(Path::to_owned).or_else(|| variable().map(|(_, value)| value.into())).or_else(default)
    }

    /// Reads and judges again what this one was read from, as it is now.
    pub fn load_again(&self, env: &[(String, String)]) -> Result<Config, ConfigErrors> {
        Config::load_chosen(self.file.clone(), env)
    }

    /// The files that a configuration now read from `file` and `env` would be made of, each with the key that names it;
    /// the file itself is named by none. Also where the configuration is not good: what is wrong with it may be mended
    /// in any of them.
    pub fn files(file: Option<&Path>, env: &[(String, String)]) -> Vec<(String, PathBuf)> {
        let own = file.map(|file| (String::new(), file.to_owned()));
        let root = laid(file, env, &mut Vec::new(), &mut Vec::new());
        let named = root.map(|root| secret_files::named(&root)).unwrap_or_default();
        own.into_iter().chain(named).collect()
    }

    fn load_chosen(file: Option<PathBuf>, env: &[(String, String)]) -> Result<Config, ConfigErrors> {
        let (mut errors, mut warnings) = (Vec::new(), Vec::new());
        let mut root = laid(file.as_deref(), env, &mut errors, &mut warnings)?;
        secret_files::fold(&mut root, &mut errors);
        // Whoever configures by the environment alone begins with this one.
        let nothing = file.is_none() && root.get("public_url").is_none();
        if nothing {
            errors.insert(0, nothing_found());
        }
        presets::overlay(&mut root);
        let origins = root.origins();
        let secrets = changes::secrets(&root, shape::settings());
        let mut settings = match check::settings(root) {
            Ok(settings) if errors.is_empty() => settings,
            Ok(_) => return Err(in_order(errors, warnings)),
            Err(more) => {
                // That there is no public URL is told by the first.
                errors.extend(more.into_iter().filter(|error| !nothing || error.key != "public_url"));
                return Err(in_order(errors, warnings));
            }
        };
        complete(&mut settings);
        let verdict = judge::judge(&settings, &origins);
        warnings.extend(verdict.warnings);
        match verdict.errors.is_empty() {
            true => Ok(Config { settings, origins, warnings, hints: verdict.hints, file, secrets }),
            false => Err(in_order(verdict.errors, warnings)),
        }
    }

    /// The setting at `path` as errors and the table call it, and where it is written: `route[1].allow, gateway.toml:20`.
    pub fn place_of(&self, path: &KeyPath) -> String {
        match self.origins.nearest(path) {
            Origin::Default | Origin::Preset(_) => path.to_string(),
            Origin::File { file, line, .. } => {
                let name = file.file_name().map_or_else(|| file.to_string_lossy(), |name| name.to_string_lossy());
                format!("{path}, {name}:{line}")
            }
            origin => format!("{path}, {origin}"),
        }
    }

    /// `failure` as an error of the setting that names the file which its detail begins with; `None` where none does, or where
    /// more is known about it than the file.
    pub fn placed(&self, failure: &Failure, env: &[(String, String)]) -> Option<ConfigError> {
        let file = self.file.as_deref();
        // A pipe gives nothing a second time.
        if failure.exact_remedy().is_some() || file.is_some_and(|file| !file.is_file()) {
            return None;
        }
        let is_it = |path: &Path| path.to_str().is_some_and(|path| failure.detail.starts_with(&format!("{path}: ")));
        let mut files = Config::files(file, env).into_iter().filter(|(key, path)| !key.is_empty() && is_it(path));
        // Of two settings that name the same file, either may be the one that is wrong.
        let (Some((key, _)), None) = (files.next(), files.next()) else { return None };
        let path = self.origins.0.keys().find(|path| path.to_string() == key)?;
        Some(ConfigError::new(key, &failure.detail).because(failure.reason).at(self.origins.nearest(path)))
    }
}

/// The file with the environment laid over it.
fn laid(
    file: Option<&Path>,
    env: &[(String, String)],
    errors: &mut Vec<ConfigError>,
    warnings: &mut Vec<String>,
) -> Result<Node, ConfigErrors> {
    let mut root = file.map_or_else(|| Ok(Node::empty()), |file| read(file, env))?;
    wandb::overlay(&mut root, env, errors, warnings);
    wandb_ldap::overlay(&mut root, env, errors, warnings);
    environment::overlay(&mut root, env, errors);
    Ok(root)
}

/// In the order in which a person goes through the file; what has no place there comes first.
fn in_order(mut errors: Vec<ConfigError>, warnings: Vec<String>) -> ConfigErrors {
    errors.sort_by_key(|error| (error.line, error.column));
    ConfigErrors(errors, warnings)
}

fn nothing_found() -> ConfigError {
    let hint = "name the file with `--config FILE` or DOORWARD_CONFIG, write one as docs/getting-started.md shows, or set \
                DOORWARD_PUBLIC_URL and the rest in the environment";
    let message = format!("there is no {DEFAULT_FILE} in this directory, and none is named");
    ConfigError::new("", message).because(Reason::ConfigUnreadable).hint(hint)
}

/// Largest configuration: some ten thousand routes.
const LARGEST: u64 = 8 * 1024 * 1024;

fn read(file: &Path, env: &[(String, String)]) -> Result<Node, ConfigErrors> {
    let text = files::read_text_or_pipe(file, LARGEST).map_err(|error| unreadable(file, &error, env))?;
    let mut root = Node::parse(&text, file).map_err(|errors| ConfigErrors(errors, Vec::new()))?;
    if let Some(directory) = file.parent() {
        secret_files::resolve_paths(&mut root, directory);
    }
    Ok(root)
}

/// The file cannot be read: what to do is said by the cause, and by who named it.
fn unreadable(file: &Path, error: &std::io::Error, env: &[(String, String)]) -> ConfigError {
    let by_variable = env.iter().any(|(name, value)| name == environment::CONFIG_FILE && Path::new(value) == file);
    let (message, hint) = match error.kind() {
        ErrorKind::NotFound if by_variable => {
            ("there is no such file".to_owned(), "put it there, or correct DOORWARD_CONFIG, which names it")
        }
        ErrorKind::NotFound => {
            ("there is no such file".to_owned(), "put it there, or start with `--config` and the name of one that is")
        }
        ErrorKind::InvalidData => ("is not UTF-8, which TOML is written in".to_owned(), "save it as UTF-8"),
        kind => {
            let hint = match kind {
                ErrorKind::PermissionDenied => {
                    "let the gateway's user read it (`chmod`, `chown`) and enter the directories that it is in"
                }
                ErrorKind::IsADirectory => "name the file in it",
                ErrorKind::InvalidInput => "name a regular file of 8 MB at most",
                _ => "see that the gateway's user can read it, with `cat` for one",
            };
            (format!("cannot be read ({error})"), hint)
        }
    };
    let shown = ConfigError::new("", message).because(Reason::ConfigUnreadable).hint(hint);
    ConfigError { file: Some(file.to_owned()), ..shown }
}

/// What goes without saying.
fn complete(settings: &mut Settings) {
    for provider in &mut settings.provider {
        // Without this scope no provider sends an ID token (OpenID Connect Core §3.1.2.1).
        if !provider.scopes.iter().any(|scope| scope == "openid") {
            provider.scopes.insert(0, "openid".into());
        }
    }
    for route in &mut settings.route {
        if let Some(host) = &mut route.host {
            host.make_ascii_lowercase();
        }
    }
    // One app and nothing said about it: everything is for people who are signed in.
    if settings.route.is_empty() && settings.upstream.len() == 1 {
        settings.route.push(model::Route::default());
    }
}

#[cfg(test)]
mod tests;
