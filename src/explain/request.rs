//! From what somebody writes down to a request as it would come.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::SystemTime;

use http::{HeaderName, HeaderValue, Method, header};
use pingora_http::RequestHeader;
use serde_json::{Map, Value};

use super::Person;
use crate::clock::unix_seconds;
use crate::config::model::Access;
use crate::config::{OWN_ISSUER, model};
use crate::gateway::Gateway;
use crate::gateway::explain::Asked;
use crate::reason::Failure;

/// A request to explain.
#[derive(Clone, Debug)]
pub struct Request {
    /// An address, or a path of the public URL. It is not put in order: how it is written is what is to be explained.
    pub url: String,
    pub method: String,
    pub headers: Vec<(String, String)>,
    /// Who connects; this machine where it is not said.
    pub peer: Option<IpAddr>,
    pub who: Who,
    /// Whether nobody is asked for keys and metadata.
    pub offline: bool,
}

/// Who sends it.
#[derive(Clone)]
pub enum Who {
    /// Whoever the headers say.
    Nobody,
    /// A bearer token, or a service account's key.
    Token(String),
    /// Claims that are taken to be verified: of a token, or of a person who signed in, by their `iss` and the route.
    Claims(Map<String, Value>),
    /// A person who signed in.
    Person(Person),
}

impl std::fmt::Debug for Who {
    /// Without the token.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Who::Nobody => "Nobody",
            Who::Token(_) => "Token",
            Who::Claims(_) => "Claims",
            Who::Person(_) => "Person",
        })
    }
}

/// What became of what was written down.
pub(super) enum Made {
    Asked(Box<Asked>),
    /// The sign-in would have failed.
    NotSignedIn(Failure),
}

/// Bytes of a URL that are looked at; the gateway's own bound is far below.
const LONGEST_URL: usize = 256 * 1024;

impl Request {
    pub(super) fn asked(&self, gateway: &Gateway, now: SystemTime) -> Result<Made, String> {
        let settings = &gateway.context().config.settings;
        let (authority, target) = split(&self.url, settings)?;
        let method =
            Method::from_bytes(self.method.as_bytes()).map_err(|_| format!("`{}` is no method", self.method))?;
        let mut head = RequestHeader::build(method, target.as_bytes(), None)
            .map_err(|_| "the URL holds what cannot be sent, a space or a control character perhaps".to_owned())?;
        let named = |wanted: &str| self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case(wanted));
        if !named("host") {
            append(&mut head, "host", &authority)?;
        }
        for (name, value) in &self.headers {
            append(&mut head, name, value)?;
        }
        let peer = SocketAddr::new(self.peer.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)), 0);
        let mut asked = Asked {
            raw: raw(&head, &target),
            head,
            peer: Some(peer),
            claims: None,
            offline: self.offline,
            now,
            added: Vec::new(),
            assumed: None,
        };
        let told = ["accept", "sec-fetch-mode", "x-requested-with", "upgrade"].into_iter().any(named);
        let person = match &self.who {
            Who::Nobody => None,
            Who::Token(token) => {
                append(&mut asked.head, "authorization", &format!("Bearer {}", token.trim()))?;
                None
            }
            Who::Claims(claims) => match of_token(claims, gateway, &asked) {
                Some(claims) => {
                    append(&mut asked.head, "authorization", "Bearer claims-without-a-token")?;
                    asked.added.push(header::AUTHORIZATION);
                    asked.claims = Some(claims);
                    None
                }
                None => Some(Person::of_claims(claims, gateway.context())?),
            },
            Who::Person(person) => Some(Ok(person.signed_in(gateway.context(), unix_seconds(now))?)),
        };
        // Whoever has a session came with a browser; a program reads JSON and is never sent to a page.
        if !told && person.is_some() {
            append(&mut asked.head, "accept", "text/html")?;
            asked.assumed =
                Some("taken as a browser's request, since a person sends it: `Accept: text/html` was added");
        } else if !told {
            asked.assumed = Some("taken as a program's request: no `Accept: text/html` was given");
        }
        if let Some(person) = person {
            if !named("cookie") {
                asked.added.push(header::COOKIE);
            }
            let cookies =
                person.and_then(|person| super::person::cookies(gateway.context(), person, unix_seconds(now)));
            match cookies {
                Ok(cookies) => {
                    for cookie in cookies {
                        asked.head.append_header(header::COOKIE, cookie).map_err(|e| e.to_string())?;
                    }
                }
                Err(failure) => return Ok(Made::NotSignedIn(failure)),
            }
        }
        asked.raw = raw(&asked.head, &target);
        Ok(Made::Asked(Box::new(asked)))
    }
}

