//! Who the client is and how it reached us, and the headers that tell the app so.
//!
//! Promise: what a peer says of others (`X-Forwarded-*`) counts only where the peer is listed; from anybody
//! else it is nothing, and the headers are written anew from the connection.

use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use http::{HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;
use pingora_core::{Error, ErrorType, Result};
use url::Url;

use crate::canonical::Authority;
use crate::digits::{push_address, push_number};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const X_FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// How many headers [`Told::write`] writes at most.
pub const HEADERS: usize = 6;

/// Facts of configuration for reading and writing forwarding headers.
pub struct Forwarding {
    trusted: Vec<IpNet>,
    public_scheme: Scheme,
    public_host: String,
    public_port: u16,
    listener_tls: bool,
}

/// How the client spoke to the first hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    Http,
    Https,
}

impl Scheme {
    pub fn as_str(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
        }
    }
}

/// What is known of the way a request came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The client, as far as trusted peers name it.
    pub client: IpAddr,
    /// The trusted peers between the client and us, in the order of `X-Forwarded-For`, ours last; empty where the client
    /// is our peer itself. Addresses before the client that a trusted peer reported are left out.
    pub via: Vec<IpAddr>,
    pub scheme: Scheme,
}

/// What the app is told of the way of a request.
#[derive(Clone)]
pub struct Told {
    /// The host that the client asked for.
    pub host: HeaderValue,
    chain: HeaderValue,
    nodes: HeaderValue,
    port: HeaderValue,
    scheme: Scheme,
}

/// What was told of one way, and what it was told for.
struct Kept {
    client: IpAddr,
    authority: Authority,
    port: u16,
    told: Told,
}

/// How many ways each thread keeps. Most requests come by the way of one that came shortly before.
const KEPT: usize = 64;

thread_local! {
    static WAYS: RefCell<[Option<Box<Kept>>; KEPT]> = const { RefCell::new([const { None }; KEPT]) };
}

impl Forwarding {
    pub fn new(trusted: Vec<IpNet>, public_url: &Url, listener_tls: bool) -> Self {
        Forwarding {
            trusted,
            public_scheme: if public_url.scheme() == "https" { Scheme::Https } else { Scheme::Http },
            public_host: public_url.host_str().unwrap_or_default().to_owned(),
            public_port: public_url.port_or_known_default().unwrap_or(443),
            listener_tls,
        }
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.trusted.iter().any(|network| network.contains(&address.to_canonical()))
    }

    /// Reads the way of a request. `authority` is the request's own host; where a trusted peer says which host the client
    /// asked for, it becomes that.
    pub fn read(&self, peer: Option<&SocketAddr>, headers: &HeaderMap, authority: &mut Authority) -> Origin {
        // A unix socket has no address; nobody is listed by it.
        let peer = peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.ip().to_canonical());
        if !self.trusts(peer) {
            return Origin { client: peer, via: Vec::new(), scheme: self.scheme_of(authority) };
        }
        let mut chain = vec![peer];
        // From the right: each trusted peer vouches for the address before it.
        let reported: Vec<&str> =
            text_values(headers, "x-forwarded-for").flat_map(|v| v.split(',')).map(str::trim).collect();
        for text in reported.iter().rev() {
            let Some(address) = address_of(text) else { break };
            chain.push(address);
            if !self.trusts(address) {
                break;
            }
        }
        chain.reverse();
        let scheme = match single(headers, "x-forwarded-proto") {
            Some(proto) if proto.eq_ignore_ascii_case("https") => Scheme::Https,
            Some(proto) if proto.eq_ignore_ascii_case("http") => Scheme::Http,
            _ => self.scheme_of(authority),
        };
        let named = single(headers, "x-forwarded-host").and_then(|host| Authority::parse(host.as_bytes()).ok());
        if let Some(named) = named {
            *authority = named;
        }
        // The peer itself is in it.
        Origin { client: chain.remove(0), via: chain, scheme }
    }

    /// The scheme of a request of which nobody trusted speaks: the listener's, or that of the public URL where the
    /// request names its host. A balancer that ends TLS in front is then told right without being listed.
    fn scheme_of(&self, authority: &Authority) -> Scheme {
        match self.listener_tls {
            true => Scheme::Https,
            false if authority.host == self.public_host => self.public_scheme,
            false => Scheme::Http,
        }
    }

    /// What to tell the app of the way of a request for `authority`.
    pub fn tell(&self, origin: &Origin, authority: &Authority) -> Result<Told> {
        let port = self.port(origin, authority);
        if !origin.via.is_empty() {
            return Told::new(origin, authority, port);
        }
        WAYS.with_borrow_mut(|ways| {
            let slot = &mut ways[slot(origin.client, authority)];
            if let Some(kept) = slot
                && (kept.client, kept.port, kept.told.scheme) == (origin.client, port, origin.scheme)
                && kept.authority == *authority
            {
                return Ok(kept.told.clone());
            }
            let told = Told::new(origin, authority, port)?;
            let kept = Kept { client: origin.client, authority: authority.clone(), port, told: told.clone() };
            *slot = Some(Box::new(kept));
            Ok(told)
        })
    }

    fn port(&self, origin: &Origin, authority: &Authority) -> u16 {
        let own = || (authority.host == self.public_host).then_some(self.public_port);
        authority.port.or_else(own).unwrap_or(match origin.scheme {
            Scheme::Https => 443,
            Scheme::Http => 80,
        })
    }
}

