//! `doorward explain`: what would become of a request, and why.

use std::io::Read;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;

use super::{EXIT_CONFIG, EXIT_USAGE, fail, load, print};
use crate::config::Config;
use crate::explain::{self, Outcome, Person, Request, Who};
use crate::gateway::Gateway;

#[derive(Debug, Args)]
pub(super) struct Explain {
    /// Configuration file; chosen as by `run` where it is not given
    file: Option<PathBuf>,
    /// The same, as other commands have it
    #[arg(long, value_name = "FILE", conflicts_with = "file")]
    config: Option<PathBuf>,
    /// Address of the request, as it would be written: nothing of it is put in order. With `/` at the start, of `public_url`
    #[arg(long, value_name = "URL")]
    url: String,
    #[arg(long, value_name = "METHOD", default_value = "GET")]
    method: String,
    /// A header of the request (`Name: value`); may be given several times
    #[arg(long = "header", value_name = "HEADER")]
    headers: Vec<String>,
    /// Address that connects; 127.0.0.1 where it is not given
    #[arg(long, value_name = "IP")]
    peer: Option<IpAddr>,
    /// Bearer token or key; `-` reads it from standard input
    #[arg(long, value_name = "TOKEN", group = "who")]
    token: Option<String>,
    /// File with the token; `-` reads it from standard input
    #[arg(long, value_name = "FILE", group = "who")]
    token_file: Option<PathBuf>,
    /// JSON file with claims that are taken as verified: of a token, or of a person who signed in, by their `iss`
    #[arg(long, value_name = "FILE", group = "who")]
    claims: Option<PathBuf>,
    /// A person of this name who signed in
    #[arg(long, value_name = "NAME", group = "who")]
    user: Option<String>,
    /// The person's groups, with commas between them; without it the provider said nothing of groups
    #[arg(long, value_name = "GROUPS", requires = "user")]
    groups: Option<String>,
    /// The person's e-mail address
    #[arg(long, value_name = "ADDRESS", requires = "user")]
    email: Option<String>,
    /// The `[[provider]]` the person signed in with; the first where it is not given
    #[arg(long, value_name = "NAME", requires = "user")]
    provider: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Ask nobody for keys and metadata that are not at hand
    #[arg(long)]
    offline: bool,
}

/// 0 where the request would pass or the gateway would answer it, 1 where it would be refused or that cannot be told.
pub(super) fn main(flags: Explain) -> ExitCode {
    let json = flags.json;
    let file = flags.file.clone().or(flags.config.clone());
    let request = match flags.request() {
        Ok(request) => request,
        Err(message) => return fail(EXIT_USAGE, &message),
    };
    let Some(config) = load(file.as_deref()) else { return ExitCode::from(EXIT_CONFIG) };
    let gateway = match gateway(Arc::new(config)) {
        Ok(gateway) => gateway,
        Err(failure) => {
            return fail(EXIT_CONFIG, &format!("{failure}. {}", failure.reason.info().remedy));
        }
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(1, &format!("no runtime: {error}")),
    };
    let explanation = match runtime.block_on(explain::explain(&gateway, &request)) {
        Ok(explanation) => explanation,
        Err(message) => return fail(EXIT_USAGE, &message),
    };
    let text = match json {
        true => serde_json::to_string_pretty(&explanation).map(|text| format!("{text}\n")).unwrap_or_default(),
        false => explanation.to_string(),
    };
    let printed = print(&text);
    match explanation.verdict.outcome {
        Outcome::Passed | Outcome::Answered => printed,
        Outcome::Refused | Outcome::Undecided => ExitCode::FAILURE,
    }
}

fn gateway(config: Arc<Config>) -> Result<Gateway, crate::reason::Failure> {
    Gateway::new(crate::assembly::context(config)?)
}

impl Explain {
    fn request(self) -> Result<Request, String> {
        let header = |text: &String| match text.split_once(':') {
            Some((name, value)) => Ok((name.to_owned(), value.trim().to_owned())),
            None => Err(format!("`{text}` is no header; write `Name: value`")),
        };
        let headers: Vec<(String, String)> = self.headers.iter().map(header).collect::<Result<_, _>>()?;
        let secret = |name: &str| name.eq_ignore_ascii_case("authorization") || name.eq_ignore_ascii_case("cookie");
        if self.token.as_ref().is_some_and(|token| token != "-") || headers.iter().any(|(name, _)| secret(name)) {
            eprintln!(
                "note: a token or cookie on the command line shows in the list of processes and in the shell's \
                 history; --token-file FILE and --token - keep a token out of both"
            );
        }
        let who = match (self.token, self.token_file, self.claims, self.user) {
            (Some(token), ..) if token == "-" => Who::Token(input(Path::new("-"))?),
            (Some(token), ..) => Who::Token(token),
            (_, Some(file), ..) => Who::Token(input(&file)?),
            (_, _, Some(file), _) => {
                let text = input(&file)?;
                let claims = serde_json::from_str(&text);
                Who::Claims(claims.map_err(|error| format!("{} is no JSON object: {error}", file.display()))?)
            }
            (.., Some(user)) => Who::Person(Person {
                user,
                groups: self.groups.map(|groups| groups.split(',').filter(|g| !g.is_empty()).map(Into::into).collect()),
                email: self.email,
                provider: self.provider,
            }),
            (None, None, None, None) => Who::Nobody,
        };
        Ok(Request { url: self.url, method: self.method, headers, peer: self.peer, who, offline: self.offline })
    }
}

/// Longest token or set of claims that is read.
const LONGEST: u64 = 1024 * 1024;

fn input(file: &Path) -> Result<String, String> {
    let mut text = String::new();
    let read = match file.to_str() {
        Some("-") => std::io::stdin().lock().take(LONGEST).read_to_string(&mut text),
        _ => std::fs::File::open(file).and_then(|file| file.take(LONGEST).read_to_string(&mut text)),
    };
    let text = read.map(|_| text.trim().to_owned()).map_err(|error| format!("{}: {error}", file.display()))?;
    match text.is_empty() {
        true => Err(format!("{} is empty", file.display())),
        false => Ok(text),
    }
}
