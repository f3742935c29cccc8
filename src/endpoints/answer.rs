//! What the gateway answers by itself: pages, redirects, JSON; and how a refusal becomes one of them.
//!
//! The reason decides status, page and body here and nowhere else.

use std::num::NonZeroU32;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use serde_json::json;

use super::challenge::{self, Challenge};
use super::{Context, LOGOUT, Visit, sign_in_href};
use crate::attempts::Refused;
use crate::config::model::own_issuer;
use crate::identity::Identity;
use crate::pages::{FailurePage, Page};
use crate::reason::{Failure, Reader, Reason};

const JSON_POLICY: &str = "default-src 'none'; base-uri 'none'; frame-ancestors 'none'";

/// A whole answer.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: Vec<(HeaderName, HeaderValue)>,
    pub body: Bytes,
    pub outcome: Outcome,
    /// Who it is about, for the log.
    pub user: Option<String>,
}

/// What an answer counts as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A page or redirect of the gateway's own.
    Own,
    /// A refusal or failure.
    Refused(Failure),
}

/// A refusal on its way to become an answer.
#[derive(Debug)]
pub struct Refusal {
    pub failure: Failure,
    /// Cookies to set or end all the same.
    pub cookies: Vec<HeaderValue>,
    /// What was seen, a sentence each, for whoever reads the page.
    pub seen: Box<[String]>,
    /// Whether signing in helps.
    pub offer_sign_in: bool,
    /// Who is signed in, where somebody is.
    pub who: Option<Box<Known>>,
    /// How a program may authenticate here.
    pub challenge: Option<Arc<Challenge>>,
    /// What `WWW-Authenticate` says to a session that is not enough.
    pub authenticate: Option<Arc<HeaderValue>>,
    /// Seconds after which asking again helps.
    pub retry_after: Option<NonZeroU32>,
}

/// Somebody who is refused.
#[derive(Debug)]
pub struct Known {
    /// As every line of the logs names them.
    user: String,
    /// As a page names them: by what they know themselves by.
    shown: String,
}

impl Known {
    pub fn of(identity: &Identity) -> Box<Known> {
        let user = identity.user.clone();
        let shown = identity.email.clone().unwrap_or_else(|| user.clone());
        Box::new(Known { user, shown })
    }
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        let offer_sign_in = matches!(failure.reason.code().as_bytes()[3], b'3' | b'4');
        Refusal {
            failure,
            cookies: Vec::new(),
            seen: Box::default(),
            offer_sign_in,
            who: None,
            challenge: None,
            authenticate: None,
            retry_after: None,
        }
    }
}

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Self {
        Refusal { retry_after: refused.retry_after, ..refused.failure.into() }
    }
}

impl Refusal {
    pub fn with_cookies(mut self, cookies: impl IntoIterator<Item = HeaderValue>) -> Self {
        self.cookies.extend(cookies);
        self
    }
}

/// Whether nobody can sign in while this is so: what has to be mended is at the provider or in `[[provider]]`.
fn locks_out(reason: Reason) -> bool {
    let (info, code) = (reason.info(), reason.code());
    info.reader == Reader::Admin
        && info.status >= 500
        && ["DW-31", "DW-32", "DW-33", "DW-6"].iter().any(|room| code.starts_with(room))
}

