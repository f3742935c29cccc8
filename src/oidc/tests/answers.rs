//! Tables: authorization responses, metadata, keys, claims.

use serde_json::{Value, json};
use url::Url;

use super::support::{Signer, settings};
use crate::claims::{ClaimNames, NeededClaims, identity};
use crate::config::model::{ClientAuth, ResponseMode, Settings, TokenAlgorithm};
use crate::identity::{Identity, strings};
use crate::issuer_metadata::{is_issuer, openid_configuration};
use crate::jwt::KeySet;

use crate::oidc::metadata::{Means, Metadata};
use crate::oidc::{AuthorizationResponse, Granted};
use crate::reason::{Failure, Reason};

#[test]
fn an_authorization_response_has_each_parameter_once() {
    use Reason::*;
    let long = |name: &str, length: usize| format!("state=s&{name}={}", "x".repeat(length));
    let table = [
        ("code=c&state=s".to_owned(), Ok(())),
        ("code=c&state=s&iss=https%3A%2F%2Fa.example&session_state=a.b&scope=&x".into(), Ok(())),
        ("error=access_denied&state=s".into(), Ok(())),
        ("error=access_denied&error_description=&state=s".into(), Ok(())),
        (String::new(), Err(CallbackNotFromSignIn)),
        ("code=c".into(), Err(CallbackNotFromSignIn)),
        ("error=access_denied".into(), Err(CallbackNotFromSignIn)),
        ("state=s".into(), Err(CallbackParameter)),
        ("state=s&code=".into(), Err(CallbackParameter)),
        ("state=&code=c".into(), Err(CallbackNotFromSignIn)),
        ("state=s&code=c&iss=".into(), Err(CallbackParameter)),
        ("state=s&error=".into(), Err(CallbackParameter)),
        ("state=s&code=c&error=e".into(), Err(CallbackParameter)),
        ("state=s&state=s&code=c".into(), Err(CallbackParameter)),
        ("state=s&code=c&code=d".into(), Err(CallbackParameter)),
        ("state=s&code=c&%63ode=d".into(), Err(CallbackParameter)),
        ("state=s&code=c&iss=a&iss=b".into(), Err(CallbackParameter)),
        ("state=s&code=c&scope=a&scope=b".into(), Err(CallbackParameter)),
        ("state=s%00&code=c".into(), Err(CallbackParameter)),
        ("state=s&code=c%0d%0aSet-Cookie:x".into(), Err(CallbackParameter)),
        ("state=s&code=%ff%fe".into(), Err(CallbackParameter)),
        ("state=s&code=c&access_token=a".into(), Err(ResponseMode)),
        ("state=s&id_token=a.b.c".into(), Ok(())),
        ("state=s&id_token=a.b.c&error=e".into(), Err(CallbackParameter)),
        ("state=s&id_token=".into(), Err(CallbackParameter)),
        (long("code", 4096), Ok(())),
        (long("code", 4097), Err(CallbackParameter)),
        (long("code", 1_000_000), Err(CallbackParameter)),
        (format!("code=c&state={}", "x".repeat(257)), Err(CallbackParameter)),
        (format!("code=c&state=s{}", (0..63).map(|n| format!("&p{n}")).collect::<String>()), Err(CallbackParameter)),
    ];
    for (query, wanted) in table {
        let outcome = AuthorizationResponse::parse(Some(&query)).map(drop).map_err(|failure| failure.reason);
        assert_eq!(outcome, wanted, "{}", query.chars().take(100).collect::<String>());
    }
    assert_eq!(
        AuthorizationResponse::parse(None).map_err(|failure| failure.reason).expect_err("nothing"),
        CallbackNotFromSignIn
    );
}

#[test]
fn an_authorization_response_is_decoded() {
    let parsed =
        AuthorizationResponse::parse(Some("code=a%2Bb+c&state=1.x-_&iss=https%3A%2F%2Fa.example")).expect("good");
    let wanted = AuthorizationResponse::Granted(Granted {
        code: Some("a+b c".into()),
        id_token: None,
        state: "1.x-_".into(),
        iss: Some("https://a.example".into()),
        mode: ResponseMode::Query,
    });
    assert_eq!(parsed, wanted);
    assert_eq!((parsed.state(), parsed.iss(), parsed.failure()), ("1.x-_", Some("https://a.example"), None));
    assert!(!format!("{parsed:?}").contains("a+b c"));
}

