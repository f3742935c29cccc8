//! Settings of a provider are tried out before somebody writes them down: judged with the rest of the configuration in
//! force, then examined by the doctor. Nothing is stored.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use askama::Template;
use http::{Response, StatusCode};

use super::doctor::ShownReport;
use super::shell::Shell;
use super::{Scene, answer, secrets};
use crate::config::trial::{ToKeep, Trial, block, to_keep, with_provider};
use crate::config::values::{FORGOTTEN, MASK, Secret};
use crate::config::{Config, ConfigError, ConfigErrors};
use crate::doctor::{ONE_PROVIDER, Report, examine_provider};
use crate::reason::{Failure, Reason};

/// Longest wait for the provider, below what a proxy in front waits.
const LONGEST: Duration = Duration::from_secs(45);
// What the doctor found in its time is shown.
const _: () = assert!(ONE_PROVIDER.as_secs() < LONGEST.as_secs());
/// What a new provider begins with.
const NEW: &str = "[[provider]]\nname = \"\"\nissuer = \"https://\"\nclient_id = \"\"\nclient_secret = \"\"\n";

#[derive(Template)]
#[template(path = "try.html", config = "src/admin/askama.toml")]
struct TryPage {
    shell: Shell,
    /// Names of the providers in force, and which one is tried out; none for a new one.
    providers: Vec<String>,
    chosen: String,
    block: String,
    tried: Option<Tried>,
}

/// What came of it.
struct Tried {
    errors: Vec<Wrong>,
    warnings: Vec<String>,
    report: Option<ShownReport>,
    /// To be written down; without secrets.
    keep: ToKeep,
}

struct Wrong {
    line: Option<usize>,
    key: String,
    message: String,
    hint: String,
    code: &'static str,
}

pub(super) async fn page(scene: &Scene<'_>) -> Result<Response<Vec<u8>>, Failure> {
    let config = &scene.in_force.config;
    let providers: Vec<_> = config.settings.provider.iter().map(|provider| provider.name.clone()).collect();
    if scene.asked.is_post() {
        return tried(scene, providers).await;
    }
    let first = providers.first().cloned().unwrap_or_default();
    let chosen = match scene.asked.query("provider") {
        Some(name) => providers.iter().find(|known| *known == name).cloned().unwrap_or_default(),
        None if scene.asked.query("new").is_some() => String::new(),
        None => first,
    };
    let block = block(config, &chosen).unwrap_or_else(|| NEW.to_owned());
    let page = TryPage { shell: scene.shell("try"), providers, chosen, block, tried: None };
    Ok(page.shell.page(&page))
}

