//! An answer of the provider whose sign-in is not known here: the likeliest cause, and what was seen that says so.
//!
//! Promise: nothing of what came is believed. The `state` names a time by which somebody may be told that it was long ago, and
//! no more follows from it.

use http::Method;

use super::{Context, Refusal, Visit};
use crate::keys::OpenError;
use crate::reason::{Failure, Reason};

/// Digits of hexadecimal microseconds at the start of an attempt's id.
const TIME_DIGITS: usize = 14;

const NO_COOKIE: &str = "Not one cookie came with this request.";

/// The attempt of `state` has no cookie in this request.
pub fn no_cookie(context: &Context, visit: &Visit<'_>, state: &str, used: bool) -> Refusal {
    // What a stranger makes up says nothing of this browser's cookies.
    if !is_of_our_form(state) {
        return not_ours(context, visit);
    }
    let id = state.split('.').next().unwrap_or_default();
    let public = context.public_url();
    let own = public.host_str().unwrap_or_default();
    let cookies = context.cookies.sizes(visit.headers);
    let lifetime = context.config.settings.sign_in.attempt_lifetime;
    let age = age_of(id, visit);
    if used {
        return refusal(
            Reason::AttemptUsed,
            vec!["The answer to this sign-in was taken here before.".into()],
            &cookies,
        );
    }
    if let Some(age) = age.filter(|age| *age > lifetime.0.as_secs()) {
        let seen = format!("The sign-in was started {age} s ago, and `sign_in.attempt_lifetime` is {lifetime}.");
        return refusal(Reason::AttemptExpired, vec![seen], &cookies);
    }
    if visit.host != own && !context.shares_cookies(visit.host) {
        let seen = format!("The answer came to `{}`, and `public_url` is `{}`.", visit.host, shown(public));
        return refusal(Reason::AttemptElsewhere, vec![seen], &cookies);
    }
    // Browsers say where a request comes from to https alone, and to the machine itself.
    let said =
        visit.headers.get("x-forwarded-proto").is_some_and(|proto| proto.as_bytes().eq_ignore_ascii_case(b"http"));
    let plain =
        public.scheme() == "https" && (said || !visit.over_tls) && !visit.headers.contains_key("sec-fetch-mode");
    if plain {
        let seen = "The answer came over http, and its cookie is kept for https alone.".to_owned();
        return refusal(Reason::AttemptOverHttp, vec![seen], &cookies);
    }
    let mut seen = Vec::new();
    if let Some(age) = age {
        seen.push(format!("The sign-in was started {age} s ago, and its cookie did not come back."));
    }
    if *visit.method == Method::POST {
        seen.push(
            "The provider posts its answer; this page posted it once more from this site, without effect.".into(),
        );
    }
    match context.cookies.count(visit.headers) {
        (0, _) => {
            seen.push(NO_COOKIE.into());
            refusal(Reason::CookiesNotKept, seen, &cookies)
        }
        (_, 0) => {
            seen.push("Other cookies came with this request, and none of a sign-in here.".into());
            refusal(Reason::AttemptUnknown, seen, &cookies)
        }
        _ => {
            seen.push("Cookies of the gateway came with this request, and not that of this sign-in.".into());
            refusal(Reason::AttemptUnknown, seen, &cookies)
        }
    }
}

/// The `state` is none that a gateway makes.
pub fn not_ours(context: &Context, visit: &Visit<'_>) -> Refusal {
    let cookies = context.cookies.sizes(visit.headers);
    let seen = vec!["The `state` is not one that this gateway makes: something else began the sign-in.".to_owned()];
    let mut refusal = refusal(Reason::AttemptUnknown, seen, &cookies);
    refusal.failure = refusal.failure.remedied(
        "Start at the front page. An admin looks who else sends people to this redirect URI: a portal of the provider, or \
         another product with the same registration.",
    );
    refusal
}

/// The cookie of the attempt does not open.
pub fn sealed(error: OpenError) -> Failure {
    let reason = match error {
        OpenError::UnknownKey => Reason::AttemptKeyUnknown,
        OpenError::Malformed | OpenError::Forged => Reason::AttemptUnknown,
    };
    Failure::new(reason, format!("the cookie of that attempt: {error}"))
}

fn refusal(reason: Reason, seen: Vec<String>, cookies: &str) -> Refusal {
    let mut told: Vec<_> = seen.iter().map(|sentence| sentence.trim_end_matches('.')).collect();
    if !seen.iter().any(|sentence| sentence == NO_COOKIE) {
        told.push(cookies);
    }
    let detail = told.join("; ");
    Refusal { seen: seen.into(), ..Failure::new(reason, detail).into() }
}

/// Whether `state` could be one that a gateway made: time, a few letters, a dot, and 256 random bits. That it was made here
/// cannot be told without its cookie.
fn is_of_our_form(state: &str) -> bool {
    let Some((id, random)) = state.split_once('.') else { return false };
    let (time, tail) = id.split_at_checked(TIME_DIGITS).unwrap_or_default();
    let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    time.bytes().all(hex)
        && (1..=8).contains(&tail.len())
        && random.len() == 43
        && random.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

/// How long ago the attempt `id` was made, as it says itself.
fn age_of(id: &str, visit: &Visit<'_>) -> Option<u64> {
    let micros = u64::from_str_radix(id.get(..TIME_DIGITS)?, 16).ok()?;
    // Of the last thirty years: what is older is no time.
    visit.seconds().checked_sub(micros / 1_000_000).filter(|age| *age < 1_000_000_000)
}

/// An address without the slash at its end.
pub fn shown(url: &url::Url) -> &str {
    url.as_str().trim_end_matches('/')
}
