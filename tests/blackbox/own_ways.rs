//! Where products go a way of their own beside the standard: what they leave out of tokens and frames unless they are told, and
//! what they insist on. At stand-ins of them, under their real names.

use reqwest::Method;
use serde_json::json;

use crate::support::app::App;
use crate::support::gateway::{Gateway, doorward};
use crate::support::person::{Answer, Person};
use crate::support::standin::product::TENANT;
use crate::support::standin::{StandIn, Which, get};

/// What browsers send with a frame of another site.
const FRAME: [(&str, &str); 4] = [
    ("accept", "text/html"),
    ("sec-fetch-mode", "navigate"),
    ("sec-fetch-dest", "iframe"),
    ("sec-fetch-site", "cross-site"),
];

/// The `sid` of everybody whose ID token has one.
const SID: &str = "00a1b2c3-7c9e-4f1d-8a2b-0d9e8f7a6b5c";

async fn signed_in(stand_in: &StandIn, gateway: &Gateway) -> Person {
    let person = stand_in.person();
    stand_in.sign_in(&person, &gateway.url("/page")).await.expect(200);
    person
}

/// Entra's frame: `sid`, and no `iss`.
async fn frame(gateway: &Gateway, sid: &str) -> Answer {
    let url = gateway.url(&format!("/logout?sid={sid}"));
    Person::new().request(Method::GET, &url, &FRAME, None).await
}

#[tokio::test]
async fn a_frame_of_entra_ends_the_session_that_it_names_without_saying_the_issuer() {
    let app = App::start().await;
    for which in [Which::Entra, Which::EntraV1] {
        let stand_in = StandIn::start(which).await;
        let gateway = stand_in.gateway(&app.url(), "").await;
        let without = signed_in(&stand_in, &gateway).await;
        stand_in.registered(|client| client.optional_claims.push("sid".into()));
        let anna = signed_in(&stand_in, &gateway).await;
        stand_in.claims(|claims| drop(claims.insert("sid".into(), json!("another"))));
        let other = signed_in(&stand_in, &gateway).await;

        frame(&gateway, "nobody-s").await.expect(200);
        anna.fetch(&gateway.url("/page")).await.expect(200);
        let answer = frame(&gateway, SID).await;
        let policy = answer.expect(200).header("content-security-policy");
        assert!(policy.contains("https://login.microsoftonline.com"), "{which:?}: {policy}");
        let answer = anna.fetch(&gateway.url("/page")).await;
        assert_eq!((answer.status, answer.reason().as_str()), (401, "DW-4006"), "{which:?}: {}", answer.text());
        other.fetch(&gateway.url("/page")).await.expect(200);
        // As the page says: without the optional claim no frame can name the session.
        without.fetch(&gateway.url("/page")).await.expect(200);
        gateway.log_line(&["audit", "session_ended", "allow", "frame"]).await;
    }
    // Of others the frame says whose session it means.
    let stand_in = StandIn::start(Which::Keycloak).await;
    stand_in.claims(|claims| drop(claims.insert("sid".into(), json!(SID))));
    let gateway = stand_in.gateway(&app.url(), "").await;
    let person = signed_in(&stand_in, &gateway).await;
    let answer = frame(&gateway, SID).await;
    assert_eq!((answer.status, answer.reason().as_str()), (400, "DW-3113"), "{}", answer.text());
    person.fetch(&gateway.url("/page")).await.expect(200);
}

#[tokio::test]
async fn entra_says_when_somebody_authenticated_only_where_it_is_told_to_and_the_gateway_says_how() {
    let app = App::start().await;
    for which in [Which::Entra, Which::EntraV1] {
        let stand_in = StandIn::start(which).await;
        let gateway = stand_in.gateway(&app.url(), "max_age = \"5m\"\n").await;
        let answer = stand_in.sign_in(&stand_in.person(), &gateway.url("/page")).await;
        assert_eq!((answer.status, answer.reason().as_str()), (403, "DW-3310"), "{which:?}: {}", answer.text());
        let words = ["DW-3310", "there is no `auth_time`", "Add the optional claim `auth_time`", "Token configuration"];
        gateway.log_line(&words).await;
        stand_in.registered(|client| client.optional_claims.push("auth_time".into()));
        signed_in(&stand_in, &gateway).await;
    }
}

