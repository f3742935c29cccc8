//! Providers that are down, slow, or something else.

use std::io::{Read, Write};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::json;
use tokio::sync::watch;

use super::support::{Answer, Fake, IMPATIENT, Signer, closed_port, now, ready, settings, until};
use crate::background::Next;
use crate::http_client::{HttpClient, HttpError};
use crate::oidc::{Providers, Readiness};
use crate::reason::Reason;

const DISCOVERY: &str = "/realm/.well-known/openid-configuration";

#[tokio::test]
async fn each_step_that_fails_is_named() {
    let signer = Signer::new("k");
    let good = Fake::start(&signer).await.metadata();
    let json = |body: serde_json::Value| Answer::json(body);
    let html = Answer { headers: "Content-Type: text/html; charset=utf-8\r\n".into(), ..json(good.clone()) };
    let moved = Answer { headers: "Location: https://evil.example/x?secret\r\n".into(), ..json(json!({})) };
    let large = Answer { body: format!("{{\"x\":\"{}\"}}", "x".repeat(2_000_000)), ..json(json!({})) };
    let broken = Answer { body: "{\"issuer\":\"secret".into(), ..json(json!({})) };
    let table = [
        (DISCOVERY, json(json!({})).with_status(500), Reason::DiscoveryFailed, "HTTP status 500"),
        (DISCOVERY, moved.clone().with_status(302), Reason::DiscoveryFailed, "redirect to evil.example, which is not"),
        (DISCOVERY, html.clone(), Reason::DiscoveryForm, "content type: expected JSON, got text/html"),
        (DISCOVERY, large.clone(), Reason::DiscoveryForm, "larger than 1024 kB"),
        (DISCOVERY, Answer::never(), Reason::DiscoveryFailed, "timeout"),
        (DISCOVERY, broken.clone(), Reason::DiscoveryForm, "JSON"),
        (DISCOVERY, json(good), Reason::DiscoveryIssuer, "issuer: expected"),
        (DISCOVERY, json(json!({})), Reason::DiscoveryForm, "issuer"),
        ("/keys", json(json!({})).with_status(404), Reason::KeysFailed, "HTTP status 404"),
        ("/keys", moved.with_status(301), Reason::KeysFailed, "redirect"),
        ("/keys", html, Reason::KeysFailed, "content type"),
        ("/keys", large, Reason::KeysFailed, "larger than"),
        ("/keys", broken, Reason::KeysFailed, "JSON"),
        ("/keys", json(json!({ "keys": [] })), Reason::KeysFailed, "none of 0"),
    ];
    let mut running = tokio::task::JoinSet::new();
    for (path, answer, reason, named) in table {
        let fake = Fake::start(&signer).await;
        fake.set(path, answer);
        running.spawn(async move {
            let more = if named == "timeout" { IMPATIENT } else { "" };
            let providers = Providers::new(&settings(&fake.issuer, more)).expect("providers");
            let provider = providers.first().expect("one");
            let failure = provider.fetch().await.map(drop).expect_err(named);
            assert_eq!(failure.reason, reason, "{failure}");
            assert!(failure.detail.contains(named) && !failure.detail.contains("secret"), "{failure}");
        });
    }
    while let Some(checked) = running.join_next().await {
        checked.expect("as the table says");
    }
}

#[tokio::test]
async fn the_network_step_that_fails_is_named() {
    let (_closed, port) = closed_port();
    // Too long for a name, so that no name server is waited for.
    let nowhere = format!("http://{}.invalid", "n".repeat(64));
    for (issuer, named) in [(nowhere, "DNS: "), (format!("http://127.0.0.1:{port}"), "TCP: ")] {
        let providers = Providers::new(&settings(&issuer, "")).expect("providers");
        let failure = providers.first().expect("one").fetch().await.map(drop).expect_err(named);
        assert_eq!(failure.reason, Reason::DiscoveryFailed);
        assert!(failure.detail.starts_with(named), "{failure}");
    }
}

#[tokio::test]
async fn a_provider_may_come_late_and_go_again() {
    let signer = Signer::new("k");
    let fake = Fake::start(&signer).await;
    fake.set("/keys", Answer::json(json!({})).with_status(503));
    let providers = Arc::new(Providers::new(&settings(&fake.issuer, "refresh_every = '500ms'\n")).expect("providers"));
    let provider = Arc::clone(providers.first().expect("one"));
    assert!(matches!(provider.readiness(), Readiness::NotReady(failure) if failure.reason == Reason::ProviderNotReady));
    let (stop, stopping) = watch::channel(false);
    let background = tokio::spawn({
        let providers = Arc::clone(&providers);
        async move { providers.keep_fresh(stopping).await }
    });
    let not_ready = |reason| matches!(provider.readiness(), Readiness::NotReady(failure) if failure.reason == reason);
    until("keys fail", || not_ready(Reason::KeysFailed)).await;
    let refused = provider.begin("/", "a", now()).expect_err("not ready");
    assert_eq!(refused.reason, Reason::KeysFailed, "the step that failed has the word");
    assert!(refused.detail.contains("503"), "{refused}");

    fake.set("/keys", Answer::json(json!({ "keys": [signer.jwk()] })));
    until("ready", || matches!(provider.readiness(), Readiness::Ready { .. })).await;

    fake.set(DISCOVERY, Answer::json(json!({})).with_status(500));
    until("trouble", || provider.trouble.load().is_some()).await;
    assert!(matches!(provider.readiness(), Readiness::Ready { .. }), "what is known is kept");
    provider.begin("/", "a", now()).expect("people still sign in");

    stop.send(true).expect("listening");
    tokio::time::timeout(Duration::from_secs(100), background).await.expect("it stops").expect("no panic");
}

