//! The names by which self-managed W&B deployments configure their directory, and the way in.
//!
//! They win over the file; a `DOORWARD_…` name for the same setting wins over them.

use super::environment;
use super::error::{ConfigError, nearest};
use super::model::DirectoryAddress;
use super::origin::{KeyPath, Origin};
use super::shape::{self, Field, Shape};
use super::tree::Node;

const ADDRESS: &str = "LOCAL_LDAP_ADDRESS";
const BASE_DN: &str = "LOCAL_LDAP_BASE_DN";
const BIND_DN: &str = "LOCAL_LDAP_BIND_DN";
const BIND_PASSWORD: &str = "LOCAL_LDAP_BIND_PW";
const ATTRIBUTES: &str = "LOCAL_LDAP_ATTRIBUTES";
const TLS_ENABLE: &str = "LOCAL_LDAP_TLS_ENABLE";
const GROUP_ALLOW_LIST: &str = "LOCAL_LDAP_GROUP_ALLOW_LIST";
const LOGIN: &str = "LOCAL_LDAP_LOGIN";
const ALL: [&str; 8] = [ADDRESS, BASE_DN, BIND_DN, BIND_PASSWORD, ATTRIBUTES, TLS_ENABLE, GROUP_ALLOW_LIST, LOGIN];
/// Turn the way in on.
pub(crate) const RESTORE: [&str; 2] = ["LOCAL_RESTORE", "DOORWARD_RESTORE"];

/// The names that set one key as it is, and the key of `[ldap]`.
const PLAIN: [(&str, &str); 4] =
    [(ADDRESS, "address"), (BASE_DN, "base_dn"), (BIND_DN, "bind_dn"), (BIND_PASSWORD, "bind_password")];

/// The name that sets the key at `path`.
pub(crate) fn name_of(path: &str) -> Option<&'static str> {
    let key = path.strip_prefix("ldap.")?;
    PLAIN.iter().find(|(_, own)| *own == key).map(|(name, _)| *name)
}

struct Overlay<'a> {
    root: &'a mut Node,
    env: &'a [(String, String)],
    errors: &'a mut Vec<ConfigError>,
    warnings: &'a mut Vec<String>,
}

/// Lays these names over what the file says; before the `DOORWARD_…` names.
pub(crate) fn overlay(
    root: &mut Node,
    env: &[(String, String)],
    errors: &mut Vec<ConfigError>,
    warnings: &mut Vec<String>,
) {
    let mut overlay = Overlay { root, env, errors, warnings };
    overlay.restore();
    overlay.directory();
    overlay.unknown();
}

