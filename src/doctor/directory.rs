//! The directory, step by step: DNS, TCP, TLS, the gateway's own bind, the bases, and whether anybody is found.

use std::sync::Arc;

use tokio::task::JoinSet;
use tokio::time::timeout;

use super::wire::{self, Peer};
use super::{Finding, ONE_APP, Report, Scope, Weight};
use crate::config::Config;
use crate::config::model::{self, DirectoryAddress, EMAIL, GROUPS, Settings, USER};
use crate::directory::{Directory, Examined, HANDSHAKE_ENDED};
use crate::reason::{Failure, Reason};
use crate::words::counted;

pub async fn check(config: &Arc<Config>, scope: &Scope, report: &mut Report) {
    let settings = &config.settings;
    let Some(own) = &settings.ldap else { return };
    // Beside each other: one that is dead hides nothing of the others.
    let mut asked = JoinSet::new();
    for (index, address) in own.address.iter().cloned().enumerate() {
        let (config, own, user) = (Arc::clone(config), own.clone(), scope.sample_user.clone());
        asked.spawn(async move {
            let answer = timeout(ONE_APP, at(&config.settings, &own, &address, user.as_deref())).await;
            let slow = || ("LDAP", Failure::new(Reason::DirectoryUnreachable, format!("nothing within {ONE_APP:?}")));
            (index, address, answer.unwrap_or_else(|_| Err(slow())))
        });
    }
    let mut answers = asked.join_all().await;
    answers.sort_by_key(|(index, ..)| *index);
    let answers: Vec<_> = answers.into_iter().map(|(_, address, answer)| (address, answer)).collect();
    let some_answer = answers.iter().any(|(_, answer)| answer.is_ok());
    let mut told = false;
    for (address, answer) in answers {
        let place = format!("directory {}", own.name);
        match answer {
            // They are copies of one directory: what is in the first is in the others.
            Ok(examined) if !told => {
                told = true;
                report.good(place.clone(), "", format!("{address}: {}", examined.how));
                judge(settings, own, &examined, &place, report);
                sample(own, &examined, &place, report);
            }
            Ok(_) => report.good(place, "", format!("{address} answers")),
            Err((step, failure)) => {
                // Others of the list stand in for it.
                let weight = if some_answer { Weight::Warning } else { Weight::Broken };
                report.found(Finding::of(weight, &failure, place).at(step));
            }
        }
    }
}

/// What the directory at that one of its addresses says, or the step that failed.
async fn at(
    settings: &Settings,
    own: &model::Directory,
    address: &str,
    user: Option<&str>,
) -> Result<Examined, (&'static str, Failure)> {
    let read = DirectoryAddress::parse(address);
    let read = read.map_err(|(why, _)| ("address", Failure::new(Reason::ConfigInvalid, why)))?;
    let peer = Peer::Tcp { host: read.host.clone(), port: read.port, tls: None };
    let unreachable = |why: String| Failure::new(Reason::DirectoryUnreachable, format!("{read}: {why}"));
    wire::reach(&peer).await.map_err(|failed| (failed.step, unreachable(failed.why)))?;
    let alone = Settings {
        ldap: Some(model::Directory { address: vec![address.to_owned()], ..own.clone() }),
        ..settings.clone()
    };
    let directory = Directory::new(&alone).map_err(|failure| ("TLS", failure))?;
    let directory = directory.ok_or_else(|| ("address", Failure::from(Reason::ConfigInvalid)))?;
    directory.examined(user).await.map_err(|failure| (step_of(&failure), failure))
}

/// Which step a failure is about.
fn step_of(failure: &Failure) -> &'static str {
    match failure.reason {
        Reason::DirectoryTls | Reason::CertificateUnusable => "TLS",
        Reason::DirectoryUnreachable if failure.detail.contains(HANDSHAKE_ENDED) => "TLS",
        Reason::DirectoryBindRefused => "bind",
        _ if failure.detail.contains("group_base_dn") => "group_base_dn",
        _ if failure.detail.contains("base_dn") => "base_dn",
        _ => "LDAP",
    }
}

fn judge(settings: &Settings, own: &model::Directory, examined: &Examined, place: &str, report: &mut Report) {
    let by = found_by(own);
    if examined.people == 0 {
        // One that is only tested keeps nobody out.
        let weight = if own.login { Weight::Broken } else { Weight::Warning };
        let seen = format!("below `base_dn` {:?} is no entry that {by} finds", own.base_dn);
        report.found(Finding::new(weight, Reason::DirectoryNobody, place, seen).at("people"));
    } else {
        report.good(place, "people", format!("{by} finds people"));
    }
    let rules = settings.route.iter().filter_map(|route| route.allow.as_ref());
    let groups_matter = !own.group_allow_list.is_empty() || rules.clone().any(|allow| !allow.groups.is_empty());
    let emails_matter = rules.clone().any(|allow| !allow.emails.is_empty() || !allow.email_domains.is_empty());
    for (claim, attribute) in &examined.absent {
        let weight = match *claim {
            USER => Weight::Broken,
            EMAIL if emails_matter => Weight::Broken,
            GROUPS if groups_matter => Weight::Broken,
            // Many directories have no memberOf, and nobody asks for it but who names an attribute.
            GROUPS if !own.attributes.contains_key(GROUPS) => continue,
            _ => Weight::Hint,
        };
        let people = counted(examined.people, "person", "people");
        let seen = format!("none of {people} has `{attribute}`, which is read as {claim}");
        let finding = Finding::new(weight, Reason::DirectoryEntryUnusable, place, seen).at("attributes");
        let finding = finding.titled("What is read of people is not in the directory");
        report.found(finding.change(match *claim {
            GROUPS => "Set `attributes` of [ldap] for groups to the attribute that holds them, or `group_base_dn` to where \
                       groups are; see that `bind_dn` may read it."
                .to_owned(),
            claim => format!("Name under `attributes` of [ldap] what holds it (`{claim} = \"…\"`), or let `bind_dn` read it."),
        }));
    }
    if examined.groups == Some(0) {
        let weight = if groups_matter { Weight::Broken } else { Weight::Warning };
        let base = own.group_base_dn.as_deref().unwrap_or_default();
        let seen = format!("below `group_base_dn` {base:?} is no entry with {}", own.group_name_attribute);
        let finding = Finding::new(weight, Reason::DirectoryNobody, place, seen).at("groups");
        report.found(
            finding.change(
                "Compare `group_base_dn`, `group_name_attribute` and the rights of `bind_dn` with the directory.",
            ),
        );
    }
}

