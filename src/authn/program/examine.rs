//! A program's credential explained: what was found in `Authorization`, and each check of it.

use http::HeaderValue;
use serde_json::{Map, Value};

use super::{Program, Programs, Scheme, Wanted, check_opaque, check_scope, list, read};
use crate::authn::password::{Pair, no_password};
use crate::examined::{Check, Found};
use crate::identity::Identity;
use crate::jwt::{Examined, Verified};
use crate::reason::Failure;
use crate::service_accounts::ServiceAccounts;

/// What sort of credential came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// It cannot be read.
    Unreadable,
    /// A service account's key.
    Key,
    Jwt,
    /// A token that is no JWT, about which its issuer is asked.
    Opaque,
    /// Name and password of somebody in the directory.
    Password,
    /// Claims that are taken to be a token's.
    Assumed,
}

/// What shows that a token which nobody sent is good.
pub enum Proof {
    /// Its issuer's keys; newer ones are asked for as always.
    Keys,
    /// Those that are at hand.
    KeysAtHand,
    /// Nothing: there are no keys. Whatever needs none is examined.
    None,
    /// It has none; these are taken to be its claims, verified.
    Claims(Map<String, Value>),
}

/// What there is to see of a credential.
#[derive(Debug)]
pub struct Credential {
    pub sent: Sent,
    pub checks: Vec<Check>,
    /// Header and claims of a JWT.
    pub header: Option<Value>,
    pub claims: Option<Value>,
    /// Who it would be, were every check good.
    pub who: Option<Identity>,
}

impl Programs {
    /// Each check of `authorization` where `wanted` is asked for, at `now`; asks nobody. `passwords`: whether people's own
    /// names and passwords count.
    pub fn examine(&self, authorization: &HeaderValue, wanted: &Wanted, passwords: bool, now: u64) -> Credential {
        if passwords && Pair::read(authorization).is_some() {
            let check = Check::of("name and password", "RFC 7617").not_examined("the directory is asked about them");
            return Credential::of(Sent::Password, vec![check]);
        }
        let (source, what) = ("RFC 6750 §2.1, RFC 7617 §2", "Authorization");
        let form = Check::of(what, source).expected("'Bearer' and a token or key, or 'Basic' with one as the password");
        if passwords && let Some(failure) = no_password(authorization) {
            return Credential::of(Sent::Unreadable, vec![form.judged(&Err(failure))]);
        }
        let (credential, scheme) = match read(authorization.as_bytes(), self.issuers.max_token_bytes()) {
            Ok(read) => read,
            Err(failure) => return Credential::of(Sent::Unreadable, vec![form.judged(&Err(failure))]),
        };
        let by = if scheme == Scheme::Bearer { "Bearer" } else { "Basic" };
        let form = form.got(format!("'{by}' and {} bytes", credential.len()));
        if ServiceAccounts::looks_like_key(&credential) {
            return self.examine_key(&credential, wanted, form.judged(&Ok(())), now);
        }
        if !credential.starts_with(b"ey")
            && let Err(failure) = check_opaque(&credential, scheme)
        {
            return Credential::of(Sent::Unreadable, vec![form.judged(&Err(failure))]);
        }
        let examined = self.issuers.examine(&credential, wanted.issuers.as_deref(), now);
        let jwt = credential.starts_with(b"ey") || examined.said.is_some();
        self.completed(if jwt { Sent::Jwt } else { Sent::Opaque }, form.judged(&Ok(())), examined, wanted)
    }

    /// The same for claims that are taken to be those of a verified token.
    pub fn examine_assumed(&self, claims: &Map<String, Value>, wanted: &Wanted, now: u64) -> Credential {
        let examined = self.issuers.examine_assumed(claims, wanted.issuers.as_deref(), now);
        let form = Check::of("Authorization", "--claims").not_examined("claims are taken as verified");
        self.completed(Sent::Assumed, form, examined, wanted)
    }

