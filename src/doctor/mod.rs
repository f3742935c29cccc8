//! The self-check: what is wrong with a deployment, found without anybody signing in, and what to change.
//!
//! Each check is a module with one `check`, which adds to a [`Report`] what it found and what it found good. The same
//! [`examine`] serves `doorward doctor` and the console; what is [quick](examine_quickly) also runs at each start.
//!
//! Promise: nothing is changed anywhere, nobody is signed in, and no secret, token or cookie is in a report.

mod report;

pub use report::{Finding, Report, Weight};
