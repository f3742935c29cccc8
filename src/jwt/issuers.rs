//! All issuers whose tokens count: which one a token is from, and what it says.
//!
//! The hot path is [`Issuers::judge`]: a token that is in the cache and whose issuer's keys are still the same costs one
//! look-up; then its issuer's entry is held against it, as against one that was just verified.

mod examine;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Instant, SystemTime};

pub use examine::Examined;
use foldhash::fast::RandomState;
use prometheus::Histogram;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::Verified;
use super::cache::{Cached, Stats, TokenCache};
use super::introspection::Introspector;
use super::key_set::KeySet;
use super::source::{KeySource, Looked, Readiness};
use super::token::{Unverified, WantedClaims};
use super::verify::Policy;
use crate::claims::{ACCOUNT_CLAIM, NeededClaims};
use crate::config::OWN_ISSUER;
use crate::config::model::{self, Settings, TokenAlgorithm};
use crate::identity_headers::IdentityHeaders;
use crate::reason::{Failure, Reason};
use crate::telemetry::metrics;

/// All issuers, and the tokens of theirs that were verified.
pub struct Issuers {
    list: Vec<Issuer>,
    /// Every value of `iss`.
    by_iss: HashMap<Box<str>, usize, RandomState>,
    /// Those who are asked about tokens that are no JWT.
    introspecting: Vec<usize>,
    own: Option<usize>,
    cache: Option<TokenCache>,
    wanted: WantedClaims,
    headers: IdentityHeaders,
    max_token_bytes: usize,
    refused: Histogram,
    /// What the metrics know of `cache`, which counts from 0 with each configuration.
    told: Mutex<Stats>,
    /// Whether those of another configuration have taken their place.
    retired: AtomicBool,
}

/// One issuer.
pub struct Issuer {
    pub name: String,
    pub source: Arc<KeySource>,
    policy: Policy,
    introspector: Option<Introspector>,
    any_audience: bool,
    introspection_configured: bool,
    /// Of the keys by which cached tokens were verified.
    kept_generation: AtomicU64,
    times: Times,
}

/// How long verifying took, by algorithm, for this issuer's tokens. Made when they are first needed.
#[derive(Default)]
struct Times {
    cache: [OnceLock<Histogram>; ALGORITHMS],
    signature: [OnceLock<Histogram>; ALGORITHMS],
    introspection: OnceLock<Histogram>,
    refused: OnceLock<Histogram>,
}

const ALGORITHMS: usize = TokenAlgorithm::HS512 as usize + 2;

/// How far an issuer's clock may be behind ours, in seconds, where it is asked whether a token is older than the keys.
const CLOCKS_APART: u64 = 60;

/// How an answer about a token was come by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    Cache,
    Signature,
    Introspection,
}

impl Issuers {
    /// Compiles the issuers of a configuration that has been judged. `own` are the keys of the gateway's own tokens.
    pub fn new(settings: &Settings, headers: IdentityHeaders, own: Option<KeySet>) -> Result<Self, Failure> {
        let needed = NeededClaims::of(settings);
        let mut list = Vec::with_capacity(settings.issuer.len() + 1);
        for configured in &settings.issuer {
            let resolved = resolve(configured, settings)?;
            list.push(Issuer::new(list.len(), &resolved, &needed)?);
        }
        let own = match own {
            Some(keys) => {
                list.push(Issuer::own(list.len(), settings, &needed, keys)?);
                Some(list.len() - 1)
            }
            None => None,
        };
        let said =
            list.iter().enumerate().flat_map(|(index, issuer)| issuer.policy.issuers().map(move |iss| (iss, index)));
        let by_iss: HashMap<Box<str>, usize, RandomState> = said.map(|(iss, index)| (iss.into(), index)).collect();
        let introspecting = list.iter().enumerate().filter(|(_, issuer)| issuer.introspector.is_some());
        Ok(Issuers {
            introspecting: introspecting.map(|(index, _)| index).collect(),
            wanted: WantedClaims::new(list.iter().map(|issuer| &issuer.policy)),
            cache: Some(settings.bearer.cache_bytes.0).filter(|bytes| *bytes > 0).map(TokenCache::new),
            max_token_bytes: settings.bearer.max_token_bytes.0,
            refused: metrics().token_verification("", "", "refused"),
            told: Mutex::default(),
            retired: AtomicBool::new(false),
            by_iss,
            own,
            headers,
            list,
        })
    }

