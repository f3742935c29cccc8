//! Deployments that are broken for real: what everybody who looks reads of it, and the remedy that mends it.
//!
//! A test takes a [`Deployment`] that would work, breaks one thing (a setting, a registration, a part that misbehaves), and has
//! somebody act. [`Deployment::refuses`] holds the page or the JSON, the log line, the console and the doctor against one
//! [`Fault`]. Then the test does what the remedy says, and [`Deployment::works`] sees that it was the one.

use reqwest::Method;
use serde_json::{Value, json};
use toml::Value as Setting;

use super::app::App;
use super::eventually;
use super::forger::Forger;
use super::gateway::{Config, Gateway};
use super::person::{Answer, CURL, Person};
use super::provider::{Client, Provider, User};
use super::setup::ROUTES;
use super::standin::StandIn;

/// What is read of a broken deployment, by everybody who looks.
#[derive(Clone, Copy, Debug)]
pub struct Fault<'a> {
    /// Stands on the page or in the JSON, in the log line, on the console, and in the doctor's finding.
    pub code: &'a str,
    /// Words of what was seen: in the log line and on the console.
    pub seen: &'a str,
    /// Words of what to change: in the remedy that the visitor reads, and in the doctor's.
    pub change: &'a str,
    /// The part of the doctor's examination that finds it by itself, before anybody has met it.
    pub part: &'a str,
}

/// Only who acts can meet it: the doctor has it from the gateway that runs.
pub const FROM_THE_GATEWAY: &str = "running";

/// A gateway with the app behind it and the provider that it believes.
pub struct Deployment {
    /// While it does not run.
    config: Option<Config>,
    gateway: Option<Gateway>,
    /// Whether what runs is what is configured.
    current: bool,
    tables: toml::Table,
    pub app: App,
    pub provider: Option<Provider>,
    pub client: Client,
    /// Makes whoever acts.
    makes: Box<dyn Fn() -> Person>,
    /// Code and part of what it was refused for last.
    fault: Option<(String, String)>,
}

impl Deployment {
    /// With a client of `provider`.
    pub async fn at(provider: Provider) -> Deployment {
        Self::registered(provider, json!({})).await
    }

    /// With a client that is registered with this metadata.
    pub async fn registered(provider: Provider, metadata: Value) -> Deployment {
        let config = Config::new();
        let client = provider.register(&config.public_url, metadata).await;
        let mut deployment = Self::before(config, provider.issuer(), client).await;
        deployment.set("provider.client_secret", deployment.client.secret.clone());
        deployment.provider = Some(provider);
        deployment
    }

    /// With a provider that lies.
    pub async fn forged(forger: &Forger) -> Deployment {
        let client = Client { id: "the-client".into(), secret: String::new() };
        Self::before(Config::new(), &forger.issuer, client).await
    }

    /// Without a provider: for programs, or for a directory.
    pub async fn without_provider() -> Deployment {
        let client = Client { id: "nobody".into(), secret: String::new() };
        let mut deployment = Self::before(Config::new(), "http://127.0.0.2:9", client).await;
        deployment.tables.remove("provider");
        deployment
    }

    async fn before(config: Config, issuer: &str, client: Client) -> Deployment {
        let app = App::start().await;
        let text = format!(
            "[[provider]]\nissuer = {issuer:?}\nclient_id = {:?}\n[[upstream]]\nurl = {:?}\n{ROUTES}",
            client.id,
            app.url()
        );
        let tables = text.parse().expect("TOML");
        Deployment {
            config: Some(config),
            gateway: None,
            current: false,
            tables,
            app,
            provider: None,
            client,
            makes: Box::new(Person::new),
            fault: None,
        }
    }

    /// With a stand-in of a product, without its preset: what differs is set by hand.
    pub async fn of_product(stand_in: &StandIn) -> Deployment {
        let mut deployment = Self::without_provider().await;
        let config = stand_in.config_by_hand(&deployment.app.url(), "");
        deployment.tables = config.tables.parse().expect("TOML");
        let person = stand_in.clone();
        (deployment.config, deployment.makes) = (Some(config), Box::new(move || person.person()));
        deployment
    }

