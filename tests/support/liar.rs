//! A directory that lies: it speaks LDAP as far as the gateway asks it, and answers searches for people as its [`Lie`] says.
//! Every bind is right, and a look at the base alone finds it.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A loopback address that no other part of the tests listens on.
pub const HOST: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 4);

/// What is wrong with its answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// Nothing: one entry, `bob`.
    None,
    /// One entry of a hundred thousand attributes.
    ManyAttributes,
    /// Groups, each with forty thousand empty values, 200 of them.
    EmptyValues,
    /// References, as fast as they are taken.
    References,
    /// One reference, and again, and no end.
    SlowReferences,
    /// The answer to StartTLS is the entry of many attributes.
    HugeStartTls,
}

/// A running liar, which ends with the test's runtime.
pub struct Liar {
    pub port: u16,
    lie: Arc<Mutex<Lie>>,
    asked: Arc<AtomicUsize>,
}

impl Liar {
    pub async fn start() -> Liar {
        let listener = TcpListener::bind((HOST, 0)).await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let liar = Liar { port, lie: Arc::new(Mutex::new(Lie::None)), asked: Arc::default() };
        let (lie, asked) = (Arc::clone(&liar.lie), Arc::clone(&liar.asked));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&lie), Arc::clone(&asked)));
            }
        });
        liar
    }

    pub fn tells(&self, lie: Lie) {
        *self.lie.lock().expect("a lie") = lie;
    }

    /// How often it lied.
    pub fn lied(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    /// The table for the configuration.
    pub fn table(&self) -> String {
        format!("[ldap]\naddress = ['ldap://{HOST}:{}']\nbase_dn = 'dc=x'\n", self.port)
    }
}

fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![tag, 0x84];
    out.extend_from_slice(&u32::try_from(content.len()).expect("short").to_be_bytes());
    out.extend_from_slice(content);
    out
}

fn message(id: &[u8], operation: &[u8]) -> Vec<u8> {
    element(0x30, &[element(2, id), operation.to_vec()].concat())
}

/// A result of this kind: success.
fn success(tag: u8) -> Vec<u8> {
    element(tag, &[element(10, &[0]), element(4, b""), element(4, b"")].concat())
}

fn attribute(name: &str, values: &[u8]) -> Vec<u8> {
    element(0x30, &[element(4, name.as_bytes()), element(0x31, values)].concat())
}

fn entry(attributes: &[u8]) -> Vec<u8> {
    element(0x64, &[element(4, b"uid=bob,dc=x"), element(0x30, attributes)].concat())
}

/// In short lengths, so that as many as can be fit into 1 MiB.
fn many_attributes() -> Vec<u8> {
    let digit = |n: usize| b"abcdefghijklmnopqrstuvwxyz0123456789"[n % 36];
    let pair = |n: usize| [0x30, 8, 4, 4, digit(n), digit(n / 36), digit(n / 1296), digit(n / 46_656), 0x31, 0];
    entry(&(0..100_000).flat_map(pair).collect::<Vec<_>>())
}

async fn serve(mut stream: TcpStream, lie: Arc<Mutex<Lie>>, asked: Arc<AtomicUsize>) {
    while let Some(request) = receive(&mut stream).await {
        let lie = *lie.lock().expect("a lie");
        if lie != Lie::None {
            asked.fetch_add(1, Ordering::Relaxed);
        }
        if answer(&mut stream, &request, lie).await.is_err() {
            return;
        }
    }
}

/// The content of one message.
async fn receive(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut length = match (stream.read_u8().await.ok()?, stream.read_u8().await.ok()?) {
        (0x30, short @ 0..=0x7f) => usize::from(short),
        (0x30, long) => {
            let mut length = 0;
            for _ in 0..(long & 0x7f) {
                length = length << 8 | usize::from(stream.read_u8().await.ok()?);
            }
            length
        }
        _ => return None,
    };
    length = length.min(1 << 20);
    let mut content = vec![0; length];
    stream.read_exact(&mut content).await.ok()?;
    Some(content)
}

async fn answer(stream: &mut TcpStream, request: &[u8], lie: Lie) -> std::io::Result<()> {
    let id_length = usize::from(request[1]);
    let id = &request[2..2 + id_length];
    let is_base = request.windows(6).any(|window| window == b"\x0a\x01\x00\x0a\x01\x00");
    let has = |word: &[u8]| request.windows(word.len()).any(|window| window == word);
    let reference = || message(id, &element(0x73, &element(4, b"ldap://x/")));
    let bob = || entry(&[attribute("uid", &element(4, b"bob")), attribute("mail", &element(4, b"bob@x"))].concat());
    match (request[2 + id_length], lie) {
        (0x60, _) => stream.write_all(&message(id, &success(0x61))).await,
        (0x77, Lie::HugeStartTls) => stream.write_all(&message(id, &many_attributes())).await,
        (0x77, _) => stream.write_all(&message(id, &success(0x78))).await,
        (0x63, _) if is_base => stream.write_all(&[message(id, &bob()), message(id, &success(0x65))].concat()).await,
        (0x63, Lie::ManyAttributes) => {
            stream.write_all(&[message(id, &many_attributes()), message(id, &success(0x65))].concat()).await
        }
        (0x63, Lie::EmptyValues) if has(b"ou=groups") => {
            let empty = message(id, &entry(&attribute("cn", &b"\x04\x00".repeat(40_000))));
            for _ in 0..200 {
                stream.write_all(&empty).await?;
            }
            stream.write_all(&message(id, &success(0x65))).await
        }
        (0x63, Lie::References) => loop {
            stream.write_all(&reference().repeat(1000)).await?;
        },
        (0x63, Lie::SlowReferences) => loop {
            stream.write_all(&reference()).await?;
            tokio::time::sleep(Duration::from_millis(100)).await;
        },
        (0x63, _) => stream.write_all(&[message(id, &bob()), message(id, &success(0x65))].concat()).await,
        _ => Err(std::io::ErrorKind::ConnectionAborted.into()),
    }
}
