//! `doorward doctor`: what is wrong with a deployment is named with what to change, and gone when that was done.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::PATIENCE;
use crate::support::app::App;
use crate::support::forger::Forger;
use crate::support::free_port;
use crate::support::gateway::Config;
use crate::support::person::Person;
use crate::support::raw::RawApp;
use crate::support::setup::{ROUTES, gateway_before, scene, upstream_table};
use crate::support::slapd::{Setup, Slapd};
use crate::support::tls::{Authority, Leaf};

const PROVIDER: &str = "[[provider]]\nissuer = \"http://127.0.0.2:9\"\nclient_id = \"nobody\"\n";

/// What the doctor printed, and how it ended.
struct Report {
    json: Value,
    code: i32,
}

impl Report {
    fn list(&self, name: &str) -> &[Value] {
        self.json[name].as_array().map(Vec::as_slice).unwrap_or_default()
    }

    /// The finding with that code.
    #[track_caller]
    fn named(&self, code: &str) -> &Value {
        let found = self.list("findings").iter().find(|finding| finding["code"] == code);
        found.unwrap_or_else(|| panic!("no {code} in {:#}", self.json))
    }

    /// That code, of that weight and step, with these words to change; and the exit code that goes with it.
    #[track_caller]
    fn names(&self, code: &str, weight: &str, step: &str, change: &str) {
        let finding = self.named(code);
        assert_eq!((&finding["weight"], &finding["step"]), (&weight.into(), &step.into()), "{finding:#}");
        assert!(finding["change"].as_str().is_some_and(|text| text.contains(change)), "{change:?} in {finding:#}");
    }

    #[track_caller]
    fn is_well(&self) {
        assert_eq!(
            (self.code, self.json["worst"] == "hint" || self.json["worst"].is_null()),
            (0, true),
            "{:#}",
            self.json
        );
    }

    #[track_caller]
    fn says_good(&self, words: &str) {
        let said = self.list("good").iter().any(|good| good["said"].as_str().is_some_and(|said| said.contains(words)));
        assert!(said, "{words:?} in {:#}", self.json);
    }
}

/// The doctor's report of `parts` of the deployment.
async fn examine(config: &Config, parts: &str, more: &[&str]) -> Report {
    let mut command = tokio::process::Command::from(config.subcommand("doctor"));
    command.arg("--json").args(more).kill_on_drop(true);
    if !parts.is_empty() {
        command.args(["--only", parts]);
    }
    let output = tokio::time::timeout(PATIENCE, command.output()).await.expect("it ends").expect("the doctor");
    let text = String::from_utf8_lossy(&output.stdout);
    let json = serde_json::from_str(&text)
        .unwrap_or_else(|e| panic!("{e}: {text}{}", String::from_utf8_lossy(&output.stderr)));
    Report { json, code: output.status.code().expect("an exit code") }
}

fn mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).expect("its mode is changed");
}

/// A deployment whose configuration nobody else can read.
fn deployment(app: &str, tables: &str) -> Config {
    let config = Config::new().add(PROVIDER).add(&upstream_table(app)).add(tables);
    mode(config.dir.path(), 0o700);
    config
}

#[tokio::test]
async fn a_good_deployment_has_nothing_to_change() {
    let scene = scene().await;
    mode(scene.gateway.config.dir.path(), 0o700);
    let report = examine(&scene.gateway.config, "", &[]).await;
    report.is_well();
    for said in ["leads to this gateway", "none reached the app", "groups fit beside", "answers with status 200"] {
        report.says_good(said);
    }
    // Not by a call that waits: the app is in this process.
    let mut command = tokio::process::Command::from(scene.gateway.config.subcommand("doctor"));
    let output = command.output().await.expect("the doctor");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && text.contains("0 broken, 0 warnings"), "{text}");
    for secret in [&scene.client.secret, &scene.gateway.config.secrets[0]] {
        assert!(
            !text.contains(secret.as_str()) && !report.json.to_string().contains(secret.as_str()),
            "a secret is told"
        );
    }
}

