//! Signing out, in both directions: logout tokens that the provider sends, and what we send to it.

use std::time::Duration;

use serde_json::{Value, json};
use url::Url;

use super::support::{Answer, CLIENT, Fake, NOW, SECRET, Signer, base64url, now, ready, settings};
use crate::config::values::Secret;
use crate::oidc::{LoggedOut, Logout, Provider, Providers};
use crate::reason::Reason;

const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

async fn providers(fake: &Fake, more: &str) -> Providers {
    let providers = Providers::new(&settings(&fake.issuer, more)).expect("providers");
    for provider in providers.iter() {
        let fetched = provider.fetch().await.expect("metadata and keys");
        provider.snapshot.store(Some(fetched.into()));
    }
    providers
}

/// The claims of a good token, with `changes` merged in; null takes one away.
fn changed(issuer: &str, changes: Value) -> Value {
    let mut claims = json!({ "iss": issuer, "aud": CLIENT, "iat": NOW, "exp": NOW + 120, "jti": "j", "sub": "u-1",
                             "events": { EVENT: {} } });
    let members = claims.as_object_mut().expect("an object");
    for (name, value) in changes.as_object().expect("an object") {
        match value {
            Value::Null => members.remove(name),
            value => members.insert(name.clone(), value.clone()),
        };
    }
    claims
}

fn sign(signer: &Signer, typ: &str, claims: &Value) -> String {
    let header = json!({ "alg": "ES256", "typ": typ, "kid": signer.kid });
    signer.sign_texts(&header.to_string(), &claims.to_string())
}

async fn reason(providers: &Providers, token: &str) -> Result<LoggedOut, Reason> {
    providers.logout(token, now()).await.map(|logout| logout.sessions).map_err(|failure| failure.reason)
}

#[tokio::test]
async fn each_claim_of_a_logout_token_is_checked() {
    let signer = Signer::new("k");
    let fake = Fake::start(&signer).await;
    let subject = || Ok(LoggedOut::Subject("u-1".into()));
    let session =
        |subject: Option<&str>| Ok(LoggedOut::Session { session: "s-1".into(), subject: subject.map(String::from) });
    let wrong = || Err(Reason::LogoutToken);
    let table = [
        (json!({}), subject()),
        (json!({ "sid": "s-1" }), session(Some("u-1"))),
        (json!({ "sid": "s-1", "sub": null }), session(None)),
        (json!({ "sub": null }), wrong()),
        (json!({ "sub": "" }), wrong()),
        // No session can be of such a `sid`, so that all of the person's end.
        (json!({ "sid": "" }), subject()),
        (json!({ "sid": 7 }), subject()),
        (json!({ "sid": "x".repeat(513) }), subject()),
        (json!({ "sid": 7, "sub": null }), wrong()),
        (json!({ "sub": "x".repeat(1025) }), wrong()),
        (json!({ "iss": "https://other.example" }), wrong()),
        (json!({ "iss": null }), wrong()),
        (json!({ "iss": 7 }), wrong()),
        (json!({ "aud": "other" }), wrong()),
        (json!({ "aud": null }), wrong()),
        (json!({ "aud": [] }), wrong()),
        (json!({ "aud": [CLIENT] }), subject()),
        (json!({ "aud": [CLIENT, "other"] }), wrong()),
        (json!({ "iat": null }), wrong()),
        (json!({ "iat": NOW.to_string() }), wrong()),
        (json!({ "iat": NOW - 360 }), subject()),
        (json!({ "iat": NOW - 361 }), wrong()),
        (json!({ "iat": NOW + 60 }), subject()),
        (json!({ "iat": NOW + 61 }), wrong()),
        (json!({ "exp": null }), subject()),
        (json!({ "exp": NOW - 59 }), subject()),
        (json!({ "exp": NOW - 60 }), wrong()),
        (json!({ "exp": "soon" }), wrong()),
        (json!({ "nbf": NOW + 61 }), wrong()),
        (json!({ "events": null }), wrong()),
        (json!({ "events": EVENT }), wrong()),
        (json!({ "events": [EVENT] }), wrong()),
        (json!({ "events": { EVENT: null } }), wrong()),
        (json!({ "events": { EVENT: [] } }), wrong()),
        (json!({ "events": { "http://schemas.openid.net/event/other": {} } }), wrong()),
        (json!({ "events": { EVENT: {}, "urn:other": {} } }), subject()),
        (json!({ "nonce": "n" }), wrong()),
        (json!({ "nonce": 7 }), wrong()),
        (json!({ "jti": null }), wrong()),
        (json!({ "jti": "" }), wrong()),
        (json!({ "jti": 7 }), wrong()),
        // An ID token of the same provider has all the rest.
        (json!({ "events": null, "nonce": "n" }), wrong()),
    ];
    for (changes, wanted) in table {
        let providers = providers(&fake, "").await;
        let token = sign(&signer, "logout+jwt", &changed(&fake.issuer, changes.clone()));
        assert_eq!(reason(&providers, &token).await, wanted, "{changes}");
    }
}

