//! Who somebody is, by the ID token and, where asked for, the userinfo endpoint (OpenID Connect Core §5.3).

use serde_json::{Map, Value};
use url::Url;

use super::id_token::VerifiedIdToken;
use super::provider::{Provider, Snapshot};
use super::token::Tokens;
use crate::claims::{self, ClaimNames};
use crate::config::values::Secret;
use crate::identity::Identity;
use crate::reason::{Failure, Reason};

impl Provider {
    pub(super) async fn identity(
        &self,
        snapshot: &Snapshot,
        tokens: &Tokens,
        verified: &VerifiedIdToken,
    ) -> Result<Identity, Failure> {
        let mut claims = verified.claims.clone();
        let endpoint = snapshot.metadata.userinfo_endpoint.as_ref().filter(|_| self.settings.userinfo);
        if let (Some(endpoint), Some(access_token)) = (endpoint, &tokens.access_token) {
            let said = self.userinfo(endpoint, access_token, &verified.subject).await;
            for (name, value) in self.counted("userinfo", said)? {
                claims.entry(name).or_insert(value);
            }
        }
        claims::identity(&ClaimNames::of_provider(&self.settings), &self.needed, &verified.subject, &claims)
    }

    /// The claims of the userinfo endpoint (OpenID Connect Core §5.3), of the same subject or not at all.
    pub(super) async fn userinfo(
        &self,
        endpoint: &Url,
        access_token: &Secret,
        subject: &str,
    ) -> Result<Map<String, Value>, Failure> {
        use crate::http_client::HttpError as Http;
        let body = self.http.get_json(endpoint, Some(access_token)).await.map_err(|error| {
            let reason = match &error {
                Http::Status(status, _) if *status < 500 && *status != 429 => Reason::TokenAnswer,
                Http::ContentType(_) | Http::TooLarge | Http::Setup(_) => Reason::TokenAnswer,
                _ => Reason::ProviderUnreachable,
            };
            Failure::new(reason, format!("userinfo: {error}"))
        })?;
        let claims: Map<String, Value> = serde_json::from_slice(&body)
            .map_err(|_| Failure::new(Reason::TokenAnswer, "userinfo: the answer is no JSON object"))?;
        // Core §5.3.2: else another person's claims could be put in.
        match claims.get("sub").and_then(Value::as_str) {
            Some(sub) if sub == subject => Ok(claims),
            _ => Err(Failure::new(Reason::TokenAnswer, "userinfo: its `sub` is not that of the ID token")),
        }
    }
}
