//! Signing in with name and password against a real directory: OpenLDAP's slapd.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;

use crate::support::app::App;
use crate::support::eventually;
use crate::support::forms::Form;
use crate::support::gateway::{Config, Gateway};
use crate::support::person::{Answer, CURL, NAVIGATION, Person};
use crate::support::setup::{ROUTES, upstream_table};
use crate::support::slapd::{BASE, HOST, PEOPLE, READER, Setup, Slapd, password, person};

/// Directory, app and gateway that belong together.
pub struct Scene {
    pub slapd: Slapd,
    pub app: App,
    pub gateway: Gateway,
}

pub async fn scene(ldap: &str, tables: &str) -> Scene {
    scene_of(Slapd::start().await, ldap, tables).await
}

pub async fn scene_of(slapd: Slapd, ldap: &str, tables: &str) -> Scene {
    let table = format!("{}{ldap}\n", slapd.table());
    scene_at(slapd, &table, tables).await
}

pub async fn scene_at(slapd: Slapd, table: &str, tables: &str) -> Scene {
    let app = App::start().await;
    let config = Config::new().add(table).add(&upstream_table(&app.url())).add(&format!("{ROUTES}{tables}"));
    let gateway = config.start().await;
    gateway.ready().await;
    Scene { slapd, app, gateway }
}

/// The form's answer, before it is followed.
pub async fn send(gateway: &Gateway, person: &Person, user: &str, password: &str) -> Answer {
    let shown = person.browse(&gateway.url("/page?x=1")).await;
    fill_in(person, shown.expect(200), user, password).await
}

/// Fills the form of `shown` in and sends it as a browser does.
pub async fn fill_in(person: &Person, shown: &Answer, user: &str, password: &str) -> Answer {
    let form = Form::of(&shown.text()).unwrap_or_else(|| panic!("no form: {}", shown.text()));
    let pairs = [("state", form.get("state")), ("user", user), ("password", password)];
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
    let action = shown.url.join(&form.action).expect("an action");
    let mut headers = NAVIGATION.to_vec();
    headers.retain(|(name, _)| *name != "sec-fetch-site");
    let origin = action.origin().ascii_serialization();
    headers.extend([("sec-fetch-site", "same-origin"), ("origin", &origin)]);
    person.request(Method::POST, action.as_str(), &headers, Some(body)).await
}

/// Who the app says is there, by its own echo of the headers.
pub fn user_of(app: &App, header: &str) -> String {
    app.seen().last().map(|seen| seen.one(header).to_owned()).unwrap_or_default()
}

pub async fn signs_in(scene: &Scene, user: &str, password: &str) -> String {
    let person = Person::new();
    send(&scene.gateway, &person, user, password).await.expect(200);
    person.open(&scene.gateway.url("/page")).await.expect(200);
    user_of(&scene.app, "x-forwarded-user")
}

/// `Authorization: Basic` as curl sends it.
pub async fn basic(gateway: &Gateway, path: &str, user: &str, password: &str) -> Answer {
    let value = format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
    let mut headers = CURL.to_vec();
    headers.push(("authorization", &value));
    Person::new().request(Method::GET, &gateway.url(path), &headers, None).await
}

