//! Paths of the file made whole, and secrets read from the files that settings name.
//!
//! A key ending in `_file` is a path. In the file it is relative to the file's own directory, so that a configuration
//! can be moved and the gateway be started from anywhere; in the environment it is relative to the working directory.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::ConfigError;
use super::origin::{KeyPath, Origin};
use super::shape::{self, Kind, Shape, Table};
use super::tree::{Node, Plain};
use crate::files;
use crate::reason::Reason;

/// Makes paths whole: must come before the environment is laid over, while every value is the file's.
pub(crate) fn resolve_paths(node: &mut Node, directory: &Path) {
    match &mut node.plain {
        Plain::List(list) => list.iter_mut().for_each(|node| resolve_paths(node, directory)),
        Plain::Table(table) => {
            for (key, node) in table {
                match &mut node.plain {
                    Plain::Text(path) if key.ends_with("_file") => {
                        *path = directory.join(&*path).to_string_lossy().into_owned();
                    }
                    _ => resolve_paths(node, directory),
                }
            }
        }
        _ => {}
    }
}

/// Every path in the tree, with the key that names it.
pub(crate) fn named(root: &Node) -> Vec<(String, PathBuf)> {
    let mut found = Vec::new();
    collect(root, &KeyPath::default(), &mut found);
    found
}

fn collect(node: &Node, path: &KeyPath, found: &mut Vec<(String, PathBuf)>) {
    match &node.plain {
        Plain::List(list) => list.iter().enumerate().for_each(|(n, node)| collect(node, &path.index(n), found)),
        Plain::Table(table) => {
            for (key, node) in table {
                match &node.plain {
                    Plain::Text(file) if key.ends_with("_file") => {
                        found.push((path.key(key).to_string(), file.into()));
                    }
                    _ => collect(node, &path.key(key), found),
                }
            }
        }
        _ => {}
    }
}

/// Puts the content of each `…secret_file` where the secret itself would stand.
pub(crate) fn fold(root: &mut Node, errors: &mut Vec<ConfigError>) {
    fold_table(root, shape::settings(), &KeyPath::default(), errors);
}

fn fold_table(node: &mut Node, shape: &Table, path: &KeyPath, errors: &mut Vec<ConfigError>) {
    for field in &shape.fields {
        let path = path.key(&field.name);
        let Plain::Table(table) = &mut node.plain else { return };
        match (&field.shape, table.get_mut(&field.name)) {
            (Shape::Table(inner), Some(inside)) => fold_table(inside, inner, &path, errors),
            (Shape::List(inner), Some(Node { plain: Plain::List(entries), .. })) => {
                if let Shape::Table(inner) = inner.as_ref() {
                    let entries = entries.iter_mut().enumerate();
                    entries.for_each(|(index, entry)| fold_table(entry, inner, &path.index(index), errors));
                }
            }
            _ => {}
        }
        if let Some((secret, in_list)) = secret_of(&field.name, shape) {
            fold_one(node, &field.name, &secret, in_list, &path, errors);
        }
    }
}

/// The secret that a key names a file for, and whether it is a list of them.
fn secret_of(key: &str, shape: &Table) -> Option<(String, bool)> {
    let base = key.strip_suffix("_file")?;
    let secret = |shape: &Shape| matches!(shape, Shape::Text(Kind::Secret));
    if shape.field(base).is_some_and(|f| secret(&f.shape)) {
        return Some((base.to_owned(), false));
    }
    let plural = format!("{base}s");
    let list = shape.field(&plural).is_some_and(|f| matches!(&f.shape, Shape::List(inner) if secret(inner)));
    list.then_some((plural, true))
}

