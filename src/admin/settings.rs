//! The settings in force, each with its source; secrets are masks.

use askama::Template;
use http::Response;

use super::Scene;
use super::shell::Shell;
use super::words::{ago, stamp};
use crate::config::table::{self, Row};

#[derive(Template)]
#[template(path = "settings.html", config = "src/admin/askama.toml")]
struct Settings<'a> {
    shell: Shell,
    file: String,
    since: String,
    warnings: &'a [String],
    follows: Vec<String>,
    set: Vec<Row>,
    defaults: Vec<Row>,
}

pub(super) fn page(scene: &Scene<'_>) -> Response<Vec<u8>> {
    let config = &scene.in_force.config;
    let (set, defaults) = table::rows(config).into_iter().partition(|row| row.set);
    let file = config.file.as_ref().map_or_else(|| "the environment alone".into(), |file| file.display().to_string());
    let page = Settings {
        shell: scene.shell("settings"),
        file,
        since: format!("{} ({})", stamp(scene.in_force.since), ago(scene.in_force.since, scene.now)),
        warnings: &config.warnings,
        follows: table::follows(&config.settings),
        set,
        defaults,
    };
    page.shell.page(&page)
}
