//! Issuers that say yes, no, or nothing of use about a token.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::{AT_ONCE, Introspector, RESERVED};
use crate::config::model::Issuer;
use crate::jwt::source::KeySource;
use crate::oidc::tests::support::{Answer, CLIENT, Fake, IMPATIENT, NOW, SECRET, Signer, now, patience, until};
use crate::reason::Reason;

const DISCOVERY: &str = "/realm/.well-known/openid-configuration";
const ENDPOINT: &str = "/introspect";

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(NOW + seconds)
}

fn entry(issuer: &str, more: &str) -> Issuer {
    let text = format!(
        "name = 'opaque'\nissuer = '{issuer}'\n{}introspection = true\n\
         client_id = '{CLIENT}'\nclient_secret = '{SECRET}'\n{more}\n",
        patience(more)
    );
    toml::from_str(&text).expect("an entry")
}

/// The issuer with an introspection endpoint that answers `answer`, and its metadata with `more`.
async fn issuer(answer: Answer, more: &[(&str, Value)]) -> Fake {
    let fake = Fake::start(&Signer::new("k")).await;
    let mut metadata = fake.metadata();
    metadata["introspection_endpoint"] = fake.issuer.replace("/realm", ENDPOINT).into();
    for (name, value) in more {
        metadata[*name] = value.clone();
    }
    fake.set(DISCOVERY, Answer::json(metadata));
    fake.set(ENDPOINT, answer);
    fake
}

async fn introspector(fake: &Fake, more: &str) -> Arc<Introspector> {
    let settings = entry(&fake.issuer, more);
    let source = Arc::new(KeySource::new(&settings).expect("a source"));
    assert!(source.refresh(None).await.is_some());
    Arc::new(Introspector::new(&settings, source).expect("an introspector"))
}

fn active() -> Answer {
    Answer::json(json!({ "active": true, "sub": "u-1", "scope": "read", "exp": NOW + 300 }))
}

#[tokio::test]
async fn an_active_token_is_asked_about_once_for_as_long_as_it_may() {
    for (exp, cache, until) in [(Some(NOW + 30), "60s", 30), (Some(NOW + 300), "60s", 60), (None, "60s", 60)] {
        let mut said = json!({ "active": true, "sub": "u-1", "exp": exp });
        if exp.is_none() {
            said.as_object_mut().expect("an object").remove("exp");
        }
        let fake = issuer(Answer::json(said.clone()), &[]).await;
        let asks = introspector(&fake, &format!("introspection_cache = '{cache}'")).await;
        for seconds in [0, 1, until - 1] {
            assert_eq!(Value::Object((*asks.ask("t", at(seconds)).await.expect("active")).clone()), said);
        }
        assert_eq!(fake.seen(ENDPOINT).len(), 1);
        fake.set(ENDPOINT, Answer::json(json!({ "active": false })));
        assert_eq!(asks.ask("t", at(until)).await.expect_err("revoked meanwhile").reason, Reason::TokenRevoked);
        assert_eq!(fake.seen(ENDPOINT).len(), 2, "{exp:?}");
    }
}

#[tokio::test]
async fn the_question_is_as_the_rfc_has_it_and_the_client_authenticates_one_way() {
    let listed = |methods: Value| ("introspection_endpoint_auth_methods_supported", methods);
    let post = listed(json!(["client_secret_post", "private_key_jwt"]));
    for (metadata, more, way) in [
        (vec![], "", "basic"),
        (vec![listed(json!(["client_secret_basic", "client_secret_post"]))], "", "basic"),
        (vec![post.clone()], "", "post"),
        (vec![post], "client_auth = 'client_secret_basic'", "basic"),
        (vec![], "client_auth = 'client_secret_post'", "post"),
        (vec![], "client_auth = 'none'", "none"),
    ] {
        let fake = issuer(active(), &metadata).await;
        introspector(&fake, more).await.ask("a token/+=&", now()).await.expect("active");
        let seen = fake.seen(ENDPOINT).remove(0);
        let head = seen.head.to_ascii_lowercase();
        assert!(head.starts_with("post /introspect ") && head.contains("application/x-www-form-urlencoded"), "{head}");
        assert_eq!(seen.form["token"], "a token/+=&");
        assert_eq!(seen.form["token_type_hint"], "access_token");
        // RFC 6749 §2.3.1: `a client:with/odd+letters` and `s3cr3t&=% ü`, form-encoded, then base64.
        let basic = "authorization: Basic YStjbGllbnQlM0F3aXRoJTJGb2RkJTJCbGV0dGVyczpzM2NyM3QlMjYlM0QlMjUrJUMzJUJD";
        assert_eq!(seen.head.contains(basic), way == "basic", "{way}: {}", seen.head);
        assert_eq!(head.contains("authorization:"), way == "basic");
        assert_eq!(seen.form.get("client_id").map(String::as_str), (way != "basic").then_some(CLIENT));
        assert_eq!(seen.form.get("client_secret").map(String::as_str), (way == "post").then_some(SECRET));
    }
}

