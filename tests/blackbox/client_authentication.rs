//! Every way in which the gateway authenticates itself to a certified provider, each by a whole sign-in that renews its
//! session: exactly one way at a time, for the code as for the refresh token.

use std::path::Path;

use serde_json::{Value, json};

use crate::support::app::App;
use crate::support::gateway::{Config, Gateway};
use crate::support::person::{Answer, Person};
use crate::support::provider::{Client, Provider};
use crate::support::setup::{ROUTES, upstream_table};
use crate::support::tls::{Authority, Leaf};

/// Tokens of the provider hold for less than they are renewed ahead, so that the first request renews them.
const RENEWING: &str = "[session]\nrefresh = true\nrefresh_ahead = \"60s\"\n";

struct Scene {
    gateway: Gateway,
    app: App,
    person: Person,
    answer: Answer,
    provider: Provider,
    client: Client,
}

fn person(provider: &Provider) -> Person {
    match provider.issuer().starts_with("https") {
        false => Person::new(),
        true => {
            let pem = std::fs::read(provider.ca_file()).expect("a certificate");
            let root = reqwest::Certificate::from_pem(&pem).expect("PEM");
            Person::with(reqwest::Client::builder().tls_certs_only([root]))
        }
    }
}

/// Somebody signs in at a client registered with `metadata`; `keys` go into `[[provider]]` beside issuer and client id.
async fn sign_in(provider: Provider, mut metadata: Value, keys: impl FnOnce(&Client) -> String) -> Scene {
    let (app, config) = (App::start().await, Config::new());
    metadata["grant_types"] = json!(["authorization_code", "refresh_token"]);
    let client = provider.register(&config.public_url, metadata).await;
    let ca = match provider.issuer().starts_with("https") {
        true => format!("ca_file = {:?}\n", provider.ca_file()),
        false => String::new(),
    };
    let table = format!(
        "[[provider]]\nissuer = {:?}\nclient_id = {:?}\nscopes = [\"openid\", \"email\", \"offline_access\"]\n{ca}{}\n",
        provider.issuer(),
        client.id,
        keys(&client)
    );
    let gateway = config.add(&table).add(&upstream_table(&app.url())).add(ROUTES).add(RENEWING).start().await;
    gateway.ready().await;
    let person = person(&provider);
    let form = person.browse(&gateway.url("/page")).await;
    let answer = person.log_in(&form, provider.user("anna")).await;
    Scene { gateway, app, person, answer, provider, client }
}

impl Scene {
    /// In, and renewed; the token endpoint saw exactly one way of authentication, this one.
    async fn came_in(&self, why: &str, shows: impl Fn(&Value, &str) -> bool) {
        assert_eq!(self.answer.status, 200, "{why}: {}\n{}", self.answer.text(), self.gateway.log_text());
        self.person.browse(&self.gateway.url("/again")).await.expect(200);
        assert_eq!(self.app.seen_at("/page")[0].one("x-forwarded-email"), "anna@example.com", "{why}");
        self.gateway.log_line(&["audit session_renewed allow"]).await;
        let asked = self.token_requests().await;
        assert!(asked.len() >= 2, "{why}: {asked:?}");
        for request in asked {
            let body = request["body"].as_str().unwrap_or_default();
            assert!(shows(&request, body), "{why}: {request}");
            let ways = [
                !request["authorization"].is_null(),
                body.contains("client_secret="),
                body.contains("client_assertion="),
                request["certificate"] == true,
            ];
            assert!(ways.iter().filter(|way| **way).count() <= 1, "{why}: several ways at once");
        }
    }

    async fn token_requests(&self) -> Vec<Value> {
        let mine = |request: &Value| {
            let body = request["body"].as_str().unwrap_or_default();
            let named = request["authorization"].as_str().is_some_and(|line| line.starts_with("Basic"));
            request["path"] == "/token" && (named || body.contains(&self.client.id))
        };
        self.provider.seen().await.into_iter().filter(mine).collect()
    }
}

fn write(dir: &Path, name: &str, text: &str) -> String {
    let file = dir.join(name);
    std::fs::write(&file, text).expect("a file");
    file.to_string_lossy().into_owned()
}

#[tokio::test]
async fn a_secret_goes_the_way_that_is_configured() {
    for method in ["client_secret_basic", "client_secret_post", "client_secret_jwt"] {
        let metadata = json!({"token_endpoint_auth_method": method, "token_endpoint_auth_signing_alg": null});
        let keys = |client: &Client| format!("client_auth = {method:?}\nclient_secret = {:?}\n", client.secret);
        let scene = sign_in(Provider::start(json!({"access_token_ttl": 30})), metadata, keys).await;
        let shows = |request: &Value, body: &str| match method {
            "client_secret_basic" => request["authorization"].as_str().is_some_and(|line| line.starts_with("Basic ")),
            "client_secret_post" => body.contains("client_secret="),
            _ => body.contains("client_assertion_type=urn%3Aietf"),
        };
        scene.came_in(method, shows).await;
    }
}

