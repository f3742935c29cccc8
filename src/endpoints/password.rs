//! The form for name and password: of people in the directory, and of the way in.
//!
//! Promise: a password is looked at only where this site's own page sent it, from a browser that was given that page a
//! moment ago; it is in no log, no error and no answer. The session that follows is a new one, made as after every sign-in.

use http::{HeaderValue, Method, StatusCode, header};
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::new_session::{WayOn, make_session};
use super::sign_in::{attempt_id, public_host};
use super::{Answer, Context, Outcome, PASSWORD, Refusal, Visit};
use crate::attempts::Refused;
use crate::config::model::{RESTORE, own_issuer};
use crate::directory::name::Name;
use crate::identity::{Authentication, Identity};
use crate::keys::Purpose;
use crate::oidc::SignedIn;
use crate::pages::{PasswordForm, PasswordProblem};
use crate::reason::{Failure, Reason};
use crate::session::cookies::{Doubled, find};
use crate::telemetry::{Audit, Decision, audit};

/// Most bytes of a form: name, password and what belongs to the page.
pub const MAX_BODY: usize = 8 * 1024;

/// What the browser was given with the form, sealed in a cookie.
#[derive(Serialize, Deserialize)]
struct Open {
    /// Stands in the form as well; a page of another site can read neither.
    #[serde(rename = "s")]
    state: String,
    #[serde(rename = "r")]
    return_to: String,
    #[serde(rename = "t")]
    at: u64,
}

/// The address of the form that leads back to `return_to`.
pub fn href(return_to: &str) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    format!("{PASSWORD}?{}", query.append_pair("return_to", return_to).finish())
}

/// `GET` shows the form, `POST` judges it.
pub async fn password(context: &Context, visit: &Visit<'_>) -> Result<Answer, Refusal> {
    if *visit.method != Method::POST {
        return show(context, visit);
    }
    let open = match from_here(context, visit).and_then(|()| opened(context, visit)) {
        Ok(open) => open,
        Err(failure) => {
            note(context, visit, &failure);
            let mut refusal = Refusal::from(failure);
            refusal.offer_sign_in = true;
            return Err(refusal);
        }
    };
    let judged = judge(context, visit).await;
    let made = judged.and_then(|identity| {
        let authentication = Authentication { at: Some(visit.seconds()), ..Authentication::default() };
        let signed_in = SignedIn {
            identity,
            authentication,
            id_token: None,
            access_token: None,
            refresh_token: None,
            tokens_expire_at: None,
            proven_at: None,
            nonce: None,
        };
        Ok(make_session(context, visit, WayOn { to: &open.return_to, by_hand: false }, signed_in)?)
    });
    match made {
        Ok(answer) => {
            visit.count("password", None);
            // Used up: the form cannot be sent again from the browser's history.
            Ok(answer.with_cookies(context.cookies.end(&cookie_of(context, &open.state)?, "/")))
        }
        Err(refused) => {
            note(context, visit, &refused.failure);
            again(context, visit, &open, refused)
        }
    }
}

fn show(context: &Context, visit: &Visit<'_>) -> Result<Answer, Refusal> {
    if let Some(elsewhere) = public_host(context, visit) {
        return Ok(Answer::redirect(context, &elsewhere)?);
    }
    let return_to = match visit.parameter("return_to")? {
        None => "/".to_owned(),
        Some(text) => match context.return_address(&text) {
            Some(address) => address.as_str().to_owned(),
            None => return Err(Failure::new(Reason::ReturnAddress, "the return address of the form").into()),
        },
    };
    let internal = |e: &dyn std::fmt::Display| Failure::new(Reason::Internal, e.to_string());
    let id = attempt_id(context, visit)?;
    let state = format!("{id}.{}", context.keys.random_id().map_err(|e| internal(&e))?);
    let open = Open { state, return_to, at: visit.seconds() };
    let name = context.cookies.attempt(&id);
    let plain = serde_json::to_vec(&open).map_err(|e| internal(&e))?;
    let sealed = context.keys.seal(Purpose::PasswordForm, &name, &plain).map_err(|e| internal(&e))?;
    let lifetime = context.config.settings.sign_in.attempt_lifetime.0.as_secs();
    let mut cookies: Vec<_> = context.cookies.set(&name, &sealed, Some(lifetime), "/").into_iter().collect();
    cookies.extend(super::sign_in::oldest_attempts(context, visit));
    Ok(page(context, StatusCode::OK, &form(context, &open, "", None)).with_cookies(cookies))
}

/// A page that tells its own site where a form comes from: without a referrer policy that lets it, `Origin` would be `null`.
fn page(context: &Context, status: StatusCode, form: &PasswordForm<'_>) -> Answer {
    let mut answer = Answer::page(context, status, context.pages.password(form));
    if let Some((_, value)) = answer.headers.iter_mut().find(|(name, _)| *name == header::REFERRER_POLICY) {
        *value = HeaderValue::from_static("same-origin");
    }
    answer
}

fn form<'a>(
    context: &'a Context,
    open: &'a Open,
    user: &'a str,
    problem: Option<PasswordProblem<'a>>,
) -> PasswordForm<'a> {
    let directory = context.directory().map(|directory| directory.display_name());
    PasswordForm { action: PASSWORD, state: &open.state, return_to: &open.return_to, directory, user, problem }
}

