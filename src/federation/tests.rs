//! Whose assertions make a token, and what stands in it.

use super::*;
use crate::config::values::Secret;
use crate::identity_headers::IdentityHeaders;
use serde_json::json;

const NOW: u64 = 1_800_000_000;

fn federation(toml: &str) -> Federation {
    let settings: model::Federation = toml::from_str(toml).expect(toml);
    let signer = Signer::new(&[Secret::new("a secret of the tests")]).expect("signer");
    let whole: model::Settings = toml::from_str("public_url = 'https://gateway.example/'").expect("settings");
    let headers = || IdentityHeaders::new(&whole.headers);
    let issuers = Issuers::new(&whole, headers(), Some(signer.key_set())).expect("issuers");
    let accounts = ServiceAccounts::new(&whole, None, &headers()).expect("accounts");
    Federation::new(&settings, &whole.public_url, Arc::new(signer), Arc::new(issuers), Arc::new(accounts))
        .expect("federation")
}

/// An assertion of `claims`, and the identity as the issuer's entry reads it.
fn assertion(claims: Value) -> (String, Identity) {
    let text = |name: &str| claims[name].as_str().map(str::to_owned);
    let list = |value: &Value| value.as_array().map(|all| crate::identity::strings(&Value::Array(all.clone())));
    let identity = Identity {
        provider: "ci".into(),
        subject: text("sub").unwrap_or_default(),
        user: text("sub").unwrap_or_default(),
        email: text("email"),
        email_verified: claims["email_verified"].as_bool(),
        preferred_username: text("preferred_username"),
        name: text("name"),
        groups: list(&claims["groups"]),
        claims: Claims(claims.as_object().expect("object").clone()),
    };
    (format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims.to_string())), identity)
}

fn exchange(federation: &Federation, claims: Value) -> Result<Exchanged, Failure> {
    let (text, identity) = assertion(claims);
    federation.grant(&text, &identity, None, NOW).map_err(|refused| refused.failure)
}

fn said(token: &str) -> Value {
    Value::Object(claims_of(token).expect("claims").0)
}

const BY_DOMAIN: &str = "audiences = ['x']\nallow.email_domains = ['example.com']";

#[test]
fn a_token_is_what_rfc_9068_asks_for_and_says_who_it_is() {
    let federation = federation(BY_DOMAIN);
    let claims = json!({
        "iss": "https://ci.example", "sub": "jo@example.com", "aud": "x", "exp": NOW + 5, "azp": "runner",
        "email": "jo@example.com", "email_verified": true, "name": "Jo", "groups": ["a", "b"], "dept": "ml",
    });
    let exchanged = exchange(&federation, claims).expect("token");
    assert_eq!((exchanged.expires_in, exchanged.user.as_str()), (3600, "jo@example.com"));
    let mut said = said(&exchanged.access_token);
    let id = said["jti"].take();
    assert_eq!(URL_SAFE_NO_PAD.decode(id.as_str().expect("jti")).expect("base64").len(), 16);
    assert_eq!(
        said,
        json!({
            "iss": "https://gateway.example", "sub": "jo@example.com", "aud": ["https://gateway.example"],
            "exp": NOW + 3600, "iat": NOW, "jti": null, "client_id": "runner", "email": "jo@example.com",
            "email_verified": true, "name": "Jo", "groups": ["a", "b"], "dept": "ml",
        })
    );
}

#[test]
fn the_same_assertion_makes_another_token_each_time_up_to_its_end() {
    let federation = federation(BY_DOMAIN);
    let claims = json!({ "sub": "jo@example.com", "exp": NOW + 1 });
    let first = exchange(&federation, claims.clone()).expect("token");
    let second = exchange(&federation, claims).expect("token");
    assert_ne!(first.access_token, second.access_token);
    assert_eq!(said(&first.access_token)["client_id"], "ci", "the entry's name where no client is named");
}

#[test]
fn an_assertion_cannot_say_what_only_the_gateway_says() {
    let federation = federation(BY_DOMAIN);
    let claims = json!({
        "iss": "https://ci.example", "sub": "jo@example.com", "doorward_account": "deployer", "scope": "admin",
        "scp": ["admin"], "jti": "mine", "exp": 9_999_999_999_u64, "nbf": 1, "nonce": "n", "cnf": {}, "act": {},
    });
    let said = said(&exchange(&federation, claims).expect("token").access_token);
    for name in ["doorward_account", "scope", "scp", "nonce", "cnf", "act", "nbf"] {
        assert_eq!(said[name], Value::Null, "{name}");
    }
    assert_ne!(said["jti"], "mine");
    assert_eq!(said["exp"], NOW + 3600);
}

