//! An issuer's addresses, for the self-check: where its metadata and keys are asked for, and what is read of them.
//!
//! Nothing is fetched here, and nothing kept.

use url::Url;

use super::metadata::Place;
use crate::config::model::{Issuer, Settings};
use crate::http_client::HttpClient;
use crate::reason::Failure;

/// An issuer that is tried out.
pub struct Trial {
    settings: Issuer,
    place: Place,
    http: HttpClient,
}

impl Trial {
    /// The issuer at `index` of `settings`, with what it takes from its `[[provider]]`. Reads `ca_file`.
    pub fn new(settings: &Settings, index: usize) -> Option<Result<Trial, Failure>> {
        let configured = settings.issuer.get(index)?;
        let provider = settings.provider_of(configured);
        let settings = provider.map_or_else(|| configured.clone(), |provider| configured.resolved(provider));
        let http = HttpClient::new(settings.timeout(), settings.ca_file.as_deref(), None);
        Some(http.map(|http| Trial { place: Place::new(&settings), http, settings }))
    }

    /// Its settings, with what it takes from its `[[provider]]`.
    pub fn settings(&self) -> &Issuer {
        &self.settings
    }

    pub fn http(&self) -> &HttpClient {
        &self.http
    }

    /// Where its metadata are asked for: first, and where they are not there.
    pub fn metadata_addresses(&self) -> Result<[Url; 2], Failure> {
        self.place.metadata_addresses()
    }

    /// Where its keys are asked for, where no metadata are needed to know that.
    pub fn configured_keys(&self) -> Option<Url> {
        self.settings.jwks_uri.as_ref().map(|url| self.place.dialled(url))
    }

    /// Where its keys are asked for, as its metadata say; `None` where its tokens are opaque ones alone.
    pub fn keys_of(&self, metadata: &[u8]) -> Result<Option<Url>, Failure> {
        self.place.read(metadata).map(|metadata| metadata.jwks_uri)
    }
}
