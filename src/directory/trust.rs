//! TLS towards the directory: whom it is believed.

use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt;

use crate::config::model::Directory;
use crate::pem;
use crate::reason::{Failure, Reason};

/// The client's side of TLS: certificate and name are verified always, by the authorities of `ca_file` or the system's.
pub fn client(settings: &Directory) -> Result<Arc<ClientConfig>, Failure> {
    let internal = |e: rustls::Error| Failure::new(Reason::Internal, format!("TLS for the directory: {e}"));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(internal)?;
    let Some(file) = &settings.ca_file else {
        let unusable = |e: rustls::Error| {
            let detail = format!("the system's authorities cannot be used ({e}); `ca_file` of [ldap] names others");
            Failure::new(Reason::CertificateUnusable, detail)
        };
        return Ok(Arc::new(builder.with_platform_verifier().map_err(unusable)?.with_no_client_auth()));
    };
    let named = |failure| pem::named(file, failure);
    let mut roots = RootCertStore::empty();
    for certificate in pem::certificates(&pem::read(file)?).map_err(named)? {
        roots.add(certificate).map_err(|error| named(pem::unusable(error.to_string())))?;
    }
    Ok(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
}