#[tokio::test]
async fn an_inactive_token_is_refused_and_soon_asked_about_again() {
    let fake = issuer(Answer::json(json!({ "active": false, "sub": "u-1" })), &[]).await;
    let asks = introspector(&fake, "introspection_cache = '1h'").await;
    for seconds in [0, 9] {
        let refused = asks.ask("t", at(seconds)).await.expect_err("inactive");
        assert_eq!(
            (refused.reason, refused.detail.as_str()),
            (Reason::TokenRevoked, "the issuer says that it is not active")
        );
    }
    assert_eq!(fake.seen(ENDPOINT).len(), 1);
    fake.set(ENDPOINT, active());
    asks.ask("t", at(10)).await.expect("active now");
}

#[tokio::test]
async fn what_is_no_answer_accepts_nothing_blames_nobody_and_is_not_kept() {
    use Reason::{IntrospectionRefused, IntrospectionUnavailable};
    let json = Answer::json;
    let typed = |kind: &str| Answer { headers: format!("Content-Type: {kind}\r\n"), ..active() };
    let moved = Answer { headers: "Location: https://evil.example/?token=t\r\n".into(), ..active() };
    let large = json!({ "active": true, "sub": "x".repeat(100_000) });
    let table = [
        (json(json!({ "error": "invalid_client" })).with_status(401), IntrospectionRefused, "401, `invalid_client`"),
        (json(json!({})).with_status(403), IntrospectionRefused, "403"),
        (json(json!({ "error": "invalid_client" })).with_status(400), IntrospectionRefused, "invalid_client"),
        (json(json!({ "error": "invalid_request" })).with_status(400), IntrospectionUnavailable, "400"),
        (json(json!({ "active": true })).with_status(500), IntrospectionUnavailable, "500"),
        (json(json!({ "active": true })).with_status(429), IntrospectionUnavailable, "429"),
        (json(json!({ "active": true })).with_status(201), IntrospectionUnavailable, "201"),
        (moved.with_status(307), IntrospectionUnavailable, "redirect to evil.example, which is not followed"),
        (Answer::never(), IntrospectionUnavailable, "timeout"),
        (typed("text/html"), IntrospectionUnavailable, "content type"),
        (typed("application/token-introspection+jwt"), IntrospectionUnavailable, "content type"),
        (json(large), IntrospectionUnavailable, "larger than 64 kB"),
        (Answer { body: "{\"active\":true".into(), ..active() }, IntrospectionUnavailable, "no JSON"),
        (Answer { body: String::new(), ..active() }, IntrospectionUnavailable, "no JSON"),
        (
            Answer { body: "{\"active\":false,\"sub\":\"a\",\"active\":true}".into(), ..active() },
            IntrospectionUnavailable,
            "comes twice",
        ),
        (json(json!([true])), IntrospectionUnavailable, "no JSON object"),
        (json(json!({ "active": "true" })), IntrospectionUnavailable, "boolean"),
        (json(json!({ "active": 1 })), IntrospectionUnavailable, "boolean"),
        (json(json!({ "sub": "u-1" })), IntrospectionUnavailable, "boolean"),
        (json(json!({ "active": true, "sub": 7 })), IntrospectionUnavailable, "`sub` is no text"),
        (json(json!({ "active": true, "exp": "1800000000" })), IntrospectionUnavailable, "`exp` is no time"),
        (json(json!({ "active": true, "exp": 1.5 })), IntrospectionUnavailable, "`exp` is no time"),
        (json(json!({ "active": true, "nbf": -1 })), IntrospectionUnavailable, "`nbf` is no time"),
        (json(json!({ "active": true, "aud": { "a": 1 } })), IntrospectionUnavailable, "`aud` is neither"),
        (json(json!({ "active": true, "aud": ["a", 7] })), IntrospectionUnavailable, "`aud` is neither"),
        (json(json!({ "active": true, "scope": "a\nb" })), IntrospectionUnavailable, "`scope` holds"),
    ];
    let mut running = tokio::task::JoinSet::new();
    for (answer, reason, named) in table {
        running.spawn(async move {
            let fake = issuer(answer, &[]).await;
            let asks = introspector(&fake, if named == "timeout" { IMPATIENT } else { "" }).await;
            let refused = asks.ask("t0ken", now()).await.expect_err(named);
            assert_eq!((refused.reason, refused.detail.as_str()), (reason, ""), "clients are told no more");
            assert_eq!(refused.reason.status(), 503);
            let told = asks.trouble().expect("told").detail;
            assert!(told.contains(named) && !told.contains("t0ken") && !told.contains(SECRET), "{told}");
            fake.set(ENDPOINT, active());
            asks.ask("t0ken", at(30)).await.expect("a later question is asked");
            assert!(asks.trouble().is_none());
        });
    }
    while let Some(checked) = running.join_next().await {
        checked.expect("as the table says");
    }
}

