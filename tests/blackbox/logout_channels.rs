//! Sessions that end from elsewhere: the provider's logout tokens and frames, and a copy of a cookie after its sign-out.

use std::time::Instant;

use base64::Engine;
use futures::{SinkExt, StreamExt};
use reqwest::Method;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::support::app::App;
use crate::support::forger::{Forger, Key, now, trip, unsigned};
use crate::support::gateway::{Config, Gateway};
use crate::support::person::{Answer, NAVIGATION, Person};
use crate::support::poster::{post_twice, posted_trip, to_form};
use crate::support::provider::Provider;
use crate::support::setup::{ROUTES, provider_table, upstream_table};
use crate::support::{eventually, in_time};

const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

/// What browsers send with a frame of another site.
pub const FRAME: [(&str, &str); 4] = [
    ("accept", "text/html"),
    ("sec-fetch-mode", "navigate"),
    ("sec-fetch-dest", "iframe"),
    ("sec-fetch-site", "cross-site"),
];

/// A gateway that believes a forger, whose key the test has.
struct Stage {
    forger: Forger,
    key: Key,
    gateway: Gateway,
    _app: App,
}

impl Stage {
    async fn set() -> Stage {
        Stage::set_with("").await
    }

    /// With further keys of `[[provider]]`.
    async fn set_with(keys: &str) -> Stage {
        let (forger, app, key) = (Forger::start().await, App::start().await, Key::new("the-key"));
        forger.keys(json!({"keys": [key.jwk()]}));
        let gateway = forger.gateway(&app.url(), keys).await;
        Stage { forger, key, gateway, _app: app }
    }

    /// Somebody who signed in as `sub` in the provider's session `sid`.
    async fn person(&self, sub: &str, sid: Option<&str>) -> Person {
        let (key, sub, sid) = (self.key.clone(), sub.to_owned(), sid.map(str::to_owned));
        self.forger.forges(move |attempt, _| {
            let mut claims = attempt.claims();
            claims["sub"] = json!(sub);
            if let Some(sid) = &sid {
                claims["sid"] = json!(sid);
            }
            key.token(&claims)
        });
        let person = Person::new();
        trip(&person, &self.gateway).await;
        self.expect(&person, 200, "after signing in").await;
        person
    }

    #[track_caller]
    fn expect<'a>(&'a self, person: &'a Person, status: u16, when: &'a str) -> impl Future<Output = ()> + 'a {
        let at = std::panic::Location::caller();
        async move {
            let answer = person.fetch(&self.gateway.url("/who")).await;
            assert_eq!(answer.status, status, "{when} ({at}): {}", answer.text());
            assert_eq!(answer.reason() == "DW-4006", status == 401, "{when} ({at}): {}", answer.text());
        }
    }

    /// The claims of a good logout token, with `changes` merged in; null takes one away.
    fn claims(&self, changes: Value) -> Value {
        let jti = crate::support::random_word();
        let mut claims = json!({"iss": self.forger.issuer, "aud": "the-client", "iat": now(), "exp": now() + 120,
                                "jti": jti, "events": {EVENT: {}}});
        let members = claims.as_object_mut().expect("an object");
        for (name, value) in changes.as_object().expect("an object") {
            match value {
                Value::Null => members.remove(name),
                value => members.insert(name.clone(), value.clone()),
            };
        }
        claims
    }

    fn token(&self, changes: Value) -> String {
        self.key.sign(&json!({"alg": "ES256", "typ": "logout+jwt", "kid": self.key.kid}), &self.claims(changes))
    }

    async fn send(&self, token: &str) -> Answer {
        send(&self.gateway, token).await
    }

    async fn frame(&self, person: &Person, iss: &str, sid: &str) -> Answer {
        let query = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("iss", iss)
            .append_pair("sid", sid)
            .finish();
        person.request(Method::GET, &self.gateway.url(&format!("/logout?{query}")), &FRAME, None).await
    }
}

/// Sends a logout token as a provider does.
async fn send(gateway: &Gateway, token: &str) -> Answer {
    let form = url::form_urlencoded::Serializer::new(String::new()).append_pair("logout_token", token).finish();
    post(gateway, form).await
}

async fn post(gateway: &Gateway, form: String) -> Answer {
    Person::new().request(Method::POST, &gateway.url("/oidc/backchannel-logout"), &[], Some(form)).await
}

