//! `doorward explain`: what it says of a request is what the running gateway does with it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::support::app::App;
use crate::support::forger::{Key, now, unsigned};
use crate::support::gateway::{Config, Gateway, doorward};
use crate::support::person::{Person, code_in};
use crate::support::provider::Provider;
use crate::support::raw::Connection;
use crate::support::setup::{provider_table, upstream_table};
use crate::support::{eventually, random_word};

const ISS: &str = "https://ci.example";

const TABLES: &str = r#"
[[issuer]]
name = "ci"
issuer = "https://ci.example"
jwks_file = "keys.json"
audiences = ["api"]
required_claims = [{ claim = "env", one_of = ["prod", "stage"] }]

[[issuer]]
name = "away"
issuer = "http://127.0.0.2:9"
audiences = ["api"]
timeout = "1s"

[[service_account]]
name = "runner"

[[route]]
path = "/"

[[route]]
path = "/public"
access = "public"

[[route]]
path = "/api"
access = "bearer"

[[route]]
path = "/write"
access = "bearer"
scopes = ["runs.write"]
audiences = ["experiments"]
methods = ["GET", "PUT"]

[[route]]
path = "/ops"
access = "signed-in-or-bearer"
allow = { groups = ["ops"], email_domains = ["good.example"] }

[[route]]
path = "/nobody"
allow = { groups = ["no-such-group"] }

[[route]]
path = "/fresh"
acr_values = ["gold"]

[[route]]
host = "other.example"
exact = "/only"
access = "public"
strip_prefix = false
"#;

/// A gateway with every sort of route, somebody who is signed in, and a program's key.
pub(super) struct Scene {
    pub gateway: Gateway,
    key: Key,
    pub person: Person,
    /// Of a service account.
    pub account: String,
}

impl Scene {
    pub async fn start() -> Scene {
        let (app, key, provider, config) = (App::start().await, Key::new("k1"), Provider::shared(), Config::new());
        let keys = json!({"keys": [key.jwk()]});
        std::fs::write(config.dir.path().join("keys.json"), keys.to_string()).expect("keys.json");
        let client = provider.register(&config.public_url, json!({})).await;
        let config = config.add(&provider_table(&provider, &client)).add(&upstream_table(&app.url())).add(TABLES);
        std::fs::write(config.path(), config.text()).expect("gateway.toml");
        let (code, account, err) =
            doorward(&["service-account", "new-key", "runner", "--config", &config.path().display().to_string()]);
        assert_eq!(code, Some(0), "{err}");
        let gateway = config.start().await;
        // One issuer is away for good, so /readyz never says yes.
        eventually("the provider's metadata", || async {
            gateway.readyz().await.1["providers"][0]["ready"].as_bool().filter(|ready| *ready)
        })
        .await;
        let person = Person::new();
        person.sign_in(&gateway.url("/"), provider.user("anna")).await;
        Scene { gateway, key, person, account: account.trim().to_owned() }
    }

    pub fn token(&self, changes: Value) -> String {
        self.key.sign(&json!({"alg": "ES256", "typ": "at+jwt", "kid": "k1"}), &claims(changes))
    }

    pub fn cookie(&self) -> String {
        self.person.cookie_header(&self.gateway.url("/").parse().expect("an address"))
    }

    /// Exit code, standard output and standard error of `explain` with these flags.
    pub fn explain(&self, flags: &[&str]) -> (Option<i32>, String, String) {
        let path = self.gateway.config.path().display().to_string();
        doorward(&[&["explain", "--config", &path], flags].concat())
    }

    pub fn explain_json(&self, flags: &[&str]) -> Value {
        let (_, out, err) = self.explain(&[flags, &["--json"]].concat());
        serde_json::from_str(&out).unwrap_or_else(|e| panic!("{e}: {out}{err}"))
    }

    /// What the gateway answers: status, and reason code where there is one.
    pub async fn ask(&self, method: &str, target: &str, headers: &[(String, String)]) -> (u16, String) {
        let mut head = format!("{method} {target} HTTP/1.1\r\n");
        if !headers.iter().any(|(name, _)| name == "Host") {
            head.push_str(&format!("Host: {}\r\n", self.gateway.address()));
        }
        headers.iter().for_each(|(name, value)| head.push_str(&format!("{name}: {value}\r\n")));
        head.push_str("Connection: close\r\nContent-Length: 0\r\n\r\n");
        let mut connection = Connection::open(self.gateway.address()).await;
        let reply = connection.send(head).await.reply().await.expect("an answer");
        (reply.status, code_in(&reply.text()))
    }
}

