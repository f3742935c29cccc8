//! What providers know after a reload, and what they forget.

use std::sync::Arc;
use std::time::Duration;

use ring::hmac;

use super::support::{Fake, Signer, settings};
use crate::config::model::TokenAlgorithm;
use crate::oidc::provider::Snapshot;
use crate::oidc::{Provider, Providers, Readiness};
use crate::reason::Reason;

/// What is verified with the client secret, by the keys at hand.
fn takes_secret(provider: &Provider, secret: &str) -> bool {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let signature = hmac::sign(&key, b"message");
    let known = provider.snapshot().expect("known");
    known.keys.verify(None, TokenAlgorithm::HS256, b"message", signature.as_ref()).is_ok()
}

#[tokio::test]
async fn a_rotated_secret_verifies_nothing_after_a_reload_though_the_provider_is_down() {
    let signer = Signer::new("k");
    let fake = Fake::start(&signer).await;
    let (old, new) = ("old-old-old-old-old-old-old-old-old", "new-new-new-new-new-new-new-new-new");
    for algorithms in ["'HS256'", "'HS256', 'EdDSA'"] {
        let table = |secret: &str| format!("client_secret = '{secret}'\nid_token_algorithms = [{algorithms}]\n");
        let first = Providers::new(&settings(&fake.issuer, &table(old))).expect("providers");
        let provider = first.first().expect("one");
        let fetched = provider.fetch().await.expect("fetched");
        let later = fetched.fetched_at + Duration::from_secs(9);
        provider.snapshot.store(Some(Arc::new(Snapshot { keys_at: later, ..fetched })));
        assert!(takes_secret(provider, old) && !takes_secret(provider, new));
        // Nothing is fetched from here on.
        let mut second = Providers::new(&settings(&fake.issuer, &table(new))).expect("providers");
        second.inherit(&first);
        let provider = second.first().expect("one");
        assert!(takes_secret(provider, new) && !takes_secret(provider, old), "{algorithms}");
        assert_eq!(provider.snapshot().expect("known").keys_at, later);
    }
    // Published keys were never asked for: none is made up of the secret.
    let hmac = format!("client_secret = '{old}'\nid_token_algorithms = ['HS256']\n");
    let first = Providers::new(&settings(&fake.issuer, &hmac)).expect("providers");
    let fetched = first.first().expect("one").fetch().await.expect("fetched");
    first.first().expect("one").snapshot.store(Some(Arc::new(fetched)));
    let mut published = Providers::new(&settings(&fake.issuer, "")).expect("providers");
    published.inherit(&first);
    assert!(matches!(published.first().expect("one").readiness(), Readiness::NotReady(_)));
}

#[tokio::test]
async fn a_reload_asks_no_provider_that_was_asked_lately_by_the_same_settings() {
    let signer = Signer::new("k");
    let fake = Fake::start(&signer).await;
    let first = Providers::new(&settings(&fake.issuer, "")).expect("providers");
    let fetched = first.first().expect("one").fetch().await.expect("fetched");
    let at = fetched.fetched_at;
    first.first().expect("one").snapshot.store(Some(Arc::new(fetched)));
    let after = |before: &Providers, more: &str| {
        let mut next = Providers::new(&settings(&fake.issuer, more)).expect("providers");
        next.inherit(before);
        next
    };
    let wait = |providers: &Providers| providers.first().expect("one").fresh_for(at + Duration::from_secs(60));
    let same = after(&after(&first, ""), "");
    assert_eq!(wait(&same), same.first().expect("one").settings.refresh_every.0 - Duration::from_secs(60));
    let changed = after(&same, "client_secret = 'another'\n");
    assert_eq!(wait(&changed), Duration::ZERO);
    assert_eq!(wait(&after(&changed, "client_secret = 'another'\n")), Duration::ZERO, "not asked by them yet");
    first.first().expect("one").trouble.store(Some(Arc::new(Reason::KeysFailed.into())));
    assert_eq!(wait(&after(&first, "")), Duration::ZERO, "it did not answer the last time");
}
