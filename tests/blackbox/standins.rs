//! The stand-ins themselves: real sign-ins through the gateway at real host names, with keys written by hand.

use base64::Engine;

use crate::support::app::App;
use crate::support::person::FETCH;
use crate::support::provider::Provider;
use crate::support::standin::{Kind, Registration, StandIn, Which, get, keys};

#[tokio::test]
async fn okta_keycloak_and_google_sign_people_in_at_their_own_names() {
    for (which, keys, groups) in [
        (
            Which::Okta,
            "scopes = [\"openid\", \"profile\", \"email\", \"groups\"]\nuserinfo = true\n",
            "Everyone,staff,admins",
        ),
        (Which::Keycloak, "groups_claim = \"realm_access.roles\"\n", "operator"),
        (Which::Google, "client_auth = \"client_secret_post\"\n", ""),
    ] {
        let (app, stand_in) = (App::start().await, StandIn::start(which).await);
        let gateway = stand_in.gateway_by_hand(&app.url(), keys).await;
        let person = stand_in.person();
        stand_in.sign_in(&person, &gateway.url("/page")).await.expect(200);
        let seen = app.seen_at("/page").pop().expect("the app saw it");
        assert!(seen.one("x-forwarded-groups").contains(groups), "{which:?}: {:?}", seen.headers);
        assert_eq!(seen.one("x-forwarded-email"), "anna@example.com", "{which:?}");
        let request = stand_in.token_requests().pop().expect("a token request");
        assert!(request.has("code_verifier"));
        assert_eq!(request.authorization, which != Which::Google, "{which:?}: {:?}", request.form);
    }
}

#[tokio::test]
async fn every_stand_in_signs_people_in() {
    let app = App::start().await;
    for which in Which::ALL {
        // An issuer for every tenant needs more than keys.
        if [Which::EntraCommon, Which::EntraOrganizations].contains(&which) {
            continue;
        }
        let stand_in = StandIn::start(which).await;
        let gateway = stand_in.gateway_by_hand(&app.url(), "").await;
        let path = format!("/{which:?}");
        stand_in.sign_in(&stand_in.person(), &gateway.url(&path)).await.expect(200);
        let seen = app.seen_at(&path).pop().expect("the app saw it");
        assert!(!seen.one("x-forwarded-user").is_empty(), "{which:?}: {:?}", seen.headers);
    }
}

#[tokio::test]
async fn every_preset_signs_people_in_with_their_groups() {
    let app = App::start().await;
    for (which, groups) in [
        (Which::Keycloak, "/staff,/admins"),
        (Which::Okta, "Everyone,staff,admins"),
        (Which::Entra, "b7e2a1c0-1111-4222-8333-944455556666,c8f3b2d1-2222-4333-8444-a55566667777"),
        (Which::EntraV1, "b7e2a1c0-1111-4222-8333-944455556666,c8f3b2d1-2222-4333-8444-a55566667777"),
        (Which::Auth0, "staff,admins"),
        (Which::Google, ""),
        (Which::Cognito, "staff,admins"),
        (Which::Lark, ""),
        (Which::Gitlab, "staff,staff/admins,shared"),
        (Which::Authentik, "staff,authentik Admins"),
        (Which::Zitadel, "admin,operator"),
        (Which::Dex, "staff,admins"),
    ] {
        let stand_in = StandIn::start(which).await;
        // Auth0 lets no Action write the claim `groups`: its page has a name of the organisation's own.
        let keys = if which == Which::Auth0 { "groups_claim = \"https://doorward.example/groups\"\n" } else { "" };
        let gateway = stand_in.gateway(&app.url(), keys).await;
        let path = format!("/preset/{which:?}");
        stand_in.sign_in(&stand_in.person(), &gateway.url(&path)).await.expect(200);
        let seen = app.seen_at(&path).pop().expect("the app saw it");
        assert_eq!(seen.all("x-forwarded-groups").join(""), groups, "{which:?}: {:?}", seen.headers);
        assert_eq!(seen.one("x-forwarded-email"), "anna@example.com", "{which:?}");
    }
}

