//! What the gateway publishes about itself: the keys of its own tokens, where they are made (RFC 8414), and what its
//! routes for programs ask for (RFC 9728). Compiled when the configuration is loaded.
//!
//! The addresses are the gateway's own only where it has something to say there; else they are the app's.

use std::collections::HashMap;

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use serde_json::{Value, json};
use url::Url;

use super::reached::{self, Reached};
use super::{Answer, Outcome, TOKEN};
use crate::config::OWN_ISSUER;
use crate::config::model::{Issuer, Route, Settings, own_issuer};
use crate::jwt::Signer;

const JWKS: &str = "/.well-known/jwks.json";
const AUTHORIZATION_SERVER: &str = "/.well-known/oauth-authorization-server";
const PROTECTED_RESOURCE: &str = "/.well-known/oauth-protected-resource";
const WELL_KNOWN: &str = "/.well-known/";

/// The documents.
pub struct Published {
    federation: Option<Documents>,
    /// What the doctor asks for; where there is a secret.
    reached: Option<Reached>,
    /// By host of the route, empty for every host, and then by path without a slash at the end.
    resources: HashMap<String, HashMap<String, Bytes>>,
    /// What routes of one host govern there, so that those of every host do not: prefixes, and exact paths.
    governed: HashMap<String, Vec<(String, bool)>>,
}

struct Documents {
    jwks: Bytes,
    authorization_server: Bytes,
}

impl Published {
    /// `signer` where the gateway makes tokens of its own.
    pub fn new(settings: &Settings, signer: Option<&Signer>) -> Published {
        let federation = signer.filter(|_| settings.federation.is_some());
        let mut published = Published {
            federation: federation.map(|signer| Documents {
                jwks: signer.jwks().to_string().into(),
                authorization_server: authorization_server(&settings.public_url).to_string().into(),
            }),
            reached: Reached::new(settings),
            resources: HashMap::new(),
            governed: HashMap::new(),
        };
        published.describe(settings);
        published
    }

    fn describe(&mut self, settings: &Settings) {
        let mut described: HashMap<(String, String), Value> = HashMap::new();
        for route in &settings.route {
            let host = route.host.as_deref().unwrap_or_default().to_ascii_lowercase();
            let path = path_of(route);
            if route.resource_metadata {
                let document = described.entry((host.clone(), path.to_owned())).or_insert_with(|| {
                    json!({ "resource": resource(&settings.public_url, route), "bearer_methods_supported": ["header"] })
                });
                // Routes that differ in their methods are one resource.
                extend(document, "authorization_servers", authorization_servers(settings, route));
                extend(document, "scopes_supported", route.scopes.clone());
            }
            if !host.is_empty() {
                self.governed.entry(host).or_default().push((path.to_owned(), route.exact.is_some()));
            }
        }
        for ((host, path), document) in described {
            self.resources.entry(host).or_default().insert(path, document.to_string().into());
        }
    }

    /// Whether `path` at `host` is the gateway's own.
    pub fn is_own(&self, host: &str, path: &str) -> bool {
        match path {
            TOKEN => self.federation.is_some(),
            path if path.starts_with(WELL_KNOWN) => {
                self.document(host, path).is_some() || (path == reached::ADDRESS && self.reached.is_some())
            }
            _ => false,
        }
    }

    pub(super) fn reached(&self) -> Option<&Reached> {
        self.reached.as_ref()
    }

    fn document(&self, host: &str, path: &str) -> Option<&Bytes> {
        match path {
            JWKS => self.federation.as_ref().map(|documents| &documents.jwks),
            AUTHORIZATION_SERVER => self.federation.as_ref().map(|documents| &documents.authorization_server),
            path => {
                let below = path.strip_prefix(PROTECTED_RESOURCE)?;
                (below.is_empty() || below.starts_with('/')).then(|| self.resource(host, below))?
            }
        }
    }

    /// A route that names its host comes before one that does not, as in looking routes up.
    fn resource(&self, host: &str, path: &str) -> Option<&Bytes> {
        let path = path.strip_suffix('/').unwrap_or(path);
        let of = |host: &str| self.resources.get(host)?.get(path);
        let governed = || self.governed.get(host).is_some_and(|all| all.iter().any(|entry| covers(entry, path)));
        of(host).or_else(|| if governed() { None } else { of("") })
    }

