//! Asking an issuer about tokens that are no JWT (RFC 7662).
//!
//! Promise: an answer is used for the issuer and the token that it was given for, no longer than the token's `exp` and
//! the configured limit; many requests with one token cause one question; an issuer is never asked about more than
//! [`AT_ONCE`] tokens at a time, and tokens that nobody knows do not crowd out those that were active of late. What it does
//! not clearly call active is not accepted, and what it does not clearly answer is nobody's fault but its own: 503, never
//! 401; then it is left alone for a moment.

mod answers;
mod lately;
mod request;
mod said;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwapOption;
use serde_json::{Map, Value};
use tokio::sync::Semaphore;
use url::Url;

use self::answers::{Answer, Answers, Digest};
use self::request::{Asker, NoAnswer};
pub use self::said::Said;
use super::metadata::Place;
use super::source::KeySource;
use crate::background::Awaited;
use crate::config::model::Issuer;
use crate::http_client::HttpClient;
use crate::reason::{Failure, Reason};
use crate::telemetry::metrics;

/// Tokens that one issuer is asked about at the same time.
const AT_ONCE: usize = 32;
/// Of these, how many are kept for tokens that were active lately. Anybody can make up tokens, and each costs a question.
const RESERVED: usize = 8;
/// How long an issuer that could not be asked is left alone.
const PAUSE: Duration = Duration::from_secs(1);
/// How long a token is refused without asking again.
const INACTIVE_FOR: Duration = Duration::from_secs(10);

/// What an issuer says of an active token (RFC 7662 §2.2).
pub type Claims = Arc<Map<String, Value>>;

/// The introspection endpoint of one issuer, and its answers of late.
pub struct Introspector(Arc<Inner>);

struct Inner {
    name: String,
    /// As configured; else it is the one of the metadata.
    endpoint: Option<Url>,
    source: Arc<KeySource>,
    http: Arc<HttpClient>,
    asker: Asker,
    longest: Duration,
    answers: Answers,
    /// Questions under way.
    asking: Mutex<HashMap<Digest, Awaited<Result<Claims, Failure>>>>,
    free: Arc<Semaphore>,
    /// Why the issuer could not be asked last time; none where it could. For admins.
    trouble: ArcSwapOption<Failure>,
    /// Of the last question that failed; none where one was answered since.
    pause: ArcSwapOption<Pause>,
}

/// What is answered without asking for a moment after a question that failed.
struct Pause {
    since: SystemTime,
    reason: Reason,
    /// Whether the question was about a token that was active lately. A token that somebody made up may be what the issuer
    /// fails about, and must not keep known ones from being asked about.
    known: bool,
}

impl Introspector {
    /// For the issuer of `settings`, whose metadata `source` knows.
    pub fn new(settings: &Issuer, source: Arc<KeySource>) -> Result<Introspector, Failure> {
        let http = match source.http() {
            Some(shared) => shared,
            None => Arc::new(HttpClient::new(settings.timeout(), settings.ca_file.as_deref(), None)?),
        };
        let place = Place::new(settings);
        Ok(Introspector(Arc::new(Inner {
            name: settings.name.clone(),
            endpoint: settings.introspection_endpoint.as_ref().map(|url| place.dialled(url)),
            source,
            http,
            asker: Asker::new(settings),
            longest: settings.introspection_cache.0,
            answers: Answers::default(),
            asking: Mutex::default(),
            free: Arc::new(Semaphore::new(AT_ONCE)),
            trouble: ArcSwapOption::empty(),
            pause: ArcSwapOption::empty(),
        })))
    }

    /// The claims of `token`, which is active at `now` as far as its issuer said of late. Times, audience and scopes
    /// are for whoever calls to judge.
    ///
    /// [`Reason::TokenRevoked`] where the issuer calls it inactive; [`Reason::KeysNotReady`] where its metadata is not
    /// known yet; [`Reason::TooManyIntrospections`], [`Reason::IntrospectionUnavailable`] and
    /// [`Reason::IntrospectionRefused`] where nothing can be said.
    pub async fn ask(&self, token: &str, now: SystemTime) -> Result<Claims, Failure> {
        let inner = &self.0;
        let endpoint = inner.endpoint()?;
        let digest = Digest::of(&endpoint, token);
        if let Some(answer) = inner.answers.get(&digest, now) {
            return answer;
        }
        let question = inner.question(endpoint, digest, token, now)?;
        // It ends within the time limit of a request. Without a result the gateway is stopping.
        question.result().await.unwrap_or_else(|| Err(Reason::IntrospectionUnavailable.into()))
    }

    /// Lets go of all answers.
    pub fn forget(&self) {
        self.0.answers.clear();
    }

