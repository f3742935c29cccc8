//! A key set in a file, read again when it changes.

use std::fs;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::key_set::KeySet;
use crate::reason::{Failure, Reason};

/// Most bytes of it; as much as of a key set that is fetched.
const MAX_BYTES: u64 = 1024 * 1024;

/// The file, and how it looked when it was last read with success.
#[derive(Clone)]
pub(super) struct KeyFile {
    path: PathBuf,
    read: Arc<Mutex<Stamp>>,
}

/// Changes where the file does; also where another one was put in its place.
#[derive(Clone, Copy, PartialEq)]
struct Stamp {
    file: (u64, u64),
    modified: (i64, i64),
    length: u64,
}

impl KeyFile {
    /// Reads it. A file that cannot be used stops the start: it is the operator's own.
    pub fn open(path: &Path) -> Result<(KeyFile, KeySet), Failure> {
        let (stamp, keys) = read(path).map_err(|failure| Failure::new(Reason::ConfigInvalid, failure.detail))?;
        Ok((KeyFile { path: path.to_owned(), read: Arc::new(Mutex::new(stamp)) }, keys))
    }

    /// What it holds where it is another than last time; [`Reason::KeysFailed`] where it cannot be used.
    pub async fn changed(&self) -> Result<Option<KeySet>, Failure> {
        let file = self.clone();
        let looked = tokio::task::spawn_blocking(move || file.look()).await;
        looked.unwrap_or_else(|_| Err(failed(&self.path, "the gateway is stopping")))
    }

    fn look(&self) -> Result<Option<KeySet>, Failure> {
        let mut last = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let found = fs::metadata(&self.path).map_err(|error| failed(&self.path, error))?;
        if stamp(&found) == *last {
            return Ok(None);
        }
        let (stamp, keys) = read(&self.path)?;
        *last = stamp;
        Ok(Some(keys))
    }
}

/// The stamp is that of the file that was read, whatever lies under its name by now.
fn read(path: &Path) -> Result<(Stamp, KeySet), Failure> {
    let fault = |error| failed(path, error);
    // Waiting for whoever writes into a pipe would stop the start.
    if !fs::metadata(path).map_err(fault)?.is_file() {
        return Err(failed(path, "it is no regular file"));
    }
    let file = fs::File::open(path).map_err(fault)?;
    let found = stamp(&file.metadata().map_err(fault)?);
    let mut text = Vec::new();
    // What `/proc` makes up has no length either, and reading it may wait for somebody.
    if found.length > 0 {
        file.take(MAX_BYTES + 1).read_to_end(&mut text).map_err(fault)?;
    }
    if text.len() as u64 > MAX_BYTES {
        return Err(failed(path, format!("it is larger than {} kB", MAX_BYTES / 1024)));
    }
    let keys = KeySet::parse(&text).map_err(|failure| failed(path, failure.detail))?;
    Ok((found, keys))
}

fn stamp(file: &fs::Metadata) -> Stamp {
    Stamp { file: (file.dev(), file.ino()), modified: (file.mtime(), file.mtime_nsec()), length: file.len() }
}

fn failed(path: &Path, why: impl std::fmt::Display) -> Failure {
    Failure::new(Reason::KeysFailed, format!("{}: {why}", path.display()))
}
