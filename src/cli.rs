//! The subcommands and their flags. What they do is done elsewhere.
//!
//! Exit codes: 0 well, 1 failed at run time, 2 wrong usage, 69 an address cannot be listened on, 78 the
//! configuration is not good; `doctor` has two more.

mod doctor;
mod explain;
mod service_account;
mod token;

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::{Args, Parser, Subcommand};

use crate::config::{Config, ConfigErrors, schema, table};
use crate::doctor::{Finding, Weight, examine_quickly, told_beside_loading};
use crate::oidc::Providers;
use crate::reason::Failure;
use crate::reload::Start;
use crate::{reason, server};

/// The configuration is not good (`EX_CONFIG` of sysexits).
pub const EXIT_CONFIG: u8 = 78;
/// Wrong usage; what the parser of the command line exits with.
pub const EXIT_USAGE: u8 = 2;
/// An address cannot be listened on (`EX_UNAVAILABLE` of sysexits).
pub const EXIT_LISTEN: u8 = 69;

/// An authentication gateway: people sign in with OpenID Connect, the app behind reads who they are from headers.
#[derive(Debug, Parser)]
#[command(name = "doorward", version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: FileFlag,
}

#[derive(Debug, Args)]
struct FileFlag {
    /// Configuration file; else `DOORWARD_CONFIG`, else gateway.toml where there is one, else the environment alone
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve; what is done where no command is given
    Run {
        /// Configuration file; else `DOORWARD_CONFIG`, else gateway.toml where there is one, else the environment alone
        file: Option<PathBuf>,
        /// The same, as other commands have it
        #[arg(long, value_name = "FILE", conflicts_with = "file")]
        config: Option<PathBuf>,
    },
    /// Read and judge a configuration without starting: exit code 0 where it is good, 78 where not
    Check {
        /// Configuration file; chosen as by `run` where it is not given
        file: Option<PathBuf>,
        /// The same, as other commands have it
        #[arg(long, value_name = "FILE", conflicts_with = "file")]
        config: Option<PathBuf>,
    },
    /// Examine the deployment without a sign-in: what is wrong, and what to change
    Doctor(doctor::Command),
    /// Say step by step what would become of a request, and why: exit code 0 where it would pass, 1 where not
    Explain(Box<explain::Explain>),
    /// Make, list and revoke the keys of service accounts
    #[command(subcommand)]
    ServiceAccount(service_account::Command),
    /// Revoke bearer tokens
    #[command(subcommand)]
    Token(token::Command),
    /// Print the public keys that providers have to know the gateway by (private_key_jwt, encrypted ID tokens)
    ClientKeys {
        /// Name of a `[[provider]]`; all of them where it is not given
        provider: Option<String>,
        #[command(flatten)]
        file: FileFlag,
    },
    /// Print the JSON Schema of gateway.toml
    Schema,
    /// Print docs/reasons.md
    Reasons,
    /// Print docs/troubleshooting.md
    Troubleshooting,
    /// Print docs/configuration.md
    ConfigDocs,
    /// Ask the gateway on this machine whether it is alive: exit code 0 where it is, 1 where not
    Healthcheck(FileFlag),
    /// Print the version
    Version,
}

/// Does what the command line says.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match cli.command.unwrap_or(Command::Run { file: None, config: cli.run.config }) {
        Command::Run { file, config } => run(file.or(config).as_deref()),
        Command::Check { file, config } => check(file.or(config).as_deref()),
        Command::Doctor(command) => doctor::main(command),
        Command::Explain(flags) => explain::main(*flags),
        Command::ServiceAccount(command) => service_account::main(command),
        Command::Token(command) => token::main(command),
        Command::ClientKeys { provider, file } => client_keys(provider.as_deref(), file.config.as_deref()),
        Command::Schema => print(&schema::json_schema()),
        Command::Reasons => print(&reason::as_markdown()),
        Command::Troubleshooting => print(&reason::troubleshooting()),
        Command::ConfigDocs => print(&schema::markdown()),
        Command::Healthcheck(flag) => healthcheck(flag.config.as_deref()),
        Command::Version => print(concat!("doorward ", env!("CARGO_PKG_VERSION"), "\n")),
    }
}

