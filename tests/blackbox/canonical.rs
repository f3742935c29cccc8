//! The request that the rules see is the request that the app sees (threats A).

use crate::support::app::App;
use crate::support::eventually;
use crate::support::frames::{DATA, END_STREAM, H2, Outcome};
use crate::support::gateway::Gateway;
use crate::support::raw::{Connection, RawApp, Reply, exchange, get};
use crate::support::setup::gateway_before;

async fn scene() -> (App, Gateway) {
    let app = App::start().await;
    let gateway = gateway_before(&app.url(), "").await;
    (app, gateway)
}

/// Sends a request that has to be refused as malformed, and sees that the connection ends and no app was asked.
async fn refused(gateway: &Gateway, bytes: &str) -> Option<Reply> {
    let mut connection = Connection::open(gateway.address()).await;
    connection.send(bytes).await;
    let reply = connection.reply().await;
    if let Some(reply) = &reply {
        assert_eq!(reply.status, 400, "{bytes:?}: {} {}", reply.head, reply.text());
    }
    // A second request on the same connection must not be served: nobody knows where it begins.
    connection.send(get("/public/second", "")).await;
    assert!(connection.reply().await.is_none(), "the connection goes on after {bytes:?}");
    reply
}

#[tokio::test]
async fn a_path_with_two_readings_is_refused_and_reaches_no_app() {
    let (app, gateway) = scene().await;
    for target in [
        "/public/../admin",
        "/public/%2e%2e/admin",
        "/public/.%2E/admin",
        "/public/..%2fadmin",
        "/public/..%2Fadmin",
        "/public%2f..%2fadmin",
        "/public/%2fadmin",
        "/public/..%5cadmin",
        "/public/..\\admin",
        "/public\\..\\admin",
        "/public/..;/admin",
        "/public/..;x=1/admin",
        "/public/;/../admin",
        "/public//admin",
        "//public",
        "//admin",
        "/./public",
        "/public/.",
        "/public/..",
        "/public/%252e%252e/admin",
        "/public/%252fadmin",
        "/public/%00",
        "/public/%0d%0aX-Evil:1",
        "/public/%09",
        "/public/%7f",
    ] {
        let reply = exchange(gateway.address(), get(target, "")).await.expect("an answer");
        assert_eq!(reply.status, 400, "{target}");
        assert_eq!(reply.text().matches("DW-1001").count().min(1), 1, "{target}: {}", reply.text());
    }
    assert!(app.seen().is_empty(), "{:?}", app.seen());
}

/// The proxy library encodes it before anybody sees it: rules and app read the same.
#[tokio::test]
async fn a_space_in_the_target_has_one_reading() {
    let (app, gateway) = scene().await;
    let reply = exchange(gateway.address(), get("/public/a b", "")).await;
    assert!(reply.as_ref().is_some_and(|r| r.status == 200), "{reply:?}");
    assert_eq!(app.seen().iter().map(|seen| seen.target.as_str()).collect::<Vec<_>>(), ["/public/a%20b"]);
}

#[tokio::test]
async fn what_is_no_target_at_all_is_refused() {
    let (app, gateway) = scene().await;
    for target in ["public", "*", "?", "/public/%", "/public/%2", "/public/%zz", "http:/public", "127.0.0.1:80"] {
        let reply = exchange(gateway.address(), get(target, "")).await;
        assert!(reply.as_ref().is_none_or(|r| r.status == 400), "{target}: {reply:?}");
    }
    assert!(app.seen().is_empty(), "{:?}", app.seen());
}

#[tokio::test]
async fn a_needless_escape_is_resolved_once_for_rules_and_app_alike() {
    let (app, gateway) = scene().await;
    for (target, sent_on) in [
        ("/%70ublic/a", "/public/a"),
        ("/public/%7Ename", "/public/~name"),
        ("/public/a%3ab", "/public/a%3Ab"),
        ("/public/100%25", "/public/100%25"),
        ("/public/%23x", "/public/%23x"),
        ("/public/a?b=%2e%2e/%2F", "/public/a?b=%2e%2e/%2F"),
        ("/public/gr%c3%bcn", "/public/gr%C3%BCn"),
    ] {
        let reply = exchange(gateway.address(), get(target, "")).await.expect("an answer");
        assert_eq!(reply.status, 200, "{target}: {}", reply.text());
        assert_eq!(app.seen().last().expect("asked").target, sent_on, "{target}");
    }
    let reply = exchange(gateway.address(), get("/%70rivate", "")).await.expect("an answer");
    assert_eq!(reply.status, 401);
}

