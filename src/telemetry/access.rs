//! The access log: one line a request, written when its answer is complete.
//!
//! It stands on the hot path: about a microsecond, nothing allocated. The query is never in it, since queries carry
//! codes and tokens; neither is any header but the User-Agent.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use super::line::{self, Line, key};
use super::{Reference, logs};
use crate::reason::Reason;

/// What there is to say about one request. All of it is borrowed; what is absent is left out of the line.
#[derive(Clone, Copy, Debug)]
pub struct Access<'a> {
    pub reference: Reference,
    /// The client, after listed proxies were believed.
    pub peer: Option<IpAddr>,
    pub method: &'a str,
    pub host: &'a str,
    /// The canonical path, without the query.
    pub path: &'a str,
    /// `HTTP/1.1`, `HTTP/2.0`.
    pub protocol: &'a str,
    /// Name of the route, empty where none matched.
    pub route: &'a str,
    pub status: u16,
    /// `passed`, `refused`, `failed` or `own`, as in the metrics.
    pub outcome: &'static str,
    pub reason: Option<Reason>,
    /// What was seen, without tokens, codes, cookies or secrets.
    pub detail: &'a str,
    /// What to do about it, where that is more than the reason's own remedy.
    pub remedy: Option<&'a str>,
    /// The provider of people that a refusal is about.
    pub provider: Option<&'a str>,
    pub user: Option<&'a str>,
    /// For programs: who vouches for the user, by the name of the `[[issuer]]`, `doorward` or `service-account`.
    pub issuer: Option<&'a str>,
    pub upstream: Option<&'a str>,
    /// Bytes of the request's body.
    pub bytes_in: u64,
    /// Bytes of the answer's body.
    pub bytes_out: u64,
    /// From the head of the request to the end of the answer.
    pub took: Duration,
    /// The share that deciding who asks and whether they may took.
    pub auth: Duration,
    pub user_agent: Option<&'a [u8]>,
}

/// Writes the line, unless the configuration wants no access log.
pub fn record(access: &Access<'_>, now: SystemTime) {
    let shape = logs::shape();
    if shape.access {
        line::write(shape.format, "access", now, |line| access.fill(line));
    }
}

impl Access<'_> {
    fn fill(&self, line: &mut Line<'_>) {
        // A method is a token (RFC 9110 §5.6.2), which has neither space nor quote nor backslash.
        line.word_place(key!("method"), self.method.as_bytes());
        line.place(key!("host"), self.host);
        line.place(key!("path"), self.path);
        line.count_place(key!("status"), self.status.into());
        line.word_place(key!("outcome"), self.outcome.as_bytes());
        line.maybe(key!("reason"), self.reason.map(Reason::code));
        line.maybe(key!("detail"), Some(self.detail));
        line.maybe(key!("remedy"), self.remedy);
        line.maybe(key!("provider"), self.provider);
        line.maybe(key!("user"), self.user);
        line.maybe(key!("issuer"), self.issuer);
        line.maybe(key!("route"), Some(self.route));
        line.maybe(key!("upstream"), self.upstream);
        line.milliseconds(key!("took_ms"), self.took);
        line.milliseconds(key!("auth_ms"), self.auth);
        line.count(key!("bytes_in"), self.bytes_in);
        line.count(key!("bytes_out"), self.bytes_out);
        if let Some(peer) = self.peer {
            line.address(key!("peer"), peer);
        }
        line.word(key!("protocol"), self.protocol.as_bytes());
        if let Some(agent) = self.user_agent {
            // Long enough for every browser, short enough that a client cannot fill the disk with it.
            line.bytes(key!("user_agent"), &agent[..agent.len().min(256)]);
        }
        line.word(key!("reference"), self.reference.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::model::LogFormat;
    use std::time::UNIX_EPOCH;

    fn access() -> Access<'static> {
        Access {
            reference: Reference::next(),
            peer: Some(IpAddr::from([192, 0, 2, 7])),
            method: "GET",
            host: "app.example",
            path: "/reports/7",
            protocol: "HTTP/1.1",
            route: "app",
            status: 403,
            outcome: "refused",
            reason: Some(Reason::RuleNotMet),
            detail: "",
            remedy: None,
            provider: None,
            user: Some("jo"),
            issuer: None,
            upstream: None,
            bytes_in: 0,
            bytes_out: 1234,
            took: Duration::from_micros(1500),
            auth: Duration::from_micros(4),
            user_agent: Some(b"Mozilla/5.0 (X11)"),
        }
    }

    fn line(access: &Access<'_>, format: LogFormat) -> String {
        let mut out = Vec::new();
        line::compose(&mut out, format, "access", UNIX_EPOCH, |line| access.fill(line));
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn a_request_is_one_line_of_text() {
        let access = access();
        assert_eq!(
            line(&access, LogFormat::Text),
            format!(
                "1970-01-01T00:00:00.000Z access GET app.example /reports/7 403 refused reason=DW-5001 user=jo route=app \
                 took_ms=1.500 auth_ms=0.004 bytes_in=0 bytes_out=1234 peer=192.0.2.7 protocol=HTTP/1.1 \
                 user_agent=\"Mozilla/5.0 (X11)\" reference={}\n",
                access.reference
            )
        );
    }

    #[test]
    fn a_request_is_one_object_of_json() {
        let access = Access { user_agent: Some(b"a\"\n\xff"), ..access() };
        let value: serde_json::Value = serde_json::from_str(&line(&access, LogFormat::Json)).expect("JSON");
        assert_eq!(value["kind"], "access");
        assert_eq!(value["status"], 403);
        assert_eq!(value["took_ms"], 1.5);
        assert_eq!(value["peer"], "192.0.2.7");
        assert_eq!(value["reason"], "DW-5001");
        assert_eq!(value["user_agent"], "a\"\n\u{fffd}");
        assert_eq!(value["reference"], access.reference.as_str());
        assert!(value.get("upstream").is_none() && value.get("detail").is_none());
    }
}
