//! TLS in front of a part that speaks plain HTTP, with a certificate that can be changed while it runs.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::net::{TcpListener, TcpStream};

use super::forger::Forger;
use super::tls::Leaf;

/// It listens on 127.0.0.2, as providers do, and ends with the test's runtime.
pub struct Front {
    pub port: u16,
    certificate: Arc<Mutex<Arc<rustls::ServerConfig>>>,
}

impl Front {
    /// Before whoever listens at `behind`.
    pub async fn start(listener: TcpListener, behind: SocketAddr, leaf: &Leaf) -> Front {
        let port = listener.local_addr().expect("an address").port();
        let certificate = Arc::new(Mutex::new(Arc::new(leaf.server(&[b"http/1.1"]))));
        let front = Front { port, certificate: Arc::clone(&certificate) };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let config = Arc::clone(&certificate.lock().expect("a certificate"));
                tokio::spawn(async move {
                    // Whoever does not like the certificate breaks off here.
                    let mut outside = tokio_rustls::TlsAcceptor::from(config).accept(stream).await.ok()?;
                    let mut inside = TcpStream::connect(behind).await.ok()?;
                    tokio::io::copy_bidirectional(&mut outside, &mut inside).await.ok()
                });
            }
        });
        front
    }

    /// A forger that is reached through TLS, and calls itself by `host` and the front's port.
    pub async fn forger(host: &str, leaf: &Leaf) -> (Front, Forger) {
        let outside = TcpListener::bind("127.0.0.2:0").await.expect("a port");
        let inside = TcpListener::bind("127.0.0.2:0").await.expect("a port");
        let issuer = format!("https://{host}:{}", outside.local_addr().expect("an address").port());
        let front = Front::start(outside, inside.local_addr().expect("an address"), leaf).await;
        (front, Forger::start_as(issuer, inside))
    }

    /// The certificate from now on.
    pub fn shows(&self, leaf: &Leaf) {
        *self.certificate.lock().expect("a certificate") = Arc::new(leaf.server(&[b"http/1.1"]));
    }
}
