//! Answers that a real browser posts: over plain http on localhost, over https, and without scripts.

use serde_json::json;

use crate::support::app::App;
use crate::support::browser::Browser;
use crate::support::eventually;
use crate::support::forger::Forger;
use crate::support::gateway::{Config, Gateway};
use crate::support::person::Person;
use crate::support::poster::post_twice;
use crate::support::provider::Provider;
use crate::support::setup::{ROUTES, scene_at, upstream_table};
use crate::support::tls::Authority;

const IMPLICIT: &str = "auth_method = \"implicit\"";
const HYBRID: &str = "auth_method = \"hybrid\"";
const POSTED_CODE: &str = "response_mode = \"form_post\"";

/// A gateway at `http://localhost`, whose provider is on another host.
async fn at_localhost(forger: &Forger, app: &App, keys: &str) -> Gateway {
    let mut config = forger.config(&app.url(), keys);
    config.public_url = format!("http://localhost:{}", config.port);
    let gateway = config.start().await;
    gateway.ready().await;
    gateway
}

#[tokio::test]
async fn a_browser_signs_in_over_plain_http_on_localhost() {
    for keys in [IMPLICIT, HYBRID, POSTED_CODE] {
        let (forger, app) = (Forger::start().await, App::start().await);
        let gateway = at_localhost(&forger, &app, keys).await;
        let browser = Browser::start().await;
        let tab = browser.tab(&gateway.url("/page?a=1")).await;
        tab.wait_for_url("the page", |url| url.ends_with("/page?a=1")).await;
        let cookies = browser.cookies().await;
        let session = cookies.iter().find(|cookie| cookie.name == "doorward").expect("a session");
        assert_eq!(session.same_site.as_ref().map(|site| format!("{site:?}")).as_deref(), Some("Lax"));
        assert!(!cookies.iter().any(|cookie| cookie.name.contains("_login_")), "the attempt is over");
        // The page comes after both POSTs, and so does what the browser tells of it.
        let responses = eventually("what the page was answered with", || async {
            Some(tab.responses()).filter(|all| all.iter().any(|(_, url)| url.ends_with("/page?a=1")))
        })
        .await;
        let posts = responses.iter().filter(|(_, url)| url.contains("/oidc/callback"));
        assert_eq!(posts.count(), 2, "{keys}: the bounce: {responses:?}");
        let trouble: Vec<_> = tab.console().into_iter().filter(|line| line.contains("Security")).collect();
        assert!(trouble.is_empty(), "{trouble:?}");
    }
}

#[tokio::test]
async fn a_browser_without_scripts_signs_in_by_the_button() {
    use chromiumoxide::cdp::browser_protocol::emulation::SetScriptExecutionDisabledParams;
    let (forger, app) = (Forger::start().await, App::start().await);
    let gateway = at_localhost(&forger, &app, IMPLICIT).await;
    let browser = Browser::start().await;
    let tab = browser.tab("about:blank").await;
    tab.page.execute(SetScriptExecutionDisabledParams::new(true)).await.expect("scripts are disabled");
    tab.go(&gateway.url("/page")).await;
    // By the keyboard: the bench finds the place of a click with a script.
    for (page, field) in [("the provider's", "input[name=id_token]"), ("ours", "input[name=doorward_bounced]")] {
        tab.wait_for(field).await;
        if page == "ours" {
            tab.screenshot("bounce-without-scripts").await;
        }
        tab.wait_for("button").await;
        tab.press("Tab").await;
        tab.wait_for("button:focus").await;
        tab.press("Enter").await;
    }
    tab.wait_for("h1#app").await;
    assert!(tab.url().await.ends_with("/page"), "{}", tab.url().await);
}

#[tokio::test]
async fn after_a_posted_sign_in_the_app_may_redirect_where_it_likes() {
    let (forger, app) = (Forger::start().await, App::start().await);
    let gateway = at_localhost(&forger, &app, IMPLICIT).await;
    let elsewhere = App::start().await;
    // A page that itself leads to another host: Chromium would hold it against the policy of the page with the form.
    let browser = Browser::start().await;
    let tab = browser.tab(&gateway.url(&format!("/redirect?to={}", elsewhere.url()))).await;
    tab.wait_for_url("the other host", |url| url.starts_with(&elsewhere.url())).await;
}

#[tokio::test]
async fn a_browser_signs_in_over_https_at_a_certified_provider() {
    let authority = Authority::new();
    let provider = Provider::start_https(json!({}), &authority);
    for (keys, kinds, method) in [
        (IMPLICIT, json!(["id_token"]), "none"),
        (HYBRID, json!(["code id_token"]), "client_secret_basic"),
        (POSTED_CODE, json!(["code"]), "client_secret_basic"),
    ] {
        let app = App::start().await;
        let mut config = Config::new();
        config.public_url = format!("https://localhost:{}", config.port);
        let (certificate, key) = authority.leaf(&["localhost"]).write(config.dir.path());
        config.listen = format!("tls_certificate_file = {certificate:?}\ntls_key_file = {key:?}\n");
        let grants = if keys == IMPLICIT { json!(["implicit"]) } else { json!(["authorization_code", "implicit"]) };
        let extra = json!({"response_types": kinds, "grant_types": grants, "token_endpoint_auth_method": method});
        let client = provider.register(&config.public_url, extra).await;
        let secret = if keys == IMPLICIT { String::new() } else { format!("client_secret = {:?}\n", client.secret) };
        let table = format!(
            "[[provider]]\nissuer = {:?}\nclient_id = {:?}\n{secret}ca_file = {:?}\n{keys}\n",
            provider.issuer(),
            client.id,
            provider.ca_file()
        );
        let gateway = config.add(&table).add(&upstream_table(&app.url())).add(ROUTES).start().await;
        gateway.ready().await;
        let browser = Browser::start().await;
        let tab = browser.tab(&gateway.url("/page")).await;
        tab.log_in(provider.user("anna")).await;
        tab.wait_for_url("the page", |url| url.ends_with("/page")).await;
        let cookies = browser.cookies().await;
        let session = cookies.iter().find(|cookie| cookie.name == "__Host-doorward").expect("a session");
        assert!(session.secure && session.http_only, "{keys}");
        assert_eq!(app.seen_at("/page")[0].one("x-forwarded-user"), "anna", "{keys}");
    }
}

#[tokio::test]
async fn a_certified_provider_signs_in_by_every_flow() {
    for (keys, kind) in [(IMPLICIT, "id_token"), (HYBRID, "code id_token"), (POSTED_CODE, "code")] {
        let provider = Provider::complete();
        let config = Config::new();
        let scene = scene_at(provider.clone(), config, keys, ROUTES).await;
        let update = json!({"response_types": [kind], "grant_types": ["authorization_code", "implicit"]});
        let client = provider.register(&scene.gateway.config.public_url, update).await;
        let (old, new) = (scene.client.clone(), client);
        let gateway = scene
            .gateway
            .restart(|config| {
                config.tables = config.tables.replace(&old.id, &new.id).replace(&old.secret, &new.secret);
            })
            .await;
        gateway.ready().await;
        let person = Person::new();
        let login = person.browse(&gateway.url("/page")).await;
        let form = person.log_in(&login, provider.user("berta")).await;
        let answer = post_twice(&person, &form).await;
        person.follow(answer).await.expect(200);
        assert_eq!(scene.app.seen_at("/page")[0].one("x-forwarded-user"), "berta", "{kind}");
    }
}
