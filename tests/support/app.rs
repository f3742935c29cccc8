//! An app that tells what reached it: on TCP, TLS, a unix socket, over HTTP/1.1 and HTTP/2.
//!
//! Every request is kept, so that a test can say that something did not arrive. Where the very bytes matter, and
//! for answers that are not HTTP, there is [`super::raw::RawApp`].

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{Query, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::sse::{Event, Sse};
use axum::response::{Html, IntoResponse, Json, Response};
use axum::routing::{any, get};
use futures::{Stream, StreamExt};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::sync::mpsc;

/// A request as the app saw it.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: String,
    /// Path and query, to the letter.
    pub target: String,
    pub version: String,
    /// Names in lower case, in their order, doubled ones included.
    pub headers: Vec<(String, String)>,
}

impl Seen {
    /// All values of a header.
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(n, _)| n == name).map(|(_, v)| v.as_str()).collect()
    }

    /// The only value of a header; empty where there is none, and a failure where there are several.
    #[track_caller]
    pub fn one(&self, name: &str) -> &str {
        let all = self.all(name);
        assert!(all.len() < 2, "{name} came {} times: {all:?}", all.len());
        all.first().copied().unwrap_or("")
    }
}

/// Where the requests are kept.
pub(super) type Kept = Arc<Mutex<Vec<Seen>>>;

/// A running app; it ends with the test's runtime.
pub struct App {
    pub address: SocketAddr,
    kept: Kept,
}

impl App {
    /// HTTP/1.1, and HTTP/2 by prior knowledge.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let (address, kept) = (listener.local_addr().expect("an address"), Kept::default());
        tokio::spawn(axum::serve(listener, router(&kept)).into_future());
        App { address, kept }
    }

    /// HTTP/1.1 on a unix socket.
    pub async fn start_unix(path: &Path) -> Self {
        let (listener, kept) = (UnixListener::bind(path).expect("a socket"), Kept::default());
        tokio::spawn(axum::serve(listener, router(&kept)).into_future());
        App { address: SocketAddr::from(([0, 0, 0, 0], 0)), kept }
    }

    /// TLS with a certificate of [`super::setup`] or `rcgen`.
    pub async fn start_tls(config: rustls::ServerConfig) -> Self {
        let tcp = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let (address, kept) = (tcp.local_addr().expect("an address"), Kept::default());
        let listener = TlsListener::new(tcp, tokio_rustls::TlsAcceptor::from(Arc::new(config)));
        tokio::spawn(axum::serve(listener, router(&kept)).into_future());
        App { address, kept }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Every request that reached it, in their order.
    pub fn seen(&self) -> Vec<Seen> {
        self.kept.lock().expect("kept").clone()
    }

    /// The requests whose target starts with `target`.
    pub fn seen_at(&self, target: &str) -> Vec<Seen> {
        self.seen().into_iter().filter(|seen| seen.target.starts_with(target)).collect()
    }
}

type Tls = tokio_rustls::server::TlsStream<TcpStream>;

struct TlsListener {
    address: io::Result<SocketAddr>,
    shaken: mpsc::UnboundedReceiver<(Tls, SocketAddr)>,
}

impl TlsListener {
    fn new(tcp: TcpListener, acceptor: tokio_rustls::TlsAcceptor) -> TlsListener {
        let (done, shaken) = mpsc::unbounded_channel();
        let address = tcp.local_addr();
        tokio::spawn(async move {
            loop {
                let Ok((stream, address)) = tcp.accept().await else { continue };
                let (done, acceptor) = (done.clone(), acceptor.clone());
                // By itself: a peer that says nothing keeps nobody else waiting.
                tokio::spawn(async move {
                    // A peer that does not like the certificate breaks off here.
                    if let Ok(stream) = acceptor.accept(stream).await {
                        let _ = done.send((stream, address));
                    }
                });
            }
        });
        TlsListener { address, shaken }
    }
}

impl axum::serve::Listener for TlsListener {
    type Io = Tls;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        self.shaken.recv().await.expect("accepted as long as the test goes on")
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.address.as_ref().copied().map_err(|error| error.kind().into())
    }
}

fn router(kept: &Kept) -> Router {
    Router::new()
        .route("/ws", any(websocket))
        .route("/sse", get(events))
        .route("/upload", any(upload))
        .route("/download", get(download))
        .route("/slow", get(slow))
        .route("/status/{code}", any(status))
        .route("/redirect", any(redirect))
        .route("/set-cookies", any(set_cookies))
        .route("/page", get(page))
        .route("/form", any(echo))
        .route("/trailers", any(trailers))
        .route("/close", get(close))
        .fallback(echo)
        .layer(axum::middleware::from_fn_with_state(Arc::clone(kept), keep))
}

pub(super) async fn keep(State(kept): State<Kept>, request: Request, next: axum::middleware::Next) -> Response {
    let seen = Seen {
        method: request.method().to_string(),
        target: request.uri().path_and_query().map(ToString::to_string).unwrap_or_default(),
        version: format!("{:?}", request.version()),
        headers: pairs(request.headers()),
    };
    kept.lock().expect("kept").push(seen);
    next.run(request).await
}

