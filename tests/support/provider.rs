//! The certified OpenID provider (`oidc-provider` from npm), started as it comes, with a login form of its own.
//!
//! It listens on 127.0.0.2 and the gateway on 127.0.0.1: on one address they would share cookies. Most tests take
//! [`Provider::shared`] and register a client of their own; a test that breaks the provider starts its own.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, OnceLock};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::tls::Authority;
use super::{random_word, tests_dir};

/// Somebody who can sign in.
#[derive(Clone, Debug)]
pub struct User {
    pub name: &'static str,
    pub password: String,
}

/// A client as the provider knows it.
#[derive(Clone, Debug)]
pub struct Client {
    pub id: String,
    pub secret: String,
}

/// A key pair of a client, made for one test.
#[derive(Clone, Debug)]
pub struct ClientKey {
    /// The private key, PKCS #8 in PEM.
    pub private: String,
    /// The public key, SPKI in PEM.
    pub public: String,
    /// The public key as a JWK, without `kid`, `alg` and `use`.
    pub jwk: Value,
}

impl ClientKey {
    /// The public key as an entry of a client's `jwks`.
    pub fn entry(&self, kid: &str, alg: &str, purpose: &str) -> Value {
        let mut jwk = self.jwk.clone();
        (jwk["kid"], jwk["alg"], jwk["use"]) = (kid.into(), alg.into(), purpose.into());
        jwk
    }
}

/// Every algorithm of ID tokens that the provider knows.
pub const ALGORITHMS: [&str; 14] = [
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519", "HS256",
    "HS384", "HS512",
];

/// A running provider.
#[derive(Clone)]
pub struct Provider(Arc<Process>);

struct Process {
    issuer: String,
    /// Where it listens; another one than the issuer where `issuer` is among the settings.
    address: String,
    /// The authority of its certificate, as PEM, where it speaks TLS.
    authority: Option<String>,
    /// Files that it reads while it runs.
    files: TempDir,
    users: BTreeMap<&'static str, User>,
    child: std::sync::Mutex<Child>,
}

/// Names, and the claims each has beside `sub`, which is the name.
fn people() -> Vec<(&'static str, Value)> {
    vec![
        (
            "anna",
            json!({"name": "Anna Ahorn", "preferred_username": "anna", "email": "anna@example.com",
                        "email_verified": true, "groups": ["staff", "admins"]}),
        ),
        (
            "berta",
            json!({"name": "Berta Birke", "preferred_username": "berta", "email": "berta@example.org",
                         "email_verified": true, "groups": ["staff"]}),
        ),
        (
            "carl",
            json!({"name": "Carl O'Brien <b>", "preferred_username": "carl", "email": "carl@example.com",
                        "email_verified": false, "groups": []}),
        ),
        (
            "dörte",
            json!({"name": "Dörte Müller-Łuksza", "preferred_username": "dörte", "email": "d@example.com",
                         "email_verified": true, "groups": ["grüppe", "a,b", "100%"]}),
        ),
        (
            "many",
            json!({"name": "Many Groups", "email": "many@example.com", "email_verified": true,
                        "groups": (0..150).map(|i| format!("group-{i:03}-{}", "x".repeat(20))).collect::<Vec<_>>()}),
        ),
        (
            "toomany",
            json!({"name": "Too Many", "email": "toomany@example.com", "email_verified": true,
                           "groups": (0..10_000).map(|i| format!("group-{i:05}")).collect::<Vec<_>>()}),
        ),
        (
            "broken",
            json!({"name": "Broken\r\nX-Forwarded-User: anna", "email": "x@example.com", "email_verified": true,
                          "preferred_username": "broken\r\nX-Forwarded-User: anna", "groups": ["a\r\nX-Evil: 1"]}),
        ),
    ]
}

impl Provider {
    /// The provider that all tests of this process share.
    pub fn shared() -> Provider {
        static SHARED: OnceLock<Provider> = OnceLock::new();
        SHARED.get_or_init(|| Provider::start(json!({"algorithms": ["RS256", "PS256", "ES256", "EdDSA"]}))).clone()
    }

    /// The provider that offers all there is: every response type, way of client authentication without certificates,
    /// and algorithm. Also shared.
    pub fn complete() -> Provider {
        static SHARED: OnceLock<Provider> = OnceLock::new();
        SHARED.get_or_init(|| Provider::start(json!({"algorithms": ALGORITHMS}))).clone()
    }

    /// A provider for one test; `settings` as at the head of `provider.mjs`.
    pub fn start(settings: Value) -> Provider {
        Self::start_with(settings, None)
    }

