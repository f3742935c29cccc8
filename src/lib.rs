//! Doorward, an authentication gateway: people sign in with their organisation's OpenID provider, programs come with
//! tokens or keys, and reach an app that nobody changed; the app reads who they are from headers.
//!
//! A room imports only from rooms below its own; README.md has the map of the floors.
#![forbid(unsafe_code)]
// The documentation is for those who build the gateway, and is built with private items.
#![allow(rustdoc::private_intra_doc_links)]

pub mod admin;
pub mod assembly;
pub mod attempts;
pub mod authn;
pub mod authz;
pub mod background;
pub mod canonical;
pub mod certificate;
pub mod claims;
pub mod cli;
pub mod clock;
pub mod config;
pub mod digits;
pub mod directory;
pub mod doctor;
pub mod endpoints;
pub mod examined;
pub mod explain;
pub mod federation;
pub mod files;
pub mod gateway;
pub mod http_client;
pub mod identity;
pub mod identity_headers;
pub mod issuer_metadata;
pub mod jose;
pub mod jwe;
pub mod jwk;
pub mod jwt;
pub mod keys;
pub mod ldap;
pub mod oidc;
pub mod pages;
pub mod pem;
pub mod reason;
pub mod reload;
pub mod sent;
pub mod server;
pub mod service_accounts;
pub mod session;
pub mod spellings;
pub mod telemetry;
pub mod tls_fault;
pub mod trust;
pub mod way_in;
pub mod words;
pub mod x509;
