//! What went wrong between client, gateway and app, by name.

use std::time::Duration;

use pingora_core::ErrorType::*;
use pingora_core::{BError, Error, ErrorSource};

use crate::config::values::AppUrl;
use crate::reason::{Failure, Reason};
use crate::tls_fault::{MAKE_SERVERS, TlsFault};
use crate::words::in_words;

/// The name of a failure that the proxy library reports while it forwards a request to the app at `url`.
///
/// The detail says in words who did what. It names addresses and the operating system's words, and no header.
pub fn name(error: &Error, url: Option<&AppUrl>) -> Failure {
    let reason = reason(error);
    let app = App { error, url, words: words(error) };
    match reason {
        Reason::UpstreamTls => app.tls(),
        Reason::UpstreamUnreachable if *error.root_etype() == BindError => app.no_port(),
        Reason::UpstreamUnreachable => Failure::new(reason, app.unreachable()),
        Reason::UpstreamTimeout => {
            Failure::new(reason, format!("{} says nothing in time, {}", app.called(), app.when()))
        }
        Reason::UpstreamBroke => app.broke(),
        _ => Failure::new(reason, app.words),
    }
}

/// The end of a WebSocket on which nobody said anything, neither the client nor the app at `url`.
pub fn silent(url: &AppUrl, idle: Duration) -> Failure {
    let detail = format!("nothing came on the WebSocket to {url} for {}s", idle.as_secs_f32());
    Failure::new(Reason::UpstreamTimeout, detail).remedied(
        "Have the app or its client send a ping more often, or raise `stream_idle` of the app's `[[upstream]]`.",
    )
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
        // What the library could not even begin to connect with.
        InternalError if matches!(error.root_etype(), BindError | SocketError) => Reason::UpstreamUnreachable,
        ReadTimedout | WriteTimedout => Reason::UpstreamTimeout,
        _ if *error.esource() == ErrorSource::Upstream => Reason::UpstreamBroke,
        InvalidHTTPHeader => Reason::HeaderMalformed,
        _ => Reason::Internal,
    }
}

/// What an app did, or did not do.
struct App<'a> {
    error: &'a Error,
    url: Option<&'a AppUrl>,
    /// Of the library.
    words: String,
}

