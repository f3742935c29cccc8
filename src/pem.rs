//! Private keys and certificates out of PEM text (RFC 7468).
//!
//! Promise: a failure is [`Reason::CertificateUnusable`] and says in one sentence part what is wrong with the text,
//! without a byte of it; the caller names the file.

use std::path::Path;

use aws_lc_rs::rsa::KeyPair as RsaKeyPair;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use zeroize::Zeroizing;

use crate::files;
use crate::reason::{Failure, Reason};

/// The authorities of a whole system take a quarter of it.
const LARGEST: u64 = 1024 * 1024;

/// The text of the file at `path`; a failure names it. PEM is ASCII, and what is not UTF-8 is a remark between its
/// sections.
pub fn read(path: impl AsRef<Path>) -> Result<String, Failure> {
    let path = path.as_ref();
    let bytes = files::read(path, LARGEST).map_err(|error| named(path, unusable(error.to_string())))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The failure with the file that it is about.
pub fn named(path: &Path, failure: Failure) -> Failure {
    Failure::new(failure.reason, format!("{}: {}", path.display(), failure.detail))
}

/// All private keys in `pem`, at least one: PKCS#8, PKCS#1 or SEC1, and none behind a password.
pub fn private_keys(pem: &str) -> Result<Vec<PrivateKeyDer<'static>>, Failure> {
    let keys: Result<Vec<_>, _> = PrivateKeyDer::pem_slice_iter(pem.as_bytes()).collect();
    let keys = keys.map_err(|error| no_pem("private key", &error))?;
    if keys.is_empty() {
        let locked = pem.contains("BEGIN ENCRYPTED PRIVATE KEY") || pem.contains("Proc-Type: 4,ENCRYPTED");
        return Err(unusable(match (locked, instead(pem)) {
            (true, _) => "its private key is behind a password; expected one without".to_owned(),
            (false, Some(instead)) => format!("it holds no PEM private key, but {instead}"),
            (false, None) => "it holds no PEM private key".to_owned(),
        }));
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
        return Err(unusable(match instead(pem) {
            Some(instead) => format!("it holds no PEM certificate, but {instead}"),
            None => "it holds no PEM certificate".to_owned(),
        }));
    }
    Ok(certificates)
}

/// What a file holds that was taken for another, and what to do about it; by its first lines alone.
fn instead(text: &str) -> Option<&'static str> {
    let holds = |label: &str| text.contains(&format!("-----BEGIN {label}-----"));
    let begins = |words: &[&str]| words.iter().any(|word| text.trim_start().starts_with(word));
    Some(match text {
        _ if text.trim().is_empty() => "nothing at all",
        _ if holds("OPENSSH PRIVATE KEY") => {
            "an OpenSSH key; convert a copy with `ssh-keygen -p -m PKCS8 -f FILE`, or make one with openssl"
        }
        _ if holds("CERTIFICATE REQUEST") || holds("NEW CERTIFICATE REQUEST") => {
            "a request for a certificate; an authority makes the certificate of it"
        }
        _ if holds("CERTIFICATE") => "a certificate; the private key is another file",
        _ if holds("PUBLIC KEY") || holds("RSA PUBLIC KEY") || begins(&["ssh-", "ecdsa-sha2-"]) => {
            "a public key; the private key is another file"
        }
        _ if holds("PRIVATE KEY") || holds("RSA PRIVATE KEY") || holds("EC PRIVATE KEY") => {
            "a private key; the certificate is another file"
        }
        // Every DER structure of these kinds is a SEQUENCE, whose bytes are no text.
        _ if text.starts_with('0') && text.contains([char::REPLACEMENT_CHARACTER, '\0']) => {
            "DER (or PKCS#12); convert it to PEM with openssl (`pkey -inform DER`, `x509 -inform DER`, `pkcs12 -nodes`)"
        }
        _ if begins(&["{", "["]) => "JSON; a JWK has to be converted to PEM",
        _ => return None,
    })
}

/// The RSA key that `der` is; `None` where it is a key of another kind, or one that cannot be read.
pub fn rsa(der: &PrivateKeyDer<'static>) -> Result<Option<RsaKeyPair>, Failure> {
    let (pair, inner) = match der {
        PrivateKeyDer::Pkcs8(der) => {
            let der = der.secret_pkcs8_der();
            (RsaKeyPair::from_pkcs8(der), inside_pkcs8(der))
        }
        PrivateKeyDer::Pkcs1(der) => (RsaKeyPair::from_der(der.secret_pkcs1_der()), Some(der.secret_pkcs1_der())),
        _ => return Ok(None),
    };
    match pair {
        Ok(pair) => Ok(Some(pair)),
        Err(_) if inner.and_then(modulus_bits).is_some_and(|bits| bits < MIN_RSA) => {
            Err(unusable(format!("its RSA key is shorter than {MIN_RSA} bit")))
        }
        Err(_) => Ok(None),
    }
}

/// Bits of an RSA key's modulus (RFC 7518 §3.3).
const MIN_RSA: usize = 2048;

/// Bits of the modulus in an `RSAPrivateKey` (RFC 8017 §A.1.2): version, modulus, and what is nobody's business here.
fn modulus_bits(der: &[u8]) -> Option<usize> {
    let (inner, _) = element(der, SEQUENCE)?;
    let (_, rest) = element(inner, INTEGER)?;
    let (modulus, _) = element(rest, INTEGER)?;
    let zeros: usize = modulus.iter().position(|&byte| byte != 0)?;
    let first = modulus.get(zeros)?;
    Some((modulus.len() - zeros) * 8 - first.leading_zeros() as usize)
}

