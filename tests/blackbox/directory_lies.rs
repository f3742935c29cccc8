//! A directory that lies, or somebody on the way who does: it costs its own sign-ins, and nobody else anything.

use super::directory::send;
use crate::support::app::App;
use crate::support::gateway::{Config, Gateway};
use crate::support::liar::{Liar, Lie};
use crate::support::person::{Answer, Person};
use crate::support::setup::{ROUTES, upstream_table};

/// A gateway before a directory that tells the truth yet.
async fn scene(ldap: &str) -> (Liar, App, Gateway) {
    let (liar, app) = (Liar::start().await, App::start().await);
    let table = format!("{}connect_timeout = '1s'\ntimeout = '1s'\n{ldap}", liar.table());
    let gateway = Config::new().add(&table).add(&upstream_table(&app.url())).add(ROUTES).start().await;
    (liar, app, gateway)
}

/// What eight sign-ins are answered; others are served meanwhile.
async fn tries(gateway: &Gateway) -> Vec<Answer> {
    let people: Vec<_> = (0..8).map(|_| Person::new()).collect();
    let all = futures::future::join_all(people.iter().map(|person| send(gateway, person, "bob", "x")));
    let mut served = 0;
    let others = async {
        loop {
            Person::new().open(&gateway.url("/public")).await.expect(200);
            served += 1;
        }
    };
    let answers = tokio::select! {
        answers = all => answers,
        () = others => Vec::new(),
    };
    assert!(served > 0);
    answers
}

#[tokio::test]
async fn no_answer_of_a_directory_takes_others_their_turn_or_the_gateway_its_memory() {
    let (liar, _app, gateway) = scene("group_base_dn = 'ou=groups,dc=x'\n").await;
    gateway.ready().await;
    send(&gateway, &Person::new(), "bob", "x").await.expect(200);
    let before = gateway.resident_bytes();
    for (lie, reason) in [
        (Lie::ManyAttributes, "DW-6204"),
        (Lie::EmptyValues, "DW-6204"),
        (Lie::References, "DW-6204"),
        (Lie::SlowReferences, "DW-6201"),
    ] {
        liar.tells(lie);
        for answer in tries(&gateway).await {
            assert_eq!((answer.status, answer.reason().as_str()), (503, reason), "{lie:?}");
        }
        let grown = gateway.resident_bytes().saturating_sub(before);
        assert!(grown < 128 << 20, "{lie:?}: {grown}");
    }
    liar.tells(Lie::None);
    send(&gateway, &Person::new(), "bob", "x").await.expect(200);
}

#[tokio::test]
async fn who_answers_the_wish_for_tls_at_length_is_not_read() {
    let (liar, _app, gateway) = scene("start_tls = true\n").await;
    liar.tells(Lie::HugeStartTls);
    for answer in tries(&gateway).await {
        assert_eq!((answer.status, answer.reason().as_str()), (503, "DW-6204"));
    }
    assert!(liar.lied() > 0);
    gateway.log_line(&["longer than any that was asked for"]).await;
}