#[tokio::test]
async fn every_preset_signs_people_out_where_the_provider_can_do_that() {
    let app = App::start().await;
    for (which, parameter) in [
        (Which::Keycloak, "post_logout_redirect_uri"),
        (Which::Okta, "post_logout_redirect_uri"),
        (Which::Entra, "post_logout_redirect_uri"),
        (Which::EntraV1, "post_logout_redirect_uri"),
        (Which::Authentik, "post_logout_redirect_uri"),
        (Which::Zitadel, "post_logout_redirect_uri"),
        (Which::Auth0, "returnTo"),
        (Which::Cognito, "logout_uri"),
        (Which::Google, ""),
        (Which::Dex, ""),
        (Which::Gitlab, ""),
        (Which::Lark, ""),
    ] {
        let stand_in = StandIn::start(which).await;
        let gateway = stand_in.gateway(&app.url(), "").await;
        let person = stand_in.person();
        stand_in.sign_in(&person, &gateway.url("/page")).await.expect(200);
        let end = person.browse(&gateway.url("/logout")).await;
        end.expect(200);
        assert!(end.url.as_str().starts_with(&gateway.url("/oidc/signed-out")), "{which:?}: {}", end.url);
        let asked = stand_in.logout_requests();
        match parameter {
            "" => assert!(asked.is_empty(), "{which:?}: {asked:?}"),
            _ => {
                assert!(get(&asked[0], parameter).starts_with(&gateway.url("/oidc/signed-out")), "{which:?}: {asked:?}")
            }
        }
    }
}

/// A token request, without the gateway: status and body.
async fn exchange(stand_in: &StandIn, headers: &[(&str, &str)], form: &[(&str, &str)]) -> (u16, String) {
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
    let url = stand_in.endpoint("token_endpoint");
    let answer = stand_in.person().request(reqwest::Method::POST, &url, headers, Some(body)).await;
    (answer.status, answer.text())
}

#[tokio::test]
async fn mistakes_of_a_client_are_answered_in_the_providers_own_words() {
    type Row = (
        Which,
        fn(&mut Registration),
        &'static [(&'static str, &'static str)],
        &'static [&'static str],
        u16,
        &'static str,
    );
    let (origin, basic) = (&[("origin", "https://app.example.com")], &[("authorization", "Basic eDp5")]);
    let (wrong, nothing): (&[&str], &[&str]) = (&["client_secret"], &[]);
    let rows: [Row; 14] = [
        (Which::Okta, |_| {}, &[], wrong, 401, "The client secret supplied for a confidential client is invalid."),
        (Which::Okta, |_| {}, basic, wrong, 401, "Cannot supply multiple client credentials."),
        (Which::Okta, |_| {}, basic, nothing, 401, "Cannot supply multiple client credentials."),
        (Which::Entra, |_| {}, &[], wrong, 401, "AADSTS7000215"),
        (Which::Entra, |_| {}, &[], nothing, 401, "AADSTS7000218"),
        (Which::Entra, |_| {}, origin, wrong, 400, "AADSTS9002326"),
        (Which::Entra, |client| client.kind = Kind::SinglePage, &[], nothing, 400, "AADSTS9002327"),
        (Which::Entra, |client| client.kind = Kind::SinglePage, origin, wrong, 401, "AADSTS700025"),
        (Which::Lark, |_| {}, basic, wrong, 400, "Only support one client credential way"),
        (Which::Lark, |_| {}, basic, nothing, 401, "Client authentication failed"),
        (Which::Keycloak, |_| {}, &[], wrong, 401, "Invalid client or Invalid client credentials"),
        (Which::Auth0, |_| {}, &[], wrong, 401, "access_denied"),
        (Which::Google, |_| {}, &[], nothing, 400, "client_secret is missing."),
        (Which::Cognito, |_| {}, &[], wrong, 400, "invalid_client"),
    ];
    for (which, change, headers, secret, status, words) in rows {
        let stand_in = StandIn::start(which).await;
        stand_in.registered(change);
        let client_id = stand_in.client().client_id;
        let mut form = vec![("grant_type", "authorization_code"), ("code", "c0de"), ("client_id", client_id.as_str())];
        form.extend(secret.iter().map(|name| (*name, "another")));
        let (answered, text) = exchange(&stand_in, headers, &form).await;
        assert!(answered == status && text.contains(words), "{which:?}, {words}: {answered} {text}");
    }
    let stand_in = StandIn::start(Which::Entra).await;
    stand_in.registered(|client| client.secret_expired = true);
    let client = stand_in.client();
    let form = [("client_id", client.client_id.as_str()), ("client_secret", &client.secret)];
    assert!(exchange(&stand_in, &[], &form).await.1.contains("AADSTS7000222"));
}

