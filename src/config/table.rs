//! The start table: each setting with its value and where it came from, and what follows from all of them.
//!
//! A secret is never in it: the settings are shown as they serialise, and a secret serialises as its mask.

use std::fmt::Write;

use serde_json::Value;

use super::model::{
    Access, Allow, AuthMethod, ClientAuth, Directory, Federation, Issuer, Provider, ResponseMode, Route, callback,
    own_issuer,
};
use super::origin::{KeyPath, Origin};
use super::shape::{self, Field, Kind, Shape, Table};
use super::values::MASK;
use super::{Config, Settings};
use crate::words::{counted, in_words};

/// Settings that are shown although nobody set them: where it listens, and how long a session lasts.
const ALWAYS: [&str; 6] =
    ["public_url", "listen.address", "admin.address", "session.idle", "session.absolute", "log.format"];

/// One setting.
#[derive(Clone, Debug)]
pub struct Row {
    /// By path: `provider.issuer`.
    pub key: String,
    /// As it is shown: a secret as its mask.
    pub value: String,
    pub origin: String,
    /// Whether somebody set it, be it to the default.
    pub set: bool,
}

/// The table for people, with a line end behind each line.
pub fn table(config: &Config) -> String {
    let mut rows = rows(config);
    rows.retain(|row| row.set || ALWAYS.contains(&row.key.as_str()));
    let width = |column: fn(&Row) -> &str| rows.iter().map(|r| column(r).chars().count()).max().unwrap_or(0).min(48);
    let (keys, values) = (width(|r| &r.key), width(|r| &r.value));
    let mut out = String::new();
    for Row { key, value, origin, .. } in &rows {
        let _ = writeln!(out, "{key:keys$}  {value:values$}  {origin}");
    }
    out.push('\n');
    for sentence in follows(&config.settings) {
        let _ = writeln!(out, "{sentence}");
    }
    out
}

/// Every setting that has a value, in the order of the model.
pub fn rows(config: &Config) -> Vec<Row> {
    let mut rows = Vec::new();
    // Every type of the model serialises; if one did not, a table without rows is better than no start.
    let settings = serde_json::to_value(&config.settings).unwrap_or_default();
    collect(config, shape::settings(), &settings, &KeyPath::default(), &mut rows);
    rows
}

fn collect(config: &Config, table: &Table, values: &Value, path: &KeyPath, rows: &mut Vec<Row>) {
    for field in &table.fields {
        let path = path.key(&field.name);
        let Some(value) = values.get(&field.name).filter(|value| !value.is_null()) else { continue };
        match (&field.shape, value) {
            (Shape::Table(inner), value) => collect(config, inner, value, &path, rows),
            (Shape::List(inner), Value::Array(entries)) if matches!(inner.as_ref(), Shape::Table(_)) => {
                let Shape::Table(inner) = inner.as_ref() else { continue };
                for (index, entry) in entries.iter().enumerate() {
                    collect(config, inner, entry, &path.index(index), rows);
                }
            }
            _ => leaf(config, field, value, &path, rows),
        }
    }
}

fn leaf(config: &Config, field: &Field, value: &Value, path: &KeyPath, rows: &mut Vec<Row>) {
    let origin = config.origins.of(path);
    let key = path.to_string();
    // The secret's own row names the file.
    if field.name.ends_with("secret_file") {
        return;
    }
    rows.push(Row {
        key,
        value: shown(value, &field.shape),
        origin: origin.to_string(),
        set: *origin != Origin::Default,
    });
}

fn shown(value: &Value, shape: &Shape) -> String {
    let text = match (value, shape) {
        (Value::Array(list), Shape::List(inner)) if matches!(inner.as_ref(), Shape::Text(Kind::Secret)) => {
            match list.len() {
                1 => MASK.to_owned(),
                several => format!("{MASK} ({several} secrets)"),
            }
        }
        (Value::Array(list), Shape::List(inner)) => {
            list.iter().map(|entry| shown(entry, inner)).collect::<Vec<_>>().join(", ")
        }
        (Value::String(text), Shape::Text(Kind::Url)) => address(text),
        (Value::String(text), _) => text.clone(),
        (other, _) => other.to_string(),
    };
    // A value must not be able to draw lines of its own into the table.
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}

