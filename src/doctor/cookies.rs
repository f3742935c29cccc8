//! The gateway's cookies: how far they go, and whether a session fits into them.

use std::sync::Arc;

use serde_json::Value;

use super::{Finding, Report, Weight};
use crate::claims::NeededClaims;
use crate::config::Config;
use crate::config::model::{ResponseMode, Settings};
use crate::config::values::Secret;
use crate::identity::{Authentication, Claims, Identity};
use crate::keys::Keyring;
use crate::reason::Reason;
use crate::session::cookies::Cookies;
use crate::session::{Session, Tokens};

const PLACE: &str = "cookies";
/// A group as Entra names it: a GUID. Names of people's own are mostly shorter.
const GROUP: &str = "01234567-89ab-cdef-0123-456789abcdef";
/// What a claim for a header or rule takes.
const CLAIM: usize = 48;
/// What a refresh token of the larger products takes.
const REFRESH_TOKEN: usize = 1600;
/// Fewer groups than this are soon had.
const FEW_GROUPS: usize = 20;
/// What else a browser sends with a request: other cookies, and headers.
const OTHER_HEADERS: usize = 4 * 1024;

pub fn check(config: &Arc<Config>, report: &mut Report) {
    let settings = &config.settings;
    if settings.provider.is_empty() && settings.ldap.is_none() && !settings.restore.enabled {
        return report.skipped(PLACE, "", "nobody signs in");
    }
    reach(settings, report);
    let cookies = Cookies::new(&settings.session, &settings.public_url);
    report.good(PLACE, "attributes", attributes(settings, &cookies));
    flows(settings, report);
    budget(settings, &cookies, report);
}

/// What browsers go by. Loading refuses a domain that is not above the public host, and a name with a prefix,
/// and warns of plain http.
fn attributes(settings: &Settings, cookies: &Cookies) -> String {
    let secure = match settings.public_url.scheme() {
        "https" if settings.session.cookie_domain.is_none() => "Secure, by its name from this host alone",
        "https" if settings.session.cookie_domain.is_none() => "Secure, and by `__Host-` no other host's to set",
        "https" => "Secure",
        _ => "without Secure, since `public_url` is http",
    };
    let place = match &settings.session.cookie_domain {
        Some(domain) => format!("for every host of {domain}"),
        None => format!("for {} alone", settings.public_url.host_str().unwrap_or_default()),
    };
    format!("`{}` is {secure}, SameSite=Lax, {place}", cookies.session())
}

/// Whether the cookie of a sign-in comes back with the provider's answer. Loading refuses where it would not, so this says
/// why it does.
fn flows(settings: &Settings, report: &mut Report) {
    let posted = settings.provider.iter().filter(|provider| provider.response_mode() == ResponseMode::FormPost);
    let posted: Vec<_> = posted.map(|provider| format!("`{}`", provider.name)).collect();
    if settings.provider.len() > posted.len() {
        let said = "the provider's answer comes by a link, with which browsers send Lax cookies";
        report.good(PLACE, "SameSite", said);
    }
    if posted.is_empty() {
        return;
    }
    let said = format!(
        "the answer of {} is a form of another site, with which browsers send no Lax cookie: it is posted once more from \
         this site",
        posted.join(", ")
    );
    report.good(PLACE, "SameSite", said);
}

/// A cookie for a domain that only one host of is served.
fn reach(settings: &Settings, report: &mut Report) {
    let Some(domain) = &settings.session.cookie_domain else { return };
    let own = settings.public_url.host_str().unwrap_or_default();
    let others = settings.route.iter().filter_map(|route| route.host.as_deref()).any(|host| host != own);
    let every = settings.route.iter().any(|route| route.host.is_none());
    if !others && !every {
        let seen =
            format!("`cookie_domain` is {domain}, and every route is for {own}: all hosts of {domain} see sessions");
        report.found(Finding::new(Weight::Hint, Reason::CookieReach, PLACE, seen).at("domain"));
    }
}

/// A session as people of larger organisations have it.
fn session(settings: &Settings, groups: usize) -> Session {
    let claims = NeededClaims::of(settings);
    let claims = claims.paths().map(|path| (path.to_owned(), Value::String("x".repeat(CLAIM))));
    let claims = Claims(claims.collect());
    let text = |text: &str| Some(text.to_owned());
    Session {
        id: "0123456789abcdef012345".into(),
        signed_in_at: 1_800_000_000,
        last_used: 1_800_000_000,
        identity: Identity {
            provider: settings.provider.first().map_or("ldap", |provider| &provider.name).to_owned(),
            subject: GROUP.into(),
            user: "augusta.ada.king@engineering.example.com".into(),
            email: text("augusta.ada.king@engineering.example.com"),
            email_verified: Some(true),
            preferred_username: text("augusta.ada.king@engineering.example.com"),
            name: text("Augusta Ada King, Countess of Lovelace"),
            groups: Some((0..groups).map(|number| format!("{number:08}{}", &GROUP[8..])).collect()),
            claims,
        },
        authentication: Authentication {
            provider_session: text(GROUP),
            context: text("urn:mace:incommon:iap:silver"),
            at: Some(1_800_000_000),
        },
        tokens: settings.session.refresh.then(|| Tokens {
            refresh_token: "r".repeat(REFRESH_TOKEN),
            expire_at: 1_800_000_000,
            renewed: 1,
            nonce: Some([0; 8]),
        }),
    }
}

