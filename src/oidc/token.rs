//! The token endpoint: a code or a refresh token for tokens (RFC 6749 §4.1.3 and §6).
//!
//! The requests go out through [`Provider::ask`]; here is what they say, and what the answers mean.

use std::borrow::Cow;
use std::time::SystemTime;

use http::StatusCode;
use http::header::CONTENT_TYPE;
use openidconnect::HttpResponse;
use serde_json::{Map, Value};

use super::ask::TOKEN_ENDPOINT;
use super::client::Parameter;
use super::provider::{Provider, Snapshot};
use crate::config::model::ClientAuth;
use crate::config::values::Secret;
use crate::http_client::{Address, HttpError, clock_ahead, require_json, require_success};
use crate::jose::Members;
use crate::reason::{Failure, Reason};
use crate::sent::Sent;
use crate::words::in_words;

impl Provider {
    /// Redeems `code` with the verifier whose challenge was sent (RFC 7636 §4.5).
    pub(super) async fn redeem(
        &self,
        snapshot: &Snapshot,
        code: &str,
        code_verifier: &str,
        now: SystemTime,
    ) -> Result<Tokens, TokenFailure> {
        let form = vec![
            ("grant_type", "authorization_code".to_owned()),
            ("code", code.to_owned()),
            ("code_verifier", code_verifier.to_owned()),
            ("redirect_uri", self.redirect_uri.to_string()),
        ];
        self.tokens(snapshot, form, now).await
    }

    /// Asks for new tokens with a refresh token (RFC 6749 §6), for the scope it was issued for.
    pub(super) async fn exchange_refresh_token(
        &self,
        snapshot: &Snapshot,
        refresh_token: &Secret,
        now: SystemTime,
    ) -> Result<Tokens, TokenFailure> {
        let form =
            vec![("grant_type", "refresh_token".to_owned()), ("refresh_token", refresh_token.expose().to_owned())];
        self.tokens(snapshot, form, now).await
    }

    async fn tokens(&self, snapshot: &Snapshot, form: Vec<Parameter>, now: SystemTime) -> Result<Tokens, TokenFailure> {
        let endpoint = (TOKEN_ENDPOINT, &snapshot.metadata.token_endpoint);
        let (response, sent) = self.ask(snapshot, endpoint, form, now).await?;
        // By these the server says that it, not the request, is at fault; and nobody follows a redirect with a secret.
        let status = response.status();
        if status.is_server_error() || status.is_redirection() || status == StatusCode::TOO_MANY_REQUESTS {
            require_success(&response).map_err(|error| TokenFailure::from(error).without(&sent))?;
        }
        read(&response).map_err(|failure| failure.without(&sent))
    }
}

/// Errors of a token endpoint (RFC 6749 §5.2).
const OF_STANDARD: [&str; 6] = [
    "invalid_request",
    "invalid_client",
    "invalid_grant",
    "unauthorized_client",
    "unsupported_grant_type",
    "invalid_scope",
];

