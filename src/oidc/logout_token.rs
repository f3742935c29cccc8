//! Verifying a logout token (OpenID Connect Back-Channel Logout 1.0 §2.6).
//!
//! The order: what is encrypted is opened; whose token it says it is, for nothing but finding the keys; header and signature, as [`signed`] checks them;
//! the claims; and last whether it was used before, so that nobody but the provider can use up what is remembered.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use serde_json::{Map, Value};

use super::Providers;
use super::attempt::unix_seconds;
use super::provider::Provider;
use super::signed::{self, Fault, MAX_SESSION, MAX_SUBJECT};
use super::tenants;
use crate::jwe;
use crate::reason::{Failure, Reason};
use crate::words::in_words;

/// `typ` of a logout token. Most providers write `JWT` or nothing.
const TYPES: [&str; 2] = ["logout+jwt", "jwt"];
/// The member of `events` that makes a token a logout token.
const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";
/// How old a token may be. It is sent at once.
const MAX_AGE: Duration = Duration::from_secs(300);
/// Encrypted tokens that are opened at once, in vain or not.
pub(super) const DECRYPTIONS: usize = 2;
/// How long one waits for its turn.
const MAX_WAIT: Duration = Duration::from_secs(1);
/// Characters of `jti`.
const MAX_ID: usize = 1024;

/// What a logout token ends.
#[derive(Clone, Debug, PartialEq)]
pub struct Logout {
    /// Names of the providers that it is from: several where some are the same client of one issuer.
    pub providers: Vec<String>,
    pub sessions: LoggedOut,
}

/// Which sessions of a provider.
#[derive(Clone, Debug, PartialEq)]
pub enum LoggedOut {
    /// The one of that `sid`, and whose it is where the token says so.
    Session { session: String, subject: Option<String> },
    /// All of that `sub`.
    Subject(String),
}

/// What a token has to say.
pub(super) struct Expected<'a> {
    pub issuer: &'a str,
    /// Whose people may come, where the issuer is for several tenants.
    pub tenants: &'a [String],
    pub client_id: &'a str,
    pub trusted_audiences: &'a [String],
    pub leeway: Duration,
    pub now: SystemTime,
}

/// The claims of a token that passed every check but the last.
#[derive(Debug)]
pub(super) struct Verified {
    pub issuer: String,
    pub id: String,
    /// From when on the token is too old by itself, in seconds since 1970.
    pub used_up_at: u64,
    pub sessions: LoggedOut,
}

impl Providers {
    /// What the logout token `token` ends. [`Reason::LogoutToken`] says what is wrong with it,
    /// [`Reason::LogoutTokenReplayed`] that it was here before, and [`Reason::ProviderNotReady`] that it may come again.
    pub async fn logout(&self, token: &str, now: SystemTime) -> Result<Logout, Failure> {
        let token = &*self.decrypted(token).await?;
        let mut failure = None;
        let mut found: Option<(Vec<String>, Verified)> = None;
        for provider in self.iter() {
            match provider.logout_token(token, now).await {
                Ok(Some(verified)) => {
                    let (names, _) = found.get_or_insert_with(|| (Vec::new(), verified));
                    names.push(provider.name().to_owned());
                }
                Ok(None) => {}
                Err(why) => failure = failure.or(Some(why)),
            }
        }
        match found {
            Some((providers, verified)) => {
                if !self.used_tokens.once([&verified.issuer, &verified.id], verified.used_up_at, unix_seconds(now)) {
                    return Err(Failure::new(Reason::LogoutTokenReplayed, format!("`jti` {}", in_words(&verified.id))));
                }
                Ok(Logout { providers, sessions: verified.sessions })
            }
            None => Err(failure.unwrap_or_else(|| refused(Fault::form("its `iss` is of no configured provider")))),
        }
    }

    /// `token` as it is, or what is inside where one of the providers' keys opens it: no key of another provider does, and
    /// whose token it is says the one inside. Anybody may send what looks encrypted, and to try keys is work: few do at once.
    async fn decrypted<'t>(&self, token: &'t str) -> Result<Cow<'t, str>, Failure> {
        if !jwe::is_encrypted(token) {
            return Ok(Cow::Borrowed(token));
        }
        let turn = tokio::time::timeout(MAX_WAIT, self.decryptions.acquire()).await;
        let Ok(Ok(_turn)) = turn else { return Err(Reason::TooManyLogoutTokens.into()) };
        let mut failure = None;
        for provider in self.iter() {
            match provider.decrypted(token) {
                Ok(token) => return Ok(token),
                Err(why) => failure = failure.filter(|_| provider.decryption.is_none()).or(Some(why)),
            }
        }
        let detail = failure.map_or_else(|| "there is no provider".to_owned(), |failure| failure.detail);
        Err(Failure::new(Reason::LogoutToken, detail))
    }
}

