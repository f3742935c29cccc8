//! The gateway of this configuration attacks itself: with the doctor's own apps behind it, it is sent what a client could
//! forge, and what the app would have seen is held against what it sees of an honest request.
//!
//! Nothing leaves this process but for the loopback interface, and no real app is asked. Sessions are sealed with a secret
//! that ends with the examination.

mod aim;
mod arrows;
mod target;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use self::aim::{Aim, aim};
use self::arrows::Arrow;
use self::target::{Seen, Target};
use super::{Finding, Report, Weight};
use crate::config::Config;
use crate::config::model::{Access, Route, Settings};
use crate::reason::Reason;
use crate::words::counted;

const PLACE: &str = "self-attack";
/// Below what the part may take in all, so that what was found until then is told.
const PATIENCE: Duration = Duration::from_secs(24);
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
    // What was found until then is told.
    if timeout(PATIENCE, attack_all(&target, settings, &mut sum)).await.is_err() {
        sum.unfinished = true;
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

async fn attack_all(target: &Target, settings: &Settings, sum: &mut Sum) {
    for (index, route) in settings.route.iter().enumerate().take(MOST_ROUTES) {
        let aim = match aim(settings, route, |aim| target.governs(index, aim)) {
            Ok(aim) => aim,
            Err(why) => {
                sum.unseen.insert(route.place(), why.to_owned());
                continue;
            }
        };
        // A second kind of address tells something only where kinds are listed.
        let strangers = if settings.listen.trusted_proxies.is_empty() { 1 } else { STRANGERS.len() };
        for client in STRANGERS.into_iter().take(strangers) {
            attack(target, settings, (index, route), (client, &aim), sum).await;
        }
    }
}

/// What was tried, and what came of it.
#[derive(Default)]
struct Sum {
    forged: usize,
    /// Requests that were answered, by whomever, and those that were not.
    answered: usize,
    unanswered: usize,
    /// Why one of those was not.
    silence: Option<String>,
    /// Time ran out.
    unfinished: bool,
    /// Routes on which the app could be seen.
    seen: BTreeSet<String>,
    /// Routes on which it could not, and why not.
    unseen: BTreeMap<String, String>,
    /// Route, and what of the client's the app saw.
    passed: Vec<(String, String)>,
    /// Where a request without a session reached the app.
    entered: Vec<(String, &'static str)>,
    any_host: Vec<String>,
}

async fn attack(
    target: &Target,
    settings: &Settings,
    (index, route): (usize, &Route),
    (client, aim): (IpAddr, &Aim),
    sum: &mut Sum,
) {
    let place = route.place();
    if route.access != Access::Public && !route.preflight {
        // What a stranger sends reaches nobody, with any header and with what somebody else sealed or signed.
        let strangers = [
            ("without a session", String::new()),
            ("with a forged session", target.forged_session()),
            ("with a forged token", target.forged_token()),
        ];
        for (what, credential) in strangers {
            for arrow in arrows::all(settings) {
                if let Some(_app) = sum.noted(target.send(client, aim, &credential, &arrow).await) {
                    sum.entered.push((place.clone(), what));
                }
            }
        }
    }
    let good = match route.access {
        Access::Public => vec![String::new()],
        Access::SignedIn => vec![target.own_session(route)],
        Access::Bearer => vec![target.own_token()],
        Access::SignedInOrBearer => vec![target.own_session(route), target.own_token()],
    };
    for credential in good {
        disguised(target, settings, route, (client, aim, &credential), sum).await;
    }
    let other = Aim { host: arrows::HOST.to_owned(), ..aim.clone() };
    if route.access == Access::Public
        && target.governs(index, &other)
        && let Some(seen) = sum.noted(target.send(client, &other, "", &Arrow::nothing()).await)
        && seen.iter().any(|(name, value)| name == "host" && value.contains(arrows::HOST))
        && !sum.any_host.contains(&place)
    {
        sum.any_host.push(place);
    }
}

/// Whoever may come in, and says beside it that he is somebody else.
async fn disguised(
    target: &Target,
    settings: &Settings,
    route: &Route,
    (client, aim, credential): (IpAddr, &Aim, &str),
    sum: &mut Sum,
) {
    let place = route.place();
    let honest = match target.send(client, aim, credential, &Arrow::nothing()).await {
        Seen::App(honest) => honest,
        other => {
            let how = if credential.starts_with("Authorization") { " with a token" } else { "" };
            sum.unseen.insert(format!("{place}{how}"), why_unseen(&other));
            return;
        }
    };
    sum.seen.insert(place.clone());
    for arrow in arrows::all(settings) {
        sum.forged += arrow.forged;
        if let Some(seen) = sum.noted(target.send(client, aim, credential, &arrow).await) {
            let through = seen.iter().filter(|line| !honest.contains(line));
            sum.passed.extend(through.map(|line| (place.clone(), format!("`{}: {}`", line.0, line.1))));
        }
    }
}

/// Why an honest request did not come to the app.
fn why_unseen(seen: &Seen) -> String {
    match seen {
        Seen::Nothing(why) => format!("an honest request got no answer: {why}"),
        Seen::Gateway(status) => {
            format!("the gateway answered an honest request itself, with status {status}, so the app was not seen")
        }
        Seen::App(_) => String::new(),
    }
}

impl Sum {
    /// Counts what became of a request; what the app saw of it, where it reached the app.
    fn noted(&mut self, seen: Seen) -> Option<Vec<(String, String)>> {
        match seen {
            Seen::App(seen) => {
                self.answered += 1;
                return Some(seen);
            }
            Seen::Gateway(_) => self.answered += 1,
            Seen::Nothing(why) => {
                self.unanswered += 1;
                self.silence.get_or_insert(why);
            }
        }
        None
    }

    fn tell(self, settings: &Settings, report: &mut Report) {
        for (route, what) in self.entered.iter().collect::<BTreeSet<_>>() {
            let seen = format!("a request {what} reached the app on {route}");
            let finding = Finding::new(Weight::Broken, Reason::ForgedHeadersPass, PLACE, seen).at("session");
            report.found(finding.change(self.own_proxies(settings).unwrap_or_else(|| {
                "Keep people from this app until it is mended (stop the gateway, or take the route away), and report it: \
                 no setting of the gateway should allow that."
                    .to_owned()
            })));
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
            report.found(match self.own_proxies(settings) {
                Some(change) => finding.change(change),
                None => {
                    finding.change(format!("List the names in `drop` of [headers] ({line}), and report what you saw."))
                }
            });
        }
        for route in &self.any_host {
            let seen = format!("asked for the host {}, the app on {route} saw that name", arrows::HOST);
            let change = format!(
                "Set `host = \"{}\"` of the route, or a fixed `host_header` of its upstream.",
                settings.public_url.host_str().unwrap_or_default()
            );
            report.found(Finding::new(Weight::Hint, Reason::HostIsAnybodys, PLACE, seen).at("host").change(change));
        }
        for (route, why) in self.unseen.iter().filter(|(route, _)| !self.seen.contains(*route)) {
            report.skipped(PLACE, "", format!("{route}: {why}"));
        }
        self.conclude(report);
    }

    /// That nothing came through is said of what was tried and answered alone.
    fn conclude(&self, report: &mut Report) {
        if self.unfinished {
            let tried = format!("the rest, for it took longer than {} s", PATIENCE.as_secs());
            report.skipped(PLACE, "", format!("{tried}; {} requests were answered until then", self.answered));
        }
        if self.unanswered > 0 {
            let all = self.answered + self.unanswered;
            let why = self.silence.as_deref().unwrap_or_default();
            report.skipped(PLACE, "headers", format!("{} of {all} requests got no answer: {why}", self.unanswered));
        }
        let whole = !self.unfinished && self.unanswered == 0 && !self.seen.is_empty();
        if whole && self.passed.is_empty() && self.entered.is_empty() {
            let said = format!(
                "{} on {}, none reached the app; names that only your app knows go into `drop` of \
                 [headers]",
                counted(self.forged, "forged header", "forged headers"),
                counted(self.seen.len(), "route", "routes")
            );
            report.good(PLACE, "headers", said);
        }
    }

    /// What to change where networks of trusted proxies hold everybody: whoever says which host they asked for chooses among
    /// its routes, too.
    fn own_proxies(&self, settings: &Settings) -> Option<String> {
        let trusted = settings.listen.trusted_proxies.iter();
        let wide = trusted.filter(|network| STRANGERS.iter().any(|stranger| network.0.contains(stranger)));
        let wide: Vec<_> = wide.map(|network| format!("`{network}`")).collect();
        (!wide.is_empty()).then(|| {
            format!(
                "Name in `listen.trusted_proxies` the addresses of your own proxies alone: {} lets anybody say where they \
                 come from and which host they asked for.",
                wide.join(", ")
            )
        })
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

    #[tokio::test]
    async fn a_route_that_a_more_specific_one_opens_is_attacked_where_it_governs_and_raises_no_alarm() {
        let all = "methods = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']";
        for (routes, seen, unseen) in [
            ("[[route]]\n[[route]]\nhost = 'a.example'\nmethods = ['GET']\naccess = 'public'\n".to_owned(), 2, None),
            (
                "[[route]]\n[[route]]\nmethods = ['GET']\nexact = '/doorward-doctor'\naccess = 'public'\n".to_owned(),
                2,
                None,
            ),
            ("[[route]]\npath = '/ops'\n[[route]]\nhost = 'a.example'\naccess = 'public'\n".to_owned(), 2, None),
            (
                format!("[[route]]\n[[route]]\n{all}\naccess = 'public'\n"),
                1,
                Some("/ on any host: more specific routes"),
            ),
        ] {
            let report = examined(&routes).await;
            let alarm = report.findings.iter().find(|found| found.reason != Reason::HostIsAnybodys);
            assert_eq!(alarm, None, "{routes}");
            let good = report.good.first().map(|good| good.said.as_str()).unwrap_or_default();
            let routes_seen = format!("on {}, none reached the app", counted(seen, "route", "routes"));
            assert!(good.contains(&routes_seen), "{routes}: {good}, {:?}", report.skipped);
            let told = report.skipped.iter().find(|said| said.said.contains("more specific"));
            assert_eq!(told.is_some_and(|said| unseen.is_some_and(|why| said.said.starts_with(why))), unseen.is_some());
        }
    }

    #[tokio::test]
    async fn whoever_may_name_the_host_of_a_public_route_is_told_apart_from_a_hole() {
        let routes = "[[route]]\nhost = 'a.example'\n[[route]]\naccess = 'public'\n";
        let report = examined(&format!("[listen]\ntrusted_proxies = ['0.0.0.0/0']\n{routes}")).await;
        let entered: Vec<_> = report.findings.iter().filter(|found| found.step == "session").collect();
        assert!(!entered.is_empty(), "{report:?}");
        assert!(entered.iter().all(|found| found.change.contains("trusted_proxies")), "{entered:?}");
    }

    #[tokio::test]
    async fn a_program_with_a_good_token_cannot_say_that_it_is_somebody_else() {
        let bearer = "[[issuer]]\nname = 'ci'\nissuer = 'https://ci.example'\naudiences = ['a']\n[[route]]\naccess = 'bearer'\n\
                      issuers = ['ci']\nscopes = ['read']\n[[route]]\npath = '/both'\naccess = 'signed-in-or-bearer'\n";
        let report = examined(bearer).await;
        assert_eq!(report.findings, []);
        assert!(report.good[0].said.contains("on 2 routes, none reached the app"), "{:?}", report.good[0]);
        let believing = examined(&format!("[listen]\ntrusted_proxies = ['0.0.0.0/0']\n{bearer}")).await;
        assert!(believing.findings.iter().any(|found| found.seen.contains("forged.invalid")), "{believing:?}");
    }

    #[tokio::test]
    async fn routes_whose_app_was_not_seen_are_not_called_good() {
        // Of a method whose answer has no body nothing is seen.
        let report = examined("[[route]]\nmethods = ['HEAD']\n").await;
        assert_eq!((report.findings, report.good), (Vec::new(), Vec::new()));
        assert!(report.skipped.iter().any(|said| said.said.contains("no method of it")), "{:?}", report.skipped);
    }

    #[test]
    fn what_was_not_answered_is_not_called_good() {
        let told = |sum: Sum| {
            let mut report = Report::default();
            let settings: Settings = toml::from_str("public_url = 'https://a.example'").expect("toml");
            sum.tell(&settings, &mut report);
            report
        };
        let sum = || Sum { forged: 9, answered: 9, seen: BTreeSet::from(["/".to_owned()]), ..Sum::default() };
        assert_eq!(told(sum()).good.len(), 1);
        let mut silent = sum();
        silent.noted(Seen::Nothing("closed".to_owned()));
        for (sum, why) in [
            (silent, "1 of 10 requests got no answer: closed"),
            (Sum { unfinished: true, ..sum() }, "longer than"),
            (
                Sum { seen: BTreeSet::new(), unseen: [("/".to_owned(), "no answer".to_owned())].into(), ..sum() },
                "no answer",
            ),
        ] {
            let report = told(sum);
            assert!(report.good.is_empty() && report.skipped[0].said.contains(why), "{report:?}");
        }
        // What was found before time ran out is told.
        let found = Sum { unfinished: true, entered: vec![("/".to_owned(), "without a session")], ..sum() };
        assert_eq!(told(found).worst(), Some(Weight::Broken));
    }
}
