//! The client's side of TLS where no HTTP library makes it: whom it is believed.

use std::path::Path;
use std::sync::Arc;

use rustls::client::WantsClientCert;
use rustls::{ClientConfig, ConfigBuilder, RootCertStore, WantsVerifier};
use rustls_platform_verifier::BuilderVerifierExt;

use crate::pem;
use crate::reason::{Failure, Reason};

/// Versions and cryptography, before it is said who is believed.
pub fn begun() -> Result<ConfigBuilder<ClientConfig, WantsVerifier>, rustls::Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()
}

/// Certificate and name are verified always, by the authorities of `ca_file` or the system's.
pub fn client(ca_file: Option<&Path>) -> Result<Arc<ClientConfig>, Failure> {
    let builder = begun().map_err(|e| Failure::new(Reason::Internal, format!("TLS: {e}")))?;
    let verified: ConfigBuilder<ClientConfig, WantsClientCert> = match ca_file {
        Some(file) => builder.with_root_certificates(authorities(file)?),
        None => builder.with_platform_verifier().map_err(|e| {
            let detail = format!("the system's authorities cannot be used ({e}); a `ca_file` names others");
            Failure::new(Reason::CertificateUnusable, detail)
        })?,
    };
    Ok(Arc::new(verified.with_no_client_auth()))
}

fn authorities(file: &Path) -> Result<RootCertStore, Failure> {
    let named = |failure| pem::named(file, failure);
    let mut roots = RootCertStore::empty();
    for certificate in pem::certificates(&pem::read(file)?).map_err(named)? {
        roots.add(certificate).map_err(|error| named(pem::unusable(error.to_string())))?;
    }
    Ok(roots)
}