/// What slapd did about the one who is called `user`, in the `nth` bind but for the gateway's own, without what differs from
/// one to the next: the steps of the search by name and of the bind's connection, once it has done and told all of them.
async fn steps(slapd: &Slapd, user: &str, nth: usize) -> Vec<String> {
    let has = |line: &str, id: &str| line.contains(&format!("{id} "));
    let lines = eventually(&format!("all that is done about {user}"), || async {
        let log = slapd.log();
        let words = |line: &str, count| {
            Some(line[line.find("conn=")?..].splitn(count + 1, ' ').take(count).collect::<Vec<_>>().join(" "))
        };
        let search = words(log.iter().find(|line| line.contains(&format!("filter=\"(uid={user})\"")))?, 2)?;
        let mut binds = log.iter().filter(|line| line.contains(" method=128") && !line.contains(READER));
        let bind = words(binds.nth(nth)?, 1)?;
        let mut lines = log;
        lines.retain(|line| has(line, &search) || has(line, &bind));
        let over = |id: &str, word: &str| lines.iter().any(|line| has(line, id) && line.contains(word));
        (over(&search, "SEARCH RESULT") && over(&bind, "closed")).then_some(lines)
    })
    .await;
    let step = |line: &String| {
        let operation = line.split(" op=").nth(1)?.split_once(' ')?.1;
        let kind = operation.split(' ').next()?;
        let kept = matches!(kind, "SRCH" | "BIND" | "RESULT" | "SEARCH" | "UNBIND").then_some(kind)?;
        let code = operation.split_whitespace().find(|word| word.starts_with("err=")).unwrap_or_default();
        // There is no such entry, or it takes no password: for us a wrong one.
        Some(format!("{kept} {}", code.replace("err=48", "err=49").replace("err=53", "err=49")))
    };
    let mut steps: Vec<_> = lines.iter().filter_map(step).collect();
    // Lines of several threads of slapd come in no order.
    steps.sort_unstable();
    steps
}

#[tokio::test]
async fn somebody_signs_in_by_the_form_and_the_app_is_told_what_the_directory_says() {
    let scene = scene("attributes = { groups = 'memberOf' }\n", "").await;
    let person = Person::new();
    let shown = person.browse(&scene.gateway.url("/page?x=1")).await;
    assert!(shown.url.path() == "/oidc/password" && shown.text().contains("Afterwards you return to"), "{}", shown.url);
    assert_eq!(shown.header("referrer-policy"), "same-origin");
    let answer = fill_in(&person, &shown, " ADA ", &password("ada")).await;
    answer.expect(200);
    assert!(answer.text().contains("url=/page?x=1"), "{}", answer.text());
    person.open(&scene.gateway.url("/page")).await.expect(200);
    let seen = scene.app.seen().pop().expect("a request");
    assert_eq!(seen.one("x-forwarded-user"), "ada");
    assert_eq!(seen.one("x-forwarded-email"), "ada@example.org");
    assert_eq!(seen.one("x-forwarded-groups"), "cn=admins%2Cou=groups%2Cdc=example%2Cdc=org");
    scene.gateway.log_line(&["audit", "sign_in", "allow", "user=ada", "provider=ldap"]).await;
    assert!(!scene.gateway.log_text().contains("ada-secret"), "the password is in the log");
    assert_eq!(scene.gateway.metric("doorward_sign_ins_total", &["step=\"password\"", "outcome=\"ok\""]).await, 1.0);
    let (_, ready) = scene.gateway.readyz().await;
    assert_eq!((&ready["directories"][0]["ready"], &ready["directories"][0]["login"]), (&true.into(), &true.into()));
    // Signing out ends it, and says nothing of a provider that remembers.
    let out = person.browse(&scene.gateway.url("/logout")).await;
    assert!(out.text().contains("signed out") && !out.text().contains("may still remember"), "{}", out.text());
    assert_eq!(person.open(&scene.gateway.url("/page")).await.status, 303);
}

#[tokio::test]
async fn names_with_every_character_sign_in_and_are_found_in_their_groups() {
    let groups = format!("group_base_dn = 'ou=groups,{BASE}'\n");
    let scene = scene(&groups, "").await;
    for (uid, _) in PEOPLE {
        assert_eq!(signs_in(&scene, uid, &password(uid)).await, uid, "{uid}");
        let wanted = match uid {
            "ada" => "admins",
            "bob" => "posix,staff",
            "o'brien (x)" => "quotes",
            _ => "",
        };
        let groups = user_of(&scene.app, "x-forwarded-groups");
        let mut groups: Vec<_> = groups.split(',').collect();
        groups.sort_unstable();
        assert_eq!(groups.join(","), wanted, "{uid}");
    }
}

