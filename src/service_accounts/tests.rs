//! Keys that are good, and all the ways in which one is not.

use super::file::RevokedToken;
use super::*;
use crate::config::Config;

const NOW: u64 = 1_795_316_901;

struct Scene {
    dir: tempfile::TempDir,
    accounts: ServiceAccounts,
}

const ACCOUNTS: &str = r#"
[[service_account]]
name = "ci"
email = "ci@example.com"
groups = ["engineering"]
acts_for = ["ada", "Grace@Example.com", "@example.org"]

[[service_account]]
name = "robot"
external_issuer = "outside"
external_subject = "repo:a/b"
"#;

impl Scene {
    fn new(keys: impl FnOnce(&mut KeysFile)) -> Scene {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("gateway.toml");
        let text = format!(
            "public_url = \"http://127.0.0.1:8080\"\n[[upstream]]\nurl = \"http://127.0.0.1:9\"\n[[issuer]]\nname = \
             \"outside\"\nissuer = \"https://outside.example\"\naudiences = [\"a\"]\n[[route]]\naccess = \"bearer\"\n{ACCOUNTS}"
        );
        std::fs::write(&path, text).expect("gateway.toml");
        change(&dir, keys);
        Scene { accounts: read(&dir), dir }
    }

    fn code(&self, key: &[u8], now: u64) -> Reason {
        self.accounts.judge(key, now).expect_err("refused").reason
    }
}

/// The accounts as a start or a reload reads them.
fn read(dir: &tempfile::TempDir) -> ServiceAccounts {
    let config = Config::load(Some(&dir.path().join("gateway.toml")), &[]).expect("a good configuration");
    let headers = IdentityHeaders::new(&config.settings.headers);
    ServiceAccounts::new(&config.settings, config.file.as_deref(), &headers).expect("accounts")
}

fn change(dir: &tempfile::TempDir, keys: impl FnOnce(&mut KeysFile)) {
    let change = |file: &mut KeysFile| {
        keys(file);
        Ok(())
    };
    KeysFile::change(&dir.path().join(file::DEFAULT_FILE), change).expect("written");
}

/// A new key, and its entry.
fn key(account: &str, expires: Option<u64>) -> (Vec<u8>, KeyEntry) {
    let key = key::make().expect("random").expose().as_bytes().to_vec();
    let digest = key::digest(&key);
    let entry = KeyEntry {
        id: key::id_of(&digest),
        account: account.into(),
        digest,
        created: Moment(NOW),
        expires: expires.map(Moment),
        note: String::new(),
    };
    (key, entry)
}

#[test]
fn a_key_is_its_accounts_until_it_expires() {
    let ((first, a), (second, b)) = (key("ci", None), key("ci", Some(NOW + 10)));
    let scene = Scene::new(|file| file.keys = vec![a.clone(), b.clone()]);
    for key in [&first, &second] {
        let account = scene.accounts.judge(key, NOW + 9).expect("accepted");
        let who = &account.identity;
        assert_eq!((&*account.name, &*who.provider, &*who.user, &*who.subject), ("ci", OF_ACCOUNTS, "ci", "ci"));
        assert_eq!((who.email.as_deref(), who.email_verified), (Some("ci@example.com"), Some(true)));
        assert_eq!(who.groups.as_deref(), Some(&["engineering".to_owned()][..]));
        assert!(account.headers.iter().any(|(name, value)| name == "X-Forwarded-User" && value == "ci"));
    }
    assert_eq!(metrics().api_key_last_use.with_label_values(&["ci", &a.id]).get(), NOW as i64 + 9);
    assert!(scene.accounts.judge(&first, NOW * 2).is_ok());
    let failure = scene.accounts.judge(&second, NOW + 22).expect_err("expired");
    assert_eq!((failure.reason, failure.detail), (Reason::KeyExpired, format!("key '{}' expired 12 s ago", b.id)));
    assert_eq!(scene.code(&second, NOW + 10), Reason::KeyExpired);
}

#[test]
fn what_is_no_key_of_this_deployment_is_refused_by_name() {
    let ((mine, entry), (other, _), (orphan, of_gone)) = (key("ci", None), key("ci", None), key("gone", None));
    let scene = Scene::new(|file| file.keys = vec![entry, of_gone]);
    assert_eq!(scene.code(&other, NOW), Reason::KeyUnknown);
    assert_eq!(scene.code(&mine[..mine.len() - 1], NOW), Reason::KeyMalformed);
    assert_eq!(scene.code(b"", NOW), Reason::KeyMalformed);
    let failure = scene.accounts.judge(&orphan, NOW).expect_err("no account");
    assert_eq!(failure.reason, Reason::AccountGone);
    assert!(failure.detail.contains("'gone'"), "{}", failure.detail);
    let told = |text: &str| String::from_utf8_lossy(&other).contains(text);
    let detail = scene.accounts.judge(&other, NOW).expect_err("unknown").detail;
    assert!(!detail.split('\'').any(|word| word.len() > 3 && told(word)), "{detail}");
}

#[test]
fn a_digest_that_begins_like_a_known_one_is_still_another() {
    let (mine, mut entry) = key("ci", None);
    entry.digest[31] ^= 1;
    let scene = Scene::new(|file| file.keys = vec![entry]);
    assert_eq!(scene.code(&mine, NOW), Reason::KeyUnknown);
}

#[test]
fn tokens_of_others_belong_to_the_account_by_issuer_and_subject() {
    let scene = Scene::new(|_| {});
    let name = |issuer: &str, subject: &str| scene.accounts.external(issuer, subject).map(|a| a.name.to_string());
    assert_eq!(name("outside", "repo:a/b").as_deref(), Some("robot"));
    assert_eq!(name("outside", "repo:a"), None);
    assert_eq!(name("elsewhere", "repo:a/b"), None);
    assert!(scene.accounts.get("ci").is_some() && scene.accounts.get("CI").is_none());
}

