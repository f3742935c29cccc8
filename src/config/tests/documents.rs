//! What docs/ and the README show of configurations can be used as it stands there.

use super::*;

/// The blocks of TOML in a page of docs/.
fn blocks(page: &str) -> Vec<String> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(page);
    let text = std::fs::read_to_string(&page).unwrap_or_else(|error| panic!("{}: {error}", page.display()));
    text.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).map(str::to_owned).collect()
}

#[test]
fn every_preset_has_a_page_whose_configurations_are_good() {
    let place = Place::new();
    let made = rcgen::generate_simple_self_signed(["app.example.com".into()]).expect("a certificate");
    for (name, text) in [
        ("client.secret", "0123456789abcdef0123456789abcdef".to_owned()),
        ("client.key", made.signing_key.serialize_pem()),
        ("client.pem", made.cert.pem()),
    ] {
        place.file(name, &text);
    }
    let all = crate::config::shape::settings().field("provider").expect("a key").shape.clone();
    let shape::Shape::List(inner) = all else { panic!("a list") };
    let shape::Shape::Table(provider) = *inner else { panic!("of tables") };
    let Some(shape::Shape::Choice(presets)) = provider.field("provider").map(|field| &field.shape) else {
        panic!("a choice")
    };
    let index = blocks("providers.md");
    assert_eq!((presets.len(), index.len()), (13, 1));
    let pages = presets.iter().flat_map(|preset| {
        let found = blocks(&format!("providers/{}.md", preset.word));
        assert!(!found.is_empty(), "{}", preset.word);
        found
    });
    for block in pages.chain(index.clone()) {
        let text = format!(
            "public_url = \"https://app.example.com\"\nsecrets = [\"0123456789abcdef0123456789abcdef\"]\n\
             {block}\n[[upstream]]\nurl = \"http://127.0.0.1:3000\"\n"
        );
        match place.load(&text, &[]) {
            Ok(config) => assert_eq!(config.warnings, [""; 0], "{block}"),
            Err(errors) => panic!("{block}\n{errors}"),
        }
    }
}

#[test]
fn the_configurations_in_the_page_about_tokens_are_good() {
    let place = Place::new();
    place.file("cluster-keys.json", "{\"keys\":[]}");
    let blocks = blocks("tokens.md");
    assert!(blocks.len() > 10, "{}", blocks.len());
    for block in blocks {
        let text = format!(
            "public_url = \"https://app.example.com\"\nsecrets = [\"0123456789abcdef0123456789abcdef\"]\n\
             {block}\n[[upstream]]\nurl = \"http://127.0.0.1:3000\"\n"
        );
        let provider = "[[provider]]\nissuer = \"https://people.example.com\"\nclient_id = \"app\"\n";
        // People sign in somewhere, unless the block is about routes for programs alone.
        let text = if block.contains("[[provider]]") { text } else { format!("{text}{provider}") };
        if let Err(errors) = place.load(&text, &[]) {
            panic!("{block}\n{errors}");
        }
    }
}

/// The files that configurations in docs/ name.
const FILES: [&str; 6] =
    ["doorward.secret", "session.secret", "client.secret", "ldap.secret", "secrets/session", "secrets/client"];

/// A place with them.
fn with_files() -> Place {
    let place = Place::new();
    std::fs::create_dir(place.0.path().join("secrets")).expect("a directory");
    for name in FILES {
        place.file(name, "0123456789abcdef0123456789abcdef\n");
    }
    place
}

#[test]
fn every_whole_configuration_in_docs_is_good() {
    let place = with_files();
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let entries = std::fs::read_dir(docs).expect("docs/").flatten().map(|entry| entry.file_name());
    let mut pages: Vec<_> = entries.filter_map(|name| name.into_string().ok()).filter(|n| n.ends_with(".md")).collect();
    pages.push("../README.md".into());
    let mut found = Vec::new();
    for page in pages {
        for block in blocks(&page).into_iter().filter(|block| block.contains("public_url =")) {
            // What is absolute in the page is beside the file here.
            match place.load(&block.replace("/etc/doorward/", ""), &[]) {
                Ok(config) => assert_eq!(config.warnings, [""; 0], "{page}\n{block}"),
                Err(errors) => panic!("{page}\n{block}\n{errors}"),
            }
            found.push(page.clone());
        }
    }
    for page in ["ldap.md", "getting-started.md", "wandb.md", "../README.md"] {
        assert!(found.iter().any(|found| found == page), "{page} of {found:?}");
    }
}

/// The words of `text` that begin as our variables do, as far as they are names and not the beginning of some.
fn variables_in(text: &str) -> Vec<&str> {
    let word = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    let words = text.split(|c: char| !word(c)).filter(|word| word.starts_with("DOORWARD_"));
    words.filter(|name| !name.ends_with('_')).collect()
}

#[test]
fn every_variable_that_the_docs_name_is_one() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut pages = vec![root.join("README.md"), root.join("gateway.toml"), root.join("docker-compose.yml")];
    let mut folders = vec![root.join("docs"), root.join("deploy"), root.join("examples")];
    while let Some(folder) = folders.pop() {
        for path in std::fs::read_dir(&folder).expect("a folder").flatten().map(|entry| entry.path()) {
            match path.is_dir() {
                true => folders.push(path),
                false => pages.push(path),
            }
        }
    }
    // What Kubernetes sets, and what a repository's jobs and Keycloak are given.
    let of_others = ["DOORWARD_SERVICE_HOST", "DOORWARD_PORT", "DOORWARD_KEY", "DOORWARD_CLIENT_SECRET"];
    let mut named = 0;
    for page in pages {
        // Pictures have no words.
        let Ok(text) = std::fs::read_to_string(&page) else { continue };
        for name in variables_in(&text) {
            named += 1;
            assert!(of_others.contains(&name) || super::environment::is_known(name), "{name} in {}", page.display());
        }
    }
    assert!(named > 100, "{named}");
}

#[test]
fn the_parts_of_configurations_about_directories_and_the_way_in_are_good() {
    let place = with_files();
    let head = "public_url = \"https://app.example.com\"\nsecrets = [\"0123456789abcdef0123456789abcdef\"]\n\
        [[upstream]]\nurl = \"http://127.0.0.1:3000\"\n";
    let issuer = "[[issuer]]\nname = \"ci\"\nissuer = \"https://ci.example.com\"\naudiences = [\"a\"]\n";
    let ldap = "[ldap]\naddress = [\"ldaps://ldap.example.com\"]\nbase_dn = \"dc=example,dc=com\"\n\
        bind_dn = \"cn=reader,dc=example,dc=com\"\nbind_password_file = \"ldap.secret\"\n";
    let parts: Vec<_> = ["ldap.md", "way-in.md"].iter().flat_map(|page| blocks(page)).collect();
    assert!(parts.len() > 5, "{}", parts.len());
    for part in parts.iter().filter(|part| !part.contains("public_url =")) {
        let ldap = if part.contains("[ldap]") { "" } else { ldap };
        let issuer = if part.contains("bearer") { issuer } else { "" };
        match place.load(&format!("{head}{issuer}{ldap}{part}"), &[]) {
            Ok(config) => assert_eq!(config.warnings, [""; 0], "{part}"),
            Err(errors) => panic!("{part}\n{errors}"),
        }
    }
}
