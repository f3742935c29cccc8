//! The way in when signing in is broken: one password in the log, and nobody else.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::json;

use super::directory::fill_in;
use crate::support::app::App;
use crate::support::gateway::{Config, Gateway};
use crate::support::person::{Answer, CURL, NAVIGATION, Person};
use crate::support::provider::Provider;
use crate::support::setup::{ROUTES, provider_table, upstream_table};
use crate::support::{eventually, unhurried};

const RESTORE: &str = "[restore]\nuser = 'root'\nemail = 'root@example.org'\ngroups = ['admins']\n";

/// A gateway before the usual provider, not in restore mode yet, and the app behind it.
async fn usual(tables: &str) -> (Gateway, App) {
    let (provider, app, config) = (Provider::shared(), App::start().await, Config::new());
    let client = provider.register(&config.public_url, json!({})).await;
    let table = provider_table(&provider, &client);
    let gateway = config.add(&table).add(&upstream_table(&app.url())).add(&format!("{ROUTES}{RESTORE}{tables}"));
    let gateway = gateway.start().await;
    gateway.ready().await;
    (gateway, app)
}

async fn restoring(gateway: Gateway, variable: &str) -> Gateway {
    let variable = variable.to_owned();
    let gateway = gateway.restart(|config| config.env.push((variable, "true".into()))).await;
    gateway.ready().await;
    gateway
}

async fn come_in(gateway: &Gateway, person: &Person, password: &str) -> Answer {
    let shown = person.browse(&gateway.url("/page")).await;
    assert!(shown.text().contains("Restore mode is on"), "{}", shown.text());
    fill_in(person, &shown, "", password).await
}

#[tokio::test]
async fn the_password_of_the_log_lets_in_and_everything_says_so() {
    for variable in ["LOCAL_RESTORE", "DOORWARD_RESTORE"] {
        let (gateway, app) = usual("").await;
        let gateway = restoring(gateway, variable).await;
        let line = gateway.log_line(&["restore mode is on", "password="]).await;
        assert!(line.contains(variable) && line.contains("/oidc/password") && line.contains("take"), "{line}");
        let password = gateway.password_of_the_log().await;
        let person = Person::new();
        let wrong = come_in(&gateway, &person, "aaaa-bbbb").await;
        assert_eq!((wrong.status, wrong.reason().as_str()), (401, "DW-3522"));
        assert!(!wrong.text().contains("directory") && wrong.text().contains("every start"), "{}", wrong.text());
        come_in(&gateway, &person, &password).await.expect(200);
        person.open(&gateway.url("/page")).await.expect(200);
        let seen = app.seen().pop().expect("a request");
        assert_eq!((seen.one("x-forwarded-user"), seen.one("x-forwarded-email")), ("root", "root@example.org"));
        assert_eq!(seen.one("x-forwarded-groups"), "admins");
        gateway.log_line(&["audit", "sign_in", "allow", "user=root", "provider=restore", "mode=restore"]).await;
        assert_eq!(gateway.metric("doorward_restore_mode", &[]).await, 1.0);
        assert!(gateway.readyz().await.1["warning"].as_str().is_some_and(|text| text.contains("restore")));
        // What stands before the first line with a time is the table of the settings.
        let mut lines = gateway.log_lines();
        lines.retain(|line| line.starts_with("20") && line.contains("Z ") && !line.contains("mode=restore"));
        assert!(lines.is_empty(), "{lines:#?}");
        // Pages about failures say it as well.
        let page = person.open(&gateway.url("/oidc/callback")).await;
        assert!(page.text().contains("Restore mode is on"), "{}", page.text());
        gateway.password_of_the_log().await;
    }
}

