//! Issuers that are down, slow, somebody else, or change their keys.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;

use super::Looked;
use super::{KeySource, Readiness, unix_seconds};
use crate::background::FIRST_RETRY;
use crate::config::model::Issuer;
use crate::oidc::tests::support::{Answer, Fake, IMPATIENT, Signer, patience, until};
use crate::reason::Reason;

const DISCOVERY: &str = "/realm/.well-known/openid-configuration";

/// An entry for `issuer` with `more` lines.
fn entry(issuer: &str, more: &str) -> Issuer {
    toml::from_str(&format!("name = 'ci'\nissuer = '{issuer}'\n{}{more}\n", patience(more))).expect("an entry")
}

fn source(issuer: &str, more: &str) -> Arc<KeySource> {
    Arc::new(KeySource::new(&entry(issuer, more)).expect("a source"))
}

fn keys(signers: &[&Signer]) -> Answer {
    Answer::json(json!({ "keys": signers.iter().map(|signer| signer.jwk()).collect::<Vec<_>>() }))
}

fn now() -> u64 {
    unix_seconds(SystemTime::now())
}

/// The reason and detail of a fetch that fails; nothing is accepted then.
async fn trouble(source: &Arc<KeySource>) -> String {
    assert_eq!(source.refresh(Some(FIRST_RETRY)).await, None);
    let told = source.current(now()).map(drop).expect_err("no keys");
    let step_alone = told.detail.is_empty() || told.detail.starts_with("fetching them fails, at the step '");
    assert!(told.reason == Reason::KeysNotReady && step_alone, "clients are told no more: {told}");
    assert!(!told.to_string().contains("http://"), "clients are told no more: {told}");
    match source.readiness(SystemTime::now()) {
        Readiness::NotReady(failure) => failure.to_string(),
        ready => panic!("{ready:?}"),
    }
}

#[tokio::test]
async fn keys_that_cannot_be_fetched_accept_nothing_and_the_step_is_named() {
    let signer = Signer::new("k");
    let good = Fake::start(&signer).await.metadata();
    let json = |body: Value| Answer::json(body);
    let html = Answer { headers: "Content-Type: text/html\r\n".into(), ..json(good.clone()) };
    let moved = Answer { headers: "Location: https://evil.example/keys?secret\r\n".into(), ..json(json!({})) };
    let empty = Answer { body: String::new(), ..json(json!({})) };
    let many: Vec<Value> = (0..101).map(|n| json!({ "kty": "RSA", "kid": n.to_string() })).collect();
    let with = |name: &str, value: Value| {
        let mut metadata = good.clone();
        metadata[name] = value;
        json(metadata)
    };
    let table = [
        (DISCOVERY, json(json!({})).with_status(500), Reason::DiscoveryFailed, "HTTP status 500"),
        (DISCOVERY, moved.clone().with_status(302), Reason::DiscoveryFailed, "redirect to evil.example, which is not"),
        (DISCOVERY, html.clone(), Reason::DiscoveryForm, "content type"),
        (DISCOVERY, Answer::never(), Reason::DiscoveryFailed, "timeout"),
        (DISCOVERY, empty.clone(), Reason::DiscoveryForm, "JSON"),
        (DISCOVERY, json(json!([])), Reason::DiscoveryForm, "JSON"),
        // The metadata of the issuer that made `good`.
        (DISCOVERY, json(good.clone()), Reason::DiscoveryIssuer, "issuer: expected"),
        (DISCOVERY, with("issuer", json!(7)), Reason::DiscoveryForm, "issuer"),
        ("/keys", json(json!({})).with_status(500), Reason::KeysFailed, "HTTP status 500"),
        ("/keys", moved.with_status(301), Reason::KeysFailed, "redirect to evil.example, which is not"),
        ("/keys", html, Reason::KeysFailed, "content type"),
        ("/keys", Answer::never(), Reason::KeysFailed, "timeout"),
        ("/keys", empty, Reason::KeysFailed, "keys"),
        ("/keys", json(json!({ "keys": [] })), Reason::KeysFailed, "keys"),
        ("/keys", json(json!({ "keys": many })), Reason::KeysFailed, "101"),
    ];
    let mut running = tokio::task::JoinSet::new();
    for (path, answer, reason, named) in table {
        let fake = Fake::start(&signer).await;
        fake.set(path, answer);
        running.spawn(async move {
            let more = if named == "timeout" { IMPATIENT } else { "" };
            let told = trouble(&source(&fake.issuer, more)).await;
            assert!(told.starts_with(reason.code()) && told.contains(named) && !told.contains("secret"), "{told}");
        });
    }
    while let Some(checked) = running.join_next().await {
        checked.expect("as the table says");
    }
}

