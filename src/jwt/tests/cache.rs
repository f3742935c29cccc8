//! The cache keeps what comes again, within its bounds, and changes no verdict.

use serde_json::json;

use super::Bench;
use super::forge;
use crate::config::model::TokenAlgorithm::*;
use crate::jwt::Verified;
use crate::jwt::cache::TokenCache;
use crate::jwt::key_set::KeySet;

const FAR: u64 = 9_000_000_000;

/// Verified tokens are made with a shared secret, which is quick.
struct Maker {
    bench: Bench,
    keys: KeySet,
}

impl Maker {
    fn new() -> Maker {
        let bench = Bench::new(&format!("secret = \"{}\"", forge::SECRET));
        Maker { bench, keys: KeySet::secret(forge::SECRET.as_bytes()) }
    }

    /// The token number `n`, about as long as tokens are, and what it says.
    fn token(&self, n: usize, exp: u64) -> (String, Verified) {
        let claims = forge::claims(json!({ "sub": format!("ci-{n}"), "exp": exp, "pad": "x".repeat(500) }));
        let token = forge::signed(HS256, &forge::header(HS256), &claims);
        let verified = self.bench.verify(&token, &self.keys).expect("verified");
        (token, verified)
    }

    fn offer(&self, cache: &TokenCache, n: usize, exp: u64) {
        let (token, verified) = self.token(n, exp);
        cache.offer(token.as_bytes(), verified, 1);
    }
}

#[test]
fn a_token_is_kept_the_second_time_it_is_seen() {
    let (maker, cache) = (Maker::new(), TokenCache::new(1 << 20));
    let (token, _) = maker.token(1, FAR);
    assert!(cache.get(token.as_bytes()).is_none());
    maker.offer(&cache, 1, FAR);
    assert!(cache.get(token.as_bytes()).is_none());
    maker.offer(&cache, 1, FAR);
    let kept = cache.get(token.as_bytes()).expect("kept");
    assert_eq!((kept.verified.identity.user.as_str(), kept.generation), ("ci-1", 1));
    let stats = cache.stats();
    assert_eq!((stats.entries, stats.hits, stats.misses, stats.evictions), (1, 1, 2, 0));
    for altered in [&token[1..], &token[..token.len() - 1], &format!("{token}x"), &token.replace('.', "x")] {
        assert!(cache.get(altered.as_bytes()).is_none());
    }
}

#[test]
fn a_token_that_is_offered_with_other_keys_takes_the_place_of_the_old_one() {
    let (maker, cache) = (Maker::new(), TokenCache::new(1 << 20));
    let (token, verified) = maker.token(1, FAR);
    for generation in [1, 1, 2] {
        cache.offer(token.as_bytes(), verified.clone(), generation);
    }
    assert_eq!(cache.get(token.as_bytes()).map(|kept| kept.generation), Some(2));
    let once = cache.stats();
    assert_eq!(once.entries, 1);
    cache.offer(token.as_bytes(), verified, 3);
    assert_eq!(cache.stats().bytes, once.bytes);
}

#[test]
fn it_never_holds_more_than_it_may_and_those_that_are_used_stay() {
    let (maker, cache) = (Maker::new(), TokenCache::new(128 * 1024));
    let (used, _) = maker.token(0, FAR);
    for n in 0..1000 {
        maker.offer(&cache, n, FAR);
        maker.offer(&cache, n, FAR);
        assert!(cache.get(used.as_bytes()).is_some(), "gone when {n} came");
        let stats = cache.stats();
        assert!(stats.bytes <= 128 * 1024, "{stats:?}");
    }
    let stats = cache.stats();
    assert!(stats.entries > 40 && stats.evictions == 1000 - stats.entries as u64, "{stats:?}");
}

#[test]
fn many_tokens_that_come_in_turn_are_all_kept_after_a_few_rounds() {
    let (maker, cache) = (Maker::new(), TokenCache::new(1 << 20));
    let tokens: Vec<_> = (0..400).map(|n| maker.token(n, FAR)).collect();
    // Those whose fingerprints share a place take turns, by chance.
    for _ in 0..200 {
        if cache.stats().entries == tokens.len() {
            break;
        }
        for (token, verified) in &tokens {
            if cache.get(token.as_bytes()).is_none() {
                cache.offer(token.as_bytes(), verified.clone(), 1);
            }
        }
    }
    assert_eq!((cache.stats().entries, cache.stats().evictions), (400, 0));
}

#[test]
fn tokens_that_have_ended_make_room_although_there_is_enough() {
    let (maker, cache) = (Maker::new(), TokenCache::new(8 << 20));
    for n in 0..100 {
        // Before the time of the clock on the wall.
        maker.offer(&cache, n, 1_000_000_000);
        maker.offer(&cache, n, 1_000_000_000);
    }
    assert!(cache.stats().entries < 10, "{:?}", cache.stats());
    assert_eq!(cache.stats().evictions, 0);
}

#[test]
fn the_tokens_of_one_issuer_can_be_forgotten_and_all_of_them() {
    let (maker, cache) = (Maker::new(), TokenCache::new(1 << 20));
    for (n, issuer) in [(1, 0), (2, 1), (3, 0)] {
        let (token, mut verified) = maker.token(n, FAR);
        verified.issuer = issuer;
        cache.offer(token.as_bytes(), verified.clone(), 1);
        cache.offer(token.as_bytes(), verified, 1);
    }
    let here = |n| cache.get(maker.token(n, FAR).0.as_bytes()).is_some();
    cache.forget_issuer(0);
    assert_eq!([here(1), here(2), here(3)], [false, true, false]);
    cache.clear();
    assert_eq!((here(2), cache.stats().entries), (false, 0));
    assert_eq!(cache.stats().bytes, TokenCache::new(1 << 20).stats().bytes);
}

#[test]
fn threads_that_read_and_write_at_once_find_only_what_belongs_to_the_token() {
    let (maker, cache) = (Maker::new(), TokenCache::new(64 * 1024));
    let tokens: Vec<_> = (0..64).map(|n| maker.token(n, FAR)).collect();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (cache, tokens) = (&cache, &tokens);
            scope.spawn(move || {
                for step in 0..4000 {
                    let (token, verified) = &tokens[(step * 7 + thread * 13) % tokens.len()];
                    match cache.get(token.as_bytes()) {
                        Some(kept) => assert_eq!(kept.verified.identity.user, verified.identity.user),
                        None => drop(cache.offer(token.as_bytes(), verified.clone(), 1)),
                    }
                    if step % 1000 == 999 {
                        cache.forget_issuer(0);
                    }
                }
            });
        }
    });
    let stats = cache.stats();
    assert!(stats.bytes <= 64 * 1024 && stats.hits > 0, "{stats:?}");
}

#[test]
fn what_is_emptied_gives_its_memory_back_and_can_be_filled_again() {
    let (maker, cache) = (Maker::new(), TokenCache::new(1 << 20));
    let empty = cache.stats().bytes;
    for _ in 0..2 {
        (0..40).chain(0..40).for_each(|n| maker.offer(&cache, n, FAR));
        assert!(cache.stats().entries == 40 && cache.stats().bytes > empty);
        cache.clear();
        assert_eq!((cache.stats().entries, cache.stats().bytes), (0, empty));
        assert!(cache.get(maker.token(1, FAR).0.as_bytes()).is_none());
    }
}
