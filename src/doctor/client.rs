//! The gateway as the provider's client: whether client id and redirect URI are accepted, and how it authenticates itself.
//!
//! Two requests say it, without a sign-in: an authorization request with `prompt=none`, which is asked and not followed, and
//! a token request with a code that was made up. What a provider answers differs by product; [`read`] is the table of
//! it, and says no more than can be seen.

mod authentication;
mod authorization;

use std::time::SystemTime;

use http::header::ACCEPT;

use self::authorization::{Seen, read};
use super::subject::Subject;
use super::{Finding, Report, Weight};
use crate::config::model::Provider as ProviderSettings;
use crate::oidc::{Learnt, Trial};
use crate::reason::Reason;

pub(super) async fn check(
    subject: &Subject,
    settings: &ProviderSettings,
    trial: &Trial,
    learnt: &Learnt<'_>,
    report: &mut Report,
) {
    authorization(subject, settings, trial, learnt, report).await;
    match learnt.redeems_codes() {
        true => authentication::check(subject, settings, learnt, report).await,
        false => report.skipped(subject.place(), "client authentication", "the implicit flow asks for no token"),
    }
}

async fn authorization(
    subject: &Subject,
    settings: &ProviderSettings,
    trial: &Trial,
    learnt: &Learnt<'_>,
    report: &mut Report,
) {
    let place = subject.place();
    let step = "authorization request";
    let begun = match learnt.authorization_request(SystemTime::now()) {
        Ok(begun) => begun,
        Err(failure) => return report.found(Finding::of(Weight::Broken, &failure, place).at(step)),
    };
    let request = http::Request::get(begun.authorization_url.as_str()).header(ACCEPT, "text/html").body(Vec::new());
    let answer = match request {
        Ok(request) => trial.http().send(request).await,
        Err(error) => return report.skipped(place, step, error.to_string()),
    };
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => {
            let seen = format!("the authorization endpoint: {error}");
            let change = "look whether browsers reach it: the gateway itself does not need to";
            let finding = Finding::new(Weight::Warning, Reason::ProviderUnreachable, place, seen);
            return report.found(finding.at(step).change(change));
        }
    };
    match read(&answer, &begun.authorization_url, trial.redirect_uri()) {
        Seen::Accepted(how) => report.good(place, step, format!("client id and redirect URI are accepted: {how}")),
        Seen::Unclear(why) => report.skipped(place, step, why),
        Seen::Refused(failure, change) => {
            let change = change.unwrap_or_else(|| advice_of(failure.reason, settings, trial));
            report.found(Finding::of(Weight::Broken, &failure, place).at(step).change(change));
        }
    }
}

/// The remedy with the values that are meant.
fn advice_of(reason: Reason, settings: &ProviderSettings, trial: &Trial) -> String {
    let redirect_uri = trial.redirect_uri();
    match reason {
        Reason::RedirectUriRefused => {
            format!("register `{redirect_uri}` at the provider as a redirect URI, to the letter")
        }
        Reason::ClientUnknown => format!(
            "compare `client_id` (`{}`) with the one at the provider, and `issuer` with the provider at which it is registered",
            settings.client_id
        ),
        Reason::AuthorizationRefused => format!(
            "compare `client_id` (`{}`) with the one at the provider, and register `{redirect_uri}` there as a redirect URI",
            settings.client_id
        ),
        other => other.info().remedy.to_owned(),
    }
}
