//! Signatures that hold and signatures that do not, for each algorithm, in the manner of Project Wycheproof.

use aws_lc_rs::signature::KeyPair;
use serde_json::{Value, json};

use super::forge::{self, KEYS, PUBLIC, b64, claims, header, jwk, sealed, signature};
use super::{Bench, Row, check, row, with};
use crate::config::model::TokenAlgorithm::{self, *};
use crate::jwt::key_set::KeySet;
use crate::reason::Reason::{self, KeysFailed, TokenAlgorithm as Algorithm, TokenKey, TokenSignature};

/// What is done to a signature.
type Change = fn(Vec<u8>) -> Vec<u8>;

/// Changes after which no signature holds, whatever the algorithm.
const CHANGES: [(&str, Change); 10] = [
    ("first bit flipped", |s| flip(s, 0)),
    ("a bit in the middle flipped", |s| {
        let middle = s.len() / 2;
        flip(s, middle)
    }),
    ("last bit flipped", |s| {
        let last = s.len() - 1;
        flip(s, last)
    }),
    ("last byte cut off", |s| s[..s.len() - 1].to_vec()),
    ("first byte cut off", |s| s[1..].to_vec()),
    ("a zero behind", |s| [s, vec![0]].concat()),
    ("a zero before", |s| [vec![0], s].concat()),
    ("halves exchanged", |s| [&s[s.len() / 2..], &s[..s.len() / 2]].concat()),
    ("nothing but zeros", |s| vec![0; s.len()]),
    ("all bits set", |s| vec![255; s.len()]),
];

fn flip(mut signature: Vec<u8>, byte: usize) -> Vec<u8> {
    signature[byte] ^= 0x80;
    signature
}

/// r and s as an ASN.1 sequence, as X.509 has them and JOSE has not.
fn der(fixed: &[u8]) -> Vec<u8> {
    let integer = |number: &[u8]| {
        let zeros = number.iter().take_while(|byte| **byte == 0).count().min(number.len() - 1);
        let number = &number[zeros..];
        let sign: &[u8] = if number[0] >= 0x80 { &[0] } else { &[] };
        [&[2, (sign.len() + number.len()) as u8], sign, number].concat()
    };
    let (r, s) = fixed.split_at(fixed.len() / 2);
    let both = [integer(r), integer(s)].concat();
    let length = if both.len() < 128 { vec![both.len() as u8] } else { vec![0x81, both.len() as u8] };
    [vec![0x30], length, both].concat()
}

fn changed(algorithm: TokenAlgorithm, change: impl FnOnce(Vec<u8>) -> Vec<u8>) -> String {
    sealed(&b64(header(algorithm)), &b64(claims(json!({}))), |message| change(signature(algorithm, message)))
}

/// A token whose header says one thing and that is signed in another way.
fn says(alg: &str, kid: &str, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let header = json!({ "alg": alg, "kid": kid, "typ": "at+jwt" }).to_string();
    sealed(&b64(header), &b64(claims(json!({}))), sign)
}

pub fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for algorithm in PUBLIC {
        rows.push(row(format!("{algorithm:?}"), forge::good(algorithm), None));
        for (what, change) in CHANGES {
            // RFC 8017 §8.1.2 takes numbers up to the modulus; Ed25519 and ECDSA have lengths of their own.
            rows.push(row(format!("{algorithm:?}: {what}"), changed(algorithm, change), Some(TokenSignature)));
        }
        let none = forge::good(algorithm);
        let unsigned = &none[..none.rfind('.').expect("three parts") + 1];
        rows.push(row(format!("{algorithm:?}: no signature"), unsigned, Some(TokenSignature)));
        // The same signature over other claims: somebody raises their own rights.
        let (message, signature) = none.rsplit_once('.').expect("three parts");
        let (header, _) = message.split_once('.').expect("three parts");
        let other = format!("{header}.{}.{signature}", b64(claims(json!({ "sub": "admin" }))));
        rows.push(row(format!("{algorithm:?}: other claims"), other, Some(TokenSignature)));
    }
    for algorithm in [ES256, ES384, ES512] {
        let half = |of: &[u8]| of.len() / 2;
        let name = |what: &str| format!("{algorithm:?}: {what}");
        let wrong = Some(TokenSignature);
        rows.push(row(name("as ASN.1"), changed(algorithm, |s| der(&s)), wrong));
        rows.push(row(
            name("r is zero"),
            changed(algorithm, |s| [vec![0; half(&s)], s[half(&s)..].into()].concat()),
            wrong,
        ));
        rows.push(row(
            name("s is zero"),
            changed(algorithm, |s| [s[..half(&s)].into(), vec![0; half(&s)]].concat()),
            wrong,
        ));
        rows.push(row(name("r alone"), changed(algorithm, |s| s[..half(&s)].into()), wrong));
        rows.push(row(name("r and s are one"), changed(algorithm, |s| one_and_one(half(&s))), wrong));
    }
    rows.extend(confusions());
    rows
}

