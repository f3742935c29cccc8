//! Who may, among the signed in.

use crate::support::app::App;
use crate::support::forger::Forger;
use crate::support::gateway::Config;
use crate::support::person::Person;
use crate::support::provider::Provider;
use crate::support::setup::{ROUTES, scene_at, upstream_table};

#[tokio::test]
async fn a_route_lets_through_whom_its_rules_name_and_nobody_else() {
    let rules = [
        ("emails", "emails = [\"ANNA@example.com\"]", [200, 403, 403]),
        ("domains", "email_domains = [\"example.org\"]", [403, 200, 403]),
        ("groups", "groups = [\"admins\"]", [200, 403, 403]),
        ("either", "groups = [\"admins\"]\nemail_domains = [\"example.org\"]", [200, 200, 403]),
        ("equals", "claims = [{ claim = \"preferred_username\", equals = \"berta\" }]", [403, 200, 403]),
        ("contains", "claims = [{ claim = \"groups\", contains = \"staff\" }]", [200, 200, 403]),
        ("one-of", "claims = [{ claim = \"preferred_username\", one_of = [\"carl\", \"anna\"] }]", [200, 403, 200]),
        ("absent", "claims = [{ claim = \"department.name\", equals = \"x\" }]", [403, 403, 403]),
        // A list is not its entry, and half a name is no name.
        ("list", "claims = [{ claim = \"groups\", equals = \"staff\" }]", [403, 403, 403]),
        ("part", "groups = [\"admin\", \"staf\", \"STAFF\"]", [403, 403, 403]),
    ];
    let tables: String =
        rules.iter().map(|(name, rule, _)| format!("[[route]]\npath = \"/{name}\"\n[route.allow]\n{rule}\n")).collect();
    let scene = scene_at(Provider::shared(), Config::new(), "", &format!("{ROUTES}{tables}")).await;
    for (n, name) in ["anna", "berta", "carl"].into_iter().enumerate() {
        let person = Person::new();
        person.sign_in(&scene.gateway.url("/page"), scene.provider.user(name)).await;
        for (rule, _, statuses) in &rules {
            let answer = person.fetch(&scene.gateway.url(&format!("/{rule}"))).await;
            assert_eq!(answer.status, statuses[n], "{name} at {rule}: {}", answer.text());
            if answer.status == 403 {
                assert!(answer.reason().starts_with("DW-500"), "{name} at {rule}: {}", answer.text());
                assert!(answer.json()["sign_in"].is_null(), "signing in again does not help: {}", answer.text());
            }
        }
    }
    let passed: Vec<_> =
        scene.app.seen_at("/contains").iter().map(|seen| seen.one("x-forwarded-user").to_owned()).collect();
    assert_eq!(passed, ["anna", "berta"]);
}

#[tokio::test]
async fn a_refusal_is_in_the_audit_log_with_who_and_why() {
    let tables = format!("{ROUTES}[[route]]\npath = \"/admins\"\n[route.allow]\ngroups = [\"admins\"]\n");
    let scene = scene_at(Provider::shared(), Config::new(), "", &tables).await;
    let person = Person::new();
    person.sign_in(&scene.gateway.url("/page"), scene.provider.user("berta")).await;
    let page = person.browse(&scene.gateway.url("/admins")).await;
    assert!(page.text().contains("berta@example.org"), "{}", page.text());
    let answer = person.fetch(&scene.gateway.url("/admins")).await;
    assert_eq!((answer.status, answer.reason().as_str()), (403, "DW-5001"));
    let reference = answer.json()["reference"].as_str().expect("a reference").to_owned();
    let line = scene.gateway.log_line(&["audit", &reference]).await;
    // One person has one name in the log, whatever the page calls them.
    assert!(line.contains("user=berta ") && line.contains("DW-5001") && line.contains("deny"), "{line}");
    scene.gateway.log_line(&["audit", "sign_in", "user=berta ", "allow"]).await;
}

#[tokio::test]
async fn an_address_that_nobody_proved_names_nobody_under_another_name_either() {
    let made = "\n[[provider.claims]]\nname = \"login\"\nfrom = [\"email\"]\n";
    let routes = "[[route]]\npath = \"/\"\n[[route]]\npath = \"/adm\"\n[route.allow]\nemails = [\"admin@corp.example\"]\n\
        claims = [{ claim = \"login\", equals = \"admin@corp.example\" }]\n";
    for (keys, reason) in
        [("user_claim = \"login\"", "DW-5002"), ("email_claim = \"login\"", "DW-5003"), ("", "DW-5002")]
    {
        let (forger, app) = (Forger::start().await, App::start().await);
        let provider =
            format!("[[provider]]\nissuer = {:?}\nclient_id = \"the-client\"\n{keys}{made}\n", forger.issuer);
        let gateway = Config::new().add(&provider).add(&upstream_table(&app.url())).add(routes).start().await;
        gateway.ready().await;
        for (verified, expected) in [(false, reason), (true, "")] {
            forger.claims(move |claims| {
                claims["sub"] = "mallory".into();
                claims["email"] = "admin@corp.example".into();
                claims["email_verified"] = verified.into();
            });
            let answer = Person::new().browse(&gateway.url("/adm")).await;
            assert_eq!(answer.reason(), expected, "{keys} {verified}: {}", answer.text());
        }
        assert_eq!(app.seen_at("/adm").len(), 1, "{keys}: only the address that was proved");
    }
}
