//! The last decisions that refused: grouped by reason, and one at a time by its reference.

use std::sync::Arc;
use std::time::SystemTime;

use askama::Template;
use http::{Response, StatusCode};

use super::Scene;
use super::explain::Shown;
use super::plot::{self, Bar};
use super::samples::Hour;
use super::shell::Shell;
use super::words::{ago, count, stamp};
use crate::examined::Found;
use crate::explain::{Verdict, of_reference};
use crate::reason::{Failure, Info};
use crate::telemetry::{Group, Reference, Refused, refusals};

/// One reason in a list of them.
pub(super) struct Row {
    pub code: &'static str,
    pub title: &'static str,
    pub bars: Vec<Bar>,
    pub words: String,
    pub in_hour: String,
    pub count: String,
    pub last: String,
}

#[derive(Template)]
#[template(path = "refusals.html", config = "src/admin/askama.toml")]
struct Refusals {
    shell: Shell,
    reasons: Vec<Row>,
    groups: Vec<Reasoned>,
}

/// One reason with what was refused for it.
struct Reasoned {
    info: &'static Info,
    count: String,
    first: String,
    last: Vec<One>,
}

struct One {
    at: String,
    ago: String,
    /// Method and address; of one that could not be read, what the steps kept of it.
    request: String,
    /// Who it is and who says so, where a credential was refused and its checks say what it holds.
    says_it_is: Option<String>,
    says_issuer: Option<String>,
    refused: Arc<Refused>,
}

#[derive(Template)]
#[template(path = "refusal.html", config = "src/admin/askama.toml")]
struct RefusalPage<'a> {
    shell: Shell,
    reference: &'a str,
    /// Whether it can be one at all.
    readable: bool,
    found: Option<One>,
    /// What became of it, where nothing was refused.
    passed: Option<String>,
    /// Its steps, where they were kept.
    shown: Option<Shown>,
}

/// All of them, or the one that is asked for.
pub(super) fn page(scene: &Scene<'_>, reference: &str) -> Result<Response<Vec<u8>>, Failure> {
    let asked = scene.asked.query("reference").filter(|_| reference.is_empty()).unwrap_or(reference);
    let mut shell = scene.shell("refusals");
    if !asked.is_empty() {
        // As it was read aloud or copied with what stood around it.
        let bare = asked.trim().to_ascii_lowercase();
        let explained = of_reference(&bare);
        let status = if explained.is_some() { StatusCode::OK } else { StatusCode::NOT_FOUND };
        let found = explained.as_ref().map(|explained| one(&explained.request, scene.now));
        let verdict = explained.as_ref().map(|explained| &explained.explanation.verdict);
        let passed = verdict.filter(|verdict| verdict.code.is_none()).map(Verdict::in_words);
        let shown = explained.map(|explained| Shown::of(explained.explanation)).filter(|shown| !shown.steps.is_empty());
        let readable = Reference::is_one(&bare);
        let page = RefusalPage { reference: asked, readable, found, passed, shown, shell };
        return Ok(page.shell.answer(status, &page));
    }
    shell.refresh = None;
    let groups = refusals().groups();
    let page = Refusals {
        reasons: rows(&groups, Some(&scene.hour()), scene.now),
        groups: groups.iter().map(|group| reasoned(group, scene.now)).collect(),
        shell,
    };
    Ok(page.shell.page(&page))
}

/// A row for each reason, with its plot where there is an hour.
pub(super) fn rows(groups: &[Group], hour: Option<&Hour>, now: SystemTime) -> Vec<Row> {
    let row = |group: &Group| {
        let info = group.reason.info();
        let of =
            |sums: &[(String, u64)]| sums.iter().find(|(code, _)| code == info.code).map_or(0, |(_, count)| *count);
        let plot = hour.map(|hour| plot::counts(info.title, "", hour, &[("b", &|minute| of(&minute.by_reason))]));
        let plot = plot.unwrap_or_default();
        Row {
            code: info.code,
            title: info.title,
            bars: plot.bars,
            words: plot.words,
            in_hour: plot.figure,
            count: count(group.count),
            last: group.last.first().map(|last| ago(last.at, now)).unwrap_or_default(),
        }
    };
    groups.iter().map(row).collect()
}

fn reasoned(group: &Group, now: SystemTime) -> Reasoned {
    Reasoned {
        info: group.reason.info(),
        count: count(group.count),
        first: stamp(group.first),
        last: group.last.iter().map(|refused| one(refused, now)).collect(),
    }
}

fn one(refused: &Arc<Refused>, now: SystemTime) -> One {
    let checks = refused.trace.iter().flatten().flat_map(|step| &step.checks);
    let got = |what: &str| {
        let check = checks.clone().find(|check| check.what == what && check.found == Found::Holds);
        check.map(|check| check.got.trim_matches('\'').to_owned())
    };
    One {
        at: stamp(refused.at),
        ago: ago(refused.at, now),
        request: request(refused),
        says_it_is: got("who it is"),
        says_issuer: got("issuer (iss)"),
        refused: Arc::clone(refused),
    }
}

fn request(refused: &Refused) -> String {
    let unread = || {
        let said = refused.trace.as_ref()?.first()?.said.iter().find_map(|said| said.strip_prefix("one reading: "))?;
        Some(format!("{} {said}", refused.method))
    };
    let plain = format!("{} {}{}", refused.method, refused.host, refused.path);
    if refused.path.is_empty() { unread().unwrap_or(plain) } else { plain }
}
