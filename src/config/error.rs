//! What is wrong with a configuration: every error with its place, its key and a remedy.

use std::fmt;
use std::path::PathBuf;

use super::origin::Origin;
use crate::reason::Reason;

/// One error of a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    pub reason: Reason,
    /// The file, where the error is in one.
    pub file: Option<PathBuf>,
    /// Line in the file, from 1.
    pub line: Option<usize>,
    /// Column in the line in characters, from 1.
    pub column: Option<usize>,
    /// The environment variable, where the value came from one.
    pub variable: Option<String>,
    /// The setting by path (`provider.issuer`); empty where the error is about no single one.
    pub key: String,
    /// What is wrong. Never holds a secret.
    pub message: String,
    /// What to write instead.
    pub hint: Option<String>,
}

impl ConfigError {
    /// An error of [`Reason::ConfigInvalid`] without a place.
    pub fn new(key: impl Into<String>, message: impl Into<String>) -> Self {
        ConfigError {
            reason: Reason::ConfigInvalid,
            file: None,
            line: None,
            column: None,
            variable: None,
            key: key.into(),
            message: message.into(),
            hint: None,
        }
    }

    pub fn because(mut self, reason: Reason) -> Self {
        self.reason = reason;
        self
    }

    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// With the place that `origin` names.
    pub fn at(mut self, origin: &Origin) -> Self {
        match origin {
            Origin::Default | Origin::Preset(_) => {}
            Origin::File { file, line, column } => {
                self.file = Some(file.to_path_buf());
                (self.line, self.column) = (Some(*line), Some(*column));
            }
            Origin::Variable { name, .. } => self.variable = Some(name.clone()),
            Origin::SecretFile { named_by, .. } => return self.at(named_by),
        }
        self
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{}:", file.display())?;
            for number in [self.line, self.column].into_iter().flatten() {
                write!(f, "{number}:")?;
            }
            f.write_str(" ")?;
        }
        if let Some(variable) = &self.variable {
            write!(f, "environment {variable}: ")?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)?;
        if let Some(hint) = &self.hint {
            write!(f, "; {hint}")?;
        }
        write!(f, " [{}]", self.reason.code())
    }
}

impl std::error::Error for ConfigError {}

/// All errors that were found at once, and the warnings that were found on the way: what was not used is often what is
/// missing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<ConfigError>, pub Vec<String>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, error) in self.0.iter().enumerate() {
            if number > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

impl From<ConfigError> for ConfigErrors {
    fn from(error: ConfigError) -> Self {
        ConfigErrors(vec![error], Vec::new())
    }
}

/// The one of `known` that was most likely meant by `word`, if any is near enough to be worth naming.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    known
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(&word, &name.to_lowercase()), name))
        // A third of the letters may differ: beyond it the guess confuses more than it helps.
        .filter(|(distance, name)| *distance <= (word.len().max(name.len()) / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_file_line_column_key_remedy_and_code() {
        let origin = Origin::File { file: std::path::Path::new("gateway.toml").into(), line: 12, column: 3 };
        let error = ConfigError::new("provider.isuer", "unknown key").hint("did you mean `issuer`?").at(&origin);
        assert_eq!(
            error.to_string(),
            "gateway.toml:12:3: provider.isuer: unknown key; did you mean `issuer`? [DW-7002]"
        );
        let origin = Origin::Variable { name: "DOORWARD_PUBLIC_URL".into(), foreign: false };
        assert_eq!(
            ConfigError::new("public_url", "is no address").at(&origin).to_string(),
            "environment DOORWARD_PUBLIC_URL: public_url: is no address [DW-7002]"
        );
    }

    #[test]
    fn a_near_word_is_suggested_and_a_far_one_is_not() {
        assert_eq!(nearest("isuer", ["client_id", "issuer"]), Some("issuer"));
        assert_eq!(nearest("ISSUER", ["issuer"]), Some("issuer"));
        assert_eq!(nearest("banana", ["issuer", "name"]), None);
    }
}
