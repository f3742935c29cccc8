//! The form of a service account's key: how one is made, and what can be seen of it without knowing any.
//!
//! `dwk_`, 43 characters that are 256 random bits, and 6 that are the CRC-32 of all before them, in the digits and letters
//! of ASCII. The prefix and the checksum let a scanner tell a leaked key from chance; there is no `-` in it because
//! older W&B SDKs take what stands before one for a host name. Only its SHA-256 digest is kept: 256 random bits need no
//! slow hash.

use ring::digest;
use ring::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroizing;

use crate::config::values::Secret;
use crate::keys::NoRandomness;
use crate::reason::{Failure, Reason};

/// What every key begins with.
pub const PREFIX: &str = "dwk_";
/// Characters of a whole key; more than the 40 that W&B's SDK asks for.
pub const LENGTH: usize = PREFIX.len() + BODY + CHECKSUM;
/// The regular expression for secret scanners; `docs/service-accounts.md` shows it.
pub const PATTERN: &str = r"\bdwk_[0-9A-Za-z]{49}\b";

const BODY: usize = 43;
const CHECKSUM: usize = 6;
const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// SHA-256 of a whole key.
pub type Digest = [u8; 32];

/// A new key.
pub fn make() -> Result<Secret, NoRandomness> {
    let mut random = Zeroizing::new([0; 32]);
    SystemRandom::new().fill(&mut *random).map_err(|_| NoRandomness)?;
    Ok(spell(&random))
}

fn spell(random: &[u8; 32]) -> Secret {
    let mut key = String::with_capacity(LENGTH);
    key.push_str(PREFIX);
    let mut rest = Zeroizing::new(*random);
    let mut digits = Zeroizing::new([0; BODY]);
    for digit in digits.iter_mut().rev() {
        *digit = ALPHABET[divide(&mut rest)];
    }
    key.extend(digits.iter().map(|digit| char::from(*digit)));
    let checksum = checksum(key.as_bytes());
    key.extend(checksum.iter().map(|digit| char::from(*digit)));
    Secret::new(key)
}

/// Divides a number, its highest byte first, by 62, and returns the remainder.
fn divide(number: &mut [u8; 32]) -> usize {
    number.iter_mut().fold(0, |carry, byte| {
        let value = carry * 256 + usize::from(*byte);
        *byte = (value / ALPHABET.len()) as u8;
        value % ALPHABET.len()
    })
}

fn checksum(text: &[u8]) -> [u8; CHECKSUM] {
    let mut number = crc32fast::hash(text) as usize;
    let mut digits = [0; CHECKSUM];
    for digit in digits.iter_mut().rev() {
        *digit = ALPHABET[number % ALPHABET.len()];
        number /= ALPHABET.len();
    }
    digits
}

/// Whether `text` is a key by its form. [`Reason::KeyMalformed`] says what is wrong with it, without a part of it.
pub fn check(text: &[u8]) -> Result<(), Failure> {
    let malformed = |detail: String| Failure::new(Reason::KeyMalformed, detail);
    let Some(rest) = text.strip_prefix(PREFIX.as_bytes()) else {
        return Err(malformed(format!("a key begins with '{PREFIX}'")));
    };
    if text.len() != LENGTH {
        return Err(malformed(format!("the key has {} characters; whole keys have {LENGTH}", text.len())));
    }
    if !rest.iter().all(u8::is_ascii_alphanumeric) {
        return Err(malformed("the key holds a character that no key has".into()));
    }
    let (signed, sum) = text.split_at(LENGTH - CHECKSUM);
    match sum == checksum(signed) {
        true => Ok(()),
        false => Err(malformed("the key's checksum is wrong".into())),
    }
}

/// What is kept of a key.
pub fn digest(text: &[u8]) -> Digest {
    let mut digest = [0; 32];
    digest.copy_from_slice(digest::digest(&digest::SHA256, text).as_ref());
    digest
}

/// The id of a new key: the first eight digits of its digest, so that `printf %s KEY | sha256sum` finds the entry of a
/// key that turns up somewhere.
pub fn id_of(digest: &Digest) -> String {
    hex(&digest[..4])
}

/// Bytes in hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_256_bits_with_prefix_and_checksum_and_no_dash() {
        for random in [[0; 32], [255; 32], [7; 32]] {
            let key = spell(&random);
            let text = key.expose();
            assert_eq!((text.len(), &text[..4]), (53, "dwk_"));
            assert!(text[4..].bytes().all(|b| b.is_ascii_alphanumeric()), "{text}");
            check(text.as_bytes()).expect("good form");
        }
        // No bit is lost: the largest number needs all 43 digits, and read back it is the number.
        let text = spell(&[255; 32]);
        let mut number = [0u32; 32];
        for digit in text.expose()[4..47].bytes() {
            let mut carry = ALPHABET.iter().position(|c| *c == digit).expect("a digit") as u32;
            for byte in number.iter_mut().rev() {
                carry += *byte * 62;
                *byte = carry % 256;
                carry /= 256;
            }
            assert_eq!(carry, 0);
        }
        assert_eq!(number, [255; 32]);
        assert_ne!(make().expect("random").expose(), make().expect("random").expose());
    }

    #[test]
    fn every_single_slip_of_the_hand_shows() {
        let key = make().expect("random");
        let text = key.expose().as_bytes();
        for at in 0..text.len() {
            for wrong in [b'0', b'A', b'z', b'-', b' ', 0, 255] {
                let mut other = text.to_vec();
                other[at] = wrong;
                assert!(text[at] == wrong || check(&other).is_err(), "{at} {wrong}");
            }
            let mut swapped = text.to_vec();
            swapped.swap(at, (at + 1) % text.len());
            assert!(swapped == text || check(&swapped).is_err(), "{at} swapped");
            assert!(check(&text[..at]).is_err() && check(&text[at + 1..]).is_err(), "{at} cut");
        }
        assert!(check(&[text, b"0"].concat()).is_err());
        let failure = check(b"dwk_short").expect_err("short");
        assert_eq!(
            (failure.reason, &*failure.detail),
            (Reason::KeyMalformed, "the key has 9 characters; whole keys have 53")
        );
    }

    #[test]
    fn the_pattern_for_scanners_is_of_the_keys_length() {
        let repeated: usize =
            PATTERN[PATTERN.find('{').expect("{") + 1..PATTERN.find('}').expect("}")].parse().expect("number");
        assert_eq!(repeated, LENGTH - PREFIX.len());
        assert!(include_str!("../../docs/service-accounts.md").contains(PATTERN));
    }

    #[test]
    fn an_id_is_the_beginning_of_the_digest() {
        assert_eq!(id_of(&digest(b"abc")), "ba7816bf");
    }
}
