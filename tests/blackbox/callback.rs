//! The end of a sign-in, turned against the user (threats C, first half).

use serde_json::json;

use crate::support::app::App;
use crate::support::forger::{Forger, forged, refused, trip};
use crate::support::person::Person;
use crate::support::raw::{exchange, get};
use crate::support::setup::scene;

/// The pairs of a query, decoded.
type Pairs = Vec<(String, String)>;
/// What a test makes of the pairs of a proper answer.
type Change = Box<dyn Fn(Pairs) -> Pairs + Send>;

#[tokio::test]
async fn a_proper_answer_of_the_forger_is_taken() {
    let (forger, app, gateway) = forged("").await;
    let person = Person::new();
    let answer = trip(&person, &gateway).await;
    assert_eq!(answer.location().expect("a redirect").path(), "/page", "{}", answer.text());
    assert_eq!(forger.token_requests(), 1);
    person.open(&gateway.url("/who")).await.expect(200);
    assert_eq!(app.seen_at("/who")[0].one("x-forwarded-user"), "anna");
}

#[tokio::test]
async fn the_authorization_request_carries_state_nonce_and_a_challenge() {
    let (forger, _app, gateway) = forged("").await;
    let mut seen: Vec<Pairs> = Vec::new();
    for _ in 0..3 {
        trip(&Person::new(), &gateway).await;
        seen.push(forger.attempt().params);
    }
    let value = |n: usize, name: &str| {
        let values: Vec<_> = seen[n].iter().filter(|(k, _)| k == name).map(|(_, v)| v.clone()).collect();
        assert_eq!(values.len(), 1, "{name} comes once: {:?}", seen[n]);
        values[0].clone()
    };
    assert_eq!(value(0, "response_type"), "code");
    assert_eq!(value(0, "client_id"), "the-client");
    assert_eq!(value(0, "code_challenge_method"), "S256");
    assert_eq!(value(0, "redirect_uri"), gateway.url("/oidc/callback"));
    assert_eq!(value(0, "scope").split(' ').collect::<Vec<_>>(), ["openid", "profile", "email"]);
    for name in ["state", "nonce", "code_challenge"] {
        let values = [value(0, name), value(1, name), value(2, name)];
        // 128 bits in base64url are 22 characters.
        assert!(values.iter().all(|v| v.len() >= 22), "{name}: {values:?}");
        assert!(values[0] != values[1] && values[1] != values[2], "{name} is new for each sign-in");
    }
}

#[tokio::test]
async fn a_callback_with_a_parameter_missing_doubled_empty_or_huge_is_refused() {
    let (forger, _app, gateway) = forged("").await;
    let huge = "x".repeat(1 << 20);
    let cases: Vec<(&str, Change)> = vec![
        ("no code", Box::new(|p| without(p, "code"))),
        ("no state", Box::new(|p| without(p, "state"))),
        ("no iss", Box::new(|p| without(p, "iss"))),
        ("nothing", Box::new(|_| Vec::new())),
        ("code twice", Box::new(|p| and(p, "code", "other"))),
        ("the same code twice", Box::new(|p| and(p, "code", "c0de"))),
        ("state twice", Box::new(|p| and(p, "state", "other"))),
        ("iss twice", Box::new(|p| and(p, "iss", "http://evil.test"))),
        ("code and error", Box::new(|p| and(p, "error", "access_denied"))),
        ("empty code", Box::new(|p| and(without(p, "code"), "code", ""))),
        ("empty state", Box::new(|p| and(without(p, "state"), "state", ""))),
        ("empty iss", Box::new(|p| and(without(p, "iss"), "iss", ""))),
        ("long code", Box::new(|p| and(without(p, "code"), "code", &"c".repeat(9000)))),
        ("long state", Box::new(|p| and(without(p, "state"), "state", &"s".repeat(9000)))),
        (
            "a state that says more",
            Box::new(|p| {
                let state = p.iter().find(|(k, _)| k == "state").map(|(_, v)| format!("{v}x")).unwrap_or_default();
                and(without(p, "state"), "state", &state)
            }),
        ),
        ("control characters", Box::new(|p| and(without(p, "code"), "code", "a\0b\r\nc"))),
        ("a thousand parameters", Box::new(|p| (0..1000).fold(p, |p, n| and(p, &format!("p{n}"), "v")))),
    ];
    for (why, change) in cases {
        forger.responds(move |attempt| change(attempt.response()));
        let person = Person::new();
        let answer = trip(&person, &gateway).await;
        assert!(answer.status == 400, "{why}: {} {}", answer.status, answer.text());
        assert!(answer.reason().starts_with("DW-31"), "{why}: {}", answer.text());
        assert!(person.session().is_empty(), "{why}");
    }
    for code in [&huge[..200_000], &huge] {
        // Closed without a word is an answer, too.
        let request = get(&format!("/oidc/callback?state=x&code={code}"), "");
        let reply = exchange(gateway.address(), request).await;
        assert!(reply.is_none_or(|reply| matches!(reply.status, 400 | 414 | 431)), "{} bytes", code.len());
    }
    assert_eq!(forger.token_requests(), 0, "the provider was asked for nothing");
}

