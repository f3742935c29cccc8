//! Sessions that the provider ends: by a logout token that it sends itself, or by a frame in which a browser opens our
//! sign-out address.
//!
//! Neither brings a cookie. The token proves who sends it. The frame proves nothing, so it ends the one session whose
//! `sid` it knows, and touches no cookie of whoever opened it.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use serde_json::json;

use super::token::is_form;
use super::{Answer, Context, Outcome, Refusal, Visit, challenge};
use crate::attempts::network;
use crate::oidc::{LoggedOut, Logout, Provider};
use crate::reason::{Failure, Reason};
use crate::session::ended::Mark;
use crate::telemetry::{Audit, Decision, audit};

/// Most bytes of a back-channel request's body that are read.
pub const MAX_BODY: usize = 64 * 1024;

/// Bytes of `iss` and of `sid`. A session remembers no longer ones.
const MAX_PARAMETER: usize = 512;

const BACK_CHANNEL: &str = "back_channel_logout";
const FRONT_CHANNEL: &str = "front_channel_logout";

/// `POST /oidc/backchannel-logout`: a `logout_token` ends sessions (OpenID Connect Back-Channel Logout 1.0 §2.5).
pub async fn back_channel(context: &Context, visit: &Visit<'_>) -> Answer {
    let token = logout_token(visit);
    let logout = match &token {
        Ok(token) => context.providers.logout(token, visit.now).await,
        Err(failure) => Err(failure.clone()),
    };
    let logout = match logout {
        Ok(logout) => logout,
        Err(failure) => return denied(visit, failure),
    };
    for provider in &logout.providers {
        context.ended.end(mark(provider, &logout), visit.seconds());
        let (subject, detail) = match &logout.sessions {
            LoggedOut::Session { subject, .. } => (subject.as_deref(), "by a logout token: one session"),
            LoggedOut::Subject(subject) => (Some(subject.as_str()), "by a logout token: all sessions"),
        };
        let ended = Audit {
            detail,
            provider: Some(provider),
            subject,
            peer: visit.client,
            ..Audit::new(visit.reference, "session_ended", Decision::Allow)
        };
        audit::record(&ended, visit.now);
    }
    visit.count(BACK_CHANNEL, None);
    let headers = vec![(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))];
    Answer { status: StatusCode::OK, headers, body: Bytes::new(), outcome: Outcome::Own, user: None }
}

fn mark<'a>(provider: &'a str, logout: &'a Logout) -> Mark<'a> {
    match &logout.sessions {
        LoggedOut::Session { session, subject } => {
            Mark::ProviderSession { provider, session, subject: subject.as_deref() }
        }
        LoggedOut::Subject(subject) => Mark::Subject { provider, subject },
    }
}

/// The one `logout_token` of the form.
fn logout_token(visit: &Visit<'_>) -> Result<String, Failure> {
    let malformed = |what: &str| Failure::new(Reason::LogoutToken, what);
    if !is_form(visit.headers) {
        return Err(malformed("Content-Type is not `application/x-www-form-urlencoded`"));
    }
    let form = url::form_urlencoded::parse(visit.body);
    let mut tokens = form.filter(|(name, _)| name == "logout_token").map(|(_, token)| token.into_owned());
    match (tokens.next().filter(|token| !token.is_empty()), tokens.next()) {
        (Some(token), None) => Ok(token),
        (None, _) => Err(malformed("`logout_token` is missing or empty")),
        (Some(_), Some(_)) => Err(malformed("`logout_token` is there twice")),
    }
}

/// The answer to a back-channel request whose body did not come whole.
pub fn unread(visit: &Visit<'_>, failure: Failure) -> Answer {
    let failure = match failure.reason {
        Reason::BodyNotExpected => Failure::new(Reason::LogoutToken, failure.detail),
        _ => failure,
    };
    denied(visit, failure)
}

