//! The listener's certificate: whose it is, until when, and whether what is in its file leads up to an authority.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use url::{Host, Url};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::ParsedExtension;
use x509_parser::oid_registry::OID_PKIX_AUTHORITY_INFO_ACCESS;
use x509_parser::prelude::FromDer;

use super::{Finding, Report, Weight};
use crate::clock::unix_seconds;
use crate::config::Config;
use crate::config::model::Settings;
use crate::pem;
use crate::reason::Reason;
use crate::tls_fault::{MAKE_SERVERS, TlsFault};
use crate::words::counted;
use crate::x509;

const PLACE: &str = "listener certificate";
/// Time to see why it was not renewed.
const SOON: Duration = Duration::from_secs(14 * 24 * 3600);

pub async fn check(config: &Arc<Config>, report: &mut Report) {
    let Some(chain) = chain(&config.settings, report) else { return };
    judge(&config.settings, &chain, SystemTime::now(), report);
    let ordered = report.findings.iter().all(|finding| finding.reason != Reason::CertificateChain);
    let host = config.settings.public_url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    if ordered && let Ok(Some(finding)) = tokio::task::spawn_blocking(move || unknown(&chain, &host)).await {
        report.found(finding);
    }
}

/// Without asking whom the system trusts, which takes a while.
pub fn quick(config: &Arc<Config>, report: &mut Report) {
    if let Some(chain) = chain(&config.settings, report) {
        judge(&config.settings, &chain, SystemTime::now(), report);
    }
}

/// The certificates of the listener; what cannot be read is told.
fn chain(settings: &Settings, report: &mut Report) -> Option<Vec<CertificateDer<'static>>> {
    let listen = &settings.listen;
    let (Some(certificate), Some(key)) = (&listen.tls_certificate_file, &listen.tls_key_file) else {
        report.skipped(PLACE, "", "the listener speaks no TLS");
        return None;
    };
    let read = || {
        let chain = pem::certificates(&pem::read(certificate)?).map_err(|failure| pem::named(certificate, failure))?;
        let keys = pem::private_keys(&pem::read(key)?).map_err(|failure| pem::named(key, failure))?;
        let first = keys.first().ok_or_else(|| pem::unusable("it holds no private key"))?;
        pem::belong_together(&chain, first).map_err(|failure| pem::named(certificate, failure))?;
        Ok(chain)
    };
    match read() {
        Ok(chain) => Some(chain),
        Err(failure) => {
            report.found(Finding::of(Weight::Broken, &failure, PLACE));
            None
        }
    }
}

fn judge(settings: &Settings, chain: &[CertificateDer<'_>], now: SystemTime, report: &mut Report) {
    let parsed: Result<Vec<_>, _> = chain.iter().map(|der| X509Certificate::from_der(der)).collect();
    let parsed: Vec<X509Certificate<'_>> = match parsed {
        Ok(parsed) => parsed.into_iter().map(|(_, certificate)| certificate).collect(),
        Err(error) => {
            let seen = format!("it cannot be read: {error}");
            return report.found(Finding::new(Weight::Broken, Reason::CertificateUnusable, PLACE, seen));
        }
    };
    let Some(own) = parsed.first() else { return };
    let before = report.findings.len();
    names(settings, own, report);
    constraints(own, report);
    time(&parsed, now, report);
    order(&parsed, report);
    if report.findings.len() == before {
        let said = format!("for {}, until {}", x509::names(own).join(", "), own.validity().not_after);
        report.good(PLACE, "", said);
    }
}

fn names(settings: &Settings, own: &X509Certificate<'_>, report: &mut Report) {
    let named = x509::names(own);
    let url = &settings.public_url;
    // Behind something that ends TLS itself only that knows this certificate.
    let direct = url.port_or_known_default() == Some(settings.listen.address.port());
    let of_routes = settings.route.iter().filter_map(|route| Some((route.host.clone()?, "`host` of a route")));
    let hosts = [(url.host_str().unwrap_or_default().to_owned(), "`public_url`")];
    for (host, whose) in hosts.into_iter().chain(of_routes) {
        if x509::covers(&named, &host) {
            continue;
        }
        let weight = if direct && whose == "`public_url`" { Weight::Broken } else { Weight::Warning };
        let got = if named.is_empty() { "no name at all".to_owned() } else { named.join(", ") };
        let seen = format!("expected {host} ({whose}), got {got}");
        report.found(Finding::new(weight, Reason::CertificateNames, PLACE, seen).at("names"));
    }
    if url.scheme() == "http" {
        let seen = "the listener speaks TLS, and `public_url` is http: redirect URIs and cookies do not fit";
        let finding = Finding::new(Weight::Broken, Reason::SettingDoubtful, PLACE, seen).at("public_url");
        report.found(finding.change(format!("Set `public_url = \"{}\"`.", with_https(url))));
    }
}

