//! Requests that the gateway has had are explained: those that were refused, and all while everything is recorded.

use serde_json::{Value, json};

use super::explain::{Scene, header};
use crate::support::gateway::Gateway;
use crate::support::person::Person;
use crate::support::raw::Connection;
use crate::support::setup::gateway_before;
use crate::support::{eventually, free_port};

/// The JSON of an address of the admin listener, once it holds what `wanted` looks for.
async fn told<T>(scene: &Scene, path: &str, wanted: impl Fn(&Value) -> Option<T>) -> T {
    explained(&scene.gateway, path, wanted).await
}

async fn explained<T>(gateway: &Gateway, path: &str, wanted: impl Fn(&Value) -> Option<T>) -> T {
    eventually(path, || async {
        let text = reqwest::get(gateway.admin_url(path)).await.ok()?.text().await.ok()?;
        wanted(&serde_json::from_str(&text).ok()?)
    })
    .await
}

#[tokio::test]
async fn a_refusal_is_explained_by_its_reference() {
    let scene = Scene::start().await;
    let token = scene.token(json!({"aud": "other", "env": "dev"}));
    let (url, sent) = (scene.gateway.url("/api/x?secret=hidden"), format!("Bearer {token}"));
    let answer = scene.person.request(reqwest::Method::GET, &url, &[("authorization", &sent)], None).await;
    let reference = answer.expect(401).json()["reference"].as_str().expect("a reference").to_owned();
    let path = format!("/explain/{reference}.json");
    let said = told(&scene, &path, |said| said["explanation"].is_object().then(|| said.clone())).await;
    let explanation = &said["explanation"];
    assert_eq!((&said["path"], &said["route"]), (&json!("/api/x"), &json!("/api")), "{said:#}");
    assert_eq!((&explanation["verdict"]["status"], &explanation["verdict"]["code"]), (&json!(401), &json!("DW-8009")));
    let checks = explanation["steps"][3]["checks"].as_array().expect("checks");
    let failed: Vec<&str> =
        checks.iter().filter(|check| check["found"] == "fails").filter_map(|check| check["what"].as_str()).collect();
    assert_eq!(failed, ["audience (aud)", "claim env"]);
    let numbers = |said: &Value| -> Vec<u64> {
        let steps = said["explanation"]["steps"].as_array().expect("steps").iter();
        steps.filter_map(|step| step["number"].as_u64()).collect()
    };
    // The ninth is the verdict.
    assert_eq!(numbers(&said), [1, 2, 3, 4, 5, 6, 7, 8], "{said:#}");
    let page = reqwest::get(scene.gateway.admin_url(&format!("/refusals/{reference}"))).await.expect("a page");
    let page = page.text().await.expect("a page");
    assert!(page.contains("8. upstream") && page.contains("9. verdict"), "{page}");
    let nobody = scene.person.request(reqwest::Method::GET, &scene.gateway.url("/api/x"), &[], None).await;
    let path = format!("/explain/{}.json", nobody.expect(401).json()["reference"].as_str().expect("a reference"));
    let unknown = told(&scene, &path, |said| said["explanation"].is_object().then(|| said.clone())).await;
    assert_eq!(numbers(&unknown), [1, 2, 3, 4, 5, 6, 7, 8], "{unknown:#}");
    assert!(unknown["explanation"]["steps"][5].to_string().contains("nobody is known"), "{unknown:#}");
    let signature = token.rsplit('.').next().expect("a signature");
    assert!(!said.to_string().contains("hidden") && !said.to_string().contains(signature), "{said:#}");
    // The list of refusals says it in short.
    let kept = told(&scene, "/refusals.json", |all| {
        let mut last = all.as_array()?.iter().flat_map(|group| group["last"].as_array().cloned().unwrap_or_default());
        last.find(|one| one["reference"] == reference.as_str())
    })
    .await;
    assert_eq!(kept["failed"], json!(["audience (aud)", "claim env"]), "{kept:#}");
    // What has two readings is told with both.
    let mut connection = Connection::open(scene.gateway.address()).await;
    let head =
        format!("GET /public/..%2fops HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", scene.gateway.address());
    let reply = connection.send(head).await.reply().await.expect("an answer");
    let body: Value = serde_json::from_str(&reply.text()).expect("JSON");
    let path = format!("/explain/{}.json", body["reference"].as_str().expect("a reference"));
    let said = told(&scene, &path, |said| said["explanation"].is_object().then(|| said.clone())).await;
    assert!(said.to_string().contains("another, decoded and resolved: `/ops`"), "{said:#}");
    let unknown = reqwest::get(scene.gateway.admin_url("/explain/0000000000000.json")).await.expect("an answer");
    assert_eq!(unknown.status().as_u16(), 404);
}

#[tokio::test]
async fn an_app_that_was_not_reached_was_told_nothing() {
    let refusing = format!("http://127.0.0.1:{}", free_port());
    for (app, code) in [("http://app.invalid:80", "DW-2102"), (refusing.as_str(), "DW-2101")] {
        let gateway = gateway_before(app, "[[route]]\naccess = \"public\"\n").await;
        let answer = Person::new().fetch(&gateway.url("/x")).await.expect(502).json();
        assert_eq!(answer["reason"], code);
        let path = format!("/explain/{}.json", answer["reference"].as_str().expect("a reference"));
        let said = explained(&gateway, &path, |said| said["explanation"]["steps"].as_array().cloned()).await;
        assert_eq!(said[6]["said"], json!(["none: the app does not get the request"]), "{app}");
        assert!(said[7].to_string().contains("which was not reached"), "{app}: {}", said[7]);
    }
}

