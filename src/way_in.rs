//! The way in when signing in is broken (`DOORWARD_RESTORE`, `LOCAL_RESTORE`): one password that only the log knows.
//!
//! Promise: while it is open nobody gets in by anything else, and what it gives is worth nothing to any other gateway nor
//! after this process: its sessions are sealed under a name that is drawn when it opens.

use std::sync::Arc;

use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};
use secrecy::{ExposeSecret, SecretString};

use crate::config::model::{RESTORE, Settings, callback};
use crate::config::{Config, KeyPath, Origin};
use crate::identity::{Claims, Identity};
use crate::reason::{Failure, Reason};

/// Characters that nobody mistakes for each other; 32, so that each is worth five bits.
const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
/// 120 bits.
const LENGTH: usize = 24;

/// The way in, where it is open.
pub struct WayIn {
    password: SecretString,
    /// What this process alone seals its sessions for.
    seal: String,
    identity: Identity,
    set_by: String,
    /// Whether what opened it is a variable, which only a start can change.
    by_variable: bool,
    /// Redirect URIs of the providers that are not asked, by path.
    callbacks: Vec<String>,
}

impl WayIn {
    /// Draws a password where the configuration opens the way in; where it was open `before`, its password goes on.
    pub fn new(config: &Config, before: Option<&WayIn>) -> Result<Option<WayIn>, Failure> {
        let restore = &config.settings.restore;
        if !restore.enabled {
            return Ok(None);
        }
        let (password, seal) = match before {
            Some(before) => (before.password.clone(), before.seal.clone()),
            None => draw()?,
        };
        let (set_by, by_variable) = match config.origins.nearest(&KeyPath::of("restore.enabled")) {
            Origin::Variable { name, .. } => (name.clone(), true),
            _ => ("enabled = true".to_owned(), false),
        };
        let identity = Identity {
            provider: RESTORE.into(),
            subject: restore.user.clone(),
            user: restore.user.clone(),
            email: restore.email.clone(),
            email_verified: restore.email.is_some().then_some(true),
            preferred_username: None,
            name: Some(restore.name.clone()).filter(|name| !name.is_empty()),
            groups: Some(restore.groups.clone()),
            claims: Claims::default(),
        };
        let providers = config.settings.provider.iter().enumerate();
        let callbacks = providers.map(|(index, provider)| callback(index, &provider.name)).collect();
        Ok(Some(WayIn { password, seal, identity, set_by, by_variable, callbacks }))
    }

    /// What its sessions are sealed for, beside what sessions always are.
    pub fn seal(&self) -> &str {
        &self.seal
    }

    /// What opened it, and has to be taken away.
    pub fn set_by(&self) -> &str {
        &self.set_by
    }

    /// Whether a provider that is not asked would answer at `path`.
    pub fn is_callback(&self, path: &str) -> bool {
        self.callbacks.iter().any(|callback| callback == path)
    }

    /// Who comes in, where `typed` is the password; however it was copied.
    pub fn judge(&self, typed: &str) -> Option<Identity> {
        let plain = |text: &str| -> String {
            text.chars().filter(|c| c.is_ascii_alphanumeric()).map(|c| c.to_ascii_lowercase()).collect()
        };
        // By digest, so that the time it takes tells nothing about the password.
        let same = digest(&SHA256, plain(typed).as_bytes()).as_ref()
            == digest(&SHA256, plain(self.password.expose_secret()).as_bytes()).as_ref();
        same.then(|| self.identity.clone())
    }

    /// Prints the password. To be called once, when it opens.
    pub fn tell(&self, settings: &Settings) {
        let address = settings.public_url.join("/oidc/password").map(String::from).unwrap_or_default();
        // As an error: whatever the log's level is, whoever opened the way in has to find it.
        tracing::error!(
            address,
            password = self.password.expose_secret(),
            lifetime = %settings.restore.lifetime,
            "restore mode is on: only this password signs in, nobody else gets in; take {} away{} when you are done",
            self.set_by,
            if self.by_variable { " and start again" } else { "" }
        );
    }
}

