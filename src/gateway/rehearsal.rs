//! A gateway that nobody reaches but the doctor: it decides as the one at the door does, and what it does is in no log, no
//! metric and no list of refusals.

use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::sync::Arc;

use pingora_core::apps::ServerApp;
use pingora_core::protocols::l4::stream::Stream;
use pingora_core::protocols::{GetSocketDigest, SocketDigest};
use pingora_core::server::configuration::ServerConf;
use pingora_proxy::{HttpProxy, http_proxy};
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::request::CanonicalRequest;
use super::{Current, Door, Gateway};
use crate::canonical::{Authority, CanonicalPath};

/// Serves the connections that are handed to it.
pub struct Rehearsal {
    proxy: Arc<HttpProxy<Door>>,
    current: Arc<Current>,
    /// Never said.
    stop: watch::Sender<bool>,
}

impl Rehearsal {
    pub fn new(gateway: Gateway) -> Rehearsal {
        // None of its apps has a certificate that somebody would have to judge.
        let conf = ServerConf { ca_file: Some("/dev/null".to_owned()), ..ServerConf::default() };
        let current = Arc::new(Current::new(gateway));
        let proxy = http_proxy(&Arc::new(conf), Door::quiet(current.clone()));
        Rehearsal { proxy: Arc::new(proxy), current, stop: watch::Sender::new(false) }
    }

    /// Index of the route that governs such a request, where one does.
    pub fn route_of(&self, method: &str, authority: &str, path: &str) -> Option<usize> {
        let request = CanonicalRequest {
            method: method.parse().ok()?,
            authority: Authority::parse(authority.as_bytes()).ok()?,
            path: CanonicalPath::parse(path.as_bytes()).ok()?,
            query: None,
            respelt: false,
        };
        self.current.get().routes.find(&request).ok()
    }

    /// Serves `stream` until it ends, as a connection from `client`.
    pub async fn serve(&self, stream: TcpStream, client: SocketAddr) {
        let mut stream = Stream::from(stream);
        let digest = SocketDigest::from_raw_fd(stream.as_raw_fd());
        let _ = digest.peer_addr.set(Some(client.into()));
        stream.set_socket_digest(digest);
        let mut next: Option<pingora_core::protocols::Stream> = Some(Box::new(stream));
        while let Some(stream) = next {
            next = ServerApp::process_new(&self.proxy, stream, &self.stop.subscribe()).await;
        }
    }
}
