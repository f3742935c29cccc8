//! Routes that open what others close, and tables that say something about what does not happen. All of it is allowed,
//! and told.

use super::Judge;
use crate::config::model::{Access, BasicWith, Route};
use crate::config::origin::KeyPath;

impl Judge<'_> {
    pub(super) fn shadows(&mut self) {
        let settings = self.settings;
        let (routes, upstreams) = (&settings.route, &settings.upstream);
        let app = |route: &Route| {
            let by_name = |name: &str| upstreams.iter().find(|upstream| upstream.name == name);
            route.upstream.as_deref().map_or(upstreams.first(), by_name).map(|upstream| upstream.url.to_string())
        };
        let public = routes.iter().enumerate().filter(|(_, route)| route.access == Access::Public);
        for (index, open) in public {
            let key = KeyPath::of("route").index(index);
            let closed = || routes.iter().filter(|route| route.access != Access::Public);
            if open.strip_prefix
                && let Some(closed) = closed().find(|closed| app(closed) == app(open) && share_host(open, closed))
            {
                let message = format!(
                    "lets everybody reach, below `{}` and without it, all of the app whose {} is for those who may",
                    path(open),
                    closed.place()
                );
                self.warn(&key.key("strip_prefix"), message);
            }
            if let Some(hidden) = closed().find(|closed| hides(open, closed, routes)) {
                let message = format!(
                    "is public and named for one host, so that the rules of {} do not count there; give that route a copy \
                     with this `host`",
                    hidden.place()
                );
                self.warn(&key.key("host"), message);
            } else if !open.strip_prefix
                && let Some(closed) =
                    closed().filter(|closed| app(closed) == app(open)).find(|closed| opens(open, closed))
            {
                let name = if open.exact.is_some() { "exact" } else { "path" };
                let message = format!("is open to everybody, within {}, which is for those who may", closed.place());
                self.hint(
                    &key.key(name),
                    message,
                    "Leave it so where it is meant; else take `access = \"public\"` away.",
                );
            }
        }
        self.hosts_without_session();
        self.idle_tables();
    }

    /// A session's cookie is the public URL's, or its domain's: at another host nobody is ever signed in.
    fn hosts_without_session(&mut self) {
        let settings = self.settings;
        let own = settings.public_url.host_str().unwrap_or_default();
        let domain = settings.session.cookie_domain.as_deref();
        let shared = |host: &str| {
            let below = |domain: &str| host == domain || host.strip_suffix(domain).is_some_and(|h| h.ends_with('.'));
            host == own || domain.is_some_and(below)
        };
        for (index, route) in settings.route.iter().enumerate() {
            let host = route.host.as_deref().filter(|_| route.access == Access::SignedIn);
            if let Some(host) = host.filter(|host| !shared(&host.to_ascii_lowercase())) {
                let message = format!(
                    "nobody can be signed in at `{host}`: sessions are kept for `{}`; set `session.cookie_domain` to a domain \
                     above both, or run a gateway with that `public_url`",
                    domain.unwrap_or(own)
                );
                self.warn(&KeyPath::of("route").index(index).key("host"), message);
            }
        }
    }

    /// Tables about people where nobody signs in, about tokens where none is taken, and so on.
    fn idle_tables(&mut self) {
        let settings = self.settings;
        let takes_tokens = |route: &Route| matches!(route.access, Access::Bearer | Access::SignedInOrBearer);
        let tokens = settings.route.iter().any(takes_tokens);
        let people = !self.ways_to_sign_in().is_empty() || settings.restore.enabled;
        let providers = !settings.provider.is_empty();
        let typed = settings.ldap.as_ref().is_some_and(|directory| directory.login);
        let passwords =
            typed || settings.restore.enabled || settings.route.iter().any(|route| route.basic == BasicWith::Directory);
        let nobody = "nobody signs in: there is no provider and no directory";
        let no_tokens = "no route takes tokens (`access = \"bearer\"` or \"signed-in-or-bearer\")";
        for (table, names, used, why) in [
            ("session", &["idle", "absolute", "max_bytes", "cookie_name", "cookie_domain"][..], people, nobody),
            ("session", &["refresh"], providers, "there is no provider that could renew a session"),
            ("sign_in", &["attempt_lifetime", "after_logout"], people, nobody),
            ("sign_in", &["provider_logout"], providers, "there is no provider whose session could end"),
            ("attempts", &["per_account", "per_address", "window"], passwords, "no password is typed here"),
            (
                "bearer",
                &["cache_bytes", "max_token_bytes", "realm"],
                tokens || settings.federation.is_some(),
                no_tokens,
            ),
            (
                "federation",
                &["issuers", "audiences", "skip_audience_validation", "subject_claim", "token_lifetime"],
                tokens,
                no_tokens,
            ),
            (
                "headers",
                &["lists", "text", "max_value_bytes"],
                people || tokens,
                "nobody is known whose values could be written: nobody signs in, and no route takes tokens",
            ),
        ] {
            for key in names.iter().map(|name| KeyPath::of(table).key(name)).filter(|_| !used) {
                if self.is_set(&key) {
                    self.warn(&key, format!("has no effect: {why}"));
                }
            }
        }
        let (issuers, accounts) = (settings.issuer.len(), settings.service_account.len());
        let federated = settings.federation.is_some();
        for (list, count, key, used) in
            [("issuer", issuers, "issuer", tokens || federated), ("service_account", accounts, "name", tokens)]
        {
            for index in (0..count).filter(|_| !used) {
                self.warn(&KeyPath::of(list).index(index).key(key), format!("has no effect: {no_tokens}"));
            }
        }
    }
}

