//! What is to be written down so that the settings of a trial come into force, by whoever wins where: a key that a variable
//! sets is set by that variable, whatever the file says.

use serde_json::Value;

use super::{Config, Field, KeyPath, Origin, Shape, Trial, fields, is_set, position, toml_of, without_nulls, written};
use crate::config::environment;
use crate::config::model::Provider;

/// Where a mask would be taken for the secret.
const SECRET: &str =
    "# client_secret = \"…\": not shown; write the secret here, or name its file as client_secret_file";
/// A name of W&B deployments that has no word for each of our methods, and those that it has.
const METHOD: (&str, [&str; 2]) = ("OIDC_AUTH_METHOD", ["pkce", "implicit"]);

/// No secret is in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ToKeep {
    /// Lines for the environment, of what differs there from what is in force.
    pub variables: String,
    /// The file that the client's secret is in, where another secret was tried.
    pub secret_file: Option<String>,
    /// The block for the file; empty where the file has nothing of it.
    pub block: String,
}

impl ToKeep {
    /// Whether the settings in force were tried.
    pub fn is_nothing(&self) -> bool {
        *self == ToKeep::default()
    }
}

/// What to write down of `trial`, which was made of `before` with a block in the place of the provider called `replaces`.
pub fn to_keep(before: &Config, replaces: Option<&str>, trial: &Trial) -> ToKeep {
    let Some((after_at, table)) = position(&trial.config, &trial.provider).zip(fields()) else {
        return ToKeep::default();
    };
    let path = KeyPath::of("provider").index(after_at);
    let before_at = replaces.and_then(|name| position(before, name));
    let was = before_at.map(|index| &before.settings.provider[index]);
    let now = &trial.config.settings.provider[after_at];
    if was == Some(now) {
        return ToKeep::default();
    }
    let origin = |field: &Field| before.origins.of(&path.key(&field.name));
    let in_file = |field: &Field| matches!(origin(field), Origin::File { .. });
    // Where nothing of it is in the file, what is new is best set where the rest is.
    let environment_alone = before.file.is_none() || was.is_some() && !table.fields.iter().any(in_file);
    let by_variable = |field: &Field| match origin(field) {
        Origin::Variable { .. } => true,
        Origin::SecretFile { .. } => false,
        other => environment_alone && (!is_set(other) || before.file.is_none()),
    };
    // Whoever types another secret tries it out, and does not move it out of its file.
    let file = was.and_then(|was| was.client_secret_file.as_ref());
    let file = file.filter(|_| now.client_secret.is_some() && now.client_secret_file.is_none());
    let mut kept = ToKeep::default();
    for field in &table.fields {
        let tried = trial.config.origins.of(&path.key(&field.name));
        let wanted = value(now, field).filter(|_| is_set(tried));
        let known = was.and_then(|was| value(was, field)).filter(|_| is_set(origin(field)));
        if field.name == "client_secret" {
            let known = was.and_then(|was| was.client_secret.as_ref());
            if now.client_secret.as_ref() == known || now.client_secret.is_none() && !by_variable(field) {
                continue;
            }
            if let Some(file) = file {
                kept.secret_file = Some(file.display().to_string());
                continue;
            }
            if !by_variable(field) {
                continue;
            }
        } else if wanted == known || !by_variable(field) || field.name == "client_secret_file" && file.is_some() {
            continue;
        }
        let name = name(origin(field), &path.key(&field.name), wanted.as_ref());
        kept.variables.push_str(&match (field.name.as_str(), &wanted) {
            ("client_secret", Some(_)) => format!("# {name}=…: not shown; the secret that was tried\n"),
            (_, Some(value)) => match as_variable(value, &field.shape) {
                // A line of its own behind it would set something else.
                value if value.contains(char::is_control) => {
                    format!("# {name}=…: not shown; a line break or another control character is in it\n")
                }
                value => format!("{name}={value}\n"),
            },
            (_, None) => format!("# take {name} away\n"),
        });
    }
    let in_place = |name: &str| table.field(name).is_some_and(|field| !by_variable(field));
    // A variable that names the file of the secret goes on naming it.
    let of_file =
        |name: &str| in_place(name) && (name != "client_secret" || file.is_none() || in_place("client_secret_file"));
    let named = file.and_then(|file| toml_of(&file.to_string_lossy().into()));
    let secret = named.map_or_else(|| SECRET.to_owned(), |file| format!("client_secret_file = {file}"));
    let block = written(&trial.config, &trial.provider, &secret, of_file).unwrap_or_default();
    if !environment_alone || table.fields.iter().any(in_file) {
        kept.block = block;
    }
    kept
}

