//! Broken set-ups: programs that call with a token or a key, and read JSON.

use serde_json::json;

use crate::support::broken::{Deployment, FROM_THE_GATEWAY, Fault, PAGE};
use crate::support::forger::{Forger, Key, now};
use crate::support::free_port;
use crate::support::gateway::doorward;
use crate::support::person::Answer;

const TOKEN: Fault<'static> = Fault { code: "", seen: "", change: "", part: FROM_THE_GATEWAY };

/// A gateway that takes the tokens of an issuer: the forger's key signs them.
async fn api() -> (Forger, Deployment) {
    let forger = Forger::start().await;
    let mut deployment = Deployment::without_provider().await;
    deployment.set("route.0.access", "bearer");
    deployment.add(&format!("[[issuer]]\nname = \"ci\"\nissuer = {:?}\naudiences = [\"api\"]\n", forger.issuer));
    (forger, deployment)
}

/// A proper token, changed by `change`.
fn token(forger: &Forger, change: impl FnOnce(&mut serde_json::Value)) -> String {
    let mut claims = json!({"iss": forger.issuer, "sub": "ci", "aud": "api", "iat": now(), "exp": now() + 600});
    change(&mut claims);
    forger.signs(&claims)
}

async fn calls(broken: &Deployment, token: &str) -> Answer {
    broken.calls(PAGE, &[("authorization", &format!("Bearer {token}"))]).await
}

#[tokio::test]
async fn the_token_is_for_another_audience() {
    let (forger, mut broken) = api().await;
    let token = token(&forger, |claims| claims["aud"] = json!("another-api"));
    let fault = Fault { code: "DW-8009", seen: "another-api", change: "audience", ..TOKEN };
    broken.refuses(fault, async |broken| calls(broken, &token).await).await;
    broken.set("issuer.audiences", vec!["api", "another-api"]).works(async |broken| calls(broken, &token).await).await;
}

#[tokio::test]
async fn the_issuer_of_the_token_has_a_slash_more() {
    let (forger, mut broken) = api().await;
    let token = token(&forger, |claims| claims["iss"] = json!(format!("{}/v2.0", forger.issuer)));
    let fault = Fault { code: "DW-8004", seen: "v2.0", change: "issuer", ..TOKEN };
    broken.refuses(fault, async |broken| calls(broken, &token).await).await;
    broken.set("issuer.issuer_aliases", vec![format!("{}/v2.0", forger.issuer)]);
    broken.works(async |broken| calls(broken, &token).await).await;
}

#[tokio::test]
async fn the_token_has_expired() {
    let (forger, mut broken) = api().await;
    let old = token(&forger, |claims| claims["exp"] = json!(now() - 3600));
    let fault = Fault { code: "DW-8007", seen: "exp", change: "Get a new token", ..TOKEN };
    broken.refuses(fault, async |broken| calls(broken, &old).await).await;
    let new = token(&forger, |_| {});
    broken.works(async |broken| calls(broken, &new).await).await;
}

#[tokio::test]
async fn the_clock_of_the_gateway_makes_every_token_young() {
    let (forger, mut broken) = api().await;
    let token = token(&forger, |_| {});
    broken.clock("-1h");
    let fault = Fault { code: "DW-8008", seen: "not valid for another", change: "clock", part: "issuer" };
    broken.refuses(fault, async |broken| calls(broken, &token).await).await;
    broken.config().env.clear();
    broken.works(async |broken| calls(broken, &token).await).await;
}

#[tokio::test]
async fn the_token_comes_to_a_route_for_people() {
    let (forger, mut broken) = api().await;
    broken.add(&format!("[[provider]]\nissuer = {:?}\nclient_id = \"the-client\"\n", forger.issuer));
    broken.set("route.0.access", "signed-in");
    let token = token(&forger, |_| {});
    let fault = Fault { code: "DW-8016", seen: "", change: "signed-in-or-bearer", ..TOKEN };
    broken.refuses(fault, async |broken| calls(broken, &token).await).await;
    broken.set("route.0.access", "signed-in-or-bearer").works(async |broken| calls(broken, &token).await).await;
}

#[tokio::test]
async fn the_token_lacks_a_scope() {
    let (forger, mut broken) = api().await;
    broken.set("route.0.scopes", vec!["runs.write"]);
    let poor = token(&forger, |claims| claims["scope"] = json!("runs.read"));
    let fault = Fault { code: "DW-8012", seen: "runs.write", change: "scope", ..TOKEN };
    broken.refuses(fault, async |broken| calls(broken, &poor).await).await;
    let rich = token(&forger, |claims| claims["scope"] = json!("runs.read runs.write"));
    broken.works(async |broken| calls(broken, &rich).await).await;
}

#[tokio::test]
async fn the_key_of_the_token_is_not_published() {
    let (forger, mut broken) = api().await;
    forger.keys(json!({"keys": [Key::new("key-2").jwk()]}));
    let token = token(&forger, |_| {});
    let fault = Fault { code: "DW-8005", seen: "key-1", change: "key set", ..TOKEN };
    broken.refuses(fault, async |broken| calls(broken, &token).await).await;
    forger.publishes();
    broken.restarts().works(async |broken| calls(broken, &token).await).await;
}

#[tokio::test]
async fn the_keys_of_the_issuer_cannot_be_fetched() {
    let (forger, mut broken) = api().await;
    let token = token(&forger, |_| {});
    broken.set("issuer.jwks_uri", format!("http://127.0.0.2:{}/jwks", free_port()));
    let fault = Fault { code: "DW-8201", change: "host and port", ..TOKEN };
    // Before they were asked for, there is less to say.
    let lack = Fault { code: "DW-6104", part: "issuer", ..fault };
    broken.refuses_lacking(lack, fault, async |broken| calls(broken, &token).await).await;
    broken.examined(lack).await;
    broken.set("issuer.jwks_uri", format!("{}/jwks", forger.issuer));
    broken.works(async |broken| calls(broken, &token).await).await;
}

#[tokio::test]
async fn no_token_is_sent() {
    let (forger, mut broken) = api().await;
    let fault = Fault { code: "DW-8001", seen: "", change: "Authorization: Bearer", ..TOKEN };
    broken.refuses(fault, async |broken| broken.calls(PAGE, &[]).await).await;
    let token = token(&forger, |_| {});
    broken.works(async |broken| calls(broken, &token).await).await;
}

#[tokio::test]
async fn the_key_of_a_service_account_is_of_another_deployment() {
    let (_forger, mut broken) = api().await;
    broken.add("[[service_account]]\nname = \"ci\"\n");
    let (_, mut other) = api().await;
    other.add("[[service_account]]\nname = \"ci\"\n");
    let (foreign, own) = (new_key(&mut other).await, new_key(&mut broken).await);
    let fault = Fault { code: "DW-8102", seen: "is not known here", change: "new-key", ..TOKEN };
    broken.refuses(fault, async |broken| calls(broken, &foreign).await).await;
    broken.works(async |broken| calls(broken, &own).await).await;
}

/// The file is written as the gateway's would be.
async fn new_key(deployment: &mut Deployment) -> String {
    deployment.write();
    let path = deployment.config().path().to_string_lossy().into_owned();
    let (code, out, err) = doorward(&["service-account", "new-key", "ci", "--config", &path]);
    assert_eq!(code, Some(0), "{out}{err}");
    let key = out.split_whitespace().find(|word| word.starts_with("dw"));
    key.unwrap_or_else(|| panic!("no key: {out}{err}")).to_owned()
}
