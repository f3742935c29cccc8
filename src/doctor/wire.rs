//! One HTTP exchange, byte by byte: what the doctor asks where a client library would hide what it wants to see.
//!
//! Promise: it ends within its time, reads no more than it needs, follows nothing, and a failure names the step.

use std::io;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

use super::way::{self, PATIENCE};
use crate::trust;

/// Most bytes of an answer that are looked at.
const MOST: usize = 64 * 1024;

/// The step that failed, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    pub step: &'static str,
    pub why: String,
}

fn failed(step: &'static str, why: impl Into<String>) -> Failed {
    Failed { step, why: why.into() }
}

/// Whom it is spoken to.
#[derive(Clone, Debug)]
pub enum Peer {
    Tcp { host: String, port: u16, tls: Option<Tls> },
    Unix(std::path::PathBuf),
}

/// Whose certificate is expected.
#[derive(Clone, Debug, Default)]
pub struct Tls {
    /// Instead of the host.
    pub server_name: Option<String>,
    /// Instead of the system's authorities.
    pub ca_file: Option<std::path::PathBuf>,
}

/// An answer, as far as it was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    pub status: u16,
    /// Names in small letters.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Heard {
    /// The first header of that name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    fn parse(bytes: &[u8]) -> Option<Heard> {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
        let head = String::from_utf8_lossy(&bytes[..end]);
        let mut lines = head.split("\r\n");
        let status = lines.next()?.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()?;
        let pair = |line: &str| {
            let (name, value) = line.split_once(':')?;
            Some((name.to_ascii_lowercase(), value.trim().to_owned()))
        };
        Some(Heard { status, headers: lines.filter_map(pair).collect(), body: bytes[end + 4..].to_vec() })
    }

    /// Status and server, and nothing of the text.
    pub fn named(&self) -> String {
        let server = self.header("server").map(|server| format!(", `Server: {}`", short(server)));
        format!("status {}{}", self.status, server.unwrap_or_default())
    }

    /// Status, server and title, for people who are to recognise what answers.
    pub fn described(&self) -> String {
        let mut said = self.named();
        let page = String::from_utf8_lossy(&self.body);
        let title = page.split_once("<title>").and_then(|(_, rest)| rest.split_once("</title>"));
        if let Some((title, _)) = title {
            said.push_str(&format!(", a page with the title {:?}", short(title.trim())));
        }
        said
    }
}

