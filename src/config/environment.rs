//! The environment laid over the file: every key has a name, `DOORWARD_` and its path in capitals.
//!
//! Lists of tables at the top (`provider`, `upstream`, `route`) take a number, and 0 may be left out:
//! `DOORWARD_PROVIDER_ISSUER` is `DOORWARD_PROVIDER_0_ISSUER`. Lists of strings are separated by commas; inner lists
//! of tables and maps are inline JSON. The names are made from `shape.rs`, so none can be missing.

use super::error::{ConfigError, nearest};
use super::origin::{KeyPath, Origin, Step};
use super::shape::{self, Field, Kind, Shape, Table};
use super::tree::{Gap, Node, Plain};
use crate::reason::Reason;

pub(crate) const PREFIX: &str = "DOORWARD_";
/// Names the configuration file; no setting itself.
pub(crate) const CONFIG_FILE: &str = "DOORWARD_CONFIG";

/// The variable that sets `path`.
pub fn name(path: &KeyPath) -> String {
    let mut name = PREFIX.trim_end_matches('_').to_owned();
    for step in &path.0 {
        match step {
            Step::Key(key) => name = format!("{name}_{}", key.to_uppercase()),
            Step::Index(0) => {}
            Step::Index(index) => name = format!("{name}_{index}"),
        }
    }
    name
}

/// Every key that a variable can set, lists of tables with the entry `index`.
pub(crate) fn keys(index: usize) -> Vec<(KeyPath, &'static Field)> {
    fn collect(table: &'static Table, path: &KeyPath, index: Option<usize>, into: &mut Vec<(KeyPath, &'static Field)>) {
        for field in &table.fields {
            let path = path.key(&field.name);
            match (&field.shape, index) {
                (Shape::Table(inner), _) => collect(inner, &path, None, into),
                (Shape::List(inner), Some(number)) => match inner.as_ref() {
                    Shape::Table(inner) => collect(inner, &path.index(number), None, into),
                    _ => into.push((path, field)),
                },
                _ => into.push((path, field)),
            }
        }
    }
    let mut keys = Vec::new();
    collect(shape::settings(), &KeyPath::default(), Some(index), &mut keys);
    keys
}

/// Which key a variable sets.
fn resolve(variable: &str) -> Option<(KeyPath, &'static Field)> {
    let rest = variable.strip_prefix(PREFIX)?;
    find(rest, shape::settings(), &KeyPath::default(), true)
}

fn find(rest: &str, table: &'static Table, path: &KeyPath, top: bool) -> Option<(KeyPath, &'static Field)> {
    table.fields.iter().find_map(|field| {
        let after = rest.strip_prefix(field.name.to_uppercase().as_str())?;
        let path = path.key(&field.name);
        match &field.shape {
            Shape::Table(inner) => find(after.strip_prefix('_')?, inner, &path, false),
            Shape::List(inner) if top && matches!(inner.as_ref(), Shape::Table(_)) => {
                let Shape::Table(inner) = inner.as_ref() else { return None };
                let after = after.strip_prefix('_')?;
                let numbered = after.split_once('_').and_then(|(n, tail)| Some((n.parse::<usize>().ok()?, tail)));
                let (index, tail) = numbered.unwrap_or((0, after));
                find(tail, inner, &path.index(index), false)
            }
            _ => after.is_empty().then_some((path, field)),
        }
    })
}

/// Whether a variable with that name is looked at.
#[cfg(test)]
pub(crate) fn is_known(name: &str) -> bool {
    name == CONFIG_FILE || super::wandb_ldap::RESTORE.contains(&name) || resolve(name).is_some()
}

