//! Trying a provider out, with what a sign-in would send and without one: for the self-check.
//!
//! Promise: what is asked is what [`Provider::begin_with`] and the token endpoint's client would ask, with two
//! differences: `prompt` is `none`, so that nobody is asked to sign in, and the code is made up, so that nobody is
//! signed in by it. Nothing is kept, counted or logged.

use std::sync::Arc;
use std::time::SystemTime;

use url::Url;

use super::attempt::{Begun, Wish};
use super::metadata::Metadata;
use super::provider::{Provider, Snapshot};
use super::token::TokenFailure;
use crate::claims::NeededClaims;
use crate::config::model::{self, AuthMethod, ClientAuth, Settings, TokenAlgorithm};
use crate::http_client::HttpClient;
use crate::jwt::KeySet;
use crate::reason::Failure;

/// A code that no provider has issued.
const MADE_UP: &str = "doorward-doctor-made-this-up";

/// A provider that is tried out.
pub struct Trial {
    provider: Provider,
}

/// What the token endpoint said to a code that was made up.
#[derive(Clone, Debug, PartialEq)]
pub enum Answered {
    /// `invalid_grant`: it knows the client, and not the code.
    NotTheCode,
    /// Tokens, for nothing.
    Tokens,
    /// Another error, and what it means at a sign-in.
    Refused { error: String, failure: Failure },
    /// No answer, or one that is none of a token endpoint.
    Failed(Failure),
}

impl Trial {
    /// The provider at `index` of `settings`, as it would be asked by a gateway of these settings. Reads its files.
    pub fn new(settings: &Settings, index: usize) -> Option<Result<Trial, Failure>> {
        let mut of_provider = settings.provider.get(index)?.clone();
        // Core §3.1.2.1: no page is shown, and who is not signed in there is answered so.
        of_provider.prompt = Some("none".to_owned());
        let callback = model::callback(index, &of_provider.name);
        let provider = Provider::new(&of_provider, &settings.public_url, callback, NeededClaims::of(settings));
        Some(provider.map(|provider| Trial { provider }))
    }

    pub fn http(&self) -> &HttpClient {
        &self.provider.http
    }

    pub fn redirect_uri(&self) -> &Url {
        &self.provider.redirect_uri
    }

    /// With the remedy that names what is this provider's own, as at a sign-in.
    pub fn with_own_names(&self, failure: Failure) -> Failure {
        self.provider.with_own_names(failure)
    }

    /// Takes over the metadata that was fetched; fails as a gateway's start would.
    pub fn learn(&self, metadata: &[u8]) -> Result<Learnt<'_>, Failure> {
        let metadata = Metadata::parse(metadata, &self.provider.settings)?;
        let snapshot = self.provider.snapshot_of(metadata, KeySet::ed25519(&[]), SystemTime::now())?;
        self.provider.snapshot.store(Some(Arc::new(snapshot.clone())));
        Ok(Learnt { provider: &self.provider, snapshot })
    }
}

/// A provider whose metadata are known.
pub struct Learnt<'t> {
    provider: &'t Provider,
    snapshot: Snapshot,
}

impl Learnt<'_> {
    pub fn jwks_uri(&self) -> &Url {
        &self.snapshot.metadata.jwks_uri
    }

    /// The algorithm of ID tokens where the provider signs them with the client secret alone.
    pub fn secret_signs(&self) -> Option<TokenAlgorithm> {
        self.snapshot.metadata.secret_signs()
    }

    pub fn token_endpoint(&self) -> &Url {
        &self.snapshot.metadata.token_endpoint
    }

    /// How the gateway authenticates itself there.
    pub fn client_auth(&self) -> ClientAuth {
        self.snapshot.client_auth
    }

    /// Ways of client authentication that the provider lists.
    pub fn client_auth_methods(&self) -> Option<&[String]> {
        self.snapshot.metadata.client_auth_methods.as_deref()
    }

    /// Response types that the provider lists.
    pub fn response_types(&self) -> &[String] {
        &self.snapshot.metadata.response_types
    }

    /// What the configuration asks for and the metadata do not list.
    pub fn shortcomings(&self) -> Vec<Failure> {
        self.snapshot.metadata.shortcomings(self.snapshot.client_auth, &self.provider.settings)
    }

    /// Where a browser would be sent for a sign-in, if nobody were to be asked anything.
    pub fn authorization_request(&self, now: SystemTime) -> Result<Begun, Failure> {
        self.provider.begin_with(&Wish::default(), "/", "doctor", now)
    }

    /// Whether a sign-in asks the token endpoint at all.
    pub fn redeems_codes(&self) -> bool {
        self.provider.settings.auth_method != AuthMethod::Implicit
    }

    /// Redeems a code that was made up, authenticated by `way`.
    pub async fn redeem_made_up(&self, way: ClientAuth, now: SystemTime) -> Answered {
        let snapshot = Snapshot { client_auth: way, ..self.snapshot.clone() };
        // As long as RFC 7636 §4.1 wants it.
        let verifier = "doorward-doctor-".repeat(3);
        match self.provider.redeem(&snapshot, MADE_UP, &verifier, now).await {
            Ok(_) => Answered::Tokens,
            Err(TokenFailure::Refused { error, .. }) if error == "invalid_grant" => Answered::NotTheCode,
            Err(TokenFailure::Refused { error, description }) => {
                let failure =
                    TokenFailure::Refused { error: error.clone(), description }.at_sign_in(self.provider, way);
                Answered::Refused { error, failure }
            }
            Err(failure) => Answered::Failed(failure.at_sign_in(self.provider, way)),
        }
    }
}
