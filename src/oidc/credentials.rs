//! How we authenticate to a token endpoint by a signed assertion: `private_key_jwt` and `client_secret_jwt` (RFC 7523
//! §2.2, OpenID Connect Core §9).
//!
//! Promise: an assertion is made for one request, names one audience, and is worth nothing a minute later; the key stays
//! here.

use std::time::SystemTime;

use aws_lc_rs::digest::{Algorithm, SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use aws_lc_rs::hmac;
use aws_lc_rs::rand::{self, SystemRandom};
use aws_lc_rs::rsa::KeyPair as RsaKeyPair;
use aws_lc_rs::signature::{self as sig, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair, RsaEncoding};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Map, Value, json};

use crate::clock::unix_seconds;
use crate::config::model::TokenAlgorithm::{self, *};
use crate::config::values::Secret;
use crate::jwk;
use crate::pem::{self, unusable};
use crate::reason::{Failure, Reason};

/// `client_assertion_type` of a request with an assertion (RFC 7523 §2.2).
pub const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// Seconds that an assertion is good for.
const LIFETIME: u64 = 60;

/// Signs assertions for `private_key_jwt` and `client_secret_jwt`.
pub struct AssertionSigner {
    key: Key,
    /// Header of every assertion, encoded.
    header: String,
    /// The public key, where there is one.
    public: Option<Value>,
}

enum Key {
    Rsa(RsaKeyPair, &'static dyn RsaEncoding),
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    Hmac(Box<hmac::Key>),
}

impl std::fmt::Debug for AssertionSigner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AssertionSigner")
    }
}

impl AssertionSigner {
    /// Signs with the private key in `key_pem`: RSA of 2048 bit or more, P-256, P-384 or Ed25519. The key decides the
    /// algorithm, RS256 for RSA, unless `algorithm` asks for another that it is good for. `key_id` becomes `kid`; the
    /// first certificate in `certificate_pem`, which must be of this key, becomes `x5t` and `x5t#S256`, by which Entra
    /// finds the key. [`Reason::CertificateUnusable`] says what is wrong with them.
    pub fn from_key(
        key_pem: &str,
        algorithm: Option<TokenAlgorithm>,
        key_id: Option<&str>,
        certificate_pem: Option<&str>,
    ) -> Result<AssertionSigner, Failure> {
        let der = pem::private_key(key_pem)?;
        let (key, algorithm) = Key::read(&der, algorithm)?;
        let mut header = Map::new();
        if let Some(pem) = certificate_pem {
            let certificates = pem::certificates(pem)?;
            pem::belong_together(&certificates, &der)?;
            for (name, hash) in [("x5t", &SHA1_FOR_LEGACY_USE_ONLY), ("x5t#S256", &SHA256)] {
                header.extend(certificates.first().map(|first| (name.to_owned(), thumbprint(hash, first))));
            }
        }
        let mut public = key.public_jwk();
        header.extend(key_id.map(|id| ("kid".to_owned(), json!(id))));
        if let Some(public) = public.as_mut().and_then(Value::as_object_mut) {
            public.extend([("use".to_owned(), json!("sig")), ("alg".to_owned(), json!(algorithm))]);
            public.extend(key_id.map(|id| ("kid".to_owned(), json!(id))));
        }
        Ok(AssertionSigner { key, header: encoded_header(header, algorithm), public })
    }

    /// Signs with the bytes of the client secret: HS256, or HS384 or HS512 where `algorithm` says so. Any other is
    /// [`Reason::ConfigInvalid`].
    pub fn from_secret(secret: &Secret, algorithm: Option<TokenAlgorithm>) -> Result<AssertionSigner, Failure> {
        let algorithm = algorithm.unwrap_or(HS256);
        let hash = match algorithm {
            HS256 => hmac::HMAC_SHA256,
            HS384 => hmac::HMAC_SHA384,
            HS512 => hmac::HMAC_SHA512,
            other => {
                let detail = format!("a client secret cannot sign with {other:?}; expected HS256, HS384 or HS512");
                return Err(Failure::new(Reason::ConfigInvalid, detail));
            }
        };
        let key = Key::Hmac(Box::new(hmac::Key::new(hash, secret.expose().as_bytes())));
        Ok(AssertionSigner { key, header: encoded_header(Map::new(), algorithm), public: None })
    }