/// Sessions are as old as the second in which they began; one that begins after a logout begins in a later one.
async fn next_second() {
    let this = now();
    eventually("the next second", || async { (now() > this).then_some(()) }).await;
}

#[tokio::test]
async fn a_logout_token_with_a_sid_ends_that_session_alone() {
    let stage = Stage::set().await;
    let (laptop, phone) = (stage.person("anna", Some("s1")).await, stage.person("anna", Some("s2")).await);
    let berta = stage.person("berta", Some("s3")).await;
    let answer = stage.send(&stage.token(json!({"sub": "anna", "sid": "s1"}))).await;
    assert_eq!((answer.status, answer.text().as_str(), answer.header("cache-control")), (200, "", "no-store"));
    assert!(answer.set_cookies().is_empty());
    stage.expect(&laptop, 401, "the session of that sid").await;
    stage.expect(&phone, 200, "another of the same person").await;
    stage.expect(&berta, 200, "somebody else's").await;
    // A person is sent to sign in, and the session made then lives, although the provider's goes by the same name.
    assert!(laptop.open(&stage.gateway.url("/who")).await.location().is_some());
    next_second().await;
    let again = stage.person("anna", Some("s1")).await;
    stage.expect(&again, 200, "made after the logout").await;
    stage.expect(&laptop, 401, "for good").await;
    let line = stage.gateway.log_line(&["audit", "session_ended", "allow", "subject=anna"]).await;
    assert!(line.contains("provider=main"), "{line}");
    assert_eq!(stage.gateway.metric("doorward_sign_ins_total", &["back_channel_logout", "ok"]).await, 1.0);
    assert!(stage.gateway.metric("doorward_ended_sessions", &["back_channel"]).await >= 1.0);
    assert!(stage.gateway.metric("doorward_ended_session_uses_total", &["back_channel"]).await >= 2.0);
}

#[tokio::test]
async fn a_logout_token_with_a_sub_ends_every_session_of_that_person() {
    let stage = Stage::set().await;
    let (laptop, phone) = (stage.person("anna", Some("s1")).await, stage.person("anna", None).await);
    let berta = stage.person("berta", Some("s3")).await;
    stage.send(&stage.token(json!({"sub": "anna"}))).await.expect(200);
    stage.expect(&laptop, 401, "with a sid").await;
    stage.expect(&phone, 401, "without a sid").await;
    stage.expect(&berta, 200, "somebody else's").await;
    // The callback's "you are signed in already" is not for an ended session.
    let answer = laptop.open(&stage.gateway.url("/oidc/callback?code=c&state=old.state")).await;
    assert_eq!((answer.status, answer.reason().as_str()), (400, "DW-3103"), "{}", answer.text());
}

#[tokio::test]
async fn a_session_whose_provider_said_no_sid_ends_with_any_of_its_person() {
    let stage = Stage::set().await;
    let (bare, other) = (stage.person("anna", None).await, stage.person("anna", Some("s2")).await);
    stage.send(&stage.token(json!({"sub": "anna", "sid": "s1"}))).await.expect(200);
    stage.expect(&bare, 401, "it may be the one that is meant").await;
    stage.expect(&other, 200, "it is another one").await;
}