#[test]
fn the_providers_words_are_escaped_and_cut() {
    let description = format!("%3Cb%3E%0a%1b[31m%E2%80%AE{}", "x".repeat(4000));
    let query = format!("error=access_denied&state=s&error_description={description}");
    let failure = AuthorizationResponse::parse(Some(&query)).expect("well-formed").failure().expect("an error");
    assert_eq!(failure.reason, Reason::ProviderSaidNo);
    assert!(
        failure.detail.starts_with(r"the provider said `access_denied`: `<b>\u{a}\u{1b}[31m\u{202e}xx"),
        "{failure}"
    );
    assert!(failure.detail.chars().count() < 600 && failure.detail.ends_with("…`"), "{failure}");
}

#[test]
fn a_providers_error_has_a_reason() {
    let table = [
        ("access_denied", Reason::ProviderSaidNo),
        ("login_required", Reason::SilentSignIn),
        ("consent_required", Reason::ConsentNeeded),
        ("interaction_required", Reason::SilentSignIn),
        ("account_selection_required", Reason::SilentSignIn),
        ("something_new", Reason::ProviderSaidNo),
        ("server_error", Reason::ProviderUnreachable),
        ("temporarily_unavailable", Reason::ProviderUnreachable),
        ("unauthorized_client", Reason::FlowRefused),
        ("invalid_request", Reason::ProviderMisconfigured),
        ("invalid_scope", Reason::ScopeRefused),
        ("unsupported_response_type", Reason::FlowRefused),
    ];
    for (error, wanted) in table {
        let response = AuthorizationResponse::parse(Some(&format!("state=s&error={error}"))).expect("well-formed");
        assert_eq!(response.failure().map(|failure| failure.reason), Some(wanted), "{error}");
    }
}

fn url(text: &str) -> Url {
    text.parse().expect("an address")
}

#[test]
fn the_issuer_is_compared_to_the_letter_of_its_path() {
    let table = [
        ("https://a.example", "https://a.example", true),
        ("https://a.example", "https://a.example/", true),
        ("https://a.example/", "https://a.example", true),
        ("https://a.example/x", "https://a.example/x", true),
        ("https://a.example/x", "https://a.example/x/", false),
        ("https://a.example/x/", "https://a.example/x", false),
        ("https://a.example/x", "https://a.example/X", false),
        ("https://a.example", "http://a.example", false),
        ("https://a.example", "https://a.example:8443", false),
        ("https://a.example", "https://a.example.evil.example", false),
        ("https://a.example", "https://a.example?x", false),
        ("https://a.example", "a.example", false),
        ("https://a.example", "", false),
    ];
    for (configured, said, wanted) in table {
        assert_eq!(is_issuer(&url(configured), said), wanted, "{configured} {said}");
    }
}

#[test]
fn discovery_is_below_the_issuer() {
    for (issuer, wanted) in [
        ("https://a.example", "https://a.example/.well-known/openid-configuration"),
        ("https://a.example/realms/r", "https://a.example/realms/r/.well-known/openid-configuration"),
        ("https://a.example/realms/r/", "https://a.example/realms/r/.well-known/openid-configuration"),
    ] {
        assert_eq!(openid_configuration(&url(issuer)).expect("an address").as_str(), wanted);
    }
}

fn metadata(changes: Value) -> Result<Metadata, Failure> {
    let mut document = json!({
        "issuer": "https://a.example",
        "authorization_endpoint": "https://a.example/authorize",
        "token_endpoint": "https://t.example/token",
        "jwks_uri": "https://a.example/keys",
        "response_types_supported": ["code"],
    });
    for (name, value) in changes.as_object().expect("an object") {
        document[name] = value.clone();
    }
    Metadata::parse(document.to_string().as_bytes(), &settings("https://a.example", "").provider[0])
}

#[test]
fn metadata_needs_what_the_code_flow_needs() {
    use Reason::*;
    let table = [
        (json!({}), Ok(())),
        (json!({ "id_token_signing_alg_values_supported": ["none", 5], "scopes_supported": null }), Ok(())),
        (json!({ "end_session_endpoint": "", "userinfo_endpoint": "ftp://x" }), Ok(())),
        (json!({ "issuer": "https://b.example" }), Err(DiscoveryIssuer)),
        (json!({ "issuer": "https://a.example/{tenantid}/v2.0" }), Err(DiscoveryIssuer)),
        (json!({ "issuer": 7 }), Err(DiscoveryForm)),
        (json!({ "token_endpoint": null }), Err(DiscoveryForm)),
        (json!({ "authorization_endpoint": "" }), Err(DiscoveryForm)),
        (json!({ "authorization_endpoint": "javascript:alert(1)" }), Err(DiscoveryForm)),
        (json!({ "authorization_endpoint": "https://a.example/#x" }), Err(DiscoveryForm)),
        (json!({ "jwks_uri": "/keys" }), Err(DiscoveryForm)),
        (json!({ "jwks_uri": "http://a.example/keys" }), Err(DiscoveryForm)),
        (json!({ "token_endpoint": "https://u:p@a.example/token" }), Err(DiscoveryForm)),
    ];
    for (changes, wanted) in table {
        assert_eq!(metadata(changes.clone()).map(drop).map_err(|failure| failure.reason), wanted, "{changes}");
    }
}

