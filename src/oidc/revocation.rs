//! Taking a refresh token back when its session ends (RFC 7009).

use std::time::SystemTime;

use url::Url;

use super::ask::REVOCATION_ENDPOINT;
use super::provider::{Provider, Snapshot};
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
    pub async fn revoke(&self, refresh_token: &Secret, now: SystemTime) {
        let Some(snapshot) = self.snapshot().filter(|_| self.settings.revoke_tokens) else { return };
        let Some(endpoint) = &snapshot.metadata.revocation_endpoint else { return };
        let outcome = self.ask_to_revoke(&snapshot, endpoint, refresh_token, now).await.map_err(|error| {
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

    async fn ask_to_revoke(
        &self,
        snapshot: &Snapshot,
        endpoint: &Url,
        token: &Secret,
        now: SystemTime,
    ) -> Result<(), HttpError> {
        let form = vec![("token", token.expose().to_owned()), ("token_type_hint", "refresh_token".to_owned())];
        let (response, _) = self.ask(snapshot, (REVOCATION_ENDPOINT, endpoint), form, now).await?;
        require_success(&response)
    }
}
