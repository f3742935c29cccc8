//! The way to a server as far as TCP: what everything else that the doctor asks begins with.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

/// Longest wait for a name, a connection, a handshake or an answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// Why a name has no addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NoAddress {
    /// No name server said anything.
    Silent(String),
    /// None knows it.
    Unknown(String),
}

impl NoAddress {
    /// What was seen of `host`.
    pub fn told(&self, host: &str) -> String {
        match self {
            NoAddress::Silent(why) => format!("the name service said nothing about `{host}`{why}"),
            NoAddress::Unknown(why) => format!("`{host}` does not exist for the name service here: {why}"),
        }
    }
}

/// The addresses of `host`, which may be one itself.
pub(super) async fn addresses(host: &str, port: u16) -> Result<Vec<SocketAddr>, NoAddress> {
    let host = host.trim_matches(['[', ']']);
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, port)]);
    }
    match timeout(PATIENCE, lookup_host((host, port))).await {
        Err(_) => Err(NoAddress::Silent(format!(" in {} s", PATIENCE.as_secs()))),
        // What the resolver itself calls temporary: no name server answered, or none could say.
        Ok(Err(error)) if error.to_string().contains("Temporary failure") => {
            Err(NoAddress::Silent(format!(": {error}")))
        }
        Ok(Err(error)) => Err(NoAddress::Unknown(error.to_string())),
        Ok(Ok(found)) => {
            let mut addresses: Vec<SocketAddr> = found.collect();
            addresses.dedup();
            match addresses.is_empty() {
                true => Err(NoAddress::Unknown("no addresses".to_owned())),
                false => Ok(addresses),
            }
        }
    }
}

/// A connection, or why there is none.
pub(super) async fn connect(address: SocketAddr) -> Result<TcpStream, String> {
    match timeout(PATIENCE, TcpStream::connect(address)).await {
        Ok(outcome) => outcome.map_err(|error| refusal(&error)),
        Err(_) => Err(refusal(&ErrorKind::TimedOut.into())),
    }
}

fn refusal(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::ConnectionRefused => "refuses: nothing listens there".to_owned(),
        ErrorKind::TimedOut => {
            format!("says nothing in {} s: another address is meant, or a firewall is between", PATIENCE.as_secs())
        }
        _ => format!("cannot be connected to: {error}"),
    }
}
