//! The gateway's Prometheus metrics: one struct of handles, one registry, made on first use.
//!
//! Handles with labels that a request needs are looked up once when the configuration is loaded
//! ([`RouteMetrics`]); a request itself only adds to atomics.

use std::sync::LazyLock;
use std::time::Duration;

use prometheus::core::Collector;
use prometheus::proto::MetricFamily;
use prometheus::{
    Encoder, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder,
};

use crate::reason::Reason;

/// All metrics of the process.
pub struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    request_seconds: HistogramVec,
    /// Seconds that deciding who is asking and whether they may took, without the app's share.
    pub authentication_seconds: Histogram,
    token_verification_seconds: HistogramVec,
    /// 1 where the issuer's keys are at hand and not too old.
    pub issuer_ready: IntGaugeVec,
    /// Tokens in the cache of verified tokens, and their bytes.
    pub token_cache_entries: IntGauge,
    pub token_cache_bytes: IntGauge,
    pub token_cache_hits: IntCounter,
    pub token_cache_misses: IntCounter,
    pub token_cache_evictions: IntCounter,
    /// Steps of signing in and out: `step` (start, callback, refresh, logout, back_channel_logout, front_channel_logout, password),
    /// `outcome` (ok or a code).
    pub sign_ins: IntCounterVec,
    /// Requests to providers: `provider`, `step` (discovery, keys, token, userinfo, refresh, revocation),
    /// `outcome` (ok or a code).
    pub provider_fetches: IntCounterVec,
    /// 1 where the provider's metadata and keys are at hand.
    pub provider_ready: IntGaugeVec,
    /// Steps with the directory: `directory`, `step` (connect, search, bind, groups, check), `outcome` (ok, refused or a code).
    pub directory_operations: IntCounterVec,
    /// 1 where the directory answered when it was last asked.
    pub directory_ready: IntGaugeVec,
    /// 1 while nobody signs in but whoever has the password of the log.
    pub restore_mode: IntGauge,
    /// Fetches of issuers' keys, metadata included: `issuer`, `outcome` (ok or a code).
    pub issuer_key_fetches: IntCounterVec,
    /// When an issuer's keys were last fetched, in seconds since 1970: `issuer`.
    pub issuer_keys_fetched: IntGaugeVec,
    /// Requests to introspection endpoints: `issuer`, `outcome` (active, inactive or a code).
    pub introspections: IntCounterVec,
    /// Sealed bytes of each session made.
    pub session_bytes: Histogram,
    /// Marks of sessions that ended before their time: `kind` (signed_out, back_channel, front_channel).
    pub ended_sessions: IntGaugeVec,
    /// Those that gave way to others: `kind`.
    pub ended_sessions_dropped: IntCounterVec,
    /// Requests with a session that had ended: `kind`.
    pub ended_session_uses: IntCounterVec,
    /// Failures between gateway and app: `upstream`, `reason`.
    pub upstream_errors: IntCounterVec,
    /// Requests to exchange an assertion for a token: `outcome` (ok or a code).
    pub token_exchanges: IntCounterVec,
    /// Connections of clients that are open.
    pub connections: IntGauge,
    /// Uses of service accounts' keys: `account` (none where the key is not known), `outcome` (ok or a code).
    pub api_key_uses: IntCounterVec,
    /// Seconds since 1970 when a key was last accepted: `account`, `key` (its id).
    pub api_key_last_use: IntGaugeVec,
    /// 1 where the file with the keys is in force as it stands, 0 where it is broken and older keys are.
    pub api_keys_file_good: IntGauge,
    /// Configurations that were to take the place of the one in force: `outcome` (ok or a code).
    pub reloads: IntCounterVec,
    /// 1 where the configuration in force is what was last read, 0 where that was refused.
    pub configuration_good: IntGauge,
    /// When the configuration in force was read, in seconds since 1970.
    pub configuration_loaded: IntGauge,
    /// Configurations that requests go by, those included that are no longer in force.
    pub configuration_generations: IntGauge,
    /// Log lines that were dropped because whoever reads standard error was too slow.
    pub log_lines_dropped: IntCounter,
}

