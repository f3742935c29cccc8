//! Step 7, the one sanitiser: the only place that removes or adds request headers for the app.
//!
//! It runs after the proxy library has taken off the hop-by-hop headers and those that `Connection` names, on every
//! route, signed in or not. Promise: the app never sees a spelling of an identity or forwarding header that a client
//! wrote, nor a cookie of the gateway.

use std::borrow::Cow;
use std::collections::HashSet;

use foldhash::fast::RandomState;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use pingora_http::RequestHeader;

use crate::config::model::Headers;
use crate::identity_headers::IdentityHeaders;
use crate::session::cookies::{self, Cookies};

/// Knows which headers a client may not say.
pub struct Sanitiser {
    /// Spelled canonically: lower case, `-` for `_` and `.`.
    forbidden: HashSet<String, RandomState>,
    /// For each letter that a forbidden name begins with, a bit for each length such a name has.
    lengths: [u64; 256],
}

/// Names that apps take for identity or for what a proxy in front says. They are dropped even where the gateway writes
/// none of them: the app behind may be configured for one that the gateway is not.
const FORBIDDEN: [&str; 19] = [
    super::console_pass::HEADER_NAME,
    "x-credential-identifier",
    "x-client-cert",
    "x-userinfo",
    "x-role",
    "x-roles",
    "x-groups",
    "x-jwt-assertion",
    "x-wandb-username",
    "x-wandb-user-email",
    "x-user",
    "proxy",
    "x-auth-user",
    "x-user-id",
    "x-user-email",
    "x-email",
    "cf-access-authenticated-user-email",
    "cf-access-jwt-assertion",
    "x-username",
];

/// Those of them by which a proxy speaks of whom it asks for.
pub(super) const OF_PROXIES: [&str; 22] = [
    "forwarded",
    "x-forwarded",
    "x-real-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "true-client-ip",
    "client-ip",
    "x-original-url",
    "x-original-uri",
    "x-original-host",
    "x-rewrite-url",
    "x-host",
    "x-original-forwarded-for",
    "x-envoy-original-path",
    "cf-connecting-ip",
    "fastly-client-ip",
    "x-azure-clientip",
    "x-azure-socketip",
    "x-proxyuser-ip",
    "front-end-https",
    "x-scheme",
    "x-url-scheme",
];

/// Beginnings of such names: `X-WEBAUTH-ROLE` makes an admin as well as `X-WEBAUTH-USER` does.
const FAMILIES: [&str; 18] = [
    "x-authentik-",
    "x-authelia-",
    "x-pomerium-",
    "x-vouch-",
    "x-consumer-",
    "x-ssl-client-",
    "tailscale-user-",
    "ssl-client-",
    "x-forwarded-",
    "x-auth-request-",
    "x-remote-",
    "remote-",
    "x-webauth-",
    "x-authenticated-",
    "x-goog-authenticated-user-",
    "x-goog-iap-",
    "x-amzn-oidc-",
    "x-ms-client-principal",
];

/// Names that decide about the request itself, which nobody in earnest spells otherwise.
const FRAMING: [&str; 7] =
    ["content-length", "transfer-encoding", "host", "connection", "upgrade", "authorization", "cookie"];

/// Names by which a client asks the app to take the request for one of another method.
const METHOD_OVERRIDES: [&str; 3] = ["x-http-method-override", "x-http-method", "x-method-override"];

impl Sanitiser {
    pub fn new(settings: &Headers, written: &IdentityHeaders, routes_by_method: bool) -> Self {
        let mut forbidden: HashSet<String, RandomState> =
            FORBIDDEN.iter().chain(&OF_PROXIES).map(|name| name.to_string()).collect();
        if routes_by_method {
            forbidden.extend(METHOD_OVERRIDES.iter().map(|name| name.to_string()));
        }
        let configured = settings.drop.iter().map(|name| name.0.as_str());
        let configured = configured.chain(written.names());
        forbidden.extend(configured.map(|name| canonical_spelling(name).into_owned()));
        let mut lengths = [0; 256];
        // `_` has an empty canonical spelling, and is looked for like everything odd.
        for (name, first) in forbidden.iter().filter_map(|name| Some((name, name.bytes().next()?))) {
            lengths[usize::from(first)] |= length_bit(name);
        }
        // A family has names of every length.
        for family in FAMILIES {
            lengths[usize::from(family.as_bytes()[0])] = u64::MAX;
        }
        Sanitiser { forbidden, lengths }
    }

