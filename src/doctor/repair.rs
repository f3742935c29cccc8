//! An issuer that does not work, and the one that was most likely meant: found by asking.
//!
//! How an issuer of a known product has to look is judged where the configuration is read; here is what only the provider
//! itself can tell. What is proposed was tried: it answers with metadata of that very issuer.

use tokio::task::JoinSet;
use url::Url;

use super::visit::without_query;
use crate::config::Settings;
use crate::issuer_metadata::{document, is_issuer, issuer, openid_configuration};
use crate::oidc::Trial;

/// Most addresses that are tried.
const MOST: usize = 12;
const WELL_KNOWN: &str = "/.well-known/";

/// What is known of an issuer that does not work.
#[derive(Clone, Debug, Default)]
pub(super) struct Hints {
    /// How the metadata calls itself.
    pub said: Option<String>,
    /// Names of the certificate that its host shows.
    pub names: Vec<String>,
    /// Where the host leads to.
    pub redirect: Option<Url>,
}

/// The issuer that works, spelled as it spells itself, where one is found near the configured one.
pub(super) async fn working(settings: &Settings, index: usize, hints: &Hints) -> Option<String> {
    let configured = &settings.provider.get(index)?.issuer;
    let mut trying = JoinSet::new();
    for (order, candidate) in candidates(configured, hints).into_iter().enumerate() {
        let settings = settings.clone();
        trying.spawn(async move { (order, answers(settings, index, candidate).await) });
    }
    let mut tried = trying.join_all().await;
    tried.sort_by_key(|(order, _)| *order);
    tried.into_iter().find_map(|(_, found)| found)
}

/// What the metadata at `candidate` calls itself, where a gateway with that issuer would accept them.
async fn answers(mut settings: Settings, index: usize, candidate: Url) -> Option<String> {
    let provider = settings.provider.get_mut(index)?;
    provider.issuer = candidate.clone();
    // The certificate of the gateway is for the configured host alone.
    provider.client_certificate_file = None;
    provider.client_key_file = None;
    let trial = Trial::new(&settings, index)?.ok()?;
    let body = trial.http().get_json(&openid_configuration(&candidate).ok()?, None).await.ok()?;
    trial.learn(&body).ok()?;
    let document = document(&body).ok()?;
    let said = issuer(&document).ok()?;
    is_issuer(&candidate, said).then(|| said.to_owned())
}

/// Addresses that may have been meant, the likeliest first.
fn candidates(configured: &Url, hints: &Hints) -> Vec<Url> {
    let mut found: Vec<Url> = Vec::new();
    let mut add = |url: Option<Url>| {
        let plain = url.filter(|url| matches!(url.scheme(), "http" | "https"));
        if let Some(url) = plain.filter(|url| !found.contains(url) && found.len() < MOST) {
            found.push(url);
        }
    };
    add(hints.said.as_deref().and_then(|said| Url::parse(said).ok()));
    add(hints.redirect.as_ref().and_then(of_metadata));
    let with = |change: &dyn Fn(&mut Url)| {
        let mut url = configured.clone();
        url.set_query(None);
        url.set_fragment(None);
        change(&mut url);
        Some(url).filter(|url| url != configured)
    };
    let path = configured.path().trim_end_matches('/').to_owned();
    // Okta's admin console.
    add(with(&|url| {
        let host = url.host_str().map(|host| host.replacen("-admin.", ".", 1));
        let _ = url.set_host(host.as_deref());
    }));
    // What was pasted: the address of the metadata, of an endpoint, or of a page.
    add(with(&|url| url.set_path(path.split(WELL_KNOWN).next().unwrap_or_default())));
    // Keycloak before 17, and after.
    match path.strip_prefix("/auth/realms/") {
        Some(realm) => add(with(&|url| url.set_path(&format!("/realms/{realm}")))),
        None if path.starts_with("/realms/") => add(with(&|url| url.set_path(&format!("/auth{path}")))),
        None => {}
    }
    add(with(&|url| url.set_path(&path.to_lowercase())));
    for below in ["/v2.0", "/oauth2/default", "/dex"] {
        // Entra's version, Okta's own authorization server, Dex where its manual puts it.
        let fits = match below {
            "/v2.0" => configured.host_str().is_some_and(|host| host.starts_with("login.microsoftonline")),
            _ => path.is_empty(),
        };
        add(with(&|url| url.set_path(&format!("{path}{below}"))).filter(|_| fits));
    }
    add(with(&|url| {
        let port = url.port();
        let _ = url.set_scheme(if url.scheme() == "http" { "https" } else { "http" });
        let _ = url.set_port(port);
    }));
    add(with(&|url| {
        let _ = url.set_port(None);
    }));
    for name in hints.names.iter().filter(|name| !name.contains('*')) {
        add(with(&|url| {
            let _ = url.set_host(Some(name));
        }));
    }
    // An endpoint, step by step.
    let mut above = path.as_str();
    while let Some((parent, _)) = above.rsplit_once('/') {
        above = parent;
        add(with(&|url| url.set_path(parent)));
    }
    found
}

/// The issuer whose metadata is at `url`.
fn of_metadata(url: &Url) -> Option<Url> {
    let mut issuer = url.clone();
    issuer.set_path(url.path().split(WELL_KNOWN).next()?);
    issuer.set_query(None);
    Some(issuer)
}

