//! What goes through: bodies, streams, upgrades, protocols on both sides; and what is said when nothing comes back.

use reqwest::{Client, Method};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::app::App;
use crate::support::gateway::{Config, Gateway};
use crate::support::person::{NAVIGATION, Person};
use crate::support::raw::{Connection, RawApp, exchange, get};
use crate::support::setup::gateway_before;
use crate::support::tls::{Authority, Leaf};
use crate::support::{artifact, in_time};

const PUBLIC: &str = "[[route]]\naccess = \"public\"\n";

async fn open_gateway() -> (App, Gateway) {
    let app = App::start().await;
    let gateway = gateway_before(&app.url(), PUBLIC).await;
    (app, gateway)
}

#[tokio::test]
async fn an_event_arrives_while_the_stream_goes_on() {
    let (_app, gateway) = open_gateway().await;
    let mut stream = tokio::net::TcpStream::connect(gateway.address()).await.expect("connect");
    stream.write_all(get("/sse", "Accept: text/event-stream\r\n").as_bytes()).await.expect("sent");
    let mut text = String::new();
    for wanted in ["data: 0", "data: 1", "data: 2"] {
        while !text.contains(wanted) {
            let mut part = [0; 4096];
            let n = in_time(wanted, stream.read(&mut part)).await.expect("read");
            assert!(n > 0, "the stream ended: {text}");
            text.push_str(&String::from_utf8_lossy(&part[..n]));
        }
    }
    assert!(text.to_lowercase().contains("text/event-stream"));
}

