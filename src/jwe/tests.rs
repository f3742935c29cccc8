//! Tokens that another implementation encrypts, and every way to alter them.

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::*;
use crate::reason::Reason;

const INSIDE: &str = "eyJhbGciOiJub25lIn0.e30.";
const UNDECRYPTABLE: &str = "it was altered, or encrypted for a key that is not ours";

const RSA: [&str; 2] = ["RSA-OAEP", "RSA-OAEP-256"];
const ECDH: [&str; 3] = ["ECDH-ES", "ECDH-ES+A128KW", "ECDH-ES+A256KW"];
const ENCRYPTION: [&str; 6] = ["A128GCM", "A192GCM", "A256GCM", "A128CBC-HS256", "A192CBC-HS384", "A256CBC-HS512"];
const CURVES: [&str; 3] = ["P-256", "P-384", "P-521"];

/// Keys and tokens of another implementation, made anew for every run.
struct Peer {
    keys: Value,
    tokens: Vec<(String, String)>,
}

/// Makes two keys of each kind, and for the first of each a token with every algorithm and encryption.
const SCRIPT: &str = r#"
import { generateKeyPairSync } from 'node:crypto';
import { CompactEncrypt } from 'jose';
const pairs = {}, keys = {}, tokens = [];
const make = (name, kind, options, type) => {
  const pair = generateKeyPairSync(kind, options);
  keys[name] = pair.privateKey.export({ type, format: 'pem' });
  pairs[name] = pair;
};
make('RSA', 'rsa', { modulusLength: 2048 }, 'pkcs8');
make('RSA other', 'rsa', { modulusLength: 2048 }, 'pkcs1');
make('RSA weak', 'rsa', { modulusLength: 1024 }, 'pkcs8');
make('Ed25519', 'ed25519', {}, 'pkcs8');
for (const curve of ['P-256', 'P-384', 'P-521']) {
  make(curve, 'ec', { namedCurve: curve }, 'pkcs8');
  make(curve + ' other', 'ec', { namedCurve: curve }, 'sec1');
}
const { inside, rsa, ecdh, encryption } = JSON.parse(process.argv[2]);
const plaintext = new TextEncoder().encode(inside);
const encrypt = async (name, key, alg, enc, of) => {
  const made = new CompactEncrypt(of ?? plaintext).setProtectedHeader({ alg, enc, cty: 'JWT', kid: 'a' });
  if (name.includes(' for ')) made.setKeyManagementParameters({ apu: plaintext.slice(0, 5), apv: plaintext.slice(5, 7) });
  tokens.push([name, await made.encrypt(pairs[key].publicKey)]);
};
for (const enc of encryption) {
  for (const key of ['RSA', 'RSA other']) for (const alg of rsa) await encrypt(`${key} ${alg} ${enc}`, key, alg, enc);
  for (const curve of ['P-256', 'P-384', 'P-521']) {
    for (const alg of ecdh) await encrypt(`${curve} ${alg} ${enc}`, curve, alg, enc);
    await encrypt(`${curve} other ECDH-ES ${enc}`, `${curve} other`, 'ECDH-ES', enc);
  }
}
for (const alg of ecdh) await encrypt(`P-256 ${alg} for others`, 'P-256', alg, 'A128GCM');
await encrypt('no text', 'RSA', 'RSA-OAEP', 'A128GCM', new Uint8Array([0xff]));
await encrypt('empty', 'RSA', 'RSA-OAEP', 'A128CBC-HS256', new Uint8Array());
await encrypt('large', 'P-256', 'ECDH-ES', 'A256GCM', new Uint8Array(500 * 1024).fill(97));
await encrypt('too large', 'P-256', 'ECDH-ES', 'A256GCM', new Uint8Array(600 * 1024).fill(97));
process.stdout.write(JSON.stringify({ keys, tokens }));
"#;

fn peer() -> &'static Peer {
    static PEER: OnceLock<Peer> = OnceLock::new();
    PEER.get_or_init(|| {
        let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/provider");
        let wanted = json!({ "inside": INSIDE, "rsa": RSA, "ecdh": ECDH, "encryption": ENCRYPTION });
        let mut node = Command::new("node");
        node.args(["--input-type=module", "-", &wanted.to_string()]).current_dir(dir);
        let mut node = node.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("node");
        node.stdin.take().expect("its input").write_all(SCRIPT.as_bytes()).expect("read");
        let output = node.wait_with_output().expect("an end");
        assert!(output.status.success(), "run scripts/install-test-deps first");
        let made: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let tokens = serde_json::from_value(made["tokens"].clone()).expect("tokens");
        Peer { keys: made["keys"].clone(), tokens }
    })
}

