//! Distinguished names as text (RFC 4514).

use std::fmt;

/// A name, its last part (the one nearest to the root) last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dn(Vec<Vec<(String, Vec<u8>)>>);

/// Why a text is no distinguished name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NoDn(pub &'static str);

impl Dn {
    /// Reads `text`. The empty text is the root's name.
    pub fn parse(text: &str) -> Result<Dn, NoDn> {
        let bytes = text.as_bytes();
        let mut parts = Vec::new();
        let mut at = skip_spaces(bytes, 0);
        if at == bytes.len() {
            return Ok(Dn::default());
        }
        loop {
            let mut part = Vec::new();
            loop {
                let (pair, next) = pair(bytes, at)?;
                part.push(pair);
                at = next;
                if bytes.get(at) != Some(&b'+') {
                    break;
                }
                at += 1;
            }
            parts.push(part);
            match bytes.get(at) {
                None => return Ok(Dn(parts)),
                // `;` was a separator once (RFC 1779), and is still written.
                Some(b',' | b';') => at += 1,
                Some(_) => return Err(NoDn("there is something between two parts that is no comma")),
            }
        }
    }

    /// Attribute and value of the first part: the entry's own name beside its siblings.
    pub fn first(&self) -> Option<(&str, String)> {
        let (name, value) = self.0.first()?.first()?;
        Some((name, String::from_utf8_lossy(value).into_owned()))
    }

    /// Names and values of all parts, in order.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.0.iter().flatten().map(|(name, value)| (name.as_str(), value.as_slice()))
    }

    /// A text that two spellings of a name share: case and superfluous spaces do not count, as in nearly every
    /// directory's matching rules for names.
    pub fn key(&self) -> String {
        let pair = |(name, value): &(String, Vec<u8>)| {
            let value = String::from_utf8_lossy(value).to_lowercase();
            let value = value.split_whitespace().collect::<Vec<_>>().join(" ");
            format!("{}={:?}", name.to_ascii_lowercase(), value)
        };
        let part = |part: &Vec<(String, Vec<u8>)>| {
            let mut pairs: Vec<_> = part.iter().map(pair).collect();
            pairs.sort_unstable();
            pairs.join("+")
        };
        self.0.iter().map(part).collect::<Vec<_>>().join(",")
    }
}

/// Escapes a value so that it is one in a distinguished name (RFC 4514 §2.4).
pub struct Escaped<'a>(pub &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let last = self.0.chars().count().saturating_sub(1);
        for (index, c) in self.0.chars().enumerate() {
            match c {
                '\0' => f.write_str("\\00")?,
                ' ' if index == 0 || index == last => f.write_str("\\ ")?,
                '#' if index == 0 => f.write_str("\\#")?,
                '"' | '+' | ',' | ';' | '<' | '>' | '\\' | '=' => write!(f, "\\{c}")?,
                c => write!(f, "{c}")?,
            }
        }
        Ok(())
    }
}

fn skip_spaces(bytes: &[u8], mut at: usize) -> usize {
    while bytes.get(at) == Some(&b' ') {
        at += 1;
    }
    at
}

