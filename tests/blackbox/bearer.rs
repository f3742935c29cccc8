//! Routes for programs: tokens of an issuer whose keys are in a file, so that only the gateway is asked.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::app::App;
use crate::support::eventually;
use crate::support::forger::{self, Key};
use crate::support::gateway::{Config, Gateway};
use crate::support::person::{Answer, Person};
use crate::support::provider::Provider;
use crate::support::setup::{provider_table, upstream_table};

const ISS: &str = "https://ci.example";

/// A gateway that takes tokens of one key, and the app behind it.
struct Api {
    gateway: Gateway,
    app: App,
    key: Key,
    person: Person,
}

impl Api {
    /// With further keys of `[[issuer]]`, and these tables.
    async fn start(issuer: &str, tables: &str) -> Self {
        Self::start_with(Config::new(), issuer, tables).await
    }

    async fn start_with(config: Config, issuer: &str, tables: &str) -> Self {
        let (app, key) = (App::start().await, Key::new("k1"));
        let keys = json!({"keys": [key.jwk()]});
        std::fs::write(config.dir.path().join("keys.json"), keys.to_string()).expect("keys.json");
        let entry = format!("[[issuer]]\nname = \"ci\"\nissuer = {ISS:?}\njwks_file = \"keys.json\"\n{issuer}\n");
        let gateway = config.add(&entry).add(&upstream_table(&app.url())).add(tables).start().await;
        gateway.ready().await;
        Api { gateway, app, key, person: Person::new() }
    }

    async fn usual() -> Self {
        Self::start("audiences = [\"api\"]", ROUTES).await
    }

    /// What comes of `token` at `path`.
    async fn ask(&self, path: &str, token: &str) -> Answer {
        self.send(path, &[("authorization", &format!("Bearer {token}"))]).await
    }

    async fn send(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.person.request(Method::GET, &self.gateway.url(path), headers, None).await
    }

    fn token(&self, changes: Value) -> String {
        self.key.sign(&json!({"alg": "ES256", "typ": "at+jwt", "kid": "k1"}), &claims(changes))
    }
}

const ROUTES: &str = r#"
[[route]]
path = "/api"
access = "bearer"

[[route]]
path = "/keep"
access = "bearer"
forward_token = true

[[route]]
path = "/write"
access = "bearer"
audiences = ["experiments"]
scopes = ["runs.write"]
resource_metadata = true

[[route]]
path = "/ops"
access = "bearer"
allow = { groups = ["ops"] }

[[route]]
path = "/public"
access = "public"
"#;

/// Claims of a good token, with `changes`; `null` takes a claim away.
fn claims(changes: Value) -> Value {
    let now = forger::now();
    let mut claims = json!({
        "iss": ISS, "sub": "robot-7", "aud": "api", "exp": now + 600, "iat": now, "email": "robot@example.com",
        "groups": ["ci", "nightly"],
    });
    for (name, value) in changes.as_object().expect("changes") {
        match value {
            Value::Null => claims.as_object_mut().expect("claims").remove(name),
            value => claims.as_object_mut().expect("claims").insert(name.clone(), value.clone()),
        };
    }
    claims
}

#[tokio::test]
async fn a_good_token_passes_and_the_app_reads_who_it_is_and_no_token() {
    let api = Api::usual().await;
    let token = api.token(json!({}));
    for _ in 0..4 {
        // Fresh, then from the cache: nothing may differ.
        api.ask("/api/runs", &token).await.expect(200);
    }
    api.ask("/keep/runs", &token).await.expect(200);
    let basic = format!("Basic {}", STANDARD.encode(format!("api:{token}")));
    api.send("/api/basic", &[("authorization", &basic)]).await.expect(200);
    for seen in api.app.seen_at("/api/runs").iter().chain(&api.app.seen_at("/api/basic")) {
        assert_eq!(seen.one("x-forwarded-user"), "robot-7");
        assert_eq!(seen.one("x-forwarded-email"), "robot@example.com");
        assert_eq!(seen.one("x-forwarded-groups"), "ci,nightly");
        assert!(seen.all("authorization").is_empty(), "the app gets no credential that it has no use for");
    }
    assert_eq!(api.app.seen_at("/api/runs").len(), 4);
    assert_eq!(api.app.seen_at("/keep/runs")[0].one("authorization"), format!("Bearer {token}"));
    for (answer, least) in [("answer=\"signature\"", 1.0), ("answer=\"cache\"", 2.0)] {
        let labels = ["issuer=\"ci\"", "algorithm=\"ES256\"", answer];
        let count = api.gateway.metric("doorward_token_verification_seconds_count", &labels).await;
        assert!(count >= least, "{answer}: {count}");
    }
    assert_eq!(api.gateway.metric("doorward_token_cache_entries", &[]).await, 1.0);
    let line = api.gateway.log_line(&["access", "/api/runs"]).await;
    assert!(line.contains("user=robot-7 issuer=ci"), "{line}");
    for path in ["/keep/runs", "/api/basic"] {
        api.gateway.log_line(&["access", path]).await;
    }
    assert!(!api.gateway.log_text().contains(&token[..60]), "no token in any log");
}

