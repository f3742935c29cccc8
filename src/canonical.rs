//! Canonical paths and hosts: read once, in one way, or refused.
//!
//! Promise: a [`CanonicalPath`] has one reading. Nobody behind the gateway, whether it decodes, collapses or
//! strips, can make another path of it than the one the rules saw. What has two readings is no value of this type.

use std::borrow::Cow;
use std::fmt;

use memchr::{memchr, memchr2};

/// A path without query: starts with `/`, has no dot segments, no empty segments, no backslash, no encoded slash,
/// backslash, dot segment or control character; unreserved characters stand plain, escapes are upper case
/// (RFC 3986 §6.2.2).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CanonicalPath {
    text: String,
    /// Whether a segment has parameters (`;`), plain or encoded.
    parameters: bool,
}

/// Why a path or host was refused; the text is for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Ambiguous {
    #[error("it does not start with a slash")]
    NoSlash,
    #[error("an empty segment (`//`)")]
    EmptySegment,
    #[error("a dot segment")]
    DotSegment,
    #[error("a backslash")]
    Backslash,
    #[error("an encoded slash or backslash")]
    EncodedSlash,
    #[error("a control character")]
    Control,
    #[error("an encoded percent sign that hides another escape")]
    DoubleEncoding,
    #[error("a percent sign without two hexadecimal digits")]
    BadEscape,
    #[error("a `#`, `?` or space")]
    Delimiter,
    #[error("no host name or address")]
    Host,
}

impl CanonicalPath {
    /// The canonical form of `raw`, the path of a request target without its query.
    pub fn parse(raw: &[u8]) -> Result<Self, Ambiguous> {
        if raw.first() != Some(&b'/') {
            return Err(Ambiguous::NoSlash);
        }
        let text = match plain(raw) {
            Some(text) => text.to_owned(),
            None => decode(raw)?,
        };
        // Only `;` and `%3B` begin parameters, and hardly any path has either.
        let parameters = memchr2(b';', b'%', text.as_bytes()).is_some() && (text.contains(';') || text.contains("%3B"));
        if parameters {
            check_segments(&text)?
        } else {
            check_plain_segments(text.as_bytes())?
        }
        Ok(CanonicalPath { text, parameters })
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The path as an app reads it that drops path parameters (`/a;x/b` as `/a/b`), where that differs.
    /// Java containers do; a rule must hold for both readings.
    pub fn without_parameters(&self) -> Option<String> {
        if !self.parameters {
            return None;
        }
        let strip =
            |segment: &str| segment.split(';').next().unwrap_or("").split("%3B").next().unwrap_or("").to_owned();
        Some(self.text.split('/').map(strip).collect::<Vec<_>>().join("/"))
    }
}

impl fmt::Display for CanonicalPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// `raw` itself where every character may stand as it is, as in nearly every request.
fn plain(raw: &[u8]) -> Option<&str> {
    raw.iter().all(|&byte| STANDS_PLAIN[usize::from(byte)]).then(|| std::str::from_utf8(raw).ok()).flatten()
}

/// [`stands_plain`] for every byte.
const STANDS_PLAIN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = stands_plain(byte as u8);
        byte += 1;
    }
    table
};

/// pchar without `%` (RFC 3986 §3.3), and the slash.
const fn stands_plain(byte: u8) -> bool {
    unreserved(byte)
        || matches!(
            byte,
            b'/' | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=' | b':' | b'@'
        )
}

const fn unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

fn decode(raw: &[u8]) -> Result<String, Ambiguous> {
    let mut out = String::with_capacity(raw.len() + 8);
    let mut rest = raw;
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        match byte {
            b'%' => {
                let value = escape(rest).ok_or(Ambiguous::BadEscape)?;
                rest = &rest[2..];
                push_escaped(&mut out, value)?;
            }
            b'\\' => return Err(Ambiguous::Backslash),
            b'#' | b'?' | b' ' => return Err(Ambiguous::Delimiter),
            byte if byte.is_ascii_control() => return Err(Ambiguous::Control),
            byte if stands_plain(byte) => out.push(byte as char),
            // Raw UTF-8 and the likes of `"` or `{`: sloppy, but with a single reading.
            byte => push_hex(&mut out, byte),
        }
    }
    // Judged on what came out, since escapes can make an escape: `%25%32e` is `%252e`, and whoever decodes that twice
    // sees a dot.
    if out.match_indices("%25").any(|(at, _)| escape(&out.as_bytes()[at + 3..]).is_some()) {
        return Err(Ambiguous::DoubleEncoding);
    }
    Ok(out)
}

