//! Verifying an ID token (OpenID Connect Core §3.1.3.7).
//!
//! The order: header and signature, as [`signed`] checks them, and only then the claims. openidconnect's own verifier is
//! not used: it refuses a whole token for one standard claim of an odd type (`email_verified: "true"`), does not look at
//! `azp` and `nbf`, and tells its reasons as prose.

use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest;
use serde_json::{Map, Value};

use super::attempt::unix_seconds;
use super::signed::{self, Fault, MAX_SESSION, MAX_SUBJECT, MAX_TIME, Signed};
use super::tenants;
use crate::config::model::{Preset, TokenAlgorithm};
use crate::identity::{Authentication, NonceDigest};
use crate::issuer_metadata::difference;
use crate::jwt::KeySet;
use crate::reason::{Failure, Reason};
use crate::words::in_words;

/// `typ` of an ID token. An access token or a logout token of the same provider is none (RFC 8725 §3.11).
const TYPES: [&str; 4] = ["jwt", "jose", "id_token+jwt", "id+jwt"];

/// What a token has to say.
pub(super) struct Expected<'a> {
    pub preset: Preset,
    pub issuer: &'a str,
    /// Whose people may come, where the issuer is for several tenants.
    pub tenants: &'a [String],
    /// The Google Workspace whose people may come, where that is said.
    pub hosted_domain: Option<&'a str>,
    pub client_id: &'a str,
    pub trusted_audiences: &'a [String],
    pub algorithms: &'a [TokenAlgorithm],
    /// `None` at a refresh, whose tokens need none: see [`check_renewed`].
    pub nonce: Option<&'a str>,
    /// For `at_hash`; `None` where the token came without one.
    pub access_token: Option<&'a str>,
    /// The code that came along through the browser: `c_hash` has to be there, and right (Core §3.3.2.11).
    pub code: Option<&'a str>,
    /// By how many seconds the provider's clock is ahead of ours by the `Date` of its answer, where there was one.
    pub clock: Option<i64>,
    pub leeway: Duration,
    pub now: SystemTime,
}

/// The claims of a token that passed every check.
#[derive(Clone, Debug)]
pub(super) struct VerifiedIdToken {
    /// The signed token in compact form: as it came, or as it was inside where it came encrypted.
    pub token: String,
    pub subject: String,
    /// Unix seconds.
    pub issued_at: u64,
    /// Unix seconds.
    pub expires_at: u64,
    pub claims: Map<String, Value>,
}

impl VerifiedIdToken {
    pub fn nonce(&self) -> Option<NonceDigest> {
        self.claims.get("nonce").and_then(Value::as_str).map(nonce_digest)
    }

    /// How and when the person authenticated. What is of another type is as good as absent here: where it is asked for,
    /// [`check_authentication`] refuses it.
    pub fn authentication(&self) -> Authentication {
        let text = |name: &str| {
            let text = self.claims.get(name).and_then(Value::as_str);
            text.filter(|text| (1..=MAX_SESSION).contains(&text.len())).map(str::to_owned)
        };
        let at = self.claims.get("auth_time").and_then(Value::as_f64);
        Authentication {
            provider_session: text("sid"),
            context: text("acr"),
            at: at.filter(|at| (1.0..MAX_TIME as f64).contains(at)).map(|at| at as u64),
        }
    }
}

/// What is kept of a `nonce` for as long as its session is renewed.
fn nonce_digest(nonce: &str) -> NonceDigest {
    let whole = digest::digest(&digest::SHA256, nonce.as_bytes());
    // It is longer than that by far.
    whole.as_ref().first_chunk().copied().unwrap_or_default()
}

