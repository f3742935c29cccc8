//! The exchange of an issuer's JWT for a token of the gateway's own (RFC 7523), and what is published about it.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use reqwest::Method;
use serde_json::{Map, Value, json};

use crate::support::app::App;
use crate::support::forger::{self, Key};
use crate::support::gateway::{Config, Gateway, doorward};
use crate::support::person::{Answer, Person};
use crate::support::provider::Provider;
use crate::support::setup::{provider_table, upstream_table};
use crate::support::{eventually, random_word, raw};

const GRANT: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const ISSUER: &str = "https://ci.example";

/// A gateway with a federation, and an issuer whose key the test holds.
struct Door {
    gateway: Gateway,
    app: App,
    key: Key,
}

const TABLES: &str = r#"
[federation]
audiences = ["wandb"]
allow = { email_domains = ["example.com"] }

[[route]]
path = "/"
access = "bearer"

[[route]]
path = "/public"
access = "public"
"#;

impl Door {
    async fn open() -> Door {
        Self::with(Config::new(), TABLES).await
    }

    async fn with(config: Config, tables: &str) -> Door {
        let (app, key) = (App::start().await, Key::new("ci-1"));
        let gateway = config_before(config, &app, &key).add(tables).start().await;
        gateway.ready().await;
        Door { gateway, app, key }
    }

    /// An assertion of `claims`, laid over those of a good one; `null` takes one away.
    fn assertion(&self, claims: Value) -> String {
        let now = forger::now();
        let mut all = json!({
            "iss": ISSUER, "sub": "jo@example.com", "aud": "wandb", "iat": now, "exp": now + 600, "groups": ["staff"],
        });
        for (name, value) in claims.as_object().expect("an object") {
            all[name] = value.clone();
        }
        all.as_object_mut().expect("an object").retain(|_, value| !value.is_null());
        self.key.token(&all)
    }

    async fn exchange(&self, assertion: &str) -> Answer {
        exchange(&self.gateway, assertion).await
    }

    /// A token of the gateway's own for Jo.
    async fn token(&self) -> String {
        let answer = self.exchange(&self.assertion(json!({}))).await;
        answer.expect(200).json()["access_token"].as_str().expect("a token").to_owned()
    }
}

fn config_before(config: Config, app: &App, key: &Key) -> Config {
    std::fs::write(config.dir.path().join("ci.json"), json!({ "keys": [key.jwk()] }).to_string()).expect("ci.json");
    config.add(&upstream_table(&app.url())).add(&format!(
        "[[issuer]]\nname = \"ci\"\nissuer = {ISSUER:?}\njwks_file = \"ci.json\"\naudiences = [\"elsewhere\"]\n"
    ))
}

async fn exchange(gateway: &Gateway, assertion: &str) -> Answer {
    request(gateway, &[("grant_type", GRANT), ("assertion", assertion)]).await
}

async fn request(gateway: &Gateway, form: &[(&str, &str)]) -> Answer {
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
    send(gateway, "application/x-www-form-urlencoded", body).await
}

async fn send(gateway: &Gateway, content_type: &str, body: String) -> Answer {
    let url = format!("http://{}/oidc/token", gateway.address());
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let answer = client.post(url).header("content-type", content_type).body(body).send().await.expect("an answer");
    let (url, status, headers) = (answer.url().clone(), answer.status().as_u16(), answer.headers().clone());
    Answer { url, status, headers, body: answer.bytes().await.expect("a body").to_vec() }
}

/// Asks for `path` with a bearer token.
async fn with_token(gateway: &Gateway, path: &str, token: &str) -> Answer {
    let url = format!("http://{}{path}", gateway.address());
    Person::new().request(Method::GET, &url, &[("authorization", &format!("Bearer {token}"))], None).await
}

async fn get(gateway: &Gateway, path: &str) -> Answer {
    Person::new().request(Method::GET, &format!("http://{}{path}", gateway.address()), &[], None).await
}

/// Whether a log line holds a part of `token` that tells something.
fn is_in(log: &str, token: &str) -> bool {
    token.split('.').skip(1).any(|part| log.contains(part))
}

