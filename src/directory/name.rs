//! The names people type, brought to one form.
//!
//! Promise: `Bob`, `bob ` and full-width `ｂｏｂ` are one account for every limit, and what cannot be seen is in no name. A
//! directory folds names by rules of its own (RFC 4518), so this only has to be no finer than it: where two forms that are
//! different here are one entry there, the entry is counted as well.

use icu_normalizer::ComposingNormalizerBorrowed;

use crate::reason::{Failure, Reason};

/// Longest name, in characters.
const LONGEST: usize = 256;

/// A name as it is searched for and counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    searched: String,
    counted: String,
}

impl Name {
    /// Reads what was typed: compatibility forms become plain ones (Unicode NFKC), spaces around it go, several become one.
    pub fn parse(typed: &str) -> Result<Name, Failure> {
        let no = |what: &str| Failure::new(Reason::NameUnusable, what);
        if typed.len() > LONGEST * 4 {
            return Err(no("it is longer than 256 characters"));
        }
        // A tab or line end at an edge comes from copying, and is gone with the spaces.
        let normal = ComposingNormalizerBorrowed::new_nfkc().normalize(typed.trim());
        if let Some(c) = normal.chars().chain(typed.trim().chars()).find(|c| is_unseen(*c)) {
            return Err(no(&format!("it has the character U+{:04X}", u32::from(c))));
        }
        let searched = normal.split_whitespace().collect::<Vec<_>>().join(" ");
        if searched.is_empty() {
            return Err(no("it is empty"));
        }
        if searched.chars().count() > LONGEST {
            return Err(no("it is longer than 256 characters"));
        }
        let lower = searched.to_lowercase();
        let counted = ComposingNormalizerBorrowed::new_nfkc().normalize(&lower).into_owned();
        Ok(Name { searched, counted })
    }

    /// What the directory is asked for.
    pub fn searched(&self) -> &str {
        &self.searched
    }

    /// What limits go by.
    pub fn counted(&self) -> &str {
        &self.counted
    }
}

/// Control characters, and those that take no room: two names that look the same must not be two.
pub(super) fn is_unseen(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffd}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn look_alikes_are_one_account_or_refused() {
        for typed in ["bob", "Bob", "bob ", " BOB\t", "ｂｏｂ", "ＢＯＢ", "𝐛𝐨𝐛", "\u{3000}bob"] {
            assert_eq!(Name::parse(typed).expect(typed).counted(), "bob", "{typed:?}");
        }
        assert_eq!(Name::parse("Müller").expect("a name"), Name::parse("Mu\u{308}ller").expect("a name"));
        assert_eq!(Name::parse("a  b").expect("a name").searched(), "a b");
        for typed in
            ["", " ", "bo\u{200b}b", "b\u{ad}ob", "\u{202e}bob", "bob\0", "b\nob", "\u{feff}bob", "bo\u{e0062}b"]
        {
            assert_eq!(Name::parse(typed).map_err(|f| f.reason), Err(Reason::NameUnusable), "{typed:?}");
        }
        for typed in ["bo\u{1d173}b", "bob\u{2800}", "b\u{1bca3}ob"] {
            assert_eq!(Name::parse(typed).map_err(|f| f.reason), Err(Reason::NameUnusable), "{typed:?}");
        }
        assert!(Name::parse(&"a".repeat(300)).is_err() && Name::parse(&"ﷺ".repeat(200)).is_err());
        // Another script is another name, and not the same account.
        assert_ne!(Name::parse("bоb").expect("a name").counted(), "bob");
    }
}
