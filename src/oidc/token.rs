//! The token endpoint: a code or a refresh token for tokens (RFC 6749 §4.1.3 and §6).
//!
//! openidconnect makes the requests, authenticates the client exactly one way (form-encoding id and secret before
//! Basic, RFC 6749 §2.3.1) and reads errors. Its token response is not used, for it parses the ID token on the way
//! and refuses an `expires_in` that is a text; [`TokenAnswer`] stands in its place.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use openidconnect::core::{
    CoreAuthDisplay, CoreAuthPrompt, CoreErrorResponseType, CoreGenderClaim, CoreIdToken, CoreJsonWebKey,
    CoreJweContentEncryptionAlgorithm, CoreJwsSigningAlgorithm, CoreRevocableToken, CoreRevocationErrorResponse,
    CoreTokenIntrospectionResponse, CoreTokenType,
};
use openidconnect::{
    AccessToken, AsyncHttpClient, AuthType, AuthUrl, AuthorizationCode, ClientId, ClientSecret, EmptyAdditionalClaims,
    EndpointNotSet, EndpointSet, HttpRequest, HttpResponse, IssuerUrl, JsonWebKeySet, OAuth2TokenResponse,
    PkceCodeVerifier, RedirectUrl, RefreshToken, RequestTokenError, Scope, StandardErrorResponse, TokenUrl,
};
use serde::{Deserialize, Deserializer, Serialize, de};
use url::Url;

use super::metadata::Metadata;
use super::response::words;
use crate::config::model::ClientAuth;
use crate::config::values::Secret;
use crate::http_client::{HttpClient, HttpError, require_success};
use crate::reason::{Failure, Reason};
use crate::words::json_fault;

/// openidconnect's client, knowing where to send people and where to redeem codes.
pub(super) type OidcClient = openidconnect::Client<
    EmptyAdditionalClaims,
    CoreAuthDisplay,
    CoreGenderClaim,
    CoreJweContentEncryptionAlgorithm,
    CoreJsonWebKey,
    CoreAuthPrompt,
    TokenError,
    TokenAnswer,
    CoreTokenIntrospectionResponse,
    CoreRevocableToken,
    CoreRevocationErrorResponse,
    EndpointSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointSet,
    EndpointNotSet,
>;

type TokenError = StandardErrorResponse<CoreErrorResponseType>;

/// A client for `metadata` that authenticates itself by `auth`, which is not [`ClientAuth::Auto`].
pub(super) fn client(
    metadata: &Metadata,
    client_id: &str,
    secret: Option<&Secret>,
    auth: ClientAuth,
    redirect_uri: &Url,
) -> Result<OidcClient, Failure> {
    let issuer = IssuerUrl::new(metadata.issuer.clone())
        .map_err(|error| Failure::new(Reason::DiscoveryForm, format!("issuer: {error}")))?;
    // The keys stay out: ID tokens are verified in `id_token.rs`.
    let client = OidcClientWithoutEndpoints::new(ClientId::new(client_id.to_owned()), issuer, JsonWebKeySet::default())
        .set_auth_uri(AuthUrl::from_url(metadata.authorization_endpoint.clone()))
        .set_token_uri(TokenUrl::from_url(metadata.token_endpoint.clone()))
        .set_redirect_uri(RedirectUrl::from_url(redirect_uri.clone()));
    let secret = secret.map(|secret| ClientSecret::new(secret.expose().to_owned()));
    Ok(match (auth, secret) {
        (ClientAuth::ClientSecretPost, Some(secret)) => {
            client.set_auth_type(AuthType::RequestBody).set_client_secret(secret)
        }
        (ClientAuth::ClientSecretBasic | ClientAuth::Auto, Some(secret)) => {
            client.set_auth_type(AuthType::BasicAuth).set_client_secret(secret)
        }
        (_, _) => client.set_auth_type(AuthType::RequestBody),
    })
}

type OidcClientWithoutEndpoints = openidconnect::Client<
    EmptyAdditionalClaims,
    CoreAuthDisplay,
    CoreGenderClaim,
    CoreJweContentEncryptionAlgorithm,
    CoreJsonWebKey,
    CoreAuthPrompt,
    TokenError,
    TokenAnswer,
    CoreTokenIntrospectionResponse,
    CoreRevocableToken,
    CoreRevocationErrorResponse,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
>;

/// Redeems `code` with the verifier whose challenge was sent (RFC 7636 §4.5).
pub(super) async fn redeem(
    client: &OidcClient,
    http: &HttpClient,
    code: &str,
    code_verifier: &str,
) -> Result<TokenAnswer, TokenFailure> {
    client
        .exchange_code(AuthorizationCode::new(code.to_owned()))
        .set_pkce_verifier(PkceCodeVerifier::new(code_verifier.to_owned()))
        .request_async(&TokenEndpoint(http))
        .await
        .map_err(TokenFailure::from)
}

/// Asks for new tokens with a refresh token (RFC 6749 §6), for the scope it was issued for.
pub(super) async fn refresh(
    client: &OidcClient,
    http: &HttpClient,
    refresh_token: &Secret,
) -> Result<TokenAnswer, TokenFailure> {
    client
        .exchange_refresh_token(&RefreshToken::new(refresh_token.expose().to_owned()))
        .request_async(&TokenEndpoint(http))
        .await
        .map_err(TokenFailure::from)
}

/// Statuses by which the server says that it, not the request, is at fault become errors before the body is read;
/// so does a redirect, which nobody follows with a secret.
struct TokenEndpoint<'h>(&'h HttpClient);