/// Whether a renewed token is of the sign-in that it renews: its `nonce` is that of the sign-in, and so is its `auth_time`;
/// each need not be there (Core §12.2). What is not known of the sign-in is not compared. `later` is for providers that
/// tell when the person last authenticated anywhere.
pub(super) fn check_renewed(
    claims: &Map<String, Value>,
    nonce: Option<NonceDigest>,
    authenticated_at: Option<u64>,
    later: bool,
) -> Result<(), Failure> {
    let wrong = |detail: String| Err(Failure::new(Reason::RefreshRefused, detail));
    let said = |name: &str| claims.get(name).filter(|value| !value.is_null());
    if let (Some(got), Some(nonce)) = (said("nonce"), nonce)
        && got.as_str().map(nonce_digest) != Some(nonce)
    {
        return wrong("the renewed ID token has the `nonce` of another sign-in".into());
    }
    let (Some(got), Some(at)) = (said("auth_time"), authenticated_at) else { return Ok(()) };
    match got.as_f64() {
        Some(got) if got.floor() == at as f64 || later && got > at as f64 => Ok(()),
        Some(got) => wrong(format!("expected `auth_time` {at} of the sign-in in the renewed ID token, got {got:.0}")),
        None => wrong("`auth_time` of the renewed ID token is no number".into()),
    }
}

/// Verifies the compact form `token`; the [`Failure`] says which check failed, with expected and got.
pub(super) fn verify(token: &str, keys: &KeySet, expected: &Expected<'_>) -> Result<VerifiedIdToken, Failure> {
    let Signed { algorithm, claims } = signed::verify(token, keys, expected.algorithms, &TYPES).map_err(of_fault)?;
    check_issuer(&claims, expected)?;
    check_audience(&claims, expected)?;
    let (issued_at, expires_at) = check_times(&claims, expected)?;
    check_nonce(&claims, expected)?;
    check_hashes(&claims, algorithm, expected)?;
    let subject = text(&claims, "sub")?.ok_or_else(|| form("no `sub`"))?;
    if subject.is_empty() || subject.chars().count() > MAX_SUBJECT {
        return Err(form("`sub` is empty or too long"));
    }
    let (token, subject) = (token.to_owned(), subject.to_owned());
    Ok(VerifiedIdToken { token, subject, issued_at, expires_at, claims })
}

fn check_issuer(claims: &Map<String, Value>, expected: &Expected<'_>) -> Result<(), Failure> {
    let issuer = text(claims, "iss")?.ok_or_else(|| form("no `iss`"))?;
    if tenants::is_token_issuer(expected.issuer, issuer) {
        tenants::check(expected.issuer, issuer, claims, expected.tenants)?;
        return expected.hosted_domain.map_or(Ok(()), |domain| tenants::check_hosted_domain(domain, claims));
    }
    let differs = difference(expected.issuer, issuer).map(|how| format!("; {how}")).unwrap_or_default();
    let detail = format!("expected `{}`, got {}{differs}", expected.issuer, in_words(issuer));
    let remedy = tenants::how_to_change_version(expected.preset, issuer);
    Err(Failure::new(Reason::IdTokenIssuer, detail).remedied_by(remedy))
}

/// Core §3.1.3.7, steps 3 to 5.
fn check_audience(claims: &Map<String, Value>, expected: &Expected<'_>) -> Result<(), Failure> {
    let audiences = signed::audiences(claims).map_err(of_fault)?;
    let wrong = |detail: String| Err(Failure::new(Reason::IdTokenAudience, detail));
    if !audiences.contains(&expected.client_id) {
        return wrong(format!("expected `{}`, got {}", expected.client_id, in_words(&audiences.join(", "))));
    }
    let mut others = audiences.iter().filter(|audience| **audience != expected.client_id).peekable();
    let several = others.peek().is_some();
    if let Some(stranger) = others.find(|other| !expected.trusted_audiences.iter().any(|trusted| trusted == *other)) {
        return wrong(format!("{} is not among `trusted_audiences`", in_words(stranger)));
    }
    match text(claims, "azp")? {
        Some(party) if party != expected.client_id => {
            wrong(format!("expected `azp` `{}`, got {}", expected.client_id, in_words(party)))
        }
        None if several => wrong("several audiences, and no `azp` says for whom it is".into()),
        _ => Ok(()),
    }
}

