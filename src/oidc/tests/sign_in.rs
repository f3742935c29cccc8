//! Sign-ins, renewals and sign-outs against the small provider.

use std::collections::HashMap;
use std::sync::Arc;

use base64::Engine;
use serde_json::{Value, json};
use url::Url;

use super::support::{Answer, CLIENT, Fake, NOW, SECRET, Signer, base64url, claims, now, previous, ready, settings};
use crate::config::values::Secret;
use crate::oidc::{Begun, Previous, Provider, Providers, Readiness, RefreshFailure, SignedIn};
use crate::reason::{Failure, Reason};

fn query(url: &Url) -> HashMap<String, String> {
    let pairs: Vec<_> = url.query_pairs().into_owned().collect();
    let map: HashMap<_, _> = pairs.iter().cloned().collect();
    assert_eq!(map.len(), pairs.len(), "a parameter comes twice: {url}");
    map
}

fn tokens(signer: &Signer, claims: &Value) -> Value {
    json!({ "access_token": "the-access-token", "token_type": "bEARER", "expires_in": 600,
            "refresh_token": "the-refresh-token", "id_token": signer.sign(claims), "scope": "openid" })
}

fn begin(provider: &Provider) -> Begun {
    provider.begin("/wiki?a=b", "7f", now()).expect("begun")
}

/// What the proxy awaits has to be able to move between its threads; only the compiler can tell.
#[allow(dead_code)]
fn futures_are_send(
    provider: &'static Provider,
    begun: &'static Begun,
    one: &'static SignedIn,
    token: &'static Secret,
) {
    fn send<T: Send>(_: T) {}
    send(provider.finish(&begun.attempt, None, "c", now()));
    send(provider.refresh(token, previous(one), now()));
}

/// A whole sign-in whose ID token has `changes`.
async fn sign_in(fake: &Fake, provider: &Provider, signer: &Signer, changes: Value) -> Result<SignedIn, Failure> {
    let begun = begin(provider);
    let mut claims = claims(&fake.issuer);
    claims["nonce"] = json!(begun.attempt.nonce);
    for (name, value) in changes.as_object().expect("an object") {
        claims[name] = value.clone();
    }
    fake.set("/token", Answer::json(tokens(signer, &claims)));
    provider.finish(&begun.attempt, None, "the-code", now()).await
}

