//! Routes: what they match, where they lead, and who may.

use std::collections::{HashMap, HashSet};

use super::{Judge, is_host};
use crate::canonical::{CanonicalPath, host_name};
use crate::config::error::nearest;
use crate::config::model::{Access, Allow, ClaimRule, Route, SignInStyle};
use crate::config::origin::{KeyPath, Origin};
use crate::config::values::HttpMethod;

impl Judge<'_> {
    pub(super) fn routes(&mut self) {
        let settings = self.settings;
        let (routes, upstreams) = (&settings.route, &settings.upstream);
        if routes.is_empty() {
            let hint = "add [[upstream]] with its `url`, or set DOORWARD_UPSTREAM_URL; with several, [[route]] says which is where";
            let message = if upstreams.is_empty() { "there is no app to serve" } else { "there is no route" };
            let key = if upstreams.is_empty() { "upstream" } else { "route" };
            self.error(&KeyPath::of(key), message, hint);
        } else if upstreams.is_empty() {
            let hint = "add [[upstream]] with its `url`, as in \"http://127.0.0.1:3000\", or set DOORWARD_UPSTREAM_URL";
            self.error(&KeyPath::of("upstream"), "a route needs an app it leads to", hint);
        }
        for (index, route) in routes.iter().enumerate() {
            self.route(&KeyPath::of("route").index(index), route);
        }
        self.overlaps();
        let mut names = HashSet::new();
        for (index, name) in routes.iter().enumerate().filter_map(|(i, r)| Some((i, r.name.as_deref()?))) {
            if name.is_empty() || !names.insert(name) {
                let key = KeyPath::of("route").index(index).key("name");
                self.error(&key, format!("`{name}` is empty or the name of two"), "give each its own, or none");
            }
        }
        for (index, upstream) in upstreams.iter().enumerate().filter(|_| !routes.is_empty()) {
            let named = |route: &Route| route.upstream.as_deref().map_or(index == 0, |name| name == upstream.name);
            if !routes.iter().any(named) {
                let whole = "the route `/` that goes without saying is there only while there is no [[route]]";
                let hint = format!("write it: [[route]] with path = \"/\" and upstream = \"{}\"", upstream.name);
                let root = |route: &Route| {
                    route.host.is_none()
                        && route.exact.is_none()
                        && route.path.as_deref().is_none_or(|path| path == "/")
                };
                let more = if routes.iter().any(root) { String::new() } else { format!("; {whole}; {hint}") };
                self.warn(
                    &KeyPath::of("upstream").index(index),
                    format!("no route leads to `{}`{more}", upstream.name),
                );
            }
        }
    }

    fn route(&mut self, key: &KeyPath, route: &Route) {
        self.host(key, route);
        self.path(key, route);
        let settings = self.settings;
        let providers = self.ways_to_sign_in();
        let upstreams: Vec<&str> = settings.upstream.iter().map(|u| u.name.as_str()).collect();
        self.known(&key.key("provider"), route.provider.as_deref(), "provider", &providers);
        self.known(&key.key("upstream"), route.upstream.as_deref(), "upstream", &upstreams);
        match route.access {
            // A directory that is only tested may be tested alone; `directory` warns that nobody can sign in.
            Access::SignedIn | Access::SignedInOrBearer if providers.is_empty() && settings.ldap.is_some() => {}
            Access::SignedIn | Access::SignedInOrBearer if providers.is_empty() => {
                let hint = "add [[provider]] or [ldap], or set `access` to \"public\" or \"bearer\" on the route";
                self.error(&key.key("access"), "people cannot sign in: there is no provider", hint);
            }
            Access::SignedIn | Access::SignedInOrBearer => {}
            Access::Bearer => {
                for (name, set) in
                    [("provider", route.provider.is_some()), ("sign_in", route.sign_in == SignInStyle::Page)]
                {
                    if set {
                        let hint = "take it away, or set `access = \"signed-in-or-bearer\"`";
                        self.error(&key.key(name), "has no effect: nobody signs in on this route", hint);
                    }
                }
            }
            Access::Public => {
                for (name, set) in [
                    ("allow", route.allow.is_some()),
                    ("provider", route.provider.is_some()),
                    ("sign_in", route.sign_in == SignInStyle::Page),
                    ("preflight", route.preflight),
                ] {
                    if set {
                        let hint = "take it away, or set `access = \"signed-in\"`";
                        self.error(&key.key(name), "has no effect on a public route", hint);
                    }
                }
            }
        }
        if let Some(allow) = &route.allow {
            self.allow(&key.key("allow"), allow);
        }
        self.tokens_of_route(key, route);
    }

    pub(super) fn known(&mut self, key: &KeyPath, name: Option<&str>, what: &str, known: &[&str]) {
        let Some(name) = name.filter(|name| !known.contains(name)) else { return };
        let hint = match nearest(name, known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None if known.is_empty() => format!("add [[{what}]]"),
            None => format!("there are: {}", known.join(", ")),
        };
        self.error(key, format!("there is no {what} `{name}`"), hint);
    }

    fn host(&mut self, key: &KeyPath, route: &Route) {
        let Some(host) = &route.host else { return };
        let key = key.key("host");
        let with_port = host.rsplit_once(':').is_some_and(|(h, port)| is_host(h) && port.parse::<u16>().is_ok());
        if host.contains('*') {
            let hint = "name each host in a route of its own, or leave `host` out for every host";
            self.error(&key, format!("`{host}` has a wildcard, which is not built"), hint);
        } else if with_port {
            self.error(&key, format!("`{host}` has a port"), "write the host alone; a route holds for every port");
        } else if !is_host(host) || host_name(host).is_ok_and(|canonical| canonical != host.to_ascii_lowercase()) {
            self.error(&key, format!("`{host}` is no host name"), "write as in \"app.example.com\"");
        }
    }

    fn path(&mut self, key: &KeyPath, route: &Route) {
        if route.path.is_some() && route.exact.is_some() {
            let message = "`path` and `exact` are both set";
            return self.error(&key.key("exact"), message, "keep `path` for a prefix, or `exact` for one address");
        }
        let (name, path) = match (&route.path, &route.exact) {
            (_, Some(exact)) => ("exact", exact.as_str()),
            (path, _) => ("path", path.as_deref().unwrap_or("/")),
        };
        let path_key = key.key(name);
        if let Err((message, hint)) = canonical(path) {
            return self.error(&path_key, format!("`{path}` {message}"), hint);
        }
        if name == "path" && path.len() > 1 && path.ends_with('/') {
            let hint = format!("write \"{}\"; it matches what is below it too", path.trim_end_matches('/'));
            self.error(&path_key, format!("`{path}` ends with a slash"), hint);
        }
        if path == "/logout" || path == "/oidc" || path.starts_with("/oidc/") {
            let message = format!("`{path}` is an address of the gateway itself, and the app would never see it");
            self.error(&path_key, message, "choose another path");
        }
        if route.strip_prefix && (name == "exact" || path == "/") {
            self.error(&key.key("strip_prefix"), "has no effect here", "it needs a `path` longer than `/`");
        }
    }

    /// Two routes of which neither is more specific: which one governs would be the file's order, which must not matter.
    fn overlaps(&mut self) {
        let routes = &self.settings.route;
        let mut at_place: HashMap<_, Vec<usize>> = HashMap::new();
        for (later, second) in routes.iter().enumerate() {
            let before = at_place.entry(place(second)).or_default();
            let clash = before.iter().copied().find(|&first| same_methods(&routes[first], second));
            before.push(later);
            let Some(earlier) = clash else { continue };
            let key = |index: usize| KeyPath::of("route").index(index);
            let place = match self.origins.nearest(&key(earlier)) {
                Origin::Default => format!("number {}", earlier + 1),
                origin => format!("at {origin}"),
            };
            let message = format!("matches the same requests ({}) as the route {place}", second.place());
            self.error(&key(later), message, "give them different `path`, `host` or `methods`, or make them one");
        }
    }

    pub(super) fn allow(&mut self, key: &KeyPath, allow: &Allow) {
        if allow.emails.is_empty()
            && allow.email_domains.is_empty()
            && allow.groups.is_empty()
            && allow.claims.is_empty()
        {
            let hint = "name somebody, or take `allow` away to let in everybody who is signed in";
            return self.error(key, "names nobody, so everybody would be refused", hint);
        }
        for (index, email) in allow.emails.iter().enumerate() {
            let one_at = email.split_once('@').is_some_and(|(l, d)| !l.is_empty() && !d.is_empty() && !d.contains('@'));
            if !one_at {
                let hint = "write as in \"ada@example.com\"; a whole domain goes into `email_domains`";
                self.error(&key.key("emails").index(index), format!("`{email}` is no e-mail address"), hint);
            }
        }
        for (index, domain) in allow.email_domains.iter().enumerate() {
            let key = key.key("email_domains").index(index);
            if let Some((_, bare)) = domain.split_once('@') {
                self.error(&key, format!("`{domain}` has an `@`"), format!("write \"{bare}\""));
            } else if !is_host(domain) {
                self.error(&key, format!("`{domain}` is no domain"), "write as in \"example.com\"");
            }
        }
        for (index, group) in allow.groups.iter().enumerate().filter(|(_, group)| group.is_empty()) {
            self.error(&key.key("groups").index(index), format!("`{group}` is no group"), "take it away");
        }
        for (index, rule) in allow.claims.iter().enumerate() {
            self.claim_rule(&key.key("claims").index(index), rule);
        }
    }

    pub(super) fn claim_rule(&mut self, key: &KeyPath, rule: &ClaimRule) {
        if rule.claim.is_empty() {
            self.error(&key.key("claim"), "is empty", "name a claim, as in \"realm_access.roles\"");
        }
        let set = [rule.equals.is_some(), rule.contains.is_some(), rule.one_of.is_some()];
        if set.into_iter().filter(|set| *set).count() != 1 {
            self.error(key, "needs exactly one of `equals`, `contains`, `one_of`", "set one of them");
        }
        if rule.one_of.as_ref().is_some_and(Vec::is_empty) {
            self.error(&key.key("one_of"), "is empty, so nobody meets it", "name at least one value");
        }
    }
}

