//! Step 8: the apps behind, their addresses and how long they may take.
//!
//! Names are resolved when the gateway starts and again in the background, never on a request's way: only who comes before
//! the first look-up has ended waits for that. An app that does not resolve makes its own requests fail by name and nobody
//! else's.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use http::HeaderValue;
use pingora_core::protocols::tls::CaType;
use pingora_core::upstreams::peer::{ALPN, HttpPeer, HttpUpstreamRequestPolicy};
use pingora_core::utils::tls::{WrappedX509, parse_x509};
use ring::digest::{Context, Digest, SHA256};
use tokio::sync::watch;

use crate::config::console::{Console, is_own};
use crate::config::model::{self, Timeouts};
use crate::config::values::{AppScheme, AppUrl};
use crate::pem;
use crate::reason::{Failure, Reason};

/// One app behind the gateway.
pub struct Upstream {
    /// Name in metrics and logs.
    pub name: String,
    url: AppUrl,
    host: HostHeader,
    /// One peer for each address; empty while the name does not resolve.
    peers: ArcSwap<Vec<HttpPeer>>,
    /// Whether its name was looked up at all, or is none.
    looked_up: watch::Sender<bool>,
    next: AtomicUsize,
    console: Console,
    /// Whether addresses of the app are the console's, and are left out or used.
    leads_to_console: AtomicBool,
    ca: Option<Arc<CaType>>,
    /// Tells connections of one trust and protocol from those of another, which the proxy library's pool would not.
    kind: u64,
    server_name: String,
    connect: Duration,
    first_byte: Duration,
    stream_idle: Duration,
    pool_idle: Duration,
}

/// What the app sees as `Host`.
pub enum HostHeader {
    /// The host the client asked for.
    Preserve,
    Fixed(HeaderValue),
}

/// How often names are looked up again.
const RESOLVE_EVERY: Duration = Duration::from_secs(30);
/// How often, while one does not resolve.
const RESOLVE_RETRY: Duration = Duration::from_secs(2);

impl Upstream {
    /// Reads the CA file; resolves nothing. No request is ever sent to `console` where that is out of bounds.
    pub fn new(settings: &model::Upstream, timeouts: &Timeouts, console: Console) -> Result<Self, Failure> {
        let (host, authority) = match &settings.url {
            AppUrl::Tcp { host, port, .. } => (host.clone(), format!("{host}:{port}")),
            AppUrl::Unix { .. } => ("localhost".to_owned(), "localhost".to_owned()),
        };
        let fixed = |text: &str| {
            let invalid =
                |_| Failure::new(Reason::ConfigInvalid, format!("upstream {}: host_header `{text}`", settings.name));
            HeaderValue::from_str(text).map(HostHeader::Fixed).map_err(invalid)
        };
        let (ca, trust) = settings.tls_ca_file.as_deref().map(read_ca).transpose()?.unzip();
        let upstream = Upstream {
            kind: kind(&settings.url, trust),
            name: settings.name.clone(),
            url: settings.url.clone(),
            host: match settings.host_header.as_str() {
                "preserve" => HostHeader::Preserve,
                "upstream" => fixed(&authority)?,
                other => fixed(other)?,
            },
            peers: ArcSwap::default(),
            looked_up: watch::Sender::new(false),
            next: AtomicUsize::new(0),
            console,
            leads_to_console: AtomicBool::new(false),
            ca,
            server_name: settings.tls_server_name.clone().unwrap_or(host),
            connect: settings.connect.unwrap_or(timeouts.connect).0,
            first_byte: settings.first_byte.unwrap_or(timeouts.first_byte).0,
            stream_idle: settings.stream_idle.unwrap_or(timeouts.stream_idle).0,
            pool_idle: timeouts.pool_idle.0,
        };
        if let AppUrl::Unix { path } = &upstream.url {
            let invalid = |e| Failure::new(Reason::ConfigInvalid, format!("upstream {}: {e}", upstream.name));
            let peer = HttpPeer::new_uds(path, false, String::new()).map_err(invalid)?;
            upstream.peers.store(Arc::new(vec![upstream.configure(peer)]));
            upstream.looked_up.send_replace(true);
        } else if let Some(address) = upstream.literal_address() {
            upstream.store(&[address]);
            upstream.looked_up.send_replace(true);
        }
        Ok(upstream)
    }

