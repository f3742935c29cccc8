//! What was looked at on the way to a decision, as plain data: for `doorward explain`, for the console, and kept with a
//! refusal.
//!
//! Nothing is decided here. The rooms that decide say, check by check, what they expected and got, with the comparing code
//! that decides; no token, key or cookie is in it.

use serde::Serialize;

use crate::reason::Failure;
use crate::words::shorten;

/// What became of one check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Found {
    Holds,
    Fails,
    /// One of several of which one is enough, and another one is it: nothing went wrong.
    PassedOver,
    /// It could not be looked at, or it made no difference.
    NotExamined,
}

/// One check: what it asks for, and what there was.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Check {
    pub what: String,
    /// Where it comes from: a section of an RFC, or a key of the configuration.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub source: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub expected: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub got: String,
    pub found: Found,
    /// Reason code of a check that fails.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<&'static str>,
    /// In a sentence part, where there is more to say.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub detail: String,
}

impl Check {
    /// What was looked for, and where that stands.
    pub fn of(what: impl Into<String>, source: impl Into<String>) -> Check {
        Check {
            what: what.into(),
            source: source.into(),
            expected: String::new(),
            got: String::new(),
            found: Found::NotExamined,
            code: None,
            detail: String::new(),
        }
    }

    pub fn expected(mut self, expected: impl Into<String>) -> Check {
        self.expected = expected.into();
        self
    }

    pub fn got(mut self, got: impl Into<String>) -> Check {
        self.got = got.into();
        self
    }

    /// With the answer of the code that decides.
    pub fn judged(mut self, judged: &Result<(), Failure>) -> Check {
        match judged {
            Ok(()) => self.found = Found::Holds,
            Err(failure) => {
                self.found = Found::Fails;
                self.code = Some(failure.reason.code());
                self.detail.clone_from(&failure.detail);
            }
        }
        self
    }

    pub fn detail(mut self, detail: impl Into<String>) -> Check {
        self.detail = detail.into();
        self
    }

    /// One of several ways in, of which none is needed.
    pub fn met(mut self, met: bool) -> Check {
        self.found = if met { Found::Holds } else { Found::Fails };
        self
    }

    /// One of several ways in, where another one counts.
    pub fn passed_over(mut self) -> Check {
        self.found = Found::PassedOver;
        self
    }

    /// Could not be looked at, and why.
    pub fn not_examined(mut self, why: impl Into<String>) -> Check {
        self.found = Found::NotExamined;
        self.detail = why.into();
        self
    }
}

/// A header on its way to the app.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Field {
    pub name: String,
    /// Empty where the header does not get there.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub value: String,
    pub fate: Fate,
}

/// Whose word a header is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fate {
    /// Written by the gateway.
    Written,
    /// The client's, passed on.
    Passed,
    /// The client's, taken off.
    Dropped,
}

/// One of the steps of a request.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Step {
    /// 1 to 8.
    pub number: u8,
    pub name: &'static str,
    /// In sentence parts.
    pub said: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<Check>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<Field>,
}

impl Step {
    pub fn new(number: u8, name: &'static str) -> Step {
        Step { number, name, said: Vec::new(), checks: Vec::new(), headers: Vec::new() }
    }

    pub fn say(&mut self, said: impl Into<String>) {
        self.said.push(said.into());
    }

    /// The same, in passing.
    pub fn saying(mut self, said: impl Into<String>) -> Step {
        self.say(said);
        self
    }

    /// Bytes of its texts.
    pub fn bytes(&self) -> usize {
        let checks = self
            .checks
            .iter()
            .map(|c| c.what.len() + c.source.len() + c.expected.len() + c.got.len() + c.detail.len() + 150);
        let said = self.said.iter().map(|said| said.len() + 24);
        let headers = self.headers.iter().map(|field| field.name.len() + field.value.len() + 50);
        checks.sum::<usize>() + said.sum::<usize>() + headers.sum::<usize>()
    }

    /// Cuts what is kept for later to some kilobytes: the longest lists lose their ends.
    pub fn bound(steps: &mut [Step]) {
        steps.iter_mut().for_each(Step::bound_one);
        let mut most = MOST;
        while most > 1 && steps.iter().map(Step::bytes).sum::<usize>() > ALL {
            most /= 2;
            for step in &mut *steps {
                step.said.truncate(most);
                step.checks.truncate(most);
                step.headers.truncate(most);
            }
        }
        for step in steps {
            step.said.shrink_to_fit();
            step.checks.shrink_to_fit();
            step.headers.shrink_to_fit();
        }
    }

    fn bound_one(&mut self) {
        self.said.truncate(MOST);
        self.checks.truncate(MOST);
        self.headers.truncate(MOST);
        self.said.iter_mut().for_each(|said| shorten(said, LONGEST));
        for check in &mut self.checks {
            let texts = [&mut check.what, &mut check.source, &mut check.expected, &mut check.got, &mut check.detail];
            texts.into_iter().for_each(|text| shorten(text, LONGEST));
        }
        for field in &mut self.headers {
            [&mut field.name, &mut field.value].into_iter().for_each(|text| shorten(text, LONGEST));
        }
    }
}

/// Entries of one list that are kept.
const MOST: usize = 24;
/// Bytes of all steps of one request that are kept.
const ALL: usize = 8 * 1024;
/// Characters of one text that are kept.
const LONGEST: usize = 300;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reason::Reason;

    #[test]
    fn a_check_says_what_the_deciding_code_said() {
        let failed = Check::of("aud", "RFC 7519 §4.1.3").judged(&Err(Failure::new(Reason::TokenAudience, "x")));
        assert_eq!((failed.found, failed.code, &*failed.detail), (Found::Fails, Some("DW-8009"), "x"));
        assert_eq!(Check::of("aud", "").judged(&Ok(())).found, Found::Holds);
    }

    #[test]
    fn what_is_kept_of_a_request_is_bounded() {
        let mut step = Step::new(2, "route");
        (0..1000).for_each(|_| step.say("ä".repeat(1000)));
        let mut small = Step::new(4, "credential").saying("a");
        small.checks.push(Check::of("exp", "").met(false));
        let mut steps = [step, small];
        Step::bound(&mut steps);
        assert!(steps.iter().map(Step::bytes).sum::<usize>() <= ALL, "{steps:?}");
        assert_eq!((steps[0].said[0].chars().count(), steps[1].checks.len()), (LONGEST + 1, 1));
    }
}
