//! What the pages of `docs/providers` have one do at a product, done at its stand-in; and that the tests they name are there.

use std::path::Path;

use reqwest::Method;
use serde_json::json;

use super::logout_channels::FRAME;
use crate::support::app::App;
use crate::support::person::Person;
use crate::support::standin::{Kind, StandIn, Which};

const AUTHENTIK: &str = include_str!("../../docs/providers/authentik.md");

#[tokio::test]
async fn okta_s_frame_with_session_details_ends_the_session_that_it_names_and_no_other() {
    let (app, stand_in) = (App::start().await, StandIn::start(Which::Okta).await);
    let session = "102Mi5YgsH5TjS1qGpE2Yx8Lw";
    stand_in.claims(move |claims| drop(claims.insert("sid".into(), json!(session))));
    let gateway = stand_in.gateway(&app.url(), "").await;
    let person = stand_in.person();
    stand_in.sign_in(&person, &gateway.url("/page")).await.expect(200);
    for (sid, status) in [("102another", 200), (session, 401)] {
        let query = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("iss", &stand_in.issuer())
            .append_pair("sid", sid)
            .finish();
        // Browsers send no cookie with a frame of another site.
        let url = gateway.url(&format!("/logout?{query}"));
        let frame = Person::new().request(Method::GET, &url, &FRAME, None).await;
        let policy = frame.expect(200).header("content-security-policy");
        assert!(policy.contains(&format!("frame-ancestors {}", stand_in.issuer())), "{policy}");
        assert_eq!(person.fetch(&gateway.url("/page")).await.status, status, "{sid}");
    }
}

#[tokio::test]
async fn a_single_page_application_at_okta_signs_in_without_a_secret() {
    let (app, stand_in) = (App::start().await, StandIn::start(Which::Okta).await);
    stand_in.registered(|client| client.kind = Kind::SinglePage);
    let gateway = stand_in.gateway(&app.url(), "").await;
    stand_in.sign_in(&stand_in.person(), &gateway.url("/page")).await.expect(200);
    assert_eq!(app.seen_at("/page").pop().expect("seen").one("x-forwarded-email"), "anna@example.com");
    let request = stand_in.token_requests().pop().expect("a token request");
    assert!(!request.authorization && !request.has("client_secret") && request.has("code_verifier"), "{request:?}");
}

#[tokio::test]
async fn an_address_at_authentik_meets_a_rule_once_a_mapping_of_its_own_calls_it_verified() {
    let (app, stand_in) = (App::start().await, StandIn::start(Which::Authentik).await);
    let config = |keys: &str| {
        let rule =
            "[[route]]\npath = \"/ruled\"\naccess = \"signed-in\"\nallow = { email_domains = [\"example.com\"] }\n";
        stand_in.config(&app.url(), keys).add(rule)
    };
    let (gateway, by_address) = (config("").start().await, config("user_claim = \"email\"\n").start().await);
    for gateway in [&gateway, &by_address] {
        gateway.ready().await;
        let refused = stand_in.sign_in(&stand_in.person(), &gateway.url("/ruled")).await;
        assert_eq!((refused.status, refused.reason().as_str()), (403, "DW-5002"), "{}", refused.text());
        assert!(refused.text().contains("give the provider in authentik a scope mapping of your own"));
        let line = gateway.log_line(&[" access ", "DW-5002", " remedy=\""]).await;
        let (_, rest) = line.split_once(" remedy=\"").expect("a remedy");
        let remedy = rest.split('"').next().unwrap_or_default();
        assert!(AUTHENTIK.contains(&format!("remedy=\"{remedy}\"")), "the page has another: {remedy}");
    }
    assert!(app.seen_at("/ruled").is_empty());
    // The mapping of the page, in the place of authentik's own.
    stand_in.claims(|claims| drop(claims.insert("email_verified".into(), json!(true))));
    for gateway in [gateway, by_address] {
        stand_in.sign_in(&stand_in.person(), &gateway.url("/ruled")).await.expect(200);
    }
    assert_eq!(app.seen_at("/ruled").len(), 2);
}

#[tokio::test]
async fn the_key_that_zitadel_makes_authenticates_the_client_by_its_name() {
    let (app, stand_in) = (App::start().await, StandIn::start(Which::Zitadel).await);
    let handed_out = stand_in.hands_out_key();
    let member = |name: &str| handed_out[name].as_str().expect("a text").to_owned();
    let key = stand_in.file("client.key", &member("key"));
    for (name, status) in [(member("keyId"), 200), ("273645928388888888".to_owned(), 502)] {
        let keys = format!("client_key_file = {key:?}\nclient_key_id = {name:?}\n");
        let gateway = stand_in.gateway(&app.url(), &keys).await;
        stand_in.sign_in(&stand_in.person(), &gateway.url(&format!("/{name}"))).await.expect(status);
        assert_eq!(app.seen_at(&format!("/{name}")).len(), usize::from(status == 200));
        let request = stand_in.token_requests().pop().expect("a token request");
        assert!(request.has("client_assertion") && !request.has("client_secret") && !request.authorization);
    }
}

#[test]
fn every_test_that_the_documentation_of_providers_names_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &Path| std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let page = read(&root.join("docs/providers.md"));
    let (_, named) = page.split_once("## Which test proves it").expect("the section");
    let named = named.split("\n## ").next().unwrap_or_default();
    let tests: Vec<_> = named.split('`').filter_map(|word| word.split_once("::")).collect();
    for (module, test) in &tests {
        let source = read(&root.join(format!("tests/blackbox/{module}.rs")));
        assert!(source.contains(&format!("fn {test}()")), "{module}::{test}");
    }
    assert!(tests.len() > 15, "{tests:?}");
}