    /// A fresh assertion that `client_id` is asking `audience`, and nobody else.
    pub fn assertion(&self, client_id: &str, audience: &str, now: SystemTime) -> Result<Secret, Failure> {
        let internal = |what: &str| Failure::new(Reason::Internal, what);
        let mut id = [0; 16];
        rand::fill(&mut id).map_err(|_| internal("the system's random source failed"))?;
        let now = unix_seconds(now);
        let claims = json!({
            "iss": client_id,
            "sub": client_id,
            "aud": audience,
            "jti": URL_SAFE_NO_PAD.encode(id),
            "iat": now,
            "exp": now + LIFETIME,
        });
        let mut token = format!("{}.{}", self.header, URL_SAFE_NO_PAD.encode(claims.to_string()));
        let signature = self.key.sign(token.as_bytes()).ok_or_else(|| internal("an assertion could not be signed"))?;
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        Ok(Secret::new(token))
    }

    /// The public key as a JWK (RFC 7517), for the registration at the provider. `None` for a secret.
    pub fn public_jwk(&self) -> Option<Value> {
        self.public.clone()
    }
}

impl Key {
    /// The key, and the algorithm that it signs with.
    fn read(der: &PrivateKeyDer<'static>, asked: Option<TokenAlgorithm>) -> Result<(Key, TokenAlgorithm), Failure> {
        if let Some(pair) = pem::rsa(der)? {
            let algorithm = asked.unwrap_or(RS256);
            let encoding = rsa_encoding(algorithm).ok_or_else(|| not_for(algorithm, "RSA"))?;
            return Ok((Key::Rsa(pair, encoding), algorithm));
        }
        let ecdsa: [(&str, TokenAlgorithm, &'static EcdsaSigningAlgorithm); 2] = [
            ("P-256", ES256, &sig::ECDSA_P256_SHA256_FIXED_SIGNING),
            ("P-384", ES384, &sig::ECDSA_P384_SHA384_FIXED_SIGNING),
        ];
        let ecdsa = ecdsa.into_iter().find_map(|(curve, algorithm, signing)| {
            let pair = EcdsaKeyPair::from_private_key_der(signing, der.secret_der()).ok()?;
            Some((Key::Ecdsa(pair), curve, algorithm))
        });
        let ed25519 = || {
            let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der.secret_der()).ok()?;
            Some((Key::Ed25519(pair), "Ed25519", EdDSA))
        };
        match ecdsa.or_else(ed25519) {
            Some((key, _, algorithm)) if asked.is_none_or(|asked| asked == algorithm) => Ok((key, algorithm)),
            Some((_, kind, algorithm)) => Err(not_for(asked.unwrap_or(algorithm), kind)),
            None => Err(unusable("its private key cannot be used; expected RSA, P-256, P-384 or Ed25519")),
        }
    }

    fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        match self {
            Key::Rsa(pair, encoding) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(*encoding, &SystemRandom::new(), message, &mut signature).ok()?;
                Some(signature)
            }
            Key::Ecdsa(pair) => Some(pair.sign(&SystemRandom::new(), message).ok()?.as_ref().to_vec()),
            Key::Ed25519(pair) => Some(pair.try_sign(message).ok()?.as_ref().to_vec()),
            Key::Hmac(key) => Some(hmac::sign(key, message).as_ref().to_vec()),
        }
    }

    fn public_jwk(&self) -> Option<Value> {
        match self {
            Key::Rsa(pair, _) => Some(jwk::rsa(pair.public_key())),
            Key::Ecdsa(pair) => {
                let point = pair.public_key().as_ref();
                jwk::elliptic(if point.len() == 65 { "P-256" } else { "P-384" }, point)
            }
            Key::Ed25519(pair) => Some(jwk::ed25519(pair.public_key().as_ref())),
            Key::Hmac(_) => None,
        }
    }
}

fn rsa_encoding(algorithm: TokenAlgorithm) -> Option<&'static dyn RsaEncoding> {
    Some(match algorithm {
        RS256 => &sig::RSA_PKCS1_SHA256,
        RS384 => &sig::RSA_PKCS1_SHA384,
        RS512 => &sig::RSA_PKCS1_SHA512,
        PS256 => &sig::RSA_PSS_SHA256,
        PS384 => &sig::RSA_PSS_SHA384,
        PS512 => &sig::RSA_PSS_SHA512,
        _ => return None,
    })
}

fn not_for(algorithm: TokenAlgorithm, kind: &str) -> Failure {
    unusable(format!("its private key is {kind}, which does not sign with {algorithm:?}"))
}

/// RFC 7515 §4.1.7, §4.1.8.
fn thumbprint(hash: &'static Algorithm, certificate: &CertificateDer<'_>) -> Value {
    json!(URL_SAFE_NO_PAD.encode(digest(hash, certificate)))
}

