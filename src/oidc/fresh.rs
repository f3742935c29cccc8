//! Keeping a provider's metadata and keys at hand, in the background.
//!
//! Promise: requests never wait for it, with one exception: a token signed with a key that is not known yet is worth
//! one fetch of the keys, shared by all who wait for it and not repeated within [`KEYS_AT_MOST_EVERY`]. What was
//! fetched once is kept while the provider is down, and replaced whole.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::watch;

use super::metadata::Metadata;
use super::provider::{Provider, Snapshot};
use crate::background::FIRST_RETRY;
use crate::http_client::{Address, HttpError};
use crate::issuer_metadata::{discovery_failed, keys_failed, openid_configuration};
use crate::jwt::KeySet;
use crate::reason::{Failure, Reason};
use crate::telemetry::metrics;

/// Between two fetches of the keys for the sake of unknown key ids.
const KEYS_AT_MOST_EVERY: Duration = Duration::from_secs(5);

/// When the keys were last fetched for the sake of a token.
#[derive(Debug, Default)]
pub(super) struct LastKeyFetch(Option<Instant>);

/// Who sent what is signed. Each has a fetch of the keys to use up, so that whoever may send what they like leaves one to
/// those who come from the provider.
#[derive(Clone, Copy, Debug)]
pub(super) enum Sender {
    /// The provider, or a browser that began a sign-in.
    Known,
    /// Anybody.
    Anybody,
}

impl Provider {
    /// Fetches metadata and keys until `shutdown` turns true or its sender is gone.
    pub(super) async fn keep_fresh(self: Arc<Self>, shutdown: watch::Receiver<bool>) {
        metrics().provider_ready.with_label_values(&[self.name()]).set(i64::from(self.snapshot().is_some()));
        self.turns.repeat(self.fresh_for(SystemTime::now()), shutdown, |retry| self.renew(retry)).await;
    }

    /// Takes over what `before`, the provider of that issuer in the configuration until now, was told by it, and no secret:
    /// what the own settings say of that holds from now on.
    pub(super) fn inherit(&self, before: &Provider) {
        let (Some(known), None) = (before.snapshot(), self.snapshot()) else { return };
        let published = || known.keys.published().map(|keys| self.and_secret(keys));
        let Some(keys) = self.secret_alone().or_else(published) else { return };
        if let Ok(snapshot) = self.snapshot_of(known.metadata.clone(), keys, known.fetched_at) {
            // A provider that could not be asked the last time is asked at once, too.
            let of_other_settings =
                known.of_other_settings || before.trouble.load().is_some() || self.settings != before.settings;
            let keys_at = known.keys_at;
            self.snapshot.store(Some(Arc::new(Snapshot { keys_at, of_other_settings, ..snapshot })));
        }
    }

    /// For how long nothing has to be fetched.
    pub(super) fn fresh_for(&self, now: SystemTime) -> Duration {
        let known = self.snapshot().filter(|known| !known.of_other_settings);
        let age = known.and_then(|known| now.duration_since(known.fetched_at).ok());
        age.map_or(Duration::ZERO, |age| self.refresh_every().saturating_sub(age))
    }

    fn refresh_every(&self) -> Duration {
        self.settings.refresh_every.0.max(FIRST_RETRY)
    }

    pub(super) async fn fetch_once(&self) {
        self.renew(FIRST_RETRY).await;
    }

    /// The time until the next one; `None` where it failed.
    async fn renew(&self, retry: Duration) -> Option<Duration> {
        match self.fetch().await {
            Ok(snapshot) => {
                self.arrived(snapshot);
                Some(self.refresh_every())
            }
            Err(failure) => {
                self.failed(failure, retry);
                None
            }
        }
    }

    /// Metadata, then keys; nothing is stored.
    pub(super) async fn fetch(&self) -> Result<Snapshot, Failure> {
        let discovery = async {
            let url = openid_configuration(&self.settings.issuer)?;
            let body = self.http.get_json(&url, None).await;
            let body = body.map_err(|error| discovery_failed(&error, url.as_str()))?;
            Metadata::parse(&body, &self.settings)
        };
        let metadata = self.counted("discovery", discovery.await)?;
        let keys = self.fetch_keys(&metadata).await?;
        self.snapshot_of(metadata, keys, SystemTime::now())
    }

    async fn fetch_keys(&self, metadata: &Metadata) -> Result<KeySet, Failure> {
        if let Some(secret) = self.secret_alone() {
            return Ok(secret);
        }
        let keys = async {
            let body = self.http.get_json(&metadata.jwks_uri, None).await;
            let failed = |error: HttpError| keys_failed(&error, &metadata.jwks_uri, Address::Member("jwks_uri"));
            KeySet::parse(&body.map_err(failed)?)
        };
        let keys = self.counted("keys", keys.await.map_err(|failure| self.explain_no_keys(failure, metadata)))?;
        Ok(self.and_secret(keys))
    }

    /// The client secret, where ID tokens may be signed with it.
    fn hmac(&self) -> Option<&[u8]> {
        let secret = self.settings.client_secret.as_ref().filter(|_| self.settings.takes_hmac());
        secret.map(|secret| secret.expose().as_bytes())
    }

    /// The same as all keys, where it alone signs: what else is published cannot matter then.
    fn secret_alone(&self) -> Option<KeySet> {
        let alone = self.settings.id_token_algorithms.iter().all(|one| one.is_hmac());
        self.hmac().filter(|_| alone).map(KeySet::secret)
    }

