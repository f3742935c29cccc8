//! Whether the provider believes that it is the gateway that asks, by a token request with a code that was made up.

use std::time::SystemTime;

use crate::config::model::{ClientAuth, Provider as ProviderSettings};
use crate::doctor::subject::Subject;
use crate::doctor::{Finding, Report, Weight};
use crate::oidc::{Answered, At, Learnt, known_words};
use crate::reason::{Failure, Reason};
use crate::words::in_words;

const STEP: &str = "client authentication";

pub(super) async fn check(subject: &Subject, settings: &ProviderSettings, learnt: &Learnt<'_>, report: &mut Report) {
    let place = subject.place();
    let way = learnt.client_auth();
    let called = way.name().unwrap_or("auto");
    match learnt.redeem_made_up(way, SystemTime::now()).await {
        Answered::NotTheCode => {
            report.good(place, STEP, format!("`{called}` is accepted: it refuses a made-up code, and not the client"));
        }
        Answered::Tokens => {
            let failure =
                Failure::new(Reason::TokenAnswer, "the token endpoint issues tokens for a code that was made up");
            let change = "look at the provider: whoever asks gets tokens there";
            report.found(Finding::of(Weight::Warning, &failure, place).at(STEP).change(change));
        }
        Answered::Failed(failure) => report.found(Finding::of(Weight::Broken, &failure, place).at(STEP)),
        Answered::Refused { error, failure } => {
            let about_client = failure.reason == Reason::ClientRefused;
            match about_client || known_words(At::Token, &error, Some(&failure.detail)).is_some() {
                true => report.found(refused(subject, settings, learnt, &failure).await),
                // It looked at something else first.
                false => report.skipped(place, STEP, format!("nothing can be said: {}", failure.detail)),
            }
        }
    }
}

async fn refused(subject: &Subject, settings: &ProviderSettings, learnt: &Learnt<'_>, failure: &Failure) -> Finding {
    let called = learnt.client_auth().name().unwrap_or("auto");
    let seen = format!("with `{called}` {}", failure.detail);
    let finding = Finding::new(Weight::Broken, failure.reason, subject.place(), seen).at(STEP);
    match other_way(learnt).await {
        Some(way) => {
            let line = subject.line("client_auth", way.name().unwrap_or_default());
            finding.change(format!("{line}: tried, and the provider accepts it"))
        }
        None => match by_settings(settings, learnt).or_else(|| told(&failure.detail)) {
            Some(change) => finding.change(change),
            None => finding,
        },
    }
}

/// Another way to send the same secret that the provider accepts. Only such: a provider that looks at the code before the
/// client would seem to accept a client without any secret.
async fn other_way(learnt: &Learnt<'_>) -> Option<ClientAuth> {
    let ways = [ClientAuth::ClientSecretBasic, ClientAuth::ClientSecretPost];
    let present = learnt.client_auth();
    if !ways.contains(&present) {
        return None;
    }
    let other = ways.into_iter().find(|way| *way != present)?;
    (learnt.redeem_made_up(other, SystemTime::now()).await == Answered::NotTheCode).then_some(other)
}

/// What the settings themselves show.
fn by_settings(settings: &ProviderSettings, learnt: &Learnt<'_>) -> Option<String> {
    let secret = settings.client_secret.as_ref().map(|secret| secret.expose());
    match secret {
        Some(secret) if secret == settings.client_id => {
            Some("set `client_secret` to the secret; now it is the `client_id`".to_owned())
        }
        Some(secret) if secret.trim() != secret => {
            Some("take the white space before or behind `client_secret` away".to_owned())
        }
        None if learnt.client_auth() == ClientAuth::None => {
            let offered = learnt.client_auth_methods().unwrap_or_default();
            let shown: Vec<_> = offered.iter().map(|method| in_words(method)).collect();
            let offers = if shown.is_empty() { String::new() } else { format!(" (it offers {})", shown.join(", ")) };
            Some(format!(
                "set `client_secret`, or register the client as a public one: the provider wants to know who asks{offers}"
            ))
        }
        _ => None,
    }
}

/// What the translation of the provider's words ends with.
fn told(detail: &str) -> Option<String> {
    detail.rsplit_once("`; ").map(|(_, advice)| advice.to_owned())
}
