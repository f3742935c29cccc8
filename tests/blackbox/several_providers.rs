//! Several providers: each answer belongs to the provider that was asked; and sign-ins that others start.

use reqwest::Method;
use serde_json::json;

use crate::support::app::App;
use crate::support::forger::Forger;
use crate::support::gateway::{Config, Gateway};
use crate::support::person::{Answer, NAVIGATION, Person};
use crate::support::poster::post_twice;
use crate::support::setup::upstream_table;

const ROUTES: &str = r#"
[[route]]
path = "/"

[[route]]
path = "/second"
provider = "second"
"#;

struct Two {
    first: Forger,
    second: Forger,
    app: App,
    gateway: Gateway,
}

/// Two forgers that do not send `iss`; `keys` go into the second's table.
async fn two(keys: &str) -> Two {
    let (first, second, app) = (Forger::start().await, Forger::start().await, App::start().await);
    for forger in [&first, &second] {
        forger.metadata(json!({"authorization_response_iss_parameter_supported": null}));
        forger.responds_signed(|attempt, key| {
            let mut fields = attempt.granted(key, &attempt.claims());
            fields.retain(|(name, _)| name != "iss");
            fields
        });
    }
    let table = |forger: &Forger, name: &str, keys: &str| {
        format!("[[provider]]\nname = {name:?}\nissuer = {:?}\nclient_id = \"the-client\"\n{keys}\n", forger.issuer)
    };
    let config = Config::new()
        .add(&table(&first, "first", ""))
        .add(&table(&second, "second", keys))
        .add(&upstream_table(&app.url()))
        .add(ROUTES);
    let gateway = config.start().await;
    gateway.ready().await;
    Two { first, second, app, gateway }
}

impl Two {
    fn login(&self, parameters: &[(&str, &str)]) -> String {
        let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
        self.gateway.url(&format!("/oidc/login?{query}"))
    }

    /// Opens the sign-in address, and tells which forger it led to.
    async fn start(&self, parameters: &[(&str, &str)]) -> (Answer, String) {
        let answer = Person::new().open(&self.login(parameters)).await;
        let to = answer.location().map(|url| url.origin().ascii_serialization()).unwrap_or_default();
        (answer, to)
    }
}

#[tokio::test]
async fn each_provider_answers_at_an_address_of_its_own() {
    let two = two("").await;
    for (name, forger, path) in
        [("first", &two.first, "/oidc/callback"), ("second", &two.second, "/oidc/callback/second")]
    {
        let person = Person::new();
        let answer = person.browse(&two.login(&[("provider", name), ("return_to", "/who")])).await;
        assert_eq!((answer.status, answer.url.path()), (200, "/who"), "{}", answer.text());
        assert_eq!(forger.attempt().redirect_uri, two.gateway.url(path));
        assert_eq!(forger.token_requests(), 1, "{name}");
    }
    assert_eq!(two.app.seen_at("/who").len(), 2);
    // A route that names its provider goes straight there, and the session of the other does not count.
    let person = Person::new();
    person.browse(&two.login(&[("provider", "first")])).await;
    let start = person.open(&two.gateway.url("/second")).await;
    let to = start.location().expect("to the second").origin().ascii_serialization();
    assert_eq!(to, two.second.issuer);
}

#[tokio::test]
async fn the_answer_of_one_provider_is_never_taken_for_another_s() {
    let two = two("").await;
    for (name, wrong) in [("first", "/oidc/callback/second"), ("second", "/oidc/callback")] {
        let person = Person::new();
        let start = person.open(&two.login(&[("provider", name)])).await;
        let answer = person.open(start.location().expect("to the provider").as_str()).await;
        let mut callback = answer.location().expect("to the callback");
        // What a malicious provider does: it has its own redirect URI get the code of the honest one.
        callback.set_path(wrong);
        let answer = person.open(callback.as_str()).await;
        assert_eq!((answer.status, answer.reason().as_str()), (400, "DW-3105"), "{name}: {}", answer.text());
        assert!(person.session().is_empty());
    }
    assert_eq!((two.first.token_requests(), two.second.token_requests()), (0, 0), "no code went anywhere");
    two.gateway.log_line(&["DW-3105", "`first` answers at /oidc/callback, got /oidc/callback/second"]).await;
}

