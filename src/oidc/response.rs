//! What the provider sends back through the browser: a code, an ID token or both, or an error (RFC 6749 §4.1.2, OpenID
//! Connect Core §3.2.2.5 and §3.3.2.5); in the address, or in a form (OAuth 2.0 Form Post Response Mode).
//!
//! It comes from whoever holds the browser, so nothing in it is believed: it is bounded, each parameter is taken only
//! once, and the provider's own words go only where admins read them, escaped and cut.

use std::borrow::Cow;
use std::fmt;

use super::signed::MAX_TOKEN;
use super::translation::{At, refused};
use crate::config::model::ResponseMode;
use crate::reason::{Failure, Reason};
use crate::words::in_words;

/// Bytes of the whole query.
const MAX_QUERY: usize = 16 * 1024;
/// Bytes of a whole form: an ID token, and what stands beside it.
pub const MAX_FORM: usize = 128 * 1024;
/// Parameters of any name; the longest known answer has seven.
const MAX_PARAMETERS: usize = 64;
const MAX_CODE: usize = 4096;
const MAX_STATE: usize = 256;
const MAX_ISSUER: usize = 2048;
const MAX_ERROR: usize = 256;
/// Characters of `error_description`; the rest of a longer one is not kept.
const MAX_DESCRIPTION: usize = 1024;

/// A well-formed authorization response. Whether it belongs to an attempt, and comes from the provider that was
/// asked, is not known yet.
#[derive(Clone, PartialEq, Eq)]
pub enum AuthorizationResponse {
    Granted(Granted),
    Error { error: String, description: Option<String>, state: String, iss: Option<String> },
}

/// A response that is no error. What of it was asked for is not known yet.
#[derive(Clone, PartialEq, Eq)]
pub struct Granted {
    pub code: Option<String>,
    pub id_token: Option<String>,
    pub state: String,
    pub iss: Option<String>,
    pub mode: ResponseMode,
}

impl Granted {
    pub(super) fn describe(&self) -> String {
        described(self.code.is_some(), self.id_token.is_some(), self.mode)
    }
}

/// `a code and an ID token in a form`.
pub(super) fn described(code: bool, id_token: bool, mode: ResponseMode) -> String {
    let parts = [(code, "a code"), (id_token, "an ID token")];
    let there: Vec<_> = parts.iter().filter(|(there, _)| *there).map(|(_, name)| *name).collect();
    let place = match mode {
        ResponseMode::Query => "in the address",
        ResponseMode::FormPost => "in a form",
    };
    format!("{} {place}", there.join(" and "))
}

impl AuthorizationResponse {
    /// Reads the raw query of the callback.
    ///
    /// Without a `state` it is [`Reason::CallbackNotFromSignIn`]; a parameter that is doubled, empty where it decides,
    /// missing, too long, or not visible ASCII where RFC 6749 appendix A says so, is [`Reason::CallbackParameter`]; an
    /// access token is [`Reason::ResponseMode`].
    pub fn parse(query: Option<&str>) -> Result<AuthorizationResponse, Failure> {
        let query = query.unwrap_or_default();
        if query.len() > MAX_QUERY {
            return Err(malformed("the query has more than 16 KiB"));
        }
        Self::read(query.as_bytes(), ResponseMode::Query)
    }

    /// Reads the urlencoded form that was posted to the callback; fails as [`AuthorizationResponse::parse`] does.
    pub fn parse_form(form: &[u8]) -> Result<AuthorizationResponse, Failure> {
        if form.len() > MAX_FORM {
            return Err(malformed(format!("the form has more than {} KiB", MAX_FORM / 1024)));
        }
        Self::read(form, ResponseMode::FormPost)
    }

    fn read(encoded: &[u8], mode: ResponseMode) -> Result<AuthorizationResponse, Failure> {
        let parameters = Parameters::read(encoded)?;
        let code = parameters.one("code", MAX_CODE)?;
        let id_token = parameters.one("id_token", MAX_TOKEN)?;
        if parameters.text("access_token").is_some() {
            let detail = "expected no access token, which is never asked for this way, and got one";
            return Err(Failure::new(Reason::ResponseMode, detail));
        }
        let error = parameters.one("error", MAX_ERROR)?;
        let iss = parameters.one("iss", MAX_ISSUER)?;
        let description = parameters.text("error_description");
        let description: Option<String> = description.map(|text| text.chars().take(MAX_DESCRIPTION).collect());
        let granted = code.is_some() || id_token.is_some();
        let state = parameters.text("state").filter(|state| !state.is_empty());
        let Some(_) = state else {
            let empty = parameters.text("state").is_some();
            return Err(without_state(error.as_deref(), description.as_deref(), granted, empty));
        };
        let state = parameters.one("state", MAX_STATE)?.unwrap_or_default();
        match (granted, error) {
            (true, None) => Ok(AuthorizationResponse::Granted(Granted { code, id_token, state, iss, mode })),
            (false, Some(error)) => Ok(AuthorizationResponse::Error { error, description, state, iss }),
            (true, Some(_)) => Err(malformed("it has `error`, and `code` or `id_token` as well")),
            (false, None) => Err(malformed("it has neither `code` nor `id_token` nor `error`")),
        }
    }

