//! What the provider encrypts for this client: ID tokens, logout tokens, userinfo (OpenID Connect Core §16.14).

use std::borrow::Cow;

use serde_json::Value;

use super::provider::Provider;
use crate::jose::{self, Members};
use crate::jwe;
use crate::reason::{Failure, Reason};
use crate::words::in_words;

impl Provider {
    /// `token` as it is, or the signed token inside where it is encrypted.
    pub(super) fn decrypted<'t>(&self, token: &'t str) -> Result<Cow<'t, str>, Failure> {
        if !jwe::is_encrypted(token) {
            return Ok(Cow::Borrowed(token));
        }
        match &self.decryption {
            Some(keys) => keys.decrypt(token, Reason::IdTokenDecryption).map(Cow::Owned).map_err(|failure| {
                let ours: Vec<_> = keys.public_jwks().iter().map(|key| shown(key.get("kid"))).collect();
                failure.and_seen(&format!(
                    "; {}; the keys of `decryption_key_file` are {}",
                    described(token),
                    ours.join(", ")
                ))
            }),
            None => {
                Err(Failure::new(Reason::IdTokenEncrypted, format!("it has five parts (a JWE); {}", described(token))))
            }
        }
    }
}

/// How and for which key a token says that it is encrypted.
fn described(token: &str) -> String {
    let head = token.split('.').next().unwrap_or_default();
    let head = jose::base64url(head, "header").ok().and_then(|head| Members::read(&head).ok()).unwrap_or_default();
    format!(
        "it is encrypted by {} and {}, for key {}",
        shown(head.get("alg")),
        shown(head.get("enc")),
        shown(head.get("kid"))
    )
}

fn shown(member: Option<&Value>) -> String {
    member.and_then(Value::as_str).map_or_else(|| "without a name".to_owned(), in_words)
}
