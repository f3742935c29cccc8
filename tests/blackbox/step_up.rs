//! Routes that ask for another kind of sign-in, or a more recent one, than the session's.

use reqwest::Method;
use serde_json::json;

use crate::support::app::App;
use crate::support::eventually;
use crate::support::forger::{Forger, now};
use crate::support::gateway::{Config, Gateway};
use crate::support::person::{Answer, CURL, FETCH, NAVIGATION, Person};
use crate::support::provider::Provider;
use crate::support::setup::{scene_at, upstream_table};

const ROUTES: &str = r#"
[[route]]
path = "/"

[[route]]
path = "/gold"
acr_values = ["gold", "platinum"]

[[route]]
path = "/lately"
max_age = "5m"

[[route]]
path = "/again"
fresh_sign_in = true
"#;

/// A forger that answers as it is asked, with a session of its own that is an hour old.
async fn forged(keys: &str) -> (Forger, App, Gateway) {
    let (forger, app) = (Forger::start().await, App::start().await);
    forger.forges(|attempt, key| {
        let mut claims = attempt.claims();
        let asked_again = attempt.asked("prompt").is_some_and(|prompt| prompt.contains("login"));
        let aged = attempt.asked("max_age").and_then(|age| age.parse::<i64>().ok()).is_some_and(|age| age < 3600);
        if attempt.asked("max_age").is_some() {
            claims["auth_time"] = json!(if asked_again || aged { now() } else { now() - 3600 });
        }
        if let Some(acr) = attempt.asked("acr_values") {
            claims["acr"] = json!(acr.split(' ').next());
        }
        key.token(&claims)
    });
    let provider = format!("[[provider]]\nissuer = {:?}\nclient_id = \"the-client\"\n{keys}\n", forger.issuer);
    let gateway = Config::new().add(&provider).add(&upstream_table(&app.url())).add(ROUTES).start().await;
    gateway.ready().await;
    (forger, app, gateway)
}

async fn signed_in(gateway: &Gateway) -> Person {
    let person = Person::new();
    person.browse(&gateway.url("/who")).await.expect(200);
    person
}

#[tokio::test]
async fn a_person_is_sent_through_the_provider_once_more_and_comes_back() {
    let (forger, app, gateway) = forged("").await;
    for (path, asked) in [
        ("/gold/x?a=b", [("acr_values", Some("gold platinum")), ("max_age", None), ("prompt", None)]),
        ("/lately?a=b", [("acr_values", None), ("max_age", Some("300")), ("prompt", None)]),
        ("/again?a=b", [("acr_values", None), ("max_age", Some("300")), ("prompt", Some("login"))]),
    ] {
        let person = signed_in(&gateway).await;
        assert!(forger.attempt().asked("acr_values").is_none(), "the other routes ask for nothing");
        let before = person.session();
        let answer = person.browse(&gateway.url(path)).await;
        assert_eq!((answer.status, answer.url.as_str()), (200, gateway.url(path).as_str()), "{}", answer.text());
        for (name, value) in asked {
            assert_eq!(forger.attempt().asked(name), value, "{path}");
        }
        assert_ne!(person.session(), before, "{path}: another session");
        let redeemed = forger.token_requests();
        // From now on that session is enough, there and elsewhere.
        person.open(&gateway.url(path)).await.expect(200);
        person.open(&gateway.url("/who")).await.expect(200);
        assert_eq!(forger.token_requests(), redeemed, "{path}");
        // Without any session the first sign-in asks for it at once.
        let direct = Person::new();
        let answer = direct.browse(&gateway.url(path)).await;
        assert_eq!((answer.status, forger.token_requests()), (200, redeemed + 1), "{path}");
    }
    assert_eq!(app.seen_at("/again").len(), 3);
}

/// The session before the step-up was good for less, and nobody could sign out of it any more.
#[tokio::test]
async fn the_session_before_the_step_up_ends_after_a_moment() {
    let (_forger, _app, gateway) = forged("").await;
    let person = signed_in(&gateway).await;
    let before = person.clone_with_own_jar();
    person.browse(&gateway.url("/gold")).await.expect(200);
    // What the page still had under way comes with the old cookie, and puts it into no browser again.
    let answer = before.fetch(&gateway.url("/who")).await;
    assert!(answer.expect(200).set_cookies().is_empty(), "{:?}", answer.set_cookies());
    eventually("the end of the old session", || async {
        let answer = before.fetch(&gateway.url("/who")).await;
        (answer.status == 401 && answer.reason() == "DW-4006").then_some(())
    })
    .await;
    person.open(&gateway.url("/gold")).await.expect(200);
    gateway.log_line(&["audit", "session_ended", "allow", "anew"]).await;
}

