//! ID tokens that are not what they seem (threats C, second half).

use std::time::Instant;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::support::app::App;
use crate::support::forger::{Attempt, Forger, Key, now, tokens, trip, unsigned};
use crate::support::gateway::Gateway;
use crate::support::person::Person;

struct Forged {
    forger: Forger,
    gateway: Gateway,
    _app: App,
}

impl Forged {
    async fn new() -> Self {
        Self::with("").await
    }

    async fn with(keys: &str) -> Self {
        let (forger, app) = (Forger::start().await, App::start().await);
        let gateway = forger.gateway(&app.url(), keys).await;
        Forged { forger, gateway, _app: app }
    }

    /// Signs in with what the forger says now, and sees that it is refused for this reason.
    async fn refused(&self, why: &str, reasons: &[&str]) {
        let person = Person::new();
        let answer = trip(&person, &self.gateway).await;
        assert!(reasons.contains(&answer.reason().as_str()), "{why}: {} {}", answer.status, answer.text());
        assert!(answer.status >= 400, "{why}: {}", answer.status);
        assert!(person.session().is_empty(), "{why}: a session was made");
        // The words for admins are in the log, and the reference on the page finds them.
        self.gateway.log_line(&[&answer.reason(), &answer.reference()]).await;
    }

    async fn accepted(&self, why: &str) {
        let person = Person::new();
        let answer = trip(&person, &self.gateway).await;
        assert!(answer.location().is_some(), "{why}: {} {}", answer.status, answer.text());
        assert!(!person.session().is_empty(), "{why}");
    }

