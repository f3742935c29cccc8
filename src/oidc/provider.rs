//! One provider: beginning and finishing a sign-in, renewing a session, ending it.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwapOption;
use openidconnect::core::CoreResponseType;
use openidconnect::{
    AuthenticationContextClass, AuthenticationFlow, CsrfToken, LoginHint, Nonce, PkceCodeChallenge, PkceCodeVerifier,
    Scope,
};
use serde_json::{Map, Value};
use tokio::sync::Mutex;
use url::Url;

use super::attempt::{Attempt, Begun, unix_seconds};
use super::fresh::LastKeyFetch;
use super::id_token::{self, Expected, VerifiedIdToken};
use super::metadata::Metadata;
use super::token::{self, OidcClient, TokenFailure, Tokens};
use crate::claims::{self, ClaimNames, NeededClaims};
use crate::config::model::{ClientAuth, Provider as ProviderSettings};
use crate::config::values::Secret;
use crate::http_client::HttpClient;
use crate::identity::Identity;
use crate::jwt::KeySet;
use crate::reason::{Failure, Reason};
use crate::words::in_words;

/// Longest ID token that is sent as a hint: servers commonly take 8 kB of request line.
const MAX_HINT: usize = 6 * 1024;

/// A configured provider and what is known of it.
pub struct Provider {
    pub(super) settings: ProviderSettings,
    pub(super) http: HttpClient,
    needed: NeededClaims,
    redirect_uri: Url,
    /// What was fetched last; none before the first time.
    pub(super) snapshot: ArcSwapOption<Snapshot>,
    /// Why the last fetch failed; none where it did not.
    pub(super) trouble: ArcSwapOption<Failure>,
    pub(super) key_fetch: Mutex<LastKeyFetch>,
}

/// Metadata and keys of one moment, and the client made from them.
#[derive(Clone)]
pub(super) struct Snapshot {
    pub metadata: Metadata,
    pub keys: KeySet,
    pub client: Arc<OidcClient>,
    pub client_auth: ClientAuth,
    pub fetched_at: SystemTime,
}

/// Whether people can sign in with a provider.
#[derive(Clone, Debug, PartialEq)]
pub enum Readiness {
    /// With metadata and keys of that time.
    Ready { fetched_at: SystemTime },
    /// Not since the gateway started; the detail of the failure begins with the step that failed.
    NotReady(Failure),
}

/// Somebody who signed in, or whose session was renewed. Its `Debug` shows no token.
#[derive(Clone)]
pub struct SignedIn {
    pub identity: Identity,
    /// As it came, for `id_token_hint` at sign-out. `None` after a renewal that brought none: the old one stays.
    pub id_token: Option<String>,
    pub access_token: Secret,
    /// After a renewal that brought none this is the old one, which goes on (RFC 6749 §6).
    pub refresh_token: Option<Secret>,
    /// Unix seconds: by `expires_in`, else by the `exp` of the ID token.
    pub tokens_expire_at: Option<u64>,
}

/// Why a session was not renewed.
#[derive(Clone, Debug, PartialEq)]
pub enum RefreshFailure {
    /// The provider says no, or says something that cannot be believed. Asking again is no use.
    Refused(Failure),
    /// The provider could not be asked, or did not answer.
    Unavailable(Failure),
}

impl RefreshFailure {
    pub fn failure(&self) -> &Failure {
        match self {
            RefreshFailure::Refused(failure) | RefreshFailure::Unavailable(failure) => failure,
        }
    }
}

impl Provider {
    /// Reads `ca_file`, and nothing else.
    pub(super) fn new(
        settings: &ProviderSettings,
        public_url: &Url,
        needed: NeededClaims,
    ) -> Result<Provider, Failure> {
        refuse_reserved_parameters(settings)?;
        let redirect_uri = public_url.join("/oidc/callback");
        Ok(Provider {
            http: HttpClient::new(settings.timeout.0, settings.ca_file.as_deref(), None)?,
            settings: settings.clone(),
            needed,
            redirect_uri: redirect_uri
                .map_err(|error| Failure::new(Reason::ConfigInvalid, format!("public_url: {error}")))?,
            snapshot: ArcSwapOption::empty(),
            trouble: ArcSwapOption::empty(),
            key_fetch: Mutex::default(),
        })
    }