    /// Sets `key`: a path with dots; of several tables of a name it is the first unless a number says which.
    pub fn set(&mut self, key: &str, value: impl Into<Setting>) -> &mut Self {
        let (tables, last) = self.table_of(key);
        tables.insert(last, value.into());
        self
    }

    pub fn unset(&mut self, key: &str) -> &mut Self {
        let (tables, last) = self.table_of(key);
        assert!(tables.remove(&last).is_some(), "{key} is not set");
        self
    }

    fn table_of(&mut self, key: &str) -> (&mut toml::Table, String) {
        self.current = false;
        let (path, last) = key.rsplit_once('.').expect("a key of a table");
        let mut table = &mut self.tables;
        let mut names = path.split('.').peekable();
        while let Some(name) = names.next() {
            let number = names.next_if(|next| next.bytes().all(|b| b.is_ascii_digit()));
            let entry = table.entry(name).or_insert_with(|| Setting::Table(toml::Table::new()));
            table = match entry {
                Setting::Array(list) => {
                    let index = number.map_or(0, |number| number.parse().expect("a number"));
                    list[index].as_table_mut().expect("a list of tables")
                }
                other => other.as_table_mut().unwrap_or_else(|| panic!("{key} leads through a value")),
            };
        }
        (table, last.to_owned())
    }

    /// Adds tables.
    pub fn add(&mut self, toml: &str) -> &mut Self {
        self.current = false;
        for (name, value) in toml.parse::<toml::Table>().expect("TOML") {
            match (self.tables.get_mut(&name), value) {
                (Some(Setting::Array(list)), Setting::Array(more)) => list.extend(more),
                (_, value) => drop(self.tables.insert(name, value)),
            }
        }
        self
    }

    /// What is configured beside the tables: public URL, secrets, environment.
    pub fn config(&mut self) -> &mut Config {
        self.current = false;
        match (&mut self.gateway, &mut self.config) {
            (Some(gateway), _) => &mut gateway.config,
            (None, config) => config.as_mut().expect("a configuration"),
        }
    }

    /// A file beside the configuration.
    pub fn file(&mut self, name: &str, text: &str) -> String {
        let path = self.config().dir.path().join(name);
        std::fs::write(&path, text).expect("a file");
        path.to_string_lossy().into_owned()
    }

    /// Moves the gateway's clock, as in `+1d`. The doctor is on the same machine.
    pub fn clock(&mut self, shift: &str) -> &mut Self {
        let library = format!("/usr/lib/{}-linux-gnu/faketime/libfaketime.so.1", std::env::consts::ARCH);
        assert!(std::path::Path::new(&library).exists(), "run scripts/install-test-deps first: no {library}");
        let moved = [("LD_PRELOAD", library.as_str()), ("FAKETIME", shift), ("FAKETIME_DONT_FAKE_MONOTONIC", "1")];
        self.config().env = moved.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        self
    }

    /// Has those who act trust the authority.
    pub fn trusting(&mut self, pem: &str) -> &mut Self {
        let root = reqwest::Certificate::from_pem(pem.as_bytes()).expect("PEM");
        self.makes = Box::new(move || Person::with(reqwest::Client::builder().tls_certs_only([root.clone()])));
        self
    }

    /// The gateway, which runs.
    pub fn gateway(&self) -> &Gateway {
        self.gateway.as_ref().expect("a gateway that was started")
    }

    pub fn url(&self, path: &str) -> String {
        self.gateway().url(path)
    }

    /// Starts the gateway, or starts it again where something was changed.
    pub async fn start(&mut self) -> &Gateway {
        let written = toml::to_string(&self.tables).expect("TOML");
        if !self.current {
            let gateway = match (self.gateway.take(), self.config.take()) {
                (Some(gateway), _) => gateway.restart(|config| config.tables = written).await,
                (None, config) => {
                    let config = config.expect("a configuration");
                    Config { tables: written, ..config }.start().await
                }
            };
            (self.gateway, self.current) = (Some(gateway), true);
        }
        self.gateway()
    }

