//! Another configuration while the gateway runs: what is followed, what is refused, and what says so.

use std::os::unix::fs::symlink;
use std::path::Path;

use reqwest::Client;
use reqwest::tls::TlsInfo;
use serde_json::{Value, json};

use crate::support::app::App;
use crate::support::eventually;
use crate::support::gateway::{Config, Gateway};
use crate::support::person::Person;
use crate::support::provider::Provider;
use crate::support::raw::{Connection, exchange, get};
use crate::support::setup::{gateway_before, scene, scene_at, upstream_table};
use crate::support::tls::{Authority, Leaf};
use crate::support::{free_port, random_word};

const MORE: &str = "[[route]]\npath = \"/more\"\naccess = \"public\"\n";

async fn status(gateway: &Gateway, target: &str) -> u16 {
    exchange(gateway.address(), get(target, "")).await.expect("an answer").status
}

async fn configuration(gateway: &Gateway) -> Value {
    gateway.readyz().await.1["configuration"].clone()
}

/// What is told of the reload after the one of generation `before`, which nobody asked for. Requests go by it a moment earlier.
async fn reloaded_after(gateway: &Gateway, before: u64) -> Value {
    eventually("the reload is told", || async {
        let said = configuration(gateway).await;
        (said["generation"].as_u64() > Some(before)).then(|| said["last_reload"].clone())
    })
    .await
}

#[tokio::test]
async fn a_route_is_there_after_sighup_and_nothing_is_restarted() {
    let app = App::start().await;
    let mut gateway = gateway_before(&app.url(), "").await;
    let pid = gateway.pid();
    assert_eq!(configuration(&gateway).await["generation"], 1);
    assert_eq!((status(&gateway, "/more").await, status(&gateway, "/public").await), (401, 200));
    assert!(gateway.reload(|config| config.tables.push_str(MORE)).await);
    assert_eq!((status(&gateway, "/more").await, status(&gateway, "/public").await), (200, 200));
    let said = configuration(&gateway).await;
    assert_eq!((&said["generation"], &said["good"]), (&json!(2), &json!(true)), "{said}");
    assert_eq!(said["last_reload"]["changed"], json!(["route"]));
    assert_eq!(said["last_reload"]["asked_by"], "SIGHUP");
    gateway.log_line(&["the new configuration is in force", "changed=route"]).await;
    assert_eq!(gateway.metric("doorward_reloads_total", &["outcome=\"ok\""]).await, 1.0);
    // What is taken away is gone.
    assert!(gateway.reload(|config| config.tables = config.tables.replace(MORE, "")).await);
    assert_eq!(status(&gateway, "/more").await, 401);
    assert_eq!((gateway.exited(), gateway.pid()), (None, pid));
}

#[tokio::test]
async fn a_bad_configuration_keeps_the_old_one_whole_and_is_named_everywhere() {
    let app = App::start().await;
    let mut gateway = gateway_before(&app.url(), "").await;
    let loaded = gateway.metric("doorward_configuration_loaded_timestamp_seconds", &[]).await;
    let good = gateway.config.text();
    for (bad, reason, key) in [
        (format!("{good}{MORE}colour = \"red\"\n"), "DW-7002", "route[2].colour"),
        (format!("{good}{MORE}[[route"), "DW-7002", ""),
        (format!("{MORE}path = 1"), "DW-7002", ""),
        (
            good.replace("[listen]", "secret_file = \"gone\"\n[listen]").replace("secrets =", "#"),
            "DW-7003",
            "secret_file",
        ),
        (format!("{good}{MORE}[brand]\nlogo_file = \"gone.svg\"\n"), "DW-7002", ""),
    ] {
        assert!(!gateway.reload_text(&bad).await, "{bad}");
        assert_eq!((status(&gateway, "/more").await, status(&gateway, "/public").await), (401, 200));
        let said = configuration(&gateway).await;
        let problem = &said["last_reload"]["problems"][0];
        assert_eq!((&said["good"], &said["generation"]), (&json!(false), &json!(1)), "{said}");
        assert_eq!(problem["reason"], reason, "{said}");
        assert!(key.is_empty() || problem["key"] == key, "{said}");
        assert!(problem["remedy"].as_str().is_some_and(|remedy| !remedy.is_empty()), "{said}");
        assert!(gateway.metric("doorward_reloads_total", &[&format!("outcome=\"{reason}\"")]).await > 0.0);
        assert_eq!(gateway.readyz().await.1["ready"], false, "its provider is not there, and nothing else is said");
    }
    assert_eq!(gateway.metric("doorward_configuration_loaded_timestamp_seconds", &[]).await, loaded);
    let line = gateway.log_line(&["the new configuration is not taken", "route[2].colour"]).await;
    for word in ["reason=DW-7002", "line=", "gateway.toml", "remedy="] {
        assert!(line.contains(word), "{word}: {line}");
    }
    // The file that cannot be read at all.
    assert!(!gateway.hang_up_after(|| std::fs::remove_file(gateway.config.path()).expect("there")).await);
    let problem = configuration(&gateway).await["last_reload"]["problems"][0].clone();
    assert!(problem["reason"] == "DW-7001" && problem["remedy"].to_string().contains("put it there"), "{problem}");
    assert_eq!(status(&gateway, "/public").await, 200);
    // And the next good one is taken.
    assert!(gateway.reload(|config| config.tables.push_str(MORE)).await);
    assert_eq!(status(&gateway, "/more").await, 200);
    assert_eq!(configuration(&gateway).await["last_reload"]["problems"], json!([]));
}

