//! The bench itself: what the provider of the tests is asked for, it does, before anything is built on it.

use axum::extract::State;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::support::browser::Browser;
use crate::support::eventually;
use crate::support::forms::Form;
use crate::support::person::{Answer, FETCH, Person};
use crate::support::provider::{ALGORITHMS, Client, Provider};
use crate::support::setup::{ROUTES, provider_table, upstream_table};
use crate::support::tls::{Authority, Leaf};

const HERE: &str = "http://127.0.0.1:9";
const CALLBACK: &str = "http://127.0.0.1:9/oidc/callback";
const VERIFIER: &str = "a-code-verifier-of-forty-three-characters-at-least";

/// One authorization request, signed in as anna, up to the authorization response; `params` override the usual ones.
async fn ask(person: &Person, provider: &Provider, client: &Client, params: &[(&str, &str)]) -> Answer {
    let mut url = reqwest::Url::parse(&format!("{}/auth", provider.address())).expect("a URL");
    let challenge = URL_SAFE_NO_PAD.encode(ring::digest::digest(&ring::digest::SHA256, VERIFIER.as_bytes()));
    let usual = [
        ("client_id", client.id.as_str()),
        ("redirect_uri", CALLBACK),
        ("scope", "openid email"),
        ("nonce", "n0nce"),
        ("state", "st4te"),
        ("response_type", "code"),
    ];
    let given = |name: &str| params.iter().any(|(key, _)| *key == name);
    url.query_pairs_mut().extend_pairs(usual.iter().filter(|(key, _)| !given(key))).extend_pairs(params);
    if !params.contains(&("response_type", "id_token")) {
        let pkce = [("code_challenge", challenge.as_str()), ("code_challenge_method", "S256")];
        url.query_pairs_mut().extend_pairs(pkce);
    }
    let mut answer = person.open(url.as_str()).await;
    loop {
        if answer.text().contains("name=\"password\"") {
            let user = provider.user("anna");
            let form = [("username", user.name), ("password", user.password.as_str())];
            answer = person.post(answer.url.as_str(), &form).await;
        }
        match answer.location() {
            Some(next) if !next.as_str().starts_with(CALLBACK) => answer = person.open(next.as_str()).await,
            _ => return answer,
        }
    }
}

/// A part of a JWT.
fn part(token: &str, n: usize) -> Value {
    let part = token.split('.').nth(n).expect("a part");
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).expect("base64url")).expect("JSON")
}

/// The claims, verified by another library with the provider's published key.
async fn verified(provider: &Provider, client: &Client, token: &str) -> Value {
    let header = part(token, 0);
    let algorithm: jsonwebtoken::Algorithm = serde_json::from_value(header["alg"].clone()).expect("an algorithm");
    let mut rules = jsonwebtoken::Validation::new(algorithm);
    rules.set_audience(&[&client.id]);
    rules.set_issuer(&[provider.issuer()]);
    let key = if header["alg"].as_str().expect("alg").starts_with("HS") {
        jsonwebtoken::DecodingKey::from_secret(client.secret.as_bytes())
    } else {
        let keys = Person::new().fetch(&format!("{}/jwks", provider.address())).await.json();
        let key = keys["keys"].as_array().expect("keys").iter().find(|key| key["kid"] == header["kid"]);
        let jwk = serde_json::from_value(key.expect("the key").clone()).expect("a JWK");
        jsonwebtoken::DecodingKey::from_jwk(&jwk).expect("a key")
    };
    jsonwebtoken::decode::<Value>(token, &key, &rules).expect("a valid token").claims
}

#[tokio::test]
async fn the_implicit_flow_posts_an_id_token_of_each_algorithm() {
    let provider = Provider::complete();
    let person = Person::new();
    for algorithm in ALGORITHMS {
        let extra = json!({"response_types": ["id_token"], "id_token_signed_response_alg": algorithm});
        let client = provider.register(HERE, extra).await;
        let asked = [("response_type", "id_token"), ("response_mode", "form_post")];
        let form = Form::of(&ask(&person, &provider, &client, &asked).await.text()).expect("a form");
        assert_eq!((form.action.as_str(), form.get("state")), (CALLBACK, "st4te"));
        let token = form.get("id_token");
        assert_eq!(part(token, 0)["alg"], algorithm);
        // Neither P-521 nor the newer name of EdDSA is known to that library.
        if !["ES512", "Ed25519"].contains(&algorithm) {
            assert_eq!(verified(&provider, &client, token).await["nonce"], "n0nce");
        }
    }
}

