//! Forms that two readers could take differently, and forms that are none.

use serde_json::{Value, json};

use super::forge::{self, NOW, b64, claims, header, sealed, signature, signed};
use super::{Bench, Row, check, row};
use crate::config::model::TokenAlgorithm::*;
use crate::reason::Reason::{self, TokenAlgorithm as Algorithm, TokenForm, TokenIssuer, TokenSignature};

pub fn rows() -> Vec<Row> {
    [whole(), encodings(), headers(), claim_sets()].concat()
}

/// The parts, put together wrongly.
fn whole() -> Vec<Row> {
    let good = forge::good(ES256);
    let parts: Vec<&str> = good.split('.').collect();
    let (h, c, s) = (parts[0], parts[1], parts[2]);
    let form = |what: &str, token: String| row(what, token, Some(TokenForm));
    vec![
        row("as it was issued", good.clone(), None),
        form("nothing", String::new()),
        form("a word", "token".into()),
        form("one dot", format!("{h}.{c}")),
        form("two dots and nothing", "..".into()),
        form("three dots", format!("{good}.")),
        form("a dot before", format!(".{good}")),
        form("five parts, as of a JWE", format!("{good}.{c}.{s}")),
        form("four parts", format!("{good}.{s}")),
        form("a thousand dots", ".".repeat(1000)),
        form("no header", format!(".{c}.{s}")),
        form("no claims", format!("{h}..{s}")),
        row("header and claims exchanged", format!("{c}.{h}.{s}"), Some(TokenForm)),
        row("claims of another token", format!("{h}.{}.{s}", b64(claims(json!({"sub": "x"})))), Some(TokenSignature)),
        form("a space before", format!(" {good}")),
        form("a space behind", format!("{good} ")),
        form("a line end behind", format!("{good}\n")),
        form("a space beside a dot", format!("{h} .{c}.{s}")),
        form("a line end within", format!("{h}.{}\r\n{}.{s}", &c[..8], &c[8..])),
        form("quotes around", format!("\"{good}\"")),
        form("a null byte within", format!("{h}.{c}\0.{s}")),
        form("a comma for a dot", format!("{h},{c},{s}")),
        form("a full-width dot", format!("{h}\u{ff0e}{c}.{s}")),
        form("two tokens", format!("{good},{good}")),
        form("percent-encoded dots", good.replace('.', "%2e")),
        form(
            "JSON serialisation",
            json!({ "payload": c, "signatures": [{ "protected": h, "signature": s }] }).to_string(),
        ),
        form("more than is looked at", format!("{h}.{c}.{}", "A".repeat(600_000))),
        form("a signature of 2 kB", format!("{h}.{c}.{}", "A".repeat(2000))),
        form(
            "a header of 8 kB",
            signed(ES256, &json!({"alg": "ES256", "x": "x".repeat(6000)}).to_string(), &claims(json!({}))),
        ),
    ]
}

/// Base64url of the same bytes in other letters. The signature is over those letters, so that it holds.
fn encodings() -> Vec<Row> {
    let (header, claims) = (header(ES256), claims(json!({})));
    let signed = |h: &str, c: &str| sealed(h, c, |message| signature(ES256, message));
    let (h, c) = (b64(&header), b64(&claims));
    let good = signed(&h, &c);
    let (message, s) = good.rsplit_once('.').expect("three parts");
    // Another last letter of the same bytes: its lowest bits are thrown away by careless readers.
    let trailing = |part: &str| {
        let last = part.as_bytes()[part.len() - 1];
        let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let at = letters.iter().position(|letter| *letter == last).expect("a letter");
        format!("{}{}", &part[..part.len() - 1], letters[at + 1] as char)
    };
    // Lengths at which there are bits to be thrown away: one byte more than a multiple of three.
    let pad = |text: &str| {
        let text = text.trim_end_matches('}');
        let missing = (3 - (text.len() + 2) % 3) % 3 + 1;
        format!("{text}{}}}", " ".repeat(if missing == 3 { 0 } else { missing }))
    };
    let (h1, c1) = (b64(pad(&header)), b64(pad(&claims)));
    let form = |what: &str, token: String| row(what, token, Some(TokenForm));
    vec![
        form("header with padding", signed(&format!("{h}="), &c)),
        form("claims with padding", signed(&h, &format!("{c}=="))),
        form("signature with padding", format!("{message}.{s}==")),
        form("header with bits behind", signed(&trailing(&h1), &c)),
        form("claims with bits behind", signed(&h, &trailing(&c1))),
        form("signature with bits behind", format!("{message}.{}", trailing(s))),
        form("header of an impossible length", signed(&format!("{h}AAAAA")[..h.len() / 4 * 4 + 5], &c)),
        form("standard base64 in the signature", format!("{message}.{}", standard(s))),
        form(
            "standard base64 in the claims",
            signed(&h, &b64(json!({"iss": "?>?>?>?>"}).to_string()).replace('_', "/").replace('-', "+")),
        ),
        form("a space in the claims", signed(&h, &format!("{} {}", &c[..4], &c[4..]))),
        form("a line end in the claims", signed(&h, &format!("{}\n{}", &c[..4], &c[4..]))),
        form("letters outside ASCII", signed(&h, &format!("é{c}"))),
        form("base64 of base64", signed(&b64(&h), &b64(&c))),
    ]
}

