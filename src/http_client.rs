//! Talking HTTP to identity providers.
//!
//! Promise: every request ends within its time, no answer takes more memory than its limit, no redirect is followed,
//! TLS is always verified, and a failure names the step that failed. Nothing that is sent or received is ever logged
//! or put into an error: not headers, not bodies, not the query of an address.
//!
//! Making an [`HttpClient`] costs next to nothing. Reading the system's certificates takes tens of milliseconds and a
//! few megabytes, so the client underneath is built aside, at the first request that needs it.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use http::header::{ACCEPT, AGE, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, DATE, LOCATION};
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use openidconnect::{HttpRequest, HttpResponse};
use tokio::sync::OnceCell;
use url::{Host, Url};

use crate::clock::unix_seconds;
use crate::config::values::Secret;
use crate::pem::{self, unusable};
use crate::reason::Failure;
use crate::tls_fault::{MAKE_SERVERS, TlsFault};

#[cfg(test)]
mod tests;

/// Most bytes of an answer. A key set of a hundred keys has about 200 kB.
const MAX_BODY: usize = 1024 * 1024;

/// Longest wait for a connection, TLS included, so that a host that swallows packets is told from a slow one.
const MAX_CONNECT: Duration = Duration::from_secs(5);

/// How long an unused connection is kept. Many servers close theirs after five seconds (Node.js, Apache), and a request that is
/// sent at that very moment is lost.
const KEEP_IDLE: Duration = Duration::from_secs(3);

/// One HTTP client, for one provider: its time limit, its certificate authorities and who we are there.
pub struct HttpClient {
    timeout: Duration,
    trust: Trust,
    /// Whether the environment names a proxy at all.
    proxy: bool,
    /// By [`Way::index`].
    clients: [OnceCell<reqwest::Client>; 4],
}

/// What TLS connections are made with.
#[derive(Clone)]
struct Trust {
    /// Trusted instead of the system's authorities.
    authorities: Option<Vec<reqwest::Certificate>>,
    identity: Option<Identity>,
}

/// Who we are on TLS connections whose server asks: a certificate with its chain, and its private key (RFC 8705).
#[derive(Clone)]
pub struct Identity(reqwest::Identity);

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity")
    }
}

impl Identity {
    /// The chain in `certificate_pem`, ours first, and the one private key in `key_pem`: PKCS#8, PKCS#1 or SEC1.
    /// [`CertificateUnusable`](crate::reason::Reason::CertificateUnusable) says what is wrong with them, and the caller names the file.
    pub fn from_pem(certificate_pem: &str, key_pem: &str) -> Result<Identity, Failure> {
        let chain = pem::certificates(certificate_pem)?;
        let key = pem::private_key(key_pem)?;
        pem::belong_together(&chain, &key)?;
        // Anew, since one file often holds both, and reqwest takes whatever stands in a text.
        let text = pem::one_text(&key, &chain);
        let identity = reqwest::Identity::from_pem(text.as_bytes());
        identity.map(Identity).map_err(|_| unusable("certificate and private key cannot be read"))
    }
}

/// A JSON document that was fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    pub body: Vec<u8>,
    /// How long it is fresh, where the answer says so: `max-age` of `Cache-Control` less `Age`, and no time at all for
    /// `no-store` and `no-cache` (RFC 9111 §5.2.2).
    pub fresh_for: Option<Duration>,
}

/// What a request needs of the client underneath.
#[derive(Clone, Copy)]
struct Way {
    tls: bool,
    proxied: bool,
}

impl Way {
    fn index(self) -> usize {
        usize::from(self.tls) | usize::from(self.proxied) << 1
    }
}