fn path(route: &Route) -> &str {
    route.exact.as_deref().or(route.path.as_deref()).unwrap_or("/")
}

fn share_host(one: &Route, other: &Route) -> bool {
    match (&one.host, &other.host) {
        (Some(one), Some(other)) => one.eq_ignore_ascii_case(other),
        _ => true,
    }
}

/// Whether the path of `inner` is one that `outer` matches.
fn covers(outer: &Route, inner: &Route) -> bool {
    match (&outer.exact, path(outer).trim_end_matches('/')) {
        (Some(exact), _) => exact == path(inner),
        (None, prefix) => path(inner).strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
    }
}

/// Whether `open` takes a part of what `closed` closes, and that says more than that somebody has to be signed in: what is
/// public below a closed `/`, styles or a health check, is meant to be.
fn opens(open: &Route, closed: &Route) -> bool {
    let same_path = path(open) == path(closed);
    let says_more = path(closed) != "/" || closed.allow.is_some() || same_path && open.host == closed.host;
    // Of two, that for one host, for one address or for some methods comes first.
    let first = closed.host.is_some() && open.host.is_none()
        || closed.exact.is_some() && open.exact.is_none()
        || same_path && !closed.methods.is_empty() && open.methods.is_empty();
    says_more && !first && share_host(open, closed) && covers(closed, open)
}

/// Whether `open`, which names a host, takes what `closed`, which does not, closes: a named host comes before a longer path.
fn hides(open: &Route, closed: &Route, all: &[Route]) -> bool {
    // Where nothing but the default route is closed, what is public at that host is meant to be.
    let special = path(closed) != "/";
    let same_host = |other: &&Route| other.host.is_some() && other.host == open.host && other.access != Access::Public;
    let closed_there = all.iter().filter(same_host).any(|other| covers(other, closed) && path(other) != "/");
    open.host.is_some()
        && closed.host.is_none()
        && special
        && open.methods.is_empty()
        && covers(open, closed)
        && !closed_there
}

#[cfg(test)]
mod tests {
    use super::super::tests::{load, warns, with};

    fn quiet(text: &str) {
        assert_eq!(load(text).unwrap_or_else(|e| panic!("{text}\n{e}")).warnings, [""; 0], "{text}");
    }

    #[test]
    fn a_public_route_that_takes_its_prefix_off_opens_the_whole_app() {
        let closed = "[[route]]\npath = '/admin'\n";
        let open = "[[route]]\npath = '/pub'\naccess = 'public'\nstrip_prefix = true\n";
        warns(&with("", "", &format!("{closed}{open}")), "route[1].strip_prefix", "/admin on any host");
        // Another app, another host, or nothing that is closed.
        let other = "[[upstream]]\nname = 'site'\nurl = 'http://127.0.0.1:9'\n";
        quiet(&with("", "", &format!("{other}{closed}{open}upstream = 'site'\n")));
        quiet(&with("", "", open));
    }

    #[test]
    fn a_public_host_that_hides_a_closed_path_is_told() {
        let open = "[[route]]\nhost = 'app.example.com'\naccess = 'public'\n";
        let admin = "[[route]]\npath = '/admin'\n";
        let key = "route.host";
        warns(&with("", "", &format!("{open}{admin}")), key, "do not count there");
        quiet(&with("", "", &format!("{open}{admin}[[route]]\nhost = 'app.example.com'\npath = '/admin'\n")));
        quiet(&with("", "", &format!("{open}[[route]]\n")));
        quiet(&with("", "", &format!("{admin}[[route]]\nhost = 'app.example.com'\nexact = '/x'\naccess = 'public'\n")));
    }