#[tokio::test]
async fn a_certificate_that_browsers_refuse_is_named_before_they_do() {
    let authority = Authority::new();
    let mut config = deployment("http://127.0.0.1:9", ROUTES);
    config.public_url = config.public_url.replace("http:", "https:");
    let put = |leaf: &Leaf| leaf.write(config.dir.path());
    let (certificate, key) = put(&authority.expired(&["127.0.0.1"]));
    config.listen = format!("tls_certificate_file = {certificate:?}\ntls_key_file = {key:?}\n");
    let report = examine(&config, "certificate", &[]).await;
    report.names("DW-9022", "broken", "time", "Renew");
    assert_eq!(report.code, 4);
    authority.leaf(&["other.example"]).write(config.dir.path());
    let report = examine(&config, "certificate", &[]).await;
    report.names("DW-9021", "broken", "names", "public_url");
    let seen = report.named("DW-9021")["seen"].as_str().expect("seen").to_owned();
    assert!(seen.contains("expected 127.0.0.1") && seen.contains("got other.example"), "{seen}");
    authority.leaf(&["127.0.0.1"]).write(config.dir.path());
    examine(&config, "certificate", &[]).await.is_well();
}

#[tokio::test]
async fn a_secret_that_others_may_read_is_named_and_so_it_is_at_the_start() {
    let config = deployment("http://127.0.0.1:9", ROUTES);
    mode(config.dir.path(), 0o755);
    let gateway = config.start().await;
    gateway.log_line(&["DW-9002", "gateway.toml", "chmod"]).await;
    let report = examine(&gateway.config, "configuration", &[]).await;
    report.names("DW-9002", "warning", "file mode", "chmod o-rwx");
    assert_eq!(report.code, 3);
    // As it says.
    mode(&gateway.config.path(), 0o640);
    examine(&gateway.config, "configuration", &[]).await.is_well();
}

#[tokio::test]
async fn a_directory_is_examined_step_by_step() {
    let slapd = Slapd::start_with(Setup::default()).await;
    let at = |table: String| deployment("http://127.0.0.1:9", &format!("{ROUTES}{table}"));
    let good = slapd.table();
    let closed = free_port();
    for (from, to, code, step, change) in [
        ("base_dn = \"", "base_dn = \"ou=nobody,", "DW-6204", "base_dn", "base_dn"),
        ("reader-secret", "wrong", "DW-6203", "bind", "bind_password"),
        (slapd.port.to_string().as_str(), closed.to_string().as_str(), "DW-6201", "TCP", "address"),
        ("[ldap]\n", "[ldap]\nuser_attribute = [\"employeeNumber\"]\n", "DW-9041", "people", "user_attribute"),
        ("127.0.0.3", "nowhere.invalid", "DW-6201", "DNS", "address"),
    ] {
        assert!(good.contains(from), "{from} in {good}");
        let report = examine(&at(good.replace(from, to)), "directory", &[]).await;
        report.names(code, "broken", step, change);
    }
    let plain = at(good.replace("ldap://", "ldaps://"));
    examine(&plain, "directory", &[]).await.names("DW-6201", "broken", "TLS", "ldap:// with `start_tls");
    let stranger = Authority::new();
    let config = at(slapd.table_at(&slapd.tls_url()));
    let untrusted = config.dir.path().join("stranger.pem");
    std::fs::write(&untrusted, stranger.pem()).expect("written");
    let with_ca =
        |config: Config, file: &Path| Config { tables: format!("{}ca_file = {file:?}\n", config.tables), ..config };
    let config = with_ca(config, &untrusted);
    examine(&config, "directory", &[]).await.names("DW-6202", "broken", "TLS", "ca_file");
    // As it says.
    let config = Config {
        tables: config.tables.replace(untrusted.to_str().expect("text"), slapd.ca_file().to_str().expect("text")),
        ..config
    };
    let report = examine(&config, "directory", &[]).await;
    report.is_well();
    report.says_good("with TLS, as cn=reader");
}

#[tokio::test]
async fn the_attribute_string_of_another_product_in_the_place_of_the_base_is_recognised() {
    let slapd = Slapd::start_with(Setup::default()).await;
    for (pasted, change) in
        [("email=mail,group=gidNumber", "attributes"), ("uid=%s,dc=example,dc=org", "user_attribute")]
    {
        let table = slapd.table().replace("base_dn = \"dc=example,dc=org\"", &format!("base_dn = {pasted:?}"));
        let config = deployment("http://127.0.0.1:9", &format!("{ROUTES}{table}"));
        let report = examine(&config, "directory", &[]).await;
        report.names("DW-7002", "broken", "", change);
        assert_eq!(report.code, 78);
    }
    examine(&deployment("http://127.0.0.1:9", &format!("{ROUTES}{}", slapd.table())), "directory", &[]).await.is_well();
}

