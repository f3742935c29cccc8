//! The yardstick of `benches/load.py`: the proxy library with nothing on top. Same build, same allocator, same
//! listener and pool settings as the gateway; what the gateway costs is what it costs beside this.
//!
//! `plain_proxy LISTEN UPSTREAM THREADS`

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pingora_core::Result;
use pingora_core::modules::http::HttpModules;
use pingora_core::server::configuration::ServerConf;
use pingora_core::services::Service as _;
use pingora_core::services::listening::Service;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_proxy::{ProxyHttp, Session, http_proxy};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

struct Plain(SocketAddr);

#[async_trait]
impl ProxyHttp for Plain {
    type CTX = ();

    fn new_ctx(&self) {}

    fn init_downstream_modules(&self, _: &mut HttpModules) {}

    async fn upstream_peer(&self, _: &mut Session, _: &mut ()) -> Result<Box<HttpPeer>> {
        let mut peer = Box::new(HttpPeer::new(self.0, false, String::new()));
        // The gateway's defaults; no proxy that is in earnest goes without.
        peer.options.connection_timeout = Some(Duration::from_secs(5));
        peer.options.total_connection_timeout = Some(Duration::from_secs(5));
        peer.options.read_timeout = Some(Duration::from_secs(60));
        peer.options.write_timeout = Some(Duration::from_secs(60));
        peer.options.idle_timeout = Some(Duration::from_secs(60));
        Ok(peer)
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [listen, upstream, threads] = arguments.as_slice() else {
        eprintln!("usage: plain_proxy LISTEN UPSTREAM THREADS");
        std::process::exit(2);
    };
    let threads: usize = threads.parse().expect("THREADS is a number");
    let conf = Arc::new(ServerConf { threads, upstream_keepalive_pool_size: 512, ..ServerConf::default() });
    let proxy = http_proxy(&conf, Plain(upstream.parse().expect("UPSTREAM is an address")));
    let mut service = Service::new("plain".into(), proxy);
    service.add_tcp(listen);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build().expect("runtime");
    let (_stop, stopping) = tokio::sync::watch::channel(false);
    runtime.block_on(service.start_service(None, stopping, threads));
}
