//! The claims that somebody will ask for, so that a token's others are passed over.

use crate::jwt::verify::Policy;

/// The names, at the top of a token's claims, that the configuration reads, whichever issuer the token is from.
#[derive(Clone, Debug)]
pub struct WantedClaims {
    /// By length and then by name.
    names: Box<[Box<str>]>,
    /// Bits of the lengths that occur; the last bit stands for all longer ones.
    lengths: u64,
}

/// What [`crate::claims::identity`] reads whatever the settings are.
const ALWAYS: [&str; 5] = ["email_verified", "preferred_username", "name", "_claim_names", "hasgroups"];

impl WantedClaims {
    /// Those that `policies` read. A path may be a name with dots in it as well as a way into nested claims, so every
    /// beginning of it is wanted.
    pub fn new<'p>(policies: impl Iterator<Item = &'p Policy>) -> WantedClaims {
        let beginnings = |path: &'p str| path.match_indices('.').map(move |(dot, _)| &path[..dot]).chain([path]);
        let names = policies.flat_map(Policy::paths).flat_map(beginnings).chain(ALWAYS);
        let mut names: Vec<Box<str>> = names.filter(|name| !name.is_empty()).map(Box::from).collect();
        names.sort_unstable_by(|a, b| a.len().cmp(&b.len()).then(a.cmp(b)));
        names.dedup();
        let lengths = names.iter().fold(0, |lengths, name| lengths | bit(name));
        WantedClaims { names: names.into(), lengths }
    }

    pub(super) fn find(&self, name: &str) -> Option<&str> {
        if self.lengths & bit(name) == 0 {
            return None;
        }
        self.names.iter().map(|wanted| &**wanted).find(|wanted| *wanted == name)
    }
}

fn bit(name: &str) -> u64 {
    1 << name.len().min(63)
}