    /// Whether its certificate is judged by the authorities of the system.
    pub fn needs_system_authorities(&self) -> bool {
        matches!(self.url, AppUrl::Tcp { scheme: AppScheme::Https, .. }) && self.ca.is_none()
    }

    /// Takes over what `before`, an app of the configuration until now, found at the same address, so that a reload
    /// refuses nobody.
    pub fn inherit(&self, before: &Upstream) {
        if self.url == before.url && self.addresses() == 0 {
            let peers = before.peers.load();
            let known: Vec<_> = peers.iter().filter_map(|peer| peer._address.as_inet().copied()).collect();
            self.store(&known);
        }
    }

    pub fn url(&self) -> &AppUrl {
        &self.url
    }

    pub fn host_header(&self) -> &HostHeader {
        &self.host
    }

    /// How long a stream may be silent.
    pub fn stream_idle(&self) -> Duration {
        self.stream_idle
    }

    /// How many addresses the name has.
    pub fn addresses(&self) -> usize {
        self.peers.load().len()
    }

    /// Waits until its name was looked up, whatever came of it, and no longer than for a connection.
    pub async fn known(&self) {
        let mut looked_up = self.looked_up.subscribe();
        let _ = tokio::time::timeout(self.connect, looked_up.wait_for(|done| *done)).await;
    }