fn run(file: Option<&Path>) -> ExitCode {
    match told(Start::read(file, environment()), |start| &start.config.warnings) {
        Some(start) => {
            // Logs go to standard error: whoever collects them gets them without the table.
            print(&table::table(&start.config));
            server::run(start)
        }
        None => ExitCode::from(EXIT_CONFIG),
    }
}

fn client_keys(provider: Option<&str>, file: Option<&Path>) -> ExitCode {
    let Some(config) = load(file) else { return ExitCode::from(EXIT_CONFIG) };
    if let Some(name) = provider.filter(|name| !config.settings.provider.iter().any(|one| one.name == **name)) {
        eprintln!("error: there is no [[provider]] with the name `{name}`");
        return ExitCode::FAILURE;
    }
    match Providers::new(&config.settings) {
        Ok(providers) => {
            let keys = providers.public_keys(provider);
            if keys["keys"].as_array().is_none_or(Vec::is_empty) {
                eprintln!(
                    "no [[provider]] asked for has a key: none sets `client_key_file` (private_key_jwt) or \
                     `decryption_key_file` (encrypted ID tokens)"
                );
            }
            print(&format!("{keys:#}\n"))
        }
        Err(failure) => unusable(&config, &failure),
    }
}

fn check(file: Option<&Path>) -> ExitCode {
    match load(file) {
        Some(config) => {
            let config = Arc::new(config);
            config.hints.iter().for_each(|hint| eprintln!("hint: {}. {}", hint.said, hint.change));
            match crate::server::try_out(&config) {
                Ok(()) => checked(&config),
                Err(failure) => unusable(&config, &failure),
            }
        }
        None => ExitCode::from(EXIT_CONFIG),
    }
}

/// Shows a configuration that can be loaded, and what is wrong with it all the same.
fn checked(config: &Arc<Config>) -> ExitCode {
    let found = told_beside_loading(&examine_quickly(config));
    for Finding { weight, reason, place, seen, change, .. } in &found {
        eprintln!("{}: {} {place}: {seen}. {change}", weight.as_str(), reason.code());
    }
    let verdict = match found.iter().any(|found| found.weight == Weight::Broken) {
        true => "The configuration can be loaded, and what is called broken above does not work.",
        false => "The configuration is good.",
    };
    print(&format!("{}\n{verdict}\n", table::table(config)))
}

/// Tells what is wrong with a configuration that was read well: where a file is, with the setting that names it.
fn unusable(config: &Config, failure: &Failure) -> ExitCode {
    match config.placed(failure, &environment()) {
        Some(error) => eprintln!("error: {error}"),
        None => eprintln!("error: {failure}. {}", failure.remedy()),
    }
    ExitCode::from(EXIT_CONFIG)
}

/// The configuration with its warnings told, or nothing with its errors told.
fn load(file: Option<&Path>) -> Option<Config> {
    told(Config::load(file, &environment()), |config| &config.warnings)
}

/// What was read, with its warnings told, or nothing with the errors told.
fn told<T>(read: Result<T, ConfigErrors>, warnings: impl Fn(&T) -> &Vec<String>) -> Option<T> {
    match read {
        Ok(read) => {
            warnings(&read).iter().for_each(|warning| eprintln!("warning: {warning}"));
            Some(read)
        }
        Err(errors) => {
            errors.1.iter().for_each(|warning| eprintln!("warning: {warning}"));
            errors.0.iter().for_each(|error| eprintln!("error: {error}"));
            None
        }
    }
}

/// The process's environment. What is not UTF-8 is kept with replacement characters, so that it can be complained about.
pub fn environment() -> Vec<(String, String)> {
    let text = |os: std::ffi::OsString| os.to_string_lossy().into_owned();
    std::env::vars_os().map(|(name, value)| (text(name), text(value))).collect()
}

/// Tells what went wrong, and ends with `code`.
fn fail(code: u8, message: &str) -> ExitCode {
    eprintln!("error: {message}");
    ExitCode::from(code)
}

fn print(text: &str) -> ExitCode {
    let mut out = std::io::stdout().lock();
    // A reader that has seen enough (`| head`) is no failure.
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => ExitCode::FAILURE,
        _ => ExitCode::SUCCESS,
    }
}

