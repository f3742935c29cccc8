//! Whose people may come, where an issuer lets everybody's come. Google says of each account which Workspace it is of.
//!
//! Issuers for several tenants, as Entra's `common` and `organizations` are: their metadata calls the issuer by a template
//! with `{tenantid}` in it, and each token says in `iss` and `tid` whose tenant it is from.
//!
//! Promise: nobody signs in from a tenant that is not among `tenants` or from another Workspace than `hd` asks
//! for, and no tenant's key signs for another.

use serde_json::{Map, Value};
use url::Url;

use super::signed::{self, Fault};
use crate::config::model::{ANY_TENANT, GOOGLE_TOKENS, Preset, TENANT, tenant_in};
use crate::reason::{Failure, Reason};
use crate::words::in_words;

/// Whether the ID tokens of `issuer` may say `said`: what it calls itself, or what is known of Google's. Only for what
/// Google's own keys have signed.
pub(super) fn is_token_issuer(issuer: &str, said: &str) -> bool {
    is_called(issuer, said) || (issuer, said) == GOOGLE_TOKENS
}

/// How to have tokens of the version that a preset for Entra is for, where `said` is the issuer of the other version.
pub(super) fn how_to_change_version(preset: Preset, said: &str) -> Option<&'static str> {
    let url = Url::parse(said).ok()?;
    match (preset, url.host_str()?) {
        (Preset::Entra, "sts.windows.net" | "sts.chinacloudapi.cn") => Some(
            "The token is of version 1: set `provider = \"entra-v1\"` and `issuer` to the token's; or have version 2, with an \
             `authorization_endpoint` below `/oauth2/v2.0/` and `requestedAccessTokenVersion` (`accessTokenAcceptedVersion`) 2 in the \
             application's manifest.",
        ),
        (Preset::EntraV1, _) if url.path().trim_end_matches('/').ends_with("/v2.0") => {
            Some("The token is of version 2: set `provider = \"entra\"` and `issuer` to the token's.")
        }
        _ => None,
    }
}

/// Whether an issuer, which may be a template, calls itself `said`. Of templates this is a question of form: whose people
/// may come is asked by [`check`].
pub(super) fn is_called(issuer: &str, said: &str) -> bool {
    match issuer.contains(TENANT) {
        // The template itself is nobody's name.
        true => tenant_in(issuer, said).is_some_and(|tenant| tenant != TENANT),
        false => issuer == said,
    }
}

/// Checks that an ID token whose `iss` fits the issuer is from one of `tenants`, where these are asked for.
pub(super) fn check(issuer: &str, said: &str, claims: &Map<String, Value>, tenants: &[String]) -> Result<(), Failure> {
    let Some(tenant) = tenant_in(issuer, said) else { return Ok(()) };
    let named = signed::text(claims, "tid").map_err(|fault| Failure::new(Reason::IdTokenForm, fault.into_detail()))?;
    if named != Some(tenant) {
        let got = named.map_or_else(|| "none".to_owned(), in_words);
        let detail = format!("expected `tid` of the tenant in `iss`, {}, got {got}", in_words(tenant));
        return Err(Failure::new(Reason::IdTokenIssuer, detail));
    }
    may_come(tenant, tenants).map_err(|detail| Failure::new(Reason::TenantRefused, detail))
}

/// Checks that a logout token whose `iss` fits the issuer is from one of `tenants`. It need not have a `tid`; one that it
/// has is the same.
pub(super) fn check_logout(
    issuer: &str,
    said: &str,
    claims: &Map<String, Value>,
    tenants: &[String],
) -> Result<(), Fault> {
    let Some(tenant) = tenant_in(issuer, said) else { return Ok(()) };
    match signed::text(claims, "tid")? {
        Some(other) if other != tenant => Err(Fault::form("`tid` is not the tenant in `iss`")),
        _ => may_come(tenant, tenants).map_err(Fault::Form),
    }
}

fn may_come(tenant: &str, tenants: &[String]) -> Result<(), String> {
    match tenants.iter().any(|one| one == ANY_TENANT || one.eq_ignore_ascii_case(tenant)) {
        true => Ok(()),
        false => Err(format!("the tenant {} (`tid`) is not among `tenants`", in_words(tenant))),
    }
}

/// Checks that Google's ID token is of somebody of the Workspace `domain`, or of any Workspace where that is `*`. Private
/// accounts have no `hd`, whatever their address.
pub(super) fn check_hosted_domain(domain: &str, claims: &Map<String, Value>) -> Result<(), Failure> {
    let named = signed::text(claims, "hd").map_err(|fault| Failure::new(Reason::IdTokenForm, fault.into_detail()))?;
    let named = named.filter(|named| !named.is_empty());
    if named.is_some_and(|named| domain == ANY_TENANT || named.eq_ignore_ascii_case(domain)) {
        return Ok(());
    }
    let got = named.map_or_else(|| "none".to_owned(), in_words);
    Err(Failure::new(Reason::TenantRefused, format!("expected `hd` {}, got {got}", in_words(domain))))
}