    /// Judges `token` at `now` (seconds since 1970): its signature, or what was kept of it, and what its issuer's entry
    /// asks for. `taken` tells by index whose tokens count here, everybody's where `None`; `further` is what else is
    /// asked of it.
    pub async fn judge(
        &self,
        token: &[u8],
        taken: Option<&[bool]>,
        now: u64,
        further: impl Fn(&Verified) -> Result<(), Failure>,
    ) -> Result<Arc<Cached>, Failure> {
        let began = Instant::now();
        let (cached, how) = match self.cached(token, now) {
            Some(cached) => (cached, How::Cache),
            // In a box: the hot path should not carry the room for it.
            None => match Box::pin(self.verified(token, taken, now)).await {
                Ok(verified) => verified,
                Err((failure, index)) => {
                    self.count_refusal(index, began);
                    return Err(failure);
                }
            },
        };
        // The same for every token however it was come by: judged at every hit, since nothing decided is kept.
        let (index, verified) = (cached.verified.issuer, &cached.verified);
        let issuer = &self.list[index];
        let judged = self.check_taken(index, taken).and_then(|()| issuer.policy.judge(verified, now));
        match judged.and_then(|()| further(verified)) {
            Ok(()) => {
                issuer.times.of(how, verified.algorithm, &issuer.name).observe(began.elapsed().as_secs_f64());
                Ok(cached)
            }
            Err(failure) => {
                self.count_refusal(Some(index), began);
                Err(failure)
            }
        }
    }

    /// An assertion of one of `issuers` (every one's where it is empty): verified anew, judged by its issuer's entry but
    /// for the audience, which is `audiences` (any where `None`).
    pub async fn verify_assertion(
        &self,
        token: &[u8],
        now: u64,
        issuers: &[String],
        audiences: Option<&[String]>,
    ) -> Result<Verified, Failure> {
        // The gateway's own tokens are no assertions: they would never end.
        let named = |issuer: &Issuer| issuers.is_empty() || issuers.contains(&issuer.name);
        let taken: Vec<bool> =
            self.list.iter().enumerate().map(|(index, issuer)| Some(index) != self.own && named(issuer)).collect();
        let (verified, _) = self.verify_jwt(token, Some(&taken), now, true).await.map_err(|(failure, _)| failure)?;
        self.list[verified.issuer].policy.judge_assertion(&verified, now, audiences)?;
        Ok(verified)
    }

    /// What was kept of `token`, if its issuer's keys are still those that verified it.
    fn cached(&self, token: &[u8], now: u64) -> Option<Arc<Cached>> {
        let cache = self.cache.as_ref()?;
        let cached = cache.get(token)?;
        let index = cached.verified.issuer;
        let issuer = &self.list[index];
        let generation = issuer.source.current(now).ok()?.generation;
        if generation == cached.generation {
            return Some(cached);
        }
        // The first who notices that the keys have changed empties the cache of what the old ones verified.
        if issuer.kept_generation.swap(generation, Ordering::Relaxed) != generation {
            cache.forget_issuer(index);
        }
        None
    }

    fn count_refusal(&self, index: Option<usize>, began: Instant) {
        let refused = match index.map(|index| &self.list[index]) {
            Some(issuer) => {
                let made = || metrics().token_verification(&issuer.name, "", "refused");
                issuer.times.refused.get_or_init(made)
            }
            None => &self.refused,
        };
        refused.observe(began.elapsed().as_secs_f64());
    }

