//! A session as bytes, the way it is sealed into its cookies.
//!
//! Every request of a person reads it. So it has no names, quotes or escapes: a length before each text, and one byte that
//! tells which of the optional parts are there. Only claims, which may be anything, stand as JSON. Promise: whatever the
//! bytes are, reading them ends with a session or with nothing.

use crate::identity::{Authentication, Claims, Identity, NonceDigest};

use super::{Session, Tokens};

/// The first byte. A session of another format is of another version of the gateway.
const FORMAT: u8 = 3;

const EMAIL: u8 = 1;
const EMAIL_JUDGED: u8 = 1 << 1;
const EMAIL_VERIFIED: u8 = 1 << 2;
const PREFERRED_USERNAME: u8 = 1 << 3;
const NAME: u8 = 1 << 4;
const GROUPS: u8 = 1 << 5;
const CLAIMS: u8 = 1 << 6;
const TOKENS: u8 = 1 << 7;
// Of the second byte.
const PROVIDER_SESSION: u8 = 1;
const CONTEXT: u8 = 1 << 1;
const AUTHENTICATED_AT: u8 = 1 << 2;
/// Only beside `TOKENS`.
const NONCE: u8 = 1 << 3;

/// `session` as bytes. Fails for claims that are no JSON, which there are none of.
pub fn pack(session: &Session) -> Result<Vec<u8>, serde_json::Error> {
    let who = &session.identity;
    let optional = [
        (EMAIL, who.email.is_some()),
        (EMAIL_JUDGED, who.email_verified.is_some()),
        (EMAIL_VERIFIED, who.email_verified == Some(true)),
        (PREFERRED_USERNAME, who.preferred_username.is_some()),
        (NAME, who.name.is_some()),
        (GROUPS, who.groups.is_some()),
        (CLAIMS, !who.claims.is_empty()),
        (TOKENS, session.tokens.is_some()),
    ];
    let how = &session.authentication;
    let optional_too = [
        (PROVIDER_SESSION, how.provider_session.is_some()),
        (CONTEXT, how.context.is_some()),
        (AUTHENTICATED_AT, how.at.is_some()),
        (NONCE, session.tokens.as_ref().is_some_and(|tokens| tokens.nonce.is_some())),
    ];
    let mut out = Vec::with_capacity(256);
    out.extend_from_slice(&[FORMAT, bits(&optional), bits(&optional_too)]);
    push_text(&mut out, &session.id);
    push_number(&mut out, session.signed_in_at);
    push_number(&mut out, session.last_used);
    for text in [&who.provider, &who.subject, &who.user] {
        push_text(&mut out, text);
    }
    for text in [&who.email, &who.preferred_username, &who.name].into_iter().flatten() {
        push_text(&mut out, text);
    }
    if let Some(groups) = &who.groups {
        push_number(&mut out, groups.len() as u64);
        groups.iter().for_each(|group| push_text(&mut out, group));
    }
    if !who.claims.is_empty() {
        push_text(&mut out, &serde_json::to_string(&who.claims)?);
    }
    for text in [&how.provider_session, &how.context].into_iter().flatten() {
        push_text(&mut out, text);
    }
    if let Some(at) = how.at {
        push_number(&mut out, at);
    }
    if let Some(tokens) = &session.tokens {
        push_text(&mut out, &tokens.refresh_token);
        push_number(&mut out, tokens.expire_at);
        push_number(&mut out, tokens.renewed.into());
        out.extend_from_slice(tokens.nonce.as_ref().map_or(&[], |digest| &digest[..]));
    }
    Ok(out)
}

fn bits(parts: &[(u8, bool)]) -> u8 {
    parts.iter().filter(|(_, there)| *there).fold(0, |byte, (bit, _)| byte | bit)
}

/// The session in `bytes`, all of them.
pub fn unpack(bytes: &[u8]) -> Option<Session> {
    let [FORMAT, there, there_too, rest @ ..] = bytes else { return None };
    let (has, has_too) = (|bit: u8| there & bit != 0, |bit: u8| there_too & bit != 0);
    let mut rest = Reader(rest);
    let session = Session {
        id: rest.text()?.to_owned(),
        signed_in_at: rest.number()?,
        last_used: rest.number()?,
        identity: Identity {
            provider: rest.text()?.to_owned(),
            subject: rest.text()?.to_owned(),
            user: rest.text()?.to_owned(),
            email_verified: has(EMAIL_JUDGED).then_some(has(EMAIL_VERIFIED)),
            email: rest.maybe(has(EMAIL))?,
            preferred_username: rest.maybe(has(PREFERRED_USERNAME))?,
            name: rest.maybe(has(NAME))?,
            groups: if has(GROUPS) { Some(rest.texts()?) } else { None },
            claims: match has(CLAIMS) {
                true => serde_json::from_str(rest.text()?).ok()?,
                false => Claims::default(),
            },
        },
        authentication: Authentication {
            provider_session: rest.maybe(has_too(PROVIDER_SESSION))?,
            context: rest.maybe(has_too(CONTEXT))?,
            at: if has_too(AUTHENTICATED_AT) { Some(rest.number()?) } else { None },
        },
        tokens: match has(TOKENS) {
            true => Some(Tokens {
                refresh_token: rest.text()?.to_owned(),
                expire_at: rest.number()?,
                renewed: rest.number()?.try_into().ok()?,
                nonce: if has_too(NONCE) { Some(rest.digest()?) } else { None },
            }),
            false => None,
        },
    };
    rest.0.is_empty().then_some(session)
}