#[tokio::test]
async fn what_is_no_logout_token_ends_nothing() {
    let stage = Stage::set().await;
    let anna = stage.person("anna", Some("s1")).await;
    let stranger = Key::new("the-key");
    let header = json!({"alg": "ES256", "typ": "logout+jwt", "kid": "the-key"});
    let good = stage.claims(json!({"sub": "anna"}));
    let typed = |typ: &str| stage.key.sign(&json!({"alg": "ES256", "typ": typ, "kid": "the-key"}), &good);
    let id_token = json!({"iss": stage.forger.issuer, "sub": "anna", "aud": "the-client", "iat": now(),
                          "exp": now() + 600, "nonce": "n", "sid": "s1"});
    let hmac = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &stage.key.public_bytes());
    let with_secret = unsigned(&json!({"alg": "HS256", "typ": "logout+jwt"}), &good);
    let with_secret = format!("{with_secret}.{}", base64url(ring::hmac::sign(&hmac, with_secret.as_bytes()).as_ref()));
    let tokens = [
        ("another's key", stranger.sign(&header, &good)),
        ("no signature", format!("{}.", unsigned(&json!({"alg": "none"}), &good))),
        ("none", format!("{}.AAAA", unsigned(&json!({"alg": "NoNe", "kid": "the-key"}), &good))),
        ("the public key as secret", with_secret),
        ("an ID token", stage.key.token(&id_token)),
        ("an access token", typed("at+jwt")),
        ("an ID token by its type", typed("id_token+jwt")),
        ("another issuer", stage.token(json!({"sub": "anna", "iss": "https://evil.example"}))),
        ("another audience", stage.token(json!({"sub": "anna", "aud": "other"}))),
        ("no event", stage.token(json!({"sub": "anna", "events": {}}))),
        ("an event that is a text", stage.token(json!({"sub": "anna", "events": {EVENT: "x"}}))),
        ("a nonce", stage.token(json!({"sub": "anna", "nonce": "n"}))),
        ("neither sub nor sid", stage.token(json!({}))),
        ("no jti", stage.token(json!({"sub": "anna", "jti": null}))),
        ("too old", stage.token(json!({"sub": "anna", "iat": now() - 400}))),
        ("of tomorrow", stage.token(json!({"sub": "anna", "iat": now() + 86_400}))),
        ("over", stage.token(json!({"sub": "anna", "exp": now() - 100}))),
        ("no JWT", "token".to_owned()),
        ("encrypted", "a.b.c.d.e".to_owned()),
        ("dots", ".".repeat(1000)),
        ("deep", stage.key.sign_raw(&format!("{}{}", "[".repeat(5000), "]".repeat(5000)))),
    ];
    for (what, token) in &tokens {
        let answer = stage.send(token).await;
        assert_eq!(answer.status, 400, "{what}: {}", answer.text());
        let body = answer.json();
        assert_eq!(
            (body["error"].as_str(), body["reason"].as_str()),
            (Some("invalid_request"), Some("DW-3114")),
            "{what}"
        );
        assert!(body["error_description"].is_string() && body["reference"].is_string(), "{body}");
        assert_eq!(answer.header("cache-control"), "no-store", "{what}");
    }
    let token = stage.token(json!({"sub": "anna"}));
    for form in [String::new(), "logout_token=".into(), format!("logout_token={token}&logout_token={token}")] {
        assert_eq!(post(&stage.gateway, form.clone()).await.reason(), "DW-3114", "{form:.40}");
    }
    let long = post(&stage.gateway, format!("logout_token={}", "a".repeat(70_000))).await;
    assert_eq!((long.status, long.reason().as_str()), (400, "DW-3114"));
    let address = stage.gateway.url(&format!("/oidc/backchannel-logout?logout_token={token}"));
    let answer = Person::new().open(&address).await;
    assert_eq!((answer.status, answer.header("allow")), (405, "POST"));
    let in_query = Person::new().request(Method::POST, &address, &[], Some(String::new())).await;
    assert_eq!(in_query.reason(), "DW-3114");
    stage.expect(&anna, 200, "after all of that").await;
    let log = stage.gateway.log_text();
    assert!(
        tokens.iter().filter(|(_, token)| token.len() > 100).all(|(_, token)| !log.contains(token)),
        "a token is in the log"
    );
    // Wherever it comes from, by whatever page: the signature alone counts.
    let form = url::form_urlencoded::Serializer::new(String::new()).append_pair("logout_token", &token).finish();
    let from = [("origin", "https://elsewhere.example"), ("sec-fetch-site", "cross-site")];
    let url = stage.gateway.url("/oidc/backchannel-logout");
    Person::new().request(Method::POST, &url, &from, Some(form)).await.expect(200);
    stage.expect(&anna, 401, "after a good one").await;
}

fn base64url(bytes: &[u8]) -> String {
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}

#[tokio::test]
async fn a_logout_token_is_taken_once() {
    let stage = Stage::set().await;
    let token = stage.token(json!({"sub": "anna"}));
    stage.send(&token).await.expect(200);
    next_second().await;
    let anna = stage.person("anna", Some("s1")).await;
    let answer = stage.send(&token).await;
    assert_eq!((answer.status, answer.reason().as_str()), (400, "DW-3115"), "{}", answer.text());
    stage.expect(&anna, 200, "after the replay").await;
}