#[tokio::test]
async fn an_assertion_becomes_a_token_that_opens_the_app() {
    let door = Door::open().await;
    let assertion = door.assertion(json!({ "name": "Jo" }));
    let answer = door.exchange(&format!("{assertion}\n")).await;
    answer.expect(200);
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.header("pragma"), "no-cache");
    assert_eq!(answer.header("content-type"), "application/json");
    let said = answer.json();
    assert_eq!((&said["token_type"], &said["expires_in"]), (&json!("Bearer"), &json!(3600)));
    let token = said["access_token"].as_str().expect("a token");

    with_token(&door.gateway, "/runs", token).await.expect(200);
    let seen = door.app.seen_at("/runs").pop().expect("it reached the app");
    assert_eq!(seen.one("x-forwarded-user"), "jo@example.com");
    assert_eq!(seen.one("x-forwarded-email"), "jo@example.com");
    assert_eq!(seen.one("x-forwarded-groups"), "staff");
    assert_eq!(seen.one("authorization"), "");
    // What was exchanged is for the exchange alone: its audience is not that of the route.
    with_token(&door.gateway, "/runs", &assertion).await.expect(401);

    // The same assertion again, as a run does that starts several processes.
    let again = door.exchange(&assertion).await;
    assert_ne!(again.expect(200).json()["access_token"], said["access_token"]);

    let line = door.gateway.log_line(&["audit", "token_exchange", "allow"]).await;
    for word in ["jo@example.com", "ci", "127.0.0.1"] {
        assert!(line.contains(word), "{word}: {line}");
    }
    assert_eq!(door.gateway.metric("doorward_token_exchanges_total", &["outcome=\"ok\""]).await, 2.0);
    let log = door.gateway.log_text();
    assert!(!is_in(&log, &assertion) && !is_in(&log, token), "a token is in the log");
}

#[tokio::test]
async fn an_id_token_of_a_real_provider_is_an_assertion() {
    let (app, provider, config) =
        (App::start().await, Provider::start(json!({"algorithms": ["PS256"]})), Config::new());
    let client = provider.register(&config.public_url, json!({})).await;
    let gateway = config
        .add(&format!("{}id_token_algorithms = [\"PS256\"]\n", provider_table(&provider, &client)))
        .add(&upstream_table(&app.url()))
        .add("[[issuer]]\nname = \"people\"\nprovider = \"main\"\naudiences = [\"api\"]\n")
        .add(&format!("[federation]\naudiences = [{:?}]\nsubject_claim = \"email\"\n", client.id))
        .add("allow = { email_domains = [\"example.com\"] }\n[[route]]\naccess = \"signed-in-or-bearer\"\n")
        .start()
        .await;
    gateway.ready().await;
    let id_token = async |name: &str| {
        Person::new().sign_in(&gateway.url("/page"), provider.user(name)).await.expect(200);
        let seen = provider.seen().await;
        let answer = seen.iter().rev().find_map(|seen| seen["answer"].as_str()).expect("a token answer");
        let answer: Value = serde_json::from_str(answer).expect("JSON");
        answer["id_token"].as_str().expect("an ID token").to_owned()
    };
    let token = exchange(&gateway, &id_token("anna").await).await;
    let token = token.expect(200).json()["access_token"].as_str().expect("a token").to_owned();
    with_token(&gateway, "/runs", &token).await.expect(200);
    let seen = app.seen_at("/runs").pop().expect("it reached the app");
    assert_eq!(seen.one("x-forwarded-user"), "anna@example.com");
    assert_eq!(seen.one("x-forwarded-groups"), "staff,admins");
    // Berta's domain is not named, and Carl's address is not verified.
    for name in ["berta", "carl"] {
        let refused = exchange(&gateway, &id_token(name).await).await;
        assert_eq!(
            (refused.expect(400).json()["error"].as_str(), refused.reason().as_str()),
            (Some("invalid_grant"), "DW-8304"),
            "{name}"
        );
    }
}