/// Seven bits a byte, the lowest first; the eighth bit says that more follow (LEB128).
fn push_number(out: &mut Vec<u8>, number: u64) {
    let mut rest = number;
    while rest > 0x7f {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

fn push_text(out: &mut Vec<u8>, text: &str) {
    push_number(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

/// What is left to read.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            let bits = u64::from(byte & 0x7f);
            // The tenth byte has one bit of the 64 left.
            if (bits << shift) >> shift != bits {
                return None;
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    fn digest(&mut self) -> Option<NonceDigest> {
        let (digest, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*digest)
    }

    fn text(&mut self) -> Option<&'a str> {
        let length = usize::try_from(self.number()?).ok()?;
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        std::str::from_utf8(text).ok()
    }

    /// `Some(None)` where it is not there.
    fn maybe(&mut self, there: bool) -> Option<Option<String>> {
        if there { self.text().map(|text| Some(text.to_owned())) } else { Some(None) }
    }

    fn texts(&mut self) -> Option<Vec<String>> {
        let count = usize::try_from(self.number()?).ok()?;
        // Each takes a byte at least, so that no number decides how much is allocated.
        let mut texts = Vec::with_capacity(count.min(self.0.len()));
        for _ in 0..count {
            texts.push(self.text()?.to_owned());
        }
        Some(texts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> Session {
        Session {
            id: "R3FtZ0xhY2tXb3Jkc0Zvcg".into(),
            signed_in_at: u64::MAX,
            last_used: 0,
            identity: Identity {
                provider: "main".into(),
                subject: "s".repeat(300),
                user: "zoë".into(),
                email: Some("zoe@example.com".into()),
                email_verified: Some(false),
                preferred_username: Some(String::new()),
                name: Some("Zoë 漢".into()),
                groups: Some(vec!["a".into(), String::new(), "ü".into()]),
                claims: serde_json::from_str(r#"{"a":{"b":[1,null,"x"]}}"#).expect("claims"),
            },
            authentication: Authentication {
                provider_session: Some("sid".into()),
                context: Some("urn:example:gold".into()),
                at: Some(1 << 33),
            },
            tokens: Some(Tokens {
                refresh_token: "r".into(),
                expire_at: 1 << 40,
                renewed: u32::MAX,
                nonce: Some([0, 1, 2, 3, 0xfc, 0xfd, 0xfe, 0xff]),
            }),
        }
    }

    fn bare() -> Session {
        let identity = Identity {
            email: None,
            email_verified: None,
            preferred_username: None,
            name: None,
            groups: None,
            claims: Claims::default(),
            ..full().identity
        };
        Session { identity, authentication: Authentication::default(), tokens: None, ..full() }
    }

    #[test]
    fn every_part_survives() {
        let verified = |session: Session, verified| Session {
            identity: Identity { email_verified: verified, ..session.identity },
            ..session
        };
        let without_nonce = Session { tokens: full().tokens.map(|tokens| Tokens { nonce: None, ..tokens }), ..full() };
        for session in [full(), bare(), verified(bare(), Some(true)), verified(full(), None), without_nonce] {
            assert_eq!(unpack(&pack(&session).expect("packed")), Some(session));
        }
    }

    /// The bytes are those of the build before.
    #[test]
    fn a_session_from_before_the_nonce_was_kept_goes_on() {
        let before = b"\x03\x80\x04\x02id\x05\x06\x04main\x01s\x01u\x07\x01r\x08\x09";
        let session = unpack(before).expect("a session");
        let tokens = Tokens { refresh_token: "r".into(), expire_at: 8, renewed: 9, nonce: None };
        assert_eq!((session.tokens.as_ref(), session.authentication.at), (Some(&tokens), Some(7)));
        assert_eq!(pack(&session).expect("packed"), before, "and costs no byte more");
        let kept = Session { tokens: Some(Tokens { nonce: Some([7; 8]), ..tokens }), ..session.clone() };
        assert_eq!(pack(&kept).expect("packed").len(), before.len() + 8);
        assert_eq!(pack(&Session { tokens: None, ..session }).map(|bytes| bytes[2]).ok(), Some(AUTHENTICATED_AT));
    }

    #[test]
    fn what_is_no_session_is_none() {
        let whole = pack(&full()).expect("packed");
        for end in 0..whole.len() {
            assert_eq!(unpack(&whole[..end]), None, "{end} bytes");
        }
        assert_eq!(unpack(&[&whole[..], b"x"].concat()), None, "a byte too many");
        assert_eq!(unpack(br#"{"i":"id"}"#), None, "what earlier versions sealed");
        let huge = [&[FORMAT, GROUPS, 0, 0, 0, 0, 0, 0, 0][..], &[0xff; 9], &[1]].concat();
        assert_eq!(unpack(&huge), None, "a number of groups that nothing holds");
        let overlong = [&[FORMAT, 0, 0, 0][..], &[0xff; 9], &[2]].concat();
        assert_eq!(unpack(&overlong), None, "a number of more than 64 bits");
    }
}
