//! A provider, step by step: its metadata, what they offer against what is configured, its keys and its clock.
//!
//! What is fetched is judged by the code that judges it for sign-ins, so that the two cannot disagree; here are the words.

use std::sync::Arc;

use url::Url;

use super::repair::{Hints, working};
use super::skew::{self, Skew};
use super::subject::Subject;
use super::visit::{Missed, Visit};
use super::{Finding, ONE_PROVIDER, Report, Weight, beside, client, within};
use crate::config::model::{AuthMethod, Provider as ProviderSettings, TokenAlgorithm};
use crate::config::{Config, Settings};
use crate::issuer_metadata::{document, issuer, list, openid_configuration};
use crate::jwt::KeySet;
use crate::oidc::{Learnt, Trial, only_hmac};
use crate::reason::{Failure, Reason};
use crate::words::in_words;

pub(super) async fn check(config: &Arc<Config>, report: &mut Report) {
    let checks = config.settings.provider.iter().enumerate().map(|(index, provider)| {
        let subject = Subject::of(config, "provider", index, &provider.name);
        (subject.place(), async move { examined(&subject).await })
    });
    report.merge(beside(checks).await);
}

/// See [`super::examine_provider`].
pub(super) async fn one(settings: &Settings, name: &str) -> Report {
    let Some(index) = settings.provider.iter().position(|provider| provider.name == name) else {
        let mut report = Report::default();
        report.skipped(format!("provider {name}"), "", "there is no `[[provider]]` of this name");
        return report;
    };
    let name = name.to_owned();
    examined(&Subject { settings: settings.clone(), origins: None, list: "provider", index, name }).await
}

/// What there is to find at one provider, within its time.
async fn examined(subject: &Subject) -> Report {
    within(ONE_PROVIDER, subject.place(), async |report: &mut Report| examine(subject, report).await).await
}

async fn examine(subject: &Subject, report: &mut Report) {
    let place = subject.place();
    let trial = match Trial::new(&subject.settings, subject.index) {
        Some(Ok(trial)) => trial,
        Some(Err(failure)) => return report.found(Finding::of(Weight::Broken, &failure, place)),
        None => return,
    };
    let settings = &subject.settings.provider[subject.index];
    let Some((body, skew)) = metadata(subject, settings, &trial, report).await else {
        return report.skipped(place, "", "keys, clock and client: the provider's metadata come first");
    };
    let learnt = match trial.learn(&body) {
        Ok(learnt) => learnt,
        Err(failure) => {
            report.found(unusable(subject, &failure, &body).await);
            return report.skipped(place, "", "keys, clock and client: the provider's metadata come first");
        }
    };
    report.good(&place, "issuer", "is the configured one");
    report.good(&place, "endpoints", "all that the flow needs are there");
    capabilities(subject, settings, &learnt, report);
    listed(subject, settings, &body, report);
    let of_keys = keys(settings, &learnt, &trial, &place, report).await;
    let about = (Reason::IdTokenExpired, place.as_str(), settings.leeway.0);
    skew::judge([skew, of_keys], about, report);
    client::check(subject, settings, &trial, &learnt, report).await;
}

/// The metadata as they came, and what their clock says.
async fn metadata(
    subject: &Subject,
    settings: &ProviderSettings,
    trial: &Trial,
    report: &mut Report,
) -> Option<(Vec<u8>, Option<Skew>)> {
    let place = subject.place();
    let url = match openid_configuration(&settings.issuer) {
        Ok(url) => url,
        Err(failure) => {
            report.found(Finding::of(Weight::Broken, &failure, place).at("issuer"));
            return None;
        }
    };
    let visit = visit(place, settings, trial, [Reason::DiscoveryFailed, Reason::DiscoveryForm], "issuer");
    match visit.document(&url, report).await {
        Ok(fetched) => Some((fetched.body, fetched.skew)),
        Err(missed) => {
            let Missed { finding, names, redirect } = *missed;
            let hints = Hints { said: None, names, redirect };
            report.found(mended(subject, finding, &hints).await);
            None
        }
    }
}

fn visit<'v>(
    place: String,
    settings: &'v ProviderSettings,
    trial: &'v Trial,
    [unanswered, malformed]: [Reason; 2],
    setting: &'static str,
) -> Visit<'v> {
    Visit { place, http: trial.http(), unanswered, malformed, ca_file: settings.ca_file.as_deref(), setting }
}

/// The finding with the issuer that works in its remedy, where one is found.
async fn mended(subject: &Subject, finding: Finding, hints: &Hints) -> Finding {
    match working(&subject.settings, subject.index, hints).await {
        Some(issuer) => {
            let line = subject.line("issuer", &issuer);
            finding.change(format!("{line}: tried, and metadata of this issuer are there"))
        }
        None => finding,
    }
}

