//! Renewing the tokens of a session.

use std::time::SystemTime;

use super::id_token::{Expected, check_renewed};
use super::provider::{Provider, RefreshFailure, SignedIn};
use super::sign_in::signed_in;
use super::token::TokenFailure;
use crate::config::model::Preset;
use crate::config::values::Secret;
use crate::identity::{Identity, NonceDigest};
use crate::reason::{Failure, Reason};

/// What is known of a session that is renewed.
#[derive(Clone, Copy)]
pub struct Previous<'a> {
    pub identity: &'a Identity,
    /// Of its sign-in; `None` where it was not kept.
    pub nonce: Option<NonceDigest>,
    /// `auth_time` of its sign-in, where the provider said it.
    pub authenticated_at: Option<u64>,
}

impl Provider {
    /// Renews the tokens of a session, and with them what is known of `previous` where the provider says it anew.
    ///
    /// An ID token that comes along has to be for the same subject of the same issuer and audience, and of the same sign-in
    /// (OpenID Connect Core §12.2). Where none comes, or one that says nothing but who it is for, the identity stays as it is.
    pub async fn refresh(
        &self,
        refresh_token: &Secret,
        previous: Previous<'_>,
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
        let Some(id_token) = &tokens.id_token else {
            return Ok(signed_in(previous.identity.clone(), tokens, None, now));
        };
        let expected = Expected { clock: tokens.clock, ..self.expected(&snapshot, tokens.access_token.as_ref(), now) };
        let verified = self.verify(&snapshot, id_token, &expected).await.map_err(RefreshFailure::Refused)?;
        if verified.subject != previous.identity.subject {
            let detail = "the renewed ID token is of another subject";
            return Err(RefreshFailure::Refused(Failure::new(Reason::RefreshRefused, detail)));
        }
        // Theirs is the person's last sign-in in any browser, or at any client of the same session.
        let later = matches!(self.settings.preset, Preset::Gitlab | Preset::Keycloak);
        check_renewed(&verified.claims, previous.nonce, previous.authenticated_at, later)
            .map_err(RefreshFailure::Refused)?;
        let renewed = self.renewed_identity(&snapshot, &tokens, &verified, previous.identity).await;
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
