//! Step 2: which route governs a request.
//!
//! The most specific route wins, whatever the order in the file: a named host before any host, an exact path before a
//! prefix, a longer prefix before a shorter, named methods before all. Looking one up costs a few hash look-ups,
//! however many routes there are.

mod examine;

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;
use http::Method;

use super::request::CanonicalRequest;
use crate::authn::Wanted;
use crate::authz::Rules;
use crate::config::model::{self, Access, BasicWith, Settings, SignInStyle};
use crate::endpoints::StepUp;
use crate::endpoints::challenge::Challenge;
use crate::reason::{Failure, Reason};
use crate::telemetry::{RouteMetrics, metrics};

/// One compiled route.
pub struct Route {
    /// Name in metrics and logs.
    pub name: String,
    pub access: Access,
    /// Whoever is signed in where `None`.
    pub rules: Option<Rules>,
    /// Index of the upstream.
    pub upstream: usize,
    /// Prefix to take off the path.
    pub strip: Option<String>,
    pub preflight: bool,
    pub sign_in: SignInStyle,
    /// Provider whose sessions count here; every provider's where `None`.
    pub provider: Option<String>,
    /// What is asked of a sign-in, where anything is.
    pub step_up: Option<Box<StepUp>>,
    /// What is asked of tokens, where they are taken at all.
    pub tokens: Option<RouteTokens>,
    pub metrics: RouteMetrics,
    methods: Vec<Method>,
}

impl Route {
    /// Whether somebody chose who may. What a public route may show of the console, or one for everybody who is known, is
    /// what programs ask for, and says nothing of this host.
    pub fn is_for_chosen(&self) -> bool {
        self.access != Access::Public && self.rules.is_some()
    }
}

/// What a route asks of programs, and what it tells them.
pub struct RouteTokens {
    pub wanted: Wanted,
    pub challenge: Arc<Challenge>,
    /// Whether the app gets to see the credential.
    pub forward: bool,
    /// Whether the app is told whom a service account works for.
    pub attribution: bool,
    /// Whether people's own names and passwords count.
    pub passwords: bool,
}

impl RouteTokens {
    fn of(route: &model::Route, settings: &Settings) -> Option<Self> {
        matches!(route.access, Access::Bearer | Access::SignedInOrBearer).then(|| RouteTokens {
            wanted: Wanted::new(route, settings),
            challenge: Arc::new(Challenge::of(route, settings)),
            forward: route.forward_token,
            attribution: route.attribution,
            passwords: route.basic == BasicWith::Directory,
        })
    }
}

/// All routes, arranged for looking up.
pub struct Routes {
    routes: Vec<Route>,
    hosts: Table<Paths>,
    any_host: Paths,
    /// Counts requests that no route governs.
    pub unrouted: RouteMetrics,
    /// Whether any route goes by method, so that a method override of the client must not reach the app.
    pub by_method: bool,
}

/// The keys are the operator's, so that no client can choose them to collide.
type Table<T> = HashMap<String, T, RandomState>;

/// Routes by path; the indices at one path are ordered, named methods first.
#[derive(Default)]
struct Paths {
    exact: Table<Vec<usize>>,
    prefix: Table<Vec<usize>>,
    /// Bytes of the longest prefix: what is longer need not be looked up, however many slashes a client sends.
    longest: usize,
}

impl Routes {
    /// Compiles the routes of a configuration that has been judged.
    pub fn new(settings: &Settings) -> Result<Self, Failure> {
        let mut table = Routes {
            routes: Vec::with_capacity(settings.route.len()),
            hosts: Table::default(),
            any_host: Paths::default(),
            unrouted: metrics().route(""),
            by_method: settings.route.iter().any(|route| !route.methods.is_empty()),
        };
        for route in &settings.route {
            table.add(route, settings)?;
        }
        let routes = &table.routes;
        for paths in table.hosts.values_mut().chain([&mut table.any_host]) {
            for indices in paths.exact.values_mut().chain(paths.prefix.values_mut()) {
                indices.sort_by_key(|&index| routes[index].methods.is_empty());
            }
        }
        Ok(table)
    }

    fn add(&mut self, route: &model::Route, settings: &Settings) -> Result<(), Failure> {
        let invalid = |what: String| Failure::new(Reason::ConfigInvalid, what);
        let index = self.routes.len();
        let upstream = match &route.upstream {
            None => 0,
            Some(name) => settings
                .upstream
                .iter()
                .position(|u| u.name == *name)
                .ok_or_else(|| invalid(format!("no upstream `{name}`")))?,
        };
        let prefix = route.path.as_deref().unwrap_or("/").trim_end_matches('/');
        self.routes.push(Route {
            name: route_name(route),
            access: route.access,
            rules: route.allow.as_ref().map(Rules::new).transpose().map_err(invalid)?,
            upstream,
            strip: route.strip_prefix.then(|| prefix.to_owned()),
            preflight: route.preflight,
            sign_in: route.sign_in,
            provider: route.provider.clone(),
            step_up: StepUp::of(route),
            tokens: RouteTokens::of(route, settings),
            metrics: metrics().route(&route_name(route)),
            methods: route.methods.iter().map(|m| m.0.clone()).collect(),
        });
        let paths = match &route.host {
            Some(host) => self.hosts.entry(host.to_ascii_lowercase()).or_default(),
            None => &mut self.any_host,
        };
        match &route.exact {
            Some(path) => paths.exact.entry(path.clone()).or_default().push(index),
            None => {
                paths.longest = paths.longest.max(prefix.len());
                paths.prefix.entry(prefix.to_owned()).or_default().push(index);
            }
        }
        Ok(())
    }

