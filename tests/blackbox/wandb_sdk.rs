//! W&B's SDK, as it comes from PyPI, does a run through the gateway: with a key, and with a JWT that it exchanges. What
//! the gateway refuses, it shows in the gateway's own words.

use serde_json::{Value, json};

use crate::support::app::Seen;
use crate::support::forger::{Key, now};
use crate::support::gateway::{Config, Gateway, doorward};
use crate::support::setup::upstream_table;
use crate::support::wandb::{Sdk, VERSIONS, WandbApp};

const TABLES: &str = r#"
[[issuer]]
name = "ci"
issuer = "https://ci.example"
audiences = ["experiments"]
jwks_file = "keys.json"

[federation]
audiences = ["wandb"]
allow = { email_domains = ["example.com"] }

[[service_account]]
name = "ci-runner"
email = "ci@example.com"
acts_for = ["@example.org"]

[[service_account]]
name = "nightly"
external_issuer = "ci"
external_subject = "repo:a/b"

[[route]]
access = "bearer"
attribution = true
"#;

/// The SDK's side and the app's, with a gateway between them.
struct Scene {
    gateway: Gateway,
    app: WandbApp,
    signer: Key,
    key: String,
}

async fn scene() -> Scene {
    let (app, signer) = (WandbApp::start().await, Key::new("k1"));
    let config = Config::new().add(&upstream_table(&app.url())).add(TABLES);
    let keys = json!({"keys": [signer.jwk()]}).to_string();
    std::fs::write(config.dir.path().join("keys.json"), keys).expect("keys.json");
    std::fs::write(config.path(), config.text()).expect("gateway.toml");
    let path = config.path().display().to_string();
    let (code, key, err) = doorward(&["service-account", "new-key", "ci-runner", "--config", &path]);
    assert_eq!(code, Some(0), "{err}");
    let gateway = config.start().await;
    Scene { gateway, app, signer, key: key.trim_end().to_owned() }
}

impl Scene {
    async fn with_key(&self, sdk: &Sdk, key: &str) -> (bool, String) {
        sdk.run(&self.gateway.config.public_url, ("WANDB_API_KEY", key)).await
    }

    /// A run whose identity is an assertion with these claims beside those that every good one has.
    async fn with_assertion(&self, sdk: &Sdk, claims: Value) -> (bool, String) {
        let file = self.write_assertion(claims);
        sdk.run(&self.gateway.config.public_url, ("WANDB_IDENTITY_TOKEN_FILE", &file)).await
    }

    fn write_assertion(&self, claims: Value) -> String {
        let mut all = json!({"iss": "https://ci.example", "aud": "wandb", "iat": now(), "exp": now() + 600});
        for (name, value) in claims.as_object().expect("claims") {
            all[name] = value.clone();
        }
        let file = self.gateway.config.dir.path().join("assertion.jwt");
        // As tools write files: with a line break at the end.
        std::fs::write(&file, format!("{}\n", self.signer.token(&all))).expect("the assertion");
        file.display().to_string()
    }

    /// Everything that a run sends arrived, as `user`'s and without a credential.
    fn arrived_as(&self, user: &str, email: &str, note: &str) {
        let seen = self.app.seen();
        let to = |path: &str| seen.iter().filter(|request| request.target.contains(path)).collect::<Vec<_>>();
        assert!(to("/graphql").len() >= 3 && !to("/file_stream").is_empty(), "{seen:#?}");
        for request in &seen {
            assert_eq!(
                (request.one("x-forwarded-user"), request.one("x-forwarded-email")),
                (user, email),
                "{request:#?}"
            );
            assert!(request.one("authorization").is_empty(), "{request:#?}");
            assert!(request.one("x-wandb-username").is_empty(), "{request:#?}");
        }
        // The newer SDK asks the app for the address of whoever it is, and says it in later requests.
        let noted = |request: &&Seen| !request.one("x-wandb-user-email").is_empty();
        for request in seen.iter().filter(noted) {
            assert_eq!(request.one("x-wandb-user-email"), note, "{request:#?}");
        }
        assert_eq!(self.app.losses(), [1.0, 0.5, 1.0 / 3.0]);
    }
}

#[tokio::test]
async fn a_run_with_a_key_completes_as_the_service_account() {
    for version in VERSIONS {
        let scene = scene().await;
        let (finished, output) = scene.with_key(&Sdk::new(version), &scene.key).await;
        assert!(finished, "{version}: {output}");
        scene.arrived_as("ci-runner", "ci@example.com", "ci@example.com");
    }
}

