//! Programs that come with a key of a service account: how keys are made and taken back, and what they open.

use std::process::{Command, Stdio};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use reqwest::Method;
use serde_json::json;

use crate::support::app::App;
use crate::support::forger::{Key, now};
use crate::support::gateway::{Config, Gateway, doorward};
use crate::support::person::{Answer, Person};
use crate::support::provider::Provider;
use crate::support::setup::{provider_table, upstream_table};
use crate::support::{eventually, unhurried};

const ACCOUNTS: &str = r#"
[[service_account]]
name = "ci-runner"
email = "ci@example.com"
groups = ["engineering"]
acts_for = ["ada", "grace@example.com", "@example.org"]

[[service_account]]
name = "nightly"
external_issuer = "outside"
external_subject = "repo:a/b"

[[issuer]]
name = "outside"
issuer = "http://127.0.0.2:9"
audiences = ["experiments"]
"#;

const ROUTE: &str = "[[route]]\naccess = \"bearer\"\n";

/// A configuration with accounts, written so that commands can read it.
fn config(app: &str) -> Config {
    let config = Config::new().add(&upstream_table(app)).add(ACCOUNTS).add(ROUTE);
    std::fs::write(config.path(), config.text()).expect("gateway.toml");
    config
}

/// Runs `doorward ARGUMENTS --config` this configuration.
fn run(config: &Config, arguments: &[&str]) -> (Option<i32>, String, String) {
    let path = config.path().display().to_string();
    doorward(&[arguments, &["--config", &path]].concat())
}

/// Makes a key: the key and its id.
fn new_key(config: &Config, arguments: &[&str]) -> (String, String) {
    let (code, out, err) = run(config, &[&["service-account", "new-key"], arguments].concat());
    assert_eq!(code, Some(0), "{out}{err}");
    let id = err.strip_prefix("Key ").and_then(|rest| rest.split(' ').next()).expect("an id").to_owned();
    (out.trim_end().to_owned(), id)
}

fn keys_file(config: &Config) -> String {
    std::fs::read_to_string(config.dir.path().join("api-keys.toml")).unwrap_or_default()
}

#[test]
fn a_key_is_printed_once_and_alone_and_only_its_digest_is_kept() {
    let config = config("http://127.0.0.1:9");
    let (code, out, err) = run(&config, &["service-account", "new-key", "ci-runner", "--note", "laptop \"x\""]);
    assert_eq!(code, Some(0), "{err}");
    let key = out.strip_suffix('\n').expect("one line");
    assert_eq!(key.len(), 53);
    assert!(key.starts_with("dwk_") && key[4..].bytes().all(|b| b.is_ascii_alphanumeric()), "{key}");
    assert!(!err.contains(key) && err.contains("shown this once") && err.contains("api-keys.toml"), "{err}");
    let kept = keys_file(&config);
    assert!(!kept.contains(key) && kept.contains("laptop"), "{kept}");
    let (code, listed, err) = run(&config, &["service-account", "list"]);
    assert_eq!(code, Some(0), "{err}");
    assert!(listed.contains("ci-runner") && listed.contains("laptop") && !listed.contains(key), "{listed}");
    assert!(listed.contains("nightly") && listed.contains("outside: repo:a/b"), "{listed}");
}

#[test]
fn several_keys_of_an_account_are_listed_and_revoked_one_by_one() {
    let config = config("http://127.0.0.1:9");
    let (_, first) = new_key(&config, &["ci-runner", "--expires", "90d"]);
    let (whole, second) = new_key(&config, &["ci-runner"]);
    let (_, third) = new_key(&config, &["nightly"]);
    let listed = || run(&config, &["service-account", "list"]).1;
    let has = |id: &str| listed().contains(id);
    assert!(has(&first) && has(&second) && has(&third), "{}", listed());
    assert!(listed().lines().any(|line| line.contains(&second) && line.contains("never")), "{}", listed());
    assert!(!listed().lines().any(|line| line.contains(&first) && line.contains("never")), "{}", listed());
    let (code, _, err) = run(&config, &["service-account", "revoke-key", &first]);
    assert_eq!(code, Some(0), "{err}");
    assert!(!has(&first) && has(&second) && has(&third), "{}", listed());
    // Somebody who finds a key somewhere has no id.
    let (code, _, err) = run(&config, &["service-account", "revoke-key", &whole]);
    assert_eq!(code, Some(0), "{err}");
    assert!(!err.contains(&whole) && !has(&second) && has(&third), "{err}{}", listed());
    let (code, _, err) = run(&config, &["service-account", "revoke-key", &whole]);
    assert_eq!(code, Some(2), "{err}");
    assert!(!err.contains(&whole) && err.contains("service-account list"), "{err}");
}

