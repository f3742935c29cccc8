//! The members of an introspection response (RFC 7662 §2.2), in their types.

use serde_json::{Map, Value};

use crate::identity::strings;
use crate::jwt::Texts;
use crate::jwt::token::MAX_TIME;

/// What is said of an active token, but for the claims that only an entry's settings name.
pub struct Said<'c> {
    pub issuer: Option<&'c str>,
    pub subject: Option<&'c str>,
    pub token_id: Option<&'c str>,
    pub token_type: Option<&'c str>,
    /// What some issuers say it is for.
    pub token_use: Option<&'c str>,
    pub typ: Option<&'c str>,
    /// Whether there is a `cnf` (RFC 8705 §3.2, RFC 9449 §6.2).
    pub bound: bool,
    pub audiences: Texts,
    pub scopes: Texts,
    pub expires_at: Option<u64>,
    /// The later of `nbf` and `iat`.
    pub not_before: Option<u64>,
}

impl<'c> Said<'c> {
    /// Fails where a member is there in another type, and says which: the issuer's fault and never the token's.
    pub fn read(claims: &'c Map<String, Value>) -> Result<Said<'c>, String> {
        let scopes = [list(claims, "scope")?, list(claims, "scp")?].concat();
        let scopes = scopes.iter().flat_map(|all| all.split(' ')).filter(|scope| !scope.is_empty());
        Ok(Said {
            issuer: text(claims, "iss")?,
            subject: text(claims, "sub")?,
            token_id: text(claims, "jti")?,
            token_type: text(claims, "token_type")?,
            token_use: text(claims, "token_use")?,
            typ: text(claims, "typ")?,
            bound: claims.get("cnf").is_some_and(|cnf| !cnf.is_null()),
            audiences: plain("aud", list(claims, "aud")?.iter().map(String::as_str))?,
            scopes: plain("scope", scopes)?,
            expires_at: time(claims, "exp")?,
            not_before: time(claims, "nbf")?.max(time(claims, "iat")?),
        })
    }
}

fn text<'c>(claims: &'c Map<String, Value>, name: &str) -> Result<Option<&'c str>, String> {
    match claims.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(format!("`{name}` is no text")),
    }
}

fn time(claims: &Map<String, Value>, name: &str) -> Result<Option<u64>, String> {
    match claims.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(time) => match time.as_u64().filter(|seconds| *seconds <= MAX_TIME) {
            Some(seconds) => Ok(Some(seconds)),
            None => Err(format!("`{name}` is no time in whole seconds")),
        },
    }
}

fn list(claims: &Map<String, Value>, name: &str) -> Result<Vec<String>, String> {
    match claims.get(name) {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(value @ Value::String(_)) => Ok(strings(value)),
        Some(value @ Value::Array(items)) if items.iter().all(Value::is_string) => Ok(strings(value)),
        Some(_) => Err(format!("`{name}` is neither a text nor a list of texts")),
    }
}

fn plain<'t>(name: &str, texts: impl Iterator<Item = &'t str>) -> Result<Texts, String> {
    Texts::of(texts).ok_or_else(|| format!("`{name}` holds a text with a control character"))
}