    /// One that speaks TLS with a certificate of `authority`, takes client certificates of it (RFC 8705), and trusts
    /// it where the gateway is told something by the back channel.
    pub fn start_https(settings: Value, authority: &Authority) -> Provider {
        let files = tempfile::tempdir().expect("a folder");
        let leaf = authority.leaf(&["127.0.0.2", "localhost"]);
        std::fs::write(files.path().join("fingerprint"), leaf.fingerprint()).expect("the fingerprint");
        let (certificate, key) = leaf.write(files.path());
        let client_ca = files.path().join("authority.pem");
        std::fs::write(&client_ca, authority.pem()).expect("the authority");
        let mut all = json!({"tls": {"cert": certificate, "key": key, "client_ca": client_ca}});
        for (key, value) in settings.as_object().expect("an object of settings") {
            all[key] = value.clone();
        }
        Self::start_in(files, all, Some(authority.pem()))
    }

    /// The same with `tls` among the settings and a certificate of `authority`.
    pub fn start_tls(settings: Value, authority: &Authority) -> Provider {
        Self::start_with(settings, Some(authority.pem()))
    }

    fn start_with(settings: Value, authority: Option<String>) -> Provider {
        Self::start_in(tempfile::tempdir().expect("a folder"), settings, authority)
    }

