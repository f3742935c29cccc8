//! How it stands with an issuer's keys, for operators.

use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{From, KeySource};
use crate::background::Next;
use crate::jwt::ListedKey;
use crate::reason::Failure;
use crate::words::plain_address as plain;

/// What is known of an issuer.
#[derive(Clone, Debug)]
pub struct Standing {
    /// Where its keys come from.
    pub from: String,
    /// As its own metadata spells it.
    pub spelling: Option<String>,
    pub keys: Vec<ListedKey>,
    /// When they were fetched last; `None` where they never are, or not yet.
    pub fetched_at: Option<SystemTime>,
    /// When they are fetched again, at the latest, or tried to be; `None` where they never are.
    pub next: Option<Next>,
    /// Until when they are used if nothing newer can be had.
    pub usable_until: Option<SystemTime>,
    /// Why the last fetch failed; none where it did not.
    pub trouble: Option<Failure>,
}

impl KeySource {
    pub fn standing(&self) -> Standing {
        let metadata = self.metadata();
        let from = match &self.from {
            From::Fixed => "the configuration".to_owned(),
            From::File(_) => "a file, looked at every 2 s".to_owned(),
            From::Address { url, .. } => plain(url),
            From::Discovery { .. } => match metadata.as_ref().map(|metadata| metadata.jwks_uri.as_ref()) {
                None => "its metadata, which is not known yet".to_owned(),
                Some(None) => "nowhere: it publishes none".to_owned(),
                Some(Some(url)) => plain(url),
            },
        };
        let at = |seconds: u64| (1..u64::MAX).contains(&seconds).then(|| UNIX_EPOCH + Duration::from_secs(seconds));
        let fetched_at = at(self.fetched_at.load(Ordering::Relaxed));
        let fetches = matches!(self.from, From::Address { .. } | From::Discovery { .. });
        Standing {
            from,
            spelling: metadata.map(|metadata| metadata.issuer.clone()),
            keys: self.keys.load().set.listed(),
            fetched_at,
            next: self.turns.next().filter(|_| fetches),
            usable_until: at(self.usable_until.load(Ordering::Relaxed)).filter(|_| fetches),
            trouble: self.trouble.load_full().map(|trouble| Failure::clone(&trouble)),
        }
    }
}