#[tokio::test]
async fn nothing_but_a_token_opens_a_route_for_programs_and_nobody_is_redirected() {
    let api = Api::usual().await;
    let answer = api.send("/api", &[]).await;
    assert_eq!((answer.status, answer.reason().as_str()), (401, "DW-8001"));
    assert_eq!(answer.header("www-authenticate"), "Bearer realm=\"doorward\"");
    let browser = api.person.open(&api.gateway.url("/api")).await;
    assert_eq!(browser.status, 401, "a browser is not sent to sign in either");
    assert!(api.app.seen().is_empty());
}

#[tokio::test]
async fn a_refusal_says_expected_and_got_in_the_three_places_where_clients_look() {
    let api = Api::usual().await;
    let answer = api.ask("/write", &api.token(json!({"aud": ["api", "reports"]}))).await;
    assert_eq!((answer.status, answer.reason().as_str()), (401, "DW-8009"));
    let body = answer.json();
    let text = body["error_description"].as_str().expect("a text");
    assert!(text.starts_with("Audience is 'api', 'reports'; this route takes 'experiments'"), "{text}");
    assert_eq!(
        (&body["error"], &body["errors"][0]["message"]),
        (&body["error_description"], &body["error_description"])
    );
    let challenge = answer.header("www-authenticate");
    for part in [
        "Bearer realm=\"doorward\"",
        "error=\"invalid_token\"",
        "error_description=\"audience is 'api', 'reports'; this route takes 'experiments'\"",
        "scope=\"runs.write\"",
        "/.well-known/oauth-protected-resource/write\"",
    ] {
        assert!(challenge.contains(part), "{part} in {challenge}");
    }
    assert!(body["reference"].as_str().is_some_and(|reference| !reference.is_empty()));
    assert_eq!(answer.header("cache-control"), "no-store");
}

#[tokio::test]
async fn right_signature_and_wrong_claims_are_refused_fresh_and_from_the_cache() {
    let api = Api::usual().await;
    let now = forger::now();
    for (changes, status, reason) in [
        (json!({"aud": "other"}), 401, "DW-8009"),
        (json!({"aud": []}), 401, "DW-8009"),
        (json!({"aud": null}), 401, "DW-8009"),
        (json!({"iss": "https://ci.example/"}), 401, "DW-8004"),
        (json!({"iss": "https://evil.example"}), 401, "DW-8004"),
        (json!({"exp": null}), 401, "DW-8002"),
        (json!({"exp": format!("{}", now + 600)}), 401, "DW-8002"),
        (json!({"exp": 1e300}), 401, "DW-8002"),
        (json!({"exp": now - 120}), 401, "DW-8007"),
        (json!({"nbf": now + 86_400}), 401, "DW-8008"),
        (json!({"iat": now + 86_400}), 401, "DW-8008"),
        (json!({"nonce": "n"}), 401, "DW-8010"),
        (json!({"token_use": "id"}), 401, "DW-8010"),
        (json!({"token_use": "refresh"}), 401, "DW-8010"),
        (json!({"typ": "Refresh"}), 401, "DW-8010"),
        (json!({"sub": " admin"}), 401, "DW-8015"),
        (json!({"events": {"http://schemas.openid.net/event/backchannel-logout": {}}}), 401, "DW-8010"),
        (json!({"sub": null}), 401, "DW-8002"),
    ] {
        // What says `at+jwt` is an access token, whatever else it holds.
        let plain = changes.get("nonce").or(changes.get("events")).is_some();
        let token = if plain { api.key.token(&claims(changes.clone())) } else { api.token(changes.clone()) };
        for round in 0..3 {
            let answer = api.ask("/api", &token).await;
            let got = answer.reason();
            // A token without a subject is malformed or nobody's: both are refusals.
            let fits = got == reason || (changes.get("sub").is_some() && got == "DW-8015");
            assert!(answer.status == status && fits, "{changes} round {round}: {} {}", answer.status, answer.text());
        }
    }
    assert!(api.app.seen().is_empty(), "nothing reached the app");
}

