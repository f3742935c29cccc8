//! How the gateway proves to a provider who it is: what is in each request, and what is not.

use std::collections::HashMap;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::support::{Answer, CLIENT, Fake, NOW, SECRET, Seen, Signer, claims, now, previous, ready, settings};
use crate::config::values::Secret;
use crate::oidc::{Provider, Providers};
use crate::reason::Reason;

/// A key and its certificate in files, and the settings that name them.
struct KeyFiles {
    _directory: tempfile::TempDir,
    key: String,
    certificate: String,
}

impl KeyFiles {
    fn new() -> KeyFiles {
        let directory = tempfile::tempdir().expect("a directory");
        let made = rcgen::generate_simple_self_signed(["gateway".to_owned()]).expect("a certificate");
        let write = |name: &str, text: String| {
            let path = directory.path().join(name);
            std::fs::write(&path, text).expect("written");
            path.display().to_string()
        };
        let key = write("key.pem", made.signing_key.serialize_pem());
        let certificate = write("certificate.pem", made.cert.pem());
        KeyFiles {
            key: format!("client_key_file = '{key}'\n"),
            certificate: format!("client_certificate_file = '{certificate}'\n"),
            _directory: directory,
        }
    }
}

/// What the token endpoint at `path` saw of a sign-in and of a renewal.
async fn seen_at(fake: &Fake, provider: &Provider, signer: &Signer, path: &str) -> [Seen; 2] {
    let begun = provider.begin("/", "a", now()).expect("begun");
    let mut claims = claims(&fake.issuer);
    claims["nonce"] = json!(begun.attempt.nonce);
    let tokens = json!({ "access_token": "t", "token_type": "Bearer", "id_token": signer.sign(&claims) });
    fake.set(path, Answer::json(tokens));
    let signed_in = provider.finish(&begun.attempt, None, "c", now()).await.expect("signed in");
    provider.refresh(&Secret::new("r"), previous(&signed_in), now()).await.expect("renewed");
    fake.seen(path).try_into().expect("two requests")
}

fn assertion(form: &HashMap<String, String>) -> (Value, Value) {
    let mut parts = form["client_assertion"].split('.');
    let mut part = || {
        let bytes = URL_SAFE_NO_PAD.decode(parts.next().expect("three parts")).expect("base64url");
        serde_json::from_slice(&bytes).expect("JSON")
    };
    (part(), part())
}

