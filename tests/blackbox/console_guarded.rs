//! The console shows itself to nobody but admins, and no secret to anybody.

use reqwest::Method;
use serde_json::Value;

use super::console::{DOCUMENTS, PAGES, PROGRAM, ask, examine, kept, route_to, scene, traffic};
use crate::support::browser::Browser;
use crate::support::gateway::Config;
use crate::support::person::{NAVIGATION, Person};
use crate::support::provider::Provider;
use crate::support::raw::Connection;
use crate::support::setup::{ROUTES, gateway_before, scene_at};

#[tokio::test]
async fn through_a_proxy_the_console_is_reached_by_the_gateways_own_route_alone() {
    let inner = gateway_before("http://127.0.0.1:9", "").await;
    let lead = format!(
        "[[upstream]]\nname = \"inner\"\nurl = \"http://127.0.0.1:{}\"\n[[route]]\npath = \"/in\"\nstrip_prefix = true\n\
         upstream = \"inner\"\naccess = \"public\"\n",
        inner.config.admin_port
    );
    // As a route whose app becomes the console after the start: this gateway knows nothing of the console there.
    let outer = gateway_before("http://127.0.0.1:9", &lead).await;
    let person = Person::new();
    for page in PAGES.iter().chain(&DOCUMENTS) {
        let pass = ("x-doorward-console-pass", "guessed");
        let refused = person.request(Method::GET, &outer.url(&format!("/in/{page}")), &[pass], None).await;
        assert_eq!((refused.status, refused.reason().as_str()), (403, "DW-9109"), "{page}");
        let refused = ask(&inner, Method::GET, &format!("/{page}"), &[("x-forwarded-for", "127.0.0.1"), pass]).await;
        assert_eq!((refused.status, refused.reason().as_str()), (403, "DW-9109"), "{page}");
        assert!(!refused.text().contains("nobody"), "{page}: {}", refused.text());
    }
    person.request(Method::GET, &outer.url("/in/metrics"), &[], None).await.expect(200);
}

