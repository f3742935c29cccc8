//! The way to a server, step by step: its name, its addresses, a proxy where the environment names one, its certificate.
//!
//! What is found here explains; whether a server is reached is decided by the request that follows.

use std::io;
use std::net::{IpAddr, SocketAddr};

use base64::Engine as _;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use url::Url;

use super::look::{Shown, look};
use super::way::{self, NoAddress, PATIENCE};
use super::{Finding, Report, Weight};
use crate::http_client::proxy_for;
use crate::reason::Reason;

/// Most bytes of a proxy's answer.
const MAX_HEAD: usize = 8 * 1024;

/// The proxy that is asked instead.
#[derive(Clone, Debug)]
pub(super) struct Proxy {
    /// Without user and password.
    pub shown: String,
    host: String,
    port: u16,
    tls: bool,
    /// `Proxy-Authorization`.
    authorization: Option<String>,
}

/// A server that could be reached, as far as TCP goes.
#[derive(Clone, Debug)]
pub(super) struct Reached {
    address: SocketAddr,
    pub proxy: Option<Proxy>,
}

/// DNS and TCP towards the server of `url`. Where it cannot be reached the finding, of `reason`, says at which step.
pub(super) async fn reach(url: &Url, place: &str, reason: Reason, report: &mut Report) -> Result<Reached, Finding> {
    let proxy = proxy_for(url).as_ref().and_then(Proxy::of);
    let (host, port) = match &proxy {
        Some(proxy) => (proxy.host.clone(), proxy.port),
        None => (url.host_str().unwrap_or_default().to_owned(), url.port_or_known_default().unwrap_or(443)),
    };
    if let Some(proxy) = &proxy {
        let name = url.host_str().unwrap_or_default();
        let said =
            format!("the environment names {}, so DNS and TCP are about it, and it looks {name} up", proxy.shown);
        report.good(place, "proxy", said);
    }
    let broken = |step, seen| Finding::new(Weight::Broken, reason, place, seen).at(step);
    let about = |change: String| match &proxy {
        Some(proxy) => format!(
            "correct HTTPS_PROXY in the gateway's environment ({}), or add the provider to NO_PROXY",
            proxy.shown
        ),
        None => change,
    };
    let addresses = match way::addresses(&host, port).await {
        Ok(addresses) => addresses,
        Err(why) => return Err(broken("DNS", why.told(&host)).change(about(mended(&host, &why)))),
    };
    if host.trim_matches(['[', ']']).parse::<IpAddr>().is_err() {
        let shown: Vec<_> = addresses.iter().map(|address| address.ip().to_string()).collect();
        report.good(place, "DNS", format!("{host} is {}", shown.join(", ")));
    }
    let tried = connections(&addresses).await;
    let works: Vec<SocketAddr> = tried.iter().filter(|(_, why)| why.is_none()).map(|(one, _)| *one).collect();
    let failures: Vec<_> = tried.iter().filter_map(|(address, why)| Some((*address, why.as_deref()?))).collect();
    let told = failures.iter().map(|(address, why)| format!("{address} {why}")).collect::<Vec<_>>().join("; ");
    let Some(address) = works.first().copied() else {
        let change =
            format!("correct host and port ({host}, {port}) in the address, or let the gateway's host connect there");
        return Err(broken("TCP", format!("no connection: {told}")).change(about(change)));
    };
    let shown: Vec<_> = works.iter().map(ToString::to_string).collect();
    report.good(place, "TCP", format!("{} takes connections", shown.join(", ")));
    if !failures.is_empty() {
        // A machine without IPv6 is no trouble while IPv4 works.
        let same_family = failures.iter().any(|(failed, _)| works.iter().any(|one| one.is_ipv4() == failed.is_ipv4()));
        let weight = if same_family { Weight::Warning } else { Weight::Hint };
        report.found(Finding::new(weight, Reason::ProviderAddressDead, place, told).at("TCP"));
    }
    Ok(Reached { address, proxy })
}

/// What the server of `url` shows of itself, over TLS.
pub(super) async fn shown(reached: &Reached, url: &Url) -> Shown {
    let host = url.host_str().unwrap_or_default();
    let failed = |why: String| Shown { chain: Vec::new(), failure: Some(why) };
    let looked = timeout(PATIENCE, async {
        let stream = way::connect(reached.address).await?;
        let stream = match &reached.proxy {
            Some(proxy) if proxy.tls => return Err("the proxy speaks TLS itself".to_owned()),
            Some(proxy) => proxy.tunnel(stream, url).await?,
            None => stream,
        };
        Ok(look(stream, host).await)
    });
    match looked.await {
        Ok(Ok(shown)) => shown,
        Ok(Err(why)) => failed(why),
        Err(_) => failed("no handshake in time".to_owned()),
    }
}