#[tokio::test]
async fn an_app_that_sends_people_past_the_gateway_is_named() {
    let to = |place: &str| {
        format!("HTTP/1.1 302 Found\r\nLocation: {place}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    };
    for (place, change) in
        [("http://app.example.com/login", "forwarding headers"), ("https://app.example.com:3000/", "X-Forwarded-Host")]
    {
        let app = RawApp::start(to(place), true).await;
        let mut config = deployment(&app.url(), ROUTES);
        config.public_url = "https://app.example.com".into();
        let report = examine(&config, "upstream", &[]).await;
        let weight = report.named("DW-9051")["weight"].as_str().expect("a weight").to_owned();
        report.names("DW-9051", &weight, "redirect", change);
        assert!(report.code >= 3);
    }
    // One that goes by the headers.
    let app = RawApp::start(to("https://app.example.com/login"), true).await;
    let mut config = deployment(&app.url(), ROUTES);
    config.public_url = "https://app.example.com".into();
    examine(&config, "upstream", &[]).await.is_well();
    let report = examine(&deployment(&format!("http://127.0.0.1:{}", free_port()), ROUTES), "upstream", &[]).await;
    report.names("DW-2101", "broken", "TCP", "url");
    let report = examine(&deployment("http://nowhere.invalid:80", ROUTES), "upstream", &[]).await;
    report.names("DW-2102", "broken", "DNS", "url");
}

/// An app that goes by `X-Forwarded-User`, as it must behind a gateway.
async fn believing() -> std::net::SocketAddr {
    use axum::http::{HeaderMap, StatusCode};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let answer = async |headers: HeaderMap| match headers.get("x-forwarded-user") {
        Some(user) => (StatusCode::OK, user.to_str().unwrap_or_default().to_owned()),
        None => (StatusCode::UNAUTHORIZED, "who are you?".to_owned()),
    };
    tokio::spawn(axum::serve(listener, axum::Router::new().fallback(answer)).into_future());
    address
}

#[tokio::test]
async fn an_app_that_believes_whoever_reaches_it_has_to_be_reached_by_the_gateway_alone() {
    let app = believing().await;
    let config = deployment(&format!("http://{app}"), ROUTES);
    let told = ["--try-identity-headers"];
    let report = examine(&config, "upstream", &told).await;
    report.is_well();
    report.says_good("this machine alone reaches it");
    // The same app by a name that tells nothing of the sort.
    let open = format!("http://0.0.0.0:{}", app.port());
    let report = examine(&deployment(&open, ROUTES), "upstream", &told).await;
    report.names("DW-9052", "hint", "identity", "--app-address");
    assert!(report.named("DW-9052")["seen"].as_str().is_some_and(|seen| seen.contains("401") && seen.contains("200")));
    let closed = format!("http://127.0.0.1:{}", free_port());
    let report = examine(&config, "upstream", &["--app-address", &open, "--app-address", &closed]).await;
    report.names("DW-9053", "broken", "", "Bind the app");
    report.says_good("nobody answers");
    assert_eq!(report.code, 4);
    examine(&config, "upstream", &["--app-address", &closed]).await.is_well();
}

/// The lines of the shell that `docs/doctor.md` has one type elsewhere, for the app at `url`.
fn typed_elsewhere(url: &str) -> String {
    let page = include_str!("../../docs/doctor.md");
    let block = page.split("```").find(|block| block.contains("doctor --only upstream --app-address"));
    let lines = block.expect("the recipe is in the docs").trim();
    assert!(lines.contains("http://app.internal:3000"), "{lines}");
    lines.replace("http://app.internal:3000", url)
}

#[tokio::test]
async fn the_recipe_for_another_machine_works_as_it_is_typed() {
    let program = Path::new(env!("CARGO_BIN_EXE_doorward")).parent().expect("a folder").display();
    let elsewhere = tempfile::tempdir().expect("an empty folder");
    let app = App::start().await;
    let closed = format!("http://127.0.0.1:{}", free_port());
    for (url, code, said) in [(closed, 0, "nobody answers"), (app.url(), 4, "DW-9053")] {
        let mut shell = tokio::process::Command::new("sh");
        shell.args(["-c", &typed_elsewhere(&url)]).current_dir(elsewhere.path()).kill_on_drop(true);
        shell.env_clear().env("PATH", format!("{program}:/usr/bin:/bin"));
        let output = tokio::time::timeout(PATIENCE, shell.output()).await.expect("it ends").expect("the doctor");
        let told = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{told}");
        assert!(told.contains(said) && !told.contains("DW-2101"), "{told}");
    }
}

#[tokio::test]
async fn no_app_hears_of_somebody_unless_that_is_asked_for() {
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let app = RawApp::start(answer, true).await;
    let config = deployment(&app.url(), ROUTES);
    let named = |requests: String| requests.to_ascii_lowercase().contains("x-forwarded-user");
    let report = examine(&config, "", &[]).await;
    assert!(!app.received().is_empty() && !named(app.received()));
    let unasked = report.list("skipped").iter().find(|said| said["step"] == "identity").expect("it is said");
    assert!(unasked["said"].as_str().is_some_and(|said| said.contains("--try-identity-headers")), "{unasked}");
    examine(&config, "upstream", &["--try-identity-headers"]).await.says_good("change nothing");
    assert!(named(app.received()));
}

#[tokio::test]
async fn what_apps_and_providers_say_moves_no_cursor_of_the_terminal() {
    let hostile = "\u{1b}[2J\u{9b}31m\u{1b}]0;owned\u{7}";
    let page = format!("<title>{hostile}</title>");
    let answer = format!(
        "HTTP/1.1 302 Found\r\nServer: {hostile}\r\nLocation: http://elsewhere.example/{hostile}\r\nContent-Length: \
         {}\r\nConnection: close\r\n\r\n{page}",
        page.len()
    );
    let (app, public) = (RawApp::start(answer.clone(), true).await, RawApp::start(answer, true).await);
    let forger = Forger::start().await;
    let said = serde_json::json!({"error": "invalid_client", "error_description": hostile}).to_string();
    let refusal = said.clone();
    forger.answers(move |_, _| (401, refusal.clone()));
    let mut config = forger.config(&app.url(), "");
    config.public_url = public.url();
    let mut seen = String::new();
    for broken_metadata in [None, Some(said.as_str()), Some(page.as_str())] {
        if let Some(body) = broken_metadata {
            forger.instead("metadata", 500, "", body);
        }
        let mut command = tokio::process::Command::from(config.subcommand("doctor"));
        command.args(["--app-address", &app.url(), "--only", "public-url,provider,upstream"]).kill_on_drop(true);
        let output = tokio::time::timeout(PATIENCE, command.output()).await.expect("it ends").expect("the doctor");
        seen += &String::from_utf8_lossy(&output.stdout);
    }
    assert!(seen.contains("[2J"), "what they say is shown: {seen}");
    assert!(!seen.contains(|c: char| c != '\n' && c.is_control()), "{seen:?}");
}

/// An app that speaks TLS, and to whoever does not it does `otherwise`.
async fn over_tls_alone(otherwise: &'static [u8]) -> std::net::SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(Leaf::self_signed("localhost").server(&[])));
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let mut first = [0];
                match stream.peek(&mut first).await {
                    Ok(1) if first[0] == 0x16 => drop(acceptor.accept(stream).await),
                    _ => {
                        let _ = stream.read(&mut [0; 4096]).await;
                        let _ = stream.write_all(otherwise).await;
                    }
                }
            });
        }
    });
    address
}

