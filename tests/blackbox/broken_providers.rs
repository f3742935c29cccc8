//! Broken set-ups: the way to the provider, its metadata and its keys. Nobody gets as far as to be refused by name; each step
//! that fails has one.

use axum::Router;
use axum::response::{Html, Redirect};
use serde_json::json;
use tokio::net::TcpListener;

use crate::support::broken::{Deployment, Fault, PAGE};
use crate::support::forger::Forger;
use crate::support::free_port;
use crate::support::front::Front;
use crate::support::provider::Provider;
use crate::support::tls::{Authority, Leaf};

const UNREACHED: Fault<'static> = Fault { code: "DW-6101", seen: "", change: "issuer", part: "provider" };
const OTHER_ISSUER: Fault<'static> = Fault { code: "DW-6102", seen: "", change: "issuer", part: "provider" };
const NO_METADATA: Fault<'static> = Fault { code: "DW-6103", seen: "", change: "issuer", part: "provider" };
const NOT_VALID: Fault<'static> = Fault { code: "DW-7002", seen: "", change: "", part: "configuration" };
const NO_KEYS: Fault<'static> = Fault { code: "DW-6104", seen: "", change: "jwks_uri", part: "provider" };

/// Something that is no provider, and answers every address like this.
async fn elsewhere(router: Router) -> String {
    let listener = TcpListener::bind("127.0.0.2:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(axum::serve(listener, router).into_future());
    format!("http://{address}")
}

/// `issuer` is what somebody wrote; the provider's own mends it.
async fn written(issuer: impl Into<String>, fault: Fault<'_>) {
    let mut broken = Deployment::at(Provider::shared()).await;
    broken.set("provider.issuer", issuer.into());
    broken.refuses(fault, async |broken| broken.opens(PAGE).await).await;
    broken.set("provider.issuer", Provider::shared().issuer());
    broken.works(Deployment::signs_in).await;
}

/// `issuer` is what somebody wrote, and is told before anything starts.
async fn refused(issuer: String, seen: &str, change: &str) {
    let mut broken = Deployment::at(Provider::shared()).await;
    broken.set("provider.issuer", issuer);
    broken.does_not_start(Fault { seen, change, ..NOT_VALID }).await;
    broken.set("provider.issuer", Provider::shared().issuer());
    broken.works(Deployment::signs_in).await;
}

/// A forger over TLS whose certificate is made by `leaf`, and that is trusted.
async fn over_tls(fault: Fault<'_>, leaf: fn(&Authority) -> crate::support::tls::Leaf) {
    let authority = Authority::new();
    let (front, forger) = Front::forger("127.0.0.2", &leaf(&authority)).await;
    let mut broken = Deployment::forged(&forger).await;
    let ca = broken.trusting(&authority.pem()).file("ca.pem", &authority.pem());
    broken.set("provider.ca_file", ca);
    broken.refuses(fault, async |broken| broken.opens(PAGE).await).await;
    front.shows(&authority.leaf(&["127.0.0.2"]));
    broken.restarts().works(Deployment::signs_in).await;
}

/// What the key endpoint answers instead of keys.
async fn keys(seen: &str, change: &str, status: u16, location: &str, body: &str) {
    let forger = Forger::start().await;
    forger.instead("keys", status, location, body);
    let mut broken = Deployment::forged(&forger).await;
    broken.refuses(Fault { seen, change, ..NO_KEYS }, async |broken| broken.opens(PAGE).await).await;
    forger.heals();
    broken.restarts().works(Deployment::signs_in).await;
}

#[tokio::test]
async fn the_name_does_not_resolve() {
    written("http://login.invalid", Fault { seen: "DNS", ..UNREACHED }).await;
}

#[tokio::test]
async fn nobody_listens_at_the_port() {
    written(format!("http://127.0.0.2:{}", free_port()), Fault { seen: "TCP", ..UNREACHED }).await;
}

#[tokio::test]
async fn https_is_written_and_http_is_spoken() {
    written(Provider::shared().issuer().replace("http:", "https:"), Fault { seen: "TLS", ..UNREACHED }).await;
}

#[tokio::test]
async fn the_certificate_has_expired() {
    over_tls(Fault { seen: "expired", change: "enew", ..UNREACHED }, |authority| authority.expired(&["127.0.0.2"]))
        .await;
}

#[tokio::test]
async fn the_certificate_is_for_another_name() {
    over_tls(Fault { seen: "not valid for", ..UNREACHED }, |authority| authority.leaf(&["login.example"])).await;
}

#[tokio::test]
async fn the_authority_is_unknown() {
    let authority = Authority::new();
    let (_front, forger) = Front::forger("127.0.0.2", &authority.leaf(&["127.0.0.2"])).await;
    let mut broken = Deployment::forged(&forger).await;
    broken.trusting(&authority.pem());
    let fault = Fault { seen: "UnknownIssuer", change: "ca_file", ..UNREACHED };
    broken.refuses(fault, async |broken| broken.opens(PAGE).await).await;
    let ca = broken.file("ca.pem", &authority.pem());
    broken.set("provider.ca_file", ca).works(Deployment::signs_in).await;
}

#[tokio::test]
async fn the_certificate_is_an_authoritys() {
    let own = Leaf::self_signed_authority("127.0.0.2");
    let (_front, forger) = Front::forger("127.0.0.2", &own).await;
    let mut broken = Deployment::forged(&forger).await;
    broken.trusting(&own.certificate);
    let fault = Fault { seen: "CaUsedAsEndEntity", change: "CA:FALSE", ..UNREACHED };
    broken.refuses(fault, async |broken| broken.opens(PAGE).await).await;
    let ca = broken.file("ca.pem", &own.certificate);
    broken.set("provider.ca_file", ca).refuses(fault, async |broken| broken.opens(PAGE).await).await;
}

#[tokio::test]
async fn the_issuer_is_a_page() {
    let page = elsewhere(Router::new().fallback(|| async { Html("<html>Welcome</html>") })).await;
    written(page, Fault { seen: "text/html", ..NO_METADATA }).await;
}

#[tokio::test]
async fn the_issuer_has_no_metadata() {
    let issuer = format!("{}/realms/another", Provider::shared().issuer());
    written(issuer, Fault { seen: "404", ..UNREACHED }).await;
}

#[tokio::test]
async fn the_issuer_is_redirected() {
    let to = Provider::shared().issuer().to_owned();
    let old = Router::new().fallback(|| async move { Redirect::permanent(&to) });
    written(elsewhere(old).await, Fault { seen: "redirect to 127.0.0.2", ..UNREACHED }).await;
}

#[tokio::test]
async fn the_issuer_is_the_authorization_endpoint() {
    refused(
        format!("{}/protocol/openid-connect/auth", Provider::shared().issuer()),
        "the authorization endpoint",
        "in the provider's metadata",
    )
    .await;
}

#[tokio::test]
async fn the_issuer_goes_on_to_what_may_be_its_authorization_endpoint() {
    // Some issuers do end like this, so that it is asked.
    written(format!("{}/auth", Provider::shared().issuer()), Fault { seen: "404", ..UNREACHED }).await;
}

#[tokio::test]
async fn the_issuer_is_the_address_of_the_metadata() {
    let issuer = Provider::shared().issuer().to_owned();
    refused(format!("{issuer}/.well-known/openid-configuration"), "the provider's metadata", &issuer).await;
}

#[tokio::test]
async fn the_issuer_has_a_query() {
    refused(format!("{}/?client_id=doorward", Provider::shared().issuer()), "query", "behind `?`").await;
}

#[tokio::test]
async fn the_issuer_is_called_by_another_name() {
    // The same provider is reached by a name that it does not call itself.
    let port = free_port();
    let inside = TcpListener::bind(("127.0.0.2", port)).await.expect("a free port");
    let outside = TcpListener::bind(("127.0.0.1", port)).await.expect("the same port of another address");
    let forger = Forger::start_as(format!("http://127.0.0.2:{port}"), inside);
    tokio::spawn(async move {
        while let Ok((mut outside, _)) = outside.accept().await {
            tokio::spawn(async move {
                let mut inside = tokio::net::TcpStream::connect(("127.0.0.2", port)).await.ok()?;
                tokio::io::copy_bidirectional(&mut outside, &mut inside).await.ok()
            });
        }
    });
    let mut broken = Deployment::forged(&forger).await;
    broken.set("provider.issuer", format!("http://localhost:{port}"));
    let fault = Fault { seen: "127.0.0.2", ..OTHER_ISSUER };
    broken.refuses(fault, async |broken| broken.opens(PAGE).await).await;
    broken.set("provider.issuer", forger.issuer.clone());
    broken.works(Deployment::signs_in).await;
}

#[tokio::test]
async fn the_issuer_has_a_slash_too_many() {
    let forger = Forger::start_under("/tenant").await;
    let mut broken = Deployment::forged(&forger).await;
    broken.set("provider.issuer", format!("{}/", forger.issuer));
    let fault = Fault { seen: "/tenant", ..OTHER_ISSUER };
    broken.refuses(fault, async |broken| broken.opens(PAGE).await).await;
    broken.set("provider.issuer", forger.issuer.clone());
    broken.works(Deployment::signs_in).await;
}

#[tokio::test]
async fn the_keys_are_a_page() {
    keys("text/html", "jwks_uri", 200, "", "<html>Sign in</html>").await;
}

#[tokio::test]
async fn the_keys_are_an_error() {
    keys("500", "at fault", 500, "", "oops").await;
}

#[tokio::test]
async fn there_are_no_keys() {
    keys("none of 0", "jwks_uri", 200, "", r#"{"keys":[]}"#).await;
}

#[tokio::test]
async fn the_keys_are_elsewhere() {
    keys("redirect", "jwks_uri", 302, "http://login.invalid/keys", "").await;
}

#[tokio::test]
async fn the_metadata_lack_an_endpoint() {
    let forger = Forger::start().await;
    forger.metadata(json!({"token_endpoint": null}));
    let mut broken = Deployment::forged(&forger).await;
    let fault = Fault { seen: "token_endpoint", change: "endpoint", ..NO_METADATA };
    broken.refuses(fault, async |broken| broken.opens(PAGE).await).await;
    forger.metadata(json!({}));
    broken.restarts().works(Deployment::signs_in).await;
}
