//! What operators see of a running gateway: metrics, the access log, the audit log and the log of events.

mod metrics;

pub use metrics::{Metrics, RouteMetrics, metrics};
