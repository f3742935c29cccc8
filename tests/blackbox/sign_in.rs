//! Signing in: people, programs, tabs, providers that come and go.

use reqwest::Method;
use serde_json::json;

use crate::support::app::App;
use crate::support::browser::Browser;
use crate::support::eventually;
use crate::support::forger::Forger;
use crate::support::gateway::{Config, Gateway};
use crate::support::person::{CURL, FETCH, IMAGE, NAVIGATION, Person};
use crate::support::provider::Provider;
use crate::support::setup::{
    ROUTES, Scene, gateway_before, provider_table, scene, scene_at, scene_with, upstream_table,
};

#[tokio::test]
async fn a_person_signs_in_and_lands_on_the_page_they_wanted() {
    let scene = scene().await;
    let browser = Browser::start().await;
    let tab = browser.tab(&scene.gateway.url("/page?a=b%20c&d=//e")).await;
    tab.log_in(scene.provider.user("anna")).await;
    tab.wait_for("#app").await;
    assert_eq!(tab.url().await, scene.gateway.url("/page?a=b%20c&d=//e"));
    assert_eq!(scene.app.seen_at("/page")[0].one("x-forwarded-user"), "anna");
    let cookies = browser.cookies().await;
    let session = cookies.iter().find(|c| c.name == "doorward").expect("a session cookie");
    assert!(session.http_only && session.path == "/" && session.domain == "127.0.0.1", "{session:?}");
    assert!(!cookies.iter().any(|c| c.name.contains("_login_")), "the attempt is over: {cookies:?}");
}

