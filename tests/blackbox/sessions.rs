//! Sessions: whose they are, how long they last, how they travel.

use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::json;

use crate::support::app::App;
use crate::support::browser::Browser;
use crate::support::forger::{Attempt, Forger, now, trip};
use crate::support::gateway::Config;
use crate::support::person::{NAVIGATION, Person};
use crate::support::provider::Provider;
use crate::support::setup::{ROUTES, Scene, scene, scene_at, scene_with};
use crate::support::{eventually, random_word, unhurried};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_sign_ins_at_once_and_nobody_gets_anothers_session() {
    let scene = Arc::new(scene().await);
    let tasks: Vec<_> = (0..100)
        .map(|n| {
            let (scene, name) = (Arc::clone(&scene), if n % 2 == 0 { "anna" } else { "berta" });
            tokio::spawn(async move {
                let person = Person::new();
                let page = scene.gateway.url(&format!("/who/{n}"));
                let first = person.sign_in(&page, scene.provider.user(name)).await;
                for answer in [first, person.fetch(&page).await, person.fetch(&page).await] {
                    let told = answer.expect(200).json();
                    let user: Vec<_> = told["headers"]
                        .as_array()
                        .expect("headers")
                        .iter()
                        .filter(|h| h[0] == "x-forwarded-user")
                        .collect();
                    assert_eq!(user.len(), 1);
                    assert_eq!(user[0][1], name, "request {n}");
                    assert_eq!(told["path"], format!("/who/{n}"));
                }
                person.session()[0].value.clone()
            })
        })
        .collect();
    let mut sessions = Vec::new();
    for task in tasks {
        sessions.push(task.await.expect("a sign-in"));
    }
    sessions.sort();
    sessions.dedup();
    assert_eq!(sessions.len(), 100, "every session is one of its own");
    assert_eq!(scene.gateway.metric("doorward_sign_ins_total", &["callback", "ok"]).await, 100.0);
}

#[tokio::test]
async fn a_session_ends_when_it_is_idle_and_not_before() {
    let (scene, idle) = unhurried(async |limit| {
        let scene = scene_with("", &format!("[session]\nidle = \"{limit}s\"\n")).await;
        let (person, mut used) = (Person::new(), Instant::now());
        person.sign_in(&scene.gateway.url("/who"), scene.provider.user("anna")).await;
        let (idle, signed_in) = (person.clone_with_own_jar(), Instant::now());
        // In use for longer than the limit, a little at a time.
        while signed_in.elapsed() <= Duration::from_secs(limit + 1) {
            tokio::time::sleep(Duration::from_secs(limit) / 4).await;
            let (before, now) = (used, Instant::now());
            let answer = person.fetch(&scene.gateway.url("/who")).await;
            // The gateway counts in whole seconds.
            if answer.status != 200 && before.elapsed() > Duration::from_secs(limit - 1) {
                return None;
            }
            answer.expect(200);
            used = now;
        }
        Some((scene, idle))
    })
    .await;
    let answer = idle.fetch(&scene.gateway.url("/who")).await;
    assert_eq!((answer.status, answer.reason().as_str()), (401, "DW-4004"));
    assert!(idle.open(&scene.gateway.url("/who")).await.location().is_some(), "a person signs in again");
}

#[tokio::test]
async fn a_session_ends_at_its_absolute_limit_however_much_it_is_used() {
    let scene = scene_with("", "[session]\nidle = \"3s\"\nabsolute = \"3s\"\n").await;
    let person = Person::new();
    person.sign_in(&scene.gateway.url("/who"), scene.provider.user("anna")).await;
    let answer = eventually("the session's end", || async {
        Some(person.fetch(&scene.gateway.url("/who")).await).filter(|answer| answer.status != 200)
    })
    .await;
    assert_eq!((answer.status, answer.reason().as_str()), (401, "DW-4003"));
}

