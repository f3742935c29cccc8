//! Routes: who may reach which part of the app, and how.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::values::{HttpMethod, Period};

/// Who a route lets through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Access {
    /// Everybody, signed in or not.
    Public,
    /// People who have signed in and whom the rules name.
    #[default]
    SignedIn,
    /// Programs with a bearer token or a service account's key; never a redirect.
    Bearer,
    /// Either. A token or key that is there decides; a bad one never falls through to the session.
    SignedInOrBearer,
}

/// One route. Matches when host, path and method all match.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// Name in metrics and logs; made from host and path unless set.
    pub name: Option<String>,
    /// Host, or every host where it is not set.
    pub host: Option<String>,
    /// Path prefix, matched at segment borders: `/api` matches `/api` and `/api/x`, not `/apix`. `/` unless this
    /// or `exact` is set.
    pub path: Option<String>,
    /// Exact path, instead of a prefix.
    pub exact: Option<String>,
    /// Methods; all where empty.
    #[serde(default)]
    pub methods: Vec<HttpMethod>,
    #[serde(default)]
    pub access: Access,
    /// Provider people sign in with here, and whose sessions are accepted; every provider's where it is not set.
    pub provider: Option<String>,
    /// Upstream by name; the first where it is not set.
    pub upstream: Option<String>,
    /// Take the matched prefix off the path before it is sent on.
    #[serde(default)]
    pub strip_prefix: bool,
    /// Let OPTIONS preflights through without a session; the app answers them.
    #[serde(default)]
    pub preflight: bool,
    /// Where a person without a session goes.
    #[serde(default)]
    pub sign_in: SignInStyle,
    /// Who may, among those who are known; all of them where it is not set.
    pub allow: Option<Allow>,
    /// Authentication contexts of which the person's sign-in must have one (`acr`); whose has none is sent to sign in once
    /// more with `acr_values`.
    #[serde(default)]
    pub acr_values: Vec<String>,
    /// How long ago the person may have authenticated at the provider (`auth_time`); who did earlier is sent to sign in once
    /// more with `max_age`.
    pub max_age: Option<Period>,
    /// Have the provider ask the person again (`prompt=login`) where `max_age`, 5m unless set, has passed since the sign-in,
    /// however young the provider's own session is.
    #[serde(default)]
    pub fresh_sign_in: bool,
    /// The `[[issuer]]` entries whose tokens are accepted here, and `doorward` for the gateway's own; every one's where it
    /// is empty.
    #[serde(default)]
    pub issuers: Vec<String>,
    /// Audiences of which a token must name one here, beside what its issuer asks for.
    #[serde(default)]
    pub audiences: Vec<String>,
    /// Scopes that a token must have here; all of them.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// Whose names and passwords are taken here as `Authorization: Basic`, beside keys and tokens.
    #[serde(default)]
    pub basic: BasicWith,
    /// Send the token on to the app. Without it the app gets the identity headers and no credential.
    #[serde(default)]
    pub forward_token: bool,
    /// Pass on whom a service account says it works for, where the account may (`acts_for`).
    #[serde(default)]
    pub attribution: bool,
    /// Describe this route at `/.well-known/oauth-protected-resource` and name that address in refusals (RFC 9728).
    #[serde(default)]
    pub resource_metadata: bool,
}

impl Route {
    /// What it matches, for people: `GET /api on app.example.com`, `exactly /health on any host`.
    pub fn place(&self) -> String {
        let methods: String = self.methods.iter().map(|method| format!("{method} ")).collect();
        let path = match &self.exact {
            Some(exact) => format!("exactly {exact}"),
            None => self.path.clone().unwrap_or_else(|| "/".into()),
        };
        format!("{methods}{path} on {}", self.host.as_deref().unwrap_or("any host"))
    }
}

/// Whose names and passwords a route takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BasicWith {
    /// Nobody's: the password is a service account's key or a token.
    #[default]
    Keys,
    /// Also those of people in the directory of `[ldap]`.
    #[serde(rename = "ldap")]
    Directory,
}

/// Where a person without a session goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SignInStyle {
    /// Straight on to the provider where there is one to choose, else the sign-in page.
    #[default]
    Redirect,
    /// Always the sign-in page with its button.
    Page,
}

/// Rules: whoever meets one entry of any list may pass. Empty lists name nobody.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Allow {
    /// E-mail addresses, compared without regard to case.
    pub emails: Vec<String>,
    /// Domains of e-mail addresses, whole: `example.com` does not match `mail.example.com`.
    pub email_domains: Vec<String>,
    /// Groups, by exact name.
    pub groups: Vec<String>,
    /// Other claims.
    pub claims: Vec<ClaimRule>,
}

/// A rule on one claim; exactly one of `equals`, `contains`, `one_of` is set.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClaimRule {
    /// Claim by path (`realm_access.roles`).
    pub claim: String,
    /// The claim is this string, number or boolean.
    pub equals: Option<String>,
    /// The claim is a list that holds this entry.
    pub contains: Option<String>,
    /// The claim is, or is a list that holds, one of these.
    pub one_of: Option<Vec<String>>,
}