fn fold_one(
    node: &mut Node,
    file_key: &str,
    secret_key: &str,
    in_list: bool,
    path: &KeyPath,
    errors: &mut Vec<ConfigError>,
) {
    let Plain::Table(table) = &mut node.plain else { return };
    let Some(Node { plain: Plain::Text(file), origin, .. }) = table.get(file_key).cloned() else { return };
    if let Some(other) = table.get(secret_key) {
        // The environment wins over the file for the secret as a whole, however it is given.
        match other.origin.rank().cmp(&origin.rank()) {
            std::cmp::Ordering::Greater => {
                table.remove(file_key);
                return;
            }
            std::cmp::Ordering::Less => {}
            std::cmp::Ordering::Equal => {
                let message = format!("`{secret_key}` is set as well");
                errors.push(ConfigError::new(path.to_string(), message).hint("take one of them away").at(&origin));
                return;
            }
        }
    }
    let path_of_file: Arc<Path> = Path::new(&file).into();
    match read(&path_of_file) {
        Ok(secret) => {
            let origin = Origin::SecretFile { path: path_of_file, named_by: Box::new(origin) };
            let secret = Node::new(Plain::Text(secret), origin.clone());
            let value = if in_list { Node::new(Plain::List(vec![secret]), origin) } else { secret };
            table.insert(secret_key.to_owned(), value);
        }
        Err((message, hint)) => errors.push(
            ConfigError::new(path.to_string(), format!("{file}: {message}"))
                .because(Reason::SecretMissing)
                .hint(hint)
                .at(&origin),
        ),
    }
}

/// The one line of the file. The newline behind it that editors and container secrets leave is no part of it.
///
/// An error says what is wrong with the file, and what mends that.
fn read(path: &Path) -> Result<String, (String, &'static str)> {
    // A device or a wrong file must not fill the memory.
    const LONGEST: u64 = 64 * 1024;
    use std::io::ErrorKind;
    let unread = |error: std::io::Error| {
        let hint = match error.kind() {
            ErrorKind::NotFound => "make the file, or correct its path",
            ErrorKind::PermissionDenied => "let the gateway's user read the file, and nobody else",
            ErrorKind::IsADirectory => "name the file in this directory that holds the secret",
            ErrorKind::InvalidData => "write the secret as text: `openssl rand -base64 32` makes one",
            _ => "name a file that can be read and holds the secret, on one line",
        };
        (format!("cannot be read ({error})"), hint)
    };
    let text = files::read_text(path, LONGEST).map_err(unread)?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    let line = line.strip_suffix('\r').unwrap_or(line);
    match line {
        line if line.trim().is_empty() => Err(("is empty".into(), "write the secret into the file, on one line")),
        line if line.contains(['\n', '\r']) => {
            Err(("has more than one line".into(), "leave the secret alone in the file, on one line"))
        }
        line => Ok(line.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(content: &str) -> Result<String, (String, &'static str)> {
        let file = tempfile::NamedTempFile::new().expect("file");
        std::fs::write(file.path(), content).expect("write");
        read(file.path())
    }

    #[test]
    fn a_secret_file_holds_one_line_and_its_newline_is_trimmed() {
        for content in ["s3cret", "s3cret\n", "s3cret\r\n"] {
            assert_eq!(text(content), Ok("s3cret".to_owned()), "{content:?}");
        }
        assert_eq!(text("two words\n"), Ok("two words".to_owned()));
    }

    #[test]
    fn what_is_wrong_with_a_secret_file_is_said_with_what_mends_it() {
        let absent = || read(Path::new("/does/not/exist"));
        for (read, message, hint) in [
            (text(""), "is empty", "write the secret into the file"),
            (text("\n"), "is empty", "write the secret into the file"),
            (text("a\nb\n"), "has more than one line", "on one line"),
            (absent(), "cannot be read", "make the file, or correct its path"),
            (read(&std::env::temp_dir()), "cannot be read", "name the file in this directory"),
        ] {
            let (said, mends) = read.expect_err(message);
            assert!(said.starts_with(message) && mends.contains(hint), "{said}: {mends}");
        }
    }

    #[test]
    fn every_key_of_a_path_ends_in_file_and_secrets_have_one() {
        assert_eq!(secret_of("secret_file", shape::settings()), Some(("secrets".into(), true)));
        let Some(Shape::List(provider)) = shape::settings().field("provider").map(|f| &f.shape) else { panic!() };
        let Shape::Table(provider) = provider.as_ref() else { panic!() };
        assert_eq!(secret_of("client_secret_file", provider), Some(("client_secret".into(), false)));
        assert_eq!(secret_of("ca_file", provider), None);
    }
}