fn claims(changes: Value) -> Value {
    let mut claims = json!({
        "iss": ISS, "sub": "robot-7", "aud": "api", "exp": now() + 36_000, "iat": now(), "groups": ["ci"], "env": "prod",
    });
    for (name, value) in changes.as_object().expect("changes") {
        match value {
            Value::Null => claims.as_object_mut().expect("claims").remove(name),
            value => claims.as_object_mut().expect("claims").insert(name.clone(), value.clone()),
        };
    }
    claims
}

pub(super) fn header(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

/// Method, path with query, and headers.
type Asked = (&'static str, &'static str, Vec<(String, String)>);

#[tokio::test]
async fn the_verdict_is_what_the_running_gateway_answers() {
    let scene = Scene::start().await;
    let bearer = |token: &str| vec![header("Authorization", &format!("Bearer {token}"))];
    let good = scene.token(json!({}));
    let other_key = Key::new("k1").sign(&json!({"alg": "ES256", "kid": "k1"}), &claims(json!({})));
    let unknown_key = Key::new("k2").sign(&json!({"alg": "ES256", "kid": "k2"}), &claims(json!({})));
    let none = format!("{}.", unsigned(&json!({"alg": "none"}), &claims(json!({}))));
    let signed_in = vec![header("Cookie", &scene.cookie())];
    let browser = vec![header("Accept", "text/html")];
    let navigating = vec![header("Sec-Fetch-Mode", "navigate"), header("Sec-Fetch-Dest", "document")];
    let basic = |pair: &str| vec![header("Authorization", &format!("Basic {}", STANDARD.encode(pair)))];
    let preflight = vec![header("Origin", "https://a.example"), header("Access-Control-Request-Method", "PUT")];
    let everything = json!({"aud": ["api", "experiments"], "scope": "a runs.write"});
    let table: Vec<Asked> = vec![
        ("GET", "/public/x?y=1", vec![]),
        ("GET", "/public/..%2fops", vec![]),
        ("GET", "/public/../ops", vec![]),
        ("GET", "/public//x", vec![]),
        ("GET", "/public/%252e%252e/x", vec![]),
        ("GET", "/public;x/../ops", vec![]),
        ("GET", "/public;v=1", vec![]),
        ("GET", "/%70ublic/a", vec![]),
        ("GET", "/public#x", vec![]),
        ("TRACE", "/public", vec![]),
        ("get", "/public", vec![]),
        ("GET", "/public", vec![header("Host", "127.0.0.1:99999")]),
        ("GET", "/public", vec![header("Origin", "a"), header("Origin", "b")]),
        ("GET", "/only", vec![header("Host", "other.example")]),
        ("GET", "/only", vec![]),
        ("GET", "/", vec![]),
        ("GET", "/", browser.clone()),
        ("GET", "/x?y", navigating.clone()),
        ("POST", "/", browser.clone()),
        ("GET", "/", signed_in.clone()),
        ("GET", "/", vec![header("Cookie", "doorward=garbage")]),
        ("GET", "/", bearer(&good)),
        ("GET", "/nobody", signed_in.clone()),
        ("GET", "/fresh", signed_in.clone()),
        ("GET", "/fresh", [signed_in.clone(), navigating.clone()].concat()),
        ("GET", "/api", vec![]),
        ("GET", "/api", signed_in.clone()),
        ("GET", "/api/runs", bearer(&good)),
        ("GET", "/api", [bearer(&good), bearer(&good)].concat()),
        ("GET", "/api", basic(&format!("api:{good}"))),
        ("GET", "/api", basic("anna:password")),
        ("GET", "/api", bearer(&scene.account)),
        ("GET", "/api", bearer("dwk_nonsense")),
        ("GET", "/api", bearer("opaque")),
        ("GET", "/api", bearer("a.b.c")),
        ("GET", "/api", vec![header("Authorization", &good)]),
        ("GET", "/api", bearer(&scene.token(json!({"exp": now() - 312})))),
        ("GET", "/api", bearer(&scene.token(json!({"nbf": now() + 18_000})))),
        ("GET", "/api", bearer(&scene.token(json!({"aud": "other"})))),
        ("GET", "/api", bearer(&scene.token(json!({"env": "dev"})))),
        ("GET", "/api", bearer(&scene.token(json!({"exp": null})))),
        ("GET", "/api", bearer(&scene.token(json!({"iss": "https://ci.example/"})))),
        ("GET", "/api", bearer(&scene.token(json!({"iss": "http://127.0.0.2:9"})))),
        ("GET", "/api", bearer(&scene.token(json!({"cnf": {"jkt": "x"}})))),
        ("GET", "/api", bearer(&scene.token(json!({"nonce": "n"})))),
        (
            "GET",
            "/api",
            bearer(&scene.key.sign(&json!({"alg": "ES256", "typ": "logout+jwt", "kid": "k1"}), &claims(json!({})))),
        ),
        ("GET", "/api", bearer(&other_key)),
        ("GET", "/api", bearer(&unknown_key)),
        ("GET", "/api", bearer(&none)),
        ("GET", "/write", bearer(&good)),
        ("GET", "/write", bearer(&scene.token(json!({"aud": ["api", "experiments"]})))),
        ("GET", "/write", bearer(&scene.token(everything.clone()))),
        ("PUT", "/write", bearer(&scene.token(everything))),
        ("GET", "/write", bearer(&scene.account)),
        // No route of its own takes DELETE there; the one above asks for people.
        ("DELETE", "/write", bearer(&good)),
        ("GET", "/ops", bearer(&good)),
        ("GET", "/ops", bearer(&scene.token(json!({"groups": ["ops"]})))),
        ("GET", "/ops", bearer(&scene.token(json!({"email": "r@good.example"})))),
        ("GET", "/ops", bearer(&scene.token(json!({"email": "r@good.example", "email_verified": false})))),
        ("GET", "/ops", vec![]),
        ("GET", "/ops", browser.clone()),
        ("OPTIONS", "/", preflight.clone()),
        ("OPTIONS", "/public", preflight),
        ("GET", "/oidc/login", browser.clone()),
        ("GET", "/oidc/login?provider=nobody", browser.clone()),
        ("GET", "/oidc/login?return_to=https%3A%2F%2Fevil.example", browser.clone()),
        ("DELETE", "/oidc/login", vec![]),
        ("GET", "/oidc/callback", browser.clone()),
        ("GET", "/oidc/callback?state=x", browser.clone()),
        ("POST", "/oidc/callback", vec![]),
        ("GET", "/oidc/signed-out", browser.clone()),
        ("GET", "/logout", browser),
    ];
    let mut different = Vec::new();
    for (method, target, headers) in &table {
        let real = scene.ask(method, target, headers).await;
        let flags: Vec<String> = headers.iter().map(|(name, value)| format!("--header={name}: {value}")).collect();
        let url = format!("http://{}{target}", scene.gateway.address());
        let mut all = vec!["--url", &url, "--method", method];
        all.extend(flags.iter().map(String::as_str));
        let said = scene.explain_json(&all);
        let verdict = &said["verdict"];
        let told = match verdict["outcome"].as_str().expect("an outcome") {
            "passed" => (200, String::new()),
            _ => (
                verdict["status"].as_u64().unwrap_or_default() as u16,
                verdict["code"].as_str().unwrap_or_default().to_owned(),
            ),
        };
        if told != real {
            different.push(format!("{method} {target} {headers:?}: explained {told:?}, answered {real:?}"));
        }
        let refused = verdict["outcome"] == "refused";
        let (code, out, _) = scene.explain(&all);
        assert_eq!(code, Some(i32::from(refused)), "{out}");
        let steps = said["steps"].as_array().expect("steps").iter();
        let numbers: Vec<_> = steps.filter_map(|step| step["number"].as_u64()).collect();
        // Of a target that cannot be read nothing but that is known.
        let unread = numbers == [1] && told.1.starts_with("DW-1");
        assert!(unread || numbers == [1, 2, 3, 4, 5, 6, 7, 8], "{method} {target} {headers:?}: {out}");
    }
    assert!(different.is_empty(), "{different:#?}");
}

#[tokio::test]
async fn every_check_of_a_token_is_told_also_behind_the_one_that_fails() {
    let scene = Scene::start().await;
    let token = scene.token(json!({"exp": now() - 312, "aud": "other", "env": "dev", "scope": "a"}));
    let file = scene.gateway.config.dir.path().join("token");
    std::fs::write(&file, format!("{token}\n")).expect("a token");
    let file = file.display().to_string();
    let said = scene.explain_json(&["--url", "/write/x", "--token-file", &file]);
    let checks = said["steps"][3]["checks"].as_array().expect("checks");
    let found = |what: &str| {
        let check =
            checks.iter().find(|check| check["what"] == what).unwrap_or_else(|| panic!("{what} in {checks:#?}"));
        (check["found"].as_str().unwrap_or_default(), check["code"].as_str().unwrap_or_default())
    };
    for (what, expected) in [
        ("form", ("holds", "")),
        ("issuer (iss)", ("holds", "")),
        ("algorithm (alg)", ("holds", "")),
        ("key (kid)", ("holds", "")),
        ("signature", ("holds", "")),
        ("expiry (exp)", ("fails", "DW-8007")),
        ("not before (nbf)", ("holds", "")),
        ("issued at (iat)", ("holds", "")),
        ("type (typ)", ("holds", "")),
        ("binding (cnf)", ("holds", "")),
        ("audience (aud)", ("fails", "DW-8009")),
        ("claim env", ("fails", "DW-8011")),
        ("not revoked (jti)", ("holds", "")),
        ("audience here", ("fails", "DW-8009")),
        ("scope here", ("fails", "DW-8012")),
    ] {
        assert_eq!(found(what), expected, "{what}");
    }
    let expiry = checks.iter().find(|check| check["what"] == "expiry (exp)").expect("exp");
    assert_eq!(expiry["source"], "RFC 7519 §4.1.4");
    let ago = expiry["detail"].as_str().and_then(|d| d.strip_prefix("expired ")).and_then(|d| d.strip_suffix(" s ago"));
    assert!(ago.and_then(|ago| ago.parse::<u32>().ok()).is_some_and(|ago| (312..400).contains(&ago)), "{expiry}");
    assert_eq!(said["verdict"]["code"], "DW-8007");
    assert_eq!(said["token"]["claims"]["aud"], "other");
    // The one who asks has the token; a terminal's history need not.
    let signature = token.rsplit('.').next().expect("a signature");
    for flags in [&["--url", "/write/x", "--token-file", &file][..], &["--url", "/write/x", "--token", &token]] {
        let (code, out, err) = scene.explain(flags);
        assert_eq!(code, Some(1));
        assert!(!out.contains(signature) && !err.contains(signature), "{out}{err}");
        assert_eq!(err.contains("list of processes"), flags.contains(&"--token"), "{err}");
    }
}

#[tokio::test]
async fn claims_and_people_are_judged_as_if_they_had_been_verified() {
    let scene = Scene::start().await;
    let issuer = Provider::shared().issuer().to_owned();
    let file = scene.gateway.config.dir.path().join("claims.json");
    let of_claims = |claims: Value, url: &str| {
        std::fs::write(&file, claims.to_string()).expect("claims");
        scene.explain_json(&["--url", url, "--claims", &file.display().to_string()])
    };
    // A program's, by `iss` or because nothing else is taken.
    let said = of_claims(claims(json!({"groups": ["ops"]})), "/ops");
    assert_eq!(said["verdict"]["outcome"], "passed", "{said:#}");
    let said = of_claims(claims(json!({"aud": "other"})), "/api");
    assert_eq!(said["verdict"]["code"], "DW-8009", "{said:#}");
    // A person's.
    let anna = json!({"iss": issuer, "sub": "anna", "groups": ["ops"], "email": "anna@other.example"});
    let said = of_claims(anna.clone(), "/ops/x");
    assert_eq!(said["verdict"]["outcome"], "passed", "{said:#}");
    let headers = said["steps"][6]["headers"].as_array().expect("headers");
    let written = |name: &str| headers.iter().find(|one| one["name"] == name && one["fate"] == "written");
    assert_eq!(written("x-forwarded-user").expect("a user")["value"], "anna");
    assert_eq!(written("x-forwarded-groups").expect("groups")["value"], "ops");
    assert_eq!(of_claims(anna, "/nobody")["verdict"]["code"], "DW-5001");
    // What the sign-in itself would have refused.
    let nameless = of_claims(json!({"iss": issuer, "sub": "a\u{7}b"}), "/");
    assert_eq!(nameless["verdict"]["outcome"], "refused", "{nameless:#}");
    let (code, _, err) = {
        std::fs::write(&file, json!({"iss": "https://nobody.example", "sub": "x"}).to_string()).expect("claims");
        scene.explain(&["--url", "/", "--claims", &file.display().to_string()])
    };
    assert_eq!(code, Some(2), "{err}");
    assert!(err.contains("neither an [[issuer]] nor a [[provider]]"), "{err}");

    let (code, out, _) =
        scene.explain(&["--url", "/ops", "--user", "bo", "--groups", "a,ops", "--email", "b@x.example"]);
    assert_eq!(code, Some(0), "{out}");
    assert!(out.contains("yes allow.groups: expected `ops`; got `a`, `ops`"), "{out}");
    assert!(out.contains("no  allow.email_domains: expected `good.example`; got `b@x.example`"), "{out}");
    let (code, out, _) = scene.explain(&["--url", "/ops", "--user", "bo", "--groups", ""]);
    assert_eq!(code, Some(1), "{out}");
    assert!(out.contains("got an empty list"), "{out}");
}

#[tokio::test]
async fn what_a_client_may_not_say_is_told_to_be_taken_off() {
    let scene = Scene::start().await;
    let said = scene.explain_json(&[
        "--url",
        "/public",
        "--header",
        "X-Forwarded-User: root",
        "--header",
        "Remote_User: root",
        "--header",
        "X-Mine: 1",
        "--header",
        "Connection: X-Mine-Too",
        "--header",
        "X-Mine-Too: 1",
        "--peer",
        "192.0.2.7",
    ]);
    let headers = said["steps"][6]["headers"].as_array().expect("headers");
    let fate = |name: &str| headers.iter().find(|one| one["name"] == name).map(|one| one["fate"].as_str());
    assert_eq!(fate("x-forwarded-user"), Some(Some("dropped")), "{said:#}");
    assert_eq!(fate("remote_user"), Some(Some("dropped")));
    assert_eq!(fate("x-mine-too"), Some(Some("dropped")));
    assert_eq!(fate("x-mine"), Some(Some("passed")));
    let client = headers.iter().find(|one| one["name"] == "x-forwarded-for").expect("the client's address");
    assert_eq!((&client["value"], &client["fate"]), (&json!("192.0.2.7"), &json!("written")));
}

#[tokio::test]
async fn offline_nobody_is_asked_and_what_could_not_be_examined_is_named() {
    let scene = Scene::start().await;
    let away = |changes: Value| {
        let mut all = json!({"iss": "http://127.0.0.2:9", "env": null});
        all.as_object_mut().expect("object").extend(changes.as_object().expect("object").clone());
        let file = scene.gateway.config.dir.path().join(random_word());
        std::fs::write(&file, scene.token(all)).expect("a token");
        scene.explain_json(&["--url", "/api", "--offline", "--token-file", &file.display().to_string()])
    };
    let said = away(json!({}));
    assert_eq!(said["verdict"]["outcome"], "undecided", "{said:#}");
    assert_eq!(said["verdict"]["detail"], "signature not examined: keys of http://127.0.0.2:9 are not at hand");
    // What is wrong beside the signature needs no key.
    let said = away(json!({"aud": "other"}));
    assert_eq!(
        (&said["verdict"]["outcome"], &said["verdict"]["code"]),
        (&json!("refused"), &json!("DW-8009")),
        "{said:#}"
    );
    // So does a `typ` or `alg` that is not taken.
    for (header, wanted) in [
        (json!({"alg": "ES256", "typ": "logout+jwt", "kid": "k1"}), "typ"),
        (json!({"alg": "none", "typ": "at+jwt"}), "alg"),
    ] {
        let token = scene.key.sign(&header, &claims(json!({"iss": "http://127.0.0.2:9", "env": null})));
        let file = scene.gateway.config.dir.path().join(random_word());
        std::fs::write(&file, token).expect("a token");
        let flags = ["--url", "/api", "--offline", "--token-file", &file.display().to_string()];
        assert_eq!(scene.explain_json(&flags)["verdict"]["outcome"], "refused", "{wanted}");
    }
    let (code, out, _) = scene.explain(&["--url", "/", "--offline", "--header", "Accept: text/html"]);
    assert_eq!(code, Some(1));
    assert!(out.contains("9 verdict: undecided") && out.contains("metadata is not at hand"), "{out}");
    // Without it, the sign-in is told with its address.
    let (code, out, _) = scene.explain(&["--url", "/x", "--header", "Accept: text/html"]);
    assert_eq!(code, Some(0), "{out}");
    assert!(out.contains("a person gets 303") && out.contains("redirect_uri=") && out.contains("state=…"), "{out}");
    assert!(out.contains("a program gets 401 DW-3001"), "{out}");
}

#[tokio::test]
async fn a_configuration_that_is_not_good_ends_with_78_and_a_wrong_flag_with_2() {
    let config = Config::new().add("[[route]]\npath = \"/\"\naccess = \"open\"\n");
    std::fs::write(config.path(), config.text()).expect("gateway.toml");
    let path = config.path().display().to_string();
    assert_eq!(doorward(&["explain", "--config", &path, "--url", "/"]).0, Some(78));
    assert_eq!(doorward(&["explain", "--config", &path]).0, Some(2));
    assert_eq!(doorward(&["explain", "--url", "/", "--user", "a", "--token", "b"]).0, Some(2));
}