/// What an escape of `value` becomes.
fn push_escaped(out: &mut String, value: u8) -> Result<(), Ambiguous> {
    match value {
        b'/' | b'\\' => Err(Ambiguous::EncodedSlash),
        value if value.is_ascii_control() => Err(Ambiguous::Control),
        value if unreserved(value) => {
            out.push(value as char);
            Ok(())
        }
        value => {
            push_hex(out, value);
            Ok(())
        }
    }
}

fn escape(rest: &[u8]) -> Option<u8> {
    let digit = |byte: u8| (byte as char).to_digit(16);
    match rest {
        [high, low, ..] => Some((digit(*high)? * 16 + digit(*low)?) as u8),
        _ => None,
    }
}

fn push_hex(out: &mut String, byte: u8) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    out.push('%');
    out.push(DIGITS[usize::from(byte >> 4)] as char);
    out.push(DIGITS[usize::from(byte & 15)] as char);
}

/// [`check_segments`] for a path without parameters.
fn check_plain_segments(path: &[u8]) -> Result<(), Ambiguous> {
    let mut rest = &path[1..];
    loop {
        let end = memchr(b'/', rest);
        match &rest[..end.unwrap_or(rest.len())] {
            // Only the last segment may be empty: a slash at the end.
            b"" if end.is_some() => return Err(Ambiguous::EmptySegment),
            b"." | b".." => return Err(Ambiguous::DotSegment),
            _ => {}
        }
        let Some(end) = end else { return Ok(()) };
        rest = &rest[end + 1..];
    }
}

fn check_segments(path: &str) -> Result<(), Ambiguous> {
    let mut segments = path[1..].split('/').peekable();
    while let Some(segment) = segments.next() {
        // Only the last segment may be empty: a slash at the end.
        if segment.is_empty() && segments.peek().is_some() {
            return Err(Ambiguous::EmptySegment);
        }
        // `..;x` is a dot segment to whoever drops parameters first.
        let name = segment.split(';').next().unwrap_or("").split("%3B").next().unwrap_or("");
        if matches!(name, "." | "..") {
            return Err(Ambiguous::DotSegment);
        }
        if name.is_empty() && !segment.is_empty() {
            return Err(Ambiguous::EmptySegment);
        }
    }
    Ok(())
}

/// A host and perhaps a port, as a request names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority {
    /// Lower case, without a dot at the end; IPv6 in brackets.
    pub host: String,
    pub port: Option<u16>,
}

impl Authority {
    /// Reads the value of `Host` or `:authority` (RFC 9110 §7.2). User information is refused.
    pub fn parse(raw: &[u8]) -> Result<Self, Ambiguous> {
        if let Some(plain) = Authority::plain(raw) {
            return Ok(plain);
        }
        let text = std::str::from_utf8(raw).map_err(|_| Ambiguous::Host)?;
        let (host, port) = match text.rfind(':').filter(|&colon| !text[colon..].contains(']')) {
            Some(colon) => (&text[..colon], Some(&text[colon + 1..])),
            None => (text, None),
        };
        let digits = |port: &str| !port.is_empty() && port.len() <= 5 && port.bytes().all(|b| b.is_ascii_digit());
        let port = match port {
            Some(port) if digits(port) => Some(port.parse().map_err(|_| Ambiguous::Host)?),
            Some(_) => return Err(Ambiguous::Host),
            None => None,
        };
        Ok(Authority { host: host_name(host)?.into_owned(), port })
    }

    /// The authority where it stands in its canonical form already, as in nearly every request: read in one pass. `None`
    /// says nothing of it but that it has to be looked at more closely.
    fn plain(raw: &[u8]) -> Option<Self> {
        let mut label = 0;
        let mut end = raw.len();
        for (at, byte) in raw.iter().enumerate() {
            match byte {
                b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' if label < 63 => label += 1,
                b'.' if label > 0 => label = 0,
                b':' => {
                    end = at;
                    break;
                }
                _ => return None,
            }
        }
        if label == 0 || end > 253 {
            return None;
        }
        let port = match raw.get(end + 1..) {
            None => None,
            Some(digits) if (1..=5).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit) => {
                let port = digits.iter().fold(0, |port: u32, digit| port * 10 + u32::from(digit - b'0'));
                Some(u16::try_from(port).ok()?)
            }
            Some(_) => return None,
        };
        Some(Authority { host: std::str::from_utf8(&raw[..end]).ok()?.to_owned(), port })
    }
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.host)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

