//! Who may see the console, and what a request to it asks for.
//!
//! Promise: only the gateway's own host reaches a page, the routes of the gateway among its ways; no page of another site
//! can have a browser read the console, whatever its name resolves to, or send one of its forms.

use std::net::IpAddr;
use std::time::Duration;

use http::{HeaderMap, Method, Version, header};
use pingora_core::protocols::http::ServerSession;
use pingora_http::RequestHeader;
use url::form_urlencoded;

use crate::canonical::Authority;
use crate::config::Settings;
use crate::gateway::console_pass;
use crate::reason::{Failure, Reason};

/// Largest form: a provider's block with room to spare.
const MAX_FORM: usize = 64 * 1024;
/// Longest wait for it.
const FORM_WITHIN: Duration = Duration::from_secs(10);

/// What is asked for.
#[derive(Debug, Default)]
pub(super) struct Asked {
    pub method: Method,
    pub path: String,
    query: Vec<(String, String)>,
    form: Vec<(String, String)>,
    /// What the console's pages begin with, as the browser sees them: `/ops/` behind a route that takes `/ops` off.
    pub root: String,
    /// Whether a person asks, rather than a program.
    pub by_person: bool,
}

impl Asked {
    pub fn of(session: &ServerSession) -> Asked {
        let head = session.req_header();
        let path = head.uri.path().to_owned();
        let accept = head.headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
        Asked {
            method: head.method.clone(),
            query: pairs(head.uri.query().unwrap_or_default().as_bytes()),
            form: Vec::new(),
            root: root(&head.headers, &path),
            by_person: accept.contains("text/html"),
            path,
        }
    }

    pub fn query(&self, name: &str) -> Option<&str> {
        value(&self.query, name)
    }

    pub fn form(&self, name: &str) -> Option<&str> {
        value(&self.form, name)
    }

    pub fn is_post(&self) -> bool {
        self.method == Method::POST
    }
}

fn pairs(text: &[u8]) -> Vec<(String, String)> {
    form_urlencoded::parse(text).into_owned().collect()
}

fn value<'p>(pairs: &'p [(String, String)], name: &str) -> Option<&'p str> {
    pairs.iter().find(|(key, _)| key == name).map(|(_, value)| value.trim()).filter(|value| !value.is_empty())
}

/// A route that strips its prefix says which. Without it links lead from the page to its neighbours, which works as well
/// behind any proxy that keeps the last slash.
fn root(headers: &HeaderMap, path: &str) -> String {
    let prefix = headers.get("x-forwarded-prefix").and_then(|value| value.to_str().ok());
    let plain = |prefix: &&str| {
        let fine = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'-' | b'_' | b'.' | b'~');
        prefix.starts_with('/') && !prefix.contains("//") && !prefix.contains("/.") && prefix.bytes().all(fine)
    };
    match prefix.filter(plain) {
        Some(prefix) => format!("{}/", prefix.trim_end_matches('/')),
        None => match path.bytes().filter(|b| *b == b'/').count() {
            0 | 1 => "./".to_owned(),
            deeper => "../".repeat(deeper - 1),
        },
    }
}

fn address(found: Option<&pingora_core::protocols::l4::socket::SocketAddr>) -> Option<IpAddr> {
    found.and_then(|address| address.as_inet()).map(|address| address.ip().to_canonical())
}

/// Whether it is asked from the gateway's own host.
pub(super) fn is_near(session: &ServerSession) -> bool {
    let (peer, own) = (address(session.client_addr()), address(session.server_addr()));
    peer.is_some_and(|peer| peer.is_loopback() || Some(peer) == own)
}

/// Whether the console may be shown to whoever asks.
pub(super) fn admits(session: &ServerSession, settings: &Settings) -> Result<(), Failure> {
    let head = session.req_header();
    if !is_near(session) {
        let peer = address(session.client_addr());
        let seen = peer.map_or_else(|| "no address".to_owned(), |peer| peer.to_string());
        return Err(Failure::new(Reason::ConsoleElsewhere, format!("asked from {seen}")));
    }
    let brought = console_pass::is_brought(&head.headers);
    if !brought && is_of_a_proxy(head) {
        let how = if head.version == Version::HTTP_10 { "HTTP/1.0" } else { "its headers" };
        let seen = format!("by {how} a proxy passed it on, and that was no route of this gateway whose `allow` is set");
        return Err(Failure::new(Reason::ConsoleProxied, seen));
    }
    let host = host(head);
    named(host, settings)?;
    if !brought && !is_of_this_host(host, address(session.server_addr())) {
        let host = crate::words::in_words(&String::from_utf8_lossy(host));
        let seen = format!("asked for as {host}, which leads here through a proxy alone");
        return Err(Failure::new(Reason::ConsoleProxied, seen));
    }
    match head.method {
        Method::GET | Method::HEAD => Ok(()),
        Method::POST => own_page(&head.headers, host),
        _ => Err(Failure::new(Reason::ConsoleMethod, head.method.to_string())),
    }
}