#[tokio::test]
async fn a_path_parameter_leads_past_no_route() {
    let app = App::start().await;
    let routes = "[[route]]\npath = \"/\"\naccess = \"public\"\n[[route]]\npath = \"/admin\"\naccess = \"signed-in\"\n";
    let gateway = gateway_before(&app.url(), routes).await;
    for target in
        ["/admin", "/admin;x", "/admin;x=1/users", "/admin%3bx/users", "/admin/;x/users", "/%61dmin", "/admin/"]
    {
        let reply = exchange(gateway.address(), get(target, "")).await.expect("an answer");
        assert!(matches!(reply.status, 400 | 401), "{target}: {}", reply.status);
    }
    assert!(app.seen().is_empty(), "{:?}", app.seen());
    let reply = exchange(gateway.address(), get("/administration", "")).await.expect("an answer");
    assert_eq!(reply.status, 200, "a prefix matches at segment borders only");
}

#[tokio::test]
async fn the_spelling_of_the_host_chooses_no_other_route() {
    let app = App::start().await;
    let routes = "[[route]]\naccess = \"public\"\n[[route]]\nhost = \"app.test\"\naccess = \"signed-in\"\n";
    let gateway = gateway_before(&app.url(), routes).await;
    for (host, status) in [
        ("app.test", 401),
        ("APP.Test", 401),
        ("app.test.", 401),
        ("app.test:80", 401),
        ("other.test", 200),
        ("app.test..", 400),
        ("app.test@other.test", 400),
        ("app.test/x", 400),
        ("app.test:", 400),
        ("app.test:x", 400),
        ("app.test#", 400),
        ("app%2Etest", 400),
        ("", 400),
    ] {
        let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
        let reply = exchange(gateway.address(), request).await.expect("an answer");
        assert_eq!(reply.status, status, "{host}");
    }
    assert_eq!(app.seen().len(), 1);
}

#[tokio::test]
async fn a_request_names_exactly_one_host() {
    let (app, gateway) = scene().await;
    for head in [
        "GET /public HTTP/1.1\r\n\r\n",
        "GET /public HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "GET /public HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
        "GET http://b/public HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET http://a@b/public HTTP/1.1\r\nHost: b\r\n\r\n",
        "GET http://a:81/public HTTP/1.1\r\nHost: a\r\n\r\n",
    ] {
        let reply = exchange(gateway.address(), head).await;
        assert!(reply.is_none_or(|r| r.status == 400), "{head:?}");
    }
    assert!(app.seen().is_empty(), "{:?}", app.seen());
}

#[tokio::test]
async fn an_absolute_target_reaches_the_app_as_a_path() {
    let app = RawApp::start("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", false).await;
    let gateway = gateway_before(&app.url(), "").await;
    let request = "GET http://127.0.0.1/public/x?y HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";
    assert_eq!(exchange(gateway.address(), request).await.expect("an answer").status, 200);
    let head = app.asked().await;
    assert!(head.starts_with("GET /public/x?y HTTP/1.1\r\n"), "{head}");
    assert_eq!(head.to_lowercase().matches("\r\nhost:").count(), 1, "{head}");
}

#[tokio::test]
async fn neither_query_nor_fragment_matches_a_route() {
    let (app, gateway) = scene().await;
    for target in ["/private?x=/public", "/private?/public", "/private%3f/public", "/private%23/public"] {
        let reply = exchange(gateway.address(), get(target, "")).await.expect("an answer");
        assert_eq!(reply.status, 401, "{target}");
    }
    for target in ["/private#/public", "/public#/private", "/public?a#b", "#", "/#/public"] {
        let reply = exchange(gateway.address(), get(target, "")).await.expect("an answer");
        assert_eq!(reply.status, 400, "{target}");
    }
    assert!(app.seen().is_empty(), "{:?}", app.seen());
}

