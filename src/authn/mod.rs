//! Who is asking: from what a request brought to a verdict.
//!
//! A verdict is a value: missing, rejected with the reason, or known. What follows from it is the gateway's business.
//! People come with a session cookie ([`session`]), programs with a token or key in `Authorization` ([`program`]).

pub mod password;
pub mod program;
pub mod session;

pub use program::{Program, Programs, Wanted};
pub use session::{SessionRules, Verdict};
