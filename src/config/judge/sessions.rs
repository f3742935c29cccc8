//! Secrets, sessions, and signing in and out.

use super::Judge;
use crate::config::model::{AuthMethod, Provider};
use crate::config::origin::KeyPath;
use crate::reason::Reason;

const SHORTEST_SECRET: usize = 32;
const NEW_SECRET: &str = "make one with `openssl rand -base64 32`";

/// Five cookies of 3900 bytes; `session/cookies.rs` splits them so.
const MAX_SESSION: usize = 5 * 3900;

impl Judge<'_> {
    pub(super) fn secrets(&mut self) {
        let (secrets, key) = (&self.settings.secrets, KeyPath::of("secrets"));
        if secrets.is_empty() && !self.ways_to_sign_in().is_empty() {
            let message = "sessions cannot be sealed without a secret";
            let hint =
                format!("{NEW_SECRET} and set `secrets` or `secret_file`, or DOORWARD_SECRETS or DOORWARD_SECRET_FILE");
            self.error_because(Reason::SecretMissing, &key, message, hint);
        }
        for (index, secret) in secrets.iter().enumerate() {
            let length = secret.expose().chars().count();
            if length < SHORTEST_SECRET {
                let message = format!("has {length} characters, and at least {SHORTEST_SECRET} are needed");
                self.error(&key.index(index), message, NEW_SECRET);
            }
            if secrets[..index].contains(secret) {
                self.error(&key.index(index), "is in the list twice", "take one of them away");
            }
        }
    }

    pub(super) fn sessions(&mut self) {
        let session = &self.settings.session;
        let key = |name: &str| KeyPath::of("session").key(name);
        self.positive(&key("idle"), session.idle);
        if session.idle > session.absolute {
            let message = format!("{} is longer than `absolute` ({})", session.idle, session.absolute);
            self.error(&key("idle"), message, "lower it, or raise `absolute`");
        }
        self.positive(&key("refresh_ahead"), session.refresh_ahead);
        for name in ["refresh_ahead", "on_refresh_failure"] {
            if !session.refresh && self.is_set(&key(name)) {
                self.error(&key(name), "has no effect without `refresh = true`", "set that, or take this away");
            }
        }
        let providers = &self.settings.provider;
        let implicit = |provider: &Provider| provider.auth_method == AuthMethod::Implicit;
        if session.refresh && !providers.is_empty() && providers.iter().all(implicit) {
            let message = "has no effect: the implicit flow brings no refresh token, so there is nothing to renew with";
            self.error(&key("refresh"), message, "take it away, or set `auth_method = \"pkce\"`");
        }
        if session.max_bytes.0 < 1024 {
            self.error(&key("max_bytes"), "is too small for any session", "set it to 4KiB or more");
        }
        if session.max_bytes.0 > MAX_SESSION {
            let hint = format!("set it to {MAX_SESSION} or less");
            self.error(&key("max_bytes"), "is more than browsers keep in the five cookies of a session", hint);
        }
        self.cookie_name();
        self.cookie_domain();
        self.positive(&KeyPath::of("sign_in.attempt_lifetime"), self.settings.sign_in.attempt_lifetime);
        let after = self.settings.sign_in.after_logout.as_deref();
        let on_this_host = |path: &str| {
            let plain = !path.contains(|c: char| c.is_control() || c == '\\' || c == ' ');
            path.starts_with('/') && !path.starts_with("//") && plain
        };
        if let Some(path) = after.filter(|path| !on_this_host(path)) {
            let message = format!("`{path}` is no path on this host");
            self.error(&KeyPath::of("sign_in.after_logout"), message, "begin it with a single slash");
        }
    }

    fn cookie_name(&mut self) {
        let (name, key) = (&self.settings.session.cookie_name, KeyPath::of("session.cookie_name"));
        let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        if name.is_empty() || !name.bytes().all(token) {
            let message = format!("`{name}` is no name of a cookie");
            self.error(&key, message, "use letters, digits, `-` and `_`");
        }
        // Browsers read the prefixes without regard to case (RFC 6265bis §4.1.3).
        if ["__host-", "__secure-"].iter().any(|prefix| name.to_ascii_lowercase().starts_with(prefix)) {
            self.error(&key, "holds a prefix that is put before it where it can be", "write the name alone");
        }
    }

    fn cookie_domain(&mut self) {
        let key = KeyPath::of("session.cookie_domain");
        let Some(domain) = self.settings.session.cookie_domain.as_deref() else { return };
        if domain.bytes().any(|b| b.is_ascii_uppercase()) {
            self.error(&key, "has capital letters", format!("write `{}`", domain.to_ascii_lowercase()));
        }
        if domain.starts_with('.') {
            return self.error(&key, "begins with a dot", format!("write \"{}\"", domain.trim_start_matches('.')));
        }
        // A single label is a registry's or a bare machine name; browsers refuse such a cookie or, worse, take it.
        if !domain.contains('.') {
            let message = format!("`{domain}` is a single label, for which browsers keep no cookie");
            return self.error(&key, message, "name the domain that the hosts share, as in \"example.com\"");
        }
        let host = match self.settings.public_url.host() {
            Some(url::Host::Domain(name)) => name,
            _ => return self.error(&key, "needs a `public_url` with a host name", "take one of them away"),
        };
        let domain = domain.to_ascii_lowercase();
        if host != domain && !host.strip_suffix(domain.as_str()).is_some_and(|rest| rest.ends_with('.')) {
            let message = format!("`{domain}` does not contain the host of `public_url` ({host})");
            self.error(&key, message, "browsers would not keep the cookie; name a domain above that host");
        }
    }
}