/// `name=value` at `at`, and where it ends.
fn pair(bytes: &[u8], at: usize) -> Result<((String, Vec<u8>), usize), NoDn> {
    let start = skip_spaces(bytes, at);
    let length = bytes[start..].iter().take_while(|&&b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.')).count();
    let end = start + length;
    let equals = skip_spaces(bytes, end);
    if length == 0 || bytes.get(equals) != Some(&b'=') {
        return Err(NoDn("a part is not of the form `name=value`"));
    }
    // Plain ASCII, as was just seen.
    let name = String::from_utf8_lossy(&bytes[start..end]).into_owned();
    let start = skip_spaces(bytes, equals + 1);
    let (value, end) = match bytes.get(start) {
        Some(b'"') => quoted(bytes, start + 1)?,
        Some(b'#') => hexadecimal(bytes, start + 1)?,
        _ => plain(bytes, start)?,
    };
    if value.is_empty() {
        return Err(NoDn("a part has no value"));
    }
    Ok(((name, value), end))
}

fn hex(bytes: &[u8], at: usize) -> Option<u8> {
    let digit = |at: usize| char::from(*bytes.get(at)?).to_digit(16);
    Some((digit(at)? * 16 + digit(at + 1)?) as u8)
}

/// The byte that a backslash before `at` stands for, and how many bytes spell it.
fn escaped(bytes: &[u8], at: usize) -> Result<(u8, usize), NoDn> {
    match (hex(bytes, at), bytes.get(at)) {
        (Some(byte), _) => Ok((byte, 2)),
        (None, Some(&byte)) if b" \"#+,;<=>\\".contains(&byte) => Ok((byte, 1)),
        _ => Err(NoDn("a backslash stands before something that needs none")),
    }
}

fn plain(bytes: &[u8], mut at: usize) -> Result<(Vec<u8>, usize), NoDn> {
    let mut value = Vec::new();
    // Spaces at the end count only where they are escaped.
    let mut keep = 0;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b',' | b';' | b'+' => break,
            b'"' | b'<' | b'>' | 0 => return Err(NoDn("a value has a character that must be escaped")),
            b'\\' => {
                let (byte, length) = escaped(bytes, at + 1)?;
                value.push(byte);
                keep = value.len();
                at += 1 + length;
            }
            byte => {
                value.push(byte);
                if byte != b' ' {
                    keep = value.len();
                }
                at += 1;
            }
        }
    }
    value.truncate(keep);
    Ok((value, at))
}

/// RFC 2253 §4 has readers understand it.
fn quoted(bytes: &[u8], mut at: usize) -> Result<(Vec<u8>, usize), NoDn> {
    let mut value = Vec::new();
    loop {
        match bytes.get(at) {
            None => return Err(NoDn("a quote is not closed")),
            Some(b'"') => return Ok((value, skip_spaces(bytes, at + 1))),
            Some(b'\\') => {
                let (byte, length) = escaped(bytes, at + 1)?;
                value.push(byte);
                at += 1 + length;
            }
            Some(&byte) => {
                value.push(byte);
                at += 1;
            }
        }
    }
}

fn hexadecimal(bytes: &[u8], mut at: usize) -> Result<(Vec<u8>, usize), NoDn> {
    let mut value = Vec::new();
    while let Some(byte) = hex(bytes, at) {
        value.push(byte);
        at += 2;
    }
    match value.is_empty() {
        true => Err(NoDn("`#` stands before something that is not hexadecimal")),
        false => Ok((value, skip_spaces(bytes, at))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_spellings_of_one_name_have_one_key() {
        for (one, other) in [
            ("uid=bob,dc=example,dc=org", "UID=Bob, DC=Example , dc=org"),
            ("cn=A\\, B,dc=x", "cn=\"A, B\",dc=x"),
            ("cn=A\\2C B,dc=x", "cn=a\\,  b;dc=X"),
            ("cn=a+uid=b,dc=x", "uid=b + cn=a,dc=x"),
            ("cn=\\c3\\bc,dc=x", "cn=Ü,dc=x"),
        ] {
            let key = |text: &str| Dn::parse(text).unwrap_or_else(|e| panic!("{text}: {e}")).key();
            assert_eq!(key(one), key(other));
        }
        let key = |text: &str| Dn::parse(text).expect("a name").key();
        assert_ne!(key("cn=a\\,cn=b"), key("cn=a,cn=b"));
        assert_ne!(key("cn=a\\+b=c"), key("cn=a+b=c"));
    }

    #[test]
    fn what_is_no_name_is_told_from_what_is_one() {
        for text in ["", " ", "dc=x", "CN=a b c,OU=d", "1.2.840=x", "cn=\\ x\\ ", "cn=#0402", "o=\u{fc}"] {
            assert!(Dn::parse(text).is_ok(), "{text}");
        }
        for text in [
            "example.org",
            "dc=",
            "dc=x,",
            ",dc=x",
            "dc=x,,dc=y",
            "dc x",
            "cn=a\"b",
            "cn=\"a",
            "cn=a\\",
            "=x",
            "cn=#zz",
        ] {
            assert!(Dn::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_escaped_value_reads_as_itself() {
        for value in ["a, b", " x ", "#1", "\"q\"", "a+b=c;d<e>f", "back\\slash", "(*)", "ümläut", "a\0b", " "] {
            let text = format!("cn={},dc=x", Escaped(value));
            assert_eq!(Dn::parse(&text).expect(&text).first(), Some(("cn", value.to_owned())), "{text}");
        }
    }
}