static METRICS: LazyLock<Metrics> = LazyLock::new(Metrics::new);

/// The process's metrics.
pub fn metrics() -> &'static Metrics {
    &METRICS
}

/// From 250 µs to 16 s in steps of four, and two long ones for uploads.
const REQUEST_BUCKETS: [f64; 10] = [0.000_25, 0.001, 0.004, 0.016, 0.064, 0.25, 1.0, 4.0, 16.0, 64.0];
/// From 1 µs: what deciding costs without a look at the provider.
const AUTHENTICATION_BUCKETS: [f64; 11] = [1e-6, 2e-6, 5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 1e-3, 0.01, 0.1, 1.0];

/// From 1 µs, where a token from the cache is, over the signatures' tens of microseconds, to an introspection's second.
const TOKEN_BUCKETS: [f64; 12] =
    [1e-6, 2e-6, 4e-6, 8e-6, 1.6e-5, 3.2e-5, 6.4e-5, 1.28e-4, 2.56e-4, 0.001, 0.016, 0.256];

impl Metrics {
    fn new() -> Self {
        let registry = Registry::new();
        let metrics = Metrics {
            requests: counters(
                "doorward_requests_total",
                "Requests by route, outcome and reason.",
                &["route", "outcome", "reason"],
            ),
            request_seconds: histograms(
                HistogramOpts::new(
                    "doorward_request_seconds",
                    "Seconds from a request's head to the end of its answer.",
                )
                .buckets(REQUEST_BUCKETS.into()),
                &["route"],
            ),
            authentication_seconds: histogram(
                HistogramOpts::new(
                    "doorward_authentication_seconds",
                    "Seconds to decide who asks and whether they may.",
                )
                .buckets(AUTHENTICATION_BUCKETS.into()),
            ),
            token_verification_seconds: histograms(
                HistogramOpts::new(
                    "doorward_token_verification_seconds",
                    "Seconds to judge a bearer token, by issuer, algorithm and how it was answered: cache, signature, \
                     introspection or refused.",
                )
                .buckets(TOKEN_BUCKETS.into()),
                &["issuer", "algorithm", "answer"],
            ),
            issuer_ready: gauges(
                "doorward_issuer_ready",
                "1 where the issuer's keys are at hand and not too old.",
                &["issuer"],
            ),
            token_cache_entries: gauge("doorward_token_cache_entries", "Verified tokens that are kept."),
            token_cache_bytes: gauge("doorward_token_cache_bytes", "Memory of the verified tokens that are kept."),
            token_cache_hits: counter("doorward_token_cache_hits_total", "Tokens that were found in the cache."),
            token_cache_misses: counter("doorward_token_cache_misses_total", "Tokens that were not."),
            token_cache_evictions: counter(
                "doorward_token_cache_evictions_total",
                "Verified tokens that gave way to others.",
            ),
            sign_ins: counters(
                "doorward_sign_ins_total",
                "Steps of signing in and out by outcome.",
                &["step", "outcome"],
            ),
            provider_fetches: counters(
                "doorward_provider_fetches_total",
                "Requests to providers by step and outcome.",
                &["provider", "step", "outcome"],
            ),
            provider_ready: gauges(
                "doorward_provider_ready",
                "1 where the provider's metadata and keys are at hand.",
                &["provider"],
            ),
            directory_operations: counters(
                "doorward_directory_operations_total",
                "Steps with the directory by outcome (ok, refused, or the code of the failure).",
                &["directory", "step", "outcome"],
            ),
            directory_ready: gauges(
                "doorward_directory_ready",
                "1 where the directory answered when it was last asked.",
                &["directory"],
            ),
            restore_mode: gauge(
                "doorward_restore_mode",
                "1 while nobody signs in but whoever has the password of the log.",
            ),
            issuer_key_fetches: counters(
                "doorward_issuer_key_fetches_total",
                "Fetches of issuers' keys, metadata included, by outcome (ok, or the code of the failure).",
                &["issuer", "outcome"],
            ),
            issuer_keys_fetched: gauges(
                "doorward_issuer_keys_fetched_timestamp_seconds",
                "When an issuer's keys were last fetched, in seconds since 1970.",
                &["issuer"],
            ),
            introspections: counters(
                "doorward_introspections_total",
                "Requests to introspection endpoints by outcome (active, inactive, or the code of the failure).",
                &["issuer", "outcome"],
            ),
            session_bytes: histogram(
                HistogramOpts::new("doorward_session_bytes", "Sealed bytes of each session made.")
                    .buckets(vec![512.0, 1024.0, 2048.0, 4096.0, 8192.0, 16384.0]),
            ),
            ended_sessions: gauges(
                "doorward_ended_sessions",
                "Sessions that ended before their time and are remembered, by how they ended.",
                &["kind"],
            ),
            ended_sessions_dropped: counters(
                "doorward_ended_sessions_dropped_total",
                "Ended sessions that gave way to others because there was no room.",
                &["kind"],
            ),
            ended_session_uses: counters(
                "doorward_ended_session_uses_total",
                "Requests with a session that had ended before its time.",
                &["kind"],
            ),
            upstream_errors: counters(
                "doorward_upstream_errors_total",
                "Failures between gateway and app by reason.",
                &["upstream", "reason"],
            ),
            token_exchanges: counters(
                "doorward_token_exchanges_total",
                "Requests to exchange an assertion for a token by outcome.",
                &["outcome"],
            ),
            connections: gauge("doorward_connections", "Connections of clients that are open."),
            api_key_uses: counters(
                "doorward_api_key_uses_total",
                "Uses of service accounts' keys by account and outcome.",
                &["account", "outcome"],
            ),
            api_key_last_use: gauges(
                "doorward_api_key_last_use_timestamp_seconds",
                "When a service account's key was last accepted.",
                &["account", "key"],
            ),
            api_keys_file_good: gauge(
                "doorward_api_keys_file_good",
                "1 where the file with the keys is in force as it stands, 0 where it is broken and older keys are.",
            ),
            reloads: counters(
                "doorward_reloads_total",
                "Configurations that were to take the place of the one in force, by outcome (ok, or the code of the \
                 failure).",
                &["outcome"],
            ),
            configuration_good: gauge(
                "doorward_configuration_good",
                "1 where the configuration in force is what was last read, 0 where that was refused.",
            ),
            configuration_loaded: gauge(
                "doorward_configuration_loaded_timestamp_seconds",
                "When the configuration in force was read.",
            ),
            configuration_generations: gauge(
                "doorward_configuration_generations",
                "Configurations in memory: the one in force, and those by which connections from before still go.",
            ),
            log_lines_dropped: counter(
                "doorward_log_lines_dropped_total",
                "Log lines dropped because standard error was read too slowly.",
            ),
            registry,
        };
        let build = gauges("doorward_build_info", "Always 1; the labels tell the build.", &["version"]);
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        metrics.register([
            Box::new(build) as Box<dyn Collector>,
            Box::new(metrics.requests.clone()),
            Box::new(metrics.request_seconds.clone()),
            Box::new(metrics.authentication_seconds.clone()),
            Box::new(metrics.token_verification_seconds.clone()),
            Box::new(metrics.issuer_ready.clone()),
            Box::new(metrics.token_cache_entries.clone()),
            Box::new(metrics.token_cache_bytes.clone()),
            Box::new(metrics.token_cache_hits.clone()),
            Box::new(metrics.token_cache_misses.clone()),
            Box::new(metrics.token_cache_evictions.clone()),
            Box::new(metrics.sign_ins.clone()),
            Box::new(metrics.provider_fetches.clone()),
            Box::new(metrics.provider_ready.clone()),
            Box::new(metrics.directory_operations.clone()),
            Box::new(metrics.directory_ready.clone()),
            Box::new(metrics.restore_mode.clone()),
            Box::new(metrics.issuer_key_fetches.clone()),
            Box::new(metrics.issuer_keys_fetched.clone()),
            Box::new(metrics.introspections.clone()),
            Box::new(metrics.session_bytes.clone()),
            Box::new(metrics.ended_sessions.clone()),
            Box::new(metrics.ended_sessions_dropped.clone()),
            Box::new(metrics.ended_session_uses.clone()),
            Box::new(metrics.upstream_errors.clone()),
            Box::new(metrics.token_exchanges.clone()),
            Box::new(metrics.connections.clone()),
            Box::new(metrics.api_key_uses.clone()),
            Box::new(metrics.api_key_last_use.clone()),
            Box::new(metrics.api_keys_file_good.clone()),
            Box::new(metrics.reloads.clone()),
            Box::new(metrics.configuration_good.clone()),
            Box::new(metrics.configuration_loaded.clone()),
            Box::new(metrics.configuration_generations.clone()),
            Box::new(metrics.log_lines_dropped.clone()),
        ]);
        metrics
    }

