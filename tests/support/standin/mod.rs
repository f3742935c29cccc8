//! Stand-ins of providers that cannot run here, at their real host names.
//!
//! A stand-in is one server that speaks TLS with a certificate of its own authority, and a proxy that leads every host
//! to it. The gateway gets the proxy by `HTTPS_PROXY` and the authority by `ca_file`, so that a test can configure
//! `https://accounts.google.com` to the letter. What a provider publishes, accepts and answers is data: see
//! [`product`], one description a provider, written after its public documents.

pub mod keys;
pub mod product;
pub mod proxy;
pub mod serve;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use serde_json::{Map, Value, json};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

pub use product::{Kind, Registration, Which};
pub use serve::{Params, TokenRequest, get};

use super::browser::Browser;
use super::gateway::{Config, Gateway};
use super::person::{Answer, Person};
use super::random_word;
use super::setup::{ROUTES, upstream_table};
use super::tls::Authority;
use product::Product;
use proxy::Proxy;
use serve::{Inner, Shared};

/// A running stand-in. Clones are the same one.
#[derive(Clone)]
pub struct StandIn {
    pub which: Which,
    pub proxy: Proxy,
    inner: Shared,
    authority: String,
    /// Of the server's key, as browsers' lists of exceptions have it.
    fingerprint: String,
    files: Arc<TempDir>,
}

impl StandIn {
    /// The provider with one registered client: a confidential one, as its documents register it by default.
    pub async fn start(which: Which) -> StandIn {
        let product = which.product();
        let authority = Authority::new();
        let hosts = product.hosts();
        let leaf = authority.leaf(&hosts.iter().map(String::as_str).collect::<Vec<_>>());
        let files = tempfile::tempdir().expect("a folder");
        std::fs::write(files.path().join("authority.pem"), authority.pem()).expect("the authority");
        let client = registration(&product);
        let inner = Arc::new(Mutex::new(Inner::new(product, client)));
        let listener = Handshaken::start(leaf.server(&[b"http/1.1"])).await;
        let proxy = Proxy::start(listener.address).await;
        let router = Router::new().fallback(serve::answer).with_state(Arc::clone(&inner));
        tokio::spawn(axum::serve(listener, router).into_future());
        let fingerprint = leaf.fingerprint();
        StandIn { which, proxy, inner, authority: authority.pem(), fingerprint, files: Arc::new(files) }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("a stand-in")
    }

    /// The issuer as an operator configures it.
    pub fn issuer(&self) -> String {
        self.inner().product.issuer.clone()
    }

    /// The client as it is registered.
    pub fn client(&self) -> Registration {
        self.inner().client.clone()
    }

    /// An entry of the metadata, as text.
    pub fn endpoint(&self, name: &str) -> String {
        self.inner().product.endpoint(name).to_owned()
    }

    /// Where people sign out, if they can.
    pub fn logout_endpoint(&self) -> Option<String> {
        self.inner().product.logout_endpoint().map(str::to_owned)
    }

    /// The PEM file for `ca_file`.
    pub fn ca_file(&self) -> PathBuf {
        self.files.path().join("authority.pem")
    }

    /// Changes the registration: `stand_in.registered(|client| client.kind = Kind::SinglePage)`.
    pub fn registered(&self, change: impl FnOnce(&mut Registration)) -> &Self {
        change(&mut self.inner().client);
        self
    }

    /// Changes the discovery document.
    pub fn metadata(&self, change: impl FnOnce(&mut Map<String, Value>)) -> &Self {
        change(&mut self.inner().product.metadata);
        self
    }

    /// Changes the claims of every ID token from now on.
    pub fn claims(&self, change: impl Fn(&mut Map<String, Value>) + Send + 'static) -> &Self {
        self.inner().id_token.push(Box::new(change));
        self
    }

    /// Changes what userinfo says from now on.
    pub fn userinfo(&self, change: impl Fn(&mut Map<String, Value>) + Send + 'static) -> &Self {
        self.inner().userinfo.push(Box::new(change));
        self
    }

