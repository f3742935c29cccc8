//! Each preset's likeliest mistakes, with what an admin reads; and what differs from product to product, at stand-ins of
//! them under their real names. That each signs people in and out is in `standins`.

use serde_json::json;

use crate::support::app::App;
use crate::support::gateway::doorward;
use crate::support::standin::product::TENANT;
use crate::support::standin::{Kind, Registration, StandIn, Which, get};

/// Mistakes that are told before anything starts: keys of `[[provider]]`, and words of the message.
const AT_START: [(Which, &str, &[&str]); 16] = [
    (
        Which::Keycloak,
        "issuer = \"https://keycloak.example.com\"",
        &["provider.issuer: names no realm", "write \"https://keycloak.example.com/realms/REALM\""],
    ),
    (
        Which::Okta,
        "issuer = \"https://dev-12345678-admin.okta.com\"",
        &["is the address of Okta's admin console", "write \"https://dev-12345678.okta.com\""],
    ),
    (
        Which::Entra,
        "issuer = \"https://login.microsoftonline.com/8f14e45f-ceea-467f-a8c6-1d2b3c4d5e6f\"",
        &["lacks `/v2.0`", "8f14e45f-ceea-467f-a8c6-1d2b3c4d5e6f/v2.0\""],
    ),
    (Which::EntraCommon, "", &["provider.tenants: is needed where the issuer is for several tenants"]),
    (
        Which::Entra,
        "client_secret = \"5f2b7c1e-1111-4222-8333-944455556666\"",
        &["looks like the Secret ID", "AADSTS7000215"],
    ),
    (
        Which::EntraV1,
        "issuer = \"https://login.microsoftonline.com/8f14e45f-ceea-467f-a8c6-1d2b3c4d5e6f/v2.0\"",
        &["is not what version 1 tokens call their issuer", "write \"https://sts.windows.net/8f14e45f"],
    ),
    (
        Which::Auth0,
        "issuer = \"https://dev-abc123.eu.auth0.com/oauth/token\"",
        &["has a path", "write \"https://dev-abc"],
    ),
    (
        Which::Google,
        "issuer = \"https://google.com\"",
        &["is no issuer of Google", "write \"https://accounts.google.com\""],
    ),
    (
        Which::Cognito,
        "issuer = \"https://example-pool.auth.eu-central-1.amazoncognito.com\"",
        &["is the domain of the sign-in pages", "write \"https://cognito-idp.eu-central-1.amazonaws.com/POOL\""],
    ),
    (Which::Cognito, "auth_method = \"implicit\"", &["Cognito issues tokens for a code alone", "set it to `pkce`"]),
    (Which::Lark, "auth_method = \"implicit\"", &["Lark issues tokens for a code alone"]),
    (Which::Lark, "client_auth = \"client_secret_basic\"", &["Lark takes a client secret in the form"]),
    (
        Which::Gitlab,
        "issuer = \"https://gitlab.example.com/oauth\"",
        &["is a page of GitLab", "write \"https://gitlab"],
    ),
    (
        Which::Authentik,
        "issuer = \"https://authentik.example.com/application/o/doorward\"",
        &["lacks the slash at its end", "application/o/doorward/\""],
    ),
    (Which::Zitadel, "issuer = \"https://example-abcdef.eu1.zitadel.cloud/ui/console\"", &["has a path"]),
    (
        Which::Dex,
        "issuer = \"https://dex.example.com/auth\"",
        &["looks like the address of the authorization endpoint"],
    ),
];

#[test]
fn an_issuer_or_flow_that_cannot_work_is_told_before_the_start_with_what_was_meant() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    for (which, keys, words) in AT_START {
        let stand_in = runtime.block_on(StandIn::start(which));
        let config = stand_in.config("http://127.0.0.1:9", &format!("{keys}\n"));
        std::fs::write(config.path(), config.text()).expect("gateway.toml");
        let (_, out, err) = doorward(&["check", config.path().to_str().expect("a path")]);
        let said = format!("{out}{err}");
        for word in words {
            assert!(said.contains(word), "{which:?} {keys}: wanted {word:?} in\n{said}");
        }
    }
}

/// Mistakes that only the provider can see: how the client is registered, keys of `[[provider]]`, the code, and words of
/// the log line.
type AtSignIn = (Which, fn(&mut Registration), &'static str, &'static str, &'static [&'static str]);

