//! The directory, the limits of attempts, and the way in.

use super::{Judge, is_loopback, is_plain_name};
use crate::config::model::{Access, BasicWith, Directory, DirectoryAddress, GROUPS, RESTORE, Route};
use crate::config::origin::KeyPath;
use crate::ldap::dn::Dn;
use crate::ldap::filter::{Filter, Place, is_attribute};
use crate::reason::Reason;

/// Names that `attributes` maps, which are no attributes of any entry's name.
const MAPPED: [&str; 6] = ["email", "group", "groups", "user", "username", "name"];

impl Judge<'_> {
    pub(super) fn directory(&mut self) {
        let settings = self.settings;
        if let Some(directory) = &settings.ldap {
            let key = KeyPath::of("ldap");
            self.directory_name(&key, directory);
            self.addresses(&key, directory);
            self.bind(&key, directory);
            self.people(&key, directory);
            self.groups(&key, directory);
            for (name, period) in [
                ("connect_timeout", directory.connect_timeout),
                ("timeout", directory.timeout),
                ("connection_idle", directory.connection_idle),
            ] {
                self.positive(&key.key(name), period);
            }
            for (name, count) in [
                ("connections", directory.connections),
                ("concurrent_sign_ins", directory.concurrent_sign_ins),
                ("max_groups", directory.max_groups),
            ] {
                if count == 0 {
                    self.error(&key.key(name), "is 0, so nobody could sign in", "set it to 1 or more");
                }
            }
            let people = |route: &Route| matches!(route.access, Access::SignedIn | Access::SignedInOrBearer);
            if self.ways_to_sign_in().is_empty() && settings.route.iter().any(people) {
                let message = "is false, so the directory is only tested, and with no [[provider]] nobody can sign in";
                self.warn(&key.key("login"), message);
            }
            self.file_exists(&key.key("ca_file"), directory.ca_file.as_deref(), Reason::CertificateUnusable);
        }
        self.attempts();
        self.restore();
        self.basic();
    }

    fn directory_name(&mut self, key: &KeyPath, directory: &Directory) {
        let (key, name) = (key.key("name"), &directory.name);
        if !is_plain_name(name) {
            self.error(&key, format!("`{name}` is no name"), "use letters, digits, `-` and `_`");
        }
        self.not_reserved(&key, name);
        if self.settings.provider.iter().any(|provider| provider.name == *name) {
            self.error(&key, format!("`{name}` is the name of a provider as well"), "choose another");
        }
    }

    fn addresses(&mut self, key: &KeyPath, directory: &Directory) {
        let (key, start_tls, ca_file) = (key.key("address"), key.key("start_tls"), key.key("ca_file"));
        if directory.address.is_empty() {
            self.error(&key, "is empty", "write as in [\"ldaps://ldap.example.com\"]");
        }
        let is_tls = |text: &String| DirectoryAddress::parse(text).is_ok_and(|address| address.tls);
        let some_tls = directory.address.iter().any(is_tls);
        for (index, text) in directory.address.iter().enumerate() {
            let key = key.index(index);
            let address = match DirectoryAddress::parse(text) {
                Ok(address) => address,
                Err((message, hint)) => {
                    self.error(&key, message, hint);
                    continue;
                }
            };
            if address.tls && directory.start_tls {
                let hint = "take `start_tls` away, or write ldap:// where the directory takes StartTLS";
                self.error(&start_tls, format!("`{text}` is TLS from its first byte, which cannot start again"), hint);
            }
            let here = address
                .host
                .parse::<std::net::IpAddr>()
                .map_or_else(|_| is_loopback(Some(url::Host::Domain(&address.host))), |address| address.is_loopback());
            if !address.tls && !directory.start_tls && some_tls {
                let message = format!("`{text}` is not TLS, and another address is: passwords would go over both");
                self.error(&key, message, "write ldaps:// everywhere, or ldap:// everywhere with `start_tls`");
            } else if !address.tls && !directory.start_tls && !here {
                let message = "is neither ldaps:// nor with `start_tls`, so whoever is on the way reads every password";
                self.warn(&key, message);
            }
        }
        if directory.ca_file.is_some() && !directory.start_tls && !some_tls {
            let hint = "write ldaps://, or set `start_tls`";
            self.error(&ca_file, "has no effect: no connection is TLS", hint);
        }
    }

    fn bind(&mut self, key: &KeyPath, directory: &Directory) {
        let dn = directory.bind_dn.as_deref().map(str::trim).filter(|dn| !dn.is_empty());
        let password = directory.bind_password.as_ref().filter(|password| !password.expose().is_empty());
        match (dn, password) {
            (Some(_), None) => {
                let hint = match self.theirs(&key.key("bind_dn")) {
                    true => "set LOCAL_LDAP_BIND_PW; for an anonymous search take LOCAL_LDAP_BIND_DN away",
                    false => "set `bind_password` or `bind_password_file`; for an anonymous search take `bind_dn` away",
                };
                let message =
                    "has no password: directories take such a bind and treat it as nobody's (RFC 4513 §5.1.2)";
                self.error_because(Reason::SecretMissing, &key.key("bind_dn"), message, hint);
            }
            (None, Some(_)) => {
                let hint = match self.theirs(&key.key("bind_password")) {
                    true => "set LOCAL_LDAP_BIND_DN; for an anonymous search take the password away",
                    false => "set `bind_dn`; for an anonymous search take the password away",
                };
                self.error(&key.key("bind_password"), "is set, and `bind_dn` does not say whose it is", hint);
            }
            _ => {}
        }
        // Active Directory takes `user@domain` and `DOMAIN\user` as well.
        let special = |dn: &str| dn.contains('@') || (dn.contains('\\') && !dn.contains('='));
        if let Some(dn) = dn.filter(|dn| !special(dn)) {
            self.dn(&key.key("bind_dn"), dn);
        }
        if dn.is_none() && password.is_none() && directory.login {
            let variable = if self.theirs(&key.key("address")) { " (LOCAL_LDAP_BIND_DN)" } else { "" };
            let message =
                format!("is not set{variable}, so the search is anonymous; many directories show nothing then");
            self.warn(&key.key("bind_dn"), message);
        }
    }

    fn dn(&mut self, key: &KeyPath, text: &str) {
        let (message, hint) = match Dn::parse(text) {
            Ok(_) if let Some((base, attribute)) = url_tail(text) => {
                let attribute = match attribute {
                    "" => String::new(),
                    name => format!(", and `user_attribute = [\"{name}\"]`"),
                };
                let message = format!("`{text}` has the tail of an LDAP URL (attributes, scope and filter after `?`)");
                (message, format!("write \"{base}\"{attribute}; all that is below the base is searched"))
            }
            Ok(dn) if dn.first().is_none() => ("is empty".to_owned(), "write as in \"dc=example,dc=com\"".to_owned()),
            Ok(_) => return,
            Err(why) => {
                let labels: Vec<_> = text.split('.').filter(|label| !label.is_empty()).collect();
                let plain = |label: &&str| label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
                let likely = labels.len() > 1 && labels.iter().all(plain);
                let meant = labels.iter().map(|label| format!("dc={label}")).collect::<Vec<_>>().join(",");
                let hint = match likely {
                    true => format!("the domain is most likely \"{meant}\""),
                    false => "write as in \"ou=people,dc=example,dc=com\" (RFC 4514)".to_owned(),
                };
                (format!("`{text}` is no distinguished name: {why}"), hint)
            }
        };
        self.error(key, message, hint);
    }

    fn people(&mut self, key: &KeyPath, directory: &Directory) {
        let base = key.key("base_dn");
        let mapped = |name: &str| MAPPED.iter().any(|mapped| name.eq_ignore_ascii_case(mapped));
        let dn = Dn::parse(&directory.base_dn);
        // `email:mail,group:gidNumber` and `email=mail` alike, as products write what they read.
        let pairs = || directory.base_dn.split(',').map(|pair| pair.split_once(':').map(|(name, _)| name.trim()));
        let with_colons = pairs().all(|name| name.is_some_and(mapped));
        let asks =
            ["%s", "{user}", "{username}", "{0}", "{}", "$user"].iter().find(|sign| directory.base_dn.contains(**sign));
        if let Some(sign) = asks {
            let message = format!("`{}` has a place for whoever signs in (`{sign}`)", directory.base_dn);
            let hint = "write where people are, as in \"ou=people,dc=example,dc=com\", and what they type into \
                        `user_attribute`, as in [\"uid\"]";
            self.error(&base, message, hint);
        } else if with_colons
            || dn.as_ref().is_ok_and(|dn| dn.pairs().next().is_some() && dn.pairs().all(|(name, _)| mapped(name)))
        {
            let message =
                format!("`{}` says which attributes to read, and is no place in a directory", directory.base_dn);
            let hint = "it belongs into `attributes` (LOCAL_LDAP_ATTRIBUTES); the base is as in \"dc=example,dc=com\"";
            self.error(&base, message, hint);
        } else {
            self.dn(&base, &directory.base_dn);
        }
        match &directory.user_filter {
            Some(filter) => {
                self.filter(&key.key("user_filter"), filter, &[Place::User]);
                if self.is_set(&key.key("user_attribute")) && !directory.attributes.contains_key("user") {
                    self.warn(&key.key("user_attribute"), "only says what people are called; `user_filter` finds them");
                }
            }
            None if directory.user_attribute.is_empty() => {
                self.error(&key.key("user_attribute"), "is empty, so nobody would be found", "name one, as in \"uid\"");
            }
            None => {}
        }
        let named = directory.user_attribute.iter().enumerate();
        for (key, name) in named.map(|(index, name)| (key.key("user_attribute").index(index), name)) {
            self.attribute(&key, name);
        }
        for (claim, name) in &directory.attributes {
            let key = key.key("attributes").key(claim);
            if claim == "group" {
                self.error(&key, "is no claim", "write `groups`");
            }
            match Dn::parse(name).is_ok_and(|dn| dn.first().is_some()) {
                true => self.error(&key, format!("`{name}` is a place in the directory"), "it belongs into `base_dn`"),
                false => self.attribute(&key, name),
            }
        }
        if directory.attribute("user").is_none() {
            self.error(&key.key("attributes"), "does not say what people are called", "set `user`, as in \"uid\"");
        }
    }

    fn attribute(&mut self, key: &KeyPath, name: &str) {
        if !is_attribute(name) {
            self.error(key, format!("`{name}` is no name of an attribute"), "write as in \"mail\"");
        }
    }

    fn filter(&mut self, key: &KeyPath, text: &str, one_of: &[Place]) {
        match Filter::parse(text) {
            Err(error) => self.error(key, format!("is no filter: {error}"), "write as in \"(uid={user})\" (RFC 4515)"),
            Ok(filter) if !one_of.iter().any(|place| filter.has(*place)) => {
                let hint = "write {user} (or {dn}, for groups) where it goes";
                self.error(key, "has no place for whoever signs in, so everybody would be the same", hint);
            }
            Ok(_) => {}
        }
    }

    fn groups(&mut self, key: &KeyPath, directory: &Directory) {
        match &directory.group_base_dn {
            Some(base) => {
                self.dn(&key.key("group_base_dn"), base);
                self.filter(&key.key("group_filter"), &directory.group_filter, &[Place::User, Place::Dn]);
                self.attribute(&key.key("group_name_attribute"), &directory.group_name_attribute);
                let attribute = key.key("attributes").key(GROUPS);
                if directory.attributes.contains_key(GROUPS) {
                    let hint = "take one of them away";
                    self.error(&attribute, "is set, and groups are searched for in `group_base_dn`", hint);
                }
            }
            None => {
                for name in ["group_filter", "group_name_attribute"] {
                    if self.is_set(&key.key(name)) {
                        let hint = "set it to where groups are, or take this away";
                        self.error(&key.key(name), "has no effect without `group_base_dn`", hint);
                    }
                }
            }
        }
    }

    fn attempts(&mut self) {
        let (attempts, key) = (&self.settings.attempts, KeyPath::of("attempts"));
        for (name, count) in [("per_account", attempts.per_account), ("per_address", attempts.per_address)] {
            if count == 0 {
                self.error(&key.key(name), "is 0, so nobody could sign in", "set it to 1 or more");
            }
        }
        self.positive(&key.key("window"), attempts.window);
    }

    fn restore(&mut self) {
        let (restore, key) = (&self.settings.restore, KeyPath::of("restore"));
        if restore.user.trim().is_empty() {
            self.error(&key.key("user"), "is empty", "name somebody the app knows");
        }
        self.positive(&key.key("lifetime"), restore.lifetime);
        if restore.enabled {
            let message =
                "is on: nobody signs in but whoever has the password in the log; take it away when you are done";
            self.warn(&key.key("enabled"), message);
        }
    }

    /// Passwords on routes for programs.
    fn basic(&mut self) {
        for (index, route) in self.settings.route.iter().enumerate() {
            let key = KeyPath::of("route").index(index).key("basic");
            if route.basic != BasicWith::Directory {
                continue;
            }
            if !matches!(route.access, Access::Bearer | Access::SignedInOrBearer) {
                let hint = "set `access = \"bearer\"` or \"signed-in-or-bearer\", or take this away";
                self.error(&key, "has no effect on a route that is not for programs", hint);
            }
            match &self.settings.ldap {
                None => self.error(&key, "asks a directory, and there is none", "add [ldap], or take this away"),
                Some(directory) if !directory.login => {
                    self.error(&key, "asks a directory that is only tested", "set `login = true` under [ldap]");
                }
                Some(directory) => self.basic_beside(&key, route, &directory.name),
            }
        }
    }

    /// What a route asks of those who come, and a password cannot have, it must not be a way around.
    fn basic_beside(&mut self, key: &KeyPath, route: &Route, directory: &str) {
        let other_provider = route.provider.as_deref().is_some_and(|provider| provider != directory);
        for (name, asked) in
            [("scopes", !route.scopes.is_empty()), ("issuers", !route.issuers.is_empty()), ("provider", other_provider)]
        {
            if asked {
                let message = format!("takes passwords, for which `{name}` of this route would not count");
                self.error(key, message, format!("take `{name}` away, or give passwords a route of their own"));
            }
        }
    }
}

