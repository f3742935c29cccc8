//! The way of a request, step by step. Whoever has read [`Gateway::decide`] knows the product.
//!
//! Promise: a request reaches an app only by way of [`Step::Forward`], and only after every step before it said yes;
//! what the app is told of the person is written by this room alone.

mod account;
mod body;
mod caller;
pub mod console_pass;
mod cors;
mod door;
pub mod explain;
mod failure;
mod forwarded;
mod headers;
pub mod listener;
mod rehearsal;
pub mod request;
mod response;
mod route;
mod too_large;
mod upgrade;
mod upstream;
mod watch;

use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use pingora_core::upstreams::peer::HttpPeer;
use pingora_core::{Error, ErrorType, Result};
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::{FailToProxy, Session};

use crate::authn::Program;
use crate::authn::program::holds_key;
use crate::config::console::Console;
use crate::config::model::{Access, Settings};
use crate::endpoints::{self, Answer, Context, Outcome, Refusal, Visit};
use crate::reason::{Failure, Reason};
use crate::telemetry::metrics;
use account::{Way, WayOutcome};
use cors::Cors;
pub use door::{Current, Door};
use forwarded::{Forwarding, Origin, Scheme};
use headers::{Sanitiser, take_parts};
pub use rehearsal::Rehearsal;
use request::CanonicalRequest;
use route::Routes;
use upgrade::Switched;
use upstream::{HostHeader, Upstream};

/// The gateway: what it was configured to be, compiled.
pub struct Gateway {
    context: Context,
    routes: Routes,
    upstreams: Vec<Arc<Upstream>>,
    sanitiser: Sanitiser,
    forwarding: Forwarding,
    cors: Option<Cors>,
}

/// What follows from the steps.
enum Step {
    Forward,
    Answer(Answer),
}

impl Gateway {
    /// Compiles a configuration that has been judged.
    pub fn new(context: Context) -> std::result::Result<Self, Failure> {
        let settings: &Settings = &context.config.settings;
        let routes = Routes::new(settings)?;
        let upstreams = settings.upstream.iter().map(|u| {
            let console = Console::of(u, settings);
            Upstream::new(u, &settings.timeouts, console).map(Arc::new)
        });
        let trusted = settings.listen.trusted_proxies.iter().map(|network| network.0).collect();
        let over_tls = settings.listen.tls_certificate_file.is_some();
        Ok(Gateway {
            sanitiser: Sanitiser::new(&settings.headers, &context.identity_headers, routes.by_method),
            forwarding: Forwarding::new(trusted, &settings.public_url, over_tls),
            upstreams: upstreams.collect::<std::result::Result<_, _>>()?,
            cors: Cors::new(&settings.cors),
            routes,
            context,
        })
    }

    /// The apps, for keeping their names resolved.
    pub fn upstreams(&self) -> &[Arc<Upstream>] {
        &self.upstreams
    }

    pub fn context(&self) -> &Context {
        &self.context
    }

    /// Takes over what `before`, the gateway until now, knows of the apps.
    pub fn inherit(&self, before: &Gateway) {
        for upstream in &self.upstreams {
            before.upstreams.iter().for_each(|old| upstream.inherit(old));
        }
    }

    fn needs_system_authorities(&self) -> bool {
        self.upstreams.iter().any(|upstream| upstream.needs_system_authorities())
    }

    /// The app that a request is for.
    fn upstream(&self, way: &Way) -> Option<&Upstream> {
        way.route.map(|index| &*self.upstreams[self.routes[index].upstream])
    }

