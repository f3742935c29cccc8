//! An app that does not take the request's headers because they are too large.
//!
//! Its own answer is most often an empty page; who reads it cannot know that the groups of the person are what is too long. So
//! the gateway answers in its place, and says what took the room.

use http::{HeaderMap, HeaderValue, StatusCode, header};
use pingora_http::ResponseHeader;
use pingora_proxy::Session;

use super::Gateway;
use super::account::Way;
use crate::authn::Program;
use crate::reason::{Failure, Reason};
use crate::session::cookies::{largest, pairs};

/// Bytes of a head from which a 400 is likely to be about its size: the smallest limit that servers have.
const SUSPICIOUS: usize = 8_000;

impl Gateway {
    /// What an app that answers with `answer` complains of, where it is the size of the headers: 431 says so (RFC 6585 §5).
    /// Many say 400, which counts where the headers that the gateway wrote are most of a head that is large, and where the
    /// app hangs up: a server that could not read the head does, and an app that finds fault with a form does not.
    pub(super) fn too_large_for_the_app(
        &self,
        session: &Session,
        answer: &ResponseHeader,
        way: &Way,
    ) -> Option<Failure> {
        let status = answer.status;
        if !matches!(status.as_u16(), 400 | 431) {
            return None;
        }
        let closes = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"close");
        if status == StatusCode::BAD_REQUEST && !answer.headers.get_all(header::CONNECTION).iter().any(closes) {
            return None;
        }
        let told = way.program.as_ref().map_or(&[][..], Program::headers);
        let written: Vec<_> = told
            .iter()
            .chain(&way.identity)
            .map(|(name, value)| (name.as_str().len() + value.len() + 4, name))
            .collect();
        let ours: usize = written.iter().map(|(bytes, _)| bytes).sum();
        // Where nothing of the gateway's is in the head, the app's answer is between it and whoever asks.
        if ours == 0 {
            return None;
        }
        let brought = &session.req_header().headers;
        let own = pairs(brought).filter(|(name, _)| self.context.cookies.is_own(name));
        let theirs = size(brought).saturating_sub(own.map(|(name, value)| name.len() + value.len() + 3).sum());
        if status == StatusCode::BAD_REQUEST && (ours + theirs < SUSPICIOUS || ours < theirs) {
            return None;
        }
        let longest = written.iter().max_by_key(|(bytes, _)| bytes);
        let longest = longest.map(|(bytes, name)| format!(", the longest `{name}` {bytes}")).unwrap_or_default();
        let cookies = largest(&session.req_header().headers);
        let detail = format!(
            "the app answered {}; identity headers have {ours} bytes{longest}; the request brought {theirs} bytes, {cookies}",
            status.as_u16()
        );
        let failure = Failure::new(Reason::AppHeadersTooLarge, detail);
        let longest = written.iter().max_by_key(|(bytes, _)| bytes).filter(|_| ours > theirs);
        Some(failure.remedied_by(longest.map(|(bytes, name)| {
            format!(
                "Have the provider send fewer groups or shorter claims to this client, for `{name}` takes {bytes} bytes; or raise the \
                 limit of the app, or leave the header out (`headers.standard`, `headers.set`)."
            )
        })))
    }
}

/// Bytes of the fields, but for what the gateway takes off in any case.
fn size(headers: &HeaderMap) -> usize {
    let kept = headers.iter().filter(|(name, _)| *name != header::AUTHORIZATION);
    kept.map(|(name, value)| name.as_str().len() + value.len() + 4).sum()
}