#[tokio::test]
async fn what_is_no_logout_token_by_its_header_or_signature_is_refused() {
    let (signer, stranger) = (Signer::new("k"), Signer::new("k"));
    let fake = Fake::start(&signer).await;
    let providers = providers(&fake, "").await;
    let claims = changed(&fake.issuer, json!({}));
    let header = |changes: Value| {
        let mut header = json!({ "alg": "ES256", "kid": "k" });
        header.as_object_mut().expect("an object").extend(changes.as_object().expect("an object").clone());
        signer.sign_texts(&header.to_string(), &claims.to_string())
    };
    let good = header(json!({}));
    for token in [
        String::new(),
        "a.b.c".into(),
        "a.b.c.d.e".into(),
        good.rsplit_once('.').expect("a dot").0.to_owned() + ".",
        good.clone() + "A",
        header(json!({ "alg": "none" })),
        header(json!({ "alg": "HS256" })),
        header(json!({ "alg": null })),
        header(json!({ "kid": "other" })),
        header(json!({ "crit": ["b64"], "b64": false })),
        header(json!({ "jwk": signer.jwk() })),
        header(json!({ "jku": "https://evil.example/keys" })),
        header(json!({ "cty": "JWT" })),
        header(json!({ "typ": "at+jwt" })),
        header(json!({ "typ": "id_token+jwt" })),
        header(json!({ "typ": "jose" })),
        sign(&stranger, "logout+jwt", &claims),
        signer
            .sign_texts("{\"alg\":\"ES256\",\"kid\":\"k\"}", &claims.to_string().replacen('{', "{\"sub\":\"u-2\",", 1)),
    ] {
        assert_eq!(reason(&providers, &token).await, Err(Reason::LogoutToken), "{token}");
    }
    // None of them has used up the `jti`, which all of them have.
    let id = Ok(LoggedOut::Subject("u-1".into()));
    assert_eq!(reason(&providers, &header(json!({ "typ": "application/logout+JWT" }))).await, id);
}

#[tokio::test]
async fn whoever_floods_with_encrypted_tokens_keeps_none_of_the_others_waiting() {
    let signer = Signer::new("k");
    let fake = Fake::start(&signer).await;
    let providers = providers(&fake, "").await;
    assert_eq!(reason(&providers, "a.b.c.d.e").await, Err(Reason::LogoutToken));
    let _turns = providers.decryptions.acquire_many(2).await.expect("both turns");
    assert_eq!(reason(&providers, "a.b.c.d.e").await, Err(Reason::TooManyLogoutTokens));
    let plain = sign(&signer, "JWT", &changed(&fake.issuer, json!({})));
    assert_eq!(reason(&providers, &plain).await, Ok(LoggedOut::Subject("u-1".into())));
}

#[tokio::test]
async fn a_logout_token_is_taken_once_and_others_beside_it() {
    let signer = Signer::new("k");
    let fake = Fake::start(&signer).await;
    let first = providers(&fake, "").await;
    let token = |jti: &str| sign(&signer, "JWT", &changed(&fake.issuer, json!({ "jti": jti })));
    assert!(reason(&first, &token("a")).await.is_ok());
    assert_eq!(reason(&first, &token("a")).await, Err(Reason::LogoutTokenReplayed));
    assert!(reason(&first, &token("b")).await.is_ok());
    let mut reloaded = providers(&fake, "").await;
    reloaded.inherit(&first);
    assert_eq!(reason(&reloaded, &token("a")).await, Err(Reason::LogoutTokenReplayed), "a reload forgets none");
    // As long as its time allows, and then its time does not.
    for (later, wanted) in [(300, Reason::LogoutTokenReplayed), (361, Reason::LogoutToken)] {
        let token = sign(&signer, "JWT", &changed(&fake.issuer, json!({ "jti": "a", "exp": null })));
        let failure = first.logout(&token, now() + Duration::from_secs(later)).await.expect_err("refused");
        assert_eq!(failure.reason, wanted, "{later}");
    }
}

