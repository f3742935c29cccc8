//! Tables of tokens, valid, invalid and odd, each with what is to be said about it.

mod cache;
mod forge;
mod good;

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
