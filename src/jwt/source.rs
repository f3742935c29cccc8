//! Where the keys of one issuer come from, and how they stay fresh.
//!
//! Promise: no request waits for keys, with one exception: a token signed with a key that is not known yet is worth
//! one fetch, shared by all who wait for it and not repeated within [`FOR_TOKENS_AT_MOST_EVERY`]. Keys that were
//! fetched once are used while the issuer is down, up to `keys_max_age` and no longer; keys that could not be fetched
//! accept nothing.

mod standing;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex as StdMutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::{ArcSwap, ArcSwapOption, Guard};
use tokio::sync::{Mutex, watch};
use tokio::time::Instant;
use url::Url;

pub use standing::Standing;

use super::key_file::KeyFile;
use super::key_set::KeySet;
use super::metadata::{Metadata, Place};
use crate::background::{Awaited, FIRST_RETRY, Turns};
use crate::clock::unix_seconds;
use crate::config::model::Issuer;
use crate::http_client::{Address, HttpClient};
use crate::issuer_metadata::keys_failed;
use crate::reason::{Failure, Reason};
use crate::telemetry::metrics;

/// Between two fetches for the sake of tokens with unknown keys.
const FOR_TOKENS_AT_MOST_EVERY: Duration = Duration::from_secs(5);
/// However short an issuer says that its keys are fresh.
const REFRESH_AT_MOST_EVERY: Duration = Duration::from_secs(10);
/// Between two looks at a key file.
const LOOK_AT_FILE_EVERY: Duration = Duration::from_secs(2);

/// The keys of one moment.
#[derive(Debug)]
pub struct Keys {
    pub set: KeySet,
    /// Grows with each change of the set; never 0.
    pub generation: u64,
}

/// The keys of one issuer.
pub struct KeySource {
    name: String,
    from: From,
    times: Times,
    /// Whose certificates are trusted where keys are fetched.
    ca_file: Option<PathBuf>,
    keys: ArcSwap<Keys>,
    /// Those before them.
    withdrawn: ArcSwapOption<Keys>,
    /// That of `keys`; 0 before there are any.
    generation: AtomicU64,
    /// Seconds since 1970.
    fetched_at: AtomicU64,
    /// Seconds since 1970, by which they are to be fetched again; 0 where there is reason to do so at once.
    fresh_until: AtomicU64,
    /// How often keys were fetched, changed or not.
    arrivals: AtomicU64,
    /// Seconds since 1970; 0 before there are any keys.
    usable_until: AtomicU64,
    metadata: ArcSwapOption<Metadata>,
    /// Why the last fetch failed; none where it did not.
    trouble: ArcSwapOption<Failure>,
    /// Of fetching, but for tokens.
    turns: Turns,
    /// Whether the log knows that the keys are too old.
    too_old_told: AtomicBool,
    /// Held while fetching, so that an older answer never replaces a newer one.
    fetching: Mutex<LastFetch>,
    for_tokens: StdMutex<Option<Awaited<()>>>,
    made: Instant,
    /// Milliseconds after `made` before which no token is worth a fetch.
    for_tokens_not_before: AtomicU64,
}

/// What the settings allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Times {
    refresh_every: Duration,
    max_age: Duration,
    /// Longest wait of a request for a fetch.
    patience: Duration,
}

/// Where keys come from.
enum From {
    /// They are what they are.
    Fixed,
    File(KeyFile),
    Address {
        url: Url,
        http: Arc<HttpClient>,
    },
    Discovery {
        place: Place,
        http: Arc<HttpClient>,
    },
}

/// When the metadata was fetched; `None` where it is to be fetched again.
#[derive(Default)]
struct LastFetch {
    metadata: Option<Instant>,
}

/// What a fetch brought.
struct Fetched {
    /// `None` where they are known to be the same.
    keys: Option<KeySet>,
    /// Until the next.
    wait: Duration,
}

/// What a look for newer keys brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Looked {
    /// There are other keys now.
    Newer,
    /// They were fetched since, and are the same.
    Same,
    /// They were not fetched since: it is too soon, or the issuer did not answer. They are of that time, in seconds
    /// since 1970.
    Unknown { last_seen: u64 },
}

