//! Exchanging a JWT of a configured issuer for a token of the gateway's own (RFC 7523 §2.1).
//!
//! Promise: a token is made for somebody whose e-mail address a configured issuer vouches for and the federation's rules
//! name, or for a registered service account, and for nobody else. Nothing is remembered: the same assertion can be
//! exchanged again until it expires. The gateway's own tokens are no assertions, or they would never end.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::{SecureRandom, SystemRandom};
use serde_json::{Map, Value};
use url::Url;

use crate::authz::{self, Rules, Verdict};
use crate::claims::ACCOUNT_CLAIM;
use crate::config::model::{self, own_issuer};
use crate::identity::{Claims, Identity};
use crate::jose::Members;
use crate::jwt::{Issuers, Signer};
use crate::reason::{Failure, Reason};
use crate::service_accounts::ServiceAccounts;

/// Claims of an assertion that mean something of their own in a token of the gateway's, and are not copied into it.
const RESERVED: [&str; 21] = [
    "iss",
    "sub",
    "aud",
    "exp",
    "nbf",
    "iat",
    "jti",
    "client_id",
    "azp",
    "scope",
    "scp",
    "typ",
    "nonce",
    "at_hash",
    "c_hash",
    "events",
    "cnf",
    "act",
    "may_act",
    "auth_time",
    ACCOUNT_CLAIM,
];

/// The exchange as it is configured.
pub struct Federation {
    settings: model::Federation,
    /// `None` where assertions of service accounts alone are taken.
    rules: Option<Rules>,
    issuer: String,
    signer: Arc<Signer>,
    issuers: Arc<Issuers>,
    accounts: Arc<ServiceAccounts>,
    random: SystemRandom,
}

/// Who asks, by an assertion that is good in itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asker {
    /// Name of the `[[issuer]]`.
    pub issuer: String,
    /// `sub` of the assertion.
    pub subject: String,
}

/// A token of the gateway's own.
pub struct Exchanged {
    pub access_token: String,
    /// Seconds.
    pub expires_in: u64,
    pub asker: Asker,
    /// Whom the app will see: an e-mail address, or the name of a service account.
    pub user: String,
}

/// Why there is none.
#[derive(Debug)]
pub struct Refused {
    pub failure: Failure,
    /// Where the assertion itself was good.
    pub asker: Option<Asker>,
}

impl From<Failure> for Refused {
    fn from(failure: Failure) -> Self {
        Refused { failure, asker: None }
    }
}

impl Federation {
    /// [`Reason::ConfigInvalid`] where the rules could never be met.
    pub fn new(
        settings: &model::Federation,
        public_url: &Url,
        signer: Arc<Signer>,
        issuers: Arc<Issuers>,
        accounts: Arc<ServiceAccounts>,
    ) -> Result<Federation, Failure> {
        let rules = settings.allow.as_ref().map(Rules::new).transpose();
        let invalid = |what: String| Failure::new(Reason::ConfigInvalid, format!("federation.allow: {what}"));
        Ok(Federation {
            rules: rules.map_err(invalid)?,
            settings: settings.clone(),
            issuer: own_issuer(public_url),
            signer,
            issuers,
            accounts,
            random: SystemRandom::new(),
        })
    }

    /// Exchanges `assertion` at `now` (seconds since 1970). Every failure but [`Reason::Internal`] is of room 8.
    pub async fn exchange(&self, assertion: &str, now: u64) -> Result<Exchanged, Refused> {
        let federation = &self.settings;
        let audiences = (!federation.skip_audience_validation).then_some(federation.audiences.as_slice());
        let verified = self.issuers.verify_assertion(assertion.as_bytes(), now, &federation.issuers, audiences).await?;
        let identity = &verified.identity;
        if verified.token_id.as_deref().is_some_and(|id| self.accounts.is_revoked(id)) {
            return Err(Failure::new(Reason::TokenRevoked, "an admin has revoked it").into());
        }
        let account = self.accounts.external(&identity.provider, &identity.subject);
        let account = account.as_deref().map(|account| (&*account.name, &account.identity));
        self.grant(assertion, identity, account, now)
    }

