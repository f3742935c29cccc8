//! The directory: people with a name and a password, asked by LDAP.
//!
//! Promise: a password is judged by the directory alone, in a bind as the entry that was found, on a connection of its own.
//! An empty one never binds. Whoever the app is told of is what the directory calls them, never what was typed. A name that
//! is not there costs the same steps as a wrong password and is answered with the same words. A directory that hangs costs
//! its own sign-ins their time and nothing else.

mod absent;
mod checked;
mod connection;
mod examined;
pub mod name;
mod person;
mod pool;
mod verified;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use ring::rand::{SecureRandom, SystemRandom};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::attempts::{Refused, Try};
use crate::claims::NeededClaims;
use crate::config::model::{self, DirectoryAddress, Settings};
use crate::identity::Identity;
use crate::ldap::dn::{Dn, Escaped};
use crate::ldap::filter::{Filling, Filter};
use crate::ldap::message::{
    CONFIDENTIALITY_REQUIRED, Entry, INAPPROPRIATE_AUTHENTICATION, INSUFFICIENT_ACCESS, INVALID_CREDENTIALS,
    NO_SUCH_OBJECT, REFERRAL, SIZE_LIMIT_EXCEEDED, SUCCESS, Scope, UNWILLING_TO_PERFORM,
};
use crate::reason::{Failure, Reason};
use crate::telemetry::metrics;
use checked::State;
pub use checked::{NOT_ASKED, Readiness};
pub use connection::HANDSHAKE_ENDED;
use connection::{Found, Query};
pub use examined::Examined;
use name::Name;
use person::Reading;
use pool::Pool;
pub use verified::VerifiedPasswords;

/// Longest password; no directory's is longer, and a slow hash of a long text is work for nothing.
const LONGEST_PASSWORD: usize = 1024;
/// Refusals leave at multiples of this: by the clock a name that is there and one that is not look the same.
const REFUSAL_GRAIN: Duration = Duration::from_millis(500);
/// `constraintViolation`: what 389 Directory Server says of an account that is locked for now.
const CONSTRAINT_VIOLATION: i32 = 19;

/// The directory of the configuration.
pub struct Directory {
    settings: model::Directory,
    pool: Pool,
    filter: Filter,
    /// For each user attribute one, in their order; none where a filter is set or there is one attribute alone.
    in_order: Vec<Filter>,
    groups: Option<Filter>,
    reading: Reading,
    /// Names of service accounts, which are nobody's here: the app could not tell the two.
    programs: BTreeSet<String>,
    permits: Semaphore,
    waiting: AtomicUsize,
    state: ArcSwapOption<State>,
}

impl Directory {
    /// The directory of a configuration that has been judged; `None` where it has none.
    pub fn new(settings: &Settings) -> Result<Option<Arc<Directory>>, Failure> {
        let Some(own) = &settings.ldap else { return Ok(None) };
        let invalid = |what: String| Failure::new(Reason::ConfigInvalid, what);
        let parse = |key: &str, text: &str| Filter::parse(text).map_err(|e| invalid(format!("ldap.{key}: {e}")));
        let addresses = own.address.iter().map(|text| DirectoryAddress::parse(text).map_err(|(message, _)| message));
        let addresses = addresses.collect::<Result<Vec<_>, _>>().map_err(|e| invalid(format!("ldap.address: {e}")))?;
        let groups = own.group_base_dn.as_ref().map(|_| parse("group_filter", &own.group_filter)).transpose()?;
        Ok(Some(Arc::new(Directory {
            pool: Pool::new(own, addresses)?,
            filter: match &own.user_filter {
                Some(text) => parse("user_filter", text)?,
                None => Filter::user_is(&own.user_attribute),
            },
            in_order: match (&own.user_filter, own.user_attribute.as_slice()) {
                (None, several @ [_, _, ..]) => {
                    several.iter().map(|one| Filter::user_is(std::slice::from_ref(one))).collect()
                }
                _ => Vec::new(),
            },
            groups,
            reading: Reading::new(own, NeededClaims::of(settings)),
            programs: settings.service_account.iter().map(|account| account.name.clone()).collect(),
            permits: Semaphore::new(own.concurrent_sign_ins),
            waiting: AtomicUsize::new(0),
            state: ArcSwapOption::empty(),
            settings: own.clone(),
        })))
    }

    /// Its name, which is the provider of the identities it vouches for.
    pub fn name(&self) -> &str {
        &self.settings.name
    }

    pub fn display_name(&self) -> &str {
        self.settings.display_name()
    }

    /// Whether people sign in with it; otherwise it is only looked at.
    pub fn takes_sign_ins(&self) -> bool {
        self.settings.login
    }

    /// How long a right password need not be asked about again.
    pub fn basic_cache(&self) -> Duration {
        self.settings.basic_cache.0
    }

