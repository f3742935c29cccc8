//! Who somebody is, by the ID token and, where asked for, the userinfo endpoint (OpenID Connect Core §5.3).

use std::borrow::Cow;

use http::header::{ACCEPT, AUTHORIZATION};
use openidconnect::HttpResponse;
use serde_json::{Map, Value};
use url::Url;

use super::fresh::Sender;
use super::id_token::VerifiedIdToken;
use super::provider::{Provider, Snapshot};
use super::signed::{self, Fault, Signed};
use super::token::Tokens;
use crate::claims::{self, ClaimNames};
use crate::config::values::Secret;
use crate::http_client::{HttpError, media_type, require_success};
use crate::identity::Identity;
use crate::reason::{Failure, Reason};
use crate::sent::Sent;
use crate::words::in_words;

/// `typ` of a signed answer; most providers write `JWT` or nothing.
const TYPES: [&str; 1] = ["jwt"];

impl Provider {
    pub(super) async fn identity(
        &self,
        snapshot: &Snapshot,
        tokens: &Tokens,
        verified: &VerifiedIdToken,
    ) -> Result<Identity, Failure> {
        let claims = self.all_claims(snapshot, tokens, verified).await?;
        let names = ClaimNames::of_provider(&self.settings);
        self.note_claims(&names, &verified.subject, &claims);
        claims::identity(&names, &self.needed, &verified.subject, &claims).map_err(|f| self.explain_unverified(f))
    }

    /// The same after a renewal: what `previous` was where the provider says nothing but who it is.
    pub(super) async fn renewed_identity(
        &self,
        snapshot: &Snapshot,
        tokens: &Tokens,
        verified: &VerifiedIdToken,
        previous: &Identity,
    ) -> Result<Identity, Failure> {
        let claims = self.all_claims(snapshot, tokens, verified).await?;
        let names = ClaimNames::of_provider(&self.settings);
        match claims::say_something(&names, &self.needed, &claims) {
            true => {
                self.note_claims(&names, &verified.subject, &claims);
                claims::identity(&names, &self.needed, &verified.subject, &claims)
                    .map_err(|f| self.explain_unverified(f))
            }
            false => Ok(previous.clone()),
        }
    }

    /// Those of the ID token, and what the userinfo endpoint adds where it is to be asked.
    async fn all_claims(
        &self,
        snapshot: &Snapshot,
        tokens: &Tokens,
        verified: &VerifiedIdToken,
    ) -> Result<Map<String, Value>, Failure> {
        let mut claims = verified.claims.clone();
        let endpoint = snapshot.metadata.userinfo_endpoint.as_ref().filter(|_| self.settings.userinfo);
        if let (Some(endpoint), Some(access_token)) = (endpoint, &tokens.access_token) {
            let endpoint = snapshot.dialled("userinfo_endpoint", endpoint);
            let said = self.userinfo(snapshot, endpoint, access_token, verified).await;
            // It may quote the token that it refuses.
            let said = said.map_err(|failure| Sent::new([access_token.expose()]).cleaned(failure));
            merge(&mut claims, self.counted("userinfo", said)?);
        }
        Ok(claims)
    }

    /// The claims of the userinfo endpoint, of the same subject or not at all.
    async fn userinfo(
        &self,
        snapshot: &Snapshot,
        endpoint: &Url,
        access_token: &Secret,
        verified: &VerifiedIdToken,
    ) -> Result<Map<String, Value>, Failure> {
        let response = self.ask_userinfo(snapshot, endpoint, access_token).await.map_err(|error| {
            let reason = match &error {
                HttpError::Status(status, _) if *status < 500 && *status != 429 => Reason::UserinfoAnswer,
                HttpError::ContentType(_) | HttpError::TooLarge | HttpError::Setup(_) => Reason::UserinfoAnswer,
                _ => Reason::ProviderUnreachable,
            };
            Failure::new(reason, format!("userinfo: {error}"))
        })?;
        let claims = match media_type(&response).as_deref() {
            Some("application/jwt") => self.signed_userinfo(snapshot, response.body(), verified).await?,
            _ => serde_json::from_slice(response.body()).map_err(|_| unusable("the answer is no JSON object"))?,
        };
        // Core §5.3.2: else another person's claims could be put in.
        match claims.get("sub").and_then(Value::as_str) {
            Some(sub) if sub == verified.subject => Ok(claims),
            _ => Err(unusable("its `sub` is not that of the ID token")),
        }
    }