#[tokio::test]
async fn only_the_addresses_of_providers_are_the_gateway_s_own() {
    let two = two("auth_method = \"implicit\"").await;
    let person = Person::new();
    for path in ["/oidc/callback/first", "/oidc/callback/third", "/oidc/callback/", "/oidc/callbacks"] {
        // The app's, and so for the signed-in.
        let answer = person.open(&two.gateway.url(path)).await;
        assert!(answer.reason() != "DW-3101", "{path}: {}", answer.text());
    }
    for (path, reason) in [("/oidc/callback", "DW-3112"), ("/oidc/callback/second", "DW-3101")] {
        let answer = person.request(Method::POST, &two.gateway.url(path), &NAVIGATION, Some(String::new())).await;
        assert_eq!((answer.status, answer.reason().as_str()), (400, reason), "{path}");
    }
    // One is asked in the address and the other by a form, side by side.
    let form = person.browse(&two.login(&[("provider", "second"), ("return_to", "/who")])).await;
    let answer = post_twice(&person, &form).await;
    person.follow(answer).await.expect(200);
    Person::new().browse(&two.login(&[("provider", "first"), ("return_to", "/who")])).await.expect(200);
}

#[tokio::test]
async fn a_third_party_starts_a_sign_in_by_issuer() {
    let two = two("").await;
    let own = two.gateway.url("/who?a=b");
    for issuer in [two.second.issuer.clone(), format!("{}/", two.second.issuer)] {
        for target in ["/who?a=b", own.as_str()] {
            let parameters = [("iss", issuer.as_str()), ("login_hint", "änna@x"), ("target_link_uri", target)];
            let (_, to) = two.start(&parameters).await;
            assert_eq!(to, two.second.issuer, "{issuer}");
            let person = Person::new();
            let answer = person.browse(&two.login(&parameters)).await;
            assert_eq!((answer.status, answer.url.as_str()), (200, own.as_str()), "{}", answer.text());
            assert_eq!(two.second.attempt().asked("login_hint"), Some("änna@x"));
            // As a form of another site's page.
            let form = [NAVIGATION[0], ("sec-fetch-mode", "navigate"), ("sec-fetch-site", "cross-site")];
            let person = Person::new();
            let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
            let start = person.request(Method::POST, &two.gateway.url("/oidc/login"), &form, Some(body)).await;
            let answer = person.follow(start).await;
            assert_eq!((answer.status, answer.url.as_str()), (200, own.as_str()), "{}", answer.text());
        }
    }
}

#[tokio::test]
async fn a_third_party_cannot_lead_elsewhere() {
    let two = two("").await;
    let issuer = two.second.issuer.clone();
    let port = two.gateway.config.port;
    let at = |rest: &str| format!("http://127.0.0.1{rest}");
    let elsewhere = [
        "http://evil.test/".to_owned(),
        "//evil.test".to_owned(),
        "/\\evil.test".to_owned(),
        at(&format!(":{port}@evil.test/")),
        at(&format!(":{port}.evil.test/")),
        at(":1/"),
        format!("https://127.0.0.1:{port}/"),
        at(&format!(":{port}//evil.test")),
        at(&format!(":{port}/\\evil.test")),
        "javascript:alert(1)".to_owned(),
        "who".to_owned(),
        String::new(),
    ];
    for target in &elsewhere {
        let (answer, _) = two.start(&[("iss", &issuer), ("target_link_uri", target)]).await;
        assert_eq!((answer.status, answer.reason().as_str()), (400, "DW-3109"), "{target:?}: {}", answer.text());
    }
    let known = issuer.as_str();
    for (parameters, status, reason) in [
        (&[("iss", "http://evil.test")][..], 404, "DW-3110"),
        (&[("iss", "")], 404, "DW-3110"),
        (&[("iss", &issuer[..issuer.len() - 1])], 404, "DW-3110"),
        (&[("iss", known), ("provider", "first")], 404, "DW-3110"),
        (&[("iss", known), ("iss", known)], 400, "DW-1012"),
        (&[("iss", known), ("target_link_uri", "/"), ("target_link_uri", "/a")], 400, "DW-1012"),
        (&[("iss", known), ("target_link_uri", "/"), ("return_to", "/")], 400, "DW-1012"),
        (&[("iss", known), ("login_hint", "a"), ("login_hint", "b")], 400, "DW-1012"),
    ] {
        let (answer, _) = two.start(parameters).await;
        assert_eq!((answer.status, answer.reason().as_str()), (status, reason), "{parameters:?}");
    }
    assert_eq!(two.start(&[("iss", known), ("provider", "second")]).await.1, issuer);
}

