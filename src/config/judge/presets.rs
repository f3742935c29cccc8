//! What is known of products, held against what was written: issuers that cannot be right, with what was most likely
//! meant, and settings that the product does not know.
//!
//! An error is what cannot work at that product; what may be somebody's own way is a warning.

use url::Url;

use super::{Judge, is_host, is_loopback};
use crate::config::environment::name as variable_of;
use crate::config::model::{ANY_TENANT, AuthMethod, ClientAuth, Preset, Provider, ResponseMode};
use crate::config::origin::{KeyPath, Origin};

/// The tenant of personal Microsoft accounts, which metadata names where `consumers` is written.
const CONSUMERS: &str = "9188040d-6c67-4c5b-b112-36a304b66dad";

/// What is wrong with an issuer, and what was most likely meant.
type Mistake = (String, String);

impl Judge<'_> {
    pub(super) fn product(&mut self, key: &KeyPath, provider: &Provider) {
        self.preset_of_host(&key.key("issuer"), provider);
        self.tenants_of(&key.key("tenants"), provider);
        let code_only = matches!(provider.preset, Preset::Cognito | Preset::Lark | Preset::Gitlab);
        if code_only && provider.auth_method != AuthMethod::Pkce {
            let message = format!("{} issues tokens for a code alone", title(provider.preset));
            self.error(&key.key("auth_method"), message, "set it to `pkce`, or take the line away");
        }
        match provider.preset {
            preset if preset.is_entra() => self.entra_client(key, provider),
            Preset::Google => self.hosted_domain(&key.key("authorization_params").key("hd"), provider),
            Preset::Cognito if provider.response_mode == Some(ResponseMode::FormPost) => {
                let message = "Cognito sends its answer in the address, and posts none";
                self.error(&key.key("response_mode"), message, "take it away");
            }
            // Lark takes the secret in the form and refuses every other way.
            Preset::Lark if provider.client_auth != ClientAuth::ClientSecretPost => self.lark_client(key, provider),
            _ => {}
        }
        self.product_groups(key, provider);
    }

    /// Whether the issuer cannot be that of its product; says so.
    pub(super) fn mistaken_issuer(&mut self, key: &KeyPath, provider: &Provider) -> bool {
        let mistake = mistake(product(provider), &provider.issuer);
        mistake.map(|(message, hint)| self.error(key, message, hint)).is_some()
    }

    fn preset_of_host(&mut self, key: &KeyPath, provider: &Provider) {
        let (preset, product) = (provider.preset, product(provider));
        let host = provider.issuer.host();
        match (product_of(provider.issuer.host_str().unwrap_or_default()), title(product), title(preset)) {
            (Some(_), vendor, _) if product != preset && preset == Preset::Generic => {
                let name = product.name();
                let remedy = match (self.origins.of(key), key.0.split_last()) {
                    // Whoever has no file for it cannot write a line there.
                    (Origin::Variable { .. }, Some((_, table))) => {
                        format!("{}={name}", variable_of(&KeyPath(table.to_vec()).key("provider")))
                    }
                    _ => format!("provider = \"{name}\""),
                };
                self.warn(key, format!("is {vendor}'s: `{remedy}` sets what {vendor} needs"));
            }
            (Some(_), vendor, _) if product != preset => {
                self.warn(key, format!("is {vendor}'s, and `provider = \"{}\"` is set", preset.name()));
            }
            (None, _, vendor) if in_the_cloud(preset) && !is_loopback(host) => {
                self.warn(key, format!("is at no host of {vendor}"));
            }
            _ => {}
        }
    }

    /// Who may come where the issuer lets everybody come.
    fn tenants_of(&mut self, key: &KeyPath, provider: &Provider) {
        let tenants = &provider.tenants;
        match (provider.tenant_template().is_some(), tenants.as_slice()) {
            (true, []) => {
                let hint = "list the ids of the tenants whose people may sign in, or write [\"*\"] for all of them";
                return self.error(key, "is needed where the issuer is for several tenants", hint);
            }
            (false, [_, ..]) => {
                let hint = "take it away, or write `common` or `organizations` in place of the tenant in `issuer`";
                return self.error(key, "has no effect: the issuer is that of one tenant", hint);
            }
            (true, [one]) if one == ANY_TENANT => {
                let message = "everybody with a Microsoft account may sign in, and each tenant's admins decide which \
                               e-mail address their people have; rules by e-mail address keep nobody out";
                return self.warn(key, message);
            }
            _ => {}
        }
        self.tenant_list(key, tenants, true);
    }

    /// What a list of tenants may hold. Entra numbers its tenants, and its tokens call them by their numbers alone; elsewhere
    /// it is what `iss` says, ids and domain names.
    pub(super) fn tenant_list(&mut self, key: &KeyPath, tenants: &[String], of_entra: bool) {
        // What holds a slash would be another issuer altogether.
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        for (index, tenant) in tenants.iter().enumerate() {
            let known = if of_entra { is_guid(tenant) } else { !tenant.is_empty() && tenant.chars().all(plain) };
            if !known {
                let hint = match of_entra {
                    true => "write the Directory (tenant) ID, as in \"11111111-2222-3333-4444-555555555555\"",
                    false => "write its id, as `iss` of its tokens has it",
                };
                self.error(&key.index(index), format!("`{}` is no tenant id", tenant.escape_debug()), hint);
            }
            if tenants[..index].iter().any(|other| other.eq_ignore_ascii_case(tenant)) {
                self.error(&key.index(index), format!("`{tenant}` is listed twice"), "take one of them away");
            }
        }
    }

    fn hosted_domain(&mut self, key: &KeyPath, provider: &Provider) {
        let Some(domain) = provider.hosted_domain() else { return };
        if domain != ANY_TENANT && !is_host(domain) {
            let hint = "write the domain of the Workspace, as in \"example.com\", or \"*\" for any Workspace";
            self.error(key, format!("`{}` is no domain", domain.escape_debug()), hint);
        }
    }

    fn entra_client(&mut self, key: &KeyPath, provider: &Provider) {
        if provider.client_secret.as_ref().is_some_and(|secret| is_guid(secret.expose().trim())) {
            let message = "looks like the Secret ID; Entra wants the Value, which it shows once, when the secret is made \
                           (AADSTS7000215)";
            self.warn(&key.key("client_secret"), message);
        }
        let signs = provider.client_key_file.is_some();
        if signs && provider.client_certificate_file.is_none() && provider.client_key_id.is_none() {
            let message = "Entra finds the key by its certificate: set `client_certificate_file`";
            self.warn(&key.key("client_key_file"), message);
        }
    }

    fn lark_client(&mut self, key: &KeyPath, provider: &Provider) {
        let client_auth = key.key("client_auth");
        match provider.client_secret.is_none() {
            true if !self.is_set(&client_auth) => {
                let hint = "set it to the App Secret of the application in Lark's console";
                self.error(&key.key("client_secret"), "is needed: Lark knows no client without one", hint);
            }
            lacks => {
                let message = "Lark takes a client secret in the form, and nothing else";
                let hint = match lacks {
                    true => "set `client_secret`, and take `client_auth` away",
                    false => "take it away",
                };
                self.error(&client_auth, message, hint);
            }
        }
    }

    /// A rule that asks for what never comes locks everybody out.
    fn product_groups(&mut self, key: &KeyPath, provider: &Provider) {
        let rules = || self.settings.route.iter().filter_map(|route| route.allow.as_ref());
        let asks = rules().any(|allow| !allow.groups.is_empty());
        let own = self.is_set(&key.key("groups_claim")) || provider.claims.iter().any(|claim| claim.name == "groups");
        let hint = match provider.preset {
            Preset::Google => "Google sends no groups; ask for the claim `hd`, or for e-mail addresses",
            Preset::Auth0 => {
                "Auth0 lets no Action write the claim `groups`; name the one that it writes, as in \
                              \"https://app.example.com/groups\""
            }
            Preset::Lark => "Lark sends no groups; ask for e-mail addresses",
            _ => "",
        };
        if asks && !own && !hint.is_empty() {
            self.warn(&key.key("groups_claim"), format!("a route asks for groups: {hint}"));
        }
    }
}

