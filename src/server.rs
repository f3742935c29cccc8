//! Putting the gateway together: listeners, background tasks, and an end that loses no request.
//!
//! It starts without its providers and without its apps; `/readyz` says what is missing.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::IntoRawFd;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pingora_core::listeners::tls::TlsSettings;
use pingora_core::server::configuration::ServerConf;
use pingora_core::server::{Fds, ListenFds};
use pingora_core::services::Service as _;
use pingora_core::services::listening::Service;
use pingora_proxy::http_proxy;
use rustls::sign::CertifiedKey;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use crate::admin::{Admin, Doctor};
use crate::assembly::context;
use crate::certificate::{self, Certificate};
use crate::config::Config;
use crate::config::model::Settings;
use crate::doctor;
use crate::gateway::listener::{Connections, Listener};
use crate::gateway::{Current, Door, Gateway};
use crate::reason::{Failure, Reason};
use crate::reload::{Examine, Reloader, Running, Start};
use crate::telemetry::{flush, logs};

/// `EX_UNAVAILABLE` of sysexits.h: an address is taken.
const EXIT_LISTEN: u8 = 69;
/// `EX_CONFIG` of sysexits.h.
const EXIT_CONFIG: u8 = 78;
/// Ports below it are for whoever has the right to take them.
const PRIVILEGED_BELOW: u16 = 1024;
/// Connections of an app that are kept for the next request.
const POOL_SIZE: usize = 512;
/// Tries of one request over an app's addresses; the proxy library's default is 16.
const MAX_TRIES: usize = 3;

/// Runs the gateway until it is told to stop.
pub fn run(begin: Start) -> ExitCode {
    logs::init(&begin.config.settings.log);
    // Providers and apps are spoken to with one TLS library, whichever asks first.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let code = match start(begin) {
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

fn start(begin: Start) -> Result<(), Failure> {
    let settings = &begin.config.settings;
    let threads = match settings.listen.threads {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        threads => threads,
    };
    let certified = certificate::read(&settings.listen)?;
    let public = bind("listen.address", settings.listen.address)?;
    let admin = bind("admin.address", settings.admin.address)?;
    let gateway = Gateway::new(context(begin.config.clone())?)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_all()
        .thread_name("doorward")
        .build();
    let runtime = runtime.map_err(|e| Failure::new(Reason::Internal, e.to_string()))?;
    runtime.block_on(serve(begin, gateway, certified, [public, admin], threads))?;
    runtime.shutdown_timeout(Duration::from_millis(200));
    Ok(())
}

/// Compiles `config` as a start would, without listening: what only shows then (certificates, logos, rules) is told by
/// `doorward check` as well.
pub fn try_out(config: &Arc<Config>) -> Result<(), Failure> {
    certificate::read(&config.settings.listen)?;
    Gateway::new(context(config.clone())?).map(|_| ())
}

async fn serve(
    begin: Start,
    gateway: Gateway,
    certified: Option<CertifiedKey>,
    sockets: [TcpListener; 2],
    threads: usize,
) -> Result<(), Failure> {
    // Before anybody can know that it runs: what does not wait for these signals is ended by them.
    let (hangups, wishes) = (listen_for(SignalKind::hangup())?, Wishes::listen()?);
    let config = begin.config.clone();
    let settings = &config.settings;
    let (stop, stopping) = watch::channel(false);
    let current = Arc::new(Current::new(gateway));
    let proxy_conf = Arc::new(ServerConf {
        threads,
        upstream_keepalive_pool_size: POOL_SIZE,
        max_retries: MAX_TRIES,
        ca_file: (!current.reads_authorities()).then(|| "/dev/null".to_owned()),
        ..ServerConf::default()
    });
    let listener = Listener::new(http_proxy(&proxy_conf, Door::new(current.clone())), settings);
    let connections = listener.connections();
    let mut public = Service::new("public".into(), listener);
    let certificate = certified.map(|certified| Arc::new(Certificate::new(certified)));
    listen(&mut public, settings, certificate.clone())?;

    let (ended, until) = (current.get().context().ended.clone(), stopping.clone());
    tokio::spawn(async move { ended.keep_swept(until).await });
    let running = Running { current: current.clone(), connections: connections.clone(), certificate };
    let doctor = Arc::new(Doctor::default());
    let reloader = Reloader::new(running, begin, findings(Arc::clone(&doctor)));
    let admin = Admin::new(reloader.state(), doctor, stopping.clone());
    let mut admin = Service::new("admin".into(), admin);
    admin.add_tcp(&settings.admin.address.to_string());
    let [public_socket, admin_socket] = sockets;
    let public_socket = handed_over(settings.listen.address, public_socket);
    let admin_socket = handed_over(settings.admin.address, admin_socket);

    tracing::info!(address = %settings.listen.address, admin = %settings.admin.address, "listening");
    tokio::spawn(reloader.run(hangups, stopping.clone()));
    let public = tokio::spawn(async move { public.start_service(public_socket, stopping, threads).await });
    // The admin listener goes on answering while the public one drains.
    let (keep, never) = watch::channel(false);
    tokio::spawn(async move {
        admin.start_service(admin_socket, never, 1).await;
        drop(keep);
    });

    let wish = wishes.next().await;
    tracing::info!(signal = wish.name, "stopping");
    stop.send_replace(true);
    if wish.drain {
        let _ = public.await;
        drain(&connections, current.get().context().config.settings.timeouts.drain.0).await;
    }
    tracing::info!("stopped");
    Ok(())
}

fn listen(
    public: &mut Service<Listener>,
    settings: &Settings,
    certificate: Option<Arc<Certificate>>,
) -> Result<(), Failure> {
    let address = settings.listen.address.to_string();
    let Some(certificate) = certificate else {
        public.add_tcp(&address);
        return Ok(());
    };
    // The files are read already, and again when they change; what is named here is not looked at.
    let tls = TlsSettings::intermediate("", "");
    let mut tls = tls.map_err(|e| Failure::new(Reason::CertificateUnusable, e.to_string()))?;
    tls.set_cert_resolver(certificate);
    tls.enable_h2();
    public.add_tls_with_settings(&address, None, tls);
    Ok(())
}

/// Has the doctor look for what can be found without the network, for the console, and tells the log of it, beside what
/// loading the configuration told; of another configuration what was not told of the one before.
fn findings(doctor: Arc<Doctor>) -> Examine {
    let (known, latest) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicUsize::new(0)));
    Box::new(move |config| {
        let turn = latest.fetch_add(1, Ordering::Relaxed) + 1;
        let (known, latest, config) = (Arc::clone(&known), Arc::clone(&latest), Arc::clone(config));
        let doctor = Arc::clone(&doctor);
        tokio::task::spawn_blocking(move || {
            let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
            // Another one has come meanwhile, and may have been looked over before.
            if latest.load(Ordering::Relaxed) != turn {
                return;
            }
            let found = doctor::told_beside_loading(&doctor.examine_quickly(&config).report);
            found.iter().filter(|found| !known.contains(*found)).for_each(tell_finding);
            *known = found;
        });
    })
}