#[tokio::test]
async fn a_changed_file_is_seen_without_a_signal_and_a_mended_one_too() {
    let app = App::start().await;
    let mut gateway = gateway_before(&app.url(), "").await;
    gateway.rewrite(|config| config.tables.push_str(MORE));
    eventually("the route", || async { (status(&gateway, "/more").await == 200).then_some(()) }).await;
    assert_eq!(reloaded_after(&gateway, 1).await["asked_by"], "changed file");
    // Written in place, as through a mount of the file alone; and named by the configuration that was refused.
    let logo = gateway.config.dir.path().join("logo.svg");
    let text = gateway.config.text() + "[brand]\nlogo_file = \"logo.svg\"\nname = \"Mended\"\n";
    std::fs::write(gateway.config.path(), text).expect("gateway.toml");
    eventually("the refusal", || async { (configuration(&gateway).await["good"] == false).then_some(()) }).await;
    std::fs::write(logo, "<svg xmlns='http://www.w3.org/2000/svg'/>").expect("a logo");
    eventually("the logo", || async { (configuration(&gateway).await["good"] == true).then_some(()) }).await;
    let changed = configuration(&gateway).await["last_reload"]["changed"].to_string();
    assert!(changed.contains("brand.name"), "{changed}");
}

/// Lets `..data` in `folder` lead to a new folder with `secret`, as Kubernetes does.
fn turn(folder: &Path, version: &str, secret: &str) {
    std::fs::create_dir(folder.join(version)).expect("a folder");
    std::fs::write(folder.join(version).join("secret"), secret).expect("a secret");
    symlink(version, folder.join("..data_tmp")).expect("a link");
    std::fs::rename(folder.join("..data_tmp"), folder.join("..data")).expect("turned");
}

#[tokio::test]
async fn a_secret_that_kubernetes_turns_is_followed_although_a_variable_names_it() {
    let mount = tempfile::tempdir().expect("a folder");
    turn(mount.path(), "..2026_1", &random_word());
    symlink("..data/secret", mount.path().join("secret")).expect("a link");
    let mut config = Config::new();
    let path = mount.path().join("secret").to_string_lossy().into_owned();
    config.env.push(("DOORWARD_SECRET_FILE".into(), path));
    let scene = scene_at(Provider::shared(), config, "", crate::support::setup::ROUTES).await;
    let person = Person::new();
    person.sign_in(&scene.gateway.url("/page"), scene.provider.user("anna")).await;
    person.fetch(&scene.gateway.url("/page")).await.expect(200);
    turn(mount.path(), "..2026_2", &random_word());
    eventually("the new secret", || async {
        (person.fetch(&scene.gateway.url("/page")).await.status == 401).then_some(())
    })
    .await;
    let changed = reloaded_after(&scene.gateway, 1).await["changed"].clone();
    assert_eq!(changed, json!(["secrets", "secret_file (contents)"]));
    person.sign_in(&scene.gateway.url("/page"), scene.provider.user("anna")).await;
}