fn without(mut pairs: Pairs, name: &str) -> Pairs {
    pairs.retain(|(k, _)| k != name);
    pairs
}

fn and(mut pairs: Pairs, name: &str, value: &str) -> Pairs {
    pairs.push((name.into(), value.into()));
    pairs
}

#[tokio::test]
async fn a_callback_opened_by_hand_says_so() {
    let (_forger, _app, gateway) = forged("").await;
    let answer = Person::new().open(&gateway.url("/oidc/callback")).await;
    refused(&answer, &Person::new(), 400, "DW-3101", "no parameters");
}

#[tokio::test]
async fn the_state_of_another_browser_is_refused() {
    let (forger, _app, gateway) = forged("").await;
    let (victim, attacker) = (Person::new(), Person::new());
    // The attacker stops before the callback and has the victim open it: login CSRF.
    let start = attacker.open(&gateway.url("/")).await;
    let callback = attacker.open(start.location().expect("redirect").as_str()).await.location().expect("redirect");
    let answer = victim.open(callback.as_str()).await;
    refused(&answer, &victim, 400, "DW-3122", "no attempt of its own");
    victim.open(&gateway.url("/")).await;
    let answer = victim.open(callback.as_str()).await;
    refused(&answer, &victim, 400, "DW-3103", "with an attempt of its own");
    assert_eq!(forger.token_requests(), 0);
}

#[tokio::test]
async fn a_callback_cannot_be_used_twice() {
    let (forger, _app, gateway) = forged("").await;
    let person = Person::new();
    let answer = trip(&person, &gateway).await;
    assert_eq!(person.session().len(), 1);
    person.edit(|jar| jar.retain(|c| c.name.contains("_login_")));
    let again = person.open(answer.url.as_str()).await;
    refused(&again, &person, 400, "DW-3123", "the attempt is over");
    assert_eq!(forger.token_requests(), 1, "the code was redeemed once");
}

#[tokio::test]
async fn reloading_the_callback_with_a_session_is_no_error() {
    let (_forger, _app, gateway) = forged("").await;
    let person = Person::new();
    let answer = trip(&person, &gateway).await;
    let again = person.open(answer.url.as_str()).await;
    assert_eq!(again.location().expect("a redirect").path(), "/");
}

#[tokio::test]
async fn the_answer_of_another_provider_is_refused() {
    let (forger, _app, gateway) = forged("").await;
    for issuer in ["http://evil.test", "http://evil.test/", ""] {
        forger.responds(move |attempt| and(without(attempt.response(), "iss"), "iss", issuer));
        let person = Person::new();
        let answer = trip(&person, &gateway).await;
        assert_eq!(answer.status, 400, "{issuer}");
        assert!(["DW-3105", "DW-3102"].contains(&answer.reason().as_str()), "{issuer}: {}", answer.text());
    }
    // The metadata says that `iss` is sent: leaving it out is no way around the check.
    forger.responds(|attempt| without(attempt.response(), "iss"));
    let person = Person::new();
    let answer = trip(&person, &gateway).await;
    refused(&answer, &person, 400, "DW-3105", "iss left out");
    assert_eq!(forger.token_requests(), 0, "the code went nowhere");
}