#[tokio::test]
async fn http2_requests_are_held_to_the_same_one_form() {
    let (app, gateway) = scene().await;
    let method = (":method", "GET");
    let scheme = (":scheme", "http");
    let path = (":path", "/public");
    let authority = (":authority", "127.0.0.1");
    for request in [
        &[method, scheme, (":path", "public"), authority][..],
        &[method, scheme, (":path", ""), authority],
        &[method, scheme, (":path", "/public/../admin"), authority],
        &[method, scheme, (":path", "/public/%2e%2e/admin"), authority],
        &[method, scheme, (":path", "//admin"), authority],
        &[method, scheme, path, authority, ("host", "other.test")],
        &[method, scheme, path, ("host", "a"), ("host", "b")],
        &[method, scheme, path, (":authority", "a@b")],
        &[method, scheme, path],
        &[method, scheme, path, authority, ("transfer-encoding", "chunked")],
        &[method, scheme, path, authority, ("connection", "close")],
        &[method, scheme, path, authority, ("x", "a\r\nX-Forwarded-User: anna")],
        &[method, scheme, path, authority, ("X-Upper", "1")],
    ] {
        let mut h2 = H2::open(gateway.address()).await;
        let stream = h2.request(request).await;
        let outcome = h2.outcome(stream).await;
        assert!(outcome.refused(), "{request:?}: {outcome:?}");
    }
    assert!(app.seen().is_empty(), "{:?}", app.seen());

    // The HTTP/2 library cuts a fragment off before anybody sees it: what is left is what decides and is sent on.
    let mut h2 = H2::open(gateway.address()).await;
    let stream = h2.request(&[method, scheme, (":path", "/public#/private"), authority]).await;
    if !h2.outcome(stream).await.refused() {
        assert_eq!(app.seen().last().expect("asked").target, "/public");
    }
    let stream = h2.request(&[method, scheme, (":path", "/private#/public"), authority]).await;
    assert!(matches!(h2.outcome(stream).await, Outcome::Status(400 | 401) | Outcome::Closed));

    let mut h2 = H2::open(gateway.address()).await;
    let stream = h2.request(&[method, scheme, path, authority]).await;
    assert_eq!(h2.outcome(stream).await, Outcome::Status(200));
    let stream = h2.request(&[method, scheme, (":path", "/private"), authority]).await;
    assert_eq!(h2.outcome(stream).await, Outcome::Status(401));
}