#[tokio::test]
async fn a_token_is_for_the_providers_of_its_issuer_and_audience() {
    let signer = Signer::new("k");
    let (fake, other) = (Fake::start(&signer).await, Fake::start(&signer).await);
    let table = |name: &str, issuer: &str, client: &str| {
        format!("[[provider]]\nname = '{name}'\nissuer = '{issuer}'\nclient_id = '{client}'\n")
    };
    let more = [
        table("second", &fake.issuer, "second client"),
        table("twin", &fake.issuer, CLIENT),
        table("elsewhere", &other.issuer, CLIENT),
    ];
    let more = format!("client_id = '{CLIENT}'\n{}", more.concat());
    for (issuer, audience, wanted) in [
        (&fake.issuer, CLIENT, vec!["corp", "twin"]),
        (&fake.issuer, "second client", vec!["second"]),
        (&other.issuer, CLIENT, vec!["elsewhere"]),
    ] {
        let providers = providers(&fake, &more).await;
        let token = sign(&signer, "JWT", &changed(issuer, json!({ "aud": audience })));
        let Logout { providers: names, .. } = providers.logout(&token, now()).await.expect("a logout");
        assert_eq!(names, wanted, "{audience}");
    }
}

#[tokio::test]
async fn keys_are_fetched_anew_for_a_logout_token_and_a_provider_that_is_not_ready_asks_for_patience() {
    let (old, new) = (Signer::new("old"), Signer::new("new"));
    let fake = Fake::start(&old).await;
    let known = providers(&fake, "").await;
    fake.set("/keys", Answer::json(json!({ "keys": [new.jwk()] })));
    let token = sign(&new, "JWT", &changed(&fake.issuer, json!({})));
    assert!(reason(&known, &token).await.is_ok());
    let unready = Providers::new(&settings(&fake.issuer, "")).expect("providers");
    assert_eq!(reason(&unready, &token).await, Err(Reason::ProviderNotReady));
}

#[tokio::test]
async fn the_client_secret_signs_logout_tokens_only_where_it_is_listed() {
    let signer = Signer::new("k");
    let fake = Fake::start(&signer).await;
    let header = json!({ "alg": "HS256", "typ": "logout+jwt" }).to_string();
    let text = format!("{}.{}", base64url(header), base64url(changed(&fake.issuer, json!({})).to_string()));
    let signed = |secret: &str| {
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret.as_bytes());
        format!("{text}.{}", base64url(ring::hmac::sign(&key, text.as_bytes())))
    };
    let secret = format!("client_secret = '{SECRET}'\n");
    let unlisted = providers(&fake, &secret).await;
    assert_eq!(reason(&unlisted, &signed(SECRET)).await, Err(Reason::LogoutToken));
    let listed = providers(&fake, &format!("{secret}id_token_algorithms = ['ES256', 'HS256']\n")).await;
    assert_eq!(reason(&listed, &signed("another")).await, Err(Reason::LogoutToken));
    assert!(reason(&listed, &signed(SECRET)).await.is_ok());
}

fn query(url: &Url) -> Vec<(String, String)> {
    url.query_pairs().map(|(name, value)| (name.into_owned(), value.into_owned())).collect()
}

