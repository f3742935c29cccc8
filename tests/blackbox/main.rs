//! Black-box tests: the built binary, a certified provider, a real browser, an app nobody changed.
//!
//! One test binary, so that it is linked once. Each module is a topic, each test a sentence.

#[path = "../support/mod.rs"]
mod support;

mod bearer;
mod bench;
mod broken_apps;
mod broken_clients;
mod broken_directories;
mod broken_products;
mod broken_programs;
mod broken_providers;
mod broken_sessions;
mod broken_tokens;
mod callback;
mod canonical;
mod client_authentication;
mod console;
mod console_guarded;
mod cors;
mod directory;
mod directory_lies;
mod directory_running;
mod discovery;
mod doctor;
mod doctor_provider;
mod every_token;
mod explain;
mod explain_live;
mod explain_people;
mod federation;
mod form_post;
mod form_post_browsers;
mod id_tokens;
mod identity_headers;
mod issuers;
mod logout;
mod logout_channels;
mod named;
mod operations;
mod own_ways;
mod pages;
mod parts;
mod password_form;
mod presets;
mod provider_pages;
mod proxying;
mod radicale;
mod reload;
mod reload_in_flight;
mod rules;
mod running;
mod service_accounts;
mod sessions;
mod several_providers;
mod sign_in;
mod signing_out;
mod standins;
mod step_up;
mod wandb_sdk;
mod way_in;
mod websockets;
