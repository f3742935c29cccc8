//! From verified claims (of an ID token, a bearer token, an introspection) to an [`Identity`]: who somebody is, in the
//! terms of the configuration.

mod made;

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::config::model::{Issuer, Provider, Settings};
use crate::identity::{self, Claims, Identity, scalar, strings};
use crate::reason::{Failure, Reason};
use crate::words::in_words;

pub use made::MadeClaims;

/// The claim of the gateway's own tokens that names a service account.
pub const ACCOUNT_CLAIM: &str = "doorward_account";

/// The claims, by path, that header rules and route rules read beside the fields of [`Identity`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NeededClaims(BTreeSet<String>);

/// Names that rules and headers use for the fields of [`Identity`], whatever claims they came from.
const FIELDS: [&str; 7] = ["sub", "user", "email", "email_verified", "preferred_username", "name", "groups"];

impl NeededClaims {
    pub fn of(settings: &Settings) -> NeededClaims {
        let headers = settings.headers.set.iter().map(|rule| &rule.claim);
        let rules = settings.route.iter().filter_map(|route| route.allow.as_ref());
        let allow = rules.chain(settings.federation.iter().filter_map(|federation| federation.allow.as_ref()));
        let subjects = settings.federation.iter().map(|federation| &federation.subject_claim);
        let rules =
            allow.flat_map(|allow| &allow.claims).chain(settings.issuer.iter().flat_map(|i| &i.required_claims));
        let rules = rules.map(|rule| &rule.claim);
        let all = headers.chain(rules).chain(subjects);
        // What names a service account in the gateway's own tokens names nobody in others.
        let own = |path: &&String| FIELDS.contains(&path.as_str()) || *path == ACCOUNT_CLAIM;
        NeededClaims(all.filter(|path| !own(path)).cloned().collect())
    }

    /// Their paths.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// These, and the claim at `path`.
    pub fn with(&self, path: &str) -> NeededClaims {
        let mut more = self.clone();
        more.0.insert(path.to_owned());
        more
    }

    /// These claims and nothing else, nested ones without their siblings.
    fn pick(&self, all: &Map<String, Value>) -> Claims {
        let mut picked = Map::new();
        for path in &self.0 {
            if let Some((names, value)) = resolve(all, path) {
                insert(&mut picked, &names, value.clone());
            }
        }
        Claims(picked)
    }
}

/// The names on the way to the value at `path`, chosen as [`Claims::at`] chooses them.
fn resolve<'a>(members: &'a Map<String, Value>, path: &'a str) -> Option<(Vec<&'a str>, &'a Value)> {
    if let Some(value) = members.get(path) {
        return Some((vec![path], value));
    }
    path.match_indices('.').find_map(|(dot, _)| {
        let (mut names, value) = resolve(members.get(&path[..dot])?.as_object()?, &path[dot + 1..])?;
        names.insert(0, &path[..dot]);
        Some((names, value))
    })
}

fn insert(into: &mut Map<String, Value>, names: &[&str], value: Value) {
    match names {
        [] => {}
        [name] => {
            into.insert((*name).to_owned(), value);
        }
        [name, rest @ ..] => {
            let inner = into.entry((*name).to_owned()).or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(inner) = inner {
                insert(inner, rest, value);
            }
        }
    }
}

/// What the fields of [`Identity`] are called by whoever vouches for them.
#[derive(Clone, Debug, PartialEq)]
pub struct ClaimNames {
    /// Name of the `[[provider]]` or `[[issuer]]`.
    pub voucher: Box<str>,
    pub user_claim: Box<str>,
    pub email_claim: Box<str>,
    pub groups_claim: Box<str>,
    pub made: MadeClaims,
}

impl ClaimNames {
    pub fn of_provider(provider: &Provider) -> Self {
        ClaimNames {
            voucher: provider.name.as_str().into(),
            user_claim: provider.user_claim.as_str().into(),
            email_claim: provider.email_claim.as_str().into(),
            groups_claim: provider.groups_claim.as_str().into(),
            made: MadeClaims::new(&provider.claims),
        }
    }

    pub fn of_issuer(issuer: &Issuer) -> Self {
        ClaimNames {
            voucher: issuer.name.as_str().into(),
            user_claim: issuer.user_claim().into(),
            email_claim: issuer.email_claim().into(),
            groups_claim: issuer.groups_claim().into(),
            made: MadeClaims::new(&issuer.claims),
        }
    }
}