fn pairs(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect()
}

/// Method, path, query, version, headers and the body's text.
async fn echo(request: Request) -> Json<Value> {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap_or_default();
    Json(json!({
        "method": parts.method.as_str(),
        "path": parts.uri.path(),
        "query": parts.uri.query(),
        "version": format!("{:?}", parts.version),
        "headers": pairs(&parts.headers),
        "body": String::from_utf8_lossy(&body),
    }))
}

async fn websocket(upgrade: WebSocketUpgrade, headers: HeaderMap) -> Response {
    let headers = json!(pairs(&headers)).to_string();
    upgrade.on_upgrade(async move |mut socket| {
        // First who it is, then back what comes.
        let _ = socket.send(axum::extract::ws::Message::Text(headers.into())).await;
        while let Some(Ok(message)) = socket.next().await {
            if socket.send(message).await.is_err() {
                break;
            }
        }
    })
}

/// An event now, and the next when the client asks for `/sse` again or after a second.
async fn events() -> Sse<impl Stream<Item = Result<Event, io::Error>>> {
    let events = futures::stream::unfold(0_u32, async |n| {
        if n > 0 {
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        Some((Ok(Event::default().data(n.to_string())), n + 1))
    });
    Sse::new(events)
}

/// Counts the bytes, and tells their SHA-256.
async fn upload(request: Request) -> Response {
    let mut stream = request.into_body().into_data_stream();
    let (mut bytes, mut digest) = (0_u64, ring::digest::Context::new(&ring::digest::SHA256));
    while let Some(part) = stream.next().await {
        let Ok(part) = part else { return StatusCode::BAD_REQUEST.into_response() };
        bytes += part.len() as u64;
        digest.update(&part);
    }
    let sum: String = digest.finish().as_ref().iter().map(|b| format!("{b:02x}")).collect();
    Json(json!({"bytes": bytes, "sha256": sum})).into_response()
}

#[derive(serde::Deserialize)]
struct Numbers {
    bytes: Option<u64>,
    ms: Option<u64>,
}

async fn download(Query(wanted): Query<Numbers>) -> Response {
    let part = Bytes::from(vec![b'd'; 64 * 1024]);
    let parts = futures::stream::unfold(wanted.bytes.unwrap_or(0), move |left| {
        let part = part.clone();
        async move {
            let n = left.min(part.len() as u64);
            (n > 0).then(|| (Ok::<_, io::Error>(part.slice(..n as usize)), left - n))
        }
    });
    Body::from_stream(parts).into_response()
}

async fn slow(Query(wanted): Query<Numbers>) -> &'static str {
    tokio::time::sleep(Duration::from_millis(wanted.ms.unwrap_or(0))).await;
    "slow"
}

/// To the address in `to`.
async fn redirect(
    axum::extract::Query(query): axum::extract::Query<std::collections::HashMap<String, String>>,
) -> Response {
    axum::response::Redirect::to(&query["to"]).into_response()
}

async fn status(axum::extract::Path(code): axum::extract::Path<u16>) -> Response {
    let code = StatusCode::from_u16(code).unwrap_or(StatusCode::BAD_REQUEST);
    (code, format!("the app says {code}")).into_response()
}

/// Sets a cookie of its own, and tries to set the gateway's.
async fn set_cookies() -> Response {
    let mut response = "cookies".into_response();
    for line in ["app=1; Path=/", "doorward=forged; Path=/", "__Host-doorward=forged; Path=/; Secure"] {
        response.headers_mut().append("set-cookie", HeaderValue::from_static(line));
    }
    response
}

/// A page with twenty images and a form, as a person has it open.
async fn page() -> Html<String> {
    let images: String = (0..20).map(|n| format!("<img src='/image/{n}' alt=''>")).collect();
    Html(format!(
        "<!DOCTYPE html><html lang=en><title>The app</title><h1 id=app>The app</h1>{images}\
         <form method=post action=/form><input name=text value=typed><button id=send>Send</button></form></html>"
    ))
}

/// A body with a trailer.
async fn trailers() -> Response {
    let frames = futures::stream::iter([
        Ok::<_, io::Error>(http_body::Frame::data(Bytes::from_static(b"body"))),
        Ok(http_body::Frame::trailers(HeaderMap::from_iter([(
            axum::http::HeaderName::from_static("x-checksum"),
            HeaderValue::from_static("abc"),
        )]))),
    ]);
    let mut response = Response::new(Body::new(http_body_util::StreamBody::new(frames)));
    response.headers_mut().insert("trailer", HeaderValue::from_static("x-checksum"));
    response
}

/// Begins an answer, and breaks it off a moment later.
async fn close() -> Response {
    let parts = futures::stream::unfold(true, async |begin| {
        if begin {
            return Some((Ok(Bytes::from_static(b"the beginning")), false));
        }
        // Long enough for the beginning to be on its way.
        tokio::time::sleep(Duration::from_millis(300)).await;
        Some((Err(io::Error::other("broken off")), false))
    });
    Body::from_stream(parts).into_response()
}
