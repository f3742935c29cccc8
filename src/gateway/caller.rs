//! Steps 4 to 7: who is asking, whether they may, and what the app is told of them.
//!
//! Promise: where a route takes tokens, an `Authorization` header decides alone; a bad one never falls through to the
//! session that came along.

use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::Gateway;
use super::account::Way;
use super::route::{Route, RouteTokens};
use super::watch::Watched;
use crate::authn::password::{Pair, no_password};
use crate::authn::{Program, SessionRules, Verdict};
use crate::authz;
use crate::config::model::Access;
use crate::endpoints::renewal::{Renewal, renew};
use crate::endpoints::{self, Answer, Known, Refusal, SignInWish, StepUp, Visit};
use crate::identity::Identity;
use crate::reason::{Failure, Reason};
use crate::session::Session as PersonSession;
use crate::telemetry::{Audit, Decision, audit};

/// Headers by which a client of W&B says whom it works for.
const ATTRIBUTION: [HeaderName; 2] =
    [HeaderName::from_static("x-wandb-username"), HeaderName::from_static("x-wandb-user-email")];

/// What is refused while only the way in is open.
const CREDENTIAL: &str = "a credential of a program";
/// What whoever came by the way in is told beside that a rule does not name them.
const RESTORE_IS_RULED: &str = "You came by the way in, and rules hold for it as for everybody: give `[restore]` the \
    `email` or the `groups` that this route asks for, and start the gateway again.";

impl Gateway {
    /// Lets the request through, or answers it (`Some`), or refuses it.
    pub(super) async fn admit(
        &self,
        visit: &Visit<'_>,
        route: &Route,
        way: &mut Way,
    ) -> Result<Option<Answer>, Refusal> {
        way.authenticated = true;
        let Some(tokens) = &route.tokens else { return self.admit_person(visit, route, way).await };
        let admitted = match visit.headers.get(header::AUTHORIZATION) {
            Some(authorization) => self.admit_program(visit, route, tokens, authorization, way).await.map(|()| None),
            None if route.access == Access::Bearer => Err(Failure::from(Reason::TokenMissing).into()),
            None => self.admit_person(visit, route, way).await,
        };
        admitted.map_err(|refusal| Refusal { challenge: Some(tokens.challenge.clone()), ..refusal })
    }

    async fn admit_program(
        &self,
        visit: &Visit<'_>,
        route: &Route,
        tokens: &RouteTokens,
        authorization: &HeaderValue,
        way: &mut Way,
    ) -> Result<(), Refusal> {
        if self.context.way_in.is_some() {
            return Err(Failure::new(Reason::RestoreOnly, CREDENTIAL).into());
        }
        let programs = &self.context.programs;
        let program = match Pair::read(authorization).filter(|_| tokens.passwords) {
            Some(pair) => Box::pin(programs.judge_password(&pair, visit.client)).await.inspect_err(|refused| {
                let denied = Audit {
                    reason: Some(refused.failure.reason),
                    detail: &refused.failure.detail,
                    provider: self.context.directory().map(|directory| directory.name()),
                    route: Some(&route.name),
                    peer: visit.client,
                    ..Audit::new(visit.reference, "basic", Decision::Deny)
                };
                audit::record(&denied, visit.now);
            })?,
            None if tokens.passwords
                && let Some(failure) = no_password(authorization) =>
            {
                return Err(failure.into());
            }
            None => match &way.rehearsed {
                None => programs.judge(authorization, &tokens.wanted, visit.seconds()).await?,
                Some(rehearsed) => {
                    let judged = programs.rehearse(authorization, &rehearsed.proof, &tokens.wanted, visit.seconds());
                    Box::pin(judged).await?
                }
            },
        };
        may(route, program.identity()).map_err(|failure| refuse(program.identity(), failure, way))?;
        if tokens.attribution {
            way.identity = attribution(visit, &program);
        }
        way.program = Some(program);
        Ok(())
    }

    async fn admit_person(&self, visit: &Visit<'_>, route: &Route, way: &mut Way) -> Result<Option<Answer>, Refusal> {
        // Before the session is judged: what is said from here on is for whoever looks again.
        let said = self.context.ended.said();
        let person = match self.authenticate(visit, route, way).await {
            Verdict::Known(person) => person,
            // What it sends may be as good as ever: it is to come again, not to sign in.
            Verdict::Missing if self.context.way_in.is_some() && is_program_with_credential(visit) => {
                return Err(Failure::new(Reason::RestoreOnly, CREDENTIAL).into());
            }
            // A program that was let near the wrong route should not have to guess.
            Verdict::Missing if route.tokens.is_none() && is_bearer(visit) => {
                return Err(Failure::from(Reason::TokenNotTaken).into());
            }
            // 6 nobody: a person is sent to sign in, a program is told
            verdict => {
                let step_up = route.step_up.as_deref();
                let wish = SignInWish { provider: route.provider.as_deref(), style: route.sign_in, step_up };
                return endpoints::send_to_sign_in(&self.context, visit, &verdict, wish).map(Some);
            }
        };
        way.user = Some(person.identity.user.clone());
        may(route, &person.identity).map_err(|failure| {
            let failure = self.explain_refusal(failure, &person.identity, route);
            let mut refusal = refuse(&person.identity, failure, way);
            if self.context.way_in.is_some() {
                refusal.seen = [RESTORE_IS_RULED.to_owned()].into();
            }
            refusal
        })?;
        if let Some(step_up) = &route.step_up
            && let Err(failure) = self.is_enough(step_up, &person, visit.seconds())
        {
            let who = &person.identity;
            let cookies = std::mem::take(&mut way.cookies);
            return match endpoints::send_to_step_up(&self.context, visit, failure, &who.provider, step_up) {
                Ok(answer) => Ok(Some(answer.with_cookies(cookies))),
                Err(refusal) => Err(refusal.with_cookies(cookies)),
            };
        }
        // Written by `upstream_request_filter`.
        let headers = self.context.identity_headers.of(&person.identity);
        way.identity = headers.map_err(|failure| refuse(&person.identity, failure, way))?;
        way.watched = Some(Watched { session: person, said, streams: false });
        Ok(None)
    }