/// Host, exact path and prefix; routes with the same ones match the same requests, but for the method.
fn place(route: &Route) -> (Option<&str>, Option<&str>, &str) {
    let prefix = if route.exact.is_some() { "" } else { route.path.as_deref().unwrap_or("/") };
    (route.host.as_deref(), route.exact.as_deref(), prefix)
}

/// A route that lists a method is more specific than one for all, so only lists can clash with lists.
fn same_methods(a: &Route, b: &Route) -> bool {
    match (a.methods.is_empty(), b.methods.is_empty()) {
        (true, true) => true,
        (false, false) => a.methods.iter().any(|m| b.methods.iter().any(|n| answered(m) == answered(n))),
        _ => false,
    }
}

/// A route for GET answers HEAD as well (RFC 9110 §9.3.2).
fn answered(method: &HttpMethod) -> &http::Method {
    if method.0 == http::Method::HEAD { &http::Method::GET } else { &method.0 }
}

/// Holds a path against the one form in which requests are matched; says what is wrong and what to write.
fn canonical(path: &str) -> Result<(), (&'static str, String)> {
    let fault = |message, hint: &str| Err((message, hint.to_owned()));
    if !path.starts_with('/') {
        return fault("does not begin with a slash", "begin it with `/`");
    }
    if path.contains("//") {
        return fault("has a doubled slash, which is refused in requests", "write it once");
    }
    if path.split('/').any(|segment| matches!(segment, "." | "..")) {
        return fault("has a dot segment, which is refused in requests", "write the plain path");
    }
    if path.contains(['?', '#']) {
        return fault("has a query or fragment", "routes match paths alone");
    }
    if path.contains('*') {
        return fault("has a `*`", "write the prefix alone: it matches whatever is below it");
    }
    if !path.is_ascii() {
        return fault("is not ASCII", "percent-encode it as UTF-8, as in `/caf%C3%A9`");
    }
    if path.bytes().any(|b| b.is_ascii_control() || b" \"<>\\^`{|}".contains(&b)) {
        return fault("has a character that no path holds", "percent-encode it");
    }
    for encoded in path.split('%').skip(1) {
        let hex = encoded.get(..2).filter(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()));
        match hex.and_then(|hex| Some((hex, u8::from_str_radix(hex, 16).ok()?))) {
            None => return fault("has a `%` without two hexadecimal digits", "write a percent sign as `%25`"),
            Some((_, b)) if b.is_ascii_alphanumeric() || b"-._~".contains(&b) => {
                let hint = format!("write `{}` as it is", char::from(b));
                return Err(("encodes a character that needs no encoding", hint));
            }
            Some((_, b)) if b.is_ascii_control() || matches!(b, b'/' | b'\\') => {
                return fault(
                    "encodes a slash, backslash or control character, which is refused in requests",
                    "leave it out",
                );
            }
            Some((hex, _)) if hex.bytes().any(|b| b.is_ascii_lowercase()) => {
                return Err(("has an encoding in small letters", format!("write `%{}`", hex.to_ascii_uppercase())));
            }
            Some(_) => {}
        }
    }
    // Whatever else the gateway reads in another way than it is written could never match.
    match CanonicalPath::parse(path.as_bytes()) {
        Err(ambiguous) => Err(("has two readings, which is refused in requests", ambiguous.to_string())),
        Ok(read) if read.without_parameters().is_some() => fault("has a `;`", "leave parameters out of a route's path"),
        Ok(read) if read.as_str() != path => Err(("is not in its plain form", format!("write `{read}`"))),
        Ok(_) => Ok(()),
    }
}
