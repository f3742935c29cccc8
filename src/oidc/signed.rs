//! A signed token of the provider in compact form (RFC 7515 §7.1): its header, its algorithm, its signature.
//!
//! The order: bounds before any parsing, the header, the algorithm against the allow list, the signature with the
//! provider's own key. What the claims say is the next room's matter: `id_token`, `logout_token`,
//! `userinfo`.
//!
//! A member that is there twice in the header or at the top of the claims is refused, because two parsers may take
//! different ones (RFC 7519 §4); inside a claim's value the last one counts.

use serde_json::{Map, Value};

use super::tenants;
use crate::config::model::TokenAlgorithm;
use crate::jose::{self, Members};
use crate::jwt::{KeySet, token};
use crate::reason::Reason;
use crate::words::in_words;

/// Bytes of a whole token. Four hundred groups make about 20 kB.
pub(super) const MAX_TOKEN: usize = 512 * 1024;
/// Bytes of the encoded header.
const MAX_HEADER: usize = 4 * 1024;
/// The year 9999: a time beyond it is no time.
pub(super) const MAX_TIME: u64 = 253_402_300_799;
/// Characters of `sub`; OpenID Connect Core §2 allows 255.
pub(super) const MAX_SUBJECT: usize = 1024;
/// Bytes of `sid` and `acr`; a longer one is nobody's.
pub(super) const MAX_SESSION: usize = 512;

/// A token whose signature is the provider's.
#[derive(Debug)]
pub(super) struct Signed {
    pub algorithm: TokenAlgorithm,
    pub claims: Map<String, Value>,
}

/// What is wrong with a token, in a sentence part each. Which reason that is depends on what the token is for.
#[derive(Debug, PartialEq)]
pub(super) enum Fault {
    Form(String),
    /// With what to do about it, where that is known.
    Algorithm(String, Option<String>),
    /// There is no such key, or no single one.
    Key(String),
    Signature(String),
}

impl Fault {
    pub fn form(why: impl Into<String>) -> Fault {
        Fault::Form(why.into())
    }

    /// Whether newer keys may put it right.
    pub fn is_of_keys(&self) -> bool {
        matches!(self, Fault::Key(_) | Fault::Signature(_))
    }

    pub fn remedy(&self) -> Option<String> {
        match self {
            Fault::Algorithm(_, remedy) => remedy.clone(),
            _ => None,
        }
    }

    pub fn into_detail(self) -> String {
        let (Fault::Form(why) | Fault::Algorithm(why, _) | Fault::Key(why) | Fault::Signature(why)) = self;
        why
    }
}

/// Verifies header and signature of `token`. `types` are the values of `typ` that are taken, in lower case and without
/// `application/`; a token without one is taken as well.
pub(super) fn verify(token: &str, keys: &KeySet, allowed: &[TokenAlgorithm], types: &[&str]) -> Result<Signed, Fault> {
    let parts = Parts::split(token)?;
    let header = Header::read(&parts, allowed, types)?;
    let signature = decode(parts.signature, "signature")?;
    let key_issuer = check_signature(&parts, &header, &signature, keys)?;
    let claims = object(&decode(parts.claims, "claims")?, "claims")?;
    check_key_issuer(key_issuer, &claims)?;
    Ok(Signed { algorithm: header.algorithm, claims })
}

/// What `token` claims, of which nothing is known to be true: for finding whose keys are to verify it.
pub(super) fn unverified_claims(token: &str) -> Result<Map<String, Value>, Fault> {
    object(&decode(Parts::split(token)?.claims, "claims")?, "claims")
}

struct Parts<'t> {
    /// Header and claims, as they were signed (RFC 7515 §5.2).
    signed: &'t str,
    header: &'t str,
    claims: &'t str,
    signature: &'t str,
}

impl<'t> Parts<'t> {
    fn split(token: &'t str) -> Result<Self, Fault> {
        if token.len() > MAX_TOKEN {
            return Err(Fault::form(format!("it has {} bytes, more than {MAX_TOKEN}", token.len())));
        }
        match token.bytes().filter(|b| *b == b'.').count() {
            2 => {}
            4 => return Err(Fault::form("it is encrypted (a JWE)")),
            dots => return Err(Fault::form(format!("it has {dots} dots; a signed JWT has two"))),
        }
        let malformed = || Fault::form("it has not three parts");
        let (signed, signature) = token.rsplit_once('.').ok_or_else(malformed)?;
        let (header, claims) = signed.split_once('.').ok_or_else(malformed)?;
        if header.len() > MAX_HEADER {
            return Err(Fault::form(format!("its header has {} bytes, more than {MAX_HEADER}", header.len())));
        }
        Ok(Parts { signed, header, claims, signature })
    }
}

struct Header {
    algorithm: TokenAlgorithm,
    kid: Option<String>,
}

