//! Putting the gateway together: listeners, background tasks, and an end that loses no request.
//!
//! It starts without its providers and without its apps; `/readyz` says what is missing.

use std::net::{SocketAddr, TcpListener};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use pingora_core::listeners::tls::TlsSettings;
use pingora_core::server::configuration::ServerConf;
use pingora_core::services::Service as _;
use pingora_core::services::listening::Service;
use pingora_proxy::http_proxy;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Semaphore, watch};

use crate::admin::Admin;
use crate::assembly::context;
use crate::config::Config;
use crate::config::model::Settings;
use crate::config::values::{AppScheme, AppUrl};
use crate::gateway::Gateway;
use crate::gateway::listener::Listener;
use crate::reason::{Failure, Reason};
use crate::telemetry::{flush, logs, metrics, say_restore_mode};

/// `EX_UNAVAILABLE` of sysexits.h: an address is taken.
const EXIT_LISTEN: u8 = 69;
/// `EX_CONFIG` of sysexits.h.
const EXIT_CONFIG: u8 = 78;
/// Connections of an app that are kept for the next request.
const POOL_SIZE: usize = 512;
/// Tries of one request over an app's addresses; the proxy library's default is 16.
const MAX_TRIES: usize = 3;

/// Runs the gateway until it is told to stop.
pub fn run(config: Arc<Config>) -> ExitCode {
    logs::init(&config.settings.log);
    // Providers and apps are spoken to with one TLS library, whichever asks first.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let code = match start(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let info = failure.reason.info();
            tracing::error!(reason = info.code, detail = %failure.detail, remedy = failure.remedy(), "{}", info.title);
            match failure.reason {
                Reason::ListenFailed => ExitCode::from(EXIT_LISTEN),
                Reason::ConfigInvalid
                | Reason::ConfigUnreadable
                | Reason::SecretMissing
                | Reason::CertificateUnusable => ExitCode::from(EXIT_CONFIG),
                _ => ExitCode::FAILURE,
            }
        }
    };
    flush();
    code
}

fn start(config: Arc<Config>) -> Result<(), Failure> {
    let settings = &config.settings;
    let threads = match settings.listen.threads {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        threads => threads,
    };
    check_certificate(&config)?;
    for (key, address) in [("listen.address", settings.listen.address), ("admin.address", settings.admin.address)] {
        check_address(key, address)?;
    }
    let gateway = Gateway::new(context(config.clone())?)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_all()
        .thread_name("doorward")
        .build();
    let runtime = runtime.map_err(|e| Failure::new(Reason::Internal, e.to_string()))?;
    runtime.block_on(serve(config, gateway, threads))?;
    runtime.shutdown_timeout(Duration::from_millis(200));
    Ok(())
}

/// Compiles `config` as a start would, without listening: what only shows then (certificates, logos, rules) is told by
/// `doorward check` as well.
pub fn try_out(config: &Arc<Config>) -> Result<(), Failure> {
    check_certificate(config)?;
    Gateway::new(context(config.clone())?).map(|_| ())
}

async fn serve(config: Arc<Config>, gateway: Gateway, threads: usize) -> Result<(), Failure> {
    let settings = &config.settings;
    let (stop, stopping) = watch::channel(false);
    let providers = gateway.context().providers.clone();
    let issuers = gateway.context().programs.issuers.clone();
    let directory = gateway.context().directory.clone();
    if let Some(way_in) = &gateway.context().way_in {
        say_restore_mode();
        metrics().restore_mode.set(1);
        way_in.tell(settings);
    }
    if let Some(directory) = directory.clone() {
        let until = stopping.clone();
        tokio::spawn(async move { directory.keep_checked(until).await });
    }
    let restore = gateway.context().way_in.is_some();
    let admin =
        Admin::new(providers.clone(), directory, restore, issuers, settings.federation.as_ref(), stopping.clone());
    for upstream in gateway.upstreams() {
        let upstream = upstream.clone();
        tokio::spawn(async move { upstream.keep_resolved().await });
    }
    let (fresh, until) = (providers.clone(), stopping.clone());
    tokio::spawn(async move { fresh.keep_fresh(until).await });
    let (ended, until) = (gateway.context().ended.clone(), stopping.clone());
    tokio::spawn(async move { ended.keep_swept(until).await });
    let (issuers, until) = (gateway.context().programs.issuers.clone(), stopping.clone());
    tokio::spawn(async move { issuers.keep_fresh(until).await });
    let (accounts, until) = (gateway.context().programs.accounts.clone(), stopping.clone());
    tokio::spawn(async move { accounts.keep_fresh(until).await });

    let proxy_conf = Arc::new(ServerConf {
        threads,
        upstream_keepalive_pool_size: POOL_SIZE,
        max_retries: MAX_TRIES,
        // The system's authorities cost milliseconds and megabytes; they are read where an app is judged by them.
        ca_file: (!judged_by_system_authorities(settings)).then(|| "/dev/null".to_owned()),
        ..ServerConf::default()
    });
    let proxy = http_proxy(&proxy_conf, gateway);
    let connections = Arc::new(Semaphore::new(settings.listen.max_connections));
    let mut public = Service::new("public".into(), Listener::new(proxy, settings, connections.clone()));
    listen(&mut public, &config)?;
    let mut admin = Service::new("admin".into(), admin);
    admin.add_tcp(&settings.admin.address.to_string());

    tracing::info!(address = %settings.listen.address, admin = %settings.admin.address, "listening");
    let public_until = stopping.clone();
    let public = tokio::spawn(async move { public.start_service(None, public_until, threads).await });
    // The admin listener goes on answering while the public one drains.
    let (keep, never) = watch::channel(false);
    tokio::spawn(async move {
        admin.start_service(None, never, 1).await;
        drop(keep);
    });

    let wish = stop_wish().await?;
    tracing::info!(signal = wish.name, "stopping");
    stop.send_replace(true);
    if wish.drain {
        let _ = public.await;
        drain(&connections, settings.listen.max_connections, settings.timeouts.drain.0).await;
    }
    tracing::info!("stopped");
    Ok(())
}

