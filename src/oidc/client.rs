//! Who the gateway is to a provider, and how it proves that: client authentication (RFC 6749 §2.3, OpenID Connect Core
//! §9, RFC 7523 §2.2, RFC 8705 §2).
//!
//! [`Provider::ask`] is the one place that sends our credentials anywhere. Promise: exactly one way of authentication in
//! a request, chosen once for each snapshot; secrets, keys and assertions are in no log, error or `Debug`.

use std::fmt;
use std::path::Path;
use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, ORIGIN};
use http::{HeaderMap, HeaderValue};
use openidconnect::HttpResponse;
use serde_json::Value;
use url::{Url, form_urlencoded};

use super::credentials::{ASSERTION_TYPE, AssertionSigner};
use super::provider::{Provider, Snapshot};
use crate::config::model::{AssertionAudience, ClientAuth, Provider as ProviderSettings};
use crate::config::values::Secret;
use crate::http_client::{HttpClient, HttpError, Identity};
use crate::reason::{Failure, Reason};

/// A parameter of a request: name and value.
pub(super) type Parameter = (&'static str, String);

/// Names of the endpoints that want our credentials, as metadata has them (RFC 8414 §2).
pub(super) const TOKEN_ENDPOINT: &str = "token_endpoint";
pub(super) const REVOCATION_ENDPOINT: &str = "revocation_endpoint";

/// What there is to authenticate with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Means {
    pub secret: bool,
    pub key: bool,
    pub certificate: bool,
}

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
                let key = read(key_file)?;
                let certificate = settings.client_certificate_file.as_deref().map(read).transpose()?;
                let unusable = |failure| named(key_file, failure);
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

    /// Adds to a request to `url` what proves that it is ours, by the way that was chosen.
    ///
    /// An assertion names nobody but who gets it: a provider's metadata can claim another's endpoints beside its own, and
    /// where one of them became the audience of what is sent to another, the provider would collect assertions that
    /// are good elsewhere. The issuer is safe, because it is the one that is configured.
    fn authenticate(
        &self,
        snapshot: &Snapshot,
        url: &Url,
        form: &mut Vec<Parameter>,
        headers: &mut HeaderMap,
        now: SystemTime,
    ) -> Result<(), HttpError> {
        match (snapshot.client_auth, &self.secret, &self.signer) {
            (ClientAuth::ClientSecretBasic, Some(secret), _) => {
                headers.insert(AUTHORIZATION, basic(&self.id, secret)?);
                return Ok(());
            }
            (ClientAuth::ClientSecretPost, Some(secret), _) => {
                form.push(("client_secret", secret.expose().to_owned()));
            }
            (ClientAuth::ClientSecretJwt | ClientAuth::PrivateKeyJwt, _, Some(signer)) => {
                let audience = match self.audience {
                    AssertionAudience::Issuer => snapshot.metadata.issuer.as_str(),
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

impl Snapshot {
    /// Where the endpoint that metadata calls `name` is asked: a client that shows a certificate goes to the alias, where
    /// there is one (RFC 8705 §5).
    pub fn dialled<'s>(&'s self, name: &str, endpoint: &'s Url) -> &'s Url {
        let alias = self.metadata.mtls_alias(name).filter(|_| self.client_auth == ClientAuth::TlsClientAuth);
        alias.unwrap_or(endpoint)
    }
}

impl Provider {
    /// Posts `form` with our credentials to `endpoint`, which metadata calls `name`, and returns the answer whatever its
    /// status.
    pub(super) async fn ask(
        &self,
        snapshot: &Snapshot,
        (name, endpoint): (&str, &Url),
        mut form: Vec<Parameter>,
        now: SystemTime,
    ) -> Result<HttpResponse, HttpError> {
        let url = snapshot.dialled(name, endpoint);
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        headers.extend(self.client.origin.clone().map(|origin| (ORIGIN, origin)));
        self.client.authenticate(snapshot, url, &mut form, &mut headers, now)?;
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish().into_bytes();
        let mut request = http::Request::post(url.as_str())
            .body(body)
            .map_err(|_| HttpError::Setup("the endpoint is not an address".into()))?;
        *request.headers_mut() = headers;
        self.http_of(snapshot).send(request).await
    }

    /// What sends requests that our certificate may stand for. It shows the certificate only where that is the way that was
    /// chosen, so that nobody sees two ways.
    pub(super) fn http_of(&self, snapshot: &Snapshot) -> &HttpClient {
        let with_certificate = self.http_with_certificate.as_ref();
        with_certificate.filter(|_| snapshot.client_auth == ClientAuth::TlsClientAuth).unwrap_or(&self.http)
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

fn read(path: impl AsRef<Path>) -> Result<String, Failure> {
    let path = path.as_ref();
    std::fs::read_to_string(path)
        .map_err(|error| Failure::new(Reason::CertificateUnusable, format!("{}: {error}", path.display())))
}

/// The failure with the file that it is about.
fn named(path: &Path, failure: Failure) -> Failure {
    Failure::new(failure.reason, format!("{}: {}", path.display(), failure.detail))
}
