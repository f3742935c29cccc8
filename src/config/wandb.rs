//! The names that self-managed W&B deployments already use, understood as settings of the first provider and of the
//! exchange of tokens.
//!
//! They win over the file; a `DOORWARD_…` name for the same setting wins over them.

use super::environment;
use super::error::{ConfigError, nearest};
use super::origin::{KeyPath, Origin};
use super::shape::{self, Field, Shape};
use super::tree::{Node, Plain};

const HOST: &str = "HOST";
const AUTH_METHOD: &str = "OIDC_AUTH_METHOD";
const SECRETS: [&str; 3] = ["OIDC_CLIENT_SECRET", "OIDC_SECRET", "GORILLA_OIDC_SECRET"];
const CORS_ORIGINS: &str = "GORILLA_CORS_ORIGINS";
const AUDIENCES: &str = "FEDERATED_AUTH_AUDIENCES";
const SKIP_AUDIENCE: &str = "SKIP_AUDIENCE_VALIDATION";
/// Name and key of the provider.
const PLAIN: [(&str, &str); 2] = [("OIDC_ISSUER", "issuer"), ("OIDC_CLIENT_ID", "client_id")];

/// Lays these names over what the file says; before the `DOORWARD_…` names.
pub(crate) fn overlay(
    root: &mut Node,
    env: &[(String, String)],
    errors: &mut Vec<ConfigError>,
    warnings: &mut Vec<String>,
) {
    let get = |name: &str| env.iter().find(|(n, v)| n == name && !v.trim().is_empty()).map(|(_, v)| v.as_str());
    host(root, get(HOST), get("DOORWARD_PUBLIC_URL").is_some(), errors, warnings);
    for (name, key) in PLAIN {
        if let Some(value) = get(name) {
            lay_provider(root, key, name, value, errors);
        }
    }
    match get(AUTH_METHOD).map(str::trim) {
        None => method_left_open(root, env, warnings),
        Some(method @ ("pkce" | "implicit")) => lay_provider(root, "auth_method", AUTH_METHOD, method, errors),
        Some(other) => {
            let unknown = variable(AUTH_METHOD, &format!("`{other}` is not known"));
            errors.push(unknown.hint("set it to `pkce` or `implicit`"));
        }
    }
    client_secret(root, env, errors);
    federation(root, env, errors, warnings);
    cors(root, get(CORS_ORIGINS), errors);
    unknown(env, errors, warnings);
}

/// Deployments use the implicit flow unless they say otherwise, and so may their client be registered. A code needs no other
/// redirect URI and keeps the ID token out of the browser, so it stays the default here; where the registration does not
/// allow it, this is what to read. A secret or key says that codes are meant.
fn method_left_open(root: &Node, env: &[(String, String)], warnings: &mut Vec<String>) {
    let named = |name: &str| env.iter().any(|(n, value)| n == name && !value.trim().is_empty());
    let first = match root.get("provider").map(|provider| &provider.plain) {
        Some(Plain::List(list)) => list.first(),
        _ => None,
    };
    let set = |key: &str| {
        let own = key.to_ascii_uppercase();
        first.is_some_and(|provider| provider.get(key).is_some())
            || ["DOORWARD_PROVIDER_", "DOORWARD_PROVIDER_0_"].iter().any(|start| named(&format!("{start}{own}")))
    };
    let says = ["auth_method", "client_secret", "client_secret_file", "client_key_file"].into_iter().any(set)
        || SECRETS.into_iter().any(named);
    if PLAIN.iter().any(|(name, _)| named(name)) && !says {
        warnings.push(format!(
            "environment {AUTH_METHOD}: not set, so people sign in by `pkce`; set it to `pkce` if that is meant, or to \
             `implicit` if the client is registered for that alone, as W&B's default is"
        ));
    }
}

/// The name by which such a deployment sets `path`, where there is one.
pub(crate) fn name_of(path: &KeyPath) -> Option<&'static str> {
    let path = path.to_string();
    if let Some((name, _)) = PLAIN.iter().find(|(_, key)| path == format!("provider.{key}")) {
        return Some(name);
    }
    super::wandb_ldap::name_of(&path)
}

fn variable(name: &str, message: &str) -> ConfigError {
    ConfigError::new("", message).at(&Origin::Variable { name: name.into(), foreign: true })
}

fn lay_provider(root: &mut Node, key: &str, name: &str, value: &str, errors: &mut Vec<ConfigError>) {
    let Some(field) = provider_field(key) else { return };
    let path = KeyPath::default().key("provider").index(0).key(key);
    environment::lay(root, &path, field, name, value, true, errors);
}

