//! What a certificate says (RFC 5280): for people who have to find out why it is not accepted.
//!
//! Nothing here decides whether a certificate is good; rustls does.

use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;
use x509_parser::time::ASN1Time;
use x509_parser::x509::X509Name;

/// What there is to tell of one certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// Host names and addresses it is for.
    pub names: Vec<String>,
    pub subject: String,
    /// Who signed it; the subject where it signed itself.
    pub issuer: String,
    pub not_before: SystemTime,
    pub not_after: SystemTime,
}

impl Certificate {
    /// `None` where `der` is no certificate.
    pub fn read(der: &[u8]) -> Option<Certificate> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let names = names(&certificate);
        let validity = certificate.validity();
        Some(Certificate {
            names,
            subject: called(certificate.subject()),
            issuer: called(certificate.issuer()),
            not_before: moment(validity.not_before),
            not_after: moment(validity.not_after),
        })
    }

    /// Whether it names itself as its authority.
    pub fn is_self_signed(&self) -> bool {
        self.subject == self.issuer
    }
}

/// The names that clients go by, in small letters: the subject's common name is none of them any more (RFC 9525 §2).
pub fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let names = certificate.subject_alternative_name().ok().flatten();
    names.iter().flat_map(|extension| &extension.value.general_names).filter_map(name).collect()
}

/// Whether one of `names` is that of `host`; a star stands for one label (RFC 9525 §6.3).
pub fn covers(names: &[String], host: &str) -> bool {
    let host = host.trim_matches(['[', ']']).to_ascii_lowercase();
    names.iter().any(|name| match name.strip_prefix("*.") {
        Some(rest) => host.split_once('.').is_some_and(|(label, domain)| !label.is_empty() && domain == rest),
        None => *name == host,
    })
}

fn name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        GeneralName::IPAddress(bytes) => {
            let v4 = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
            v4.or_else(|_| <[u8; 16]>::try_from(*bytes).map(IpAddr::from)).ok().map(|address| address.to_string())
        }
        _ => None,
    }
}

/// The common name, by which people know an authority, or all of it.
fn called(name: &X509Name<'_>) -> String {
    let common = name.iter_common_name().next().and_then(|common| common.as_str().ok());
    common.map_or_else(|| name.to_string(), str::to_owned)
}

fn moment(time: ASN1Time) -> SystemTime {
    let seconds = Duration::from_secs(time.timestamp().unsigned_abs());
    match time.timestamp() >= 0 {
        true => UNIX_EPOCH + seconds,
        false => UNIX_EPOCH - seconds,
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, date_time_ymd};

    use super::*;

    #[test]
    fn a_certificate_tells_its_names_its_days_and_who_signed_it() {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(["login.example".to_owned(), "127.0.0.1".to_owned()]).expect("names");
        params.distinguished_name.push(DnType::CommonName, "Example Root");
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2021, 1, 1);
        let der = params.self_signed(&key).expect("a certificate");
        let read = Certificate::read(der.der()).expect("a certificate");
        assert_eq!(read.names, ["login.example", "127.0.0.1"]);
        assert_eq!((read.issuer.as_str(), read.is_self_signed()), ("Example Root", true));
        assert_eq!(read.not_before, UNIX_EPOCH + Duration::from_secs(1_577_836_800));
        assert_eq!(read.not_after, UNIX_EPOCH + Duration::from_secs(1_609_459_200));
        assert_eq!(Certificate::read(b"no certificate"), None);
    }

    #[test]
    fn a_star_stands_for_one_label() {
        let names = ["*.a.example".to_owned(), "10.0.0.1".to_owned(), "::1".to_owned()];
        for (host, wanted) in [
            ("x.a.example", true),
            ("X.A.example", true),
            ("a.example", false),
            ("x.y.a.example", false),
            ("10.0.0.1", true),
            ("[::1]", true),
            ("b.example", false),
        ] {
            assert_eq!(covers(&names, host), wanted, "{host}");
        }
    }
}