    /// The `state`, by which the attempt is found.
    pub fn state(&self) -> &str {
        match self {
            AuthorizationResponse::Granted(Granted { state, .. }) | AuthorizationResponse::Error { state, .. } => state,
        }
    }

    /// What is known of it, name and value, as it came; what else was sent beside it is left out.
    pub fn parameters(&self) -> Vec<(&'static str, &str)> {
        let mut all = vec![("state", self.state())];
        let more = match self {
            AuthorizationResponse::Granted(Granted { code, id_token, .. }) => {
                [("code", code.as_deref()), ("id_token", id_token.as_deref())]
            }
            AuthorizationResponse::Error { error, description, .. } => {
                [("error", Some(error.as_str())), ("error_description", description.as_deref())]
            }
        };
        let more = more.into_iter().chain([("iss", self.iss())]);
        all.extend(more.filter_map(|(name, value)| Some((name, value?))));
        all
    }

    /// The `iss` of RFC 9207, for [`Provider::check_response_issuer`](super::Provider::check_response_issuer).
    pub fn iss(&self) -> Option<&str> {
        match self {
            AuthorizationResponse::Granted(Granted { iss, .. }) | AuthorizationResponse::Error { iss, .. } => {
                iss.as_deref()
            }
        }
    }

    /// What an error response means for the gateway, with the provider's words in the detail; `None` for any other.
    pub fn failure(&self) -> Option<Failure> {
        match self {
            AuthorizationResponse::Granted(_) => None,
            AuthorizationResponse::Error { error, description, .. } => {
                Some(refused(At::Authorization, error, description.as_deref()))
            }
        }
    }
}

/// Without code and token, which are secrets.
impl fmt::Debug for Granted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.describe())
    }
}

impl fmt::Debug for AuthorizationResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AuthorizationResponse::Granted(granted) => f.debug_tuple("Granted").field(granted).finish(),
            AuthorizationResponse::Error { error, .. } => f.debug_struct("Error").field("error", error).finish(),
        }
    }
}

/// An answer that belongs to no sign-in. What the provider says in it still helps the admin: some leave `state` out of an
/// error.
fn without_state(error: Option<&str>, description: Option<&str>, granted: bool, empty: bool) -> Failure {
    let seen = if empty { "`state` is empty" } else { "there is no `state`" };
    match error {
        Some(error) => {
            let said = refused(At::Authorization, error, description);
            let detail = format!("{seen}; {}", said.detail);
            let remedy = said.exact_remedy().map(str::to_owned);
            Failure::new(Reason::CallbackNotFromSignIn, detail).remedied_by(remedy)
        }
        // The provider was asked by somebody else than the gateway: by its own portal, or a link for another product.
        None if granted => Failure::new(Reason::CallbackNotFromSignIn, format!("{seen}, and a code or an ID token")).remedied(
            "Start at the front page. An admin has the provider's portal open `/oidc/login` (Okta: Initiate login URI; Entra: \
             Home page URL), and takes links away that lead from the provider straight to `/oidc/callback`.",
        ),
        None => Failure::new(Reason::CallbackNotFromSignIn, seen),
    }
}

fn malformed(why: impl Into<String>) -> Failure {
    Failure::new(Reason::CallbackParameter, why)
}

/// The decoded parameters, none of them twice (RFC 6749 §3.1).
struct Parameters<'q>(Vec<(Cow<'q, str>, Cow<'q, str>)>);

impl<'q> Parameters<'q> {
    fn read(encoded: &'q [u8]) -> Result<Self, Failure> {
        let mut found: Vec<(Cow<'q, str>, Cow<'q, str>)> = Vec::new();
        for (name, value) in url::form_urlencoded::parse(encoded) {
            if found.len() == MAX_PARAMETERS {
                return Err(malformed("it has more than 64 parameters"));
            }
            if found.iter().any(|(other, _)| *other == name) {
                return Err(malformed(format!("{} comes twice", in_words(&name))));
            }
            found.push((name, value));
        }
        Ok(Parameters(found))
    }

    fn text(&self, name: &str) -> Option<String> {
        self.0.iter().find(|(other, _)| other == name).map(|(_, value)| value.clone().into_owned())
    }

    /// A parameter that decides: visible ASCII and spaces only, neither empty nor longer than `longest`.
    fn one(&self, name: &str, longest: usize) -> Result<Option<String>, Failure> {
        let Some(value) = self.text(name) else { return Ok(None) };
        match value.len() {
            0 => Err(malformed(format!("`{name}` is empty"))),
            length if length > longest => Err(malformed(format!("`{name}` has {length} bytes"))),
            _ if !value.bytes().all(|b| (0x20..=0x7e).contains(&b)) => {
                Err(malformed(format!("`{name}` holds what is not visible ASCII")))
            }
            _ => Ok(Some(value)),
        }
    }
}