#[tokio::test]
async fn a_request_that_passed_is_explained_while_everything_is_recorded() {
    let scene = Scene::start().await;
    let record = async |minutes: &str| {
        let form = Some(format!("minutes={minutes}"));
        let url = scene.gateway.admin_url("/record.json");
        Person::new()
            .request(reqwest::Method::POST, &url, &[("x-doorward-console", "1")], form)
            .await
            .expect(200)
            .json()
    };
    let ask = async |path: &str| scene.person.open(&scene.gateway.url(path)).await.expect(200).status;
    ask("/before").await;
    // It has come to its end only with its line: what ends while everything is recorded is kept.
    scene.gateway.log_line(&["access", "/before"]).await;
    assert!(record("5").await["until"].is_string());
    ask("/during?secret=hidden").await;
    let kept = told(&scene, "/record.json", |said| {
        said["kept"].as_array()?.iter().find(|one| one["path"] == "/during").cloned()
    })
    .await;
    let reference = kept["reference"].as_str().expect("a reference");
    assert_eq!((&kept["outcome"], &kept["user"]), (&json!("passed"), &json!("anna")), "{kept}");
    let said = told(&scene, &format!("/explain/{reference}.json"), |said| Some(said.clone())).await;
    let explanation = &said["explanation"];
    assert_eq!(
        (&explanation["verdict"]["outcome"], &explanation["verdict"]["status"]),
        (&json!("passed"), &json!(200))
    );
    let steps = explanation["steps"].as_array().expect("steps");
    let step = |name: &str| steps.iter().find(|step| step["name"] == name).expect(name);
    assert!(step("credential").to_string().contains("a session of `anna`"), "{said:#}");
    let numbers: Vec<_> = steps.iter().filter_map(|step| step["number"].as_u64()).collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5, 6, 7, 8], "{said:#}");
    let headers = step("headers for the app")["headers"].as_array().expect("headers");
    assert!(headers.iter().any(|one| one["name"] == "x-forwarded-user" && one["value"] == "anna"), "{said:#}");
    let cookie = scene.cookie();
    let sealed = cookie.split('=').nth(1).and_then(|value| value.get(..40)).expect("a session");
    assert!(!said.to_string().contains("hidden") && !said.to_string().contains(sealed), "{said:#}");
    assert!(record("0").await["until"].is_null());
    ask("/after").await;
    scene.gateway.log_line(&["access", "/after"]).await;
    let all = told(&scene, "/record.json", |said| Some(said.clone())).await.to_string();
    assert!(!all.contains("/before") && !all.contains("/after"), "{all}");
}

/// All that the gateway counts, but for what it asks others by itself.
async fn counted(scene: &Scene) -> Vec<String> {
    let of_itself = |line: &&str| line.contains("fetch") || line.contains("_connections");
    let metrics = scene.gateway.metrics().await;
    metrics.lines().filter(|line| line.starts_with("doorward_") && !of_itself(line)).map(str::to_owned).collect()
}

#[tokio::test]
async fn what_is_explained_on_the_console_counts_as_no_use() {
    let scene = Scene::start().await;
    // One of each, so that the series are there.
    scene.ask("GET", "/api", &[header("Authorization", &format!("Bearer {}", scene.account))]).await;
    scene.ask("GET", "/", &[header("Accept", "text/html")]).await;
    // Each is counted before it has its line; those of the sign-in are, too.
    eventually("all that was asked is counted", || async {
        let lines = scene.gateway.log_lines();
        let of = |words| lines.iter().filter(|line| line.contains(" access GET ") && line.contains(words)).count();
        let wanted = [(" / 303 ", 2), (" /oidc/callback ", 1), (" / 200 ", 1), (" /api 200 ", 1)];
        wanted.into_iter().all(|(words, count)| of(words) >= count).then_some(())
    })
    .await;
    // The use of a key has seconds: one that counted would have others.
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    let before = counted(&scene).await;
    let wrong_key = format!("{}x", scene.account);
    let (token, cookie) = (scene.token(json!({})), format!("Cookie: {}\nAccept: text/html", scene.cookie()));
    let foreign = scene.token(json!({"aud": "other"}));
    for (url, sender, secret, headers) in [
        ("/api", "token", scene.account.as_str(), ""),
        ("/api", "token", &wrong_key, ""),
        ("/api", "token", &token, ""),
        ("/api", "token", &foreign, ""),
        ("/", "nobody", "", "Accept: text/html"),
        ("/fresh", "nobody", "", &cookie),
        ("/oidc/login?return_to=/x", "nobody", "", ""),
        ("/oidc/callback", "nobody", "", ""),
        ("/oidc/callback?error=access_denied&state=a.b", "nobody", "", ""),
        ("/logout", "nobody", "", ""),
    ] {
        let form = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs([("url", url), ("sender", sender), ("token", secret), ("headers", headers)])
            .finish();
        let to = scene.gateway.admin_url("/explain");
        let page = Person::new()
            .request(reqwest::Method::POST, &to, &[("x-doorward-console", "1")], Some(form))
            .await
            .expect(200)
            .text();
        assert_eq!(page.contains("what cannot be told"), url.contains("error="), "{url}: {page}");
        assert_eq!(counted(&scene).await, before, "{url} as {sender}");
    }
}