#[tokio::test]
async fn a_person_signs_in() {
    let signer = Signer::new("k");
    let fake = Fake::start(&signer).await;
    let more = format!(
        "client_secret = '{SECRET}'\nscopes = ['email', 'openid', 'offline_access']\nprompt = 'login consent'\n\
         max_age = '1h'\nacr_values = ['gold', 'silver']\nlogin_hint = 'a@b.example'\ndomain_hint = 'b.example'\n\
         authorization_params = {{ hd = 'b & c' }}\n"
    );
    let provider = ready(&fake, &more).await;
    let begun = begin(&provider);
    let asked = query(&begun.authorization_url);
    let challenge = base64url(ring::digest::digest(&ring::digest::SHA256, begun.attempt.code_verifier.as_bytes()));
    let wanted = [
        ("tenant", "a"),
        ("response_type", "code"),
        ("client_id", CLIENT),
        ("redirect_uri", "https://app.example/oidc/callback"),
        ("scope", "openid email offline_access"),
        ("state", &begun.attempt.state),
        ("nonce", &begun.attempt.nonce),
        ("code_challenge", &challenge),
        ("code_challenge_method", "S256"),
        ("prompt", "login consent"),
        ("max_age", "3600"),
        ("acr_values", "gold silver"),
        ("login_hint", "a@b.example"),
        ("domain_hint", "b.example"),
        ("hd", "b & c"),
    ];
    assert_eq!(asked, wanted.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
    assert!(begun.attempt.state.starts_with("7f.") && begun.attempt.state.len() == 3 + 43);

    let claims = json!({ "iss": fake.issuer, "aud": [CLIENT], "sub": "u-1", "exp": NOW + 300, "iat": NOW,
        "nonce": begun.attempt.nonce, "auth_time": NOW - 5, "acr": "gold", "email": "a@b.example", "groups": "staff" });
    fake.set("/token", Answer::json(tokens(&signer, &claims)));
    let signed_in = provider.finish(&begun.attempt, None, "the-code", now()).await.expect("signed in");
    assert_eq!((signed_in.identity.user.as_str(), signed_in.identity.provider.as_str()), ("u-1", "corp"));
    assert_eq!(signed_in.identity.groups, Some(vec!["staff".into()]));
    assert_eq!(signed_in.access_token.as_ref().map(Secret::expose), Some("the-access-token"));
    assert_eq!(signed_in.refresh_token.as_ref().map(Secret::expose), Some("the-refresh-token"));
    assert_eq!(signed_in.tokens_expire_at, Some(NOW + 600));
    assert!(signed_in.id_token.is_some());

    let request = &fake.seen("/token")[0];
    let basic = request.head.lines().find_map(|line| line.strip_prefix("authorization: Basic ")).expect("Basic");
    let credentials = base64::engine::general_purpose::STANDARD.decode(basic).expect("base64");
    // RFC 6749 §2.3.1: form-encoded, each by itself.
    assert_eq!(String::from_utf8_lossy(&credentials), "a+client%3Awith%2Fodd%2Bletters:s3cr3t%26%3D%25+%C3%BC");
    let form = &request.form;
    assert_eq!((form.get("client_id"), form.get("client_secret")), (None, None));
    assert_eq!(form["code_verifier"], begun.attempt.code_verifier);
    assert_eq!((form["grant_type"].as_str(), form["code"].as_str()), ("authorization_code", "the-code"));
    assert_eq!(form["redirect_uri"], "https://app.example/oidc/callback");

    let shown = format!("{signed_in:?} {begun:?} {provider:?}");
    for secret in ["the-access-token", "the-refresh-token", begun.attempt.code_verifier.as_str(), SECRET] {
        assert!(!shown.contains(secret), "{shown}");
    }
}

#[tokio::test]
async fn the_secret_goes_one_way_only() {
    let signer = Signer::new("k");
    let fake = Fake::start(&signer).await;
    let secret = format!("client_secret = '{SECRET}'\n");
    let cases = [
        (String::new(), false, Some(CLIENT), None),
        (secret.clone(), true, None, None),
        (format!("{secret}client_auth = 'client_secret_post'\n"), false, Some(CLIENT), Some(SECRET)),
        (format!("{secret}client_auth = 'none'\n"), false, Some(CLIENT), None),
    ];
    for (more, basic, id, secret) in cases {
        let provider = ready(&fake, &more).await;
        sign_in(&fake, &provider, &signer, json!({})).await.expect("signed in");
        let request = fake.seen("/token").pop().expect("a request");
        assert_eq!(request.head.contains("authorization:"), basic, "{more}");
        assert_eq!(request.form.get("client_id").map(String::as_str), id, "{more}");
        assert_eq!(request.form.get("client_secret").map(String::as_str), secret, "{more}");
    }
}

#[tokio::test]
async fn the_response_of_another_provider_is_refused() {
    let signer = Signer::new("k");
    let fake = Fake::start(&signer).await;
    let provider = ready(&fake, "").await;
    let wrong = |provider: &Provider, iss: Option<&str>| provider.check_response_issuer(iss).map_err(|f| f.reason);
    assert_eq!(wrong(&provider, None), Ok(()));
    assert_eq!(wrong(&provider, Some(&fake.issuer)), Ok(()));
    for other in ["https://evil.example", "", &format!("{}/", fake.issuer)] {
        assert_eq!(wrong(&provider, Some(other)), Err(Reason::IssuerMixUp), "{other}");
    }
    let refused = provider.finish(&begin(&provider).attempt, Some("https://evil.example"), "c", now()).await;
    assert_eq!(refused.expect_err("another").reason, Reason::IssuerMixUp);
    let mut foreign = begin(&provider).attempt;
    foreign.provider = "other".into();
    let refused = provider.finish(&foreign, None, "c", now()).await;
    assert_eq!(refused.expect_err("another").reason, Reason::IssuerMixUp);
    assert!(fake.seen("/token").is_empty(), "the code was sent");

    let mut metadata = fake.metadata();
    metadata["authorization_response_iss_parameter_supported"] = json!(true);
    fake.set("/realm/.well-known/openid-configuration", Answer::json(metadata));
    let provider = ready(&fake, "").await;
    assert_eq!(wrong(&provider, None), Err(Reason::IssuerMixUp));
    assert_eq!(wrong(&provider, Some(&fake.issuer)), Ok(()));
}

#[tokio::test]
async fn key_rotation_fails_no_sign_in_and_floods_nobody() {
    let (old, new) = (Signer::new("old"), Signer::new("new"));
    let fake = Fake::start(&old).await;
    let provider = ready(&fake, "").await;
    sign_in(&fake, &provider, &old, json!({})).await.expect("with the old key");
    assert_eq!(fake.seen("/keys").len(), 1);

    fake.set("/keys", Answer::json(json!({ "keys": [new.jwk()] })));
    let begun: Vec<_> = (0..10).map(|_| begin(&provider)).collect();
    let mut several = tokio::task::JoinSet::new();
    let claims = |nonce: &str| {
        let mut claims = claims(&fake.issuer);
        claims["nonce"] = json!(nonce);
        claims
    };
    // All ten hold the same nonce, for the provider has one answer.
    let nonce = begun[0].attempt.nonce.clone();
    fake.set("/token", Answer::json(tokens(&new, &claims(&nonce))));
    for mut begun in begun {
        begun.attempt.nonce = nonce.clone();
        let provider = Arc::clone(&provider);
        several.spawn(async move { provider.finish(&begun.attempt, None, "c", now()).await.map(drop) });
    }
    while let Some(finished) = several.join_next().await {
        finished.expect("no panic").expect("signed in with the new key");
    }
    assert_eq!(fake.seen("/keys").len(), 2, "one fetch for all");

    for _ in 0..5 {
        let unknown = sign_in(&fake, &provider, &Signer::new("unknown"), json!({})).await;
        assert_eq!(unknown.expect_err("unknown key").reason, Reason::IdTokenKey);
    }
    assert_eq!(fake.seen("/keys").len(), 2, "throttled");
    sign_in(&fake, &provider, &new, json!({})).await.expect("the good keys are kept");
}

#[tokio::test]
async fn a_token_endpoint_that_refuses_has_a_reason() {
    let signer = Signer::new("k");
    let fake = Fake::start(&signer).await;
    let provider = ready(&fake, "").await;
    let error =
        |code: &str| Answer::json(json!({ "error": code, "error_description": "why\n\u{1b}" })).with_status(400);
    let html =
        Answer { headers: "Content-Type: text/html\r\n".into(), body: "<p>".into(), ..error("") }.with_status(200);
    let redirect = Answer { headers: "Location: https://evil.example/token\r\n".into(), ..error("") }.with_status(307);
    let only = |answer: Value| Answer::json(answer);
    let twice = Answer { body: "{\"access_token\":\"leaked\",\"access_token\":\"leaked2\"}".into(), ..only(json!({})) };
    let table = [
        (error("invalid_grant"), Reason::CodeRefused),
        // No secret is configured, and none was sent.
        (error("invalid_client").with_status(401), Reason::ClientSecretMissing),
        (error("unauthorized_client"), Reason::ClientRefused),
        (error("invalid_request"), Reason::TokenAnswer),
        (error("temporarily_unavailable"), Reason::ProviderUnreachable),
        (error("invalid_grant").with_status(500), Reason::ProviderUnreachable),
        (error("x").with_status(429), Reason::ProviderUnreachable),
        (redirect, Reason::TokenAnswer),
        (html, Reason::TokenAnswer),
        (twice, Reason::TokenAnswer),
        // Auth0's word for a wrong secret, and an error under a good status.
        (error("access_denied").with_status(401), Reason::ClientRefused),
        (error("invalid_grant").with_status(200), Reason::CodeRefused),
        (only(json!({})), Reason::TokenAnswer),
        (only(json!(["leaked-token"])), Reason::TokenAnswer),
        (only(json!({ "access_token": ["leaked-token"], "token_type": "Bearer" })), Reason::TokenAnswer),
        (only(json!({ "access_token": "leaked-token", "token_type": "DPoP" })), Reason::TokenAnswer),
        (only(json!({ "access_token": "leaked-token", "token_type": "Bearer" })), Reason::NoIdToken),
        (only(json!({ "access_token": "leaked-token", "token_type": "bearer", "id_token": "" })), Reason::NoIdToken),
        (only(json!({ "access_token": "t", "token_type": "bearer", "id_token": "leaked-token" })), Reason::IdTokenForm),
    ];
    for (answer, wanted) in table {
        let body = answer.body.clone();
        fake.set("/token", answer);
        let refused = provider.finish(&begin(&provider).attempt, None, "leaked-code", now()).await.expect_err(&body);
        assert_eq!(refused.reason, wanted, "{body} {refused}");
        assert!(!refused.detail.contains("leaked") && !refused.detail.contains(['\n', '\u{1b}']), "{refused}");
    }
}

#[tokio::test]
async fn expires_in_may_be_a_text_or_absent() {
    let signer = Signer::new("k");
    let fake = Fake::start(&signer).await;
    let provider = ready(&fake, "").await;
    for (expires_in, wanted) in
        [(json!("599"), NOW + 599), (json!(7.5), NOW + 300), (Value::Null, NOW + 300), (json!(u64::MAX), u64::MAX)]
    {
        let begun = begin(&provider);
        let mut claims = claims(&fake.issuer);
        claims["nonce"] = json!(begun.attempt.nonce);
        let mut answer = tokens(&signer, &claims);
        answer["expires_in"] = expires_in;
        fake.set("/token", Answer::json(answer));
        let signed_in = provider.finish(&begun.attempt, None, "c", now()).await.expect("signed in");
        assert_eq!(signed_in.tokens_expire_at, Some(wanted));
    }
}

#[tokio::test]
async fn userinfo_fills_gaps_and_is_of_the_same_person() {
    let signer = Signer::new("k");
    let fake = Fake::start(&signer).await;
    let provider = ready(&fake, "userinfo = true\n").await;
    let said = json!({ "sub": "u-1", "email": "from@userinfo.example", "groups": ["g"] });
    fake.set("/userinfo", Answer::json(said.clone()));
    let signed_in = sign_in(&fake, &provider, &signer, json!({ "groups": ["of the token"] })).await.expect("signed in");
    assert_eq!(signed_in.identity.email.as_deref(), Some("from@userinfo.example"));
    assert_eq!(signed_in.identity.groups, Some(vec!["of the token".into()]));
    assert!(fake.seen("/userinfo")[0].head.contains("authorization: Bearer the-access-token"));

    let jwt = Answer { headers: "Content-Type: application/jwt\r\n".into(), ..Answer::json(said) };
    let table = [
        (Answer::json(json!({ "sub": "somebody else" })), Reason::UserinfoAnswer),
        (Answer::json(json!({ "email": "a@b.example" })), Reason::UserinfoAnswer),
        (Answer::json(json!({})).with_status(401), Reason::UserinfoAnswer),
        (Answer::json(json!({})).with_status(503), Reason::ProviderUnreachable),
        (jwt, Reason::UserinfoAnswer),
    ];
    for (answer, wanted) in table {
        fake.set("/userinfo", answer);
        let refused = sign_in(&fake, &provider, &signer, json!({})).await.expect_err("refused");
        assert_eq!(refused.reason, wanted, "{refused}");
        assert!(!refused.detail.contains("the-access-token"), "{refused}");
    }
}

#[tokio::test]
async fn a_session_is_renewed() {
    let signer = Signer::new("k");
    let fake = Fake::start(&signer).await;
    let provider = ready(&fake, "").await;
    let signed_in =
        sign_in(&fake, &provider, &signer, json!({ "groups": ["a"], "name": "N" })).await.expect("signed in");
    let old = signed_in.refresh_token.clone().expect("a refresh token");
    let renew = async |answer: Value| {
        fake.set("/token", Answer::json(answer));
        provider.refresh(&old, previous(&signed_in), now()).await
    };
    let id_token = |changes: Value| {
        let mut claims = claims(&fake.issuer);
        // Core §12.2: there should be no nonce.
        claims.as_object_mut().expect("an object").remove("nonce");
        for (name, value) in changes.as_object().expect("an object") {
            claims[name] = value.clone();
        }
        json!({ "access_token": "new", "token_type": "Bearer", "id_token": signer.sign(&claims) })
    };

    let bare =
        renew(json!({ "access_token": "new", "token_type": "bearer", "expires_in": 60 })).await.expect("renewed");
    assert_eq!((bare.identity, bare.id_token), (signed_in.identity.clone(), None));
    assert_eq!(bare.refresh_token.as_ref().map(Secret::expose), Some("the-refresh-token"));
    assert_eq!((bare.access_token.as_ref().map(Secret::expose), bare.tokens_expire_at), (Some("new"), Some(NOW + 60)));
    let form = fake.seen("/token").pop().expect("a request").form;
    assert_eq!((form["grant_type"].as_str(), form["refresh_token"].as_str()), ("refresh_token", "the-refresh-token"));

    let rotated = json!({ "access_token": "new", "token_type": "Bearer", "refresh_token": "rotated" });
    let rotated = renew(rotated).await.expect("renewed");
    assert_eq!(rotated.refresh_token.as_ref().map(Secret::expose), Some("rotated"));

    let silent = renew(id_token(json!({}))).await.expect("renewed");
    assert_eq!(silent.identity, signed_in.identity);
    let changed = renew(id_token(json!({ "groups": ["b"], "auth_time": 0 }))).await.expect("renewed");
    assert_eq!((changed.identity.groups, changed.identity.name), (Some(vec!["b".into()]), None));

    for (changes, wanted) in [
        (json!({ "sub": "somebody else" }), Reason::RefreshRefused),
        (json!({ "aud": "other" }), Reason::IdTokenAudience),
        (json!({ "iss": "https://other.example" }), Reason::IdTokenIssuer),
    ] {
        let refused = renew(id_token(changes)).await.expect_err("refused");
        assert!(matches!(&refused, RefreshFailure::Refused(failure) if failure.reason == wanted), "{refused:?}");
    }
    let answers = [
        (Answer::json(json!({ "error": "invalid_grant" })).with_status(400), true, Reason::RefreshRefused),
        (Answer::json(json!({ "error": "invalid_client" })).with_status(401), true, Reason::ClientSecretMissing),
        (Answer::json(json!({})).with_status(502), false, Reason::RefreshUnavailable),
        (Answer { body: "<p>".into(), ..Answer::json(json!({})) }, false, Reason::RefreshUnavailable),
    ];
    for (answer, refused, wanted) in answers {
        fake.set("/token", answer);
        let failure = provider.refresh(&old, previous(&signed_in), now()).await.expect_err("no renewal");
        assert_eq!(matches!(failure, RefreshFailure::Refused(_)), refused, "{failure:?}");
        assert_eq!(failure.failure().reason, wanted, "{failure:?}");
    }
}

#[tokio::test]
async fn a_renewed_id_token_is_of_the_sign_in_that_it_renews() {
    let signer = Signer::new("k");
    let fake = Fake::start(&signer).await;
    // Core §12.2: neither need be there. That of the sign-in itself is in a test of the whole gateway.
    for (preset, changes, taken) in [
        ("generic", json!({ "auth_time": NOW - 60 }), true),
        ("generic", json!({ "auth_time": (NOW - 60) as f64 + 0.25, "nonce": null }), true),
        ("generic", json!({ "nonce": "another" }), false),
        ("generic", json!({ "nonce": 7 }), false),
        ("generic", json!({ "auth_time": 1 }), false),
        ("generic", json!({ "auth_time": NOW }), false),
        ("generic", json!({ "auth_time": "yesterday" }), false),
        ("gitlab", json!({ "auth_time": NOW }), true),
        ("gitlab", json!({ "auth_time": 1 }), false),
        ("gitlab", json!({ "auth_time": NOW, "nonce": "another" }), false),
    ] {
        let provider = ready(&fake, &format!("provider = '{preset}'\nuserinfo = false\n")).await;
        let signed_in = sign_in(&fake, &provider, &signer, json!({ "auth_time": NOW - 60 })).await.expect("signed in");
        let mut claims = claims(&fake.issuer);
        claims.as_object_mut().expect("an object").remove("nonce");
        for (name, value) in changes.as_object().expect("an object") {
            claims[name] = value.clone();
        }
        let answer = json!({ "access_token": "new", "token_type": "Bearer", "id_token": signer.sign(&claims) });
        fake.set("/token", Answer::json(answer));
        let old = Secret::new("r");
        let outcome = provider.refresh(&old, previous(&signed_in), now()).await;
        assert_eq!(outcome.is_ok(), taken, "{preset} {changes}: {outcome:?}");
        if let Err(failure) = &outcome {
            assert_eq!(failure.failure().reason, Reason::RefreshRefused, "{preset} {changes}: {failure:?}");
        }
        // Of a session that was sealed before these were kept nothing can be said.
        let unknown = Previous { nonce: None, authenticated_at: None, ..previous(&signed_in) };
        provider.refresh(&old, unknown, now()).await.expect("renewed");
    }
}

#[tokio::test]
async fn the_providers_session_is_ended() {
    let signer = Signer::new("k");
    let fake = Fake::start(&signer).await;
    let provider = ready(&fake, "").await;
    let back: Url = "https://app.example/signed-out".parse().expect("an address");
    let url = provider.end_session_url(Some("a.b.c"), &back, "s").expect("an address");
    let wanted = [
        ("keep", "1"),
        ("client_id", CLIENT),
        ("id_token_hint", "a.b.c"),
        ("post_logout_redirect_uri", "https://app.example/signed-out"),
        ("state", "s"),
    ];
    assert_eq!(query(&url), wanted.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
    let too_long = provider.end_session_url(Some(&"x".repeat(7000)), &back, "s").expect("an address");
    assert!(!query(&too_long).contains_key("id_token_hint"));

    let mut metadata = fake.metadata();
    metadata["end_session_endpoint"] = Value::Null;
    fake.set("/realm/.well-known/openid-configuration", Answer::json(metadata));
    assert_eq!(ready(&fake, "").await.end_session_url(None, &back, "s"), None);
}

#[tokio::test]
async fn a_reload_keeps_what_is_known() {
    let signer = Signer::new("k");
    let fake = Fake::start(&signer).await;
    let first = Providers::new(&settings(&fake.issuer, "")).expect("providers");
    let fetched = first.first().expect("one").fetch().await.expect("fetched");
    first.first().expect("one").snapshot.store(Some(Arc::new(fetched)));
    let mut second = Providers::new(&settings(&fake.issuer, "client_id = 'another'\n")).expect("providers");
    second.inherit(&first);
    let provider = second.get("corp").expect("the provider");
    assert!(matches!(provider.readiness(), Readiness::Ready { .. }));
    assert_eq!(query(&begin(provider).authorization_url)["client_id"], "another");
    let mut elsewhere = Providers::new(&settings("https://other.example", "")).expect("providers");
    elsewhere.inherit(&first);
    assert!(matches!(elsewhere.first().expect("one").readiness(), Readiness::NotReady(_)));
}
