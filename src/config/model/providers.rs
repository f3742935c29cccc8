//! Providers: where people sign in, how the gateway authenticates itself there, and what their claims are called.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Url;

use super::{TENANT, TokenAlgorithm};
use crate::config::values::{Period, Secret};

/// Which product a provider is. A preset sets what differs from product to product, each time by a key that can be set
/// otherwise; docs/providers.md says which.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Preset {
    /// Any OpenID provider.
    #[default]
    Generic,
    Keycloak,
    Okta,
    /// Microsoft Entra ID, tokens of version 2.
    Entra,
    /// Microsoft Entra ID, tokens of version 1.
    EntraV1,
    Auth0,
    Google,
    /// Amazon Cognito user pools.
    Cognito,
    /// Lark and Feishu.
    Lark,
    Gitlab,
    Authentik,
    Zitadel,
    Dex,
}

impl Preset {
    /// Its name in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Preset::Generic => "generic",
            Preset::Keycloak => "keycloak",
            Preset::Okta => "okta",
            Preset::Entra => "entra",
            Preset::EntraV1 => "entra-v1",
            Preset::Auth0 => "auth0",
            Preset::Google => "google",
            Preset::Cognito => "cognito",
            Preset::Lark => "lark",
            Preset::Gitlab => "gitlab",
            Preset::Authentik => "authentik",
            Preset::Zitadel => "zitadel",
            Preset::Dex => "dex",
        }
    }

    /// In either version.
    pub fn is_entra(self) -> bool {
        matches!(self, Preset::Entra | Preset::EntraV1)
    }
}

/// How people sign in (OpenID Connect Core §3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AuthMethod {
    /// Authorization code flow with PKCE: `response_type=code`.
    #[default]
    Pkce,
    /// Implicit flow: `response_type=id_token`, posted by the browser. No access token is asked for.
    Implicit,
    /// Hybrid flow: `response_type=code id_token` with PKCE, posted by the browser.
    Hybrid,
}

/// How the provider's answer comes back with the browser.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ResponseMode {
    /// In the address.
    Query,
    /// In a form that the browser posts (OAuth 2.0 Form Post Response Mode).
    FormPost,
}

/// How the gateway authenticates itself to the provider (OpenID Connect Core §9, RFC 8705).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClientAuth {
    /// With a `client_secret` what the provider's metadata offers, `client_secret_basic` first; with a `client_key_file`
    /// `private_key_jwt`, or `tls_client_auth` where the metadata offers only that; without either `none`.
    #[default]
    Auto,
    /// A public client; PKCE alone protects the code.
    None,
    ClientSecretBasic,
    ClientSecretPost,
    /// An assertion signed with the secret.
    ClientSecretJwt,
    /// An assertion signed with the key of `client_key_file`.
    PrivateKeyJwt,
    /// The certificate of `client_certificate_file` in the TLS handshake.
    TlsClientAuth,
}

impl ClientAuth {
    /// Its name in metadata (OpenID Connect Discovery §3); `None` for [`ClientAuth::Auto`].
    pub fn name(self) -> Option<&'static str> {
        match self {
            ClientAuth::Auto => None,
            ClientAuth::None => Some("none"),
            ClientAuth::ClientSecretBasic => Some("client_secret_basic"),
            ClientAuth::ClientSecretPost => Some("client_secret_post"),
            ClientAuth::ClientSecretJwt => Some("client_secret_jwt"),
            ClientAuth::PrivateKeyJwt => Some("private_key_jwt"),
            ClientAuth::TlsClientAuth => Some("tls_client_auth"),
        }
    }
}

/// Whom an assertion names as its audience.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AssertionAudience {
    /// The issuer, as OpenID Connect Core §9 says since its second errata.
    #[default]
    Issuer,
    /// The address that is asked, as Okta demands.
    Endpoint,
}

/// How the provider's own session is ended at sign-out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogoutForm {
    /// As OpenID Connect RP-Initiated Logout 1.0 says, at `end_session_endpoint`.
    #[default]
    EndSession,
    /// `client_id` and `returnTo`, at `/v2/logout` of the issuer.
    Auth0,
    /// `client_id` and `logout_uri`, at `/logout` of the host with the authorization endpoint.
    Cognito,
    /// Not at all.
    None,
}

/// A claim made from others, before anything reads them.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClaimMap {
    /// The claim that is made, as headers and rules read it; one of that name is replaced.
    pub name: String,
    /// Claims by path. The first that says something is taken; with `join` all of them.
    pub from: Vec<String>,
    /// Put between the texts of all claims in `from`, which then make one text.
    pub join: Option<String>,
    /// Take the names of the members where one of `from` is an object, as ZITADEL writes roles.
    #[serde(default)]
    pub names: bool,
    /// What it is where none of `from` says anything.
    pub default: Option<String>,
}

/// Stands for every tenant in `tenants`.
pub const ANY_TENANT: &str = "*";

