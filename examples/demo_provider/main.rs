//! The demo's OpenID provider: one client, two people, everything in memory.
//!
//! For `make demo` only, and never part of the `doorward` binary: passwords stand in the source. What it does it
//! does by the book, so that the demo shows a real sign-in: authorization code with PKCE S256 (RFC 7636), exact
//! redirect URIs, single-use codes of one minute, nonce, `at_hash`, the `iss` response parameter (RFC 9207),
//! rotating refresh tokens, userinfo, and RP-initiated logout.

mod grants;
mod pages;
mod token_endpoint;
mod tokens;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::extract::{Form, Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use grants::{AuthorizationRequest, Client, Grants, PEOPLE};
use serde_json::json;
use tokens::Signer;
use url::Url;

const ADDRESS: &str = "127.0.0.2:8081";
const ISSUER: &str = "http://127.0.0.2:8081";
const GATEWAY: &str = "http://127.0.0.1:8080";

/// What a handler can see.
struct Provider {
    clients: Vec<Client>,
    signer: Signer,
    grants: Mutex<Grants>,
}

impl Provider {
    fn client(&self, id: &str) -> Option<&Client> {
        self.clients.iter().find(|c| c.id == id)
    }

    fn grants(&self) -> MutexGuard<'_, Grants> {
        self.grants.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

type Shared = State<Arc<Provider>>;
type Params = HashMap<String, String>;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let file = std::env::args().nth(1).unwrap_or_else(|| "examples/demo.client-secret".into());
    let secret = std::fs::read_to_string(&file)
        .map_err(|e| format!("{file}: {e}; `scripts/demo` makes this file, or name another as the first argument"))?;
    let secret = secret.trim().to_owned();
    if secret.is_empty() {
        return Err(format!("{file} is empty").into());
    }
    let redirect_uris = vec![format!("{GATEWAY}/oidc/callback")];
    let post_logout_uris = vec![format!("{GATEWAY}/oidc/signed-out")];
    let client = |id: &str, secret| Client {
        id: id.into(),
        secret,
        redirect_uris: redirect_uris.clone(),
        post_logout_uris: post_logout_uris.clone(),
    };
    let provider = Arc::new(Provider {
        clients: vec![client("doorward-demo", Some(secret)), client("doorward-demo-public", None)],
        signer: Signer::generate()?,
        grants: Mutex::default(),
    });

