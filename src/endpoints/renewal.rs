//! Renewing a session with the provider's refresh token, once, however many requests bring it.

use std::sync::Arc;

use super::sign_in::count;
use super::{Context, Visit};
use crate::config::model::OnRefreshFailure;
use crate::config::values::Secret;
use crate::identity::Identity;
use crate::oidc::{Previous, Provider, RefreshFailure};
use crate::reason::{Failure, Reason};
use crate::session::renewals::Renewals;
use crate::session::{Session, Tokens};
use crate::telemetry::{Audit, Decision, audit};

/// Renewals of all sessions that are in flight or were lately done.
pub type SessionRenewals = Renewals<Outcome>;

/// What a renewal came to, shared by all requests that brought the old session.
#[derive(Clone)]
pub enum Outcome {
    Renewed(Arc<(Identity, Tokens)>),
    Refused(Failure),
    Unavailable(Failure),
}

/// What a request does after its session was due.
pub enum Renewal {
    /// The session is now this, and the browser gets it.
    Store(Box<Session>),
    /// It goes on as it is; the next request tries again, a while from now.
    Keep,
    /// The person signs in again.
    SignIn(Failure),
}

/// Renews `session`, which is due, or joins whoever is at it.
pub async fn renew(context: &Context, visit: &Visit<'_>, session: &Session) -> Renewal {
    let (Some(tokens), Some(provider)) = (&session.tokens, context.providers.get(&session.identity.provider)) else {
        return Renewal::Keep;
    };
    let key = (session.id.clone(), tokens.renewed);
    let (provider, tokens, before, now) = (provider.clone(), tokens.clone(), session.clone(), visit.now);
    let outcome = context.renewals.share(key, || ask(provider, tokens, before, now)).await;
    let outcome = outcome.unwrap_or_else(|| Outcome::Unavailable(Reason::RefreshUnavailable.into()));
    let keep = context.config.settings.session.on_refresh_failure == OnRefreshFailure::Keep;
    match outcome {
        Outcome::Renewed(news) => {
            let (identity, tokens) = (*news).clone();
            note(visit, session, Decision::Allow, None, "");
            Renewal::Store(Box::new(Session {
                identity,
                tokens: Some(tokens),
                last_used: visit.seconds(),
                ..session.clone()
            }))
        }
        // The token is spent: kept, it would be refused again with every request.
        Outcome::Refused(failure) if keep => {
            note(visit, session, Decision::Allow, Some(Reason::RefreshRefused), &failure.detail);
            Renewal::Store(Box::new(Session { tokens: None, last_used: visit.seconds(), ..session.clone() }))
        }
        Outcome::Unavailable(_) if keep => Renewal::Keep,
        Outcome::Refused(failure) => sign_in(visit, session, failure.renamed(Reason::RefreshRefused)),
        Outcome::Unavailable(failure) => sign_in(visit, session, failure.renamed(Reason::RefreshUnavailable)),
    }
}

fn sign_in(visit: &Visit<'_>, session: &Session, failure: Failure) -> Renewal {
    note(visit, session, Decision::Deny, Some(failure.reason), &failure.detail);
    Renewal::SignIn(failure)
}

async fn ask(provider: Arc<Provider>, tokens: Tokens, before: Session, now: std::time::SystemTime) -> Outcome {
    let previous =
        Previous { identity: &before.identity, nonce: tokens.nonce, authenticated_at: before.authentication.at };
    let outcome = match provider.refresh(&Secret::new(tokens.refresh_token.clone()), previous, now).await {
        Ok(news) => {
            let refresh_token = news.refresh_token.map_or(tokens.refresh_token, |token| token.expose().to_owned());
            let lifetime = std::time::Duration::from_secs(super::new_session::DEFAULT_TOKEN_LIFETIME);
            let expire_at = news.tokens_expire_at.unwrap_or_else(|| crate::clock::unix_seconds(now + lifetime));
            Outcome::Renewed(Arc::new((
                news.identity,
                Tokens { refresh_token, expire_at, renewed: tokens.renewed.wrapping_add(1), nonce: tokens.nonce },
            )))
        }
        Err(RefreshFailure::Refused(failure)) => Outcome::Refused(failure),
        Err(RefreshFailure::Unavailable(failure)) => Outcome::Unavailable(failure),
    };
    count(
        "refresh",
        match &outcome {
            Outcome::Renewed(_) => None,
            Outcome::Refused(_) => Some(Reason::RefreshRefused),
            Outcome::Unavailable(_) => Some(Reason::RefreshUnavailable),
        },
    );
    outcome
}

fn note(visit: &Visit<'_>, session: &Session, decision: Decision, reason: Option<Reason>, detail: &str) {
    let who = &session.identity;
    let line = Audit {
        reason,
        detail,
        provider: Some(&who.provider),
        subject: Some(&who.subject),
        user: Some(&who.user),
        peer: visit.client,
        ..Audit::new(visit.reference, "session_renewed", decision)
    };
    audit::record(&line, visit.now);
}
