//! Search filters (RFC 4515) with places for values that come later.
//!
//! Promise: a value put into a place is one value. The filter is read once, as a tree, and values go into its leaves as
//! bytes; no text is ever put together, so there is nothing that could be escaped wrongly.

use super::ber::{self, element};

/// A filter as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filter {
    And(Vec<Filter>),
    Or(Vec<Filter>),
    Not(Box<Filter>),
    /// `=`, `>=`, `<=` and `~=` by the tag of the choice.
    Compare(u8, String, Value),
    Present(String),
    /// Pieces by tag: initial, any, final.
    Substrings(String, Vec<(u8, Value)>),
    Extensible {
        rule: Option<String>,
        attribute: Option<String>,
        value: Value,
        dn: bool,
    },
}

/// A value: bytes, and places to be filled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Value(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Bytes(Vec<u8>),
    Place(Place),
}

/// A place in a filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// `{user}`: the name that was typed.
    User,
    /// `{dn}`: the name of the person's entry.
    Dn,
}

/// What fills the places.
#[derive(Clone, Copy, Debug, Default)]
pub struct Filling<'a> {
    pub user: &'a str,
    pub dn: &'a str,
}

/// Why a text is no filter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NoFilter(pub String);

const AND: u8 = 0xa0;
const OR: u8 = 0xa1;
const NOT: u8 = 0xa2;
const EQUAL: u8 = 0xa3;
const SUBSTRINGS: u8 = 0xa4;
const GREATER: u8 = 0xa5;
const LESS: u8 = 0xa6;
const PRESENT: u8 = 0x87;
const APPROXIMATE: u8 = 0xa8;
const EXTENSIBLE: u8 = 0xa9;
const INITIAL: u8 = 0x80;
const ANY: u8 = 0x81;
const FINAL: u8 = 0x82;
/// Filters within filters; more is nobody's wish.
const DEEPEST: usize = 16;

impl Filter {
    /// Reads a filter with its parentheses.
    pub fn parse(text: &str) -> Result<Filter, NoFilter> {
        let mut parser = Parser { rest: text.trim(), depth: 0 };
        let filter = parser.filter()?;
        match parser.rest.is_empty() {
            true => Ok(filter),
            false => Err(no(format!("`{}` stands behind its end", parser.rest))),
        }
    }

    /// One of `attributes` has the value that fills `{user}`.
    pub fn user_is(attributes: &[String]) -> Filter {
        let equal = |name: &String| Filter::Compare(EQUAL, name.clone(), Value(vec![Piece::Place(Place::User)]));
        match attributes {
            [one] => equal(one),
            several => Filter::Or(several.iter().map(equal).collect()),
        }
    }

    /// One of `attributes` has any value.
    pub fn has_one_of(attributes: &[String]) -> Filter {
        Filter::Or(attributes.iter().cloned().map(Filter::Present).collect())
    }

    /// Every entry.
    pub fn everything() -> Filter {
        Filter::Present("objectClass".into())
    }

    /// Whether `place` is somewhere in it.
    pub fn has(&self, place: Place) -> bool {
        let within = |value: &Value| value.0.contains(&Piece::Place(place));
        match self {
            Filter::And(inner) | Filter::Or(inner) => inner.iter().any(|filter| filter.has(place)),
            Filter::Not(inner) => inner.has(place),
            Filter::Compare(_, _, value) | Filter::Extensible { value, .. } => within(value),
            Filter::Substrings(_, pieces) => pieces.iter().any(|(_, value)| within(value)),
            Filter::Present(_) => false,
        }
    }

    /// The filter as LDAP sends it, its places filled.
    pub fn encode(&self, filling: Filling<'_>) -> Vec<u8> {
        let all = |tag, inner: &[Filter]| {
            ber::constructed(tag, &inner.iter().map(|filter| filter.encode(filling)).collect::<Vec<_>>())
        };
        match self {
            Filter::And(inner) => all(AND, inner),
            Filter::Or(inner) => all(OR, inner),
            Filter::Not(inner) => element(NOT, &inner.encode(filling)),
            Filter::Compare(tag, name, value) => {
                let parts = [element(ber::OCTETS, name.as_bytes()), element(ber::OCTETS, &value.fill(filling))];
                ber::constructed(*tag, &parts)
            }
            Filter::Present(name) => element(PRESENT, name.as_bytes()),
            Filter::Substrings(name, pieces) => {
                let pieces: Vec<_> = pieces.iter().map(|(tag, value)| element(*tag, &value.fill(filling))).collect();
                let parts = [element(ber::OCTETS, name.as_bytes()), ber::constructed(ber::SEQUENCE, &pieces)];
                ber::constructed(SUBSTRINGS, &parts)
            }
            Filter::Extensible { rule, attribute, value, dn } => {
                let mut parts = Vec::new();
                parts.extend(rule.iter().map(|rule| element(0x81, rule.as_bytes())));
                parts.extend(attribute.iter().map(|name| element(0x82, name.as_bytes())));
                parts.push(element(0x83, &value.fill(filling)));
                parts.extend(dn.then(|| element(0x84, &[0xff])));
                ber::constructed(EXTENSIBLE, &parts)
            }
        }
    }
}