    fn register(&self, collectors: impl IntoIterator<Item = Box<dyn Collector>>) {
        for collector in collectors {
            // Fails only for a name that is registered twice, which `metrics_are_rendered` would show.
            let registered = self.registry.register(collector);
            debug_assert!(registered.is_ok(), "{registered:?}");
        }
    }

    /// The handles a route's requests count on.
    pub fn route(&self, route: &str) -> RouteMetrics {
        RouteMetrics {
            route: route.to_owned(),
            passed: self.requests.with_label_values(&[route, "passed", ""]),
            seconds: self.request_seconds.with_label_values(&[route]),
        }
    }

    /// The handle for tokens of `issuer` signed by `algorithm` and answered for by `answer`.
    pub fn token_verification(&self, issuer: &str, algorithm: &str, answer: &str) -> Histogram {
        self.token_verification_seconds.with_label_values(&[issuer, algorithm, answer])
    }

    /// Everything as it is now.
    pub(super) fn gather(&self) -> Vec<MetricFamily> {
        self.registry.gather()
    }

    /// Everything in the Prometheus text format.
    pub fn render(&self) -> Vec<u8> {
        let mut text = Vec::with_capacity(16 * 1024);
        // Writing into memory cannot fail; a metric without samples is no error worth an answer.
        let _ = TextEncoder::new().encode(&self.gather(), &mut text);
        text
    }
}