/// `exp`, `iat` and `nbf` (RFC 7519 §4.1). Returns `iat` and `exp`.
fn check_times(claims: &Map<String, Value>, expected: &Expected<'_>) -> Result<(u64, u64), Failure> {
    let now = unix_seconds(expected.now);
    let leeway = expected.leeway.as_secs();
    let expires = time(claims, "exp")?.ok_or_else(|| form("no `exp`"))?;
    let issued = time(claims, "iat")?.ok_or_else(|| form("no `iat`"))?;
    let dated =
        expected.clock.map(|ahead| format!("; by the `Date` of its answer {}", apart(ahead))).unwrap_or_default();
    let outside = |why: String, ahead: Option<i64>| {
        let failure = Failure::new(Reason::IdTokenExpired, format!("{why}{dated}; the leeway is {leeway} s"));
        let told =
            ahead.map(|ahead| format!("Set the clocks of the gateway's and the provider's hosts: {}.", apart(ahead)));
        Err(failure.remedied_by(told))
    };
    let seconds = |seconds: u64| i64::try_from(seconds).unwrap_or(i64::MAX);
    if issued > now.saturating_add(leeway) {
        let ahead = issued - now;
        return outside(format!("`iat` is {ahead} s ahead: {}", apart(seconds(ahead))), Some(seconds(ahead)));
    }
    if now >= expires.saturating_add(leeway) {
        // A token comes fresh from the provider, so its age is how far the clocks are apart, unless its `Date` says
        // otherwise: then it was old when it was sent.
        let (past, age) = (now - expires, now.saturating_sub(issued));
        if expected.clock.is_some_and(|ahead| ahead.unsigned_abs() <= leeway.max(5)) {
            let why =
                format!("`exp` is {past} s past, `iat` {age} s, and the clocks agree: the token was old when it came");
            // The clocks are right, so nothing about them would help.
            return outside(why, None).map_err(|failure| {
                failure.remedied("Sign in again; where it recurs, look why the provider, or what stands before it, hands out old tokens.")
            });
        }
        let why = format!("`exp` is {past} s past, `iat` {age} s: {}", apart(-seconds(age)));
        return outside(why, Some(-seconds(age)));
    }
    match time(claims, "nbf")? {
        Some(begin) if begin > now.saturating_add(leeway) => {
            let ahead = begin - now;
            outside(format!("`nbf` is {ahead} s ahead: {}", apart(seconds(ahead))), Some(seconds(ahead)))
        }
        _ => Ok((issued, expires)),
    }
}

/// How far the provider's clock is ahead of ours, in words.
fn apart(ahead: i64) -> String {
    match ahead {
        0 => "the provider's clock and ours agree".into(),
        1.. => format!("the provider's clock is {ahead} s ahead of ours"),
        _ => format!("the provider's clock is {} s behind ours", ahead.unsigned_abs()),
    }
}

fn check_nonce(claims: &Map<String, Value>, expected: &Expected<'_>) -> Result<(), Failure> {
    let Some(nonce) = expected.nonce else { return Ok(()) };
    let detail = match claims.get("nonce") {
        Some(Value::String(got)) if got == nonce => return Ok(()),
        Some(_) => "the `nonce` is another one",
        None => "it has no `nonce`",
    };
    Err(Failure::new(Reason::IdTokenNonce, detail))
}