    fn check_taken(&self, index: usize, taken: Option<&[bool]>) -> Result<(), Failure> {
        let Some(taken) = taken.filter(|taken| !taken.get(index).copied().unwrap_or(false)) else { return Ok(()) };
        let names: Vec<String> = self
            .list
            .iter()
            .zip(taken)
            .filter(|(_, taken)| **taken)
            .take(5)
            .map(|(issuer, _)| format!("'{}'", issuer.name))
            .collect();
        let (got, wanted) = (&self.list[index].name, names.join(", "));
        Err(Failure::new(Reason::TokenIssuer, format!("issuer is '{got}'; accepted is {wanted}")))
    }

    async fn verified(&self, token: &[u8], taken: Option<&[bool]>, now: u64) -> Result<(Arc<Cached>, How), Refused> {
        if !self.introspecting.is_empty() && !Unverified::looks_like_one(token) {
            return self.introspected(token, taken, now).await;
        }
        let (verified, generation) = self.verify_jwt(token, taken, now, true).await?;
        Ok((self.keep(token, verified, generation, now), How::Signature))
    }

    /// What a JWT says, and the generation of the keys that verified it. `ask`: whether its issuer is asked for newer keys
    /// where none of those at hand is its key.
    async fn verify_jwt(
        &self,
        token: &[u8],
        taken: Option<&[bool]>,
        now: u64,
        ask: bool,
    ) -> Result<(Verified, u64), Refused> {
        let read = self.read(token).map_err(|failure| (failure, None))?;
        let index = self.index_of(read.iss()).map_err(|failure| (failure, None))?;
        let of_issuer = |failure| (failure, Some(index));
        // Before any signature is checked: the answer would be the same.
        self.check_taken(index, taken).map_err(of_issuer)?;
        let issuer = &self.list[index];
        let keys = issuer.source.current(now).map_err(of_issuer)?;
        let (failure, seen) = match issuer.policy.verify(&read, &keys.set, &self.headers) {
            Ok(verified) => return Ok((verified, keys.generation)),
            Err(failure) => (failure, keys.generation),
        };
        drop(keys);
        if failure.reason != Reason::TokenKey || !ask {
            return Err(of_issuer(failure));
        }
        match issuer.source.look_for_newer(seen).await {
            Looked::Newer => {
                let newer = issuer.source.current(now).map_err(of_issuer)?;
                let verified = issuer.policy.verify(&read, &newer.set, &self.headers).map_err(of_issuer)?;
                Ok((verified, newer.generation))
            }
            // Its key may have been published since: nothing can be said about it, least of all that it is wrong.
            Looked::Unknown { last_seen } if may_be_newer(&read, last_seen, &issuer.source) => {
                Err(of_issuer(Reason::KeyNotSeenYet.into()))
            }
            Looked::Same | Looked::Unknown { .. } => Err(of_issuer(failure)),
        }
    }

