//! How an answer of the gateway's own goes out, and what becomes of a body that nobody reads.

use std::time::Duration;

use http::{Method, header};
use pingora_core::Result;
use pingora_http::ResponseHeader;
use pingora_proxy::Session;

use crate::endpoints::Answer;

/// Bytes of an unread body that are read and thrown away so that the connection can be used again.
const DRAIN_BYTES: u64 = 256 * 1024;
/// How long that may take.
const DRAIN_TIME: Duration = Duration::from_secs(2);

/// Writes `answer`. With `close` the connection ends afterwards: what follows on it cannot be told apart.
pub async fn write(session: &mut Session, answer: Answer, close: bool) -> Result<()> {
    let drain = if close { Drain::Close } else { Drain::of(session) };
    if drain != Drain::Nothing {
        session.set_total_drain_timeout(Some(DRAIN_TIME));
    }
    if matches!(drain, Drain::Close | Drain::ReadThenClose) {
        session.set_keepalive(None);
    }
    let without_body = session.req_header().method == Method::HEAD;
    let mut head = ResponseHeader::build(answer.status, Some(answer.headers.len() + 2))?;
    for (name, value) in answer.headers {
        head.append_header(name, value)?;
    }
    head.insert_header(header::CONTENT_LENGTH, answer.body.len())?;
    let ended = without_body || answer.body.is_empty();
    session.write_response_header(Box::new(head), ended).await?;
    if !ended {
        session.write_response_body(Some(answer.body), true).await?;
    }
    if drain == Drain::ReadThenClose {
        linger(session).await;
    }
    Ok(())
}

/// What to do with the request's body, which nobody will read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Drain {
    /// There is none.
    Nothing,
    /// It is short: the proxy library reads it before the connection is used again.
    Short,
    /// It is long or of unknown length: a little is read, so that the client sees the answer before the reset.
    ReadThenClose,
    /// Whether it comes at all is open (`Expect: 100-continue`, RFC 9110 §10.1.1), or where it ends.
    Close,
}

impl Drain {
    fn of(session: &mut Session) -> Self {
        if session.is_body_done() {
            return Drain::Nothing;
        }
        // A stream of HTTP/2 ends without its connection.
        if session.is_http2() {
            return Drain::Short;
        }
        let headers = &session.req_header().headers;
        if headers.contains_key(header::EXPECT) {
            return Drain::Close;
        }
        let length = headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
        match length {
            Some(bytes) if bytes <= DRAIN_BYTES => Drain::Short,
            _ => Drain::ReadThenClose,
        }
    }
}

/// Reads some of the body after the answer: a connection closed over unread bytes is reset, and the reset can overtake
/// the answer.
async fn linger(session: &mut Session) {
    let read = async {
        let mut bytes = 0;
        while bytes < DRAIN_BYTES * 16 {
            match session.downstream_session.read_request_body().await {
                Ok(Some(part)) => bytes += part.len() as u64,
                Ok(None) | Err(_) => break,
            }
        }
    };
    // Too slow is as good as done.
    let _ = tokio::time::timeout(DRAIN_TIME, read).await;
}
