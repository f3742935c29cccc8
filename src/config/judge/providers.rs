//! Providers and upstreams.

use std::collections::HashSet;

use super::console::is_at;
use super::{Judge, is_host, is_loopback, is_plain_name};
use crate::config::model::{LogoutForm, Provider, Upstream};
use crate::config::origin::KeyPath;
use crate::config::values::{AppScheme, AppUrl};
use crate::reason::Reason;

/// Parameters of the authorization request that the gateway writes itself: a second value would be a second opinion
/// about what protects the sign-in.
const OWN_PARAMETERS: [&str; 14] = [
    "client_id",
    "client_secret",
    "client_assertion",
    "client_assertion_type",
    "redirect_uri",
    "response_type",
    "response_mode",
    "scope",
    "state",
    "nonce",
    "code_challenge",
    "code_challenge_method",
    "request",
    "request_uri",
];
/// Parameters that have a key of their own.
const KEYED_PARAMETERS: [&str; 5] = ["prompt", "max_age", "acr_values", "login_hint", "domain_hint"];
/// Ends of addresses that are nothing else in the products that have them: Keycloak, Entra, Okta, and those that write alike.
const AUTHORIZATION_ENDPOINTS: [&str; 4] =
    ["/protocol/openid-connect/auth", "/oauth2/v2.0/authorize", "/oauth2/v1/authorize", "/oauth2/authorize"];
const DISCOVERY: &str = "/.well-known/openid-configuration";

