//! How often something is done within one second, counted without a lock.

use std::sync::atomic::{AtomicU64, Ordering};

/// The second, and in its lowest byte how often it was done within it.
#[derive(Default)]
pub(super) struct InASecond(AtomicU64);

impl InASecond {
    /// Whether it may be done once more in `second`, of `most` times (255 at most): then how often it was done before.
    /// Where it may not, this is one load.
    pub(super) fn take(&self, second: u64, most: u64) -> Option<u64> {
        let second = second << 8;
        let counted = |kept: u64| match kept & !0xff == second {
            true if kept & 0xff >= most => None,
            true => Some(kept + 1),
            false => Some(second | 1),
        };
        let before = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, counted).ok()?;
        Some(if before & !0xff == second { before & 0xff } else { 0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_second_has_its_own_times() {
        let done = InASecond::default();
        let taken: Vec<_> = (0..5).map(|_| done.take(7, 3)).collect();
        assert_eq!(taken, [Some(0), Some(1), Some(2), None, None]);
        assert_eq!((done.take(8, 3), done.take(8, 3)), (Some(0), Some(1)));
    }
}
