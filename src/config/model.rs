//! What an operator may write: one type a table of `gateway.toml`, every key with its default.
//!
//! The `///` lines here are what `docs/configuration.md` and the JSON Schema show. Types hold values that
//! are well-formed by themselves; whether they fit together is judged in `judge.rs`.

use std::net::SocketAddr;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Url;

use super::values::{AppUrl, ByteSize, Color, HeaderNameText, Network, Period, Secret};

mod directory;
mod programs;
mod providers;
mod route;

pub use directory::{
    Attempts, Directory, DirectoryAddress, EMAIL, FULL_NAME, GROUPS, GroupNames, RESTORE, Restore, SUBJECT, USER,
};
pub use programs::{
    Bearer, Federation, Issuer, OF_ACCOUNTS, OWN_ISSUER, ServiceAccount, TENANT, TokenAlgorithm, own_issuer, tenant_in,
};
pub use providers::{
    ANY_TENANT, AssertionAudience, AuthMethod, CALLBACK, ClaimMap, ClientAuth, GOOGLE_TOKENS, LogoutForm, Preset,
    Provider, ResponseMode, callback,
};
pub use route::{Access, Allow, BasicWith, ClaimRule, Route, SignInStyle};

/// The whole configuration file.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Address at which browsers reach the gateway: scheme, host and perhaps a port, no path. Redirect URIs,
    /// cookies and sign-in links are made from it, never from the Host header.
    pub public_url: Url,
    /// Secrets that seal sessions, newest first, each of at least 32 characters. The first seals, all of them open:
    /// put a new one in front, and take the old one away when the longest session has ended.
    #[serde(default)]
    pub secrets: Vec<Secret>,
    /// File with one secret; used as `secrets` with one entry.
    pub secret_file: Option<PathBuf>,
    #[serde(default)]
    pub listen: Listen,
    #[serde(default)]
    pub admin: Admin,
    /// The OpenID providers people sign in with. The first is the default.
    #[serde(default)]
    pub provider: Vec<Provider>,
    pub ldap: Option<Directory>,
    #[serde(default)]
    pub attempts: Attempts,
    #[serde(default)]
    pub restore: Restore,
    /// The apps behind the gateway.
    #[serde(default)]
    pub upstream: Vec<Upstream>,
    /// Which requests go where, and who may. The most specific route wins, whatever the order; what no route
    /// matches is refused.
    #[serde(default)]
    pub route: Vec<Route>,
    /// Issuers whose bearer tokens are accepted.
    #[serde(default)]
    pub issuer: Vec<Issuer>,
    #[serde(default)]
    pub bearer: Bearer,
    pub federation: Option<Federation>,
    /// Accounts for programs.
    #[serde(default)]
    pub service_account: Vec<ServiceAccount>,
    /// File with the digests of the service accounts' keys, written by `doorward service-account` and read again when it
    /// changes; `api-keys.toml` beside the configuration unless set.
    pub api_keys_file: Option<PathBuf>,
    #[serde(default)]
    pub headers: Headers,
    #[serde(default)]
    pub cors: Cors,
    #[serde(default)]
    pub session: Session,
    #[serde(default)]
    pub sign_in: SignIn,
    #[serde(default)]
    pub timeouts: Timeouts,
    #[serde(default)]
    pub limits: Limits,
    #[serde(default)]
    pub log: Log,
    #[serde(default)]
    pub brand: Brand,
}

impl Settings {
    /// Every secret that is set, for whoever has to make sure that none is told.
    pub fn known_secrets(&self) -> impl Iterator<Item = &Secret> {
        let providers = self.provider.iter().filter_map(|provider| provider.client_secret.as_ref());
        let issuers = self.issuer.iter().flat_map(|issuer| [&issuer.secret, &issuer.client_secret]).flatten();
        let directory = self.ldap.iter().filter_map(|directory| directory.bind_password.as_ref());
        self.secrets.iter().chain(providers).chain(issuers).chain(directory)
    }

    /// The `[[provider]]` that `issuer` names.
    pub fn provider_of(&self, issuer: &Issuer) -> Option<&Provider> {
        self.provider.iter().find(|provider| issuer.provider.as_ref() == Some(&provider.name))
    }
}