/// Whether an issuer's tokens can be judged.
#[derive(Clone, Debug, PartialEq)]
pub enum Readiness {
    /// With the keys of that time; `trouble` where newer ones could not be fetched since.
    Ready { fetched_at: SystemTime, keys: usize, trouble: Option<Failure> },
    /// The detail begins with the step that failed. For admins alone, unlike that of [`KeySource::current`].
    NotReady(Failure),
}

impl KeySource {
    /// Reads `ca_file` and `jwks_file`, and nothing from the network: [`KeySource::keep_fresh`] does. What `settings`
    /// leave to a `[[provider]]` has been filled in from it.
    pub fn new(settings: &Issuer) -> Result<KeySource, Failure> {
        if let Some(secret) = &settings.secret {
            let fixed = KeySource::of(settings, From::Fixed);
            fixed.store(KeySet::secret(secret.expose().as_bytes()), u64::MAX);
            return Ok(fixed);
        }
        if let Some(path) = &settings.jwks_file {
            let (file, keys) = KeyFile::open(path)?;
            let source = KeySource::of(settings, From::File(file));
            source.arrived(Some(keys), SystemTime::now());
            return Ok(source);
        }
        let http = Arc::new(HttpClient::new(settings.timeout(), settings.ca_file.as_deref(), None)?);
        let place = Place::new(settings);
        Ok(match &settings.jwks_uri {
            Some(url) => KeySource::of(settings, From::Address { url: place.dialled(url), http }),
            None => KeySource::of(settings, From::Discovery { place, http }),
        })
    }

    /// The gateway's own keys, which never change.
    pub fn fixed(set: KeySet) -> KeySource {
        let never = Times { refresh_every: Duration::ZERO, max_age: Duration::ZERO, patience: Duration::ZERO };
        let source = KeySource::made("doorward".to_owned(), From::Fixed, never, None);
        source.store(set, u64::MAX);
        source
    }

    fn of(settings: &Issuer, from: From) -> KeySource {
        let times = Times {
            refresh_every: settings.refresh_every.0.max(FIRST_RETRY),
            max_age: settings.keys_max_age.0,
            patience: settings.timeout(),
        };
        KeySource::made(settings.name.clone(), from, times, settings.ca_file.clone())
    }

    fn made(name: String, from: From, times: Times, ca_file: Option<PathBuf>) -> KeySource {
        KeySource {
            name,
            from,
            times,
            ca_file,
            keys: ArcSwap::from_pointee(Keys { set: KeySet::ed25519(&[]), generation: 0 }),
            too_old_told: AtomicBool::new(false),
            withdrawn: ArcSwapOption::empty(),
            generation: AtomicU64::new(0),
            fetched_at: AtomicU64::new(0),
            fresh_until: AtomicU64::new(0),
            arrivals: AtomicU64::new(0),
            usable_until: AtomicU64::new(0),
            metadata: ArcSwapOption::empty(),
            trouble: ArcSwapOption::empty(),
            turns: Turns::default(),
            fetching: Mutex::default(),
            for_tokens: StdMutex::default(),
            made: Instant::now(),
            for_tokens_not_before: AtomicU64::new(0),
        }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// The keys to judge a token by at `now` (seconds since 1970). Waits for nobody and, where there are some, allocates nothing.
    ///
    /// [`Reason::KeysNotReady`] where there are none yet, [`Reason::KeysTooOld`] where they are older than
    /// `keys_max_age`.
    pub fn current(&self, now: u64) -> Result<Guard<Arc<Keys>>, Failure> {
        // Written after the keys, so whoever sees the one sees the other.
        match self.usable_until.load(Ordering::Acquire) {
            0 => Err(self.not_fetched(Reason::KeysNotReady)),
            until if now < until => Ok(self.keys.load()),
            _ => Err(self.not_fetched(Reason::KeysTooOld)),
        }
    }

    /// Of the last fetch nothing but the step and the remedy: the detail is for whoever sent the token.
    pub fn not_fetched(&self, reason: Reason) -> Failure {
        let trouble = self.trouble.load();
        let Some(trouble) = trouble.as_ref() else { return reason.into() };
        let detail = trouble.step().map(|step| format!("fetching them fails, at the step '{step}'"));
        Failure::new(reason, detail.unwrap_or_default()).remedied_by(trouble.exact_remedy().map(str::to_owned))
    }

    /// Changes whenever the keys do; 0 where there are none yet. A cached token of another generation is not used.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Relaxed)
    }

