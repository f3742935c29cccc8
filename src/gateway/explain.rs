//! The steps of a request told one by one, for a request that nobody sent (`doorward explain`) and for one that was
//! answered a moment ago.
//!
//! Promise: the verdict is that of [`Gateway::decide`]'s own functions, run on the request; what is told beside it comes of
//! the code that compares. Nothing is forwarded, renewed, redeemed or ended for the sake of it.

mod form;
mod headers;
mod trace;
mod verdict;

use std::net::SocketAddr;
use std::time::SystemTime;

use http::{HeaderMap, HeaderName, header};
use pingora_http::RequestHeader;
use serde::Serialize;
use serde_json::{Map, Value, json};

use self::form::{canonical, refused_form};
use super::account::{Rehearsed, Way};
use super::request::CanonicalRequest;
use super::route::{Route, RouteTokens};
use super::{Gateway, Step as Decided, asks_before, visit};
use crate::authn::program::{Credential, Proof, Sent};
use crate::authn::{Verdict as Session, program};
use crate::authz;
use crate::clock::unix_seconds;
use crate::config::KeyPath;
use crate::config::model::Access;
use crate::endpoints::{self, Answer, Visit};
use crate::examined::{Check, Fate, Field, Found, Step};
use crate::identity::Identity;
use crate::reason::{Failure, Reason};
use crate::session;

pub use verdict::{Outcome, Verdict};

/// Name of step 6, and what it says where it does not apply.
const NOBODY: &str = "where nobody is known";
const KNOWN: &str = "passed over: what came with the request decides, or nobody has to be known";

/// What steps 4 and 5 say where there is no route to ask them of.
const ANSWERED_HERE: &str = "does not apply: the gateway answers its own addresses itself, by no route";
const NO_ROUTE: &str = "does not apply: no route takes the request";

/// A request that nobody sent.
pub struct Asked {
    pub head: RequestHeader,
    /// The head as it would come over HTTP/1.
    pub raw: Vec<u8>,
    pub peer: Option<SocketAddr>,
    /// Claims that are taken to be those of a verified token, which comes in `Authorization`.
    pub claims: Option<Map<String, Value>>,
    /// Whether nobody is asked for keys and metadata that are not at hand.
    pub offline: bool,
    pub now: SystemTime,
    /// Headers that are in the place of something else, and that nobody would send: the app would not have got them anyway.
    pub added: Vec<HeaderName>,
    /// What the head was taken for, where it does not say.
    pub assumed: Vec<&'static str>,
}

/// What would become of it.
#[derive(Clone, Debug, Serialize)]
pub struct Explanation {
    /// Nine less the last.
    pub steps: Vec<Step>,
    pub verdict: Verdict,
    /// Header and claims of a token that was sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<Value>,
}

/// What the steps are told of.
struct Scene<'a> {
    headers: &'a HeaderMap,
    request: &'a CanonicalRequest,
    claims: Option<&'a Map<String, Value>>,
    now: u64,
    /// Whether it happened, and what is said of it is kept.
    live: bool,
}

/// What the steps found of who is asking.
#[derive(Default)]
struct Who {
    credential: Option<Credential>,
    /// Whether there is nobody where somebody is needed.
    nobody: bool,
}

impl Gateway {
    /// What would become of `asked`, step by step.
    pub async fn explain(&self, asked: &Asked) -> Explanation {
        let read = self.read(&asked.head, Some(&asked.raw), asked.peer.as_ref());
        let (request, origin) = match read {
            Ok(read) => read,
            Err(failure) => return self.unread(asked, &failure),
        };
        let proof = match (&asked.claims, asked.offline) {
            (Some(claims), _) => Proof::Claims(claims.clone()),
            (None, true) => Proof::KeysAtHand,
            (None, false) => Proof::Keys,
        };
        let mut way = Way::rehearse(proof);
        way.began = asked.now;
        let scene = Scene {
            headers: &asked.head.headers,
            request: &request,
            claims: asked.claims.as_ref(),
            now: unix_seconds(asked.now),
            live: false,
        };
        let visit = visit(&asked.head, &request, &origin, &way);
        let mut steps = vec![canonical(&scene, &origin)];
        asked.assumed.iter().for_each(|assumed| steps[0].say(*assumed));
        if !asked.offline {
            self.fetch(&visit, &request).await;
        }
        let (told, who) = self.examine(&scene);
        steps.extend(told);
        let verdict = self.rehearse(&visit, &request, &mut way, &who, asked.offline).await;
        steps.push(self.nobody(&visit, &request, &who, asked.offline).await);
        way.request = Some(request.clone());
        way.origin = Some(origin);
        let mut sent = self.passed_on(&asked.head, &way, &verdict);
        let made_up =
            |field: &Field| field.fate == Fate::Dropped && asked.added.iter().any(|name| *name == *field.name);
        sent[0].headers.retain(|field| !made_up(field));
        steps.extend(sent);
        let token = who.credential.and_then(|sent| {
            let claims = sent.claims?;
            Some(match sent.header {
                Some(header) => json!({ "header": header, "claims": claims }),
                None => json!({ "claims": claims }),
            })
        });
        Explanation { steps, verdict, token }
    }

