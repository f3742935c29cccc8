//! The gateway's own pages, as a person sees, reads and walks through them. Pictures go to `tests/artifacts`.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::app::App;
use crate::support::browser::{Browser, Tab};
use crate::support::eventually;
use crate::support::forger::Forger;
use crate::support::gateway::{Config, Gateway};
use crate::support::person::{NAVIGATION, Person, reference_of};
use crate::support::provider::Provider;
use crate::support::setup::{ROUTES, gateway_before, provider_table, scene_at, upstream_table};

/// Finds what keeps a page from being read on a screen `width` wide; an empty list is a good page. The width is the one that
/// was set: a phone's `innerWidth` grows with what is too wide for it.
pub async fn faults(tab: &Tab, width: i64) -> Value {
    tab.faults(&format!("({FAULTS})({width})")).await
}

const FAULTS: &str = r"width => {
  const faults = [];
  const root = document.documentElement;
  if (!root.lang) faults.push('no language');
  if (!document.title) faults.push('no title');
  if (document.querySelectorAll('h1').length !== 1) faults.push('not one h1');
  if (!document.querySelector('main')) faults.push('no main');
  if (!document.querySelector('meta[name=viewport]')) faults.push('no viewport');
  if (document.scripts.length) faults.push('a script');
  if (document.querySelector('[style]')) faults.push('a style attribute');
  if (root.scrollWidth > width) faults.push('wider than the screen: ' + root.scrollWidth + ' > ' + width);
  for (const image of document.images) if (!image.hasAttribute('alt')) faults.push('an image without alt');
  for (const field of document.querySelectorAll('input:not([type=hidden])')) if (!field.labels.length) faults.push('a field without a label');
  for (const link of document.querySelectorAll('a, button')) if (!link.textContent.trim() && !link.getAttribute('aria-label')) faults.push('a link without words');
  const numbers = text => text.match(/[\d.]+/g).map(Number);
  const luminance = ([r, g, b]) => [r, g, b].map(v => v / 255).map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const background = element => {
    for (let e = element; e; e = e.parentElement) {
      const color = numbers(getComputedStyle(e).backgroundColor);
      if (color.length < 4 || color[3] > 0.99) return color;
    }
    return matchMedia('(prefers-color-scheme: dark)').matches ? [18, 18, 18] : [255, 255, 255];
  };
  for (const element of document.querySelectorAll('h1, h2, p, a, button, li, dt, dd, code, span, summary')) {
    if (!element.innerText || !element.innerText.trim() || !element.checkVisibility()) continue;
    const style = getComputedStyle(element);
    if (!style.color.startsWith('rgb')) continue;
    const [a, b] = [luminance(numbers(style.color)), luminance(background(element))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) faults.push('contrast ' + ratio.toFixed(2) + ' of ' + element.tagName + ' ' + element.innerText.slice(0, 30));
    if (parseFloat(style.fontSize) < 12) faults.push('small letters: ' + style.fontSize + ' ' + element.innerText.slice(0, 30));
  }
  return faults;
}";

/// Looks at the page in light, dark and on a phone, keeps pictures, and judges it.
pub async fn look(tab: &Tab, name: &str) {
    for (look, dark, width) in
        [("light", false, 1000), ("dark", true, 1000), ("phone", false, 390), ("phone-dark", true, 390)]
    {
        let phone = width < 400;
        tab.dark(dark).await;
        tab.screen(width, if phone { 844 } else { 800 }, phone).await;
        let faults = faults(tab, width).await;
        tab.screenshot(&format!("page-{name}-{look}")).await;
        assert_eq!(faults, json!([]), "{name}, {look}");
    }
    let policy: Vec<_> = tab
        .console()
        .into_iter()
        .filter(|line| line.contains("Content Security Policy") || line.contains("Content-Security-Policy"))
        .collect();
    assert!(policy.is_empty(), "{name}: {policy:?}");
}

/// A page about a failure: code, reference, and the log line that the reference finds.
async fn failure(tab: &Tab, gateway: &Gateway, name: &str, code: &str) {
    let text = tab.wait_for_text(code).await;
    look(tab, name).await;
    let html = tab.html().await;
    let reference = reference_of(&html).unwrap_or_else(|| panic!("{name}: no reference on the page:\n{text}"));
    gateway.log_line(&[code, &reference]).await;
    assert!(!html.contains("doorward_") && !html.contains(gateway.config.secrets[0].as_str()), "{name}");
}

async fn two_provider_gateway(brand: &str) -> (Gateway, App) {
    let (provider, app, config) = (Provider::shared(), App::start().await, Config::new());
    let client = provider.register(&config.public_url, json!({})).await;
    let table = provider_table(&provider, &client);
    let tables = format!(
        "{table}display_name = \"Example Corporation\"\n{}name = \"second\"\ndisplay_name = \"Partners & <b>Friends</b>\"\n{}{ROUTES}{brand}",
        "[[provider]]\nissuer = \"http://127.0.0.2:9\"\nclient_id = \"nobody\"\n",
        upstream_table(&app.url())
    );
    let gateway = config.add(&tables).start().await;
    eventually("the first provider is ready", || async {
        (gateway.readyz().await.1["providers"][0]["ready"] == true).then_some(())
    })
    .await;
    (gateway, app)
}

