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
            match is_about_client(failure.reason) || known_words(At::Token, &error, Some(&failure.detail)).is_some() {
                true => report.found(refused(subject, settings, learnt, &failure).await),
                // It looked at something else first.
                false => report.skipped(place, STEP, format!("nothing can be said: {}", failure.detail)),
            }
        }
    }
}

fn is_about_client(reason: Reason) -> bool {
    use Reason::*;
    matches!(
        reason,
        ClientRefused
            | ClientSecretMissing
            | ClientSecretUnwanted
            | ClientSecretExpired
            | ClientSecretMistaken
            | ClientAuthRefused
            | OriginRefused
    )
}

async fn refused(subject: &Subject, settings: &ProviderSettings, learnt: &Learnt<'_>, failure: &Failure) -> Finding {
    let finding = Finding::of(Weight::Broken, failure, subject.place()).at(STEP);
    match (other_way(learnt).await, failure.reason) {
        (Some(way), _) => {
            let line = subject.line("client_auth", way.name().unwrap_or_default());
            finding.change(format!("{line}: tried, and the provider accepts it"))
        }
        (None, Reason::ClientRefused) => {
            let change = format!("{}{}", failure.remedy().trim_end_matches('.'), other_methods(settings, learnt));
            finding.change(change)
        }
        (None, _) => finding,
    }
}

/// What the provider knows beside the way that was used, where there is a secret to send.
fn other_methods(settings: &ProviderSettings, learnt: &Learnt<'_>) -> String {
    let used = learnt.client_auth().name().unwrap_or_default();
    let offered = learnt.client_auth_methods().unwrap_or_default().iter();
    let others: Vec<_> =
        offered.filter(|method| *method != used && *method != "none").map(|one| in_words(one)).collect();
    match settings.client_secret.is_some() && !others.is_empty() {
        true => format!("; where the client is registered for another way, set `client_auth` ({})", others.join(", ")),
        false => String::new(),
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
