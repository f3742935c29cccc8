//! Programs: from the `Authorization` header to who sent it.
//!
//! Promise: a credential that is there decides. What is wrong with it is the answer, whatever else the request brought.

mod examine;

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
pub use examine::{Credential, Proof, Sent};
use http::{HeaderName, HeaderValue};
use memchr::memchr;

use super::password::{Pair, Passwords, Person};
use crate::attempts::Refused;
use crate::claims::ACCOUNT_CLAIM;
use crate::config::OWN_ISSUER;
use crate::config::model::{self, Settings};
use crate::identity::Identity;
use crate::jwt::{Cached, Issuers, Verified};
use crate::reason::{Failure, Reason};
use crate::service_accounts::{Account, ServiceAccounts};

/// Longest user name beside a token of the longest length.
const MAX_USER: usize = 1024;

/// Whoever holds a good credential.
#[derive(Clone, Debug)]
pub enum Program {
    Token(Arc<Cached>),
    Account(Arc<Account>),
    /// Somebody of the directory, with name and password.
    Person(Arc<Person>),
}

impl Program {
    pub fn identity(&self) -> &Identity {
        match self {
            Program::Token(cached) => &cached.verified.identity,
            Program::Account(account) => &account.identity,
            Program::Person(person) => &person.identity,
        }
    }

    /// What the app is told of it.
    pub fn headers(&self) -> &[(HeaderName, HeaderValue)] {
        match self {
            Program::Token(cached) => &cached.verified.headers,
            Program::Account(account) => &account.headers,
            Program::Person(person) => &person.headers,
        }
    }

    /// Whether it may name `user` as whom it works for.
    pub fn may_act_for(&self, user: &str) -> bool {
        match self {
            Program::Token(_) | Program::Person(_) => false,
            Program::Account(account) => account.may_act_for(user),
        }
    }
}

/// Those whose credentials count.
pub struct Programs {
    pub issuers: Arc<Issuers>,
    pub accounts: Arc<ServiceAccounts>,
    /// Where people's own passwords count as well.
    pub passwords: Option<Passwords>,
}

impl Programs {
    /// Who sent `authorization`, and whether that counts where `wanted` is asked for, at `now` (seconds since 1970).
    /// Every failure is of room 8.
    pub async fn judge(&self, authorization: &HeaderValue, wanted: &Wanted, now: u64) -> Result<Program, Failure> {
        let credential = self.credential_in(authorization)?;
        if ServiceAccounts::looks_like_key(&credential) {
            return self.check_account(self.accounts.judge(&credential, now)?, wanted);
        }
        let further = |verified: &Verified| self.check_further(verified, wanted);
        let cached = self.issuers.judge(&credential, wanted.issuers.as_deref(), now, further).await?;
        self.program_of(cached)
    }

