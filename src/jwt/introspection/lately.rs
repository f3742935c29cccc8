//! Which tokens were active of late, longer than their answers may be used.
//!
//! It says nothing about a token but that it is no stranger's. What is kept is bounded, and goes oldest first.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, SystemTime};

use super::answers::Digest;

/// Tokens that are remembered.
const MOST: usize = 10_000;
/// How long a token is remembered when the answer about it is over.
const LONGER: Duration = Duration::from_secs(300);

#[derive(Default)]
pub(super) struct Lately {
    until: HashMap<Digest, SystemTime, foldhash::fast::RandomState>,
    /// Each of them once, with the end that was known when it came into line.
    line: VecDeque<(Digest, SystemTime)>,
}

impl Lately {
    /// The token was active at `now`, and the answer is over at `answer_until`.
    pub fn saw(&mut self, digest: Digest, answer_until: SystemTime, now: SystemTime) {
        let until = answer_until + LONGER;
        if self.until.insert(digest, until).is_none() {
            self.line.push_back((digest, until));
        }
        while let Some((first, told)) = self.line.front().copied() {
            if self.line.len() <= MOST && now < told {
                break;
            }
            self.line.pop_front();
            // Seen again since it came into line: it stands behind the others once more.
            match self.until.get(&first).copied().filter(|until| *until > told && now < *until) {
                Some(until) => self.line.push_back((first, until)),
                None => drop(self.until.remove(&first)),
            }
        }
    }

    pub fn knows(&self, digest: &Digest, now: SystemTime) -> bool {
        self.until.get(digest).is_some_and(|until| now < *until)
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use url::Url;

    use super::*;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn digest(n: usize) -> Digest {
        Digest::of(&Url::parse("https://idp.example/introspect").expect("an address"), &n.to_string())
    }

    #[test]
    fn a_token_is_remembered_some_minutes_longer_than_its_answer() {
        let mut lately = Lately::default();
        lately.saw(digest(1), at(60), at(0));
        assert!(lately.knows(&digest(1), at(359)) && !lately.knows(&digest(1), at(360)));
        assert!(!lately.knows(&digest(2), at(0)));
    }

    #[test]
    fn what_is_remembered_is_bounded_and_who_comes_often_stays() {
        let mut lately = Lately::default();
        lately.saw(digest(0), at(60), at(0));
        lately.saw(digest(1), at(60), at(0));
        lately.saw(digest(0), at(120), at(60));
        for n in 2..MOST + 2 {
            lately.saw(digest(n), at(120), at(60));
        }
        assert_eq!((lately.until.len(), lately.line.len()), (MOST, MOST));
        assert!(lately.knows(&digest(0), at(61)) && !lately.knows(&digest(1), at(61)));
        lately.saw(digest(7), at(1060), at(1000));
        assert_eq!((lately.until.len(), lately.line.len()), (1, 1), "what is over is let go");
    }
}