impl Overlay<'_> {
    /// Blank is not set: compose files write `X=${X:-}`, and both empty is an anonymous search.
    fn get(&self, name: &str) -> Option<String> {
        let found = self.env.iter().find(|(n, v)| n == name && !v.trim().is_empty());
        found.map(|(_, value)| value.trim_end_matches(['\r', '\n']).to_owned())
    }

    fn wrong(&mut self, name: &str, message: &str, hint: &str) {
        let origin = Origin::Variable { name: name.into(), foreign: true };
        self.errors.push(ConfigError::new("", message).hint(hint).at(&origin));
    }

    /// Python writes `True`.
    fn flag(&mut self, name: &str) -> Option<bool> {
        let value = self.get(name)?;
        match value.trim().to_ascii_lowercase().as_str() {
            "true" | "1" => Some(true),
            "false" | "0" => Some(false),
            _ => {
                self.wrong(name, &format!("`{}` is neither true nor false", value.trim()), "set it to true or false");
                None
            }
        }
    }

    fn lay(&mut self, table: &str, key: &str, name: &str, value: &str) {
        if let Some(field) = field(table, key) {
            let path = KeyPath::of(table).key(key);
            environment::lay(self.root, &path, field, name, value, true, self.errors);
        }
    }

    fn restore(&mut self) {
        for name in RESTORE {
            if let Some(on) = self.flag(name) {
                self.lay("restore", "enabled", name, if on { "true" } else { "false" });
            }
        }
    }

    fn directory(&mut self) {
        // Deployments set TLS and LOGIN although they have no directory; without an address nothing comes into being.
        let elsewhere = self.env.iter().any(|(name, _)| name.starts_with("DOORWARD_LDAP_ADDRESS"));
        if self.get(ADDRESS).is_none() && self.root.get("ldap").is_none() && !elsewhere {
            let lost: Vec<_> = [BASE_DN, BIND_DN, BIND_PASSWORD, ATTRIBUTES, GROUP_ALLOW_LIST]
                .into_iter()
                .filter(|name| self.get(name).is_some())
                .collect();
            let these = match lost.as_slice() {
                [] => return,
                [one] => (*one).to_owned(),
                several => several.join(", "),
            };
            self.warnings.push(format!("environment {these}: not used, since {ADDRESS} is not set"));
            return;
        }
        for (name, key) in PLAIN {
            if let Some(value) = self.get(name) {
                self.lay("ldap", key, name, &value);
            }
        }
        if let Some(value) = self.get(ATTRIBUTES) {
            self.attributes(&value);
        }
        if let Some(value) = self.get(GROUP_ALLOW_LIST) {
            self.allow_list(&value);
        }
        if let Some(login) = self.flag(LOGIN) {
            self.lay("ldap", "login", LOGIN, if login { "true" } else { "false" });
        }
        self.tls();
    }

    /// `email=mail,group=gidNumber`.
    fn attributes(&mut self, value: &str) {
        let mut map = serde_json::Map::new();
        for pair in value.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
            let Some((key, attribute)) = pair.split_once('=').map(|(key, name)| (key.trim(), name.trim())) else {
                let message = format!("`{pair}` is not of the form key=attribute");
                return self.wrong(ATTRIBUTES, &message, "write as in email=mail,group=gidNumber");
            };
            let claim = match key.to_ascii_lowercase().as_str() {
                "email" | "mail" => "email",
                "group" | "groups" => "groups",
                "user" | "username" | "uid" => "user",
                "name" => "name",
                "dc" | "ou" | "o" | "cn" => {
                    let message = format!("`{value}` is a place in a directory");
                    return self.wrong(ATTRIBUTES, &message, &format!("it most likely belongs into {BASE_DN}"));
                }
                other => {
                    let message = format!("`{other}` is none of email, group, user, name");
                    return self.wrong(ATTRIBUTES, &message, "write as in email=mail,group=gidNumber");
                }
            };
            map.insert(claim.into(), attribute.into());
        }
        // People of these deployments sign in by name or by e-mail address.
        let by = |claim: &str, default: &str| map.get(claim).and_then(|v| v.as_str()).unwrap_or(default).to_owned();
        let named = (by("user", "uid"), by("email", "mail"));
        let has_own =
            self.root.get("ldap").is_some_and(|l| l.get("user_attribute").is_some() || l.get("user_filter").is_some());
        if !has_own {
            self.lay("ldap", "user_attribute", ATTRIBUTES, &format!("{},{}", named.0, named.1));
        }
        self.lay("ldap", "attributes", ATTRIBUTES, &serde_json::Value::Object(map).to_string());
    }

    /// Separated by commas, unless it is one DN, or several with semicolons between them.
    fn allow_list(&mut self, value: &str) {
        let separator = if value.contains('=') { ';' } else { ',' };
        let groups: Vec<_> = value.split(separator).map(str::trim).filter(|group| !group.is_empty()).collect();
        let list = serde_json::Value::from(groups).to_string();
        self.lay("ldap", "group_allow_list", GROUP_ALLOW_LIST, &list);
    }

    fn tls(&mut self) {
        let wish = self.flag(TLS_ENABLE);
        let is_tls = |text: &str| DirectoryAddress::parse(text.trim()).is_ok_and(|address| address.tls);
        // Of several the first decides; a plain one beside it is an error of the judge's.
        let first = self.get(ADDRESS).is_some_and(|text| text.split(',').next().is_some_and(is_tls));
        match (wish, first) {
            (Some(true), true) => self.warnings.push(format!(
                "environment {TLS_ENABLE}: not used, since {ADDRESS} is ldaps://, which is TLS from its first byte; \
                 take {TLS_ENABLE} away, or write ldap:// for StartTLS"
            )),
            (Some(false), true) => self.warnings.push(format!(
                "environment {TLS_ENABLE}: not used, since {ADDRESS} is ldaps://, which is TLS in any case"
            )),
            (Some(wish), _) => self.lay("ldap", "start_tls", TLS_ENABLE, if wish { "true" } else { "false" }),
            (None, _) => {}
        }
    }

    fn unknown(&mut self) {
        // One slip of the finger: whoever sets it is locked out and has to know that it was not heard. What differs by
        // more may be anybody's.
        let slip = |name: &&(String, String)| strsim::damerau_levenshtein(&name.0, RESTORE[0]) == 1;
        for (name, _) in self.env.iter().filter(slip) {
            let origin = Origin::Variable { name: name.clone(), foreign: true };
            let error = ConfigError::new("", "unknown variable").hint(format!("did you mean {}?", RESTORE[0]));
            self.errors.push(error.at(&origin));
        }
        for (name, value) in self.env.iter().filter(|(name, _)| name.starts_with("LOCAL_LDAP_")) {
            if ALL.contains(&name.as_str()) || environment::is_service_link(name, value) {
                continue;
            }
            match nearest(name, ALL) {
                Some(near) => {
                    let origin = Origin::Variable { name: name.clone(), foreign: true };
                    let error = ConfigError::new("", "unknown variable").hint(format!("did you mean {near}?"));
                    self.errors.push(error.at(&origin));
                }
                None => self.warnings.push(format!("environment {name}: unknown variable, not used")),
            }
        }
    }
}