const WRONG: &str = "client_secret = \"an old one\"\n";
const PUBLIC: fn(&mut Registration) = |client| client.kind = Kind::SinglePage;
const SAME: fn(&mut Registration) = |_| {};

const AT_SIGN_IN: [AtSignIn; 23] = [
    (
        Which::Keycloak,
        SAME,
        WRONG,
        "DW-3202",
        &["Invalid client or Invalid client credentials", "Secret under Credentials"],
    ),
    (Which::Keycloak, SAME, "auth_method = \"implicit\"\n", "DW-3125", &["Turn `Implicit flow` on for the client"]),
    (Which::Okta, SAME, WRONG, "DW-3202", &["Compare `client_secret` with the one at the provider"]),
    (
        Which::Okta,
        PUBLIC,
        WRONG,
        "DW-3202",
        &["Either the client or the client credentials are invalid", "Single-Page Application, which has none"],
    ),
    (Which::Okta, SAME, "scopes = [\"openid\", \"teams\"]\n", "DW-3128", &["Take the scope out of `scopes`"]),
    (Which::Entra, SAME, WRONG, "DW-3209", &["AADSTS7000215", "to the secret's Value"]),
    (Which::Entra, |client| client.secret_expired = true, "", "DW-3208", &["AADSTS7000222", "make a new one in Entra"]),
    (Which::Entra, PUBLIC, "send_origin = false\n", "DW-3211", &["AADSTS9002327", "Set `send_origin = true`"]),
    (Which::Entra, SAME, "send_origin = true\n", "DW-3211", &["AADSTS9002326", "Set `send_origin = false`"]),
    (Which::Entra, PUBLIC, "client_secret = \"s\"\nsend_origin = true\n", "DW-3207", &["AADSTS700025"]),
    (Which::Entra, SAME, "auth_method = \"implicit\"\n", "DW-3125", &["AADSTS700054", "Allow `ID tokens`"]),
    (Which::EntraV1, SAME, WRONG, "DW-3209", &["AADSTS7000215", "to the secret's Value"]),
    (Which::Auth0, SAME, WRONG, "DW-3202", &["Compare `client_secret`", "Authentication Method"]),
    (Which::Auth0, SAME, "auth_method = \"implicit\"\n", "DW-3125", &["Grant Types"]),
    (Which::Google, SAME, WRONG, "DW-3202", &["Compare `client_secret`"]),
    (Which::Cognito, SAME, WRONG, "DW-3202", &["Compare `client_id` and `client_secret`"]),
    (Which::Lark, SAME, WRONG, "DW-3202", &["`client_auth` with what the application"]),
    (Which::Gitlab, SAME, WRONG, "DW-3202", &["Compare `client_id` and `client_secret`"]),
    (Which::Gitlab, SAME, "scopes = [\"openid\", \"teams\"]\n", "DW-3128", &["Tick the scopes of `scopes`"]),
    (Which::Authentik, SAME, WRONG, "DW-3202", &["Compare `client_id` and `client_secret`"]),
    (Which::Zitadel, SAME, WRONG, "DW-3202", &["Compare `client_secret`"]),
    (
        Which::Zitadel,
        SAME,
        "client_auth = \"client_secret_post\"\n",
        "DW-3210",
        &["Set `client_auth` to `client_secret_basic`", "it is `client_secret_post` now"],
    ),
    (Which::Dex, SAME, WRONG, "DW-3202", &["(Dex: `staticClients`)"]),
];

#[tokio::test]
async fn what_the_provider_refuses_is_said_in_terms_of_what_to_change() {
    let app = App::start().await;
    for (which, change, keys, code, words) in AT_SIGN_IN {
        let stand_in = StandIn::start(which).await;
        stand_in.registered(change);
        let gateway = stand_in.gateway(&app.url(), keys).await;
        let path = format!("/{which:?}");
        let answer = stand_in.sign_in(&stand_in.person(), &gateway.url(&path)).await;
        assert!(
            answer.text().contains(code),
            "{which:?} {keys}: {} {}\n{}",
            answer.status,
            answer.url,
            gateway.log_text()
        );
        // The page shows what to change, and nobody the provider's own words.
        assert!(!answer.text().contains("the provider said") && !answer.text().contains("AADSTS"), "{which:?} {keys}");
        let line = gateway.log_line(&[" access ", code, words[0]]).await;
        for word in words {
            assert!(line.contains(word), "{which:?} {keys}: wanted {word:?} in {line}");
        }
        assert!(line.contains(" remedy=\"") && line.contains(" provider="), "{which:?} {keys}: {line}");
        let remedy = line.split_once(" remedy=\"").and_then(|(_, rest)| rest.split_once('"')).map(|(remedy, _)| remedy);
        let shown =
            answer.text().replace("<code>", "`").replace("</code>", "`").replace("&#39;", "'").replace("&quot;", "\"");
        assert!(
            shown.contains(remedy.unwrap_or_default().trim_end_matches('\\')),
            "{which:?} {keys}: {remedy:?}\n{shown}"
        );
        assert!(app.seen_at(&path).is_empty());
    }
}

