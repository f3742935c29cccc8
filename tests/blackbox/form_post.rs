//! Answers that the browser posts: implicit and hybrid flow, `form_post`, and the same-site bounce (threats C).

use reqwest::Method;
use serde_json::json;

use crate::support::app::App;
use crate::support::forger::{Forger, forged, refused, trip};
use crate::support::forms::Form;
use crate::support::person::{NAVIGATION, Person};
use crate::support::poster::{Fields, post_twice, posted_trip, to_form};

const IMPLICIT: &str = "auth_method = \"implicit\"";
const HYBRID: &str = "auth_method = \"hybrid\"";
const POSTED_CODE: &str = "response_mode = \"form_post\"";

#[tokio::test]
async fn each_flow_asks_for_what_it_needs_and_signs_in() {
    for (keys, kind, challenge, token_requests) in
        [(IMPLICIT, "id_token", false, 0), (HYBRID, "code id_token", true, 1), (POSTED_CODE, "code", true, 1)]
    {
        let (forger, app, gateway) = forged(keys).await;
        let person = Person::new();
        let answer = posted_trip(&person, &gateway).await;
        assert_eq!(answer.location().expect("on to the page").path(), "/page", "{kind}: {}", answer.text());
        person.open(&gateway.url("/who")).await.expect(200);
        assert_eq!(app.seen_at("/who")[0].one("x-forwarded-user"), "anna", "{kind}");
        assert_eq!(forger.token_requests(), token_requests, "{kind}");
        let asked = forger.attempt();
        assert_eq!(asked.asked("response_type"), Some(kind));
        assert_eq!(asked.asked("response_mode"), Some("form_post"), "{kind}");
        assert_eq!(asked.asked("code_challenge_method").is_some(), challenge, "{kind}");
        assert!(asked.asked("nonce").is_some_and(|nonce| nonce.len() >= 22), "{kind}");
    }
}

#[tokio::test]
async fn an_id_token_makes_one_session_whoever_kept_the_cookie_and_the_form() {
    let (_forger, _app, gateway) = forged(IMPLICIT).await;
    let person = Person::new();
    let form = to_form(&person, &gateway).await;
    let bounce = person.submit(&form).await;
    let (kept, double) = (person.clone_with_own_jar(), person.clone_with_own_jar());
    person.submit(&bounce).await;
    assert_eq!(person.session().len(), 1);
    let again = kept.submit(&bounce).await;
    refused(&again, &kept, 400, "DW-3123", "the same form and cookie again");
    gateway.log_line(&["audit", "sign_in", "deny", "DW-3123"]).await;
    // Who clicks twice has the session of the first click, and goes on with it.
    double.edit(|jar| jar.extend(person.session()));
    let again = double.submit(&bounce).await;
    assert_eq!(again.location().map(|url| url.path().to_owned()).as_deref(), Some("/"), "{}", again.text());
    assert_eq!(double.session(), person.session());
}

#[tokio::test]
async fn the_first_post_makes_nothing_and_brings_no_cookie() {
    let (_forger, _app, gateway) = forged(IMPLICIT).await;
    let person = Person::new();
    let form = to_form(&person, &gateway).await;
    let bounce = person.submit(&form).await;
    bounce.expect(200);
    assert_eq!(bounce.header("cache-control"), "no-store");
    assert!(bounce.set_cookies().is_empty(), "{:?}", bounce.set_cookies());
    let policy = bounce.header("content-security-policy");
    assert!(policy.contains("form-action 'self'") && policy.contains("script-src 'sha256-"), "{policy}");
    let login = Person::new().open(&gateway.url("/oidc/callback")).await;
    assert!(!login.header("content-security-policy").contains("script-src"), "no other page may run a script");
    let (sent, again) = (Form::of(&form.text()).expect("a form"), Form::of(&bounce.text()).expect("a form"));
    assert_eq!(again.action, "/oidc/callback");
    for name in ["state", "id_token", "iss"] {
        assert_eq!(again.get(name), sent.get(name), "{name}");
    }
    assert!(person.session().is_empty());
    let answer = person.submit(&bounce).await;
    assert_eq!(person.session().len(), 1, "{}", answer.text());
    // Reloaded, both of them: the session is there, and nothing is made anew.
    let before = person.session();
    let again = person.submit(&bounce).await;
    assert_eq!(again.location().map(|url| url.path().to_owned()).as_deref(), Some("/"), "{}", again.text());
    assert_eq!(person.session(), before);
}