#[test]
fn an_issuer_for_several_tenants_is_taken_where_they_are_named() {
    let tenants = "provider = 'entra'\ntenants = ['11111111-2222-3333-4444-555555555555']";
    let (host, template) = ("https://login.microsoftonline.com", "https://login.microsoftonline.com/{tenantid}/v2.0");
    for (issuer, more, said, wanted) in [
        (format!("{host}/common/v2.0"), tenants, template, None),
        (format!("{host}/organizations/v2.0"), tenants, template, None),
        (
            format!("{host}/common/v2.0"),
            tenants,
            "https://evil.example/{tenantid}/v2.0",
            Some("expected `https://login.mic"),
        ),
        (format!("{host}/common/v2.0"), tenants, &format!("{host}/common/v2.0"), Some("{tenantid}/v2.0`, got")),
        (format!("{host}/common/v2.0"), "", template, Some("needs `provider = \"entra\"` and `tenants`")),
    ] {
        let document = json!({
            "issuer": said, "authorization_endpoint": "https://a.example", "token_endpoint": "https://a.example",
            "jwks_uri": "https://a.example", "response_types_supported": ["code"],
        });
        let settings = settings(&issuer, more);
        let parsed = Metadata::parse(document.to_string().as_bytes(), &settings.provider[0]);
        let fits = match (&parsed, wanted) {
            (Ok(metadata), None) => metadata.issuer == said,
            (Err(failure), Some(named)) => failure.reason == Reason::DiscoveryIssuer && failure.detail.contains(named),
            _ => false,
        };
        assert!(fits, "{issuer} {said}: {parsed:?}");
    }
}

#[test]
fn the_client_authenticates_exactly_one_way() {
    use ClientAuth::{
        Auto, ClientSecretBasic as Basic, ClientSecretJwt as SecretJwt, ClientSecretPost as Post, None as Nothing,
        PrivateKeyJwt as KeyJwt, TlsClientAuth as Tls,
    };
    let (nothing, secret) = (Means::default(), Means { secret: true, ..Means::default() });
    let key = Means { key: true, ..Means::default() };
    let certificate = Means { certificate: true, ..key };
    let all = Means { secret: true, ..certificate };
    let table = [
        (json!(null), Auto, secret, Basic),
        (json!(["client_secret_post", "client_secret_basic"]), Auto, secret, Basic),
        (json!(["client_secret_jwt", "client_secret_post"]), Auto, secret, Post),
        (json!(["client_secret_jwt", "private_key_jwt"]), Auto, secret, SecretJwt),
        (json!(["private_key_jwt"]), Auto, secret, Basic),
        (json!(["client_secret_basic"]), Auto, nothing, Nothing),
        (json!(["client_secret_basic"]), Post, secret, Post),
        (json!(["client_secret_basic"]), Nothing, secret, Nothing),
        (json!(null), Auto, key, KeyJwt),
        (json!(["tls_client_auth"]), Auto, key, KeyJwt),
        (json!(["tls_client_auth", "private_key_jwt"]), Auto, certificate, KeyJwt),
        (json!(["tls_client_auth", "client_secret_basic"]), Auto, all, Tls),
        (json!(["self_signed_tls_client_auth"]), Auto, certificate, Tls),
        (json!(["client_secret_basic"]), Auto, all, KeyJwt),
        (json!(["private_key_jwt"]), Tls, certificate, Tls),
        (json!(["private_key_jwt"]), SecretJwt, secret, SecretJwt),
        (json!(["private_key_jwt"]), KeyJwt, secret, Nothing),
    ];
    for (offered, configured, means, wanted) in table {
        let metadata = metadata(json!({ "token_endpoint_auth_methods_supported": offered })).expect("good");
        assert_eq!(metadata.client_auth(configured, means), wanted, "{offered} {configured:?}");
    }
}

