//! Definite answers about tokens, for as long as they may be used.
//!
//! Readers wait for nobody. What is kept is bounded in number and in bytes, and a flood of tokens that are not active
//! drives out no answer about one that is.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ring::digest::{Context, SHA256};
use serde_json::{Map, Value};
use url::Url;

use super::Claims;
use super::lately::Lately;
use crate::reason::{Failure, Reason};

/// Answers about active tokens.
const MAX_ACTIVE: usize = 10_000;
/// Bytes of all of them, as they came.
const MAX_BYTES: usize = 16 * 1024 * 1024;
/// Answers about tokens that are not active.
const MAX_INACTIVE: usize = 1000;

/// SHA-256 of an endpoint and a token: the token itself is not kept.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Digest([u8; 32]);

impl Digest {
    pub fn of(endpoint: &Url, token: &str) -> Digest {
        let mut context = Context::new(&SHA256);
        // A serialized address has no line feed, so no two pairs are one text.
        for part in [endpoint.as_str(), "\n", token] {
            context.update(part.as_bytes());
        }
        let mut digest = [0; 32];
        digest.copy_from_slice(context.finish().as_ref());
        Digest(digest)
    }
}

/// What an issuer said of one token.
#[derive(Clone)]
pub(super) struct Answer {
    /// `None` where it is not active.
    pub claims: Option<Claims>,
    pub until: SystemTime,
    /// Of the answer as it came.
    pub bytes: usize,
}

impl Answer {
    pub fn result(&self) -> Result<Claims, Failure> {
        let inactive = || Failure::new(Reason::TokenRevoked, "the issuer says that it is not active");
        self.claims.clone().ok_or_else(inactive)
    }
}

/// The answers of one issuer.
#[derive(Default)]
pub(super) struct Answers {
    known: papaya::HashMap<Digest, Kept, foldhash::fast::RandomState>,
    orders: Mutex<Orders>,
    next: AtomicU64,
    lately: Mutex<Lately>,
}

struct Kept {
    answer: Answer,
    /// Tells it from a later answer about the same token.
    number: u64,
}

#[derive(Default)]
struct Orders {
    active: Order,
    inactive: Order,
}

/// What was kept, oldest first.
#[derive(Default)]
struct Order {
    entries: VecDeque<Entry>,
    bytes: usize,
}

struct Entry {
    digest: Digest,
    number: u64,
    until: SystemTime,
    bytes: usize,
}

impl Answers {
    /// What may still be said of that token.
    pub fn get(&self, digest: &Digest, now: SystemTime) -> Option<Result<Claims, Failure>> {
        let known = self.known.pin();
        known.get(digest).filter(|kept| now < kept.answer.until).map(|kept| kept.answer.result())
    }

    /// Whether the token was active not long ago, though that answer may no longer be used.
    pub fn was_active_lately(&self, digest: &Digest, now: SystemTime) -> bool {
        self.lately.lock().unwrap_or_else(PoisonError::into_inner).knows(digest, now)
    }

    /// Lets go of all of them.
    pub fn clear(&self) {
        let mut orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        *orders = Orders::default();
        self.known.pin().clear();
    }

