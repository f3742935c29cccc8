//! `doorward explain` for somebody who types their first request into it: what was assumed is said, a name that is none is
//! an error, and the remedy is that of the place where people sign in.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use serde_json::Value;

use crate::support::app::App;
use crate::support::gateway::{Config, doorward};
use crate::support::raw::Connection;
use crate::support::setup::upstream_table;

const TABLES: &str = r#"
[ldap]
address = ["ldap://127.0.0.1:9"]
base_dn = "dc=example"
bind_dn = "cn=search"
bind_password = "a-password-of-the-gateway"

[[issuer]]
name = "ci"
issuer = "https://ci.example"
secret = "a-shared-secret-of-more-than-32-letters"
audiences = ["api"]

[[route]]

[[route]]
path = "/ops"
allow.groups = ["ops"]

[[route]]
path = "/api"
access = "bearer"
"#;

/// Exit code, output and errors of `doorward explain FILE` with `flags`.
fn explain(flags: &[&str]) -> (Option<i32>, String, String) {
    let config = Config::new().add(&upstream_table("http://127.0.0.1:9")).add(TABLES);
    std::fs::write(config.path(), config.text()).expect("gateway.toml");
    let file = config.path().display().to_string();
    let mut all = vec!["explain", &file, "--offline"];
    all.extend(flags);
    doorward(&all)
}

#[test]
fn whose_directory_says_nothing_of_groups_is_sent_to_the_directory_and_not_to_a_provider() {
    let (code, out, err) = explain(&["--url", "/ops", "--user", "anna"]);
    assert_eq!(code, Some(1), "{out}{err}");
    assert!(out.contains("DW-5003") && out.contains("`[ldap]`"), "{out}");
    assert!(!out.contains("Have the provider"), "{out}");
}

#[test]
fn a_provider_that_is_none_is_wrong_usage_and_the_names_are_told() {
    let (code, _, err) = explain(&["--url", "/", "--user", "anna", "--provider", "nope"]);
    assert_eq!(code, Some(2), "{err}");
    assert!(err.contains("no provider `nope`") && err.contains("`ldap`"), "{err}");
    let (code, out, err) = explain(&["--url", "/", "--user", "anna", "--provider", "ldap"]);
    assert_eq!(code, Some(0), "{out}{err}");
}

#[test]
fn a_person_is_taken_to_have_a_browser_and_that_is_said() {
    let (_, out, _) = explain(&["--url", "/", "--user", "anna"]);
    assert!(out.contains("taken as a browser's request"), "{out}");
    assert!(!out.contains("- cookie"), "nobody gave one: {out}");
    let (_, out, _) = explain(&["--url", "/", "--user", "anna", "--header", "Cookie: mine=1"]);
    assert!(out.contains("- cookie") || out.contains("= cookie"), "{out}");
    let (_, out, _) = explain(&["--url", "/", "--user", "anna", "--header", "Accept: application/json"]);
    assert!(!out.contains("taken as a "), "{out}");
    let (_, out, _) = explain(&["--url", "/"]);
    assert!(out.contains("taken as a program's request"), "{out}");
}

#[test]
fn routes_that_were_not_chosen_did_not_fail_and_are_named_as_errors_name_them() {
    let (_, out, _) = explain(&["--url", "/ops", "--user", "anna", "--groups", "ops"]);
    assert!(out.contains("governs      route `/ops`") && out.contains("(route[1], gateway.toml:"), "{out}");
    assert!(out.contains("not this one route `/api`") && !out.contains("NO "), "{out}");
    assert!(out.contains("yes allow.groups: expected `ops`; got `ops` (route[1].allow"), "{out}");
    let (_, json, _) = explain(&["--url", "/ops", "--user", "anna", "--groups", "ops", "--json"]);
    assert!(json.contains("\"passed-over\"") && !json.contains("\"fails\""), "{json}");
}

#[test]
fn nobody_is_said_to_be_asked_about_a_token_where_nobody_is() {
    for token in ["abc.def.ghi", "abc"] {
        let (code, out, _) = explain(&["--url", "/api", "--header", &format!("Authorization: Bearer {token}")]);
        assert_eq!(code, Some(1), "{out}");
        assert!(out.contains("DW-8002") && out.contains("nobody is asked about it"), "{out}");
        assert!(!out.contains("its issuer is asked"), "{out}");
    }
}

#[test]
fn a_type_that_a_token_does_not_have_is_not_made_up() {
    let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let token = format!(
        "{}.{}.AAAA",
        part(r#"{"alg":"HS256"}"#),
        part(r#"{"iss":"https://ci.example","sub":"a","aud":"api","exp":1}"#)
    );
    let (_, out, _) = explain(&["--url", "/api", "--token", &token]);
    assert!(out.contains("got absent, taken as 'JWT'"), "{out}");
}

/// The console says what the library does with a head that it never sees; here it is held against what an app gets.
#[tokio::test]
async fn what_is_told_to_be_taken_off_is_what_the_app_does_not_get() {
    let app = App::start().await;
    let tables = "[[route]]\npath = \"/\"\naccess = \"public\"\n";
    let gateway = Config::new().add(&upstream_table(&app.url())).add(tables).start().await;
    for name in [
        "Keep-Alive",
        "Proxy-Connection",
        "Proxy-Authenticate",
        "Proxy-Authorization",
        "TE",
        "Trailer",
        "HTTP2-Settings",
        "X-Mine-Too",
        "X-Mine",
        "Accept",
        "Via",
        "Max-Forwards",
        "Proxy-Status",
        "Upgrade-Insecure-Requests",
        "Expires",
        "X-Forwarded-User",
        "Forwarded",
        "Cookie",
        "Origin",
        "Proxy-Authentication-Info",
        "Alt-Used",
        "Cache-Control",
    ] {
        let (value, path) = ("trailers", format!("/{name}/"));
        let mut connection = Connection::open(gateway.address()).await;
        let head = format!(
            "GET {path} HTTP/1.1\r\nHost: {}\r\n{name}: {value}\r\nConnection: X-Mine-Too, close\r\n\r\n",
            gateway.address()
        );
        assert_eq!(connection.send(head).await.reply().await.expect("an answer").status, 200, "{name}");
        let seen = app.seen_at(&path);
        let got = seen[0].all(&name.to_ascii_lowercase()).contains(&value);
        let config = gateway.config.path().display().to_string();
        let sent = format!("{name}: {value}");
        let flags = ["explain", "--config", &config, "--json", "--url", &path, "--header", &sent, "--header"];
        let (_, out, err) = doorward(&[&flags[..], &["Connection: X-Mine-Too, close"]].concat());
        let said: Value = serde_json::from_str(&out).unwrap_or_else(|e| panic!("{e}: {out}{err}"));
        let told = said["steps"][6]["headers"].as_array().expect("headers");
        let passed = told.iter().any(|one| one["name"] == name.to_ascii_lowercase() && one["fate"] == "passed");
        assert_eq!(passed, got, "{name}: {told:?}");
    }
}