#[tokio::test]
async fn a_token_outlives_a_restart_and_dies_with_its_secret() {
    let door = Door::open().await;
    let old = door.token().await;
    let gateway = door.gateway.restart(|_| {}).await;
    with_token(&gateway, "/a", &old).await.expect(200);
    let secret = random_word();
    let gateway = gateway.restart(|config| config.secrets.insert(0, secret.clone())).await;
    with_token(&gateway, "/a", &old).await.expect(200);
    let door = Door { gateway, ..door };
    let new = door.token().await;
    let gateway = door.gateway.restart(|config| config.secrets.truncate(1)).await;
    with_token(&gateway, "/a", &new).await.expect(200);
    let refused = with_token(&gateway, "/a", &old).await;
    assert_eq!((refused.status, refused.reason().as_str()), (401, "DW-8005"));
}

#[tokio::test]
async fn replicas_take_each_other_s_tokens_and_strangers_do_not() {
    let door = Door::open().await;
    let token = door.token().await;
    for (secrets, status) in [(door.gateway.config.secrets.clone(), 200), (vec![random_word()], 401)] {
        let public_url = door.gateway.config.public_url.clone();
        let config = Config { public_url, secrets, ..Config::new() };
        let other = config_before(config, &door.app, &door.key).add(TABLES).start().await;
        other.ready().await;
        with_token(&other, "/a", &token).await.expect(status);
    }
}

#[tokio::test]
async fn the_published_keys_are_those_that_sign() {
    let door = Door::open().await;
    let token = door.token().await;
    let answer = get(&door.gateway, "/.well-known/jwks.json").await;
    assert_eq!(answer.expect(200).header("cache-control"), "public, max-age=300");
    let keys: jsonwebtoken::jwk::JwkSet = serde_json::from_value(answer.json()).expect("a key set");
    let header = decode_header(&token).expect("a header");
    assert_eq!(header.typ.as_deref(), Some("at+jwt"));
    let key = keys.find(header.kid.as_deref().expect("kid")).expect("the key is there");
    let mut rules = Validation::new(Algorithm::EdDSA);
    rules.set_audience(&[&door.gateway.config.public_url]);
    rules.set_issuer(&[&door.gateway.config.public_url]);
    let claims = decode::<Map<String, Value>>(&token, &DecodingKey::from_jwk(key).expect("a key"), &rules);
    assert_eq!(claims.expect("it holds").claims["sub"], "jo@example.com");

    let metadata = get(&door.gateway, "/.well-known/oauth-authorization-server").await.expect(200).json();
    assert_eq!(metadata["issuer"], json!(door.gateway.config.public_url));
    assert_eq!(metadata["token_endpoint"], json!(door.gateway.url("/oidc/token")));
    assert_eq!(metadata["jwks_uri"], json!(door.gateway.url("/.well-known/jwks.json")));
    assert!(door.app.seen().is_empty());
}

#[tokio::test]
async fn without_a_federation_the_addresses_are_the_app_s() {
    let routes = "[[route]]\naccess = \"public\"\n";
    let door = Door::with(Config::new(), routes).await;
    for path in ["/.well-known/jwks.json", "/.well-known/oauth-authorization-server", "/oidc/token"] {
        get(&door.gateway, path).await.expect(200);
        assert_eq!(door.app.seen_at(path).len(), 1, "{path}");
    }
    exchange(&door.gateway, "a.b.c").await.expect(200);
    assert_eq!(door.app.seen_at("/oidc/token").len(), 2);
}