/// Its issuers are at hosts of the vendor alone.
fn in_the_cloud(preset: Preset) -> bool {
    preset.is_entra() || matches!(preset, Preset::Cognito | Preset::Lark)
}

/// Whose issuer it is: by its host where that tells, else by the preset. The two presets for Entra share their hosts;
/// which of them an issuer is for is a question of its path.
fn product(provider: &Provider) -> Preset {
    let by_host = product_of(provider.issuer.host_str().unwrap_or_default());
    by_host.filter(|found| !(found.is_entra() && provider.preset.is_entra())).unwrap_or(provider.preset)
}

/// As people call it.
fn title(preset: Preset) -> &'static str {
    match preset {
        Preset::Generic => "any provider",
        Preset::Keycloak => "Keycloak",
        Preset::Okta => "Okta",
        Preset::Entra | Preset::EntraV1 => "Entra",
        Preset::Auth0 => "Auth0",
        Preset::Google => "Google",
        Preset::Cognito => "Cognito",
        Preset::Lark => "Lark",
        Preset::Gitlab => "GitLab",
        Preset::Authentik => "authentik",
        Preset::Zitadel => "ZITADEL",
        Preset::Dex => "Dex",
    }
}

/// Whose host it is, where that can be told.
fn product_of(host: &str) -> Option<Preset> {
    let below = |domains: &[&str]| {
        domains.iter().any(|domain| host.strip_suffix(domain).is_some_and(|label| label.ends_with('.')))
    };
    match host {
        "login.microsoftonline.com" | "login.microsoftonline.us" | "login.partner.microsoftonline.cn" => {
            Some(Preset::Entra)
        }
        "sts.windows.net" | "sts.chinacloudapi.cn" => Some(Preset::EntraV1),
        "accounts.google.com" => Some(Preset::Google),
        "gitlab.com" => Some(Preset::Gitlab),
        _ if below(&["okta.com", "oktapreview.com", "okta-emea.com"]) => Some(Preset::Okta),
        _ if below(&["ciamlogin.com"]) => Some(Preset::Entra),
        _ if below(&["auth0.com"]) => Some(Preset::Auth0),
        _ if below(&["amazoncognito.com"]) || is_pool_host(host) => Some(Preset::Cognito),
        _ if below(&["zitadel.cloud"]) => Some(Preset::Zitadel),
        _ if below(&["larksuite.com", "feishu.cn"]) => Some(Preset::Lark),
        _ => None,
    }
}

