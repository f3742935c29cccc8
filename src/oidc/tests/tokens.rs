//! ID tokens: every check has a token that fails it and nothing else.

use ring::digest;
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};

use super::support::{CLIENT, NOW, Signer, base64url, claims, now};
use crate::config::model::{Preset, TokenAlgorithm};
use crate::jwt::KeySet;
use crate::oidc::id_token::{Expected, VerifiedIdToken, check_authentication, verify};
use crate::reason::{Failure, Reason};

const ISSUER: &str = "https://idp.example/realm";

fn expected<'a>() -> Expected<'a> {
    use TokenAlgorithm::*;
    Expected {
        preset: Preset::Generic,
        issuer: ISSUER,
        tenants: &[],
        hosted_domain: None,
        client_id: CLIENT,
        trusted_audiences: &[],
        algorithms: &[RS256, ES256, EdDSA],
        nonce: Some("n"),
        access_token: Some("at"),
        code: None,
        clock: None,
        leeway: std::time::Duration::from_secs(60),
        now: now(),
    }
}

fn keys(jwks: &[Value]) -> KeySet {
    KeySet::parse(json!({ "keys": jwks }).to_string().as_bytes()).expect("keys")
}

/// The good claims, with `changes` merged in; null takes one away.
fn changed(changes: Value) -> Value {
    let mut claims = claims(ISSUER);
    for (name, value) in changes.as_object().expect("an object") {
        match value {
            Value::Null => claims.as_object_mut().expect("an object").remove(name),
            value => claims.as_object_mut().expect("an object").insert(name.clone(), value.clone()),
        };
    }
    claims
}

fn outcome(verified: Result<VerifiedIdToken, Failure>) -> Result<(), Reason> {
    verified.map(drop).map_err(|failure| failure.reason)
}

#[test]
fn each_claim_is_checked() {
    use Reason::*;
    let half = base64url(&digest::digest(&digest::SHA256, b"at").as_ref()[..16]);
    let table = [
        (json!({}), Ok(())),
        (json!({ "iss": "https://idp.example/realm/" }), Err(IdTokenIssuer)),
        (json!({ "iss": "https://IDP.example/realm" }), Err(IdTokenIssuer)),
        (json!({ "iss": null }), Err(IdTokenForm)),
        (json!({ "aud": "other" }), Err(IdTokenAudience)),
        (json!({ "aud": [] }), Err(IdTokenAudience)),
        (json!({ "aud": null }), Err(IdTokenForm)),
        (json!({ "aud": [CLIENT, 7] }), Err(IdTokenForm)),
        (json!({ "aud": [CLIENT] }), Ok(())),
        (json!({ "aud": [CLIENT, "other"], "azp": CLIENT }), Err(IdTokenAudience)),
        (json!({ "azp": CLIENT }), Ok(())),
        (json!({ "azp": "other" }), Err(IdTokenAudience)),
        (json!({ "azp": 7 }), Err(IdTokenForm)),
        (json!({ "exp": NOW - 59 }), Ok(())),
        (json!({ "exp": NOW - 60 }), Err(IdTokenExpired)),
        (json!({ "exp": null }), Err(IdTokenForm)),
        (json!({ "exp": (NOW + 300).to_string() }), Err(IdTokenForm)),
        (json!({ "exp": 1e300 }), Err(IdTokenForm)),
        (json!({ "exp": u64::MAX }), Err(IdTokenForm)),
        (json!({ "exp": -1 }), Err(IdTokenForm)),
        (json!({ "exp": NOW as f64 + 300.5 }), Err(IdTokenForm)),
        (json!({ "iat": null }), Err(IdTokenForm)),
        (json!({ "iat": NOW + 60 }), Ok(())),
        (json!({ "iat": NOW + 61 }), Err(IdTokenExpired)),
        (json!({ "nbf": NOW + 60 }), Ok(())),
        (json!({ "nbf": NOW + 61 }), Err(IdTokenExpired)),
        (json!({ "nonce": null }), Err(IdTokenNonce)),
        (json!({ "nonce": "of yesterday" }), Err(IdTokenNonce)),
        (json!({ "nonce": 7 }), Err(IdTokenNonce)),
        (json!({ "at_hash": half }), Ok(())),
        (json!({ "at_hash": "AAAA" }), Err(IdTokenHash)),
        (json!({ "at_hash": 1 }), Err(IdTokenForm)),
        (json!({ "sub": null }), Err(IdTokenForm)),
        (json!({ "sub": "" }), Err(IdTokenForm)),
        (json!({ "sub": "x".repeat(2000) }), Err(IdTokenForm)),
        // What nobody asked for may be anything.
        (json!({ "auth_time": 0, "acr": 3, "email_verified": "true", "address": "a text", "updated_at": "x" }), Ok(())),
        (json!({ "auth_time": 1_799_999_999.5 }), Ok(())),
    ];
    let signer = Signer::new("k");
    let keys = keys(&[signer.jwk()]);
    for (changes, wanted) in table {
        let token = signer.sign(&changed(changes.clone()));
        assert_eq!(outcome(verify(&token, &keys, &expected())), wanted, "{changes}");
    }
}

