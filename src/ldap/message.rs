//! The messages of LDAP (RFC 4511 §4) that signing in takes.

use std::collections::HashMap;

use zeroize::Zeroizing;

use super::Malformed;
use super::ber::{self, BOOLEAN, ENUMERATED, INTEGER, OCTETS, Reader, SEQUENCE, SET, constructed, element, number};

/// Most bytes of one message: an entry with some thousand groups fits.
pub const MAX_MESSAGE: usize = 1024 * 1024;
/// Most attributes of one entry; a search asks for a dozen.
const MOST_ATTRIBUTES: usize = 1000;
/// Most values of one entry: an empty one takes two bytes on the way and twenty-four in memory.
const MOST_VALUES: usize = 50_000;

/// `success`.
pub const SUCCESS: i32 = 0;
pub const SIZE_LIMIT_EXCEEDED: i32 = 4;
pub const REFERRAL: i32 = 10;
pub const CONFIDENTIALITY_REQUIRED: i32 = 13;
pub const NO_SUCH_OBJECT: i32 = 32;
pub const INAPPROPRIATE_AUTHENTICATION: i32 = 48;
pub const INVALID_CREDENTIALS: i32 = 49;
pub const INSUFFICIENT_ACCESS: i32 = 50;
pub const UNWILLING_TO_PERFORM: i32 = 53;

/// How a result code is called (RFC 4511 appendix A), for logs.
pub fn name_of(code: i32) -> &'static str {
    match code {
        0 => "success",
        1 => "operationsError",
        2 => "protocolError",
        3 => "timeLimitExceeded",
        4 => "sizeLimitExceeded",
        7 => "authMethodNotSupported",
        8 => "strongerAuthRequired",
        10 => "referral",
        11 => "adminLimitExceeded",
        13 => "confidentialityRequired",
        19 => "constraintViolation",
        32 => "noSuchObject",
        34 => "invalidDNSyntax",
        48 => "inappropriateAuthentication",
        49 => "invalidCredentials",
        50 => "insufficientAccessRights",
        51 => "busy",
        52 => "unavailable",
        53 => "unwillingToPerform",
        _ => "another result",
    }
}

/// Where a search looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The base alone.
    Base,
    Subtree,
}

/// A search.
#[derive(Clone, Debug)]
pub struct Search<'a> {
    pub base: &'a str,
    pub scope: Scope,
    /// Most entries; the server is asked for no more.
    pub size_limit: i32,
    /// In seconds.
    pub time_limit: i32,
    /// Encoded.
    pub filter: Vec<u8>,
    pub attributes: &'a [String],
}

fn message(id: i32, operation: Vec<u8>) -> Vec<u8> {
    constructed(SEQUENCE, &[number(INTEGER, id), operation])
}

/// A simple bind (§4.2).
pub fn bind(id: i32, dn: &str, password: &str) -> Zeroizing<Vec<u8>> {
    let password = Zeroizing::new(element(0x80, password.as_bytes()));
    let mut content = Zeroizing::new(number(INTEGER, 3));
    // In one go: a buffer that grows leaves what it held behind.
    content.reserve_exact(dn.len() + password.len() + 16);
    content.extend_from_slice(&element(OCTETS, dn.as_bytes()));
    content.extend_from_slice(&password);
    let operation = Zeroizing::new(element(0x60, &content));
    let mut whole = Zeroizing::new(number(INTEGER, id));
    whole.reserve_exact(operation.len() + 16);
    whole.extend_from_slice(&operation);
    Zeroizing::new(element(SEQUENCE, &whole))
}

/// An unbind (§4.3), which has no answer.
pub fn unbind(id: i32) -> Vec<u8> {
    message(id, element(0x42, &[]))
}

/// A search (§4.5.1) that follows no alias: an alias could lead out of the base.
pub fn search(id: i32, search: &Search<'_>) -> Vec<u8> {
    let scope = match search.scope {
        Scope::Base => 0,
        Scope::Subtree => 2,
    };
    let attributes: Vec<_> = search.attributes.iter().map(|name| element(OCTETS, name.as_bytes())).collect();
    let parts = [
        element(OCTETS, search.base.as_bytes()),
        number(ENUMERATED, scope),
        number(ENUMERATED, 0),
        number(INTEGER, search.size_limit),
        number(INTEGER, search.time_limit),
        element(BOOLEAN, &[0]),
        search.filter.clone(),
        constructed(SEQUENCE, &attributes),
    ];
    message(id, constructed(0x63, &parts))
}