    /// A token for whoever `assertion` is of. `identity` is what was verified of it; `account` tells the registered
    /// service account of an issuer and a subject.
    fn grant<'a>(
        &self,
        assertion: &str,
        identity: &Identity,
        account: Option<(&'a str, &'a Identity)>,
        now: u64,
    ) -> Result<Exchanged, Refused> {
        let asker = Asker { issuer: identity.provider.clone(), subject: identity.subject.clone() };
        let refused = |failure| Refused { failure, asker: Some(asker.clone()) };
        let claims = claims_of(assertion).map_err(refused)?;
        if claims.0.get("iss").and_then(Value::as_str) == Some(&self.issuer) {
            let detail = format!("issuer is '{}'; the gateway's own tokens are not exchanged", self.issuer);
            return Err(refused(Failure::new(Reason::TokenIssuer, detail)));
        }
        let person;
        let (who, account) = match account {
            Some((name, identity)) => (identity, Some(name)),
            None => {
                person = self.person(identity, &claims).map_err(refused)?;
                (&person, None)
            }
        };
        let user = account.map_or_else(|| who.user.clone(), str::to_owned);
        let expires_in = self.settings.token_lifetime.0.as_secs().max(1);
        let mut token = describe(who);
        if let Some(name) = account {
            token.insert(ACCOUNT_CLAIM.into(), name.into());
        }
        let client = ["azp", "client_id"].into_iter().find_map(|name| claims.0.get(name).and_then(Value::as_str));
        for (name, value) in [
            ("iss", Value::from(self.issuer.as_str())),
            ("sub", user.as_str().into()),
            ("aud", vec![Value::from(self.issuer.as_str())].into()),
            ("exp", now.saturating_add(expires_in).into()),
            ("iat", now.into()),
            ("jti", self.token_id().map_err(refused)?.into()),
            ("client_id", client.unwrap_or(&identity.provider).into()),
        ] {
            token.insert(name.into(), value);
        }
        let access_token = self.signer.sign(&token).map_err(refused)?;
        Ok(Exchanged { access_token, expires_in, asker, user })
    }

    /// The identity as it goes by its subject's e-mail address, if the rules name it.
    fn person(&self, identity: &Identity, claims: &Claims) -> Result<Identity, Failure> {
        let claim = self.settings.subject_claim.as_str();
        let subject = match claim {
            "sub" => Some(identity.subject.as_str()),
            path => claims.at(path).and_then(Value::as_str),
        };
        let Some(subject) = subject else {
            let detail = format!("'{claim}' is missing, and has to be an e-mail address");
            return Err(Failure::new(Reason::AssertionSubject, detail));
        };
        if !authz::is_email(subject) {
            let detail =
                format!("'{claim}' is '{subject}', neither an e-mail address nor a registered service account's");
            return Err(Failure::new(Reason::AssertionSubject, detail));
        }
        let person = Identity {
            user: subject.to_owned(),
            email: Some(subject.to_owned()),
            email_verified: email_verified(claims, subject),
            ..identity.clone()
        };
        let refused = |detail: String| Err(Failure::new(Reason::AssertionNotAllowed, detail));
        // The address is who they are, and not merely what a rule goes by: whatever rule names them, it has to be theirs.
        if person.email_verified == Some(false) {
            return refused(format!("'{subject}' is not verified by its issuer ('email_verified' is false)"));
        }
        match self.rules.as_ref().map(|rules| rules.judge(&person)) {
            Some(Verdict::Allow) => Ok(person),
            Some(Verdict::Deny(failure)) if failure.reason == Reason::ClaimAbsent => {
                let absent = failure.detail.replacen("the session", "the assertion", 1);
                refused(format!("the rules do not name '{subject}', and {absent}"))
            }
            Some(Verdict::Deny(_)) => refused(format!("the rules do not name '{subject}'")),
            None => refused(format!("'{subject}' is no service account, and nobody else may")),
        }
    }

    /// 128 random bits.
    fn token_id(&self) -> Result<String, Failure> {
        let mut bytes = [0; 16];
        let failed = |_| Failure::new(Reason::Internal, "the system's random source failed");
        self.random.fill(&mut bytes).map_err(failed)?;
        Ok(URL_SAFE_NO_PAD.encode(bytes))
    }
}

/// What an own token says of somebody beside who it is.
fn describe(who: &Identity) -> Map<String, Value> {
    let further = who.claims.0.iter().filter(|(name, _)| !RESERVED.contains(&name.as_str()));
    let mut token: Map<String, Value> = further.map(|(name, value)| (name.clone(), value.clone())).collect();
    for (name, text) in [("email", &who.email), ("name", &who.name), ("preferred_username", &who.preferred_username)] {
        if let Some(text) = text {
            token.insert(name.into(), text.as_str().into());
        }
    }
    if let Some(verified) = who.email_verified {
        token.insert("email_verified".into(), verified.into());
    }
    if let Some(groups) = &who.groups {
        token.insert("groups".into(), groups.clone().into());
    }
    token
}

/// Whether the assertion says that `address` is its owner's. `email_verified` speaks of the claim `email`; where there is
/// none, of the only address that there is.
fn email_verified(claims: &Claims, address: &str) -> Option<bool> {
    let email = claims.0.get("email").and_then(Value::as_str).map(str::trim).filter(|email| !email.is_empty());
    if email.is_some_and(|email| !email.eq_ignore_ascii_case(address)) {
        return None;
    }
    match claims.0.get("email_verified") {
        None | Some(Value::Null) => None,
        Some(Value::Bool(true)) => Some(true),
        Some(Value::String(text)) if text.eq_ignore_ascii_case("true") => Some(true),
        Some(_) => Some(false),
    }
}

/// The claims of a JWT whose signature was verified.
fn claims_of(token: &str) -> Result<Claims, Failure> {
    let payload = token.split('.').nth(1).and_then(|part| URL_SAFE_NO_PAD.decode(part).ok());
    let claims = payload.and_then(|json| Members::read(&json).ok());
    let form = || Failure::new(Reason::TokenForm, "an assertion has to be a JWT whose claims stand once each");
    claims.map(Claims).ok_or_else(form)
}

#[cfg(test)]
mod tests;
