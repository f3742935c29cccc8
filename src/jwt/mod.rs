//! Tokens of other people's making: JWTs (RFC 7519) and, by introspection (RFC 7662), tokens that are none.
//!
//! The way of a token: which issuer says it is from, that issuer's keys ([`source`]), form, algorithm and
//! signature, and then what its issuer's entry asks of it. A token that was verified is kept ([`cache`]) with what it
//! says, never with what was decided about it: times, audience, type, scopes and required claims are judged at every hit.
//!
//! Promise: the key decides the algorithm and never the token; keys and cached tokens belong to one issuer; no request
//! waits for an issuer but for one shared and throttled fetch of a key that is not known, or to ask about a token that is no
//! JWT.

pub mod cache;
pub mod introspection;
mod issuers;
mod key_file;
pub mod key_set;
mod metadata;
mod signing;
pub mod source;
#[cfg(test)]
mod tests;
mod texts;
pub mod token;
mod trial;
pub mod verify;

pub use cache::Cached;
pub use issuers::{Examined, Issuer, Issuers};
pub use key_set::KeySet;
pub use signing::Signer;
pub use texts::Texts;
pub use trial::Trial;

use http::{HeaderName, HeaderValue};

use crate::config::model::TokenAlgorithm;
use crate::identity::Identity;

/// A token whose signature holds, or which its issuer says is active, and what it says.
#[derive(Clone, Debug)]
pub struct Verified {
    /// Index of the issuer.
    pub issuer: usize,
    /// How it was signed; `None` for an introspected token.
    pub algorithm: Option<TokenAlgorithm>,
    pub kind: Kind,
    /// Whether it has a `cnf`: good only together with a key of its sender (RFC 9449 §6, RFC 8705 §3).
    pub bound: bool,
    /// `aud`.
    pub audiences: Texts,
    /// `scope` or `scp`.
    pub scopes: Texts,
    /// `exp`, seconds since 1970.
    pub expires_at: u64,
    /// The later of `nbf` and `iat`, seconds since 1970; 0 where there is neither.
    pub not_before: u64,
    /// `jti`, by which it can be revoked.
    pub token_id: Option<Box<str>>,
    /// Whether it has no `sub`, and what the entry says names the user stands in for it. That may be something that people
    /// choose themselves, so nothing is looked up by it.
    pub without_subject: bool,
    /// Who it is, in the terms of the issuer's entry; with the claims that rules and headers read and no others.
    pub identity: Identity,
    /// What the app is told of that.
    pub headers: Box<[(HeaderName, HeaderValue)]>,
}

/// What sort of token it is (RFC 9068 §2.1, RFC 8725 §3.11).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `typ` says `at+jwt`, or it is introspected.
    AccessToken,
    /// `typ` says `JWT` or nothing, and no claim says that it is one of the others.
    Jwt,
    /// It has `nonce`, `at_hash` or `c_hash`, or a `typ` of its own.
    IdToken,
    /// Any other `typ`, in lower case and without `application/`; `logout+jwt` where `events` says so.
    Other(Box<str>),
}