impl Value {
    fn fill(&self, filling: Filling<'_>) -> Vec<u8> {
        let mut bytes = Vec::new();
        for piece in &self.0 {
            bytes.extend_from_slice(match piece {
                Piece::Bytes(own) => own,
                Piece::Place(Place::User) => filling.user.as_bytes(),
                Piece::Place(Place::Dn) => filling.dn.as_bytes(),
            });
        }
        bytes
    }

    fn push(&mut self, byte: u8) {
        match self.0.last_mut() {
            Some(Piece::Bytes(bytes)) => bytes.push(byte),
            _ => self.0.push(Piece::Bytes(vec![byte])),
        }
    }
}

fn no(what: impl Into<String>) -> NoFilter {
    NoFilter(what.into())
}

struct Parser<'a> {
    rest: &'a str,
    depth: usize,
}

impl Parser<'_> {
    fn take(&mut self, wanted: char) -> bool {
        let rest = self.rest.strip_prefix(wanted);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn filter(&mut self) -> Result<Filter, NoFilter> {
        if !self.take('(') {
            return Err(no("a filter begins with `(`"));
        }
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(no(format!("more than {DEEPEST} filters stand within each other")));
        }
        let filter = if self.take('&') {
            Filter::And(self.list()?)
        } else if self.take('|') {
            Filter::Or(self.list()?)
        } else if self.take('!') {
            Filter::Not(Box::new(self.filter()?))
        } else {
            self.item()?
        };
        self.depth -= 1;
        match self.take(')') {
            true => Ok(filter),
            false => Err(no("a `(` is not closed")),
        }
    }

    fn list(&mut self) -> Result<Vec<Filter>, NoFilter> {
        let mut all = Vec::new();
        while self.rest.starts_with('(') {
            all.push(self.filter()?);
        }
        match all.is_empty() {
            true => Err(no("`&` and `|` stand before at least one filter")),
            false => Ok(all),
        }
    }

    fn item(&mut self) -> Result<Filter, NoFilter> {
        let equals = self.rest.find(['=', '(', ')']).filter(|&at| self.rest.as_bytes()[at] == b'=');
        let equals = equals.ok_or_else(|| no("a comparison is not of the form `(attribute=value)`"))?;
        let (left, rest) = (&self.rest[..equals], &self.rest[equals + 1..]);
        let end = rest.find(['(', ')']).unwrap_or(rest.len());
        let (right, after) = rest.split_at(end);
        if after.starts_with('(') {
            return Err(no("a value has a `(`; write it as `\\28`"));
        }
        self.rest = after;
        let (name, tag) = match left.as_bytes().last() {
            Some(b'>') => (&left[..left.len() - 1], GREATER),
            Some(b'<') => (&left[..left.len() - 1], LESS),
            Some(b'~') => (&left[..left.len() - 1], APPROXIMATE),
            Some(b':') => return extensible(&left[..left.len() - 1], right),
            _ => (left, EQUAL),
        };
        let name = attribute(name)?;
        if tag != EQUAL {
            return Ok(Filter::Compare(tag, name, single(right)?));
        }
        match values(right)?.as_mut_slice() {
            [value] => Ok(Filter::Compare(EQUAL, name, std::mem::take(value))),
            [first, last] if first.0.is_empty() && last.0.is_empty() => Ok(Filter::Present(name)),
            [first, any @ .., last] => {
                let pieces = std::iter::once((INITIAL, first))
                    .chain(any.iter_mut().map(|piece| (ANY, piece)))
                    .chain(std::iter::once((FINAL, last)));
                let pieces = pieces.filter(|(_, value)| !value.0.is_empty());
                Ok(Filter::Substrings(name, pieces.map(|(tag, value)| (tag, std::mem::take(value))).collect()))
            }
            [] => Err(no("a value is missing")),
        }
    }
}

fn attribute(name: &str) -> Result<String, NoFilter> {
    let name = name.trim();
    match is_attribute(name) {
        true => Ok(name.to_owned()),
        false => Err(no(format!("`{name}` is no name of an attribute"))),
    }
}

/// Whether it can be the name of an attribute, options behind a semicolon included (RFC 4512 §2.5).
pub fn is_attribute(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b';'))
}

/// `name:dn:rule:=value`.
fn extensible(left: &str, right: &str) -> Result<Filter, NoFilter> {
    let mut parts = left.split(':');
    let name = parts.next().unwrap_or_default();
    let (mut dn, mut rule) = (false, None);
    for part in parts {
        match part {
            "dn" if !dn && rule.is_none() => dn = true,
            part if rule.is_none() => rule = Some(attribute(part)?),
            _ => return Err(no("`:=` follows more than one matching rule")),
        }
    }
    let name = if name.trim().is_empty() { None } else { Some(attribute(name)?) };
    if name.is_none() && rule.is_none() {
        return Err(no("`:=` stands behind neither an attribute nor a matching rule"));
    }
    Ok(Filter::Extensible { rule, attribute: name, value: single(right)?, dn })
}

