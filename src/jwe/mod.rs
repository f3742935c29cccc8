//! What a provider encrypted for us: ID tokens, logout tokens and userinfo answers as JWE in compact serialisation
//! (RFC 7516 §3.1), decrypted with our private keys.
//!
//! Promise: bounds come before parsing; the algorithms are those listed here and no others, so never RSA1_5, a shared
//! key or compression; and once the header is read, whatever fails gives one and the same answer, so that nobody learns
//! from it which step failed (RFC 7516 §11.5, RFC 7518 §5.2.2.2). That a token can be decrypted says nothing about who made
//! it: anybody has our public key. What is inside is for others to verify.

mod content;
mod header;
mod keys;
#[cfg(test)]
mod tests;

pub use self::keys::DecryptionKeys;

use self::header::Header;
use crate::jose::base64url;
use crate::reason::{Failure, Reason};

/// Bytes of a whole token: a signed one as large as is looked at, encrypted.
const MAX_TOKEN: usize = 768 * 1024;
/// Bytes of the encoded header.
const MAX_HEADER: usize = 4 * 1024;
/// Bytes of the encoded key: RSA of 8192 bit has 1366.
const MAX_KEY: usize = 1400;

/// Whether `token` has the five parts of a JWE.
pub fn is_encrypted(token: &str) -> bool {
    memchr::memchr_iter(b'.', token.as_bytes()).count() == 4
}

impl DecryptionKeys {
    /// The plaintext of `token`: most often a signed JWT, and of userinfo perhaps plain JSON. Fails with `reason`: callers differ in what a token that
    /// cannot be read means.
    pub fn decrypt(&self, token: &str, reason: Reason) -> Result<String, Failure> {
        self.open(token).map_err(|why| Failure::new(reason, why))
    }

    fn open(&self, token: &str) -> Result<String, String> {
        let parts = Parts::read(token)?;
        let header = Header::read(&base64url(parts.header, "header")?)?;
        let key = base64url(parts.key, "encrypted key")?;
        let nonce = base64url(parts.nonce, "initialization vector")?;
        let ciphertext = base64url(parts.ciphertext, "ciphertext")?;
        let tag = base64url(parts.tag, "authentication tag")?;
        let plaintext = self
            .content_keys(&header, &key)?
            .find_map(|key| content::open(header.encryption, &key, parts.header.as_bytes(), &nonce, &ciphertext, &tag));
        let plaintext = plaintext.and_then(|bytes| String::from_utf8(bytes).ok());
        plaintext.ok_or_else(|| "it was altered, or encrypted for a key that is not ours".into())
    }
}

/// The five parts (RFC 7516 §7.1), still encoded.
struct Parts<'t> {
    header: &'t str,
    key: &'t str,
    nonce: &'t str,
    ciphertext: &'t str,
    tag: &'t str,
}

impl<'t> Parts<'t> {
    fn read(token: &'t str) -> Result<Parts<'t>, String> {
        if token.len() > MAX_TOKEN {
            return Err(format!("encrypted token has {} bytes; {MAX_TOKEN} are looked at", token.len()));
        }
        let mut parts = token.split('.');
        let mut part = || parts.next();
        let (Some(header), Some(key), Some(nonce), Some(ciphertext), Some(tag), None) =
            (part(), part(), part(), part(), part(), part())
        else {
            let dots = memchr::memchr_iter(b'.', token.as_bytes()).count();
            return Err(format!("token has {dots} dots; an encrypted JWT has four"));
        };
        for (part, name, most) in [(header, "header", MAX_HEADER), (key, "encrypted key", MAX_KEY)] {
            if part.len() > most {
                return Err(format!("its {name} has {} bytes; {most} are looked at", part.len()));
            }
        }
        Ok(Parts { header, key, nonce, ciphertext, tag })
    }
}
