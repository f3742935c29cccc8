//! What the black-box tests share: real parts that are started for a test and end with it.
//!
//! [`gateway`] starts the built binary, [`provider`] the certified OpenID provider, [`browser`] Chromium, [`app`]
//! an app that tells what reached it, [`radicale`] an app nobody wrote for us, [`wandb`] an SDK nobody wrote for us, [`slapd`] a directory.
//! [`standin`] stands in for providers that cannot run here, at their real names, [`forger`] for one that lies, and [`liar`] for such a directory.
//! [`broken`] has deployments that are broken, and what everybody reads of it.
//! [`person`] is a browser as far as HTTP goes, and quicker than one; [`raw`] speaks HTTP that no client library would.
//!
//! Nothing here sleeps in the hope that something has happened by then: [`eventually`] awaits a condition.
#![allow(dead_code)]

pub mod app;
pub mod broken;
pub mod browser;
pub mod forger;
pub mod forms;
pub mod frames;
pub mod front;
pub mod gateway;
pub mod liar;
pub mod person;
pub mod poster;
pub mod provider;
pub mod radicale;
pub mod raw;
pub mod setup;
pub mod slapd;
pub mod standin;
pub mod tls;
pub mod wandb;

use std::future::Future;
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

/// How long a condition may take on a machine that is busy with other things.
pub const PATIENCE: Duration = Duration::from_secs(100);

/// A port nobody listens on. It lies below the range from which the kernel takes ports for outgoing connections,
/// and is handed out once in this process, so that it is still free when it is used a moment later.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    const FIRST: u16 = 12_000;
    let count = first_outgoing_port().clamp(FIRST + 3000, FIRST + 20_000) - FIRST;
    let start = u16::from_le_bytes(random_bytes()) % count;
    let _ = NEXT.compare_exchange(0, start.max(1), Ordering::Relaxed, Ordering::Relaxed);
    for _ in 0..count {
        let port = FIRST + NEXT.fetch_add(1, Ordering::Relaxed) % count;
        let free = |host: Ipv4Addr| TcpListener::bind((host, port)).is_ok();
        if free(Ipv4Addr::LOCALHOST) && free(Ipv4Addr::new(127, 0, 0, 2)) {
            return port;
        }
    }
    panic!("no free port in {FIRST}..{}", FIRST + count);
}

/// The lowest port that the kernel takes for an outgoing connection.
fn first_outgoing_port() -> u16 {
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    range.split_whitespace().next().and_then(|first| first.parse().ok()).unwrap_or(32_768)
}

/// Random bytes, for secrets that exist only while a test runs.
pub fn random_bytes<const N: usize>() -> [u8; N] {
    let rng = ring::rand::SystemRandom::new();
    ring::rand::generate::<[u8; N]>(&rng).expect("the system's randomness").expose()
}

/// A random word of 40 hexadecimal digits.
pub fn random_word() -> String {
    random_bytes::<20>().iter().map(|b| format!("{b:02x}")).collect()
}

/// Awaits until `probe` gives a value; fails with `what` when it does not within [`PATIENCE`].
pub async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, mut probe: impl FnMut() -> F) -> T {
    let end = tokio::time::Instant::now() + PATIENCE;
    loop {
        // The probe itself may be what never comes back.
        match tokio::time::timeout_at(end, probe()).await {
            Ok(Some(value)) => return value,
            Ok(None) if tokio::time::Instant::now() < end => tokio::time::sleep(Duration::from_millis(15)).await,
            _ => panic!("waited {PATIENCE:?} for: {what}"),
        }
    }
}

/// Awaits `future`, and fails with `what` when it takes longer than [`PATIENCE`].
pub async fn in_time<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("waited {PATIENCE:?} for: {what}"))
}

/// What `test` comes to with a span of time of so many seconds, the shortest first. Where this machine was too slow for a
/// span, as the test has measured, it gives nothing, and the next is tried.
pub async fn unhurried<T>(test: impl AsyncFn(u64) -> Option<T>) -> T {
    for seconds in [4, 12, 36] {
        if let Some(value) = test(seconds).await {
            return value;
        }
    }
    panic!("this machine is too slow for any span of time");
}

/// The folder `tests/` of the repository.
pub fn tests_dir() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests")
}

/// Where screenshots and figures go; git ignores it.
pub fn artifact(name: &str) -> PathBuf {
    let dir = tests_dir().join("artifacts");
    std::fs::create_dir_all(&dir).expect("the folder for artifacts");
    dir.join(name)
}
