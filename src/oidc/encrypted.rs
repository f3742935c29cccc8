//! What the provider encrypts for this client: ID tokens, logout tokens, userinfo (OpenID Connect Core §16.14).

use std::borrow::Cow;

use super::provider::Provider;
use crate::jwe;
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
