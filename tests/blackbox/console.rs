//! The operator's console, in a real browser: on the admin listener, and through a route of the gateway.

use std::os::unix::fs::PermissionsExt;

use reqwest::Method;
use serde_json::{Value, json};

use crate::pages::faults;
use crate::support::browser::{Browser, Tab};
use crate::support::eventually;
use crate::support::gateway::{Config, Gateway};
use crate::support::person::{Answer, NAVIGATION, Person};
use crate::support::provider::Provider;
use crate::support::raw::RawApp;
use crate::support::setup::{ROUTES, Scene, gateway_before, scene_at, upstream_table};

/// Every page that can be opened.
pub(super) const PAGES: [&str; 9] =
    ["", "refusals", "explain", "providers", "routes", "settings", "try", "doctor", "bundle"];
/// What programs find beside metrics and health.
pub(super) const DOCUMENTS: [&str; 3] = ["refusals.json", "doctor.json", "bundle.json"];

/// The route that leads admins to the console.
pub(super) fn route_to(config: &Config) -> String {
    format!(
        "[[upstream]]\nname = \"console\"\nurl = \"http://127.0.0.1:{}\"\n\
         [[route]]\npath = \"/ops\"\nstrip_prefix = true\nupstream = \"console\"\nallow.groups = [\"admins\"]\n",
        config.admin_port
    )
}

/// The usual scene with a route to the console.
pub(super) async fn scene() -> Scene {
    let config = Config::new();
    let route = route_to(&config);
    scene_at(Provider::shared(), config, "", &format!("{ROUTES}{route}")).await
}

/// Some sign-ins and refusals.
pub(super) async fn traffic(scene: &Scene) {
    let (anna, berta) = (Person::new(), Person::new());
    anna.sign_in(&scene.gateway.url("/page"), scene.provider.user("anna")).await;
    berta.sign_in(&scene.gateway.url("/page"), scene.provider.user("berta")).await;
    berta.open(&scene.gateway.url("/ops/")).await.expect(403);
    Person::new().fetch(&scene.gateway.url("/%3Cb%3Ebold")).await;
    Person::new().open(&scene.gateway.url("/oidc/callback?code=planted-code&state=planted-state")).await;
}

/// Looks at the page in light, dark and on a phone, keeps pictures, and judges it.
pub(super) async fn look(tab: &Tab, name: &str) {
    let looks = [("light", false, 1200), ("dark", true, 1200), ("phone", false, 375), ("phone-dark", true, 375)];
    for (look, dark, width) in looks {
        let phone = width < 400;
        tab.dark(dark).await;
        tab.screen(width, if phone { 812 } else { 900 }, phone).await;
        let faults = faults(tab, width).await;
        let height = tab.script("document.documentElement.scrollHeight").await.as_i64().unwrap_or(900).clamp(600, 5000);
        tab.screen(width, height, phone).await;
        tab.screenshot(&format!("console-{name}-{look}")).await;
        assert_eq!(faults, json!([]), "{name}, {look}");
    }
    let policy: Vec<_> = tab.console().into_iter().filter(|line| line.contains("Content")).collect();
    assert!(policy.is_empty(), "{name}: {policy:?}");
}

/// Lets the doctor examine, and waits for its report.
pub(super) async fn examine(gateway: &Gateway) {
    let client = reqwest::Client::new();
    let answer = client
        .post(gateway.admin_url("/doctor.json"))
        .header("x-doorward-console", "1")
        .send()
        .await
        .expect("an answer");
    let report: Value = serde_json::from_slice(&answer.bytes().await.expect("a body")).expect("JSON");
    assert!(report["last"]["report"]["good"].is_array(), "{report:#}");
}

/// The newest refusal with that code and a path that begins so, once it is kept: that is after it was answered.
pub(super) async fn kept(gateway: &Gateway, code: &str, path: &str) -> Value {
    eventually(&format!("a refusal {code} of {path} is kept"), || async {
        let all = ask(gateway, Method::GET, "/refusals.json", &[]).await.json();
        let group = all.as_array()?.iter().find(|group| group["code"] == code)?;
        let of_path = |one: &&Value| one["path"].as_str().is_some_and(|at| at.starts_with(path));
        group["last"].as_array()?.iter().find(of_path).cloned()
    })
    .await
}

/// What a program says that means the console.
pub(super) const PROGRAM: [(&str, &str); 1] = [("x-doorward-console", "1")];

pub(super) async fn ask(gateway: &Gateway, method: Method, path: &str, headers: &[(&str, &str)]) -> Answer {
    let form = (method == Method::POST).then(|| "a=b".to_owned());
    Person::new().request(method, &gateway.admin_url(path), headers, form).await
}

