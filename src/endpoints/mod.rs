//! Step 3: the gateway's own addresses: signing in, the provider's answer, signing out; for programs, the exchange of
//! tokens and what is published about it; for the doctor, that it is this gateway.
//!
//! Handlers take a [`Visit`] and return an [`Answer`] or a [`Refusal`]; they know neither the proxy library nor how an
//! answer is written. Everything else on the public listener belongs to the app.

mod answer;
mod bounce;
mod callback;
pub mod challenge;
mod lost_attempt;
mod new_session;
mod password;
mod provider_logout;
pub mod published;
pub mod reached;
pub mod renewal;
mod return_address;
mod sign_in;
mod sign_out;
pub mod step_up;
pub mod token;
mod visitor;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::{HeaderMap, Method, header};
use url::Url;

use crate::attempts::Attempts;
use crate::authn::{Programs, SessionRules};
use crate::canonical::CanonicalPath;
use crate::clock::unix_seconds;
use crate::config::Config;
pub use crate::config::model::CALLBACK;
use crate::config::model::{RESTORE, ResponseMode, SignInStyle};
use crate::directory::Directory;
use crate::federation::Federation;
use crate::identity_headers::IdentityHeaders;
use crate::keys::Keyring;
use crate::oidc::{MAX_FORM, Providers};
use crate::pages::Pages;
use crate::reason::{Failure, Reason};
use crate::session::cookies::Cookies;
use crate::session::ended::Ended;
use crate::telemetry::Reference;
use crate::way_in::WayIn;

pub use answer::{Answer, Known, Outcome, Refusal};
pub use new_session::seal_session;
pub use published::Published;
pub use renewal::SessionRenewals;
pub use return_address::ReturnAddress;
pub use sign_in::{send_to_sign_in, send_to_step_up};
pub use step_up::StepUp;
pub use visitor::Visitor;

/// What the gateway's own pages and decisions stand on. Made once from a configuration, then read only.
pub struct Context {
    pub config: Arc<Config>,
    pub keys: Arc<Keyring>,
    pub cookies: Cookies,
    /// Sessions that ended before their time.
    pub ended: Arc<Ended>,
    /// For how long it has to know them.
    pub lifetime: Duration,
    pub providers: Arc<Providers>,
    /// Renewals of sessions in flight and lately done.
    pub renewals: Arc<SessionRenewals>,
    pub pages: Pages,
    pub identity_headers: IdentityHeaders,
    pub published: Published,
    /// Where the configuration has one.
    pub federation: Option<Federation>,
    /// Programs whose credentials count.
    pub programs: Programs,
    /// Where the configuration has one.
    pub directory: Option<Arc<Directory>>,
    /// How often passwords may be tried, whoever judges them.
    pub attempts: Arc<Attempts>,
    /// Open where signing in is broken; then nobody comes in by anything else.
    pub way_in: Option<WayIn>,
}

impl Context {
    /// What is remembered goes by this configuration from `now` on. To be called once, when it comes into force.
    pub fn take_over(&self, now: SystemTime) {
        self.ended.live_for(self.lifetime, unix_seconds(now));
        self.attempts.limit(&self.config.settings.attempts);
    }

