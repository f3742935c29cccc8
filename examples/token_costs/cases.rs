//! The cases, by name: whole tokens beside the bare check of their signature, and beside jsonwebtoken.

use std::hint::black_box;
use std::sync::{Arc, LazyLock};

use aws_lc_rs::signature::{
    self as sig, ParsedPublicKey, RsaParameters, RsaPublicKeyComponents, VerificationAlgorithm,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use doorward::claims::NeededClaims;
use doorward::config::model::Settings;
use doorward::identity_headers::IdentityHeaders;
use doorward::jwt::Issuers;
use doorward::jwt::cache::TokenCache;
use doorward::jwt::key_set::KeySet;
use doorward::jwt::token::{Unverified, WantedClaims};
use doorward::jwt::verify::Policy;
use doorward::telemetry::metrics;
use futures::FutureExt;
use jsonwebtoken::{DecodingKey, Validation};
use serde_json::Value;

use crate::make;

pub type Case = Box<dyn FnMut()>;

/// While the tokens are valid.
pub const NOW: u64 = 1_800_000_000;
const SECRET: &[u8] = b"the shared secret of the benches, of sixty-four bytes and no fewer";

/// A token of 1.1 kB for each algorithm, and the public keys: from the file that `TOKEN_COSTS_FILE` names, so that two runs
/// do the same to the instruction, else made anew.
static FIXTURE: LazyLock<Value> = LazyLock::new(|| {
    let text = match std::env::var("TOKEN_COSTS_FILE") {
        Ok(path) => std::fs::read_to_string(path).expect("the file that `token_costs make` wrote"),
        Err(_) => make::fixture(),
    };
    serde_json::from_str(&text).expect("what `token_costs make` prints")
});

pub const ALGORITHMS: [&str; 10] =
    ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"];

/// Those beside whole tokens and bare checks.
const OTHERS: [&str; 13] = [
    "whole-HS256",
    "read-RS256",
    "hit",
    "hit-judged",
    "miss",
    "refused-form",
    "refused-header",
    "refused-issuer",
    "refused-signature",
    "refused-expired",
    "gateway-RS256",
    "headers",
    "observe",
];

/// The names of all cases.
pub fn names() -> Vec<String> {
    let each = |kind: &str| ALGORITHMS.map(|algorithm| format!("{kind}-{algorithm}"));
    let mut names: Vec<String> = [each("bare"), each("whole"), each("peer")].concat();
    // jsonwebtoken does not know P-521.
    names.retain(|name| name != "peer-ES512");
    names.extend(OTHERS.map(String::from));
    names
}

/// What the case of that name does once; `None` where there is none.
pub fn case(name: &str) -> Option<Case> {
    let (kind, algorithm) = name.split_once('-').unwrap_or((name, ""));
    let known = ALGORITHMS.contains(&algorithm);
    Some(match kind {
        "bare" if known => bare(algorithm),
        "whole" if known => whole(token(algorithm), keys(), settings("")),
        "peer" if known => peer(algorithm),
        _ => match name {
            "whole-HS256" => {
                let secret = format!("secret = \"{}\"", String::from_utf8_lossy(SECRET));
                whole(hmac_token(0), KeySet::secret(SECRET), settings(&secret))
            }
            "read-RS256" => read(token("RS256")),
            "hit" => hit(false),
            "hit-judged" => hit(true),
            "miss" => miss(),
            "refused-form" => read(token("RS256").replacen('.', "..", 1)),
            "refused-header" => {
                refused(format!("{}{}", URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#), after_header()), NOW)
            }
            "refused-issuer" => unknown_issuer(),
            "refused-signature" => refused(altered(), NOW),
            "refused-expired" => refused(token("RS256"), u64::MAX),
            "gateway-RS256" => through_issuers(),
            "headers" => headers(),
            "observe" => observe(),
            _ => return None,
        },
    })
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a text of the fixture")
}

pub fn token(algorithm: &str) -> String {
    text(&FIXTURE["tokens"][algorithm]).to_owned()
}

/// The token without its header.
fn after_header() -> String {
    let token = token("RS256");
    token[token.find('.').expect("three parts")..].to_owned()
}

/// A token with one other letter in its signature.
fn altered() -> String {
    let mut token = token("RS256");
    let at = token.len() - 20;
    let other = if token.as_bytes()[at] == b'A' { "B" } else { "A" };
    token.replace_range(at..=at, other);
    token
}

fn keys() -> KeySet {
    KeySet::parse(FIXTURE["jwks"].to_string().as_bytes()).expect("a key set")
}

pub fn settings(more: &str) -> Settings {
    let toml = format!(
        "public_url = \"https://app.example.com\"\n[[issuer]]\nname = \"ci\"\nissuer = \"https://id.example.com/realms/lab\"\n\
         audiences = [\"experiments\"]\ngroups_claim = \"realm_access.roles\"\n{more}"
    );
    toml::from_str(&toml).expect("settings")
}

/// An issuer's entry, compiled.
pub struct Entry {
    pub policy: Policy,
    pub wanted: WantedClaims,
    pub headers: IdentityHeaders,
}

pub fn entry(settings: &Settings) -> Entry {
    let policy = Policy::new(0, &settings.issuer[0], NeededClaims::of(settings)).expect("an entry");
    let wanted = WantedClaims::new(std::iter::once(&policy));
    Entry { policy, wanted, headers: IdentityHeaders::new(&settings.headers) }
}

fn jwk(algorithm: &str) -> &'static Value {
    let kid = match algorithm {
        "ES256" => "p256",
        "ES384" => "p384",
        "ES512" => "p521",
        "EdDSA" => "ed",
        _ => "rsa",
    };
    let keys = FIXTURE["jwks"]["keys"].as_array().expect("keys");
    keys.iter().find(|key| key["kid"] == kid).expect("a key")
}

/// The signature check alone, with a key that was parsed before.
fn bare(algorithm: &str) -> Case {
    let rsa: Option<&'static RsaParameters> = match algorithm {
        "RS256" => Some(&sig::RSA_PKCS1_2048_8192_SHA256),
        "RS384" => Some(&sig::RSA_PKCS1_2048_8192_SHA384),
        "RS512" => Some(&sig::RSA_PKCS1_2048_8192_SHA512),
        "PS256" => Some(&sig::RSA_PSS_2048_8192_SHA256),
        "PS384" => Some(&sig::RSA_PSS_2048_8192_SHA384),
        "PS512" => Some(&sig::RSA_PSS_2048_8192_SHA512),
        _ => None,
    };
    let jwk = jwk(algorithm);
    let octets = |name: &str| URL_SAFE_NO_PAD.decode(text(&jwk[name])).expect("base64url");
    let key = match rsa {
        Some(parameters) => RsaPublicKeyComponents { n: octets("n"), e: octets("e") }.to_parsed_public_key(parameters),
        None => {
            let (parameters, public): (&'static dyn VerificationAlgorithm, _) = match algorithm {
                "ES256" => (&sig::ECDSA_P256_SHA256_FIXED, [vec![4], octets("x"), octets("y")].concat()),
                "ES384" => (&sig::ECDSA_P384_SHA384_FIXED, [vec![4], octets("x"), octets("y")].concat()),
                "ES512" => (&sig::ECDSA_P521_SHA512_FIXED, [vec![4], octets("x"), octets("y")].concat()),
                _ => (&sig::ED25519, octets("x")),
            };
            ParsedPublicKey::new(parameters, public)
        }
    };
    let key = key.expect("a key");
    let token = token(algorithm);
    let (message, signature) = token.rsplit_once('.').expect("three parts");
    let (message, signature) = (message.to_owned(), URL_SAFE_NO_PAD.decode(signature).expect("base64url"));
    Box::new(move || key.verify_sig(black_box(message.as_bytes()), &signature).expect("a good signature"))
}

/// From the bytes of the token to who it is and the headers that say so.
fn whole(token: String, keys: KeySet, settings: Settings) -> Case {
    let Entry { policy, wanted, headers } = entry(&settings);
    Box::new(move || {
        let read = Unverified::read(black_box(token.as_bytes()), &wanted).expect("a good form");
        let verified = policy.verify(&read, &keys, &headers).expect("a good token");
        policy.judge(&verified, NOW).expect("a token in its time");
        black_box(verified);
    })
}

fn peer(algorithm: &str) -> Case {
    let key = DecodingKey::from_jwk(&serde_json::from_value(jwk(algorithm).clone()).expect("a JWK")).expect("a key");
    let mut validation = Validation::new(algorithm.parse().expect("an algorithm"));
    validation.set_audience(&["experiments"]);
    validation.set_issuer(&["https://id.example.com/realms/lab"]);
    let token = token(algorithm);
    Box::new(move || {
        black_box(jsonwebtoken::decode::<Value>(black_box(&token), &key, &validation).expect("a good token"));
    })
}

/// Header and claims alone, whatever comes of them.
fn read(token: String) -> Case {
    let wanted = entry(&settings("")).wanted;
    Box::new(move || drop(black_box(Unverified::read(black_box(token.as_bytes()), &wanted))))
}

fn refused(token: String, now: u64) -> Case {
    let Entry { policy, wanted, headers } = entry(&settings(""));
    let keys = keys();
    Box::new(move || {
        let read = Unverified::read(black_box(token.as_bytes()), &wanted).expect("a good form");
        let verdict = policy.verify(&read, &keys, &headers).and_then(|verified| policy.judge(&verified, now));
        black_box(verdict.expect_err("a bad token"));
    })
}

/// Tokens of 1.1 kB, signed with a secret, which is quick to make.
fn hmac_token(n: usize) -> String {
    let claims = text(&FIXTURE["claims"]).replacen("\"sub\":\"", &format!("\"sub\":\"{n}-"), 1);
    let members = claims.strip_suffix('}').expect("an object");
    // As long as with an RSA signature, whose place the padding takes.
    let padded = format!("{members},\"pad\":\"{}\"}}", "x".repeat(190));
    let message =
        format!("{}.{}", URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256","typ":"at+jwt"}"#), URL_SAFE_NO_PAD.encode(padded));
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, SECRET);
    let tag = aws_lc_rs::hmac::sign(&key, message.as_bytes());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(tag))
}

