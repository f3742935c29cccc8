//! Certificates that exist only while a test runs.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair,
};

/// A certificate authority.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate and its key, as PEM.
pub struct Leaf {
    pub certificate: String,
    pub key: String,
}

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("a certificate");
        Authority { issuer }
    }

    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// A certificate for these names and addresses.
    pub fn leaf(&self, names: &[&str]) -> Leaf {
        self.leaf_with(names, |_| {})
    }

    /// A client's certificate: its subject is `CN=name`, its subject alternative name the DNS name `name`.
    pub fn client(&self, name: &str) -> Leaf {
        self.leaf_with(&[name], |params| {
            params.distinguished_name = DistinguishedName::new();
            params.distinguished_name.push(DnType::CommonName, name);
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        })
    }

    /// One that ended years ago.
    pub fn expired(&self, names: &[&str]) -> Leaf {
        self.leaf_with(names, |params| {
            params.not_before = rcgen::date_time_ymd(2001, 1, 1);
            params.not_after = rcgen::date_time_ymd(2002, 1, 1);
        })
    }

    fn leaf_with(&self, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Leaf {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(names).expect("names");
        change(&mut params);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        Leaf { certificate: certificate.pem(), key: key.serialize_pem() }
    }
}

impl Leaf {
    /// A client's certificate that it signed itself.
    pub fn self_signed(name: &str) -> Leaf {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).expect("a certificate");
        Leaf { certificate: made.cert.pem(), key: made.signing_key.serialize_pem() }
    }

    /// What `openssl req -x509` makes by itself: one that signed itself, and calls itself an authority's.
    pub fn self_signed_authority(name: &str) -> Leaf {
        let mut params = CertificateParams::new([name.to_owned()]).expect("names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        Leaf { certificate: certificate.pem(), key: key.serialize_pem() }
    }

    /// Certificate and key for a client of `reqwest`.
    pub fn identity(&self) -> reqwest::Identity {
        reqwest::Identity::from_pem(format!("{}{}", self.certificate, self.key).as_bytes()).expect("an identity")
    }

    /// Writes both files into `dir`: certificate, key.
    pub fn write(&self, dir: &Path) -> (PathBuf, PathBuf) {
        let (certificate, key) = (dir.join("leaf.pem"), dir.join("leaf.key"));
        std::fs::write(&certificate, &self.certificate).expect("certificate");
        std::fs::write(&key, &self.key).expect("key");
        (certificate, key)
    }

    /// SHA-256 of the public key, in base64, as a browser's list of exceptions has it.
    pub fn fingerprint(&self) -> String {
        use base64::Engine;
        let key = KeyPair::from_pem(&self.key).expect("the key");
        let info = rcgen::PublicKeyData::subject_public_key_info(&key);
        base64::engine::general_purpose::STANDARD.encode(ring::digest::digest(&ring::digest::SHA256, &info))
    }

    /// For a server that offers these protocols.
    pub fn server(&self, protocols: &[&[u8]]) -> rustls::ServerConfig {
        use rustls::pki_types::pem::PemObject;
        use rustls::pki_types::{CertificateDer, PrivateKeyDer};
        let chain = CertificateDer::pem_slice_iter(self.certificate.as_bytes()).map(|c| c.expect("PEM")).collect();
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).expect("PEM");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let mut config =
            builder.expect("versions").with_no_client_auth().with_single_cert(chain, key).expect("certificate and key");
        config.alpn_protocols = protocols.iter().map(|p| p.to_vec()).collect();
        config
    }
}