/// StartTLS (§4.14).
pub fn start_tls(id: i32) -> Vec<u8> {
    message(id, constructed(0x77, &[element(0x80, b"1.3.6.1.4.1.1466.20037")]))
}

/// What a server answered, and to which message.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    pub id: i32,
    pub operation: Operation,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Operation {
    Bound(Outcome),
    Entry(Entry),
    /// A place where the search could go on, which nobody does.
    Reference,
    Done(Outcome),
    Extended(Outcome),
}

/// Result code and what the server says beside it.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    pub code: i32,
    pub text: String,
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", name_of(self.code), self.code)?;
        if !self.text.is_empty() {
            write!(f, ": {:?}", self.text)?;
        }
        Ok(())
    }
}

/// An entry that was found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Entry {
    pub dn: String,
    pub attributes: Vec<(String, Vec<Vec<u8>>)>,
}

impl Entry {
    /// The values of an attribute, whose name has no case; none where it has none.
    pub fn values(&self, name: &str) -> &[Vec<u8>] {
        let found = self.attributes.iter().find(|(own, _)| own.eq_ignore_ascii_case(name));
        found.map_or(&[], |(_, values)| values)
    }

    /// How many pieces of memory it takes: itself, its attributes, and their values.
    pub fn pieces(&self) -> usize {
        1 + self.attributes.iter().map(|(_, values)| 1 + values.len()).sum::<usize>()
    }

    /// Those that are text.
    pub fn texts(&self, name: &str) -> impl Iterator<Item = &str> {
        self.values(name).iter().filter_map(|value| std::str::from_utf8(value).ok())
    }
}

/// Reads one message, whole.
pub fn read(bytes: &[u8]) -> Result<Answer, Malformed> {
    let mut message = Reader(Reader(bytes).expect(SEQUENCE)?);
    let id = message.number(INTEGER)?;
    let (tag, content) = message.next()?;
    let mut inner = Reader(content);
    let operation = match tag {
        0x61 => Operation::Bound(outcome(&mut inner)?),
        0x64 => Operation::Entry(entry(&mut inner)?),
        0x65 => Operation::Done(outcome(&mut inner)?),
        0x73 => Operation::Reference,
        0x78 => Operation::Extended(outcome(&mut inner)?),
        _ => return Err(Malformed("an operation that no client is sent")),
    };
    Ok(Answer { id, operation })
}

fn outcome(reader: &mut Reader<'_>) -> Result<Outcome, Malformed> {
    let code = reader.number(ENUMERATED)?;
    reader.expect(OCTETS)?;
    let text = String::from_utf8_lossy(reader.expect(OCTETS)?);
    Ok(Outcome { code, text: text.trim_end_matches('\0').chars().take(200).collect() })
}

fn entry(reader: &mut Reader<'_>) -> Result<Entry, Malformed> {
    let dn = std::str::from_utf8(reader.expect(OCTETS)?).map_err(|_| Malformed("an entry's name is no UTF-8"))?;
    let mut list = Reader(reader.expect(SEQUENCE)?);
    let mut attributes: Vec<(String, Vec<Vec<u8>>)> = Vec::new();
    let (mut places, mut count, mut pairs) = (HashMap::new(), 0, 0);
    while !list.is_empty() {
        let mut pair = Reader(list.expect(SEQUENCE)?);
        pairs += 1;
        if pairs > MOST_ATTRIBUTES {
            return Err(Malformed("an entry has more than 1000 attributes"));
        }
        let name =
            std::str::from_utf8(pair.expect(OCTETS)?).map_err(|_| Malformed("an attribute's name is no text"))?;
        let mut set = Reader(pair.expect(SET)?);
        // One attribute in two pieces is one: else the second piece would not be seen.
        let place = *places.entry(name.to_ascii_lowercase()).or_insert_with(|| {
            attributes.push((name.to_owned(), Vec::new()));
            attributes.len() - 1
        });
        let values = attributes.get_mut(place).map(|(_, values)| values).ok_or(Malformed("an attribute is lost"))?;
        while !set.is_empty() {
            count += 1;
            if count > MOST_VALUES {
                return Err(Malformed("an entry has more than 50000 values"));
            }
            values.push(set.expect(OCTETS)?.to_vec());
        }
    }
    Ok(Entry { dn: dn.to_owned(), attributes })
}

