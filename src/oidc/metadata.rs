//! What the provider says about itself (OpenID Connect Discovery §3).
//!
//! Only what signing in, renewing and signing out need is read, and only the endpoints that no flow can do without can be
//! wrong: a document with members of odd types, unknown
//! algorithms or empty addresses elsewhere is a document that many providers publish.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use url::Url;

use crate::config::model::{
    AuthMethod, ClientAuth, Provider as ProviderSettings, ResponseMode, TENANT, TokenAlgorithm,
};
use crate::issuer_metadata::{document, endpoint, is_issuer, issuer, list, no_endpoint, other_issuer};
use crate::jwt::token;
use crate::reason::{Failure, Reason};

/// What there is to authenticate with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Means {
    pub secret: bool,
    pub key: bool,
    pub certificate: bool,
}

/// The part of the provider's metadata that the gateway uses.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Metadata {
    /// To the letter as the provider writes it; the `iss` of its tokens and responses has to be the same, or to fit where
    /// it is a template for several tenants.
    pub issuer: String,
    pub authorization_endpoint: Url,
    pub token_endpoint: Url,
    pub jwks_uri: Url,
    pub userinfo_endpoint: Option<Url>,
    pub end_session_endpoint: Option<Url>,
    /// RFC 7009, as RFC 8414 §2 names it.
    pub revocation_endpoint: Option<Url>,
    /// `None` where the provider does not say, which means `client_secret_basic`.
    pub client_auth_methods: Option<Vec<String>>,
    pub response_types: Vec<String>,
    /// `None` where the provider does not say.
    pub response_modes: Option<Vec<String>>,
    pub challenge_methods: Option<Vec<String>>,
    /// What ID tokens may be signed with; `None` where the provider does not say.
    pub id_token_algorithms: Option<Vec<String>>,
    /// Where the endpoints take certificates, by their names (RFC 8705 §5).
    pub mtls_endpoint_aliases: BTreeMap<String, Url>,
    /// The provider puts `iss` into its authorization responses (RFC 9207 §3).
    pub sends_issuer: bool,
}

