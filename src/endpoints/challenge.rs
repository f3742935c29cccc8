//! What a refusal tells a program: `WWW-Authenticate` (RFC 6750 §3, RFC 9728 §5.1) and the sentence in the body.
//!
//! The details of failures in room 8 are made for whoever sent the credential; those of all other rooms are for the
//! admin's log and never leave the gateway.

use http::{HeaderValue, StatusCode};

use super::published::metadata_address;
use crate::config::model::{self, BasicWith, Settings};
use crate::reason::{Failure, Reason};

/// Most characters of `error_description`.
const MAX_DESCRIPTION: usize = 300;

/// What the refusals of one route for programs carry. Made when the configuration is loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    /// `Bearer realm="…"`.
    start: String,
    /// `, scope="…"`, or nothing.
    scope: String,
    /// `, resource_metadata="…"`, or nothing.
    metadata: String,
    /// For clients that can send a name and a password (RFC 7617 §2).
    basic: Option<HeaderValue>,
}

impl Challenge {
    /// `scopes` are those that the route asks for; `metadata` is the address of the route's RFC 9728 document.
    pub fn new(realm: &str, scopes: &[String], metadata: Option<&str>) -> Self {
        Challenge {
            start: format!("Bearer realm=\"{}\"", plain(realm)),
            scope: match scopes {
                [] => String::new(),
                scopes => format!(", scope=\"{}\"", plain(&scopes.join(" "))),
            },
            basic: None,
            metadata: metadata.map(|url| format!(", resource_metadata=\"{}\"", plain(url))).unwrap_or_default(),
        }
    }

    /// The challenge of a route for programs.
    pub fn of(route: &model::Route, settings: &Settings) -> Self {
        let metadata = metadata_address(&settings.public_url, route);
        let challenge = Challenge::new(&settings.bearer.realm, &route.scopes, metadata.as_deref());
        let basic = || format!("Basic realm=\"{}\", charset=\"UTF-8\"", plain(&settings.bearer.realm));
        let basic = (route.basic == BasicWith::Directory).then(basic);
        Challenge { basic: basic.and_then(|text| HeaderValue::try_from(text).ok()), ..challenge }
    }

    /// That a name and a password are taken, where they are. Browsers are not told: they would ask the person with a
    /// window of their own, in the middle of somebody's page.
    pub fn basic(&self) -> Option<&HeaderValue> {
        self.basic.as_ref()
    }

    /// The header for `failure`. Nobody's fault has no error code: who sent no credential is only told what to send
    /// (RFC 6750 §3.1).
    pub fn header(&self, failure: &Failure) -> HeaderValue {
        let error = match failure.reason {
            Reason::TokenMissing | Reason::SignInNeeded => String::new(),
            reason => {
                let code = match reason.status() {
                    403 => "insufficient_scope",
                    400 => "invalid_request",
                    _ => "invalid_token",
                };
                format!(", error=\"{code}\", error_description=\"{}\"", plain(short(failure)))
            }
        };
        let whole = format!("{}{error}{}{}", self.start, self.scope, self.metadata);
        // Every part was made plain.
        HeaderValue::try_from(whole).unwrap_or_else(|_| HeaderValue::from_static("Bearer"))
    }
}

/// Whether an answer with `status` names how to authenticate: 401 must (RFC 9110 §11.6.1), and a good token without the
/// right is told what it lacks (RFC 6750 §3.1).
pub fn challenges(status: StatusCode) -> bool {
    matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
}

/// What there is to say to a program, whole: what was expected and got where that may be told, and what to do.
pub fn sentence(failure: &Failure) -> String {
    let info = failure.reason.info();
    match told(failure) {
        Some(detail) => {
            let mut characters = detail.chars();
            let first = characters.next().map(|c| c.to_uppercase().to_string()).unwrap_or_default();
            format!("{first}{}. {}", characters.as_str(), failure.remedy())
        }
        None => format!("{}. {} {}", info.title, info.cause, failure.remedy()),
    }
}

/// The same in a few words.
fn short(failure: &Failure) -> &str {
    told(failure).unwrap_or(failure.reason.info().title)
}

/// The detail, where it is made for the client.
fn told(failure: &Failure) -> Option<&str> {
    Some(failure.detail.as_str()).filter(|detail| !detail.is_empty() && failure.reason.is_about_credentials())
}

/// Text as RFC 6750 §3 allows it in `error_description`, which is RFC 6749's: ASCII without quotes and backslashes.
pub fn plain(text: &str) -> String {
    let fits = |c: char| matches!(c, ' '..='~') && !matches!(c, '"' | '\\');
    let shown = |c: char| match c {
        '"' | '`' => '\'',
        '–' | '—' => '-',
        c if fits(c) => c,
        _ => '?',
    };
    text.chars().take(MAX_DESCRIPTION).map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(failure: Failure) -> String {
        let challenge = Challenge::new(
            "api",
            &["a".into(), "b".into()],
            Some("https://x.example/.well-known/oauth-protected-resource"),
        );
        challenge.header(&failure).to_str().expect("ASCII").to_owned()
    }

    #[test]
    fn who_sent_nothing_is_told_what_to_send_and_not_that_it_was_wrong() {
        assert_eq!(
            header(Reason::TokenMissing.into()),
            "Bearer realm=\"api\", scope=\"a b\", \
             resource_metadata=\"https://x.example/.well-known/oauth-protected-resource\""
        );
    }

    #[test]
    fn expected_and_got_stand_in_the_header_and_cannot_break_out_of_it() {
        let failure = Failure::new(Reason::TokenAudience, "audience is 'a\", realm=\"é\r\n'; this route takes 'b\\'");
        let header = header(failure);
        assert!(
            header.contains(
                "error=\"invalid_token\", error_description=\"audience is 'a', realm='???'; this route takes 'b?'\""
            ),
            "{header}"
        );
    }

    #[test]
    fn a_good_token_without_the_right_is_insufficient_and_the_admin_s_details_stay_inside() {
        assert!(header(Reason::TokenScope.into()).contains("error=\"insufficient_scope\""));
        let inside = Failure::new(Reason::RuleNotMet, "a secret of the configuration");
        assert!(!header(inside.clone()).contains("secret"));
        assert!(!sentence(&inside).contains("secret"));
    }

    #[test]
    fn the_sentence_says_what_was_seen_and_what_to_do() {
        let failure = Failure::new(Reason::TokenExpired, "expired 312 s ago");
        let text = sentence(&failure);
        assert!(text.starts_with("Expired 312 s ago. Get a new token"), "{text}");
    }
}