#[tokio::test]
async fn programs_and_forms_are_told_what_is_missing() {
    let (_forger, app, gateway) = forged("").await;
    let person = signed_in(&gateway).await;
    for headers in [&FETCH[..], &CURL] {
        let answer = person.request(Method::GET, &gateway.url("/gold"), headers, None).await;
        answer.expect(401);
        assert_eq!(answer.json()["reason"], "DW-5005");
        let told = answer.header("www-authenticate");
        assert!(told.contains("error=\"insufficient_user_authentication\""), "{told}");
        assert!(told.contains("acr_values=\"gold platinum\"") && !told.contains("max_age"), "{told}");
        let answer = person.request(Method::GET, &gateway.url("/again"), headers, None).await;
        assert!(answer.header("www-authenticate").contains("max_age=\"300\""));
    }
    let answer = person.request(Method::POST, &gateway.url("/gold"), &NAVIGATION, Some("a=b".into())).await;
    assert_eq!((answer.status, answer.reason().as_str()), (401, "DW-5005"));
    assert!(answer.header("content-type").starts_with("text/html") && answer.location().is_none());
    let frame = [("accept", "text/html"), ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "iframe")];
    person.request(Method::GET, &gateway.url("/gold"), &frame, None).await.expect(401);
    assert!(app.seen_at("/gold").is_empty() && app.seen_at("/again").is_empty(), "nothing reached the app");
    // Who has no session at all is told so, as elsewhere.
    let nobody = Person::new().request(Method::GET, &gateway.url("/gold"), &CURL, None).await;
    assert_eq!((nobody.status, nobody.reason().as_str()), (401, "DW-3001"));
}

#[tokio::test]
async fn what_is_taken_out_of_the_address_is_missed_in_the_id_token() {
    let (_forger, _app, gateway) = forged("").await;
    for (path, without) in [
        ("/gold", &["acr_values"][..]),
        ("/lately", &["max_age"]),
        ("/again", &["prompt", "max_age"]),
        ("/again", &["max_age"]),
    ] {
        let person = signed_in(&gateway).await;
        let before = person.session();
        let mut asked = person.open(&gateway.url(path)).await.location().expect("to the provider");
        let kept: Vec<(String, String)> = asked.query_pairs().into_owned().collect();
        let kept = kept.iter().filter(|(name, _)| !without.contains(&name.as_str()));
        asked.set_query(Some(&url::form_urlencoded::Serializer::new(String::new()).extend_pairs(kept).finish()));
        let answer = person.browse(asked.as_str()).await;
        refused(&answer, path);
        assert_eq!(person.session(), before, "{path}: the old session stays as it was");
    }
}

#[track_caller]
fn refused(answer: &Answer, path: &str) {
    assert_eq!((answer.status, answer.reason().as_str()), (403, "DW-3310"), "{path}: {}", answer.text());
}

#[tokio::test]
async fn a_provider_that_does_not_ask_again_ends_the_way_instead_of_a_loop() {
    let (forger, _app, gateway) = forged("").await;
    for (path, old) in [("/again", 3600), ("/again", 200), ("/lately", 400)] {
        forger.claims(|_| {});
        let person = signed_in(&gateway).await;
        // Younger than `max_age`, and all the same from before this sign-in: nobody was asked.
        forger.claims(move |claims| claims["auth_time"] = json!(now() - old));
        refused(&person.browse(&gateway.url(path)).await, path);
    }
    forger.claims(|claims| claims["acr"] = json!("bronze"));
    refused(&signed_in(&gateway).await.browse(&gateway.url("/gold")).await, "/gold");
}