/// A signature with r = s = 1.
fn one_and_one(half: usize) -> Vec<u8> {
    let mut number = vec![0; half];
    number[half - 1] = 1;
    [number.clone(), number].concat()
}

/// One algorithm's name over another's signature, and keys used for what they are not.
fn confusions() -> Vec<Row> {
    let rsa = |algorithm| move |message: &[u8]| forge::rsa_sign(&KEYS.rsa, algorithm, message);
    let with_public = |secret: Vec<u8>| move |message: &[u8]| forge::hmac_sign(HS256, &secret, message);
    let (n, _) = forge::rsa_numbers(&KEYS.rsa);
    let mut rows = vec![
        row("RS256 says RS384", says("RS384", "rsa", rsa(RS256)), Some(TokenSignature)),
        row("RS256 says PS256", says("PS256", "rsa", rsa(RS256)), Some(TokenSignature)),
        row("PS256 says RS256", says("RS256", "rsa", rsa(PS256)), Some(TokenSignature)),
        row("PS512 says PS256", says("PS256", "rsa", rsa(PS512)), Some(TokenSignature)),
        row("RS256 with the EC key's id", says("RS256", "p256", rsa(RS256)), Some(Algorithm)),
        row("ES256 key, alg RS256", says("RS256", "p256", |m| signature(ES256, m)), Some(Algorithm)),
        row("ES256 with the RSA key's id", says("ES256", "rsa", |m| signature(ES256, m)), Some(Algorithm)),
        row("ES256 says ES384", says("ES384", "p256", |m| signature(ES256, m)), Some(Algorithm)),
        row("ES256 with the P-384 key's id", says("ES256", "p384", |m| signature(ES256, m)), Some(Algorithm)),
        row("ES384 over P-521", says("ES512", "p384", |m| signature(ES384, m)), Some(Algorithm)),
        row("EdDSA with the EC key's id", says("EdDSA", "p256", |m| signature(EdDSA, m)), Some(Algorithm)),
        row("EdDSA says ES256", says("ES256", "p256", |m| signature(EdDSA, m)), Some(TokenSignature)),
        row("EdDSA by its new name", says("Ed25519", "ed", |m| signature(EdDSA, m)), None),
        row("Ed448", says("Ed448", "ed", |m| signature(EdDSA, m)), Some(Algorithm)),
        row("ES256K", says("ES256K", "p256", |m| signature(ES256, m)), Some(Algorithm)),
        row(
            "another RSA key",
            says("RS256", "rsa", |m| forge::rsa_sign(&KEYS.stranger, RS256, m)),
            Some(TokenSignature),
        ),
        row(
            "another RSA key, PS256",
            says("PS256", "rsa", |m| forge::rsa_sign(&KEYS.stranger, PS256, m)),
            Some(TokenSignature),
        ),
        row("HS256 with n as secret", says("HS256", "rsa", with_public(n)), Some(Algorithm)),
        row(
            "HS256 with the JWK as secret",
            says("HS256", "rsa", with_public(jwk(RS256).to_string().into())),
            Some(Algorithm),
        ),
        row(
            "HS256 with the DER as secret",
            says("HS256", "rsa", with_public(KEYS.rsa.public_key().as_ref().into())),
            Some(Algorithm),
        ),
        row(
            "HS256 with the point as secret",
            says("HS256", "p256", with_public(jwk(ES256)["x"].to_string().into())),
            Some(Algorithm),
        ),
        row("HS256 with no secret", says("HS256", "rsa", with_public(Vec::new())), Some(Algorithm)),
    ];
    for none in ["none", "None", "NONE", "nOnE", "none ", "", "NoNe\0"] {
        rows.push(row(format!("alg {none:?}, no signature"), says(none, "rsa", |_| Vec::new()), Some(Algorithm)));
        rows.push(row(format!("alg {none:?}, signed"), says(none, "rsa", rsa(RS256)), Some(Algorithm)));
    }
    for name in
        ["rs256", "RS256 ", "RS-256", "RSA256", "RS1", "HS1", "dir", "A128KW", "RSA-OAEP", "ES256 ", "eddsa", "SHA256"]
    {
        rows.push(row(format!("alg {name:?}"), says(name, "rsa", rsa(RS256)), Some(Algorithm)));
    }
    rows
}