    let app = Router::new()
        .route("/", get(|| async { page(StatusCode::OK, pages::front()) }))
        .route("/.well-known/openid-configuration", get(metadata))
        .route("/jwks", get(|State(p): Shared| async move { Json(p.signer.jwks()) }))
        .route("/authorize", get(authorize))
        .route("/login", post(login))
        .route("/token", post(token_endpoint::token))
        .route("/userinfo", get(userinfo).post(userinfo))
        .route("/logout", get(logout).post(confirmed_logout))
        .with_state(provider);
    let listener = tokio::net::TcpListener::bind(ADDRESS).await.map_err(|e| format!("{ADDRESS}: {e}"))?;
    println!("demo provider: issuer {ISSUER}");
    axum::serve(listener, app).await?;
    Ok(())
}

async fn metadata() -> Json<serde_json::Value> {
    Json(json!({
        "issuer": ISSUER,
        "authorization_endpoint": format!("{ISSUER}/authorize"),
        "token_endpoint": format!("{ISSUER}/token"),
        "userinfo_endpoint": format!("{ISSUER}/userinfo"),
        "jwks_uri": format!("{ISSUER}/jwks"),
        "end_session_endpoint": format!("{ISSUER}/logout"),
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": ["authorization_code", "refresh_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post", "none"],
        "code_challenge_methods_supported": ["S256"],
        "scopes_supported": ["openid", "profile", "email", "offline_access"],
        "claims_supported":
            ["sub", "name", "preferred_username", "groups", "email", "email_verified", "auth_time", "nonce"],
        "prompt_values_supported": ["none", "login"],
        "authorization_response_iss_parameter_supported": true,
    }))
}

/// OpenID Connect Core §3.1.2. What is wrong with client or redirect URI is shown here; the rest goes back to the client.
async fn authorize(State(provider): Shared, headers: HeaderMap, query: Query<Vec<(String, String)>>) -> Response {
    let Some(params) = once_each(&query) else {
        return problem("A parameter came twice.");
    };
    let get = |name: &str| params.get(name).map(String::as_str).unwrap_or_default();
    let Some(client) = provider.client(get("client_id")) else {
        return problem("There is no such client.");
    };
    if !client.redirect_uris.iter().any(|uri| uri == get("redirect_uri")) {
        return problem("This redirect URI is not registered.");
    }
    let request = AuthorizationRequest {
        client_id: client.id.clone(),
        redirect_uri: get("redirect_uri").into(),
        state: params.get("state").cloned(),
        nonce: params.get("nonce").cloned(),
        scope: get("scope").into(),
        code_challenge: get("code_challenge").into(),
    };
    if get("response_type") != "code" {
        return back(&request, &[("error", "unsupported_response_type")]);
    }
    if !request.scope.split(' ').any(|s| s == "openid") {
        return back(&request, &[("error", "invalid_scope")]);
    }
    // 43 characters: the length of a SHA-256 in base64url (RFC 7636 §4.2).
    if get("code_challenge_method") != "S256" || request.code_challenge.len() != 43 {
        return back(
            &request,
            &[("error", "invalid_request"), ("error_description", "code_challenge with S256 is required")],
        );
    }
    let signed_in = provider.grants().session(cookie(&headers, SESSION_COOKIE));
    let prompt: Vec<&str> = get("prompt").split(' ').collect();
    let max_age = params.get("max_age").map(|age| age.parse::<u64>());
    if let Some(Err(_)) = max_age {
        return back(&request, &[("error", "invalid_request")]);
    }
    match signed_in {
        Some((person, auth_time))
            if !prompt.contains(&"login") && max_age.is_none_or(|age| auth_time + age.unwrap_or(0) > now()) =>
        {
            let code = provider.grants().issue_code(request.clone(), person, auth_time);
            back(&request, &[("code", &code)])
        }
        _ if prompt.contains(&"none") => back(&request, &[("error", "login_required")]),
        _ => {
            // The form belongs to this browser: without the cookie, somebody else could have it sent (login CSRF).
            let browser = cookie(&headers, BROWSER_COOKIE).map_or_else(tokens::random, str::to_owned);
            let hint = get("login_hint").to_owned();
            let origin = origin_of(&request.redirect_uri);
            let id = provider.grants().open_request(request, &browser);
            let mut response = form_page(StatusCode::OK, pages::login(&id, &hint, None), &origin);
            set_cookie(&mut response, BROWSER_COOKIE, &browser);
            response
        }
    }
}

async fn login(State(provider): Shared, headers: HeaderMap, Form(form): Form<Params>) -> Response {
    let get = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
    let browser = cookie(&headers, BROWSER_COOKIE).unwrap_or_default();
    let Some(request) = provider.grants().request(get("request"), browser) else {
        return problem("This sign-in is too old, or was started in another browser. Start again at the app.");
    };
    let Some(person) = PEOPLE.iter().find(|p| p.user == get("user") && p.password == get("password")) else {
        let html = pages::login(get("request"), get("user"), Some("User or password is wrong."));
        return form_page(StatusCode::UNPROCESSABLE_ENTITY, html, &origin_of(&request.redirect_uri));
    };
    let (session, code) = {
        let mut grants = provider.grants();
        grants.close_request(get("request"));
        (grants.open_session(person), grants.issue_code(request.clone(), person, now()))
    };
    let mut response = back(&request, &[("code", &code)]);
    set_cookie(&mut response, SESSION_COOKIE, &session);
    response
}

/// OpenID Connect Core §5.3.
async fn userinfo(State(provider): Shared, headers: HeaderMap) -> Response {
    let token = headers.get(header::AUTHORIZATION).and_then(|v| v.to_str().ok()?.strip_prefix("Bearer "));
    match token.and_then(|token| provider.grants().access(token)) {
        Some((person, scope)) => Json(tokens::claims(person, &scope)).into_response(),
        None => {
            (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, r#"Bearer error="invalid_token""#)]).into_response()
        }
    }
}

/// OpenID Connect RP-Initiated Logout §2. With the person's own ID token as hint the session ends at once; without
/// one anybody could have linked here, so the person is asked.
async fn logout(State(provider): Shared, headers: HeaderMap, Query(params): Query<Params>) -> Response {
    let hint = params.get("id_token_hint").and_then(|token| provider.signer.open(token));
    let hinted = |name: &str| hint.as_ref().and_then(|h| h[name].as_str()).map(str::to_owned);
    let client_id = params.get("client_id").cloned().or_else(|| hinted("aud"));
    let target = params.get("post_logout_redirect_uri");
    let client = client_id.as_deref().and_then(|id| provider.client(id));
    if let Some(target) = target
        && !client.is_some_and(|c| c.post_logout_uris.contains(target))
    {
        return problem("This address to go to after signing out is not registered.");
    }
    let session = cookie(&headers, SESSION_COOKIE);
    let signed_in = provider.grants().session(session);
    if let Some((person, _)) = signed_in
        && hinted("sub").as_deref() != Some(person.subject)
    {
        return form_page(StatusCode::OK, pages::confirm_logout(person), "");
    }
    provider.grants().close_session(session);
    let mut response = match target.and_then(|t| Url::parse(t).ok()) {
        Some(mut url) => {
            if let Some(state) = params.get("state") {
                url.query_pairs_mut().append_pair("state", state);
            }
            Redirect::to(url.as_str()).into_response()
        }
        None => page(StatusCode::OK, pages::signed_out()),
    };
    set_cookie(&mut response, SESSION_COOKIE, "");
    response
}

/// The form of [`pages::confirm_logout`]. SameSite=Lax keeps the cookie out of posts from other sites.
async fn confirmed_logout(State(provider): Shared, headers: HeaderMap) -> Response {
    provider.grants().close_session(cookie(&headers, SESSION_COOKIE));
    let mut response = page(StatusCode::OK, pages::signed_out());
    set_cookie(&mut response, SESSION_COOKIE, "");
    response
}

// === helpers of the handlers ===

const SESSION_COOKIE: &str = "demo_provider_session";
const BROWSER_COOKIE: &str = "demo_provider_browser";

/// Seconds since 1970.
fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_secs())
}