/// `at_hash` where it is present (Core §3.1.3.8), and `c_hash` where a code came along: left halves of hashes.
fn check_hashes(
    claims: &Map<String, Value>,
    algorithm: TokenAlgorithm,
    expected: &Expected<'_>,
) -> Result<(), Failure> {
    let wrong = |detail: &str| Err(Failure::new(Reason::IdTokenHash, detail));
    if let (Some(got), Some(access_token)) = (text(claims, "at_hash")?, expected.access_token)
        && got != left_half(algorithm, access_token)
    {
        return wrong("`at_hash` is not of the access token that came along");
    }
    match (text(claims, "c_hash")?, expected.code) {
        (_, None) => Ok(()),
        (Some(got), Some(code)) if got == left_half(algorithm, code) => Ok(()),
        (Some(_), Some(_)) => wrong("`c_hash` is not of the code that came along"),
        (None, Some(_)) => wrong("a code came along, and there is no `c_hash`"),
    }
}

/// The left half of the hash that goes with a signature's algorithm.
fn left_half(algorithm: TokenAlgorithm, text: &str) -> String {
    use TokenAlgorithm::*;
    let hash = match algorithm {
        RS256 | PS256 | ES256 | HS256 => &digest::SHA256,
        RS384 | PS384 | ES384 | HS384 => &digest::SHA384,
        // Ed25519 hashes with SHA-512 (RFC 8032 §5.1).
        RS512 | PS512 | ES512 | HS512 | EdDSA => &digest::SHA512,
    };
    let whole = digest::digest(hash, text.as_bytes());
    URL_SAFE_NO_PAD.encode(&whole.as_ref()[..whole.as_ref().len() / 2])
}

/// `acr` and `auth_time`, where they were asked for (Core §3.1.3.7, steps 12 and 13). Not among the checks of every token:
/// of the two of a hybrid sign-in only the last one has to show it.
pub(super) fn check_authentication(
    claims: &Map<String, Value>,
    acr_values: &[String],
    max_age: Option<Duration>,
    leeway: Duration,
    now: SystemTime,
) -> Result<(), Failure> {
    let wrong = |detail: String| Err(Failure::new(Reason::IdTokenAuthentication, detail));
    if !acr_values.is_empty() {
        let wanted = acr_values.join(", ");
        match claims.get("acr") {
            Some(Value::String(acr)) if acr_values.contains(acr) => {}
            Some(Value::String(acr)) => return wrong(format!("expected `acr` of {wanted}, got {}", in_words(acr))),
            _ => return wrong(format!("expected `acr` of {wanted}, got none")),
        }
    }
    let Some(max_age) = max_age else { return Ok(()) };
    // One certified provider sends fractions here; where `max_age` was not asked, it may be anything.
    let Some(time) = claims.get("auth_time").and_then(Value::as_f64).filter(|time| *time >= 0.0) else {
        return wrong("`max_age` was asked for, and there is no `auth_time`".into());
    };
    let age = unix_seconds(now) as f64 - time;
    if age < -leeway.as_secs_f64() {
        return wrong(format!("`auth_time` is {:.0} s ahead of the gateway's clock", -age));
    }
    if age > (max_age + leeway).as_secs_f64() {
        return wrong(format!("`auth_time` is {age:.0} s past, more than `max_age` {} s", max_age.as_secs()));
    }
    Ok(())
}

fn text<'m>(members: &'m Map<String, Value>, name: &str) -> Result<Option<&'m str>, Failure> {
    signed::text(members, name).map_err(of_fault)
}

fn time(members: &Map<String, Value>, name: &str) -> Result<Option<u64>, Failure> {
    signed::time(members, name).map_err(of_fault)
}

fn of_fault(fault: Fault) -> Failure {
    let remedy = fault.remedy();
    let reason = match &fault {
        Fault::Form(_) => Reason::IdTokenForm,
        Fault::Algorithm(..) => Reason::IdTokenAlgorithm,
        Fault::Key(_) => Reason::IdTokenKey,
        Fault::Signature(_) => Reason::IdTokenSignature,
    };
    Failure::new(reason, fault.into_detail()).remedied_by(remedy)
}

fn form(why: impl Into<String>) -> Failure {
    Failure::new(Reason::IdTokenForm, why)
}