    /// A request that was not understood well enough to say anything else about it.
    fn unread(&self, asked: &Asked, failure: &Failure) -> Explanation {
        let head = &asked.head;
        let visit = Visit {
            method: &head.method,
            headers: &head.headers,
            path: "/",
            query: None,
            host: "",
            port: None,
            reference: crate::telemetry::Reference::next(),
            now: asked.now,
            client: asked.peer.map(|peer| peer.ip()),
            over_tls: false,
            body: &[],
            counted: false,
        };
        let answer = Answer::refusal(&self.context, &visit, failure.clone().into());
        let steps = vec![refused_form(failure, head.raw_path())];
        Explanation { steps, verdict: Verdict::of(&answer), token: None }
    }

    /// Fetches what is needed and not at hand: keys of the token's issuer, and metadata where somebody may have to sign in.
    async fn fetch(&self, visit: &Visit<'_>, request: &CanonicalRequest) {
        if endpoints::is_own(&self.context, visit.host, visit.path) {
            return self.context.providers.fetch_missing().await;
        }
        let Ok(index) = self.routes.find(request) else { return };
        let route = &self.routes[index];
        let programs = &self.context.programs;
        match visit.headers.get(header::AUTHORIZATION).filter(|_| route.tokens.is_some()) {
            Some(authorization) => {
                let token = programs.token_in(authorization);
                programs.issuers.fetch_keys_for(token.as_deref(), visit.seconds()).await;
            }
            None if !matches!(route.access, Access::Public | Access::Bearer) => {
                self.context.providers.fetch_missing().await;
            }
            None => {}
        }
    }

    /// How the route of `asked` lets somebody in; `None` where no route governs it.
    pub fn access_of(&self, asked: &Asked) -> Option<Access> {
        let (request, _) = self.read(&asked.head, Some(&asked.raw), asked.peer.as_ref()).ok()?;
        self.routes.find(&request).ok().map(|index| self.routes[index].access)
    }

    /// The real decision, without what it would do.
    async fn rehearse(
        &self,
        visit: &Visit<'_>,
        request: &CanonicalRequest,
        way: &mut Way,
        who: &Who,
        offline: bool,
    ) -> Verdict {
        if endpoints::is_own(&self.context, visit.host, visit.path) {
            return match endpoints::rehearse(&self.context, visit).await {
                Some(Ok(answer)) => Verdict::of(&answer).unless_asked(offline),
                Some(Err(refusal)) => {
                    Verdict::of(&Answer::refusal(&self.context, visit, refusal)).unless_asked(offline)
                }
                None => Verdict::undecided("this address answers by what it is sent, and nothing was sent to it"),
            };
        }
        let sent = who.credential.as_ref();
        match sent.filter(|credential| !credential.fails()).map(|credential| credential.sent) {
            Some(Sent::Password) => return Verdict::undecided("the directory was not asked about name and password"),
            Some(Sent::Opaque) if offline => return Verdict::undecided("the token's issuer was not asked about it"),
            _ => {}
        }
        let without_keys = offline.then(|| self.without_keys(visit)).flatten();
        if without_keys.is_some() && sent.is_some_and(|sent| sent.sent == Sent::Jwt) {
            way.rehearsed = Some(Box::new(Rehearsed { proof: Proof::None }));
        }
        let decided = self.decide_for(visit, request, way).await;
        let verdict = match decided {
            Ok(Decided::Forward) => Verdict::passed(),
            Ok(Decided::Answer(answer)) => Verdict::of(&answer),
            Err(refusal) => Verdict::of(&Answer::refusal(&self.context, visit, refusal)),
        };
        match without_keys {
            Some(why) if verdict.outcome == Outcome::Passed => Verdict::undecided(why),
            _ => verdict.unless_asked(offline),
        }
    }

    /// Why the signature of the token that came cannot be examined.
    fn without_keys(&self, visit: &Visit<'_>) -> Option<String> {
        let programs = &self.context.programs;
        let token = programs.token_in(visit.headers.get(header::AUTHORIZATION)?)?;
        let issuer = programs.issuers.named_by(&token)?;
        issuer.missing_keys(visit.seconds()).map(|why| format!("signature not examined: {why}"))
    }

