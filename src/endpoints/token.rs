//! `POST /oidc/token`: a JWT of a configured issuer for a token of the gateway's own (RFC 7523 §2.1).
//!
//! Whoever reads the errors sits at a terminal: they say what was expected and what came, in the form of RFC 6749 §5.2.

use std::collections::HashSet;

use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::json;

use super::challenge::{self, plain};
use super::{Answer, Context, Outcome, Visit};
use crate::federation::{Exchanged, Refused};
use crate::reason::{Failure, Reason};
use crate::telemetry::{Audit, Decision, audit, metrics};

/// Most bytes of a request's body that are read.
pub const MAX_BODY: usize = 64 * 1024;

const TOO_LONG: &str = "the body is longer than 64 KiB";

pub const GRANT: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

/// Answers a token request.
pub async fn token(context: &Context, visit: &Visit<'_>) -> Answer {
    let outcome = match (&context.federation, read(visit.headers, visit.body)) {
        (Some(federation), Ok(assertion)) => federation.exchange(&assertion, visit.seconds()).await,
        (_, Err(failure)) => Err(failure.into()),
        // Without a federation the address is the app's.
        (None, _) => Err(Failure::from(Reason::GrantUnsupported).into()),
    };
    match outcome {
        Ok(exchanged) => granted(visit, exchanged),
        Err(refused) => denied(visit, refused),
    }
}

/// The answer to a token request whose body did not come whole.
pub fn unread(visit: &Visit<'_>, failure: Failure) -> Answer {
    let failure = match failure.reason {
        Reason::BodyNotExpected => Failure::new(Reason::GrantMalformed, TOO_LONG),
        _ => failure,
    };
    denied(visit, failure.into())
}

/// The assertion in a token request (RFC 6749 §4.5, RFC 7521 §4.1), without white space around it: tokens are kept in
/// files, and files end with a line end.
fn read(headers: &HeaderMap, body: &[u8]) -> Result<String, Failure> {
    let malformed = |detail: &str| Failure::new(Reason::GrantMalformed, detail);
    if !is_form(headers) {
        return Err(malformed("Content-Type is not 'application/x-www-form-urlencoded'"));
    }
    if body.len() > MAX_BODY {
        return Err(malformed(TOO_LONG));
    }
    if std::str::from_utf8(body).is_err() {
        return Err(malformed("the body is no text"));
    }
    let (mut grant, mut assertion) = (None, None);
    let mut names = HashSet::new();
    for (name, value) in url::form_urlencoded::parse(body) {
        match &*name {
            "grant_type" => grant = Some(value),
            "assertion" => assertion = Some(value),
            _ => {}
        }
        // RFC 6749 §3.2: none may come twice, known or not.
        if let Some(twice) = names.replace(name) {
            let shown: String = twice.chars().take(40).collect();
            return Err(malformed(&format!("'{shown}' is there twice")));
        }
    }
    match grant.as_deref().filter(|grant| !grant.is_empty()) {
        Some(GRANT) => {}
        None => return Err(malformed(&format!("'grant_type' is missing; it has to be '{GRANT}'"))),
        Some(other) => {
            let shown: String = other.chars().take(80).collect();
            let detail = format!("grant_type is '{shown}'; '{GRANT}' is taken here");
            return Err(Failure::new(Reason::GrantUnsupported, detail));
        }
    }
    match assertion.as_deref().map(str::trim).filter(|assertion| !assertion.is_empty()) {
        Some(assertion) => Ok(assertion.to_owned()),
        None => Err(malformed("'assertion' is missing or empty; it has to be a JWT")),
    }
}

/// Whether the body is said to be a form.
pub(super) fn is_form(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(header::CONTENT_TYPE).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return false };
    let media_type = value.as_bytes().split(|&b| b == b';').next().unwrap_or_default();
    media_type.trim_ascii().eq_ignore_ascii_case(b"application/x-www-form-urlencoded")
}