    /// The document at `path`, which anybody may keep for five minutes.
    pub fn answer(&self, host: &str, path: &str) -> Option<Answer> {
        let headers = vec![
            (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
            (header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=300")),
            (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        ];
        let body = self.document(host, path)?.clone();
        Some(Answer { status: StatusCode::OK, headers, body, outcome: Outcome::Own, user: None })
    }
}

/// Where the document about `route` is (RFC 9728 §3.1), if there is one.
pub fn metadata_address(public_url: &Url, route: &Route) -> Option<String> {
    let of = |route: &Route| format!("{}{PROTECTED_RESOURCE}{}", origin(public_url, route), path_of(route));
    route.resource_metadata.then(|| of(route))
}

/// The resource identifier of what a route governs (RFC 9728 §1.2).
fn resource(public_url: &Url, route: &Route) -> String {
    let path = route.exact.as_deref().filter(|exact| *exact != "/").unwrap_or_else(|| path_of(route));
    format!("{}{path}", origin(public_url, route))
}

/// The public URL, with the route's host where it names one; without a slash at the end.
fn origin(public_url: &Url, route: &Route) -> String {
    let mut url = public_url.clone();
    // A host that no address can have is refused when the configuration is judged.
    let _ = route.host.as_deref().map(|host| url.set_host(Some(host)));
    own_issuer(&url)
}

fn path_of(route: &Route) -> &str {
    let path = route.exact.as_deref().or(route.path.as_deref()).unwrap_or("/");
    path.strip_suffix('/').unwrap_or(path)
}

fn covers((governed, exact): &(String, bool), path: &str) -> bool {
    match path.strip_prefix(governed.as_str()) {
        Some(rest) if *exact => rest.is_empty(),
        Some(rest) => rest.is_empty() || rest.starts_with('/'),
        None => false,
    }
}

/// RFC 8414 §2. There is no authorization endpoint, and so no response type.
fn authorization_server(public_url: &Url) -> Value {
    let issuer = own_issuer(public_url);
    json!({
        "issuer": issuer,
        "token_endpoint": format!("{issuer}{TOKEN}"),
        "jwks_uri": format!("{issuer}{JWKS}"),
        "grant_types_supported": [super::token::GRANT],
        "response_types_supported": [],
        "token_endpoint_auth_methods_supported": ["none"],
    })
}

/// The issuers whose tokens `route` takes, as far as they are web addresses.
fn authorization_servers(settings: &Settings, route: &Route) -> Vec<String> {
    let taken = |name: &str| route.issuers.is_empty() || route.issuers.iter().any(|wanted| wanted == name);
    let issuers = settings.issuer.iter().filter(|issuer| taken(&issuer.name));
    let mut all: Vec<String> = issuers.flat_map(|issuer| texts(settings, issuer)).collect();
    if settings.federation.is_some() && taken(OWN_ISSUER) {
        all.push(own_issuer(&settings.public_url));
    }
    all.retain(|text| text.starts_with("https://") || text.starts_with("http://"));
    all
}

/// `iss` as an issuer's metadata says it, once for each tenant.
fn texts(settings: &Settings, issuer: &Issuer) -> Vec<String> {
    let provided = || settings.provider_of(issuer)?.issuer_texts().into_iter().next();
    let text = issuer.issuer.clone().or_else(provided);
    text.map(|text| issuer.of_tenants(text)).unwrap_or_default()
}

/// Adds what is not there yet. A list of nothing is left out (RFC 9728 §3.2).
fn extend(document: &mut Value, name: &str, more: Vec<String>) {
    let Some(members) = document.as_object_mut().filter(|_| !more.is_empty()) else { return };
    let list = members.entry(name).or_insert_with(|| Value::Array(Vec::new()));
    if let Value::Array(list) = list {
        for text in more.into_iter().map(Value::String) {
            if !list.contains(&text) {
                list.push(text);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::values::Secret;

    fn published(toml: &str) -> Published {
        let text = format!("public_url = 'https://a.example:8443/'\n{toml}");
        let settings: Settings = toml::from_str(&text).expect("toml");
        let signer = Signer::new(&[Secret::new("a secret of the tests")]).expect("signer");
        Published::new(&settings, Some(&signer))
    }

    fn read(published: &Published, host: &str, path: &str) -> Option<Value> {
        let answer = published.answer(host, path);
        assert_eq!(published.is_own(host, path), answer.is_some(), "{host} {path}");
        answer.map(|answer| serde_json::from_slice(&answer.body).expect("json"))
    }

    const ISSUERS: &str = "
        [[issuer]]
        name = 'ci'
        issuer = 'https://ci.example/'
        [[issuer]]
        name = 'entra'
        issuer = 'https://login.example/{tenantid}/v2.0'
        tenants = ['t1', 't2']
        [[issuer]]
        name = 'file'
        issuer = 'urn:somebody'
    ";

    #[test]
    fn keys_and_metadata_are_published_with_a_federation_and_else_the_app_s() {
        let with = published("[federation]\naudiences = ['x']");
        let keys = read(&with, "h", JWKS).expect("keys");
        assert_eq!(keys["keys"][0]["crv"], "Ed25519");
        assert_eq!(
            read(&with, "h", AUTHORIZATION_SERVER),
            Some(json!({
                "issuer": "https://a.example:8443", "token_endpoint": "https://a.example:8443/oidc/token",
                "jwks_uri": "https://a.example:8443/.well-known/jwks.json",
                "grant_types_supported": ["urn:ietf:params:oauth:grant-type:jwt-bearer"],
                "response_types_supported": [], "token_endpoint_auth_methods_supported": ["none"],
            }))
        );
        assert!(with.is_own("h", TOKEN));
        let without = published("");
        for path in [TOKEN, JWKS, AUTHORIZATION_SERVER, PROTECTED_RESOURCE, "/.well-known/openid-configuration", "/"] {
            assert!(!without.is_own("h", path), "{path}");
        }
    }

    #[test]
    fn a_route_s_resource_is_described_where_rfc_9728_looks_for_it() {
        let published = published(&format!(
            "{ISSUERS}
            [federation]
            [[route]]
            access = 'bearer'
            resource_metadata = true
            [[route]]
            path = '/api/'
            methods = ['GET']
            scopes = ['read']
            issuers = ['ci', 'file']
            resource_metadata = true
            [[route]]
            path = '/api'
            scopes = ['read', 'write']
            issuers = ['entra']
            resource_metadata = true
            [[route]]
            path = '/silent'"
        ));
        let own = "https://a.example:8443";
        let (t1, t2) = ("https://login.example/t1/v2.0", "https://login.example/t2/v2.0");
        for path in [PROTECTED_RESOURCE.to_owned(), format!("{PROTECTED_RESOURCE}/")] {
            let servers = ["https://ci.example/", t1, t2, own];
            let expected = json!({
                "resource": own, "authorization_servers": servers, "bearer_methods_supported": ["header"],
            });
            assert_eq!(read(&published, "h", &path), Some(expected));
        }
        let api = json!({
            "resource": "https://a.example:8443/api", "authorization_servers": ["https://ci.example/", t1, t2],
            "scopes_supported": ["read", "write"], "bearer_methods_supported": ["header"],
        });
        assert_eq!(read(&published, "h", &format!("{PROTECTED_RESOURCE}/api")), Some(api));
        for path in ["/silent", "/api/x", "x", "/apix"] {
            assert_eq!(read(&published, "h", &format!("{PROTECTED_RESOURCE}{path}")), None, "{path}");
        }
    }

    #[test]
    fn a_host_s_routes_hide_those_of_every_host() {
        let published = published(
            "[[route]]
            path = '/api'
            resource_metadata = true
            [[route]]
            host = 'B.example'
            path = '/api'
            resource_metadata = true
            [[route]]
            host = 'c.example'
            [[route]]
            host = 'd.example'
            exact = '/ap'",
        );
        let path = format!("{PROTECTED_RESOURCE}/api");
        let resource = |host| read(&published, host, &path).map(|document| document["resource"].clone());
        assert_eq!(resource("a.example"), Some("https://a.example:8443/api".into()));
        assert_eq!(resource("b.example"), Some("https://b.example:8443/api".into()));
        assert_eq!(resource("c.example"), None);
        assert_eq!(resource("d.example"), Some("https://a.example:8443/api".into()));
    }

    #[test]
    fn refusals_name_the_address_at_which_the_document_is() {
        let settings: Settings = toml::from_str(
            "public_url = 'https://a.example'\n[[route]]\nhost = 'b.example'\npath = '/api/v1/'\n\
             resource_metadata = true\n[[route]]",
        )
        .expect("toml");
        let published = Published::new(&settings, None);
        let address = metadata_address(&settings.public_url, &settings.route[0]).expect("an address");
        assert_eq!(address, "https://b.example/.well-known/oauth-protected-resource/api/v1");
        let url: Url = address.parse().expect("url");
        assert!(published.is_own(url.host_str().expect("host"), url.path()));
        assert_eq!(metadata_address(&settings.public_url, &settings.route[1]), None);
    }
}
