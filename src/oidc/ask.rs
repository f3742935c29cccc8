//! Asking the endpoints that want our credentials. [`Provider::ask`] is the one place that sends them anywhere, by the one
//! way that was chosen for the snapshot.

use std::time::SystemTime;

use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, ORIGIN};
use http::{HeaderMap, HeaderValue};
use openidconnect::HttpResponse;
use url::{Url, form_urlencoded};

use super::client::Parameter;
use super::provider::{Provider, Snapshot};
use crate::config::model::ClientAuth;
use crate::http_client::{HttpClient, HttpError};
use crate::sent::Sent;

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
    /// status, with what was sent to get it: whoever answers may quote that.
    pub(super) async fn ask(
        &self,
        snapshot: &Snapshot,
        (name, endpoint): (&str, &Url),
        mut form: Vec<Parameter>,
        now: SystemTime,
    ) -> Result<(HttpResponse, Sent), HttpError> {
        let url = snapshot.dialled(name, endpoint);
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        headers.extend(self.client.origin().cloned().map(|origin| (ORIGIN, origin)));
        let audience = (snapshot.metadata.issuer.as_str(), url);
        self.client.authenticate(snapshot.client_auth, audience, &mut form, &mut headers, now)?;
        let sent = sent(&form, &headers);
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish().into_bytes();
        let mut request = http::Request::post(url.as_str())
            .body(body)
            .map_err(|_| HttpError::Setup("the endpoint is not an address".into()))?;
        *request.headers_mut() = headers;
        Ok((self.http_of(snapshot).send(request).await?, sent))
    }

    /// What sends requests that our certificate may stand for. It shows the certificate only where that is the way that was
    /// chosen, so that nobody sees two ways.
    pub(super) fn http_of(&self, snapshot: &Snapshot) -> &HttpClient {
        let with_certificate = self.http_with_certificate.as_ref();
        with_certificate.filter(|_| snapshot.client_auth == ClientAuth::TlsClientAuth).unwrap_or(&self.http)
    }
}

/// What nobody else may read of a request: secrets, codes, tokens and assertions, which are what is not listed here.
fn sent(form: &[Parameter], headers: &HeaderMap) -> Sent {
    const PLAIN: [&str; 6] =
        ["grant_type", "redirect_uri", "client_id", "client_assertion_type", "token_type_hint", "scope"];
    let mut sent = Sent::new(form.iter().filter(|(name, _)| !PLAIN.contains(name)).map(|(_, value)| value.as_str()));
    if let Some(basic) = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()) {
        sent.add_basic(basic);
    }
    sent
}