/// Firefox and most programs refuse as a server's what says that it makes certificates; others let it pass.
fn constraints(own: &X509Certificate<'_>, report: &mut Report) {
    let constraints = own.basic_constraints().ok().flatten();
    if constraints.is_some_and(|constraints| constraints.value.ca) {
        let seen = "it says that it is an authority's (`CA:TRUE`), which many clients refuse as a server's";
        let finding = Finding::new(Weight::Warning, Reason::CertificateUnusable, PLACE, seen).at("constraints");
        report.found(finding.change(MAKE_SERVERS));
    }
}

fn with_https(url: &Url) -> String {
    let host = url.host().map(|host: Host<&str>| host.to_string()).unwrap_or_default();
    url.port().map_or_else(|| format!("https://{host}"), |port| format!("https://{host}:{port}"))
}

fn time(chain: &[X509Certificate<'_>], now: SystemTime, report: &mut Report) {
    let seconds = i64::try_from(unix_seconds(now)).unwrap_or(i64::MAX);
    for (index, certificate) in chain.iter().enumerate() {
        let which = if index == 0 { "it".to_owned() } else { format!("certificate {} of its chain", index + 1) };
        let (from, until) = (certificate.validity().not_before, certificate.validity().not_after);
        let left = until.timestamp().saturating_sub(seconds);
        let found = if left <= 0 {
            (Weight::Broken, format!("{which} ended {until}"))
        } else if from.timestamp() > seconds {
            (Weight::Broken, format!("{which} is good from {from} on, by this host's clock not yet"))
        } else if left < SOON.as_secs() as i64 {
            (
                Weight::Warning,
                format!(
                    "{which} ends {until}, in {}",
                    counted(usize::try_from(left / (24 * 3600)).unwrap_or_default(), "day", "days")
                ),
            )
        } else {
            continue;
        };
        report.found(Finding::new(found.0, Reason::CertificateExpires, PLACE, found.1).at("time"));
    }
}

/// Each certificate of the file is followed by that of its issuer (RFC 8446 §4.4.2).
fn order(chain: &[X509Certificate<'_>], report: &mut Report) {
    for (index, pair) in chain.windows(2).enumerate() {
        let [lower, upper] = pair else { continue };
        if lower.issuer().as_raw() == upper.subject().as_raw() {
            continue;
        }
        let later = chain.iter().any(|other| other.subject().as_raw() == lower.issuer().as_raw());
        let seen = format!(
            "certificate {} is by \"{}\", and the next one is of \"{}\"",
            index + 1,
            lower.issuer(),
            upper.subject()
        );
        let finding = Finding::new(Weight::Warning, Reason::CertificateChain, PLACE, seen).at("chain");
        return report.found(match later {
            true => {
                finding.change("Put the certificates in order: the gateway's own first, each followed by its issuer's.")
            }
            false => finding,
        });
    }
}

/// Whether the system does not accept the certificate, and most likely why.
fn unknown(chain: &[CertificateDer<'static>], host: &str) -> Option<Finding> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = rustls_platform_verifier::Verifier::new(provider).ok()?;
    let name = ServerName::try_from(host.to_owned()).ok()?;
    let (own, rest) = chain.split_first()?;
    let judged = verifier.verify_server_cert(own, rest, &name, &[], UnixTime::now());
    refused(chain, &judged.err()?.to_string())
}

/// What it means that `why` is said of the chain.
fn refused(chain: &[CertificateDer<'_>], why: &str) -> Option<Finding> {
    match TlsFault::of(why) {
        Some(TlsFault::UnknownAuthority) => {}
        // These are told already.
        Some(TlsFault::OtherName | TlsFault::Expired | TlsFault::NotYetValid | TlsFault::AuthorityAsServer) => {
            return None;
        }
        Some(TlsFault::NoTls) | None => {
            let seen = format!("this system does not accept it: {why}");
            return Some(Finding::new(Weight::Warning, Reason::CertificateUnusable, PLACE, seen).at("authority"));
        }
    }
    let (_, last) = X509Certificate::from_der(chain.last()?).ok()?;
    let issuer = last.issuer().to_string();
    if last.issuer().as_raw() == last.subject().as_raw() {
        let seen = format!("it leads to \"{issuer}\", which this system does not know");
        let finding = Finding::new(Weight::Hint, Reason::CertificateChain, PLACE, seen).at("authority");
        return Some(finding.change("See that the browsers of all who sign in know this authority."));
    }
    // Who says where the issuer's certificate can be fetched is below one that is published.
    let published = last.extensions().iter().any(|extension| {
        extension.oid == OID_PKIX_AUTHORITY_INFO_ACCESS
            && matches!(extension.parsed_extension(), ParsedExtension::AuthorityInfoAccess(_))
    });
    let seen = format!(
        "the file ends at a certificate by \"{issuer}\", which is not in it and which this system does not know"
    );
    let weight = if published { Weight::Warning } else { Weight::Hint };
    Some(Finding::new(weight, Reason::CertificateChain, PLACE, seen).at("chain"))
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

    use super::*;

    fn authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("an authority")
    }

    fn leaf(names: &[&str], by: &CertifiedIssuer<'static, KeyPair>, until: (i32, u8)) -> CertificateDer<'static> {
        let names: Vec<String> = names.iter().map(|name| name.to_string()).collect();
        let mut params = CertificateParams::new(names).expect("names");
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(until.0, until.1, 1);
        params.signed_by(&KeyPair::generate().expect("a key"), by).expect("a certificate").der().clone()
    }

    fn examined(settings: &str, chain: &[CertificateDer<'_>]) -> Vec<(Weight, Reason, String)> {
        let settings: Settings = toml::from_str(settings).expect("toml");
        let mut report = Report::default();
        // 2030-01-01
        judge(&settings, chain, SystemTime::UNIX_EPOCH + Duration::from_secs(1_893_456_000), &mut report);
        report.findings.into_iter().map(|found| (found.weight, found.reason, found.seen)).collect()
    }

    const DIRECT: &str = "public_url = 'https://a.example:8443'\n[listen]\naddress = '0.0.0.0:8443'";

    #[test]
    fn a_certificate_for_another_host_or_past_its_time_is_told() {
        let root = authority("root");
        let good = leaf(&["a.example"], &root, (2031, 1));
        assert_eq!(examined(DIRECT, &[good.clone(), root.der().clone()]), []);
        let found = examined(DIRECT, &[leaf(&["b.example", "*.a.example"], &root, (2029, 12))]);
        assert_eq!(found.len(), 2, "{found:?}");
        assert_eq!((found[0].0, found[0].1), (Weight::Broken, Reason::CertificateNames));
        assert_eq!(found[0].2, "expected a.example (`public_url`), got b.example, *.a.example");
        assert_eq!((found[1].0, found[1].1), (Weight::Broken, Reason::CertificateExpires));
        // Behind something that ends TLS the name may be another.
        let behind = examined("public_url = 'https://a.example'", &[leaf(&["b"], &root, (2031, 1))]);
        assert_eq!((behind[0].0, behind.len()), (Weight::Warning, 1));
        let routes = format!("{DIRECT}\n[[route]]\nhost = 'c.example'");
        assert_eq!(examined(&routes, std::slice::from_ref(&good))[0].0, Weight::Warning);
        let plain = examined(&DIRECT.replace("https", "http"), &[good]);
        assert_eq!((plain[0].0, plain[0].1), (Weight::Broken, Reason::SettingDoubtful));
    }

    #[test]
    fn an_authoritys_certificate_as_a_servers_is_told_with_how_to_make_another() {
        let mut params = CertificateParams::new(vec!["a.example".to_owned()]).expect("names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let made = params.self_signed(&KeyPair::generate().expect("a key")).expect("a certificate");
        let settings: Settings = toml::from_str(DIRECT).expect("toml");
        let mut report = Report::default();
        judge(&settings, &[made.der().clone()], SystemTime::now(), &mut report);
        let [found] = &report.findings[..] else { panic!("{:?}", report.findings) };
        assert_eq!((found.weight, found.reason), (Weight::Warning, Reason::CertificateUnusable));
        assert!(found.change.contains("CA:FALSE") && report.good.is_empty(), "{report:?}");
    }

    #[test]
    fn whatever_this_system_has_against_the_certificate_is_told_once() {
        use rustls::CertificateError::*;
        let chain = [leaf(&["a.example"], &authority("root"), (2031, 1))];
        let found = |error| {
            let found = refused(&chain, &rustls::Error::InvalidCertificate(error).to_string());
            found.map(|found| (found.weight, found.reason))
        };
        assert_eq!(found(UnknownIssuer), Some((Weight::Hint, Reason::CertificateChain)));
        for error in [InvalidPurpose, Revoked, BadSignature] {
            assert_eq!(found(error), Some((Weight::Warning, Reason::CertificateUnusable)));
        }
        // By `judge`.
        for error in [NotValidForName, Expired, NotValidYet] {
            assert_eq!(found(error), None);
        }
    }

    #[test]
    fn certificates_out_of_order_and_of_strangers_are_told() {
        let (root, stranger) = (authority("root"), authority("stranger"));
        let own = leaf(&["a.example"], &root, (2031, 1));
        let (root, stranger) = (root.der().clone(), stranger.der().clone());
        for chain in [vec![own.clone(), stranger.clone()], vec![own, stranger, root]] {
            let found = examined(DIRECT, &chain);
            assert!(matches!(&found[..], [(Weight::Warning, Reason::CertificateChain, _)]), "{found:?}");
        }
    }
}