impl Peer {
    fn keys(&self, names: &[&str]) -> DecryptionKeys {
        let pem: String = names.iter().map(|name| self.keys[name].as_str().expect("a key")).collect();
        DecryptionKeys::from_pem(&pem).expect("keys")
    }

    fn token(&self, name: &str) -> &str {
        &self.tokens.iter().find(|(other, _)| other == name).expect("a token").1
    }
}

fn decrypt(keys: &DecryptionKeys, token: &str) -> Result<String, String> {
    keys.decrypt(token, Reason::IdTokenForm).map_err(|failure| {
        assert_eq!(failure.reason, Reason::IdTokenForm);
        failure.detail
    })
}

fn encoded(header: &Value) -> String {
    URL_SAFE_NO_PAD.encode(header.to_string())
}

/// `token` with the header that `change` makes of its own.
fn with_header(token: &str, change: impl FnOnce(&mut Value)) -> String {
    let (header, rest) = token.split_once('.').expect("a header");
    let mut header: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).expect("base64")).expect("JSON");
    change(&mut header);
    format!("{}.{rest}", encoded(&header))
}

/// `token` with part `index` as `change` makes it.
fn with_part(token: &str, index: usize, change: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut parts: Vec<String> = token.split('.').map(str::to_owned).collect();
    let mut bytes = URL_SAFE_NO_PAD.decode(&parts[index]).expect("base64");
    change(&mut bytes);
    parts[index] = URL_SAFE_NO_PAD.encode(bytes);
    parts.join(".")
}

#[test]
fn what_another_implementation_encrypts_is_decrypted_with_every_algorithm() {
    let peer = peer();
    let mut count = 0;
    for key in ["RSA", "RSA other"] {
        for (alg, enc) in RSA.iter().flat_map(|alg| ENCRYPTION.map(|enc| (alg, enc))) {
            let token = peer.token(&format!("{key} {alg} {enc}"));
            assert!(is_encrypted(token) && !is_encrypted(INSIDE));
            assert_eq!(decrypt(&peer.keys(&[key]), token).as_deref(), Ok(INSIDE), "{key} {alg} {enc}");
            count += 1;
        }
    }
    for (curve, enc) in CURVES.iter().flat_map(|curve| ENCRYPTION.map(|enc| (curve, enc))) {
        for alg in ECDH {
            let token = peer.token(&format!("{curve} {alg} {enc}"));
            assert_eq!(decrypt(&peer.keys(&[curve]), token).as_deref(), Ok(INSIDE), "{curve} {alg} {enc}");
            count += 1;
        }
        let other = format!("{curve} other");
        let token = peer.token(&format!("{other} ECDH-ES {enc}"));
        assert_eq!(decrypt(&peer.keys(&[&other]), token).as_deref(), Ok(INSIDE), "{other} {enc}");
    }
    assert_eq!(count, 2 * 2 * 6 + 3 * 3 * 6);
}

#[test]
fn what_the_header_says_of_the_parties_goes_into_the_key() {
    let keys = peer().keys(&["P-256"]);
    for alg in ECDH {
        let token = peer().token(&format!("P-256 {alg} for others"));
        assert_eq!(decrypt(&keys, token).as_deref(), Ok(INSIDE), "{alg}");
        for member in ["apu", "apv"] {
            let altered = with_header(token, |header| header[member] = json!("AAAA"));
            assert_eq!(decrypt(&keys, &altered), Err(UNDECRYPTABLE.into()), "{alg} {member}");
            let unread = with_header(token, |header| header[member] = json!("A=="));
            assert_eq!(decrypt(&keys, &unread), Err(format!("its `{member}` is no base64url")));
            let no_text = with_header(token, |header| header[member] = json!(1));
            assert_eq!(decrypt(&keys, &no_text), Err(format!("its `{member}` is no text")));
        }
    }
}

