//! Nobody tells the app who they are but the gateway (threats B).

use reqwest::Method;
use serde_json::json;

use crate::support::app::{App, Seen};
use crate::support::frames::{H2, Outcome};
use crate::support::gateway::Config;
use crate::support::person::{NAVIGATION, Person};
use crate::support::provider::Provider;
use crate::support::raw::{Connection, RawApp, exchange, get};
use crate::support::setup::{ROUTES, gateway_before, scene, scene_at, scene_with};

/// Names an app may believe, each in spellings that some app takes for the same.
const SPELLINGS: [&str; 24] = [
    "X-Forwarded-User",
    "x-forwarded-user",
    "X-FORWARDED-USER",
    "X_Forwarded_User",
    "X-Forwarded_User",
    "x_forwarded_user",
    "X.Forwarded.User",
    "X-Forwarded-Email",
    "X_FORWARDED_EMAIL",
    "X-Forwarded-Groups",
    "X-Forwarded-Preferred-Username",
    "X-Forwarded-Access-Token",
    "X-Remote-User",
    "X_Remote_User",
    "x.remote.user",
    "Remote-User",
    "REMOTE_USER",
    "Remote-Groups",
    "X-Auth-Request-User",
    "X_AUTH_REQUEST_EMAIL",
    "X-WEBAUTH-USER",
    "X-Original-URL",
    "X-Real-IP",
    "Proxy",
];

fn forged() -> String {
    SPELLINGS.iter().map(|name| format!("{name}: forged\r\n{name}: forged-too\r\n")).collect()
}

#[track_caller]
fn nothing_forged(seen: &Seen) {
    let forged: Vec<_> = seen.headers.iter().filter(|(_, value)| value.contains("forged")).collect();
    assert!(forged.is_empty(), "{} {}: {forged:?}", seen.method, seen.target);
}

#[tokio::test]
async fn an_identity_header_of_a_client_reaches_no_app_in_any_spelling() {
    let app = App::start().await;
    let gateway = gateway_before(&app.url(), "[[route]]\npath = \"/pre\"\npreflight = true\n").await;
    let gateway_public = gateway_before(&app.url(), ROUTES).await;
    for (gateway, request) in [
        (&gateway_public, get("/public", &forged())),
        (&gateway_public, get("/public", &forged()).replace("GET", "OPTIONS")),
        (&gateway_public, get("/public/status/500", &forged())),
        (&gateway_public, get("/public", &format!("Connection: close\r\n{}", forged()))),
        (
            &gateway,
            get("/pre", &format!("Origin: http://a\r\nAccess-Control-Request-Method: GET\r\n{}", forged()))
                .replace("GET /", "OPTIONS /"),
        ),
    ] {
        let before = app.seen().len();
        exchange(gateway.address(), &request).await.expect("an answer");
        assert_eq!(app.seen().len(), before + 1, "{request}");
        nothing_forged(app.seen().last().expect("asked"));
    }
    let mut h2 = H2::open(gateway_public.address()).await;
    let mut fields =
        vec![(":method", "GET"), (":scheme", "http"), (":path", "/public/h2"), (":authority", "127.0.0.1")];
    let lower: Vec<String> = SPELLINGS.iter().map(|name| name.to_lowercase()).collect();
    fields.extend(lower.iter().map(|name| (name.as_str(), "forged")));
    let stream = h2.request(&fields).await;
    assert_eq!(h2.outcome(stream).await, Outcome::Status(200));
    nothing_forged(&app.seen_at("/public/h2")[0]);
}

#[tokio::test]
async fn a_signed_in_person_cannot_add_to_who_they_are() {
    let scene = scene().await;
    let person = Person::new();
    person.sign_in(&scene.gateway.url("/"), scene.provider.user("berta")).await;
    let forged: Vec<(&str, &str)> = SPELLINGS.iter().map(|name| (*name, "forged")).chain(NAVIGATION).collect();
    person.request(Method::GET, &scene.gateway.url("/forged"), &forged, None).await.expect(200);
    let seen = &scene.app.seen_at("/forged")[0];
    nothing_forged(seen);
    assert_eq!(seen.one("x-forwarded-user"), "berta");
    assert_eq!(seen.one("x-forwarded-email"), "berta@example.org");
    assert_eq!(seen.one("x-forwarded-preferred-username"), "berta");
    assert_eq!(seen.one("x-forwarded-groups"), "staff");
}

