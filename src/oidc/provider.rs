//! One provider: its settings, and what is known of it at a time. What is done with it is told in the rooms beside this
//! one.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwapOption;
use openidconnect::core::CoreClient;
use openidconnect::{AuthUrl, ClientId, EndpointNotSet, EndpointSet, IssuerUrl, JsonWebKeySet, RedirectUrl};
use tokio::sync::Mutex;
use url::Url;

use super::absent::Lacking;
use super::client::Client;
use super::fresh::LastKeyFetch;
use super::metadata::Metadata;
use super::tenants;
use crate::background::Turns;
use crate::claims::NeededClaims;
use crate::config::model::{ClientAuth, Provider as ProviderSettings, ResponseMode};
use crate::config::values::Secret;
use crate::http_client::HttpClient;
use crate::identity::{Authentication, Identity, NonceDigest};
use crate::issuer_metadata::is_issuer;
use crate::jwe::DecryptionKeys;
use crate::jwt::KeySet;
use crate::reason::{Failure, Reason};

/// A configured provider and what is known of it.
pub struct Provider {
    pub(super) settings: ProviderSettings,
    pub(super) http: HttpClient,
    /// The same, which shows the client's certificate; `None` where it has none, or where `http` shows it to everybody
    /// at the provider, because `client_auth` says so.
    pub(super) http_with_certificate: Option<HttpClient>,
    pub(super) client: Client,
    pub(super) decryption: Option<DecryptionKeys>,
    pub(super) needed: NeededClaims,
    pub(super) redirect_uri: Url,
    /// What was fetched last; none before the first time.
    pub(super) snapshot: ArcSwapOption<Snapshot>,
    /// Why the last fetch failed; none where it did not.
    pub(super) trouble: ArcSwapOption<Failure>,
    /// Of fetching.
    pub(super) turns: Turns,
    /// What tokens had that lacked a claim.
    pub(super) lacking: Lacking,
    /// By [`Sender`](super::fresh::Sender).
    pub(super) key_fetch: [Mutex<LastKeyFetch>; 2],
}

/// openidconnect's client, knowing where to send people and no other endpoint.
pub(super) type AuthorizationClient =
    CoreClient<EndpointSet, EndpointNotSet, EndpointNotSet, EndpointNotSet, EndpointNotSet, EndpointNotSet>;

/// Metadata and keys of one moment, and the client made from them.
#[derive(Clone)]
pub(super) struct Snapshot {
    pub metadata: Metadata,
    pub keys: KeySet,
    /// Writes authorization requests.
    pub client: Arc<AuthorizationClient>,
    pub client_auth: ClientAuth,
    pub fetched_at: SystemTime,
    /// When the keys were fetched, which may be later.
    pub keys_at: SystemTime,
    /// Whether it was fetched by other settings than these: then there is reason to fetch it anew.
    pub of_other_settings: bool,
}

/// Whether people can sign in with a provider.
#[derive(Clone, Debug, PartialEq)]
pub enum Readiness {
    /// With metadata and keys of that time.
    Ready { fetched_at: SystemTime },
    /// Not since the gateway started; the detail of the failure begins with the step that failed.
    NotReady(Failure),
}

/// Somebody who signed in, or whose session was renewed. Its `Debug` shows no token.
#[derive(Clone)]
pub struct SignedIn {
    pub identity: Identity,
    /// Signed, and not encrypted, for `id_token_hint` at sign-out. `None` after a renewal that brought none: the old one stays.
    pub id_token: Option<String>,
    /// `None` where only an ID token was asked for.
    pub access_token: Option<Secret>,
    /// After a renewal that brought none this is the old one, which goes on (RFC 6749 §6).
    pub refresh_token: Option<Secret>,
    /// Unix seconds: by `expires_in`, else by the `exp` of the ID token.
    pub tokens_expire_at: Option<u64>,
    pub authentication: Authentication,
    /// Unix seconds, where it is not now: an ID token that came by the browser may have waited there.
    pub proven_at: Option<u64>,
    /// Of the ID token's `nonce`, for renewals.
    pub nonce: Option<NonceDigest>,
}

/// Why a session was not renewed.
#[derive(Clone, Debug, PartialEq)]
pub enum RefreshFailure {
    /// The provider says no, or says something that cannot be believed. Asking again is no use.
    Refused(Failure),
    /// The provider could not be asked, or did not answer.
    Unavailable(Failure),
}

impl RefreshFailure {
    pub fn failure(&self) -> &Failure {
        match self {
            RefreshFailure::Refused(failure) | RefreshFailure::Unavailable(failure) => failure,
        }
    }
}