#[tokio::test]
async fn an_answer_without_end_is_cut_off() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let issuer = format!("http://{}", listener.local_addr().expect("an address"));
    let serving = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let _ = stream.read(&mut [0; 4096]).await;
        let head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n{\"x\":\"";
        let mut sent = 0;
        if stream.write_all(head).await.is_ok() {
            let chunk = [b'x'; 64 * 1024];
            while sent < 100_000_000 && stream.write_all(&chunk).await.is_ok() {
                sent += chunk.len();
            }
        }
        sent
    });
    let told = trouble(&source(&issuer, &format!("jwks_uri = '{issuer}/keys'"))).await;
    assert!(told.contains("larger than 1024 kB"), "{told}");
    assert!(serving.await.expect("no panic") < 20_000_000, "what the sockets held, and no more, was sent");
}

#[tokio::test]
async fn endpoints_without_tls_are_taken_from_the_configured_host_alone() {
    let signer = Signer::new("k");
    for (name, more) in [("jwks_uri", ""), ("introspection_endpoint", "introspection = true")] {
        let fake = Fake::start(&signer).await;
        for (address, named) in [
            ("http://keys.example/keys", "not https"),
            ("ftp://127.0.0.1/keys", "neither http nor https"),
            ("https://a:b@keys.example/", "a user"),
            ("keys", "no address"),
        ] {
            let mut metadata = fake.metadata();
            metadata[name] = address.into();
            fake.set(DISCOVERY, Answer::json(metadata));
            let told = trouble(&source(&fake.issuer, more)).await;
            assert!(told.contains(Reason::DiscoveryForm.code()) && told.contains(named), "{address}: {told}");
        }
        assert!(fake.seen("/keys").is_empty());
    }
}

#[tokio::test]
async fn an_issuer_is_asked_at_its_address_and_held_to_its_name() {
    let signer = Signer::new("k");
    let fake = Fake::start(&signer).await;
    let address = fake.issuer.trim_end_matches("/realm").to_owned();
    let metadata = json!({
        "issuer": "https://idp.example/realm", "jwks_uri": "https://idp.example/keys?v=1",
        "introspection_endpoint": "https://idp.example/introspect",
    });
    fake.set(DISCOVERY, Answer::json(metadata.clone()));
    let more = format!("address = '{address}'\nintrospection = true");
    let found = source("https://idp.example/realm", &more);
    assert!(found.refresh(None).await.is_some(), "{found:?}");
    assert_eq!(found.spelling().as_deref(), Some("https://idp.example/realm"));
    assert_eq!(found.introspection_endpoint().expect("one").as_str(), format!("{address}/introspect"));
    assert!(fake.seen("/keys")[0].head.starts_with("GET /keys?v=1 "));

    let other = source("https://idp.example/other", &more);
    fake.set("/other/.well-known/openid-configuration", Answer::json(metadata));
    assert!(trouble(&other).await.starts_with(Reason::DiscoveryIssuer.code()));

    let configured = source("https://idp.example", &format!("{more}\njwks_uri = 'https://idp.example/keys'"));
    assert!(configured.refresh(None).await.is_some(), "a configured address of the issuer's origin is dialled so, too");
}