/// The claims, where they are to be those of a token: the route takes tokens alone, or `iss` says so. Without an `iss` the
/// only issuer is meant.
fn of_token(claims: &Map<String, Value>, gateway: &Gateway, asked: &Asked) -> Option<Map<String, Value>> {
    let context = gateway.context();
    let issuers = &context.programs.issuers;
    let iss = claims.get("iss").and_then(Value::as_str);
    let access = gateway.access_of(asked);
    let takes = matches!(access, Some(Access::Bearer | Access::SignedInOrBearer));
    let is_token = match iss {
        Some(iss) if issuers.named(iss).is_some() => context.providers.of_issuer(iss).is_none() || takes,
        Some(_) => access == Some(Access::Bearer),
        None => access == Some(Access::Bearer),
    };
    if !is_token {
        return None;
    }
    let mut claims = claims.clone();
    if iss.is_none() {
        let mut others = issuers.iter().filter(|issuer| issuer.name != OWN_ISSUER);
        let only = others.next().filter(|_| others.next().is_none()).and_then(|issuer| issuer.first_iss());
        claims.insert("iss".into(), only.unwrap_or_default().into());
    }
    Some(claims)
}

/// Authority and target of an address, as written.
fn split(url: &str, settings: &model::Settings) -> Result<(String, String), String> {
    if url.len() > LONGEST_URL {
        return Err(format!("the URL has {} bytes", url.len()));
    }
    let public = || {
        let host = settings.public_url.host_str().unwrap_or_default();
        settings.public_url.port().map_or(host.to_owned(), |port| format!("{host}:{port}"))
    };
    let rest = ["http://", "https://"].into_iter().find_map(|scheme| {
        url.get(..scheme.len()).filter(|start| start.eq_ignore_ascii_case(scheme)).map(|s| &url[s.len()..])
    });
    let Some(rest) = rest else {
        return match url.starts_with('/') {
            true => Ok((public(), url.to_owned())),
            false => Err(format!("`{url}` is no URL: it begins with http://, https:// or, for the public URL, with /")),
        };
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, target) = rest.split_at(end);
    let slash = if target.starts_with('/') { "" } else { "/" };
    Ok((authority.to_owned(), format!("{slash}{target}")))
}

fn append(head: &mut RequestHeader, name: &str, value: &str) -> Result<(), String> {
    let named: HeaderName = name.trim().parse().map_err(|_| format!("`{name}` is no name of a header"))?;
    let value = HeaderValue::from_bytes(value.trim().as_bytes());
    let value = value.map_err(|_| format!("the value of `{named}` holds what no header holds"))?;
    head.append_header(named, value).map(drop).map_err(|error| error.to_string())
}

/// The head as it comes over HTTP/1. The parsed one has lost what its target was cut off at.
fn raw(head: &RequestHeader, target: &str) -> Vec<u8> {
    let mut raw = Vec::new();
    for part in [head.method.as_str().as_bytes(), b" ", target.as_bytes(), b" HTTP/1.1\r\n"] {
        raw.extend_from_slice(part);
    }
    for (name, value) in &head.headers {
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            raw.extend_from_slice(part);
        }
    }
    raw.extend_from_slice(b"\r\n");
    raw
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_taken_as_it_is_written() {
        let settings: model::Settings =
            toml::from_str("public_url = 'https://gw.example:8443'\n[[upstream]]\nurl = 'http://127.0.0.1:1'")
                .expect("toml");
        for (url, authority, target) in [
            ("https://a.example/x/../y%2f?z=1", "a.example", "/x/../y%2f?z=1"),
            ("HTTP://a.example:81", "a.example:81", "/"),
            ("https://a.example?x", "a.example", "/?x"),
            ("/x;y//", "gw.example:8443", "/x;y//"),
            ("https://me@a.example/#f", "me@a.example", "/#f"),
        ] {
            assert_eq!(split(url, &settings), Ok((authority.to_owned(), target.to_owned())), "{url}");
        }
        assert!(split("a.example/x", &settings).is_err());
    }
}