impl Provider {
    /// `None` where the token is of another issuer, which is how many can share one address.
    async fn logout_token(&self, token: &str, now: SystemTime) -> Result<Option<Verified>, Failure> {
        let said = signed::unverified_claims(token).map_err(refused)?;
        let issuer = signed::text(&said, "iss").map_err(refused)?;
        let issuer = issuer.ok_or_else(|| refused(Fault::form("no `iss`")))?;
        if !self.is_issuer(issuer) {
            return Ok(None);
        }
        let snapshot = self.ready()?;
        let verify = |keys: &_| signed::verify(token, keys, &self.settings.id_token_algorithms, &TYPES);
        let signed = self.with_keys(&snapshot, verify, Fault::is_of_keys).await.map_err(refused)?;
        let expected = Expected {
            issuer: &snapshot.metadata.issuer,
            tenants: &self.settings.tenants,
            client_id: &self.settings.client_id,
            trusted_audiences: &self.settings.trusted_audiences,
            leeway: self.settings.leeway.0,
            now,
        };
        check(&signed.claims, &expected).map(Some).map_err(refused)
    }
}

fn refused(fault: Fault) -> Failure {
    Failure::new(Reason::LogoutToken, fault.into_detail())
}

/// The claims of a token whose signature was verified.
pub(super) fn check(claims: &Map<String, Value>, expected: &Expected<'_>) -> Result<Verified, Fault> {
    let fault = |why: String| Err(Fault::Form(why));
    let issuer = needed(claims, "iss")?;
    if !tenants::is_called(expected.issuer, issuer) {
        return fault(format!("expected `iss` `{}`, got {}", expected.issuer, in_words(issuer)));
    }
    tenants::check_logout(expected.issuer, issuer, claims, expected.tenants)?;
    check_audience(claims, expected)?;
    let used_up_at = check_times(claims, expected)?;
    match claims.get("events").and_then(|events| events.get(EVENT)) {
        Some(Value::Object(_)) => {}
        Some(_) => return fault(format!("`events` has `{EVENT}`, which is no object")),
        None => return fault(format!("no `events` with `{EVENT}`: it is another kind of token")),
    }
    // What has one can be an ID token (§2.4).
    if claims.contains_key("nonce") {
        return fault("it has a `nonce`, as ID tokens have".into());
    }
    let subject = limited(claims, "sub", |text| text.chars().count() <= MAX_SUBJECT)?;
    let session = limited(claims, "sid", |text| text.len() <= MAX_SESSION)?;
    let sessions = match (session, subject) {
        (Some(session), subject) => LoggedOut::Session { session, subject },
        (None, Some(subject)) => LoggedOut::Subject(subject),
        (None, None) => return fault("neither `sub` nor `sid`".into()),
    };
    let Some(id) = limited(claims, "jti", |text| text.chars().count() <= MAX_ID)? else {
        return fault("no `jti`".into());
    };
    Ok(Verified { issuer: issuer.to_owned(), id, used_up_at, sessions })
}

fn needed<'m>(claims: &'m Map<String, Value>, name: &str) -> Result<&'m str, Fault> {
    signed::text(claims, name)?.ok_or_else(|| Fault::form(format!("no `{name}`")))
}

/// A text that may be absent, but where it is there is not empty and of a length that `fits`.
fn limited(claims: &Map<String, Value>, name: &str, fits: impl Fn(&str) -> bool) -> Result<Option<String>, Fault> {
    match signed::text(claims, name)? {
        Some(text) if text.is_empty() || !fits(text) => Err(Fault::form(format!("`{name}` is empty or too long"))),
        text => Ok(text.map(str::to_owned)),
    }
}

/// As for ID tokens, without `azp`, which logout tokens do not have.
fn check_audience(claims: &Map<String, Value>, expected: &Expected<'_>) -> Result<(), Fault> {
    let audiences = signed::audiences(claims)?;
    if !audiences.contains(&expected.client_id) {
        let got = in_words(&audiences.join(", "));
        return Err(Fault::form(format!("expected `aud` `{}`, got {got}", expected.client_id)));
    }
    let known = |audience: &&&str| {
        **audience != expected.client_id && !expected.trusted_audiences.iter().any(|trusted| trusted == **audience)
    };
    match audiences.iter().find(known) {
        Some(stranger) => Err(Fault::form(format!("{} is not among `trusted_audiences`", in_words(stranger)))),
        None => Ok(()),
    }
}

/// `iat`, `exp` and `nbf`. Returns when the token will be too old.
fn check_times(claims: &Map<String, Value>, expected: &Expected<'_>) -> Result<u64, Fault> {
    let (now, leeway) = (unix_seconds(expected.now), expected.leeway.as_secs());
    let outside = |why: String| Err(Fault::Form(format!("{why}; the leeway is {leeway} s")));
    let issued = signed::time(claims, "iat")?.ok_or_else(|| Fault::form("no `iat`"))?;
    if issued > now.saturating_add(leeway) {
        return outside(format!("`iat` is {} s ahead", issued - now));
    }
    let too_old_at = issued.saturating_add(MAX_AGE.as_secs()).saturating_add(leeway);
    if now > too_old_at {
        return outside(format!("`iat` is {} s past, more than {}", now - issued, MAX_AGE.as_secs()));
    }
    match signed::time(claims, "exp")? {
        Some(end) if now >= end.saturating_add(leeway) => return outside(format!("`exp` is {} s past", now - end)),
        _ => {}
    }
    match signed::time(claims, "nbf")? {
        Some(begin) if begin > now.saturating_add(leeway) => outside(format!("`nbf` is {} s ahead", begin - now)),
        _ => Ok(too_old_at + 1),
    }
}
