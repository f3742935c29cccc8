//! `doorward doctor` on providers, issuers and clients: real ones, products by their stand-ins, and broken ones. What it
//! says to change is what mends.

use std::process::Stdio;

use axum::Router;
use axum::routing::get;
use serde_json::{Value, json};

use crate::support::forger::{Forger, Key};
use crate::support::gateway::Config;
use crate::support::provider::{Client, Provider};
use crate::support::setup::{ROUTES, provider_table, upstream_table};
use crate::support::standin::{StandIn, Which};
use crate::support::tls::Authority;
use crate::support::{free_port, in_time};

/// What the doctor printed, and how it ended.
struct Examined {
    code: i32,
    report: Value,
    text: String,
}

impl Examined {
    /// Examines providers and issuers of a configuration.
    async fn of(config: &Config) -> Examined {
        let mut command = tokio::process::Command::from(config.subcommand("doctor"));
        command.args(["--json", "--only", "provider,issuer"]).stdout(Stdio::piped()).kill_on_drop(true);
        let output = in_time("the doctor", command.output()).await.expect("the doctor");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let report = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        Examined { code: output.status.code().expect("an end of its own"), report, text }
    }

    fn findings(&self) -> Vec<&Value> {
        self.report["findings"].as_array().expect("findings").iter().collect()
    }

    #[track_caller]
    fn is_good(&self, why: &str) {
        assert!(self.findings().iter().all(|finding| finding["weight"] == "hint"), "{why}: {:#}", self.report);
        assert_eq!(self.code, 0, "{why}");
    }

    /// The finding of that code at that step.
    #[track_caller]
    fn finding(&self, why: &str, code: &str, step: &str) -> &Value {
        let findings = self.findings();
        let found = findings.into_iter().find(|one| one["code"] == code && one["step"] == step);
        found.unwrap_or_else(|| panic!("{why}: no {code} at {step}: {:#}", self.report))
    }

    /// What that finding says to change.
    #[track_caller]
    fn change(&self, why: &str, code: &str, step: &str) -> String {
        self.finding(why, code, step)["change"].as_str().expect("a change").to_owned()
    }

    fn steps_found_good(&self) -> Vec<&str> {
        self.report["good"].as_array().expect("a list").iter().filter_map(|one| one["step"].as_str()).collect()
    }
}

/// The line in back quotes that a remedy says to write.
fn line(change: &str) -> String {
    change.split('`').nth(1).unwrap_or_else(|| panic!("no line to write: {change}")).to_owned()
}

fn config(table: &str) -> Config {
    Config::new().add(table).add(&upstream_table("http://127.0.0.1:9")).add(ROUTES)
}

/// A configuration for a client that is registered with `extra`.
async fn registered(provider: &Provider, extra: Value, keys: &str) -> (Config, Client) {
    let config = Config::new();
    let client = provider.register(&config.public_url, extra).await;
    let table = format!("{}{keys}", provider_table(provider, &client));
    (config.add(&table).add(&upstream_table("http://127.0.0.1:9")).add(ROUTES), client)
}

/// What the configuration says instead of `from`.
fn rewritten(mut config: Config, from: &str, to: &str) -> Config {
    assert!(config.tables.contains(from), "{from}: {}", config.tables);
    config.tables = config.tables.replace(from, to);
    config
}

#[tokio::test]
async fn a_deployment_that_works_is_found_good_at_every_step_and_nobody_is_signed_in() {
    let provider = Provider::start(json!({"algorithms": ["RS256"]}));
    let implicit = json!({"grant_types": ["implicit"], "response_types": ["id_token"]});
    let hybrid = json!({"grant_types": ["authorization_code", "implicit"], "response_types": ["code id_token"]});
    let public = json!({"token_endpoint_auth_method": "none"});
    for (why, extra, keys, without_secret) in [
        ("a code", json!({}), "", false),
        ("a code in a form", json!({}), "response_mode = \"form_post\"\n", false),
        ("implicit", implicit, "auth_method = \"implicit\"\n", false),
        ("hybrid", hybrid, "auth_method = \"hybrid\"\n", false),
        ("a public client", public, "", true),
    ] {
        let (config, client) = registered(&provider, extra, keys).await;
        let config = match without_secret {
            true => rewritten(config, &format!("client_secret = {:?}\n", client.secret), ""),
            false => config,
        };
        let examined = Examined::of(&config).await;
        examined.is_good(why);
        let good = examined.steps_found_good();
        for step in ["TCP", "HTTP", "issuer", "endpoints", "response types", "keys", "clock", "authorization request"] {
            assert!(good.contains(&step), "{why}, {step}: {:#}", examined.report);
        }
        let redeems = !keys.contains("implicit");
        assert_eq!(good.contains(&"client authentication"), redeems, "{why}: {:#}", examined.report);
        assert!(!examined.text.contains(&client.secret), "{why}: the secret is in the report");
    }
    assert_eq!(provider.control("sessions", json!({"user": "anna"})).await, json!([]));
}