    pub fn session_rules(&self) -> SessionRules<'_> {
        let limits = &self.config.settings.session;
        let restore = self.way_in.is_some();
        SessionRules {
            cookies: &self.cookies,
            keys: &self.keys,
            limits,
            ended: Some(&self.ended),
            restore,
            counted: true,
        }
    }

    /// The directory, where people sign in with it.
    pub fn directory(&self) -> Option<&Arc<Directory>> {
        self.directory.as_ref().filter(|directory| directory.takes_sign_ins())
    }

    /// Whether sessions of `provider` count: of a provider, of the directory, or of the way in while that is open.
    pub fn accepts(&self, provider: &str) -> bool {
        match &self.way_in {
            Some(_) => provider == RESTORE,
            None => {
                self.providers.get(provider).is_some()
                    || self.directory().is_some_and(|directory| directory.name() == provider)
            }
        }
    }

    /// Whether there is any way to sign in.
    pub fn offers_sign_in(&self) -> bool {
        !self.providers.is_empty() || self.takes_passwords()
    }

    /// Whether there is a form for passwords.
    pub fn takes_passwords(&self) -> bool {
        self.way_in.is_some() || self.directory().is_some()
    }

    pub fn public_url(&self) -> &Url {
        &self.config.settings.public_url
    }

    /// Whether the cookies of the public host come to `host` as well.
    pub fn shares_cookies(&self, host: &str) -> bool {
        self.config
            .settings
            .session
            .cookie_domain
            .as_deref()
            .is_some_and(|domain| host.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.')))
    }

    /// `text` as an address to return to, where it is one.
    pub fn return_address(&self, text: &str) -> Option<ReturnAddress> {
        ReturnAddress::parse(text, self.public_url(), self.config.settings.session.cookie_domain.as_deref())
    }

    /// Where somebody who signed in goes: to `address`, unless it is one of the gateway's own. `/logout` would undo what was
    /// done, for whoever made the link.
    fn onward<'a>(&self, address: &'a ReturnAddress) -> &'a str {
        let text = address.as_str();
        let (host, path) = match Url::parse(text) {
            Ok(url) => (url.host_str().unwrap_or_default().to_owned(), url.path().to_owned()),
            Err(_) => {
                let path = text.split(['?', '#']).next().unwrap_or_default();
                (self.public_url().host_str().unwrap_or_default().to_owned(), path.to_owned())
            }
        };
        // An address is judged to have one reading before it becomes one.
        let own = CanonicalPath::parse(path.as_bytes()).is_ok_and(|path| is_own(self, &host, path.as_str()));
        if own { "/" } else { text }
    }

    /// The same where `text` may name this host.
    pub fn own_address(&self, text: &str) -> Option<ReturnAddress> {
        ReturnAddress::parse_own(text, self.public_url(), self.config.settings.session.cookie_domain.as_deref())
    }
}

/// One request, as the handlers see it.
#[derive(Clone)]
pub struct Visit<'a> {
    pub method: &'a Method,
    pub headers: &'a HeaderMap,
    /// Canonical path.
    pub path: &'a str,
    pub query: Option<&'a str>,
    /// Canonical host, without the port.
    pub host: &'a str,
    /// The port that Host names, where it names one.
    pub port: Option<u16>,
    pub reference: Reference,
    pub now: SystemTime,
    pub client: Option<IpAddr>,
    /// Whether the first hop spoke TLS, as far as is known.
    pub over_tls: bool,
    /// The body, where the address is one that reads it.
    pub body: &'a [u8],
    /// Whether what becomes of it counts in the metrics: not where nobody sent it.
    pub counted: bool,
}

impl Visit<'_> {
    /// Person or program; asked only where the gateway answers itself.
    pub fn visitor(&self) -> Visitor {
        Visitor::of(self.method, self.headers)
    }

    /// Counts a step of signing in or out.
    fn count(&self, step: &str, reason: Option<Reason>) {
        if self.counted {
            sign_in::count(step, reason);
        }
    }

    /// Seconds since 1970.
    pub fn seconds(&self) -> u64 {
        unix_seconds(self.now)
    }

    /// Path and query, as a link on this host.
    fn target(&self) -> String {
        match self.query {
            Some(query) => format!("{}?{query}", self.path),
            None => self.path.to_owned(),
        }
    }

    /// The value of the query's parameter `name`; one that comes twice is refused.
    fn parameter(&self, name: &str) -> Result<Option<String>, Failure> {
        Self::one(self.query.unwrap_or_default().as_bytes(), name)
    }

    /// The field `name` of the form that was posted; one that comes twice is refused.
    fn field(&self, name: &str) -> Result<Option<String>, Failure> {
        Self::one(self.body, name)
    }

    fn one(encoded: &[u8], name: &str) -> Result<Option<String>, Failure> {
        let pairs = url::form_urlencoded::parse(encoded);
        let mut values = pairs.filter(|(key, _)| key == name).map(|(_, value)| value.into_owned());
        let first = values.next();
        match values.next() {
            Some(_) => Err(Failure::new(Reason::ParameterDoubled, format!("`{name}`"))),
            None => Ok(first),
        }
    }
}