    /// After a token whose key is not among those of generation `seen`: whether there are other keys now. At most one
    /// fetch in five seconds for that sake, however many tokens ask for it; it goes on when the client hangs up.
    pub async fn look_for_newer(self: &Arc<Self>, seen: u64) -> Looked {
        let before = self.arrivals.load(Ordering::Acquire);
        let mut own = false;
        if self.generation() == seen
            && seen != 0
            && let Some((fetch, begun_for_this)) = self.fetch_for_tokens()
        {
            own = begun_for_this;
            let _ = tokio::time::timeout(self.times.patience, fetch.result()).await;
        }
        if self.generation() != seen {
            return Looked::Newer;
        }
        let fixed = matches!(self.from, From::Fixed);
        match fixed || own && self.arrivals.load(Ordering::Acquire) != before {
            true => Looked::Same,
            false => Looked::Unknown { last_seen: self.fetched_at.load(Ordering::Relaxed) },
        }
    }

    /// Whether the key `kid` was among those before the present ones: then it was taken back, and is not to come.
    pub fn was_withdrawn(&self, kid: &str) -> bool {
        self.withdrawn.load().as_ref().is_some_and(|keys| keys.set.names(kid))
    }

    /// The fetch under way, or a new one (`true`), or none where it is too soon.
    fn fetch_for_tokens(self: &Arc<Self>) -> Option<(Awaited<()>, bool)> {
        let now = || u64::try_from(self.made.elapsed().as_millis()).unwrap_or(u64::MAX);
        // A flood of unknown keys gets no further than this.
        let too_soon = || now() < self.for_tokens_not_before.load(Ordering::Acquire);
        if matches!(self.from, From::Fixed) || too_soon() {
            return None;
        }
        let mut under_way = self.for_tokens.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(fetch) = under_way.as_ref().filter(|fetch| !fetch.is_over()) {
            return Some((fetch.clone(), false));
        }
        // It may have ended since.
        if too_soon() {
            return None;
        }
        let source = Arc::clone(self);
        let fetch = Awaited::start(async move {
            source.refresh(None).await;
            let pause = u64::try_from(FOR_TOKENS_AT_MOST_EVERY.as_millis()).unwrap_or(u64::MAX);
            let elapsed = u64::try_from(source.made.elapsed().as_millis()).unwrap_or(u64::MAX);
            source.for_tokens_not_before.store(elapsed.saturating_add(pause), Ordering::Release);
        });
        Some((under_way.insert(fetch).clone(), true))
    }

    /// Fetches and fetches again until `shutdown` turns true.
    pub async fn keep_fresh(self: Arc<Self>, shutdown: watch::Receiver<bool>) {
        if !matches!(self.from, From::Fixed) {
            let now = unix_seconds(SystemTime::now());
            let fresh_for = self.fresh_until.load(Ordering::Relaxed).saturating_sub(now);
            let first = Duration::from_secs(fresh_for).min(self.times.refresh_every);
            self.turns.repeat(first, shutdown, |retry| self.refresh(Some(retry))).await;
        }
    }

    /// Takes over what `before`, the source of the same issuer in the configuration until now, knows: where both ask
    /// at the same address, so that a reload refuses nobody. Before this one is shared.
    pub fn inherit(&self, before: &KeySource) {
        let same = match (&self.from, &before.from) {
            (From::Address { url, .. }, From::Address { url: before, .. }) => url == before,
            (From::Discovery { place, .. }, From::Discovery { place: before, .. }) => place == before,
            _ => false,
        };
        if !same || self.generation() != 0 || before.generation() == 0 {
            return;
        }
        let fetched_at = before.fetched_at.load(Ordering::Relaxed);
        self.metadata.store(before.metadata.load_full());
        self.fetched_at.store(fetched_at, Ordering::Relaxed);
        if self.times == before.times && self.ca_file == before.ca_file {
            self.fresh_until.store(before.fresh_until.load(Ordering::Relaxed), Ordering::Relaxed);
        }
        self.store(before.keys.load().set.clone(), fetched_at.saturating_add(self.times.max_age.as_secs()));
    }