/// RFC 6749 §5.1.
fn granted(visit: &Visit<'_>, exchanged: Exchanged) -> Answer {
    let allowed = Audit {
        provider: Some(&exchanged.asker.issuer),
        subject: Some(&exchanged.asker.subject),
        user: Some(&exchanged.user),
        peer: visit.client,
        ..Audit::new(visit.reference, "token_exchange", Decision::Allow)
    };
    audit::record(&allowed, visit.now);
    metrics().token_exchanges.with_label_values(&["ok"]).inc();
    let body = json!({
        "access_token": exchanged.access_token, "token_type": "Bearer", "expires_in": exchanged.expires_in,
    });
    let mut answer = answer(StatusCode::OK, &body);
    answer.user = Some(exchanged.user);
    answer
}

/// RFC 6749 §5.2.
fn denied(visit: &Visit<'_>, refused: Refused) -> Answer {
    let failure = refused.failure;
    let denied = Audit {
        reason: Some(failure.reason),
        detail: &failure.detail,
        provider: refused.asker.as_ref().map(|asker| asker.issuer.as_str()),
        subject: refused.asker.as_ref().map(|asker| asker.subject.as_str()),
        peer: visit.client,
        ..Audit::new(visit.reference, "token_exchange", Decision::Deny)
    };
    audit::record(&denied, visit.now);
    metrics().token_exchanges.with_label_values(&[failure.reason.code()]).inc();
    let (status, error) = kind(failure.reason);
    let text = description(&failure);
    let body = json!({
        "error": error, "error_description": text, "errors": [{ "message": text }],
        "reason": failure.reason.code(), "remedy": failure.remedy(), "reference": visit.reference.as_str(),
    });
    let mut answer = answer(status, &body);
    if status == StatusCode::SERVICE_UNAVAILABLE {
        answer.headers.push((header::RETRY_AFTER, HeaderValue::from_static("5")));
    }
    answer.outcome = Outcome::Refused(failure);
    answer
}

