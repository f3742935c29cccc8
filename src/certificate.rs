//! The certificate of the public listener: read whole, judged before it is shown, and another one while the gateway runs.
//!
//! Promise: a handshake is answered with certificate and key of one moment; connections that are open go on.

use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::crypto::aws_lc_rs;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::config::model::Listen;
use crate::pem;
use crate::reason::Failure;

/// The certificate that is in force.
#[derive(Debug)]
pub struct Certificate(ArcSwap<CertifiedKey>);

impl Certificate {
    pub fn new(certified: CertifiedKey) -> Certificate {
        Certificate(ArcSwap::from_pointee(certified))
    }

    /// From now on handshakes are answered with `certified`.
    pub fn replace(&self, certified: CertifiedKey) {
        self.0.store(Arc::new(certified));
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

/// Certificate and key that `listen` names; `None` where it names none.
///
/// [`CertificateUnusable`](crate::reason::Reason::CertificateUnusable) where a file cannot be used, or where they do not belong together.
pub fn read(listen: &Listen) -> Result<Option<CertifiedKey>, Failure> {
    let (Some(certificate), Some(key)) = (&listen.tls_certificate_file, &listen.tls_key_file) else { return Ok(None) };
    let chain = pem::certificates(&pem::read(certificate)?).map_err(|failure| pem::named(certificate, failure))?;
    let mut keys = pem::private_keys(&pem::read(key)?).map_err(|failure| pem::named(key, failure))?;
    // The first, where there are several.
    let private = keys.swap_remove(0);
    pem::belong_together(&chain, &private).map_err(|failure| pem::named(key, failure))?;
    let certified = CertifiedKey::from_der(chain, private, &aws_lc_rs::default_provider());
    certified.map(Some).map_err(|_| pem::named(key, pem::unusable("certificate and private key cannot be used")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_failure_quotes_a_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let made = rcgen::generate_simple_self_signed(["a.example".into()]).expect("a certificate");
        let at = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).expect("written");
            Some(path)
        };
        let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        let secret = "c2VjcmV0LW9mLXRoZS1rZXk=";
        let listen = |key: &str| Listen {
            tls_certificate_file: at("certificate.pem", &certificate),
            tls_key_file: at("key.pem", key),
            ..Listen::default()
        };
        assert!(read(&listen(&key)).is_ok_and(|found| found.is_some()));
        // A label that is broken, an end that is another one, and none.
        for broken in [
            format!("-----BEGIN {secret}\n{secret}\n"),
            format!("-----BEGIN PRIVATE KEY-----\n{secret}\n-----END {secret}-----\n"),
            format!("-----BEGIN PRIVATE KEY-----\n{secret}\n"),
            format!("-----BEGIN PRIVATE KEY-----\n{secret}\n-----END PRIVATE KEY-----\n"),
        ] {
            let failure = read(&listen(&broken)).expect_err("no key");
            let told = format!("{failure:?} {failure}");
            assert!(told.contains("key.pem") && !told.contains("c2Vj") && !told.contains("99, 50, 86"), "{told}");
        }
    }
}