fn is_pool_host(host: &str) -> bool {
    let amazon = host.ends_with(".amazonaws.com") || host.ends_with(".amazonaws.com.cn");
    amazon && (host.starts_with("cognito-idp.") || host.starts_with("issuer-cognito-idp."))
}

/// What cannot be an issuer of that product. At its vendor's hosts, none is of http.
fn mistake(product: Preset, url: &Url) -> Option<Mistake> {
    let mut over_tls = url.clone();
    let plain = url.scheme() == "http" && product_of(url.host_str()?).is_some() && over_tls.set_scheme("https").is_ok();
    let meant = match over_tls.path() {
        "/" => origin(&over_tls),
        _ => over_tls.to_string(),
    };
    mistake_of_path(product, &over_tls).or_else(|| {
        let message = format!("is http, which no issuer at a host of {} is", title(product));
        plain.then(|| wrong(&message, meant)).flatten()
    })
}

/// What cannot be one, be it of http or https.
fn mistake_of_path(product: Preset, url: &Url) -> Option<Mistake> {
    match product {
        Preset::Okta => okta(url),
        Preset::Entra => entra(url),
        Preset::EntraV1 => entra_v1(url),
        Preset::Google => google(url),
        Preset::Cognito => cognito(url),
        Preset::Keycloak => keycloak(url),
        Preset::Gitlab => gitlab(url),
        Preset::Authentik => authentik(url),
        Preset::Zitadel | Preset::Auth0 => host_alone(title(product), url),
        Preset::Generic | Preset::Lark | Preset::Dex => None,
    }
}

fn wrong(message: &str, meant: impl std::fmt::Display) -> Option<Mistake> {
    Some((message.to_owned(), format!("write \"{meant}\"")))
}

fn segments(url: &Url) -> Vec<&str> {
    url.path_segments().into_iter().flatten().filter(|segment| !segment.is_empty()).collect()
}

fn origin(url: &Url) -> String {
    url.origin().ascii_serialization()
}

fn okta(url: &Url) -> Option<Mistake> {
    let host = url.host_str()?;
    let meant = url.as_str().trim_end_matches('/');
    match (host.split_once("-admin."), segments(url).as_slice()) {
        (Some((company, domain)), _) => {
            wrong("is the address of Okta's admin console", format!("https://{company}.{domain}"))
        }
        (None, []) => None,
        (None, ["oauth2", server]) if !matches!(*server, "v1") => match url.path().ends_with('/') {
            true => wrong("ends in a slash, and Okta's issuers do not", meant),
            false => None,
        },
        (None, _) => wrong("is no issuer of Okta", format!("{0}\", or \"{0}/oauth2/default", origin(url))),
    }
}

fn entra(url: &Url) -> Option<Mistake> {
    let (origin, host) = (origin(url), url.host_str()?);
    // Somebody's own host, a proxy for one, may be right; where it is not, Entra's is more likely meant.
    let known = product_of(host).is_some() || is_loopback(url.host());
    let meant_origin = if known { origin.as_str() } else { "https://login.microsoftonline.com" };
    let found = segments(url);
    let tenant = found.first().copied().unwrap_or("TENANT");
    // The two versions of an endpoint are at one host and have different issuers.
    if host == "sts.windows.net" || host == "sts.chinacloudapi.cn" {
        let hint = format!(
            "write \"https://login.microsoftonline.com/{tenant}/v2.0\", or set `provider = \"entra-v1\"` for these"
        );
        return Some(("is the issuer of version 1 tokens".into(), hint));
    }
    if tenant == "consumers" {
        return wrong("names the tenant of personal accounts by a word", format!("{meant_origin}/{CONSUMERS}/v2.0"));
    }
    if !is_guid(tenant) && !matches!(tenant, "common" | "organizations") {
        let message = "does not name the tenant by its id, which its metadata and tokens do";
        return Some((message.into(), format!("write \"{meant_origin}/TENANT/v2.0\" with the Directory (tenant) ID")));
    }
    let meant = format!("{meant_origin}/{tenant}/v2.0");
    match url.as_str() == format!("{origin}/{tenant}/v2.0") {
        true => None,
        false if found.len() == 1 => wrong("lacks `/v2.0`, and is no issuer without it", meant),
        false => wrong("is no issuer of Entra", meant),
    }
}

