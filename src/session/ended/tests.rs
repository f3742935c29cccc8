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

/// With these limits for each place, and room for two sessions that were seen.
fn with_room(absolute: Duration, all: [usize; PLACES.len()]) -> Ended {
    Ended::with_room(absolute, all.map(|all| Limit { all, of_one_owner: usize::MAX }), 1)
}

fn by_sid(session: &str) -> Mark<'_> {
    Mark::ProviderSession { provider: "main", session, subject: None }
}

fn by_browser(session: &str) -> Mark<'_> {
    Mark::FrontChannel { provider: "main", session, from: None }
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
        (Mark::FrontChannel { provider: "mai", session: "ns1", from: None }, [None; 5]),
    ];
    for (mark, expected) in table {
        let ended = Ended::new(DAY);
        assert_eq!(ended.ended(&mine, NOW), None);
        ended.end(mark, NOW);
        let got = [&mine, &other, &berta, &bare, &abroad].map(|session| ended.ended(session, NOW));
        assert_eq!(got, expected, "{mark:?}");
    }
}

#[test]
fn a_session_made_after_the_mark_lives_and_one_of_the_same_second_does_not() {
    for mark in [by_sid("s"), by_browser("s"), Mark::Subject { provider: "main", subject: "anna" }] {
        let ended = Ended::new(DAY);
        ended.end(mark, NOW);
        for (signed_in_at, is_over) in [(NOW - 86_000, true), (NOW, true), (NOW + 1, false)] {
            let got = ended.ended(&session("anna", Some("s"), signed_in_at), NOW).is_some();
            assert_eq!(got, is_over, "{mark:?} {signed_in_at}");
        }
        // Said again it ends what was made meanwhile, and an older word changes nothing.
        ended.end(mark, NOW + 5);
        ended.end(mark, NOW + 2);
        assert!(ended.ended(&session("anna", Some("s"), NOW + 5), NOW).is_some());
    }
    // Who signed out of a session signed out of it, whatever the clock of the replica that made it says.
    let ended = Ended::new(DAY);
    let ahead = session("anna", None, NOW + 60);
    ended.end(Mark::SignedOut { id: &ahead.id }, NOW);
    assert_eq!(ended.ended(&ahead, NOW), Some(Ending::SignedOut));
}

#[test]
fn a_mark_is_kept_as_long_as_a_session_can_live_and_no_longer() {
    let ended = Ended::new(DAY);
    let mine = session("anna", Some("s"), NOW);
    ended.end(by_sid("s"), NOW);
    ended.sweep(NOW + 86_400);
    assert!(ended.ended(&mine, NOW).is_some());
    ended.sweep(NOW + 86_400 + CLOCK_TOLERANCE);
    assert_eq!((ended.ended(&mine, NOW), ended.all.load(Relaxed), ended.marks.len()), (None, 0, 0));
}

#[test]
fn a_flood_from_browsers_pushes_out_nothing_but_what_browsers_said() {
    let ended = with_room(DAY, [3, 4, 4, 2]);
    let (told, signed_out) = (session("anna", Some("s"), NOW), session("berta", None, NOW));
    ended.end(by_sid("s"), NOW);
    ended.end(Mark::SignedOut { id: &signed_out.id }, NOW);
    ended.end(by_browser("first"), NOW);
    for n in 0..1000 {
        ended.end(by_browser(&n.to_string()), NOW + 1);
    }
    assert_eq!(ended.ended(&told, NOW), Some(Ending::BackChannel));
    assert_eq!(ended.ended(&signed_out, NOW), Some(Ending::SignedOut));
    assert_eq!(ended.ended(&session("carla", Some("first"), NOW), NOW), None, "the oldest gave way");
    assert_eq!(ended.ended(&session("carla", None, NOW), NOW), None, "nobody else ended");
    assert_eq!((ended.marks.len(), ended.all.load(Relaxed)), (4, 4));
}

