//! The door: where the proxy library meets the gateway of the moment.
//!
//! Promise: a request is governed from its head to its end, upgrades and uploads included, by the one configuration that
//! was in force when it came; another one that takes its place meanwhile is for those who come after.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use bytes::Bytes;
use pingora_core::modules::http::HttpModules;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_core::{Error, Result};
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, Session};

use super::Gateway;
use super::account::{Way, WayOutcome};
use super::upstream::{Upstream, system_authorities};

/// The gateway that is in force.
pub struct Current {
    gateway: ArcSwap<Gateway>,
    reads_authorities: bool,
}

impl Current {
    pub fn new(gateway: Gateway) -> Current {
        Current { reads_authorities: gateway.needs_system_authorities(), gateway: ArcSwap::from_pointee(gateway) }
    }

    pub fn get(&self) -> Arc<Gateway> {
        self.gateway.load_full()
    }

    /// From now on requests go by `gateway`; those on their way go on by the one before, which is returned.
    pub fn replace(&self, gateway: Arc<Gateway>) -> Arc<Gateway> {
        if self.lends_authorities() && gateway.needs_system_authorities() {
            // Read here rather than on a request's way.
            system_authorities();
        }
        self.gateway.swap(gateway)
    }

    /// Whether the proxy library is to read the system's authorities. It does so once, and they cost milliseconds and
    /// megabytes: they are read where the first configuration has an app that is judged by them.
    pub fn reads_authorities(&self) -> bool {
        self.reads_authorities
    }

    /// Whether apps that are judged by them bring them along, which costs each of their connections a millisecond.
    fn lends_authorities(&self) -> bool {
        !self.reads_authorities
    }
}

/// The handler of the public listener.
pub struct Door {
    current: Arc<Current>,
    quiet: bool,
}

impl Door {
    pub fn new(current: Arc<Current>) -> Door {
        Door { current, quiet: false }
    }

    /// One whose requests are in no log, no metric and no list of refusals.
    pub(super) fn quiet(current: Arc<Current>) -> Door {
        Door { current, quiet: true }
    }
}

/// One request on its way, and the gateway that it goes by.
pub struct Passage {
    gateway: Arc<Gateway>,
    way: Way,
}

#[async_trait]
impl ProxyHttp for Door {
    /// In a box: the library moves it several times.
    type CTX = Box<Passage>;

    /// Asked once a request, when its head has been read.
    fn new_ctx(&self) -> Box<Passage> {
        Box::new(Passage { gateway: self.current.get(), way: Way { quiet: self.quiet, ..Way::begin() } })
    }

    /// None: bodies pass as they are, and the library's compression would cost every request.
    fn init_downstream_modules(&self, _: &mut HttpModules) {}

    // Written out as `async_trait` would: a future around the one that decides would move it once more for every request.
    fn request_filter<'door, 'session, 'passage, 'request>(
        &'door self,
        session: &'session mut Session,
        passage: &'passage mut Box<Passage>,
    ) -> Pin<Box<dyn Future<Output = Result<bool>> + Send + 'request>>
    where
        'door: 'request,
        'session: 'request,
        'passage: 'request,
        Self: 'request,
    {
        let Passage { gateway, way } = &mut **passage;
        Box::pin(gateway.request_filter(session, way))
    }

    async fn upstream_peer(&self, session: &mut Session, passage: &mut Box<Passage>) -> Result<Box<HttpPeer>> {
        let Passage { gateway, way } = &mut **passage;
        let mut found = gateway.upstream_peer(session, way);
        // The first look at the app's name may not be over.
        if found.is_err()
            && let Some(upstream) = gateway.upstream(way)
        {
            Box::pin(upstream.known()).await;
            way.outcome = WayOutcome::Passed;
            found = gateway.upstream_peer(session, way);
        }
        let mut peer = found?;
        if self.current.lends_authorities() && gateway.upstream(way).is_some_and(Upstream::needs_system_authorities) {
            peer.options.ca = Some(system_authorities());
        }
        Ok(peer)
    }

    async fn upstream_request_filter(
        &self,
        _: &mut Session,
        upstream_request: &mut RequestHeader,
        passage: &mut Box<Passage>,
    ) -> Result<()> {
        let Passage { gateway, way } = &mut **passage;
        gateway.upstream_request_filter(upstream_request, way)
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        upstream_response: &mut ResponseHeader,
        passage: &mut Box<Passage>,
    ) -> Result<()> {
        let Passage { gateway, way } = &mut **passage;
        gateway.response_filter(session, upstream_response, way)
    }

    async fn request_body_filter(
        &self,
        _: &mut Session,
        _: &mut Option<Bytes>,
        _: bool,
        passage: &mut Box<Passage>,
    ) -> Result<()> {
        let Passage { gateway, way } = &mut **passage;
        gateway.check_stream(way)
    }

    fn upstream_response_body_filter(
        &self,
        _: &mut Session,
        _: &mut Option<Bytes>,
        _: bool,
        passage: &mut Box<Passage>,
    ) -> Result<Option<Duration>> {
        let Passage { gateway, way } = &mut **passage;
        gateway.check_stream(way).map(|()| None)
    }

    fn fail_to_connect(
        &self,
        _: &mut Session,
        _: &HttpPeer,
        passage: &mut Box<Passage>,
        error: Box<Error>,
    ) -> Box<Error> {
        let Passage { gateway, way } = &mut **passage;
        gateway.fail_to_connect(way, error)
    }

    async fn fail_to_proxy(&self, session: &mut Session, error: &Error, passage: &mut Box<Passage>) -> FailToProxy {
        let Passage { gateway, way } = &mut **passage;
        gateway.fail_to_proxy(session, error, way).await
    }

    async fn logging(&self, session: &mut Session, _: Option<&Error>, passage: &mut Box<Passage>) {
        if !self.quiet {
            passage.gateway.account(session, &passage.way);
        }
    }

    /// The access log says it, with a name and a reference.
    fn suppress_error_log(&self, _: &Session, _: &Box<Passage>, _: &Error) -> bool {
        true
    }

    fn suppress_proxy_warn_log(&self, _: &Session, _: &Box<Passage>, _: &Error, _: ProxyWarnLogContext) -> bool {
        true
    }
}
