//! Tokens of a certified provider, whose keys are fetched: in every algorithm, while keys rotate, while it is down,
//! and tokens that only the provider itself can tell anything about.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Instant;

use reqwest::Method;
use serde_json::json;

use crate::support::app::App;
use crate::support::eventually;
use crate::support::forger::Key;
use crate::support::gateway::{Config, Gateway};
use crate::support::person::{Answer, Person};
use crate::support::provider::{Client, Provider};
use crate::support::setup::{provider_table, upstream_table};

const ALGORITHMS: [&str; 4] = ["RS256", "PS256", "ES256", "EdDSA"];
const ROUTE: &str = "[[route]]\naccess = \"bearer\"\n";

/// A gateway that takes the tokens of one provider, and a program that has them.
struct Api {
    provider: Provider,
    program: Client,
    gateway: Gateway,
    app: App,
    person: Person,
}

impl Api {
    /// With further keys of `[[issuer]]`.
    async fn start(provider: Provider, more: &str) -> Api {
        let (app, program) = (App::start().await, provider.program().await);
        let audience = if more.contains("any_audience") { "" } else { "audiences = [\"api\"]" };
        let entry = format!("[[issuer]]\nname = \"corp\"\nissuer = {:?}\n{audience}\n{more}\n", provider.issuer());
        let gateway = Config::new().add(&entry).add(&upstream_table(&app.url())).add(ROUTE).start().await;
        gateway.ready().await;
        Api { provider, program, gateway, app, person: Person::new() }
    }

    /// One that is asked about opaque tokens by a client of its own.
    async fn introspecting(provider: Provider, more: &str) -> Api {
        let client = provider.program().await;
        let more = format!(
            "introspection = true\nclient_id = {:?}\nclient_secret = {:?}\nuser_claim = \"client_id\"\n{more}",
            client.id, client.secret
        );
        Api::start(provider, &more).await
    }

    async fn ask(&self, token: &str) -> Answer {
        ask(&self.person, &self.gateway.url("/api/runs"), token).await
    }

    async fn jwt(&self, algorithm: &str) -> String {
        self.provider.access_token(&self.program, Some(algorithm)).await
    }

    async fn fetches(&self, outcome: &str) -> f64 {
        let labels = ["issuer=\"corp\"", &format!("outcome=\"{outcome}\"")];
        self.gateway.metric("doorward_issuer_key_fetches_total", &labels).await
    }
}

async fn ask(person: &Person, url: &str, token: &str) -> Answer {
    person.request(Method::GET, url, &[("authorization", &format!("Bearer {token}"))], None).await
}

fn own_provider() -> Provider {
    Provider::start(json!({ "algorithms": ALGORITHMS }))
}

#[tokio::test]
async fn tokens_of_a_certified_provider_pass_in_every_algorithm() {
    let api = Api::start(Provider::shared(), "").await;
    for algorithm in ALGORITHMS {
        let token = api.jwt(algorithm).await;
        for _ in 0..3 {
            api.ask(&token).await.expect(200);
        }
        let labels = ["issuer=\"corp\"", &format!("algorithm=\"{algorithm}\"")];
        let verified = api.gateway.metric("doorward_token_verification_seconds_count", &labels).await;
        assert!(verified >= 3.0, "{algorithm}: {verified}");
    }
    let seen = api.app.seen_at("/api/runs");
    assert_eq!(seen.len(), 3 * ALGORITHMS.len());
    for seen in seen {
        assert_eq!(seen.one("x-forwarded-user"), api.program.id);
        assert!(seen.all("authorization").is_empty());
    }
    assert_eq!(api.fetches("ok").await, 1.0);
    let fetched = api.gateway.metric("doorward_issuer_keys_fetched_timestamp_seconds", &["issuer=\"corp\""]).await;
    assert!(fetched > 1_700_000_000.0, "{fetched}");
}

#[tokio::test]
async fn an_issuer_that_is_the_sign_in_provider_is_known_by_its_own_spelling() {
    // The provider's own spelling has no slash after the host; the configuration's form of an address has.
    let (provider, app) = (Provider::shared(), App::start().await);
    let (config, program) = (Config::new(), provider.program().await);
    let client = provider.register(&config.public_url, json!({})).await;
    let entry = "[[issuer]]\nname = \"corp\"\nprovider = \"main\"\naudiences = [\"api\"]\nuser_claim = \"client_id\"\n";
    let tables = provider_table(&provider, &client) + "name = \"main\"\n" + entry + &upstream_table(&app.url()) + ROUTE;
    let gateway = config.add(&tables).start().await;
    gateway.ready().await;
    let token = provider.access_token(&program, Some("ES256")).await;
    ask(&Person::new(), &gateway.url("/"), &token).await.expect(200);
}