#[test]
fn without_room_everything_as_old_as_the_forgotten_has_ended() {
    let ended = with_room(DAY, [2, 3, 3, 2]);
    for n in 0..10 {
        ended.end(by_sid(&format!("s{n}")), NOW + n);
    }
    // s0 to s6 gave way: their sessions stay ended, with those of others of their age.
    for n in 0..10 {
        assert!(ended.ended(&session("anna", Some(&format!("s{n}")), NOW + n), NOW).is_some(), "s{n}");
    }
    assert!(ended.ended(&session("berta", Some("never"), NOW + 6), NOW).is_some());
    assert_eq!(ended.ended(&session("berta", Some("never"), NOW + 7), NOW), None);
    let mut abroad = session("berta", Some("never"), NOW);
    abroad.identity.provider = "other".into();
    assert_eq!(ended.ended(&abroad, NOW), None, "another provider's sessions have not");
    assert_eq!(ended.marks.len(), 3);
    ended.sweep(NOW + 6 + 86_400 + CLOCK_TOLERANCE);
    assert!(ended.floors.load().is_empty());
}

#[test]
fn the_same_word_again_and_again_takes_one_place() {
    let ended = with_room(DAY, [2, 3, 3, 2]);
    ended.end(by_sid("kept"), NOW);
    for n in 0..1000 {
        ended.end(by_sid("again"), NOW + n);
    }
    assert_eq!(ended.marks.len(), 2);
    assert!(ended.floors.load().is_empty());
    assert!(ended.ended(&session("anna", Some("kept"), NOW), NOW).is_some());
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
    let ended = with_room(Duration::from_secs(lifetime), [5, 7, 7, 3]);
    let mut over: Vec<Session> = Vec::new();
    let mut now = NOW;
    for _ in 0..5000 {
        now += chance(3);
        let (subject, sid) = (format!("u{}", chance(20)), format!("s{}", chance(200)));
        let mine = session(&subject, Some(&sid), now - chance(lifetime));
        let _ = match chance(5) {
            0 => ended.end(Mark::Subject { provider: "main", subject: &subject }, now),
            1 => ended.end(by_browser(&sid), now),
            2 => {
                ended.sweep(now);
                true
            }
            _ => ended.end(Mark::ProviderSession { provider: "main", session: &sid, subject: None }, now),
        };
        if ended.ended(&mine, NOW) == Some(Ending::BackChannel) {
            over.push(mine);
        }
        over.retain(|session| session.signed_in_at + lifetime > now);
        for session in &over {
            assert_eq!(ended.ended(session, NOW), Some(Ending::BackChannel), "{session:?} at {now}");
        }
        assert!(ended.marks.len() <= 15);
    }
    assert!(!over.is_empty());
}

#[test]
fn strangers_push_out_no_frame_of_a_session_that_was_seen() {
    let limits = [3, 4, 4, 6].map(|all| Limit { all, of_one_owner: usize::MAX });
    let limits = [limits[0], limits[1], limits[2], Limit { of_one_owner: 3, ..limits[3] }];
    let ended = Ended::with_room(DAY, limits, 10);
    let (seen, unseen) = (session("anna", Some("seen"), NOW), session("berta", Some("unseen"), NOW));
    ended.saw(&seen);
    fn from(last: u8, session: &str) -> Mark<'_> {
        Mark::FrontChannel { provider: "main", session, from: Some([192, 0, 2, last].into()) }
    }
    assert!(ended.end(from(1, "seen"), NOW), "there is such a session");
    assert!(!ended.end(from(1, "unseen"), NOW), "there may be none");
    for n in 0..1000 {
        let made_up = n.to_string();
        ended.end(from(2, &made_up), NOW + 1);
    }
    assert_eq!(ended.ended(&seen, NOW), Some(Ending::FrontChannel));
    assert_eq!(ended.ended(&unseen, NOW), Some(Ending::FrontChannel), "one address has room for its own marks only");
    assert_eq!(ended.marks.len(), 1 + 1 + 3);
    // Repeating the mark of another gets nobody hold of it.
    ended.end(from(2, "unseen"), NOW + 2);
    for n in 0..1000 {
        let made_up = n.to_string();
        ended.end(from(2, &made_up), NOW + 3);
    }
    assert!(ended.ended(&unseen, NOW).is_some());
    // Many addresses together push out what nobody has seen, and nothing else.
    for n in 0..100 {
        for made_up in [format!("{n}-"), format!("{n}+")] {
            ended.end(from(n, &made_up), NOW + 4);
        }
    }
    assert_eq!(ended.ended(&unseen, NOW), None);
    assert_eq!(ended.ended(&seen, NOW), Some(Ending::FrontChannel));
}

