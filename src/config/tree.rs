//! The configuration before it has types: values, each with its origin, that file and environment are laid into.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use toml::de::{DeTable, DeValue};

use super::error::ConfigError;
use super::origin::{KeyPath, Origin, Origins, Step};

/// One value and where it came from.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub plain: Plain,
    pub origin: Origin,
    /// Where its key is written: an unknown key is shown there rather than at its value.
    pub named_at: Origin,
}

#[derive(Clone, Debug)]
pub(crate) enum Plain {
    Text(String),
    Whole(i64),
    Flag(bool),
    /// What no key takes: a date, a fraction.
    Other(&'static str),
    List(Vec<Node>),
    Table(BTreeMap<String, Node>),
}

/// An entry of a list was set that would leave a gap before it.
#[derive(Debug)]
pub(crate) struct Gap {
    pub index: usize,
    pub count: usize,
}

impl Plain {
    /// What it is, for people.
    pub fn kind(&self) -> &'static str {
        match self {
            Plain::Text(_) => "a string",
            Plain::Whole(_) => "a number",
            Plain::Flag(_) => "a boolean",
            Plain::Other(kind) => kind,
            Plain::List(_) => "a list",
            Plain::Table(_) => "a table",
        }
    }
}

impl Node {
    pub fn new(plain: Plain, origin: Origin) -> Self {
        Node { plain, named_at: origin.clone(), origin }
    }

    pub fn empty() -> Self {
        Node::new(Plain::Table(BTreeMap::new()), Origin::Default)
    }

    /// Reads the text of a TOML file.
    pub fn parse(text: &str, file: &Path) -> Result<Node, Vec<ConfigError>> {
        let lines = Lines::new(file.into(), text);
        let (table, errors) = DeTable::parse_recoverable(text);
        if errors.is_empty() {
            return Ok(Node::new(lines.table(table.into_inner()), lines.origin(0)));
        }
        let shown = errors.iter().map(|error| {
            // Only the message: the error's own text quotes the line, which may hold a secret.
            let span = error.span().unwrap_or_default();
            let place = lines.origin(span.start);
            let twice = Some(span).filter(|_| error.message() == "duplicate key").and_then(|span| lines.twice(span));
            let shown = twice.unwrap_or_else(|| ConfigError::new("", format!("this is not TOML: {}", error.message())));
            shown.at(&place)
        });
        Err(shown.collect())
    }

    pub fn get(&self, key: &str) -> Option<&Node> {
        match &self.plain {
            Plain::Table(table) => table.get(key),
            _ => None,
        }
    }

    /// Lays a value in, making tables and entries on the way. An entry can only be added behind the last one.
    pub fn set(&mut self, path: &[Step], value: Node) -> Result<(), Gap> {
        let Some((step, rest)) = path.split_first() else {
            *self = value;
            return Ok(());
        };
        let origin = value.origin.clone();
        match (step, &mut self.plain) {
            (Step::Key(key), Plain::Table(table)) => {
                let next = table.entry(key.clone()).or_insert_with(|| Node::new(blank(rest), origin.clone()));
                next.set(rest, value)
            }
            (Step::Index(index), Plain::List(list)) => {
                if *index == list.len() {
                    list.push(Node::new(blank(rest), origin.clone()));
                }
                let count = list.len();
                match list.get_mut(*index) {
                    Some(next) => next.set(rest, value),
                    None => Err(Gap { index: *index, count }),
                }
            }
            // The file has something else where a table or list should be; that is reported as an error of the file.
            _ => Ok(()),
        }
    }

    /// Takes the value of a key away.
    pub fn remove(&mut self, path: &[Step]) -> bool {
        match (path, &mut self.plain) {
            ([Step::Key(key)], Plain::Table(table)) => table.remove(key).is_some(),
            ([Step::Key(key), rest @ ..], Plain::Table(table)) => table.get_mut(key).is_some_and(|n| n.remove(rest)),
            ([Step::Index(index), rest @ ..], Plain::List(list)) => {
                list.get_mut(*index).is_some_and(|n| n.remove(rest))
            }
            _ => false,
        }
    }

    /// Where each value came from.
    pub fn origins(&self) -> Origins {
        let mut origins = Origins::default();
        self.collect(&KeyPath::default(), &mut origins);
        origins
    }

    fn collect(&self, path: &KeyPath, into: &mut Origins) {
        into.0.insert(path.clone(), self.origin.clone());
        match &self.plain {
            Plain::Table(table) => table.iter().for_each(|(key, node)| node.collect(&path.key(key), into)),
            Plain::List(list) => list.iter().enumerate().for_each(|(i, node)| node.collect(&path.index(i), into)),
            _ => {}
        }
    }

