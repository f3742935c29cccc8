//! The configuration's documentation, made from the model: the JSON Schema for editors and `docs/configuration.md`.

use std::fmt::Write;

use serde_json::Value;

use super::environment;
use super::origin::KeyPath;
use super::shape::{self, Field, Kind, Shape, Table};

/// What stands above the tables of keys.
const INTRODUCTION: &str = include_str!("introduction.md");

/// The JSON Schema of `gateway.toml`, for editors.
pub fn json_schema() -> String {
    let mut schema = shape::json_schema();
    if let Some(object) = schema.as_object_mut() {
        object.insert("title".into(), "gateway.toml of Doorward".into());
    }
    format!("{schema:#}\n")
}

/// The page `docs/configuration.md`, whole.
pub fn markdown() -> String {
    let mut out = INTRODUCTION.to_owned();
    section(&mut out, "Top of the file", &shape::settings().about, shape::settings(), &KeyPath::default(), None);
    tables(&mut out, shape::settings(), &KeyPath::default(), true, None);
    out
}

/// A section for each table below `table`. `json`: the variable that holds the whole list the table is an entry of.
fn tables(out: &mut String, table: &Table, path: &KeyPath, top: bool, json: Option<&str>) {
    for field in &table.fields {
        let path = path.key(&field.name);
        match &field.shape {
            Shape::Table(inner) => {
                section(out, &format!("`[{path}]`"), &field.about, inner, &path, json);
                tables(out, inner, &path, false, json);
            }
            Shape::List(inner) => {
                let Shape::Table(inner) = inner.as_ref() else { continue };
                let variable = environment::name(&path);
                let json = if top { json } else { Some(json.unwrap_or(&variable)) };
                section(out, &format!("`[[{path}]]`"), &field.about, inner, &path.index(0), json);
                tables(out, inner, &path.index(0), false, json);
            }
            _ => {}
        }
    }
}

fn section(out: &mut String, heading: &str, about: &str, table: &Table, path: &KeyPath, json: Option<&str>) {
    let _ = write!(out, "\n## {heading}\n\n{about}\n\n");
    out.push_str("| key | type | default | environment | meaning |\n|---|---|---|---|---|\n");
    for field in table.fields.iter().filter(|field| !is_tables(&field.shape)) {
        let path = path.key(&field.name);
        let variable = match json {
            Some(variable) => format!("in `{variable}`"),
            None => format!("`{}`", environment::name(&path)),
        };
        let row = [format!("`{}`", field.name), type_of(field), default_of(field), variable, meaning(field)];
        let _ = writeln!(out, "| {} |", row.map(|cell| cell.replace('|', "\\|")).join(" | "));
    }
}

/// Whether it has a section of its own instead of a line.
fn is_tables(shape: &Shape) -> bool {
    match shape {
        Shape::Table(_) => true,
        Shape::List(inner) => matches!(inner.as_ref(), Shape::Table(_)),
        _ => false,
    }
}

fn type_of(field: &Field) -> String {
    if field.name.ends_with("_file") {
        return "path".into();
    }
    shape_name(&field.shape).into()
}

fn shape_name(shape: &Shape) -> &'static str {
    match shape {
        Shape::Flag => "true or false",
        Shape::Number => "whole number",
        Shape::Text(Kind::Plain) => "string",
        Shape::Text(Kind::Secret) => "secret",
        Shape::Text(Kind::Url) => "address",
        Shape::Text(Kind::Period) => "length of time",
        Shape::Text(Kind::OrNumber) => "size",
        Shape::Choice(_) => "word",
        Shape::List(inner) => match inner.as_ref() {
            Shape::Text(Kind::Secret) => "list of secrets",
            Shape::Choice(_) => "list of words",
            Shape::Table(_) => "list of tables",
            _ => "list of strings",
        },
        Shape::Map | Shape::Table(_) => "table of strings",
    }
}

