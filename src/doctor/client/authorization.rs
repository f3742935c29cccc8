//! What the answer to an authorization request says of the registration.

use http::StatusCode;
use http::header::{LOCATION, REFRESH};
use openidconnect::HttpResponse;
use url::{Position, Url};

use crate::doctor::text;
use crate::oidc::{At, AuthorizationResponse, known_words};
use crate::reason::{Failure, Reason};
use crate::sent::Sent;
use crate::words::{cut, in_words};

/// Errors that say: the client is known, and nobody is signed in (Core §3.1.2.6).
const NOBODY_SIGNED_IN: [&str; 4] =
    ["login_required", "interaction_required", "consent_required", "account_selection_required"];
/// Parameters of the request that are made up for it (Core §3.1.2.1, RFC 7636 §4.3).
const MADE_UP: [&str; 3] = ["state", "nonce", "code_challenge"];
/// Most characters of a provider's page in a report.
const LONGEST: usize = 300;

/// What an answer says.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Seen {
    /// Client id and redirect URI are known there; how that shows.
    Accepted(String),
    /// What was refused; with the exact remedy where one is known.
    Refused(Failure),
    /// Nothing can be said.
    Unclear(String),
}

/// Reads the answer to the authorization request `asked`, whose redirect URI is `ours`. What was made up for that request is
/// not among what is told.
pub(super) fn read(answer: &HttpResponse, asked: &Url, ours: &Url) -> Seen {
    let made_up = asked.query_pairs().filter(|(name, _)| MADE_UP.contains(&name.as_ref()));
    let made_up: Vec<_> = made_up.map(|(_, value)| value.into_owned()).collect();
    let sent = Sent::new(made_up.iter().map(String::as_str));
    match seen(answer, asked, ours) {
        Seen::Accepted(how) => Seen::Accepted(sent.without(&how)),
        Seen::Refused(failure) => Seen::Refused(sent.cleaned(failure)),
        unclear => unclear,
    }
}

fn seen(answer: &HttpResponse, asked: &Url, ours: &Url) -> Seen {
    let status = answer.status();
    let header = |name| answer.headers().get(name).and_then(|value: &http::HeaderValue| value.to_str().ok());
    let refresh = header(REFRESH).and_then(|text| text.split_once("url=")).map(|(_, to)| to);
    let target = header(LOCATION).filter(|_| status.is_redirection()).or(refresh);
    if let Some(target) = target {
        return match asked.join(target) {
            Ok(to) if is_ours(&to, ours) => back(to.query().or(to.fragment()).unwrap_or_default()),
            Ok(to) => elsewhere(&to),
            Err(_) => Seen::Unclear("it answers with a redirect to what is no address".to_owned()),
        };
    }
    let body = answer.body();
    let posted = text::form(body).and_then(|(action, fields)| Some((asked.join(&action).ok()?, fields)));
    if let Some((_, fields)) = posted.filter(|(to, _)| is_ours(to, ours)) {
        let form = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        return back(&form);
    }
    let said = match (script_error(body), text::is_html(body)) {
        (Some(error), _) => error,
        (None, true) => text::words(body),
        (None, false) => String::from_utf8_lossy(body).split_whitespace().collect::<Vec<_>>().join(" "),
    };
    match status {
        StatusCode::OK if !is_error_page(body, &said) => {
            let title = text::title(body).map_or_else(String::new, |title| format!(" ({})", in_words(&title)));
            Seen::Accepted(format!("it shows a page{title}, as far as can be seen its sign-in page"))
        }
        status if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
            let detail = format!("the authorization endpoint answers with HTTP status {}", status.as_u16());
            Seen::Refused(Failure::new(Reason::ProviderUnreachable, detail))
        }
        status => refused(&format!("a page with HTTP status {}", status.as_u16()), &without_echo(&said, asked)),
    }
}

/// What a page says without the `state` of our request and the `iss` beside it, which some list below their error.
fn without_echo(said: &str, asked: &Url) -> String {
    let state = asked.query_pairs().find(|(name, _)| name == "state").map(|(_, value)| value);
    let mut words = said.split_whitespace();
    let mut kept = Vec::new();
    while let Some(word) = words.next() {
        let name = word.trim_end_matches(':');
        let mut rest = words.clone();
        let mut value = rest.next();
        if name == word {
            // The colon is a word of its own.
            value = value.filter(|colon| *colon == ":").and_then(|_| rest.next());
        }
        let echoed = value.is_some_and(|value| match name {
            "state" => state.as_deref() == Some(value),
            "iss" => value.starts_with("http"),
            _ => false,
        });
        match echoed {
            true => words = rest,
            false => kept.push(word),
        }
    }
    kept.join(" ")
}

/// Whether an address is the redirect URI, whatever was put behind it.
fn is_ours(to: &Url, ours: &Url) -> bool {
    to[..Position::AfterPath] == ours[..Position::AfterPath]
}