#[tokio::test]
async fn a_token_that_ends_while_it_is_in_the_cache_is_refused() {
    let api = Api::start("audiences = [\"api\"]\nleeway = \"0s\"", ROUTES).await;
    // One that lives long enough for three requests, however busy the machine is.
    let mut lives = 2;
    let token = loop {
        lives *= 2;
        let end = forger::now() + lives;
        let token = api.token(json!({"exp": end}));
        let answers = [api.ask("/api", &token).await, api.ask("/api", &token).await, api.ask("/api", &token).await];
        if forger::now() < end {
            for answer in &answers {
                answer.expect(200);
            }
            break token;
        }
    };
    eventually("its end", || async { (api.ask("/api", &token).await.reason() == "DW-8007").then_some(()) }).await;
}

#[tokio::test]
async fn forged_and_broken_tokens_are_refused_by_name() {
    let api = Api::usual().await;
    let good = api.token(json!({}));
    let (head, signature) = good.rsplit_once('.').expect("a signature");
    let stranger = Key::new("k1").token(&claims(json!({})));
    let unknown = Key::new("k2").token(&claims(json!({})));
    let none = |alg: &str| format!("{}.", forger::unsigned(&json!({"alg": alg, "typ": "JWT"}), &claims(json!({}))));
    for (token, reason) in [
        (stranger, "DW-8006"),
        (unknown, "DW-8005"),
        (none("none"), "DW-8003"),
        (none("NONE"), "DW-8003"),
        (none("HS256"), "DW-8003"),
        (format!("{head}.{}", "A".repeat(signature.len())), "DW-8006"),
        (format!("{head}."), "DW-8006"),
        (head.to_owned(), "DW-8002"),
        (format!("{good}.x"), "DW-8002"),
        (".".repeat(1000), "DW-8002"),
        ("x".repeat(20_000), "DW-8002"),
        (
            api.key.sign(&json!({"alg": "ES256", "kid": "k1", "crit": ["b64"], "b64": false}), &claims(json!({}))),
            "DW-8002",
        ),
        (api.key.sign(&json!({"alg": "ES256", "jwk": api.key.jwk()}), &claims(json!({}))), "DW-8002"),
        (api.key.sign(&json!({"alg": "ES256", "kid": "k1", "typ": "logout+jwt"}), &claims(json!({}))), "DW-8010"),
        (api.key.sign_raw("[]"), "DW-8002"),
        (api.key.sign_raw(&"[".repeat(5000)), "DW-8002"),
    ] {
        let answer = api.ask("/api", &token).await;
        let shown = &token[..token.len().min(80)];
        assert_eq!((answer.status, answer.reason().as_str()), (401, reason), "{shown}: {}", answer.text());
        assert!(answer.header("www-authenticate").contains("error=\"invalid_token\""), "{shown}");
    }
    // Each refusal counts once.
    eventually("the refusals are counted", || async {
        let signatures = api.gateway.metric("doorward_requests_total", &["reason=\"DW-8006\""]).await;
        let keys = api.gateway.metric("doorward_requests_total", &["reason=\"DW-8005\""]).await;
        ((signatures, keys) == (3.0, 1.0)).then_some(())
    })
    .await;
    assert!(api.app.seen().is_empty());
}

