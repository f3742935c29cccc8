//! Holds the tree against the shape: unknown keys, missing keys, wrong types and unknown words, all of them at once.

use super::error::{ConfigError, nearest};
use super::model::Settings;
use super::origin::{KeyPath, Origin, Step};
use super::shape::{self, Field, Kind, Shape, Table};
use super::tree::{Node, Plain};
use super::values::{FORGOTTEN, MASK};
use super::{de, environment, wandb};
use crate::reason::Reason;

/// The settings, or everything that is wrong with how they are written.
pub(crate) fn settings(mut root: Node) -> Result<Settings, Vec<ConfigError>> {
    let mut errors = Vec::new();
    table(&root, shape::settings(), &KeyPath::default(), &mut errors);
    if !errors.is_empty() {
        return Err(errors);
    }
    // Serde stops at the first value it does not take. Such a value is taken out and the rest read again, until
    // what is taken out was required: so that a person corrects all of them in one go.
    let origins = root.origins();
    loop {
        let unfit = match de::read(&root) {
            Ok(settings) if errors.is_empty() => return Ok(settings),
            Ok(_) => return Err(errors),
            Err(unfit) if unfit.message.starts_with("missing field") && !errors.is_empty() => return Err(errors),
            Err(unfit) => unfit,
        };
        let mut path = unfit.path.unwrap_or_default();
        errors.push(ConfigError::new(path.to_string(), clearer(unfit.message)).at(origins.nearest(&path)));
        // A whole list goes, not an entry: the entries behind it would no longer be where their origins say.
        while matches!(path.0.last(), Some(Step::Index(_))) {
            path.0.pop();
        }
        if !root.remove(&path.0) {
            return Err(errors);
        }
    }
}

/// Messages of the standard library, for people.
fn clearer(message: String) -> String {
    match message.as_str() {
        "invalid socket address syntax" => "this is no address and port; write as in \"127.0.0.1:8080\"".into(),
        _ => message,
    }
}

fn table(node: &Node, shape: &Table, path: &KeyPath, errors: &mut Vec<ConfigError>) {
    let Plain::Table(entries) = &node.plain else { return };
    for (key, value) in entries {
        match shape.field(key) {
            Some(field) => walk(value, &field.shape, &path.key(key), errors),
            None => errors.push(unknown_key(key, shape, &path.key(key)).at(&value.named_at)),
        }
    }
    // A required key that was misspelt is one mistake and is told once.
    let misspelt =
        |name: &str| entries.keys().any(|k| shape.field(k).is_none() && nearest(k, shape.names()) == Some(name));
    for field in shape.fields.iter().filter(|f| f.required && !entries.contains_key(&f.name) && !misspelt(&f.name)) {
        errors.push(missing(field, &path.key(&field.name), &node.origin).at(&node.origin));
    }
}

fn missing(field: &Field, path: &KeyPath, table: &Origin) -> ConfigError {
    // Whoever configures by the names of W&B deployments is told theirs.
    let theirs = wandb::name_of(path).filter(|_| matches!(table, Origin::Variable { foreign: true, .. }));
    if let Some(theirs) = theirs {
        let hint = format!("set {theirs}, or {}", environment::name(path));
        return ConfigError::new(path.to_string(), format!("{theirs} is required and not set")).hint(hint);
    }
    let example = match &field.shape {
        Shape::Text(Kind::Url) => " = \"https://…\"",
        _ => " = \"…\"",
    };
    let hint = format!("write `{}{example}`, or set {}", field.name, environment::name(path));
    ConfigError::new(path.to_string(), "is required and not set").hint(hint)
}

fn unknown_key(key: &str, shape: &Table, path: &KeyPath) -> ConfigError {
    let error = ConfigError::new(path.to_string(), "unknown key");
    if let Some(near) = nearest(key, shape.names()) {
        return error.hint(format!("did you mean `{near}`?"));
    }
    // The right key in the wrong table is the second most frequent mistake after misspelling it.
    let elsewhere = shape::settings().fields.iter().find_map(|field| match &field.shape {
        Shape::Table(inner) => inner.field(key).map(|_| format!("[{}]", field.name)),
        Shape::List(inner) => match inner.as_ref() {
            Shape::Table(inner) => inner.field(key).map(|_| format!("[[{}]]", field.name)),
            _ => None,
        },
        _ => None,
    });
    match elsewhere {
        Some(table) => error.hint(format!("`{key}` belongs under {table}")),
        None if shape::settings().field(key).is_some() => {
            error.hint(format!("`{key}` belongs at the top of the file, before the first table"))
        }
        None => error.hint(format!("possible here: {}", shape.names().collect::<Vec<_>>().join(", "))),
    }
}