/// Makes the identity of `subject` (their `sub`) from claims that were verified.
///
/// [`Reason::ClaimMalformed`] names the claim that is missing or unusable; [`Reason::EmailUnverified`] where an
/// unverified e-mail address would name the user, since anybody can write anybody's address into their profile.
pub fn identity(
    names: &ClaimNames,
    needed: &NeededClaims,
    subject: &str,
    claims: &Map<String, Value>,
) -> Result<Identity, Failure> {
    let unproved = names.made.sources().any(|source| source == "email") && verified(claims)? == Some(false);
    if unproved && names.made.makes_of(&names.user_claim, "email") {
        return Err(address_unproved(claims));
    }
    // A rule or header that reads an address under another name could not know that its owner has not proved it.
    let all = names.made.add_to(claims, unproved.then_some("email"));
    tell_claims_elsewhere(names, needed, claims);
    let identity = Identity {
        provider: names.voucher.to_string(),
        subject: subject.to_owned(),
        user: user(names, subject, &all)?,
        email: email(names, &all)?,
        email_verified: email_verified(names, claims)?,
        preferred_username: optional_text(&all, "preferred_username"),
        name: optional_text(&all, "name"),
        groups: groups(names, &all)?,
        claims: needed.pick(&all),
    };
    refuse_control_characters(names, &identity)?;
    Ok(identity)
}

/// What the person is called; without it nobody is signed in.
fn user(names: &ClaimNames, subject: &str, all: &Map<String, Value>) -> Result<String, Failure> {
    let user = match identity::value_at(all, &names.user_claim) {
        _ if &*names.user_claim == "sub" => Some(subject.to_owned()),
        Some(value @ (Value::String(_) | Value::Number(_))) => scalar(value),
        Some(Value::Null) | None => None,
        Some(_) => return Err(malformed(&names.user_claim, "is neither a text nor a number")),
    };
    let missing = || malformed(&names.user_claim, "is missing or empty, and `user_claim` names it");
    user.filter(|user| !user.is_empty()).ok_or_else(missing)
}

fn email(names: &ClaimNames, all: &Map<String, Value>) -> Result<Option<String>, Failure> {
    match identity::value_at(all, &names.email_claim) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(email)) => Ok(Some(email.clone()).filter(|email| !email.is_empty())),
        Some(_) => Err(malformed(&names.email_claim, "is no text")),
    }
}

/// What is said of the address in `email_claim`. The provider vouches for `email`; what it says about that is nothing about
/// an address in another claim, nor about one that the configuration made. That it is not verified is believed all the
/// same, and then it names nobody.
fn email_verified(names: &ClaimNames, claims: &Map<String, Value>) -> Result<Option<bool>, Failure> {
    let (names_user, is_email) = (&*names.user_claim == "email", &*names.email_claim == "email");
    if !names_user && !is_email {
        return Ok(None);
    }
    let said = verified(claims)?;
    if names_user && said == Some(false) {
        return Err(address_unproved(claims));
    }
    Ok(said.filter(|verified| is_email && (!verified || !names.made.makes("email"))))
}

fn address_unproved(claims: &Map<String, Value>) -> Failure {
    // Of the address its domain alone.
    let domain = claims.get("email").and_then(Value::as_str).and_then(|email| email.rsplit_once('@'));
    let of = domain.map(|(_, domain)| format!(" of {}", in_words(domain))).unwrap_or_default();
    let detail = format!("the claim `email` names the user, got an address{of} with `email_verified` false");
    Failure::new(Reason::EmailUnverified, detail)
}

fn groups(names: &ClaimNames, all: &Map<String, Value>) -> Result<Option<Vec<String>>, Failure> {
    match identity::value_at(all, &names.groups_claim) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(_)) => Err(malformed(&names.groups_claim, "is neither a list nor a text")),
        Some(value) => Ok(Some(once_each(strings(value)))),
    }
}

/// Whether `claims` say anything of what an identity is made of, beyond who it is. ID tokens of a refresh need not (Core
/// §12.2).
pub fn say_something(names: &ClaimNames, needed: &NeededClaims, claims: &Map<String, Value>) -> bool {
    let said = |path: &str| identity::value_at(claims, path).is_some_and(|value| !value.is_null());
    let own = [&*names.user_claim, &*names.email_claim, &*names.groups_claim, "preferred_username", "name"];
    let others = names.made.sources().chain(needed.paths());
    own.into_iter().chain(others).filter(|path| *path != "sub").any(said)
}