fn provider_field(key: &str) -> Option<&'static Field> {
    match &shape::settings().field("provider")?.shape {
        Shape::List(inner) => match inner.as_ref() {
            Shape::Table(provider) => provider.field(key),
            _ => None,
        },
        _ => None,
    }
}

/// `HOST` is the public URL, and in other houses a shell's name for the machine: only an address is taken.
fn host(
    root: &mut Node,
    value: Option<&str>,
    named_otherwise: bool,
    errors: &mut Vec<ConfigError>,
    warnings: &mut Vec<String>,
) {
    let (Some(value), false, Some(field)) = (value, named_otherwise, shape::settings().field("public_url")) else {
        return;
    };
    if url::Url::parse(value.trim()).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host()) {
        environment::lay(root, &KeyPath::default().key("public_url"), field, HOST, value, true, errors);
        return;
    }
    let value = value.trim();
    let likely = format!("https://{value}");
    let is_name = !value.contains("://") && url::Url::parse(&likely).is_ok_and(|url| url.has_host());
    match is_name {
        true if root.get("public_url").is_none() => warnings.push(format!(
            "environment HOST: `{value}` is without a scheme and is not taken as public_url; write HOST={likely} if that \
             is meant"
        )),
        // A shell's name for the machine, and what people open is known.
        true => {}
        false => warnings
            .push(format!("environment HOST: `{value}` is no http or https address and is not taken as public_url")),
    }
}

fn client_secret(root: &mut Node, env: &[(String, String)], errors: &mut Vec<ConfigError>) {
    let set: Vec<_> = SECRETS.iter().filter_map(|name| env.iter().find(|(n, _)| n == name)).collect();
    if let Some((name, value)) = set.first() {
        let value = value.trim_end_matches(['\r', '\n']);
        let other = set.iter().find(|(_, other)| other.trim_end_matches(['\r', '\n']) != value);
        if let Some((other, _)) = other {
            errors.push(
                ConfigError::new("provider.client_secret", format!("{name} and {other} are both set and differ"))
                    .hint("take one of them away"),
            );
        }
        lay_provider(root, "client_secret", name, value, errors);
    }
}

/// The audiences of assertions. The names are those of a deployment whose tokens the app itself took so far: without an
/// issuer here there is nothing that could be exchanged, and `[federation]` would stop the start over a variable that
/// was never meant for the gateway.
fn federation(root: &mut Node, env: &[(String, String)], errors: &mut Vec<ConfigError>, warnings: &mut Vec<String>) {
    let get = |name: &str| env.iter().find(|(n, v)| n == name && !v.trim().is_empty()).map(|(_, v)| v.as_str());
    let named = |prefix: &str| env.iter().any(|(name, value)| name.starts_with(prefix) && !value.trim().is_empty());
    let has_issuer = root.get("issuer").is_some() || named("DOORWARD_ISSUER_");
    let has_federation = root.get("federation").is_some() || named("DOORWARD_FEDERATION_");
    for (name, key) in [(AUDIENCES, "audiences"), (SKIP_AUDIENCE, "skip_audience_validation")] {
        let Some(value) = get(name) else { continue };
        // What is not done anyway needs no table to say so.
        let idle = name == SKIP_AUDIENCE && value.trim() == "false" && !has_federation && get(AUDIENCES).is_none();
        if idle {
            continue;
        }
        if !has_issuer {
            warnings
                .push(format!("environment {name}: not used, since there is no [[issuer]] whose tokens it is about"));
        } else if let Some(field) = federation_field(key) {
            let path = KeyPath::default().key("federation").key(key);
            environment::lay(root, &path, field, name, value, true, errors);
        }
    }
}

/// Comma-separated, with spaces. `null` stands among them where the provider posts its answer; here that needs no CORS.
fn cors(root: &mut Node, value: Option<&str>, errors: &mut Vec<ConfigError>) {
    let field = match &shape::settings().field("cors").map(|field| &field.shape) {
        Some(Shape::Table(cors)) => cors.field("origins"),
        _ => None,
    };
    if let (Some(value), Some(field)) = (value, field) {
        environment::lay(root, &KeyPath::of("cors.origins"), field, CORS_ORIGINS, value, true, errors);
    }
}

fn federation_field(key: &str) -> Option<&'static Field> {
    match &shape::settings().field("federation")?.shape {
        Shape::Table(federation) => federation.field(key),
        _ => None,
    }
}

