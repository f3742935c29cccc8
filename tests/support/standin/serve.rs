//! The endpoints of a stand-in. Everybody who comes is Anna and has signed in there before: what matters is what the
//! gateway asks for, and what it is answered.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Map, Value, json};

use super::keys;
use super::product::{Kind, Product, Refresh, Refusal, Registration};
use crate::support::forger::now;
use crate::support::random_word;

pub type Shared = Arc<Mutex<Inner>>;
pub type Params = Vec<(String, String)>;
pub type Change = Box<dyn Fn(&mut Map<String, Value>) + Send>;

/// A request to the token endpoint.
#[derive(Clone, Debug)]
pub struct TokenRequest {
    pub origin: Option<String>,
    /// Whether there was an `Authorization` header.
    pub authorization: bool,
    pub form: Params,
}

impl TokenRequest {
    /// The form's value of that name, or nothing.
    pub fn get(&self, name: &str) -> &str {
        get(&self.form, name)
    }

    pub fn has(&self, name: &str) -> bool {
        self.form.iter().any(|(key, _)| key == name)
    }
}

/// What was agreed on at an authorization request.
#[derive(Clone, Default)]
struct Grant {
    redirect_uri: String,
    nonce: String,
    scopes: Vec<String>,
    challenge: String,
    renewable: bool,
    signed_in_at: i64,
}

pub struct Inner {
    pub product: Product,
    pub client: Registration,
    pub authorizations: Vec<Params>,
    pub token_requests: Vec<TokenRequest>,
    pub logouts: Vec<Params>,
    pub revocations: Vec<Params>,
    pub id_token: Vec<Change>,
    pub userinfo: Vec<Change>,
    /// What an endpoint answers instead.
    pub faults: HashMap<&'static str, (u16, String)>,
    codes: HashMap<String, Grant>,
    access_tokens: HashMap<String, Grant>,
    refresh_tokens: HashMap<String, Grant>,
}

impl Inner {
    pub fn new(product: Product, client: Registration) -> Inner {
        Inner {
            product,
            client,
            authorizations: Vec::new(),
            token_requests: Vec::new(),
            logouts: Vec::new(),
            revocations: Vec::new(),
            id_token: Vec::new(),
            userinfo: Vec::new(),
            faults: HashMap::new(),
            codes: HashMap::new(),
            access_tokens: HashMap::new(),
            refresh_tokens: HashMap::new(),
        }
    }

