//! Private keys and certificates out of PEM text (RFC 7468).
//!
//! Promise: a failure is [`Reason::CertificateUnusable`] and says in one sentence part what is wrong with the text,
//! without a byte of it; the caller names the file.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use zeroize::Zeroizing;

use crate::reason::{Failure, Reason};

/// All private keys in `pem`, at least one: PKCS#8, PKCS#1 or SEC1, and none behind a password.
pub fn private_keys(pem: &str) -> Result<Vec<PrivateKeyDer<'static>>, Failure> {
    let keys: Result<Vec<_>, _> = PrivateKeyDer::pem_slice_iter(pem.as_bytes()).collect();
    let keys = keys.map_err(|error| no_pem("private key", &error))?;
    if keys.is_empty() {
        return Err(unusable(
            match pem.contains("BEGIN ENCRYPTED PRIVATE KEY") || pem.contains("Proc-Type: 4,ENCRYPTED") {
                true => "its private key is behind a password; expected one without",
                false => "it holds no PEM private key",
            },
        ));
    }
    Ok(keys)
}

/// The one private key in `pem`.
pub fn private_key(pem: &str) -> Result<PrivateKeyDer<'static>, Failure> {
    let mut keys = private_keys(pem)?;
    match (keys.pop(), keys.len()) {
        (Some(key), 0) => Ok(key),
        (_, others) => Err(unusable(format!("it holds {} private keys; expected one", others + 1))),
    }
}

/// All certificates in `pem`, at least one; the first is whose key it is about.
pub fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    let certificates = certificates.map_err(|error| no_pem("certificate", &error))?;
    if certificates.is_empty() {
        return Err(unusable("it holds no PEM certificate"));
    }
    Ok(certificates)
}

/// Whether the first of `certificates` is of the key `key`.
pub fn belong_together(certificates: &[CertificateDer<'static>], key: &PrivateKeyDer<'static>) -> Result<(), Failure> {
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    match CertifiedKey::from_der(certificates.to_vec(), key.clone_key(), &provider) {
        Ok(_) => Ok(()),
        Err(rustls::Error::InconsistentKeys(_)) => {
            Err(unusable("the certificate is of another key than the private key"))
        }
        Err(rustls::Error::InvalidCertificate(_)) => Err(unusable("its certificate cannot be read")),
        Err(_) => Err(unusable("its private key cannot be read")),
    }
}

/// `key` and `certificates` as one PEM text with nothing else in it.
pub fn one_text(key: &PrivateKeyDer<'_>, certificates: &[CertificateDer<'_>]) -> Zeroizing<String> {
    let kind = match key {
        PrivateKeyDer::Pkcs1(_) => "RSA PRIVATE KEY",
        PrivateKeyDer::Sec1(_) => "EC PRIVATE KEY",
        _ => "PRIVATE KEY",
    };
    let mut text = Zeroizing::new(String::new());
    let certificates = certificates.iter().map(|certificate| ("CERTIFICATE", certificate.as_ref()));
    for (kind, der) in [(kind, key.secret_der())].into_iter().chain(certificates) {
        let encoded = Zeroizing::new(STANDARD.encode(der));
        for line in ["-----BEGIN ", kind, "-----\n", encoded.as_str(), "\n-----END ", kind, "-----\n"] {
            text.push_str(line);
        }
    }
    text
}

/// [`Reason::CertificateUnusable`] with `why`.
pub fn unusable(why: impl Into<String>) -> Failure {
    Failure::new(Reason::CertificateUnusable, why)
}

/// Without rustls' own words, which quote the text.
fn no_pem(what: &str, error: &PemError) -> Failure {
    let why = match error {
        PemError::MissingSectionEnd { .. } => "a section without its end",
        PemError::Base64Decode(_) => "a section that is no base64",
        _ => "a line that is none of PEM",
    };
    unusable(format!("its {what} is no PEM: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made() -> (String, String) {
        let made = rcgen::generate_simple_self_signed(["a.example".into()]).expect("a certificate");
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    #[test]
    fn what_is_wrong_with_a_file_is_said_without_its_text() {
        let (certificate, key) = made();
        let cut = &key[..key.len() / 2];
        let broken = key.replacen('M', "*", 1);
        let locked = key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
        let keys = [
            ("", "it holds no PEM private key"),
            (&certificate, "it holds no PEM private key"),
            (cut, "its private key is no PEM: a section without its end"),
            (&broken, "its private key is no PEM: a section that is no base64"),
            (&locked, "its private key is behind a password; expected one without"),
            (&key.repeat(2), "it holds 2 private keys; expected one"),
        ];
        for (text, why) in keys {
            assert_eq!(private_key(text).map(drop), Err(unusable(why)));
        }
        assert_eq!(certificates(&key).map(drop), Err(unusable("it holds no PEM certificate")));
        assert!(private_key(&key).is_ok() && certificates(&certificate).is_ok());
    }

    #[test]
    fn a_certificate_of_another_key_is_named() {
        let ((certificate, key), (other, _)) = (made(), made());
        let key = private_key(&key).expect("a key");
        let together = |pem: &str| belong_together(&certificates(pem).expect("a certificate"), &key);
        assert_eq!(together(&certificate), Ok(()));
        assert_eq!(together(&other), Err(unusable("the certificate is of another key than the private key")));
        let garbage = [CertificateDer::from(vec![1, 2, 3])];
        assert_eq!(belong_together(&garbage, &key), Err(unusable("its certificate cannot be read")));
    }
}
