//! The Basic Encoding Rules as LDAP restricts them (RFC 4511 §5.1): definite lengths, tags of one byte.

use super::Malformed;

pub const BOOLEAN: u8 = 0x01;
pub const INTEGER: u8 = 0x02;
pub const OCTETS: u8 = 0x04;
pub const ENUMERATED: u8 = 0x0a;
pub const SEQUENCE: u8 = 0x30;
pub const SET: u8 = 0x31;

/// An element: tag, length, content.
pub fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(content.len() + 6);
    out.push(tag);
    match content.len() {
        short @ 0..=0x7f => out.push(short as u8),
        long => {
            let bytes = (long as u32).to_be_bytes();
            let skip = bytes.iter().take_while(|&&b| b == 0).count();
            out.push(0x80 | (bytes.len() - skip) as u8);
            out.extend_from_slice(&bytes[skip..]);
        }
    }
    out.extend_from_slice(content);
    out
}

/// An element of other elements.
pub fn constructed(tag: u8, parts: &[Vec<u8>]) -> Vec<u8> {
    element(tag, &parts.concat())
}

/// An INTEGER or ENUMERATED, two's complement in as few bytes as it takes.
pub fn number(tag: u8, value: i32) -> Vec<u8> {
    let bytes = value.to_be_bytes();
    let spare = |i: usize| {
        let (byte, next) = (bytes[i], bytes[i + 1]);
        (byte == 0 && next & 0x80 == 0) || (byte == 0xff && next & 0x80 != 0)
    };
    let skip = (0..3).take_while(|&i| spare(i)).count();
    element(tag, &bytes[skip..])
}

/// Reads elements one after the other.
#[derive(Clone, Debug)]
pub struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The tag of the next element, where there is one.
    pub fn peek(&self) -> Option<u8> {
        self.0.first().copied()
    }

    /// Tag and content of the next element.
    pub fn next(&mut self) -> Result<(u8, &'a [u8]), Malformed> {
        let tag = self.peek().ok_or(Malformed("an element is missing"))?;
        let (head, length) = length(self.0)?.ok_or(Malformed("an element is cut off"))?;
        let end = head.checked_add(length).ok_or(Malformed("a length beyond all bounds"))?;
        let content = self.0.get(head..end).ok_or(Malformed("an element is longer than what holds it"))?;
        self.0 = &self.0[end..];
        Ok((tag, content))
    }

    /// The content of the next element, which has `tag`.
    pub fn expect(&mut self, tag: u8) -> Result<&'a [u8], Malformed> {
        match self.next()? {
            (found, content) if found == tag => Ok(content),
            _ => Err(Malformed("an element of another type than expected")),
        }
    }

    /// The next element, an INTEGER or ENUMERATED.
    pub fn number(&mut self, tag: u8) -> Result<i32, Malformed> {
        let content = self.expect(tag)?;
        if content.is_empty() || content.len() > 4 {
            return Err(Malformed("a number of no size that is known"));
        }
        let sign = if content[0] & 0x80 == 0 { 0 } else { -1 };
        Ok(content.iter().fold(sign, |value, &byte| (value << 8) | i32::from(byte)))
    }
}

/// Bytes of tag and length at the begin of `bytes`, and the length; `None` while they are not all there.
pub fn length(bytes: &[u8]) -> Result<Option<(usize, usize)>, Malformed> {
    let Some(&tag) = bytes.first() else { return Ok(None) };
    if tag & 0x1f == 0x1f {
        return Err(Malformed("a tag of several bytes"));
    }
    match bytes.get(1) {
        None => Ok(None),
        Some(&short @ 0..=0x7f) => Ok(Some((2, usize::from(short)))),
        Some(&long) => {
            let count = usize::from(long & 0x7f);
            if count == 0 || count > 4 {
                return Err(Malformed("a length that is indefinite or absurd"));
            }
            let Some(octets) = bytes.get(2..2 + count) else { return Ok(None) };
            Ok(Some((2 + count, octets.iter().fold(0usize, |sum, &byte| (sum << 8) | usize::from(byte)))))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_take_as_few_bytes_as_they_need_and_come_back() {
        for (value, bytes) in [
            (0, vec![2, 1, 0]),
            (127, vec![2, 1, 127]),
            (128, vec![2, 2, 0, 128]),
            (-1, vec![2, 1, 255]),
            (-129, vec![2, 2, 255, 127]),
            (i32::MAX, vec![2, 4, 0x7f, 255, 255, 255]),
        ] {
            assert_eq!(number(INTEGER, value), bytes, "{value}");
            assert_eq!(Reader(&bytes).number(INTEGER), Ok(value));
        }
    }

    #[test]
    fn elements_of_every_length_come_back() {
        for length in [0, 1, 127, 128, 255, 256, 65_535, 65_536] {
            let content = vec![7; length];
            let whole = element(OCTETS, &content);
            let mut reader = Reader(&whole);
            assert_eq!(reader.next(), Ok((OCTETS, &content[..])), "{length}");
            assert!(reader.is_empty());
        }
    }

    #[test]
    fn what_is_cut_off_or_absurd_is_an_error() {
        for bytes in [
            &[][..],
            &[4],
            &[4, 1],
            &[4, 0x80],
            &[4, 0x85, 1, 1, 1, 1, 1],
            &[4, 0x84, 255, 255, 255, 255, 0],
            &[0x1f, 1, 0],
        ] {
            assert!(Reader(bytes).next().is_err(), "{bytes:?}");
        }
        for bytes in [&[2, 0][..], &[2, 5, 0, 0, 0, 0, 1], &[4, 1, 0]] {
            assert!(Reader(bytes).number(INTEGER).is_err(), "{bytes:?}");
        }
    }
}