    /// Why the issuer could not be asked last time: for admins.
    pub fn trouble(&self) -> Option<Failure> {
        self.0.trouble.load_full().map(|trouble| Failure::clone(&trouble))
    }
}

impl Inner {
    fn endpoint(&self) -> Result<Url, Failure> {
        if let Some(configured) = &self.endpoint {
            return Ok(configured.clone());
        }
        let Some(metadata) = self.source.metadata() else { return Err(self.source.not_fetched(Reason::KeysNotReady)) };
        metadata.introspection_endpoint.clone().ok_or_else(|| {
            let why = "the issuer's metadata names no `introspection_endpoint`";
            self.failed(Failure::new(Reason::IntrospectionUnavailable, why))
        })
    }

    /// The question about this token that is under way, or a new one.
    fn question(
        self: &Arc<Self>,
        endpoint: Url,
        digest: Digest,
        token: &str,
        now: SystemTime,
    ) -> Result<Awaited<Result<Claims, Failure>>, Failure> {
        let mut asking = self.asking.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(question) = asking.get(&digest).filter(|question| !question.is_over()) {
            return Ok(question.clone());
        }
        let known = self.answers.was_active_lately(&digest, now);
        if let Some(reason) = self.paused(known, now) {
            return Err(reason.into());
        }
        // Nobody else takes permits while `asking` is held.
        let enough = known || self.free.available_permits() > RESERVED;
        let permit = enough.then(|| Arc::clone(&self.free).try_acquire_owned().ok()).flatten();
        let Some(permit) = permit else {
            self.count(Reason::TooManyIntrospections.code());
            return Err(Reason::TooManyIntrospections.into());
        };
        let (inner, token) = (Arc::clone(self), token.to_owned());
        let question = Awaited::start(async move {
            let answered = inner.answer(&endpoint, digest, &token, known, now).await;
            inner.asking.lock().unwrap_or_else(PoisonError::into_inner).remove(&digest);
            drop(permit);
            answered
        });
        asking.insert(digest, question.clone());
        Ok(question)
    }

    /// Why a token is not asked about at `now`, if it is not.
    fn paused(&self, known: bool, now: SystemTime) -> Option<Reason> {
        let pause = self.pause.load();
        let pause = pause.as_ref().filter(|pause| pause.known || !known)?;
        // Either way: clocks are set, and who came before the failure may ask after it.
        let apart = now.duration_since(pause.since).unwrap_or_else(|error| error.duration());
        (apart < PAUSE).then_some(pause.reason)
    }

    /// Asks, and keeps a definite answer. The times count from `now`, when the question was put.
    async fn answer(
        &self,
        endpoint: &Url,
        digest: Digest,
        token: &str,
        known: bool,
        now: SystemTime,
    ) -> Result<Claims, Failure> {
        // Somebody's answer may have come while this question was made.
        if let Some(answer) = self.answers.get(&digest, now) {
            return answer;
        }
        let began = Instant::now();
        let methods = self.source.metadata().and_then(|metadata| metadata.introspection_auth_methods.clone());
        let answer = match self.asker.ask(&self.http, endpoint, methods.as_deref(), token).await {
            Ok(Some(claims)) => {
                let until = answers::expiry(&claims.said).min(now + self.longest);
                self.count("active");
                Answer { claims: Some(Arc::new(claims.said)), until, bytes: claims.bytes }
            }
            Ok(None) => {
                self.count("inactive");
                Answer { claims: None, until: now + self.longest.min(INACTIVE_FOR), bytes: 0 }
            }
            Err(NoAnswer { failure, lasts }) => {
                self.count(failure.reason.code());
                if lasts {
                    let pause = Pause { since: now + began.elapsed(), reason: failure.reason, known };
                    self.pause.store(Some(Arc::new(pause)));
                }
                return Err(self.failed(failure));
            }
        };
        self.pause.store(None);
        if self.trouble.swap(None).is_some() {
            tracing::info!(issuer = self.name, "the issuer answers about tokens again");
        }
        let said = answer.result();
        self.answers.keep(digest, answer, now);
        said
    }

    /// Tells the same trouble once. What goes on to the client has no detail.
    fn failed(&self, failure: Failure) -> Failure {
        let failure = Arc::new(failure);
        let told = self.trouble.swap(Some(Arc::clone(&failure)));
        if told.is_none_or(|told| told != failure) {
            tracing::warn!(issuer = self.name, %failure, "the issuer cannot be asked about tokens");
        }
        failure.reason.into()
    }

    fn count(&self, outcome: &str) {
        metrics().introspections.with_label_values(&[self.name.as_str(), outcome]).inc();
    }
}

impl fmt::Debug for Introspector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Introspector").field("name", &self.0.name).finish_non_exhaustive()
    }
}
