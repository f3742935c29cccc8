//! HTTP/2 in frames: requests that an HTTP/2 library refuses to build.
//!
//! Headers are sent as HPACK literals without indexing (RFC 7541 §6.2.2); of answers only the status is read.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::in_time;

/// Frame types (RFC 9113 §6).
pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const CONTINUATION: u8 = 9;

/// Flags.
pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;

/// A frame as it came.
#[derive(Clone, Debug)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

/// How a request ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// An answer with this status.
    Status(u16),
    /// `RST_STREAM` with this error code.
    Reset(u32),
    /// `GOAWAY` with this error code.
    GoAway(u32),
    /// The connection was closed without a word.
    Closed,
}

impl Outcome {
    /// Whether the request was refused: by a 400, or because the protocol does not know such a request.
    pub fn refused(&self) -> bool {
        !matches!(self, Outcome::Status(status) if *status != 400)
    }
}

/// A connection after the preface (RFC 9113 §3.4), by prior knowledge.
pub struct H2 {
    stream: TcpStream,
    next: u32,
}

impl H2 {
    pub async fn open(address: SocketAddr) -> Self {
        let stream = in_time("a TCP connection", TcpStream::connect(address)).await.expect("connect");
        stream.set_nodelay(true).expect("nodelay");
        let mut h2 = H2 { stream, next: 1 };
        let _ = h2.stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
        h2.send(SETTINGS, 0, 0, &[]).await;
        h2
    }

    /// Writes one frame; whether the connection still took it.
    pub async fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> bool {
        let length = (payload.len() as u32).to_be_bytes();
        let mut frame = vec![length[1], length[2], length[3], kind, flags];
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        self.stream.write_all(&frame).await.is_ok()
    }

    /// Sends a request without a body; the stream's number.
    pub async fn request(&mut self, headers: &[(&str, &str)]) -> u32 {
        self.request_with(headers, END_STREAM).await
    }

    /// Sends a request's head with these flags beside `END_HEADERS`; the stream's number.
    pub async fn request_with(&mut self, headers: &[(&str, &str)], flags: u8) -> u32 {
        let stream = self.next;
        self.next += 2;
        self.send(HEADERS, END_HEADERS | flags, stream, &literals(headers)).await;
        stream
    }

    /// The next frame; `None` at the connection's end.
    pub async fn frame(&mut self) -> Option<Frame> {
        in_time("a frame", async {
            let mut head = [0; 9];
            self.stream.read_exact(&mut head).await.ok()?;
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            let mut payload = vec![0; length];
            self.stream.read_exact(&mut payload).await.ok()?;
            let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]) & 0x7fff_ffff;
            Some(Frame { kind: head[3], flags: head[4], stream, payload })
        })
        .await
    }

    /// Waits for the end of the connection, and tells the error code that the other side gave for it, where it gave one.
    pub async fn ended(&mut self) -> Option<u32> {
        let mut given = None;
        while let Some(frame) = self.frame().await {
            if frame.kind == GOAWAY {
                given = Some(code(&frame.payload, 4));
            }
        }
        given
    }

    /// Waits for the end of the request on `stream`, and acknowledges settings and pings on the way.
    pub async fn outcome(&mut self, stream: u32) -> Outcome {
        while let Some(frame) = self.frame().await {
            match frame.kind {
                SETTINGS if frame.flags & 1 == 0 => drop(self.send(SETTINGS, 1, 0, &[]).await),
                PING if frame.flags & 1 == 0 => drop(self.send(PING, 1, 0, &frame.payload).await),
                HEADERS if frame.stream == stream => return Outcome::Status(status(&frame.payload)),
                RST_STREAM if frame.stream == stream => return Outcome::Reset(code(&frame.payload, 0)),
                GOAWAY if code(&frame.payload, 4) != 0 => return Outcome::GoAway(code(&frame.payload, 4)),
                _ => {}
            }
        }
        Outcome::Closed
    }
}

fn code(payload: &[u8], at: usize) -> u32 {
    payload.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_be_bytes)
}

/// Header fields as HPACK literals without indexing, names and values as plain bytes.
pub fn literals(headers: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in headers {
        block.push(0);
        for text in [name, value] {
            length(&mut block, text.len());
            block.extend(text.as_bytes());
        }
    }
    block
}

/// RFC 7541 §5.1 with a prefix of seven bits.
fn length(block: &mut Vec<u8>, mut n: usize) {
    if n < 127 {
        block.push(n as u8);
        return;
    }
    block.push(127);
    n -= 127;
    while n >= 128 {
        block.push((n % 128) as u8 | 128);
        n /= 128;
    }
    block.push(n as u8);
}

/// The status, which is the first field of an answer: by static index, or as a literal.
fn status(block: &[u8]) -> u16 {
    // A change of the table's size may come before it (RFC 7541 §6.3).
    let mut block = block;
    while block.first().is_some_and(|b| b & 0xe0 == 0x20) {
        block = &block[1..];
    }
    match block {
        [indexed @ 0x88..=0x8e, ..] => [200, 204, 206, 304, 400, 404, 500][usize::from(indexed - 0x88)],
        [_, length, rest @ ..] if length & 0x80 == 0 => {
            let digits = rest.get(..usize::from(*length)).unwrap_or_default();
            String::from_utf8_lossy(digits).parse().unwrap_or(0)
        }
        [_, length, rest @ ..] => huffman_digits(rest.get(..usize::from(length & 0x7f)).unwrap_or_default()),
        _ => 0,
    }
}

/// Digits in the Huffman code of RFC 7541 appendix B: 0, 1, 2 have five bits, the others six.
fn huffman_digits(bytes: &[u8]) -> u16 {
    let bits: Vec<u16> = bytes.iter().flat_map(|b| (0..8).rev().map(move |i| u16::from(b >> i & 1))).collect();
    let (mut at, mut number) = (0, 0);
    let read = |at: usize, n: usize| bits.get(at..at + n).map(|b| b.iter().fold(0, |sum, bit| sum << 1 | bit));
    for _ in 0..3 {
        match (read(at, 5), read(at, 6)) {
            (Some(digit @ 0..=2), _) => {
                number = number * 10 + digit;
                at += 5;
            }
            (_, Some(digit @ 0b01_1001..=0b01_1111)) => {
                number = number * 10 + digit - 0b01_1001 + 3;
                at += 6;
            }
            _ => return 0,
        }
    }
    number
}