#[tokio::test]
async fn a_good_token_without_the_right_is_forbidden_and_told_what_it_lacks() {
    let api = Api::usual().await;
    let scoped = api.token(json!({"aud": "experiments", "scope": "runs.read openid"}));
    // The issuer's entry asks for `api`.
    assert_eq!(api.ask("/write", &scoped).await.reason(), "DW-8009");
    let both = api.token(json!({"aud": ["api", "experiments"], "scope": "runs.read openid"}));
    let answer = api.ask("/write", &both).await;
    assert_eq!((answer.status, answer.reason().as_str()), (403, "DW-8012"));
    let challenge = answer.header("www-authenticate");
    assert!(challenge.contains("error=\"insufficient_scope\""), "{challenge}");
    assert!(challenge.contains("scope is 'runs.read', 'openid'; this route needs 'runs.write'"), "{challenge}");
    let writes = api.token(json!({"aud": ["api", "experiments"], "scp": ["runs.write"]}));
    api.ask("/write", &writes).await.expect(200);

    let answer = api.ask("/ops", &both).await;
    assert_eq!((answer.status, answer.reason().as_str()), (403, "DW-5001"));
    assert!(answer.header("www-authenticate").contains("insufficient_scope"));
    api.gateway.log_line(&["audit", "robot", "DW-5001", "deny"]).await;
    api.ask("/ops", &api.token(json!({"groups": ["ops"]}))).await.expect(200);
}

#[tokio::test]
async fn a_program_that_says_it_reads_pages_is_told_in_json_all_the_same() {
    let api = Api::usual().await;
    let token = format!("Bearer {}", api.token(json!({})));
    let java = ("accept", "text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2");
    let answer = api.send("/ops", &[("authorization", &token), java]).await;
    assert_eq!((answer.status, answer.header("content-type")), (403, "application/json"), "{}", answer.text());
}

#[tokio::test]
async fn a_key_is_nothing_for_apps_wherever_it_is_sent() {
    let api = Api::usual().await;
    let basic = format!("Basic {}", STANDARD.encode("api:dwk_abc"));
    for header in ["Bearer dwk_abc", "Bearer \"dwk_abc\"", &basic, "Bearer of-the-app's-own"] {
        api.send("/public/x", &[("authorization", header)]).await.expect(200);
    }
    let seen: Vec<_> = api.app.seen_at("/public/x").iter().map(|seen| seen.all("authorization").len()).collect();
    assert_eq!(seen, [0, 0, 0, 1]);
}

#[tokio::test]
async fn a_token_where_people_sign_in_is_told_what_the_route_takes() {
    let provider = Provider::shared();
    let config = Config::new();
    let client = provider.register(&config.public_url, json!({})).await;
    let tables = format!("{}\n[[route]]\npath = \"/\"\n", provider_table(&provider, &client));
    let api = Api::start_with(config, "audiences = [\"api\"]", &tables).await;
    let answer = api.ask("/x", &api.token(json!({}))).await;
    assert_eq!((answer.status, answer.reason().as_str()), (401, "DW-8016"), "{}", answer.text());
}

#[tokio::test]
async fn a_credential_on_a_preflight_that_nobody_judged_does_not_reach_the_app() {
    let tables = "[[route]]\naccess = \"bearer\"\npreflight = true\n";
    let api = Api::start("audiences = [\"api\"]", tables).await;
    let headers =
        [("origin", "https://x.example"), ("access-control-request-method", "GET"), ("authorization", "Basic YTpi")];
    api.person.request(Method::OPTIONS, &api.gateway.url("/p"), &headers, None).await.expect(200);
    assert!(api.app.seen_at("/p")[0].all("authorization").is_empty());
}

