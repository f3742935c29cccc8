//! Broken set-ups: a directory that people sign in with by name and password.

use super::directory::fill_in;
use crate::support::broken::{Deployment, FROM_THE_GATEWAY, Fault, PAGE};
use crate::support::forms::Form;
use crate::support::person::{Answer, NAVIGATION};
use crate::support::slapd::{BASE, READER_PASSWORD, Slapd, password};
use crate::support::{eventually, free_port};

const DIRECTORY: Fault<'static> = Fault { code: "", seen: "", change: "", part: "directory" };

/// A directory that nobody has broken yet, and a gateway that asks it.
async fn directory() -> (Slapd, Deployment) {
    let slapd = Slapd::start().await;
    let mut deployment = Deployment::without_provider().await;
    deployment.add(&slapd.table());
    (slapd, deployment)
}

/// Bob opens a page and fills the form in.
async fn signs_in(broken: &Deployment) -> Answer {
    let person = broken.person();
    let form = person.browse(&broken.url(PAGE)).await;
    let answer = fill_in(&person, form.expect(200), "bob", &password("bob")).await;
    person.follow(answer).await
}

/// A setting of `[ldap]` that was `right`, and is not.
async fn with(key: &str, wrong: toml::Value, right: toml::Value, fault: Fault<'_>) {
    let (_slapd, mut broken) = directory().await;
    broken.set(key, wrong).refuses(fault, signs_in).await;
    broken.set(key, right).works(signs_in).await;
}

#[tokio::test]
async fn the_password_of_the_gateway_is_wrong() {
    let fault = Fault { code: "DW-6203", seen: "invalidCredentials", change: "bind_password", ..DIRECTORY };
    with("ldap.bind_password", "not this one".into(), READER_PASSWORD.into(), fault).await;
}

#[tokio::test]
async fn there_is_no_such_base() {
    let fault = Fault { code: "DW-6204", seen: "noSuchObject", change: "base_dn", ..DIRECTORY };
    with("ldap.base_dn", "ou=nowhere,dc=example,dc=org".into(), BASE.into(), fault).await;
}

#[tokio::test]
async fn nobody_listens_at_the_address_of_the_directory() {
    let (slapd, mut broken) = directory().await;
    broken.set("ldap.address", vec![format!("ldap://127.0.0.3:{}", free_port())]);
    broken.refuses(Fault { code: "DW-6201", seen: "refused", change: "address", ..DIRECTORY }, signs_in).await;
    broken.set("ldap.address", vec![slapd.url()]).works(signs_in).await;
}

#[tokio::test]
async fn the_authority_of_the_directory_is_unknown() {
    let (slapd, mut broken) = directory().await;
    broken.set("ldap.address", vec![slapd.tls_url()]);
    broken.refuses(Fault { code: "DW-6202", seen: "UnknownIssuer", change: "ca_file", ..DIRECTORY }, signs_in).await;
    broken.set("ldap.ca_file", slapd.ca_file().to_string_lossy().into_owned()).works(signs_in).await;
}

#[tokio::test]
async fn the_attributes_are_pasted_into_the_base() {
    let (_slapd, mut broken) = directory().await;
    broken.set("ldap.base_dn", "email=mail,group=gidNumber");
    let fault = Fault { code: "DW-7002", seen: "base_dn", change: "attributes", part: "configuration" };
    broken.does_not_start(fault).await;
    broken.set("ldap.base_dn", BASE).works(signs_in).await;
}

#[tokio::test]
async fn the_group_of_a_person_may_not_sign_in() {
    let (_slapd, mut broken) = directory().await;
    broken.set("ldap.group_base_dn", format!("ou=groups,{BASE}")).set("ldap.group_allow_list", vec!["admins"]);
    let fault = Fault { code: "DW-3507", seen: "group_allow_list", change: "group", part: FROM_THE_GATEWAY };
    broken.refuses(fault, signs_in).await;
    broken.set("ldap.group_allow_list", vec!["staff"]).works(signs_in).await;
}

/// A page that keeps its address to itself has the browser say `Origin: null`, and so would a page of anybody.
#[tokio::test]
async fn the_form_comes_with_an_origin_of_null() {
    let (_slapd, mut broken) = directory().await;
    let hidden = async |broken: &Deployment| {
        let person = broken.person();
        let form = person.browse(&broken.url(PAGE)).await;
        let sent = Form::of(&form.text()).expect("the form");
        let fields = [("state", sent.get("state")), ("user", "bob"), ("password", &password("bob"))];
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let headers = [&NAVIGATION[..], &[("origin", "null")]].concat();
        person.request(reqwest::Method::POST, form.url.as_str(), &headers, Some(body)).await
    };
    let fault = Fault {
        code: "DW-3503",
        seen: "expected same-origin",
        change: "Open the sign-in page here",
        part: FROM_THE_GATEWAY,
    };
    broken.refuses(fault, hidden).await;
    broken.works(signs_in).await;
}

/// The provider is gone, and with it everybody who could mend it.
#[tokio::test]
async fn everybody_is_locked_out() {
    let mut broken = Deployment::without_provider().await;
    broken.add("[[provider]]\nissuer = \"http://login.invalid\"\nclient_id = \"gone\"\n");
    let fault = Fault { code: "DW-6101", seen: "DNS", change: "issuer", part: "provider" };
    broken.refuses(fault, async |broken| broken.opens(PAGE).await).await;
    broken.config().env.push(("DOORWARD_RESTORE".into(), "true".into()));
    broken.start().await;
    let program = broken.calls(PAGE, &[("authorization", "Bearer some.other.token")]).await;
    assert_eq!((program.status, program.reason().as_str()), (503, "DW-3521"));
    let password = broken.gateway().password_of_the_log().await;
    let person = broken.person();
    let form = person.browse(&broken.url(PAGE)).await;
    let answer = fill_in(&person, form.expect(200), "", &password).await;
    person.follow(answer).await.expect(200);
    eventually("the app was reached", || async { broken.app.seen_at(PAGE).pop() }).await;
}
