//! Programs that come with a key of a service account: how keys are made and taken back, and what they open.

use std::process::{Command, Stdio};

use crate::support::gateway::{Config, doorward};
use crate::support::setup::upstream_table;

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
    use base64::Engine;
    let token =
        |claims: &str| format!("e30.{}.c2ln\n", base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(claims));
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
