//! The gateway that is attacked, and the app behind it that tells what it saw.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::aim::Aim;
use super::arrows::Arrow;
use crate::assembly;
use crate::clock::unix_seconds;
use crate::config::Config;
use crate::config::model::{Route, Settings, own_issuer};
use crate::config::values::{AppScheme, AppUrl, Secret};
use crate::doctor::wire::{self, Peer};
use crate::gateway::{Gateway, Rehearsal};
use crate::identity::Identity;
use crate::jwt::Signer;
use crate::keys::Keyring;
use crate::session::Session;
use crate::session::cookies::Cookies;

/// By this header the app's own answers are known.
const SEEN: &str = "x-doorward-seen";
/// Who asks.
const WHO: &str = "doorward-doctor";
/// The whole attack takes less.
const TOKEN_SECONDS: u64 = 600;
/// Longest head that the app reads.
const LONGEST: usize = 256 * 1024;

/// What a request came to.
pub enum Seen {
    /// The app saw it, with these headers; names in small letters.
    App(Vec<(String, String)>),
    /// The gateway answered itself, with this status.
    Gateway(u16),
    /// There was no answer, and why.
    Nothing(String),
}

/// The gateway, its app, and who may serve them.
pub struct Target {
    address: SocketAddr,
    /// Who the next connection comes from.
    client: Arc<Mutex<IpAddr>>,
    settings: Settings,
    keys: Keyring,
    stranger: Keyring,
    cookies: Cookies,
    rehearsal: Arc<Rehearsal>,
    /// They end with it.
    _tasks: JoinSet<()>,
}

impl Target {
    pub async fn start(config: &Arc<Config>) -> Result<Target, String> {
        let mut tasks = JoinSet::new();
        let io = |error: std::io::Error| format!("no port on the loopback interface: {error}");
        let app = TcpListener::bind("127.0.0.1:0").await.map_err(io)?;
        let app_address = app.local_addr().map_err(io)?;
        tasks.spawn(tell(app));
        let (own, stranger) = (one_time_secret()?, one_time_secret()?);
        let settings = disarmed(&config.settings, app_address, &own);
        let (cookies, keys) = (Cookies::new(&settings.session, &settings.public_url), Keyring::new(&[own]));
        let stranger = Keyring::new(&[stranger]).ok_or("no key")?;
        let mut config = Config::clone(config);
        config.settings = settings.clone();
        let gateway =
            assembly::context(Arc::new(config)).and_then(Gateway::new).map_err(|failure| failure.to_string())?;
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(io)?;
        let address = listener.local_addr().map_err(io)?;
        let client = Arc::new(Mutex::new(IpAddr::from([127, 0, 0, 1])));
        let rehearsal = Arc::new(Rehearsal::new(gateway));
        tasks.spawn(serve(listener, rehearsal.clone(), client.clone()));
        let keys = keys.ok_or("no key")?;
        Ok(Target { address, client, settings, keys, stranger, cookies, rehearsal, _tasks: tasks })
    }

    /// Whether the route with that index governs what is sent there.
    pub fn governs(&self, index: usize, aim: &Aim) -> bool {
        self.rehearsal.route_of(&aim.method, &aim.host, &aim.path) == Some(index)
    }

    /// Sends a request of `client` with a line that says who it is, if any, and what the arrow forges; waits for the answer
    /// before the next.
    pub async fn send(&self, client: IpAddr, aim: &Aim, credential: &str, arrow: &Arrow) -> Seen {
        *self.client.lock().unwrap_or_else(PoisonError::into_inner) = client;
        let mut request = format!("{} {} HTTP/1.1\r\nHost: {}\r\n", aim.method, aim.path, aim.host);
        if !credential.is_empty() {
            request.push_str(&format!("{credential}\r\n"));
        }
        arrow.lines.iter().for_each(|line| request.push_str(&format!("{line}\r\n")));
        if !arrow.lines.iter().any(|line| line.starts_with("Connection:")) {
            request.push_str("Connection: close\r\n");
        }
        if !matches!(aim.method.as_str(), "GET" | "OPTIONS")
            && !arrow.lines.iter().any(|l| l.starts_with("Content-Length"))
        {
            request.push_str("Content-Length: 0\r\n");
        }
        request.push_str("\r\n");
        let peer = Peer::Tcp { host: self.address.ip().to_string(), port: self.address.port(), tls: None };
        match wire::ask(&peer, request.as_bytes()).await {
            Ok(heard) if heard.header(SEEN).is_some() => Seen::App(headers(&heard.body)),
            Ok(heard) => Seen::Gateway(heard.status),
            Err(failed) => Seen::Nothing(format!("{}: {}", failed.step, failed.why)),
        }
    }

    /// The cookie of somebody who is signed in by what `route` takes.
    pub fn own_session(&self, route: &Route) -> String {
        self.session(&self.keys, route).unwrap_or_default()
    }

