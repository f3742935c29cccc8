//! Broken set-ups: the client as it is configured, and the client as the provider has it registered.

use serde_json::json;

use crate::support::broken::{Deployment, FROM_THE_GATEWAY, Fault};
use crate::support::forger::Forger;
use crate::support::provider::Provider;

const CLIENT: Fault<'static> =
    Fault { code: "DW-3202", seen: "invalid_client", change: "client_secret", part: "provider" };
const FLOW: Fault<'static> = Fault { code: "DW-3125", seen: "response_type", change: "auth_method", part: "provider" };
const SCOPE: Fault<'static> = Fault { code: "DW-3128", seen: "invalid_scope", change: "scope", part: "provider" };
const REGISTRATION: Fault<'static> = Fault { code: "DW-3107", seen: "", change: "", part: "provider" };

#[tokio::test]
async fn the_secret_is_wrong() {
    let mut broken = Deployment::at(Provider::shared()).await;
    broken.set("provider.client_secret", "the secret of another client");
    broken.refuses(CLIENT, Deployment::signs_in).await;
    broken.set("provider.client_secret", broken.client.secret.clone());
    broken.works(Deployment::signs_in).await;
}

#[tokio::test]
async fn the_secret_is_missing() {
    let mut broken = Deployment::at(Provider::shared()).await;
    broken.unset("provider.client_secret");
    broken.refuses(Fault { code: "DW-3206", ..CLIENT }, Deployment::signs_in).await;
    broken.set("provider.client_secret", broken.client.secret.clone());
    broken.works(Deployment::signs_in).await;
}

#[tokio::test]
async fn the_secret_is_the_client_id() {
    let mut broken = Deployment::at(Provider::shared()).await;
    broken.set("provider.client_secret", broken.client.id.clone());
    broken.refuses(Fault { code: "DW-3209", ..CLIENT }, Deployment::signs_in).await;
    broken.set("provider.client_secret", broken.client.secret.clone());
    broken.works(Deployment::signs_in).await;
}

#[tokio::test]
async fn the_secret_is_not_needed() {
    let public = json!({"token_endpoint_auth_method": "none"});
    let mut broken = Deployment::registered(Provider::shared(), public).await;
    broken.refuses(Fault { change: "public client, take", ..CLIENT }, Deployment::signs_in).await;
    broken.unset("provider.client_secret");
    broken.works(Deployment::signs_in).await;
}

#[tokio::test]
async fn the_secret_has_expired() {
    let mut broken = Deployment::registered(Provider::shared(), json!({"client_secret_expires_at": 1})).await;
    broken.refuses(Fault { code: "DW-3208", seen: "expired", ..CLIENT }, Deployment::signs_in).await;
    broken.registers(json!({"client_secret_expires_at": 0, "client_secret": "the one that was made anew"})).await;
    broken.set("provider.client_secret", "the one that was made anew");
    broken.works(Deployment::signs_in).await;
}

#[tokio::test]
async fn the_client_authenticates_another_way_than_registered() {
    let signs = json!({"token_endpoint_auth_method": "client_secret_jwt"});
    let mut broken = Deployment::registered(Provider::shared(), signs).await;
    broken.set("provider.client_auth", "client_secret_basic");
    broken.refuses(Fault { change: "client_auth", ..CLIENT }, Deployment::signs_in).await;
    broken.set("provider.client_auth", "client_secret_jwt");
    broken.works(Deployment::signs_in).await;
}

#[tokio::test]
async fn the_redirect_uri_is_not_registered() {
    let other = json!({"redirect_uris": ["https://gateway.example/oidc/callback"]});
    let mut broken = Deployment::registered(Provider::shared(), other).await;
    let fault = Fault { code: "DW-3126", change: "redirect URI", ..REGISTRATION };
    broken.stays_at_the_provider(fault, "redirect_uri").await;
    broken.registers(json!({})).await.works(Deployment::signs_in).await;
}

#[tokio::test]
async fn the_client_id_is_another() {
    let mut broken = Deployment::at(Provider::shared()).await;
    broken.set("provider.client_id", "doorward-test");
    broken
        .stays_at_the_provider(Fault { code: "DW-3127", change: "client_id", ..REGISTRATION }, "client is invalid")
        .await;
    broken.set("provider.client_id", broken.client.id.clone());
    broken.works(Deployment::signs_in).await;
}