#[tokio::test]
async fn tokens_that_do_not_belong_together_are_refused() {
    let (forger, _app, gateway) = forged(HYBRID).await;
    type Change = fn(&mut serde_json::Value);
    let cases: [(&str, Change, &str); 6] = [
        ("no c_hash", |claims| claims["c_hash"] = json!(null), "DW-3301"),
        ("c_hash left out", |claims| drop(claims.as_object_mut().expect("an object").remove("c_hash")), "DW-3309"),
        ("c_hash of another code", |claims| claims["c_hash"] = json!("LDktKdoQak3Pk0cnXxCltA"), "DW-3309"),
        ("nonce of another attempt", |claims| claims["nonce"] = json!("b".repeat(43)), "DW-3308"),
        ("no nonce", |claims| drop(claims.as_object_mut().expect("an object").remove("nonce")), "DW-3308"),
        ("for another client", |claims| claims["aud"] = json!("other"), "DW-3306"),
    ];
    for (why, change, reason) in cases {
        forger.posted_claims(change);
        let person = Person::new();
        let answer = posted_trip(&person, &gateway).await;
        refused(&answer, &person, answer.status, reason, why);
    }
    assert_eq!(forger.token_requests(), 0, "no code was redeemed");
    // Two people in one sign-in: whoever swapped the code is not the one who signed in.
    forger.posted_claims(|claims| claims["sub"] = json!("berta"));
    let person = Person::new();
    refused(&posted_trip(&person, &gateway).await, &person, 502, "DW-3309", "another person's code");
    assert_eq!(forger.token_requests(), 1);
}

#[tokio::test]
async fn a_posted_id_token_is_judged_like_any_other() {
    let (forger, _app, gateway) = forged(IMPLICIT).await;
    forger.posted_claims(|claims| claims["nonce"] = json!("b".repeat(43)));
    let person = Person::new();
    refused(&posted_trip(&person, &gateway).await, &person, 400, "DW-3308", "nonce of another attempt");
    forger.posted_claims(|claims| claims["exp"] = json!(1));
    refused(&posted_trip(&person, &gateway).await, &person, 502, "DW-3307", "expired");
    forger.responds_signed(|attempt, key| {
        let mut fields = attempt.granted(key, &attempt.claims());
        let token = fields.iter_mut().find(|(name, _)| name == "id_token").expect("an ID token");
        token.1.replace_range(token.1.len() - 8.., "AAAAAAAA");
        fields
    });
    refused(&posted_trip(&person, &gateway).await, &person, 502, "DW-3303", "another signature");
    forger.responds_signed(|attempt, key| {
        let mut fields = attempt.granted(key, &attempt.claims());
        fields.iter_mut().filter(|(name, _)| name == "iss").for_each(|(_, iss)| iss.push('/'));
        fields
    });
    refused(&posted_trip(&person, &gateway).await, &person, 400, "DW-3105", "`iss` beside it is another one");
    forger.responds_signed(|attempt, key| {
        let mut fields = attempt.granted(key, &attempt.claims());
        fields.retain(|(name, _)| name != "iss");
        fields
    });
    posted_trip(&person, &gateway).await;
    assert_eq!(person.session().len(), 1, "the ID token says who answers; `iss` may be left out (RFC 9207 §2.4)");
}

#[tokio::test]
async fn a_posted_code_without_iss_is_refused_where_the_provider_promises_it() {
    let (forger, _app, gateway) = forged(POSTED_CODE).await;
    forger.responds(|attempt| attempt.response().into_iter().filter(|(name, _)| name != "iss").collect());
    let person = Person::new();
    refused(&posted_trip(&person, &gateway).await, &person, 400, "DW-3105", "iss left out (RFC 9207)");
    assert_eq!(forger.token_requests(), 0);
}