fn unknown(env: &[(String, String)], errors: &mut Vec<ConfigError>, warnings: &mut Vec<String>) {
    let known = || PLAIN.iter().map(|(name, _)| *name).chain(SECRETS).chain([AUTH_METHOD, AUDIENCES, CORS_ORIGINS]);
    let ours = |name: &str| {
        ["OIDC_", "GORILLA_OIDC_", "GORILLA_CORS_", "FEDERATED_AUTH_"].iter().any(|start| name.starts_with(start))
    };
    for (name, value) in env.iter().filter(|(name, _)| ours(name)) {
        if known().any(|k| k == name) || environment::is_service_link(name, value) {
            continue;
        }
        match nearest(name, known()) {
            Some(near) => errors.push(variable(name, "unknown variable").hint(format!("did you mean {near}?"))),
            None => warnings.push(format!("environment {name}: unknown variable, not used")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn laid(env: &[(&str, &str)]) -> (Node, Vec<String>, Vec<String>) {
        let env: Vec<_> = env.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        let (mut root, mut errors, mut warnings) = (Node::empty(), Vec::new(), Vec::new());
        overlay(&mut root, &env, &mut errors, &mut warnings);
        (root, errors.iter().map(ConfigError::to_string).collect(), warnings)
    }

    fn provider(root: &Node, key: &str) -> Option<String> {
        match root.get("provider").map(|p| &p.plain) {
            Some(Plain::List(list)) => match list.first()?.get(key).map(|n| &n.plain) {
                Some(Plain::Text(text)) => Some(text.clone()),
                _ => None,
            },
            _ => None,
        }
    }

    #[test]
    fn a_deployment_s_own_names_configure_the_first_provider() {
        for secret in SECRETS {
            let (root, errors, warnings) = laid(&[
                ("HOST", "https://wandb.example.com/"),
                ("OIDC_ISSUER", "https://login.example.com"),
                ("OIDC_CLIENT_ID", "wandb"),
                ("OIDC_AUTH_METHOD", "pkce"),
                (secret, "s3cret\n"),
            ]);
            assert_eq!((errors, warnings), (Vec::new(), Vec::new()));
            assert_eq!(provider(&root, "issuer").as_deref(), Some("https://login.example.com"));
            assert_eq!(provider(&root, "client_id").as_deref(), Some("wandb"));
            assert_eq!(provider(&root, "client_secret").as_deref(), Some("s3cret"), "{secret}");
            assert_eq!(provider(&root, "auth_method").as_deref(), Some("pkce"));
            assert!(root.get("public_url").is_some());
        }
    }

    fn federation_of(root: &Node, key: &str) -> Option<String> {
        match &root.get("federation")?.get(key)?.plain {
            Plain::Flag(flag) => Some(flag.to_string()),
            Plain::List(list) => Some(format!("{} entries", list.len())),
            _ => None,
        }
    }

    #[test]
    fn a_deployment_s_own_names_configure_the_exchange_of_tokens() {
        let issuer = ("DOORWARD_ISSUER_ISSUER", "https://ci.example");
        let (root, errors, warnings) = laid(&[issuer, (AUDIENCES, "a, b"), (SKIP_AUDIENCE, "true")]);
        assert_eq!((errors, warnings), (Vec::new(), Vec::new()));
        assert_eq!(federation_of(&root, "audiences").as_deref(), Some("2 entries"));
        assert_eq!(federation_of(&root, "skip_audience_validation").as_deref(), Some("true"));
        let (root, ..) = laid(&[issuer, ("DOORWARD_FEDERATION_ISSUERS", "ci"), (SKIP_AUDIENCE, "false")]);
        assert_eq!(federation_of(&root, "skip_audience_validation").as_deref(), Some("false"));
        assert!(laid(&[issuer, (AUDIENCES, "a"), (SKIP_AUDIENCE, "yes")]).1[0].contains(SKIP_AUDIENCE));
    }

    #[test]
    fn a_deployment_s_own_name_lists_origins() {
        let (root, errors, warnings) = laid(&[(CORS_ORIGINS, "https://a.example, null ,https://b.example:8443")]);
        assert_eq!((errors, warnings), (Vec::new(), Vec::new()));
        let Some(Plain::List(origins)) = root.get("cors").and_then(|cors| cors.get("origins")).map(|n| &n.plain) else {
            panic!("no list");
        };
        assert_eq!(origins.len(), 3);
        assert!(matches!(&origins[1].plain, Plain::Text(text) if text == "null"));
    }

    #[test]
    fn without_an_issuer_no_exchange_comes_into_being() {
        for (name, value) in [(AUDIENCES, "a"), (SKIP_AUDIENCE, "true")] {
            let (root, errors, warnings) = laid(&[(name, value)]);
            assert!(root.get("federation").is_none() && errors.is_empty(), "{name}: {errors:?}");
            assert!(warnings.len() == 1 && warnings[0].contains("no [[issuer]]"), "{name}: {warnings:?}");
        }
        let issuer = ("DOORWARD_ISSUER_ISSUER", "https://ci.example");
        for env in [&[(SKIP_AUDIENCE, "false")][..], &[issuer, (SKIP_AUDIENCE, "false")], &[(AUDIENCES, " ")]] {
            let (root, errors, warnings) = laid(env);
            let nothing = errors.is_empty() && warnings.is_empty() && root.get("federation").is_none();
            assert!(nothing, "{env:?}: {errors:?} {warnings:?}");
        }
    }

    #[test]
    fn the_implicit_flow_is_asked_for_by_a_deployment_s_own_name() {
        let (root, errors, warnings) = laid(&[("OIDC_AUTH_METHOD", " implicit ")]);
        assert_eq!((errors, warnings), (Vec::new(), Vec::new()));
        assert_eq!(provider(&root, "auth_method").as_deref(), Some("implicit"));
    }

    #[test]
    fn what_a_deployment_s_default_was_is_told_where_nobody_says_a_flow() {
        let named = [("OIDC_ISSUER", "https://login.example.com"), ("OIDC_CLIENT_ID", "wandb")];
        let (root, errors, warnings) = laid(&named);
        assert!(errors.is_empty() && warnings.len() == 1, "{errors:?} {warnings:?}");
        assert!(warnings[0].contains("OIDC_AUTH_METHOD") && warnings[0].contains("implicit"), "{warnings:?}");
        assert_eq!(provider(&root, "auth_method"), None, "the default stays");
        for said in [
            (AUTH_METHOD, "pkce"),
            ("DOORWARD_PROVIDER_AUTH_METHOD", "implicit"),
            ("DOORWARD_PROVIDER_0_AUTH_METHOD", "pkce"),
            ("OIDC_CLIENT_SECRET", "s"),
            ("GORILLA_OIDC_SECRET", "s"),
            ("DOORWARD_PROVIDER_CLIENT_SECRET_FILE", "/run/secret"),
            ("DOORWARD_PROVIDER_0_CLIENT_KEY_FILE", "/run/key.pem"),
        ] {
            assert_eq!(laid(&[named[0], named[1], said]).2, [""; 0], "{said:?}");
        }
        assert_eq!(laid(&[]).2, [""; 0], "none of these names");
        // What the file says counts as well.
        let mut root = laid(&[("OIDC_AUTH_METHOD", "implicit")]).0;
        let env: Vec<_> = named.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        let (mut errors, mut warnings) = (Vec::new(), Vec::new());
        overlay(&mut root, &env, &mut errors, &mut warnings);
        assert_eq!(warnings, [""; 0]);
    }

    #[test]
    fn two_secrets_that_differ_are_named_and_not_shown() {
        let (_, errors, _) = laid(&[("OIDC_CLIENT_SECRET", "hunter1"), ("GORILLA_OIDC_SECRET", "hunter2")]);
        assert!(errors[0].contains("OIDC_CLIENT_SECRET and GORILLA_OIDC_SECRET"), "{errors:?}");
        assert!(!errors[0].contains("hunter"), "{errors:?}");
        assert!(laid(&[("OIDC_CLIENT_SECRET", "same"), ("OIDC_SECRET", "same\n")]).1.is_empty());
    }

    #[test]
    fn a_machine_s_name_in_host_is_not_taken() {
        for name in ["devbox", "devbox:80", "ftp://devbox", "mailto:me"] {
            let (root, errors, warnings) = laid(&[("HOST", name)]);
            assert!(root.get("public_url").is_none() && errors.is_empty() && warnings.len() == 1, "{name}");
        }
        assert!(laid(&[("HOST", "devbox"), ("DOORWARD_PUBLIC_URL", "https://a.example")]).2.is_empty());
    }

    #[test]
    fn other_methods_and_misspelt_names_are_errors_and_far_names_a_warning() {
        for (name, value, wanted) in [
            ("OIDC_AUTH_METHOD", "magic", "`magic` is not known"),
            ("OIDC_ISUER", "x", "did you mean OIDC_ISSUER?"),
            ("OIDC_CLIENTID", "x", "did you mean OIDC_CLIENT_ID?"),
            ("FEDERATED_AUTH_AUDIENCE", "x", "did you mean FEDERATED_AUTH_AUDIENCES?"),
            ("OIDC_SECRET", " ", "is set and empty"),
        ] {
            let (_, errors, _) = laid(&[(name, value)]);
            assert!(errors.len() == 1 && errors[0].contains(wanted), "{name}={value}: {errors:?}");
        }
        let (_, errors, warnings) = laid(&[("OIDC_SESSION_LENGTH_IN_DAYS", "3")]);
        assert_eq!((errors.len(), warnings.len()), (0, 1));
    }
}