#[tokio::test]
async fn key_rotation_fails_no_request() {
    let api = Arc::new(Api::start(own_provider(), "refresh_every = \"1s\"").await);
    let (stop, passed) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let tokens = Arc::new(std::sync::Mutex::new(vec![api.jwt("RS256").await]));
    let mut running = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let (api, stop, passed, tokens) = (api.clone(), stop.clone(), passed.clone(), tokens.clone());
        running.spawn(async move {
            while !stop.load(SeqCst) {
                let number = passed.fetch_add(1, SeqCst);
                let token = {
                    let tokens = tokens.lock().expect("tokens");
                    tokens[number % tokens.len()].clone()
                };
                api.ask(&token).await.expect(200);
            }
        });
    }
    let url = api.gateway.url("/api/runs");
    for (round, algorithm) in ALGORITHMS.into_iter().enumerate() {
        api.provider.control("rotate", json!({ "keep": true })).await;
        let token = api.jwt(algorithm).await;
        if round > 0 {
            // As providers do it: a key is published for a while before it signs. One whole fetch is that while.
            let before = api.fetches("ok").await;
            eventually("the next fetch", || async { (api.fetches("ok").await >= before + 2.0).then_some(()) }).await;
        }
        // The first was not published before: the token itself is worth a fetch.
        ask(&Person::new(), &url, &token).await.expect(200);
        tokens.lock().expect("tokens").push(token);
        let enough = passed.load(SeqCst) + 40;
        eventually("requests", || async { (passed.load(SeqCst) >= enough).then_some(()) }).await;
    }
    stop.store(true, SeqCst);
    while let Some(ended) = running.join_next().await {
        ended.expect("every request passed");
    }

    // Keys that are taken back end the tokens that they signed.
    let old = tokens.lock().expect("tokens").clone();
    api.provider.control("rotate", json!({ "keep": false })).await;
    let refused = eventually("the old keys are gone", || async {
        let answer = api.ask(&old[0]).await;
        (answer.status != 200).then_some(answer)
    })
    .await;
    assert_eq!((refused.status, refused.reason().as_str()), (401, "DW-8005"), "{}", refused.text());
    for token in &old {
        assert_eq!(api.ask(token).await.status, 401, "also where it was in the cache");
    }
}

#[tokio::test]
async fn a_provider_that_is_down_fails_no_request_with_keys_that_are_known() {
    let api = Api::start(own_provider(), "refresh_every = \"500ms\"").await;
    let token = api.jwt("ES256").await;
    let fresh = api.jwt("RS256").await;
    api.provider.control("faults", json!({ "path": "/", "status": 502 })).await;
    eventually("failures", || async { (api.fetches("DW-6101").await >= 4.0).then_some(()) }).await;
    for token in [&token, &fresh, &token] {
        api.ask(token).await.expect(200);
    }
    assert_eq!(api.gateway.readyz().await.0, 200);
    let told = api.gateway.log_lines().iter().filter(|line| line.contains("keys cannot be fetched")).count();
    // The keys may fail first, while the metadata is still fresh.
    assert!(told <= 2, "the same trouble is told once: {}", api.gateway.log_text());
    api.provider.control("heal", json!({})).await;
    api.gateway.log_line(&["can be had again"]).await;
    api.ask(&token).await.expect(200);
}

