//! The provider's metadata and keys: fetched with care, named when they cannot be used, kept when they go away.

use serde_json::{Value, json};

use crate::support::app::App;
use crate::support::eventually;
use crate::support::forger::{Forger, Key, trip};
use crate::support::gateway::{Config, Gateway};
use crate::support::person::Person;
use crate::support::provider::Provider;
use crate::support::setup::{ROUTES, provider_table, upstream_table};
use crate::support::tls::Authority;

/// Waits until `/readyz` names this reason, and tells what it says of the provider.
async fn not_ready(gateway: &Gateway, why: &str, reason: &str) -> Value {
    let named = eventually(&format!("{why}: a reason on /readyz"), || async {
        let (status, ready) = gateway.readyz().await;
        let provider = ready["providers"][0].clone();
        // DW-6001 stands there until the first try has come to an end.
        (status == 503 && provider["reason"] != "DW-6001").then_some(provider)
    })
    .await;
    assert_eq!(named["reason"], reason, "{why}: {named}");
    assert!(named["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{why}: {named}");
    named
}

#[tokio::test]
async fn metadata_that_cannot_be_used_are_named() {
    let app = App::start().await;
    for (why, change, reason) in [
        ("another issuer", json!({"issuer": "http://evil.test"}), "DW-6102"),
        ("the issuer with a slash", json!({"issuer": "http://127.0.0.2:1/"}), "DW-6102"),
        ("no issuer", json!({"issuer": null}), "DW-6103"),
        ("no authorization endpoint", json!({"authorization_endpoint": null}), "DW-6103"),
        ("no token endpoint", json!({"token_endpoint": null}), "DW-6103"),
        ("no keys", json!({"jwks_uri": null}), "DW-6103"),
        ("an endpoint of another kind", json!({"token_endpoint": "file:///etc/passwd"}), "DW-6103"),
        ("an endpoint that is a number", json!({"token_endpoint": 1}), "DW-6103"),
        ("a script as authorization endpoint", json!({"authorization_endpoint": "javascript:alert(1)"}), "DW-6103"),
    ] {
        let forger = Forger::start().await;
        forger.metadata(change);
        let gateway = forger.config(&app.url(), "").start().await;
        not_ready(&gateway, why, reason).await;
        let answer = Person::new().open(&gateway.url("/page")).await;
        assert_eq!(
            (answer.status, answer.reason().as_str()),
            (503, reason),
            "{why}: who wants to sign in reads the same"
        );
    }
}

#[tokio::test]
async fn metadata_that_promise_too_little_are_a_warning() {
    let (forger, app) = (Forger::start().await, App::start().await);
    forger.metadata(json!({"response_types_supported": ["id_token"]}));
    let gateway = forger.gateway(&app.url(), "").await;
    gateway.log_line(&["DW-6105", "response_types_supported"]).await;
}

#[tokio::test]
async fn an_answer_that_is_no_metadata_is_named_and_no_redirect_is_followed() {
    let (app, elsewhere) = (App::start().await, App::start().await);
    let huge = format!("{{\"x\":\"{}\"}}", "x".repeat(20 << 20));
    let deep = format!("{{\"x\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    for (why, status, location, body, reasons) in [
        ("a page", 200, "", "<html>sign in</html>", ["DW-6103", "DW-6103"]),
        ("nothing", 200, "", "", ["DW-6103", "DW-6103"]),
        ("a list", 200, "", "[]", ["DW-6103", "DW-6103"]),
        ("deep JSON", 200, "", &deep, ["DW-6103", "DW-6103"]),
        ("twenty megabytes", 200, "", &huge, ["DW-6103", "DW-6101"]),
        ("an error", 500, "", "oops", ["DW-6101", "DW-6101"]),
        ("not found", 404, "", "no", ["DW-6101", "DW-6103"]),
        ("a redirect", 302, &elsewhere.url(), "", ["DW-6101", "DW-6103"]),
    ] {
        let forger = Forger::start().await;
        forger.instead("metadata", status, location, body);
        let gateway = forger.config(&app.url(), "").start().await;
        let (_, ready) = eventually(why, || async {
            Some(gateway.readyz().await).filter(|(_, ready)| ready["providers"][0]["reason"] != "DW-6001")
        })
        .await;
        let reason = ready["providers"][0]["reason"].as_str().expect("a reason").to_owned();
        assert!(reasons.contains(&reason.as_str()), "{why}: {ready}");
        // When it comes right, no restart is needed.
        forger.instead(
            "metadata",
            200,
            "",
            &json!({
                "issuer": forger.issuer, "authorization_endpoint": format!("{}/authorize", forger.issuer),
                "token_endpoint": format!("{}/token", forger.issuer), "jwks_uri": format!("{}/jwks", forger.issuer),
                "response_types_supported": ["code"], "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": ["ES256"],
            })
            .to_string(),
        );
        gateway.ready().await;
    }
    assert!(elsewhere.seen().is_empty(), "a redirect was followed: {:?}", elsewhere.seen());
}

#[tokio::test]
async fn keys_that_cannot_be_used_are_named_and_never_accepted() {
    let (app, elsewhere) = (App::start().await, App::start().await);
    let huge = format!("{{\"keys\":[],\"x\":\"{}\"}}", "x".repeat(20 << 20));
    let symmetric = json!({"keys": [{"kty": "oct", "k": "c2VjcmV0", "alg": "HS256"}]}).to_string();
    let encryption = json!({"keys": [{"kty": "EC", "crv": "P-256", "use": "enc", "x": "AA", "y": "AA"}]}).to_string();
    for (why, status, location, body) in [
        ("no keys", 200, "", r#"{"keys":[]}"#),
        ("not even a list", 200, "", "{}"),
        ("a page", 200, "", "<html></html>"),
        ("an empty answer", 200, "", ""),
        ("only a symmetric key", 200, "", &symmetric),
        ("only a key for encryption", 200, "", &encryption),
        ("twenty megabytes", 200, "", &huge),
        ("an error", 500, "", "oops"),
        ("a redirect", 302, &elsewhere.url(), ""),
    ] {
        let forger = Forger::start().await;
        forger.instead("keys", status, location, body);
        let gateway = forger.config(&app.url(), "").start().await;
        not_ready(&gateway, why, "DW-6104").await;
    }
    assert!(elsewhere.seen().is_empty(), "a redirect was followed: {:?}", elsewhere.seen());
}

#[tokio::test]
async fn keys_that_went_away_are_kept_and_replaced_only_by_good_ones() {
    let (forger, app) = (Forger::start().await, App::start().await);
    let gateway = forger.gateway(&app.url(), "refresh_every = \"1s\"").await;
    let signs_in = async || trip(&Person::new(), &gateway).await.location().is_some();
    assert!(signs_in().await);
    for body in [r#"{"keys":[]}"#, "<html></html>"] {
        forger.instead("keys", 200, "", body);
        let asked = forger.key_requests();
        eventually("two more fetches", || async { (forger.key_requests() >= asked + 2).then_some(()) }).await;
        assert!(signs_in().await, "the old keys are kept over {body:?}");
    }
    // A new set in which the old key is not any more ends the old key.
    forger.instead("keys", 200, "", &json!({"keys": [Key::new("key-2").jwk()]}).to_string());
    let asked = forger.key_requests();
    eventually("two more fetches", || async { (forger.key_requests() >= asked + 2).then_some(()) }).await;
    assert!(!signs_in().await);
}

#[tokio::test]
async fn a_provider_with_a_certificate_of_its_own_authority_is_believed_where_configured() {
    let (authority, app) = (Authority::new(), App::start().await);
    for (ca, ready) in [(true, true), (false, false)] {
        let config = Config::new();
        let (certificate, key) = authority.leaf(&["127.0.0.2"]).write(config.dir.path());
        let provider = Provider::start_tls(json!({"tls": {"cert": certificate, "key": key}}), &authority);
        let path = config.dir.path().join("ca.pem");
        std::fs::write(&path, authority.pem()).expect("PEM");
        let client = provider.register(&config.public_url, json!({})).await;
        let keys = if ca { format!("ca_file = {path:?}\n") } else { String::new() };
        let table = format!("{}{keys}", provider_table(&provider, &client));
        let gateway = config.add(&table).add(&upstream_table(&app.url())).add(ROUTES).start().await;
        if ready {
            gateway.ready().await;
            let root = reqwest::Certificate::from_pem(authority.pem().as_bytes()).expect("PEM");
            let person = Person::with(reqwest::Client::builder().tls_certs_merge([root]));
            person.sign_in(&gateway.url("/page"), provider.user("anna")).await;
        } else {
            let named = not_ready(&gateway, "an unknown authority", "DW-6101").await;
            assert!(named["detail"].to_string().to_lowercase().contains("certificate"), "{named}");
        }
    }
}