    /// What the provider published, and the client secret where that signs, too.
    fn and_secret(&self, published: KeySet) -> KeySet {
        match self.hmac() {
            Some(secret) => published.and_secret(secret),
            None => published,
        }
    }

    /// Where the provider signs with the client secret and nothing else, it is not its keys that are missing.
    fn explain_no_keys(&self, failure: Failure, metadata: &Metadata) -> Failure {
        let Some(hmac) = metadata.secret_signs() else { return failure };
        let detail =
            format!("{}; the metadata say that ID tokens are signed with the secret ({hmac:?})", failure.detail);
        Failure::new(Reason::IdTokenAlgorithm, detail).remedied(self.settings.how_to_accept(hmac))
    }

    /// Verifies something signed with the keys at hand, and once more where that failed for what `of_keys` says may be the
    /// keys' fault, and the provider has newer ones. A wrong signature counts too: some providers change the key and keep
    /// its id, or have no ids.
    pub(super) async fn with_keys<T, E>(
        &self,
        known: &Snapshot,
        verify: impl Fn(&KeySet) -> Result<T, E>,
        of_keys: impl Fn(&E) -> bool,
        sender: Sender,
    ) -> Result<T, E> {
        let first = verify(&known.keys);
        if !first.as_ref().is_err_and(of_keys) {
            return first;
        }
        match self.newer_keys(known, sender).await {
            Some(newer) => verify(&newer.keys),
            None => first,
        }
    }

    /// Keys that are newer than those of `known`, if the provider has any: the way key rotation goes unnoticed
    /// (OpenID Connect Core §10.1.1).
    async fn newer_keys(&self, known: &Snapshot, sender: Sender) -> Option<Arc<Snapshot>> {
        // Held while fetching: whoever waits here finds the keys fetched.
        let mut last = self.key_fetch[sender as usize].lock().await;
        let current = self.snapshot()?;
        if current.keys != known.keys {
            return Some(current);
        }
        if last.0.is_some_and(|at| at.elapsed() < KEYS_AT_MOST_EVERY) {
            return None;
        }
        last.0 = Some(Instant::now());
        let fetched = self.fetch_keys(&current.metadata).await;
        // Also from its end: else each of those who wait here for a slow provider would ask it once more.
        last.0 = Some(Instant::now());
        match fetched {
            Ok(keys) if keys == known.keys => {
                let seen = Snapshot { keys_at: SystemTime::now(), ..Snapshot::clone(&current) };
                self.snapshot.store(Some(Arc::new(seen)));
                None
            }
            Ok(keys) => {
                let newer = Arc::new(Snapshot { keys, keys_at: SystemTime::now(), ..Snapshot::clone(&current) });
                self.snapshot.store(Some(Arc::clone(&newer)));
                tracing::info!(provider = self.name(), keys = newer.keys.summary(), "the provider has new keys");
                Some(newer)
            }
            Err(failure) => {
                tracing::warn!(provider = self.name(), %failure, "keys not fetched for a token with an unknown key");
                None
            }
        }
    }

    /// How long ago the keys at hand were fetched.
    pub(super) fn age_of_keys(&self, now: SystemTime) -> String {
        let at = self.snapshot().map(|snapshot| snapshot.keys_at);
        let age = at.and_then(|at| now.duration_since(at).ok()).unwrap_or_default();
        format!("{} s ago", age.as_secs())
    }

    fn arrived(&self, fetched: Snapshot) {
        let (before, fetched) = (self.snapshot(), Arc::new(fetched));
        // First, so that whoever reads of it finds it so.
        self.snapshot.store(Some(Arc::clone(&fetched)));
        let troubled = self.trouble.swap(None).is_some();
        let (name, keys) = (self.name(), fetched.keys.summary());
        metrics().provider_ready.with_label_values(&[name]).set(1);
        match &before {
            None => tracing::info!(provider = name, issuer = fetched.metadata.issuer, keys, "provider ready"),
            Some(old) if old.metadata != fetched.metadata => {
                tracing::info!(provider = name, keys, "the provider's metadata has changed");
            }
            Some(old) if old.keys != fetched.keys => tracing::info!(provider = name, keys, "the provider has new keys"),
            Some(_) if troubled => tracing::info!(provider = name, "the provider answers again"),
            Some(_) => {}
        }
        if before.is_none_or(|old| old.metadata != fetched.metadata) {
            for shortcoming in fetched.metadata.shortcomings(fetched.client_auth, &self.settings) {
                tracing::warn!(provider = name, failure = %shortcoming, "sign-in may not work");
            }
        }
    }

    /// Old metadata and keys stay. The same trouble is told once, not at each retry.
    fn failed(&self, failure: Failure, retry: Duration) {
        let ready = self.snapshot().is_some();
        metrics().provider_ready.with_label_values(&[self.name()]).set(i64::from(ready));
        let failure = Arc::new(failure);
        let told = self.trouble.swap(Some(Arc::clone(&failure)));
        if told.is_none_or(|told| told != failure) {
            let remedy = failure.remedy();
            tracing::warn!(provider = self.name(), %failure, remedy, ready, retry = ?retry, "the provider cannot be asked");
        }
    }

    /// Counts the outcome of one request to the provider.
    pub(super) fn counted<T>(&self, step: &str, outcome: Result<T, Failure>) -> Result<T, Failure> {
        let label = outcome.as_ref().map_or_else(|failure| failure.reason.code(), |_| "ok");
        metrics().provider_fetches.with_label_values(&[self.name(), step, label]).inc();
        outcome
    }
}
