//! `doorward service-account`: keys are made, listed and revoked.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Subcommand;

use super::{EXIT_CONFIG, EXIT_USAGE, FileFlag, fail, load, print};
use crate::config::values::{Period, Secret};
use crate::config::{Config, nearest};
use crate::service_accounts::file::{self, KeyEntry, KeysFile};
use crate::service_accounts::{Moment, ServiceAccounts, key};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make a key for an account of the configuration, and print it; it is shown this once
    NewKey {
        /// Name of the `[[service_account]]`
        name: String,
        /// How long the key is good, as in 90d; for ever unless set
        #[arg(long, value_name = "PERIOD")]
        expires: Option<Period>,
        /// What it is for or where it is kept, for `list`
        #[arg(long, value_name = "TEXT", default_value = "")]
        note: String,
        #[command(flatten)]
        file: FileFlag,
    },
    /// List the accounts and their keys
    List(FileFlag),
    /// Revoke a key; a running gateway refuses it within two seconds
    RevokeKey {
        /// The key's id, as `list` shows it, or the key itself
        id: String,
        #[command(flatten)]
        file: FileFlag,
    },
}

pub(super) fn main(command: Command) -> ExitCode {
    match command {
        Command::NewKey { name, expires, note, file } => new_key(&name, expires, &note, file.config.as_deref()),
        Command::List(file) => list(file.config.as_deref()),
        Command::RevokeKey { id, file } => revoke_key(&id, file.config.as_deref()),
    }
}

fn new_key(name: &str, expires: Option<Period>, note: &str, file: Option<&Path>) -> ExitCode {
    let Some((config, path)) = place(file) else { return ExitCode::from(EXIT_CONFIG) };
    let accounts = || config.settings.service_account.iter().map(|account| account.name.as_str());
    if !accounts().any(|account| account == name) {
        return fail(EXIT_USAGE, &no_account(name, accounts()));
    }
    if note.chars().any(char::is_control) {
        return fail(EXIT_USAGE, "--note holds a line break or another control character; write it in one line");
    }
    if expires.is_some_and(|period| period.0.as_secs() == 0) {
        return fail(EXIT_USAGE, "--expires is no time at all; write as in 90d");
    }
    let Ok(key) = key::make() else { return fail(1, "the system's random source failed; no key was made") };
    let digest = key::digest(key.expose().as_bytes());
    let now = Moment::now();
    let entry = KeyEntry {
        id: key::id_of(&digest),
        account: name.to_owned(),
        digest,
        created: now,
        expires: expires.map(|period| Moment(now.0 + period.0.as_secs())),
        note: note.to_owned(),
    };
    let added = KeysFile::change(&path, |file| {
        file.keys.push(entry.clone());
        Ok(())
    });
    match added {
        Ok(()) => show(&key, &entry, &path),
        Err(failure) => fail(1, &format!("{failure}; no key was made")),
    }
}

/// The key alone goes to standard output, so that it can be piped to where it shall be kept.
fn show(key: &Secret, entry: &KeyEntry, path: &Path) -> ExitCode {
    use std::io::Write;
    let (id, account) = (&entry.id, &entry.account);
    let mut out = std::io::stdout().lock();
    if let Err(error) = writeln!(out, "{}", key.expose()).and_then(|()| out.flush()) {
        let remedy = format!("take it back with `doorward service-account revoke-key {id}`");
        return fail(1, &format!("the key {id} was made and could not be shown ({error}); {remedy}"));
    }
    let until = entry.expires.map_or("without an end".to_owned(), |end| format!("until {end}"));
    eprintln!("Key {id} of {account}, good {until}. It is shown this once; its digest is in {}.", path.display());
    eprintln!("A running gateway takes it within two seconds.");
    eprintln!("Send it as `Authorization: Bearer KEY`, or with Basic as the password beside any user name.");
    eprintln!("W&B's SDK takes it as WANDB_API_KEY.");
    ExitCode::SUCCESS
}

fn no_account<'a>(name: &str, accounts: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<&str> = accounts.collect();
    let hint = match nearest(name, names.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if names.is_empty() => "the configuration has none; add [[service_account]] with that `name`".to_owned(),
        None => format!("there are {}", names.iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ")),
    };
    format!("there is no service account `{}`; {hint}", name.escape_debug())
}

fn list(file: Option<&Path>) -> ExitCode {
    let Some((config, path)) = place(file) else { return ExitCode::from(EXIT_CONFIG) };
    match KeysFile::read(&path) {
        Ok(keys) => print(&listed(&config, &keys, Moment::now())),
        Err(failure) => fail(EXIT_CONFIG, &failure.to_string()),
    }
}