#[tokio::test]
async fn nothing_but_what_was_asked_for_is_taken() {
    let and = |mut fields: Fields, name: &str| {
        fields.push((name.to_owned(), "x.y.z".to_owned()));
        fields
    };
    for (keys, wanted) in [(IMPLICIT, "an ID token"), (HYBRID, "a code and an ID token"), (POSTED_CODE, "a code")] {
        let (forger, _app, gateway) = forged(keys).await;
        for (what, taken) in
            [("a code", &["code"][..]), ("an ID token", &["id_token"]), ("both", &["code", "id_token"])]
        {
            forger.responds_signed(move |attempt, key| {
                let mut fields = attempt.response();
                fields.push(("id_token".into(), key.token(&attempt.hybrid_claims())));
                let kept = |name: &str| !matches!(name, "code" | "id_token") || taken.contains(&name);
                fields.retain(|(name, _)| kept(name));
                fields
            });
            let person = Person::new();
            let answer = posted_trip(&person, &gateway).await;
            if wanted == what || (what == "both" && keys == HYBRID) {
                assert_eq!(person.session().len(), 1, "{keys}, {what}: {}", answer.text());
            } else {
                refused(&answer, &person, 400, "DW-3112", &format!("{keys}, {what}"));
            }
        }
        forger.responds_signed(move |attempt, key| and(attempt.granted(key, &attempt.hybrid_claims()), "access_token"));
        let person = Person::new();
        refused(&posted_trip(&person, &gateway).await, &person, 400, "DW-3112", "an access token that nobody wants");
        // The same by a redirect: a GET where a POST was asked for.
        forger.responds_signed(|attempt, key| attempt.granted(key, &attempt.hybrid_claims()));
        forger.posts(false);
        let person = Person::new();
        refused(&trip(&person, &gateway).await, &person, 400, "DW-3112", "in the address");
        let line = gateway.log_line(&["DW-3112", "in the address"]).await;
        assert!(line.contains(&format!("expected {wanted} in a form")), "{line}");
    }
}

#[tokio::test]
async fn a_post_where_none_was_asked_for_is_refused_with_the_reason() {
    let (forger, _app, gateway) = forged("").await;
    forger.posts(true);
    let person = Person::new();
    let answer = posted_trip(&person, &gateway).await;
    refused(&answer, &person, 400, "DW-3112", "posted");
    gateway.log_line(&["DW-3112", "expected an answer in the address, got a form"]).await;
    assert_eq!(forger.token_requests(), 0);
}

#[tokio::test]
async fn an_error_is_taken_in_either_way() {
    let (forger, _app, gateway) = forged(IMPLICIT).await;
    for posted in [true, false] {
        forger.posts(posted);
        forger.responds(move |attempt| {
            let mut fields = attempt.response();
            fields.retain(|(name, _)| name != "code");
            fields.extend([("error".into(), "access_denied".into())]);
            fields.extend([("error_description".into(), format!("<b>& nö</b>+{posted}"))]);
            fields
        });
        let person = Person::new();
        let answer = if posted { posted_trip(&person, &gateway).await } else { trip(&person, &gateway).await };
        refused(&answer, &person, 403, "DW-3106", "an error");
        // The provider's words come through the bounce as they are.
        gateway.log_line(&["DW-3106", "<b>& n", &format!("</b>+{posted}")]).await;
    }
}

#[tokio::test]
async fn what_another_browser_started_cannot_be_posted_here() {
    let (forger, _app, gateway) = forged(IMPLICIT).await;
    let (victim, attacker) = (Person::new(), Person::new());
    let form = to_form(&attacker, &gateway).await;
    // Without attempts of one's own, and with.
    for reason in ["DW-3122", "DW-3103"] {
        let answer = post_twice(&victim, &form).await;
        refused(&answer, &victim, 400, reason, "the attempt of another browser");
        victim.open(&gateway.url("/")).await;
    }
    // Whoever forges the mark of the second POST has no cookie for all that.
    let mut fields = Form::of(&form.text()).expect("a form").fields;
    fields.push(("doorward_bounced".into(), "1".into()));
    let body = encoded(&fields);
    let answer = victim.request(Method::POST, &gateway.url("/oidc/callback"), &cross_site(), Some(body)).await;
    refused(&answer, &victim, 400, "DW-3103", "a forged mark");
    assert_eq!(forger.token_requests(), 0);
}

fn encoded(fields: &Fields) -> String {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish()
}

/// What a browser sends with a form of another site whose page keeps its address to itself.
fn cross_site() -> Vec<(&'static str, &'static str)> {
    let mut headers = NAVIGATION.to_vec();
    headers.retain(|(name, _)| *name != "sec-fetch-site");
    headers.extend([("sec-fetch-site", "cross-site"), ("origin", "null")]);
    headers
}

