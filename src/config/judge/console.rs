//! Routes that lead to the gateway's own admin listener: its console is for admins.

use std::net::{IpAddr, SocketAddr};

use super::{Judge, is_loopback};
use crate::config::model::{Access, Route, Upstream};
use crate::config::origin::KeyPath;
use crate::config::values::AppUrl;
use crate::reason::Reason;

impl Judge<'_> {
    pub(super) fn console(&mut self) {
        let settings = self.settings;
        for (index, route) in settings.route.iter().enumerate() {
            let upstream = match &route.upstream {
                Some(name) => settings.upstream.iter().find(|upstream| upstream.name == *name),
                None => settings.upstream.first(),
            };
            let leads_there = upstream.is_some_and(|upstream| is_at(upstream, settings.admin.address));
            if !leads_there || for_programs(route) {
                continue;
            }
            let key = KeyPath::of("route").index(index);
            let who = match (route.access, &route.allow) {
                (Access::Public, _) => "everybody, signed in or not",
                (_, None) => "everybody who is known",
                (_, Some(_)) => continue,
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

/// Whether the route shows only what programs ask for, which says nothing of people.
fn for_programs(route: &Route) -> bool {
    let path = route.exact.as_deref().or(route.path.as_deref()).unwrap_or("/");
    matches!(path, "/metrics" | "/healthz" | "/readyz") && !route.strip_prefix
}

/// Whether `upstream` is what listens at `own`, an address of the gateway.
pub(super) fn is_at(upstream: &Upstream, own: SocketAddr) -> bool {
    let AppUrl::Tcp { host, port, .. } = &upstream.url else { return false };
    if *port != own.port() {
        return false;
    }
    let here = own.ip().is_loopback() || own.ip().is_unspecified();
    match host.trim_matches(['[', ']']).parse::<IpAddr>() {
        Ok(ip) => ip == own.ip() || (ip.is_loopback() && own.ip().is_unspecified()) || ip.is_unspecified() && here,
        Err(_) => here && is_loopback(Some(url::Host::Domain(host))),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{errors_of, refuses, with};

    fn leading(url: &str, route: &str) -> String {
        let text = format!(
            "[[upstream]]\nname = \"console\"\nurl = \"{url}\"\n[[route]]\n[[route]]\nupstream = \"console\"\n{route}\n"
        );
        with("", "", &text)
    }

    #[test]
    fn nobody_but_admins_is_led_to_the_console() {
        let ops = "path = \"/ops\"\nstrip_prefix = true\n";
        for url in ["http://127.0.0.1:9090", "http://localhost:9090", "http://0.0.0.0:9090"] {
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
