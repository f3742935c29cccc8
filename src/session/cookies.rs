//! The gateway's cookies: their names, finding them in a request, and the `Set-Cookie` that make and end them.
//!
//! Promise: work on what a client sends is bounded; no value of a client decides how much is allocated. Where two
//! cookies of one name come, neither is taken: a sibling host can plant a second one.

use std::borrow::Cow;

use cookie::{Cookie, SameSite};
use http::{HeaderMap, HeaderValue, header};
use memchr::memchr;
use url::Url;

use crate::config::model;
use crate::words::{counted, in_words};

/// Cookies a session is split over at most.
pub const MAX_PARTS: usize = 5;
/// Browsers keep 4096 bytes of name and value (RFC 6265bis §5.6); the rest is left for the name.
const PART_BYTES: usize = 3900;

/// Sealed sessions of one request that are ended at most.
const MOST_SESSIONS: usize = 16;

/// Sealed bytes that all the cookies of a session hold.
pub const MAX_BYTES: usize = MAX_PARTS * PART_BYTES;

/// Names and attributes of all cookies of this gateway.
#[derive(Clone, Debug)]
pub struct Cookies {
    base: String,
    /// `__Host-` where it can be, so that no sibling host can plant one; then `__Secure-`; over http nothing.
    prefix: &'static str,
    domain: Option<String>,
    secure: bool,
    session_parts: Vec<String>,
    sealed_for: String,
}

impl Cookies {
    pub fn new(settings: &model::Session, public_url: &Url) -> Self {
        let secure = public_url.scheme() == "https";
        let prefix = match (secure, &settings.cookie_domain) {
            (true, None) => "__Host-",
            (true, Some(_)) => "__Secure-",
            (false, _) => "",
        };
        let base = settings.cookie_name.clone();
        let part = |n: usize| if n == 0 { format!("{prefix}{base}") } else { format!("{prefix}{base}_{n}") };
        let session_parts: Vec<String> = (0..MAX_PARTS).map(part).collect();
        let sealed_for = format!("{} at {}", session_parts[0], public_url.origin().ascii_serialization());
        Cookies { base, prefix, domain: settings.cookie_domain.clone(), secure, session_parts, sealed_for }
    }

    /// Name of the session cookie; its further parts are called after it.
    pub fn session(&self) -> &str {
        &self.session_parts[0]
    }

    /// The same, whose sessions are sealed for `more` as well.
    pub fn also_sealed_for(mut self, more: &str) -> Self {
        self.sealed_for = format!("{} {more}", self.sealed_for);
        self
    }

    /// What a session is sealed for: its cookie, and this public URL. Two deployments that share a secret by mistake do
    /// not take each other's people.
    pub fn sealed_for(&self) -> &str {
        &self.sealed_for
    }

    /// Name of the cookie of the sign-in attempt `id`.
    pub fn attempt(&self, id: &str) -> String {
        format!("{}{}_login_{id}", self.prefix, self.base)
    }

    /// Name of the cookie that counts how often this browser came back from the provider.
    pub fn trips(&self) -> String {
        format!("{}{}_trips", self.prefix, self.base)
    }

    /// Name of the cookie with the logout hint. It is sent to `/logout` alone, which `__Host-` forbids.
    pub fn hint(&self) -> String {
        format!("{}{}_hint", if self.secure { "__Secure-" } else { "" }, self.base)
    }

    /// Name of the cookie that waits for a browser to come back from a sign-out at the provider. It is sent to the
    /// signed-out page alone, which `__Host-` forbids.
    pub fn signed_out(&self) -> String {
        format!("{}{}_signed_out", if self.secure { "__Secure-" } else { "" }, self.base)
    }

    /// Whether `name` is a cookie of this gateway, which the app must not see. Any prefix counts: what looks like
    /// ours and is not is nobody's business behind the gateway.
    pub fn is_own(&self, name: &[u8]) -> bool {
        let bare = name.strip_prefix(b"__Host-").or_else(|| name.strip_prefix(b"__Secure-")).unwrap_or(name);
        bare.strip_prefix(self.base.as_bytes()).is_some_and(|rest| {
            let part = |digits: &[u8]| !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
            match rest.strip_prefix(b"_") {
                None => rest.is_empty(),
                Some(kind) => {
                    matches!(kind, b"trips" | b"hint" | b"signed_out") || kind.starts_with(b"login_") || part(kind)
                }
            }
        })
    }

