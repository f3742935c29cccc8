//! What goes on over a reload: requests on their way, sessions, what has ended, the way in; and everything under load.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use futures::{SinkExt, StreamExt};
use reqwest::Client;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use super::directory::fill_in;
use crate::support::app::App;
use crate::support::forger::{self, Key};
use crate::support::gateway::{Config, Gateway};
use crate::support::person::Person;
use crate::support::raw::Connection;
use crate::support::setup::{scene, scene_with, upstream_table};
use crate::support::tls::Authority;
use crate::support::{eventually, in_time, random_word};

type Socket = WebSocketStream<tokio_tungstenite::MaybeTlsStream<TcpStream>>;

/// A WebSocket that has greeted.
async fn socket(gateway: &Gateway, person: &Person) -> Socket {
    let mut request = gateway.url("/ws").replace("http://", "ws://").into_client_request().expect("a request");
    let cookies = person.cookie_header(&gateway.url("/ws").parse().expect("URL"));
    request.headers_mut().insert("cookie", cookies.parse().expect("cookies"));
    let (mut socket, _) = in_time("a WebSocket", tokio_tungstenite::connect_async(request)).await.expect("101");
    in_time("a greeting", socket.next()).await.expect("a greeting").expect("a greeting");
    socket
}

async fn echo<S>(socket: &mut WebSocketStream<S>, text: &'static str) -> Option<String>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    socket.send(Message::text(text)).await.ok()?;
    let answer = in_time("an echo or the end", socket.next()).await?.ok()?;
    answer.to_text().ok().map(str::to_owned)
}

#[tokio::test]
async fn websockets_and_uploads_go_on_as_they_began_and_only_newcomers_are_refused() {
    let mut scene = scene().await;
    let anna = Person::new();
    anna.sign_in(&scene.gateway.url("/page"), scene.provider.user("anna")).await;
    let mut socket = socket(&scene.gateway, &anna).await;
    let cookies = anna.cookie_header(&scene.gateway.url("/upload").parse().expect("URL"));
    let mut upload = Connection::open(scene.gateway.address()).await;
    let head = format!(
        "POST /upload HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nCookie: {cookies}\r\nContent-Length: 30\r\n\r\n0123456789",
        scene.gateway.config.port
    );
    upload.send(head).await;
    eventually("the upload reaches the app", || async { (!scene.app.seen_at("/upload").is_empty()).then_some(()) })
        .await;
    // Nobody may any more, and the app is another one, which is not there.
    let app = scene.app.url();
    let closed = scene
        .gateway
        .reload(|config| {
            config.tables = config
                .tables
                .replacen(
                    "access = \"signed-in\"",
                    "access = \"signed-in\"\nallow = { emails = [\"nobody@example.org\"] }",
                    1,
                )
                .replace(&app, "http://127.0.0.2:9");
        })
        .await;
    assert!(closed);
    anna.fetch(&scene.gateway.url("/page")).await.expect(403);
    assert_eq!(echo(&mut socket, "still").await.as_deref(), Some("still"));
    upload.send("0123456789").await;
    assert!(scene.gateway.hang_up().await);
    upload.send("0123456789").await;
    let reply = in_time("the answer", upload.reply()).await.expect("an answer");
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert!(reply.text().contains("\"bytes\":30"), "{}", reply.text());
    assert_eq!(echo(&mut socket, "and still").await.as_deref(), Some("and still"));
    // What ends a session ends what began under it, whatever configuration it goes by.
    anna.open(&scene.gateway.url("/logout")).await;
    assert_eq!(echo(&mut socket, "over").await, None);
}