    /// Who `name` is, where `password` is theirs. `one` is the try that was taken for it: it comes back where the password
    /// was right, or where nobody could tell.
    pub async fn sign_in(&self, name: &Name, password: &str, mut one: Try<'_>) -> Result<Identity, Refused> {
        let began = Instant::now();
        let longest = self.pool.longest();
        let judged = tokio::time::timeout(longest, self.judge(name, password, &mut one)).await;
        let result = judged.unwrap_or_else(|_| Err(too_long(longest).into()));
        match &result {
            Ok(_) => one.right(),
            Err(refused) if counts(refused.failure.reason) => {
                drop(one);
                let (passed, grain) = (began.elapsed().as_millis() as u64, REFUSAL_GRAIN.as_millis() as u64);
                tokio::time::sleep(Duration::from_millis(grain - passed % grain)).await;
            }
            // The password was right, or nothing is known about it.
            Err(_) => one.unjudged(),
        }
        result
    }

    async fn judge(&self, name: &Name, password: &str, one: &mut Try<'_>) -> Result<Identity, Refused> {
        let wrong = |what: &str| Failure::new(Reason::PasswordWrong, what);
        // A bind without a password succeeds for everybody (RFC 4513 §5.1.2).
        if password.is_empty() {
            return Err(wrong("the password is empty").into());
        }
        if password.len() > LONGEST_PASSWORD || password.contains('\0') {
            return Err(wrong("the password is longer than any, or has a NUL").into());
        }
        let _permit = self.permit().await?;
        let (entry, said) = match self.find(name).await? {
            Looked::One(entry) => (Some(entry), String::new()),
            Looked::None(said) => (None, said),
            Looked::Several => {
                let detail = format!("more than one entry for {:?}", name.searched());
                // As many steps as for anybody else.
                let _ = self.bind(&self.nobody()?, password).await?;
                return Err(Failure::new(Reason::NameAmbiguous, detail).into());
            }
        };
        let Some(entry) = entry else {
            let _ = self.bind(&self.nobody()?, password).await?;
            return Err(wrong(&said).into());
        };
        if let Err(spent) = one.also(&Dn::parse(&entry.dn).map_or_else(|_| entry.dn.to_lowercase(), |dn| dn.key())) {
            // That there is nothing left tells that somebody is there: it ends as a wrong password does, for the log alone.
            let _ = self.bind(&self.nobody()?, password).await?;
            return Err(wrong(&format!("{:?} is not asked about: {}", entry.dn, spent.failure.detail)).into());
        }
        if let Err(said) = self.bind(&entry.dn, password).await? {
            return Err(wrong(&format!("bind as {:?}: {said}", entry.dn)).into());
        }
        Ok(self.identity(&entry).await?)
    }

