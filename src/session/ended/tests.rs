//! What ends, what lives, and what happens when there is no room.

use super::*;
use crate::identity::{Authentication, Claims, Identity};

const NOW: u64 = 1_800_000_000;
const DAY: Duration = Duration::from_secs(86_400);

fn session(subject: &str, sid: Option<&str>, signed_in_at: u64) -> Session {
    Session {
        id: format!("{subject}-{sid:?}-{signed_in_at}"),
        signed_in_at,
        last_used: signed_in_at,
        identity: Identity {
            provider: "main".into(),
            subject: subject.into(),
            user: subject.into(),
            email: None,
            email_verified: None,
            preferred_username: None,
            name: None,
            groups: None,
            claims: Claims::default(),
        },
        authentication: Authentication { provider_session: sid.map(String::from), ..Default::default() },
        tokens: None,
    }
}

fn by_sid(session: &str) -> Mark<'_> {
    Mark::ProviderSession { provider: "main", session, subject: None }
}

fn by_browser(session: &str) -> Mark<'_> {
    Mark::FrontChannel { provider: "main", session }
}

#[test]
fn each_mark_ends_what_it_names_and_nothing_else() {
    use Ending::*;
    let (mine, other) = (session("anna", Some("s1"), NOW - 10), session("anna", Some("s2"), NOW - 10));
    let (berta, bare) = (session("berta", Some("s3"), NOW - 10), session("anna", None, NOW - 10));
    let abroad = Session {
        identity: Identity { provider: "b".into(), ..mine.identity.clone() },
        id: "x".into(),
        ..mine.clone()
    };
    let table = [
        (Mark::SignedOut { id: &mine.id }, [Some(SignedOut), None, None, None, None]),
        (by_sid("s1"), [Some(BackChannel), None, None, None, None]),
        (
            Mark::ProviderSession { provider: "main", session: "s1", subject: Some("anna") },
            [Some(BackChannel), None, None, Some(BackChannel), None],
        ),
        (
            Mark::Subject { provider: "main", subject: "anna" },
            [Some(BackChannel), Some(BackChannel), None, Some(BackChannel), None],
        ),
        (by_browser("s1"), [Some(FrontChannel), None, None, None, None]),
        // The values are told apart by what they are.
        (Mark::Subject { provider: "main", subject: "s1" }, [None; 5]),
        (Mark::SignedOut { id: "s1" }, [None; 5]),
        (by_sid("anna"), [None; 5]),
        (Mark::FrontChannel { provider: "mai", session: "ns1" }, [None; 5]),
    ];
    for (mark, expected) in table {
        let ended = Ended::new(DAY);
        assert_eq!(ended.ended(&mine), None);
        ended.end(mark, NOW);
        let got = [&mine, &other, &berta, &bare, &abroad].map(|session| ended.ended(session));
        assert_eq!(got, expected, "{mark:?}");
    }
}

#[test]
fn a_session_made_after_the_mark_lives_and_one_of_the_same_second_does_not() {
    for mark in [by_sid("s"), by_browser("s"), Mark::Subject { provider: "main", subject: "anna" }] {
        let ended = Ended::new(DAY);
        ended.end(mark, NOW);
        for (signed_in_at, is_over) in [(NOW - 86_000, true), (NOW, true), (NOW + 1, false)] {
            let got = ended.ended(&session("anna", Some("s"), signed_in_at)).is_some();
            assert_eq!(got, is_over, "{mark:?} {signed_in_at}");
        }
        // Said again it ends what was made meanwhile, and an older word changes nothing.
        ended.end(mark, NOW + 5);
        ended.end(mark, NOW + 2);
        assert!(ended.ended(&session("anna", Some("s"), NOW + 5)).is_some());
    }
    // Who signed out of a session signed out of it, whatever the clock of the replica that made it says.
    let ended = Ended::new(DAY);
    let ahead = session("anna", None, NOW + 60);
    ended.end(Mark::SignedOut { id: &ahead.id }, NOW);
    assert_eq!(ended.ended(&ahead), Some(Ending::SignedOut));
}

