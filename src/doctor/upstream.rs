//! The apps: whether they answer, where they send people, and whom they believe.
//!
//! Each is asked as the gateway would ask it for somebody who is not signed in; where that is wanted once more, with
//! identity headers of [`NOBODY`]. An app that makes accounts by itself may then make one of that name.

use std::sync::Arc;

use url::Url;

use super::wire::{self, Failed, Heard, Peer, Tls};
use super::{Finding, ONE_APP, Report, Scope, Weight, beside, within};
use crate::config::Config;
use crate::config::model::{Route, Settings, Upstream};
use crate::config::values::{AppScheme, AppUrl};
use crate::identity_headers::IdentityHeaders;
use crate::reason::Reason;
use crate::tls_fault::{MAKE_SERVERS, TlsFault};

/// Why an app was not asked as somebody.
const UNASKED: &str = "whether it believes identity headers: with `--try-identity-headers`, or its box on the console, it \
                       is asked once as the made-up `doorward-doctor`, for whom it may make an account";
/// Whom the app is told of.
const NOBODY: &str = "doorward-doctor";

/// All of them beside each other: one that is dead hides nothing of the others. An app at whose address nobody should be
/// answered from here has to answer nobody here: it is not asked as the gateway would, unless it is
/// to be asked as somebody.
pub async fn check(config: &Arc<Config>, scope: &Scope, report: &mut Report) {
    let as_somebody = scope.identity_headers;
    let (closed_here, asked): (Vec<_>, Vec<_>) =
        config.settings.upstream.iter().partition(|upstream| !as_somebody && scope.closed.contains(&upstream.url));
    for upstream in closed_here {
        report.skipped(place(upstream), "", "whether it works: by `--app-address` nobody should be answered there");
        report.skipped(place(upstream), "identity", UNASKED);
    }
    let apps = asked.into_iter().map(|upstream| {
        let (config, upstream, place) = (Arc::clone(config), upstream.clone(), place(upstream));
        let check = async move |report: &mut Report| {
            examine(&config.settings, &upstream, as_somebody, report).await;
        };
        (place.clone(), within(ONE_APP, place, check))
    });
    let closed = scope.closed.iter().map(|address| {
        let (address, place) = (address.clone(), format!("app address {address}"));
        let check = async move |report: &mut Report| open(&address, report).await;
        (place.clone(), within(ONE_APP, place, check))
    });
    let (apps, closed) = tokio::join!(beside(apps), beside(closed));
    report.merge(apps);
    report.merge(closed);
}

fn place(upstream: &Upstream) -> String {
    format!("upstream {}", upstream.name)
}

fn peer(upstream: &Upstream) -> Peer {
    peer_at(&upstream.url, tls(upstream))
}

fn tls(upstream: &Upstream) -> Tls {
    Tls { server_name: upstream.tls_server_name.clone(), ca_file: upstream.tls_ca_file.clone() }
}

fn peer_at(url: &AppUrl, tls: Tls) -> Peer {
    match url {
        AppUrl::Unix { path } => Peer::Unix(path.into()),
        AppUrl::Tcp { scheme, host, port } => {
            Peer::Tcp { host: host.clone(), port: *port, tls: (*scheme == AppScheme::Https).then_some(tls) }
        }
    }
}

async fn examine(settings: &Settings, upstream: &Upstream, as_somebody: bool, report: &mut Report) {
    let peer = peer(upstream);
    if let AppUrl::Tcp { scheme: AppScheme::H2c, .. } = upstream.url {
        return match wire::reach(&peer).await {
            Ok(()) => report.skipped(place(upstream), "HTTP", "it takes connections; HTTP/2 is not spoken here"),
            Err(failed) => report.found(unreached(upstream, &failed)),
        };
    }
    let target = target(settings, upstream);
    let plain = match wire::ask(&peer, &request(settings, upstream, &target, &[])).await {
        // So do nginx and Go; others hang up, or say it by an alert.
        Ok(heard) if heard.status == 400 && speaks_tls(upstream).await => {
            return report.found(without_tls(upstream, &heard.named()));
        }
        Ok(heard) => heard,
        Err(failed) if failed.step == "HTTP" && speaks_tls(upstream).await => {
            return report.found(without_tls(upstream, &failed.why));
        }
        Err(failed) => return report.found(unreached(upstream, &failed)),
    };
    if is_console(&plain) {
        let said = format!("{} is a gateway's console, which its routes with `allow` alone can show", upstream.url);
        return report.good(place(upstream), "HTTP", said);
    }
    let before = report.findings.len();
    redirect(settings, upstream, &plain).into_iter().for_each(|finding| report.found(finding));
    if matches!(plain.status, 400 | 403 | 421) && upstream.host_header == "preserve" {
        let own = wire::get(&target, &upstream.url.to_string().replace("http://", "").replace("https://", ""), &[]);
        let own = wire::ask(&peer, &own).await.ok();
        refuses_host(settings, upstream, &plain, own.as_ref()).into_iter().for_each(|finding| report.found(finding));
    }
    if report.findings.len() == before {
        report.good(place(upstream), "HTTP", format!("{} answers with status {}", upstream.url, plain.status));
    }
    if !as_somebody {
        return report.skipped(place(upstream), "identity", UNASKED);
    }
    let told = wire::ask(&peer, &request(settings, upstream, &target, &somebody(settings))).await;
    match told {
        Ok(told) if believes(&plain, &told) => believed(upstream, &plain, &told, report),
        Ok(_) => report.good(place(upstream), "identity", "without the gateway, identity headers change nothing"),
        Err(failed) => report.skipped(place(upstream), "identity", failed.why),
    }
}