#[tokio::test]
async fn metadata_is_found_where_it_may_be() {
    let signer = Signer::new("k");
    let fake = Fake::start(&signer).await;
    let origin = fake.issuer.trim_end_matches("/realm").to_owned();
    let metadata = |issuer: &str| Answer::json(json!({ "issuer": issuer, "jwks_uri": format!("{origin}/keys") }));
    let table = [
        // RFC 8414 §3.1, where Discovery has nothing.
        ("/oauth", "/oauth", "/.well-known/oauth-authorization-server/oauth"),
        ("", "", "/.well-known/openid-configuration"),
        // A bare host with and without its slash is one address.
        ("", "/", "/.well-known/openid-configuration"),
        ("/", "", "/.well-known/openid-configuration"),
        // As Entra does it.
        ("/{tenantid}/v2.0", "/{tenantid}/v2.0", "/common/v2.0/.well-known/openid-configuration"),
    ];
    for (configured, said, path) in table {
        let said = format!("{origin}{said}");
        fake.set(path, metadata(&said));
        let found = source(&format!("{origin}{configured}"), "tenants = ['t']");
        assert!(found.refresh(None).await.is_some(), "{configured}: {:?}", found.trouble.load());
        assert_eq!(found.spelling(), Some(said));
    }
    let wrong = source(&format!("{origin}/common/v2.0"), "");
    assert!(trouble(&wrong).await.contains("written with the placeholder"));
}

#[tokio::test]
async fn keys_are_fetched_again_as_their_answer_says_within_bounds() {
    let signer = Signer::new("k");
    let fake = Fake::start(&signer).await;
    let source = source(&fake.issuer, "refresh_every = '1h'");
    for (line, seconds) in [
        // Four fifths of the time, which is ahead of it.
        ("", 2880),
        ("Cache-Control: max-age=60\r\n", 48),
        ("Cache-Control: max-age=60\r\nAge: 20\r\n", 32),
        ("Cache-Control: max-age=1\r\n", 10),
        ("Cache-Control: no-store\r\n", 10),
        ("Cache-Control: max-age=864000\r\n", 2880),
    ] {
        let answer = keys(&[&signer]);
        fake.set("/keys", Answer { headers: format!("{}{line}", answer.headers), ..answer });
        assert_eq!(source.refresh(None).await, Some(Duration::from_secs(seconds)), "{line}");
    }
    let short = self::source(&fake.issuer, "keys_max_age = '1m'");
    assert_eq!(short.refresh(None).await, Some(Duration::from_secs(30)), "before they are too old");
    assert_eq!(fake.seen(DISCOVERY).len(), 2, "metadata is asked for every `refresh_every` only");
}

#[tokio::test]
async fn only_other_keys_are_a_new_generation() {
    let (first, second) = (Signer::new("a"), Signer::new("b"));
    let fake = Fake::start(&first).await;
    let source = source(&fake.issuer, "");
    assert_eq!(source.generation(), 0);
    for (signers, generation) in
        [(vec![&first], 1), (vec![&first], 1), (vec![&first, &second], 2), (vec![&second], 3), (vec![&second], 3)]
    {
        fake.set("/keys", keys(&signers));
        source.refresh(None).await;
        let current = source.current(now()).expect("keys");
        assert_eq!(
            (source.generation(), current.generation, current.set.len()),
            (generation, generation, signers.len())
        );
    }
}

#[tokio::test]
async fn keys_are_kept_while_the_issuer_is_down_and_not_forever() {
    let signer = Signer::new("k");
    let fake = Fake::start(&signer).await;
    let source = source(&fake.issuer, "keys_max_age = '1h'");
    source.refresh(None).await;
    fake.set("/keys", Answer::json(json!({})).with_status(503));
    assert_eq!(source.refresh(None).await, None);
    assert!(source.current(now() + 3500).is_ok());
    let ready = source.readiness(SystemTime::now());
    assert!(matches!(ready, Readiness::Ready { keys: 1, trouble: Some(_), .. }), "{ready:?}");

    let later = SystemTime::now() + Duration::from_secs(3600);
    assert_eq!(source.current(unix_seconds(later)).err().map(|told| told.reason), Some(Reason::KeysTooOld));
    assert!(matches!(source.readiness(later), Readiness::NotReady(trouble) if trouble.detail.contains("503")));

    fake.set("/keys", keys(&[&signer]));
    source.refresh(None).await;
    assert!(matches!(source.readiness(SystemTime::now()), Readiness::Ready { trouble: None, .. }));
    assert_eq!(source.generation(), 1, "the same keys as before");
}