/// The `privateKey` of a `PrivateKeyInfo` whose algorithm is rsaEncryption (RFC 5958 §2).
fn inside_pkcs8(der: &[u8]) -> Option<&[u8]> {
    const RSA_ENCRYPTION: [u8; 9] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
    let (inner, _) = element(der, SEQUENCE)?;
    let (_, rest) = element(inner, INTEGER)?;
    let (algorithm, rest) = element(rest, SEQUENCE)?;
    let (name, _) = element(algorithm, OBJECT_IDENTIFIER)?;
    let (key, _) = element(rest, OCTET_STRING)?;
    Some(key).filter(|_| name == RSA_ENCRYPTION)
}

const INTEGER: u8 = 0x02;
const OCTET_STRING: u8 = 0x04;
const OBJECT_IDENTIFIER: u8 = 0x06;
const SEQUENCE: u8 = 0x30;

/// The content of the DER element of that tag at the front, and what is behind it.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&found, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first().filter(|_| found == tag)?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        // No key takes more than three bytes to say how long it is.
        0x81..=0x83 => {
            let (length, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (length.iter().fold(0, |sum, &byte| sum << 8 | usize::from(byte)), rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length)
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
            ("", "it holds no PEM private key, but nothing at all"),
            ("hello", "it holds no PEM private key"),
            (&certificate, "it holds no PEM private key, but a certificate; the private key is another file"),
            (cut, "its private key is no PEM: a section without its end"),
            (&broken, "its private key is no PEM: a section that is no base64"),
            (&locked, "its private key is behind a password; expected one without"),
            (&key.repeat(2), "it holds 2 private keys; expected one"),
        ];
        for (text, why) in keys {
            assert_eq!(private_key(text).map(drop), Err(unusable(why)));
        }
        let why = "it holds no PEM certificate, but a private key; the certificate is another file";
        assert_eq!(certificates(&key).map(drop), Err(unusable(why)));
        assert!(private_key(&key).is_ok() && certificates(&certificate).is_ok());
    }

    #[test]
    fn what_a_file_holds_instead_is_said() {
        let openssh = "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n";
        let public = "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n";
        let request = "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n";
        let (_, key) = made();
        let der = String::from_utf8_lossy(private_key(&key).expect("a key").secret_der()).into_owned();
        for (text, wanted) in [
            (openssh, "an OpenSSH key; convert"),
            (public, "a public key; "),
            ("ssh-ed25519 AAAA a@b\n", "a public key; "),
            (request, "a request for a certificate"),
            (&der, "DER (or PKCS#12); convert"),
            ("{\"kty\":\"RSA\"}", "JSON; "),
        ] {
            let why = private_key(text).expect_err("no key").detail;
            assert!(why.starts_with(&format!("it holds no PEM private key, but {wanted}")), "{why}");
        }
    }

    /// A `PrivateKeyInfo` with the modulus `modulus`, and the one inside; it is no key otherwise.
    fn rsa_with(modulus: &[u8]) -> (Vec<u8>, Vec<u8>) {
        fn wrap(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
            let content = parts.concat();
            let length = u16::try_from(content.len()).expect("short").to_be_bytes();
            [&[tag, 0x82], &length[..], &content].concat()
        }
        let inner = wrap(SEQUENCE, &[&[INTEGER, 1, 0], &wrap(INTEGER, &[modulus]), &[INTEGER, 1, 3]]);
        let name = [OBJECT_IDENTIFIER, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 5, 0];
        let key = wrap(OCTET_STRING, &[&inner]);
        (wrap(SEQUENCE, &[&[INTEGER, 1, 0], &wrap(SEQUENCE, &[&name]), &key]), inner)
    }

    #[test]
    fn how_long_an_rsa_key_is_is_read_from_its_modulus() {
        for (modulus, bits) in [(&[0, 0x80, 0][..], 16), (&[0x7f][..], 7), (&[1, 0][..], 9)] {
            let (pkcs8, pkcs1) = rsa_with(modulus);
            assert_eq!((modulus_bits(&pkcs1), inside_pkcs8(&pkcs8)), (Some(bits), Some(&pkcs1[..])));
            // Cut anywhere it is no key, and nothing else happens.
            for end in 0..pkcs8.len() {
                assert!(inside_pkcs8(&pkcs8[..end]).is_none());
            }
        }
        assert_eq!(modulus_bits(&rsa_with(&[0, 0]).1), None);
        let short = PrivateKeyDer::Pkcs8(rsa_with(&[0xff; 255]).0.into());
        assert_eq!(rsa(&short).map(drop), Err(unusable("its RSA key is shorter than 2048 bit")));
        // Long enough, and no key all the same.
        let (pkcs8, pkcs1) = rsa_with(&[0xff; 256]);
        for der in [PrivateKeyDer::Pkcs8(pkcs8.into()), PrivateKeyDer::Pkcs1(pkcs1.into())] {
            assert!(matches!(rsa(&der), Ok(None)));
        }
        let (_, key) = made();
        assert!(matches!(rsa(&private_key(&key).expect("a key")), Ok(None)), "of another kind");
    }

    #[test]
    fn a_remark_in_another_encoding_does_not_spoil_a_file() {
        let (certificate, _) = made();
        let file = tempfile::NamedTempFile::new().expect("a file");
        let bytes = [b"Soci\xe9t\xe9\n", certificate.as_bytes()].concat();
        std::fs::write(file.path(), bytes).expect("written");
        assert_eq!(certificates(&read(file.path()).expect("text")).map(|found| found.len()), Ok(1));
        let missing = read("/does/not/exist.pem").expect_err("no file");
        assert!(missing.reason == Reason::CertificateUnusable && missing.detail.contains("exist.pem: "), "{missing}");
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