#[tokio::test]
async fn people_of_listed_tenants_sign_in_at_entra_and_nobody_else() {
    let app = App::start().await;
    let other = "11111111-2222-4333-8444-555555555555";
    for which in [Which::EntraCommon, Which::EntraOrganizations] {
        let stand_in = StandIn::start(which).await;
        for (tenants, status) in [(json!([other, TENANT]), 200), (json!(["*"]), 200), (json!([other]), 403)] {
            let gateway = stand_in.gateway(&app.url(), &format!("tenants = {tenants}\n")).await;
            let answer = stand_in.sign_in(&stand_in.person(), &gateway.url("/page")).await;
            answer.expect(status);
            if status == 403 {
                assert!(answer.text().contains("DW-3313"), "{}", answer.text());
                gateway.log_line(&["DW-3313", TENANT, "is not among `tenants`"]).await;
            }
        }
        // Who says one tenant in `iss` and another in `tid` is of neither.
        stand_in.claims(move |claims| drop(claims.insert("tid".into(), json!(other))));
        let gateway = stand_in.gateway(&app.url(), &format!("tenants = [{TENANT:?}, {other:?}]\n")).await;
        stand_in.sign_in(&stand_in.person(), &gateway.url("/page")).await.expect(502);
        gateway.log_line(&["DW-3305", "`tid`"]).await;
    }
}

#[tokio::test]
async fn people_of_the_workspace_sign_in_at_google_and_nobody_else() {
    let (app, stand_in) = (App::start().await, StandIn::start(Which::Google).await);
    for (hd, status) in [("example.com", 200), ("*", 200), ("other.example", 403)] {
        let keys = format!("authorization_params = {{ hd = {hd:?} }}\n");
        let gateway = stand_in.gateway(&app.url(), &keys).await;
        let answer = stand_in.sign_in(&stand_in.person(), &gateway.url("/page")).await;
        answer.expect(status);
        if status == 403 {
            assert!(answer.text().contains("DW-3313"), "{}", answer.text());
            gateway.log_line(&["DW-3313", "expected `hd` `other.example`, got `example.com`"]).await;
        }
    }
    // Whoever takes `hd` out of the address can choose a private account, which has none.
    stand_in.claims(|claims| drop(claims.remove("hd")));
    for hd in ["example.com", "*"] {
        let gateway = stand_in.gateway(&app.url(), &format!("authorization_params = {{ hd = {hd:?} }}\n")).await;
        stand_in.sign_in(&stand_in.person(), &gateway.url("/page")).await.expect(403);
        gateway.log_line(&["DW-3313", "got none"]).await;
    }
}

#[tokio::test]
async fn entra_takes_single_page_applications_and_certificates() {
    let (app, stand_in) = (App::start().await, StandIn::start(Which::Entra).await);
    stand_in.registered(PUBLIC);
    let gateway = stand_in.gateway(&app.url(), "").await;
    stand_in.sign_in(&stand_in.person(), &gateway.url("/spa")).await.expect(200);
    let stand_in = StandIn::start(Which::Entra).await;
    let (key, certificate) = stand_in.certificate();
    let keys = format!("client_key_file = {key:?}\nclient_certificate_file = {certificate:?}\n");
    let gateway = stand_in.gateway(&app.url(), &keys).await;
    stand_in.sign_in(&stand_in.person(), &gateway.url("/certificate")).await.expect(200);
    let request = stand_in.token_requests().pop().expect("a token request");
    assert!(request.has("client_assertion") && !request.has("client_secret") && !request.authorization);
}

