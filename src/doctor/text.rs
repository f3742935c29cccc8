//! Pages that were not meant for a program: what they say, without their markup.

use crate::words::cut;

/// Bytes of a page that are read.
const LONGEST: usize = 256 * 1024;

/// Whether a body begins as a page does, whatever it calls itself.
pub(super) fn is_html(body: &[u8]) -> bool {
    let text = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body).trim_ascii_start();
    text.first() == Some(&b'<')
}

/// The title of a page.
pub(super) fn title(body: &[u8]) -> Option<String> {
    let page = readable(body);
    let lower = page.to_ascii_lowercase();
    let start = lower.find("<title")?;
    let start = start + lower[start..].find('>')? + 1;
    let end = start + lower[start..].find("</title")?;
    Some(cut(&plain(&page[start..end]), 200).into_owned()).filter(|title| !title.is_empty())
}

/// What a page says, in one line: no markup, no scripts and no styles.
pub(super) fn words(body: &[u8]) -> String {
    let page = readable(body);
    let lower = page.to_ascii_lowercase();
    let mut out = String::with_capacity(page.len() / 2);
    let mut at = 0;
    while let Some(open) = lower[at..].find('<').map(|open| at + open) {
        out.push_str(&page[at..open]);
        out.push(' ');
        let silent = ["script", "style", "head", "!--"].into_iter().find(|name| lower[open + 1..].starts_with(name));
        let end = match silent {
            // Not `<header>`.
            Some("head") if !lower[open + 5..].starts_with(['>', ' ']) => ">",
            Some("head") => "</head>",
            Some("script") => "</script>",
            Some("style") => "</style>",
            Some(_) => "-->",
            None => ">",
        };
        match lower[open..].find(end) {
            Some(close) => at = open + close + end.len(),
            None => return plain(&out),
        }
    }
    out.push_str(&page[at..]);
    plain(&out)
}

/// The form that a page posts by itself: where to, and its hidden fields.
pub(super) fn form(body: &[u8]) -> Option<(String, Vec<(String, String)>)> {
    let page = readable(body);
    let lower = page.to_ascii_lowercase();
    let open = lower.find("<form")?;
    let end = lower[open..].find("</form").map_or(page.len(), |end| open + end);
    let mut tags = page[open..end].split('<').skip(1);
    let action = attribute(tags.next()?, "action")?;
    let inputs = tags.filter(|tag| tag.get(..5).is_some_and(|name| name.eq_ignore_ascii_case("input")));
    let field = |tag: &str| Some((attribute(tag, "name")?, attribute(tag, "value").unwrap_or_default()));
    Some((action, inputs.filter_map(field).collect()))
}

/// An attribute of a tag.
fn attribute(tag: &str, name: &str) -> Option<String> {
    let lower = tag.to_ascii_lowercase();
    let named = format!("{name}=");
    let found = lower.match_indices(&named).find(|(at, _)| {
        lower[..*at].ends_with(|before: char| before.is_ascii_whitespace() || matches!(before, '"' | '\''))
    });
    let rest = &tag[found?.0 + named.len()..];
    let value = match rest.chars().next()? {
        quote @ ('"' | '\'') => rest[1..].split(quote).next()?,
        _ => rest.split(|c: char| c.is_whitespace() || c == '>').next()?,
    };
    Some(unescaped(value))
}

fn readable(body: &[u8]) -> String {
    String::from_utf8_lossy(&body[..body.len().min(LONGEST)]).into_owned()
}

fn plain(text: &str) -> String {
    unescaped(text).split_whitespace().collect::<Vec<_>>().join(" ")
}

fn unescaped(text: &str) -> String {
    let known = [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&#34;", "\""),
        ("&#39;", "'"),
        ("&#x27;", "'"),
        ("&#x2F;", "/"),
        ("&#x2f;", "/"),
        ("&#x3D;", "="),
        ("&#x3a;", ":"),
        ("&#x3A;", ":"),
        ("&#43;", "+"),
        ("&nbsp;", " "),
        ("&amp;", "&"),
    ];
    known.iter().fold(text.to_owned(), |text, (escaped, plain)| text.replace(escaped, plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_told_by_its_words() {
        let page = b"\n<!DOCTYPE html><html><head><title>Sign in &amp; go</title><style>p{}</style></head><body>\
                     <header>Top</header><!-- <p>no</p> --><script>var a = '<p>no</p>';</script>\
                     <p>Invalid\n parameter: <b>redirect_uri</b></p>";
        assert!(is_html(page) && !is_html(b"{\"a\":\"<\"}"));
        assert_eq!(title(page).as_deref(), Some("Sign in & go"));
        assert_eq!(words(page), "Top Invalid parameter: redirect_uri");
        assert_eq!(words(b"plain"), "plain");
        assert_eq!(words(b"a <b"), "a");
        assert_eq!(title(b"<p>none</p>"), None);
    }

    #[test]
    fn a_form_that_posts_itself_is_read() {
        let page = b"<body onload=x><FORM method=post action=\"https://a.example/cb?x=1&amp;y=2\">\
                     <input type=hidden name='state' value='a.b'/><input type=\"submit\" value=\"go\">\
                     <input name=error value=login_required></form><input name=other value=1>";
        let (action, fields) = form(page).expect("a form");
        assert_eq!(action, "https://a.example/cb?x=1&y=2");
        let told: Vec<_> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(told, [("state", "a.b"), ("error", "login_required")]);
        assert_eq!(form(b"<p>no form</p>"), None);
    }
}