async fn tried(scene: &Scene<'_>, providers: Vec<String>) -> Result<Response<Vec<u8>>, Failure> {
    let busy = || Failure::new(Reason::ConsoleBusy, "other settings are being tried out");
    let _turn = scene.admin.trying.try_lock().map_err(|_| busy())?;
    let (chosen, text) = (scene.asked.form("provider"), scene.asked.form("block").unwrap_or_default());
    let text = text.replace("\r\n", "\n");
    let trial = judged(&scene.in_force.config, chosen, &text).await?;
    let tried = match &trial {
        Ok(trial) => Tried { keep: to_keep(&scene.in_force.config, chosen, trial), ..examined(trial).await },
        Err(ConfigErrors(errors, warnings)) => {
            let errors = errors.iter().cloned().map(wrong).collect();
            Tried { errors, warnings: warnings.clone(), report: None, keep: ToKeep::default() }
        }
    };
    let found_wrong = !tried.errors.is_empty();
    let page = TryPage {
        shell: scene.shell("try"),
        providers,
        chosen: chosen.unwrap_or_default().to_owned(),
        block: masked(&text).unwrap_or_default(),
        tried: Some(tried),
    };
    let status = if found_wrong { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    let html = page.shell.answer(status, &page);
    // A provider may quote the secret that was typed, and so may what is said of a block that cannot be read.
    let typed = typed_secrets(&text);
    let tried = trial.iter().flat_map(|trial| trial.config.settings.known_secrets());
    Ok(answer::with_body(html, |body| secrets::without(body, tried.chain(&typed))))
}

/// Judging reads files, which may take their time: aside, and no longer than the provider may take.
async fn judged(
    config: &Arc<Config>,
    chosen: Option<&str>,
    text: &str,
) -> Result<Result<Trial, ConfigErrors>, Failure> {
    let (config, chosen, text) = (Arc::clone(config), chosen.map(str::to_owned), text.to_owned());
    let judging = tokio::task::spawn_blocking(move || with_provider(&config, chosen.as_deref(), &text));
    match tokio::time::timeout(LONGEST, judging).await {
        Ok(Ok(trial)) => Ok(trial),
        Ok(Err(_)) => Err(Failure::new(Reason::Internal, "judging the block ended before its end")),
        Err(_) => Err(Failure::new(Reason::ConsoleBusy, format!("judging the block took longer than {LONGEST:?}"))),
    }
}

async fn examined(trial: &Trial) -> Tried {
    let settings = &trial.config.settings;
    let examining = examine_provider(settings, &trial.provider);
    let report = match tokio::time::timeout(LONGEST, examining).await {
        Ok(report) => report,
        Err(_) => {
            let mut report = Report::default();
            report.skipped(format!("provider {}", trial.provider), "", format!("it took longer than {LONGEST:?}"));
            report
        }
    };
    Tried {
        errors: Vec::new(),
        warnings: trial.config.warnings.clone(),
        report: Some(ShownReport::of(&report)),
        keep: ToKeep::default(),
    }
}

fn wrong(error: ConfigError) -> Wrong {
    Wrong {
        line: error.line.filter(|_| error.file.as_ref().is_some_and(|file| file.as_os_str() == "the block")),
        key: error.key,
        message: error.message,
        hint: error.hint.unwrap_or_default(),
        code: error.reason.code(),
    }
}

/// The text as it is shown again: what was typed as a secret is not, and what stands in its place says so. A mask that was
/// left as it was goes on meaning the secret in force.
fn masked(text: &str) -> Option<String> {
    let mut shown = String::with_capacity(text.len());
    let mut from = 0;
    for value in secret_values(text) {
        shown.push_str(&text[from..value.start]);
        shown.push_str(&format!("{FORGOTTEN:?}"));
        from = value.end;
    }
    shown.push_str(&text[from..]);
    // A key may be written with escapes, which only reading undoes.
    let whole = match toml::from_str::<toml::Table>(text) {
        Ok(table) => {
            let (mut typed, mut left) = (Vec::new(), Vec::new());
            read_secrets(&toml::Value::Table(table), false, &mut typed);
            let again = toml::from_str::<toml::Table>(&shown).ok()?;
            read_secrets(&toml::Value::Table(again), false, &mut left);
            left.iter().all(|left| matches!(left.expose(), "" | FORGOTTEN) || !typed.contains(left))
        }
        Err(_) => shown.lines().all(is_plain),
    };
    whole.then_some(shown)
}

/// Whether a line of a text that is no TOML certainly holds no secret: what cannot be read may be YAML, JSON, or broken over
/// lines.
fn is_plain(line: &str) -> bool {
    let lower = line.to_ascii_lowercase();
    if !["secret", "password", "\\u", "\\x"].iter().any(|sign| lower.contains(sign)) {
        return true;
    }
    let Some((key, value)) = line.split_once('=') else { return false };
    let value = value.trim();
    key.trim().ends_with("_file") || value == format!("{MASK:?}") || value == format!("{FORGOTTEN:?}")
}

/// What was typed as a secret: as it stands there, and as TOML reads it.
fn typed_secrets(text: &str) -> Vec<Secret> {
    let bare = |value: Range<usize>| Secret::new(text[value].trim_matches(['"', '\'']).trim());
    let mut typed: Vec<Secret> = secret_values(text).into_iter().map(bare).collect();
    if let Ok(table) = toml::from_str::<toml::Table>(text) {
        read_secrets(&toml::Value::Table(table), false, &mut typed);
    }
    typed
}

fn read_secrets(value: &toml::Value, secret: bool, typed: &mut Vec<Secret>) {
    match value {
        toml::Value::String(text) if secret && !matches!(text.as_str(), MASK | FORGOTTEN) => {
            typed.push(Secret::new(text.as_str()))
        }
        toml::Value::Array(list) => list.iter().for_each(|value| read_secrets(value, secret, typed)),
        toml::Value::Table(table) => {
            table.iter().for_each(|(key, value)| read_secrets(value, secret || names_secret(key), typed));
        }
        _ => {}
    }
}

fn names_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    (key.contains("secret") || key.contains("password")) && !key.ends_with("_file")
}