#[tokio::test]
async fn a_program_is_told_and_never_redirected() {
    let app = App::start().await;
    let gateway = gateway_before(&app.url(), "").await;
    let html = ("accept", "text/html");
    for headers in [
        &FETCH[..],
        &IMAGE,
        &CURL,
        &[],
        &[("accept", "application/json")],
        &[html, ("x-requested-with", "XMLHttpRequest")],
        &[html, ("sec-fetch-mode", "cors"), ("sec-fetch-dest", "empty")],
        &[html, ("sec-fetch-mode", "no-cors"), ("sec-fetch-dest", "script")],
        &[("sec-fetch-mode", "websocket"), ("sec-fetch-dest", "websocket")],
        &[html, ("sec-purpose", "prefetch;prerender"), ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")],
    ] {
        let answer = Person::new().request(Method::GET, &gateway.url("/private?x=1"), headers, None).await;
        answer.expect(401);
        assert!(answer.header("location").is_empty() && answer.set_cookies().is_empty(), "{headers:?}");
        assert!(!answer.header("www-authenticate").is_empty(), "RFC 9110 §11.6.1: {headers:?}");
        assert_eq!(answer.header("content-type"), "application/json", "{headers:?}");
        assert!(answer.header("cache-control").contains("no-store"), "{headers:?}: {:?}", answer.headers);
        let told = answer.json();
        assert_eq!(told["reason"], "DW-3001");
        for key in ["error", "error_description", "reference"] {
            assert!(told[key].as_str().is_some_and(|text| !text.is_empty()), "{key}: {told}");
        }
        assert_eq!(told["errors"][0]["message"], told["error_description"]);
        assert!(told["sign_in"].as_str().is_some_and(|url| url.contains("/oidc/login")), "{told}");
        gateway.log_line(&[told["reference"].as_str().expect("a reference")]).await;
    }
}

#[tokio::test]
async fn a_person_is_sent_to_the_provider() {
    let scene = scene().await;
    let navigation_of_old = [("accept", "text/html,*/*;q=0.8"), ("user-agent", "Mozilla/5.0 Safari/605")];
    for (method, headers) in
        [(Method::GET, &NAVIGATION[..]), (Method::GET, &navigation_of_old), (Method::HEAD, &NAVIGATION)]
    {
        let answer = Person::new().request(method, &scene.gateway.url("/private"), headers, None).await;
        let location = answer.location().expect("a redirect");
        assert!(location.as_str().starts_with(&format!("{}/auth?", scene.provider.issuer())), "{location}");
        assert!(answer.header("cache-control").contains("no-store"), "{:?}", answer.headers);
        let cookies = answer.set_cookies();
        assert_eq!(cookies.len(), 1, "{cookies:?}");
        assert!(cookies[0].starts_with("doorward_login_"), "{cookies:?}");
        assert!(cookies[0].contains("HttpOnly") && cookies[0].contains("SameSite=Lax"), "{cookies:?}");
    }
}

#[tokio::test]
async fn two_tabs_sign_in_at_once_and_each_lands_where_it_wanted() {
    let scene = scene().await;
    let browser = Browser::start().await;
    let first = browser.tab(&scene.gateway.url("/page?tab=1")).await;
    let second = browser.tab(&scene.gateway.url("/page?tab=2")).await;
    first.log_in(scene.provider.user("anna")).await;
    first.wait_for("#app").await;
    second.log_in(scene.provider.user("anna")).await;
    second.wait_for("#app").await;
    assert_eq!(first.url().await, scene.gateway.url("/page?tab=1"));
    assert_eq!(second.url().await, scene.gateway.url("/page?tab=2"));
}

#[tokio::test]
async fn at_most_five_sign_ins_are_open_and_the_oldest_gives_way() {
    let scene = scene().await;
    let person = Person::new();
    let mut starts = Vec::new();
    for n in 0..7 {
        starts.push(person.open(&scene.gateway.url(&format!("/page?n={n}"))).await);
        let open = person.cookies("127.0.0.1").iter().filter(|c| c.name.contains("_login_")).count();
        assert!(open <= 5, "{open} open after {n}");
    }
    let form = person.follow(starts.pop().expect("seven")).await;
    person.log_in(&form, scene.provider.user("anna")).await.expect(200);
    let last = starts.remove(2);
    let answer = person.follow(last).await;
    assert_eq!((answer.status, answer.url.query()), (200, Some("n=2")), "the fifth last is still open");
}

#[tokio::test]
async fn the_back_button_after_sign_in_leads_to_no_error_of_ours() {
    let scene = scene().await;
    let browser = Browser::start().await;
    let tab = browser.tab(&scene.gateway.url("/public/before")).await;
    tab.go(&scene.gateway.url("/page")).await;
    tab.log_in(scene.provider.user("anna")).await;
    tab.wait_for("#app").await;
    for _ in 0..6 {
        if tab.url().await == scene.gateway.url("/public/before") {
            break;
        }
        let before = tab.url().await;
        tab.back().await;
        let url = tab.wait_for_url("another page", |url| url != before).await;
        assert!(!url.contains("/oidc/callback"), "{url}");
        assert!(!tab.text().await.contains("DW-"), "{url}: {}", tab.text().await);
    }
    assert_eq!(tab.url().await, scene.gateway.url("/public/before"));
    tab.go(&scene.gateway.url("/page")).await;
    tab.wait_for("#app").await;
}

#[tokio::test]
async fn a_gateway_starts_without_its_provider_and_signs_in_when_it_comes() {
    let app = App::start().await;
    let port = crate::support::free_port();
    let config = Config::new();
    let client = crate::support::provider::Client { id: "late".into(), secret: crate::support::random_word() };
    let public_url = config.public_url.clone();
    let table = format!(
        "[[provider]]\nissuer = \"http://127.0.0.2:{port}\"\nclient_id = \"late\"\nclient_secret = \"{}\"\n",
        client.secret
    );
    let gateway = config.add(&table).add(&upstream_table(&app.url())).add(ROUTES).start().await;

    let (status, ready) = eventually("the provider is tried", || async {
        Some(gateway.readyz().await).filter(|(_, ready)| ready["providers"][0]["reason"] == "DW-6101")
    })
    .await;
    assert_eq!(status, 503);
    assert_eq!(ready["ready"], false);
    assert!(ready["providers"][0]["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{ready}");
    let person = Person::new();
    person.open(&gateway.url("/public")).await.expect(200);
    let answer = person.open(&gateway.url("/page")).await;
    assert_eq!((answer.status, answer.reason().as_str()), (503, "DW-6101"), "{}", answer.text());
    assert!(!answer.header("retry-after").is_empty());
    assert_eq!(gateway.metric("doorward_provider_ready", &[]).await, 0.0);

    let provider = Provider::start(json!({"port": port, "clients": [{
        "client_id": client.id, "client_secret": client.secret,
        "redirect_uris": [format!("{public_url}/oidc/callback")],
    }]}));
    gateway.ready().await;
    eventually("the metrics say so, too", || async {
        (gateway.metric("doorward_provider_ready", &[]).await == 1.0).then_some(())
    })
    .await;
    person.sign_in(&gateway.url("/page"), provider.user("anna")).await;
}

#[tokio::test]
async fn a_provider_that_goes_away_keeps_nobody_out_who_is_signed_in() {
    let provider = Provider::start(json!({}));
    let scene = scene_at(provider, Config::new(), "refresh_every = \"1s\"", ROUTES).await;
    let person = Person::new();
    person.sign_in(&scene.gateway.url("/page"), scene.provider.user("anna")).await;
    for path in ["/.well-known", "/jwks", "/token"] {
        scene.provider.control("faults", json!({"path": path, "drop": true})).await;
    }
    let fetches = || scene.gateway.metric("doorward_provider_fetches_total", &["discovery", "DW-"]);
    eventually("a fetch that failed", || async { (fetches().await > 0.0).then_some(()) }).await;
    person.fetch(&scene.gateway.url("/who")).await.expect(200);
    // The old metadata are kept, so that a sign-in begins; its end names who does not answer.
    let stranger = Person::new();
    let form = stranger.browse(&scene.gateway.url("/page")).await;
    let answer = stranger.log_in(&form, scene.provider.user("berta")).await;
    assert_eq!((answer.status, answer.reason().as_str()), (503, "DW-6002"), "{}", answer.text());
    scene.provider.control("heal", json!({})).await;
    stranger.browse(&scene.gateway.url("/page")).await.expect(200);
}

#[tokio::test]
async fn a_provider_may_rotate_its_keys() {
    let scene = scene_at(Provider::start(json!({})), Config::new(), "", ROUTES).await;
    Person::new().sign_in(&scene.gateway.url("/page"), scene.provider.user("anna")).await;
    for _ in 0..2 {
        scene.provider.control("rotate", json!({})).await;
        // A refetch for a key that is not known is throttled; a person would try again, too.
        eventually("a sign-in with the new key", || async {
            let person = Person::new();
            let form = person.browse(&scene.gateway.url("/page")).await;
            let answer = person.log_in(&form, scene.provider.user("anna")).await;
            assert!(answer.status == 200 || answer.reason() == "DW-3304", "{}", answer.text());
            (answer.status == 200).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn a_form_sent_after_the_session_ended_reaches_no_app_and_is_explained() {
    // Long enough for the page to be there before.
    let scene = scene_with("", "[session]\nidle = \"8s\"\nabsolute = \"8s\"\n").await;
    let browser = Browser::start().await;
    let tab = browser.tab(&scene.gateway.url("/page")).await;
    tab.log_in(scene.provider.user("anna")).await;
    tab.wait_for("#send").await;
    let cookies = browser.cookies().await;
    let cookie = cookies.iter().find(|c| c.name == "doorward").expect("a session").value.clone();
    eventually("the session ends", || async {
        let headers = [("cookie", format!("doorward={cookie}"))];
        let headers: Vec<_> = headers.iter().map(|(k, v)| (*k, v.as_str())).collect();
        let answer = Person::new().request(Method::GET, &scene.gateway.url("/probe"), &headers, None).await;
        (answer.status == 401).then_some(())
    })
    .await;
    tab.click("#send").await;
    let text = tab.wait_for_text("DW-3002").await;
    assert!(scene.app.seen_at("/form").is_empty());
    assert!(!text.contains("typed"), "what was typed is not on the page: {text}");
    tab.screenshot("page-session-ended-during-post").await;
    let stranger = Person::new();
    let answer = stranger.request(Method::POST, &scene.gateway.url("/form"), &NAVIGATION, Some("a=b".into())).await;
    assert_eq!((answer.status, answer.reason().as_str()), (401, "DW-3002"));
    assert!(answer.location().is_none());
}

#[tokio::test]
async fn the_images_of_a_page_start_no_sign_in() {
    let scene = scene().await;
    let browser = Browser::start().await;
    let tab = browser.tab(&scene.gateway.url("/public")).await;
    tab.script(
        "for (let n = 0; n < 20; n++) { const i = new Image(); i.src = '/image/' + n; document.body.append(i); }",
    )
    .await;
    eventually("twenty answers", || async {
        let refused = tab.responses().iter().filter(|(status, url)| *status == 401 && url.contains("/image/")).count();
        (refused == 20).then_some(())
    })
    .await;
    assert!(browser.cookies().await.is_empty(), "{:?}", browser.cookies().await);
    assert_eq!(scene.gateway.metric("doorward_sign_ins_total", &["start"]).await, 0.0);
}

#[tokio::test]
async fn a_browser_that_loses_its_session_is_not_sent_round_for_ever() {
    let scene = scene().await;
    let person = Person::new();
    person.sign_in(&scene.gateway.url("/page"), scene.provider.user("anna")).await;
    let lose = || person.edit(|jar| jar.retain(|c| c.name != "doorward"));
    for _ in 0..2 {
        lose();
        person.browse(&scene.gateway.url("/page")).await.expect(200);
    }
    lose();
    let answer = person.browse(&scene.gateway.url("/page")).await;
    assert_eq!((answer.status, answer.reason().as_str()), (508, "DW-3108"), "{}", answer.text());
    assert!(answer.text().contains("cookie"), "it names what it saw: {}", answer.text());
    // A broken cookie is another cause, and is named as such.
    person.edit(|jar| {
        let host = jar.iter().find(|c| c.name == "doorward_trips").expect("trips").clone();
        jar.push(crate::support::person::Stored { name: "doorward".into(), value: "broken".into(), ..host });
    });
    let answer = person.open(&scene.gateway.url("/page")).await;
    assert_eq!(answer.status, 508);
    assert!(answer.text().contains("cannot be opened"), "{}", answer.text());
}

#[tokio::test]
async fn a_browser_without_cookies_is_told_so_at_once() {
    let (forger, app) = (Forger::start().await, App::start().await);
    let gateway = forger.gateway(&app.url(), "").await;
    let browser = Browser::start_without_cookies().await;
    let tab = browser.tab(&gateway.url("/page")).await;
    let text = tab.wait_for_text("DW-3122").await;
    assert!(text.to_lowercase().contains("cookie"), "{text}");
    tab.screenshot("page-cookies-blocked").await;
    assert_eq!(forger.token_requests(), 0);
}

async fn scene_of_client(extra: serde_json::Value, keys: &str, with_secret: bool) -> Scene {
    let (provider, app, config) = (Provider::start(json!({})), App::start().await, Config::new());
    let client = provider.register(&config.public_url, extra).await;
    let mut table = provider_table(&provider, &client);
    if !with_secret {
        table = table.lines().filter(|l| !l.starts_with("client_secret")).collect::<Vec<_>>().join("\n");
    }
    let gateway = config.add(&format!("{table}\n{keys}\n")).add(&upstream_table(&app.url())).add(ROUTES).start().await;
    gateway.ready().await;
    Scene { gateway, app, provider, client }
}

#[tokio::test]
async fn the_client_authenticates_in_exactly_one_way() {
    let odd = json!({"client_id": "id with:colon/%41", "client_secret": "s p+a/c&e=%42:-0123456789012345"});
    for (method, keys, with_secret) in [
        ("client_secret_basic", "", true),
        ("client_secret_basic", "client_auth = \"client_secret_basic\"", true),
        ("client_secret_post", "client_auth = \"client_secret_post\"", true),
        ("none", "", false),
        ("none", "client_auth = \"none\"", false),
    ] {
        let scene = scene_of_client(json!({"token_endpoint_auth_method": method}), keys, with_secret).await;
        Person::new().sign_in(&scene.gateway.url("/page"), scene.provider.user("anna")).await;
        let seen = scene.provider.seen().await;
        let asked = seen.iter().find(|r| r["path"] == "/token").expect("a token request");
        let (header, body) = (asked["authorization"].as_str(), asked["body"].as_str().expect("a body"));
        assert_eq!(header.is_some(), method == "client_secret_basic", "{method}: {asked}");
        assert_eq!(body.contains("client_secret="), method == "client_secret_post", "{method}: {body}");
        assert!(body.contains("code_verifier="), "{body}");
        assert!(asked["origin"].is_null(), "no Origin: {asked}");
    }
    for keys in ["client_auth = \"client_secret_basic\"", "client_auth = \"client_secret_post\""] {
        let mut metadata = odd.clone();
        metadata["token_endpoint_auth_method"] = keys.split('"').nth(1).expect("quoted").into();
        let (provider, app, config) = (Provider::start(json!({})), App::start().await, Config::new());
        provider.register(&config.public_url, metadata.clone()).await;
        let client = crate::support::provider::Client {
            id: metadata["client_id"].as_str().expect("text").into(),
            secret: metadata["client_secret"].as_str().expect("text").into(),
        };
        let table = format!("{}{keys}\n", provider_table(&provider, &client));
        let gateway = config.add(&table).add(&upstream_table(&app.url())).add(ROUTES).start().await;
        gateway.ready().await;
        Person::new().sign_in(&gateway.url("/page"), provider.user("anna")).await;
    }
}

#[tokio::test]
async fn a_wrong_client_secret_is_named_for_the_admin_and_shown_to_nobody() {
    let scene = scene_of_client(json!({"client_secret": crate::support::random_word()}), "", true).await;
    let person = Person::new();
    let form = person.browse(&scene.gateway.url("/page")).await;
    let answer = person.log_in(&form, scene.provider.user("anna")).await;
    assert_eq!((answer.status, answer.reason().as_str()), (502, "DW-3202"), "{}", answer.text());
    assert!(!answer.text().contains(&scene.client.secret) && !scene.gateway.log_text().contains(&scene.client.secret));
}

#[tokio::test]
async fn every_signature_algorithm_of_the_standard_is_understood() {
    for algorithm in ["RS256", "PS256", "ES256", "EdDSA"] {
        let (provider, app, config) = (Provider::shared(), App::start().await, Config::new());
        let client = provider.register(&config.public_url, json!({"id_token_signed_response_alg": algorithm})).await;
        let table = format!("{}id_token_algorithms = [\"{algorithm}\"]\n", provider_table(&provider, &client));
        let gateway = config.add(&table).add(&upstream_table(&app.url())).add(ROUTES).start().await;
        gateway.ready().await;
        Person::new().sign_in(&gateway.url("/page"), provider.user("anna")).await;
    }
    // And one that is not listed is refused, though its signature is right.
    let (provider, app, config) = (Provider::shared(), App::start().await, Config::new());
    let client = provider.register(&config.public_url, json!({"id_token_signed_response_alg": "PS256"})).await;
    let table = format!("{}id_token_algorithms = [\"RS256\"]\n", provider_table(&provider, &client));
    let gateway = config.add(&table).add(&upstream_table(&app.url())).add(ROUTES).start().await;
    gateway.ready().await;
    let person = Person::new();
    let form = person.browse(&gateway.url("/page")).await;
    assert_eq!(person.log_in(&form, provider.user("anna")).await.reason(), "DW-3302");
}

#[tokio::test]
async fn claims_that_only_userinfo_tells_are_fetched_where_configured() {
    let provider = Provider::start(json!({"claims_in_id_token": false}));
    for (keys, email) in [("", ""), ("userinfo = true", "anna@example.com")] {
        let scene = scene_at(provider.clone(), Config::new(), keys, ROUTES).await;
        Person::new().sign_in(&scene.gateway.url("/page"), scene.provider.user("anna")).await;
        assert_eq!(scene.app.seen_at("/page")[0].one("x-forwarded-email"), email, "{keys}");
    }
}

#[tokio::test]
async fn further_parameters_of_the_authorization_request_are_sent() {
    let (forger, app) = (Forger::start().await, App::start().await);
    let keys = "prompt = \"select_account\"\nlogin_hint = \"anna@example.com\"\ndomain_hint = \"example.com\"\n\
                scopes = [\"profile\", \"groups\"]\nauthorization_params = { hd = \"example.com\", x = \"a b&c\" }";
    let gateway = forger.gateway(&app.url(), keys).await;
    crate::support::forger::trip(&Person::new(), &gateway).await;
    let params = forger.attempt().params;
    for (name, value) in [
        ("prompt", "select_account"),
        ("login_hint", "anna@example.com"),
        ("domain_hint", "example.com"),
        ("hd", "example.com"),
        ("x", "a b&c"),
        ("scope", "openid profile groups"),
    ] {
        let found: Vec<_> = params.iter().filter(|(k, _)| k == name).map(|(_, v)| v.as_str()).collect();
        assert_eq!(found, [value], "{name}");
    }
}

async fn two_providers() -> (Gateway, App, Provider, Provider) {
    let (one, two) = (Provider::shared(), Provider::start(json!({"host": "127.0.0.3"})));
    let (app, config) = (App::start().await, Config::new());
    // Each further provider answers at an address of its own.
    let own = json!({"redirect_uris": [format!("{}/oidc/callback/two", config.public_url)]});
    let clients = (one.register(&config.public_url, json!({})).await, two.register(&config.public_url, own).await);
    let tables = format!(
        "{}name = \"one\"\ndisplay_name = \"The First\"\n{}name = \"two\"\ndisplay_name = \"The Second\"\n{}{ROUTES}\
         [[route]]\npath = \"/two\"\nprovider = \"two\"\n",
        provider_table(&one, &clients.0),
        provider_table(&two, &clients.1),
        upstream_table(&app.url())
    );
    let gateway = config.add(&tables).start().await;
    gateway.ready().await;
    (gateway, app, one, two)
}

#[tokio::test]
async fn where_there_are_two_providers_a_person_chooses() {
    let (gateway, app, _one, two) = two_providers().await;
    let browser = Browser::start().await;
    let tab = browser.tab(&gateway.url("/page")).await;
    let text = tab.wait_for_text("The Second").await;
    assert!(text.contains("The First"), "{text}");
    tab.screenshot("page-sign-in").await;
    tab.click("a[href*='provider=two']").await;
    tab.log_in(two.user("berta")).await;
    tab.wait_for("#app").await;
    assert_eq!(tab.url().await, gateway.url("/page"));
    assert_eq!(app.seen_at("/page")[0].one("x-forwarded-user"), "berta");
}

#[tokio::test]
async fn a_session_of_one_provider_opens_no_route_of_another() {
    let (gateway, app, one, two) = two_providers().await;
    let person = Person::new();
    person.sign_in(&gateway.url("/oidc/login?provider=one&return_to=/page"), one.user("anna")).await;
    person.fetch(&gateway.url("/page")).await.expect(200);
    assert_eq!(person.fetch(&gateway.url("/two")).await.expect(401).reason(), "DW-4005");
    assert!(app.seen_at("/two").is_empty());
    person.sign_in(&gateway.url("/two"), two.user("berta")).await;
    assert_eq!(app.seen_at("/two")[0].one("x-forwarded-user"), "berta");
    let answer = Person::new().open(&gateway.url("/oidc/login?provider=three")).await;
    assert_eq!((answer.status, answer.reason().as_str()), (404, "DW-3110"));
}

#[tokio::test]
async fn a_person_at_another_name_of_this_host_is_sent_to_the_public_url_first() {
    let scene = scene().await;
    let headers = [&[("host", "other.test")][..], &NAVIGATION].concat();
    let answer = Person::new().request(Method::GET, &scene.gateway.url("/page?x=1"), &headers, None).await;
    assert_eq!(answer.location().expect("a redirect").as_str(), scene.gateway.url("/page?x=1"));
    // Counted, so that it cannot go on for ever; no sign-in has begun.
    assert!(answer.set_cookies().iter().all(|line| line.starts_with("doorward_trips=")), "{:?}", answer.set_cookies());
}

#[tokio::test]
async fn a_person_who_says_no_at_the_provider_may_try_again() {
    let scene = scene().await;
    let person = Person::new();
    let form = person.browse(&scene.gateway.url("/page")).await;
    let refused = person.post(form.url.as_str(), &[("action", "refuse"), ("why", "not today")]).await;
    let answer = person.follow(refused).await;
    assert_eq!((answer.status, answer.reason().as_str()), (403, "DW-3106"), "{}", answer.text());
    assert!(!answer.text().contains("not today"), "the provider's words are for the log");
    scene.gateway.log_line(&["DW-3106", "not today"]).await;
    person.sign_in(&scene.gateway.url("/page"), scene.provider.user("anna")).await;
}

/// A proxy in front that changes Host would send the browser to the same address for ever.
#[tokio::test]
async fn a_host_that_is_changed_on_the_way_ends_in_a_page_that_says_so() {
    let scene = scene().await;
    let person = Person::new();
    let elsewhere = scene.gateway.url("/page").replace("127.0.0.1", "localhost");
    for _ in 0..3 {
        let answer = person.request(Method::GET, &elsewhere, &NAVIGATION, None).await;
        assert_eq!((answer.status, answer.header("location")), (303, scene.gateway.url("/page").as_str()));
    }
    let answer = person.request(Method::GET, &elsewhere, &NAVIGATION, None).await;
    assert_eq!(answer.status, 508);
    assert!(answer.text().contains("DW-3108") && answer.text().contains("localhost"), "{}", answer.text());
}