/// As people write it: without a user, with masks for what a query says, since some services take a key there, and without
/// the slash that reading an address puts behind a bare host.
pub fn address(text: &str) -> String {
    let text = without_query(&without_user(text));
    let bare = url::Url::parse(&text).is_ok_and(|url| url.path() == "/" && url.query().is_none());
    text.strip_suffix('/').filter(|_| bare).map(str::to_owned).unwrap_or(text)
}

fn without_user(text: &str) -> String {
    let Ok(mut url) = url::Url::parse(text) else { return text.to_owned() };
    if url.username().is_empty() && url.password().is_none() {
        return text.to_owned();
    }
    // Fails only for addresses without a host, which have no user either.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.to_string()
}

fn without_query(text: &str) -> String {
    let Some((before, rest)) = text.split_once('?').filter(|_| url::Url::parse(text).is_ok()) else {
        return text.to_owned();
    };
    let (query, fragment) = rest.split_once('#').map_or((rest, None), |(query, fragment)| (query, Some(fragment)));
    let masked = query.split('&').map(|pair| match pair.split_once('=') {
        Some((name, value)) if !value.is_empty() => format!("{name}={MASK}"),
        Some(_) => pair.to_owned(),
        // A key may stand alone.
        None if pair.is_empty() => String::new(),
        None => MASK.to_owned(),
    });
    let masked = masked.collect::<Vec<_>>().join("&");
    let fragment = fragment.map(|fragment| format!("#{fragment}")).unwrap_or_default();
    format!("{before}?{masked}{fragment}")
}

/// What follows from the settings, a sentence each.
pub fn follows(settings: &Settings) -> Vec<String> {
    let mut sentences: Vec<String> = settings.provider.iter().map(|p| sign_in(p, settings)).collect();
    let people = settings.ldap.iter().filter(|directory| directory.login);
    sentences.extend(people.clone().map(directory));
    if settings.restore.enabled {
        sentences.insert(
            0,
            "restore mode: only the password that the log shows at start signs in, and nothing below does".into(),
        );
    }
    if settings.provider.is_empty() && people.count() == 0 {
        sentences.push(match settings.ldap.is_some() {
            true => "sign-in: none, the directory is only tested (`ldap.login` is false)".into(),
            false => "sign-in: none, there is no provider".into(),
        });
    } else {
        sentences.extend(settings.provider.iter().enumerate().map(|(n, provider)| redirect_uri(n, provider, settings)));
        sentences.push(sessions(settings));
    }
    sentences.extend(settings.issuer.iter().map(|issuer| tokens(issuer, settings)));
    sentences.extend(settings.federation.iter().map(|federation| exchange(federation, settings)));
    sentences.extend(settings.route.iter().map(|r| route(r, settings)));
    sentences.push(headers(settings));
    sentences.push(match settings.listen.trusted_proxies.as_slice() {
        [] => "nobody's X-Forwarded headers are believed".into(),
        networks => {
            let networks: Vec<_> = networks.iter().map(ToString::to_string).collect();
            format!("the X-Forwarded headers of {} are believed", networks.join(", "))
        }
    });
    sentences.push(listeners(settings));
    sentences
}

fn sign_in(provider: &Provider, settings: &Settings) -> String {
    let name = match settings.provider.len() {
        1 => String::new(),
        _ => format!(" with `{}`", provider.name),
    };
    let keyless = provider.client_secret.is_none() && provider.client_key_file.is_none();
    let client = match provider.client_auth.name().filter(|_| provider.client_auth != ClientAuth::None) {
        Some(name) => format!("client authentication {name}"),
        None if provider.client_auth == ClientAuth::None || keyless => "public client, no secret".into(),
        None => "client authentication chosen from the provider's metadata".into(),
    };
    let issuer = address(provider.issuer.as_str());
    let posted = provider.response_mode() == ResponseMode::FormPost;
    let flow = match provider.auth_method {
        AuthMethod::Pkce if posted => format!("authorization code with PKCE, posted by the browser, {client}"),
        AuthMethod::Pkce => format!("authorization code with PKCE, {client}"),
        AuthMethod::Implicit => "implicit flow: an ID token, posted by the browser".to_owned(),
        AuthMethod::Hybrid => format!("hybrid flow: code with PKCE and ID token, posted by the browser, {client}"),
    };
    format!("sign-in{name}: OpenID Connect at {issuer} ({flow})")
}

