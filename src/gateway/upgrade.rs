//! Connections to an app on which a WebSocket is asked for.
//!
//! Such a request has no body. The proxy library passes the body's end on to the app's side and reads the app's answer there,
//! in whatever order they are there; where the 101 is read first, it takes the end of the request for that of the WebSocket,
//! and closes both connections. An app answers that soon where the gateway's thread had to wait for its turn.
//!
//! Promise: on these connections an answer is read some moments after what was written last, by when all that was to be
//! passed on has been. None of them comes from the pool, or goes there. They end in order, and so each keeps a port of the
//! gateway's for a while: whoever is answered otherwise than by a 101 has its own connection closed, or one client could use
//! them all up on one connection of its own. (A reset would keep none, and ends apps that do not expect it.)

use std::fmt::Debug;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use http::{HeaderMap, StatusCode, header};
use pingora_core::connectors::L4Connect;
use pingora_core::protocols::l4::ext;
use pingora_core::protocols::l4::socket::SocketAddr;
use pingora_core::protocols::l4::stream::Stream;
use pingora_core::protocols::l4::virt::{VirtualSockOpt, VirtualSocket, VirtualSocketStream};
use pingora_core::upstreams::peer::{ALPN, HttpPeer, Peer};
use pingora_core::{Error, ErrorType, Result};
use pingora_proxy::Session;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How often a reader is told to come again after something was written. Once suffices, unless tokio makes the task give way
/// to others in that very moment.
const MOMENTS: u8 = 3;

/// Whether the app said yes, for the connection and for the request that goes over it.
#[derive(Clone, Debug, Default)]
pub(super) struct Switched(Arc<AtomicBool>);

impl Switched {
    pub(super) fn note(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Whether `Connection` names the `Upgrade` that came. Where it does not, no upgrade is asked for (RFC 9110 §7.8).
pub(super) fn is_named(headers: &HeaderMap) -> bool {
    let named = headers.get_all(header::CONNECTION).iter().filter_map(|value| value.to_str().ok());
    named.flat_map(|value| value.split(',')).any(|option| option.trim().eq_ignore_ascii_case("upgrade"))
}

/// Whether the connection is a WebSocket's by now: what is written there is no answer any more.
pub(super) fn is_done(session: &Session) -> bool {
    session.response_written().is_some_and(|head| head.status == StatusCode::SWITCHING_PROTOCOLS)
}

/// Has `peer` connected to for a WebSocket.
pub(super) fn prepare(peer: &mut HttpPeer) -> Switched {
    let switched = Switched::default();
    let within = peer.options.connection_timeout;
    peer.options.custom_l4 = Some(Arc::new(Connector { within, switched: switched.clone() }));
    peer.options.idle_timeout = Some(Duration::ZERO);
    peer.group_key = !peer.group_key;
    // HTTP/2 knows no such upgrade (RFC 9113 §8.6): an app that offers both is spoken to in the one that does.
    if peer.tls() {
        peer.options.alpn = ALPN::H1;
    }
    switched
}

#[derive(Debug)]
struct Connector {
    within: Option<Duration>,
    switched: Switched,
}

#[async_trait]
impl L4Connect for Connector {
    async fn connect(&self, address: &SocketAddr) -> Result<Stream> {
        let connecting = async {
            match address {
                SocketAddr::Inet(address) => {
                    let stream = ext::connect(address, None).await?;
                    // Without it a small message waits for the acknowledgement of the one before. It is no reason to fail.
                    let _ = stream.set_nodelay(true);
                    Ok(self.unhurried(stream))
                }
                SocketAddr::Unix(address) => match address.as_pathname() {
                    Some(path) => ext::connect_uds(path).await.map(|stream| self.unhurried(stream)),
                    None => Error::e_explain(ErrorType::ConnectError, "a socket without a path"),
                },
            }
        };
        match self.within {
            Some(within) => match tokio::time::timeout(within, connecting).await {
                Ok(connected) => connected,
                Err(_) => Error::e_explain(ErrorType::ConnectTimedout, format!("no connection in {within:?}")),
            },
            None => connecting.await,
        }
    }
}

impl Connector {
    fn unhurried<S>(&self, stream: S) -> Stream
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + Sync + Debug + 'static,
    {
        let switched = self.switched.clone();
        VirtualSocketStream::new(Box::new(Unhurried { stream, moments: 0, switched })).into()
    }
}

/// A stream that is read some moments after it was written to, until it is a WebSocket's.
#[derive(Debug)]
struct Unhurried<S> {
    stream: S,
    moments: u8,
    switched: Switched,
}

impl<S: AsyncRead + Unpin> AsyncRead for Unhurried<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        // Not on a WebSocket: a client that writes without end would keep all the app says from being read.
        if let Some(left) = self.moments.checked_sub(1).filter(|_| !self.switched.get()) {
            self.moments = left;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Unhurried<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.moments = MOMENTS;
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + Sync + Debug> VirtualSocket for Unhurried<S> {
    /// What there is to set was set when it was connected.
    fn set_socket_option(&self, _: VirtualSockOpt) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::AsyncWriteExt;
    use tokio::net::UnixStream;

    use super::*;

    /// Reads a byte right after one was written, and tells whether there was one.
    async fn reads_after_a_write(socket: &mut Unhurried<UnixStream>) -> bool {
        socket.stream.readable().await.expect("what the app says");
        let mut byte = [0];
        let mut buf = ReadBuf::new(&mut byte);
        poll_fn(|cx| {
            assert!(Pin::new(&mut *socket).poll_write(cx, b"!").is_ready());
            Poll::Ready(Pin::new(&mut *socket).poll_read(cx, &mut buf).is_ready())
        })
        .await
    }

    #[tokio::test]
    async fn a_client_that_writes_without_end_keeps_nothing_on_a_websocket_from_being_read() {
        let (stream, mut app) = UnixStream::pair().expect("a pair");
        app.write_all(b"??").await.expect("sent");
        let mut socket = Unhurried { stream, moments: 0, switched: Switched::default() };
        assert!(!reads_after_a_write(&mut socket).await, "the answer is read some moments later");
        socket.switched.note();
        assert!(reads_after_a_write(&mut socket).await);
    }
}