#[tokio::test]
async fn a_flood_of_unknown_keys_causes_one_fetch() {
    let (first, second) = (Signer::new("a"), Signer::new("b"));
    let fake = Fake::start(&first).await;
    let source = source(&fake.issuer, "");
    assert!(
        source.look_for_newer(0).await != Looked::Newer && fake.seen("/keys").is_empty(),
        "the first keys are the background's work"
    );
    source.refresh(None).await;
    for _ in 0..1000 {
        assert_ne!(source.look_for_newer(1).await, Looked::Newer);
    }
    assert_eq!(fake.seen("/keys").len(), 2);

    // Five seconds later.
    source.for_tokens_not_before.store(0, SeqCst);
    fake.set("/keys", keys(&[&first, &second]));
    assert!((source.look_for_newer(1).await == Looked::Newer), "the keys have changed");
    assert!((source.look_for_newer(1).await == Looked::Newer) && fake.seen("/keys").len() == 3, "which is known now");
    assert!(source.look_for_newer(2).await != Looked::Newer && fake.seen("/keys").len() == 3);
}

#[tokio::test]
async fn two_hundred_who_wait_share_one_fetch_even_where_it_fails() {
    let (first, second) = (Signer::new("a"), Signer::new("b"));
    for (answer, newer) in [(keys(&[&second]), true), (Answer::json(json!({})).with_status(500), false)] {
        let fake = Fake::start(&first).await;
        let source = source(&fake.issuer, "");
        source.refresh(None).await;
        fake.set("/keys", Answer { delay: Duration::from_millis(300), ..answer });
        let mut waiting = tokio::task::JoinSet::new();
        for _ in 0..200 {
            let source = Arc::clone(&source);
            waiting.spawn(async move { source.look_for_newer(1).await == Looked::Newer });
        }
        assert_eq!(waiting.join_all().await, vec![newer; 200]);
        assert_eq!(fake.seen("/keys").len(), 2);
        assert!(source.current(now()).is_ok(), "old keys stay");
    }
}

#[tokio::test]
async fn a_client_that_hangs_up_does_not_end_the_fetch_for_others() {
    let (first, second) = (Signer::new("a"), Signer::new("b"));
    let fake = Fake::start(&first).await;
    let source = source(&fake.issuer, "");
    source.refresh(None).await;
    fake.set("/keys", Answer { delay: Duration::from_millis(300), ..keys(&[&second]) });
    let gone = tokio::spawn({
        let source = Arc::clone(&source);
        async move { source.look_for_newer(1).await == Looked::Newer }
    });
    until("asked", || fake.seen("/keys").len() == 2).await;
    gone.abort();
    assert!((source.look_for_newer(1).await == Looked::Newer));
    assert_eq!(fake.seen("/keys").len(), 2);
}

#[tokio::test]
async fn an_issuer_may_come_late_and_go_again() {
    let (first, second) = (Signer::new("a"), Signer::new("b"));
    let fake = Fake::start(&first).await;
    fake.set("/keys", Answer::json(json!({})).with_status(503));
    let source = source(&fake.issuer, "refresh_every = '500ms'");
    let (stop, stopping) = watch::channel(false);
    let background = tokio::spawn(Arc::clone(&source).keep_fresh(stopping));
    until("keys fail", || source.trouble.load().is_some()).await;
    assert_eq!(source.current(now()).err().map(|told| told.reason), Some(Reason::KeysNotReady));
    fake.set("/keys", keys(&[&first]));
    until("ready", || source.generation() == 1).await;
    fake.set(DISCOVERY, Answer::json(json!({})).with_status(500));
    until("trouble", || source.trouble.load().is_some()).await;
    assert!(source.current(now()).is_ok(), "what is known is kept");
    fake.set(DISCOVERY, Answer::json(fake.metadata()));
    fake.set("/keys", keys(&[&second]));
    until("rotated", || source.generation() == 2).await;
    stop.send(true).expect("listening");
    tokio::time::timeout(Duration::from_secs(100), background).await.expect("it stops").expect("no panic");
}

