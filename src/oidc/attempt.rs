//! One sign-in from its start to its end: what has to be remembered while the person is at the provider.
//!
//! An [`Attempt`] lives sealed in the browser, one cookie an attempt, so its names are short.

use std::fmt;
use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};
use url::Url;

pub(super) use crate::clock::unix_seconds;
use crate::reason::{Failure, Reason};

/// A sign-in that has been started. Its `Debug` shows no secret.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    /// Name of the `[[provider]]` that was asked.
    #[serde(rename = "p")]
    pub provider: String,
    /// What the provider has to send back (RFC 6749 §10.12): the attempt's id, a dot, 256 random bits.
    #[serde(rename = "s")]
    pub state: String,
    /// What the ID token has to hold (OpenID Connect Core §3.1.2.1): 256 random bits.
    #[serde(rename = "n")]
    pub nonce: String,
    /// What proves that the code is redeemed by whoever asked for it (RFC 7636 §4.1): 256 random bits.
    #[serde(rename = "v")]
    pub code_verifier: String,
    /// Where the person wanted to go; checked by whoever starts the attempt.
    #[serde(rename = "r")]
    pub return_to: String,
    /// Unix seconds.
    #[serde(rename = "t")]
    pub started_at: u64,
}

impl Attempt {
    /// A new attempt whose `state` begins with `id` and a dot.
    pub(super) fn new(provider: &str, id: &str, return_to: &str, now: SystemTime) -> Result<Attempt, Failure> {
        Ok(Attempt {
            provider: provider.to_owned(),
            state: format!("{id}.{}", random()?),
            nonce: random()?,
            code_verifier: random()?,
            return_to: return_to.to_owned(),
            started_at: unix_seconds(now),
        })
    }
}

impl fmt::Debug for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attempt")
            .field("provider", &self.provider)
            .field("started_at", &self.started_at)
            .finish_non_exhaustive()
    }
}

/// A sign-in that begins: where to send the browser, and what to remember.
#[derive(Debug)]
pub struct Begun {
    pub authorization_url: Url,
    pub attempt: Attempt,
}

/// 256 random bits as 43 characters of base64url, which is also the shortest code verifier allowed (RFC 7636 §4.1).
fn random() -> Result<String, Failure> {
    let mut bytes = [0u8; 32];
    let filled = SystemRandom::new().fill(&mut bytes);
    filled.map_err(|_| Failure::new(Reason::Internal, "the system has no randomness"))?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}
