//! One connection to the directory, on which one thing happens at a time.
//!
//! Promise: with StartTLS nothing but the wish for it is sent before TLS, and nothing that came before TLS is read after
//! it. Every wait has an end, and what a search brings is bounded.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::config::model::DirectoryAddress;
use crate::ldap::Malformed;
use crate::ldap::message::{self, Entry, Operation, Outcome, SUCCESS, Scope};
use crate::reason::{Failure, Reason};
use crate::tls_fault::{MAKE_SERVERS, TlsFault};

/// Most bytes of all messages of one search.
const MOST_BYTES: usize = 8 * 1024 * 1024;
/// Most pieces of memory that the entries of one search take; an empty value has no bytes, and is one.
const MOST_PIECES: usize = 200_000;
/// Most places where one search could go on.
const MOST_REFERENCES: usize = 1000;
/// Longest answer to the wish for TLS. It comes from whoever is on the way.
const LONGEST_BEFORE_TLS: usize = 4096;
/// What a connection keeps of the room that a long message took.
const KEPT_ROOM: usize = 64 * 1024;

trait Stream: AsyncRead + AsyncWrite + Send + Sync + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Sync + Unpin> Stream for T {}

/// How a connection is made.
#[derive(Debug)]
pub struct Way {
    pub addresses: Vec<DirectoryAddress>,
    /// Which of them answered last.
    pub last_good: AtomicUsize,
    pub start_tls: bool,
    /// Where any connection is TLS.
    pub tls: Option<Arc<ClientConfig>>,
    pub connect_timeout: Duration,
    pub timeout: Duration,
}

/// A connection. Dropped, it is closed without a word.
pub struct Connection {
    exchange: Exchange<Box<dyn Stream>>,
    /// Which address, and how it is protected; for people.
    pub said: String,
}

/// A search.
#[derive(Clone, Debug)]
pub struct Query<'a> {
    pub base: &'a str,
    pub scope: Scope,
    pub size_limit: i32,
    /// Encoded.
    pub filter: Vec<u8>,
    pub attributes: &'a [String],
}

/// What a search came to.
#[derive(Debug)]
pub struct Found {
    pub entries: Vec<Entry>,
    pub outcome: Outcome,
    /// Whether there was a place where it could have gone on.
    pub referred: bool,
}

/// How the detail of a failure begins where the directory went away instead of answering a TLS handshake.
pub const HANDSHAKE_ENDED: &str = "the directory ended the TLS handshake";

fn unreachable(what: String) -> Failure {
    Failure::new(Reason::DirectoryUnreachable, what)
}

fn malformed(error: Malformed) -> Failure {
    Failure::new(Reason::DirectoryAnswer, error.to_string())
}

impl Way {
    /// A connection to the first address that takes one, beginning with the one that did so last: else one that hangs would
    /// cost everybody its time.
    pub async fn connect(&self) -> Result<Connection, Failure> {
        let mut last = unreachable("there is no address".into());
        let first = self.last_good.load(Ordering::Relaxed);
        for (index, address) in self.addresses.iter().enumerate().cycle().skip(first).take(self.addresses.len()) {
            let made = tokio::time::timeout(self.connect_timeout, self.connect_to(address)).await;
            last = match made {
                Ok(Ok(connection)) => {
                    self.last_good.store(index, Ordering::Relaxed);
                    return Ok(connection);
                }
                Ok(Err(mut failure)) => {
                    failure.detail = format!("{address}: {}", failure.detail);
                    failure
                }
                Err(_) => unreachable(format!("{address}: no connection within {:?}", self.connect_timeout)),
            };
        }
        Err(last)
    }

    async fn connect_to(&self, address: &DirectoryAddress) -> Result<Connection, Failure> {
        let stream = TcpStream::connect((address.host.as_str(), address.port)).await;
        let stream = stream.map_err(|error| unreachable(error.to_string()))?;
        let _ = stream.set_nodelay(true);
        match (&self.tls, address.tls) {
            (Some(tls), true) => self.secure(stream, tls, address, "TLS").await,
            (Some(tls), false) if self.start_tls => {
                let stream = start_tls(stream, self.timeout).await?;
                self.secure(stream, tls, address, "StartTLS").await
            }
            (None, true) => Err(Failure::new(Reason::Internal, "TLS without settings for it")),
            _ => Ok(self.connection(stream, format!("{address} without TLS"))),
        }
    }