#[tokio::test]
async fn an_app_that_speaks_tls_alone_is_told_from_one_that_breaks_off() {
    let bad_request = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";
    for otherwise in [&b""[..], b"\x15\x03\x01\x00\x02\x02\x0a", bad_request] {
        let app = format!("http://{}", over_tls_alone(otherwise).await);
        let report = examine(&deployment(&app, ROUTES), "upstream", &[]).await;
        report.names("DW-2107", "broken", "HTTP", "https://");
    }
    let breaks_off = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let app = format!("http://{}", breaks_off.local_addr().expect("an address"));
    tokio::spawn(async move { while breaks_off.accept().await.is_ok() {} });
    examine(&deployment(&app, ROUTES), "upstream", &[]).await.names("DW-2105", "broken", "HTTP", "");
}

#[tokio::test]
async fn somebody_who_should_be_found_in_the_directory_is_looked_for_by_name() {
    let slapd = Slapd::start_with(Setup::default()).await;
    let at = |table: &str| deployment("http://127.0.0.1:9", &format!("{ROUTES}{table}"));
    let config = at(&slapd.table());
    let report = examine(&config, "directory", &["--sample-user", "ada"]).await;
    report.is_well();
    report.says_good("exactly one entry");
    assert!(!report.json.to_string().contains("Lovelace"), "{:#}", report.json);
    let report = examine(&config, "directory", &["--sample-user", "nobody.of.that.name"]).await;
    report.names("DW-9041", "warning", "sample user", "user_attribute");
    // Whoever reads it is who may mend it, and not the one who was looked for.
    let keeps_out = at(&format!("{}group_allow_list = [\"nobodys\"]\n", slapd.table()));
    let report = examine(&keeps_out, "directory", &["--sample-user", "ada"]).await;
    report.names("DW-3507", "warning", "sample user", "Add the person to a group");
    assert_eq!(report.named("DW-3507")["title"], "This person's groups may not sign in");
    let everybody = at(&format!("{}user_filter = \"(|(uid={{user}})(objectClass=person))\"\n", slapd.table()));
    let report = examine(&everybody, "directory", &["--sample-user", "ada"]).await;
    let found = report.list("findings").iter().find(|finding| finding["step"] == "sample user").expect("a finding");
    assert!(found["seen"].as_str().is_some_and(|seen| seen.contains("more than one entry")), "{found:#}");
}