#[tokio::test]
async fn sessions_live_on_over_reloads_and_over_new_secrets_and_what_ended_stays_so() {
    let mut scene = scene().await;
    let (anna, berta) = (Person::new(), Person::new());
    anna.sign_in(&scene.gateway.url("/page"), scene.provider.user("anna")).await;
    berta.sign_in(&scene.gateway.url("/page"), scene.provider.user("berta")).await;
    let copy = berta.clone_with_own_jar();
    berta.browse(&scene.gateway.url("/logout")).await;
    let ended = async |gateway: &Gateway| {
        let answer = copy.clone_with_own_jar().fetch(&gateway.url("/page")).await;
        assert_eq!((answer.status, answer.reason().as_str()), (401, "DW-4006"), "{}", answer.text());
    };
    ended(&scene.gateway).await;
    let old = scene.gateway.config.secrets.clone();
    let new = random_word();
    assert!(scene.gateway.reload(|config| config.secrets.insert(0, new)).await);
    anna.fetch(&scene.gateway.url("/page")).await.expect(200);
    ended(&scene.gateway).await;
    for lifetime in ["1h", "30h"] {
        let table = format!("[session]\nabsolute = \"{lifetime}\"\nidle = \"30m\"\n");
        assert!(scene.gateway.reload(|config| config.tables.push_str(&table)).await);
        anna.fetch(&scene.gateway.url("/page")).await.expect(200);
        ended(&scene.gateway).await;
        assert!(scene.gateway.reload(|config| config.tables = config.tables.replace(&table, "")).await);
    }
    let many = Person::new();
    many.sign_in(&scene.gateway.url("/page"), scene.provider.user("many")).await;
    assert!(scene.gateway.reload(|config| config.secrets.retain(|secret| !old.contains(secret))).await);
    anna.fetch(&scene.gateway.url("/page")).await.expect(401);
    many.fetch(&scene.gateway.url("/page")).await.expect(200);
}

#[tokio::test]
async fn the_way_in_opens_stays_and_closes_by_reloads_with_one_password() {
    let mut scene = scene_with("", "[restore]\nuser = \"root\"\nenabled = false\n").await;
    let anna = Person::new();
    anna.sign_in(&scene.gateway.url("/page"), scene.provider.user("anna")).await;
    assert!(
        scene.gateway.reload(|config| config.tables = config.tables.replace("enabled = false", "enabled = true")).await
    );
    anna.fetch(&scene.gateway.url("/page")).await.expect(503);
    assert_eq!(scene.gateway.metric("doorward_restore_mode", &[]).await, 1.0);
    let password = scene.gateway.password_of_the_log().await;
    let root = Person::new();
    let come_in = async |gateway: &Gateway| {
        let form = root.browse(&gateway.url("/page")).await;
        fill_in(&root, &form, "", &password).await
    };
    come_in(&scene.gateway).await.expect(200);
    for n in 0..3 {
        let route = format!("[[route]]\npath = \"/more{n}\"\naccess = \"public\"\n");
        assert!(scene.gateway.reload(|config| config.tables.push_str(&route)).await);
        root.fetch(&scene.gateway.url("/page")).await.expect(200);
    }
    root.edit(Vec::clear);
    come_in(&scene.gateway).await.expect(200);
    // It is in the log once, and opens nothing once it is closed.
    scene.gateway.password_of_the_log().await;
    assert!(
        scene.gateway.reload(|config| config.tables = config.tables.replace("enabled = true", "enabled = false")).await
    );
    // Its provider was not asked for anything meanwhile.
    scene.gateway.ready().await;
    root.fetch(&scene.gateway.url("/page")).await.expect(401);
    anna.fetch(&scene.gateway.url("/page")).await.expect(200);
    assert_eq!(scene.gateway.metric("doorward_restore_mode", &[]).await, 0.0);
    assert!(!scene.gateway.readyz().await.1.to_string().contains("restore mode"));
}

