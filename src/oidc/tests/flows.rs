//! Implicit and hybrid flow, and what one sign-in asks for that another does not.

use serde_json::{Value, json};

use super::support::{Answer, Fake, NOW, Signer, base64url, claims, granted, now, ready};
use crate::config::model::ResponseMode::{FormPost, Query};
use crate::oidc::{Attempt, Begun, Provider, SignedIn, Wish};
use crate::reason::{Failure, Reason};

const IMPLICIT: &str = "auth_method = 'implicit'\n";
const HYBRID: &str = "auth_method = 'hybrid'\n";

fn asked(begun: &Begun, name: &str) -> Option<String> {
    begun.authorization_url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

/// A proper ID token of this attempt with `changes`.
fn id_token(fake: &Fake, signer: &Signer, attempt: &Attempt, changes: Value) -> String {
    let mut claims = claims(&fake.issuer);
    claims["nonce"] = json!(attempt.nonce);
    for (name, value) in changes.as_object().expect("an object") {
        claims[name] = value.clone();
    }
    signer.sign(&claims)
}

fn half(text: &str) -> String {
    base64url(&ring::digest::digest(&ring::digest::SHA256, text.as_bytes()).as_ref()[..16])
}

fn reason(outcome: Result<SignedIn, Failure>) -> Result<(), Reason> {
    outcome.map(drop).map_err(|failure| failure.reason)
}

#[tokio::test]
async fn the_implicit_flow_asks_for_an_id_token_and_for_nobody_else() {
    let signer = Signer::new("k");
    let fake = Fake::start(&signer).await;
    let provider = ready(&fake, IMPLICIT).await;
    let begun = provider.begin("/", "a", now()).expect("begun");
    assert_eq!(asked(&begun, "response_type").as_deref(), Some("id_token"));
    assert_eq!(asked(&begun, "response_mode").as_deref(), Some("form_post"));
    assert!(asked(&begun, "nonce").is_some() && asked(&begun, "code_challenge").is_none());
    // An `at_hash` is of a token that is not there to compare.
    let token = id_token(&fake, &signer, &begun.attempt, json!({ "at_hash": "x", "email": "a@b.example" }));
    let signed_in = provider.complete(&begun.attempt, &granted(None, Some(&token), FormPost), now()).await;
    let signed_in = signed_in.expect("signed in");
    assert_eq!(signed_in.identity.email.as_deref(), Some("a@b.example"));
    assert_eq!(signed_in.id_token.as_deref(), Some(token.as_str()));
    assert!(signed_in.access_token.is_none() && signed_in.refresh_token.is_none());
    assert_eq!(signed_in.tokens_expire_at, Some(NOW + 300));
    assert!(fake.seen("/token").is_empty() && fake.seen("/userinfo").is_empty());
}

#[tokio::test]
async fn the_hybrid_flow_binds_code_and_tokens_together() {
    use Reason::*;
    let signer = Signer::new("k");
    let fake = Fake::start(&signer).await;
    let provider = ready(&fake, HYBRID).await;
    let front = |c_hash: Value| json!({ "c_hash": c_hash, "email": "front@b.example" });
    let table = [
        (front(json!(half("the-code"))), json!({ "email": "back@b.example" }), Ok(())),
        (front(json!(half("another"))), json!({}), Err(IdTokenHash)),
        (front(json!("")), json!({}), Err(IdTokenHash)),
        (front(json!(7)), json!({}), Err(IdTokenForm)),
        (json!({}), json!({}), Err(IdTokenHash)),
        (front(json!(half("the-code"))), json!({ "sub": "u-2" }), Err(IdTokenHash)),
        (front(json!(half("the-code"))), json!({ "nonce": "n" }), Err(IdTokenNonce)),
        (front(json!(half("the-code"))), json!({ "at_hash": half("another") }), Err(IdTokenHash)),
    ];
    for (posted, redeemed, wanted) in table {
        let begun = provider.begin("/", "a", now()).expect("begun");
        assert_eq!(asked(&begun, "response_type").as_deref(), Some("code id_token"));
        assert_eq!(asked(&begun, "code_challenge_method").as_deref(), Some("S256"));
        let token = id_token(&fake, &signer, &begun.attempt, posted.clone());
        let back = id_token(&fake, &signer, &begun.attempt, redeemed.clone());
        fake.set("/token", Answer::json(json!({ "access_token": "a", "token_type": "Bearer", "id_token": back })));
        let before = fake.seen("/token").len();
        let outcome =
            provider.complete(&begun.attempt, &granted(Some("the-code"), Some(&token), FormPost), now()).await;
        if let Ok(signed_in) = &outcome {
            assert_eq!(
                signed_in.identity.email.as_deref(),
                Some("back@b.example"),
                "the token endpoint's claims count"
            );
        }
        assert_eq!(reason(outcome), wanted, "{posted} {redeemed}");
        let asked = fake.seen("/token").len() - before;
        assert_eq!(asked, usize::from(posted["c_hash"] == half("the-code")), "{posted}: no code is redeemed before");
    }
}

#[tokio::test]
async fn what_was_not_asked_for_is_refused_with_expected_and_got() {
    let signer = Signer::new("k");
    let fake = Fake::start(&signer).await;
    for (more, wanted) in [
        ("", "a code in the address"),
        ("response_mode = 'form_post'\n", "a code in a form"),
        (IMPLICIT, "an ID token in a form"),
        (HYBRID, "a code and an ID token in a form"),
    ] {
        let provider = ready(&fake, more).await;
        for (code, token, mode, got) in [
            (Some("c"), None, Query, "a code in the address"),
            (Some("c"), None, FormPost, "a code in a form"),
            (None, Some("t"), FormPost, "an ID token in a form"),
            (None, Some("t"), Query, "an ID token in the address"),
            (Some("c"), Some("t"), FormPost, "a code and an ID token in a form"),
        ] {
            if got == wanted {
                continue;
            }
            let attempt = provider.begin("/", "a", now()).expect("begun").attempt;
            let refused = provider.complete(&attempt, &granted(code, token, mode), now()).await.expect_err(got);
            let detail = format!("expected {wanted}, got {got}");
            assert_eq!((refused.reason, refused.detail), (Reason::ResponseMode, detail));
        }
    }
    assert!(fake.seen("/token").is_empty());
}

#[test]
fn an_attempt_of_an_older_version_asked_for_a_code_in_the_address() {
    let old = r#"{"p":"corp","s":"a.b","n":"n","v":"v","r":"/","t":1}"#;
    let attempt: Attempt = serde_json::from_str(old).expect("an attempt");
    assert!(attempt.check_kind(&granted(Some("c"), None, Query)).is_ok());
    assert_eq!(serde_json::to_string(&attempt).expect("JSON"), old, "and so does a plain one of today");
}

#[tokio::test]
async fn a_wish_is_asked_for_remembered_and_held_against_the_id_token() {
    use Reason::IdTokenAuthentication as Refused;
    let signer = Signer::new("k");
    let fake = Fake::start(&signer).await;
    let provider: std::sync::Arc<Provider> = ready(&fake, &format!("{IMPLICIT}max_age = '1h'\n")).await;
    let gold = Wish { acr_values: vec!["gold".into()], ..Wish::default() };
    let lately = Wish { max_age: Some(600), ..Wish::default() };
    let fresh = Wish { max_age: Some(600), fresh: true, ..Wish::default() };
    let table = [
        (&gold, json!({ "acr": "gold", "auth_time": NOW - 3000 }), Ok(())),
        (&gold, json!({ "acr": "silver", "auth_time": NOW }), Err(Refused)),
        (&gold, json!({ "acr": "gold" }), Err(Refused)),
        (&lately, json!({ "auth_time": NOW - 660 }), Ok(())),
        (&lately, json!({ "auth_time": NOW - 661 }), Err(Refused)),
        (&fresh, json!({ "auth_time": NOW - 60 }), Ok(())),
        (&fresh, json!({ "auth_time": NOW - 61 }), Err(Refused)),
        (&fresh, json!({}), Err(Refused)),
    ];
    for (wish, changes, wanted) in table {
        let begun = provider.begin_with(wish, "/", "a", now()).expect("begun");
        assert_eq!(asked(&begun, "acr_values").as_deref(), wish.acr_values.first().map(String::as_str));
        let age = wish.max_age.unwrap_or(3600).to_string();
        assert_eq!(asked(&begun, "max_age"), Some(age));
        assert_eq!(asked(&begun, "prompt").as_deref(), wish.fresh.then_some("login"));
        // As it lies in the browser meanwhile.
        let kept = serde_json::to_vec(&begun.attempt).expect("JSON");
        let attempt: Attempt = serde_json::from_slice(&kept).expect("an attempt");
        let token = id_token(&fake, &signer, &attempt, changes.clone());
        let outcome = provider.complete(&attempt, &granted(None, Some(&token), FormPost), now()).await;
        assert_eq!(reason(outcome), wanted, "{wish:?} {changes}");
    }
}
