//! The certificate of the public listener: read whole, judged before it is shown, and another one while the gateway runs.
//!
//! Promise: a handshake is answered with certificate and key of one moment; connections that are open go on.

use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::config::model::Listen;
use crate::reason::{Failure, Reason};

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
/// [`Reason::CertificateUnusable`] where a file cannot be used, or where they do not belong together.
pub fn read(listen: &Listen) -> Result<Option<CertifiedKey>, Failure> {
    let (Some(certificate), Some(key)) = (&listen.tls_certificate_file, &listen.tls_key_file) else { return Ok(None) };
    let unusable =
        |path: &Path, e: String| Failure::new(Reason::CertificateUnusable, format!("{}: {e}", path.display()));
    let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(certificate).and_then(Iterator::collect);
    let chain = chain.map_err(|e| unusable(certificate, e.to_string()))?;
    if chain.is_empty() {
        return Err(unusable(certificate, "no certificate in it".into()));
    }
    let private = PrivateKeyDer::from_pem_file(key).map_err(|e| unusable(key, e.to_string()))?;
    let certified = CertifiedKey::from_der(chain, private, &aws_lc_rs::default_provider());
    certified.map(Some).map_err(|e| unusable(key, e.to_string()))
}