    async fn ask_userinfo(
        &self,
        snapshot: &Snapshot,
        endpoint: &Url,
        access_token: &Secret,
    ) -> Result<HttpResponse, HttpError> {
        let request = http::Request::get(endpoint.as_str())
            .header(ACCEPT, "application/json, application/jwt")
            .header(AUTHORIZATION, format!("Bearer {}", access_token.expose()))
            .body(Vec::new())
            .map_err(|_| HttpError::Setup("not an address or token".into()))?;
        let response = self.http_of(snapshot).send(request).await?;
        require_success(&response)?;
        match media_type(&response).as_deref() {
            Some(kind) if kind == "application/jwt" || kind == "application/json" || kind.ends_with("+json") => {
                Ok(response)
            }
            kind => Err(HttpError::ContentType(kind.unwrap_or("none").chars().take(80).collect())),
        }
    }

    /// The claims of a signed answer (Core §5.3.2): signed by the provider, and for this client where it says for whom.
    async fn signed_userinfo(
        &self,
        snapshot: &Snapshot,
        body: &[u8],
        verified: &VerifiedIdToken,
    ) -> Result<Map<String, Value>, Failure> {
        let token = std::str::from_utf8(body).map_err(|_| unusable("the signed answer is no text"))?;
        let token = self.decrypted(token.trim()).map_err(|failure| unusable(&failure.detail))?;
        // What was encrypted for us need not be signed.
        if matches!(token, Cow::Owned(_)) && token.starts_with('{') {
            return serde_json::from_str(&token).map_err(|_| unusable("the answer is no JSON object"));
        }
        let algorithms = &self.settings.id_token_algorithms;
        let of_keys = |fault: &Fault| matches!(fault, Fault::Key(_) | Fault::Signature(_));
        let signed = self
            .with_keys(snapshot, |keys| signed::verify(&token, keys, algorithms, &TYPES), of_keys, Sender::Known)
            .await;
        let Signed { claims, .. } = signed.map_err(|fault| unusable(&fault.into_detail()))?;
        // The ID token's own, which the issuer of several tenants fills in.
        let expected = verified.claims.get("iss");
        if let Some(other) = claims.get("iss").filter(|issuer| Some(*issuer) != expected) {
            let other = other.as_str().map_or_else(|| "what is no text".into(), in_words);
            return Err(unusable(&format!("its `iss` is not that of the ID token: {other}")));
        }
        let client_id = self.settings.client_id.as_str();
        let for_us = match claims.get("aud") {
            None => true,
            Some(Value::Array(several)) => several.iter().any(|audience| audience == client_id),
            Some(one) => one == client_id,
        };
        match for_us {
            true => Ok(claims),
            false => Err(unusable(&format!("its `aud` does not hold `{client_id}`"))),
        }
    }
}

/// Adds what the ID token does not say. That an address is verified is said of the address beside it.
fn merge(claims: &mut Map<String, Value>, said: Map<String, Value>) {
    let of_another = claims.contains_key("email") && claims.get("email") != said.get("email");
    for (name, value) in said.into_iter().filter(|(name, _)| !(of_another && name == "email_verified")) {
        claims.entry(name).or_insert(value);
    }
}

fn unusable(why: &str) -> Failure {
    Failure::new(Reason::UserinfoAnswer, format!("userinfo: {why}"))
}
