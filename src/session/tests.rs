//! Limits of a session, and what survives its sealing.

use super::*;
use crate::config::values::{Period, Secret};
use crate::identity::Claims;

fn session(at: u64) -> Session {
    let identity = Identity {
        provider: "main".into(),
        subject: "s".into(),
        user: "ada".into(),
        email: None,
        email_verified: None,
        preferred_username: None,
        name: None,
        groups: Some(vec!["g".into()]),
        claims: Claims::default(),
    };
    Session {
        id: "id".into(),
        signed_in_at: at,
        last_used: at,
        identity,
        authentication: Authentication::default(),
        tokens: None,
    }
}

fn limits(idle: u64, absolute: u64) -> model::Session {
    model::Session { idle: Period::seconds(idle), absolute: Period::seconds(absolute), ..Default::default() }
}

#[test]
fn a_session_ends_by_idleness_and_by_age() {
    let limits = limits(100, 1000);
    let mut s = session(10_000);
    let reason = |s: &Session, now| s.check(&limits, now).map_err(|f| f.reason);
    assert_eq!(reason(&s, 10_099), Ok(()));
    assert_eq!(reason(&s, 10_100), Err(Reason::SessionIdle));
    s.last_used = 10_950;
    assert_eq!(reason(&s, 10_999), Ok(()));
    assert_eq!(reason(&s, 11_000), Err(Reason::SessionExpired));
    assert_eq!(reason(&s, 9_900), Ok(()), "clocks of replicas differ a little");
    assert_eq!(reason(&s, 9_000), Err(Reason::SessionExpired));
}

#[test]
fn use_is_noted_in_grains() {
    let limits = limits(80, 1000);
    let mut s = session(0);
    assert!(!s.note_use(&limits, 10));
    assert!(s.note_use(&limits, 11));
    assert_eq!(s.last_used, 11);
    assert!(!s.note_use(&limits, 12));
}

#[test]
fn a_session_survives_sealing_and_a_large_one_is_named() {
    let keys = Keyring::new(&[Secret::new("x".repeat(32))]).expect("keys");
    let mut s = session(5);
    s.tokens = Some(Tokens { refresh_token: "r".into(), expire_at: 9, renewed: 0, nonce: None });
    let sealed = s.seal(&keys, "doorward", 4096).expect("sealed");
    assert_eq!(Session::open(&keys, "doorward", sealed.as_bytes()), Ok(s.clone()));
    assert_eq!(Session::open(&keys, "other", sealed.as_bytes()).map_err(|f| f.reason), Err(Reason::SessionUnreadable));
    s.identity.groups = Some((0..1000).map(|n| format!("group-{n}")).collect());
    assert_eq!(s.seal(&keys, "doorward", 4096).map_err(|f| f.reason), Err(Reason::SessionTooLarge));
}

#[test]
fn tokens_do_not_show_in_debug_output() {
    let tokens = Tokens { refresh_token: "hunter2".into(), expire_at: 9, renewed: 0, nonce: None };
    assert!(!format!("{tokens:?}").contains("hunter2"));
}
