//! The first page: the state at a glance, and the last hour in figures.

use std::time::SystemTime;

use askama::Template;
use http::Response;
use serde_json::Value;

use super::doctor::ShownReport;
use super::plot::{self, Plot};
use super::refusals::{Row, rows};
use super::shell::Shell;
use super::words::{ago, count, counted, span, stamp};
use super::{Scene, samples::Hour};
use crate::reload::{Asked, LastReload, Problem};
use crate::telemetry::{metrics, refusals};

/// Reasons that are shown on the first page.
const REASONS: usize = 6;
/// Findings of the doctor's that are.
const FINDINGS: usize = 4;

#[derive(Template)]
#[template(path = "overview.html", config = "src/admin/askama.toml")]
struct Overview {
    shell: Shell,
    facts: Vec<(&'static str, String)>,
    parts: Vec<Part>,
    plots: Vec<Plot>,
    reasons: Vec<Row>,
    refused: String,
    /// When the doctor last looked, and what was found.
    examined: Option<(String, ShownReport)>,
    /// Whether that was when the settings were loaded, without asking anybody.
    asked_nobody: bool,
    reload: Option<Reload>,
}

/// The last reload.
struct Reload {
    class: &'static str,
    said: String,
    /// Why it was not taken: place, what is wrong, what to do.
    problems: Vec<(String, String, String)>,
    /// What else there is to say.
    notes: Vec<String>,
}

/// Something the gateway leans on.
struct Part {
    kind: &'static str,
    name: String,
    /// `good`, `warn`, `bad`, or `hint` where nothing is known.
    class: &'static str,
    state: &'static str,
    note: String,
    page: &'static str,
}

pub(super) fn page(scene: &Scene<'_>) -> Response<Vec<u8>> {
    let hour = scene.hour();
    let groups = refusals().groups();
    let total: u64 = groups.iter().map(|group| group.count).sum();
    let mut reasons = rows(&groups, Some(&hour), scene.now);
    reasons.truncate(REASONS);
    let mut shell = scene.shell("");
    shell.refresh = Some(30);
    let loaded = scene.admin.doctor.loaded();
    let page = Overview {
        facts: facts(scene),
        parts: parts(scene, &hour),
        plots: plot::all(&hour),
        reasons,
        refused: counted(total, "refusal", "refusals"),
        asked_nobody: loaded.is_some(),
        examined: loaded.or_else(|| scene.admin.doctor.last()).map(|last| {
            let mut report = ShownReport::of(&last.report);
            report.findings.truncate(FINDINGS);
            (ago(last.at, scene.now), report)
        }),
        reload: scene.in_force.report.last.as_ref().map(|last| reload(last, scene.now)),
        shell,
    };
    page.shell.page(&page)
}

fn facts(scene: &Scene<'_>) -> Vec<(&'static str, String)> {
    let (in_force, now) = (scene.in_force, scene.now);
    let config = &in_force.config;
    let since = |at: SystemTime| now.duration_since(at).map(span).unwrap_or_default();
    let file = config.file.as_ref().map_or_else(|| "the environment alone".into(), |file| file.display().to_string());
    let mut facts = vec![
        ("Version", env!("CARGO_PKG_VERSION").to_owned()),
        ("Running for", since(scene.admin.started)),
        ("Configuration", file),
        ("In force since", format!("{} ({})", stamp(in_force.report.loaded_at), ago(in_force.report.loaded_at, now))),
        ("Public URL", config.settings.public_url.to_string()),
        ("Connections", count(metrics().connections.get().try_into().unwrap_or_default())),
    ];
    if !config.warnings.is_empty() {
        facts.push(("Warnings", counted(config.warnings.len() as u64, "at the settings", "at the settings")));
    }
    let dropped = metrics().log_lines_dropped.get();
    if dropped > 0 {
        facts.push(("Log lines dropped", count(dropped)));
    }
    facts
}

fn parts(scene: &Scene<'_>, hour: &Hour) -> Vec<Part> {
    let readiness = scene.readiness();
    let of = |list: &str, kind, page| -> Vec<Part> {
        let entries = readiness[list].as_array().cloned().unwrap_or_default();
        entries.iter().map(|entry| of_readiness(entry, kind, page)).collect()
    };
    let mut parts = of("providers", "provider", "providers");
    parts.extend(of("issuers", "issuer", "providers#issuers"));
    parts.extend(of("directories", "directory", "providers#directory"));
    let settings = &scene.in_force.config.settings;
    for (name, addresses) in &scene.in_force.upstreams {
        let url =
            settings.upstream.iter().find(|upstream| upstream.name == *name).map(|upstream| upstream.url.to_string());
        let failed = hour.whole.by_upstream.iter().find(|(of, _)| of == name).map_or(0, |(_, count)| *count);
        let (class, state) = match (addresses, failed) {
            (0, _) => ("bad", "name does not resolve"),
            (_, 0) if hour.whole.passed == 0 => ("hint", "nobody was led there in the last hour"),
            // Of several it is not counted which of them was asked.
            (_, 0) if scene.in_force.upstreams.len() > 1 => ("hint", "no failure in the last hour"),
            (_, 0) => ("good", "no failure in the last hour"),
            _ => ("warn", "failures in the last hour"),
        };
        let mut note = url.unwrap_or_default();
        if failed > 0 {
            note = format!("{note}, {}", counted(failed, "failure", "failures"));
        }
        parts.push(Part { kind: "upstream", name: name.clone(), class, state, note, page: "routes" });
    }
    parts
}

fn of_readiness(entry: &Value, kind: &'static str, page: &'static str) -> Part {
    let text = |key: &str| entry[key].as_str().unwrap_or_default().to_owned();
    let ready = entry["ready"] == true;
    let warning = [text("trouble"), text("warning"), text("introspection")].into_iter().find(|said| !said.is_empty());
    let (class, state, note) = match (ready, warning) {
        (true, None) => ("good", "ready", text("found")),
        (true, Some(said)) => ("warn", "ready, with trouble", said),
        (false, _) => ("bad", "not ready", format!("{} {}: {}", text("reason"), text("title"), text("detail"))),
    };
    Part { kind, name: text("name"), class, state, note, page }
}

fn reload(last: &LastReload, now: SystemTime) -> Reload {
    let taken = last.problems.is_empty();
    let what = if taken { "was taken" } else { "was not taken, and the one before it stays" };
    let mut notes = Vec::new();
    if !last.changed.is_empty() {
        notes.push(format!("Changed: {}", last.changed.join(", ")));
    }
    if !last.waiting.is_empty() {
        notes.push(format!("Waits for a restart: {}", last.waiting.join(", ")));
    }
    notes.extend(last.warnings.iter().cloned());
    Reload {
        class: if taken { "good" } else { "bad" },
        said: format!("A new configuration {what} ({}, asked for by {})", ago(last.at, now), asked_by(last.asked)),
        problems: last.problems.iter().map(problem).collect(),
        notes,
    }
}

fn asked_by(asked: Asked) -> &'static str {
    match asked {
        Asked::Signal => "SIGHUP",
        Asked::Files => "a changed file",
    }
}

fn problem(problem: &Problem) -> (String, String, String) {
    let file = problem.file.as_ref().map(|file| file.display().to_string());
    let place = match (file, problem.line, &problem.variable) {
        (Some(file), Some(line), _) => format!("{file}:{line}"),
        (Some(file), None, _) => file,
        (None, _, Some(variable)) => format!("environment {variable}"),
        (None, ..) => String::new(),
    };
    let key = if problem.key.is_empty() { String::new() } else { format!("{}: ", problem.key) };
    let seen = format!("{key}{} [{}]", problem.detail, problem.reason.code());
    (place, seen, problem.remedy.clone())
}