#[test]
fn what_a_provider_does_not_offer_is_named_before_anybody_signs_in() {
    let table = [
        (json!({}), "", vec![]),
        (json!({ "response_types_supported": ["id_token"] }), "", vec!["`code`, which sign-in needs"]),
        (json!({}), "auth_method = 'implicit'", vec!["does not list `id_token`"]),
        (json!({ "response_types_supported": ["id_token code"] }), "auth_method = 'hybrid'", vec![]),
        (
            json!({ "response_types_supported": ["code id_token token"] }),
            "auth_method = 'hybrid'",
            vec!["`code id_token`"],
        ),
        (json!({ "response_modes_supported": ["query"] }), "", vec![]),
        (json!({ "response_modes_supported": ["query"] }), "response_mode = 'form_post'", vec!["`form_post`"]),
        (json!({ "code_challenge_methods_supported": ["plain"] }), "", vec!["`S256`"]),
        (json!({ "code_challenge_methods_supported": ["plain", "S256"] }), "", vec![]),
        (
            json!({ "token_endpoint_auth_methods_supported": ["client_secret_basic"] }),
            "client_auth = 'client_secret_post'\nclient_secret = 'x'",
            vec!["`client_secret_post`, which `client_auth` uses"],
        ),
        (json!({}), "userinfo = true", vec!["there is no `userinfo_endpoint`"]),
    ];
    for (changes, more, wanted) in table {
        let settings = settings("https://a.example", more);
        let (metadata, settings) = (metadata(changes.clone()).expect("good"), &settings.provider[0]);
        let means = Means { secret: settings.client_secret.is_some(), ..Means::default() };
        let found = metadata.shortcomings(metadata.client_auth(settings.client_auth, means), settings);
        let named = found.iter().zip(&wanted).all(|(found, wanted)| found.detail.contains(wanted));
        assert!(found.len() == wanted.len() && named, "{changes} {more}: {found:?}");
        assert!(found.iter().all(|failure| failure.reason == Reason::ProviderCapability));
    }
}

#[test]
fn endpoints_that_take_certificates_are_known_by_name_where_they_can_be_used() {
    let aliases = json!({ "token_endpoint": "https://mtls.example/token", "userinfo_endpoint": 7, "x": "ftp://x" });
    let metadata = metadata(json!({ "mtls_endpoint_aliases": aliases })).expect("good");
    let alias = |name| metadata.mtls_alias(name).map(Url::as_str);
    assert_eq!(alias("token_endpoint"), Some("https://mtls.example/token"));
    assert_eq!((alias("userinfo_endpoint"), alias("x")), (None, None));
}

#[test]
fn a_key_set_is_read_leniently_and_used_strictly() {
    let good = Signer::new("k").jwk();
    let mut for_verifying = good.clone();
    for_verifying["key_ops"] = json!(["verify"]);
    let mut for_wrapping = good.clone();
    for_wrapping["key_ops"] = json!(["wrapKey"]);
    let mut unknown_use = good.clone();
    unknown_use["use"] = json!("tls");
    let short = json!({ "kty": "RSA", "n": "AAAA".repeat(43), "e": "AQAB" });
    let table = [
        (json!({ "keys": [good] }), true),
        (json!({ "keys": [7, null, {}, { "kty": "XX" }, short, { "kty": "RSA" }, for_verifying], "more": {} }), true),
        (json!({ "keys": [for_wrapping, unknown_use, short] }), false),
        (json!({ "keys": [] }), false),
        (json!({ "keys": { "a": good } }), false),
        (json!({}), false),
        (json!([good]), false),
        (json!({ "keys": vec![good.clone(); 100] }), true),
        (json!({ "keys": vec![good.clone(); 101] }), false),
    ];
    for (document, wanted) in table {
        let parsed = KeySet::parse(document.to_string().as_bytes());
        assert_eq!(parsed.is_ok(), wanted, "{}", document.to_string().chars().take(200).collect::<String>());
        assert!(parsed.is_ok() || parsed.is_err_and(|failure| failure.reason == Reason::KeysFailed));
    }
}