#[tokio::test]
async fn tls_is_verified_from_the_first_byte_or_by_starttls() {
    for (start_tls, host_named) in [(false, true), (true, true), (false, false), (true, false)] {
        let certificate = (!host_named).then(|| vec!["other.example".to_owned()]);
        let slapd = Slapd::start_with(Setup { certificate, ..Setup::default() }).await;
        let address = if start_tls { slapd.url() } else { slapd.tls_url() };
        let keys = format!("start_tls = {start_tls}\nca_file = {:?}\n", slapd.ca_file());
        let table = format!("{}{keys}", slapd.table_at(&address));
        let app = App::start().await;
        let gateway = Config::new().add(&table).add(&upstream_table(&app.url())).add(ROUTES).start().await;
        if host_named {
            gateway.ready().await;
            let (_, ready) = gateway.readyz().await;
            let how = if start_tls { "with StartTLS" } else { "with TLS" };
            assert!(ready["directories"][0]["found"].as_str().is_some_and(|found| found.contains(how)), "{ready}");
            send(&gateway, &Person::new(), "ada", &password("ada")).await.expect(200);
            let log = slapd.log_with(&["BIND dn=\"cn=Ada"]).await.join("\n");
            assert!(log.contains("TLS established"), "{log}");
            // Nothing is asked before TLS but TLS itself.
            for bind in log.lines().filter(|line| line.contains("BIND dn=") || line.contains("SRCH ")) {
                let id = bind.split_whitespace().find(|word| word.starts_with("conn=")).expect("an id");
                let own = |line: &str| line.split_whitespace().any(|word| word == id);
                let tls = log.lines().position(|line| own(line) && line.contains("TLS established"));
                assert!(tls.is_some() && tls < log.lines().position(|line| line == bind), "{bind}\n{log}");
            }
        } else {
            gateway.log_line(&["DW-6202"]).await;
            assert_eq!(gateway.readyz().await.0, 503);
            let answer = send(&gateway, &Person::new(), "ada", &password("ada")).await;
            assert_eq!((answer.status, answer.reason().as_str()), (503, "DW-6202"), "{}", answer.text());
            assert!(!slapd.log().join("\n").contains("BIND dn="), "something was said without trust");
        }
    }
}

#[tokio::test]
async fn an_authority_that_is_not_named_is_not_believed() {
    let slapd = Slapd::start().await;
    let app = App::start().await;
    let table = slapd.table_at(&slapd.tls_url());
    let gateway = Config::new().add(&table).add(&upstream_table(&app.url())).add(ROUTES).start().await;
    gateway.log_line(&["DW-6202"]).await;
    let answer = send(&gateway, &Person::new(), "ada", &password("ada")).await;
    assert_eq!(answer.reason(), "DW-6202");
}

#[tokio::test]
async fn unknown_names_and_wrong_passwords_take_the_same_steps_and_get_the_same_answer() {
    let scene = scene("", "").await;
    let mut seen = Vec::new();
    for (nth, user) in ["bob", "nobody-is-called-so", "mute"].into_iter().enumerate() {
        let answer = send(&scene.gateway, &Person::new(), user, "wrong").await;
        assert_eq!((answer.status, answer.reason().as_str()), (401, "DW-3501"), "{user}");
        // What is random first: it may have the name in it.
        let page = answer.text();
        let state = Form::of(&answer.text()).expect("a form").get("state").to_owned();
        let reference = page.split("reference <span class=\"code\">").nth(1).and_then(|rest| rest.split('<').next());
        let page = page.replace(reference.expect("a reference"), "REFERENCE").replace(&state, "STATE");
        seen.push((page.replace(user, "NAME"), steps(&scene.slapd, user, nth).await));
    }
    for other in &seen[1..] {
        assert_eq!(seen[0].1, other.1);
        assert!(seen[0].0 == other.0, "the pages differ");
    }
    for kind in ["SRCH", "BIND", "UNBIND"] {
        assert!(seen[0].1.iter().any(|step| step.starts_with(kind)), "{:?}", seen[0].1);
    }
}