fn directory(directory: &Directory) -> String {
    let tls = match directory.start_tls {
        true => " with StartTLS",
        false if directory.address.iter().all(|address| address.starts_with("ldaps://")) => "",
        false => " without TLS",
    };
    let who = directory.bind_dn.as_deref().unwrap_or("nobody");
    format!(
        "sign-in by name and password: {}{tls}, below {}, searched as {who}",
        directory.address.join(", "),
        directory.base_dn
    )
}

fn redirect_uri(index: usize, provider: &Provider, settings: &Settings) -> String {
    let whose = match settings.provider.len() {
        1 => "the provider".to_owned(),
        _ => format!("`{}`", provider.name),
    };
    let public = own_issuer(&settings.public_url);
    format!("redirect URI to register at {whose}: {public}{}", callback(index, &provider.name))
}

fn sessions(settings: &Settings) -> String {
    let session = &settings.session;
    let host_only = settings.public_url.scheme() == "https" && session.cookie_domain.is_none();
    let prefix = if host_only { "__Host-" } else { "" };
    let refresh = if session.refresh { ", renewed with the provider's refresh token" } else { "" };
    format!(
        "sessions: sealed cookies `{prefix}{}`, end after {} idle, {} in all{refresh}",
        session.cookie_name, session.idle, session.absolute
    )
}

fn tokens(issuer: &Issuer, settings: &Settings) -> String {
    let said = issuer.issuer.clone().map(|said| without_user(&said));
    let said = said.or_else(|| settings.provider_of(issuer).map(|p| address(p.issuer.as_str())));
    let said = in_words(&said.unwrap_or_default());
    format!("tokens of `{}`: issued by {said}, {}", issuer.name, meant_for(&issuer.audiences, issuer.any_audience))
}

fn meant_for(audiences: &[String], anybody: bool) -> String {
    match anybody {
        true => "whomever they are meant for".to_owned(),
        false => format!("meant for {}", audiences.iter().map(|text| in_words(text)).collect::<Vec<_>>().join(" or ")),
    }
}

fn exchange(federation: &Federation, settings: &Settings) -> String {
    let names = settings.issuer.iter().map(|issuer| &issuer.name);
    let taken: Vec<String> = names
        .filter(|name| federation.issuers.is_empty() || federation.issuers.contains(name))
        .map(|name| format!("`{name}`"))
        .collect();
    let audiences = meant_for(&federation.audiences, federation.skip_audience_validation);
    let who = match &federation.allow {
        Some(allow) => allowed(allow),
        None => "only service accounts".to_owned(),
    };
    let public = own_issuer(&settings.public_url);
    let lifetime = federation.token_lifetime;
    format!("{public}/oidc/token exchanges those of {}, {audiences}, for {lifetime}: {who}", taken.join(", "))
}

fn route(route: &Route, settings: &Settings) -> String {
    let upstream = match &route.upstream {
        Some(name) => settings.upstream.iter().find(|u| u.name == *name),
        None => settings.upstream.first(),
    };
    let upstream = upstream.map_or("no app".into(), |u| format!("{} ({})", u.name, u.url));
    let who = match (route.access, &route.allow) {
        (Access::Public, _) => "public".into(),
        (Access::SignedIn, None) => "signed in, everybody".into(),
        (Access::SignedIn, Some(allow)) => format!("signed in, {}", allowed(allow)),
        (Access::Bearer, None) => "bearer tokens".into(),
        (Access::Bearer, Some(allow)) => format!("bearer tokens, {}", allowed(allow)),
        (Access::SignedInOrBearer, None) => "signed in or bearer tokens".into(),
        (Access::SignedInOrBearer, Some(allow)) => format!("signed in or bearer tokens, {}", allowed(allow)),
    };
    format!("route {} → {upstream}: {who}{}", route.place(), demands(route))
}

