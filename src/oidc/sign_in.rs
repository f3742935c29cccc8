//! A sign-in at a provider: where to send the browser, and what its answer is worth.

use std::time::SystemTime;

use openidconnect::core::CoreResponseType;
use openidconnect::{
    AuthenticationContextClass, AuthenticationFlow, CsrfToken, LoginHint, Nonce, PkceCodeChallenge, PkceCodeVerifier,
    Scope,
};

use super::attempt::{Attempt, Begun, unix_seconds};
use super::id_token::{self, Expected, VerifiedIdToken};
use super::provider::{Provider, SignedIn, Snapshot};
use super::token::{TokenFailure, Tokens};
use crate::config::model::Provider as ProviderSettings;
use crate::identity::Identity;
use crate::reason::{Failure, Reason};
use crate::words::in_words;

impl Provider {
    /// Begins a sign-in: `state` (prefixed by `id` and a dot), `nonce` and PKCE S256, always, whatever the client is.
    ///
    /// `return_to` is kept as it is; whoever calls has checked it. Fails with [`Reason::ProviderNotReady`].
    pub fn begin(&self, return_to: &str, id: &str, now: SystemTime) -> Result<Begun, Failure> {
        let snapshot = self.ready()?;
        let attempt = Attempt::new(self.name(), id, return_to, now)?;
        let (state, nonce) = (CsrfToken::new(attempt.state.clone()), Nonce::new(attempt.nonce.clone()));
        let verifier = PkceCodeVerifier::new(attempt.code_verifier.clone());
        let settings = &self.settings;
        // `openid` is added by openidconnect.
        let scopes = settings.scopes.iter().filter(|scope| *scope != "openid").cloned().map(Scope::new);
        let flow = AuthenticationFlow::<CoreResponseType>::AuthorizationCode;
        let mut request = snapshot
            .client
            .authorize_url(flow, move || state, move || nonce)
            .add_scopes(scopes)
            .set_pkce_challenge(PkceCodeChallenge::from_code_verifier_sha256(&verifier));
        for acr in &settings.acr_values {
            request = request.add_auth_context_value(AuthenticationContextClass::new(acr.clone()));
        }
        if let Some(hint) = &settings.login_hint {
            request = request.set_login_hint(LoginHint::new(hint.clone()));
        }
        if let Some(age) = settings.max_age {
            request = request.set_max_age(age.0);
        }
        for (name, value) in [("prompt", &settings.prompt), ("domain_hint", &settings.domain_hint)] {
            if let Some(value) = value {
                request = request.add_extra_param(name, value.clone());
            }
        }
        for (name, value) in &settings.authorization_params {
            request = request.add_extra_param(name.clone(), value.clone());
        }
        let (authorization_url, _, _) = request.url();
        Ok(Begun { authorization_url, attempt })
    }

    /// Whether an authorization response may come from this provider (RFC 9207 §2.4): its `iss` is the issuer to the
    /// letter, and is there if the metadata says that it always is. For responses that are errors, too;
    /// [`Provider::finish`] checks by itself.
    pub fn check_response_issuer(&self, response_iss: Option<&str>) -> Result<(), Failure> {
        self.ready()?.check_response_issuer(response_iss)
    }

    /// Finishes a sign-in: redeems the code, verifies the ID token, makes the identity. Whoever calls has compared
    /// `state` and looked at the attempt's age.
    pub async fn finish(
        &self,
        attempt: &Attempt,
        response_iss: Option<&str>,
        code: &str,
        now: SystemTime,
    ) -> Result<SignedIn, Failure> {
        let snapshot = self.ready()?;
        if attempt.provider != self.name() {
            let detail = format!("the attempt is of provider {}", in_words(&attempt.provider));
            return Err(Failure::new(Reason::IssuerMixUp, detail));
        }
        snapshot.check_response_issuer(response_iss)?;
        let redeemed = self.redeem(&snapshot, code, &attempt.code_verifier, now).await;
        let tokens = self.counted("token", redeemed.map_err(TokenFailure::at_sign_in))?;
        let Some(id_token) = &tokens.id_token else { return Err(Reason::NoIdToken.into()) };
        let expected = Expected {
            nonce: Some(&attempt.nonce),
            max_age: self.settings.max_age.map(|age| age.0),
            acr_values: &self.settings.acr_values,
            ..self.expected(&snapshot, &tokens, now)
        };
        let verified = self.verify(&snapshot, id_token, &expected).await?;
        let identity = self.identity(&snapshot, &tokens, &verified).await?;
        Ok(signed_in(identity, tokens, Some(&verified), now))
    }

