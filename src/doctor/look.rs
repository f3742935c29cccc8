//! A look at the certificate that a server shows.
//!
//! Promise: the handshake is broken off when the certificate is there, so nothing is ever said to a server that was only
//! looked at, and nothing it says is believed.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, Error, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::trust;
use crate::x509::Certificate;

/// What a server shows of itself: its certificate, and those it sends along.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Shown {
    pub chain: Vec<Certificate>,
    /// Why there is no certificate.
    pub failure: Option<String>,
}

/// Looks at what the server at the other end of `stream` shows for `host`.
pub(super) async fn look(stream: TcpStream, host: &str) -> Shown {
    let failed = |why: String| Shown { chain: Vec::new(), failure: Some(why) };
    let Ok(name) = ServerName::try_from(host.trim_matches(['[', ']']).to_owned()) else {
        return failed(format!("`{host}` is no name that a certificate could hold"));
    };
    let builder = match trust::begun() {
        Ok(builder) => builder,
        Err(error) => return failed(error.to_string()),
    };
    let looker = Arc::new(Looker { provider: Arc::clone(builder.crypto_provider()), seen: Mutex::default() });
    let verifier: Arc<dyn ServerCertVerifier> = looker.clone();
    let config = builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
    let ended = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
    let seen = std::mem::take(&mut *looker.seen.lock().unwrap_or_else(PoisonError::into_inner));
    match ended {
        Err(error) if seen.is_empty() => failed(error.to_string()),
        _ => Shown { chain: seen, failure: None },
    }
}

/// Sees certificates and accepts none.
struct Looker {
    provider: Arc<CryptoProvider>,
    seen: Mutex<Vec<Certificate>>,
}

impl fmt::Debug for Looker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Looker")
    }
}

fn only_looking() -> Error {
    Error::General("only looked at".to_owned())
}

impl ServerCertVerifier for Looker {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let chain = std::iter::once(end_entity).chain(intermediates).filter_map(|der| Certificate::read(der));
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = chain.collect();
        Err(only_looking())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(only_looking())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(only_looking())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