/// What a route asks of a sign-in: `, signed in by gold, authenticated at most 5m ago`.
pub fn demands(route: &Route) -> String {
    let mut all = String::new();
    if !route.acr_values.is_empty() {
        let _ = write!(all, ", signed in by {}", route.acr_values.join(" or "));
    }
    let who = if route.fresh_sign_in { "signed in anew" } else { "authenticated" };
    match route.max_age {
        Some(age) => drop(write!(all, ", {who} at most {age} ago")),
        None if route.fresh_sign_in => drop(write!(all, ", {who} at most 5m ago")),
        None => {}
    }
    all
}

fn allowed(allow: &Allow) -> String {
    let counts = [
        (allow.emails.len(), "e-mail address", "e-mail addresses"),
        (allow.email_domains.len(), "e-mail domain", "e-mail domains"),
        (allow.groups.len(), "group", "groups"),
        (allow.claims.len(), "claim rule", "claim rules"),
    ];
    let named = counts.iter().filter(|(count, ..)| *count > 0);
    let all: Vec<_> = named.clone().map(|(count, one, more)| counted(*count, one, more)).collect();
    match (all.as_slice(), named.map(|(count, ..)| count).sum::<usize>()) {
        ([one], 1) => format!("only whom {one} names"),
        _ => format!("only whom one of {} names", all.join(", ")),
    }
}

fn headers(settings: &Settings) -> String {
    let mut names = Vec::new();
    if settings.headers.standard {
        names.push("X-Forwarded-User, -Email, -Preferred-Username, -Groups".to_owned());
    }
    names.extend(settings.headers.set.iter().map(|rule| format!("{} (from `{}`)", rule.name, rule.claim)));
    match names.is_empty() {
        true => "the app is told nothing about who is signed in".into(),
        false => format!("the app reads who is signed in from {}", names.join(", ")),
    }
}

