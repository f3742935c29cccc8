//! Loading as a whole: file, environment and secrets, and how errors are told.

use std::path::{Path, PathBuf};

use super::*;

mod documents;

const GOOD: &str = "public_url = \"https://app.example.com\"\nsecrets = [\"0123456789abcdef0123456789abcdef\"]\n\
    [[provider]]\nissuer = \"https://login.example.com\"\nclient_id = \"app\"\n\
    [[upstream]]\nurl = \"http://127.0.0.1:3000\"\n";

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Place(tempfile::tempdir().expect("directory"))
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, text).expect("write");
        path
    }

    fn load(&self, text: &str, env: &[(&str, &str)]) -> Result<Config, ConfigErrors> {
        Config::load(Some(&self.file("gateway.toml", text)), &variables(env))
    }
}

fn variables(env: &[(&str, &str)]) -> Vec<(String, String)> {
    env.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect()
}

fn errors(text: &str, env: &[(&str, &str)]) -> Vec<String> {
    let errors = Place::new().load(text, env).err().unwrap_or_default();
    // Without the directory, which is another one each time.
    errors.0.iter().map(|e| e.to_string()).map(|e| e[e.find("gateway.toml").unwrap_or(0)..].to_owned()).collect()
}

#[test]
fn mistakes_in_the_file_are_named_with_place_and_remedy() {
    for (text, wanted) in [
        ("[[provider]]\n  isuer = \"x\"", "gateway.toml:2:3: provider.isuer: unknown key; did you mean `issuer`?"),
        ("public_ulr = \"x\"", "gateway.toml:1:1: public_ulr: unknown key; did you mean `public_url`?"),
        ("client_id = \"x\"", "client_id: unknown key; `client_id` belongs under [[provider]]"),
        (
            "issuer = \"x\"",
            "issuer: a list is wanted, and this is a string; write [[issuer]] and its keys on the lines below",
        ),
        ("ldap = \"x\"", "ldap: a table is wanted, and this is a string; write [ldap] and its keys on the lines below"),
        ("[[route]]\n[[route]]\nallow = \"x\"", "this is a string; write [route.allow] and its keys"),
        ("[ldap]\nattributes = \"mail\"", "a table is wanted, and this is a string; write { name = \"value\" }, as in"),
        (
            "[listen]\npublic_url = \"x\"",
            "gateway.toml:2:1: listen.public_url: unknown key; `public_url` belongs at the top",
        ),
        ("[[provider]]\nclient_auth = \"client_secret_bsic\"", "did you mean `client_secret_basic`?"),
        ("[log]\nlevel = \"loud\"", "possible: error, warn, info, debug"),
        ("[listen]\nh2c = \"yes\"", "gateway.toml:2:7: listen.h2c: true or false is wanted, and this is a string"),
        (
            "[listen]\nthreads = -1",
            "listen.threads: a whole number, 0 or more is wanted, and this is a negative number",
        ),
        ("[provider]\nissuer = \"x\"", "write [[provider]] with double brackets"),
        ("[[provider]]\nissuer = \"x\"", "provider.issuer: this is no address"),
        ("[[provider]]\nscopes = \"openid\"", "provider.scopes: a list is wanted, and this is a string; write [\"…\"]"),
        ("[[provider]]\nclient_secret = 12345", "provider.client_secret: a string is wanted, and this is a number"),
        ("a = 1\na = 2", "gateway.toml:2:1: this is not TOML"),
        ("secrets = [", "this is not TOML"),
        (
            "[[provider]]",
            "provider.client_id: is required and not set; write `client_id = \"…\"`, or set DOORWARD_PROVIDER_CLIENT_ID",
        ),
        ("", "public_url: is required and not set"),
    ] {
        let errors = errors(text, &[]);
        assert!(errors.iter().any(|e| e.contains(wanted)), "{text}\nwanted {wanted}\ngot {errors:#?}");
    }
}

#[test]
fn a_misspelt_required_key_is_told_once() {
    let errors = errors(&GOOD.replace("issuer", "isuer"), &[]);
    assert_eq!(errors, ["gateway.toml:4:1: provider.isuer: unknown key; did you mean `issuer`? [DW-7002]"]);
}

