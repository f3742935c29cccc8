//! The public URL: whether it leads to this gateway, asked with a value that is used once.

use std::fmt::Write;
use std::sync::Arc;

use ring::rand::{SecureRandom, SystemRandom};
use url::Url;

use super::wire::{self, Failed, Heard, Peer, Tls};
use super::{Finding, Report, Weight, running};
use crate::config::Config;
use crate::config::model::Settings;
use crate::endpoints::reached::{self, Whose};
use crate::reason::Reason;
use crate::tls_fault::{MAKE_SERVERS, TlsFault};

const PLACE: &str = "public_url";

pub async fn check(config: &Arc<Config>, report: &mut Report) {
    let settings = &config.settings;
    if settings.secrets.is_empty() {
        return report.skipped(PLACE, "probe", "without a secret nothing tells this gateway from others");
    }
    let Some(value) = one_time_value() else {
        return report.skipped(PLACE, "probe", "the system's random source failed");
    };
    match ask(&settings.public_url, &value).await {
        Ok(heard) => match judge(settings, &value, &heard) {
            Ok(said) => report.good(PLACE, "probe", said),
            Err(finding) => report.found(finding),
        },
        Err(failed) => unreached(config, &value, failed, report).await,
    }
}

fn one_time_value() -> Option<String> {
    let mut bytes = [0; 32];
    SystemRandom::new().fill(&mut bytes).ok()?;
    Some(bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    }))
}

async fn ask(url: &Url, value: &str) -> Result<Heard, Failed> {
    let (host, port) = (url.host_str().unwrap_or_default().to_owned(), url.port_or_known_default().unwrap_or(443));
    let named = url.port().map_or_else(|| host.clone(), |port| format!("{host}:{port}"));
    let peer = Peer::Tcp { host, port, tls: (url.scheme() == "https").then(Tls::default) };
    let target = format!("{}?{}={value}", reached::ADDRESS, reached::VALUE);
    wire::ask(&peer, &wire::get(&target, &named, &[])).await
}

/// What an answer says of where the address leads.
fn judge(settings: &Settings, value: &str, heard: &Heard) -> Result<String, Finding> {
    let url = &settings.public_url;
    let broken = |reason, seen: String| Finding::new(Weight::Broken, reason, PLACE, seen).at("probe");
    let whose = match heard.status {
        200 => reached::whose(settings, value, &heard.body),
        _ => Whose::Nobodys,
    };
    match whose {
        Whose::Ours => return Ok(format!("{url} leads to this gateway, or one with its configuration")),
        Whose::OtherUrl => {
            let seen = format!("{url} leads to a gateway with the same secret and another `public_url`");
            return Err(broken(Reason::PublicUrlOtherGateway, seen).change(
                "Write `public_url` as that gateway has it, or give each deployment an address and a secret.",
            ));
        }
        Whose::OtherSecret => {
            let seen = format!("{url} leads to a gateway with another secret, which takes no session of this one");
            return Err(broken(Reason::PublicUrlOtherGateway, seen).change(
                "Give all gateways behind the address the same `secrets`, and start those anew that have others.",
            ));
        }
        Whose::Nobodys => {}
    }
    if let Some(to) = heard.header("location").filter(|_| (300..400).contains(&heard.status)) {
        return Err(redirected(url, to, heard.status));
    }
    let seen = format!("at {url} something else answers: {}", heard.described());
    let elsewhere = broken(Reason::PublicUrlElsewhere, seen);
    Err(match heard.status {
        502..=504 => elsewhere.change(format!(
            "Start the gateway, or correct where the proxy in front sends requests: this gateway listens on {}.",
            settings.listen.address
        )),
        400 if url.scheme() == "http" && says_https(&heard.body) => {
            elsewhere.change("Write `public_url` with https: that port speaks TLS.")
        }
        _ => elsewhere,
    })
}

/// What servers say to plain HTTP on a port for TLS.
fn says_https(body: &[u8]) -> bool {
    let body = String::from_utf8_lossy(body).to_ascii_lowercase();
    body.contains("https") && body.contains("plain http") || body.contains("http request to an https server")
}

fn redirected(url: &Url, to: &str, status: u16) -> Finding {
    let target = url.join(to).ok();
    let origin = |url: &Url| url.origin().ascii_serialization();
    let (reason, what, change) = match &target {
        Some(target) if origin(target) != origin(url) => {
            let what = match (url.scheme() == target.scheme(), url.host() == target.host()) {
                (false, true) => format!("from {} to {}", url.scheme(), target.scheme()),
                (_, false) => "to another host".to_owned(),
                (true, true) => "to another port".to_owned(),
            };
            let meant = format!("Set `public_url = \"{}\"`, or take the redirect away.", origin(target));
            (Reason::PublicUrlRedirects, what, meant)
        }
        _ => (
            Reason::PublicUrlElsewhere,
            "by something that is not this gateway".to_owned(),
            Reason::PublicUrlElsewhere.info().remedy.to_owned(),
        ),
    };
    // Without the query, which may hold somebody's state.
    let shown = to.split(['?', '#']).next().unwrap_or_default();
    let seen = format!("{url} is redirected {what}: status {status} to {}", wire::short(shown));
    Finding::new(Weight::Broken, reason, PLACE, seen).at("redirect").change(change)
}

