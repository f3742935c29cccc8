//! A provider that lies: it speaks OpenID Connect well enough to be believed, and then answers what a test wants.
//!
//! A certified provider cannot be made to do this. Keys are made for each forger; it signs with ES256.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::app::App;
use super::gateway::{Config, Gateway};
use super::person::{Answer, Person};
use super::poster::form_page;
use super::setup::{ROUTES, upstream_table};

/// One sign-in as the forger saw its beginning.
#[derive(Clone, Debug, Default)]
pub struct Attempt {
    pub issuer: String,
    pub client_id: String,
    pub redirect_uri: String,
    pub state: String,
    pub nonce: String,
    pub params: Vec<(String, String)>,
}

impl Attempt {
    /// The claims of a proper ID token.
    pub fn claims(&self) -> Value {
        let now = now();
        json!({
            "iss": self.issuer, "sub": "anna", "aud": self.client_id, "nonce": self.nonce, "iat": now, "exp": now + 600,
            "email": "anna@example.com", "email_verified": true, "preferred_username": "anna",
        })
    }

    /// The parameters of a proper authorization response.
    pub fn response(&self) -> Vec<(String, String)> {
        [("code", "c0de"), ("state", &self.state), ("iss", &self.issuer)].map(|(k, v)| (k.into(), v.into())).into()
    }
}

/// Seconds since 1970.
pub fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.expect("a clock after 1970").as_secs() as i64
}

/// A key pair of ES256, with its name.
#[derive(Clone)]
pub struct Key {
    pair: Arc<EcdsaKeyPair>,
    pub kid: String,
}

impl Key {
    pub fn new(kid: &str) -> Self {
        let rng = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &rng).expect("a key");
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &rng).expect("a key");
        Key { pair: Arc::new(pair), kid: kid.to_owned() }
    }

    /// The public key as a JWK.
    pub fn jwk(&self) -> Value {
        let point = self.pair.public_key().as_ref();
        let (x, y) = (URL_SAFE_NO_PAD.encode(&point[1..33]), URL_SAFE_NO_PAD.encode(&point[33..]));
        json!({"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": self.kid, "x": x, "y": y})
    }

    /// A JWT with this header, these claims and a right signature of this key.
    pub fn sign(&self, header: &Value, claims: &Value) -> String {
        self.sign_text(header, &claims.to_string())
    }

    /// A JWT whose claims are this text, JSON or not.
    pub fn sign_raw(&self, claims: &str) -> String {
        self.sign_text(&json!({"alg": "ES256", "typ": "JWT", "kid": self.kid}), claims)
    }

    fn sign_text(&self, header: &Value, claims: &str) -> String {
        let text = format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(claims));
        let signature = self.pair.sign(&SystemRandom::new(), text.as_bytes()).expect("a signature");
        format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// A JWT with the header a proper provider writes.
    pub fn token(&self, claims: &Value) -> String {
        self.sign(&json!({"alg": "ES256", "typ": "JWT", "kid": self.kid}), claims)
    }

    /// The public key's bytes, as somebody would use them for a secret.
    pub fn public_bytes(&self) -> Vec<u8> {
        self.pair.public_key().as_ref().to_vec()
    }
}

/// Header and claims of a JWT, without a signature.
pub fn unsigned(header: &Value, claims: &Value) -> String {
    format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(claims.to_string()))
}

type Respond = Box<dyn Fn(&Attempt, &Key) -> Vec<(String, String)> + Send>;
type Tokens = Box<dyn Fn(&Attempt, &Key) -> (u16, String) + Send>;

struct Lies {
    issuer: String,
    key: Key,
    metadata: Value,
    keys: Value,
    /// What a path answers instead: status, `Location`, body.
    instead: std::collections::HashMap<&'static str, (u16, String, String)>,
    attempt: Attempt,
    respond: Respond,
    /// Whether the response is posted; as it was asked for where `None`.
    posts: Option<bool>,
    tokens: Tokens,
    /// Whether the token endpoint refuses everything and quotes the whole request.
    quotes: bool,
    token_requests: usize,
    key_requests: usize,
}

/// A running forger.
#[derive(Clone)]
pub struct Forger {
    pub issuer: String,
    lies: Arc<Mutex<Lies>>,
}