#[tokio::test]
async fn the_next_try_is_told_and_never_lies_in_the_past() {
    let signer = Signer::new("k");
    let fake = Fake::start(&signer).await;
    fake.set("/keys", Answer::json(json!({})).with_status(503));
    let table = format!("refresh_every = '500ms'\n{IMPATIENT}");
    let providers = Arc::new(Providers::new(&settings(&fake.issuer, &table)).expect("providers"));
    let provider = Arc::clone(providers.first().expect("one"));
    assert_eq!(provider.standing().next, None, "nothing was begun");
    let (_stop, stopping) = watch::channel(false);
    tokio::spawn(async move { providers.keep_fresh(stopping).await });
    let ahead = || matches!(provider.standing().next, Some(Next::At(next)) if next > SystemTime::now());
    until("a next try of what was never fetched", || provider.standing().trouble.is_some() && ahead()).await;
    assert!(provider.standing().known.is_none());
    fake.set("/keys", Answer::json(json!({ "keys": [signer.jwk()] })));
    until("a next turn", || provider.standing().known.is_some() && ahead()).await;
    // From now on it hangs, as a process that is stopped.
    fake.set(DISCOVERY, Answer::never());
    until("asking it is under way", || provider.standing().next == Some(Next::Now)).await;
    until("a next try", || provider.standing().trouble.is_some() && ahead()).await;
}

#[tokio::test]
async fn sign_in_waits_no_longer_than_configured() {
    let signer = Signer::new("k");
    let fake = Fake::start(&signer).await;
    let provider = ready(&fake, IMPATIENT).await;
    fake.set("/token", Answer::never());
    let begun = provider.begin("/", "a", now()).expect("begun");
    let refused = provider.finish(&begun.attempt, None, "c", now()).await.expect_err("too slow");
    assert_eq!(refused.reason, Reason::ProviderUnreachable);
    assert!(refused.detail.contains("timeout"), "{refused}");
}

/// A server of one thread that speaks TLS with a certificate for 127.0.0.1, and answers `{}`.
fn tls_server() -> (url::Url, String) {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let config = rustls::ServerConfig::builder_with_provider(rustls::crypto::aws_lc_rs::default_provider().into())
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key.into())
        .expect("a configuration");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("https://{}/", listener.local_addr().expect("an address")).parse().expect("an address");
    let config = Arc::new(config);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let Ok(connection) = rustls::ServerConnection::new(Arc::clone(&config)) else { return };
            let mut tls = rustls::StreamOwned::new(connection, stream);
            let mut bytes = [0; 4096];
            if tls.read(&mut bytes).is_ok() {
                let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";
                let _ = tls.write_all(head.as_bytes());
                tls.conn.send_close_notify();
                let _ = tls.flush();
            }
        }
    });
    (url, made.cert.pem())
}

#[tokio::test]
async fn only_the_configured_authority_is_trusted() {
    let (url, own) = tls_server();
    let (_, other) = tls_server();
    let directory = tempfile::tempdir().expect("a directory");
    let client = |name: &str, pem: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, pem).expect("written");
        HttpClient::new(Duration::from_secs(60), Some(&path), None)
    };
    assert_eq!(client("own.pem", &own).expect("a client").get_json(&url, None).await, Ok(b"{}".to_vec()));
    let refused = client("other.pem", &other).expect("a client").get_json(&url, None).await;
    assert!(matches!(refused, Err(HttpError::Tls(_))), "{refused:?}");
    let plain: url::Url = url.as_str().replace("https", "http").parse().expect("an address");
    assert!(client("own.pem", &own).expect("a client").get_json(&plain, None).await.is_err());

    for text in ["", "no PEM", "-----BEGIN CERTIFICATE-----\nAAAA"] {
        let refused = client("bad.pem", text).map(drop).expect_err(text);
        assert_eq!(refused.reason, Reason::CertificateUnusable);
        assert!(refused.detail.contains("bad.pem"), "{refused}");
    }
    let missing = HttpClient::new(Duration::from_secs(60), Some(&directory.path().join("missing.pem")), None);
    assert_eq!(missing.map(drop).expect_err("missing").reason, Reason::CertificateUnusable);
}

#[tokio::test]
async fn a_server_that_speaks_no_tls_is_a_tls_failure() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("https://{}/", listener.local_addr().expect("an address")).parse().expect("an address");
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
            let _ = stream.read(&mut [0; 4096]);
        }
    });
    // With the system's authorities, so that building that client is tried, too.
    let refused = HttpClient::new(Duration::from_secs(60), None, None).expect("a client").get_json(&url, None).await;
    assert!(matches!(refused, Err(HttpError::Tls(_))), "{refused:?}");
}
