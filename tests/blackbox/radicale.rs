//! The main job on a real app: Radicale, unmodified, behind the gateway.

use serde_json::Value;

use crate::support::browser::{Browser, Tab};
use crate::support::gateway::{Config, Gateway};
use crate::support::provider::Provider;
use crate::support::radicale::Radicale;
use crate::support::raw::exchange;
use crate::support::setup::{provider_table, upstream_table};

async fn scene() -> (Gateway, Radicale, Provider) {
    let (radicale, provider, config) = (Radicale::start().await, Provider::shared(), Config::new());
    let client = provider.register(&config.public_url, serde_json::json!({})).await;
    let tables = format!(
        "{}{}[[route]]\naccess = \"signed-in\"\n[headers]\nset = [{{ name = \"X-Remote-User\", claim = \"preferred_username\" }}]\n",
        provider_table(&provider, &client),
        upstream_table(&radicale.url())
    );
    let gateway = config.add(&tables).start().await;
    gateway.ready().await;
    (gateway, radicale, provider)
}

const WHO: &str = "<propfind xmlns='DAV:'><prop><current-user-principal/></prop></propfind>";

/// Asks Radicale, from a script in the page, who the person is; `headers` is a JavaScript object.
async fn who(tab: &Tab, headers: &str) -> String {
    let script = format!(
        "fetch('/', {{method: 'PROPFIND', headers: {headers}, body: \"{WHO}\"}}).then(async a => a.status + ' ' + await a.text())"
    );
    match tab.script(&script).await {
        Value::String(text) => text,
        other => panic!("no answer: {other}"),
    }
}

#[tokio::test]
async fn the_person_who_signed_in_is_that_user_in_radicale() {
    let (gateway, radicale, provider) = scene().await;
    for name in ["anna", "berta"] {
        let browser = Browser::start().await;
        let tab = browser.tab(&gateway.url("/.web/")).await;
        tab.log_in(provider.user(name)).await;
        tab.wait_for_url("Radicale's page", |url| url == gateway.url("/.web/")).await;
        let answer = who(&tab, "{Depth: '0'}").await;
        assert!(answer.starts_with("207") && answer.contains(&format!("/{name}/")), "{answer}");
        // A calendar of one's own, and not in another's place.
        for (owner, allowed) in [("anna", name == "anna"), ("berta", name == "berta")] {
            let script = format!("fetch('/{owner}/work-of-{name}/', {{method: 'MKCALENDAR'}}).then(a => a.status)");
            let status = tab.script(&script).await;
            assert_eq!(status == 201, allowed, "{name} makes a calendar of {owner}: {status}");
            assert_eq!(radicale.has_collection(owner, &format!("work-of-{name}")), allowed);
        }
    }
}

#[tokio::test]
async fn whoever_a_person_claims_to_be_in_the_apps_own_form_they_are_who_they_signed_in_as() {
    let (gateway, _radicale, provider) = scene().await;
    let browser = Browser::start().await;
    let tab = browser.tab(&gateway.url("/.web/")).await;
    tab.log_in(provider.user("berta")).await;
    tab.wait_for_url("Radicale's page", |url| url == gateway.url("/.web/")).await;
    tab.wait_for("#loginscene:not(.hidden)").await;
    tab.type_into("#loginscene input[data-name=user]", "anna").await;
    tab.type_into("#loginscene input[data-name=password]", "anything").await;
    tab.click("#loginscene button.green").await;
    let text = tab.wait_for_text("'s Collections").await;
    tab.screenshot("radicale-signed-in").await;
    assert!(text.contains("berta's Collections"), "{text}");
}

#[tokio::test]
async fn a_forged_remote_user_in_any_spelling_changes_nothing() {
    let (gateway, _radicale, provider) = scene().await;
    let browser = Browser::start().await;
    let tab = browser.tab(&gateway.url("/.web/")).await;
    tab.log_in(provider.user("berta")).await;
    tab.wait_for_url("Radicale's page", |url| url == gateway.url("/.web/")).await;
    let spellings = [
        "X-Remote-User",
        "x-remote-user",
        "X-REMOTE-USER",
        "X_Remote_User",
        "x_remote_user",
        "X-Remote_User",
        "X_REMOTE-USER",
        "X.Remote.User",
        "REMOTE_USER",
        "Remote-User",
        "HTTP_X_REMOTE_USER",
    ];
    for name in spellings {
        let answer = who(&tab, &format!("{{Depth: '0', '{name}': 'anna'}}")).await;
        assert!(answer.contains("/berta/") && !answer.contains("anna"), "{name}: {answer}");
    }
    // Without a session a forged name is worth nothing either, and Radicale is not even asked.
    let lines: String = spellings.iter().map(|name| format!("{name}: anna\r\n")).collect();
    let request = format!(
        "PROPFIND / HTTP/1.1\r\nHost: 127.0.0.1\r\nDepth: 0\r\nContent-Length: {}\r\n{lines}\r\n{WHO}",
        WHO.len()
    );
    let reply = exchange(gateway.address(), request).await.expect("an answer");
    assert_eq!(reply.status, 401, "{}", reply.text());
    assert!(!reply.text().contains("anna"));
    // Nor does a connection header take the right name away so that the forged one counts.
    let cookies = browser.cookies().await;
    let session = cookies.iter().find(|c| c.name == "doorward").expect("a session");
    let request = format!(
        "PROPFIND / HTTP/1.1\r\nHost: 127.0.0.1\r\nDepth: 0\r\nCookie: doorward={}\r\nConnection: X-Remote-User\r\n{lines}Content-Length: {}\r\n\r\n{WHO}",
        session.value,
        WHO.len()
    );
    let reply = exchange(gateway.address(), request).await.expect("an answer");
    assert!(reply.status == 400 || reply.text().contains("/berta/"), "{}", reply.text());
    assert!(!reply.text().contains("anna"), "{}", reply.text());
}
