//! Sessions of people: what one holds, when it ends, and how it travels in sealed cookies.
//!
//! State sits with the browser: a session is a sealed cookie, split where it is large, and any replica with the
//! same secrets opens it. `cookies` knows names and bytes, `packed` what is in them, `ended` which of them ended before their
//! time, `renewals` keeps one refresh in flight for a session.

pub mod cookies;
pub mod ended;
mod packed;
pub mod renewals;

use crate::config::model;
use crate::identity::{Authentication, Identity, NonceDigest};
use crate::keys::{Keyring, OpenError, Purpose};
use crate::reason::{Failure, Reason};
use crate::words::in_words;

/// One person's session.
#[derive(Clone, Debug, PartialEq)]
pub struct Session {
    /// Random, made at sign-in; names the session in logs and for renewals, and is no credential.
    pub id: String,
    /// Sign-in, in seconds since 1970.
    pub signed_in_at: u64,
    /// Last use that was noted, in seconds since 1970.
    pub last_used: u64,
    pub identity: Identity,
    pub authentication: Authentication,
    /// Only where renewal is configured and the provider sent a refresh token.
    pub tokens: Option<Tokens>,
}

/// What renewing a session needs.
#[derive(Clone, PartialEq)]
pub struct Tokens {
    pub refresh_token: String,
    /// When the provider's tokens expire, in seconds since 1970.
    pub expire_at: u64,
    /// Counts the renewals since sign-in; with the session's id it names this state of the session.
    pub renewed: u32,
    /// Of the sign-in's `nonce`; `None` in sessions that were sealed before it was kept.
    pub nonce: Option<NonceDigest>,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokens").field("expire_at", &self.expire_at).finish_non_exhaustive()
    }
}

impl Session {
    /// Whether the session is within its limits at `now`.
    pub fn check(&self, limits: &model::Session, now: u64) -> Result<(), Failure> {
        let age = now.saturating_sub(self.signed_in_at);
        if age >= limits.absolute.0.as_secs() {
            return Err(Failure::new(
                Reason::SessionExpired,
                format!("signed in {age} s ago, the limit is {}", limits.absolute),
            ));
        }
        // Replicas' clocks differ a little; a session from the far future means one of them is wrong.
        if self.signed_in_at > now + CLOCK_TOLERANCE {
            return Err(Failure::new(
                Reason::SessionExpired,
                format!("made {} s in the future: clocks differ", self.signed_in_at - now),
            ));
        }
        let idle = now.saturating_sub(self.last_used);
        if idle >= limits.idle.0.as_secs() {
            return Err(Failure::new(
                Reason::SessionIdle,
                format!("unused for {idle} s, the limit is {}", limits.idle),
            ));
        }
        Ok(())
    }

    /// Whether this use is worth a new cookie: noting each use would send one with every answer.
    pub fn note_use(&mut self, limits: &model::Session, now: u64) -> bool {
        let grain = (limits.idle.0.as_secs() / 8).min(MAX_USE_GRAIN);
        let due = now.saturating_sub(self.last_used) > grain;
        if due {
            self.last_used = now;
        }
        due
    }

    /// Whether the provider's tokens are due for renewal.
    pub fn renewal_due(&self, limits: &model::Session, now: u64) -> bool {
        let ahead = limits.refresh_ahead.0.as_secs();
        limits.refresh && self.tokens.as_ref().is_some_and(|tokens| tokens.expire_at <= now.saturating_add(ahead))
    }

    /// The session as text sealed for `name`, [`Cookies::sealed_for`](cookies::Cookies::sealed_for), at most `max_bytes` long.
    pub fn seal(&self, keys: &Keyring, name: &str, max_bytes: usize) -> Result<String, Failure> {
        let plain = packed::pack(self).map_err(|e| Failure::new(Reason::Internal, e.to_string()))?;
        let sealed =
            keys.seal(Purpose::Session, name, &plain).map_err(|e| Failure::new(Reason::Internal, e.to_string()))?;
        let max_bytes = max_bytes.min(cookies::MAX_BYTES);
        if sealed.len() > max_bytes {
            let detail = format!("{} bytes sealed; the limit is {max_bytes}; {}", sealed.len(), self.largest_parts());
            return Err(Failure::new(Reason::SessionTooLarge, detail));
        }
        Ok(sealed)
    }

    /// What takes the room, by name and bytes, the largest first.
    fn largest_parts(&self) -> String {
        let who = &self.identity;
        let groups = who.groups.as_deref().unwrap_or_default();
        let mut parts = vec![(groups.iter().map(String::len).sum(), format!("{} groups", groups.len()))];
        parts.extend(self.tokens.iter().map(|tokens| (tokens.refresh_token.len(), "the refresh token".to_owned())));
        parts.extend(who.claims.0.iter().map(|(name, value)| (value.to_string().len(), in_words(name))));
        parts.sort_by_key(|(bytes, _)| std::cmp::Reverse(*bytes));
        let told = parts.iter().filter(|(bytes, _)| *bytes > 0).take(3);
        told.map(|(bytes, name)| format!("{name} take {bytes} bytes")).collect::<Vec<_>>().join(", ")
    }

    /// The session in `sealed`, sealed for `name`. Whether it is within its limits is not judged.
    pub fn open(keys: &Keyring, name: &str, sealed: &[u8]) -> Result<Session, Failure> {
        OPEN_BUFFER.with_borrow_mut(|buffer| {
            let range = keys.open(Purpose::Session, name, sealed, buffer).map_err(|error| {
                let reason = match error {
                    OpenError::UnknownKey => Reason::SessionKeyUnknown,
                    OpenError::Malformed | OpenError::Forged => Reason::SessionUnreadable,
                };
                Failure::new(reason, error.to_string())
            })?;
            packed::unpack(&buffer[range])
                .ok_or_else(|| Failure::new(Reason::SessionUnreadable, "of another version of the gateway"))
        })
    }
}

thread_local! {
    static OPEN_BUFFER: std::cell::RefCell<Vec<u8>> = const { std::cell::RefCell::new(Vec::new()) };
}

/// Seconds by which two replicas' clocks may differ.
const CLOCK_TOLERANCE: u64 = 120;
/// Seconds within which a session's use is noted at the latest.
const MAX_USE_GRAIN: u64 = 300;

#[cfg(test)]
mod tests;
