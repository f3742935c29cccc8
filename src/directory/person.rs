//! From an entry of the directory to who somebody is.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::name::is_unseen;
use crate::claims::{self, ClaimNames, MadeClaims, NeededClaims};
use crate::config::model::{Directory, EMAIL, FULL_NAME, GROUPS, GroupNames, SUBJECT, USER};
use crate::identity::Identity;
use crate::ldap::dn::Dn;
use crate::ldap::message::Entry;
use crate::reason::{Failure, Reason};
use crate::words::counted;

/// Attributes that stay with an entry when it is renamed (RFC 4530, and what Active Directory and 389 have instead).
const UNIQUE: [&str; 3] = ["entryUUID", "objectGUID", "nsUniqueId"];

/// How entries are read.
pub struct Reading {
    settings: Directory,
    names: ClaimNames,
    needed: NeededClaims,
    attributes: Vec<String>,
    /// In the form in which they are compared.
    allowed: BTreeSet<String>,
}

impl Reading {
    pub fn new(settings: &Directory, needed: NeededClaims) -> Self {
        let fields =
            [USER, EMAIL, FULL_NAME, GROUPS, SUBJECT].into_iter().filter_map(|claim| settings.attribute(claim));
        let searched = settings.group_base_dn.is_some();
        let groups = settings.attribute(GROUPS).filter(|_| searched);
        let others = settings.attributes.values().map(String::as_str);
        let all = fields.chain(others).chain(UNIQUE).filter(|name| Some(*name) != groups);
        let mut seen = BTreeSet::new();
        Reading {
            attributes: all.filter(|name| seen.insert(name.to_ascii_lowercase())).map(String::from).collect(),
            names: ClaimNames {
                voucher: settings.name.as_str().into(),
                user_claim: USER.into(),
                email_claim: EMAIL.into(),
                groups_claim: GROUPS.into(),
                made: MadeClaims::new(&[]),
            },
            allowed: settings.group_allow_list.iter().map(|group| compared(group)).collect(),
            needed,
            settings: settings.clone(),
        }
    }

    /// Attributes to ask for.
    pub fn attributes(&self) -> &[String] {
        &self.attributes
    }

    /// What the app knows the person by: one value of the directory's own.
    pub fn user(&self, entry: &Entry) -> Result<String, Failure> {
        let unusable = |what: String| Failure::new(Reason::DirectoryEntryUnusable, what);
        let name = self.settings.attribute(USER).unwrap_or_default();
        let mut values = entry.texts(name).filter(|value| !value.trim().is_empty());
        match (values.next(), values.next()) {
            (Some(one), None) => match one.chars().find(|c| is_unseen(*c)) {
                Some(c) => {
                    Err(unusable(format!("{:?} has a `{name}` with the character U+{:04X}", entry.dn, u32::from(c))))
                }
                None => Ok(one.to_owned()),
            },
            (None, _) => Err(unusable(format!("{:?} has no `{name}`", entry.dn))),
            (Some(_), Some(_)) => Err(unusable(format!("{:?} has several values of `{name}`", entry.dn))),
        }
    }

    /// Who it is; `groups` where they were searched for.
    pub fn identity(&self, entry: &Entry, user: String, groups: Option<Vec<String>>) -> Result<Identity, Failure> {
        if groups.is_none() && self.has_part_of_groups(entry) {
            let detail = "the directory lists a part of them (`range=`); `group_base_dn` searches for all";
            return Err(Failure::new(Reason::DirectoryGroupsTooMany, detail));
        }
        let groups = groups.unwrap_or_else(|| self.groups(entry));
        let most = self.settings.max_groups;
        if groups.len() > most {
            let detail = format!("{}; max_groups is {most}", counted(groups.len(), "group", "groups"));
            return Err(Failure::new(Reason::DirectoryGroupsTooMany, detail));
        }
        if !self.allowed.is_empty() && !groups.iter().any(|group| self.allowed.contains(&compared(group))) {
            let detail = format!(
                "{:?} has {}, and none of `group_allow_list`",
                entry.dn,
                counted(groups.len(), "group", "groups")
            );
            return Err(Failure::new(Reason::DirectoryGroupMissing, detail));
        }
        let mut claims = Map::new();
        for claim in self.settings.attributes.keys().map(String::as_str).chain([EMAIL, FULL_NAME]) {
            let name = self.settings.attribute(claim).unwrap_or_default();
            let mut texts: Vec<Value> = entry.texts(name).map(Value::from).collect();
            let one = texts.len() == 1 || matches!(claim, EMAIL | FULL_NAME);
            let value = match (texts.is_empty(), one) {
                (true, _) => continue,
                // People have several addresses; the first is the one they are known by.
                (false, true) => texts.swap_remove(0),
                (false, false) => Value::Array(texts),
            };
            claims.insert(claim.to_owned(), value);
        }
        claims.insert(USER.into(), user.into());
        claims.insert(GROUPS.into(), groups.into());
        claims::identity(&self.names, &self.needed, &self.subject(entry), &claims)
    }

    /// Active Directory gives no more than 1500 values at once, under a name of their own: `memberOf;range=0-1499`.
    fn has_part_of_groups(&self, entry: &Entry) -> bool {
        let Some(groups) = self.settings.attribute(GROUPS) else { return false };
        let is_part = |name: &str| {
            let (own, options) = name.split_once(';').unwrap_or((name, ""));
            own.eq_ignore_ascii_case(groups) && options.to_ascii_lowercase().contains("range=")
        };
        entry.attributes.iter().any(|(name, _)| is_part(name))
    }

