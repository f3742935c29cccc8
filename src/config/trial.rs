//! Trying out one provider: the configuration in force with one `[[provider]]` block instead of another.
//!
//! Promise: nothing is stored, and no secret goes where it does not go already. What a block leaves as it is (a secret's
//! mask, the name of its file) means the secret in force, and only for the issuer it is meant for, to the letter: another
//! one of the same host says itself where tokens are asked for, and may name whatever host it likes. Whoever tries another
//! has to type a secret. No other files are read than those in force.

mod keep;

use std::path::Path;

use serde_json::Value;

pub use keep::{ToKeep, to_keep};

use super::error::{ConfigError, ConfigErrors};
use super::model::Provider;
use super::origin::{KeyPath, Origin, Step};
use super::shape::{self, Field, Kind, Shape, Table};
use super::table::address;
use super::tree::{Node, Plain};
use super::values::{FORGOTTEN, MASK};
use super::{Config, check, complete, in_order, judge, presets};
use crate::reason::Reason;

/// What errors of the block name as their file.
const PLACE: &str = "the block";
/// Files with secrets, and what they hold.
const SECRET_FILES: [&str; 4] =
    ["client_secret_file", "client_key_file", "client_certificate_file", "decryption_key_file"];

/// A configuration that was found good, and the name of the provider that is tried out in it.
#[derive(Debug)]
pub struct Trial {
    pub config: Config,
    pub provider: String,
}

/// The block of the provider called `name` as somebody could have written it: what was set, with masks for secrets.
pub fn block(config: &Config, name: &str) -> Option<String> {
    written(config, name, &format!("client_secret = \"{MASK}\""), |_| true)
}

/// The keys that `keep` names of the block of the provider called `name`, with `secret` as the line of its secret.
fn written(config: &Config, name: &str, secret: &str, keep: impl Fn(&str) -> bool) -> Option<String> {
    let index = position(config, name)?;
    let values = serde_json::to_value(&config.settings.provider[index]).ok()?;
    let path = KeyPath::of("provider").index(index);
    let mut text = "[[provider]]\n".to_owned();
    for field in &fields()?.fields {
        let origin = config.origins.of(&path.key(&field.name));
        let from_file = config.settings.provider[index].client_secret_file.is_some();
        let left_out = match field.name.as_str() {
            // The file is named instead.
            "client_secret" => from_file,
            "client_secret_file" => !from_file,
            _ => false,
        };
        let set = is_set(origin) && !left_out && keep(&field.name);
        let value = values.get(&field.name).filter(|_| set).cloned();
        let value = value.map(|value| match (&field.shape, value) {
            (Shape::Text(Kind::Url), Value::String(url)) => address(&url).into(),
            (_, value) => value,
        });
        let value = value.as_ref().and_then(toml_of);
        let Some(value) = value else { continue };
        match field.name.as_str() {
            "client_secret" => text.push_str(secret),
            name => text.push_str(&format!("{name} = {value}")),
        }
        if let Origin::Variable { name, .. } = origin {
            text.push_str(&format!("  # environment {name}"));
        }
        text.push('\n');
    }
    Some(text)
}

fn position(config: &Config, name: &str) -> Option<usize> {
    config.settings.provider.iter().position(|provider| provider.name == name)
}

fn is_set(origin: &Origin) -> bool {
    !matches!(origin, Origin::Default | Origin::Preset(_))
}

/// Judges `config` with the block `text` in the place of the provider called `replaces`, or beside the others where that
/// is `None`. Reads no file that the configuration in force does not name, and fails with every error that was found, in lines of the block.
pub fn with_provider(config: &Config, replaces: Option<&str>, text: &str) -> Result<Trial, ConfigErrors> {
    let providers = &config.settings.provider;
    let index = match replaces {
        None => providers.len(),
        Some(name) => providers
            .iter()
            .position(|provider| provider.name == name)
            .ok_or_else(|| ConfigError::new("", format!("there is no provider `{name}` in force")))?,
    };
    let mut entry = entry(text)?;
    let mut errors = as_it_is(&mut entry, providers.get(index));
    errors.extend(other_authorities(&entry, config));
    if !errors.is_empty() {
        return Err(in_order(errors, Vec::new()));
    }
    let mut root = around(config, entry);
    presets::overlay(&mut root);
    let origins = root.origins();
    let mut read = check::settings(root).map_err(|errors| in_order(errors, Vec::new()))?;
    complete(&mut read);
    let mut tried = config.clone();
    let provider = read.provider.remove(0);
    let name = provider.name.clone();
    match tried.settings.provider.get_mut(index) {
        Some(place) => *place = provider,
        None => tried.settings.provider.push(provider),
    }
    let own = |path: &KeyPath, index| matches!(&path.0[..], [Step::Key(key), Step::Index(at), ..] if key == "provider" && *at == index);
    tried.origins.0.retain(|path, _| !own(path, index));
    for (mut path, origin) in origins.0.into_iter().filter(|(path, _)| own(path, 0)) {
        path.0[1] = Step::Index(index);
        tried.origins.0.insert(path, origin);
    }
    let verdict = judge::judge(&tried.settings, &tried.origins);
    (tried.warnings, tried.hints) = (verdict.warnings, verdict.hints);
    match verdict.errors.is_empty() {
        true => Ok(Trial { config: tried, provider: name }),
        false => Err(in_order(verdict.errors, tried.warnings)),
    }
}

