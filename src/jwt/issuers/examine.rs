//! A token explained: which issuer it says it is from, and each of that issuer's checks.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};

use super::{Cached, Issuer, Issuers};
use crate::examined::Check;
use crate::jwt::token::Unverified;
use crate::jwt::verify::Unproven;
use crate::reason::{Failure, Reason};
use crate::words::in_quotes;

/// What there is to see of a token.
#[derive(Debug, Default)]
pub struct Examined {
    pub checks: Vec<Check>,
    /// Header and claims as they can be read; they are whoever's who has the token.
    pub header: Option<Value>,
    pub claims: Option<Value>,
    /// What it says, were its signature good.
    pub said: Option<Unproven>,
}

/// How long claims without an `exp` are taken to be good for, in seconds.
const ASSUMED: u64 = 300;

impl Issuers {
    /// Each check of `token` at `now`; waits for nobody and asks nobody. `taken` tells by index whose tokens count.
    pub fn examine(&self, token: &[u8], taken: Option<&[bool]>, now: u64) -> Examined {
        let mut parts = token.split(|&byte| byte == b'.');
        let mut next = || parts.next().and_then(|part| URL_SAFE_NO_PAD.decode(part).ok());
        let mut json = || next().and_then(|part| serde_json::from_slice::<Value>(&part).ok()).filter(Value::is_object);
        let (header, claims) = (json(), json());
        let form = Check::of("form", "RFC 7515 §7.1, RFC 7519 §7.2").expected("a signed JWT in compact form");
        if !self.introspecting.is_empty() && !Unverified::looks_like_one(token) {
            let form = form.got("a token that is no JWT").not_examined("its issuer is asked about it (RFC 7662)");
            return Examined { checks: vec![form], ..Examined::default() };
        }
        let read = self.read(token);
        let form = form.got(format!("{} bytes", token.len())).judged(&read.as_ref().map(drop).map_err(Failure::clone));
        let mut examined = Examined { checks: vec![form], header, claims, said: None };
        let Ok(read) = read else { return examined };
        let index = self.index_of(read.iss());
        let judged = index.clone().and_then(|index| self.check_taken(index, taken));
        let mut all: Vec<&str> =
            self.by_iss.iter().filter(|(_, index)| counts(taken, **index)).map(|(iss, _)| &**iss).collect();
        all.sort_unstable();
        let names: Vec<String> = all.into_iter().take(8).map(in_quotes).collect();
        examined.checks.push(
            Check::of("issuer (iss)", "RFC 7519 §4.1.1")
                .expected(names.join(" or "))
                .got(in_quotes(read.iss()))
                .judged(&judged),
        );
        let Ok(index) = index else { return examined };
        let issuer = &self.list[index];
        let keys = issuer.source.current(now);
        let keys = keys.as_ref().map(|keys| &keys.set).map_err(|failure| issuer.without_keys(failure));
        let empty = Map::new();
        let claims = examined.claims.as_ref().and_then(Value::as_object).unwrap_or(&empty);
        let (checks, said) = issuer.policy.examine(&read, keys, &self.headers, claims, now);
        examined.checks.extend(checks);
        examined.said = said;
        examined
    }

    /// The issuer that `token` says it is from.
    pub fn named_by(&self, token: &[u8]) -> Option<&Issuer> {
        let read = self.read(token).ok()?;
        self.list.get(self.index_of(read.iss()).ok()?)
    }

    /// Fetches what is needed to judge `token` and not at hand: keys of the issuer that it names, or, where it is no JWT,
    /// the metadata of those who are asked about it.
    pub async fn fetch_keys_for(&self, token: Option<&[u8]>, now: u64) {
        match token {
            Some(token) => {
                if let Some(issuer) = self.named_by(token) {
                    issuer.fetch_keys(now).await;
                }
            }
            None => {
                for issuer in self.introspecting.iter().filter_map(|index| self.list.get(*index)) {
                    issuer.fetch_keys(now).await;
                }
            }
        }
    }

    /// The issuer that stands for `iss`.
    pub fn named(&self, iss: &str) -> Option<&Issuer> {
        self.list.get(*self.by_iss.get(iss)?)
    }

