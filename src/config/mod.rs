//! The configuration: one immutable value, read whole, judged whole, and never changed afterwards.

pub mod model;
pub mod values;