impl HttpClient {
    /// A client whose requests end within `timeout`. Trusts the system's certificate authorities, or those in the PEM
    /// file `ca_file` and no others. A server that asks who we are is shown `identity`. Fails with
    /// [`CertificateUnusable`](crate::reason::Reason::CertificateUnusable) where the file cannot be used.
    pub fn new(timeout: Duration, ca_file: Option<&Path>, identity: Option<&Identity>) -> Result<HttpClient, Failure> {
        let authorities = match ca_file {
            None => None,
            Some(path) => {
                let named = |failure| pem::named(path, failure);
                let pem = pem::read(path)?;
                // Judged first, without the words of a library that may quote the file.
                pem::certificates(&pem).map_err(named)?;
                let found = reqwest::Certificate::from_pem_bundle(pem.as_bytes());
                Some(found.map_err(|_| named(unusable("a certificate in it cannot be read")))?)
            }
        };
        let trust = Trust { authorities, identity: identity.cloned() };
        Ok(HttpClient { timeout, trust, proxy: proxy_in_environment(), clients: Default::default() })
    }

    /// Sends `request` and returns the answer whole, whatever its status.
    pub async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let request = reqwest::Request::try_from(request).map_err(|_| HttpError::Setup("not an address".into()))?;
        let way = Way { tls: request.url().scheme() == "https", proxied: self.proxy && !is_loopback(request.url()) };
        let client = self.client(way).await?;
        let mut answer = client.execute(request).await.map_err(HttpError::from_reqwest)?;
        // A length is announced before memory is spent on it; an answer without one is measured as it comes.
        if answer.content_length().is_some_and(|length| length > MAX_BODY as u64) {
            return Err(HttpError::TooLarge);
        }
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(HttpError::from_reqwest)? {
            if body.len() + chunk.len() > MAX_BODY {
                return Err(HttpError::TooLarge);
            }
            body.extend_from_slice(&chunk);
        }
        let mut response = HttpResponse::new(body);
        *response.status_mut() = answer.status();
        *response.headers_mut() = std::mem::take(answer.headers_mut());
        Ok(response)
    }

    /// The body of the JSON document at `url`. Anything but status 200 and a JSON content type is an error.
    pub async fn get_json(&self, url: &Url, bearer: Option<&Secret>) -> Result<Vec<u8>, HttpError> {
        self.get_document(url, bearer).await.map(|document| document.body)
    }

    /// The same, with how long it may be used.
    pub async fn get_document(&self, url: &Url, bearer: Option<&Secret>) -> Result<Document, HttpError> {
        let mut request = http::Request::get(url.as_str()).header(ACCEPT, "application/json");
        if let Some(token) = bearer {
            request = request.header(AUTHORIZATION, format!("Bearer {}", token.expose()));
        }
        let request = request.body(Vec::new()).map_err(|_| HttpError::Setup("not an address or token".into()))?;
        let response = self.send(request).await?;
        require_success(&response)?;
        require_json(&response)?;
        Ok(Document { fresh_for: fresh_for(response.headers()), body: response.into_body() })
    }

    async fn client(&self, way: Way) -> Result<&reqwest::Client, HttpError> {
        let build = || async {
            let (timeout, trust) = (self.timeout, self.trust.clone());
            let built = tokio::task::spawn_blocking(move || build(timeout, trust, way));
            match built.await {
                Ok(Ok(client)) => Ok(client),
                Ok(Err(error)) => Err(HttpError::Setup(deepest(&error))),
                Err(_) => Err(HttpError::Setup("the gateway is stopping".into())),
            }
        };
        self.clients[way.index()].get_or_try_init(build).await
    }
}

impl fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpClient").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