fn budget(settings: &Settings, cookies: &Cookies, report: &mut Report) {
    // A key of nobody: only the length counts.
    let Some(keys) = Keyring::new(&[Secret::new("only the length of what it seals counts")]) else { return };
    let limit = settings.session.max_bytes.0;
    let size = |groups| session(settings, groups).seal(&keys, cookies.sealed_for(), limit).map(|sealed| sealed.len());
    let Ok(least) = size(0) else {
        let seen = format!("a session without any group takes more than `session.max_bytes` ({limit})");
        return report.found(told(Weight::Broken, settings, seen));
    };
    let room = limit.min(settings.limits.header_bytes.0.saturating_sub(OTHER_HEADERS));
    if room < limit {
        let seen = format!(
            "sessions may have {limit} bytes, and requests with more than {} in all their headers are refused",
            settings.limits.header_bytes
        );
        let finding = Finding::new(Weight::Warning, Reason::CookieBudget, PLACE, seen).at("size");
        report.found(finding.change("Raise `limits.header_bytes`, or lower `session.max_bytes`."));
    }
    // As many as fit; each takes about as much as the one before.
    let (mut fit, mut more) = (0, 1024);
    while more > 0 {
        match size(fit + more) {
            Ok(bytes) if bytes <= room => fit += more,
            _ => more /= 2,
        }
        if fit > 4096 {
            break;
        }
    }
    if fit < FEW_GROUPS {
        let seen =
            format!("a session takes {least} bytes without groups, and room is for {fit} groups in {room} bytes");
        return report.found(told(Weight::Warning, settings, seen));
    }
    report.good(PLACE, "size", format!("a session takes about {least} bytes, and {fit} groups fit beside"));
}

fn told(weight: Weight, settings: &Settings, seen: String) -> Finding {
    let claims: Vec<_> = NeededClaims::of(settings).paths().map(|path| format!("`{path}`")).collect();
    let finding = Finding::new(weight, Reason::CookieBudget, PLACE, seen).at("size");
    let mut ways = Vec::new();
    if settings.session.max_bytes.0 < 12 * 1024 {
        ways.push("raise `session.max_bytes` (12KiB unless set)".to_owned());
    }
    if settings.session.refresh {
        ways.push("do without `session.refresh`, whose refresh token takes the most".to_owned());
    }
    if !claims.is_empty() {
        ways.push(format!("do without the claims {}", claims.join(", ")));
    }
    match ways.is_empty() {
        true => finding,
        false => finding.change(format!("One of these: {}.", ways.join("; "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(tables: &str) -> Settings {
        let text = format!(
            "public_url = 'https://a.example.com'\nsecrets = ['x']\n[[provider]]\nissuer = 'https://i.example'\n\
             client_id = 'c'\n{tables}"
        );
        toml::from_str(&text).expect("toml")
    }

    fn examined(tables: &str) -> Report {
        let settings = settings(tables);
        let cookies = Cookies::new(&settings.session, &settings.public_url);
        let mut report = Report::default();
        reach(&settings, &mut report);
        budget(&settings, &cookies, &mut report);
        report
    }

    #[test]
    fn the_usual_session_fits_with_its_groups() {
        let report = examined("");
        assert!(report.findings.is_empty(), "{:?}", report.findings);
        let groups = report.good[0].said.split(", and ").nth(1).and_then(|said| said.split(' ').next()?.parse().ok());
        assert!(groups.is_some_and(|groups: usize| (100..1000).contains(&groups)), "{:?}", report.good);
    }

    #[test]
    fn a_session_that_will_not_fit_is_told_before_somebody_has_it() {
        for (tables, weight, change) in [
            ("[session]\nmax_bytes = 2048\nrefresh = true", Weight::Broken, "session.refresh"),
            ("[session]\nmax_bytes = 1200", Weight::Warning, "session.max_bytes"),
            ("[limits]\nheader_bytes = 8192\nrequest_line = 4096", Weight::Warning, "limits.header_bytes"),
        ] {
            let found = examined(tables).findings;
            assert!(found.iter().any(|one| one.weight == weight && one.change.contains(change)), "{tables}: {found:?}");
        }
    }

    #[test]
    fn why_the_cookie_of_a_sign_in_comes_back_is_said_for_each_flow() {
        for (more, wanted) in [
            ("", &["by a link"][..]),
            ("response_mode = 'form_post'", &["posted once more"]),
            (
                "[[provider]]\nname = 'b'\nissuer = 'https://b.example'\nclient_id = 'c'\nauth_method = 'implicit'",
                &["by a link", "the answer of `b`"],
            ),
        ] {
            let mut report = Report::default();
            flows(&settings(more), &mut report);
            assert_eq!(report.good.len(), wanted.len(), "{report:?}");
            assert!(wanted.iter().all(|words| report.good.iter().any(|good| good.said.contains(words))), "{report:?}");
        }
    }

    #[test]
    fn a_cookie_for_a_domain_of_which_one_host_is_served_is_told() {
        let domain = "[session]\ncookie_domain = 'example.com'\n[[route]]\nhost = 'a.example.com'\n";
        assert_eq!(examined(domain).findings[0].reason, Reason::CookieReach);
        assert!(examined(&format!("{domain}[[route]]\nhost = 'b.example.com'")).findings.is_empty());
    }
}