#[tokio::test]
async fn a_run_with_a_whole_token_in_the_place_of_the_key_completes_as_whoever_it_names() {
    let scene = scene().await;
    let claims = json!({"iss": "https://ci.example", "aud": "experiments", "sub": "repo:a/b", "exp": now() + 600});
    let (finished, output) = scene.with_key(&Sdk::new(VERSIONS[0]), &scene.signer.token(&claims)).await;
    assert!(finished, "{output}");
    scene.arrived_as("nightly", "", "");
}

#[tokio::test]
async fn a_wrong_key_is_refused_in_the_gateways_own_words() {
    let scene = scene().await;
    let wrong = format!("{}{}", &scene.key[..52], if scene.key.ends_with('0') { '1' } else { '0' });
    for version in VERSIONS {
        let (finished, output) = scene.with_key(&Sdk::new(version), &wrong).await;
        assert!(!finished, "{version}: {output}");
        assert!(output.contains("checksum is wrong. Copy the whole key."), "{version}: {output}");
        assert!(!output.contains("Sign in") && !output.contains("<html"), "{version}: {output}");
    }
    assert!(scene.app.seen().is_empty(), "nothing of it reached the app");
}

#[tokio::test]
async fn a_run_with_an_exchanged_assertion_completes_as_the_person_or_the_account() {
    for version in VERSIONS {
        let scene = scene().await;
        let (finished, output) = scene.with_assertion(&Sdk::new(version), json!({"sub": "ada@example.com"})).await;
        assert!(finished, "{version}: {output}");
        scene.arrived_as("ada@example.com", "ada@example.com", "");
    }
    let scene = scene().await;
    let (finished, output) = scene.with_assertion(&Sdk::new(VERSIONS[0]), json!({"sub": "repo:a/b"})).await;
    assert!(finished, "{output}");
    scene.arrived_as("nightly", "", "");
}

#[tokio::test]
async fn a_token_outlives_a_restart_of_the_gateway() {
    for version in VERSIONS {
        let (mut scene, sdk) = (scene().await, Sdk::new(version));
        sdk.pause();
        let (url, file) =
            (scene.gateway.config.public_url.clone(), scene.write_assertion(json!({"sub": "ada@example.com"})));
        let restart = async {
            sdk.pausing().await;
            // What the token was made from is of no use any more.
            scene.write_assertion(json!({"sub": "ada@example.com", "exp": now() - 600}));
            // As an operator stops it: what is under way is answered. Of a process that is killed, the SDK would send
            // again what the app already has.
            scene.gateway.signal("TERM");
            scene.gateway.ended().await;
            scene.gateway = scene.gateway.restart(|_| {}).await;
            sdk.go_on();
            scene
        };
        let ((finished, output), scene) = tokio::join!(sdk.run(&url, ("WANDB_IDENTITY_TOKEN_FILE", &file)), restart);
        assert!(finished, "{version}: {output}");
        scene.arrived_as("ada@example.com", "ada@example.com", "");
        // The gateway of after the restart was asked.
        scene.gateway.log_line(&["file_stream"]).await;
    }
}

#[tokio::test]
async fn an_assertion_that_is_refused_is_refused_in_the_gateways_own_words() {
    let scene = scene().await;
    let [new, old] = VERSIONS;
    let expired = json!({"sub": "ada@example.com", "exp": now() - 912});
    for (version, claims, words) in [
        (new, expired.clone(), "s ago; refresh the file in WANDB_IDENTITY_TOKEN_FILE"),
        (old, expired, "s ago; refresh the file in WANDB_IDENTITY_TOKEN_FILE"),
        (new, json!({"sub": "mallory@elsewhere.example"}), "rules do not name 'mallory@elsewhere.example'"),
        (new, json!({"sub": "repo:c/d"}), "'repo:c/d', neither an e-mail address nor a registered service account"),
        (new, json!({"sub": "ada@example.com", "aud": "another"}), "'another'"),
    ] {
        let (finished, output) = scene.with_assertion(&Sdk::new(version), claims.clone()).await;
        assert!(!finished, "{version} {claims}: {output}");
        assert!(output.contains("error_description") && output.contains(words), "{version} {claims}: {output}");
    }
    assert!(scene.app.seen().is_empty(), "nothing of it reached the app");
}
