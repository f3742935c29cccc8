//! A configuration that could not be loaded, as findings.

use super::configuration::doubtful;
use super::{Finding, Report, Weight};
use crate::config::{ConfigError, ConfigErrors};

/// What a configuration that could not be loaded has wrong: every error, and what was not used and is often what is
/// missing.
pub fn unloaded(errors: &ConfigErrors) -> Report {
    let mut report = Report::default();
    errors.0.iter().for_each(|error| report.found(finding(error)));
    errors.1.iter().for_each(|warning| report.found(doubtful(warning)));
    report.sort();
    report
}

fn finding(error: &ConfigError) -> Finding {
    let seen = match error.key.is_empty() {
        true => error.message.clone(),
        false => format!("{}: {}", error.key, error.message),
    };
    let finding = Finding::new(Weight::Broken, error.reason, place(error), seen);
    match &error.hint {
        Some(hint) => finding.change(hint.clone()),
        None => finding,
    }
}

/// `gateway.toml:12:3` or the variable, where there is one.
fn place(error: &ConfigError) -> String {
    match (&error.file, &error.variable) {
        (_, Some(variable)) => format!("environment {variable}"),
        (Some(file), None) => {
            let numbers = [error.line, error.column].into_iter().flatten().map(|number| format!(":{number}"));
            format!("{}{}", file.display(), numbers.collect::<String>())
        }
        (None, None) => "configuration".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reason::Reason;

    #[test]
    fn an_error_of_the_configuration_is_a_finding_with_its_place_and_its_hint() {
        let error = ConfigError {
            file: Some("gateway.toml".into()),
            line: Some(12),
            column: Some(3),
            ..ConfigError::new("provider.isuer", "unknown key").hint("did you mean `issuer`?")
        };
        let other =
            ConfigError { variable: Some("DOORWARD_PUBLIC_URL".into()), ..ConfigError::new("public_url", "no") };
        let report = unloaded(&ConfigErrors(
            vec![error, other],
            vec!["environment LOCAL_LDAP_BASE_DN: not used, since LOCAL_LDAP_ADDRESS is not set".into()],
        ));
        let told: Vec<_> = report.findings.iter().map(|one| (one.place.as_str(), one.seen.as_str())).collect();
        assert_eq!(
            told,
            [
                ("gateway.toml:12:3", "provider.isuer: unknown key"),
                ("environment DOORWARD_PUBLIC_URL", "public_url: no"),
                ("configuration", "environment LOCAL_LDAP_BASE_DN: not used, since LOCAL_LDAP_ADDRESS is not set"),
            ]
        );
        assert_eq!(report.findings[0].change, "Did you mean `issuer`?");
        assert_eq!(report.findings[1].change, Reason::ConfigInvalid.info().remedy);
        // As it is told once the file loads.
        assert_eq!(report.findings[2].reason, Reason::SettingDoubtful);
        assert_eq!(report.findings[2].change, "Take the setting away, or add what it is about.");
        assert_eq!(report.worst(), Some(Weight::Broken));
    }
}
