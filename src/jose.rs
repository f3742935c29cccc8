//! What JOSE's compact forms and the answers around them have in common: parts in base64url, and JSON objects in which every
//! name stands once.
//!
//! Promise: what is wrong is said without a byte of the text.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::{Map, Value};

use crate::words::json_fault;

/// How serde's message about a name that stands twice begins.
const TWICE: &str = "a member comes twice at the end";

/// A JSON object in which every name stands once, because two parsers may take different ones of two.
#[derive(Debug)]
pub struct Members(pub Map<String, Value>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Each;
        impl<'de> Visitor<'de> for Each {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Members, A::Error> {
                let mut members = Map::new();
                while let Some((name, value)) = access.next_entry::<String, Value>()? {
                    if members.insert(name, value).is_some() {
                        return Err(de::Error::custom(TWICE));
                    }
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Each)
    }
}

impl Members {
    /// The object that `json` is, or what is wrong with it and where.
    pub fn read(json: &[u8]) -> Result<Map<String, Value>, String> {
        // serde_json goes 128 levels deep and no deeper.
        serde_json::from_slice(json)
            .map(|Members(members)| members)
            .map_err(|error| format!("no JSON object of single members ({} of line {})", fault(&error), error.line()))
    }
}

/// What is wrong with a JSON text that [`Members`] are in, without quoting it.
pub fn fault(error: &serde_json::Error) -> &'static str {
    if error.to_string().starts_with(TWICE) { TWICE } else { json_fault(error) }
}

/// Base64url without padding (RFC 7515 §2), and nothing else.
pub fn base64url(part: &str, name: &str) -> Result<Vec<u8>, String> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| format!("its {name} is no base64url"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_two_parsers_read_differently_is_refused_without_quoting_it() {
        assert_eq!(Members::read(b"{\"a\":1,\"b\":{\"a\":2}}").expect("single").len(), 2);
        for (json, why) in [
            ("{\"s3cret\":1,\n\"s3cret\":1}", "a member comes twice"),
            ("{\"a\":1,\"\\u0061\":1}", "a member comes twice"),
            ("[\"s3cret\"]", "another type"),
            ("{\"a\":s3cret}", "a syntax error"),
            ("{\"a\":", "cut off"),
        ] {
            let said = Members::read(json.as_bytes()).expect_err(json);
            assert!(said.contains(why) && !said.contains("s3cret"), "{said}");
        }
    }

    #[test]
    fn no_other_spelling_of_base64_is_read() {
        assert_eq!(base64url("_-8", "part"), Ok(vec![0xff, 0xef]));
        for text in ["_-8=", "/+8", "_-9", "_-8 ", "_"] {
            assert_eq!(base64url(text, "part"), Err("its part is no base64url".into()), "{text}");
        }
    }
}