/// Where the values of secrets stand in `text`, which need not be TOML; empty ones and masks left out.
fn secret_values(text: &str) -> Vec<Range<usize>> {
    let (mut found, mut from) = (Vec::new(), 0);
    while let Some(equals) = text[from..].find('=').map(|at| from + at) {
        from = equals + 1;
        let key = text[..equals].trim_end().trim_end_matches(['"', '\'']);
        let key = key.rsplit(|c: char| !c.is_alphanumeric() && !matches!(c, '_' | '-')).next().unwrap_or_default();
        if !names_secret(key) {
            continue;
        }
        let rest = &text[from..];
        let start = from + (rest.len() - rest.trim_start_matches([' ', '\t']).len());
        from = start + length_of_value(&text[start..]);
        let value = &text[start..from];
        if !matches!(value.trim_matches(['"', '\'']), "" | MASK | FORGOTTEN) {
            found.push(start..from);
        }
    }
    found
}

/// Bytes of the value that `text` begins with. Where its end is not plain, the whole line is it.
fn length_of_value(text: &str) -> usize {
    let line = text.find('\n').unwrap_or(text.len());
    let end = match ["\"\"\"", "'''"].into_iter().find(|mark| text.starts_with(mark)) {
        Some(mark) => text[3..].find(mark).map_or(text.len(), |at| at + 6),
        None if text.starts_with('[') => text.find(']').map_or(text.len(), |at| at + 1),
        None => match text[..line].chars().next().filter(|c| matches!(c, '"' | '\'')) {
            Some(quote) => end_of_string(&text[..line], quote),
            None => return line,
        },
    };
    let behind = &text[end..];
    let plain = behind.trim_start_matches([' ', '\t']).chars().next().is_none_or(|c| ",}#]\r\n".contains(c));
    if plain { end } else { end + behind.find('\n').unwrap_or(behind.len()) }
}

fn end_of_string(line: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in line.char_indices().skip(1) {
        if c == quote && !escaped {
            return at + 1;
        }
        escaped = quote == '"' && c == '\\' && !escaped;
    }
    line.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_typed_as_a_secret_is_not_shown_again() {
        for typed in [
            "client_secret = \"hunter2\"",
            "  client_secret='hunter2'  # here",
            "\"client_secret\" = \"hunter2\"",
            "client_secret = \"\"\"\nhunter2\"\"\"",
            "provider.client_secret = \"hunter2\"",
            "client_secret = \"hunter2",
            "client_secret = hunter2",
            "client_secret = \"hunter2\"\nscopes = [\"openid\"",
            "client_secret = \"a\\\"hunter2\"",
            "client_secret = \"a\"hunter2",
            "extra = [{ client_secret = \"hunter2\", name = \"x\" }]",
            "extra = { client_secret = 'hunter2', name = 'x' }",
            "secrets = [\"hunter2\",\n\"hunter2-too\"]",
        ] {
            let shown = masked(&format!("[[provider]]\n{typed}\nclient_id = \"app\"\n")).expect("shown");
            assert!(!shown.contains("hunter2") && shown.contains(FORGOTTEN), "{typed}: {shown}");
            assert!(shown.contains("client_id"), "{typed}: {shown}");
        }
        assert_eq!(masked(NEW).as_deref(), Some(NEW));
        // A mask that nobody touched is the secret in force; what follows it was written by somebody.
        for kept in ["client_secret = \"********\"\n", "client_secret = '********'  # environment DOORWARD_X\n"] {
            assert_eq!(masked(kept).as_deref(), Some(kept));
        }
        assert!(!masked("client_secret = \"********\"hunter2").is_some_and(|shown| shown.contains("hunter2")));
        // What cannot be cut out for certain is not shown at all.
        for typed in [
            "\"client_\\u0073ecret\" = \"hunt\\u0065r2\"",
            "\"client_\\u0073ecret\" = \"hunter2",
            "client_secret: \"hunter2\"",
            "client_secret =\n\"hunter2\"",
            "{\"client_secret\": \"hunter2\"}",
            "# client_secret: hunter2\nscopes = [",
        ] {
            assert_eq!(masked(typed), None, "{typed}");
        }
    }

    #[test]
    fn what_was_typed_as_a_secret_is_known_however_its_key_is_spelt() {
        for typed in [
            "\"client_\\u0073ecret\" = \"hunter2\"",
            "a = [{ client_secret = 'hunter2' }]",
            "client_secret = \"hunter2",
        ] {
            assert!(typed_secrets(typed).contains(&Secret::new("hunter2")), "{typed}");
        }
        assert!(typed_secrets(NEW).iter().all(|secret| secret.expose().is_empty()));
    }
}