    fn start_in(files: TempDir, settings: Value, authority: Option<String>) -> Provider {
        let dir = tests_dir().join("support/provider");
        assert!(dir.join("node_modules").exists(), "run scripts/install-test-deps first: no {}", dir.display());
        let users: BTreeMap<_, _> =
            people().into_iter().map(|(name, _)| (name, User { name, password: random_word() })).collect();
        let with_claims = people()
            .into_iter()
            .map(|(name, claims)| (name.to_owned(), json!({"password": users[name].password, "claims": claims})));
        let mut all = json!({"host": "127.0.0.2", "port": 0});
        all["users"] = Value::Object(with_claims.collect());
        for (key, value) in settings.as_object().expect("an object of settings") {
            all[key] = value.clone();
        }
        let mut command = Command::new("node");
        if let Some(pem) = &authority {
            let file = files.path().join("trusted.pem");
            std::fs::write(&file, pem).expect("the authority");
            command.env("NODE_EXTRA_CA_CERTS", file);
        }
        let mut child = command
            .arg("provider.mjs")
            .current_dir(dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("node starts");
        // Standard input stays open as long as the provider shall live.
        writeln!(child.stdin.as_mut().expect("piped"), "{all}").expect("settings");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines().map_while(Result::ok);
        let ready = lines.find_map(|line| line.strip_prefix("READY ").map(str::to_owned)).expect("the provider starts");
        let ready: Value = serde_json::from_str(&ready).expect("JSON after READY");
        // What it says later is read as well: a pipe that nobody reads would be its end.
        std::thread::spawn(move || lines.for_each(drop));
        let issuer = ready["issuer"].as_str().expect("issuer").to_owned();
        let address = match settings.get("issuer") {
            Some(_) => format!("http://{}:{}", all["host"].as_str().expect("host"), ready["port"]),
            None => issuer.clone(),
        };
        Provider(Arc::new(Process { issuer, address, authority, files, users, child: std::sync::Mutex::new(child) }))
    }

    pub fn issuer(&self) -> &str {
        &self.0.issuer
    }

    /// Scheme, host and port at which it listens.
    pub fn address(&self) -> &str {
        &self.0.address
    }

    /// The PEM file with the authority of its certificate (`ca_file`). It speaks TLS.
    pub fn ca_file(&self) -> std::path::PathBuf {
        assert!(self.0.authority.is_some(), "this provider speaks plain HTTP");
        self.0.files.path().join("trusted.pem")
    }

    /// What a browser is told to trust it ([`super::browser::Browser::start_trusting`]); one of [`Provider::start_https`].
    pub fn fingerprint(&self) -> String {
        std::fs::read_to_string(self.0.files.path().join("fingerprint")).expect("a provider of start_https")
    }

    pub fn user(&self, name: &str) -> &User {
        &self.0.users[name]
    }

    /// Carries out a command of `provider.mjs`.
    pub async fn control(&self, command: &str, argument: Value) -> Value {
        let url = format!("{}/control/{command}", self.address());
        let mut client = reqwest::Client::builder().no_proxy();
        if let Some(pem) = &self.0.authority {
            client = client.tls_certs_only([reqwest::Certificate::from_pem(pem.as_bytes()).expect("PEM")]);
        }
        let answer =
            client.build().expect("a client").post(url).body(argument.to_string()).send().await.expect("control");
        assert!(answer.status().is_success(), "control {command}: {}", answer.status());
        serde_json::from_slice(&answer.bytes().await.expect("a body")).expect("JSON")
    }

    /// Registers a client whose callback lies below `public_url`. `extra` overrides its metadata; null takes an entry
    /// away. Beside `jwks` there is `jwks_pem`: `[{"pem": …, "kid": …, "alg": …, "use": …}]`, of keys or certificates.
    pub async fn register(&self, public_url: &str, extra: Value) -> Client {
        let client = Client { id: format!("client-{}", &random_word()[..12]), secret: random_word() + &random_word() };
        let mut metadata = json!({
            "client_id": client.id,
            "client_secret": client.secret,
            "redirect_uris": [format!("{public_url}/oidc/callback")],
            "post_logout_redirect_uris":
                [format!("{public_url}/oidc/signed-out"), format!("{public_url}/"), public_url],
        });
        for (key, value) in extra.as_object().expect("an object of metadata") {
            metadata[key] = value.clone();
        }
        let entries = metadata.as_object_mut().expect("an object");
        entries.retain(|_, value| !value.is_null());
        // A public client may have a secret all the same, for ID tokens of HS256.
        if entries.get("token_endpoint_auth_method") == Some(&json!("none")) && extra.get("client_secret").is_none() {
            entries.remove("client_secret");
        }
        self.control("clients", metadata).await;
        client
    }

    /// A key pair for a client: `RSA` or a curve (`P-256`, `P-384`, `P-521`, `Ed25519`, `X25519`).
    pub async fn key(&self, kind: &str) -> ClientKey {
        let key = self.control("key", json!({"kind": kind})).await;
        let text = |name: &str| key[name].as_str().expect("PEM").to_owned();
        ClientKey { private: text("private"), public: text("public"), jwk: key["jwk"].clone() }
    }

    /// A JWT of the provider's with any claims, and the header's entries besides `alg` and `kid` (null takes one away).
    pub async fn sign(&self, algorithm: &str, header: Value, claims: Value) -> String {
        let signed = self.control("sign", json!({"alg": algorithm, "header": header, "claims": claims})).await;
        signed["token"].as_str().expect("a token").to_owned()
    }

    /// The `sid` of every session that `user` has for `client`.
    pub async fn sids(&self, user: &str, client: &Client) -> Vec<String> {
        let sessions = self.control("sessions", json!({"user": user})).await;
        let sessions = sessions.as_array().expect("a list").iter();
        sessions.filter_map(|session| session["clients"][&client.id].as_str().map(str::to_owned)).collect()
    }

    /// Ends the sessions of `user` that `client` has a part in, and sends it a logout token for each. Tells for each the
    /// error, or null.
    pub async fn back_channel_logout(&self, user: &str, client: &Client) -> Vec<Value> {
        let told = self.control("backchannel", json!({"user": user, "client": client.id})).await;
        told.as_array().expect("a list").iter().map(|one| one["error"].clone()).collect()
    }

    /// Registers a client that is a program: it gets tokens for itself, and may introspect those of others.
    pub async fn program(&self) -> Client {
        let extra = json!({"grant_types": ["client_credentials"], "response_types": [], "redirect_uris": []});
        self.register("http://program.invalid", extra).await
    }

    /// An access token of a program (RFC 6749 §4.4): a JWT signed with `algorithm`, or an opaque one.
    pub async fn access_token(&self, client: &Client, algorithm: Option<&str>) -> String {
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "client_credentials").append_pair("scope", "read");
        if let Some(algorithm) = algorithm {
            form.append_pair("resource", &format!("urn:alg:{algorithm}"));
        }
        let request = reqwest::Client::builder().no_proxy().build().expect("a client");
        let request = request.post(format!("{}/token", self.address()));
        let request = request.header("content-type", "application/x-www-form-urlencoded").body(form.finish());
        let answer = request.basic_auth(&client.id, Some(&client.secret)).send().await.expect("the token endpoint");
        let body: Value = serde_json::from_slice(&answer.bytes().await.expect("a body")).expect("JSON");
        body["access_token"].as_str().unwrap_or_else(|| panic!("no access token: {body}")).to_owned()
    }

    /// What was asked of it: every request of the protocol, token requests with body and answer.
    pub async fn seen(&self) -> Vec<Value> {
        self.control("seen", json!({})).await.as_array().expect("a list").clone()
    }

    /// How many requests to `path` it has seen.
    pub async fn count(&self, path: &str) -> usize {
        self.seen().await.iter().filter(|request| request["path"] == path).count()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let mut child = self.child.lock().expect("child");
        let _ = child.kill();
        let _ = child.wait();
    }
}
