//! Broken set-ups: addresses, cookies, browsers and secrets.

use crate::support::broken::{Deployment, FROM_THE_GATEWAY, Fault, PAGE};
use crate::support::browser::Browser;
use crate::support::forger::Forger;
use crate::support::person::{Answer, NAVIGATION, Person};
use crate::support::provider::Provider;
use crate::support::{free_port, random_word};
use reqwest::Method;

const SEEN: Fault<'static> = Fault { code: "", seen: "", change: "", part: FROM_THE_GATEWAY };
const ADDRESS: Fault<'static> = Fault { code: "", seen: "", change: "public_url", part: "public-url" };

#[tokio::test]
async fn the_browser_keeps_no_cookies() {
    let mut broken = Deployment::at(Provider::shared()).await;
    broken.start().await.ready().await;
    let forger = Forger::start().await;
    // The provider of this browser asks for no name: without cookies its own form would be the end of the way.
    broken.set("provider.issuer", forger.issuer.clone()).set("provider.client_id", "the-client");
    broken.unset("provider.client_secret").start().await.ready().await;
    let browser = Browser::start_without_cookies().await;
    let tab = browser.tab(&broken.url(PAGE)).await;
    let shown = tab.wait_for_text("DW-3122").await;
    broken.shows(Fault { code: "DW-3122", seen: "Not one cookie", change: "Allow cookies", ..SEEN }, &shown).await;
    let browser = Browser::start().await;
    let tab = browser.tab(&broken.url(PAGE)).await;
    tab.wait_for_text("\"headers\"").await;
}

#[tokio::test]
async fn the_public_url_is_another_name_of_this_host() {
    let mut broken = Deployment::at(Provider::shared()).await;
    let port = broken.config().port;
    broken.config().public_url = format!("http://localhost:{port}");
    broken.registers(serde_json::json!({})).await;
    // A proxy in front names the host by its address, whatever the browser asked for.
    let fault = Fault { code: "DW-3108", seen: "came for `127.0.0.1`", change: "has the proxy in front keep", ..SEEN };
    let act = async |broken: &Deployment| {
        let person = broken.person();
        let headers = [&[("host", "127.0.0.1")][..], &NAVIGATION].concat();
        let mut answer = person.request(Method::GET, &broken.url(PAGE), &headers, None).await;
        for _ in 0..4 {
            if answer.status == 303 {
                answer = person.request(Method::GET, &broken.url(PAGE), &headers, None).await;
            }
        }
        answer
    };
    broken.refuses(fault, act).await;
    broken.config().public_url = format!("http://127.0.0.1:{port}");
    broken.registers(serde_json::json!({})).await.works(Deployment::signs_in).await;
}

#[tokio::test]
async fn the_public_url_has_another_port() {
    address(|url| url.replace(&url[url.rfind(':').expect("a port")..], &format!(":{}", free_port())), "DW-9011").await;
}

#[tokio::test]
async fn the_public_url_has_another_scheme() {
    address(|url| url.replace("http:", "https:"), "DW-9012").await;
}

#[tokio::test]
async fn the_public_url_has_no_such_host() {
    address(|url| url.replace("127.0.0.1", "gateway.invalid"), "DW-9011").await;
}

/// With another public URL the provider sends people to where nobody is: no page, no log line, and the doctor knows.
async fn address(change: impl Fn(&str) -> String, code: &str) {
    let mut broken = Deployment::at(Provider::shared()).await;
    let right = broken.config().public_url.clone();
    broken.config().public_url = change(&right);
    broken.start().await;
    broken.examined(Fault { code, ..ADDRESS }).await;
    broken.config().public_url = right;
    broken.works(Deployment::signs_in).await;
}

/// Somebody with a session asks for something.
async fn asks(broken: &Deployment, person: &Person) -> Answer {
    person.fetch(&broken.url(PAGE)).await
}

