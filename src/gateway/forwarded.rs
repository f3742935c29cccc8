//! Who the client is and how it reached us, and the headers that tell the app so.
//!
//! Promise: what a peer says of others (`X-Forwarded-*`) counts only where the peer is listed; from anybody
//! else it is nothing, and the headers are written anew from the connection.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use ipnet::IpNet;
use pingora_core::{Error, ErrorType, Result};
use pingora_http::RequestHeader;
use url::Url;

use crate::canonical::Authority;

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
    /// The chain for `X-Forwarded-For`: addresses before the client that a trusted peer reported are left out.
    pub chain: Vec<IpAddr>,
    pub scheme: Scheme,
}

/// The host that the client asked for, written once for all headers that carry it.
pub struct Host<'a> {
    authority: &'a Authority,
    text: String,
    pub value: HeaderValue,
}

impl<'a> Host<'a> {
    pub fn of(authority: &'a Authority) -> Result<Self> {
        let text = authority.to_string();
        let value = HeaderValue::from_str(&text);
        let value = value.map_err(|e| Error::because(ErrorType::InternalError, "the canonical host", e))?;
        Ok(Host { authority, text, value })
    }
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
            return Origin { client: peer, chain: vec![peer], scheme: self.scheme_of(authority) };
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
        Origin { client: chain[0], chain, scheme }
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

    /// Writes the forwarding headers; the client's own have been taken off before.
    pub fn write(
        &self,
        request: &mut RequestHeader,
        origin: &Origin,
        host: &Host<'_>,
        stripped_prefix: Option<&str>,
    ) -> Result<()> {
        let mut chain = String::with_capacity(origin.chain.len() * 18);
        let mut nodes = String::with_capacity(origin.chain.len() * 24 + 64);
        for address in &origin.chain {
            if !chain.is_empty() {
                chain.push_str(", ");
                nodes.push_str(", ");
            }
            let start = chain.len();
            // Writing into a string cannot fail.
            let _ = write!(chain, "{address}");
            let quoted = if address.is_ipv6() { ["for=\"[", "]\""] } else { ["for=", ""] };
            nodes.extend([quoted[0], &chain[start..], quoted[1]]);
        }
        // RFC 7239 §4: what the first hop was asked for.
        nodes.extend([";host=\"", &host.text, "\";proto=", origin.scheme.as_str()]);
        let mut set = |name: &'static str, value: String| request.insert_header(name, shared(value)?);
        set("X-Forwarded-For", chain)?;
        set("Forwarded", nodes)?;
        if let Some(prefix) = stripped_prefix {
            set("X-Forwarded-Prefix", prefix.to_owned())?;
        }
        request.insert_header("X-Forwarded-Host", host.value.clone())?;
        request.insert_header("X-Forwarded-Proto", HeaderValue::from_static(origin.scheme.as_str()))?;
        request.insert_header("X-Forwarded-Port", HeaderValue::from(self.port(origin, host.authority)))
    }

    fn port(&self, origin: &Origin, authority: &Authority) -> u16 {
        let own = || (authority.host == self.public_host).then_some(self.public_port);
        authority.port.or_else(own).unwrap_or(match origin.scheme {
            Scheme::Https => 443,
            Scheme::Http => 80,
        })
    }
}

/// A value that takes the text over without copying it.
fn shared(text: String) -> Result<HeaderValue> {
    let value = HeaderValue::from_maybe_shared(Bytes::from(text));
    value.map_err(|e| Error::because(ErrorType::InternalError, "a forwarding header", e))
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
        origin.chain.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(" ")
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
        let mut request = RequestHeader::build("GET", b"/", None).expect("head");
        f.write(&mut request, &origin, &Host::of(&authority).expect("host"), Some("/api")).expect("written");
        let value = |name: &str| request.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or("");
        assert_eq!(value("x-forwarded-for"), "2001:db8::1");
        assert_eq!(value("x-forwarded-port"), "8443");
        assert_eq!(value("x-forwarded-prefix"), "/api");
        assert_eq!(value("forwarded"), "for=\"[2001:db8::1]\";host=\"a.example\";proto=https");
    }
}
