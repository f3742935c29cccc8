//! A directory that lies, or somebody on the way who does: it costs its own sign-ins, and nobody else anything.

use std::cell::Cell;

use super::directory::send;
use crate::support::app::App;
use crate::support::eventually;
use crate::support::gateway::{Config, Gateway};
use crate::support::liar::{Liar, Lie};
use crate::support::person::{Answer, Person};
use crate::support::setup::{ROUTES, upstream_table};

/// More time than any lie takes that has an end.
const LONG: &str = "connect_timeout = '40s'\ntimeout = '40s'\n";
const SHORT: &str = "connect_timeout = '1s'\ntimeout = '1s'\n";
const GROUPS: &str = "group_base_dn = 'ou=groups,dc=x'\n";

/// A gateway before a directory that tells the truth yet.
async fn scene(ldap: &str) -> (Liar, App, Gateway) {
    let (liar, app) = (Liar::start().await, App::start().await);
    let table = format!("{}{ldap}", liar.table());
    let gateway = Config::new().add(&table).add(&upstream_table(&app.url())).add(ROUTES).start().await;
    (liar, app, gateway)
}

/// What eight sign-ins are answered, and how many others were served before the last of them was.
async fn tries(gateway: &Gateway) -> (Vec<Answer>, usize) {
    let people: Vec<_> = (0..8).map(|_| Person::new()).collect();
    let all = futures::future::join_all(people.iter().map(|person| send(gateway, person, "bob", "x")));
    let over = Cell::new(false);
    let all = async {
        let answers = all.await;
        over.set(true);
        answers
    };
    let others = async {
        let mut served = 0;
        loop {
            Person::new().open(&gateway.url("/public")).await.expect(200);
            match over.get() {
                true => return served,
                false => served += 1,
            }
        }
    };
    tokio::join!(all, others)
}

/// The memory that eight sign-ins took, and how many others were served meanwhile; each is refused for `reason`.
async fn cost(gateway: &Gateway, reason: &str) -> (u64, usize) {
    let before = gateway.resident_bytes();
    let (answers, served) = tries(gateway).await;
    for answer in answers {
        assert_eq!((answer.status, answer.reason().as_str()), (503, reason));
    }
    (gateway.resident_bytes().saturating_sub(before), served)
}

#[tokio::test]
async fn no_answer_of_a_directory_takes_others_their_turn_or_the_gateway_its_memory() {
    let (liar, _app, gateway) = scene(&format!("{LONG}{GROUPS}")).await;
    gateway.ready().await;
    send(&gateway, &Person::new(), "bob", "x").await.expect(200);
    for lie in [Lie::ManyAttributes, Lie::EmptyValues, Lie::References] {
        liar.tells(lie);
        let (grown, _) = cost(&gateway, "DW-6204").await;
        assert!(grown < 128 << 20, "{lie:?}: {grown}");
    }
    liar.tells(Lie::None);
    send(&gateway, &Person::new(), "bob", "x").await.expect(200);
}

#[tokio::test]
async fn an_answer_without_an_end_is_left_after_its_time_and_others_are_served_meanwhile() {
    let (liar, _app, gateway) = scene(&format!("{SHORT}{GROUPS}")).await;
    liar.tells(Lie::SlowReferences);
    let (grown, served) = cost(&gateway, "DW-6201").await;
    assert!(grown < 128 << 20, "{grown}");
    assert!(served > 0);
    gateway.log_line(&["the search has no end within 2s"]).await;
    liar.tells(Lie::None);
    eventually("people sign in again", || async {
        (send(&gateway, &Person::new(), "bob", "x").await.status == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn who_answers_the_wish_for_tls_at_length_is_not_read() {
    let (liar, _app, gateway) = scene(&format!("{LONG}start_tls = true\n")).await;
    liar.tells(Lie::HugeStartTls);
    cost(&gateway, "DW-6204").await;
    assert!(liar.lied() > 0);
    gateway.log_line(&["longer than any that was asked for"]).await;
}