/// In what two issuers differ, in words.
pub(super) fn difference(configured: &Url, said: &str) -> String {
    let Ok(other) = Url::parse(said) else { return "what it calls itself is no address".to_owned() };
    let mut found = Vec::new();
    if configured.scheme() != other.scheme() {
        found.push(format!("the scheme (`{}`, `{}`)", configured.scheme(), other.scheme()));
    }
    let host = |url: &Url| url.host_str().unwrap_or_default().to_owned();
    if host(configured) != host(&other) {
        let admin = host(configured).replacen("-admin.", ".", 1) == host(&other);
        let why = if admin { ": `-admin` is the address of the admin console" } else { "" };
        found.push(format!("the host (`{}`, `{}`{why})", host(configured), host(&other)));
    }
    let port = |url: &Url| url.port_or_known_default().unwrap_or_default();
    if port(configured) != port(&other) && (configured.scheme() == other.scheme() || configured.port() != other.port())
    {
        found.push(format!("the port ({}, {})", port(configured), port(&other)));
    }
    let (ours, theirs) = (configured.path(), other.path());
    if ours != theirs {
        found.push(match () {
            () if ours.trim_end_matches('/') == theirs.trim_end_matches('/') => {
                let with = if ours.ends_with('/') { "without" } else { "with" };
                format!("the slash at the end, {with} which it calls itself")
            }
            () if ours.eq_ignore_ascii_case(theirs) => "upper and lower case of the path".to_owned(),
            () if theirs.strip_prefix("/auth") == Some(ours) => {
                "the `/auth` before the path, as older Keycloaks have it".into()
            }
            () if ours.strip_prefix("/auth") == Some(theirs) => {
                "the `/auth` before the path, which newer Keycloaks do not have".into()
            }
            () => format!("the path (`{ours}`, `{theirs}`)"),
        });
    }
    if configured.query() != other.query() {
        found.push("the query".to_owned());
    }
    match found.is_empty() {
        true => format!("they differ in how they are written ({})", without_query(configured)),
        false => format!("they differ in {}", found.join(" and ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).expect("an address")
    }

    #[test]
    fn how_two_issuers_differ_is_said_in_words() {
        for (ours, said, wanted) in [
            ("https://a.example/x/", "https://a.example/x", "the slash at the end, without which"),
            ("https://a.example/x", "https://a.example/x/", "the slash at the end, with which"),
            ("http://a.example/x", "https://a.example/x", "the scheme (`http`, `https`)"),
            ("https://a.example:8443/x", "https://a.example/x", "the port (8443, 443)"),
            ("https://b.example/x", "https://a.example/x", "the host (`b.example`, `a.example`)"),
            ("https://a-admin.okta.com/", "https://a.okta.com", "`-admin` is the address of the admin console"),
            ("https://a.example/realms/Main", "https://a.example/realms/main", "upper and lower case"),
            ("https://a.example/realms/m", "https://a.example/auth/realms/m", "as older Keycloaks have it"),
            ("https://a.example/auth/realms/m", "https://a.example/realms/m", "newer Keycloaks do not"),
            ("https://a.example/x", "https://a.example/y", "the path (`/x`, `/y`)"),
            ("https://a.example/x?y", "https://a.example/x", "the query"),
            ("https://a.example/x", "me", "no address"),
        ] {
            let told = difference(&url(ours), said);
            assert!(told.contains(wanted), "{ours} {said}: {told}");
        }
        let two = difference(&url("https://a.example/x/"), "https://b.example/x");
        assert!(two.contains("the host") && two.contains(" and the slash"), "{two}");
    }

    #[test]
    fn what_may_have_been_meant_is_tried_once_and_never_the_same() {
        let tried = |text: &str, hints: &Hints| -> Vec<String> {
            let found = candidates(&url(text), hints);
            assert!(found.len() <= MOST && !found.contains(&url(text)), "{text}: {found:?}");
            found.iter().map(Url::to_string).collect()
        };
        for (ours, meant) in [
            ("https://a-admin.okta.com/", "https://a.okta.com/"),
            ("https://a.example/x/.well-known/oauth-authorization-server", "https://a.example/x"),
            ("https://a.example/oauth2/v1/token", "https://a.example/"),
            ("https://a.example/realms/main", "https://a.example/auth/realms/main"),
            ("https://a.example/auth/realms/main", "https://a.example/realms/main"),
            ("https://a.example/realms/Main", "https://a.example/realms/main"),
            ("https://a.example:8443/x", "https://a.example/x"),
            ("http://a.example:8080/x", "https://a.example:8080/x"),
            ("https://a.example/x?y=z", "https://a.example/x"),
            ("https://a.example/", "https://a.example/dex"),
        ] {
            let found = tried(ours, &Hints::default());
            assert!(found.contains(&meant.to_owned()), "{ours}: {found:?}");
        }
        let hints = Hints {
            said: Some("https://said.example".into()),
            names: vec!["named.example".into(), "*.example".into()],
            redirect: Some(url("https://led.example/x/.well-known/openid-configuration?a=b")),
        };
        let found = tried("https://a.example/x", &hints);
        assert_eq!(found[..2], ["https://said.example/", "https://led.example/x"]);
        assert!(found.contains(&"https://named.example/x".to_owned()), "{found:?}");
    }
}