/// The public listener.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Listen {
    /// Address and port.
    pub address: SocketAddr,
    /// PEM file with the certificate chain, leaf first. With it the listener speaks TLS (HTTP/1.1 and HTTP/2).
    pub tls_certificate_file: Option<PathBuf>,
    /// PEM file with the certificate's private key.
    pub tls_key_file: Option<PathBuf>,
    /// HTTP/2 without TLS, for clients that begin with its preface (prior knowledge).
    pub h2c: bool,
    /// Worker threads; 0 for one a core.
    pub threads: usize,
    /// Connections held open at once; more are turned away.
    pub max_connections: usize,
    /// Addresses of proxies in front whose `X-Forwarded-For`, `-Proto` and `-Host` are believed. Empty: nobody's. Such a
    /// proxy has to set these headers itself and pass on none that a client sent.
    pub trusted_proxies: Vec<Network>,
}

impl Default for Listen {
    fn default() -> Self {
        Listen {
            address: SocketAddr::from(([0, 0, 0, 0], 8080)),
            tls_certificate_file: None,
            tls_key_file: None,
            h2c: true,
            threads: 0,
            max_connections: 20_000,
            trusted_proxies: Vec::new(),
        }
    }
}

/// The listener for operators: `/metrics`, `/healthz`, `/readyz`, and to this machine alone the console (docs/console.md).
/// Nothing of it is on the public listener.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Admin {
    /// Address and port.
    pub address: SocketAddr,
}

impl Default for Admin {
    fn default() -> Self {
        Admin { address: SocketAddr::from(([127, 0, 0, 1], 9090)) }
    }
}

/// One app behind the gateway.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Upstream {
    /// Name used by routes, in metrics and in logs.
    #[serde(default = "default_upstream_name")]
    pub name: String,
    /// `http://host:port`, `https://host:port`, `h2c://host:port` (HTTP/2 without TLS) or `unix:/path`.
    pub url: AppUrl,
    /// PEM file with the certificate authorities trusted for this upstream, instead of the system's.
    pub tls_ca_file: Option<PathBuf>,
    /// Name to expect in the upstream's certificate; the host of `url` unless set.
    pub tls_server_name: Option<String>,
    /// What the app sees as `Host`: the client's (`preserve`), that of `url` (`upstream`), or any name.
    #[serde(default = "default_host_header")]
    pub host_header: String,
    /// Instead of `timeouts.connect` for this upstream.
    pub connect: Option<Period>,
    /// Instead of `timeouts.first_byte` for this upstream.
    pub first_byte: Option<Period>,
    /// Instead of `timeouts.stream_idle` for this upstream.
    pub stream_idle: Option<Period>,
}

fn default_upstream_name() -> String {
    "app".into()
}
fn default_host_header() -> String {
    "preserve".into()
}

/// The headers that tell the app who it is.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Headers {
    /// Send `X-Forwarded-User`, `-Email`, `-Preferred-Username`, `-Groups`.
    pub standard: bool,
    /// Further headers.
    pub set: Vec<HeaderRule>,
    /// Names of identity headers to drop from every request although none is set here, because the app believes them.
    pub drop: Vec<HeaderNameText>,
    /// How lists become one value.
    pub lists: ListEncoding,
    /// How values outside ASCII are sent.
    pub text: TextEncoding,
    /// Longest value of one header; a longer one is refused at sign-in.
    pub max_value_bytes: ByteSize,
}

impl Default for Headers {
    fn default() -> Self {
        Headers {
            standard: true,
            set: Vec::new(),
            drop: Vec::new(),
            lists: ListEncoding::default(),
            text: TextEncoding::default(),
            max_value_bytes: ByteSize(8 * 1024),
        }
    }
}

/// One header from one claim.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HeaderRule {
    /// Name of the header (`X-Remote-User`, `X-WEBAUTH-USER`, …).
    pub name: HeaderNameText,
    /// `user`, `email`, `preferred_username`, `name`, `groups`, `sub`, or any claim by path.
    pub claim: String,
    /// Instead of `headers.text` for this header.
    pub text: Option<TextEncoding>,
    /// Instead of `headers.lists` for this header.
    pub lists: Option<ListEncoding>,
}

/// How a list becomes one header value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ListEncoding {
    /// Joined by commas; a comma or percent sign inside an entry is percent-encoded.
    #[default]
    Comma,
    /// A JSON array, ASCII only.
    Json,
}

/// How a value outside ASCII is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TextEncoding {
    /// As UTF-8 bytes.
    #[default]
    Utf8,
    /// Percent-encoded UTF-8; `%` too.
    Percent,
    /// Base64 of the UTF-8 bytes, always.
    Base64,
}

/// Pages of other origins that call the app (Fetch §3.3).
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Cors {
    /// Origins whose preflights the gateway answers for the app, and whose scripts may read the answers; as in
    /// `https://app.example.com`. `null` is understood and opens nothing: the provider's `form_post` needs no CORS.
    pub origins: Vec<String>,
}

