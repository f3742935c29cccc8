//! Renewing the tokens of a session.

use std::time::SystemTime;

use super::id_token::Expected;
use super::provider::{Provider, RefreshFailure, SignedIn};
use super::sign_in::signed_in;
use super::token::TokenFailure;
use crate::config::values::Secret;
use crate::identity::Identity;
use crate::reason::{Failure, Reason};

impl Provider {
    /// Renews the tokens of a session, and with them what is known of `previous` where the provider says it anew.
    ///
    /// An ID token that comes along has to be for the same subject of the same issuer and audience (OpenID Connect
    /// Core §12.2). Where none comes, or one that says nothing but who it is for, `previous` stays as it is.
    pub async fn refresh(
        &self,
        refresh_token: &Secret,
        previous: &Identity,
        now: SystemTime,
    ) -> Result<SignedIn, RefreshFailure> {
        let snapshot = self.ready().map_err(RefreshFailure::Unavailable)?;
        let auth = snapshot.client_auth;
        let answer = self.exchange_refresh_token(&snapshot, refresh_token, now).await.map_err(|failure| {
            // A page instead of JSON is a proxy's or a maintenance page more often than an answer.
            let answered = matches!(failure, TokenFailure::Refused { .. });
            let failure = failure.at_sign_in(self, auth);
            match failure.reason {
                Reason::ProviderUnreachable => RefreshFailure::Unavailable(failure.renamed(Reason::RefreshUnavailable)),
                _ if !answered => RefreshFailure::Unavailable(failure.renamed(Reason::RefreshUnavailable)),
                Reason::CodeRefused | Reason::TokenAnswer => {
                    RefreshFailure::Refused(failure.renamed(Reason::RefreshRefused))
                }
                _ => RefreshFailure::Refused(failure),
            }
        });
        let label = answer.as_ref().map_or_else(|failure| failure.failure().reason.code(), |_| "ok");
        crate::telemetry::metrics().provider_fetches.with_label_values(&[self.name(), "refresh", label]).inc();
        let mut tokens = answer?;
        tokens.refresh_token.get_or_insert_with(|| refresh_token.clone());
        let Some(id_token) = &tokens.id_token else { return Ok(signed_in(previous.clone(), tokens, None, now)) };
        let expected = Expected { clock: tokens.clock, ..self.expected(&snapshot, tokens.access_token.as_ref(), now) };
        let verified = self.verify(&snapshot, id_token, &expected).await.map_err(RefreshFailure::Refused)?;
        if verified.subject != previous.subject {
            let detail = "the renewed ID token is of another subject";
            return Err(RefreshFailure::Refused(Failure::new(Reason::RefreshRefused, detail)));
        }
        let renewed = self.renewed_identity(&snapshot, &tokens, &verified, previous).await;
        let identity = match renewed {
            Ok(identity) => identity,
            Err(failure) if failure.reason == Reason::ProviderUnreachable => {
                return Err(RefreshFailure::Unavailable(failure));
            }
            Err(failure) => return Err(RefreshFailure::Refused(failure)),
        };
        Ok(signed_in(identity, tokens, Some(&verified), now))
    }
}
