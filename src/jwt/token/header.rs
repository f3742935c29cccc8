//! The header (RFC 7515 §4): which algorithm and key it names, and what no honest issuer writes into one.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, Visitor};

use super::form;
use super::json::{Fault, OneText, Place, Skipped, Text};
use crate::config::model::TokenAlgorithm::{self, *};
use crate::reason::Failure;

#[derive(Default)]
pub(super) struct Header {
    pub alg: Option<Text>,
    pub kid: Option<Text>,
    pub typ: Option<Text>,
}

/// The algorithm of that name; `None` for `none`, whatever its case, and for all that we do not know.
pub fn algorithm(name: &str) -> Option<TokenAlgorithm> {
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

impl Header {
    pub(super) fn read(place: Place, part: &str) -> Result<Header, Failure> {
        let mut fault = Fault { part: "header", member: "", why: "" };
        let mut reader = serde_json::Deserializer::from_str(part);
        let header = HeaderReader { place, fault: &mut fault }.deserialize(&mut reader);
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