#[tokio::test]
async fn every_page_is_readable_in_light_in_dark_and_on_a_phone() {
    let scene = scene().await;
    traffic(&scene).await;
    let browser = Browser::start().await;
    let tab = browser.tab(&scene.gateway.admin_url("/doctor")).await;
    tab.follow("main button").await;
    tab.wait_for_text("as JSON").await;
    for page in PAGES {
        tab.go(&scene.gateway.admin_url(&format!("/{page}"))).await;
        look(&tab, if page.is_empty() { "overview" } else { page }).await;
    }
    let refused = kept(&scene.gateway, "DW-5001", "/ops/").await;
    tab.go(&scene.gateway.admin_url("/")).await;
    tab.type_into("#reference", refused["reference"].as_str().expect("a reference")).await;
    tab.press("Enter").await;
    tab.wait_for_url("the refusal", |url| url.contains("reference=")).await;
    let text = tab.wait_for_text("What was seen").await;
    assert!(text.contains("berta") && text.contains("/ops/"), "{text}");
    look(&tab, "refusal").await;
    // A reference is copied as one, however long what stands beside it is.
    tab.screen(1200, 900, false).await;
    tab.go(&scene.gateway.admin_url("/refusals")).await;
    tab.wait_for("td a.code").await;
    let lines =
        tab.script("[...document.querySelectorAll('td a.code')].map(link => link.getClientRects().length)").await;
    assert!(lines.as_array().is_some_and(|all| all.iter().all(|lines| *lines == 1)), "{lines}");
    let (half, whole) = ("/refusals?reference=abc", "/refusals?reference=0000000000000");
    assert!(ask(&scene.gateway, Method::GET, half, &NAVIGATION).await.text().contains("has thirteen characters"));
    assert!(!ask(&scene.gateway, Method::GET, whole, &NAVIGATION).await.text().contains("has thirteen characters"));
}

#[tokio::test]
async fn what_the_start_found_is_on_the_console_before_anybody_examines() {
    let config = Config::new()
        .add("[[provider]]\nissuer = \"http://127.0.0.2:9\"\nclient_id = \"nobody\"\n")
        .add(&upstream_table("http://127.0.0.1:9"))
        .add(ROUTES)
        // Warned of by loading.
        .add("[bearer]\ncache_bytes = \"1MiB\"\n");
    // The file with the secrets is for everybody to read.
    std::fs::set_permissions(config.dir.path(), std::fs::Permissions::from_mode(0o755)).expect("mode");
    let gateway = config.start().await;
    gateway.log_line(&["DW-9002"]).await;
    let document = eventually("what the start found", || async {
        let document = ask(&gateway, Method::GET, "/doctor.json", &[]).await.json();
        document["loaded"].is_object().then_some(document)
    })
    .await;
    let codes: Vec<_> = document["loaded"]["report"]["findings"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|one| one["code"].clone())
        .collect();
    assert!(codes.contains(&json!("DW-9002")) && codes.contains(&json!("DW-9001")), "{document:#}");
    assert_eq!(document["last"], json!(null), "nobody examined");
    let bundle = ask(&gateway, Method::GET, "/bundle.json", &[]).await.text();
    assert!(bundle.contains("DW-9002"), "{bundle}");
    let browser = Browser::start().await;
    let tab = browser.tab(&gateway.admin_url("/")).await;
    let text = tab.wait_for_text("DW-9002").await;
    assert!(text.contains("examine the rest"), "{text}");
    look(&tab, "overview-start").await;
    tab.go(&gateway.admin_url("/doctor")).await;
    let text = tab.wait_for_text("when the settings in force were loaded").await;
    assert!(text.contains("DW-9002"), "{text}");
    look(&tab, "doctor-start").await;
    // Whoever examines sees all of it in one report.
    examine(&gateway).await;
    tab.go(&gateway.admin_url("/doctor")).await;
    let text = tab.wait_for_text("as JSON").await;
    assert!(text.contains("DW-9002") && !text.contains("when the settings in force were loaded"), "{text}");
}