#[tokio::test]
async fn an_assertion_holds_by_the_registered_certificate_alone() {
    let stand_in = StandIn::start(Which::Entra).await;
    let (key, certificate) = stand_in.certificate();
    let read = |path: &std::path::Path| std::fs::read_to_string(path).expect("a file");
    let body: String = read(&certificate).lines().filter(|line| !line.starts_with("---")).collect();
    let der = base64::engine::general_purpose::STANDARD.decode(body).expect("PEM");
    let print = ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, &der);
    let client_id = stand_in.client().client_id;
    let now = crate::support::forger::now();
    let claims = serde_json::json!({
        "iss": client_id, "sub": client_id, "aud": stand_in.endpoint("token_endpoint"), "jti": "1", "iat": now, "exp": now + 60,
    });
    let mut header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::RS256);
    header.x5t = Some(base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(print));
    let signed = |key: &str| {
        let key = jsonwebtoken::EncodingKey::from_rsa_pem(key.as_bytes()).expect("a key");
        jsonwebtoken::encode(&header, &claims, &key).expect("a token")
    };
    // The code is wrong all the same: what counts is whether the client was let through to it.
    for (key, words) in [(read(&key), "AADSTS54005"), (keys::assertion_key(), "AADSTS700027")] {
        let assertion = signed(&key);
        let form = [("grant_type", "authorization_code"), ("client_id", &client_id), ("client_assertion", &assertion)];
        let (_, text) = exchange(&stand_in, &[], &form).await;
        assert!(text.contains(words), "{words}: {text}");
    }
}

#[tokio::test]
async fn the_implicit_flow_is_posted_where_the_client_may_use_it_and_refused_where_not() {
    for (which, words) in [
        (Which::Keycloak, "Implicit flow is disabled for the client."),
        (Which::Okta, "Configured response types: [code]"),
        (Which::Entra, "AADSTS700054"),
        (Which::Auth0, "Grant type 'implicit' not allowed for the client."),
    ] {
        let stand_in = StandIn::start(which).await;
        stand_in.accept("https://app.example.com");
        let mut url = reqwest::Url::parse(&stand_in.endpoint("authorization_endpoint")).expect("a URL");
        let params = [
            ("client_id", stand_in.client().client_id),
            ("redirect_uri", "https://app.example.com/oidc/callback".into()),
            ("response_type", "id_token".into()),
            ("response_mode", "form_post".into()),
            ("scope", "openid email".into()),
            ("nonce", "n0nce".into()),
            ("state", "st4te".into()),
        ];
        url.query_pairs_mut().extend_pairs(&params);
        let refused = stand_in.person().fetch(url.as_str()).await;
        assert!(refused.text().contains(words), "{which:?}: {}", refused.text());
        stand_in.registered(|client| client.response_types.push("id_token".into()));
        let form =
            crate::support::forms::Form::of(&stand_in.person().fetch(url.as_str()).await.text()).expect("a form");
        assert_eq!(form.get("state"), "st4te");
        assert_eq!(form.get("id_token").split('.').count(), 3);
    }
}

