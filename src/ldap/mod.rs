//! The Lightweight Directory Access Protocol as far as signing in needs it: BER, messages (RFC 4511), filters (RFC 4515)
//! and distinguished names (RFC 4514). It opens no connection and knows no configuration.
//!
//! Promise: bytes of a server never panic and never ask for more memory than they take themselves; a value that somebody
//! typed is a value in every message, whatever characters are in it, because filters are built and not written.
//!
//! Its own, since the protocol's crates either panic on what a server sends or keep as much of it as comes, and before
//! StartTLS anybody on the way can be that server.

mod ber;
pub mod dn;
pub mod filter;
pub mod message;

/// What a server sent is not LDAP. The words are for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub &'static str);