    /// A key, a JWT, or what may be an opaque token.
    fn credential_in<'h>(&self, authorization: &'h HeaderValue) -> Result<Cow<'h, [u8]>, Failure> {
        let (credential, scheme) = read(authorization.as_bytes(), self.issuers.max_token_bytes())?;
        // Every JWT begins so: with the brace of its header.
        if !ServiceAccounts::looks_like_key(&credential) && !credential.starts_with(b"ey") {
            check_opaque(&credential, scheme)?;
        }
        Ok(credential)
    }

    /// Whether a token that its issuer's entry takes is revoked, or lacks what the route asks for.
    fn check_further(&self, verified: &Verified, wanted: &Wanted) -> Result<(), Failure> {
        self.check_not_revoked(verified)?;
        wanted.judge(verified, self.is_own(verified))
    }

    fn check_not_revoked(&self, verified: &Verified) -> Result<(), Failure> {
        match verified.token_id.as_deref().is_some_and(|id| self.accounts.is_revoked(id)) {
            true => Err(Failure::new(Reason::TokenRevoked, "an admin has revoked it")),
            false => Ok(()),
        }
    }

    fn is_own(&self, verified: &Verified) -> bool {
        self.issuers.own() == Some(verified.issuer)
    }

    /// Whose token it is.
    fn program_of(&self, cached: Arc<Cached>) -> Result<Program, Failure> {
        let verified = &cached.verified;
        match self.account_of(verified, self.is_own(verified))? {
            Some(account) => Ok(Program::Account(account)),
            // The app could not tell the two apart.
            None if self.accounts.get(&verified.identity.user).is_some() => {
                let user = &verified.identity.user;
                let detail =
                    format!("user is '{user}', which is the name of a service account, and the token is not its");
                Err(Failure::new(Reason::TokenIdentity, detail))
            }
            None => Ok(Program::Token(cached)),
        }
    }

    /// Who sent name and password; asked where the route takes them, before [`Programs::judge`].
    pub async fn judge_password(&self, pair: &Pair, client: Option<IpAddr>) -> Result<Program, Refused> {
        let none = || Failure::new(Reason::AuthorizationForm, "names and passwords are not taken here");
        let passwords = self.passwords.as_ref().ok_or_else(none)?;
        passwords.judge(pair, client).await.map(Program::Person)
    }

    /// Whoever sent a good key.
    fn check_account(&self, account: Arc<Account>, wanted: &Wanted) -> Result<Program, Failure> {
        self.check_key_counts(wanted).map(|()| Program::Account(account))
    }

    /// Whether keys count where `wanted` is asked for.
    fn check_key_counts(&self, wanted: &Wanted) -> Result<(), Failure> {
        let own = self.issuers.own_slot();
        if wanted.issuers.as_ref().is_some_and(|taken| !taken.get(own).copied().unwrap_or(false)) {
            let detail = "it is a service account's key; this route takes the tokens of certain issuers alone";
            return Err(Failure::new(Reason::TokenIssuer, detail));
        }
        match wanted.scopes.first() {
            Some(scope) => {
                let detail = format!("a service account's key has no scope; this route needs '{scope}'");
                Err(Failure::new(Reason::TokenScope, detail))
            }
            None => Ok(()),
        }
    }

    /// The service account that a token stands for: by name in the gateway's own tokens, by `iss` and `sub` in others'.
    fn account_of(&self, verified: &Verified, own: bool) -> Result<Option<Arc<Account>>, Failure> {
        let identity = &verified.identity;
        if !own {
            let account = || self.accounts.external(&identity.provider, &identity.subject);
            return Ok(if verified.without_subject { None } else { account() });
        }
        let Some(name) = identity.claims.0.get(ACCOUNT_CLAIM) else { return Ok(None) };
        let account = name.as_str().and_then(|name| self.accounts.get(name));
        let gone = || Failure::new(Reason::AccountGone, format!("the token is of the service account '{name}'"));
        account.map(Some).ok_or_else(gone)
    }
}

/// What a route asks of tokens, compiled.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// By index of the issuer, the gateway's own last; every one's where `None`.
    pub issuers: Option<Box<[bool]>>,
    audiences: Box<[Box<str>]>,
    scopes: Box<[Box<str>]>,
}

impl Wanted {
    pub fn new(route: &model::Route, settings: &Settings) -> Self {
        let boxed = |texts: &[String]| texts.iter().map(|text| text.as_str().into()).collect();
        let names = settings.issuer.iter().map(|issuer| issuer.name.as_str()).chain([OWN_ISSUER]);
        let taken = names.map(|name| route.issuers.iter().any(|wanted| wanted == name)).collect();
        Wanted {
            issuers: (!route.issuers.is_empty()).then_some(taken),
            audiences: boxed(&route.audiences),
            scopes: boxed(&route.scopes),
        }
    }

    /// Judged at every hit: these are the route's wishes, and a token that was verified knows nothing of them. The
    /// gateway's own tokens are meant for the gateway as a whole, so a route's audiences do not concern them.
    fn judge(&self, verified: &Verified, own: bool) -> Result<(), Failure> {
        self.check_audience(verified, own)?;
        self.scopes.iter().try_for_each(|scope| check_scope(verified, scope))
    }