#[tokio::test]
async fn every_product_that_is_configured_well_is_found_good() {
    for which in Which::ALL {
        let stand_in = StandIn::start(which).await;
        let tenants = matches!(which, Which::EntraCommon | Which::EntraOrganizations);
        let config = stand_in.config("http://127.0.0.1:9", if tenants { "tenants = [\"*\"]\n" } else { "" });
        let examined = Examined::of(&config).await;
        examined.is_good(&format!("{which:?}"));
        let good = examined.steps_found_good();
        for step in ["proxy", "TLS", "issuer", "keys", "authorization request", "client authentication"] {
            assert!(good.contains(&step), "{which:?}, {step}: {:#}", examined.report);
        }
        assert!(!examined.text.contains(&stand_in.client().secret), "{which:?}: the secret is in the report");
        let codes: Vec<_> = stand_in.token_requests().iter().map(|asked| asked.get("code").to_owned()).collect();
        assert_eq!(codes, ["doorward-doctor-made-this-up"], "{which:?}");
        let asked = stand_in.authorization_requests();
        assert_eq!(asked.iter().filter(|asked| !asked.contains(&("prompt".into(), "none".into()))).count(), 0);
    }
}

#[tokio::test]
async fn every_products_refusal_of_the_client_is_told_from_that_of_the_redirect_uri() {
    for which in Which::ALL {
        let tenants = matches!(which, Which::EntraCommon | Which::EntraOrganizations);
        let keys = if tenants { "tenants = [\"*\"]\n" } else { "" };
        let stand_in = StandIn::start(which).await;
        let config = stand_in.config("http://127.0.0.1:9", keys);
        let redirect_uri = format!("{}/oidc/callback", config.public_url);
        stand_in.registered(|client| client.redirect_uris = vec!["https://other.example/oidc/callback".into()]);
        let change = Examined::of(&config).await.change(&format!("{which:?}"), "DW-3126", "authorization request");
        assert!(change.contains(&redirect_uri), "{which:?}: {change}");
        // What it says to do.
        stand_in.registered(|client| client.redirect_uris = vec![redirect_uri.clone()]);
        Examined::of(&config).await.is_good(&format!("{which:?}"));

        let other = stand_in.config("http://127.0.0.1:9", &format!("{keys}client_id = \"somebody-else\"\n"));
        let examined = Examined::of(&other).await;
        let change = examined.change(&format!("{which:?}"), "DW-3127", "authorization request");
        assert!(change.contains("somebody-else"), "{which:?}: {change}");

        let other = stand_in.config("http://127.0.0.1:9", &format!("{keys}client_secret = \"not-the-secret\"\n"));
        let examined = Examined::of(&other).await;
        let about = |one: &&Value| one["step"] == "client authentication" && one["weight"] == "broken";
        let named = examined.findings().into_iter().find(about).expect("the secret is refused");
        // By what the product says of it.
        assert!(named["code"].as_str().is_some_and(|code| code.starts_with("DW-32")), "{which:?}: {named:#}");
        assert!(!examined.text.contains("not-the-secret"), "{which:?}: the secret is in the report");
        assert_eq!(examined.code, 4, "{which:?}");
    }
}