    async fn secure(
        &self,
        stream: TcpStream,
        tls: &Arc<ClientConfig>,
        address: &DirectoryAddress,
        how: &str,
    ) -> Result<Connection, Failure> {
        let failed = |what: String| Failure::new(Reason::DirectoryTls, what);
        let name = ServerName::try_from(address.host.clone());
        let name = name.map_err(|_| failed("the host is no name that a certificate could have".into()))?;
        let stream = TlsConnector::from(Arc::clone(tls)).connect(name, stream).await;
        let stream = stream.map_err(|error| match error.kind() {
            // The server went away; that says nothing about its certificate.
            std::io::ErrorKind::ConnectionReset | std::io::ErrorKind::UnexpectedEof => {
                unreachable(format!("{HANDSHAKE_ENDED}: {error}")).remedied(NO_TLS_OR_NONE_FOR_US)
            }
            _ => {
                let why = error.to_string();
                let remedy = TlsFault::of(&why).map(remedy);
                failed(why).remedied_by(remedy)
            }
        })?;
        Ok(self.connection(stream, format!("{address} with {how}")))
    }

    fn connection(&self, stream: impl Stream + 'static, said: String) -> Connection {
        Connection { exchange: Exchange::new(Box::new(stream), self.timeout), said }
    }
}

const NO_TLS_OR_NONE_FOR_US: &str = "See whether the directory speaks TLS at this port (636, most often): where it does not, \
    write `address` of `[ldap]` as ldap:// with `start_tls = true`; where it does, its own log says why it ended the handshake.";

/// What mends that fault of TLS with a directory.
fn remedy(fault: TlsFault) -> &'static str {
    match fault {
        TlsFault::NoTls => {
            "Write `address` of `[ldap]` as ldap:// with `start_tls = true`, or with the port at which the directory speaks TLS \
             (636): at this one it does not."
        }
        TlsFault::Expired => "Have the directory's certificate renewed.",
        TlsFault::NotYetValid => {
            "Set the clock of the gateway's host: by it the directory's certificate is not valid yet."
        }
        TlsFault::OtherName => {
            "Write the host into `address` of `[ldap]` that the directory's certificate is for, or have it made for this one."
        }
        TlsFault::UnknownAuthority => {
            "Set `ca_file` of `[ldap]` to the authority that the directory's certificate is of."
        }
        TlsFault::AuthorityAsServer => MAKE_SERVERS,
    }
}

/// Asks for TLS (RFC 4511 §4.14). Whoever puts words of their own behind the answer would have them read as the
/// directory's: bytes that came too early end the connection.
async fn start_tls(stream: TcpStream, timeout: Duration) -> Result<TcpStream, Failure> {
    let mut asking = Exchange::new(stream, timeout);
    asking.longest = LONGEST_BEFORE_TLS;
    let id = asking.send(message::start_tls).await?;
    let answer = asking.read(id).await?;
    let refused = |what: String| Failure::new(Reason::DirectoryTls, format!("StartTLS: {what}"));
    match answer {
        (Operation::Extended(outcome), _) if outcome.code == SUCCESS => {}
        (Operation::Extended(outcome), _) => {
            return Err(refused(outcome.to_string()).remedied(
                "Write `address` of `[ldap]` as ldaps:// with the port of TLS (636) and take `start_tls` away, or have the \
                 directory offer StartTLS: it does not.",
            ));
        }
        _ => return Err(refused("the answer is to something else".into())),
    }
    match asking.received.is_empty() {
        true => Ok(asking.stream),
        false => Err(refused("more came behind the answer than there can be".into())),
    }
}