#[test]
fn values_that_a_type_does_not_take_are_all_named_at_once() {
    let text = format!(
        "{GOOD}[listen]\naddress = \"8080\"\ntrusted_proxies = [\"10.0.0.0/8\", \"ten\"]\n\
         [session]\nidle = 30\nabsolute = \"1 week\"\n[limits]\nrequest_line = \"16 gallons\"\n"
    );
    let errors = errors(&text, &[]);
    for wanted in [
        "gateway.toml:9:11: listen.address: this is no address and port",
        "gateway.toml:10:34: listen.trusted_proxies[1]: `ten` is no address or network",
        "gateway.toml:12:8: session.idle: `30` is no length of time",
        "session.absolute: `1 week` is no length of time",
        "limits.request_line: `16 gallons` is no number of bytes",
    ] {
        assert!(errors.iter().any(|e| e.contains(wanted)), "{wanted}\n{errors:#?}");
    }
    assert_eq!(errors.len(), 5);
}

#[test]
fn no_error_shows_a_secret() {
    for text in [
        "secrets = [\"hunter2\"]",
        "secrets = \"hunter2\"",
        "[[provider]]\nclient_secret = [\"hunter2\"]",
        "[[provider]]\nclient_secret = \"hunter2",
        "[[provider]]\nclient_secret = hunter2",
    ] {
        let errors = errors(text, &[]);
        assert!(!errors.is_empty() && errors.iter().all(|e| !e.contains("hunter2")), "{errors:#?}");
    }
}

#[test]
fn the_environment_alone_is_enough() {
    let env = variables(&[
        ("DOORWARD_PUBLIC_URL", "https://app.example.com"),
        ("DOORWARD_SECRETS", "0123456789abcdef0123456789abcdef,123456789abcdef0123456789abcdef0"),
        ("DOORWARD_PROVIDER_ISSUER", "https://login.example.com"),
        ("DOORWARD_PROVIDER_CLIENT_ID", "app"),
        ("DOORWARD_UPSTREAM_URL", "http://127.0.0.1:3000"),
        ("DOORWARD_ROUTE_0_PATH", "/a"),
        ("DOORWARD_ROUTE_1_PATH", "/b"),
        ("DOORWARD_ROUTE_1_ALLOW_EMAILS", "ada@example.com, bob@example.com"),
        ("DOORWARD_SESSION_IDLE", "1h"),
    ]);
    let config = Config::load_chosen(None, &env).expect("good");
    assert_eq!((config.file, config.settings.secrets.len(), config.settings.route.len()), (None, 2, 2));
    assert_eq!(config.settings.route[1].allow.as_ref().map(|a| a.emails.len()), Some(2));
    assert_eq!(config.origins.of(&KeyPath::of("session.idle")).to_string(), "environment DOORWARD_SESSION_IDLE");
}

#[test]
fn the_environment_wins_over_wandb_names_and_these_over_the_file() {
    let wandb = [("HOST", "https://w.example"), ("OIDC_ISSUER", "https://w.example"), ("OIDC_CLIENT_ID", "w")];
    let issuer = |c: &Config| c.settings.provider[0].issuer.to_string();
    let config = Place::new().load(GOOD, &wandb).expect("good");
    assert_eq!(
        (issuer(&config).as_str(), config.settings.public_url.as_str()),
        ("https://w.example/", "https://w.example/")
    );
    let both = [wandb[0], wandb[1], wandb[2], ("DOORWARD_PROVIDER_ISSUER", "https://d.example")];
    let config = Place::new().load(GOOD, &both).expect("good");
    assert_eq!((issuer(&config).as_str(), config.settings.provider[0].client_id.as_str()), ("https://d.example/", "w"));
    assert_eq!(config.settings.provider.len(), 1);
}

