//! Reading a JWT in compact form (RFC 7515 §7.1, RFC 7519) before anything about it is known to be true.
//!
//! Promise: bounds come before parsing; each part is decoded and parsed once; what two parsers could read differently
//! (padding, bits after the end, a member that is there twice) is refused; claims that nobody wants cost no memory.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::error::Category;
use serde_json::{Map, Value};

pub use super::wanted::WantedClaims;
use crate::config::model::TokenAlgorithm::{self, *};
use crate::reason::{Failure, Reason};
use crate::words::json_fault;

/// Bytes of a whole token, whatever the configuration allows.
const MAX_TOKEN: usize = 512 * 1024;
/// Bytes of the encoded header.
const MAX_HEADER: usize = 4 * 1024;
/// Bytes of the encoded signature: RSA of 8192 bit has 1366.
const MAX_SIGNATURE: usize = 1400;
/// The year 9999: a time beyond it is no time.
pub(super) const MAX_TIME: u64 = 253_402_300_799;
/// The event that makes a token a logout token (OpenID Connect Back-Channel Logout §2.4).
const LOGOUT_EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

/// A token that was read and not verified: nothing it says is true yet.
pub struct Unverified<'t> {
    /// Header and claims as they were signed (RFC 7515 §5.2).
    pub(super) signed: &'t [u8],
    pub(super) signature: Box<[u8]>,
    /// The JSON of header and claims; what they say points into it.
    json: String,
    header: Header,
    claims: Claims,
}

impl fmt::Debug for Unverified<'_> {
    /// Without what it says: a token is a credential.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Unverified")
    }
}

/// A text of the token: where it stands, or what it is where an escape made it another one.
pub(super) enum Text {
    At { start: u32, end: u32 },
    Other(Box<str>),
}

#[derive(Default)]
struct Header {
    alg: Option<Text>,
    kid: Option<Text>,
    typ: Option<Text>,
}

/// What the claims say.
#[derive(Default)]
struct Claims {
    /// Bits of the [`Claim`]s that were there.
    seen: u16,
    issuer: Option<Text>,
    subject: Option<Text>,
    audiences: Vec<Text>,
    /// Each may hold several, with spaces between them.
    scopes: Vec<Text>,
    token_id: Option<Text>,
    expires_at: u64,
    not_before: u64,
    event: Option<Event>,
    /// Those that an entry's settings, rules or headers read.
    wanted: Map<String, Value>,
}

/// What `events` says (RFC 8417 §2.2).
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Event {
    Logout,
    Other,
}

/// The algorithm of that name; `None` for `none`, whatever its case, and for all that we do not know.
pub(super) fn algorithm(name: &str) -> Option<TokenAlgorithm> {
    Some(match name {
        "RS256" => RS256,
        "RS384" => RS384,
        "RS512" => RS512,
        "PS256" => PS256,
        "PS384" => PS384,
        "PS512" => PS512,
        "ES256" => ES256,
        "ES384" => ES384,
        "ES512" => ES512,
        // RFC 9864 §2.2 gives the curve's name to what RFC 8037 calls EdDSA; we know one curve.
        "EdDSA" | "Ed25519" => EdDSA,
        "HS256" => HS256,
        "HS384" => HS384,
        "HS512" => HS512,
        _ => return None,
    })
}

impl<'t> Unverified<'t> {
    /// Whether it can be a JWT at all: three parts, of which the first may be a JSON object. Others can be introspected.
    pub fn looks_like_one(token: &[u8]) -> bool {
        token.starts_with(b"ey") && token.iter().filter(|byte| **byte == b'.').count() == 2
    }

    /// Reads header and claims. [`Reason::TokenForm`] says what is wrong with them.
    pub fn read(token: &'t [u8], wanted: &WantedClaims) -> Result<Self, Failure> {
        if token.len() > MAX_TOKEN {
            return Err(form(format!("token has {} bytes; {MAX_TOKEN} are looked at", token.len())));
        }
        let [header, claims, signature] = parts(token)?;
        let signed = &token[..header.len() + 1 + claims.len()];
        let mut json = vec![0; decoded_length(header) + decoded_length(claims)];
        let border = decode_into(header, &mut json, "header")?;
        let end = border + decode_into(claims, &mut json[border..], "claims")?;
        json.truncate(end);
        let mut octets = vec![0; decoded_length(signature)];
        let length = decode_into(signature, &mut octets, "signature")?;
        octets.truncate(length);
        let json = String::from_utf8(json).map_err(|_| form("token holds what is no UTF-8"))?;
        let (Some(first), Some(second)) = (json.get(..border), json.get(border..)) else {
            return Err(form("token holds what is no UTF-8"));
        };
        let header = Header::read(&json, first)?;
        let claims = Claims::read(&json, second, wanted)?;
        Ok(Unverified { signed, signature: octets.into(), json, header, claims })
    }