/// One line for each key, and one for each account without any.
fn listed(config: &Config, file: &KeysFile, now: Moment) -> String {
    let mut rows = vec![["account", "key", "created", "expires", "note", "external"].map(String::from)];
    let row = |account: &str, entry: &KeyEntry, external: &str| {
        let expires = match entry.expires {
            Some(end) if end <= now => format!("{end} (has)"),
            Some(end) => end.to_string(),
            None => "never".into(),
        };
        let note = entry.note.escape_debug().to_string();
        [account.to_owned(), entry.id.clone(), entry.created.to_string(), expires, note, external.to_owned()]
    };
    for account in &config.settings.service_account {
        let external = match (&account.external_issuer, &account.external_subject) {
            (Some(issuer), Some(subject)) => format!("{issuer}: {}", subject.escape_debug()),
            _ => String::new(),
        };
        let before = rows.len();
        let own = file.keys.iter().filter(|key| key.account == account.name);
        rows.extend(own.map(|entry| row(&account.name, entry, &external)));
        if rows.len() == before {
            rows.push([account.name.clone(), "–".into(), String::new(), String::new(), String::new(), external]);
        }
    }
    let known = |key: &&KeyEntry| config.settings.service_account.iter().any(|account| account.name == key.account);
    for entry in file.keys.iter().filter(|key| !known(key)) {
        rows.push(row(&format!("{} (not configured)", entry.account.escape_debug()), entry, ""));
    }
    aligned(&rows)
}

fn aligned(rows: &[[String; 6]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; 6] = std::array::from_fn(width);
    let mut text = String::new();
    for row in rows {
        let cells: Vec<String> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

fn revoke_key(id: &str, file: Option<&Path>) -> ExitCode {
    let Some((_, path)) = place(file) else { return ExitCode::from(EXIT_CONFIG) };
    let digest = ServiceAccounts::looks_like_key(id.as_bytes()).then(|| key::digest(id.as_bytes()));
    let meant = |key: &KeyEntry| digest.map_or(key.id == id, |digest| key.digest == digest);
    let revoked = KeysFile::change(&path, |file| {
        let key = file.keys.iter().position(meant).map(|at| file.keys.remove(at));
        Ok(key.ok_or_else(|| file.keys.iter().map(|key| key.id.clone()).collect::<Vec<_>>()))
    });
    match revoked {
        Ok(Ok(key)) => {
            eprintln!("Key {} of {} is revoked. A running gateway refuses it within two seconds.", key.id, key.account);
            ExitCode::SUCCESS
        }
        Ok(Err(ids)) => fail(EXIT_USAGE, &no_key(id, digest.is_some(), &ids)),
        Err(failure) => fail(1, &format!("{failure}; nothing was revoked")),
    }
}

fn no_key(id: &str, whole: bool, ids: &[String]) -> String {
    let remedy = "`doorward service-account list` shows those there are";
    if whole {
        return format!("that key is not in the keys file: it was revoked, or is another deployment's; {remedy}");
    }
    match nearest(id, ids.iter().map(String::as_str)) {
        Some(near) => format!("there is no key `{}`; did you mean `{near}`?", id.escape_debug()),
        None => format!("there is no key `{}`; {remedy}", id.escape_debug()),
    }
}

/// The configuration and where its keys file is.
fn place(file: Option<&Path>) -> Option<(Config, PathBuf)> {
    let config = load(file)?;
    let path = file::place(&config.settings, config.file.as_deref());
    Some((config, path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_was_mistyped_is_guessed() {
        let names = || ["ci-runner", "nightly"].into_iter();
        assert!(no_account("ci-runer", names()).ends_with("did you mean `ci-runner`?"));
        assert!(no_account("x", names()).ends_with("there are `ci-runner`, `nightly`"));
        assert!(no_account("x", std::iter::empty()).contains("add [[service_account]]"));
        assert!(no_key("1a2b3c4e", false, &["1a2b3c4d".into()]).ends_with("did you mean `1a2b3c4d`?"));
    }

    #[test]
    fn columns_line_up_whatever_is_in_them() {
        let row = |cells: [&str; 6]| cells.map(String::from);
        let text = aligned(&[row(["a", "b", "c", "d", "e", "f"]), row(["äöü", "–", "", "", "", ""])]);
        assert_eq!(text, "a    b  c  d  e  f\näöü  –\n");
    }
}