    fn check_audience(&self, verified: &Verified, own: bool) -> Result<(), Failure> {
        let named = || self.audiences.iter().any(|wanted| verified.audiences.contains(wanted));
        if !own && !self.audiences.is_empty() && !named() {
            let accepted = self.audiences.iter().map(|audience| &**audience);
            let (got, wanted) = (list(verified.audiences.iter()), list(accepted));
            return Err(Failure::new(Reason::TokenAudience, format!("audience is {got}; this route takes {wanted}")));
        }
        Ok(())
    }
}

fn check_scope(verified: &Verified, wanted: &str) -> Result<(), Failure> {
    if verified.scopes.contains(wanted) {
        return Ok(());
    }
    let got = list(verified.scopes.iter());
    Err(Failure::new(Reason::TokenScope, format!("scope is {got}; this route needs '{wanted}'")))
}

/// Texts in single quotes, at most five of them.
fn list<'t>(texts: impl Iterator<Item = &'t str>) -> String {
    let mut shown: Vec<String> = texts.take(6).map(|text| format!("'{text}'")).collect();
    if shown.is_empty() {
        return "absent".to_owned();
    }
    let more = shown.len() > 5;
    shown.truncate(5);
    format!("{}{}", shown.join(", "), if more { ", …" } else { "" })
}

/// How a credential came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scheme {
    Bearer,
    Basic,
}

/// Whether the header holds a service account's key, which is of use to nobody but the gateway.
pub fn holds_key(authorization: &HeaderValue) -> bool {
    read(authorization.as_bytes(), MAX_USER).is_ok_and(|(credential, _)| mentions_key(&credential))
}

/// The token or key in the header: after `Bearer`, or as the password of `Basic`, whoever the user is (W&B's SDK sends
/// `api:KEY`).
fn read(header: &[u8], max_bytes: usize) -> Result<(Cow<'_, [u8]>, Scheme), Failure> {
    let form = |detail: &str| Failure::new(Reason::AuthorizationForm, detail);
    let (scheme, rest) = match header.iter().position(|&b| b == b' ') {
        Some(space) => (&header[..space], header[space..].trim_ascii()),
        None => (header, &header[..0]),
    };
    if rest.is_empty() {
        let bare = scheme.starts_with(b"ey") || ServiceAccounts::looks_like_key(scheme);
        return Err(form(match bare {
            true => "the word 'Bearer' is missing before the token",
            false => "it holds no credential",
        }));
    }
    let too_long = |most: usize| {
        let detail = format!("it has {} bytes, and {most} are looked at (bearer.max_token_bytes)", rest.len());
        (rest.len() > most).then(|| Failure::new(Reason::TokenForm, detail)).map_or(Ok(()), Err)
    };
    if scheme.eq_ignore_ascii_case(b"bearer") {
        too_long(max_bytes)?;
        return match memchr(b' ', rest) {
            Some(_) => Err(form("there is a space inside the token")),
            None => Ok((Cow::Borrowed(rest), Scheme::Bearer)),
        };
    }
    if !scheme.eq_ignore_ascii_case(b"basic") {
        return Err(form("the scheme is neither 'Bearer' nor 'Basic'"));
    }
    // Base64 makes four characters of three.
    too_long(max_bytes.saturating_add(MAX_USER).div_ceil(3).saturating_mul(4))?;
    let mut pair = STANDARD.decode(rest).map_err(|_| form("the part after 'Basic' is no base64"))?;
    let colon = pair.iter().position(|&b| b == b':').ok_or_else(|| form("there is no ':' before the password"))?;
    let password = pair.split_off(colon + 1);
    match password.is_empty() {
        true => Err(form("the password is empty; it has to be the key")),
        false => Ok((Cow::Owned(password), Scheme::Basic)),
    }
}