    fn read<'t>(&self, token: &'t [u8]) -> Result<Unverified<'t>, Failure> {
        if token.len() > self.max_token_bytes {
            let detail =
                format!("token has {} bytes; tokens are looked at up to {}", token.len(), self.max_token_bytes);
            return Err(Failure::new(Reason::TokenForm, detail));
        }
        Unverified::read(token, &self.wanted)
    }

    /// Offers a verified token to the cache; one that has ended is not worth the room.
    fn keep(&self, token: &[u8], verified: Verified, generation: u64, now: u64) -> Arc<Cached> {
        match self.cache.as_ref().filter(|_| verified.expires_at > now && !self.retired.load(Ordering::Relaxed)) {
            Some(cache) => cache.offer(token, verified, generation),
            None => Arc::new(Cached { verified, generation }),
        }
    }

    /// Asks, one after the other, those issuers whose tokens count here and are no JWT.
    async fn introspected(
        &self,
        token: &[u8],
        taken: Option<&[bool]>,
        now: u64,
    ) -> Result<(Arc<Cached>, How), Refused> {
        let form = |detail: &str| (Failure::new(Reason::TokenForm, detail), None);
        if token.len() > self.max_token_bytes {
            return Err(form("token is longer than tokens are looked at"));
        }
        let text = std::str::from_utf8(token).map_err(|_| form("token is no text"))?;
        let mut last = form("token is no JWT, and no issuer that is asked about such tokens counts here");
        for &index in self.introspecting.iter().filter(|index| self.check_taken(**index, taken).is_ok()) {
            let issuer = &self.list[index];
            let Some(introspector) = &issuer.introspector else { continue };
            let asked = introspector.ask(text, SystemTime::now()).await;
            let verified = asked.and_then(|claims| {
                let verified = issuer.policy.introspected(&claims, &self.headers)?;
                issuer.policy.judge(&verified, now).map(|()| verified)
            });
            match verified {
                Ok(verified) => return Ok((Arc::new(Cached { verified, generation: 0 }), How::Introspection)),
                // That another issuer cannot be asked weighs more than that this one does not know it.
                Err(failure) if last.0.reason.status() == 503 && failure.reason.status() != 503 => {}
                // A token that is known here and meant for somebody else may be the next one's, too.
                Err(failure) => last = (failure, Some(index)),
            }
        }
        Err(last)
    }

    fn index_of(&self, iss: &str) -> Result<usize, Failure> {
        self.by_iss.get(iss).copied().ok_or_else(|| {
            let shown: String = iss.chars().take(200).collect();
            let (other, how) = match iss.strip_suffix('/') {
                Some(bare) => (bare.to_owned(), "without"),
                None => (format!("{iss}/"), "with"),
            };
            let hint = match self.by_iss.contains_key(other.as_str()) {
                true => format!("; configured is the same {how} the slash at the end"),
                false => String::new(),
            };
            Failure::new(Reason::TokenIssuer, format!("issuer is '{shown}', which is not configured here{hint}"))
        })
    }

    /// Index of the gateway's own tokens, where it makes any.
    pub fn own(&self) -> Option<usize> {
        self.own
    }

    /// Where a list by issuers says something about the gateway's own credentials: behind all others.
    pub fn own_slot(&self) -> usize {
        self.list.len() - usize::from(self.own.is_some())
    }

    pub fn max_token_bytes(&self) -> usize {
        self.max_token_bytes
    }

    pub fn iter(&self) -> impl Iterator<Item = &Issuer> {
        self.list.iter()
    }

    /// Takes over the keys that `before`, the issuers of the configuration until now, know. Verdicts are not taken over.
    pub fn inherit(&self, before: &Issuers) {
        for issuer in &self.list {
            before.list.iter().for_each(|old| issuer.source.inherit(&old.source));
        }
    }

    /// Lets go of what was kept of tokens: others have taken the place of these issuers, which may be held for long all
    /// the same. What they counted is told once more, and nothing of them from then on.
    pub fn retire(&self) {
        if self.retired.swap(true, Ordering::AcqRel) {
            return;
        }
        self.tell_cache();
        self.cache.iter().for_each(TokenCache::clear);
        self.list.iter().filter_map(|issuer| issuer.introspector.as_ref()).for_each(Introspector::forget);
    }

    /// Brings what the metrics say of issuers and cache up to date.
    pub fn tell_metrics(&self) {
        if self.retired.load(Ordering::Acquire) {
            return;
        }
        for issuer in &self.list {
            if let Some(at) = issuer.source.fetched_at() {
                let stamp = i64::try_from(at).unwrap_or(i64::MAX);
                metrics().issuer_keys_fetched.with_label_values(&[issuer.name.as_str()]).set(stamp);
            }
            let fetched = matches!(issuer.source.readiness(SystemTime::now()), Readiness::Ready { .. });
            let ready = fetched || issuer.answers_without_keys();
            metrics().issuer_ready.with_label_values(&[issuer.name.as_str()]).set(ready.into());
        }
        self.tell_cache();
    }

    fn tell_cache(&self) {
        // Two who ask at once must not both add the difference.
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let (stats, metrics) = (self.cache.as_ref().map(TokenCache::stats).unwrap_or_default(), metrics());
        let gauge = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        metrics.token_cache_entries.set(gauge(stats.entries));
        metrics.token_cache_bytes.set(gauge(stats.bytes));
        for (counter, count, told) in [
            (&metrics.token_cache_hits, stats.hits, told.hits),
            (&metrics.token_cache_misses, stats.misses, told.misses),
            (&metrics.token_cache_evictions, stats.evictions, told.evictions),
        ] {
            counter.inc_by(count.saturating_sub(told));
        }
        *told = stats;
    }

    /// Keeps the keys of all issuers fresh until `shutdown` turns true.
    pub async fn keep_fresh(&self, shutdown: watch::Receiver<bool>) {
        let mut tasks = JoinSet::new();
        for issuer in &self.list {
            tasks.spawn(Arc::clone(&issuer.source).keep_fresh(shutdown.clone()));
        }
        while tasks.join_next().await.is_some() {}
    }
}