/// What to change where `host` has no addresses.
fn mended(host: &str, why: &NoAddress) -> String {
    match why {
        NoAddress::Silent(_) => {
            "make the name service that the gateway's host uses answer (/etc/resolv.conf; in a container its network)"
                .into()
        }
        NoAddress::Unknown(_) => {
            format!("correct the host `{host}` in the address, or make it known where the gateway runs")
        }
    }
}

/// Every address, with why no connection could be made there; all at once.
async fn connections(addresses: &[SocketAddr]) -> Vec<(SocketAddr, Option<String>)> {
    let mut trying = JoinSet::new();
    for (index, address) in addresses.iter().copied().enumerate() {
        trying.spawn(async move { (index, address, way::connect(address).await.err()) });
    }
    let mut tried = trying.join_all().await;
    tried.sort_by_key(|(index, ..)| *index);
    tried.into_iter().map(|(_, address, outcome)| (address, outcome)).collect()
}

impl Proxy {
    fn of(intercept: &hyper_util::client::proxy::matcher::Intercept) -> Option<Proxy> {
        let uri = intercept.uri();
        let tls = uri.scheme_str() == Some("https");
        let (host, port) = (uri.host()?.to_owned(), uri.port_u16().unwrap_or(if tls { 443 } else { 80 }));
        let encoded = intercept.basic_auth().and_then(|value| value.to_str().ok()).map(str::to_owned);
        let by_hand = || {
            let (user, password) = intercept.raw_auth()?;
            let pair = format!("{user}:{password}");
            Some(format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair)))
        };
        let scheme = uri.scheme_str().unwrap_or("http");
        let shown = format!("the proxy {scheme}://{host}:{port}");
        Some(Proxy { shown, host, port, tls, authorization: encoded.or_else(by_hand) })
    }

    /// A way through the proxy to the server of `url` (RFC 9110 §9.3.6).
    async fn tunnel(&self, mut stream: TcpStream, url: &Url) -> Result<TcpStream, String> {
        let target = format!("{}:{}", url.host_str().unwrap_or_default(), url.port_or_known_default().unwrap_or(443));
        let authorization = self.authorization.as_ref();
        let authorization = authorization.map_or_else(String::new, |value| format!("Proxy-Authorization: {value}\r\n"));
        let request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{authorization}\r\n");
        let failed = |error: io::Error| format!("{}: {error}", self.shown);
        stream.write_all(request.as_bytes()).await.map_err(failed)?;
        let mut head = Vec::new();
        // One by one: what follows the head is the server's.
        while !head.ends_with(b"\r\n\r\n") && head.len() < MAX_HEAD {
            head.push(stream.read_u8().await.map_err(failed)?);
        }
        match head.split(|byte| *byte == b' ').nth(1) {
            Some(b"200") => Ok(stream),
            status => {
                let status = String::from_utf8_lossy(status.unwrap_or_default()).escape_debug().to_string();
                Err(format!("{} answers `{status}` to CONNECT", self.shown))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;
    use crate::oidc::tests::support::closed_port;

    #[tokio::test]
    async fn a_name_that_does_not_exist_and_a_port_nobody_listens_on_are_named_by_step() {
        let mut report = Report::default();
        let url = Url::parse("http://nowhere.invalid/").expect("an address");
        let found = reach(&url, "provider main", Reason::DiscoveryFailed, &mut report).await.expect_err("no such name");
        assert_eq!((found.step, found.weight), ("DNS", Weight::Broken));
        assert!(found.seen.contains("`nowhere.invalid`"), "{found:?}");

        let (_closed, port) = closed_port();
        let url = Url::parse(&format!("http://127.0.0.1:{port}/")).expect("an address");
        let found = reach(&url, "provider main", Reason::KeysFailed, &mut report).await.expect_err("nobody listens");
        assert_eq!((found.step, found.reason), ("TCP", Reason::KeysFailed));
        assert!(found.seen.contains("nothing listens there"), "{found:?}");
        assert!(report.good.is_empty() && report.findings.is_empty(), "{report:?}");
    }

    #[tokio::test]
    async fn addresses_that_take_connections_are_told() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let (url, mut report) =
            (Url::parse(&format!("http://127.0.0.1:{port}/")).expect("an address"), Report::default());
        let reached = reach(&url, "here", Reason::KeysFailed, &mut report).await.expect("somebody listens");
        assert!(reached.proxy.is_none());
        assert_eq!(report.good.iter().map(|said| said.step).collect::<Vec<_>>(), ["TCP"]);
    }
}