/// What is neither key nor JWT may be an opaque token, about which its issuer is asked. A key with quotes around it and
/// somebody's password are none, and must not be told to anybody.
fn check_opaque(credential: &[u8], scheme: Scheme) -> Result<(), Failure> {
    if mentions_key(credential) {
        return Err(Failure::new(Reason::KeyMalformed, "there is something before the key"));
    }
    if scheme == Scheme::Basic {
        let detail = "the password of 'Basic' is neither a service account's key nor a JWT";
        return Err(Failure::new(Reason::AuthorizationForm, detail));
    }
    // RFC 6750 §2.1.
    let in_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(byte);
    match credential.iter().all(in_token) {
        true => Ok(()),
        false => Err(Failure::new(Reason::TokenForm, "token holds a character that no token has, a quote perhaps")),
    }
}

/// Whether a key is in it, with whatever around it.
pub(super) fn mentions_key(credential: &[u8]) -> bool {
    let prefix = ServiceAccounts::PREFIX.as_bytes();
    credential.windows(prefix.len()).any(|window| window.eq_ignore_ascii_case(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(header: &str) -> Result<String, Reason> {
        let (read, _) = read(header.as_bytes(), 1000).map_err(|failure| failure.reason)?;
        Ok(String::from_utf8_lossy(&read).into_owned())
    }

    #[test]
    fn keys_and_passwords_are_told_from_opaque_tokens() {
        for (credential, scheme, reason) in [
            ("2YotnFZFEjr1zCsicMWpAA", Scheme::Bearer, None),
            ("\"2YotnFZFEjr1zCsicMWpAA\"", Scheme::Bearer, Some(Reason::TokenForm)),
            ("\"dwk_abc\"", Scheme::Bearer, Some(Reason::KeyMalformed)),
            (" dwk_abc", Scheme::Basic, Some(Reason::KeyMalformed)),
            ("DWK_abc", Scheme::Bearer, Some(Reason::KeyMalformed)),
            ("my-real-password", Scheme::Basic, Some(Reason::AuthorizationForm)),
        ] {
            let judged = check_opaque(credential.as_bytes(), scheme).err().map(|failure| failure.reason);
            assert_eq!(judged, reason, "{credential}");
        }
        let header = |text: &str| HeaderValue::from_str(text).expect("a header");
        assert!(holds_key(&header("Bearer dwk_x")) && holds_key(&header("Bearer \"dwk_x\"")));
        assert!(holds_key(&header(&format!("Basic {}", STANDARD.encode("api:dwk_x")))));
        assert!(!holds_key(&header("Bearer x")) && !holds_key(&header("Basic YTpi")));
    }

    #[test]
    fn a_token_comes_after_bearer_and_a_key_also_as_a_password() {
        let basic = |pair: &str| format!("Basic {}", STANDARD.encode(pair));
        assert_eq!(text("Bearer abc").as_deref(), Ok("abc"));
        assert_eq!(text("bEARER  abc ").as_deref(), Ok("abc"));
        assert_eq!(text(&basic("api:abc")).as_deref(), Ok("abc"));
        assert_eq!(text(&basic(":a:b")).as_deref(), Ok("a:b"));
        for header in ["Bearer", "Bearer ", "", "abc", "Digest a", "Bearer a b", "Basic !", "Basic", "Negotiate x"] {
            assert_eq!(text(header), Err(Reason::AuthorizationForm), "{header:?}");
        }
        assert_eq!(text(&basic("api")), Err(Reason::AuthorizationForm));
        assert_eq!(text(&basic("api:")), Err(Reason::AuthorizationForm));
        assert_eq!(text(&format!("Bearer {}", "a".repeat(1001))), Err(Reason::TokenForm));
        assert_eq!(text(&basic(&"a".repeat(6000))), Err(Reason::TokenForm));
        // What is short enough for the one is for the other.
        let longest = "a".repeat(1000);
        assert_eq!(text(&format!("Bearer {longest}")).as_deref(), Ok(longest.as_str()));
        assert_eq!(text(&basic(&format!("api:{longest}"))).as_deref(), Ok(longest.as_str()));
    }
}
