//! Reading the body of a request to one of the gateway's own addresses.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header;
use pingora_proxy::Session;

use crate::reason::{Failure, Reason};

/// How long the whole body may take.
const TIME: Duration = Duration::from_secs(10);

/// The body, whole, of at most `limit` bytes.
pub async fn read(session: &mut Session, limit: usize) -> Result<Bytes, Failure> {
    let too_large = |bytes: usize| {
        Failure::new(Reason::BodyNotExpected, format!("{bytes} bytes or more; this address reads up to {limit}"))
    };
    let head = session.req_header();
    let announced = head.headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<usize>().ok());
    if let Some(bytes) = announced.filter(|bytes| *bytes > limit) {
        return Err(too_large(bytes));
    }
    let cut = |_| Failure::new(Reason::RequestTimedOut, "the body ended early");
    if head.headers.contains_key(header::EXPECT) {
        session.downstream_session.write_continue_response().await.map_err(cut)?;
    }
    let whole = async {
        let mut body = BytesMut::new();
        while let Some(part) = session.downstream_session.read_request_body().await.map_err(cut)? {
            if body.len() + part.len() > limit {
                return Err(too_large(body.len() + part.len()));
            }
            body.extend_from_slice(&part);
        }
        Ok(body.freeze())
    };
    let late = |_| Failure::new(Reason::RequestTimedOut, format!("no whole body within {} s", TIME.as_secs()));
    tokio::time::timeout(TIME, whole).await.map_err(late)?
}