#[tokio::test]
async fn what_is_wrong_with_an_assertion_is_said_to_whoever_sent_it() {
    let door = Door::open().await;
    let now = forger::now();
    let own = door.token().await;
    let alien =
        Key::new("ci-1").token(&json!({ "iss": ISSUER, "sub": "jo@example.com", "aud": "wandb", "exp": now + 60 }));
    for (assertion, reason, words) in [
        (door.assertion(json!({ "exp": now - 1000 })), "DW-8007", "refresh the file in WANDB_IDENTITY_TOKEN_FILE"),
        (door.assertion(json!({ "nbf": now + 1000 })), "DW-8008", "Set the clocks"),
        (door.assertion(json!({ "aud": "other" })), "DW-8009", "'other'"),
        (door.assertion(json!({ "aud": null })), "DW-8009", "'wandb'"),
        (door.assertion(json!({ "sub": "repo:example/x" })), "DW-8303", "'repo:example/x'"),
        (door.assertion(json!({ "sub": "jo@example.org" })), "DW-8304", "'jo@example.org'"),
        (door.assertion(json!({ "email_verified": false })), "DW-8304", "not verified"),
        (door.assertion(json!({ "iss": "https://else.example" })), "DW-8004", "'https://else.example'"),
        (door.assertion(json!({ "exp": null })), "DW-8002", ""),
        (alien, "DW-8006", ""),
        (own, "DW-8004", "issuer"),
        ("not a token".into(), "DW-8002", ""),
        (format!("{}é\"\\\u{1}", door.assertion(json!({}))), "DW-8002", ""),
    ] {
        let answer = door.exchange(&assertion).await;
        let said = answer.expect(400).json();
        let text = said["error_description"].as_str().expect("a description");
        assert_eq!((said["error"].as_str(), said["reason"].as_str()), (Some("invalid_grant"), Some(reason)), "{said}");
        assert!(text.contains(words), "{text}");
        assert!(text.bytes().all(|b| matches!(b, 0x20..=0x21 | 0x23..=0x5b | 0x5d..=0x7e)), "{text}");
        assert_eq!(said["errors"][0]["message"], text);
        assert_eq!(answer.header("cache-control"), "no-store");
        assert_eq!(answer.header("www-authenticate"), "");
        let reference = said["reference"].as_str().expect("a reference");
        let line = door.gateway.log_line(&["audit", "token_exchange", "deny", reason, reference]).await;
        assert!(!is_in(&line, &assertion), "{line}");
        assert!(door.gateway.metric("doorward_token_exchanges_total", &[reason]).await >= 1.0, "{reason}");
    }
    assert!(door.app.seen().is_empty());
}

#[tokio::test]
async fn what_is_no_token_request_is_refused_before_anything_is_verified() {
    let door = Door::open().await;
    let good = door.assertion(json!({}));
    let pair = ("grant_type", GRANT);
    for (form, error, reason) in [
        (vec![("assertion", good.as_str())], "invalid_request", "DW-8302"),
        (vec![pair], "invalid_request", "DW-8302"),
        (vec![pair, ("assertion", "")], "invalid_request", "DW-8302"),
        (vec![pair, ("assertion", &good), ("assertion", &good)], "invalid_request", "DW-8302"),
        (vec![pair, pair, ("assertion", &good)], "invalid_request", "DW-8302"),
        (vec![("grant_type", "client_credentials")], "unsupported_grant_type", "DW-8301"),
        (vec![("grant_type", "\"><script>\0"), ("assertion", &good)], "unsupported_grant_type", "DW-8301"),
    ] {
        let answer = request(&door.gateway, &form).await;
        let said = answer.expect(400).json();
        assert_eq!((said["error"].as_str(), said["reason"].as_str()), (Some(error), Some(reason)), "{said}");
        door.gateway.log_line(&["token_exchange", "deny", said["reference"].as_str().expect("a reference")]).await;
    }
    let json = json!({ "grant_type": GRANT, "assertion": good }).to_string();
    assert_eq!(send(&door.gateway, "application/json", json).await.expect(400).json()["error"], "invalid_request");
    let huge = format!("grant_type={GRANT}&assertion={}", "a".repeat(1024 * 1024));
    let answer = send(&door.gateway, "application/x-www-form-urlencoded", huge).await;
    assert_eq!(answer.expect(400).json()["error"], "invalid_request");
    door.gateway.log_line(&["token_exchange", "deny", answer.json()["reference"].as_str().expect("a reference")]).await;
    let refused = get(&door.gateway, "/oidc/token").await;
    assert_eq!((refused.status, refused.header("allow")), (405, "POST"));
    // Others that are of no concern do not disturb.
    let more = [pair, ("assertion", &good), ("scope", "x"), ("client_id", "y")];
    request(&door.gateway, &more).await.expect(200);
}