#[test]
fn the_key_derivation_is_that_of_the_standard_s_example() {
    // RFC 7518, appendix C: what is agreed upon, and what follows from it.
    let agreed = [
        158, 86, 217, 29, 129, 113, 53, 211, 114, 131, 66, 131, 191, 132, 38, 156, 251, 49, 110, 163, 218, 128, 106,
        72, 246, 218, 167, 121, 140, 254, 144, 196,
    ];
    let derived = keys::derive(&agreed, "A128GCM", b"Alice", b"Bob", 16).expect("a key");
    assert_eq!(URL_SAFE_NO_PAD.encode(&*derived), "VqqN6vgjbSBcIijNcacQGg");
}

#[test]
fn whichever_key_it_is_for_is_found_among_four() {
    let keys = peer().keys(&["RSA other", "P-256 other", "RSA", "P-256"]);
    for name in ["RSA RSA-OAEP A256GCM", "RSA other RSA-OAEP-256 A128CBC-HS256", "P-256 ECDH-ES+A256KW A128GCM"] {
        assert_eq!(decrypt(&keys, peer().token(name)).as_deref(), Ok(INSIDE), "{name}");
    }
    assert_eq!(format!("{keys:?}"), "DecryptionKeys");
}

#[test]
fn whatever_fails_after_the_header_gives_one_answer() {
    let peer = peer();
    for (name, key) in [
        ("RSA RSA-OAEP A256GCM", "RSA"),
        ("RSA RSA-OAEP-256 A128CBC-HS256", "RSA"),
        ("P-256 ECDH-ES A128GCM", "P-256"),
        ("P-256 ECDH-ES A256CBC-HS512", "P-256"),
        ("P-384 ECDH-ES+A128KW A192CBC-HS384", "P-384"),
        ("P-521 ECDH-ES+A256KW A192GCM", "P-521"),
    ] {
        let (token, keys) = (peer.token(name), peer.keys(&[key]));
        assert_eq!(decrypt(&keys, token).as_deref(), Ok(INSIDE));
        let refused = |what: &str, keys: &DecryptionKeys, altered: &str| {
            assert_ne!(altered, token);
            assert_eq!(decrypt(keys, altered), Err(UNDECRYPTABLE.into()), "{name}: {what}");
        };
        for index in 1..5 {
            let part = token.split('.').nth(index).expect("a part");
            if part.is_empty() {
                continue;
            }
            for bit in [0, 7] {
                refused("first byte", &keys, &with_part(token, index, |bytes| bytes[0] ^= 1 << bit));
                refused("last byte", &keys, &with_part(token, index, |bytes| *bytes.last_mut().unwrap() ^= 1 << bit));
            }
            refused("cut", &keys, &with_part(token, index, |bytes| bytes.truncate(bytes.len() - 1)));
            refused("longer", &keys, &with_part(token, index, |bytes| bytes.push(0)));
            refused("halved", &keys, &with_part(token, index, |bytes| bytes.truncate(bytes.len() / 2)));
            refused("empty", &keys, &with_part(token, index, Vec::clear));
        }
        refused("longer by a block", &keys, &with_part(token, 3, |bytes| bytes.extend([0; 16])));
        refused("header", &keys, &with_header(token, |header| header["kid"] = json!("b")));
        let other = format!("{key} other");
        assert_eq!(decrypt(&peer.keys(&[&other]), token), Err(UNDECRYPTABLE.into()), "{name}: another key");
    }
    let keys = peer.keys(&["RSA"]);
    assert_eq!(decrypt(&keys, peer.token("no text")), Err(UNDECRYPTABLE.into()));
    assert_eq!(decrypt(&keys, peer.token("empty")).as_deref(), Ok(""));
    // The other key management and the other encryption, with keys of the same length.
    let token = peer.token("RSA RSA-OAEP A256GCM");
    for (member, value) in [("alg", "RSA-OAEP-256"), ("enc", "A128CBC-HS256"), ("enc", "A128GCM")] {
        let altered = with_header(token, |header| header[member] = json!(value));
        assert_eq!(decrypt(&keys, &altered), Err(UNDECRYPTABLE.into()), "{value}");
    }
}

