//! Reading what an issuer says about itself (OpenID Connect Discovery §3, RFC 8414 §2): what is the same for signing
//! in and for tokens.
//!
//! A document is read leniently, since many publish members of odd types; what is used of it has to be usable.

use serde_json::{Map, Value};
use url::Url;

use crate::http_client::{Address, HttpError};
use crate::reason::{Failure, Reason};
use crate::words::{in_words, json_fault, plain_address};

/// Where the metadata of `issuer` is (OpenID Connect Discovery §4). An issuer with a path has it below that path.
pub fn openid_configuration(issuer: &Url) -> Result<Url, Failure> {
    let address = format!("{}/.well-known/openid-configuration", issuer.as_str().trim_end_matches('/'));
    Url::parse(&address).map_err(|error| Failure::new(Reason::ConfigInvalid, format!("issuer: {error}")))
}

/// Where the metadata of an authorization server is that signs nobody in (RFC 8414 §3.1): before the path.
pub fn authorization_server(issuer: &Url) -> Url {
    let mut address = issuer.clone();
    address.set_path(&format!("/.well-known/oauth-authorization-server{}", issuer.path().trim_end_matches('/')));
    address
}

/// Whether `said` is the configured issuer.
///
/// Discovery §4.3 wants the same letters. The configuration keeps the issuer as an address, which cannot tell
/// `https://a.example` from `https://a.example/`, nor `https://A.example:443` from either; all of these name one
/// address. So the address has to be the same, path to the letter, and from then on the issuer's own spelling is
/// the one that tokens and responses are held to, to the letter.
pub fn is_issuer(configured: &Url, said: &str) -> bool {
    Url::parse(said).is_ok_and(|said| said == *configured)
}

/// What a request for metadata at `url` failed of.
pub fn discovery_failed(error: &HttpError, url: &str) -> Failure {
    let reason = match error {
        // Something answers there, and it is no metadata: most often the address of a page.
        HttpError::ContentType(_) | HttpError::TooLarge => Reason::DiscoveryForm,
        _ => Reason::DiscoveryFailed,
    };
    let failure = Failure::new(reason, format!("{error}, at {url}"));
    failure.remedied_by(error.remedy(Address::Issuer)).at_step(error.step())
}

/// What a request for the key set at `url` failed of, which `address` says.
pub fn keys_failed(error: &HttpError, url: &Url, address: Address) -> Failure {
    let shown = plain_address(url);
    let failure = Failure::new(Reason::KeysFailed, format!("keys: {error}, at {shown}"));
    failure.remedied_by(error.remedy(address)).at_step(error.step())
}

/// The document as an object.
pub fn document(body: &[u8]) -> Result<Map<String, Value>, Failure> {
    let fault =
        |error: serde_json::Error| form(format!("JSON: no object ({} of line {})", json_fault(&error), error.line()));
    serde_json::from_slice(body).map_err(fault)
}

/// The `issuer` of a document.
pub fn issuer(document: &Map<String, Value>) -> Result<&str, Failure> {
    document.get("issuer").and_then(Value::as_str).ok_or_else(|| form("issuer: the metadata names none"))
}

/// The metadata is of somebody else.
pub fn other_issuer(expected: &str, said: &str, hint: &str) -> Failure {
    let differs = difference(expected, said).map(|how| format!("; {how}")).unwrap_or_default();
    let detail = format!("issuer: expected `{expected}`, got {}{differs}{hint}", in_words(said));
    // An address of letters that mean nothing else can stand in a sentence for everybody.
    let plain = Url::parse(said).is_ok_and(|url| matches!(url.scheme(), "http" | "https"))
        && said.len() <= 200
        && said.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~:/".contains(&b));
    let remedy = plain.then(|| format!("Set `issuer` to `{said}`, to the letter, if that is your provider."));
    Failure::new(Reason::DiscoveryIssuer, detail).remedied_by(remedy)
}