/// The vector of openidconnect's own tests, whose modulus begins with a zero byte.
#[test]
fn an_rsa_signature_is_verified() {
    let jwk = json!({ "kty": "RSA", "e": "AQAB", "use": "sig", "kid": "r", "n": "AN0M6Y760b9Ok2PxDOps1TgSmiOaR9mLIfUHtZ_o-6JypOckGcl1CxrteyokOb3WyDsfIAN9fFNrycv5YoLKO7sh0IcfzNEXFgzK84HTBcGuqhN8NV98Z6N9EryUrgJYsJeVoPYm0MzkDe4NyWHhnq-9OyNCQzVELH0NhhViQqRyM92OPrJcQlk8s3ZvcgRmkd-rEtRua8SbS3GEvfvgweVy5-qcJCGoziKfx-IteMOm6yKoHvqisKb91N-qw_kSS4YQUx-DZVDo2g24F7VIbcYzJGUOU674HUF1j-wJyXzG3VV8lAXD8hABs5Lh87gr8_hIZD5gbYBJRObJk9XZbfk" });
    let signature = "bg0ohqKwYHAiODeG6qkJ-6IhodN7LGPxAh4hbWeIoBdSXrXMt8Ft8U0BV7vANPvF56h20XB9C0021x2kt7iAbMgPNcZ7LCuXMPPq04DrBpMHafH5BXBwnyDKJKrzDm5sfr6OgEkcxSLHaSJ6gTWQ3waPt6_SeH2-Fi74rg13MHyX-0iqz7bZveoBbGIs5yQCwvXgrDS9zW5LUwUHozHfE6FuSi_Z92ioXeu7FHHDg1KFfg3hs8ZLx4wAX15Vw2GCQOzvyNdbItxXRLnrN1NPqxFquVNo5RGlx6ihR1Jfe7y_n0NSR2q2TuU4cIwR0LRwEaANy5SDqtleQPrTEn8nGQ";
    let signature =
        base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, signature).expect("base64");
    let verify = |keys: &Value, algorithm, message: &[u8]| {
        let keys = KeySet::parse(json!({ "keys": [keys] }).to_string().as_bytes()).expect("keys");
        keys.verify(Some("r"), algorithm, message, &signature).map(drop).map_err(|failure| failure.reason)
    };
    use TokenAlgorithm::{PS256, RS256, RS512};
    assert_eq!(verify(&jwk, RS256, b"THIS IS A SIGNATURE TEST"), Ok(()));
    assert_eq!(verify(&jwk, RS256, b"THIS IS NO SIGNATURE TEST"), Err(Reason::TokenSignature));
    assert_eq!(verify(&jwk, RS512, b"THIS IS A SIGNATURE TEST"), Err(Reason::TokenSignature));
    assert_eq!(verify(&jwk, PS256, b"THIS IS A SIGNATURE TEST"), Err(Reason::TokenSignature));
    let mut only_rs512 = jwk;
    only_rs512["alg"] = json!("RS512");
    assert_eq!(verify(&only_rs512, RS256, b"THIS IS A SIGNATURE TEST"), Err(Reason::TokenAlgorithm));
}

fn identity_of(settings: &Settings, claims: Value) -> Result<Identity, Failure> {
    let Value::Object(claims) = claims else { panic!("an object") };
    identity(&ClaimNames::of_provider(&settings.provider[0]), &NeededClaims::of(settings), "u-1", &claims)
}

#[test]
fn an_identity_is_made_of_the_configured_claims() {
    let more = "user_claim = 'upn'\ngroups_claim = 'realm_access.roles'\n\
                [[headers.set]]\nname = 'X-Dept'\nclaim = 'org.dept'\n\
                [[headers.set]]\nname = 'X-Name'\nclaim = 'name'\n\
                [[route]]\nallow = { claims = [{ claim = 'https://a.example/tier', equals = 'gold' }] }\n";
    let settings = settings("https://idp.example", more);
    let made = identity_of(
        &settings,
        json!({
            "sub": "u-1", "upn": 4711, "email": "a@b.example", "email_verified": "TRUE", "name": "Ä", "preferred_username": 7,
            "realm_access": { "roles": ["b", "a", "b", 7, null], "secret": 1 },
            "org": { "dept": ["x"], "cost": 3 }, "https://a.example/tier": "gold", "unneeded": "x".repeat(10_000),
        }),
    )
    .expect("an identity");
    assert_eq!((made.provider.as_str(), made.subject.as_str(), made.user.as_str()), ("corp", "u-1", "4711"));
    assert_eq!((made.email.as_deref(), made.email_verified), (Some("a@b.example"), Some(true)));
    assert_eq!((made.name.as_deref(), made.preferred_username), (Some("Ä"), None));
    assert_eq!(made.groups, Some(vec!["b".into(), "a".into(), "7".into()]));
    assert_eq!(
        Value::Object(made.claims.0.clone()),
        json!({ "org": { "dept": ["x"] }, "https://a.example/tier": "gold" })
    );
    assert_eq!(made.claims.at("org.dept").map(strings), Some(vec!["x".into()]));
}

