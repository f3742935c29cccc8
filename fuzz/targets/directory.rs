//! Any bytes as what a directory sends, and as filters and distinguished names: never a panic, and what is typed stays one
//! value.
#![no_main]

use doorward::ldap::dn::{Dn, Escaped};
use doorward::ldap::filter::{Filling, Filter};
use doorward::ldap::message;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    if let Ok(Some(length)) = message::length(input, message::MAX_MESSAGE)
        && let Some(whole) = input.get(..length)
    {
        let _ = message::read(whole);
    }
    let Ok(text) = std::str::from_utf8(input) else { return };
    let filling = Filling { user: text, dn: text };
    // Whatever is typed: a comparison of one attribute with one value, whose bytes are those that were typed.
    let encoded = Filter::user_is(&["uid".to_owned()]).encode(filling);
    assert!(encoded.starts_with(&[0xa3]) && encoded.ends_with(text.as_bytes()), "the value is what was typed");
    if let Ok(filter) = Filter::parse(text) {
        let _ = filter.encode(filling);
    }
    if let Ok(dn) = Dn::parse(text) {
        let _ = (dn.first(), dn.key());
    }
    if !text.is_empty() {
        let dn = Dn::parse(&format!("cn={},dc=x", Escaped(text))).expect("an escaped value is one");
        assert_eq!(dn.first(), Some(("cn", text.to_owned())), "and reads as itself");
    }
});
