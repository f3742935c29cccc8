//! The relying party against tables of what may come, and against a small provider that misbehaves on demand.

mod answers;
mod client_auth;
mod faults;
mod flows;
mod logout;
mod reload;
mod sign_in;
pub(crate) mod support;
mod tokens;
