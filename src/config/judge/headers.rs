//! The headers that tell the app who it is.

use std::collections::HashMap;

use super::Judge;
use crate::config::origin::KeyPath;

/// What `headers.standard` sends.
pub(crate) const STANDARD: [&str; 4] =
    ["x-forwarded-user", "x-forwarded-email", "x-forwarded-preferred-username", "x-forwarded-groups"];

/// Headers that make the message or belong to somebody else; a rule on them would break requests or their protection.
const TAKEN: [&str; 22] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
    "host",
    "cookie",
    "set-cookie",
    "expect",
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-host",
    "x-forwarded-port",
    "forwarded",
    "via",
    "range",
    "origin",
];

impl Judge<'_> {
    pub(super) fn headers(&mut self) {
        let headers = &self.settings.headers;
        let mut taken = HashMap::new();
        if headers.standard {
            taken.extend(STANDARD.map(|name| (name.to_owned(), "`headers.standard` sends it already")));
        }
        for (index, rule) in headers.set.iter().enumerate() {
            let key = KeyPath::of("headers.set").index(index);
            let name = one_spelling(rule.name.0.as_str());
            if is_taken(&name) || name == "authorization" {
                self.error(&key.key("name"), format!("`{}` is not for identities", rule.name), "choose another name");
            } else if let Some(why) = taken.insert(name, "another rule of `headers.set` has it, or a spelling of it") {
                let hint = "choose another name, or take one of them away";
                self.error(&key.key("name"), format!("`{}` is set twice: {why}", rule.name), hint);
            }
            if rule.claim.is_empty() {
                self.error(&key.key("claim"), "is empty", "name a claim, as in \"email\"");
            }
        }
        for (index, name) in headers.drop.iter().enumerate() {
            let key = KeyPath::of("headers.drop").index(index);
            let spelling = one_spelling(name.0.as_str());
            if is_taken(&spelling) {
                self.error(&key, format!("`{name}` is no identity header"), "take it away");
            } else if taken.contains_key(&spelling) {
                let hint = "take it away: what is set here is dropped from every request first";
                self.error(&key, format!("`{name}` is set by the gateway"), hint);
            }
        }
        if headers.max_value_bytes.0 == 0 {
            self.error(&KeyPath::of("headers.max_value_bytes"), "lets no value through", "set it to 8KiB");
        }
    }
}

fn is_taken(name: &str) -> bool {
    TAKEN.contains(&name) || name.starts_with("content-") || name.starts_with("sec-")
}

/// Servers that make variables of headers (CGI, WSGI) read `_`, `.` and `-` as the same.
fn one_spelling(name: &str) -> String {
    name.to_ascii_lowercase().replace(['_', '.'], "-")
}
