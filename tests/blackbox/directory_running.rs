//! A directory in operation: many people at once, one that hangs or goes away, passwords of programs, and settings that are
//! tried before anybody signs in.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use serde_json::Value;

use super::directory::{basic, scene, scene_at, scene_of, send, signs_in};
use crate::support::app::App;
use crate::support::gateway::Config;
use crate::support::person::{CURL, Person};
use crate::support::setup::{ROUTES, upstream_table};
use crate::support::slapd::{BASE, PEOPLE, READER, READER_PASSWORD, Setup, Slapd, password, person};
use crate::support::{PATIENCE, eventually};

const API: &str = "[[route]]\npath = '/api'\naccess = 'signed-in-or-bearer'\nbasic = 'ldap'\n\
    [[route]]\npath = '/keys'\naccess = 'bearer'\n[[service_account]]\nname = 'ci'\n";

#[tokio::test]
async fn fifty_sign_in_at_once_while_others_are_served() {
    let scene = scene("concurrent_sign_ins = 30\n", "").await;
    let all = (0..50).map(|n| {
        let (gateway, uid) = (&scene.gateway, PEOPLE[n % PEOPLE.len()].0);
        async move { send(gateway, &Person::new(), uid, &password(uid)).await }
    });
    let others = (0..50).map(|_| async { Person::new().open(&scene.gateway.url("/public")).await.status });
    let (answers, statuses) = tokio::join!(futures::future::join_all(all), futures::future::join_all(others));
    for answer in answers {
        answer.expect(200);
    }
    assert!(statuses.iter().all(|status| *status == 200), "{statuses:?}");
}

