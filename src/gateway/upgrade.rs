//! Connections to an app on which a WebSocket is asked for.
//!
//! Such a request has no body. The proxy library passes the body's end on to the app's side and reads the app's answer there,
//! in whatever order they are there; where the 101 is read first, it takes the end of the request for that of the WebSocket,
//! and closes both connections. An app answers that soon where the gateway's thread had to wait for its turn.
//!
//! Promise: on these connections an answer is read some moments after what was written last, by when all that was to be
//! passed on has been. None of them comes from the pool, or goes there.

use std::fmt::Debug;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use pingora_core::connectors::L4Connect;
use pingora_core::protocols::l4::ext;
use pingora_core::protocols::l4::socket::SocketAddr;
use pingora_core::protocols::l4::stream::Stream;
use pingora_core::protocols::l4::virt::{VirtualSockOpt, VirtualSocket, VirtualSocketStream};
use pingora_core::upstreams::peer::HttpPeer;
use pingora_core::{Error, ErrorType, Result};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How often a reader is told to come again after something was written. Once suffices, unless tokio makes the task give way
/// to others in that very moment.
const MOMENTS: u8 = 3;

/// Has `peer` connected to for a WebSocket.
pub(super) fn prepare(peer: &mut HttpPeer) {
    peer.options.custom_l4 = Some(Arc::new(Connector { within: peer.options.connection_timeout }));
    peer.options.idle_timeout = Some(Duration::ZERO);
    peer.group_key = !peer.group_key;
}

#[derive(Debug)]
struct Connector {
    within: Option<Duration>,
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
                    Ok(unhurried(stream))
                }
                SocketAddr::Unix(address) => match address.as_pathname() {
                    Some(path) => ext::connect_uds(path).await.map(unhurried),
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

fn unhurried<S>(stream: S) -> Stream
where
    S: AsyncRead + AsyncWrite + Unpin + Send + Sync + Debug + 'static,
{
    VirtualSocketStream::new(Box::new(Unhurried { stream, moments: 0 })).into()
}

/// A stream that is read some moments after it was written to.
#[derive(Debug)]
struct Unhurried<S> {
    stream: S,
    moments: u8,
}

impl<S: AsyncRead + Unpin> AsyncRead for Unhurried<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if let Some(left) = self.moments.checked_sub(1) {
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