/// Lays the variables `DOORWARD_…` over what the file says.
pub(crate) fn overlay(root: &mut Node, env: &[(String, String)], errors: &mut Vec<ConfigError>) {
    let mut found = Vec::new();
    let elsewhere = |name: &str| name == CONFIG_FILE || super::wandb_ldap::RESTORE.contains(&name);
    for (variable, value) in env.iter().filter(|(name, _)| name.starts_with(PREFIX) && !elsewhere(name)) {
        match resolve(variable) {
            Some((path, field)) => found.push((path, field, variable, value)),
            None if is_service_link(variable, value) => {}
            None => errors.push(unknown(variable)),
        }
    }
    // By path, so that entry 0 of a list is there before entry 1.
    found.sort_by(|a, b| (&a.0, a.2).cmp(&(&b.0, b.2)));
    for two in found.windows(2).filter(|two| two[0].0 == two[1].0 && two[0].3 != two[1].3) {
        errors.push(ConfigError::new("", format!("{} and {} set the same and differ", two[0].2, two[1].2)));
    }
    for (path, field, variable, value) in found {
        lay(root, &path, field, variable, value, false, errors);
    }
}

/// Sets one key from one variable.
pub(crate) fn lay(
    root: &mut Node,
    path: &KeyPath,
    field: &Field,
    variable: &str,
    value: &str,
    foreign: bool,
    errors: &mut Vec<ConfigError>,
) {
    let origin = Origin::Variable { name: variable.to_owned(), foreign };
    let value = value.trim_end_matches(['\r', '\n']);
    let failed = |error: ConfigError| ConfigError { key: path.to_string(), ..error }.at(&origin);
    if value.trim().is_empty() {
        // Compose files write `X=${X:-}` for what may be missing, so empty is not set. An empty secret is a lost one.
        if is_secret(field) {
            errors.push(
                failed(ConfigError::new("", "is set and empty"))
                    .because(Reason::SecretMissing)
                    .hint("set it, or take the variable away"),
            );
        }
        return;
    }
    match read(value, &field.shape, &origin) {
        Ok(node) => {
            if let Err(Gap { index, count }) = root.set(&path.0, node) {
                let message = format!("entry {index} is set, and there are only {count}");
                let hint = "entries are counted from 0, without gaps";
                errors.push(failed(ConfigError::new("", message)).hint(hint));
            }
        }
        Err(message) => errors.push(failed(ConfigError::new("", message))),
    }
}

fn is_secret(field: &Field) -> bool {
    let secret = |shape: &Shape| matches!(shape, Shape::Text(Kind::Secret));
    match &field.shape {
        Shape::List(inner) => secret(inner),
        shape => secret(shape) || field.name.ends_with("secret_file"),
    }
}

fn read(value: &str, shape: &Shape, origin: &Origin) -> Result<Node, String> {
    let node = |plain| Ok(Node::new(plain, origin.clone()));
    let json = |wanted: &str| {
        // The parser's own message may quote the value, which may hold a secret.
        serde_json::from_str(value).map(|json| Node::from_json(json, origin)).map_err(|_| format!("is no {wanted}"))
    };
    match shape {
        Shape::Flag => match value.trim() {
            "true" => node(Plain::Flag(true)),
            "false" => node(Plain::Flag(false)),
            other => Err(format!("`{other}` is neither true nor false")),
        },
        Shape::Number => match value.trim().parse() {
            Ok(number) => node(Plain::Whole(number)),
            Err(_) => Err(format!("`{}` is no whole number", value.trim())),
        },
        Shape::Text(Kind::Secret) => node(Plain::Text(value.to_owned())),
        Shape::Text(_) | Shape::Choice(_) => node(Plain::Text(value.trim().to_owned())),
        Shape::List(inner) if matches!(inner.as_ref(), Shape::Table(_)) => {
            json("JSON list of tables, as in [{\"name\": \"X-Remote-User\", \"claim\": \"email\"}]")
        }
        Shape::List(_) if value.trim_start().starts_with('[') => json("JSON list, as in [\"a\", \"b\"]"),
        Shape::List(inner) => {
            let entries = value.split(',').map(str::trim).filter(|entry| !entry.is_empty());
            entries.map(|entry| read(entry, inner, origin)).collect::<Result<_, _>>().and_then(|l| node(Plain::List(l)))
        }
        Shape::Map | Shape::Table(_) => json("JSON table, as in {\"hd\": \"example.com\"}"),
    }
}