#[test]
fn what_a_command_cannot_do_it_says_with_the_remedy() {
    let config = config("http://127.0.0.1:9");
    let (_, id) = new_key(&config, &["ci-runner"]);
    let mistyped: String = id.chars().rev().enumerate().map(|(at, c)| if at == 0 { 'z' } else { c }).collect();
    let mistyped: String = mistyped.chars().rev().collect();
    for (arguments, code, word) in [
        (&["service-account", "new-key", "ci-runer"][..], 2, "did you mean `ci-runner`?"),
        (&["service-account", "new-key", "somebody"], 2, "`nightly`"),
        (&["service-account", "new-key", "ci-runner", "--expires", "soon"], 2, "\"30s\""),
        (&["service-account", "new-key", "ci-runner", "--expires", "0d"], 2, "90d"),
        (&["service-account", "new-key", "ci-runner", "--note", "a\nb"], 2, "one line"),
        (&["service-account", "revoke-key", &mistyped], 2, &format!("did you mean `{id}`?")),
        (&["token", "revoke", "--jti", ""], 2, "--jti is empty"),
    ] {
        let before = keys_file(&config);
        let (exit, out, err) = run(&config, arguments);
        assert_eq!(exit, Some(code), "{arguments:?}: {out}{err}");
        assert!(err.contains(word) && out.is_empty(), "{arguments:?}: {out}{err}");
        assert_eq!(keys_file(&config), before);
    }
    std::fs::write(config.dir.path().join("api-keys.toml"), "[[key]]\nid = 7\n").expect("a broken file");
    for (arguments, code) in [
        (&["service-account", "list"][..], 78),
        (&["service-account", "new-key", "ci-runner"], 1),
        (&["service-account", "revoke-key", &id], 1),
    ] {
        let (exit, out, err) = run(&config, arguments);
        assert_eq!(exit, Some(code), "{arguments:?}: {out}{err}");
        assert!(err.contains("api-keys.toml:2:") && out.is_empty(), "{arguments:?}: {out}{err}");
    }
    std::fs::write(config.path(), "nonsense").expect("a broken configuration");
    assert_eq!(run(&config, &["service-account", "list"]).0, Some(78));
}

