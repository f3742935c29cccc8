//! A signer of ID tokens and a provider of a few lines, both obedient.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Semaphore;

use crate::config::model::{ResponseMode, Settings};
use crate::oidc::{Attempt, Begun, Granted, Previous, Provider, Providers, SignedIn, Wish};
use crate::reason::Failure;

pub const NOW: u64 = 1_800_000_000;
pub const CLIENT: &str = "a client:with/odd+letters";
pub const SECRET: &str = "s3cr3t&=% ü";

pub fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(NOW)
}

pub fn base64url(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A key on P-256 with an id.
pub struct Signer {
    pair: EcdsaKeyPair,
    pub kid: &'static str,
}

impl Signer {
    pub fn new(kid: &'static str) -> Signer {
        let random = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).expect("a key");
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &random).expect("a key");
        Signer { pair, kid }
    }

    pub fn jwk(&self) -> Value {
        let point = self.pair.public_key().as_ref();
        json!({ "kty": "EC", "crv": "P-256", "use": "sig", "kid": self.kid,
                "x": base64url(&point[1..33]), "y": base64url(&point[33..]) })
    }

    /// A token of exactly this header and these claims.
    pub fn sign_texts(&self, header: &str, claims: &str) -> String {
        let signed = format!("{}.{}", base64url(header), base64url(claims));
        let signature = self.pair.sign(&SystemRandom::new(), signed.as_bytes()).expect("a signature");
        format!("{signed}.{}", base64url(signature))
    }

    pub fn sign(&self, claims: &Value) -> String {
        let header = json!({ "alg": "ES256", "typ": "JWT", "kid": self.kid });
        self.sign_texts(&header.to_string(), &claims.to_string())
    }
}

/// What a renewal knows of a session made of `signed_in`.
pub fn previous(signed_in: &SignedIn) -> Previous<'_> {
    let authenticated_at = signed_in.authentication.at;
    Previous { identity: &signed_in.identity, nonce: signed_in.nonce, authenticated_at }
}

/// A key of the settings for tests in which somebody does not answer, beside answers of [`Answer::never`]: short, and yet long
/// enough on any machine for what does answer. Elsewhere nothing is to end for a machine that is slow.
pub const IMPATIENT: &str = "timeout = '4s'\n";

/// The same where nobody is waited for in vain.
pub fn patience(more: &str) -> &'static str {
    if more.contains("timeout =") { "" } else { "timeout = '1m'\n" }
}

/// Awaits that `holds`.
pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let held = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(100), held).await.unwrap_or_else(|_| panic!("never came true: {what}"));
}

/// A port that is taken and at which nobody listens, for as long as the socket is there.
pub fn closed_port() -> (TcpSocket, u16) {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind("127.0.0.1:0".parse().expect("an address")).expect("a port");
    let port = socket.local_addr().expect("an address").port();
    (socket, port)
}

/// What the provider answers at one path.
#[derive(Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: String,
    pub body: String,
    pub delay: Duration,
    /// Each answer takes a permit, and waits for it.
    pub gate: Option<Arc<Semaphore>>,
}

impl Answer {
    pub fn json(body: Value) -> Answer {
        Answer {
            status: 200,
            headers: "Content-Type: application/json\r\n".into(),
            body: body.to_string(),
            delay: Duration::ZERO,
            gate: None,
        }
    }

    /// None, for as long as any test waits.
    pub fn never() -> Answer {
        Answer { delay: Duration::from_secs(3600), ..Answer::json(json!({})) }
    }

    pub fn with_status(self, status: u16) -> Answer {
        Answer { status, ..self }
    }
}

/// A request the provider got.
#[derive(Clone, Debug)]
pub struct Seen {
    pub path: String,
    pub head: String,
    pub form: HashMap<String, String>,
}