    /// `failure`, by which the rules of `route` turned `who` away, with what mends it where a claim is absent or an address
    /// unverified.
    fn explain_refusal(&self, failure: Failure, who: &Identity, route: &Route) -> Failure {
        let provider = self.context.providers.get(&who.provider);
        if failure.reason == Reason::EmailUnverified {
            return match provider {
                Some(provider) => provider.explain_unverified(failure),
                None => failure,
            };
        }
        let Some(rules) = route.rules.as_ref().filter(|_| failure.reason == Reason::ClaimAbsent) else {
            return failure;
        };
        let absent = rules.absent(who);
        match (provider, self.context.directory()) {
            (Some(provider), _) => provider.explain_absence(failure, who, &absent),
            (None, Some(directory)) if directory.name() == who.provider => directory.explain_absence(failure, &absent),
            (None, _) => failure,
        }
    }

    /// Whether the sign-in behind a session is what the route asks for.
    pub(super) fn is_enough(&self, step_up: &StepUp, person: &PersonSession, now: u64) -> Result<(), Failure> {
        let leeway = self.context.providers.get(&person.identity.provider).map(|provider| provider.leeway().as_secs());
        step_up.check(person, leeway.unwrap_or_default(), now)
    }

    /// The verdict on the request's session, renewed where it is due, its use noted.
    async fn authenticate(&self, visit: &Visit<'_>, route: &Route, way: &mut Way) -> Verdict {
        let now = visit.seconds();
        let verdict = self.judge_session(visit.headers, route, now, visit.counted);
        let Verdict::Known(mut person) = verdict else { return verdict };
        // Nothing is renewed and nothing noted for the sake of an explanation.
        if way.rehearsed.is_some() {
            return Verdict::Known(person);
        }
        let limits = &self.context.config.settings.session;
        let mut changed = person.note_use(limits, now);
        let due = person.renewal_due(limits, now);
        // What this browser sent before it got another session must not put the old one back.
        if (changed || due) && self.context.ended.is_replaced(&person) {
            return Verdict::Known(person);
        }
        if due {
            match Box::pin(renew(&self.context, visit, &person)).await {
                Renewal::Store(renewed) => {
                    person = renewed;
                    changed = true;
                    way.renewed = true;
                }
                Renewal::Keep => {}
                Renewal::SignIn(failure) => return Verdict::Rejected(failure),
            }
        }
        if changed {
            self.context.ended.saw(&person);
            self.store(visit, &person, way);
        }
        Verdict::Known(person)
    }

    /// The verdict on the session cookie in `headers`, where `route` takes sessions.
    pub(super) fn judge_session(&self, headers: &HeaderMap, route: &Route, now: u64, counted: bool) -> Verdict {
        let accepted =
            |name: &str| self.context.accepts(name) && route.provider.as_deref().is_none_or(|wanted| wanted == name);
        SessionRules { counted, ..self.context.session_rules() }.judge(headers, now, accepted)
    }

    fn store(&self, visit: &Visit<'_>, person: &PersonSession, way: &mut Way) {
        let limit = self.context.config.settings.session.max_bytes.0;
        match person.seal(&self.context.keys, self.context.cookies.sealed_for(), limit) {
            Ok(sealed) => way.cookies = self.context.cookies.store_session(&sealed, visit.headers),
            // The old cookie goes on working until its own limits.
            Err(failure) => {
                tracing::warn!(%failure, reference = way.reference.as_str(), "a session could not be stored anew")
            }
        }
    }
}

/// Whether a program sends a credential. A browser may send a name and password that it remembers, with whatever it opens.
fn is_program_with_credential(visit: &Visit<'_>) -> bool {
    is_bearer(visit) || (visit.headers.contains_key(header::AUTHORIZATION) && !visit.visitor().is_person())
}

/// Whether a bearer token came along.
fn is_bearer(visit: &Visit<'_>) -> bool {
    let scheme =
        |value: &HeaderValue| value.as_bytes().get(..7).is_some_and(|start| start.eq_ignore_ascii_case(b"bearer "));
    visit.headers.get(header::AUTHORIZATION).is_some_and(scheme)
}

/// Step 5: what the route's rules say.
pub(super) fn may(route: &Route, identity: &Identity) -> Result<(), Failure> {
    match route.rules.as_ref().map(|rules| rules.judge(identity)) {
        Some(authz::Verdict::Deny(failure)) => Err(failure),
        Some(authz::Verdict::Allow) | None => Ok(()),
    }
}

/// Turns somebody away who is known.
fn refuse(who: &Identity, failure: Failure, way: &mut Way) -> Refusal {
    let mut refusal = Refusal::from(failure).with_cookies(std::mem::take(&mut way.cookies));
    refusal.who = Some(Known::of(who));
    refusal
}

/// Whom the program says it works for, as far as it may. An app that reads these has to take them for what they are: a
/// note, and nobody's identity.
fn attribution(visit: &Visit<'_>, program: &Program) -> Vec<(HeaderName, HeaderValue)> {
    let said = |name: HeaderName| {
        let mut values = visit.headers.get_all(&name).iter();
        let value = values.next().filter(|_| values.next().is_none())?;
        let may = value.to_str().is_ok_and(|user| !user.is_empty() && program.may_act_for(user));
        may.then(|| (name, value.clone()))
    };
    ATTRIBUTION.into_iter().filter_map(said).collect()
}
