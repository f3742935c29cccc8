//! Numbers and addresses as text, by hand: several of each stand in every access line and in every forwarded request,
//! and the standard library's formatting costs ten times as much.

use std::io::Write;
use std::net::IpAddr;

/// Appends `number` in decimal digits.
pub fn push_number(out: &mut Vec<u8>, number: u64) {
    // As many as 2^64 has.
    let mut digits = [0; 20];
    let mut at = digits.len();
    let mut rest = number;
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// Appends `address` as `Display` writes it.
pub fn push_address(out: &mut Vec<u8>, address: IpAddr) {
    let IpAddr::V4(v4) = address else {
        // Writing into memory cannot fail.
        let _ = write!(out, "{address}");
        return;
    };
    let mut text = [0; 15];
    let mut length = 0;
    let mut push = |byte: u8| {
        text[length] = byte;
        length += 1;
    };
    for (place, octet) in v4.octets().into_iter().enumerate() {
        if place > 0 {
            push(b'.');
        }
        if octet >= 100 {
            push(b'0' + octet / 100);
        }
        if octet >= 10 {
            push(b'0' + octet / 10 % 10);
        }
        push(b'0' + octet % 10);
    }
    out.extend_from_slice(&text[..length]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_addresses_are_written_as_display_writes_them() {
        for number in [0, 9, 10, 99, 100, 65_535, u64::MAX] {
            let mut out = Vec::new();
            push_number(&mut out, number);
            assert_eq!(String::from_utf8(out).expect("text"), number.to_string());
        }
        for text in ["0.0.0.0", "127.0.0.1", "10.100.9.99", "255.255.255.255", "::1", "2001:db8::7"] {
            let mut out = Vec::new();
            push_address(&mut out, text.parse().expect("address"));
            assert_eq!(String::from_utf8(out).expect("text"), text);
        }
    }
}
