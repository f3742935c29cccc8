//! Signing out: the session ends here, and at the provider where it offers that.

use std::time::SystemTime;

use http::{HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};

use super::{Answer, Context, Known, LOGIN, LOGOUT, Refusal, SIGNED_OUT, Visit};
use crate::authn::SessionRules;
use crate::config::values::Secret;
use crate::keys::Purpose;
use crate::reason::{Failure, Reason};
use crate::session::Session;
use crate::session::cookies::find;
use crate::session::ended::Mark;
use crate::telemetry::{Audit, Decision, audit};

/// What comes back from the provider as `state` of a sign-out: sealed, so that it needs no cookie. For providers that
/// bring no `state` back it waits in a cookie.
#[derive(Serialize, Deserialize)]
struct LogoutState {
    #[serde(rename = "r")]
    return_to: Option<String>,
    #[serde(rename = "t")]
    at: u64,
}

/// Seconds for which a sign-out's `state` is good.
const STATE_LIFETIME: u64 = 600;

/// `GET` or `POST /logout?return_to=…`: ends every part of every cookie, then goes to the provider's
/// `end_session_endpoint` (OpenID Connect RP-Initiated Logout 1.0) or to the signed-out page.
pub fn logout(context: &Context, visit: &Visit<'_>) -> Result<Answer, Refusal> {
    let return_to = match visit.parameter("return_to")? {
        Some(text) => match context.return_address(&text) {
            Some(address) => Some(address.as_str().to_owned()),
            None => return Err(Failure::new(Reason::ReturnAddress, "the return address of a sign-out").into()),
        },
        None => context.config.settings.sign_in.after_logout.clone(),
    };
    // Who clicks twice brings a session that the first click ended, and leaves at the second: to the provider, too.
    let sessions = SessionRules { ended: None, ..context.session_rules() }.every(visit.headers, visit.seconds());
    if from_another_site(context, visit) {
        let mut refusal = Refusal::from(Failure::from(Reason::LogoutFromElsewhere));
        refusal.offer_sign_in = false;
        refusal.who = sessions.first().map(|session| Known::of(&session.identity));
        return Err(refusal);
    }
    let theirs = sessions.first().and_then(|session| provider_logout(context, visit, session, &return_to));
    let (location, waiting) = match theirs {
        Some(theirs) => theirs,
        None => (return_to.unwrap_or_else(|| SIGNED_OUT.to_owned()), None),
    };
    for session in sessions.iter().filter(|session| context.ended.ended(session, visit.seconds()).is_none()) {
        end(context, visit, session);
    }
    visit.count("logout", None);
    let mut answer =
        Answer::redirect(context, &location)?.with_cookies(ended_cookies(context, visit)).with_cookies(waiting);
    answer.user = sessions.into_iter().next().map(|session| session.identity.user);
    Ok(answer)
}

/// Ends `session`, also for whoever has a copy of its cookie.
fn end(context: &Context, visit: &Visit<'_>, session: &Session) {
    context.ended.end(Mark::SignedOut { id: &session.id }, visit.seconds());
    revoke(context, session, visit.now);
    let who = &session.identity;
    let ended = Audit {
        provider: Some(&who.provider),
        subject: Some(&who.subject),
        user: Some(&who.user),
        peer: visit.client,
        ..Audit::new(visit.reference, "sign_out", Decision::Allow)
    };
    audit::record(&ended, visit.now);
}

/// Whether a page of another site is behind the request, by Fetch metadata, and where a browser sends none by `Origin`; or
/// a picture or the like in a page of this one, which the app may have from anybody.
fn from_another_site(context: &Context, visit: &Visit<'_>) -> bool {
    let opened = |dest: &HeaderValue| dest == "document" || dest == "empty";
    if !visit.headers.get("sec-fetch-dest").is_none_or(opened) {
        return true;
    }
    match visit.headers.get("sec-fetch-site") {
        Some(site) => site == "cross-site",
        None => {
            let own = context.public_url().origin().ascii_serialization();
            visit.headers.get(header::ORIGIN).is_some_and(|origin| origin.as_bytes() != own.as_bytes())
        }
    }
}