    /// What is told to whoever asks, and to nobody else.
    fn hints(text: &str) -> Vec<String> {
        let config = load(text).unwrap_or_else(|e| panic!("{text}\n{e}"));
        assert_eq!(config.warnings, [""; 0], "{text}");
        config.hints.iter().map(|hint| hint.said.clone()).collect()
    }

    #[test]
    fn a_public_route_within_a_closed_one_is_hinted_at_and_no_start_warns_of_it() {
        let admin = "[[route]]\npath = '/admin'\nallow.groups = ['admins']\n";
        let root = "[[route]]\npath = '/'\n";
        for (closed, open, key, within) in [
            (admin, "path = '/admin/reports'", "route[1].path", "/admin on any host"),
            (admin, "exact = '/admin/reports'", "route[1].exact", "/admin on any host"),
            (admin, "path = '/admin'\nmethods = ['GET']", "route[1].path", "/admin on any host"),
            (root, "path = '/'\nmethods = ['GET']", "route[1].path", "/ on any host"),
            (
                "[[route]]\npath = '/'\nallow.groups = ['staff']\n",
                "path = '/reports'",
                "route[1].path",
                "/ on any host",
            ),
        ] {
            let told = hints(&with("", "", &format!("{closed}[[route]]\n{open}\naccess = 'public'\n")));
            let fits = |told: &String| told.contains(&format!("{key}: ")) && told.contains(within);
            assert!(told.len() == 1 && fits(&told[0]), "{closed}{open}: {told:?}");
        }
        let other = "[[upstream]]\nname = 'site'\nurl = 'http://127.0.0.1:9'\n";
        for text in [
            format!("{root}[[route]]\npath = '/static'\naccess = 'public'\n"),
            format!("{root}[[route]]\nexact = '/healthz'\naccess = 'public'\n"),
            format!("{admin}[[route]]\npath = '/administration'\naccess = 'public'\n"),
            format!("{admin}[[route]]\nmethods = ['GET']\naccess = 'public'\n"),
            format!("{admin}methods = ['POST']\n[[route]]\npath = '/admin'\naccess = 'public'\n"),
            format!("{root}[[route]]\npath = '/'\nhost = 'www.example.com'\naccess = 'public'\n"),
            format!("{other}{admin}[[route]]\npath = '/admin/help'\naccess = 'public'\nupstream = 'site'\n"),
        ] {
            assert_eq!(hints(&with("", "", &text)), [""; 0], "{text}");
        }
    }

    #[test]
    fn a_host_at_which_nobody_has_a_session_is_told() {
        let route = "[[route]]\nhost = 'other.example.com'\n";
        warns(&with("", "", route), "route.host", "nobody can be signed in");
        quiet(&with("", "", &format!("{route}[session]\ncookie_domain = 'example.com'\n")));
        quiet(&with("", "", &format!("{route}access = 'public'\n")));
        quiet(&with("", "", "[[route]]\nhost = 'App.example.com'\n"));
    }

    #[test]
    fn tables_about_what_does_not_happen_are_told() {
        let open = "public_url = 'https://a.example'\n[[upstream]]\nurl = 'http://127.0.0.1:3000'\n[[route]]\n\
                    access = 'public'\n";
        warns(&format!("{open}[session]\nidle = '1h'\n"), "session.idle", "nobody signs in");
        warns(
            &format!("{open}[sign_in]\nprovider_logout = false\n"),
            "sign_in.provider_logout",
            "there is no provider",
        );
        warns(&with("", "", "[bearer]\ncache_bytes = '1MiB'\n"), "bearer.cache_bytes", "no route takes tokens");
        warns(&format!("{open}[attempts]\nwindow = '1m'\n"), "attempts.window", "no password is typed");
        warns(&format!("{open}[headers]\ntext = 'base64'\n"), "headers.text", "nobody signs in");
        let issuer = "[[issuer]]\nname = 'ci'\nissuer = 'https://ci.example'\naudiences = ['a']\n";
        warns(&with("", "", issuer), "issuer.issuer", "no route takes tokens");
        warns(
            &with(
                "",
                "",
                &format!("{issuer}[federation]\naudiences = ['a']\nallow = {{ emails = ['a@b.example'] }}\n"),
            ),
            "federation.audiences",
            "no route takes",
        );
        warns(&with("", "", "[[service_account]]\nname = 'ci'\n"), "service_account.name", "no route takes tokens");
        quiet(open);
    }
}
