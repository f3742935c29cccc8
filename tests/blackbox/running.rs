//! Running it among the hostile and the careless (threats E).

use std::time::Duration;

use reqwest::Method;
use serde_json::json;

use crate::support::app::App;
use crate::support::frames::{CONTINUATION, DATA, END_HEADERS, END_STREAM, H2, HEADERS, Outcome, RST_STREAM, literals};
use crate::support::gateway::{Config, Gateway};
use crate::support::person::{NAVIGATION, Person};
use crate::support::provider::Provider;
use crate::support::raw::{Connection, exchange, get};
use crate::support::setup::{ROUTES, gateway_before, scene_at};
use crate::support::{eventually, in_time};

const PUBLIC: &str = "[[route]]\naccess = \"public\"\n";

/// Another client is served while somebody misbehaves; once more where the test itself was too slow for a short time limit.
async fn serves(gateway: &Gateway) {
    let reply = eventually("an answer", || exchange(gateway.address(), get("/fine", ""))).await;
    assert_eq!(reply.status, 200);
}

#[tokio::test]
async fn headers_that_come_a_byte_at_a_time_are_given_up() {
    let app = App::start().await;
    let gateway = gateway_before(&app.url(), &format!("{PUBLIC}[timeouts]\nclient_idle = \"1s\"\n")).await;
    let mut slow = Connection::open(gateway.address()).await;
    slow.send("GET /slow-head HTTP/1.1\r\nHost: 127.0.0.1\r\nX: ").await;
    let dripping = async {
        loop {
            slow.send("x").await;
            tokio::time::sleep(Duration::from_millis(200)).await;
            // Writing succeeds for a moment after the other side has closed; reading tells.
            if let Ok(closed) = tokio::time::timeout(Duration::from_millis(1), slow.reply()).await {
                return closed;
            }
        }
    };
    let end = in_time("the connection's end", dripping).await;
    assert!(end.is_none_or(|reply| reply.status == 408));
    serves(&gateway).await;
    assert!(app.seen_at("/slow-head").is_empty());
}

#[tokio::test]
async fn a_body_that_stops_coming_is_given_up() {
    let app = App::start().await;
    let gateway = gateway_before(&app.url(), &format!("{PUBLIC}[timeouts]\nclient_body = \"1s\"\n")).await;
    let mut stuck = Connection::open(gateway.address()).await;
    stuck.send("POST /stuck HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 10\r\n\r\nab").await;
    let reply = stuck.reply().await;
    assert!(reply.as_ref().is_none_or(|reply| reply.status == 408), "{reply:?}");
    serves(&gateway).await;
}

#[tokio::test]
async fn idle_connections_are_closed_and_bounded() {
    let app = App::start().await;
    let gateway = {
        let config = Config { listen: "max_connections = 50\n".into(), ..Config::new() };
        let tables = format!(
            "[[provider]]\nissuer = \"http://127.0.0.2:9\"\nclient_id = \"nobody\"\n[[upstream]]\nurl = \"{}\"\n{PUBLIC}\
             [timeouts]\nclient_idle = \"2s\"\n",
            app.url()
        );
        config.add(&tables).start().await
    };
    let mut idle = Vec::new();
    // Again and again, for whoever came first may have had to leave before the last one came.
    let mut crowd = async || {
        for _ in 0..100 {
            idle.push(Connection::open(gateway.address()).await);
        }
        let open = gateway.metric("doorward_connections", &[]).await;
        assert!(open <= 50.0, "{open}");
        open == 50.0
    };
    let reached = async { while !crowd().await {} };
    in_time("the bound is reached, and not passed", reached).await;
    eventually("idle connections end and others are served", || async {
        exchange(gateway.address(), get("/fine", "")).await.filter(|reply| reply.status == 200).map(drop)
    })
    .await;
    eventually("all idle connections have ended", || async {
        (gateway.metric("doorward_connections", &[]).await <= 1.0).then_some(())
    })
    .await;
    drop(idle);
}

#[tokio::test]
async fn three_thousand_idle_connections_keep_nobody_out() {
    let app = App::start().await;
    let gateway = gateway_before(&app.url(), PUBLIC).await;
    let before = gateway.resident_bytes();
    let mut idle = Vec::new();
    for _ in 0..3000 {
        idle.push(Connection::open(gateway.address()).await);
    }
    eventually("three thousand are open", || async {
        (gateway.metric("doorward_connections", &[]).await >= 3000.0).then_some(())
    })
    .await;
    serves(&gateway).await;
    let each = gateway.resident_bytes().saturating_sub(before) / 3000;
    println!("resident memory of one idle connection, debug build: {each} bytes");
    assert!(each < 128 << 10, "{each} bytes for an idle connection");
}