    fn groups(&self, entry: &Entry) -> Vec<String> {
        let named = |value: &str| match (self.settings.group_names, Dn::parse(value)) {
            (GroupNames::First, Ok(dn)) => dn.first().map_or_else(|| value.to_owned(), |(_, first)| first),
            _ => value.to_owned(),
        };
        self.settings.attribute(GROUPS).map_or_else(Vec::new, |name| entry.texts(name).map(named).collect())
    }

    /// What is never somebody else's: the entry's own id, and its name where it has none.
    fn subject(&self, entry: &Entry) -> String {
        let named = self.settings.attribute(SUBJECT).into_iter().chain(UNIQUE);
        let value = named.filter_map(|name| entry.values(name).first()).find(|value| !value.is_empty());
        match value.map(|value| (value, std::str::from_utf8(value))) {
            Some((_, Ok(text))) if !text.chars().any(char::is_control) => text.to_owned(),
            Some((bytes, _)) => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
            None => entry.dn.clone(),
        }
    }
}

/// Groups have no case in directories, and a DN has several spellings.
fn compared(group: &str) -> String {
    match Dn::parse(group) {
        Ok(dn) if dn.first().is_some() => dn.key(),
        _ => group.trim().to_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(toml: &str) -> Directory {
        let text = format!("address = ['ldap://localhost']\nbase_dn = 'dc=x'\n{toml}");
        toml::from_str(&text).unwrap_or_else(|e| panic!("{e}"))
    }

    fn entry(attributes: &[(&str, &[&str])]) -> Entry {
        let values = |values: &[&str]| values.iter().map(|value| value.as_bytes().to_vec()).collect();
        let attributes = attributes.iter().map(|(name, of)| ((*name).to_owned(), values(of))).collect();
        Entry { dn: "uid=bob,dc=x".into(), attributes }
    }

    fn read(toml: &str, entry: &Entry) -> Result<Identity, Reason> {
        let reading = Reading::new(&settings(toml), NeededClaims::default());
        reading.user(entry).and_then(|user| reading.identity(entry, user, None)).map_err(|failure| failure.reason)
    }

    const ADMINS: &str = "cn=admins,ou=groups,dc=x";

    #[test]
    fn an_entry_is_read_by_the_attributes_that_are_named() {
        let bob = entry(&[
            ("UID", &["bob"]),
            ("mail", &["bob@x.example", "b@x.example"]),
            ("cn", &["Bob B."]),
            ("memberOf", &[ADMINS, "cn=b,dc=x"]),
            ("entryUUID", &["1-2-3"]),
        ]);
        let who = read("", &bob).expect("an identity");
        assert_eq!((who.provider.as_str(), who.user.as_str(), who.subject.as_str()), ("ldap", "bob", "1-2-3"));
        assert_eq!((who.email.as_deref(), who.name.as_deref()), (Some("bob@x.example"), Some("Bob B.")));
        assert_eq!(who.groups, Some(vec![ADMINS.into(), "cn=b,dc=x".into()]));
        let who = read(
            "group_names = 'first'\nattributes = { user = 'mail' }",
            &entry(&[("mail", &["b"]), ("memberOf", &[ADMINS])]),
        );
        let who = who.expect("an identity");
        assert_eq!((who.user.as_str(), who.groups), ("b", Some(vec!["admins".into()])));
        assert_eq!(who.subject, "uid=bob,dc=x");
        let who = read("attributes = { groups = 'gidNumber' }", &entry(&[("uid", &["b"]), ("gidNumber", &["100"])]));
        assert_eq!(who.expect("an identity").groups, Some(vec!["100".into()]));
    }

    #[test]
    fn what_cannot_name_somebody_is_refused_by_name() {
        use Reason::*;
        for (toml, entry, reason) in [
            ("", entry(&[]), DirectoryEntryUnusable),
            ("", entry(&[("uid", &["a", "b"])]), DirectoryEntryUnusable),
            ("", entry(&[("uid", &[" "])]), DirectoryEntryUnusable),
            ("max_groups = 1", entry(&[("uid", &["a"]), ("memberOf", &["cn=a", "cn=b"])]), DirectoryGroupsTooMany),
            (
                "group_allow_list = ['admins']",
                entry(&[("uid", &["a"]), ("memberOf", &[ADMINS])]),
                DirectoryGroupMissing,
            ),
            ("", entry(&[("uid", &["bo\u{200b}b"])]), DirectoryEntryUnusable),
            ("", entry(&[("uid", &["a"]), ("memberOf;range=0-1499", &[ADMINS])]), DirectoryGroupsTooMany),
            ("", entry(&[("uid", &["a\u{1}"])]), DirectoryEntryUnusable),
        ] {
            assert_eq!(read(toml, &entry).map(|who| who.user), Err(reason), "{toml}");
        }
    }

    #[test]
    fn groups_that_may_sign_in_are_compared_as_directories_do() {
        for list in ["['CN=Admins, OU=groups,DC=X']", "['other', 'cn=admins,ou=groups,dc=x']"] {
            let bob = entry(&[("uid", &["bob"]), ("memberOf", &[ADMINS])]);
            assert!(read(&format!("group_allow_list = {list}"), &bob).is_ok(), "{list}");
        }
        let bob = entry(&[("uid", &["bob"]), ("memberOf", &[ADMINS])]);
        assert!(read("group_names = 'first'\ngroup_allow_list = ['ADMINS']", &bob).is_ok());
    }
}