/// Only a page of this site may send the form: by Fetch metadata, and where a browser sends none by `Origin`. Whoever
/// could send one from elsewhere would sign people in as somebody else.
fn from_here(context: &Context, visit: &Visit<'_>) -> Result<(), Failure> {
    let refuse = |what: String| Err(Failure::new(Reason::PasswordFromElsewhere, what));
    if let Some(site) = visit.headers.get("sec-fetch-site") {
        return match site == "same-origin" {
            true => Ok(()),
            false => refuse(format!("Sec-Fetch-Site is {site:?}; expected same-origin")),
        };
    }
    let public = own_issuer(context.public_url());
    let port = context.public_url().port().map_or(String::new(), |port| format!(":{port}"));
    let here = format!("{}://{}{port}", context.public_url().scheme(), visit.host);
    match visit.headers.get(header::ORIGIN).map(HeaderValue::as_bytes) {
        Some(origin) if origin == public.as_bytes() || origin == here.as_bytes() => Ok(()),
        Some(origin) => refuse(format!("Origin is {:?}; expected {public}", String::from_utf8_lossy(origin))),
        None => refuse("neither Sec-Fetch-Site nor Origin says where it comes from".into()),
    }
}

fn cookie_of(context: &Context, state: &str) -> Result<String, Failure> {
    let id = state.split('.').next().filter(|id| id.len() <= 32 && id.bytes().all(|b| b.is_ascii_alphanumeric()));
    let id = id.filter(|id| !id.is_empty());
    let id = id.ok_or_else(|| Failure::new(Reason::PasswordForm, "the form is not one that this gateway makes"))?;
    Ok(context.cookies.attempt(id))
}

/// What this browser was given with the form that it sends.
fn opened(context: &Context, visit: &Visit<'_>) -> Result<Open, Failure> {
    let unknown = |what: &str| Failure::new(Reason::PasswordForm, what);
    let state = Visit::one(visit.body, "state")?.ok_or_else(|| unknown("the form came without its `state`"))?;
    let name = cookie_of(context, &state)?;
    let sealed = match find(visit.headers, &name) {
        Ok(Some(sealed)) => sealed,
        Ok(None) => return Err(unknown("no cookie of that form came with it")),
        Err(Doubled) => return Err(unknown("two cookies of that form came with it")),
    };
    let mut buffer = Vec::new();
    let range = context.keys.open(Purpose::PasswordForm, &name, sealed, &mut buffer);
    let range = range.map_err(|e| unknown(&format!("the cookie of that form: {e}")))?;
    let open: Open = serde_json::from_slice(&buffer[range]).map_err(|_| unknown("the form is of another version"))?;
    // By digest, so that the time it takes tells nothing about the state.
    if digest(&SHA256, open.state.as_bytes()).as_ref() != digest(&SHA256, state.as_bytes()).as_ref() {
        return Err(unknown("the form is not the one of its cookie"));
    }
    let (age, lifetime) = (visit.seconds().saturating_sub(open.at), context.config.settings.sign_in.attempt_lifetime);
    match age > lifetime.0.as_secs() {
        true => Err(unknown(&format!("opened {age} s ago; sign_in.attempt_lifetime is {lifetime}"))),
        false => Ok(open),
    }
}

async fn judge(context: &Context, visit: &Visit<'_>) -> Result<Identity, Refused> {
    let password = Zeroizing::new(Visit::one(visit.body, "password")?.unwrap_or_default());
    if let Some(way_in) = &context.way_in {
        // Before any limit: nobody guesses it, and whoever has it is not kept out by those who try.
        if let Some(identity) = way_in.judge(&password) {
            return Ok(identity);
        }
        // Dropped, the try stays taken.
        drop(context.attempts.begin_from(visit.client)?);
        return Err(Failure::new(Reason::RestorePasswordWrong, "not the password of this start").into());
    }
    let Some(directory) = context.directory() else { return Err(Failure::from(Reason::NoRoute).into()) };
    let name = Name::parse(&Visit::one(visit.body, "user")?.unwrap_or_default())?;
    let one = context.attempts.begin(name.counted(), visit.client)?;
    directory.sign_in(&name, &password, one).await
}

/// The form once more, with what was wrong. The name stays, the password does not.
fn again(context: &Context, visit: &Visit<'_>, open: &Open, refused: Refused) -> Result<Answer, Refusal> {
    let info = refused.failure.reason.info();
    let status = StatusCode::from_u16(refused.failure.reason.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let user = Visit::one(visit.body, "user").ok().flatten().unwrap_or_default();
    let problem = PasswordProblem {
        reason: refused.failure.reason,
        reference: visit.reference.as_str(),
        wait: refused.retry_after.map(|seconds| seconds.get().into()),
    };
    let shown: String = user.chars().take(256).collect();
    let mut answer = page(context, status, &form(context, open, &shown, Some(problem)));
    match (refused.retry_after, info.status) {
        (Some(seconds), _) => answer.headers.push((header::RETRY_AFTER, seconds.get().into())),
        (None, 503) => answer.headers.push((header::RETRY_AFTER, HeaderValue::from_static("5"))),
        // A 401 names how to authenticate (RFC 9110 §11.6.1); there is no registered scheme for a form.
        (None, 401) => {
            answer.headers.push((header::WWW_AUTHENTICATE, HeaderValue::from_static("Session realm=\"doorward\"")));
        }
        _ => {}
    }
    answer.outcome = Outcome::Refused(refused.failure);
    Ok(answer)
}

fn note(context: &Context, visit: &Visit<'_>, failure: &Failure) {
    visit.count("password", Some(failure.reason));
    let denied = Audit {
        reason: Some(failure.reason),
        detail: &failure.detail,
        provider: Some(context.directory().map_or(RESTORE, |directory| directory.name())),
        peer: visit.client,
        ..Audit::new(visit.reference, "sign_in", Decision::Deny)
    };
    audit::record(&denied, visit.now);
}