fn walk(node: &Node, shape: &Shape, path: &KeyPath, errors: &mut Vec<ConfigError>) {
    match (shape, &node.plain) {
        (Shape::Table(inner), Plain::Table(_)) => table(node, inner, path, errors),
        (Shape::List(inner), Plain::List(list)) => {
            list.iter().enumerate().for_each(|(index, node)| walk(node, inner, &path.index(index), errors));
        }
        (Shape::Map, Plain::Table(entries)) => {
            for (key, value) in entries {
                if !matches!(value.plain, Plain::Text(_)) {
                    errors.push(wrong_type("a string", value, &path.key(key)));
                }
            }
        }
        (Shape::Choice(words), Plain::Text(text)) => {
            if !words.iter().any(|w| w.word == *text) {
                let known = || words.iter().map(|w| w.word.as_str());
                let hint = match nearest(text, known()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("possible: {}", known().collect::<Vec<_>>().join(", ")),
                };
                errors.push(
                    ConfigError::new(path.to_string(), format!("`{text}` is not known")).hint(hint).at(&node.origin),
                );
            }
        }
        (Shape::Text(Kind::Url), Plain::Text(text)) => {
            if let Err(error) = url::Url::parse(text) {
                let message = format!("this is no address ({error})");
                errors.push(
                    ConfigError::new(path.to_string(), message)
                        .hint("write as in \"https://login.example.com\"")
                        .at(&node.origin),
                );
            }
        }
        (Shape::Text(Kind::Secret), Plain::Text(text)) if matches!(text.as_str(), MASK | FORGOTTEN) => {
            errors.push(masked(text, path).at(&node.origin));
        }
        (Shape::Text(_), Plain::Text(_)) | (Shape::Flag, Plain::Flag(_)) => {}
        (Shape::Number | Shape::Text(Kind::OrNumber), Plain::Whole(number)) if *number >= 0 => {}
        // `idle = 30`: the type's own message says which units there are.
        (Shape::Text(Kind::Period), Plain::Whole(_)) => {}
        (Shape::List(inner), Plain::Table(_)) if matches!(inner.as_ref(), Shape::Table(_)) => {
            let hint = format!("write [[{path}]] with double brackets: there may be several");
            errors.push(wrong_type(shape.wanted(), node, path).hint(hint));
        }
        _ => {
            let error = wrong_type(shape.wanted(), node, path);
            errors.push(match example(shape, path) {
                Some(example) => error.hint(format!("write {example}")),
                None => error,
            });
        }
    }
}

/// Somebody pasted what was shown in place of a secret.
fn masked(text: &str, path: &KeyPath) -> ConfigError {
    let message = match text {
        MASK => "this is the mask that tables and the console show in place of a secret, and not the secret",
        _ => "this stands where the console forgot a secret that was typed",
    };
    let hint = "write the secret itself, or keep it in a file and name that with the key that ends in `_file`";
    ConfigError::new(path.to_string(), message).because(Reason::SecretMissing).hint(hint)
}

/// What a list or a table looks like in the file.
fn example(shape: &Shape, path: &KeyPath) -> Option<String> {
    let bare = |shape: &Shape| match shape {
        Shape::Text(_) => Some("\"…\"".to_owned()),
        Shape::Choice(words) => words.first().map(|word| format!("\"{}\"", word.word)),
        _ => None,
    };
    // A header of TOML has no numbers: it is about the last entry before it.
    let keys = path.0.iter().filter_map(|step| match step {
        Step::Key(key) => Some(key.as_str()),
        Step::Index(_) => None,
    });
    let path = keys.collect::<Vec<_>>().join(".");
    match shape {
        Shape::List(inner) => match inner.as_ref() {
            Shape::Table(_) => Some(format!("[[{path}]] and its keys on the lines below")),
            inner => bare(inner).map(|one| format!("[{one}]")),
        },
        Shape::Map => Some("{ name = \"value\" }, as in { email = \"mail\" }".to_owned()),
        Shape::Table(_) => Some(format!("[{path}] and its keys on the lines below")),
        _ => None,
    }
}

fn wrong_type(wanted: &str, node: &Node, path: &KeyPath) -> ConfigError {
    let found = match &node.plain {
        Plain::Whole(number) if *number < 0 => "a negative number",
        plain => plain.kind(),
    };
    let error = ConfigError::new(path.to_string(), format!("{wanted} is wanted, and this is {found}"));
    match &node.origin {
        Origin::Default => error.at(&node.named_at),
        origin => error.at(origin),
    }
}
