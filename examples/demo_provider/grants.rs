//! What the demo's provider remembers: open sign-ins, sessions, codes and tokens. All of it ends, and none of it
//! outlives the process.

use std::collections::HashMap;

use crate::now;
use crate::tokens::random;

/// Somebody who can sign in.
pub struct Person {
    pub user: &'static str,
    pub password: &'static str,
    pub subject: &'static str,
    pub name: &'static str,
    pub email: &'static str,
    pub groups: &'static [&'static str],
}

pub const PEOPLE: [Person; 2] = [
    Person {
        user: "ada",
        password: "lovelace",
        subject: "u-1815",
        name: "Ada Lovelace",
        email: "ada@example.org",
        groups: &["staff", "mathematicians"],
    },
    Person {
        user: "grace",
        password: "hopper",
        subject: "u-1906",
        name: "Grace Hopper",
        email: "grace@example.org",
        groups: &["staff", "navy"],
    },
];

/// A registered client. Without a secret it is a public one.
pub struct Client {
    pub id: String,
    pub secret: Option<String>,
    pub redirect_uris: Vec<String>,
    pub post_logout_uris: Vec<String>,
}

/// What a client asked for, checked.
#[derive(Clone)]
pub struct AuthorizationRequest {
    pub client_id: String,
    pub redirect_uri: String,
    pub state: Option<String>,
    pub nonce: Option<String>,
    pub scope: String,
    pub code_challenge: String,
}

/// What a code or refresh token stands for.
#[derive(Clone)]
pub struct Grant {
    pub request: AuthorizationRequest,
    pub person: &'static Person,
    pub auth_time: u64,
}

const REQUEST_SECONDS: u64 = 600;
const CODE_SECONDS: u64 = 60;
pub const ACCESS_TOKEN_SECONDS: u64 = 600;
const SESSION_SECONDS: u64 = 8 * 3600;
/// Anybody on the machine can open sign-ins: beyond this many of one kind, new ones push out all that is old.
const MOST: usize = 10_000;

/// Values that end at a time.
struct Expiring<T>(HashMap<String, (u64, T)>);

impl<T> Default for Expiring<T> {
    fn default() -> Self {
        Expiring(HashMap::new())
    }
}

impl<T> Expiring<T> {
    /// Keeps `value` under a new random name.
    fn keep(&mut self, value: T, seconds: u64) -> String {
        let now = now();
        self.0.retain(|_, (until, _)| *until > now);
        if self.0.len() >= MOST {
            self.0.clear();
        }
        let name = random();
        self.0.insert(name.clone(), (now + seconds, value));
        name
    }

    fn get(&self, name: &str) -> Option<&T> {
        self.0.get(name).filter(|(until, _)| *until > now()).map(|(_, value)| value)
    }

    fn take(&mut self, name: &str) -> Option<T> {
        self.0.remove(name).filter(|(until, _)| *until > now()).map(|(_, value)| value)
    }
}

/// Everything that was granted.
#[derive(Default)]
pub struct Grants {
    requests: Expiring<(AuthorizationRequest, String)>,
    sessions: Expiring<(&'static Person, u64)>,
    codes: Expiring<Grant>,
    refresh: Expiring<Grant>,
    access: Expiring<(&'static Person, String)>,
}

impl Grants {
    /// A sign-in that waits for its form, bound to a browser.
    pub fn open_request(&mut self, request: AuthorizationRequest, browser: &str) -> String {
        self.requests.keep((request, browser.into()), REQUEST_SECONDS)
    }

    pub fn request(&self, id: &str, browser: &str) -> Option<AuthorizationRequest> {
        self.requests.get(id).filter(|(_, owner)| owner == browser).map(|(request, _)| request.clone())
    }

    pub fn close_request(&mut self, id: &str) {
        self.requests.take(id);
    }

    pub fn open_session(&mut self, person: &'static Person) -> String {
        self.sessions.keep((person, now()), SESSION_SECONDS)
    }

    /// The person and when they signed in.
    pub fn session(&self, cookie: Option<&str>) -> Option<(&'static Person, u64)> {
        self.sessions.get(cookie?).copied()
    }

    pub fn close_session(&mut self, cookie: Option<&str>) {
        self.sessions.take(cookie.unwrap_or_default());
    }

    pub fn issue_code(&mut self, request: AuthorizationRequest, person: &'static Person, auth_time: u64) -> String {
        self.codes.keep(Grant { request, person, auth_time }, CODE_SECONDS)
    }

    /// A code works once, whatever comes of it (RFC 6749 §4.1.2).
    pub fn redeem_code(&mut self, code: &str) -> Option<Grant> {
        self.codes.take(code)
    }

    pub fn issue_refresh(&mut self, grant: Grant) -> String {
        self.refresh.keep(grant, SESSION_SECONDS)
    }

    /// A refresh token works once; the answer brings the next (RFC 9700 §4.14).
    pub fn redeem_refresh(&mut self, token: &str, client_id: &str) -> Option<Grant> {
        self.refresh.get(token).filter(|grant| grant.request.client_id == client_id)?;
        self.refresh.take(token)
    }

    pub fn issue_access(&mut self, grant: &Grant) -> String {
        self.access.keep((grant.person, grant.request.scope.clone()), ACCESS_TOKEN_SECONDS)
    }

    /// The person an access token speaks for, and its scope.
    pub fn access(&self, token: &str) -> Option<(&'static Person, String)> {
        self.access.get(token).cloned()
    }
}
