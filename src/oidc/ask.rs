//! Asking the endpoints that want our credentials. [`Provider::ask`] is the one place that sends them anywhere, by the one
//! way that was chosen for the snapshot.

use std::time::SystemTime;

use http::header::{ACCEPT, CONTENT_TYPE, ORIGIN};
use http::{HeaderMap, HeaderValue};
use openidconnect::HttpResponse;
use url::{Url, form_urlencoded};

use super::client::Parameter;
use super::provider::{Provider, Snapshot};
use crate::config::model::ClientAuth;
use crate::http_client::{HttpClient, HttpError};

/// Names of the endpoints that want our credentials, as metadata has them (RFC 8414 §2).
pub(super) const TOKEN_ENDPOINT: &str = "token_endpoint";
pub(super) const REVOCATION_ENDPOINT: &str = "revocation_endpoint";

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
        headers.extend(self.client.origin().cloned().map(|origin| (ORIGIN, origin)));
        let audience = (snapshot.metadata.issuer.as_str(), url);
        self.client.authenticate(snapshot.client_auth, audience, &mut form, &mut headers, now)?;
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
