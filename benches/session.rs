//! The session path of a request, by parts and whole: open the cookie, decide, write the headers.
//!
//! `cargo bench --bench session`. Times on a noisy machine are for comparing parts with each other; what the gateway
//! costs beside plain proxying is measured by `benches/load.py`.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use doorward::authn::{SessionRules, Verdict};
use doorward::authz::Rules;
use doorward::canonical::CanonicalPath;
use doorward::config::model;
use doorward::config::values::Secret;
use doorward::identity::{Authentication, Claims, Identity};
use doorward::identity_headers::IdentityHeaders;
use doorward::keys::Keyring;
use doorward::session::Session;
use doorward::session::cookies::Cookies;
use doorward::session::ended::Ended;
use http::{HeaderMap, HeaderValue, header};

const NOW: u64 = 1_800_000_000;

fn session(groups: usize) -> Session {
    let identity = Identity {
        provider: "main".into(),
        subject: "7b1f3c1e-55aa-4b1e-9f3d-0c5b8d1e2a77".into(),
        user: "ada".into(),
        email: Some("ada@example.com".into()),
        email_verified: Some(true),
        preferred_username: Some("ada".into()),
        name: Some("Ada Lovelace".into()),
        groups: Some((0..groups).map(|n| format!("team-{n:03}")).collect()),
        claims: Claims::default(),
    };
    Session {
        id: "R3FtZ0xhY2tXb3Jkc0Zvcg".into(),
        signed_in_at: NOW - 60,
        last_used: NOW - 10,
        identity,
        authentication: Authentication::default(),
        tokens: None,
    }
}

fn benches(c: &mut Criterion) {
    let keys = Keyring::new(&[Secret::new("a secret of the bench, 32 characters")]).expect("one secret");
    let limits = model::Session::default();
    let cookies = Cookies::new(&limits, &"https://app.example.com".parse().expect("url"));
    let headers = IdentityHeaders::new(&model::Headers::default());
    let rules = Rules::new(&model::Allow { groups: vec!["team-002".into()], ..Default::default() }).expect("rules");
    for groups in [5, 200] {
        let sealed = session(groups).seal(&keys, cookies.sealed_for(), 64 * 1024).expect("sealed");
        let set = cookies.store_session(&sealed, &HeaderMap::new());
        let pairs: Vec<_> = set.iter().map(|v| v.to_str().expect("text").split(';').next().expect("pair")).collect();
        let field = format!("theme=dark; _ga=GA1.1.1234567.7654321; {}", pairs.join("; "));
        let mut request = HeaderMap::new();
        request.insert(header::COOKIE, HeaderValue::from_str(&field).expect("value"));
        let ended = Ended::new(limits.absolute.0);
        let judge = SessionRules {
            cookies: &cookies,
            keys: &keys,
            limits: &limits,
            ended: Some(&ended),
            restore: false,
            counted: true,
        };
        let person = session(groups).identity;
        let name = |part: &str| format!("{part}, {groups} groups, cookie of {} bytes", sealed.len());
        c.bench_function(&name("find the cookie"), |b| b.iter(|| cookies.find_session(black_box(&request))));
        c.bench_function(&name("open the session"), |b| {
            b.iter(|| Session::open(&keys, cookies.sealed_for(), black_box(sealed.as_bytes())));
        });
        c.bench_function(&name("judge the rules"), |b| b.iter(|| rules.judge(black_box(&person))));
        c.bench_function(&name("make the headers"), |b| b.iter(|| headers.of(black_box(&person))));
        c.bench_function(&name("the whole session path"), |b| {
            b.iter(|| {
                let Verdict::Known(session) = judge.judge(black_box(&request), NOW, |_| true) else {
                    panic!("no session")
                };
                assert_eq!(rules.judge(&session.identity), doorward::authz::Verdict::Allow);
                headers.of(&session.identity).expect("headers")
            });
        });
    }
    c.bench_function("the canonical path", |b| {
        b.iter(|| CanonicalPath::parse(black_box(b"/api/v1/projects/alpha/runs/42")))
    });
}

criterion_group!(session_path, benches);
criterion_main!(session_path);
