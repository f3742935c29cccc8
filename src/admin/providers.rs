//! Who vouches for people and programs: providers, issuers and the directory, with what is known of each.

use std::time::SystemTime;

use askama::Template;
use http::Response;

use super::Scene;
use super::shell::Shell;
use super::words::{ago, stamp};
use crate::background::Next;
use crate::config::model;
use crate::config::table::address;
use crate::directory;
use crate::jwt::{Issuer, ListedKey};
use crate::reason::{Failure, Info};

#[derive(Template)]
#[template(path = "providers.html", config = "src/admin/askama.toml")]
struct Providers {
    shell: Shell,
    providers: Vec<Voucher>,
    issuers: Vec<Voucher>,
    directories: Vec<Voucher>,
}

/// One of them.
struct Voucher {
    name: String,
    class: &'static str,
    state: &'static str,
    facts: Vec<(&'static str, String)>,
    /// What fails or lacks.
    troubles: Vec<Trouble>,
    keys: Vec<ListedKey>,
    /// When they were fetched.
    keys_fetched: String,
    /// What is said where there are no keys to list; nothing where none are needed.
    no_keys: &'static str,
}

struct Trouble {
    /// The exact one where there is one.
    remedy: String,
    info: &'static Info,
    /// The detail begins with the step.
    detail: String,
    class: &'static str,
}

pub(super) fn page(scene: &Scene<'_>) -> Response<Vec<u8>> {
    let in_force = scene.in_force;
    let page = Providers {
        shell: scene.shell("providers"),
        providers: in_force
            .providers
            .iter()
            .map(|provider| of_provider(provider.name(), provider.standing(), scene.now))
            .collect(),
        issuers: in_force.issuers.iter().map(|issuer| of_issuer(issuer, scene)).collect(),
        directories: in_force.directory.iter().map(|directory| of_directory(directory, scene)).collect(),
    };
    page.shell.page(&page)
}

fn trouble(class: &'static str) -> impl Fn(Failure) -> Trouble {
    move |failure| Trouble {
        info: failure.reason.info(),
        remedy: failure.remedy().to_owned(),
        detail: failure.detail,
        class,
    }
}

fn at(time: SystemTime, now: SystemTime) -> String {
    format!("{} ({})", ago(time, now), stamp(time))
}

fn turn(next: Next, now: SystemTime) -> String {
    match next {
        Next::At(time) if time > now => at(time, now),
        _ => "under way".to_owned(),
    }
}

fn listed(list: Option<&Vec<String>>) -> String {
    list.map_or_else(|| "not said".to_owned(), |list| list.join(", "))
}

fn of_provider(name: &str, standing: crate::oidc::Standing, now: SystemTime) -> Voucher {
    let mut facts = vec![
        ("Issuer", address(&standing.configured_issuer)),
        ("Client id", standing.client_id),
        ("Redirect URI", standing.redirect_uri),
        ("Flow", standing.flow.to_owned()),
        ("Scopes", standing.scopes.join(" ")),
    ];
    let (class, state) = match (&standing.known, &standing.trouble, standing.shortcomings.is_empty()) {
        (None, ..) => ("bad", "not ready"),
        (Some(_), Some(_), _) => ("warn", "ready with what was fetched before"),
        (Some(_), None, false) => ("warn", "ready, and something is not offered"),
        (Some(_), None, true) => ("good", "ready"),
    };
    let (mut keys, mut keys_fetched) = (Vec::new(), String::new());
    if let Some(known) = standing.known {
        if known.issuer.trim_end_matches('/') != standing.configured_issuer.trim_end_matches('/') {
            facts.push(("Calls itself", known.issuer));
        }
        facts.push(("Client authentication", known.client_auth.to_owned()));
        facts.push((
            "It offers",
            format!(
                "response types {}; PKCE {}; client authentication {}",
                known.response_types.join(", "),
                listed(known.challenge_methods.as_ref()),
                listed(known.client_auth_methods.as_ref())
            ),
        ));
        facts.extend(known.endpoints.into_iter().map(|(name, url)| (endpoint(name), url)));
        facts.push(("Fetched", at(known.fetched_at, now)));
        keys = known.keys;
        keys_fetched = format!("fetched {}", at(known.keys_at, now));
    }
    let name_of_next = if standing.trouble.is_some() { "Next try" } else { "Next" };
    facts.extend(standing.next.map(|next| (name_of_next, turn(next, now))));
    // Without anything fetched it is what keeps people out.
    let weight = if class == "bad" { "bad" } else { "warn" };
    let mut troubles: Vec<_> = standing.trouble.into_iter().map(trouble(weight)).collect();
    troubles.extend(standing.shortcomings.into_iter().map(trouble("warn")));
    Voucher { name: name.to_owned(), class, state, facts, troubles, keys, keys_fetched, no_keys: "Not fetched yet." }
}

fn endpoint(name: &str) -> &'static str {
    match name {
        "authorization" => "Authorization",
        "token" => "Token",
        "keys" => "Keys",
        "userinfo" => "Userinfo",
        "end session" => "End session",
        _ => "Revocation",
    }
}

