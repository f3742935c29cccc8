//! The gateway as a provider's client: what it authenticates with, and how.

use super::Judge;
use crate::config::model::{AssertionAudience, ClientAuth, Provider};
use crate::config::origin::KeyPath;
use crate::pem;
use crate::reason::Reason;

impl Judge<'_> {
    pub(super) fn client(&mut self, key: &KeyPath, provider: &Provider) {
        if provider.client_id.trim().is_empty() {
            self.error(&key.key("client_id"), "is empty", "set it to the client id that the provider gave");
        }
        if provider.client_secret.as_ref().is_some_and(|secret| secret.expose().trim().is_empty()) {
            let hint = "set it, or take the line away for a public client";
            self.error_because(Reason::SecretMissing, &key.key("client_secret"), "is empty", hint);
        }
        self.means(key, provider);
        self.key_options(key, provider);
        self.id_token_algorithms(key, provider);
        self.keys(key, provider);
    }

    /// Keys and certificates in files. What they are good for is seen at the start; here it is seen that they are some.
    fn keys(&mut self, key: &KeyPath, provider: &Provider) {
        let own = self.pem(&key.key("client_key_file"), provider.client_key_file.as_deref(), pem::private_key);
        let place = key.key("client_certificate_file");
        let certificates = self.pem(&place, provider.client_certificate_file.as_deref(), pem::certificates);
        if let (Some(own), Some(certificates)) = (own, certificates)
            && let Err(failure) = pem::belong_together(&certificates, &own)
        {
            let hint = "name the certificate that was made for `client_key_file`";
            self.error_because(failure.reason, &place, failure.detail, hint);
        }
        self.pem(&key.key("decryption_key_file"), provider.decryption_key_file.as_deref(), pem::private_keys);
    }

    /// What `client_auth` needs is there, and nothing is there that it would not use.
    fn means(&mut self, key: &KeyPath, provider: &Provider) {
        use ClientAuth::*;
        let auth = key.key("client_auth");
        let (secret, signs) = (provider.client_secret.is_some(), provider.client_key_file.is_some());
        // The secret is then the key of ID tokens, whatever the client authenticates with.
        let secret_for_tokens = provider.takes_hmac();
        match provider.client_auth {
            ClientSecretBasic | ClientSecretPost | ClientSecretJwt if !secret => {
                let hint = "set `client_secret` or `client_secret_file`, or take `client_auth` away";
                self.error_because(Reason::SecretMissing, &auth, "needs a client secret", hint);
            }
            PrivateKeyJwt | TlsClientAuth if !signs => {
                let hint = "set `client_key_file`, or take `client_auth` away";
                self.error_because(Reason::CertificateUnusable, &auth, "needs a private key", hint);
            }
            TlsClientAuth if provider.client_certificate_file.is_none() => {
                let hint = "set `client_certificate_file`, or take `client_auth` away";
                self.error_because(Reason::CertificateUnusable, &auth, "needs a certificate", hint);
            }
            None if secret && !secret_for_tokens => {
                let hint = "take one of them away; without `client_auth` the secret is used";
                self.error(&auth, "is `none`, and a client secret is set, which would not be used", hint);
            }
            None | ClientSecretBasic | ClientSecretPost | ClientSecretJwt if signs => {
                let message = "authenticates another way, and the key would not be used";
                self.error(&key.key("client_key_file"), format!("`client_auth` {message}"), "take one of them away");
            }
            Auto | PrivateKeyJwt | TlsClientAuth if signs && secret && !secret_for_tokens => {
                let message = "is set, and `client_key_file` is what the gateway would authenticate with";
                self.error(&key.key("client_secret"), message, "take one of them away");
            }
            _ => {}
        }
        if provider.send_origin && (secret || signs) && self.is_set(&key.key("send_origin")) {
            let message = "is for public clients alone; Entra refuses it of clients with a secret (AADSTS9002326)";
            self.warn(&key.key("send_origin"), message);
        }
    }

    /// A provider that is not honest could try at another what it was sent.
    pub(super) fn shared_key(&mut self, key: &KeyPath, provider: &Provider, before: &[Provider]) {
        let same = |other: &&Provider| {
            provider.client_key_file.is_some()
                && other.client_key_file == provider.client_key_file
                && other.client_id == provider.client_id
                && other.issuer != provider.issuer
        };
        if let Some(other) = before.iter().find(same) {
            let message = format!("is that of provider `{}` with the same `client_id`; make one for each", other.name);
            self.warn(&key.key("client_key_file"), message);
        }
    }

    /// What belongs to a key, without one or with another use of it.
    fn key_options(&mut self, key: &KeyPath, provider: &Provider) {
        let signs = provider.client_key_file.is_some();
        for (name, set) in [
            ("client_key_id", provider.client_key_id.is_some()),
            ("client_certificate_file", provider.client_certificate_file.is_some()),
        ] {
            if set && !signs {
                self.error(&key.key(name), "has no effect without `client_key_file`", "set that, or take this away");
            }
        }
        let in_handshake = provider.client_auth == ClientAuth::TlsClientAuth;
        if provider.client_key_id.is_some() && in_handshake && signs {
            let message = "has no effect: `tls_client_auth` sends no assertion";
            self.error(&key.key("client_key_id"), message, "take it away");
        }
        let by_secret = provider.client_auth == ClientAuth::ClientSecretJwt;
        let place = key.key("client_assertion_audience");
        if self.is_set(&place) && !(signs && !in_handshake || by_secret) {
            let hint = "set `client_key_file`, or `client_auth = \"client_secret_jwt\"`, or take this away";
            self.error(&place, "has no effect: no assertion is sent", hint);
        } else if provider.client_assertion_audience == AssertionAudience::Issuer
            && signs
            && provider.tenant_template().is_some()
        {
            let message = "is `issuer`, and that of several tenants is a template, which is nobody's name";
            self.error(&place, message, "set it to `endpoint`, or take it away");
        }
        let Some(algorithm) = provider.client_assertion_algorithm else { return };
        let place = key.key("client_assertion_algorithm");
        match (signs && !in_handshake, by_secret, algorithm.is_hmac()) {
            (false, false, _) => {
                let hint = "set `client_key_file`, or `client_auth = \"client_secret_jwt\"`, or take this away";
                self.error(&place, "has no effect: no assertion is sent", hint);
            }
            (true, false, true) => {
                self.error(&place, format!("{algorithm:?} is for secrets"), "name one for the key, or take it away");
            }
            (_, true, false) => {
                let hint = "write HS256, HS384 or HS512, or take it away";
                self.error(&place, format!("{algorithm:?} needs a private key"), hint);
            }
            _ => {}
        }
    }

    fn id_token_algorithms(&mut self, key: &KeyPath, provider: &Provider) {
        let place = key.key("id_token_algorithms");
        if provider.id_token_algorithms.is_empty() {
            let hint = "name at least one, or take the line away";
            self.error(&place, "is empty, so no ID token could be accepted", hint);
        }
        for hmac in provider.id_token_algorithms.iter().filter(|algorithm| algorithm.is_hmac()) {
            let needed = hmac.least_secret();
            match provider.client_secret.as_ref().map(|secret| secret.expose().len()) {
                None => {
                    let message =
                        format!("{hmac:?} needs the client secret: a published key would be everybody's secret");
                    self.error(&place, message, "set `client_secret`, or have the provider sign with RS256");
                }
                // Everybody who holds an ID token can try secrets on it.
                Some(length) if length < needed => {
                    let message = format!("{hmac:?} needs a secret of {needed} characters (RFC 7518 §3.2)");
                    self.error(&place, message, "have the provider make a longer secret, or sign with RS256");
                }
                Some(_) => {}
            }
        }
    }
}
