//! Claims that are made from others.

use super::Judge;
use crate::config::model::ClaimMap;
use crate::config::origin::KeyPath;

/// What a token says about itself. Made otherwise, it would no longer be what was verified.
const OF_THE_TOKEN: [&str; 19] = [
    "iss",
    "sub",
    "aud",
    "azp",
    "exp",
    "nbf",
    "iat",
    "jti",
    "nonce",
    "at_hash",
    "c_hash",
    "acr",
    "amr",
    "auth_time",
    "sid",
    "events",
    "cnf",
    "email_verified",
    "_claim_names",
];

impl Judge<'_> {
    pub(super) fn made_claims(&mut self) {
        for (index, provider) in self.settings.provider.iter().enumerate() {
            self.maps(&KeyPath::of("provider").index(index).key("claims"), &provider.claims);
        }
        for (index, issuer) in self.settings.issuer.iter().enumerate() {
            self.maps(&KeyPath::of("issuer").index(index).key("claims"), &issuer.claims);
        }
    }

    fn maps(&mut self, key: &KeyPath, maps: &[ClaimMap]) {
        for (index, map) in maps.iter().enumerate() {
            let key = key.index(index);
            if map.name.is_empty() {
                self.error(&key.key("name"), "is empty", "name the claim that is made");
            }
            if OF_THE_TOKEN.contains(&map.name.as_str()) {
                let message = format!("`{}` is what the token says about itself", map.name);
                self.error(&key.key("name"), message, "make a claim of another name, and read that");
            }
            if maps[..index].iter().any(|other| other.name == map.name) {
                let message = format!("`{}` is made twice", map.name);
                self.error(&key.key("name"), message, "name all its sources in one `from`");
            }
            if map.from.iter().any(String::is_empty) || map.from.is_empty() && map.default.is_none() {
                self.error(&key.key("from"), "names no claim", "name the claims to make it from, by path");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{refuses, with};

    #[test]
    fn a_claim_that_cannot_be_made_is_named() {
        let map = |map: &str| format!("[[provider.claims]]\n{map}\n");
        for (text, key, wanted) in [
            (map("name = \"sub\"\nfrom = [\"oid\"]"), "provider.claims.name", "says about itself"),
            (map("name = \"\"\nfrom = [\"oid\"]"), "provider.claims.name", "is empty"),
            (map("name = \"a\"\nfrom = []"), "provider.claims.from", "names no claim"),
            (map("name = \"a\"\nfrom = [\"\"]"), "provider.claims.from", "names no claim"),
            (map("name = \"a\"\nfrom = [\"b\"]").repeat(2), "provider.claims[1].name", "made twice"),
        ] {
            refuses(&with("", &text, ""), key, wanted);
        }
    }
}
