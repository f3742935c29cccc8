//! Sessions that end while an answer is under way.
//!
//! Promise: a WebSocket or an event stream, which has no end of its own, passes nothing more in either direction once its
//! session was ended. Nothing runs beside it: each piece that passes looks at one number. Other answers come whole, and so
//! does a stream whose browser merely got another session.

use std::time::SystemTime;

use http::{StatusCode, header};
use pingora_core::{Error, ErrorType, Result};
use pingora_http::ResponseHeader;

use super::Gateway;
use super::account::{Way, WayOutcome};
use crate::clock::unix_seconds;
use crate::reason::{Failure, Reason};
use crate::session::Session;
use crate::session::ended::Ending;

/// Whose request it is.
pub(super) struct Watched {
    pub session: Box<Session>,
    /// What had been said of ended sessions when this one was judged.
    pub said: u64,
    /// Whether the answer is one without an end.
    pub streams: bool,
}

impl Gateway {
    /// Refuses the next piece of a stream whose session has ended.
    pub(super) fn check_stream(&self, way: &mut Way) -> Result<()> {
        let Some(watched) = way.watched.as_mut().filter(|watched| watched.streams) else { return Ok(()) };
        let said = self.context.ended.said();
        if said == watched.said {
            return Ok(());
        }
        watched.said = said;
        match self.context.ended.ended(&watched.session, unix_seconds(SystemTime::now())) {
            None | Some(Ending::Replaced) => Ok(()),
            Some(ending) => {
                way.outcome = WayOutcome::Refused(Failure::new(Reason::SessionEnded, ending.detail()));
                Error::e_explain(ErrorType::InternalError, "the session has ended")
            }
        }
    }

    /// Whether the session's cookie may not go out with the answer any more: the browser has another one by now.
    pub(super) fn is_replaced(&self, way: &Way) -> bool {
        way.watched.as_ref().is_some_and(|watched| self.context.ended.is_replaced(&watched.session))
    }
}

/// Whether an answer has no end of its own.
pub(super) fn streams(response: &ResponseHeader) -> bool {
    let events = || response.headers.get(header::CONTENT_TYPE).map(|kind| kind.as_bytes());
    response.status == StatusCode::SWITCHING_PROTOCOLS
        || events().and_then(|kind| kind.get(..17)).is_some_and(|kind| kind.eq_ignore_ascii_case(b"text/event-stream"))
}