#[test]
fn another_curve_or_a_point_off_the_curve_is_refused() {
    let token = peer().token("P-256 ECDH-ES A128GCM");
    let keys = peer().keys(&["P-256"]);
    let with_epk =
        |change: &dyn Fn(&mut Value)| decrypt(&keys, &with_header(token, |header| change(&mut header["epk"])));
    let off = with_epk(&|epk| {
        let mut y = URL_SAFE_NO_PAD.decode(epk["y"].as_str().expect("y")).expect("base64");
        y[31] ^= 1;
        epk["y"] = json!(URL_SAFE_NO_PAD.encode(y));
    });
    assert_eq!(off, Err("its `epk` is no point on P-256".into()));
    let zero = URL_SAFE_NO_PAD.encode([0; 32]);
    let infinity = with_epk(&|epk| (epk["x"], epk["y"]) = (json!(zero), json!(zero)));
    assert_eq!(infinity, Err("its `epk` is no point on P-256".into()));
    let above = URL_SAFE_NO_PAD.encode([0xff; 32]);
    assert_eq!(with_epk(&|epk| epk["x"] = json!(above)), Err("its `epk` is no point on P-256".into()));
    let renamed = with_epk(&|epk| epk["crv"] = json!("P-384"));
    assert_eq!(renamed, Err("`x` of its `epk` has 32 bytes; expected 48".into()));
    let short = with_epk(&|epk| epk["y"] = json!("AAAA"));
    assert_eq!(short, Err("`y` of its `epk` has 3 bytes; expected 32".into()));
    let missing = with_epk(&|epk| epk["y"] = Value::Null);
    assert_eq!(missing, Err("its `y` is no text".into()));
    let okp = with_epk(&|epk| *epk = json!({ "kty": "OKP", "crv": "X25519", "x": zero }));
    assert_eq!(okp, Err("its `epk` is not of `kty` EC".into()));
    let unknown = with_epk(&|epk| epk["crv"] = json!("secp256k1"));
    assert_eq!(unknown, Err("its `crv` is `secp256k1`; expected one of P-256, P-384, P-521".into()));
    assert_eq!(
        with_epk(&|epk| *epk = json!("P-256")),
        Err("its `epk` is no JSON object of single members (another type at the end)".into())
    );

    let p384 = decrypt(&peer().keys(&["P-384", "RSA"]), token);
    assert_eq!(p384, Err("it is encrypted for a P-256 key; ours are none".into()));
    let rsa = decrypt(&keys, peer().token("RSA RSA-OAEP A128GCM"));
    assert_eq!(rsa, Err("it is encrypted for an RSA key; ours are none".into()));
}

#[test]
fn nothing_but_the_listed_algorithms_is_taken() {
    let keys = peer().keys(&["RSA", "P-256"]);
    let token = peer().token("RSA RSA-OAEP A128GCM");
    let none = [
        "RSA1_5",
        "dir",
        "none",
        "A128KW",
        "A256GCMKW",
        "ECDH-ES+A192KW",
        "PBES2-HS256+A128KW",
        "RSA-OAEP-512",
        "rsa-oaep",
        "",
    ];
    for alg in none {
        let refused = decrypt(&keys, &with_header(token, |header| header["alg"] = json!(alg))).expect_err(alg);
        assert!(refused.starts_with(&format!("its `alg` is `{alg}`; expected one of RSA-OAEP, ")), "{refused}");
    }
    for enc in ["A128CBC", "none", "a128gcm", "C20P", ""] {
        let refused = decrypt(&keys, &with_header(token, |header| header["enc"] = json!(enc))).expect_err(enc);
        assert!(refused.starts_with(&format!("its `enc` is `{enc}`; expected one of A128GCM, ")), "{refused}");
    }
    for member in ["alg", "enc"] {
        for value in [Value::Null, json!(1), json!(["RSA-OAEP"])] {
            let refused = decrypt(&keys, &with_header(token, |header| header[member] = value)).expect_err(member);
            assert!(refused.starts_with(&format!("its `{member}` is none; expected one of ")), "{refused}");
        }
    }
    for (member, value) in
        [("zip", json!("DEF")), ("zip", Value::Null), ("crit", json!([])), ("p2c", json!(1_u64 << 40))]
    {
        let refused = decrypt(&keys, &with_header(token, |header| header[member] = value));
        assert_eq!(refused, Err(format!("its header has `{member}`, which is not supported")));
    }
    let ecdh = peer().token("P-256 ECDH-ES A128GCM");
    let without = with_header(ecdh, |header| drop(header.as_object_mut().expect("object").remove("epk")));
    assert_eq!(decrypt(&keys, &without), Err("its header has no `epk`".into()));
    let filled = with_part(ecdh, 1, |bytes| bytes.push(1));
    assert_eq!(decrypt(&keys, &filled), Err("its encrypted key is not empty, as `alg` ECDH-ES asks for".into()));
}

