//! Time as tokens, cookies and files write it.

use std::time::{SystemTime, UNIX_EPOCH};

/// `time` in seconds since 1970; a clock before that counts as 1970.
pub fn unix_seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