#[tokio::test]
async fn an_empty_password_never_binds() {
    // A directory that takes such binds, as many do.
    let setup = Setup { global: "allow bind_anon_cred bind_anon_dn\n".into(), ..Setup::default() };
    let scene =
        scene_of(Slapd::start_with(setup).await, "", "[[route]]\npath = '/api'\naccess = 'bearer'\nbasic = 'ldap'\n")
            .await;
    for password in ["", "\0"] {
        let answer = send(&scene.gateway, &Person::new(), "ada", password).await;
        assert_eq!((answer.status, answer.reason().as_str()), (401, "DW-3501"), "{password:?}");
    }
    let answer = basic(&scene.gateway, "/api", "ada", "").await;
    assert_eq!((answer.status, answer.reason().as_str()), (401, "DW-8014"));
    // What is to be done is what was meant: a password.
    let text = answer.text();
    assert!(text.contains("name and password") && !text.contains("has to be the key"), "{text}");
    // The next bind is the first.
    assert_eq!(signs_in(&scene, "bob", &password("bob")).await, "bob");
    let binds = scene.slapd.binds_made(1).await;
    assert_eq!(binds, [format!("uid=bob,ou=people,{BASE}")]);
}

#[tokio::test]
async fn what_is_typed_is_a_name_and_never_a_filter() {
    let scene = scene("", "").await;
    let mut before = scene.slapd.searches_made(1).await.len();
    for user in [
        "*",
        "a*",
        "ada)(uid=*",
        "*)(|(uid=*",
        "ada)(objectClass=*",
        "\\61da",
        "ada\\00",
        "(uid=ada)",
        "{user}",
        "{dn}",
    ] {
        let answer = send(&scene.gateway, &Person::new(), user, &password("ada")).await;
        assert_eq!((answer.status, answer.reason().as_str()), (401, "DW-3501"), "{user}");
        let searches = scene.slapd.searches_made(before + 1).await;
        let [filter] = &searches[before..] else { panic!("{user}: {searches:?}") };
        assert!(filter.starts_with("(uid=") && filter.matches('(').count() == 1, "{user}: {filter}");
        assert_ne!(filter, "(uid=*)", "{user}");
        before = searches.len();
    }
}

#[tokio::test]
async fn look_alikes_of_a_name_are_one_account_or_refused() {
    let scene = scene("", "").await;
    for typed in ["Bob", "bob ", "ｂｏｂ", "BOB", "\u{3000}bob", "𝐛𝐨𝐛"] {
        assert_eq!(signs_in(&scene, typed, &password("bob")).await, "bob", "{typed:?}");
    }
    for (typed, status, reason) in [
        ("bo\u{200b}b", 400, "DW-3505"),
        ("b\u{ad}ob", 400, "DW-3505"),
        ("\u{202e}bob", 400, "DW-3505"),
        ("bob\0", 400, "DW-3505"),
        ("", 400, "DW-3505"),
        ("b\u{43e}b", 401, "DW-3501"),
    ] {
        let answer = send(&scene.gateway, &Person::new(), typed, &password("bob")).await;
        assert_eq!((answer.status, answer.reason().as_str()), (status, reason), "{typed:?}");
    }
}

#[tokio::test]
async fn two_entries_of_one_name_are_refused_by_name_were_the_list_cut_short() {
    for global in ["", "sizelimit size.soft=1 size.hard=1\n"] {
        let setup = Setup { global: global.into(), ..Setup::default() };
        let slapd = Slapd::start_with(setup).await;
        let scene = scene_of(slapd, "", "").await;
        let answer = send(&scene.gateway, &Person::new(), "twin", &password("twin")).await;
        assert_eq!((answer.status, answer.reason().as_str()), (403, "DW-3506"), "{global}");
        send(&scene.gateway, &Person::new(), "ada", &password("ada")).await.expect(200);
    }
}