    /// A JSON value, as the environment holds lists of tables.
    pub fn from_json(json: serde_json::Value, origin: &Origin) -> Node {
        use serde_json::Value;
        let plain = match json {
            Value::String(text) => Plain::Text(text),
            Value::Bool(flag) => Plain::Flag(flag),
            Value::Number(number) => number.as_i64().map_or(Plain::Other("a fraction"), Plain::Whole),
            Value::Null => Plain::Other("null"),
            Value::Array(list) => Plain::List(list.into_iter().map(|v| Node::from_json(v, origin)).collect()),
            Value::Object(map) => {
                Plain::Table(map.into_iter().map(|(key, v)| (key, Node::from_json(v, origin))).collect())
            }
        };
        Node::new(plain, origin.clone())
    }
}

/// What has to stand where `rest` of a path leads on.
fn blank(rest: &[Step]) -> Plain {
    match rest.first() {
        Some(Step::Index(_)) => Plain::List(Vec::new()),
        _ => Plain::Table(BTreeMap::new()),
    }
}

/// Which of the `lines` makes the table `name` first: its head, or a key with dots above all heads.
fn first_of_table(lines: &[&str], name: &str) -> Option<usize> {
    let head = |line: &&str| line.starts_with('[');
    let top = lines.iter().position(|line| line.starts_with('[')).unwrap_or(lines.len());
    // The same name in an earlier entry of a list is another table.
    let holds = |list: &str| name.strip_prefix(list).is_some_and(|rest| rest.starts_with('.'));
    let is_list = |line: &&str| {
        line.strip_prefix("[[").and_then(|rest| rest.split("]]").next()).map(str::trim).is_some_and(holds)
    };
    let from = lines.iter().rposition(is_list).unwrap_or(0);
    let is_it = |(index, line): (usize, &&str)| match head(line) {
        true => {
            line.trim_start_matches('[').trim_start().strip_prefix(name)?.trim_start().starts_with(']').then_some(index)
        }
        false => (index < top && sets(line, name)).then_some(index),
    };
    lines.iter().enumerate().skip(from).find_map(is_it)
}

/// Which of the `lines` sets `name` first in the table that the last of them is in.
fn first_of_value(lines: &[&str], name: &str) -> Option<usize> {
    let from = lines.iter().rposition(|line| line.starts_with('[')).map_or(0, |head| head + 1);
    lines[from..].iter().position(|line| sets(line, name)).map(|found| from + found)
}

/// Whether `line` sets the key `name`, or one below it.
fn sets(line: &str, name: &str) -> bool {
    line.strip_prefix(name).is_some_and(|rest| rest.starts_with('.') || rest.trim_start().starts_with('='))
}