/// The browser was sent back to us.
fn back(parameters: &str) -> Seen {
    let pairs: Vec<_> = url::form_urlencoded::parse(parameters.as_bytes()).into_owned().collect();
    let value = |name: &str| pairs.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    let Some(error) = value("error") else {
        return match value("code").or(value("id_token")).or(value("response")) {
            Some(_) => Seen::Accepted("it answers at once, without a sign-in".to_owned()),
            None => Seen::Unclear("it answers with neither a code nor an error".to_owned()),
        };
    };
    let description = value("error_description").map(str::to_owned);
    if NOBODY_SIGNED_IN.contains(&error) {
        return Seen::Accepted(format!("it answers `{error}`, since nobody is signed in there"));
    }
    let response =
        AuthorizationResponse::Error { error: error.to_owned(), description, state: String::new(), iss: None };
    match response.failure() {
        // About the person, who is nobody here.
        Some(failure) if failure.reason == Reason::ProviderSaidNo => {
            Seen::Accepted(format!("it sends the browser back; {}", failure.detail))
        }
        Some(failure) => Seen::Refused(failure),
        None => Seen::Unclear("it answers with an error that cannot be read".to_owned()),
    }
}

/// The browser was sent somewhere else: most often to the sign-in page, sometimes to an error page.
fn elsewhere(to: &Url) -> Seen {
    let host = to.host_str().unwrap_or_default();
    let parameter = |wanted: &[&str]| {
        to.query_pairs().find(|(name, _)| wanted.contains(&name.as_ref())).map(|(_, value)| value.into_owned())
    };
    let error = parameter(&["error", "authError", "error_code", "err"]);
    let page_of_errors =
        to.path_segments().into_iter().flatten().any(|part| part.to_ascii_lowercase().starts_with("error"));
    if error.is_none() && !page_of_errors {
        return Seen::Accepted(format!("it leads to a page at {host}, as far as can be seen its sign-in page"));
    }
    let described = parameter(&["error_description", "error_message", "message", "tracking"]);
    let words = [error.map(|error| unpacked(&error)), described].into_iter().flatten().collect::<Vec<_>>().join(" ");
    let words = if words.is_empty() { to.path().to_owned() } else { words };
    refused(&format!("a page of errors at {host}"), &words)
}

/// Google wraps its error into base64 and protobuf: what can be read of it.
fn unpacked(text: &str) -> String {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let decoded = URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).unwrap_or_default();
    let readable: String =
        decoded.iter().map(|b| if (0x20..0x7f).contains(b) { char::from(*b) } else { ' ' }).collect();
    match readable.contains("_") {
        true => readable.split_whitespace().collect::<Vec<_>>().join(" "),
        false => text.to_owned(),
    }
}

/// A page with status 200 that is an error all the same: Entra's, and those that say so in their title.
fn is_error_page(body: &[u8], said: &str) -> bool {
    let numbered = |text: &str| {
        text.match_indices("AADSTS").any(|(at, _)| text[at + 6..].starts_with(|c: char| c.is_ascii_digit()))
    };
    let title = text::title(body).unwrap_or_default().to_ascii_lowercase();
    // Not the scripts of a sign-in page, which know every error.
    numbered(said) || ["error", "invalid", "denied"].iter().any(|word| title.contains(word))
}

/// The error in the settings of Entra's error page, which is a script.
fn script_error(body: &[u8]) -> Option<String> {
    let page = String::from_utf8_lossy(body);
    let (_, rest) = page.split_once("\"strServiceExceptionMessage\":\"")?;
    let text = rest.split('"').next()?;
    text.starts_with("AADSTS").then(|| text.to_owned())
}

/// A page of the provider instead of a way back.
fn refused(what: &str, said: &str) -> Seen {
    let lower = said.to_ascii_lowercase();
    // Google and Cognito write the error's code among the words.
    let codes = lower.split(|c: char| !(c.is_ascii_lowercase() || c == '_')).filter(|word| word.contains('_'));
    let known =
        codes.filter(|code| *code != "redirect_uri").find_map(|code| known_words(At::Authorization, code, Some(said)));
    let known = known.or_else(|| known_words(At::Authorization, "", Some(said)));
    let any = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    let reason = if let Some((reason, _)) = known {
        reason
    } else if any(&[
        "redirect_uri",
        "redirect uri",
        "redirection uri",
        "redirect_mismatch",
        "callback url",
        "aadsts50011",
    ]) {
        Reason::RedirectUriRefused
    } else if any(&["scope", "response_type", "response type", "aadsts70011", "aadsts65", "aadsts700054"]) {
        Reason::ProviderMisconfigured
    } else if any(&["client", "application", "app.notfound", "aadsts700016", "aadsts90002"]) {
        Reason::ClientUnknown
    } else {
        Reason::AuthorizationRefused
    };
    let words = match said.is_empty() {
        true => String::new(),
        false => format!(": {}", in_words(&cut(said, LONGEST))),
    };
    let detail = format!("the authorization endpoint answers with {what} instead of sending the browser back{words}");
    Seen::Refused(Failure::new(reason, detail).remedied_by(known.map(|(_, remedy)| remedy)))
}

#[cfg(test)]
mod tests;
