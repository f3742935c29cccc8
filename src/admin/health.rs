//! `/metrics`, `/healthz` and `/readyz`: for programs, whichever name and machine they ask by.

use std::sync::Arc;
use std::time::SystemTime;

use http::{Response, StatusCode};
use serde_json::{Value, json};

use super::InForce;
use super::answer::answer;
use crate::config::OWN_ISSUER;
use crate::directory::{self, Directory};
use crate::jwt::{Issuer, source};
use crate::oidc::{Provider, Readiness};
use crate::reason::{Failure, Reason};
use crate::telemetry::metrics;

/// The answer to `path`, where it is one of these. `near`: whether the gateway's own host asks, or an admin by a route to
/// the console, who are told what files and keys the configuration is of.
pub(super) fn respond(
    path: &str,
    in_force: impl FnOnce() -> InForce,
    stopping: bool,
    near: bool,
) -> Option<Response<Vec<u8>>> {
    Some(match path {
        "/metrics" => {
            in_force().issuers.tell_metrics();
            answer(StatusCode::OK, "text/plain; version=0.0.4", metrics().render())
        }
        "/healthz" => answer(StatusCode::OK, "text/plain", b"ok\n".to_vec()),
        "/readyz" => {
            let in_force = in_force();
            let mut body = readiness(&in_force, stopping);
            if !near {
                body["configuration"] = in_force.report.in_short();
            }
            let status = if body["ready"] == true { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
            answer(status, "application/json", format!("{body:#}\n").into_bytes())
        }
        _ => return None,
    })
}

/// Ready is who can sign people in and judge tokens: each provider's metadata and keys and each issuer's keys are at
/// hand. Public routes, open sessions and other issuers' tokens are served all the same.
pub(super) fn readiness(in_force: &InForce, stopping: bool) -> Value {
    let federation = in_force.config.settings.federation.as_ref();
    let exchanges_any = federation.is_some_and(|federation| federation.skip_audience_validation);
    let providers: Vec<_> = in_force.providers.iter().map(of_provider).collect();
    let issuers: Vec<_> = in_force.issuers.iter().map(|issuer| of_issuer(issuer, exchanges_any)).collect();
    let directories: Vec<_> = in_force.directory.iter().map(|directory| of_directory(directory)).collect();
    // A directory that is only tested keeps nobody out.
    let needed = directories.iter().filter(|said| said["login"] == true).chain(&providers).chain(&issuers);
    let ready = !stopping && needed.into_iter().all(|said| said["ready"] == true);
    let mut body = json!({ "ready": ready, "stopping": stopping, "providers": providers, "issuers": issuers });
    if !directories.is_empty() {
        body["directories"] = json!(directories);
    }
    body["configuration"] = in_force.report.as_json();
    if in_force.restore.is_some() {
        body["warning"] = json!("restore mode: only the password of the log signs in");
        body["reason"] = json!(Reason::RestoreOnly.code());
    }
    body
}

/// What there is to say about a provider.
fn of_provider(provider: &Arc<Provider>) -> Value {
    match provider.readiness() {
        Readiness::Ready { fetched_at } => {
            json!({ "name": provider.name(), "ready": true, "fetched_at": httpdate::fmt_http_date(fetched_at) })
        }
        Readiness::NotReady(failure) => not_ready(provider.name(), &failure),
    }
}

/// What there is to say about a directory.
fn of_directory(directory: &Directory) -> Value {
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
    said["login"] = json!(directory.takes_sign_ins());
    said
}

/// What there is to say about an issuer of tokens. `exchanges_any`: whether the gateway's own are given for assertions that
/// are meant for anybody.
fn of_issuer(issuer: &Issuer, exchanges_any: bool) -> Value {
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
    if exchanges_any && issuer.name == OWN_ISSUER {
        said["warning"] =
            json!("skip_audience_validation: assertions that were made for any other service can be exchanged");
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