    /// `iss`, which says whose keys the signature is to be checked with.
    pub fn iss(&self) -> &str {
        self.opt(&self.claims.issuer).unwrap_or_default()
    }

    /// `kid` of the header.
    pub fn kid(&self) -> Option<&str> {
        self.opt(&self.header.kid)
    }

    /// `alg` of the header.
    pub(super) fn alg(&self) -> &str {
        self.opt(&self.header.alg).unwrap_or_default()
    }

    /// `typ` of the header.
    pub(super) fn typ(&self) -> Option<&str> {
        self.opt(&self.header.typ)
    }

    pub(super) fn subject(&self) -> &str {
        self.opt(&self.claims.subject).unwrap_or_default()
    }

    pub(super) fn audiences(&self) -> impl Iterator<Item = &str> {
        self.claims.audiences.iter().map(|text| self.text(text))
    }

    pub(super) fn scopes(&self) -> impl Iterator<Item = &str> {
        let each = self.claims.scopes.iter().flat_map(|text| self.text(text).split(' '));
        each.filter(|scope| !scope.is_empty())
    }

    pub(super) fn token_id(&self) -> Option<&str> {
        self.opt(&self.claims.token_id)
    }

    pub(super) fn expires_at(&self) -> u64 {
        self.claims.expires_at
    }

    /// The later of `nbf` and `iat`; 0 where there is neither.
    pub(super) fn not_before(&self) -> u64 {
        self.claims.not_before
    }

    /// Whether a claim says that it is an ID token (OpenID Connect Core §2, §3.3.2.11).
    pub(super) fn has_marks_of_an_id_token(&self) -> bool {
        let marks = Claim::Nonce.bit() | Claim::AtHash.bit() | Claim::CHash.bit();
        self.claims.seen & marks != 0
    }

    pub(super) fn event(&self) -> Option<Event> {
        self.claims.event
    }

    pub(super) fn wanted(&self) -> &Map<String, Value> {
        &self.claims.wanted
    }

    fn opt<'a>(&'a self, text: &'a Option<Text>) -> Option<&'a str> {
        text.as_ref().map(|text| self.text(text))
    }

    fn text<'a>(&'a self, text: &'a Text) -> &'a str {
        match text {
            Text::At { start, end } => self.json.get(*start as usize..*end as usize).unwrap_or_default(),
            Text::Other(text) => text,
        }
    }
}

fn parts(token: &[u8]) -> Result<[&[u8]; 3], Failure> {
    let mut parts = token.split(|byte| *byte == b'.');
    let three = [parts.next(), parts.next(), parts.next()];
    let ([Some(header), Some(claims), Some(signature)], None) = (three, parts.next()) else {
        let dots = token.iter().filter(|byte| **byte == b'.').count();
        return Err(form(match dots {
            4 => "token is encrypted (a JWE), and signed ones are read".into(),
            _ => format!("token has {dots} dots; a signed JWT has two"),
        }));
    };
    for (part, name, most) in [(header, "header", MAX_HEADER), (signature, "signature", MAX_SIGNATURE)] {
        if part.len() > most {
            return Err(form(format!("its {name} has {} bytes; {most} are looked at", part.len())));
        }
    }
    Ok([header, claims, signature])
}

/// What the decoder wants room for, a little more than what it writes.
fn decoded_length(part: &[u8]) -> usize {
    part.len().div_ceil(4) * 3
}

/// Base64url without padding (RFC 7515 §2), and nothing else.
fn decode_into(part: &[u8], into: &mut [u8], name: &str) -> Result<usize, Failure> {
    URL_SAFE_NO_PAD.decode_slice(part, into).map_err(|_| form(format!("its {name} is no base64url")))
}

fn form(why: impl Into<String>) -> Failure {
    Failure::new(Reason::TokenForm, why)
}

