//! Opening the content with its key (RFC 7518 §5): `None` where anything at all is wrong.

use aws_lc_rs::aead::{self, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::cipher::{self, DecryptionContext, PaddedBlockDecryptingKey, UnboundCipherKey};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use aws_lc_rs::iv::FixedLength;

use super::header::Encryption;

/// Bytes of the tag of AES-GCM. A shorter one could be guessed (RFC 7518 §5.3).
const GCM_TAG: usize = 16;

enum Way {
    Gcm(&'static aead::Algorithm),
    Cbc(&'static cipher::Algorithm, hmac::Algorithm),
}

/// The plaintext of `ciphertext`; `key` has the length that `encryption` asks for.
pub(super) fn open(
    encryption: Encryption,
    key: &[u8],
    associated: &[u8],
    nonce: &[u8],
    ciphertext: &[u8],
    tag: &[u8],
) -> Option<Vec<u8>> {
    let way = match encryption {
        Encryption::A128Gcm => Way::Gcm(&aead::AES_128_GCM),
        Encryption::A192Gcm => Way::Gcm(&aead::AES_192_GCM),
        Encryption::A256Gcm => Way::Gcm(&aead::AES_256_GCM),
        Encryption::A128CbcHs256 => Way::Cbc(&cipher::AES_128, hmac::HMAC_SHA256),
        Encryption::A192CbcHs384 => Way::Cbc(&cipher::AES_192, hmac::HMAC_SHA384),
        Encryption::A256CbcHs512 => Way::Cbc(&cipher::AES_256, hmac::HMAC_SHA512),
    };
    let mut text = ciphertext.to_vec();
    let opened = match way {
        Way::Gcm(algorithm) => {
            let key = LessSafeKey::new(UnboundKey::new(algorithm, key).ok()?);
            let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
            if tag.len() != GCM_TAG {
                return None;
            }
            key.open_in_place_separate_tag(nonce, Aad::from(associated), tag, &mut text).ok()?.len()
        }
        Way::Cbc(algorithm, mac) => {
            let (mac_key, key) = key.split_at(key.len() / 2);
            let expected = tag_of(&hmac::Key::new(mac, mac_key), associated, nonce, ciphertext);
            // Before anything is decrypted: padding then tells nobody anything (RFC 7518 §5.2.2.2).
            verify_slices_are_equal(expected.as_ref().get(..mac_key.len())?, tag).ok()?;
            let nonce = FixedLength::<16>::try_from(nonce).ok()?;
            let key = PaddedBlockDecryptingKey::cbc_pkcs7(UnboundCipherKey::new(algorithm, key).ok()?).ok()?;
            key.decrypt(&mut text, DecryptionContext::Iv128(nonce)).ok()?.len()
        }
    };
    text.truncate(opened);
    Some(text)
}

/// RFC 7518 §5.2.2.1: over the header, the initialization vector, the ciphertext and the header's length in bits.
fn tag_of(key: &hmac::Key, associated: &[u8], nonce: &[u8], ciphertext: &[u8]) -> hmac::Tag {
    let mut mac = hmac::Context::with_key(key);
    let bits = (associated.len() as u64) * 8;
    for part in [associated, nonce, ciphertext, &bits.to_be_bytes()] {
        mac.update(part);
    }
    mac.sign()
}
