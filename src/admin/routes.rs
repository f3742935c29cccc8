//! The routes in the order in which they are tried: what each matches, who may, where it leads, and what it keeps from
//! others.

use std::cmp::Reverse;

use askama::Template;
use http::Response;

use super::Scene;
use super::shell::Shell;
use crate::config::model::{Access, Allow, BasicWith, Route};
use crate::config::table::demands;
use crate::config::{Config, KeyPath, Settings};

#[derive(Template)]
#[template(path = "routes.html", config = "src/admin/askama.toml")]
struct Routes {
    shell: Shell,
    rows: Vec<Row>,
}

struct Row {
    /// Its key in the configuration, as the table and errors have it, and where it is written.
    key: String,
    name: String,
    place: String,
    access: &'static str,
    class: &'static str,
    who: Vec<String>,
    upstream: String,
    url: String,
    /// Routes that a wider one of would have governed what this one does, and which lets fewer people in.
    notes: Vec<String>,
}

pub(super) fn page(scene: &Scene<'_>) -> Response<Vec<u8>> {
    let config = &scene.in_force.config;
    let settings = &config.settings;
    let mut order: Vec<usize> = (0..settings.route.len()).collect();
    order.sort_by_key(|index| rank(&settings.route[*index]));
    let rows = order.iter().map(|&index| row(index, config)).collect();
    let page = Routes { shell: scene.shell("routes"), rows };
    page.shell.page(&page)
}

/// In the order in which the gateway tries them: a named host first, then an exact path, then the longer prefix, then
/// named methods.
fn rank(route: &Route) -> impl Ord + use<> {
    let host = route.host.clone();
    (host.is_none(), host, route.exact.is_none(), Reverse(prefix(route).len()), prefix(route), route.methods.is_empty())
}

fn prefix(route: &Route) -> String {
    let path = route.exact.as_deref().or(route.path.as_deref()).unwrap_or("/");
    if route.exact.is_some() { path.to_owned() } else { path.trim_end_matches('/').to_owned() }
}

fn key(index: usize) -> KeyPath {
    KeyPath::default().key("route").index(index)
}

fn row(index: usize, config: &Config) -> Row {
    let settings = &config.settings;
    let route = &settings.route[index];
    let upstream = match &route.upstream {
        Some(name) => settings.upstream.iter().find(|upstream| upstream.name == *name),
        None => settings.upstream.first(),
    };
    let (access, class) = match route.access {
        Access::Public => ("public", "warn"),
        Access::SignedIn => ("signed in", "good"),
        Access::Bearer => ("token or key", "good"),
        Access::SignedInOrBearer => ("signed in, token or key", "good"),
    };
    Row {
        key: config.place_of(&key(index)),
        name: route.name.clone().unwrap_or_default(),
        place: route.place(),
        access,
        class,
        who: who(route),
        upstream: upstream.map_or_else(|| "none".to_owned(), |upstream| upstream.name.clone()),
        url: upstream.map(|upstream| upstream.url.to_string()).unwrap_or_default(),
        notes: notes(index, settings),
    }
}

/// Who may, in words, a sentence part each.
fn who(route: &Route) -> Vec<String> {
    let mut all = match (&route.allow, route.access) {
        (_, Access::Public) => vec!["everybody, signed in or not".to_owned()],
        (None, Access::SignedIn) => vec!["everybody who is signed in".to_owned()],
        (None, _) => vec!["everybody whose credential is good".to_owned()],
        (Some(allow), _) => allowed(allow),
    };
    if route.access == Access::Public {
        return all;
    }
    if let Some(provider) = &route.provider {
        all.push(format!("signed in with `{provider}` alone"));
    }
    let of_sign_in = demands(route);
    if !of_sign_in.is_empty() {
        all.push(of_sign_in.trim_start_matches(", ").to_owned());
    }
    for (what, list) in
        [("tokens of", &route.issuers), ("tokens for", &route.audiences), ("tokens with the scope", &route.scopes)]
    {
        if !list.is_empty() {
            all.push(format!("{what} {}", quoted(list)));
        }
    }
    if route.basic == BasicWith::Directory {
        all.push("people of the directory with name and password".into());
    }
    if route.preflight {
        all.push("preflights pass without a session".into());
    }
    all
}