#[tokio::test]
async fn many_requests_with_one_token_cause_one_question() {
    let fake = issuer(Answer { delay: Duration::from_millis(300), ..active() }, &[]).await;
    let asks = introspector(&fake, "").await;
    let mut waiting = tokio::task::JoinSet::new();
    for _ in 0..200 {
        let asks = Arc::clone(&asks);
        waiting.spawn(async move { asks.ask("t", now()).await.is_ok() });
    }
    // One more hangs up.
    let gone = Arc::clone(&asks);
    let gone = tokio::spawn(async move { gone.ask("t", now()).await });
    tokio::task::yield_now().await;
    gone.abort();
    assert_eq!(waiting.join_all().await, vec![true; 200]);
    assert_eq!(fake.seen(ENDPOINT).len(), 1);
    assert!(asks.0.asking.lock().expect("not poisoned").is_empty());
}

#[tokio::test]
async fn an_issuer_is_not_asked_about_more_tokens_at_once_than_it_can_bear() {
    let gate = Arc::new(Semaphore::new(0));
    let fake = issuer(Answer { gate: Some(gate.clone()), ..active() }, &[]).await;
    let asks = introspector(&fake, "").await;
    let (mut waiting, refused) = (tokio::task::JoinSet::new(), Arc::new(AtomicUsize::new(0)));
    for n in 0..AT_ONCE + 68 {
        let (asks, refused) = (Arc::clone(&asks), Arc::clone(&refused));
        waiting.spawn(async move {
            let answer = asks.ask(&n.to_string(), now()).await.map(drop).map_err(|failure| failure.reason);
            refused.fetch_add(usize::from(answer == Err(Reason::TooManyIntrospections)), SeqCst);
            answer
        });
    }
    let asked = AT_ONCE - RESERVED;
    until("all others are refused, while none is answered", || refused.load(SeqCst) == 68 + RESERVED).await;
    gate.add_permits(asked + 1);
    let answers = waiting.join_all().await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), asked);
    assert_eq!(fake.seen(ENDPOINT).len(), asked);
    asks.ask("another", now()).await.expect("there is room again");
}

#[tokio::test]
async fn tokens_that_somebody_made_up_do_not_crowd_out_those_that_were_active_lately() {
    let fake = issuer(active(), &[]).await;
    let asks = introspector(&fake, "").await;
    asks.ask("honest", now()).await.expect("active");
    let reason_of = |token: &'static str, seconds| {
        let asks = Arc::clone(&asks);
        async move { asks.ask(token, at(seconds)).await.err().map(|failure| failure.reason) }
    };
    // Its answer is over, and questions about others are under way.
    let take = |count: usize| Arc::clone(&asks.0.free).try_acquire_many_owned(count as u32).expect("room");
    let others = take(AT_ONCE - RESERVED);
    assert_eq!(reason_of("junk", 61).await, Some(Reason::TooManyIntrospections));
    assert_eq!(reason_of("honest", 61).await, None);
    let more = take(RESERVED);
    assert_eq!(reason_of("honest", 200).await, Some(Reason::TooManyIntrospections), "the limit holds for it, too");
    drop((others, more));
    assert_eq!(reason_of("junk", 200).await, None);
}

