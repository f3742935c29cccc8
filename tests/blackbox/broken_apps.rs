//! Broken set-ups: the app behind the gateway, and the gateway before it starts.

use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use crate::support::app::App;
use crate::support::broken::{Deployment, FROM_THE_GATEWAY, Fault, PAGE};
use crate::support::forger::Forger;
use crate::support::free_port;
use crate::support::provider::Provider;
use crate::support::tls::{Authority, Leaf};

const APP: Fault<'static> = Fault { code: "DW-2101", seen: "", change: "url", part: "upstream" };
const START: Fault<'static> = Fault { code: "DW-7002", seen: "", change: "", part: "configuration" };

/// A page of the app, which needs no sign-in.
async fn opens(broken: &Deployment) -> crate::support::person::Answer {
    broken.opens("/public/page-of-the-app").await
}

/// `url` is where the app is said to be.
async fn said_to_be_at(url: &str, fault: Fault<'_>) {
    let mut broken = Deployment::without_provider().await;
    let right = broken.app.url();
    broken.set("route.0.access", "public").set("upstream.url", url);
    broken.refuses(fault, opens).await;
    broken.set("upstream.url", right).works(opens).await;
}

#[tokio::test]
async fn the_app_is_down() {
    said_to_be_at(&format!("http://127.0.0.1:{}", free_port()), Fault { seen: "refuses the connection", ..APP }).await;
}

#[tokio::test]
async fn the_app_has_no_such_name() {
    said_to_be_at("http://app.invalid:8080", Fault { code: "DW-2102", seen: "app.invalid", ..APP }).await;
}

#[tokio::test]
async fn the_certificate_of_the_app_is_of_an_unknown_authority() {
    let authority = Authority::new();
    let app = App::start_tls(authority.leaf(&["localhost"]).server(&[b"http/1.1"])).await;
    let mut broken = Deployment::without_provider().await;
    broken.set("route.0.access", "public").set("upstream.url", format!("https://localhost:{}", app.address.port()));
    broken.refuses(Fault { code: "DW-2103", seen: "UnknownIssuer", change: "tls_ca_file", ..APP }, opens).await;
    let ca = broken.file("app-ca.pem", &authority.pem());
    broken.set("upstream.tls_ca_file", ca).works(opens).await;
}

#[tokio::test]
async fn the_certificate_of_the_app_is_an_authoritys() {
    let own = Leaf::self_signed_authority("localhost");
    let app = App::start_tls(own.server(&[b"http/1.1"])).await;
    let mut broken = Deployment::without_provider().await;
    let ca = broken.file("app-ca.pem", &own.certificate);
    broken.set("route.0.access", "public").set("upstream.url", format!("https://localhost:{}", app.address.port()));
    let fault = Fault { code: "DW-2103", seen: "CaUsedAsEndEntity", change: "CA:FALSE", ..APP };
    broken.set("upstream.tls_ca_file", ca).refuses(fault, opens).await;
    // As it is told: the same, and not an authority's.
    let own = Leaf::self_signed("localhost");
    let app = App::start_tls(own.server(&[b"http/1.1"])).await;
    broken.file("app-ca.pem", &own.certificate);
    broken.set("upstream.url", format!("https://localhost:{}", app.address.port())).works(opens).await;
}

#[tokio::test]
async fn https_is_written_and_the_app_speaks_http() {
    let mut broken = Deployment::without_provider().await;
    let right = broken.app.url();
    broken.set("route.0.access", "public").set("upstream.url", right.replace("http:", "https:"));
    broken.refuses(Fault { code: "DW-2107", seen: "does not speak TLS", change: "http://", ..APP }, opens).await;
    broken.set("upstream.url", right).works(opens).await;
}

#[tokio::test]
async fn http_is_written_and_the_app_speaks_tls() {
    let authority = Authority::new();
    let app = App::start_tls(authority.leaf(&["localhost"]).server(&[b"http/1.1"])).await;
    let mut broken = Deployment::without_provider().await;
    broken.set("route.0.access", "public").set("upstream.url", format!("http://localhost:{}", app.address.port()));
    broken.refuses(Fault { code: "DW-2107", seen: "speaks TLS", change: "https://", ..APP }, opens).await;
    let ca = broken.file("app-ca.pem", &authority.pem());
    broken.set("upstream.url", format!("https://localhost:{}", app.address.port())).set("upstream.tls_ca_file", ca);
    broken.works(opens).await;
}

