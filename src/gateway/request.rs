//! Step 1: the canonical request.
//!
//! Method, host, path and query are read once, into one value. Matching, rules, logs and the app all use that value;
//! what has two readings is refused here and never guessed at.

use http::{HeaderMap, Method, Version, header};
use memchr::{memchr, memchr_iter};
use pingora_http::RequestHeader;

use crate::canonical::{Authority, CanonicalPath};
use crate::config::model::Limits;
use crate::reason::{Failure, Reason};
use crate::session::cookies::largest;

/// What the request asks for, in the one form that counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CanonicalRequest {
    pub method: Method,
    pub authority: Authority,
    pub path: CanonicalPath,
    /// Without the `?`; kept as it came but for bytes that no query may hold.
    pub query: Option<String>,
    /// Whether the target came in another spelling and has to be rewritten before it is sent on.
    pub respelt: bool,
}

impl CanonicalRequest {
    /// Reads the head of a request. `raw_head` is the head's bytes as they came over HTTP/1, which shows what the
    /// parsed form hides: bare line feeds, a fragment, a Content-Length beside a Transfer-Encoding.
    pub fn read(head: &RequestHeader, raw_head: Option<&[u8]>, limits: &Limits) -> Result<Self, Failure> {
        check_size(head, raw_head, limits)?;
        if let Some(raw) = raw_head {
            check_raw(raw)?;
        }
        check_framing(&head.headers, raw_head)?;
        check_single(&head.headers)?;
        // Methods have case (RFC 9110 §9.1), but an app that folds it would do by `post` what a route for POST forbids.
        let folded = head.method.as_str().bytes().any(|b| b.is_ascii_lowercase());
        if folded || head.method == Method::TRACE || head.method == Method::CONNECT {
            return Err(Failure::new(Reason::MethodNotAllowed, format!("{} is not proxied", head.method)));
        }
        let (target, named) = origin_form(head.raw_path())?;
        let (raw_path, raw_query) = match memchr(b'?', target) {
            Some(mark) => (&target[..mark], Some(&target[mark + 1..])),
            None => (target, None),
        };
        let path = CanonicalPath::parse(raw_path).map_err(|e| {
            let reason = match e {
                crate::canonical::Ambiguous::NoSlash => Reason::TargetMalformed,
                crate::canonical::Ambiguous::Delimiter | crate::canonical::Ambiguous::BadEscape => {
                    Reason::TargetMalformed
                }
                _ => Reason::PathAmbiguous,
            };
            Failure::new(reason, e.to_string())
        })?;
        let query = raw_query.map(canonical_query).transpose()?;
        let respelt = path.as_str().as_bytes() != raw_path
            || query.as_deref().map(str::as_bytes) != raw_query
            || named.is_some()
            || head.uri.scheme().is_some();
        let authority = authority(head, named)?;
        Ok(CanonicalRequest { method: head.method.clone(), authority, path, query, respelt })
    }

    /// Puts the canonical target into `upstream`, without the route's prefix where it says so.
    pub fn write_target(
        &self,
        upstream: &mut RequestHeader,
        strip: Option<&str>,
    ) -> Result<(), Box<pingora_core::Error>> {
        if strip.is_none() && !self.respelt && upstream.uri.authority().is_none() {
            return Ok(());
        }
        let whole = self.path.as_str();
        let path = strip.and_then(|prefix| whole.strip_prefix(prefix)).unwrap_or(whole);
        let slash = if path.starts_with('/') { "" } else { "/" };
        let target = match &self.query {
            Some(query) => format!("{slash}{path}?{query}"),
            None => format!("{slash}{path}"),
        };
        match target.parse() {
            Ok(uri) => upstream.set_uri(uri),
            Err(_) => upstream.set_raw_path(target.as_bytes())?,
        }
        Ok(())
    }
}

fn check_size(head: &RequestHeader, raw_head: Option<&[u8]>, limits: &Limits) -> Result<(), Failure> {
    let (line, bytes) = match raw_head {
        Some(raw) => (memchr(b'\n', raw).unwrap_or(raw.len()), raw.len()),
        None => {
            let fields: usize = head.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
            (head.raw_path().len() + 16, fields)
        }
    };
    if line > limits.request_line.0 {
        return Err(Failure::new(
            Reason::RequestLineTooLong,
            format!("{line} bytes; limits.request_line is {}", limits.request_line),
        ));
    }
    if bytes.saturating_sub(line) > limits.header_bytes.0 {
        return Err(Failure::new(
            Reason::HeadersTooLarge,
            format!(
                "{} bytes, {}; limits.header_bytes is {}",
                bytes - line,
                largest(&head.headers),
                limits.header_bytes
            ),
        ));
    }
    if head.headers.len() > limits.headers {
        return Err(Failure::new(
            Reason::HeadersTooLarge,
            format!("{} headers, {}; limits.headers is {}", head.headers.len(), largest(&head.headers), limits.headers),
        ));
    }
    Ok(())
}

