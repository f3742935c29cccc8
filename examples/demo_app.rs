//! The demo's app: a page that shows what an app behind the gateway is told about its visitor.
//!
//! It knows nothing of OpenID Connect, sessions or tokens: it reads request headers, as apps that are made for a
//! reverse proxy with single sign-on do. Whoever comes past the gateway can claim to be anybody, which is why such an
//! app listens on loopback only.

use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Map, Value, json};

const ADDRESS: &str = "127.0.0.1:8082";

/// Headers that say who somebody is, in the spellings that apps use.
const IDENTITY: [&str; 11] = [
    "x-forwarded-user",
    "x-forwarded-email",
    "x-forwarded-preferred-username",
    "x-forwarded-groups",
    "remote-user",
    "remote-name",
    "remote-email",
    "remote-groups",
    "x-remote-user",
    "x-auth-request-user",
    "x-webauth-user",
];

/// Headers that say how the request came.
const WAY: [&str; 6] =
    ["host", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-port", "forwarded"];

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let app = Router::new()
        .route("/", get(front))
        .route("/public", get(public))
        .route("/api/whoami", get(whoami))
        .fallback(|| async { page(StatusCode::NOT_FOUND, "Not found", "<p>The app has no such page.</p>") });
    let listener = tokio::net::TcpListener::bind(ADDRESS).await.map_err(|e| format!("{ADDRESS}: {e}"))?;
    println!("demo app: http://{ADDRESS}");
    axum::serve(listener, app).await?;
    Ok(())
}

async fn front(headers: HeaderMap) -> Response {
    let greeting = match visitor(&headers) {
        Some(name) => format!("<p class=\"hello\">Hello, <strong>{}</strong>.</p>", escape(&name)),
        None => "<p class=\"hello\">Hello, whoever you are: no header says it.</p>".to_owned(),
    };
    let body = format!(
        "{greeting}<h2>Who you are</h2>{}<h2>How the request came</h2>{}\
         <p>This app has no sign-in of its own. It reads these headers, and nothing else.</p>",
        table(&headers, &IDENTITY),
        table(&headers, &WAY)
    );
    page(StatusCode::OK, "The app", &body)
}

async fn public(headers: HeaderMap) -> Response {
    let seen = match visitor(&headers) {
        Some(name) => format!("You are signed in as <strong>{}</strong>.", escape(&name)),
        None => "You are not signed in, and this page does not ask you to.".to_owned(),
    };
    let body = format!("<p class=\"hello\">Everybody may read this page.</p><p>{seen}</p>");
    page(StatusCode::OK, "A public page", &body)
}

/// What a program gets: the identity headers that came, by name.
async fn whoami(headers: HeaderMap) -> Json<Value> {
    let told = IDENTITY.iter().filter_map(|name| Some((name.to_string(), json!(value(&headers, name)?))));
    Json(json!({ "visitor": visitor(&headers), "headers": Map::from_iter(told) }))
}

/// The name to greet with.
fn visitor(headers: &HeaderMap) -> Option<String> {
    ["x-forwarded-preferred-username", "x-forwarded-email", "x-forwarded-user"]
        .iter()
        .find_map(|name| value(headers, name))
}

/// All values of a header, so that a doubled one would show.
fn value(headers: &HeaderMap, name: &str) -> Option<String> {
    let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
    let values: Vec<_> = headers.get_all(name).iter().map(|v| String::from_utf8_lossy(v.as_bytes())).collect();
    (!values.is_empty()).then(|| values.join(" ⏎ "))
}

fn table(headers: &HeaderMap, names: &[&str]) -> String {
    let rows: String = names
        .iter()
        .filter_map(|name| {
            Some(format!(
                "<tr><th scope=\"row\"><code>{name}</code></th><td>{}</td></tr>",
                escape(&value(headers, name)?)
            ))
        })
        .collect();
    match rows.as_str() {
        "" => "<p class=\"soft\">None of the headers came.</p>".to_owned(),
        rows => format!("<div class=\"wide\"><table>{rows}</table></div>"),
    }
}

const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#22282f;--soft:#5d6873;--paper:#fff;--ground:#f3f1ec;--line:#d9d4c8;--act:#1d6b52}\
@media(prefers-color-scheme:dark){:root{--ink:#e9e7e2;--soft:#a8a49a;--paper:#20231f;--ground:#151713;--line:#3c4038;\
--act:#6fcfae}}\
*{box-sizing:border-box}body{margin:0;font:1rem/1.55 system-ui,sans-serif;color:var(--ink);background:var(--ground)}\
header,main{max-width:46rem;margin:auto;padding:1rem 1.5rem}header{display:flex;gap:1.25rem;align-items:baseline;\
flex-wrap:wrap}header strong{margin-right:auto}a{color:var(--act)}\
main{padding:1.5rem;background:var(--paper);border:1px solid var(--line);border-radius:.75rem}\
h1{margin:0;font-size:1.3rem}h2{margin:1.75rem 0 .5rem;font-size:1rem}.hello{font-size:1.25rem;margin:.5rem 0}\
.soft{color:var(--soft)}.wide{overflow-x:auto}table{border-collapse:collapse;width:100%}\
th,td{text-align:left;padding:.45rem .75rem .45rem 0;border-bottom:1px solid var(--line);font-weight:400;\
overflow-wrap:anywhere;vertical-align:top}th{white-space:nowrap}td{font-weight:600}\
:focus-visible{outline:3px solid var(--act);outline-offset:2px}\
@media(max-width:34rem){th,td{display:block;padding:.4rem 0 0;border:0}td{padding:0 0 .4rem;\
border-bottom:1px solid var(--line)}}";

fn page(status: StatusCode, title: &str, body: &str) -> Response {
    let html = format!(
        r#"<!doctype html><html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width,initial-scale=1"><title>{title}</title><style>{STYLE}</style></head>
<body><header><strong>Demo app</strong><nav><a href="/">Front page</a> · <a href="/public">Public page</a> ·
<a href="/api/whoami">JSON</a> · <a href="/logout">Sign out</a></nav></header>
<main><h1>{title}</h1>{body}</main></body></html>"#
    );
    let headers = [
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; style-src 'unsafe-inline'"),
    ];
    (status, headers, Html(html)).into_response()
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}