#[tokio::test]
async fn a_body_begins_only_after_100_continue() {
    let (_app, gateway) = open_gateway().await;
    let mut connection = Connection::open(gateway.address()).await;
    connection
        .send("POST /upload HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        .await;
    assert_eq!(connection.reply().await.expect("an interim answer").status, 100);
    let reply = connection.send("hello").await.reply().await.expect("an answer");
    assert_eq!(reply.status, 200);
    assert!(reply.text().contains("\"bytes\":5"), "{}", reply.text());
}

#[tokio::test]
async fn trailers_of_the_app_reach_the_client() {
    // Over HTTP/2 on both sides, as gRPC needs it. Over HTTP/1.1 the proxy library discards them; the body arrives.
    let app = App::start().await;
    let gateway = gateway_before(&app.url().replace("http://", "h2c://"), PUBLIC).await;
    let stream = tokio::net::TcpStream::connect(gateway.address()).await.expect("connect");
    let (mut client, connection) = h2::client::handshake(stream).await.expect("HTTP/2");
    tokio::spawn(connection);
    let request = http::Request::get(gateway.url("/trailers")).header("te", "trailers").body(()).expect("a request");
    let (answer, _) = client.send_request(request, true).expect("sent");
    let mut body = in_time("an answer", answer).await.expect("an answer").into_body();
    let mut text = Vec::new();
    while let Some(part) = in_time("the body", body.data()).await {
        text.extend(part.expect("a part"));
    }
    assert_eq!(text, b"body");
    let trailers = in_time("trailers", body.trailers()).await.expect("trailers").expect("trailers");
    assert_eq!(trailers["x-checksum"], "abc");

    let gateway = gateway_before(&app.url(), PUBLIC).await;
    let reply = exchange(gateway.address(), get("/trailers", "TE: trailers\r\n")).await.expect("an answer");
    assert_eq!(reply.text(), "body");
}

#[tokio::test]
async fn a_chunked_body_reaches_the_app_whole() {
    let (_app, gateway) = open_gateway().await;
    let body = "5\r\nhello\r\n1\r\n \r\n5;ext=1\r\nworld\r\n0\r\n\r\n";
    let request = format!("POST /echo HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
    let reply = exchange(gateway.address(), request).await.expect("an answer");
    assert!(reply.text().contains("\"body\":\"hello world\""), "{}", reply.text());
}

const GIGABYTES: u64 = 2 << 30;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_gigabytes_go_up_and_down_in_constant_memory() {
    let (_app, gateway) = open_gateway().await;
    exchange(gateway.address(), get("/echo", "")).await.expect("warmed up");
    let before = gateway.resident_bytes();
    let mut most = before;

    let mut up = tokio::net::TcpStream::connect(gateway.address()).await.expect("connect");
    let head =
        format!("POST /upload HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Length: {GIGABYTES}\r\n\r\n");
    up.write_all(head.as_bytes()).await.expect("sent");
    let part: Vec<u8> = (0..1 << 20).map(|n: u32| (n % 251) as u8).collect();
    let mut digest = ring::digest::Context::new(&ring::digest::SHA256);
    for n in 0..GIGABYTES / part.len() as u64 {
        in_time("a megabyte to go up", up.write_all(&part)).await.expect("sent");
        digest.update(&part);
        if n % 64 == 0 {
            most = most.max(gateway.resident_bytes());
        }
    }
    let mut answer = String::new();
    in_time("the answer", up.read_to_string(&mut answer)).await.expect("read");
    let sum: String = digest.finish().as_ref().iter().map(|b| format!("{b:02x}")).collect();
    assert!(answer.contains(&sum) && answer.contains(&format!("\"bytes\":{GIGABYTES}")), "{answer}");
    let after_upload = most;

    let mut down = tokio::net::TcpStream::connect(gateway.address()).await.expect("connect");
    down.write_all(get(&format!("/download?bytes={GIGABYTES}"), "Connection: close\r\n").as_bytes())
        .await
        .expect("sent");
    let (mut buffer, mut received, mut letters) = (vec![0; 1 << 20], 0_u64, 0_u64);
    loop {
        let n = in_time("a part to come down", down.read(&mut buffer)).await.expect("read");
        if n == 0 {
            break;
        }
        letters += u64::from(buffer[n - 1] == b'd');
        received += n as u64;
        if letters % 256 == 0 {
            most = most.max(gateway.resident_bytes());
        }
    }
    // The body is chunked: some bytes more than its own.
    assert!((GIGABYTES..GIGABYTES + GIGABYTES / 100).contains(&received), "{received}");
    let megabytes = |bytes: u64| bytes >> 20;
    let figures = format!(
        "resident memory of a debug build: {} MB before, at most {} MB during 2 GiB up, at most {} MB during 2 GiB down\n",
        megabytes(before),
        megabytes(after_upload),
        megabytes(most)
    );
    println!("{figures}");
    std::fs::write(artifact("transfer-memory.txt"), &figures).expect("figures");
    assert!(most - before < 64 << 20, "{figures}");
}

#[tokio::test]
async fn http2_by_prior_knowledge_carries_bodies_both_ways() {
    let (app, gateway) = open_gateway().await;
    let person = Person::with(Client::builder().http2_prior_knowledge());
    let body = "x".repeat(500_000);
    let answer = person.request(Method::POST, &gateway.url("/upload"), &[], Some(body)).await;
    assert_eq!(answer.expect(200).json()["bytes"], 500_000);
    let answer = person.fetch(&gateway.url("/download?bytes=3000000")).await;
    assert_eq!(answer.body.len(), 3_000_000);
    person.open(&gateway.url("/status/404")).await.expect(404);
    assert_eq!(app.seen()[0].version, "HTTP/1.1");
}

#[tokio::test]
async fn the_listener_speaks_tls_with_both_protocols() {
    let (app, authority) = (App::start().await, Authority::new());
    let config = Config::new();
    let (certificate, key) = authority.leaf(&["127.0.0.1", "app.test"]).write(config.dir.path());
    let listen = format!("tls_certificate_file = {certificate:?}\ntls_key_file = {key:?}\n");
    let public_url = format!("https://127.0.0.1:{}", config.port);
    let config = Config { listen, public_url, ..config };
    let gateway = config
        .add("[[provider]]\nissuer = \"http://127.0.0.2:9\"\nclient_id = \"nobody\"\n")
        .add(&format!("[[upstream]]\nurl = \"{}\"\n{PUBLIC}", app.url()))
        .start()
        .await;
    let root = reqwest::Certificate::from_pem(authority.pem().as_bytes()).expect("PEM");
    let builder = || Client::builder().tls_certs_only([root.clone()]);
    for (builder, version) in [(builder().http1_only(), "HTTP/1.1"), (builder(), "HTTP/2.0")] {
        let client = builder.no_proxy().build().expect("a client");
        let answer = client.get(gateway.url("/echo")).send().await.expect("an answer");
        assert_eq!(format!("{:?}", answer.version()), version);
        assert_eq!(answer.status(), 200);
    }
    assert_eq!(app.seen()[0].one("x-forwarded-proto"), "https");
    assert!(exchange(gateway.address(), get("/echo", "")).await.is_none_or(|r| r.status == 400), "no plain HTTP");
    // Anybody can do so with each connection: it is no error of the gateway's.
    let line = gateway.log_line(&["Downstream handshake error"]).await;
    assert!(line.contains(" debug "), "{line}");
}

async fn before_tls(leaf: &Leaf, trusted: Option<&Authority>, keys: &str) -> (App, Gateway) {
    let app = App::start_tls(leaf.server(&[b"h2", b"http/1.1"])).await;
    let config = Config::new();
    let ca = trusted.map_or(String::new(), |authority| {
        let path = config.dir.path().join("ca.pem");
        std::fs::write(&path, authority.pem()).expect("PEM");
        format!("tls_ca_file = {path:?}\n")
    });
    let gateway = config
        .add("[[provider]]\nissuer = \"http://127.0.0.2:9\"\nclient_id = \"nobody\"\n")
        .add(&format!("[[upstream]]\nurl = \"https://127.0.0.1:{}\"\n{ca}{keys}\n{PUBLIC}", app.address.port()))
        .start()
        .await;
    (app, gateway)
}

#[tokio::test]
async fn the_certificate_of_an_app_is_verified() {
    let (authority, other) = (Authority::new(), Authority::new());
    let good = authority.leaf(&["127.0.0.1"]);
    let named = authority.leaf(&["app.internal"]);
    for (leaf, trusted, keys, accepted) in [
        (&good, Some(&authority), "", true),
        (&named, Some(&authority), "tls_server_name = \"app.internal\"", true),
        (&named, Some(&authority), "", false),
        (&good, Some(&authority), "tls_server_name = \"app.internal\"", false),
        (&good, Some(&other), "", false),
        (&good, None, "", false),
        (&authority.expired(&["127.0.0.1"]), Some(&authority), "", false),
    ] {
        let (app, gateway) = before_tls(leaf, trusted, keys).await;
        let reply = exchange(gateway.address(), get("/echo", "")).await.expect("an answer");
        if accepted {
            assert_eq!(reply.status, 200, "{}", reply.text());
        } else {
            assert_eq!(reply.status, 502, "{keys}: {}", reply.text());
            assert!(reply.text().contains("DW-2103"), "{keys}: {}", reply.text());
            assert!(app.seen().is_empty());
            let person = Person::new().open(&gateway.url("/echo")).await;
            assert_eq!((person.status, person.reason().as_str()), (502, "DW-2103"));
        }
    }
}

#[tokio::test]
async fn an_app_may_listen_on_a_unix_socket_or_speak_http2_alone() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("app.sock");
    let app = App::start_unix(&path).await;
    let gateway = gateway_before(&format!("unix:{}", path.display()), PUBLIC).await;
    assert_eq!(exchange(gateway.address(), get("/a?b", "")).await.expect("an answer").status, 200);
    assert_eq!(app.seen()[0].target, "/a?b");

    let app = App::start().await;
    let gateway = gateway_before(&app.url().replace("http://", "h2c://"), PUBLIC).await;
    let request = "POST /upload HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5\r\n\r\nhello";
    let reply = exchange(gateway.address(), request).await.expect("an answer");
    assert!(reply.text().contains("\"bytes\":5"), "{}", reply.text());
    assert_eq!(app.seen()[0].version, "HTTP/2.0");
}

#[tokio::test]
async fn routes_choose_among_apps_and_may_take_their_prefix_off() {
    let (one, two) = (App::start().await, App::start().await);
    let tables = format!(
        "[[upstream]]\nname = \"two\"\nurl = \"{}\"\nhost_header = \"two.internal\"\n{PUBLIC}\
         [[route]]\npath = \"/two\"\naccess = \"public\"\nupstream = \"two\"\nstrip_prefix = true\n",
        two.url()
    );
    let gateway = gateway_before(&one.url(), &tables).await;
    for target in ["/x", "/two", "/two/", "/two/a?b=/two", "/twox", "/two/two/c"] {
        assert_eq!(exchange(gateway.address(), get(target, "")).await.expect("an answer").status, 200, "{target}");
    }
    let targets = |app: &App| app.seen().iter().map(|seen| seen.target.clone()).collect::<Vec<_>>();
    assert_eq!(targets(&one), ["/x", "/twox"]);
    assert_eq!(targets(&two), ["/", "/", "/a?b=/two", "/two/c"]);
    assert_eq!(one.seen()[0].one("host"), "127.0.0.1");
    assert_eq!(two.seen()[0].one("host"), "two.internal");
    assert_eq!(two.seen()[0].one("x-forwarded-host"), "127.0.0.1");
    assert_eq!(two.seen()[0].one("x-forwarded-prefix"), "/two");
}

/// `localhost` is ::1 as well as 127.0.0.1, and the app listens on the second alone.
#[tokio::test]
async fn an_address_of_the_app_that_refuses_costs_no_request() {
    let app = App::start().await;
    let gateway = gateway_before(&app.url().replace("127.0.0.1", "localhost"), PUBLIC).await;
    // The name is resolved in the background, at start.
    crate::support::eventually("the app's name resolves", || async {
        (exchange(gateway.address(), get("/first", "")).await?.status == 200).then_some(())
    })
    .await;
    for n in 0..20 {
        // A connection of its own each time: the app's `Connection: close` is the client's.
        let reply = exchange(gateway.address(), get(&format!("/{n}"), "Connection: close\r\n")).await;
        assert_eq!(reply.map(|reply| reply.status), Some(200), "{n}");
    }
}

/// Behind `Upgrade: h2c` an app would take requests that nobody judged.
#[tokio::test]
async fn no_upgrade_but_a_websockets_reaches_the_app() {
    let (app, gateway) = open_gateway().await;
    let lines = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n";
    let reply = exchange(gateway.address(), get("/page", lines)).await.expect("a reply");
    assert_eq!(reply.status, 200);
    let seen = app.seen();
    let headers = &seen.last().expect("asked").headers;
    assert!(!headers.iter().any(|(name, _)| name == "upgrade" || name == "http2-settings"), "{headers:?}");
}

#[tokio::test]
async fn connections_to_the_app_are_used_again() {
    let app = RawApp::start("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", false).await;
    let gateway = gateway_before(&app.url(), PUBLIC).await;
    for _ in 0..20 {
        assert_eq!(exchange(gateway.address(), get("/", "")).await.expect("an answer").text(), "ok");
    }
    // A connection is free again a moment after the answer that came by it, and the next request may be there before that.
    assert!(app.connections() <= 10, "{} connections for 20 requests", app.connections());
}

#[tokio::test]
async fn an_apps_own_errors_pass_unchanged() {
    let (_app, gateway) = open_gateway().await;
    for status in [400, 401, 403, 404, 418, 500, 502, 503] {
        let answer = Person::new().open(&gateway.url(&format!("/status/{status}"))).await;
        assert_eq!(answer.status, status);
        assert!(answer.text().starts_with("the app says"), "{}", answer.text());
        assert!(answer.header("content-security-policy").is_empty(), "the app's pages are the app's");
    }
}

/// What a person and what a program are told when the app fails.
async fn told(gateway: &Gateway, target: &str, status: u16, reason: &str) {
    let page = Person::new().request(Method::GET, &gateway.url(target), &NAVIGATION, None).await;
    assert_eq!((page.status, page.reason().as_str()), (status, reason), "{}", page.text());
    assert!(page.header("content-type").starts_with("text/html"), "{:?}", page.headers);
    let json = Person::new().request(Method::GET, &gateway.url(target), &[("accept", "*/*")], None).await;
    assert_eq!((json.status, json.json()["reason"].as_str()), (status, Some(reason)));
    gateway.log_line(&[json.json()["reference"].as_str().expect("a reference"), reason]).await;
    assert!(gateway.metric("doorward_upstream_errors_total", &[reason]).await >= 2.0);
}

#[tokio::test]
async fn an_app_that_is_down_is_named_to_people_and_programs() {
    let port = crate::support::free_port();
    told(&gateway_before(&format!("http://127.0.0.1:{port}"), PUBLIC).await, "/", 502, "DW-2101").await;
    told(&gateway_before("unix:/no/such/socket", PUBLIC).await, "/", 502, "DW-2101").await;
    told(&gateway_before("http://app.invalid:80", PUBLIC).await, "/", 502, "DW-2102").await;
}

#[tokio::test]
async fn an_app_that_speaks_nonsense_is_named() {
    for answer in [
        "nonsense\r\n\r\n",
        "",
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\nContent-Length: 11\r\n\r\n",
        "HTTP/1.1 xyz\r\n\r\n",
    ] {
        let app = RawApp::start(answer, true).await;
        told(&gateway_before(&app.url(), PUBLIC).await, "/", 502, "DW-2105").await;
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_looks_broken() {
    let (breaks_off, when) = tokio::sync::oneshot::channel::<()>();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move {
        let (mut app, _) = listener.accept().await.expect("a request");
        let _ = app.read(&mut [0; 4096]).await;
        let beginning = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2a\r\nthe beginning";
        app.write_all(beginning.as_bytes()).await.expect("the beginning");
        when.await.expect("told");
    });
    let gateway = gateway_before(&url, PUBLIC).await;
    let mut client = tokio::net::TcpStream::connect(gateway.address()).await.expect("connect");
    client.write_all(get("/", "").as_bytes()).await.expect("sent");
    let mut answer = Vec::new();
    while !String::from_utf8_lossy(&answer).contains("the beginning") {
        let read = in_time("the beginning", client.read_buf(&mut answer)).await;
        assert!(read.is_ok_and(|bytes| bytes > 0), "it ended before: {}", String::from_utf8_lossy(&answer));
    }
    breaks_off.send(()).expect("the app");
    let _ = in_time("the answer's end", client.read_to_end(&mut answer)).await;
    let answer = String::from_utf8_lossy(&answer);
    assert!(!answer.ends_with("0\r\n\r\n"), "a broken answer looks broken: {answer}");
}

#[tokio::test]
async fn an_app_that_says_nothing_is_given_up_after_the_configured_time() {
    let app = App::start().await;
    let gateway = gateway_before(&app.url(), &format!("{PUBLIC}[timeouts]\nfirst_byte = \"1s\"\n")).await;
    told(&gateway, "/slow?ms=600000", 504, "DW-2104").await;
}

#[tokio::test]
async fn a_post_is_not_sent_twice_to_an_app_that_broke_off() {
    let app = RawApp::start("", true).await;
    let gateway = gateway_before(&app.url(), PUBLIC).await;
    let request = "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 3\r\n\r\nabc";
    assert_eq!(exchange(gateway.address(), request).await.expect("an answer").status, 502);
    assert_eq!(app.received().matches("POST /").count(), 1, "a POST may have had its effect");
}

#[tokio::test]
async fn what_is_too_large_is_refused_by_name() {
    let app = App::start().await;
    let limits = "[limits]\nrequest_line = \"1KiB\"\nheader_bytes = \"4KiB\"\nheaders = 20\n";
    let gateway = gateway_before(&app.url(), &format!("{PUBLIC}{limits}")).await;
    let many: String = (0..30).map(|n| format!("X-{n}: y\r\n")).collect();
    let hundreds: String = (0..300).map(|n| format!("X-{n}: y\r\n")).collect();
    for (request, statuses) in [
        (get(&format!("/{}", "a".repeat(2000)), ""), &[414][..]),
        (get("/", &format!("X: {}\r\n", "y".repeat(5000))), &[431]),
        (get("/", &many), &[431]),
        (get("/", &hundreds), &[431, 400]),
        (get("/", &format!("X: {}\r\n", "y".repeat(3 << 20))), &[431, 400]),
    ] {
        let reply = exchange(gateway.address(), &request).await;
        assert!(reply.as_ref().is_some_and(|r| statuses.contains(&r.status)), "{request:.60}: {reply:?}");
    }
    assert!(app.seen().is_empty());
    assert_eq!(exchange(gateway.address(), get("/", "X: y\r\n")).await.expect("an answer").status, 200);
}

#[tokio::test]
async fn preflights_pass_only_where_the_route_says_so() {
    let app = App::start().await;
    let routes = "[[route]]\npath = \"/\"\n[[route]]\npath = \"/api\"\npreflight = true\n";
    let gateway = gateway_before(&app.url(), routes).await;
    let preflight = "Origin: http://other.test\r\nAccess-Control-Request-Method: POST\r\n";
    for (target, lines, status) in [
        ("/api/x", preflight, 200),
        ("/x", preflight, 403),
        ("/api/x", "", 401),
        ("/api/x", "Origin: http://other.test\r\n", 401),
    ] {
        let reply = exchange(gateway.address(), get(target, lines).replace("GET", "OPTIONS")).await.expect("an answer");
        assert_eq!(reply.status, status, "{target} {lines}: {}", reply.text());
    }
    let reply = exchange(gateway.address(), get("/api/x", preflight)).await.expect("an answer");
    assert_eq!(reply.status, 401, "only OPTIONS is a preflight");
    assert_eq!(app.seen().len(), 1);
}
