//! The listener for operators: `/metrics`, `/healthz`, `/readyz`. Nothing of it is reachable on the public one.

use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use http::{Response, StatusCode, header};
use pingora_core::apps::http_app::ServeHttp;
use pingora_core::protocols::http::ServerSession;
use serde_json::{Value, json};

use crate::config::OWN_ISSUER;
use crate::directory;
use crate::gateway::Current;
use crate::jwt::{Issuer, source};
use crate::oidc::Readiness;
use crate::reason::Failure;
use crate::reload;
use crate::telemetry::{metrics, refusals};

/// The handler of the admin listener.
pub struct Admin {
    current: Arc<Current>,
    configuration: Arc<reload::State>,
    /// Becomes true when the gateway is asked to stop.
    stopping: tokio::sync::watch::Receiver<bool>,
}

impl Admin {
    pub fn new(
        current: Arc<Current>,
        configuration: Arc<reload::State>,
        stopping: tokio::sync::watch::Receiver<bool>,
    ) -> Self {
        Admin { current, configuration, stopping }
    }

    /// Ready is who can sign people in and judge tokens: each provider's metadata and keys and each issuer's keys are at
    /// hand. Public routes, open sessions and other issuers' tokens are served all the same.
    fn readiness(&self) -> Response<Vec<u8>> {
        let mut ready = !*self.stopping.borrow();
        let gateway = self.current.get();
        let context = gateway.context();
        let providers: Vec<_> = context
            .providers
            .iter()
            .map(|provider| match provider.readiness() {
                Readiness::Ready { fetched_at } => {
                    json!({ "name": provider.name(), "ready": true, "fetched_at": httpdate::fmt_http_date(fetched_at) })
                }
                Readiness::NotReady(failure) => {
                    ready = false;
                    not_ready(provider.name(), &failure)
                }
            })
            .collect();
        let directories: Vec<_> = context
            .directory
            .iter()
            .map(|directory| {
                let mut said = match directory.readiness() {
                    directory::Readiness::Ready { checked_at, found, trouble } => {
                        let mut said = json!({
                            "name": directory.name(), "ready": true, "found": found,
                            "checked_at": httpdate::fmt_http_date(checked_at),
                        });
                        if let Some(trouble) = trouble {
                            said["warning"] = json!(trouble);
                        }
                        said
                    }
                    directory::Readiness::NotReady(failure) => not_ready(directory.name(), &failure),
                };
                let login = directory.takes_sign_ins();
                said["login"] = json!(login);
                // One that is only tested keeps nobody out.
                ready &= said["ready"] == true || !login;
                said
            })
            .collect();
        // Whether assertions that are meant for anybody can be exchanged.
        let federation = context.config.settings.federation.as_ref();
        let exchanges_any = federation.is_some_and(|federation| federation.skip_audience_validation);
        let issuers: Vec<_> = context
            .programs
            .issuers
            .iter()
            .map(|issuer| {
                let mut said = of_issuer(issuer);
                if exchanges_any && issuer.name == OWN_ISSUER {
                    said["warning"] = json!(
                        "skip_audience_validation: assertions that were made for any other service can be exchanged"
                    );
                }
                ready &= said["ready"] == true;
                said
            })
            .collect();
        let stopping = *self.stopping.borrow();
        let mut body = json!({ "ready": ready, "stopping": stopping, "providers": providers, "issuers": issuers });
        if !directories.is_empty() {
            body["directories"] = json!(directories);
        }
        body["configuration"] = self.configuration.report().as_json();
        if context.way_in.is_some() {
            body["warning"] = json!("restore mode: only the password of the log signs in");
        }
        let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        answer(status, "application/json", format!("{body:#}\n").into_bytes())
    }
}

/// What there is to say about an issuer of tokens.
fn of_issuer(issuer: &Issuer) -> Value {
    let mut said = match issuer.source.readiness(SystemTime::now()) {
        source::Readiness::Ready { fetched_at, keys, trouble } => {
            // Keys that are configured were never fetched.
            let fetched = (fetched_at > SystemTime::UNIX_EPOCH).then(|| httpdate::fmt_http_date(fetched_at));
            let trouble = trouble.map(|failure| failure.to_string());
            json!({ "name": issuer.name, "ready": true, "keys": keys, "fetched_at": fetched, "trouble": trouble })
        }
        // One that only answers questions about its tokens needs no keys.
        source::Readiness::NotReady(failure) if issuer.answers_without_keys() => {
            json!({ "name": issuer.name, "ready": true, "keys": 0, "trouble": failure.to_string() })
        }
        source::Readiness::NotReady(failure) => not_ready(&issuer.name, &failure),
    };
    if let Some(trouble) = issuer.introspection_trouble() {
        said["introspection"] = json!(trouble.to_string());
    }
    if issuer.any_audience() {
        said["warning"] = json!("any_audience: tokens that it issued for any other service are accepted");
    }
    said
}

/// What there is to say about a provider or issuer that cannot be used.
fn not_ready(name: &str, failure: &Failure) -> Value {
    let info = failure.reason.info();
    json!({
        "name": name, "ready": false, "reason": info.code, "title": info.title, "detail": failure.detail,
        "remedy": info.remedy,
    })
}

#[async_trait]
impl ServeHttp for Admin {
    async fn response(&self, session: &mut ServerSession) -> Response<Vec<u8>> {
        match session.req_header().uri.path() {
            "/metrics" => {
                self.current.get().context().programs.issuers.tell_metrics();
                answer(StatusCode::OK, "text/plain; version=0.0.4", metrics().render())
            }
            "/healthz" => answer(StatusCode::OK, "text/plain", b"ok\n".to_vec()),
            "/readyz" => self.readiness(),
            "/refusals.json" => {
                answer(StatusCode::OK, "application/json", format!("{:#}\n", refusals().as_json()).into_bytes())
            }
            _ => answer(StatusCode::NOT_FOUND, "text/plain", b"There is /metrics, /healthz and /readyz.\n".to_vec()),
        }
    }
}

fn answer(status: StatusCode, kind: &'static str, body: Vec<u8>) -> Response<Vec<u8>> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let length = response.body().len().into();
    response.headers_mut().insert(header::CONTENT_TYPE, http::HeaderValue::from_static(kind));
    response.headers_mut().insert(header::CONTENT_LENGTH, length);
    response
}