impl App<'_> {
    /// As it is configured.
    fn called(&self) -> String {
        self.url.map_or_else(|| "the app".to_owned(), ToString::to_string)
    }

    /// The address of several that was asked, where the library says it; else as it is configured.
    fn address(&self) -> String {
        let after = self.words.split_once("addr: ").map(|(_, rest)| rest);
        let address = after.and_then(|rest| rest.split(',').next()).map(str::trim);
        match address.filter(|address| !address.is_empty()) {
            Some(address) => address.to_owned(),
            None => self.called(),
        }
    }

    fn unreachable(&self) -> String {
        let address = self.address();
        match self.error.root_etype() {
            ConnectRefused => format!("{address} refuses the connection"),
            ConnectTimedout => format!("{address} takes no connection in time"),
            TLSHandshakeTimedout => format!("{address} does not end the TLS handshake in time"),
            ConnectNoRoute => format!("there is no way to {address}"),
            _ => format!("no connection to {address}: {}", cause(self.error).unwrap_or_else(|| self.words.clone())),
        }
    }

    /// The gateway's own lack, which the app knows nothing of.
    fn no_port(&self) -> Failure {
        let said = cause(self.error).unwrap_or_else(|| self.words.clone());
        let detail =
            format!("the gateway's host has no free port (or address) to connect to {} from: {said}", self.called());
        Failure::new(Reason::UpstreamUnreachable, detail).remedied(
            "See with `ss -tan` who holds so many connections to the app; widen `net.ipv4.ip_local_port_range` on the \
             gateway's host. Where the app's address is one of IPv6, see that the host has one, too.",
        )
    }

    fn tls(&self) -> Failure {
        let app = self.called();
        let fault = TlsFault::of(&self.words);
        let said = self.words.rsplit("failed: ").next().unwrap_or_default();
        let said = said.split(", SNI").next().unwrap_or_default().trim();
        // The library puts its own words around those of the one that speaks TLS.
        let said = said.rsplit(" cause: ").next().unwrap_or_default();
        match fault {
            Some(TlsFault::NoTls) => {
                let detail = format!("{app} {}", TlsFault::NoTls.in_words());
                Failure::new(Reason::UpstreamScheme, detail)
                    .remedied("Write http:// in the `url` of the app's `[[upstream]]`: it does not speak TLS there.")
            }
            Some(fault) => {
                let remedy = match fault {
                    TlsFault::Expired => "Renew the app's certificate.",
                    TlsFault::NotYetValid => {
                        "Set the clock of the gateway's host, or give the app a certificate that is valid."
                    }
                    TlsFault::UnknownAuthority => {
                        "Set `tls_ca_file` of its `[[upstream]]` to the authority that the app's certificate is of."
                    }
                    TlsFault::AuthorityAsServer => MAKE_SERVERS,
                    TlsFault::OtherName | TlsFault::NoTls => {
                        "Set `tls_server_name` of its `[[upstream]]` to the name that the app's certificate is for."
                    }
                };
                Failure::new(Reason::UpstreamTls, format!("{app} {} ({said})", fault.in_words())).remedied(remedy)
            }
            None => Failure::new(Reason::UpstreamTls, format!("TLS with {app} fails: {said}")),
        }
    }

    /// At which step the app fell silent.
    fn when(&self) -> String {
        // The outer ones name the peer, which stands there already.
        let mut innermost = self.error;
        while let Some(error) = inner(innermost) {
            innermost = error;
        }
        match innermost.context.as_ref().map(|context| context.as_str()) {
            Some(context) => context.split(", ").next().unwrap_or_default().to_owned(),
            None => innermost.etype().as_str().to_owned(),
        }
    }

    fn broke(&self) -> Failure {
        let app = self.called();
        let begins = self.words.split_once("buf: ").map(|(_, bytes)| bytes);
        let detail = match begins {
            // An alert or another record of TLS 1 (RFC 8446 §5.1).
            Some(bytes) if bytes.starts_with(r"\x15\x03") || bytes.starts_with(r"\x16\x03") => {
                return Failure::new(Reason::UpstreamScheme, format!("{app} speaks TLS, and was spoken to without"))
                    .remedied("Write https:// in the `url` of the app's `[[upstream]]`: it speaks TLS there.");
            }
            Some(bytes) => {
                // The first line alone: what follows may be headers.
                let line = bytes.split(r"\r").next().and_then(|line| line.split(r"\n").next()).unwrap_or_default();
                let line: String = line.chars().take(80).collect();
                format!("the answer of {app} is no HTTP; it begins with {}", in_words(&line))
            }
            None => match self.error.root_etype() {
                ConnectionClosed => format!("{app} closed the connection, {}", self.when()),
                _ => format!("{app}: {}", self.words),
            },
        };
        Failure::new(Reason::UpstreamBroke, detail)
    }
}

/// The library's words, without what it says twice: each error's kind and context once, and what the system said at the end.
fn words(error: &Error) -> String {
    let mut words = error.etype().as_str().to_owned();
    let mut add = |text: &str| {
        if !text.is_empty() && !words.contains(text) {
            words.push_str(": ");
            words.push_str(text);
        }
    };
    let mut next = Some(error);
    while let Some(error) = next {
        add(error.etype().as_str());
        add(error.context.as_ref().map_or("", |context| context.as_str()));
        next = inner(error);
        if next.is_none() {
            add(&cause(error).unwrap_or_default());
        }
    }
    words.chars().take(400).collect()
}

/// The error of the library that this one is around.
fn inner(error: &Error) -> Option<&Error> {
    error.cause.as_ref()?.downcast_ref::<BError>().map(|inner| &**inner)
}

/// What another library or the system said.
fn cause(error: &Error) -> Option<String> {
    if let Some(inner) = inner(error) {
        return cause(inner);
    }
    let cause = error.cause.as_ref()?;
    Some(cause.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gateways_own_lack_of_ports_is_not_told_as_the_apps_fault() {
        let url: AppUrl = "http://10.0.0.7:8080".parse().expect("an address");
        let missing = || {
            let cause = std::io::Error::from_raw_os_error(99);
            Error::because(BindError, "Fail to connect to 10.0.0.7:8080", cause)
        };
        let wrapped = || Error::because(InternalError, "Fail to connect to addr: 10.0.0.7:8080", missing());
        for mut error in [missing(), wrapped()] {
            error.as_up();
            let named = name(&error, Some(&url));
            assert_eq!(named.reason, Reason::UpstreamUnreachable, "{}", named.detail);
            let detail = "the gateway's host has no free port (or address) to connect to http://10.0.0.7:8080 from: ";
            assert!(named.detail.starts_with(detail), "{}", named.detail);
            assert!(named.remedy().contains("ip_local_port_range"), "{}", named.remedy());
        }
    }
}