/// What became of the one who was looked for by name. Who it is stays between whoever asks and the directory.
fn sample(own: &model::Directory, examined: &Examined, place: &str, report: &mut Report) {
    const STEP: &str = "sample user";
    let by = found_by(own);
    match &examined.sample {
        None if own.login => {
            report.skipped(place, STEP, "whether a certain person is found: `--sample-user NAME` looks for one");
        }
        None => {}
        Some(Ok(groups)) => {
            let groups = counted(*groups, "group", "groups");
            report.good(
                place,
                STEP,
                format!("{by} finds exactly one entry for the name, which signs in with {groups}"),
            );
        }
        Some(Err(failure)) => {
            let finding = Finding::of(Weight::Warning, failure, place).at(STEP);
            let seen = format!("{by}, asked for the name that was given: {}", failure.detail);
            let change = match failure.reason {
                Reason::DirectoryNobody => format!(
                    "Compare the name with the entry's {by}, see that the entry is below `base_dn` {:?} and that `bind_dn` \
                     may see it; or name the attribute that holds what people type.",
                    own.base_dn
                ),
                Reason::DirectoryGroupMissing => {
                    "Add the person to a group of `group_allow_list` of [ldap], or a group of \
                                                  the person's to that list."
                        .to_owned()
                }
                _ => finding.change.clone(),
            };
            let finding = match failure.reason {
                Reason::DirectoryGroupMissing => finding.titled("This person's groups may not sign in"),
                Reason::DirectoryGroupsTooMany => finding.titled("This person is in too many groups"),
                Reason::DirectoryEntryUnusable => finding.titled("This person's entry in the directory cannot be used"),
                _ => finding,
            };
            report.found(Finding { seen, ..finding }.change(change));
        }
    }
}

/// What people are looked for by.
fn found_by(own: &model::Directory) -> String {
    match &own.user_filter {
        Some(filter) => format!("`user_filter` {filter}"),
        None => format!("`user_attribute` {}", own.user_attribute.join(" or ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(ldap: &str, tail: &str, examined: &Examined) -> Vec<(Weight, Reason, &'static str)> {
        let ldap = format!("[ldap]\naddress = ['ldaps://l.example']\nbase_dn = 'dc=x'\n{ldap}");
        let settings: Settings = toml::from_str(&format!("public_url = 'https://a'\n{ldap}\n{tail}")).expect("toml");
        let mut report = Report::default();
        let own = settings.ldap.clone().expect("a directory");
        judge(&settings, &own, examined, "directory", &mut report);
        report.findings.iter().map(|found| (found.weight, found.reason, found.step)).collect()
    }

    #[test]
    fn what_is_read_of_people_weighs_by_who_goes_by_it() {
        let examined = |people, absent: &[&'static str], groups| Examined {
            how: String::new(),
            people,
            absent: absent.iter().map(|claim| (*claim, "x".to_owned())).collect(),
            groups,
            sample: None,
        };
        assert_eq!(judged("", "", &examined(5, &[GROUPS], None)), []);
        let mistyped = judged("attributes = { groups = 'memberOff' }", "", &examined(5, &[GROUPS], None));
        assert_eq!(mistyped, [(Weight::Hint, Reason::DirectoryEntryUnusable, "attributes")]);
        let mut report = Report::default();
        let settings = "public_url = 'https://a'\n[ldap]\naddress = ['ldaps://l.example']\nbase_dn = 'dc=x'\n\
                        attributes = { groups = 'memberOff' }";
        let settings: Settings = toml::from_str(settings).expect("toml");
        let own = settings.ldap.clone().expect("a directory");
        judge(&settings, &own, &examined(1, &[GROUPS], None), "directory", &mut report);
        let told = (report.findings[0].title(), report.findings[0].seen.as_str());
        let seen = "none of 1 person has `x`, which is read as groups";
        assert_eq!(told, ("What is read of people is not in the directory", seen));
        assert_eq!(judged("", "", &examined(0, &[], None)), [(Weight::Broken, Reason::DirectoryNobody, "people")]);
        let tested = judged("login = false", "", &examined(0, &[], None));
        assert_eq!(tested, [(Weight::Warning, Reason::DirectoryNobody, "people")]);
        let rule = "[[route]]\nallow = { groups = ['a'] }";
        let found = judged("", rule, &examined(5, &[EMAIL, GROUPS], Some(0)));
        let unusable = Reason::DirectoryEntryUnusable;
        assert_eq!(
            found,
            [
                (Weight::Hint, unusable, "attributes"),
                (Weight::Broken, unusable, "attributes"),
                (Weight::Broken, Reason::DirectoryNobody, "groups"),
            ]
        );
    }
}
