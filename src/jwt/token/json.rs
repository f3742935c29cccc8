//! Reading JSON so that texts are not copied, and saying what was wrong without quoting it.

use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::error::Category;

use super::form;
use crate::reason::Failure;
use crate::words::json_fault;

/// The year 9999: a time beyond it is no time.
pub(in crate::jwt) const MAX_TIME: u64 = 253_402_300_799;

/// A text of the token: where it stands, or what it is where an escape made it another one.
pub(super) enum Text {
    At { start: u32, end: u32 },
    Other(Box<str>),
}

/// What was being read when something turned out to be wrong with it.
pub(super) struct Fault<'f> {
    pub part: &'static str,
    pub member: &'f str,
    pub why: &'static str,
}

impl Fault<'_> {
    pub(super) fn failure(&self, error: &serde_json::Error) -> Failure {
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
pub(super) struct Place {
    base: usize,
    length: usize,
}

impl Place {
    pub(super) fn of(json: &str) -> Place {
        Place { base: json.as_ptr() as usize, length: json.len() }
    }

    pub(super) fn text(self, text: &str) -> Text {
        let start = (text.as_ptr() as usize).wrapping_sub(self.base);
        let end = start.saturating_add(text.len());
        match (u32::try_from(start), u32::try_from(end)) {
            (Ok(start), Ok(end_)) if end <= self.length => Text::At { start, end: end_ },
            _ => Text::Other(text.into()),
        }
    }
}

pub(super) struct OneText(pub Place);

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
pub(super) struct Texts<'c> {
    pub place: Place,
    pub into: &'c mut Vec<Text>,
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
pub(super) struct Seconds(pub u64);

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
pub(super) struct Skipped;

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