impl Forger {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.2:0").await.expect("a port");
        let issuer = format!("http://{}", listener.local_addr().expect("an address"));
        Self::start_as(issuer, listener)
    }

    /// One whose issuer has a path.
    pub async fn start_under(path: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.2:0").await.expect("a port");
        let issuer = format!("http://{}{path}", listener.local_addr().expect("an address"));
        Self::start_as(issuer, listener)
    }

    /// One that calls itself `issuer`, whatever it listens on.
    pub fn start_as(issuer: String, listener: TcpListener) -> Self {
        let key = Key::new("key-1");
        let lies = Arc::new(Mutex::new(Lies {
            issuer: issuer.clone(),
            metadata: json!({}),
            instead: std::collections::HashMap::new(),
            keys: json!({"keys": [key.jwk()]}),
            key,
            attempt: Attempt::default(),
            respond: Box::new(|attempt, key| attempt.granted(key, &attempt.hybrid_claims())),
            posts: None,
            tokens: Box::new(|attempt, key| (200, tokens(&key.token(&attempt.claims())))),
            quotes: false,
            token_requests: 0,
            key_requests: 0,
        }));
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(metadata))
            .route("/jwks", get(keys))
            .route("/authorize", get(authorize))
            .route("/token", post(token))
            .with_state(Arc::clone(&lies));
        let path = url::Url::parse(&issuer).expect("an issuer").path().trim_end_matches('/').to_owned();
        let router = if path.is_empty() { router } else { Router::new().nest(&path, router) };
        tokio::spawn(axum::serve(listener, router).into_future());
        Forger { issuer, lies }
    }

    fn lies(&self) -> std::sync::MutexGuard<'_, Lies> {
        self.lies.lock().expect("lies")
    }

    /// Overrides entries of the metadata; null takes one away.
    pub fn metadata(&self, changes: Value) {
        self.lies().metadata = changes;
    }

    /// The key set from now on.
    pub fn keys(&self, keys: Value) {
        self.lies().keys = keys;
    }

    /// A JWT with these claims and its signature.
    pub fn signs(&self, claims: &Value) -> String {
        self.lies().key.token(claims)
    }

    /// Its own key is published again, and no other.
    pub fn publishes(&self) {
        let own = self.lies().key.jwk();
        self.keys(json!({"keys": [own]}));
    }

    /// What the metadata (`metadata`) or the keys (`keys`) answer from now on, to the letter.
    pub fn instead(&self, of: &'static str, status: u16, location: &str, body: &str) {
        self.lies().instead.insert(of, (status, location.to_owned(), body.to_owned()));
    }

    /// Metadata and keys are proper again.
    pub fn heals(&self) {
        self.lies().instead.clear();
    }

    /// The parameters of authorization responses from now on.
    pub fn responds(&self, respond: impl Fn(&Attempt) -> Vec<(String, String)> + Send + 'static) {
        self.responds_signed(move |attempt, _| respond(attempt));
    }

    /// The same for responses that hold an ID token.
    pub fn responds_signed(&self, respond: impl Fn(&Attempt, &Key) -> Vec<(String, String)> + Send + 'static) {
        self.lies().respond = Box::new(respond);
    }

    /// Whether responses are posted from now on, whatever was asked for.
    pub fn posts(&self, posts: bool) {
        self.lies().posts = Some(posts);
    }

    /// Status and body of the token endpoint from now on.
    pub fn answers(&self, tokens: impl Fn(&Attempt, &Key) -> (u16, String) + Send + 'static) {
        self.lies().tokens = Box::new(tokens);
    }

    /// The token endpoint refuses from now on, and tells what it was sent.
    pub fn quotes(&self) {
        self.lies().quotes = true;
    }

    /// The ID token from now on; the rest of the token response is proper.
    pub fn forges(&self, id_token: impl Fn(&Attempt, &Key) -> String + Send + 'static) {
        self.answers(move |attempt, key| (200, tokens(&id_token(attempt, key))));
    }

    /// The claims of the ID token from now on, changed by `change` and signed properly.
    pub fn claims(&self, change: impl Fn(&mut Value) + Send + 'static) {
        self.forges(move |attempt, key| {
            let mut claims = attempt.claims();
            change(&mut claims);
            key.token(&claims)
        });
    }

    /// The last sign-in that began.
    pub fn attempt(&self) -> Attempt {
        self.lies().attempt.clone()
    }

    /// How often the token endpoint was asked.
    pub fn token_requests(&self) -> usize {
        self.lies().token_requests
    }

    /// How often the keys were fetched.
    pub fn key_requests(&self) -> usize {
        self.lies().key_requests
    }

    /// A gateway that believes this forger, before the app at `app_url`; `keys` go into `[[provider]]`.
    pub async fn gateway(&self, app_url: &str, keys: &str) -> Gateway {
        let gateway = self.config(app_url, keys).start().await;
        gateway.ready().await;
        gateway
    }

    /// The configuration of [`Forger::gateway`].
    pub fn config(&self, app_url: &str, keys: &str) -> Config {
        Config::new()
            .add(&format!("[[provider]]\nissuer = {:?}\nclient_id = \"the-client\"\n{keys}\n", self.issuer))
            .add(&upstream_table(app_url))
            .add(ROUTES)
    }
}