#[tokio::test]
async fn without_a_secret_pkce_alone_protects_the_code() {
    let scene = sign_in(
        Provider::start(json!({"access_token_ttl": 30})),
        json!({"token_endpoint_auth_method": "none"}),
        |_| String::new(),
    )
    .await;
    let shows = |request: &Value, body: &str| {
        let code = body.contains("grant_type=authorization_code");
        request["authorization"].is_null() && (!code || body.contains("code_verifier="))
    };
    scene.came_in("none", shows).await;
}

#[tokio::test]
async fn a_key_of_each_kind_signs_assertions() {
    let dir = tempfile::tempdir().expect("a folder");
    let provider = Provider::start(json!({"access_token_ttl": 30}));
    for (kind, algorithm, set) in [
        ("RSA", "RS256", ""),
        ("RSA", "PS256", "PS256"),
        ("P-256", "ES256", ""),
        ("P-384", "ES384", ""),
        ("Ed25519", "EdDSA", ""),
    ] {
        let key = provider.key(kind).await;
        let file = write(dir.path(), &format!("{kind}.pem"), &key.private);
        let metadata = json!({
            "token_endpoint_auth_method": "private_key_jwt", "token_endpoint_auth_signing_alg": algorithm,
            "jwks": {"keys": [key.entry("our-key", algorithm, "sig")]},
        });
        let keys = |_: &Client| {
            let set = if set.is_empty() { String::new() } else { format!("client_assertion_algorithm = {set:?}\n") };
            format!("client_key_file = {file:?}\nclient_key_id = \"our-key\"\n{set}")
        };
        let scene = sign_in(provider.clone(), metadata, keys).await;
        scene.came_in(algorithm, |_, body| body.contains("client_assertion=")).await;
    }
}

#[tokio::test]
async fn a_certificate_is_shown_at_the_endpoints_that_ask_for_it() {
    let authority = Authority::new();
    let dir = tempfile::tempdir().expect("a folder");
    let known: Leaf = authority.client("client.example");
    let (certificate, key) = known.write(dir.path());
    let provider = Provider::start_https(json!({"access_token_ttl": 30}), &authority);
    let metadata =
        json!({"token_endpoint_auth_method": "tls_client_auth", "tls_client_auth_san_dns": "client.example"});
    let keys = |_: &Client| {
        format!(
            "client_auth = \"tls_client_auth\"\nclient_key_file = {key:?}\nclient_certificate_file = {certificate:?}\n"
        )
    };
    let scene = sign_in(provider, metadata, keys).await;
    scene
        .came_in("tls_client_auth", |request, body| {
            let shown = request["certificate"] == true && request["authorization"].is_null();
            shown && body.contains("client_id=") && !body.contains("client_assertion")
        })
        .await;
}

/// A provider that asks everybody for a certificate sees none of a client that signs.
#[tokio::test]
async fn a_certificate_beside_a_key_that_signs_is_not_shown() {
    let authority = Authority::new();
    let dir = tempfile::tempdir().expect("a folder");
    let known: Leaf = authority.client("client.example");
    let (certificate, key) = known.write(dir.path());
    let keys = |_: &Client| format!("client_key_file = {key:?}\nclient_certificate_file = {certificate:?}\n");
    for (method, shown) in [("private_key_jwt", false), ("tls_client_auth", true)] {
        let ways = if shown { json!(["tls_client_auth"]) } else { json!(["tls_client_auth", "private_key_jwt"]) };
        let settings = json!({"access_token_ttl": 30, "mtls_aliases": false, "metadata": {"token_endpoint_auth_methods_supported": ways}});
        let provider = Provider::start_https(settings, &authority);
        let metadata = match shown {
            false => json!({
                "token_endpoint_auth_method": method, "token_endpoint_auth_signing_alg": "ES256",
                "jwks_pem": [{"pem": known.certificate, "kid": "ours", "alg": "ES256", "use": "sig"}],
            }),
            true => json!({"token_endpoint_auth_method": method, "tls_client_auth_san_dns": "client.example"}),
        };
        let scene = sign_in(provider, metadata, keys).await;
        let one = |request: &Value, body: &str| {
            (request["certificate"] == true) == shown && body.contains("client_assertion=") != shown
        };
        scene.came_in(method, one).await;
    }
}

#[tokio::test]
async fn a_client_registered_for_another_way_is_told_which_setting_to_compare() {
    let metadata = json!({"token_endpoint_auth_method": "client_secret_jwt"});
    let keys =
        |client: &Client| format!("client_auth = \"client_secret_basic\"\nclient_secret = {:?}\n", client.secret);
    let scene = sign_in(Provider::start(json!({"access_token_ttl": 30})), metadata, keys).await;
    assert_eq!(scene.answer.reason(), "DW-3202", "{}", scene.answer.text());
    scene.gateway.log_line(&["DW-3202", "invalid_client"]).await;
}