#[tokio::test]
async fn referrals_are_not_followed_and_an_entry_behind_one_is_none() {
    let elsewhere = tokio::net::TcpListener::bind((HOST, 0)).await.expect("a port");
    let port = elsewhere.local_addr().expect("an address").port();
    let ldif = format!(
        "dn: ou=elsewhere,{BASE}\nobjectClass: referral\nobjectClass: extensibleObject\nou: elsewhere\n\
         ref: ldap://{HOST}:{port}/ou=elsewhere,{BASE}\n\n"
    );
    let scene = scene_of(Slapd::start_with(Setup { ldif, ..Setup::default() }).await, "", "").await;
    // Its own people sign in although every search ends with the referral.
    assert_eq!(signs_in(&scene, "bob", &password("bob")).await, "bob");
    let answer = send(&scene.gateway, &Person::new(), "faraway", "x").await;
    assert_eq!(answer.reason(), "DW-3501");
    scene.gateway.log_line(&["audit", "DW-3501", "referral"]).await;
    let came = tokio::time::timeout(Duration::from_millis(300), elsewhere.accept()).await;
    assert!(came.is_err(), "the referral was followed");
}

#[tokio::test]
async fn groups_decide_who_may_and_are_bounded() {
    let member = |n: usize| format!("memberOf: cn=g{n},ou=groups,{BASE}\n");
    let mut many = person("many", "uid=many", "ou=people", &(0..30).map(member).collect::<String>());
    for n in 0..30 {
        let member = format!("member: uid=many,ou=people,{BASE}");
        many.push_str(&format!("dn: cn=g{n},ou=groups,{BASE}\nobjectClass: groupOfNames\ncn: g{n}\n{member}\n\n"));
    }
    let slapd = || Slapd::start_with(Setup { ldif: many.clone(), ..Setup::default() });
    let search = format!("group_base_dn = 'ou=groups,{BASE}'\n");
    for keys in [
        format!("{search}max_groups = 20\ngroup_allow_list = ['ADMINS', 'g1']\n"),
        "max_groups = 20\ngroup_names = 'first'\ngroup_allow_list = ['admins', 'g1']\n".to_owned(),
    ] {
        let scene = scene_of(slapd().await, &keys, "").await;
        assert_eq!(signs_in(&scene, "ada", &password("ada")).await, "ada");
        for (user, reason) in [("bob", "DW-3507"), ("many", "DW-3508")] {
            let answer = send(&scene.gateway, &Person::new(), user, &password(user)).await;
            assert_eq!((answer.status, answer.reason().as_str()), (403, reason), "{user} {keys}");
            // Whoever does not have the password learns nothing about the groups.
            assert_eq!(send(&scene.gateway, &Person::new(), user, "wrong").await.reason(), "DW-3501");
        }
    }
}

#[tokio::test]
async fn a_directory_that_locks_an_account_is_believed() {
    let policy = format!(
        "dn: cn=lock,ou=policies,{BASE}\nobjectClass: device\nobjectClass: pwdPolicy\ncn: lock\n\
         pwdAttribute: userPassword\npwdLockout: TRUE\npwdMaxFailure: 2\npwdLockoutDuration: 3600\n\n"
    );
    let database = format!("overlay ppolicy\nppolicy_default \"cn=lock,ou=policies,{BASE}\"\n");
    let scene = scene_of(Slapd::start_with(Setup { ldif: policy, database, ..Setup::default() }).await, "", "").await;
    for _ in 0..3 {
        assert_eq!(send(&scene.gateway, &Person::new(), "bob", "wrong").await.reason(), "DW-3501");
    }
    let answer = send(&scene.gateway, &Person::new(), "bob", &password("bob")).await;
    assert_eq!((answer.status, answer.reason().as_str()), (401, "DW-3501"));
    assert_eq!(signs_in(&scene, "ada", &password("ada")).await, "ada");
}

