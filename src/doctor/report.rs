//! What an examination found, for people and as JSON.

use std::fmt::Write;
use std::process::ExitCode;

use serde::Serialize;
use serde_json::{Value, json};

use crate::reason::{Failure, Reason};
use crate::words::{counted, harmless};

/// How much a finding weighs. The heavier is the greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Weight {
    /// Works, and could be better.
    Hint,
    /// Works for some, or not for long.
    Warning,
    /// Does not work, or is not safe.
    Broken,
}

impl Weight {
    pub fn as_str(self) -> &'static str {
        match self {
            Weight::Hint => "hint",
            Weight::Warning => "warning",
            Weight::Broken => "broken",
        }
    }
}

/// One thing to change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub weight: Weight,
    /// The same as on the page, in the log and on the console, where a request would fail of it.
    pub reason: Reason,
    /// Instead of the reason's, which speaks to whoever signs in: to whoever reads a report.
    pub own_title: Option<&'static str>,
    /// What was examined: `configuration`, `provider main`, `upstream app`.
    pub place: String,
    /// The step that failed, where there are several: `DNS`, `TLS`, `issuer`.
    pub step: &'static str,
    /// Expected and got, in one sentence.
    pub seen: String,
    /// What to change, in one sentence; the reason's own remedy where nothing better is known.
    pub change: String,
}

impl Finding {
    /// With the remedy of `reason`.
    pub fn new(weight: Weight, reason: Reason, place: impl Into<String>, seen: impl Into<String>) -> Finding {
        let change = reason.info().remedy.to_owned();
        Finding { weight, reason, own_title: None, place: place.into(), step: "", seen: seen.into(), change }
    }

    /// With the remedy of this occasion, where there is one.
    pub fn of(weight: Weight, failure: &Failure, place: impl Into<String>) -> Finding {
        Finding::new(weight, failure.reason, place, failure.detail.clone()).change(failure.remedy())
    }

    #[must_use]
    pub fn at(self, step: &'static str) -> Finding {
        Finding { step, ..self }
    }

    #[must_use]
    pub fn titled(self, title: &'static str) -> Finding {
        Finding { own_title: Some(title), ..self }
    }

    pub fn title(&self) -> &'static str {
        self.own_title.unwrap_or(self.reason.info().title)
    }

    #[must_use]
    pub fn change(self, change: impl Into<String>) -> Finding {
        Finding { change: sentence(change.into()), ..self }
    }

    fn as_json(&self) -> Value {
        let info = self.reason.info();
        json!({
            "weight": self.weight, "code": info.code, "title": self.title(), "place": self.place, "step": self.step,
            "seen": self.seen, "change": self.change,
        })
    }
}

/// With a capital at its beginning and a stop at its end: hints are written to stand behind something else.
fn sentence(mut text: String) -> String {
    if let Some(first) = text.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    if !text.ends_with(['.', '?', '!']) {
        text.push('.');
    }
    text
}

/// What was found good, or could not be examined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    pub place: String,
    pub step: &'static str,
    pub said: String,
}

impl Said {
    fn of(place: String, step: &'static str, said: String) -> Said {
        Said { place: in_line(&place), step, said: in_line(&said) }
    }
}

/// What an examination found. Much of it was said by others, and may end on a terminal: nothing in it moves a cursor or
/// begins a line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    pub findings: Vec<Finding>,
    /// Found good.
    pub good: Vec<Said>,
    /// Not examined, and why not.
    pub skipped: Vec<Said>,
}

impl Report {
    pub fn found(&mut self, finding: Finding) {
        let Finding { place, seen, change, .. } = &finding;
        let (place, seen, change) = (in_line(place), in_line(seen), in_line(change));
        self.findings.push(Finding { place, seen, change, ..finding });
    }

    pub fn good(&mut self, place: impl Into<String>, step: &'static str, said: impl Into<String>) {
        self.good.push(Said::of(place.into(), step, said.into()));
    }

    pub fn skipped(&mut self, place: impl Into<String>, step: &'static str, why: impl Into<String>) {
        self.skipped.push(Said::of(place.into(), step, why.into()));
    }

    /// Adds what `other` found.
    pub fn merge(&mut self, other: Report) {
        self.findings.extend(other.findings);
        self.good.extend(other.good);
        self.skipped.extend(other.skipped);
    }

    /// Heaviest first; otherwise in the order in which they were found.
    pub fn sort(&mut self) {
        self.findings.sort_by_key(|finding| std::cmp::Reverse(finding.weight));
    }

    pub fn worst(&self) -> Option<Weight> {
        self.findings.iter().map(|finding| finding.weight).max()
    }