    /// Index of the route that governs `request`. Where an app that drops path parameters would read a path that another
    /// route governs, the request has two readings and is refused.
    pub fn find(&self, request: &CanonicalRequest) -> Result<usize, Failure> {
        self.find_for(request, &request.method)
    }

    /// The same were the method of `request` another one: what a preflight asks for.
    pub fn find_for(&self, request: &CanonicalRequest, method: &Method) -> Result<usize, Failure> {
        let found = self.lookup(&request.authority.host, request.path.as_str(), method);
        if let Some(other) = request.path.without_parameters() {
            let second = self.lookup(&request.authority.host, &other, method);
            if found != second {
                return Err(Failure::new(
                    Reason::PathAmbiguous,
                    "with and without its parameters (`;`) the path has different routes",
                ));
            }
        }
        match found {
            Some(index) => Ok(index),
            None => Err(Failure::new(Reason::NoRoute, format!("{method} {}{}", request.authority.host, request.path))),
        }
    }

    fn lookup(&self, host: &str, path: &str, method: &Method) -> Option<usize> {
        let named = self.hosts.get(host).and_then(|paths| self.lookup_path(paths, path, method));
        named.or_else(|| self.lookup_path(&self.any_host, path, method))
    }

    fn lookup_path(&self, paths: &Paths, path: &str, method: &Method) -> Option<usize> {
        let pick = |indices: &Vec<usize>| indices.iter().copied().find(|&index| self.routes[index].takes(method));
        if let Some(index) = paths.exact.get(path).and_then(pick) {
            return Some(index);
        }
        let mut prefix = path.strip_suffix('/').unwrap_or(path);
        if prefix.len() > paths.longest {
            // Down to the last border that a prefix can end at; a path is ASCII.
            let border = prefix.as_bytes()[..=paths.longest].iter().rposition(|&b| b == b'/')?;
            prefix = &prefix[..border];
        }
        loop {
            if let Some(index) = paths.prefix.get(prefix).and_then(pick) {
                return Some(index);
            }
            prefix = &prefix[..prefix.rfind('/')?];
        }
    }
}

impl std::ops::Index<usize> for Routes {
    type Output = Route;

    fn index(&self, index: usize) -> &Route {
        &self.routes[index]
    }
}

impl Route {
    fn takes(&self, method: &Method) -> bool {
        self.methods.is_empty() || self.methods.contains(method)
            // HEAD is GET without the body (RFC 9110 §9.3.2).
            || (*method == Method::HEAD && self.methods.contains(&Method::GET))
            || (self.preflight && *method == Method::OPTIONS)
    }
}