    /// Steps 2 to 5. Asks nobody.
    fn examine(&self, scene: &Scene<'_>) -> (Vec<Step>, Who) {
        let own = endpoints::is_own(&self.context, &scene.request.authority.host, scene.request.path.as_str());
        let found = self.routes.find(scene.request);
        let mut steps = vec![self.routing(scene, &found, own)];
        let mut own_step = Step::new(3, "own address");
        own_step.say(match own {
            true => format!("{} is the gateway's own: no route can take it away", scene.request.path),
            false => "no".to_owned(),
        });
        steps.push(own_step);
        let index = found.ok().filter(|_| !own);
        let Some((index, route)) = index.map(|index| (index, &self.routes[index])) else {
            let why = if own { ANSWERED_HERE } else { NO_ROUTE };
            steps.extend([Step::new(4, "credential").saying(why), Step::new(5, "rules").saying(why)]);
            return (steps, Who::default());
        };
        if route.access == Access::Public {
            steps.push(Step::new(4, "credential").saying("none is asked for: the route is public"));
            steps.push(Step::new(5, "rules").saying("none"));
            return (steps, Who::default());
        }
        if asks_before(&scene.request.method, scene.headers) {
            let step = Step::new(4, "credential").saying("none: a preflight carries none (Fetch standard)");
            let rules = Step::new(5, "rules");
            let allowed =
                if route.preflight { "the route lets preflights through" } else { "cors or `preflight` decides" };
            steps.extend([step, rules.saying(allowed)]);
            return (steps, Who::default());
        }
        let (credential, identity, session, who) = self.credential(scene, route);
        steps.push(credential);
        steps.push(self.rules(scene, index, identity.as_ref(), session.as_deref()));
        (steps, who)
    }

    fn routing(&self, scene: &Scene<'_>, found: &Result<usize, Failure>, own: bool) -> Step {
        let mut step = Step::new(2, "route");
        if own {
            step.say("not looked for: the gateway's own addresses come first");
            return step;
        }
        match found {
            Ok(index) => {
                let route = &self.routes[*index];
                let access = serde_json::to_value(route.access).ok();
                let access = access.as_ref().and_then(Value::as_str).unwrap_or_default();
                step.say(format!(
                    "`{}` governs, access = \"{access}\"; the most specific that matches wins",
                    route.name
                ));
            }
            Err(failure) => step.say(failure.to_string()),
        }
        if let (Some(other), Err(failure)) = (scene.request.path.without_parameters(), found)
            && failure.reason == Reason::PathAmbiguous
        {
            step.say(format!("one reading: {}; another, without parameters: {other}", scene.request.path));
        }
        let config = &self.context.config;
        let written = |index| config.place_of(&KeyPath::default().key("route").index(index));
        step.checks = self.routes.examine(scene.request, &config.settings, written, found.as_ref().ok().copied());
        step
    }

    /// Step 4: what was found, and each check of it.
    fn credential(
        &self,
        scene: &Scene<'_>,
        route: &Route,
    ) -> (Step, Option<Identity>, Option<Box<session::Session>>, Who) {
        let mut step = Step::new(4, "credential");
        if self.context.way_in.is_some() {
            step.say("only the way in is open: credentials of programs and former sessions do not count");
        }
        match (&route.tokens, scene.headers.get(header::AUTHORIZATION)) {
            (Some(tokens), Some(authorization)) => {
                let credential = self.of_program(scene, tokens, authorization);
                step.say(match credential.sent {
                    Sent::Unreadable => "`Authorization` cannot be read; it decides alone here",
                    Sent::Key => "a service account's key in `Authorization`",
                    Sent::Jwt => "a JWT in `Authorization`; it decides alone, whatever cookie came along",
                    Sent::Opaque if credential.fails() => {
                        "what comes in `Authorization` is no JWT, and nobody is asked about it"
                    }
                    Sent::Opaque => "a token in `Authorization` that is no JWT: its issuer is asked about it",
                    Sent::Password => "a name and a password in `Authorization`: the directory is asked about them",
                    Sent::Assumed => "claims that are taken to be those of a verified token",
                });
                if let Some(who) = credential.who.as_ref().filter(|_| !scene.live) {
                    step.say(format!("it is {}, by `{}`", crate::words::in_words(&who.user), who.provider));
                }
                step.checks.clone_from(&credential.checks);
                let identity = credential.who.clone();
                return (step, identity, None, Who { credential: Some(credential), nobody: false });
            }
            (Some(_), None) if route.access == Access::Bearer => {
                step.say("no `Authorization` header; this route takes tokens and keys alone");
                return (step, None, None, Who { credential: None, nobody: true });
            }
            (None, Some(_)) => step.say("an `Authorization` header, which this route does not look at"),
            _ => {}
        }
        let (identity, session) = self.of_person(scene, route, &mut step);
        let who = Who { credential: None, nobody: identity.is_none() };
        (step, identity, session, who)
    }

