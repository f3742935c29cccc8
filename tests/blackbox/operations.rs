//! What an operator sees: health, readiness, metrics, logs, stopping, checking a configuration.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::app::App;
use crate::support::eventually;
use crate::support::gateway::{Config, doorward};
use crate::support::person::{NAVIGATION, Person};
use crate::support::provider::Provider;
use crate::support::raw::{Connection, exchange, get};
use crate::support::setup::{ROUTES, gateway_before, scene, upstream_table};
use crate::support::tls::Authority;

const NOBODY: &str = "[[provider]]\nissuer = \"http://127.0.0.2:9\"\nclient_id = \"nobody\"\n";

fn good() -> Config {
    Config::new().add(NOBODY).add(&upstream_table("http://127.0.0.1:9")).add(ROUTES)
}

#[tokio::test]
async fn health_readiness_and_metrics_answer_on_their_own_listener() {
    let scene = scene().await;
    let person = Person::new();
    person.sign_in(&scene.gateway.url("/page"), scene.provider.user("anna")).await;
    person.fetch(&scene.gateway.url("/page")).await.expect(200);
    Person::new().fetch(&scene.gateway.url("/private")).await.expect(401);
    let health = person.fetch(&scene.gateway.admin_url("/healthz")).await;
    assert_eq!(health.status, 200);
    let (status, ready) = scene.gateway.readyz().await;
    assert_eq!(
        (status, &ready["ready"], &ready["providers"][0]["ready"]),
        (200, &true.into(), &true.into()),
        "{ready}"
    );
    assert_eq!(ready["providers"][0]["name"], "main");
    let metrics = eventually("the requests are counted", || async {
        Some(scene.gateway.metrics().await)
            .filter(|text| text.contains("outcome=\"passed\"") && text.contains("DW-3001"))
    })
    .await;
    for name in [
        "doorward_build_info{version=\"",
        "doorward_requests_total{",
        "doorward_request_seconds_bucket{",
        "doorward_authentication_seconds_bucket{",
        "doorward_sign_ins_total{outcome=\"ok\",step=\"callback\"} 1",
        "doorward_provider_fetches_total{",
        "doorward_provider_ready{provider=\"main\"} 1",
        "doorward_session_bytes_count 1",
        "doorward_connections ",
        "# HELP doorward_requests_total",
        "# TYPE doorward_request_seconds histogram",
    ] {
        assert!(metrics.contains(name), "{name}\n{metrics}");
    }
}

#[tokio::test]
async fn nothing_for_operators_is_on_the_public_listener() {
    let app = App::start().await;
    let gateway = gateway_before(&app.url(), "[[route]]\npath = \"/nothing\"\naccess = \"public\"\n").await;
    for target in [
        "/metrics",
        "/healthz",
        "/readyz",
        "/metrics/",
        "/oidc/metrics",
        "/oidc/healthz",
        "/admin",
        "/debug/pprof",
        "/-/metrics",
        "//metrics",
    ] {
        let reply = exchange(gateway.address(), get(target, "")).await.expect("an answer");
        assert!(matches!(reply.status, 400 | 404), "{target}: {}", reply.status);
        assert!(!reply.text().contains("doorward_"), "{target}");
        // Nor by naming the other listener.
        let admin = format!("Host: 127.0.0.1:{}\r\n", gateway.config.admin_port);
        let request = format!("GET {target} HTTP/1.1\r\n{admin}\r\n");
        let reply = exchange(gateway.address(), request).await.expect("an answer");
        assert!(matches!(reply.status, 400 | 404), "{target}: {}", reply.status);
    }
}

#[tokio::test]
async fn an_app_may_have_addresses_that_look_like_the_operators() {
    let app = App::start().await;
    let gateway = gateway_before(&app.url(), "[[route]]\naccess = \"public\"\n").await;
    for target in ["/metrics", "/healthz", "/readyz"] {
        let reply = exchange(gateway.address(), get(target, "")).await.expect("an answer");
        assert!(reply.text().contains(&format!("\"path\":\"{target}\"")), "{}", reply.text());
    }
}

