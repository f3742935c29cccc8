//! Signing out: here, at the provider, and not by accident.

use reqwest::Method;
use serde_json::json;

use crate::support::app::App;
use crate::support::browser::Browser;
use crate::support::eventually;
use crate::support::forms::Form;
use crate::support::gateway::Config;
use crate::support::person::{NAVIGATION, Person};
use crate::support::provider::Provider;
use crate::support::setup::{ROUTES, gateway_before, provider_table, scene, scene_at, scene_with, upstream_table};

#[tokio::test]
async fn signing_out_ends_the_session_here_and_at_the_provider() {
    let scene = scene().await;
    let browser = Browser::start().await;
    let tab = browser.tab(&scene.gateway.url("/page")).await;
    tab.log_in(scene.provider.user("anna")).await;
    tab.wait_for("#app").await;
    tab.go(&scene.gateway.url("/logout")).await;
    tab.click("#confirm").await;
    let url = tab.wait_for_url("the signed-out page", |url| url.contains("/oidc/signed-out")).await;
    assert!(url.starts_with(&scene.gateway.url("/oidc/signed-out")), "{url}");
    tab.screenshot("page-signed-out").await;
    let ours: Vec<_> = browser.cookies().await.into_iter().filter(|c| c.name.contains("doorward")).collect();
    assert!(ours.is_empty(), "{ours:?}");
    // The provider asks again: its session is over, too.
    tab.go(&scene.gateway.url("/page")).await;
    tab.wait_for("input[name=password]").await;
    // And the back button shows nothing that a reload would not ask to sign in for.
    tab.back().await;
    tab.wait_for_url("the signed-out page again", |url| url.contains("/oidc/signed-out")).await;
    let before = tab.responses().len();
    tab.script("location.reload()").await;
    eventually("the reload's answer", || async { (tab.responses().len() > before).then_some(()) }).await;
    tab.wait_for_url("the signed-out page once more", |url| url.contains("/oidc/signed-out")).await;
    let since = tab.responses().split_off(before);
    assert!(!since.iter().any(|(status, url)| *status == 200 && url.ends_with("/page")), "{since:?}");
}

#[tokio::test]
async fn the_sign_out_request_to_the_provider_is_complete() {
    let scene = scene().await;
    let person = Person::new();
    person.sign_in(&scene.gateway.url("/page"), scene.provider.user("anna")).await;
    let answer = person.open(&scene.gateway.url("/logout")).await;
    let location = answer.location().expect("a redirect");
    assert!(location.as_str().starts_with(&format!("{}/session/end?", scene.provider.issuer())), "{location}");
    let value =
        |name: &str| location.query_pairs().find(|(k, _)| k == name).map(|(_, v)| v.into_owned()).unwrap_or_default();
    assert_eq!(value("id_token_hint").split('.').count(), 3);
    assert_eq!(value("client_id"), scene.client.id);
    assert_eq!(value("post_logout_redirect_uri"), scene.gateway.url("/oidc/signed-out"));
    assert!(value("state").len() >= 22, "{location}");
    assert!(person.session().is_empty());
    assert!(answer.set_cookies().iter().all(|line| line.contains("Max-Age=0")), "{:?}", answer.set_cookies());
    person.fetch(&scene.gateway.url("/page")).await.expect(401);
}

#[tokio::test]
async fn every_part_of_every_cookie_ends() {
    let scene = scene_with("", "[sign_in]\nprovider_logout = false\n").await;
    let person = Person::new();
    person.sign_in(&scene.gateway.url("/page"), scene.provider.user("many")).await;
    person.clone_with_own_jar().open(&scene.gateway.url("/oidc/login")).await;
    person.open(&scene.gateway.url("/oidc/login")).await;
    assert!(person.session().len() > 1);
    person.open(&scene.gateway.url("/logout")).await;
    let left: Vec<_> = person.cookies("127.0.0.1").into_iter().filter(|c| c.name.contains("doorward")).collect();
    assert!(left.is_empty(), "{left:?}");
}

/// Whoever signs out of a browser in which a second cookie was planted is signed out wherever the session was copied to.
#[tokio::test]
async fn a_planted_cookie_keeps_no_copy_of_the_session_alive() {
    for (user, planted) in [("anna", "doorward=junk"), ("many", "doorward_1=junk"), ("many", "doorward=2.junk")] {
        for first in [true, false] {
            let scene = scene_with("", "[sign_in]\nprovider_logout = false\n").await;
            let person = Person::new();
            person.sign_in(&scene.gateway.url("/page"), scene.provider.user(user)).await;
            let page = scene.gateway.url("/page");
            person.fetch(&page).await.expect(200);
            let own = person.cookie_header(&page.parse().expect("an address"));
            let both = if first { format!("{planted}; {own}") } else { format!("{own}; {planted}") };
            let mut headers = NAVIGATION.to_vec();
            headers.push(("cookie", &both));
            let answer = Person::new().request(Method::GET, &scene.gateway.url("/logout"), &headers, None).await;
            assert_eq!(answer.status, 303, "{planted}");
            let answer = person.fetch(&page).await;
            assert_eq!((answer.status, answer.reason().as_str()), (401, "DW-4006"), "{planted}");
        }
    }
}

