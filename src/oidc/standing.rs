//! How it stands with a provider, for operators: what it says of itself, its keys, and what fails.

use std::time::SystemTime;

use super::provider::Provider;
use crate::background::Next;
use crate::config::model::{AuthMethod, ResponseMode};
use crate::jwt::ListedKey;
use crate::reason::Failure;
use crate::words::plain_address as plain;

/// What is known of a provider.
#[derive(Clone, Debug)]
pub struct Standing {
    pub configured_issuer: String,
    pub client_id: String,
    pub redirect_uri: String,
    /// The flow that is configured, in words.
    pub flow: &'static str,
    pub scopes: Vec<String>,
    /// What was fetched; none before the first time.
    pub known: Option<Known>,
    /// Why the last fetch failed; none where it did not. The detail begins with the step.
    pub trouble: Option<Failure>,
    /// When metadata and keys are fetched again, or tried to be.
    pub next: Option<Next>,
    /// What is configured and not offered.
    pub shortcomings: Vec<Failure>,
}

/// What a provider says of itself.
#[derive(Clone, Debug)]
pub struct Known {
    /// As it spells it.
    pub issuer: String,
    pub endpoints: Vec<(&'static str, String)>,
    /// How the gateway authenticates itself there.
    pub client_auth: &'static str,
    pub response_types: Vec<String>,
    pub challenge_methods: Option<Vec<String>>,
    pub client_auth_methods: Option<Vec<String>>,
    pub keys: Vec<ListedKey>,
    pub fetched_at: SystemTime,
    /// When the keys were looked at last: they may be younger.
    pub keys_at: SystemTime,
}

impl Provider {
    pub fn standing(&self) -> Standing {
        let settings = &self.settings;
        let posted = settings.response_mode() == ResponseMode::FormPost;
        let snapshot = self.snapshot();
        let shortcomings =
            snapshot.as_ref().map(|known| known.metadata.shortcomings(known.client_auth, settings)).unwrap_or_default();
        Standing {
            configured_issuer: self.issuer().to_owned(),
            client_id: settings.client_id.clone(),
            redirect_uri: self.redirect_uri.to_string(),
            flow: match settings.auth_method {
                AuthMethod::Pkce if posted => "authorization code with PKCE, posted by the browser",
                AuthMethod::Pkce => "authorization code with PKCE",
                AuthMethod::Implicit => "implicit flow, posted by the browser",
                AuthMethod::Hybrid => "hybrid flow with PKCE, posted by the browser",
            },
            scopes: settings.scopes.clone(),
            known: snapshot.map(|known| {
                let metadata = &known.metadata;
                let endpoints = [
                    ("authorization", Some(&metadata.authorization_endpoint)),
                    ("token", Some(&metadata.token_endpoint)),
                    ("keys", Some(&metadata.jwks_uri)),
                    ("userinfo", metadata.userinfo_endpoint.as_ref()),
                    ("end session", metadata.end_session_endpoint.as_ref()),
                    ("revocation", metadata.revocation_endpoint.as_ref()),
                ];
                Known {
                    issuer: metadata.issuer.clone(),
                    endpoints: endpoints.into_iter().filter_map(|(name, url)| Some((name, plain(url?)))).collect(),
                    client_auth: known.client_auth.name().unwrap_or("chosen by the metadata"),
                    response_types: metadata.response_types.clone(),
                    challenge_methods: metadata.challenge_methods.clone(),
                    client_auth_methods: metadata.client_auth_methods.clone(),
                    keys: known.keys.listed(),
                    fetched_at: known.fetched_at,
                    keys_at: known.keys_at,
                }
            }),
            trouble: self.trouble.load_full().map(|trouble| Failure::clone(&trouble)),
            next: self.turns.next(),
            shortcomings,
        }
    }
}
