//! What an issuer's entry asks of a token whose signature holds.

use serde_json::{Value, json};

use super::forge::{self, NOW, claims, signed};
use super::{Bench, Row, check, row, with};
use crate::config::model::TokenAlgorithm::*;
use crate::jwt::Kind;
use crate::reason::Reason::{
    self, IdentityTooLarge, IntrospectionUnavailable, TokenAudience, TokenClaim, TokenExpired, TokenForm,
    TokenIdentity, TokenIssuer, TokenKey, TokenNotYetValid, TokenScope, TokenType,
};

fn token(typ: Option<&str>, changes: Value) -> String {
    let header = match typ {
        Some(typ) => json!({ "alg": "EdDSA", "kid": "ed", "typ": typ }),
        None => json!({ "alg": "EdDSA", "kid": "ed" }),
    };
    signed(EdDSA, &header.to_string(), &claims(changes))
}

/// Under an entry with nothing but an audience.
pub fn rows() -> Vec<Row> {
    let with =
        |changes: Value, expected| row(format!("claims with {changes}"), token(Some("at+jwt"), changes), expected);
    let typ = |typ: &str, expected| row(format!("typ {typ:?}"), token(Some(typ), json!({})), expected);
    let logout = "http://schemas.openid.net/event/backchannel-logout";
    vec![
        // Times, with a leeway of 60 seconds.
        with(json!({"exp": NOW + 1}), None),
        with(json!({"exp": NOW}), None),
        with(json!({"exp": NOW - 59}), None),
        with(json!({"exp": NOW - 60}), Some(TokenExpired)),
        with(json!({"exp": NOW - 61}), Some(TokenExpired)),
        with(json!({"exp": 0}), Some(TokenExpired)),
        with(json!({"exp": 253_402_300_799_u64}), None),
        with(json!({"nbf": NOW + 60}), None),
        with(json!({"nbf": NOW + 61}), Some(TokenNotYetValid)),
        with(json!({"iat": NOW + 60}), None),
        with(json!({"iat": NOW + 61}), Some(TokenNotYetValid)),
        with(json!({"iat": 0, "nbf": 0}), None),
        with(json!({"iat": null, "nbf": null}), None),
        with(json!({"nbf": 253_402_300_799_u64}), Some(TokenNotYetValid)),
        // Audience.
        with(json!({"aud": ["other", "experiments"]}), None),
        with(json!({"aud": ["experiments", "experiments"]}), None),
        with(json!({"aud": "reports"}), Some(TokenAudience)),
        with(json!({"aud": "Experiments"}), Some(TokenAudience)),
        with(json!({"aud": "experiments "}), Some(TokenAudience)),
        with(json!({"aud": "experiments/"}), Some(TokenAudience)),
        with(json!({"aud": "reports experiments"}), Some(TokenAudience)),
        with(json!({"aud": ""}), Some(TokenAudience)),
        with(json!({"aud": []}), Some(TokenAudience)),
        with(json!({"aud": null}), Some(TokenAudience)),
        with(json!({"aud": "experiments\nother"}), Some(TokenForm)),
        with(json!({"scope": "a\u{1}b"}), Some(TokenForm)),
        with(json!({"aud": null, "azp": "experiments", "client_id": "experiments"}), Some(TokenAudience)),
        // Types.
        typ("at+jwt", None),
        typ("AT+JWT", None),
        typ("application/at+jwt", None),
        typ("Application/AT+JWT", None),
        typ("JWT", None),
        typ("jwt", None),
        typ("application/jwt", None),
        typ("", None),
        typ("JOSE", Some(TokenType)),
        typ("logout+jwt", Some(TokenType)),
        typ("dpop+jwt", Some(TokenType)),
        typ("secevent+jwt", Some(TokenType)),
        typ("id_token+jwt", Some(TokenType)),
        typ("ID+JWT", Some(TokenType)),
        typ("at+jwt ", Some(TokenType)),
        typ("application/x/at+jwt", Some(TokenType)),
        typ("at", Some(TokenType)),
        row("no typ", token(None, json!({})), None),
        row(
            "bound by DPoP",
            token(Some("at+jwt"), json!({"cnf": {"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}})),
            Some(TokenType),
        ),
        row(
            "bound by mutual TLS",
            token(None, json!({"cnf": {"x5t#S256": "bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2"}})),
            Some(TokenType),
        ),
        row("bound to what is no key", token(None, json!({"cnf": 7})), Some(TokenType)),
        row("an ID token by its nonce", token(None, json!({"nonce": "n"})), Some(TokenType)),
        row("an ID token by at_hash", token(Some("JWT"), json!({"at_hash": "h"})), Some(TokenType)),
        row("an ID token by c_hash", token(Some("JWT"), json!({"c_hash": "h"})), Some(TokenType)),
        row("an access token with a nonce", token(Some("at+jwt"), json!({"nonce": "n"})), None),
        row("a logout token", token(Some("logout+jwt"), json!({"events": {logout: {}}})), Some(TokenType)),
        row("a logout token without typ", token(None, json!({"events": {logout: {}}})), Some(TokenType)),
        row("a logout token as access token", token(Some("at+jwt"), json!({"events": {logout: {}}})), Some(TokenType)),
        row("a security event", token(Some("JWT"), json!({"events": {"urn:x": {}}})), Some(TokenType)),
        row("events that are none", token(Some("JWT"), json!({"events": 7})), Some(TokenType)),
        // Who it is.
        with(json!({"email": 7}), Some(TokenIdentity)),
        with(json!({"email": "a@b\r\nX-Evil: 1"}), Some(TokenIdentity)),
        with(json!({"sub": "a\u{0}b"}), Some(TokenIdentity)),
        with(json!({"groups": {"a": 1}}), Some(TokenIdentity)),
        with(json!({"groups": ["a\nb"]}), Some(TokenIdentity)),
        with(json!({"email_verified": "maybe"}), Some(TokenIdentity)),
        with(json!({"groups": "one", "email": null, "name": 7}), None),
        with(json!({"groups": (0..2000).map(|n| format!("group-{n}")).collect::<Vec<_>>()}), Some(IdentityTooLarge)),
    ]
}

#[test]
fn times_audience_and_type_are_held_against_the_entry() {
    check(&Bench::new("leeway = \"60s\""), &forge::public_jwks(), &rows());
}

/// The verdict under an entry with `toml` in it, with the detail.
fn under(toml: &str, token: &str) -> Option<(Reason, String)> {
    let verdict = Bench::new(toml).judge(token, &forge::all_keys());
    verdict.err().map(|failure| (failure.reason, failure.detail))
}

#[test]
fn an_entry_decides_which_types_scopes_and_claims_count() {
    let plain = |changes| token(None, changes);
    let typed = |typ| token(Some(typ), json!({}));
    let rows: Vec<(&str, String, Option<Reason>)> = vec![
        (r#"typ = ["at+jwt"]"#, typed("at+jwt"), None),
        (r#"typ = ["application/AT+jwt"]"#, typed("at+jwt"), None),
        (r#"typ = ["at+jwt"]"#, plain(json!({})), Some(TokenType)),
        (r#"typ = ["JWT"]"#, plain(json!({})), None),
        (r#"typ = ["JWT"]"#, typed("at+jwt"), Some(TokenType)),
        (r#"typ = ["any"]"#, typed("at+jwt"), None),
        (r#"typ = ["any"]"#, typed("JOSE"), None),
        (r#"typ = ["any"]"#, typed("x"), None),
        (r#"typ = ["any"]"#, typed("logout+jwt"), Some(TokenType)),
        (r#"typ = ["any"]"#, typed("dpop+jwt"), Some(TokenType)),
        (r#"typ = ["any"]"#, typed("secevent+jwt"), Some(TokenType)),
        (r#"typ = ["any"]"#, plain(json!({"nonce": "n"})), Some(TokenType)),
        (r#"typ = ["any"]"#, typed("id_token+jwt"), Some(TokenType)),
        (r#"typ = ["JWT", "x+jwt"]"#, typed("x+jwt"), None),
        ("id_tokens = true", plain(json!({"nonce": "n"})), None),
        ("id_tokens = true", typed("id+jwt"), None),
        ("id_tokens = true", typed("logout+jwt"), Some(TokenType)),
        ("bound_tokens = true", plain(json!({"cnf": {"jkt": "x"}})), None),
        ("bound_tokens = true", typed("dpop+jwt"), Some(TokenType)),
        ("id_tokens = true", plain(json!({"nonce": "n", "cnf": {}})), Some(TokenType)),
        (
            r#"required_claims = [{ claim = "cnf.jkt", equals = "x" }]"#,
            plain(json!({"cnf": {"jkt": "x"}})),
            Some(TokenType),
        ),
        (r#"required_scopes = ["runs:read"]"#, plain(json!({})), None),
        (r#"required_scopes = ["runs:read", "runs:write"]"#, plain(json!({})), None),
        (r#"required_scopes = ["runs"]"#, plain(json!({})), Some(TokenScope)),
        (r#"required_scopes = ["runs:read"]"#, plain(json!({"scope": null})), Some(TokenScope)),
        (r#"required_scopes = ["a"]"#, plain(json!({"scope": null, "scp": ["b", "a"]})), None),
        (r#"required_scopes = ["a"]"#, plain(json!({"scope": "b", "scp": "c a"})), None),
        (r#"required_scopes = ["a"]"#, plain(json!({"scope": ["b", "a"]})), None),
        (r#"required_scopes = ["a"]"#, plain(json!({"scope": "ab A a,b"})), Some(TokenScope)),
        (r#"required_claims = [{ claim = "azp", equals = "ci" }]"#, plain(json!({"azp": "ci"})), None),
        (r#"required_claims = [{ claim = "azp", equals = "ci" }]"#, plain(json!({"azp": "CI"})), Some(TokenClaim)),
        (r#"required_claims = [{ claim = "azp", equals = "ci" }]"#, plain(json!({"azp": ["ci"]})), Some(TokenClaim)),
        (r#"required_claims = [{ claim = "azp", equals = "ci" }]"#, plain(json!({})), Some(TokenClaim)),
        (r#"required_claims = [{ claim = "r.roles", contains = "w" }]"#, plain(json!({"r": {"roles": ["w"]}})), None),
        (r#"required_claims = [{ claim = "r.roles", contains = "w" }]"#, plain(json!({"r.roles": "w"})), None),
        (
            r#"required_claims = [{ claim = "r.roles", contains = "w" }]"#,
            plain(json!({"r": {"roles": []}})),
            Some(TokenClaim),
        ),
        (r#"required_claims = [{ claim = "jti", equals = "1f2e" }]"#, plain(json!({})), None),
        (r#"required_claims = [{ claim = "iss", equals = "https://ci.example.com" }]"#, plain(json!({})), None),
        (r#"required_claims = [{ claim = "aud", contains = "experiments" }]"#, plain(json!({})), None),
        (r#"required_claims = [{ claim = "groups", contains = "robots" }]"#, plain(json!({})), None),
        (r#"required_claims = [{ claim = "email", equals = "ci@example.com" }]"#, plain(json!({})), None),
        (
            r#"required_claims = [{ claim = "email", equals = "ci@example.com" }]"#,
            plain(json!({"email_verified": false})),
            Some(TokenClaim),
        ),
        ("any_audience = true\naudiences = []", plain(json!({"aud": null})), None),
        ("any_audience = true\naudiences = []", plain(json!({"aud": "reports"})), None),
        (r#"algorithms = ["EdDSA"]"#, plain(json!({})), None),
        (r#"algorithms = ["RS256", "ES256"]"#, plain(json!({})), Some(Reason::TokenAlgorithm)),
        (r#"user_claim = "email""#, plain(json!({})), None),
        (r#"user_claim = "email""#, plain(json!({"email_verified": false})), Some(TokenIdentity)),
        (r#"user_claim = "upn""#, plain(json!({})), Some(TokenIdentity)),
        (r#"user_claim = "upn""#, plain(json!({"upn": ["a"]})), Some(TokenIdentity)),
        (r#"user_claim = "upn""#, plain(json!({"upn": ""})), Some(TokenIdentity)),
        (r#"leeway = "0s""#, plain(json!({"exp": NOW})), Some(TokenExpired)),
        (r#"leeway = "0s""#, plain(json!({"exp": NOW + 1})), None),
        (r#"leeway = "0s""#, plain(json!({"nbf": NOW + 1})), Some(TokenNotYetValid)),
        (r#"issuer_aliases = ["https://old.example"]"#, plain(json!({"iss": "https://old.example"})), None),
        (
            r#"issuer_aliases = ["https://old.example"]"#,
            plain(json!({"iss": "https://older.example"})),
            Some(TokenIssuer),
        ),
    ];
    for (toml, token, expected) in rows {
        let verdict = under(toml, &token);
        assert_eq!(verdict.as_ref().map(|(reason, _)| *reason), expected, "{toml}: {verdict:?}");
    }
}

#[test]
fn a_placeholder_stands_for_the_tenants_that_are_listed_and_no_others() {
    let entry = "issuer = \"https://login.example/{tenantid}/v2.0\"\ntenants = [\"t1\", \"t2\"]\n\
                 issuer_aliases = [\"https://sts.example/{tenantid}/\"]";
    let bench = Bench::new(entry);
    assert_eq!(bench.policy.issuers().count(), 4);
    for (iss, expected) in [
        ("https://login.example/t1/v2.0", None),
        ("https://login.example/t2/v2.0", None),
        ("https://sts.example/t2/", None),
        ("https://login.example/t3/v2.0", Some(TokenIssuer)),
        ("https://login.example/{tenantid}/v2.0", Some(TokenIssuer)),
        ("https://login.example/t1/../t3/v2.0", Some(TokenIssuer)),
        ("https://sts.example/t1", Some(TokenIssuer)),
    ] {
        assert_eq!(bench.reason(&token(None, json!({ "iss": iss })), &forge::all_keys()), expected, "{iss}");
    }
}

#[test]
fn a_key_that_is_published_for_one_issuer_is_no_good_for_another() {
    let tenants = "issuer = \"https://login.example/{tenantid}/v2.0\"\ntenants = [\"t1\", \"people\"]\n\
                   issuer_aliases = [\"https://sts.example/{tenantid}/\"]";
    let one = "issuer = \"https://login.example/t1/v2.0\"\nissuer_aliases = [\"https://sts.example/t1/\"]";
    let (v1, v2) = ("https://sts.example/t1/", "https://login.example/t1/v2.0");
    let (any, people) = ("https://login.example/{tenantid}/v2.0", "https://login.example/people/v2.0");
    for (entry, iss, key_issuer, expected) in [
        (tenants, v2, any, None),
        (tenants, v2, v2, None),
        (tenants, v1, any, None),
        (tenants, v1, v2, None),
        (tenants, people, people, None),
        (tenants, v2, people, Some(TokenKey)),
        (tenants, v1, people, Some(TokenKey)),
        (tenants, v2, "https://other.example/{tenantid}/v2.0", Some(TokenKey)),
        (tenants, v2, "", Some(TokenKey)),
        (one, v2, any, None),
        (one, v2, v2, None),
        (one, v1, any, None),
        (one, v1, v2, None),
        (one, v2, people, Some(TokenKey)),
        (one, v2, "https://other.example/{tenantid}/v2.0", Some(TokenKey)),
        (one, v2, "{tenantid}", Some(TokenKey)),
    ] {
        let key = with(forge::jwk(EdDSA), "issuer", json!(key_issuer));
        let reason = Bench::new(entry).reason(&token(None, json!({ "iss": iss })), &forge::key_set(&[key]));
        assert_eq!(reason, expected, "{iss} by a key for {key_issuer}");
    }
    // That a key is now another issuer's is a change of the set; what is no text is no issuer.
    let set = |issuer| forge::key_set(&[with(forge::jwk(EdDSA), "issuer", issuer), forge::jwk(ES256)]);
    assert_ne!(set(json!(v2)), set(json!(people)));
    assert_eq!(set(json!(1)), forge::key_set(&[forge::jwk(ES256)]));
}

#[test]
fn the_detail_says_expected_and_got_in_one_sentence() {
    for (toml, changes, expected) in [
        ("", json!({"aud": "reports"}), "audience is 'reports'; accepted is 'experiments'"),
        ("", json!({"aud": ["a", "b\"é"]}), "audience is 'a', 'b??'; accepted is 'experiments'"),
        ("", json!({"aud": null}), "audience is missing; accepted is 'experiments'"),
        ("", json!({"exp": NOW - 312}), "expired 312 s ago"),
        ("", json!({"nbf": NOW + 500}), "not valid for another 500 s"),
        ("", json!({"nonce": "n"}), "it is an ID token, which is made for signing in; this takes access tokens"),
        ("", json!({"cnf": {}}), "it is bound to a key (cnf), which this gateway does not check"),
        ("typ = [\"at+jwt\"]", json!({}), "type is 'JWT' or absent; accepted is 'at+jwt'"),
        ("required_scopes = [\"w\"]", json!({}), "scope 'w' is needed; it has 'runs:read', 'runs:write'"),
        ("required_scopes = [\"w\"]", json!({"scope": ""}), "scope 'w' is needed; there is none"),
        (
            "required_claims = [{ claim = \"azp\", one_of = [\"a\", \"b\"] }]",
            json!({"azp": "c"}),
            "claim 'azp' is 'c'; required is 'a', 'b'",
        ),
        (
            "required_claims = [{ claim = \"azp\", equals = \"a\" }]",
            json!({}),
            "claim 'azp' is missing; required is 'a'",
        ),
    ] {
        assert_eq!(under(toml, &token(None, changes)).map(|(_, detail)| detail).as_deref(), Some(expected));
    }
}

#[test]
fn an_assertion_has_audiences_of_its_own_and_may_be_an_id_token() {
    let bench = Bench::new("required_scopes = [\"runs:read\"]");
    let judge = |changes: Value, audiences: Option<&[String]>| {
        let verified = bench.verify(&token(None, changes), &forge::all_keys()).expect("verified");
        bench.policy.judge_assertion(&verified, NOW, audiences).err().map(|failure| failure.reason)
    };
    let other = ["sts".to_owned(), "https://app.example.com".to_owned()];
    assert_eq!(judge(json!({"aud": "sts"}), Some(&other)), None);
    assert_eq!(judge(json!({"aud": "experiments"}), Some(&other)), Some(TokenAudience));
    assert_eq!(judge(json!({"aud": "experiments"}), Some(&[])), Some(TokenAudience));
    assert_eq!(judge(json!({"aud": "anybody", "nonce": "n"}), None), None);
    assert_eq!(judge(json!({"aud": "anybody", "events": {}}), None), Some(TokenType));
    assert_eq!(judge(json!({"exp": NOW - 900}), None), Some(TokenExpired));
    assert_eq!(judge(json!({"aud": "anybody", "cnf": {"jkt": "x"}}), None), Some(TokenType));
    assert_eq!(judge(json!({"scope": "x"}), None), Some(TokenScope));
}

#[test]
fn an_introspected_token_is_held_to_the_same_rules() {
    let judge = |toml: &str, answer: Value| {
        let bench = Bench::new(toml);
        let Value::Object(claims) = answer else { panic!("an object") };
        let verified = bench.policy.introspected(&claims, &bench.headers)?;
        bench.policy.judge(&verified, NOW).map(|()| verified)
    };
    let reason = |toml: &str, answer: Value| judge(toml, answer).err().map(|failure| failure.reason);
    let verified =
        judge("", json!({"active": true, "sub": "u", "aud": ["experiments"], "scope": "a b", "exp": NOW + 9}));
    let verified = verified.expect("good");
    assert_eq!((verified.kind, verified.algorithm, verified.identity.user.as_str()), (Kind::AccessToken, None, "u"));
    assert_eq!((verified.scopes.iter().count(), verified.expires_at), (2, NOW + 9));
    assert!(!verified.without_subject);
    for stand_in in
        [json!({"client_id": "c", "aud": "experiments"}), json!({"client_id": "c", "sub": "", "aud": "experiments"})]
    {
        assert!(judge("user_claim = \"client_id\"", stand_in).expect("good").without_subject);
    }
    for (toml, answer, expected) in [
        ("", json!({"sub": "u", "aud": "experiments"}), None),
        ("", json!({"sub": "u"}), Some(TokenAudience)),
        ("", json!({"sub": "u", "aud": "other"}), Some(TokenAudience)),
        ("", json!({"sub": "u", "aud": "experiments", "exp": NOW - 900}), Some(TokenExpired)),
        ("", json!({"sub": "u", "aud": "experiments", "iss": "https://evil.example"}), Some(TokenIssuer)),
        ("", json!({"sub": "u", "aud": "experiments", "exp": "soon"}), Some(IntrospectionUnavailable)),
        ("", json!({"client_id": "c", "aud": "experiments"}), Some(TokenForm)),
        ("user_claim = \"client_id\"", json!({"client_id": "c", "aud": "experiments"}), None),
        ("typ = [\"JWT\"]", json!({"sub": "u", "aud": "experiments", "token_type": "Bearer"}), None),
        ("", json!({"sub": "u", "aud": "experiments", "token_type": "Bearer", "cnf": {"jkt": "x"}}), Some(TokenType)),
        ("", json!({"sub": "u", "aud": "experiments", "token_type": "DPoP"}), Some(TokenType)),
        ("", json!({"sub": "u", "aud": "experiments", "cnf": null}), None),
        (
            "bound_tokens = true",
            json!({"sub": "u", "aud": "experiments", "token_type": "DPoP", "cnf": {"jkt": "x"}}),
            None,
        ),
        ("required_scopes = [\"a\"]", json!({"sub": "u", "aud": "experiments", "scope": "b"}), Some(TokenScope)),
    ] {
        assert_eq!(reason(toml, answer.clone()), expected, "{toml} {answer}");
    }
}

#[test]
fn a_refresh_token_that_its_issuer_calls_active_is_no_access_token() {
    let bench = Bench::new("any_audience = true\naudiences = []");
    let verdict = |said: Value| {
        let Value::Object(mut claims) = said else { panic!("an object") };
        claims.extend([("active".to_owned(), json!(true)), ("sub".to_owned(), json!("u"))]);
        bench.policy.introspected(&claims, &bench.headers).err().map(|failure| (failure.reason, failure.detail))
    };
    for said in [
        json!({}),
        json!({"token_type": "Bearer"}),
        json!({"token_type": "bearer", "token_use": "access_token"}), // Ory Hydra
        json!({"token_type": "Bearer", "typ": "Bearer"}),             // Keycloak
        json!({"token_type": null, "token_use": null, "typ": null}),
        json!({"token_type": "at+jwt"}),
        json!({"token_type": "application/at+JWT"}),
        json!({"token_type": "access_token"}),
        json!({"token_use": "access"}),
        json!({"typ": "JWT"}),
    ] {
        assert_eq!(verdict(said.clone()), None, "{said}");
    }
    for (said, member) in [
        (json!({"token_type": "Bearer", "token_use": "refresh_token"}), "token_use"),
        (json!({"token_use": "id"}), "token_use"),
        (json!({"token_use": ""}), "token_use"),
        (json!({"token_type": "Bearer", "typ": "Refresh"}), "typ"),
        (json!({"typ": "Offline"}), "typ"),
        (json!({"typ": "ID"}), "typ"),
        (json!({"typ": "rt+jwt"}), "typ"),
        (json!({"token_type": "refresh_token"}), "token_type"),
        (json!({"token_type": "Refresh", "token_use": "access_token"}), "token_type"),
        (json!({"token_type": "N_A"}), "token_type"),
        (json!({"token_type": "urn:ietf:params:oauth:token-type:refresh_token"}), "token_type"),
    ] {
        let (reason, detail) = verdict(said.clone()).unwrap_or_else(|| panic!("{said} is refused"));
        assert_eq!(reason, TokenType, "{said}");
        assert!(detail.starts_with(&format!("`{member}` is '")) && detail.ends_with("takes access tokens"), "{detail}");
    }
}