/// What only the bytes of an HTTP/1 head show.
fn check_raw(raw: &[u8]) -> Result<(), Failure> {
    // A bare line feed ends a line for some readers and not for others (RFC 9112 §2.2).
    if memchr_iter(b'\n', raw).any(|feed| feed == 0 || raw[feed - 1] != b'\r') {
        return Err(Failure::new(Reason::HeaderMalformed, "a line of the head ends in a bare line feed"));
    }
    let line = &raw[..memchr(b'\r', raw).unwrap_or(raw.len())];
    if memchr(b'#', line).is_some() {
        return Err(Failure::new(Reason::TargetMalformed, "a raw `#` in the target; some readers cut it off there"));
    }
    Ok(())
}

fn check_framing(headers: &HeaderMap, raw_head: Option<&[u8]>) -> Result<(), Failure> {
    let refuse = |what: &str| Err(Failure::new(Reason::FramingAmbiguous, what));
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    if let Some(length) = lengths.next() {
        let digits = length.as_bytes();
        if lengths.next().is_some() {
            return refuse("Content-Length came twice");
        }
        if digits.is_empty() || digits.len() > 18 || !digits.iter().all(u8::is_ascii_digit) {
            return refuse("Content-Length is not one number");
        }
    }
    let mut encodings = headers.get_all(header::TRANSFER_ENCODING).iter();
    if let Some(encoding) = encodings.next() {
        if encodings.next().is_some() || !encoding.as_bytes().eq_ignore_ascii_case(b"chunked") {
            return refuse("Transfer-Encoding is not `chunked` alone");
        }
        // The proxy library takes the Content-Length away before anybody sees the parsed head.
        if raw_head.is_some_and(|raw| has_field(raw, b"content-length")) {
            return refuse("Content-Length beside Transfer-Encoding");
        }
    }
    Ok(())
}

fn has_field(raw: &[u8], name: &[u8]) -> bool {
    raw.split(|&b| b == b'\n').skip(1).any(|line| {
        line.len() > name.len() && line[..name.len()].eq_ignore_ascii_case(name) && line[name.len()] == b':'
    })
}

/// Fields of which two would let two readers pick different ones.
fn check_single(headers: &HeaderMap) -> Result<(), Failure> {
    // Nothing at all came twice: so it is with nearly every request.
    if headers.keys_len() == headers.len() {
        return Ok(());
    }
    for name in [header::AUTHORIZATION, header::HOST, header::ORIGIN] {
        if headers.get_all(&name).iter().nth(1).is_some() {
            let reason = if name == header::HOST { Reason::HostAmbiguous } else { Reason::HeaderDoubled };
            return Err(Failure::new(reason, format!("two `{name}` headers")));
        }
    }
    Ok(())
}

/// Path and query of a target, and the authority that one in absolute form names (RFC 9112 §3.2.2).
fn origin_form(target: &[u8]) -> Result<(&[u8], Option<&[u8]>), Failure> {
    if target.first() == Some(&b'/') {
        return Ok((target, None));
    }
    let scheme = [&b"http://"[..], b"https://"]
        .into_iter()
        .find(|scheme| target.len() > scheme.len() && target[..scheme.len()].eq_ignore_ascii_case(scheme));
    let Some(scheme) = scheme else { return Ok((target, None)) };
    let rest = &target[scheme.len()..];
    let end = rest.iter().position(|b| matches!(b, b'/' | b'?' | b'#' | b'\\')).unwrap_or(rest.len());
    match &rest[end..] {
        [] => Ok((b"/", Some(&rest[..end]))),
        path => Ok((path, Some(&rest[..end]))),
    }
}

/// The single host that the target and `Host` agree on.
fn authority(head: &RequestHeader, named: Option<&[u8]>) -> Result<Authority, Failure> {
    let refuse = |detail: String| Failure::new(Reason::HostAmbiguous, detail);
    let parse = |raw: &[u8]| Authority::parse(raw).map_err(|e| refuse(e.to_string()));
    let named = named.or_else(|| head.uri.authority().map(|authority| authority.as_str().as_bytes()));
    let from_target = named.map(parse).transpose()?;
    let from_header = head.headers.get(header::HOST).map(|h| parse(h.as_bytes())).transpose()?;
    match (from_target, from_header) {
        (Some(target), Some(host)) if target != host => {
            Err(refuse(format!("the target says {target}, Host says {host}")))
        }
        (Some(authority), _) | (None, Some(authority)) => Ok(authority),
        (None, None) => Err(refuse(format!("no Host in a request of {:?}", head.version))),
    }
}