#[tokio::test]
async fn sigterm_lets_requests_in_flight_end_and_takes_no_new_ones() {
    let app = App::start().await;
    let tables = "[[route]]\naccess = \"public\"\n[timeouts]\ndrain = \"5m\"\nclient_body = \"5m\"\n";
    let gateway = gateway_before(&app.url(), tables).await;
    let mut sending = Connection::open(gateway.address()).await;
    sending.send("POST /echo HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 10\r\n\r\n12345").await;
    let mut waiting = Connection::open(gateway.address()).await;
    waiting.send(get("/slow?ms=1500", "")).await;
    eventually("the app has the requests", || async { (app.seen().len() >= 2).then_some(()) }).await;
    gateway.signal("TERM");
    gateway.log_line(&["stopping"]).await;
    assert_eq!(gateway.readyz().await.0, 503, "a balancer in front is told");
    eventually("no new connections", || async {
        tokio::net::TcpStream::connect(gateway.address()).await.is_err().then_some(())
    })
    .await;
    sending.send("67890").await;
    let reply = sending.reply().await.expect("the answer to the request in flight");
    assert_eq!(reply.status, 200);
    assert!(reply.text().contains("1234567890"), "{}", reply.text());
    assert_eq!(waiting.reply().await.expect("an answer").text(), "slow");
    drop((sending, waiting));
    let status = gateway.ended().await;
    assert_eq!(status.code(), Some(0), "{}", gateway.log_text());
}

#[tokio::test]
async fn a_request_that_never_ends_does_not_hold_the_stop_beyond_its_limit() {
    let app = App::start().await;
    let gateway = gateway_before(&app.url(), "[timeouts]\ndrain = \"1s\"\n").await;
    let mut endless = Connection::open(gateway.address()).await;
    endless.send("POST /public HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\nx").await;
    eventually("the app has the request", || async { (!app.seen().is_empty()).then_some(()) }).await;
    gateway.signal("TERM");
    assert_eq!(gateway.ended().await.code(), Some(0));
}

#[tokio::test]
async fn sigint_stops_at_once() {
    let app = App::start().await;
    let gateway = gateway_before(&app.url(), "").await;
    gateway.signal("INT");
    assert_eq!(gateway.ended().await.code(), Some(0));
}

/// Runs a configuration that must not start: exit code and what it said.
fn fails(config: &Config) -> (i32, String) {
    let mut child = config.command().spawn().expect("the built binary");
    let end = std::time::Instant::now() + crate::support::PATIENCE;
    while child.try_wait().expect("status").is_none() {
        assert!(std::time::Instant::now() < end, "the gateway goes on with\n{}", config.text());
        std::thread::sleep(Duration::from_millis(10));
    }
    let output = child.wait_with_output().expect("output");
    let said = format!("{}{}", String::from_utf8_lossy(&output.stderr), String::from_utf8_lossy(&output.stdout));
    (output.status.code().expect("an exit code"), said)
}