fn judged_by_system_authorities(settings: &Settings) -> bool {
    let https = |url: &AppUrl| matches!(url, AppUrl::Tcp { scheme: AppScheme::Https, .. });
    settings.upstream.iter().any(|upstream| https(&upstream.url) && upstream.tls_ca_file.is_none())
}

fn listen(public: &mut Service<Listener>, config: &Config) -> Result<(), Failure> {
    let listen = &config.settings.listen;
    let address = listen.address.to_string();
    let (Some(certificate), Some(key)) = (&listen.tls_certificate_file, &listen.tls_key_file) else {
        public.add_tcp(&address);
        return Ok(());
    };
    let unusable = |e: String| Failure::new(Reason::CertificateUnusable, e);
    let path = |path: &std::path::Path| {
        path.to_str().map(String::from).ok_or_else(|| unusable(format!("{} is not UTF-8", path.display())))
    };
    let mut tls = TlsSettings::intermediate(&path(certificate)?, &path(key)?).map_err(|e| unusable(e.to_string()))?;
    tls.enable_h2();
    public.add_tls_with_settings(&address, None, tls);
    Ok(())
}

/// The proxy library panics over a certificate that it cannot use; a sentence is better.
fn check_certificate(config: &Config) -> Result<(), Failure> {
    let listen = &config.settings.listen;
    let (Some(certificate), Some(key)) = (&listen.tls_certificate_file, &listen.tls_key_file) else { return Ok(()) };
    let unusable = |path: &std::path::Path, e: String| {
        Failure::new(Reason::CertificateUnusable, format!("{}: {e}", path.display()))
    };
    let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(certificate).and_then(Iterator::collect);
    let chain = chain.map_err(|e| unusable(certificate, e.to_string()))?;
    if chain.is_empty() {
        return Err(unusable(certificate, "no certificate in it".into()));
    }
    let private = PrivateKeyDer::from_pem_file(key).map_err(|e| unusable(key, e.to_string()))?;
    let built = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, private));
    built.map(|_| ()).map_err(|e| unusable(key, e.to_string()))
}

/// The proxy library panics where it cannot listen; this asks first.
fn check_address(key: &str, address: SocketAddr) -> Result<(), Failure> {
    let taken = |e| Failure::new(Reason::ListenFailed, format!("{key} = \"{address}\": {e}"));
    TcpListener::bind(address).map(|_| ()).map_err(taken)
}

struct Wish {
    name: &'static str,
    drain: bool,
}

/// SIGTERM lets requests in flight end; SIGINT and SIGQUIT stop at once.
async fn stop_wish() -> Result<Wish, Failure> {
    let listen_for = |kind| signal(kind).map_err(|e| Failure::new(Reason::Internal, format!("signals: {e}")));
    let (mut term, mut int, mut quit) =
        (listen_for(SignalKind::terminate())?, listen_for(SignalKind::interrupt())?, listen_for(SignalKind::quit())?);
    Ok(tokio::select! {
        _ = term.recv() => Wish { name: "SIGTERM", drain: true },
        _ = int.recv() => Wish { name: "SIGINT", drain: false },
        _ = quit.recv() => Wish { name: "SIGQUIT", drain: false },
    })
}

/// Waits until every connection has ended, or for `limit`.
async fn drain(connections: &Semaphore, all: usize, limit: Duration) {
    let permits = u32::try_from(all).unwrap_or(u32::MAX);
    if tokio::time::timeout(limit, connections.acquire_many(permits)).await.is_err() {
        let open = all - connections.available_permits().min(all);
        tracing::warn!(connections = open, limit = ?limit, "stopping although connections are open");
    }
}