#[tokio::test]
async fn brute_force_ends_by_account_and_by_address_and_locks_nobody_out_for_good() {
    // Nothing comes back while this lasts.
    let limits = "[attempts]\nper_account = 3\nper_address = 8\nwindow = '10h'\n";
    let scene = scene("", limits).await;
    for user in ["bob", "Bob ", "ｂｏｂ"] {
        assert_eq!(send(&scene.gateway, &Person::new(), user, "wrong").await.reason(), "DW-3501");
    }
    let answer = send(&scene.gateway, &Person::new(), "BOB", &password("bob")).await;
    assert_eq!((answer.status, answer.reason().as_str()), (429, "DW-3504"));
    let wait: u64 = answer.header("retry-after").parse().expect("seconds");
    assert!((1..=12_000).contains(&wait), "{wait}");
    // The same for somebody who is not there: limits tell nothing about who is.
    for _ in 0..3 {
        assert_eq!(send(&scene.gateway, &Person::new(), "nobody", "wrong").await.reason(), "DW-3501");
    }
    assert_eq!(send(&scene.gateway, &Person::new(), "nobody", "wrong").await.reason(), "DW-3504");
    // The directory heard of each as often as it may: once for anybody at all, and thrice.
    let searches = scene.slapd.searches_made(7).await;
    let of = |name: &str| searches.iter().filter(|filter| filter.contains(name)).count();
    assert_eq!((of("uid=bob"), of("uid=nobody"), searches.len()), (3, 3, 7), "{searches:?}");
    // Six tries of eight are spent for this address; two more names, and it is the address.
    for user in ["eve", "ada"] {
        assert_eq!(send(&scene.gateway, &Person::new(), user, "wrong").await.reason(), "DW-3501");
    }
    let answer = send(&scene.gateway, &Person::new(), "jörg.müller", "x").await;
    assert_eq!(answer.reason(), "DW-3504");
    scene.gateway.log_line(&["audit", "DW-3504", "from this address"]).await;
}

#[tokio::test]
async fn an_entry_s_limit_holds_under_all_its_names_and_tells_nobody_that_it_is_there() {
    let limits = "[attempts]\nper_account = 3\nper_address = 100\nwindow = '10h'\n";
    let scene = scene("user_attribute = ['uid', 'mail']\n", limits).await;
    for user in ["bob", "bob@example.org", "bob"] {
        assert_eq!(send(&scene.gateway, &Person::new(), user, "wrong").await.reason(), "DW-3501");
    }
    // The entry's tries are spent: its right password is none, and the answer is that to a name that nobody has.
    let spent = send(&scene.gateway, &Person::new(), "bob@example.org", &password("bob")).await;
    let nobody = send(&scene.gateway, &Person::new(), "nobody@example.org", &password("bob")).await;
    for answer in [&spent, &nobody] {
        assert_eq!((answer.status, answer.reason().as_str()), (401, "DW-3501"));
        assert_eq!(answer.header("retry-after"), "");
    }
    // Five binds, of which three are his.
    let binds = scene.slapd.binds_made(5).await;
    assert_eq!(binds.iter().filter(|dn| dn.starts_with("uid=bob,")).count(), 3, "{binds:?}");
    assert_eq!(binds.len(), 5, "{binds:?}");
    scene.gateway.log_line(&["is not asked about", "3 wrong tries"]).await;
}

