//! Assembling listeners, services and background tasks.

use std::process::ExitCode;
use std::sync::Arc;

use crate::config::Config;

/// Serves until the process is told to stop.
pub fn run(_config: Arc<Config>) -> ExitCode {
    eprintln!("doorward: serving is not built yet");
    ExitCode::FAILURE
}