fn build(timeout: Duration, trust: Trust, way: Way) -> Result<reqwest::Client, reqwest::Error> {
    // reqwest takes its cryptography from rustls' process default and aws-lc-rs where there is none. The server sets
    // the first; that a test or a subcommand which sets none gets the same is made certain here. An error means that
    // somebody was faster.
    if way.tls || way.proxied {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    }
    let mut client = reqwest::Client::builder()
        .user_agent(concat!("doorward/", env!("CARGO_PKG_VERSION")))
        .timeout(timeout)
        .connect_timeout(timeout.min(MAX_CONNECT))
        // A provider that moved is to be configured anew; a redirect of a token request would carry the secret along.
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .pool_idle_timeout(KEEP_IDLE)
        .pool_max_idle_per_host(8);
    if !way.proxied {
        client = client.no_proxy();
    }
    // For the provider; a proxy over TLS that asks sees it, too.
    if let Some(Identity(identity)) = trust.identity.filter(|_| way.tls) {
        client = client.identity(identity);
    }
    client = match (way.tls || way.proxied, trust.authorities) {
        (true, None) => client,
        (true, Some(authorities)) => client.tls_certs_only(authorities),
        // Plain HTTP, not even to a proxy over TLS, needs nobody's certificates, and should not pay for reading them.
        (false, _) => client.tls_certs_only([]),
    };
    client.build()
}

/// Whether one of the variables that reqwest reads names a proxy. Organisations reach their provider through one.
fn proxy_in_environment() -> bool {
    ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"]
        .iter()
        .any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()))
}

/// The proxy through which `url` is asked, as the environment names it.
pub fn proxy_for(url: &Url) -> Option<Intercept> {
    let address: http::Uri = url.as_str().parse().ok()?;
    Matcher::from_system().intercept(&address).filter(|_| proxy_in_environment() && !is_loopback(url))
}

/// Whether the address is on this machine: no proxy can reach it, whatever the environment says.
fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// The step at which a request to a provider failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HttpError {
    #[error("DNS: the host name does not resolve: {0}")]
    Dns(String),
    #[error("TCP: no connection: {0}")]
    Tcp(String),
    #[error("TLS: {0}")]
    Tls(String),
    #[error("timeout: no connection in time")]
    ConnectTimeout,
    #[error("timeout: no whole answer in time")]
    Timeout,
    /// The status, and for a redirect the host it points to.
    #[error("HTTP status {0}{1}")]
    Status(u16, String),
    #[error("content type: expected JSON, got {0}")]
    ContentType(String),
    #[error("the answer is larger than {} kB", MAX_BODY / 1024)]
    TooLarge,
    #[error("the answer is not HTTP: {0}")]
    Broken(String),
    #[error("the request could not be made: {0}")]
    Setup(String),
}

impl HttpError {
    fn from_reqwest(error: reqwest::Error) -> Self {
        // The address is in the caller's message already, and its query is nobody's business.
        let error = error.without_url();
        let why = deepest(&error);
        if error.is_dns() {
            return HttpError::Dns(why);
        }
        if error.is_timeout() {
            return if error.is_connect() { HttpError::ConnectTimeout } else { HttpError::Timeout };
        }
        if has_cause::<rustls::Error>(&error) {
            return HttpError::Tls(why);
        }
        if error.is_connect() {
            return HttpError::Tcp(why);
        }
        HttpError::Broken(why)
    }
}