    /// The sealed session of a request.
    pub fn find_session<'a>(&self, headers: &'a HeaderMap) -> Found<'a> {
        let first = match find(headers, self.session()) {
            Ok(None) => return Found::Missing,
            Ok(Some(value)) => value,
            Err(Doubled) => return Found::Broken("two session cookies"),
        };
        let (parts, start) = match number_of_parts(first) {
            Ok(None) => return Found::Whole(first.into()),
            Ok(Some(several)) => several,
            Err(what) => return Found::Broken(what),
        };
        let mut whole = start.to_vec();
        for name in &self.session_parts[1..parts] {
            match find(headers, name) {
                Ok(Some(part)) if part.len() <= PART_BYTES => whole.extend_from_slice(part),
                Ok(Some(_)) => return Found::Broken("a part longer than the gateway makes"),
                Ok(None) => return Found::Broken("a part is missing"),
                Err(Doubled) => return Found::Broken("two of one part"),
            }
        }
        Found::Whole(whole.into())
    }

    /// All that a request brought as sealed sessions, where several cookies have one name, at most
    /// [`MOST_SESSIONS`]; not to sign in by, but to end.
    pub fn every_session<'a>(&self, headers: &'a HeaderMap) -> Vec<Cow<'a, [u8]>> {
        let mut all: Vec<Cow<'a, [u8]>> = Vec::new();
        for first in values(headers, self.session()) {
            let room = MOST_SESSIONS - all.len();
            match number_of_parts(first) {
                Ok(None) => all.push(first.into()),
                Ok(Some((parts, start))) => all.extend(self.joined(headers, parts, start, room).map(Cow::Owned)),
                Err(_) => {}
            }
            if all.len() >= MOST_SESSIONS {
                break;
            }
        }
        all
    }

    /// `start` with each choice of the parts after it, at most `room`.
    fn joined(&self, headers: &HeaderMap, parts: usize, start: &[u8], room: usize) -> impl Iterator<Item = Vec<u8>> {
        let mut all = vec![start.to_vec()];
        for name in &self.session_parts[1..parts] {
            let further: Vec<_> = values(headers, name).into_iter().filter(|part| part.len() <= PART_BYTES).collect();
            let longer = all.iter().flat_map(|head| further.iter().map(move |part| [head.as_slice(), *part].concat()));
            all = longer.take(room).collect();
        }
        all.into_iter()
    }

    /// `Set-Cookie` values that store `sealed` and end the parts that a longer session of this browser left.
    pub fn store_session(&self, sealed: &str, request: &HeaderMap) -> Vec<HeaderValue> {
        let mut rest = sealed;
        let mut values = Vec::new();
        if sealed.len() > PART_BYTES {
            values.push(format!("{}.{}", sealed.len().div_ceil(PART_BYTES).min(MAX_PARTS), take(&mut rest)));
        } else {
            values.push(take(&mut rest).to_owned());
        }
        while !rest.is_empty() && values.len() < MAX_PARTS {
            values.push(take(&mut rest).to_owned());
        }
        let stored =
            values.iter().zip(&self.session_parts).filter_map(|(value, name)| self.set(name, value, None, "/"));
        let left_over = self.session_parts.iter().skip(values.len()).filter(|name| present(request, name));
        stored.chain(left_over.filter_map(|name| self.end(name, "/"))).collect()
    }

    /// `Set-Cookie` values that end every part of the session that came with `request`, and the first in any case.
    pub fn end_session(&self, request: &HeaderMap) -> Vec<HeaderValue> {
        let came = self.session_parts.iter().enumerate().filter(|(n, name)| *n == 0 || present(request, name));
        came.filter_map(|(_, name)| self.end(name, "/")).collect()
    }

    /// A cookie that lives as long as the browser runs, or `seconds`.
    pub fn set(&self, name: &str, value: &str, seconds: Option<u64>, path: &str) -> Option<HeaderValue> {
        let mut cookie = self.plain(name, value, path);
        if let Some(seconds) = seconds {
            cookie.set_max_age(cookie::time::Duration::seconds(seconds.min(i64::MAX as u64) as i64));
        }
        HeaderValue::from_str(&cookie.to_string()).ok()
    }

    /// A cookie that ends at once.
    pub fn end(&self, name: &str, path: &str) -> Option<HeaderValue> {
        let mut cookie = self.plain(name, "", path);
        cookie.set_max_age(cookie::time::Duration::ZERO);
        HeaderValue::from_str(&cookie.to_string()).ok()
    }

    fn plain<'a>(&self, name: &'a str, value: &'a str, path: &'a str) -> Cookie<'a> {
        let mut cookie = Cookie::build((name, value))
            .path(path)
            .http_only(true)
            .same_site(SameSite::Lax)
            .secure(self.secure)
            .build();
        if let Some(domain) = &self.domain {
            cookie.set_domain(domain.clone());
        }
        cookie
    }

    /// How many cookies came, and how many of them are the gateway's.
    pub fn count(&self, request: &HeaderMap) -> (usize, usize) {
        let own = pairs(request).filter(|(name, _)| self.is_own(name)).count();
        (pairs(request).count(), own)
    }

    /// How many cookies of how many bytes came, and how many of them are the gateway's: for the log.
    pub fn sizes(&self, request: &HeaderMap) -> String {
        let bytes = |own: bool| -> usize {
            let counted = pairs(request).filter(|(name, _)| !own || self.is_own(name));
            counted.map(|(name, value)| name.len() + value.len() + 1).sum()
        };
        let (all, own) = self.count(request);
        if all == 0 {
            return "not one cookie came".to_owned();
        }
        let came = counted(all, "cookie came", "cookies came");
        format!("{came} ({} bytes), {own} of them the gateway's ({} bytes)", bytes(false), bytes(true))
    }

    /// Ids of the sign-in attempts that came with `request`, at most twenty; older ones sort first.
    pub fn attempts(&self, request: &HeaderMap) -> Vec<String> {
        let prefix = self.attempt("");
        let mut ids: Vec<String> = pairs(request)
            .filter_map(|(name, _)| std::str::from_utf8(name).ok()?.strip_prefix(&prefix))
            .filter(|id| (1..=32).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric()))
            .take(20)
            .map(String::from)
            .collect();
        ids.sort_unstable();
        ids
    }
}