fn entra_v1(url: &Url) -> Option<Mistake> {
    let tenant = segments(url).first().copied().unwrap_or("TENANT").to_owned();
    let sts = if url.host_str()?.ends_with(".cn") { "sts.chinacloudapi.cn" } else { "sts.windows.net" };
    let meant = format!("https://{sts}/{tenant}/");
    if !is_guid(&tenant) && !matches!(tenant.as_str(), "common" | "organizations") {
        let message = "does not name the tenant by its id, which its metadata and tokens do";
        return Some((message.into(), format!("write \"https://{sts}/TENANT/\" with the Directory (tenant) ID")));
    }
    match url.as_str() == meant {
        true => None,
        false => wrong("is not what version 1 tokens call their issuer", meant),
    }
}

fn google(url: &Url) -> Option<Mistake> {
    match url.as_str() == "https://accounts.google.com/" {
        true => None,
        false => wrong("is no issuer of Google", "https://accounts.google.com"),
    }
}

fn cognito(url: &Url) -> Option<Mistake> {
    const POOL: &str = "https://cognito-idp.REGION.amazonaws.com/POOL";
    let host = url.host_str()?;
    if let Some(domain) = host.strip_suffix(".amazoncognito.com") {
        let region = domain.rsplit('.').next().filter(|region| region.contains('-')).unwrap_or("REGION");
        return wrong("is the domain of the sign-in pages, not the issuer", POOL.replace("REGION", region));
    }
    match (is_pool_host(host), segments(url).as_slice()) {
        (true, [pool]) if url.path().ends_with('/') => {
            wrong("ends in a slash, and the issuer does not", format!("{}/{pool}", origin(url)))
        }
        (true, [pool]) if pool.contains('_') => None,
        (true, _) => wrong("does not name the user pool", POOL),
        (false, _) => None,
    }
}

fn keycloak(url: &Url) -> Option<Mistake> {
    let found = segments(url);
    let at = found.iter().position(|segment| *segment == "realms");
    let Some((at, realm)) = at.and_then(|at| Some((at, found.get(at + 1)?))) else {
        let before = found.iter().take_while(|segment| !matches!(**segment, "admin" | "realms")).copied();
        let base = std::iter::once(origin(url)).chain(before.map(str::to_owned)).collect::<Vec<_>>().join("/");
        return wrong("names no realm", format!("{base}/realms/REALM"));
    };
    let meant = format!("{}/{}/realms/{realm}", origin(url), found[..at].join("/"));
    let meant = if at == 0 { format!("{}/realms/{realm}", origin(url)) } else { meant };
    match url.as_str() == meant {
        true => None,
        false => wrong("is no issuer of Keycloak, which ends in the realm's name", meant),
    }
}

fn gitlab(url: &Url) -> Option<Mistake> {
    let found = segments(url);
    // An instance of one's own may live below a path.
    let own = url.host_str() != Some("gitlab.com");
    let page = found.iter().any(|segment| matches!(*segment, "oauth" | "-" | "users" | "admin" | "api"));
    match found.is_empty() || own && !page {
        true => None,
        false => wrong("is a page of GitLab, not the issuer", origin(url)),
    }
}

fn authentik(url: &Url) -> Option<Mistake> {
    match (segments(url).as_slice(), url.path().ends_with('/')) {
        ([.., "application", "o", _], true) => None,
        ([.., "application", "o", slug], false) if *slug != "authorize" => {
            wrong("lacks the slash at its end, which authentik's issuers have", format!("{url}/"))
        }
        _ => wrong("is no issuer of authentik", format!("{}/application/o/SLUG/", origin(url))),
    }
}

fn host_alone(title: &str, url: &Url) -> Option<Mistake> {
    match segments(url).is_empty() {
        true => None,
        false => Some((format!("has a path, and {title}'s issuers have none"), format!("write \"{}\"", origin(url)))),
    }
}

/// `11111111-2222-3333-4444-555555555555`: how Microsoft numbers tenants and secrets.
fn is_guid(text: &str) -> bool {
    let lengths = text.split('-').map(str::len);
    lengths.eq([8, 4, 4, 4, 12]) && text.bytes().all(|b| b == b'-' || b.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests;
