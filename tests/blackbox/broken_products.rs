//! Broken set-ups at products, in their own words and under their real names, by stand-ins; none is set up by its preset.

use crate::support::broken::{Deployment, FROM_THE_GATEWAY, Fault};
use crate::support::standin::{Kind, StandIn, Which};

const PROVIDER: Fault<'static> = Fault { code: "", seen: "", change: "", part: "provider" };

#[tokio::test]
async fn lark_wants_the_secret_in_the_form_alone() {
    let lark = StandIn::start(Which::Lark).await;
    let mut broken = Deployment::of_product(&lark).await;
    broken.set("provider.client_auth", "client_secret_basic");
    let fault = Fault { code: "DW-3210", seen: "client_secret_basic", change: "client_secret_post", ..PROVIDER };
    broken.refuses(fault, Deployment::signs_in).await;
    broken.set("provider.client_auth", "client_secret_post").works(Deployment::signs_in).await;
}

#[tokio::test]
async fn the_secret_at_entra_has_expired() {
    let entra = StandIn::start(Which::Entra).await;
    entra.registered(|client| client.secret_expired = true);
    let mut broken = Deployment::of_product(&entra).await;
    let fault = Fault { code: "DW-3208", seen: "AADSTS7000222", change: "make a new one in Entra", ..PROVIDER };
    broken.refuses(fault, Deployment::signs_in).await;
    entra.registered(|client| client.secret_expired = false);
    broken.works(Deployment::signs_in).await;
}

#[tokio::test]
async fn the_redirect_uri_at_entra_is_one_for_browsers() {
    let entra = StandIn::start(Which::Entra).await;
    entra.registered(|client| client.kind = Kind::SinglePage);
    let mut broken = Deployment::of_product(&entra).await;
    let fault = Fault { code: "DW-3211", seen: "AADSTS9002327", change: "send_origin", ..PROVIDER };
    broken.refuses(fault, Deployment::signs_in).await;
    broken.set("provider.send_origin", true).works(Deployment::signs_in).await;
}

#[tokio::test]
async fn the_implicit_flow_is_off_at_keycloak() {
    let keycloak = StandIn::start(Which::Keycloak).await;
    keycloak.registered(|client| client.response_types = vec!["code".into()]);
    let mut broken = Deployment::of_product(&keycloak).await;
    broken.set("provider.auth_method", "implicit");
    let fault = Fault { code: "DW-3125", seen: "Implicit flow is disabled", change: "auth_method", ..PROVIDER };
    broken.refuses(fault, Deployment::signs_in).await;
    broken.set("provider.auth_method", "pkce").works(Deployment::signs_in).await;
}

#[tokio::test]
async fn entra_keeps_the_groups_of_people_in_many_elsewhere() {
    let entra = StandIn::start(Which::Entra).await;
    entra.group_overage();
    let mut broken = Deployment::of_product(&entra).await;
    broken.add("[[route]]\npath = \"/reports\"\n[route.allow]\ngroups = [\"staff\"]\n");
    let fault = Fault { code: "DW-5003", seen: "groups", change: "claim", part: FROM_THE_GATEWAY };
    broken.refuses(fault, Deployment::signs_in).await;
    entra.claims(|claims| drop(claims.insert("groups".into(), serde_json::json!(["staff"]))));
    broken.works(Deployment::signs_in).await;
}

#[tokio::test]
async fn the_issuer_is_oktas_admin_console() {
    let okta = StandIn::start(Which::Okta).await;
    let mut broken = Deployment::of_product(&okta).await;
    let right = url::Url::parse(&okta.issuer()).expect("an address").origin().ascii_serialization();
    broken.set("provider.issuer", right.replacen(".okta", "-admin.okta", 1));
    let fault = Fault { code: "DW-7002", seen: "admin console", change: &right, part: "configuration" };
    broken.does_not_start(fault).await;
    broken.set("provider.issuer", okta.issuer()).works(Deployment::signs_in).await;
}