#[tokio::test]
async fn a_logout_token_of_a_key_that_is_new_is_taken() {
    let stage = Stage::set().await;
    let anna = stage.person("anna", Some("s1")).await;
    let newer = Key::new("newer");
    stage.forger.keys(json!({"keys": [newer.jwk()]}));
    let (asked, began) = (stage.forger.key_requests(), Instant::now());
    let header = json!({"alg": "ES256", "typ": "logout+jwt", "kid": "newer"});
    stage.send(&newer.sign(&header, &stage.claims(json!({"sid": "s1"})))).await.expect(200);
    stage.expect(&anna, 401, "after it").await;
    // Anybody may send tokens of keys that nobody has; the provider is not asked for each.
    for n in 0..20 {
        let header = json!({"alg": "ES256", "kid": format!("unknown-{n}")});
        stage.send(&newer.sign(&header, &stage.claims(json!({"sid": "s1"})))).await.expect(400);
    }
    // One fetch in five seconds, however long this took.
    let (fetched, most) = (stage.forger.key_requests() - asked, 1 + began.elapsed().as_secs() as usize / 5);
    assert!((1..=most).contains(&fetched), "{fetched} fetches, and not at most {most}");
}

#[tokio::test]
async fn a_provider_that_is_not_ready_yet_is_told_to_send_it_again() {
    let (forger, app, key) = (Forger::start().await, App::start().await, Key::new("the-key"));
    forger.instead("metadata", 503, "", "{}");
    let gateway = forger.config(&app.url(), "").start().await;
    let stage = Stage { forger, key, gateway, _app: app };
    let answer = stage.send(&stage.token(json!({"sub": "anna"}))).await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, "5"));
    // Until the first try has come to an end it is not known which step fails.
    assert!(["DW-6001", "DW-6101"].contains(&answer.reason().as_str()), "{}", answer.text());
}

#[tokio::test]
async fn a_frame_of_the_provider_ends_the_session_that_it_names_without_any_cookie() {
    let stage = Stage::set().await;
    let (anna, berta) = (stage.person("anna", Some("s1")).await, stage.person("berta", Some("s2")).await);
    let issuer = stage.forger.issuer.clone();
    let answer = stage.frame(&Person::new(), &issuer, "s1").await;
    assert_eq!((answer.status, answer.header("cache-control")), (200, "no-store"), "{}", answer.text());
    let policy = answer.header("content-security-policy");
    assert!(
        policy.contains("default-src 'none'") && policy.ends_with(&format!("frame-ancestors {issuer}")),
        "{policy}"
    );
    assert_eq!(answer.header("x-frame-options"), "", "the policy says who may frame it");
    assert!(answer.set_cookies().is_empty());
    stage.expect(&anna, 401, "the session of that sid").await;
    stage.expect(&berta, 200, "another").await;
    // A browser that sends its cookies along, of another session, keeps it.
    let answer = stage.frame(&berta, &issuer, "s1").await;
    assert!(answer.set_cookies().is_empty(), "{:?}", answer.set_cookies());
    stage.expect(&berta, 200, "another, whose cookie came along").await;
    next_second().await;
    let again = stage.person("anna", Some("s1")).await;
    stage.expect(&again, 200, "made after the logout").await;
}

#[tokio::test]
async fn only_a_session_that_was_seen_is_said_to_have_ended_by_a_frame() {
    let stage = Stage::set().await;
    let anna = stage.person("anna", Some("s1")).await;
    let issuer = stage.forger.issuer.clone();
    // A flood of made-up names from one address, larger than what one address has room for.
    stage.frame(&Person::new(), &issuer, "s1").await.expect(200);
    for n in 0..400 {
        stage.frame(&Person::new(), &issuer, &format!("made-up-{n}")).await.expect(200);
    }
    stage.expect(&anna, 401, "after the flood").await;
    stage.gateway.log_line(&["audit", "session_ended", "allow", "frame"]).await;
    Person::new().open(&stage.gateway.url("/afterwards")).await;
    stage.gateway.log_line(&["access", "/afterwards"]).await;
    let ended = |line: &String| line.contains("audit session_ended");
    assert_eq!(stage.gateway.log_lines().iter().filter(|line| ended(line)).count(), 1);
    assert_eq!(stage.gateway.metric("doorward_ended_sessions", &["front_channel"]).await, 1.0);
    let unknown = stage.gateway.metric("doorward_ended_sessions", &["unseen"]).await;
    assert!((1.0..400.0).contains(&unknown), "{unknown}");
}

