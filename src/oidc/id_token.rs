//! Verifying an ID token (OpenID Connect Core §3.1.3.7).
//!
//! The order: bounds before any parsing, the header, the algorithm against the allow list, the signature with the
//! provider's own key, and only then the claims. openidconnect's own verifier is not used: it refuses a whole token for
//! one standard claim of an odd type (`email_verified: "true"`), does not look at `azp` and `nbf`, and tells its reasons
//! as prose.
//!
//! A member that is there twice in the header or at the top of the claims is refused, because two parsers may take
//! different ones (RFC 7519 §4); inside a claim's value the last one counts.

use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest;
use serde_json::{Map, Value};

use super::attempt::unix_seconds;
use crate::claims::{Members, TWICE};
use crate::config::model::TokenAlgorithm;
use crate::identity::Authentication;
use crate::jwt::{KeySet, token};
use crate::reason::{Failure, Reason};
use crate::words::{in_words, json_fault};

/// Bytes of a whole token. Four hundred groups make about 20 kB.
const MAX_TOKEN: usize = 512 * 1024;
/// Bytes of the encoded header.
const MAX_HEADER: usize = 4 * 1024;
/// Characters of `sub`; OpenID Connect Core §2 allows 255.
const MAX_SUBJECT: usize = 1024;
/// Bytes of `sid` and `acr`; a longer one is nobody's.
const MAX_SESSION: usize = 512;
/// The year 9999: a time beyond it is no time.
const MAX_TIME: u64 = 253_402_300_799;

/// What a token has to say.
pub(super) struct Expected<'a> {
    pub issuer: &'a str,
    pub client_id: &'a str,
    pub trusted_audiences: &'a [String],
    pub algorithms: &'a [TokenAlgorithm],
    /// `None` at a refresh, whose tokens need none (Core §12.2).
    pub nonce: Option<&'a str>,
    /// For `at_hash`.
    pub access_token: &'a str,
    pub max_age: Option<Duration>,
    pub acr_values: &'a [String],
    pub leeway: Duration,
    pub now: SystemTime,
}

/// The claims of a token that passed every check.
#[derive(Clone, Debug)]
pub(super) struct VerifiedIdToken {
    pub subject: String,
    /// Unix seconds.
    pub expires_at: u64,
    pub claims: Map<String, Value>,
}

impl VerifiedIdToken {
    /// How and when the person authenticated. What is of another type is as good as absent here: where it is asked for,
    /// [`verify`] has refused it.
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

/// Verifies the compact form `token`; the [`Failure`] says which check failed, with expected and got.
pub(super) fn verify(token: &str, keys: &KeySet, expected: &Expected<'_>) -> Result<VerifiedIdToken, Failure> {
    let parts = Parts::split(token)?;
    let header = Header::read(&parts, expected.algorithms)?;
    let signature = decode(parts.signature, "signature")?;
    check_signature(&parts, &header, &signature, keys)?;
    let claims = object(&decode(parts.claims, "claims")?, "claims")?;
    check_issuer(&claims, expected)?;
    check_audience(&claims, expected)?;
    let expires_at = check_times(&claims, expected)?;
    check_nonce(&claims, expected)?;
    check_access_token(&claims, header.algorithm, expected)?;
    check_authentication(&claims, expected)?;
    let subject = text(&claims, "sub")?.ok_or_else(|| form("no `sub`"))?;
    if subject.is_empty() || subject.chars().count() > MAX_SUBJECT {
        return Err(form("`sub` is empty or too long"));
    }
    Ok(VerifiedIdToken { subject: subject.to_owned(), expires_at, claims })
}

struct Parts<'t> {
    /// Header and claims, as they were signed (RFC 7515 §5.2).
    signed: &'t str,
    header: &'t str,
    claims: &'t str,
    signature: &'t str,
}

impl<'t> Parts<'t> {
    fn split(token: &'t str) -> Result<Self, Failure> {
        if token.len() > MAX_TOKEN {
            return Err(form(format!("it has {} bytes, more than {MAX_TOKEN}", token.len())));
        }
        match token.bytes().filter(|b| *b == b'.').count() {
            2 => {}
            4 => return Err(form("it is encrypted (a JWE)")),
            dots => return Err(form(format!("it has {dots} dots; a signed JWT has two"))),
        }
        let malformed = || form("it has not three parts");
        let (signed, signature) = token.rsplit_once('.').ok_or_else(malformed)?;
        let (header, claims) = signed.split_once('.').ok_or_else(malformed)?;
        if header.len() > MAX_HEADER {
            return Err(form(format!("its header has {} bytes, more than {MAX_HEADER}", header.len())));
        }
        Ok(Parts { signed, header, claims, signature })
    }
}

