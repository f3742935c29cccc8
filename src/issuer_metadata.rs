//! Reading what an issuer says about itself (OpenID Connect Discovery §3, RFC 8414 §2): what is the same for signing
//! in and for tokens.
//!
//! A document is read leniently, since many publish members of odd types; what is used of it has to be usable.

use serde_json::{Map, Value};
use url::Url;

use crate::http_client::HttpError;
use crate::reason::{Failure, Reason};
use crate::words::{in_words, json_fault};

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
    Failure::new(reason, format!("{error}, at {url}")).remedied_by(error.remedy())
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

/// How `said` differs from `expected`, where it is one thing that people mistake.
pub fn difference(expected: &str, said: &str) -> Option<&'static str> {
    let (a, b) = (Url::parse(expected).ok()?, Url::parse(said).ok()?);
    let bare = |url: &Url| url.path().trim_end_matches('/').to_owned();
    let parts = [
        (a.scheme() != b.scheme(), "they differ by http and https"),
        (a.host_str() != b.host_str(), "they differ by the host"),
        (a.port() != b.port(), "they differ by the port"),
        (a.query() != b.query(), "they differ by the query"),
        (bare(&a) != bare(&b) && bare(&a).eq_ignore_ascii_case(&bare(&b)), "they differ by large and small letters"),
        (!bare(&a).eq_ignore_ascii_case(&bare(&b)), "they differ by the path"),
        (a.path() != b.path() && bare(&a) == bare(&b), "they differ by the slash at the end"),
    ];
    let mut differ = parts.into_iter().filter(|(differ, _)| *differ).map(|(_, how)| how);
    differ.next().filter(|_| differ.next().is_none())
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
    fn two_issuers_that_differ_by_one_thing_say_by_which() {
        for (said, how) in [
            ("https://a.example/x/", Some("slash")),
            ("http://a.example/x", Some("http and https")),
            ("https://a-admin.example/x", Some("host")),
            ("https://a.example:8443/x", Some("port")),
            ("https://a.example/X", Some("letters")),
            ("https://a.example/y", Some("path")),
            ("https://a.example/x?p=1", Some("query")),
            ("https://b.example/y", None),
            ("https://a.example/x", None),
            ("no address", None),
        ] {
            let found = difference("https://a.example/x", said);
            assert!(
                found.is_some() == how.is_some() && found.unwrap_or_default().contains(how.unwrap_or_default()),
                "{said}"
            );
        }
    }
}