    /// When keys were last fetched, in seconds since 1970; `None` before that, and where they never are.
    pub fn fetched_at(&self) -> Option<u64> {
        Some(self.fetched_at.load(Ordering::Relaxed)).filter(|at| *at != 0)
    }

    pub fn readiness(&self, now: SystemTime) -> Readiness {
        let trouble = self.trouble.load_full().map(|trouble| Failure::clone(&trouble));
        match self.current(unix_seconds(now)) {
            Ok(keys) => {
                let fetched_at = UNIX_EPOCH + Duration::from_secs(self.fetched_at.load(Ordering::Relaxed));
                Readiness::Ready { fetched_at, keys: keys.set.len(), trouble }
            }
            Err(failure) => Readiness::NotReady(trouble.unwrap_or(failure)),
        }
    }

    /// The issuer as its own metadata spells it, which can differ from the configured one by the slash after a bare
    /// host. Tokens are held to the configured text or to this one, to the letter. `None` until it is known.
    pub fn spelling(&self) -> Option<String> {
        self.metadata.load().as_ref().map(|metadata| metadata.issuer.clone())
    }

    /// From the metadata, where that was fetched and names one: as it is dialled.
    pub fn introspection_endpoint(&self) -> Option<Url> {
        self.metadata.load().as_ref().and_then(|metadata| metadata.introspection_endpoint.clone())
    }

    /// What the issuer is asked with; `None` where its keys are not fetched.
    pub(super) fn http(&self) -> Option<Arc<HttpClient>> {
        match &self.from {
            From::Address { http, .. } | From::Discovery { http, .. } => Some(Arc::clone(http)),
            From::Fixed | From::File(_) => None,
        }
    }

    pub(super) fn metadata(&self) -> Option<Arc<Metadata>> {
        self.metadata.load_full()
    }

    /// Fetches and keeps what came. The time until the next; `None` where it failed, which is tried again in `retry`.
    pub(super) async fn refresh(&self, retry: Option<Duration>) -> Option<Duration> {
        let mut last = self.fetching.lock().await;
        let now = SystemTime::now();
        let fetched = match &self.from {
            From::Fixed => return Some(self.times.refresh_every),
            From::File(file) => match file.changed().await {
                Ok(keys) => Ok(Fetched { keys, wait: LOOK_AT_FILE_EVERY }),
                Err(failure) => Err(failure),
            },
            From::Address { url, http } => self.fetch(http, url).await,
            From::Discovery { place, http } => self.discover_and_fetch(place, http, &mut last).await,
        };
        let counted = Self::outcome(&fetched);
        let next = match fetched {
            Ok(fetched) => {
                self.arrived(fetched.keys, now);
                self.fresh_until.store(unix_seconds(now + fetched.wait), Ordering::Relaxed);
                Some(fetched.wait)
            }
            Err(failure) => {
                last.metadata = None;
                self.fresh_until.store(0, Ordering::Relaxed);
                self.failed(failure, retry);
                // A file costs nothing to look at.
                matches!(self.from, From::File(_)).then_some(LOOK_AT_FILE_EVERY)
            }
        };
        // Last, so that whoever reads the count finds what was fetched.
        if let Some(outcome) = counted {
            metrics().issuer_key_fetches.with_label_values(&[self.name.as_str(), outcome]).inc();
        }
        next
    }

    /// The metadata within `refresh_every` or after a failure; the keys, which can be fresh for a shorter time, always.
    async fn discover_and_fetch(
        &self,
        place: &Place,
        http: &HttpClient,
        last: &mut LastFetch,
    ) -> Result<Fetched, Failure> {
        let known =
            self.metadata().filter(|_| last.metadata.is_some_and(|at| at.elapsed() < self.times.refresh_every / 2));
        let metadata = match known {
            Some(known) => known,
            None => {
                let metadata = Arc::new(place.discover(http).await?);
                self.metadata.store(Some(Arc::clone(&metadata)));
                last.metadata = Some(Instant::now());
                metadata
            }
        };
        match &metadata.jwks_uri {
            Some(url) => self.fetch(http, url).await,
            None => Ok(Fetched { keys: Some(KeySet::ed25519(&[])), wait: self.times.refresh_every }),
        }
    }

