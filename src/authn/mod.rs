//! Who is asking: from what a request brought to a verdict.
//!
//! A verdict is a value: missing, rejected with the reason, or known. What follows from it is the gateway's business.

pub mod session;

pub use session::{SessionRules, Verdict};
