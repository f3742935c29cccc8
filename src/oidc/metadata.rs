//! What the provider says about itself (OpenID Connect Discovery §3).
//!
//! Only what the code flow needs is read, and only that can be wrong: a document with members of odd types, unknown
//! algorithms or empty addresses elsewhere is a document that many providers publish.

use serde_json::Value;
use url::Url;

use crate::config::model::{AuthMethod, ClientAuth, ResponseMode};
use crate::issuer_metadata::{document, endpoint, is_issuer, issuer, list, no_endpoint, other_issuer};
use crate::reason::{Failure, Reason};

/// The part of the provider's metadata that the gateway uses.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Metadata {
    /// To the letter as the provider writes it; the `iss` of its tokens and responses has to be the same.
    pub issuer: String,
    pub authorization_endpoint: Url,
    pub token_endpoint: Url,
    pub jwks_uri: Url,
    pub userinfo_endpoint: Option<Url>,
    pub end_session_endpoint: Option<Url>,
    /// `None` where the provider does not say, which means `client_secret_basic`.
    pub client_auth_methods: Option<Vec<String>>,
    pub response_types: Vec<String>,
    /// `None` where the provider does not say.
    pub response_modes: Option<Vec<String>>,
    /// The provider puts `iss` into its authorization responses (RFC 9207 §3).
    pub sends_issuer: bool,
}

impl Metadata {
    /// Reads the document that was fetched for `configured`.
    pub fn parse(body: &[u8], configured: &Url) -> Result<Metadata, Failure> {
        let document = document(body)?;
        let issuer = issuer(&document)?;
        if !is_issuer(configured, issuer) {
            let hint = match issuer.contains("{tenantid}") {
                true => "; write the tenant's own issuer, an issuer for several tenants is a placeholder",
                false => "",
            };
            return Err(other_issuer(configured.as_str(), issuer, hint));
        }
        let plain = |_: &Url| match configured.scheme() {
            "http" => Ok(()),
            _ => Err("is not https, and the issuer is"),
        };
        let needed = |name| endpoint(&document, name, plain)?.ok_or_else(|| no_endpoint(name));
        // Sign-in works without these; an address that cannot be used is as good as none.
        let optional = |name| endpoint(&document, name, plain).unwrap_or_default();
        Ok(Metadata {
            issuer: issuer.to_owned(),
            authorization_endpoint: needed("authorization_endpoint")?,
            token_endpoint: needed("token_endpoint")?,
            jwks_uri: needed("jwks_uri")?,
            userinfo_endpoint: optional("userinfo_endpoint"),
            end_session_endpoint: optional("end_session_endpoint"),
            client_auth_methods: list(&document, "token_endpoint_auth_methods_supported"),
            response_types: list(&document, "response_types_supported").unwrap_or_default(),
            response_modes: list(&document, "response_modes_supported"),
            sends_issuer: document.get("authorization_response_iss_parameter_supported") == Some(&Value::Bool(true)),
        })
    }

    /// How the client authenticates itself, exactly one way (RFC 6749 §2.3): never [`ClientAuth::Auto`].
    pub fn client_auth(&self, configured: ClientAuth, has_secret: bool) -> ClientAuth {
        let offers = |method| self.client_auth_methods.as_ref().is_some_and(|m| m.iter().any(|m| m == method));
        match configured {
            _ if !has_secret => ClientAuth::None,
            ClientAuth::Auto if !offers("client_secret_basic") && offers("client_secret_post") => {
                ClientAuth::ClientSecretPost
            }
            // Also where the provider says nothing, or nothing we know (Discovery §3: basic is the default).
            ClientAuth::Auto => ClientAuth::ClientSecretBasic,
            chosen => chosen,
        }
    }

    /// What the configuration asks for and this provider does not offer. It may work all the same, for documents are
    /// often incomplete; so these are warnings.
    pub fn shortcomings(&self, auth: ClientAuth, wants_userinfo: bool) -> Vec<Failure> {
        let mut found = Vec::new();
        let mut lacks = |what: &str| found.push(Failure::new(Reason::ProviderCapability, what));
        // `none` is rarely listed, even where public clients are registered.
        let method = auth.name().filter(|_| auth != ClientAuth::None);
        if let (Some(method), Some(offered)) = (method, &self.client_auth_methods)
            && !offered.iter().any(|offer| offer == method)
        {
            lacks(&format!(
                "`token_endpoint_auth_methods_supported` does not list `{method}`, which `client_auth` uses"
            ));
        }
        if wants_userinfo && self.userinfo_endpoint.is_none() {
            lacks("`userinfo = true`, and there is no `userinfo_endpoint`");
        }
        found
    }

    /// The same for the way of a sign-in.
    pub fn flow_shortcomings(&self, flow: AuthMethod, mode: ResponseMode) -> Vec<Failure> {
        let mut found = Vec::new();
        let mut lacks = |what: String| found.push(Failure::new(Reason::ProviderCapability, what));
        let wanted = match flow {
            AuthMethod::Pkce => "code",
            AuthMethod::Implicit => "id_token",
            AuthMethod::Hybrid => "code id_token",
        };
        // The order of several says nothing (OAuth 2.0 Multiple Response Types §3).
        let sorted = |kind: &str| {
            let mut parts: Vec<String> = kind.split(' ').map(str::to_owned).collect();
            parts.sort();
            parts
        };
        if !self.response_types.iter().any(|kind| sorted(kind) == sorted(wanted)) {
            lacks(format!("`response_types_supported` does not list `{wanted}`"));
        }
        let posted = |modes: &Vec<String>| modes.iter().any(|offered| offered == "form_post");
        if mode == ResponseMode::FormPost && !self.response_modes.as_ref().is_none_or(posted) {
            lacks("`response_modes_supported` does not list `form_post`".to_owned());
        }
        found
    }
}
