//! A rule asks for something that the directory did not say of a person: which of the directory's settings reads it.

use super::Directory;
use crate::config::model::{EMAIL, GROUPS};
use crate::reason::Failure;
use crate::words::in_words;

impl Directory {
    /// `failure`, by which a rule turned a person of this directory away for want of the claims `absent`, with the
    /// settings that fill them. They are read at sign-in.
    pub fn explain_absence(&self, failure: Failure, absent: &[&str]) -> Failure {
        let remedies: Vec<_> = absent.iter().map(|claim| self.how_to_read(claim)).collect();
        let remedy = format!("{} Then sign in again.", remedies.join(" "));
        failure.of_provider(self.name()).remedied(remedy)
    }

    fn how_to_read(&self, claim: &str) -> String {
        let settings = &self.settings;
        match claim {
            "groups" if settings.group_base_dn.is_some() => {
                "Compare `group_base_dn`, `group_filter` and `group_name_attribute` of `[ldap]` with the directory's groups."
                    .to_owned()
            }
            "groups" => format!(
                "Set `group_base_dn` of `[ldap]` to the entry that the groups are below, or `groups` of its `attributes` to \
                 the attribute that has them (`{}` is read now).",
                settings.attribute(GROUPS).unwrap_or("nothing")
            ),
            "email" => format!(
                "Give the entry an address in the attribute `{}`, or set `email` of `attributes` of `[ldap]` to the one that \
                 has it.",
                settings.attribute(EMAIL).unwrap_or("nothing")
            ),
            claim => format!(
                "Set {} of `attributes` of `[ldap]` to the attribute that has it, and give the entry one.",
                in_words(claim)
            ),
        }
    }
}