    pub fn name(&self) -> &str {
        &self.settings.name
    }

    pub fn display_name(&self) -> &str {
        self.settings.display_name.as_deref().unwrap_or(&self.settings.name)
    }

    /// The configured issuer, in the normal form of an address. The provider's own spelling may lack the slash of a
    /// bare host; see [`is_issuer`](crate::issuer_metadata::is_issuer).
    pub fn issuer(&self) -> &str {
        self.settings.issuer.as_str()
    }

    pub fn readiness(&self) -> Readiness {
        match self.snapshot() {
            Some(snapshot) => Readiness::Ready { fetched_at: snapshot.fetched_at },
            None => Readiness::NotReady(self.trouble.load_full().map_or_else(
                || Failure::new(Reason::ProviderNotReady, "its metadata is being fetched"),
                |trouble| Failure::clone(&trouble),
            )),
        }
    }

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
        let redeemed = token::redeem(&snapshot.client, &self.http, code, &attempt.code_verifier).await;
        let tokens = self.counted("token", redeemed.map_err(TokenFailure::at_sign_in))?.into_tokens();
        let Some(id_token) = &tokens.id_token else { return Err(Reason::NoIdToken.into()) };
        let expected = Expected {
            nonce: Some(&attempt.nonce),
            max_age: self.settings.max_age.map(|age| age.0),
            acr_values: &self.settings.acr_values,
            ..self.expected(&snapshot, &tokens, now)
        };
        let verified = self.verify(&snapshot, id_token, &expected).await?;
        let identity = self.identity(&snapshot, &tokens, &verified).await?;
        Ok(signed_in(identity, tokens, Some(verified.expires_at), now))
    }

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
        let unavailable = |why: String| RefreshFailure::Unavailable(Failure::new(Reason::RefreshUnavailable, why));
        let snapshot = self.ready().map_err(RefreshFailure::Unavailable)?;
        let answer =
            token::refresh(&snapshot.client, &self.http, refresh_token).await.map_err(|failure| match failure {
                TokenFailure::Unavailable(why) => unavailable(why),
                // A page instead of JSON is a proxy's or a maintenance page more often than an answer.
                TokenFailure::Unusable(why) => unavailable(why),
                TokenFailure::Refused { error, words } => match error.as_str() {
                    "server_error" | "temporarily_unavailable" => unavailable(words),
                    "invalid_client" | "unauthorized_client" => {
                        RefreshFailure::Refused(Failure::new(Reason::ClientRefused, words))
                    }
                    _ => RefreshFailure::Refused(Failure::new(Reason::RefreshRefused, words)),
                },
            });
        let label = answer.as_ref().map_or_else(|failure| failure.failure().reason.code(), |_| "ok");
        crate::telemetry::metrics().provider_fetches.with_label_values(&[self.name(), "refresh", label]).inc();
        let mut tokens = answer?.into_tokens();
        tokens.refresh_token.get_or_insert_with(|| refresh_token.clone());
        let Some(id_token) = &tokens.id_token else { return Ok(signed_in(previous.clone(), tokens, None, now)) };
        let expected = self.expected(&snapshot, &tokens, now);
        let verified = self.verify(&snapshot, id_token, &expected).await.map_err(RefreshFailure::Refused)?;
        if verified.subject != previous.subject {
            let detail = "the renewed ID token is of another subject";
            return Err(RefreshFailure::Refused(Failure::new(Reason::RefreshRefused, detail)));
        }
        let renewed = self.identity(&snapshot, &tokens, &verified).await;
        let identity = match renewed {
            Ok(renewed) if claims::says_something(&renewed) => renewed,
            Ok(_) => previous.clone(),
            Err(failure) if failure.reason == Reason::ProviderUnreachable => {
                return Err(RefreshFailure::Unavailable(failure));
            }
            Err(failure) => return Err(RefreshFailure::Refused(failure)),
        };
        Ok(signed_in(identity, tokens, Some(verified.expires_at), now))
    }

    /// Where to send a browser to end the provider's session (OpenID Connect RP-Initiated Logout §2); `None` where
    /// the provider offers no such place. A hint too long for an address is left out: `client_id` says enough.
    pub fn end_session_url(
        &self,
        id_token_hint: Option<&str>,
        post_logout_redirect_uri: &Url,
        state: &str,
    ) -> Option<Url> {
        let mut url = self.snapshot()?.metadata.end_session_endpoint.clone()?;
        {
            let mut query = url.query_pairs_mut();
            query.append_pair("client_id", &self.settings.client_id);
            if let Some(hint) = id_token_hint.filter(|hint| hint.len() <= MAX_HINT) {
                query.append_pair("id_token_hint", hint);
            }
            query.append_pair("post_logout_redirect_uri", post_logout_redirect_uri.as_str());
            query.append_pair("state", state);
        }
        Some(url)
    }

    pub(super) fn snapshot(&self) -> Option<Arc<Snapshot>> {
        self.snapshot.load_full()
    }

    /// The snapshot made of these; also where they come from another configuration of the same issuer.
    pub(super) fn snapshot_of(
        &self,
        metadata: Metadata,
        keys: KeySet,
        fetched_at: SystemTime,
    ) -> Result<Snapshot, Failure> {
        let secret = self.settings.client_secret.as_ref();
        let client_auth = metadata.client_auth(self.settings.client_auth, secret.is_some());
        let client = token::client(&metadata, &self.settings.client_id, secret, client_auth, &self.redirect_uri)?;
        Ok(Snapshot { metadata, keys, client: Arc::new(client), client_auth, fetched_at })
    }

    fn ready(&self) -> Result<Arc<Snapshot>, Failure> {
        self.snapshot().ok_or_else(|| {
            let why = self.trouble.load().as_ref().map_or_else(String::new, |trouble| trouble.to_string());
            Failure::new(Reason::ProviderNotReady, why)
        })
    }

    /// What every ID token of this provider has to say.
    fn expected<'a>(&'a self, snapshot: &'a Snapshot, tokens: &'a Tokens, now: SystemTime) -> Expected<'a> {
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

    /// Verifies with the keys at hand, and once more where the provider has newer ones. A wrong signature counts
    /// too: some providers change the key and keep its id, or have no ids.
    async fn verify(
        &self,
        snapshot: &Snapshot,
        id_token: &str,
        expected: &Expected<'_>,
    ) -> Result<VerifiedIdToken, Failure> {
        let first = id_token::verify(id_token, &snapshot.keys, expected);
        match &first {
            Err(failure) if matches!(failure.reason, Reason::IdTokenKey | Reason::IdTokenSignature) => {
                match self.newer_keys(snapshot).await {
                    Some(newer) => id_token::verify(id_token, &newer.keys, expected),
                    None => first,
                }
            }
            _ => first,
        }
    }

    async fn identity(
        &self,
        snapshot: &Snapshot,
        tokens: &Tokens,
        verified: &VerifiedIdToken,
    ) -> Result<Identity, Failure> {
        let mut claims = verified.claims.clone();
        if let (true, Some(endpoint)) = (self.settings.userinfo, &snapshot.metadata.userinfo_endpoint) {
            let said = self.userinfo(endpoint, &tokens.access_token, &verified.subject).await;
            for (name, value) in self.counted("userinfo", said)? {
                claims.entry(name).or_insert(value);
            }
        }
        claims::identity(&ClaimNames::of_provider(&self.settings), &self.needed, &verified.subject, &claims)
    }

    /// The claims of the userinfo endpoint (OpenID Connect Core §5.3), of the same subject or not at all.
    async fn userinfo(
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

impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Provider").field("name", &self.name()).field("issuer", &self.issuer()).finish_non_exhaustive()
    }
}

impl fmt::Debug for SignedIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignedIn").field("tokens_expire_at", &self.tokens_expire_at).finish_non_exhaustive()
    }
}

fn signed_in(identity: Identity, tokens: Tokens, id_token_expires_at: Option<u64>, now: SystemTime) -> SignedIn {
    let by_answer = tokens.expires_in.map(|seconds| unix_seconds(now).saturating_add(seconds));
    SignedIn {
        identity,
        id_token: tokens.id_token,
        access_token: tokens.access_token,
        refresh_token: tokens.refresh_token,
        tokens_expire_at: by_answer.or(id_token_expires_at),
    }
}

/// What the gateway says itself cannot be said a second time, differently, by `authorization_params`.
fn refuse_reserved_parameters(settings: &ProviderSettings) -> Result<(), Failure> {
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
