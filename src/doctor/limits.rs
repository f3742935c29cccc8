//! What the system lets the process have: open files, processors, memory, and a clock that is set.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::{Finding, Report, Weight};
use crate::config::model::Access;
use crate::config::{Config, KeyPath, Origin};
use crate::reason::Reason;

const PLACE: &str = "limits";
/// Files beside those of connections: listeners, logs, the pools of apps.
const OTHER_FILES: u64 = 128;
/// What the gateway needs beside its caches.
const OTHER_MEMORY: u64 = 64 * 1024 * 1024;
/// 2025: before this program.
const EARLIEST: Duration = Duration::from_secs(1_735_689_600);

pub fn check(config: &Arc<Config>, report: &mut Report) {
    let settings = &config.settings;
    let set = !matches!(config.origins.of(&KeyPath::of("listen.max_connections")), Origin::Default);
    match read("/proc/self/limits").as_deref().and_then(open_files) {
        Some(soft) => files(settings.listen.max_connections as u64, set, soft, report),
        None => report.skipped(PLACE, "open files", "this system does not say how many may be open"),
    }
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    threads(settings.listen.threads, processors, report);
    let takes_tokens = |access| matches!(access, Access::Bearer | Access::SignedInOrBearer);
    let tokens = settings.route.iter().any(|route| takes_tokens(route.access));
    let cache = if tokens { settings.bearer.cache_bytes.0 as u64 } else { 0 };
    if let Some(limit) = memory_limit() {
        memory(cache, limit, report);
    }
    clock(SystemTime::now(), report);
}

fn read(path: impl AsRef<Path>) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

/// The soft limit of open files in `/proc/self/limits`.
fn open_files(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    match line.split_whitespace().next()? {
        "unlimited" => Some(u64::MAX),
        number => number.parse().ok(),
    }
}

/// `set` tells whether somebody asked for so many connections.
fn files(connections: u64, set: bool, soft: u64, report: &mut Report) {
    let needed = connections * 2 + OTHER_FILES;
    if soft >= needed {
        return report.good(PLACE, "open files", format!("{soft} may be open, {needed} could be needed"));
    }
    let weight = if set { Weight::Warning } else { Weight::Hint };
    let seen = format!(
        "this process may have {soft} files open: enough for {} connections, and `listen.max_connections` is {connections}",
        soft.saturating_sub(OTHER_FILES) / 2
    );
    let change = format!(
        "Raise the limit to {needed} where the gateway is started (`LimitNOFILE=`, `--ulimit nofile=`, `ulimit -n`), or set \
         `max_connections = {}`.",
        soft.saturating_sub(OTHER_FILES) / 2
    );
    report.found(Finding::new(weight, Reason::FilesTooFew, PLACE, seen).at("open files").change(change));
}

fn threads(workers: usize, processors: usize, report: &mut Report) {
    let fits = workers == 0 || (workers <= processors * 2 && workers * 4 > processors);
    if fits {
        return report.good(PLACE, "threads", format!("{processors} processors"));
    }
    let seen = format!("`listen.threads` is {workers}, and {processors} processors may be used");
    report.found(Finding::new(Weight::Hint, Reason::ThreadsUnfit, PLACE, seen).at("threads"));
}

/// The memory that the control group of this process may have, where it has a limit.
fn memory_limit() -> Option<u64> {
    let own = read("/proc/self/cgroup")?;
    // Version 2 has one line without a controller; in a container its path is the root.
    let group = own.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or("/").trim_start_matches('/');
    let of = |group: &str| read(Path::new("/sys/fs/cgroup").join(group).join("memory.max"));
    let text = of(group).or_else(|| of("")).or_else(|| read("/sys/fs/cgroup/memory/memory.limit_in_bytes"))?;
    // Version 1 writes an absurd number for none.
    text.trim().parse().ok().filter(|&limit| limit < 1 << 60)
}

fn memory(cache: u64, limit: u64, report: &mut Report) {
    let mib = |bytes: u64| bytes / (1024 * 1024);
    let needed = OTHER_MEMORY + cache;
    if limit >= needed {
        return report.good(PLACE, "memory", format!("{} MiB may be used", mib(limit)));
    }
    let seen = format!(
        "{} MiB may be used; {} MiB are for the cache of tokens (`bearer.cache_bytes`), and {} MiB for everything else",
        mib(limit),
        mib(cache),
        mib(OTHER_MEMORY)
    );
    let fits = match mib(limit.saturating_sub(OTHER_MEMORY)) {
        0 => String::new(),
        fits => format!(", or set `bearer.cache_bytes = \"{fits}MiB\"`"),
    };
    let change = format!("Raise the memory limit to {} MiB{fits}.", mib(needed) + 1);
    report.found(Finding::new(Weight::Warning, Reason::MemoryTooLittle, PLACE, seen).at("memory").change(change));
}

fn clock(now: SystemTime, report: &mut Report) {
    let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    if since < EARLIEST {
        let seen = format!("it shows {}", httpdate::fmt_http_date(now));
        report.found(Finding::new(Weight::Broken, Reason::ClockUnset, PLACE, seen).at("clock"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(check: impl FnOnce(&mut Report)) -> Vec<(Weight, Reason)> {
        let mut report = Report::default();
        check(&mut report);
        report.findings.iter().map(|finding| (finding.weight, finding.reason)).collect()
    }

    #[test]
    fn the_limit_of_open_files_is_read_and_held_against_the_connections() {
        let limits = "Limit                     Soft Limit           Hard Limit           Units\n\
                      Max open files            1024                 1048576              files\n";
        assert_eq!(open_files(limits), Some(1024));
        assert_eq!(open_files("Max open files  unlimited unlimited files"), Some(u64::MAX));
        assert_eq!(open_files("Max processes 1 1 processes"), None);
        assert_eq!(found(|report| files(100, true, 1024, report)), []);
        assert_eq!(found(|report| files(20_000, true, 1024, report)), [(Weight::Warning, Reason::FilesTooFew)]);
        assert_eq!(found(|report| files(20_000, false, 1024, report)), [(Weight::Hint, Reason::FilesTooFew)]);
    }

    #[test]
    fn what_does_not_fit_the_machine_is_named() {
        let mib = 1024 * 1024;
        assert_eq!(found(|report| memory(32 * mib, 64 * mib, report)), [(Weight::Warning, Reason::MemoryTooLittle)]);
        assert_eq!(found(|report| memory(32 * mib, 128 * mib, report)), []);
        assert_eq!(found(|report| threads(64, 4, report)), [(Weight::Hint, Reason::ThreadsUnfit)]);
        assert_eq!(found(|report| threads(1, 8, report)), [(Weight::Hint, Reason::ThreadsUnfit)]);
        for (workers, processors) in [(0, 64), (4, 4), (8, 4), (2, 7)] {
            assert_eq!(found(|report| threads(workers, processors, report)), [], "{workers} of {processors}");
        }
        assert_eq!(found(|report| clock(SystemTime::UNIX_EPOCH, report)), [(Weight::Broken, Reason::ClockUnset)]);
        assert_eq!(found(|report| clock(SystemTime::now(), report)), []);
    }
}