#[tokio::test]
async fn a_large_session_is_split_and_its_parts_end_with_it() {
    let scene = scene().await;
    let person = Person::new();
    let answer = person.sign_in(&scene.gateway.url("/who"), scene.provider.user("many")).await;
    let parts = person.session();
    assert!(parts.len() > 1, "{} cookies", parts.len());
    assert!(
        parts.iter().all(|c| c.name.len() + c.value.len() <= 4096),
        "{:?}",
        parts.iter().map(|c| c.value.len()).collect::<Vec<_>>()
    );
    assert_eq!(answer.status, 200);
    let groups = scene.app.seen_at("/who")[0].one("x-forwarded-groups").to_owned();
    assert_eq!(groups.split(',').count(), 150);

    let browser = Browser::start().await;
    let tab = browser.tab(&scene.gateway.url("/page")).await;
    tab.log_in(scene.provider.user("many")).await;
    tab.wait_for("#app").await;
    assert_eq!(
        browser
            .cookies()
            .await
            .iter()
            .filter(|c| c.domain == "127.0.0.1" && c.name.starts_with("doorward"))
            .filter(|c| !c.name.ends_with("trips") && !c.name.ends_with("hint"))
            .count(),
        parts.len()
    );

    // A shorter session of somebody else leaves nothing of the longer one.
    person.edit(|jar| jar.retain(|c| c.host == "127.0.0.1"));
    person.sign_in(&scene.gateway.url("/oidc/login?return_to=/who"), scene.provider.user("anna")).await;
    assert_eq!(person.session().len(), 1, "{:?}", person.session());
    assert_eq!(scene.app.seen_at("/who").last().expect("asked").one("x-forwarded-user"), "anna");
}

#[tokio::test]
async fn parts_of_two_sessions_make_none() {
    let scene = scene().await;
    let (one, two) = (Person::new(), Person::new());
    one.sign_in(&scene.gateway.url("/who"), scene.provider.user("many")).await;
    two.sign_in(&scene.gateway.url("/who"), scene.provider.user("many")).await;
    let (first, second) = (one.session(), two.session());
    assert_eq!(first.len(), second.len());
    for (n, other) in second.iter().enumerate() {
        let mixed = Person::new();
        let mix = first.iter().enumerate().map(|(i, own)| if i == n { other.clone() } else { own.clone() });
        mixed.edit(|jar| jar.extend(mix));
        assert_eq!(mixed.fetch(&scene.gateway.url("/who")).await.expect(401).reason(), "DW-4002");
        let missing = Person::new();
        missing.edit(|jar| jar.extend(first.iter().enumerate().filter(|(i, _)| *i != n).map(|(_, c)| c.clone())));
        missing.fetch(&scene.gateway.url("/who")).await.expect(401);
    }
}

#[tokio::test]
async fn a_cookie_with_one_letter_changed_is_no_session() {
    let scene = scene().await;
    let person = Person::new();
    person.sign_in(&scene.gateway.url("/who"), scene.provider.user("anna")).await;
    let session = person.session()[0].clone();
    let length = session.value.len();
    for at in (0..length).step_by(length / 40).chain([length - 1]) {
        let tampered = Person::new();
        tampered.edit(|jar| {
            let mut letters: Vec<char> = session.value.chars().collect();
            letters[at] = if letters[at] == 'A' { 'B' } else { 'A' };
            jar.push(crate::support::person::Stored { value: letters.into_iter().collect(), ..session.clone() });
        });
        let answer = tampered.fetch(&scene.gateway.url("/who")).await;
        // The last letter of base64 may hold bits that mean nothing; they must mean nothing here, too.
        assert_eq!(answer.status, 401, "letter {at} of {length}");
        // Which secret it is of stands in it openly; beyond that there is one answer for every failure.
        let of_no_secret = answer.reason() == "DW-4103" && (1..=6).contains(&at);
        assert!(answer.reason() == "DW-4002" || of_no_secret, "letter {at} of {length}: {}", answer.reason());
    }
}

#[tokio::test]
async fn cookies_are_bound_to_host_and_https_where_the_public_url_is() {
    let config = Config::new();
    let port = config.port;
    let config = Config { public_url: format!("https://127.0.0.1:{port}"), ..config };
    let scene = scene_at(Provider::shared(), config, "", ROUTES).await;
    let answer = Person::new().open(&format!("http://127.0.0.1:{port}/page")).await;
    let cookies = answer.set_cookies();
    assert!(cookies[0].starts_with("__Host-doorward_login_"), "{cookies:?}");
    for attribute in ["; Secure", "; HttpOnly", "; SameSite=Lax", "; Path=/"] {
        assert!(cookies[0].contains(attribute), "{attribute}: {cookies:?}");
    }
    assert!(!cookies[0].contains("Domain"), "{cookies:?}");
    let location = answer.location().expect("a redirect");
    let redirect_uri = location.query_pairs().find(|(k, _)| k == "redirect_uri").expect("redirect_uri").1.into_owned();
    assert_eq!(redirect_uri, format!("https://127.0.0.1:{port}/oidc/callback"));
    drop(scene);
}

