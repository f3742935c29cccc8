//! The parts the other tests stand on work by themselves.

use serde_json::json;

use crate::support::app::App;
use crate::support::browser::Browser;
use crate::support::frames::{H2, Outcome};
use crate::support::person::Person;
use crate::support::provider::Provider;
use crate::support::radicale::Radicale;
use crate::support::raw;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_echo_app_tells_what_reached_it_over_http1_and_http2() {
    let app = App::start().await;
    let reply =
        raw::exchange(app.address, raw::get("/a?b=c", "X-Twice: 1\r\nX-Twice: 2\r\n")).await.expect("an answer");
    assert_eq!(reply.status, 200);
    assert_eq!(app.seen_at("/a?b=c")[0].all("x-twice"), ["1", "2"]);

    let mut h2 = H2::open(app.address).await;
    for (path, status) in [("/echo", 200), ("/status/418", 418), ("/status/302", 302), ("/status/401", 401)] {
        let request = [(":method", "GET"), (":scheme", "http"), (":path", path), (":authority", "a")];
        let stream = h2.request(&request).await;
        assert_eq!(h2.outcome(stream).await, Outcome::Status(status), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_provider_registers_clients_and_shows_its_login_form() {
    let provider = Provider::shared();
    let client = provider.register("http://127.0.0.1:1", json!({})).await;
    let url = format!(
        "{}/auth?client_id={}&response_type=code&scope=openid&state=s&nonce=n&redirect_uri={}&code_challenge={}\
         &code_challenge_method=S256",
        provider.issuer(),
        client.id,
        "http://127.0.0.1:1/oidc/callback",
        "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
    );
    let person = Person::new();
    let form = person.browse(&url).await;
    let user = provider.user("anna");
    let mut answer = person.post(form.url.as_str(), &[("username", user.name), ("password", &user.password)]).await;
    while let Some(next) = answer.location().filter(|next| next.host_str() == Some("127.0.0.2")) {
        answer = person.open(next.as_str()).await;
    }
    let callback = answer.location().expect("a redirect to the client");
    assert!(callback.as_str().starts_with("http://127.0.0.1:1/oidc/callback?code="), "{callback}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_browser_shows_a_page_and_keeps_a_picture_of_it() {
    let app = App::start().await;
    let browser = Browser::start().await;
    let tab = browser.tab(&format!("{}/page", app.url())).await;
    tab.wait_for("#app").await;
    tab.screenshot("parts-browser").await;
    tab.click("#send").await;
    tab.wait_for_text("text=typed").await;
    tab.wait_for_response(200, |url| url.ends_with("/form")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_browser_that_keeps_no_cookies_keeps_none() {
    let app = App::start().await;
    for (browser, kept) in [(Browser::start().await, true), (Browser::start_without_cookies().await, false)] {
        let tab = browser.tab(&format!("{}/set-cookies", app.url())).await;
        tab.wait_for_text("cookies").await;
        assert_eq!(browser.cookies().await.iter().any(|c| c.name == "app"), kept);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn radicale_believes_the_header_that_names_a_user() {
    let radicale = Radicale::start().await;
    let request = |lines: &str| {
        let body = "<propfind xmlns='DAV:'><prop><current-user-principal/></prop></propfind>";
        format!(
            "PROPFIND / HTTP/1.1\r\nHost: a\r\nDepth: 0\r\nContent-Length: {}\r\n{lines}Connection: close\r\n\r\n{body}",
            body.len()
        )
    };
    let reply = raw::exchange(radicale.address, request("X-Remote-User: anna\r\n")).await.expect("an answer");
    assert!(reply.text().contains("/anna/"), "{}", reply.text());
    let reply = raw::exchange(radicale.address, request("")).await.expect("an answer");
    assert!(!reply.text().contains("/anna/"), "{}", reply.text());
}
