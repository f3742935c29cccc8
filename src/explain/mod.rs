//! `doorward explain`: what would become of a request, and why; and the same of one that was answered a moment ago.
//!
//! The gateway itself decides ([`Gateway::explain`]); this room makes a request of what somebody writes down, and a text of
//! what comes back. No token is in either text.

mod person;
mod request;
mod text;

use std::sync::Arc;
use std::time::SystemTime;

use serde_json::{Value, json};

use crate::clock::unix_seconds;
use crate::gateway::Gateway;
pub use crate::gateway::explain::{Explanation, Outcome, Verdict};
use crate::reason::{Failure, Reason};
use crate::telemetry::{Refused, recording, refusals, rfc3339};

pub use person::Person;
pub use request::{Request, Who};

/// What would become of `request` at `gateway`. Fails, in a sentence, where what was written down makes no request.
pub async fn explain(gateway: &Gateway, request: &Request) -> Result<Explanation, String> {
    let asked = match request.asked(gateway, SystemTime::now())? {
        request::Made::Asked(asked) => asked,
        // The gateway would never have let such a person get that far.
        request::Made::NotSignedIn(failure) => return Ok(never_signed_in(&failure)),
    };
    Ok(gateway.explain(&asked).await)
}

fn never_signed_in(failure: &Failure) -> Explanation {
    let mut step = crate::examined::Step::new(4, "credential");
    step.say("the sign-in that would make the session is refused");
    step.checks.push(crate::examined::Check::of("sign-in", "[[provider]]").judged(&Err(failure.clone())));
    let verdict = Verdict::done(Outcome::Refused, failure.reason.status(), Some(failure));
    Explanation { steps: vec![step], verdict, token: None }
}

/// A request that was answered, while it is remembered.
#[derive(Clone, Debug)]
pub struct Explained {
    /// What is known of it beside its steps.
    pub request: Arc<Refused>,
    pub explanation: Explanation,
}

/// The request with that reference: one that was refused lately, or any while everything was recorded.
pub fn of_reference(reference: &str) -> Option<Explained> {
    if let Some(refused) = refusals().find(reference) {
        let failure = Failure::new(refused.reason, refused.detail.clone()).remedied_by(refused.remedy.clone());
        let verdict = Verdict::done(Outcome::Refused, refused.status, Some(&failure));
        return Some(Explained::of(refused, verdict));
    }
    let recorded = recording().find(reference)?;
    let outcome = if recorded.outcome == "own" { Outcome::Answered } else { Outcome::Passed };
    let gone = (recorded.outcome == "gone").then(|| Failure::from(Reason::ClientGone));
    let verdict = Verdict::done(outcome, recorded.request.status, gone.as_ref());
    Some(Explained::of(Arc::new(recorded.request.clone()), verdict))
}

impl Explained {
    fn of(request: Arc<Refused>, verdict: Verdict) -> Explained {
        let steps = request.steps().to_vec();
        Explained { request, explanation: Explanation { steps, verdict, token: None } }
    }

    /// For programs: the request, its steps, the verdict.
    pub fn as_json(&self) -> Value {
        let request = &self.request;
        json!({
            "reference": request.reference.as_str(), "at": rfc3339(unix_seconds(request.at)),
            "method": request.method, "host": request.host, "path": request.path, "route": request.route,
            "user": request.user, "issuer": request.issuer, "client": request.client,
            "traced": request.trace.is_some(), "explanation": self.explanation,
        })
    }
}