/// Turns byte offsets into lines and columns.
struct Lines<'a> {
    file: Arc<Path>,
    text: &'a str,
    /// Where each line begins: a file of ten thousand routes would be read from the start for each of its values.
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    fn new(file: Arc<Path>, text: &'a str) -> Self {
        let starts = [0].into_iter().chain(memchr::memchr_iter(b'\n', text.as_bytes()).map(|feed| feed + 1)).collect();
        Lines { file, text, starts }
    }

    fn origin(&self, offset: usize) -> Origin {
        let before = self.text.get(..offset).unwrap_or(self.text);
        // The first line begins at 0, so there is one at least.
        let line = self.starts.partition_point(|start| *start <= before.len()).max(1);
        let column = before[self.starts[line - 1]..].chars().count() + 1;
        Origin::File { file: self.file.clone(), line, column }
    }

    /// What is wrong with the key at `span`, which is there twice. It is named where it is made of what names are made of.
    fn twice(&self, span: Range<usize>) -> Option<ConfigError> {
        let line = self.starts.partition_point(|start| *start <= span.start).checked_sub(1)?;
        let written = self.text.get(self.starts[line]..span.end)?.trim_start();
        let (table, name) = (written.starts_with('['), written.trim_start_matches('[').trim());
        let named = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        if name.is_empty() || name.len() > 64 || !name.chars().all(named) {
            return None;
        }
        let before: Vec<&str> = self.text[..self.starts[line]].lines().map(str::trim_start).collect();
        let first = if table { first_of_table(&before, name) } else { first_of_value(&before, name) };
        let place = first.map(|line| format!(", line {}", line + 1)).unwrap_or_default();
        let list = written.starts_with("[[") || first.is_some_and(|line| before[line].starts_with("[["));
        let hint = match (table, list) {
            (true, true) => format!("write `[[{name}]]` in both places"),
            (true, false) => "have all its keys in one place".to_owned(),
            (false, _) => "take one of the two away".to_owned(),
        };
        Some(ConfigError::new("", format!("this is not TOML: `{name}` is there already{place}")).hint(hint))
    }

    fn table(&self, table: DeTable<'_>) -> Plain {
        let entries = table.into_iter().map(|(key, value)| {
            let named_at = self.origin(key.span().start);
            let origin = self.origin(value.span().start);
            (key.into_inner().into_owned(), Node { plain: self.plain(value.into_inner()), origin, named_at })
        });
        Plain::Table(entries.collect())
    }

    fn plain(&self, value: DeValue<'_>) -> Plain {
        match value {
            DeValue::String(text) => Plain::Text(text.into_owned()),
            DeValue::Integer(number) => {
                // `_`, `0x` and the like are taken off already; the radix tells which they were.
                i64::from_str_radix(number.as_str(), number.radix()).map_or(Plain::Other("a huge number"), Plain::Whole)
            }
            DeValue::Float(_) => Plain::Other("a fraction"),
            DeValue::Boolean(flag) => Plain::Flag(flag),
            DeValue::Datetime(_) => Plain::Other("a date"),
            DeValue::Array(list) => {
                let entries = list.into_iter().map(|value| {
                    let origin = self.origin(value.span().start);
                    Node::new(self.plain(value.into_inner()), origin)
                });
                Plain::List(entries.collect())
            }
            DeValue::Table(table) => self.table(table),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_knows_its_line_and_column() {
        let text = "public_url = \"x\"\n\n[[provider]]\n  issuer = \"é\"\n  max = [1,\n 2]\n[listen]\nh2c = 0x1F\n";
        let node = Node::parse(text, Path::new("g.toml")).expect("TOML");
        let origins = node.origins();
        let place = |path: KeyPath| match origins.of(&path) {
            Origin::File { line, column, .. } => (*line, *column),
            other => panic!("{path}: {other}"),
        };
        let provider = KeyPath::default().key("provider").index(0);
        assert_eq!(place(KeyPath::default().key("public_url")), (1, 14));
        assert_eq!(place(provider.clone()).0, 3);
        assert_eq!(place(provider.key("issuer")), (4, 12));
        assert_eq!(place(provider.key("max").index(1)), (6, 2));
        let h2c = node.get("listen").and_then(|l| l.get("h2c")).map(|n| &n.plain);
        assert!(matches!(h2c, Some(Plain::Whole(31))), "{h2c:?}");
    }

    #[test]
    fn a_broken_line_is_named_and_not_quoted() {
        let errors = Node::parse("a = 1\nclient_secret = \"hunter2\n", Path::new("g.toml")).expect_err("not TOML");
        let text = errors[0].to_string();
        assert!(text.starts_with("g.toml:2:") && !text.contains("hunter2"), "{text}");
    }

    #[test]
    fn a_key_that_is_there_twice_is_named_with_its_first_place() {
        for (text, told) in [
            (
                "a = 1\nlisten.address = \"x\"\n[b]\n[listen]\nh2c = true\n",
                "g.toml:4:2: this is not TOML: `listen` is there already, line 2; have all its keys in one place",
            ),
            ("[a]\n[a]\n", "g.toml:2:2: this is not TOML: `a` is there already, line 1; have all"),
            ("[a]\nb = 1\n[c]\nb = 1\nb = 2\n", "g.toml:5:1: this is not TOML: `b` is there already, line 4; take one"),
            ("b.c = 1\nb = 2\n", "g.toml:2:1: this is not TOML: `b` is there already, line 1; take one"),
            (
                "[[a]]\n[a.b]\n[[a]]\n[a.b]\nx = 1\n[a.b]\n",
                "g.toml:6:4: this is not TOML: `a.b` is there already, line 4; have all",
            ),
            ("[a]\nx = 1\n[[a]]\n", "`a` is there already, line 1; write `[[a]]` in both places"),
            // What is no name may be what nobody should read.
            ("\"hunter2 x\" = 1\n\"hunter2 x\" = 2\n", "g.toml:2:1: this is not TOML: duplicate key"),
        ] {
            let errors = Node::parse(text, Path::new("g.toml")).expect_err(text);
            let said = errors[0].to_string();
            assert!(said.contains(told) && !said.contains("hunter2"), "{text:?}: {said}");
        }
    }
}
