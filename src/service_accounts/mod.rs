//! Service accounts: programs that the configuration knows by name, and the keys they come with.
//!
//! Promise: a key is judged from what is in memory, without a lock and without waiting; a mistyped one costs a checksum
//! and a wrong one a SHA-256 and a look into a table. Only digests are kept. The file with them is read again when it
//! changes ([`fresh`]), and a broken one never takes the place of a good one.

pub mod file;
mod fresh;
pub mod key;
mod moment;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use aws_lc_rs::constant_time::verify_slices_are_equal;
use foldhash::fast::RandomState;
use http::{HeaderName, HeaderValue};
use prometheus::{IntCounter, IntGauge};

use crate::authz;
use crate::config::Settings;
use crate::config::model::{OF_ACCOUNTS, ServiceAccount};
use crate::identity::{Claims, Identity};
use crate::identity_headers::IdentityHeaders;
use crate::reason::{Failure, Reason};
use crate::telemetry::metrics;
use file::{KeyEntry, KeysFile};
use fresh::Print;
pub use moment::Moment;

/// The service accounts of the configuration and the keys of the keys file.
pub struct ServiceAccounts {
    accounts: HashMap<Box<str>, Arc<Account>>,
    /// By name of the `[[issuer]]`, then by `sub`.
    external: HashMap<Box<str>, HashMap<Box<str>, Arc<Account>>>,
    file: PathBuf,
    /// What `file` looked like when it was read for the start.
    first_seen: Print,
    table: ArcSwap<Table>,
    malformed: IntCounter,
    unknown: IntCounter,
}

/// A service account.
#[derive(Debug)]
pub struct Account {
    pub name: Box<str>,
    pub identity: Identity,
    /// What the app is told of it.
    pub headers: Box<[(HeaderName, HeaderValue)]>,
    acts_for: Box<[Box<str>]>,
}

/// What the keys file says, for looking up.
struct Table {
    /// By the first eight bytes of the digest, which the file has once each.
    keys: HashMap<u64, Key, RandomState>,
    revoked: HashSet<Box<str>, RandomState>,
}

struct Key {
    digest: key::Digest,
    id: Box<str>,
    account: Box<str>,
    /// `None` where the configuration does not know the account.
    owner: Option<Arc<Account>>,
    expires: Option<Moment>,
    accepted: IntCounter,
    expired: IntCounter,
    gone: IntCounter,
    last_use: IntGauge,
}

impl ServiceAccounts {
    /// The accounts of `settings`, and the keys in the file that they name, or beside `config_file`.
    ///
    /// Fails where the keys file cannot be read or understood, or where an account does not fit into the identity headers.
    pub fn new(
        settings: &Settings,
        config_file: Option<&Path>,
        headers: &IdentityHeaders,
    ) -> Result<ServiceAccounts, Failure> {
        let mut accounts = HashMap::new();
        let mut external: HashMap<Box<str>, HashMap<_, _>> = HashMap::new();
        for settings in &settings.service_account {
            let account = Arc::new(Account::new(settings, headers)?);
            if let (Some(issuer), Some(subject)) = (&settings.external_issuer, &settings.external_subject) {
                let of_issuer = external.entry(issuer.as_str().into()).or_default();
                of_issuer.insert(subject.as_str().into(), account.clone());
            }
            accounts.insert(account.name.clone(), account);
        }
        let file = file::place(settings, config_file);
        let first_seen = Print::of(std::fs::metadata(&file));
        let table = Table::new(KeysFile::read(&file)?, &accounts, Moment::now().0);
        KeysFile::warn_of_writers(&file);
        metrics().api_keys_file_good.set(1);
        let refused = |reason: Reason| metrics().api_key_uses.with_label_values(&["", reason.code()]);
        Ok(ServiceAccounts {
            accounts,
            external,
            file,
            first_seen,
            table: ArcSwap::from_pointee(table),
            malformed: refused(Reason::KeyMalformed),
            unknown: refused(Reason::KeyUnknown),
        })
    }

    /// Takes over what `before`, the accounts of the configuration until now, know: where the same file is gone, what it
    /// revoked stays revoked.
    pub fn inherit(&self, before: &ServiceAccounts) {
        if self.file == before.file && self.first_seen == Print::Missing {
            let revoked = before.table.load().revoked.clone();
            self.table.store(Arc::new(Table { keys: HashMap::default(), revoked }));
        }
    }

    /// What every key begins with.
    pub const PREFIX: &str = key::PREFIX;

    /// Whether `text` is meant to be a key: by its beginning.
    pub fn looks_like_key(text: &[u8]) -> bool {
        text.starts_with(key::PREFIX.as_bytes())
    }

    /// Whose key it is at `now` (seconds since 1970), and counts its use.
    ///
    /// [`Reason::KeyMalformed`], [`Reason::KeyUnknown`], [`Reason::KeyExpired`] or [`Reason::AccountGone`]. The detail
    /// names the key by its id, which is no secret: whoever has the key can make it.
    pub fn judge(&self, key: &[u8], now: u64) -> Result<Arc<Account>, Failure> {
        self.judge_counted(key, now, true)
    }

    /// The same for explaining: nothing is counted, and it is no use of the key.
    pub fn look_at(&self, key: &[u8], now: u64) -> Result<Arc<Account>, Failure> {
        self.judge_counted(key, now, false)
    }