#[tokio::test]
async fn a_link_of_another_site_does_not_become_one_of_this_site() {
    let (_forger, app, gateway) = forged(IMPLICIT).await;
    for (site, by_itself) in [("none", true), ("same-origin", true), ("cross-site", false)] {
        let person = Person::new();
        let mut headers = NAVIGATION.to_vec();
        headers.retain(|(name, _)| *name != "sec-fetch-site");
        headers.push(("sec-fetch-site", site));
        let start = person.request(Method::GET, &gateway.url("/delete?id=1"), &headers, None).await;
        let form = person.open(start.location().expect("to the provider").as_str()).await;
        let answer = post_twice(&person, &form).await;
        answer.expect(200);
        assert_eq!(answer.text().contains("http-equiv=\"refresh\""), by_itself, "{site}");
        assert!(answer.text().contains("href=\"/delete?id=1\""), "{site}: the person can go on: {}", answer.text());
        assert!(!person.session().is_empty(), "{site}");
    }
    assert!(app.seen().is_empty());
}

#[tokio::test]
async fn what_is_posted_is_shown_escaped_and_the_rest_is_left_out() {
    let (_forger, _app, gateway) = forged(IMPLICIT).await;
    let evil = "\"><script>alert(1)</script><form action=\"//evil.test\"><input name='";
    let callback = gateway.url("/oidc/callback");
    for fields in [
        vec![("state", "abc.def"), ("id_token", evil), ("iss", evil), (evil, evil), ("session_state", evil)],
        vec![("state", evil), ("id_token", "x")],
        vec![("state", "abc.def"), ("error", evil), ("error_description", evil)],
        vec![("state", "abc.def\"><script>"), ("error", "x")],
    ] {
        let person = Person::new();
        let answer = person.request(Method::POST, &callback, &cross_site(), Some(encoded(&owned(&fields)))).await;
        let text = answer.text();
        assert!(!text.contains("<script>alert") && !text.contains("action=\"//"), "{text}");
        assert_eq!(text.matches("<form").count(), usize::from(answer.status == 200), "{text}");
        if answer.status == 200 {
            let form = Form::of(&text).expect("a form");
            let names: Vec<&str> = form.fields.iter().map(|(name, _)| name.as_str()).collect();
            let known = ["state", "code", "id_token", "error", "error_description", "iss", "doorward_bounced"];
            assert!(names.iter().all(|name| known.contains(name)), "{names:?}");
        }
    }
}

