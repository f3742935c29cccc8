//! Somebody else's text in our sentences: shown so that it can do no harm, or not shown at all.

use std::borrow::Cow;

/// Somebody else's text for a log line: at most 500 characters, with whatever could start a line, move the cursor or
/// turn the direction of writing escaped.
pub fn in_words(text: &str) -> String {
    format!("`{}`", harmless(&cut(text, 500)))
}

/// A text with whatever could start a line, move the cursor or turn the direction of writing escaped.
pub fn harmless(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        let turns =
            matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}');
        if c.is_control() || turns {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    out
}

/// At most `most` characters; that there were more is seen.
pub fn cut(text: &str, most: usize) -> Cow<'_, str> {
    match text.char_indices().nth(most) {
        Some((at, _)) => Cow::Owned(format!("{}…", &text[..at])),
        None => Cow::Borrowed(text),
    }
}

/// Somebody else's text for an answer to them, in single quotes: short, and nothing but what RFC 6750 §3 lets an
/// `error_description` hold; whatever else becomes a question mark.
pub fn in_quotes(text: &str) -> String {
    const LONGEST: usize = 100;
    let mut out = String::with_capacity(text.len().min(LONGEST) + 6);
    out.push('\'');
    for (count, c) in text.chars().enumerate() {
        if count == LONGEST {
            out.push_str("...");
            break;
        }
        out.push(if matches!(c, ' '..='~') && !matches!(c, '"' | '\\' | '\'') { c } else { '?' });
    }
    out.push('\'');
    out
}

/// Several such texts: `'a', 'b'`.
pub fn all_in_quotes<'t>(texts: impl Iterator<Item = &'t str>) -> String {
    texts.map(in_quotes).collect::<Vec<_>>().join(", ")
}

/// Cuts `text` behind `longest` characters, and gives back the room of the rest.
pub fn shorten(text: &mut String, longest: usize) {
    if let Cow::Owned(cut) = cut(text, longest) {
        *text = cut;
    }
    text.shrink_to_fit();
}

/// A number and what it counts: `1 hint`, `2 hints`.
pub fn counted(number: usize, one: &str, more: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { more })
}

/// An address without user, password, query and fragment, which only its owner should see.
pub fn plain_address(url: &url::Url) -> String {
    let mut url = url.clone();
    // Fails only for addresses without a host, which have no user either.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    url.set_fragment(None);
    url.to_string()
}

/// What is wrong with a JSON text, without quoting it: serde's own messages hold the values.
pub fn json_fault(error: &serde_json::Error) -> &'static str {
    match error.classify() {
        serde_json::error::Category::Io => "unreadable at the end",
        serde_json::error::Category::Syntax => "a syntax error at the end",
        serde_json::error::Category::Data => "another type at the end",
        serde_json::error::Category::Eof => "cut off at the end",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_write_moves_no_cursor_and_is_no_longer_than_it_may_be() {
        assert_eq!(in_words("a\u{1b}[2J\u{9b}31m\r\n\u{202e}b"), "`a\\u{1b}[2J\\u{9b}31m\\u{d}\\u{a}\\u{202e}b`");
        assert_eq!((cut("grün", 3).as_ref(), cut("grün", 4).as_ref()), ("grü…", "grün"));
        assert_eq!(in_words(&"x".repeat(501)), format!("`{}…`", "x".repeat(500)));
    }

    #[test]
    fn an_address_is_shown_without_what_its_owner_alone_should_see() {
        let url = "https://u:p@a.example:8443/x?code=1#t".parse().expect("an address");
        assert_eq!(plain_address(&url), "https://a.example:8443/x");
    }
}