    /// Whether the app must not see a header of this name, in lower case, from a client.
    fn forbids(&self, name: &str) -> bool {
        let odd = is_odd(name);
        // Nearly all headers of nearly all requests are done with here.
        let first = name.bytes().next().unwrap_or_default();
        if !odd && self.lengths[usize::from(first)] & length_bit(name) == 0 {
            return false;
        }
        let spelling = canonical_spelling(name);
        if odd && FRAMING.contains(&spelling.as_ref()) {
            return true;
        }
        FAMILIES.iter().any(|family| spelling.starts_with(family)) || self.forbidden.contains(spelling.as_ref())
    }

    /// Takes off the credential that was meant for the gateway.
    pub fn take_credential(&self, headers: &mut HeaderMap) {
        headers.remove(header::AUTHORIZATION);
    }

    /// Takes off what a client may not say.
    pub fn clean(&self, headers: &mut HeaderMap, cookies: &Cookies) {
        let forbidden: Vec<HeaderName> = headers.keys().filter(|name| self.forbids(name.as_str())).cloned().collect();
        for name in &forbidden {
            headers.remove(name);
        }
        match foreign_cookies(headers, cookies) {
            None => {}
            Some(None) => {
                headers.remove(header::COOKIE);
            }
            Some(Some(kept)) => {
                headers.insert(header::COOKIE, kept);
            }
        }
    }
}

/// The parts of a request's head, without the note of how each name was spelled: names have no case (RFC 9110 §5.1), and
/// the library would keep a second hash map for the note, which every change has to be made in as well.
pub fn take_parts(head: &mut RequestHeader) -> Parts {
    let nothing = RequestHeader::from(http::Request::new(()).into_parts().0);
    std::mem::replace(head, nothing).into()
}

/// A bit for the length of `name`; long names share the last.
fn length_bit(name: &str) -> u64 {
    1 << name.len().min(63)
}

/// Lower case, with one `-` for each run of anything but letters and digits: apps behind CGI, WSGI and Rack cannot tell
/// these spellings apart. Names in a `HeaderMap` are in lower case already.
fn canonical_spelling(name: &str) -> Cow<'_, str> {
    if !is_odd(name) {
        return name.into();
    }
    let words = name.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("-").to_ascii_lowercase().into()
}

/// Whether a name is spelled otherwise than names are.
fn is_odd(name: &str) -> bool {
    let mut before = b'-';
    for byte in name.bytes() {
        let plain = byte.is_ascii_lowercase() || byte.is_ascii_digit() || (byte == b'-' && before != b'-');
        if !plain {
            return true;
        }
        before = byte;
    }
    before == b'-' && !name.is_empty()
}

