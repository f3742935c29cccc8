//! What each product is known to need: laid under whatever somebody set, key by key.
//!
//! A preset is data, and each thing in it is a key that can be set otherwise; where it comes from is shown as
//! `preset NAME`. Only what differs from the defaults is here. How an issuer of the product has to look is judged in
//! `judge/presets.rs`; docs/providers.md tells people both.

use std::collections::BTreeMap;

use super::model::Preset;
use super::origin::Origin;
use super::tree::{Node, Plain};

/// What one product needs.
struct Known {
    preset: Preset,
    /// Scopes beside those that every provider is asked for.
    scopes: &'static [&'static str],
    /// The same, where the issuer is a host alone.
    scopes_of_host: &'static [&'static str],
    email_claim: Option<&'static str>,
    groups_claim: Option<&'static str>,
    /// Claims made from others: name, and what it is taken from.
    claims: &'static [(&'static str, &'static [&'static str])],
    /// These are objects, of whose members the names are taken.
    names: bool,
    /// The ID token of a sign-in with a code lacks claims that the userinfo endpoint has.
    userinfo: bool,
    /// How a client with a secret authenticates itself.
    client_auth: Option<&'static str>,
    /// Whom the assertions of a client with a key name.
    assertion_audience: Option<&'static str>,
    /// Public clients have to send `Origin`.
    send_origin: bool,
    logout: Option<&'static str>,
    refresh_tokens: RefreshTokens,
}

/// What makes the product issue refresh tokens.
enum RefreshTokens {
    /// Nothing: they come unasked, or the product has none.
    Unasked,
    /// The scope `offline_access` (OpenID Connect Core §11).
    OfflineAccess,
    /// A parameter of the authorization request, and `prompt`.
    Parameter { name: &'static str, value: &'static str, prompt: &'static str },
}

const NOTHING: Known = Known {
    preset: Preset::Generic,
    scopes: &[],
    scopes_of_host: &[],
    email_claim: None,
    groups_claim: None,
    claims: &[],
    names: false,
    userinfo: false,
    client_auth: None,
    assertion_audience: None,
    send_origin: false,
    logout: None,
    refresh_tokens: RefreshTokens::Unasked,
};

const KNOWN: [Known; 13] = [
    NOTHING,
    // The mapper for groups writes an empty list for people without groups, so the claim is absent only where nobody
    // configured the mapper, and then roles are what the realm has.
    Known { preset: Preset::Keycloak, claims: &[("groups", &["groups", "realm_access.roles"])], ..NOTHING },
    // Only the authorization server of the organisation knows the scope `groups`; others refuse what was not defined.
    // With an access token beside it the ID token is thin: e-mail address and groups are at the userinfo endpoint.
    // Assertions have to name the very address that is asked.
    Known {
        preset: Preset::Okta,
        scopes_of_host: &["groups"],
        userinfo: true,
        client_auth: Some("client_secret_basic"),
        assertion_audience: Some("endpoint"),
        refresh_tokens: RefreshTokens::OfflineAccess,
        ..NOTHING
    },
    // The issuer of `common` is a template, which is nobody's name.
    Known {
        preset: Preset::Entra,
        assertion_audience: Some("endpoint"),
        send_origin: true,
        refresh_tokens: RefreshTokens::OfflineAccess,
        ..NOTHING
    },
    // Tokens of version 1 have no `email` and no `preferred_username` unless they are added one by one.
    Known {
        preset: Preset::EntraV1,
        email_claim: Some("upn"),
        claims: &[("preferred_username", &["preferred_username", "upn", "unique_name"])],
        assertion_audience: Some("endpoint"),
        send_origin: true,
        ..NOTHING
    },
    Known { preset: Preset::Auth0, logout: Some("auth0"), refresh_tokens: RefreshTokens::OfflineAccess, ..NOTHING },
    // Google issues a refresh token only at a consent.
    Known {
        preset: Preset::Google,
        logout: Some("none"),
        refresh_tokens: RefreshTokens::Parameter { name: "access_type", value: "offline", prompt: "consent" },
        ..NOTHING
    },
    Known { preset: Preset::Cognito, groups_claim: Some("cognito:groups"), logout: Some("cognito"), ..NOTHING },
    Known {
        preset: Preset::Lark,
        claims: &[("email", &["enterprise_email", "email"])],
        userinfo: true,
        client_auth: Some("client_secret_post"),
        logout: Some("none"),
        refresh_tokens: RefreshTokens::OfflineAccess,
        ..NOTHING
    },
    // The ID token has `groups_direct` alone; all groups, and the user's name, are at the userinfo endpoint.
    Known {
        preset: Preset::Gitlab,
        claims: &[("groups", &["groups", "groups_direct"])],
        userinfo: true,
        logout: Some("none"),
        ..NOTHING
    },
    Known { preset: Preset::Authentik, refresh_tokens: RefreshTokens::OfflineAccess, ..NOTHING },
    // An object whose members are the roles. What scopes ask for is at the userinfo endpoint.
    Known {
        preset: Preset::Zitadel,
        scopes: &["urn:zitadel:iam:org:projects:roles"],
        claims: &[("groups", &["urn:zitadel:iam:org:project:roles"])],
        names: true,
        userinfo: true,
        refresh_tokens: RefreshTokens::OfflineAccess,
        ..NOTHING
    },
    Known { preset: Preset::Dex, scopes: &["groups"], refresh_tokens: RefreshTokens::OfflineAccess, ..NOTHING },
];

/// Lays what is known of each provider's product under what the file and the environment say.
///
/// The tree is not checked yet: what is no table, or no known name, is left to the checks behind.
pub(crate) fn overlay(root: &mut Node) {
    let session = root.get("session").and_then(|session| session.get("refresh"));
    let refresh = session.is_some_and(|flag| matches!(flag.plain, Plain::Flag(true)));
    let Plain::Table(settings) = &mut root.plain else { return };
    let Some(Node { plain: Plain::List(providers), .. }) = settings.get_mut("provider") else { return };
    for provider in providers {
        let Plain::Table(keys) = &mut provider.plain else { continue };
        let known = text(keys, "provider").and_then(|name| KNOWN.iter().find(|known| known.preset.name() == name));
        if let Some(known) = known {
            known.lay(&mut Keys { keys, origin: Origin::Preset(known.preset.name()) }, refresh);
        }
    }
}

fn text<'k>(keys: &'k BTreeMap<String, Node>, key: &str) -> Option<&'k str> {
    match keys.get(key).map(|node| &node.plain) {
        Some(Plain::Text(text)) => Some(text),
        _ => None,
    }
}

