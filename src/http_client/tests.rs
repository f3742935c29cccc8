//! Certificates that the client shows, against a server that asks for them.

use std::io::{Read, Write};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, SupportedProtocolVersion};

use super::*;
use crate::reason::Reason;

#[test]
fn a_document_is_fresh_as_long_as_its_answer_says() {
    let table = [
        (&[] as &[(&str, &str)], None),
        (&[("cache-control", "public, max-age=3600")], Some(3600)),
        (&[("cache-control", "max-age=3600"), ("age", "600")], Some(3000)),
        (&[("cache-control", "max-age=60"), ("age", "600")], Some(0)),
        (&[("cache-control", "public"), ("cache-control", "Max-Age=\"7\"")], Some(7)),
        (&[("cache-control", "max-age=60, max-age=90")], Some(60)),
        (&[("cache-control", "max-age=60, no-cache")], Some(0)),
        (&[("cache-control", "No-Store")], Some(0)),
        (&[("cache-control", "s-maxage=60")], None),
        (&[("cache-control", "max-age=soon")], None),
        (&[("cache-control", "max-age=-1")], None),
        (&[("cache-control", "max-age=99999999999999999999")], None),
    ];
    for (lines, expected) in table {
        let mut headers = http::HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().expect("a value"));
        }
        assert_eq!(fresh_for(&headers), expected.map(Duration::from_secs), "{lines:?}");
    }
}

/// A certificate authority, and one below it that vouches for clients.
struct Authority {
    root: CertifiedIssuer<'static, KeyPair>,
    below: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Authority {
        let params = || {
            let mut params = CertificateParams::new(Vec::new()).expect("parameters");
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params
        };
        let key = || KeyPair::generate().expect("a key");
        let root = CertifiedIssuer::self_signed(params(), key()).expect("a certificate");
        let below = CertifiedIssuer::signed_by(params(), key(), &root).expect("a certificate");
        Authority { root, below }
    }

    /// A certificate and its key.
    fn leaf(&self, name: &str) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new([name.to_owned()]).expect("parameters");
        (params.signed_by(&key, &self.below).expect("a certificate"), key)
    }

    /// A server that lets nobody in without a certificate of this authority, and answers with what it was shown.
    fn server(&self, version: &'static SupportedProtocolVersion) -> Url {
        let mut roots = RootCertStore::empty();
        roots.add(self.root.der().clone()).expect("an authority");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let asks = WebPkiClientVerifier::builder_with_provider(roots.into(), Arc::clone(&provider));
        let (certificate, key) = self.leaf("127.0.0.1");
        let key = rustls::pki_types::PrivatePkcs8KeyDer::from(key.serialize_der());
        let config =
            ServerConfig::builder_with_provider(provider).with_protocol_versions(&[version]).expect("a version");
        let config = config.with_client_cert_verifier(asks.build().expect("a verifier"));
        let chain = vec![certificate.der().clone(), self.below.der().clone()];
        let config = Arc::new(config.with_single_cert(chain, key.into()).expect("a configuration"));
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("https://{}/", listener.local_addr().expect("an address")).parse().expect("an address");
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let connection = ServerConnection::new(Arc::clone(&config)).expect("a connection");
                let mut tls = rustls::StreamOwned::new(connection, stream);
                if tls.read(&mut [0; 4096]).is_ok() {
                    let shown = tls.conn.peer_certificates().unwrap_or_default();
                    let shown: Vec<String> = shown.iter().map(|one| format!("{:?}", one.as_ref())).collect();
                    let body = format!("[{}]", shown.join(","));
                    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close";
                    let _ = write!(tls, "{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
                    tls.conn.send_close_notify();
                    let _ = tls.flush();
                }
                // To its end: closing with something unread would take the alert back.
                let _ = std::io::copy(&mut tls.sock, &mut std::io::sink());
            }
        });
        url
    }
}

#[tokio::test]
async fn a_server_that_asks_for_a_certificate_is_shown_the_configured_one() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let directory = tempfile::tempdir().expect("a directory");
    let ca_file = directory.path().join("ca.pem");
    std::fs::write(&ca_file, authority.root.pem()).expect("written");
    let (leaf, key) = authority.leaf("doorward");
    let (strange, strange_key) = stranger.leaf("doorward");
    let chain = leaf.pem() + &authority.below.pem();
    let shown = serde_json::json!([leaf.der().to_vec(), authority.below.der().to_vec()]);
    let both = chain.clone() + &key.serialize_pem();
    let good = [
        Identity::from_pem(&chain, &key.serialize_pem()).expect("an identity"),
        Identity::from_pem(&both, &both).expect("one file with both"),
    ];
    let bad = [
        None,
        Some(Identity::from_pem(&leaf.pem(), &key.serialize_pem()).expect("without the authority between")),
        Some(Identity::from_pem(&strange.pem(), &strange_key.serialize_pem()).expect("a stranger's")),
    ];
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let url = authority.server(version);
        let get = async |identity: Option<&Identity>| {
            let client = HttpClient::new(Duration::from_secs(10), Some(&ca_file), identity).expect("a client");
            client.get_json(&url, None).await
        };
        for identity in &good {
            let body = get(Some(identity)).await.expect("let in");
            assert_eq!(serde_json::from_slice::<serde_json::Value>(&body).expect("JSON"), shown);
        }
        for identity in &bad {
            let refused = get(identity.as_ref()).await;
            assert!(matches!(refused, Err(HttpError::Tls(_))), "{version:?}: {refused:?}");
        }
    }
    let Err(HttpError::Tls(why)) = HttpClient::new(Duration::from_secs(10), Some(&ca_file), None)
        .expect("a client")
        .get_json(&authority.server(&rustls::version::TLS13), None)
        .await
    else {
        panic!("without a certificate")
    };
    assert!(why.contains("CertificateRequired"), "{why}");
}

#[test]
fn an_identity_that_cannot_be_used_is_refused_with_its_fault() {
    let authority = Authority::new();
    let ((leaf, key), (_, other)) = (authority.leaf("a"), authority.leaf("a"));
    let (leaf, key, other) = (leaf.pem(), key.serialize_pem(), other.serialize_pem());
    let table = [
        (&leaf, &other, "the certificate is of another key than the private key"),
        (&key, &key, "it holds no PEM certificate, but a private key; the certificate is another file"),
        (&leaf, &leaf, "it holds no PEM private key, but a certificate; the private key is another file"),
    ];
    for (certificate, key, why) in table {
        let refused = Identity::from_pem(certificate, key).map(drop);
        assert_eq!(refused, Err(Failure::new(Reason::CertificateUnusable, why)));
    }
    assert_eq!(format!("{:?}", Identity::from_pem(&leaf, &key).expect("an identity")), "Identity");
}