    /// Steps 1 to 7.
    async fn decide(&self, session: &mut Session, way: &mut Way) -> Step {
        // 1 canonical request
        let (request, origin) = match self.canonical_request(session) {
            Ok(read) => read,
            Err(mut failure) => {
                // The log names what was asked for, as it came; without the query, which may hold a code.
                let target = session.req_header().raw_path().split(|&b| b == b'?').next().unwrap_or_default();
                let _ =
                    write!(failure.detail, " (target {:?})", String::from_utf8_lossy(&target[..target.len().min(200)]));
                return Step::Answer(self.refuse_unread(session, way, failure));
            }
        };
        let body = self.own_body(session, &request).await;
        let visit = visit(session.req_header(), &request, &origin, way);
        let step = match &body {
            Ok(body) => self.decide_for(&Visit { body, ..visit.clone() }, &request, way).await,
            Err(failure) => Ok(Step::Answer(endpoints::body_unread(&self.context, &visit, failure.clone()))),
        };
        let step = step.unwrap_or_else(|refusal| Step::Answer(Answer::refusal(&self.context, &visit, refusal)));
        way.request = Some(request);
        way.origin = Some(origin);
        step
    }

    async fn decide_for(
        &self,
        visit: &Visit<'_>,
        request: &CanonicalRequest,
        way: &mut Way,
    ) -> std::result::Result<Step, Refusal> {
        // 3 one of the gateway's own addresses? Asked first: no route can take them away.
        if endpoints::is_own(&self.context, visit.host, visit.path) {
            // In a box, like all that few requests come to: room for it in the future of every request would be moved along
            // with each of them.
            return Box::pin(endpoints::answer(&self.context, visit)).await.map(Step::Answer);
        }
        if let Some((index, answer)) = self.preflight(visit, request) {
            way.route = Some(index);
            return Ok(Step::Answer(answer));
        }
        // 2 which route governs it; none = refused
        let index = self.routes.find(request)?;
        way.route = Some(index);
        let route = &self.routes[index];
        if route.access == Access::Public {
            return Ok(Step::Forward);
        }
        if is_preflight(visit) {
            let refused = Refusal::from(Failure::from(Reason::PreflightNotAllowed));
            return if route.preflight { Ok(Step::Forward) } else { Err(refused) };
        }
        // 4 to 7 who is asking, may they, and what the app is told of them
        self.admit(visit, route, way).await.map(|admitted| admitted.map_or(Step::Forward, Step::Answer))
    }

    /// The answer to a preflight of a listed origin, and the route of the request that it asks for. `None` where the app
    /// answers for itself.
    fn preflight(&self, visit: &Visit<'_>, request: &CanonicalRequest) -> Option<(usize, Answer)> {
        let cors = self.cors.as_ref().filter(|_| is_preflight(visit))?;
        let asked = visit.headers.get(header::ACCESS_CONTROL_REQUEST_METHOD)?;
        let index = self.routes.find_for(request, &Method::from_bytes(asked.as_bytes()).ok()?).ok()?;
        let route = &self.routes[index];
        if route.access == Access::Public || route.preflight {
            return None;
        }
        Some((index, cors.preflight(visit.headers)?))
    }

    fn canonical_request(&self, session: &Session) -> std::result::Result<(CanonicalRequest, Origin), Failure> {
        let raw_head: Option<Bytes> = session.as_http1().map(|h1| h1.get_headers_raw_bytes());
        self.read(session.req_header(), raw_head.as_deref(), client_address(session))
    }

    fn read(
        &self,
        head: &RequestHeader,
        raw_head: Option<&[u8]>,
        peer: Option<&SocketAddr>,
    ) -> std::result::Result<(CanonicalRequest, Origin), Failure> {
        let mut request = CanonicalRequest::read(head, raw_head, &self.context.config.settings.limits)?;
        // A listed proxy in front knows the host that was asked for better than the connection to us does.
        let origin = self.forwarding.read(peer, &head.headers, &mut request.authority);
        Ok((request, origin))
    }

    /// The body of a request to one of the gateway's own addresses that reads it; empty for every other.
    async fn own_body(&self, session: &mut Session, request: &CanonicalRequest) -> std::result::Result<Bytes, Failure> {
        match endpoints::body_limit(&self.context, &request.method, request.path.as_str()) {
            Some(limit) => Box::pin(body::read(session, limit)).await,
            None => Ok(Bytes::new()),
        }
    }