#[tokio::test]
async fn an_issuer_that_was_written_differently_is_given_back_as_the_provider_writes_it() {
    for (which, right, wrong, code, step) in [
        (Which::Keycloak, "", "/", "DW-6102", "issuer"),
        (Which::Keycloak, "/realms/", "/auth/realms/", "DW-6101", "HTTP status"),
        (Which::Keycloak, "/realms/staff", "/realms/staff/account", "DW-6101", "HTTP status"),
        (Which::Authentik, "/application/o/", "/Application/o/", "DW-6101", "HTTP status"),
    ] {
        let stand_in = StandIn::start(which).await;
        let issuer = stand_in.issuer();
        let written = if right.is_empty() { format!("{issuer}{wrong}") } else { issuer.replace(right, wrong) };
        assert_ne!(written, issuer, "{which:?}");
        let config = stand_in.config_by_hand("http://127.0.0.1:9", &format!("issuer = {written:?}\n"));
        let examined = Examined::of(&config).await;
        let change = examined.change(&written, code, step);
        assert!(change.contains("tried"), "{written}: {change}");
        assert_eq!(line(&change), format!("issuer = {issuer:?}"), "{written}");
        assert!(change.contains("gateway.toml:"), "{written}: {change}");
        let mended = rewritten(config, &format!("issuer = {written:?}"), &line(&change));
        let examined = Examined::of(&mended).await;
        assert!(examined.steps_found_good().contains(&"issuer"), "{written}: {:#}", examined.report);
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named_by_step() {
    let port = free_port();
    let plain = Provider::shared().issuer().replace("http:", "https:");
    for (issuer, step, words) in [
        ("http://login.invalid".to_owned(), "DNS", "login.invalid"),
        (format!("http://127.0.0.2:{port}"), "TCP", "nothing listens there"),
        (plain.clone(), "TLS", "does not speak TLS"),
    ] {
        let examined = Examined::of(&config(&format!("[[provider]]\nissuer = {issuer:?}\nclient_id = \"x\"\n"))).await;
        let finding = examined.finding(&issuer, "DW-6101", step);
        assert!(finding["seen"].as_str().is_some_and(|seen| seen.contains(words)), "{issuer}: {finding:#}");
        assert_eq!((examined.code, &finding["weight"]), (4, &json!("broken")), "{issuer}");
        if issuer == plain {
            assert_eq!(
                line(finding["change"].as_str().expect("a change")),
                format!("issuer = {:?}", plain.replace("https:", "http:"))
            );
        }
    }
}

#[tokio::test]
async fn a_certificate_that_is_not_accepted_is_told_with_its_day_its_names_or_its_authority() {
    let authority = Authority::new();
    for (why, leaf, trusted, words, change) in [
        ("expired", authority.expired(&["127.0.0.2"]), true, "2002", "Renew"),
        ("another name", authority.leaf(&["login.example"]), true, "`login.example`", "host in `issuer`"),
        ("unknown", authority.leaf(&["127.0.0.2"]), false, "signed by `rcgen self signed cert`", "ca_file"),
    ] {
        let place = Config::new();
        let listener = std::net::TcpListener::bind("127.0.0.2:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        serve_tls(listener, &leaf);
        let file = place.dir.path().join("ca.pem");
        std::fs::write(&file, authority.pem()).expect("PEM");
        let ca_file = if trusted { format!("ca_file = {file:?}\n") } else { String::new() };
        let table = format!("[[provider]]\nissuer = \"https://{address}\"\nclient_id = \"x\"\n{ca_file}");
        let examined = Examined::of(&config(&table)).await;
        let finding = examined.finding(why, "DW-6101", "TLS");
        let text = |name: &str| finding[name].as_str().expect("text").to_owned();
        assert!(text("seen").contains(words), "{why}: {finding:#}");
        assert!(text("change").contains(change), "{why}: {finding:#}");
    }
}

/// Shakes hands with whoever comes, and says nothing.
fn serve_tls(listener: std::net::TcpListener, leaf: &crate::support::tls::Leaf) {
    let acceptor = tokio_rustls::TlsAcceptor::from(std::sync::Arc::new(leaf.server(&[b"http/1.1"])));
    listener.set_nonblocking(true).expect("a socket");
    let listener = tokio::net::TcpListener::from_std(listener).expect("a socket");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move { acceptor.accept(stream).await.map(drop) });
        }
    });
}