/// A forger, an app, and a gateway before it that believes the forger; `keys` go into `[[provider]]`.
pub async fn forged(keys: &str) -> (Forger, App, Gateway) {
    let (forger, app) = (Forger::start().await, App::start().await);
    let gateway = forger.gateway(&app.url(), keys).await;
    (forger, app, gateway)
}

/// The callback refuses with this status and reason, and makes no session.
#[track_caller]
pub fn refused(answer: &Answer, person: &Person, status: u16, reason: &str, why: &str) {
    assert_eq!((answer.status, answer.reason().as_str()), (status, reason), "{why}: {}", answer.text());
    assert!(person.session().is_empty(), "{why}: a session was made: {:?}", person.session());
}

/// A token response with this ID token.
pub fn tokens(id_token: &str) -> String {
    json!({"access_token": "acce55", "token_type": "Bearer", "expires_in": 600, "id_token": id_token}).to_string()
}

/// One whole sign-in at a forger: what the gateway's callback answers.
pub async fn trip(person: &Person, gateway: &Gateway) -> Answer {
    let start = person.open(&gateway.url("/page")).await;
    let at_forger = person.open(start.location().expect("a redirect to the provider").as_str()).await;
    person.open(at_forger.location().expect("a redirect to the callback").as_str()).await
}

/// The answer that a test has put in place of a proper one.
fn instead(lies: &Lies, of: &str) -> Option<Response> {
    let (status, location, body) = lies.instead.get(of)?;
    let status = StatusCode::from_u16(*status).expect("a status");
    let kind = if body.starts_with('<') { "text/html" } else { "application/json" };
    Some((status, [("location", location.as_str()), ("content-type", kind)], body.clone()).into_response())
}

async fn metadata(State(lies): State<Arc<Mutex<Lies>>>) -> Response {
    let lies = lies.lock().expect("lies");
    if let Some(answer) = instead(&lies, "metadata") {
        return answer;
    }
    let at = |path: &str| format!("{}{path}", lies.issuer);
    let mut document = json!({
        "issuer": lies.issuer, "authorization_endpoint": at("/authorize"), "token_endpoint": at("/token"),
        "jwks_uri": at("/jwks"), "response_types_supported": ["code", "id_token", "id_token code"], "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"], "token_endpoint_auth_methods_supported": ["none"],
        "code_challenge_methods_supported": ["S256"], "authorization_response_iss_parameter_supported": true,
    });
    for (key, value) in lies.metadata.as_object().expect("an object") {
        document[key] = value.clone();
    }
    let entries = document.as_object_mut().expect("an object");
    entries.retain(|_, value| !value.is_null());
    axum::Json(document).into_response()
}

async fn keys(State(lies): State<Arc<Mutex<Lies>>>) -> Response {
    let mut lies = lies.lock().expect("lies");
    lies.key_requests += 1;
    if let Some(answer) = instead(&lies, "keys") {
        return answer;
    }
    axum::Json(lies.keys.clone()).into_response()
}

async fn authorize(State(lies): State<Arc<Mutex<Lies>>>, Query(params): Query<Vec<(String, String)>>) -> Response {
    let mut lies = lies.lock().expect("lies");
    let value = |name: &str| params.iter().find(|(k, _)| k == name).map(|(_, v)| v.clone()).unwrap_or_default();
    lies.attempt = Attempt {
        issuer: lies.issuer.clone(),
        client_id: value("client_id"),
        redirect_uri: value("redirect_uri"),
        state: value("state"),
        nonce: value("nonce"),
        params: params.clone(),
    };
    let response = (lies.respond)(&lies.attempt, &lies.key);
    let posted = lies.posts.unwrap_or(lies.attempt.asked("response_mode") == Some("form_post"));
    if posted {
        return axum::response::Html(form_page(&lies.attempt.redirect_uri, &response)).into_response();
    }
    let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(response).finish();
    Redirect::to(&format!("{}?{query}", lies.attempt.redirect_uri)).into_response()
}

async fn token(State(lies): State<Arc<Mutex<Lies>>>, headers: HeaderMap, form: String) -> Response {
    let mut lies = lies.lock().expect("lies");
    lies.token_requests += 1;
    if lies.quotes {
        let basic = headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default();
        let plain: Vec<(String, String)> = url::form_urlencoded::parse(form.as_bytes()).into_owned().collect();
        let said = format!("Authorization: {basic}; {form}; {plain:?}");
        let body = json!({"error": "invalid_client", "error_description": said});
        return (StatusCode::UNAUTHORIZED, axum::Json(body)).into_response();
    }
    let (status, body) = (lies.tokens)(&lies.attempt, &lies.key);
    let status = StatusCode::from_u16(status).expect("a status");
    (status, [("content-type", "application/json"), ("cache-control", "no-store")], body).into_response()
}