/// The ID token of an implicit sign-in waits in the browser for as long as its person likes.
#[tokio::test]
async fn an_id_token_that_waited_in_the_browser_makes_no_session_that_outlives_the_logout() {
    let stage = Stage::set_with("auth_method = \"implicit\"").await;
    let key = stage.key.clone();
    stage.forger.responds(move |attempt| {
        let mut claims = attempt.claims();
        claims["sid"] = json!("s1");
        attempt.granted(&key, &claims)
    });
    let person = Person::new();
    let form = to_form(&person, &stage.gateway).await;
    next_second().await;
    stage.send(&stage.token(json!({"sub": "anna", "sid": "s1"}))).await.expect(200);
    next_second().await;
    let answer = post_twice(&person, &form).await;
    assert!(answer.location().is_some(), "{}", answer.text());
    stage.expect(&person, 401, "by a token from before the logout").await;
    // A sign-in that begins after it lives, although the provider calls its session the same.
    let again = Person::new();
    posted_trip(&again, &stage.gateway).await;
    stage.expect(&again, 200, "by a new token").await;
}

/// Two providers, each with a key of its own; the token is for the second one's.
#[tokio::test]
async fn an_encrypted_logout_token_ends_a_session() {
    let provider = Provider::complete();
    let (key, other) = (provider.key("RSA").await, provider.key("RSA").await);
    let dir = tempfile::tempdir().expect("a folder");
    let [file, another] = ["ours.pem", "other.pem"].map(|name| dir.path().join(name));
    std::fs::write(&file, &key.private).expect("a file");
    std::fs::write(&another, &other.private).expect("a file");
    let (app, config) = (App::start().await, Config::new());
    let metadata = json!({
        "id_token_encrypted_response_alg": "RSA-OAEP-256", "id_token_encrypted_response_enc": "A256GCM",
        "jwks": {"keys": [key.entry("ours", "RSA-OAEP-256", "enc")]},
        "redirect_uris": [format!("{}/oidc/callback/second", config.public_url)],
        "backchannel_logout_uri": format!("{}/oidc/backchannel-logout", config.public_url),
        "backchannel_logout_session_required": true,
    });
    let client = provider.register(&config.public_url, metadata).await;
    let first = format!(
        "[[provider]]\nname = \"first\"\nissuer = \"http://127.0.0.2:9\"\nclient_id = \"nobody\"\n\
         decryption_key_file = {another:?}\n"
    );
    let second = format!("{}name = \"second\"\ndecryption_key_file = {file:?}\n", provider_table(&provider, &client));
    let config = config.add(&first).add(&second).add(&upstream_table(&app.url())).add(ROUTES);
    let gateway = config.start().await;
    let ready = ["second"];
    eventually("the second provider", || async {
        (gateway.metric("doorward_provider_ready", &ready).await == 1.0).then_some(())
    })
    .await;
    let person = Person::new();
    let form = person.browse(&gateway.url("/oidc/login?provider=second&return_to=/who")).await;
    person.log_in(&form, provider.user("carl")).await.expect(200);
    assert_eq!(provider.back_channel_logout("carl", &client).await, [Value::Null]);
    let answer = person.fetch(&gateway.url("/who")).await;
    assert_eq!((answer.status, answer.reason().as_str()), (401, "DW-4006"), "{}", answer.text());
}

type Socket = tokio_tungstenite::WebSocketStream<tokio_tungstenite::MaybeTlsStream<tokio::net::TcpStream>>;

/// A WebSocket of the app's, opened with the cookies of `person`; its first message has been read.
async fn socket(gateway: &Gateway, person: &Person) -> Socket {
    let mut request = gateway.url("/ws").replace("http://", "ws://").into_client_request().expect("a request");
    let cookies = person.cookie_header(&gateway.url("/ws").parse().expect("URL"));
    request.headers_mut().insert("cookie", cookies.parse().expect("cookies"));
    let open = || async {
        let (mut socket, _) = tokio_tungstenite::connect_async(request.clone()).await.ok()?;
        socket.next().await?.ok().map(|_| socket)
    };
    eventually("a WebSocket", open).await
}

