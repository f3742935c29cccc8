//! Where each setting came from.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// Where one value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// What the product of the provider is known to need.
    Preset(&'static str),
    /// The configuration file; line and column from 1.
    File { file: Arc<Path>, line: usize, column: usize },
    /// An environment variable. `foreign`: one of the names that W&B deployments use.
    Variable { name: String, foreign: bool },
    /// The content of a file that another setting names.
    SecretFile { path: Arc<Path>, named_by: Box<Origin> },
}

impl Origin {
    /// Who wins where two say something: the higher.
    pub(crate) fn rank(&self) -> u8 {
        match self {
            Origin::Default | Origin::Preset(_) => 0,
            Origin::File { .. } => 1,
            Origin::Variable { foreign: true, .. } => 2,
            Origin::Variable { foreign: false, .. } => 3,
            Origin::SecretFile { named_by, .. } => named_by.rank(),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::Preset(name) => write!(f, "preset {name}"),
            Origin::File { file, line, .. } => write!(f, "{}:{line}", file.display()),
            Origin::Variable { name, .. } => write!(f, "environment {name}"),
            Origin::SecretFile { path, .. } => write!(f, "file {}", path.display()),
        }
    }
}

/// One step on the way to a setting. Paths are ordered so that `provider[2]` comes before `provider[10]`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    Key(String),
    Index(usize),
}

/// The way to a setting: `provider[0].issuer`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyPath(pub Vec<Step>);

impl KeyPath {
    /// The path through tables alone: `session.idle`.
    pub(crate) fn of(dotted: &str) -> Self {
        KeyPath(dotted.split('.').map(|key| Step::Key(key.to_owned())).collect())
    }

    pub fn key(&self, name: &str) -> Self {
        self.with(Step::Key(name.to_owned()))
    }

    pub fn index(&self, index: usize) -> Self {
        self.with(Step::Index(index))
    }

    fn with(&self, step: Step) -> Self {
        KeyPath(self.0.iter().cloned().chain([step]).collect())
    }
}

/// As people read it. The index 0 is left out, as in the environment's names: most lists have one entry.
impl fmt::Display for KeyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, step) in self.0.iter().enumerate() {
            match step {
                Step::Key(name) if number == 0 => f.write_str(name)?,
                Step::Key(name) => write!(f, ".{name}")?,
                Step::Index(0) => {}
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

/// The origin of every setting that somebody set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origins(pub(crate) BTreeMap<KeyPath, Origin>);

impl Origins {
    /// Where the value at `path` came from.
    pub fn of(&self, path: &KeyPath) -> &Origin {
        self.0.get(path).unwrap_or(&Origin::Default)
    }

    /// All of them, in the order of their paths.
    pub fn iter(&self) -> impl Iterator<Item = (&KeyPath, &Origin)> {
        self.0.iter()
    }

    /// The place nearest to `path`: its own, else that of the table it would stand in.
    pub fn nearest(&self, path: &KeyPath) -> &Origin {
        let mut steps = path.0.as_slice();
        loop {
            if let Some(origin) = self.0.get(&KeyPath(steps.to_vec())) {
                return origin;
            }
            match steps.split_last() {
                Some((_, rest)) => steps = rest,
                None => return &Origin::Default,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_shown_without_the_index_0() {
        let path = KeyPath::default().key("route").index(0).key("allow").key("claims").index(2).key("claim");
        assert_eq!(path.to_string(), "route.allow.claims[2].claim");
    }

    #[test]
    fn the_tenth_provider_comes_after_the_second() {
        let provider = |n| KeyPath::default().key("provider").index(n);
        assert!(provider(2) < provider(10));
    }
}