/// Messages over a stream.
struct Exchange<S> {
    stream: S,
    received: Vec<u8>,
    last_id: i32,
    timeout: Duration,
    /// Longest message that is read.
    longest: usize,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Exchange<S> {
    fn new(stream: S, timeout: Duration) -> Self {
        Exchange { stream, received: Vec::new(), last_id: 0, timeout, longest: message::MAX_MESSAGE }
    }

    async fn send<M: AsRef<[u8]>>(&mut self, make: impl FnOnce(i32) -> M) -> Result<i32, Failure> {
        self.last_id = self.last_id.checked_add(1).unwrap_or(1);
        let bytes = make(self.last_id);
        let sent = async {
            self.stream.write_all(bytes.as_ref()).await?;
            self.stream.flush().await
        };
        match tokio::time::timeout(self.timeout, sent).await {
            Ok(Ok(())) => Ok(self.last_id),
            Ok(Err(error)) => Err(unreachable(format!("the connection broke: {error}"))),
            Err(_) => Err(unreachable(format!("it takes nothing for {:?}", self.timeout))),
        }
    }

    /// The next message, which answers `id`, and its length.
    async fn read(&mut self, id: i32) -> Result<(Operation, usize), Failure> {
        let read = tokio::time::timeout(self.timeout, self.message()).await;
        let (answer, length) = read.map_err(|_| unreachable(format!("no answer within {:?}", self.timeout)))??;
        match answer.id {
            found if found == id => Ok((answer.operation, length)),
            // A notice of disconnection (RFC 4511 §4.4.1).
            0 => Err(unreachable("the directory ends the connection".into())),
            _ => Err(Failure::new(Reason::DirectoryAnswer, "an answer to nothing that was asked")),
        }
    }

    async fn message(&mut self) -> Result<(message::Answer, usize), Failure> {
        loop {
            if let Some(length) = message::length(&self.received, self.longest).map_err(malformed)?
                && self.received.len() >= length
            {
                let answer = message::read(&self.received[..length]).map_err(malformed);
                self.received.drain(..length);
                self.received.shrink_to(KEPT_ROOM);
                return Ok((answer?, length));
            }
            let mut chunk = [0; 8192];
            let read = self.stream.read(&mut chunk).await;
            match read.map_err(|error| unreachable(format!("the connection broke: {error}")))? {
                0 => return Err(unreachable("the directory closed the connection".into())),
                count => self.received.extend_from_slice(&chunk[..count]),
            }
        }
    }
}

impl Connection {
    /// A simple bind; what the directory says of it.
    pub async fn bind(&mut self, dn: &str, password: &str) -> Result<Outcome, Failure> {
        let exchange = &mut self.exchange;
        let id = exchange.send(|id| message::bind(id, dn, password)).await?;
        match exchange.read(id).await? {
            (Operation::Bound(outcome), _) => Ok(outcome),
            _ => Err(Failure::new(Reason::DirectoryAnswer, "a bind was answered with something else")),
        }
    }

    /// A search; referrals are noted and not followed. A server that sends and sends has no longer than twice the time that
    /// it was told it has.
    pub async fn search(&mut self, query: &Query<'_>) -> Result<Found, Failure> {
        let most = self.exchange.timeout.saturating_mul(2);
        let found = tokio::time::timeout(most, self.search_on(query)).await;
        found.unwrap_or_else(|_| Err(unreachable(format!("the search has no end within {most:?}"))))
    }

    async fn search_on(&mut self, query: &Query<'_>) -> Result<Found, Failure> {
        let time_limit = i32::try_from(self.exchange.timeout.as_secs().max(1)).unwrap_or(i32::MAX);
        let search = message::Search {
            base: query.base,
            scope: query.scope,
            size_limit: query.size_limit,
            time_limit,
            filter: query.filter.clone(),
            attributes: query.attributes,
        };
        let exchange = &mut self.exchange;
        let id = exchange.send(|id| message::search(id, &search)).await?;
        let (mut entries, mut references, mut bytes, mut pieces) = (Vec::new(), 0, 0, 0);
        let unasked = |what: &str| Err(Failure::new(Reason::DirectoryAnswer, what));
        loop {
            let (operation, length) = exchange.read(id).await?;
            bytes += length;
            match operation {
                Operation::Entry(entry) => {
                    pieces += entry.pieces();
                    entries.push(entry);
                }
                Operation::Reference => references += 1,
                Operation::Done(outcome) => return Ok(Found { entries, outcome, referred: references > 0 }),
                _ => return unasked("a search was answered with something else"),
            }
            // A server that keeps to no limit is not listened to any longer.
            if entries.len() > query.size_limit.max(1) as usize {
                return unasked("more entries than were asked for");
            }
            if bytes > MOST_BYTES || pieces > MOST_PIECES || references > MOST_REFERENCES {
                return unasked("a search brings more than any could");
            }
            // What comes without a pause must not keep others from their turn.
            tokio::task::yield_now().await;
        }
    }

