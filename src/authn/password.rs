//! People who send name and password with each request (`Authorization: Basic`, RFC 7617), on routes that say so.
//!
//! Promise: what could be a key or a token is never told to the directory. The same limits hold as for the form, and what
//! was right a moment ago is not asked about again.

use std::net::IpAddr;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderName, HeaderValue};
use zeroize::Zeroizing;

use super::program::mentions_key;
use crate::attempts::{Attempts, Refused};
use crate::directory::name::Name;
use crate::directory::{Directory, VerifiedPasswords};
use crate::identity::Identity;
use crate::identity_headers::IdentityHeaders;
use crate::reason::{Failure, Reason};

/// Longest credential, in base64.
const MAX_BYTES: usize = 4096;

/// Somebody whose password was right.
#[derive(Debug)]
pub struct Person {
    pub identity: Identity,
    /// What the app is told of them.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

/// Those whose passwords count.
pub struct Passwords {
    directory: Arc<Directory>,
    attempts: Arc<Attempts>,
    headers: IdentityHeaders,
    lately: VerifiedPasswords<Person>,
}

/// Name and password as they were sent.
pub struct Pair {
    user: Zeroizing<String>,
    password: Zeroizing<String>,
}

impl Pair {
    /// What `authorization` holds, where that is a name and a password and nothing that is judged elsewhere.
    pub fn read(authorization: &HeaderValue) -> Option<Pair> {
        let decoded = decoded(authorization)?;
        let (user, password) = std::str::from_utf8(&decoded).ok()?.split_once(':')?;
        // As the name, too: many services take a token there.
        let credential = |text: &str| mentions_key(text.as_bytes()) || mentions_token(text);
        let elsewhere = user.is_empty() || password.is_empty() || credential(user) || credential(password);
        (!elsewhere).then(|| Pair { user: user.to_owned().into(), password: password.to_owned().into() })
    }
}

/// Where somebody's name came without a password: what to say of it where passwords count.
pub fn no_password(authorization: &HeaderValue) -> Option<Failure> {
    lacks_password(authorization).then(|| {
        let remedy = "Send your own name and password, or `Authorization: Bearer` with a token or key.";
        Failure::new(Reason::AuthorizationForm, "the password is empty").remedied(remedy)
    })
}

fn lacks_password(authorization: &HeaderValue) -> bool {
    let lacking =
        |pair: &[u8]| matches!(pair.split_last(), Some((b':', name)) if !name.is_empty() && !name.contains(&b':'));
    decoded(authorization).is_some_and(|pair| lacking(&pair))
}

/// What is in the base64 of HTTP Basic (RFC 7617 §2), name and password by rights.
fn decoded(authorization: &HeaderValue) -> Option<Zeroizing<Vec<u8>>> {
    let (scheme, rest) = authorization.as_bytes().split_at_checked(6)?;
    let rest = rest.trim_ascii();
    if !scheme.eq_ignore_ascii_case(b"basic ") || rest.len() > MAX_BYTES {
        return None;
    }
    STANDARD.decode(rest).ok().map(Zeroizing::new)
}

/// Whether a JWT is in it, with quotes or a word before it: parts that begin with the brace of a header, three of them or,
/// encrypted, five.
fn mentions_token(text: &str) -> bool {
    let in_token = |c: char| c.is_ascii_alphanumeric() || "-_.=".contains(c);
    let mut words = text.split(|c| !in_token(c));
    words.any(|word| word.starts_with("ey") && matches!(word.split('.').count(), 3 | 5))
}

impl Passwords {
    /// `None` where the system's random source fails.
    pub fn new(directory: Arc<Directory>, attempts: Arc<Attempts>, headers: IdentityHeaders) -> Option<Self> {
        let lately = VerifiedPasswords::new(directory.basic_cache())?;
        Some(Passwords { directory, attempts, headers, lately })
    }

    /// Forgets what was right a moment ago.
    pub fn forget(&self) {
        self.lately.clear();
    }

    /// Whose they are.
    pub async fn judge(&self, pair: &Pair, client: Option<IpAddr>) -> Result<Arc<Person>, Refused> {
        if let Some(person) = self.lately.get(&pair.user, &pair.password) {
            return Ok(person);
        }
        let name = Name::parse(&pair.user)?;
        let one = self.attempts.begin(name.counted(), client)?;
        let identity = self.directory.sign_in(&name, &pair.password, one).await?;
        let headers = self.headers.of(&identity)?;
        let person = Arc::new(Person { identity, headers });
        self.lately.put(&pair.user, &pair.password, Arc::clone(&person));
        Ok(person)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pair: &str) -> Option<(String, String)> {
        let header = HeaderValue::from_str(&format!("Basic {}", STANDARD.encode(pair))).expect("a header");
        Pair::read(&header).map(|pair| (pair.user.to_string(), pair.password.to_string()))
    }

    #[test]
    fn keys_and_tokens_are_never_taken_for_passwords() {
        let both = |user: &str, password: &str| Some((user.to_owned(), password.to_owned()));
        assert_eq!(read("bob:secret"), both("bob", "secret"));
        assert_eq!(read("bob:se:cr:et"), both("bob", "se:cr:et"));
        assert_eq!(read("bob:eyes are blue"), both("bob", "eyes are blue"));
        for pair in ["api:dwk_abc", "bob: dwk_abc", "bob:DWK_x", "api:eyJhbGciOi.eyJz.c2ln", "bob", "bob:", ":secret"] {
            assert_eq!(read(pair), None, "{pair}");
        }
        for token in [
            "eyJhbGciOi.eyJz.c2ln",
            "eyJhbGciOi.a.b.c.d",
            "\"eyJhbGciOi.eyJz.c2ln\"",
            "Bearer eyJh.eyJz.c2ln",
            "dwk_abc",
        ] {
            for pair in [format!("api:{token}"), format!("{token}:x"), format!("{token}:secret word")] {
                assert_eq!(read(&pair), None, "{pair}");
            }
        }
        assert_eq!(read("eyal.b.c.d:secret"), both("eyal.b.c.d", "secret"));
        for header in ["Bearer abc", "Basic", "Basic !", "basic", "Digest abc"] {
            assert!(Pair::read(&HeaderValue::from_static(header)).is_none(), "{header}");
            assert!(!lacks_password(&HeaderValue::from_static(header)), "{header}");
        }
        for (pair, lacking) in [("anna:", true), ("anna:x", false), ("anna::", false), (":", false), ("anna", false)] {
            let header = HeaderValue::from_str(&format!("Basic {}", STANDARD.encode(pair))).expect("a header");
            assert_eq!(lacks_password(&header), lacking, "{pair}");
        }
    }
}