impl Metadata {
    /// Reads the document that was fetched for `settings`.
    pub fn parse(body: &[u8], settings: &ProviderSettings) -> Result<Metadata, Failure> {
        let document = document(body)?;
        let issuer = issuer(&document)?;
        let configured = &settings.issuer;
        let template = settings.tenant_template();
        let expected = match &template {
            Some(template) => issuer == template,
            None => is_issuer(configured, issuer),
        };
        if !expected {
            let hint = match issuer.contains(TENANT) && template.is_none() {
                true => "; an issuer for several tenants needs `provider = \"entra\"` and `tenants`",
                false => "",
            };
            // A slash after a bare host is nobody's, and counts for nothing.
            let written = match configured.path() {
                "/" => configured.as_str().trim_end_matches('/'),
                _ => configured.as_str(),
            };
            return Err(other_issuer(template.as_deref().unwrap_or(written), issuer, hint));
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
            revocation_endpoint: optional("revocation_endpoint"),
            client_auth_methods: list(&document, "token_endpoint_auth_methods_supported"),
            response_types: list(&document, "response_types_supported").unwrap_or_default(),
            response_modes: list(&document, "response_modes_supported"),
            challenge_methods: list(&document, "code_challenge_methods_supported"),
            id_token_algorithms: list(&document, "id_token_signing_alg_values_supported"),
            mtls_endpoint_aliases: aliases(&document, plain),
            sends_issuer: document.get("authorization_response_iss_parameter_supported") == Some(&Value::Bool(true)),
        })
    }

    /// The algorithm of ID tokens where all that are listed take the client secret as their key; such a provider may publish
    /// no keys.
    pub fn secret_signs(&self) -> Option<TokenAlgorithm> {
        only_hmac(self.id_token_algorithms.as_deref()?)
    }

    /// How the client authenticates itself, exactly one way (RFC 6749 §2.3): never [`ClientAuth::Auto`].
    pub fn client_auth(&self, configured: ClientAuth, means: Means) -> ClientAuth {
        use ClientAuth::*;
        let first = |ways: &[ClientAuth]| ways.iter().copied().find(|way| self.offers(*way));
        match (configured, means) {
            // A key says more than a secret, which may be there for HMAC-signed ID tokens alone.
            (Auto, Means { key: true, certificate: true, .. }) => {
                first(&[PrivateKeyJwt, TlsClientAuth]).unwrap_or(PrivateKeyJwt)
            }
            (Auto, Means { key: true, .. }) => PrivateKeyJwt,
            // Basic also where the provider says nothing, or nothing we know (Discovery §3: basic is the default).
            (Auto, Means { secret: true, .. }) => {
                first(&[ClientSecretBasic, ClientSecretPost, ClientSecretJwt]).unwrap_or(ClientSecretBasic)
            }
            (ClientSecretBasic | ClientSecretPost | ClientSecretJwt, Means { secret: true, .. })
            | (PrivateKeyJwt | TlsClientAuth, Means { key: true, .. }) => configured,
            _ => None,
        }
    }

    fn offers(&self, way: ClientAuth) -> bool {
        let listed = |name| self.client_auth_methods.as_ref().is_some_and(|m| m.iter().any(|m| m == name));
        // The same on our side: whom the certificate convinces is the provider's affair (RFC 8705 §2.1 and §2.2).
        way.name().is_some_and(listed) || way == ClientAuth::TlsClientAuth && listed("self_signed_tls_client_auth")
    }

    /// Where the endpoint that metadata calls `name` takes certificates (RFC 8705 §5).
    pub fn mtls_alias(&self, name: &str) -> Option<&Url> {
        self.mtls_endpoint_aliases.get(name)
    }

    /// What the configuration asks for and this provider does not offer. It may work all the same, for documents are
    /// often incomplete; so these are warnings.
    pub fn shortcomings(&self, auth: ClientAuth, settings: &ProviderSettings) -> Vec<Failure> {
        let mut found = Vec::new();
        let mut lacks = |what: String| found.push(Failure::new(Reason::ProviderCapability, what));
        let (kind, set_by) = match settings.auth_method {
            AuthMethod::Pkce => ("code", "sign-in needs"),
            AuthMethod::Implicit => ("id_token", "`auth_method = \"implicit\"` needs"),
            AuthMethod::Hybrid => ("code id_token", "`auth_method = \"hybrid\"` needs"),
        };
        // The order of the words means nothing (OAuth 2.0 Multiple Response Types §3).
        let same = |offer: &String| {
            kind.split(' ').all(|word| offer.split(' ').any(|other| other == word))
                && offer.split(' ').count() == kind.split(' ').count()
        };
        if !self.response_types.iter().any(same) {
            lacks(format!("`response_types_supported` does not list `{kind}`, which {set_by}"));
        }
        let posted = settings.response_mode() == ResponseMode::FormPost;
        if posted && self.response_modes.as_ref().is_some_and(|modes| !modes.iter().any(|mode| mode == "form_post")) {
            lacks("`response_modes_supported` does not list `form_post`, by which the answer is to come".into());
        }
        let challenges = settings.auth_method != AuthMethod::Implicit;
        if challenges && self.challenge_methods.as_ref().is_some_and(|methods| !methods.iter().any(|m| m == "S256")) {
            lacks("`code_challenge_methods_supported` does not list `S256`, by which every code is protected".into());
        }
        // `none` is rarely listed, even where public clients are registered; an implicit sign-in asks for no token.
        let method = auth.name().filter(|_| auth != ClientAuth::None && challenges);
        if let Some(method) = method.filter(|_| self.client_auth_methods.is_some() && !self.offers(auth)) {
            let list = "`token_endpoint_auth_methods_supported`";
            lacks(format!("{list} does not list `{method}`, which `client_auth` uses"));
        }
        if settings.userinfo && self.userinfo_endpoint.is_none() {
            lacks("`userinfo = true`, and there is no `userinfo_endpoint`".into());
        }
        found
    }
}

/// The first of `algorithms` where all of them are HMAC's.
pub fn only_hmac(algorithms: &[String]) -> Option<TokenAlgorithm> {
    let hmac = |name: &String| token::algorithm(name).filter(|algorithm| algorithm.is_hmac());
    algorithms.iter().map(hmac).collect::<Option<Vec<_>>>()?.first().copied()
}

/// The members that are usable addresses; the others are as good as absent.
fn aliases(document: &Map<String, Value>, plain: impl Fn(&Url) -> Result<(), &'static str>) -> BTreeMap<String, Url> {
    let aliases = document.get("mtls_endpoint_aliases").and_then(Value::as_object);
    let usable =
        |(aliases, name): (&Map<String, Value>, &String)| Some((name.clone(), endpoint(aliases, name, &plain).ok()??));
    aliases.into_iter().flat_map(|aliases| aliases.keys().map(move |name| (aliases, name))).filter_map(usable).collect()
}
