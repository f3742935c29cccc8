//! Step 9: what is known of a request on its way, and the one record that is made of it.
//!
//! Promise: each request counts once in the metrics and has one line in the access log, whatever became of it.

use std::time::{Duration, Instant, SystemTime};

use http::{HeaderName, HeaderValue, header};
use pingora_proxy::Session;

use super::forwarded::Origin;
use super::request::{self, CanonicalRequest};
use super::upgrade::Switched;
use super::watch::Watched;
use super::{Gateway, client_address, listener};
use crate::authn::Program;
use crate::authn::program::Proof;
use crate::reason::{Failure, Reason};
use crate::telemetry::{
    Access as AccessLine, Audit, Decision, Reference, Refused, access, audit, metrics, recording, refusals,
};

/// What is known of one request on its way.
pub struct Way {
    pub(super) started: Instant,
    /// The same moment by the clock on the wall.
    pub(super) began: SystemTime,
    pub(super) reference: Reference,
    pub(super) request: Option<CanonicalRequest>,
    pub(super) origin: Option<Origin>,
    pub(super) route: Option<usize>,
    /// Which of the app's addresses was tried first, and how many failed to connect.
    pub(super) first_address: Option<usize>,
    pub(super) tries: usize,
    /// Where a WebSocket is asked for: whether the app said yes.
    pub(super) switched: Option<Switched>,
    /// Whether the address that is tried is the gateway's own console.
    pub(super) to_console: bool,
    /// Whether a head was made for the app, which is done when there is a connection to it.
    pub(super) told: bool,
    /// What the app is told of the person.
    pub(super) identity: Vec<(HeaderName, HeaderValue)>,
    /// The program that sent a good credential.
    pub(super) program: Option<Program>,
    pub(super) user: Option<String>,
    /// The session that let a person in.
    pub(super) watched: Option<Watched>,
    /// Cookies that go out with the app's answer.
    pub(super) cookies: Vec<HeaderValue>,
    /// Whether they hold new tokens, and not merely the note of a use.
    pub(super) renewed: bool,
    /// The share of deciding who asks and whether they may.
    pub(super) deciding: Duration,
    /// Whether a session was asked for.
    pub(super) authenticated: bool,
    pub(super) outcome: WayOutcome,
    /// Where nobody sent the request, and it is only asked what would become of it.
    pub(super) rehearsed: Option<Box<Rehearsed>>,
    /// Whether it leaves no trace in logs, metrics and lists: the doctor's own requests.
    pub(super) quiet: bool,
}

/// What is assumed of a request that nobody sent.
pub(super) struct Rehearsed {
    /// What shows that its token is good.
    pub proof: Proof,
}

pub(super) enum WayOutcome {
    Passed,
    Own,
    Refused(Failure),
}

impl Way {
    pub(super) fn begin() -> Self {
        Way {
            started: Instant::now(),
            began: SystemTime::now(),
            reference: Reference::next(),
            request: None,
            origin: None,
            route: None,
            first_address: None,
            tries: 0,
            switched: None,
            to_console: false,
            told: false,
            identity: Vec::new(),
            program: None,
            user: None,
            watched: None,
            cookies: Vec::new(),
            renewed: false,
            deciding: Duration::ZERO,
            authenticated: false,
            outcome: WayOutcome::Passed,
            rehearsed: None,
            quiet: false,
        }
    }

    /// Of a request that nobody sent.
    pub(super) fn rehearse(proof: Proof) -> Self {
        Way { rehearsed: Some(Box::new(Rehearsed { proof })), ..Way::begin() }
    }

    /// Whether what becomes of it counts in the metrics.
    pub(super) fn counts(&self) -> bool {
        !self.quiet && self.rehearsed.is_none()
    }
}

/// Bytes of a method that are told: it is a token of the client's choice (RFC 9110 §9.1), as long as its head may be.
const LONGEST_METHOD: usize = 32;