#[tokio::test]
async fn what_is_too_wide_for_a_phone_is_found_there_and_not_on_a_screen() {
    let page = "<!doctype html><html lang=en><title>wide</title><meta name=viewport content='width=device-width,initial-scale=1'>\
                <main><h1>Wide</h1><p><span style=display:inline-block;width:420px>wide</span></p></main></html>";
    let browser = Browser::start().await;
    let tab = browser.tab(&format!("data:text/html,{page}")).await;
    tab.screen(1000, 800, false).await;
    assert!(!tab.script(&format!("({FAULTS})(1000)")).await.to_string().contains("wider than the screen"));
    tab.screen(375, 800, true).await;
    eventually("what is too wide", || async {
        let found = tab.script(&format!("({FAULTS})(375)")).await;
        found.to_string().contains("wider than the screen").then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_sign_in_page_is_readable_everywhere_and_walked_by_keyboard() {
    let (gateway, _app) = two_provider_gateway("").await;
    let browser = Browser::start().await;
    let tab = browser.tab(&gateway.url("/page")).await;
    tab.wait_for_text("Example Corporation").await;
    assert!(tab.text().await.contains("Partners & <b>Friends</b>"), "names are shown, not interpreted");
    look(&tab, "sign-in").await;
    tab.screen(1000, 800, false).await;
    let mut walked = Vec::new();
    for _ in 0..5 {
        tab.press("Tab").await;
        walked.push(tab.script("document.activeElement.innerText").await.as_str().unwrap_or("").to_owned());
        if walked.last().is_some_and(|text| text.contains("Example Corporation")) {
            break;
        }
    }
    assert!(walked.last().is_some_and(|text| text.contains("Example Corporation")), "{walked:?}");
    tab.screenshot("page-sign-in-focus").await;
    tab.press("Enter").await;
    tab.wait_for("input[name=password]").await;
}

#[tokio::test]
async fn name_colour_and_logo_are_the_operators() {
    let logo = tempfile::Builder::new().suffix(".svg").tempfile().expect("a file");
    let svg = "<svg xmlns='http://www.w3.org/2000/svg' width='40' height='40'><circle cx='20' cy='20' r='18' fill='#a51d2d'/></svg>";
    std::fs::write(logo.path(), svg).expect("logo");
    let brand = format!(
        "[brand]\nname = \"Acme <i>Works</i>\"\ncolor = \"#a51d2d\"\nsupport = \"Ask help@acme.test\"\nlogo_file = {:?}\n",
        logo.path()
    );
    let (gateway, _app) = two_provider_gateway(&brand).await;
    let browser = Browser::start().await;
    let tab = browser.tab(&gateway.url("/page")).await;
    tab.wait_for_text("Acme <i>Works</i>").await;
    look(&tab, "branded").await;
    assert_eq!(
        tab.script("document.images.length > 0 && document.images[0].naturalWidth > 0").await,
        true,
        "the logo is shown"
    );
    tab.go(&gateway.url("/oidc/callback")).await;
    tab.wait_for_text("Ask help@acme.test").await;
}

#[tokio::test]
async fn pages_about_failures_say_what_happened_and_where_to_find_it() {
    let port = crate::support::free_port();
    let routes = "[[route]]\npath = \"/down\"\naccess = \"public\"\n[[route]]\npath = \"/private\"\n";
    let gateway = gateway_before(&format!("http://127.0.0.1:{port}"), routes).await;
    let browser = Browser::start().await;
    let tab = browser.tab(&gateway.url("/nothing/here/<b>&amp;'\"")).await;
    failure(&tab, &gateway, "not-found", "DW-2001").await;
    for (target, name, code) in [
        ("/down", "app-down", "DW-2101"),
        ("/private", "provider-not-ready", "DW-6101"),
        ("/oidc/callback", "not-a-sign-in", "DW-3101"),
        ("/oidc/callback?state=x&code=y", "attempt-unknown", "DW-3103"),
        ("/oidc/login?return_to=//evil.test", "return-address", "DW-3109"),
        ("/oidc/login?provider=%3Cscript%3Ealert(1)%3C/script%3E", "provider-unknown", "DW-3110"),
        ("/down/%2e%2e/x%2fy", "ambiguous", "DW-1001"),
    ] {
        tab.go(&gateway.url(target)).await;
        failure(&tab, &gateway, name, code).await;
    }
}

#[tokio::test]
async fn the_forbidden_page_names_who_is_signed_in_and_offers_a_way_out() {
    let tables = format!("{ROUTES}[[route]]\npath = \"/admins\"\n[route.allow]\ngroups = [\"admins\"]\n");
    let scene = scene_at(Provider::shared(), Config::new(), "", &tables).await;
    let browser = Browser::start().await;
    let tab = browser.tab(&scene.gateway.url("/admins")).await;
    tab.log_in(scene.provider.user("berta")).await;
    failure(&tab, &scene.gateway, "forbidden", "DW-5001").await;
    let text = tab.text().await;
    assert!(text.contains("berta@example.org"), "{text}");
    assert!(!text.contains("admins"), "the rule itself is for admins: {text}");
    tab.click("a[href^='/logout'], form[action^='/logout'] button").await;
    tab.wait_for("#confirm").await;
}

#[tokio::test]
async fn the_signed_out_page_leads_back_in() {
    let tables = format!("{ROUTES}[sign_in]\nprovider_logout = false\n");
    let scene = scene_at(Provider::shared(), Config::new(), "", &tables).await;
    let browser = Browser::start().await;
    let tab = browser.tab(&scene.gateway.url("/page")).await;
    tab.log_in(scene.provider.user("anna")).await;
    tab.wait_for("#app").await;
    tab.go(&scene.gateway.url("/logout")).await;
    tab.wait_for_url("the signed-out page", |url| url.contains("/oidc/signed-out")).await;
    look(&tab, "signed-out").await;
    tab.click("main a[href*='/oidc/login'], main form[action*='/oidc/login'] button").await;
    tab.wait_for_url("the app again", |url| url == scene.gateway.url("/")).await;
}

#[tokio::test]
async fn a_failing_sign_in_has_a_page_of_its_own() {
    let (forger, app) = (Forger::start().await, App::start().await);
    let gateway = forger.gateway(&app.url(), "").await;
    let browser = Browser::start().await;
    forger.claims(|claims| claims["iss"] = json!("http://<b>evil</b>.test"));
    let tab = browser.tab(&gateway.url("/page")).await;
    failure(&tab, &gateway, "token-of-another-issuer", "DW-3305").await;
    assert!(!tab.text().await.contains("evil"), "what the provider said is for the log");
    forger.claims(|_| {});
    tab.click("main a[href*='/oidc/login']").await;
    tab.wait_for_url("the app", |url| url.starts_with(&gateway.url("/")) && !url.contains("oidc")).await;
}

#[tokio::test]
async fn every_answer_of_the_gateways_own_forbids_what_it_does_not_need() {
    let app = App::start().await;
    let gateway = gateway_before(&app.url(), "").await;
    for target in [
        "/nothing",
        "/oidc/signed-out",
        "/oidc/callback",
        "/private",
        "/oidc/login?return_to=//e",
        "/public/../x",
        "/logout",
    ] {
        for headers in [&NAVIGATION[..], &[("accept", "*/*")]] {
            let answer = raw_target(&gateway, target, headers).await;
            let value = |name: &str| answer.header(name).unwrap_or_default().to_owned();
            let policy = value("content-security-policy");
            for part in ["default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'"] {
                assert!(policy.contains(part), "{target}: {policy}");
            }
            assert!(
                !policy.contains("unsafe") && !policy.contains('*') && !policy.contains("script-src 's"),
                "{target}: {policy}"
            );
            assert!(value("cache-control").contains("no-store"), "{target}: {}", answer.head);
            assert_eq!(value("x-content-type-options"), "nosniff", "{target}");
            assert!(
                ["no-referrer", "same-origin", "strict-origin"].contains(&value("referrer-policy").as_str()),
                "{target}: {}",
                answer.head
            );
            assert!(
                answer.header("server").is_none_or(|s| !s.to_lowercase().contains("pingora")),
                "{target}: {}",
                answer.head
            );
        }
    }
}

async fn raw_target(gateway: &Gateway, target: &str, headers: &[(&str, &str)]) -> crate::support::raw::Reply {
    let lines: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    crate::support::raw::exchange(gateway.address(), crate::support::raw::get(target, &lines)).await.expect("an answer")
}

#[tokio::test]
async fn what_a_client_writes_is_shown_escaped_or_not_at_all() {
    let app = App::start().await;
    let gateway = gateway_before(&app.url(), "").await;
    let script = "%3Cscript%3Ealert(1)%3C/script%3E%22%27%3E";
    for target in [
        format!("/nothing/{script}"),
        format!("/nothing?{script}"),
        format!("/private/{script}?x={script}"),
        format!("/oidc/login?return_to=/{script}"),
        format!("/oidc/login?provider={script}"),
        format!("/oidc/callback?state={script}&code={script}"),
        format!("/oidc/callback?state=x&error={script}&error_description={script}"),
        format!("/oidc/signed-out?state={script}"),
        format!("/logout?return_to={script}"),
    ] {
        let answer = Person::new().open(&gateway.url(&target)).await;
        let text = answer.text();
        assert!(!text.contains("<script") && !text.contains("alert(1)<"), "{target}: {text}");
        let json = Person::new().request(Method::GET, &gateway.url(&target), &[("accept", "*/*")], None).await;
        if json.header("content-type").contains("json") {
            let value: Value = json.json();
            assert!(!value["error_description"].to_string().contains("<script"), "{target}: {value}");
        }
    }
}