/// A failure, and the issuer it is about where one is known.
type Refused = (Failure, Option<usize>);

impl Issuer {
    fn new(index: usize, settings: &model::Issuer, needed: &NeededClaims) -> Result<Self, Failure> {
        let source = Arc::new(KeySource::new(settings)?);
        let introspects = settings.introspection || settings.introspection_endpoint.is_some();
        Ok(Issuer {
            name: settings.name.clone(),
            policy: Policy::new(index, settings, needed.clone())?,
            introspector: introspects.then(|| Introspector::new(settings, source.clone())).transpose()?,
            source,
            any_audience: settings.any_audience,
            introspection_configured: settings.introspection_endpoint.is_some(),
            kept_generation: AtomicU64::new(0),
            times: Times::default(),
        })
    }

    /// The gateway itself: its tokens are meant for it, and say who somebody is in the terms of the standard.
    fn own(index: usize, settings: &Settings, needed: &NeededClaims, keys: KeySet) -> Result<Self, Failure> {
        let own = model::Issuer::own(&settings.public_url);
        let needed = needed.with(ACCOUNT_CLAIM);
        Ok(Issuer {
            name: OWN_ISSUER.to_owned(),
            policy: Policy::new(index, &own, needed)?,
            introspector: None,
            source: Arc::new(KeySource::fixed(keys)),
            any_audience: false,
            introspection_configured: false,
            kept_generation: AtomicU64::new(0),
            times: Times::default(),
        })
    }

    /// Whether its opaque tokens can be judged although there are no keys: its introspection endpoint is configured.
    pub fn answers_without_keys(&self) -> bool {
        self.introspection_configured
    }

    /// Why the introspection endpoint could not be asked the last time; `None` where it could.
    pub fn introspection_trouble(&self) -> Option<Failure> {
        self.introspector.as_ref().and_then(Introspector::trouble)
    }

    /// Whether it accepts tokens that are meant for anybody.
    pub fn any_audience(&self) -> bool {
        self.any_audience
    }
}

/// Whether a token's key may have been published after the keys of `last_seen` (seconds since 1970) were fetched.
fn may_be_newer(token: &Unverified<'_>, last_seen: u64, source: &KeySource) -> bool {
    let made = token.not_before();
    let after = made == 0 || made.saturating_add(CLOCKS_APART) >= last_seen;
    after && !token.kid().is_some_and(|kid| source.was_withdrawn(kid))
}

/// The entry with what it takes from its `[[provider]]`.
fn resolve(configured: &model::Issuer, settings: &Settings) -> Result<model::Issuer, Failure> {
    let Some(name) = &configured.provider else { return Ok(configured.clone()) };
    let provider = settings.provider_of(configured);
    let provider = provider.ok_or_else(|| Failure::new(Reason::ConfigInvalid, format!("no provider `{name}`")))?;
    Ok(configured.resolved(provider))
}

impl Times {
    fn of(&self, how: How, algorithm: Option<TokenAlgorithm>, issuer: &str) -> &Histogram {
        let slot = algorithm.map_or(ALGORITHMS - 1, |algorithm| algorithm as usize);
        let (cell, answer) = match how {
            How::Cache => (&self.cache[slot], "cache"),
            How::Signature => (&self.signature[slot], "signature"),
            How::Introspection => (&self.introspection, "introspection"),
        };
        cell.get_or_init(|| {
            let algorithm = algorithm.map_or(String::new(), |algorithm| format!("{algorithm:?}"));
            metrics().token_verification(issuer, &algorithm, answer)
        })
    }
}