#[tokio::test]
async fn nobody_else_gets_in_and_earlier_sessions_count_again_afterwards() {
    let issuer = "[[issuer]]\nname = 'ci'\nissuer = 'https://ci.example'\njwks_uri = 'http://127.0.0.2:9/'\naudiences = ['x']\n\
        [[route]]\npath = '/api'\naccess = 'signed-in-or-bearer'\n";
    let (gateway, _app) = {
        let (provider, app, config) = (Provider::shared(), App::start().await, Config::new());
        let client = provider.register(&config.public_url, json!({})).await;
        let table = provider_table(&provider, &client);
        let config = config.add(&table).add(&upstream_table(&app.url())).add(&format!("{ROUTES}{RESTORE}{issuer}"));
        (config.start().await, app)
    };
    eventually("the provider", || async { (gateway.readyz().await.1["providers"][0]["ready"] == true).then_some(()) })
        .await;
    let anna = Person::new();
    anna.sign_in(&gateway.url("/page"), Provider::shared().user("anna")).await;
    let before = anna.session();

    let gateway = restoring(gateway, "LOCAL_RESTORE").await;
    // Her session does not count; she is shown the form, and her cookie is left alone.
    let page = anna.browse(&gateway.url("/page")).await;
    assert!(page.url.path() == "/oidc/password" && page.text().contains("Restore mode"), "{}", page.url);
    let fetched = anna.fetch(&gateway.url("/page")).await;
    assert_eq!((fetched.status, fetched.reason().as_str()), (503, "DW-3521"));
    assert_eq!(anna.session(), before);
    // No provider is asked, whatever is in the address.
    for path in ["/oidc/login", "/oidc/login?provider=main", "/oidc/login?return_to=/page"] {
        let answer = Person::new().browse(&gateway.url(path)).await;
        assert_eq!(answer.url.path(), "/oidc/password", "{path}");
    }
    for credential in ["Bearer abc.def.ghi", "Bearer dwk_x", "Basic YTpi"] {
        let mut headers = CURL.to_vec();
        headers.push(("authorization", credential));
        let answer = Person::new().request(Method::GET, &gateway.url("/api"), &headers, None).await;
        assert_eq!((answer.status, answer.reason().as_str()), (503, "DW-3521"), "{credential}");
        // A route that would not take it is no reason to send a program to a form.
        let answer = Person::new().request(Method::GET, &gateway.url("/page"), &headers, None).await;
        assert_eq!((answer.status, answer.reason().as_str()), (503, "DW-3521"), "{credential}");
    }
    // A person is sent there, whatever the browser remembers for this site.
    let mut headers = NAVIGATION.to_vec();
    headers.push(("authorization", "Basic YTpi"));
    let answer = Person::new().request(Method::GET, &gateway.url("/page"), &headers, None).await;
    assert_eq!(answer.location().expect("the form").path(), "/oidc/password");
    Person::new().open(&gateway.url("/public")).await.expect(200);

    let root = Person::new();
    come_in(&gateway, &root, &gateway.password_of_the_log().await).await.expect(200);
    root.open(&gateway.url("/page")).await.expect(200);
    let gateway = gateway.restart(|config| config.env.clear()).await;
    eventually("the provider", || async { (gateway.readyz().await.1["providers"][0]["ready"] == true).then_some(()) })
        .await;
    // The way in's session is worth nothing any more, and Anna's is what it was.
    assert_eq!(root.fetch(&gateway.url("/page")).await.reason(), "DW-4002");
    anna.open(&gateway.url("/page")).await.expect(200);
    assert_eq!(gateway.metric("doorward_restore_mode", &[]).await, 0.0);
    assert!(!gateway.log_text().contains("mode=restore"));
}

#[tokio::test]
async fn what_is_sent_to_the_gateways_own_addresses_does_not_reach_the_app() {
    let (provider, app, config) = (Provider::shared(), App::start().await, Config::new());
    let client = provider.register(&config.public_url, json!({})).await;
    let more = "[[provider]]\nname = 'other'\nissuer = 'http://127.0.0.2:9'\nclient_id = 'c'\nresponse_mode = 'form_post'\n\
        [[issuer]]\nname = 'ci'\nissuer = 'https://ci.example'\njwks_uri = 'http://127.0.0.2:9/'\naudiences = ['x']\n\
        [federation]\naudiences = ['x']\nallow = { email_domains = ['example.com'] }\n\
        [[route]]\npath = '/'\naccess = 'public'\n[[route]]\npath = '/api'\naccess = 'bearer'\nresource_metadata = true\n";
    let config = config.add(&provider_table(&provider, &client)).add(&upstream_table(&app.url()));
    let mut config = config.add(&format!("{RESTORE}{more}"));
    config.env.push(("DOORWARD_RESTORE".into(), "true".into()));
    let gateway = config.start().await;
    gateway.ready().await;
    let nobody = Person::new();
    for (method, path) in [
        (Method::POST, "/oidc/token"),
        (Method::GET, "/oidc/token"),
        (Method::POST, "/oidc/backchannel-logout"),
        (Method::GET, "/.well-known/jwks.json"),
        (Method::GET, "/.well-known/oauth-authorization-server"),
        (Method::GET, "/.well-known/oauth-protected-resource/api"),
        (Method::GET, "/oidc/callback?code=c&state=s"),
        (Method::GET, "/oidc/callback/other?code=c&state=s"),
        (Method::POST, "/oidc/callback/other"),
    ] {
        let form = (method == Method::POST).then(|| "assertion=a.b.c&logout_token=a.b.c&code=c&state=s".to_owned());
        let program = nobody.request(method.clone(), &gateway.url(path), &CURL, form.clone()).await;
        assert_eq!((program.status, program.reason().as_str()), (503, "DW-3521"), "{method} {path}");
        assert_eq!(program.json()["reason"], "DW-3521", "{method} {path}");
        assert!(!program.header("retry-after").is_empty(), "{method} {path}");
        let person = nobody.request(method.clone(), &gateway.url(path), &NAVIGATION, form).await;
        assert_eq!((person.status, person.reason().as_str()), (503, "DW-3521"), "{method} {path}");
        assert!(person.text().contains("Restore mode is on"), "{method} {path}");
    }
    assert!(app.seen().is_empty(), "{:?}", app.seen());
    // What is not the gateway's is the app's, as ever.
    nobody.open(&gateway.url("/oidc/callback/nobody")).await.expect(200);
}