/// Google's issuer, and what its ID tokens may say instead by its reference: the host alone.
pub const GOOGLE_TOKENS: (&str, &str) = ("https://accounts.google.com", "accounts.google.com");

/// One OpenID provider.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Provider {
    /// Name used by routes, in metrics and in logs.
    #[serde(default = "default_provider_name")]
    pub name: String,
    /// Name on the sign-in page; the `name` unless set.
    pub display_name: Option<String>,
    /// Which product it is.
    #[serde(default, rename = "provider")]
    pub preset: Preset,
    /// The issuer, to the letter as the provider's metadata says it.
    pub issuer: Url,
    /// Tenants whose people may sign in where the issuer is for several (Entra's `common` and `organizations`), by id;
    /// `"*"` alone stands for all of them, personal accounts among them.
    #[serde(default)]
    pub tenants: Vec<String>,
    /// How people sign in.
    #[serde(default)]
    pub auth_method: AuthMethod,
    /// How the answer comes back; in the address for `pkce`, and always posted for the others.
    pub response_mode: Option<ResponseMode>,
    /// The client id the provider gave.
    pub client_id: String,
    /// The client secret the provider gave; none for a public client.
    pub client_secret: Option<Secret>,
    /// File with the client secret; used as `client_secret`.
    pub client_secret_file: Option<PathBuf>,
    #[serde(default)]
    pub client_auth: ClientAuth,
    /// PEM file with the private key for `private_key_jwt` and `tls_client_auth`: RSA, P-256, P-384 or Ed25519.
    pub client_key_file: Option<PathBuf>,
    /// Name of that key at the provider: `kid` of the assertions.
    pub client_key_id: Option<String>,
    /// PEM file with that key's certificate: shown for `tls_client_auth`, and named by its thumbprint in the assertions of
    /// `private_key_jwt`, as Entra wants it.
    pub client_certificate_file: Option<PathBuf>,
    /// Algorithm of the assertions; by the key unless set, and HS256 with a secret.
    pub client_assertion_algorithm: Option<TokenAlgorithm>,
    /// Audience of the assertions.
    #[serde(default)]
    pub client_assertion_audience: AssertionAudience,
    /// Send `Origin` with token requests, as Entra demands for public clients registered as single-page applications and
    /// forbids for all others.
    #[serde(default)]
    pub send_origin: bool,
    /// Scopes to ask for; `openid` is always among them. `offline_access` asks for a refresh token.
    #[serde(default = "default_scopes")]
    pub scopes: Vec<String>,
    /// Further parameters of the authorization request.
    #[serde(default)]
    pub authorization_params: BTreeMap<String, String>,
    /// `prompt` of the authorization request (OpenID Connect Core §3.1.2.1).
    pub prompt: Option<String>,
    /// `max_age` of the authorization request; checked against `auth_time`.
    pub max_age: Option<Period>,
    /// `acr_values` of the authorization request; the answer's `acr` must be one of them.
    #[serde(default)]
    pub acr_values: Vec<String>,
    /// `login_hint` of the authorization request.
    pub login_hint: Option<String>,
    /// `domain_hint` of the authorization request (Entra; `hd` for Google goes into `authorization_params`).
    pub domain_hint: Option<String>,
    /// Claim that names the user to the app.
    #[serde(default = "default_user_claim")]
    pub user_claim: String,
    /// Claim with the e-mail address.
    #[serde(default = "default_email_claim")]
    pub email_claim: String,
    /// Claim with the groups, by path (`realm_access.roles`).
    #[serde(default = "default_groups_claim")]
    pub groups_claim: String,
    /// Claims made from others: renamed, joined, or with a default.
    #[serde(default)]
    pub claims: Vec<ClaimMap>,
    /// Also ask the userinfo endpoint at sign-in, and use its claims where the ID token has none of that name.
    #[serde(default)]
    pub userinfo: bool,
    /// Algorithms accepted for ID tokens. `none` never is; HS256, HS384 and HS512, whose key is the `client_secret`, only
    /// where they are listed.
    #[serde(default = "default_id_token_algorithms")]
    pub id_token_algorithms: Vec<TokenAlgorithm>,
    /// PEM file with the private keys, RSA or EC, for ID tokens that the provider encrypts for the gateway.
    pub decryption_key_file: Option<PathBuf>,
    /// Other audiences an ID token may name beside the `client_id`.
    #[serde(default)]
    pub trusted_audiences: Vec<String>,
    /// How far the provider's clock may be off.
    #[serde(default = "default_leeway")]
    pub leeway: Period,
    /// How the provider's own session is ended.
    #[serde(default)]
    pub logout: LogoutForm,
    /// Address where it is ended, instead of looking it up in the metadata.
    pub logout_endpoint: Option<Url>,
    /// Take the refresh token back at sign-out where the provider offers that (RFC 7009).
    #[serde(default = "yes")]
    pub revoke_tokens: bool,
    /// PEM file with the certificate authorities trusted for this provider, instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// Longest wait for an answer of the provider.
    #[serde(default = "default_provider_timeout")]
    pub timeout: Period,
    /// How often metadata and keys are fetched again.
    #[serde(default = "default_refresh_every")]
    pub refresh_every: Period,
}