#[test]
fn what_cannot_start_says_why_and_with_which_exit_code() {
    let file = |config: &Config, name: &str, text: &str| {
        let path = config.dir.path().join(name);
        std::fs::write(&path, text).expect("file");
        path.display().to_string()
    };
    let secret = crate::support::random_word();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let mut cases: Vec<(&str, Config, i32, Vec<&str>)> = vec![
        ("an unknown key", good().add("[session]\nidel = \"8h\""), 78, vec!["idel", "idle", "gateway.toml"]),
        ("an unknown table", good().add("[sesion]\nidle = \"8h\""), 78, vec!["sesion", "session"]),
        ("no TOML", good().add("[session\n"), 78, vec!["gateway.toml"]),
        ("a wrong type", good().add("[session]\nidle = 30"), 78, vec!["idle", "30s"]),
        ("bearer", good().add("[[route]]\npath = \"/b\"\naccess = \"bearer\""), 78, vec!["neither issuer nor account"]),
        ("an unknown provider", good().add("[[route]]\npath = \"/b\"\nprovider = \"other\""), 78, vec!["other"]),
        ("an unknown upstream", good().add("[[route]]\npath = \"/b\"\nupstream = \"other\""), 78, vec!["other"]),
        ("two routes for one thing", good().add("[[route]]\npath = \"/\"\naccess = \"public\""), 78, vec!["/"]),
        ("no upstream", Config::new().add(NOBODY).add(ROUTES), 78, vec!["upstream"]),
        (
            "a port that is taken",
            Config { port: taken.local_addr().expect("address").port(), ..good() },
            69,
            vec!["listen.address"],
        ),
        ("a short secret", Config { secrets: vec!["too-short".into()], ..good() }, 78, vec!["secrets", "32"]),
        ("no secret", Config { secrets: vec![], ..good() }, 78, vec!["secret"]),
    ];
    for (what, text) in
        [("missing", None), ("empty", Some("")), ("blank", Some("\n")), ("of two lines", Some("one\ntwo\n"))]
    {
        let config = good();
        let path =
            text.map_or(config.dir.path().join("none").display().to_string(), |text| file(&config, "secret", text));
        let table = format!(
            "[[provider]]\nname = \"second\"\nissuer = \"http://127.0.0.2:8\"\nclient_id = \"x\"\nclient_secret_file = {path:?}\n"
        );
        cases.push((what, config.add(&table), 78, vec!["client_secret_file"]));
    }
    let config = good();
    let (cert, key) = (file(&config, "cert.pem", "no certificate"), file(&config, "key.pem", "no key"));
    let listen = format!("tls_certificate_file = {cert:?}\ntls_key_file = {key:?}\n");
    cases.push(("a broken certificate", Config { listen, ..config }, 78, vec!["cert.pem"]));
    for (what, config, code, words) in cases {
        let (exit, said) = fails(&config);
        assert_eq!(exit, code, "{what}: {said}");
        for word in words {
            assert!(said.contains(word), "{what}: no {word:?} in: {said}");
        }
        assert!(!said.contains(&secret) && !said.contains("too-short") && !said.contains("panicked"), "{what}: {said}");
        for secret in &config.secrets {
            assert!(!said.contains(secret.as_str()), "{what}: {said}");
        }
    }
}

#[test]
fn check_says_where_a_file_is_named_that_cannot_be_used() {
    let mut config = good();
    let pair = || rcgen::generate_simple_self_signed(["a.example".into()]).expect("a certificate");
    let (cert, key) = (config.dir.path().join("cert.pem"), config.dir.path().join("other.key"));
    std::fs::write(&cert, pair().cert.pem()).expect("a certificate");
    std::fs::write(&key, pair().signing_key.serialize_pem()).expect("a key");
    config.listen = format!("tls_certificate_file = {cert:?}\ntls_key_file = {key:?}\n");
    let path = config.path();
    std::fs::write(&path, config.text()).expect("written");
    let line = 1 + config.text().lines().position(|line| line.starts_with("tls_key_file")).expect("the key's line");
    let path = path.display();
    let (code, out, err) = doorward(&["check", &path.to_string()]);
    assert_eq!(code, Some(78), "{out}{err}");
    let told =
        format!("error: {path}:{line}:16: listen.tls_key_file: {}: the certificate is of another", key.display());
    assert!(err.contains(&told) && err.contains("[DW-7005]"), "no {told:?} in: {err}");
}

#[test]
fn a_secret_file_may_end_in_a_newline() {
    let config = good();
    let path = config.dir.path().join("secret");
    std::fs::write(&path, format!("{}\n", crate::support::random_word())).expect("file");
    let whole = config.text();
    let text = whole.lines().map(|line| match line.starts_with("secrets = ") {
        true => format!("secret_file = {path:?}\n"),
        false => format!("{line}\n"),
    });
    let text: String = text.collect();
    let file = config.dir.path().join("check.toml");
    std::fs::write(&file, text).expect("file");
    let (code, out, err) = doorward(&["check", file.to_str().expect("path")]);
    assert_eq!(code, Some(0), "{out}{err}");
}

#[test]
fn where_a_provider_needs_no_keys_that_is_said() {
    let config = Config::new().add(&upstream_table("http://127.0.0.1:9")).add(ROUTES);
    let config = config.add("[[provider]]\nissuer = 'http://127.0.0.1:9'\nclient_id = 'app'\n");
    let path = config.path();
    std::fs::write(&path, config.text()).expect("written");
    let (code, out, err) = doorward(&["client-keys", "--config", path.to_str().expect("path")]);
    assert_eq!(code, Some(0), "{err}");
    assert_eq!(serde_json::from_str::<Value>(&out).expect("a key set"), json!({ "keys": [] }));
    assert!(err.contains("client_key_file"), "{err}");
}