    /// Refuses a request that was not understood well enough to say anything about it.
    fn refuse_unread(&self, session: &Session, way: &Way, failure: Failure) -> Answer {
        let head = session.req_header();
        let visit = Visit {
            method: &head.method,
            headers: &head.headers,
            path: "/",
            query: None,
            host: "",
            port: None,
            reference: way.reference,
            now: way.began,
            client: client_address(session).map(|a| a.ip()),
            over_tls: false,
            body: &[],
            counted: way.counts(),
        };
        Answer::refusal(&self.context, &visit, failure.into())
    }

    /// What the app gets instead of the client's head.
    fn tell_app(&self, upstream_request: &mut RequestHeader, way: &Way) -> Result<()> {
        let (Some(request), Some(origin), Some(index)) = (&way.request, &way.origin, way.route) else {
            return Error::e_explain(ErrorType::InternalError, "forwarded before it was decided");
        };
        let route = &self.routes[index];
        let forwarding = self.forwarding.tell(origin, &request.authority)?;
        let told = way.program.as_ref().map_or(&[][..], Program::headers);
        let mut parts = take_parts(upstream_request);
        let headers = &mut parts.headers;
        self.sanitiser.clean(headers, &self.context.cookies);
        headers.reserve(1 + forwarded::HEADERS + told.len() + way.identity.len());
        let named = match self.upstreams[route.upstream].host_header() {
            HostHeader::Fixed(value) => value,
            HostHeader::Preserve => &forwarding.host,
        };
        headers.insert(header::HOST, named.clone());
        forwarding.write(headers, route.strip.as_deref())?;
        // On preflights too, which nobody judges; and a key is the gateway's own matter wherever it was sent.
        let ends_here = match &route.tokens {
            Some(tokens) => !tokens.forward,
            None => headers.get(header::AUTHORIZATION).is_some_and(holds_key),
        };
        if ends_here {
            self.sanitiser.take_credential(headers);
        }
        for (name, value) in told.iter().chain(&way.identity) {
            headers.insert(name.clone(), value.clone());
        }
        *upstream_request = RequestHeader::from(parts);
        request.write_target(upstream_request, route.strip.as_deref())
    }

    /// Sends `answer` and notes what it was.
    async fn respond(&self, session: &mut Session, way: &mut Way, mut answer: Answer) -> Result<()> {
        let unread = way.request.is_none();
        way.user = answer.user.take().or(way.user.take());
        way.outcome = match std::mem::replace(&mut answer.outcome, Outcome::Own) {
            Outcome::Own => WayOutcome::Own,
            Outcome::Refused(failure) => WayOutcome::Refused(failure),
        };
        self.write(session, answer, unread).await
    }

    async fn write(&self, session: &mut Session, mut answer: Answer, close: bool) -> Result<()> {
        if let Some(cors) = &self.cors {
            answer.headers.extend(cors.headers(&session.req_header().headers, &HeaderMap::new()));
        }
        response::write(session, answer, close).await
    }
}

/// What a request passes on its way, in the order in which the proxy library asks; [`Door`] hands it on.
impl Gateway {
    /// Steps 1 to 7, and the answer where it is the gateway's own: then `true`.
    async fn request_filter(&self, session: &mut Session, way: &mut Way) -> Result<bool> {
        listener::head_was_read();
        let head = session.req_header();
        if head.headers.contains_key(header::UPGRADE) && !upgrade::is_named(&head.headers) {
            session.req_header_mut().remove_header(&header::UPGRADE);
        }
        let step = self.decide(session, way).await;
        // On a public route nothing is decided that would be worth a look at the clock.
        if way.authenticated || !matches!(step, Step::Forward) {
            way.deciding = way.started.elapsed();
        }
        match step {
            Step::Forward => {
                // The library copies the head for the app. A target in another spelling than the canonical one is kept
                // beside its parsed form, and would be lost here.
                if way.request.as_ref().is_some_and(|request| !request.respelt) {
                    let head = session.req_header_mut();
                    *head = RequestHeader::from(take_parts(head));
                }
                Ok(false)
            }
            Step::Answer(answer) => self.respond(session, way, answer).await.map(|()| true),
        }
    }