#[tokio::test]
async fn settings_are_tried_out_and_the_block_is_shown_without_its_secret() {
    let scene = scene().await;
    let browser = Browser::start().await;
    let tab = browser.tab(&scene.gateway.admin_url("/try")).await;
    let block = tab.script("document.querySelector('textarea').value").await;
    let block = block.as_str().expect("a block").to_owned();
    assert!(block.contains("client_secret = \"********\"") && !block.contains(&scene.client.secret), "{block}");
    tab.follow("main button").await;
    let text = tab.wait_for_text("Nothing to write down").await;
    assert!(!text.contains("To be written down") && !text.contains("# client_secret = "), "{text}");
    let replace = |from: &str, to: &str| {
        format!(
            "document.querySelector('textarea').value = document.querySelector('textarea').value.replace({from:?}, {to:?})"
        )
    };
    tab.script(&replace("client_id", "prompt = \"login\"\nclient_id")).await;
    tab.follow("main button").await;
    let text = tab.wait_for_text("To be written down").await;
    assert!(text.contains(scene.provider.issuer()) && text.contains("prompt = \"login\""), "{text}");
    look(&tab, "tried").await;
    assert!(text.contains("# client_secret = ") && !text.contains("client_secret = \"********\""), "{text}");
    let tab = browser.tab(&scene.gateway.admin_url("/try")).await;
    tab.wait_for("textarea").await;
    tab.script(&replace("client_id", "clientid")).await;
    tab.follow("main button").await;
    tab.wait_for_text("The gateway would not take this").await;
    let text = tab.text().await;
    assert!(text.contains("Line 3") && text.contains("client_id"), "{text}");
    look(&tab, "not-taken").await;
    // What was typed is not kept, and does not turn into the one in force.
    let tab = browser.tab(&scene.gateway.admin_url("/try")).await;
    tab.wait_for("textarea").await;
    tab.script(&replace("********", "planted-secret-that-is-wrong")).await;
    tab.follow("main button").await;
    tab.wait_for_text("DW-3202").await;
    let left = tab.script("document.querySelector('textarea').value").await;
    assert!(left.as_str().is_some_and(|left| left.contains("(type the secret again)")), "{left}");
    tab.follow("main button").await;
    tab.wait_for_text("typed for the trial before is not kept").await;
    // The secret in force is for its own host.
    let tab = browser.tab(&scene.gateway.admin_url("/try")).await;
    tab.wait_for("textarea").await;
    tab.script(&replace("http://127.0.0.2", "http://127.0.0.3")).await;
    tab.follow("main button").await;
    tab.wait_for_text("only for the issuer as it is in force").await;
    let shown = Person::new().open(&scene.gateway.admin_url("/settings")).await;
    assert!(shown.text().contains(scene.provider.issuer()), "nothing was stored");
}

#[tokio::test]
async fn admins_walk_through_the_console_by_the_gateways_route_and_others_do_not() {
    let scene = scene().await;
    let browser = Browser::start().await;
    let tab = browser.tab(&scene.gateway.url("/ops")).await;
    tab.log_in(scene.provider.user("anna")).await;
    tab.wait_for_text("Ready: all that is configured").await;
    // Every link and form of every page stays below the route.
    for page in PAGES {
        let link = format!("nav a[href$=\"/ops/{page}\"]");
        tab.follow(&link).await;
        tab.wait_for_url("the page", |url| url.ends_with(&format!("/ops/{page}"))).await;
        let outside = "[...document.querySelectorAll('a[href],form')].map(e => new URL(e.action || e.href).pathname).filter(p => !p.startsWith('/ops/'))";
        tab.wait_for("main h1").await;
        assert_eq!(tab.script(outside).await, json!([]), "{page}");
        let wrong = tab.responses().into_iter().filter(|(status, url)| *status >= 400 && url.contains("/ops"));
        let wrong: Vec<_> = wrong.collect();
        assert!(wrong.is_empty(), "{page}: {wrong:?}");
    }
    tab.go(&scene.gateway.url("/ops/doctor")).await;
    tab.follow("main button").await;
    tab.wait_for_text("as JSON").await;
    assert!(tab.url().await.ends_with("/ops/doctor"));
    tab.screenshot("console-by-the-gateway").await;
    let berta = Person::new();
    berta.sign_in(&scene.gateway.url("/page"), scene.provider.user("berta")).await;
    for page in PAGES.iter().chain(&DOCUMENTS) {
        berta.open(&scene.gateway.url(&format!("/ops/{page}"))).await.expect(403);
    }
    let stranger = Person::new().open(&scene.gateway.url("/ops/settings")).await;
    assert!(!stranger.text().contains("client_secret"), "{}", stranger.text());
}