/// RFC 6749 §3.1: a parameter must not come more than once.
fn once_each(pairs: &[(String, String)]) -> Option<Params> {
    let params: Params = pairs.iter().cloned().collect();
    (params.len() == pairs.len()).then_some(params)
}

fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let pairs = headers.get_all(header::COOKIE).iter().filter_map(|v| v.to_str().ok()).flat_map(|v| v.split(';'));
    pairs.filter_map(|pair| pair.trim().split_once('=')).find(|(n, _)| *n == name).map(|(_, value)| value)
}

/// Sets a cookie until the browser closes; an empty value deletes it. Not `Secure`: the demo has no TLS.
fn set_cookie(response: &mut Response, name: &str, value: &str) {
    let expiry = if value.is_empty() { "; Max-Age=0" } else { "" };
    if let Ok(line) = HeaderValue::from_str(&format!("{name}={value}; Path=/; HttpOnly; SameSite=Lax{expiry}")) {
        response.headers_mut().append(header::SET_COOKIE, line);
    }
}

fn origin_of(uri: &str) -> String {
    Url::parse(uri).map(|u| u.origin().ascii_serialization()).unwrap_or_default()
}

/// The authorization response: to the redirect URI with `state` and `iss`.
fn back(request: &AuthorizationRequest, answer: &[(&str, &str)]) -> Response {
    let Ok(mut url) = Url::parse(&request.redirect_uri) else {
        return problem("This redirect URI cannot be read.");
    };
    url.query_pairs_mut().extend_pairs(answer).extend_pairs(request.state.iter().map(|s| ("state", s)));
    url.query_pairs_mut().append_pair("iss", ISSUER);
    Redirect::to(url.as_str()).into_response()
}

fn problem(text: &str) -> Response {
    page(StatusCode::BAD_REQUEST, pages::problem(text))
}

fn page(status: StatusCode, html: String) -> Response {
    form_page(status, html, "")
}

/// `form_target`: an origin that a form's answer may redirect to beside our own; browsers hold `form-action` against
/// the whole chain of redirects.
fn form_page(status: StatusCode, html: String, form_target: &str) -> Response {
    let policy = format!(
        "default-src 'none'; style-src 'unsafe-inline'; form-action 'self' {form_target}; frame-ancestors 'none'; base-uri 'none'"
    );
    let headers = [(header::CONTENT_SECURITY_POLICY, policy.as_str()), (header::CACHE_CONTROL, "no-store")];
    (status, headers, Html(html)).into_response()
}