    pub fn keep(&self, digest: Digest, answer: Answer, now: SystemTime) {
        // Also where the configuration lets no answer be kept; not where the token is over.
        if answer.claims.is_some() && answer.until >= now {
            self.lately.lock().unwrap_or_else(PoisonError::into_inner).saw(digest, answer.until, now);
        }
        if answer.until <= now {
            return;
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let active = answer.claims.is_some();
        let entry = Entry { digest, number, until: answer.until, bytes: answer.bytes };
        let mut orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        let known = self.known.pin();
        known.insert(digest, Kept { answer, number });
        let (order, most) = match active {
            true => (&mut orders.active, MAX_ACTIVE),
            false => (&mut orders.inactive, MAX_INACTIVE),
        };
        order.bytes += entry.bytes;
        order.entries.push_back(entry);
        while let Some(oldest) = order.entries.front() {
            if order.entries.len() <= most && order.bytes <= MAX_BYTES && now < oldest.until {
                break;
            }
            // A later answer about the same token stays.
            if known.get(&oldest.digest).is_some_and(|kept| kept.number == oldest.number) {
                known.remove(&oldest.digest);
            }
            order.bytes -= oldest.bytes;
            order.entries.pop_front();
        }
    }
}

/// `exp`; far away where there is none (it is optional), and long past where it is no time at all.
pub(super) fn expiry(claims: &Map<String, Value>) -> SystemTime {
    let far = UNIX_EPOCH + Duration::from_secs(1 << 40);
    match claims.get("exp") {
        None | Some(Value::Null) => far,
        Some(exp) => exp.as_u64().map_or(UNIX_EPOCH, |exp| far.min(UNIX_EPOCH + Duration::from_secs(exp.min(1 << 40)))),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;

    fn endpoint() -> Url {
        Url::parse("https://idp.example/introspect").expect("an address")
    }

    fn answer(active: bool, seconds: u64, bytes: usize) -> Answer {
        let claims = active.then(|| Arc::new(Map::new()));
        Answer { claims, until: UNIX_EPOCH + Duration::from_secs(seconds), bytes }
    }

    #[test]
    fn answers_are_bounded_in_number_and_the_inactive_drive_out_no_active_one() {
        let answers = Answers::default();
        let digest = |n: usize| Digest::of(&endpoint(), &n.to_string());
        let at = |seconds: u64| UNIX_EPOCH + Duration::from_secs(seconds);
        for n in 0..MAX_ACTIVE + 5 {
            answers.keep(digest(n), answer(true, 100, 10), at(1));
        }
        for n in 50_000..50_000 + MAX_INACTIVE + 5 {
            answers.keep(digest(n), answer(false, 100, 0), at(1));
        }
        assert_eq!(answers.known.len(), MAX_ACTIVE + MAX_INACTIVE);
        let kept = |n: usize| answers.get(&digest(n), at(1));
        assert!(kept(4).is_none() && kept(5).is_some_and(|known| known.is_ok()), "the oldest went");
        assert!(kept(50_004).is_none());
        assert!(kept(50_005).is_some_and(|known| known.is_err_and(|refused| refused.reason == Reason::TokenRevoked)));
        assert!(answers.get(&digest(5), at(100)).is_none(), "over");
        answers.keep(digest(5), answer(true, 300, 10), at(200));
        assert_eq!(answers.orders.lock().expect("not poisoned").active.entries.len(), 1, "what is over is let go");
        assert!(answers.get(&digest(5), at(200)).is_some());
    }

    #[test]
    fn answers_are_bounded_in_bytes() {
        let answers = Answers::default();
        for n in 0..100 {
            answers.keep(Digest::of(&endpoint(), &n.to_string()), answer(true, 100, MAX_BYTES / 10), UNIX_EPOCH);
        }
        assert_eq!(answers.known.len(), 10);
    }

    #[test]
    fn two_endpoints_share_no_answer() {
        let other = Url::parse("https://other.example/introspect").expect("an address");
        let digest = |url: &Url, token: &str| Digest::of(url, token).0;
        assert_eq!(digest(&endpoint(), "t"), digest(&endpoint(), "t"));
        assert_ne!(digest(&endpoint(), "t"), digest(&other, "t"));
        assert_ne!(digest(&endpoint(), "t"), digest(&endpoint(), "T"));
    }

    #[test]
    fn an_expiry_that_is_no_time_is_long_past() {
        for (exp, seconds) in [
            (json!(7), 7),
            (json!(u64::MAX), 1 << 40),
            (json!(null), 1 << 40),
            (json!("7"), 0),
            (json!(-7), 0),
            (json!(1e300), 0),
            (json!([7]), 0),
        ] {
            let claims = Map::from_iter([("exp".to_owned(), exp)]);
            assert_eq!(expiry(&claims), UNIX_EPOCH + Duration::from_secs(seconds), "{claims:?}");
        }
    }
}
