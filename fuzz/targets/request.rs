//! Any bytes as the head of a request: never a panic, and what is accepted has one reading: reading its own canonical
//! form again gives the same.
#![no_main]

use doorward::config::model::Limits;
use doorward::gateway::request::CanonicalRequest;
use libfuzzer_sys::fuzz_target;
use pingora_http::RequestHeader;

fuzz_target!(|input: &[u8]| {
    let Some((target, rest)) = split(input) else { return };
    let Ok(mut head) = RequestHeader::build("GET", target, Some(8)) else { return };
    for line in rest.split(|&b| b == b'\n').take(16) {
        let Some((name, value)) = line.iter().position(|&b| b == b':').map(|at| line.split_at(at)) else { continue };
        let Ok(name) = http::HeaderName::from_bytes(name) else { continue };
        let Ok(value) = http::HeaderValue::from_bytes(value[1..].trim_ascii()) else { continue };
        let _ = head.append_header(name, value);
    }
    let mut raw = [b"GET ", target, b" HTTP/1.1\r\n"].concat();
    for (name, value) in &head.headers {
        raw.extend_from_slice(&[name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
    }
    raw.extend_from_slice(b"\r\n");
    let limits = Limits::default();
    let Ok(request) = CanonicalRequest::read(&head, Some(&raw), &limits) else { return };
    let path = request.path.as_str();
    assert!(path.starts_with('/') && !path.contains("//") && !path.contains('#') && !path.contains('?'), "{path}");
    assert!(path.split('/').all(|segment| !matches!(segment, "." | "..")), "{path}");

    let target = request.query.as_ref().map_or(path.to_owned(), |query| format!("{path}?{query}"));
    let mut again = RequestHeader::build("GET", target.as_bytes(), Some(8)).expect("its own form");
    again.append_header("host", request.authority.host.as_str()).expect("a host");
    let second = CanonicalRequest::read(&again, None, &limits).expect("its own form is accepted");
    assert_eq!((second.path.as_str(), &second.query), (path, &request.query));
    assert!(!second.respelt, "the canonical form is respelt: {target}");
});

/// The target, up to the first line feed, and the lines of the head.
fn split(input: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = input.iter().position(|&b| b == b'\n')?;
    Some((&input[..at], &input[at + 1..]))
}