#[tokio::test]
async fn an_app_that_is_dead_hides_nothing_of_the_others() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let silent = format!("http://{}", silent.local_addr().expect("an address"));
    let app = App::start().await;
    let more = (0..8).map(|number| format!("[[upstream]]\nname = \"dead{number}\"\nurl = {silent:?}\n"));
    let tables = format!("{}[[upstream]]\nname = \"last\"\nurl = {:?}\n{ROUTES}", more.collect::<String>(), app.url());
    let report = examine(&deployment(&silent, &tables), "upstream", &[]).await;
    let dead = report.list("findings").iter().filter(|finding| finding["code"] == "DW-2104").count();
    assert_eq!(dead, 9, "{:#}", report.json);
    report.says_good("answers with status 200");
}

#[tokio::test]
async fn where_the_public_url_leads_is_told() {
    let gateway = gateway_before("http://127.0.0.1:9", "").await;
    let good = examine(&gateway.config, "public-url", &[]).await;
    good.is_well();
    good.says_good("leads to this gateway");
    let other = |url: &str| {
        let mut config = deployment("http://127.0.0.1:9", ROUTES);
        config.public_url = url.to_owned();
        config
    };
    // Another secret; the same secret at another address; another server; another scheme; nobody.
    let report = examine(&other(&gateway.config.public_url), "public-url", &[]).await;
    report.names("DW-9014", "broken", "probe", "secrets");
    let mut same_secret = other(&gateway.config.public_url.replace("127.0.0.1", "localhost"));
    same_secret.secrets = gateway.config.secrets.clone();
    examine(&same_secret, "public-url", &[]).await.names("DW-9014", "broken", "probe", "public_url");
    let nginx =
        "HTTP/1.1 200 OK\r\nServer: nginx\r\nContent-Length: 24\r\nConnection: close\r\n\r\n<title>Welcome</title>  ";
    let server = RawApp::start(nginx, true).await;
    let report = examine(&other(&server.url()), "public-url", &[]).await;
    report.names("DW-9013", "broken", "probe", "public_url");
    let seen = report.named("DW-9013")["seen"].as_str().expect("seen").to_owned();
    assert!(seen.contains("nginx") && seen.contains("Welcome"), "{seen}");
    let moved =
        "HTTP/1.1 301 Moved\r\nLocation: https://app.example.com/\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let report = examine(&other(&RawApp::start(moved, true).await.url()), "public-url", &[]).await;
    report.names("DW-9015", "broken", "redirect", "https://app.example.com");
    let report = examine(&other("http://nowhere.invalid"), "public-url", &[]).await;
    report.names("DW-9011", "warning", "DNS", "public_url");
    let report = examine(&other(&gateway.config.public_url.replace("http:", "https:")), "public-url", &[]).await;
    report.names("DW-9012", "broken", "TLS", "speaks no TLS");
}