/// 50 connections that ask without a pause, half of them with a session, while the configuration changes 200 times and
/// every fifth is bad. Now and then there is another secret for sessions, and the provider has other settings.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_reloads_under_load_fail_no_request() {
    const RELOADS: usize = 200;
    let scene = scene().await;
    let anna = Person::new();
    anna.sign_in(&scene.gateway.url("/page"), scene.provider.user("anna")).await;
    let mut long = socket(&scene.gateway, &anna).await;
    let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let clients: Vec<_> = (0..50)
        .map(|n| {
            let (stop, answered) = (stop.clone(), answered.clone());
            let url = scene.gateway.url(if n % 2 == 0 { "/public/x" } else { "/upload" });
            let cookies = anna.cookie_header(&url.parse().expect("URL"));
            tokio::spawn(async move {
                let client = Client::builder().no_proxy().build().expect("a client");
                let mut failed = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let request = client.post(&url).header("cookie", &cookies).body("0123456789".repeat(n));
                    match request.send().await {
                        Ok(answer) if answer.status() == 200 => match answer.bytes().await {
                            Ok(_) => drop(answered.fetch_add(1, Ordering::Relaxed)),
                            Err(error) => failed.push(error.to_string()),
                        },
                        Ok(answer) => failed.push(answer.text().await.unwrap_or_default()),
                        Err(error) => failed.push(format!("{error:?}")),
                    }
                }
                failed
            })
        })
        .collect();
    let good = scene.gateway.config.text();
    for n in 0..RELOADS {
        let bad = n % 5 == 4;
        let text = match bad {
            true => format!("{good}\n[[route]]\npath = \"/more{n}\"\ncolour = \"red\"\n"),
            false => format!("{good}\n[[route]]\npath = \"/more{n}\"\naccess = \"public\"\n"),
        };
        let text = match n % 7 {
            2 => text.replacen("secrets = [", &format!("secrets = [{:?}, ", random_word()), 1),
            3 => text.replacen("[[provider]]\n", &format!("[[provider]]\ndisplay_name = \"Number {n}\"\n"), 1),
            _ => text,
        };
        assert_eq!(scene.gateway.reload_text(&text).await, !bad, "reload {n}");
        // Not silent for so long that it would be ended for that.
        assert_eq!(echo(&mut long, "still").await.as_deref(), Some("still"), "reload {n}");
    }
    let before = answered.load(Ordering::Relaxed);
    eventually("requests go on", || async { (answered.load(Ordering::Relaxed) > before + 50).then_some(()) }).await;
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        let failed = client.await.expect("a client");
        assert!(failed.is_empty(), "{} of {}: {:?}", failed.len(), answered.load(Ordering::Relaxed), failed.first());
    }
    assert_eq!(echo(&mut long, "still").await.as_deref(), Some("still"));
    let outcome = async |label: &str| scene.gateway.metric("doorward_reloads_total", &[label]).await;
    assert!(outcome("outcome=\"ok\"").await >= (RELOADS * 4 / 5) as f64);
    assert!(outcome("outcome=\"DW-7002\"").await >= (RELOADS / 5) as f64);
    // Held by the WebSocket alone, beside the one in force.
    eventually("the others are let go of", || async {
        (scene.gateway.metric("doorward_configuration_generations", &[]).await == 2.0).then_some(())
    })
    .await;
    drop(long);
    eventually("its one, too", || async {
        (scene.gateway.metric("doorward_configuration_generations", &[]).await == 1.0).then_some(())
    })
    .await;
    println!("{} requests over {RELOADS} reloads", answered.load(Ordering::Relaxed));
}

const API: &str = r#"
[[provider]]
issuer = "http://127.0.0.2:9"
client_id = "nobody"
client_secret = "SECRET"

[[issuer]]
name = "ci"
issuer = "https://ci.example"
jwks_file = "keys.json"
audiences = ["api"]

[[issuer]]
name = "shared"
issuer = "https://shared.example"
secret = "SECRET"
audiences = ["api"]

[[route]]
access = "public"

[[route]]
path = "/api"
access = "bearer"

[[route]]
path = "/ws"
access = "bearer"
"#;

/// A WebSocket over TLS, with a token.
async fn socket_over_tls(
    gateway: &Gateway,
    authority: &Authority,
    token: &str,
) -> WebSocketStream<tokio_rustls::client::TlsStream<TcpStream>> {
    let mut roots = rustls::RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(authority.pem().as_bytes()).expect("a certificate"))
        .expect("an authority");
    let config = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let mut request = gateway.url("/ws").replace("https://", "wss://").into_client_request().expect("a request");
    request.headers_mut().insert("authorization", format!("Bearer {token}").parse().expect("a token"));
    let tcp = TcpStream::connect(gateway.address()).await.expect("a connection");
    let tls = connector.connect(gateway.address().ip().into(), tcp).await.expect("TLS");
    let (mut socket, _) = in_time("a WebSocket", tokio_tungstenite::client_async(request, tls)).await.expect("101");
    in_time("a greeting", socket.next()).await.expect("a greeting").expect("a greeting");
    socket
}

