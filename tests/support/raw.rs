//! HTTP/1.1 in bytes: what no client library would send, and an app that answers what no server library would.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::{eventually, in_time};

/// A connection that is written to and read from by hand.
pub struct Connection {
    stream: TcpStream,
    unread: Vec<u8>,
}

/// One answer, as far as its framing goes.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The first value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }
}

impl Connection {
    pub async fn open(address: SocketAddr) -> Self {
        let stream = in_time("a TCP connection", TcpStream::connect(address)).await.expect("connect");
        stream.set_nodelay(true).expect("nodelay");
        Connection { stream, unread: Vec::new() }
    }

    /// Writes; an answer that came with a closed connection before everything was written is no failure.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        let _ = self.stream.write_all(bytes.as_ref()).await;
        self
    }

    /// The next answer; `None` where the connection ends before one begins. Interim answers are answers.
    pub async fn reply(&mut self) -> Option<Reply> {
        in_time("an answer", self.read_reply(false)).await
    }

    /// The next answer to a HEAD request, which has no body.
    pub async fn reply_to_head(&mut self) -> Option<Reply> {
        in_time("an answer", self.read_reply(true)).await
    }

    async fn read_reply(&mut self, bodiless: bool) -> Option<Reply> {
        let end = loop {
            if let Some(at) = find(&self.unread, b"\r\n\r\n") {
                break at + 4;
            }
            if !self.fill().await {
                return None;
            }
        };
        let head = String::from_utf8_lossy(&self.unread.drain(..end).collect::<Vec<u8>>()).into_owned();
        let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or_else(|| panic!("no status: {head}"));
        let mut reply = Reply { status, head, body: Vec::new() };
        let chunked = reply.header("transfer-encoding").is_some_and(|v| v.eq_ignore_ascii_case("chunked"));
        let length = reply.header("content-length").and_then(|v| v.parse::<usize>().ok());
        reply.body = match () {
            () if bodiless || status < 200 || status == 204 || status == 304 => Vec::new(),
            () if chunked => self.read_chunks().await,
            () => match length {
                Some(length) => self.read_exactly(length).await,
                None => self.rest().await,
            },
        };
        Some(reply)
    }

    async fn read_chunks(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        loop {
            let line = self.read_line().await;
            let size = usize::from_str_radix(line.split(';').next().unwrap_or("").trim(), 16).unwrap_or(0);
            if size == 0 {
                while !self.read_line().await.is_empty() {}
                return body;
            }
            body.extend(self.read_exactly(size).await);
            self.read_line().await;
        }
    }

    async fn read_line(&mut self) -> String {
        loop {
            if let Some(at) = find(&self.unread, b"\r\n") {
                let line = self.unread.drain(..at + 2).collect::<Vec<u8>>();
                return String::from_utf8_lossy(&line[..at]).into_owned();
            }
            if !self.fill().await {
                return String::new();
            }
        }
    }

    async fn read_exactly(&mut self, length: usize) -> Vec<u8> {
        while self.unread.len() < length && self.fill().await {}
        self.unread.drain(..length.min(self.unread.len())).collect()
    }

    /// Everything until the other side closes.
    pub async fn rest(&mut self) -> Vec<u8> {
        in_time("the connection's end", async { while self.fill().await {} }).await;
        std::mem::take(&mut self.unread)
    }

    /// Whether the other side closes, without a further byte.
    pub async fn closed(&mut self) -> bool {
        self.rest().await.is_empty()
    }

    async fn fill(&mut self) -> bool {
        let mut part = [0; 16 * 1024];
        match self.stream.read(&mut part).await {
            Ok(0) | Err(_) => false,
            Ok(n) => {
                self.unread.extend_from_slice(&part[..n]);
                true
            }
        }
    }

    /// The stream itself, for what goes on after `101 Switching Protocols`.
    pub fn into_stream(self) -> TcpStream {
        self.stream
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|w| w == wanted)
}

/// Sends one request's bytes on a connection of its own and reads the first answer.
pub async fn exchange(address: SocketAddr, bytes: impl AsRef<[u8]>) -> Option<Reply> {
    Connection::open(address).await.send(bytes).await.reply().await
}

/// A GET with a target and further header lines (`"a: b\r\n"`) to the letter.
pub fn get(target: &str, lines: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\n{lines}\r\n")
}

/// An app that answers every connection with given bytes and keeps what reached it.
pub struct RawApp {
    pub address: SocketAddr,
    received: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl RawApp {
    /// Answers each request head with `answer`; then closes the connection if `close`.
    pub async fn start(answer: impl Into<Vec<u8>>, close: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let received: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
        let (answer, kept) = (Arc::new(answer.into()), Arc::clone(&received));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let index = {
                    let mut all = kept.lock().expect("received");
                    all.push(Vec::new());
                    all.len() - 1
                };
                tokio::spawn(serve(stream, index, Arc::clone(&kept), Arc::clone(&answer), close));
            }
        });
        RawApp { address, received }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// All bytes of all connections so far.
    pub fn received(&self) -> String {
        let all = self.received.lock().expect("received");
        all.iter().map(|bytes| String::from_utf8_lossy(bytes).into_owned()).collect::<Vec<_>>().join("")
    }

    /// How many connections were made to it.
    pub fn connections(&self) -> usize {
        self.received.lock().expect("received").len()
    }

    /// Waits for a request, and tells everything that came so far.
    pub async fn asked(&self) -> String {
        eventually("a request at the app", || async {
            Some(self.received()).filter(|bytes| bytes.contains("\r\n\r\n"))
        })
        .await
    }
}

async fn serve(mut stream: TcpStream, index: usize, kept: Arc<Mutex<Vec<Vec<u8>>>>, answer: Arc<Vec<u8>>, close: bool) {
    let (mut part, mut unread, mut body) = ([0; 16 * 1024], Vec::new(), Rest::Bytes(0));
    while let Ok(n @ 1..) = stream.read(&mut part).await {
        kept.lock().expect("received")[index].extend_from_slice(&part[..n]);
        unread.extend_from_slice(&part[..n]);
        // However it is cut into pieces on its way: one answer for each head.
        while body.drop_from(&mut unread)
            && let Some(end) = find(&unread, b"\r\n\r\n")
        {
            let head: Vec<u8> = unread.drain(..end + 4).collect();
            body = Rest::behind(&String::from_utf8_lossy(&head));
            let _ = stream.write_all(&answer).await;
            if close {
                let _ = stream.shutdown().await;
                return;
            }
        }
    }
}

/// What is still to come of a request whose head has come.
enum Rest {
    Bytes(usize),
    Chunks,
}

impl Rest {
    fn behind(head: &str) -> Rest {
        let head = head.to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
        match head.contains("\r\ntransfer-encoding:") {
            true => Rest::Chunks,
            false => Rest::Bytes(length.unwrap_or(0)),
        }
    }

    /// Takes it out of what came; whether that was all of it.
    fn drop_from(&mut self, unread: &mut Vec<u8>) -> bool {
        match self {
            Rest::Bytes(left) => {
                let here = unread.len().min(*left);
                unread.drain(..here);
                *left -= here;
                *left == 0
            }
            Rest::Chunks => {
                let Some(end) = find(unread, b"0\r\n\r\n") else { return false };
                unread.drain(..end + 5);
                *self = Rest::Bytes(0);
                true
            }
        }
    }
}
