//! `doorward token`: a token is revoked before it expires.

use std::io::{IsTerminal, Read};
use std::path::Path;
use std::process::ExitCode;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::Subcommand;
use serde_json::{Map, Value};

use super::{EXIT_CONFIG, EXIT_USAGE, FileFlag, fail, load};
use crate::service_accounts::file::{self, KeysFile, RevokedToken};
use crate::service_accounts::{Moment, ServiceAccounts};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Revoke the token on standard input, or the one with this `jti`; a running gateway refuses it within two seconds
    Revoke {
        /// The token's `jti`, instead of the token itself; it is remembered for ever, since nothing tells when it expires
        #[arg(long, value_name = "ID")]
        jti: Option<String>,
        #[command(flatten)]
        file: FileFlag,
    },
}

pub(super) fn main(command: Command) -> ExitCode {
    let Command::Revoke { jti, file } = command;
    let wanted = match jti {
        Some(token_id) if token_id.is_empty() => Err("--jti is empty".to_owned()),
        Some(token_id) => Ok(RevokedToken { token_id, until: None }),
        None => from_input(),
    };
    match wanted {
        Ok(token) => revoke(token, file.config.as_deref()),
        Err(message) => fail(EXIT_USAGE, &message),
    }
}

/// Longest token that is read.
const MAX_TOKEN: u64 = 256 * 1024;
/// Clocks and leeways may differ by this much; a token is remembered so much longer than its `exp`.
const REMEMBERED: u64 = 24 * 3600;

fn from_input() -> Result<RevokedToken, String> {
    let mut input = std::io::stdin().lock();
    if input.is_terminal() {
        eprintln!("Paste the token, then press Ctrl-D.");
    }
    let mut token = String::new();
    let read = input.by_ref().take(MAX_TOKEN).read_to_string(&mut token);
    read.map_err(|error| format!("standard input cannot be read: {error}"))?;
    described(token.trim())
}

/// What of a token has to be remembered. Nothing is verified: whoever runs this may revoke what they like.
fn described(token: &str) -> Result<RevokedToken, String> {
    if ServiceAccounts::looks_like_key(token.as_bytes()) {
        return Err("that is a service account's key; `doorward service-account revoke-key` revokes it".into());
    }
    let claims =
        claims(token).ok_or("standard input is no JWT; pipe the token in as it was issued, or name it with --jti")?;
    let token_id = match claims.get("jti") {
        Some(Value::String(id)) if !id.is_empty() => id.clone(),
        _ => {
            return Err(
                "the token has no `jti`, by which one token is told from another, so it cannot be revoked alone; \
                        wait until it expires, or take away what it may do in the rules"
                    .into(),
            );
        }
    };
    let until =
        claims.get("exp").and_then(Value::as_f64).map(|exp| Moment((exp.max(0.0) as u64).saturating_add(REMEMBERED)));
    // Beyond the year 9999 no date can be written.
    Ok(RevokedToken { token_id, until: until.filter(|until| until.0 < 253_402_300_800) })
}

fn claims(token: &str) -> Option<Map<String, Value>> {
    let mut parts = token.split('.');
    let (_, payload, _, None) = (parts.next()?, parts.next()?, parts.next()?, parts.next()) else { return None };
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()
}

fn revoke(token: RevokedToken, file: Option<&Path>) -> ExitCode {
    let Some(config) = load(file) else { return ExitCode::from(EXIT_CONFIG) };
    let path = file::place(&config.settings, config.file.as_deref());
    let now = Moment::now();
    if token.until.is_some_and(|until| until <= now) {
        eprintln!("The token has expired; nobody accepts it any more, and there is nothing to revoke.");
        return ExitCode::SUCCESS;
    }
    let RevokedToken { token_id, until } = token.clone();
    let added = KeysFile::change(&path, |file| {
        file.revoked.retain(|old| old.until.is_none_or(|until| until > now));
        match file.revoked.iter_mut().find(|old| old.token_id == token.token_id) {
            // What is remembered for longer stays so.
            Some(old) => old.until = old.until.zip(token.until).map(|(a, b)| a.max(b)),
            None => file.revoked.push(token),
        }
        Ok(())
    });
    match added {
        Ok(()) => {
            let until = until.map_or("for ever".to_owned(), |until| format!("until {until}"));
            let id = token_id.escape_debug();
            eprintln!("The token `{id}` is revoked, {until}. A running gateway refuses it within two seconds.");
            ExitCode::SUCCESS
        }
        Err(failure) => fail(1, &format!("{failure}; nothing was revoked")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(claims: &str) -> String {
        format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims))
    }

    #[test]
    fn a_token_is_remembered_by_its_jti_for_as_long_as_it_could_be_used() {
        let wanted = |until| RevokedToken { token_id: "t1".into(), until };
        for (claims, until) in [
            (r#"{"jti":"t1","exp":1795316901}"#, Some(Moment(1_795_316_901 + REMEMBERED))),
            (r#"{"jti":"t1","exp":1795316901.5}"#, Some(Moment(1_795_316_901 + REMEMBERED))),
            (r#"{"jti":"t1"}"#, None),
            (r#"{"jti":"t1","exp":"soon"}"#, None),
            (r#"{"jti":"t1","exp":1e300}"#, None),
        ] {
            assert_eq!(described(&token(claims)), Ok(wanted(until)), "{claims}");
        }
    }

    #[test]
    fn what_cannot_be_revoked_is_refused_with_the_reason() {
        for (input, word) in [
            (token(r#"{"exp":1795316901}"#), "no `jti`"),
            (token(r#"{"jti":""}"#), "no `jti`"),
            (token(r#"{"jti":7}"#), "no `jti`"),
            (token("[]"), "no JWT"),
            ("opaque".into(), "no JWT"),
            ("a.b.c.d.e".into(), "no JWT"),
            (String::new(), "no JWT"),
            ("dwk_whatever".into(), "revoke-key"),
        ] {
            let refused = described(&input).expect_err(&input);
            assert!(refused.contains(word), "{input}: {refused}");
        }
    }
}
