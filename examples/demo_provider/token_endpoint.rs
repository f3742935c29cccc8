//! The token endpoint (RFC 6749 §3.2): codes and refresh tokens against tokens.

use axum::Json;
use axum::extract::{Form, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode_str;
use serde_json::json;

use crate::grants::{ACCESS_TOKEN_SECONDS, Client, Grant};
use crate::tokens::{hash, verifies};
use crate::{Params, Provider, Shared, once_each};

/// The error code of RFC 6749 §5.2.
type Refusal = &'static str;

pub async fn token(State(provider): Shared, headers: HeaderMap, Form(form): Form<Vec<(String, String)>>) -> Response {
    let answer = once_each(&form)
        .ok_or("invalid_request")
        .and_then(|params| redeem(&provider, &headers, &params))
        .and_then(|(grant, renewable)| tokens(&provider, grant, renewable));
    let no_store = [(header::CACHE_CONTROL, "no-store")];
    match answer {
        Ok(tokens) => (no_store, Json(tokens)).into_response(),
        Err(error @ "invalid_client") => {
            let challenge = [(header::WWW_AUTHENTICATE, r#"Basic realm="demo provider""#)];
            (StatusCode::UNAUTHORIZED, challenge, no_store, Json(json!({ "error": error }))).into_response()
        }
        Err(error) => (StatusCode::BAD_REQUEST, no_store, Json(json!({ "error": error }))).into_response(),
    }
}

fn redeem(provider: &Provider, headers: &HeaderMap, params: &Params) -> Result<(Grant, bool), Refusal> {
    let get = |name: &str| params.get(name).map(String::as_str).unwrap_or_default();
    let client = authenticate(provider, headers, params)?;
    match get("grant_type") {
        "authorization_code" => {
            let grant = provider.grants().redeem_code(get("code")).ok_or("invalid_grant")?;
            let fits = grant.request.client_id == client.id
                && grant.request.redirect_uri == get("redirect_uri")
                && verifies(get("code_verifier"), &grant.request.code_challenge);
            let renewable = grant.request.scope.split(' ').any(|s| s == "offline_access");
            fits.then_some((grant, renewable)).ok_or("invalid_grant")
        }
        "refresh_token" => {
            let grant = provider.grants().redeem_refresh(get("refresh_token"), &client.id);
            // The nonce belongs to the first ID token only (OpenID Connect Core §12.2).
            let without_nonce = |mut grant: Grant| {
                grant.request.nonce = None;
                (grant, true)
            };
            grant.map(without_nonce).ok_or("invalid_grant")
        }
        _ => Err("unsupported_grant_type"),
    }
}

fn tokens(provider: &Provider, grant: Grant, renewable: bool) -> Result<serde_json::Value, Refusal> {
    let access_token = provider.grants().issue_access(&grant);
    let id_token = provider.signer.id_token(&grant, &access_token).map_err(|_| "server_error")?;
    let mut answer = json!({
        "access_token": access_token,
        "token_type": "Bearer",
        "expires_in": ACCESS_TOKEN_SECONDS,
        "scope": grant.request.scope,
        "id_token": id_token,
    });
    if renewable {
        answer["refresh_token"] = json!(provider.grants().issue_refresh(grant));
    }
    Ok(answer)
}

/// The client, authenticated in exactly one way (RFC 6749 §2.3): `client_secret_basic`, `client_secret_post`, or
/// `none` for a client that has no secret.
fn authenticate<'a>(provider: &'a Provider, headers: &HeaderMap, params: &Params) -> Result<&'a Client, Refusal> {
    let basic = headers.get(header::AUTHORIZATION).map(|v| v.to_str().ok().and_then(read_basic));
    let posted_id = params.get("client_id").cloned();
    let (id, secret) = match (basic, params.get("client_secret")) {
        (Some(_), Some(_)) => return Err("invalid_request"),
        (Some(None), None) => return Err("invalid_client"),
        (Some(Some((id, _))), None) if posted_id.as_ref().is_some_and(|posted| *posted != id) => {
            return Err("invalid_request");
        }
        (Some(Some((id, secret))), None) => (id, Some(secret)),
        (None, secret) => (posted_id.ok_or("invalid_client")?, secret.cloned()),
    };
    let client = provider.client(&id).ok_or("invalid_client")?;
    let hashed = |secret: Option<&String>| secret.map(|s| hash(s.as_bytes()));
    (hashed(client.secret.as_ref()) == hashed(secret.as_ref())).then_some(client).ok_or("invalid_client")
}

/// User and password of `Basic`, both form-encoded (RFC 6749 §2.3.1).
fn read_basic(value: &str) -> Option<(String, String)> {
    let (scheme, encoded) = value.split_once(' ')?;
    let text = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (id, secret) = text.split_once(':').filter(|_| scheme.eq_ignore_ascii_case("basic"))?;
    let decode = |s: &str| Some(percent_decode_str(&s.replace('+', " ")).decode_utf8().ok()?.into_owned());
    Some((decode(id)?, decode(secret)?))
}