/// `doorward token revoke` with `token` on standard input.
fn revoke_token(config: &Config, token: &str) -> (Option<i32>, String) {
    use std::io::Write;
    let mut child = Command::new(env!("CARGO_BIN_EXE_doorward"))
        .args(["token", "revoke", "--config"])
        .arg(config.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the built binary");
    child.stdin.take().expect("piped").write_all(token.as_bytes()).expect("written");
    let output = child.wait_with_output().expect("output");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn a_token_is_revoked_by_its_jti_and_remembered_until_it_has_expired() {
    let token = |claims: &str| format!("e30.{}.c2ln\n", URL_SAFE_NO_PAD.encode(claims));
    let config = config("http://127.0.0.1:9");
    let (code, err) = revoke_token(&config, &token(r#"{"jti":"token-1","exp":4102444800}"#));
    assert_eq!(code, Some(0), "{err}");
    assert!(err.contains("token-1") && err.contains("2100-01-02"), "{err}");
    assert!(keys_file(&config).contains("token-1"));
    let (code, err) = revoke_token(&config, &token(r#"{"exp":4102444800}"#));
    assert_eq!(code, Some(2), "{err}");
    assert!(err.contains("no `jti`"), "{err}");
    let (code, err) = revoke_token(&config, &token(r#"{"jti":"token-2","exp":1000000000}"#));
    assert_eq!(code, Some(0), "{err}");
    assert!(err.contains("expired") && !keys_file(&config).contains("token-2"), "{err}");
    let (code, _, err) = run(&config, &["token", "revoke", "--jti", "token-3"]);
    assert_eq!(code, Some(0), "{err}");
    assert!(keys_file(&config).contains("token-1") && keys_file(&config).contains("token-3"));
}

/// What comes with each request: a key or token after `Bearer`, and as the password of `Basic`.
fn both_ways(credential: &str) -> [String; 2] {
    [format!("Bearer {credential}"), format!("Basic {}", STANDARD.encode(format!("api:{credential}")))]
}

async fn ask(gateway: &Gateway, path: &str, headers: &[(&str, &str)]) -> Answer {
    Person::new().request(Method::GET, &gateway.url(path), headers, None).await
}

async fn with_key(gateway: &Gateway, key: &str) -> Answer {
    ask(gateway, "/api", &[("authorization", &format!("Bearer {key}"))]).await
}

/// A gateway for `config`, the app behind it, and a key of `ci-runner`.
async fn scene(change: impl FnOnce(Config) -> Config) -> (Gateway, App, String) {
    let app = App::start().await;
    let config = change(config(&app.url()));
    std::fs::write(config.path(), config.text()).expect("gateway.toml");
    let (key, _) = new_key(&config, &["ci-runner"]);
    (config.start().await, app, key)
}

#[tokio::test]
async fn a_key_opens_the_door_as_bearer_and_as_a_password_and_never_reaches_the_app() {
    let (gateway, app, key) = scene(|config| config).await;
    for authorization in both_ways(&key) {
        ask(&gateway, "/api", &[("authorization", &authorization)]).await.expect(200);
        let seen = app.seen().pop().expect("a request");
        assert_eq!(seen.one("x-forwarded-user"), "ci-runner");
        assert_eq!(seen.one("x-forwarded-email"), "ci@example.com");
        assert_eq!(seen.one("x-forwarded-groups"), "engineering");
        assert!(!format!("{seen:?}").contains(&key) && seen.one("authorization").is_empty(), "{seen:?}");
    }
    assert!(!gateway.log_text().contains(&key), "no key in the log");
    let uses = gateway.metric("doorward_api_key_uses_total", &["account=\"ci-runner\"", "outcome=\"ok\""]).await;
    assert_eq!(uses, 2.0);
    let last = gateway.metric("doorward_api_key_last_use_timestamp_seconds", &["account=\"ci-runner\""]).await;
    assert!((now() as f64 - last).abs() < 60.0, "{last}");
}

#[tokio::test]
async fn a_jwt_as_the_password_of_basic_is_judged_as_a_bearer_token() {
    let signer = Key::new("k1");
    let (gateway, app, _) = scene(|config| {
        let keys = json!({"keys": [signer.jwk()]}).to_string();
        std::fs::write(config.dir.path().join("keys.json"), keys).expect("keys.json");
        config.add("[[issuer]]\nname = \"signed\"\nissuer = \"https://signed.example\"\naudiences = [\"a\"]\njwks_file = \"keys.json\"\n")
    })
    .await;
    let claims = |audience: &str| json!({"iss": "https://signed.example", "sub": "job", "aud": audience, "exp": now() + 600, "jti": "token-1"});
    let token = signer.token(&claims("a"));
    for authorization in both_ways(&token) {
        ask(&gateway, "/api", &[("authorization", &authorization)]).await.expect(200);
        assert_eq!(app.seen().pop().expect("a request").one("x-forwarded-user"), "job");
    }
    for authorization in both_ways(&signer.token(&claims("b"))) {
        let answer = ask(&gateway, "/api", &[("authorization", &authorization)]).await;
        answer.expect(401);
        assert_eq!(answer.reason(), "DW-8009", "{}", answer.text());
    }
    // Revoked, it is refused although it was verified and kept before.
    let (code, err) = revoke_token(&gateway.config, &token);
    assert_eq!(code, Some(0), "{err}");
    for authorization in both_ways(&token) {
        let refused = eventually("the token is refused", || async {
            Some(ask(&gateway, "/api", &[("authorization", &authorization)]).await).filter(|a| a.status != 200)
        })
        .await;
        assert_eq!((refused.status, refused.reason()), (401, "DW-8013".into()), "{}", refused.text());
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_key_is_told_in_its_name_and_with_no_redirect() {
    let (gateway, app, key) = scene(|config| config).await;
    let other = config("http://127.0.0.1:9");
    let (foreign, _) = new_key(&other, &["ci-runner"]);
    let mistyped = format!("{}{}", &key[..52], if key.ends_with('0') { '1' } else { '0' });
    for (key, code) in [(&foreign, "DW-8102"), (&mistyped, "DW-8101"), (&key[..40].to_owned(), "DW-8101")] {
        for authorization in both_ways(key) {
            let answer = ask(&gateway, "/api", &[("authorization", &authorization), ("accept", "text/html")]).await;
            answer.expect(401);
            assert_eq!(answer.json()["reason"], code, "{}", answer.text());
            assert!(answer.json()["errors"][0]["message"].as_str().is_some_and(|text| text.contains("key")));
            assert!(answer.header("www-authenticate").starts_with("Bearer "), "{:?}", answer.headers);
            assert!(!answer.text().contains(key.as_str()), "{}", answer.text());
        }
        let uses = gateway.metric("doorward_api_key_uses_total", &["account=\"\"", code]).await;
        assert!(uses >= 2.0, "{code}: {uses}");
    }
    assert!(app.seen().is_empty());
}

#[tokio::test]
async fn keys_are_made_changed_and_revoked_while_the_gateway_runs() {
    let (gateway, _app, first) = scene(|config| config).await;
    with_key(&gateway, &first).await.expect(200);
    let (second, _) = new_key(&gateway.config, &["ci-runner"]);
    eventually("a new key is taken", || async { (with_key(&gateway, &second).await.status == 200).then_some(()) })
        .await;
    let short = unhurried(async |seconds| {
        let (short, _) = new_key(&gateway.config, &["ci-runner", "--expires", &format!("{seconds}s")]);
        let answer = eventually("another new key is known", || async {
            Some(with_key(&gateway, &short).await).filter(|answer| answer.reason() != "DW-8102")
        })
        .await;
        // Its end may have come before the first look at the file.
        (answer.reason() != "DW-8103").then(|| {
            answer.expect(200);
            short
        })
    })
    .await;
    with_key(&gateway, &first).await.expect(200);
    assert_eq!(run(&gateway.config, &["service-account", "revoke-key", &first]).0, Some(0));
    let refused = eventually("the revoked key is refused", || async {
        Some(with_key(&gateway, &first).await).filter(|answer| answer.status != 200)
    })
    .await;
    assert_eq!((refused.status, refused.reason()), (401, "DW-8102".into()));
    with_key(&gateway, &second).await.expect(200);
    let refused = eventually("the other key expires", || async {
        Some(with_key(&gateway, &short).await).filter(|answer| answer.status != 200)
    })
    .await;
    assert_eq!((refused.status, refused.reason()), (401, "DW-8103".into()));
    assert!(refused.text().contains("expired") && refused.text().contains(" s ago"), "{}", refused.text());
}

#[tokio::test]
async fn a_broken_keys_file_changes_nothing_in_a_running_gateway_and_stops_a_start() {
    let (gateway, _app, key) = scene(|config| config).await;
    let path = gateway.config.dir.path().join("api-keys.toml");
    let good = std::fs::read_to_string(&path).expect("the keys file");
    // In its place at once: an empty file would be a good one without keys.
    let broken = path.with_extension("broken");
    std::fs::write(&broken, format!("{good}\n[[kye]]\n")).expect("broken");
    std::fs::rename(&broken, &path).expect("in its place");
    gateway.log_line(&["keys file cannot be used", "api-keys.toml:"]).await;
    assert_eq!(gateway.metric("doorward_api_keys_file_good", &[]).await, 0.0);
    with_key(&gateway, &key).await.expect(200);
    let path = gateway.config.path().display().to_string();
    let (code, _, err) = doorward(&["check", &path]);
    assert_eq!(code, Some(78), "{err}");
    assert!(err.contains("api-keys.toml:"), "{err}");
    let told = gateway.log_lines().iter().filter(|line| line.contains("keys file cannot be used")).count();
    assert_eq!(told, 1, "{}", gateway.log_text());
    // As Kubernetes does it: another file in its place.
    let dir = gateway.config.dir.path();
    std::fs::write(dir.join("fresh.toml"), good).expect("file");
    std::os::unix::fs::symlink(dir.join("fresh.toml"), dir.join("link")).expect("link");
    std::fs::rename(dir.join("link"), dir.join("api-keys.toml")).expect("renamed");
    eventually("the file is good again", || async {
        (gateway.metric("doorward_api_keys_file_good", &[]).await == 1.0).then_some(())
    })
    .await;
    with_key(&gateway, &key).await.expect(200);
}

/// Whoever may write the file gives themselves a key.
#[tokio::test]
async fn a_keys_file_that_others_may_write_is_told_of_at_a_start_and_while_running() {
    let (gateway, _app, key) = scene(|config| config).await;
    let path = gateway.config.dir.path().join("api-keys.toml");
    let warned = |gateway: &Gateway| gateway.log_text().contains("may write the keys file");
    assert!(!warned(&gateway), "{}", gateway.log_text());
    let mode =
        |mode| std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(mode)).expect("mode");
    mode(0o660);
    gateway.log_line(&["may write the keys file", "api-keys.toml", "660"]).await;
    mode(0o602);
    gateway.log_line(&["may write the keys file", "api-keys.toml", "602"]).await;
    let gateway = gateway.restart(|_| {}).await;
    assert!(warned(&gateway), "{}", gateway.log_text());
    with_key(&gateway, &key).await.expect(200);
    mode(0o640);
    assert!(!warned(&gateway.restart(|_| {}).await), "others may read it: it holds no secret");
}

#[tokio::test]
async fn an_account_that_is_taken_away_takes_its_keys_along() {
    let (gateway, _app, key) = scene(|config| config).await;
    with_key(&gateway, &key).await.expect(200);
    let gateway = gateway
        .restart(|config| config.tables = config.tables.replace("name = \"ci-runner\"", "name = \"another\""))
        .await;
    let answer = with_key(&gateway, &key).await;
    assert_eq!((answer.status, answer.reason()), (401, "DW-8104".into()), "{}", answer.text());
    gateway.log_line(&["a key of an account that is not configured", "ci-runner"]).await;
    let listed = run(&gateway.config, &["service-account", "list"]).1;
    assert!(listed.contains("ci-runner (not configured)"), "{listed}");
}

#[tokio::test]
async fn a_flood_of_wrong_keys_disturbs_no_good_one() {
    let (gateway, _app, key) = scene(|config| config).await;
    let other = config("http://127.0.0.1:9");
    let (foreign, _) = new_key(&other, &["ci-runner"]);
    let flood = async {
        let person = Person::new();
        let authorization = format!("Bearer {foreign}");
        for _ in 0..50 {
            let all = (0..20).map(|_| {
                let (person, url, authorization) = (person.clone(), gateway.url("/api"), authorization.clone());
                async move { person.request(Method::GET, &url, &[("authorization", &authorization)], None).await.status }
            });
            for status in futures::future::join_all(all).await {
                assert_eq!(status, 401);
            }
        }
    };
    let good = async {
        for _ in 0..50 {
            with_key(&gateway, &key).await.expect(200);
        }
    };
    tokio::join!(flood, good);
    let metric = async |outcome: &str| gateway.metric("doorward_api_key_uses_total", &[outcome]).await;
    assert_eq!((metric("DW-8102").await, metric("outcome=\"ok\"").await), (1000.0, 50.0));
}

#[tokio::test]
async fn whom_an_account_works_for_is_a_remark_where_the_route_and_the_account_allow_it() {
    let noted = "[[route]]\npath = \"/noted\"\naccess = \"bearer\"\nattribution = true\n\
                 [[route]]\npath = \"/open\"\naccess = \"public\"\n";
    let (gateway, app, key) = scene(|config| config.add(noted)).await;
    let authorization = format!("Bearer {key}");
    let arrives = async |path: &str, name: &str, email: &str| {
        let headers = [("authorization", &*authorization), ("x-wandb-username", name), ("X-Wandb-User-Email", email)];
        ask(&gateway, path, &headers).await.expect(200);
        let seen = app.seen().pop().expect("a request");
        if path != "/open" {
            assert_eq!((seen.one("x-forwarded-user"), seen.one("x-forwarded-email")), ("ci-runner", "ci@example.com"));
        }
        (seen.one("x-wandb-username").to_owned(), seen.one("x-wandb-user-email").to_owned())
    };
    for (path, name, email, expected) in [
        ("/noted", "ada", "grace@example.com", ("ada", "grace@example.com")),
        ("/noted", "ci-runner", "CI@example.com", ("ci-runner", "CI@example.com")),
        ("/noted", "root", "anybody@example.org", ("", "anybody@example.org")),
        ("/noted", "ada", "root@example.com", ("ada", "")),
        ("/noted", "", "", ("", "")),
        ("/noted", "ada,root", "root@example.com,x@example.org", ("", "")),
        ("/api", "ada", "grace@example.com", ("", "")),
        ("/open", "ada", "grace@example.com", ("", "")),
    ] {
        let arrived = arrives(path, name, email).await;
        assert_eq!((&*arrived.0, &*arrived.1), expected, "{path} {name} {email}");
    }
    // Not twice, nor under another spelling.
    for headers in [
        [("authorization", &*authorization), ("x-wandb-username", "ada"), ("x-wandb-username", "root")],
        [("authorization", &*authorization), ("x_wandb_username", "ada"), ("X.Wandb.User.Email", "grace@example.com")],
    ] {
        let answer = ask(&gateway, "/noted", &headers).await;
        if answer.status == 200 {
            let seen = format!("{:?}", app.seen().pop().expect("a request"));
            assert!(!seen.contains("ada") && !seen.contains("root") && !seen.contains("grace"), "{seen}");
        }
    }
}

#[tokio::test]
async fn a_bad_key_beside_a_good_session_is_refused() {
    let (app, provider) = (App::start().await, Provider::shared());
    let config = Config::new();
    let client = provider.register(&config.public_url, json!({})).await;
    let config = config.add(&provider_table(&provider, &client)).add(&upstream_table(&app.url())).add(
        "[[service_account]]\nname = \"ci-runner\"\nacts_for = [\"ada\"]\n[[route]]\naccess = \"signed-in-or-bearer\"\nattribution = true\n",
    );
    std::fs::write(config.path(), config.text()).expect("gateway.toml");
    let (key, _) = new_key(&config, &["ci-runner"]);
    let gateway = config.start().await;
    gateway.ready().await;
    let person = Person::new();
    person.sign_in(&gateway.url("/page"), provider.user("anna")).await;
    let user = async |headers: &[(&str, &str)]| {
        let answer = person.request(Method::GET, &gateway.url("/echo"), headers, None).await;
        (answer.status, app.seen().pop().map(|seen| seen.one("x-forwarded-user").to_owned()))
    };
    assert_eq!(user(&[]).await, (200, Some(provider.user("anna").name.into())));
    let before = app.seen().len();
    for authorization in both_ways(&format!("{key}0")).iter().chain(&["Bearer ".into(), "Basic YTpi".into()]) {
        assert_eq!(user(&[("authorization", authorization)]).await.0, 401, "{authorization}");
        assert_eq!(app.seen().len(), before);
    }
    assert_eq!(user(&[("authorization", &both_ways(&key)[1])]).await, (200, Some("ci-runner".into())));
    // A person works for nobody but themselves.
    person.request(Method::GET, &gateway.url("/echo"), &[("x-wandb-username", "ada")], None).await.expect(200);
    assert!(app.seen().pop().expect("a request").all("x-wandb-username").is_empty());
}
