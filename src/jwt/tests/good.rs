//! What is accepted, and what is made of it.

use serde_json::json;

use super::forge::{self, ALL, NOW, PUBLIC};
use super::{Bench, with};
use crate::config::model::TokenAlgorithm::*;
use crate::jwt::Kind;
use crate::jwt::key_set::KeySet;
use crate::reason::Reason;

#[test]
fn a_token_of_each_algorithm_is_accepted_and_says_who_it_is() {
    let shared = Bench::new(&format!("secret = \"{}\"", forge::SECRET));
    for algorithm in ALL {
        let public = PUBLIC.contains(&algorithm);
        let bench = if public { &Bench::new("") } else { &shared };
        let keys = if public { forge::all_keys() } else { KeySet::secret(forge::SECRET.as_bytes()) };
        let verified = bench.judge(&forge::good(algorithm), &keys).expect("a good token");
        assert_eq!(verified.algorithm, Some(algorithm));
        assert_eq!(verified.kind, Kind::AccessToken);
        assert_eq!(verified.identity.user, "ci-7");
        assert_eq!(verified.identity.email.as_deref(), Some("ci@example.com"));
        assert_eq!(verified.identity.groups, Some(vec!["robots".to_owned()]));
        assert_eq!(verified.scopes.iter().collect::<Vec<_>>(), ["runs:read", "runs:write"]);
        assert_eq!((verified.expires_at, verified.not_before), (NOW + 300, NOW - 60));
        assert_eq!(verified.token_id.as_deref(), Some("1f2e"));
        assert_eq!(verified.headers.len(), 3, "{:?}", verified.headers);
    }
}

#[test]
fn one_altered_bit_of_the_signature_is_enough_to_be_refused() {
    let (bench, keys) = (Bench::new(""), forge::all_keys());
    for algorithm in [RS256, PS256, ES256, EdDSA] {
        let token = forge::good(algorithm);
        let (message, _) = token.rsplit_once('.').expect("three parts");
        let signature = forge::signature(algorithm, message.as_bytes());
        for byte in 0..signature.len() {
            let mut altered = signature.clone();
            altered[byte] ^= 1 << (byte % 8);
            let token = format!("{message}.{}", forge::b64(altered));
            assert_eq!(bench.reason(&token, &keys), Some(Reason::TokenSignature), "{algorithm:?}, byte {byte}");
        }
    }
}

#[test]
fn the_same_key_listed_twice_or_in_another_order_is_the_same_set() {
    let (rsa, ec) = (forge::jwk(RS256), forge::jwk(ES256));
    let set = forge::key_set(&[rsa.clone(), ec.clone()]);
    assert_eq!(set, forge::key_set(&[ec.clone(), rsa.clone(), ec.clone()]));
    assert_eq!(set.summary(), "2 (`p256`, `rsa`)");
    assert_ne!(set, forge::key_set(std::slice::from_ref(&rsa)));
    assert_ne!(set, forge::key_set(&[rsa, with(ec, "kid", json!("other"))]));
}
