//! `/metrics`, `/healthz` and `/readyz`: for programs, whichever name and machine they ask by.

use std::time::SystemTime;

use http::{Response, StatusCode};
use serde_json::{Value, json};

use super::InForce;
use super::answer::answer;
use crate::config::OWN_ISSUER;
use crate::directory;
use crate::jwt::{Issuer, source};
use crate::oidc::Readiness;
use crate::reason::Failure;
use crate::telemetry::metrics;

/// The answer to `path`, where it is one of these.
pub(super) fn respond(path: &str, in_force: impl FnOnce() -> InForce, stopping: bool) -> Option<Response<Vec<u8>>> {
    Some(match path {
        "/metrics" => {
            in_force().issuers.tell_metrics();
            answer(StatusCode::OK, "text/plain; version=0.0.4", metrics().render())
        }
        "/healthz" => answer(StatusCode::OK, "text/plain", b"ok\n".to_vec()),
        "/readyz" => {
            let body = readiness(&in_force(), stopping);
            let status = if body["ready"] == true { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
            answer(status, "application/json", format!("{body:#}\n").into_bytes())
        }
        _ => return None,
    })
}

/// Ready is who can sign people in and judge tokens: each provider's metadata and keys and each issuer's keys are at
/// hand. Public routes, open sessions and other issuers' tokens are served all the same.
pub(super) fn readiness(in_force: &InForce, stopping: bool) -> Value {
    let mut ready = !stopping;
    let federation = in_force.config.settings.federation.as_ref();
    let providers: Vec<_> = in_force
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
    let directories: Vec<_> = in_force
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
    let exchanges_any = federation.is_some_and(|federation| federation.skip_audience_validation);
    let issuers: Vec<_> = in_force
        .issuers
        .iter()
        .map(|issuer| {
            let mut said = of_issuer(issuer);
            if exchanges_any && issuer.name == OWN_ISSUER {
                said["warning"] =
                    json!("skip_audience_validation: assertions that were made for any other service can be exchanged");
            }
            ready &= said["ready"] == true;
            said
        })
        .collect();
    let mut body = json!({ "ready": ready, "stopping": stopping, "providers": providers, "issuers": issuers });
    if !directories.is_empty() {
        body["directories"] = json!(directories);
    }
    body["configuration"] = in_force.report.as_json();
    if in_force.restore.is_some() {
        body["warning"] = json!("restore mode: only the password of the log signs in");
    }
    body
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
        "remedy": failure.remedy(),
    })
}