#[test]
fn check_judges_a_configuration_without_starting() {
    let config = good();
    std::fs::write(config.path(), config.text()).expect("file");
    let path = config.path().display().to_string();
    let (code, out, err) = doorward(&["check", &path]);
    assert_eq!(code, Some(0), "{out}{err}");
    assert!(!format!("{out}{err}").contains(config.secrets[0].as_str()), "secrets are masked");
    let broken = config.text().replace("[[upstream]]", "[[upstreams]]");
    std::fs::write(config.path(), broken).expect("file");
    let (code, out, err) = doorward(&["check", &path]);
    assert_eq!(code, Some(78), "{out}{err}");
    let said = format!("{out}{err}");
    let line = config.text().lines().position(|l| l == "[[upstream]]").expect("the line") + 1;
    assert!(said.contains(&path) && said.contains(&line.to_string()) && said.contains("upstream"), "{said}");
    for command in ["check", "run"] {
        let (code, _, err) = doorward(&[command, "/no/such/file.toml"]);
        assert!(code == Some(78) && err.contains("/no/such/file.toml: there is no such file"), "{command}: {err}");
    }
}

#[test]
fn check_tells_what_the_doctor_finds_without_a_network() {
    let config = good();
    let (certificate, key) = Authority::new().leaf(&["elsewhere.example"]).write(config.dir.path());
    let listen = format!("[listen]\ntls_certificate_file = {certificate:?}\ntls_key_file = {key:?}\n");
    std::fs::write(config.path(), config.text().replacen("[listen]\n", &listen, 1)).expect("file");
    let (code, out, err) = doorward(&["check", &config.path().display().to_string()]);
    assert_eq!(code, Some(0), "{out}{err}");
    for words in ["DW-9021 listener certificate: expected 127.0.0.1", "broken: DW-9001", "https://"] {
        assert!(err.contains(words), "{words:?} in {err}");
    }
    assert!(!out.contains("The configuration is good."), "{out}");
}

#[test]
fn the_schema_is_json_and_knows_every_table() {
    let (code, out, err) = doorward(&["schema"]);
    assert_eq!(code, Some(0), "{err}");
    let schema: Value = serde_json::from_str(&out).expect("JSON");
    for key in [
        "public_url",
        "secrets",
        "listen",
        "admin",
        "provider",
        "upstream",
        "route",
        "headers",
        "session",
        "sign_in",
        "timeouts",
        "limits",
        "log",
        "brand",
    ] {
        assert!(schema["properties"][key].is_object(), "{key}");
    }
}

#[test]
fn generated_files_in_the_repository_are_current() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    for (command, file) in [
        ("reasons", "docs/reasons.md"),
        ("troubleshooting", "docs/troubleshooting.md"),
        ("config-docs", "docs/configuration.md"),
        ("schema", "docs/gateway.schema.json"),
    ] {
        let (code, printed, _) = doorward(&[command]);
        assert_eq!(code, Some(0), "{command}");
        let kept = std::fs::read_to_string(root.join(file)).unwrap_or_else(|e| panic!("{file}: {e}"));
        let differs = kept.lines().zip(printed.lines()).find(|(kept, printed)| kept != printed);
        assert!(kept == printed, "{file} is not what `doorward {command}` prints, first here: {differs:?}");
    }
}

#[tokio::test]
async fn the_start_table_shows_settings_and_masks_secrets() {
    let app = App::start().await;
    let gateway = gateway_before(&app.url(), "").await;
    gateway.log_line(&["listening"]).await;
    let log = gateway.log_text();
    for word in ["public_url", &gateway.config.public_url, "http://127.0.0.2:9", "nobody"] {
        assert!(log.contains(word), "{word}\n{log}");
    }
    assert!(!log.contains(gateway.config.secrets[0].as_str()));
}

#[tokio::test]
async fn a_variable_of_the_environment_overrides_the_file_and_says_so() {
    let app = App::start().await;
    let mut config = Config::new().add(NOBODY).add(&upstream_table("http://127.0.0.1:9")).add(ROUTES);
    config.env.push(("DOORWARD_SESSION_IDLE".into(), "17m".into()));
    let gateway = config.start().await;
    gateway.log_line(&["17m", "DOORWARD_SESSION_IDLE"]).await;
    drop(app);
}

