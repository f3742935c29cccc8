//! The debug bundle: everything somebody needs who helps from afar, in one JSON file.
//!
//! Promise: no secret, token, code or cookie is in it. It has names, addresses and paths of people who were refused.

use askama::Template;
use http::{HeaderValue, Response, StatusCode, header};
use serde_json::{Value, json};

use super::shell::Shell;
use super::words::stamp;
use super::{Scene, answer};
use crate::clock::unix_seconds;
use crate::config::table;
use crate::telemetry::{metrics, refusals, rfc3339};

#[derive(Template)]
#[template(path = "bundle.html", config = "src/admin/askama.toml")]
struct BundlePage {
    shell: Shell,
    settings: usize,
    refused: usize,
    examined: Option<String>,
}

pub(super) fn page(scene: &Scene<'_>) -> Response<Vec<u8>> {
    let page = BundlePage {
        shell: scene.shell("bundle"),
        settings: table::rows(&scene.in_force.config).len(),
        refused: refusals().groups().iter().map(|group| group.last.len()).sum(),
        examined: scene.admin.doctor.last().map(|last| stamp(last.at)),
    };
    page.shell.page(&page)
}

pub(super) fn download(scene: &Scene<'_>) -> Response<Vec<u8>> {
    let mut response = answer::json(StatusCode::OK, &bundle(scene));
    let time: String = rfc3339(unix_seconds(scene.now)).chars().filter(|c| !matches!(c, '-' | ':')).collect();
    let named = HeaderValue::from_str(&format!("attachment; filename=\"doorward-debug-{time}.json\""));
    if let Ok(named) = named {
        response.headers_mut().insert(header::CONTENT_DISPOSITION, named);
    }
    response
}

fn bundle(scene: &Scene<'_>) -> Value {
    let (in_force, config) = (scene.in_force, &scene.in_force.config);
    let at = |time| rfc3339(unix_seconds(time));
    in_force.issuers.tell_metrics();
    let rows = table::rows(config).into_iter();
    let settings: Vec<_> =
        rows.map(|row| json!({ "key": row.key, "value": row.value, "source": row.origin, "set": row.set })).collect();
    json!({
        "made_at": at(scene.now),
        "versions": {
            "doorward": env!("CARGO_PKG_VERSION"),
            "system": std::env::consts::OS,
            "architecture": std::env::consts::ARCH,
            "kernel": line_of("/proc/sys/kernel/osrelease"),
            "distribution": distribution(),
        },
        "running_since": at(scene.admin.started),
        "readiness": scene.readiness(),
        "configuration": {
            "file": config.file,
            "state": in_force.report.as_json(),
            "restore_mode": in_force.restore,
            "settings": settings,
            "follows": table::follows(&config.settings),
            "warnings": config.warnings,
        },
        "limits": limits(),
        "doctor": scene.admin.doctor.as_json(),
        "refusals": refusals().as_json(),
        "metrics": String::from_utf8_lossy(&metrics().render()).lines().collect::<Vec<_>>(),
    })
}

/// What the system lets the process have.
fn limits() -> Value {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let of = |text: &str, name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        Some(line.trim_start_matches(':').split_whitespace().collect::<Vec<_>>().join(" "))
    };
    json!({
        "open_files": of(&limits, "Max open files"),
        "open_files_now": std::fs::read_dir("/proc/self/fd").map(Iterator::count).ok(),
        "processors": std::thread::available_parallelism().map(usize::from).ok(),
        "resident_memory": of(&status, "VmRSS"),
        "threads": of(&status, "Threads"),
        "memory_limit": line_of("/sys/fs/cgroup/memory.max"),
        "processor_limit": line_of("/sys/fs/cgroup/cpu.max"),
    })
}

fn line_of(path: &str) -> Option<String> {
    std::fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

fn distribution() -> Option<String> {
    let text = std::fs::read_to_string("/etc/os-release").ok()?;
    let name = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="))?;
    Some(name.trim_matches('"').to_owned())
}
