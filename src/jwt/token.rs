//! Reading a JWT in compact form (RFC 7515 §7.1, RFC 7519) before anything about it is known to be true.
//!
//! Promise: bounds come before parsing; each part is decoded and parsed once; what two parsers could read differently
//! (padding, bits after the end, a member that is there twice) is refused; claims that nobody wants cost no memory.

mod claims;
mod header;
mod json;
mod wanted;

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use memchr::memchr_iter;
use serde_json::{Map, Value};

use self::claims::Claims;
pub(super) use self::claims::Event;
use self::header::Header;
pub use self::header::algorithm;
pub(super) use self::json::MAX_TIME;
use self::json::{Place, Text};
pub use self::wanted::WantedClaims;
use crate::reason::{Failure, Reason};

/// Bytes of a whole token, whatever the configuration allows.
const MAX_TOKEN: usize = 512 * 1024;
/// Bytes of the encoded header.
const MAX_HEADER: usize = 4 * 1024;
/// Bytes of the encoded signature: RSA of 8192 bit has 1366.
const MAX_SIGNATURE: usize = 1400;
/// A token that was read and not verified: nothing it says is true yet.
pub struct Unverified<'t> {
    /// Header and claims as they were signed (RFC 7515 §5.2).
    pub(super) signed: &'t [u8],
    pub(super) signature: Vec<u8>,
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

impl<'t> Unverified<'t> {
    /// Whether it can be a JWT at all: three parts, of which the first may be a JSON object. Others can be introspected.
    pub fn looks_like_one(token: &[u8]) -> bool {
        token.starts_with(b"ey") && memchr_iter(b'.', token).count() == 2
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
        let header = Header::read(Place::of(&json), first)?;
        let claims = Claims::read(Place::of(&json), second, wanted)?;
        Ok(Unverified { signed, signature: octets, json, header, claims })
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
        self.claims.has_marks_of_an_id_token()
    }

    /// Whether it is good only together with a key (RFC 7800 §3.1).
    pub(super) fn is_bound(&self) -> bool {
        self.claims.is_bound()
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
    let mut dots = memchr_iter(b'.', token);
    let (Some(first), Some(second), None) = (dots.next(), dots.next(), dots.next()) else {
        let dots = memchr_iter(b'.', token).count();
        return Err(form(match dots {
            4 => "token is encrypted (a JWE), and signed ones are read".into(),
            _ => format!("token has {dots} dots; a signed JWT has two"),
        }));
    };
    let (header, claims, signature) = (&token[..first], &token[first + 1..second], &token[second + 1..]);
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