#[test]
fn a_signature_holds_for_its_algorithm_key_and_message_alone() {
    check(&Bench::new(""), &forge::public_jwks(), &rows());
}

pub fn hmac_rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for algorithm in [HS256, HS384, HS512] {
        rows.push(row(format!("{algorithm:?}"), forge::good(algorithm), None));
        for (what, change) in CHANGES {
            rows.push(row(format!("{algorithm:?}: {what}"), changed(algorithm, change), Some(TokenSignature)));
        }
        let secret = |secret: &'static [u8]| move |m: &[u8]| forge::hmac_sign(algorithm, secret, m);
        let name = format!("{algorithm:?}");
        rows.push(row(format!("{name}: other secret"), says(&name, "shared", secret(b"other")), Some(TokenSignature)));
        rows.push(row(format!("{name}: no secret"), says(&name, "shared", secret(b"")), Some(TokenSignature)));
        rows.push(row(format!("{name}: any kid"), says(&name, "any", secret(forge::SECRET.as_bytes())), None));
    }
    let one = forge::hmac_sign(HS512, forge::SECRET.as_bytes(), b"x");
    rows.push(row("HS256 with the half of HS512", says("HS256", "shared", |_| one[..32].into()), Some(TokenSignature)));
    rows.push(row("HS384 says HS256", says("HS256", "shared", |m| signature(HS384, m)), Some(TokenSignature)));
    rows.push(row("RS256 against a secret", forge::good(RS256), Some(Algorithm)));
    rows.push(row("none against a secret", says("none", "shared", |_| Vec::new()), Some(Algorithm)));
    rows
}

#[test]
fn a_shared_secret_takes_its_own_tokens_and_no_others() {
    let bench = Bench::new(&format!("secret = \"{}\"", forge::SECRET));
    let keys = KeySet::secret(forge::SECRET.as_bytes());
    for (what, token, expected) in hmac_rows() {
        let verdict = bench.reason(&token, &keys);
        assert_eq!(verdict, expected, "{what}");
        let refused = super::peer::refuses_signature(&token, &[jwk(HS256)]);
        assert!(refused != Some(true) || verdict.is_some(), "{what}: jsonwebtoken refuses it");
    }
}

#[test]
fn a_short_secret_is_not_stretched_to_a_longer_hash() {
    let secret = &forge::SECRET[..40];
    let bench = Bench::new(&format!("secret = \"{secret}\""));
    let keys = KeySet::secret(secret.as_bytes());
    for (algorithm, expected) in [(HS256, None), (HS384, Some(Algorithm)), (HS512, Some(Algorithm))] {
        let token = says(&format!("{algorithm:?}"), "any", |m| forge::hmac_sign(algorithm, secret.as_bytes(), m));
        assert_eq!(bench.reason(&token, &keys), expected, "{algorithm:?}");
    }
}

/// A row about keys: what it is about, the key set, `kid` and algorithm of the token, and the verdict.
type KeyRow = (&'static str, Vec<Value>, Option<&'static str>, TokenAlgorithm, Option<Reason>);