/// A path that a route leads to the app, as the app sees it.
fn target(settings: &Settings, upstream: &Upstream) -> String {
    let first = settings.upstream.first().is_some_and(|first| first.name == upstream.name);
    let leads = |route: &&Route| route.upstream.as_deref().map_or(first, |name| name == upstream.name);
    let path = |route: &Route| match (&route.exact, &route.path) {
        (Some(exact), _) => exact.clone(),
        (None, Some(path)) if !route.strip_prefix => path.clone(),
        _ => "/".to_owned(),
    };
    let mut paths: Vec<String> = settings.route.iter().filter(leads).map(path).collect();
    paths.sort_by_key(String::len);
    paths.into_iter().next().unwrap_or_else(|| "/".to_owned())
}

/// The request that the gateway would make for a browser at the public URL.
fn request(settings: &Settings, upstream: &Upstream, target: &str, identity: &[String]) -> Vec<u8> {
    let url = &settings.public_url;
    let public = url.port().map_or_else(
        || url.host_str().unwrap_or_default().to_owned(),
        |port| format!("{}:{port}", url.host_str().unwrap_or_default()),
    );
    let host = match (upstream.host_header.as_str(), &upstream.url) {
        ("preserve", _) => public.clone(),
        ("upstream", AppUrl::Tcp { host, port, .. }) => format!("{host}:{port}"),
        ("upstream", AppUrl::Unix { .. }) => "localhost".to_owned(),
        (named, _) => named.to_owned(),
    };
    let mut lines = vec![
        "X-Forwarded-For: 192.0.2.1".to_owned(),
        format!("X-Forwarded-Host: {public}"),
        format!("X-Forwarded-Proto: {}", url.scheme()),
        format!("X-Forwarded-Port: {}", url.port_or_known_default().unwrap_or(443)),
        format!("Forwarded: for=192.0.2.1;host=\"{public}\";proto={}", url.scheme()),
    ];
    lines.extend_from_slice(identity);
    wire::get(target, &host, &lines)
}

/// Every identity header that the gateway writes, for somebody who does not exist.
fn somebody(settings: &Settings) -> Vec<String> {
    let names = IdentityHeaders::new(&settings.headers);
    let value = |name: &str| match name.to_ascii_lowercase().contains("email") {
        true => format!("{NOBODY}@doorward.invalid"),
        false => NOBODY.to_owned(),
    };
    names.names().map(|name| format!("{name}: {}", value(name))).collect()
}

fn unreached(upstream: &Upstream, failed: &Failed) -> Finding {
    let fault = TlsFault::of(&failed.why).filter(|_| failed.step == "TLS");
    let reason = match failed.step {
        "DNS" => Reason::UpstreamUnresolved,
        "TLS" if fault == Some(TlsFault::NoTls) => Reason::UpstreamScheme,
        "TLS" => Reason::UpstreamTls,
        "HTTP" => Reason::UpstreamBroke,
        "answer" => Reason::UpstreamTimeout,
        _ => Reason::UpstreamUnreachable,
    };
    let seen = format!("{}: {}", upstream.url, failed.why);
    // Some take their time for the first request.
    let weight = if failed.step == "answer" { Weight::Warning } else { Weight::Broken };
    let finding = Finding::new(weight, reason, place(upstream), seen).at(failed.step);
    match fault {
        Some(TlsFault::AuthorityAsServer) => finding.change(MAKE_SERVERS),
        _ => finding,
    }
}