impl Gateway {
    /// Step 9: one record for one request.
    pub(super) fn account(&self, session: &Session, way: &Way) {
        let ended = Instant::now();
        let took = ended - way.started;
        let now = way.began + took;
        listener::request_ended(ended);
        let (outcome, failure) = self.count(way, took);
        let line = self.line(session, way, took, outcome, failure);
        // First, so that whoever reads the line finds what it names.
        self.keep(session, way, &line, now);
        access::record(&line, now);
        // Somebody who is known was turned away: that is for the audit log, too.
        if let Some(failure) = failure.filter(|f| f.reason.code().starts_with("DW-5")) {
            let line = Audit {
                reason: Some(failure.reason),
                detail: &failure.detail,
                user: line.user,
                route: way.route.map(|_| line.route),
                peer: line.peer,
                ..Audit::new(way.reference, "refused", Decision::Deny)
            };
            audit::record(&line, now);
        }
    }

    /// For the metrics; what became of it, in the words of metrics and access log.
    fn count<'w>(&self, way: &'w Way, took: Duration) -> (&'static str, Option<&'w Failure>) {
        let counts = way.route.map_or(&self.routes.unrouted, |index| &self.routes[index].metrics);
        if way.authenticated {
            metrics().authentication_seconds.observe(way.deciding.as_secs_f64());
        }
        match &way.outcome {
            WayOutcome::Passed => {
                counts.passed(took);
                ("passed", None)
            }
            WayOutcome::Own => {
                counts.answered("own", None, took);
                ("own", None)
            }
            WayOutcome::Refused(failure) => {
                let gone = failure.reason == Reason::ClientGone;
                let outcome = match failure.reason.code().starts_with("DW-21") {
                    true if gone => "gone",
                    true => "failed",
                    false => "refused",
                };
                counts.answered(outcome, Some(failure.reason), took);
                (outcome, Some(failure))
            }
        }
    }

    fn line<'a>(
        &'a self,
        session: &'a Session,
        way: &'a Way,
        took: Duration,
        outcome: &'static str,
        failure: Option<&'a Failure>,
    ) -> AccessLine<'a> {
        let head = session.req_header();
        let route = way.route.map(|index| &self.routes[index]);
        let (method, program) = (head.method.as_str(), way.program.as_ref().map(Program::identity));
        AccessLine {
            reference: way.reference,
            peer: way.origin.as_ref().map(|o| o.client).or_else(|| client_address(session).map(|a| a.ip())),
            method: method.get(..LONGEST_METHOD).unwrap_or(method),
            host: way.request.as_ref().map_or("", |r| r.authority.host.as_str()),
            path: way.request.as_ref().map_or("", |r| r.path.as_str()),
            protocol: if request::is_http2(head) { "HTTP/2.0" } else { "HTTP/1.1" },
            route: route.map_or("", |r| r.name.as_str()),
            status: session.response_written().map_or(0, |head| head.status.as_u16()),
            outcome,
            reason: failure.map(|f| f.reason),
            detail: failure.map_or("", |f| f.detail.as_str()),
            remedy: failure.and_then(Failure::exact_remedy),
            provider: failure.and_then(Failure::provider),
            user: way.user.as_deref().or_else(|| program.map(|identity| &*identity.user)),
            issuer: program.map(|identity| identity.provider.as_str()),
            upstream: route.filter(|_| way.first_address.is_some()).map(|r| self.upstreams[r.upstream].name.as_str()),
            bytes_in: session.body_bytes_read() as u64,
            bytes_out: session.body_bytes_sent() as u64,
            took,
            auth: way.deciding,
            user_agent: head.headers.get(header::USER_AGENT).map(HeaderValue::as_bytes),
        }
    }

    /// Keeps what was refused, and all else while an admin has it recorded; of a flood some a second.
    fn keep(&self, session: &Session, way: &Way, line: &AccessLine<'_>, now: SystemTime) {
        match line.reason.filter(|reason| *reason != Reason::ClientGone) {
            Some(reason) if refusals().count(reason, now) => {
                let trace = refusals().may_trace(reason, now).then(|| self.trace(session, way));
                refusals().note(Refused { trace, ..Refused::of(line, now) });
            }
            None if recording().is_on(now) => {
                let trace = recording().may_trace(now).then(|| self.trace(session, way));
                recording().note(Refused { trace, ..Refused::of(line, now) }, line.outcome);
            }
            _ => {}
        }
    }
}
