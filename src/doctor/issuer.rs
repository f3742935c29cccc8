//! An issuer of tokens, step by step: its metadata, its keys and its clock.

use std::sync::Arc;

use openidconnect::HttpResponse;
use url::Url;

use super::provider::judge_keys;
use super::skew::{self, Skew};
use super::subject::Subject;
use super::visit::Visit;
use super::{Finding, ONE_PROVIDER, Report, Weight, beside, within};
use crate::config::Config;
use crate::config::model::{Issuer, TokenAlgorithm};
use crate::files;
use crate::issuer_metadata::{document, issuer};
use crate::jwt::Trial;
use crate::reason::{Failure, Reason};

/// Largest file with keys, as the gateway reads it.
const LARGEST_KEYS: u64 = 1024 * 1024;

pub(super) async fn check(config: &Arc<Config>, report: &mut Report) {
    let checks = config.settings.issuer.iter().enumerate().map(|(index, issuer)| {
        let subject = Subject::of(config, "issuer", index, &issuer.name);
        let place = subject.place();
        let check = async move |report: &mut Report| examine(&subject, report).await;
        (place.clone(), within(ONE_PROVIDER, place, check))
    });
    report.merge(beside(checks).await);
}

async fn examine(subject: &Subject, report: &mut Report) {
    let place = subject.place();
    let trial = match Trial::new(&subject.settings, subject.index) {
        Some(Ok(trial)) => trial,
        Some(Err(failure)) => return report.found(Finding::of(Weight::Broken, &failure, place)),
        None => return,
    };
    let settings = trial.settings();
    let accepted = accepted(settings);
    if settings.secret.is_some() {
        return report.good(place, "keys", "a shared secret, and nothing to fetch");
    }
    if let Some(file) = &settings.jwks_file {
        return match files::read(file, LARGEST_KEYS) {
            Ok(body) => judge_keys(&body, &accepted, &place, report),
            Err(error) => {
                let seen = format!("{}: {error}", file.display());
                report.found(Finding::new(Weight::Broken, Reason::KeysFailed, place, seen).at("keys"));
            }
        };
    }
    let mut skews = Vec::new();
    let keys = match trial.configured_keys() {
        Some(url) => Some((url, "jwks_uri")),
        None => match metadata(subject, &trial, &mut skews, report).await {
            Some(Some(url)) => Some((url, "issuer")),
            Some(None) => None,
            None => return report.skipped(place, "keys", "the issuer's metadata come first"),
        },
    };
    if let Some((url, setting)) = keys {
        let visit = visit(format!("{place} keys"), &trial, [Reason::KeysFailed; 2], setting);
        match visit.document(&url, report).await {
            Ok(fetched) => {
                skews.push(fetched.skew);
                judge_keys(&fetched.body, &accepted, &visit.place, report);
            }
            Err(missed) => report.found(missed.finding),
        }
    }
    skew::judge(skews, (Reason::TokenNotYetValid, &place, settings.leeway.0), report);
}

fn visit<'v>(
    place: String,
    trial: &'v Trial,
    [unanswered, malformed]: [Reason; 2],
    setting: &'static str,
) -> Visit<'v> {
    let ca_file = trial.settings().ca_file.as_deref();
    Visit { place, http: trial.http(), unanswered, malformed, ca_file, setting }
}

/// Where the keys are, as the metadata say; `None` where there are none that can be used, `Some(None)` where no keys are
/// needed.
async fn metadata(
    subject: &Subject,
    trial: &Trial,
    skews: &mut Vec<Option<Skew>>,
    report: &mut Report,
) -> Option<Option<Url>> {
    let visit = visit(subject.place(), trial, [Reason::DiscoveryFailed, Reason::DiscoveryForm], "issuer");
    let found = |failure: &Failure| Finding::of(Weight::Broken, failure, subject.place());
    let [first, other] = match trial.metadata_addresses() {
        Ok(addresses) => addresses,
        Err(failure) => {
            report.found(found(&failure).at("issuer"));
            return None;
        }
    };
    // Who issues tokens and signs nobody in has them at the other address, which is told only where they are there.
    let absent = trial.http().send(plain(&first)?).await.is_ok_and(|answer: HttpResponse| answer.status() == 404);
    let mut aside = Report::default();
    let second = match absent {
        true => visit.document(&other, &mut aside).await.ok(),
        false => None,
    };
    let fetched = match second {
        Some(fetched) => {
            report.merge(aside);
            fetched
        }
        None => match visit.document(&first, report).await {
            Ok(fetched) => fetched,
            Err(missed) => {
                report.found(missed.finding);
                return None;
            }
        },
    };
    skews.push(fetched.skew);
    match trial.keys_of(&fetched.body) {
        Ok(url) => {
            report.good(subject.place(), "issuer", "is the configured one");
            Some(url)
        }
        Err(failure) => {
            let step = match failure.reason {
                Reason::DiscoveryIssuer => "issuer",
                _ => "metadata",
            };
            let finding = found(&failure).at(step);
            let document = document(&fetched.body).ok();
            let said = document.as_ref().and_then(|document| issuer(document).ok());
            report.found(match (failure.reason, said) {
                (Reason::DiscoveryIssuer, Some(said)) if !said.contains('{') => {
                    finding.change(format!("{}, if that is your issuer", subject.line("issuer", said)))
                }
                _ => finding,
            });
            None
        }
    }
}

fn plain(url: &Url) -> Option<http::Request<Vec<u8>>> {
    http::Request::get(url.as_str()).header(http::header::ACCEPT, "application/json").body(Vec::new()).ok()
}

/// All but the HMAC family where nothing is set.
fn accepted(settings: &Issuer) -> Vec<TokenAlgorithm> {
    use TokenAlgorithm::*;
    match settings.algorithms.is_empty() {
        true => vec![RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512, EdDSA],
        false => settings.algorithms.clone(),
    }
}
