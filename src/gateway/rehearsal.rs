//! A gateway that nobody reaches but the doctor: it decides as the one at the door does, and what it does is in no log, no
//! metric and no list of refusals.

use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::sync::Arc;

use async_trait::async_trait;
use pingora_core::apps::ServerApp;
use pingora_core::modules::http::HttpModules;
use pingora_core::protocols::l4::stream::Stream;
use pingora_core::protocols::{GetSocketDigest, SocketDigest};
use pingora_core::server::configuration::ServerConf;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_core::{Error, Result};
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::{FailToProxy, HttpProxy, ProxyHttp, ProxyWarnLogContext, Session, http_proxy};
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::Gateway;
use super::account::Way;

/// Serves the connections that are handed to it.
pub struct Rehearsal {
    proxy: Arc<HttpProxy<Stage>>,
    /// Never said.
    stop: watch::Sender<bool>,
}

impl Rehearsal {
    pub fn new(gateway: Gateway) -> Rehearsal {
        // None of its apps has a certificate that somebody would have to judge.
        let conf = ServerConf { ca_file: Some("/dev/null".to_owned()), ..ServerConf::default() };
        let proxy = http_proxy(&Arc::new(conf), Stage(gateway));
        Rehearsal { proxy: Arc::new(proxy), stop: watch::Sender::new(false) }
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

struct Stage(Gateway);

#[async_trait]
impl ProxyHttp for Stage {
    type CTX = Box<Way>;

    fn new_ctx(&self) -> Box<Way> {
        Box::new(Way::begin())
    }

    fn init_downstream_modules(&self, _: &mut HttpModules) {}

    async fn request_filter(&self, session: &mut Session, way: &mut Box<Way>) -> Result<bool> {
        self.0.request_filter(session, way).await
    }

    async fn upstream_peer(&self, session: &mut Session, way: &mut Box<Way>) -> Result<Box<HttpPeer>> {
        self.0.upstream_peer(session, way)
    }

    async fn upstream_request_filter(
        &self,
        _: &mut Session,
        upstream_request: &mut RequestHeader,
        way: &mut Box<Way>,
    ) -> Result<()> {
        self.0.upstream_request_filter(upstream_request, way)
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        upstream_response: &mut ResponseHeader,
        way: &mut Box<Way>,
    ) -> Result<()> {
        self.0.response_filter(session, upstream_response, way)
    }

    async fn fail_to_proxy(&self, session: &mut Session, error: &Error, way: &mut Box<Way>) -> FailToProxy {
        self.0.fail_to_proxy(session, error, way).await
    }

    fn suppress_error_log(&self, _: &Session, _: &Box<Way>, _: &Error) -> bool {
        true
    }

    fn suppress_proxy_warn_log(&self, _: &Session, _: &Box<Way>, _: &Error, _: ProxyWarnLogContext) -> bool {
        true
    }
}