#[tokio::test]
async fn without_the_providers_sign_out_only_this_session_ends() {
    let scene = scene_with("", "[sign_in]\nprovider_logout = false\n").await;
    let person = Person::new();
    person.sign_in(&scene.gateway.url("/page"), scene.provider.user("anna")).await;
    let answer = person.browse(&scene.gateway.url("/logout")).await;
    answer.expect(200);
    assert_eq!(answer.url.as_str(), scene.gateway.url("/oidc/signed-out"));
    person.fetch(&scene.gateway.url("/page")).await.expect(401);
    // The provider still knows the person, and lets them in without a question.
    person.browse(&scene.gateway.url("/page")).await.expect(200);
}

#[tokio::test]
async fn a_provider_that_offers_no_sign_out_is_not_asked() {
    let (forger, app) = (crate::support::forger::Forger::start().await, App::start().await);
    let gateway = forger.gateway(&app.url(), "").await;
    let person = Person::new();
    crate::support::forger::trip(&person, &gateway).await;
    let answer = person.open(&gateway.url("/logout")).await;
    assert_eq!(answer.location().expect("a redirect").as_str(), gateway.url("/oidc/signed-out"));
    assert!(person.session().is_empty());
}

#[tokio::test]
async fn after_signing_out_people_go_where_they_should() {
    let scene = scene_with("", "[sign_in]\nprovider_logout = false\nafter_logout = \"/public/bye\"\n").await;
    let person = Person::new();
    for (asked, end) in [("/logout", "/public/bye"), ("/logout?return_to=/public/other", "/public/other")] {
        person.sign_in(&scene.gateway.url("/page"), scene.provider.user("anna")).await;
        let answer = person.open(&scene.gateway.url(asked)).await;
        assert_eq!(answer.location().expect("a redirect").path(), end);
    }
    let answer = person.open(&scene.gateway.url("/logout?return_to=//evil.test")).await;
    assert_eq!((answer.status, answer.reason().as_str()), (400, "DW-3109"));
    let twice = person.open(&scene.gateway.url("/logout?return_to=/a&return_to=/b")).await;
    assert_eq!(twice.status, 400);
}