/// Who says the address that is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Address {
    /// The configuration, by `issuer`.
    Issuer,
    /// The configuration, by this key of an `[[issuer]]`.
    Setting(&'static str),
    /// The provider's metadata, by this member.
    Member(&'static str),
}

impl HttpError {
    /// The step, in a word or two that everybody may read.
    pub fn step(&self) -> &'static str {
        match self {
            HttpError::Dns(_) => "DNS",
            HttpError::Tcp(_) | HttpError::ConnectTimeout => "TCP",
            HttpError::Tls(_) => "TLS",
            HttpError::Timeout => "no answer in time",
            HttpError::Status(..) => "HTTP status",
            HttpError::ContentType(_) => "content type",
            HttpError::TooLarge => "size",
            HttpError::Broken(_) => "HTTP",
            HttpError::Setup(_) => "request",
        }
    }

    /// What to do about it, by the step; `None` where the step says too little.
    pub fn remedy(&self, address: Address) -> Option<Cow<'static, str>> {
        match address {
            Address::Issuer => self.remedy_by_setting().or(self.remedy_at_provider()).map(Cow::Borrowed),
            Address::Setting(key) => match self.remedy_by_setting() {
                Some(remedy) => Some(remedy.replace("`issuer`", &format!("`{key}` of the `[[issuer]]`")).into()),
                None => self.remedy_at_provider().map(Cow::Borrowed),
            },
            Address::Member(member) => self
                .remedy_by_member()
                .map(|what| {
                    format!("Have the provider say a `{member}` {what}, which is not the gateway's to set.").into()
                })
                .or_else(|| self.remedy_at_provider().map(Cow::Borrowed)),
        }
    }

    /// Where the address is written into the configuration.
    fn remedy_by_setting(&self) -> Option<&'static str> {
        Some(match self {
            HttpError::Dns(_) => {
                "Correct the host in `issuer`, or the name service of the gateway's host, which does not know it."
            }
            HttpError::Tcp(_) | HttpError::ConnectTimeout => {
                "Correct host and port in `issuer`, or let the gateway's host out to it: a firewall, or a proxy that \
                 `HTTPS_PROXY` has to name."
            }
            HttpError::Tls(why) => match TlsFault::of(why) {
                Some(TlsFault::OtherName) => {
                    "Write the name in `issuer` that the provider's certificate is for, or have it made for this one."
                }
                Some(TlsFault::NoTls) => {
                    "Correct the port in `issuer`, or write http:// where the provider has no TLS: what answers speaks none."
                }
                None => {
                    "Compare `https` and the port in `issuer` with what the provider speaks, and its certificate with \
                     `ca_file`."
                }
                Some(_) => return None,
            },
            HttpError::Status(404 | 410, _) => {
                "Compare `issuer` with the provider's, with its path (tenant, realm, application): nothing is there."
            }
            HttpError::Status(300..=399, _) => "Set `issuer` to where it leads: redirects are not followed.",
            HttpError::ContentType(_) => {
                "Correct `issuer`: at this address is a page, or something in between answers with one."
            }
            HttpError::Broken(_) => "Compare `http` or `https` and the port in `issuer` with what the provider speaks.",
            _ => return None,
        })
    }

    /// Where the address is the provider's to say: what it would have to be.
    fn remedy_by_member(&self) -> Option<&'static str> {
        Some(match self {
            HttpError::Dns(_) => "whose host the gateway can resolve, or correct the name service of its host",
            HttpError::Tcp(_) | HttpError::ConnectTimeout => {
                "that the gateway can reach, or let its host out to that one: a firewall, or a proxy that `HTTPS_PROXY` has to name"
            }
            HttpError::Tls(why) => match TlsFault::of(why) {
                Some(TlsFault::OtherName) => "whose certificate is for its name",
                Some(TlsFault::NoTls) => "with the scheme and port that it speaks: what answers speaks no TLS",
                None => "whose TLS the gateway can speak and whose certificate is good",
                Some(_) => return None,
            },
            HttpError::Status(300..=399, _) => "that answers by itself, for redirects are not followed",
            HttpError::Status(404 | 405 | 410, _) => "at which something is",
            HttpError::ContentType(_) | HttpError::TooLarge => {
                "that answers with JSON; perhaps something in between answers with a page"
            }
            HttpError::Broken(_) => "with the scheme and port that it speaks",
            _ => return None,
        })
    }

    /// Wherever the address comes from.
    fn remedy_at_provider(&self) -> Option<&'static str> {
        Some(match self {
            HttpError::Tls(why) => match TlsFault::of(why)? {
                TlsFault::UnknownAuthority => {
                    "Set `ca_file` of the `[[provider]]` (or `[[issuer]]`) to the authority that the provider's certificate is of."
                }
                TlsFault::Expired => "Have the provider's certificate renewed.",
                TlsFault::NotYetValid => {
                    "Set the clock of the gateway's host: by it the provider's certificate is not valid yet."
                }
                TlsFault::AuthorityAsServer => MAKE_SERVERS,
                TlsFault::OtherName | TlsFault::NoTls => return None,
            },
            HttpError::Timeout => "Look at the provider, which is slow, or raise `timeout` of the `[[provider]]`.",
            HttpError::Status(401 | 403 | 407, _) => {
                "Let the gateway's host through to the provider: something in between wants to know who asks."
            }
            HttpError::Status(429, _) => "Wait: the provider says that it is asked too often.",
            HttpError::Status(500.., _) => "Look at the provider: it says itself that it is at fault.",
            _ => return None,
        })
    }
}