#[tokio::test]
async fn a_gateway_that_starts_without_its_issuer_says_503_and_never_401() {
    let (provider, app) = (own_provider(), App::start().await);
    let program = provider.program().await;
    let token = provider.access_token(&program, Some("ES256")).await;
    provider.control("faults", json!({ "path": "/", "drop": true })).await;
    let entry = format!("[[issuer]]\nname = \"corp\"\nissuer = {:?}\naudiences = [\"api\"]\n", provider.issuer());
    let gateway = Config::new().add(&entry).add(&upstream_table(&app.url())).add(ROUTE).start().await;
    let answer = ask(&Person::new(), &gateway.url("/"), &token).await;
    assert_eq!((answer.status, answer.reason().as_str()), (503, "DW-8201"), "{}", answer.text());
    assert!(answer.header("retry-after").parse::<u32>().is_ok());
    let ready = eventually("the step that failed", || async {
        let (status, ready) = gateway.readyz().await;
        (status == 503 && ready["issuers"][0]["reason"] == "DW-6101").then_some(ready)
    })
    .await;
    assert!(ready["issuers"][0]["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{ready}");
    provider.control("heal", json!({})).await;
    gateway.ready().await;
    ask(&Person::new(), &gateway.url("/"), &token).await.expect(200);
    assert_eq!(app.seen().len(), 1);
}

#[tokio::test]
async fn a_flood_of_unknown_keys_reaches_the_issuer_a_bounded_number_of_times() {
    let api = Api::start(own_provider(), "").await;
    let key = Key::new("unknown");
    let claims = json!({ "iss": api.provider.issuer(), "aud": "api", "sub": "x", "exp": 4_000_000_000_u64 });
    let (before, began) = (api.provider.count("/jwks").await, Instant::now());
    let mut answers = std::collections::HashMap::new();
    for number in 0..300 {
        let header = json!({ "alg": "ES256", "typ": "at+jwt", "kid": format!("unknown-{number}") });
        let answer = api.ask(&key.sign(&header, &claims)).await;
        *answers.entry((answer.status, answer.reason())).or_insert(0) += 1;
    }
    // Those for whose sake keys were fetched are wrong. Nothing can be said about the others while the issuer is not asked
    // again: they may be of a key that it has published since.
    let (wrong, open) = ((401, "DW-8005".to_owned()), (503, "DW-8206".to_owned()));
    assert_eq!(answers.len(), 2, "{answers:?}");
    // One fetch in five seconds, however long this took.
    let most = 1 + began.elapsed().as_secs() as usize / 5;
    assert!((1..=most).contains(&answers[&wrong]), "at most {most}: {answers:?}");
    assert_eq!(answers[&wrong] + answers[&open], 300, "{answers:?}");
    // A token that is older than the keys is wrong, and is told so without asking.
    let old = json!({ "iss": api.provider.issuer(), "aud": "api", "sub": "x", "exp": 4_000_000_000_u64, "iat": 1 });
    let answer = api.ask(&key.sign(&json!({ "alg": "ES256", "kid": "unknown" }), &old)).await;
    assert_eq!((answer.status, answer.reason().as_str()), (401, "DW-8005"));
    let asked = api.provider.count("/jwks").await - before;
    let most = 1 + began.elapsed().as_secs() as usize / 5;
    assert!((1..=most).contains(&asked), "{asked}, and not at most {most}");
    assert!(api.app.seen().is_empty());
}

#[tokio::test]
async fn an_opaque_token_is_asked_about_and_refused_once_it_is_revoked() {
    let api = Api::introspecting(own_provider(), "any_audience = true\nintrospection_cache = \"2s\"").await;
    let token = api.provider.access_token(&api.program, None).await;
    let began = Instant::now();
    for _ in 0..20 {
        api.ask(&token).await.expect(200);
    }
    let asked = api.provider.count("/token/introspection").await;
    // Each is used for two seconds, however long this took.
    let most = 1 + began.elapsed().as_secs() as usize / 2;
    assert!((1..=most).contains(&asked), "the answer is used again: {asked}, and not at most {most}");
    let seen = api.app.seen_at("/api/runs");
    assert!(seen.iter().all(|seen| seen.one("x-forwarded-user") == api.program.id), "{seen:?}");

    api.provider.control("revoke", json!({ "model": "ClientCredentials" })).await;
    let refused = eventually("the answer is too old", || async {
        let answer = api.ask(&token).await;
        (answer.status != 200).then_some(answer)
    })
    .await;
    assert_eq!((refused.status, refused.reason().as_str()), (401, "DW-8013"), "{}", refused.text());
    assert!(!api.gateway.log_text().contains(&token), "no token in any log");
    let count = api.gateway.metric("doorward_introspections_total", &["outcome=\"inactive\""]).await;
    assert!(count >= 1.0);
    // JWTs of the same issuer are judged by its keys as ever.
    api.ask(&api.jwt("EdDSA").await).await.expect(200);
}

/// Names that people choose must not make them a service account.
#[tokio::test]
async fn a_token_without_a_subject_is_no_service_account_s() {
    let provider = own_provider();
    let named_like_one = provider.program().await;
    let more = format!(
        "any_audience = true\n[[service_account]]\nname = \"robot\"\nexternal_issuer = \"corp\"\nexternal_subject = {:?}\n",
        named_like_one.id
    );
    let api = Api::introspecting(provider, &more).await;
    api.ask(&api.provider.access_token(&named_like_one, None).await).await.expect(200);
    let seen = api.app.seen_at("/api/runs");
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].one("x-forwarded-user"), named_like_one.id, "itself, and not `robot`");
}

