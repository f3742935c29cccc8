//! The listener for operators: metrics and health for programs, and the console for whoever runs the gateway.
//!
//! Each page is a room. All of them only read, but for two that somebody presses a button for: the doctor's examination
//! and the trial of settings, which store nothing.
//!
//! Promise: nothing of it is on the public listener, unless a route leads there; no page, download or answer holds a
//! secret, a token or a cookie; what came from outside is escaped, and the Content-Security-Policy lets nothing run.

mod answer;
mod guard;
mod health;
mod overview;
mod plot;
mod refusals;
mod routes;
mod samples;
mod settings;
mod shell;
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
use crate::jwt::Issuers;
use crate::oidc::Providers;
use crate::reason::{Failure, Reason};
use crate::reload;
use crate::telemetry::metrics;
use guard::Asked;
use samples::Samples;
use shell::{Dress, Shell};

/// The configuration in force, and what runs by it.
pub struct InForce {
    pub config: Arc<Config>,
    /// Since when.
    pub since: SystemTime,
    /// Where it came from, and what became of later ones.
    pub configuration: Arc<reload::Report>,
    pub providers: Arc<Providers>,
    pub directory: Option<Arc<Directory>>,
    pub issuers: Arc<Issuers>,
    /// Names of the apps, and how many addresses each has.
    pub upstreams: Vec<(String, usize)>,
    /// What opened the way in, where nobody signs in but by that.
    pub restore: Option<String>,
}

/// The handler of the admin listener.
pub struct Admin {
    in_force: Box<dyn Fn() -> InForce + Send + Sync>,
    started: SystemTime,
    samples: Arc<Samples>,
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
    /// `in_force` tells at each request what holds at that moment. Begins to note figures.
    pub fn new(in_force: impl Fn() -> InForce + Send + Sync + 'static, stopping: watch::Receiver<bool>) -> Self {
        let samples = Arc::new(Samples::default());
        let (noting, until) = (Arc::clone(&samples), stopping.clone());
        tokio::spawn(async move { noting.keep(until).await });
        let started = SystemTime::now();
        Admin { in_force: Box::new(in_force), started, samples, dress: ArcSwapOption::empty(), stopping }
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
        let (in_force, mut asked) = ((self.in_force)(), Asked::of(session));
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
        answered.unwrap_or_else(|failure| shell::refuse(scene.shell("?"), asked.by_person, &failure))
    }
}

impl Scene<'_> {
    async fn respond(&self) -> Result<Response<Vec<u8>>, Failure> {
        let path = self.asked.path.trim_start_matches('/');
        let (first, rest) = path.split_once('/').unwrap_or((path, ""));
        if self.asked.is_post() && !matches!(path, "doctor" | "doctor.json" | "try" | "explain") {
            return Err(Failure::new(Reason::ConsoleMethod, "POST"));
        }
        match (first, rest) {
            ("", "") => Ok(overview::page(self)),
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
        self.admin.samples.hour(self.now, metrics().totals())
    }
}

#[async_trait]
impl ServeHttp for Admin {
    async fn response(&self, session: &mut ServerSession) -> Response<Vec<u8>> {
        let health = health::respond(session.req_header().uri.path(), || (self.in_force)(), *self.stopping.borrow());
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