impl<'c> AsyncHttpClient<'c> for TokenEndpoint<'_> {
    type Error = HttpError;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(async move {
            let response = self.0.send(request).await?;
            let status = response.status();
            if status.is_server_error() || status.is_redirection() || status == http::StatusCode::TOO_MANY_REQUESTS {
                require_success(&response)?;
            }
            Ok(response)
        })
    }
}

/// How a token request fails.
#[derive(Debug, PartialEq)]
pub(super) enum TokenFailure {
    /// No answer, or one that says to try again.
    Unavailable(String),
    /// An error of RFC 6749 §5.2, with the provider's words.
    Refused { error: String, words: String },
    /// An answer that is no token response.
    Unusable(String),
}

impl TokenFailure {
    /// The failure of a sign-in.
    pub fn at_sign_in(self) -> Failure {
        match self {
            TokenFailure::Unavailable(why) => Failure::new(Reason::ProviderUnreachable, why),
            TokenFailure::Unusable(why) => Failure::new(Reason::TokenAnswer, why),
            TokenFailure::Refused { error, words } => {
                let reason = match error.as_str() {
                    "invalid_grant" => Reason::CodeRefused,
                    "invalid_client" | "unauthorized_client" => Reason::ClientRefused,
                    "server_error" | "temporarily_unavailable" => Reason::ProviderUnreachable,
                    _ => Reason::TokenAnswer,
                };
                Failure::new(reason, words)
            }
        }
    }
}

impl From<RequestTokenError<HttpError, TokenError>> for TokenFailure {
    fn from(error: RequestTokenError<HttpError, TokenError>) -> Self {
        match error {
            // It answers, and what it says is at fault: to try again does not help.
            RequestTokenError::Request(error @ (HttpError::TooLarge | HttpError::Status(300..400, _))) => {
                TokenFailure::Unusable(format!("token endpoint: {error}"))
            }
            RequestTokenError::Request(error) => TokenFailure::Unavailable(format!("token endpoint: {error}")),
            RequestTokenError::ServerResponse(answer) => {
                let error = answer.error().as_ref().to_owned();
                let words = words(&error, answer.error_description().map(String::as_str));
                TokenFailure::Refused { error, words }
            }
            // The body and serde's message may hold tokens; the path to the member does not.
            RequestTokenError::Parse(error, _) => TokenFailure::Unusable(format!(
                "token endpoint: at `{}` {} of line {}",
                error.path(),
                json_fault(error.inner()),
                error.inner().line()
            )),
            RequestTokenError::Other(_) => {
                TokenFailure::Unusable("token endpoint: an empty answer, or one that is not JSON".into())
            }
        }
    }
}

/// A token response (RFC 6749 §5.1, OpenID Connect Core §3.1.3.3). Its `Debug` shows no token.
#[derive(Serialize, Deserialize)]
pub(super) struct TokenAnswer {
    access_token: AccessToken,
    #[serde(deserialize_with = "bearer")]
    token_type: CoreTokenType,
    #[serde(default, deserialize_with = "seconds")]
    expires_in: Option<u64>,
    refresh_token: Option<RefreshToken>,
    id_token: Option<String>,
}

impl TokenAnswer {
    pub fn into_tokens(self) -> Tokens {
        let refresh_token = self.refresh_token.map(|token| Secret::new(token.into_secret()));
        Tokens {
            access_token: Some(Secret::new(self.access_token.into_secret())),
            expires_in: self.expires_in,
            refresh_token: refresh_token.filter(|token| !token.expose().is_empty()),
            id_token: self.id_token.filter(|token| !token.is_empty()),
        }
    }
}

/// What the provider issued.
#[derive(Default)]
pub(super) struct Tokens {
    /// `None` where only an ID token was asked for.
    pub access_token: Option<Secret>,
    pub expires_in: Option<u64>,
    pub refresh_token: Option<Secret>,
    pub id_token: Option<String>,
}

/// `Bearer` in any case (RFC 6749 §5.1); another type would be sent in a way we do not know.
fn bearer<'de, D: Deserializer<'de>>(deserializer: D) -> Result<CoreTokenType, D::Error> {
    let named = String::deserialize(deserializer)?;
    match named.eq_ignore_ascii_case("bearer") {
        true => Ok(CoreTokenType::Bearer),
        false => Err(de::Error::custom("no bearer token")),
    }
}

/// A number, as RFC 6749 wants it, or a text of one, as Entra's older endpoint sends it. What is neither is as good
/// as absent: the member is only recommended.
fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let value = serde_json::Value::deserialize(deserializer)?;
    Ok(value.as_u64().or_else(|| value.as_str()?.parse().ok()))
}

impl std::fmt::Debug for TokenAnswer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenAnswer").field("expires_in", &self.expires_in).finish_non_exhaustive()
    }
}

impl OAuth2TokenResponse for TokenAnswer {
    type TokenType = CoreTokenType;

    fn access_token(&self) -> &AccessToken {
        &self.access_token
    }
    fn token_type(&self) -> &CoreTokenType {
        &self.token_type
    }
    fn expires_in(&self) -> Option<Duration> {
        self.expires_in.map(Duration::from_secs)
    }
    fn refresh_token(&self) -> Option<&RefreshToken> {
        self.refresh_token.as_ref()
    }
    fn scopes(&self) -> Option<&Vec<Scope>> {
        None
    }
}

impl
    openidconnect::TokenResponse<
        EmptyAdditionalClaims,
        CoreGenderClaim,
        CoreJweContentEncryptionAlgorithm,
        CoreJwsSigningAlgorithm,
    > for TokenAnswer
{
    /// Never: the raw token goes to our own verifier.
    fn id_token(&self) -> Option<&CoreIdToken> {
        None
    }
}