fn single(text: &str) -> Result<Value, NoFilter> {
    let mut values = values(text)?;
    match (values.pop(), values.len()) {
        (Some(value), 0) => Ok(value),
        _ => Err(no("a `*` stands where no part of a value can be left out; write it as `\\2a`")),
    }
}

/// The values between the stars.
fn values(text: &str) -> Result<Vec<Value>, NoFilter> {
    let mut all = vec![Value::default()];
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let after = &rest[c.len_utf8()..];
        let Some(value) = all.last_mut() else { break };
        rest = match c {
            '*' => {
                all.push(Value::default());
                after
            }
            '\\' => {
                let byte = after.get(..2).filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()));
                let byte = byte.and_then(|digits| u8::from_str_radix(digits, 16).ok());
                value.push(byte.ok_or_else(|| no("a `\\` stands before two hexadecimal digits, as in `\\2a`"))?);
                &after[2..]
            }
            '{' => {
                let (place, length) = [("user}", Place::User), ("dn}", Place::Dn)]
                    .into_iter()
                    .find_map(|(word, place)| after.starts_with(word).then_some((place, word.len())))
                    .ok_or_else(|| no("what stands in braces is `{user}` or `{dn}`; a brace itself is `\\7b`"))?;
                value.0.push(Piece::Place(place));
                &after[length..]
            }
            c => {
                c.encode_utf8(&mut [0; 4]).bytes().for_each(|byte| value.push(byte));
                after
            }
        };
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encode(text: &str, user: &str) -> Vec<u8> {
        Filter::parse(text).unwrap_or_else(|e| panic!("{text}: {e}")).encode(Filling { user, dn: "cn=x" })
    }

    #[test]
    fn whatever_is_typed_is_one_value_of_one_comparison() {
        for user in ["bob", "*", "bob)(uid=*", "*)(|(uid=*", "a\\2ab", "{dn}", "(", ")", "\u{fc}", "a\0b", "bob*"] {
            let mut value = vec![0x04, user.len() as u8];
            value.extend_from_slice(user.as_bytes());
            let mut wanted = vec![0xa3, (5 + value.len()) as u8, 0x04, 3];
            wanted.extend_from_slice(b"uid");
            wanted.extend(value);
            assert_eq!(encode("(uid={user})", user), wanted, "{user:?}");
            assert_eq!(Filter::user_is(&["uid".into()]).encode(Filling { user, dn: "" }), wanted, "{user:?}");
        }
    }

    #[test]
    fn filters_are_read_as_rfc_4515_writes_them() {
        assert_eq!(encode("(cn=*)", ""), b"\x87\x02cn");
        assert_eq!(encode("(cn=\\2a)", ""), b"\xa3\x07\x04\x02cn\x04\x01*");
        assert_eq!(encode("(!(cn>=1))", ""), b"\xa2\x09\xa5\x07\x04\x02cn\x04\x011");
        assert_eq!(encode("(cn=a*b*c)", ""), b"\xa4\x0f\x04\x02cn\x30\x09\x80\x01a\x81\x01b\x82\x01c");
        assert_eq!(encode("(cn=*b*)", ""), b"\xa4\x09\x04\x02cn\x30\x03\x81\x01b");
        assert_eq!(
            encode("(&(objectClass=person)(|(uid={user})(mail={user})))", "b"),
            b"\xa0\x2e\xa3\x15\x04\x0bobjectClass\x04\x06person\xa1\x15\xa3\x08\x04\x03uid\x04\x01b\xa3\x09\x04\x04mail\x04\x01b"
                .as_slice()
        );
        assert_eq!(
            encode("(memberOf:1.2.840.113556.1.4.1941:={dn})", ""),
            b"\xa9\x29\x81\x171.2.840.113556.1.4.1941\x82\x08memberOf\x83\x04cn=x".as_slice()
        );
    }

    #[test]
    fn what_is_no_filter_is_told() {
        for text in [
            "",
            "uid={user}",
            "(uid={user}",
            "(uid={user}))",
            "(uid=a(b)",
            "(&)",
            "(uid={name})",
            "(uid=\\zz)",
            "(uid=\\2)",
            "(=x)",
            "(u id=x)",
            "(uid>=a*)",
            "(:=x)",
            "(uid)",
            "(a=\\+f)",
        ] {
            assert!(Filter::parse(text).is_err(), "{text}");
        }
        assert!(Filter::parse(&format!("{}(a=b){}", "(!".repeat(50), ")".repeat(50))).is_err());
        assert!(Filter::parse("(uid={user})").is_ok_and(|f| f.has(Place::User) && !f.has(Place::Dn)));
    }
}