impl Provider {
    /// `issuer` as `iss` may spell it. An address without a path is the same with and without a slash, and the metadata
    /// alone tells which one is meant; the two are one issuer. One that is for several tenants has `{tenantid}` in it.
    pub fn issuer_texts(&self) -> Vec<String> {
        if let Some(template) = self.tenant_template() {
            return vec![template];
        }
        let text = self.issuer.to_string();
        let mut texts =
            match text.strip_suffix('/').filter(|_| self.issuer.path() == "/" && self.issuer.query().is_none()) {
                Some(bare) => vec![bare.to_owned(), text],
                None => vec![text],
            };
        texts.extend((self.preset == Preset::Google).then(|| GOOGLE_TOKENS.1.to_owned()));
        texts
    }

    /// What an issuer for several tenants calls itself in its metadata: Entra's `common` and `organizations`, with
    /// `{tenantid}` in their place. `None` where it is one tenant's, or of another product.
    pub fn tenant_template(&self) -> Option<String> {
        let several = ["common", "organizations"].into_iter().filter(|_| self.preset.is_entra());
        let text = self.issuer.as_str();
        several
            .map(|word| format!("/{word}/"))
            .find(|part| self.issuer.path().starts_with(part.as_str()))
            .map(|part| text.replacen(&part, &format!("/{TENANT}/"), 1))
    }

    /// The Google Workspace whose people may sign in, `*` for those of any: `hd` of the authorization request, which by
    /// itself only chooses what Google's page offers.
    pub fn hosted_domain(&self) -> Option<&str> {
        let asked = self.authorization_params.get("hd").filter(|_| self.preset == Preset::Google);
        asked.map(String::as_str)
    }

    /// Whether ID tokens may be signed with the client secret.
    pub fn takes_hmac(&self) -> bool {
        self.id_token_algorithms.iter().any(|algorithm| algorithm.is_hmac())
    }

    /// What to do where the provider signs ID tokens with `hmac`, which is not among `id_token_algorithms`.
    pub fn how_to_accept(&self, hmac: TokenAlgorithm) -> String {
        let needed = hmac.least_secret();
        let other = "or have the provider sign ID tokens with RS256, which is safer";
        match self.client_secret.as_ref().map(|secret| secret.expose().chars().count()) {
            None => format!(
                "Have the provider sign ID tokens with RS256; or set `client_secret`, of at least {needed} characters, and \
                 `id_token_algorithms = [\"{hmac:?}\"]`."
            ),
            Some(length) if length < needed => format!(
                "Have the provider sign ID tokens with RS256: for `id_token_algorithms = [\"{hmac:?}\"]` the `client_secret` is \
                 too short, and needs at least {needed} characters."
            ),
            Some(_) => {
                format!("Set `id_token_algorithms = [\"{hmac:?}\"]`, by which the `client_secret` is the key, {other}.")
            }
        }
    }

    /// How the answer comes back with the browser. An ID token in an address would stay in histories and logs, so those
    /// flows are posted.
    pub fn response_mode(&self) -> ResponseMode {
        match self.auth_method {
            AuthMethod::Pkce => self.response_mode.unwrap_or(ResponseMode::Query),
            AuthMethod::Implicit | AuthMethod::Hybrid => ResponseMode::FormPost,
        }
    }
}

/// Path of the redirect URI of the provider called `name`, the one at `index` of all. Each has its own, so that an answer
/// of one provider is never taken for another's (RFC 9700 §4.4.2.2).
pub fn callback(index: usize, name: &str) -> String {
    match index {
        0 => CALLBACK.to_owned(),
        _ => format!("{CALLBACK}/{name}"),
    }
}

/// Path of the first provider's redirect URI.
pub const CALLBACK: &str = "/oidc/callback";

fn yes() -> bool {
    true
}
fn default_provider_name() -> String {
    "main".into()
}
fn default_scopes() -> Vec<String> {
    ["openid", "profile", "email"].map(String::from).into()
}
fn default_user_claim() -> String {
    "sub".into()
}
pub(super) fn default_email_claim() -> String {
    "email".into()
}
pub(super) fn default_groups_claim() -> String {
    "groups".into()
}
pub(super) fn default_leeway() -> Period {
    Period::seconds(60)
}
pub(super) fn default_provider_timeout() -> Period {
    Period::seconds(10)
}
fn default_refresh_every() -> Period {
    Period::seconds(600)
}
fn default_id_token_algorithms() -> Vec<TokenAlgorithm> {
    use TokenAlgorithm::*;
    vec![RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512, EdDSA]
}