#[tokio::test]
async fn the_return_address_survives_the_way_over_the_provider() {
    let scene = scene().await;
    let person = Person::new();
    person.sign_in(&scene.gateway.url("/page"), scene.provider.user("anna")).await;
    let form = person.browse(&scene.gateway.url("/logout?return_to=/public/bye")).await;
    let xsrf = form
        .text()
        .split("name=\"xsrf\" value=\"")
        .nth(1)
        .and_then(|rest| rest.split('"').next())
        .expect("xsrf")
        .to_owned();
    let action =
        form.text().split("action=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("action").to_owned();
    let answer = person.post(&action, &[("xsrf", &xsrf), ("logout", "yes")]).await;
    let answer = person.follow(answer).await;
    assert_eq!(answer.url.as_str(), scene.gateway.url("/public/bye"));
}

/// The provider cannot read what it encrypted for us, and answers such a hint with an error.
#[tokio::test]
async fn a_sign_in_with_an_encrypted_id_token_is_signed_out_at_the_provider_too() {
    let provider = Provider::complete();
    let key = provider.key("RSA").await;
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("key.pem");
    std::fs::write(&file, &key.private).expect("a file");
    let (app, config) = (App::start().await, Config::new());
    let metadata = json!({
        "id_token_encrypted_response_alg": "RSA-OAEP-256", "id_token_encrypted_response_enc": "A256GCM",
        "jwks": {"keys": [key.entry("ours", "RSA-OAEP-256", "enc")]},
    });
    let client = provider.register(&config.public_url, metadata).await;
    let table = format!("{}decryption_key_file = {file:?}\n", provider_table(&provider, &client));
    let gateway = config.add(&table).add(&upstream_table(&app.url())).add(ROUTES).start().await;
    gateway.ready().await;
    let person = Person::new();
    person.sign_in(&gateway.url("/page"), provider.user("anna")).await;
    let answer = person.open(&gateway.url("/logout")).await;
    let location = answer.location().expect("to the provider");
    let hint = location.query_pairs().find(|(name, _)| name == "id_token_hint").map(|(_, value)| value.into_owned());
    assert_eq!(hint.map(|hint| hint.split('.').count()), Some(3), "{location}");
    let page = person.open(location.as_str()).await;
    let form = Form::of(&page.expect(200).text()).expect("the provider's question");
    let answer = person.post(&form.action, &[("xsrf", form.get("xsrf")), ("logout", "yes")]).await;
    let answer = person.follow(answer).await;
    assert_eq!((answer.status, answer.url.path()), (200, "/oidc/signed-out"), "{}", answer.text());
    let asked = person.browse(&gateway.url("/page")).await;
    assert!(asked.text().contains("name=\"password\""), "the provider's session is over, too: {}", asked.text());
}

#[tokio::test]
async fn a_state_of_a_sign_out_that_is_not_ours_leads_nowhere() {
    let app = App::start().await;
    let gateway = gateway_before(&app.url(), "").await;
    for state in ["x", "", "//evil.test", "https://evil.test", &"s".repeat(10_000)] {
        let query = url::form_urlencoded::Serializer::new(String::new()).append_pair("state", state).finish();
        let answer = Person::new().open(&gateway.url(&format!("/oidc/signed-out?{query}"))).await;
        assert!(answer.location().is_none(), "{state:.50}");
        answer.expect(200);
    }
}

#[tokio::test]
async fn signing_out_without_a_session_is_no_error() {
    let app = App::start().await;
    let gateway = gateway_before(&app.url(), "").await;
    for method in [Method::GET, Method::POST] {
        let answer = Person::new().request(method, &gateway.url("/logout"), &NAVIGATION, None).await;
        assert_eq!(answer.location().expect("a redirect").path(), "/oidc/signed-out");
    }
    for method in [Method::PUT, Method::DELETE, Method::OPTIONS] {
        let answer = Person::new().request(method.clone(), &gateway.url("/logout"), &NAVIGATION, None).await;
        assert_eq!(answer.status, 405, "{method}");
        assert!(!answer.header("allow").is_empty());
    }
    assert!(app.seen().is_empty());
}

#[tokio::test]
async fn a_page_of_another_site_signs_nobody_out() {
    let scene = scene_at(Provider::shared(), Config::new(), "", ROUTES).await;
    let person = Person::new();
    person.sign_in(&scene.gateway.url("/page"), scene.provider.user("anna")).await;
    let from = |mode, dest, site| [("sec-fetch-mode", mode), ("sec-fetch-dest", dest), ("sec-fetch-site", site)];
    for headers in [
        from("no-cors", "image", "cross-site"),
        from("navigate", "iframe", "cross-site"),
        from("navigate", "document", "cross-site"),
        from("cors", "empty", "cross-site"),
    ] {
        let answer = person.request(Method::GET, &scene.gateway.url("/logout"), &headers, None).await;
        assert!(
            !answer.set_cookies().iter().any(|line| line.starts_with("doorward=")),
            "{headers:?}: {:?}",
            answer.set_cookies()
        );
    }
    person.fetch(&scene.gateway.url("/page")).await.expect(200);
    // A real browser on a page of another site.
    let browser = Browser::start().await;
    let tab = browser.tab(&scene.gateway.url("/page")).await;
    tab.log_in(scene.provider.user("anna")).await;
    tab.wait_for("#app").await;
    let other = App::start().await;
    let evil = other.url().replace("127.0.0.1", "localhost");
    tab.go(&format!("{evil}/page")).await;
    tab.script(&format!(
        "new Promise(done => {{ const i = new Image(); i.onerror = i.onload = done; i.src = '{}'; }})",
        scene.gateway.url("/logout")
    ))
    .await;
    tab.go(&scene.gateway.url("/page")).await;
    tab.wait_for("#app").await;
}

/// Browsers without Fetch metadata still say where a form came from.
#[tokio::test]
async fn a_form_of_another_origin_signs_nobody_out() {
    let scene = scene_at(Provider::shared(), Config::new(), "", ROUTES).await;
    let person = Person::new();
    person.sign_in(&scene.gateway.url("/page"), scene.provider.user("anna")).await;
    let from = |origin: &str| [("accept", "text/html".to_owned()), ("origin", origin.to_owned())];
    for origin in ["https://evil.example", "null", "http://localhost"] {
        let headers = from(origin);
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let answer = person.request(Method::POST, &scene.gateway.url("/logout"), &headers, None).await;
        assert_eq!(answer.status, 403, "{origin}");
    }
    person.fetch(&scene.gateway.url("/page")).await.expect(200);
    let own = scene.gateway.url("");
    let headers = [("accept", "text/html"), ("origin", own.trim_end_matches('/'))];
    let answer = person.request(Method::POST, &scene.gateway.url("/logout"), &headers, None).await;
    assert_eq!(answer.status, 303);
}

#[tokio::test]
async fn a_picture_in_a_page_of_the_app_signs_nobody_out() {
    let scene = scene().await;
    let person = Person::new();
    person.sign_in(&scene.gateway.url("/who"), scene.provider.user("anna")).await;
    let answer =
        person.request(reqwest::Method::GET, &scene.gateway.url("/logout"), &crate::support::person::IMAGE, None).await;
    assert_eq!((answer.status, answer.reason().as_str()), (403, "DW-3111"), "{}", answer.text());
    person.fetch(&scene.gateway.url("/who")).await.expect(200);
}
