//! For programs: a request explained by its reference, and the switch that has every request recorded for a while.

use std::time::Duration;

use http::{Response, StatusCode};
use serde_json::json;

use super::{Scene, answer};
use crate::clock::unix_seconds;
use crate::explain::of_reference;
use crate::reason::{Failure, Reason};
use crate::telemetry::{recording, rfc3339};

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

/// `/record.json`: what was recorded; `minutes=10` by POST begins anew, `minutes=0` ends it.
pub(super) fn switch(scene: &Scene<'_>) -> Response<Vec<u8>> {
    if scene.asked.is_post() {
        match scene.asked.form("minutes").and_then(|minutes| minutes.parse::<u32>().ok()) {
            Some(0) => recording().stop(),
            Some(minutes) => recording().start(Duration::from_secs(u64::from(minutes) * 60), scene.now),
            None => {
                let wrong = json!({ "error": "`minutes` is no number of minutes" });
                return answer::json(StatusCode::UNPROCESSABLE_ENTITY, &wrong);
            }
        }
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