/// The one block of the text.
fn entry(text: &str) -> Result<Node, ConfigErrors> {
    let root = Node::parse(text, Path::new(PLACE)).map_err(|errors| ConfigErrors(errors, Vec::new()))?;
    let wrong = |message: &str, origin: &Origin| {
        Err(ConfigErrors::from(
            ConfigError::new("", message).hint("write one `[[provider]]` and its keys below it").at(origin),
        ))
    };
    let origin = root.origin.clone();
    let Plain::Table(mut table) = root.plain else { return wrong("there is no block", &origin) };
    let entries = table.remove("provider");
    if let Some(other) = table.into_values().next() {
        return wrong("only a provider is tried out here", &other.named_at);
    }
    match entries {
        Some(Node { plain: Plain::List(mut entries), origin, .. }) => match (entries.pop(), entries.is_empty()) {
            (Some(entry @ Node { plain: Plain::Table(_), .. }), true) => Ok(entry),
            (Some(second), false) => wrong("one provider is tried out at a time", &second.origin),
            _ => wrong("there is no block", &origin),
        },
        Some(other) => wrong("this is no list of providers", &other.named_at),
        None => wrong("there is no block", &origin),
    }
}

/// Puts the secrets in force where the block leaves them as they are.
fn as_it_is(entry: &mut Node, before: Option<&Provider>) -> Vec<ConfigError> {
    let Plain::Table(table) = &mut entry.plain else { return Vec::new() };
    let text = |node: &Node| match &node.plain {
        Plain::Text(text) => Some(text.clone()),
        _ => None,
    };
    let issuer = table.get("issuer").and_then(text).and_then(|text| url::Url::parse(&text).ok());
    let same_place = before.zip(issuer).is_some_and(|(before, issuer)| before.issuer == issuer);
    let in_force = before.and_then(|before| before.client_secret.as_ref()).filter(|_| same_place);
    let mut errors = Vec::new();
    let mut wrong = |key: &str, node: &Node, message: String, hint: &str| {
        let error = ConfigError::new(format!("provider.{key}"), message).because(Reason::SecretMissing);
        errors.push(error.hint(hint).at(&node.origin));
    };
    let elsewhere = "the secret in force is only for the issuer as it is in force";
    let type_it = "type the secret itself to try it; it is not kept";
    for key in SECRET_FILES {
        let Some(node) = table.get(key).cloned() else { continue };
        let named = text(&node).map(std::path::PathBuf::from);
        let known = before.and_then(|before| match key {
            "client_secret_file" => before.client_secret_file.clone(),
            "client_key_file" => before.client_key_file.clone(),
            "client_certificate_file" => before.client_certificate_file.clone(),
            _ => before.decryption_key_file.clone(),
        });
        match (known.is_some() && known == named, key) {
            (false, _) => {
                wrong(
                    key,
                    &node,
                    "is not the file in force, and no other is read here".into(),
                    "try it with the file in force",
                );
            }
            (true, "client_secret_file") => match in_force {
                Some(secret) => {
                    let secret = Plain::Text(secret.expose().to_owned());
                    table.insert("client_secret".into(), Node::new(secret, node.origin.clone()));
                }
                None => wrong(key, &node, elsewhere.to_owned(), type_it),
            },
            // A certificate is for everybody to see; a key proves who we are wherever it is used.
            (true, "client_key_file" | "decryption_key_file") if !same_place => {
                let hint = "try it with the issuer in force, or without the key";
                wrong(key, &node, "the key in force is only for the issuer as it is in force".to_owned(), hint);
            }
            (true, _) => {}
        }
    }
    let masked = |node: &&mut Node| matches!(&node.plain, Plain::Text(text) if text == MASK);
    if let Some(node) = table.get_mut("client_secret").filter(masked) {
        match in_force {
            Some(secret) => node.plain = Plain::Text(secret.expose().to_owned()),
            None if same_place => wrong("client_secret", &node.clone(), "there is none in force".into(), type_it),
            None => wrong("client_secret", &node.clone(), elsewhere.to_owned(), type_it),
        }
    }
    let forgotten = |node: &&mut Node| matches!(&node.plain, Plain::Text(text) if text == FORGOTTEN);
    if let Some(node) = table.get_mut("client_secret").filter(forgotten) {
        let message = "the secret that was typed for the trial before is not kept";
        let hint = format!("type it again, or write {MASK:?} for the one in force");
        wrong("client_secret", &node.clone(), message.into(), &hint);
    }
    errors
}