#[tokio::test]
async fn the_redirect_uri_never_comes_from_the_host_header() {
    let scene = scene().await;
    for (name, value) in [
        ("host", "evil.test"),
        ("x-forwarded-host", "evil.test"),
        ("forwarded", "host=evil.test"),
        ("x-forwarded-proto", "gopher"),
    ] {
        let headers = [&[(name, value)][..], &NAVIGATION].concat();
        let answer = Person::new().request(Method::GET, &scene.gateway.url("/oidc/login"), &headers, None).await;
        let location = answer.location().expect("a redirect");
        assert!(!location.as_str().contains("evil") && !location.as_str().contains("gopher"), "{location}");
    }
}

#[tokio::test]
async fn a_new_secret_in_front_signs_nobody_out() {
    let Scene { gateway, app: _app, provider, .. } = scene().await;
    let person = Person::new();
    person.sign_in(&gateway.url("/who"), provider.user("anna")).await;
    let gateway = gateway.restart(|config| config.secrets.insert(0, random_word())).await;
    gateway.ready().await;
    person.fetch(&gateway.url("/who")).await.expect(200);
    let newcomer = Person::new();
    newcomer.sign_in(&gateway.url("/who"), provider.user("berta")).await;
    // When the old secret is taken away, its sessions end, and those of the new one go on.
    let gateway = gateway.restart(|config| drop(config.secrets.pop())).await;
    gateway.ready().await;
    assert_eq!(person.fetch(&gateway.url("/who")).await.expect(401).reason(), "DW-4103");
    newcomer.fetch(&gateway.url("/who")).await.expect(200);
    person.browse(&gateway.url("/who")).await.expect(200);
}

#[tokio::test]
async fn a_session_of_a_gateway_with_other_secrets_is_none_here() {
    let (one, two) = (scene().await, scene().await);
    let person = Person::new();
    person.sign_in(&one.gateway.url("/who"), one.provider.user("anna")).await;
    // Both gateways are on one host, so the browser sends the cookie to both.
    assert_eq!(person.fetch(&two.gateway.url("/who")).await.expect(401).reason(), "DW-4103");
}

#[tokio::test]
async fn an_answer_carries_a_cookie_only_when_there_is_something_new() {
    let scene = scene().await;
    let person = Person::new();
    person.sign_in(&scene.gateway.url("/who"), scene.provider.user("anna")).await;
    for _ in 0..3 {
        assert!(person.fetch(&scene.gateway.url("/who")).await.expect(200).set_cookies().is_empty());
    }
}

/// A scene whose sessions are due for renewal with every request.
async fn renewing(settings: serde_json::Value, session: &str) -> Scene {
    let provider = Provider::start(settings);
    let tables = format!("{ROUTES}[session]\nrefresh = true\nrefresh_ahead = \"60s\"\n{session}\n");
    let keys = "scopes = [\"openid\", \"profile\", \"email\", \"offline_access\"]";
    let scene = scene_at(provider, Config::new(), keys, &tables).await;
    scene.provider.control("forget", json!({})).await;
    scene
}

