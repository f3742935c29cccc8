//! Rules held against identities.

use super::*;
use serde_json::json;

fn rules(toml: &str) -> Rules {
    Rules::new(&toml::from_str(toml).expect(toml)).expect(toml)
}

fn identity(json: serde_json::Value) -> Identity {
    let mut whole = json!({"p": "main", "s": "1", "u": "jo"});
    whole.as_object_mut().expect("object").extend(json.as_object().expect("object").clone());
    serde_json::from_value(whole).expect("identity")
}

fn reason(rules: &Rules, identity: &Identity) -> Option<Reason> {
    match rules.judge(identity) {
        Verdict::Allow => None,
        Verdict::Deny(failure) => Some(failure.reason),
    }
}

#[test]
fn a_domain_rule_is_met_by_its_whole_domain_and_by_nothing_that_looks_like_it() {
    let rules = rules(r#"email_domains = ["Good.example"]"#);
    for email in ["a@good.example", "A@GOOD.Example", "ä@good.example", "a+b@good.example"] {
        assert_eq!(reason(&rules, &identity(json!({"e": email}))), None, "{email}");
    }
    for email in [
        "a@evil@good.example",
        "a@good.example@evil.example",
        "a@good.example.evil",
        "a@evilgood.example",
        "a@mail.good.example",
        "a@good.example.",
        "a@.good.example",
        "a@good\u{ff0e}example",
        "a@\u{ff47}ood.example",
        "a@good.exampl\u{435}",
        "a@good.example\n",
        "a@good.example\0",
        "a@good.example evil",
        "\"a@evil.example\"@good.example",
        "<a>evil.example,b@good.example",
        "a b@good.example",
        "a\r\n@good.example",
        "@good.example",
        "good.example",
        "",
    ] {
        assert_eq!(reason(&rules, &identity(json!({"e": email}))), Some(Reason::RuleNotMet), "{email:?}");
    }
}

#[test]
fn an_address_is_compared_without_regard_to_ascii_case_only() {
    let rules = rules(r#"emails = ["Kim@Example.com"]"#);
    assert_eq!(reason(&rules, &identity(json!({"e": "kIM@example.COM"}))), None);
    for email in ["\u{212a}im@example.com", "kim@example.com.evil", "xkim@example.com", "kim@example.co"] {
        assert_eq!(reason(&rules, &identity(json!({"e": email}))), Some(Reason::RuleNotMet), "{email:?}");
    }
}

#[test]
fn an_unverified_address_meets_no_rule_and_the_reason_says_so_only_where_it_was_the_way_in() {
    let by_domain = rules(r#"email_domains = ["example.com"]"#);
    let by_claim = rules(r#"claims = [{ claim = "email", equals = "a@example.com" }]"#);
    let either = rules("email_domains = [\"example.com\"]\ngroups = [\"staff\"]");
    for (rules, json, expected) in [
        (&by_domain, json!({"e": "a@example.com", "ev": false}), Some(Reason::EmailUnverified)),
        (&by_claim, json!({"e": "a@example.com", "ev": false}), Some(Reason::EmailUnverified)),
        (&by_domain, json!({"e": "a@example.com", "ev": true}), None),
        (&by_domain, json!({"e": "a@example.com"}), None),
        (&by_domain, json!({"e": "a@other.example", "ev": false}), Some(Reason::RuleNotMet)),
        (&either, json!({"e": "a@example.com", "ev": false, "g": ["staff"]}), None),
        (&either, json!({"e": "a@example.com", "ev": false, "g": []}), Some(Reason::EmailUnverified)),
    ] {
        assert_eq!(reason(rules, &identity(json.clone())), expected, "{json}");
    }
}

#[test]
fn claims_are_compared_whole_and_by_type() {
    let with = |json| identity(json!({ "c": json }));
    for (rule, claims, passes) in [
        (r#"claim = "dept", equals = "ml""#, json!({"dept": "ml"}), true),
        (r#"claim = "dept", equals = "ml""#, json!({"dept": "mlops"}), false),
        (r#"claim = "dept", equals = "ml""#, json!({"dept": ["ml"]}), false),
        (r#"claim = "level", equals = "7""#, json!({"level": 7}), true),
        (r#"claim = "staff", equals = "true""#, json!({"staff": true}), true),
        (r#"claim = "r.roles", contains = "ops""#, json!({"r": {"roles": ["dev", "ops"]}}), true),
        (r#"claim = "r.roles", contains = "ops""#, json!({"r": {"roles": ["devops"]}}), false),
        (r#"claim = "roles", contains = "ops""#, json!({"roles": "ops"}), true),
        (r#"claim = "roles", contains = "ops""#, json!({"roles": "devops"}), false),
        (r#"claim = "roles", one_of = ["a", "b"]"#, json!({"roles": ["x", "b"]}), true),
        (r#"claim = "roles", one_of = ["a", "b"]"#, json!({"roles": "a"}), true),
        (r#"claim = "roles", one_of = ["a", "b"]"#, json!({"roles": [{"a": "b"}, ["a"], null]}), false),
    ] {
        let verdict = reason(&rules(&format!("claims = [{{ {rule} }}]")), &with(claims.clone()));
        assert_eq!(verdict.is_none(), passes, "{rule} {claims}");
    }
}

#[test]
fn standard_fields_can_be_named_like_claims() {
    for (rule, passes) in [
        (r#"claim = "sub", equals = "1""#, true),
        (r#"claim = "user", one_of = ["jo"]"#, true),
        (r#"claim = "name", equals = "Jo""#, true),
        (r#"claim = "preferred_username", equals = "jo""#, true),
        (r#"claim = "groups", contains = "g""#, true),
        (r#"claim = "email_verified", equals = "true""#, true),
        (r#"claim = "groups", equals = "g""#, false),
    ] {
        let jo = identity(json!({"n": "Jo", "pu": "jo", "g": ["g"], "ev": true}));
        assert_eq!(reason(&rules(&format!("claims = [{{ {rule} }}]")), &jo).is_none(), passes, "{rule}");
    }
}

#[test]
fn a_claim_that_is_absent_altogether_is_named() {
    let rules = rules("groups = [\"g\"]\nclaims = [{ claim = \"r.roles\", contains = \"ops\" }]");
    let denied = |json| match rules.judge(&identity(json)) {
        Verdict::Deny(failure) => failure,
        Verdict::Allow => panic!("allowed"),
    };
    let failure = denied(json!({"g": ["x"], "c": {"r": {"roles": null}}}));
    assert_eq!(failure, Failure::new(Reason::ClaimAbsent, "the session holds no claim `r.roles`"));
    assert_eq!(denied(json!({})).detail, "the session holds no claim `groups`, `r.roles`");
    assert_eq!(denied(json!({"g": [], "c": {"r": {"roles": []}}})).reason, Reason::RuleNotMet);
}

#[test]
fn a_rule_that_is_not_met_says_what_was_expected_and_what_came_and_no_whole_address() {
    let rules = rules(
        "groups = [\"ops\"]\nemails = [\"boss@example.org\"]\nemail_domains = [\"example.com\"]\n\
         claims = [{ claim = \"level\", equals = \"7\" }, { claim = \"r.roles\", one_of = [\"a\", \"b\"] }]",
    );
    let many: Vec<_> = (0..300).map(|number| format!("g{number}")).collect();
    let claims = json!({"level": [7], "r": {"roles": "c"}});
    let jo = json!({"e": "jo@other.example", "g": many, "c": claims});
    let Verdict::Deny(failure) = rules.judge(&identity(jo)) else { panic!("allowed") };
    assert_eq!(
        failure.detail,
        "`groups` expected `ops`, got 300, of them `g0`, `g1`, `g2`, `g3`, `g4`; `email_domains` expected \
         `example.com`, got `other.example`; `emails` expected one of 1, got another, of `other.example`; \
         claim `level` expected `7`, got the list of `7`; claim `r.roles` expected `a`, `b`, got `c`"
    );
    let unproved = json!({"e": "jo@example.com", "ev": false, "g": [], "c": claims});
    let Verdict::Deny(failure) = rules.judge(&identity(unproved)) else { panic!("allowed") };
    assert!(failure.detail.contains("`example.com`") && !failure.detail.contains("jo@"), "{}", failure.detail);
}

#[test]
fn rules_that_could_never_be_met_are_refused() {
    for toml in [
        "",
        r#"emails = ["a@b@c"]"#,
        r#"emails = ["nobody"]"#,
        r#"email_domains = ["@example.com"]"#,
        r#"email_domains = ["*.example.com"]"#,
        r#"email_domains = ["exämple.com"]"#,
        r#"email_domains = [""]"#,
        r#"groups = [""]"#,
        r#"claims = [{ claim = "a" }]"#,
        r#"claims = [{ claim = "a", equals = "b", contains = "b" }]"#,
        r#"claims = [{ claim = "a", one_of = [] }]"#,
        r#"claims = [{ claim = "", equals = "b" }]"#,
    ] {
        assert!(Rules::new(&toml::from_str(toml).expect(toml)).is_err(), "{toml}");
    }
}