#[test]
fn an_account_acts_for_whom_the_configuration_lists_and_for_nobody_who_looks_like_them() {
    let scene = Scene::new(|_| {});
    let (ci, robot) = (scene.accounts.get("ci").expect("ci"), scene.accounts.get("robot").expect("robot"));
    for who in
        ["ada", "grace@example.com", "GRACE@EXAMPLE.COM", "x@example.org", "x.y+z@Example.ORG", "zoë@example.org"]
    {
        assert!(ci.may_act_for(who), "{who}");
        assert!(!robot.may_act_for(who), "{who}");
    }
    for who in [
        "",
        "Ada",
        "ada ",
        "ada@example.com",
        "@example.org",
        "example.org",
        "x@sub.example.org",
        "x@example.org.evil.example",
        "x@notexample.org",
        "grace@example.com@example.org",
        "root@example.com,x@example.org",
        "\"root@example.com\"@example.org",
        "x y@example.org",
        "<root>@example.org",
        "x@example.org ",
    ] {
        assert!(!ci.may_act_for(who), "{who}");
    }
}

#[test]
fn a_changed_file_is_in_force_and_a_broken_one_leaves_the_keys_as_they_were() {
    let ((first, a), (second, b)) = (key("ci", None), key("ci", None));
    let scene = Scene::new(|file| file.keys = vec![a.clone()]);
    scene.accounts.judge(&first, NOW).expect("accepted");
    change(&scene.dir, |file| {
        file.keys = vec![b];
        file.revoked = vec![
            RevokedToken { token_id: "t1".into(), until: None },
            RevokedToken { token_id: "t2".into(), until: Some(Moment(Moment::now().0 + 60)) },
            RevokedToken { token_id: "t3".into(), until: Some(Moment(Moment::now().0 - 60)) },
        ];
    });
    assert!(!scene.accounts.is_revoked("t1"));
    scene.accounts.read_again().expect("good");
    assert_eq!(scene.code(&first, NOW), Reason::KeyUnknown);
    let series = String::from_utf8(metrics().render()).expect("text");
    assert!(!series.contains(&a.id), "the series of a key ends with the key");
    for (token, revoked) in [("t1", true), ("t2", true), ("t3", false), ("t", false), ("", false)] {
        assert_eq!(scene.accounts.is_revoked(token), revoked, "{token}");
    }
    std::fs::write(&scene.accounts.file, "[[key]\n").expect("broken");
    let failure = scene.accounts.read_again().expect_err("broken");
    assert_eq!(failure.reason, Reason::ConfigInvalid);
    assert!(failure.detail.contains("api-keys.toml:1:"), "{}", failure.detail);
    scene.accounts.judge(&second, NOW).expect("still accepted");
    std::fs::remove_file(&scene.accounts.file).expect("removed");
    scene.accounts.read_again().expect("a missing file is no keys");
    assert_eq!(scene.code(&second, NOW), Reason::KeyUnknown);
}

#[test]
fn a_revoked_token_stays_revoked_while_the_file_is_gone() {
    let scene = Scene::new(|file| file.revoked = vec![RevokedToken { token_id: "t1".into(), until: None }]);
    let kept = std::fs::read(&scene.accounts.file).expect("file");
    std::fs::remove_file(&scene.accounts.file).expect("removed");
    for _ in 0..2 {
        scene.accounts.read_again().expect("a missing file is no keys");
        assert!(scene.accounts.is_revoked("t1"));
    }
    std::fs::write(&scene.accounts.file, kept).expect("back");
    scene.accounts.read_again().expect("good");
    assert!(scene.accounts.is_revoked("t1"));
    std::fs::write(&scene.accounts.file, "").expect("emptied");
    scene.accounts.read_again().expect("good");
    assert!(!scene.accounts.is_revoked("t1"), "a file that is there says it all");
}

#[test]
fn a_reload_while_the_file_is_gone_brings_no_revoked_token_back() {
    let scene = Scene::new(|file| file.revoked = vec![RevokedToken { token_id: "t1".into(), until: None }]);
    std::fs::remove_file(&scene.accounts.file).expect("removed");
    let reloaded = read(&scene.dir);
    assert!(!reloaded.is_revoked("t1"));
    reloaded.inherit(&scene.accounts);
    assert!(reloaded.is_revoked("t1"));
    // Where there is a file, it alone says what is revoked.
    change(&scene.dir, |file| file.revoked = vec![RevokedToken { token_id: "t2".into(), until: None }]);
    let reloaded = read(&scene.dir);
    reloaded.inherit(&scene.accounts);
    assert!(!reloaded.is_revoked("t1"));
}

#[test]
fn a_file_that_is_replaced_looks_different() {
    let scene = Scene::new(|file| file.keys = vec![key("ci", None).1]);
    let print = || Print::of(std::fs::metadata(&scene.accounts.file));
    assert_eq!(scene.accounts.first_seen, print());
    let text = std::fs::read(&scene.accounts.file).expect("file");
    // The same bytes and the same time, under another link: what Kubernetes does.
    let other = scene.dir.path().join("other");
    std::fs::write(&other, text).expect("file");
    std::fs::rename(&other, &scene.accounts.file).expect("renamed");
    assert_ne!(scene.accounts.first_seen, print());
    std::fs::remove_file(&scene.accounts.file).expect("removed");
    assert_eq!(print(), Print::Missing);
}
