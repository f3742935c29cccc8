//! The claims (RFC 7519 §4): those with a meaning of their own in their types, and those that somebody wants.

use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::{Map, Value};

use super::json::{Fault, OneText, Place, Seconds, Skipped, Text, Texts};
use super::{WantedClaims, form};
use crate::reason::Failure;

/// The event that makes a token a logout token (OpenID Connect Back-Channel Logout §2.4).
const LOGOUT_EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

/// What the claims say.
#[derive(Default)]
pub(super) struct Claims {
    /// Bits of the [`Claim`]s that were there.
    seen: u16,
    pub issuer: Option<Text>,
    pub subject: Option<Text>,
    pub audiences: Vec<Text>,
    /// Each may hold several, with spaces between them.
    pub scopes: Vec<Text>,
    pub token_id: Option<Text>,
    pub expires_at: u64,
    pub not_before: u64,
    pub event: Option<Event>,
    /// Those that an entry's settings, rules or headers read.
    pub wanted: Map<String, Value>,
}

/// What `events` says (RFC 8417 §2.2).
#[derive(Clone, Copy, PartialEq)]
pub(in crate::jwt) enum Event {
    Logout,
    Other,
}

/// The claims with a meaning of their own.
#[derive(Clone, Copy)]
enum Claim {
    Iss,
    Sub,
    Aud,
    Exp,
    Nbf,
    Iat,
    Jti,
    Scope,
    Scp,
    Nonce,
    AtHash,
    CHash,
    Events,
    Cnf,
}

impl Claim {
    fn named(name: &str) -> Option<Claim> {
        Some(match name {
            "iss" => Claim::Iss,
            "sub" => Claim::Sub,
            "aud" => Claim::Aud,
            "exp" => Claim::Exp,
            "nbf" => Claim::Nbf,
            "iat" => Claim::Iat,
            "jti" => Claim::Jti,
            "scope" => Claim::Scope,
            "scp" => Claim::Scp,
            "nonce" => Claim::Nonce,
            "at_hash" => Claim::AtHash,
            "c_hash" => Claim::CHash,
            "events" => Claim::Events,
            "cnf" => Claim::Cnf,
            _ => return None,
        })
    }

    fn bit(self) -> u16 {
        1 << self as u16
    }

    /// Its name, and what is said of a value of another type.
    fn terms(self) -> (&'static str, &'static str) {
        match self {
            Claim::Iss => ("iss", "no text"),
            Claim::Sub => ("sub", "no text"),
            Claim::Aud => ("aud", "neither a text nor a list of texts"),
            Claim::Exp => ("exp", "no time in whole seconds"),
            Claim::Nbf => ("nbf", "no time in whole seconds"),
            Claim::Iat => ("iat", "no time in whole seconds"),
            Claim::Jti => ("jti", "no text"),
            Claim::Scope => ("scope", "neither a text nor a list of texts"),
            Claim::Scp => ("scp", "neither a text nor a list of texts"),
            Claim::Nonce => ("nonce", ""),
            Claim::AtHash => ("at_hash", ""),
            Claim::CHash => ("c_hash", ""),
            Claim::Events => ("events", ""),
            Claim::Cnf => ("cnf", ""),
        }
    }
}

impl Claims {
    /// Characters of `sub`; OpenID Connect Core §2 allows 255.
    const MAX_SUBJECT: usize = 1024;

    /// Whether a claim says that it is an ID token (OpenID Connect Core §2, §3.3.2.11).
    pub(super) fn has_marks_of_an_id_token(&self) -> bool {
        let marks = Claim::Nonce.bit() | Claim::AtHash.bit() | Claim::CHash.bit();
        self.seen & marks != 0
    }

    /// Whether it names the key that its sender must have (RFC 7800 §3.1).
    pub(super) fn is_bound(&self) -> bool {
        self.seen & Claim::Cnf.bit() != 0
    }