/// Whether what is written with http:// speaks TLS, whatever its certificate is.
async fn speaks_tls(upstream: &Upstream) -> bool {
    let AppUrl::Tcp { scheme: AppScheme::Http, host, port } = &upstream.url else { return false };
    let peer = Peer::Tcp { host: host.clone(), port: *port, tls: Some(tls(upstream)) };
    let told = |why: &str| ["invalid peer certificate", "received fatal alert"].iter().any(|words| why.contains(words));
    wire::reach(&peer).await.map_or_else(|failed| failed.step == "TLS" && told(&failed.why), |()| true)
}

fn without_tls(upstream: &Upstream, heard: &str) -> Finding {
    let seen = format!("{} speaks TLS, and was spoken to without ({heard})", upstream.url);
    let finding = Finding::new(Weight::Broken, Reason::UpstreamScheme, place(upstream), seen).at("HTTP");
    finding.change("Write https:// in the `url` of the app's `[[upstream]]`: it speaks TLS there.")
}

/// Where the app sends a browser, where that is another address than the public one.
fn redirect(settings: &Settings, upstream: &Upstream, heard: &Heard) -> Option<Finding> {
    let url = &settings.public_url;
    let to = heard.header("location").filter(|_| (300..400).contains(&heard.status))?;
    let target = url.join(to).ok()?;
    if target.origin() == url.origin() {
        return None;
    }
    let shown = wire::short(to.split(['?', '#']).next().unwrap_or_default());
    let own = matches!(&upstream.url, AppUrl::Tcp { host, port, .. }
        if target.host_str() == Some(host) && target.port_or_known_default() == Some(*port));
    let at = |weight, what: &str| {
        let seen = format!("asked for {url} it sends people to {shown}{what}");
        Finding::new(weight, Reason::AppRedirects, place(upstream), seen).at("redirect")
    };
    let by_headers = format!(
        "Tell the app that its address is {url}, or have it go by the forwarding headers of the gateway \
         (`X-Forwarded-Proto`, `X-Forwarded-Host`; mostly a setting for proxies that it trusts)."
    );
    let same_host = target.host() == url.host();
    Some(match (url.scheme(), target.scheme()) {
        ("https", "http") if same_host => at(Weight::Broken, ", which is plain http").change(by_headers),
        _ if own => at(Weight::Broken, ", its own address, past the gateway").change(by_headers),
        (public, sent) if same_host && public != sent => {
            at(Weight::Broken, ", which has another scheme").change(by_headers)
        }
        _ if same_host => at(Weight::Warning, ", another port than people use").change(by_headers),
        _ => at(Weight::Hint, ", another host")
            .change("Where this is a sign-in of the app's own, turn it off: the app reads who it is from the headers."),
    })
}

/// Whether it is what the console says to whoever comes with forwarding headers and by no route of the gateway.
fn is_console(heard: &Heard) -> bool {
    let said: Option<serde_json::Value> = serde_json::from_slice(&heard.body).ok();
    heard.status == Reason::ConsoleProxied.status()
        && said.is_some_and(|said| said["reason"] == Reason::ConsoleProxied.info().code)
}

/// Apps that serve certain hosts alone answer others with an error.
fn refuses_host(settings: &Settings, upstream: &Upstream, plain: &Heard, own: Option<&Heard>) -> Option<Finding> {
    let own = own.filter(|own| own.status != plain.status && own.status < 400)?;
    let host = settings.public_url.host_str().unwrap_or_default();
    let seen = format!("for the host {host} it answers with status {}, for its own with {}", plain.status, own.status);
    let finding = Finding::new(Weight::Broken, Reason::AppRefusesHost, place(upstream), seen).at("host");
    Some(finding.change(format!(
        "Add {host} to the hosts that the app serves, or set `host_header = \"upstream\"` of its [[upstream]]."
    )))
}

/// Whether the app took the second request for somebody else's than the first.
fn believes(plain: &Heard, told: &Heard) -> bool {
    let place = |heard: &Heard| heard.header("location").map(|to| to.split('?').next().unwrap_or_default().to_owned());
    let names = |heard: &Heard| {
        let in_headers = heard.headers.iter().any(|(_, value)| value.contains(NOBODY));
        in_headers || String::from_utf8_lossy(&heard.body).contains(NOBODY)
    };
    plain.status != told.status || place(plain) != place(told) || (!names(plain) && names(told))
}

/// An app behind the gateway has to believe its headers. It must then be reached by the gateway alone.
fn believed(upstream: &Upstream, plain: &Heard, told: &Heard, report: &mut Report) {
    let alone = match &upstream.url {
        AppUrl::Unix { .. } => true,
        AppUrl::Tcp { host, .. } => {
            let host = host.trim_matches(['[', ']']);
            host == "localhost" || host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
        }
    };
    if alone {
        return report.good(
            place(upstream),
            "identity",
            "it believes identity headers, and this machine alone reaches it",
        );
    }
    let seen = match plain.status == told.status {
        true => format!("{} took a request for {NOBODY}'s because headers said so", upstream.url),
        false => format!(
            "{} answered with status {} without identity headers and with {} with made-up ones",
            upstream.url, plain.status, told.status
        ),
    };
    let change = "See to it that only the gateway reaches the app (a network of its own, a firewall, a unix socket), and have it \
                  checked: `doorward doctor --app-address URL` with an address at which others could reach it.";
    let finding = Finding::new(Weight::Hint, Reason::AppBelievesHeaders, place(upstream), seen);
    report.found(finding.at("identity").change(change));
}