    /// [`Issuers::judge`] for a token that nobody sent: nothing is counted, and it is neither looked for in the cache nor
    /// put there. `ask`: whether newer keys may be asked for.
    pub async fn rehearse(
        &self,
        token: &[u8],
        taken: Option<&[bool]>,
        now: u64,
        ask: bool,
    ) -> Result<Arc<Cached>, Failure> {
        if !self.introspecting.is_empty() && !Unverified::looks_like_one(token) {
            return self
                .introspected(token, taken, now)
                .await
                .map(|(cached, _)| cached)
                .map_err(|(failure, _)| failure);
        }
        let verified = self.verify_jwt(token, taken, now, ask).await;
        let (verified, generation) = verified.map_err(|(failure, _)| failure)?;
        self.list[verified.issuer].policy.judge(&verified, now)?;
        Ok(Arc::new(Cached { verified, generation }))
    }

    /// What would become of a token with these claims, were it signed as its issuer signs: for `explain`, which says that
    /// nothing was verified. `iss` and `sub` must be there; without `exp` it is good for a while.
    pub fn judge_assumed(
        &self,
        claims: &Map<String, Value>,
        taken: Option<&[bool]>,
        now: u64,
    ) -> Result<Arc<Cached>, Failure> {
        self.judge_unsigned(self.unsigned(claims, now)?.as_bytes(), taken, now)
    }

    /// What would become of `token`, were its signature good.
    pub fn judge_unsigned(&self, token: &[u8], taken: Option<&[bool]>, now: u64) -> Result<Arc<Cached>, Failure> {
        let read = self.read(token)?;
        let index = self.index_of(read.iss())?;
        self.check_taken(index, taken)?;
        let policy = &self.list[index].policy;
        let verified = policy.assumed(&read, &self.headers)?;
        policy.judge(&verified, now)?;
        Ok(Arc::new(Cached { verified, generation: 0 }))
    }

    /// Each check of such claims.
    pub fn examine_assumed(&self, claims: &Map<String, Value>, taken: Option<&[bool]>, now: u64) -> Examined {
        let mut examined = match self.unsigned(claims, now) {
            Ok(token) => self.examine(token.as_bytes(), taken, now),
            Err(failure) => {
                let check = Check::of("issuer (iss)", "RFC 7519 §4.1.1").judged(&Err(failure));
                return Examined { checks: vec![check], ..Examined::default() };
            }
        };
        for check in &mut examined.checks {
            let given = ["form", "algorithm (alg)", "key (kid)", "signature"].contains(&check.what.as_str());
            if given && (check.what != "form" || check.code.is_none()) {
                *check =
                    Check::of(check.what.clone(), check.source.clone()).not_examined("claims are taken as verified");
            }
        }
        examined.header = None;
        examined
    }

    /// A token with these claims and no signature, which nothing but this room reads.
    fn unsigned(&self, claims: &Map<String, Value>, now: u64) -> Result<String, Failure> {
        let iss = claims.get("iss").and_then(Value::as_str).unwrap_or_default();
        let policy = &self.list[self.index_of(iss)?].policy;
        let mut claims = claims.clone();
        claims.entry("exp").or_insert_with(|| json!(now + ASSUMED));
        let header = json!({"alg": format!("{:?}", policy.any_algorithm()), "typ": policy.any_type()});
        let [header, claims] = [header, claims.into()].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
        Ok(format!("{header}.{claims}."))
    }
}

impl Issuer {
    /// The first `iss` that it stands for.
    pub fn first_iss(&self) -> Option<String> {
        self.policy.issuers().next().map(str::to_owned)
    }

    async fn fetch_keys(&self, now: u64) {
        if self.source.current(now).is_err() {
            self.source.refresh(None).await;
        }
    }

    /// Why there are no keys at `now` (seconds since 1970); `None` where there are.
    pub fn missing_keys(&self, now: u64) -> Option<String> {
        self.source.current(now).err().map(|failure| self.without_keys(&failure))
    }

    fn without_keys(&self, failure: &Failure) -> String {
        let iss = self.policy.issuers().next().unwrap_or(&self.name);
        match failure.reason {
            Reason::KeysTooOld => format!("keys of {iss} are too old"),
            _ => format!("keys of {iss} are not at hand"),
        }
    }
}

fn counts(taken: Option<&[bool]>, index: usize) -> bool {
    taken.is_none_or(|taken| taken.get(index).copied().unwrap_or(false))
}