/// Sessions of people.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Session {
    /// Name of the session cookie, without the `__Host-` prefix that is put before it where it can be.
    pub cookie_name: String,
    /// Domain of the session cookie, for several hosts under one domain; the public URL's host alone where it is not set.
    pub cookie_domain: Option<String>,
    /// A session ends when nothing was asked for this long.
    pub idle: Period,
    /// A session ends this long after sign-in, whatever happens.
    pub absolute: Period,
    /// Renew the session with the provider's refresh token this long before the tokens expire. Needs a provider that
    /// sends refresh tokens (`offline_access` with most).
    pub refresh: bool,
    /// How long before the tokens expire they are renewed.
    pub refresh_ahead: Period,
    /// What happens when the provider refuses a renewal or does not answer.
    pub on_refresh_failure: OnRefreshFailure,
    /// Largest session, sealed, over all its cookies.
    pub max_bytes: ByteSize,
}

impl Default for Session {
    fn default() -> Self {
        Session {
            cookie_name: "doorward".into(),
            cookie_domain: None,
            idle: Period::seconds(8 * 3600),
            absolute: Period::seconds(24 * 3600),
            refresh: false,
            refresh_ahead: Period::seconds(60),
            on_refresh_failure: OnRefreshFailure::default(),
            max_bytes: ByteSize(12 * 1024),
        }
    }
}

/// What happens when the provider refuses a renewal or does not answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnRefreshFailure {
    /// The session goes on until its own limits.
    #[default]
    Keep,
    /// The person signs in again.
    SignIn,
}

/// Signing in and out.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SignIn {
    /// How long a person may take at the provider.
    pub attempt_lifetime: Period,
    /// End the provider's session too, where it offers that.
    pub provider_logout: bool,
    /// Path on this host where people go after signing out; the signed-out page where it is not set.
    pub after_logout: Option<String>,
}

impl Default for SignIn {
    fn default() -> Self {
        SignIn { attempt_lifetime: Period::seconds(600), provider_logout: true, after_logout: None }
    }
}

/// How long to wait.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Timeouts {
    /// For a connection to an upstream, TLS included.
    pub connect: Period,
    /// For an upstream to begin its answer, and between two parts of it.
    pub first_byte: Period,
    /// The same for WebSockets and event streams, which are silent by nature.
    pub stream_idle: Period,
    /// How long an unused connection to an upstream is kept.
    pub pool_idle: Period,
    /// For a client to send the next request on an open connection, its head included.
    pub client_idle: Period,
    /// Between two parts of a request's body, and for a client to take the next part of an answer.
    pub client_body: Period,
    /// How long requests in flight may go on after SIGTERM.
    pub drain: Period,
}

impl Default for Timeouts {
    fn default() -> Self {
        Timeouts {
            connect: Period::seconds(5),
            first_byte: Period::seconds(60),
            stream_idle: Period::seconds(3600),
            pool_idle: Period::seconds(60),
            client_idle: Period::seconds(60),
            client_body: Period::seconds(60),
            drain: Period::seconds(30),
        }
    }
}

/// What a request may measure. More is refused by name.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Bytes of the request line.
    pub request_line: ByteSize,
    /// Bytes of all headers.
    pub header_bytes: ByteSize,
    /// Number of headers, at most 256.
    pub headers: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { request_line: ByteSize(16 * 1024), header_bytes: ByteSize(64 * 1024), headers: 128 }
    }
}

/// Logs, on standard error.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    pub format: LogFormat,
    pub level: LogLevel,
    /// A line for each request.
    pub access: bool,
    /// A line for each decision about a person: sign-in, sign-out, refusal.
    pub audit: bool,
}

impl Default for Log {
    fn default() -> Self {
        Log { format: LogFormat::default(), level: LogLevel::default(), access: true, audit: true }
    }
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people: one line of words and `key=value`.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// From which weight on the gateway's own events are logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogLevel {
    Error,
    Warn,
    #[default]
    Info,
    Debug,
}

/// How the gateway's own pages look.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Brand {
    /// Name on the pages; `Doorward` unless set.
    pub name: Option<String>,
    /// SVG, PNG, JPEG or WebP file, at most 256 kB; shown at 40 pixels' height.
    pub logo_file: Option<PathBuf>,
    /// Colour of buttons and links, as `#rrggbb`.
    pub color: Option<Color>,
    /// A line on the error pages that says whom to ask.
    pub support: Option<String>,
}