#[tokio::test]
async fn the_secret_was_changed_and_the_old_one_thrown_away() {
    let mut broken = Deployment::at(Provider::shared()).await;
    broken.start().await.ready().await;
    let person = broken.person();
    let anna = Provider::shared().user("anna").clone();
    broken.signs_in_with(&person, Some(&anna)).await.expect(200);
    let (old, new) = (broken.config().secrets[0].clone(), random_word());
    broken.config().secrets = vec![new.clone()];
    let fault = Fault { code: "DW-4103", seen: "a secret that this gateway does not have", change: "secrets", ..SEEN };
    broken.refuses(fault, async |broken| asks(broken, &person).await).await;
    broken.config().secrets = vec![new, old];
    broken.works(async |broken| asks(broken, &person).await).await;
}

#[tokio::test]
async fn the_replicas_have_different_secrets() {
    let forger = Forger::start().await;
    let (mut one, mut other) = (Deployment::forged(&forger).await, Deployment::forged(&forger).await);
    // Both are behind one address, where a balancer sends a browser now here, now there.
    other.config().public_url = one.config().public_url.clone();
    let (port, secrets) = (other.config().port, one.config().secrets.clone());
    one.start().await.ready().await;
    let act = async |other: &Deployment| {
        let person = other.person();
        let begun = person.open(&one.url(PAGE)).await;
        let answered = person.open(begun.location().expect("the provider").as_str()).await;
        let mut back = answered.location().expect("the callback");
        back.set_port(Some(port)).expect("a port");
        let mut answer = person.open(back.as_str()).await;
        if let Some(mut page) = answer.location() {
            page.set_port(Some(port)).expect("a port");
            answer = person.open(page.as_str()).await;
        }
        answer
    };
    other
        .refuses(
            Fault {
                code: "DW-3124",
                seen: "a secret that this gateway does not have",
                change: "Give all replicas the same",
                ..SEEN
            },
            act,
        )
        .await;
    other.config().secrets = secrets;
    other.works(act).await;
}

#[tokio::test]
async fn the_callback_is_opened_without_state() {
    callback(
        "/oidc/callback?code=c0de",
        Fault { code: "DW-3101", seen: "there is no `state`", change: "front page", ..SEEN },
    )
    .await;
}

#[tokio::test]
async fn the_callback_is_opened_with_an_empty_state() {
    callback(
        "/oidc/callback?code=c0de&state=",
        Fault { code: "DW-3101", seen: "`state` is empty", change: "front page", ..SEEN },
    )
    .await;
}

#[tokio::test]
async fn the_callback_is_opened_in_another_browser() {
    let mut broken = Deployment::forged(&Forger::start().await).await;
    let fault = Fault { code: "DW-3122", seen: "did not come back", change: "one browser", ..SEEN };
    let act = async |broken: &Deployment| {
        let begun = broken.person().open(&broken.url(PAGE)).await;
        let answered = broken.person().open(begun.location().expect("the provider").as_str()).await;
        broken.person().open(answered.location().expect("the callback").as_str()).await
    };
    broken.refuses(fault, act).await;
    broken.works(Deployment::signs_in).await;
}

/// A link that leads right to the callback; the remedy is to begin at the beginning.
async fn callback(path: &str, fault: Fault<'_>) {
    let mut broken = Deployment::forged(&Forger::start().await).await;
    broken.refuses(fault, async |broken| broken.opens(path).await).await;
    broken.works(Deployment::signs_in).await;
}

#[tokio::test]
async fn the_sign_in_was_left_open_for_too_long() {
    let mut broken = Deployment::forged(&Forger::start().await).await;
    broken.add("[sign_in]\nattempt_lifetime = \"1m\"\n");
    broken.start().await.ready().await;
    let person = broken.person();
    let begun = person.open(&broken.url(PAGE)).await;
    let answered = person.open(begun.location().expect("the provider").as_str()).await;
    let back = answered.location().expect("the callback").to_string();
    // The clock goes on while the person has lunch.
    broken.clock("+2m");
    let fault = Fault { code: "DW-3104", seen: "attempt_lifetime", change: "Start again", ..SEEN };
    broken.refuses(fault, async |_| person.open(&back).await).await;
    broken.config().env.clear();
    broken.works(async |broken| broken.signs_in_with(&person, None).await).await;
}