fn healthcheck(file: Option<&Path>) -> ExitCode {
    let Some(config) = load(file) else { return ExitCode::FAILURE };
    match ask_health(config.settings.admin.address) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}

/// One plain GET of `/healthz`, within three seconds in all.
fn ask_health(admin: SocketAddr) -> Result<(), String> {
    const PATIENCE: Duration = Duration::from_secs(3);
    let address = dialled(admin);
    let failed = |error: std::io::Error| format!("http://{address}/healthz: {error}");
    let started = Instant::now();
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE).map_err(failed)?;
    stream.set_write_timeout(Some(PATIENCE)).map_err(failed)?;
    // In one piece: whoever answers the first of several and hangs up would not be heard.
    let request = format!("GET /healthz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).map_err(failed)?;
    let mut head = Vec::new();
    while !head.contains(&b'\n') && head.len() < 1024 {
        // A zero time-out would mean none.
        let left = PATIENCE.saturating_sub(started.elapsed()).max(Duration::from_millis(1));
        stream.set_read_timeout(Some(left)).map_err(failed)?;
        let mut part = [0; 256];
        match stream.read(&mut part).map_err(failed)? {
            0 => break,
            count => head.extend_from_slice(&part[..count]),
        }
    }
    let line = head.split(|b| *b == b'\r' || *b == b'\n').next().unwrap_or_default();
    match line.split(|b| *b == b' ').nth(1) {
        Some(b"200") => Ok(()),
        _ => Err(format!("http://{address}/healthz answered `{}`", String::from_utf8_lossy(line).escape_debug())),
    }
}

/// What listens on every address is asked on the loopback address.
fn dialled(admin: SocketAddr) -> SocketAddr {
    let ip = match admin.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, admin.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn run_is_what_is_done_without_a_command() {
        let config = |args: &[&str]| match Cli::try_parse_from(args) {
            Ok(Cli { command: None, run }) => run.config,
            Ok(Cli { command: Some(Command::Run { file, config }), .. }) => file.or(config),
            other => panic!("{other:?}"),
        };
        assert_eq!(config(&["doorward"]), None);
        assert_eq!(config(&["doorward", "--config", "a.toml"]), Some("a.toml".into()));
        assert_eq!(config(&["doorward", "run", "--config", "a.toml"]), Some("a.toml".into()));
        assert_eq!(config(&["doorward", "run", "a.toml"]), Some("a.toml".into()));
        assert!(Cli::try_parse_from(["doorward", "run", "a.toml", "--config", "b.toml"]).is_err());
        assert!(Cli::try_parse_from(["doorward", "--config", "a.toml", "schema"]).is_err());
        assert!(Cli::try_parse_from(["doorward", "serve"]).is_err());
    }

    #[test]
    fn check_takes_its_file_as_run_does_and_without_the_flag() {
        let named = |args: &[&str]| match Cli::try_parse_from(args) {
            Ok(Cli { command: Some(Command::Check { file, config }), .. }) => file.or(config),
            other => panic!("{other:?}"),
        };
        assert_eq!(named(&["doorward", "check"]), None);
        assert_eq!(named(&["doorward", "check", "a.toml"]), Some("a.toml".into()));
        assert_eq!(named(&["doorward", "check", "--config", "a.toml"]), Some("a.toml".into()));
        assert!(Cli::try_parse_from(["doorward", "check", "--config", "a.toml", "b.toml"]).is_err());
    }

    #[test]
    fn the_health_check_believes_only_a_200() {
        for (answer, good) in [
            ("HTTP/1.1 200 OK\r\n\r\n", true),
            ("HTTP/1.1 503 Service Unavailable\r\n\r\n", false),
            ("200", false),
            ("", false),
        ] {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("listener");
            let port = listener.local_addr().expect("address").port();
            let server = std::thread::spawn(move || {
                let (mut stream, _) = listener.accept().expect("client");
                let _ = stream.read(&mut [0; 1024]);
                stream.write_all(answer.as_bytes()).expect("answer");
            });
            let asked = ask_health(SocketAddr::from(([0, 0, 0, 0], port)));
            assert_eq!(asked.is_ok(), good, "{answer:?}: {asked:?}");
            server.join().expect("server");
        }
        assert!(ask_health(SocketAddr::from(([127, 0, 0, 1], 1))).is_err());
    }
}