    async fn fetch(&self, http: &HttpClient, url: &Url) -> Result<Fetched, Failure> {
        let document = http.get_document(url, None).await.map_err(|error| {
            let address = match &self.from {
                From::Address { .. } => Address::Setting("jwks_uri"),
                _ => Address::Member("jwks_uri"),
            };
            keys_failed(&error, url, address)
        })?;
        // Ahead of their time, so that the keys at hand are always fresh ones: the pauses vary by a fifth.
        let ahead = document.fresh_for.unwrap_or(self.times.refresh_every).min(self.times.refresh_every) * 4 / 5;
        let wait =
            ahead.max(REFRESH_AT_MOST_EVERY).min(self.times.refresh_every).min(self.times.max_age / 2).max(FIRST_RETRY);
        Ok(Fetched { keys: Some(KeySet::parse(&document.body)?), wait })
    }

    fn arrived(&self, set: Option<KeySet>, fetched_at: SystemTime) {
        let (name, generation) = (self.name.as_str(), self.generation());
        let changed = set.filter(|set| generation == 0 || self.keys.load().set != *set);
        let summary = changed.as_ref().map(KeySet::summary);
        // First, so that whoever reads of it finds it so.
        let fetched_at = unix_seconds(fetched_at);
        self.fetched_at.store(fetched_at, Ordering::Relaxed);
        let until = fetched_at.saturating_add(self.times.max_age.as_secs());
        match changed {
            Some(set) => self.store(set, until),
            None => self.usable_until.store(until, Ordering::Release),
        }
        self.arrivals.fetch_add(1, Ordering::AcqRel);
        self.too_old_told.store(false, Ordering::Relaxed);
        let troubled = self.trouble.swap(None).is_some();
        match summary {
            Some(keys) if generation == 0 => tracing::info!(issuer = name, keys, "the issuer's keys are here"),
            Some(keys) => tracing::info!(issuer = name, keys, "the issuer has new keys"),
            None if troubled => tracing::info!(issuer = name, "the issuer's keys can be had again"),
            None => {}
        }
    }

    /// A new generation of keys. Only while nobody else stores: before the source is shared, or with `fetching` held.
    fn store(&self, set: KeySet, usable_until: u64) {
        let generation = self.generation() + 1;
        let before = self.keys.swap(Arc::new(Keys { set, generation }));
        self.withdrawn.store(Some(before));
        self.generation.store(generation, Ordering::Release);
        self.usable_until.store(usable_until, Ordering::Release);
    }

    /// Old keys stay. The same trouble is told once, not at each retry.
    fn failed(&self, failure: Failure, retry: Option<Duration>) {
        let failure = Arc::new(failure);
        let told = self.trouble.swap(Some(Arc::clone(&failure)));
        if told.is_none_or(|told| told != failure) {
            let ready = self.generation() != 0;
            let retry = retry.map(tracing::field::debug);
            tracing::warn!(issuer = self.name, %failure, ready, retry, "the issuer's keys cannot be fetched");
        }
        let too_old = self.generation() != 0 && self.current(unix_seconds(SystemTime::now())).is_err();
        if too_old && !self.too_old_told.swap(true, Ordering::Relaxed) {
            let limit = tracing::field::debug(self.times.max_age);
            tracing::warn!(issuer = self.name, keys_max_age = limit, "tokens of this issuer are refused from now on");
        }
    }

    /// What is counted of a fetch; nothing where a file was merely looked at.
    fn outcome(fetched: &Result<Fetched, Failure>) -> Option<&'static str> {
        match fetched {
            Ok(Fetched { keys: None, .. }) => None,
            Ok(_) => Some("ok"),
            Err(failure) => Some(failure.reason.code()),
        }
    }
}

impl fmt::Debug for KeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeySource").field("name", &self.name).finish_non_exhaustive()
    }
}
