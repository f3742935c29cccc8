//! An issuer that does not work, and the one that was most likely meant: found by asking.
//!
//! How an issuer of a known product has to look is judged where the configuration is read; here is what only the provider
//! itself can tell. What is proposed was tried: it answers with metadata of that very issuer.

use tokio::task::JoinSet;
use url::Url;

use crate::config::Settings;
use crate::issuer_metadata::{document, issuer, openid_configuration};
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

/// What the metadata at `candidate` call themselves, where a gateway with that issuer would accept them.
async fn answers(mut settings: Settings, index: usize, candidate: Url) -> Option<String> {
    let provider = settings.provider.get_mut(index)?;
    // The certificate of the gateway is for the configured host alone.
    provider.client_certificate_file = None;
    provider.client_key_file = None;
    let (body, said) = asked(&settings, index, &candidate).await?;
    settings.provider.get_mut(index)?.issuer = Url::parse(&said).ok()?;
    // What was found may be called otherwise again, by a slash or wholly: then it has to answer by that name.
    let own = settings.provider.get(index)?.issuer.clone();
    let body = match openid_configuration(&own).ok()? == openid_configuration(&candidate).ok()? {
        true => body,
        false => asked(&settings, index, &own).await?.0,
    };
    let trial = Trial::new(&settings, index)?.ok()?;
    trial.learn(&body).is_ok().then_some(said)
}

/// The metadata of `address`, and the issuer in them.
async fn asked(settings: &Settings, index: usize, address: &Url) -> Option<(Vec<u8>, String)> {
    let trial = Trial::new(settings, index)?.ok()?;
    let body = trial.http().get_json(&openid_configuration(address).ok()?, None).await.ok()?;
    let said = issuer(&document(&body).ok()?).ok()?.to_owned();
    Some((body, said))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).expect("an address")
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