/// Metadata that came and cannot be used.
async fn unusable(subject: &Subject, failure: &Failure, body: &[u8]) -> Finding {
    let finding = Finding::of(Weight::Broken, failure, subject.place());
    let document = document(body);
    let said = document.as_ref().ok().and_then(|document| issuer(document).ok()).map(str::to_owned);
    let (step, rest) = match failure.detail.split_once(':') {
        Some(("JSON", rest)) => ("JSON", rest),
        Some(("issuer", rest)) => ("issuer", rest),
        Some(("endpoints", rest)) => ("endpoints", rest),
        _ => ("metadata", failure.detail.as_str()),
    };
    let finding = Finding { seen: rest.trim().to_owned(), ..finding }.at(step);
    match (failure.reason, said) {
        // The hint that comes with a template is better than any address.
        (Reason::DiscoveryIssuer, Some(said)) if !said.contains('{') => {
            let unless = subject.line("issuer", &said);
            let finding = finding.change(format!("{unless}, if that is your provider"));
            mended(subject, finding, &Hints { said: Some(said), ..Hints::default() }).await
        }
        (Reason::DiscoveryIssuer, _) => finding,
        _ => mended(subject, finding, &Hints::default()).await,
    }
}

/// What is configured and the metadata do not list. They are often incomplete, so these are warnings; what really does not
/// work is found by asking.
fn capabilities(subject: &Subject, settings: &ProviderSettings, learnt: &Learnt<'_>, report: &mut Report) {
    let shortcomings = learnt.shortcomings();
    for (list, step, good) in [
        ("response_types_supported", "response types", "the configured one is offered"),
        ("response_modes_supported", "response modes", "the configured one is offered, or nothing is said of them"),
        ("code_challenge_methods_supported", "PKCE", "S256 is offered, or nothing is said of it"),
        (
            "token_endpoint_auth_methods_supported",
            "client authentication methods",
            "the chosen way is offered, or nothing is said of it",
        ),
        ("userinfo", "userinfo", ""),
    ] {
        let lacks = shortcomings.iter().find(|failure| failure.detail.contains(list));
        match lacks {
            Some(failure) => {
                let finding = Finding::of(Weight::Warning, failure, subject.place()).at(step);
                report.found(finding.change(instead(subject, settings, learnt, step)));
            }
            None if matches!(step, "PKCE" | "client authentication methods") && !learnt.redeems_codes() => {}
            None if !good.is_empty() => report.good(subject.place(), step, good),
            None => {}
        }
    }
}

/// What to set where the provider does not list what is set.
fn instead(subject: &Subject, settings: &ProviderSettings, learnt: &Learnt<'_>, step: &str) -> String {
    let offers = |wanted: &str| {
        let words = |text: &str| {
            let mut words: Vec<_> = text.split(' ').map(str::to_owned).collect();
            words.sort_unstable();
            words
        };
        learnt.response_types().iter().any(|offer| words(offer) == words(wanted))
    };
    match step {
        "response types" => {
            let offered = [("code", "pkce"), ("code id_token", "hybrid"), ("id_token", "implicit")];
            match offered.into_iter().find(|(response_type, _)| offers(response_type)) {
                Some((response_type, method)) => {
                    format!("{}, for the provider offers `{response_type}`", subject.line("auth_method", method))
                }
                None => "allow one of `code`, `code id_token` and `id_token` at the provider".to_owned(),
            }
        }
        "response modes" => match settings.auth_method {
            AuthMethod::Pkce => subject.line("response_mode", "query"),
            _ => format!("{}, whose answers come in the address", subject.line("auth_method", "pkce")),
        },
        "PKCE" => "allow PKCE with `S256` at the provider; the gateway always sends it".to_owned(),
        "client authentication methods" => match learnt.client_auth_methods().unwrap_or_default() {
            [] => "set `client_auth` to what the client is registered for".to_owned(),
            methods => {
                let shown: Vec<_> = methods.iter().map(|method| in_words(method)).collect();
                format!("set `client_auth` to one that the provider offers: {}", shown.join(", "))
            }
        },
        _ => "take `userinfo = true` away, or use an issuer that has the endpoint".to_owned(),
    }
}

/// Scopes and algorithms, which a sign-in does not read from the metadata.
fn listed(subject: &Subject, settings: &ProviderSettings, body: &[u8], report: &mut Report) {
    let place = subject.place();
    let Ok(document) = document(body) else { return };
    match list(&document, "scopes_supported") {
        None => report.skipped(&place, "scopes", "the metadata do not list them"),
        Some(offered) => {
            let unknown: Vec<_> =
                settings.scopes.iter().filter(|scope| !offered.contains(scope)).map(|scope| in_words(scope)).collect();
            match unknown.is_empty() {
                true => report.good(&place, "scopes", "all of `scopes` are listed"),
                false => {
                    let seen = format!("`scopes_supported` does not list {}", unknown.join(", "));
                    let change =
                        "nothing, where sign-ins work: a provider need not list all; else take it out of `scopes`";
                    let finding = Finding::new(Weight::Hint, Reason::ProviderCapability, &place, seen);
                    report.found(finding.at("scopes").change(change));
                }
            }
        }
    }
    let offered = list(&document, "id_token_signing_alg_values_supported").unwrap_or_default();
    let accepted: Vec<String> = settings.id_token_algorithms.iter().map(name).collect();
    // EdDSA by its newer name (RFC 9864).
    let takes =
        |offer: &String| accepted.contains(offer) || offer == "Ed25519" && accepted.iter().any(|a| a == "EdDSA");
    if offered.is_empty() {
        report.skipped(&place, "ID-token algorithms", "the metadata do not list them");
    } else if offered.iter().any(takes) {
        report.good(&place, "ID-token algorithms", "one that is accepted is offered");
    } else {
        report.found(algorithms(subject, settings, &offered));
    }
}