impl Header {
    fn read(parts: &Parts<'_>, allowed: &[TokenAlgorithm], types: &[&str]) -> Result<Self, Fault> {
        let header = object(&decode(parts.header, "header")?, "header")?;
        let named = text(&header, "alg")?.ok_or_else(|| Fault::form("its header has no `alg`"))?;
        // Not among them: `none` in any case. The HMAC family is there only where the configuration lists it, and its key
        // is then the client secret alone, so that no public key becomes a secret.
        let Some(algorithm) = token::algorithm(named).filter(|algorithm| allowed.contains(algorithm)) else {
            let detail = format!("expected one of {allowed:?}, got {}", in_words(named));
            return Err(Fault::Algorithm(detail, how_to_accept(named)));
        };
        // We understand no extension (RFC 7515 §4.1.11), and `b64: false` comes with one (RFC 7797 §6).
        if header.contains_key("crit") {
            return Err(Fault::form("its header has `crit`, an extension that has to be understood"));
        }
        // A token that brings its own key proves nothing; who sends one wants it to be used. `x5c` and `x5t` stand
        // beside a `kid` with honest providers, and are not read.
        if let Some(name) = ["jwk", "jku", "x5u"].into_iter().find(|name| header.contains_key(*name)) {
            return Err(Fault::form(format!("its header has `{name}`; keys come from the provider's key set only")));
        }
        // RFC 8725 §3.11: a token of one kind is not one of another kind.
        if let Some(kind) = text(&header, "typ")? {
            let kind = kind.to_ascii_lowercase();
            let kind = kind.strip_prefix("application/").unwrap_or(&kind);
            if !types.contains(&kind) {
                return Err(Fault::form(format!("its header has `typ` {}", in_words(kind))));
            }
        }
        if header.contains_key("cty") {
            return Err(Fault::form("its header has `cty`: it holds another token"));
        }
        Ok(Header { algorithm, kid: text(&header, "kid")?.map(str::to_owned) })
    }
}

/// What to set so that an algorithm is accepted; nothing for one that cannot be.
fn how_to_accept(named: &str) -> Option<String> {
    let algorithm = token::algorithm(named)?;
    Some(match algorithm.is_hmac() {
        true => format!(
            "Set the client's ID token algorithm at the provider to RS256; or, where it has none but {named} (as Lark by \
             setting), set `id_token_algorithms = [\"{named}\"]`, by which the client secret is the key."
        ),
        false => format!(
            "Add \"{named}\" to `id_token_algorithms`, or set the client's ID token algorithm at the provider to one of those."
        ),
    })
}

/// Whose tokens the key is published for, where the set says so.
fn check_signature<'k>(
    parts: &Parts<'_>,
    header: &Header,
    signature: &[u8],
    keys: &'k KeySet,
) -> Result<Option<&'k str>, Fault> {
    let verdict = keys.verify(header.kid.as_deref(), header.algorithm, parts.signed.as_bytes(), signature);
    verdict.map_err(|failure| match failure.reason {
        Reason::TokenSignature => Fault::Signature(failure.detail),
        // The provider's keys are no secret from whoever reads the log, and are what has to be compared.
        _ => Fault::Key(format!("{}; there are {}", failure.detail, keys.summary())),
    })
}

/// Where a set is that of several issuers, another's key is as good as a stranger's.
fn check_key_issuer(key_issuer: Option<&str>, claims: &Map<String, Value>) -> Result<(), Fault> {
    match (key_issuer, text(claims, "iss")?) {
        (Some(key_issuer), Some(iss)) if !tenants::may_sign(key_issuer, iss) => {
            Err(Fault::Key(format!("its key is for issuer {}, not {}", in_words(key_issuer), in_words(iss))))
        }
        _ => Ok(()),
    }
}

fn decode(part: &str, name: &str) -> Result<Vec<u8>, Fault> {
    jose::base64url(part, name).map_err(Fault::Form)
}

fn object(json: &[u8], name: &str) -> Result<Map<String, Value>, Fault> {
    Members::read(json).map_err(|why| Fault::form(format!("its {name} are {why}")))
}

/// The member `name`, which is a text where it is there.
pub(super) fn text<'m>(members: &'m Map<String, Value>, name: &str) -> Result<Option<&'m str>, Fault> {
    match members.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(Fault::form(format!("`{name}` is no text"))),
    }
}

/// `aud`, one or several.
pub(super) fn audiences(claims: &Map<String, Value>) -> Result<Vec<&str>, Fault> {
    match claims.get("aud") {
        Some(Value::String(one)) => Ok(vec![one]),
        Some(Value::Array(several)) => {
            let texts: Option<Vec<&str>> = several.iter().map(Value::as_str).collect();
            texts.ok_or_else(|| Fault::form("`aud` holds what is no text"))
        }
        _ => Err(Fault::form("`aud` is missing, or neither a text nor a list")),
    }
}

/// Whole seconds. A text, null, a fraction or `1e300` is a parser's trap and no time.
pub(super) fn time(members: &Map<String, Value>, name: &str) -> Result<Option<u64>, Fault> {
    match members.get(name) {
        None => Ok(None),
        Some(value) => match value.as_u64().filter(|seconds| *seconds <= MAX_TIME) {
            Some(seconds) => Ok(Some(seconds)),
            None => Err(Fault::form(format!("`{name}` is no time in whole seconds"))),
        },
    }
}
