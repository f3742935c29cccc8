//! One renewal in flight for a session.
//!
//! A page's requests arrive together with the same old cookie. The first one starts the renewal, the others wait for
//! its result, and requests with the old cookie that come a little later get it too: a provider that rotates refresh
//! tokens takes each one only once, and may end everything at the second use.
//!
//! The renewal runs on a task of its own, so that a client that goes away does not lose the new tokens.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use tokio::sync::watch;

/// A session at one point of its life: its id, and how often it was renewed.
pub type Key = (String, u32);

/// Results stay this long for requests that still bring the old cookie.
const KEEP: Duration = Duration::from_secs(60);
/// Renewals remembered at most.
const MAX_ENTRIES: usize = 100_000;

/// Renewals in flight and lately done. `T` is the outcome that all waiters share.
pub struct Renewals<T> {
    entries: Mutex<HashMap<Key, Entry<T>>>,
}

struct Entry<T> {
    outcome: watch::Receiver<Option<T>>,
    started: Instant,
}

impl<T: Clone + Send + Sync + 'static> Default for Renewals<T> {
    fn default() -> Self {
        Renewals { entries: Mutex::new(HashMap::new()) }
    }
}

impl<T: Clone + Send + Sync + 'static> Renewals<T> {
    /// The outcome of renewing `key`: of the renewal that runs or lately ran, else of `renew`, which is started.
    /// `None` where the renewal ended without an outcome (its task was stopped).
    pub async fn share<F>(&self, key: Key, renew: impl FnOnce() -> F) -> Option<T>
    where
        F: Future<Output = T> + Send + 'static,
    {
        let mut outcome = self.join_or_start(key, renew);
        let done = outcome.wait_for(Option::is_some).await;
        done.ok().and_then(|value| value.clone())
    }

    fn join_or_start<F>(&self, key: Key, renew: impl FnOnce() -> F) -> watch::Receiver<Option<T>>
    where
        F: Future<Output = T> + Send + 'static,
    {
        // A poisoned lock means a panic between two lines below; the map is whole in any case.
        let mut entries = self.entries.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(entry) = entries.get(&key).filter(|entry| entry.started.elapsed() < KEEP) {
            return entry.outcome.clone();
        }
        if entries.len() >= 64 {
            entries.retain(|_, entry| entry.started.elapsed() < KEEP);
        }
        let (sender, outcome) = watch::channel(None);
        let running = renew();
        tokio::spawn(async move {
            sender.send_replace(Some(running.await));
        });
        if entries.len() < MAX_ENTRIES {
            entries.insert(key, Entry { outcome: outcome.clone(), started: Instant::now() });
        }
        outcome
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn many_requests_share_one_renewal() {
        let renewals = Arc::new(Renewals::<u32>::default());
        let runs = Arc::new(AtomicUsize::new(0));
        let one = |renewed: u32| {
            let (renewals, runs) = (renewals.clone(), runs.clone());
            tokio::spawn(async move {
                let renew = || async move {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    runs.fetch_add(1, Ordering::SeqCst);
                    7
                };
                renewals.share(("id".into(), renewed), renew).await
            })
        };
        let waiting: Vec<_> = (0..50).map(|_| one(1)).collect();
        for result in waiting {
            assert_eq!(result.await.expect("task"), Some(7));
        }
        assert_eq!(one(1).await.expect("task"), Some(7), "a late request gets the same");
        assert_eq!(runs.load(Ordering::SeqCst), 1);
        assert_eq!(one(2).await.expect("task"), Some(7));
        assert_eq!(runs.load(Ordering::SeqCst), 2, "the renewed session is another key");
    }

    #[tokio::test]
    async fn a_renewal_outlives_the_request_that_started_it() {
        let renewals = Arc::new(Renewals::<u32>::default());
        let (go, gate) = tokio::sync::oneshot::channel::<()>();
        let waits = || async {
            let _ = gate.await;
            9
        };
        assert_eq!(renewals.share(("id".into(), 1), waits).now_or_never(), None);
        go.send(()).expect("it waits");
        assert_eq!(renewals.share(("id".into(), 1), || async { 0 }).await, Some(9));
    }
}