pub fn hmac_tokens(count: usize) -> Vec<String> {
    (0..count).map(hmac_token).collect()
}

/// A cache with those tokens in it.
pub fn filled(tokens: &[String]) -> (TokenCache, Entry) {
    let secret = format!("secret = \"{}\"", String::from_utf8_lossy(SECRET));
    let entry = entry(&settings(&secret));
    let (cache, keys) = (TokenCache::new(64 << 20), KeySet::secret(SECRET));
    // In turns, since a token is kept when it is seen again.
    while cache.stats().entries < tokens.len() {
        for token in tokens {
            if cache.get(token.as_bytes()).is_none() {
                let read = Unverified::read(token.as_bytes(), &entry.wanted).expect("a good form");
                let verified = entry.policy.verify(&read, &keys, &entry.headers).expect("a good token");
                cache.offer(token.as_bytes(), verified, 1);
            }
        }
    }
    (cache, entry)
}

/// One of two thousand tokens, in an order in which no two neighbours follow each other.
fn hit(judged: bool) -> Case {
    let tokens = hmac_tokens(2000);
    let (cache, entry) = filled(&tokens);
    let mut at = 0;
    Box::new(move || {
        at = (at + 769) % tokens.len();
        let kept = cache.get(black_box(tokens[at].as_bytes())).expect("a token in the cache");
        if judged {
            entry.policy.judge(&kept.verified, NOW).expect("a token in its time");
        }
        black_box(kept);
    })
}