impl Judge<'_> {
    pub(super) fn providers(&mut self) {
        let mut names = HashSet::new();
        for (index, provider) in self.settings.provider.iter().enumerate() {
            let key = KeyPath::of("provider").index(index);
            self.name(&key.key("name"), &provider.name, &mut names);
            self.issuer(&key.key("issuer"), provider);
            self.client(&key, provider);
            self.shared_key(&key, provider, &self.settings.provider[..index]);
            self.product(&key, provider);
            self.parameters(&key.key("authorization_params"), provider);
            for (name, claim) in [
                ("user_claim", &provider.user_claim),
                ("email_claim", &provider.email_claim),
                ("groups_claim", &provider.groups_claim),
            ] {
                if claim.is_empty() {
                    self.error(&key.key(name), "is empty", "name a claim, or take the line away");
                }
            }
            self.logout(&key, provider);
            self.positive(&key.key("timeout"), provider.timeout);
            self.positive(&key.key("refresh_every"), provider.refresh_every);
            self.file_exists(&key.key("ca_file"), provider.ca_file.as_deref(), Reason::CertificateUnusable);
        }
    }

    fn name<'n>(&mut self, key: &KeyPath, name: &'n str, names: &mut HashSet<&'n str>) {
        if !is_plain_name(name) {
            self.error(key, format!("`{name}` is no name"), "use letters, digits, `-` and `_`");
        }
        self.not_reserved(key, name);
        if !names.insert(name) {
            self.error(key, format!("`{name}` is the name of two"), "give each its own `name`");
        }
    }

    fn issuer(&mut self, key: &KeyPath, provider: &Provider) {
        let url = &provider.issuer;
        if !matches!(url.scheme(), "http" | "https") {
            let message = format!("`{}` is no scheme of a web address", url.scheme());
            return self.error(key, message, "write as in \"https://login.example.com\"");
        }
        if !url.username().is_empty() || url.password().is_some() {
            return self.error(key, "holds a user or password", "take what stands before the @ away");
        }
        if let Some(issuer) = url.as_str().strip_suffix(DISCOVERY) {
            let hint = format!("the issuer is most likely \"{issuer}\"");
            return self.error(key, "is the address of the provider's metadata, not the issuer", hint);
        }
        if self.mistaken_issuer(key, provider) {
            return;
        }
        let look = "look for `issuer` in the provider's metadata at `…/.well-known/openid-configuration`";
        if AUTHORIZATION_ENDPOINTS.iter().any(|endpoint| url.path().ends_with(endpoint)) {
            return self.error(key, "is the address of the authorization endpoint, not the issuer", look);
        }
        // An issuer may be called so; whether it is one, asking it shows.
        if url.path().contains("/authorize") || url.path().ends_with("/auth") {
            self.warn(key, format!("looks like the address of the authorization endpoint, not the issuer: {look}"));
        }
        if url.query().is_some() || url.fragment().is_some() {
            self.error(key, "has a query or fragment, which no issuer has", "take what stands behind `?` or `#` away");
        }
        if url.scheme() == "http" && !is_loopback(url.host()) {
            self.warn(key, "is http, so whoever is on the way can sign in as anybody; use https outside of trials");
        }
    }

    fn logout(&mut self, key: &KeyPath, provider: &Provider) {
        let Some(address) = &provider.logout_endpoint else { return };
        let key = key.key("logout_endpoint");
        if provider.logout == LogoutForm::None {
            let hint = "take one of them away";
            return self.error(&key, "has no effect: `logout` is `none`, so no address is asked", hint);
        }
        if !matches!(address.scheme(), "http" | "https") {
            let message = format!("`{}` is no scheme of a web address", address.scheme());
            return self.error(&key, message, "write as in \"https://login.example.com/logout\"");
        }
        // The ID token goes there as a hint.
        if address.scheme() == "http" && !is_loopback(address.host()) {
            self.error(&key, "is http, so whoever is on the way reads who signs out", "use https");
        }
        if !address.username().is_empty() || address.password().is_some() || address.fragment().is_some() {
            self.error(&key, "holds a user, a password or a fragment", "take it away");
        }
    }

    fn parameters(&mut self, key: &KeyPath, provider: &Provider) {
        for name in provider.authorization_params.keys() {
            if OWN_PARAMETERS.contains(&name.as_str()) {
                self.error(&key.key(name), "is written by the gateway itself", "take it away");
            } else if KEYED_PARAMETERS.contains(&name.as_str()) {
                self.error(&key.key(name), "has a key of its own", format!("set `{name}` of the provider"));
            }
        }
    }

    pub(super) fn upstreams(&mut self) {
        let mut names = HashSet::new();
        for (index, upstream) in self.settings.upstream.iter().enumerate() {
            let key = KeyPath::of("upstream").index(index);
            self.name(&key.key("name"), &upstream.name, &mut names);
            self.upstream(&key, upstream);
        }
    }

    /// A request to an app that is the gateway itself would come round for ever.
    fn not_the_gateway(&mut self, key: &KeyPath, upstream: &Upstream) {
        let settings = self.settings;
        let public = &settings.public_url;
        let is_public = matches!(&upstream.url, AppUrl::Tcp { host, port, .. }
            if public.host_str() == Some(host) && public.port_or_known_default() == Some(*port));
        let own = match () {
            () if is_at(upstream, settings.listen.address) => "`listen.address`",
            () if is_public => "`public_url`",
            () => return,
        };
        let message =
            format!("`{}` is the gateway itself ({own}), so every request would come round for ever", upstream.url);
        let hint = "write the address at which the app itself listens, as in \"http://127.0.0.1:3000\"; where both want the same \
                    port, give the app another one";
        self.error(&key.key("url"), message, hint);
    }

    fn upstream(&mut self, key: &KeyPath, upstream: &Upstream) {
        self.not_the_gateway(key, upstream);
        let tls = matches!(upstream.url, AppUrl::Tcp { scheme: AppScheme::Https, .. });
        for (name, set) in
            [("tls_ca_file", upstream.tls_ca_file.is_some()), ("tls_server_name", upstream.tls_server_name.is_some())]
        {
            if set && !tls {
                self.error(&key.key(name), "has no effect: the `url` is not https", "correct `url`, or take this away");
            }
        }
        self.file_exists(&key.key("tls_ca_file"), upstream.tls_ca_file.as_deref(), Reason::CertificateUnusable);
        if let Some(name) = upstream.tls_server_name.as_deref().filter(|name| !is_host(name)) {
            self.error(&key.key("tls_server_name"), format!("`{name}` is no host name"), "write the name alone");
        }
        let host_header = upstream.host_header.as_str();
        let (host, port) = match host_header.rsplit_once(':') {
            Some((host, port)) if !host_header.ends_with(']') => (host, port.parse::<u16>().is_ok()),
            _ => (host_header, true),
        };
        if !(is_host(host) && port) {
            let message = format!("`{host_header}` is neither `preserve`, `upstream` nor a host");
            self.error(&key.key("host_header"), message, "write as in \"app.example.com\"");
        }
        if host_header == "upstream" && matches!(upstream.url, AppUrl::Unix { .. }) {
            let hint = "use `preserve` or a name";
            self.error(&key.key("host_header"), "is `upstream`, and a unix socket has no host", hint);
        }
        for (name, period) in
            [("connect", upstream.connect), ("first_byte", upstream.first_byte), ("stream_idle", upstream.stream_idle)]
        {
            if let Some(period) = period {
                self.positive(&key.key(name), period);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{errors_of, refuses, with};

    #[test]
    fn an_app_that_is_the_gateway_itself_is_refused() {
        let app = |url: &str, listen: &str| {
            let text = with(&format!("listen.address = \"{listen}\""), "", "");
            text.replace("http://127.0.0.1:3000", url)
        };
        for (url, listen, own) in [
            ("http://127.0.0.1:8080", "0.0.0.0:8080", "`listen.address`"),
            ("http://localhost:8080", "127.0.0.1:8080", "`listen.address`"),
            ("http://[::1]:8080", "[::]:8080", "`listen.address`"),
            ("https://app.example.com", "0.0.0.0:8080", "`public_url`"),
        ] {
            refuses(&app(url, listen), "upstream.url", own);
        }
        for (url, listen) in [
            ("http://127.0.0.1:8081", "0.0.0.0:8080"),
            ("http://127.0.0.2:8080", "127.0.0.1:8080"),
            ("http://app.internal:8080", "0.0.0.0:8080"),
        ] {
            assert_eq!(errors_of(&app(url, listen)), [""; 0], "{url} behind {listen}");
        }
    }
}