    /// Starts the gateway again, be it only to have it ask the provider anew.
    pub fn restarts(&mut self) -> &mut Self {
        self.current = false;
        self
    }

    /// Somebody acts, and `fault` is what everybody reads of it.
    pub async fn refuses(&mut self, fault: Fault<'_>, act: impl AsyncFn(&Deployment) -> Answer) {
        self.start().await;
        if fault.is_of_readiness() {
            self.unready(fault).await;
        } else {
            self.gateway().ready().await;
        }
        self.acts(fault, act).await;
    }

    /// [`Deployment::refuses`] where `/readyz` names another fault than whoever acts is told of.
    pub async fn refuses_lacking(
        &mut self,
        lack: Fault<'_>,
        fault: Fault<'_>,
        act: impl AsyncFn(&Deployment) -> Answer,
    ) {
        self.start().await;
        self.unready(lack).await;
        self.acts(fault, act).await;
    }

    async fn acts(&mut self, fault: Fault<'_>, act: impl AsyncFn(&Deployment) -> Answer) {
        let answer = act(self).await;
        self.read(fault, &answer).await;
        self.examined(fault).await;
    }

    /// The same where it is a page in a real browser that somebody reads.
    pub async fn shows(&mut self, fault: Fault<'_>, page: &str) {
        self.named(fault, page).await;
        self.examined(fault).await;
    }

    /// The provider keeps whoever signs in, with words of its own: the gateway never hears of it, and the doctor does.
    pub async fn stays_at_the_provider(&mut self, fault: Fault<'_>, words: &str) {
        self.start().await.ready().await;
        let answer = self.signs_in().await;
        let provider = self.provider.as_ref().expect("a provider").address();
        let shown = plain_text(&answer.text());
        assert!(answer.status >= 400 && answer.url.as_str().starts_with(provider), "{} {shown}", answer.url);
        assert!(shown.contains(words), "{words:?} is not what the provider says: {shown}");
        self.examined(fault).await;
    }

    /// Somebody acts and reaches the app: the remedy was the one.
    pub async fn works(&mut self, act: impl AsyncFn(&Deployment) -> Answer) {
        self.start().await.ready().await;
        let answer = act(self).await;
        let shown = plain_text(&answer.text());
        assert_eq!(answer.status, 200, "the remedy does not mend it: {} {shown}", answer.url);
        assert!(shown.contains("\"headers\""), "this is not the app: {} {shown}", answer.url);
        self.healed().await;
    }

    /// `/readyz` names it.
    async fn unready(&self, fault: Fault<'_>) {
        // A first try may fail for another cause, as where a name service is slow; what stands there in the end counts.
        let told = eventually(&format!("{} on /readyz with {:?}", fault.code, fault.seen), || async {
            let (status, body) = self.gateway().readyz().await;
            let lists = ["providers", "issuers", "directories"].map(|list| body[list].as_array().cloned());
            let mut all = lists.into_iter().flatten().flatten();
            let said = all.find(|one| status == 503 && one["reason"] == fault.code)?;
            let (detail, remedy) = (said["detail"].to_string(), said["remedy"].to_string());
            detail.contains(fault.seen).then(|| format!("{detail} {remedy}"))
        })
        .await;
        assert!(told.contains(fault.change), "{:?} is not in what /readyz says to change: {told}", fault.change);
    }

    /// What the visitor got.
    async fn read(&self, fault: Fault<'_>, answer: &Answer) {
        let shown = plain_text(&answer.text());
        let got = answer.reason();
        assert!(got == fault.code, "expected {}, got {got}: {} {shown}", fault.code, answer.status);
        assert!(answer.status >= 400, "{} {shown}", answer.status);
        self.named(fault, &shown).await;
    }

