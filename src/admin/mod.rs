//! The listener for operators: metrics and health for programs, and the console for whoever runs the gateway.
//!
//! Each page is a room. All of them only read, but for two that somebody presses a button for: the doctor's examination
//! and the trial of settings, which store nothing.
//!
//! Promise: nothing of it is on the public listener, unless a route leads there; no page, download or answer holds a
//! secret, a token or a cookie; what came from outside is escaped, and the Content-Security-Policy lets nothing run.

mod answer;
mod bundle;
mod doctor;
mod explain;
mod guard;
mod health;
mod overview;
mod plot;
mod providers;
mod recorded;
mod refusals;
mod routes;
mod samples;
mod secrets;
mod settings;
mod shell;
mod trial;
mod words;

use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwapOption;
use async_trait::async_trait;
use http::{Response, StatusCode};
use pingora_core::apps::http_app::ServeHttp;
use pingora_core::protocols::http::ServerSession;
use tokio::sync::watch;

use crate::config::Config;
use crate::directory::Directory;
use crate::gateway::Gateway;
use crate::jwt::Issuers;
use crate::oidc::Providers;
use crate::reason::{Failure, Reason};
use crate::reload;
use crate::telemetry::metrics;
pub use doctor::Doctor;
use guard::Asked;
use samples::Samples;
use shell::{Dress, Shell};

/// The configuration in force, and what runs by it.
struct InForce {
    gateway: Arc<Gateway>,
    config: Arc<Config>,
    report: Arc<reload::Report>,
    providers: Arc<Providers>,
    directory: Option<Arc<Directory>>,
    issuers: Arc<Issuers>,
    /// Names of the apps, and how many addresses each has.
    upstreams: Vec<(String, usize)>,
    /// What opened the way in, where nobody signs in but by that.
    restore: Option<String>,
}

/// The handler of the admin listener.
pub struct Admin {
    configuration: Arc<reload::State>,
    started: SystemTime,
    samples: Arc<Samples>,
    doctor: Arc<Doctor>,
    /// Held while settings are tried out.
    trying: tokio::sync::Mutex<()>,
    dress: ArcSwapOption<Dress>,
    /// Becomes true when the gateway is asked to stop.
    stopping: watch::Receiver<bool>,
}

/// What a page is made from.
struct Scene<'a> {
    admin: &'a Admin,
    in_force: &'a InForce,
    asked: &'a Asked,
    now: SystemTime,
}

impl Admin {
    /// Begins to note figures.
    pub fn new(configuration: Arc<reload::State>, doctor: Arc<Doctor>, stopping: watch::Receiver<bool>) -> Self {
        let samples = Arc::new(Samples::default());
        let (noting, until, gateways) = (Arc::clone(&samples), stopping.clone(), Arc::clone(&configuration));
        let told = move || gateways.report().gateway.context().programs.issuers.tell_metrics();
        tokio::spawn(async move { noting.keep(told, until).await });
        let started = SystemTime::now();
        Admin {
            configuration,
            started,
            samples,
            doctor,
            trying: Default::default(),
            dress: ArcSwapOption::empty(),
            stopping,
        }
    }

    fn in_force(&self) -> InForce {
        // Both by one look: a page is about one configuration, whatever becomes of it meanwhile.
        let report = self.configuration.report();
        let gateway = Arc::clone(&report.gateway);
        let context = gateway.context();
        InForce {
            config: Arc::clone(&report.config),
            providers: Arc::clone(&context.providers),
            directory: context.directory.clone(),
            issuers: Arc::clone(&context.programs.issuers),
            upstreams: gateway
                .upstreams()
                .iter()
                .map(|upstream| (upstream.name.clone(), upstream.addresses()))
                .collect(),
            restore: context.way_in.as_ref().map(|way_in| way_in.set_by().to_owned()),
            gateway: Arc::clone(&gateway),
            report,
        }
    }

