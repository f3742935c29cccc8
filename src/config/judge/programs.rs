//! Programs: issuers, federation, service accounts, and what a route asks of tokens.

use std::collections::HashSet;

use super::{Judge, is_loopback, is_plain_name};
use crate::config::model::{
    Access, BasicWith, ClientAuth, Federation, Issuer, OWN_ISSUER, Route, ServiceAccount, TENANT, TokenAlgorithm,
    own_issuer,
};
use crate::config::origin::KeyPath;
use crate::reason::Reason;

const MIN_SECRET: usize = 32;

/// How the gateway can authenticate itself to introspect.
const FOR_INTROSPECTION: [ClientAuth; 4] =
    [ClientAuth::Auto, ClientAuth::None, ClientAuth::ClientSecretBasic, ClientAuth::ClientSecretPost];

impl Judge<'_> {
    pub(super) fn programs(&mut self) {
        let settings = self.settings;
        let mut names = HashSet::new();
        let mut said = HashSet::new();
        for (index, issuer) in settings.issuer.iter().enumerate() {
            let key = KeyPath::of("issuer").index(index);
            self.issuer_name(&key.key("name"), &issuer.name, &mut names);
            self.token_issuer(&key, issuer, &mut said);
            self.token_keys(&key, issuer);
            self.token_audience(&key, issuer);
            self.token_algorithms(&key, issuer);
            self.token_rules(&key, issuer);
            self.introspection(&key, issuer);
            for (name, period) in [
                ("timeout", issuer.timeout),
                ("refresh_every", Some(issuer.refresh_every)),
                ("keys_max_age", Some(issuer.keys_max_age)),
                ("introspection_cache", Some(issuer.introspection_cache)),
            ] {
                period.into_iter().for_each(|period| self.positive(&key.key(name), period));
            }
            self.file_exists(&key.key("ca_file"), issuer.ca_file.as_deref(), Reason::CertificateUnusable);
        }
        if let Some(federation) = &settings.federation {
            self.federation(&KeyPath::of("federation"), federation);
        }
        self.service_accounts();
        if settings.bearer.max_token_bytes.0 < 256 {
            self.error(&KeyPath::of("bearer.max_token_bytes"), "is too small for any token", "set it to 16KiB");
        }
        if settings.bearer.realm.bytes().any(|b| !(b' '..=b'~').contains(&b) || matches!(b, b'"' | b'\\')) {
            let hint = "use letters, digits, spaces and plain signs";
            self.error(&KeyPath::of("bearer.realm"), "holds what a header cannot carry in quotes", hint);
        }
    }

    fn issuer_name<'n>(&mut self, key: &KeyPath, name: &'n str, names: &mut HashSet<&'n str>) {
        if !is_plain_name(name) {
            self.error(key, format!("`{name}` is no name"), "use letters, digits, `-` and `_`");
        }
        self.not_reserved(key, name);
        if !names.insert(name) {
            self.error(key, format!("`{name}` is the name of two"), "give each its own `name`");
        }
    }

    /// `iss`, and that no two entries claim the same: which one judges a token must not depend on their order.
    fn token_issuer(&mut self, key: &KeyPath, issuer: &Issuer, said: &mut HashSet<String>) {
        let settings = self.settings;
        let provider = issuer.provider.as_deref();
        let found = settings.provider_of(issuer);
        if let (Some(name), None) = (provider, found) {
            let hint = "name a [[provider]], or set `issuer`";
            self.error(&key.key("provider"), format!("there is no provider `{name}`"), hint);
        }
        match (&issuer.issuer, provider) {
            (None, None) => {
                let hint = "set it to the `iss` of the tokens, or `provider` to the [[provider]] that issues them";
                self.error(&key.key("issuer"), "is required and not set", hint);
            }
            (Some(_), Some(_)) => {
                self.error(&key.key("issuer"), "is set, and `provider` says it too", "take one of them away");
            }
            _ => {}
        }
        let mut written = issuer.issuer.iter().chain(&issuer.issuer_aliases);
        if written.clone().any(String::is_empty) {
            self.error(&key.key("issuer"), "is empty", "set it to the `iss` of the tokens");
        }
        let several = written.any(|text| text.contains(TENANT));
        // Only a provider says which product it is.
        let of_entra = found.is_some_and(|provider| provider.tenant_template().is_some());
        self.tenants(&key.key("tenants"), &issuer.tenants, several || of_entra, of_entra);
        let own = own_issuer(&settings.public_url);
        for text in issuer.texts(found).into_iter().filter(|text| !text.is_empty()) {
            if settings.federation.is_some() && text == own {
                let hint = "routes take the gateway's own tokens where `issuers` lists `doorward`, or nothing";
                self.error(&key.key("issuer"), format!("`{text}` is what the gateway's own tokens say"), hint);
            } else if said.contains(&text) {
                let hint = "make them one entry with the audiences of both; routes can ask for one with `audiences`";
                self.error(&key.key("issuer"), format!("`{text}` is the issuer of two entries"), hint);
            } else {
                said.insert(text);
            }
        }
    }

    /// `placeholder`: whether they have a place in `issuer` or an alias.
    fn tenants(&mut self, key: &KeyPath, tenants: &[String], placeholder: bool, of_entra: bool) {
        match (placeholder, tenants.is_empty()) {
            (true, true) => {
                let hint = "list the tenants that may come; anybody can make one of their own";
                self.error(key, "is needed where `issuer` holds {tenantid}", hint);
            }
            (false, false) => {
                self.error(key, "has no effect without {tenantid} in `issuer`", "take it away");
            }
            _ => {}
        }
        self.tenant_list(key, tenants, of_entra);
    }

    /// Exactly one place where keys come from.
    fn token_keys(&mut self, key: &KeyPath, issuer: &Issuer) {
        let set: Vec<&str> = [
            ("jwks_uri", issuer.jwks_uri.is_some()),
            ("jwks_file", issuer.jwks_file.is_some()),
            ("secret", issuer.secret.is_some()),
        ]
        .into_iter()
        .filter_map(|(name, set)| set.then_some(name))
        .collect();
        if let [first, second, ..] = set[..] {
            let message = format!("is set beside `{first}`, and keys come from one place");
            self.error(&key.key(second), message, "take one of them away");
        }
        self.file_exists(&key.key("jwks_file"), issuer.jwks_file.as_deref(), Reason::ConfigInvalid);
        let addresses = [
            ("address", &issuer.address),
            ("jwks_uri", &issuer.jwks_uri),
            ("introspection_endpoint", &issuer.introspection_endpoint),
        ];
        for (name, url) in addresses {
            let Some(url) = url else { continue };
            if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
                self.error(&key.key(name), "is no http or https address", "write as in \"https://ci.example.com\"");
            } else if !url.username().is_empty() || url.password().is_some() {
                self.error(&key.key(name), "holds a user or password", "take what stands before the @ away");
            } else if url.scheme() == "http" && !is_loopback(url.host()) && name != "address" {
                let message = "is http, so whoever is on the way can make tokens; use https outside of trials";
                self.warn(&key.key(name), message);
            }
        }
        if issuer.address.as_ref().is_some_and(|url| !matches!(url.path(), "" | "/") || url.query().is_some()) {
            self.error(&key.key("address"), "has a path", "write scheme, host and port alone");
        }
        let discovers = set.is_empty() && issuer.provider.is_none();
        let text = issuer.issuer.as_deref().unwrap_or_default();
        if discovers && !text.starts_with("https://") && !text.starts_with("http://") && !text.is_empty() {
            let hint = "set `jwks_uri` or `jwks_file`, since no metadata can be asked for there";
            self.error(&key.key("issuer"), format!("`{text}` is no web address"), hint);
        }
        let plain = url::Url::parse(text).is_ok_and(|url| url.scheme() == "http" && !is_loopback(url.host()));
        if discovers && plain && issuer.address.is_none() {
            let message = "is http, so whoever is on the way can make tokens; use https outside of trials";
            self.warn(&key.key("issuer"), message);
        }
        if let Some(secret) = &issuer.secret {
            let length = secret.expose().len();
            // RFC 7518 §3.2: a key at least as long as the hash.
            if length < MIN_SECRET {
                let message = format!("has {length} characters, and at least {MIN_SECRET} are needed");
                self.error_because(Reason::SecretMissing, &key.key("secret"), message, "agree on a longer one");
            }
        }
    }

    fn token_audience(&mut self, key: &KeyPath, issuer: &Issuer) {
        match (issuer.audiences.is_empty(), issuer.any_audience) {
            (true, false) => {
                let hint = "list what `aud` must name one of, or set `any_audience = true`";
                self.error(&key.key("audiences"), "is required: tokens for other services would be accepted", hint);
            }
            (false, true) => {
                let hint = "take one of them away";
                self.error(&key.key("any_audience"), "is true, and `audiences` lists some", hint);
            }
            (true, true) => self.warn(
                &key.key("any_audience"),
                format!("tokens that `{}` issued for any other service are accepted here", issuer.name),
            ),
            (false, false) => {}
        }
        if issuer.audiences.iter().any(String::is_empty) {
            self.error(&key.key("audiences"), "holds an empty entry", "take it away");
        }
    }

    fn token_algorithms(&mut self, key: &KeyPath, issuer: &Issuer) {
        use TokenAlgorithm::{HS256, HS384, HS512};
        let hmac = |algorithm: &TokenAlgorithm| matches!(algorithm, HS256 | HS384 | HS512);
        let wrong = issuer.algorithms.iter().find(|algorithm| hmac(algorithm) != issuer.secret.is_some());
        if let Some(wrong) = wrong {
            let message = match issuer.secret.is_some() {
                true => format!("{wrong:?} is not for a shared secret"),
                false => format!("{wrong:?} needs `secret`: a published key would be everybody's secret"),
            };
            self.error(&key.key("algorithms"), message, "correct the list, or take it away");
        }
        if let Some(length) = issuer.secret.as_ref().map(|secret| secret.expose().len()) {
            let wants = |algorithm: &TokenAlgorithm| match algorithm {
                HS512 => 64,
                HS384 => 48,
                _ => 32,
            };
            if let Some(long) = issuer.algorithms.iter().find(|algorithm| wants(algorithm) > length) {
                let message = format!("{long:?} needs a secret of {} characters (RFC 7518 §3.2)", wants(long));
                self.error(&key.key("algorithms"), message, "agree on a longer secret, or on HS256");
            }
        }
        for (index, typ) in issuer.typ.iter().enumerate() {
            if typ.is_empty() || typ.bytes().any(|b| !b.is_ascii_graphic()) {
                self.error(&key.key("typ").index(index), format!("`{typ}` is no type"), "write as in \"at+jwt\"");
            }
        }
        if issuer.typ.is_empty() {
            self.error(&key.key("typ"), "is empty, so no token could be accepted", "take the line away");
        }
    }

    fn token_rules(&mut self, key: &KeyPath, issuer: &Issuer) {
        for (index, rule) in issuer.required_claims.iter().enumerate() {
            self.claim_rule(&key.key("required_claims").index(index), rule);
        }
        for (name, claim) in [
            ("user_claim", &issuer.user_claim),
            ("email_claim", &issuer.email_claim),
            ("groups_claim", &issuer.groups_claim),
        ] {
            if claim.as_deref() == Some("") {
                self.error(&key.key(name), "is empty", "name a claim, or take the line away");
            }
        }
    }

    fn introspection(&mut self, key: &KeyPath, issuer: &Issuer) {
        let on = issuer.introspection || issuer.introspection_endpoint.is_some();
        if !on {
            for name in ["client_id", "client_secret", "client_secret_file", "client_auth", "introspection_cache"] {
                if self.is_set(&key.key(name)) {
                    let hint = "set `introspection = true`, or take this away";
                    self.error(&key.key(name), "has no effect without introspection", hint);
                }
            }
            return;
        }
        let Some(id) = &issuer.client_id else {
            let hint = "register the gateway at the issuer, as a client that may introspect";
            return self.error(&key.key("client_id"), "is needed for introspection (RFC 7662 §2.1)", hint);
        };
        if id.is_empty() {
            self.error(&key.key("client_id"), "is empty", "set it to the client id that the issuer gave");
        }
        if let Some(name) = issuer.client_auth.name().filter(|_| !FOR_INTROSPECTION.contains(&issuer.client_auth)) {
            let hint = "set a `client_secret`, and take `client_auth` away";
            self.error(&key.key("client_auth"), format!("`{name}` is for providers, not for introspection"), hint);
        }
        let public = issuer.client_auth == ClientAuth::None;
        if issuer.client_secret.is_none() && !public {
            let hint = "set `client_secret` or `client_secret_file`";
            self.error_because(Reason::SecretMissing, &key.key("client_secret"), "is needed for introspection", hint);
        }
        let discovers = issuer.jwks_uri.is_none() && issuer.jwks_file.is_none() && issuer.secret.is_none();
        if issuer.introspection && issuer.introspection_endpoint.is_none() && !discovers {
            let hint = "set it: the issuer's metadata is not asked for";
            self.error(&key.key("introspection_endpoint"), "is needed", hint);
        }
    }

    fn federation(&mut self, key: &KeyPath, federation: &Federation) {
        let settings = self.settings;
        let names: Vec<&str> = settings.issuer.iter().map(|issuer| issuer.name.as_str()).collect();
        if names.is_empty() {
            self.error(key, "there is no issuer whose assertions could be exchanged", "add [[issuer]]");
        }
        for (index, name) in federation.issuers.iter().enumerate() {
            self.known(&key.key("issuers").index(index), Some(name), "issuer", &names);
        }
        match (federation.audiences.is_empty(), federation.skip_audience_validation) {
            (true, false) => {
                let hint = "list what `aud` of an assertion must name one of";
                self.error(&key.key("audiences"), "is required: anybody's tokens could be exchanged", hint);
            }
            (_, true) => self.warn(
                &key.key("skip_audience_validation"),
                "assertions that were made for any other service can be exchanged here",
            ),
            (false, false) => {}
        }
        if settings.secrets.is_empty() {
            let hint = "set `secrets` or `secret_file`";
            self.error_because(Reason::SecretMissing, key, "tokens cannot be signed without a secret", hint);
        }
        let external = settings.service_account.iter().any(|account| account.external_subject.is_some());
        match &federation.allow {
            Some(allow) => self.allow(&key.key("allow"), allow),
            None if !external => {
                let hint = "add [federation.allow], or [[service_account]] with `external_subject`";
                self.error(&key.key("allow"), "nobody's assertion would be taken", hint);
            }
            None => {}
        }
        self.positive(&key.key("token_lifetime"), federation.token_lifetime);
        // Clients refresh five minutes before the end; a token that is no longer makes them ask for each request.
        if federation.token_lifetime.0.as_secs() <= 300 {
            let message = "W&B's SDK exchanges again for each request where it is five minutes or less";
            self.warn(&key.key("token_lifetime"), message);
        }
    }

    fn service_accounts(&mut self) {
        let settings = self.settings;
        let issuers: Vec<&str> = settings.issuer.iter().map(|issuer| issuer.name.as_str()).collect();
        let (mut names, mut subjects) = (HashSet::new(), HashSet::new());
        for (index, account) in settings.service_account.iter().enumerate() {
            let key = KeyPath::of("service_account").index(index);
            if !is_plain_name(&account.name) {
                let hint = "use letters, digits, `-` and `_`";
                self.error(&key.key("name"), format!("`{}` is no name", account.name), hint);
            }
            if !names.insert(&account.name) {
                self.error(&key.key("name"), format!("`{}` is the name of two", account.name), "choose another");
            }
            self.known(&key.key("external_issuer"), account.external_issuer.as_deref(), "issuer", &issuers);
            self.external(&key, account);
            self.named_by(&key, account);
            let external = (&account.external_issuer, &account.external_subject);
            if let (Some(issuer), Some(subject)) = external
                && !subjects.insert((issuer, subject))
            {
                let message = "two accounts have this issuer and subject";
                self.error(&key.key("external_subject"), message, "give each its own");
            }
        }
    }

    /// The address it is known by, and those that it may name.
    fn named_by(&mut self, key: &KeyPath, account: &ServiceAccount) {
        let address =
            |text: &str| text.split_once('@').is_some_and(|(user, domain)| !user.is_empty() && !domain.is_empty());
        if account.email.as_deref().is_some_and(|email| !address(email)) {
            self.error(&key.key("email"), "is no e-mail address", "write as in \"ci-runner@example.com\"");
        }
        for (index, who) in account.acts_for.iter().enumerate() {
            // What could never be in one header, or would stand for nobody.
            let odd = |c: char| c.is_control() || c.is_whitespace() || c == ',';
            if matches!(who.as_str(), "" | "@") || who.contains(odd) {
                let hint = "write a user name, an e-mail address, or \"@example.com\" for all of a domain";
                self.error(&key.key("acts_for").index(index), format!("`{}` names nobody", who.escape_debug()), hint);
            }
        }
    }

    fn external(&mut self, key: &KeyPath, account: &ServiceAccount) {
        match (&account.external_issuer, &account.external_subject) {
            (Some(_), None) => {
                let hint = "set it to the `sub` of the account's tokens";
                self.error(&key.key("external_subject"), "is needed beside `external_issuer`", hint);
            }
            (None, Some(_)) => {
                let hint = "name the [[issuer]] of the account's tokens";
                self.error(&key.key("external_issuer"), "is needed beside `external_subject`", hint);
            }
            _ => {}
        }
    }

    /// What a route asks of tokens.
    pub(super) fn tokens_of_route(&mut self, key: &KeyPath, route: &Route) {
        let settings = self.settings;
        let takes_tokens = matches!(route.access, Access::Bearer | Access::SignedInOrBearer);
        if !takes_tokens {
            for (name, set) in [
                ("issuers", !route.issuers.is_empty()),
                ("audiences", !route.audiences.is_empty()),
                ("scopes", !route.scopes.is_empty()),
                ("forward_token", route.forward_token),
                ("attribution", route.attribution),
                ("resource_metadata", route.resource_metadata),
            ] {
                if set {
                    let hint = "set `access = \"bearer\"` or \"signed-in-or-bearer\", or take this away";
                    self.error(&key.key(name), "has no effect on a route that takes no tokens", hint);
                }
            }
            return;
        }
        let passwords = route.basic == BasicWith::Directory;
        if settings.issuer.is_empty() && settings.service_account.is_empty() && !passwords {
            let hint = "add [[issuer]] or [[service_account]]";
            self.error(&key.key("access"), "nobody has tokens for it: there is neither issuer nor account", hint);
        }
        let mut names: Vec<&str> = settings.issuer.iter().map(|issuer| issuer.name.as_str()).collect();
        if settings.federation.is_some() {
            names.push(OWN_ISSUER);
        }
        for (index, name) in route.issuers.iter().enumerate() {
            self.known(&key.key("issuers").index(index), Some(name), "issuer", &names);
        }
        for (index, scope) in route.scopes.iter().enumerate() {
            // RFC 6749 §3.3: a scope token has neither spaces nor quotes.
            if scope.is_empty() || scope.bytes().any(|b| !b.is_ascii_graphic() || matches!(b, b'"' | b'\\')) {
                let hint = "list each scope by itself";
                self.error(&key.key("scopes").index(index), format!("`{scope}` is no scope"), hint);
            }
        }
        // Without `acts_for` an account may still name itself, as W&B's SDK does.
        if route.attribution && settings.service_account.is_empty() {
            let hint = "add a [[service_account]], or take it away";
            self.error(&key.key("attribution"), "has no effect: there is no account that could name anybody", hint);
        }
    }
}
