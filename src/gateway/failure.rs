//! What went wrong between client, gateway and app, by name.

use pingora_core::ErrorType::*;
use pingora_core::{Error, ErrorSource};

use crate::reason::{Failure, Reason};

/// The name of a failure that the proxy library reports while it forwards a request.
///
/// Its own text goes into the detail: it names addresses and the operating system's words, and no header.
pub fn name(error: &Error) -> Failure {
    Failure::new(reason(error), describe(error))
}

fn reason(error: &Error) -> Reason {
    if *error.esource() == ErrorSource::Downstream {
        return match error.etype() {
            ReadTimedout => Reason::RequestTimedOut,
            // Such as a `Connection` that names a forwarding header.
            InvalidHTTPHeader => Reason::HeaderMalformed,
            // The library's own names for a body whose chunks cannot be read.
            Custom(_) | CustomCode(..) | InvalidH2 => Reason::FramingAmbiguous,
            _ => Reason::ClientGone,
        };
    }
    match error.etype() {
        TLSHandshakeFailure | InvalidCert | HandshakeError => Reason::UpstreamTls,
        ConnectTimedout | TLSHandshakeTimedout | ConnectRefused | ConnectNoRoute | ConnectError | SocketError
        | BindError => Reason::UpstreamUnreachable,
        ReadTimedout | WriteTimedout => Reason::UpstreamTimeout,
        _ if *error.esource() == ErrorSource::Upstream => Reason::UpstreamBroke,
        InvalidHTTPHeader => Reason::HeaderMalformed,
        _ => Reason::Internal,
    }
}

fn describe(error: &Error) -> String {
    let mut words = error.etype().as_str().to_owned();
    if let Some(context) = &error.context {
        words.push_str(": ");
        words.push_str(context.as_str());
    }
    if let Some(cause) = &error.cause {
        words.push_str(": ");
        words.push_str(&cause.to_string());
    }
    words.chars().take(400).collect()
}