#[test]
fn json_null_counts_as_a_wrong_type() {
    let signer = Signer::new("k");
    for name in ["exp", "iat", "iss", "aud", "sub", "nonce"] {
        let mut claims = claims(ISSUER);
        claims[name] = Value::Null;
        let refused = outcome(verify(&signer.sign(&claims), &keys(&[signer.jwk()]), &expected()));
        assert!(matches!(refused, Err(Reason::IdTokenForm | Reason::IdTokenNonce)), "{name}: {refused:?}");
    }
}

#[test]
fn further_audiences_need_trust_and_azp() {
    let signer = Signer::new("k");
    let keys = keys(&[signer.jwk()]);
    let trusted = ["other".to_owned()];
    let expected = Expected { trusted_audiences: &trusted, ..expected() };
    for (azp, wanted) in [
        (json!(CLIENT), Ok(())),
        (json!("other"), Err(Reason::IdTokenAudience)),
        (Value::Null, Err(Reason::IdTokenAudience)),
    ] {
        let token = signer.sign(&changed(json!({ "aud": ["other", CLIENT], "azp": azp })));
        assert_eq!(outcome(verify(&token, &keys, &expected)), wanted, "{azp}");
    }
}

#[test]
fn authentication_is_checked_where_it_was_asked_for() {
    use Reason::IdTokenAuthentication as Refused;
    let judged = |changes: &Value, acr: &[String], age: Option<std::time::Duration>| {
        let claims = changed(changes.clone()).as_object().expect("an object").clone();
        let leeway = std::time::Duration::from_secs(60);
        check_authentication(&claims, acr, age, leeway, now()).map_err(|failure| failure.reason)
    };
    let ages = [
        (json!({}), Err(Refused)),
        (json!({ "auth_time": 0 }), Err(Refused)),
        (json!({ "auth_time": "1800000000" }), Err(Refused)),
        (json!({ "auth_time": NOW - 661 }), Err(Refused)),
        (json!({ "auth_time": NOW - 660 }), Ok(())),
        (json!({ "auth_time": NOW as f64 - 10.25 }), Ok(())),
    ];
    for (changes, wanted) in ages {
        assert_eq!(judged(&changes, &[], Some(std::time::Duration::from_secs(600))), wanted, "{changes}");
    }
    let acrs = [
        (json!({}), Err(Refused)),
        (json!({ "acr": "bronze" }), Err(Refused)),
        (json!({ "acr": ["gold"] }), Err(Refused)),
        (json!({ "acr": "platinum" }), Ok(())),
    ];
    for (changes, wanted) in acrs {
        assert_eq!(judged(&changes, &["gold".to_owned(), "platinum".to_owned()], None), wanted, "{changes}");
    }
}