/// A file of authorities that the configuration in force does not name. What is read of one is told in errors, and a file
/// can be anything: whoever may try a provider out is not whoever may read the host's files.
fn other_authorities(entry: &Node, config: &Config) -> Option<ConfigError> {
    let node = entry.get("ca_file")?;
    let settings = &config.settings;
    let mut known = settings
        .provider
        .iter()
        .map(|provider| &provider.ca_file)
        .chain(settings.issuer.iter().map(|issuer| &issuer.ca_file))
        .chain(settings.ldap.iter().map(|directory| &directory.ca_file))
        .flatten();
    match &node.plain {
        Plain::Text(named) if !known.any(|file| file == Path::new(named)) => {
            let error = ConfigError::new("provider.ca_file", "is no `ca_file` in force, and no other is read here");
            Some(error.hint("write it into the configuration to use it").at(&node.origin))
        }
        _ => None,
    }
}

/// A tree with the entry and what a preset looks at.
fn around(config: &Config, entry: Node) -> Node {
    let origin = entry.origin.clone();
    let mut root = Node::empty();
    let settings = &config.settings;
    let session = serde_json::to_value(&settings.session).unwrap_or_default();
    if let Plain::Table(table) = &mut root.plain {
        let public_url = Plain::Text(settings.public_url.to_string());
        table.insert("public_url".into(), Node::new(public_url, Origin::Default));
        table.insert("session".into(), Node::from_json(without_nulls(session), &Origin::Default));
        table.insert("provider".into(), Node::new(Plain::List(vec![entry]), origin));
    }
    root
}

/// The keys of a provider.
fn fields() -> Option<&'static Table> {
    let of_provider = |field: &'static Field| match &field.shape {
        Shape::List(inner) => match inner.as_ref() {
            Shape::Table(table) => Some(table),
            _ => None,
        },
        _ => None,
    };
    shape::settings().field("provider").and_then(of_provider)
}

fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(map) => map
            .into_iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(key, value)| (key, without_nulls(value)))
            .collect(),
        Value::Array(list) => list.into_iter().map(without_nulls).collect(),
        other => other,
    }
}