#[tokio::test]
async fn the_hybrid_flow_binds_the_code_to_the_id_token() {
    let provider = Provider::complete();
    let client = provider.register(HERE, json!({"response_types": ["code id_token"]})).await;
    let asked = [("response_type", "code id_token"), ("response_mode", "form_post")];
    let form = Form::of(&ask(&Person::new(), &provider, &client, &asked).await.text()).expect("a form");
    let claims = verified(&provider, &client, form.get("id_token")).await;
    let hash = ring::digest::digest(&ring::digest::SHA256, form.get("code").as_bytes());
    assert_eq!(claims["c_hash"], URL_SAFE_NO_PAD.encode(&hash.as_ref()[..16]));
}

#[tokio::test]
async fn id_tokens_are_encrypted_to_the_clients_key() {
    let provider = Provider::complete();
    let person = Person::new();
    for (kind, alg, enc) in [
        ("RSA", "RSA-OAEP", "A128GCM"),
        ("RSA", "RSA-OAEP-256", "A256CBC-HS512"),
        ("P-256", "ECDH-ES", "A256GCM"),
        ("P-384", "ECDH-ES+A128KW", "A128CBC-HS256"),
    ] {
        let key = provider.key(kind).await;
        let extra = json!({
            "response_types": ["id_token"], "jwks": {"keys": [key.entry("mine", alg, "enc")]},
            "id_token_encrypted_response_alg": alg, "id_token_encrypted_response_enc": enc,
        });
        let client = provider.register(HERE, extra).await;
        let asked = [("response_type", "id_token"), ("response_mode", "form_post")];
        let form = Form::of(&ask(&person, &provider, &client, &asked).await.text()).expect("a form");
        let (token, header) = (form.get("id_token"), part(form.get("id_token"), 0));
        assert_eq!((token.split('.').count(), &header["alg"], &header["enc"]), (5, &json!(alg), &json!(enc)));
        assert_eq!(header["kid"], "mine");
    }
}

#[tokio::test]
async fn a_client_shows_its_certificate_at_the_aliased_token_endpoint() {
    let authority = Authority::new();
    let provider = Provider::start_https(json!({}), &authority);
    let root = || reqwest::Certificate::from_pem(authority.pem().as_bytes()).expect("PEM");
    let person = || Person::with(reqwest::Client::builder().tls_certs_only([root()]));
    let metadata = person().fetch(&format!("{}/.well-known/openid-configuration", provider.issuer())).await.json();
    let token_endpoint = metadata["mtls_endpoint_aliases"]["token_endpoint"].as_str().expect("an alias").to_owned();
    assert_ne!(metadata["token_endpoint"], token_endpoint);

    let known = authority.client("client.example");
    let own = Leaf::self_signed("client.example");
    let by_name = json!({"token_endpoint_auth_method": "tls_client_auth", "tls_client_auth_san_dns": "client.example"});
    let by_subject =
        json!({"token_endpoint_auth_method": "tls_client_auth", "tls_client_auth_subject_dn": "CN=client.example"});
    let by_key = json!({
        "token_endpoint_auth_method": "self_signed_tls_client_auth",
        "jwks_pem": [{"pem": own.certificate, "kid": "own", "use": "sig"}],
    });
    for (leaf, metadata, good) in
        [(&known, &by_name, true), (&known, &by_subject, true), (&own, &by_name, false), (&own, &by_key, true)]
    {
        let client = provider.register(HERE, metadata.clone()).await;
        let answer = ask(&person(), &provider, &client, &[]).await.location().expect("a response");
        let code = answer.query_pairs().find(|(name, _)| name == "code").expect("a code").1.into_owned();
        let program = Person::with(reqwest::Client::builder().tls_certs_only([root()]).identity(leaf.identity()));
        let form = [
            ("grant_type", "authorization_code"),
            ("client_id", &client.id),
            ("redirect_uri", CALLBACK),
            ("code", &code),
            ("code_verifier", VERIFIER),
        ];
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let answer = program.request(reqwest::Method::POST, &token_endpoint, &FETCH, Some(body)).await;
        assert_eq!(answer.json()["id_token"].is_string(), good, "{metadata}: {}", answer.text());
    }
}