fn allowed(allow: &Allow) -> Vec<String> {
    let mut all = Vec::new();
    for (what, list) in [
        ("the e-mail address", &allow.emails),
        ("an e-mail address at", &allow.email_domains),
        ("the group", &allow.groups),
    ] {
        if !list.is_empty() {
            all.push(format!("{what} {}", quoted(list)));
        }
    }
    for rule in &allow.claims {
        let wanted = match (&rule.equals, &rule.contains, &rule.one_of) {
            (Some(value), ..) => format!("is `{value}`"),
            (_, Some(value), _) => format!("holds `{value}`"),
            (.., Some(values)) => format!("is or holds {}", quoted(values)),
            _ => "is never met".to_owned(),
        };
        all.push(format!("the claim `{}` {wanted}", rule.claim));
    }
    match all.as_slice() {
        [one] => vec![format!("whoever has {one}")],
        _ => std::iter::once("whoever has one of".to_owned()).chain(all).collect(),
    }
}

fn quoted(list: &[String]) -> String {
    list.iter().map(|text| format!("`{text}`")).collect::<Vec<_>>().join(" or ")
}

/// Whether what `inner` matches would, without it, be governed by `outer`.
fn within(inner: &Route, outer: &Route) -> bool {
    let host = outer.host.is_none() || outer.host == inner.host;
    let methods = outer.methods.is_empty()
        || (!inner.methods.is_empty() && inner.methods.iter().all(|m| outer.methods.contains(m)));
    let (path, whole) = (prefix(inner), prefix(outer));
    let path = match (&outer.exact, &inner.exact) {
        (Some(outer), Some(inner)) => outer == inner,
        (Some(_), None) => false,
        (None, _) => path == whole || path.strip_prefix(&whole).is_some_and(|rest| rest.starts_with('/')),
    };
    host && methods && path
}

fn notes(index: usize, settings: &Settings) -> Vec<String> {
    let (route, mut notes) = (&settings.route[index], Vec::new());
    if route.strip_prefix {
        notes.push(format!("takes `{}` off the path", route.path.as_deref().unwrap_or("/")));
    }
    // Of those that it takes from, the nearest is the one that would govern.
    let around = settings.route.iter().enumerate().filter(|(other, outer)| *other != index && within(route, outer));
    if let Some((other, outer)) = around.min_by_key(|(_, outer)| rank(outer)) {
        let (same, outer_key) = (rank(outer) == rank(route), key(other));
        let opens = route.access == Access::Public && outer.access != Access::Public;
        notes.push(match (same, opens) {
            (true, _) => format!("matches the same as `{outer_key}`, and the first of them counts"),
            (false, true) => format!("opens to everybody a part of `{outer_key}`, {}", outer.place()),
            (false, false) => format!("goes before `{outer_key}`, {}", outer.place()),
        });
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(routes: &str) -> Settings {
        let text = format!("public_url = 'http://localhost'\n[[upstream]]\nurl = 'http://127.0.0.1:1'\n{routes}");
        toml::from_str(&text).expect("settings")
    }

    #[test]
    fn routes_are_told_in_the_order_in_which_they_are_tried() {
        let settings = settings(
            "[[route]]\n[[route]]\npath = '/api'\n[[route]]\npath = '/api/'\nmethods = ['GET']\n[[route]]\nexact = '/api/v1'\n\
             [[route]]\nhost = 'b.example'\npath = '/x'\n[[route]]\npath = '/api/deep'",
        );
        let mut order: Vec<usize> = (0..6).collect();
        order.sort_by_key(|index| rank(&settings.route[*index]));
        assert_eq!(order, [4, 3, 5, 2, 1, 0]);
    }

    #[test]
    fn a_public_part_of_a_protected_route_is_named() {
        let settings =
            settings("[[route]]\n[[route]]\npath = '/api/open'\naccess = 'public'\n[[route]]\npath = '/api'");
        assert_eq!(notes(1, &settings), ["opens to everybody a part of `route[2]`, /api on any host"]);
        assert_eq!(notes(2, &settings), ["goes before `route`, / on any host"]);
        assert!(notes(0, &settings).is_empty());
    }

    #[test]
    fn rules_are_told_with_what_they_name() {
        let settings = settings(
            "[[route]]\nallow.groups = ['admins']\n[[route]]\nallow.email_domains = ['a.example', 'b.example']\n\
             allow.claims = [{ claim = 'dept', equals = 'it' }]\n",
        );
        assert_eq!(who(&settings.route[0]), ["whoever has the group `admins`"]);
        assert_eq!(
            who(&settings.route[1]),
            ["whoever has one of", "an e-mail address at `a.example` or `b.example`", "the claim `dept` is `it`"]
        );
    }
}