/// The canonical form of a host name, IPv4 address or bracketed IPv6 address.
pub fn host_name(host: &str) -> Result<Cow<'_, str>, Ambiguous> {
    if let Some(inner) = host.strip_prefix('[') {
        let address =
            inner.strip_suffix(']').and_then(|a| a.parse::<std::net::Ipv6Addr>().ok()).ok_or(Ambiguous::Host)?;
        return Ok(format!("[{address}]").into());
    }
    let bare = host.strip_suffix('.').unwrap_or(host);
    let valid = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    if bare.len() > 253 || !bare.split('.').all(valid) {
        return Err(Ambiguous::Host);
    }
    Ok(if bare.bytes().any(|b| b.is_ascii_uppercase()) { bare.to_ascii_lowercase().into() } else { bare.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_form_of_every_path() {
        for (raw, canonical) in [
            ("/", "/"),
            ("/a/b", "/a/b"),
            ("/a/", "/a/"),
            ("/%61%2Dx", "/a-x"),
            ("/a%3ab", "/a%3Ab"),
            ("/a%c3%a4", "/a%C3%A4"),
            ("/ä", "/%C3%A4"),
            ("/a{b}", "/a%7Bb%7D"),
            ("/%23x", "/%23x"),
            ("/a..b", "/a..b"),
            ("/...", "/..."),
            ("/a;v=1", "/a;v=1"),
            ("/%25", "/%25"),
            ("/100%25x", "/100%25x"),
            ("/@user/+x", "/@user/+x"),
        ] {
            assert_eq!(CanonicalPath::parse(raw.as_bytes()).map(|p| p.text), Ok(canonical.into()), "{raw}");
            assert_eq!(
                CanonicalPath::parse(canonical.as_bytes()).map(|p| p.text),
                Ok(canonical.into()),
                "{canonical} again"
            );
        }
    }

    #[test]
    fn a_path_with_two_readings_is_none() {
        for raw in [
            "",
            "a",
            "//",
            "//a",
            "/a//b",
            "/.",
            "/..",
            "/./a",
            "/a/..",
            "/a/../b",
            "/a/%2e%2e/b",
            "/%2E/b",
            "/.%2e/",
            "/a\\b",
            "/a%5cb",
            "/a%2fb",
            "/a%2Fb",
            "/a%00",
            "/a%0d%0a",
            "/a\tb",
            "/a b",
            "/a#b",
            "/a?b",
            "/%",
            "/%4",
            "/%zz",
            "/%252e%252e/",
            "/%252f",
            "/%25%32e%25%32e%25%32fadmin",
            "/%25%32%65",
            "/%25%35%63",
            "/public/%2561dmin",
            "/%255c",
            "/%2525",
            "/..;/a",
            "/a/..;x/b",
            "/;x/a",
            "/a/;/b",
            "/%3Bx/a",
            "/..%3Bx/a",
            "/%2500",
            "/%7f",
        ] {
            assert!(CanonicalPath::parse(raw.as_bytes()).is_err(), "{raw:?}");
        }
    }

    #[test]
    fn parameters_are_seen() {
        let without = |raw: &str| CanonicalPath::parse(raw.as_bytes()).expect(raw).without_parameters();
        assert_eq!(without("/a/b"), None);
        assert_eq!(without("/admin;x/b;y=1").as_deref(), Some("/admin/b"));
        assert_eq!(without("/admin%3bx").as_deref(), Some("/admin"));
    }

    #[test]
    fn one_form_of_every_host() {
        for (raw, canonical) in [
            ("Example.COM", "example.com"),
            ("example.com.", "example.com"),
            ("a:80", "a:80"),
            ("127.0.0.1:8080", "127.0.0.1:8080"),
            ("[::1]:8080", "[::1]:8080"),
            ("[0:0::1]", "[::1]"),
            ("my_app", "my_app"),
        ] {
            assert_eq!(Authority::parse(raw.as_bytes()).map(|a| a.to_string()), Ok(canonical.into()), "{raw}");
        }
        for raw in [
            "", ".", "..", "a b", "a/b", "user@a", "a:", "a:b", "a:99999", "a:+80", "[::1", "::1", "a..b", "a#", "a?",
            "ä", "a,b", "-%41",
        ] {
            assert!(Authority::parse(raw.as_bytes()).is_err(), "{raw}");
        }
    }
}