#[tokio::test]
async fn a_token_of_the_other_version_of_entra_is_told_with_the_preset_for_it() {
    let app = App::start().await;
    for (which, issuer, preset) in [
        (Which::Entra, format!("https://sts.windows.net/{TENANT}/"), "entra-v1"),
        (Which::EntraV1, format!("https://login.microsoftonline.com/{TENANT}/v2.0"), "entra"),
    ] {
        let stand_in = StandIn::start(which).await;
        stand_in.claims(move |claims| drop(claims.insert("iss".into(), json!(issuer))));
        let gateway = stand_in.gateway(&app.url(), "").await;
        let answer = stand_in.sign_in(&stand_in.person(), &gateway.url("/page")).await;
        assert_eq!((answer.status, answer.reason().as_str()), (502, "DW-3305"), "{which:?}: {}", answer.text());
        let line = gateway.log_line(&[" access ", "DW-3305", "remedy="]).await.replace('\\', "");
        assert!(line.contains(&format!("set `provider = \"{preset}\"`")), "{which:?}: {line}");
    }
}

#[tokio::test]
async fn google_s_tokens_may_name_the_host_alone() {
    let (app, stand_in) = (App::start().await, StandIn::start(Which::Google).await);
    let gateway = stand_in.gateway(&app.url(), "").await;
    stand_in.claims(|claims| drop(claims.insert("iss".into(), json!("accounts.google.com"))));
    signed_in(&stand_in, &gateway).await;
    stand_in.claims(|claims| drop(claims.insert("iss".into(), json!("accounts.google.com.evil.example"))));
    let answer = stand_in.sign_in(&stand_in.person(), &gateway.url("/other")).await;
    assert_eq!((answer.status, answer.reason().as_str()), (502, "DW-3305"), "{}", answer.text());
}

/// Okta answers a sign-out without `id_token_hint` with an error page, and nobody comes back from there.
#[tokio::test]
async fn a_sign_out_whose_hint_is_too_large_for_a_cookie_ends_here_and_says_what_goes_on_at_okta() {
    let (app, stand_in) = (App::start().await, StandIn::start(Which::Okta).await);
    let gateway = stand_in.gateway(&app.url(), "").await;
    let small = signed_in(&stand_in, &gateway).await;
    let groups: Vec<String> = (0..150).map(|n| format!("a-department-{n:03}")).collect();
    stand_in.claims(move |claims| drop(claims.insert("groups".into(), json!(groups))));
    let large = signed_in(&stand_in, &gateway).await;
    let end = large.browse(&gateway.url("/logout")).await;
    end.expect(200);
    assert_eq!(end.url.as_str(), gateway.url("/oidc/signed-out"));
    assert!(end.text().contains("may still remember you"), "{}", end.text());
    assert!(stand_in.logout_requests().is_empty(), "{:?}", stand_in.logout_requests());
    assert_eq!(large.fetch(&gateway.url("/page")).await.status, 401);
    gateway.log_line(&["stays signed in at the provider", "too large"]).await;
    small.browse(&gateway.url("/logout")).await.expect(200);
    let asked = stand_in.logout_requests();
    assert!(asked.len() == 1 && !get(&asked[0], "id_token_hint").is_empty(), "{asked:?}");
}

#[test]
fn what_a_product_cannot_take_is_told_at_the_line_that_is_to_blame() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    for (which, keys, without_secret, words, never) in [
        (Which::Lark, "", true, "provider.client_secret: is needed: Lark", "client_auth"),
        (
            Which::Cognito,
            "response_mode = \"form_post\"",
            false,
            "provider.response_mode: Cognito sends",
            "auth_method",
        ),
    ] {
        let stand_in = runtime.block_on(StandIn::start(which));
        let config = stand_in.config("http://127.0.0.1:9", &format!("{keys}\n"));
        let text = config.text();
        let kept = text.lines().filter(|line| !(without_secret && line.starts_with("client_secret")));
        std::fs::write(config.path(), kept.collect::<Vec<_>>().join("\n")).expect("gateway.toml");
        let (status, out, err) = doorward(&["check", config.path().to_str().expect("a path")]);
        let said = format!("{out}{err}");
        assert_ne!(status, Some(0), "{which:?}: {said}");
        assert!(
            said.contains(words) && !said.contains(never),
            "{which:?}: wanted {words:?} and no {never:?} in\n{said}"
        );
    }
}