/// By how many seconds the clock in the answer's `Date` is ahead of `now`; negative where it is behind.
pub fn clock_ahead(response: &HttpResponse, now: SystemTime) -> Option<i64> {
    let date = httpdate::parse_http_date(response.headers().get(DATE)?.to_str().ok()?).ok()?;
    let seconds = |time| i64::try_from(unix_seconds(time)).ok();
    Some(seconds(date)? - seconds(now)?)
}

/// Status 200, or the status as an error.
pub fn require_success(response: &HttpResponse) -> Result<(), HttpError> {
    let status = response.status();
    if status == http::StatusCode::OK {
        return Ok(());
    }
    let target = response.headers().get(LOCATION).filter(|_| status.is_redirection());
    let target = target.and_then(|to| to.to_str().ok()).and_then(|to| Url::parse(to).ok());
    let aside = match target.as_ref().and_then(Url::host_str) {
        Some(host) => format!(", a redirect to {host}, which is not followed"),
        None if status.is_redirection() => ", a redirect, which is not followed".into(),
        None => String::new(),
    };
    Err(HttpError::Status(status.as_u16(), aside))
}

/// The media type of an answer, without parameters and in lower case; `None` where it says none.
pub fn media_type(response: &HttpResponse) -> Option<String> {
    let text = response.headers().get(CONTENT_TYPE)?.to_str().ok()?;
    Some(text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
}

/// `application/json` or another type that ends in `+json` (RFC 6839 §3.1), in any case, with any parameters.
pub fn require_json(response: &HttpResponse) -> Result<(), HttpError> {
    let essence = media_type(response).unwrap_or_else(|| "none".into());
    if essence == "application/json" || essence.ends_with("+json") {
        return Ok(());
    }
    Err(HttpError::ContentType(essence.chars().take(80).collect()))
}

/// See [`Document::fresh_for`]. What cannot be read says nothing.
fn fresh_for(headers: &http::HeaderMap) -> Option<Duration> {
    let lines = headers.get_all(CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
    let mut max_age = None;
    for directive in lines.flat_map(|line| line.split(',')) {
        let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
        match name.trim().to_ascii_lowercase().as_str() {
            "no-store" | "no-cache" => return Some(Duration::ZERO),
            "max-age" if max_age.is_none() => max_age = value.trim().trim_matches('"').parse::<u64>().ok(),
            _ => {}
        }
    }
    let age = headers.get(AGE).and_then(|value| value.to_str().ok()?.trim().parse::<u64>().ok()).unwrap_or(0);
    max_age.map(|seconds| Duration::from_secs(seconds.saturating_sub(age)))
}

/// The innermost message: the ones around it say "error sending request".
fn deepest(error: &dyn StdError) -> String {
    let mut deepest = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest.to_string()
}

fn has_cause<T: StdError + 'static>(error: &(dyn StdError + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if error.is::<T>() {
            return true;
        }
        // An `io::Error` hides the error it wraps from `source`, and shows that one's source instead.
        if let Some(inner) = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref)
            && has_cause::<T>(inner)
        {
            return true;
        }
        next = error.source();
    }
    false
}