#[tokio::test]
async fn the_app_takes_too_long() {
    let mut broken = Deployment::without_provider().await;
    broken.set("route.0.access", "public").add("[timeouts]\nfirst_byte = \"150ms\"\n");
    let fault = Fault { code: "DW-2104", seen: "response headers", change: "first_byte", part: FROM_THE_GATEWAY };
    // Longer than any pause of a busy machine: else the app's answer would be there before the time is seen to be over.
    broken.refuses(fault, async |broken| broken.opens("/slow?ms=600000").await).await;
    broken.set("timeouts.first_byte", "100s").start().await;
    broken.opens("/slow?ms=400").await.expect(200);
}

#[tokio::test]
async fn the_app_speaks_no_http() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                stream.write_all(b"SSH-2.0-OpenSSH_9.2\r\n").await?;
                // As such a server does, it waits for what the other side has to say.
                tokio::io::copy(&mut stream, &mut tokio::io::sink()).await
            });
        }
    });
    said_to_be_at(&url, Fault { code: "DW-2105", seen: "SSH-2.0", change: "app", part: FROM_THE_GATEWAY }).await;
}

/// An app that sends everybody to https, since it does not look at what the gateway tells it.
async fn redirects(headers: HeaderMap) -> Response {
    let host = headers.get("host").and_then(|host| host.to_str().ok()).unwrap_or_default();
    Redirect::temporary(&format!("https://{host}/")).into_response()
}

#[tokio::test]
async fn the_app_redirects_to_another_scheme() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(axum::serve(listener, Router::new().fallback(redirects)).into_future());
    let mut broken = Deployment::without_provider().await;
    let right = broken.app.url();
    broken.set("route.0.access", "public").set("upstream.url", url);
    broken.start().await;
    let answer = broken.person().open(&broken.url(PAGE)).await;
    assert!(answer.location().is_some_and(|to| to.scheme() == "https"), "{answer:?}");
    broken.examined(Fault { code: "DW-9051", change: "Tell the app", ..APP }).await;
    broken.set("upstream.url", right).works(opens).await;
}