#[tokio::test]
async fn a_hop_by_hop_header_cannot_take_away_what_we_wrote() {
    let scene = scene().await;
    let person = Person::new();
    person.sign_in(&scene.gateway.url("/"), scene.provider.user("anna")).await;
    for value in
        ["X-Forwarded-User", "x-forwarded-user, close", "X-FORWARDED-USER,x-forwarded-groups", "x-forwarded-user\t"]
    {
        let headers = [&[("connection", value)][..], &NAVIGATION].concat();
        let answer = person.request(Method::GET, &scene.gateway.url("/hop"), &headers, None).await;
        // Refused, or with our headers; never without them.
        if answer.status == 200 {
            let seen = scene.app.seen_at("/hop").pop().expect("asked");
            assert_eq!(seen.one("x-forwarded-user"), "anna", "Connection: {value}");
            assert_eq!(seen.one("x-forwarded-groups"), "staff,admins", "Connection: {value}");
        } else {
            answer.expect(400);
        }
    }
    let cookies = person.cookie_header(&scene.gateway.url("/").parse().expect("URL"));
    let upgrade = get(
        "/ws",
        &format!(
            "Cookie: {cookies}\r\nConnection: Upgrade, X-Forwarded-User\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        ),
    );
    let reply = exchange(scene.gateway.address(), upgrade).await.expect("an answer");
    if reply.status == 101 {
        assert_eq!(scene.app.seen_at("/ws")[0].one("x-forwarded-user"), "anna");
    } else {
        assert_eq!(reply.status, 400);
    }
}

#[tokio::test]
async fn forwarding_headers_of_an_unlisted_peer_are_written_anew() {
    let (app, lines) = (
        App::start().await,
        concat!(
            "X-Forwarded-For: 10.9.9.9\r\nX-Forwarded-For: 10.9.9.8\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: evil.test\r\n",
            "X-Forwarded-Port: 666\r\nX-Forwarded-Prefix: /evil\r\nX-Forwarded-Ssl: on\r\nX-Forwarded-Anything: evil\r\n",
            "Forwarded: for=10.9.9.9;host=evil.test\r\nX-Real-IP: 10.9.9.9\r\nTrue-Client-IP: 10.9.9.9\r\nX_Forwarded_For: 10.9.9.9\r\n",
        ),
    );
    let gateway = gateway_before(&app.url(), "").await;
    exchange(gateway.address(), get("/public", lines)).await.expect("an answer");
    let seen = &app.seen()[0];
    assert_eq!(seen.one("x-forwarded-for"), "127.0.0.1");
    assert_eq!(seen.one("x-forwarded-proto"), "http");
    assert_eq!(seen.one("x-forwarded-host"), "127.0.0.1");
    assert_eq!(seen.one("x-forwarded-port"), gateway.config.port.to_string());
    assert!(seen.one("forwarded").contains("for=127.0.0.1"), "{}", seen.one("forwarded"));
    // The gateway's own port may hold any digits.
    let all = format!("{:?}", seen.headers).replace(&gateway.config.port.to_string(), "PORT");
    assert!(!all.contains("evil") && !all.contains("10.9.9") && !all.contains("666"), "{all}");
}

#[tokio::test]
async fn forwarding_headers_of_a_listed_peer_are_believed() {
    let app = App::start().await;
    let config = Config {
        listen: "trusted_proxies = [\"127.0.0.1\"]\n".into(),
        ..Config::new().add(&format!("[[upstream]]\nurl = \"{}\"\n{ROUTES}", app.url()))
    };
    let config = config.add("[[provider]]\nissuer = \"http://127.0.0.2:9\"\nclient_id = \"nobody\"\n");
    let gateway = config.start().await;
    let lines = "X-Forwarded-For: 6.6.6.6, 192.0.2.7\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: shop.test\r\n";
    exchange(gateway.address(), get("/public", lines)).await.expect("an answer");
    let seen = &app.seen()[0];
    // The address that the listed peer saw; what that client said of others is not believed.
    assert_eq!(seen.one("x-forwarded-for"), "192.0.2.7, 127.0.0.1");
    assert_eq!(seen.one("x-forwarded-proto"), "https");
    assert_eq!(seen.one("x-forwarded-host"), "shop.test");
}

#[tokio::test]
async fn a_value_outside_ascii_or_with_a_comma_stays_one_value() {
    let tables = r#"
[headers]
set = [
  { name = "X-Name", claim = "name" },
  { name = "X-Name-Percent", claim = "name", text = "percent" },
  { name = "X-Name-Base64", claim = "name", text = "base64" },
  { name = "X-Groups-Json", claim = "groups", lists = "json" },
  { name = "X-Locale", claim = "no.such.claim" },
]
"#;
    let scene = scene_with("", tables).await;
    let person = Person::new();
    person.sign_in(&scene.gateway.url("/who"), scene.provider.user("dörte")).await;
    let seen = &scene.app.seen_at("/who")[0];
    assert_eq!(seen.one("x-forwarded-user"), "dörte");
    assert_eq!(seen.one("x-name"), "Dörte Müller-Łuksza");
    assert_eq!(seen.one("x-name-percent"), "D%C3%B6rte M%C3%BCller-%C5%81uksza");
    assert_eq!(seen.one("x-name-base64"), "RMO2cnRlIE3DvGxsZXItxYF1a3N6YQ==");
    // An entry's own comma cannot pass for two entries.
    assert_eq!(seen.one("x-forwarded-groups"), "grüppe,a%2Cb,100%25");
    assert_eq!(seen.one("x-groups-json"), r#"["gr\u00fcppe","a,b","100%"]"#);
    assert!(seen.all("x-locale").is_empty());
}

#[tokio::test]
async fn a_claim_with_line_ends_writes_no_second_header() {
    let tables = "[headers]\nset = [{ name = \"X-Name\", claim = \"name\" }]\n";
    let scene = scene_with("", tables).await;
    let person = Person::new();
    let form = person.browse(&scene.gateway.url("/who")).await;
    let answer = person.log_in(&form, scene.provider.user("broken")).await;
    assert_ne!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.reason(), "DW-3402");
    assert!(scene.app.seen_at("/who").is_empty());
    assert!(person.session().is_empty(), "{:?}", person.session());
}

#[tokio::test]
async fn ten_thousand_groups_are_a_named_refusal_at_sign_in() {
    let scene = scene().await;
    let person = Person::new();
    let form = person.browse(&scene.gateway.url("/who")).await;
    let answer = person.log_in(&form, scene.provider.user("toomany")).await;
    assert_eq!((answer.status, answer.reason().as_str()), (502, "DW-3401"), "{}", answer.text());
    assert!(person.session().is_empty());
    assert!(scene.app.seen().is_empty());
}

#[tokio::test]
async fn two_headers_of_which_one_can_be_meant_are_refused() {
    let app = App::start().await;
    let gateway = gateway_before(&app.url(), "").await;
    for lines in [
        "Authorization: Bearer a\r\nAuthorization: Bearer b\r\n",
        "Authorization: Bearer a\r\nauthorization: Bearer a\r\n",
        "Authorization: Basic YTpi\r\nAuthorization: Bearer a\r\n",
    ] {
        for target in ["/public", "/private"] {
            let reply = exchange(gateway.address(), get(target, lines)).await.expect("an answer");
            assert_eq!(reply.status, 400, "{target} {lines:?}");
            assert!(reply.text().contains("DW-1006"), "{}", reply.text());
        }
    }
    assert!(app.seen().is_empty());
}

#[tokio::test]
async fn the_gateways_cookies_do_not_reach_the_app_and_others_do() {
    let scene = scene().await;
    let person = Person::new();
    person.sign_in(&scene.gateway.url("/"), scene.provider.user("anna")).await;
    let session = person.session();
    person.browse(&scene.gateway.url("/public/set-cookies")).await;
    let url = scene.gateway.url("/cookies").parse().expect("URL");
    let ours = session.iter().map(|c| format!("{}={}", c.name, c.value)).collect::<Vec<_>>().join("; ");
    let line = format!("Cookie: theme=dark; {ours}; doorward_login_x=1; __Host-doorward=2; lang=de\r\n");
    let reply = exchange(scene.gateway.address(), get("/cookies", &line)).await.expect("an answer");
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(scene.app.seen_at("/cookies")[0].one("cookie"), "theme=dark; lang=de");
    assert!(!person.cookie_header(&url).is_empty());
}

#[tokio::test]
async fn cookies_in_many_http2_fields_are_one_session_and_one_field_to_the_app() {
    let scene = scene().await;
    let person = Person::new();
    person.sign_in(&scene.gateway.url("/"), scene.provider.user("anna")).await;
    let session = person.session();
    let mut h2 = H2::open(scene.gateway.address()).await;
    let pairs: Vec<String> = session.iter().map(|c| format!("{}={}", c.name, c.value)).collect();
    let mut fields = vec![(":method", "GET"), (":scheme", "http"), (":path", "/h2"), (":authority", "127.0.0.1")];
    fields.push(("cookie", "a=1"));
    fields.extend(pairs.iter().map(|pair| ("cookie", pair.as_str())));
    fields.push(("cookie", "b=2"));
    let stream = h2.request(&fields).await;
    assert_eq!(h2.outcome(stream).await, Outcome::Status(200));
    let seen = &scene.app.seen_at("/h2")[0];
    assert_eq!(seen.one("x-forwarded-user"), "anna");
    assert_eq!(seen.one("cookie"), "a=1; b=2");
}

#[tokio::test]
async fn garbage_in_the_cookie_header_is_no_session_and_no_error() {
    let scene = scene().await;
    let person = Person::new();
    person.sign_in(&scene.gateway.url("/"), scene.provider.user("anna")).await;
    let good = person.session()[0].value.clone();
    let long = "x".repeat(20_000);
    for cookie in [
        ";=;;",
        "=",
        "doorward",
        "doorward=",
        "doorward==",
        "doorward=\"\"",
        "doorward=999.x",
        "doorward=5.x; doorward_1=y",
        "doorward=-1.x",
        "doorward=18446744073709551616.x",
        "doorward=a; doorward=b",
        "doorward=ÄÖÜ",
        &format!("doorward={long}"),
        &format!("doorward={good}x"),
        &format!("doorward={}", &good[1..]),
        &format!("doorward=2.{good}"),
        &format!("doorward={good}; doorward=x"),
        &format!("doorward_1={good}"),
        &format!("doorward_login_1={good}"),
        &format!("DOORWARD={good}"),
    ] {
        let reply = exchange(scene.gateway.address(), get("/private", &format!("Cookie: {cookie}\r\n"))).await;
        let reply = reply.expect("an answer");
        assert_eq!(reply.status, 401, "{cookie:.80}: {}", reply.text());
    }
    let many = (0..2000).map(|n| format!("doorward_{n}=x")).collect::<Vec<_>>().join("; ");
    let reply =
        exchange(scene.gateway.address(), get("/private", &format!("Cookie: doorward=999.x; {many}\r\n"))).await;
    assert_eq!(reply.expect("an answer").status, 401);
    assert!(scene.app.seen_at("/private").is_empty());
    // The same cookie unharmed is a session.
    let reply = exchange(scene.gateway.address(), get("/private", &format!("Cookie: doorward={good}\r\n"))).await;
    assert_eq!(reply.expect("an answer").status, 200);
}

#[tokio::test]
async fn a_sign_in_cookie_is_no_session_cookie() {
    let scene = scene().await;
    let person = Person::new();
    person.open(&scene.gateway.url("/private")).await;
    let attempts = person.cookies("127.0.0.1");
    assert!(attempts.iter().any(|c| c.name.contains("doorward_login_")), "{attempts:?}");
    for attempt in attempts {
        let line = format!("Cookie: doorward={}\r\n", attempt.value);
        let reply = exchange(scene.gateway.address(), get("/private", &line)).await.expect("an answer");
        assert_eq!(reply.status, 401);
    }
}

#[tokio::test]
async fn a_header_name_that_the_operator_lists_is_dropped_too() {
    let app = RawApp::start("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", false).await;
    let gateway =
        gateway_before(&app.url(), "[headers]\ndrop = [\"X-Tenant\"]\nset = [{ name = \"X-Own\", claim = \"sub\" }]\n")
            .await;
    let lines = "X-Tenant: forged\r\nx_tenant: forged\r\nX-Own: forged\r\nx_own: forged\r\nX-Keep: kept\r\n";
    let mut connection = Connection::open(gateway.address()).await;
    assert_eq!(connection.send(get("/public", lines)).await.reply().await.expect("an answer").status, 200);
    let head = app.asked().await;
    assert!(head.contains("kept") && !head.contains("forged"), "{head}");
}

#[tokio::test]
async fn an_email_rule_goes_by_whole_domains_and_exactly_one_at() {
    let provider = Provider::start(json!({}));
    let tables = format!("{ROUTES}\n[[route]]\npath = \"/mail\"\n[route.allow]\nemail_domains = [\"good.example\"]\n");
    let scene = scene_at(provider, Config::new(), "", &tables).await;
    for (name, email, verified, status) in [
        ("u1", "a@good.example", true, 200),
        ("u2", "A@GOOD.example", true, 200),
        ("u3", "a@evil@good.example", true, 403),
        ("u4", "a@good.example.evil", true, 403),
        ("u5", "a@evilgood.example", true, 403),
        ("u6", "a@mail.good.example", true, 403),
        ("u7", "a@ｇood.example", true, 403),
        ("u8", "\"a@evil\"@good.example", true, 403),
        ("u9", "a@good.example", false, 403),
        ("u10", "good.example", true, 403),
        ("u11", "@good.example", true, 403),
        ("u12", "a@good.example\u{200b}", true, 403),
        // The app would read another address than the rules did: that is refused at sign-in.
        ("u13", "a@good.example ", true, 502),
    ] {
        let claims = json!({"email": email, "email_verified": verified});
        scene.provider.control("users", json!({"name": name, "password": "p", "claims": claims})).await;
        let person = Person::new();
        let form = person.browse(&scene.gateway.url("/mail")).await;
        let answer = person.post(form.url.as_str(), &[("username", name), ("password", "p")]).await;
        let answer = person.follow(answer).await;
        assert_eq!(answer.status, status, "{email:?}: {}", answer.text());
    }
}
