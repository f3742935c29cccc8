//! Somebody who signed in, without the sign-in: a session as a sign-in makes it, sealed with the gateway's own keys.

use http::{HeaderMap, HeaderValue};
use serde_json::{Map, Value};

use crate::claims::{self, ClaimNames, NeededClaims};
use crate::config::model::{self, RESTORE};
use crate::endpoints::{Context, seal_session};
use crate::identity::{Authentication, Identity};
use crate::oidc::SignedIn;
use crate::reason::Failure;
use crate::words::in_words;

/// A person, in the terms of a session.
#[derive(Clone, Debug, Default)]
pub struct Person {
    /// What the app knows them by.
    pub user: String,
    /// No groups claim at all where `None`.
    pub groups: Option<Vec<String>>,
    pub email: Option<String>,
    /// The `[[provider]]`, or the directory; the first where it is not said.
    pub provider: Option<String>,
}

impl Person {
    /// Fails, in a sentence, where there is no such provider.
    pub(super) fn signed_in(&self, context: &Context, now: u64) -> Result<SignedIn, String> {
        let identity = Identity {
            provider: match &self.provider {
                Some(name) => known(name, context)?,
                None => usual(context),
            },
            subject: self.user.clone(),
            user: self.user.clone(),
            email: self.email.clone(),
            email_verified: None,
            preferred_username: None,
            name: None,
            groups: self.groups.clone(),
            claims: Default::default(),
        };
        let authentication = Authentication { at: Some(now), ..Authentication::default() };
        Ok(session(identity, authentication))
    }

    /// Whoever signed in with an ID token of these claims. The outer failure says that no provider fits; the inner one that
    /// the sign-in fails.
    pub(super) fn of_claims(
        claims: &Map<String, Value>,
        context: &Context,
    ) -> Result<Result<SignedIn, Failure>, String> {
        let settings = &context.config.settings;
        let iss = claims.get("iss").and_then(Value::as_str);
        let name = match iss {
            Some(iss) => context.providers.of_issuer(iss).map(|provider| provider.name().to_owned()),
            None => settings.provider.first().map(|provider| provider.name.clone()),
        };
        let provider = name.and_then(|name| settings.provider.iter().find(|provider| provider.name == name));
        let Some(provider) = provider else {
            return Err(match iss {
                Some(iss) => {
                    format!("`iss` of the claims is {iss:?}, which is neither an [[issuer]] nor a [[provider]]")
                }
                None => "the claims have no `iss`, and there is no [[provider]]".to_owned(),
            });
        };
        Ok(identified(provider, settings, claims))
    }
}

fn identified(
    provider: &model::Provider,
    settings: &model::Settings,
    claims: &Map<String, Value>,
) -> Result<SignedIn, Failure> {
    let text = |name: &str| claims.get(name).and_then(Value::as_str).map(str::to_owned);
    let subject = text("sub").unwrap_or_default();
    let names = ClaimNames::of_provider(provider);
    let identity = claims::identity(&names, &NeededClaims::of(settings), &subject, claims)?;
    let authentication = Authentication {
        provider_session: text("sid"),
        context: text("acr"),
        at: claims.get("auth_time").and_then(Value::as_u64),
    };
    Ok(session(identity, authentication))
}

fn session(identity: Identity, authentication: Authentication) -> SignedIn {
    SignedIn {
        identity,
        id_token: None,
        access_token: None,
        refresh_token: None,
        tokens_expire_at: None,
        authentication,
        proven_at: None,
        nonce: None,
    }
}

/// The name, where somebody can sign in there.
fn known(name: &str, context: &Context) -> Result<String, String> {
    let providers = context.providers.iter().map(|provider| provider.name().to_owned());
    let directory = context.directory().map(|directory| directory.name().to_owned());
    let way_in = context.way_in.as_ref().map(|_| RESTORE.to_owned());
    let names: Vec<String> = providers.chain(directory).chain(way_in).collect();
    match names.iter().any(|one| one == name) {
        true => Ok(name.to_owned()),
        false if names.is_empty() => Err("nobody can sign in: there is no [[provider]] and no [ldap]".into()),
        false => {
            let names: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
            Err(format!("there is no provider {}; people sign in with {}", in_words(name), names.join(", ")))
        }
    }
}

/// Whose sessions count first.
fn usual(context: &Context) -> String {
    let first = context.providers.iter().next().map(|provider| provider.name().to_owned());
    match &context.way_in {
        Some(_) => RESTORE.to_owned(),
        None => first.or_else(|| context.directory().map(|d| d.name().to_owned())).unwrap_or_default(),
    }
}

/// The cookies that a browser would send after that sign-in.
pub(super) fn cookies(context: &Context, signed_in: SignedIn, now: u64) -> Result<Vec<HeaderValue>, Failure> {
    let (_, sealed) = seal_session(context, signed_in, now)?;
    let set = context.cookies.store_session(&sealed, &HeaderMap::new());
    let pair = |cookie: &HeaderValue| {
        let pair = cookie.as_bytes().split(|&byte| byte == b';').next()?;
        HeaderValue::from_bytes(pair).ok()
    };
    Ok(set.iter().filter_map(pair).collect())
}