struct Header {
    algorithm: TokenAlgorithm,
    kid: Option<String>,
}

impl Header {
    fn read(parts: &Parts<'_>, allowed: &[TokenAlgorithm]) -> Result<Self, Failure> {
        let header = object(&decode(parts.header, "header")?, "header")?;
        let named = text(&header, "alg")?.ok_or_else(|| form("its header has no `alg`"))?;
        // Not among them: `none` in any case, and the HMAC family, for which a public key would be a secret.
        let Some(algorithm) = token::algorithm(named).filter(|algorithm| allowed.contains(algorithm)) else {
            let detail = format!("expected one of {allowed:?}, got {}", in_words(named));
            return Err(Failure::new(Reason::IdTokenAlgorithm, detail));
        };
        // We understand no extension (RFC 7515 §4.1.11), and `b64: false` comes with one (RFC 7797 §6).
        if header.contains_key("crit") {
            return Err(form("its header has `crit`, an extension that has to be understood"));
        }
        // A token that brings its own key proves nothing; who sends one wants it to be used. `x5c` and `x5t` stand
        // beside a `kid` with honest providers, and are not read.
        if let Some(name) = ["jwk", "jku", "x5u"].into_iter().find(|name| header.contains_key(*name)) {
            return Err(form(format!("its header has `{name}`; keys come from the provider's key set only")));
        }
        // RFC 8725 §3.11: an access token or a logout token of the same provider is not an ID token.
        if let Some(kind) = text(&header, "typ")? {
            let kind = kind.to_ascii_lowercase();
            let kind = kind.strip_prefix("application/").unwrap_or(&kind);
            if !matches!(kind, "jwt" | "jose" | "id_token+jwt" | "id+jwt") {
                return Err(form(format!("its header has `typ` {}", in_words(kind))));
            }
        }
        if header.contains_key("cty") {
            return Err(form("its header has `cty`: it holds another token"));
        }
        Ok(Header { algorithm, kid: text(&header, "kid")?.map(str::to_owned) })
    }
}

fn check_signature(parts: &Parts<'_>, header: &Header, signature: &[u8], keys: &KeySet) -> Result<(), Failure> {
    let verdict = keys.verify(header.kid.as_deref(), header.algorithm, parts.signed.as_bytes(), signature);
    verdict.map(drop).map_err(|failure| match failure.reason {
        Reason::TokenSignature => Failure::new(Reason::IdTokenSignature, failure.detail),
        // The provider's keys are no secret from whoever reads the log, and are what has to be compared.
        _ => Failure::new(Reason::IdTokenKey, format!("{}; there are {}", failure.detail, keys.summary())),
    })
}

fn check_issuer(claims: &Map<String, Value>, expected: &Expected<'_>) -> Result<(), Failure> {
    let issuer = text(claims, "iss")?.ok_or_else(|| form("no `iss`"))?;
    if issuer == expected.issuer {
        return Ok(());
    }
    let detail = format!("expected `{}`, got {}", expected.issuer, in_words(issuer));
    Err(Failure::new(Reason::IdTokenIssuer, detail))
}

/// Core §3.1.3.7, steps 3 to 5.
fn check_audience(claims: &Map<String, Value>, expected: &Expected<'_>) -> Result<(), Failure> {
    let audiences: Vec<&str> = match claims.get("aud") {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(several)) => {
            let texts: Option<Vec<&str>> = several.iter().map(Value::as_str).collect();
            texts.ok_or_else(|| form("`aud` holds what is no text"))?
        }
        _ => return Err(form("`aud` is missing, or neither a text nor a list")),
    };
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