#[tokio::test]
async fn without_the_metadatas_promise_iss_may_be_absent_but_not_wrong() {
    let (forger, app) = (Forger::start().await, App::start().await);
    forger.metadata(json!({"authorization_response_iss_parameter_supported": null}));
    let gateway = forger.gateway(&app.url(), "").await;
    forger.responds(|attempt| without(attempt.response(), "iss"));
    assert!(trip(&Person::new(), &gateway).await.location().is_some());
    forger.responds(|attempt| and(without(attempt.response(), "iss"), "iss", "http://evil.test"));
    let person = Person::new();
    refused(&trip(&person, &gateway).await, &person, 400, "DW-3105", "wrong iss");
}

#[tokio::test]
async fn an_error_of_the_provider_is_told_by_kind_and_its_words_stay_in_the_log() {
    let (forger, _app, gateway) = forged("").await;
    let words = "<script>alert(1)</script>\r\n2026 INFO forged line";
    for (error, status, reason) in [
        ("access_denied", 403, "DW-3106"),
        ("login_required", 403, "DW-3131"),
        ("invalid_scope", 502, "DW-3128"),
        ("unauthorized_client", 502, "DW-3125"),
        ("invalid_request", 502, "DW-3107"),
        ("temporarily_unavailable", 503, "DW-6002"),
        ("<script>alert(2)</script>", 403, "DW-3106"),
    ] {
        forger.responds(move |attempt| {
            let pairs = and(without(attempt.response(), "code"), "error", error);
            and(pairs, "error_description", words)
        });
        let person = Person::new();
        let answer = trip(&person, &gateway).await;
        refused(&answer, &person, status, reason, error);
        assert!(!answer.text().contains("<script"), "{}", answer.text());
        let (line, _) = gateway.refusal(reason, &answer.text()).await;
        assert!(line.contains("forged line"), "the provider's words are not in the log: {line}");
    }
    let begins = |line: &String| line.starts_with("2026 INFO forged");
    assert!(!gateway.log_lines().iter().any(begins), "they begin a line of it");
}

#[tokio::test]
async fn an_attempt_ends_after_its_time() {
    let (forger, app) = (Forger::start().await, App::start().await);
    let gateway = forger.config(&app.url(), "").add("[sign_in]\nattempt_lifetime = \"1s\"\n").start().await;
    gateway.ready().await;
    let person = Person::new();
    let start = person.open(&gateway.url("/")).await;
    let callback = person.open(start.location().expect("redirect").as_str()).await.location().expect("redirect");
    // The condition awaited here is the time itself; the jar does not heed Max-Age on its own.
    tokio::time::sleep(std::time::Duration::from_millis(2100)).await;
    let answer = person.open(callback.as_str()).await;
    refused(&answer, &person, 400, "DW-3104", "two seconds later");
}

#[tokio::test]
async fn a_session_from_before_sign_in_is_replaced() {
    let (_forger, app, gateway) = forged("").await;
    let person = Person::new();
    trip(&person, &gateway).await;
    let before = person.session();
    // Signs in again with the old cookie still there, as somebody would whose cookie an attacker planted.
    let start = person.open(&gateway.url("/oidc/login?return_to=/again")).await;
    let callback = person.open(start.location().expect("redirect").as_str()).await.location().expect("redirect");
    person.open(callback.as_str()).await;
    let after = person.session();
    assert_eq!((before.len(), after.len()), (1, 1));
    assert_ne!(before[0].value, after[0].value);
    let _ = app;
}