impl Told {
    fn new(origin: &Origin, authority: &Authority, port: u16) -> Result<Self> {
        let mut host = Vec::with_capacity(authority.host.len() + 6);
        host.extend_from_slice(authority.host.as_bytes());
        if let Some(named) = authority.port {
            host.push(b':');
            push_number(&mut host, named.into());
        }
        let mut chain = Vec::with_capacity((origin.via.len() + 1) * 18);
        let mut nodes = Vec::with_capacity((origin.via.len() + 1) * 24 + host.len() + 20);
        for address in [&origin.client].into_iter().chain(&origin.via) {
            if !chain.is_empty() {
                chain.extend_from_slice(b", ");
                nodes.extend_from_slice(b", ");
            }
            let start = chain.len();
            push_address(&mut chain, *address);
            let quotes: [&[u8]; 2] = if address.is_ipv6() { [b"for=\"[", b"]\""] } else { [b"for=", b""] };
            for part in [quotes[0], &chain[start..], quotes[1]] {
                nodes.extend_from_slice(part);
            }
        }
        // RFC 7239 §4: what the first hop was asked for.
        for part in [b";host=\"", host.as_slice(), b"\";proto=", origin.scheme.as_str().as_bytes()] {
            nodes.extend_from_slice(part);
        }
        Ok(Told {
            host: value(&host)?,
            chain: value(&chain)?,
            nodes: value(&nodes)?,
            port: HeaderValue::from(port),
            scheme: origin.scheme,
        })
    }

    /// Writes the forwarding headers; the client's own have been taken off before.
    pub fn write(self, headers: &mut HeaderMap, stripped_prefix: Option<&str>) -> Result<()> {
        headers.insert(X_FORWARDED_FOR, self.chain);
        headers.insert(http::header::FORWARDED, self.nodes);
        headers.insert(X_FORWARDED_HOST, self.host);
        headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static(self.scheme.as_str()));
        headers.insert(X_FORWARDED_PORT, self.port);
        if let Some(prefix) = stripped_prefix {
            headers.insert(X_FORWARDED_PREFIX, value(prefix.as_bytes())?);
        }
        Ok(())
    }
}

/// Where the ways of `client` to `authority` are kept; what shares a place takes turns.
fn slot(client: IpAddr, authority: &Authority) -> usize {
    let bits = match client {
        IpAddr::V4(v4) => u64::from(v4.to_bits()),
        IpAddr::V6(v6) => (v6.to_bits() >> 64) as u64 ^ v6.to_bits() as u64,
    };
    // Fibonacci hashing: the upper bits of the product depend on all bits of the address.
    let mixed = bits.wrapping_add(authority.host.len() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 32) as usize % KEPT
}

fn value(text: &[u8]) -> Result<HeaderValue> {
    HeaderValue::from_bytes(text).map_err(|e| Error::because(ErrorType::InternalError, "a forwarding header", e))
}

fn text_values<'a>(headers: &'a HeaderMap, name: &str) -> impl Iterator<Item = &'a str> {
    headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok())
}