#[tokio::test]
async fn a_body_whose_length_has_two_readings_is_refused() {
    let (app, gateway) = scene().await;
    for (lines, body) in [
        ("Content-Length: 3\r\nContent-Length: 3\r\n", "abc"),
        ("Content-Length: 3\r\nContent-Length: 4\r\n", "abc"),
        ("Content-Length: 3, 3\r\n", "abc"),
        ("Content-Length: +3\r\n", "abc"),
        ("Content-Length: -1\r\n", ""),
        ("Content-Length: 0x3\r\n", "abc"),
        ("Content-Length: 3 \x0b\r\n", "abc"),
        ("Content-Length: 99999999999999999999999\r\n", "abc"),
        ("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
        ("Transfer-Encoding: chunked\r\nContent-Length: 3\r\n", "0\r\n\r\n"),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
        ("Transfer-Encoding: chunked, chunked\r\n", "0\r\n\r\n"),
        ("Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n"),
        ("Transfer-Encoding: chunked, identity\r\n", "0\r\n\r\n"),
        ("Transfer-Encoding: identity\r\nContent-Length: 3\r\n", "abc"),
        ("Transfer-Encoding: xchunked\r\n", "0\r\n\r\n"),
        ("Transfer-Encoding: chunked;x\r\n", "0\r\n\r\n"),
        ("Transfer-Encoding: \x0bchunked\r\n", "0\r\n\r\n"),
        ("Transfer-Encoding : chunked\r\n", "0\r\n\r\n"),
        ("Transfer_Encoding: chunked\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
    ] {
        refused(&gateway, &format!("POST /public HTTP/1.1\r\nHost: 127.0.0.1\r\n{lines}\r\n{body}")).await;
    }
    refused(&gateway, "POST /public HTTP/1.0\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n").await;
    assert!(app.seen().is_empty(), "{:?}", app.seen());
}

#[tokio::test]
async fn a_malformed_head_is_refused() {
    let (app, gateway) = scene().await;
    for head in [
        "GET /public HTTP/1.1\nHost: 127.0.0.1\n\n",
        "GET /public HTTP/1.1\r\nHost: 127.0.0.1\nX: y\r\n\r\n",
        "GET /public HTTP/1.1\r\nHost: 127.0.0.1\r\nX: a\n\r\n",
        "GET /public HTTP/1.1\r\nHost: 127.0.0.1\r\nX: a\r\n b\r\n\r\n",
        "GET /public HTTP/1.1\r\nHost: 127.0.0.1\r\nX: a\r\n\tb\r\n\r\n",
        "GET /public HTTP/1.1\r\n Host: 127.0.0.1\r\n\r\n",
        "GET /public HTTP/1.1\r\nHost: 127.0.0.1\r\nX : a\r\n\r\n",
        "GET /public HTTP/1.1\r\nHost: 127.0.0.1\r\nX\x00: a\r\n\r\n",
        "GET /public HTTP/1.1\r\nHost: 127.0.0.1\r\nX: a\x00b\r\n\r\n",
        "GET /public HTTP/1.1\r\nHost: 127.0.0.1\r\nX: a\rb\r\n\r\n",
        "GET /public HTTP/1.1\r\nHost: 127.0.0.1\r\n: a\r\n\r\n",
        "GET /public HTTP/1.1\r\nHost: 127.0.0.1\r\nX\r\n\r\n",
        "GET /public HTTP/1.1 \r\nHost: 127.0.0.1\r\n\r\n",
        "GET /public HTTP/2.0\r\nHost: 127.0.0.1\r\n\r\n",
        "GET /public HTTP/9.9\r\nHost: 127.0.0.1\r\n\r\n",
        "GET /public\r\nHost: 127.0.0.1\r\n\r\n",
        "G\x00T /public HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    ] {
        refused(&gateway, head).await;
    }
    assert!(app.seen().is_empty(), "{:?}", app.seen());
}

#[tokio::test]
async fn chunks_with_two_readings_never_become_a_request() {
    let app = RawApp::start("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", false).await;
    let gateway = gateway_before(&app.url(), "").await;
    let smuggled = "GET /public/smuggled HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";
    for body in [
        format!("0;x=\n\r\n\r\n{smuggled}"),
        format!("2;\nxx\r\n0\r\n\r\n{smuggled}"),
        format!("5\nhello\r\n0\r\n\r\n{smuggled}"),
        format!("-1\r\n\r\n{smuggled}"),
        format!("0x0\r\n\r\n{smuggled}"),
        format!("fffffffffffffffff\r\n\r\n{smuggled}"),
        format!("2\r\nabcd\r\n0\r\n\r\n{smuggled}"),
    ] {
        let head = "POST /public HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n";
        let mut connection = Connection::open(gateway.address()).await;
        connection.send(format!("{head}{body}")).await;
        while connection.reply().await.is_some() {}
        assert!(!app.received().contains("GET /public/smuggled"), "{body:?}: {}", app.received());
    }
}

#[tokio::test]
async fn nothing_behind_an_upgrade_reaches_the_app_before_it_agreed() {
    let app = RawApp::start("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno", false).await;
    let gateway = gateway_before(&app.url(), "").await;
    let upgrade = get("/public", "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n");
    let mut connection = Connection::open(gateway.address()).await;
    connection.send(format!("{upgrade}{}", get("/admin", "X-Forwarded-User: anna\r\n"))).await;
    assert_eq!(connection.reply().await.expect("an answer").status, 200);
    while connection.reply().await.is_some_and(|second| second.status == 401) {}
    assert!(!app.received().contains("/admin"), "{}", app.received());
}

#[tokio::test]
async fn the_body_of_a_refused_post_is_never_the_next_request() {
    let app = App::start().await;
    let gateway = gateway_before(&app.url(), "").await;
    let smuggled = get("/public/smuggled", "");
    let long = smuggled.repeat(20_000);
    let chunked = format!("{:x}\r\n{smuggled}\r\n0\r\n\r\n", smuggled.len());
    for (target, statuses) in [
        ("/private", &[401][..]),
        ("/public/../x", &[400]),
        ("/oidc/signed-out", &[405]),
        ("/oidc/callback", &[400]),
        // The gateway reads this one itself, as far as it goes.
        ("/oidc/login", &[303, 413]),
    ] {
        for (lines, body) in [
            (format!("Content-Length: {}\r\n", smuggled.len()), &smuggled),
            (format!("Content-Length: {}\r\n", long.len()), &long),
            ("Transfer-Encoding: chunked\r\n".to_owned(), &chunked),
            (format!("Content-Length: {}\r\nExpect: 100-continue\r\n", smuggled.len()), &smuggled),
        ] {
            let mut connection = Connection::open(gateway.address()).await;
            let head = format!("POST {target} HTTP/1.1\r\nHost: 127.0.0.1\r\n{lines}\r\n");
            connection.send(head).await.send(body).await;
            let mut reply = connection.reply().await.expect("an answer");
            if reply.status == 100 {
                reply = connection.reply().await.expect("an answer");
            }
            assert!(statuses.contains(&reply.status), "{target} {lines:?}: {}", reply.status);
            // On a connection that is kept, the next request is the next request.
            connection.send(get("/public/next", "")).await;
            if let Some(reply) = connection.reply().await {
                assert_eq!(reply.status, 200, "{target} {lines:?}");
                assert!(reply.text().contains("/public/next"), "{target} {lines:?}: {}", reply.text());
            }
        }
    }
    assert!(app.seen_at("/public/smuggled").is_empty());
}

#[tokio::test]
async fn the_body_of_a_refused_http2_post_stays_in_its_stream() {
    let app = App::start().await;
    let gateway = gateway_before(&app.url(), "").await;
    let mut h2 = H2::open(gateway.address()).await;
    let post = [(":method", "POST"), (":scheme", "http"), (":path", "/private"), (":authority", "127.0.0.1")];
    let stream = h2.request_with(&post, 0).await;
    h2.send(DATA, 0, stream, get("/public/smuggled", "").as_bytes()).await;
    let outcome = h2.outcome(stream).await;
    assert_eq!(outcome, Outcome::Status(401));
    h2.send(DATA, END_STREAM, stream, b"rest").await;
    let next = [(":method", "GET"), (":scheme", "http"), (":path", "/public/next"), (":authority", "127.0.0.1")];
    let stream = h2.request(&next).await;
    assert_eq!(h2.outcome(stream).await, Outcome::Status(200));
    assert!(app.seen_at("/public/smuggled").is_empty());
}

#[tokio::test]
async fn a_header_that_is_no_credential_changes_no_decision() {
    let (app, gateway) = scene().await;
    for lines in [
        "User-Agent: kube-probe/1.30\r\n",
        "User-Agent: GoogleHC/1.0\r\n",
        "Origin: http://127.0.0.1\r\n",
        "Referer: http://127.0.0.1/public\r\n",
        "X-HTTP-Method-Override: OPTIONS\r\n",
        "X-Original-URL: /public\r\n",
        "X-Original-URI: /public\r\n",
        "X-Rewrite-URL: /public\r\n",
        "X-Forwarded-Uri: /public\r\n",
        "X-Forwarded-Prefix: /public\r\n",
        "X-Forwarded-Host: public.test\r\n",
        "X-Forwarded-For: 127.0.0.1\r\n",
        "X-Real-IP: 127.0.0.1\r\n",
        "X-Envoy-Original-Path: /public\r\n",
        "X-Middleware-Subrequest: middleware\r\n",
        "Authorization: Bearer x\r\n",
        "Authorization: Basic YTpi\r\n",
        "X-Remote-User: anna\r\n",
        "Upgrade: websocket\r\nConnection: Upgrade\r\n",
        "Cookie: doorward=anna\r\n",
    ] {
        let reply = exchange(gateway.address(), get("/private", lines)).await.expect("an answer");
        assert_eq!(reply.status, 401, "{lines:?}: {}", reply.text());
    }
    for method in ["HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND", "TRACE", "CONNECT", "get", "FOO"] {
        let request = format!("{method} /private HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n\r\n");
        let mut connection = Connection::open(gateway.address()).await;
        let reply = connection.send(request).await.reply_to_head().await;
        assert!(reply.is_none_or(|r| (400..500).contains(&r.status)), "{method}");
    }
    assert!(app.seen().is_empty(), "{:?}", app.seen());
}

#[tokio::test]
async fn what_no_route_matches_is_refused() {
    let app = App::start().await;
    let routes = "[[route]]\npath = \"/api\"\nmethods = [\"GET\"]\naccess = \"public\"\n";
    let gateway = gateway_before(&app.url(), routes).await;
    for (request, status) in [
        ("GET /api HTTP/1.1", 200),
        ("GET /api/x HTTP/1.1", 200),
        ("GET /apix HTTP/1.1", 404),
        ("GET /API HTTP/1.1", 404),
        ("GET / HTTP/1.1", 404),
        ("POST /api HTTP/1.1", 404),
    ] {
        let request = format!("{request}\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n\r\n");
        let reply = exchange(gateway.address(), &request).await.expect("an answer");
        assert_eq!(reply.status, status, "{request}");
    }
    eventually("the refusals are counted", || async {
        (gateway.metric("doorward_requests_total", &["DW-2001"]).await == 4.0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_most_specific_route_wins_in_any_order() {
    let app = App::start().await;
    let routes = [
        "[[route]]\npath = \"/\"\naccess = \"signed-in\"\n",
        "[[route]]\npath = \"/a\"\naccess = \"public\"\n",
        "[[route]]\npath = \"/a/b\"\naccess = \"signed-in\"\n",
        "[[route]]\nexact = \"/a/b\"\naccess = \"public\"\n",
    ];
    let reversed: Vec<_> = routes.iter().rev().copied().collect();
    for order in [routes.concat(), reversed.concat()] {
        let gateway = gateway_before(&app.url(), &order).await;
        for (target, status) in [("/", 401), ("/a", 200), ("/a/c", 200), ("/a/b", 200), ("/a/b/", 401), ("/a/b/c", 401)]
        {
            let reply = exchange(gateway.address(), get(target, "")).await.expect("an answer");
            assert_eq!(reply.status, status, "{target}");
        }
    }
}