#[test]
fn a_provider_with_many_logouts_takes_no_room_from_another() {
    let ended = with_room(DAY, [2, 10, 3, 2]);
    fn of<'a>(provider: &'a str, session: &'a str) -> Mark<'a> {
        Mark::ProviderSession { provider, session, subject: None }
    }
    let mut theirs = session("berta", Some("theirs"), NOW);
    theirs.identity.provider = "small".into();
    ended.end(of("small", "theirs"), NOW);
    for n in 0..1000 {
        let one = n.to_string();
        ended.end(of("main", &one), NOW + 1 + n);
    }
    assert_eq!(ended.ended(&theirs, NOW), Some(Ending::BackChannel));
    assert_eq!(ended.floors.load().keys().map(|name| &**name).collect::<Vec<_>>(), ["main"]);
    let bystander = Session {
        identity: Identity { subject: "carla".into(), ..theirs.identity.clone() },
        authentication: Authentication { provider_session: Some("other".into()), ..Default::default() },
        ..theirs
    };
    assert_eq!(ended.ended(&bystander, NOW), None, "no floor is raised for a provider that has room");
}

#[test]
fn a_replaced_session_goes_on_for_a_moment_and_a_sign_out_ends_it_at_once() {
    let ended = Ended::new(DAY);
    let (first, second) = (session("anna", None, NOW), session("berta", None, NOW));
    for session in [&first, &second] {
        assert!(!ended.is_replaced(session));
        ended.end(Mark::Replaced { id: &session.id }, NOW);
        assert!(ended.is_replaced(session));
    }
    assert_eq!(ended.ended(&first, NOW + GRACE - 1), None);
    assert_eq!(ended.ended(&first, NOW + GRACE), Some(Ending::Replaced));
    // Another tab that comes back with the old cookie buys it no more time than that.
    ended.end(Mark::Replaced { id: &first.id }, NOW + 5);
    assert_eq!(ended.ended(&first, NOW + GRACE), Some(Ending::Replaced));
    ended.end(Mark::SignedOut { id: &second.id }, NOW + 1);
    assert_eq!(ended.ended(&second, NOW + 1), Some(Ending::SignedOut));
}

#[test]
fn what_has_ended_stays_ended_when_sessions_may_live_longer() {
    let hour = Duration::from_secs(3600);
    let ended = Ended::new(hour);
    let (forgotten, kept) = (session("anna", Some("s1"), NOW), session("anna", Some("s2"), NOW + 7000));
    ended.end(by_sid("s1"), NOW);
    ended.end(by_sid("s2"), NOW + 7000);
    let now = NOW + 7200;
    ended.sweep(now);
    assert_eq!(ended.marks.len(), 1, "the first had expired");
    ended.live_for(DAY, now);
    assert_eq!(ended.ended(&forgotten, now), Some(Ending::Expired));
    // What had not expired is judged by its mark, which is kept for as long as it has to be now.
    assert_eq!(ended.ended(&session("berta", None, NOW + 3601), now), None);
    ended.sweep(NOW + 7000 + 86_400);
    assert_eq!(ended.ended(&kept, now), Some(Ending::BackChannel));
    ended.sweep(NOW + 7000 + 86_400 + CLOCK_TOLERANCE);
    assert_eq!((ended.marks.len(), ended.all.load(Relaxed)), (0, 0));
    // Shorter and longer again: a mark is not needed for longer than the shorter one allows.
    ended.live_for(hour, now);
    assert_eq!(ended.expired.load(Relaxed), 0);
}
