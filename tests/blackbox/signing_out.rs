//! What is left of a session after its person signed out: copies of its cookie, the refresh token, the other apps.

use base64::Engine;
use reqwest::Method;
use serde_json::json;

use crate::support::app::App;
use crate::support::browser::Browser;
use crate::support::eventually;
use crate::support::forger::{Forger, trip};
use crate::support::gateway::Config;
use crate::support::person::Person;
use crate::support::provider::Provider;
use crate::support::setup::{ROUTES, Scene, provider_table, scene, scene_at, upstream_table};

#[tokio::test]
async fn a_copy_of_the_cookie_is_worth_nothing_after_the_sign_out() {
    let scene = scene().await;
    let person = Person::new();
    person.sign_in(&scene.gateway.url("/who"), scene.provider.user("anna")).await;
    let (thief, elsewhere) = (person.clone_with_own_jar(), Person::new());
    elsewhere.sign_in(&scene.gateway.url("/who"), scene.provider.user("anna")).await;
    thief.fetch(&scene.gateway.url("/who")).await.expect(200);
    person.open(&scene.gateway.url("/logout")).await;
    let answer = thief.fetch(&scene.gateway.url("/who")).await;
    assert_eq!((answer.status, answer.reason().as_str()), (401, "DW-4006"), "{}", answer.text());
    let upgrade = [("connection", "Upgrade"), ("upgrade", "websocket"), ("sec-websocket-version", "13")];
    let answer = thief.request(Method::GET, &scene.gateway.url("/who"), &upgrade, None).await;
    assert_eq!((answer.status, answer.reason().as_str()), (401, "DW-4006"));
    elsewhere.fetch(&scene.gateway.url("/who")).await.expect(200);
}

/// Whoever clicks twice leaves at the second click, from a browser that has not seen the answer to the first.
#[tokio::test]
async fn a_second_click_on_sign_out_ends_the_provider_s_session_too() {
    let scene = scene().await;
    let person = Person::new();
    person.sign_in(&scene.gateway.url("/who"), scene.provider.user("anna")).await;
    let second = person.clone_with_own_jar();
    for click in [person, second] {
        let answer = click.open(&scene.gateway.url("/logout")).await;
        let location = answer.location().expect("a redirect");
        assert!(location.as_str().starts_with(&format!("{}/session/end?", scene.provider.issuer())), "{location}");
    }
    // The log is in the order of what happened.
    Person::new().open(&scene.gateway.url("/public/afterwards")).await;
    scene.gateway.log_line(&["access", "/public/afterwards"]).await;
    let signed_out = |line: &String| line.contains("audit sign_out");
    assert_eq!(scene.gateway.log_lines().iter().filter(|line| signed_out(line)).count(), 1);
}

#[tokio::test]
async fn signing_out_takes_the_refresh_token_back() {
    let tables = format!("{ROUTES}[session]\nrefresh = true\n");
    let keys = "scopes = [\"openid\", \"profile\", \"email\", \"offline_access\"]";
    let scene: Scene = scene_at(Provider::shared(), Config::new(), keys, &tables).await;
    let person = Person::new();
    person.sign_in(&scene.gateway.url("/who"), scene.provider.user("anna")).await;
    person.open(&scene.gateway.url("/logout")).await;
    let ok = ["main", "revocation", "ok"];
    eventually("the revocation", || async {
        (scene.gateway.metric("doorward_provider_fetches_total", &ok).await == 1.0).then_some(())
    })
    .await;
    let seen = scene.provider.seen().await;
    let pair = format!("{}:{}", scene.client.id, scene.client.secret);
    let ours = format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair));
    assert!(seen.iter().any(|request| request["path"] == "/token/revocation" && request["authorization"] == *ours));
}

#[tokio::test]
async fn a_provider_that_brings_no_state_back_leads_people_where_they_wanted_to_go() {
    for (form, parameter) in [("auth0", "returnTo"), ("cognito", "logout_uri")] {
        let (forger, app) = (Forger::start().await, App::start().await);
        let gateway = forger.gateway(&app.url(), &format!("logout = {form:?}")).await;
        let person = Person::new();
        trip(&person, &gateway).await;
        let answer = person.open(&gateway.url("/logout?return_to=/public/bye")).await;
        let location = answer.location().expect("a redirect to the provider");
        let back = location.query_pairs().find(|(name, _)| name == parameter).map(|(_, value)| value.into_owned());
        assert_eq!(back, Some(gateway.url("/oidc/signed-out")), "{location}");
        let answer = person.open(&back.expect("the address")).await;
        assert_eq!(answer.location().expect("a redirect").path(), "/public/bye");
        let left: Vec<_> = person.cookies("127.0.0.1").into_iter().filter(|c| c.name.contains("doorward")).collect();
        assert!(left.is_empty(), "{left:?}");
    }
    let (forger, app) = (Forger::start().await, App::start().await);
    let gateway = forger.gateway(&app.url(), "logout = \"none\"").await;
    let person = Person::new();
    trip(&person, &gateway).await;
    let answer = person.browse(&gateway.url("/logout")).await;
    assert!(answer.expect(200).text().contains("still"), "{}", answer.text());
}

/// Two gateways that are two clients of one provider, in one browser that keeps no cookies of third parties.
#[tokio::test]
async fn signing_out_at_one_gateway_signs_out_of_the_other() {
    for channel in ["backchannel", "frontchannel"] {
        let provider = Provider::start(json!({}));
        let mut gateways = Vec::new();
        let app = App::start().await;
        for name in ["first", "second"] {
            let config = Config::new();
            let path = if channel == "backchannel" { "/oidc/backchannel-logout" } else { "/logout" };
            let uri = format!("{}{path}", config.public_url);
            let extra = json!({
                format!("{channel}_logout_uri"): uri, format!("{channel}_logout_session_required"): true,
            });
            let client = provider.register(&config.public_url, extra).await;
            // Browsers tell hosts apart by name and not by port.
            let session = format!("[session]\ncookie_name = {name:?}\n");
            let tables = [provider_table(&provider, &client), upstream_table(&app.url()), ROUTES.into(), session];
            let gateway = config.add(&tables.concat()).start().await;
            gateway.ready().await;
            gateways.push(gateway);
        }
        let [first, second] = gateways.as_slice() else { panic!("two gateways") };
        let browser = Browser::start_without_third_party_cookies().await;
        let tab = browser.tab(&first.url("/page")).await;
        tab.log_in(provider.user("anna")).await;
        tab.wait_for("#app").await;
        tab.go(&second.url("/page")).await;
        tab.wait_for("#app").await;
        let elsewhere = Person::new();
        elsewhere.sign_in(&second.url("/who"), provider.user("anna")).await;
        tab.go(&first.url("/logout")).await;
        tab.click("#confirm").await;
        tab.wait_for_url("the signed-out page", |url| url.contains("/oidc/signed-out")).await;
        eventually("the end of the other session", || async {
            let ended = second.metric("doorward_ended_sessions", &[&channel.replace("channel", "_channel")]).await;
            (ended >= 1.0).then_some(())
        })
        .await;
        tab.go(&second.url("/page")).await;
        tab.wait_for("input[name=password]").await;
        elsewhere.fetch(&second.url("/who")).await.expect(200);
    }
}