/// The value, in words that the file and the environment know.
fn value(provider: &Provider, field: &Field) -> Option<Value> {
    let value = serde_json::to_value(provider).ok()?.get(&field.name)?.clone();
    Some(without_nulls(value)).filter(|value| !value.is_null())
}

/// The variable that sets the key now, else the one that can.
fn name(origin: &Origin, path: &KeyPath, wanted: Option<&Value>) -> String {
    match origin {
        Origin::Variable { name, .. } => {
            let says = |wanted: &Value| wanted.as_str().is_none_or(|word| METHOD.1.contains(&word));
            if name == METHOD.0 && !wanted.is_none_or(says) { environment::name(path) } else { name.clone() }
        }
        _ => environment::name(path),
    }
}

/// As a variable holds it: a list with commas where that is plain, and what is more as JSON.
fn as_variable(value: &Value, shape: &Shape) -> String {
    let plain = |value: &Value| value.as_str().is_some_and(|text| !text.contains([',', '[']) && text.trim() == text);
    match value {
        Value::String(text) => match shape {
            Shape::Text(super::Kind::Url) => super::address(text),
            _ => text.clone(),
        },
        Value::Array(list) if !list.is_empty() && list.iter().all(plain) => {
            list.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(",")
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::with_provider;
    use super::*;

    const SECRET: &str = "planted-client-secret-0123456789";
    const THEIRS: [(&str, &str); 5] = [
        ("OIDC_ISSUER", "https://login.example.com/realm"),
        ("OIDC_CLIENT_ID", "app"),
        ("OIDC_CLIENT_SECRET", SECRET),
        ("OIDC_AUTH_METHOD", "pkce"),
        ("DOORWARD_PROVIDER_SCOPES", "openid,email"),
    ];

    fn env(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        let rest = [
            ("DOORWARD_PUBLIC_URL", "https://app.example.com"),
            ("DOORWARD_SECRETS", "0123456789abcdef0123456789abcdef"),
            ("DOORWARD_UPSTREAM_URL", "http://127.0.0.1:3000"),
        ];
        rest.iter().chain(pairs).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    /// What is to be kept of the block in force with `changes` made to it.
    fn kept(before: &Config, changes: &[(&str, &str)]) -> (Trial, ToKeep) {
        let mut block = super::super::block(before, "main").expect("a block");
        for (from, to) in changes {
            assert!(block.contains(from), "{from} in {block}");
            block = block.replace(from, to);
        }
        let trial = with_provider(before, Some("main"), &block).unwrap_or_else(|errors| panic!("{errors}"));
        let kept = to_keep(before, Some("main"), &trial);
        (trial, kept)
    }

    #[test]
    fn what_variables_set_is_changed_by_those_variables_and_comes_into_force() {
        // No `doorward.toml` is there: a configuration of the environment alone.
        let before = Config::load_chosen(None, &env(&THEIRS)).unwrap_or_else(|errors| panic!("{errors}"));
        let (trial, keep) = kept(
            &before,
            &[
                ("client_id = \"app\"", "client_id = \"wandb\""),
                ("\"openid\", \"email\"", "\"openid\", \"email\", \"groups\""),
                ("auth_method = \"pkce\"", "auth_method = \"hybrid\"\nprompt = \"login\""),
            ],
        );
        let mut lines: Vec<_> = keep.variables.lines().collect();
        lines.sort_unstable();
        let expected = [
            "DOORWARD_PROVIDER_AUTH_METHOD=hybrid",
            "DOORWARD_PROVIDER_PROMPT=login",
            "DOORWARD_PROVIDER_SCOPES=openid,email,groups",
            "OIDC_CLIENT_ID=wandb",
        ];
        assert_eq!((lines, keep.block.as_str()), (expected.to_vec(), ""));
        // As it says.
        let mut mended = env(&THEIRS);
        for line in keep.variables.lines() {
            let (name, value) = line.split_once('=').expect("a line");
            mended.retain(|(known, _)| known != name);
            mended.push((name.to_owned(), value.to_owned()));
        }
        let again = Config::load_chosen(None, &mended).unwrap_or_else(|errors| panic!("{errors}"));
        assert_eq!(again.settings.provider, trial.config.settings.provider);
        assert_eq!(kept(&again, &[]).1, ToKeep::default(), "nothing is left to write down");
    }

    #[test]
    fn a_secret_that_was_typed_is_not_written_and_its_variable_is_named() {
        let before = Config::load_chosen(None, &env(&THEIRS)).unwrap_or_else(|errors| panic!("{errors}"));
        let (_, keep) = kept(&before, &[("********", "another-planted-secret")]);
        assert_eq!(keep.variables, "# OIDC_CLIENT_SECRET=…: not shown; the secret that was tried\n");
    }

    #[test]
    fn what_the_file_says_stays_in_the_file() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let text = format!(
            "[[provider]]\nissuer = 'https://login.example.com/realm'\nclient_id = 'app'\nclient_secret = '{SECRET}'\n"
        );
        std::fs::write(file.path(), text).expect("written");
        let prompt = ("DOORWARD_PROVIDER_PROMPT", "login");
        let before = Config::load_chosen(Some(file.path().into()), &env(&[prompt]));
        let before = before.unwrap_or_else(|errors| panic!("{errors}"));
        let (_, keep) = kept(&before, &[("client_id = \"app\"", "client_id = \"wandb\""), ("prompt = \"login\"", "")]);
        assert_eq!(keep.variables, "# take DOORWARD_PROVIDER_PROMPT away\n");
        assert!(keep.block.contains("client_id = \"wandb\"\n") && keep.block.contains("# client_secret ="), "{keep:?}");
        assert!(!keep.block.contains("prompt") && !keep.block.contains(SECRET), "{keep:?}");
    }

    #[test]
    fn a_secret_in_a_file_is_changed_there_and_the_file_goes_on_being_named() {
        let place = tempfile::tempdir().expect("a directory");
        let (file, secret) = (place.path().join("gateway.toml"), place.path().join("c"));
        std::fs::write(&secret, SECRET).expect("written");
        let named = format!("client_secret_file = \"{}\"", secret.display());
        let load = |line: &str, variables: &[(&str, &str)]| {
            let block = "[[provider]]\nissuer = 'https://login.example.com/realm'\nclient_id = 'app'";
            std::fs::write(&file, format!("{block}\n{line}\n")).expect("written");
            Config::load_chosen(Some(file.clone()), &env(variables)).unwrap_or_else(|errors| panic!("{errors}"))
        };
        let before = load(&named, &[]);
        let (_, keep) = kept(&before, &[(&named, "client_secret = \"another-planted-secret\"")]);
        assert_eq!((keep.variables.as_str(), keep.secret_file.as_deref()), ("", secret.to_str()));
        assert!(keep.block.contains(&format!("{named}\n")) && !keep.block.contains("# client_secret"), "{keep:?}");
        assert!(!keep.block.contains("planted"), "{keep:?}");
        assert_eq!(kept(&before, &[]).1, ToKeep::default(), "nothing was changed");
        let variable = ("DOORWARD_PROVIDER_CLIENT_SECRET_FILE", secret.to_str().expect("a path"));
        let (_, keep) = kept(&load("", &[variable]), &[(&named, "client_secret = \"another-planted-secret\"")]);
        assert_eq!((keep.variables.as_str(), keep.secret_file.as_deref()), ("", secret.to_str()));
        assert!(!keep.block.contains("client_secret"), "{keep:?}");
    }

    #[test]
    fn a_value_that_breaks_its_line_sets_no_other_variable() {
        let before = Config::load_chosen(None, &env(&THEIRS)).unwrap_or_else(|errors| panic!("{errors}"));
        let broken = "auth_method = \"pkce\"\nprompt = \"x\\nLD_PRELOAD=/evil\"";
        let (_, keep) = kept(&before, &[("auth_method = \"pkce\"", broken)]);
        let lines: Vec<_> = keep.variables.lines().collect();
        let comment = "# DOORWARD_PROVIDER_PROMPT=…: not shown; a line break or another control character is in it";
        assert_eq!(lines, [comment]);
    }
}