#[tokio::test]
async fn a_directory_that_hangs_costs_its_own_sign_ins_alone_and_comes_back() {
    let slapd = Slapd::start().await;
    // Long enough for one that does not hang, as a rule: what is in between is tried until it is done.
    let table = format!("{}concurrent_sign_ins = 2\n", slapd.table().replace("\"40s\"", "\"1s\""));
    let scene = scene_at(slapd, &table, "").await;
    let known = Person::new();
    let bob_signs_in = async |person: &Person| {
        eventually("bob signs in", || async {
            (send(&scene.gateway, person, "bob", &password("bob")).await.status == 200).then_some(())
        })
        .await;
    };
    bob_signs_in(&known).await;
    scene.slapd.signal("STOP");
    let hanging = (0..12).map(|n| async move { (n, Person::new()) });
    let hanging = futures::future::join_all(hanging).await;
    let tries = hanging.iter().map(|(_, person)| send(&scene.gateway, person, "ada", "x"));
    let (answers, ()) = tokio::join!(futures::future::join_all(tries), async {
        for _ in 0..20 {
            Person::new().open(&scene.gateway.url("/public")).await.expect(200);
            known.open(&scene.gateway.url("/page")).await.expect(200);
        }
    });
    let reasons: Vec<_> = answers.iter().map(|answer| (answer.status, answer.reason())).collect();
    let named = |(status, reason): &(u16, String)| *status == 503 && ["DW-6201", "DW-6205"].contains(&reason.as_str());
    assert!(reasons.iter().all(named) && reasons.iter().any(|(_, reason)| reason == "DW-6205"), "{reasons:?}");
    assert!(answers.iter().all(|answer| !answer.header("retry-after").is_empty()));
    // The directory is looked at each half minute or so: that may be longer than there is patience for anything else.
    let told = async {
        while scene.gateway.readyz().await.0 != 503 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(3 * PATIENCE, told).await.expect("/readyz says so");
    scene.slapd.signal("CONT");
    eventually("it is ready again", || async { (scene.gateway.readyz().await.0 == 200).then_some(()) }).await;
    bob_signs_in(&Person::new()).await;
}

#[tokio::test]
async fn a_directory_that_went_away_in_the_middle_is_told_and_found_again() {
    let scene = scene("", "").await;
    assert_eq!(signs_in(&scene, "bob", &password("bob")).await, "bob");
    scene.slapd.kill();
    let answer = send(&scene.gateway, &Person::new(), "bob", &password("bob")).await;
    assert_eq!((answer.status, answer.reason().as_str()), (503, "DW-6201"));
    assert!(answer.text().contains("tell whoever runs this site"), "{}", answer.text());
    scene.slapd.run().await;
    // The kept connection is broken; the next one is made without a word.
    assert_eq!(signs_in(&scene, "bob", &password("bob")).await, "bob");
    // What nobody could judge was no wrong try.
    assert_eq!(scene.gateway.metric("doorward_sign_ins_total", &["DW-3504"]).await, 0.0);
}

#[tokio::test]
async fn basic_authentication_counts_only_where_a_route_says_so() {
    let scene = scene("basic_cache = '60s'\n", API).await;
    basic(&scene.gateway, "/api", "Bob", &password("bob")).await.expect(200);
    let seen = scene.app.seen().pop().expect("a request");
    assert_eq!((seen.one("x-forwarded-user"), seen.one("authorization")), ("bob", ""));
    let (wrong, none) = (
        basic(&scene.gateway, "/api", "bob", "wrong").await,
        Person::new().request(Method::GET, &scene.gateway.url("/api"), &CURL, None).await,
    );
    assert_eq!((wrong.status, wrong.reason().as_str()), (401, "DW-3501"));
    for answer in [&wrong, &none] {
        let ways: Vec<_> = answer.headers.get_all("www-authenticate").iter().filter_map(|v| v.to_str().ok()).collect();
        assert!(ways.iter().any(|way| way.starts_with("Bearer")) || answer.status == 401, "{ways:?}");
        assert!(ways.iter().any(|way| way.starts_with("Basic realm=\"doorward\"")), "{ways:?}");
    }
    for path in ["/keys", "/page"] {
        let answer = basic(&scene.gateway, path, "bob", &password("bob")).await;
        assert_eq!(answer.status, 401, "{path}");
    }
    assert!(!scene.slapd.log().join("\n").contains("/keys"));
    // A person's session counts there as well, and nobody is sent to a form by a bad password.
    assert_eq!(signs_in(&scene, "ada", &password("ada")).await, "ada");
}

#[tokio::test]
async fn a_right_password_is_not_asked_about_again_for_a_while_and_a_wrong_one_always() {
    let scene = scene("basic_cache = '10h'\n", API).await;
    for _ in 0..5 {
        basic(&scene.gateway, "/api", "bob", &password("bob")).await.expect(200);
    }
    for _ in 0..3 {
        assert_eq!(basic(&scene.gateway, "/api", "bob", "wrong").await.reason(), "DW-3501");
    }
    scene.gateway.log_line(&["audit", "basic", "deny", "DW-3501", "route=/api"]).await;
    // Whoever comes after them is the last that the directory hears of.
    basic(&scene.gateway, "/api", "ada", &password("ada")).await.expect(200);
    let ada = |binds: &Vec<String>| binds.last().is_some_and(|dn| dn.starts_with("cn=Ada"));
    let binds = eventually("ada's bind", || async { Some(scene.slapd.binds()).filter(ada) }).await;
    assert_eq!(binds.len(), 1 + 3 + 1, "{binds:?}");
    let text = scene.gateway.log_text();
    assert!(
        !text.contains("bob-secret") && !text.contains(&STANDARD.encode("bob:bob-secret")),
        "a password is in the log"
    );
}

#[tokio::test]
async fn nobody_is_a_service_account_by_a_password() {
    let ldif = person("ci", "uid=ci", "ou=people", "");
    let scene = scene_of(Slapd::start_with(Setup { ldif, ..Setup::default() }).await, "", API).await;
    let by_form = send(&scene.gateway, &Person::new(), "ci", &password("ci")).await;
    let by_basic = basic(&scene.gateway, "/api", "ci", &password("ci")).await;
    for answer in [by_form, by_basic] {
        assert_eq!((answer.status, answer.reason().as_str()), (403, "DW-3509"));
    }
    scene.gateway.log_line(&["the name of a service account"]).await;
}

#[tokio::test]
async fn basic_authentication_has_the_form_s_limits() {
    let tables = format!("{API}[attempts]\nper_account = 2\n");
    let scene = scene("", &tables).await;
    for _ in 0..2 {
        assert_eq!(basic(&scene.gateway, "/api", "bob", "wrong").await.reason(), "DW-3501");
    }
    let answer = basic(&scene.gateway, "/api", "bob", &password("bob")).await;
    assert_eq!((answer.status, answer.reason().as_str()), (429, "DW-3504"));
    assert!(!answer.header("retry-after").is_empty());
    assert_eq!(send(&scene.gateway, &Person::new(), "bob", &password("bob")).await.reason(), "DW-3504");
}

#[tokio::test]
async fn login_false_tests_the_settings_says_what_it_found_and_offers_no_form() {
    let slapd = Slapd::start().await;
    let app = App::start().await;
    let mut config = Config::new().add(&upstream_table(&app.url())).add("[[route]]\naccess = 'public'\n");
    let say = |config: &mut Config, name: &str, value: &str| config.env.push((name.into(), value.into()));
    for (name, value) in [
        ("LOCAL_LDAP_ADDRESS", slapd.url().as_str()),
        ("LOCAL_LDAP_BASE_DN", BASE),
        ("LOCAL_LDAP_BIND_DN", READER),
        ("LOCAL_LDAP_BIND_PW", READER_PASSWORD),
        ("LOCAL_LDAP_ATTRIBUTES", "email=mail,group=gidNumber"),
        ("LOCAL_LDAP_LOGIN", "False"),
    ] {
        say(&mut config, name, value);
    }
    let gateway = config.start().await;
    let line = gateway.log_line(&["the directory answers", "5 entries and more with uid or mail"]).await;
    assert!(line.contains(READER) && line.contains("login=false"), "{line}");
    let (status, ready) = gateway.readyz().await;
    assert_eq!((status, &ready["directories"][0]["login"]), (200, &Value::Bool(false)));
    // The address is the app's.
    Person::new().open(&gateway.url("/oidc/password")).await.expect(200);
    assert_eq!(app.seen().last().map(|seen| seen.target.clone()).as_deref(), Some("/oidc/password"));
}

#[tokio::test]
async fn a_directory_that_is_only_tested_starts_alone_and_lets_nobody_in() {
    let (slapd, app) = (Slapd::start().await, App::start().await);
    let config = Config::new().add(&format!("{}login = false\n", slapd.table())).add(&upstream_table(&app.url()));
    let gateway = config.start().await;
    gateway.log_line(&["the directory answers", "login=false"]).await;
    let answer = Person::new().browse(&gateway.url("/")).await;
    assert_eq!((answer.status, answer.reason().as_str()), (401, "DW-3001"));
    assert!(app.seen().is_empty(), "{:?}", app.seen());
}

#[tokio::test]
async fn a_deployment_s_own_names_are_enough_to_sign_in_with() {
    let (slapd, app) = (Slapd::start().await, App::start().await);
    let mut config = Config::new().add(&upstream_table(&app.url())).add(ROUTES);
    for (name, value) in [
        ("LOCAL_LDAP_ADDRESS", slapd.url().as_str()),
        ("LOCAL_LDAP_BASE_DN", BASE),
        ("LOCAL_LDAP_BIND_DN", ""),
        ("LOCAL_LDAP_BIND_PW", ""),
        ("LOCAL_LDAP_ATTRIBUTES", "email=mail,group=memberOf"),
        ("LOCAL_LDAP_TLS_ENABLE", "True"),
        ("LOCAL_LDAP_GROUP_ALLOW_LIST", &format!("cn=admins,ou=groups,{BASE}")),
        ("LOCAL_LDAP_LOGIN", "True"),
        ("DOORWARD_LDAP_CA_FILE", slapd.ca_file().to_str().expect("UTF-8")),
        ("DOORWARD_LDAP_CONNECT_TIMEOUT", "40s"),
        ("DOORWARD_LDAP_TIMEOUT", "40s"),
    ] {
        config.env.push((name.into(), value.into()));
    }
    let gateway = config.start().await;
    gateway.ready().await;
    gateway.log_line(&["the directory answers", "with StartTLS, anonymous"]).await;
    for name in ["ada", "ada@example.org"] {
        let person = Person::new();
        send(&gateway, &person, name, &password("ada")).await.expect(200);
        person.open(&gateway.url("/page")).await.expect(200);
        let seen = app.seen().pop().expect("a request");
        assert_eq!((seen.one("x-forwarded-user"), seen.one("x-forwarded-email")), ("ada", "ada@example.org"));
    }
    assert_eq!(send(&gateway, &Person::new(), "bob", &password("bob")).await.reason(), "DW-3507");
}

#[tokio::test]
async fn what_is_wrong_with_the_settings_is_found_before_anybody_signs_in() {
    let slapd = Slapd::start().await;
    let app = App::start().await;
    let table = |base: &str, password: &str| {
        format!(
            "[ldap]\naddress = [{:?}]\nbase_dn = {base:?}\nbind_dn = {READER:?}\nbind_password = {password:?}\n",
            slapd.url()
        )
    };
    for (table, words) in [
        (table("dc=other,dc=org", READER_PASSWORD), ["DW-6204", "dc=other,dc=org"]),
        (
            format!("{}group_base_dn = 'ou=gruppen,{BASE}'\n", table(BASE, READER_PASSWORD)),
            ["DW-6204", "group_base_dn"],
        ),
        (table(BASE, "wrong"), ["DW-6203", "invalidCredentials"]),
        (table(BASE, READER_PASSWORD).replace(&slapd.port.to_string(), "9"), ["DW-6201", "refused"]),
    ] {
        let gateway = Config::new().add(&table).add(&upstream_table(&app.url())).add(ROUTES).start().await;
        gateway.log_line(&words).await;
        let (status, ready) = gateway.readyz().await;
        assert_eq!((status, ready["directories"][0]["reason"].as_str()), (503, Some(words[0])));
        let answer = send(&gateway, &Person::new(), "ada", &password("ada")).await;
        assert_eq!((answer.status, answer.reason().as_str()), (503, words[0]));
    }
    // Whom nobody is found by is told loudly, and does not stop the start: the first person may come tomorrow.
    let nobody = format!("{}user_attribute = ['employeeNumber']\n", table(BASE, READER_PASSWORD));
    let gateway = Config::new().add(&nobody).add(&upstream_table(&app.url())).add(ROUTES).start().await;
    gateway.log_line(&["warn", "nobody can sign in", "employeeNumber"]).await;
    let (status, ready) = gateway.readyz().await;
    let warning = ready["directories"][0]["warning"].as_str().unwrap_or_default();
    assert!(status == 200 && warning.contains("user_attribute"), "{ready}");
    // Anonymously, where the directory lets everybody search.
    let anonymous = format!("[ldap]\naddress = ['ldap://127.0.0.3:9', {:?}]\nbase_dn = {BASE:?}\n", slapd.url());
    let scene = scene_at(slapd, &anonymous, "").await;
    assert_eq!(signs_in(&scene, "ada", &password("ada")).await, "ada");
}

#[tokio::test]
async fn an_entry_without_the_attribute_that_names_people_is_told() {
    let ldif = person("double", "uid=double", "ou=people", "uid: second\n");
    let slapd = Slapd::start_with(Setup { ldif, ..Setup::default() }).await;
    let scene = scene_of(slapd, "", "").await;
    let answer = send(&scene.gateway, &Person::new(), "second", &password("double")).await;
    assert_eq!((answer.status, answer.reason().as_str()), (403, "DW-3509"));
    scene.gateway.log_line(&["audit", "DW-3509", "several values of `uid`"]).await;
}

#[tokio::test]
async fn a_route_that_wants_a_recent_sign_in_shows_the_form_again() {
    let routes = "[[route]]\npath = '/today'\nmax_age = '10h'\nprovider = 'ldap'\n\
        [[route]]\npath = '/recent'\nmax_age = '10s'\nprovider = 'ldap'\n\
        [[route]]\npath = '/strong'\nacr_values = ['gold']\n";
    let scene = scene("", routes).await;
    let person = Person::new();
    send(&scene.gateway, &person, "bob", &password("bob")).await.expect(200);
    person.open(&scene.gateway.url("/today")).await.expect(200);
    eventually("the sign-in is too old", || async {
        let answer = person.open(&scene.gateway.url("/recent?x")).await;
        answer.location().map(|there| assert!(there.as_str().contains("/oidc/password?return_to=%2Frecent%3Fx")))
    })
    .await;
    // The session itself goes on; and a directory vouches for no kind of sign-in.
    person.open(&scene.gateway.url("/today")).await.expect(200);
    assert_eq!(person.open(&scene.gateway.url("/strong")).await.reason(), "DW-5005");
}
