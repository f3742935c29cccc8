//! What was counted since the start, in a few sums, for the console's plots.

use prometheus::proto::{Metric, MetricFamily};

use super::metrics::Metrics;

/// Sums since the start of the process.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Totals {
    /// Requests that an app answered.
    pub passed: u64,
    /// Requests that the gateway refused or failed.
    pub refused: u64,
    /// Requests that the gateway answered with a page of its own.
    pub own: u64,
    /// Sign-ins that came to their end, and those that did not.
    pub signed_in: u64,
    pub not_signed_in: u64,
    /// Deciding who asks: how often, and seconds in all.
    pub decided: u64,
    pub deciding: f64,
    /// Judging tokens: how often, and seconds in all.
    pub verified: u64,
    pub verifying: f64,
    pub cache_hits: u64,
    pub cache_misses: u64,
    /// Refused or failed, by code.
    pub by_reason: Vec<(String, u64)>,
    /// Failures between gateway and app, by upstream.
    pub by_upstream: Vec<(String, u64)>,
}

impl Metrics {
    /// The sums of this moment.
    pub fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        for family in self.gather() {
            totals.add(&family);
        }
        totals
    }
}

impl Totals {
    fn add(&mut self, family: &MetricFamily) {
        for metric in family.get_metric() {
            let count = metric.get_counter().get_value() as u64;
            let (timed, seconds) = (metric.get_histogram().get_sample_count(), metric.get_histogram().get_sample_sum());
            match family.name() {
                "doorward_requests_total" => self.request(metric, count),
                "doorward_sign_ins_total" => match (label(metric, "step"), label(metric, "outcome")) {
                    ("callback" | "password", "ok") => self.signed_in += count,
                    ("start" | "callback" | "password", outcome) if outcome != "ok" => self.not_signed_in += count,
                    _ => {}
                },
                "doorward_authentication_seconds" => (self.decided, self.deciding) = (timed, seconds),
                "doorward_token_verification_seconds" => {
                    self.verified += timed;
                    self.verifying += seconds;
                }
                "doorward_token_cache_hits_total" => self.cache_hits = count,
                "doorward_token_cache_misses_total" => self.cache_misses = count,
                "doorward_upstream_errors_total" => add(&mut self.by_upstream, label(metric, "upstream"), count),
                _ => {}
            }
        }
    }

    fn request(&mut self, metric: &Metric, count: u64) {
        match label(metric, "outcome") {
            "passed" => self.passed += count,
            "own" => self.own += count,
            _ => {
                self.refused += count;
                add(&mut self.by_reason, label(metric, "reason"), count);
            }
        }
    }
}

fn add(sums: &mut Vec<(String, u64)>, name: &str, count: u64) {
    match sums.iter_mut().find(|(known, _)| known == name) {
        Some((_, sum)) => *sum += count,
        None => sums.push((name.to_owned(), count)),
    }
}

fn label<'m>(metric: &'m Metric, name: &str) -> &'m str {
    metric.get_label().iter().find(|label| label.name() == name).map_or("", |label| label.value())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::reason::Reason;
    use crate::telemetry::metrics;

    #[test]
    fn what_was_counted_is_in_the_sums() {
        let before = metrics().totals();
        metrics().route("totals").passed(Duration::from_millis(1));
        metrics().route("totals").answered("refused", Some(Reason::ConsoleCrossSite), Duration::from_millis(1));
        metrics().sign_ins.with_label_values(&["callback", "ok"]).inc();
        metrics().sign_ins.with_label_values(&["callback", "DW-3105"]).inc();
        metrics().token_verification("totals", "RS256", "cache").observe(0.5);
        let after = metrics().totals();
        assert!(after.passed > before.passed && after.refused > before.refused);
        assert!(after.signed_in > before.signed_in && after.not_signed_in > before.not_signed_in);
        assert!(after.verified > before.verified);
        // Sums of many fractions, which other tests add to as well, are rounded.
        assert!(after.verifying - before.verifying > 0.499);
        assert!(after.by_reason.iter().any(|(code, count)| code == "DW-9103" && *count > 0));
    }
}