#[tokio::test]
async fn an_authority_that_is_put_into_ca_file_mends_what_the_doctor_found() {
    let authority = Authority::new();
    let provider = Provider::start_https(json!({}), &authority);
    let (config, _) = registered(&provider, json!({}), "").await;
    let change = Examined::of(&config).await.change("unknown", "DW-6101", "TLS");
    assert!(change.contains("`ca_file`"), "{change}");
    let mended = rewritten(config, "[[provider]]\n", &format!("[[provider]]\nca_file = {:?}\n", provider.ca_file()));
    Examined::of(&mended).await.is_good("with the authority");
}

#[tokio::test]
async fn what_is_no_metadata_is_named_by_step() {
    let elsewhere = Provider::shared().issuer().to_owned();
    let led = format!("{elsewhere}/.well-known/openid-configuration");
    let page = "<html><head><title>Corporate proxy</title></head><body>Sign in</body></html>";
    for (status, location, body, code, step, words) in [
        (200, "", page, "DW-6103", "content type", "`Corporate proxy`"),
        (200, "", "{\"issuer\":", "DW-6103", "JSON", "cut off"),
        (200, "", "{}", "DW-6103", "issuer", "names none"),
        (404, "", "no", "DW-6101", "HTTP status", "404"),
        (500, "", "{}", "DW-6101", "HTTP status", "500"),
        (302, led.as_str(), "", "DW-6101", "redirect", "leads to"),
    ] {
        let forger = Forger::start().await;
        forger.instead("metadata", status, location, body);
        let config = forger.config("http://127.0.0.1:9", "");
        let examined = Examined::of(&config).await;
        let finding = examined.finding(step, code, step);
        assert!(finding["seen"].as_str().is_some_and(|seen| seen.contains(words)), "{step}: {finding:#}");
        assert_eq!(examined.code, 4, "{step}");
        if step == "redirect" {
            assert_eq!(line(finding["change"].as_str().expect("a change")), format!("issuer = {elsewhere:?}"));
        }
    }
}

#[tokio::test]
async fn what_the_metadata_lack_is_named_with_the_setting() {
    for (why, metadata, keys, code, step, words) in [
        ("no endpoint", json!({"token_endpoint": null}), "", "DW-6103", "endpoints", ""),
        (
            "code alone",
            json!({"response_types_supported": ["code"]}),
            "auth_method = \"implicit\"",
            "DW-6105",
            "response types",
            "`auth_method = \"pkce\"`",
        ),
        (
            "no forms",
            json!({"response_modes_supported": ["query"]}),
            "response_mode = \"form_post\"",
            "DW-6105",
            "response modes",
            "`response_mode = \"query\"`",
        ),
        ("no PKCE", json!({"code_challenge_methods_supported": ["plain"]}), "", "DW-6105", "PKCE", "S256"),
        (
            "another way",
            json!({"token_endpoint_auth_methods_supported": ["client_secret_post"]}),
            "client_secret = \"x\"\nclient_auth = \"client_secret_basic\"",
            "DW-6105",
            "client authentication methods",
            "client_secret_post",
        ),
        ("a scope", json!({"scopes_supported": ["openid"]}), "", "DW-6105", "scopes", "`scopes`"),
        (
            "HMAC",
            json!({"id_token_signing_alg_values_supported": ["HS256"]}),
            "client_secret = \"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\"",
            "DW-3302",
            "ID-token algorithms",
            "`id_token_algorithms = [\"HS256\"]`",
        ),
        (
            "no userinfo",
            json!({"userinfo_endpoint": null}),
            "userinfo = true",
            "DW-6105",
            "userinfo",
            "`userinfo = true`",
        ),
    ] {
        let forger = Forger::start().await;
        forger.metadata(metadata);
        let examined = Examined::of(&forger.config("http://127.0.0.1:9", keys)).await;
        let change = examined.change(why, code, step);
        assert!(change.contains(words), "{why}: {change}");
    }
}

