//! The configuration: what loading it warned of, and the secrets in it: whether others can read or guess them.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Finding, Report, Weight};
use crate::config::values::Secret;
use crate::config::{Config, Origin, Step};
use crate::reason::Reason;

/// Where its findings are.
pub const PLACE: &str = "configuration";
/// Keys whose value is a secret, or a list of them.
const SECRETS: [&str; 4] = ["secrets", "client_secret", "bind_password", "secret"];
/// Bits of a file's mode for everybody.
const READ: u32 = 0o004;
const WRITE: u32 = 0o002;
const ENTER: u32 = 0o001;
/// Fewer different characters are no random text of this length.
const FEWEST_CHARACTERS: usize = 8;
/// Words of examples.
const EXAMPLES: [&str; 5] = ["changeme", "change-me", "change_me", "example", "password"];

/// What loading warned of, be it beside errors.
pub fn doubtful(warning: &str) -> Finding {
    let finding = Finding::new(Weight::Warning, Reason::SettingDoubtful, PLACE, warning);
    match ["has no effect", "not used, since"].iter().any(|words| warning.contains(words)) {
        true => finding.change("Take the setting away, or add what it is about."),
        false => finding,
    }
}

pub fn check(config: &Arc<Config>, report: &mut Report) {
    let before = report.findings.len();
    config.warnings.iter().for_each(|warning| report.found(doubtful(warning)));
    for hint in &config.hints {
        let finding = Finding::new(Weight::Hint, Reason::SettingDoubtful, PLACE, hint.said.clone());
        report.found(finding.change(hint.change));
    }
    guessable(config, report);
    for (file, what) in files(config) {
        if let Some(finding) = exposed(&file, &what) {
            report.found(finding);
        }
    }
    if report.findings.len() == before {
        report.good(PLACE, "", "nothing in it contradicts itself, and its secrets are nobody else's");
    }
}

/// Files that hold a secret, with what it is. Keys of service accounts are kept as digests; who may write that file can
/// add one.
fn files(config: &Config) -> BTreeMap<PathBuf, String> {
    let settings = &config.settings;
    let mut files = BTreeMap::new();
    for (key, origin) in config.origins.iter() {
        let Some(Step::Key(name)) = key.0.iter().rev().find(|step| matches!(step, Step::Key(_))) else { continue };
        match origin {
            Origin::SecretFile { path, .. } => files.insert(path.to_path_buf(), format!("`{key}`")),
            Origin::File { file, .. } if SECRETS.contains(&name.as_str()) => {
                files.insert(file.to_path_buf(), format!("`{key}` and the rest of the configuration"))
            }
            _ => None,
        };
    }
    let of_providers = settings.provider.iter().flat_map(|provider| {
        [("client_key_file", &provider.client_key_file), ("decryption_key_file", &provider.decryption_key_file)]
    });
    for (key, file) in [("tls_key_file", &settings.listen.tls_key_file)].into_iter().chain(of_providers) {
        files.extend(file.iter().map(|file| (file.clone(), format!("the private key of `{key}`"))));
    }
    files.extend(settings.api_keys_file.iter().map(|file| (file.clone(), "the service accounts' keys".to_owned())));
    files
}

/// Whether others than the owner and the group may read or change the file.
fn exposed(file: &Path, what: &str) -> Option<Finding> {
    let mode = file.metadata().ok()?.permissions().mode();
    let file = file.canonicalize().ok()?;
    let closed = |directory: &Path| directory.metadata().is_ok_and(|meta| meta.permissions().mode() & ENTER == 0);
    if mode & (READ | WRITE) == 0 || file.ancestors().skip(1).any(closed) {
        return None;
    }
    let digests = what.contains("service accounts");
    let (weight, can) = match (mode & WRITE != 0, digests) {
        (true, _) => (Weight::Broken, "read and change"),
        (false, true) => return None,
        // What a container is handed has one user to read it, whatever its mode.
        (false, false) if handed_over(&file) => (Weight::Hint, "read"),
        (false, false) => (Weight::Warning, "read"),
    };
    let seen = format!("{} (mode {:04o}), which everybody may {can}, holds {what}", file.display(), mode & 0o7777);
    let change =
        format!("`chmod o-rwx {}`, and see that the gateway's user owns it or is in its group.", file.display());
    Some(Finding::new(weight, Reason::SecretExposed, PLACE, seen).at("file mode").change(change))
}

/// Whether a container runtime put the file there: Docker in `/run/secrets`, Kubernetes beside `..data`.
fn handed_over(file: &Path) -> bool {
    let beside = |directory: &Path| directory.join("..data").exists() || directory.ends_with("..data");
    file.starts_with("/run/secrets") || file.ancestors().skip(1).take(2).any(beside)
}

