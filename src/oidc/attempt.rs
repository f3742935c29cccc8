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

use super::id_token::VerifiedIdToken;
use super::response::{Granted, described};
pub(super) use crate::clock::unix_seconds;
use crate::config::model::{AuthMethod, Provider as ProviderSettings, ResponseMode};
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
    /// What was asked for: a code, an ID token, or both. Nothing else is taken.
    #[serde(rename = "f", default, skip_serializing_if = "is_pkce")]
    pub(super) flow: AuthMethod,
    /// The way in which it was asked to come; nothing is taken that comes another way.
    #[serde(rename = "m", default = "in_the_address", skip_serializing_if = "is_in_the_address")]
    pub(super) response_mode: ResponseMode,
    #[serde(rename = "w", default, skip_serializing_if = "Wish::is_empty")]
    pub(super) wish: Wish,
    /// Whether a page of another site led here; told by whoever starts the attempt.
    #[serde(rename = "x", default, skip_serializing_if = "std::ops::Not::not")]
    pub from_another_site: bool,
}

/// What one sign-in asks for that another at the same provider does not.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Wish {
    /// Instead of the provider's own `acr_values`; the answer's `acr` must be one of them.
    #[serde(rename = "a", default, skip_serializing_if = "Vec::is_empty")]
    pub acr_values: Vec<String>,
    /// Most seconds since the person authenticated.
    #[serde(rename = "m", default, skip_serializing_if = "Option::is_none")]
    pub max_age: Option<u64>,
    /// Whether the person has to be asked again, whatever session the provider has (`prompt=login`).
    #[serde(rename = "f", default, skip_serializing_if = "std::ops::Not::not")]
    pub fresh: bool,
    /// Who is most likely to sign in; said to the provider, and then forgotten.
    #[serde(skip)]
    pub login_hint: Option<String>,
}

impl Wish {
    pub fn is_empty(&self) -> bool {
        self.acr_values.is_empty() && self.max_age.is_none() && !self.fresh
    }
}

fn is_pkce(flow: &AuthMethod) -> bool {
    *flow == AuthMethod::Pkce
}

fn in_the_address() -> ResponseMode {
    ResponseMode::Query
}

fn is_in_the_address(mode: &ResponseMode) -> bool {
    *mode == ResponseMode::Query
}

impl Attempt {
    /// A new attempt at `provider` whose `state` begins with `id` and a dot.
    pub(super) fn new(
        provider: &ProviderSettings,
        id: &str,
        return_to: &str,
        wish: &Wish,
        now: SystemTime,
    ) -> Result<Attempt, Failure> {
        Ok(Attempt {
            provider: provider.name.clone(),
            state: format!("{id}.{}", random()?),
            nonce: random()?,
            code_verifier: random()?,
            return_to: return_to.to_owned(),
            started_at: unix_seconds(now),
            flow: provider.auth_method,
            response_mode: provider.response_mode(),
            wish: wish.clone(),
            from_another_site: false,
        })
    }

    /// Whether exactly what was asked for has come, the way in which it was asked to.
    pub(super) fn check_kind(&self, granted: &Granted) -> Result<(), Failure> {
        let (code, id_token) = self.asked();
        let as_asked = (granted.code.is_some(), granted.id_token.is_some()) == (code, id_token)
            && granted.mode == self.response_mode;
        if as_asked {
            return Ok(());
        }
        let expected = described(code, id_token, self.response_mode);
        let detail = format!("expected {expected}, got {}", granted.describe());
        Err(Failure::new(Reason::ResponseMode, detail))
    }

    /// When the provider issued `verified`, in seconds since 1970. It has the attempt's nonce, so it is no older than the
    /// attempt, whatever the provider's clock says.
    pub(super) fn proven_at(&self, verified: &VerifiedIdToken, now: SystemTime) -> u64 {
        verified.issued_at.max(self.started_at).min(unix_seconds(now))
    }

    /// Whether a code, and whether an ID token was asked for.
    fn asked(&self) -> (bool, bool) {
        match self.flow {
            AuthMethod::Pkce => (true, false),
            AuthMethod::Implicit => (false, true),
            AuthMethod::Hybrid => (true, true),
        }
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