fn canonical_query(raw: &[u8]) -> Result<String, Failure> {
    use std::fmt::Write;
    if let Ok(text) = std::str::from_utf8(raw)
        && raw.iter().all(|&b| matches!(b, b'!'..=b'~') && b != b'#')
    {
        return Ok(text.to_owned());
    }
    let mut query = String::with_capacity(raw.len() + 16);
    for &byte in raw {
        match byte {
            b'#' => return Err(Failure::new(Reason::TargetMalformed, "a raw `#` in the query")),
            b' ' => return Err(Failure::new(Reason::TargetMalformed, "a space in the query")),
            byte if byte.is_ascii_control() => {
                return Err(Failure::new(Reason::TargetMalformed, "a control character in the query"));
            }
            byte if byte.is_ascii() => query.push(byte as char),
            byte => {
                let _ = write!(query, "%{byte:02X}");
            }
        }
    }
    Ok(query)
}

/// Whether the request came over HTTP/2.
pub fn is_http2(head: &RequestHeader) -> bool {
    head.version == Version::HTTP_2
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(target: &str, fields: &[(&'static str, &str)]) -> Result<CanonicalRequest, Reason> {
        let mut head = RequestHeader::build("GET", target.as_bytes(), None).expect("head");
        for (name, value) in fields {
            head.append_header(*name, *value).expect("field");
        }
        CanonicalRequest::read(&head, None, &Limits::default()).map_err(|f| f.reason)
    }

    const HOST: (&str, &str) = ("host", "a.example");

    #[test]
    fn query_and_path_are_kept_apart() {
        let request = read("/private?x=/public", &[HOST]).expect("request");
        assert_eq!((request.path.as_str(), request.query.as_deref()), ("/private", Some("x=/public")));
        assert!(!request.respelt);
        assert!(read("/%61", &[HOST]).expect("request").respelt);
        let absolute = read("http://A.example/x?y", &[HOST]).expect("request");
        assert_eq!((absolute.path.as_str(), absolute.query.as_deref(), absolute.respelt), ("/x", Some("y"), true));
    }

    #[test]
    fn what_has_two_readings_is_refused() {
        for (target, fields, reason) in [
            ("/a/../b", &[HOST][..], Reason::PathAmbiguous),
            ("/", &[], Reason::HostAmbiguous),
            ("/", &[HOST, ("host", "b.example")], Reason::HostAmbiguous),
            ("http://b.example/", &[HOST], Reason::HostAmbiguous),
            ("/", &[HOST, ("authorization", "a"), ("authorization", "a")], Reason::HeaderDoubled),
            ("/", &[HOST, ("content-length", "3"), ("content-length", "3")], Reason::FramingAmbiguous),
            ("/", &[HOST, ("content-length", "3, 3")], Reason::FramingAmbiguous),
            ("/", &[HOST, ("content-length", "+3")], Reason::FramingAmbiguous),
            ("/", &[HOST, ("transfer-encoding", "gzip, chunked")], Reason::FramingAmbiguous),
            (
                "/",
                &[HOST, ("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")],
                Reason::FramingAmbiguous,
            ),
        ] {
            assert_eq!(read(target, fields).map(|r| r.path), Err(reason), "{target} {fields:?}");
        }
    }

    #[test]
    fn the_raw_head_shows_what_parsing_hides() {
        let head = |raw: &str| {
            check_raw(raw.as_bytes())
                .and_then(|()| {
                    let mut headers = HeaderMap::new();
                    headers.insert(header::TRANSFER_ENCODING, "chunked".parse().expect("value"));
                    check_framing(&headers, Some(raw.as_bytes()))
                })
                .map_err(|f| f.reason)
        };
        assert_eq!(head("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), Ok(()));
        assert_eq!(head("GET / HTTP/1.1\nHost: a\r\n\r\n"), Err(Reason::HeaderMalformed));
        assert_eq!(head("GET / HTTP/1.1\r\nHost: a\n\r\n"), Err(Reason::HeaderMalformed));
        assert_eq!(head("GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n"), Err(Reason::TargetMalformed));
        assert_eq!(head("POST / HTTP/1.1\r\ncontent-LENGTH: 3\r\n\r\n"), Err(Reason::FramingAmbiguous));
    }

    #[test]
    fn a_method_in_small_letters_is_refused() {
        for (method, taken) in [("POST", true), ("PURGE", true), ("post", false), ("Post", false), ("TRACE", false)] {
            let mut head = RequestHeader::build(method, b"/", None).expect("head");
            head.append_header("host", "a.example").expect("field");
            let read = CanonicalRequest::read(&head, None, &Limits::default());
            assert_eq!(read.map_err(|f| f.reason).err(), (!taken).then_some(Reason::MethodNotAllowed), "{method}");
        }
    }

    #[test]
    fn limits_are_named() {
        assert_eq!(read(&format!("/{}", "a".repeat(20_000)), &[HOST]).map(|r| r.path), Err(Reason::RequestLineTooLong));
        let long = "v".repeat(70_000);
        assert_eq!(read("/", &[HOST, ("x", &long)]).map(|r| r.path), Err(Reason::HeadersTooLarge));
        assert_eq!(read("/", &[HOST; 200]).map(|r| r.path), Err(Reason::HeadersTooLarge));
    }
}