/// Whatever is wrong with the assertion is an invalid grant, and 400 where a bearer token would be answered 401: 401 is
/// for clients that did not authenticate. Where nothing can be said about it, asking again helps, and the status says so.
fn kind(reason: Reason) -> (StatusCode, &'static str) {
    match (reason, reason.status()) {
        (Reason::GrantUnsupported, _) => (StatusCode::BAD_REQUEST, "unsupported_grant_type"),
        (Reason::RequestTimedOut, _) => (StatusCode::REQUEST_TIMEOUT, "invalid_request"),
        (Reason::GrantMalformed, _) => (StatusCode::BAD_REQUEST, "invalid_request"),
        (_, 503) => (StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable"),
        (_, 500..) => (StatusCode::INTERNAL_SERVER_ERROR, "server_error"),
        _ => (StatusCode::BAD_REQUEST, "invalid_grant"),
    }
}

/// What a person at a terminal reads.
fn description(failure: &Failure) -> String {
    if failure.reason == Reason::TokenExpired {
        return plain(&format!("assertion {}; refresh the file in WANDB_IDENTITY_TOKEN_FILE", failure.detail));
    }
    plain(&challenge::sentence(failure))
}

fn answer(status: StatusCode, body: &serde_json::Value) -> Answer {
    let mut answer = Answer::json(status, body);
    answer.headers.push((header::PRAGMA, HeaderValue::from_static("no-cache")));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORM: &str = "application/x-www-form-urlencoded";

    fn parse(content_type: &str, body: &[u8]) -> Result<String, Failure> {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, content_type.parse().expect("content type"));
        read(&headers, body)
    }

    fn request(rest: &str) -> String {
        format!("grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&{rest}")
    }

    #[test]
    fn an_assertion_is_read_without_the_line_end_of_its_file() {
        for body in [
            request("assertion=a.b.c"),
            request("assertion=a.b.c%0A"),
            request("assertion=+a.b.c%0D%0A&scope=x&client_id=y"),
            request("assertion=a.b.c\n"),
            format!("assertion=a.b.c&grant_type={GRANT}"),
        ] {
            for content_type in [FORM, "Application/X-WWW-Form-Urlencoded ; charset=UTF-8"] {
                assert_eq!(parse(content_type, body.as_bytes()).as_deref(), Ok("a.b.c"), "{body}");
            }
        }
    }

    #[test]
    fn hostile_requests_are_refused_by_name() {
        use Reason::{GrantMalformed, GrantUnsupported};
        let big = request(&format!("assertion={}", "a".repeat(1024 * 1024)));
        let crowd: String = (0..12_000).map(|n| format!("p{n}&")).collect();
        for (content_type, body, expected) in [
            (FORM, "".to_owned(), GrantMalformed),
            (FORM, "grant_type=&assertion=a".into(), GrantMalformed),
            (FORM, "assertion=a".into(), GrantMalformed),
            (FORM, request(""), GrantMalformed),
            (FORM, request("assertion="), GrantMalformed),
            (FORM, request("assertion=%20%0A"), GrantMalformed),
            (FORM, request("assertion=a&assertion=a"), GrantMalformed),
            (FORM, request("assertion=a&grant_type=x"), GrantMalformed),
            (FORM, request("assertion=a&scope=x&scope=x"), GrantMalformed),
            (FORM, request("assertion=a&%73cope=x&scope=y"), GrantMalformed),
            (FORM, big, GrantMalformed),
            (FORM, format!("{}{}", crowd, crowd), GrantMalformed),
            (FORM, "{\"grant_type\":\"x\",\"assertion\":\"y\"}".into(), GrantMalformed),
            ("application/json", request("assertion=a"), GrantMalformed),
            ("multipart/form-data; boundary=x", request("assertion=a"), GrantMalformed),
            ("application/x-www-form-urlencodedx", request("assertion=a"), GrantMalformed),
            (FORM, "grant_type=authorization_code&code=x".into(), GrantUnsupported),
            (FORM, format!("grant_type={GRANT}%00&assertion=a"), GrantUnsupported),
            (FORM, format!("grant_type={GRANT}%0A&assertion=a"), GrantUnsupported),
        ] {
            let got = parse(content_type, body.as_bytes()).map_err(|failure| failure.reason);
            assert_eq!(got, Err(expected), "{content_type} {:?}", &body[..body.len().min(80)]);
        }
        assert_eq!(parse(FORM, b"grant_type=\xff\xfe&assertion=a").map_err(|f| f.reason), Err(GrantMalformed));
        let mut twice = HeaderMap::new();
        twice.append(header::CONTENT_TYPE, HeaderValue::from_static(FORM));
        twice.append(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        assert!(read(&twice, request("assertion=a").as_bytes()).is_err());
        assert!(read(&HeaderMap::new(), request("assertion=a").as_bytes()).is_err());
    }

    #[test]
    fn descriptions_hold_what_rfc_6749_allows_and_nothing_that_was_sent_whole() {
        let grant = format!("grant_type={}&assertion=a", "%22%5C%00%C3%A9%0D%0A\"'<".repeat(2000));
        for body in [grant, request(&format!("{}=1&{}=2", "%22%5C%00%0A", "%22%5C%00%0A"))] {
            let failure = parse(FORM, body.as_bytes()).expect_err("refused");
            let text = description(&failure);
            let fits = |b: u8| matches!(b, 0x20..=0x21 | 0x23..=0x5b | 0x5d..=0x7e);
            assert!(text.len() <= 300 && text.bytes().all(fits), "{text}");
        }
    }

    #[test]
    fn errors_say_whose_turn_it_is() {
        for (reason, expected) in [
            (Reason::GrantUnsupported, (400, "unsupported_grant_type")),
            (Reason::GrantMalformed, (400, "invalid_request")),
            (Reason::TokenExpired, (400, "invalid_grant")),
            (Reason::TokenScope, (400, "invalid_grant")),
            (Reason::AssertionNotAllowed, (400, "invalid_grant")),
            (Reason::KeysNotReady, (503, "temporarily_unavailable")),
            (Reason::KeysTooOld, (503, "temporarily_unavailable")),
            (Reason::Internal, (500, "server_error")),
        ] {
            let (status, error) = kind(reason);
            assert_eq!((status.as_u16(), error), expected, "{reason}");
        }
        let expired = Failure::new(Reason::TokenExpired, "expired 312 s ago");
        assert_eq!(description(&expired), "assertion expired 312 s ago; refresh the file in WANDB_IDENTITY_TOKEN_FILE");
    }
}