    /// The log line with the reference that is shown, and the console.
    async fn named(&self, fault: Fault<'_>, shown: &str) {
        let code = fault.code;
        let (line, reference) = self.gateway().refusal(code, shown).await;
        assert!(line.contains(fault.seen), "{:?} is not in the log line: {line}", fault.seen);
        if !fault.is_of_readiness() {
            let told = format!("{shown} {line}");
            assert!(told.contains(fault.change), "{:?} is no part of the remedy: {told}", fault.change);
        }
        let console = self.console().await;
        let groups = console.as_array().expect("a list");
        let group = groups.iter().find(|group| group["code"] == code);
        let group = group.unwrap_or_else(|| panic!("{code} is not on the console: {console:#}"));
        let one = group["last"].as_array().into_iter().flatten().find(|one| one["reference"] == reference);
        let one = one.unwrap_or_else(|| panic!("{reference} is not on the console: {group:#}"));
        let detail = one["detail"].as_str().unwrap_or_default();
        assert!(detail.contains(fault.seen), "{:?} is not on the console: {detail}", fault.seen);
    }

    async fn console(&self) -> Value {
        let answer = self.gateway().admin("/refusals.json").await;
        serde_json::from_slice(&answer.bytes().await.expect("a body")).expect("JSON")
    }

    /// The doctor names it, and what to change. What it saw is returned, in its own words.
    pub async fn examined(&mut self, fault: Fault<'_>) -> String {
        self.fault = Some((fault.code.to_owned(), fault.part.to_owned()));
        // What is asked of the provider takes time: only what the fault is about, and the gateway that runs.
        let report = self.doctor(&format!("{},{FROM_THE_GATEWAY}", fault.part)).await;
        let findings = report["findings"].as_array().expect("findings");
        let named: Vec<_> = findings.iter().filter(|finding| finding["code"] == fault.code).collect();
        assert!(!named.is_empty(), "the doctor does not name {}: {report}", fault.code);
        let change = |finding: &&Value| finding["change"].as_str().is_some_and(|change| change.contains(fault.change));
        assert!(named.iter().any(change), "{:?} is not what the doctor changes: {named:?}", fault.change);
        let own = |finding: &&&Value| !finding["place"].as_str().is_some_and(|place| place.starts_with(RUNNING));
        if fault.part != FROM_THE_GATEWAY {
            assert!(named.iter().any(|finding| own(&finding)), "the doctor does not find it by itself: {report}");
        }
        named.iter().filter_map(|finding| finding["seen"].as_str()).collect::<Vec<_>>().join("\n")
    }

    /// The doctor does not find any more what it found by itself.
    async fn healed(&mut self) {
        let Some((code, part)) = self.fault.take().filter(|(_, part)| part != FROM_THE_GATEWAY) else {
            return;
        };
        let report = self.doctor(&part).await;
        let findings = report["findings"].as_array().into_iter().flatten();
        let again: Vec<_> = findings.filter(|one| one["code"] == code.as_str() && one["weight"] != "hint").collect();
        assert!(again.is_empty(), "the doctor still finds it: {again:?}");
    }

    /// What `doorward doctor --json` prints.
    async fn doctor(&mut self, parts: &str) -> Value {
        let mut command = tokio::process::Command::from(self.config().subcommand("doctor"));
        self.current = self.gateway.is_some();
        command.args(["--json", "--only", parts]).kill_on_drop(true);
        let output = tokio::time::timeout(super::PATIENCE, command.output());
        let output = output.await.expect("the doctor comes to an end").expect("the doctor");
        let text = String::from_utf8_lossy(&output.stdout);
        serde_json::from_str(&text)
            .unwrap_or_else(|e| panic!("{e}: {text} {}", String::from_utf8_lossy(&output.stderr)))
    }

    /// The gateway does not start and names the fault instead; so does the doctor.
    pub async fn does_not_start(&mut self, fault: Fault<'_>) {
        self.says_and_ends(fault).await;
        self.examined(fault).await;
    }

