//! The part of an issuer's metadata that tokens need, and the addresses at which the issuer is really asked.
//!
//! An issuer can be reached under another address than the one it goes by (containers): `address` then stands in for
//! scheme, host and port of every address at the issuer's own origin. What is compared is never changed by it.

use serde_json::{Map, Value};
use url::Url;

use crate::config::model::{Issuer, TENANT};
use crate::http_client::{HttpClient, HttpError};
use crate::issuer_metadata::{
    authorization_server, discovery_failed, document, endpoint, is_issuer, issuer, list, no_endpoint,
    openid_configuration, other_issuer,
};
use crate::reason::{Failure, Reason};

/// The tenant under whose name Entra publishes metadata for all of them.
const ANY_TENANT: &str = "common";

/// What an issuer says, with the addresses that are dialled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Metadata {
    /// To the letter as the issuer writes it.
    pub issuer: String,
    /// `None` where it publishes no keys, since all of its tokens are opaque.
    pub jwks_uri: Option<Url>,
    pub introspection_endpoint: Option<Url>,
    /// `None` where the issuer does not say.
    pub introspection_auth_methods: Option<Vec<String>>,
}

/// An issuer's name and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// As configured.
    text: String,
    /// `None` where the name is no address.
    url: Option<Url>,
    address: Option<Url>,
    /// Its tokens may be opaque ones alone.
    opaque: bool,
}

impl Place {
    pub fn new(settings: &Issuer) -> Place {
        let text = settings.issuer.clone().unwrap_or_default();
        let url = Url::parse(&text).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        let opaque = settings.introspection || settings.introspection_endpoint.is_some();
        Place { text, url, address: settings.address.clone(), opaque }
    }

    /// `url` as it is dialled.
    pub fn dialled(&self, url: &Url) -> Url {
        match (&self.address, &self.url) {
            (Some(address), Some(own)) if own.origin() == url.origin() => {
                let mut dialled = address.clone();
                dialled.set_path(url.path());
                dialled.set_query(url.query());
                dialled
            }
            _ => url.clone(),
        }
    }

    /// Asks for the metadata: OpenID Connect Discovery first, and RFC 8414 where there is none.
    pub async fn discover(&self, http: &HttpClient) -> Result<Metadata, Failure> {
        let [first, other] = self.metadata_addresses()?;
        let mut asked = first;
        let mut answer = http.get_json(&asked, None).await;
        if matches!(answer, Err(HttpError::Status(404, _))) {
            let second = http.get_json(&other, None).await;
            // Where neither exists, the address that most issuers have is the one to look at.
            if !matches!(second, Err(HttpError::Status(404, _))) {
                (asked, answer) = (other, second);
            }
        }
        self.read(&answer.map_err(|error| discovery_failed(&error, asked.as_str()))?)
    }

    /// Where the metadata are: by OpenID Connect Discovery, and by RFC 8414.
    pub fn metadata_addresses(&self) -> Result<[Url; 2], Failure> {
        let issuer = Url::parse(&self.text.replace(TENANT, ANY_TENANT))
            .map_err(|error| Failure::new(Reason::ConfigInvalid, format!("issuer: {error}")))?;
        Ok([self.dialled(&openid_configuration(&issuer)?), self.dialled(&authorization_server(&issuer))])
    }

    /// Reads the document that was fetched.
    pub fn read(&self, body: &[u8]) -> Result<Metadata, Failure> {
        let document = document(body)?;
        let said = issuer(&document)?;
        if !self.url.as_ref().is_some_and(|own| is_issuer(own, said)) {
            let hint = match said.contains(TENANT) {
                true => "; an issuer for several tenants is written with the placeholder, beside `tenants`",
                false => "",
            };
            return Err(other_issuer(&self.text, said, hint));
        }
        let jwks_uri = self.endpoint(&document, "jwks_uri")?;
        if jwks_uri.is_none() && !self.opaque {
            return Err(no_endpoint("jwks_uri"));
        }
        Ok(Metadata {
            issuer: said.to_owned(),
            jwks_uri,
            introspection_endpoint: match self.opaque {
                true => self.endpoint(&document, "introspection_endpoint")?,
                // An address that nobody asks for need not be of use.
                false => None,
            },
            introspection_auth_methods: list(&document, "introspection_endpoint_auth_methods_supported"),
        })
    }

    /// Another host is trusted over TLS (Google's keys are on one), and without it only the host that is configured so.
    fn endpoint(&self, document: &Map<String, Value>, name: &str) -> Result<Option<Url>, Failure> {
        let plain = |url: &Url| {
            let configured = |own: &Url| own.scheme() == "http" && own.host() == url.host();
            match self.url.iter().chain(&self.address).any(configured) {
                true => Ok(()),
                false => Err("is not https, and the issuer at that host is not http"),
            }
        };
        Ok(endpoint(document, name, plain)?.map(|url| self.dialled(&url)))
    }
}