    fn upstream_peer(&self, session: &mut Session, way: &mut Way) -> Result<Box<HttpPeer>> {
        let Some(upstream) = self.upstream(way) else {
            return Error::e_explain(ErrorType::InternalError, "forwarded without a route");
        };
        let first = *way.first_address.get_or_insert_with(|| upstream.first_address());
        let mut peer = upstream.peer(first.wrapping_add(way.tries), streams(session)).map_err(|failure| {
            let error = Error::explain(ErrorType::ConnectNoRoute, failure.detail.clone());
            way.outcome = WayOutcome::Refused(failure);
            error
        })?;
        way.to_console = upstream.is_console(&peer);
        if session.is_upgrade_req() {
            way.switched = Some(upgrade::prepare(&mut peer));
        }
        Ok(peer)
    }

    /// Steps 7 and 8. The library calls this for each try, after it took off the hop-by-hop headers and those that
    /// `Connection` names, so that nobody can have ours removed.
    fn upstream_request_filter(&self, upstream_request: &mut RequestHeader, way: &mut Way) -> Result<()> {
        self.tell_app(upstream_request, way)?;
        way.told = true;
        if way.to_console
            && way.route.is_some_and(|index| self.routes[index].is_for_chosen())
            && let Some(pass) = console_pass::pass()
        {
            upstream_request.insert_header(console_pass::HEADER, pass.clone())?;
        }
        Ok(())
    }

    fn response_filter(
        &self,
        session: &mut Session,
        upstream_response: &mut ResponseHeader,
        way: &mut Way,
    ) -> Result<()> {
        let status = upstream_response.status;
        if let Some(failure) = self.too_large_for_the_app(session, upstream_response, way) {
            way.outcome = WayOutcome::Refused(failure);
            return Error::e_explain(ErrorType::HTTPStatus(431), "the app answered that the headers are too large");
        }
        let interim = status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS;
        if status == StatusCode::SWITCHING_PROTOCOLS
            && let Some(upstream) = self.upstream(way)
        {
            // From here on silence is as natural on the client's side as on the app's.
            session.set_read_timeout(Some(upstream.stream_idle()));
            way.switched.iter().for_each(Switched::note);
        } else if way.switched.is_some() && !interim {
            // It cost a connection to the app, which nobody can use again: one of the client's own goes along.
            session.set_keepalive(None);
        }
        if let Some(cors) = self.cors.as_ref().filter(|_| !interim) {
            for (name, value) in cors.headers(&session.req_header().headers, &upstream_response.headers) {
                upstream_response.append_header(name, value)?;
            }
        }
        if let Some(watched) = way.watched.as_mut().filter(|_| !interim) {
            watched.streams = watch::streams(upstream_response);
        }
        if way.cookies.is_empty() || interim {
            return Ok(());
        }
        if self.is_replaced(way) {
            way.cookies.clear();
            return Ok(());
        }
        // A slow answer must not bring a session back that was signed out meanwhile. A renewed one is sent all the
        // same: its refresh token is the only one that still works.
        if !way.renewed && way.started.elapsed() > NOTE_LATEST {
            way.cookies.clear();
            return Ok(());
        }
        for cookie in way.cookies.drain(..) {
            upstream_response.append_header(header::SET_COOKIE, cookie)?;
        }
        // A cache in front must not hand one person's cookie to another (RFC 9111 §7.3).
        if !says_no_store(upstream_response) {
            upstream_response.insert_header(header::CACHE_CONTROL, "private, no-cache")?;
        }
        Ok(())
    }

