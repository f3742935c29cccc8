//! Settings of a provider are tried out before somebody writes them down: judged with the rest of the configuration in
//! force, then examined by the doctor. Nothing is stored.

use std::sync::Arc;
use std::time::Duration;

use askama::Template;
use http::{Response, StatusCode};

use super::doctor::ShownReport;
use super::shell::Shell;
use super::{Scene, answer, secrets};
use crate::config::trial::{Trial, block, with_provider};
use crate::config::values::MASK;
use crate::config::{Config, ConfigError, ConfigErrors};
use crate::doctor::{Report, examine_provider};
use crate::reason::{Failure, Reason};

/// Longest wait for the provider, below what a proxy in front waits.
const LONGEST: Duration = Duration::from_secs(45);
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
    paste: String,
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
        Ok(trial) => examined(trial).await,
        Err(ConfigErrors(errors, warnings)) => {
            let errors = errors.iter().cloned().map(wrong).collect();
            Tried { errors, warnings: warnings.clone(), report: None, paste: String::new() }
        }
    };
    let found_wrong = !tried.errors.is_empty();
    let page = TryPage {
        shell: scene.shell("try"),
        providers,
        chosen: chosen.unwrap_or_default().to_owned(),
        block: masked(&text),
        tried: Some(tried),
    };
    let status = if found_wrong { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    let html = page.shell.answer(status, &page);
    // A provider may quote the secret that was typed.
    Ok(match &trial {
        Ok(trial) => answer::with_body(html, |body| secrets::without(body, &trial.config.settings)),
        Err(_) => html,
    })
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
        paste: block(&trial.config, &trial.provider).unwrap_or_default(),
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

/// The text as it is shown again: what was typed as a secret is not.
fn masked(text: &str) -> String {
    let is_secret = |line: &str| {
        let key = line.split('=').next().unwrap_or_default().trim().trim_matches(['"', '\'']);
        line.contains('=') && key.rsplit('.').next() == Some("client_secret")
    };
    let mut lines = Vec::new();
    let mut inside: Option<&str> = None;
    for line in text.lines() {
        // A text of several lines goes on to its end.
        if let Some(end) = inside {
            inside = Some(end).filter(|end| !line.contains(end));
            continue;
        }
        if !is_secret(line) {
            lines.push(line.to_owned());
            continue;
        }
        let value = line.split_once('=').map_or("", |(_, value)| value.trim());
        inside = ["\"\"\"", "'''"].into_iter().find(|mark| value.starts_with(mark) && value.matches(mark).count() == 1);
        lines.push(if matches!(value, "\"\"" | "''") {
            line.to_owned()
        } else {
            format!("client_secret = \"{MASK}\"")
        });
    }
    lines.join("\n") + "\n"
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
        ] {
            let shown = masked(&format!("[[provider]]\n{typed}\nclient_id = \"app\"\n"));
            assert!(!shown.contains("hunter2") && shown.contains(MASK), "{typed}: {shown}");
            assert!(shown.contains("client_id"), "{typed}: {shown}");
        }
        assert_eq!(masked(NEW), NEW);
    }
}