    /// What every ID token of this provider has to say.
    pub(super) fn expected<'a>(&'a self, snapshot: &'a Snapshot, tokens: &'a Tokens, now: SystemTime) -> Expected<'a> {
        Expected {
            issuer: &snapshot.metadata.issuer,
            client_id: &self.settings.client_id,
            trusted_audiences: &self.settings.trusted_audiences,
            algorithms: &self.settings.id_token_algorithms,
            nonce: None,
            access_token: tokens.access_token.expose(),
            max_age: None,
            acr_values: &[],
            leeway: self.settings.leeway.0,
            now,
        }
    }

    /// Verifies an ID token of this provider.
    pub(super) async fn verify(
        &self,
        snapshot: &Snapshot,
        id_token: &str,
        expected: &Expected<'_>,
    ) -> Result<VerifiedIdToken, Failure> {
        let of_keys = |failure: &Failure| matches!(failure.reason, Reason::IdTokenKey | Reason::IdTokenSignature);
        let id_token = &self.decrypted(id_token)?;
        self.with_keys(snapshot, |keys| id_token::verify(id_token, keys, expected), of_keys).await
    }
}

impl Snapshot {
    fn check_response_issuer(&self, response_iss: Option<&str>) -> Result<(), Failure> {
        let expected = &self.metadata.issuer;
        let detail = match response_iss {
            Some(got) if got == expected => return Ok(()),
            None if !self.metadata.sends_issuer => return Ok(()),
            Some(got) => format!("expected `iss` `{expected}`, got {}", in_words(got)),
            None => format!("expected `iss` `{expected}`, got none"),
        };
        Err(Failure::new(Reason::IssuerMixUp, detail))
    }
}

/// What a sign-in or renewal came to. `verified` is the ID token, where one came.
pub(super) fn signed_in(
    identity: Identity,
    tokens: Tokens,
    verified: Option<&VerifiedIdToken>,
    now: SystemTime,
) -> SignedIn {
    let by_answer = tokens.expires_in.map(|seconds| unix_seconds(now).saturating_add(seconds));
    SignedIn {
        identity,
        id_token: tokens.id_token,
        access_token: tokens.access_token,
        refresh_token: tokens.refresh_token,
        tokens_expire_at: by_answer.or(verified.map(|verified| verified.expires_at)),
        authentication: verified.map(VerifiedIdToken::authentication).unwrap_or_default(),
    }
}

/// What the gateway says itself cannot be said a second time, differently, by `authorization_params`.
pub(super) fn refuse_reserved_parameters(settings: &ProviderSettings) -> Result<(), Failure> {
    const ALWAYS: [&str; 9] = [
        "response_type",
        "client_id",
        "redirect_uri",
        "scope",
        "state",
        "nonce",
        "code_challenge",
        "code_challenge_method",
        "client_secret",
    ];
    let set = [
        ("prompt", settings.prompt.is_some()),
        ("max_age", settings.max_age.is_some()),
        ("acr_values", !settings.acr_values.is_empty()),
        ("login_hint", settings.login_hint.is_some()),
        ("domain_hint", settings.domain_hint.is_some()),
    ];
    for (name, value) in &settings.authorization_params {
        let own_key = set.iter().any(|(key, set)| *set && key == name);
        // The callback is a GET with a query; another response mode would not arrive.
        let other_mode = name == "response_mode" && value != "query";
        if own_key || other_mode || ALWAYS.contains(&name.as_str()) {
            let detail = format!("`authorization_params` of provider `{}` must not set `{name}`", settings.name);
            return Err(Failure::new(Reason::ConfigInvalid, detail));
        }
    }
    Ok(())
}