#[tokio::test]
async fn keys_that_cannot_be_used_are_named_by_step() {
    let other = Key::new("key-2").jwk();
    let page = "<html><title>Keys</title></html>";
    for (why, status, body, keys, code, step) in [
        ("none", 200, "{\"keys\":[]}".to_owned(), "", "DW-6104", "keys"),
        ("a page", 200, page.to_owned(), "", "DW-6104", "content type"),
        ("not there", 404, "no".to_owned(), "", "DW-6104", "HTTP status"),
        (
            "for another algorithm",
            200,
            json!({"keys": [other]}).to_string(),
            "id_token_algorithms = [\"RS256\"]",
            "DW-3302",
            "keys",
        ),
    ] {
        let forger = Forger::start().await;
        forger.instead("keys", status, "", &body);
        let examined = Examined::of(&forger.config("http://127.0.0.1:9", keys)).await;
        let finding = examined.finding(why, code, step);
        assert_eq!(finding["place"], "provider main keys", "{why}: {finding:#}");
    }
}

/// A provider whose clock is apart from ours by so many seconds.
async fn with_clock(seconds: i64) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.2:0").await.expect("a port");
    let issuer = format!("http://{}", listener.local_addr().expect("an address"));
    let at = |path: &str| format!("{issuer}{path}");
    let document = json!({
        "issuer": issuer, "authorization_endpoint": at("/authorize"), "token_endpoint": at("/token"),
        "jwks_uri": at("/jwks"), "response_types_supported": ["code"],
        "id_token_signing_alg_values_supported": ["ES256"],
    });
    let answer = move |body: Value| async move {
        let apart = std::time::Duration::from_secs(seconds.unsigned_abs());
        let now = std::time::SystemTime::now();
        let date = httpdate::fmt_http_date(if seconds < 0 { now - apart } else { now + apart });
        ([("date", date)], axum::Json(body))
    };
    let keys = json!({"keys": [Key::new("key-1").jwk()]});
    let router = Router::new()
        .route("/.well-known/openid-configuration", get(move || answer(document.clone())))
        .route("/jwks", get(move || answer(keys.clone())));
    tokio::spawn(axum::serve(listener, router).into_future());
    issuer
}

#[tokio::test]
async fn a_clock_that_is_apart_is_told_with_its_size() {
    for (seconds, weight, words) in
        [(-45, "warning", "s behind the gateway's, within"), (3600, "broken", "s ahead of the gateway's, more than")]
    {
        let issuer = with_clock(seconds).await;
        let table = format!("[[provider]]\nissuer = {issuer:?}\nclient_id = \"x\"\n");
        let issuers = format!("[[issuer]]\nname = \"api\"\nissuer = {issuer:?}\naudiences = [\"x\"]\n");
        let examined = Examined::of(&config(&format!("{table}{issuers}"))).await;
        for code in ["DW-3307", "DW-8008"] {
            let finding = examined.finding("clock", code, "clock");
            assert_eq!(finding["weight"], weight, "{finding:#}");
            assert!(finding["seen"].as_str().is_some_and(|seen| seen.contains(words)), "{finding:#}");
        }
    }
}

#[tokio::test]
async fn the_way_of_client_authentication_that_is_registered_is_found_by_trying() {
    for (registered, configured) in
        [("client_secret_post", "client_secret_basic"), ("client_secret_basic", "client_secret_post")]
    {
        let stand_in = StandIn::start(Which::Zitadel).await;
        stand_in.registered(|client| client.client_auth = vec![registered.into()]);
        let config = stand_in.config("http://127.0.0.1:9", &format!("client_auth = {configured:?}\n"));
        let change = Examined::of(&config).await.change(registered, "DW-3210", "client authentication");
        assert_eq!(line(&change), format!("client_auth = {registered:?}"), "{change}");
        let mended = rewritten(config, &format!("client_auth = {configured:?}"), &line(&change));
        Examined::of(&mended).await.is_good(registered);
    }
}

