//! The public listener's own bounds: how many connections there are, and how long a head may take to arrive.
//!
//! The proxy library bounds each read; a client that sends a byte before each bound would stay for ever.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use pingora_core::apps::{HttpServerApp, HttpServerOptions, ReusedHttpStream, ServerApp};
use pingora_core::protocols::Stream;
use pingora_core::protocols::http::ServerSession;
use pingora_core::protocols::http::v2::server::H2Options;
use pingora_core::server::ShutdownWatch;
use pingora_proxy::HttpProxy;
use tokio::sync::Semaphore;
use tokio::task::unconstrained;

use super::Gateway;
use crate::config::model::Settings;
use crate::telemetry::metrics;

thread_local! {
    /// What the connection that this thread is busy with is doing. It is put here before the connection's task goes on, and
    /// taken back after, so that a request pays nothing for it but two writes.
    static CONNECTION: Cell<Stage> = const { Cell::new(Stage::Busy) };
}

/// What a connection of HTTP/1 is doing.
#[derive(Clone, Copy)]
enum Stage {
    /// No head has been read since.
    Waiting(Instant),
    /// A request is on its way, or the connection speaks HTTP/2, which has bounds of its own.
    Busy,
}

/// Notes that the head of a request has been read, which ends the bound on it.
pub fn head_was_read() {
    note(Stage::Busy);
}

/// Notes that a request ended: from now on the next head is waited for.
pub fn request_ended(now: Instant) {
    note(Stage::Waiting(now));
}

fn note(stage: Stage) {
    // Streams of HTTP/2 have tasks of their own; what they note here nobody takes back.
    CONNECTION.set(stage);
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
        let idle = self.requests.idle;
        let mut served = ServerApp::process_new(&self.requests, stream, shutdown);
        let mut timer = Box::pin(tokio::time::sleep(idle));
        let mut armed: Option<Waker> = None;
        let mut stage = Stage::Waiting(Instant::now());
        poll_fn(move |context| {
            CONNECTION.set(stage);
            if let Poll::Ready(reused) = served.as_mut().poll(context) {
                return Poll::Ready(reused);
            }
            stage = CONNECTION.get();
            // A connection wakes several times a request, and its timer need not be asked each time: once asked, it wakes
            // the task by itself.
            if armed.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) && !timer.is_elapsed() {
                return Poll::Pending;
            }
            armed = Some(context.waker().clone());
            // Unconstrained: a timer that only gives way to others has not noted whom to wake.
            while pin!(unconstrained(timer.as_mut())).poll(context).is_ready() {
                let left = stage.left(idle);
                if left.is_zero() {
                    return Poll::Ready(None);
                }
                timer.as_mut().reset(tokio::time::Instant::now() + left);
            }
            Poll::Pending
        })
        .await
    }

    async fn cleanup(&self) {
        self.requests.proxy.http_cleanup().await;
    }
}

impl Stage {
    /// How long the connection may go on waiting for a head, where it may for `idle` in all.
    fn left(self, idle: Duration) -> Duration {
        match self {
            Stage::Waiting(since) => idle.saturating_sub(since.elapsed()),
            Stage::Busy => idle,
        }
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
    // Written out as `async_trait` would: the library's future is in a box already, and a second one around it would be
    // made for every request.
    fn process_new_http<'app, 'shutdown, 'request>(
        self: &'app Arc<Self>,
        mut session: ServerSession,
        shutdown: &'shutdown ShutdownWatch,
    ) -> Pin<Box<dyn Future<Output = Option<ReusedHttpStream>> + Send + 'request>>
    where
        'app: 'request,
        'shutdown: 'request,
        Self: 'request,
    {
        session.set_read_timeout(Some(self.body));
        // Somebody who does not read what is sent holds a connection, too.
        session.set_write_timeout(Some(self.body));
        self.proxy.process_new_http(session, shutdown)
    }

    /// Asked by the library when a connection turns out to speak HTTP/2, before its handshake.
    fn h2_options(&self) -> Option<H2Options> {
        note(Stage::Busy);
        None
    }

    fn server_options(&self) -> Option<&HttpServerOptions> {
        Some(&self.options)
    }
}
