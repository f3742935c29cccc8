//! The public listener's own bounds: how many connections there are, and how long a head may take to arrive.
//!
//! The proxy library bounds each read; a client that sends a byte before each bound would stay for ever. Another
//! configuration's bounds are for connections that come from then on, and their number for all.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use pingora_core::apps::{HttpServerApp, HttpServerOptions, ReusedHttpStream, ServerApp};
use pingora_core::protocols::Stream;
use pingora_core::protocols::http::ServerSession;
use pingora_core::protocols::http::v2::server::H2Options;
use pingora_core::server::ShutdownWatch;
use pingora_proxy::HttpProxy;
use tokio::sync::Notify;
use tokio::task::unconstrained;

use super::Door;
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
pub struct Listener(Arc<Connections>);

impl Listener {
    pub fn new(proxy: HttpProxy<Door>, settings: &Settings) -> Self {
        Listener(Arc::new(Connections {
            requests: ArcSwap::from_pointee(Requests::new(Arc::new(proxy), settings)),
            open: AtomicUsize::new(0),
            most: AtomicUsize::new(settings.listen.max_connections),
            none_left: Notify::new(),
        }))
    }

    pub fn connections(&self) -> Arc<Connections> {
        self.0.clone()
    }
}

/// The connections of the listener: their bounds, and how many there are.
pub struct Connections {
    requests: ArcSwap<Requests>,
    open: AtomicUsize,
    most: AtomicUsize,
    /// Told when the last one has ended.
    none_left: Notify,
}

impl Connections {
    /// From now on connections are bounded by `settings`. Those that are open keep the times that they began with.
    pub fn follow(&self, settings: &Settings) {
        self.most.store(settings.listen.max_connections, Ordering::Relaxed);
        let proxy = self.requests.load().proxy.clone();
        self.requests.store(Arc::new(Requests::new(proxy, settings)));
    }

    pub fn open(&self) -> usize {
        self.open.load(Ordering::Acquire)
    }

    /// Waits until there is none.
    pub async fn all_ended(&self) {
        loop {
            let last = self.none_left.notified();
            if self.open() == 0 {
                return;
            }
            last.await;
        }
    }

    /// Room for one more, where there is. Whoever is turned away takes none, not even for that moment.
    fn enter(&self) -> Option<Open<'_>> {
        let most = self.most.load(Ordering::Relaxed);
        let one_more = |open: usize| (open < most).then_some(open + 1);
        self.open.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more).ok()?;
        metrics().connections.inc();
        Some(Open(self))
    }
}

#[async_trait]
impl ServerApp for Listener {
    async fn process_new(self: &Arc<Self>, stream: Stream, shutdown: &ShutdownWatch) -> Option<Stream> {
        // Turned away rather than queued: a queue would hold the descriptors that the bound is there to save.
        let _open = self.0.enter()?;
        let requests = self.0.requests.load_full();
        let idle = requests.idle;
        let mut served = ServerApp::process_new(&requests, stream, shutdown);
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
        self.0.requests.load_full().proxy.http_cleanup().await;
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
struct Open<'a>(&'a Connections);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        metrics().connections.dec();
        if self.0.open.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.none_left.notify_waiters();
        }
    }
}

/// The requests of all connections that came under one configuration.
struct Requests {
    proxy: Arc<HttpProxy<Door>>,
    idle: Duration,
    body: Duration,
    options: HttpServerOptions,
}

impl Requests {
    fn new(proxy: Arc<HttpProxy<Door>>, settings: &Settings) -> Self {
        let mut options = HttpServerOptions::default();
        options.h2c = settings.listen.h2c;
        options.h2_idle_timeout = Some(settings.timeouts.client_idle.0);
        Requests { proxy, idle: settings.timeouts.client_idle.0, body: settings.timeouts.client_body.0, options }
    }
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