#[tokio::test]
async fn a_request_is_explained_step_by_step_before_it_is_sent() {
    let scene = scene().await;
    let browser = Browser::start().await;
    let tab = browser.tab(&scene.gateway.admin_url("/explain")).await;
    tab.script("document.querySelector('#url').value = '/ops/'; document.querySelector('#sender').value = 'person'")
        .await;
    tab.type_into("#user", "berta").await;
    tab.type_into("#groups", "staff").await;
    tab.follow("main button").await;
    let text = tab.wait_for_text("DW-5001").await;
    assert!(text.contains("admins") && text.contains("staff"), "{text}");
    look(&tab, "explained").await;
    // Nobody's choice, and a token in the form beside the person: neither is passed over.
    tab.type_into("#user", "berta").await;
    tab.script("document.querySelector('details').open = true").await;
    tab.type_into("#token", "abc").await;
    tab.follow("main button").await;
    tab.wait_for_text("a token is filled in").await;
    tab.script("document.querySelector('#groups').value = 'admins'").await;
    tab.follow("main button").await;
    tab.wait_for_text("what the app answers").await;
}

#[tokio::test]
async fn the_doctor_knows_the_console_among_the_apps() {
    let scene = scene().await;
    examine(&scene.gateway).await;
    let report = Person::new().open(&scene.gateway.admin_url("/doctor.json")).await.json();
    let about = |list: &str| -> Vec<String> {
        let all = report["last"][list].as_array().or(report["last"]["report"][list].as_array()).expect("a list");
        all.iter().filter(|said| said["place"] == "upstream console").map(ToString::to_string).collect()
    };
    assert_eq!(about("findings"), [""; 0]);
    assert!(about("good").iter().any(|said| said.contains("a gateway's console")), "{report:#}");
}

#[tokio::test]
async fn the_doctor_s_form_asks_for_what_the_command_line_does() {
    let body =
        "HTTP/1.1 200 OK\r\nServer: inner\r\nContent-Length: 22\r\nConnection: close\r\n\r\n<title>Payroll</title>";
    let inner = RawApp::start(body, true).await;
    let gateway = gateway_before(&inner.url(), "").await;
    let person = Person::new();
    let ask = async |form: &[(&str, &str)]| {
        let form = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        person.request(Method::POST, &gateway.admin_url("/doctor.json"), &PROGRAM, Some(form)).await
    };
    let report = ask(&[("app_address", &inner.url())]).await.expect(200).text();
    assert!(report.contains("DW-9053") && report.contains("Server: inner"), "{report}");
    assert!(!report.contains("Payroll"), "{report}");
    assert!(report.contains("--try-identity-headers"), "an app is asked as somebody by wish alone: {report}");
    for address in ["unix:/run/app.sock", "h2c://127.0.0.1:9", "file:///etc/passwd", "nonsense"] {
        let refused = ask(&[("app_address", address)]).await;
        assert_eq!((refused.status, refused.reason().as_str()), (400, "DW-9104"), "{address}");
    }
}

#[tokio::test]
async fn recording_is_switched_by_a_button_and_what_passed_is_shown_as_such() {
    let scene = scene().await;
    let person = Person::new();
    person.sign_in(&scene.gateway.url("/page"), scene.provider.user("anna")).await;
    let browser = Browser::start().await;
    let tab = browser.tab(&scene.gateway.admin_url("/explain")).await;
    tab.follow("#record button").await;
    tab.wait_for_text("Stop recording").await;
    person.open(&scene.gateway.url("/recorded-page")).await.expect(200);
    let kept = eventually("it is recorded", || async {
        let said = ask(&scene.gateway, Method::GET, "/record.json", &[]).await.json();
        said["kept"].as_array()?.iter().find(|one| one["path"] == "/recorded-page").cloned()
    })
    .await;
    let page = format!("/refusals/{}", kept["reference"].as_str().expect("a reference"));
    let shown = ask(&scene.gateway, Method::GET, &page, &NAVIGATION).await.expect(200).text();
    assert!(shown.contains("Recorded: 200") && shown.contains("Step by step") && !shown.contains("DW-"), "{shown}");
    let listed = ask(&scene.gateway, Method::GET, "/explain", &NAVIGATION).await.text();
    assert!(listed.contains("/recorded-page"), "{listed}");
    tab.follow("#record button").await;
    tab.wait_for_text("Record for 10 minutes").await;
    assert!(ask(&scene.gateway, Method::GET, "/record.json", &[]).await.json()["until"].is_null());
}

#[tokio::test]
async fn the_form_explains_for_another_address_and_asks_nobody_where_it_says_so() {
    let gateway = gateway_before("http://127.0.0.1:9", "").await;
    let explained = async |form: &str| {
        let url = gateway.admin_url("/explain");
        Person::new().request(Method::POST, &url, &PROGRAM, Some(form.to_owned())).await
    };
    let page = explained("url=/x&peer=192.0.2.77&offline=1").await.expect(200).text();
    assert!(page.contains("from 192.0.2.77") && page.contains("checked"), "{page}");
    assert!(explained("url=/x&peer=nowhere").await.expect(422).text().contains("is no IP address"));
}
