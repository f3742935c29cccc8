//! Connections for searches, kept for the next one. Nobody's password goes over them.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::connection::{Connection, Found, Query, Way};
use crate::config::model::{Directory, DirectoryAddress};
use crate::config::values::Secret;
use crate::ldap::message::{CONFIDENTIALITY_REQUIRED, SUCCESS};
use crate::reason::{Failure, Reason};
use crate::trust;

/// Connections bound as `bind_dn`, or anonymous ones.
pub struct Pool {
    way: Way,
    bind: Option<(String, Secret)>,
    most: usize,
    idle: Duration,
    kept: Mutex<Vec<(Connection, Instant)>>,
    /// Whether none is kept any more.
    closed: AtomicBool,
}

impl Pool {
    /// Opens no connection yet.
    pub fn new(settings: &Directory, addresses: Vec<DirectoryAddress>) -> Result<Pool, Failure> {
        let tls = settings.start_tls || addresses.iter().any(|address| address.tls);
        Ok(Pool {
            way: Way {
                addresses,
                last_good: AtomicUsize::new(0),
                start_tls: settings.start_tls,
                tls: tls.then(|| trust::client(settings.ca_file.as_deref())).transpose()?,
                connect_timeout: settings.connect_timeout.0,
                timeout: settings.timeout.0,
            },
            bind: settings.bind_dn.clone().zip(settings.bind_password.clone()),
            most: settings.connections,
            idle: settings.connection_idle.0,
            kept: Mutex::default(),
            closed: AtomicBool::new(false),
        })
    }

    /// A connection of its own, bound as nobody.
    pub async fn fresh(&self) -> Result<Connection, Failure> {
        self.way.connect().await
    }

    /// Searches over a connection that was kept, or a new one. A kept one that broke meanwhile is replaced without a word:
    /// directories close what is idle.
    pub async fn search(&self, query: &Query<'_>) -> Result<Found, Failure> {
        if let Some(mut connection) = self.take() {
            match connection.search(query).await {
                Ok(found) => {
                    self.keep(connection);
                    return Ok(found);
                }
                Err(failure) if failure.reason != Reason::DirectoryUnreachable => return Err(failure),
                // The others were kept for as long and are likely to be broken too.
                Err(_) => self.kept().clear(),
            }
        }
        let mut connection = self.bound().await?;
        let found = connection.search(query).await?;
        self.keep(connection);
        Ok(found)
    }

    async fn bound(&self) -> Result<Connection, Failure> {
        let mut connection = self.fresh().await?;
        let Some((dn, password)) = &self.bind else { return Ok(connection) };
        let outcome = connection.bind(dn, password.expose()).await?;
        let reason = match outcome.code {
            SUCCESS => return Ok(connection),
            CONFIDENTIALITY_REQUIRED => Reason::DirectoryTls,
            _ => Reason::DirectoryBindRefused,
        };
        Err(Failure::new(reason, format!("bind as {dn:?}: {outcome}")))
    }

    fn kept(&self) -> MutexGuard<'_, Vec<(Connection, Instant)>> {
        // A list of connections is whole between any two instructions.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Option<Connection> {
        let (connection, since) = self.kept().pop()?;
        (since.elapsed() < self.idle).then_some(connection)
    }

    fn keep(&self, connection: Connection) {
        let mut kept = self.kept();
        if kept.len() < self.most && !self.closed.load(Ordering::Relaxed) {
            kept.push((connection, Instant::now()));
        }
    }

    /// How long one thing about one person may take, from the first connection to the last answer.
    pub fn longest(&self) -> Duration {
        let connecting = self.way.connect_timeout.saturating_mul(self.way.addresses.len().clamp(1, 100) as u32);
        connecting.saturating_add(self.way.timeout).saturating_mul(3)
    }

    /// Closes what was not used for long.
    pub fn drop_unused(&self) {
        self.kept().retain(|(_, since)| since.elapsed() < self.idle);
    }

    /// Closes what is idle; what is in use is closed after its use.
    pub fn close(&self) {
        let mut kept = self.kept();
        self.closed.store(true, Ordering::Relaxed);
        *kept = Vec::new();
    }

    /// Which address answers, how it is protected, and who asks; for people.
    pub fn said(&self) -> String {
        let who = self.bind.as_ref().map_or_else(|| "anonymous".to_owned(), |(dn, _)| format!("as {dn}"));
        match self.kept().last() {
            Some((connection, _)) => format!("{}, {who}", connection.said),
            None => who,
        }
    }
}