/// How `said` differs from `expected`, in words; `None` where nothing can be said of it.
pub fn difference(expected: &str, said: &str) -> Option<String> {
    let (ours, theirs) = (Url::parse(expected).ok()?, Url::parse(said).ok()?);
    let host = |url: &Url| url.host_str().unwrap_or_default().to_owned();
    let mut found = Vec::new();
    if ours.scheme() != theirs.scheme() {
        found.push("http and https");
    }
    if host(&ours) != host(&theirs) {
        let admin = host(&ours).replacen("-admin.", ".", 1) == host(&theirs);
        found.push(if admin { "the host, which is that of the admin console (`-admin`)" } else { "the host" });
    }
    if ours.port() != theirs.port() {
        found.push("the port");
    }
    if ours.query() != theirs.query() {
        found.push("the query");
    }
    found.extend(difference_of_paths(ours.path(), theirs.path()));
    (!found.is_empty()).then(|| format!("they differ by {}", found.join(" and ")))
}

fn difference_of_paths(ours: &str, theirs: &str) -> Option<&'static str> {
    let (bare, other) = (ours.trim_end_matches('/'), theirs.trim_end_matches('/'));
    match () {
        () if ours == theirs => None,
        () if bare == other => Some("the slash at the end"),
        () if bare.eq_ignore_ascii_case(other) => Some("large and small letters"),
        () if other.strip_prefix("/auth") == Some(bare) => {
            Some("`/auth` before the path, as Keycloak had it before 17")
        }
        () if bare.strip_prefix("/auth") == Some(other) => Some("`/auth` before the path, which Keycloak has no more"),
        () => Some("the path"),
    }
}

/// An endpoint that may be absent, null or empty, but where it is set has to be usable. `plain` says of an address
/// without TLS why it cannot be.
pub fn endpoint(
    document: &Map<String, Value>,
    name: &str,
    plain: impl Fn(&Url) -> Result<(), &'static str>,
) -> Result<Option<Url>, Failure> {
    let text = match document.get(name) {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(text)) if text.is_empty() => return Ok(None),
        Some(Value::String(text)) => text,
        Some(_) => return Err(form(format!("endpoints: `{name}` is no text"))),
    };
    let wrong = |why: &str| form(format!("endpoints: `{name}` {} {why}", in_words(text)));
    let url = Url::parse(text).map_err(|_| wrong("is no address"))?;
    match url.scheme() {
        "https" => {}
        "http" => plain(&url).map_err(wrong)?,
        _ => return Err(wrong("is neither http nor https")),
    }
    if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
        return Err(wrong("holds a user, a password or a fragment"));
    }
    Ok(Some(url))
}

/// An endpoint that has to be there and is not.
pub fn no_endpoint(name: &str) -> Failure {
    form(format!("endpoints: no `{name}`"))
}

/// The strings of a list; members of another type are left out.
pub fn list(document: &Map<String, Value>, name: &str) -> Option<Vec<String>> {
    let items = document.get(name)?.as_array()?;
    Some(items.iter().filter_map(|item| item.as_str().map(str::to_owned)).collect())
}

fn form(why: impl Into<String>) -> Failure {
    Failure::new(Reason::DiscoveryForm, why)
}

#[cfg(test)]
mod tests {
    use super::difference;

    #[test]
    fn two_issuers_that_differ_say_by_what() {
        for (ours, said, wanted) in [
            ("https://a.example/x/", "https://a.example/x", "the slash at the end"),
            ("http://a.example/x", "https://a.example/x", "http and https"),
            ("https://a.example:8443/x", "https://a.example/x", "the port"),
            ("https://b.example/x", "https://a.example/x", "the host"),
            (
                "https://a-admin.okta.com/",
                "https://a.okta.com",
                "the host, which is that of the admin console (`-admin`)",
            ),
            ("https://a.example/realms/Main", "https://a.example/realms/main", "large and small letters"),
            (
                "https://a.example/realms/m",
                "https://a.example/auth/realms/m",
                "`/auth` before the path, as Keycloak had it before 17",
            ),
            (
                "https://a.example/auth/realms/m",
                "https://a.example/realms/m",
                "`/auth` before the path, which Keycloak has no more",
            ),
            ("https://a.example/x", "https://a.example/y", "the path"),
            ("https://a.example/x?y", "https://a.example/x", "the query"),
            ("https://a.example/x/", "https://b.example/x", "the host and the slash at the end"),
        ] {
            assert_eq!(difference(ours, said), Some(format!("they differ by {wanted}")), "{ours} {said}");
        }
        assert_eq!(difference("https://a.example/", "https://a.example"), None);
        assert_eq!(difference("https://a.example/", "me"), None);
    }
}
