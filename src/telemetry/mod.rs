//! What operators see of a running gateway: metrics, the access log, the audit log and the log of events.
//!
//! The three logs share one writer, one form of line and one way to escape, so that no record can pose as another.

pub mod access;
pub mod audit;
mod budget;
mod line;
pub mod logs;
mod metrics;
mod recording;
mod reference;
mod refusals;
mod totals;
mod writer;

pub use access::Access;
pub use audit::{Audit, Decision};
pub use line::rfc3339;
pub use line::say_restore_mode;
pub use metrics::{Metrics, RouteMetrics, metrics};
pub use recording::{Recorded, Recording, recording};
pub use reference::Reference;
pub use refusals::{Group, Refusals, Refused, refusals};
pub use totals::Totals;
pub use writer::flush;
