//! The form for name and password in a real browser. Pictures go to `tests/artifacts`.

use super::directory::scene;
use super::pages::look;
use crate::support::app::App;
use crate::support::browser::Browser;
use crate::support::gateway::{Config, Gateway};
use crate::support::provider::Provider;
use crate::support::setup::{ROUTES, provider_table, upstream_table};
use crate::support::slapd::{Slapd, password};
use crate::support::tls::Authority;

/// A gateway at `localhost` whose people are in `slapd`, and a browser that believes its certificate.
async fn gateway_at(slapd: &Slapd, app: &App, https: bool) -> (Gateway, Browser) {
    let mut config = Config::new();
    config.public_url = format!("{}://localhost:{}", if https { "https" } else { "http" }, config.port);
    let leaf = Authority::new().leaf(&["localhost"]);
    if https {
        let (certificate, key) = leaf.write(config.dir.path());
        config.listen = format!("tls_certificate_file = {certificate:?}\ntls_key_file = {key:?}\n");
    }
    let table = format!("{}display_name = \"Example Directory\"\n", slapd.table());
    let gateway = config.add(&table).add(&upstream_table(&app.url())).add(ROUTES).start().await;
    gateway.ready().await;
    (gateway, Browser::start_trusting(&[&leaf.fingerprint()]).await)
}

#[tokio::test]
async fn a_person_signs_in_by_the_form_on_localhost_and_over_https() {
    let (slapd, app) = (Slapd::start().await, App::start().await);
    for https in [false, true] {
        let (gateway, browser) = gateway_at(&slapd, &app, https).await;
        let tab = browser.tab(&gateway.url("/page?x=1")).await;
        tab.wait_for_text("Example Directory").await;
        look(&tab, if https { "password-https" } else { "password" }).await;
        tab.screen(1000, 800, false).await;
        // The first field has the focus, and the form is filled in and sent by keyboard.
        tab.wait_for_script("document.activeElement.id", "user").await;
        tab.type_into("#user", "jörg.müller").await;
        tab.press("Tab").await;
        tab.wait_for_script("document.activeElement.id", "password").await;
        tab.type_into("#password", "wrong").await;
        tab.press("Enter").await;
        tab.wait_for_text("Name or password is wrong").await;
        if !https {
            look(&tab, "password-wrong").await;
            tab.screen(1000, 800, false).await;
        }
        assert_eq!(tab.script("document.querySelector('#user').value").await, "jörg.müller");
        assert_eq!(tab.script("document.querySelector('#password').value").await, "");
        tab.wait_for_script("document.activeElement.id", "password").await;
        assert_eq!(tab.script("document.querySelector('[role=alert]').id").await, "problem");
        tab.type_into("#password", &password("jörg.müller")).await;
        tab.press("Enter").await;
        tab.wait_for_url("the app", |url| url.ends_with("/page?x=1")).await;
        assert_eq!(
            app.seen().last().map(|seen| seen.one("x-forwarded-user").to_owned()).as_deref(),
            Some("jörg.müller")
        );
        let cookies = browser.cookies().await;
        let name = if https { "__Host-doorward" } else { "doorward" };
        let session = cookies.iter().find(|cookie| cookie.name == name).expect("a session");
        assert!(session.http_only && session.secure == https, "{session:?}");
        assert!(!cookies.iter().any(|cookie| cookie.name.contains("_login_")), "the form's cookie is over");
        assert!(tab.console().iter().all(|line| !line.contains("Content Security Policy")), "{:?}", tab.console());
    }
}

#[tokio::test]
async fn the_directory_stands_beside_providers_on_the_sign_in_page() {
    let (slapd, app, provider, config) = (Slapd::start().await, App::start().await, Provider::shared(), Config::new());
    let client = provider.register(&config.public_url, serde_json::json!({})).await;
    let table = format!("{}display_name = \"Example Corporation\"\n", provider_table(&provider, &client));
    let directory = format!("{}display_name = \"Example Directory\"\n", slapd.table());
    let gateway = config.add(&table).add(&directory).add(&upstream_table(&app.url())).add(ROUTES).start().await;
    gateway.ready().await;
    let browser = Browser::start().await;
    let tab = browser.tab(&gateway.url("/page")).await;
    let text = tab.wait_for_text("Example Directory").await;
    assert!(text.contains("Example Corporation"), "{text}");
    look(&tab, "sign-in-with-directory").await;
    tab.screen(1000, 800, false).await;
    tab.click("a[href*='/oidc/password']").await;
    tab.type_into("#user", "ada@example.org").await;
    tab.type_into("#password", "x").await;
    tab.press("Enter").await;
    tab.wait_for_text("Name or password is wrong").await;
    tab.script("document.querySelector('#user').value = ''").await;
    tab.type_into("#user", "ada").await;
    tab.type_into("#password", &password("ada")).await;
    tab.press("Enter").await;
    tab.wait_for_url("the app", |url| url.ends_with("/page")).await;
}

#[tokio::test]
async fn the_way_in_shows_what_it_is_and_takes_the_password_of_the_log() {
    let scene = scene("", "").await;
    let gateway = scene.gateway.restart(|config| config.env.push(("DOORWARD_RESTORE".into(), "true".into()))).await;
    let secret = gateway.password_of_the_log().await;
    let browser = Browser::start().await;
    let tab = browser.tab(&gateway.url("/page")).await;
    tab.wait_for_text("Restore mode is on").await;
    look(&tab, "restore").await;
    tab.screen(1000, 800, false).await;
    assert_eq!(tab.script("document.querySelector('#user')").await, serde_json::Value::Null);
    tab.type_into("#password", &secret).await;
    tab.press("Enter").await;
    tab.wait_for_url("the app", |url| url.ends_with("/page")).await;
    assert_eq!(scene.app.seen().last().map(|seen| seen.one("x-forwarded-user").to_owned()).as_deref(), Some("restore"));
}