#[tokio::test]
async fn an_issuer_that_fails_is_left_alone_for_a_moment() {
    for (status, reason) in [(500, Reason::IntrospectionUnavailable), (401, Reason::IntrospectionRefused)] {
        let fake = issuer(active(), &[]).await;
        let asks = introspector(&fake, "").await;
        let reason_of = |token: &'static str, seconds| {
            let asks = Arc::clone(&asks);
            async move { asks.ask(token, at(seconds)).await.err().map(|failure| failure.reason) }
        };
        assert_eq!(reason_of("honest", 0).await, None);
        fake.set(ENDPOINT, Answer::json(json!({})).with_status(status));
        for token in ["junk", "other junk", "junk"] {
            assert_eq!(reason_of(token, 100).await, Some(reason));
        }
        assert_eq!(fake.seen(ENDPOINT).len(), 2, "one question, and the same answer to all");
        // A token that somebody made up may be what the issuer fails about.
        assert_eq!(reason_of("honest", 100).await, Some(reason));
        assert_eq!(fake.seen(ENDPOINT).len(), 3);
        assert_eq!(reason_of("honest", 100).await, Some(reason));
        assert_eq!(fake.seen(ENDPOINT).len(), 3, "it is the issuer after all");
        fake.set(ENDPOINT, active());
        assert_eq!(reason_of("new", 110).await, None);
        assert_eq!(reason_of("other", 100).await, None, "who is answered ends the pause");
    }
}

/// One such token a second would keep all others out.
#[tokio::test]
async fn a_failure_that_may_be_the_tokens_own_holds_up_no_other_token() {
    for answer in [
        Answer::json(json!({ "error": "invalid_request" })).with_status(400),
        Answer::json(json!({ "active": true, "exp": "soon" })),
        Answer { headers: "Content-Type: text/html\r\n".into(), ..active() },
    ] {
        let fake = issuer(answer, &[]).await;
        let asks = introspector(&fake, "").await;
        let refused = asks.ask("odd", now()).await.expect_err("no answer");
        assert_eq!(refused.reason, Reason::IntrospectionUnavailable);
        fake.set(ENDPOINT, active());
        asks.ask("new", now()).await.expect("asked about at once");
    }
}

#[tokio::test]
async fn two_issuers_share_no_answer() {
    let yes = issuer(active(), &[]).await;
    let no = issuer(Answer::json(json!({ "active": false })), &[]).await;
    let (first, second) = (introspector(&yes, "").await, introspector(&no, "").await);
    assert!(first.ask("t", now()).await.is_ok());
    assert!(second.ask("t", now()).await.is_err());
    assert!(first.ask("t", now()).await.is_ok());
    assert_eq!((yes.seen(ENDPOINT).len(), no.seen(ENDPOINT).len()), (1, 1));
}

#[tokio::test]
async fn the_endpoint_may_be_configured_and_is_needed() {
    let fake = issuer(active(), &[("introspection_endpoint", Value::Null)]).await;
    let named_nowhere = introspector(&fake, "").await;
    assert_eq!(named_nowhere.ask("t", now()).await.expect_err("none").reason, Reason::IntrospectionUnavailable);

    let settings = entry(&fake.issuer, "");
    let early = KeySource::new(&settings).map(Arc::new).expect("a source");
    let early = Introspector::new(&settings, early).expect("an introspector");
    assert_eq!(early.ask("t", now()).await.expect_err("not yet").reason, Reason::KeysNotReady);

    // The name of the issuer, and where it is dialled.
    let address = fake.issuer.trim_end_matches("/realm");
    let more = format!("address = '{address}'\nintrospection_endpoint = 'https://idp.example{ENDPOINT}'");
    let settings = entry("https://idp.example", &more);
    let source = KeySource::new(&settings).map(Arc::new).expect("a source");
    let asks = Introspector::new(&settings, source).expect("an introspector");
    asks.ask("t", now()).await.expect("without metadata");
    assert_eq!(fake.seen(ENDPOINT).len(), 1);
}

#[tokio::test]
async fn an_issuer_of_opaque_tokens_alone_needs_no_keys() {
    let fake = issuer(active(), &[("jwks_uri", Value::Null)]).await;
    introspector(&fake, "").await.ask("t", now()).await.expect("active");
    let settings = Issuer { introspection: false, ..entry(&fake.issuer, "") };
    assert_eq!(KeySource::new(&settings).map(Arc::new).expect("a source").refresh(None).await, None);
}