/// The keys of one provider.
struct Keys<'k> {
    keys: &'k mut BTreeMap<String, Node>,
    origin: Origin,
}

impl Keys<'_> {
    fn has(&self, key: &str) -> bool {
        self.keys.contains_key(key)
    }

    fn node(&self, plain: Plain) -> Node {
        Node::new(plain, self.origin.clone())
    }

    fn text(&self, text: &str) -> Node {
        self.node(Plain::Text(text.to_owned()))
    }

    fn texts<'t>(&self, texts: impl IntoIterator<Item = &'t str>) -> Node {
        self.node(Plain::List(texts.into_iter().map(|text| self.text(text)).collect()))
    }

    /// Sets `key` unless somebody did.
    fn lay(&mut self, key: &str, value: Node) {
        self.keys.entry(key.to_owned()).or_insert(value);
    }

    fn lay_text(&mut self, key: &str, text: Option<&str>) {
        if let Some(text) = text {
            self.lay(key, self.text(text));
        }
    }

    fn lay_flag(&mut self, key: &str, flag: bool) {
        if flag {
            self.lay(key, self.node(Plain::Flag(true)));
        }
    }
}

impl Known {
    fn lay(&self, keys: &mut Keys<'_>, refresh: bool) {
        // An ID token through the browser is all there is then: no access token for the userinfo endpoint, no refresh
        // token, and nobody to authenticate to.
        let implicit = text(keys.keys, "auth_method") == Some("implicit");
        let has_secret = keys.has("client_secret");
        let has_key = keys.has("client_key_file");
        self.lay_scopes(keys, refresh && !implicit);
        keys.lay_text("email_claim", self.email_claim);
        keys.lay_text("groups_claim", self.groups_claim);
        self.lay_claims(keys);
        keys.lay_flag("userinfo", self.userinfo && !implicit);
        keys.lay_text("client_auth", self.client_auth.filter(|_| has_secret && !has_key && !implicit));
        keys.lay_text("client_assertion_audience", self.assertion_audience.filter(|_| has_key && !implicit));
        keys.lay_flag("send_origin", self.send_origin && !has_secret && !has_key && !implicit);
        keys.lay_text("logout", self.logout);
        if let (RefreshTokens::Parameter { name, value, prompt }, true, false) =
            (&self.refresh_tokens, refresh, implicit)
        {
            let empty = keys.node(Plain::Table(BTreeMap::new()));
            keys.lay("authorization_params", empty);
            let value = keys.text(value);
            if let Some(Node { plain: Plain::Table(parameters), .. }) = keys.keys.get_mut("authorization_params") {
                parameters.entry((*name).to_owned()).or_insert(value);
            }
            keys.lay_text("prompt", Some(prompt));
        }
    }

