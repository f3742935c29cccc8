//! The gateway of this configuration attacks itself: with the doctor's own apps behind it, it is sent what a client could
//! forge, and what the app would have seen is held against what it sees of an honest request.
//!
//! Nothing leaves this process but for the loopback interface, and no real app is asked. Sessions are sealed with a secret
//! that ends with the examination.

mod arrows;
mod target;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use self::arrows::Arrow;
use self::target::{Seen, Target};
use super::{Finding, Report, Weight};
use crate::config::Config;
use crate::config::model::{Access, Route, Settings};
use crate::reason::Reason;
use crate::words::counted;

const PLACE: &str = "self-attack";
/// Routes that are attacked; those further behind are told to be left out.
const MOST_ROUTES: usize = 40;
/// Whence it is attacked: addresses that are nobody's (RFC 5737, RFC 3849), so that no proxy can be there.
const STRANGERS: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(203, 0, 113, 7)), IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 7))];

pub async fn check(config: &Arc<Config>, report: &mut Report) {
    let target = match Target::start(config).await {
        Ok(target) => target,
        Err(why) => return report.skipped(PLACE, "", why),
    };
    let settings = &config.settings;
    let mut sum = Sum::default();
    for route in settings.route.iter().take(MOST_ROUTES) {
        // A second kind of address tells something only where kinds are listed.
        let strangers = if settings.listen.trusted_proxies.is_empty() { 1 } else { STRANGERS.len() };
        for client in STRANGERS.into_iter().take(strangers) {
            attack(&target, settings, route, client, &mut sum).await;
        }
    }
    if settings.route.len() > MOST_ROUTES {
        report.skipped(
            PLACE,
            "",
            format!(
                "{} behind the first {MOST_ROUTES}",
                counted(settings.route.len() - MOST_ROUTES, "route", "routes")
            ),
        );
    }
    sum.tell(settings, report);
}

/// What was tried, and what came of it.
#[derive(Default)]
struct Sum {
    forged: usize,
    refused: usize,
    /// Routes on which the app could be seen.
    seen: BTreeSet<String>,
    unseen: BTreeSet<String>,
    /// Route, and what of the client's the app saw.
    passed: Vec<(String, String)>,
    /// Where a request without a session reached the app.
    entered: Vec<(String, &'static str)>,
    any_host: Vec<String>,
}

async fn attack(target: &Target, settings: &Settings, route: &Route, client: IpAddr, sum: &mut Sum) {
    let place = route.place();
    let Some(aim) = target::aim(settings, route) else {
        sum.unseen.insert(place);
        return;
    };
    if route.access != Access::Public && !route.preflight {
        // What a stranger sends reaches nobody, with any header and with a session that somebody else sealed.
        let strangers = [("without a session", String::new()), ("with a forged session", target.forged_session())];
        for (what, cookie) in strangers {
            for arrow in arrows::all(settings) {
                if let Seen::App(_) = target.send(client, &aim, &cookie, &arrow).await {
                    sum.entered.push((place.clone(), what));
                }
            }
        }
    }
    let cookie = match route.access {
        Access::Public => String::new(),
        _ => target.own_session(route).unwrap_or_default(),
    };
    let Seen::App(honest) = target.send(client, &aim, &cookie, &Arrow::nothing()).await else {
        sum.unseen.insert(place);
        return;
    };
    sum.seen.insert(place.clone());
    for arrow in arrows::all(settings) {
        sum.forged += arrow.forged;
        match target.send(client, &aim, &cookie, &arrow).await {
            Seen::App(seen) => {
                let through = seen.iter().filter(|line| !honest.contains(line));
                sum.passed.extend(through.map(|line| (place.clone(), format!("`{}: {}`", line.0, line.1))));
            }
            Seen::Gateway => sum.refused += 1,
            Seen::Nothing => {}
        }
    }
    if route.access == Access::Public && route.host.is_none() {
        let other = target::Aim { host: arrows::HOST.to_owned(), ..aim };
        if let Seen::App(seen) = target.send(client, &other, &cookie, &Arrow::nothing()).await
            && seen.iter().any(|(name, value)| name == "host" && value.contains(arrows::HOST))
            && !sum.any_host.contains(&place)
        {
            sum.any_host.push(place);
        }
    }
}

impl Sum {
    fn tell(self, settings: &Settings, report: &mut Report) {
        for (route, what) in self.entered.iter().collect::<BTreeSet<_>>() {
            let seen = format!("a request {what} reached the app on {route}");
            report.found(Finding::new(Weight::Broken, Reason::ForgedHeadersPass, PLACE, seen).at("session"));
        }
        if let Some((route, line)) = self.passed.first() {
            let lines: BTreeSet<_> = self.passed.iter().map(|(_, line)| line.as_str()).collect();
            let routes: BTreeSet<_> = self.passed.iter().map(|(route, _)| route.as_str()).collect();
            let shown = lines.iter().take(4).copied().collect::<Vec<_>>().join(", ");
            let more = lines.len().saturating_sub(4);
            let seen = format!(
                "a stranger's headers reached the app on {route}{}: {shown}{}",
                if routes.len() > 1 { format!(" and {} other routes", routes.len() - 1) } else { String::new() },
                if more > 0 { format!(" and {more} more") } else { String::new() }
            );
            let finding = Finding::new(Weight::Broken, Reason::ForgedHeadersPass, PLACE, seen).at("headers");
            report.found(match self.believes_strangers(settings) {
                Some(networks) => finding.change(format!(
                    "Name in `listen.trusted_proxies` the addresses of your own proxies alone: {networks} lets anybody say \
                     where they come from and which host they asked for."
                )),
                None => finding.change(format!("List the names in `drop` of [headers] ({line}), and report what you saw.")),
            });
        }
        for route in &self.any_host {
            let seen = format!("asked for the host {}, the app on {route} saw that name", arrows::HOST);
            report.found(Finding::new(Weight::Hint, Reason::HostIsAnybodys, PLACE, seen).at("host"));
        }
        for route in self.unseen.difference(&self.seen) {
            report.skipped(
                PLACE,
                "",
                format!("{route}: only programs with a token of its issuers reach the app there"),
            );
        }
        if self.passed.is_empty() && self.entered.is_empty() {
            let said = format!(
                "{} on {}, none reached the app; names that only your app knows go into `drop` of \
                 [headers]",
                counted(self.forged, "forged header", "forged headers"),
                counted(self.seen.len(), "route", "routes")
            );
            report.good(PLACE, "headers", said);
        }
    }

