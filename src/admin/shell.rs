//! What every page of the console has around it: the operator's look, where one can go, and whether the gateway is ready.

use std::sync::Arc;

use askama::Template;
use http::{HeaderValue, Response, StatusCode};

use super::answer::{json, page};
use crate::config::Config;
use crate::config::model::Brand;
use crate::pages::{Look, policy};
use crate::reason::{Failure, Info, Reason};

/// The pages, in the order of the navigation.
const NAV: [(&str, &str); 9] = [
    ("", "Overview"),
    ("refusals", "Refusals"),
    ("explain", "Explain"),
    ("providers", "Providers"),
    ("routes", "Routes"),
    ("settings", "Settings"),
    ("try", "Try settings"),
    ("doctor", "Doctor"),
    ("bundle", "Debug bundle"),
];

/// How the pages look under one configuration.
pub(super) struct Dress {
    pub of: Arc<Config>,
    pub look: Look,
    pub policy: HeaderValue,
}

impl Dress {
    pub fn new(config: &Arc<Config>) -> Dress {
        let css = include_str!("templates/console.css");
        let plain = Brand::default();
        // A logo that has gone since the start must not take the console with it.
        let look = Look::dressed(&config.settings.brand, css).or_else(|_| Look::dressed(&plain, css));
        let look = look.unwrap_or_default();
        let policy = HeaderValue::from_str(&policy(&look.style));
        let policy = policy.unwrap_or_else(|_| HeaderValue::from_static("default-src 'none'"));
        Dress { of: Arc::clone(config), look, policy }
    }
}

/// What is around a page.
pub(super) struct Shell {
    pub dress: Arc<Dress>,
    /// What all links begin with.
    pub root: String,
    pub here: &'static str,
    pub ready: bool,
    pub restore: Option<String>,
    /// Seconds after which the page is asked for again.
    pub refresh: Option<u32>,
    pub time: String,
}

impl Shell {
    /// Path, name, and whether it is this page.
    pub fn nav(&self) -> [(&'static str, &'static str, bool); NAV.len()] {
        NAV.map(|(path, label)| (path, label, path == self.here))
    }

    pub fn version(&self) -> &'static str {
        env!("CARGO_PKG_VERSION")
    }

    /// `template`, which is a page in this shell.
    pub fn answer(&self, status: StatusCode, template: &impl Template) -> Response<Vec<u8>> {
        // Rendering into memory fails only where a value's `Display` does, and these are texts and numbers.
        page(status, template.render().unwrap_or_default(), &self.dress.policy)
    }

    pub fn page(&self, template: &impl Template) -> Response<Vec<u8>> {
        self.answer(StatusCode::OK, template)
    }
}

#[derive(Template)]
#[template(path = "failure.html", config = "src/admin/askama.toml")]
struct FailurePage<'a> {
    shell: Shell,
    info: &'static Info,
    detail: &'a str,
}

/// A refusal of the console itself, for whoever asks.
pub(super) fn refuse(shell: Shell, by_person: bool, failure: &Failure) -> Response<Vec<u8>> {
    let status = StatusCode::from_u16(failure.reason.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let info = failure.reason.info();
    // A name that is not ours and another site are told nothing but why.
    let told_in_full =
        !matches!(failure.reason, Reason::ConsoleHost | Reason::ConsoleElsewhere | Reason::ConsoleProxied);
    if by_person && told_in_full {
        let dress = Arc::clone(&shell.dress);
        let html = FailurePage { shell, info, detail: &failure.detail }.render().unwrap_or_default();
        return page(status, html, &dress.policy);
    }
    json(
        status,
        &serde_json::json!({
            "reason": info.code, "title": info.title, "detail": failure.detail, "cause": info.cause, "remedy": info.remedy,
        }),
    )
}