#[tokio::test]
async fn the_names_of_existing_deployments_configure_a_provider_too() {
    let (app, provider, config) = (App::start().await, Provider::shared(), Config::new());
    for secret_name in ["OIDC_CLIENT_SECRET", "OIDC_SECRET", "GORILLA_OIDC_SECRET"] {
        let config = Config { dir: tempfile::tempdir().expect("a folder"), ..Config::new() };
        let client = provider.register(&config.public_url, json!({})).await;
        let mut config = config.add(&upstream_table(&app.url())).add(ROUTES);
        for (name, value) in [
            ("OIDC_ISSUER", provider.issuer()),
            ("OIDC_CLIENT_ID", &client.id),
            ("OIDC_AUTH_METHOD", "pkce"),
            (secret_name, &client.secret),
        ] {
            config.env.push((name.into(), value.into()));
        }
        let gateway = config.start().await;
        gateway.ready().await;
        Person::new().sign_in(&gateway.url("/page"), provider.user("anna")).await;
        gateway.log_line(&[secret_name]).await;
        assert!(!gateway.log_text().contains(&client.secret));
    }
    let mut config = config.add(&upstream_table(&app.url())).add(ROUTES);
    for (name, value) in [
        ("OIDC_ISSUER", provider.issuer()),
        ("OIDC_CLIENT_ID", "x"),
        ("OIDC_SECRET", "one"),
        ("OIDC_CLIENT_SECRET", "two"),
    ] {
        config.env.push((name.into(), value.into()));
    }
    let (code, said) = fails(&config);
    assert_eq!(code, 78, "{said}");
    assert!(said.contains("OIDC_SECRET") && said.contains("OIDC_CLIENT_SECRET"), "{said}");
    config.env.truncate(2);
    config.env.push(("OIDC_ISUER".into(), "x".into()));
    let (_, said) = fails_or_warns(&config);
    assert!(said.contains("OIDC_ISUER") && said.contains("OIDC_ISSUER"), "{said}");
}

/// What a configuration says when it is checked, whether it is good or not.
fn fails_or_warns(config: &Config) -> (i32, String) {
    let command = config.command();
    let path = config.path();
    let environment: Vec<_> = command.get_envs().map(|(k, v)| (k.to_owned(), v.map(ToOwned::to_owned))).collect();
    let mut check = std::process::Command::new(command.get_program());
    check.arg("check").arg(path);
    for (name, value) in environment {
        match value {
            Some(value) => check.env(name, value),
            None => check.env_remove(name),
        };
    }
    let output = check.output().expect("the built binary");
    let said = format!("{}{}", String::from_utf8_lossy(&output.stderr), String::from_utf8_lossy(&output.stdout));
    (output.status.code().expect("an exit code"), said)
}

#[tokio::test]
async fn the_access_log_in_json_tells_who_what_and_why() {
    let app = App::start().await;
    let config = Config { log_format: "json", log_level: "info", ..good() };
    let gateway = config.start().await;
    let answer =
        Person::new().request(Method::GET, &gateway.url("/private?secret=1"), &[("accept", "*/*")], None).await;
    let reference = answer.json()["reference"].as_str().expect("a reference").to_owned();
    let line = gateway.log_line(&[&reference]).await;
    let line: Value = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line}"));
    let text = line.to_string();
    for part in ["/private", "GET", "401", "DW-3001", "127.0.0.1"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains("secret=1"), "queries hold codes and tokens: {text}");
    let answer = Person::new().request(Method::GET, &gateway.url("/private"), &NAVIGATION, None).await;
    assert_eq!(answer.status, 503);
    for line in gateway.log_lines().iter().filter(|line| line.starts_with('{')) {
        serde_json::from_str::<Value>(line).unwrap_or_else(|e| panic!("{e}: {line}"));
    }
    drop(app);
}

#[tokio::test]
async fn healthcheck_is_a_command_for_containers() {
    let app = App::start().await;
    let gateway = gateway_before(&app.url(), "").await;
    let path = gateway.config.path().display().to_string();
    let (code, out, err) = doorward(&["healthcheck", "--config", &path]);
    assert_eq!(code, Some(0), "{out}{err}");
    drop(gateway);
    let config = good();
    std::fs::write(config.path(), config.text()).expect("file");
    assert_ne!(doorward(&["healthcheck", "--config", &config.path().display().to_string()]).0, Some(0));
}