const GET: [(&str, &str); 4] =
    [(":method", "GET"), (":scheme", "http"), (":path", "/slow?ms=200"), (":authority", "127.0.0.1")];

/// The connection is ended for what was sent, and not because nothing more comes: that end has no error. Whether all could be
/// sent before says nothing: it may lie in the sockets yet.
async fn ended_early(h2: &mut H2) {
    let given = h2.ended().await;
    assert_ne!(given, Some(0), "all of it was taken");
}

#[tokio::test]
async fn a_flood_of_resets_is_bounded() {
    let app = App::start().await;
    let gateway = gateway_before(&app.url(), PUBLIC).await;
    let before = gateway.resident_bytes();
    let mut h2 = H2::open(gateway.address()).await;
    let mut sent = 0;
    for n in 0..20_000_u32 {
        let stream = 2 * n + 1;
        let head = literals(&GET);
        if !h2.send(HEADERS, END_HEADERS | END_STREAM, stream, &head).await
            || !h2.send(RST_STREAM, 0, stream, &8_u32.to_be_bytes()).await
        {
            break;
        }
        sent += 1;
    }
    ended_early(&mut h2).await;
    serves(&gateway).await;
    let grown = gateway.resident_bytes().saturating_sub(before);
    println!(
        "{sent} streams were opened and reset; the gateway grew by {} kB; the app saw {}",
        grown >> 10,
        app.seen().len()
    );
    assert!(grown < 64 << 20, "{grown}");
}

#[tokio::test]
async fn a_head_that_never_ends_is_bounded() {
    let app = App::start().await;
    let gateway = gateway_before(&app.url(), PUBLIC).await;
    let before = gateway.resident_bytes();
    let mut h2 = H2::open(gateway.address()).await;
    h2.send(HEADERS, END_STREAM, 1, &literals(&GET)).await;
    let filler = literals(&[("x-filler", &"y".repeat(8000))]);
    let mut sent = 0;
    while sent < 20_000 && h2.send(CONTINUATION, 0, 1, &filler).await {
        sent += 1;
    }
    assert!(sent < 20_000, "160 MB of headers were taken");
    serves(&gateway).await;
    assert!(gateway.resident_bytes().saturating_sub(before) < 64 << 20);
    assert!(app.seen_at("/slow").is_empty());
}

#[tokio::test]
async fn empty_continuations_are_bounded() {
    let app = App::start().await;
    let gateway = gateway_before(&app.url(), PUBLIC).await;
    let mut h2 = H2::open(gateway.address()).await;
    h2.send(HEADERS, END_STREAM, 1, &literals(&GET)).await;
    let mut sent = 0;
    while sent < 500_000 && h2.send(CONTINUATION, 0, 1, b"").await {
        sent += 1;
    }
    ended_early(&mut h2).await;
    println!("{sent} empty CONTINUATION frames were sent");
    serves(&gateway).await;
    assert!(app.seen_at("/slow").is_empty());
}

#[tokio::test]
async fn a_flood_of_empty_data_keeps_nobody_out() {
    let app = App::start().await;
    let gateway = gateway_before(&app.url(), PUBLIC).await;
    let before = gateway.resident_bytes();
    let mut h2 = H2::open(gateway.address()).await;
    let post = [(":method", "POST"), (":scheme", "http"), (":path", "/upload"), (":authority", "127.0.0.1")];
    let stream = h2.request_with(&post, 0).await;
    let mut sent = 0;
    while sent < 50_000 && h2.send(DATA, 0, stream, b"").await {
        sent += 1;
    }
    serves(&gateway).await;
    let grown = gateway.resident_bytes().saturating_sub(before);
    println!("{sent} empty DATA frames; the gateway grew by {} kB", grown >> 10);
    assert!(grown < 64 << 20, "{grown}");
    let mut another = H2::open(gateway.address()).await;
    let stream = another.request(&GET).await;
    assert_eq!(another.outcome(stream).await, Outcome::Status(200));
}