    /// Says good-bye, as is polite; a directory that does not listen is left all the same.
    pub async fn close(mut self) {
        let bye = async {
            let _ = self.exchange.send(message::unbind).await;
            let _ = self.exchange.stream.shutdown().await;
        };
        let _ = tokio::time::timeout(Duration::from_millis(200), bye).await;
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;
    use crate::config::model::Directory;
    use crate::trust;

    /// A server that says `answers`, one for each message that comes, and keeps the connection open.
    async fn server(answers: &'static [&'static [u8]]) -> u16 {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("a client");
            for answer in answers {
                let mut asked = [0; 4096];
                let _ = stream.read(&mut asked).await;
                let _ = stream.write_all(answer).await;
            }
            std::future::pending::<()>().await;
        });
        port
    }

    fn way(port: u16, start_tls: bool) -> Way {
        let settings = format!("address = []\nbase_dn = 'dc=x'\nstart_tls = {start_tls}");
        let settings: Directory = toml::from_str(&settings).expect("settings");
        Way {
            addresses: vec![DirectoryAddress { host: "127.0.0.1".into(), port, tls: false }],
            last_good: AtomicUsize::new(0),
            start_tls,
            tls: start_tls.then(|| trust::client(settings.ca_file.as_deref()).expect("TLS")),
            connect_timeout: Duration::from_secs(60),
            timeout: Duration::from_secs(60),
        }
    }

    /// For where nothing comes, or no end.
    fn impatient(port: u16) -> Way {
        Way { timeout: Duration::from_secs(1), ..way(port, false) }
    }

    fn everything(size_limit: i32) -> Query<'static> {
        let filter = crate::ldap::filter::Filter::everything().encode(Default::default());
        Query { base: "dc=x", scope: Scope::Subtree, size_limit, filter, attributes: &[] }
    }

    #[tokio::test]
    async fn what_comes_behind_the_answer_to_starttls_is_not_read_as_the_directory_s() {
        // Success, and behind it a bind's success that nobody asked for yet.
        let injected: &[&[u8]] =
            &[b"\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x00\x04\x00\x04\x00\x30\x0c\x02\x01\x02\x61\x07\x0a\x01\x00\x04\x00\x04\x00"];
        let failure = way(server(injected).await, true).connect().await.err().expect("refused");
        assert_eq!(failure.reason, Reason::DirectoryTls);
        assert!(failure.detail.contains("more came behind the answer"), "{failure}");
    }

    #[tokio::test]
    async fn a_server_that_does_not_start_tls_gets_no_password() {
        let unavailable: &[&[u8]] = &[b"\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x34\x04\x00\x04\x00"];
        let bound: &[&[u8]] = &[b"\x30\x0c\x02\x01\x01\x61\x07\x0a\x01\x00\x04\x00\x04\x00"];
        for answers in [unavailable, bound] {
            let failure = way(server(answers).await, true).connect().await.err().expect("refused");
            assert_eq!(failure.reason, Reason::DirectoryTls, "{failure}");
        }
        let failure = way(server(unavailable).await, true).connect().await.err().expect("refused");
        assert!(
            failure.remedy().contains("ldaps://") && failure.remedy().contains("`start_tls`"),
            "{}",
            failure.remedy()
        );
    }

    #[tokio::test]
    async fn a_server_that_is_no_directory_or_says_nothing_is_told_and_left() {
        for (answers, reason) in [
            (&[b"HTTP/1.1 400 Bad Request\r\n\r\n" as &[u8]] as &'static [&'static [u8]], Reason::DirectoryAnswer),
            (&[b"\x30\x84\x7f\xff\xff\xff"], Reason::DirectoryAnswer),
            (&[b"\x30\x0c\x02\x01\x09\x65\x07\x0a\x01\x00\x04\x00\x04\x00"], Reason::DirectoryAnswer),
            (&[b"\x30\x0c\x02\x01\x01\x61\x07\x0a\x01\x00\x04\x00\x04\x00"], Reason::DirectoryAnswer),
            (&[b"\x30\x0c\x02\x01\x00\x78\x07\x0a\x01\x34\x04\x00\x04\x00"], Reason::DirectoryUnreachable),
            (&[b"\x30\x0c\x02"], Reason::DirectoryUnreachable),
            (&[], Reason::DirectoryUnreachable),
        ] {
            let silent = answers.first().is_none_or(|answer| answer.len() == 3);
            let port = server(answers).await;
            let way = if silent { impatient(port) } else { way(port, false) };
            let mut connection = way.connect().await.expect("a connection");
            let failure = connection.search(&everything(2)).await.expect_err("no answer");
            assert_eq!(failure.reason, reason, "{failure}");
        }
    }

    #[tokio::test]
    async fn more_entries_than_were_asked_for_are_not_kept() {
        let entries: &[&[u8]] =
            &[b"\x30\x0b\x02\x01\x01\x64\x06\x04\x02a=\x30\x00\x30\x0b\x02\x01\x01\x64\x06\x04\x02b=\x30\x00\
            \x30\x0b\x02\x01\x01\x64\x06\x04\x02c=\x30\x00"];
        let mut connection = way(server(entries).await, false).connect().await.expect("a connection");
        let failure = connection.search(&everything(2)).await.expect_err("too many");
        assert!(failure.detail.contains("more entries"), "{failure}");
    }

    /// A server that says the same again and again, whatever is asked.
    async fn endless(again: Vec<u8>, pause: Duration) -> u16 {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("a client");
            while stream.write_all(&again).await.is_ok() {
                tokio::time::sleep(pause).await;
            }
        });
        port
    }

    const REFERENCE: &[u8] = b"\x30\x08\x02\x01\x01\x73\x03\x04\x01x";

    #[tokio::test]
    async fn a_search_has_an_end_however_much_comes() {
        let none = Duration::ZERO;
        // An entry of 50,000 empty values: 100 kB on the way, and more than ten times that in memory.
        let set = [b"\x31\x83\x01\x86\xa0".as_slice(), &b"\x04\x00".repeat(50_000)].concat();
        let list = [b"\x30\x83\x01\x86\xa8\x04\x01a".as_slice(), &set].concat();
        let list = [b"\x30\x83\x01\x86\xad".as_slice(), &list].concat();
        let entry = [b"\x64\x83\x01\x86\xb5\x04\x01d".as_slice(), &list].concat();
        let empty = [b"\x30\x83\x01\x86\xbd\x02\x01\x01".as_slice(), &entry].concat();
        for (again, pause, reason, detail) in [
            (REFERENCE.repeat(100), none, Reason::DirectoryAnswer, "more than any could"),
            (empty, none, Reason::DirectoryAnswer, "more than any could"),
            (REFERENCE.to_vec(), Duration::from_millis(50), Reason::DirectoryUnreachable, "no end within"),
            (vec![0x30], Duration::from_millis(50), Reason::DirectoryUnreachable, "no answer within"),
        ] {
            let port = endless(again, pause).await;
            let way = if pause.is_zero() { way(port, false) } else { impatient(port) };
            let mut connection = way.connect().await.expect("a connection");
            let failure = connection.search(&everything(1000)).await.expect_err("no end");
            assert_eq!(failure.reason, reason, "{failure}");
            assert!(failure.detail.contains(detail), "{failure}");
        }
    }

    #[tokio::test]
    async fn a_long_answer_to_the_wish_for_tls_is_not_waited_for() {
        let huge: &[&[u8]] = &[b"\x30\x83\x0f\xff\xff\x02\x01\x01\x64"];
        let failure = way(server(huge).await, true).connect().await.err().expect("refused");
        assert!(failure.detail.contains("longer than any that was asked for"), "{failure}");
    }
}