#[tokio::test]
async fn a_bad_token_beside_a_good_session_never_falls_through_to_it() {
    let provider = Provider::shared();
    let config = Config::new();
    let client = provider.register(&config.public_url, json!({})).await;
    let tables =
        format!("{}\n[[route]]\npath = \"/\"\naccess = \"signed-in-or-bearer\"\n", provider_table(&provider, &client));
    let api = Api::start_with(config, "audiences = [\"api\"]", &tables).await;
    let anna = Person::new();
    anna.sign_in(&api.gateway.url("/page"), provider.user("anna")).await;
    anna.fetch(&api.gateway.url("/x")).await.expect(200);
    let good = format!("Bearer {}", api.token(json!({})));
    for header in ["Bearer bad", "Bearer", "Basic x", "Negotiate abc", "bearer dwk_wrong"] {
        let answer = anna.request(Method::GET, &api.gateway.url("/bad"), &[("authorization", header)], None).await;
        assert_eq!(answer.status, 401, "{header}: {}", answer.text());
        assert!(answer.reason().starts_with("DW-8"), "{header}");
    }
    assert!(api.app.seen_at("/bad").is_empty());
    anna.request(Method::GET, &api.gateway.url("/both"), &[("authorization", &good)], None).await.expect(200);
    assert_eq!(api.app.seen_at("/both")[0].one("x-forwarded-user"), "robot-7", "the token decides");
    // Nobody at all: a person is sent to sign in, a program is told both ways.
    assert_eq!(Person::new().open(&api.gateway.url("/page")).await.status, 303);
    let answer = Person::new().fetch(&api.gateway.url("/x")).await;
    assert_eq!(answer.status, 401);
    assert!(answer.header("www-authenticate").starts_with("Bearer"), "{}", answer.header("www-authenticate"));
}

#[tokio::test]
async fn two_credentials_are_refused_and_other_headers_change_nothing() {
    let api = Api::usual().await;
    let token = format!("Bearer {}", api.token(json!({})));
    let answer = api.send("/api", &[("authorization", &token), ("authorization", &token)]).await;
    assert_eq!((answer.status, answer.reason().as_str()), (400, "DW-1006"));
    let headers = [
        ("user-agent", "kube-probe/1.0"),
        ("x-forwarded-user", "admin"),
        ("x-http-method-override", "GET"),
        ("x-wandb-username", "admin"),
        ("x-wandb-user-email", "admin@example.com"),
    ];
    assert_eq!(api.send("/api", &headers).await.status, 401);
    let with = [&headers[..], &[("authorization", token.as_str())]].concat();
    api.send("/api/x", &with).await.expect(200);
    let seen = &api.app.seen_at("/api/x")[0];
    assert_eq!(seen.all("x-forwarded-user"), ["robot-7"]);
    assert!(seen.all("x-wandb-username").is_empty() && seen.all("x-wandb-user-email").is_empty());
    // A token in the address is no credential.
    let in_query = api.send(&format!("/api?access_token={}", &token[7..]), &[]).await;
    assert_eq!(in_query.status, 401);
}

#[tokio::test]
async fn two_issuers_keep_their_keys_to_themselves() {
    let config = Config::new();
    let other = Key::new("k1");
    std::fs::write(config.dir.path().join("other.json"), json!({"keys": [other.jwk()]}).to_string()).expect("keys");
    let tables = "[[issuer]]\nname = \"other\"\nissuer = \"https://other.example\"\njwks_file = \"other.json\"\n\
                  audiences = [\"api\"]\n[[route]]\npath = \"/ci\"\naccess = \"bearer\"\nissuers = [\"ci\"]\n\
                  [[route]]\npath = \"/any\"\naccess = \"bearer\"\n";
    let api = Api::start_with(config, "audiences = [\"api\"]", tables).await;
    let of_other = other.token(&claims(json!({"iss": "https://other.example"})));
    for _ in 0..3 {
        api.ask("/any", &of_other).await.expect(200);
        let answer = api.ask("/ci", &of_other).await;
        assert_eq!((answer.status, answer.reason().as_str()), (401, "DW-8004"), "{}", answer.text());
        assert!(answer.text().contains("Issuer is 'other'; accepted is 'ci'"));
    }
    // A's claims under B's key, whose id is the same.
    assert_eq!(api.ask("/any", &other.token(&claims(json!({})))).await.reason(), "DW-8006");
}

#[tokio::test]
async fn readiness_tells_of_issuers_and_warns_of_tokens_for_anybody() {
    let api = Api::start("any_audience = true", "[[route]]\naccess = \"bearer\"\n").await;
    api.ask("/x", &api.token(json!({"aud": null}))).await.expect(200);
    let (status, body) = api.gateway.readyz().await;
    assert_eq!((status, &body["issuers"][0]["name"]), (200, &json!("ci")));
    assert!(body["issuers"][0]["warning"].as_str().is_some_and(|text| text.contains("any other service")), "{body}");
    api.gateway.log_line(&["any other service"]).await;
}
