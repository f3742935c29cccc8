//! What the doctor wants to know of a directory beside whether it answers: whether the filter finds people, and whether
//! what is read of them is there.

use super::connection::Query;
use super::name::Name;
use super::{Directory, Looked, too_long};
use crate::config::model::{EMAIL, GROUPS, USER};
use crate::ldap::filter::{Filling, Filter};
use crate::ldap::message::{Entry, SIZE_LIMIT_EXCEEDED, SUCCESS, Scope};
use crate::reason::{Failure, Reason};

/// Entries that are looked at.
const SAMPLE: i32 = 5;

/// What a look at a directory found, without names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Examined {
    /// Which address answered, how it is protected, and who asked.
    pub how: String,
    /// Entries that the filter for people finds, up to five.
    pub people: usize,
    /// What is read of people, with the attribute, that none of those has.
    pub absent: Vec<(&'static str, String)>,
    /// Groups that are found, up to five, where they are searched for.
    pub groups: Option<usize>,
    /// What became of somebody who was looked for by name: how many groups they would sign in with.
    pub sample: Option<Result<usize, Failure>>,
}

impl Directory {
    /// Tries out what signing in needs, up to whether anybody is there.
    ///
    /// `user` is looked for as at a sign-in, up to the password, which is not asked for.
    pub async fn examined(&self, user: Option<&str>) -> Result<Examined, Failure> {
        let longest = self.pool.longest();
        let examined = tokio::time::timeout(longest, self.examine(user));
        examined.await.unwrap_or_else(|_| Err(too_long(longest)))
    }

    async fn examine(&self, user: Option<&str>) -> Result<Examined, Failure> {
        let sight = self.look(None).await?;
        let anybody = match &self.settings.user_filter {
            // Whoever has any value there.
            Some(text) => Filter::parse(&text.replace("{user}", "*")).unwrap_or_else(|_| Filter::everything()),
            None => Filter::has_one_of(&self.settings.user_attribute),
        };
        let people = self.sample("base_dn", &self.settings.base_dn, &anybody, self.reading.attributes()).await?;
        let read = [USER, EMAIL, GROUPS].into_iter().filter(|claim| self.groups.is_none() || *claim != GROUPS);
        let named = read.filter_map(|claim| Some((claim, self.settings.attribute(claim)?.to_owned())));
        let nobody_has = |attribute: &str| !people.iter().any(|entry| entry.texts(attribute).next().is_some());
        let absent = named.filter(|(_, attribute)| !people.is_empty() && nobody_has(attribute)).collect();
        let groups = match &self.settings.group_base_dn {
            Some(base) => {
                let name = std::slice::from_ref(&self.settings.group_name_attribute);
                Some(self.sample("group_base_dn", base, &Filter::has_one_of(name), name).await?.len())
            }
            None => None,
        };
        let sample = match user {
            Some(user) => Some(self.looked_for(user).await),
            None => None,
        };
        Ok(Examined { how: sight.said, people: people.len(), absent, groups, sample })
    }

    /// With how many groups `user` would sign in. Failures say nothing of the entry but what is wrong with it.
    async fn looked_for(&self, user: &str) -> Result<usize, Failure> {
        let entry = match self.find(&Name::parse(user)?).await? {
            Looked::One(entry) => entry,
            Looked::None(said) => return Err(Failure::new(Reason::DirectoryNobody, said)),
            Looked::Several => return Err(Failure::new(Reason::NameAmbiguous, "more than one entry")),
        };
        let identity = self.identity(&entry).await.map_err(|mut failure| {
            failure.detail = failure.detail.replace(&format!("{:?}", entry.dn), "the entry");
            failure
        })?;
        Ok(identity.groups.map_or(0, |groups| groups.len()))
    }

    async fn sample(&self, key: &str, base: &str, filter: &Filter, names: &[String]) -> Result<Vec<Entry>, Failure> {
        let query = Query {
            base,
            scope: Scope::Subtree,
            size_limit: SAMPLE,
            filter: filter.encode(Filling::default()),
            attributes: names,
        };
        let found = self.pool.search(&query).await?;
        match found.outcome.code {
            SUCCESS | SIZE_LIMIT_EXCEEDED => Ok(found.entries),
            _ => Err(self.search_failed(key, base, &found)),
        }
    }
}