#[tokio::test]
async fn an_assertion_stands_in_for_the_secret_at_sign_in_and_renewal() {
    let signer = Signer::new("k");
    let files = KeyFiles::new();
    let by_key = format!("{}client_key_id = 'mine'\n", files.key);
    let by_secret = format!("client_secret = '{SECRET}'\nclient_auth = 'client_secret_jwt'\n");
    for (more, algorithm, kid) in [(by_key, "ES256", json!("mine")), (by_secret, "HS256", json!(null))] {
        let fake = Fake::start(&signer).await;
        let provider = ready(&fake, &more).await;
        let mut ids = Vec::new();
        for request in seen_at(&fake, &provider, &signer, "/token").await {
            let form = &request.form;
            assert_eq!(form["client_assertion_type"], "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
            assert_eq!(form["client_id"], CLIENT);
            assert!(!form.contains_key("client_secret") && !request.head.contains("authorization:"), "{more}");
            let (header, claims) = assertion(form);
            assert_eq!((&header["alg"], &header["kid"]), (&json!(algorithm), &kid));
            assert_eq!((&claims["iss"], &claims["sub"]), (&json!(CLIENT), &json!(CLIENT)));
            assert_eq!(claims["aud"], json!(fake.issuer));
            assert!(claims["exp"].as_u64().is_some_and(|exp| (NOW..=NOW + 120).contains(&exp)), "{claims}");
            ids.push(claims["jti"].clone());
        }
        assert_ne!(ids[0], ids[1], "an assertion is used once");
    }
}

#[tokio::test]
async fn no_assertion_is_good_anywhere_but_where_it_was_sent() {
    let signer = Signer::new("k");
    let key = KeyFiles::new();
    let fake = Fake::start(&signer).await;
    let at = |path: &str| fake.issuer.replace("/realm", path);
    // As a provider would that wants to be us at another one.
    let mut metadata = fake.metadata();
    metadata["token_endpoint"] = json!("http://honest.example/token");
    metadata["revocation_endpoint"] = json!(at("/revoke"));
    fake.set("/realm/.well-known/openid-configuration", Answer::json(metadata));
    fake.set("/revoke", Answer::json(json!({})));
    for (more, audience) in [("", fake.issuer.clone()), ("client_assertion_audience = 'endpoint'\n", at("/revoke"))] {
        let provider = ready(&fake, &format!("{}{more}", key.key)).await;
        provider.revoke(&Secret::new("r"), now()).await;
        let seen = fake.seen("/revoke").pop().expect("asked");
        assert_eq!(assertion(&seen.form).1["aud"], json!(audience));
    }
    let fake = Fake::start(&signer).await;
    let provider = ready(&fake, &format!("{}client_assertion_audience = 'endpoint'\n", key.key)).await;
    for request in seen_at(&fake, &provider, &signer, "/token").await {
        assert_eq!(assertion(&request.form).1["aud"], json!(fake.issuer.replace("/realm", "/token")));
    }
}

#[tokio::test]
async fn a_client_with_a_certificate_goes_where_certificates_are_asked_for() {
    let signer = Signer::new("k");
    let files = KeyFiles::new();
    let fake = Fake::start(&signer).await;
    let mut metadata = fake.metadata();
    metadata["mtls_endpoint_aliases"] = json!({ "token_endpoint": fake.issuer.replace("/realm", "/mtls/token") });
    fake.set("/realm/.well-known/openid-configuration", Answer::json(metadata));
    let (key, certificate) = (&files.key, &files.certificate);
    let provider = ready(&fake, &format!("{key}{certificate}client_auth = 'tls_client_auth'\n")).await;
    for request in seen_at(&fake, &provider, &signer, "/mtls/token").await {
        assert_eq!(request.form["client_id"], CLIENT);
        assert!(!request.form.contains_key("client_assertion") && !request.head.contains("authorization:"));
    }
    assert!(fake.seen("/token").is_empty());
    // Without one nothing is to be found there.
    let provider = ready(&fake, "").await;
    seen_at(&fake, &provider, &signer, "/token").await;
    assert_eq!(fake.seen("/mtls/token").len(), 2);
}

#[tokio::test]
async fn origin_is_sent_with_each_token_request_where_it_is_demanded_and_nowhere_else() {
    let signer = Signer::new("k");
    let fake = Fake::start(&signer).await;
    let provider = ready(&fake, "send_origin = true\n").await;
    for request in seen_at(&fake, &provider, &signer, "/token").await {
        let origin = request.head.lines().find_map(|line| line.strip_prefix("origin: "));
        assert_eq!(origin, Some("https://app.example"), "{}", request.head);
    }
    assert!(!fake.seen("/keys")[0].head.contains("origin:"));
    let fake = Fake::start(&signer).await;
    let provider = ready(&fake, "").await;
    let requests = seen_at(&fake, &provider, &signer, "/token").await;
    assert!(requests.iter().all(|request| !request.head.contains("origin:")));
}

#[test]
fn a_key_that_cannot_be_used_stops_the_start_and_names_its_file() {
    let (files, others) = (KeyFiles::new(), KeyFiles::new());
    for (more, named) in [
        ("client_key_file = '/does/not/exist.pem'".to_owned(), "exist.pem"),
        (files.certificate.replace("client_certificate_file", "client_key_file"), "certificate.pem"),
        (format!("{}client_certificate_file = '/no.pem'", files.key), "no.pem"),
        (format!("{}{}", files.key, others.certificate), "key.pem"),
        (format!("{}client_assertion_algorithm = 'RS256'", files.key), "key.pem"),
    ] {
        let failure = Providers::new(&settings("https://a.example", &more)).map(drop).expect_err(&more);
        assert!(failure.reason == Reason::CertificateUnusable && failure.detail.contains(named), "{more}: {failure}");
    }
}
