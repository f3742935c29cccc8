//! What a client can forge.

use crate::config::model::Settings;
use crate::identity_headers::IdentityHeaders;

/// A host that is nobody's (RFC 2606 §2).
pub const HOST: &str = "forged.invalid";
/// Somebody nobody is.
const WHO: &str = "forged@forged.invalid";

/// Lines of one request.
pub struct Arrow {
    pub lines: Vec<String>,
    /// How many headers in it are forged.
    pub forged: usize,
}

impl Arrow {
    /// An honest request.
    pub fn nothing() -> Arrow {
        Arrow { lines: Vec::new(), forged: 0 }
    }

    fn of(lines: Vec<String>) -> Arrow {
        Arrow { forged: lines.len(), lines }
    }
}

/// Names that apps take for identity, whoever writes them.
const IDENTITY: [&str; 20] = [
    "X-Forwarded-User",
    "X-Forwarded-Email",
    "X-Forwarded-Preferred-Username",
    "X-Forwarded-Groups",
    "X-Forwarded-Access-Token",
    "X-Remote-User",
    "Remote-User",
    "Remote-Groups",
    "X-WEBAUTH-USER",
    "X-WEBAUTH-ROLE",
    "X-Auth-Request-User",
    "X-Auth-Request-Email",
    "X-Authenticated-User",
    "X-Authentik-Username",
    "X-User",
    "X-Email",
    "X-Groups",
    "X-Role",
    "X-Client-Cert",
    "X-MS-CLIENT-PRINCIPAL",
];

/// What proxies say of clients.
const FORWARDING: [(&str, &str); 12] = [
    ("X-Forwarded-For", "198.51.100.7"),
    ("X-Forwarded-Host", HOST),
    ("X-Forwarded-Port", "4711"),
    ("X-Forwarded-Prefix", "/forged"),
    ("X-Forwarded-Server", HOST),
    ("Forwarded", "for=198.51.100.7;host=forged.invalid;proto=https"),
    ("X-Real-IP", "198.51.100.7"),
    ("True-Client-IP", "198.51.100.7"),
    ("CF-Connecting-IP", "198.51.100.7"),
    ("X-Original-URL", "/forged"),
    ("X-Rewrite-URL", "/forged"),
    ("X-Host", HOST),
];

/// Lines of one request; limits of headers are a hundred and more.
const CHUNK: usize = 40;

/// Everything, by request.
pub fn all(settings: &Settings) -> Vec<Arrow> {
    let written = IdentityHeaders::new(&settings.headers);
    let mut names: Vec<String> = IDENTITY.iter().map(|name| name.to_string()).collect();
    names.extend(written.names().map(str::to_owned));
    names.extend(settings.headers.drop.iter().map(|name| name.to_string()));
    names.sort_by_key(|name| name.to_ascii_lowercase());
    names.dedup_by_key(|name| name.to_ascii_lowercase());
    let line = |name: &str| format!("{name}: {WHO}");
    let spelt: Vec<String> = names.iter().flat_map(|name| spellings(name)).map(|name| line(&name)).collect();
    let mut arrows: Vec<Arrow> = spelt.chunks(CHUNK).map(|chunk| Arrow::of(chunk.to_vec())).collect();
    // Twice, in case the last or the first is the one that is replaced.
    arrows.extend(
        names.chunks(CHUNK / 2).map(|chunk| Arrow::of(chunk.iter().chain(chunk).map(|name| line(name)).collect())),
    );
    // `Connection` names what a proxy takes off: it must not be ours.
    for chunk in names.chunks(CHUNK / 2) {
        let mut lines: Vec<String> = chunk.iter().map(|name| line(name)).collect();
        lines.push(format!("Connection: {}", chunk.join(", ")));
        arrows.push(Arrow { forged: chunk.len(), lines });
    }
    let other = if settings.public_url.scheme() == "https" { "http" } else { "https" };
    let mut forwarding: Vec<String> = FORWARDING.iter().map(|(name, value)| format!("{name}: {value}")).collect();
    forwarding.push(format!("X-Forwarded-Proto: {other}"));
    forwarding.push(format!("X_Forwarded_Proto: {other}"));
    forwarding.push(format!("X_Forwarded_Host: {HOST}"));
    arrows.push(Arrow::of(forwarding));
    // What has two readings; a refusal is the right answer.
    for raw in [
        vec!["Authorization: Basic Zm9yZ2VkOmZvcmdlZA==".to_owned(), "Authorization: Bearer forged".to_owned()],
        vec![format!("X-Forwarded-User : {WHO}")],
        vec!["X-Folded: a".to_owned(), format!(" X-Forwarded-User: {WHO}")],
        vec![format!("X-Split: a\nX-Forwarded-User: {WHO}")],
        vec!["Content-Length: 0".to_owned(), "Transfer-Encoding: chunked".to_owned()],
    ] {
        arrows.push(Arrow { forged: 1, lines: raw });
    }
    arrows
}

/// Spellings that apps behind CGI, WSGI and Rack cannot tell apart.
fn spellings(name: &str) -> Vec<String> {
    let mixed =
        name.char_indices().map(|(i, c)| if i % 2 == 0 { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() });
    vec![
        name.to_owned(),
        name.to_ascii_uppercase().replace('-', "_"),
        name.to_ascii_lowercase().replace('-', "."),
        name.replacen('-', "_", 1),
        name.replace('-', "--"),
        mixed.collect(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_request_is_too_large_to_be_understood_and_every_written_header_is_forged() {
        let settings: Settings = toml::from_str(
            "public_url = 'https://a.example'\n[headers]\ndrop = ['X-Mine']\nset = [{ name = 'X-Own', claim = 'sub' }]",
        )
        .expect("toml");
        let arrows = all(&settings);
        assert!(arrows.iter().all(|arrow| arrow.lines.len() < 60));
        let text = arrows.iter().flat_map(|arrow| &arrow.lines).fold(String::new(), |text, line| text + line + "\n");
        for wanted in ["X_OWN: ", "x.own: ", "X-Mine: ", "X_MINE: ", "X_FORWARDED_USER: ", "X_Forwarded_Proto: http\n"]
        {
            assert!(text.to_ascii_lowercase().contains(&wanted.to_ascii_lowercase()), "{wanted}");
        }
    }
}
