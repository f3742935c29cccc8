//! What the provider sends back through the browser: a code, an ID token or both, or an error (RFC 6749 §4.1.2, OpenID
//! Connect Core §3.2.2.5 and §3.3.2.5); in the address, or in a form (OAuth 2.0 Form Post Response Mode).
//!
//! It comes from whoever holds the browser, so nothing in it is believed: it is bounded, each parameter is taken only
//! once, and the provider's own words go only where admins read them, escaped and cut.

use std::borrow::Cow;
use std::fmt;

use super::signed::MAX_TOKEN;
use super::translation::advice;
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
        let Some(state) = parameters.one("state", MAX_STATE)? else {
            // Some providers leave `state` out of an error; its words still help the admin.
            let said = error.map(|error| format!("the provider said {}", in_words(&error)));
            return Err(Failure::new(Reason::CallbackNotFromSignIn, said.unwrap_or_default()));
        };
        match (code.is_some() || id_token.is_some(), error) {
            (true, None) => Ok(AuthorizationResponse::Granted(Granted { code, id_token, state, iss, mode })),
            (false, Some(error)) => {
                let description = parameters.text("error_description");
                let description = description.map(|text| text.chars().take(MAX_DESCRIPTION).collect());
                Ok(AuthorizationResponse::Error { error, description, state, iss })
            }
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
                Some(Failure::new(reason_of(error), words(error, description.as_deref())))
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

/// The reason for an error code of the authorization endpoint (RFC 6749 §4.1.2.1, OpenID Connect Core §3.1.2.6).
fn reason_of(error: &str) -> Reason {
    match error {
        "server_error" | "temporarily_unavailable" => Reason::ProviderUnreachable,
        "unauthorized_client"
        | "invalid_client"
        | "invalid_request"
        | "invalid_scope"
        | "invalid_target"
        | "unsupported_response_type"
        | "unsupported_response_mode"
        | "invalid_request_uri"
        | "invalid_request_object"
        | "request_not_supported"
        | "request_uri_not_supported"
        | "registration_not_supported" => Reason::ProviderMisconfigured,
        // `access_denied`, `login_required`, `consent_required`, `interaction_required`,
        // `account_selection_required`, and what a provider made up, which is most often about the person.
        _ => Reason::ProviderSaidNo,
    }
}

/// The provider's error and description for a detail, and what to change where that is known.
pub(super) fn words(error: &str, description: Option<&str>) -> String {
    let description = description.filter(|text| !text.is_empty());
    let advice = advice(error, description).map(|advice| format!("; {advice}"));
    let description = description.map(|text| format!(": {}", in_words(text)));
    format!("the provider said {}{}{}", in_words(error), description.unwrap_or_default(), advice.unwrap_or_default())
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
