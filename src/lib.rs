//! Doorward, an authentication gateway: people sign in with their organisation's OpenID provider and reach
//! an app that nobody changed; the app reads who they are from headers.
//!
//! The rooms are listed from the top floor down; a room imports only from floors below its own.
#![forbid(unsafe_code)]

pub mod cli;
pub mod server;

pub mod telemetry;

pub mod config;
pub mod identity;
pub mod reason;