    pub(super) fn read(place: Place, part: &str, wanted: &WantedClaims) -> Result<Claims, Failure> {
        let mut claims = Claims::default();
        let mut fault = Fault { part: "claim set", member: "", why: "" };
        let mut reader = serde_json::Deserializer::from_str(part);
        let all = ClaimsReader { place, wanted, claims: &mut claims, fault: &mut fault };
        let read = all.deserialize(&mut reader).and_then(|()| reader.end());
        read.map_err(|error| fault.failure(&error))?;
        for claim in [Claim::Iss, Claim::Sub, Claim::Exp] {
            if claims.seen & claim.bit() == 0 {
                return Err(form(format!("its claims have no `{}`", claim.terms().0)));
            }
        }
        // The two ends of a text that has no escapes are its length or more.
        let length = match &claims.subject {
            Some(Text::At { start, end }) => (end - start) as usize,
            Some(Text::Other(text)) => text.len(),
            None => 0,
        };
        if !(1..=Self::MAX_SUBJECT).contains(&length) {
            return Err(form("`sub` of its claim set is empty or too long"));
        }
        Ok(claims)
    }
}

struct ClaimsReader<'r, 'w> {
    place: Place,
    wanted: &'w WantedClaims,
    claims: &'r mut Claims,
    fault: &'r mut Fault<'w>,
}

impl<'de> DeserializeSeed<'de> for ClaimsReader<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for ClaimsReader<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<(), A::Error> {
        let Self { place, wanted, claims, fault } = self;
        while let Some((claim, want)) = access.next_key_seed(ClaimName(wanted))? {
            if let Some(claim) = claim {
                let (member, why) = claim.terms();
                *fault = Fault { member, why: "there twice", ..*fault };
                if claims.seen & claim.bit() != 0 {
                    return Err(A::Error::custom(""));
                }
                claims.seen |= claim.bit();
                fault.why = why;
            }
            match (claim, want) {
                (None, None) => {
                    access.next_value::<Skipped>()?;
                }
                (Some(claim), None) => access.next_value_seed(OneClaim { claim, place, claims })?,
                (claim, Some(name)) => {
                    let value: Value = access.next_value()?;
                    if let Some(claim) = claim {
                        OneClaim { claim, place, claims }.deserialize(&value).map_err(A::Error::custom)?;
                    }
                    if claims.wanted.insert(name.to_owned(), value).is_some() {
                        *fault = Fault { member: name, why: "there twice", ..*fault };
                        return Err(A::Error::custom(""));
                    }
                }
            }
        }
        Ok(())
    }
}

/// What a name at the top of the claims means to us: a claim with a meaning of its own, one that is wanted, or both.
struct ClaimName<'w>(&'w WantedClaims);

impl<'de, 'w> DeserializeSeed<'de> for ClaimName<'w> {
    type Value = (Option<Claim>, Option<&'w str>);

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'w> Visitor<'_> for ClaimName<'w> {
    type Value = (Option<Claim>, Option<&'w str>);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok((Claim::named(name), self.0.find(name)))
    }
}

/// The value of one claim with a meaning of its own.
struct OneClaim<'c> {
    claim: Claim,
    place: Place,
    claims: &'c mut Claims,
}

impl<'de> DeserializeSeed<'de> for OneClaim<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        let OneClaim { claim, place, claims } = self;
        match claim {
            Claim::Iss => claims.issuer = Some(OneText(place).deserialize(deserializer)?),
            Claim::Sub => claims.subject = Some(OneText(place).deserialize(deserializer)?),
            Claim::Jti => claims.token_id = Some(OneText(place).deserialize(deserializer)?),
            Claim::Aud => deserializer.deserialize_any(Texts { place, into: &mut claims.audiences })?,
            Claim::Scope | Claim::Scp => deserializer.deserialize_any(Texts { place, into: &mut claims.scopes })?,
            Claim::Exp => claims.expires_at = Seconds::deserialize(deserializer)?.0,
            Claim::Nbf | Claim::Iat => {
                claims.not_before = claims.not_before.max(Seconds::deserialize(deserializer)?.0);
            }
            Claim::Nonce | Claim::AtHash | Claim::CHash | Claim::Cnf => {
                Skipped::deserialize(deserializer)?;
            }
            Claim::Events => {
                let logout = Value::deserialize(deserializer)?.get(LOGOUT_EVENT).is_some();
                claims.event = Some(if logout { Event::Logout } else { Event::Other });
            }
        }
        Ok(())
    }
}