fn default_of(field: &Field) -> String {
    match &field.default {
        _ if field.required => "**required**".into(),
        None => "not set".into(),
        Some(Value::Array(list)) if list.is_empty() => "`[]`".into(),
        Some(Value::Array(list)) => {
            format!("`[{}]`", list.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
        }
        Some(value) => format!("`{value}`"),
    }
}

fn meaning(field: &Field) -> String {
    let choice = match &field.shape {
        Shape::Choice(words) => words,
        Shape::List(inner) => match inner.as_ref() {
            Shape::Choice(words) => words,
            _ => return field.about.clone(),
        },
        _ => return field.about.clone(),
    };
    let words = choice.iter().map(|word| match word.about.as_str() {
        "" => format!("`{}`", word.word),
        about => format!("`{}` – {}", word.word, about.trim_end_matches('.')),
    });
    let separator = if choice.iter().any(|word| !word.about.is_empty()) { "; " } else { ", " };
    format!("{} {}.", field.about, words.collect::<Vec<_>>().join(separator))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::path::{Path, PathBuf};

    use super::super::Config;
    use super::super::tree::Node;
    use super::*;

    fn root(path: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
    }

    /// `UPDATE_DOCS=1 cargo test --lib config` writes the pages anew.
    fn is_current(path: &str, wanted: &str) {
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::create_dir_all(root("docs")).expect("docs");
            std::fs::write(root(path), wanted).expect("write");
        }
        let found = std::fs::read_to_string(root(path)).unwrap_or_default();
        assert!(found == wanted, "{path} is not current: write it anew with UPDATE_DOCS=1 cargo test --lib config");
    }

    #[test]
    fn the_generated_pages_are_current() {
        is_current("docs/configuration.md", &markdown());
        is_current("docs/gateway.schema.json", &json_schema());
        is_current("docs/reasons.md", &crate::reason::as_markdown());
        is_current("docs/troubleshooting.md", &crate::reason::troubleshooting());
    }

    #[test]
    fn every_key_is_in_the_documentation() {
        let page = markdown();
        for (path, field) in environment::keys(0) {
            let variable = environment::name(&path);
            assert!(page.contains(&format!("`{variable}`")), "{path}");
            assert!(page.contains(&format!("| `{}` |", field.name)) || is_tables(&field.shape), "{path}");
        }
    }

    fn example() -> String {
        std::fs::read_to_string(root("gateway.toml")).expect("gateway.toml")
    }

    /// The line as a setting: `# ` begins prose, `#:` speaks to editors, `#` alone takes a setting out.
    fn setting(line: &str) -> Option<&str> {
        let bare = line.strip_prefix('#').unwrap_or(line);
        (!bare.starts_with([' ', ':'])).then_some(bare)
    }

    /// Each `key = value` of the example, commented out or not, with its table and whether it is commented out.
    fn lines(text: &str) -> Vec<(String, String, bool)> {
        let mut table = String::new();
        let mut lines = Vec::new();
        for line in text.lines() {
            let Some(bare) = setting(line) else { continue };
            if let Some(name) = bare.strip_prefix('[') {
                table = format!("{}.", name.trim_start_matches('[').split(']').next().unwrap_or_default());
            } else if let Some((key, value)) = bare.split_once(" = ") {
                lines.push((format!("{table}{key}"), value.to_owned(), line.starts_with('#')));
            }
        }
        lines
    }

    #[test]
    fn the_example_mentions_every_key() {
        let mentioned: HashSet<String> = lines(&example()).into_iter().map(|(key, ..)| key).collect();
        fn walk(table: &Table, prefix: &str, mentioned: &HashSet<String>) {
            for field in &table.fields {
                let key = format!("{prefix}{}", field.name);
                match &field.shape {
                    Shape::Table(inner) => walk(inner, &format!("{key}."), mentioned),
                    Shape::List(inner) => match inner.as_ref() {
                        Shape::Table(inner) => walk(inner, &format!("{key}."), mentioned),
                        _ => assert!(mentioned.contains(&key), "{key}"),
                    },
                    _ => assert!(mentioned.contains(&key), "{key}"),
                }
            }
        }
        walk(shape::settings(), "", &mentioned);
    }

    #[test]
    fn what_the_example_has_commented_out_is_the_default() {
        let defaults: Vec<_> = environment::keys(0);
        for (key, value, _) in lines(&example()).iter().filter(|(.., commented)| *commented) {
            let known = defaults.iter().find(|(path, _)| path.to_string() == *key);
            let Some((_, Field { default: Some(default), .. })) = known else { continue };
            // Where nothing is the default, an example says more.
            if [serde_json::json!([]), serde_json::json!({})].contains(default) {
                continue;
            }
            let read: toml::Table = toml::from_str(&format!("x = {value}")).unwrap_or_else(|e| panic!("{key}: {e}"));
            let read = serde_json::to_value(&read["x"]).expect("JSON");
            assert_eq!(&read, default, "{key}");
        }
    }

    #[test]
    fn the_example_is_a_good_configuration() {
        let directory = tempfile::tempdir().expect("directory");
        std::fs::create_dir(directory.path().join("examples")).expect("examples");
        for secret in ["examples/demo.secret", "examples/demo.client-secret"] {
            std::fs::write(directory.path().join(secret), "0123456789abcdef0123456789abcdef\n").expect("write");
        }
        let file = directory.path().join("gateway.toml");
        std::fs::write(&file, example()).expect("write");
        let config = Config::load(Some(&file), &[]).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(config.warnings, [""; 0]);
        assert_eq!(config.settings.public_url.as_str(), "http://127.0.0.1:8080/");
    }

    #[test]
    fn every_line_that_is_commented_out_is_a_setting_that_could_be_taken_in() {
        // All of them together contradict each other; that they are well-formed is what matters.
        let text: String = example().lines().filter_map(setting).map(|line| format!("{line}\n")).collect();
        let errors = match Node::parse(&text, Path::new("gateway.toml")) {
            Ok(node) => super::super::check::settings(node).err().unwrap_or_default(),
            Err(errors) => errors,
        };
        assert!(errors.is_empty(), "{errors:#?}");
    }
}