    fn dress(&self, config: &Arc<Config>) -> Arc<Dress> {
        if let Some(known) = self.dress.load_full().filter(|known| Arc::ptr_eq(&known.of, config)) {
            return known;
        }
        let made = Arc::new(Dress::new(config));
        self.dress.store(Some(Arc::clone(&made)));
        made
    }

    async fn console(&self, session: &mut ServerSession) -> Response<Vec<u8>> {
        let (in_force, mut asked) = (self.in_force(), Asked::of(session));
        let judged = match guard::admits(session, &in_force.config.settings) {
            Ok(()) => guard::read_form(session, &mut asked).await,
            Err(failure) => Err(failure),
        };
        let scene = Scene { admin: self, in_force: &in_force, asked: &asked, now: SystemTime::now() };
        let answered = match judged {
            Ok(()) => scene.respond().await,
            Err(failure) => {
                // What was not read of the form must not be taken for the next request.
                session.set_keepalive(None);
                Err(failure)
            }
        };
        let answered = answered.unwrap_or_else(|failure| shell::refuse(scene.shell("?"), asked.by_person, &failure));
        let report = &in_force.report;
        // Those of the configurations before, too: what was refused under them is still kept.
        let known = in_force.config.settings.known_secrets().chain(&report.earlier_secrets);
        answer::with_body(answered, |body| secrets::without(body, known))
    }
}

impl Scene<'_> {
    async fn respond(&self) -> Result<Response<Vec<u8>>, Failure> {
        let path = self.asked.path.trim_start_matches('/');
        let (first, rest) = path.split_once('/').unwrap_or((path, ""));
        if self.asked.is_post()
            && !matches!(path, "doctor" | "doctor.json" | "try" | "explain" | "record" | "record.json")
        {
            return Err(Failure::new(Reason::ConsoleMethod, "POST"));
        }
        match (first, rest) {
            ("", "") => Ok(overview::page(self)),
            ("bundle", "") => Ok(bundle::page(self)),
            ("bundle.json", "") => Ok(bundle::download(self)),
            ("explain", "") => explain::page(self).await,
            ("explain", file) => recorded::explained(file),
            ("record", "") if self.asked.is_post() => recorded::turned(self),
            ("record.json", "") => Ok(recorded::switch(self)),
            ("try", "") => trial::page(self).await,
            ("doctor", "") => doctor::page(self),
            ("doctor.json", "") => doctor::for_programs(self).await,
            ("providers", "") => Ok(providers::page(self)),
            ("routes", "") => Ok(routes::page(self)),
            ("settings", "") => Ok(settings::page(self)),
            ("refusals", reference) => refusals::page(self, reference),
            ("refusals.json", "") => Ok(answer::json(StatusCode::OK, &crate::telemetry::refusals().as_json())),
            _ => Err(Failure::new(Reason::ConsolePage, crate::words::in_words(&self.asked.path))),
        }
    }

    fn readiness(&self) -> serde_json::Value {
        health::readiness(self.in_force, *self.admin.stopping.borrow())
    }

    /// What is around the page `here`.
    fn shell(&self, here: &'static str) -> Shell {
        Shell {
            dress: self.admin.dress(&self.in_force.config),
            root: self.asked.root.clone(),
            here,
            ready: self.readiness()["ready"] == true,
            restore: self.in_force.restore.clone(),
            refresh: None,
            time: words::stamp(self.now),
        }
    }

    fn hour(&self) -> samples::Hour {
        self.in_force.issuers.tell_metrics();
        self.admin.samples.hour(self.now, metrics().totals())
    }
}

#[async_trait]
impl ServeHttp for Admin {
    async fn response(&self, session: &mut ServerSession) -> Response<Vec<u8>> {
        let near = guard::is_told_all(session);
        let health =
            health::respond(session.req_header().uri.path(), || self.in_force(), *self.stopping.borrow(), near);
        let mut response = match health {
            Some(response) => response,
            None => Box::pin(self.console(session)).await,
        };
        if session.req_header().method == http::Method::HEAD {
            response.body_mut().clear();
        }
        response
    }
}