fn encoded_header(mut header: Map<String, Value>, algorithm: TokenAlgorithm) -> String {
    header.extend([("alg".to_owned(), json!(algorithm)), ("typ".to_owned(), json!("JWT"))]);
    URL_SAFE_NO_PAD.encode(Value::Object(header).to_string())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::process::Command;
    use std::time::{Duration, UNIX_EPOCH};

    use jsonwebtoken::{Algorithm as Theirs, DecodingKey, Validation, decode, decode_header};

    use super::*;

    const AUDIENCE: &str = "https://id.example/token";
    const NOW: u64 = 1_900_000_000;

    /// A private key as another implementation writes it: PKCS#8, unless `kind` says otherwise.
    fn key(options: &str, kind: &str) -> String {
        let script = format!(
            "const k = require('node:crypto').generateKeyPairSync({options}).privateKey;\
             process.stdout.write(k.export({{ type: '{kind}', format: 'pem' }}))"
        );
        let output = Command::new("node").args(["-e", &script]).output().expect("node");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    }

    fn rsa(bits: u32) -> String {
        key(&format!("'rsa', {{ modulusLength: {bits} }}"), "pkcs8")
    }

    fn ec(curve: &str, kind: &str) -> String {
        key(&format!("'ec', {{ namedCurve: '{curve}' }}"), kind)
    }

    fn certificate(key_pem: &str) -> rcgen::Certificate {
        let key = rcgen::KeyPair::from_pem(key_pem).expect("a key");
        rcgen::CertificateParams::new(Vec::new()).expect("parameters").self_signed(&key).expect("a certificate")
    }

    fn assertion(signer: &AssertionSigner) -> Secret {
        signer.assertion("wb", AUDIENCE, UNIX_EPOCH + Duration::from_secs(NOW)).expect("an assertion")
    }

    /// The claims, as a second implementation reads them.
    fn claims(token: &Secret, key: &DecodingKey, algorithm: Theirs) -> Result<Map<String, Value>, String> {
        let mut rules = Validation::new(algorithm);
        rules.set_audience(&[AUDIENCE]);
        rules.set_issuer(&["wb"]);
        rules.set_required_spec_claims(&["exp", "aud", "iss", "sub"]);
        decode(token.expose(), key, &rules).map(|token| token.claims).map_err(|error| error.to_string())
    }

    fn published(signer: &AssertionSigner) -> DecodingKey {
        let jwk = signer.public_jwk().expect("a public key");
        DecodingKey::from_jwk(&serde_json::from_value(jwk).expect("a JWK")).expect("a key")
    }

    #[test]
    fn another_implementation_accepts_what_every_kind_of_key_signs() {
        let rsa_pem = rsa(2048);
        let table = [
            (rsa_pem.clone(), None, Theirs::RS256),
            (rsa_pem.clone(), Some(RS384), Theirs::RS384),
            (rsa_pem.clone(), Some(RS512), Theirs::RS512),
            (rsa_pem.clone(), Some(PS256), Theirs::PS256),
            (rsa_pem.clone(), Some(PS384), Theirs::PS384),
            (rsa_pem, Some(PS512), Theirs::PS512),
            (key("'rsa', { modulusLength: 3072 }", "pkcs1"), None, Theirs::RS256),
            (ec("P-256", "pkcs8"), None, Theirs::ES256),
            (ec("P-256", "sec1"), Some(ES256), Theirs::ES256),
            (ec("P-384", "pkcs8"), None, Theirs::ES384),
            (ec("P-384", "sec1"), None, Theirs::ES384),
            (key("'ed25519', {}", "pkcs8"), None, Theirs::EdDSA),
        ];
        let other = AssertionSigner::from_key(&rsa(2048), None, None, None).expect("a signer");
        for (pem, algorithm, theirs) in table {
            let signer = AssertionSigner::from_key(&pem, algorithm, Some("key \"1\""), None).expect("a signer");
            let token = assertion(&signer);
            let claims = claims(&token, &published(&signer), theirs).expect("accepted");
            assert_eq!(claims.keys().collect::<Vec<_>>(), ["aud", "exp", "iat", "iss", "jti", "sub"]);
            assert_eq!((&claims["sub"], &claims["aud"]), (&json!("wb"), &json!(AUDIENCE)));
            assert_eq!((&claims["iat"], &claims["exp"]), (&json!(NOW), &json!(NOW + 60)));
            let header = decode_header(token.expose()).expect("header");
            assert_eq!((header.alg, header.kid.as_deref()), (theirs, Some("key \"1\"")));
            assert_eq!((header.x5t, header.x5t_s256), (None, None));
            let jwk = signer.public_jwk().expect("a public key");
            assert_eq!((&jwk["kid"], &jwk["use"]), (&json!("key \"1\""), &json!("sig")));
            assert_eq!(jwk["alg"], json!(format!("{theirs:?}")));
            assert!(["d", "p", "q", "k"].iter().all(|name| jwk.get(*name).is_none()), "nothing private");
            if theirs == Theirs::RS256 {
                assert!(self::claims(&token, &published(&other), theirs).is_err(), "by another key");
            }
        }
        assert_eq!(format!("{other:?}"), "AssertionSigner");
        let header = decode_header(assertion(&other).expose()).expect("header");
        assert_eq!(header.kid, None);
        assert_eq!(other.public_jwk().expect("a public key").get("kid"), None);
    }

    #[test]
    fn a_client_secret_signs_with_its_bytes() {
        let secret = Secret::new("a client's sécret of some length");
        let key = DecodingKey::from_secret(secret.expose().as_bytes());
        for (algorithm, theirs) in [
            (None, Theirs::HS256),
            (Some(HS256), Theirs::HS256),
            (Some(HS384), Theirs::HS384),
            (Some(HS512), Theirs::HS512),
        ] {
            let signer = AssertionSigner::from_secret(&secret, algorithm).expect("a signer");
            assert_eq!(claims(&assertion(&signer), &key, theirs).expect("accepted")["iss"], json!("wb"));
            assert_eq!(signer.public_jwk(), None);
            let other = DecodingKey::from_secret(b"another secret");
            assert!(claims(&assertion(&signer), &other, theirs).is_err());
        }
        let refused = AssertionSigner::from_secret(&secret, Some(RS256)).expect_err("no key pair");
        assert_eq!(refused.reason, Reason::ConfigInvalid);
        assert_eq!(refused.detail, "a client secret cannot sign with RS256; expected HS256, HS384 or HS512");
    }

    #[test]
    fn no_two_assertions_have_the_same_id() {
        let signer = AssertionSigner::from_secret(&Secret::new("a secret"), None).expect("a signer");
        let key = DecodingKey::from_secret(b"a secret");
        let id = |_| claims(&assertion(&signer), &key, Theirs::HS256).expect("accepted")["jti"].to_string();
        assert_eq!((0..100).map(id).collect::<HashSet<_>>().len(), 100);
    }

    #[test]
    fn the_certificate_s_thumbprints_stand_in_the_header() {
        for pem in [rsa(2048), ec("P-256", "pkcs8"), key("'ed25519', {}", "pkcs8")] {
            let certificate = certificate(&pem);
            let issuer = self::certificate(&ec("P-256", "pkcs8"));
            let chain = certificate.pem() + &issuer.pem();
            let signer = AssertionSigner::from_key(&pem, None, None, Some(&chain)).expect("a signer");
            let header = decode_header(assertion(&signer).expose()).expect("header");
            // A second opinion on the digests, too.
            let hash = |hash| URL_SAFE_NO_PAD.encode(ring::digest::digest(hash, certificate.der()));
            assert_eq!(header.x5t, Some(hash(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY)));
            assert_eq!(header.x5t_s256, Some(hash(&ring::digest::SHA256)));
            assert_eq!(header.kid, None);
        }
    }

    #[test]
    fn what_cannot_be_used_is_refused_with_its_fault() {
        let (p256, p384, rsa_pem) = (ec("P-256", "pkcs8"), ec("P-384", "pkcs8"), rsa(2048));
        let cannot = "its private key cannot be used; expected RSA, P-256, P-384 or Ed25519";
        let table = [
            (rsa(1024), None, None, "its RSA key is shorter than 2048 bit"),
            (ec("P-521", "pkcs8"), None, None, cannot),
            (ec("secp256k1", "pkcs8"), None, None, cannot),
            (key("'ed448', {}", "pkcs8"), None, None, cannot),
            (rsa_pem.clone(), Some(ES256), None, "its private key is RSA, which does not sign with ES256"),
            (rsa_pem.clone(), Some(HS256), None, "its private key is RSA, which does not sign with HS256"),
            (p256.clone(), Some(RS256), None, "its private key is P-256, which does not sign with RS256"),
            (p384.clone(), Some(ES256), None, "its private key is P-384, which does not sign with ES256"),
            (
                certificate(&p256).pem(),
                None,
                None,
                "it holds no PEM private key, but a certificate; the private key is another file",
            ),
            (p256.clone() + &p384, None, None, "it holds 2 private keys; expected one"),
            (
                p256.clone(),
                None,
                Some(certificate(&p384).pem()),
                "the certificate is of another key than the private key",
            ),
            (
                rsa_pem,
                None,
                Some(certificate(&rsa(2048)).pem()),
                "the certificate is of another key than the private key",
            ),
            (
                p256.clone(),
                None,
                Some(p256.clone()),
                "it holds no PEM certificate, but a private key; the certificate is another file",
            ),
        ];
        for (pem, algorithm, certificate, why) in table {
            let refused = AssertionSigner::from_key(&pem, algorithm, None, certificate.as_deref()).map(drop);
            assert_eq!(refused, Err(Failure::new(Reason::CertificateUnusable, why)));
        }
    }
}