impl Provider {
    /// Reads `ca_file`, `decryption_key_file` and the client's key and certificate, and nothing else.
    pub(super) fn new(
        settings: &ProviderSettings,
        public_url: &Url,
        callback: String,
        needed: NeededClaims,
    ) -> Result<Provider, Failure> {
        let redirect_uri = public_url.join(&callback);
        let client = Client::new(settings, public_url)?;
        let http = |identity| HttpClient::new(settings.timeout.0, settings.ca_file.as_deref(), identity);
        let always = client.identity().filter(|_| settings.client_auth == ClientAuth::TlsClientAuth);
        let perhaps = client.identity().filter(|_| always.is_none());
        Ok(Provider {
            http: http(always)?,
            http_with_certificate: perhaps.map(|identity| http(Some(identity))).transpose()?,
            client,
            decryption: settings.decryption_key_file.as_deref().map(DecryptionKeys::from_file).transpose()?,
            settings: settings.clone(),
            needed,
            redirect_uri: redirect_uri
                .map_err(|error| Failure::new(Reason::ConfigInvalid, format!("public_url: {error}")))?,
            snapshot: ArcSwapOption::empty(),
            trouble: ArcSwapOption::empty(),
            turns: Turns::default(),
            lacking: Lacking::default(),
            key_fetch: Default::default(),
        })
    }

    pub fn name(&self) -> &str {
        &self.settings.name
    }

    pub fn display_name(&self) -> &str {
        self.settings.display_name.as_deref().unwrap_or(&self.settings.name)
    }

    /// The configured issuer, in the normal form of an address. The provider's own spelling may lack the slash of a
    /// bare host; see [`is_issuer`].
    pub fn issuer(&self) -> &str {
        self.settings.issuer.as_str()
    }

    /// Whether `text` names this provider's issuer, in either spelling of a bare host.
    pub fn is_issuer(&self, text: &str) -> bool {
        is_issuer(&self.settings.issuer, text)
            || self.settings.tenant_template().is_some_and(|template| tenants::is_called(&template, text))
    }

    /// Path of its redirect URI, which is no other provider's: where an answer comes in says who was asked.
    pub fn callback(&self) -> &str {
        self.redirect_uri.path()
    }

    /// The way in which its answers come back.
    pub fn response_mode(&self) -> ResponseMode {
        self.settings.response_mode()
    }

    /// How far its clock may be off.
    pub fn leeway(&self) -> Duration {
        self.settings.leeway.0
    }

    pub fn readiness(&self) -> Readiness {
        match self.snapshot() {
            Some(snapshot) => Readiness::Ready { fetched_at: snapshot.fetched_at },
            None => Readiness::NotReady(self.trouble.load_full().map_or_else(
                || Failure::new(Reason::ProviderNotReady, "its metadata is being fetched"),
                |trouble| Failure::clone(&trouble),
            )),
        }
    }

    pub(super) fn snapshot(&self) -> Option<Arc<Snapshot>> {
        self.snapshot.load_full()
    }

    /// The snapshot made of these; also where they come from another configuration of the same issuer.
    pub(super) fn snapshot_of(
        &self,
        metadata: Metadata,
        keys: KeySet,
        fetched_at: SystemTime,
    ) -> Result<Snapshot, Failure> {
        let client_auth = metadata.client_auth(self.client.configured(), self.client.means());
        let issuer = IssuerUrl::new(metadata.issuer.clone())
            .map_err(|error| Failure::new(Reason::DiscoveryForm, format!("issuer: {error}")))?;
        // The keys stay out: ID tokens are verified in `id_token.rs`.
        let client = CoreClient::new(ClientId::new(self.client.id().to_owned()), issuer, JsonWebKeySet::default())
            .set_auth_uri(AuthUrl::from_url(metadata.authorization_endpoint.clone()))
            .set_redirect_uri(RedirectUrl::from_url(self.redirect_uri.clone()));
        let client = Arc::new(client);
        let (keys_at, of_other_settings) = (fetched_at, false);
        Ok(Snapshot { metadata, keys, client, client_auth, fetched_at, keys_at, of_other_settings })
    }

    /// What is known of the provider; where nothing is, the failure is that of the step that failed.
    pub(super) fn ready(&self) -> Result<Arc<Snapshot>, Failure> {
        self.snapshot().ok_or_else(|| match self.readiness() {
            Readiness::NotReady(failure) => failure.of_provider(self.name()),
            // Since the first look.
            Readiness::Ready { .. } => Failure::from(Reason::ProviderNotReady).of_provider(self.name()),
        })
    }
}

impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Provider").field("name", &self.name()).field("issuer", &self.issuer()).finish_non_exhaustive()
    }
}

impl fmt::Debug for SignedIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignedIn").field("tokens_expire_at", &self.tokens_expire_at).finish_non_exhaustive()
    }
}
