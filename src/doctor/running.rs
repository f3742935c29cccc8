//! What the gateway that runs with this configuration says of itself: what it lacks, and what it refused of late.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::Value;

use super::wire::{self, Heard, Peer};
use super::{Finding, Report, Weight};
use crate::clock::unix_seconds;
use crate::config::Config;
use crate::directory::NOT_ASKED;
use crate::reason::{Reader, Reason};
use crate::telemetry::rfc3339;
use crate::words::counted;

const PLACE: &str = "running gateway";
const FIRST_TRY: &str = "Examine it again in a moment: where the try fails, this says at which step.";
const OF_NOBODY: &str = "Nothing where somebody only tried something out";
/// How long ago a refusal may be to be told.
const LATELY: Duration = Duration::from_secs(3600);

/// What an admin reads, and anybody can cause with a request of their own: by an address, by the words of a provider's answer, by
/// a token that nobody made. Where the provider does refuse the gateway, the examination of the provider finds it.
const OF_ANYBODY: [Reason; 18] = [
    Reason::NoRoute,
    Reason::PreflightNotAllowed,
    Reason::ProviderUnknown,
    Reason::ProviderMisconfigured,
    Reason::FlowRefused,
    Reason::RedirectUriRefused,
    Reason::ClientUnknown,
    Reason::ScopeRefused,
    Reason::ConsentNeeded,
    Reason::SilentSignIn,
    Reason::ResponseMode,
    Reason::AttemptKeyUnknown,
    Reason::LogoutRequest,
    Reason::LogoutToken,
    Reason::TooManyLogoutTokens,
    Reason::TokenNotTaken,
    Reason::KeyNotSeenYet,
    Reason::TooManyIntrospections,
];

/// What also those meet whose browser or proxy hides where a form was, though only an attacker should.
const OF_PAGES: [Reason; 2] = [Reason::CallbackParameter, Reason::PasswordFromElsewhere];

/// What is met day by day where nothing is wrong.
const DAILY: [Reason; 9] = [
    Reason::SignInNeeded,
    Reason::SessionMissing,
    Reason::SessionExpired,
    Reason::SessionIdle,
    Reason::SessionEnded,
    Reason::PasswordWrong,
    Reason::AttemptUsed,
    Reason::ClientGone,
    Reason::RequestTimedOut,
];

pub async fn check(config: &Arc<Config>, report: &mut Report) {
    let health = match asked(config, "/healthz").await {
        Ok(health) => health,
        Err(why) => return report.skipped(PLACE, "", why),
    };
    if health.status != 200 || !health.body.starts_with(b"ok") {
        let seen = format!("expected the gateway at {}, got {}", config.settings.admin.address, health.described());
        return report.found(Finding::new(Weight::Warning, Reason::GatewayAnswer, PLACE, seen));
    }
    report.good(PLACE, "", format!("answers at {}", config.settings.admin.address));
    let mut since = SystemTime::now() - LATELY;
    if let Some(said) = document(config, "/readyz", report).await {
        readiness(&said, report);
        // What an earlier configuration refused may be mended by this one.
        let loaded_at = said["configuration"]["loaded_at"].as_str().and_then(|at| httpdate::parse_http_date(at).ok());
        since = since.max(loaded_at.unwrap_or(since));
    }
    if let Some(said) = document(config, "/refusals.json", report).await {
        refusals(&said, since, report);
    }
}

/// What the gateway says at `path`.
async fn document(config: &Arc<Config>, path: &str, report: &mut Report) -> Option<Value> {
    match asked(config, path).await.map(|heard| serde_json::from_slice(&heard.body)) {
        Ok(Ok(said)) => return Some(said),
        Ok(Err(_)) => {
            let seen = format!("{path} is no JSON");
            report.found(Finding::new(Weight::Warning, Reason::GatewayAnswer, PLACE, seen));
        }
        Err(why) => report.skipped(PLACE, "", format!("{path}: {why}")),
    }
    None
}