async fn renewals(scene: &Scene) -> usize {
    let seen = scene.provider.seen().await;
    seen.iter().filter(|r| r["body"].as_str().is_some_and(|body| body.contains("grant_type=refresh_token"))).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_come_with_one_old_cookie_share_one_renewal() {
    // A provider that rotates refresh tokens takes a second use of one for theft, and ends the grant.
    // Its tokens are due for renewal two seconds after they were made.
    let scene = renewing(json!({"access_token_ttl": 62, "rotate_refresh_tokens": true}), "").await;
    let person = Person::new();
    let form = person.browse(&scene.gateway.url("/oidc/login?return_to=/public/x")).await;
    person.log_in(&form, scene.provider.user("anna")).await.expect(200);
    assert_eq!(renewals(&scene).await, 0);
    scene.provider.control("faults", json!({"path": "/token", "delay_ms": 300})).await;
    tokio::time::sleep(Duration::from_millis(3100)).await;
    let requests: Vec<_> = (0..30)
        .map(|n| {
            let (person, url) = (person.clone_with_own_jar(), scene.gateway.url(&format!("/who/{n}")));
            tokio::spawn(async move { person.fetch(&url).await })
        })
        .collect();
    let mut fresh = Vec::new();
    for request in requests {
        let answer = request.await.expect("a request");
        answer.expect(200);
        fresh.extend(answer.set_cookies());
    }
    assert_eq!(renewals(&scene).await, 1);
    assert_eq!(fresh.len(), 30, "every request that came with the old cookie takes the new one home");
    scene.provider.control("heal", json!({})).await;
    // The new session works, and so does its new refresh token.
    person.fetch(&scene.gateway.url("/who")).await.expect(200);
    eventually("another renewal", || async {
        person.fetch(&scene.gateway.url("/who")).await.expect(200);
        (renewals(&scene).await > 1).then_some(())
    })
    .await;
}

/// A provider that is asked to take one refresh token back takes the whole grant back, which the new session lives by.
#[tokio::test]
async fn a_second_sign_in_takes_the_refresh_token_of_another_person_back_and_leaves_the_own_grant() {
    let scene = renewing(json!({"access_token_ttl": 30}), "").await;
    let fetches = async |step| scene.gateway.metric("doorward_provider_fetches_total", &["main", step, "ok"]).await;
    let person = Person::new();
    let login = scene.gateway.url("/oidc/login?return_to=/public/x");
    person.sign_in(&login, scene.provider.user("anna")).await;
    let before = person.clone_with_own_jar();
    person.sign_in(&login, scene.provider.user("anna")).await;
    // What is still under way with the old cookie, although due for renewal, puts no old session back.
    assert!(before.fetch(&scene.gateway.url("/who")).await.expect(200).set_cookies().is_empty());
    person.fetch(&scene.gateway.url("/who")).await.expect(200);
    assert_eq!((fetches("refresh").await, fetches("revocation").await), (1.0, 0.0));
    // Somebody else at the same browser.
    person.edit(|jar| jar.retain(|cookie| cookie.name.contains("doorward")));
    person.sign_in(&login, scene.provider.user("berta")).await;
    eventually("the revocation", || async { (fetches("revocation").await == 1.0).then_some(()) }).await;
    person.fetch(&scene.gateway.url("/who")).await.expect(200);
    assert_eq!(fetches("refresh").await, 2.0);
}

#[tokio::test]
async fn a_renewal_brings_what_changed_at_the_provider() {
    let scene = renewing(json!({"access_token_ttl": 30}), "").await;
    let person = Person::new();
    let form = person.browse(&scene.gateway.url("/oidc/login?return_to=/public/x")).await;
    person.log_in(&form, scene.provider.user("berta")).await.expect(200);
    let claims = json!({"email": "berta@example.org", "email_verified": true, "groups": ["staff", "promoted"]});
    scene.provider.control("users", json!({"name": "berta", "password": "x", "claims": claims})).await;
    person.fetch(&scene.gateway.url("/who")).await.expect(200);
    assert_eq!(scene.app.seen_at("/who")[0].one("x-forwarded-groups"), "staff,promoted");
}

#[tokio::test]
async fn a_renewal_that_brings_another_person_is_refused() {
    let (forger, app) = (Forger::start().await, App::start().await);
    let session = "[session]\nrefresh = true\nrefresh_ahead = \"60s\"\non_refresh_failure = \"sign_in\"\n";
    let gateway = forger.config(&app.url(), "").add(session).start().await;
    gateway.ready().await;
    let began = now();
    for (why, change) in [
        ("another subject", json!({"sub": "berta"})),
        ("another client", json!({"aud": "other"})),
        ("another issuer", json!({"iss": "http://evil.test"})),
        ("another sign-in, by its nonce", json!({"nonce": "f0reign"})),
        ("another sign-in, by its time", json!({"auth_time": 1})),
    ] {
        forger.answers(move |attempt, key| (200, renewable(&key.token(&dated(attempt, began)))));
        let person = Person::new();
        trip(&person, &gateway).await;
        assert!(!person.session().is_empty());
        forger.answers(move |attempt, key| {
            let mut claims = dated(attempt, began);
            for (name, value) in change.as_object().expect("an object") {
                claims[name] = value.clone();
            }
            (200, renewable(&key.token(&claims)))
        });
        let answer = person.fetch(&gateway.url("/who")).await;
        assert_eq!((answer.status, answer.reason().as_str()), (401, "DW-4101"), "{why}: {}", answer.text());
    }
    assert!(app.seen_at("/who").is_empty());
    // With the nonce and the time of the sign-in, or without either, it is of that sign-in: again and again.
    forger.answers(move |attempt, key| (200, renewable(&key.token(&dated(attempt, began)))));
    let person = Person::new();
    trip(&person, &gateway).await;
    person.fetch(&gateway.url("/who")).await.expect(200);
    forger.answers(move |attempt, key| {
        let mut claims = attempt.claims();
        claims.as_object_mut().expect("an object").remove("nonce");
        (200, renewable(&key.token(&claims)))
    });
    person.fetch(&gateway.url("/who")).await.expect(200);
    forger.answers(move |attempt, key| {
        let mut claims = dated(attempt, began);
        claims["nonce"] = json!("f0reign");
        (200, renewable(&key.token(&claims)))
    });
    let answer = person.fetch(&gateway.url("/who")).await;
    assert_eq!((answer.status, answer.reason().as_str()), (401, "DW-4101"), "after two renewals: {}", answer.text());
}

/// The claims of a proper ID token of somebody who authenticated at `began`.
fn dated(attempt: &Attempt, began: i64) -> serde_json::Value {
    let mut claims = attempt.claims();
    claims["auth_time"] = json!(began);
    claims
}

/// A token response with a refresh token, soon to be renewed.
fn renewable(id_token: &str) -> String {
    json!({"access_token": "acce55", "token_type": "Bearer", "expires_in": 30, "refresh_token": "refre5h", "id_token": id_token})
        .to_string()
}

#[tokio::test]
async fn a_refused_renewal_keeps_the_session_or_ends_it_as_configured() {
    for (setting, kept) in
        [("", true), ("on_refresh_failure = \"keep\"", true), ("on_refresh_failure = \"sign_in\"", false)]
    {
        let scene = renewing(json!({"access_token_ttl": 30}), setting).await;
        let person = Person::new();
        let form = person.browse(&scene.gateway.url("/oidc/login?return_to=/public/x")).await;
        person.log_in(&form, scene.provider.user("anna")).await.expect(200);
        scene.provider.control("revoke", json!({"model": "RefreshToken"})).await;
        let answer = person.fetch(&scene.gateway.url("/who")).await;
        if kept {
            answer.expect(200);
            person.fetch(&scene.gateway.url("/who")).await.expect(200);
            assert_eq!(renewals(&scene).await, 1, "a spent token is not tried again");
        } else {
            assert_eq!((answer.status, answer.reason().as_str()), (401, "DW-4101"));
            assert!(person.open(&scene.gateway.url("/who")).await.location().is_some());
        }
    }
}

#[tokio::test]
async fn a_provider_that_does_not_answer_a_renewal_keeps_the_session_or_ends_it_as_configured() {
    for (setting, kept) in [("", true), ("on_refresh_failure = \"sign_in\"", false)] {
        for fault in [json!({"path": "/token", "status": 500}), json!({"path": "/token", "drop": true})] {
            let scene = renewing(json!({"access_token_ttl": 30}), setting).await;
            let person = Person::new();
            let form = person.browse(&scene.gateway.url("/oidc/login?return_to=/public/x")).await;
            person.log_in(&form, scene.provider.user("anna")).await.expect(200);
            scene.provider.control("faults", fault).await;
            let answer = person.fetch(&scene.gateway.url("/who")).await;
            if kept {
                answer.expect(200);
            } else {
                assert_eq!((answer.status, answer.reason().as_str()), (401, "DW-4102"));
            }
            for _ in 0..10 {
                person.fetch(&scene.gateway.url("/who")).await;
            }
            assert!(renewals(&scene).await <= 4, "a provider that is down is not asked with every request");
        }
    }
}
