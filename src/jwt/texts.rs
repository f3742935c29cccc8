//! A few short texts in one piece of memory.

use std::fmt;

/// Texts without control characters, such as audiences and scopes. A token in the cache has some, and each by itself would
/// take more memory for being there than for what it says.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Texts(Box<str>);

/// Stands behind each text.
const END: char = '\n';

impl Texts {
    /// `None` where one of them holds a control character, which is no audience and no scope.
    pub fn of<'t>(texts: impl Iterator<Item = &'t str>) -> Option<Texts> {
        let mut all = String::new();
        for text in texts {
            if text.bytes().any(|byte| byte.is_ascii_control()) {
                return None;
            }
            all.push_str(text);
            all.push(END);
        }
        Some(Texts(all.into()))
    }

    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.split_terminator(END)
    }

    pub fn contains(&self, wanted: &str) -> bool {
        self.iter().any(|text| text == wanted)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Bytes of memory that they take beside the place where they are kept.
    pub fn bytes(&self) -> usize {
        self.0.len()
    }
}

impl fmt::Debug for Texts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::Texts;

    #[test]
    fn what_goes_in_comes_out_even_where_it_is_nothing() {
        for texts in [&[][..], &[""], &["a"], &["a", "", "b c", "ä"]] {
            let all = Texts::of(texts.iter().copied()).expect("texts");
            assert_eq!(all.iter().collect::<Vec<_>>(), texts);
            assert_eq!(all.is_empty(), texts.is_empty());
            assert_eq!(all.contains(""), texts.contains(&""));
        }
        assert!(Texts::of(["a\nb"].into_iter()).is_none());
        assert!(!Texts::of(["ab"].into_iter()).expect("texts").contains("a"));
    }
}