/// What others wrote, for a line of a report.
pub fn short(text: &str) -> String {
    let plain = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    plain.take(80).collect()
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Sends `request`, whole as it is, and reads the answer.
pub async fn ask(peer: &Peer, request: &[u8]) -> Result<Heard, Failed> {
    let stream = connect(peer).await?;
    exchange(stream, request).await
}

/// The same without a word: whether a connection can be made, TLS included.
pub async fn reach(peer: &Peer) -> Result<(), Failed> {
    connect(peer).await.map(drop)
}

/// `GET target` as a browser's, with further lines.
pub fn get(target: &str, host: &str, lines: &[String]) -> Vec<u8> {
    let more: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
    let (kind, close) =
        ("Accept: text/html,*/*\r\nUser-Agent: Mozilla/5.0 (compatible; Doorward)", "Connection: close");
    format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n{kind}\r\n{more}{close}\r\n\r\n").into_bytes()
}

async fn connect(peer: &Peer) -> Result<Box<dyn Stream>, Failed> {
    let (host, port, tls) = match peer {
        Peer::Unix(path) => {
            let stream = timed("socket", UnixStream::connect(path)).await?;
            return Ok(Box::new(stream));
        }
        Peer::Tcp { host, port, tls } => (host.trim_matches(['[', ']']), *port, tls),
    };
    let addresses = way::addresses(host, port).await.map_err(|why| failed("DNS", why.told(host)))?;
    let mut last = failed("TCP", "no address");
    for address in addresses {
        match way::connect(address).await {
            Ok(stream) => {
                let Some(tls) = tls else { return Ok(Box::new(stream)) };
                return secure(stream, tls, host).await;
            }
            Err(why) => last = failed("TCP", format!("{address} {why}")),
        }
    }
    Err(last)
}

async fn secure(stream: TcpStream, tls: &Tls, host: &str) -> Result<Box<dyn Stream>, Failed> {
    let file = tls.ca_file.clone();
    // Reading the system's authorities takes tens of milliseconds.
    let config = tokio::task::spawn_blocking(move || trust::client(file.as_deref())).await;
    let config = config.map_err(|_| failed("TLS", "stopped"))?.map_err(|failure| failed("TLS", failure.detail))?;
    let name = tls.server_name.clone().unwrap_or_else(|| host.to_owned());
    let name = ServerName::try_from(name).map_err(|_| failed("TLS", "no name that a certificate could have"))?;
    let stream = timed("TLS", TlsConnector::from(config).connect(name, stream)).await?;
    Ok(Box::new(stream))
}

/// Sends `request` over `stream` and reads the answer until the peer ends it, its length is reached, or enough came.
async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin, request: &[u8]) -> Result<Heard, Failed> {
    timed("HTTP", stream.write_all(request)).await?;
    timed("HTTP", stream.flush()).await?;
    let mut bytes = Vec::new();
    let whole = async {
        let mut chunk = [0; 8192];
        while bytes.len() < MOST && !is_whole(&bytes) {
            match stream.read(&mut chunk).await {
                Ok(0) => break,
                Ok(count) => bytes.extend_from_slice(&chunk[..count]),
                // Whoever closes TLS without a word has said all the same what it said.
                Err(_) if !bytes.is_empty() => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    };
    // What came until then is looked at.
    let whole_in_time = match tokio::time::timeout(PATIENCE, whole).await {
        Ok(Err(error)) => return Err(failed("HTTP", error.to_string())),
        Ok(Ok(())) => true,
        Err(_) => false,
    };
    match Heard::parse(&bytes) {
        Some(heard) => Ok(heard),
        None if bytes.is_empty() && whole_in_time => Err(failed("HTTP", "the connection was closed without a word")),
        None if bytes.is_empty() => {
            Err(failed("answer", format!("it takes connections and says nothing for {PATIENCE:?}")))
        }
        None => Err(failed("HTTP", "what came back is not HTTP/1.1")),
    }
}

fn is_whole(bytes: &[u8]) -> bool {
    let Some(heard) = Heard::parse(bytes) else { return false };
    let length = heard.header("content-length").and_then(|text| text.parse::<usize>().ok());
    length.is_some_and(|length| heard.body.len() >= length)
}

async fn timed<T>(step: &'static str, work: impl Future<Output = io::Result<T>>) -> Result<T, Failed> {
    match tokio::time::timeout(PATIENCE, work).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(failed(step, short(&error.to_string()))),
        Err(_) => Err(failed(step, format!("nothing within {PATIENCE:?}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oidc::tests::support::closed_port;

    #[test]
    fn an_answer_is_described_so_that_it_can_be_recognised() {
        let heard = Heard::parse(
            b"HTTP/1.1 200 OK\r\nServer: nginx\r\nContent-Length: 40\r\n\r\n<html><title>Welcome to nginx!</title>\r\n",
        )
        .expect("an answer");
        let wanted = "status 200, `Server: nginx`, a page with the title \"Welcome to nginx!\"";
        assert_eq!(heard.described(), wanted);
        assert_eq!(heard.header("content-length"), Some("40"));
        for bytes in ["", "HTTP/1.1 200 OK\r\n", "SSH-2.0-x\r\n\r\n", "HTTP/1.1 x\r\n\r\n"] {
            assert_eq!(Heard::parse(bytes.as_bytes()), None, "{bytes}");
        }
        assert!(is_whole(b"HTTP/1.1 204 x\r\ncontent-length: 0\r\n\r\n") && !is_whole(b"HTTP/1.1 200 x\r\n\r\n"));
    }

    #[tokio::test]
    async fn a_failure_names_its_step() {
        let (_closed, closed) = closed_port();
        let peer = |host: &str| Peer::Tcp { host: host.into(), port: closed, tls: None };
        assert_eq!(reach(&peer("127.0.0.1")).await.map_err(|failed| failed.step), Err("TCP"));
        assert_eq!(reach(&peer("nowhere.invalid")).await.map_err(|failed| failed.step), Err("DNS"));
        let socket = Peer::Unix("/does/not/exist".into());
        assert_eq!(reach(&socket).await.map_err(|failed| failed.step), Err("socket"));
    }
}