    fn of_program(
        &self,
        scene: &Scene<'_>,
        tokens: &RouteTokens,
        authorization: &http::HeaderValue,
    ) -> program::Credential {
        let programs = &self.context.programs;
        match scene.claims {
            Some(claims) => programs.examine_assumed(claims, &tokens.wanted, scene.now),
            None => programs.examine(authorization, &tokens.wanted, tokens.passwords, scene.now),
        }
    }

    fn of_person(
        &self,
        scene: &Scene<'_>,
        route: &Route,
        step: &mut Step,
    ) -> (Option<Identity>, Option<Box<session::Session>>) {
        let name = self.context.cookies.session();
        let check =
            Check::of("session", format!("cookie {name}")).expected("sealed by this gateway, in time, not ended");
        match self.judge_session(scene.headers, route, scene.now, false) {
            Session::Missing => {
                step.say(format!("no session cookie (`{name}`)"));
                (None, None)
            }
            Session::Rejected(failure) => {
                step.say("a session cookie that does not count");
                step.checks.push(check.judged(&Err(failure)));
                (None, None)
            }
            Session::Known(session) => {
                let who = session.identity.clone();
                step.say(format!("a session of {}, by `{}`", crate::words::in_words(&who.user), who.provider));
                let limits = &self.context.config.settings.session;
                let ago = |at: u64| format!("{} s ago", scene.now.saturating_sub(at));
                step.checks.push(check.judged(&Ok(())));
                step.checks.push(
                    Check::of("signed in", "session.absolute")
                        .expected(format!("within {}", limits.absolute))
                        .got(ago(session.signed_in_at))
                        .met(true),
                );
                step.checks.push(
                    Check::of("used", "session.idle")
                        .expected(format!("within {}", limits.idle))
                        .got(ago(session.last_used))
                        .met(true),
                );
                (Some(who), Some(session))
            }
        }
    }

    /// Step 5: each rule, and the values that were compared.
    fn rules(
        &self,
        scene: &Scene<'_>,
        index: usize,
        identity: Option<&Identity>,
        session: Option<&session::Session>,
    ) -> Step {
        let (route, mut step) = (&self.routes[index], Step::new(5, "rules"));
        let Some(identity) = identity else {
            step.say("not asked: nobody is known");
            return step;
        };
        match &route.rules {
            None => step.say("none: whoever is known may"),
            Some(rules) => {
                let key = KeyPath::default().key("route").index(index).key("allow");
                step.checks = rules.examine(identity, &self.context.config.place_of(&key));
                match rules.judge(identity) {
                    authz::Verdict::Allow => {
                        step.say("met: one of them is enough");
                        let not_met = step.checks.iter_mut().filter(|check| check.found == Found::Fails);
                        not_met.for_each(|check| check.found = Found::PassedOver);
                    }
                    authz::Verdict::Deny(failure) => step.say(failure.to_string()),
                }
            }
        }
        if let (Some(step_up), Some(session)) = (&route.step_up, session) {
            let check = Check::of("kind and age of the sign-in", "acr_values, max_age, fresh_sign_in; RFC 9470");
            step.checks.push(check.judged(&self.is_enough(step_up, session, scene.now)));
        }
        step
    }

    /// Step 6: what a person and a program without a credential get.
    async fn nobody(&self, visit: &Visit<'_>, request: &CanonicalRequest, who: &Who, offline: bool) -> Step {
        let mut step = Step::new(6, NOBODY);
        if !who.nobody {
            step.say(KNOWN);
            return step;
        }
        let (mut person, mut program) = (visit.headers.clone(), visit.headers.clone());
        for name in ["sec-fetch-mode", "sec-fetch-dest", "sec-purpose", "x-requested-with", "upgrade"] {
            person.remove(name);
            program.remove(name);
        }
        person.remove(header::AUTHORIZATION);
        person.insert(header::ACCEPT, http::HeaderValue::from_static("text/html"));
        program.insert(header::ACCEPT, http::HeaderValue::from_static("application/json"));
        for (who, headers) in [("a person", &person), ("a program", &program)] {
            let visit = Visit { headers, ..visit.clone() };
            let mut way = Way::rehearse(Proof::KeysAtHand);
            let verdict = match self.decide_for(&visit, request, &mut way).await {
                Ok(Decided::Forward) => Verdict::passed(),
                Ok(Decided::Answer(answer)) => Verdict::of(&answer),
                Err(refusal) => Verdict::of(&Answer::refusal(&self.context, &visit, refusal)),
            };
            step.say(format!("{who} gets {}", verdict.unless_asked(offline).in_words()));
        }
        step
    }
}
