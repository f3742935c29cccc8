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