/// `email_verified` as a boolean, or as the text that Cognito sends.
fn verified(claims: &Map<String, Value>) -> Result<Option<bool>, Failure> {
    match claims.get("email_verified") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Bool(verified)) => Ok(Some(*verified)),
        Some(Value::String(text)) if text.eq_ignore_ascii_case("true") => Ok(Some(true)),
        Some(Value::String(text)) if text.eq_ignore_ascii_case("false") => Ok(Some(false)),
        Some(_) => Err(malformed("email_verified", "is neither true nor false")),
    }
}

/// A claim that nothing depends on: of another type it is as good as absent, and white space around it means nothing.
fn optional_text(claims: &Map<String, Value>, name: &str) -> Option<String> {
    let around = |c: char| c.is_whitespace() && !c.is_control();
    let text = claims.get(name).and_then(Value::as_str).map(|text| text.trim_matches(around));
    text.filter(|text| !text.is_empty()).map(str::to_owned)
}

fn once_each(mut items: Vec<String>) -> Vec<String> {
    // A few are compared sooner than put in order.
    if items.len() <= 16 {
        let mut at = 1;
        while at < items.len() {
            match items[..at].contains(&items[at]) {
                true => drop(items.remove(at)),
                false => at += 1,
            }
        }
        return items;
    }
    let mut seen = BTreeSet::new();
    items.into_iter().filter(|item| seen.insert(item.clone())).collect()
}

/// Names the claims that the configuration reads and the token only points to (distributed and aggregated claims, Core
/// §5.6.2). Entra leaves the groups out so where there are more than about 200.
fn tell_claims_elsewhere(names: &ClaimNames, needed: &NeededClaims, claims: &Map<String, Value>) {
    let pointers = claims.get("_claim_names").and_then(Value::as_object);
    let overage = claims.get("hasgroups") == Some(&Value::Bool(true));
    if pointers.is_none() && !overage {
        return;
    }
    let elsewhere = |path: &str| {
        let first = path.split('.').next().unwrap_or(path);
        let pointed = pointers.is_some_and(|names| names.contains_key(path) || names.contains_key(first));
        (pointed || overage && (path == "groups" || path == &*names.groups_claim))
            && identity::value_at(claims, path).is_none()
    };
    let read = [&*names.user_claim, &*names.email_claim, &*names.groups_claim].into_iter();
    let read: BTreeSet<&str> = read.chain(names.made.sources()).chain(needed.paths()).collect();
    let by = if pointers.is_some() { "_claim_names" } else { "hasgroups" };
    for claim in read.into_iter().filter(|path| elsewhere(path)) {
        let detail = format!("the claim {} is not in the token but elsewhere (`{by}`)", in_words(claim));
        let failure = Failure::new(Reason::ClaimsElsewhere, detail);
        tracing::warn!(provider = &*names.voucher, claim, %failure, remedy = failure.remedy(),
            "the provider keeps a claim elsewhere");
    }
}

/// A control character would end a header, or a log line, early.
fn refuse_control_characters(names: &ClaimNames, identity: &Identity) -> Result<(), Failure> {
    let text = |claim: &str, text: &str| match has_control(text) {
        true => Err(malformed(claim, "holds a control character")),
        false => Ok(()),
    };
    text("sub", &identity.subject)?;
    text(&names.user_claim, &identity.user)?;
    text(&names.email_claim, identity.email.as_deref().unwrap_or_default())?;
    text("preferred_username", identity.preferred_username.as_deref().unwrap_or_default())?;
    text("name", identity.name.as_deref().unwrap_or_default())?;
    identity.groups.iter().flatten().try_for_each(|group| text(&names.groups_claim, group))?;
    identity.claims.0.iter().try_for_each(|(name, value)| match holds_control_character(value) {
        true => Err(malformed(name, "holds a control character")),
        false => Ok(()),
    })
}

fn has_control(text: &str) -> bool {
    // Most texts are ASCII, where bytes say it all.
    text.bytes().any(|byte| byte.is_ascii_control()) || !text.is_ascii() && text.chars().any(char::is_control)
}

fn holds_control_character(value: &Value) -> bool {
    match value {
        Value::String(text) => has_control(text),
        Value::Array(items) => items.iter().any(holds_control_character),
        Value::Object(members) => {
            members.iter().any(|(name, value)| has_control(name) || holds_control_character(value))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

fn malformed(claim: &str, why: &str) -> Failure {
    Failure::new(Reason::ClaimMalformed, format!("the claim {} {why}", in_words(claim)))
}