/// Addresses of the gateway on the public listener.
pub const LOGIN: &str = "/oidc/login";
pub const SIGNED_OUT: &str = "/oidc/signed-out";
pub const LOGOUT: &str = "/logout";
pub const BACK_CHANNEL_LOGOUT: &str = "/oidc/backchannel-logout";
pub const TOKEN: &str = "/oidc/token";
pub const PASSWORD: &str = "/oidc/password";

/// Whether `path` at `host` is one of the gateway's own addresses.
pub fn is_own(context: &Context, host: &str, path: &str) -> bool {
    is_for_persons(context, path) || path == BACK_CHANNEL_LOGOUT || context.published.is_own(host, path)
}

fn is_for_persons(context: &Context, path: &str) -> bool {
    matches!(path, LOGIN | SIGNED_OUT | LOGOUT)
        || (path == PASSWORD && context.takes_passwords())
        || is_callback(context, path)
}

/// The redirect URI of any provider; the first one's always, were there no provider.
fn is_callback(context: &Context, path: &str) -> bool {
    let below = path.strip_prefix(CALLBACK);
    let closed = || context.way_in.as_ref().is_some_and(|way_in| way_in.is_callback(path));
    below.is_some_and(|below| below.is_empty() || context.providers.at_callback(path).is_some() || closed())
}

/// Whether the provider that answers at `path` posts its answers.
fn is_posted_to(context: &Context, path: &str) -> bool {
    let provider = path.starts_with(CALLBACK).then(|| context.providers.at_callback(path)).flatten();
    provider.is_some_and(|provider| provider.response_mode() == ResponseMode::FormPost)
}

/// Whether only what is closed while the way in is open would answer at `path`, one of the gateway's own addresses.
fn is_closed(context: &Context, path: &str) -> bool {
    context.way_in.is_some() && !matches!(path, LOGIN | PASSWORD | SIGNED_OUT | LOGOUT | reached::ADDRESS)
}

/// Most bytes of a body that the gateway itself reads at `path`; `None` where it reads none.
pub fn body_limit(context: &Context, method: &Method, path: &str) -> Option<usize> {
    if *method != Method::POST || is_closed(context, path) {
        return None;
    }
    match path {
        TOKEN => context.federation.is_some().then_some(token::MAX_BODY),
        BACK_CHANNEL_LOGOUT => Some(provider_logout::MAX_BODY),
        LOGIN => Some(sign_in::MAX_BODY),
        PASSWORD => context.takes_passwords().then_some(password::MAX_BODY),
        path => is_posted_to(context, path).then_some(MAX_FORM),
    }
}

/// The answer to a request whose body, which the gateway would have read itself, did not come whole or is not read.
pub fn body_unread(context: &Context, visit: &Visit<'_>, failure: Failure) -> Answer {
    match visit.path {
        TOKEN => token::unread(visit, failure),
        BACK_CHANNEL_LOGOUT => provider_logout::unread(visit, failure),
        _ => Answer::refusal(context, visit, failure.into()),
    }
}

/// Methods that one of the gateway's own addresses takes, as `Allow` lists them.
fn methods_of(context: &Context, path: &str) -> &'static str {
    match path {
        LOGIN | LOGOUT | PASSWORD => "GET, HEAD, POST",
        TOKEN | BACK_CHANNEL_LOGOUT => "POST",
        path if is_posted_to(context, path) => "GET, HEAD, POST",
        _ => "GET, HEAD",
    }
}