/// Whether a gateway runs at the admin address.
pub async fn is_there(config: &Arc<Config>) -> bool {
    asked(config, "/healthz").await.is_ok_and(|health| health.status == 200)
}

async fn asked(config: &Arc<Config>, path: &str) -> Result<Heard, String> {
    let address = dialled(config.settings.admin.address);
    let peer = Peer::Tcp { host: address.ip().to_string(), port: address.port(), tls: None };
    let answer = wire::ask(&peer, &wire::get(path, &address.to_string(), &[])).await;
    answer.map_err(|failed| match failed.step {
        "TCP" => format!("no gateway runs at {address} (`admin.address`)"),
        step => format!("{address}: {step}: {}", failed.why),
    })
}

/// What listens on every address is asked on the loopback address.
fn dialled(admin: SocketAddr) -> SocketAddr {
    let ip = match admin.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, admin.port())
}

/// What `/readyz` says is not there.
fn readiness(said: &Value, report: &mut Report) {
    for (list, kind) in [("providers", "provider"), ("issuers", "issuer"), ("directories", "directory")] {
        for one in said[list].as_array().into_iter().flatten() {
            let place = format!("{PLACE}, {kind} {}", one["name"].as_str().unwrap_or_default());
            if one["ready"] == false
                && let Some(reason) = one["reason"].as_str().and_then(Reason::with_code)
            {
                let seen = one["detail"].as_str().unwrap_or_default();
                if is_first_try(reason, seen) {
                    let seen = "the first try since the start has not ended";
                    let finding = Finding::new(Weight::Hint, reason, place, seen);
                    report.found(finding.change(FIRST_TRY));
                    continue;
                }
                let finding = Finding::new(Weight::Broken, reason, place, seen);
                let change = one["remedy"].as_str().map(str::to_owned).unwrap_or_else(|| finding.change.clone());
                report.found(finding.change(change));
            } else if let Some(trouble) = one["trouble"].as_str() {
                report.found(Finding::new(Weight::Warning, reason_in(trouble), place, trouble));
            }
        }
    }
    if let Some(warning) = said["warning"].as_str() {
        let reason = said["reason"].as_str().and_then(Reason::with_code).unwrap_or(Reason::RestoreOnly);
        let finding = Finding::new(Weight::Warning, reason, PLACE, warning).at("restore mode");
        report.found(finding.change(
            "As soon as people can sign in again, take LOCAL_RESTORE out of the gateway's environment (or DOORWARD_RESTORE, \
             or `enabled` of [restore]) and restart it: until then everybody else is turned away.",
        ));
    }
    reload(&said["configuration"]["last_reload"], report);
}

/// Whether it was just started, and nothing is known to fail.
fn is_first_try(reason: Reason, detail: &str) -> bool {
    matches!(reason, Reason::ProviderNotReady | Reason::KeysNotReady) || detail == NOT_ASKED
}

/// A configuration that was not taken: the gateway goes on with what it had. Or of which a part waits.
fn reload(last: &Value, report: &mut Report) {
    for problem in last["problems"].as_array().into_iter().flatten() {
        let Some(reason) = problem["reason"].as_str().and_then(Reason::with_code) else { continue };
        let key =
            problem["key"].as_str().filter(|key| !key.is_empty()).map(|key| format!("{key}: ")).unwrap_or_default();
        let file = problem["file"].as_str().map(|file| match problem["line"].as_u64() {
            Some(line) => format!("{file}:{line}: "),
            None => format!("{file}: "),
        });
        let (place, detail) = (file.unwrap_or_default(), text(&problem["detail"]));
        let seen = format!("the gateway goes on with an earlier configuration: {place}{key}{detail}");
        let finding = Finding::new(Weight::Broken, reason, PLACE, seen).at("reload");
        report.found(match problem["remedy"].as_str() {
            Some(remedy) => finding.change(remedy),
            None => finding,
        });
    }
    let waiting: Vec<_> = last["wait_for_restart"].as_array().into_iter().flatten().map(text).collect();
    if !waiting.is_empty() {
        let seen = format!("these settings wait for a restart: {}", waiting.join(", "));
        let finding = Finding::new(Weight::Hint, Reason::SettingDoubtful, PLACE, seen).at("reload");
        report.found(finding.change("Restart the gateway when it suits."));
    }
}