#[test]
fn the_key_is_the_one_that_is_meant_or_there_is_none() {
    let (rsa, ec) = (|| jwk(RS256), || jwk(ES256));
    let without = |mut key: Value, name: &str| {
        key.as_object_mut().expect("an object").remove(name);
        key
    };
    let other = |name: &str| with(jwk(ES256), "kid", json!(name));
    let set = |name, key, value: Value| vec![with(key, name, value)];
    let (es, rs) = (ES256, RS256);
    let rows: Vec<KeyRow> = vec![
        ("one key, its kid", vec![ec()], Some("p256"), es, None),
        ("one key, no kid", vec![ec()], None, es, None),
        ("one key, another kid", vec![ec()], Some("p257"), es, Some(TokenKey)),
        ("one key, a kid that begins alike", vec![ec()], Some("p25"), es, Some(TokenKey)),
        ("one key, an empty kid", vec![ec()], Some(""), es, Some(TokenKey)),
        ("a key without kid, a token with one", vec![without(ec(), "kid")], Some("p256"), es, Some(TokenKey)),
        ("a key without kid, a token without", vec![without(ec(), "kid")], None, es, None),
        ("several kinds of keys, no kid", vec![rsa(), ec()], None, es, None),
        ("several kinds of keys, no kid, RSA", vec![rsa(), ec()], None, rs, None),
        ("two keys that fit, no kid", vec![ec(), other("b")], None, es, Some(TokenKey)),
        ("two keys that fit, by kid", vec![ec(), other("b")], Some("b"), es, None),
        (
            "two keys of one kid, each of its kind",
            vec![ec(), with(rsa(), "kid", json!("p256"))],
            Some("p256"),
            es,
            None,
        ),
        ("the key of the other kind", vec![rsa()], None, es, Some(TokenKey)),
        ("the key of the other kind, by kid", vec![rsa()], Some("rsa"), es, Some(Algorithm)),
        ("the same key twice", vec![ec(), ec()], None, es, None),
        ("alg agrees", set("alg", ec(), json!("ES256")), Some("p256"), es, None),
        ("alg agrees, RSA", set("alg", rsa(), json!("RS256")), Some("rsa"), rs, None),
        ("alg is another of the key's", set("alg", rsa(), json!("PS256")), Some("rsa"), rs, Some(Algorithm)),
        ("alg is not the curve's", set("alg", ec(), json!("ES384")), Some("p256"), es, Some(KeysFailed)),
        ("alg is of another kind", set("alg", ec(), json!("RS256")), Some("p256"), es, Some(KeysFailed)),
        ("alg is for encryption", set("alg", rsa(), json!("RSA-OAEP")), Some("rsa"), rs, Some(KeysFailed)),
        ("alg is no text", set("alg", ec(), json!(7)), Some("p256"), es, Some(KeysFailed)),
        ("alg is HMAC", set("alg", rsa(), json!("HS256")), Some("rsa"), rs, Some(KeysFailed)),
        ("use is sig", set("use", ec(), json!("sig")), Some("p256"), es, None),
        ("use is enc", set("use", ec(), json!("enc")), Some("p256"), es, Some(KeysFailed)),
        ("use is no text", set("use", ec(), json!(["sig"])), Some("p256"), es, Some(KeysFailed)),
        ("key_ops with verify", set("key_ops", ec(), json!(["verify"])), Some("p256"), es, None),
        ("key_ops with sign", set("key_ops", ec(), json!(["sign"])), Some("p256"), es, Some(KeysFailed)),
        ("key_ops empty", set("key_ops", ec(), json!([])), Some("p256"), es, Some(KeysFailed)),
        ("key_ops a text", set("key_ops", ec(), json!("verify")), Some("p256"), es, Some(KeysFailed)),
        ("kid is no text", set("kid", ec(), json!(1)), None, es, Some(KeysFailed)),
        ("kty unknown", set("kty", ec(), json!("LWE")), Some("p256"), es, Some(KeysFailed)),
        ("kty in lower case", set("kty", ec(), json!("ec")), Some("p256"), es, Some(KeysFailed)),
        ("curve unknown", set("crv", ec(), json!("secp256k1")), Some("p256"), es, Some(KeysFailed)),
        ("curve of another length", set("crv", ec(), json!("P-384")), Some("p256"), es, Some(KeysFailed)),
        ("a point off the curve", set("y", ec(), jwk(ES256)["x"].clone()), Some("p256"), es, Some(KeysFailed)),
        (
            "the point at zero",
            vec![with(with(ec(), "x", json!(b64([0; 32]))), "y", json!(b64([0; 32])))],
            None,
            es,
            Some(KeysFailed),
        ),
        ("no y", vec![without(ec(), "y")], Some("p256"), es, Some(KeysFailed)),
        ("x is no base64", set("x", ec(), json!("§")), Some("p256"), es, Some(KeysFailed)),
        ("a published private key", vec![forge::private_jwk()], Some("p256"), es, None),
        ("e is one", set("e", rsa(), json!("AQ")), Some("rsa"), rs, Some(KeysFailed)),
        ("e is even", set("e", rsa(), json!("Ag")), Some("rsa"), rs, Some(KeysFailed)),
        ("e is missing", vec![without(rsa(), "e")], Some("rsa"), rs, Some(KeysFailed)),
        ("n of 1024 bit", set("n", rsa(), json!(b64([0xff; 128]))), Some("rsa"), rs, Some(KeysFailed)),
        ("n of 2047 bit", set("n", rsa(), json!(b64([0x7f; 256]))), Some("rsa"), rs, Some(KeysFailed)),
        ("n of 16384 bit", set("n", rsa(), json!(b64([0xff; 2048]))), Some("rsa"), rs, Some(KeysFailed)),
        ("n is even", set("n", rsa(), json!(b64([0xfe; 256]))), Some("rsa"), rs, Some(KeysFailed)),
        (
            "zeros before n",
            set("n", rsa(), json!(b64([vec![0, 0], forge::rsa_numbers(&KEYS.rsa).0].concat()))),
            None,
            rs,
            None,
        ),
        ("zeros behind the secret's kind", vec![jwk(HS256)], None, HS256, Some(KeysFailed)),
        ("a secret beside a key", vec![jwk(HS256), ec()], None, HS256, Some(Algorithm)),
        ("no key at all", vec![], None, es, Some(KeysFailed)),
        ("what is no key beside one", vec![json!(null), json!(7), json!("x"), json!({}), ec()], None, es, None),
    ];
    let bench = Bench::new("");
    for (what, keys, kid, algorithm, expected) in rows {
        let header = match kid {
            Some(kid) => json!({ "alg": format!("{algorithm:?}"), "kid": kid }),
            None => json!({ "alg": format!("{algorithm:?}") }),
        };
        let token = forge::signed(algorithm, &header.to_string(), &claims(json!({})));
        let verdict = KeySet::parse(json!({ "keys": keys }).to_string().as_bytes());
        let verdict = verdict.and_then(|keys| bench.judge(&token, &keys));
        assert_eq!(verdict.as_ref().err().map(|failure| failure.reason), expected, "{what}: {verdict:?}");
    }
}