fn listeners(settings: &Settings) -> String {
    let listen = &settings.listen;
    let protocol = match (&listen.tls_certificate_file, listen.h2c) {
        (Some(_), _) => "TLS, HTTP/1.1 and HTTP/2",
        (None, true) => "no TLS, HTTP/1.1 and h2c",
        (None, false) => "no TLS, HTTP/1.1",
    };
    format!("listens on {} ({protocol}); metrics, health and the console on {}", listen.address, settings.admin.address)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table_of(text: &str, env: &[(&str, &str)]) -> String {
        let directory = tempfile::tempdir().expect("directory");
        std::fs::write(directory.path().join("gateway.toml"), text).expect("write");
        std::fs::write(directory.path().join("seal"), "hunter2hunter2hunter2hunter2hunter2\n").expect("write");
        let env: Vec<_> = env.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        let config = Config::load(Some(&directory.path().join("gateway.toml")), &env).expect("good");
        table(&config).replace(&format!("{}/", directory.path().display()), "")
    }

    const TEXT: &str = "public_url = \"https://app.example.com\"\nsecret_file = \"seal\"\n[[provider]]\n\
        issuer = \"https://login.example.com\"\nclient_id = \"app\"\nclient_secret = \"hunter3\"\n\
        [[upstream]]\nurl = \"http://127.0.0.1:3000\"\n";

    #[test]
    fn what_a_query_says_is_not_shown() {
        for (written, shown) in [
            ("https://a.example/introspect?key=hunter2&b=", "https://a.example/introspect?key=********&b="),
            ("https://a.example/introspect?hunter2", "https://a.example/introspect?********"),
            ("https://u:hunter2@a.example/x?a=hunter2#f", "https://a.example/x?a=********#f"),
            ("https://a.example/", "https://a.example"),
            ("/path?with=words", "/path?with=words"),
        ] {
            assert_eq!(address(written), shown);
        }
    }

    #[test]
    fn each_setting_is_shown_with_its_value_and_origin() {
        let table = table_of(TEXT, &[("DOORWARD_SESSION_IDLE", "1h")]);
        let row = |key: &str, value: &str, origin: &str| {
            let wanted = [key, value, origin];
            let found = table.lines().find(|line| line.split_whitespace().next() == Some(key));
            let fits = found.is_some_and(|line| wanted.iter().all(|w| line.contains(w)) && line.ends_with(origin));
            assert!(fits, "{wanted:?}\n{table}");
        };
        row("public_url", "https://app.example.com", "gateway.toml:1");
        row("secrets", "********", "file seal");
        row("provider.client_secret", "********", "gateway.toml:6");
        row("session.idle", "1h", "environment DOORWARD_SESSION_IDLE");
        row("session.absolute", "1d", "default");
        row("admin.address", "127.0.0.1:9090", "default");
    }

    #[test]
    fn what_follows_is_said_in_sentences() {
        let table = table_of(TEXT, &[]);
        for sentence in [
            "sign-in: OpenID Connect at https://login.example.com (authorization code with PKCE, client authentication \
             chosen from the provider's metadata)",
            "redirect URI to register at the provider: https://app.example.com/oidc/callback",
            "sessions: sealed cookies `__Host-doorward`, end after 8h idle, 1d in all",
            "route / on any host → app (http://127.0.0.1:3000): signed in, everybody",
            "the app reads who is signed in from X-Forwarded-User, -Email, -Preferred-Username, -Groups",
            "nobody's X-Forwarded headers are believed",
        ] {
            assert!(table.lines().any(|line| line == sentence), "{sentence}\n{table}");
        }
        let programs = format!(
            "{TEXT}[[issuer]]\nname = \"ci\"\nissuer = \"https://ci.example.com\"\naudiences = [\"a\", \"b\"]\n\
             [federation]\naudiences = [\"c\"]\nallow = {{ email_domains = [\"example.com\"] }}\n"
        );
        let table = table_of(&programs, &[]);
        for sentence in [
            "tokens of `ci`: issued by `https://ci.example.com`, meant for `a` or `b`",
            "https://app.example.com/oidc/token exchanges those of `ci`, meant for `c`, for 1h: only whom 1 e-mail \
             domain names",
        ] {
            assert!(table.lines().any(|line| line == sentence), "{sentence}\n{table}");
        }
        let several = format!(
            "{TEXT}[[provider]]\nname = \"partners\"\nissuer = \"https://b.example\"\nclient_id = \"app\"\n\
             auth_method = \"implicit\"\n[[route]]\nacr_values = [\"gold\"]\nfresh_sign_in = true\n"
        );
        let table = table_of(&several, &[]);
        for sentence in [
            "redirect URI to register at `main`: https://app.example.com/oidc/callback",
            "redirect URI to register at `partners`: https://app.example.com/oidc/callback/partners",
            "sign-in with `partners`: OpenID Connect at https://b.example (implicit flow: an ID token, posted by the browser)",
            "route / on any host → app (http://127.0.0.1:3000): signed in, everybody, signed in by gold, signed in anew at \
             most 5m ago",
        ] {
            assert!(table.lines().any(|line| line == sentence), "{sentence}\n{table}");
        }
        let rules = format!("{TEXT}[[route]]\nallow = {{ groups = [\"a\", \"b\"], emails = [\"a@b.example\"] }}\n");
        assert!(table_of(&rules, &[]).contains("signed in, only whom one of 1 e-mail address, 2 groups names"));
    }

    #[test]
    fn no_secret_and_no_drawn_line_is_in_the_table() {
        let table = table_of(TEXT, &[("DOORWARD_BRAND_NAME", "a\u{1b}[31m\nlisten.address  fake")]);
        assert!(!table.contains("hunter") && !table.contains('\u{1b}'), "{table}");
        assert!(!table.lines().any(|line| line.starts_with("listen.address  fake")), "{table}");
        assert_eq!(without_user("https://u:p@a.example/x"), "https://a.example/x");
    }
}