/// The route's name, or one made of what it matches.
fn route_name(route: &model::Route) -> String {
    let path = route.exact.as_deref().or(route.path.as_deref()).unwrap_or("/");
    let made = || format!("{}{path}", route.host.as_deref().unwrap_or_default());
    route.name.clone().unwrap_or_else(made)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canonical::{Authority, CanonicalPath};

    fn routes(toml: &str) -> Routes {
        let text = format!("public_url = 'http://localhost'\n[[upstream]]\nurl = 'http://127.0.0.1:1'\n{toml}");
        Routes::new(&toml::from_str(&text).expect("toml")).unwrap_or_else(|e| panic!("{e}"))
    }

    fn found(routes: &Routes, method: &str, host: &str, path: &str) -> Result<String, Reason> {
        let request = CanonicalRequest {
            method: method.parse().expect("method"),
            authority: Authority::parse(host.as_bytes()).expect("host"),
            path: CanonicalPath::parse(path.as_bytes()).expect("path"),
            query: None,
            respelt: false,
        };
        routes.find(&request).map(|index| routes[index].name.clone()).map_err(|f| f.reason)
    }

    const TABLE: &str = "
        [[route]]
        name = 'root'
        access = 'public'
        [[route]]
        name = 'api'
        path = '/api'
        [[route]]
        name = 'api-read'
        path = '/api/'
        methods = ['get']
        [[route]]
        name = 'deep'
        path = '/api/v1/deep'
        [[route]]
        name = 'exact'
        exact = '/api/v1'
        [[route]]
        name = 'host'
        host = 'b.example'
        path = '/api'
    ";

    #[test]
    fn the_most_specific_route_wins_whatever_the_order() {
        let reversed =
            TABLE.split("[[route]]").skip(1).collect::<Vec<_>>().into_iter().rev().map(|r| format!("[[route]]{r}"));
        for table in [routes(TABLE), routes(&reversed.collect::<String>())] {
            for (method, host, path, name) in [
                ("GET", "a", "/", "root"),
                ("GET", "a", "/apix", "root"),
                ("GET", "a", "/api", "api-read"),
                ("HEAD", "a", "/api/", "api-read"),
                ("POST", "a", "/api/x", "api"),
                ("GET", "a", "/api/v1", "exact"),
                ("GET", "a", "/api/v1/", "api-read"),
                ("GET", "a", "/api/v1/deep/x", "deep"),
                ("GET", "b.example", "/api/v1", "host"),
                ("GET", "b.example", "/x", "root"),
                ("GET", "B.example.", "/api", "host"),
            ] {
                assert_eq!(found(&table, method, host, path), Ok(name.into()), "{method} {host} {path}");
            }
        }
    }

    #[test]
    fn what_no_route_matches_is_refused() {
        let table = routes("[[route]]\npath = '/api'\nmethods = ['GET']");
        assert_eq!(found(&table, "GET", "a", "/"), Err(Reason::NoRoute));
        assert_eq!(found(&table, "POST", "a", "/api"), Err(Reason::NoRoute));
        assert_eq!(found(&table, "OPTIONS", "a", "/api"), Err(Reason::NoRoute));
    }

    #[test]
    fn a_path_parameter_does_not_lead_around_a_route() {
        let table = routes("[[route]]\n[[route]]\npath = '/admin'");
        assert_eq!(found(&table, "GET", "a", "/admin;x/y"), Err(Reason::PathAmbiguous));
        assert_eq!(found(&table, "GET", "a", "/admin%3bx"), Err(Reason::PathAmbiguous));
        assert_eq!(found(&table, "GET", "a", "/admin/y;v=1"), Ok("/admin".into()));
        assert_eq!(found(&table, "GET", "a", "/page;v=1"), Ok("/".into()));
    }

    /// What the configuration warns of is judged from the tables as they are written; it must not differ from what happens.
    #[test]
    fn a_warning_of_a_hidden_route_is_what_the_lookup_does() {
        let mut seed = 7u32;
        let mut one_of = |list: &[&'static str]| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            list[(seed >> 16) as usize % list.len()]
        };
        let (paths, hosts) = (["/", "/a", "/a/b", "/a/b/", "/ab", "/c"], ["", "", "x.site.example", "y.site.example"]);
        let (mut told, mut quiet) = (0, 0);
        for _ in 0..400 {
            let mut text = String::from(
                "public_url = 'https://x.site.example'\nsecrets = ['0123456789abcdef0123456789abcdef']\n[[upstream]]\nurl = 'http://127.0.0.1:1'\n",
            );
            text.push_str("[session]\ncookie_domain = 'site.example'\n[[provider]]\nissuer = 'http://127.0.0.1:2'\n");
            text.push_str("client_id = 'x'\nclient_secret = 'a-secret'\n");
            for _ in 0..5 {
                let (kind, path) = (one_of(&["path", "path", "exact"]), one_of(&paths));
                let access = one_of(&["public", "signed-in"]);
                text.push_str(&format!("[[route]]\n{kind} = '{path}'\naccess = '{access}'\n"));
                let (host, methods) = (one_of(&hosts), one_of(&["", "", "methods = ['GET']\n"]));
                text.push_str(methods);
                if !host.is_empty() {
                    text.push_str(&format!("host = '{host}'\n"));
                }
            }
            let file = tempfile::NamedTempFile::new().expect("file");
            std::fs::write(file.path(), &text).expect("write");
            // Two at one place are refused.
            let Ok(config) = crate::config::Config::load(Some(file.path()), &[]) else { continue };
            let (listed, table) =
                (&config.settings.route, Routes::new(&config.settings).unwrap_or_else(|e| panic!("{e}")));
            let path = |route: &model::Route| route.exact.clone().or(route.path.clone()).unwrap_or("/".into());
            let closed = |route: &&model::Route| route.access != Access::Public;
            let everywhere = || listed.iter().filter(closed).filter(|route| route.host.is_none() && path(route) != "/");
            for (index, open) in listed.iter().enumerate().filter(|(_, route)| route.access == Access::Public) {
                let key = if index == 0 { "route.host".to_owned() } else { format!("route[{index}].host") };
                let warned = config.warnings.iter().any(|w| w.contains(&key) && w.contains("named for one host"));
                let Some(host) = &open.host else {
                    assert!(!warned, "{text}");
                    continue;
                };
                // By a method that no route names.
                let at = |route: &model::Route| table.lookup(host, &path(route), &Method::PATCH);
                let is_open = |found: usize| listed[found].access == Access::Public;
                if warned {
                    told += 1;
                    assert!(everywhere().any(|route| at(route).is_some_and(is_open)), "{text}");
                    continue;
                }
                quiet += 1;
                // Whoever closes something else at this host has thought of it.
                let thought = listed.iter().filter(closed).any(|route| route.host == open.host && path(route) != "/");
                assert!(thought || !everywhere().any(|route| at(route) == Some(index)), "{key}\n{text}");
            }
        }
        assert!(told > 20 && quiet > 20, "{told} {quiet}");
    }
}