/// What was being read when something turned out to be wrong with it.
struct Fault<'f> {
    part: &'static str,
    member: &'f str,
    why: &'static str,
}

impl Fault<'_> {
    fn failure(&self, error: &serde_json::Error) -> Failure {
        let Fault { part, member, why } = self;
        match error.classify() {
            Category::Data if !member.is_empty() => form(format!("`{member}` of its {part} is {why}")),
            Category::Data => form(format!("its {part} is no JSON object")),
            _ => form(format!("its {part} is no JSON object ({} of line {})", json_fault(error), error.line())),
        }
    }
}

/// Where the JSON stands in memory, so that a text borrowed from it becomes a place in it.
#[derive(Clone, Copy)]
struct Place {
    base: usize,
    length: usize,
}

impl Place {
    fn of(json: &str) -> Place {
        Place { base: json.as_ptr() as usize, length: json.len() }
    }

    fn text(self, text: &str) -> Text {
        let start = (text.as_ptr() as usize).wrapping_sub(self.base);
        let end = start.saturating_add(text.len());
        match (u32::try_from(start), u32::try_from(end)) {
            (Ok(start), Ok(end_)) if end <= self.length => Text::At { start, end: end_ },
            _ => Text::Other(text.into()),
        }
    }
}

impl Header {
    fn read(json: &str, part: &str) -> Result<Header, Failure> {
        let mut fault = Fault { part: "header", member: "", why: "" };
        let mut reader = serde_json::Deserializer::from_str(part);
        let header = HeaderReader { place: Place::of(json), fault: &mut fault }.deserialize(&mut reader);
        let header = header.and_then(|header| reader.end().map(|()| header));
        let header = header.map_err(|error| fault.failure(&error))?;
        match header.alg {
            Some(_) => Ok(header),
            None => Err(form("its header has no `alg`")),
        }
    }
}

struct HeaderReader<'r> {
    place: Place,
    fault: &'r mut Fault<'static>,
}

impl<'de> DeserializeSeed<'de> for HeaderReader<'_> {
    type Value = Header;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Header, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for HeaderReader<'_> {
    type Value = Header;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Header, A::Error> {
        let mut header = Header::default();
        let mut others: Vec<Box<str>> = Vec::new();
        while let Some(member) = access.next_key_seed(MemberName)? {
            self.fault.member = member.name();
            let into = match member {
                Member::Alg => &mut header.alg,
                Member::Kid => &mut header.kid,
                Member::Typ => &mut header.typ,
                Member::Refused(_, why) => {
                    self.fault.why = why;
                    return Err(A::Error::custom(""));
                }
                Member::Other(name) => {
                    if others.len() == 32 || others.contains(&name) {
                        self.fault.member = "a member";
                        self.fault.why = "there twice, or there are too many";
                        return Err(A::Error::custom(""));
                    }
                    others.push(name);
                    access.next_value::<Skipped>()?;
                    continue;
                }
            };
            self.fault.why = "there twice";
            if into.is_some() {
                return Err(A::Error::custom(""));
            }
            self.fault.why = "no text";
            *into = Some(access.next_value_seed(OneText(self.place))?);
        }
        Ok(header)
    }
}

enum Member {
    Alg,
    Kid,
    Typ,
    Refused(&'static str, &'static str),
    /// `x5c` and `x5t` among them, which stand beside a `kid` with honest issuers and are not read.
    Other(Box<str>),
}

/// Members of a header that end the reading, and why.
const REFUSED: [(&str, &str); 8] = [
    // We understand no extension (RFC 7515 §4.1.11), and `b64: false` comes with one (RFC 7797 §6).
    ("crit", "an extension that would have to be understood"),
    ("b64", "an extension that would have to be understood"),
    // A token that brings its own key proves nothing; who sends one wants it to be used.
    ("jwk", "a key, and keys come from the issuer's key set only"),
    ("jku", "the address of a key, and keys come from the issuer's key set only"),
    ("x5u", "the address of a key, and keys come from the issuer's key set only"),
    ("cty", "the mark of a token within a token"),
    ("zip", "the mark of an encrypted token"),
    ("enc", "the mark of an encrypted token"),
];

impl Member {
    fn name(&self) -> &'static str {
        match self {
            Member::Alg => "alg",
            Member::Kid => "kid",
            Member::Typ => "typ",
            Member::Refused(name, _) => name,
            Member::Other(_) => "",
        }
    }
}

