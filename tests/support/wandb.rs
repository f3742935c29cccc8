//! W&B's SDK from PyPI, unmodified, and a stand-in for the app that it talks to.
//!
//! The stand-in answers what `wandb.init`, `log` and `finish` ask for and keeps what reached it. Files are uploaded to it
//! directly, as the SDK uploads to signed addresses of a store, past the gateway and without credentials.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::{Json, Path, State};
use axum::routing::{post, put};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::process::Command;

use super::app::{self, Kept, Seen};
use super::tests_dir;

/// The versions that `scripts/install-test-deps` installs: today's, and one of a year ago, which asks for other things.
pub const VERSIONS: [&str; 2] = ["0.31.0", "0.22.3"];

/// How long one run may take on a machine that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(300);

/// A stand-in for the app; it ends with the test's runtime.
pub struct WandbApp {
    pub address: SocketAddr,
    kept: Kept,
    history: History,
}

/// The lines of history that file streams brought, by their number: as the app does, it takes a line once, also where the SDK
/// sends it again because no answer came.
type History = Arc<Mutex<BTreeMap<u64, Value>>>;

impl WandbApp {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (kept, history) = (Kept::default(), History::default());
        let router = Router::new()
            .route("/graphql", post(graphql).with_state(address))
            .route("/files/{entity}/{project}/{run}/file_stream", post(file_stream).with_state(history.clone()))
            .route("/store/{file}", put(async |Path(_): Path<String>| ()))
            .layer(axum::middleware::from_fn_with_state(kept.clone(), app::keep));
        tokio::spawn(axum::serve(listener, router).into_future());
        WandbApp { address, kept, history }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The requests of the API that reached it, in their order; uploads are none.
    pub fn seen(&self) -> Vec<Seen> {
        let all = self.kept.lock().expect("kept").clone();
        all.into_iter().filter(|seen| !seen.target.starts_with("/store/")).collect()
    }

    /// The values that were logged as `loss`.
    pub fn losses(&self) -> Vec<f64> {
        self.history.lock().expect("history").values().filter_map(|line| line["loss"].as_f64()).collect()
    }
}

async fn graphql(State(own): State<SocketAddr>, Json(request): Json<Value>) -> Json<Value> {
    let (query, variables) = (request["query"].as_str().unwrap_or_default(), &request["variables"]);
    let name = |key: &str| variables[key].as_str().unwrap_or("run").to_owned();
    let mut data = json!({});
    if query.contains("viewer") {
        data["viewer"] = json!({"id": "u1", "entity": "team", "username": "ci-runner", "email": "ci@example.com",
                                "flags": "{}", "admin": false, "teams": {"edges": []}});
    }
    if query.contains("serverInfo") {
        data["serverInfo"] =
            json!({"cliVersionInfo": {"max_cli_version": "99.0.0"}, "latestLocalVersionInfo": null, "features": []});
    }
    if query.contains("upsertBucket") {
        let project = json!({"id": "p1", "name": "demo", "entity": {"id": "e1", "name": "team"}});
        let bucket = json!({"id": "b1", "name": name("name"), "displayName": "a run", "config": "{}",
                            "historyLineCount": 0, "project": project});
        data["upsertBucket"] = json!({"bucket": bucket, "inserted": true});
    }
    if query.contains("createRunFiles") {
        let files = variables["files"].as_array().cloned().unwrap_or_default();
        let place = |file: &Value| {
            let file = file.as_str().unwrap_or_default().to_owned();
            json!({"name": file, "uploadUrl": format!("http://{own}/store/{}", file.replace('/', "-"))})
        };
        let files: Vec<Value> = files.iter().map(place).collect();
        data["createRunFiles"] = json!({"runID": name("run"), "uploadHeaders": [], "files": files});
    }
    Json(json!({ "data": data }))
}

async fn file_stream(State(history): State<History>, Json(stream): Json<Value>) -> Json<Value> {
    let part = &stream["files"]["wandb-history.jsonl"];
    let first = part["offset"].as_u64().unwrap_or_default();
    let lines = part["content"].as_array().into_iter().flatten();
    let lines = lines.map(|line| serde_json::from_str(line.as_str().unwrap_or_default()).unwrap_or_default());
    history.lock().expect("history").extend((first..).zip(lines));
    Json(json!({}))
}

/// `init`, `log`, `finish`, with what a test needs no answer to turned off. Where there is a file `pause`, the run waits
/// after its first step until it is taken away. A run that fails ends at once: the SDK tidies up for long.
const RUN: &str = r#"
import os, time, traceback, wandb
try:
    settings = wandb.Settings(init_timeout=240, console="off", x_disable_stats=True, x_disable_meta=True, disable_git=True)
    run = wandb.init(project="demo", settings=settings)
    for step in range(3):
        run.log({"loss": 1 / (step + 1)})
        while os.path.exists("pause"):
            open("pausing", "w").close()
            time.sleep(0.05)
    run.finish()
    print("FINISHED", flush=True)
except Exception:
    traceback.print_exc()
    os._exit(1)
"#;

/// Somebody's machine with a version of the SDK: what it keeps at home is there for the next run.
pub struct Sdk {
    python: PathBuf,
    home: TempDir,
}

impl Sdk {
    pub fn new(version: &str) -> Self {
        let python = tests_dir().join(format!("support/venv-wandb-{version}/bin/python"));
        assert!(python.exists(), "run scripts/install-test-deps first: no {}", python.display());
        Sdk { python, home: tempfile::tempdir().expect("a folder") }
    }

    /// Lets runs wait after their first step, until [`Sdk::go_on`].
    pub fn pause(&self) {
        std::fs::write(self.home.path().join("pause"), "").expect("pause");
    }

    /// Waits until a run waits.
    pub async fn pausing(&self) {
        let file = self.home.path().join("pausing");
        // Its beginning takes most of its time.
        let paused = tokio::time::timeout(PATIENCE, async {
            while !file.exists() {
                tokio::time::sleep(Duration::from_millis(15)).await;
            }
        });
        paused.await.expect("the run waits after its first step");
    }

    pub fn go_on(&self) {
        std::fs::remove_file(self.home.path().join("pause")).expect("pause");
    }

    /// Does a whole run against `base_url`: whether it finished, and all that it wrote.
    pub async fn run(&self, base_url: &str, credential: (&str, &str)) -> (bool, String) {
        let mut command = Command::new(&self.python);
        command.args(["-c", RUN]).current_dir(self.home.path()).kill_on_drop(true).stdin(Stdio::null());
        // Nothing but what is listed here: this machine's own credentials are not the test's.
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("HOME", self.home.path());
        command.env("WANDB_MODE", "online").env("WANDB_ERROR_REPORTING", "false").env("WANDB_BASE_URL", base_url);
        command.env(credential.0, credential.1);
        // Into a file: the SDK's helper process may hold a pipe open for longer than the run takes.
        let output = self.home.path().join("output");
        let file = std::fs::File::create(&output).expect("a file");
        command.stdout(file.try_clone().expect("a file")).stderr(file);
        let ended = tokio::time::timeout(PATIENCE, command.spawn().expect("python").wait()).await;
        let text = String::from_utf8_lossy(&std::fs::read(&output).expect("the output")).into_owned();
        let status = ended.unwrap_or_else(|_| panic!("the SDK takes longer than {PATIENCE:?}; so far:\n{text}"));
        (status.expect("a status").success() && text.contains("FINISHED"), text)
    }
}