    /// The person is in more groups than Entra puts into a token: it names where they are to be had instead.
    pub fn group_overage(&self) -> &Self {
        self.claims(|claims| {
            claims.remove("groups");
            let graph =
                "https://graph.windows.net/8f14e45f/users/00000000-0000-0000-66f3-3332eca7ea81/getMemberObjects";
            claims.insert("_claim_names".into(), json!({"groups": "src1"}));
            claims.insert("_claim_sources".into(), json!({"src1": {"endpoint": graph}}));
        })
    }

    /// What an endpoint (`metadata`, `keys`, `authorize`, `token`, `userinfo`, `logout`, `revoke`) answers from now on.
    pub fn fault(&self, endpoint: &'static str, status: u16, body: &str) -> &Self {
        self.inner().faults.insert(endpoint, (status, body.to_owned()));
        self
    }

    /// Registers a key to which ID tokens are encrypted (RSA-OAEP-256, and `A128GCM` or `A256GCM`); the file with the
    /// private one is for `decryption_key_file`.
    pub fn encrypts(&self, enc: &'static str) -> PathBuf {
        let (private, public) = keys::encryption_key();
        self.inner().client.encryption = Some((public, enc));
        self.file("decryption.pem", &private)
    }

    /// Registers a certificate, whose key signs assertions: the files for `client_key_file` and
    /// `client_certificate_file`. The secret is gone.
    pub fn certificate(&self) -> (PathBuf, PathBuf) {
        let private = keys::assertion_key();
        let key = rcgen::KeyPair::from_pem(&private).expect("the key");
        let params = rcgen::CertificateParams::new(vec!["doorward".to_owned()]).expect("parameters");
        let certificate = params.self_signed(&key).expect("a certificate").pem();
        self.registered(|client| {
            client.certificate = Some((certificate.clone(), key.public_key_pem()));
            client.client_auth = vec!["private_key_jwt".into()];
        });
        (self.file("assertion.key", &private), self.file("assertion.pem", &certificate))
    }

    /// Has the provider make a key for the client, as ZITADEL does: the JSON that it hands out. The secret is gone.
    pub fn hands_out_key(&self) -> Value {
        let (private, public) = keys::handed_out_key();
        let key_id = "273645928399999999";
        self.registered(|client| {
            client.key = Some((key_id.into(), public));
            client.client_auth = vec!["private_key_jwt".into()];
        });
        let client = self.client();
        json!({"type": "application", "keyId": key_id, "key": private, "appId": "273645928374650000", "clientId": client.client_id})
    }

