//! What a provider is like, as its public documents say: read from `products/NAME.json`, one file a product.
//!
//! Claims and errors hold `{client_id}`, `{redirect_uri}`, `{scope}` (the unknown ones) and `{back}` (where a sign-out
//! wants to go back to) where the provider puts these.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

/// The products of which there is a stand-in, by the names of their presets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    Keycloak,
    Okta,
    Entra,
    /// Entra for people of any tenant: the metadata's issuer holds `{tenantid}`, the ID token's a tenant.
    EntraCommon,
    /// The same for people of any organisation.
    EntraOrganizations,
    EntraV1,
    Auth0,
    Google,
    Cognito,
    Lark,
    Gitlab,
    Authentik,
    Zitadel,
    Dex,
}

/// The tenant of everybody who signs in at Entra.
pub const TENANT: &str = "8f14e45f-ceea-467f-a8c6-1d2b3c4d5e6f";

impl Which {
    pub const ALL: [Which; 14] = [
        Which::Keycloak,
        Which::Okta,
        Which::Entra,
        Which::EntraCommon,
        Which::EntraOrganizations,
        Which::EntraV1,
        Which::Auth0,
        Which::Google,
        Which::Cognito,
        Which::Lark,
        Which::Gitlab,
        Which::Authentik,
        Which::Zitadel,
        Which::Dex,
    ];

    /// The name of its preset.
    pub fn preset(self) -> &'static str {
        match self {
            Which::Keycloak => "keycloak",
            Which::Okta => "okta",
            Which::Entra | Which::EntraCommon | Which::EntraOrganizations => "entra",
            Which::EntraV1 => "entra-v1",
            Which::Auth0 => "auth0",
            Which::Google => "google",
            Which::Cognito => "cognito",
            Which::Lark => "lark",
            Which::Gitlab => "gitlab",
            Which::Authentik => "authentik",
            Which::Zitadel => "zitadel",
            Which::Dex => "dex",
        }
    }

    fn text(self) -> &'static str {
        match self {
            Which::Keycloak => include_str!("products/keycloak.json"),
            Which::Okta => include_str!("products/okta.json"),
            Which::Entra | Which::EntraCommon | Which::EntraOrganizations => include_str!("products/entra.json"),
            Which::EntraV1 => include_str!("products/entra-v1.json"),
            Which::Auth0 => include_str!("products/auth0.json"),
            Which::Google => include_str!("products/google.json"),
            Which::Cognito => include_str!("products/cognito.json"),
            Which::Lark => include_str!("products/lark.json"),
            Which::Gitlab => include_str!("products/gitlab.json"),
            Which::Authentik => include_str!("products/authentik.json"),
            Which::Zitadel => include_str!("products/zitadel.json"),
            Which::Dex => include_str!("products/dex.json"),
        }
    }

    /// Its description.
    pub fn product(self) -> Product {
        let mut product: Product = serde_json::from_str(self.text()).unwrap_or_else(|e| panic!("{self:?}: {e}"));
        product.token_issuer = product.issuer.clone();
        let tenants = match self {
            Which::EntraCommon => "common",
            Which::EntraOrganizations => "organizations",
            _ => return product,
        };
        let metadata = Value::Object(product.metadata).to_string().replace(TENANT, tenants);
        let Ok(Value::Object(metadata)) = serde_json::from_str(&metadata) else { panic!("metadata of {self:?}") };
        product.metadata = metadata;
        product.issuer = product.issuer.replace(TENANT, tenants);
        let template = product.token_issuer.replace(TENANT, "{tenantid}");
        product.metadata.insert("issuer".into(), template.clone().into());
        product.signing_key.insert("issuer".into(), template.into());
        product
    }
}

/// The description of a provider.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Product {
    /// As an operator configures it.
    pub issuer: String,
    /// `iss` of its ID tokens.
    #[serde(default)]
    pub token_issuer: String,
    pub client_id: String,
    /// The discovery document.
    pub metadata: Map<String, Value>,
    /// Other addresses below which the same document is.
    #[serde(default)]
    pub metadata_also_at: Vec<String>,
    /// Members of the published key beside `kty`, `n`, `e` and `kid`.
    pub signing_key: Map<String, Value>,
    pub sub: String,
    /// Claims of the ID token beside those that OpenID Connect asks for.
    pub id_token: Map<String, Value>,
    /// Claims of userinfo beside `sub`.
    pub userinfo: Map<String, Value>,
    /// Claims that need a scope; others are always there.
    pub by_scope: BTreeMap<String, Vec<String>>,
    /// Claims that the ID token lacks where an access token comes along: they are at userinfo then.
    #[serde(default)]
    pub not_beside_access_token: Vec<String>,
    /// Claims of the ID token that it has only where they are registered (Entra's optional claims).
    #[serde(default)]
    pub optional_claims: Vec<String>,
    /// Scopes it knows although the metadata does not name them.
    #[serde(default)]
    pub more_scopes: Vec<String>,
    /// Scopes that it does not know are let through.
    #[serde(default)]
    pub any_scope: bool,
    /// The ways a confidential client may authenticate itself, as it is registered unless a test says otherwise.
    pub client_auth: Vec<String>,
    /// The response types of that registration.
    pub response_types: Vec<String>,
    pub refresh: Refresh,
    /// Parameters that it adds to a successful authorization response.
    #[serde(default)]
    pub response_extra: BTreeMap<String, String>,
    /// What it answers at the authorization endpoint, by mistake.
    pub authorize_errors: BTreeMap<String, Refusal>,
    /// What it answers at the token endpoint, by mistake.
    pub token_errors: BTreeMap<String, Refusal>,
    #[serde(default)]
    pub logout: Option<Logout>,
}

