//! `doorward doctor`: what is wrong with a deployment, and what to change.
//!
//! The report goes to standard output and nothing else does. Exit codes: 0 where at most hints were found, 3 for
//! warnings, 4 where something is broken, 78 where the configuration cannot be loaded.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};

use super::{EXIT_CONFIG, environment, fail, print};
use crate::config::Config;
use crate::config::values::AppUrl;
use crate::doctor::{Part, Report, Scope, app_address, examine, unloaded};

#[derive(Debug, Args)]
pub(super) struct Command {
    /// Configuration file; chosen as by `run` where it is not given
    file: Option<PathBuf>,
    /// The same, as other commands have it
    #[arg(long, value_name = "FILE", conflicts_with = "file")]
    config: Option<PathBuf>,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
    /// Examine these parts alone, separated by commas
    #[arg(long, value_name = "PARTS", value_delimiter = ',', value_parser = parts())]
    only: Vec<Part>,
    /// Address of an app at which nobody but the gateway should be answered; may be given several times
    #[arg(long, value_name = "URL", value_parser = app_address)]
    app_address: Vec<AppUrl>,
    /// Ask each app once with identity headers of the made-up `doorward-doctor`, to see whether it believes whoever reaches
    /// it; an app that makes accounts by itself may make one of that name
    #[arg(long)]
    try_identity_headers: bool,
    /// Somebody who should be found in the directory; no password is asked for, and nothing of the entry is printed
    #[arg(long, value_name = "NAME")]
    sample_user: Option<String>,
}

fn parts() -> impl TypedValueParser<Value = Part> {
    let names = PossibleValuesParser::new(Part::ALL.map(Part::name));
    names.try_map(|name| Part::ALL.into_iter().find(|part| part.name() == name).ok_or("no part of an examination"))
}

pub(super) fn main(command: Command) -> ExitCode {
    let config = match Config::load(command.file.or(command.config).as_deref(), &environment()) {
        Ok(config) => Arc::new(config),
        Err(errors) => {
            tell(&unloaded(&errors), command.json);
            return ExitCode::from(EXIT_CONFIG);
        }
    };
    let mut scope = Scope {
        closed: command.app_address,
        identity_headers: command.try_identity_headers,
        sample_user: command.sample_user,
        ..Scope::default()
    };
    if !command.only.is_empty() {
        scope.parts = command.only;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    match runtime {
        Ok(runtime) => {
            let report = runtime.block_on(examine(&config, &scope));
            // A name that is still being looked up is waited for by nobody.
            runtime.shutdown_background();
            tell(&report, command.json);
            report.exit_code()
        }
        Err(error) => fail(1, &error.to_string()),
    }
}

fn tell(report: &Report, json: bool) {
    let text = if json { format!("{:#}\n", report.as_json()) } else { report.as_text() };
    let _ = print(&text);
}
