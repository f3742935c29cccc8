//! WebSockets on their way through the gateway. How they end with a session is in `logout_channels`.

use futures::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::support::app::App;
use crate::support::gateway::Config;
use crate::support::in_time;
use crate::support::person::Person;
use crate::support::raw::{Connection, RawApp, get};
use crate::support::setup::{gateway_before, scene};
use crate::support::tls::Authority;

const PUBLIC: &str = "[[route]]\naccess = \"public\"\n";
const ASKS: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
const YES: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello";

#[tokio::test]
async fn a_websocket_echoes_and_the_app_knows_who_it_is() {
    let scene = scene().await;
    let person = Person::new();
    person.sign_in(&scene.gateway.url("/who"), scene.provider.user("anna")).await;
    let url = scene.gateway.url("/ws").replace("http://", "ws://");
    let mut request = url.as_str().into_client_request().expect("a request");
    let cookies = person.cookie_header(&scene.gateway.url("/ws").parse().expect("URL"));
    request.headers_mut().insert("cookie", cookies.parse().expect("cookies"));
    request.headers_mut().insert("x-forwarded-user", "forged".parse().expect("value"));
    let connecting = tokio_tungstenite::connect_async(request.clone());
    let (mut socket, _) = in_time("a WebSocket", connecting).await.expect("101");
    let first = in_time("a message", socket.next()).await.expect("a message").expect("a message");
    let headers: Value = serde_json::from_str(first.to_text().expect("text")).expect("JSON");
    let user: Vec<_> = headers.as_array().expect("a list").iter().filter(|h| h[0] == "x-forwarded-user").collect();
    assert_eq!(user, [&serde_json::json!(["x-forwarded-user", "anna"])]);
    for message in [Message::text("grüße"), Message::binary(vec![7_u8; 300_000]), Message::text("")] {
        socket.send(message.clone()).await.expect("sent");
        let echo = in_time("the echo", socket.next()).await.expect("a message").expect("a message");
        assert_eq!(echo, message);
    }
    socket.close(None).await.expect("closed");

    let mut stranger = url.as_str().into_client_request().expect("a request");
    stranger.headers_mut().insert("cookie", "doorward=x".parse().expect("value"));
    match tokio_tungstenite::connect_async(stranger).await {
        Err(tokio_tungstenite::tungstenite::Error::Http(answer)) => assert_eq!(answer.status(), 401),
        other => panic!("{other:?}"),
    }
}

/// An app may have answered by the time the gateway looks for an answer: this one does before it was asked.
#[tokio::test]
async fn a_websocket_lives_however_soon_the_app_says_yes() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move {
        while let Ok((mut app, _)) = listener.accept().await {
            tokio::spawn(async move {
                app.write_all(YES.as_bytes()).await.expect("the answer");
                let (mut read, mut write) = app.split();
                let (mut read, mut line) = (tokio::io::BufReader::new(&mut read), String::new());
                while line != "\r\n" {
                    line.clear();
                    read.read_line(&mut line).await.expect("a line of the request");
                }
                tokio::io::copy(&mut read, &mut write).await
            });
        }
    });
    let gateway = gateway_before(&url, PUBLIC).await;
    for n in 0..300 {
        let mut client = tokio::net::TcpStream::connect(gateway.address()).await.expect("connect");
        client.write_all(get("/ws", ASKS).as_bytes()).await.expect("sent");
        let (mut text, mut asked) = (Vec::new(), false);
        while !text.ends_with(b"still there") {
            let read = in_time("what the app says", client.read_buf(&mut text)).await.expect("read");
            assert!(read > 0, "the {n}th ended after {:?}", String::from_utf8_lossy(&text));
            if text.ends_with(b"hello") && !std::mem::replace(&mut asked, true) {
                client.write_all(b"still there").await.expect("sent");
            }
        }
    }
}