    /// [`Programs::judge`] for a request that nobody sent: it is no use of a key or token, and nothing is counted or
    /// remembered of it.
    pub async fn rehearse(
        &self,
        authorization: &HeaderValue,
        proof: &Proof,
        wanted: &Wanted,
        now: u64,
    ) -> Result<Program, Failure> {
        let taken = wanted.issuers.as_deref();
        let credential = || self.credential_in(authorization);
        let judged = match proof {
            Proof::Claims(claims) => self.issuers.judge_assumed(claims, taken, now)?,
            _ if ServiceAccounts::looks_like_key(&credential()?) => {
                return self.check_account(self.accounts.look_at(&credential()?, now)?, wanted);
            }
            Proof::None => self.issuers.judge_unsigned(&credential()?, taken, now)?,
            Proof::Keys => self.issuers.rehearse(&credential()?, taken, now, true).await?,
            Proof::KeysAtHand => self.issuers.rehearse(&credential()?, taken, now, false).await?,
        };
        self.check_further(&judged.verified, wanted)?;
        self.program_of(judged)
    }

    /// The token in `authorization`, where there is one.
    pub fn token_in(&self, authorization: &HeaderValue) -> Option<Vec<u8>> {
        let (credential, _) = read(authorization.as_bytes(), self.issuers.max_token_bytes()).ok()?;
        credential.starts_with(b"ey").then(|| credential.into_owned())
    }

    fn examine_key(&self, key: &[u8], wanted: &Wanted, form: Check, now: u64) -> Credential {
        let account = self.accounts.look_at(key, now);
        let check =
            Check::of("service account's key", "[[service_account]]").expected("a key that is known and current");
        let check =
            check.got(account.as_ref().map_or("–".into(), |account| format!("a key of '{}'", account.identity.user)));
        let mut checks = vec![form, check.judged(&account.as_ref().map(drop).map_err(Failure::clone))];
        if account.is_ok() {
            let here = Check::of("counts here", "issuers and scopes of the route");
            checks.push(here.judged(&self.check_key_counts(wanted)));
        }
        Credential { who: account.ok().map(|account| account.identity.clone()), ..Credential::of(Sent::Key, checks) }
    }

    fn completed(&self, sent: Sent, form: Check, examined: Examined, wanted: &Wanted) -> Credential {
        let mut credential = Credential::of(sent, vec![form]);
        credential.checks.extend(examined.checks);
        (credential.header, credential.claims) = (examined.header, examined.claims);
        let Some(said) = examined.said else { return credential };
        let said = said.as_if_verified();
        let revoked = Check::of("not revoked (jti)", "doorward token revoke")
            .got(said.token_id.as_deref().map_or("no jti".into(), crate::words::in_quotes));
        credential.checks.push(revoked.judged(&self.check_not_revoked(said)));
        credential.checks.extend(wanted.examine(said, self.is_own(said)));
        let account = self.account_of(said, self.is_own(said));
        if !matches!(account, Ok(None)) {
            let check = Check::of("service account", "[[service_account]]").expected("one that exists");
            let got = account.as_ref().ok().and_then(Option::as_ref).map(|account| account.identity.user.clone());
            credential.checks.push(
                check.got(got.unwrap_or("none".into())).judged(&account.as_ref().map(drop).map_err(Failure::clone)),
            );
        }
        let who = account.ok().flatten().map(|account| account.identity.clone());
        credential.who = Some(who.unwrap_or_else(|| said.identity.clone()));
        credential
    }
}

impl Wanted {
    /// What the route asks for beside the issuer's entry.
    fn examine(&self, verified: &Verified, own: bool) -> Vec<Check> {
        let mut checks = Vec::new();
        if !self.audiences.is_empty() {
            let check = Check::of("audience here", "audiences of the route");
            let check = check.expected(list(self.audiences.iter().map(|one| &**one)));
            checks.push(check.got(list(verified.audiences.iter())).judged(&self.check_audience(verified, own)));
        }
        checks.extend(self.scopes.iter().map(|scope| {
            let check = Check::of("scope here", "scopes of the route").expected(format!("'{scope}'"));
            check.got(list(verified.scopes.iter())).judged(&check_scope(verified, scope))
        }));
        checks
    }
}

impl Credential {
    /// Whether a check of it fails.
    pub fn fails(&self) -> bool {
        self.checks.iter().any(|check| check.found == Found::Fails)
    }

    fn of(sent: Sent, checks: Vec<Check>) -> Credential {
        Credential { sent, checks, header: None, claims: None, who: None }
    }
}