/// `exp`, `iat` and `nbf` (RFC 7519 §4.1). Returns `exp`.
fn check_times(claims: &Map<String, Value>, expected: &Expected<'_>) -> Result<u64, Failure> {
    let now = unix_seconds(expected.now);
    let leeway = expected.leeway.as_secs();
    let expires = time(claims, "exp")?.ok_or_else(|| form("no `exp`"))?;
    let issued = time(claims, "iat")?.ok_or_else(|| form("no `iat`"))?;
    let outside = |why: String| Err(Failure::new(Reason::IdTokenExpired, format!("{why}; the leeway is {leeway} s")));
    if issued > now.saturating_add(leeway) {
        let ahead = issued - now;
        return outside(format!("`iat` is {ahead} s ahead: the provider's clock runs {ahead} s before the gateway's"));
    }
    if now >= expires.saturating_add(leeway) {
        // A token comes fresh from the provider, so its age is how far the clocks are apart.
        let (past, age) = (now - expires, now.saturating_sub(issued));
        return outside(format!(
            "`exp` is {past} s past, `iat` {age} s: the gateway's clock runs before the provider's"
        ));
    }
    match time(claims, "nbf")? {
        Some(begin) if begin > now.saturating_add(leeway) => outside(format!("`nbf` is {} s ahead", begin - now)),
        _ => Ok(expires),
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

/// `at_hash` where it is present (Core §3.1.3.8): the left half of the access token's hash.
fn check_access_token(
    claims: &Map<String, Value>,
    algorithm: TokenAlgorithm,
    expected: &Expected<'_>,
) -> Result<(), Failure> {
    use TokenAlgorithm::*;
    let Some(got) = text(claims, "at_hash")? else { return Ok(()) };
    let hash = match algorithm {
        RS256 | PS256 | ES256 | HS256 => &digest::SHA256,
        RS384 | PS384 | ES384 | HS384 => &digest::SHA384,
        // Ed25519 hashes with SHA-512 (RFC 8032 §5.1).
        RS512 | PS512 | ES512 | HS512 | EdDSA => &digest::SHA512,
    };
    let whole = digest::digest(hash, expected.access_token.as_bytes());
    let half = URL_SAFE_NO_PAD.encode(&whole.as_ref()[..whole.as_ref().len() / 2]);
    if got == half {
        return Ok(());
    }
    Err(Failure::new(Reason::IdTokenHash, "`at_hash` is not of the access token that came along"))
}

/// `acr` and `auth_time`, where they were asked for (Core §3.1.3.7, steps 12 and 13).
fn check_authentication(claims: &Map<String, Value>, expected: &Expected<'_>) -> Result<(), Failure> {
    let wrong = |detail: String| Err(Failure::new(Reason::IdTokenAuthentication, detail));
    if !expected.acr_values.is_empty() {
        let wanted = expected.acr_values.join(", ");
        match claims.get("acr") {
            Some(Value::String(acr)) if expected.acr_values.contains(acr) => {}
            Some(Value::String(acr)) => return wrong(format!("expected `acr` of {wanted}, got {}", in_words(acr))),
            _ => return wrong(format!("expected `acr` of {wanted}, got none")),
        }
    }
    let Some(max_age) = expected.max_age else { return Ok(()) };
    // One certified provider sends fractions here; where `max_age` was not asked, it may be anything.
    let Some(time) = claims.get("auth_time").and_then(Value::as_f64).filter(|time| *time >= 0.0) else {
        return wrong("`max_age` was asked for, and there is no `auth_time`".into());
    };
    let age = unix_seconds(expected.now) as f64 - time;
    if age > (max_age + expected.leeway).as_secs_f64() {
        return wrong(format!("`auth_time` is {age:.0} s past, more than `max_age` {} s", max_age.as_secs()));
    }
    Ok(())
}

/// Base64url without padding (RFC 7515 §2), and nothing else.
fn decode(part: &str, name: &str) -> Result<Vec<u8>, Failure> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| form(format!("its {name} is no base64url")))
}

fn object(json: &[u8], name: &str) -> Result<Map<String, Value>, Failure> {
    // serde_json goes 128 levels deep and no deeper.
    match serde_json::from_slice::<Members>(json) {
        Ok(Members(members)) => Ok(members),
        Err(error) => {
            let why = if error.to_string().starts_with(TWICE) { TWICE } else { json_fault(&error) };
            Err(form(format!("its {name} are no JSON object of single members ({why} of line {})", error.line())))
        }
    }
}

fn text<'m>(members: &'m Map<String, Value>, name: &str) -> Result<Option<&'m str>, Failure> {
    match members.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(form(format!("`{name}` is no text"))),
    }
}

/// Whole seconds. A text, null, a fraction or `1e300` is a parser's trap and no time.
fn time(members: &Map<String, Value>, name: &str) -> Result<Option<u64>, Failure> {
    match members.get(name) {
        None => Ok(None),
        Some(value) => match value.as_u64().filter(|seconds| *seconds <= MAX_TIME) {
            Some(seconds) => Ok(Some(seconds)),
            None => Err(form(format!("`{name}` is no time in whole seconds"))),
        },
    }
}

fn form(why: impl Into<String>) -> Failure {
    Failure::new(Reason::IdTokenForm, why)
}