/// The signature with one `+` in it, whether it has a `-` or not.
fn standard(signature: &str) -> String {
    format!("+{}", &signature[1..])
}

fn headers() -> Vec<Row> {
    let with = |header: &str| signed(ES256, header, &claims(json!({})));
    let good = |what: &str, header: &str| row(what, with(header), None);
    let form = |what: &str, header: &str| row(what, with(header), Some(TokenForm));
    let mut rows = vec![
        good("no kid, no typ", r#"{"alg":"ES256"}"#),
        good("escapes in names and values", r#"{"\u0061lg":"ES\u0032\u00356","kid":"p\u003256"}"#),
        good("white space", " {\t\"alg\" :\r\n\"ES256\" } "),
        good("x5t and x5c are not read", r#"{"alg":"ES256","kid":"p256","x5t":"abc","x5c":["MIIB"],"x5t#S256":"q"}"#),
        good("an unknown member", r#"{"alg":"ES256","nonce":"of-a-graph-token","ver":{"a":[1,2]}}"#),
        form("no alg", r#"{"kid":"p256"}"#),
        form("alg null", r#"{"alg":null}"#),
        form("alg a number", r#"{"alg":256}"#),
        form("alg a list", r#"{"alg":["ES256"]}"#),
        row("alg in upper case as a name", with(r#"{"ALG":"ES256"}"#), Some(TokenForm)),
        form("alg twice", r#"{"alg":"ES256","alg":"ES256"}"#),
        form("alg twice, once escaped", r#"{"alg":"ES256","al\u0067":"none"}"#),
        form("kid twice", r#"{"alg":"ES256","kid":"p256","kid":"p256"}"#),
        form("kid a number", r#"{"alg":"ES256","kid":256}"#),
        form("kid null", r#"{"alg":"ES256","kid":null}"#),
        form("kid an object", r#"{"alg":"ES256","kid":{"a":"p256"}}"#),
        form("kid a list", r#"{"alg":"ES256","kid":["p256"]}"#),
        form("typ a number", r#"{"alg":"ES256","typ":1}"#),
        form("typ twice", r#"{"alg":"ES256","typ":"JWT","typ":"at+jwt"}"#),
        form("an unknown member twice", r#"{"alg":"ES256","x":1,"x":1}"#),
        form("crit", r#"{"alg":"ES256","crit":["exp"]}"#),
        form("crit empty", r#"{"alg":"ES256","crit":[]}"#),
        form("crit null", r#"{"alg":"ES256","crit":null}"#),
        form("b64 false, with crit", r#"{"alg":"ES256","crit":["b64"],"b64":false}"#),
        form("b64 false, without crit", r#"{"alg":"ES256","b64":false}"#),
        form("jwk", &json!({"alg": "ES256", "jwk": forge::jwk(ES256)}).to_string()),
        form("jku", r#"{"alg":"ES256","jku":"https://evil.example/keys"}"#),
        form("x5u", r#"{"alg":"ES256","x5u":"https://evil.example/cert"}"#),
        form("jku, escaped", r#"{"alg":"ES256","jk\u0075":"https://evil.example/keys"}"#),
        form("cty", r#"{"alg":"ES256","cty":"JWT"}"#),
        form("zip", r#"{"alg":"ES256","zip":"DEF"}"#),
        form("enc", r#"{"alg":"ES256","enc":"A128GCM"}"#),
        form("no object", r#""ES256""#),
        form("a list", r#"[{"alg":"ES256"}]"#),
        form("cut off", r#"{"alg":"ES256""#),
        form("something behind", r#"{"alg":"ES256"}{}"#),
        form("a comma behind", r#"{"alg":"ES256",}"#),
        form("single quotes", r#"{'alg':'ES256'}"#),
        form("a comment", r#"{"alg":"ES256"/* */}"#),
        form("half of a surrogate pair", r#"{"alg":"ES256","x":"\ud800"}"#),
        form("a line end in a text", "{\"alg\":\"ES256\",\"kid\":\"p\n256\"}"),
        form("a byte order mark", "\u{feff}{\"alg\":\"ES256\"}"),
        form("130 levels", &format!(r#"{{"alg":"ES256","x":{}1{}}}"#, "[".repeat(130), "]".repeat(130))),
    ];
    let bytes = |header: &[u8]| sealed(&b64(header), &b64(claims(json!({}))), |message| signature(ES256, message));
    rows.push(row("no UTF-8", bytes(b"{\"alg\":\"ES256\",\"kid\":\"\xff\"}"), Some(TokenForm)));
    rows.push(row("a null byte behind", bytes(b"{\"alg\":\"ES256\"}\0"), Some(TokenForm)));
    rows.push(row("half a letter at the border", bytes(b"{\"alg\":\"ES256\"}\xc3"), Some(TokenForm)));
    rows
}

fn claim_sets() -> Vec<Row> {
    let raw = |what: &str, claims: &str, expected| row(what, signed(ES256, &header(ES256), claims), expected);
    let with = |changes: Value, expected| {
        row(format!("claims with {changes}"), signed(ES256, &header(ES256), &claims(changes)), expected)
    };
    let form = Some(TokenForm);
    let base = format!(r#""iss":"{}","sub":"s","aud":"experiments","exp":{}"#, forge::ISSUER, NOW + 60);
    let and = |more: &str| format!("{{{base},{more}}}");
    let mut rows = vec![
        raw("the fewest", &format!("{{{base}}}"), None),
        raw("white space", &format!(" {{ {base} }}\n"), None),
        raw("escapes", &format!("{{{}}}", base.replace("iss", "\\u0069ss").replace("https:", "http\\u0073:")), None),
        raw(
            "unknown claims of every kind",
            &and(r#""a":null,"b":true,"c":-1.5e3,"d":"x","e":[1,[2]],"f":{"g":{}},"h":-7"#),
            None,
        ),
        raw("unknown claims twice, which nobody reads", &and(r#""zz":1,"zz":2"#), None),
        raw("no object", "[]", form),
        raw("nothing", "", form),
        raw("null", "null", form),
        raw("a text", r#""claims""#, form),
        raw("empty", "{}", form),
        raw("cut off", &format!("{{{base}"), form),
        raw("something behind", &format!("{{{base}}} x"), form),
        raw("two objects", &format!("{{{base}}}{{{base}}}"), form),
        raw("a comma behind", &format!("{{{base},}}"), form),
        raw("not a number", &and(r#""nbf":NaN"#), form),
        raw("an unknown number out of range", &and(r#""q":1e999"#), form),
        raw("leading zero", &and(r#""iat":01"#), form),
        raw("130 levels that nobody reads", &and(&format!(r#""q":{}1{}"#, "[".repeat(130), "]".repeat(130))), form),
        raw("130 levels of objects", &and(&format!(r#""q":{}1{}"#, r#"{"a":"#.repeat(130), "}".repeat(130))), form),
        raw("130 levels of groups", &and(&format!(r#""groups":{}1{}"#, "[".repeat(130), "]".repeat(130))), form),
        raw("100 levels that nobody reads", &and(&format!(r#""q":{}1{}"#, "[".repeat(100), "]".repeat(100))), None),
        raw("half of a surrogate pair", &and(r#""q":"\udc00""#), form),
        raw("an escape that is none", &and(r#""q":"\x41""#), form),
    ];
    for name in ["iss", "sub", "aud", "exp"] {
        let value = if name == "exp" { (NOW + 999_999).to_string() } else { "\"experiments\"".into() };
        rows.push(raw(&format!("{name} twice"), &and(&format!(r#""{name}":{value}"#)), form));
        let escaped = format!("\\u{:04x}{}", name.as_bytes()[0], &name[1..]);
        rows.push(raw(&format!("{name} twice, once escaped"), &and(&format!(r#""{escaped}":{value}"#)), form));
    }
    for name in ["nbf", "iat", "jti", "scope", "scp", "nonce", "events", "email", "groups", "name", "email_verified"] {
        let value = if matches!(name, "nbf" | "iat") { "1" } else { "\"a\"" };
        rows.push(raw(&format!("{name} twice"), &and(&format!(r#""{name}":{value},"{name}":{value}"#)), form));
    }
    for name in ["exp", "nbf", "iat"] {
        for value in [json!("1800000300"), json!(1_800_000_300.5), json!(1e300), json!(-1), json!(true), json!([NOW])] {
            rows.push(with(json!({ name: value }), form));
        }
        for text in
            ["null", "1.8e9", "1800000300.0", "253402300800", "18446744073709551616", "9999999999999999999999", "-0"]
        {
            let rest = format!(r#""iss":"{}","sub":"s","aud":"experiments""#, forge::ISSUER);
            let exp = if name == "exp" { String::new() } else { format!(r#","exp":{}"#, NOW + 60) };
            rows.push(raw(&format!("{name} {text}"), &format!("{{{rest}{exp},\"{name}\":{text}}}"), form));
        }
    }
    for changes in [
        json!({"iss": ["https://ci.example.com"]}),
        json!({"iss": 1}),
        json!({"sub": 7}),
        json!({"sub": ""}),
        json!({"sub": "x".repeat(1025)}),
        json!({"sub": ["ci-7"]}),
        json!({"aud": 7}),
        json!({"aud": [7]}),
        json!({"aud": ["experiments", null]}),
        json!({"aud": {"experiments": true}}),
        json!({"aud": [["experiments"]]}),
        json!({"jti": 7}),
        json!({"scope": 7}),
        json!({"scope": {"a": 1}}),
        json!({"scp": [1]}),
        json!({"scp": true}),
        json!({"iss": null}),
        json!({"sub": null}),
        json!({"exp": null}),
    ] {
        rows.push(with(changes, form));
    }
    for iss in [
        "https://ci.example.com/",
        "https://CI.example.com",
        "http://ci.example.com",
        "https://ci.example.com.evil.example",
        " https://ci.example.com",
        "",
    ] {
        rows.push(with(json!({ "iss": iss }), Some(TokenIssuer)));
    }
    rows
}

#[test]
fn a_token_has_one_reading_or_is_refused_for_its_form() {
    check(&Bench::new(""), &forge::public_jwks(), &rows());
}

#[test]
fn the_detail_says_what_is_wrong_and_where() {
    let detail = |header: &str, claims: &str| {
        let verdict = Bench::new("").judge(&signed(ES256, header, claims), &forge::all_keys());
        verdict.err().map(|failure| failure.detail).unwrap_or_default()
    };
    let (header, claims) = (header(ES256), |changes| claims(changes));
    for (got, expected) in [
        (detail(&header, &claims(json!({"exp": "soon"}))), "`exp` of its claim set is no time in whole seconds"),
        (detail(&header, &claims(json!({"exp": null}))), "its claims have no `exp`"),
        (detail(&header, &claims(json!({"aud": 1}))), "`aud` of its claim set is neither a text nor a list of texts"),
        (detail(&header, "{"), "its claim set is no JSON object (cut off at the end of line 1)"),
        (detail(r#"{"alg":"ES256","alg":"none"}"#, "{}"), "`alg` of its header is there twice"),
        (
            detail(r#"{"alg":"ES256","jku":"x"}"#, "{}"),
            "`jku` of its header is the address of a key, and keys come from the issuer's key set only",
        ),
        (
            detail(r#"{"alg":"ES256","crit":[]}"#, "{}"),
            "`crit` of its header is an extension that would have to be understood",
        ),
        (detail(&header, &claims(json!({"iss": "https://evil.example"}))), "issuer is 'https://evil.example'"),
    ] {
        assert_eq!(got, expected);
    }
    let bench = Bench::new("");
    let of =
        |token: &str| bench.judge(token, &forge::all_keys()).err().map(|failure| failure.detail).unwrap_or_default();
    assert_eq!(of("a.b"), "token has 1 dots; a signed JWT has two");
    assert_eq!(of("a.b.c.d.e"), "token is encrypted (a JWE), and signed ones are read");
    assert_eq!(of("e30=.e30.e30"), "its header is no base64url");
    let none = of(&signed(ES256, r#"{"alg":"none"}"#, &claims(json!({}))));
    assert!(none.starts_with("algorithm is 'none'; accepted is RS256, RS384"), "{none}");
    assert_eq!(
        bench.reason(&signed(ES256, r#"{"alg":"none"}"#, &claims(json!({}))), &forge::all_keys()),
        Some(Algorithm)
    );
}

#[test]
fn no_cut_or_change_of_a_single_letter_makes_another_good_token() {
    let (bench, keys, good) = (Bench::new(""), forge::all_keys(), forge::good(ES256));
    for length in 0..good.len() {
        let reason = bench.reason(&good[..length], &keys);
        assert!(matches!(reason, Some(TokenForm | TokenSignature)), "{length}: {reason:?}");
    }
    for at in 0..good.len() {
        for letter in ["A", "_", ".", "=", " ", "\0"] {
            if &good[at..=at] == letter {
                continue;
            }
            let altered = format!("{}{letter}{}", &good[..at], &good[at + 1..]);
            let reason: Option<Reason> = bench.reason(&altered, &keys);
            assert!(reason.is_some(), "{at} {letter:?}");
        }
    }
}