/// The cookies that are not the gateway's, as one field; `None` where nothing has to change.
fn foreign_cookies(headers: &HeaderMap, own: &Cookies) -> Option<Option<HeaderValue>> {
    let mut fields = headers.get_all(header::COOKIE).iter();
    fields.next()?;
    // Several fields are joined: an app over HTTP/1 expects one (RFC 9113 §8.2.3).
    let several = fields.next().is_some();
    let (mut ours, mut others) = (false, false);
    for (name, _) in cookies::pairs(headers) {
        *(if own.is_own(name) { &mut ours } else { &mut others }) = true;
    }
    match (ours, others) {
        (false, _) if !several => return None,
        (_, false) => return Some(None),
        _ => {}
    }
    let mut kept = Vec::new();
    for (name, value) in cookies::pairs(headers).filter(|(name, _)| !own.is_own(name)) {
        if !kept.is_empty() {
            kept.extend_from_slice(b"; ");
        }
        kept.extend_from_slice(name);
        kept.push(b'=');
        kept.extend_from_slice(value);
    }
    Some((!kept.is_empty()).then(|| HeaderValue::from_bytes(&kept).ok()).flatten())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::model;

    fn clean(fields: &[(&str, &str)], by_method: bool) -> Vec<(String, String)> {
        let settings = Headers { drop: vec!["X-Tenant".parse().expect("name")], ..Headers::default() };
        let sanitiser = Sanitiser::new(&settings, &IdentityHeaders::new(&settings), by_method);
        let cookies = Cookies::new(&model::Session::default(), &"https://a.example".parse().expect("url"));
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            let name = HeaderName::from_bytes(name.as_bytes()).expect("name");
            headers.append(name, value.parse().expect("value"));
        }
        sanitiser.clean(&mut headers, &cookies);
        headers.iter().map(|(n, v)| (n.to_string(), v.to_str().expect("text").to_owned())).collect()
    }

    #[test]
    fn every_spelling_of_an_identity_header_is_dropped() {
        for name in [
            "X-Forwarded-User",
            "x-forwarded-user",
            "X_Forwarded_User",
            "x.forwarded.user",
            "X-Forwarded_User",
            "X-FORWARDED-GROUPS",
            "Remote-User",
            "REMOTE_USER",
            "X-Remote-User",
            "x_remote_user",
            "X-Auth-Request-Email",
            "X-WEBAUTH-USER",
            "X-Tenant",
            "X_TENANT",
            "X-Forwarded-For",
            "X_Forwarded_For",
            "X-Forwarded-Whatever",
            "Forwarded",
            "X-Real-IP",
            "x_real_ip",
            "X-Original-URL",
            "Proxy",
            "X-WEBAUTH-ROLE",
            "X~Forwarded~User",
            "X--Forwarded-User",
            "_X-Forwarded-User",
            "Content_Length",
            "CF-Connecting-IP",
            "Remote_Group",
            "X-Auth-Request-Name",
            "X-Remote-Extra-Scopes",
        ] {
            assert_eq!(clean(&[(name, "admin"), (name, "again")], false), [], "{name}");
        }
    }

    #[test]
    fn a_name_without_letters_can_be_dropped() {
        let settings = Headers { drop: vec!["_".parse().expect("name")], ..Headers::default() };
        let sanitiser = Sanitiser::new(&settings, &IdentityHeaders::new(&settings), false);
        assert!(sanitiser.forbids("_") && sanitiser.forbids("__") && !sanitiser.forbids("accept"));
    }

    #[test]
    fn what_a_client_may_say_stays() {
        for (name, value) in [
            ("accept", "*/*"),
            ("x-requested-with", "x"),
            ("authorization", "Bearer t"),
            ("user-agent", "x"),
            ("x-users", "1"),
            ("x-custom_name", "1"),
        ] {
            assert_eq!(clean(&[(name, value)], true), [(name.to_owned(), value.to_owned())]);
        }
    }

    #[test]
    fn a_method_override_passes_only_where_no_route_goes_by_method() {
        let field = [("x-http-method-override", "DELETE")];
        assert_eq!(clean(&field, true), []);
        assert_eq!(clean(&field, false).len(), 1);
    }

    #[test]
    fn the_gateways_cookies_do_not_reach_the_app() {
        let kept = |fields: &[&str]| {
            clean(&fields.iter().map(|f| ("cookie", *f)).collect::<Vec<_>>(), false)
                .into_iter()
                .map(|(_, v)| v)
                .collect::<Vec<_>>()
        };
        assert_eq!(kept(&["__Host-doorward=s; theme=dark; __Host-doorward_1=t"]), ["theme=dark"]);
        assert_eq!(kept(&["a=1", "doorward=x", "b=2"]), ["a=1; b=2"]);
        assert_eq!(kept(&["__Host-doorward=s"]), [""; 0]);
        assert_eq!(kept(&["a=1;b=2"]), ["a=1;b=2"], "unchanged where there is nothing of ours");
    }
}