#[test]
fn a_mark_is_kept_as_long_as_a_session_can_live_and_no_longer() {
    let ended = Ended::new(DAY);
    let mine = session("anna", Some("s"), NOW);
    ended.end(by_sid("s"), NOW);
    ended.sweep(NOW + 86_400);
    assert!(ended.ended(&mine).is_some());
    ended.sweep(NOW + 86_400 + CLOCK_TOLERANCE);
    assert_eq!((ended.ended(&mine), ended.all.load(Relaxed), ended.marks.len()), (None, 0, 0));
}

#[test]
fn a_flood_from_browsers_pushes_out_nothing_but_what_browsers_said() {
    let ended = Ended::with_room(DAY, [3, 4, 2]);
    let (told, signed_out) = (session("anna", Some("s"), NOW), session("berta", None, NOW));
    ended.end(by_sid("s"), NOW);
    ended.end(Mark::SignedOut { id: &signed_out.id }, NOW);
    ended.end(by_browser("first"), NOW);
    for n in 0..1000 {
        ended.end(by_browser(&n.to_string()), NOW + 1);
    }
    assert_eq!(ended.ended(&told), Some(Ending::BackChannel));
    assert_eq!(ended.ended(&signed_out), Some(Ending::SignedOut));
    assert_eq!(ended.ended(&session("carla", Some("first"), NOW)), None, "the oldest gave way");
    assert_eq!(ended.ended(&session("carla", None, NOW)), None, "nobody else ended");
    assert_eq!((ended.marks.len(), ended.all.load(Relaxed)), (4, 4));
}

#[test]
fn without_room_everything_as_old_as_the_forgotten_has_ended() {
    let ended = Ended::with_room(DAY, [2, 3, 2]);
    for n in 0..10 {
        ended.end(by_sid(&format!("s{n}")), NOW + n);
    }
    // s0 to s6 gave way: their sessions stay ended, with those of others of their age.
    for n in 0..10 {
        assert!(ended.ended(&session("anna", Some(&format!("s{n}")), NOW + n)).is_some(), "s{n}");
    }
    assert!(ended.ended(&session("berta", Some("never"), NOW + 6)).is_some());
    assert_eq!(ended.ended(&session("berta", Some("never"), NOW + 7)), None);
    let mut abroad = session("berta", Some("never"), NOW);
    abroad.identity.provider = "other".into();
    assert_eq!(ended.ended(&abroad), None, "another provider's sessions have not");
    assert_eq!(ended.marks.len(), 3);
    ended.sweep(NOW + 6 + 86_400 + CLOCK_TOLERANCE);
    assert!(ended.floors.load().is_empty());
}

#[test]
fn the_same_word_again_and_again_takes_one_place() {
    let ended = Ended::with_room(DAY, [2, 3, 2]);
    ended.end(by_sid("kept"), NOW);
    for n in 0..1000 {
        ended.end(by_sid("again"), NOW + n);
    }
    assert_eq!(ended.marks.len(), 2);
    assert!(ended.floors.load().is_empty());
    assert!(ended.ended(&session("anna", Some("kept"), NOW)).is_some());
}

/// A few thousand words in an order of chance, into little room: whatever a logout token ended stays ended for as long as
/// its session could live.
#[test]
fn nothing_that_a_logout_token_ended_lives_again() {
    // xorshift64: the same order in every run.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut chance = |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    let lifetime = 100;
    let ended = Ended::with_room(Duration::from_secs(lifetime), [5, 7, 3]);
    let mut over: Vec<Session> = Vec::new();
    let mut now = NOW;
    for _ in 0..5000 {
        now += chance(3);
        let (subject, sid) = (format!("u{}", chance(20)), format!("s{}", chance(200)));
        let mine = session(&subject, Some(&sid), now - chance(lifetime));
        match chance(5) {
            0 => ended.end(Mark::Subject { provider: "main", subject: &subject }, now),
            1 => ended.end(Mark::FrontChannel { provider: "main", session: &sid }, now),
            2 => ended.sweep(now),
            _ => ended.end(Mark::ProviderSession { provider: "main", session: &sid, subject: None }, now),
        }
        if ended.ended(&mine) == Some(Ending::BackChannel) {
            over.push(mine);
        }
        over.retain(|session| session.signed_in_at + lifetime > now);
        for session in &over {
            assert_eq!(ended.ended(session), Some(Ending::BackChannel), "{session:?} at {now}");
        }
        assert!(ended.marks.len() <= 15);
    }
    assert!(!over.is_empty());
}
