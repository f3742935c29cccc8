//! The switch that has every request recorded for a while, as a button and for programs; and for programs a request
//! explained by its reference.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::{Response, StatusCode};
use serde_json::json;

use super::words::{ago, stamp};
use super::{Scene, answer};
use crate::clock::unix_seconds;
use crate::explain::of_reference;
use crate::reason::{Failure, Reason};
use crate::telemetry::{Recorded, recording, rfc3339};

/// `GET /explain/REFERENCE.json`.
pub(super) fn explained(file: &str) -> Result<Response<Vec<u8>>, Failure> {
    let nowhere = || Failure::new(Reason::ConsolePage, format!("explain/{}", crate::words::in_words(file)));
    let reference = file.strip_suffix(".json").ok_or_else(nowhere)?.to_ascii_lowercase();
    Ok(match of_reference(&reference) {
        Some(explained) => answer::json(StatusCode::OK, &explained.as_json()),
        None => {
            let none = json!({
                "error": "no request with this reference is kept",
                "cause": "It refused nothing and nothing was recorded then, it is of an earlier run, or others took its place.",
                "remedy": "Search the log for the reference; `/refusals.json` and `/record.json` list those that are kept.",
            });
            answer::json(StatusCode::NOT_FOUND, &none)
        }
    })
}

/// What the page shows of the switch.
pub(super) struct Switch {
    /// Until when it is on.
    pub until: Option<String>,
    /// Reference, how long ago, request, user and outcome; the newest first.
    pub kept: Vec<Passed>,
}

pub(super) struct Passed {
    pub reference: String,
    pub ago: String,
    pub request: String,
    pub user: String,
    pub outcome: &'static str,
}

impl Switch {
    pub fn of(now: SystemTime) -> Switch {
        let passed = |one: &Arc<Recorded>| Passed {
            reference: one.request.reference.to_string(),
            ago: ago(one.request.at, now),
            request: format!("{} {}{}", one.request.method, one.request.host, one.request.path),
            user: one.request.user.clone().unwrap_or_default(),
            outcome: one.outcome,
        };
        Switch { until: recording().until(now).map(stamp), kept: recording().all().iter().map(passed).collect() }
    }
}

/// `POST /record`: the button.
pub(super) fn turned(scene: &Scene<'_>) -> Result<Response<Vec<u8>>, Failure> {
    match turn(scene) {
        true => Ok(answer::see_other(&format!("{}explain#record", scene.asked.root))),
        false => Err(Failure::new(Reason::ConsoleForm, "`minutes` is no number of minutes")),
    }
}

/// Turns it as the form says; whether the form says it.
fn turn(scene: &Scene<'_>) -> bool {
    match scene.asked.form("minutes").and_then(|minutes| minutes.parse::<u32>().ok()) {
        Some(0) => recording().stop(),
        Some(minutes) => recording().start(Duration::from_secs(u64::from(minutes) * 60), scene.now),
        None => return false,
    }
    true
}

/// `/record.json`: what was recorded; `minutes=10` by POST begins anew, `minutes=0` ends it.
pub(super) fn switch(scene: &Scene<'_>) -> Response<Vec<u8>> {
    if scene.asked.is_post() && !turn(scene) {
        let wrong = json!({ "error": "`minutes` is no number of minutes" });
        return answer::json(StatusCode::UNPROCESSABLE_ENTITY, &wrong);
    }
    let until = recording().until(scene.now).map(|until| rfc3339(unix_seconds(until)));
    let kept: Vec<_> = recording()
        .all()
        .iter()
        .map(|one| {
            let request = &one.request;
            json!({
                "reference": request.reference.as_str(), "at": rfc3339(unix_seconds(request.at)), "outcome": one.outcome,
                "status": request.status, "method": request.method, "host": request.host, "path": request.path,
                "route": request.route, "user": request.user,
            })
        })
        .collect();
    answer::json(StatusCode::OK, &json!({ "until": until, "kept": kept }))
}