#[tokio::test]
async fn no_sign_in_leads_to_an_address_of_the_gateway_itself() {
    let two = two("").await;
    let issuer = two.second.issuer.clone();
    let own = two.gateway.url("/logout");
    for target in ["/logout", "/%6cogout", "/logout?return_to=/x", "/oidc/signed-out", "/oidc/login", own.as_str()] {
        for name in ["target_link_uri", "return_to"] {
            if name == "return_to" && !target.starts_with('/') {
                continue;
            }
            let person = Person::new();
            let answer = person.browse(&two.login(&[("iss", &issuer), (name, target)])).await;
            assert_eq!((answer.status, answer.url.path()), (200, "/"), "{name}={target}");
            assert!(!person.session().is_empty(), "{name}={target}");
        }
    }
}

#[tokio::test]
async fn forms_of_another_site_leave_a_browser_no_more_attempts_than_links() {
    let two = two("").await;
    let person = Person::new();
    for _ in 0..12 {
        let mut form = NAVIGATION.to_vec();
        form.retain(|(name, _)| *name != "sec-fetch-site");
        form.push(("sec-fetch-site", "cross-site"));
        let body = format!("iss={}&target_link_uri=/{}", two.second.issuer, "a".repeat(1900));
        // Lax cookies do not come along.
        let without = Person::new();
        let answer = without.request(Method::POST, &two.gateway.url("/oidc/login"), &form, Some(body)).await;
        assert_eq!(answer.status, 303);
        assert!(answer.set_cookies().is_empty(), "{:?}", answer.set_cookies());
        person.open(answer.location().expect("to the same by a link").as_str()).await.expect(303);
    }
    let open = person.cookies("127.0.0.1").into_iter().filter(|cookie| cookie.name.contains("_login_")).count();
    assert!((1..=5).contains(&open), "{open}");
}

#[tokio::test]
async fn a_hint_that_is_no_line_of_text_is_not_passed_on() {
    let two = two("login_hint = \"of-the-settings\"").await;
    let issuer = two.second.issuer.clone();
    let long = "x".repeat(513);
    for (hint, wanted) in [
        ("anna & co", "anna & co"),
        (&long[..512], &long[..512]),
        (long.as_str(), "of-the-settings"),
        ("a\r\nb", "of-the-settings"),
        ("", "of-the-settings"),
    ] {
        let (answer, _) = two.start(&[("iss", &issuer), ("login_hint", hint)]).await;
        let url = answer.location().expect("to the provider");
        let hints: Vec<String> =
            url.query_pairs().filter(|(name, _)| name == "login_hint").map(|(_, v)| v.into_owned()).collect();
        assert_eq!(hints, [wanted]);
    }
    let huge = "x".repeat(20_000);
    let form = [NAVIGATION[0], ("sec-fetch-mode", "navigate")];
    let answer = Person::new()
        .request(Method::POST, &two.gateway.url("/oidc/login"), &form, Some(format!("iss=a&login_hint={huge}")))
        .await;
    assert_eq!((answer.status, answer.reason().as_str()), (413, "DW-1009"));
}
