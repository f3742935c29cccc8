//! How a route was found, or why none was: every route in the order of specificity, and what it asks for.

use std::cmp::Reverse;

use http::Method;

use super::Routes;
use crate::config::model::{self, Settings};
use crate::examined::{Check, Found};
use crate::gateway::request::CanonicalRequest;

impl Routes {
    /// The routes of `settings`, from which these were made, in the order in which they are looked at, and what keeps each
    /// from governing `request`. Which one governs is what [`Routes::find`] said;
    /// `written` says where each stands.
    pub fn examine(
        &self,
        request: &CanonicalRequest,
        settings: &Settings,
        written: impl Fn(usize) -> String,
        found: Option<usize>,
    ) -> Vec<Check> {
        let mut order: Vec<(usize, &model::Route)> = settings.route.iter().enumerate().collect();
        order.sort_by_key(|(index, route)| specificity(*index, route));
        let mut passed = false;
        let look = |(index, route): (usize, &model::Route)| {
            let check = Check::of(format!("route `{}`", self[index].name), written(index));
            let check = check.expected(place(route));
            if found == Some(index) {
                passed = true;
                return check.got("matches, and is the most specific").met(true);
            }
            let why = self.why_not(index, route, request, &request.method);
            match (why, passed) {
                (Some(why), _) => check.got(why).passed_over(),
                (None, true) => check.got("would match, and is less specific").passed_over(),
                (None, false) => Check { found: Found::NotExamined, ..check.got("matches") },
            }
        };
        order.into_iter().map(look).collect()
    }

    /// What of the route does not match: its host, its path or its methods.
    fn why_not(
        &self,
        index: usize,
        route: &model::Route,
        request: &CanonicalRequest,
        method: &Method,
    ) -> Option<String> {
        let (host, path) = (&request.authority.host, request.path.as_str());
        if let Some(wanted) = route.host.as_deref().filter(|wanted| !wanted.eq_ignore_ascii_case(host)) {
            return Some(format!("host is {host}, not {wanted}"));
        }
        if let Some(exact) = route.exact.as_deref() {
            if exact != path {
                return Some(format!("{path} is not exactly {exact}"));
            }
        } else {
            let prefix = route.path.as_deref().unwrap_or("/").trim_end_matches('/');
            match path.strip_prefix(prefix) {
                Some(rest) if rest.is_empty() || rest.starts_with('/') => {}
                Some(_) => return Some(format!("{path} goes on behind {prefix} within a segment")),
                None => return Some(format!("{path} is not below {prefix}")),
            }
        }
        let takes = || route.methods.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        (!self[index].takes(method)).then(|| format!("method is {method}, not {}", takes()))
    }
}

/// The first is looked at first.
fn specificity(index: usize, route: &model::Route) -> impl Ord {
    let prefix = route.path.as_deref().unwrap_or("/").trim_end_matches('/').len();
    let length = if route.exact.is_some() { 0 } else { prefix };
    (route.host.is_none(), route.exact.is_none(), Reverse(length), route.methods.is_empty(), index)
}

fn place(route: &model::Route) -> String {
    let below = if route.exact.is_some() { "" } else { " and below" };
    let place = route.place();
    match place.split_once(" on ") {
        Some((what, host)) => format!("{what}{below} on {host}"),
        None => place,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canonical::{Authority, CanonicalPath};

    /// The explanation is made of the configuration and the verdict of tables; they must never disagree.
    #[test]
    fn the_first_that_nothing_keeps_from_it_is_the_one_that_governs() {
        let mut text = String::from("public_url = 'http://localhost'\n[[upstream]]\nurl = 'http://127.0.0.1:1'\n");
        let paths = ["path = '/'", "path = '/api'", "path = '/api/v1/'", "exact = '/api'", "exact = '/api/v1'"];
        for path in paths {
            for host in ["", "host = 'b.example'\n", "host = 'C.example'\n"] {
                for methods in ["", "methods = ['GET']\n", "methods = ['POST', 'PUT']\npreflight = true\n"] {
                    // Not every combination, so that there are gaps to fall through.
                    if (path.len() + host.len() + methods.len()) % 3 != 0 {
                        text.push_str(&format!("[[route]]\n{path}\n{host}{methods}"));
                    }
                }
            }
        }
        let settings: Settings = toml::from_str(&text).expect("toml");
        let routes = Routes::new(&settings).unwrap_or_else(|e| panic!("{e}"));
        let mut found_some = 0;
        for path in ["/", "/api", "/api/", "/apix", "/api/v1", "/api/v1/", "/api/v1/x", "/api/v2/x", "/other/api"] {
            for host in ["a.example", "b.example", "c.example"] {
                for method in ["GET", "HEAD", "POST", "OPTIONS", "DELETE"] {
                    let request = CanonicalRequest {
                        method: method.parse().expect("method"),
                        authority: Authority::parse(host.as_bytes()).expect("host"),
                        path: CanonicalPath::parse(path.as_bytes()).expect("path"),
                        query: None,
                        respelt: false,
                    };
                    let found = routes.find(&request).ok();
                    found_some += usize::from(found.is_some());
                    let mut order: Vec<_> = settings.route.iter().enumerate().collect();
                    order.sort_by_key(|(index, route)| specificity(*index, route));
                    let first = order
                        .iter()
                        .find(|(index, route)| routes.why_not(*index, route, &request, &request.method).is_none());
                    assert_eq!(first.map(|(index, _)| *index), found, "{method} {host}{path}");
                    let governs = routes.examine(&request, &settings, |index| index.to_string(), found);
                    assert_eq!(governs.iter().any(|check| check.found == Found::Holds), found.is_some());
                    assert!(
                        governs.iter().all(|check| check.found != Found::Fails),
                        "none of them failed: {governs:?}"
                    );
                }
            }
        }
        assert!(found_some > 50);
    }
}