    fn lay_scopes(&self, keys: &mut Keys<'_>, refresh: bool) {
        let issuer = text(keys.keys, "issuer").and_then(|issuer| url::Url::parse(issuer).ok());
        let host_alone = issuer.is_some_and(|issuer| issuer.path() == "/");
        let of_host = if host_alone { self.scopes_of_host } else { &[] };
        let offline = match (refresh, &self.refresh_tokens) {
            (true, RefreshTokens::OfflineAccess) => &["offline_access"][..],
            _ => &[],
        };
        let more = [self.scopes, of_host, offline].concat();
        if !more.is_empty() {
            let scopes = keys.texts(["openid", "profile", "email"].into_iter().chain(more));
            keys.lay("scopes", scopes);
        }
    }

    fn lay_claims(&self, keys: &mut Keys<'_>) {
        let made = |(name, from): &(&str, &[&'static str])| {
            let names = self.names.then(|| ("names", keys.node(Plain::Flag(true))));
            let entries = [("name", keys.text(name)), ("from", keys.texts(from.iter().copied()))];
            let entries = entries.into_iter().chain(names).map(|(key, node)| (key.to_owned(), node));
            keys.node(Plain::Table(entries.collect()))
        };
        let claims: Vec<Node> = self.claims.iter().map(made).collect();
        if !claims.is_empty() {
            let claims = keys.node(Plain::List(claims));
            keys.lay("claims", claims);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::model::{ClientAuth, LogoutForm, Provider};
    use crate::config::{Config, KeyPath};

    fn load(provider: &str, tail: &str) -> Config {
        let text = format!(
            "public_url = \"https://app.example.com\"\nsecrets = [\"0123456789abcdef0123456789abcdef\"]\n\
             [[upstream]]\nurl = \"http://127.0.0.1:3000\"\n\
             [[provider]]\nclient_id = \"app\"\n{provider}\n{tail}"
        );
        let file = tempfile::NamedTempFile::new().expect("file");
        std::fs::write(file.path(), &text).expect("write");
        Config::load(Some(file.path()), &[]).unwrap_or_else(|error| panic!("{text}\n{error}"))
    }

    const REFRESH: &str = "[session]\nrefresh = true\n";
    const OKTA: &str = "provider = \"okta\"\nissuer = \"https://company.okta.com\"\n";

    fn provider(text: &str, tail: &str) -> Provider {
        load(text, tail).settings.provider.remove(0)
    }

    #[test]
    fn every_preset_is_known_by_the_name_that_is_written() {
        for known in &KNOWN {
            assert_eq!(serde_json::json!(known.preset), known.preset.name());
        }
        let names: std::collections::HashSet<_> = KNOWN.iter().map(|known| known.preset).collect();
        assert_eq!(names.len(), KNOWN.len(), "one is there twice");
    }

    #[test]
    fn what_nobody_set_comes_from_the_preset_and_says_so() {
        let config = load(&format!("{OKTA}client_secret = \"x\""), REFRESH);
        let found = &config.settings.provider[0];
        assert_eq!(found.scopes, ["openid", "profile", "email", "groups", "offline_access"]);
        assert_eq!((found.client_auth, found.userinfo), (ClientAuth::ClientSecretBasic, true));
        let key = KeyPath::default().key("provider").index(0);
        for name in ["scopes", "client_auth", "userinfo"] {
            assert_eq!(config.origins.of(&key.key(name)), &Origin::Preset("okta"), "{name}");
        }
        let table = crate::config::table::table(&config);
        let row = table.lines().find(|line| line.starts_with("provider.scopes ")).unwrap_or_default();
        assert!(row.contains("groups") && row.ends_with("preset okta"), "{table}");
    }

    #[test]
    fn what_somebody_set_stays_whatever_the_preset_knows() {
        let said = format!(
            "{OKTA}client_secret = \"x\"\nscopes = [\"openid\"]\nuserinfo = false\nclient_auth = \"client_secret_post\"\n\
             groups_claim = \"teams\"\nlogout = \"none\""
        );
        let found = provider(&said, REFRESH);
        assert_eq!(found.scopes, ["openid"]);
        assert_eq!((found.client_auth, found.userinfo), (ClientAuth::ClientSecretPost, false));
        assert_eq!((found.groups_claim.as_str(), found.logout), ("teams", LogoutForm::None));
    }

    #[test]
    fn an_okta_authorization_server_of_its_own_is_not_asked_for_a_scope_it_refuses() {
        let own = OKTA.replace("okta.com", "okta.com/oauth2/default");
        assert_eq!(provider(&own, "").scopes, ["openid", "profile", "email"]);
    }

    #[test]
    fn a_public_client_at_entra_sends_origin_and_one_with_a_secret_does_not() {
        let entra = "provider = \"entra\"\nissuer = \"https://login.microsoftonline.com/\
                     11111111-2222-3333-4444-555555555555/v2.0\"\n";
        assert!(provider(entra, "").send_origin);
        assert!(!provider(&format!("{entra}client_secret = \"x~y\""), "").send_origin);
        assert!(!provider(&format!("{entra}send_origin = false"), "").send_origin);
    }

    #[test]
    fn a_renewed_session_is_asked_for_in_each_product_s_own_way() {
        let google = "provider = \"google\"\nissuer = \"https://accounts.google.com\"\nclient_secret = \"x\"\n";
        let offline = provider(google, REFRESH);
        assert_eq!(offline.authorization_params.get("access_type").map(String::as_str), Some("offline"));
        assert_eq!(offline.prompt.as_deref(), Some("consent"));
        assert!(!offline.scopes.iter().any(|scope| scope == "offline_access"), "Google refuses the scope");
        assert!(provider(google, "").authorization_params.is_empty());
        let own = "authorization_params = { hd = \"example.com\" }\nprompt = \"select_account\"\n";
        let merged = provider(&format!("{google}{own}"), REFRESH);
        assert_eq!((merged.authorization_params.len(), merged.prompt.as_deref()), (2, Some("select_account")));
        let dex = "provider = \"dex\"\nissuer = \"https://dex.example.com/dex\"\n";
        assert!(provider(dex, REFRESH).scopes.contains(&"offline_access".to_owned()));
        assert!(!provider(dex, "").scopes.contains(&"offline_access".to_owned()));
        let keycloak = "provider = \"keycloak\"\nissuer = \"https://kc.example.com/realms/r\"\n";
        assert_eq!(provider(keycloak, REFRESH).scopes, ["openid", "profile", "email"]);
    }

    #[test]
    fn claims_and_logout_are_those_of_the_product() {
        for (name, issuer, groups, logout) in [
            (
                "cognito",
                "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_AbCdEf",
                "cognito:groups",
                LogoutForm::Cognito,
            ),
            ("auth0", "https://company.eu.auth0.com/", "groups", LogoutForm::Auth0),
            ("google", "https://accounts.google.com", "groups", LogoutForm::None),
            ("zitadel", "https://company.zitadel.cloud", "groups", LogoutForm::EndSession),
            ("keycloak", "https://kc.example.com/realms/r", "groups", LogoutForm::EndSession),
            ("lark", "https://anycross.larksuite.com/sso/X", "groups", LogoutForm::None),
            ("dex", "https://dex.example.com", "groups", LogoutForm::EndSession),
        ] {
            let found = provider(&format!("provider = \"{name}\"\nissuer = \"{issuer}\"\nclient_secret = \"x\""), "");
            assert_eq!((found.groups_claim.as_str(), found.logout), (groups, logout), "{name}");
        }
        let keycloak = provider("provider = \"keycloak\"\nissuer = \"https://kc.example.com/realms/r\"", "");
        assert_eq!(
            (&keycloak.claims[0].from[..], keycloak.claims[0].names),
            (&["groups".to_owned(), "realm_access.roles".to_owned()][..], false)
        );
        let zitadel = provider("provider = \"zitadel\"\nissuer = \"https://company.zitadel.cloud\"", "");
        let made = &zitadel.claims[0];
        assert!(made.name == "groups" && made.names && made.from == ["urn:zitadel:iam:org:project:roles"], "{made:?}");
    }

    #[test]
    fn the_implicit_flow_gets_nothing_that_needs_an_access_token() {
        // Sessions of the other provider are what is renewed.
        let other = "[[provider]]\nname = \"b\"\nissuer = \"https://b.example\"\nclient_id = \"b\"\n";
        let found = provider(&format!("{OKTA}auth_method = \"implicit\""), &format!("{other}{REFRESH}"));
        assert!(!found.userinfo && !found.scopes.contains(&"offline_access".to_owned()), "{:?}", found.scopes);
    }
}