fn tell_finding(found: &doctor::Finding) {
    let info = found.reason.info();
    let doctor::Finding { place, seen, change, .. } = found;
    tracing::warn!(reason = info.code, place, seen, change, "{}", found.title());
}

/// Listens, before anything runs: the proxy library would panic where it cannot, and whoever hears from the one address that
/// the gateway runs finds the other one open.
fn bind(key: &str, address: SocketAddr) -> Result<TcpListener, Failure> {
    let failed = |e: std::io::Error| {
        let detail = format!("{key} = \"{address}\": {e}");
        Failure::new(Reason::ListenFailed, detail).remedied_by(way_to_listen(e.kind(), address.port()))
    };
    let socket = TcpListener::bind(address).map_err(failed)?;
    socket.set_nonblocking(true).map_err(failed)?;
    Ok(socket)
}

/// What lets the gateway listen, where the system says why it does not.
fn way_to_listen(kind: ErrorKind, port: u16) -> Option<&'static str> {
    match kind {
        ErrorKind::AddrInUse => Some("Choose another address, or end the other process."),
        ErrorKind::AddrNotAvailable => Some("Write an address that this machine has; `ip address` lists them."),
        ErrorKind::PermissionDenied if port < PRIVILEGED_BELOW => Some(
            "Choose a port from 1024 on, or give the gateway `CAP_NET_BIND_SERVICE`, which the systemd unit in deploy/ \
             does.",
        ),
        ErrorKind::PermissionDenied => Some("Choose another port, or allow this one in the policy of the system."),
        _ => None,
    }
}

/// The socket of `address`, for the library to take instead of one of its own.
fn handed_over(address: SocketAddr, socket: TcpListener) -> Option<ListenFds> {
    let mut sockets = Fds::new();
    sockets.add(address.to_string(), socket.into_raw_fd());
    Some(Arc::new(sockets.into()))
}

fn listen_for(kind: SignalKind) -> Result<Signal, Failure> {
    signal(kind).map_err(|e| Failure::new(Reason::Internal, format!("signals: {e}")))
}

struct Wish {
    name: &'static str,
    drain: bool,
}

/// The signals that end it: SIGTERM lets requests in flight end; SIGINT and SIGQUIT stop at once.
struct Wishes {
    term: Signal,
    int: Signal,
    quit: Signal,
}

impl Wishes {
    fn listen() -> Result<Wishes, Failure> {
        let (term, int) = (listen_for(SignalKind::terminate())?, listen_for(SignalKind::interrupt())?);
        Ok(Wishes { term, int, quit: listen_for(SignalKind::quit())? })
    }

    async fn next(mut self) -> Wish {
        tokio::select! {
            _ = self.term.recv() => Wish { name: "SIGTERM", drain: true },
            _ = self.int.recv() => Wish { name: "SIGINT", drain: false },
            _ = self.quit.recv() => Wish { name: "SIGQUIT", drain: false },
        }
    }
}

/// Waits until every connection has ended, or for `limit`.
async fn drain(connections: &Connections, limit: Duration) {
    if tokio::time::timeout(limit, connections.all_ended()).await.is_err() {
        let open = connections.open();
        tracing::warn!(connections = open, limit = ?limit, "stopping although connections are open");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_cannot_be_listened_on_is_told_with_what_helps_against_its_cause() {
        let told = |address: &str| {
            let failure = bind("listen.address", address.parse().expect("an address")).expect_err("no listener");
            assert_eq!(failure.reason, Reason::ListenFailed);
            (failure.detail.clone(), failure.remedy().to_owned())
        };
        let held = TcpListener::bind("127.0.0.1:0").expect("a port");
        let taken = held.local_addr().expect("an address").to_string();
        assert!(told(&taken).1.contains("end the other process"));
        // Of documentation (RFC 5737): no machine has it.
        let (detail, remedy) = told("192.0.2.1:8089");
        assert!(detail.contains("192.0.2.1:8089") && remedy.contains("that this machine has"), "{detail} {remedy}");
        // Whether this user may take such a port depends on the machine.
        let denied = |port| way_to_listen(ErrorKind::PermissionDenied, port).expect("a remedy");
        assert!(denied(443).contains("CAP_NET_BIND_SERVICE") && !denied(443).contains("process"), "{}", denied(443));
        assert!(!denied(8443).contains("1024"), "{}", denied(8443));
    }
}