fn guessable(config: &Config, report: &mut Report) {
    let settings = &config.settings;
    let own = settings.secrets.iter().map(|secret| ("`secrets`".to_owned(), secret, None));
    let of_providers = settings.provider.iter().filter_map(|provider| {
        let secret = provider.client_secret.as_ref()?;
        Some((format!("`client_secret` of provider {}", provider.name), secret, Some(provider.client_id.as_str())))
    });
    let of_issuers = settings
        .issuer
        .iter()
        .filter_map(|issuer| Some((format!("`secret` of issuer {}", issuer.name), issuer.secret.as_ref()?, None)));
    for (name, secret, client_id) in own.chain(of_providers).chain(of_issuers) {
        if let Some(why) = weakness(secret, client_id) {
            // Whoever guesses ours seals sessions, and an issuer's, signs tokens; a client's is the provider's to accept.
            let weight = if client_id.is_none() { Weight::Broken } else { Weight::Warning };
            let seen = format!("{name} {why}");
            let finding = Finding::new(weight, Reason::SecretGuessable, PLACE, seen);
            report.found(match client_id {
                None if name != "`secrets`" => finding.change(
                    "Make one with `openssl rand -base64 32`, here and where the issuer signs with it; tokens that the old one \
                     signed are refused then.",
                ),
                None => {
                    finding.change("Make one with `openssl rand -base64 32`; sessions that the old one sealed end.")
                }
                Some(_) => finding.change("Copy the secret of the client from the provider; the id is public."),
            });
        }
    }
}

fn weakness(secret: &Secret, client_id: Option<&str>) -> Option<&'static str> {
    let text = secret.expose();
    if Some(text) == client_id {
        return Some("is the client id itself");
    }
    // A provider's secret may be as short as it likes; it is judged by asking.
    if client_id.is_some() {
        return None;
    }
    let small = text.to_lowercase();
    if EXAMPLES.iter().any(|word| small.contains(word)) {
        return Some("holds a word that stands in examples");
    }
    let different = text.chars().collect::<std::collections::BTreeSet<_>>().len();
    (different < FEWEST_CHARACTERS).then_some("repeats a few characters")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_that_is_no_secret_is_named() {
        let random = "W7x2nJq0bT1mZr9sKc5vYd8hLf3gPa6e";
        assert_eq!(weakness(&Secret::new(random), None), None);
        assert_eq!(weakness(&Secret::new("abc"), Some("abd")), None);
        for (text, client_id, why) in [
            ("doorward", Some("doorward"), "client id"),
            ("aaaaaaaabbbbbbbbccccccccdddddddd", None, "repeats"),
            ("Please-ChangeMe-0123456789abcdef", None, "examples"),
        ] {
            assert!(weakness(&Secret::new(text), client_id).is_some_and(|said| said.contains(why)), "{text}");
        }
    }

    #[test]
    fn the_secret_that_tokens_are_signed_with_is_judged_as_well() {
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("gateway.toml");
        let text = "public_url = 'https://a.example'\nsecrets = ['W7x2nJq0bT1mZr9sKc5vYd8hLf3gPa6e']\n[[provider]]\n\
                    issuer = 'https://i.example'\nclient_id = 'c'\n[[issuer]]\nname = 'ci'\nissuer = 'ci'\naudiences = ['a']\n\
                    algorithms = ['HS256']\nsecret = 'changeme-changeme-changeme-changeme'\n[[upstream]]\n\
                    url = 'http://127.0.0.1:9'\n[[route]]\naccess = 'bearer'\n";
        std::fs::write(&file, text).expect("written");
        let config = Config::load(Some(&file), &[]).unwrap_or_else(|errors| panic!("{errors}"));
        let mut report = Report::default();
        guessable(&config, &mut report);
        assert_eq!(report.findings.len(), 1, "{report:?}");
        let found = &report.findings[0];
        assert_eq!((found.weight, found.reason), (Weight::Broken, Reason::SecretGuessable));
        assert!(found.seen.contains("issuer ci") && found.change.contains("signs with it"), "{found:?}");
        assert!(!found.seen.contains("changeme-"), "{found:?}");
    }

    #[test]
    fn a_file_is_exposed_where_its_mode_and_every_directory_above_say_so() {
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("secret");
        std::fs::write(&file, "x").expect("written");
        let mode = |path: &Path, mode| std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).expect("mode");
        let found = |what: &str| exposed(&file, what).map(|finding| finding.weight);
        mode(&file, 0o644);
        mode(dir.path(), 0o700);
        assert_eq!(found("a"), None, "nobody gets into the folder");
        mode(dir.path(), 0o755);
        assert_eq!(found("a"), Some(Weight::Warning));
        assert_eq!(found("the service accounts' keys"), None, "digests may be read");
        mode(&file, 0o646);
        assert_eq!(found("the service accounts' keys"), Some(Weight::Broken));
        mode(&file, 0o640);
        assert_eq!(found("a"), None);
        mode(&file, 0o644);
        std::fs::create_dir(dir.path().join("..data")).expect("as Kubernetes does");
        assert_eq!(found("a"), Some(Weight::Hint));
    }
}