/// A password, and what its sessions are sealed for.
fn draw() -> Result<(SecretString, String), Failure> {
    let mut bytes = [0; LENGTH + 16];
    let random = SystemRandom::new().fill(&mut bytes);
    random.map_err(|_| Failure::new(Reason::Internal, "the system's random source failed"))?;
    let mut password = String::with_capacity(LENGTH + LENGTH / 4);
    for (index, byte) in bytes[..LENGTH].iter().enumerate() {
        if index > 0 && index % 4 == 0 {
            password.push('-');
        }
        password.push(char::from(ALPHABET[usize::from(byte % 32)]));
    }
    let seal = bytes[LENGTH..].iter().map(|byte| format!("{byte:02x}")).collect();
    Ok((password.into(), seal))
}

/// The configuration while the way in is open: no provider, no directory, no tokens, and short sessions.
pub fn narrowed(config: Arc<Config>) -> Arc<Config> {
    if !config.settings.restore.enabled {
        return config;
    }
    let mut config = Config::clone(&config);
    let settings = &mut config.settings;
    settings.provider.clear();
    settings.ldap = None;
    settings.federation = None;
    settings.issuer.clear();
    settings.session.absolute = settings.restore.lifetime.min(settings.session.absolute);
    settings.session.idle = settings.session.idle.min(settings.session.absolute);
    settings.session.refresh = false;
    for route in &mut settings.route {
        route.provider = None;
        route.issuers.clear();
        // No provider vouches for how somebody signed in.
        route.acr_values.clear();
        route.max_age = None;
        route.fresh_sign_in = false;
    }
    Arc::new(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(env: &[(&str, &str)]) -> Config {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("gateway.toml");
        let text = "public_url = 'https://a.example'\nsecrets = ['0123456789abcdef0123456789abcdef']\n\
            [[provider]]\nissuer = 'https://b.example'\nclient_id = 'c'\n[[upstream]]\nurl = 'http://127.0.0.1:1'\n\
            [restore]\nuser = 'root'\nemail = 'root@a.example'\n";
        std::fs::write(&file, text).expect("a file");
        let env: Vec<_> = env.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        Config::load(Some(&file), &env).unwrap_or_else(|e| panic!("{e}"))
    }

    #[test]
    fn each_start_has_a_password_of_its_own_that_is_read_however_it_was_copied() {
        assert!(WayIn::new(&config(&[]), None).expect("randomness").is_none());
        let open = || WayIn::new(&config(&[("LOCAL_RESTORE", "True")]), None).expect("randomness").expect("open");
        let (one, other) = (open(), open());
        let password = one.password.expose_secret();
        assert_eq!(password.len(), 29);
        for typed in [password.to_owned(), password.to_uppercase(), password.replace('-', ""), format!(" {password}\n")]
        {
            assert_eq!(one.judge(&typed).map(|who| who.user).as_deref(), Some("root"), "{typed}");
            assert!(other.judge(&typed).is_none());
        }
        assert!(one.judge("").is_none() && one.judge("-").is_none() && one.judge(&password[1..]).is_none());
        assert_ne!(one.seal(), other.seal());
        assert_eq!(one.set_by(), "LOCAL_RESTORE");
    }

    #[test]
    fn nobody_else_is_asked_while_it_is_open() {
        let settings = |config: Config| narrowed(Arc::new(config)).settings.clone();
        let open = settings(config(&[("DOORWARD_RESTORE", "true")]));
        assert!(open.provider.is_empty() && open.session.absolute.0.as_secs() == 1800);
        assert!(open.session.idle <= open.session.absolute);
        assert_eq!(settings(config(&[("DOORWARD_RESTORE", "false")])).provider.len(), 1);
    }
}