fn name(algorithm: &TokenAlgorithm) -> String {
    format!("{algorithm:?}")
}

fn algorithms(subject: &Subject, settings: &ProviderSettings, offered: &[String]) -> Finding {
    let shown: Vec<_> = offered.iter().map(|one| in_words(one)).collect();
    let accepted = settings.id_token_algorithms.iter().map(name).collect::<Vec<_>>().join(", ");
    let seen = format!("it signs ID tokens with {}; accepted are {accepted}", shown.join(", "));
    let change = match only_hmac(offered) {
        Some(hmac) => settings.how_to_accept(hmac),
        None => "add what the provider signs with to `id_token_algorithms`".to_owned(),
    };
    Finding::new(Weight::Broken, Reason::IdTokenAlgorithm, subject.place(), seen)
        .at("ID-token algorithms")
        .change(change)
}

/// The keys, and what the clock beside them says.
async fn keys(
    settings: &ProviderSettings,
    learnt: &Learnt<'_>,
    trial: &Trial,
    place: &str,
    report: &mut Report,
) -> Option<Skew> {
    if settings.id_token_algorithms.iter().all(|algorithm| algorithm.is_hmac()) {
        report.skipped(place, "keys", "ID tokens are signed with the client secret");
        return None;
    }
    if learnt.secret_signs().is_some_and(|hmac| !settings.id_token_algorithms.contains(&hmac)) {
        // Said already, with what mends it; such a provider may well publish no key.
        report.skipped(place, "keys", "the provider signs ID tokens with the client secret alone");
        return None;
    }
    let visit = visit(format!("{place} keys"), settings, trial, [Reason::KeysFailed; 2], "jwks_uri");
    let url: &Url = learnt.jwks_uri();
    let fetched = match visit.document(url, report).await {
        Ok(fetched) => fetched,
        Err(missed) => {
            // The address is the provider's own word.
            let change =
                missed.finding.change.replace("correct `jwks_uri`", "have the provider correct its `jwks_uri`");
            report.found(missed.finding.change(change));
            return None;
        }
    };
    judge_keys(&fetched.body, &settings.id_token_algorithms, &visit.place, report);
    fetched.skew
}

/// Whether a key set is good for tokens of these algorithms.
pub(super) fn judge_keys(body: &[u8], accepted: &[TokenAlgorithm], place: &str, report: &mut Report) {
    let keys = match KeySet::parse(body) {
        Ok(keys) => keys,
        Err(failure) => {
            let finding = Finding::of(Weight::Broken, &failure, place).at("keys");
            let change =
                "have the provider publish a signing key: RSA of 2048 bits or more, P-256, P-384, P-521 or Ed25519";
            return report.found(finding.change(change));
        }
    };
    let good_for = keys.algorithms();
    let shown = |all: &[TokenAlgorithm]| all.iter().map(name).collect::<Vec<_>>().join(", ");
    if good_for.iter().any(|algorithm| accepted.contains(algorithm)) {
        return report.good(place, "keys", format!("{} that can be used, for {}", keys.summary(), shown(&good_for)));
    }
    let seen = format!("its keys are for {}; accepted are {}", shown(&good_for), shown(accepted));
    let change = "accept an algorithm of the keys, or have the provider sign with another key";
    let finding = Finding::new(Weight::Broken, Reason::IdTokenAlgorithm, place, seen).at("keys");
    report.found(finding.change(change));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_for_other_algorithms_than_the_accepted_are_broken() {
        // RFC 8037, appendix A.2.
        let key = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
        for (accepted, broken) in [(vec![TokenAlgorithm::EdDSA], false), (vec![TokenAlgorithm::RS256], true)] {
            let mut report = Report::default();
            judge_keys(key.as_bytes(), &accepted, "provider main keys", &mut report);
            assert_eq!(report.worst() == Some(Weight::Broken), broken, "{accepted:?}: {report:?}");
        }
        let mut report = Report::default();
        judge_keys(b"{\"keys\":[]}", &[TokenAlgorithm::EdDSA], "provider main keys", &mut report);
        assert_eq!(report.findings[0].reason, Reason::KeysFailed);
    }
}
