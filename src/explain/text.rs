//! An explanation as people read it.

use std::fmt::{self, Write};

use crate::examined::{Check, Fate, Field, Found, Step};
use crate::gateway::explain::{Explanation, Outcome, Verdict};

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.steps.iter().try_for_each(|step| write_step(f, step))?;
        if let Some(token) = &self.token {
            writeln!(f, "\nWhat the token says\n{token:#}")?;
        }
        f.write_char('\n')?;
        write_verdict(f, &self.verdict)
    }
}

fn write_step(f: &mut fmt::Formatter<'_>, step: &Step) -> fmt::Result {
    writeln!(f, "{} {}", step.number, step.name)?;
    for said in &step.said {
        writeln!(f, "    {said}")?;
    }
    let of_routes = step.number == 2;
    step.checks.iter().try_for_each(|check| write_check(f, check, of_routes))?;
    step.headers.iter().try_for_each(|field| write_field(f, field))
}

fn write_check(f: &mut fmt::Formatter<'_>, check: &Check, of_routes: bool) -> fmt::Result {
    let mark = match check.found {
        Found::Holds if of_routes => "governs     ",
        Found::PassedOver if of_routes => "not this one",
        Found::Holds => "yes",
        Found::PassedOver => "no ",
        Found::Fails => "NO ",
        Found::NotExamined => "–  ",
    };
    write!(f, "    {mark} {}", check.what)?;
    let parts = [("expected", &check.expected), ("got", &check.got)];
    let parts: Vec<String> =
        parts.iter().filter(|(_, text)| !text.is_empty()).map(|(word, text)| format!("{word} {text}")).collect();
    if !parts.is_empty() {
        write!(f, ": {}", parts.join("; "))?;
    }
    match check.source.is_empty() {
        true => writeln!(f)?,
        false => writeln!(f, " ({})", check.source)?,
    }
    match (check.code, check.detail.is_empty()) {
        (Some(code), true) => writeln!(f, "        {code}"),
        (Some(code), false) => writeln!(f, "        {code}: {}", check.detail),
        (None, false) => writeln!(f, "        {}", check.detail),
        (None, true) => Ok(()),
    }
}

fn write_field(f: &mut fmt::Formatter<'_>, field: &Field) -> fmt::Result {
    match field.fate {
        Fate::Written => writeln!(f, "    + {}: {}", field.name, field.value),
        Fate::Passed => writeln!(f, "    = {}: {}", field.name, field.value),
        Fate::Dropped => writeln!(f, "    - {}", field.name),
    }
}

fn write_verdict(f: &mut fmt::Formatter<'_>, verdict: &Verdict) -> fmt::Result {
    let word = match verdict.outcome {
        Outcome::Passed => "passed: the app gets it",
        Outcome::Answered => "answered by the gateway",
        Outcome::Refused => "refused",
        Outcome::Undecided => "undecided",
    };
    write!(f, "9 verdict: {word}")?;
    if let Some(status) = verdict.status {
        write!(f, ", {status}")?;
    }
    if let Some(code) = verdict.code {
        write!(f, ", {code} {}", verdict.title)?;
    }
    writeln!(f)?;
    for (label, text) in
        [("", verdict.detail.as_str()), ("why: ", verdict.cause), ("what to do: ", verdict.remedy.as_str())]
    {
        if !text.is_empty() {
            writeln!(f, "    {label}{text}")?;
        }
    }
    verdict.headers.iter().try_for_each(|(name, value)| writeln!(f, "    {name}: {value}"))
}