#[tokio::test]
async fn another_gateway_with_the_same_secrets_takes_neither_session_nor_password() {
    let (gateway, app) = usual("").await;
    let gateway = restoring(gateway, "DOORWARD_RESTORE").await;
    let password = gateway.password_of_the_log().await;
    let root = Person::new();
    come_in(&gateway, &root, &password).await.expect(200);
    root.open(&gateway.url("/page")).await.expect(200);
    for env in [vec![], vec![("LOCAL_RESTORE".to_owned(), "true".to_owned())]] {
        let mut other = Config::new();
        (other.public_url, other.secrets) = (gateway.config.public_url.clone(), gateway.config.secrets.clone());
        let restores = !env.is_empty();
        other.env = env;
        other.tables = gateway.config.tables.clone();
        let port = other.port;
        let other = other.start().await;
        // The same browser, as if a balancer had sent it there.
        let address = format!("http://127.0.0.1:{port}/page");
        let mut headers = CURL.to_vec();
        let cookies = root.cookie_header(&gateway.url("/page").parse().expect("an address"));
        let host = gateway.config.public_url.trim_start_matches("http://").to_owned();
        headers.extend([("cookie", cookies.as_str()), ("host", host.as_str())]);
        let answer = Person::new().request(Method::GET, &address, &headers, None).await;
        let wanted = if restores { "DW-3521" } else { "DW-4002" };
        assert_eq!(answer.reason(), wanted, "{}", answer.text());
        if restores {
            assert_ne!(other.password_of_the_log().await, password);
        }
    }
    assert!(app.seen_at("/page").len() <= 2);
}

#[tokio::test]
async fn the_session_is_short_and_tries_are_limited() {
    let (gateway, root) = unhurried(async |seconds| {
        let (gateway, _app) = usual("[attempts]\nper_account = 1\nper_address = 3\n").await;
        let lifetime = format!("[restore]\nenabled = true\nlifetime = '{seconds}s'\n");
        let gateway = gateway.restart(|config| config.tables = config.tables.replace("[restore]\n", &lifetime)).await;
        gateway.ready().await;
        let (root, password) = (Person::new(), gateway.password_of_the_log().await);
        let before = Instant::now();
        come_in(&gateway, &root, &password).await.expect(200);
        let answer = root.open(&gateway.url("/page")).await;
        // The gateway counts in whole seconds.
        if answer.status != 200 && before.elapsed() > Duration::from_secs(seconds - 1) {
            return None;
        }
        answer.expect(200);
        Some((gateway, root))
    })
    .await;
    eventually("the session ends", || async {
        let answer = root.fetch(&gateway.url("/page")).await;
        (answer.status == 503).then(|| assert_eq!(answer.reason(), "DW-3521"))
    })
    .await;
    for _ in 0..3 {
        let answer = come_in(&gateway, &Person::new(), "wrong").await;
        assert_eq!(answer.reason(), "DW-3522");
    }
    let answer = come_in(&gateway, &Person::new(), "wrong").await;
    assert_eq!((answer.status, answer.reason().as_str()), (429, "DW-3504"));
    // Nobody keeps whoever has the password out, not even from the same address.
    let root = Person::new();
    come_in(&gateway, &root, &gateway.password_of_the_log().await).await.expect(200);
}

#[tokio::test]
async fn a_rule_that_keeps_the_way_in_out_says_where_to_name_it() {
    let (gateway, _app) = usual("[[route]]\npath = '/staff'\n[route.allow]\ngroups = ['staff']\n").await;
    let gateway = restoring(gateway, "DOORWARD_RESTORE").await;
    let root = Person::new();
    come_in(&gateway, &root, &gateway.password_of_the_log().await).await.expect(200);
    let page = root.open(&gateway.url("/staff")).await;
    assert!(page.status == 403 && page.text().contains("DW-5001"), "{}", page.text());
    assert!(page.text().contains("[restore]"), "{}", page.text());
    gateway.log_line(&["audit", "refused", "DW-5001", "user=root "]).await;
}