/// Whether somebody answers at an address of the app at which nobody should. Any address can be named, so nothing of the
/// answer's text is told.
async fn open(address: &AppUrl, report: &mut Report) {
    let place = format!("app address {address}");
    let host = address.to_string().split_once("://").map(|(_, host)| host.to_owned()).unwrap_or_default();
    let seen = match wire::ask(&peer_at(address, Tls::default()), &wire::get("/", &host, &[])).await {
        Ok(heard) => format!("expected no answer, got {}", heard.named()),
        Err(failed) if matches!(failed.step, "TLS" | "HTTP" | "answer") => {
            format!("expected no connection, and it takes them ({}: {})", failed.step, failed.why)
        }
        Err(failed) => return report.good(place, failed.step, format!("nobody answers: {}", failed.why)),
    };
    report.found(Finding::new(Weight::Broken, Reason::AppOpen, place, seen));
}

/// `text` as an address of `--app-address`.
pub fn address(text: &str) -> Result<AppUrl, String> {
    let origin = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    origin.map_or(text.to_owned(), |url| url.origin().ascii_serialization()).parse()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(public_url: &str, upstream: &str) -> Settings {
        let text = format!("public_url = '{public_url}'\n[[upstream]]\nurl = '{upstream}'\n[[route]]");
        toml::from_str(&text).expect("toml")
    }

    fn heard(status: u16, location: Option<&str>, body: &str) -> Heard {
        let headers = location.map(|to| ("location".to_owned(), to.to_owned())).into_iter().collect();
        Heard { status, headers, body: body.as_bytes().to_vec() }
    }

    #[test]
    fn where_an_app_sends_people_is_held_against_the_public_address() {
        let settings = settings("https://a.example", "http://10.0.0.5:3000");
        let upstream = &settings.upstream[0];
        for (to, weight) in [
            ("/login", None),
            ("https://a.example/login", None),
            ("http://a.example/login?next=secret", Some(Weight::Broken)),
            ("http://10.0.0.5:3000/login", Some(Weight::Broken)),
            ("https://a.example:3000/", Some(Weight::Warning)),
            ("https://sso.example/authorize", Some(Weight::Hint)),
        ] {
            let found = redirect(&settings, upstream, &heard(302, Some(to), ""));
            assert_eq!(found.as_ref().map(|found| found.weight), weight, "{to}");
            assert!(found.is_none_or(|found| !found.seen.contains("secret")), "{to}");
        }
        assert!(redirect(&settings, upstream, &heard(200, Some("http://x.example"), "")).is_none());
    }

    #[test]
    fn an_app_that_believes_headers_is_told_from_one_that_does_not() {
        let page = |body: &str| heard(200, None, body);
        assert!(believes(&heard(401, None, ""), &page("")));
        assert!(believes(&heard(302, Some("/login"), ""), &heard(302, Some("/home"), "")));
        assert!(believes(&page("hello"), &page("hello doorward-doctor")));
        assert!(!believes(&page("token 1"), &page("token 2")));
        assert!(!believes(&heard(302, Some("/login?n=1"), ""), &heard(302, Some("/login?n=2"), "")));
    }

    #[test]
    fn an_app_is_asked_as_the_gateway_would_and_where_a_route_leads() {
        let mut settings = settings("https://a.example", "http://10.0.0.5:3000");
        settings.route[0].path = Some("/app".into());
        let upstream = settings.upstream[0].clone();
        let target = target(&settings, &upstream);
        let text = String::from_utf8(request(&settings, &upstream, &target, &somebody(&settings))).expect("text");
        assert!(text.starts_with("GET /app HTTP/1.1\r\nHost: a.example\r\n"), "{text}");
        for line in ["X-Forwarded-Proto: https\r\n", "x-forwarded-user: doorward-doctor\r\n"] {
            assert!(text.contains(line), "{line} in {text}");
        }
        settings.route[0].strip_prefix = true;
        assert_eq!(super::target(&settings, &upstream), "/");
        assert_eq!(address("http://1.2.3.4:3000/x?y"), "http://1.2.3.4:3000".parse());
        assert!(address("nonsense").is_err());
    }
}