#[test]
fn what_is_no_key_set_is_refused_and_never_taken_for_an_empty_one() {
    let many = json!({ "keys": vec![jwk(ES256); 101] }).to_string();
    for document in ["", "{", "[]", "null", "{}", r#"{"keys":{}}"#, r#"{"keys":[]}"#, "<html>", &many] {
        assert_eq!(KeySet::parse(document.as_bytes()).err().map(|failure| failure.reason), Some(KeysFailed));
    }
}

#[test]
fn the_detail_says_which_key_is_meant_and_what_it_is_for() {
    let detail = |token: &str, keys: &[Value]| {
        let verdict = Bench::new("").judge(token, &forge::key_set(keys));
        verdict.err().map(|failure| failure.detail).unwrap_or_default()
    };
    let es = forge::good(ES256);
    assert_eq!(detail(&es, &[jwk(RS256)]), "key 'p256' is not among the issuer's");
    assert_eq!(
        detail(&says("ES384", "p256", |m| signature(ES256, m)), &[jwk(ES256)]),
        "algorithm is ES384; key 'p256' is for ES256"
    );
    let nameless = forge::signed(ES256, r#"{"alg":"ES256"}"#, &claims(json!({})));
    let two = [jwk(ES256), with(jwk(ES256), "kid", json!("b"))];
    assert_eq!(detail(&nameless, &two), "the token names no key (`kid`), and its issuer has several keys for ES256");
    assert_eq!(detail(&nameless, &[jwk(RS256)]), "the token names no key (`kid`), and its issuer has no key for ES256");
    assert_eq!(detail(&changed(ES256, |s| flip(s, 3)), &[jwk(ES256)]), "the ES256 signature does not match");
    let strange = says("ES256", "a\"\\\u{7}\u{202e}'", |m| signature(ES256, m));
    assert_eq!(detail(&strange, &[jwk(ES256)]), "key 'a?????' is not among the issuer's");
}