#[tokio::test]
async fn a_key_file_is_read_again_when_it_changes_and_a_broken_one_is_not_believed() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("keys.json");
    let write = |text: &str| std::fs::write(&path, text).expect("written");
    let entry = entry("https://ci.example", &format!("jwks_file = '{}'", path.display()));
    for text in ["", "{}", "no JSON", r#"{"keys":[]}"#, &"x".repeat(2_000_000)] {
        write(text);
        let refused = KeySource::new(&entry).map(drop).expect_err("a broken file");
        assert_eq!(refused.reason, Reason::ConfigInvalid);
        assert!(refused.detail.contains("keys.json"), "{refused}");
    }
    let (first, second) = (Signer::new("a"), Signer::new("b"));
    write(&keys(&[&first]).body);
    let source = Arc::new(KeySource::new(&entry).expect("a source"));
    assert_eq!((source.generation(), source.current(now()).is_ok()), (1, true), "from the start");
    source.refresh(None).await;
    assert_eq!(source.generation(), 1);

    write("{\"keys\":");
    assert!(source.refresh(None).await.is_some(), "it is looked at again soon");
    assert!(source.trouble.load().is_some() && source.current(now()).is_ok(), "old keys stay");
    std::fs::remove_file(&path).expect("removed");
    source.refresh(None).await;
    assert!(source.trouble.load().as_ref().is_some_and(|told| told.detail.contains("keys.json")));

    write(&keys(&[&first, &second]).body);
    assert!((source.look_for_newer(1).await == Looked::Newer), "a token with an unknown key is worth a look");
    assert!(source.trouble.load().is_none() && source.generation() == 2);
}

#[tokio::test]
async fn keys_that_are_configured_are_never_fetched_and_never_old() {
    let secret = source("https://ci.example", "secret = '0123456789abcdef0123456789abcdef'");
    let fixed = Arc::new(KeySource::fixed(super::KeySet::ed25519(&[("k".into(), [7; 32])])));
    for source in [secret, fixed] {
        assert!(source.current(u64::MAX - 1).is_ok() && source.generation() == 1);
        assert_ne!(source.look_for_newer(1).await, Looked::Newer);
        let (_stop, stopping) = watch::channel(false);
        Arc::clone(&source).keep_fresh(stopping).await;
    }
}

#[tokio::test]
async fn a_reload_keeps_the_keys_of_an_issuer_that_is_asked_at_the_same_place() {
    let signer = Signer::new("k");
    let fake = Fake::start(&signer).await;
    let before = source(&fake.issuer, "");
    before.refresh(None).await;
    let (same, other) = (source(&fake.issuer, "leeway = '1s'"), source("https://other.example", ""));
    same.inherit(&before);
    other.inherit(&before);
    assert!(same.current(now()).is_ok() && same.spelling().is_some());
    assert!(other.current(now()).is_err());
    // Asked lately by the same settings, it is not asked again; by others it is.
    let fresh_until = |source: &KeySource| source.fresh_until.load(SeqCst);
    assert!(fresh_until(&same) > now() && fresh_until(&same) == fresh_until(&before));
    let oftener = source(&fake.issuer, "refresh_every = '1m'");
    oftener.inherit(&same);
    assert!(oftener.current(now()).is_ok() && fresh_until(&oftener) == 0);
    let asked = fake.seen("/keys").len();
    let (stop, stopping) = watch::channel(false);
    let keeping = [same, oftener].map(|source| tokio::spawn(source.keep_fresh(stopping.clone())));
    until("the one is asked again", || fake.seen("/keys").len() > asked).await;
    stop.send_replace(true);
    futures::future::join_all(keeping).await;
    assert_eq!(fake.seen("/keys").len(), asked + 1, "and the other is not");
}

#[tokio::test]
async fn a_rotated_secret_is_no_key_after_a_reload() {
    let secret = |word: &str| source("https://ci.example", &format!("secret = '{}'", word.repeat(12)));
    let (before, after) = (secret("old"), secret("new"));
    after.inherit(&before);
    let set = |source: &KeySource| source.current(now()).map(|keys| keys.set.clone()).expect("keys");
    assert!(set(&after) == set(&secret("new")) && set(&after) != set(&before));
}