    /// The networks of trusted proxies that hold everybody, where forwarding headers came through.
    fn believes_strangers(&self, settings: &Settings) -> Option<String> {
        let trusted = settings.listen.trusted_proxies.iter();
        let wide = trusted.filter(|network| STRANGERS.iter().any(|stranger| network.0.contains(stranger)));
        let wide: Vec<_> = wide.map(|network| format!("`{network}`")).collect();
        (!wide.is_empty()).then(|| wide.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn examined(text: &str) -> Report {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let all = format!(
            "public_url = 'https://a.example'\nsecrets = ['0123456789abcdef0123456789abcdef']\n{text}\n[[provider]]\n\
             issuer = 'https://i.example'\nclient_id = 'c'\nclient_secret = 's'\n[[upstream]]\nurl = 'http://127.0.0.1:1'"
        );
        std::fs::write(file.path(), &all).expect("written");
        let config = Config::load(Some(file.path()), &[]).unwrap_or_else(|e| panic!("{all}\n{e}"));
        let mut report = Report::default();
        check(&Arc::new(config), &mut report).await;
        report
    }

    const ROUTES: &str = "[[route]]\n[[route]]\npath = '/pub'\nhost = 'a.example'\naccess = 'public'\n[[route]]\n\
        path = '/write'\nmethods = ['POST']\nallow = { groups = ['nobody'] }\n";

    #[tokio::test]
    async fn nothing_that_a_stranger_writes_reaches_the_app_of_a_good_gateway() {
        let report = examined(&format!("[headers]\nset = [{{ name = 'X-My-User', claim = 'user' }}]\n{ROUTES}")).await;
        assert_eq!(report.findings, []);
        let good = &report.good[0].said;
        assert!(good.contains("on 3 routes, none reached the app"), "{good}");
        let forged: usize = good.split(' ').next().and_then(|count| count.parse().ok()).expect("a number");
        assert!(forged > 300, "{good}");
    }

    #[tokio::test]
    async fn a_gateway_that_believes_anybody_is_caught() {
        for network in ["0.0.0.0/0", "::/0"] {
            let report = examined(&format!("[listen]\ntrusted_proxies = ['{network}']\n{ROUTES}")).await;
            let finding = &report.findings[0];
            assert_eq!((finding.weight, finding.reason), (Weight::Broken, Reason::ForgedHeadersPass));
            assert!(finding.seen.contains("forged.invalid") && finding.change.contains(network), "{finding:?}");
        }
        let own = examined(&format!("[listen]\ntrusted_proxies = ['10.0.0.0/8', '127.0.0.1']\n{ROUTES}")).await;
        assert_eq!(own.findings, []);
    }

    #[tokio::test]
    async fn a_route_for_any_host_is_a_hint() {
        let report = examined("[[route]]\naccess = 'public'\n").await;
        let found: Vec<_> = report.findings.iter().map(|finding| (finding.weight, finding.reason)).collect();
        assert_eq!(found, [(Weight::Hint, Reason::HostIsAnybodys)]);
    }
}