fn out(provider: &Provider) -> Option<Url> {
    let back: Url = "https://app.example/oidc/signed-out".parse().expect("an address");
    provider.end_session_url(Some("a.b.c"), &back, "state")
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[tokio::test]
async fn each_provider_is_left_in_its_own_words() {
    let signer = Signer::new("k");
    let fake = Fake::start(&signer).await;
    let host = fake.issuer.trim_end_matches("/realm").to_owned();
    let back = "https://app.example/oidc/signed-out";
    let standard =
        [("client_id", CLIENT), ("id_token_hint", "a.b.c"), ("post_logout_redirect_uri", back), ("state", "state")];
    let auth0 = [("client_id", CLIENT), ("returnTo", back)];
    let cognito = [("client_id", CLIENT), ("logout_uri", back)];
    let elsewhere = "logout_endpoint = 'https://out.example/bye'\n";
    for (form, more, address, wanted) in [
        ("end_session", elsewhere, "https://out.example/bye".to_owned(), &standard[..]),
        ("auth0", "", format!("{host}/realm/v2/logout"), &auth0),
        ("auth0", elsewhere, "https://out.example/bye".to_owned(), &auth0),
        ("cognito", "", format!("{host}/logout"), &cognito),
        ("cognito", elsewhere, "https://out.example/bye".to_owned(), &cognito),
    ] {
        let provider = ready(&fake, &format!("logout = '{form}'\n{more}")).await;
        let url = out(&provider).expect("an address");
        assert_eq!(query(&url), pairs(wanted), "{form}");
        assert_eq!(url.as_str().split('?').next(), Some(address.as_str()), "{form}");
        assert_eq!(provider.brings_logout_state(), form == "end_session");
    }
    assert_eq!(out(&*ready(&fake, "logout = 'none'\n").await), None);
    // Auth0's issuer ends in a slash; and what is not fetched is not needed.
    let more = "logout = 'auth0'\n";
    let unready = Providers::new(&settings("https://company.eu.auth0.com/", more)).expect("providers");
    let url = out(unready.first().expect("one")).expect("an address");
    assert_eq!(url.as_str().split('?').next(), Some("https://company.eu.auth0.com/v2/logout"));
    // Cognito's sign-in pages are on another host than its issuer.
    let mut metadata = fake.metadata();
    metadata["end_session_endpoint"] = Value::Null;
    metadata["authorization_endpoint"] = "http://pool.example/oauth2/authorize".into();
    fake.set("/realm/.well-known/openid-configuration", Answer::json(metadata));
    let url = out(&*ready(&fake, "logout = 'cognito'\n").await).expect("an address");
    assert_eq!(url.as_str().split('?').next(), Some("http://pool.example/logout"));
}

#[tokio::test]
async fn a_refresh_token_is_taken_back_by_a_client_that_authenticates_once() {
    let signer = Signer::new("k");
    let fake = Fake::start(&signer).await;
    let mut metadata = fake.metadata();
    metadata["revocation_endpoint"] = format!("{}/revoke", fake.issuer).into();
    fake.set("/realm/.well-known/openid-configuration", Answer::json(metadata));
    fake.set("/realm/revoke", Answer::json(json!({})));
    let secret = format!("client_secret = '{SECRET}'\n");
    for (more, basic, in_form) in [
        (format!("{secret}client_auth = 'client_secret_basic'\n"), true, false),
        (format!("{secret}client_auth = 'client_secret_post'\n"), false, true),
        (String::new(), false, false),
    ] {
        let provider = ready(&fake, &more).await;
        assert!(provider.revokes());
        provider.revoke(&Secret::new("r3fresh"), now()).await;
        let seen = fake.seen("/realm/revoke").pop().expect("asked");
        assert_eq!(seen.form["token"], "r3fresh");
        assert_eq!(seen.form["token_type_hint"], "refresh_token");
        assert_eq!(seen.head.to_ascii_lowercase().contains("authorization: basic"), basic, "{more}");
        assert_eq!(seen.form.get("client_secret").map(String::as_str), in_form.then_some(SECRET), "{more}");
        assert_eq!(seen.form.contains_key("client_id"), !basic, "{more}");
    }
    // A provider that does not take it changes nothing here.
    fake.set("/realm/revoke", Answer::json(json!({"error": "unsupported_token_type"})).with_status(400));
    ready(&fake, "").await.revoke(&Secret::new("r3fresh"), now()).await;
    let fetches = crate::telemetry::metrics().provider_fetches.with_label_values(&["corp", "revocation", "DW-3203"]);
    assert!(fetches.get() >= 1);
    let asked = fake.seen("/realm/revoke").len();
    let unwilling = ready(&fake, "revoke_tokens = false\n").await;
    assert!(!unwilling.revokes());
    unwilling.revoke(&Secret::new("r3fresh"), now()).await;
    assert_eq!(fake.seen("/realm/revoke").len(), asked);
}