fn owned(fields: &[(&str, &str)]) -> Fields {
    fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[tokio::test]
async fn a_malformed_or_huge_form_is_refused_before_anything_is_made_of_it() {
    let (forger, _app, gateway) = forged(IMPLICIT).await;
    let callback = gateway.url("/oidc/callback");
    let many: Vec<(String, String)> = (0..100).map(|n| (format!("p{n}"), "v".to_owned())).collect();
    let cases: Vec<(&str, String, u16, &str)> = vec![
        ("nothing", String::new(), 400, "DW-3101"),
        ("no state", "id_token=x".into(), 400, "DW-3101"),
        ("state alone", "state=a.b".into(), 400, "DW-3102"),
        ("state twice", "state=a.b&state=a.b&id_token=x".into(), 400, "DW-3102"),
        ("ID token twice", "state=a.b&id_token=x&id_token=x".into(), 400, "DW-3102"),
        ("the mark twice", "state=a.b&id_token=x&doorward_bounced=1&doorward_bounced=1".into(), 400, "DW-3102"),
        ("token and error", "state=a.b&id_token=x&error=y".into(), 400, "DW-3102"),
        ("empty ID token", "state=a.b&id_token=".into(), 400, "DW-3102"),
        ("control characters", "state=a.b&id_token=x%0d%0ay".into(), 400, "DW-3102"),
        ("no UTF-8", "state=a.b&id_token=%ff%fe".into(), 400, "DW-3102"),
        ("many parameters", format!("state=a.b&id_token=x&{}", encoded(&many)), 400, "DW-3102"),
        ("a long state", format!("id_token=x&state={}", "s".repeat(300)), 400, "DW-3102"),
        ("a long code", format!("state=a.b&code={}", "c".repeat(9000)), 400, "DW-3102"),
        ("a state of nobody's", "state=%2e%2e/x&id_token=x".into(), 400, "DW-3103"),
        ("a megabyte", format!("state=a.b&id_token={}", "x".repeat(1 << 20)), 413, "DW-1009"),
    ];
    for (why, body, status, reason) in cases {
        let person = Person::new();
        let answer = person.request(Method::POST, &callback, &cross_site(), Some(body)).await;
        refused(&answer, &person, status, reason, why);
    }
    for kind in ["multipart/form-data; boundary=x", "text/plain", "application/json"] {
        let client = reqwest::Client::builder().no_proxy().build().expect("a client");
        let request = client.post(&callback).header("content-type", kind).body("state=a.b&id_token=x");
        assert_eq!(request.send().await.expect("an answer").status().as_u16(), 400, "{kind}");
    }
    let person = Person::new();
    let answer = person.request(Method::PUT, &callback, &cross_site(), Some("state=a.b".into())).await;
    assert_eq!((answer.status, answer.header("allow")), (405, "GET, HEAD, POST"));
    // As large as an ID token may be, and somewhat larger than any provider's.
    forger.posted_claims(|claims| claims["groups"] = json!(vec!["g".repeat(100); 700]));
    let answer = posted_trip(&person, &gateway).await;
    assert!(["DW-3401", ""].contains(&answer.reason().as_str()), "{}", answer.text());
}

/// With these the addresses for programs are the gateway's own, too.
const FOR_PROGRAMS: &str = r#"
[[issuer]]
name = "people"
provider = "main"
audiences = ["the-client"]

[federation]
audiences = ["the-client"]
allow = { email_domains = ["example.com"] }

[[route]]
path = "/api"
access = "bearer"
resource_metadata = true
"#;

#[tokio::test]
async fn no_other_address_of_the_gateway_takes_a_post_of_another_site() {
    let (forger, app) = (Forger::start().await, App::start().await);
    let gateway = forger.config(&app.url(), IMPLICIT).add(FOR_PROGRAMS).start().await;
    gateway.ready().await;
    let person = Person::new();
    posted_trip(&person, &gateway).await;
    for (path, status, reason) in [
        ("/logout", 403, "DW-3111"),
        ("/oidc/signed-out", 405, "DW-1010"),
        // Starts a sign-in, as a link of anybody's may (OpenID Connect Core §4).
        ("/oidc/login", 303, ""),
        // For programs, by what they send alone.
        ("/oidc/token", 400, "DW-8302"),
        ("/oidc/backchannel-logout", 400, "DW-3114"),
        ("/.well-known/jwks.json", 405, "DW-1010"),
        ("/.well-known/oauth-authorization-server", 405, "DW-1010"),
        ("/.well-known/oauth-protected-resource/api", 405, "DW-1010"),
    ] {
        for origin in ["null", "http://127.0.0.2"] {
            let mut headers = cross_site();
            headers.retain(|(name, _)| *name != "origin");
            headers.push(("origin", origin));
            // The session goes along, as in a browser that knows no `SameSite`.
            let answer = person.request(Method::POST, &gateway.url(path), &headers, Some(String::new())).await;
            assert_eq!((answer.status, answer.reason().as_str()), (status, reason), "{path}: {}", answer.text());
            assert_eq!(answer.header("access-control-allow-origin"), "", "{path}");
            assert_eq!(person.session().len(), 1, "{path}: the session is still there");
        }
    }
    let no_metadata = [("accept", "text/html"), ("origin", "null")];
    let answer = person.request(Method::POST, &gateway.url("/logout"), &no_metadata, Some(String::new())).await;
    assert_eq!(answer.reason(), "DW-3111", "an old browser's `Origin: null` is another site, too");
}

#[tokio::test]
async fn an_answer_that_brings_its_cookie_is_judged_at_once() {
    let (_forger, _app, gateway) = forged(IMPLICIT).await;
    let person = Person::new();
    let form = to_form(&person, &gateway).await;
    // As from a provider on the same site, whose form brings Lax cookies.
    let fields = Form::of(&form.text()).expect("a form").fields;
    let answer =
        person.request(Method::POST, &gateway.url("/oidc/callback"), &cross_site(), Some(encoded(&fields))).await;
    assert_eq!(answer.location().expect("on to the page").path(), "/page", "{}", answer.text());
    assert_eq!(person.session().len(), 1);
}
