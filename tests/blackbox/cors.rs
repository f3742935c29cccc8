//! Pages of other origins that call the app: preflights answered, answers readable, and nothing for `null`.

use crate::support::app::App;
use crate::support::raw::{Reply, exchange};
use crate::support::setup::gateway_before;

const ROUTES: &str = "[cors]\norigins = [\"https://dash.example\", \"null\"]\n\
    [[route]]\npath = \"/\"\n[[route]]\npath = \"/own\"\npreflight = true\n[[route]]\npath = \"/public\"\naccess = \"public\"\n";

async fn ask(method: &str, path: &str, origin: &str) -> Reply {
    let app = App::start().await;
    let gateway = gateway_before(&app.url(), ROUTES).await;
    let asks = match method {
        "OPTIONS" => "Access-Control-Request-Method: PUT\r\nAccess-Control-Request-Headers: x-a, authorization\r\n",
        _ => "",
    };
    let request = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nOrigin: {origin}\r\n{asks}\r\n");
    exchange(gateway.address(), request).await.expect("an answer")
}

#[tokio::test]
async fn the_preflight_of_a_listed_origin_is_answered_without_the_app() {
    let reply = ask("OPTIONS", "/x", "https://dash.example").await;
    assert_eq!(reply.status, 204);
    for (name, value) in [
        ("access-control-allow-origin", "https://dash.example"),
        ("access-control-allow-credentials", "true"),
        ("access-control-allow-methods", "PUT"),
        ("access-control-allow-headers", "x-a, authorization"),
        ("vary", "Origin"),
    ] {
        assert_eq!(reply.header(name), Some(value), "{name}");
    }
}

#[tokio::test]
async fn null_and_origins_that_are_not_listed_are_opened_nothing() {
    for origin in
        ["null", "https://evil.example", "http://dash.example", "https://dash.example.evil", "HTTPS://DASH.EXAMPLE"]
    {
        let preflight = ask("OPTIONS", "/x", origin).await;
        assert_eq!((preflight.status, preflight.header("access-control-allow-origin")), (403, None), "{origin}");
        let read = ask("GET", "/public", origin).await;
        assert_eq!((read.status, read.header("access-control-allow-origin")), (200, None), "{origin}");
        assert_eq!(read.header("vary"), Some("Origin"), "{origin}: a cache must not mix them up");
    }
}

#[tokio::test]
async fn scripts_of_a_listed_origin_read_answers_and_refusals() {
    for (path, status) in [("/public", 200), ("/x", 401)] {
        let reply = ask("GET", path, "https://dash.example").await;
        assert_eq!(reply.status, status, "{path}");
        assert_eq!(reply.header("access-control-allow-origin"), Some("https://dash.example"), "{path}");
    }
}

#[tokio::test]
async fn an_app_that_answers_preflights_itself_goes_on_doing_so() {
    let reply = ask("OPTIONS", "/own/x", "https://dash.example").await;
    assert_eq!(reply.status, 200, "the app's own answer");
    assert!(reply.text().contains("OPTIONS"), "{}", reply.text());
}

#[tokio::test]
async fn a_preflight_is_answered_for_the_method_that_it_asks_for() {
    let routes = "[cors]\norigins = [\"https://dash.example\"]\n[[route]]\npath = \"/\"\naccess = \"public\"\n\
        [[route]]\npath = \"/api\"\nmethods = [\"PUT\"]\naccess = \"signed-in\"\n";
    let app = App::start().await;
    let gateway = gateway_before(&app.url(), routes).await;
    for (path, method, status) in [("/api/x", "PUT", 204), ("/api/x", "GET", 200), ("/x", "PUT", 200)] {
        let lines = format!("Origin: https://dash.example\r\nAccess-Control-Request-Method: {method}\r\n");
        let request = format!("OPTIONS {path} HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n");
        let reply = exchange(gateway.address(), request).await.expect("an answer");
        assert_eq!(reply.status, status, "{path} {method}");
    }
    assert_eq!(app.seen().len(), 2, "the app answers for what is public");
}
