//! What another configuration changes, by key; values are not shown.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::model::Route;
use super::origin::KeyPath;
use super::shape::{Kind, Shape, Table};
use super::tree::{Node, Plain};
use super::values::Secret;
use super::{Config, Settings};

/// Keys whose values `after` changes, in the order of the alphabet. A list that has another number of entries is named
/// as one.
pub fn changed(before: &Config, after: &Config) -> Vec<String> {
    let mut keys = BTreeSet::new();
    // Every type of the model serialises.
    let [old, new] = [before, after].map(|config| serde_json::to_value(&config.settings).unwrap_or_default());
    differing(&old, &new, &KeyPath::default(), &mut keys);
    // Secrets serialise as their mask.
    let all = before.secrets.keys().chain(after.secrets.keys());
    for path in all.filter(|path| before.secrets.get(path) != after.secrets.get(path)) {
        // An entry of a list that has become longer or shorter is named by its list.
        if !keys.iter().any(|key| path.0.starts_with(&key.0)) {
            keys.insert(path.clone());
        }
    }
    keys.iter().map(ToString::to_string).collect()
}

/// What to say of a `public_url` that is followed at once and names the port of a `listen.address` that waits for the next
/// start: until then nobody listens there, and every sign-in leads there.
pub fn nobody_listens(after: &Settings, running: &Settings) -> Option<String> {
    let port = after.public_url.port_or_known_default()?;
    let (wanted, real) = (after.listen.address, running.listen.address);
    let ahead = after.public_url != running.public_url && port == wanted.port() && port != real.port();
    ahead.then(|| {
        format!(
            "`public_url` names port {port} from now on, where nobody listens until the gateway is started again: \
             `listen.address` stays {real} until then, and sign-ins lead to {}",
            after.public_url
        )
    })
}

/// What `after` no longer has of what kept people out: a sentence each. A file that was read half written looks so.
pub fn looser(before: &Config, after: &Config) -> Vec<String> {
    let name = |route: &Route| {
        let path = route.exact.as_deref().or(route.path.as_deref()).unwrap_or("/").to_owned();
        (route.host.clone().unwrap_or_default(), path)
    };
    let told = |what: &str, (host, path): (String, String)| {
        format!("{what} {host}{path}: was that meant, or is a file half written?")
    };
    let routes = &after.settings.route;
    let mut sentences = Vec::new();
    for old in &before.settings.route {
        let same: Vec<_> = routes.iter().filter(|new| name(new) == name(old)).collect();
        if same.is_empty() {
            sentences.push(told("this reload takes away the route", name(old)));
        } else if old.allow.is_some() && same.iter().any(|new| new.allow.is_none()) {
            let already = before.settings.route.iter().any(|other| name(other) == name(old) && other.allow.is_none());
            if !already {
                sentences.push(told("this reload takes away `allow` of the route", name(old)));
            }
        }
    }
    sentences.dedup();
    sentences
}

fn differing(old: &Value, new: &Value, path: &KeyPath, keys: &mut BTreeSet<KeyPath>) {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => {
            let names: BTreeSet<_> = old.keys().chain(new.keys()).collect();
            for name in names {
                let [old, new] = [old, new].map(|table| table.get(name).unwrap_or(&Value::Null));
                differing(old, new, &path.key(name), keys);
            }
        }
        (Value::Array(old), Value::Array(new)) if old.len() == new.len() && new.iter().any(Value::is_object) => {
            for (index, (old, new)) in old.iter().zip(new).enumerate() {
                differing(old, new, &path.index(index), keys);
            }
        }
        (old, new) if old == new => {}
        _ => {
            keys.insert(path.clone());
        }
    }
}

/// All secrets of a tree, by key.
pub(super) fn secrets(node: &Node, shape: &Table) -> BTreeMap<KeyPath, Secret> {
    let mut found = BTreeMap::new();
    in_table(node, shape, &KeyPath::default(), &mut found);
    found
}

fn in_table(node: &Node, shape: &Table, path: &KeyPath, found: &mut BTreeMap<KeyPath, Secret>) {
    for field in &shape.fields {
        if let Some(node) = node.get(&field.name) {
            in_value(node, &field.shape, &path.key(&field.name), found);
        }
    }
}