/// Whether a key that is published for `key_issuer` may sign what `iss` issued. A set of keys for several tenants says of
/// each key whose it is; keys of both versions of Entra's endpoints are published under the name of one of them, so the
/// tenants are compared where the names differ.
pub(super) fn may_sign(key_issuer: &str, iss: &str) -> bool {
    let tenant = |issuer: &str| {
        let url = Url::parse(&issuer.replace(TENANT, "any")).ok()?;
        let first = url.path_segments()?.next()?.to_owned();
        Some(first).filter(|first| !first.is_empty())
    };
    let of_key = tenant(key_issuer);
    key_issuer == iss || of_key.is_some() && (tenant_place(key_issuer) || of_key == tenant(iss))
}

/// Whether `{tenantid}` stands where the tenant would.
fn tenant_place(issuer: &str) -> bool {
    issuer.split_once("://").and_then(|(_, rest)| rest.split('/').nth(1)) == Some(TENANT)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const V2: &str = "https://login.example/{tenantid}/v2.0";

    #[test]
    fn a_template_stands_for_tenants_and_not_for_itself() {
        for (issuer, said, wanted) in [
            (V2, "https://login.example/t1/v2.0", true),
            (V2, V2, false),
            (V2, "https://login.example//v2.0", false),
            (V2, "https://login.example/t1/x/v2.0", false),
            (V2, "https://login.example.evil/t1/v2.0", false),
            (V2, "https://login.example/t1/v2.0/", false),
            ("https://login.example", "https://login.example", true),
            ("https://login.example", "https://login.example/", false),
        ] {
            assert_eq!(is_called(issuer, said), wanted, "{issuer} {said}");
        }
    }

    #[test]
    fn google_s_tokens_may_name_the_host_alone_and_nobody_else_s() {
        for (issuer, said, wanted) in [
            ("https://accounts.google.com", "accounts.google.com", true),
            ("https://accounts.google.com", "https://accounts.google.com", true),
            ("https://accounts.google.com", "http://accounts.google.com", false),
            ("https://accounts.google.com", "accounts.google.com/", false),
            ("https://login.example", "accounts.google.com", false),
            ("https://login.example", "login.example", false),
        ] {
            assert_eq!(is_token_issuer(issuer, said), wanted, "{issuer} {said}");
        }
        assert!(!is_called("https://accounts.google.com", "accounts.google.com"), "that is no issuer of anything else");
    }

    #[test]
    fn the_other_version_of_entra_is_named() {
        for (preset, said, wanted) in [
            (Preset::Entra, "https://sts.windows.net/t1/", Some("`provider = \"entra-v1\"`")),
            (Preset::Entra, "https://sts.chinacloudapi.cn/t1/", Some("entra-v1")),
            (Preset::EntraV1, "https://login.microsoftonline.com/t1/v2.0", Some("`provider = \"entra\"`")),
            (Preset::Entra, "https://login.microsoftonline.com/t2/v2.0", None),
            (Preset::Entra, "no address", None),
            (Preset::Generic, "https://sts.windows.net/t1/", None),
        ] {
            let remedy = how_to_change_version(preset, said);
            match wanted {
                Some(words) => assert!(remedy.is_some_and(|remedy| remedy.contains(words)), "{said}: {remedy:?}"),
                None => assert_eq!(remedy, None, "{said}"),
            }
        }
    }

    #[test]
    fn a_logout_token_is_from_a_tenant_that_may_come() {
        let tenants = ["T1".to_owned(), "t2".to_owned()];
        let check = |issuer: &str, tenant: &str, claims: Value, tenants: &[String]| {
            let said = format!("https://login.example/{tenant}/v2.0");
            check_logout(issuer, &said, claims.as_object().expect("an object"), tenants).is_ok()
        };
        for (tenant, claims, wanted) in [
            ("t1", json!({}), true),
            ("t2", json!({ "tid": "t2" }), true),
            ("t2", json!({ "tid": "t1" }), false),
            ("t2", json!({ "tid": 2 }), false),
            ("t3", json!({}), false),
            ("t3", json!({ "tid": "t1" }), false),
        ] {
            assert_eq!(check(V2, tenant, claims.clone(), &tenants), wanted, "{tenant} {claims}");
        }
        assert!(check(V2, "t3", json!({}), &[ANY_TENANT.to_owned()]));
        assert!(
            check("https://login.example/t3/v2.0", "t3", json!({}), &[]),
            "an issuer of one tenant has no such list"
        );
    }

    #[test]
    fn no_tenant_s_key_signs_for_another() {
        let (one, v1) = ("https://login.example/t1/v2.0", "https://sts.example/t1/");
        for (key, iss, wanted) in [
            (one, one, true),
            (V2, one, true),
            (V2, v1, true),
            (one, v1, true),
            ("https://login.example/t2/v2.0", one, false),
            ("https://login.example/t2/v2.0", v1, false),
            ("https://login.example/x/{tenantid}", one, false),
            ("https://login.example", one, false),
            ("https://login.example", "https://other.example", false),
            ("{tenantid}", one, false),
        ] {
            assert_eq!(may_sign(key, iss), wanted, "{key} {iss}");
        }
    }
}