    /// 0 where nothing but hints was found, 3 for warnings, 4 where something is broken.
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self.worst() {
            None | Some(Weight::Hint) => 0,
            Some(Weight::Warning) => 3,
            Some(Weight::Broken) => 4,
        })
    }

    pub fn as_json(&self) -> Value {
        let said = |list: &[Said]| -> Value {
            list.iter().map(|one| json!({ "place": one.place, "step": one.step, "said": one.said })).collect()
        };
        json!({
            "worst": self.worst(),
            "findings": self.findings.iter().map(Finding::as_json).collect::<Vec<_>>(),
            "good": said(&self.good),
            "skipped": said(&self.skipped),
        })
    }

    /// For people at a terminal.
    pub fn as_text(&self) -> String {
        let mut out = String::new();
        for one in &self.findings {
            let step = if one.step.is_empty() { String::new() } else { format!(", {}", one.step) };
            let _ = writeln!(out, "{} {} {}{step}: {}", one.weight.as_str(), one.reason.code(), one.place, one.title());
            if !one.seen.is_empty() {
                let _ = writeln!(out, "    seen:   {}", one.seen);
            }
            let _ = writeln!(out, "    change: {}\n", one.change);
        }
        for one in &self.good {
            let _ = writeln!(out, "good {}", line(one));
        }
        for one in &self.skipped {
            let _ = writeln!(out, "not examined {}", line(one));
        }
        let count = |weight| self.findings.iter().filter(|finding| finding.weight == weight).count();
        let (broken, warnings, hints) = (count(Weight::Broken), count(Weight::Warning), count(Weight::Hint));
        let (warnings, hints) = (counted(warnings, "warning", "warnings"), counted(hints, "hint", "hints"));
        if !(self.good.is_empty() && self.skipped.is_empty()) {
            out.push('\n');
        }
        let _ = writeln!(out, "{broken} broken, {warnings}, {hints}, {} good", self.good.len());
        out
    }
}

/// Texts of several lines are of our own libraries, and one is as good.
fn in_line(text: &str) -> String {
    harmless(&text.replace('\n', " "))
}

fn line(said: &Said) -> String {
    match said.step {
        "" => format!("{}: {}", said.place, said.said),
        step => format!("{}, {step}: {}", said.place, said.said),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_heaviest_comes_first_and_decides_the_exit_code() {
        let mut report = Report::default();
        assert_eq!(format!("{:?}", report.exit_code()), format!("{:?}", ExitCode::from(0)));
        report.found(Finding::new(Weight::Hint, Reason::NoRoute, "routes", "a"));
        report.found(Finding::new(Weight::Broken, Reason::IssuerMixUp, "provider main", "b").at("issuer"));
        report.found(Finding::new(Weight::Warning, Reason::NoRoute, "routes", "c").change("Take it away."));
        report.good("public_url", "DNS", "resolves");
        report.sort();
        let seen: Vec<_> = report.findings.iter().map(|finding| finding.seen.as_str()).collect();
        assert_eq!(seen, ["b", "c", "a"]);
        assert_eq!(format!("{:?}", report.exit_code()), format!("{:?}", ExitCode::from(4)));
        let text = report.as_text();
        assert!(text.starts_with("broken DW-3105 provider main, issuer: "), "{text}");
        assert!(text.contains("change: Take it away.") && text.contains("good public_url, DNS: resolves"), "{text}");
        assert_eq!(report.as_json()["worst"], "broken");
        assert_eq!(report.as_json()["findings"][1]["change"], "Take it away.");
    }

    #[test]
    fn one_blank_line_is_before_the_sum_whatever_stands_above_it() {
        let mut report = Report::default();
        assert_eq!(report.as_text(), "0 broken, 0 warnings, 0 hints, 0 good\n");
        report.found(Finding::new(Weight::Hint, Reason::NoRoute, "routes", "a"));
        for _ in 0..2 {
            let text = report.as_text();
            let before = text.rsplit_once("0 broken").map(|(before, _)| before).unwrap_or_default();
            assert!(before.ends_with("\n\n") && !before.ends_with("\n\n\n"), "{text:?}");
            report.good("routes", "", "well");
        }
    }

    #[test]
    fn what_others_said_does_nothing_to_a_terminal() {
        let mut report = Report::default();
        let hostile = "\u{1b}[2J\u{9b}31m\rgood\nbroken\u{202e}";
        report.found(Finding::new(Weight::Hint, Reason::NoRoute, hostile, hostile).change(hostile));
        report.good(hostile, "", hostile);
        report.skipped(hostile, "", hostile);
        let text = report.as_text();
        assert!(text.lines().all(|line| !line.starts_with("broken")), "{text}");
        assert!(!text.contains(|c: char| c != '\n' && c.is_control() || c == '\u{202e}'), "{text:?}");
        assert!(text.matches("\\u{1b}[2J").count() == 7, "{text}");
    }
}
