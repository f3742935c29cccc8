//! Step 9 of an explanation: what the answer would be.

use http::header;
use serde::Serialize;
use url::Url;

use crate::endpoints::{self, Answer};
use crate::reason::{Failure, Reason};

/// What would become of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The app would get it.
    Passed,
    /// The gateway would answer by itself, with a page or a redirect.
    Answered,
    Refused,
    /// It cannot be told without asking somebody.
    Undecided,
}

/// The last step.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Verdict {
    pub outcome: Outcome,
    /// None where the app answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<&'static str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub title: &'static str,
    /// Expected and got; for admins.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub detail: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub cause: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub remedy: String,
    /// `Location` and `WWW-Authenticate`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<(String, String)>,
}

/// Parameters of an authorization request that differ each time.
const OF_ONE_ATTEMPT: [&str; 3] = ["state", "nonce", "code_challenge"];

impl Verdict {
    pub(super) fn passed() -> Verdict {
        Verdict::plain(Outcome::Passed, None, String::new())
    }

    pub(super) fn undecided(why: impl Into<String>) -> Verdict {
        Verdict::plain(Outcome::Undecided, None, why.into())
    }

    /// What was done with a request, by its status and its failure.
    pub fn done(outcome: Outcome, status: u16, failure: Option<&Failure>) -> Verdict {
        let verdict = Verdict::plain(outcome, Some(status).filter(|status| *status != 0), String::new());
        failure.map_or(verdict.clone(), |failure| verdict.because(failure))
    }

    /// What the gateway answers.
    pub(super) fn of(answer: &Answer) -> Verdict {
        let text = |name: &header::HeaderName, value: &http::HeaderValue| {
            let text = String::from_utf8_lossy(value.as_bytes()).into_owned();
            (name.to_string(), if name == header::LOCATION { shown(&text) } else { text })
        };
        let told = |name: &header::HeaderName| matches!(*name, header::LOCATION | header::WWW_AUTHENTICATE);
        let headers = answer.headers.iter().filter(|(name, _)| told(name)).map(|(name, value)| text(name, value));
        let status = Some(answer.status.as_u16());
        let verdict = match &answer.outcome {
            endpoints::Outcome::Own => Verdict::plain(Outcome::Answered, status, String::new()),
            endpoints::Outcome::Refused(failure) => {
                Verdict::plain(Outcome::Refused, status, String::new()).because(failure)
            }
        };
        Verdict { headers: headers.collect(), ..verdict }
    }

    fn plain(outcome: Outcome, status: Option<u16>, detail: String) -> Verdict {
        Verdict {
            outcome,
            status,
            code: None,
            title: "",
            detail,
            cause: "",
            remedy: String::new(),
            headers: Vec::new(),
        }
    }

    fn because(self, failure: &Failure) -> Verdict {
        let info = failure.reason.info();
        Verdict {
            code: Some(info.code),
            title: info.title,
            detail: failure.detail.clone(),
            cause: info.cause,
            remedy: failure.remedy().to_owned(),
            ..self
        }
    }

    /// Undecided where only what nobody was asked for is missing: the provider's metadata, or newer keys.
    pub(super) fn unless_asked(self, offline: bool) -> Verdict {
        let said = |reason: Reason| offline && self.code == Some(reason.code());
        if said(Reason::ProviderNotReady) {
            return Verdict::undecided("sent to sign in; the provider's metadata is not at hand");
        }
        if said(Reason::TokenKey) {
            return Verdict::undecided(format!("{}; its issuer was not asked for newer keys", self.detail));
        }
        self
    }

    /// `401 DW-4001, WWW-Authenticate: …`.
    pub fn in_words(&self) -> String {
        let mut words = match (self.outcome, self.status) {
            (Outcome::Passed, None) => "what the app answers".to_owned(),
            (_, Some(status)) => status.to_string(),
            (_, None) => format!("what cannot be told: {}", self.detail),
        };
        if let Some(code) = self.code {
            words.push_str(&format!(" {code} ({})", self.title));
        }
        for (name, value) in &self.headers {
            words.push_str(&format!(", {name}: {value}"));
        }
        words
    }
}

/// An address without what differs each time.
fn shown(location: &str) -> String {
    let Ok(url) = Url::parse(location) else { return location.to_owned() };
    let pair = |(name, value): (std::borrow::Cow<'_, str>, std::borrow::Cow<'_, str>)| {
        let value = if OF_ONE_ATTEMPT.contains(&&*name) { "…".into() } else { value };
        format!("{name}={value}")
    };
    let pairs: Vec<String> = url.query_pairs().map(pair).collect();
    let mut bare = url.clone();
    bare.set_query(None);
    match pairs.is_empty() {
        true => bare.to_string(),
        false => format!("{bare}?{}", pairs.join("&")),
    }
}