impl<'a> Judge<'a> {
    /// Names of those that people sign in with.
    pub(super) fn ways_to_sign_in(&self) -> Vec<&'a str> {
        let settings = self.settings;
        let directory =
            settings.ldap.iter().filter(|directory| directory.login).map(|directory| directory.name.as_str());
        let names = settings.provider.iter().map(|provider| provider.name.as_str()).chain(directory);
        names.chain(settings.restore.enabled.then_some(RESTORE)).collect()
    }
}

/// The base and the first attribute of `dc=org?uid?sub?(objectClass=*)`, as the end of an LDAP URL has them (RFC 4516 §2).
fn url_tail(text: &str) -> Option<(&str, &str)> {
    let (base, tail) = text.split_once('?')?;
    let mut parts = tail.split('?');
    let attributes = parts.next().unwrap_or_default();
    let scope = parts.next().unwrap_or_default();
    let names = attributes.is_empty() || attributes.split(',').all(is_attribute);
    let is_tail = names && ["", "base", "one", "sub"].contains(&scope) && tail.chars().any(|c| c != ' ');
    is_tail.then_some((base, attributes.split(',').next().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use crate::config::judge::tests::{SECRET, UPSTREAM, errors_of, load, refuses, warns, with};

    const LDAP: &str = "[ldap]\naddress = [\"ldaps://ldap.example.com\"]\nbase_dn = \"dc=example,dc=com\"\n\
        bind_dn = \"cn=reader,dc=example,dc=com\"\nbind_password = \"secret\"\n";

    /// The directory's table with `from` replaced.
    fn ldap(from: &str, to: &str) -> String {
        assert!(LDAP.contains(from), "{from}");
        with("", "", &LDAP.replace(from, to))
    }

    #[test]
    fn a_directory_is_enough_to_sign_in_with() {
        let text = format!("public_url = \"https://a.example\"\nsecrets = [\"{SECRET}\"]\n{LDAP}{UPSTREAM}");
        let config = load(&text).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(config.warnings, [""; 0]);
        refuses(&text.replace(&format!("secrets = [\"{SECRET}\"]\n"), ""), "secrets", "cannot be sealed");
    }

    #[test]
    fn a_directory_that_is_only_tested_may_stand_alone_and_is_said_to_let_nobody_in() {
        let alone = format!("public_url = \"https://a.example\"\n{LDAP}login = false\n{UPSTREAM}");
        warns(&alone, "ldap.login", "nobody can sign in");
        let public = load(&format!("{alone}[[route]]\naccess = \"public\"\n")).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(public.warnings, [""; 0]);
        let beside = load(&with("", "", &format!("{LDAP}login = false\n"))).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(beside.warnings, [""; 0]);
    }

    #[test]
    fn seeds_of_confusion_about_the_directory_are_named() {
        let (address, base) = ("\"ldaps://ldap.example.com\"", "base_dn = \"dc=example,dc=com\"");
        let bind = "bind_dn = \"cn=reader,dc=example,dc=com\"\n";
        for (from, to, key, wanted) in [
            (base, "base_dn = \"email=mail,group=gidNumber\"", "ldap.base_dn", "belongs into `attributes`"),
            (base, "base_dn = \"email:mail,group:gidNumber\"", "ldap.base_dn", "belongs into `attributes`"),
            (base, "base_dn = \"uid=%s,ou=people,dc=x\"", "ldap.base_dn", "`user_attribute`"),
            (base, "base_dn = \"example.com\"", "ldap.base_dn", "most likely \"dc=example,dc=com\""),
            (base, "base_dn = \"people\"", "ldap.base_dn", "no distinguished name"),
            (base, "base_dn = \"\"", "ldap.base_dn", "is empty"),
            (
                base,
                "base_dn = \"dc=org?uid?sub\"",
                "ldap.base_dn",
                "write \"dc=org\", and `user_attribute = [\"uid\"]`",
            ),
            (base, "base_dn = \"dc=org??sub?(a=b)\"", "ldap.base_dn", "write \"dc=org\"; all"),
            (address, "\"ldap.example.com:636\"", "ldap.address", "write \"ldaps://ldap.example.com:636\""),
            (address, "\"https://ldap.example.com\"", "ldap.address", "no scheme of a directory"),
            (base, "base_dn = \"dc=x\"\nstart_tls = true", "ldap.start_tls", "take `start_tls` away"),
            ("bind_password = \"secret\"\n", "", "ldap.bind_dn", "has no password"),
            ("\"secret\"", "\"\"", "ldap.bind_dn", "has no password"),
            (bind, "", "ldap.bind_password", "does not say whose it is"),
            (bind, "bind_dn = \"reader\"\n", "ldap.bind_dn", "no distinguished name"),
            (
                base,
                "base_dn = \"dc=x\"\nuser_filter = \"(uid=bob)\"",
                "ldap.user_filter",
                "everybody would be the same",
            ),
            (base, "base_dn = \"dc=x\"\nuser_filter = \"uid={user}\"", "ldap.user_filter", "is no filter"),
            (base, "base_dn = \"dc=x\"\nuser_attribute = []", "ldap.user_attribute", "nobody would be found"),
            (
                base,
                "base_dn = \"dc=x\"\nattributes = { email = \"dc=x\" }",
                "ldap.attributes.email",
                "belongs into `base_dn`",
            ),
            (base, "base_dn = \"dc=x\"\nattributes = { group = \"g\" }", "ldap.attributes.group", "write `groups`"),
            (
                base,
                "base_dn = \"dc=x\"\ngroup_filter = \"(member={dn})\"",
                "ldap.group_filter",
                "without `group_base_dn`",
            ),
            (base, "base_dn = \"dc=x\"\nname = \"restore\"", "ldap.name", "the way in"),
            (base, "base_dn = \"dc=x\"\nconnections = 0", "ldap.connections", "is 0"),
            (address, "\"ldaps://a.example\", \"ldap://b.example\"", "ldap.address[1]", "is not TLS"),
            (address, "\"ldap://a.example\", \"ldaps://localhost\"", "ldap.address", "`ldap://a.example` is not TLS"),
        ] {
            refuses(&ldap(from, to), key, wanted);
        }
        for (tail, key, wanted) in [
            ("[attempts]\nper_account = 0", "attempts.per_account", "nobody"),
            ("[restore]\nuser = \"\"", "restore.user", "is empty"),
            ("[[route]]\nbasic = \"ldap\"", "route.basic", "not for programs"),
        ] {
            refuses(&with("", "", &format!("{LDAP}{tail}")), key, wanted);
        }
        refuses(
            &ldap(base, "base_dn = \"dc=x\"\nca_file = \"x\"").replace("ldaps:", "ldap:"),
            "ldap.ca_file",
            "no effect",
        );
        refuses(&with("", "", "[[route]]\naccess = \"bearer\"\nbasic = \"ldap\""), "route.basic", "there is none");
        for asked in ["scopes = [\"read\"]", "issuers = [\"doorward\"]", "provider = \"sso\""] {
            let route = format!("{LDAP}[[route]]\naccess = \"signed-in-or-bearer\"\nbasic = \"ldap\"\n{asked}");
            let wanted = format!("`{}` of this route", asked.split(' ').next().unwrap_or_default());
            refuses(&with("", "", &route), "route.basic", &wanted);
        }
        warns(&ldap("ldaps://ldap.example.com", "ldap://ldap.example.com"), "ldap.address", "reads every password");
        warns(&ldap(&format!("{bind}bind_password = \"secret\"\n"), ""), "ldap.bind_dn", "anonymous");
        warns(&with("", "", "[restore]\nenabled = true"), "restore.enabled", "is on");
        for dn in ["reader@example.com", "EXAMPLE\\\\reader"] {
            assert!(errors_of(&ldap("cn=reader,dc=example,dc=com", dn)).is_empty(), "{dn}");
        }
    }
}