#[tokio::test]
async fn the_way_back_never_leads_to_another_host() {
    let scene = scene().await;
    let gateway = &scene.gateway;
    let public = gateway.url("");
    let corpus = [
        "//e.test",
        "///e.test",
        "////e.test",
        "/\\e.test",
        "\\/e.test",
        "\\\\e.test",
        "/%5ce.test",
        "/%5Ce.test",
        "/%2fe.test",
        "/%2F%2Fe.test",
        "/%252fe.test",
        "/\t/e.test",
        "/%09/e.test",
        "\t//e.test",
        "/\n/e.test",
        "/%0a/e.test",
        "/%0d%0aLocation:%20//e.test",
        "/\0/e.test",
        "/%00/e.test",
        "https:e.test",
        "https:/e.test",
        "https://e.test",
        "http://e.test",
        "HTTP://e.test",
        "http:e.test",
        "http:///e.test",
        "javascript:alert(1)",
        "data:text/html,x",
        "//e.test/..",
        "/..//e.test",
        "/.//e.test",
        "/./\\e.test",
        "/a/..//e.test",
        "/%2e%2e//e.test",
        "//user:p@e.test/",
        "http://127.0.0.1@e.test/",
        "http://127.0.0.1:80@e.test/",
        "http://e.test#@127.0.0.1/",
        "http://e.test?127.0.0.1",
        "http://127.0.0.1.e.test/",
        "//127.0.0.1:1/",
        "//127。0。0。1:1/",
        "http://[::1]/",
        "//xn--e-0ga.test/",
        "/〱e.test",
        "/\u{2028}/e.test",
        " //e.test",
        "/ /e.test",
        "%2f%2fe.test",
        "e.test",
        "?//e.test/../..//e",
        "",
        ".",
        "..",
        "..//e.test",
        "#//e.test",
        ";//e.test",
        "/;//e.test",
        "//e%E3%80%82test",
        "/\\/\\e.test",
        "/%5c/e.test",
        "//e.test:443\\@127.0.0.1/",
        "//e.test%2523@127.0.0.1/",
        "/x\r\nSet-Cookie: doorward=x",
    ];
    for target in corpus {
        let query = url::form_urlencoded::Serializer::new(String::new()).append_pair("return_to", target).finish();
        for start in [format!("{public}/oidc/login?{query}"), format!("{public}/logout?{query}")] {
            let person = Person::new();
            let answer = person.open(&start).await;
            match answer.location() {
                None => assert_eq!(
                    (answer.status, answer.reason().as_str()),
                    (400, "DW-3109"),
                    "{target:?}: {}",
                    answer.text()
                ),
                // To the provider, to come back to what was judged; follow it to the end.
                Some(next) if next.host_str() == Some("127.0.0.2") => {
                    let form = person.follow(answer).await;
                    let user = scene.provider.user("anna");
                    let mut back =
                        person.post(form.url.as_str(), &[("username", user.name), ("password", &user.password)]).await;
                    while let Some(next) = back.location() {
                        let known = ["127.0.0.1", "127.0.0.2"].contains(&next.host_str().unwrap_or_default());
                        assert!(known, "{target:?} led to {next}");
                        assert!(
                            next.host_str() == Some("127.0.0.2") || next.port() == Some(gateway.config.port),
                            "{target:?} led to {next}"
                        );
                        back = person.open(next.as_str()).await;
                    }
                }
                Some(next) => assert!(next.as_str().starts_with(&public), "{target:?} led to {next}"),
            }
        }
    }
    for target in ["/", "/a/b?x=1&y=//e.test", "/a%20b", "/?next=https://e.test", "/@e.test"] {
        let query = url::form_urlencoded::Serializer::new(String::new()).append_pair("return_to", target).finish();
        let person = Person::new();
        let answer = person.sign_in(&format!("{public}/oidc/login?{query}"), scene.provider.user("anna")).await;
        assert_eq!(answer.url.as_str(), format!("{public}{target}"));
    }
}