    /// A token of the gateway's own, which every route for programs takes here.
    pub fn own_token(&self) -> String {
        self.token(&self.settings.secrets)
    }

    /// The same, signed by somebody else.
    pub fn forged_token(&self) -> String {
        one_time_secret().map(|secret| self.token(&[secret])).unwrap_or_default()
    }

    fn token(&self, secrets: &[Secret]) -> String {
        let (issuer, now) = (own_issuer(&self.settings.public_url), unix_seconds(SystemTime::now()));
        let claims = serde_json::json!({
            "iss": issuer, "sub": WHO, "aud": [issuer], "iat": now, "exp": now + TOKEN_SECONDS, "jti": WHO, "client_id": WHO,
        });
        let token = Signer::new(secrets).zip(claims.as_object()).and_then(|(signer, claims)| signer.sign(claims).ok());
        token.map(|token| format!("Authorization: Bearer {token}")).unwrap_or_default()
    }

    /// The same, sealed by somebody else.
    pub fn forged_session(&self) -> String {
        self.session(&self.stranger, &Route::default()).unwrap_or_default()
    }

    fn session(&self, keys: &Keyring, route: &Route) -> Option<String> {
        let settings = &self.settings;
        let directory = settings.ldap.iter().filter(|directory| directory.login).map(|directory| &directory.name);
        let mut ways = settings.provider.iter().map(|provider| &provider.name).chain(directory);
        let now = unix_seconds(SystemTime::now());
        let session = Session {
            id: keys.random_id().ok()?,
            signed_in_at: now,
            last_used: now,
            identity: Identity {
                provider: route.provider.clone().or_else(|| ways.next().cloned())?,
                subject: WHO.into(),
                user: WHO.into(),
                email: None,
                email_verified: None,
                preferred_username: None,
                name: None,
                groups: None,
                claims: Default::default(),
            },
            authentication: Default::default(),
            tokens: None,
        };
        let sealed = session.seal(keys, self.cookies.sealed_for(), settings.session.max_bytes.0).ok()?;
        Some(format!("Cookie: {}={sealed}", self.cookies.session()))
    }
}

fn one_time_secret() -> Result<Secret, String> {
    let random: ring::rand::Random<[u8; 32]> = ring::rand::generate(&ring::rand::SystemRandom::new())
        .map_err(|_| "the system's random source failed".to_owned())?;
    Ok(Secret::new(random.expose().iter().map(|byte| format!("{byte:02x}")).collect::<String>()))
}

/// The settings with the doctor's app in the place of every app, a secret of its own, and nobody turned away who is signed in:
/// what is examined is what an app is told.
fn disarmed(settings: &Settings, app: SocketAddr, secret: &Secret) -> Settings {
    let mut settings = settings.clone();
    settings.secrets = vec![secret.clone()];
    settings.restore.enabled = false;
    for upstream in &mut settings.upstream {
        upstream.url = AppUrl::Tcp { scheme: AppScheme::Http, host: app.ip().to_string(), port: app.port() };
        (upstream.tls_ca_file, upstream.tls_server_name) = (None, None);
    }
    for route in &mut settings.route {
        (route.allow, route.max_age, route.fresh_sign_in) = (None, None, false);
        [&mut route.acr_values, &mut route.issuers, &mut route.scopes].into_iter().for_each(Vec::clear);
    }
    // So that the gateway takes tokens of its own.
    settings.federation.get_or_insert_with(Default::default);
    settings
}

async fn serve(listener: TcpListener, rehearsal: Arc<Rehearsal>, client: Arc<Mutex<IpAddr>>) {
    while let Ok((stream, peer)) = listener.accept().await {
        let from = SocketAddr::new(*client.lock().unwrap_or_else(PoisonError::into_inner), peer.port());
        let rehearsal = rehearsal.clone();
        tokio::spawn(async move { rehearsal.serve(stream, from).await });
    }
}

/// The app: answers with the head of each request.
async fn tell(listener: TcpListener) {
    while let Ok((mut stream, _)) = listener.accept().await {
        tokio::spawn(async move { while tell_one(&mut stream).await.is_some() {} });
    }
}

async fn tell_one(stream: &mut TcpStream) -> Option<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        // One by one: what is behind the head is the next request.
        head.push(stream.read_u8().await.ok().filter(|_| head.len() < LONGEST)?);
    }
    let answer = format!("HTTP/1.1 200 OK\r\n{SEEN}: yes\r\nContent-Length: {}\r\n\r\n", head.len());
    stream.write_all(&[answer.as_bytes(), &head].concat()).await.ok()
}

/// The headers in a head, without its first line.
fn headers(head: &[u8]) -> Vec<(String, String)> {
    let head = String::from_utf8_lossy(head);
    let lines = head.split("\r\n").skip(1).filter_map(|line| line.split_once(':'));
    lines.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())).collect()
}