#[tokio::test]
async fn the_providers_own_settings_and_those_of_a_route_go_together() {
    let keys = "prompt = \"select_account\"\nmax_age = \"2m\"\nacr_values = [\"bronze\"]\n";
    let (forger, _app, gateway) = forged(keys).await;
    let person = signed_in(&gateway).await;
    let asked = forger.attempt();
    let values = ["prompt", "max_age", "acr_values"].map(|name| asked.asked(name).map(str::to_owned));
    assert_eq!(values, ["select_account", "120", "bronze"].map(|value| Some(value.to_owned())));
    person.browse(&gateway.url("/again")).await.expect(200);
    // The session of a moment ago was enough.
    assert_eq!(forger.attempt().asked("prompt"), Some("select_account"));
    let direct = Person::new();
    direct.browse(&gateway.url("/again")).await.expect(200);
    let asked = forger.attempt();
    assert_eq!((asked.asked("prompt"), asked.asked("max_age")), (Some("login select_account"), Some("120")));
    direct.browse(&gateway.url("/gold")).await.expect(200);
    assert_eq!(forger.attempt().asked("acr_values"), Some("gold platinum"), "the route's instead of the provider's");
}

#[tokio::test]
async fn a_certified_provider_asks_again_where_a_route_wants_it() {
    let factors = "urn:example:two-factors";
    let routes = ROUTES.replace("[\"gold\", \"platinum\"]", &format!("[{factors:?}]"));
    let scene = scene_at(Provider::complete(), Config::new(), "", &routes).await;
    let (gateway, anna) = (&scene.gateway, scene.provider.user("anna"));
    let person = Person::new();
    person.sign_in(&gateway.url("/who"), anna).await;
    for path in ["/gold", "/again"] {
        let form = person.browse(&gateway.url(path)).await;
        assert!(form.text().contains("name=\"password\""), "{path}: the provider asks again: {}", form.text());
        let answer = person.log_in(&form, anna).await;
        assert_eq!((answer.status, answer.url.as_str()), (200, gateway.url(path).as_str()), "{}", answer.text());
        assert_eq!(scene.app.seen_at(path).len(), 1);
    }
    // Asked a moment ago, so it is not asked again; but it says when that was.
    person.browse(&gateway.url("/lately")).await.expect(200);
    assert_eq!(scene.app.seen_at("/lately").len(), 1);
}

#[tokio::test]
async fn the_sign_in_page_carries_what_the_route_asks_for() {
    let (forger, app) = (Forger::start().await, App::start().await);
    forger.forges(|attempt, key| {
        let mut claims = attempt.claims();
        claims["acr"] = json!(attempt.asked("acr_values"));
        key.token(&claims)
    });
    let provider = format!("[[provider]]\nissuer = {:?}\nclient_id = \"the-client\"\n", forger.issuer);
    let routes = "[[route]]\npath = \"/\"\n[[route]]\npath = \"/gold\"\nacr_values = [\"gold\"]\nsign_in = \"page\"\n";
    let gateway = Config::new().add(&provider).add(&upstream_table(&app.url())).add(routes).start().await;
    gateway.ready().await;
    let person = Person::new();
    let page = person.open(&gateway.url("/gold")).await;
    let href = page
        .text()
        .split("href=\"")
        .find_map(|rest| rest.split('"').next().filter(|h| h.starts_with("/oidc/login")).map(str::to_owned));
    let href = href.expect("a button").replace("&amp;", "&").replace("&#38;", "&");
    person.browse(&gateway.url(&href)).await.expect(200);
    assert_eq!(forger.attempt().asked("acr_values"), Some("gold"), "one sign-in is enough");
    assert_eq!(app.seen_at("/gold").len(), 1);
    // What is not sealed for this address asks for nothing.
    let other = href.replace("%2Fgold", "%2Fother");
    Person::new().browse(&gateway.url(&other)).await.expect(200);
    assert_eq!(forger.attempt().asked("acr_values"), None);
}

#[tokio::test]
async fn a_sign_in_from_the_future_is_not_a_recent_one() {
    let (forger, app) = (Forger::start().await, App::start().await);
    forger.claims(|claims| claims["auth_time"] = json!(now() + 10_000));
    let provider = format!("[[provider]]\nissuer = {:?}\nclient_id = \"the-client\"\n", forger.issuer);
    let gateway = Config::new().add(&provider).add(&upstream_table(&app.url())).add(ROUTES).start().await;
    gateway.ready().await;
    let person = signed_in(&gateway).await;
    let answer = person.browse(&gateway.url("/lately")).await;
    assert_eq!(answer.reason(), "DW-3310", "{}", answer.text());
    assert!(app.seen_at("/lately").is_empty());
}
