//! Starts the built binary with a configuration of its own, and reads what an operator reads.
//!
//! The process is killed when the [`Gateway`] is dropped; when a test fails, its log is printed.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use serde_json::Value;
use tempfile::TempDir;

use super::{eventually, free_port, in_time, random_word};

/// A configuration in the making. Text pieces are TOML, written as an operator writes them.
pub struct Config {
    /// Port of the public listener.
    pub port: u16,
    pub admin_port: u16,
    pub public_url: String,
    /// Newest first, as in `secrets`.
    pub secrets: Vec<String>,
    /// Keys of `[listen]` beside `address`.
    pub listen: String,
    /// Everything else: `[[provider]]`, `[[upstream]]`, `[[route]]` and the other tables.
    pub tables: String,
    pub log_level: &'static str,
    pub log_format: &'static str,
    pub env: Vec<(String, String)>,
    /// Folder of the configuration file; files that it names may be put there.
    pub dir: TempDir,
}

impl Config {
    pub fn new() -> Self {
        let port = free_port();
        Config {
            port,
            admin_port: free_port(),
            public_url: format!("http://127.0.0.1:{port}"),
            secrets: vec![random_word()],
            listen: String::new(),
            tables: String::new(),
            log_level: "debug",
            log_format: "text",
            env: Vec::new(),
            dir: tempfile::tempdir().expect("a folder"),
        }
    }

    /// Adds TOML: tables, not top-level keys.
    pub fn add(mut self, toml: &str) -> Self {
        self.tables.push_str(toml);
        self.tables.push('\n');
        self
    }

    /// The whole file.
    pub fn text(&self) -> String {
        format!(
            "public_url = {:?}\nsecrets = {:?}\n\n[listen]\naddress = \"127.0.0.1:{}\"\n{}\n[admin]\naddress = \
             \"127.0.0.1:{}\"\n\n[log]\nlevel = \"{}\"\nformat = \"{}\"\n\n{}",
            self.public_url,
            self.secrets,
            self.port,
            self.listen,
            self.admin_port,
            self.log_level,
            self.log_format,
            self.tables
        )
    }

    pub fn path(&self) -> std::path::PathBuf {
        self.dir.path().join("gateway.toml")
    }

    /// The binary with this configuration, not yet started.
    pub fn command(&self) -> Command {
        self.subcommand("run")
    }

    /// The same for another subcommand that takes `--config`.
    pub fn subcommand(&self, name: &str) -> Command {
        std::fs::write(self.path(), self.text()).expect("gateway.toml");
        let mut command = Command::new(env!("CARGO_BIN_EXE_doorward"));
        command.arg(name).arg("--config").arg(self.path());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // What the shell that runs the tests has set must not configure the gateway.
        for (name, _) in std::env::vars() {
            let ours = ["DOORWARD_", "OIDC_", "GORILLA_OIDC_", "FEDERATED_AUTH_", "LOCAL_"];
            let named = matches!(name.as_str(), "HOST" | "SKIP_AUDIENCE_VALIDATION");
            if named || ours.iter().any(|start| name.starts_with(start)) {
                command.env_remove(name);
            }
        }
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Starts the gateway and waits until `/healthz` answers.
    pub async fn start(self) -> Gateway {
        let mut child = self.command().spawn().expect("the built binary starts");
        let log = Arc::new(Mutex::new(Vec::new()));
        let readers =
            [collect(child.stderr.take().expect("piped"), &log), collect(child.stdout.take().expect("piped"), &log)];
        let gateway = Gateway { config: self, log, readers, programs: programs(), child: Mutex::new(child) };
        gateway.healthy().await;
        // What is said at the start is read by threads of the tests: it may answer before they have it all.
        if matches!(gateway.config.log_level, "info" | "debug" | "trace") {
            gateway.log_line(&["listening"]).await;
        }
        gateway
    }
}

fn collect(stream: impl std::io::Read + Send + 'static, log: &Arc<Mutex<Vec<String>>>) -> JoinHandle<()> {
    let log = Arc::clone(log);
    std::thread::spawn(move || {
        for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
            log.lock().expect("log").push(String::from_utf8_lossy(&line).into_owned());
        }
    })
}

