//! What the provider encrypts for this client: ID tokens, logout tokens, userinfo (OpenID Connect Core §16.14).

use std::borrow::Cow;

use super::provider::Provider;
use crate::config::model::Provider as ProviderSettings;
use crate::jwe::{self, DecryptionKeys};
use crate::reason::{Failure, Reason};

impl Provider {
    /// `token` as it is, or the signed token inside where it is encrypted.
    pub(super) fn decrypted<'t>(&self, token: &'t str) -> Result<Cow<'t, str>, Failure> {
        if !jwe::is_encrypted(token) {
            return Ok(Cow::Borrowed(token));
        }
        match &self.decryption {
            Some(keys) => keys.decrypt(token, Reason::IdTokenDecryption).map(Cow::Owned),
            None => Err(Failure::new(Reason::IdTokenEncrypted, "it has five parts (a JWE)")),
        }
    }
}

/// The keys in `decryption_key_file`.
pub(super) fn decryption_keys(settings: &ProviderSettings) -> Result<Option<DecryptionKeys>, Failure> {
    let Some(path) = &settings.decryption_key_file else { return Ok(None) };
    let unusable = |why: &str| Failure::new(Reason::CertificateUnusable, format!("{}: {why}", path.display()));
    let pem = std::fs::read_to_string(path).map_err(|error| unusable(&error.to_string()))?;
    DecryptionKeys::from_pem(&pem).map(Some).map_err(|failure| unusable(&failure.detail))
}
