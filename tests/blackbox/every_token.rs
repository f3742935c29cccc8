//! Every form that a certified provider gives its ID tokens and userinfo answers, each by a whole sign-in.

use serde_json::{Value, json};

use crate::support::app::App;
use crate::support::gateway::{Config, Gateway, doorward};
use crate::support::person::{Answer, Person};
use crate::support::provider::{ALGORITHMS, Client, Provider};
use crate::support::setup::{ROUTES, provider_table, upstream_table};

struct Signed {
    gateway: Gateway,
    app: App,
    answer: Answer,
}

/// A sign-in of anna at a client registered with `metadata`, by a gateway with these keys.
async fn sign_in(provider: &Provider, metadata: Value, keys: impl FnOnce(&Client) -> String) -> Signed {
    let (app, config) = (App::start().await, Config::new());
    let client = provider.register(&config.public_url, metadata).await;
    let table = format!("{}{}\n", provider_table(provider, &client), keys(&client));
    let gateway = config.add(&table).add(&upstream_table(&app.url())).add(ROUTES).start().await;
    gateway.ready().await;
    let person = Person::new();
    let form = person.browse(&gateway.url("/page")).await;
    let answer = person.log_in(&form, provider.user("anna")).await;
    Signed { gateway, app, answer }
}

impl Signed {
    fn came_in(&self, why: &str) {
        assert_eq!(self.answer.status, 200, "{why}: {}\n{}", self.answer.text(), self.gateway.log_text());
        assert_eq!(self.app.seen_at("/page")[0].one("x-forwarded-email"), "anna@example.com", "{why}");
    }

    async fn refused(&self, why: &str, reason: &str, words: &str) {
        assert_eq!(self.answer.reason(), reason, "{why}: {}", self.answer.text());
        assert!(self.app.seen().is_empty(), "{why}");
        self.gateway.log_line(&[reason, words]).await;
    }
}

#[tokio::test]
async fn id_tokens_of_every_algorithm_sign_people_in() {
    let provider = Provider::complete();
    // This name of Ed25519 alone (RFC 9864) is not one that OpenID providers use for ID tokens yet.
    for algorithm in ALGORITHMS.into_iter().filter(|algorithm| *algorithm != "Ed25519") {
        let keys = |_: &Client| format!("id_token_algorithms = [{algorithm:?}]");
        sign_in(&provider, json!({"id_token_signed_response_alg": algorithm}), keys).await.came_in(algorithm);
    }
}

#[tokio::test]
async fn an_id_token_signed_with_the_client_secret_is_taken_only_where_that_is_configured() {
    let provider = Provider::complete();
    let metadata = json!({"id_token_signed_response_alg": "HS256"});
    let by_default = sign_in(&provider, metadata.clone(), |_| String::new()).await;
    by_default.refused("by default", "DW-3302", "HS256").await;
    let both = sign_in(&provider, metadata, |_| "id_token_algorithms = [\"RS256\", \"HS256\"]".into()).await;
    both.came_in("beside published keys");
}

#[tokio::test]
async fn encrypted_id_tokens_are_opened_with_our_key() {
    let provider = Provider::complete();
    let dir = tempfile::tempdir().expect("a folder");
    for (kind, algorithms) in [
        ("RSA", &["RSA-OAEP", "RSA-OAEP-256"][..]),
        ("P-256", &["ECDH-ES", "ECDH-ES+A128KW", "ECDH-ES+A256KW"]),
        ("P-384", &["ECDH-ES"]),
        ("P-521", &["ECDH-ES"]),
    ] {
        let key = provider.key(kind).await;
        let file = dir.path().join(format!("{kind}.pem"));
        std::fs::write(&file, &key.private).expect("a file");
        for algorithm in algorithms {
            for encryption in ["A128GCM", "A256GCM", "A128CBC-HS256", "A256CBC-HS512"] {
                let metadata = json!({
                    "id_token_encrypted_response_alg": algorithm, "id_token_encrypted_response_enc": encryption,
                    "jwks": {"keys": [key.entry("ours", algorithm, "enc")]},
                });
                let signed = sign_in(&provider, metadata, |_| format!("decryption_key_file = {file:?}")).await;
                signed.came_in(&format!("{kind} {algorithm} {encryption}"));
            }
        }
    }
}

