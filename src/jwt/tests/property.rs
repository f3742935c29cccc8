//! Whatever comes in whatever order: with the cache and without it the verdict is the same.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use serde_json::json;

use super::Bench;
use super::forge::{self, NOW, b64, claims, sealed};
use crate::identity::Identity;
use crate::jwt::cache::TokenCache;
use crate::jwt::key_set::KeySet;
use crate::jwt::token::Unverified;
use crate::reason::Reason;

/// Numbers that are the same each time (SplitMix64), so that a failure can be looked at again by its seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % limit as u64) as usize
    }
}

/// Two key pairs of which the issuer publishes one, the other, or both.
struct Pairs([Ed25519KeyPair; 2]);

impl Pairs {
    fn set(&self, which: usize) -> KeySet {
        let key = |n: usize| {
            let mut public = [0; 32];
            public.copy_from_slice(self.0[n].public_key().as_ref());
            (format!("k{n}"), public)
        };
        match which {
            0 => KeySet::ed25519(&[key(0)]),
            1 => KeySet::ed25519(&[key(1)]),
            _ => KeySet::ed25519(&[key(0), key(1)]),
        }
    }

    /// A token of either key, mostly good.
    fn token(&self, dice: &mut Dice, n: usize) -> String {
        let key = dice.below(2);
        let mut changes = json!({ "sub": format!("ci-{n}"), "exp": NOW + dice.below(600) as u64 });
        match dice.below(8) {
            0 => changes["aud"] = json!("reports"),
            1 => changes["nbf"] = json!(NOW + dice.below(600) as u64),
            2 => changes["scope"] = json!("other"),
            3 => changes["nonce"] = json!("n"),
            4 => changes["iss"] = json!("https://other.example.com"),
            _ => {}
        }
        let header = json!({ "alg": "EdDSA", "kid": format!("k{key}") }).to_string();
        let signer = if dice.below(8) == 0 { 1 - key } else { key };
        let sign = |message: &[u8]| self.0[signer].sign(message).as_ref().to_vec();
        sealed(&b64(header), &b64(claims(changes)), sign)
    }
}

/// The issuer as it is at a moment.
struct Moment {
    keys: KeySet,
    generation: u64,
    now: u64,
}

type Verdict = Result<Identity, Reason>;

fn without_cache(bench: &Bench, token: &str, moment: &Moment) -> Verdict {
    let verified = bench.verify(token, &moment.keys).map_err(|failure| failure.reason)?;
    bench.policy.judge(&verified, moment.now).map_err(|failure| failure.reason)?;
    Ok(verified.identity)
}

fn with_cache(bench: &Bench, cache: &TokenCache, token: &str, moment: &Moment) -> Verdict {
    let kept = cache.get(token.as_bytes()).filter(|kept| kept.generation == moment.generation);
    let kept = match kept {
        Some(kept) => kept,
        None => {
            let read = Unverified::read(token.as_bytes(), &bench.wanted).map_err(|failure| failure.reason)?;
            let verified = bench.policy.verify(&read, &moment.keys, &bench.headers);
            cache.offer(token.as_bytes(), verified.map_err(|failure| failure.reason)?, moment.generation)
        }
    };
    bench.policy.judge(&kept.verified, moment.now).map_err(|failure| failure.reason)?;
    Ok(kept.verified.identity.clone())
}

fn run(seed: u64, bench: &Bench, pairs: &Pairs) -> (u64, u64) {
    let mut dice = Dice(seed);
    // Room for a dozen of the forty tokens, so that some go and come again.
    let cache = TokenCache::new(16 * 1024);
    let tokens: Vec<String> = (0..40).map(|n| pairs.token(&mut dice, n)).collect();
    let mut moment = Moment { keys: pairs.set(2), generation: 1, now: NOW };
    for step in 0..600 {
        match dice.below(60) {
            0 => {
                moment.keys = pairs.set(dice.below(3));
                moment.generation += 1;
            }
            1 => cache.forget_issuer(dice.below(2)),
            2 => cache.clear(),
            _ => {}
        }
        moment.now = NOW + dice.below(900) as u64;
        let most = 1 + dice.below(tokens.len());
        let mut token = tokens[dice.below(most)].clone();
        if dice.below(20) == 0 {
            token.replace_range(..1, "f");
        }
        let (with, without) = (with_cache(bench, &cache, &token, &moment), without_cache(bench, &token, &moment));
        assert_eq!(with, without, "seed {seed}, step {step}");
    }
    let stats = cache.stats();
    (stats.hits, stats.evictions)
}

#[test]
fn the_cache_changes_no_verdict_whatever_comes_and_whichever_keys_there_are() {
    let pair = || Ed25519KeyPair::generate().expect("a key");
    let pairs = Pairs([pair(), pair()]);
    let bench = Bench::new("required_scopes = [\"runs:read\"]");
    assert_eq!(forge::ISSUER, bench.policy.issuers().next().unwrap_or_default());
    let (mut hits, mut evictions) = (0, 0);
    for seed in 0..20 {
        let (hit, evicted) = run(seed, &bench, &pairs);
        hits += hit;
        evictions += evicted;
    }
    assert!(hits > 1000 && evictions > 100, "{hits} hits and {evictions} evictions prove little");
}