fn in_value(node: &Node, shape: &Shape, path: &KeyPath, found: &mut BTreeMap<KeyPath, Secret>) {
    match (shape, &node.plain) {
        (Shape::Text(Kind::Secret), Plain::Text(text)) => {
            found.insert(path.clone(), Secret::new(text.clone()));
        }
        (Shape::Table(inner), Plain::Table(_)) => in_table(node, inner, path, found),
        (Shape::List(inner), Plain::List(entries)) => {
            for (index, entry) in entries.iter().enumerate() {
                in_value(entry, inner, &path.index(index), found);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn config(folder: &Path, text: &str) -> Config {
        let file = folder.join("gateway.toml");
        let head = "public_url = 'https://a.example'\n[[provider]]\nissuer = 'https://b.example'\nclient_id = 'c'\n";
        let (first, rest) = text.split_once('|').unwrap_or(("", text));
        let text = format!("secrets = ['0123456789abcdef0123456789abcdef'{first}]\n{head}{rest}\n");
        std::fs::write(&file, text).expect("a file");
        Config::load(Some(&file), &[]).unwrap_or_else(|e| panic!("{e}"))
    }

    #[test]
    fn routes_and_allows_that_are_gone_are_told() {
        let folder = tempfile::tempdir().expect("a folder");
        let app = "[[upstream]]\nurl = 'http://127.0.0.1:1'\n";
        let whole = format!("{app}[[route]]\npath = '/ops'\nallow.groups = ['ops']\n[[route]]\n");
        let before = config(folder.path(), &whole);
        for (text, wanted) in [
            (whole.clone(), ""),
            (format!("{whole}path = '/'\n[[route]]\npath = '/new'"), ""),
            (whole.replace("allow.groups = ['ops']", ""), "takes away `allow` of the route /ops"),
            (whole.replace("path = '/ops'\n", "path = '/x'\n"), "takes away the route /ops"),
            (app.to_owned(), "takes away the route /ops"),
        ] {
            let told = looser(&before, &config(folder.path(), &text));
            assert_eq!(told.len(), usize::from(!wanted.is_empty()), "{text}: {told:?}");
            assert!(told.iter().all(|told| told.contains(wanted)), "{text}: {told:?}");
        }
    }

    #[test]
    fn what_changed_is_named_by_key_and_no_value_is_shown() {
        let folder = tempfile::tempdir().expect("a folder");
        let app = "[[upstream]]\nurl = 'http://127.0.0.1:1'\n";
        let before = config(folder.path(), app);
        for (text, wanted) in [
            (app.to_owned(), vec![]),
            (format!("client_secret = 'hunter2hunter2'\n{app}"), vec!["provider.client_secret"]),
            (format!(", 'fedcba9876543210fedcba9876543210'|{app}"), vec!["secrets"]),
            (format!("{app}[session]\nidle = '1h'"), vec!["session.idle"]),
            (format!("{app}[[route]]\npath = '/a'\n[[route]]\npath = '/b'"), vec!["route"]),
            (app.replace(":1", ":2"), vec!["upstream.url"]),
        ] {
            assert_eq!(changed(&before, &config(folder.path(), &text)), wanted, "{text}");
        }
        let one = config(folder.path(), &format!("client_secret = 'hunter2hunter2'\n{app}"));
        let other = config(folder.path(), &format!("client_secret = 'hunter3hunter3'\n{app}"));
        assert_eq!(changed(&one, &other), ["provider.client_secret"]);
    }

    #[test]
    fn a_public_url_that_is_ahead_of_the_listener_is_told() {
        let at = |public: &str, listen: &str| -> Settings {
            toml::from_str(&format!("public_url = '{public}'\nlisten.address = '{listen}'")).expect("toml")
        };
        let running = at("http://127.0.0.1:8080", "127.0.0.1:8080");
        let told = nobody_listens(&at("http://127.0.0.1:9999", "127.0.0.1:9999"), &running).expect("a warning");
        assert!(told.contains("port 9999") && told.contains("stays 127.0.0.1:8080"), "{told}");
        for (public, listen) in [
            ("http://127.0.0.1:8080", "127.0.0.1:9999"),
            ("https://app.example", "127.0.0.1:9999"),
            ("http://localhost:8080", "0.0.0.0:8080"),
        ] {
            assert_eq!(nobody_listens(&at(public, listen), &running), None, "{public} {listen}");
        }
    }
}
