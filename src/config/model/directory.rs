//! The directory people sign in with, and the way in when that is broken.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::{Host, Url};

use crate::config::values::{Period, Secret};

/// The provider that the identity of the way in names; no provider and no directory is called so.
pub const RESTORE: &str = "restore";

/// Attributes of `attributes` that are fields of an identity; every other key is a claim for rules and headers.
pub const USER: &str = "user";
pub const EMAIL: &str = "email";
pub const FULL_NAME: &str = "name";
pub const GROUPS: &str = "groups";
pub const SUBJECT: &str = "subject";

/// A directory in which people have a name and a password, asked by LDAP; docs/ldap.md has examples.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Directory {
    /// Name in metrics, logs and `provider` of a route.
    #[serde(default = "default_name")]
    pub name: String,
    /// Name on the sign-in page; `name` unless set.
    pub display_name: Option<String>,
    /// `ldaps://host:port` or `ldap://host:port`; the ports are 636 and 389 unless named. Several are tried in
    /// order, beginning with the one that answered last.
    pub address: Vec<String>,
    /// Change to TLS on an `ldap://` connection before anything else is sent (RFC 4511 §4.14).
    #[serde(default)]
    pub start_tls: bool,
    /// PEM file with the certificate authorities trusted for the directory, instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// Where people's entries are, as in `ou=people,dc=example,dc=com`; below it everything is searched.
    pub base_dn: String,
    /// Entry that the gateway searches as; anonymously without it.
    pub bind_dn: Option<String>,
    /// Password of `bind_dn`.
    pub bind_password: Option<Secret>,
    /// File with `bind_password`.
    pub bind_password_file: Option<PathBuf>,
    /// Attributes that hold what people type as their name; one of them has to match.
    #[serde(default = "default_user_attribute")]
    pub user_attribute: Vec<String>,
    /// Instead of `user_attribute`: the whole filter, with `{user}` for what was typed
    /// (`(&(objectClass=person)(uid={user}))`).
    pub user_filter: Option<String>,
    /// Which attribute says what: `user` (the first of `user_attribute` unless set), `email` (`mail`), `name` (`cn`),
    /// `groups` (`memberOf`), `subject` (`entryUUID`, `objectGUID` or the entry's DN); any other name is a claim of that
    /// name for rules and headers.
    #[serde(default)]
    pub attributes: BTreeMap<String, String>,
    /// Search for a person's groups below this entry, instead of reading them from an attribute of the person.
    pub group_base_dn: Option<String>,
    /// Filter of that search, with `{dn}` for the person's entry and `{user}` for their name.
    #[serde(default = "default_group_filter")]
    pub group_filter: String,
    /// Attribute with a found group's name.
    #[serde(default = "default_group_name")]
    pub group_name_attribute: String,
    /// What a group of an attribute is called where its value is an entry's DN.
    #[serde(default)]
    pub group_names: GroupNames,
    /// Groups of which somebody has to have one to sign in; everybody may where it is empty. Compared without regard to
    /// case.
    #[serde(default)]
    pub group_allow_list: Vec<String>,
    /// Most groups of one person; who has more is refused.
    #[serde(default = "default_max_groups")]
    pub max_groups: usize,
    /// For a connection, TLS included.
    #[serde(default = "default_connect_timeout")]
    pub connect_timeout: Period,
    /// For each answer of the directory.
    #[serde(default = "default_timeout")]
    pub timeout: Period,
    /// Connections for searches that are kept open.
    #[serde(default = "default_connections")]
    pub connections: usize,
    /// How long an unused one is kept.
    #[serde(default = "default_connection_idle")]
    pub connection_idle: Period,
    /// Sign-ins that the directory is asked about at once; as many again wait for a moment, and more are turned away.
    #[serde(default = "default_concurrent")]
    pub concurrent_sign_ins: usize,
    /// How long a password that was right is taken again for Basic authentication without asking the directory; 0s for
    /// not at all.
    #[serde(default = "default_basic_cache")]
    pub basic_cache: Period,
    /// Offer the sign-in form. `false` only tests the settings, and logs what was found.
    #[serde(default = "yes")]
    pub login: bool,
}

/// What a group of an attribute is called where its value is an entry's DN.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GroupNames {
    /// By the whole value.
    #[default]
    Value,
    /// By the value of the DN's first part: `admins` for `cn=admins,ou=groups,dc=example,dc=com`. Two groups in different
    /// places of the tree are then one.
    First,
}

fn default_name() -> String {
    "ldap".into()
}
fn default_user_attribute() -> Vec<String> {
    vec!["uid".into()]
}
fn default_group_filter() -> String {
    "(|(member={dn})(uniqueMember={dn})(memberUid={user}))".into()
}
fn default_group_name() -> String {
    "cn".into()
}
fn default_max_groups() -> usize {
    500
}
fn default_connect_timeout() -> Period {
    Period::seconds(5)
}
fn default_timeout() -> Period {
    Period::seconds(10)
}
fn default_connections() -> usize {
    4
}
fn default_connection_idle() -> Period {
    Period::seconds(60)
}
fn default_concurrent() -> usize {
    32
}
fn default_basic_cache() -> Period {
    Period::seconds(60)
}
fn yes() -> bool {
    true
}

