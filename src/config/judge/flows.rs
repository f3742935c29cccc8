//! The way of a sign-in: how the provider's answer comes back, and what a route asks of it.

use std::time::Duration;

use super::{Judge, is_loopback};
use crate::config::model::{Access, AuthMethod, Provider, ResponseMode, Route};
use crate::config::origin::KeyPath;

/// What a sign-in itself takes: who is asked for a more recent one would be sent round and round.
const LEAST_AGE: Duration = Duration::from_secs(10);

impl Judge<'_> {
    pub(super) fn flows(&mut self) {
        let settings = self.settings;
        for (index, provider) in settings.provider.iter().enumerate() {
            self.flow(&KeyPath::of("provider").index(index), provider);
        }
        for (index, route) in settings.route.iter().enumerate() {
            self.step_up(&KeyPath::of("route").index(index), route);
        }
    }

    fn flow(&mut self, key: &KeyPath, provider: &Provider) {
        let (flow, mode) = (provider.auth_method, provider.response_mode);
        if flow != AuthMethod::Pkce && mode == Some(ResponseMode::Query) {
            let message = "is `query`, and an ID token in an address would stay in histories and logs";
            self.error(&key.key("response_mode"), message, "take it away, or set `auth_method = \"pkce\"`");
        }
        if flow == AuthMethod::Implicit && provider.userinfo {
            let message = "has no effect: the implicit flow asks for no access token, so nobody can be asked";
            self.error(&key.key("userinfo"), message, "take it away, or set `auth_method = \"pkce\"`");
        }
        let public = &self.settings.public_url;
        let open = public.scheme() == "http" && !is_loopback(public.host());
        if open && provider.response_mode() == ResponseMode::FormPost {
            let name = if mode == Some(ResponseMode::FormPost) { "response_mode" } else { "auth_method" };
            let message = format!(
                "has the browser post the answer to {}, which is plain http: whoever is on the way reads and uses it",
                self.settings.public_url
            );
            let hint = "set an https `public_url` (http will do on `localhost`), or `auth_method = \"pkce\"` without \
                        `response_mode`";
            self.error(&key.key(name), message, hint);
        }
    }

    fn step_up(&mut self, key: &KeyPath, route: &Route) {
        let set = [
            ("acr_values", !route.acr_values.is_empty()),
            ("max_age", route.max_age.is_some()),
            ("fresh_sign_in", route.fresh_sign_in),
        ];
        for (name, _) in set.into_iter().filter(|(_, set)| *set && route.access != Access::SignedIn) {
            let (message, hint) = match route.access {
                Access::Public => ("has no effect on a public route", "take it away, or set `access = \"signed-in\"`"),
                _ => (
                    "cannot be promised here: a bearer token does not say how its owner signed in",
                    "set `access = \"signed-in\"`, and let programs in by a route of their own",
                ),
            };
            self.error(&key.key(name), message, hint);
        }
        let plain = |value: &String| !value.is_empty() && value.bytes().all(|b| b.is_ascii_graphic());
        if let Some(value) = route.acr_values.iter().find(|value| !plain(value)) {
            let message = format!("`{value}` is no `acr`: it is empty, or holds a space or what is not ASCII");
            self.error(&key.key("acr_values"), message, "write each as the provider's metadata lists it");
        }
        if let Some(age) = route.max_age.filter(|age| age.0 < LEAST_AGE) {
            let message = format!("is {age}, and a sign-in takes longer than that");
            self.error(&key.key("max_age"), message, "set it to `10s` or more");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{errors_of, refuses, with};
    use crate::config::Config;

    #[test]
    fn an_answer_is_posted_over_https_or_on_this_machine_and_nowhere_else() {
        let keys = ["auth_method = \"implicit\"", "auth_method = \"hybrid\"", "response_mode = \"form_post\""];
        for provider in keys {
            let key = format!("provider.{}", provider.split(' ').next().unwrap_or_default());
            for public in ["http://app.example.com", "http://10.0.0.1:8080", "http://localhost.example"] {
                refuses(&with(&format!("public_url = \"{public}\""), provider, ""), &key, "which is plain http");
            }
            for public in ["https://app.example.com", "http://localhost:8080", "http://127.0.0.1", "http://[::1]"] {
                let file = tempfile::NamedTempFile::new().expect("file");
                std::fs::write(file.path(), with(&format!("public_url = \"{public}\""), provider, "")).expect("write");
                Config::load(Some(file.path()), &[]).unwrap_or_else(|e| panic!("{provider} at {public}: {e}"));
            }
        }
    }

    #[test]
    fn what_contradicts_the_way_of_a_sign_in_is_refused() {
        for (provider, key, wanted) in [
            ("auth_method = \"implicit\"\nresponse_mode = \"query\"", "provider.response_mode", "histories"),
            ("auth_method = \"hybrid\"\nresponse_mode = \"query\"", "provider.response_mode", "histories"),
            ("auth_method = \"implicit\"\nuserinfo = true", "provider.userinfo", "no access token"),
        ] {
            refuses(&with("", provider, ""), key, wanted);
        }
    }

    #[test]
    fn the_implicit_flow_alone_leaves_nothing_to_renew_with() {
        let (implicit, refresh) = ("auth_method = \"implicit\"", "[session]\nrefresh = true\n");
        refuses(&with("", implicit, refresh), "session.refresh", "nothing to renew");
        let other = "[[provider]]\nname = \"b\"\nissuer = \"https://b.example\"\nclient_id = \"b\"\n";
        assert_eq!(errors_of(&with("", implicit, &format!("{other}{refresh}"))), [""; 0]);
    }

    #[test]
    fn a_demand_that_could_be_walked_around_is_refused() {
        let bearer = "[[issuer]]\nname = \"ci\"\nissuer = \"https://ci.example\"\naudiences = [\"a\"]\n";
        for (key, text) in [
            ("acr_values", "acr_values = [\"a\"]"),
            ("max_age", "max_age = \"5m\""),
            ("fresh_sign_in", "fresh_sign_in = true"),
        ] {
            for (access, wanted) in
                [("public", "no effect"), ("bearer", "bearer token"), ("signed-in-or-bearer", "bearer token")]
            {
                let route = format!("{bearer}[[route]]\naccess = \"{access}\"\n{text}\n");
                refuses(&with("", "", &route), &format!("route.{key}"), wanted);
            }
        }
        for (text, key, wanted) in [
            ("acr_values = [\"a b\"]", "route.acr_values", "is no `acr`"),
            ("acr_values = [\"\"]", "route.acr_values", "is no `acr`"),
            ("max_age = \"9s\"", "route.max_age", "takes longer"),
        ] {
            refuses(&with("", "", &format!("[[route]]\n{text}\n")), key, wanted);
        }
    }
}