#[tokio::test]
async fn an_encrypted_id_token_names_the_setting_that_is_missing_or_wrong() {
    let provider = Provider::complete();
    let (key, other) = (provider.key("RSA").await, provider.key("RSA").await);
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("other.pem");
    std::fs::write(&file, &other.private).expect("a file");
    let metadata = json!({
        "id_token_encrypted_response_alg": "RSA-OAEP-256", "id_token_encrypted_response_enc": "A256GCM",
        "jwks": {"keys": [key.entry("ours", "RSA-OAEP-256", "enc")]},
    });
    let without = sign_in(&provider, metadata.clone(), |_| String::new()).await;
    without.refused("no key", "DW-3311", "JWE").await;
    let wrong = sign_in(&provider, metadata, |_| format!("decryption_key_file = {file:?}")).await;
    wrong.refused("another key", "DW-3312", "not ours").await;
}

#[tokio::test]
async fn userinfo_is_read_as_json_signed_and_encrypted() {
    let provider = Provider::start(json!({"algorithms": ALGORITHMS, "claims_in_id_token": false}));
    let key = provider.key("RSA").await;
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("key.pem");
    std::fs::write(&file, &key.private).expect("a file");
    let jwks = json!({"keys": [key.entry("ours", "RSA-OAEP", "enc")]});
    let encrypted =
        json!({"userinfo_encrypted_response_alg": "RSA-OAEP", "userinfo_encrypted_response_enc": "A256GCM"});
    let table = [
        ("JSON", json!({})),
        ("signed", json!({"userinfo_signed_response_alg": "ES256"})),
        ("signed and encrypted", json!({"userinfo_signed_response_alg": "PS256"})),
    ];
    for (why, mut metadata) in table {
        if why.contains("encrypted") {
            metadata["jwks"] = jwks.clone();
            for (name, value) in encrypted.as_object().expect("an object") {
                metadata[name] = value.clone();
            }
        }
        let keys = |_: &Client| format!("userinfo = true\ndecryption_key_file = {file:?}");
        sign_in(&provider, metadata, keys).await.came_in(why);
    }
}

#[tokio::test]
async fn the_keys_that_the_command_prints_are_what_the_provider_has_to_know() {
    let provider = Provider::complete();
    let dir = tempfile::tempdir().expect("a folder");
    for kind in ["RSA", "P-256"] {
        let (signing, encryption) = (provider.key(kind).await, provider.key(kind).await);
        let write = |name: &str, pem: &str| {
            let file = dir.path().join(name);
            std::fs::write(&file, pem).expect("a file");
            file
        };
        let keys = format!(
            "client_key_file = {:?}\nclient_key_id = \"signs\"\ndecryption_key_file = {:?}\n",
            write("signing.pem", &signing.private),
            write("encryption.pem", &encryption.private)
        );
        let table = format!("[[provider]]\nissuer = {:?}\nclient_id = \"any\"\n{keys}", provider.issuer());
        let config = Config::new().add(&table).add(&upstream_table("http://127.0.0.1:9")).add(ROUTES);
        let path = config.path();
        std::fs::write(&path, config.text()).expect("a configuration");
        let (code, printed, errors) = doorward(&["client-keys", "--config", path.to_str().expect("text")]);
        assert_eq!(code, Some(0), "{errors}");
        let jwks: Value = serde_json::from_str(&printed).expect("a key set");
        assert_eq!(jwks["keys"].as_array().map(Vec::len), Some(2), "{kind}");
        for private in ["d", "p", "q", "k"] {
            assert!(
                jwks["keys"].as_array().is_some_and(|keys| keys.iter().all(|key| key[private].is_null())),
                "{private}"
            );
        }
        let algorithm = if kind == "RSA" { "RSA-OAEP-256" } else { "ECDH-ES" };
        let metadata = json!({
            "token_endpoint_auth_method": "private_key_jwt", "jwks": jwks,
            "id_token_encrypted_response_alg": algorithm, "id_token_encrypted_response_enc": "A256GCM",
        });
        let (app, config) = (App::start().await, Config::new());
        let client = provider.register(&config.public_url, metadata).await;
        let table = format!("[[provider]]\nissuer = {:?}\nclient_id = {:?}\n{keys}", provider.issuer(), client.id);
        let gateway = config.add(&table).add(&upstream_table(&app.url())).add(ROUTES).start().await;
        gateway.ready().await;
        let person = Person::new();
        let form = person.browse(&gateway.url("/page")).await;
        let answer = person.log_in(&form, provider.user("anna")).await;
        Signed { gateway, app, answer }.came_in(kind);
    }
}