#[test]
fn a_token_that_two_parsers_could_read_differently_is_refused() {
    let keys = peer().keys(&["RSA", "P-256"]);
    let (header, rest) = peer().token("P-256 ECDH-ES A128GCM").split_once('.').expect("a header");
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(header).expect("base64")).expect("text");
    let with = |text: &str| decrypt(&keys, &format!("{}.{rest}", URL_SAFE_NO_PAD.encode(text)));
    assert_eq!(with(&text).as_deref(), Ok(INSIDE));
    let twice = text.replacen('{', r#"{"alg":"RSA1_5","#, 1);
    assert_eq!(
        with(&twice),
        Err("its header is no JSON object of single members (a member comes twice at the end of line 1)".into())
    );
    assert_eq!(
        with(&text.replacen('{', r#"{"kid":"b","#, 1)),
        Err("its header is no JSON object of single members (a member comes twice at the end of line 1)".into())
    );
    assert_eq!(
        with(&text.replacen(r#""crv":"#, r#""crv":"P-521","crv":"#, 1)),
        Err("its `epk` is no JSON object of single members (a member comes twice at the end)".into())
    );
    assert_eq!(with(&format!("{text} ")), Err(UNDECRYPTABLE.into()));
    assert_eq!(
        with(&format!("{text}{text}")),
        Err("its header is no JSON object of single members (a syntax error at the end of line 1)".into())
    );
    assert_eq!(
        with("[]"),
        Err("its header is no JSON object of single members (another type at the end of line 1)".into())
    );
    assert_eq!(
        with(&"[".repeat(3000)),
        Err("its header is no JSON object of single members (another type at the end of line 1)".into())
    );
    let deep = format!(r#"{{"a":{}"#, "[".repeat(2900));
    assert_eq!(
        with(&deep),
        Err("its header is no JSON object of single members (a syntax error at the end of line 1)".into())
    );
    for (name, index) in [("header", 0), ("encrypted key", 1), ("initialization vector", 2), ("ciphertext", 3)] {
        let mut parts: Vec<String> = peer().token("RSA RSA-OAEP A128GCM").split('.').map(str::to_owned).collect();
        parts[index].push('=');
        assert_eq!(decrypt(&keys, &parts.join(".")), Err(format!("its {name} is no base64url")));
    }
}

#[test]
fn what_is_too_large_or_has_other_parts_is_refused_before_it_is_read() {
    let keys = peer().keys(&["RSA", "P-256"]);
    assert_eq!(decrypt(&keys, peer().token("large")).map(|text| text.len()), Ok(500 * 1024));
    let refused = decrypt(&keys, peer().token("too large")).expect_err("too large");
    assert!(refused.ends_with(" bytes; 786432 are looked at"), "{refused}");
    for dots in [0, 2, 3, 5, 1000] {
        let token = ".".repeat(dots);
        assert!(!is_encrypted(&token));
        assert_eq!(decrypt(&keys, &token), Err(format!("token has {dots} dots; an encrypted JWT has four")));
    }
    assert!(decrypt(&keys, "....").is_err() && is_encrypted("...."));
    let token = peer().token("RSA RSA-OAEP A128GCM");
    let header = with_header(token, |header| header["kid"] = json!("k".repeat(3100)));
    let refused = decrypt(&keys, &header).expect_err("header");
    assert!(refused.starts_with("its header has ") && refused.ends_with(" bytes; 4096 are looked at"), "{refused}");
    let refused = decrypt(&keys, &with_part(token, 1, |key| key.resize(2000, 0)));
    assert_eq!(refused, Err("its encrypted key has 2667 bytes; 1400 are looked at".into()));
}

#[test]
fn keys_that_cannot_be_used_are_named() {
    let pem = |name: &str| peer().keys[name].as_str().expect("a key").to_owned();
    let table = [
        (pem("RSA weak"), "its RSA key is shorter than 2048 bit"),
        (pem("Ed25519"), "its private key cannot be used; expected RSA, P-256, P-384 or P-521"),
        (pem("P-256") + &pem("RSA weak"), "its RSA key is shorter than 2048 bit"),
        (pem("P-256").repeat(5), "it holds 5 private keys; expected at most 4"),
        (String::new(), "it holds no PEM private key, but nothing at all"),
    ];
    for (text, why) in table {
        let refused = DecryptionKeys::from_pem(&text).map(drop);
        assert_eq!(refused, Err(Failure::new(Reason::CertificateUnusable, why)));
    }
}