/// How a token request fails.
#[derive(Debug, PartialEq)]
pub(super) enum TokenFailure {
    /// No answer, or one that says to try again: what was seen, and what to do about it where that is known.
    Unavailable(String, Option<Cow<'static, str>>),
    /// An error of RFC 6749 §5.2, with the provider's words.
    Refused { error: String, description: Option<String> },
    /// An answer that is no token response.
    Unusable(String, Option<Cow<'static, str>>),
}

impl TokenFailure {
    /// What was seen, without what was sent: providers quote the request that they refuse.
    fn without(self, sent: &Sent) -> TokenFailure {
        match self {
            TokenFailure::Unavailable(why, remedy) => TokenFailure::Unavailable(sent.without(&why), remedy),
            TokenFailure::Unusable(why, remedy) => TokenFailure::Unusable(sent.without(&why), remedy),
            TokenFailure::Refused { error, description } => TokenFailure::Refused {
                // The codes of the standard mean what they mean, whatever the secret is called.
                error: if OF_STANDARD.contains(&error.as_str()) { error } else { sent.without(&error) },
                description: description.map(|text| sent.without(&text)),
            },
        }
    }

    /// The failure of a sign-in at `provider`, whose client was authenticated by `auth`.
    pub fn at_sign_in(self, provider: &Provider, auth: ClientAuth) -> Failure {
        let failure = match self {
            TokenFailure::Unavailable(why, remedy) => {
                Failure::new(Reason::ProviderUnreachable, why).remedied_by(remedy)
            }
            TokenFailure::Unusable(why, remedy) => Failure::new(Reason::TokenAnswer, why).remedied_by(remedy),
            TokenFailure::Refused { error, description } => {
                provider.refusal_of_tokens(&error, description.as_deref(), auth)
            }
        };
        failure.of_provider(provider.name())
    }
}

impl From<HttpError> for TokenFailure {
    fn from(error: HttpError) -> Self {
        let said = format!("token endpoint: {error}");
        match error {
            // It answers, and what it says is at fault: to try again does not help.
            HttpError::TooLarge | HttpError::Status(300..400, _) => {
                TokenFailure::Unusable(said, error.remedy(ENDPOINT))
            }
            _ => TokenFailure::Unavailable(said, error.remedy(ENDPOINT)),
        }
    }
}

/// Who says where tokens are asked for.
const ENDPOINT: Address = Address::Member("token_endpoint");

/// What the provider issued. Its `Debug` shows no token.
#[derive(Default)]
pub(super) struct Tokens {
    /// `None` where only an ID token was asked for.
    pub access_token: Option<Secret>,
    /// Seconds.
    pub expires_in: Option<u64>,
    pub refresh_token: Option<Secret>,
    pub id_token: Option<String>,
    /// Names of the members that came, where no `id_token` did.
    pub members: String,
    /// By how many seconds the clock of the answer's `Date` was ahead of ours, or, where it is negative, behind.
    pub clock: Option<i64>,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokens").field("expires_in", &self.expires_in).finish_non_exhaustive()
    }
}

/// Reads a token response (RFC 6749 §5.1, OpenID Connect Core §3.1.3.3) or an error (RFC 6749 §5.2).
fn read(response: &HttpResponse) -> Result<Tokens, TokenFailure> {
    let unusable = |why: &str| TokenFailure::Unusable(format!("token endpoint: {why}"), None);
    // An error is told by its members: some are labelled as text.
    let document = Members::read(response.body());
    let error = document.as_ref().ok().and_then(error);
    if let Some(refused) = error {
        return Err(refused);
    }
    let status = response.status();
    if status != StatusCode::OK {
        return Err(unusable(&format!("HTTP status {} and no `error`", status.as_u16())));
    }
    if response.headers().contains_key(CONTENT_TYPE) {
        let no_json =
            |error: HttpError| TokenFailure::Unusable(format!("token endpoint: {error}"), error.remedy(ENDPOINT));
        require_json(response).map_err(no_json)?;
    }
    let document = document.map_err(|why| unusable(&why))?;
    let text = |name: &str| match document.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.as_str()).filter(|text| !text.is_empty())),
        Some(_) => Err(unusable(&format!("`{name}` is no text"))),
    };
    let needed = |name: &str| text(name)?.ok_or_else(|| unusable(&format!("no `{name}`")));
    let access_token = Secret::new(needed("access_token")?);
    // In any case (RFC 6749 §5.1); another type would be sent in a way we do not know.
    if !needed("token_type")?.eq_ignore_ascii_case("bearer") {
        return Err(unusable("`token_type` is not Bearer"));
    }
    let id_token = text("id_token")?.map(str::to_owned);
    let names = || document.keys().take(20).map(|name| in_words(name)).collect::<Vec<_>>().join(", ");
    Ok(Tokens {
        members: if id_token.is_none() { names() } else { String::new() },
        access_token: Some(access_token),
        expires_in: document.get("expires_in").and_then(seconds),
        refresh_token: text("refresh_token")?.map(Secret::new),
        id_token,
        clock: clock_ahead(response, SystemTime::now()),
    })
}

/// An error with the provider's words; also where its status is 200, as some have it.
fn error(document: &Map<String, Value>) -> Option<TokenFailure> {
    let text = |name: &str| document.get(name).and_then(Value::as_str);
    let error = text("error").filter(|_| !document.contains_key("access_token"))?;
    Some(TokenFailure::Refused { error: error.to_owned(), description: text("error_description").map(str::to_owned) })
}

/// A number, as RFC 6749 wants it, or a text of one, as Entra's older endpoint sends it. What is neither is as good
/// as absent: the member is only recommended.
fn seconds(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}
