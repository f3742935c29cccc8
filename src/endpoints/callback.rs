//! The end of a sign-in: the provider's answer comes back with the browser.
//!
//! This is the only address of the gateway that takes what a page of another site posts (`Origin: null` included): who
//! posts proves nothing, and `state`, `nonce` and the browser's own cookie decide.
//!
//! Promise: a session is made only for the browser that started the attempt, once, from tokens that were verified.
//! Whatever else comes here is a refusal with a name and leaves no session.

use std::time::Duration;

use http::{HeaderValue, Method, header};
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

use super::new_session::{WayOn, make_session};
use super::token::is_form;
use super::{Answer, Context, Refusal, Visit, bounce, lost_attempt};
use crate::authn::{SessionRules, Verdict};
use crate::keys::Purpose;
use crate::oidc::{Attempt, AuthorizationResponse, SignedIn};
use crate::reason::{Failure, Reason};
use crate::session::cookies::{Doubled, find};
use crate::telemetry::{Audit, Decision, audit};
use crate::words::in_words;

/// Returns from the provider within [`TRIPS_WINDOW`] after which the gateway stops sending a browser round.
pub const TRIPS_BEFORE_STOP: usize = 3;
/// In seconds.
const TRIPS_WINDOW: u64 = 60;

/// `GET /oidc/callback?code=…&state=…`, or a POST with the same and more in a form; below it for each further provider.
pub async fn callback(context: &Context, visit: &Visit<'_>) -> Result<Answer, Refusal> {
    match finish(context, visit).await {
        Ok((step, answer)) => {
            visit.count(step, None);
            Ok(answer)
        }
        Err(refusal) => {
            visit.count("callback", Some(refusal.failure.reason));
            Err(refusal)
        }
    }
}

/// The answer, and which step it was.
async fn finish(context: &Context, visit: &Visit<'_>) -> Result<(&'static str, Answer), Refusal> {
    let response = read(visit).map_err(|failure| match context.providers.at_callback(visit.path) {
        Some(provider) => failure.of_provider(provider.name()),
        None => failure,
    })?;
    let cookie = attempt_cookie(context, visit, response.state());
    if cookie.as_ref().is_ok_and(|cookie| bounce::is_due(visit, cookie)) {
        return Ok(("bounce", bounce::page(context, visit, &response)));
    }
    let attempt = cookie.and_then(|cookie| Ok((open_attempt(context, visit, response.state(), &cookie)?, cookie)));
    let (attempt, cookie) = match attempt {
        Ok(found) => found,
        Err(refusal) => {
            let answer = already_signed_in(context, visit);
            return answer.map(|answer| ("callback", answer)).ok_or(refusal);
        }
    };
    // Used or not, the attempt is over: a second answer to it finds nothing.
    let over = context.cookies.end(&cookie, "/");
    let lifetime = context.config.settings.sign_in.attempt_lifetime.0;
    context.providers.note_answered(response.state(), visit.now + lifetime, visit.now);
    let signed_in = redeem(context, visit, &attempt, &response).await;
    let way_on = WayOn { to: &attempt.return_to, by_hand: attempt.from_another_site };
    match signed_in.and_then(|signed_in| make_session(context, visit, way_on, signed_in)) {
        Ok(answer) => Ok(("callback", answer.with_cookies(over))),
        Err(failure) => {
            let failure = failure.of_provider(&attempt.provider);
            let used = failure.reason == Reason::AttemptUsed;
            if let Some(answer) = already_signed_in(context, visit).filter(|_| used) {
                return Ok(("callback", answer.with_cookies(over)));
            }
            let denied = Audit {
                reason: Some(failure.reason),
                detail: &failure.detail,
                provider: Some(&attempt.provider),
                peer: visit.client,
                ..Audit::new(visit.reference, "sign_in", Decision::Deny)
            };
            audit::record(&denied, visit.now);
            Err(Refusal::from(failure).with_cookies(over))
        }
    }
}

/// What the provider answered, by the form where there is one: an address that is posted to has nothing to add.
fn read(visit: &Visit<'_>) -> Result<AuthorizationResponse, Failure> {
    if *visit.method != Method::POST {
        return AuthorizationResponse::parse(visit.query);
    }
    if !is_form(visit.headers) {
        let kind = visit.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let detail = format!("expected one `Content-Type`, {FORM}, got {}", in_words(kind));
        return Err(Failure::new(Reason::CallbackParameter, detail));
    }
    AuthorizationResponse::parse_form(visit.body)
}

const FORM: &str = "application/x-www-form-urlencoded";

/// Name of the cookie of the attempt that `state` belongs to.
fn attempt_cookie(context: &Context, visit: &Visit<'_>, state: &str) -> Result<String, Refusal> {
    let plain = |id: &&str| (1..=32).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric());
    let id = state.split('.').next().filter(plain);
    id.map(|id| context.cookies.attempt(id)).ok_or_else(|| lost_attempt::not_ours(context, visit))
}