/// `Set-Cookie` for everything of ours that this browser holds, open sign-ins included.
fn ended_cookies(context: &Context, visit: &Visit<'_>) -> Vec<HeaderValue> {
    let cookies = &context.cookies;
    let attempts = cookies.attempts(visit.headers);
    let mut ended = cookies.end_session(visit.headers);
    ended.extend(cookies.end(&cookies.hint(), LOGOUT));
    ended.extend(cookies.end(&cookies.trips(), "/"));
    ended.extend(attempts.iter().filter_map(|id| cookies.end(&cookies.attempt(id), "/")));
    ended
}

/// Takes the session's refresh token back, which nobody has to wait for.
pub(super) fn revoke(context: &Context, session: &Session, now: SystemTime) {
    let Some(provider) = context.providers.get(&session.identity.provider).filter(|provider| provider.revokes()) else {
        return;
    };
    if let Some(tokens) = &session.tokens {
        let (provider, token) = (provider.clone(), Secret::new(tokens.refresh_token.clone()));
        tokio::spawn(async move { provider.revoke(&token, now).await });
    }
}

/// Where to end the provider's session, and the cookie that waits for the way back where the provider brings nothing
/// along; `None` where that is not wished or not offered. Where it cannot be done, our page says that it goes on.
fn provider_logout(
    context: &Context,
    visit: &Visit<'_>,
    session: &Session,
    return_to: &Option<String>,
) -> Option<(String, Option<HeaderValue>)> {
    if !context.config.settings.sign_in.provider_logout {
        return None;
    }
    let provider = context.providers.get(&session.identity.provider)?;
    let name = context.cookies.hint();
    let mut buffer = Vec::new();
    let sealed = find(visit.headers, &name).ok().flatten();
    let range = sealed.and_then(|sealed| context.keys.open(Purpose::LogoutHint, &name, sealed, &mut buffer).ok());
    let hint = range.and_then(|range| std::str::from_utf8(&buffer[range]).ok());
    let state = LogoutState { return_to: return_to.clone(), at: visit.seconds() };
    let state = context.keys.seal(Purpose::LogoutState, SIGNED_OUT, &serde_json::to_vec(&state).ok()?).ok()?;
    let back = context.public_url().join(SIGNED_OUT).ok()?;
    let url = provider.end_session_url(hint, &back, &state)?;
    if provider.needs_logout_hint() && !url.query_pairs().any(|(name, _)| name == "id_token_hint") {
        let why = "no ID token was kept for `id_token_hint`, most often because it is too large: have fewer groups or claims put \
                   into it";
        tracing::warn!(provider = provider.name(), why, "a person stays signed in at the provider");
        return Some((SIGNED_OUT.to_owned(), None));
    }
    let waits = !provider.brings_logout_state();
    let cookies = &context.cookies;
    let waiting = waits.then(|| cookies.set(&cookies.signed_out(), &state, Some(STATE_LIFETIME), SIGNED_OUT));
    Some((url.into(), waiting.flatten()))
}

/// `GET /oidc/signed-out`: where the provider sends the browser back to, and the page that says it is done.
pub fn signed_out(context: &Context, visit: &Visit<'_>) -> Result<Answer, Refusal> {
    let name = context.cookies.signed_out();
    let waited = find(visit.headers, &name).ok().flatten();
    let over = waited.and_then(|_| context.cookies.end(&name, SIGNED_OUT));
    let waited = waited.and_then(|sealed| std::str::from_utf8(sealed).ok()).map(str::to_owned);
    let state = visit.parameter("state")?.or(waited).filter(|text| text.len() <= 4096);
    let asked = state.as_deref().and_then(|sealed| open_state(context, visit, sealed));
    if let Some(address) = asked.and_then(|state| context.return_address(&state.return_to?)) {
        return Ok(Answer::redirect(context, address.as_str())?.with_cookies(over));
    }
    // Without a state the provider was not asked: the next sign-in may pass without a question.
    let page = context.pages.signed_out(LOGIN, state.is_none() && !context.providers.is_empty());
    Ok(Answer::page(context, StatusCode::OK, page).with_cookies(over))
}

fn open_state(context: &Context, visit: &Visit<'_>, sealed: &str) -> Option<LogoutState> {
    let mut buffer = Vec::new();
    let range = context.keys.open(Purpose::LogoutState, SIGNED_OUT, sealed.as_bytes(), &mut buffer).ok()?;
    let state: LogoutState = serde_json::from_slice(&buffer[range]).ok()?;
    (visit.seconds().saturating_sub(state.at) <= STATE_LIFETIME).then_some(state)
}