/// Over TLS, by HTTP/1.1 and HTTP/2, on connections that stay and on new ones, with a token and without: each reload has
/// another certificate for the listener, and other secrets.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_certificates_and_secrets_fail_no_request_over_tls() {
    const RELOADS: usize = 60;
    let (authority, key, app) = (Authority::new(), Key::new("k1"), App::start().await);
    let mut config = Config::new();
    let folder = config.dir.path().to_owned();
    std::fs::write(folder.join("keys.json"), json!({"keys": [key.jwk()]}).to_string()).expect("keys.json");
    let other = |n: usize| {
        let own = folder.join(n.to_string());
        std::fs::create_dir(&own).expect("a folder");
        let (certificate, private) = authority.leaf(&["127.0.0.1"]).write(&own);
        let listen = format!("tls_certificate_file = {certificate:?}\ntls_key_file = {private:?}\n");
        (listen, API.replace("SECRET", &random_word()) + &upstream_table(&app.url()))
    };
    config.public_url = format!("https://127.0.0.1:{}", config.port);
    (config.listen, config.tables) = other(0);
    let mut gateway = config.start().await;
    let now = forger::now();
    let claims = json!({"iss": "https://ci.example", "sub": "robot-7", "aud": "api", "exp": now + 3600, "iat": now});
    let token = key.sign(&json!({"alg": "ES256", "typ": "at+jwt", "kid": "k1"}), &claims);
    let mut long = socket_over_tls(&gateway, &authority, &token).await;
    let root = reqwest::Certificate::from_pem(authority.pem().as_bytes()).expect("a certificate");
    let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let clients: Vec<_> = (0..16)
        .map(|n| {
            let (stop, answered, root, token) = (stop.clone(), answered.clone(), root.clone(), token.clone());
            let url = gateway.url(if n % 2 == 0 { "/api" } else { "/x" });
            let fresh = move || {
                let client = Client::builder().no_proxy().tls_certs_only([root.clone()]);
                let client = if n % 4 < 2 { client.http1_only() } else { client.http2_prior_knowledge() };
                client.build().expect("a client")
            };
            tokio::spawn(async move {
                let (mut client, mut failed) = (fresh(), Vec::new());
                while !stop.load(Ordering::Relaxed) {
                    if n % 8 >= 4 {
                        client = fresh();
                    }
                    match client.get(&url).bearer_auth(&token).send().await {
                        Ok(answer) if answer.status() == 200 => match answer.bytes().await {
                            Ok(_) => drop(answered.fetch_add(1, Ordering::Relaxed)),
                            Err(error) => failed.push(error.to_string()),
                        },
                        Ok(answer) => failed.push(answer.text().await.unwrap_or_default()),
                        Err(error) => failed.push(format!("{error:?}")),
                    }
                }
                failed
            })
        })
        .collect();
    for n in 1..=RELOADS {
        let (listen, tables) = other(n);
        let taken = gateway.reload(|config| (config.listen, config.tables) = (listen, tables)).await;
        assert!(taken, "reload {n}");
        assert_eq!(echo(&mut long, "still").await.as_deref(), Some("still"), "reload {n}");
    }
    let before = answered.load(Ordering::Relaxed);
    eventually("requests go on", || async { (answered.load(Ordering::Relaxed) > before + 50).then_some(()) }).await;
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        let failed = client.await.expect("a client");
        assert!(failed.is_empty(), "{} of {}: {:?}", failed.len(), answered.load(Ordering::Relaxed), failed.first());
    }
    assert_eq!(echo(&mut long, "still").await.as_deref(), Some("still"));
    println!("{} requests over {RELOADS} reloads", answered.load(Ordering::Relaxed));
}