#[tokio::test]
async fn a_websocket_reaches_an_app_over_tls_and_on_a_unix_socket_and_one_that_is_down_is_named() {
    let (authority, dir) = (Authority::new(), tempfile::tempdir().expect("a folder"));
    let (ca, path) = (dir.path().join("ca.pem"), dir.path().join("app.sock"));
    std::fs::write(&ca, authority.pem()).expect("PEM");
    let tls = App::start_tls(authority.leaf(&["127.0.0.1"]).server(&[b"h2", b"http/1.1"])).await;
    let _unix = App::start_unix(&path).await;
    let (over_tls, on_socket) =
        (format!("https://127.0.0.1:{}\"\ntls_ca_file = \"{}", tls.address.port(), ca.display()), path.display());
    for (url, alive) in [
        (over_tls, true),
        (format!("unix:{on_socket}"), true),
        (format!("http://127.0.0.1:{}", crate::support::free_port()), false),
        ("unix:/no/such/socket".to_owned(), false),
    ] {
        let nobody = "[[provider]]\nissuer = \"http://127.0.0.2:9\"\nclient_id = \"nobody\"\n";
        let gateway = Config::new().add(nobody).add(&format!("[[upstream]]\nurl = \"{url}\"\n{PUBLIC}")).start().await;
        let address = gateway.url("/ws").replace("http://", "ws://");
        match in_time("a WebSocket", tokio_tungstenite::connect_async(address.as_str())).await {
            Ok((mut socket, _)) if alive => {
                in_time("a message", socket.next()).await.expect("a message").expect("a message");
                socket.send(Message::text("echo")).await.expect("sent");
                let echo = in_time("the echo", socket.next()).await.expect("a message").expect("a message");
                assert_eq!(echo, Message::text("echo"), "{url}");
            }
            Err(tokio_tungstenite::tungstenite::Error::Http(answer)) if !alive => {
                assert_eq!(answer.status(), 502, "{url}");
                gateway.log_line(&["/ws", "DW-2101"]).await;
            }
            other => panic!("{url}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_websocket_whose_client_says_nothing_for_long_stays_open() {
    let app = App::start().await;
    let tables = format!("{PUBLIC}[timeouts]\nclient_body = \"1s\"\n");
    let gateway = gateway_before(&app.url(), &tables).await;
    let url = gateway.url("/ws").replace("http://", "ws://");
    let connecting = in_time("a WebSocket", tokio_tungstenite::connect_async(url));
    let mut socket = connecting.await.expect("101").0;
    in_time("a message", socket.next()).await.expect("a message").expect("a message");
    // What is awaited here is the time itself: the one for the parts of a body.
    tokio::time::sleep(std::time::Duration::from_millis(2500)).await;
    socket.send(Message::text("still")).await.expect("sent");
    let echo = in_time("the echo", socket.next()).await.expect("a message").expect("a message");
    assert_eq!(echo, Message::text("still"));
}

/// One client on one connection could use up all ports to an app otherwise, by asking for WebSockets where there are none.
#[tokio::test]
async fn a_websocket_that_the_app_does_not_open_costs_the_client_its_connection_and_nothing_of_the_answer() {
    let (authority, dir) = (Authority::new(), tempfile::tempdir().expect("a folder"));
    let ca = dir.path().join("ca.pem");
    std::fs::write(&ca, authority.pem()).expect("PEM");
    let plain = App::start().await;
    let tls = App::start_tls(authority.leaf(&["127.0.0.1"]).server(&[b"h2", b"http/1.1"])).await;
    let nobody = "[[provider]]\nissuer = \"http://127.0.0.2:9\"\nclient_id = \"nobody\"\n";
    for url in [plain.url(), format!("https://127.0.0.1:{}\"\ntls_ca_file = \"{}", tls.address.port(), ca.display())] {
        let gateway = Config::new().add(nobody).add(&format!("[[upstream]]\nurl = \"{url}\"\n{PUBLIC}")).start().await;
        for (target, bytes) in [("/download?bytes=3000000", Some(3_000_000)), ("/elsewhere", None)] {
            let mut client = Connection::open(gateway.address()).await;
            let answer = client.send(get(target, ASKS)).await.reply().await.expect("an answer");
            assert_eq!(answer.status, 200, "{url}: {}", answer.text());
            assert_eq!(bytes.unwrap_or(answer.body.len()), answer.body.len(), "{url}");
            assert_eq!(answer.header("connection"), Some("close"), "{url}");
            assert!(client.closed().await, "{url}");
        }
    }
}

/// Apps that do not expect a reset, as many of Node.js, end of it.
#[tokio::test]
async fn an_app_that_refuses_a_websocket_and_waits_sees_an_end_in_order() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let gateway = gateway_before(&format!("http://{}", listener.local_addr().expect("an address")), PUBLIC).await;
    let app = async {
        let (mut app, _) = listener.accept().await.expect("the gateway");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(app.read_u8().await.expect("the head"));
        }
        app.write_all(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno").await.expect("the answer");
        app.read(&mut [0; 16]).await
    };
    let mut client = Connection::open(gateway.address()).await;
    let (ended, answer) =
        tokio::join!(in_time("the end", app), async { client.send(get("/ws", ASKS)).await.reply().await });
    assert_eq!(answer.expect("an answer").status, 401);
    assert_eq!(ended.expect("no reset"), 0);
}

#[tokio::test]
async fn a_silent_websocket_ends_by_name_and_with_no_word_of_the_gateways_in_it() {
    let app = RawApp::start(YES, false).await;
    let gateway = gateway_before(&app.url(), &format!("{PUBLIC}[timeouts]\nstream_idle = \"1s\"\n")).await;
    let rest = Connection::open(gateway.address()).await.send(get("/ws", ASKS)).await.rest().await;
    let rest = String::from_utf8_lossy(&rest).into_owned();
    assert!(rest.starts_with("HTTP/1.1 101 ") && rest.ends_with("\r\n\r\nhello"), "{rest}");
    gateway.log_line(&["/ws", "reason=DW-2104", "nothing came on the WebSocket"]).await;
    assert!(!gateway.log_text().contains("already sent"), "{}", gateway.log_text());
}

/// No WebSocket is asked for by whoever sends `Upgrade` alone (RFC 9110 §7.8).
#[tokio::test]
async fn an_upgrade_that_connection_does_not_name_reaches_no_app() {
    let app = App::start().await;
    let gateway = gateway_before(&app.url(), PUBLIC).await;
    for (n, (lines, passes)) in [
        ("Upgrade: websocket\r\n", false),
        ("Connection: close\r\nUpgrade: websocket\r\n", false),
        ("Connection: keep-alive\r\nConnection: x-y, uPGRADE\r\nUpgrade: websocket\r\n", true),
    ]
    .into_iter()
    .enumerate()
    {
        let target = format!("/asked/{n}");
        let answer = Connection::open(gateway.address()).await.send(get(&target, lines)).await.reply().await;
        assert_eq!(answer.expect("an answer").status, 200, "{lines}");
        let seen = app.seen_at(&target);
        assert_eq!(!seen[0].all("upgrade").is_empty(), passes, "{lines}: {:?}", seen[0].headers);
    }
}