    /// One of the places for those who are asked about at once.
    async fn permit(&self) -> Result<SemaphorePermit<'_>, Failure> {
        if let Ok(permit) = self.permits.try_acquire() {
            return Ok(permit);
        }
        let busy = || {
            let detail = format!("{} are asked about already", self.settings.concurrent_sign_ins);
            Failure::new(Reason::DirectoryBusy, detail)
        };
        struct Waiting<'a>(&'a AtomicUsize);
        impl Drop for Waiting<'_> {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::Relaxed);
            }
        }
        let before = self.waiting.fetch_add(1, Ordering::Relaxed);
        let _waiting = Waiting(&self.waiting);
        if before >= self.settings.concurrent_sign_ins {
            return Err(busy());
        }
        match tokio::time::timeout(self.settings.connect_timeout.0, self.permits.acquire()).await {
            Ok(Ok(permit)) => Ok(permit),
            _ => Err(busy()),
        }
    }

    /// The entry of `name`. Where several have it, the attributes count in their order: people may write some of their own
    /// attributes, and nobody is to lock out others with a mail address that is somebody's user name.
    async fn find(&self, name: &Name) -> Result<Looked, Failure> {
        let mut looked = self.find_by(&self.filter, name).await?;
        if matches!(looked, Looked::Several) {
            for filter in &self.in_order {
                looked = self.find_by(filter, name).await?;
                if !matches!(looked, Looked::None(_)) {
                    break;
                }
            }
        }
        Ok(looked)
    }

    async fn find_by(&self, filter: &Filter, name: &Name) -> Result<Looked, Failure> {
        let query = Query {
            base: &self.settings.base_dn,
            scope: Scope::Subtree,
            // One more than may be, so that a second one shows.
            size_limit: 2,
            filter: filter.encode(Filling { user: name.searched(), dn: "" }),
            attributes: self.reading.attributes(),
        };
        let mut found = self.search("search", &query).await?;
        match (found.outcome.code, found.entries.len()) {
            (SUCCESS, 1) => Ok(Looked::One(found.entries.remove(0))),
            (SUCCESS | REFERRAL, 0) => Ok(Looked::None(match found.referred || found.outcome.code == REFERRAL {
                true => "no entry, and a referral to another directory, which is not followed".into(),
                false => "no entry".into(),
            })),
            (SUCCESS, _) | (SIZE_LIMIT_EXCEEDED, 1..) => Ok(Looked::Several),
            _ => Err(self.search_failed("base_dn", &self.settings.base_dn, &found)),
        }
    }

    fn search_failed(&self, key: &str, base: &str, found: &Found) -> Failure {
        let reason = match found.outcome.code {
            // Active Directory says of an anonymous search that an operation failed.
            1 | INAPPROPRIATE_AUTHENTICATION | INSUFFICIENT_ACCESS if self.settings.bind_dn.is_none() => {
                Reason::DirectoryBindRefused
            }
            _ => Reason::DirectoryAnswer,
        };
        let hint = match (found.outcome.code, &self.settings.bind_dn) {
            (NO_SUCH_OBJECT, Some(_)) => ", which does not exist or which bind_dn may not see",
            // Many directories say so of what they would show to somebody they know.
            (NO_SUCH_OBJECT, None) => ", which does not exist or is not shown to an anonymous search (set bind_dn)",
            _ => "",
        };
        Failure::new(reason, format!("search below {key} {base:?}{hint}: {}", found.outcome))
    }

    async fn search(&self, step: &str, query: &Query<'_>) -> Result<Found, Failure> {
        self.counted(step, self.pool.search(query).await)
    }

    /// Whether `password` is that of `dn`; where not, what the directory says of it.
    async fn bind(&self, dn: &str, password: &str) -> Result<Result<(), String>, Failure> {
        let connection = self.counted("connect", self.pool.fresh().await);
        let outcome = match connection {
            Ok(mut connection) => {
                let outcome = connection.bind(dn, password).await;
                connection.close().await;
                outcome
            }
            Err(failure) => return Err(failure),
        };
        let judged = outcome.and_then(|outcome| match outcome.code {
            SUCCESS => Ok(Ok(())),
            INVALID_CREDENTIALS
            | INAPPROPRIATE_AUTHENTICATION
            | INSUFFICIENT_ACCESS
            | NO_SUCH_OBJECT
            | UNWILLING_TO_PERFORM
            | CONSTRAINT_VIOLATION => Ok(Err(outcome.to_string())),
            CONFIDENTIALITY_REQUIRED => Err(Failure::new(
                Reason::DirectoryTls,
                format!("the directory takes passwords over TLS alone: {outcome}"),
            )),
            _ => Err(Failure::new(Reason::DirectoryAnswer, format!("bind: {outcome}"))),
        });
        let label = match &judged {
            Ok(Ok(())) => "ok",
            Ok(Err(_)) => "refused",
            Err(failure) => failure.reason.code(),
        };
        metrics().directory_operations.with_label_values(&[self.name(), "bind", label]).inc();
        judged
    }

    /// A name that no entry has.
    fn nobody(&self) -> Result<String, Failure> {
        let mut bytes = [0; 8];
        let random = SystemRandom::new().fill(&mut bytes);
        random.map_err(|_| Failure::new(Reason::Internal, "the system's random source failed"))?;
        let word: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(format!("cn={},{}", Escaped(&word), self.settings.base_dn))
    }

    async fn identity(&self, entry: &Entry) -> Result<Identity, Failure> {
        let user = self.reading.user(entry)?;
        if self.programs.contains(&user) {
            let detail = format!("{user:?} is the name of a service account, too");
            return Err(Failure::new(Reason::DirectoryEntryUnusable, detail));
        }
        let groups = match (&self.groups, &self.settings.group_base_dn) {
            (Some(filter), Some(base)) => Some(self.groups_of(filter, base, entry, &user).await?),
            _ => None,
        };
        self.reading.identity(entry, user, groups)
    }

    async fn groups_of(&self, filter: &Filter, base: &str, entry: &Entry, user: &str) -> Result<Vec<String>, Failure> {
        let most = self.settings.max_groups;
        let name = std::slice::from_ref(&self.settings.group_name_attribute);
        let query = Query {
            base,
            scope: Scope::Subtree,
            size_limit: i32::try_from(most.saturating_add(1)).unwrap_or(i32::MAX),
            filter: filter.encode(Filling { user, dn: &entry.dn }),
            attributes: name,
        };
        let found = self.search("groups", &query).await?;
        match found.outcome.code {
            SUCCESS => {}
            SIZE_LIMIT_EXCEEDED => {
                let detail =
                    format!("more than the {} that the directory lists; max_groups is {most}", found.entries.len());
                return Err(Failure::new(Reason::DirectoryGroupsTooMany, detail));
            }
            _ => return Err(self.search_failed("group_base_dn", base, &found)),
        }
        let named = found.entries.iter().filter_map(|group| group.texts(&name[0]).next());
        Ok(named.map(str::to_owned).collect())
    }

    fn counted<T>(&self, step: &str, result: Result<T, Failure>) -> Result<T, Failure> {
        let label = result.as_ref().map_or_else(|failure| failure.reason.code(), |_| "ok");
        metrics().directory_operations.with_label_values(&[self.name(), step, label]).inc();
        result
    }
}

/// Whether a try that ended so is spent: else anybody could go on for ever.
fn counts(reason: Reason) -> bool {
    matches!(reason, Reason::PasswordWrong | Reason::NameAmbiguous | Reason::TooManyAttempts)
}

fn too_long(longest: Duration) -> Failure {
    Failure::new(Reason::DirectoryUnreachable, format!("it is not done within {longest:?}"))
}

/// What a search for one name came to.
enum Looked {
    One(Entry),
    None(String),
    Several,
}
