//! A sign-in at a provider: where to send the browser, and what its answer is worth.

use std::time::{Duration, SystemTime};

use openidconnect::core::CoreResponseType;
use openidconnect::{
    AuthenticationContextClass, AuthenticationFlow, CsrfToken, LoginHint, Nonce, PkceCodeChallenge, PkceCodeVerifier,
    Scope,
};
use serde_json::Value;

use super::attempt::{Attempt, Begun, Wish, unix_seconds};
use super::fresh::Sender;
use super::id_token::{self, Expected, VerifiedIdToken};
use super::provider::{Provider, SignedIn, Snapshot};
use super::response::Granted;
use super::tenants;
use super::token::Tokens;
use crate::config::model::{AuthMethod, ResponseMode};
use crate::config::values::Secret;
use crate::identity::Identity;
use crate::issuer_metadata::difference;
use crate::jwt::KeySet;
use crate::reason::{Failure, Reason};
use crate::words::{in_words, plain_address};

impl Provider {
    /// Begins a sign-in: `state` (prefixed by `id` and a dot) and `nonce` always, and PKCE S256 wherever a code comes,
    /// whatever the client is. An access token is never asked for this way.
    ///
    /// `return_to` is kept as it is; whoever calls has checked it. Fails with [`Reason::ProviderNotReady`].
    pub fn begin_with(&self, wish: &Wish, return_to: &str, id: &str, now: SystemTime) -> Result<Begun, Failure> {
        let snapshot = self.ready()?;
        let attempt = Attempt::new(&self.settings, id, return_to, wish, now)?;
        let (state, nonce) = (CsrfToken::new(attempt.state.clone()), Nonce::new(attempt.nonce.clone()));
        let verifier = PkceCodeVerifier::new(attempt.code_verifier.clone());
        let settings = &self.settings;
        // `openid` is added by openidconnect.
        let scopes = settings.scopes.iter().filter(|scope| *scope != "openid").cloned().map(Scope::new);
        let flow = match settings.auth_method {
            AuthMethod::Pkce => AuthenticationFlow::<CoreResponseType>::AuthorizationCode,
            AuthMethod::Implicit => AuthenticationFlow::Implicit(false),
            AuthMethod::Hybrid => AuthenticationFlow::Hybrid(vec![CoreResponseType::Code, CoreResponseType::IdToken]),
        };
        let mut request = snapshot.client.authorize_url(flow, move || state, move || nonce).add_scopes(scopes);
        if settings.auth_method != AuthMethod::Implicit {
            request = request.set_pkce_challenge(PkceCodeChallenge::from_code_verifier_sha256(&verifier));
        }
        for acr in self.acr_values(wish) {
            request = request.add_auth_context_value(AuthenticationContextClass::new(acr.clone()));
        }
        if let Some(hint) = wish.login_hint.as_ref().or(settings.login_hint.as_ref()) {
            request = request.set_login_hint(LoginHint::new(hint.clone()));
        }
        if let Some(age) = self.max_age(wish) {
            request = request.set_max_age(age);
        }
        // In the address a code comes unless something else is said.
        let posted = (settings.response_mode() == ResponseMode::FormPost).then(|| "form_post".to_owned());
        let more = [
            ("response_mode", posted),
            ("prompt", prompt(settings.prompt.as_deref(), wish.fresh)),
            ("domain_hint", settings.domain_hint.clone()),
        ];
        for (name, value) in more {
            if let Some(value) = value {
                request = request.add_extra_param(name, value);
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
    /// [`Provider::complete`] checks by itself.
    pub fn check_response_issuer(&self, response_iss: Option<&str>) -> Result<(), Failure> {
        self.ready()?.check_response_issuer(response_iss)
    }

    /// Completes a sign-in: verifies the ID token that came along, redeems the code and verifies the ID token that it
    /// brings, makes the identity. Whoever calls has compared `state` and looked at the attempt's age.
    pub async fn complete(&self, attempt: &Attempt, granted: &Granted, now: SystemTime) -> Result<SignedIn, Failure> {
        let snapshot = self.ready()?;
        if attempt.provider != self.name() {
            let detail = format!("the attempt is of provider {}", in_words(&attempt.provider));
            return Err(Failure::new(Reason::IssuerMixUp, detail));
        }
        // A verified ID token names the issuer by itself, and who sends one may leave `iss` out (RFC 9207 §2.4).
        if granted.id_token.is_none() || granted.iss.is_some() {
            snapshot.check_response_issuer(granted.iss.as_deref())?;
        }
        attempt.check_kind(granted)?;
        let front = match &granted.id_token {
            Some(id_token) => {
                let expected = Expected {
                    nonce: Some(&attempt.nonce),
                    code: granted.code.as_deref(),
                    ..self.expected(&snapshot, None, now)
                };
                Some(self.verify(&snapshot, id_token, &expected).await?)
            }
            None => None,
        };
        let tokens = match (&granted.code, &granted.id_token) {
            (Some(code), _) => {
                let redeemed = self.redeem(&snapshot, code, &attempt.code_verifier, now).await;
                let auth = snapshot.client_auth;
                self.counted("token", redeemed.map_err(|failure| failure.at_sign_in(self, auth)))?
            }
            (None, id_token) => Tokens { id_token: id_token.clone(), ..Tokens::default() },
        };
        let Some(id_token) = &tokens.id_token else {
            let scopes = match self.settings.scopes.iter().any(|scope| scope == "openid") {
                true => "`openid` was asked for",
                false => "`scopes` lack `openid`",
            };
            let detail = format!("expected a member `id_token`, got {}; {scopes}", tokens.members);
            return Err(Failure::new(Reason::NoIdToken, detail));
        };
        let verified = match front {
            Some(front) if granted.code.is_none() => front,
            front => {
                let access_token = tokens.access_token.as_ref();
                let expected = Expected {
                    nonce: Some(&attempt.nonce),
                    clock: tokens.clock,
                    ..self.expected(&snapshot, access_token, now)
                };
                let verified = self.verify(&snapshot, id_token, &expected).await?;
                front.map_or(Ok(()), |front| agree(&front, &verified))?;
                verified
            }
        };
        self.check_authentication(attempt, &verified, now)?;
        let identity = self.identity(&snapshot, &tokens, &verified).await?;
        let proven_at = granted.code.is_none().then(|| attempt.proven_at(&verified, now));
        Ok(SignedIn { proven_at, ..signed_in(identity, tokens, Some(&verified), now) })
    }

    /// Whether the person authenticated as this sign-in asked for. Whoever holds the browser can take `prompt`,
    /// `max_age` and `acr_values` out of the address, so it is the ID token that has to show it.
    fn check_authentication(
        &self,
        attempt: &Attempt,
        verified: &VerifiedIdToken,
        now: SystemTime,
    ) -> Result<(), Failure> {
        let wish = &attempt.wish;
        let leeway = self.settings.leeway.0;
        let max_age = self.max_age(wish);
        let lacks_time = max_age.is_some() && verified.claims.get("auth_time").is_none_or(Value::is_null);
        id_token::check_authentication(&verified.claims, self.acr_values(wish), max_age, leeway, now)
            .map_err(|failure| failure.remedied_by(lacks_time.then(|| self.how_to_add_auth_time())))?;
        let authenticated = verified.authentication().at.unwrap_or_default();
        let late = attempt.started_at.saturating_sub(authenticated.saturating_add(leeway.as_secs()));
        if wish.fresh && late > 0 {
            let before = attempt.started_at - authenticated;
            let detail = format!("expected `auth_time` after this sign-in began, got {before} s before");
            return Err(Failure::new(Reason::IdTokenAuthentication, detail));
        }
        Ok(())
    }

    fn acr_values<'a>(&'a self, wish: &'a Wish) -> &'a [String] {
        if wish.acr_values.is_empty() { &self.settings.acr_values } else { &wish.acr_values }
    }

    /// The shorter one.
    fn max_age(&self, wish: &Wish) -> Option<Duration> {
        let of_settings = self.settings.max_age.map(|age| age.0);
        wish.max_age.map(Duration::from_secs).into_iter().chain(of_settings).min()
    }

    /// What every ID token of this provider has to say.
    pub(super) fn expected<'a>(
        &'a self,
        snapshot: &'a Snapshot,
        access_token: Option<&'a Secret>,
        now: SystemTime,
    ) -> Expected<'a> {
        Expected {
            preset: self.settings.preset,
            issuer: &snapshot.metadata.issuer,
            tenants: &self.settings.tenants,
            hosted_domain: self.settings.hosted_domain(),
            client_id: &self.settings.client_id,
            trusted_audiences: &self.settings.trusted_audiences,
            algorithms: &self.settings.id_token_algorithms,
            nonce: None,
            access_token: access_token.map(Secret::expose),
            code: None,
            clock: None,
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
        let verify = |keys: &KeySet| id_token::verify(id_token, keys, expected);
        let verified = self.with_keys(snapshot, verify, of_keys, Sender::Known).await;
        verified.map_err(|failure| match failure.reason {
            Reason::IdTokenKey => {
                let at = plain_address(&snapshot.metadata.jwks_uri);
                let seen = format!(", fetched {} from {at}", self.age_of_keys(expected.now));
                failure.and_seen(&seen)
            }
            _ => failure,
        })
    }
}

impl Snapshot {
    fn check_response_issuer(&self, response_iss: Option<&str>) -> Result<(), Failure> {
        let expected = &self.metadata.issuer;
        let detail = match response_iss {
            Some(got) if tenants::is_called(expected, got) => return Ok(()),
            None if !self.metadata.sends_issuer => return Ok(()),
            Some(got) => {
                let differs = difference(expected, got).map(|how| format!("; {how}")).unwrap_or_default();
                format!("expected `iss` `{expected}`, got {}{differs}", in_words(got))
            }
            None => format!("expected `iss` `{expected}`, got none"),
        };
        Err(Failure::new(Reason::IssuerMixUp, detail))
    }
}

/// The ID token that came through the browser and the one that its code was redeemed for are about the same person
/// (Core §3.3.3.6).
fn agree(front: &VerifiedIdToken, back: &VerifiedIdToken) -> Result<(), Failure> {
    if front.subject == back.subject && front.claims.get("iss") == back.claims.get("iss") {
        return Ok(());
    }
    let detail = "`iss` or `sub` of the ID token from the token endpoint differ from those of the one that was posted";
    Err(Failure::new(Reason::IdTokenHash, detail))
}

/// `prompt` as it is set, with `login` where the person has to be asked.
fn prompt(set: Option<&str>, fresh: bool) -> Option<String> {
    match (set, fresh) {
        (set, false) => set.map(str::to_owned),
        // `none` goes with nothing else (Core §3.1.2.1).
        (None | Some("none"), true) => Some("login".to_owned()),
        (Some(set), true) if set.split(' ').any(|one| one == "login") => Some(set.to_owned()),
        (Some(set), true) => Some(format!("login {set}")),
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
        // The provider cannot read a hint that it encrypted for us (Core §3.1.2.1).
        id_token: verified.map(|verified| verified.token.clone()),
        access_token: tokens.access_token,
        refresh_token: tokens.refresh_token,
        tokens_expire_at: by_answer.or(verified.map(|verified| verified.expires_at)),
        authentication: verified.map(VerifiedIdToken::authentication).unwrap_or_default(),
        proven_at: None,
        nonce: verified.and_then(VerifiedIdToken::nonce),
    }
}