#[tokio::test]
async fn the_app_does_not_take_headers_this_large() {
    let small = Router::new().fallback(|headers: HeaderMap| async move {
        let group = headers.get("x-forwarded-groups").map_or(0, |groups| groups.len());
        (StatusCode::from_u16(if group > 2000 { 431 } else { 200 }).expect("a status"), "{\"headers\": []}")
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(axum::serve(listener, small).into_future());
    let mut broken = Deployment::at(Provider::shared()).await;
    broken.set("upstream.url", url);
    let many = Provider::shared().user("many").clone();
    let fault = Fault { code: "DW-5006", seen: "x-forwarded-groups", change: "fewer groups", part: FROM_THE_GATEWAY };
    broken.refuses(fault, async |broken| broken.signs_in_as(&many).await).await;
    broken.works(Deployment::signs_in).await;
}

#[tokio::test]
async fn no_route_leads_there() {
    let mut broken = Deployment::without_provider().await;
    broken.set("route.0.access", "public").set("route.0.path", "/app");
    let fault = Fault { code: "DW-2001", seen: PAGE, change: "route", part: FROM_THE_GATEWAY };
    broken.refuses(fault, async |broken| broken.opens(PAGE).await).await;
    broken.set("route.0.path", "/").works(async |broken| broken.opens(PAGE).await).await;
}

#[tokio::test]
async fn a_key_is_mistyped() {
    let mut broken = Deployment::forged(&Forger::start().await).await;
    broken.set("provider.client_secrt", "x");
    broken.does_not_start(Fault { seen: "client_secrt", change: "client_secret", ..START }).await;
    broken.unset("provider.client_secrt").works(Deployment::signs_in).await;
}

/// "Single sign-on is configured, and a local login appears": half of it is set, by the names that W&B deployments use.
#[tokio::test]
async fn sign_in_is_configured_by_half() {
    let forger = Forger::start().await;
    let mut broken = Deployment::without_provider().await;
    let env = &mut broken.config().env;
    env.extend(
        [("OIDC_ISSUER", forger.issuer.as_str()), ("OIDC_AUTH_METHOD", "pkce")].map(|(a, b)| (a.into(), b.into())),
    );
    broken.does_not_start(Fault { seen: "client_id", change: "OIDC_CLIENT_ID", ..START }).await;
    broken.config().env.push(("OIDC_CLIENT_ID".into(), "the-client".into()));
    broken.works(Deployment::signs_in).await;
}

#[tokio::test]
async fn the_secret_of_sessions_is_missing() {
    let mut broken = Deployment::forged(&Forger::start().await).await;
    let secrets = std::mem::take(&mut broken.config().secrets);
    let fault = Fault { code: "DW-7003", seen: "secrets", change: "openssl rand", ..START };
    broken.does_not_start(fault).await;
    broken.config().secrets = secrets;
    broken.works(Deployment::signs_in).await;
}

#[tokio::test]
async fn certificate_and_key_are_of_two_pairs() {
    let authority = Authority::new();
    let mut broken = Deployment::forged(&Forger::start().await).await;
    let (mine, other) = (authority.leaf(&["127.0.0.1"]), authority.leaf(&["127.0.0.1"]));
    let certificate = broken.file("cert.pem", &mine.certificate);
    let (wrong, right) = (broken.file("other.key", &other.key), broken.file("cert.key", &mine.key));
    let listen = |key: &str| format!("tls_certificate_file = {certificate:?}\ntls_key_file = {key:?}\n");
    broken.config().listen = listen(&wrong);
    broken.config().public_url = broken.config().public_url.replace("http:", "https:");
    let fault = Fault { code: "DW-7005", seen: "other.key", change: "file", part: "certificate" };
    broken.does_not_start(fault).await;
    broken.config().listen = listen(&right);
    broken.trusting(&authority.pem()).works(Deployment::signs_in).await;
}

#[tokio::test]
async fn the_certificate_of_the_gateway_has_expired() {
    let authority = Authority::new();
    certificate(&authority, authority.expired(&["127.0.0.1"]), "DW-9022", ("ended", "Renew")).await;
}

#[tokio::test]
async fn the_certificate_of_the_gateway_is_for_another_host() {
    let authority = Authority::new();
    certificate(&authority, authority.leaf(&["gateway.example"]), "DW-9021", ("got gateway.example", "names the host"))
        .await;
}

/// Browsers do not come in; the doctor knows why.
async fn certificate(authority: &Authority, leaf: crate::support::tls::Leaf, code: &str, (seen, change): (&str, &str)) {
    let mut broken = Deployment::forged(&Forger::start().await).await;
    let (certificate, key) = (broken.file("cert.pem", &leaf.certificate), broken.file("cert.key", &leaf.key));
    broken.config().listen = format!("tls_certificate_file = {certificate:?}\ntls_key_file = {key:?}\n");
    broken.config().public_url = broken.config().public_url.replace("http:", "https:");
    broken.trusting(&authority.pem()).start().await;
    let client = reqwest::Client::builder().no_proxy();
    let root = reqwest::Certificate::from_pem(authority.pem().as_bytes()).expect("PEM");
    let client = client.tls_certs_only([root]).build().expect("a client");
    client.get(broken.url(PAGE)).send().await.expect_err("no browser comes in");
    let told = broken.examined(Fault { code, seen, change, part: "certificate" }).await;
    assert!(told.contains(seen), "{seen:?} is not what the doctor saw: {told}");
    let good = authority.leaf(&["127.0.0.1"]);
    broken.file("cert.pem", &good.certificate);
    broken.file("cert.key", &good.key);
    broken.restarts().works(Deployment::signs_in).await;
}

#[tokio::test]
async fn the_port_is_taken() {
    let mut broken = Deployment::forged(&Forger::start().await).await;
    let taken = TcpListener::bind(("127.0.0.1", broken.config().port)).await.expect("the port");
    let fault = Fault { code: "DW-7004", seen: "", change: "another address", part: "" };
    broken.says_and_ends(fault).await;
    drop(taken);
    broken.works(Deployment::signs_in).await;
}