/// When there is a refresh token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refresh {
    Always,
    /// With the scope of that name.
    OfflineAccess,
    /// With `access_type=offline`.
    AccessType,
}

/// How it refuses.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum Refusal {
    /// A page of its own; the browser does not come back.
    Page { status: u16, page: String },
    /// An answer in JSON.
    Answer { status: u16, body: Value },
    /// The browser comes back with it.
    Back { error: String, error_description: String },
}

/// How a sign-out goes.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Logout {
    /// Where it is, if not at the `end_session_endpoint`.
    #[serde(default)]
    pub endpoint: Option<String>,
    /// The parameter that says where to go back to.
    pub back: String,
    #[serde(default)]
    pub requires: Vec<String>,
    #[serde(default)]
    pub requires_one_of: Vec<String>,
    /// Where the address to go back to is not registered, or there is none.
    pub refused: Refusal,
    /// Where a required parameter is missing.
    #[serde(default)]
    pub missing: Option<Refusal>,
}

/// What kind of client is registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A confidential client: a web application with a secret.
    Web,
    /// A public client: a single-page application, without one.
    SinglePage,
}

/// The client as the provider has it.
#[derive(Clone, Debug)]
pub struct Registration {
    pub kind: Kind,
    pub client_id: String,
    pub secret: String,
    /// The secret's time is over.
    pub secret_expired: bool,
    /// The ways it may authenticate itself.
    pub client_auth: Vec<String>,
    /// The certificate (PEM) and its public key (PEM) whose assertions are taken (`private_key_jwt`).
    pub certificate: Option<(String, String)>,
    /// The name (`kid`) and public key (PEM) of a key that the provider made, whose assertions are taken.
    pub key: Option<(String, String)>,
    pub response_types: Vec<String>,
    pub redirect_uris: Vec<String>,
    pub post_logout_redirect_uris: Vec<String>,
    /// Those of the product's optional claims that its ID tokens have.
    pub optional_claims: Vec<String>,
    /// `RS256`, or `HS256` with the secret.
    pub id_token_alg: String,
    /// The public key (SPKI) to which ID tokens are encrypted, and `enc`; `alg` is RSA-OAEP-256.
    pub encryption: Option<(Vec<u8>, &'static str)>,
}

impl Product {
    /// An entry of the metadata, as text.
    pub fn endpoint(&self, name: &str) -> &str {
        self.metadata.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    pub fn logout_endpoint(&self) -> Option<&str> {
        let own = self.logout.as_ref()?.endpoint.as_deref();
        Some(own.unwrap_or_else(|| self.endpoint("end_session_endpoint")))
    }

    /// The host names at which it answers.
    pub fn hosts(&self) -> Vec<String> {
        let metadata = self.metadata.values().filter_map(Value::as_str).chain([self.issuer.as_str()]);
        let all = metadata.chain(self.logout_endpoint()).chain(self.metadata_also_at.iter().map(String::as_str));
        let urls = all.filter_map(|text| reqwest::Url::parse(text).ok());
        let mut hosts: Vec<String> = urls.filter_map(|url| url.host_str().map(str::to_owned)).collect();
        hosts.sort_unstable();
        hosts.dedup();
        hosts
    }

    /// Whether it knows a scope.
    pub fn knows(&self, scope: &str) -> bool {
        let named = self.metadata.get("scopes_supported").and_then(Value::as_array);
        self.any_scope
            || named.is_none_or(|all| all.iter().any(|s| s == scope))
            || self.more_scopes.iter().any(|s| s == scope)
    }

    /// Those of `claims` that go with the scopes, with the placeholders filled in.
    pub fn granted(&self, claims: &Map<String, Value>, scopes: &[String], client_id: &str) -> Map<String, Value> {
        let allowed = |name: &String| {
            let mut needed = self.by_scope.iter().filter(|(_, claims)| claims.contains(name)).map(|(scope, _)| scope);
            let first = needed.next();
            first.is_none_or(|scope| scopes.contains(scope) || needed.any(|scope| scopes.contains(scope)))
        };
        let filled = |value: &Value| match value.as_str() {
            Some("{client_id}") => client_id.into(),
            _ => value.clone(),
        };
        claims.iter().filter(|(name, _)| allowed(name)).map(|(name, value)| (name.clone(), filled(value))).collect()
    }
}
