//! Routes that lead to the gateway's own admin listener: its console is for admins.
//!
//! What can be seen in the configuration is an error. Names, and the addresses of this machine, say only while the gateway
//! runs where they lead: then an app that everybody may reach has no address at all where it would be the console.

use std::net::{IpAddr, SocketAddr, UdpSocket};

use super::{Judge, is_loopback};
use crate::config::Settings;
use crate::config::model::{Access, Route, Upstream};
use crate::config::origin::KeyPath;
use crate::config::values::AppUrl;
use crate::reason::Reason;

impl Judge<'_> {
    pub(super) fn console(&mut self) {
        let settings = self.settings;
        for (index, route) in settings.route.iter().enumerate() {
            let leads_there =
                upstream_of(route, settings).is_some_and(|upstream| is_at(upstream, settings.admin.address));
            if !leads_there || !is_open(route) {
                continue;
            }
            let key = KeyPath::of("route").index(index);
            let who = match (route.access, &route.allow) {
                (Access::Public, _) => "everybody, signed in or not",
                _ => "everybody who is known",
            };
            let key = key.key(if route.access == Access::Public { "access" } else { "allow" });
            let message = format!(
                "this route leads {who}, to the gateway's own console at {}: who was refused, all settings, what the doctor finds",
                settings.admin.address
            );
            let hint = "set `allow` to the admins, as in allow.groups = [\"admins\"], with `access` as it comes";
            self.error_because(Reason::ConsoleOpen, &key, message, hint);
        }
    }
}

/// The gateway's own console, as an app sees it that may turn out to be it.
#[derive(Clone, Copy, Debug)]
pub struct Console {
    pub address: SocketAddr,
    /// Whether the app must not be it: a route takes others than chosen people to the app.
    pub out_of_bounds: bool,
}

impl Console {
    pub fn of(upstream: &Upstream, settings: &Settings) -> Console {
        let leads = |route: &&Route| upstream_of(route, settings).is_some_and(|found| found.name == upstream.name);
        let out_of_bounds = settings.route.iter().filter(leads).any(is_open);
        Console { address: settings.admin.address, out_of_bounds }
    }
}

/// Whether `address` is the listener `admin` of this machine.
pub fn is_own(address: SocketAddr, admin: SocketAddr) -> bool {
    let (ip, own) = (address.ip().to_canonical(), admin.ip().to_canonical());
    // Whoever connects to no address reaches this machine.
    let reaches = |own: IpAddr| ip == own || ip.is_unspecified() && own.is_loopback();
    address.port() == admin.port() && (reaches(own) || own.is_unspecified() && is_of_this_machine(ip))
}

fn is_of_this_machine(ip: IpAddr) -> bool {
    // Of documentation (RFC 5737): where this can be bound, anything can, and nothing is told by it.
    const OF_NOBODY: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    let binds = |ip: IpAddr| UdpSocket::bind((ip, 0)).is_ok();
    ip.is_loopback() || ip.is_unspecified() || binds(ip) && !binds(OF_NOBODY)
}

fn upstream_of<'s>(route: &Route, settings: &'s Settings) -> Option<&'s Upstream> {
    match &route.upstream {
        Some(name) => settings.upstream.iter().find(|upstream| upstream.name == *name),
        None => settings.upstream.first(),
    }
}

/// Whether the route would show the console to others than those that somebody chose.
fn is_open(route: &Route) -> bool {
    (route.access == Access::Public || route.allow.is_none()) && !for_programs(route)
}

/// Whether the route shows only what programs ask for, which says nothing of people.
fn for_programs(route: &Route) -> bool {
    let path = route.exact.as_deref().or(route.path.as_deref()).unwrap_or("/");
    matches!(path, "/metrics" | "/healthz" | "/readyz") && !route.strip_prefix
}