impl Answer {
    /// A page of the gateway's own.
    pub fn page(context: &Context, status: StatusCode, page: Page) -> Self {
        let mut headers = context.pages.security_headers().to_vec();
        headers.push((header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")));
        Answer { status, headers, body: page.html.into(), outcome: Outcome::Own, user: None }
    }

    /// A redirect by GET (RFC 9110 §15.4.4). `location` is an address that was judged or made by the gateway.
    pub fn redirect(context: &Context, location: &str) -> Result<Self, Failure> {
        let location = HeaderValue::from_str(location)
            .map_err(|_| Failure::new(Reason::Internal, "an address that is no header value"))?;
        let mut headers = context.pages.security_headers().to_vec();
        headers.push((header::LOCATION, location));
        Ok(Answer { status: StatusCode::SEE_OTHER, headers, body: Bytes::new(), outcome: Outcome::Own, user: None })
    }

    /// On to `location`, an address that was judged or made by the gateway, from whichever method. What a form is answered
    /// with is no redirect: see [`Pages::onward`](crate::pages::Pages::onward).
    /// `by_hand`: the page waits for the person to take the step.
    pub fn onward(context: &Context, visit: &Visit<'_>, location: &str, by_hand: bool) -> Result<Self, Failure> {
        match *visit.method {
            Method::POST => Ok(Answer::page(context, StatusCode::OK, context.pages.onward(location, !by_hand))),
            _ => Answer::redirect(context, location),
        }
    }

    pub fn with_cookies(mut self, cookies: impl IntoIterator<Item = HeaderValue>) -> Self {
        self.headers.extend(cookies.into_iter().map(|cookie| (header::SET_COOKIE, cookie)));
        self
    }

    /// The answer to a refusal: a page for a person, JSON for a program.
    pub fn refusal(context: &Context, visit: &Visit<'_>, refusal: Refusal) -> Self {
        let reason = refusal.failure.reason;
        let status = StatusCode::from_u16(reason.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let sign_in = (refusal.offer_sign_in && context.offers_sign_in()).then(|| {
            let href = sign_in_href(context, visit, None);
            // Here it would only lead to the same page.
            match reason {
                Reason::AttemptElsewhere => format!("{}{href}", own_issuer(context.public_url())),
                _ => href,
            }
        });
        // Whoever sends a credential to a route that takes them is a program, whatever it accepts, and looks for the reason
        // in JSON.
        let about = refusal.failure.reason.is_about_credentials() || refusal.challenge.is_some();
        let program = about && visit.headers.contains_key(header::AUTHORIZATION);
        let mut answer = if !program && visit.visitor().is_person() {
            let step = refusal.failure.step().filter(|_| refusal.seen.is_empty());
            let step = step.map(|step| format!("The step that failed: {step}."));
            let page = context.pages.failure(&FailurePage {
                reason,
                remedy: refusal.failure.remedy(),
                reference: visit.reference.as_str(),
                time: visit.now,
                sign_in_href: sign_in.as_deref(),
                sign_out_href: refusal.who.is_some().then_some(LOGOUT),
                signed_in_as: refusal.who.as_ref().map(|who| who.shown.as_str()),
                seen: step.as_ref().map_or(&refusal.seen, std::slice::from_ref),
                locks_out: context.way_in.is_none() && locks_out(reason),
            });
            Answer::page(context, status, page)
        } else {
            Answer::refusal_in_json(context, status, &refusal.failure, visit.reference.as_str(), sign_in.as_deref())
        };
        if let Some(challenge) = refusal.challenge.as_ref().filter(|_| challenge::challenges(status)) {
            answer.headers.push((header::WWW_AUTHENTICATE, challenge.header(&refusal.failure)));
            let browser = visit.headers.contains_key("sec-fetch-mode");
            if let Some(basic) = challenge.basic().filter(|_| status == StatusCode::UNAUTHORIZED && !browser) {
                answer.headers.push((header::WWW_AUTHENTICATE, basic.clone()));
            }
        } else if status == StatusCode::UNAUTHORIZED {
            // A 401 names how to authenticate (RFC 9110 §11.6.1); there is no registered scheme for a browser's session.
            let session = || HeaderValue::from_static("Session realm=\"doorward\"");
            let told = refusal.authenticate.as_deref().cloned();
            answer.headers.push((header::WWW_AUTHENTICATE, told.unwrap_or_else(session)));
        }
        if let Some(seconds) = refusal.retry_after {
            answer.headers.push((header::RETRY_AFTER, seconds.get().into()));
        } else if status == StatusCode::SERVICE_UNAVAILABLE {
            answer.headers.push((header::RETRY_AFTER, HeaderValue::from_static("5")));
        }
        if status == StatusCode::METHOD_NOT_ALLOWED {
            answer.headers.push((header::ALLOW, HeaderValue::from_static(super::methods_of(context, visit.path))));
        }
        answer.user = refusal.who.map(|who| who.user);
        answer.outcome = Outcome::Refused(refusal.failure);
        answer.with_cookies(refusal.cookies)
    }

    /// The same text stands in the three places where clients look for one: `error`, `error_description` (RFC 6750) and
    /// `errors[0].message` (GraphQL).
    fn refusal_in_json(
        context: &Context,
        status: StatusCode,
        failure: &Failure,
        reference: &str,
        sign_in: Option<&str>,
    ) -> Self {
        let text = challenge::sentence(failure);
        let mut body = json!({
            "error": text, "error_description": text, "errors": [{ "message": text }],
            "reason": failure.reason.code(), "remedy": failure.remedy(), "reference": reference,
        });
        let address = sign_in.and_then(|href| context.public_url().join(href).ok());
        if let (Some(address), Some(object)) = (address, body.as_object_mut()) {
            object.insert("sign_in".into(), address.as_str().into());
        }
        Answer::json(status, &body)
    }

    /// A JSON document that no cache may keep.
    pub fn json(status: StatusCode, body: &serde_json::Value) -> Self {
        let headers = vec![
            (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
            (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
            (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
            // Where a browser shows it after all, it can do nothing.
            (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(JSON_POLICY)),
            (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        ];
        Answer { status, headers, body: body.to_string().into(), outcome: Outcome::Own, user: None }
    }
}