/// Answers a request to one of the gateway's own addresses.
pub async fn answer(context: &Context, visit: &Visit<'_>) -> Result<Answer, Refusal> {
    if let Some(early) = answer_early(context, visit) {
        return early;
    }
    match visit.path {
        LOGIN => sign_in::login(context, visit),
        PASSWORD => password::password(context, visit).await,
        SIGNED_OUT => sign_out::signed_out(context, visit),
        LOGOUT if provider_logout::is_front_channel(visit) => provider_logout::front_channel(context, visit),
        LOGOUT => sign_out::logout(context, visit),
        BACK_CHANNEL_LOGOUT => Ok(provider_logout::back_channel(context, visit).await),
        TOKEN => Ok(token::token(context, visit).await),
        path if is_callback(context, path) => callback::callback(context, visit).await,
        reached::ADDRESS => match context.published.reached() {
            Some(reached) => Ok(reached.answer(visit)?),
            None => Err(Failure::from(Reason::NoRoute).into()),
        },
        path => context.published.answer(visit.host, path).ok_or_else(|| Failure::from(Reason::NoRoute).into()),
    }
}

/// The answer where the address is closed, or does not take the method.
fn answer_early(context: &Context, visit: &Visit<'_>) -> Option<Result<Answer, Refusal>> {
    if is_closed(context, visit.path) {
        let failure = Failure::new(Reason::RestoreOnly, format!("{} {}", visit.method, visit.path));
        return Some(match *visit.method {
            Method::POST if !visit.visitor().is_person() => Ok(body_unread(context, visit, failure)),
            _ => Err(failure.into()),
        });
    }
    let taken = methods_of(context, visit.path).split(", ").any(|method| method == visit.method.as_str());
    if !taken && *visit.method == Method::POST && is_callback(context, visit.path) {
        let failure = Failure::new(Reason::ResponseMode, "expected an answer in the address, got a form");
        return Some(Err(failure.into()));
    }
    let refused = || Failure::new(Reason::MethodNotAllowed, format!("{} {}", visit.method, visit.path));
    (!taken).then(|| Err(refused().into()))
}

/// The answer where it can be told without doing anything: nothing is redeemed, ended or asked of anybody. `None` where that
/// is not so.
pub async fn rehearse(context: &Context, visit: &Visit<'_>) -> Option<Result<Answer, Refusal>> {
    if let Some(early) = answer_early(context, visit) {
        return Some(early);
    }
    let reads = visit.method.is_safe();
    let told = match visit.path {
        LOGIN | SIGNED_OUT => reads,
        LOGOUT => reads && !visit.headers.contains_key(header::COOKIE) && !provider_logout::is_front_channel(visit),
        PASSWORD | BACK_CHANNEL_LOGOUT | TOKEN => false,
        path if is_callback(context, path) => reads && !ends_an_attempt(visit),
        _ => true,
    };
    match told {
        true => Some(Box::pin(answer(context, visit)).await),
        false => None,
    }
}

/// Whether an answer of the provider is in the address: it redeems what it brings, and uses its attempt up.
fn ends_an_attempt(visit: &Visit<'_>) -> bool {
    let says = |name: &str| !matches!(visit.parameter(name), Ok(None));
    says("code") || says("id_token") || (says("error") && says("state"))
}

/// The sign-in address that leads back to where `visit` is.
fn sign_in_href(context: &Context, visit: &Visit<'_>, provider: Option<&str>) -> String {
    let return_to = if is_for_persons(context, visit.path) || !visit.visitor().is_person() {
        "/".to_owned()
    } else {
        visit.target()
    };
    login_href(&return_to, provider, None)
}

fn login_href(return_to: &str, provider: Option<&str>, asked: Option<&str>) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.append_pair("return_to", return_to);
    if let Some(provider) = provider {
        query.append_pair("provider", provider);
    }
    if let Some(asked) = asked {
        query.append_pair("asked", asked);
    }
    format!("{LOGIN}?{}", query.finish())
}

/// How a route wants its visitors to sign in.
#[derive(Clone, Copy, Debug)]
pub struct SignInWish<'a> {
    pub provider: Option<&'a str>,
    pub style: SignInStyle,
    /// What it asks of a sign-in, where it asks for anything.
    pub step_up: Option<&'a StepUp>,
}