    /// The name of the endpoint at an address.
    fn endpoint(&self, url: &str) -> Option<&'static str> {
        let below = |base: &str| format!("{}/.well-known/openid-configuration", base.trim_end_matches('/'));
        let product = &self.product;
        if product.metadata_also_at.iter().chain([&product.issuer]).any(|base| url == below(base)) {
            return Some("metadata");
        }
        if product.logout_endpoint() == Some(url) {
            return Some("logout");
        }
        let named = [
            ("jwks_uri", "keys"),
            ("authorization_endpoint", "authorize"),
            ("token_endpoint", "token"),
            ("userinfo_endpoint", "userinfo"),
            ("revocation_endpoint", "revoke"),
        ];
        named.into_iter().find(|(entry, _)| product.endpoint(entry) == url).map(|(_, name)| name)
    }

    /// The ID token for a grant; of a code, an access token or both it tells the hashes (OpenID Connect Core §3.3.2.11).
    fn id_token(&self, grant: &Grant, code: Option<&str>, access_token: Option<&str>) -> String {
        let (product, client) = (&self.product, &self.client);
        let now = now();
        let mut claims = product.granted(&product.id_token, &grant.scopes, &client.client_id);
        let own = json!({
            "iss": product.token_issuer, "sub": product.sub, "aud": client.client_id, "iat": now, "exp": now + 3600,
            "auth_time": grant.signed_in_at,
        });
        claims.extend(own.as_object().cloned().unwrap_or_default());
        for (name, value) in [("c_hash", code), ("at_hash", access_token)] {
            claims.extend(value.map(|value| (name.to_owned(), half_hash(value).into())));
        }
        let optional = |name: &String| product.optional_claims.contains(name) && !client.optional_claims.contains(name);
        claims.retain(|name, _| !optional(name));
        if access_token.is_some() {
            claims.retain(|name, _| !product.not_beside_access_token.contains(name));
        }
        if !grant.nonce.is_empty() {
            claims.insert("nonce".into(), grant.nonce.clone().into());
        }
        self.id_token.iter().for_each(|change| change(&mut claims));
        let signed = keys::sign(&client.id_token_alg, &client.secret, &Value::Object(claims));
        match &client.encryption {
            Some((public, enc)) => keys::encrypt(public, enc, &signed),
            None => signed,
        }
    }

    /// The answer to a mistake; an empty `invalid_request` where the product's documents say nothing of it.
    fn refuse(&self, refusals: &BTreeMap<String, Refusal>, mistake: &str, params: &Params, scope: &str) -> Response {
        match refusals.get(mistake) {
            Some(refusal) => self.answer(refusal, params, scope),
            None => (StatusCode::BAD_REQUEST, axum::Json(json!({"error": "invalid_request"}))).into_response(),
        }
    }

    fn answer(&self, refusal: &Refusal, params: &Params, scope: &str) -> Response {
        let back = self.product.logout.as_ref().map_or("", |logout| get(params, &logout.back));
        let filled = |text: &str| {
            let text = text.replace("{client_id}", &self.client.client_id).replace("{scope}", scope);
            text.replace("{redirect_uri}", get(params, "redirect_uri")).replace("{back}", back)
        };
        let status = |code: &u16| StatusCode::from_u16(*code).expect("a status");
        match refusal {
            Refusal::Page { status: code, page } => {
                let text = filled(page).replace('<', "&lt;");
                (status(code), axum::response::Html(format!("<!DOCTYPE html><p>{text}</p>"))).into_response()
            }
            Refusal::Answer { status: code, body } => {
                let text = filled(&body.to_string());
                (status(code), [("content-type", "application/json"), ("cache-control", "no-store")], text)
                    .into_response()
            }
            Refusal::Back { error, error_description } => {
                let mut response = vec![
                    ("error".to_owned(), filled(error)),
                    ("error_description".to_owned(), filled(error_description)),
                ];
                // Who says `iss` says it of errors, too (RFC 9207 §2).
                let issuer = self.product.response_extra.get_key_value("iss");
                response.extend(issuer.map(|(name, value)| (name.clone(), value.clone())));
                self.respond(params, response)
            }
        }
    }

    /// An authorization response in the mode that was asked for.
    fn respond(&self, params: &Params, mut response: Params) -> Response {
        let state = params.iter().filter(|(name, _)| name == "state").cloned();
        response.extend(state);
        let modes = self.product.metadata.get("response_modes_supported").and_then(Value::as_array);
        let posts = modes.is_some_and(|modes| modes.iter().any(|mode| mode == "form_post"));
        let redirect_uri = get(params, "redirect_uri");
        if posts && get(params, "response_mode") == "form_post" {
            let quoted = |text: &str| text.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;");
            let input = |(name, value): &(String, String)| {
                format!("<input type=\"hidden\" name=\"{}\" value=\"{}\">", quoted(name), quoted(value))
            };
            let inputs: String = response.iter().map(input).collect();
            let form = format!("<form method=\"post\" action=\"{}\">{inputs}</form>", quoted(redirect_uri));
            let script = "<script>document.forms[0].submit()</script>";
            return axum::response::Html(format!("<!DOCTYPE html><title>Working…</title>{form}{script}"))
                .into_response();
        }
        let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(response).finish();
        // Tokens never travel in the query (OAuth 2.0 Multiple Response Types §5).
        let sign = if get(params, "response_type").contains("id_token") { '#' } else { '?' };
        Redirect::to(&format!("{redirect_uri}{sign}{query}")).into_response()
    }

    fn authorize(&mut self, params: &Params) -> Response {
        self.authorizations.push(params.clone());
        let refusals = self.product.authorize_errors.clone();
        let refuse = |inner: &Inner, mistake: &str, scope: &str| inner.refuse(&refusals, mistake, params, scope);
        let wanted = |text: &str| {
            let mut types: Vec<&str> = text.split(' ').collect();
            types.sort_unstable();
            types.join(" ")
        };
        let response_type = wanted(get(params, "response_type"));
        let scopes: Vec<String> = get(params, "scope").split(' ').map(str::to_owned).collect();
        let unknown: Vec<&str> = scopes.iter().map(String::as_str).filter(|scope| !self.product.knows(scope)).collect();
        let with_code = response_type.contains("code");
        let with_pkce = get(params, "code_challenge_method") == "S256" && !get(params, "code_challenge").is_empty();
        if get(params, "client_id") != self.client.client_id {
            return refuse(self, "client", "");
        }
        if !self.client.redirect_uris.iter().any(|uri| uri == get(params, "redirect_uri")) {
            return refuse(self, "redirect_uri", "");
        }
        if !self.client.response_types.iter().any(|known| wanted(known) == response_type) {
            return refuse(self, "response_type", "");
        }
        if !unknown.is_empty() {
            return refuse(self, "scope", &unknown.join(" "));
        }
        if with_code && !with_pkce && self.client.kind == Kind::SinglePage {
            return refuse(self, "pkce", "");
        }
        if response_type.contains("id_token") && get(params, "nonce").is_empty() {
            let why = [("error", "invalid_request"), ("error_description", "Missing parameter: nonce")];
            return self.respond(params, why.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
        }
        let offline = scopes.iter().any(|scope| scope == "offline_access");
        let grant = Grant {
            redirect_uri: get(params, "redirect_uri").to_owned(),
            nonce: get(params, "nonce").to_owned(),
            renewable: match self.product.refresh {
                Refresh::Always => true,
                Refresh::OfflineAccess => offline,
                Refresh::AccessType => get(params, "access_type") == "offline",
            },
            scopes,
            challenge: get(params, "code_challenge").to_owned(),
            signed_in_at: now(),
        };
        let mut response = Params::new();
        let code = with_code.then(random_word);
        if let Some(code) = &code {
            self.codes.insert(code.clone(), grant.clone());
            response.push(("code".into(), code.clone()));
        }
        if response_type.contains("id_token") {
            response.push(("id_token".into(), self.id_token(&grant, code.as_deref(), None)));
        }
        response.extend(self.product.response_extra.clone());
        self.respond(params, response)
    }

    /// The mistake in how the client authenticated itself, if there is one.
    fn authentication(&self, request: &TokenRequest, basic: Option<&str>) -> Option<&'static str> {
        let (client, errors) = (&self.client, &self.product.token_errors);
        let form_secret = request.has("client_secret").then(|| request.get("client_secret"));
        let assertion = request.has("client_assertion").then(|| request.get("client_assertion"));
        let ways =
            usize::from(request.authorization) + usize::from(form_secret.is_some()) + usize::from(assertion.is_some());
        let doubled = request.authorization && request.has("client_id");
        // Okta takes a client_id in the form beside the header for a second way, too.
        if (ways > 1 || (doubled && self.product.issuer.contains("okta"))) && errors.contains_key("two_ways") {
            return Some("two_ways");
        }
        if client.kind == Kind::SinglePage {
            let alone = request.origin.is_none() && errors.contains_key("spa_without_origin");
            return if ways > 0 && errors.contains_key("secret_of_spa") {
                Some("secret_of_spa")
            } else {
                alone.then_some("spa_without_origin")
            };
        }
        if request.origin.is_some() && errors.contains_key("web_with_origin") {
            return Some("web_with_origin");
        }
        let allowed = |method: &str| client.client_auth.iter().any(|known| known == method);
        if let Some(assertion) = assertion {
            let holds = allowed("private_key_jwt") && self.assertion_holds(assertion);
            return (!holds).then_some("assertion");
        }
        let (secret, method) = match (request.authorization, form_secret) {
            (true, _) => (basic.unwrap_or_default(), "client_secret_basic"),
            (false, Some(secret)) => (secret, "client_secret_post"),
            (false, None) => return Some("no_secret"),
        };
        if !allowed(method) {
            return Some("method");
        }
        if secret != client.secret {
            return Some("wrong_secret");
        }
        client.secret_expired.then_some("expired_secret")
    }

    /// Whether an assertion is signed with the registered certificate's key, and names it by its thumbprint; or with the key
    /// that the provider made, and names it by its `kid`.
    fn assertion_holds(&self, assertion: &str) -> bool {
        let Ok(header) = jsonwebtoken::decode_header(assertion) else { return false };
        let (named, public) = match (&self.client.certificate, &self.client.key) {
            (Some((certificate, public)), _) => {
                let body: String = certificate.lines().filter(|line| !line.starts_with("---")).collect();
                let der = STANDARD.decode(body).expect("PEM");
                let print = |algorithm| URL_SAFE_NO_PAD.encode(ring::digest::digest(algorithm, &der));
                let sha1 = print(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY);
                let named = header.x5t.is_some_and(|x5t| x5t == sha1)
                    || header.x5t_s256.is_some_and(|x5t| x5t == print(&ring::digest::SHA256));
                (named, public)
            }
            (None, Some((name, public))) => (header.kid.as_ref() == Some(name), public),
            (None, None) => return false,
        };
        let mut rules = jsonwebtoken::Validation::new(header.alg);
        rules.set_audience(&[self.product.endpoint("token_endpoint"), &self.product.issuer]);
        rules.set_issuer(&[&self.client.client_id]);
        let key = jsonwebtoken::DecodingKey::from_rsa_pem(public.as_bytes()).expect("a public key");
        named
            && jsonwebtoken::decode::<Value>(assertion, &key, &rules)
                .is_ok_and(|t| t.claims["sub"] == self.client.client_id)
    }

    fn token(&mut self, headers: &HeaderMap, form: Params) -> Response {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let authorization = text("authorization");
        let request = TokenRequest { origin: text("origin"), authorization: authorization.is_some(), form };
        self.token_requests.push(request.clone());
        let errors = self.product.token_errors.clone();
        let refuse = |inner: &Inner, mistake: &str| inner.refuse(&errors, mistake, &request.form, "");
        let basic = authorization.as_deref().and_then(|value| basic(value, &self.client.client_id));
        if let Some(mistake) = self.authentication(&request, basic.as_deref()) {
            return refuse(self, mistake);
        }
        let grant = match request.get("grant_type") {
            "authorization_code" => match self.codes.remove(request.get("code")) {
                Some(grant) if grant.redirect_uri == request.get("redirect_uri") => grant,
                _ => return refuse(self, "code"),
            },
            "refresh_token" => match self.refresh_tokens.remove(request.get("refresh_token")) {
                Some(grant) => Grant { nonce: String::new(), ..grant },
                None => return refuse(self, "refresh_token"),
            },
            _ => return refuse(self, "grant_type"),
        };
        let hash = ring::digest::digest(&ring::digest::SHA256, request.get("code_verifier").as_bytes());
        let with_code = request.get("grant_type") == "authorization_code";
        if with_code && !grant.challenge.is_empty() && URL_SAFE_NO_PAD.encode(hash) != grant.challenge {
            return refuse(self, "verifier");
        }
        let access_token = random_word();
        self.access_tokens.insert(access_token.clone(), grant.clone());
        let mut body = json!({
            "access_token": access_token, "token_type": "Bearer", "expires_in": 3600, "scope": grant.scopes.join(" "),
            "id_token": self.id_token(&grant, None, Some(&access_token)),
        });
        if grant.renewable {
            let refresh_token = random_word();
            body["refresh_token"] = refresh_token.clone().into();
            self.refresh_tokens.insert(refresh_token, grant);
        }
        ([("cache-control", "no-store")], axum::Json(body)).into_response()
    }

    fn claims_of(&self, headers: &HeaderMap) -> Response {
        let bearer = headers.get("authorization").and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
        let Some(grant) = bearer.and_then(|token| self.access_tokens.get(token)) else {
            return (StatusCode::UNAUTHORIZED, [("www-authenticate", "Bearer error=\"invalid_token\"")])
                .into_response();
        };
        let mut claims = self.product.granted(&self.product.userinfo, &grant.scopes, &self.client.client_id);
        claims.insert("sub".into(), self.product.sub.clone().into());
        self.userinfo.iter().for_each(|change| change(&mut claims));
        axum::Json(Value::Object(claims)).into_response()
    }

    fn logout(&mut self, params: &Params) -> Response {
        self.logouts.push(params.clone());
        let Some(logout) = self.product.logout.clone() else { return StatusCode::NOT_FOUND.into_response() };
        let given = |name: &String| !get(params, name).is_empty();
        let one_of = logout.requires_one_of.is_empty() || logout.requires_one_of.iter().any(given);
        if !logout.requires.iter().all(given) || !one_of {
            return self.answer(logout.missing.as_ref().unwrap_or(&logout.refused), params, "");
        }
        let back = get(params, &logout.back);
        if !self.client.post_logout_redirect_uris.iter().any(|uri| uri == back) {
            return self.answer(&logout.refused, params, "");
        }
        let mut url = reqwest::Url::parse(back).expect("a registered address");
        if logout.back == "post_logout_redirect_uri" && !get(params, "state").is_empty() {
            url.query_pairs_mut().append_pair("state", get(params, "state"));
        }
        Redirect::to(url.as_str()).into_response()
    }
}