    /// A file beside the stand-in's own, as an operator saves it.
    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.files.path().join(name);
        std::fs::write(&path, text).expect("a file");
        path
    }

    /// A configuration of the gateway for this provider by its preset, before the app at `app_url`. Of `issuer`,
    /// `client_id`, `client_secret` and `provider` those are left to `provider_keys` that it sets; a public client and
    /// one with a certificate or key have no secret.
    pub fn config(&self, app_url: &str, provider_keys: &str) -> Config {
        let preset = format!("provider = {:?}\n", self.which.preset());
        let set = provider_keys.lines().any(|line| line.starts_with("provider ="));
        self.config_by_hand(app_url, &format!("{}{provider_keys}", if set { "" } else { preset.as_str() }))
    }

    /// The same without the preset: what differs is set by hand.
    pub fn config_by_hand(&self, app_url: &str, provider_keys: &str) -> Config {
        let mut config = Config::new();
        let client = self.client();
        let with_secret = client.kind == Kind::Web && client.certificate.is_none() && client.key.is_none();
        let secret = with_secret.then_some(("client_secret", client.secret.as_str()));
        let (issuer, ca_file) = (self.issuer(), self.ca_file().display().to_string());
        let ours = [("issuer", issuer.as_str()), ("client_id", &client.client_id), ("ca_file", &ca_file)];
        let set = |name: &str| provider_keys.lines().any(|line| line.starts_with(&format!("{name} =")));
        let table: String = ours
            .into_iter()
            .chain(secret)
            .filter(|(name, _)| !set(name))
            .map(|(name, value)| format!("{name} = {value:?}\n"))
            .collect();
        for name in ["HTTPS_PROXY", "https_proxy"] {
            config.env.push((name.into(), self.proxy.url()));
        }
        for name in ["NO_PROXY", "no_proxy"] {
            config.env.push((name.into(), String::new()));
        }
        self.accept(&config.public_url);
        config.add(&format!("[[provider]]\n{table}{provider_keys}\n")).add(&upstream_table(app_url)).add(ROUTES)
    }

    /// Registers the addresses of a gateway with this public URL.
    pub fn accept(&self, public_url: &str) {
        self.registered(|client| {
            client.redirect_uris.push(format!("{public_url}/oidc/callback"));
            let back = ["/oidc/signed-out", "/", ""].map(|path| format!("{public_url}{path}"));
            client.post_logout_redirect_uris.extend(back);
        });
    }

    /// A gateway for this provider by its preset, ready to sign people in.
    pub async fn gateway(&self, app_url: &str, provider_keys: &str) -> Gateway {
        let gateway = self.config(app_url, provider_keys).start().await;
        gateway.ready().await;
        gateway
    }

    /// The same without the preset.
    pub async fn gateway_by_hand(&self, app_url: &str, provider_keys: &str) -> Gateway {
        let gateway = self.config_by_hand(app_url, provider_keys).start().await;
        gateway.ready().await;
        gateway
    }

    /// A person whose way to the provider is the same.
    pub fn person(&self) -> Person {
        let root = reqwest::Certificate::from_pem(self.authority.as_bytes()).expect("PEM");
        let proxy = reqwest::Proxy::https(self.proxy.url()).expect("a proxy");
        Person::through(reqwest::Client::builder().proxy(proxy).tls_certs_only([root]))
    }

    /// A Chromium whose way to the provider is the same.
    pub async fn browser(&self) -> Browser {
        Browser::start_with_flags(&[
            &format!("proxy-server=https={}", self.proxy.address),
            &format!("ignore-certificate-errors-spki-list={}", self.fingerprint),
        ])
        .await
    }

    /// Opens `url` at the gateway as somebody whom the provider knows, and follows to the end, forms included.
    pub async fn sign_in(&self, person: &Person, url: &str) -> Answer {
        let mut answer = person.browse(url).await;
        while answer.text().contains("document.forms[0].submit()") {
            let submitted = person.submit(&answer).await;
            answer = person.follow(submitted).await;
        }
        answer
    }

    /// The parameters of every authorization request.
    pub fn authorization_requests(&self) -> Vec<Params> {
        self.inner().authorizations.clone()
    }

    pub fn token_requests(&self) -> Vec<TokenRequest> {
        self.inner().token_requests.clone()
    }

    /// The parameters of every sign-out.
    pub fn logout_requests(&self) -> Vec<Params> {
        self.inner().logouts.clone()
    }

    /// The forms of every revocation (RFC 7009).
    pub fn revocations(&self) -> Vec<Params> {
        self.inner().revocations.clone()
    }
}

fn registration(product: &Product) -> Registration {
    Registration {
        kind: Kind::Web,
        client_id: product.client_id.clone(),
        // Secrets have such characters, and a header has to encode them.
        secret: format!("{}~:%+", random_word()),
        secret_expired: false,
        client_auth: product.client_auth.clone(),
        certificate: None,
        key: None,
        response_types: product.response_types.clone(),
        redirect_uris: Vec::new(),
        post_logout_redirect_uris: Vec::new(),
        optional_claims: Vec::new(),
        id_token_alg: "RS256".into(),
        encryption: None,
    }
}

/// Connections after their handshake, so that one client that is slow with it delays nobody.
struct Handshaken {
    address: SocketAddr,
    streams: mpsc::Receiver<(TlsStream<TcpStream>, SocketAddr)>,
}

impl Handshaken {
    async fn start(config: rustls::ServerConfig) -> Handshaken {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let (sender, streams) = mpsc::channel(16);
        tokio::spawn(async move {
            while let Ok((stream, peer)) = listener.accept().await {
                let (acceptor, sender) = (acceptor.clone(), sender.clone());
                tokio::spawn(async move {
                    // A peer that does not like the certificate breaks off here.
                    if let Ok(stream) = acceptor.accept(stream).await {
                        let _ = sender.send((stream, peer)).await;
                    }
                });
            }
        });
        Handshaken { address, streams }
    }
}

impl axum::serve::Listener for Handshaken {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.streams.recv().await {
            Some(accepted) => accepted,
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}