#[tokio::test]
async fn another_certificate_is_shown_to_who_comes_and_who_is_there_stays() {
    let authority = Authority::new();
    let dir = tempfile::tempdir().expect("a folder");
    let (certificate, key) = authority.leaf(&["127.0.0.1"]).write(dir.path());
    let app = App::start().await;
    let mut config = Config::new();
    config.public_url = format!("https://127.0.0.1:{}", config.port);
    config.listen = format!("tls_certificate_file = {certificate:?}\ntls_key_file = {key:?}\n");
    let config = config.add(&upstream_table(&app.url())).add("[[route]]\naccess = \"public\"\n");
    let gateway = config.start().await;
    let root = reqwest::Certificate::from_pem(authority.pem().as_bytes()).expect("a certificate");
    let client =
        || Client::builder().no_proxy().tls_certs_only([root.clone()]).tls_info(true).build().expect("a client");
    let shown = async |client: &Client| {
        let answer = client.get(gateway.url("/x")).send().await.expect("an answer");
        let info = answer.extensions().get::<TlsInfo>().and_then(TlsInfo::peer_certificate).map(<[u8]>::to_vec);
        let _ = answer.bytes().await.expect("whole");
        info.expect("a certificate")
    };
    let early = client();
    let first = shown(&early).await;
    let another = authority.leaf(&["127.0.0.1"]);
    assert!(gateway.hang_up_after(|| drop(another.write(dir.path()))).await);
    let second = shown(&client()).await;
    assert_ne!(second, first);
    assert_eq!(shown(&early).await, first, "its connection goes on");
    let changed = configuration(&gateway).await["last_reload"]["changed"].clone();
    assert_eq!(changed, json!(["listen.tls_certificate_file (contents)", "listen.tls_key_file (contents)"]));
    // A key of another certificate, and a certificate that is none.
    let other = Leaf::self_signed("other").key;
    assert!(!gateway.hang_up_after(|| std::fs::write(&key, other).expect("key")).await);
    assert!(!gateway.hang_up_after(|| std::fs::write(&certificate, "no certificate").expect("certificate")).await);
    let problem = configuration(&gateway).await["last_reload"]["problems"][0].clone();
    assert_eq!(problem["reason"], "DW-7005", "{problem}");
    assert_eq!(shown(&client()).await, second);
    // Seen without a signal, too.
    authority.leaf(&["127.0.0.1"]).write(dir.path());
    eventually("the third certificate", || async { (shown(&client()).await != second).then_some(()) }).await;
}