/// Of how many parts a session is, and what the first of them holds; `None` where that is all. `N.` before the text says
/// it; base64url has no dot.
fn number_of_parts(first: &[u8]) -> Result<Option<(usize, &[u8])>, &'static str> {
    let Some(dot) = first.iter().take(8).position(|&b| b == b'.') else { return Ok(None) };
    match &first[..dot] {
        [digit @ b'2'..=b'9'] if usize::from(digit - b'0') <= MAX_PARTS => {
            Ok(Some((usize::from(digit - b'0'), &first[dot + 1..])))
        }
        _ => Err("a number of parts that no session has"),
    }
}

/// The different values of the cookie `name`, at most [`MOST_SESSIONS`].
fn values<'a>(headers: &'a HeaderMap, name: &str) -> Vec<&'a [u8]> {
    let mut found: Vec<&[u8]> = Vec::new();
    for (_, value) in pairs(headers).filter(|(key, _)| *key == name.as_bytes()) {
        if found.len() < MOST_SESSIONS && !found.contains(&value) {
            found.push(value);
        }
    }
    found
}

fn take<'a>(rest: &mut &'a str) -> &'a str {
    let (part, tail) = rest.split_at(rest.len().min(PART_BYTES));
    *rest = tail;
    part
}

/// What a request brought as session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found<'a> {
    Missing,
    /// Something that is no session; the words are for the log.
    Broken(&'static str),
    /// The sealed text; borrowed where one cookie holds all of it.
    Whole(Cow<'a, [u8]>),
}

/// Two cookies of one name with different values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Doubled;

/// The value of the cookie `name`, over all `Cookie` fields (HTTP/2 may send one field a cookie, RFC 9113 §8.2.3).
pub fn find<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a [u8]>, Doubled> {
    let mut found = None;
    for (key, value) in pairs(headers) {
        if key == name.as_bytes() {
            match found {
                None => found = Some(value),
                Some(same) if same == value => {}
                Some(_) => return Err(Doubled),
            }
        }
    }
    Ok(found)
}

fn present(headers: &HeaderMap, name: &str) -> bool {
    pairs(headers).any(|(key, _)| key == name.as_bytes())
}

/// What the cookies of a request take, the largest by name and size: for the log.
pub fn largest(headers: &HeaderMap) -> String {
    let mut sizes: Vec<_> = pairs(headers).map(|(name, value)| (name.len() + value.len() + 1, name)).collect();
    let all: usize = sizes.iter().map(|(size, _)| size).sum();
    sizes.sort_unstable_by(|a, b| b.cmp(a));
    let shown = |(size, name): &(usize, &[u8])| {
        let name: String = String::from_utf8_lossy(name).chars().take(40).collect();
        format!("{} {size}", in_words(&name))
    };
    let most = sizes.iter().take(3).map(shown).collect::<Vec<_>>().join(", ");
    match sizes.len() {
        0 => "none of them cookies".into(),
        count => format!("{all} of them {count} cookies, the largest {most}"),
    }
}

/// Names and values of all cookies, in order, white space around them taken off. Pieces without `=` are no cookies.
pub fn pairs(headers: &HeaderMap) -> impl Iterator<Item = (&[u8], &[u8])> {
    let fields = headers.get_all(header::COOKIE).into_iter().map(HeaderValue::as_bytes);
    fields.flat_map(pieces).filter_map(|piece| {
        let piece = piece.trim_ascii();
        let equals = memchr(b'=', piece)?;
        Some((piece[..equals].trim_ascii_end(), piece[equals + 1..].trim_ascii_start()))
    })
}

/// What stands between the semicolons of `field`. A session's cookie is hundreds of bytes long, and every request is
/// searched for it.
fn pieces(field: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(field);
    std::iter::from_fn(move || {
        let field = rest?;
        let end = memchr(b';', field);
        rest = end.map(|end| &field[end + 1..]);
        Some(&field[..end.unwrap_or(field.len())])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cookies(url: &str, domain: Option<&str>) -> Cookies {
        let settings = model::Session { cookie_domain: domain.map(String::from), ..Default::default() };
        Cookies::new(&settings, &Url::parse(url).expect("url"))
    }

    fn request(fields: &[&str]) -> HeaderMap {
        fields.iter().map(|f| (header::COOKIE, HeaderValue::from_str(f).expect("value"))).collect()
    }

    /// The request a browser makes after the answers `set`.
    fn browser(set: &[HeaderValue]) -> HeaderMap {
        let kept = set.iter().map(|v| v.to_str().expect("text")).filter(|v| !v.contains("Max-Age=0"));
        request(&[&kept.map(|v| v.split(';').next().unwrap_or("")).collect::<Vec<_>>().join("; ")])
    }

    #[test]
    fn prefixes_follow_scheme_and_domain() {
        assert_eq!(cookies("https://a.example", None).session(), "__Host-doorward");
        assert_eq!(cookies("https://a.example", Some("example")).session(), "__Secure-doorward");
        assert_eq!(cookies("http://a.example", None).session(), "doorward");
        let set = cookies("https://a.example", None).set("n", "v", None, "/").expect("value");
        assert_eq!(set, "n=v; HttpOnly; SameSite=Lax; Secure; Path=/");
    }

    #[test]
    fn a_long_session_is_split_and_put_together_again() {
        let c = cookies("https://a.example", None);
        for length in [1, PART_BYTES, PART_BYTES + 1, 2 * PART_BYTES, 12_000] {
            let sealed = "s".repeat(length);
            let set = c.store_session(&sealed, &HeaderMap::new());
            assert!(set.iter().all(|v| v.to_str().expect("text").split(';').next().expect("pair").len() <= 4096));
            assert_eq!(c.find_session(&browser(&set)), Found::Whole(sealed.into_bytes().into()), "{length}");
        }
    }

    #[test]
    fn parts_left_over_from_a_longer_session_end() {
        let c = cookies("https://a.example", None);
        let long = browser(&c.store_session(&"s".repeat(9000), &HeaderMap::new()));
        let ended =
            |set: &[HeaderValue]| set.iter().filter(|v| v.to_str().expect("text").contains("Max-Age=0")).count();
        assert_eq!(ended(&c.store_session("short", &long)), 2);
        assert_eq!(ended(&c.end_session(&long)), 3);
    }

    #[test]
    fn garbage_is_no_session_and_bounds_the_work() {
        let c = cookies("http://a.example", None);
        for field in ["", ";", ";=;;", "=", "doorward", "doorwardx=1", "a=b; doorward_1=x", "\"doorward=x"] {
            assert_eq!(c.find_session(&request(&[field])), Found::Missing, "{field}");
        }
        for field in [
            "doorward=999.x",
            "doorward=9.x",
            "doorward=0.x",
            "doorward=1.x",
            "doorward=.x",
            "doorward=2.x",
            "doorward=3.x; doorward_1=y",
            "doorward=x; doorward=y",
        ] {
            assert!(matches!(c.find_session(&request(&[field])), Found::Broken(_)), "{field}");
        }
        assert_eq!(c.find_session(&request(&["a=1", "doorward=x", "doorward=x"])), Found::Whole(b"x".into()));
    }

    #[test]
    fn sessions_beside_others_are_found_to_be_ended_and_bound_the_work() {
        let c = cookies("http://a.example", None);
        let every = |fields: &[&str]| {
            let request = request(fields);
            let found = c.every_session(&request);
            found.into_iter().map(|v| String::from_utf8(v.into_owned()).expect("text")).collect::<Vec<_>>()
        };
        assert_eq!(every(&["a=b"]), [""; 0]);
        assert_eq!(every(&["doorward=x; doorward=y", "doorward=x; doorward=9.z"]), ["x", "y"]);
        assert_eq!(every(&["doorward=2.a; doorward_1=b; doorward=y; doorward_1=c"]), ["ab", "ac", "y"]);
        assert_eq!(every(&["doorward=3.a; doorward_1=b; doorward=y"]), ["y"]);
        let many: Vec<_> = (0..100).map(|n| format!("doorward=5.{n}; doorward_{}={n}", n % 4 + 1)).collect();
        assert_eq!(every(&[&many.join("; ")]).len(), MOST_SESSIONS);
        let many: Vec<_> = (0..100).map(|n| format!("doorward={n}")).collect();
        assert_eq!(every(&[&many.join("; ")]).len(), MOST_SESSIONS);
    }

    #[test]
    fn own_cookies_are_known_in_every_prefix_and_others_are_not() {
        let c = cookies("https://a.example", None);
        for name in [
            "doorward",
            "__Host-doorward",
            "__Secure-doorward_hint",
            "doorward_1",
            "doorward_12",
            "doorward_login_x",
            "doorward_trips",
        ] {
            assert!(c.is_own(name.as_bytes()), "{name}");
        }
        for name in ["doorwards", "doorward_theme", "xdoorward", "doorward-1", "doorward_", "__Host-other"] {
            assert!(!c.is_own(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn one_cookie_is_counted_as_one() {
        let c = cookies("http://a.example", None);
        assert_eq!(c.sizes(&request(&["a=b"])), "1 cookie came (3 bytes), 0 of them the gateway's (0 bytes)");
        assert_eq!(c.sizes(&request(&["a=b; doorward=c"])).split(" (").next(), Some("2 cookies came"));
    }

    #[test]
    fn attempts_are_listed_oldest_first() {
        let c = cookies("http://a.example", None);
        let r = request(&["doorward_login_b2=x; doorward_login_a1=y; doorward_login_=z; doorward_login_%=q; a=b"]);
        assert_eq!(c.attempts(&r), ["a1", "b2"]);
    }
}