/// Whether what is told may name files and keys of this host: it is asked from here, and by nobody from afar for whom a
/// proxy asks.
pub(super) fn is_told_all(session: &ServerSession) -> bool {
    let head = session.req_header();
    let from_here = || !is_of_a_proxy(head) && is_of_this_host(host(head), address(session.server_addr()));
    // A route answers to nobody in particular where it lets preflights through.
    let reads = matches!(head.method, Method::GET | Method::HEAD);
    is_near(session) && reads && (console_pass::is_brought(&head.headers) || from_here())
}

/// Whether it shows that a proxy passed it on. HTTP/1.0 is what nginx speaks where nobody told it otherwise, with no header
/// that would say so, and what no browser speaks.
fn is_of_a_proxy(head: &RequestHeader) -> bool {
    head.version == Version::HTTP_10 || console_pass::say_of_a_proxy(&head.headers)
}

/// What is asked for; empty where nothing is.
fn host(head: &RequestHeader) -> &[u8] {
    let host = head.headers.get(header::HOST).map(|value| value.as_bytes());
    host.or_else(|| head.uri.authority().map(|authority| authority.as_str().as_bytes())).unwrap_or_default()
}

/// Whether a request from this host, or through a tunnel to it, asks for `host` at the socket `own`. By other names and
/// addresses, that of `public_url` among them, nobody comes to a loopback address but through a proxy that keeps them.
fn is_of_this_host(host: &[u8], own: Option<IpAddr>) -> bool {
    let Ok(authority) = Authority::parse(host) else { return false };
    match ip(&authority.host).map(|ip| ip.to_canonical()) {
        Some(ip) => ip.is_loopback() || ip.is_unspecified() || Some(ip) == own,
        None => is_localhost(&authority.host),
    }
}