impl Directory {
    /// What the sign-in page calls it.
    pub fn display_name(&self) -> &str {
        self.display_name.as_deref().unwrap_or(&self.name)
    }

    /// The attribute for `claim`, by setting or by default.
    pub fn attribute(&self, claim: &str) -> Option<&str> {
        let default = match claim {
            USER => self.user_attribute.first().map(String::as_str),
            EMAIL => Some("mail"),
            FULL_NAME => Some("cn"),
            GROUPS => Some("memberOf"),
            _ => None,
        };
        self.attributes.get(claim).map(String::as_str).or(default)
    }
}

/// Where a directory listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectoryAddress {
    /// A name, or an IP address without brackets.
    pub host: String,
    pub port: u16,
    /// TLS from the first byte.
    pub tls: bool,
}

impl DirectoryAddress {
    /// Reads `text`, or says what is wrong with it and what to do.
    pub fn parse(text: &str) -> Result<Self, (String, String)> {
        let said = text.trim();
        let Some((scheme, _)) = said.split_once("://") else {
            let hint = format!("write \"ldaps://{said}\", or \"ldap://{said}\" with `start_tls = true`");
            return Err((format!("`{said}` has no scheme"), hint));
        };
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "ldaps" => true,
            "ldap" => false,
            other => {
                let hint = "write as in \"ldaps://ldap.example.com\"".to_owned();
                return Err((format!("`{other}` is no scheme of a directory"), hint));
            }
        };
        let wrong =
            |what: &str| (format!("`{said}` {what}"), "write as in \"ldaps://ldap.example.com:636\"".to_owned());
        let url = Url::parse(said).map_err(|error| wrong(&format!("is no address: {error}")))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(("an address holds no user or password".into(), "set `bind_dn` and `bind_password`".into()));
        }
        if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
            return Err((format!("`{said}` has something behind the host"), "the base goes into `base_dn`".into()));
        }
        let host = match url.host() {
            Some(Host::Ipv6(address)) => address.to_string(),
            Some(host) => host.to_string(),
            None => return Err(wrong("names no host")),
        };
        if host.is_empty() {
            return Err(wrong("names no host"));
        }
        Ok(DirectoryAddress { host, port: url.port().unwrap_or(if tls { 636 } else { 389 }), tls })
    }
}

impl std::fmt::Display for DirectoryAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let scheme = if self.tls { "ldaps" } else { "ldap" };
        match self.host.contains(':') {
            true => write!(f, "{scheme}://[{}]:{}", self.host, self.port),
            false => write!(f, "{scheme}://{}:{}", self.host, self.port),
        }
    }
}

/// How often a password may be tried, in the directory's form, by Basic authentication and on the way in. Nobody is locked
/// out for good: tries come back one by one.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Attempts {
    /// Wrong tries for one account, from wherever they come, until `window` gives one back.
    pub per_account: u32,
    /// Wrong tries from one client address, for whatever account; an IPv6 network of 64 bits counts as one address.
    pub per_address: u32,
    /// The time in which all tries come back.
    pub window: Period,
}

impl Default for Attempts {
    fn default() -> Self {
        Attempts { per_account: 10, per_address: 50, window: Period::seconds(600) }
    }
}

/// The way in when signing in is broken; docs/way-in.md says how to use it.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Restore {
    /// Let nobody in but whoever has the password that is printed to the log at start. `DOORWARD_RESTORE=true` and
    /// `LOCAL_RESTORE=true` set it.
    pub enabled: bool,
    /// Whom the app is told.
    pub user: String,
    /// Their e-mail address: for an app that knows people by it, that of an administrator of the app.
    pub email: Option<String>,
    /// Their name.
    pub name: String,
    /// Their groups, for the app and for the rules of routes.
    pub groups: Vec<String>,
    /// A session ends this long after sign-in.
    pub lifetime: Period,
}

impl Default for Restore {
    fn default() -> Self {
        Restore {
            enabled: false,
            user: RESTORE.into(),
            email: None,
            name: "Restore mode".into(),
            groups: Vec::new(),
            lifetime: Period::seconds(1800),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_what_is_meant_is_guessed() {
        for (text, shown) in [
            ("ldap://Ldap.example.com", "ldap://Ldap.example.com:389"),
            ("ldaps://10.0.0.1/", "ldaps://10.0.0.1:636"),
            ("LDAPS://[::1]:6360", "ldaps://[::1]:6360"),
        ] {
            let read = DirectoryAddress::parse(text).map(|address| address.to_string().to_lowercase());
            assert_eq!(read, Ok(shown.to_lowercase()));
        }
        for (text, wanted) in [
            ("ldap.example.com:389", "ldaps://ldap.example.com:389"),
            ("https://ldap.example.com", "is no scheme"),
            ("ldap://", "host"),
            ("ldap://a/dc=x", "base_dn"),
            ("ldap://cn=a:b@host", "bind_dn"),
        ] {
            let (message, hint) = DirectoryAddress::parse(text).expect_err(text);
            assert!(message.contains(wanted) || hint.contains(wanted), "{text}: {message}; {hint}");
        }
    }
}
