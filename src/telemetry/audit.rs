//! The audit log: one line for each decision about somebody. Who, what, decision, reason, reference id.

use std::net::IpAddr;
use std::time::SystemTime;

use super::line::{self, Line};
use super::{Reference, logs};
use crate::reason::Reason;

/// What was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    Allow,
    Deny,
}

impl Decision {
    /// The word in the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Decision::Allow => "allow",
            Decision::Deny => "deny",
        }
    }
}

/// One decision about somebody. What is absent is left out of the line.
#[derive(Clone, Copy, Debug)]
pub struct Audit<'a> {
    pub reference: Reference,
    /// `sign_in`, `sign_out`, `refused`, `session_renewed` and the like.
    pub event: &'a str,
    pub decision: Decision,
    pub reason: Option<Reason>,
    /// What was seen, without tokens, codes, cookies or secrets.
    pub detail: &'a str,
    pub provider: Option<&'a str>,
    /// `sub` at the provider.
    pub subject: Option<&'a str>,
    /// What the app knows the person by.
    pub user: Option<&'a str>,
    pub route: Option<&'a str>,
    /// The client, after listed proxies were believed.
    pub peer: Option<IpAddr>,
}

impl<'a> Audit<'a> {
    /// A record of which only the event and the decision are known; the rest by struct update.
    pub fn new(reference: Reference, event: &'a str, decision: Decision) -> Self {
        Audit {
            reference,
            event,
            decision,
            reason: None,
            detail: "",
            provider: None,
            subject: None,
            user: None,
            route: None,
            peer: None,
        }
    }
}

/// Writes the line, unless the configuration wants no audit log.
pub fn record(audit: &Audit<'_>, now: SystemTime) {
    let shape = logs::shape();
    if shape.audit {
        line::write(shape.format, "audit", now, |line| audit.fill(line));
    }
}

impl Audit<'_> {
    fn fill(&self, line: &mut Line<'_>) {
        line.place("event", self.event);
        line.place("decision", self.decision.as_str());
        line.maybe("reason", self.reason.map(Reason::code));
        line.maybe("detail", Some(self.detail));
        line.maybe("user", self.user);
        line.maybe("subject", self.subject);
        line.maybe("provider", self.provider);
        line.maybe("route", self.route);
        if let Some(peer) = self.peer {
            line.address("peer", peer);
        }
        line.text("reference", self.reference.as_str());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::model::LogFormat;
    use std::time::UNIX_EPOCH;

    #[test]
    fn a_decision_is_one_line_whatever_the_name() {
        let audit = Audit {
            reason: Some(Reason::RuleNotMet),
            user: Some("jo\n2026-01-01 audit sign_in allow user=root"),
            ..Audit::new(Reference::next(), "refused", Decision::Deny)
        };
        let mut out = Vec::new();
        line::compose(&mut out, LogFormat::Text, "audit", UNIX_EPOCH, |line| audit.fill(line));
        assert_eq!(
            String::from_utf8(out).expect("UTF-8"),
            format!(
                "1970-01-01T00:00:00.000Z audit refused deny reason=DW-5001 \
                 user=\"jo\\n2026-01-01 audit sign_in allow user=root\" reference={}\n",
                audit.reference
            )
        );
    }
}