fn ip(host: &str) -> Option<IpAddr> {
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

fn is_localhost(host: &str) -> bool {
    host == "localhost" || host.ends_with(".localhost")
}

/// A name that somebody else owns can be made to resolve to this machine (DNS rebinding); an address cannot.
fn named(host: &[u8], settings: &Settings) -> Result<(), Failure> {
    let refused = |seen: String| Err(Failure::new(Reason::ConsoleHost, format!("asked for as {seen}")));
    let Ok(authority) = Authority::parse(host) else { return refused("no host".into()) };
    let host = authority.host.as_str();
    let served = || {
        let public = settings.public_url.host_str().is_some_and(|public| public.eq_ignore_ascii_case(host));
        public || settings.route.iter().any(|route| route.host.as_deref() == Some(host))
    };
    match ip(host).is_some() || is_localhost(host) || served() {
        true => Ok(()),
        false => refused(crate::words::in_words(host)),
    }
}

/// By this header programs say that they mean the console.
const OF_PROGRAMS: &str = "x-doorward-console";

/// Whether a form came from a page of the console, or from a program that means it. A program that says nothing may be one
/// that was led here: the gateway itself posts to whatever address a provider's metadata name.
fn own_page(headers: &HeaderMap, host: &[u8]) -> Result<(), Failure> {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let refused = |seen: String| Err(Failure::new(Reason::ConsoleCrossSite, seen));
    match text("sec-fetch-site") {
        Some("same-origin" | "none") => return Ok(()),
        Some(site) => return refused(format!("sec-fetch-site: {}", crate::words::in_words(site))),
        None => {}
    }
    let Some(origin) = text("origin") else {
        return match text(OF_PROGRAMS) {
            Some("1") => Ok(()),
            _ => refused(
                "neither `Sec-Fetch-Site` nor `Origin` of a browser, nor `X-Doorward-Console: 1` of a program".into(),
            ),
        };
    };
    // A route with `host_header = "upstream"` tells us our own name, and the browser's beside it.
    let asked = [Some(host), headers.get("x-forwarded-host").map(|value| value.as_bytes())];
    let whose = origin.split_once("://").map(|(_, rest)| rest.to_ascii_lowercase());
    let same = |host: &[u8]| whose.as_deref().is_some_and(|whose| whose.as_bytes() == host.to_ascii_lowercase());
    match asked.into_iter().flatten().any(same) {
        true => Ok(()),
        false => refused(format!("origin: {}", crate::words::in_words(origin))),
    }
}

/// Reads the form of a POST into `asked`.
pub(super) async fn read_form(session: &mut ServerSession, asked: &mut Asked) -> Result<(), Failure> {
    if !asked.is_post() {
        return Ok(());
    }
    let unread = |why: String| Failure::new(Reason::ConsoleForm, why);
    let kind = session.req_header().headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let is_form = kind.is_none_or(|kind| kind.to_ascii_lowercase().starts_with("application/x-www-form-urlencoded"));
    if !is_form {
        return Err(unread("it is of another type".into()));
    }
    let reading = async {
        let mut body = Vec::new();
        while let Some(part) = session.read_request_body().await.map_err(|error| unread(error.to_string()))? {
            if body.len() + part.len() > MAX_FORM {
                return Err(unread(format!("more than {MAX_FORM} bytes")));
            }
            body.extend_from_slice(&part);
        }
        Ok(body)
    };
    let body = tokio::time::timeout(FORM_WITHIN, reading).await;
    asked.form = pairs(&body.map_err(|_| unread(format!("not sent within {FORM_WITHIN:?}")))??);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        let text = "public_url = 'https://app.example'\n[[upstream]]\nurl = 'http://127.0.0.1:1'\n[[route]]\nhost = 'b.example'";
        toml::from_str(text).expect("settings")
    }

    #[test]
    fn a_name_that_somebody_else_owns_shows_nothing() {
        let settings = settings();
        for host in ["127.0.0.1:9090", "[::1]:9090", "10.0.0.4", "localhost:9090", "app.example", "b.example:8443"] {
            assert_eq!(named(host.as_bytes(), &settings), Ok(()), "{host}");
        }
        for host in ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "", "xapp.example", "a b"] {
            let refused = named(host.as_bytes(), &settings).expect_err(host);
            assert_eq!(refused.reason, Reason::ConsoleHost, "{host}");
        }
    }

    #[test]
    fn what_only_a_proxy_brings_here_is_no_request_of_this_host() {
        let own = |address: &str| Some(address.parse().expect("an address"));
        for host in ["127.0.0.1:9090", "127.0.0.2", "[::1]:9090", "[::ffff:127.0.0.1]", "localhost:9000", "a.localhost"]
        {
            assert!(is_of_this_host(host.as_bytes(), own("127.0.0.1")), "{host}");
        }
        assert!(is_of_this_host(b"10.0.0.4:9090", own("10.0.0.4")));
        for host in ["app.example", "b.example:8443", "10.0.0.4:9090", "[2001:db8::1]", "pod.example", "", "a b"] {
            assert!(!is_of_this_host(host.as_bytes(), own("127.0.0.1")), "{host}");
        }
    }

    #[test]
    fn a_form_of_another_site_is_not_taken() {
        let judged = |list: &[(&'static str, &str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in list {
                headers.insert(*name, value.parse().expect("value"));
            }
            own_page(&headers, b"127.0.0.1:9090").map_err(|failure| failure.reason)
        };
        for fine in [
            &[("x-doorward-console", "1")][..],
            &[("sec-fetch-site", "same-origin"), ("origin", "null")],
            &[("sec-fetch-site", "none")],
            &[("origin", "http://127.0.0.1:9090")],
            &[("origin", "https://App.example"), ("x-forwarded-host", "app.example")],
        ] {
            assert_eq!(judged(fine), Ok(()), "{fine:?}");
        }
        for forged in [
            &[("sec-fetch-site", "cross-site"), ("origin", "http://127.0.0.1:9090")][..],
            &[("sec-fetch-site", "same-site")],
            &[],
            &[("x-doorward-console", "")],
            &[("x-doorward-console", "1"), ("origin", "http://evil.example")],
            &[("x-doorward-console", "1"), ("sec-fetch-site", "cross-site")],
            &[("origin", "null")],
            &[("origin", "http://evil.example")],
            &[("origin", "http://127.0.0.1:9091")],
            &[("origin", "https://app.example.evil.example"), ("x-forwarded-host", "app.example")],
        ] {
            assert_eq!(judged(forged), Err(Reason::ConsoleCrossSite), "{forged:?}");
        }
    }

    #[test]
    fn links_lead_to_the_console_wherever_it_is_shown() {
        let root_of = |prefix: Option<&str>, path: &str| {
            let mut headers = HeaderMap::new();
            if let Some(prefix) = prefix {
                headers.insert("x-forwarded-prefix", prefix.parse().expect("value"));
            }
            root(&headers, path)
        };
        assert_eq!(root_of(None, "/"), "./");
        assert_eq!(root_of(None, "/refusals/abc"), "../");
        assert_eq!(root_of(Some("/ops"), "/"), "/ops/");
        assert_eq!(root_of(Some("/ops/"), "/refusals/abc"), "/ops/");
        for forged in ["//evil.example", "https://evil.example", "/a//b", "/\"><b>", "ops", "/../x"] {
            assert_eq!(root_of(Some(forged), "/"), "./", "{forged}");
        }
    }
}