/// The provider: what it answers can be changed while it runs.
#[derive(Clone)]
pub struct Fake {
    pub issuer: String,
    answers: Arc<Mutex<HashMap<String, Answer>>>,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Fake {
    pub async fn start(signer: &Signer) -> Fake {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let issuer = format!("http://{}/realm", listener.local_addr().expect("an address"));
        let fake = Fake { issuer, answers: Default::default(), seen: Default::default() };
        fake.set("/realm/.well-known/openid-configuration", Answer::json(fake.metadata()));
        fake.set("/keys", Answer::json(json!({ "keys": [signer.jwk()] })));
        let serving = fake.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let fake = serving.clone();
                tokio::spawn(async move { fake.serve(stream).await });
            }
        });
        fake
    }

    /// As a large provider writes it: with much that we do not know and some that is odd.
    pub fn metadata(&self) -> Value {
        let at = |path: &str| format!("{}{path}", self.issuer.trim_end_matches("/realm"));
        json!({
            "issuer": self.issuer,
            "authorization_endpoint": at("/authorize?tenant=a"),
            "token_endpoint": at("/token"),
            "jwks_uri": at("/keys"),
            "userinfo_endpoint": at("/userinfo"),
            "end_session_endpoint": at("/logout?keep=1"),
            "response_types_supported": ["code", "id_token", "code token", 7],
            "id_token_signing_alg_values_supported": ["none", "XS999", "RS256"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
            "code_challenge_methods_supported": ["plain", "S256"],
            "op_policy_uri": "", "display_values_supported": {}, "service_documentation": null,
        })
    }

    pub fn set(&self, path: &str, answer: Answer) {
        self.answers.lock().expect("not poisoned").insert(path.to_owned(), answer);
    }

    pub fn seen(&self, path: &str) -> Vec<Seen> {
        self.seen.lock().expect("not poisoned").iter().filter(|seen| seen.path == path).cloned().collect()
    }

    async fn serve(&self, mut stream: TcpStream) {
        let mut bytes = Vec::new();
        let (head, body_at) = loop {
            let mut chunk = [0; 4096];
            let Ok(read @ 1..) = stream.read(&mut chunk).await else { return };
            bytes.extend_from_slice(&chunk[..read]);
            if let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
                break (String::from_utf8_lossy(&bytes[..end]).into_owned(), end + 4);
            }
        };
        let length = head.lines().find_map(|l| l.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
        while bytes.len() < body_at + length.unwrap_or(0) {
            let mut chunk = [0; 4096];
            let Ok(read @ 1..) = stream.read(&mut chunk).await else { return };
            bytes.extend_from_slice(&chunk[..read]);
        }
        let target = head.split(' ').nth(1).unwrap_or_default();
        let path = target.split('?').next().unwrap_or_default().to_owned();
        let form = url::form_urlencoded::parse(&bytes[body_at..]).into_owned().collect();
        self.seen.lock().expect("not poisoned").push(Seen { path: path.clone(), head, form });
        let answer = self.answers.lock().expect("not poisoned").get(&path).cloned();
        let answer = answer.unwrap_or_else(|| Answer::json(json!({})).with_status(404));
        tokio::time::sleep(answer.delay).await;
        if let Some(gate) = &answer.gate {
            gate.acquire().await.expect("never closed").forget();
        }
        let head = format!(
            "HTTP/1.1 {} X\r\n{}Content-Length: {}\r\nConnection: close\r\n\r\n",
            answer.status,
            answer.headers,
            answer.body.len()
        );
        let _ = stream.write_all(head.as_bytes()).await;
        let _ = stream.write_all(answer.body.as_bytes()).await;
    }
}

/// Settings of one provider at `issuer`, with `more` lines in its table.
pub fn settings(issuer: &str, more: &str) -> Settings {
    let client = if more.contains("client_id") { String::new() } else { format!("client_id = '{CLIENT}'\n") };
    let text = format!(
        "public_url = 'https://app.example'\n\
         [[provider]]\nname = 'corp'\nissuer = '{issuer}'\n{}{client}{more}\n",
        patience(more)
    );
    toml::from_str(&text).expect("settings")
}

/// The provider as configured, with what it knows fetched.
pub async fn ready(fake: &Fake, more: &str) -> Arc<Provider> {
    let providers = Providers::new(&settings(&fake.issuer, more)).expect("a provider");
    let provider = Arc::clone(providers.first().expect("a provider"));
    let fetched = provider.fetch().await.expect("metadata and keys");
    provider.snapshot.store(Some(Arc::new(fetched)));
    provider
}

impl Providers {
    pub fn first(&self) -> Option<&Arc<Provider>> {
        self.iter().next()
    }
}

/// Short forms for what most tests do: a plain sign-in, and a code in the address.
impl Provider {
    pub fn begin(&self, return_to: &str, id: &str, now: SystemTime) -> Result<Begun, Failure> {
        self.begin_with(&Wish::default(), return_to, id, now)
    }

    pub async fn finish(
        &self,
        attempt: &Attempt,
        iss: Option<&str>,
        code: &str,
        now: SystemTime,
    ) -> Result<SignedIn, Failure> {
        let granted = Granted { iss: iss.map(str::to_owned), ..granted(Some(code), None, ResponseMode::Query) };
        self.complete(attempt, &granted, now).await
    }
}

/// An authorization response; its `state` has been looked at.
pub fn granted(code: Option<&str>, id_token: Option<&str>, mode: ResponseMode) -> Granted {
    let (code, id_token) = (code.map(str::to_owned), id_token.map(str::to_owned));
    Granted { code, id_token, state: "s".into(), iss: None, mode }
}

/// Claims that pass every check.
pub fn claims(issuer: &str) -> Value {
    json!({ "iss": issuer, "aud": CLIENT, "sub": "u-1", "exp": NOW + 300, "iat": NOW - 1, "nonce": "n" })
}