/// As TOML writes it on one line; nothing for what is not set.
fn toml_of(value: &Value) -> Option<String> {
    let value = Some(value).filter(|value| !value.is_null())?;
    toml::Value::try_from(without_nulls(value.clone())).ok().map(|value| value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "planted-client-secret-0123456789";

    fn config(provider: &str) -> Config {
        let folder = tempfile::tempdir().expect("folder");
        std::fs::write(folder.path().join("secret"), format!("{SECRET}\n")).expect("write");
        let text = format!(
            "public_url = \"https://app.example.com\"\nsecrets = [\"0123456789abcdef0123456789abcdef\"]\n\
             [[provider]]\nissuer = \"https://login.example.com/realm\"\nclient_id = \"app\"\n{provider}\n\
             [[upstream]]\nurl = \"http://127.0.0.1:3000\"\n[[route]]\nprovider = \"main\"\n"
        );
        let file = folder.path().join("gateway.toml");
        std::fs::write(&file, text).expect("write");
        Config::load(Some(&file), &[("DOORWARD_PROVIDER_PROMPT".into(), "login".into())]).expect("good")
    }

    fn told(config: &Config, text: &str) -> Vec<String> {
        let errors = with_provider(config, Some("main"), text).expect_err("refused").0;
        errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_block_in_force_is_what_was_set_and_no_secret_and_is_good_as_it_stands() {
        for set in ["client_secret = \"planted-client-secret-0123456789\"", "client_secret_file = \"secret\""] {
            let config = config(&format!(
                "{set}\nscopes = [\"openid\", \"groups\"]\nclaims = [{{ name = \"team\", from = [\"dept\"] }}]"
            ));
            let block = block(&config, "main").expect("a block");
            assert!(!block.contains(SECRET) && block.contains("client_id = \"app\""), "{block}");
            assert!(block.contains("prompt = \"login\"  # environment DOORWARD_PROVIDER_PROMPT"), "{block}");
            let trial =
                with_provider(&config, Some("main"), &block).unwrap_or_else(|errors| panic!("{errors}\n{block}"));
            let of = |config: &Config| serde_json::to_value(&config.settings).expect("settings");
            assert_eq!(of(&trial.config), of(&config));
            assert_eq!(trial.config.settings.provider[0].client_secret.as_ref().map(|s| s.expose()), Some(SECRET));
            assert!(to_keep(&config, Some("main"), &trial).is_nothing());
            let changed = block.replace("client_id = \"app\"", "client_id = \"other\"");
            let trial = with_provider(&config, Some("main"), &changed).unwrap_or_else(|errors| panic!("{errors}"));
            let keep = to_keep(&config, Some("main"), &trial).block;
            assert!(!keep.contains(SECRET) && !keep.contains(MASK), "{keep}");
            let (file, comment) = (keep.contains("\nclient_secret_file = "), keep.contains("\n# client_secret = "));
            assert_eq!((file, comment), (set.contains("_file"), !set.contains("_file")), "{keep}");
        }
    }

    #[test]
    fn mistakes_are_told_by_their_line_together_with_what_they_do_to_the_rest() {
        let config = config("client_secret = \"planted-client-secret-0123456789\"");
        let told = |text: &str| told(&config, text);
        assert!(
            told("[[provider]]\nisuer = \"https://a.example\"\nclient_id = \"a\"")[0]
                .starts_with("the block:2:1: provider.isuer: ")
        );
        assert!(told("[[provider]]\nissuer = \"https://a.example\nclient_id = \"a\"")[0].starts_with("the block:2:"));
        let renamed = told(
            "[[provider]]\nname = \"other\"\nissuer = \"https://login.example.com/realm\"\nclient_id = \"a\"\nclient_secret = \"********\"",
        );
        assert!(renamed.iter().any(|error| error.contains("route.provider")), "{renamed:?}");
        for text in ["", "public_url = \"x\"", "[provider]\nissuer = \"x\"", "[[provider]]\n[[provider]]\n"] {
            assert_eq!(told(text).len(), 1, "{text}");
        }
    }

    #[test]
    fn the_secret_in_force_goes_to_no_other_host_and_no_other_file_is_read() {
        let config = config("client_secret = \"planted-client-secret-0123456789\"");
        let block =
            |issuer: &str, key: &str| format!("[[provider]]\nissuer = \"{issuer}\"\nclient_id = \"app\"\n{key}\n");
        let mask = "client_secret = \"********\"";
        for issuer in [
            "https://evil.example/realm",
            "http://login.example.com/realm",
            "https://login.example.com:444/realm",
            "https://login.example.com/other",
            "https://login.example.com/realm/../other",
            "https://login.example.com/realm/",
        ] {
            let told = told(&config, &block(issuer, mask));
            assert!(
                told[0].contains("only for the issuer as it is in force") && told[0].starts_with("the block:4:"),
                "{told:?}"
            );
        }
        assert!(with_provider(&config, Some("main"), &block("https://login.example.com/realm", mask)).is_ok());
        assert!(
            with_provider(
                &config,
                Some("main"),
                &block("https://b.example", "client_secret = \"typed-secret-of-b-0123456789\"")
            )
            .is_ok()
        );
        let forgotten = format!("client_secret = {FORGOTTEN:?}");
        let told_again = told(&config, &block("https://login.example.com/realm", &forgotten));
        assert!(told_again[0].contains("type it again") && told_again.len() == 1, "{told_again:?}");
        for key in SECRET_FILES {
            let told = told(&config, &block("https://login.example.com/realm", &format!("{key} = \"/etc/passwd\"")));
            assert!(told[0].contains("no other is read here"), "{told:?}");
        }
        for file in ["/proc/kmsg", "/dev/zero", "/etc/ssl/certs/ca-certificates.crt"] {
            let told =
                told(&config, &block("https://login.example.com/realm", &format!("{mask}\nca_file = \"{file}\"")));
            assert!(told[0].starts_with("the block:5:") && told[0].contains("no `ca_file` in force"), "{told:?}");
        }
        assert!(
            with_provider(&config, None, &block("https://login.example.com/b", mask)).is_err(),
            "another provider has none"
        );
    }
}
