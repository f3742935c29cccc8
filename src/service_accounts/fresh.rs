//! Reading the keys file again when it changes.
//!
//! It is looked at rather than watched: what Kubernetes mounts are links that are turned, and what lies on the network
//! tells nobody. Requests see the old keys or the new ones, never both.

use std::fs::Metadata;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::file::KeysFile;
use super::{Moment, ServiceAccounts, Table};
use crate::reason::Failure;
use crate::telemetry::metrics;

const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What a file looks like from outside; another one where it was changed or replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Print {
    Missing,
    Unreadable(ErrorKind),
    There { modified: (i64, i64), changed: (i64, i64), size: u64, inode: u64, device: u64 },
}

impl Print {
    pub fn of(looked: io::Result<Metadata>) -> Print {
        match looked {
            Ok(is) => Print::There {
                modified: (is.mtime(), is.mtime_nsec()),
                changed: (is.ctime(), is.ctime_nsec()),
                size: is.size(),
                inode: is.ino(),
                device: is.dev(),
            },
            Err(error) if error.kind() == ErrorKind::NotFound => Print::Missing,
            Err(error) => Print::Unreadable(error.kind()),
        }
    }
}

impl ServiceAccounts {
    /// Looks at the keys file each second, and reads it when it has changed, until `shutdown` turns true or its sender
    /// is gone. A broken file is told once, and the keys stay as they were.
    pub async fn keep_fresh(self: Arc<Self>, mut shutdown: watch::Receiver<bool>) {
        let mut seen = self.first_seen;
        loop {
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                _ = shutdown.wait_for(|stop| *stop) => return,
            }
            // Before it is read: a change meanwhile shows at the next look.
            let print = Print::of(tokio::fs::metadata(&self.file).await);
            if print == seen {
                continue;
            }
            seen = print;
            let accounts = self.clone();
            let read = tokio::task::spawn_blocking(move || accounts.read_again()).await;
            if let Ok(Err(failure)) = read {
                metrics().api_keys_file_good.set(0);
                let remedy = failure.remedy();
                tracing::error!(%failure, remedy, "the keys file cannot be used; the keys stay as they were");
            }
        }
    }

    /// Without the file no key is accepted, but what was revoked stays so: to take a file away may lock programs out, and
    /// must let nobody in.
    pub(super) fn read_again(&self) -> Result<(), Failure> {
        let file = KeysFile::find(&self.file)?;
        KeysFile::warn_of_writers(&self.file);
        let missing = file.is_none();
        let mut fresh = Table::new(file.unwrap_or_default(), &self.accounts, Moment::now().0);
        if missing {
            fresh.revoked.clone_from(&self.table.load().revoked);
            let file = self.file.display();
            tracing::warn!(%file, "the keys file is gone, and so are all keys; tokens that it revoked stay revoked");
        }
        tracing::info!(keys = fresh.keys.len(), revoked_tokens = fresh.revoked.len(), "keys file read");
        let old = self.table.swap(Arc::new(fresh));
        let fresh = self.table.load();
        // Keys that are no more are forgotten, or their series would grow with each rotation.
        let still = |id: &str| fresh.keys.values().any(|key| &*key.id == id);
        for key in old.keys.values().filter(|key| !still(&key.id)) {
            let _ = metrics().api_key_last_use.remove_label_values(&[&*key.account, &*key.id]);
        }
        metrics().api_keys_file_good.set(1);
        Ok(())
    }
}