    /// Where a request begins among the addresses; its further tries go on from there.
    pub fn first_address(&self) -> usize {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// The peer at the address `index`, counted round. `streams` tells that long silence is natural for this request.
    pub fn peer(&self, index: usize, streams: bool) -> Result<Box<HttpPeer>, Failure> {
        let peers = self.peers.load();
        if peers.is_empty() {
            return Err(self.nowhere());
        }
        let mut peer = Box::new(peers[index % peers.len()].clone());
        if streams {
            peer.options.read_timeout = Some(self.stream_idle);
        }
        Ok(peer)
    }

    /// Why there is no address.
    fn nowhere(&self) -> Failure {
        let detail = format!("upstream {}: {}", self.name, self.url);
        if !(self.console.out_of_bounds && self.leads_to_console.load(Ordering::Relaxed)) {
            return Failure::new(Reason::UpstreamUnresolved, detail);
        }
        let console = self.console.address;
        let remedy = "Set `allow` of each route to this upstream to the admins, or correct the `url` of the upstream.";
        let seen =
            format!("{detail}, which is the gateway's own console at {console}, and a route takes everybody there");
        Failure::new(Reason::UpstreamUnresolved, seen).remedied(remedy)
    }

    /// Whether `peer` is the gateway's own console, to which its routes take chosen people alone. A name may lead there and
    /// to another app as well, which must not learn by what the console knows those routes.
    pub fn is_console(&self, peer: &HttpPeer) -> bool {
        let own = |address: &SocketAddr| is_own(*address, self.console.address);
        !self.console.out_of_bounds
            && self.leads_to_console.load(Ordering::Relaxed)
            && peer._address.as_inet().is_some_and(own)
    }

    /// Looks the name up now and then, until `shutdown` turns true.
    pub async fn keep_resolved(self: Arc<Self>, mut shutdown: watch::Receiver<bool>) {
        tokio::select! {
            () = self.resolve() => {}
            _ = shutdown.wait_for(|stop| *stop) => {}
        }
    }

    async fn resolve(&self) {
        let AppUrl::Tcp { host, port, .. } = &self.url else { return };
        if self.literal_address().is_some() {
            return;
        }
        let name = host.trim_matches(['[', ']']);
        let mut told = false;
        loop {
            let found = match tokio::net::lookup_host((name, *port)).await {
                Ok(addresses) => {
                    let addresses: Vec<_> = addresses.collect();
                    // An empty answer is no reason to forget what worked.
                    if !addresses.is_empty() {
                        self.store(&addresses);
                    }
                    !addresses.is_empty()
                }
                Err(error) => {
                    if !std::mem::replace(&mut told, true) {
                        tracing::warn!(upstream = %self.name, host, %error, "the app's name does not resolve");
                    }
                    false
                }
            };
            told &= !found;
            self.looked_up.send_replace(true);
            tokio::time::sleep(if found { RESOLVE_EVERY } else { RESOLVE_RETRY }).await;
        }
    }

    fn literal_address(&self) -> Option<SocketAddr> {
        match &self.url {
            AppUrl::Tcp { host, port, .. } => {
                host.trim_matches(['[', ']']).parse().ok().map(|ip| SocketAddr::new(ip, *port))
            }
            AppUrl::Unix { .. } => None,
        }
    }

    fn store(&self, addresses: &[SocketAddr]) {
        let (own, mut sorted): (Vec<_>, Vec<_>) =
            addresses.iter().copied().partition(|address| is_own(*address, self.console.address));
        let led_there = self.leads_to_console.swap(!own.is_empty(), Ordering::Relaxed);
        if !self.console.out_of_bounds {
            sorted.extend(own);
        } else if !own.is_empty() && !led_there {
            let url = self.url.to_string();
            tracing::error!(upstream = %self.name, url, "the app's address is the gateway's own console, to which a route takes everybody: it is not used");
        }
        sorted.sort_unstable();
        sorted.dedup();
        let tls = matches!(self.url, AppUrl::Tcp { scheme: AppScheme::Https, .. });
        let server_name = if tls { self.server_name.clone() } else { String::new() };
        let peers = sorted.iter().map(|address| self.configure(HttpPeer::new(*address, tls, server_name.clone())));
        self.peers.store(Arc::new(peers.collect()));
    }

    fn configure(&self, mut peer: HttpPeer) -> HttpPeer {
        peer.group_key = self.kind;
        let options = &mut peer.options;
        options.connection_timeout = Some(self.connect);
        options.total_connection_timeout = Some(self.connect);
        options.read_timeout = Some(self.first_byte);
        options.write_timeout = Some(self.first_byte);
        options.idle_timeout = Some(self.pool_idle);
        options.ca = self.ca.clone();
        // Hop-by-hop headers go, and no upgrade but a WebSocket's passes: an `Upgrade: h2c` would be a way around every rule.
        options.http_upstream_request_policy = HttpUpstreamRequestPolicy::default();
        options.alpn = match &self.url {
            AppUrl::Tcp { scheme: AppScheme::Https, .. } => ALPN::H2H1,
            AppUrl::Tcp { scheme: AppScheme::H2c, .. } => ALPN::H2,
            _ => ALPN::H1,
        };
        peer
    }
}

/// The certificates of a PEM file, and what tells them from others.
fn read_ca(path: &Path) -> Result<(Arc<CaType>, Digest), Failure> {
    let certificates = pem::certificates(&pem::read(path)?).map_err(|failure| pem::named(path, failure))?;
    let (mut wrapped, mut context) = (Vec::new(), Context::new(&SHA256));
    let mut store = rustls::RootCertStore::empty();
    for der in certificates {
        // Judged first: wrapping panics on what is no certificate.
        let judged = store.add(der.clone());
        judged.map_err(|_| pem::named(path, pem::unusable("a certificate in it cannot be read")))?;
        context.update(&der);
        wrapped.push(WrappedX509::new(der.to_vec(), parse_x509));
    }
    Ok((Arc::from(wrapped), context.finish()))
}

/// The authorities of the system, for apps that are judged by them. Read once, when an app first needs it.
pub fn system_authorities() -> Arc<CaType> {
    static SYSTEM: LazyLock<Arc<CaType>> = LazyLock::new(|| {
        let found = rustls_native_certs::load_native_certs();
        if let Some(error) = found.errors.first() {
            tracing::warn!(%error, "not all certificate authorities of the system can be read");
        }
        let mut store = rustls::RootCertStore::empty();
        // Wrapping panics on what is no certificate.
        let good = found.certs.into_iter().filter(|der| store.add(der.clone()).is_ok());
        good.map(|der| WrappedX509::new(der.to_vec(), parse_x509)).collect::<Vec<_>>().into()
    });
    SYSTEM.clone()
}

fn kind(url: &AppUrl, trust: Option<Digest>) -> u64 {
    let mut context = Context::new(&SHA256);
    match url {
        AppUrl::Tcp { scheme, .. } => context.update(format!("{scheme:?}").as_bytes()),
        AppUrl::Unix { .. } => {}
    }
    context.update(trust.as_ref().map_or(&[], |trust| trust.as_ref()));
    let digest = context.finish();
    digest.as_ref().iter().take(8).fold(0, |kind, byte| kind << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new(url: &str, out_of_bounds: bool) -> Upstream {
        let settings = toml::from_str::<model::Upstream>(&format!("name = \"app\"\nurl = \"{url}\""));
        let console = Console { address: "127.0.0.1:9090".parse().expect("an address"), out_of_bounds };
        Upstream::new(&settings.expect("an upstream"), &Timeouts::default(), console).expect("good")
    }

    #[tokio::test]
    async fn whoever_comes_before_the_first_look_up_waits_for_it() {
        let upstream = Arc::new(new("http://localhost:8080", false));
        let (_stop, stopping) = watch::channel(false);
        tokio::spawn(upstream.clone().keep_resolved(stopping));
        assert_eq!(upstream.peer(0, false).map(drop).expect_err("early").reason, Reason::UpstreamUnresolved);
        upstream.known().await;
        upstream.peer(0, false).map(drop).expect("an address");
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_the_name_of_an_app_that_has_none() {
        let began = tokio::time::Instant::now();
        for url in ["http://127.0.0.1:8080", "unix:/run/app.sock"] {
            new(url, false).known().await;
        }
        assert!(began.elapsed().is_zero());
    }

    #[test]
    fn nothing_is_sent_to_the_console_where_a_route_takes_everybody_there() {
        let admin: SocketAddr = "127.0.0.1:9090".parse().expect("an address");
        let console = new("http://[::ffff:127.0.0.1]:9090", true);
        let refused = console.peer(0, false).map(drop).expect_err("refused");
        assert_eq!(refused.reason, Reason::UpstreamUnresolved);
        assert!(refused.detail.contains("own console at 127.0.0.1:9090"), "{}", refused.detail);
        let chosen = new("http://127.0.0.1:9090", false);
        assert!(chosen.is_console(&chosen.peer(0, false).expect("an address")), "where routes choose who may");
        // A name that leads there, as it resolves, and as a reload takes it over.
        let named = new("http://intranet.example:9090", true);
        named.store(&[admin, "192.0.2.7:9090".parse().expect("an address")]);
        assert_eq!(named.addresses(), 1);
        let before = new("http://intranet.example:9090", false);
        before.store(&[admin]);
        let after = new("http://intranet.example:9090", true);
        after.inherit(&before);
        assert_eq!((before.addresses(), after.addresses()), (1, 0));
        assert!(after.peer(0, false).map(drop).expect_err("refused").remedy().contains("`allow`"));
    }

    #[test]
    fn an_app_that_shares_its_name_with_the_console_is_not_taken_for_it() {
        let (admin, other) = ("127.0.0.1:9090", "192.0.2.7:9090");
        let both = new("http://intranet.example:9090", false);
        both.store(&[admin, other].map(|address| address.parse().expect("an address")));
        let taken = (0..2).map(|index| {
            let peer = both.peer(index, false).expect("an address");
            (peer._address.to_string(), both.is_console(&peer))
        });
        assert_eq!(taken.collect::<Vec<_>>(), [(admin.to_owned(), true), (other.to_owned(), false)]);
    }
}