/// Bytes of the first message in `bytes`, which has at most `most` of content; `None` while its length is not there yet.
pub fn length(bytes: &[u8], most: usize) -> Result<Option<usize>, Malformed> {
    if bytes.first().is_some_and(|&tag| tag != SEQUENCE) {
        return Err(Malformed("what came is no LDAP message"));
    }
    match ber::length(bytes)? {
        Some((head, length)) if length <= most => Ok(Some(head + length)),
        Some(_) => Err(Malformed("a message is longer than any that was asked for")),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bind_is_what_the_standard_says() {
        assert_eq!(bind(1, "cn=a", "pw").as_slice(), b"\x30\x12\x02\x01\x01\x60\x0d\x02\x01\x03\x04\x04cn=a\x80\x02pw");
        assert_eq!(unbind(2), b"\x30\x05\x02\x01\x02\x42\x00");
    }

    #[test]
    fn entries_and_results_are_read() {
        let attribute = constructed(
            SEQUENCE,
            &[element(OCTETS, b"mail"), constructed(SET, &[element(OCTETS, b"a@b"), element(OCTETS, b"\xff")])],
        );
        let operation = constructed(0x64, &[element(OCTETS, b"uid=a"), constructed(SEQUENCE, &[attribute])]);
        let Answer { id: 7, operation: Operation::Entry(entry) } = read(&message(7, operation)).expect("a message")
        else {
            panic!("no entry");
        };
        assert_eq!((entry.dn.as_str(), entry.values("MAIL").len()), ("uid=a", 2));
        assert_eq!(entry.texts("mail").collect::<Vec<_>>(), ["a@b"]);
        let done = constructed(0x65, &[number(ENUMERATED, 49), element(OCTETS, b""), element(OCTETS, b"no")]);
        let outcome = Outcome { code: 49, text: "no".into() };
        assert_eq!(read(&message(7, done)), Ok(Answer { id: 7, operation: Operation::Done(outcome) }));
    }

    #[test]
    fn an_attribute_in_two_pieces_is_one() {
        let piece = |name: &[u8], value: &[u8]| {
            constructed(SEQUENCE, &[element(OCTETS, name), constructed(SET, &[element(OCTETS, value)])])
        };
        let pieces = [piece(b"uid", b"a"), piece(b"mail", b"m"), piece(b"UID", b"b")];
        let operation = constructed(0x64, &[element(OCTETS, b"cn=x"), constructed(SEQUENCE, &pieces)]);
        let Ok(Answer { operation: Operation::Entry(entry), .. }) = read(&message(1, operation)) else {
            panic!("no entry");
        };
        assert_eq!(entry.texts("uid").collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn an_entry_of_more_attributes_or_values_than_anybody_s_is_refused() {
        let entry = |attributes: &[Vec<u8>]| {
            let list = constructed(SEQUENCE, attributes);
            read(&message(1, constructed(0x64, &[element(OCTETS, b"cn=x"), list])))
        };
        let named = |n: usize, values: usize| {
            let name = element(OCTETS, format!("a{n}").as_bytes());
            constructed(SEQUENCE, &[name, element(SET, &b"\x04\x00".repeat(values))])
        };
        let (usual, many) = (MOST_ATTRIBUTES, MOST_ATTRIBUTES + 1);
        assert!(entry(&(0..usual).map(|n| named(n, 1)).collect::<Vec<_>>()).is_ok());
        assert!(entry(&(0..many).map(|n| named(n, 0)).collect::<Vec<_>>()).is_err());
        assert!(entry(&vec![named(0, 0); many]).is_err());
        assert!(entry(&[named(0, MOST_VALUES)]).is_ok());
        assert!(entry(&[named(0, MOST_VALUES), named(1, 1)]).is_err());
    }

    #[test]
    fn no_bytes_make_it_panic() {
        let attribute = constructed(SEQUENCE, &[element(OCTETS, b"m"), constructed(SET, &[element(OCTETS, b"v")])]);
        let entry = constructed(0x64, &[element(OCTETS, b"uid=a"), constructed(SEQUENCE, &[attribute])]);
        let good = message(300, entry);
        for at in 0..good.len() {
            let _ = read(&good[..at]);
            for byte in 0..=255 {
                let mut bad = good.clone();
                bad[at] = byte;
                let _ = (read(&bad), length(&bad, MAX_MESSAGE));
            }
        }
        let length = |bytes| length(bytes, MAX_MESSAGE);
        assert!(length(b"\x30\x84\x7f\xff\xff\xff").is_err() && length(b"HTTP/1.1").is_err());
        assert_eq!((length(b""), length(b"\x30"), length(b"\x30\x03")), (Ok(None), Ok(None), Ok(Some(5))));
        assert!(super::length(b"\x30\x03", 2).is_err());
    }
}