#[tokio::test]
async fn nobody_writes_a_line_of_the_log() {
    let provider = Provider::start(json!({}));
    for format in ["text", "json"] {
        let config = Config { log_format: format, ..Config::new() };
        let scene = scene_at(provider.clone(), config, "", ROUTES).await;
        let forged = "x\r\n{\"level\":\"INFO\",\"message\":\"forged\"}\n2026-01-01T00:00:00Z  INFO forged \u{1b}[31m\u{2028}\u{202e}";
        let claims = json!({"email": "a@example.com", "email_verified": true, "preferred_username": "fine"});
        scene.provider.control("users", json!({"name": forged, "password": "p", "claims": claims})).await;
        let person = Person::new();
        let form = person.browse(&scene.gateway.url("/who")).await;
        let answer = person.post(form.url.as_str(), &[("username", forged), ("password", "p")]).await;
        assert_eq!(person.follow(answer).await.reason(), "DW-3402", "a name with line ends is no name");
        let turned = "forged\u{2028}\u{202e}name";
        let claims = json!({"email": "a@example.com", "email_verified": true});
        scene.provider.control("users", json!({"name": turned, "password": "p", "claims": claims})).await;
        let person = Person::new();
        let form = person.browse(&scene.gateway.url("/who")).await;
        let answer = person.post(form.url.as_str(), &[("username", turned), ("password", "p")]).await;
        person.follow(answer).await;
        for line in [
            "User-Agent: forged \x1b[31m\x7f \u{9b}31m\r\n",
            "Referer: \x1b]0;forged\x07\r\n",
            "X-Forwarded-For: \x1b[31m\r\n",
        ] {
            exchange(scene.gateway.address(), get("/private", line)).await;
        }
        for target in [
            "/private/%0aforged",
            "/private/%1b[31mforged",
            "/private/%e2%80%ae",
            "/private/\u{202e}forged",
            "/oidc/login?return_to=%0d%0aforged",
            "/oidc/callback?state=%0aforged&code=%1b",
            "/oidc/login?provider=%0aforged",
        ] {
            exchange(scene.gateway.address(), get(target, "")).await;
        }
        scene.gateway.log_line(&["sign_in", "forged", "name"]).await;
        // All of it is written before the last of it.
        exchange(scene.gateway.address(), get("/private/the-last", "")).await;
        scene.gateway.log_line(&["/private/the-last"]).await;
        for line in scene.gateway.log_lines() {
            assert!(
                !line.starts_with("forged")
                    && !line.starts_with("2026-01-01")
                    && !line.starts_with("{\"level\":\"INFO\",\"message\":\"forged"),
                "{line:?}"
            );
            let bad: Vec<char> = line
                .chars()
                .filter(|c| (c.is_control() && *c != '\t') || ('\u{2028}'..='\u{202e}').contains(c))
                .collect();
            assert!(bad.is_empty(), "{bad:?} in {line:?}");
        }
    }
}

/// Everything of a whole life of sessions that must never be written anywhere: found by its beginning, so that a
/// shortened copy is found as well.
async fn secrets_of(
    provider: &Provider,
    gateway: &Gateway,
    people: &[&Person],
    client_secret: &str,
) -> Vec<(String, String)> {
    let mut secrets: Vec<(String, String)> =
        gateway.config.secrets.iter().map(|s| ("a secret of the gateway".into(), s.clone())).collect();
    secrets.push(("the client's secret".into(), client_secret.into()));
    for request in provider.seen().await {
        let (query, body) = (request["query"].as_str().unwrap_or(""), request["body"].as_str().unwrap_or(""));
        let pairs = url::form_urlencoded::parse(query.trim_start_matches('?').as_bytes())
            .chain(url::form_urlencoded::parse(body.as_bytes()));
        for (name, value) in pairs {
            if ["code", "code_verifier", "refresh_token", "client_secret", "state", "nonce", "id_token_hint"]
                .contains(&name.as_ref())
            {
                secrets.push((format!("{name} of {}", request["path"]), value.into_owned()));
            }
        }
        if let Some(value) = request["authorization"].as_str().and_then(|v| v.split(' ').nth(1)) {
            secrets.push(("Authorization".into(), value.into()));
        }
        let answer: serde_json::Value =
            request["answer"].as_str().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        for name in ["access_token", "refresh_token", "id_token"] {
            if let Some(token) = answer[name].as_str() {
                // The claims of a token have no secret in their beginning; its signature has.
                secrets.push((name.into(), token.rsplit('.').next().expect("a part").into()));
            }
        }
    }
    for person in people {
        for cookie in person.cookies("127.0.0.1") {
            secrets.push((format!("cookie {}", cookie.name), cookie.value));
        }
    }
    secrets.retain(|(_, value)| value.len() >= 12);
    secrets
}

