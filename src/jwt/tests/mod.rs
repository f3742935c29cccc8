//! Tables of tokens, valid, invalid and odd, each with what is to be said about it.

mod cache;
mod forge;
mod good;
mod peer;
mod property;
mod reading;
mod rules;
mod signatures;

use serde_json::Value;

use super::Verified;
use super::key_set::KeySet;
use super::token::{Unverified, WantedClaims};
use super::verify::Policy;
use crate::claims::NeededClaims;
use crate::config::model::{Headers, Issuer, Settings};
use crate::identity_headers::IdentityHeaders;
use crate::reason::{Failure, Reason};

/// An `[[issuer]]` that takes what [`forge::good`] makes, changed by `toml`.
fn issuer(toml: &str) -> Issuer {
    let mut whole: toml::Table = toml::from_str(
        r#"name = "ci"
           issuer = "https://ci.example.com"
           audiences = ["experiments"]"#,
    )
    .expect("toml");
    whole.extend(toml::from_str::<toml::Table>(toml).expect(toml));
    whole.try_into().expect(toml)
}

/// A row of a table: what it is about, the token, and the reason it is refused for; `None` where it is good.
type Row = (String, String, Option<Reason>);

fn row(what: impl Into<String>, token: impl Into<String>, expected: Option<Reason>) -> Row {
    (what.into(), token.into(), expected)
}

/// Holds our verdicts against the table's, and against jsonwebtoken's: a signature that it refuses is refused by us.
fn check(bench: &Bench, keys: &[Value], rows: &[Row]) {
    let set = forge::key_set(keys);
    for (what, token, expected) in rows {
        let verdict = bench.judge(token, &set);
        assert_eq!(verdict.as_ref().err().map(|failure| failure.reason), *expected, "{what}: {verdict:?}");
        if let Some(refused) = peer::refuses_signature(token, keys) {
            assert!(!refused || verdict.is_err(), "{what}: jsonwebtoken refuses the signature");
        }
    }
}

#[test]
fn the_tables_have_at_least_two_hundred_tokens() {
    let all = [reading::rows(), signatures::rows(), signatures::hmac_rows(), rules::rows()].concat();
    assert!(all.len() >= 200, "{}", all.len());
    let keys = forge::public_jwks();
    let asked = all.iter().filter(|(_, token, _)| peer::refuses_signature(token, &keys).is_some()).count();
    assert!(asked >= 150, "jsonwebtoken was asked about {asked} of {}", all.len());
}

/// An issuer's entry, and all that it takes to judge a token by it.
struct Bench {
    policy: Policy,
    wanted: WantedClaims,
    headers: IdentityHeaders,
}

impl Bench {
    fn new(toml: &str) -> Bench {
        let mut settings: Settings = toml::from_str("public_url = \"https://app.example.com\"").expect("settings");
        settings.issuer.push(issuer(toml));
        let policy = Policy::new(0, &settings.issuer[0], NeededClaims::of(&settings)).expect(toml);
        let wanted = WantedClaims::new(std::iter::once(&policy));
        Bench { policy, wanted, headers: IdentityHeaders::new(&Headers::default()) }
    }

    fn verify(&self, token: &str, keys: &KeySet) -> Result<Verified, Failure> {
        let read = Unverified::read(token.as_bytes(), &self.wanted)?;
        self.policy.verify(&read, keys, &self.headers)
    }

    /// All that a token goes through at [`forge::NOW`].
    fn judge(&self, token: &str, keys: &KeySet) -> Result<Verified, Failure> {
        let verified = self.verify(token, keys)?;
        self.policy.judge(&verified, forge::NOW)?;
        Ok(verified)
    }

    fn reason(&self, token: &str, keys: &KeySet) -> Option<Reason> {
        self.judge(token, keys).err().map(|failure| failure.reason)
    }
}

/// A member of a JSON object, for tables.
fn with(mut object: Value, name: &str, value: Value) -> Value {
    object[name] = value;
    object
}
