//! What the words of a failed TLS handshake say, whichever library wrote them.
//!
//! The same fault is written in several ways: `Expired`, `certificate expired: verification time …`, `NotValidForName`,
//! `certificate not valid for name "a"; …`. Promise: one fault, however it is written; and no guess.

/// Why a handshake failed, as far as it is one of those with a remedy of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsFault {
    /// What answers does not speak TLS at all.
    NoTls,
    Expired,
    NotYetValid,
    /// The certificate is good, and for somebody else.
    OtherName,
    UnknownAuthority,
    /// It says that it makes certificates (`CA:TRUE`), as `openssl req -x509` has it by itself.
    AuthorityAsServer,
}

/// What mends [`TlsFault::AuthorityAsServer`], whoever shows the certificate.
pub const MAKE_SERVERS: &str = "An authority's certificate is used as a server's: make it anew with \
    `-addext basicConstraints=critical,CA:FALSE` (openssl), or sign one for the server with it.";

impl TlsFault {
    pub fn of(words: &str) -> Option<TlsFault> {
        // So that names of variants and sentences are one.
        let letters: String = words.chars().filter(char::is_ascii_alphabetic).collect();
        let letters = letters.to_ascii_lowercase();
        let says = |word: &str| letters.contains(word);
        Some(match () {
            () if says("corruptmessage") || says("invalidcontenttype") => TlsFault::NoTls,
            () if says("causedasendentity") => TlsFault::AuthorityAsServer,
            () if says("unknownissuer") => TlsFault::UnknownAuthority,
            () if says("notvalidforname") => TlsFault::OtherName,
            () if says("notvalidyet") => TlsFault::NotYetValid,
            () if says("certificateexpired") || says("certificatehasexpired") => TlsFault::Expired,
            () => return None,
        })
    }

    /// What is the matter with whoever answers, as part of a sentence that begins with its name.
    pub fn in_words(self) -> &'static str {
        match self {
            TlsFault::NoTls => "does not speak TLS at this port",
            TlsFault::Expired => "has a certificate that is expired",
            TlsFault::NotYetValid => "has a certificate that is not valid yet",
            TlsFault::OtherName => "has a certificate for another name",
            TlsFault::UnknownAuthority => "has a certificate of an authority that is not trusted",
            TlsFault::AuthorityAsServer => "has an authority's certificate as its own",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rustls::CertificateError::*;
    use rustls::pki_types::{ServerName, UnixTime};
    use rustls::{Error, InvalidMessage};

    use super::*;

    #[test]
    fn every_form_that_the_library_writes_is_the_fault_that_it_is() {
        let at = |seconds| UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        let name = || ServerName::try_from("a.example").expect("a name");
        for (error, fault) in [
            (Error::InvalidCertificate(Expired), Some(TlsFault::Expired)),
            (Error::InvalidCertificate(ExpiredContext { time: at(9), not_after: at(5) }), Some(TlsFault::Expired)),
            (Error::InvalidCertificate(NotValidYet), Some(TlsFault::NotYetValid)),
            (
                Error::InvalidCertificate(NotValidYetContext { time: at(5), not_before: at(9) }),
                Some(TlsFault::NotYetValid),
            ),
            (Error::InvalidCertificate(NotValidForName), Some(TlsFault::OtherName)),
            (
                Error::InvalidCertificate(NotValidForNameContext { expected: name(), presented: vec!["b".into()] }),
                Some(TlsFault::OtherName),
            ),
            (Error::InvalidCertificate(UnknownIssuer), Some(TlsFault::UnknownAuthority)),
            (Error::InvalidMessage(InvalidMessage::InvalidContentType), Some(TlsFault::NoTls)),
            (Error::InvalidCertificate(Revoked), None),
            (Error::AlertReceived(rustls::AlertDescription::HandshakeFailure), None),
        ] {
            assert_eq!(TlsFault::of(&error.to_string()), fault, "{error}");
        }
        let authority = "invalid peer certificate: Other(OtherError(CaUsedAsEndEntity))";
        assert_eq!(TlsFault::of(authority), Some(TlsFault::AuthorityAsServer));
    }
}
