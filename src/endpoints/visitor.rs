//! Who is in front of the gateway: a person at a browser, or a program; and where they stand.

use http::{HeaderMap, Method, header};

/// A person reads pages and follows redirects; a program reads JSON and must never be sent to a form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visitor {
    /// A browser that is opening a page: may be sent to sign in.
    Navigating,
    /// A browser that shows what it gets, but did not open it by a plain navigation: a form that was posted, a frame.
    Reading,
    Program,
}

impl Visitor {
    /// By Fetch metadata first (W3C Fetch Metadata: browsers send it and pages cannot forge it), then by
    /// `X-Requested-With` and `Accept`.
    pub fn of(method: &Method, headers: &HeaderMap) -> Self {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let safe = matches!(*method, Method::GET | Method::HEAD);
        // A speculative load must not start a sign-in that nobody asked for.
        if text("sec-purpose").is_some_and(|purpose| purpose.contains("prefetch")) {
            return Visitor::Program;
        }
        let navigating = if safe { Visitor::Navigating } else { Visitor::Reading };
        if let Some(mode) = text("sec-fetch-mode") {
            return match (mode, text("sec-fetch-dest")) {
                ("navigate", None | Some("document")) => navigating,
                ("navigate", _) => Visitor::Reading,
                _ => Visitor::Program,
            };
        }
        if headers.contains_key("x-requested-with") || headers.contains_key(header::UPGRADE) {
            return Visitor::Program;
        }
        let accepts = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
        let html = accepts.flat_map(|value| value.split(',')).any(|kind| {
            let kind = kind.split(';').next().unwrap_or("").trim();
            kind.eq_ignore_ascii_case("text/html") || kind.eq_ignore_ascii_case("application/xhtml+xml")
        });
        if html { navigating } else { Visitor::Program }
    }

    pub fn is_person(self) -> bool {
        self != Visitor::Program
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_and_programs_are_told_apart() {
        use Visitor::*;
        for (method, fields, visitor) in [
            ("GET", &[("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")][..], Navigating),
            ("GET", &[("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "iframe")], Reading),
            ("POST", &[("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")], Reading),
            ("GET", &[("sec-fetch-mode", "no-cors"), ("sec-fetch-dest", "image"), ("accept", "text/html")], Program),
            ("GET", &[("sec-fetch-mode", "cors"), ("accept", "text/html")], Program),
            ("GET", &[("sec-fetch-mode", "navigate"), ("sec-purpose", "prefetch")], Program),
            ("GET", &[("accept", "text/html,application/xhtml+xml;q=0.9")], Navigating),
            ("GET", &[("accept", "text/html"), ("x-requested-with", "XMLHttpRequest")], Program),
            ("GET", &[("accept", "*/*")], Program),
            ("GET", &[("accept", "application/json")], Program),
            ("GET", &[("accept", "text/html"), ("upgrade", "websocket")], Program),
            ("GET", &[], Program),
            ("POST", &[("accept", "text/html")], Reading),
        ] {
            let headers =
                fields.iter().map(|(n, v)| (http::HeaderName::from_static(n), v.parse().expect("value"))).collect();
            assert_eq!(Visitor::of(&method.parse().expect("method"), &headers), visitor, "{method} {fields:?}");
        }
    }
}