/// Whether `upstream` is what listens at `own`, an address of the gateway.
pub(super) fn is_at(upstream: &Upstream, own: SocketAddr) -> bool {
    let AppUrl::Tcp { host, port, .. } = &upstream.url else { return false };
    let here = own.ip().to_canonical();
    match host.trim_matches(['[', ']']).parse::<IpAddr>() {
        // A judgement does not depend on the machine: its other addresses are looked at when the gateway runs.
        Ok(ip) if here.is_unspecified() && !ip.to_canonical().is_loopback() && !ip.to_canonical().is_unspecified() => {
            false
        }
        Ok(ip) => is_own(SocketAddr::new(ip, *port), own),
        Err(_) => {
            let here = here.is_loopback() || here.is_unspecified();
            let name = host.trim_end_matches('.').to_ascii_lowercase();
            *port == own.port() && here && is_loopback(Some(url::Host::Domain(&name)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{errors_of, refuses, with};
    use super::*;

    fn leading(url: &str, route: &str) -> String {
        let text = format!(
            "[[upstream]]\nname = \"console\"\nurl = \"{url}\"\n[[route]]\n[[route]]\nupstream = \"console\"\n{route}\n"
        );
        with("", "", &text)
    }

    #[test]
    fn an_address_of_this_machine_is_the_console_s_where_that_listens_on_all() {
        let own = |address: &str, admin: &str| {
            is_own(address.parse().expect("an address"), admin.parse().expect("an address"))
        };
        for (address, admin) in [
            ("127.0.0.1:9090", "127.0.0.1:9090"),
            ("[::ffff:127.0.0.1]:9090", "127.0.0.1:9090"),
            ("0.0.0.0:9090", "127.0.0.1:9090"),
            ("127.0.0.9:9090", "0.0.0.0:9090"),
            ("[::1]:9090", "[::]:9090"),
            ("10.9.8.7:9090", "10.9.8.7:9090"),
        ] {
            assert!(own(address, admin), "{address} {admin}");
        }
        for (address, admin) in [
            ("127.0.0.1:9091", "127.0.0.1:9090"),
            ("127.0.0.2:9090", "127.0.0.1:9090"),
            ("203.0.113.7:9090", "127.0.0.1:9090"),
            ("203.0.113.7:9090", "0.0.0.0:9090"),
        ] {
            assert!(!own(address, admin), "{address} {admin}");
        }
    }

    #[test]
    fn nobody_but_admins_is_led_to_the_console() {
        let ops = "path = \"/ops\"\nstrip_prefix = true\n";
        for url in [
            "http://127.0.0.1:9090",
            "http://localhost:9090",
            "http://0.0.0.0:9090",
            "http://[::ffff:127.0.0.1]:9090",
            "http://[::ffff:7f00:1]:9090",
            "http://[::]:9090",
            "http://localhost.:9090",
            "http://LocalHost:9090",
            "http://a.localhost.:9090",
            "http://2130706433:9090",
        ] {
            refuses(&leading(url, &format!("{ops}access = \"public\"")), "route[1].access", "leads everybody");
            refuses(&leading(url, ops), "route[1].allow", "leads everybody who is known");
            assert_eq!(errors_of(&leading(url, &format!("{ops}allow.groups = [\"admins\"]"))), [""; 0], "{url}");
        }
        assert_eq!(errors_of(&leading("http://127.0.0.1:9091", ops)), [""; 0], "another port is another app");
        assert_eq!(errors_of(&leading("http://127.0.0.2:9090", ops)), [""; 0], "another address too");
        let metrics = "exact = \"/metrics\"\naccess = \"public\"";
        assert_eq!(errors_of(&leading("http://127.0.0.1:9090", metrics)), [""; 0], "metrics say nothing of people");
        refuses(
            &leading("http://127.0.0.1:9090", "path = \"/metrics\"\nstrip_prefix = true\naccess = \"public\""),
            "route[1].access",
            "console",
        );
        let everywhere = with("[admin]\naddress = \"0.0.0.0:3000\"", "", "");
        refuses(&everywhere.replace(":3000\"\n\n", ":3000\"\n"), "route.allow", "console");
    }
}