#[test]
fn groups_may_be_one_or_none_or_absent() {
    let settings = settings("https://idp.example", "");
    let groups =
        |value: Value| identity_of(&settings, json!({ "sub": "u-1", "groups": value })).map(|made| made.groups);
    assert_eq!(groups(json!("one")), Ok(Some(vec!["one".into()])));
    assert_eq!(groups(json!([])), Ok(Some(vec![])));
    assert_eq!(groups(json!(null)), Ok(None));
    assert_eq!(groups(json!({ "a": 1 })).map_err(|failure| failure.reason), Err(Reason::ClaimMalformed));
    assert_eq!(identity_of(&settings, json!({ "sub": "u-1" })).map(|made| made.groups), Ok(None));
}

#[test]
fn zitadel_s_roles_are_the_names_in_an_object() {
    let claim = "urn:zitadel:iam:org:project:roles";
    let made = |names: bool| format!("[[provider.claims]]\nname = 'groups'\nfrom = ['{claim}']\nnames = {names}\n");
    let settings = |names| settings("https://idp.example", &made(names));
    let roles = json!({ "admin": { "1": "a.example" }, "reader": { "1": "a.example", "2": "b.example" } });
    let groups = |names| identity_of(&settings(names), json!({ "sub": "u-1", claim: roles })).map(|made| made.groups);
    assert_eq!(groups(true), Ok(Some(vec!["admin".into(), "reader".into()])));
    assert_eq!(groups(false).map_err(|failure| failure.reason), Err(Reason::ClaimMalformed));
}

#[test]
fn a_claim_that_cannot_be_used_is_named() {
    let settings =
        settings("https://idp.example", "user_claim = 'email'\n[[headers.set]]\nname = 'X-D'\nclaim = 'd.e'\n");
    let table = [
        (json!({}), Reason::ClaimMalformed, "email"),
        (json!({ "email": "" }), Reason::ClaimMalformed, "email"),
        (json!({ "email": ["a@b.example"] }), Reason::ClaimMalformed, "email"),
        (json!({ "email": "a\n@b.example" }), Reason::ClaimMalformed, "email"),
        (json!({ "email": "a@b.example", "email_verified": "maybe" }), Reason::ClaimMalformed, "email_verified"),
        // Whoever may write any address into a profile would be anybody.
        (json!({ "email": "a@b.example", "email_verified": false }), Reason::EmailUnverified, "email"),
        (json!({ "email": "a@b.example", "name": "a\r\nX-Admin: 1" }), Reason::ClaimMalformed, "name"),
        (
            json!({ "email": "a@b.example", "preferred_username": "a\u{85}" }),
            Reason::ClaimMalformed,
            "preferred_username",
        ),
        (json!({ "email": "a@b.example", "groups": ["a", "b\u{0}"] }), Reason::ClaimMalformed, "groups"),
        (json!({ "email": "a@b.example", "d": { "e": [{ "x": "\u{7f}" }] } }), Reason::ClaimMalformed, "`d`"),
    ];
    for (claims, reason, named) in table {
        let refused = identity_of(&settings, claims.clone()).expect_err(named);
        assert_eq!(refused.reason, reason, "{claims}");
        assert!(refused.detail.contains(named) && !refused.detail.contains('\n'), "{refused}");
    }
    let unneeded = json!({ "email": "a@b.example", "bio": "two\nlines", "d": { "f": "\n" } });
    assert!(identity_of(&settings, unneeded).is_ok());
}

#[test]
fn needed_claims_are_those_of_rules_and_headers() {
    let settings = settings(
        "https://idp.example",
        "[[headers.set]]\nname = 'X-A'\nclaim = 'groups'\n[[headers.set]]\nname = 'X-B'\nclaim = 'a.b'\n\
         [[headers.set]]\nname = 'X-C'\nclaim = 'a'\n",
    );
    let claims = json!({ "sub": "u-1", "groups": ["g"], "a": { "b": 1, "c": 2 }, "a.b": 3 });
    let made = identity_of(&settings, claims).expect("an identity");
    assert_eq!(Value::Object(made.claims.0), json!({ "a": { "b": 1, "c": 2 }, "a.b": 3 }));
    assert_eq!(
        NeededClaims::of(&crate::oidc::tests::support::settings("https://a.example", "")),
        NeededClaims::default()
    );
}
