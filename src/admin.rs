//! The listener for operators: `/metrics`, `/healthz`, `/readyz`. Nothing of it is reachable on the public one.

use std::sync::Arc;

use async_trait::async_trait;
use http::{Response, StatusCode, header};
use pingora_core::apps::http_app::ServeHttp;
use pingora_core::protocols::http::ServerSession;
use serde_json::json;

use crate::oidc::{Providers, Readiness};
use crate::telemetry::metrics;

/// The handler of the admin listener.
pub struct Admin {
    providers: Arc<Providers>,
    /// Becomes true when the gateway is asked to stop.
    stopping: tokio::sync::watch::Receiver<bool>,
}

impl Admin {
    pub fn new(providers: Arc<Providers>, stopping: tokio::sync::watch::Receiver<bool>) -> Self {
        Admin { providers, stopping }
    }

    /// Ready is who can sign people in: each provider's metadata and keys are at hand. Public routes and open sessions
    /// are served all the same.
    fn readiness(&self) -> Response<Vec<u8>> {
        let mut ready = !*self.stopping.borrow();
        let providers: Vec<_> = self
            .providers
            .iter()
            .map(|provider| match provider.readiness() {
                Readiness::Ready { fetched_at } => {
                    json!({ "name": provider.name(), "ready": true, "fetched_at": httpdate::fmt_http_date(fetched_at) })
                }
                Readiness::NotReady(failure) => {
                    ready = false;
                    let info = failure.reason.info();
                    json!({
                        "name": provider.name(), "ready": false, "reason": info.code, "title": info.title,
                        "detail": failure.detail, "remedy": info.remedy,
                    })
                }
            })
            .collect();
        let body = json!({ "ready": ready, "stopping": *self.stopping.borrow(), "providers": providers });
        let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        answer(status, "application/json", format!("{body:#}\n").into_bytes())
    }
}

#[async_trait]
impl ServeHttp for Admin {
    async fn response(&self, session: &mut ServerSession) -> Response<Vec<u8>> {
        match session.req_header().uri.path() {
            "/metrics" => answer(StatusCode::OK, "text/plain; version=0.0.4", metrics().render()),
            "/healthz" => answer(StatusCode::OK, "text/plain", b"ok\n".to_vec()),
            "/readyz" => self.readiness(),
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