/// Nothing answered. That may be the fault of the way from here alone (a router that does not lead back into its own
/// network), so it is a warning, unless what is seen from here is what everybody sees.
async fn unreached(config: &Arc<Config>, value: &str, failed: Failed, report: &mut Report) {
    let settings = &config.settings;
    let url = &settings.public_url;
    let seen = |what: &str| format!("{url}: {what}");
    if failed.step == "TLS" {
        return report.found(untrusted(url, &failed.why));
    }
    if failed.step == "HTTP" {
        let finding = Finding::new(Weight::Broken, Reason::PublicUrlElsewhere, PLACE, seen(&failed.why)).at("HTTP");
        return report.found(match url.scheme() {
            "http" => finding.change("Write `public_url` with https where that port speaks TLS, or correct its port."),
            _ => finding,
        });
    }
    if failed.step == "TCP"
        && let Some(other) = at_listener(url, settings)
        && let Ok(heard) = ask(&other, value).await
        && judge(settings, value, &heard).is_ok()
    {
        let what = format!("{}; this gateway answers at {other}", failed.why);
        let change = format!(
            "Set `public_url = \"{}\"` where people use that address, or lead port {} to {}.",
            other.origin().ascii_serialization(),
            url.port_or_known_default().unwrap_or_default(),
            settings.listen.address
        );
        let finding = Finding::new(Weight::Broken, Reason::PublicUrlUnreachable, PLACE, seen(&what));
        return report.found(finding.at("port").change(change));
    }
    let runs = running::is_there(config).await;
    if !runs && is_local(url) {
        return report.skipped(PLACE, "probe", "the gateway does not run, and nobody else can be at that address");
    }
    let runs = if runs { "" } else { "; no gateway runs here at the moment" };
    let what = format!("{}{runs}", failed.why);
    report.found(Finding::new(Weight::Warning, Reason::PublicUrlUnreachable, PLACE, seen(&what)).at(failed.step));
}

fn untrusted(url: &Url, why: &str) -> Finding {
    let no_tls = why.contains("InvalidContentType") || why.contains("corrupt message") || why.contains("eof");
    // An authority of one's own may be known to people's browsers and not here.
    let own_authority = why.contains("UnknownIssuer");
    let weight = if own_authority { Weight::Warning } else { Weight::Broken };
    let finding = Finding::new(weight, Reason::PublicUrlTls, PLACE, format!("{url}: {why}")).at("TLS");
    if TlsFault::of(why) == Some(TlsFault::AuthorityAsServer) {
        return finding.change(MAKE_SERVERS);
    }
    match (no_tls, own_authority) {
        (true, _) => finding.change(
            "Whatever is at that port speaks no TLS: set `tls_certificate_file` and `tls_key_file` of [listen], put what \
             ends TLS in front, or write `public_url` with http for a trial.",
        ),
        (_, true) => finding.change(
            "Have the certificate made by an authority that browsers know, and put the whole chain into its file; with an \
             authority of your own, see that people's machines trust it.",
        ),
        _ => finding,
    }
}

/// The public URL at the port of the listener, where that is another one.
fn at_listener(url: &Url, settings: &Settings) -> Option<Url> {
    let port = settings.listen.address.port();
    if url.port_or_known_default() == Some(port) {
        return None;
    }
    let mut other = url.clone();
    let scheme = if settings.listen.tls_certificate_file.is_some() { "https" } else { "http" };
    other.set_scheme(scheme).ok()?;
    other.set_port(Some(port)).ok()?;
    Some(other)
}

fn is_local(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(public_url: &str) -> Settings {
        let secret = "0123456789abcdef0123456789abcdef";
        toml::from_str(&format!("public_url = '{public_url}'\nsecrets = ['{secret}']")).expect("toml")
    }

    fn heard(status: u16, headers: &[(&str, &str)], body: &str) -> Heard {
        let headers = headers.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        Heard { status, headers, body: body.as_bytes().to_vec() }
    }

    #[test]
    fn where_a_redirect_leads_is_named_and_what_to_write() {
        for (public, to, what, change) in [
            ("http://a.example", "https://a.example/x?state=secret", "from http to https", "\"https://a.example\""),
            ("https://a.example", "https://www.a.example/", "to another host", "\"https://www.a.example\""),
            ("https://a.example", "https://a.example:8443/", "to another port", "\"https://a.example:8443\""),
        ] {
            let finding = judge(&settings(public), "", &heard(302, &[("location", to)], "")).expect_err("redirected");
            assert_eq!(finding.reason, Reason::PublicUrlRedirects);
            assert!(finding.seen.contains(what) && finding.change.contains(change), "{finding:?}");
            assert!(!finding.seen.contains("secret"), "{finding:?}");
        }
        let login = judge(&settings("https://a.example"), "", &heard(302, &[("location", "/login")], ""));
        assert_eq!(login.expect_err("something else").reason, Reason::PublicUrlElsewhere);
    }

    #[test]
    fn what_answers_instead_is_described_with_what_helps() {
        let said = |status, headers: &[(&str, &str)], body: &str| {
            judge(&settings("http://a.example"), "", &heard(status, headers, body)).expect_err("not us")
        };
        let nginx = said(200, &[("server", "nginx")], "<title>Welcome</title>");
        assert!(nginx.seen.contains("`Server: nginx`") && nginx.seen.contains("\"Welcome\""), "{nginx:?}");
        assert!(said(502, &[], "").change.contains("0.0.0.0:8080"));
        let tls = said(400, &[], "<center>The plain HTTP request was sent to HTTPS port</center>");
        assert!(tls.change.contains("with https"), "{tls:?}");
    }

    #[test]
    fn an_authority_of_one_s_own_weighs_less_than_a_wrong_certificate() {
        let url = "https://a.example".parse().expect("url");
        assert_eq!(untrusted(&url, "invalid peer certificate: UnknownIssuer").weight, Weight::Warning);
        assert_eq!(untrusted(&url, "invalid peer certificate: Expired").weight, Weight::Broken);
        let plain = untrusted(&url, "received corrupt message of type InvalidContentType");
        assert!(plain.weight == Weight::Broken && plain.change.contains("speaks no TLS"), "{plain:?}");
    }
}