#[tokio::test]
async fn where_an_issuer_cannot_say_anything_about_a_token_the_answer_is_503() {
    let api = Api::introspecting(own_provider(), "any_audience = true").await;
    let token = api.provider.access_token(&api.program, None).await;
    for (fault, reason) in [
        (json!({ "path": "/token/introspection", "status": 500 }), "DW-8203"),
        (json!({ "path": "/token/introspection", "status": 200, "body": "{}" }), "DW-8203"),
        (json!({ "path": "/token/introspection", "drop": true }), "DW-8203"),
        (json!({ "path": "/token/introspection", "status": 401, "body": "{\"error\":\"invalid_client\"}" }), "DW-8204"),
    ] {
        let asked = api.provider.count("/token/introspection").await;
        api.provider.control("faults", fault.clone()).await;
        // After the last failure the issuer is left alone for a moment.
        let answer = eventually("it is asked again", || async {
            let answer = api.ask(&token).await;
            (api.provider.count("/token/introspection").await > asked).then_some(answer)
        })
        .await;
        assert_eq!((answer.status, answer.reason().as_str()), (503, reason), "{fault}: {}", answer.text());
        api.provider.control("heal", json!({})).await;
    }
    eventually("it answers again", || async { (api.ask(&token).await.status == 200).then_some(()) }).await;
}

#[tokio::test]
async fn a_key_file_that_changes_is_read_again_and_a_broken_one_is_not_believed() {
    let (config, app) = (Config::new(), App::start().await);
    let file = config.dir.path().join("keys.json");
    // As files are replaced: never half of one under the name.
    let replace = |text: String| {
        let next = file.with_extension("new");
        std::fs::write(&next, text).expect("written");
        std::fs::rename(&next, &file).expect("renamed");
    };
    let (first, second) = (Key::new("k1"), Key::new("k2"));
    let token = |key: &Key, kid: &str| {
        let claims = json!({ "iss": "https://ci.example", "aud": "api", "sub": "robot", "exp": 4_000_000_000_u64 });
        key.sign(&json!({ "alg": "ES256", "typ": "at+jwt", "kid": kid }), &claims)
    };
    let (old, new) = (token(&first, "k1"), token(&second, "k2"));
    replace(json!({ "keys": [first.jwk()] }).to_string());
    let entry = "[[issuer]]\nname = \"ci\"\nissuer = \"https://ci.example\"\njwks_file = \"keys.json\"\naudiences = \
                 [\"api\"]\n";
    let gateway = config.add(entry).add(&upstream_table(&app.url())).add(ROUTE).start().await;
    let (person, url) = (Person::new(), gateway.url("/"));
    ask(&person, &url, &old).await.expect(200);

    replace(json!({ "keys": [second.jwk()] }).to_string());
    ask(&person, &url, &new).await.expect(200);
    assert_eq!(ask(&person, &url, &old).await.reason(), "DW-8005", "also where it was in the cache");

    replace("{\"keys\":".into());
    gateway.log_line(&["keys cannot be fetched", "keys.json"]).await;
    ask(&person, &url, &new).await.expect(200);
    replace(json!({ "keys": [second.jwk(), first.jwk()] }).to_string());
    gateway.log_line(&["the issuer has new keys", "`k1`"]).await;
    ask(&person, &url, &old).await.expect(200);
}

#[tokio::test]
async fn an_issuer_is_asked_at_its_address_and_its_tokens_are_held_to_its_name() {
    let settings = json!({ "algorithms": ALGORITHMS, "issuer": "https://login.example.com/realms/main" });
    let provider = Provider::start(settings);
    // Below the path of the issuer, of which this provider knows nothing.
    let metadata = json!({
        "issuer": provider.issuer(),
        "jwks_uri": "https://login.example.com/jwks",
        "introspection_endpoint": format!("{}/token/introspection", provider.address()),
    });
    let path = "/realms/main/.well-known/openid-configuration";
    provider.control("faults", json!({ "path": path, "status": 200, "body": metadata.to_string() })).await;
    let more = format!("address = {:?}\nany_audience = true\nintrospection_cache = \"1s\"", provider.address());
    let api = Api::introspecting(provider, &more).await;
    api.ask(&api.jwt("PS256").await).await.expect(200);
    api.ask(&api.provider.access_token(&api.program, None).await).await.expect(200);
    for path in ["/jwks", "/token/introspection"] {
        assert!(api.provider.count(path).await >= 1, "{path}");
    }
}