    fn judge_counted(&self, key: &[u8], now: u64, counted: bool) -> Result<Arc<Account>, Failure> {
        if let Err(failure) = key::check(key) {
            self.malformed.inc_by(counted.into());
            return Err(failure);
        }
        let digest = key::digest(key);
        let table = self.table.load();
        let found = table.keys.get(&beginning(&digest));
        let Some(key) = found.filter(|key| verify_slices_are_equal(&key.digest, &digest).is_ok()) else {
            self.unknown.inc_by(counted.into());
            return Err(Failure::new(Reason::KeyUnknown, format!("key '{}' is not known here", key::id_of(&digest))));
        };
        key.judge(now, counted)
    }

    /// The account that the tokens of the `[[issuer]]` called `issuer` with this `sub` belong to.
    pub fn external(&self, issuer: &str, subject: &str) -> Option<Arc<Account>> {
        self.external.get(issuer)?.get(subject).cloned()
    }

    /// The account of this name.
    pub fn get(&self, name: &str) -> Option<Arc<Account>> {
        self.accounts.get(name).cloned()
    }

    /// Whether `doorward token revoke` has revoked the token with this `jti`.
    pub fn is_revoked(&self, token_id: &str) -> bool {
        let table = self.table.load();
        !table.revoked.is_empty() && table.revoked.contains(token_id)
    }
}

impl Key {
    fn judge(&self, now: u64, counted: bool) -> Result<Arc<Account>, Failure> {
        if let Some(past) = self.expires.and_then(|end| now.checked_sub(end.0)) {
            self.expired.inc_by(counted.into());
            return Err(Failure::new(Reason::KeyExpired, format!("key '{}' expired {past} s ago", self.id)));
        }
        let Some(account) = &self.owner else {
            self.gone.inc_by(counted.into());
            let detail =
                format!("key '{}' is of the service account '{}', which there is no more", self.id, self.account);
            return Err(Failure::new(Reason::AccountGone, detail));
        };
        if !counted {
            return Ok(account.clone());
        }
        self.accepted.inc();
        // Once a second rather than once a request: the line of memory is every core's.
        if self.last_use.get() != now as i64 {
            self.last_use.set(now as i64);
        }
        Ok(account.clone())
    }
}

impl Table {
    fn new(file: KeysFile, accounts: &HashMap<Box<str>, Arc<Account>>, now: u64) -> Table {
        let keys = file.keys.into_iter().map(|entry| (beginning(&entry.digest), Key::new(entry, accounts)));
        let needed = file.revoked.into_iter().filter(|token| token.until.is_none_or(|until| until.0 > now));
        Table { keys: keys.collect(), revoked: needed.map(|token| token.token_id.into()).collect() }
    }
}

impl Key {
    fn new(entry: KeyEntry, accounts: &HashMap<Box<str>, Arc<Account>>) -> Key {
        let owner = accounts.get(entry.account.as_str()).cloned();
        if owner.is_none() {
            tracing::warn!(key = entry.id, account = entry.account, "a key of an account that is not configured");
        }
        let uses = |outcome: &str| metrics().api_key_uses.with_label_values(&[entry.account.as_str(), outcome]);
        Key {
            owner,
            accepted: uses("ok"),
            expired: uses(Reason::KeyExpired.code()),
            gone: uses(Reason::AccountGone.code()),
            last_use: metrics().api_key_last_use.with_label_values(&[entry.account.as_str(), entry.id.as_str()]),
            digest: entry.digest,
            id: entry.id.into(),
            account: entry.account.into(),
            expires: entry.expires,
        }
    }
}

impl Account {
    fn new(settings: &ServiceAccount, headers: &IdentityHeaders) -> Result<Account, Failure> {
        let identity = Identity {
            provider: OF_ACCOUNTS.into(),
            subject: settings.name.clone(),
            user: settings.name.clone(),
            email: settings.email.clone(),
            // The admin who wrote it vouches for it.
            email_verified: settings.email.as_ref().map(|_| true),
            preferred_username: None,
            name: None,
            groups: Some(settings.groups.clone()),
            claims: Claims::default(),
        };
        let headers = headers.of(&identity).map_err(|failure| {
            let detail = format!("service_account `{}`: {}", settings.name, failure.detail);
            Failure::new(Reason::ConfigInvalid, detail)
        })?;
        Ok(Account {
            name: settings.name.as_str().into(),
            identity,
            headers: headers.into(),
            acts_for: settings.acts_for.iter().map(|who| who.as_str().into()).collect(),
        })
    }

    /// Whether it may name `who`, a user name or an e-mail address, as the one it works for. Itself it may always: W&B's SDK
    /// asks the app for the address of whoever it is, and sends that.
    pub fn may_act_for(&self, who: &str) -> bool {
        let itself = || self.identity.email.as_deref().is_some_and(|email| email.eq_ignore_ascii_case(who));
        who == &*self.name || itself() || self.acts_for.iter().any(|allowed| covers(allowed, who))
    }
}

/// Whether an entry of `acts_for` names `who`: `@domain` all addresses of it, an address itself, else the user name.
/// What has an `@` and is no address that everybody reads alike is named by nobody.
fn covers(allowed: &str, who: &str) -> bool {
    let Some((_, domain)) = who.split_once('@') else { return !who.is_empty() && allowed == who };
    let named = match allowed.strip_prefix('@') {
        Some(whole) => domain.eq_ignore_ascii_case(whole),
        None => allowed.eq_ignore_ascii_case(who),
    };
    named && authz::is_email(who)
}

fn beginning(digest: &key::Digest) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = *digest;
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}

#[cfg(test)]
mod tests;
