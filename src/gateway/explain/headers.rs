//! Steps 7 and 8 of an explanation: the head that the app would get, made by the function that makes it.

use http::{HeaderMap, HeaderName, header};
use pingora_http::RequestHeader;

use super::super::Gateway;
use super::super::account::Way;
use super::super::headers::take_parts;
use super::{Outcome, Verdict};
use crate::examined::{Fate, Field, Step};

/// What the proxy library takes off before the sanitiser sees the head, beside what `Connection` names (RFC 9110 §7.6.1).
const HOP_BY_HOP: [&str; 10] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
];

impl Gateway {
    /// Steps 7 and 8 for a request that passes, and that they do not apply for every other.
    pub(super) fn passed_on(&self, head: &RequestHeader, way: &Way, verdict: &Verdict) -> [Step; 2] {
        let Some(index) = way.route.filter(|_| verdict.outcome == Outcome::Passed) else { return not_sent() };
        let (mut told, mut target) = (Step::new(7, "headers for the app"), Step::new(8, "upstream"));
        let before = head.headers.clone();
        let mut sent = RequestHeader::from(take_parts(&mut head.clone()));
        hop_by_hop(&before).iter().for_each(|name| drop(sent.remove_header(name)));
        let mut bare = RequestHeader::from(take_parts(&mut head.clone()));
        before.keys().filter(|name| *name != header::HOST).for_each(|name| drop(bare.remove_header(name)));
        if let Err(error) = self.tell_app(&mut sent, way).and_then(|()| self.tell_app(&mut bare, way)) {
            told.say(format!("they cannot be made: {error}"));
            return [told, target];
        }
        told.say("written by the gateway, passed on from the client, or taken off");
        told.headers = fields(&before, &sent.headers, &bare.headers);
        let upstream = &self.upstreams[self.routes[index].upstream];
        let path = String::from_utf8_lossy(sent.raw_path()).into_owned();
        target.say(format!("`{}` at {}: {} {path}", upstream.name, upstream.url(), sent.method));
        if let Some(prefix) = &self.routes[index].strip {
            target.say(format!("without the route's prefix {prefix}"));
        }
        [told, target]
    }
}

/// Steps 7 and 8 of a request that ends at the gateway.
pub(super) fn not_sent() -> [Step; 2] {
    let told = Step::new(7, "headers for the app").saying("none: the app does not get the request");
    [told, Step::new(8, "upstream").saying("none")]
}

/// Names of what the library takes off.
fn hop_by_hop(headers: &HeaderMap) -> Vec<HeaderName> {
    let named = headers.get_all(header::CONNECTION).iter().filter_map(|value| value.to_str().ok());
    let named = named.flat_map(|value| value.split(',')).map(str::trim);
    named.chain(HOP_BY_HOP).filter_map(|name| name.parse().ok()).filter(|name| headers.contains_key(name)).collect()
}

/// Each header with what becomes of it. `written` is what the app would get of a request that has nothing but a host.
fn fields(before: &HeaderMap, sent: &HeaderMap, written: &HeaderMap) -> Vec<Field> {
    let mut all = Vec::new();
    for (name, value) in sent {
        let fate = if written.contains_key(name) { Fate::Written } else { Fate::Passed };
        let text = match name.as_str() {
            // Somebody's credentials, were they for the app.
            "cookie" | "authorization" => format!("… ({} bytes)", value.len()),
            _ => String::from_utf8_lossy(value.as_bytes()).into_owned(),
        };
        all.push(Field { name: name.to_string(), value: text, fate });
    }
    let overwritten = |name: &HeaderName| *name != header::HOST && written.contains_key(name);
    let dropped = before.keys().filter(|name| !sent.contains_key(*name) || overwritten(name));
    all.extend(dropped.map(|name| Field { name: name.to_string(), value: String::new(), fate: Fate::Dropped }));
    all.sort_by(|a, b| (a.fate as u8, &a.name).cmp(&(b.fate as u8, &b.name)));
    all
}