#[tokio::test]
async fn a_scope_is_not_one_of_the_clients() {
    let mut broken = Deployment::registered(Provider::shared(), json!({"scope": "openid profile email"})).await;
    broken.set("provider.scopes", vec!["openid", "read"]);
    broken.refuses(Fault { change: "scopes", ..SCOPE }, Deployment::signs_in).await;
    broken.unset("provider.scopes");
    broken.works(Deployment::signs_in).await;
}

#[tokio::test]
async fn the_scope_openid_is_not_allowed() {
    let mut broken = Deployment::registered(Provider::shared(), json!({"scope": "profile email"})).await;
    broken.refuses(Fault { change: "allow it there", ..SCOPE }, Deployment::signs_in).await;
    broken.registers(json!({"scope": "openid profile email"})).await.works(Deployment::signs_in).await;
}

#[tokio::test]
async fn the_provider_is_none_of_openid_connect() {
    let forger = Forger::start().await;
    forger.answers(|_, _| (200, json!({"access_token": "acce55", "token_type": "Bearer"}).to_string()));
    let mut broken = Deployment::forged(&forger).await;
    let fault = Fault { code: "DW-3204", seen: "", change: "openid", part: FROM_THE_GATEWAY };
    broken.refuses(fault, Deployment::signs_in).await;
    forger.claims(|_| {});
    broken.works(Deployment::signs_in).await;
}

#[tokio::test]
async fn implicit_is_asked_of_a_client_for_codes() {
    let mut broken = Deployment::at(Provider::complete()).await;
    broken.set("provider.auth_method", "implicit");
    broken.refuses(FLOW, Deployment::signs_in).await;
    broken.set("provider.auth_method", "pkce");
    broken.works(Deployment::signs_in).await;
}

#[tokio::test]
async fn a_code_is_asked_of_a_client_for_implicit() {
    let metadata = json!({"grant_types": ["implicit"], "response_types": ["id_token"]});
    let mut broken = Deployment::registered(Provider::complete(), metadata).await;
    broken.refuses(FLOW, Deployment::signs_in).await;
    broken.set("provider.auth_method", "implicit").unset("provider.client_secret");
    broken.works(Deployment::signs_in).await;
}

#[tokio::test]
async fn the_provider_cannot_post_its_answer() {
    let forger = Forger::start().await;
    forger.posts(false);
    forger.responds_signed(|attempt, key| match attempt.asked("response_mode") {
        Some("form_post") => attempt.error("invalid_request", "unsupported response_mode requested"),
        _ => attempt.granted(key, &attempt.hybrid_claims()),
    });
    let mut broken = Deployment::forged(&forger).await;
    broken.set("provider.response_mode", "form_post");
    broken.refuses(Fault { seen: "response_mode", change: "response_mode", ..FLOW }, Deployment::signs_in).await;
    broken.unset("provider.response_mode");
    broken.works(Deployment::signs_in).await;
}

#[tokio::test]
async fn the_provider_answers_another_way_than_asked() {
    let forger = Forger::start().await;
    forger.posts(true);
    let mut broken = Deployment::forged(&forger).await;
    let fault = Fault { code: "DW-3112", seen: "got a form", change: "response mode", part: FROM_THE_GATEWAY };
    broken.refuses(fault, Deployment::signs_in).await;
    broken.set("provider.response_mode", "form_post");
    broken.works(Deployment::signs_in).await;
}

#[tokio::test]
async fn the_provider_takes_no_challenge_of_s256() {
    let forger = Forger::start().await;
    forger.metadata(json!({"code_challenge_methods_supported": ["plain"]}));
    forger.responds_signed(|attempt, _| attempt.error("invalid_request", "code_challenge_method is not supported"));
    let mut broken = Deployment::forged(&forger).await;
    broken.refuses(Fault { seen: "code_challenge_method", change: "PKCE", ..REGISTRATION }, Deployment::signs_in).await;
    forger.metadata(json!({}));
    forger.responds_signed(|attempt, key| attempt.granted(key, &attempt.hybrid_claims()));
    broken.works(Deployment::signs_in).await;
}