#[tokio::test]
async fn a_token_request_arrives_however_it_is_framed() {
    let door = Door::open().await;
    let body = format!("grant_type={GRANT}&assertion={}", door.assertion(json!({})));
    let head = "POST /oidc/token HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\n";
    let chunked = format!("{head}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    let length = format!("Content-Length: {}\r\n", body.len());
    let expecting = format!("{head}{length}Expect: 100-continue\r\n\r\n{body}");
    for request in [chunked, format!("{head}{length}\r\n{body}"), expecting] {
        let mut connection = raw::Connection::open(door.gateway.address()).await;
        let mut reply = connection.send(request).await.reply().await.expect("an answer");
        if reply.status == 100 {
            reply = connection.reply().await.expect("an answer");
        }
        assert!(reply.status == 200 && reply.text().contains("access_token"), "{}", reply.text());
    }
    let h2 = reqwest::Client::builder().no_proxy().http2_prior_knowledge().build().expect("a client");
    let request = h2.post(format!("http://{}/oidc/token", door.gateway.address()));
    let request = request.header("content-type", "application/x-www-form-urlencoded").body(body);
    assert_eq!(request.send().await.expect("an answer").status(), 200);
    // One that is announced as too long is not waited for.
    let head = format!("{head}Content-Length: 100000\r\n\r\ngrant_type=");
    let refused = raw::exchange(door.gateway.address(), head).await.expect("an answer");
    assert!(refused.status == 400 && refused.text().contains("invalid_request"), "{}", refused.text());
}

#[tokio::test]
async fn while_the_issuer_s_keys_are_missing_nobody_is_told_that_a_token_is_bad() {
    let config = Config::new()
        .add(&upstream_table("http://127.0.0.1:9"))
        .add("[[issuer]]\nname = \"ci\"\nissuer = \"https://ci.example\"\njwks_uri = \"http://127.0.0.2:9/keys\"\n")
        .add(&format!("audiences = [\"x\"]\n{TABLES}"));
    let gateway = config.start().await;
    let key = Key::new("ci-1");
    let now = forger::now();
    let token = key.token(&json!({ "iss": ISSUER, "sub": "jo@example.com", "aud": "wandb", "exp": now + 60 }));
    let answer = exchange(&gateway, &token).await;
    let said = answer.expect(503).json();
    assert_eq!((said["error"].as_str(), said["reason"].as_str()), (Some("temporarily_unavailable"), Some("DW-8201")));
    assert_eq!(answer.header("retry-after"), "5");
}

#[tokio::test]
async fn a_registered_subject_gets_its_account_s_token() {
    let account = r#"
[[service_account]]
name = "deployer"
groups = ["ops"]
external_issuer = "ci"
external_subject = "repo:example/x:ref:refs/heads/main"
"#;
    let door = Door::with(Config::new(), &format!("{TABLES}{account}")).await;
    let assertion = door.assertion(json!({ "sub": "repo:example/x:ref:refs/heads/main" }));
    let token =
        door.exchange(&assertion).await.expect(200).json()["access_token"].as_str().expect("a token").to_owned();
    with_token(&door.gateway, "/runs", &token).await.expect(200);
    let seen = door.app.seen_at("/runs").pop().expect("it reached the app");
    assert_eq!((seen.one("x-forwarded-user"), seen.one("x-forwarded-groups")), ("deployer", "ops"));
    let refused = door.exchange(&door.assertion(json!({ "sub": "repo:example/x:ref:refs/heads/other" }))).await;
    assert_eq!((refused.status, refused.reason().as_str()), (400, "DW-8303"));
    // The account is gone, and its tokens with it.
    let gateway = door.gateway.restart(|config| config.tables = config.tables.replace(account, "")).await;
    let refused = with_token(&gateway, "/runs", &token).await;
    assert_eq!((refused.status, refused.reason().as_str()), (401, "DW-8104"));
}

#[tokio::test]
async fn a_revoked_assertion_is_not_exchanged_and_a_revoked_token_opens_nothing() {
    let door = Door::open().await;
    let (assertion, token) = (door.assertion(json!({ "jti": "stolen" })), door.token().await);
    door.exchange(&assertion).await.expect(200);
    let claims = token.split('.').nth(1).and_then(|part| URL_SAFE_NO_PAD.decode(part).ok()).expect("claims");
    let claims: Value = serde_json::from_slice(&claims).expect("JSON");
    let path = door.gateway.config.path().display().to_string();
    for id in ["stolen", claims["jti"].as_str().expect("jti")] {
        let (code, _, err) = doorward(&["token", "revoke", "--jti", id, "--config", &path]);
        assert_eq!(code, Some(0), "{err}");
    }
    // The file may have been read between the one and the other.
    eventually("the revocations are read", || async {
        let assertion = door.exchange(&assertion).await;
        let token = with_token(&door.gateway, "/runs", &token).await;
        (assertion.reason() == "DW-8013" && (token.status, token.reason().as_str()) == (401, "DW-8013")).then_some(())
    })
    .await;
    let fresh = door.token().await;
    with_token(&door.gateway, "/runs", &fresh).await.expect(200);
}

#[tokio::test]
async fn the_names_of_existing_deployments_configure_the_exchange_too() {
    let mut config = Config::new();
    config.env.push(("FEDERATED_AUTH_AUDIENCES".into(), "other, from-the-environment".into()));
    let door = Door::with(config, TABLES).await;
    let exchanged =
        async |door: &Door, audience| door.exchange(&door.assertion(json!({ "aud": audience }))).await.status;
    assert_eq!(exchanged(&door, "from-the-environment").await, 200);
    assert_eq!(exchanged(&door, "wandb").await, 400, "the environment wins over the file");
    let skip = ("SKIP_AUDIENCE_VALIDATION".to_owned(), "true".to_owned());
    let gateway = door.gateway.restart(|config| config.env = vec![skip]).await;
    gateway.ready().await;
    let door = Door { gateway, ..door };
    assert_eq!(exchanged(&door, "anything").await, 200);
    door.gateway.log_line(&["for any other service can be exchanged here"]).await;
}

#[tokio::test]
async fn a_resource_is_described_where_its_refusals_say() {
    let routes = r#"
[[route]]
path = "/api"
access = "bearer"
scopes = ["runs.read"]
resource_metadata = true

[[route]]
access = "public"
"#;
    let door = Door::with(
        Config::new(),
        &TABLES
            .replace("[[route]]\npath = \"/\"\naccess = \"bearer\"\n", routes)
            .replace("[[route]]\npath = \"/public\"\naccess = \"public\"\n", ""),
    )
    .await;
    let refused = get(&door.gateway, "/api/runs").await;
    let address = door.gateway.url("/.well-known/oauth-protected-resource/api");
    let challenge = refused.expect(401).header("www-authenticate").to_owned();
    assert!(challenge.contains(&format!("resource_metadata=\"{address}\"")), "{challenge}");
    let described = Person::new().request(Method::GET, &address, &[], None).await;
    assert_eq!(described.expect(200).header("cache-control"), "public, max-age=300");
    assert_eq!(
        described.json(),
        json!({
            "resource": door.gateway.url("/api"), "authorization_servers": [ISSUER, door.gateway.config.public_url],
            "scopes_supported": ["runs.read"], "bearer_methods_supported": ["header"],
        })
    );
    get(&door.gateway, "/.well-known/oauth-protected-resource").await.expect(200);
    assert_eq!(door.app.seen_at("/.well-known/oauth-protected-resource").len(), 1, "of another route: the app's");
    let own = with_token(&door.gateway, "/api/runs", &door.token().await).await;
    assert_eq!((own.status, own.reason().as_str()), (403, "DW-8012"), "the gateway's own tokens have no scope");
}

#[tokio::test]
async fn readiness_warns_where_assertions_for_anybody_can_be_exchanged() {
    let own = |body: &Value| {
        let issuers = body["issuers"].as_array().expect("issuers");
        issuers.iter().find(|issuer| issuer["name"] == "doorward").expect("the gateway's own")["warning"].clone()
    };
    let strict = Door::open().await;
    assert_eq!(own(&strict.gateway.readyz().await.1), Value::Null);
    let tables = TABLES.replace("audiences = [\"wandb\"]", "skip_audience_validation = true");
    let (status, body) = Door::with(Config::new(), &tables).await.gateway.readyz().await;
    assert!(status == 200 && own(&body).as_str().is_some_and(|text| text.contains("any other service")), "{body}");
}