#[tokio::test]
async fn too_many_groups_at_entra_are_named_and_not_passed_over() {
    let (app, stand_in) = (App::start().await, StandIn::start(Which::Entra).await);
    stand_in.group_overage();
    let gateway = stand_in.gateway(&app.url(), "").await;
    stand_in.sign_in(&stand_in.person(), &gateway.url("/page")).await.expect(200);
    gateway.log_line(&["groups", "_claim_names"]).await;
    assert!(app.seen_at("/page").pop().expect("seen").all("x-forwarded-groups").is_empty());
}

#[tokio::test]
async fn lark_s_tokens_signed_with_the_secret_and_encrypted_are_read_where_that_is_configured() {
    let app = App::start().await;
    let stand_in = StandIn::start(Which::Lark).await;
    let key = stand_in.encrypts("A256GCM");
    let secret = "0123456789abcdef0123456789abcdef";
    stand_in.registered(|client| {
        client.id_token_alg = "HS256".into();
        client.secret = secret.into();
    });
    let keys = format!("id_token_algorithms = [\"HS256\"]\ndecryption_key_file = {key:?}\n");
    let gateway = stand_in.gateway(&app.url(), &keys).await;
    stand_in.sign_in(&stand_in.person(), &gateway.url("/lark")).await.expect(200);
    assert_eq!(app.seen_at("/lark").pop().expect("seen").one("x-forwarded-email"), "anna@example.com");
    // HS256 has to be asked for: a published key would be everybody's secret.
    let gateway = stand_in.gateway(&app.url(), &format!("decryption_key_file = {key:?}\n")).await;
    stand_in.sign_in(&stand_in.person(), &gateway.url("/unasked")).await.expect(502);
    assert!(app.seen_at("/unasked").is_empty());
}

#[tokio::test]
async fn keycloak_s_realm_roles_are_the_groups_only_where_the_token_has_none() {
    let app = App::start().await;
    for (groups, wanted) in [(None, "operator"), (Some(json!([])), "")] {
        let stand_in = StandIn::start(Which::Keycloak).await;
        stand_in.claims(move |claims| match &groups {
            Some(groups) => drop(claims.insert("groups".into(), groups.clone())),
            None => drop(claims.remove("groups")),
        });
        let gateway = stand_in.gateway(&app.url(), "").await;
        let path = format!("/{}", if wanted.is_empty() { "empty" } else { "absent" });
        stand_in.sign_in(&stand_in.person(), &gateway.url(&path)).await.expect(200);
        let seen = app.seen_at(&path).pop().expect("seen").all("x-forwarded-groups").join("");
        assert_eq!((seen.contains("operator"), seen.is_empty()), (wanted == "operator", wanted.is_empty()), "{seen}");
    }
}

#[tokio::test]
async fn a_session_that_is_renewed_asks_for_a_refresh_token_in_each_product_s_way() {
    let app = App::start().await;
    for (which, scope, access_type) in [
        (Which::Google, false, "offline"),
        (Which::Okta, true, ""),
        (Which::Entra, true, ""),
        (Which::Auth0, true, ""),
        (Which::Lark, true, ""),
        (Which::Authentik, true, ""),
        (Which::Zitadel, true, ""),
        (Which::Dex, true, ""),
        (Which::EntraV1, false, ""),
        (Which::Keycloak, false, ""),
        (Which::Cognito, false, ""),
        (Which::Gitlab, false, ""),
    ] {
        let stand_in = StandIn::start(which).await;
        let config = stand_in.config(&app.url(), "").add("[session]\nrefresh = true\nrefresh_ahead = \"2h\"\n");
        let gateway = config.start().await;
        gateway.ready().await;
        let person = stand_in.person();
        stand_in.sign_in(&person, &gateway.url("/page")).await.expect(200);
        let asked = stand_in.authorization_requests().pop().expect("an authorization request");
        assert_eq!(get(&asked, "scope").split(' ').any(|one| one == "offline_access"), scope, "{which:?}: {asked:?}");
        let access = asked.iter().find(|(name, _)| *name == "access_type").map_or("", |(_, value)| value.as_str());
        assert_eq!(access, access_type, "{which:?}: {asked:?}");
        person.browse(&gateway.url("/again")).await.expect(200);
        let renewed = stand_in.token_requests().iter().any(|request| request.has("refresh_token"));
        assert!(renewed, "{which:?}: {:?}", stand_in.token_requests());
    }
}
