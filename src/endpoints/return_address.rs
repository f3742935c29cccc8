//! Where a browser goes after signing in or out: on this host, or nowhere.

use url::{Position, Url};

use crate::canonical::{CanonicalPath, host_name};

/// An address that is safe to put into `Location`: a path of this host, or an address of a host that shares the
/// session cookie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReturnAddress(String);

/// Longest return address; what is longer goes to `/`.
const MAX_LENGTH: usize = 2000;

impl ReturnAddress {
    /// Judges `text` by the rules browsers use to parse an address (WHATWG URL), and then by the gateway's own for
    /// paths: a browser drops tabs and line ends, takes `\` for `/`, and reads `//host` and `/\host` as another host.
    /// `cookie_domain` admits `https://name.cookie_domain/…` as well.
    pub fn parse(text: &str, public_url: &Url, cookie_domain: Option<&str>) -> Option<Self> {
        let clean = text.len() <= MAX_LENGTH && text.bytes().all(|b| b.is_ascii_graphic() && b != b'\\');
        if !clean {
            return None;
        }
        let url = public_url.join(text).ok()?;
        if has_user(&url) {
            return None;
        }
        let target = match text.starts_with('/') {
            true => (url.origin() == public_url.origin()).then(|| text.to_owned()),
            false => (names_scheme(text, public_url) && shares_cookies(&url, public_url, cookie_domain))
                .then(|| url.to_string()),
        }?;
        let raw_path = target.split(['?', '#']).next()?;
        let path = if text.starts_with('/') { raw_path } else { url.path() };
        CanonicalPath::parse(path.as_bytes()).ok()?;
        Some(ReturnAddress(target))
    }

    /// `text` as an address of this host, be it written with its scheme and host.
    pub fn parse_own(text: &str, public_url: &Url, cookie_domain: Option<&str>) -> Option<Self> {
        let whole = Url::parse(text).ok().filter(|_| names_scheme(text, public_url));
        let own = whole.filter(|url| url.origin() == public_url.origin() && !has_user(url));
        match own {
            // What browsers would read otherwise is not taken here either.
            Some(url) if text.bytes().all(|b| b.is_ascii_graphic() && b != b'\\') => {
                Self::parse(&url[Position::BeforePath..], public_url, cookie_domain)
            }
            _ => Self::parse(text, public_url, cookie_domain),
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn has_user(url: &Url) -> bool {
    !url.username().is_empty() || url.password().is_some()
}

/// `https:name` is a path to a browser that stands on an https page.
fn names_scheme(text: &str, public_url: &Url) -> bool {
    text.strip_prefix(public_url.scheme()).is_some_and(|rest| rest.starts_with("://"))
}

fn shares_cookies(url: &Url, public_url: &Url, cookie_domain: Option<&str>) -> bool {
    let (Some(host), Some(domain)) = (url.host_str(), cookie_domain) else { return false };
    let below =
        host_name(host).is_ok() && host.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    below && url.scheme() == public_url.scheme() && url.port() == public_url.port()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str, domain: Option<&str>) -> Option<String> {
        let public = Url::parse("https://app.example.com").expect("url");
        ReturnAddress::parse(text, &public, domain).map(|a| a.0)
    }

    #[test]
    fn a_path_of_this_host_is_kept() {
        for text in ["/", "/a/b?x=1&y=//e#frag", "/a%20b", "/?next=https://evil.example", "/@evil.example", "/a:b@c"] {
            assert_eq!(parse(text, None).as_deref(), Some(text), "{text}");
        }
    }

    #[test]
    fn an_address_of_this_host_is_taken_whole_where_it_may_be() {
        let public = Url::parse("https://app.example.com").expect("url");
        let parse_own = |text: &str| ReturnAddress::parse_own(text, &public, None).map(|address| address.0);
        for (text, path) in [
            ("https://app.example.com", "/"),
            ("https://app.example.com/a?b=c#d", "/a?b=c#d"),
            ("https://APP.example.com:443/a", "/a"),
            ("/a?b", "/a?b"),
        ] {
            assert_eq!(parse_own(text).as_deref(), Some(path), "{text}");
        }
        for text in [
            "https://app.example.com@evil.example/",
            "https://u@app.example.com/",
            "https://app.example.com.evil.example/",
            "https://app.example.com:444/",
            "http://app.example.com/",
            "https:/app.example.com//evil.example",
            "https://app.example.com//evil.example",
            "https://app.example.com/\\evil.example",
            "https://app.example.com/\t/evil.example",
            "HTTPS:app.example.com",
            "//app.example.com/",
            "javascript:alert(1)",
            "",
        ] {
            assert_eq!(parse_own(text), None, "{text:?}");
        }
    }

    #[test]
    fn no_other_address_is_ever_taken() {
        for text in [
            "",
            "a",
            "//e",
            "///e",
            "/\\e",
            "\\e",
            "\\\\e",
            "/%5ce",
            "/%5c%5ce",
            "/\te",
            "/\t/e",
            "\t//e",
            " //e",
            "/ /e",
            "https:e",
            "https:/e",
            "https://e",
            "https://app.example.com@e/",
            "https://app.example.com.e/",
            "http://app.example.com/",
            "javascript:alert(1)",
            "data:,x",
            "/\r\nSet-Cookie: a",
            "/\n/e",
            "/\0",
            "//e/..",
            "/..//e",
            "/.//e",
            "/a/..//e",
            "/%2f/e",
            "/%2fe",
            "/%252f%252fe",
            "/%2e%2e//e",
            "https://user:p@app.example.com/",
            "/\u{2028}",
            "/ä",
            "//xn--e-fsa",
            "https://app.example.com:444/",
            "//app.example.com:444",
            "/;/e",
            "?//e",
            "#//e",
            "..//e",
        ] {
            assert_eq!(parse(text, None), None, "{text:?}");
        }
        assert_eq!(parse(&format!("/{}", "a".repeat(MAX_LENGTH)), None), None);
    }

    #[test]
    fn a_host_that_shares_the_cookie_is_taken_where_configured() {
        let domain = Some("example.com");
        assert_eq!(parse("https://other.example.com/x", domain).as_deref(), Some("https://other.example.com/x"));
        for text in [
            "https://evilexample.com/",
            "https://example.com.evil/",
            "http://other.example.com/",
            "https://u@other.example.com/",
            "https://other.example.com:9/",
            "https:other.example.com",
            "https://.example.com/",
            "https://a..example.com/",
        ] {
            assert_eq!(parse(text, domain), None, "{text}");
        }
        assert_eq!(parse("https://other.example.com/", None), None);
    }
}