    /// The gateway names the fault instead of starting.
    pub async fn says_and_ends(&mut self, fault: Fault<'_>) {
        self.write();
        let mut command = tokio::process::Command::from(self.config().command());
        let output = tokio::time::timeout(super::PATIENCE, command.kill_on_drop(true).output());
        let output = output.await.expect("the gateway ends").expect("the gateway");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "it started: {said}");
        for words in [fault.code, fault.seen, fault.change] {
            assert!(said.contains(words), "{words:?} is not said: {said}");
        }
    }

    /// Writes the configuration file, for other subcommands.
    pub fn write(&mut self) {
        let written = toml::to_string(&self.tables).expect("TOML");
        let config = self.config();
        config.tables = written;
        std::fs::write(config.path(), config.text()).expect("gateway.toml");
    }

    /// Somebody new, with an empty browser.
    pub fn person(&self) -> Person {
        (self.makes)()
    }

    /// Anna opens a page and signs in where she is asked to.
    pub async fn signs_in(&self) -> Answer {
        let anna = self.provider.as_ref().map(|provider| provider.user("anna").clone());
        self.signs_in_with(&self.person(), anna.as_ref()).await
    }

    pub async fn signs_in_as(&self, user: &User) -> Answer {
        self.signs_in_with(&self.person(), Some(user)).await
    }

    /// Opens a page with this browser, and goes through every form that is in the way.
    pub async fn signs_in_with(&self, person: &Person, user: Option<&User>) -> Answer {
        let mut answer = person.browse(&self.url(PAGE)).await;
        for _ in 0..4 {
            let text = answer.text();
            let asked = text.contains("name=\"password\"");
            if let Some(user) = user.filter(|_| asked) {
                answer = person.log_in(&answer, user).await;
            } else if FORMS.iter().any(|form| text.contains(form)) {
                answer = person.submit(&answer).await;
                answer = person.follow(answer).await;
            } else {
                break;
            }
        }
        answer
    }

    /// Registers the client anew, with this metadata.
    pub async fn registers(&mut self, metadata: Value) -> &mut Self {
        let mut all = json!({"client_id": self.client.id, "client_secret": self.client.secret});
        for (key, value) in metadata.as_object().expect("an object of metadata") {
            all[key] = value.clone();
        }
        let public_url = self.config().public_url.clone();
        self.provider.as_ref().expect("a provider").register(&public_url, all).await;
        self
    }

    /// Opens an address as somebody types it.
    pub async fn opens(&self, path: &str) -> Answer {
        self.person().browse(&self.url(path)).await
    }

    /// A program calls `path` with these headers.
    pub async fn calls(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        let headers = [&CURL, headers].concat();
        self.person().request(Method::GET, &self.url(path), &headers, None).await
    }
}

impl Fault<'_> {
    /// Whether it is the step at which metadata or keys cannot be had: nobody gets as far as to be refused.
    fn keeps_unready(self) -> bool {
        self.code.starts_with("DW-61") && self.code != "DW-6105"
    }

    /// Whether `/readyz` says what to change: whoever waits for a provider or a directory cannot do it.
    fn is_of_readiness(self) -> bool {
        self.keeps_unready() || ["DW-6201", "DW-6202", "DW-6203", "DW-6204"].contains(&self.code)
    }
}

/// What tells a form that is on the way from a page that is its end.
const FORMS: [&str; 3] = ["doorward_bounced", "name=\"state\"", "document.forms[0].submit()"];
/// A page of the app's.
pub const PAGE: &str = "/reports";
/// What the doctor calls the gateway that runs.
const RUNNING: &str = "running gateway";

/// What a reader sees of a page: no tags, no escapes. JSON stays as it is.
fn plain_text(page: &str) -> String {
    let body = page.split_once("<body").map_or(page, |(_, body)| body);
    let body = body.split_once('>').filter(|_| body.len() < page.len()).map_or(body, |(_, body)| body);
    let parts = body.split('<').enumerate().map(|(n, part)| match n {
        0 => part,
        _ => part.split_once('>').map_or("", |(_, text)| text),
    });
    let text = super::forms::unescaped(&parts.collect::<String>());
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