#[tokio::test]
async fn what_only_a_start_can_follow_is_told_by_name_and_the_rest_is_followed() {
    let app = App::start().await;
    let mut gateway = gateway_before(&app.url(), "").await;
    let (port, admin) = (gateway.config.port, gateway.config.admin_port);
    let text = gateway.config.text() + MORE;
    let (listen, elsewhere) = (format!("address = \"127.0.0.1:{port}\"\n"), free_port());
    let text = text.replace(&listen, &format!("address = \"127.0.0.1:{elsewhere}\"\nthreads = 7\n"));
    let text = text.replace(&format!("127.0.0.1:{admin}\""), &format!("127.0.0.1:{}\"", free_port()));
    assert!(gateway.reload_text(&text).await);
    assert_eq!(status(&gateway, "/more").await, 200);
    let waiting = json!(["listen.address", "listen.threads", "admin.address"]);
    assert_eq!(configuration(&gateway).await["last_reload"]["wait_for_restart"], waiting);
    gateway.log_line(&["takes effect at the next start", "key=admin.address"]).await;
    assert!(gateway.reload(|_| {}).await);
    assert_eq!(configuration(&gateway).await["last_reload"]["wait_for_restart"], json!([]));
    // The form of the log, and how many connections there may be, are followed.
    let followed = gateway
        .reload(|config| {
            config.log_format = "json";
            config.listen = "max_connections = 1\n".into();
        })
        .await;
    assert!(followed);
    gateway.log_line(&["{", "\"the new configuration is in force\""]).await;
    // Those from before may not have ended yet.
    let _held = eventually("a connection that stays", || async {
        let mut held = Connection::open(gateway.address()).await;
        held.send(get("/public", "")).await.reply().await.map(|_| held)
    })
    .await;
    eventually("nobody else comes in", || async {
        exchange(gateway.address(), get("/public", "")).await.is_none().then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_app_behind_the_system_s_authorities_can_come_later() {
    let authority = Authority::new();
    let (plain, app) =
        (App::start().await, App::start_tls(authority.leaf(&["127.0.0.1"]).server(&[b"h2", b"http/1.1"])).await);
    let mut config = Config::new();
    let roots = config.dir.path().join("roots.pem");
    std::fs::write(&roots, authority.pem()).expect("roots");
    config.env.push(("SSL_CERT_FILE".into(), roots.to_string_lossy().into_owned()));
    let config = config.add(&upstream_table(&plain.url())).add("[[route]]\naccess = \"public\"\n");
    let mut gateway = config.start().await;
    assert_eq!(status(&gateway, "/x").await, 200);
    let tls = format!("https://{}", app.address);
    assert!(gateway.reload(|config| config.tables = config.tables.replace(&plain.url(), &tls)).await);
    assert_eq!((status(&gateway, "/x").await, app.seen_at("/x").len()), (200, 1));
    // Trust is not taken over: an app whose authority is another from now on is not reached by an old connection.
    let other = gateway.config.dir.path().join("other.pem");
    std::fs::write(other, Authority::new().pem()).expect("roots");
    let distrusted = upstream_table(&tls) + "tls_ca_file = \"other.pem\"\n";
    assert!(gateway.reload(|config| config.tables = config.tables.replace(&upstream_table(&tls), &distrusted)).await);
    assert_eq!(status(&gateway, "/x").await, 502);
}

#[tokio::test]
async fn a_pipe_is_not_waited_for() {
    let app = App::start().await;
    let mut gateway = gateway_before(&app.url(), "").await;
    let path = gateway.config.path();
    let made_a_pipe = || {
        std::fs::remove_file(&path).expect("there");
        let made = std::process::Command::new("mkfifo").arg(&path).status();
        assert!(made.expect("mkfifo").success());
    };
    assert!(!gateway.hang_up_after(made_a_pipe).await);
    let problem = configuration(&gateway).await["last_reload"]["problems"][0].clone();
    assert!(problem["reason"] == "DW-7001" && problem["detail"].to_string().contains("pipe"), "{problem}");
    assert!(problem["remedy"].to_string().contains("start again"), "{problem}");
    assert!(gateway.reload(|config| config.tables.push_str(MORE)).await);
    assert_eq!(status(&gateway, "/more").await, 200);
}

#[tokio::test]
async fn a_provider_is_known_after_a_reload_without_being_asked_first() {
    let mut scene = scene().await;
    let asked = async |gateway: &Gateway| {
        gateway.metric("doorward_provider_fetches_total", &["step=\"discovery\"", "outcome=\"ok\""]).await
    };
    // Once, but for a provider whose keys came too late the first time.
    let before = asked(&scene.gateway).await;
    let person = Person::new();
    person.sign_in(&scene.gateway.url("/page"), scene.provider.user("anna")).await;
    for n in 0..5 {
        let route = format!("[[route]]\npath = \"/more{n}\"\naccess = \"public\"\n");
        assert!(scene.gateway.reload(|config| config.tables.push_str(&route)).await);
        assert_eq!(scene.gateway.readyz().await.0, 200);
        let another = Person::new();
        another.sign_in(&scene.gateway.url("/page"), scene.provider.user("berta")).await;
    }
    person.fetch(&scene.gateway.url("/page")).await.expect(200);
    // Nor afterwards, while its settings are the same; with others it is.
    assert_eq!(asked(&scene.gateway).await, before);
    let named = "[[provider]]\nname = \"renamed\"\n";
    assert!(scene.gateway.reload(|config| config.tables = config.tables.replacen("[[provider]]\n", named, 1)).await);
    eventually("it is asked", || async { (asked(&scene.gateway).await > before).then_some(()) }).await;
    // The metrics know it by its new name alone.
    let ready = async |gateway: &Gateway, name: &str| {
        gateway.metric("doorward_provider_ready", &[&format!("provider=\"{name}\"")]).await
    };
    assert_eq!((ready(&scene.gateway, "main").await, ready(&scene.gateway, "renamed").await), (0.0, 1.0));
    assert!(!scene.gateway.metrics().await.contains("doorward_provider_ready{provider=\"main\"}"));
}

#[tokio::test]
async fn what_the_doctor_finds_at_once_is_told_after_a_reload_too_and_once() {
    let app = App::start().await;
    let mut gateway = gateway_before(&app.url(), "").await;
    let (first, open) = (gateway.config.path(), gateway.config.dir.path().join("client"));
    let (first, second) = (format!("{:?} (mode", first), format!("{:?} (mode", open));
    let [first, second] = [first, second].map(|place| place.replace('"', ""));
    gateway.log_line(&["DW-9002", &first]).await;
    std::fs::write(&open, random_word()).expect("a secret");
    let key = format!("client_id = \"nobody\"\nclient_secret_file = {open:?}\n");
    for tables in [gateway.config.tables.replace("client_id = \"nobody\"\n", &key), String::new()] {
        let taken = gateway
            .reload(|config| match tables.is_empty() {
                true => config.tables.push_str(MORE),
                false => config.tables = tables,
            })
            .await;
        assert!(taken);
        gateway.log_line(&["DW-9002", &second]).await;
    }
    // What is found by the next one comes after all that could be said twice.
    let third = gateway.config.dir.path().join("another");
    std::fs::write(&third, random_word()).expect("a secret");
    let open = format!("{open:?}");
    assert!(gateway.reload(|config| config.tables = config.tables.replace(&open, &format!("{third:?}"))).await);
    gateway.log_line(&["DW-9002", "/another (mode"]).await;
    let told = |place: &str| gateway.log_lines().iter().filter(|l| l.contains("DW-9002") && l.contains(place)).count();
    assert_eq!((told(&first), told(&second)), (1, 1));
}
