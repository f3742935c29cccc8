//! Programs: whose tokens are accepted, what may be exchanged for one, and accounts with keys.

use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Url;

use super::providers::{default_email_claim, default_groups_claim, default_leeway, default_provider_timeout};
use super::{Allow, ClaimMap, ClaimRule, ClientAuth, Provider};
use crate::config::values::{ByteSize, Period, Secret};

/// The name of the gateway itself where routes list issuers, and of the provider of whom its own tokens are for.
pub const OWN_ISSUER: &str = "doorward";
/// What the identity of a service account has where a person's has the name of a `[[provider]]`.
pub const OF_ACCOUNTS: &str = "service-account";

/// `iss` and audience of the gateway's own tokens, and what its addresses begin with: the public URL without a slash at
/// the end.
pub fn own_issuer(public_url: &Url) -> String {
    public_url.as_str().trim_end_matches('/').to_owned()
}

/// Bearer tokens (RFC 6750), whoever issued them.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Bearer {
    /// `realm` of the `WWW-Authenticate` that a refusal carries.
    pub realm: String,
    /// Longest token that is looked at.
    pub max_token_bytes: ByteSize,
    /// Memory for verified tokens, so that the next request with the same token costs no signature check; 0 for none.
    pub cache_bytes: ByteSize,
}

impl Default for Bearer {
    fn default() -> Self {
        Bearer {
            realm: "doorward".into(),
            max_token_bytes: ByteSize(16 * 1024),
            cache_bytes: ByteSize(32 * 1024 * 1024),
        }
    }
}

/// One issuer whose tokens are accepted on routes with `access = "bearer"` or `"signed-in-or-bearer"`.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Issuer {
    /// Name used by routes, in metrics and in logs.
    pub name: String,
    /// Take `issuer` from the `[[provider]]` of this name, and `ca_file`, `timeout` and the names of claims where they are
    /// not set here.
    pub provider: Option<String>,
    /// `iss` of its tokens, to the letter. `{tenantid}` in it stands for each of `tenants`.
    pub issuer: Option<String>,
    /// Further values of `iss` that its tokens may have. Entra signs v1 tokens as `https://sts.windows.net/TENANT/`.
    #[serde(default)]
    pub issuer_aliases: Vec<String>,
    /// Tenants that `{tenantid}` in `issuer` and `issuer_aliases` may stand for. Metadata and keys are those of the
    /// tenant `common`, as Entra publishes them for all.
    #[serde(default)]
    pub tenants: Vec<String>,
    /// Scheme, host and port at which the issuer is reached from here, where that differs from `issuer` (containers):
    /// metadata, keys and introspection are asked for there. Tokens are held to `issuer` all the same.
    pub address: Option<Url>,
    /// Address of the key set (RFC 7517), instead of looking it up in the issuer's metadata.
    pub jwks_uri: Option<Url>,
    /// File with the key set, instead of fetching it. Read again when it changes.
    pub jwks_file: Option<PathBuf>,
    /// Secret shared with the issuer, for tokens signed with HS256, HS384 or HS512, instead of a key set.
    pub secret: Option<Secret>,
    /// File with the shared secret; used as `secret`.
    pub secret_file: Option<PathBuf>,
    /// Audiences of which a token must name one.
    #[serde(default)]
    pub audiences: Vec<String>,
    /// Accept tokens that are meant for anybody: whoever gets a token of this issuer for another service can use it here.
    #[serde(default)]
    pub any_audience: bool,
    /// Signature algorithms accepted; all but the HMAC family unless set, and those alone with `secret`.
    #[serde(default)]
    pub algorithms: Vec<TokenAlgorithm>,
    /// `typ` of the header that a token may have (RFC 9068 §2.1): `at+jwt`, `JWT` (which includes none), or `any`.
    #[serde(default = "default_typ")]
    pub typ: Vec<String>,
    /// Also accept ID tokens, which are made for signing in and not for APIs.
    #[serde(default)]
    pub id_tokens: bool,
    /// Also accept tokens that are bound to a key of their sender (`cnf`: DPoP, mutual TLS). The key is not checked, so
    /// whoever has the token can use it.
    #[serde(default)]
    pub bound_tokens: bool,
    /// Claims that a token must have, and their values; all of them.
    #[serde(default)]
    pub required_claims: Vec<ClaimRule>,
    /// Scopes that a token must have (`scope` or `scp`); all of them.
    #[serde(default)]
    pub required_scopes: Vec<String>,
    /// How far the issuer's clock may be off.
    #[serde(default = "default_leeway")]
    pub leeway: Period,
    /// Claim that names the user to the app; that of `provider` unless set, and `sub` without one.
    pub user_claim: Option<String>,
    /// Claim with the e-mail address; that of `provider` unless set, and `email` without one.
    pub email_claim: Option<String>,
    /// Claim with the groups, by path (`realm_access.roles`); that of `provider` unless set, and `groups` without one.
    pub groups_claim: Option<String>,
    /// Claims made from others: renamed, joined, or with a default; those of `provider` unless set.
    #[serde(default)]
    pub claims: Vec<ClaimMap>,
    /// PEM file with the certificate authorities trusted for this issuer, instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// Longest wait for an answer of the issuer; that of `provider` unless set, and 10s without one.
    pub timeout: Option<Period>,
    /// Keys are fetched again at least this often; sooner where the answer's `Cache-Control` says so.
    #[serde(default = "default_keys_refresh")]
    pub refresh_every: Period,
    /// How long keys are used while no newer ones can be fetched.
    #[serde(default = "default_keys_limit")]
    pub keys_max_age: Period,
    /// Ask the issuer about tokens that are no JWT (RFC 7662), at the endpoint that its metadata names.
    #[serde(default)]
    pub introspection: bool,
    /// Address of the introspection endpoint, instead of looking it up in the metadata.
    pub introspection_endpoint: Option<Url>,
    /// How long an answer of the introspection endpoint is used, at most; never longer than the token's `exp`.
    #[serde(default = "default_introspection_cache")]
    pub introspection_cache: Period,
    /// The client id that the introspection endpoint knows the gateway by.
    pub client_id: Option<String>,
    /// The client secret for introspection.
    pub client_secret: Option<Secret>,
    /// File with the client secret; used as `client_secret`.
    pub client_secret_file: Option<PathBuf>,
    #[serde(default)]
    pub client_auth: ClientAuth,
}