#[test]
fn whoever_is_not_named_gets_no_token() {
    let by_domain = federation(BY_DOMAIN);
    let by_claim = federation("audiences = ['x']\nallow.claims = [{ claim = 'dept', equals = 'ml' }]");
    let by_group = federation("audiences = ['x']\nallow.groups = ['staff']");
    let by_mail = federation("audiences = ['x']\nsubject_claim = 'mail.work'\nallow.emails = ['jo@example.com']");
    let nobody = federation("audiences = ['x']");
    use Reason::{AssertionNotAllowed, AssertionSubject, TokenIssuer};
    for (federation, claims, expected) in [
        (&by_domain, json!({ "sub": "jo@example.com" }), None),
        (&by_domain, json!({ "sub": "Jo@Example.com" }), None),
        (&by_domain, json!({ "sub": "jo@example.com.evil" }), Some(AssertionNotAllowed)),
        (&by_domain, json!({ "sub": "jo@evil@example.com" }), Some(AssertionSubject)),
        (&by_domain, json!({ "sub": "repo:example/x", "email": "jo@example.com" }), Some(AssertionSubject)),
        (&by_domain, json!({ "sub": "jo" }), Some(AssertionSubject)),
        (&by_domain, json!({ "sub": "" }), Some(AssertionSubject)),
        // Whose own address is in the rules, and who writes another's into the subject, goes by the subject.
        (&by_domain, json!({ "sub": "eve@evil.example", "email": "jo@example.com" }), Some(AssertionNotAllowed)),
        // `email_verified` is about the address in question, whichever claim holds it.
        (&by_domain, json!({ "sub": "jo@example.com", "email_verified": false }), Some(AssertionNotAllowed)),
        (&by_domain, json!({ "sub": "jo@example.com", "email_verified": "False" }), Some(AssertionNotAllowed)),
        (&by_domain, json!({ "sub": "jo@example.com", "email_verified": 0 }), Some(AssertionNotAllowed)),
        (&by_domain, json!({ "sub": "jo@example.com", "email_verified": "true" }), None),
        (
            &by_domain,
            json!({ "sub": "jo@example.com", "email": "JO@example.com", "email_verified": false }),
            Some(AssertionNotAllowed),
        ),
        (&by_domain, json!({ "sub": "jo@example.com", "email": "jo@home.example", "email_verified": false }), None),
        (
            &by_domain,
            json!({ "sub": "jo@example.com", "email": "", "email_verified": false }),
            Some(AssertionNotAllowed),
        ),
        (
            &by_domain,
            json!({ "sub": "jo@example.com", "email": " jo@example.com", "email_verified": false }),
            Some(AssertionNotAllowed),
        ),
        // Another rule lets them in, but not as somebody else.
        (
            &by_group,
            json!({ "sub": "victim@example.com", "email_verified": false, "groups": ["staff"] }),
            Some(AssertionNotAllowed),
        ),
        (&by_claim, json!({ "sub": "jo@any.example", "dept": "ml" }), None),
        (&by_claim, json!({ "sub": "jo@any.example", "dept": "it" }), Some(AssertionNotAllowed)),
        (&by_claim, json!({ "sub": "jo@any.example" }), Some(AssertionNotAllowed)),
        (&by_claim, json!({ "sub": "jo", "dept": "ml" }), Some(AssertionSubject)),
        (&by_mail, json!({ "sub": "1", "mail": { "work": "jo@example.com" } }), None),
        (&by_mail, json!({ "sub": "jo@example.com" }), Some(AssertionSubject)),
        (&by_mail, json!({ "sub": "1", "mail": { "work": ["jo@example.com"] } }), Some(AssertionSubject)),
        (&nobody, json!({ "sub": "jo@example.com" }), Some(AssertionNotAllowed)),
        (&by_domain, json!({ "sub": "jo@example.com", "iss": "https://gateway.example" }), Some(TokenIssuer)),
    ] {
        let got = exchange(federation, claims.clone());
        assert_eq!(got.as_ref().err().map(|failure| failure.reason), expected, "{claims}");
    }
}

#[test]
fn a_refusal_says_what_was_expected_and_what_came() {
    let federation = federation("audiences = ['x']\nallow.groups = ['staff']");
    let detail = |claims| exchange(&federation, claims).err().map(|failure| failure.detail).unwrap_or_default();
    assert_eq!(
        detail(json!({ "sub": "repo:example/x" })),
        "'sub' is 'repo:example/x', neither an e-mail address nor a registered service account's"
    );
    assert_eq!(
        detail(json!({ "sub": "jo@example.com" })),
        "the rules do not name 'jo@example.com', and the assertion holds no claim `groups`"
    );
    assert_eq!(detail(json!({ "sub": "jo@example.com", "groups": [] })), "the rules do not name 'jo@example.com'");
}

#[test]
fn a_registered_subject_gets_its_account_s_token_whatever_it_looks_like() {
    let federation = federation("audiences = ['x']");
    let account: Identity =
        serde_json::from_value(json!({ "p": "doorward", "s": "deployer", "u": "deployer", "g": ["ops"] }))
            .expect("identity");
    let (text, identity) =
        assertion(json!({ "sub": "repo:example/x", "groups": ["other"], "email": "eve@evil.example" }));
    let exchanged = federation.grant(&text, &identity, Some(("deployer", &account)), NOW).expect("token");
    assert_eq!(exchanged.user, "deployer");
    assert_eq!(exchanged.asker, Asker { issuer: "ci".into(), subject: "repo:example/x".into() });
    let said = said(&exchanged.access_token);
    assert_eq!(said["sub"], "deployer");
    assert_eq!(said["doorward_account"], "deployer");
    assert_eq!((&said["groups"], &said["email"]), (&json!(["ops"]), &Value::Null));
}

#[test]
fn an_assertion_that_says_two_things_is_refused() {
    let federation = federation("audiences = ['x']\nsubject_claim = 'upn'\nallow.email_domains = ['example.com']");
    let (_, identity) = assertion(json!({ "sub": "1" }));
    for claims in [r#"{"upn":"eve@evil.example","upn":"jo@example.com"}"#, r#"["upn"]"#, "", "{"] {
        let text = format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims));
        let refused = federation.grant(&text, &identity, None, NOW).err().map(|refused| refused.failure.reason);
        assert_eq!(refused, Some(Reason::TokenForm), "{claims}");
    }
}
