//! Who the gateway is to a provider, and how it proves that: client authentication (RFC 6749 §2.3, OpenID Connect Core
//! §9, RFC 7523 §2.2, RFC 8705 §2).
//!
//! Promise: exactly one way of authentication in a request; an assertion names nobody but who gets it; secrets, keys and
//! assertions are in no log, error or `Debug`.

use std::fmt;
use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};
use serde_json::Value;
use url::{Url, form_urlencoded};

use super::credentials::{ASSERTION_TYPE, AssertionSigner};
use super::metadata::Means;
use crate::config::model::{AssertionAudience, ClientAuth, Provider as ProviderSettings};
use crate::config::values::Secret;
use crate::http_client::{HttpError, Identity};
use crate::pem;
use crate::reason::{Failure, Reason};

/// A parameter of a request: name and value.
pub(super) type Parameter = (&'static str, String);

/// The gateway as the client of one provider.
pub(super) struct Client {
    id: String,
    secret: Option<Secret>,
    /// Of the key in `client_key_file`, or without one of the secret.
    signer: Option<AssertionSigner>,
    audience: AssertionAudience,
    /// Shown where a server asks for it, and `tls_client_auth` is the way.
    identity: Option<Identity>,
    /// `Origin` of requests, where the provider demands it.
    origin: Option<HeaderValue>,
    configured: ClientAuth,
    means: Means,
}

impl Client {
    /// Reads `client_key_file` and `client_certificate_file`. [`Reason::CertificateUnusable`] says what is wrong with
    /// them.
    pub fn new(settings: &ProviderSettings, public_url: &Url) -> Result<Client, Failure> {
        let means = Means {
            secret: settings.client_secret.is_some(),
            key: settings.client_key_file.is_some(),
            certificate: settings.client_certificate_file.is_some(),
        };
        let origin = settings.send_origin.then(|| HeaderValue::from_str(&public_url.origin().ascii_serialization()));
        let origin = origin.transpose().map_err(|_| Failure::new(Reason::ConfigInvalid, "public_url has no origin"))?;
        let mut client = Client {
            id: settings.client_id.clone(),
            secret: settings.client_secret.clone(),
            signer: None,
            audience: settings.client_assertion_audience,
            identity: None,
            origin,
            configured: settings.client_auth,
            means,
        };
        let algorithm = settings.client_assertion_algorithm;
        match (&settings.client_key_file, &client.secret, settings.client_auth) {
            (Some(key_file), _, auth) => {
                let key = pem::read(key_file)?;
                let certificate = settings.client_certificate_file.as_deref().map(pem::read).transpose()?;
                let unusable = |failure| pem::named(key_file, failure);
                if matches!(auth, ClientAuth::Auto | ClientAuth::PrivateKeyJwt) {
                    let id = settings.client_key_id.as_deref();
                    let signer = AssertionSigner::from_key(&key, algorithm, id, certificate.as_deref());
                    client.signer = Some(signer.map_err(unusable)?);
                }
                if let (Some(certificate), ClientAuth::Auto | ClientAuth::TlsClientAuth) = (&certificate, auth) {
                    client.identity = Some(Identity::from_pem(certificate, &key).map_err(unusable)?);
                }
            }
            (None, Some(secret), ClientAuth::Auto | ClientAuth::ClientSecretJwt) => {
                client.signer = Some(AssertionSigner::from_secret(secret, algorithm)?);
            }
            _ => {}
        }
        Ok(client)
    }

    /// The key that signs assertions, as the provider has to know it; `None` where none does.
    pub fn public_jwk(&self) -> Option<Value> {
        self.signer.as_ref().and_then(AssertionSigner::public_jwk)
    }

    /// `Origin` of requests, where the provider demands it.
    pub fn origin(&self) -> Option<&HeaderValue> {
        self.origin.as_ref()
    }

    pub fn id(&self) -> &str {
        &self.id
    }

    /// What is shown to servers that ask who we are, where `tls_client_auth` is the way.
    pub fn identity(&self) -> Option<&Identity> {
        self.identity.as_ref()
    }

    pub fn configured(&self) -> ClientAuth {
        self.configured
    }

    pub fn means(&self) -> Means {
        self.means
    }

    /// Adds to a request to `url` what proves that it is ours, by `auth`, which is not [`ClientAuth::Auto`]. `issuer` is
    /// the provider's own spelling.
    ///
    /// An assertion names nobody but who gets it: a provider's metadata can claim another's endpoints beside its own, and
    /// where one of them became the audience of what is sent to another, the provider would collect assertions that
    /// are good elsewhere. The issuer is safe, because it is the one that is configured.
    pub(super) fn authenticate(
        &self,
        auth: ClientAuth,
        (issuer, url): (&str, &Url),
        form: &mut Vec<Parameter>,
        headers: &mut HeaderMap,
        now: SystemTime,
    ) -> Result<(), HttpError> {
        match (auth, &self.secret, &self.signer) {
            (ClientAuth::ClientSecretBasic, Some(secret), _) => {
                headers.insert(AUTHORIZATION, basic(&self.id, secret)?);
                return Ok(());
            }
            (ClientAuth::ClientSecretPost, Some(secret), _) => {
                form.push(("client_secret", secret.expose().to_owned()));
            }
            (ClientAuth::ClientSecretJwt | ClientAuth::PrivateKeyJwt, _, Some(signer)) => {
                let audience = match self.audience {
                    AssertionAudience::Issuer => issuer,
                    AssertionAudience::Endpoint => url.as_str(),
                };
                let assertion = signer.assertion(&self.id, audience, now);
                let assertion = assertion.map_err(|failure| HttpError::Setup(failure.detail))?;
                form.push(("client_assertion_type", ASSERTION_TYPE.to_owned()));
                form.push(("client_assertion", assertion.expose().to_owned()));
            }
            // The certificate of the handshake proves it, or PKCE alone protects the code.
            _ => {}
        }
        form.push(("client_id", self.id.clone()));
        Ok(())
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("id", &self.id).field("means", &self.means).finish_non_exhaustive()
    }
}

/// RFC 6749 §2.3.1: id and secret are form-encoded before they become a Basic header.
fn basic(id: &str, secret: &Secret) -> Result<HeaderValue, HttpError> {
    let encode = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let pair = format!("{}:{}", encode(id), encode(secret.expose()));
    let value = HeaderValue::from_str(&format!("Basic {}", STANDARD.encode(pair)));
    let mut value = value.map_err(|_| HttpError::Setup("the client secret does not fit into a header".into()))?;
    value.set_sensitive(true);
    Ok(value)
}
