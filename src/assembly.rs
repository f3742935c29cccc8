//! What the gateway's decisions stand on, put together from a configuration: nothing is listened on, nothing is fetched.

use std::fmt::Write;
use std::sync::Arc;

use crate::attempts::Attempts;
use crate::authn::Programs;
use crate::authn::password::Passwords;
use crate::config::Config;
use crate::config::model::BasicWith;
use crate::config::values::Secret;
use crate::directory::Directory;
use crate::endpoints::{Context, Published};
use crate::federation::Federation;
use crate::identity_headers::IdentityHeaders;
use crate::jwt::{Issuers, Signer};
use crate::keys::Keyring;
use crate::oidc::Providers;
use crate::pages::Pages;
use crate::reason::{Failure, Reason};
use crate::service_accounts::ServiceAccounts;
use crate::session::cookies::Cookies;
use crate::session::ended::Ended;
use crate::way_in::{self, WayIn};

/// What the gateway's decisions stand on.
pub fn context(config: Arc<Config>) -> Result<Context, Failure> {
    put_together(config, None)
}

/// The same from another configuration while the gateway runs: what `before` remembers goes on, and what is known there
/// of the world outside is known from the start. Nothing of it is changed until [`Context::take_over`].
pub fn successor(config: Arc<Config>, before: &Context) -> Result<Context, Failure> {
    put_together(config, Some(before))
}

fn put_together(config: Arc<Config>, before: Option<&Context>) -> Result<Context, Failure> {
    let way_in = WayIn::new(&config, before.and_then(|before| before.way_in.as_ref()))?;
    // Addresses of the gateway stay its own while the way in is open: what is sent to them is not for the app.
    let (whole, config) = (config.clone(), way_in::narrowed(config));
    let settings = &config.settings;
    let keys = match Keyring::new(&settings.secrets) {
        Some(keys) => Arc::new(keys),
        // Without a provider nothing is ever sealed; a key for the length of this run fills its place.
        None => match before.filter(|before| before.config.settings.secrets.is_empty()) {
            Some(before) => before.keys.clone(),
            None => Arc::new(one_run_keys()?),
        },
    };
    let signer = whole.settings.federation.as_ref().and_then(|_| Signer::new(&settings.secrets)).map(Arc::new);
    let published = Published::new(&whole.settings, signer.as_deref());
    let signer = signer.filter(|_| settings.federation.is_some());
    let identity_headers = IdentityHeaders::new(&settings.headers);
    let accounts = ServiceAccounts::new(settings, config.file.as_deref(), &identity_headers)?;
    let accounts = Arc::new(accounts);
    let own_keys = signer.as_ref().map(|signer| signer.key_set());
    let issuers = Arc::new(Issuers::new(settings, IdentityHeaders::new(&settings.headers), own_keys)?);
    let mut providers = Providers::new(settings)?;
    let federation = match (&settings.federation, &signer) {
        (Some(federation), Some(signer)) => {
            let (issuers, accounts) = (issuers.clone(), accounts.clone());
            Some(Federation::new(federation, &settings.public_url, signer.clone(), issuers, accounts)?)
        }
        _ => None,
    };
    let directory = Directory::new(settings)?;
    let attempts = match before {
        Some(before) => before.attempts.clone(),
        None => Arc::new(Attempts::new(&settings.attempts)),
    };
    if let Some(before) = before {
        accounts.inherit(&before.programs.accounts);
        issuers.inherit(&before.programs.issuers);
        providers.inherit(&before.providers);
        if let (Some(directory), Some(before)) = (&directory, &before.directory) {
            directory.inherit(before);
        }
    }
    let asked = settings.route.iter().any(|route| route.basic == BasicWith::Directory);
    let passwords = directory.as_ref().filter(|_| asked).map(|directory| {
        let passwords = Passwords::new(directory.clone(), attempts.clone(), IdentityHeaders::new(&settings.headers));
        passwords.ok_or_else(|| Failure::new(Reason::Internal, "the system's random source failed"))
    });
    let programs = Programs { issuers, accounts, passwords: passwords.transpose()? };
    let (cookies, pages) = (Cookies::new(&settings.session, &settings.public_url), Pages::new(&settings.brand)?);
    let (cookies, pages) = match &way_in {
        Some(way_in) => (cookies.also_sealed_for(way_in.seal()), pages.in_restore_mode(way_in.set_by())),
        None => (cookies, pages),
    };
    // Of sessions as people have them: the way in has shorter ones, and is open for a while.
    let lifetime = whole.settings.session.absolute.0;
    Ok(Context {
        published,
        federation,
        keys,
        cookies,
        ended: match before {
            Some(before) => before.ended.clone(),
            None => Arc::new(Ended::new(lifetime)),
        },
        lifetime,
        renewals: before.map(|before| before.renewals.clone()).unwrap_or_default(),
        providers: Arc::new(providers),
        pages,
        identity_headers,
        programs,
        directory,
        attempts,
        way_in,
        config,
    })
}

fn one_run_keys() -> Result<Keyring, Failure> {
    let no_randomness = || Failure::new(Reason::Internal, "the system's random source failed");
    let random: ring::rand::Random<[u8; 32]> =
        ring::rand::generate(&ring::rand::SystemRandom::new()).map_err(|_| no_randomness())?;
    let secret = random.expose().iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    });
    Keyring::new(&[Secret::new(secret)]).ok_or_else(no_randomness)
}