#[tokio::test]
async fn nobody_locks_out_others_by_a_mail_address_that_is_their_user_name() {
    let ldif = person("mal", "uid=mal", "ou=people", "mail: bob\n")
        + &person("al", "uid=al", "ou=people", "mail: both\n")
        + &person("ill", "uid=ill", "ou=people", "mail: both\n");
    let slapd = Slapd::start_with(Setup { ldif, ..Setup::default() }).await;
    let scene = scene_of(slapd, "user_attribute = ['uid', 'mail']\n", "").await;
    assert_eq!(signs_in(&scene, "bob", &password("bob")).await, "bob");
    assert_eq!(send(&scene.gateway, &Person::new(), "bob", &password("mal")).await.reason(), "DW-3501");
    assert_eq!(send(&scene.gateway, &Person::new(), "both", &password("al")).await.reason(), "DW-3506");
}

#[tokio::test]
async fn a_form_of_another_site_another_browser_or_another_time_signs_nobody_in() {
    let scene = scene("", "").await;
    let (mine, other) = (Person::new(), Person::new());
    let shown = mine.browse(&scene.gateway.url("/page")).await;
    let form = Form::of(&shown.text()).expect("a form");
    let address = scene.gateway.url("/oidc/password");
    let secret = password("ada");
    let body = |state: &str| {
        let pairs = [("state", state), ("user", "ada"), ("password", secret.as_str())];
        url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
    };
    let own = scene.gateway.config.public_url.clone();
    let good = [("sec-fetch-site", "same-origin"), ("accept", "text/html")];
    for (person, headers, state, reason) in [
        (&mine, &[("sec-fetch-site", "cross-site"), ("accept", "text/html")][..], form.get("state"), "DW-3503"),
        (&mine, &[("sec-fetch-site", "same-site"), ("accept", "text/html")], form.get("state"), "DW-3503"),
        (&mine, &[("origin", "https://evil.example"), ("accept", "text/html")], form.get("state"), "DW-3503"),
        (&mine, &[("origin", "null"), ("accept", "text/html")], form.get("state"), "DW-3503"),
        (&mine, &[("accept", "text/html")], form.get("state"), "DW-3503"),
        (&other, &good, form.get("state"), "DW-3502"),
        (&mine, &good, "", "DW-3502"),
        (&mine, &good, "../x.y", "DW-3502"),
        (&mine, &good, &form.get("state").replace('.', ".x"), "DW-3502"),
    ] {
        let answer = person.request(Method::POST, &address, headers, Some(body(state))).await;
        assert_eq!(answer.reason(), reason, "{headers:?} {state}");
        assert!(person.session().is_empty());
    }
    // A name that comes twice has two readings, and a form as large as no form is not read.
    let twice = format!("{}&user=bob", body(form.get("state")));
    assert_eq!(mine.request(Method::POST, &address, &good, Some(twice)).await.reason(), "DW-1012");
    let large = format!("{}&x={}", body(form.get("state")), "x".repeat(20_000));
    assert_eq!(mine.request(Method::POST, &address, &good, Some(large)).await.status, 413);
    // By its own page it signs in, once.
    let by_origin = [("origin", own.as_str()), ("accept", "text/html")];
    let answer = mine.request(Method::POST, &address, &by_origin, Some(body(form.get("state")))).await;
    answer.expect(200);
    assert!(!mine.session().is_empty());
    let again = mine.request(Method::POST, &address, &good, Some(body(form.get("state")))).await;
    assert_eq!(again.reason(), "DW-3502");
    // Where to come back to is judged as everywhere.
    let evil = mine.open(&format!("{address}?return_to=https://evil.example/")).await;
    assert_eq!(evil.reason(), "DW-3109");
}

#[tokio::test]
async fn a_session_is_a_new_one_whatever_the_browser_brought() {
    let scene = scene("", "").await;
    let person = Person::new();
    send(&scene.gateway, &person, "bob", &password("bob")).await.expect(200);
    let before = person.session();
    let shown = person.open(&scene.gateway.url("/oidc/password")).await;
    fill_in(&person, &shown, "ada", &password("ada")).await.expect(200);
    assert_ne!(before, person.session());
    person.open(&scene.gateway.url("/page")).await.expect(200);
    assert_eq!(user_of(&scene.app, "x-forwarded-user"), "ada");
}