/// What stands for a tenant in `issuer` and `issuer_aliases`, as in Entra's metadata.
pub const TENANT: &str = "{tenantid}";

/// The tenant in `iss`, where `template` with `{tenantid}` stands for it.
pub fn tenant_in<'i>(template: &str, iss: &'i str) -> Option<&'i str> {
    let (before, behind) = template.split_once(TENANT)?;
    let tenant = iss.strip_prefix(before)?.strip_suffix(behind)?;
    Some(tenant).filter(|tenant| !tenant.is_empty() && !tenant.contains('/'))
}

impl Issuer {
    /// Every `iss` that the entry stands for: its own and those of its `[[provider]]`, in each of `tenants`.
    pub fn texts(&self, provider: Option<&Provider>) -> Vec<String> {
        let provided = provider.into_iter().flat_map(Provider::issuer_texts);
        let all = self.issuer.iter().cloned().chain(provided).chain(self.issuer_aliases.iter().cloned());
        all.flat_map(|text| self.of_tenants(text)).collect()
    }

    /// `text` with each of `tenants` where it holds `{tenantid}`.
    pub fn of_tenants(&self, text: String) -> Vec<String> {
        match text.contains(TENANT) {
            true => self.tenants.iter().map(|tenant| text.replace(TENANT, tenant)).collect(),
            false => vec![text],
        }
    }

    /// The entry with what it takes from its `[[provider]]`; what it says itself stays.
    pub fn resolved(&self, provider: &Provider) -> Issuer {
        let mut issuer = self.clone();
        let mut texts = provider.issuer_texts().into_iter();
        issuer.issuer = texts.next();
        issuer.issuer_aliases.extend(texts);
        issuer.ca_file = issuer.ca_file.or_else(|| provider.ca_file.clone());
        issuer.timeout.get_or_insert(provider.timeout);
        issuer.user_claim.get_or_insert_with(|| provider.user_claim.clone());
        issuer.email_claim.get_or_insert_with(|| provider.email_claim.clone());
        issuer.groups_claim.get_or_insert_with(|| provider.groups_claim.clone());
        if issuer.claims.is_empty() {
            issuer.claims.clone_from(&provider.claims);
        }
        issuer
    }

    pub fn user_claim(&self) -> String {
        self.user_claim.clone().unwrap_or_else(default_user_claim)
    }

    pub fn email_claim(&self) -> String {
        self.email_claim.clone().unwrap_or_else(default_email_claim)
    }

    pub fn groups_claim(&self) -> String {
        self.groups_claim.clone().unwrap_or_else(default_groups_claim)
    }

    pub fn timeout(&self) -> Duration {
        self.timeout.unwrap_or_else(default_provider_timeout).0
    }

    /// The entry that the gateway's own tokens are judged by: those it made itself, for itself.
    pub fn own(public_url: &Url) -> Issuer {
        let origin = own_issuer(public_url);
        Issuer {
            name: OWN_ISSUER.into(),
            provider: None,
            issuer: Some(origin.clone()),
            issuer_aliases: Vec::new(),
            tenants: Vec::new(),
            address: None,
            jwks_uri: None,
            jwks_file: None,
            secret: None,
            secret_file: None,
            audiences: vec![origin],
            any_audience: false,
            algorithms: vec![TokenAlgorithm::EdDSA],
            typ: vec!["at+jwt".into()],
            id_tokens: false,
            bound_tokens: false,
            required_claims: Vec::new(),
            required_scopes: Vec::new(),
            leeway: default_leeway(),
            user_claim: None,
            email_claim: None,
            groups_claim: None,
            claims: Vec::new(),
            ca_file: None,
            timeout: None,
            refresh_every: default_keys_refresh(),
            keys_max_age: default_keys_limit(),
            introspection: false,
            introspection_endpoint: None,
            introspection_cache: default_introspection_cache(),
            client_id: None,
            client_secret: None,
            client_secret_file: None,
            client_auth: ClientAuth::Auto,
        }
    }
}

