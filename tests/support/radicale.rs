//! Radicale, a calendar server from PyPI: an app that nobody wrote or changed for the gateway.
//!
//! Its `auth type = http_x_remote_user` believes the header `X-Remote-User`, as many apps behind a proxy do.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::{eventually, free_port, tests_dir};

/// A running Radicale.
pub struct Radicale {
    pub address: SocketAddr,
    child: Child,
    dir: TempDir,
}

impl Radicale {
    pub async fn start() -> Self {
        let python = tests_dir().join("support/venv/bin/python");
        assert!(python.exists(), "run scripts/install-test-deps first: no {}", python.display());
        let dir = tempfile::tempdir().expect("a folder");
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let config = dir.path().join("radicale.conf");
        let text = format!(
            "[server]\nhosts = {address}\n\n[auth]\ntype = http_x_remote_user\n\n[rights]\ntype = owner_only\n\n\
             [storage]\nfilesystem_folder = {}\n\n[web]\ntype = internal\n",
            dir.path().join("collections").display()
        );
        std::fs::write(&config, text).expect("radicale.conf");
        let child = Command::new(python)
            .args(["-m", "radicale", "--config"])
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("Radicale starts");
        let radicale = Radicale { address, child, dir };
        eventually("Radicale listens", || async { tokio::net::TcpStream::connect(address).await.ok().map(drop) }).await;
        radicale
    }

    /// Whether Radicale has stored this collection of this user.
    pub fn has_collection(&self, owner: &str, name: &str) -> bool {
        self.dir.path().join("collections/collection-root").join(owner).join(name).is_dir()
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Radicale {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