/// The attempt of this browser that `state` belongs to, by its cookie `name`.
fn open_attempt(context: &Context, visit: &Visit<'_>, state: &str, name: &str) -> Result<Attempt, Refusal> {
    let unknown = |what: &str| Failure::new(Reason::AttemptUnknown, what);
    let sealed = match find(visit.headers, name) {
        Ok(Some(sealed)) => sealed,
        Ok(None) => {
            let id = state.split('.').next().unwrap_or_default();
            return Err(lost_attempt::no_cookie(context, visit, id, context.providers.was_answered(state)));
        }
        Err(Doubled) => return Err(unknown("two cookies of that attempt came with the request").into()),
    };
    let mut buffer = Vec::new();
    let range = context.keys.open(Purpose::Attempt, name, sealed, &mut buffer).map_err(lost_attempt::sealed)?;
    let attempt: Attempt =
        serde_json::from_slice(&buffer[range]).map_err(|_| unknown("the attempt is of another version"))?;
    // By digest, so that the time it takes tells nothing about the state.
    if digest(&SHA256, attempt.state.as_bytes()).as_ref() != digest(&SHA256, state.as_bytes()).as_ref() {
        return Err(unknown("the state is not that of the attempt").into());
    }
    let age = visit.seconds().saturating_sub(attempt.started_at);
    let lifetime = context.config.settings.sign_in.attempt_lifetime;
    if age > lifetime.0.as_secs() {
        return Err(Failure::new(
            Reason::AttemptExpired,
            format!("started {age} s ago; sign_in.attempt_lifetime is {lifetime}"),
        )
        .into());
    }
    Ok(attempt)
}

/// Reloading the callback, or coming back to it by the browser's history: the attempt is used up, the session is
/// there. The person gets the front page rather than an error; nothing changes.
fn already_signed_in(context: &Context, visit: &Visit<'_>) -> Option<Answer> {
    let known = |provider: &str| context.accepts(provider);
    let rules = SessionRules { counted: visit.counted, ..context.session_rules() };
    match rules.judge(visit.headers, visit.seconds(), known) {
        Verdict::Known(_) => Answer::onward(context, visit, "/", false).ok(),
        _ => None,
    }
}

async fn redeem(
    context: &Context,
    visit: &Visit<'_>,
    attempt: &Attempt,
    response: &AuthorizationResponse,
) -> Result<SignedIn, Failure> {
    let provider = context.providers.get(&attempt.provider);
    let provider = provider.ok_or_else(|| {
        Failure::new(Reason::ProviderUnknown, format!("`{}` is not configured any more", attempt.provider))
    })?;
    // Each provider has an address of its own, so that the answer of one is not taken for another's even where neither
    // sends `iss`.
    if provider.callback() != visit.path {
        let detail = format!("`{}` answers at {}, got {}", provider.name(), provider.callback(), visit.path);
        return Err(Failure::new(Reason::IssuerMixUp, detail));
    }
    match response {
        AuthorizationResponse::Granted(granted) => {
            let signed_in = provider.complete(attempt, granted, visit.now).await?;
            // A code is taken once by the provider. Of an ID token there is nobody else to know.
            if granted.id_token.is_some() {
                let left = context.config.settings.sign_in.attempt_lifetime.0 + Duration::from_secs(1);
                context.providers.use_up(attempt, visit.now + left, visit.now)?;
            }
            Ok(signed_in)
        }
        AuthorizationResponse::Error { iss, .. } => {
            provider.check_response_issuer(iss.as_deref())?;
            Err(provider.refusal_in(response).unwrap_or_else(|| Reason::ProviderSaidNo.into()))
        }
    }
}

/// When this browser lately came back from the provider with a session made. It is how a loop is noticed without a
/// store: where cookies do not work at all, the attempt's is missing too, and the callback says so.
#[derive(Default, Serialize, Deserialize)]
pub struct Trips(Vec<u64>);

impl Trips {
    /// The trips that `visit` brings; none where the cookie does not open.
    pub fn of(context: &Context, visit: &Visit<'_>) -> Self {
        let name = context.cookies.trips();
        let Ok(Some(sealed)) = find(visit.headers, &name) else { return Trips::default() };
        let mut buffer = Vec::new();
        let opened = context.keys.open(Purpose::Trips, &name, sealed, &mut buffer).ok();
        opened.and_then(|range| serde_json::from_slice(&buffer[range]).ok()).unwrap_or_default()
    }

    /// How many there were within the window before `now`.
    pub fn recent(&self, now: u64) -> usize {
        self.0.iter().filter(|&&trip| now.saturating_sub(trip) < TRIPS_WINDOW).count()
    }

    /// With one more at `now`, as a cookie.
    pub fn one_more(mut self, context: &Context, now: u64) -> Option<HeaderValue> {
        self.0.retain(|&trip| now.saturating_sub(trip) < TRIPS_WINDOW);
        self.0.push(now);
        let excess = self.0.len().saturating_sub(TRIPS_BEFORE_STOP);
        self.0.drain(..excess);
        let name = context.cookies.trips();
        let sealed = context.keys.seal(Purpose::Trips, &name, &serde_json::to_vec(&self).ok()?).ok()?;
        context.cookies.set(&name, &sealed, Some(TRIPS_WINDOW), "/")
    }
}
