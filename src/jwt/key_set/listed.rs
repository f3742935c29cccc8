//! The keys of a set as operators see them. A shared secret is listed without anything of it.

use super::KeySet;
use crate::words::in_words;

/// One key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedKey {
    /// `kid`, where it has one.
    pub id: Option<String>,
    /// What it is good for, by the names of RFC 7518.
    pub algorithms: Vec<String>,
    /// The issuer it is published for, where the set is that of several.
    pub issuer: Option<String>,
    /// Whether it is a secret that both sides know.
    pub secret: bool,
}

impl KeySet {
    pub fn listed(&self) -> Vec<ListedKey> {
        let all = self.keys.iter().map(|key| (key, self.secret));
        let all = all.chain(self.shared.as_deref().map(|key| (key, true)));
        let list = all.map(|(key, secret)| ListedKey {
            id: key.id.as_deref().map(|id| in_words(id).trim_matches('`').to_owned()),
            algorithms: key.checks.iter().map(|(algorithm, _)| format!("{algorithm:?}")).collect(),
            issuer: key.issuer.as_deref().map(|issuer| in_words(issuer).trim_matches('`').to_owned()),
            secret,
        });
        list.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_listed_with_its_id_and_what_it_is_good_for() {
        let set = KeySet::ed25519(&[("one".into(), [7; 32])]).and_secret(b"hunter2hunter2hunter2hunter2hunter2");
        let listed = set.listed();
        assert_eq!((listed[0].id.as_deref(), &listed[0].algorithms[..]), (Some("one"), &["EdDSA".to_owned()][..]));
        assert!(listed[1].secret && listed[1].id.is_none() && !format!("{listed:?}").contains("hunter2"));
    }
}