#[tokio::test]
async fn a_registration_that_differs_is_named_and_mended_by_what_the_doctor_says() {
    let provider = Provider::shared();
    let (config, client) = registered(&provider, json!({}), "").await;
    let secret = format!("client_secret = {:?}", client.secret);
    let missing = rewritten(config, &format!("{secret}\n"), "");
    let change = Examined::of(&missing).await.change("no secret", "DW-3206", "client authentication");
    assert!(change.contains("Set `client_secret`"), "{change}");
    let the_id = rewritten(missing, "[[provider]]\n", &format!("[[provider]]\nclient_secret = {:?}\n", client.id));
    let change = Examined::of(&the_id).await.change("the id", "DW-3209", "client authentication");
    assert!(change.contains("`client_id`"), "{change}");
    let mended = rewritten(the_id, &format!("client_secret = {:?}", client.id), &secret);
    Examined::of(&mended).await.is_good("the secret");
}

#[tokio::test]
async fn a_flow_or_scope_that_is_refused_names_its_setting() {
    let provider = Provider::shared();
    for (why, extra, keys, code, words) in [
        ("implicit", json!({}), "auth_method = \"implicit\"\n", "DW-3125", "auth_method"),
        ("a scope", json!({"scope": "openid"}), "scopes = [\"openid\", \"profile\"]\n", "DW-3128", "scopes"),
    ] {
        let (config, _) = registered(&provider, extra, keys).await;
        let change = Examined::of(&config).await.change(why, code, "authorization request");
        assert!(change.contains(words), "{why}: {change}");
    }
}

#[tokio::test]
async fn a_proxy_of_the_environment_that_does_not_work_is_named() {
    let stand_in = StandIn::start(Which::Okta).await;
    let mut config = stand_in.config("http://127.0.0.1:9", "");
    let dead = format!("http://127.0.0.1:{}", free_port());
    config.env.extend(["HTTPS_PROXY", "https_proxy"].map(|name| (name.to_owned(), dead.clone())));
    let change = Examined::of(&config).await.change("a dead proxy", "DW-6101", "TCP");
    assert!(change.contains("HTTPS_PROXY") && change.contains(&dead), "{change}");
}

#[tokio::test]
async fn issuers_are_examined_by_the_same_steps() {
    let forger = Forger::start().await;
    let provider = format!("[[provider]]\nissuer = {:?}\nclient_id = \"the-client\"\n", Provider::shared().issuer());
    let examine = async |issuer: &str, keys: &str| {
        let table = format!("[[issuer]]\nname = \"api\"\nissuer = {issuer:?}\naudiences = [\"x\"]\n{keys}");
        Examined::of(&config(&format!("{provider}{table}"))).await
    };
    let of_issuer = |examined: &Examined| {
        let findings = examined.findings();
        findings.into_iter().filter(|one| one["place"].as_str().is_some_and(|at| at.starts_with("issuer api"))).count()
    };
    let examined = examine(&forger.issuer, "").await;
    assert_eq!(of_issuer(&examined), 0, "{:#}", examined.report);
    for (issuer, keys, code, step) in [
        ("http://login.invalid".to_owned(), String::new(), "DW-6101", "DNS"),
        (format!("{}/tenant", forger.issuer), String::new(), "DW-6101", "HTTP status"),
        (forger.issuer.clone(), format!("jwks_uri = \"{}/nothing\"\n", forger.issuer), "DW-6104", "HTTP status"),
        (forger.issuer.clone(), "algorithms = [\"RS256\"]\n".to_owned(), "DW-3302", "keys"),
    ] {
        examine(&issuer, &keys).await.finding(&format!("{issuer} {keys}"), code, step);
    }
    forger.metadata(json!({"issuer": format!("{}/", forger.issuer.replace("127.0.0.2", "localhost"))}));
    let change = examine(&forger.issuer, "").await.change("another issuer", "DW-6102", "issuer");
    assert!(change.contains("localhost"), "{change}");
}

#[tokio::test]
async fn a_configuration_that_cannot_be_loaded_is_a_report_of_its_errors() {
    let config = config("[[provider]]\nissuer = \"https://a.example/oauth2/v2.0/authorize\"\nclient_id = \"x\"\n");
    let examined = Examined::of(&config).await;
    assert_eq!(examined.code, 78);
    let finding = examined.finding("authorize", "DW-7002", "");
    let place = finding["place"].as_str().expect("a place");
    assert!(place.contains("gateway.toml:"), "{finding:#}");
}