fn of_issuer(issuer: &Issuer, scene: &Scene<'_>) -> Voucher {
    let (standing, now) = (issuer.source.standing(), scene.now);
    let settings = &scene.in_force.config.settings;
    let entry = settings.issuer.iter().find(|entry| entry.name == issuer.name);
    let mut facts = entry.map(|entry| of_entry(entry, settings)).unwrap_or_default();
    facts.extend(standing.spelling.map(|spelling| ("Calls itself", spelling)));
    facts.push(("Keys from", standing.from));
    facts.extend(standing.fetched_at.map(|time| ("Fetched", at(time, now))));
    let name_of_next = if standing.trouble.is_some() { "Next try, at the latest" } else { "Next, at the latest" };
    facts.extend(standing.next.map(|next| (name_of_next, turn(next, now))));
    facts.extend(standing.usable_until.map(|time| ("Used until", at(time, now))));
    let ready = matches!(issuer.source.readiness(now), crate::jwt::source::Readiness::Ready { .. });
    let asks = issuer.introspection_trouble();
    let (class, state) = match (ready || issuer.answers_without_keys(), &standing.trouble, &asks) {
        (false, ..) => ("bad", "not ready"),
        (true, None, None) => ("good", "ready"),
        _ => ("warn", "ready, with trouble"),
    };
    let weight = if class == "bad" { "bad" } else { "warn" };
    let troubles = standing.trouble.into_iter().chain(asks).map(trouble(weight)).collect();
    let no_keys =
        if issuer.answers_without_keys() { "None: it is asked about its tokens." } else { "Not fetched yet." };
    let fetched = standing.fetched_at.map(|time| format!("fetched {}", at(time, now)));
    let keys_fetched = fetched.unwrap_or_else(|| "from the configuration".to_owned());
    Voucher { name: issuer.name.clone(), class, state, facts, troubles, keys: standing.keys, keys_fetched, no_keys }
}

fn of_entry(entry: &model::Issuer, settings: &crate::config::Settings) -> Vec<(&'static str, String)> {
    let issuer = entry.issuer.clone();
    let issuer = issuer.or_else(|| settings.provider_of(entry).map(|provider| provider.issuer.to_string()));
    let audiences = match entry.any_audience {
        true => "anybody's".to_owned(),
        false => entry.audiences.join(", "),
    };
    vec![("Issuer", issuer.unwrap_or_default()), ("Audiences", audiences), ("Token types", entry.typ.join(", "))]
}

fn of_directory(directory: &directory::Directory, scene: &Scene<'_>) -> Voucher {
    let mut facts = Vec::new();
    if let Some(settings) = &scene.in_force.config.settings.ldap {
        let tls = match settings.start_tls {
            true => "StartTLS",
            false if settings.address.iter().all(|address| address.starts_with("ldaps://")) => "from the first byte",
            false => "none",
        };
        facts.push(("Address", settings.address.join(", ")));
        facts.push(("TLS", tls.to_owned()));
        facts.push(("Below", settings.base_dn.clone()));
        facts.push(("Searched as", settings.bind_dn.clone().unwrap_or_else(|| "nobody".into())));
        facts.push(("People by", settings.user_filter.clone().unwrap_or_else(|| settings.user_attribute.join(", "))));
        facts.push(("Signs people in", if settings.login { "yes" } else { "no, it is only tested" }.to_owned()));
    }
    let (class, state, troubles) = match directory.readiness() {
        directory::Readiness::Ready { checked_at, found, trouble } => {
            facts.push(("Seen", found));
            facts.push(("Asked", at(checked_at, scene.now)));
            match trouble {
                None => ("good", "answers", Vec::new()),
                Some(said) => {
                    facts.push(("Warning", said));
                    ("warn", "answers, with trouble", Vec::new())
                }
            }
        }
        directory::Readiness::NotReady(failure) => ("bad", "does not answer", vec![trouble("bad")(failure)]),
    };
    Voucher {
        name: directory.name().to_owned(),
        class,
        state,
        facts,
        troubles,
        keys: Vec::new(),
        keys_fetched: String::new(),
        no_keys: "",
    }
}