#[test]
fn the_header_does_not_choose_its_own_judge() {
    use Reason::*;
    let signer = Signer::new("k");
    let keys = keys(&[signer.jwk()]);
    let table = [
        (r#"{"alg":"ES256","kid":"k"}"#, Ok(())),
        (r#"{"alg":"ES256"}"#, Ok(())),
        (r#"{"alg":"ES256","kid":"k","typ":"jwt","x5c":["AAAA"],"x5t":"AA"}"#, Ok(())),
        (r#"{"alg":"none","kid":"k"}"#, Err(IdTokenAlgorithm)),
        (r#"{"alg":"nOnE","kid":"k"}"#, Err(IdTokenAlgorithm)),
        (r#"{"alg":"","kid":"k"}"#, Err(IdTokenAlgorithm)),
        (r#"{"alg":"HS256","kid":"k"}"#, Err(IdTokenAlgorithm)),
        (r#"{"alg":"es256","kid":"k"}"#, Err(IdTokenAlgorithm)),
        // Known, and not in the allow list of this test.
        (r#"{"alg":"ES384","kid":"k"}"#, Err(IdTokenAlgorithm)),
        // Allowed, and not what the key is for.
        (r#"{"alg":"RS256","kid":"k"}"#, Err(IdTokenKey)),
        (r#"{"alg":"EdDSA","kid":"k"}"#, Err(IdTokenKey)),
        (r#"{"kid":"k"}"#, Err(IdTokenForm)),
        (r#"{"alg":["ES256"],"kid":"k"}"#, Err(IdTokenForm)),
        (r#"{"alg":"ES256","kid":7}"#, Err(IdTokenForm)),
        (r#"{"alg":"ES256","kid":"other"}"#, Err(IdTokenKey)),
        (r#"{"alg":"ES256","kid":"k","crit":["x"],"x":1}"#, Err(IdTokenForm)),
        (r#"{"alg":"ES256","kid":"k","crit":["b64"],"b64":false}"#, Err(IdTokenForm)),
        (r#"{"alg":"ES256","kid":"k","jku":"https://evil.example/keys"}"#, Err(IdTokenForm)),
        (r#"{"alg":"ES256","kid":"k","x5u":"https://evil.example/cert"}"#, Err(IdTokenForm)),
        (r#"{"alg":"ES256","kid":"k","jwk":{}}"#, Err(IdTokenForm)),
        (r#"{"alg":"ES256","kid":"k","typ":"at+jwt"}"#, Err(IdTokenForm)),
        (r#"{"alg":"ES256","kid":"k","typ":"logout+jwt"}"#, Err(IdTokenForm)),
        (r#"{"alg":"ES256","kid":"k","cty":"JWT"}"#, Err(IdTokenForm)),
        (r#"{"alg":"none","kid":"k","alg":"ES256"}"#, Err(IdTokenForm)),
        (r#"["ES256"]"#, Err(IdTokenForm)),
        ("", Err(IdTokenForm)),
    ];
    for (header, wanted) in table {
        let token = signer.sign_texts(header, &claims(ISSUER).to_string());
        assert_eq!(outcome(verify(&token, &keys, &expected())), wanted, "{header}");
    }
}

#[test]
fn the_form_is_bounded_before_it_is_parsed() {
    let signer = Signer::new("k");
    let keys = keys(&[signer.jwk()]);
    let good = signer.sign(&claims(ISSUER));
    let (signed, signature) = good.rsplit_once('.').expect("a token");
    let deep = format!(r#"{{"iss":{}1{}}}"#, "[".repeat(10_000), "]".repeat(10_000));
    let twice = claims(ISSUER).to_string().replacen('{', r#"{"sub":"somebody else","#, 1);
    let long_header = format!(r#"{{"alg":"ES256","kid":"k","pad":"{}"}}"#, "x".repeat(4000));
    let table = [
        ("empty", String::new()),
        ("a thousand dots", ".".repeat(1000)),
        ("no signature", format!("{signed}.")),
        ("two parts", signed.to_owned()),
        ("encrypted", format!("{good}.a.b")),
        ("padded", format!("{good}=")),
        ("spaces", format!(" {good}")),
        ("a line feed at the end", format!("{good}\n")),
        ("standard base64", good.replacen('.', "+/.", 1)),
        ("too long", signer.sign(&changed(json!({ "pad": "x".repeat(600_000) })))),
        ("long header", signer.sign_texts(&long_header, &claims(ISSUER).to_string())),
        ("deep", signer.sign_texts(r#"{"alg":"ES256","kid":"k"}"#, &deep)),
        ("sub twice", signer.sign_texts(r#"{"alg":"ES256","kid":"k"}"#, &twice)),
        ("trailing", signer.sign_texts(r#"{"alg":"ES256","kid":"k"}"#, &format!("{} x", claims(ISSUER)))),
        ("no object", signer.sign_texts(r#"{"alg":"ES256","kid":"k"}"#, "[]")),
    ];
    assert_eq!(outcome(verify(&good, &keys, &expected())), Ok(()));
    for (name, token) in table {
        let refused = verify(&token, &keys, &expected()).expect_err(name);
        assert!(matches!(refused.reason, Reason::IdTokenForm | Reason::IdTokenSignature), "{name}: {refused}");
        assert!(refused.detail.len() < 1000 && !refused.detail.contains(signature), "{name}: {refused}");
    }
    let jwe = verify("a.b.c.d.e", &keys, &expected()).expect_err("a JWE");
    assert!(jwe.detail.contains("JWE"), "{jwe}");
}

#[test]
fn a_signature_counts_only_by_the_one_key_that_is_meant() {
    let (signer, other) = (Signer::new("k"), Signer::new("other"));
    let token = signer.sign(&claims(ISSUER));
    let by_impostor = Signer::new("k").sign(&claims(ISSUER));
    let published = keys(&[signer.jwk(), other.jwk()]);
    assert_eq!(outcome(verify(&token, &published, &expected())), Ok(()));
    assert_eq!(outcome(verify(&by_impostor, &published, &expected())), Err(Reason::IdTokenSignature));

    let (head, rest) = token.split_once('.').expect("a token");
    let (_, signature) = rest.split_once('.').expect("a token");
    let forged = format!("{head}.{}.{signature}", base64url(changed(json!({ "sub": "admin" })).to_string()));
    assert_eq!(outcome(verify(&forged, &published, &expected())), Err(Reason::IdTokenSignature));

    let without_id = signer.sign_texts(r#"{"alg":"ES256"}"#, &claims(ISSUER).to_string());
    assert_eq!(outcome(verify(&without_id, &published, &expected())), Err(Reason::IdTokenKey));
    assert_eq!(outcome(verify(&without_id, &keys(&[signer.jwk(), signer.jwk()]), &expected())), Ok(()));
    let mut for_encryption = other.jwk();
    for_encryption["use"] = json!("enc");
    assert_eq!(outcome(verify(&without_id, &keys(&[signer.jwk(), for_encryption]), &expected())), Ok(()));
}

#[test]
fn a_public_key_is_no_shared_secret() {
    let signer = Signer::new("k");
    let jwk = signer.jwk();
    let signed = format!("{}.{}", base64url(r#"{"alg":"HS256","kid":"k"}"#), base64url(claims(ISSUER).to_string()));
    for secret in [jwk.to_string(), jwk["x"].to_string(), String::new()] {
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret.as_bytes());
        let token = format!("{signed}.{}", base64url(ring::hmac::sign(&key, signed.as_bytes())));
        assert_eq!(
            outcome(verify(&token, &keys(std::slice::from_ref(&jwk)), &expected())),
            Err(Reason::IdTokenAlgorithm)
        );
    }
    // Not even where the provider publishes it.
    let symmetric = json!({ "keys": [{ "kty": "oct", "kid": "k", "alg": "HS256", "k": "AAAA" }] });
    assert!(KeySet::parse(symmetric.to_string().as_bytes()).is_err());
}

#[test]
fn ed25519_tokens_are_verified() {
    let random = ring::rand::SystemRandom::new();
    let pkcs8 = Ed25519KeyPair::generate_pkcs8(&random).expect("a key");
    let pair = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).expect("a key");
    let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "kid": "e", "x": base64url(pair.public_key()) });
    let half = base64url(&digest::digest(&digest::SHA512, b"at").as_ref()[..32]);
    let claims = changed(json!({ "at_hash": half })).to_string();
    let signed = format!("{}.{}", base64url(r#"{"alg":"EdDSA","kid":"e"}"#), base64url(claims));
    let token = format!("{signed}.{}", base64url(pair.sign(signed.as_bytes())));
    assert_eq!(outcome(verify(&token, &keys(&[jwk]), &expected())), Ok(()));
}

#[test]
fn a_failed_clock_names_the_difference() {
    let signer = Signer::new("k");
    let keys = keys(&[signer.jwk()]);
    let ahead = verify(&signer.sign(&changed(json!({ "iat": NOW + 125, "exp": NOW + 500 }))), &keys, &expected());
    let ahead = ahead.expect_err("ahead");
    assert!(ahead.detail.contains("the provider's clock is 125 s ahead of ours"), "{ahead}");
    assert!(ahead.remedy().contains("the provider's clock is 125 s ahead of ours"), "{}", ahead.remedy());
    let old = signer.sign(&changed(json!({ "iat": NOW - 7500, "exp": NOW - 3900 })));
    let detail = verify(&old, &keys, &expected()).expect_err("behind").detail;
    assert!(detail.contains("3900 s") && detail.contains("the provider's clock is 7500 s behind ours"), "{detail}");
    // The `Date` of the same answer tells an old token from a wrong clock.
    for (clock, said) in [
        (Some(-7498), "by the `Date` of its answer the provider's clock is 7498 s behind"),
        (Some(1), "was old when it came"),
    ] {
        let detail = verify(&old, &keys, &Expected { clock, ..expected() }).expect_err("behind").detail;
        assert!(detail.contains(said), "{detail}");
    }
}

#[test]
fn google_s_account_is_of_the_workspace_that_was_asked_for() {
    let signer = Signer::new("k");
    let keys = keys(&[signer.jwk()]);
    let (wrong, form) = (Some(Reason::TenantRefused), Some(Reason::IdTokenForm));
    for (hd, wanted, refused) in [
        (json!("corp.example"), "corp.example", None),
        (json!("Corp.Example"), "corp.example", None),
        (json!("any.example"), "*", None),
        (json!("other.example"), "corp.example", wrong),
        (json!("sub.corp.example"), "corp.example", wrong),
        (json!("*"), "corp.example", wrong),
        (json!(7), "corp.example", form),
        (json!(["corp.example"]), "corp.example", form),
        (json!(""), "*", wrong),
    ] {
        let expected = Expected { hosted_domain: Some(wanted), ..expected() };
        let verified = verify(&signer.sign(&changed(json!({ "hd": hd }))), &keys, &expected);
        assert_eq!(verified.map(drop).map_err(|failure| failure.reason).err(), refused, "{hd} {wanted}");
    }
    // A private account has none, whatever its address.
    let private = signer.sign(&changed(json!({ "email": "a@corp.example", "email_verified": true })));
    for wanted in ["corp.example", "*"] {
        let expected = Expected { hosted_domain: Some(wanted), ..expected() };
        let failure = verify(&private, &keys, &expected).expect_err("a private account");
        assert_eq!(
            failure.to_string(),
            Failure::new(Reason::TenantRefused, format!("expected `hd` `{wanted}`, got none")).to_string()
        );
    }
    assert!(verify(&private, &keys, &expected()).is_ok(), "nobody asked");
}

#[test]
fn a_token_of_an_issuer_for_several_tenants_is_of_one_that_may_come() {
    const TEMPLATE: &str = "https://login.example/{tenantid}/v2.0";
    let one = "11111111-2222-3333-4444-555555555555".to_owned();
    let signer = Signer::new("k");
    let mut of_everybody = signer.jwk();
    of_everybody["issuer"] = json!(TEMPLATE);
    let mut of_another = signer.jwk();
    of_another["issuer"] = json!("https://login.example/other/v2.0");
    let iss = |tenant: &str| json!(TEMPLATE.replace("{tenantid}", tenant));
    let good = json!({ "iss": iss(&one), "tid": one });
    let other = json!({ "iss": iss("other"), "tid": "other" });
    let (listed, all, none) = ([one.clone()], ["*".to_owned()], []);
    let table: [(&Value, &Value, &[String], Option<Reason>); 10] = [
        (&good, &of_everybody, &listed, None),
        (&good, &signer.jwk(), &listed, None),
        (&other, &of_everybody, &listed, Some(Reason::TenantRefused)),
        (&good, &of_everybody, &none, Some(Reason::TenantRefused)),
        (&other, &of_everybody, &all, None),
        (&good, &of_another, &all, Some(Reason::IdTokenKey)),
        (&json!({ "iss": iss(&one) }), &of_everybody, &all, Some(Reason::IdTokenIssuer)),
        (&json!({ "iss": iss(&one), "tid": "other" }), &of_everybody, &all, Some(Reason::IdTokenIssuer)),
        (&json!({ "iss": TEMPLATE, "tid": "{tenantid}" }), &of_everybody, &all, Some(Reason::IdTokenIssuer)),
        (
            &json!({ "iss": "https://evil.example/x/v2.0", "tid": "x" }),
            &signer.jwk(),
            &all,
            Some(Reason::IdTokenIssuer),
        ),
    ];
    for (changes, jwk, tenants, wanted) in table {
        let expected = Expected { issuer: TEMPLATE, tenants, ..expected() };
        let verified = verify(&signer.sign(&changed(changes.clone())), &keys(std::slice::from_ref(jwk)), &expected);
        assert_eq!(verified.map(drop).map_err(|failure| failure.reason).err(), wanted, "{changes} {tenants:?}");
    }
    let expected = Expected { issuer: TEMPLATE, tenants: &listed, ..expected() };
    let refused = verify(&signer.sign(&changed(other)), &keys(&[of_everybody]), &expected).expect_err("another tenant");
    assert!(refused.detail.contains("`other` (`tid`) is not among `tenants`"), "{refused}");
}
