//! The operator's console, in a real browser: on the admin listener, and through a route of the gateway.

use serde_json::json;

use crate::pages::FAULTS;
use crate::support::app::App;
use crate::support::browser::{Browser, Tab};
use crate::support::gateway::{Config, Gateway};
use crate::support::person::Person;
use crate::support::provider::Provider;
use crate::support::setup::{ROUTES, Scene, provider_table, scene_at, upstream_table};

/// Every page that can be opened.
const PAGES: [&str; 2] = ["", "refusals"];

/// The route that leads admins to the console.
fn route_to(config: &Config) -> String {
    format!(
        "[[upstream]]\nname = \"console\"\nurl = \"http://127.0.0.1:{}\"\n\
         [[route]]\npath = \"/ops\"\nstrip_prefix = true\nupstream = \"console\"\nallow.groups = [\"admins\"]\n",
        config.admin_port
    )
}

/// The usual scene with a route to the console.
async fn scene() -> Scene {
    let config = Config::new();
    let route = route_to(&config);
    scene_at(Provider::shared(), config, "", &format!("{ROUTES}{route}")).await
}

/// Some sign-ins and refusals.
async fn traffic(scene: &Scene) {
    let (anna, berta) = (Person::new(), Person::new());
    anna.sign_in(&scene.gateway.url("/page"), scene.provider.user("anna")).await;
    berta.sign_in(&scene.gateway.url("/page"), scene.provider.user("berta")).await;
    berta.open(&scene.gateway.url("/ops/")).await.expect(403);
    Person::new().fetch(&scene.gateway.url("/<b>bold")).await;
    Person::new().open(&scene.gateway.url("/oidc/callback?code=planted-code&state=planted-state")).await;
}

/// Looks at the page in light, dark and on a phone, keeps pictures, and judges it.
async fn look(tab: &Tab, name: &str) {
    for (look, dark, width, phone) in [
        ("light", false, 1200, false),
        ("dark", true, 1200, false),
        ("phone", false, 375, true),
        ("phone-dark", true, 375, true),
    ] {
        tab.dark(dark).await;
        tab.screen(width, if phone { 812 } else { 900 }, phone).await;
        let faults = tab.script(FAULTS).await;
        let height = tab.script("document.documentElement.scrollHeight").await.as_i64().unwrap_or(900).clamp(600, 5000);
        tab.screen(width, height, phone).await;
        tab.screenshot(&format!("console-{name}-{look}")).await;
        assert_eq!(faults, json!([]), "{name}, {look}");
    }
    let policy: Vec<_> = tab.console().into_iter().filter(|line| line.contains("Content")).collect();
    assert!(policy.is_empty(), "{name}: {policy:?}");
}

#[tokio::test]
async fn every_page_is_readable_in_light_in_dark_and_on_a_phone() {
    let scene = scene().await;
    traffic(&scene).await;
    let browser = Browser::start().await;
    let tab = browser.tab(&scene.gateway.admin_url("/")).await;
    for page in PAGES {
        tab.go(&scene.gateway.admin_url(&format!("/{page}"))).await;
        look(&tab, if page.is_empty() { "overview" } else { page }).await;
    }
}