    /// Each of these changes to the claims is refused.
    async fn claims_refused(&self, reasons: &[&str], cases: Vec<(&'static str, Value)>) {
        for (why, change) in cases {
            self.forger.claims(move |claims| apply(claims, &change));
            self.refused(why, reasons).await;
        }
    }
}

/// Sets the claims of `change`; null takes one away, `{"null": true}` sets it to null.
fn apply(claims: &mut Value, change: &Value) {
    for (name, value) in change.as_object().expect("an object") {
        if value.is_null() {
            claims.as_object_mut().expect("an object").remove(name);
        } else {
            claims[name] = if value["null"] == true { Value::Null } else { value.clone() };
        }
    }
}

#[tokio::test]
async fn an_unsigned_id_token_is_refused_however_none_is_written() {
    let forged = Forged::new().await;
    for alg in ["none", "None", "NONE", "nOnE", "", " none"] {
        for signature in ["", "x", "AAAA"] {
            forged
                .forger
                .forges(move |attempt, _| format!("{}.{signature}", unsigned(&json!({"alg": alg}), &attempt.claims())));
            forged.refused(alg, &["DW-3302", "DW-3301"]).await;
        }
    }
    forged.forger.forges(|attempt, key| {
        let token = key.token(&attempt.claims());
        token.rsplit_once('.').expect("a signature").0.to_owned() + "."
    });
    forged.refused("the signature cut off", &["DW-3301", "DW-3303"]).await;
}

#[tokio::test]
async fn the_public_key_is_no_secret_to_sign_with() {
    let forged = Forged::new().await;
    for kid in [Some("key-1"), None] {
        for (alg, algorithm) in
            [("HS256", ring::hmac::HMAC_SHA256), ("HS384", ring::hmac::HMAC_SHA384), ("HS512", ring::hmac::HMAC_SHA512)]
        {
            forged.forger.forges(move |attempt, key| {
                let mut header = json!({"alg": alg});
                if let Some(kid) = kid {
                    header["kid"] = kid.into();
                }
                let text = unsigned(&header, &attempt.claims());
                let tag = ring::hmac::sign(&ring::hmac::Key::new(algorithm, &key.public_bytes()), text.as_bytes());
                format!("{text}.{}", URL_SAFE_NO_PAD.encode(tag))
            });
            forged.refused(alg, &["DW-3302"]).await;
        }
    }
}

#[tokio::test]
async fn the_algorithm_comes_from_the_key_and_not_from_the_token() {
    let forged = Forged::new().await;
    for alg in ["RS256", "PS256", "ES384", "EdDSA", "ES256K", "es256", "A256GCM", "dir"] {
        forged.forger.forges(move |attempt, key| key.sign(&json!({"alg": alg, "kid": key.kid}), &attempt.claims()));
        forged.refused(alg, &["DW-3302", "DW-3303", "DW-3304", "DW-3301"]).await;
    }
    for header in [json!({}), json!({"alg": null}), json!({"alg": 256}), json!({"alg": ["ES256"]})] {
        let shown = header.to_string();
        forged.forger.forges(move |attempt, key| key.sign(&header, &attempt.claims()));
        forged.refused(&shown, &["DW-3301", "DW-3302"]).await;
    }
}

#[tokio::test]
async fn a_token_of_another_key_is_refused_whatever_it_brings_along() {
    let forged = Forged::new().await;
    let header = |key: &Key, extra: Value| {
        let mut header = json!({"alg": "ES256", "kid": "key-1"});
        header["jwk"] = key.jwk();
        apply(&mut header, &extra);
        header
    };
    for extra in [
        json!({"jwk": null}),
        json!({}),
        json!({"kid": null}),
        json!({"jku": "http://127.0.0.2:1/jwks", "jwk": null}),
        json!({"x5u": "http://127.0.0.2:1/cert", "jwk": null}),
        json!({"kid": "../../../dev/null", "jwk": null}),
        json!({"kid": "", "jwk": null}),
        json!({"kid": 1, "jwk": null}),
    ] {
        let shown = extra.to_string();
        forged.forger.forges(move |attempt, _| {
            let mine = Key::new("key-1");
            mine.sign(&header(&mine, extra.clone()), &attempt.claims())
        });
        forged.refused(&shown, &["DW-3303", "DW-3304", "DW-3301"]).await;
    }
}

#[tokio::test]
async fn a_changed_token_is_refused() {
    let forged = Forged::new().await;
    forged.forger.forges(|attempt, key| {
        let token = key.token(&attempt.claims());
        let parts: Vec<&str> = token.split('.').collect();
        let mut claims = attempt.claims();
        claims["sub"] = "admin".into();
        format!("{}.{}.{}", parts[0], URL_SAFE_NO_PAD.encode(claims.to_string()), parts[2])
    });
    forged.refused("other claims under the same signature", &["DW-3303"]).await;
    forged.forger.forges(|attempt, key| {
        let token = key.token(&attempt.claims());
        let (text, _) = token.rsplit_once('.').expect("a signature");
        // An ECDSA signature of zeros passed in verifiers that did not check its range (CVE-2022-21449).
        format!("{text}.{}", URL_SAFE_NO_PAD.encode([0; 64]))
    });
    forged.refused("a signature of zeros", &["DW-3303"]).await;
}

#[tokio::test]
async fn a_token_for_another_client_is_refused() {
    let forged = Forged::new().await;
    forged
        .claims_refused(
            &["DW-3306", "DW-3301"],
            vec![
                ("another", json!({"aud": "other-client"})),
                ("none", json!({"aud": null})),
                ("null", json!({"aud": {"null": true}})),
                ("empty list", json!({"aud": []})),
                ("others", json!({"aud": ["other-client", "third"]})),
                ("a part of the name", json!({"aud": "the-clien"})),
                ("in another case", json!({"aud": "The-Client"})),
                ("one more that is not trusted", json!({"aud": ["the-client", "other"]})),
                ("number", json!({"aud": 1})),
                ("object", json!({"aud": {"the-client": true}})),
                ("list in a list", json!({"aud": [["the-client"]]})),
                ("azp of another", json!({"azp": "other-client"})),
                ("azp of another in a list", json!({"aud": ["the-client"], "azp": "other-client"})),
            ],
        )
        .await;
    forged.forger.claims(|claims| apply(claims, &json!({"aud": ["the-client"]})));
    forged.accepted("a list of one").await;
    let trusting = Forged::with("trusted_audiences = [\"api\"]").await;
    trusting.forger.claims(|claims| apply(claims, &json!({"aud": ["the-client", "api"], "azp": "the-client"})));
    trusting.accepted("another that is trusted").await;
}

#[tokio::test]
async fn a_token_of_another_issuer_is_refused() {
    let forged = Forged::new().await;
    let issuer = forged.forger.issuer.clone();
    forged
        .claims_refused(
            &["DW-3305", "DW-3301"],
            vec![
                ("another", json!({"iss": "http://evil.test"})),
                ("with a slash", json!({"iss": format!("{issuer}/")})),
                ("in capitals", json!({"iss": issuer.to_uppercase()})),
                ("with a path", json!({"iss": format!("{issuer}/x")})),
                ("none", json!({"iss": null})),
                ("empty", json!({"iss": ""})),
                ("list", json!({"iss": [issuer]})),
            ],
        )
        .await;
}

#[tokio::test]
async fn a_token_of_another_sign_in_is_refused() {
    let forged = Forged::new().await;
    forged
        .claims_refused(
            &["DW-3308", "DW-3301"],
            vec![
                ("no nonce", json!({"nonce": null})),
                ("empty nonce", json!({"nonce": ""})),
                ("another nonce", json!({"nonce": "n-0S6_WzA2Mj"})),
                ("null", json!({"nonce": {"null": true}})),
                ("a number", json!({"nonce": 7})),
                ("a list", json!({"nonce": ["n"]})),
            ],
        )
        .await;
    // The right token of a sign-in before this one.
    let before = std::sync::Mutex::new(None::<Attempt>);
    forged.forger.forges(move |attempt, key| {
        let mut before = before.lock().expect("before");
        key.token(&before.get_or_insert_with(|| attempt.clone()).claims())
    });
    forged.accepted("the first").await;
    forged.refused("the first one's token again", &["DW-3308"]).await;
}

#[tokio::test]
async fn a_token_is_valid_only_now_and_its_times_are_numbers() {
    let forged = Forged::new().await;
    let n = now();
    forged
        .claims_refused(
            &["DW-3307", "DW-3301"],
            vec![
                ("expired", json!({"exp": n - 3600})),
                ("expired beyond the leeway", json!({"exp": n - 120})),
                ("no exp", json!({"exp": null})),
                ("exp null", json!({"exp": {"null": true}})),
                ("exp as text", json!({"exp": format!("{}", n + 600)})),
                ("exp true", json!({"exp": true})),
                ("exp list", json!({"exp": [n + 600]})),
                ("exp object", json!({"exp": {}})),
                ("exp negative", json!({"exp": -1})),
                ("exp zero", json!({"exp": 0})),
                ("no iat", json!({"iat": null})),
                ("iat as text", json!({"iat": "now"})),
                ("iat in an hour", json!({"iat": n + 3600})),
                ("nbf in an hour", json!({"nbf": n + 3600})),
                ("nbf as text", json!({"nbf": "soon"})),
            ],
        )
        .await;
    // Numbers that are dates for no clock: refused or valid, never a crash or an overflow.
    for exp in ["1e300", "-1e300", "1e19", "18446744073709551616", "9223372036854775807", "9223372036854775808"] {
        forged.forger.forges(move |attempt, key| raw_claim(attempt, key, "exp", exp));
        let answer = trip(&Person::new(), &forged.gateway).await;
        assert!(
            answer.location().is_some() || ["DW-3307", "DW-3301"].contains(&answer.reason().as_str()),
            "{exp}: {}",
            answer.text()
        );
    }
    // Counted from when the token is made: the leeway is a minute, and all of the above may have taken that long.
    for (claim, apart, why) in [("exp", -20, "just expired"), ("iat", 20, "from a clock ahead")] {
        forged.forger.claims(move |claims| claims[claim] = json!(now() + apart));
        forged.accepted(why).await;
    }
    forged.forger.claims(|claims| claims["exp"] = json!(now() as f64 + 600.5));
    let answer = trip(&Person::new(), &forged.gateway).await;
    assert!(answer.location().is_some() || answer.reason() == "DW-3301", "a fraction: {}", answer.text());
    assert!(forged.gateway.exited().is_none());
}

/// A signed token in which `name` is this JSON text, to the letter.
fn raw_claim(attempt: &Attempt, key: &Key, name: &str, text: &str) -> String {
    let mut claims = attempt.claims();
    claims[name] = json!("@@");
    key.sign_raw(&claims.to_string().replace("\"@@\"", text))
}

#[tokio::test]
async fn clocks_two_minutes_apart_are_named_with_their_difference() {
    let forged = Forged::new().await;
    forged.forger.claims(|claims| {
        let n = now();
        apply(claims, &json!({"iat": n - 720, "exp": n - 120}));
    });
    forged.refused("two minutes late", &["DW-3307"]).await;
    let line = forged.gateway.log_line(&["DW-3307", " access "]).await;
    // Two minutes, more or less by what the way there and back takes.
    let apart: u64 = line.split("`exp` is ").nth(1).and_then(|rest| rest.split(' ').next()?.parse().ok()).unwrap_or(0);
    assert!((90..150).contains(&apart), "how far apart they are: {line}");
    let lenient = Forged::with("leeway = \"5m\"").await;
    lenient.forger.claims(|claims| apply(claims, &json!({"exp": now() - 120})));
    lenient.accepted("within a leeway of five minutes").await;
}

#[tokio::test]
async fn what_a_header_marks_as_critical_is_not_ignored() {
    let forged = Forged::new().await;
    for crit in [json!(["exp"]), json!(["b64"]), json!(["http://x.test/unknown"]), json!([]), json!("b64")] {
        let shown = crit.to_string();
        forged.forger.forges(move |attempt, key| {
            key.sign(&json!({"alg": "ES256", "kid": "key-1", "crit": crit, "b64": false, "exp": 1}), &attempt.claims())
        });
        forged.refused(&shown, &["DW-3301", "DW-3302"]).await;
    }
}

#[tokio::test]
async fn a_token_of_odd_shape_is_refused_and_costs_little() {
    let forged = Forged::new().await;
    type Shape = Box<dyn Fn(&Attempt, &Key) -> String + Send>;
    let shapes: Vec<(&str, Shape)> = vec![
        ("empty", Box::new(|_, _| String::new())),
        ("one part", Box::new(|_, _| "x".into())),
        ("two parts", Box::new(|a, k| k.token(&a.claims()).rsplit_once('.').expect("dots").0.into())),
        ("four parts", Box::new(|a, k| k.token(&a.claims()) + ".x")),
        ("a thousand dots", Box::new(|_, _| ".".repeat(1000))),
        ("a million dots", Box::new(|_, _| ".".repeat(1 << 20))),
        ("not base64url", Box::new(|a, k| k.token(&a.claims()).replace('e', "+/="))),
        ("padded", Box::new(|a, k| k.token(&a.claims()) + "==")),
        ("with white space", Box::new(|a, k| format!(" {}\n", k.token(&a.claims())))),
        ("claims that are a list", Box::new(|_, k| k.sign_raw("[]"))),
        ("claims that are null", Box::new(|_, k| k.sign_raw("null"))),
        ("claims that are no JSON", Box::new(|_, k| k.sign_raw("{"))),
        ("claims that are no UTF-8 text", Box::new(|_, k| k.sign_raw("\u{0}"))),
        (
            "deep claims",
            Box::new(|_, k| k.sign_raw(&format!("{{\"a\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000)))),
        ),
        ("nonce twice", Box::new(|a, k| k.sign_raw(&a.claims().to_string().replacen('{', "{\"nonce\":\"x\",", 1)))),
        (
            "no subject",
            Box::new(|a, k| {
                let mut claims = a.claims();
                apply(&mut claims, &json!({"sub": null}));
                k.token(&claims)
            }),
        ),
        (
            "empty subject",
            Box::new(|a, k| {
                let mut claims = a.claims();
                claims["sub"] = "".into();
                k.token(&claims)
            }),
        ),
        (
            "subject that is no text",
            Box::new(|a, k| {
                let mut claims = a.claims();
                claims["sub"] = json!(["anna"]);
                k.token(&claims)
            }),
        ),
    ];
    for (why, shape) in shapes {
        forged.forger.forges(shape);
        forged.refused(why, &["DW-3301", "DW-3302", "DW-3303", "DW-3308", "DW-3203", "DW-3204"]).await;
    }
}

#[tokio::test]
async fn several_keys_and_no_key_id_are_refused_or_tried_but_never_trusted() {
    let forged = Forged::new().await;
    let (one, two) = (Key::new("key-1"), Key::new("key-2"));
    forged.forger.keys(json!({"keys": [one.jwk(), two.jwk()]}));
    let stranger = Key::new("key-3");
    forged.forger.forges(move |attempt, _| stranger.sign(&json!({"alg": "ES256"}), &attempt.claims()));
    forged.refused("a stranger's, without a key id", &["DW-3303", "DW-3304"]).await;
}

#[tokio::test]
async fn a_key_that_is_not_for_signatures_signs_nothing() {
    let forger = Forger::start().await;
    let app = App::start().await;
    let (good, bad) = (Key::new("key-good"), Key::new("key-bad"));
    for change in [
        json!({"use": "enc"}),
        json!({"key_ops": ["deriveBits"], "use": null}),
        json!({"alg": "ES384"}),
        json!({"alg": "ECDH-ES"}),
    ] {
        let mut jwk = bad.jwk();
        apply(&mut jwk, &change);
        forger.keys(json!({"keys": [good.jwk(), jwk]}));
        let gateway = forger.gateway(&app.url(), "").await;
        let (person, signer) = (Person::new(), bad.clone());
        forger.forges(move |attempt, _| signer.token(&attempt.claims()));
        let answer = trip(&person, &gateway).await;
        assert!(["DW-3302", "DW-3303", "DW-3304"].contains(&answer.reason().as_str()), "{change}: {}", answer.text());
        assert!(person.session().is_empty());
    }
}

#[tokio::test]
async fn tokens_that_do_not_belong_together_are_refused() {
    let forged = Forged::new().await;
    forged.claims_refused(&["DW-3309"], vec![("wrong at_hash", json!({"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"}))]).await;
    let half = ring::digest::digest(&ring::digest::SHA256, b"acce55").as_ref()[..16].to_vec();
    forged.forger.claims(move |claims| claims["at_hash"] = URL_SAFE_NO_PAD.encode(&half).into());
    forged.accepted("the right at_hash").await;
}

#[tokio::test]
async fn what_was_asked_of_the_provider_has_to_be_in_the_token() {
    let forged = Forged::with("max_age = \"1h\"\nacr_values = [\"gold\", \"silver\"]").await;
    let n = now();
    forged.forger.claims(move |claims| apply(claims, &json!({"auth_time": n - 60, "acr": "silver"})));
    forged.accepted("both are there").await;
    forged
        .claims_refused(
            &["DW-3310", "DW-3301"],
            vec![
                ("no auth_time", json!({"acr": "gold"})),
                ("auth_time too old", json!({"acr": "gold", "auth_time": n - 7200})),
                ("auth_time as text", json!({"acr": "gold", "auth_time": "now"})),
                ("no acr", json!({"auth_time": n})),
                ("another acr", json!({"auth_time": n, "acr": "bronze"})),
                ("acr as a list", json!({"auth_time": n, "acr": ["gold"]})),
            ],
        )
        .await;
    let params = forged.forger.attempt().params;
    assert!(params.contains(&("max_age".into(), "3600".into())), "{params:?}");
    assert!(params.contains(&("acr_values".into(), "gold silver".into())), "{params:?}");
}

#[tokio::test]
async fn a_token_answer_that_is_none_is_named() {
    let forged = Forged::new().await;
    for (status, body, reasons) in [
        (400, r#"{"error":"invalid_grant"}"#.to_owned(), &["DW-3201"][..]),
        (401, r#"{"error":"invalid_client","error_description":"secret <b>expired</b>"}"#.to_owned(), &["DW-3206"]),
        (400, r#"{"error":"unauthorized_client"}"#.to_owned(), &["DW-3202"]),
        (400, r#"{"error":"what is this"}"#.to_owned(), &["DW-3203"]),
        (400, "<html>bad request</html>".to_owned(), &["DW-3203"]),
        (500, "oops".to_owned(), &["DW-6002"]),
        (503, r#"{"error":"temporarily_unavailable"}"#.to_owned(), &["DW-6002"]),
        (200, "<html>sign in</html>".to_owned(), &["DW-3203"]),
        (200, "{}".to_owned(), &["DW-3203", "DW-3204"]),
        (200, "[]".to_owned(), &["DW-3203"]),
        (200, r#"{"access_token":"a","token_type":"Bearer"}"#.to_owned(), &["DW-3204"]),
        (200, tokens("x").replace("Bearer", "mac"), &["DW-3203", "DW-3301"]),
        (200, format!("{{\"access_token\":\"{}\"}}", "x".repeat(10 << 20)), &["DW-3203"]),
        (204, String::new(), &["DW-3203"]),
        (302, String::new(), &["DW-3203"]),
    ] {
        let (shown, answer) = (format!("{status} {body:.80}"), body.clone());
        forged.forger.answers(move |_, _| (status, answer.clone()));
        forged.refused(&shown, reasons).await;
    }
    forged.forger.answers(|attempt, key| (200, tokens(&key.token(&attempt.claims())).replace("Bearer", "bearer")));
    forged.accepted("bearer in small letters").await;
}

#[tokio::test]
async fn a_rotated_key_is_found_by_one_fetch_and_an_unknown_one_does_not_hammer() {
    let forged = Forged::new().await;
    forged.accepted("the first key").await;
    let (before, began) = (forged.forger.key_requests(), Instant::now());
    let stranger = Key::new("key-unknown");
    forged.forger.forges(move |attempt, _| stranger.token(&attempt.claims()));
    for _ in 0..20 {
        forged.refused("an unknown key", &["DW-3304"]).await;
    }
    let fetched = forged.forger.key_requests() - before;
    // One in five seconds, however long this took.
    let most = 1 + began.elapsed().as_secs() as usize / 5;
    assert!((1..=most).contains(&fetched), "twenty unknown key ids made {fetched} fetches, and not at most {most}");
}