fn default_typ() -> Vec<String> {
    ["at+jwt", "JWT"].map(String::from).into()
}
fn default_user_claim() -> String {
    "sub".into()
}
fn default_keys_refresh() -> Period {
    Period::seconds(3600)
}
fn default_keys_limit() -> Period {
    Period::seconds(24 * 3600)
}
fn default_introspection_cache() -> Period {
    Period::seconds(60)
}

/// Signature algorithm of a token (RFC 7518 §3.1, RFC 8037 §3.1).
#[allow(clippy::upper_case_acronyms)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize, Serialize, JsonSchema)]
pub enum TokenAlgorithm {
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
    ES256,
    ES384,
    ES512,
    EdDSA,
    HS256,
    HS384,
    HS512,
}

impl TokenAlgorithm {
    /// Whether it signs and verifies with one shared secret.
    pub fn is_hmac(self) -> bool {
        matches!(self, TokenAlgorithm::HS256 | TokenAlgorithm::HS384 | TokenAlgorithm::HS512)
    }

    /// Fewest characters of a secret that signs with it (RFC 7518 §3.2).
    pub fn least_secret(self) -> usize {
        match self {
            TokenAlgorithm::HS512 => 64,
            TokenAlgorithm::HS384 => 48,
            _ => 32,
        }
    }
}

/// Exchanging an issuer's JWT for a token of the gateway's own (RFC 7523), at `/oidc/token`.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Federation {
    /// The `[[issuer]]` entries whose assertions are taken; every one's where it is empty.
    #[serde(default)]
    pub issuers: Vec<String>,
    /// Audiences of which an assertion must name one.
    #[serde(default)]
    pub audiences: Vec<String>,
    /// Take assertions that are meant for anybody.
    #[serde(default)]
    pub skip_audience_validation: bool,
    /// Claim of the assertion that has to be the person's e-mail address.
    #[serde(default = "default_user_claim")]
    pub subject_claim: String,
    /// Whose assertions are taken. Without it, those of registered service accounts alone.
    pub allow: Option<Allow>,
    /// How long a token of the gateway is valid.
    #[serde(default = "default_token_lifetime")]
    pub token_lifetime: Period,
}

impl Default for Federation {
    fn default() -> Self {
        Federation {
            issuers: Vec::new(),
            audiences: Vec::new(),
            skip_audience_validation: false,
            subject_claim: default_user_claim(),
            allow: None,
            token_lifetime: default_token_lifetime(),
        }
    }
}

fn default_token_lifetime() -> Period {
    Period::seconds(3600)
}

/// An account for programs, with keys of its own or known by an issuer's tokens.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServiceAccount {
    /// Name: the user that the app sees, and the label in metrics and logs.
    pub name: String,
    /// E-mail address that the app sees.
    pub email: Option<String>,
    /// Groups or teams it is a member of.
    #[serde(default)]
    pub groups: Vec<String>,
    /// The `[[issuer]]` whose tokens with `external_subject` are this account's.
    pub external_issuer: Option<String>,
    /// `sub` of those tokens.
    pub external_subject: Option<String>,
    /// Users whom it may name as those it works for (`X-Wandb-Username`, `X-Wandb-User-Email`), on routes with
    /// `attribution = true`: user names, e-mail addresses, or `@example.com` for all of a domain.
    #[serde(default)]
    pub acts_for: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings;

    #[test]
    fn what_an_entry_says_itself_is_not_its_provider_s_though_it_be_the_default() {
        let text = |entry: &str| {
            format!(
                "public_url = 'https://a.example'
                [[provider]]
                issuer = 'https://login.example'
                client_id = 'c'
                timeout = '7s'
                user_claim = 'upn'
                email_claim = 'mail'
                groups_claim = 'roles'
                [[issuer]]
                name = 'people'
                provider = 'main'
                {entry}"
            )
        };
        let whole = "timeout = '10s'\nuser_claim = 'sub'\nemail_claim = 'email'\ngroups_claim = 'groups'";
        for (entry, timeout, claims) in [("", 7, ["upn", "mail", "roles"]), (whole, 10, ["sub", "email", "groups"])] {
            let settings: Settings = toml::from_str(&text(entry)).expect("toml");
            let issuer = settings.issuer[0].resolved(settings.provider_of(&settings.issuer[0]).expect("provider"));
            assert_eq!(issuer.texts(None), ["https://login.example", "https://login.example/"]);
            assert_eq!(issuer.timeout(), Duration::from_secs(timeout));
            assert_eq!([issuer.user_claim(), issuer.email_claim(), issuer.groups_claim()], claims);
        }
    }
}
