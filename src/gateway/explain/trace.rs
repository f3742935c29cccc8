//! The trace of a request that was answered: the same steps, told from the head that came, for the console.
//!
//! Promise: it is made where a request was refused, or while an admin has everything recorded; of a flood of refusals
//! only some a second are traced. No token, cookie or query is in it.

use pingora_proxy::Session;

use super::super::Gateway;
use super::super::account::{Way, WayOutcome};
use super::form::{canonical, refused_form};
use super::headers::not_sent;
use super::{KNOWN, NOBODY, Scene};
use crate::authn::Program;
use crate::clock::unix_seconds;
use crate::examined::{Fate, Field, Step};

impl Gateway {
    /// The steps of the request that `session` and `way` are of.
    pub(in crate::gateway) fn trace(&self, session: &Session, way: &Way) -> Vec<Step> {
        let head = session.req_header();
        let (Some(request), Some(origin)) = (&way.request, &way.origin) else {
            return match &way.outcome {
                WayOutcome::Refused(failure) => vec![refused_form(failure, head.raw_path())],
                _ => Vec::new(),
            };
        };
        let scene = Scene { headers: &head.headers, request, claims: None, now: unix_seconds(way.began), live: true };
        let mut steps = vec![canonical(&scene, origin)];
        let (told, who) = self.examine(&scene);
        steps.extend(told);
        steps.push(Step::new(6, NOBODY).saying(match (who.nobody, &way.outcome) {
            (false, _) => KNOWN,
            (true, WayOutcome::Own) => "nobody is known, and a browser asks: it was sent to sign in",
            (true, _) => "nobody is known: it was refused, and not sent to sign in",
        }));
        let sent = way.first_address.and_then(|_| self.was_sent(way));
        steps.extend(sent.unwrap_or_else(not_sent));
        steps
    }

    /// Steps 7 and 8: who the app was told it is, and which app that was. Of one that was not reached, which it would have
    /// been.
    fn was_sent(&self, way: &Way) -> Option<[Step; 2]> {
        let route = &self.routes[way.route?];
        let upstream = &self.upstreams[route.upstream];
        let app = format!("`{}` at {}", upstream.name, upstream.url());
        if !way.told {
            let [told, _] = not_sent();
            return Some([told, Step::new(8, "upstream").saying(format!("{app}, which was not reached"))]);
        }
        let mut told = Step::new(7, "headers for the app").saying("what the app was told of who it is");
        let program = way.program.as_ref().map_or(&[][..], Program::headers);
        told.headers = program
            .iter()
            .chain(&way.identity)
            .map(|(name, value)| Field {
                name: name.to_string(),
                value: String::from_utf8_lossy(value.as_bytes()).into_owned(),
                fate: Fate::Written,
            })
            .collect();
        Some([told, Step::new(8, "upstream").saying(app)])
    }
}