fn unknown(variable: &str) -> ConfigError {
    let number = variable.split('_').find_map(|part| part.parse().ok()).unwrap_or(0);
    let mut known: Vec<String> = keys(number).iter().map(|(path, _)| name(path)).collect();
    known.extend([CONFIG_FILE, super::wandb_ldap::RESTORE[1]].map(str::to_owned));
    // The prefix is the same in all of them and would make any two look near.
    let bare = |name: &str| name.strip_prefix(PREFIX).unwrap_or(name).to_owned();
    let bared: Vec<String> = known.iter().map(|name| bare(name)).collect();
    let error =
        ConfigError::new("", "unknown variable").at(&Origin::Variable { name: variable.to_owned(), foreign: false });
    match nearest(&bare(variable), bared.iter().map(String::as_str)) {
        Some(near) => error.hint(format!("did you mean {PREFIX}{near}?")),
        None => error.hint("the names are listed in docs/configuration.md"),
    }
}

/// Whether a variable is one that Kubernetes sets in each pod for a service whose name begins like ours
/// (`DOORWARD_SERVICE_HOST`, `DOORWARD_PORT_8080_TCP_ADDR`): nobody wrote it, so it is nobody's mistake.
pub(crate) fn is_service_link(variable: &str, value: &str) -> bool {
    let protocol = |text: &str| ["tcp://", "udp://", "sctp://"].iter().any(|p| text.starts_with(p));
    let port = |text: &str| {
        let mut parts = text.split('_');
        let number = parts.next().is_some_and(|n| n.parse::<u16>().is_ok());
        number && matches!(parts.next(), Some("TCP" | "UDP" | "SCTP"))
    };
    variable.ends_with("_SERVICE_HOST")
        || variable.ends_with("_SERVICE_PORT")
        || variable.contains("_SERVICE_PORT_")
        || (variable.ends_with("_PORT") && protocol(value))
        || variable.match_indices("_PORT_").any(|(at, found)| port(&variable[at + found.len()..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn laid(env: &[(&str, &str)]) -> (Node, Vec<String>) {
        let env: Vec<_> = env.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        let (mut root, mut errors) = (Node::empty(), Vec::new());
        overlay(&mut root, &env, &mut errors);
        (root, errors.iter().map(ConfigError::to_string).collect())
    }

    #[test]
    fn every_key_has_one_name_and_every_name_leads_back() {
        for index in [0, 3] {
            let mut names = Vec::new();
            for (path, _) in keys(index) {
                let name = name(&path);
                assert_eq!(resolve(&name).map(|(found, _)| found), Some(path), "{name}");
                names.push(name);
            }
            let count = names.len();
            names.sort();
            names.dedup();
            assert_eq!((names.len(), count > 80), (count, true));
        }
    }

    #[test]
    fn index_0_may_be_left_out() {
        for variable in ["DOORWARD_PROVIDER_ISSUER", "DOORWARD_PROVIDER_0_ISSUER"] {
            assert_eq!(resolve(variable).map(|(path, _)| path.to_string()), Some("provider.issuer".into()));
        }
        let found = |v| resolve(v).map(|(path, _)| path.to_string());
        assert_eq!(found("DOORWARD_ROUTE_2_ALLOW_EMAILS"), Some("route[2].allow.emails".into()));
        assert_eq!(found("DOORWARD_SIGN_IN_AFTER_LOGOUT"), Some("sign_in.after_logout".into()));
        assert_eq!(found("DOORWARD_PROVIDER"), None);
    }

    #[test]
    fn values_are_read_as_their_key_wants_them() {
        let (root, errors) = laid(&[
            ("DOORWARD_LISTEN_H2C", "false"),
            ("DOORWARD_LISTEN_THREADS", "4"),
            ("DOORWARD_PROVIDER_SCOPES", "openid, email"),
            ("DOORWARD_PROVIDER_1_AUTHORIZATION_PARAMS", r#"{"hd":"example.com"}"#),
            ("DOORWARD_PROVIDER_1_SCOPES", r#"["a,b"]"#),
            ("DOORWARD_HEADERS_SET", r#"[{"name":"X-Remote-User","claim":"email"}]"#),
            ("DOORWARD_BRAND_NAME", ""),
            ("DOORWARD_CONFIG", "x.toml"),
        ]);
        assert_eq!(errors, [""; 0]);
        let at = |keys: &[&str]| keys.iter().try_fold(&root, |node, key| node.get(key)).map(|n| n.plain.clone());
        assert!(matches!(at(&["listen", "h2c"]), Some(Plain::Flag(false))));
        assert!(matches!(at(&["listen", "threads"]), Some(Plain::Whole(4))));
        assert!(at(&["brand"]).is_none(), "an empty variable counts as not set");
        let Some(Plain::List(providers)) = at(&["provider"]) else { panic!("no providers") };
        let scopes = |n: usize| match providers[n].get("scopes").map(|s| &s.plain) {
            Some(Plain::List(list)) => list.len(),
            other => panic!("{other:?}"),
        };
        assert_eq!((providers.len(), scopes(0), scopes(1)), (2, 2, 1));
    }

    #[test]
    fn what_cannot_be_read_names_the_variable() {
        for (variable, value, wanted) in [
            (
                "DOORWARD_LISTEN_H2C",
                "yes",
                "environment DOORWARD_LISTEN_H2C: listen.h2c: `yes` is neither true nor false",
            ),
            ("DOORWARD_LISTEN_THREADS", "many", "`many` is no whole number"),
            ("DOORWARD_HEADERS_SET", "X-Remote-User", "is no JSON list of tables"),
            ("DOORWARD_PUBLIC_ULR", "x", "did you mean DOORWARD_PUBLIC_URL?"),
            ("DOORWARD_PROVIDER_1_ISUER", "x", "did you mean DOORWARD_PROVIDER_1_ISSUER?"),
            ("DOORWARD_RESTOR", "true", "did you mean DOORWARD_RESTORE?"),
            ("DOORWARD_BANANA", "x", "unknown variable"),
            ("DOORWARD_PROVIDER_1_ISSUER", "https://x", "entry 1 is set, and there are only 0"),
            ("DOORWARD_PROVIDER_CLIENT_SECRET", "", "is set and empty"),
            ("DOORWARD_SECRETS", "\n", "[DW-7003]"),
        ] {
            let (_, errors) = laid(&[(variable, value)]);
            assert!(errors.len() == 1 && errors[0].contains(wanted), "{variable}={value}: {errors:?}");
        }
    }

    #[test]
    fn what_kubernetes_sets_for_a_service_of_our_name_is_no_mistake() {
        let (_, errors) = laid(&[
            ("DOORWARD_SERVICE_HOST", "10.0.0.1"),
            ("DOORWARD_SERVICE_PORT", "8080"),
            ("DOORWARD_SERVICE_PORT_HTTP", "8080"),
            ("DOORWARD_PORT", "tcp://10.0.0.1:8080"),
            ("DOORWARD_PORT_8080_TCP", "tcp://10.0.0.1:8080"),
            ("DOORWARD_PORT_8080_TCP_ADDR", "10.0.0.1"),
            ("DOORWARD_REDIS_MASTER_SERVICE_HOST", "10.0.0.2"),
        ]);
        assert_eq!(errors, [""; 0]);
        assert_eq!(laid(&[("DOORWARD_PORT", "8080")]).1.len(), 1);
    }
}