/// What the requests of one route count on.
pub struct RouteMetrics {
    route: String,
    passed: IntCounter,
    seconds: Histogram,
}

impl RouteMetrics {
    /// The app answered.
    pub fn passed(&self, took: Duration) {
        self.passed.inc();
        self.seconds.observe(took.as_secs_f64());
    }

    /// The gateway answered itself: `outcome` is `refused`, `failed` or `own` (a page of its own, no reason).
    pub fn answered(&self, outcome: &'static str, reason: Option<Reason>, took: Duration) {
        metrics().requests.with_label_values(&[self.route.as_str(), outcome, reason.map_or("", Reason::code)]).inc();
        self.seconds.observe(took.as_secs_f64());
    }
}

// The names and labels above are literals; that they are valid is shown by `metrics_are_rendered`.
fn counters(name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    IntCounterVec::new(Opts::new(name, help), labels).expect("literal name and labels")
}
fn counter(name: &str, help: &str) -> IntCounter {
    IntCounter::new(name, help).expect("literal name")
}
fn gauges(name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
    IntGaugeVec::new(Opts::new(name, help), labels).expect("literal name and labels")
}
fn gauge(name: &str, help: &str) -> IntGauge {
    IntGauge::new(name, help).expect("literal name")
}
fn histogram(opts: HistogramOpts) -> Histogram {
    Histogram::with_opts(opts).expect("literal name and buckets")
}
fn histograms(opts: HistogramOpts, labels: &[&str]) -> HistogramVec {
    HistogramVec::new(opts, labels).expect("literal name, labels and buckets")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_rendered() {
        // No other test counts there.
        metrics().route("rendered").passed(Duration::from_millis(3));
        metrics().route("rendered").answered("refused", Some(Reason::NoRoute), Duration::from_millis(1));
        let text = String::from_utf8(metrics().render()).expect("text");
        assert!(
            text.contains(r#"doorward_requests_total{outcome="refused",reason="DW-2001",route="rendered"} 1"#),
            "{text}"
        );
        assert!(text.contains("doorward_build_info{version="), "{text}");
    }
}