/// A token that is not in the cache.
fn miss() -> Case {
    let (cache, _) = filled(&hmac_tokens(2000));
    let token = token("RS256");
    Box::new(move || drop(black_box(cache.get(black_box(token.as_bytes())))))
}

fn issuers() -> (Issuers, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("jwks.json");
    std::fs::write(&file, FIXTURE["jwks"].to_string()).expect("a file");
    let mut settings = settings(&format!("jwks_file = \"{}\"", file.display()));
    settings.bearer.cache_bytes.0 = 0;
    let headers = IdentityHeaders::new(&settings.headers);
    (Issuers::new(&settings, headers, None).expect("issuers"), folder)
}

/// A whole token as the gateway judges it, with the choice of the issuer and the record in the metrics.
fn through_issuers() -> Case {
    let (issuers, folder) = issuers();
    let token = token("RS256");
    // The age of the keys is told by the clock on the wall.
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(NOW, |since| since.as_secs());
    Box::new(move || {
        let _ = &folder;
        let verdict =
            issuers.judge(black_box(token.as_bytes()), None, now, |_| Ok(())).now_or_never().expect("no waiting");
        black_box(verdict.expect("a good token"));
    })
}

fn unknown_issuer() -> Case {
    let (issuers, folder) = issuers();
    let claims = text(&FIXTURE["claims"]).replace("id.example.com", "id.example.org");
    let token = token("RS256");
    let parts: Vec<&str> = token.split('.').collect();
    let token = format!("{}.{}.{}", parts[0], URL_SAFE_NO_PAD.encode(claims), parts[2]);
    Box::new(move || {
        let _ = &folder;
        let verdict =
            issuers.judge(black_box(token.as_bytes()), None, NOW, |_| Ok(())).now_or_never().expect("no waiting");
        black_box(verdict.expect_err("a stranger's token"));
    })
}

fn headers() -> Case {
    let Entry { policy, wanted, headers } = entry(&settings(""));
    let token = token("RS256");
    let read = Unverified::read(token.as_bytes(), &wanted).expect("a good form");
    let identity = Arc::new(policy.verify(&read, &keys(), &headers).expect("a good token").identity);
    Box::new(move || drop(black_box(headers.of(black_box(&identity)))))
}

fn observe() -> Case {
    let histogram = metrics().token_verification("ci", "RS256", "cache");
    Box::new(move || histogram.observe(black_box(0.000_000_3)))
}
