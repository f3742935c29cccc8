//! Any text as a configuration: never a panic, and every error says something.
#![no_main]

use std::io::{Seek, Write};
use std::sync::{LazyLock, Mutex};

use doorward::config::Config;
use libfuzzer_sys::fuzz_target;
use tempfile::NamedTempFile;

static FILE: LazyLock<Mutex<NamedTempFile>> = LazyLock::new(|| Mutex::new(NamedTempFile::new().expect("a file")));

fuzz_target!(|text: &str| {
    // Paths in the text would be looked at.
    if text.contains("_file") || text.len() > 4096 {
        return;
    }
    let mut file = FILE.lock().expect("one thread");
    file.as_file_mut().set_len(0).expect("empty");
    file.rewind().expect("at the start");
    file.write_all(text.as_bytes()).expect("written");
    match Config::load(Some(file.path()), &[]) {
        Ok(config) => drop(doorward::config::table::table(&config)),
        Err(errors) => assert!(!errors.to_string().is_empty()),
    }
});