fn field(table: &str, key: &str) -> Option<&'static Field> {
    match &shape::settings().field(table)?.shape {
        Shape::Table(inner) => inner.field(key),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::tree::Plain;
    use super::*;

    fn laid(env: &[(&str, &str)]) -> (Node, Vec<String>, Vec<String>) {
        let env: Vec<_> = env.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        let (mut root, mut errors, mut warnings) = (Node::empty(), Vec::new(), Vec::new());
        overlay(&mut root, &env, &mut errors, &mut warnings);
        (root, errors.iter().map(ConfigError::to_string).collect(), warnings)
    }

    fn said(node: &Node) -> String {
        match &node.plain {
            Plain::Text(text) => text.clone(),
            Plain::Flag(flag) => flag.to_string(),
            Plain::List(list) => list.iter().map(said).collect::<Vec<_>>().join("|"),
            Plain::Table(map) => map.iter().map(|(k, v)| format!("{k}={}", said(v))).collect::<Vec<_>>().join("|"),
            other => format!("{other:?}"),
        }
    }

    fn ldap(root: &Node, key: &str) -> String {
        root.get("ldap").and_then(|ldap| ldap.get(key)).map(said).unwrap_or_default()
    }

    const WHOLE: [(&str, &str); 8] = [
        (ADDRESS, "ldap://ldap.example.com"),
        (BASE_DN, "dc=example,dc=com"),
        (BIND_DN, "cn=reader,dc=example,dc=com"),
        (BIND_PASSWORD, "secret"),
        (ATTRIBUTES, "email=mail,group=gidNumber"),
        (TLS_ENABLE, "True"),
        (GROUP_ALLOW_LIST, "admins, users"),
        (LOGIN, "False"),
    ];

    #[test]
    fn a_deployment_s_own_names_configure_the_directory() {
        let (root, errors, warnings) = laid(&WHOLE);
        assert_eq!((errors, warnings), (Vec::new(), Vec::new()));
        for (key, value) in [
            ("address", "ldap://ldap.example.com"),
            ("base_dn", "dc=example,dc=com"),
            ("bind_dn", "cn=reader,dc=example,dc=com"),
            ("bind_password", "secret"),
            ("attributes", "email=mail|groups=gidNumber"),
            ("user_attribute", "uid|mail"),
            ("start_tls", "true"),
            ("group_allow_list", "admins|users"),
            ("login", "false"),
        ] {
            assert_eq!(ldap(&root, key), value, "{key}");
        }
        let groups = "cn=a,ou=groups;cn=b,ou=groups";
        let (root, ..) = laid(&[WHOLE[0], (GROUP_ALLOW_LIST, groups), (BIND_PASSWORD, ""), (BIND_DN, " ")]);
        assert_eq!(ldap(&root, "group_allow_list"), "cn=a,ou=groups|cn=b,ou=groups");
        assert_eq!(ldap(&root, "bind_password"), "");
    }

    #[test]
    fn seeds_of_confusion_are_named() {
        for (name, value, wanted) in [
            (ATTRIBUTES, "dc=example,dc=com", "LOCAL_LDAP_BASE_DN"),
            (ATTRIBUTES, "mail", "not of the form key=attribute"),
            (ATTRIBUTES, "phone=telephoneNumber", "none of email, group, user, name"),
            (TLS_ENABLE, "maybe", "neither true nor false"),
            ("LOCAL_LDAP_BASEDN", "x", "did you mean LOCAL_LDAP_BASE_DN?"),
        ] {
            let (_, errors, _) = laid(&[WHOLE[0], (name, value)]);
            assert!(errors.len() == 1 && errors[0].contains(wanted), "{name}={value}: {errors:?}");
        }
        for wish in ["true", "false"] {
            let (root, errors, warnings) = laid(&[(ADDRESS, "ldaps://ldap.example.com"), (TLS_ENABLE, wish)]);
            assert!(errors.is_empty() && warnings.len() == 1 && warnings[0].contains("ldaps://"), "{warnings:?}");
            assert_eq!(ldap(&root, "start_tls"), "");
        }
    }

    /// What a gateway that is configured by the environment alone says of these.
    fn told(env: &[(&str, &str)]) -> Vec<String> {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("gateway.toml");
        let text = "public_url = 'https://a.example'\nsecrets = ['0123456789abcdef0123456789abcdef']\n\
            [[upstream]]\nurl = 'http://127.0.0.1:1'\n";
        std::fs::write(&file, text).expect("a file");
        let env: Vec<_> = env.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        match super::super::Config::load(Some(&file), &env) {
            Ok(config) => config.warnings,
            Err(errors) => errors.0.iter().map(ConfigError::to_string).collect(),
        }
    }

    #[test]
    fn what_the_judge_says_names_the_variable_that_was_set() {
        let base = (BASE_DN, "dc=example,dc=com");
        for (env, name, wanted) in [
            (&[WHOLE[0], (BASE_DN, "email=mail,group=gidNumber")][..], BASE_DN, "LOCAL_LDAP_ATTRIBUTES"),
            (&[WHOLE[0], base, WHOLE[2], (BIND_PASSWORD, "")], BIND_DN, "has no password"),
            (&[WHOLE[0], base, WHOLE[2]], BIND_DN, "set LOCAL_LDAP_BIND_PW"),
            (&[WHOLE[0], base, WHOLE[3]], BIND_PASSWORD, "set LOCAL_LDAP_BIND_DN"),
            (&[WHOLE[0], base, (BIND_DN, ""), WHOLE[3]], BIND_PASSWORD, "does not say whose it is"),
            (&[(ADDRESS, "ldap.example.com:636"), base], ADDRESS, "has no scheme"),
            (&[(ADDRESS, "ldaps://a.example,ldap://b.example"), base, WHOLE[5]], ADDRESS, "is not TLS"),
            (&[(ADDRESS, "ldap://a.example,ldaps://b.example"), base, WHOLE[5]], TLS_ENABLE, "cannot start again"),
            (&[(ADDRESS, "ldaps://ldap.example.com"), base, WHOLE[5]], TLS_ENABLE, "TLS from its first byte"),
            (
                &[WHOLE[0], base, (BIND_DN, ""), (BIND_PASSWORD, "")],
                "ldap.bind_dn: is not set (LOCAL_LDAP_BIND_DN)",
                "anonymous",
            ),
        ] {
            let told = told(env);
            // The address is not where an anonymous search is mended.
            assert!(!told.iter().any(|one| one.contains(ADDRESS) && one.contains("anonymous")), "{told:#?}");
            assert!(told.iter().any(|one| one.contains(name) && one.contains(wanted)), "{name} {wanted}: {told:#?}");
            assert!(!told.concat().contains("secret"), "{told:#?}");
        }
        assert_eq!(told(&[WHOLE[0], base, WHOLE[2], WHOLE[3], WHOLE[4], WHOLE[5]]), [""; 0]);
    }

    #[test]
    fn without_an_address_no_directory_comes_into_being() {
        let (root, errors, warnings) = laid(&[(TLS_ENABLE, "true"), (LOGIN, "True")]);
        assert!(root.get("ldap").is_none() && errors.is_empty() && warnings.is_empty());
        let (root, _, warnings) = laid(&[(BASE_DN, "dc=x")]);
        assert!(root.get("ldap").is_none() && warnings[0].contains("LOCAL_LDAP_ADDRESS"), "{warnings:?}");
    }

    #[test]
    fn a_slip_in_the_name_of_the_way_in_is_not_passed_over() {
        for name in ["LOCAL_RESTOR", "LOCAL_RESTROE", "LOCAL_RESSTORE"] {
            let (_, errors, _) = laid(&[(name, "true")]);
            assert!(errors.len() == 1 && errors[0].contains("did you mean LOCAL_RESTORE?"), "{name}: {errors:?}");
        }
        assert_eq!(laid(&[("LOCAL_STORE", "/x"), ("LOCAL_RESOURCE", "x")]).1, [""; 0]);
    }

    #[test]
    fn either_name_opens_the_way_in() {
        for name in RESTORE {
            for (value, on) in [("true", "true"), ("True", "true"), ("false", "false")] {
                let (root, errors, _) = laid(&[(name, value)]);
                let enabled = root.get("restore").and_then(|restore| restore.get("enabled")).map(said);
                assert_eq!((enabled.as_deref(), errors.len()), (Some(on), 0), "{name}={value}");
            }
            assert!(laid(&[(name, "")]).0.get("restore").is_none());
            assert_eq!(laid(&[(name, "perhaps")]).1.len(), 1, "{name}");
        }
    }
}
