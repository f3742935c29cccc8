//! Taking a refresh token back when its session ends (RFC 7009).

use http::HeaderValue;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use openidconnect::HttpRequest;
use url::Url;
use url::form_urlencoded::{Serializer, byte_serialize};

use super::provider::{Provider, Snapshot};
use crate::config::model::ClientAuth;
use crate::config::values::Secret;
use crate::http_client::{HttpError, require_success};
use crate::reason::{Failure, Reason};

impl Provider {
    /// Whether refresh tokens are to be taken back, and can be.
    pub fn revokes(&self) -> bool {
        self.settings.revoke_tokens
            && self.snapshot().is_some_and(|snapshot| snapshot.metadata.revocation_endpoint.is_some())
    }

    /// Takes `refresh_token` back. Nobody waits for it; where it fails the log says so, and the token lives on at the
    /// provider until its own end.
    pub async fn revoke(&self, refresh_token: &Secret) {
        let Some(snapshot) = self.snapshot().filter(|_| self.settings.revoke_tokens) else { return };
        let Some(endpoint) = &snapshot.metadata.revocation_endpoint else { return };
        let outcome = self.ask_to_revoke(&snapshot, endpoint, refresh_token).await.map_err(|error| {
            let reason = match &error {
                HttpError::Status(401, _) => Reason::ClientRefused,
                HttpError::Status(status, _) if *status < 500 && *status != 429 => Reason::TokenAnswer,
                _ => Reason::ProviderUnreachable,
            };
            Failure::new(reason, format!("revocation endpoint: {error}"))
        });
        if let Err(failure) = self.counted("revocation", outcome) {
            tracing::warn!(provider = self.name(), %failure, "a refresh token was not taken back");
        }
    }

    async fn ask_to_revoke(&self, snapshot: &Snapshot, endpoint: &Url, token: &Secret) -> Result<(), HttpError> {
        let form = vec![("token", token.expose().to_owned()), ("token_type_hint", "refresh_token".to_owned())];
        let request = self.authenticated(snapshot, endpoint, form);
        let request = request.ok_or_else(|| HttpError::Setup("not an address or secret".into()))?;
        require_success(&self.http.send(request).await?)
    }

    /// A form to `endpoint` by which we authenticate ourselves exactly one way (RFC 6749 §2.3.1).
    fn authenticated(&self, snapshot: &Snapshot, endpoint: &Url, mut form: Vec<(&str, String)>) -> Option<HttpRequest> {
        let client_id = &self.settings.client_id;
        let mut authorization = None;
        match (snapshot.client_auth, &self.settings.client_secret) {
            (ClientAuth::ClientSecretBasic, Some(secret)) => {
                let encoded = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
                authorization = Some(basic(&encoded(client_id), &encoded(secret.expose()))?);
            }
            (ClientAuth::ClientSecretPost, Some(secret)) => {
                form.push(("client_id", client_id.clone()));
                form.push(("client_secret", secret.expose().to_owned()));
            }
            _ => form.push(("client_id", client_id.clone())),
        }
        let mut request = http::Request::post(endpoint.as_str())
            .header(ACCEPT, "application/json")
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        if let Some(value) = authorization {
            request = request.header(AUTHORIZATION, value);
        }
        let body = Serializer::new(String::new()).extend_pairs(form).finish();
        request.body(body.into_bytes()).ok()
    }
}

fn basic(user: &str, password: &str) -> Option<HeaderValue> {
    use base64::Engine;
    let encoded = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
    let mut value = HeaderValue::from_str(&format!("Basic {encoded}")).ok()?;
    value.set_sensitive(true);
    Some(value)
}