    /// Nothing was sent yet: another address of the app may be asked, whatever the method.
    fn fail_to_connect(&self, way: &mut Way, mut error: Box<Error>) -> Box<Error> {
        way.tries += 1;
        error.set_retry(self.upstream(way).is_some_and(|upstream| upstream.addresses() > way.tries));
        error
    }

    fn name(&self, error: &Error, session: &Session, way: &Way) -> Failure {
        let upstream = self.upstream(way);
        match upstream {
            Some(upstream) if upgrade::is_done(session) && *error.etype() == ErrorType::ReadTimedout => {
                failure::silent(upstream.url(), upstream.stream_idle())
            }
            _ => failure::name(error, upstream.map(Upstream::url)),
        }
    }

    async fn fail_to_proxy(&self, session: &mut Session, error: &Error, way: &mut Way) -> FailToProxy {
        let named = match std::mem::replace(&mut way.outcome, WayOutcome::Passed) {
            WayOutcome::Refused(failure) => failure,
            _ => self.name(error, session, way),
        };
        let gone = named.reason == Reason::ClientGone;
        if let Some(index) = way.route.filter(|_| !gone && way.counts() && named.reason.code().starts_with("DW-21")) {
            let upstream = &self.upstreams[self.routes[index].upstream].name;
            metrics().upstream_errors.with_label_values(&[upstream.as_str(), named.reason.code()]).inc();
        }
        let begun =
            upgrade::is_done(session) || session.response_written().is_some_and(|head| !head.status.is_informational());
        let status = named.reason.status();
        let cookies = std::mem::take(&mut way.cookies);
        if !begun && !gone {
            let answer = match (&way.request, &way.origin) {
                (Some(request), Some(origin)) => {
                    let visit = visit(session.req_header(), request, origin, way);
                    let refusal = Refusal::from(named.clone()).with_cookies(cookies);
                    Answer::refusal(&self.context, &visit, refusal)
                }
                _ => self.refuse_unread(session, way, named.clone()),
            };
            // The client may be gone by now; then there is nobody to tell.
            let _ = self.write(session, answer, true).await;
        }
        way.outcome = WayOutcome::Refused(named);
        FailToProxy { error_code: status, can_reuse_downstream: false }
    }
}

fn visit<'a>(head: &'a RequestHeader, request: &'a CanonicalRequest, origin: &Origin, way: &Way) -> Visit<'a> {
    Visit {
        method: &request.method,
        headers: &head.headers,
        path: request.path.as_str(),
        query: request.query.as_deref(),
        host: &request.authority.host,
        port: request.authority.port,
        reference: way.reference,
        now: way.began,
        client: Some(origin.client),
        over_tls: origin.scheme == Scheme::Https,
        body: &[],
        counted: way.counts(),
    }
}

/// How long after a request began the note of its use may still be sent.
const NOTE_LATEST: Duration = Duration::from_secs(5);

fn says_no_store(response: &ResponseHeader) -> bool {
    let directives = response.headers.get_all(header::CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
    directives.flat_map(|value| value.split(',')).any(|directive| directive.trim().eq_ignore_ascii_case("no-store"))
}

/// A preflight of the Fetch standard: it carries no credentials by definition.
fn is_preflight(visit: &Visit<'_>) -> bool {
    asks_before(visit.method, visit.headers)
}

fn asks_before(method: &Method, headers: &HeaderMap) -> bool {
    *method == Method::OPTIONS
        && headers.contains_key(header::ORIGIN)
        && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

/// Whether long silence is natural for this request.
fn streams(session: &Session) -> bool {
    let events = |value: &HeaderValue| value.as_bytes().starts_with(b"text/event-stream");
    session.is_upgrade_req() || session.req_header().headers.get(header::ACCEPT).is_some_and(events)
}

fn client_address(session: &Session) -> Option<&SocketAddr> {
    session.client_addr().and_then(|address| address.as_inet())
}