#[tokio::test]
async fn a_public_url_with_another_port_than_the_one_reached_is_mended_by_what_is_said() {
    let mut config = deployment("http://127.0.0.1:9", ROUTES);
    let right = config.public_url.clone();
    config.public_url = format!("http://127.0.0.1:{}", free_port());
    let gateway = config.start().await;
    // The gateway of the wrong address answers at the right one, and does not know that it is.
    let report = examine(&gateway.config, "public-url", &[]).await;
    report.names("DW-9011", "broken", "port", &right);
    let gateway = gateway.restart(|config| config.public_url = right).await;
    examine(&gateway.config, "public-url", &[]).await.is_well();
}

#[tokio::test]
async fn a_gateway_that_believes_strangers_attacks_itself_with_success() {
    let app = App::start().await;
    let mut config = deployment(&app.url(), ROUTES);
    config.listen = "trusted_proxies = [\"0.0.0.0/0\"]\n".into();
    let report = examine(&config, "self-attack", &[]).await;
    report.names("DW-9061", "broken", "headers", "trusted_proxies");
    let seen = report.named("DW-9061")["seen"].as_str().expect("seen").to_owned();
    assert!(seen.contains("forged.invalid") && report.code == 4, "{seen}");
    // As it says: its own proxies alone.
    config.listen = "trusted_proxies = [\"10.0.0.1\"]\n".into();
    let report = examine(&config, "self-attack", &[]).await;
    report.is_well();
    report.says_good("none reached the app");
    assert!(app.seen().is_empty(), "the real app is asked nothing");
}

#[tokio::test]
async fn a_gateway_that_was_left_in_restore_mode_is_named() {
    let mut config = deployment("http://127.0.0.1:9", ROUTES);
    config.env.push(("LOCAL_RESTORE".into(), "true".into()));
    let mut gateway = config.start().await;
    gateway.ready().await;
    // Whoever examines it has another environment.
    gateway.config.env.clear();
    let report = examine(&gateway.config, "running", &[]).await;
    report.names("DW-3521", "warning", "restore mode", "LOCAL_RESTORE");
    assert_eq!(report.code, 3);
    // As it says.
    let gateway = gateway.restart(|_| {}).await;
    let report = examine(&gateway.config, "running", &[]).await;
    assert!(report.list("findings").iter().all(|finding| finding["code"] != "DW-3521"), "{:#}", report.json);
}

#[tokio::test]
async fn what_the_running_gateway_refused_is_told_with_its_reference() {
    let gateway = gateway_before(&format!("http://127.0.0.1:{}", free_port()), "").await;
    let person = Person::new();
    person.fetch(&gateway.url("/oidc/callback")).await.expect(400);
    person.fetch(&gateway.url("/public")).await.expect(502);
    person.fetch(&gateway.url("/private")).await;
    let report = crate::support::eventually("the refusals are told", || async {
        let report = examine(&gateway.config, "running", &[]).await;
        let told = |code: &str| report.list("findings").iter().any(|finding| finding["code"] == code);
        (told("DW-3101") && told("DW-2101")).then_some(report)
    })
    .await;
    let seen = report.named("DW-3101")["seen"].as_str().expect("seen").to_owned();
    assert!(seen.starts_with("1 time ") && seen.contains("reference "), "{seen}");
    // Whoever knows the address can do that.
    report.names("DW-3101", "hint", "", "Nothing where");
    // What everybody meets every day is no finding; a provider that does not answer is.
    assert!(!report.json.to_string().contains("DW-3001"), "{:#}", report.json);
    let stopped = deployment("http://127.0.0.1:9", ROUTES);
    let report = examine(&stopped, "running", &[]).await;
    report.is_well();
    assert!(
        report
            .list("skipped")
            .iter()
            .any(|one| one["said"].as_str().is_some_and(|said| said.contains("no gateway runs")))
    );
}