/// Back-Channel Logout §2.8. Where the provider could not be asked for its keys yet, sending the token again helps.
fn denied(visit: &Visit<'_>, failure: Failure) -> Answer {
    note_refusal(visit, BACK_CHANNEL, &failure);
    let (status, error) = match (failure.reason, failure.reason.status()) {
        (Reason::RequestTimedOut, _) => (StatusCode::REQUEST_TIMEOUT, "invalid_request"),
        (_, 503) => (StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable"),
        _ => (StatusCode::BAD_REQUEST, "invalid_request"),
    };
    let text = challenge::plain(&challenge::sentence(&failure));
    let body = json!({
        "error": error, "error_description": text, "errors": [{ "message": text }],
        "reason": failure.reason.code(), "remedy": failure.remedy(), "reference": visit.reference.as_str(),
    });
    let mut answer = Answer::json(status, &body);
    if status == StatusCode::SERVICE_UNAVAILABLE {
        answer.headers.push((header::RETRY_AFTER, HeaderValue::from_static("5")));
    }
    answer.outcome = Outcome::Refused(failure);
    answer
}

/// Whether a request to the sign-out address is one of a provider's frames.
pub fn is_front_channel(visit: &Visit<'_>) -> bool {
    let pairs = url::form_urlencoded::parse(visit.query.unwrap_or_default().as_bytes());
    pairs.into_iter().any(|(name, _)| name == "iss" || name == "sid")
}

/// `GET /logout?iss=…&sid=…`: ends that session and no other (OpenID Connect Front-Channel Logout 1.0 §3). Entra's frames
/// have no `iss`, and are for its sessions alone.
pub fn front_channel(context: &Context, visit: &Visit<'_>) -> Result<Answer, Refusal> {
    end_by_browser(context, visit).map_err(|failure| {
        note_refusal(visit, FRONT_CHANNEL, &failure);
        let mut refusal = Refusal::from(failure);
        refusal.offer_sign_in = false;
        refusal
    })
}

fn end_by_browser(context: &Context, visit: &Visit<'_>) -> Result<Answer, Failure> {
    let wrong = |why: String| Failure::new(Reason::LogoutRequest, why);
    if *visit.method != Method::GET {
        return Err(wrong(format!("expected GET, got {}", visit.method)));
    }
    let parameter = |name: &str| match visit.parameter(name) {
        Ok(Some(text)) if !(1..=MAX_PARAMETER).contains(&text.len()) => {
            Err(wrong(format!("`{name}` has {} bytes", text.len())))
        }
        Ok(text) => Ok(text),
        Err(_) => Err(wrong(format!("`{name}` is there twice"))),
    };
    let (issuer, session) = (parameter("iss")?, parameter("sid")?.ok_or_else(|| wrong("no `sid`".into()))?);
    let named = |provider: &&Arc<Provider>| match &issuer {
        Some(issuer) => provider.is_issuer(issuer),
        None => provider.frames_lack_issuer(),
    };
    let providers: Vec<_> = context.providers.iter().filter(named).collect();
    if providers.is_empty() {
        let why = if issuer.is_some() { "`iss` is of no configured provider" } else { "no `iss`" };
        return Err(wrong(why.into()));
    }
    let mut ancestors = Vec::new();
    for provider in providers {
        ancestors.extend(provider.origins());
        let from = visit.client.map(network);
        let mark = Mark::FrontChannel { provider: provider.name(), session: &session, from };
        // Anybody can name a session that there is not, and nothing is said to have ended then.
        if !context.ended.end(mark, visit.seconds()) {
            continue;
        }
        let ended = Audit {
            detail: "by a frame of the provider: one session",
            provider: Some(provider.name()),
            peer: visit.client,
            ..Audit::new(visit.reference, "session_ended", Decision::Allow)
        };
        audit::record(&ended, visit.now);
    }
    visit.count(FRONT_CHANNEL, None);
    framed(&ancestors)
}

/// An empty page that pages of `ancestors` may hold in a frame.
fn framed(ancestors: &[String]) -> Result<Answer, Failure> {
    let policy =
        format!("default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors {}", ancestors.join(" "));
    let policy = HeaderValue::from_str(&policy).map_err(|e| Failure::new(Reason::Internal, e.to_string()))?;
    let fixed = [
        ("content-type", "text/html; charset=utf-8"),
        ("cache-control", "no-store"),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
    ];
    let fixed = fixed.map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
    let headers = std::iter::once((header::CONTENT_SECURITY_POLICY, policy)).chain(fixed).collect();
    let body = Bytes::from_static(b"<!doctype html><html lang=\"en\"><title>Signed out</title></html>\n");
    Ok(Answer { status: StatusCode::OK, headers, body, outcome: Outcome::Own, user: None })
}

fn note_refusal(visit: &Visit<'_>, step: &'static str, failure: &Failure) {
    let denied = Audit {
        reason: Some(failure.reason),
        detail: &failure.detail,
        peer: visit.client,
        ..Audit::new(visit.reference, "session_ended", Decision::Deny)
    };
    audit::record(&denied, visit.now);
    visit.count(step, Some(failure.reason));
}