#[tokio::test]
async fn no_token_code_cookie_or_secret_is_in_logs_metrics_or_pages() {
    let provider = Provider::start(json!({"access_token_ttl": 30, "rotate_refresh_tokens": true}));
    for format in ["text", "json"] {
        let config = Config { log_format: format, log_level: "debug", ..Config::new() };
        let tables = format!("{ROUTES}[session]\nrefresh = true\nrefresh_ahead = \"60s\"\n");
        let keys = "scopes = [\"openid\", \"profile\", \"email\", \"offline_access\"]";
        let scene = scene_at(provider.clone(), config, keys, &tables).await;
        let (anna, berta, mut pages) = (Person::new(), Person::new(), String::new());
        let mut note = |answer: &crate::support::person::Answer| {
            if answer.header("content-security-policy").contains("default-src") {
                pages.push_str(&answer.text());
            }
        };
        // Signs in, renews, uses an unused attempt, loses a cookie, breaks one, is refused, signs out.
        anna.sign_in(&scene.gateway.url("/who"), scene.provider.user("anna")).await;
        let first = anna.clone_with_own_jar();
        for _ in 0..3 {
            anna.fetch(&scene.gateway.url("/who")).await;
        }
        note(&berta.open(&scene.gateway.url("/who")).await);
        let form = berta.browse(&scene.gateway.url("/who?code=s3cr3tc0d3s3cr3t&access_token=s3cr3tt0k3ns3cr3t")).await;
        let back = berta.post(form.url.as_str(), &[("action", "refuse")]).await;
        note(&berta.follow(back).await);
        let attempt = berta.clone_with_own_jar();
        let headers =
            [&[("authorization", "Bearer s3cr3tb3ar3rt0k3n"), ("x-api-key", "s3cr3tap1k3y")][..], &NAVIGATION].concat();
        note(&berta.request(Method::GET, &scene.gateway.url("/who"), &headers, None).await);
        note(&berta.open(&scene.gateway.url("/oidc/callback?state=s3cr3tstat3s3cr3t&code=s3cr3tc0d3s3cr3t")).await);
        scene
            .provider
            .control(
                "faults",
                json!({"path": "/token", "status": 500, "body": "{\"error\":\"server_error\"}", "times": 2}),
            )
            .await;
        let form = berta.browse(&scene.gateway.url("/who")).await;
        note(&berta.log_in(&form, scene.provider.user("berta")).await);
        scene.provider.control("heal", json!({})).await;
        anna.edit(|jar| jar.iter_mut().filter(|c| c.name == "doorward").for_each(|c| c.value.push('x')));
        note(&anna.post(&scene.gateway.url("/form"), &[("password", "s3cr3tpassw0rd")]).await);
        let last = first.clone_with_own_jar();
        first.open(&scene.gateway.url("/logout")).await;

        let mut secrets =
            secrets_of(&scene.provider, &scene.gateway, &[&anna, &berta, &attempt, &last], &scene.client.secret).await;
        for word in ["s3cr3tc0d3", "s3cr3tt0k3n", "s3cr3tb3ar3r", "s3cr3tap1k3y", "s3cr3tstat3", "s3cr3tpassw0rd"] {
            secrets.push(("of a request".into(), word.into()));
        }
        assert!(secrets.len() > 25, "this test has to know what to look for: {}", secrets.len());
        let metrics = scene.gateway.metrics().await;
        scene.gateway.signal("TERM");
        scene.gateway.ended().await;
        let log = scene.gateway.log_text();
        assert!(log.lines().count() > 10, "{log}");
        for (what, value) in &secrets {
            let beginning: String = value.chars().take(16).collect();
            for (place, text) in [("the log", &log), ("a page", &pages), ("the metrics", &metrics)] {
                assert!(!text.contains(&beginning), "{what} is in {place} ({format})");
            }
        }
    }
}

#[tokio::test]
async fn metrics_hold_nothing_that_a_client_chooses() {
    let app = App::start().await;
    let gateway = gateway_before(&app.url(), "").await;
    for n in 0..50 {
        let lines = format!("User-Agent: agent-{n}\r\n");
        exchange(gateway.address(), get(&format!("/private/path-{n}"), &lines)).await;
        let request = format!("METHOD{n} /private HTTP/1.1\r\nHost: host-{n}.test\r\nContent-Length: 0\r\n\r\n");
        exchange(gateway.address(), request).await;
    }
    let metrics = gateway.metrics().await;
    for word in ["path-", "agent-", "host-", "METHOD"] {
        assert!(!metrics.contains(word), "{word}: {metrics}");
    }
}

#[tokio::test]
async fn a_client_that_goes_away_is_no_failure_of_the_app() {
    let app = App::start().await;
    let gateway = gateway_before(&app.url(), PUBLIC).await;
    for n in 1..=5 {
        let mut gone = Connection::open(gateway.address()).await;
        gone.send(get("/slow?ms=300", "")).await;
        eventually("the app was asked", || async { (app.seen_at("/slow").len() == n).then_some(()) }).await;
        drop(gone);
        let told =
            || gateway.log_lines().iter().filter(|line| line.contains(" access ") && line.contains("/slow")).count();
        eventually("the end of the request", || async { (told() == n).then_some(()) }).await;
    }
    serves(&gateway).await;
    assert_eq!(gateway.metric("doorward_upstream_errors_total", &["DW-21"]).await, 0.0, "{}", gateway.metrics().await);
    assert!(!gateway.log_text().contains("ERROR"), "{}", gateway.log_text());
}