#[tokio::test]
async fn a_proxy_is_known_by_what_it_says_and_by_the_host_that_it_brings() {
    let lead = "[[route]]\n[[route]]\nhost = \"b.example\"\n";
    let gateway = gateway_before("http://127.0.0.1:9", lead).await;
    let said = ["via", "x-real-ip", "cf-connecting-ip", "x-client-ip", "true-client-ip", "x-envoy-external-address"];
    let of_proxies = said.iter().chain(&["x-forwarded-server", "x-forwarded-port", "x-forwarded-prefix"]);
    // What HAProxy passes on where it says nothing: the host that people ask for.
    let hosts = [("host", "b.example"), ("host", "b.example:8443"), ("host", "192.0.2.7")];
    for header in of_proxies.map(|name| (*name, "1.2.3.4")).chain(hosts) {
        for page in PAGES.iter().chain(&DOCUMENTS) {
            let refused = ask(&gateway, Method::GET, &format!("/{page}"), &[header]).await;
            assert_eq!((refused.status, refused.reason().as_str()), (403, "DW-9109"), "{page} {header:?}");
        }
        ask(&gateway, Method::GET, "/metrics", &[header]).await.expect(200);
    }
    // nginx with nothing but `proxy_pass http://127.0.0.1:9090;`.
    let address = format!("127.0.0.1:{}", gateway.config.admin_port).parse().expect("an address");
    let mut nginx = Connection::open(address).await;
    let head = format!("GET /settings HTTP/1.0\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    let refused = nginx.send(head).await.reply().await.expect("an answer");
    assert!(refused.text().contains("DW-9109"), "{}", refused.text());
    // `ssh -L` and `kubectl port-forward` bring the name and port that they listen at.
    for host in ["localhost:9999", "127.0.0.1:9999", "[::1]:9999"] {
        ask(&gateway, Method::GET, "/settings", &[("host", host)]).await.expect(200);
    }
}

#[tokio::test]
async fn what_is_public_of_the_admin_listener_tells_nothing_of_this_host() {
    let config = Config::new();
    let own = format!("[[upstream]]\nname = \"own\"\nurl = \"http://127.0.0.1:{}\"\n", config.admin_port);
    let route = |path: &str, rest: &str| format!("[[route]]\npath = \"{path}\"\nupstream = \"own\"\n{rest}\n");
    let admins = route("/ops", "strip_prefix = true\nallow.groups = [\"admins\"]");
    let public = "access = \"public\"";
    let tables = format!("{ROUTES}{own}{admins}{}{}", route("/readyz", public), route("/healthz", public));
    let scene = scene_at(Provider::shared(), config, "", &tables).await;
    let (anna, stranger) = (Person::new(), Person::new());
    anna.sign_in(&scene.gateway.url("/page"), scene.provider.user("anna")).await;
    let told = async |person: &Person, path: &str| {
        person.fetch(&scene.gateway.url(path)).await.expect(200).json()["configuration"].clone()
    };
    assert!(told(&anna, "/ops/readyz").await["loaded_at"].is_string(), "an admin is told all");
    let short = told(&stranger, "/readyz").await;
    assert!(short["good"] == true && short["loaded_at"].is_null(), "{short}");
    let near = ask(&scene.gateway, Method::GET, "/readyz", &[]).await.json();
    assert!(near["configuration"]["loaded_at"].is_string(), "{near}");
    for header in [("x-real-ip", "192.0.2.7"), ("host", "app.example")] {
        let short = ask(&scene.gateway, Method::GET, "/readyz", &[header]).await.json();
        assert!(short["configuration"]["loaded_at"].is_null(), "{header:?} {short}");
    }
    // Below a path for programs is the console, which is for nobody who comes by a public route.
    let refused = stranger.fetch(&scene.gateway.url("/healthz/x")).await;
    assert_eq!((refused.status, refused.reason().as_str()), (403, "DW-9109"), "{}", refused.text());
    assert_eq!(anna.fetch(&scene.gateway.url("/ops/x")).await.reason(), "DW-9105");
}

#[tokio::test]
async fn another_sites_name_or_form_gets_nothing_of_the_console() {
    let gateway = gateway_before("http://127.0.0.1:9", "").await;
    let pages: Vec<_> = PAGES.iter().chain(&DOCUMENTS).map(|page| format!("/{page}")).collect();
    for page in &pages {
        let rebound = ask(&gateway, Method::GET, page, &[("host", "evil.example"), NAVIGATION[0]]).await;
        assert_eq!((rebound.status, rebound.reason().as_str()), (421, "DW-9101"), "{page}");
        assert!(!rebound.text().contains("nobody"), "{page}: {}", rebound.text());
    }
    for program in ["/metrics", "/healthz"] {
        ask(&gateway, Method::GET, program, &[("host", "prometheus.example")]).await.expect(200);
    }
    assert!(ask(&gateway, Method::GET, "/readyz", &[("host", "pod.example")]).await.text().contains("\"ready\""));
    for form in ["/doctor", "/doctor.json", "/try", "/explain", "/record", "/record.json"] {
        for forged in [
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
            ("origin", "http://evil.example"),
            ("origin", "null"),
            // As what the gateway posts to an address that a provider names.
            ("accept", "application/json"),
        ] {
            let refused = ask(&gateway, Method::POST, form, &[forged]).await;
            assert_eq!((refused.status, refused.reason().as_str()), (403, "DW-9103"), "{form} {forged:?}");
        }
    }
    assert_eq!(
        ask(&gateway, Method::GET, "/doctor.json", &[]).await.json()["last"],
        Value::Null,
        "nothing was examined"
    );
    assert_eq!(ask(&gateway, Method::POST, "/settings", &PROGRAM).await.expect(405).reason(), "DW-9106");
    let unknown = ask(&gateway, Method::GET, "/explain/2222222222222.json", &[]).await;
    unknown.expect(404);
    assert!(unknown.text().contains("no request with this reference is kept"), "{}", unknown.text());
    assert_eq!(ask(&gateway, Method::DELETE, "/settings", &[]).await.expect(405).reason(), "DW-9106");
    assert_eq!(ask(&gateway, Method::GET, "/nothing", &[]).await.expect(404).reason(), "DW-9105");
    let large = "a=".to_owned() + &"x".repeat(100_000);
    let person = Person::new();
    let refused = person.request(Method::POST, &gateway.admin_url("/try"), &PROGRAM, Some(large)).await;
    assert_eq!(refused.expect(400).reason(), "DW-9104");
}

#[tokio::test]
async fn pages_are_kept_by_nobody_and_run_nothing() {
    let gateway = gateway_before("http://127.0.0.1:9", "").await;
    for page in PAGES {
        let answer = ask(&gateway, Method::GET, &format!("/{page}"), &NAVIGATION).await;
        answer.expect(200);
        assert_eq!(answer.header("cache-control"), "no-store", "{page}");
        let policy = answer.header("content-security-policy");
        assert!(
            policy.starts_with("default-src 'none'") && policy.contains("frame-ancestors 'none'"),
            "{page}: {policy}"
        );
        assert!(!policy.contains("script-src") && !policy.contains("unsafe"), "{page}: {policy}");
    }
    for document in DOCUMENTS {
        assert_eq!(ask(&gateway, Method::GET, &format!("/{document}"), &[]).await.header("cache-control"), "no-store");
    }
    let head = ask(&gateway, Method::HEAD, "/", &NAVIGATION).await;
    assert!(head.expect(200).body.is_empty());
}

#[tokio::test]
async fn no_secret_token_code_or_cookie_is_on_any_page_or_in_the_bundle() {
    let config = Config::new();
    let (seal, bind, shared) =
        (config.secrets[0].clone(), "planted-bind-password", "planted-shared-secret-of-32-letters");
    let tables = format!(
        "{ROUTES}{}[[route]]\npath = \"/api\"\naccess = \"bearer\"\n\
         [[issuer]]\nname = \"shared\"\nissuer = \"https://shared.example\"\naudiences = [\"a\"]\nsecret = \"{shared}\"\n\
         [ldap]\naddress = [\"ldap://127.0.0.1:9\"]\nbase_dn = \"dc=example\"\nbind_dn = \"cn=search\"\nbind_password = \"{bind}\"\nlogin = false\n",
        route_to(&config)
    );
    let scene = scene_at(Provider::shared(), config, "", &tables).await;
    traffic(&scene).await;
    let anna = Person::new();
    anna.sign_in(&scene.gateway.url("/page?planted-query"), scene.provider.user("anna")).await;
    let cookie = anna.session().first().expect("a session").value.clone();
    let token = "eyJhbGciOiJIUzI1NiJ9.cGxhbnRlZC1wYXlsb2Fk.cGxhbnRlZC1zaWduYXR1cmU";
    let bearer = format!("Bearer {token}");
    let refused = Person::new();
    refused.request(Method::GET, &scene.gateway.url("/api/x"), &[("authorization", &bearer)], None).await.expect(401);
    let basic = [("authorization", "Basic YW5uYTpwbGFudGVkLXBhc3N3b3Jk")];
    refused.request(Method::GET, &scene.gateway.url("/api/x"), &basic, None).await.expect(401);
    // A secret that somebody typed where it does not belong.
    let misplaced = format!("/nowhere/{}", scene.client.secret);
    refused.fetch(&scene.gateway.url(&misplaced)).await.expect(401);
    examine(&scene.gateway).await;
    // All that was refused is among what is shown.
    for (code, path) in [
        ("DW-5001", "/ops/"),
        ("DW-3103", "/oidc/callback"),
        ("DW-8002", "/api/x"),
        ("DW-8014", "/api/x"),
        ("DW-3001", "/nowhere/"),
    ] {
        kept(&scene.gateway, code, path).await;
    }
    let planted = [
        seal.as_str(),
        bind,
        shared,
        &scene.client.secret,
        &cookie,
        token,
        "cGxhbnRlZC",
        "planted-code",
        "planted-state",
        "planted-query",
        "planted-password",
        "YW5uYTpwbGFudGVk",
    ];
    for page in PAGES.iter().chain(&DOCUMENTS) {
        let shown = ask(&scene.gateway, Method::GET, &format!("/{page}"), &NAVIGATION).await;
        let text = shown.expect(200).text();
        for secret in planted {
            assert!(!text.contains(secret), "{page} shows {secret}");
        }
    }
    let bundle = ask(&scene.gateway, Method::GET, "/bundle.json", &[]).await;
    assert!(bundle.header("content-disposition").contains("doorward-debug-"), "{:?}", bundle.headers);
    let bundle = bundle.json();
    for part in ["versions", "readiness", "configuration", "limits", "doctor", "refusals", "metrics"] {
        assert!(!bundle[part].is_null(), "{part} is in the bundle");
    }
    let secret = bundle["configuration"]["settings"].as_array().expect("settings").iter();
    let secret = secret.filter(|row| row["key"] == "provider.client_secret").collect::<Vec<_>>();
    assert_eq!(secret[0]["value"], "********", "{secret:?}");
}

#[tokio::test]
async fn what_a_stranger_sends_is_shown_and_not_interpreted() {
    let gateway = gateway_before("http://127.0.0.1:9", "").await;
    let person = Person::new();
    person.fetch(&gateway.url("/%3Cscript%3Ealert(1)%3C/script%3E")).await.expect(401);
    person.request(Method::GET, &gateway.url("/x"), &[("host", "a\"><img src=x>")], None).await;
    kept(&gateway, "DW-3001", "/").await;
    let browser = Browser::start().await;
    let tab = browser.tab(&gateway.admin_url("/refusals")).await;
    tab.wait_for_text("DW-3001").await;
    assert_eq!(tab.script("document.scripts.length + document.querySelectorAll('main img').length").await, 0);
    tab.go(&gateway.admin_url("/refusals?reference=%3Cb%3Ebold%3C/b%3E")).await;
    assert!(tab.text().await.contains("<b>bold</b>"));
}

#[tokio::test]
async fn a_secret_that_was_rotated_stays_masked_in_what_is_still_kept() {
    let scene = scene().await;
    let secret = scene.client.secret.clone();
    Person::new().fetch(&scene.gateway.url(&format!("/nowhere/{secret}"))).await.expect(401);
    kept(&scene.gateway, "DW-3001", "/nowhere/").await;
    let text = scene.gateway.config.text();
    assert!(text.contains(&secret));
    assert!(scene.gateway.reload_text(&text.replace(&secret, "another-secret-by-now")).await);
    let kept = ask(&scene.gateway, Method::GET, "/refusals.json", &[]).await.text();
    assert!(kept.contains("/nowhere/********") && !kept.contains(&secret), "{kept}");
}