/// The reason whose code a text begins with, as failures are written.
fn reason_in(text: &str) -> Reason {
    text.split(' ').next().and_then(Reason::with_code).unwrap_or(Reason::KeysFailed)
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// What `/refusals.json` says was refused from `since` on that an admin can mend.
fn refusals(said: &Value, since: SystemTime, report: &mut Report) {
    let since = rfc3339(unix_seconds(since));
    let mut told = BTreeSet::new();
    for group in said.as_array().into_iter().flatten() {
        let Some(reason) = group["code"].as_str().and_then(Reason::with_code) else { continue };
        let Some(weight) = weight_of(reason) else { continue };
        let last = &group["last"][0];
        let at = last["at"].as_str().unwrap_or_default();
        // Both are written in the same form, in UTC: they compare as texts.
        if at < since.as_str() || !told.insert(reason.code()) {
            continue;
        }
        let mut seen = format!(
            "{} since the start, last at {at} on {} (reference {})",
            counted(
                group["count"].as_u64().and_then(|count| count.try_into().ok()).unwrap_or_default(),
                "time",
                "times"
            ),
            text(&last["path"]),
            text(&last["reference"])
        );
        let detail = text(&last["detail"]);
        if !detail.is_empty() {
            seen.push_str(&format!(": {detail}"));
        }
        let finding = Finding::new(weight, reason, format!("{PLACE}, refusals"), seen);
        // What was known of that occasion says more than the reason.
        let remedy = last["remedy"].as_str().unwrap_or(&finding.change);
        let change = match (weight, reason.info().reader) {
            (Weight::Hint, Reader::Admin) => format!("{OF_NOBODY}; where people meet it: {remedy}"),
            (Weight::Hint, _) => format!("{OF_NOBODY}; whoever met it was told: {remedy}"),
            _ => remedy.to_owned(),
        };
        report.found(finding.change(change));
    }
}

/// A warning where an admin has something to do; a hint where somebody was kept out and may ask an admin why, and where a
/// stranger alone can have done it.
fn weight_of(reason: Reason) -> Option<Weight> {
    match reason.info().reader {
        Reader::Admin if OF_ANYBODY.contains(&reason) => Some(Weight::Hint),
        Reader::Admin => Some(Weight::Warning),
        Reader::Person if !DAILY.contains(&reason) => Some(Weight::Hint),
        Reader::Attacker if OF_PAGES.contains(&reason) => Some(Weight::Hint),
        Reader::Person | Reader::Attacker => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_an_admin_can_mend_is_told_and_daily_business_is_not() {
        let now = rfc3339(unix_seconds(SystemTime::now()));
        let group = |reason: Reason, at: &str| {
            let last = json!([{ "at": at, "path": "/x", "reference": "R1", "detail": "expected a, got b" }]);
            json!({ "code": reason.code(), "count": 7, "last": last })
        };
        let said = json!([
            group(Reason::SignInNeeded, &now),
            group(Reason::AttemptUnknown, &now),
            group(Reason::UpstreamUnreachable, "2020-01-01T00:00:00Z"),
            group(Reason::UpstreamTls, &now),
            group(Reason::TokenAudience, &now),
            { "code": "DW-0000" },
        ]);
        let mut report = Report::default();
        refusals(&said, SystemTime::now() - LATELY, &mut report);
        let found: Vec<_> = report.findings.iter().map(|finding| finding.reason).collect();
        assert_eq!(found, [Reason::AttemptUnknown, Reason::UpstreamTls, Reason::TokenAudience]);
        let weights: Vec<_> = report.findings.iter().map(|finding| finding.weight).collect();
        assert_eq!(weights, [Weight::Hint, Weight::Warning, Weight::Hint]);
        let seen = &report.findings[0].seen;
        assert!(seen.starts_with("7 times") && seen.contains("R1") && seen.ends_with("expected a, got b"), "{seen}");
    }

    #[test]
    fn a_gateway_that_lets_nobody_in_but_by_the_password_of_the_log_is_not_called_good() {
        let mut report = Report::default();
        let warning = "restore mode: only the password of the log signs in";
        readiness(&json!({ "ready": true, "providers": [], "warning": warning, "reason": "DW-3521" }), &mut report);
        let [finding] = report.findings.as_slice() else { panic!("{report:?}") };
        assert_eq!((finding.weight, finding.reason), (Weight::Warning, Reason::RestoreOnly));
        assert!(finding.seen == warning && finding.change.contains("LOCAL_RESTORE"), "{finding:?}");
    }

    #[test]
    fn what_a_stranger_alone_can_cause_is_no_more_than_a_hint_and_says_so() {
        let at = rfc3339(unix_seconds(SystemTime::now()));
        let met = |reason: Reason| {
            let last = json!([{ "at": at, "path": "/x", "reference": "R1", "remedy": "Do this." }]);
            let mut report = Report::default();
            let said = json!([{ "code": reason.code(), "count": 1, "last": last }]);
            refusals(&said, SystemTime::now() - LATELY, &mut report);
            report.findings
        };
        let people =
            [Reason::CallbackNotFromSignIn, Reason::AttemptUnknown, Reason::SessionKeyUnknown, Reason::SignInLoop];
        for reason in people.into_iter().chain(OF_ANYBODY) {
            let [finding] = met(reason).try_into().expect("one finding");
            assert_eq!(finding.weight, Weight::Hint, "{reason:?}");
            assert!(
                finding.change.starts_with("Nothing where") && finding.change.ends_with(": Do this."),
                "{finding:?}"
            );
        }
        let [finding] = met(Reason::ClientRefused).try_into().expect("one finding");
        assert_eq!((finding.weight, finding.change.as_str()), (Weight::Warning, "Do this."));
    }

    #[test]
    fn what_was_started_a_moment_ago_is_not_called_broken() {
        let starting = |code: &str, detail: &str| json!([{ "name": "main", "ready": false, "reason": code, "detail": detail, "remedy": "Wait a moment." }]);
        let said = json!({
            "providers": starting("DW-6001", "its metadata is being fetched"),
            "issuers": starting("DW-8201", ""),
            "directories": starting("DW-6201", NOT_ASKED),
        });
        let mut report = Report::default();
        readiness(&said, &mut report);
        let found: Vec<_> = report.findings.iter().map(|one| (one.weight, one.change.as_str())).collect();
        assert_eq!(found, [(Weight::Hint, FIRST_TRY); 3]);
        let mut later = Report::default();
        readiness(&json!({ "directories": starting("DW-6201", "expected x, got y") }), &mut later);
        assert_eq!(later.worst(), Some(Weight::Broken));
    }

    #[test]
    fn what_is_not_ready_keeps_its_reason() {
        let said = json!({
            "providers": [{ "name": "main", "ready": false, "reason": "DW-6102", "detail": "expected x, got y" }],
            "issuers": [{ "name": "ci", "ready": true, "trouble": "DW-6104 The keys: a" }, { "name": "b", "ready": true }],
            "configuration": { "last_reload": {
                "problems": [{ "reason": "DW-7002", "key": "route", "detail": "wrong", "remedy": "Correct it." }],
                "wait_for_restart": ["listen.address"],
            } },
        });
        let mut report = Report::default();
        readiness(&said, &mut report);
        let found: Vec<_> = report.findings.iter().map(|one| (one.reason.code(), one.weight)).collect();
        assert_eq!(
            found,
            [
                ("DW-6102", Weight::Broken),
                ("DW-6104", Weight::Warning),
                ("DW-7002", Weight::Broken),
                ("DW-9001", Weight::Hint),
            ]
        );
        assert_eq!(report.findings[2].change, "Correct it.");
    }
}