struct MemberName;

impl<'de> DeserializeSeed<'de> for MemberName {
    type Value = Member;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Member, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for MemberName {
    type Value = Member;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Member, E> {
        Ok(match name {
            "alg" => Member::Alg,
            "kid" => Member::Kid,
            "typ" => Member::Typ,
            _ => match REFUSED.iter().find(|(refused, _)| *refused == name) {
                Some((name, why)) => Member::Refused(name, why),
                None => Member::Other(name.into()),
            },
        })
    }
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
        }
    }
}

impl Claims {
    /// Characters of `sub`; OpenID Connect Core §2 allows 255.
    const MAX_SUBJECT: usize = 1024;

    fn read(json: &str, part: &str, wanted: &WantedClaims) -> Result<Claims, Failure> {
        let mut claims = Claims::default();
        let mut fault = Fault { part: "claim set", member: "", why: "" };
        let mut reader = serde_json::Deserializer::from_str(part);
        let place = Place::of(json);
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
                (None, None) => drop(access.next_value::<Skipped>()?),
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
            Claim::Nonce | Claim::AtHash | Claim::CHash => drop(Skipped::deserialize(deserializer)?),
            Claim::Events => {
                let logout = Value::deserialize(deserializer)?.get(LOGOUT_EVENT).is_some();
                claims.event = Some(if logout { Event::Logout } else { Event::Other });
            }
        }
        Ok(())
    }
}

struct OneText(Place);

impl<'de> DeserializeSeed<'de> for OneText {
    type Value = Text;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Text, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for OneText {
    type Value = Text;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Text, E> {
        Ok(self.0.text(text))
    }

    fn visit_str<E>(self, text: &str) -> Result<Text, E> {
        Ok(Text::Other(text.into()))
    }
}

/// A text, or a list of texts.
struct Texts<'c> {
    place: Place,
    into: &'c mut Vec<Text>,
}

impl<'de> Visitor<'de> for Texts<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text or a list of texts")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<(), E> {
        self.into.push(self.place.text(text));
        Ok(())
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        self.into.push(Text::Other(text.into()));
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<(), A::Error> {
        while let Some(text) = access.next_element_seed(OneText(self.place))? {
            self.into.push(text);
        }
        Ok(())
    }
}

/// Whole seconds since 1970. A text, null, a fraction or `1e300` is a parser's trap and no time.
struct Seconds(u64);

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Whole;
        impl Visitor<'_> for Whole {
            type Value = Seconds;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("whole seconds")
            }

            fn visit_u64<E: serde::de::Error>(self, seconds: u64) -> Result<Seconds, E> {
                match seconds <= MAX_TIME {
                    true => Ok(Seconds(seconds)),
                    false => Err(E::custom("")),
                }
            }
        }
        deserializer.deserialize_any(Whole)
    }
}

/// A value that nobody wants. Unlike [`IgnoredAny`] it goes no deeper than serde_json goes anywhere, 128 levels.
struct Skipped;

impl<'de> Deserialize<'de> for Skipped {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Anything;
        impl<'de> Visitor<'de> for Anything {
            type Value = Skipped;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("anything")
            }

            fn visit_bool<E>(self, _: bool) -> Result<Skipped, E> {
                Ok(Skipped)
            }

            fn visit_i64<E>(self, _: i64) -> Result<Skipped, E> {
                Ok(Skipped)
            }

            fn visit_u64<E>(self, _: u64) -> Result<Skipped, E> {
                Ok(Skipped)
            }

            fn visit_f64<E>(self, _: f64) -> Result<Skipped, E> {
                Ok(Skipped)
            }

            fn visit_str<E>(self, _: &str) -> Result<Skipped, E> {
                Ok(Skipped)
            }

            fn visit_unit<E>(self) -> Result<Skipped, E> {
                Ok(Skipped)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Skipped, A::Error> {
                while access.next_element::<Skipped>()?.is_some() {}
                Ok(Skipped)
            }

            fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Skipped, A::Error> {
                while access.next_key::<IgnoredAny>()?.is_some() {
                    access.next_value::<Skipped>()?;
                }
                Ok(Skipped)
            }
        }
        deserializer.deserialize_any(Anything)
    }
}