/// One request to any host.
pub async fn answer(State(shared): State<Shared>, request: Request<Body>) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap_or_default();
    let host = parts.headers.get("host").and_then(|host| host.to_str().ok()).unwrap_or_default();
    let url = format!("https://{host}{}", parts.uri.path());
    let mut inner = shared.lock().expect("a stand-in");
    let Some(endpoint) = inner.endpoint(&url) else {
        return (StatusCode::NOT_FOUND, format!("nothing at {url}")).into_response();
    };
    if let Some((status, body)) = inner.faults.get(endpoint) {
        let kind = if body.starts_with('<') { "text/html" } else { "application/json" };
        let status = StatusCode::from_u16(*status).expect("a status");
        return (status, [("content-type", kind)], body.clone()).into_response();
    }
    let text = if parts.method == "POST" { body.as_ref() } else { parts.uri.query().unwrap_or_default().as_bytes() };
    let params: Params = url::form_urlencoded::parse(text).into_owned().collect();
    match endpoint {
        "metadata" => axum::Json(Value::Object(inner.product.metadata.clone())).into_response(),
        "keys" => axum::Json(json!({"keys": [keys::jwk(&inner.product.signing_key)]})).into_response(),
        "authorize" => inner.authorize(&params),
        "token" => inner.token(&parts.headers, params),
        "userinfo" => inner.claims_of(&parts.headers),
        "logout" => inner.logout(&params),
        _ => {
            inner.revocations.push(params);
            StatusCode::OK.into_response()
        }
    }
}

/// The value of that name, or nothing.
pub fn get<'a>(params: &'a Params, name: &str) -> &'a str {
    params.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
}

/// The secret in a Basic header for `client_id`, both encoded as forms are (RFC 6749 §2.3.1).
fn basic(header: &str, client_id: &str) -> Option<String> {
    let text = String::from_utf8(STANDARD.decode(header.strip_prefix("Basic ")?).ok()?).ok()?;
    let (id, secret) = text.split_once(':')?;
    let decoded =
        |text: &str| url::form_urlencoded::parse(format!("x={text}").as_bytes()).next().map(|(_, v)| v.into_owned());
    (decoded(id)? == client_id).then(|| decoded(secret))?
}

/// The left half of a hash (OpenID Connect Core §3.1.3.6).
fn half_hash(value: &str) -> String {
    URL_SAFE_NO_PAD.encode(&ring::digest::digest(&ring::digest::SHA256, value.as_bytes()).as_ref()[..16])
}