/// What comes back for `text`; `None` where the connection has ended.
async fn echo(socket: &mut Socket, text: &'static str) -> Option<String> {
    socket.send(Message::text(text)).await.ok()?;
    let answer = in_time("an echo or the end", socket.next()).await?.ok()?;
    answer.to_text().ok().map(str::to_owned)
}

#[tokio::test]
async fn an_open_websocket_ends_with_its_session_and_no_other_does() {
    let stage = Stage::set().await;
    let (anna, berta) = (stage.person("anna", Some("s1")).await, stage.person("berta", Some("s2")).await);
    let mut theirs = socket(&stage.gateway, &anna).await;
    let mut other = socket(&stage.gateway, &berta).await;
    assert_eq!(echo(&mut theirs, "before").await.as_deref(), Some("before"));
    stage.send(&stage.token(json!({"sid": "s1"}))).await.expect(200);
    assert_eq!(echo(&mut theirs, "after").await, None);
    stage.gateway.log_line(&["access", "/ws", "DW-4006"]).await;
    assert_eq!(echo(&mut other, "after").await.as_deref(), Some("after"));
    // A new session of the same browser ends nothing that is under way with the old one.
    let before = berta.session();
    berta.browse(&stage.gateway.url("/oidc/login?return_to=/who")).await.expect(200);
    assert_ne!(berta.session(), before);
    assert_eq!(echo(&mut other, "still").await.as_deref(), Some("still"));
}

#[tokio::test]
async fn a_frame_that_names_no_session_ends_none() {
    let stage = Stage::set().await;
    let anna = stage.person("anna", Some("s1")).await;
    let issuer: String = url::form_urlencoded::byte_serialize(stage.forger.issuer.as_bytes()).collect();
    for query in [
        format!("iss={issuer}"),
        "sid=s1".into(),
        format!("iss={issuer}&sid="),
        "iss=&sid=s1".into(),
        format!("iss={issuer}&sid=s1&sid=s1"),
        format!("iss={issuer}&iss={issuer}&sid=s1"),
        "iss=https%3A%2F%2Fevil.example&sid=s1".into(),
        format!("iss={issuer}%2F&sid=s1%00"),
        format!("iss={issuer}&sid={}", "s".repeat(600)),
        format!("iss={}&sid=s1", "i".repeat(600)),
    ] {
        for person in [&Person::new(), &anna] {
            let url = stage.gateway.url(&format!("/logout?{query}"));
            let answer = person.request(Method::GET, &url, &FRAME, None).await;
            if query.contains("%00") {
                // The issuer of a bare host is the same with a slash; the session is another.
                answer.expect(200);
            } else {
                assert_eq!((answer.status, answer.reason().as_str()), (400, "DW-3113"), "{query:.80}");
            }
            assert!(answer.set_cookies().is_empty(), "{query:.80}");
        }
    }
    for method in [Method::POST, Method::HEAD] {
        let url = stage.gateway.url(&format!("/logout?iss={issuer}&sid=s1"));
        assert_eq!(anna.request(method.clone(), &url, &NAVIGATION, None).await.status, 400, "{method}");
    }
    // Without the two it is a sign-out, which is not for another site to ask for.
    let answer = anna.request(Method::GET, &stage.gateway.url("/logout"), &FRAME, None).await;
    assert_eq!((answer.status, answer.reason().as_str()), (403, "DW-3111"));
    stage.expect(&anna, 200, "after all of that").await;
}

#[tokio::test]
async fn sessions_that_the_provider_ends_at_once_are_not_blamed_on_cookies() {
    let stage = Stage::set().await;
    let person = stage.person("anna", Some("s1")).await;
    for round in 1..=3 {
        if round > 1 {
            next_second().await;
            trip(&person, &stage.gateway).await;
        }
        stage.frame(&person, &stage.forger.issuer, "s1").await;
        stage.expect(&person, 401, "after the frame").await;
    }
    let page = person.browse(&stage.gateway.url("/who")).await;
    assert_eq!(page.status, 508, "{}", page.text());
    assert!(page.text().contains("nothing is wrong with this browser"), "{}", page.text());
    assert!(!page.text().contains("keeps cookies"), "{}", page.text());
}