#[tokio::test]
async fn lark_signs_with_the_secret_and_encrypts_where_it_is_told_to() {
    let stand_in = StandIn::start(Which::Lark).await;
    stand_in.accept("https://app.example.com");
    stand_in.registered(|client| {
        client.response_types.push("id_token".into());
        client.id_token_alg = "HS256".into();
    });
    let key = std::fs::read_to_string(stand_in.encrypts("A256GCM")).expect("the key");
    let client = stand_in.client();
    let mut url = reqwest::Url::parse(&stand_in.endpoint("authorization_endpoint")).expect("a URL");
    url.query_pairs_mut().extend_pairs([
        ("client_id", client.client_id.as_str()),
        ("redirect_uri", "https://app.example.com/oidc/callback"),
        ("response_type", "id_token"),
        ("scope", "openid"),
        ("nonce", "n0nce"),
    ]);
    let back = stand_in.person().open(url.as_str()).await.location().expect("a response");
    let response = url::form_urlencoded::parse(back.fragment().expect("a fragment").as_bytes());
    let token = response.into_owned().find(|(name, _)| name == "id_token").expect("an ID token").1;
    let opened = Provider::shared().control("decrypt", serde_json::json!({"token": token, "key": key})).await;
    let mut rules = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::HS256);
    rules.set_audience(&[&client.client_id]);
    let secret = jsonwebtoken::DecodingKey::from_secret(client.secret.as_bytes());
    let text = opened["text"].as_str().expect("a JWT");
    let claims = jsonwebtoken::decode::<serde_json::Value>(text, &secret, &rules).expect("a valid token").claims;
    assert_eq!(claims["nonce"], "n0nce");
}

#[tokio::test]
async fn signing_out_goes_as_each_provider_has_it() {
    let home = "https://app.example.com/";
    for (which, good, bad) in [
        (Which::Cognito, vec![("client_id", "x"), ("logout_uri", home)], vec![("post_logout_redirect_uri", home)]),
        (Which::Auth0, vec![("client_id", "x"), ("returnTo", home)], vec![("returnTo", "https://elsewhere.example")]),
        (
            Which::Okta,
            vec![("id_token_hint", "x"), ("post_logout_redirect_uri", home)],
            vec![("post_logout_redirect_uri", home)],
        ),
    ] {
        let stand_in = StandIn::start(which).await;
        stand_in.accept("https://app.example.com");
        let endpoint = stand_in.logout_endpoint().expect("a logout");
        let open = async |params: &[(&str, &str)]| {
            let mut url = reqwest::Url::parse(&endpoint).expect("a URL");
            url.query_pairs_mut().extend_pairs(params);
            stand_in.person().request(reqwest::Method::GET, url.as_str(), &FETCH, None).await
        };
        assert_eq!(open(&good).await.location().map(String::from).as_deref(), Some(home), "{which:?}");
        assert_eq!(open(&bad).await.status, 400, "{which:?}");
        assert_eq!(get(&stand_in.logout_requests()[0], good[0].0), "x");
    }
    assert_eq!(StandIn::start(Which::Google).await.logout_endpoint(), None);
}

#[tokio::test]
async fn a_browser_goes_to_the_stand_in_by_its_name() {
    let (app, stand_in) = (App::start().await, StandIn::start(Which::Google).await);
    let gateway = stand_in.gateway_by_hand(&app.url(), "").await;
    let browser = stand_in.browser().await;
    let tab = browser.tab(&gateway.url("/page")).await;
    tab.wait_for("#app").await;
    assert_eq!(tab.url().await, gateway.url("/page"));
    assert!(
        tab.responses().iter().any(|(_, url)| url.starts_with("https://accounts.google.com/"))
            || !stand_in.authorization_requests().is_empty()
    );
}