#[test]
fn an_error_in_a_value_from_the_environment_names_the_variable() {
    for (variable, value, wanted) in [
        ("DOORWARD_SESSION_IDLE", "30", "environment DOORWARD_SESSION_IDLE: session.idle: `30` is no length of time"),
        ("DOORWARD_SESSION_IDLE", "99h", "environment DOORWARD_SESSION_IDLE: session.idle: 99h is longer"),
        (
            "DOORWARD_PROVIDER_CLIENT_AUTH",
            "pots",
            "environment DOORWARD_PROVIDER_CLIENT_AUTH: provider.client_auth: `pots`",
        ),
        ("DOORWARD_HEADERS_SET", r#"[{"nam":"X"}]"#, "environment DOORWARD_HEADERS_SET: headers.set.nam: unknown key"),
    ] {
        let errors = errors(GOOD, &[(variable, value)]);
        assert!(errors.iter().any(|e| e.contains(wanted)), "{wanted}\n{errors:#?}");
    }
}

#[test]
fn who_configures_by_wandb_names_is_told_what_is_missing_by_theirs() {
    let host = ("HOST", "https://w.example");
    let address = ("LOCAL_LDAP_ADDRESS", "ldaps://ldap.example.com");
    for (env, wanted) in [
        (&[host, ("OIDC_CLIENT_ID", "w")][..], "OIDC_ISSUER is required and not set; set OIDC_ISSUER"),
        (&[host, ("OIDC_ISSUER", "https://login.example")], "OIDC_CLIENT_ID is required and not set"),
        (&[host, address], "LOCAL_LDAP_BASE_DN is required and not set"),
    ] {
        let errors = Config::load_chosen(None, &variables(env)).expect_err("missing").to_string();
        assert!(errors.contains(wanted), "{wanted}\n{errors}");
    }
    let whole = [host, ("OIDC_ISSUER", "https://login.example"), ("OIDC_CLIENT_ID", "w"), ("OIDC_AUTH_METHOD", "pkce")];
    let errors = Config::load_chosen(None, &variables(&whole)).expect_err("no app and no secret").to_string();
    for name in ["DOORWARD_SECRET_FILE", "DOORWARD_UPSTREAM_URL"] {
        assert!(errors.contains(name), "{name}\n{errors}");
    }
    let google = [("OIDC_ISSUER", "https://accounts.google.com")];
    let config = Place::new().load(GOOD, &google).expect("good");
    let told = config.warnings.concat();
    assert!(told.contains("`DOORWARD_PROVIDER_PROVIDER=google` sets"), "{told}");
}

#[test]
fn warnings_are_told_beside_errors() {
    let told = |env: &[(&str, &str)]| Config::load_chosen(None, &variables(env)).expect_err("too little").1.concat();
    let host = told(&[("HOST", "wandb.example.com")]);
    assert!(
        host.contains("`wandb.example.com` is without a scheme") && host.contains("HOST=https://wandb.example.com")
    );
    let lost = told(&[("LOCAL_LDAP_BASE_DN", "dc=x"), ("LOCAL_LDAP_BIND_DN", "cn=x,dc=x")]);
    assert!(lost.contains("LOCAL_LDAP_BASE_DN, LOCAL_LDAP_BIND_DN: not used"), "{lost}");
}

#[test]
fn secrets_come_from_files_beside_the_configuration() {
    let place = Place::new();
    place.file("seal", "fedcba9876543210fedcba9876543210\n");
    place.file("client", "s3cret\n");
    let text = GOOD
        .replace("secrets = [\"0123456789abcdef0123456789abcdef\"]", "secret_file = \"seal\"")
        .replace("client_id", "client_secret_file = \"client\"\nclient_id");
    let config = place.load(&text, &[]).expect("good");
    assert_eq!(config.settings.secrets[0].expose(), "fedcba9876543210fedcba9876543210");
    assert_eq!(config.settings.provider[0].client_secret.as_ref().map(|s| s.expose()), Some("s3cret"));
    let origin = config.origins.of(&KeyPath::of("secrets")).to_string();
    assert!(origin.starts_with("file ") && origin.ends_with("/seal"), "{origin}");
}

#[test]
fn a_secret_file_of_a_table_is_read_like_one_of_a_list() {
    let place = Place::new();
    place.file("ldap", "s3cret\n");
    let ldap = "[ldap]\naddress = [\"ldaps://ldap.example.com\"]\nbase_dn = \"dc=example,dc=com\"\n\
        bind_dn = \"cn=reader,dc=example,dc=com\"\nbind_password_file = ";
    let password = |config: &Config| {
        let directory = config.settings.ldap.as_ref().expect("a directory");
        directory.bind_password.as_ref().map(|password| password.expose().to_owned())
    };
    let config = place.load(&format!("{GOOD}{ldap}\"ldap\"\n"), &[]).expect("good");
    assert_eq!(password(&config).as_deref(), Some("s3cret"));
    let origin = config.origins.of(&KeyPath::of("ldap.bind_password")).to_string();
    assert!(origin.starts_with("file ") && origin.ends_with("/ldap"), "{origin}");
    // The environment wins, by value and by file.
    let other = place.file("other", "from-environment\n");
    for env in
        [("LOCAL_LDAP_BIND_PW", "from-environment"), ("DOORWARD_LDAP_BIND_PASSWORD_FILE", &*other.to_string_lossy())]
    {
        let config = place.load(&format!("{GOOD}{ldap}\"ldap\"\n"), &[env]).expect("good");
        assert_eq!(password(&config).as_deref(), Some("from-environment"), "{env:?}");
    }
    let errors = errors(&format!("{GOOD}{ldap}\"none\"\n"), &[]).concat();
    assert!(errors.contains("ldap.bind_password_file: ") && errors.contains("cannot be read"), "{errors}");
}

#[test]
fn a_secret_file_that_cannot_be_used_is_named() {
    let place = Place::new();
    let (empty, two) = (place.file("empty", "\n"), place.file("two", "a\nb\n"));
    for (file, wanted) in
        [(empty.as_path(), "is empty"), (&two, "more than one line"), (Path::new("/none"), "cannot be read")]
    {
        let file = file.to_str().expect("path");
        let errors = errors(GOOD, &[("DOORWARD_PROVIDER_CLIENT_SECRET_FILE", file)]);
        let found = |e: &&String| e.contains(&format!("{file}: ")) && e.contains(wanted) && e.contains("[DW-7003]");
        assert!(errors.iter().any(|e| found(&e)), "{errors:#?}");
    }
}

#[test]
fn a_secret_and_its_file_from_one_source_contradict_and_from_two_the_stronger_wins() {
    let place = Place::new();
    place.file("client", "from-file\n");
    let both = GOOD.replace("client_id", "client_secret_file = \"client\"\nclient_secret = \"x\"\nclient_id");
    let text = place.load(&both, &[]).expect_err("contradiction").to_string();
    assert!(text.contains("provider.client_secret_file: `client_secret` is set as well"), "{text}");
    let one = GOOD.replace("client_id", "client_secret_file = \"client\"\nclient_id");
    let secret = |env: &[(&str, &str)]| {
        let config = place.load(&one, env).expect("good");
        config.settings.provider[0].client_secret.as_ref().map(|s| s.expose().to_owned())
    };
    assert_eq!(secret(&[]).as_deref(), Some("from-file"));
    assert_eq!(secret(&[("OIDC_SECRET", "wandb")]).as_deref(), Some("wandb"));
    assert_eq!(
        secret(&[("OIDC_SECRET", "wandb"), ("DOORWARD_PROVIDER_CLIENT_SECRET", "ours")]).as_deref(),
        Some("ours")
    );
}

#[test]
fn the_file_is_chosen_by_flag_then_by_environment() {
    let place = Place::new();
    let good = place.file("good.toml", GOOD);
    let env = variables(&[("DOORWARD_CONFIG", good.to_str().expect("path"))]);
    assert_eq!(Config::load(None, &env).expect("good").file.as_deref(), Some(good.as_path()));
    let missing = place.0.path().join("missing.toml");
    let told = Config::load(Some(&missing), &[]).expect_err("no file").to_string();
    assert!(told.contains("missing.toml: there is no such file"), "{told}");
    // Where neither a file nor the environment says anything, that is said, and nothing that follows from it.
    let nothing = Config::load_chosen(None, &[]).expect_err("nothing").0;
    assert_eq!((nothing.len(), nothing[0].reason), (1, Reason::ConfigUnreadable));
    assert!(nothing[0].to_string().contains("no gateway.toml in this directory"), "{}", nothing[0]);
    let environment_alone = Config::load_chosen(None, &variables(&[("DOORWARD_PUBLIC_URL", "https://a.example")]));
    assert!(environment_alone.expect_err("no app").0.iter().all(|error| error.reason == Reason::ConfigInvalid));
    let errors = Config::load(Some(&missing), &env).expect_err("the flag wins");
    assert_eq!((errors.0[0].reason, errors.0[0].file.as_deref()), (Reason::ConfigUnreadable, Some(missing.as_path())));
}

#[test]
fn a_file_that_cannot_be_read_is_told_with_what_helps_against_its_cause() {
    let place = Place::new();
    let told = |path: &Path, env: &[(&str, &str)]| {
        let file = Some(path).filter(|_| env.is_empty());
        let errors = Config::load(file, &variables(env)).expect_err("no configuration").0;
        assert_eq!((errors.len(), errors[0].reason), (1, Reason::ConfigUnreadable), "{errors:?}");
        errors[0].to_string()
    };
    let missing = place.0.path().join("missing.toml");
    let named = told(&missing, &[]);
    assert!(named.contains("; put it there") && !named.contains("DOORWARD_CONFIG"), "{named}");
    let by_variable = told(&missing, &[("DOORWARD_CONFIG", missing.to_str().expect("path"))]);
    assert!(by_variable.contains("correct DOORWARD_CONFIG") && !by_variable.contains("--config"), "{by_variable}");
    let directory = told(place.0.path(), &[]);
    assert!(directory.contains("it is a directory") && directory.contains("name the file in it"), "{directory}");
    let latin = place.0.path().join("latin.toml");
    std::fs::write(&latin, b"# Caf\xe9\n").expect("written");
    let latin = told(&latin, &[]);
    assert!(latin.contains("is not UTF-8") && latin.contains("save it as UTF-8"), "{latin}");
    // Root reads whatever there is, so the system is not asked for this one.
    let denied = unreadable(&missing, &ErrorKind::PermissionDenied.into(), &[]).to_string();
    assert!(denied.contains("let the gateway's user read it"), "{denied}");
}

#[test]
fn every_secret_that_can_be_set_is_known_to_whoever_hides_them() {
    fn collect(table: &shape::Table, path: &str, found: &mut Vec<String>) {
        use shape::{Kind, Shape};
        for field in &table.fields {
            let path = format!("{path}{}", field.name);
            let inner = match &field.shape {
                Shape::List(inner) => inner.as_ref(),
                other => other,
            };
            match inner {
                Shape::Text(Kind::Secret) => found.push(path),
                Shape::Table(inner) => collect(inner, &format!("{path}."), found),
                _ => {}
            }
        }
    }
    let mut found = Vec::new();
    collect(shape::settings(), "", &mut found);
    found.sort_unstable();
    // A new one belongs into `Settings::known_secrets`.
    assert_eq!(
        found,
        ["issuer.client_secret", "issuer.secret", "ldap.bind_password", "provider.client_secret", "secrets"]
    );
    let settings: Settings = toml::from_str(
        "public_url = 'http://localhost'\nsecrets = ['a', 'b']\n[[provider]]\nissuer = 'http://a'\nclient_id = 'x'\nclient_secret = 'c'\n\
         [ldap]\naddress = ['ldap://a']\nbase_dn = 'dc=a'\nbind_password = 'd'\n[[issuer]]\nname = 'i'\nsecret = 'e'\nclient_secret = 'f'\n",
    )
    .expect("settings");
    assert_eq!(
        settings.known_secrets().map(|secret| secret.expose()).collect::<Vec<_>>(),
        ["a", "b", "c", "e", "f", "d"]
    );
}

#[test]
fn a_mask_that_was_pasted_is_not_taken_for_the_secret() {
    let place = Place::new();
    place.file("masked", "********\n");
    for line in [
        "client_secret = \"********\"",
        "client_secret = \"(type the secret again)\"",
        "client_secret_file = \"masked\"",
    ] {
        let text = GOOD.replace("client_id", &format!("{line}\nclient_id"));
        let errors = place.load(&text, &[]).expect_err("refused").to_string();
        assert!(errors.contains("provider.client_secret: this ") && errors.contains("DW-7003"), "{line}\n{errors}");
    }
}

#[test]
fn a_first_route_that_takes_the_place_of_the_one_that_goes_without_saying_is_warned_of() {
    let console = "[[upstream]]\nname = \"console\"\nurl = \"http://127.0.0.1:1\"\n\
                   [[route]]\npath = \"/ops\"\nupstream = \"console\"\n";
    let warned =
        |more: &str| Place::new().load(&format!("{GOOD}{console}{more}"), &[]).expect("good").warnings.concat();
    let told = warned("");
    assert!(told.contains("no route leads to `app`") && told.contains("only while there is no [[route]]"), "{told}");
    assert_eq!(warned("[[route]]\npath = \"/\"\nupstream = \"app\"\n"), "");
}