#[tokio::test]
async fn the_back_channel_brings_a_logout_token_and_the_front_channel_an_iframe() {
    type Posted = std::sync::Arc<std::sync::Mutex<Vec<String>>>;
    let posted = Posted::default();
    let keep = |State(posted): State<Posted>, body: String| async move { posted.lock().expect("posted").push(body) };
    let router = axum::Router::new().route("/back", axum::routing::post(keep)).with_state(posted.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let back = format!("http://{}/back", listener.local_addr().expect("an address"));
    tokio::spawn(axum::serve(listener, router).into_future());

    let provider = Provider::start(json!({}));
    let extra = json!({
        "backchannel_logout_uri": back, "backchannel_logout_session_required": true,
        "frontchannel_logout_uri": "http://127.0.0.1:9/logout", "frontchannel_logout_session_required": true,
    });
    let client = provider.register(HERE, extra).await;
    let person = Person::new();
    ask(&person, &provider, &client, &[]).await;
    let sids = provider.sids("anna", &client).await;
    assert_eq!(sids.len(), 1);

    let page = person.open(&format!("{}/session/end?client_id={}", provider.address(), client.id)).await;
    let mut form = Form::of(&page.text()).expect("the logout form");
    form.fields.push(("logout".into(), "yes".into()));
    let fields: Vec<(&str, &str)> = form.fields.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    let page = person.post(page.url.join(&form.action).expect("an action").as_str(), &fields).await;
    let iss: String = url::form_urlencoded::byte_serialize(provider.issuer().as_bytes()).collect();
    let frame = format!("http://127.0.0.1:9/logout?iss={iss}&#38;sid={}", sids[0]);
    assert!(page.text().contains(&frame), "{}", page.text());
    let body = eventually("a logout token", || async { posted.lock().expect("posted").first().cloned() }).await;
    let token = body.strip_prefix("logout_token=").expect("a logout token");
    assert_eq!((&part(token, 0)["typ"], &part(token, 1)["sid"]), (&json!("logout+jwt"), &json!(sids[0])));

    ask(&person, &provider, &client, &[]).await;
    assert_eq!(provider.back_channel_logout("anna", &client).await, [Value::Null]);
    assert!(provider.sids("anna", &client).await.is_empty());
}

#[tokio::test]
async fn a_step_up_asks_again_and_says_so_in_the_id_token() {
    // One of its own: at a shared one somebody signs in all the time.
    let provider = Provider::start(json!({}));
    let client = provider.register(HERE, json!({"response_types": ["id_token"]})).await;
    let person = Person::new();
    let implicit = [("response_type", "id_token"), ("response_mode", "form_post")];
    ask(&person, &provider, &client, &implicit).await;
    let sign_ins = provider.seen().await.iter().filter(|r| r["method"] == "POST").count();
    let asked = [implicit[0], implicit[1], ("acr_values", "urn:example:two-factors"), ("max_age", "3600")];
    let form = Form::of(&ask(&person, &provider, &client, &asked).await.text()).expect("a form");
    let claims = part(form.get("id_token"), 1);
    assert_eq!(claims["acr"], "urn:example:two-factors");
    assert!(claims["auth_time"].is_u64(), "{claims}");
    assert!(
        provider.seen().await.iter().filter(|r| r["method"] == "POST").count() > sign_ins,
        "nobody signed in again"
    );
}

#[tokio::test]
async fn the_issuer_in_the_response_and_entries_of_the_metadata_can_be_switched_off() {
    let settings = json!({"iss_parameter": false, "metadata": {"end_session_endpoint": null, "extra": 1}});
    let provider = Provider::start(settings);
    let client = provider.register(HERE, json!({})).await;
    let back = ask(&Person::new(), &provider, &client, &[]).await.location().expect("a response");
    assert_eq!(back.query_pairs().map(|(name, _)| name.into_owned()).collect::<Vec<_>>(), ["code", "state"]);
    let metadata =
        Person::new().fetch(&format!("{}/.well-known/openid-configuration", provider.address())).await.json();
    assert!(metadata["authorization_response_iss_parameter_supported"].is_null() && metadata["extra"] == 1);
    assert!(metadata["end_session_endpoint"].is_null());
}

#[tokio::test]
async fn userinfo_is_signed_where_the_client_asks_for_it() {
    let provider = Provider::complete();
    let extra = json!({"userinfo_signed_response_alg": "PS256", "token_endpoint_auth_method": "client_secret_post"});
    let client = provider.register(HERE, extra).await;
    let person = Person::new();
    let back = ask(&person, &provider, &client, &[]).await.location().expect("a response");
    let code = back.query_pairs().find(|(name, _)| name == "code").expect("a code").1.into_owned();
    let form = [
        ("grant_type", "authorization_code"),
        ("client_id", &client.id),
        ("client_secret", &client.secret),
        ("redirect_uri", CALLBACK),
        ("code", &code),
        ("code_verifier", VERIFIER),
    ];
    let tokens = person.post(&format!("{}/token", provider.address()), &form).await.json();
    let bearer = format!("Bearer {}", tokens["access_token"].as_str().expect("an access token"));
    let url = format!("{}/me", provider.address());
    let answer = person.request(reqwest::Method::GET, &url, &[("authorization", &bearer)], None).await;
    assert!(answer.header("content-type").starts_with("application/jwt"), "{}", answer.text());
    assert_eq!(verified(&provider, &client, &answer.text()).await["email"], "anna@example.com");
}

#[tokio::test]
async fn a_browser_signs_in_at_a_provider_with_a_certificate_of_a_local_authority() {
    let authority = Authority::new();
    let provider = Provider::start_https(json!({}), &authority);
    let app = crate::support::app::App::start().await;
    let config = crate::support::gateway::Config::new();
    let client = provider.register(&config.public_url, json!({})).await;
    let ca_file = format!("ca_file = {:?}\n", provider.ca_file().display().to_string());
    let tables = format!("{}{ca_file}{}", provider_table(&provider, &client), upstream_table(&app.url()));
    let gateway = config.add(&tables).add(ROUTES).start().await;
    gateway.ready().await;
    let browser = Browser::start_trusting(&[&provider.fingerprint()]).await;
    let tab = browser.tab(&gateway.url("/page")).await;
    tab.log_in(provider.user("anna")).await;
    tab.wait_for("#app").await;
}

#[tokio::test]
async fn a_browser_without_third_party_cookies_keeps_none_of_a_frame() {
    use axum::response::Html;
    use axum::routing::get;
    let frame = get(|| async { ([("set-cookie", "framed=1; SameSite=None; Secure")], Html("<p id=frame>frame</p>")) });
    let inner = tokio::net::TcpListener::bind("127.0.0.2:0").await.expect("a port");
    let page = format!(
        "<iframe src=\"http://{0}/\" onload=\"document.body.id = 'loaded'\"></iframe>",
        inner.local_addr().expect("an address")
    );
    tokio::spawn(axum::serve(inner, axum::Router::new().route("/", frame)).into_future());
    let outer = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/", outer.local_addr().expect("an address"));
    let page = get(move || std::future::ready(Html(page.clone())));
    tokio::spawn(axum::serve(outer, axum::Router::new().route("/", page)).into_future());
    for (browser, kept) in
        [(Browser::start_with_third_party_cookies().await, 1), (Browser::start_without_third_party_cookies().await, 0)]
    {
        browser.tab(&url).await.wait_for("#loaded").await;
        assert_eq!(browser.cookies().await.iter().filter(|cookie| cookie.name == "framed").count(), kept);
    }
}