/// One that reads no certificates, which takes longer than all that it is asked for, and keeps no connection that could end
/// while it is used.
fn programs() -> reqwest::Client {
    let client = reqwest::Client::builder().no_proxy().tls_certs_only([]).pool_max_idle_per_host(0);
    client.build().expect("an HTTP client")
}

/// A running gateway.
pub struct Gateway {
    pub config: Config,
    log: Arc<Mutex<Vec<String>>>,
    /// They end with what they read.
    readers: [JoinHandle<()>; 2],
    /// Asks the admin listener.
    programs: reqwest::Client,
    child: Mutex<Child>,
}

impl Gateway {
    async fn healthy(&self) {
        let url = self.admin_url("/healthz");
        eventually("the gateway's /healthz", || async {
            if self.exited().is_some() {
                let status = self.ended().await;
                panic!("the gateway ended with {status} instead of starting; its log:\n{}", self.log_text());
            }
            self.programs.get(&url).send().await.ok().filter(|a| a.status().is_success()).map(drop)
        })
        .await;
    }

    /// Address of the public listener.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.config.port))
    }

    /// `path` below the public URL.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.config.public_url)
    }

    pub fn admin_url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.config.admin_port)
    }

    /// What the admin listener answers at `path`.
    pub async fn admin(&self, path: &str) -> reqwest::Response {
        in_time(path, self.programs.get(self.admin_url(path)).send()).await.unwrap_or_else(|e| panic!("{path}: {e:?}"))
    }

    pub async fn metrics(&self) -> String {
        self.admin("/metrics").await.text().await.expect("text")
    }

    /// Sum of the samples whose line starts with `name` and holds each of `labels`.
    pub async fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        let named = |line: &&str| {
            line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']))
                && labels.iter().all(|l| line.contains(l))
        };
        let text = self.metrics().await;
        text.lines().filter(named).filter_map(|l| l.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }

    /// Status and body of `/readyz`.
    pub async fn readyz(&self) -> (u16, Value) {
        let answer = self.admin("/readyz").await;
        let status = answer.status().as_u16();
        let body = answer.bytes().await.expect("a body");
        (status, serde_json::from_slice(&body).expect("/readyz is JSON"))
    }

    /// Waits until every provider's metadata and keys are at hand.
    pub async fn ready(&self) {
        eventually("the gateway is ready", || async { (self.readyz().await.0 == 200).then_some(()) }).await;
    }

    /// What of the gateway's log has been read so far. Its lines come after the answers that they are about: whatever is to
    /// be in it is awaited ([`Gateway::log_line`]), and so is a later line where something is not to be in it.
    pub fn log_text(&self) -> String {
        self.log.lock().expect("log").join("\n")
    }

    pub fn log_lines(&self) -> Vec<String> {
        self.log.lock().expect("log").clone()
    }

    /// The password of the way in, which is in the log once.
    pub async fn password_of_the_log(&self) -> String {
        let line = self.log_line(&["password="]).await;
        let written = line.split("password=").nth(1).and_then(|rest| rest.split_whitespace().next());
        let password = written.expect("a password").trim_matches('"').to_owned();
        assert_eq!(self.log_text().matches(&password).count(), 1, "the password is in the log once");
        password
    }

    /// Waits for the first log line that holds all of `words`.
    pub async fn log_line(&self, words: &[&str]) -> String {
        eventually(&format!("a log line with {words:?}"), || async {
            self.log_lines().into_iter().find(|line| words.iter().all(|word| line.contains(word)))
        })
        .await
    }

    /// Waits for the line of the access log about the refusal that `shown` is of, by its reference; tells both.
    pub async fn refusal(&self, code: &str, shown: &str) -> (String, String) {
        let of_code = [" access ", &format!("reason={code}")];
        eventually(&format!("the line of the access log for {code} whose reference is shown in: {shown}"), || async {
            let lines = self.log_lines().into_iter().filter(|line| of_code.iter().all(|word| line.contains(word)));
            let mut named = lines.filter_map(|line| {
                let reference = line.rsplit_once("reference=")?.1.trim().to_owned();
                Some((line, reference))
            });
            named.find(|(_, reference)| shown.contains(reference.as_str()))
        })
        .await
    }

    pub fn pid(&self) -> u32 {
        self.child.lock().expect("child").id()
    }

    /// Resident memory in bytes.
    pub fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("a running process");
        let line = status.lines().find(|l| l.starts_with("VmRSS:")).expect("VmRSS");
        line.split_whitespace().nth(1).and_then(|kb| kb.parse::<u64>().ok()).expect("kB") * 1024
    }

    /// Sends a signal by name (`TERM`).
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").arg(format!("-{name}")).arg(self.pid().to_string()).status();
        assert!(sent.expect("kill").success(), "signal {name}");
    }

    /// The exit status where the process has ended.
    pub fn exited(&self) -> Option<ExitStatus> {
        self.child.lock().expect("child").try_wait().expect("the child's status")
    }

    /// Waits for the process to end by itself; from then on its log is whole.
    pub async fn ended(&self) -> ExitStatus {
        let status = eventually("the gateway ends", || async { self.exited() }).await;
        let read = || async { self.readers.iter().all(JoinHandle::is_finished).then_some(()) };
        eventually("the end of the gateway's log", read).await;
        status
    }

    /// Writes the configuration as `change` leaves it into the place of the one that runs, and says nothing of it.
    pub fn rewrite(&mut self, change: impl FnOnce(&mut Config)) {
        change(&mut self.config);
        self.replace_file(&self.config.text());
    }

    /// Puts `text` into the place of the configuration file, at once.
    pub fn replace_file(&self, text: &str) {
        let fresh = self.config.path().with_extension("new");
        std::fs::write(&fresh, text).expect("a file beside gateway.toml");
        std::fs::rename(fresh, self.config.path()).expect("gateway.toml");
    }

    /// The same as [`Gateway::rewrite`] with SIGHUP, awaited: whether the configuration is the one that was written.
    pub async fn reload(&mut self, change: impl FnOnce(&mut Config)) -> bool {
        change(&mut self.config);
        self.reload_text(&self.config.text()).await
    }

    pub async fn reload_text(&self, text: &str) -> bool {
        self.hang_up_after(|| self.replace_file(text)).await
    }

    /// SIGHUP, awaited.
    pub async fn hang_up(&self) -> bool {
        self.hang_up_after(|| ()).await
    }

    /// The same after `change` of its files, which it does not see before the signal: it looks at them by itself, too, and
    /// would leave nothing to do for the signal.
    pub async fn hang_up_after(&self, change: impl FnOnce()) -> bool {
        let before = self.metric("doorward_reloads_total", &[]).await;
        self.signal("STOP");
        change();
        self.signal("HUP");
        self.signal("CONT");
        eventually("a reload", || async {
            let reloaded = self.metric("doorward_reloads_total", &[]).await > before;
            // The gateway may have seen the changed file by itself before, and the signal comes on top of that.
            let asked_by = || async { self.readyz().await.1["configuration"]["last_reload"]["asked_by"].clone() };
            (reloaded && asked_by().await == "SIGHUP").then_some(())
        })
        .await;
        self.metric("doorward_configuration_good", &[]).await == 1.0
    }

    /// Ends this process and starts another with the configuration as `change` leaves it, on the same ports.
    pub async fn restart(mut self, change: impl FnOnce(&mut Config)) -> Gateway {
        let fresh = Config::new();
        let mut config = std::mem::replace(&mut self.config, fresh);
        self.stop();
        change(&mut config);
        config.start().await
    }

    fn stop(&self) {
        let mut child = self.child.lock().expect("child");
        let _ = child.kill();
        let _ = child.wait();
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.stop();
        if std::thread::panicking() {
            eprintln!("── the gateway's log ──\n{}\n──", self.log_text());
        }
    }
}

/// Runs a subcommand of the binary to its end: exit code, standard output, standard error.
pub fn doorward(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_doorward")).args(arguments).output().expect("the built binary");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}
