//! We as relying party: signing people in with OpenID providers (OpenID Connect Core: code, implicit and hybrid flow).
//!
//! The way of a sign-in: [`Provider::begin_with`] makes the address to send the browser to, and the [`Attempt`] to
//! remember; [`AuthorizationResponse`] reads what comes back; [`Provider::complete`] redeems the code, verifies the ID
//! token and makes the [`Identity`](crate::identity::Identity). [`Provider::refresh`] renews, and
//! [`Provider::end_session_url`] ends the provider's session; [`Providers::logout`] reads by which token the provider
//! ends ours.
//!
//! Promise: `state` and `nonce` in every sign-in, and PKCE S256 wherever a code comes; no request waits for discovery; no
//! token, code or secret in any log, error or `Debug`. Cookies, pages and return addresses are left to others.

mod absent;
mod ask;
mod attempt;
mod client;
mod credentials;
mod encrypted;
mod fresh;
mod id_token;
mod logout;
mod logout_token;
mod metadata;
mod provider;
mod renewal;
mod response;
mod revocation;
mod sign_in;
mod signed;
mod standing;
mod tenants;
mod token;
mod translation;
mod trial;
mod used;
mod userinfo;

#[cfg(test)]
pub(crate) mod tests;

use std::sync::Arc;
use std::time::SystemTime;

use serde_json::{Value, json};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

pub use attempt::{Attempt, Begun, Wish};
pub use logout_token::{LoggedOut, Logout};
pub use metadata::only_hmac;
pub use provider::{Provider, Readiness, RefreshFailure, SignedIn};
pub use renewal::Previous;
pub use response::{AuthorizationResponse, Granted, MAX_FORM};
pub use standing::{Known, Standing};
pub use translation::{At, known_words};
pub use trial::{Answered, Learnt, Trial};

use self::used::Used;
use crate::claims::NeededClaims;
use crate::clock::unix_seconds;
use crate::config::model::{self, Settings};
use crate::jwe::DecryptionKeys;
use crate::reason::{Failure, Reason};

/// The configured providers, in their order; the first is the default.
#[derive(Debug)]
pub struct Providers {
    all: Vec<Arc<Provider>>,
    /// Logout tokens, whichever provider they are from.
    used_tokens: Arc<Used>,
    /// Sign-ins whose ID token came by the browser, which could post it again.
    used_attempts: Arc<Used>,
    /// Sign-ins whose answer was taken, whatever became of it: for telling who comes back to one. Nothing else hangs on it.
    answered: Arc<Used>,
    /// Turns at opening encrypted logout tokens.
    decryptions: Semaphore,
}

impl Providers {
    /// Makes them without a look at the network; reads each `ca_file`. [`Providers::keep_fresh`] does the rest.
    pub fn new(settings: &Settings) -> Result<Providers, Failure> {
        let needed = NeededClaims::of(settings);
        let make = |(index, provider): (usize, &model::Provider)| {
            let callback = model::callback(index, &provider.name);
            Provider::new(provider, &settings.public_url, callback, needed.clone()).map(Arc::new)
        };
        let all = settings.provider.iter().enumerate().map(make).collect::<Result<_, _>>()?;
        let (used_tokens, used_attempts, answered) = Default::default();
        let decryptions = Semaphore::new(logout_token::DECRYPTIONS);
        Ok(Providers { all, used_tokens, used_attempts, answered, decryptions })
    }

    /// The provider of that name.
    pub fn get(&self, name: &str) -> Option<&Arc<Provider>> {
        self.all.iter().find(|provider| provider.name() == name)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Arc<Provider>> {
        self.all.iter()
    }

    /// The provider whose redirect URI has that path.
    pub fn at_callback(&self, path: &str) -> Option<&Arc<Provider>> {
        self.all.iter().find(|provider| provider.callback() == path)
    }

    /// The provider with that issuer.
    pub fn of_issuer(&self, issuer: &str) -> Option<&Arc<Provider>> {
        self.all.iter().find(|provider| provider.is_issuer(issuer))
    }

    /// The public halves of the keys with which the gateway authenticates itself, and for which providers encrypt, as a
    /// key set (RFC 7517 §5) for its registration there; of the provider `name`, or of all.
    pub fn public_keys(&self, name: Option<&str>) -> Value {
        let mut keys = Vec::new();
        for provider in self.all.iter().filter(|provider| name.is_none_or(|name| provider.name() == name)) {
            let decryption = provider.decryption.iter().flat_map(DecryptionKeys::public_jwks);
            keys.extend(provider.client.public_jwk().into_iter().chain(decryption));
        }
        json!({ "keys": keys })
    }

    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Takes over what `before`, the providers of the configuration until now, know of the same issuers, so that a
    /// reload signs nobody out of the way in. What was used is remembered by both together, so that nothing becomes new by
    /// it, whichever of them a request in flight goes by.
    pub fn inherit(&mut self, before: &Providers) {
        self.used_tokens = before.used_tokens.clone();
        self.used_attempts = before.used_attempts.clone();
        self.answered = before.answered.clone();
        for provider in self.iter() {
            if let Some(old) = before.iter().find(|old| old.issuer() == provider.issuer()) {
                provider.inherit(old);
            }
        }
    }

    /// Uses up `attempt`, whose answer was verified and is good for one session. It is remembered until `end`, by which
    /// it is too old; [`Reason::AttemptUsed`] says that it was used before.
    pub fn use_up(&self, attempt: &Attempt, end: SystemTime, now: SystemTime) -> Result<(), Failure> {
        match self.used_attempts.once([&attempt.provider, &attempt.nonce], unix_seconds(end), unix_seconds(now)) {
            true => Ok(()),
            false => Err(Failure::new(Reason::AttemptUsed, "it was used before")),
        }
    }

    /// Notes that the answer with that `state` was taken, for as long as the attempt could be answered.
    pub fn note_answered(&self, state: &str, end: SystemTime, now: SystemTime) {
        self.answered.once(["", state], unix_seconds(end), unix_seconds(now));
    }

    /// Whether the answer with that `state` was taken lately, by this process.
    pub fn was_answered(&self, state: &str) -> bool {
        self.answered.holds(["", state])
    }

    /// Fetches metadata and keys of those whose are not at hand, once and all at the same time.
    pub async fn fetch_missing(&self) {
        let mut tasks = JoinSet::new();
        for provider in self.iter().filter(|provider| provider.snapshot().is_none()) {
            let provider = Arc::clone(provider);
            tasks.spawn(async move { provider.fetch_once().await });
        }
        while tasks.join_next().await.is_some() {}
    }

    /// Fetches metadata and keys of all providers, each on its own, until `shutdown` turns true: at once, with growing
    /// pauses until it works, then every `refresh_every`.
    pub async fn keep_fresh(&self, shutdown: watch::Receiver<bool>) {
        let mut tasks = JoinSet::new();
        for provider in self.iter() {
            tasks.spawn(Arc::clone(provider).keep_fresh(shutdown.clone()));
        }
        while tasks.join_next().await.is_some() {}
    }
}
