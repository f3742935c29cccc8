//! The public listener's own bounds: how many connections there are, and how long a head may take to arrive.
//!
//! The proxy library bounds each read; a client that sends a byte before each bound would stay for ever.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pingora_core::apps::{HttpServerApp, HttpServerOptions, ReusedHttpStream, ServerApp};
use pingora_core::protocols::Stream;
use pingora_core::protocols::http::ServerSession;
use pingora_core::server::ShutdownWatch;
use pingora_proxy::HttpProxy;
use tokio::sync::Semaphore;

use super::Gateway;
use crate::config::model::Settings;
use crate::telemetry::metrics;

tokio::task_local! {
    static HEAD_READ: Cell<bool>;
}

/// Called when the head of a request has been read, which ends the bound on it.
pub fn head_was_read() {
    // Outside of the listener, as in benches, there is no bound to end.
    let _ = HEAD_READ.try_with(|read| read.set(true));
}

/// Takes connections and hands them to the gateway.
pub struct Listener {
    requests: Arc<Requests>,
    connections: Arc<Semaphore>,
}

impl Listener {
    /// `connections` holds a permit for each connection that may be open; the caller sees by it when all are done.
    pub fn new(proxy: HttpProxy<Gateway>, settings: &Settings, connections: Arc<Semaphore>) -> Self {
        let mut options = HttpServerOptions::default();
        options.h2c = settings.listen.h2c;
        options.h2_idle_timeout = Some(settings.timeouts.client_idle.0);
        let requests = Requests {
            proxy: Arc::new(proxy),
            idle: settings.timeouts.client_idle.0,
            body: settings.timeouts.client_body.0,
            options,
        };
        Listener { requests: Arc::new(requests), connections }
    }
}

#[async_trait]
impl ServerApp for Listener {
    async fn process_new(self: &Arc<Self>, stream: Stream, shutdown: &ShutdownWatch) -> Option<Stream> {
        // Turned away rather than queued: a queue would hold the descriptors that the bound is there to save.
        let _permit = self.connections.try_acquire().ok()?;
        let _open = Open::count();
        ServerApp::process_new(&self.requests, stream, shutdown).await
    }

    async fn cleanup(&self) {
        self.requests.proxy.http_cleanup().await;
    }
}

/// One open connection in the metrics, however it ends.
struct Open;

impl Open {
    fn count() -> Self {
        metrics().connections.inc();
        Open
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        metrics().connections.dec();
    }
}

/// The requests of all connections.
struct Requests {
    proxy: Arc<HttpProxy<Gateway>>,
    idle: Duration,
    body: Duration,
    options: HttpServerOptions,
}

#[async_trait]
impl HttpServerApp for Requests {
    async fn process_new_http(
        self: &Arc<Self>,
        mut session: ServerSession,
        shutdown: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        session.set_read_timeout(Some(self.body));
        let work = async {
            let work = self.proxy.process_new_http(session, shutdown);
            tokio::pin!(work);
            tokio::select! {
                biased;
                done = &mut work => done,
                () = tokio::time::sleep(self.idle) => match HEAD_READ.with(Cell::get) {
                    true => work.await,
                    false => None,
                },
            }
        };
        HEAD_READ.scope(Cell::new(false), work).await
    }

    fn server_options(&self) -> Option<&HttpServerOptions> {
        Some(&self.options)
    }
}