/// The value of a header that is there once.
fn single<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none()).and_then(|value| value.to_str().ok()).map(str::trim)
}

/// An address, perhaps with a port, as proxies write it.
fn address_of(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.split(']').next());
    let address = bare.unwrap_or(text).parse().ok();
    address.or_else(|| text.parse::<SocketAddr>().ok().map(|socket| socket.ip())).map(|a: IpAddr| a.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forwarding(trusted: &[&str], url: &str) -> Forwarding {
        let trusted = trusted.iter().map(|n| n.parse().expect("network")).collect();
        Forwarding::new(trusted, &Url::parse(url).expect("url"), false)
    }

    fn read(f: &Forwarding, peer: &str, fields: &[(&'static str, &str)]) -> (Origin, Authority) {
        let headers =
            fields.iter().map(|(n, v)| (http::HeaderName::from_static(n), v.parse().expect("value"))).collect();
        let peer = SocketAddr::new(peer.parse().expect("address"), 1);
        let mut authority = Authority::parse(b"a.example").expect("host");
        let origin = f.read(Some(&peer), &headers, &mut authority);
        (origin, authority)
    }

    fn chain(origin: &Origin) -> String {
        [&origin.client].into_iter().chain(&origin.via).map(IpAddr::to_string).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn nobody_is_believed_who_is_not_listed() {
        let f = forwarding(&[], "https://a.example");
        let (origin, authority) = read(
            &f,
            "192.0.2.1",
            &[("x-forwarded-for", "10.0.0.1"), ("x-forwarded-proto", "http"), ("x-forwarded-host", "evil")],
        );
        assert_eq!(
            (chain(&origin).as_str(), origin.scheme, authority.host.as_str()),
            ("192.0.2.1", Scheme::Https, "a.example")
        );
    }

    #[test]
    fn listed_peers_are_believed_from_the_right() {
        let f = forwarding(&["10.0.0.0/8"], "http://a.example");
        let fields = [
            ("x-forwarded-for", "6.6.6.6, 192.0.2.7, 10.0.0.2"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "b.example:444"),
        ];
        let (origin, authority) = read(&f, "10.0.0.1", &fields);
        assert_eq!(chain(&origin), "192.0.2.7 10.0.0.2 10.0.0.1");
        assert_eq!((origin.client.to_string().as_str(), origin.scheme), ("192.0.2.7", Scheme::Https));
        assert_eq!(authority.to_string(), "b.example:444");
        assert_eq!(chain(&read(&f, "10.0.0.1", &[("x-forwarded-for", "junk, 10.0.0.3")]).0), "10.0.0.3 10.0.0.1");
        assert_eq!(
            chain(&read(&f, "::ffff:10.0.0.1", &[("x-forwarded-for", "[2001:db8::1]:99")]).0),
            "2001:db8::1 10.0.0.1"
        );
        let doubled = [("x-forwarded-proto", "https"), ("x-forwarded-proto", "http")];
        assert_eq!(read(&f, "10.0.0.1", &doubled).0.scheme, Scheme::Http, "two say nothing");
    }

    #[test]
    fn the_app_is_told_the_way() {
        let f = forwarding(&[], "https://a.example:8443");
        let (origin, authority) = read(&f, "2001:db8::1", &[]);
        let told = |f: &Forwarding, origin: &Origin| {
            let mut headers = HeaderMap::new();
            f.tell(origin, &authority).and_then(|told| told.write(&mut headers, Some("/api"))).expect("written");
            headers
        };
        let headers = told(&f, &origin);
        let value = |name: &str| headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or("");
        assert_eq!(value("x-forwarded-for"), "2001:db8::1");
        assert_eq!(value("x-forwarded-port"), "8443");
        assert_eq!(value("x-forwarded-prefix"), "/api");
        assert_eq!(value("forwarded"), "for=\"[2001:db8::1]\";host=\"a.example\";proto=https");
        assert_eq!(told(&f, &origin), headers, "and again, from what was kept");
        let elsewhere = forwarding(&[], "http://a.example:81");
        assert_eq!(told(&elsewhere, &origin)["x-forwarded-port"], "81", "nothing is kept for another port");
        let plain = Origin { scheme: Scheme::Http, ..origin };
        assert_eq!(told(&f, &plain)["x-forwarded-proto"], "http", "nor for another scheme");
    }
}
