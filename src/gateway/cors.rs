//! Pages of other origins that call the app (Fetch §3.3): their preflights are answered, and their scripts may read the
//! answers.
//!
//! Promise: only origins that the configuration lists to the letter; never `null`, which every sandboxed frame is, and
//! never for a credential that was not judged: an answer can be read, and who may is decided as for everybody else.

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use crate::config::model;
use crate::endpoints::{Answer, Outcome};

/// Seconds for which a browser need not ask again. Chromium asks after two hours whatever it is told.
const MAX_AGE: &str = "600";
const CREDENTIALS: HeaderValue = HeaderValue::from_static("true");

/// The origins that are listed.
pub(super) struct Cors(Box<[HeaderValue]>);

impl Cors {
    /// `None` where none is listed.
    pub fn new(settings: &model::Cors) -> Option<Cors> {
        let named = settings.origins.iter().filter(|origin| *origin != "null");
        let origins: Box<[HeaderValue]> = named.filter_map(|origin| HeaderValue::from_str(origin).ok()).collect();
        (!origins.is_empty()).then_some(Cors(origins))
    }

    /// The listed origin that a request names as its own.
    fn origin(&self, request: &HeaderMap) -> Option<&HeaderValue> {
        let named = request.get(header::ORIGIN)?;
        self.0.iter().find(|origin| *origin == named)
    }

    /// The answer to a preflight of a listed origin: whatever it asks for, which the request itself is judged for.
    pub fn preflight(&self, request: &HeaderMap) -> Option<Answer> {
        self.origin(request)?;
        let mut headers = vec![(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(MAX_AGE))];
        for (asked, allowed) in [
            (header::ACCESS_CONTROL_REQUEST_METHOD, header::ACCESS_CONTROL_ALLOW_METHODS),
            (header::ACCESS_CONTROL_REQUEST_HEADERS, header::ACCESS_CONTROL_ALLOW_HEADERS),
        ] {
            headers.extend(request.get(asked).map(|value| (allowed, value.clone())));
        }
        Some(Answer {
            status: StatusCode::NO_CONTENT,
            headers,
            body: bytes::Bytes::new(),
            outcome: Outcome::Own,
            user: None,
        })
    }

    /// What an answer to `request` says of who may read it, unless the app has said so itself in `answered`.
    pub fn headers(&self, request: &HeaderMap, answered: &HeaderMap) -> Vec<(HeaderName, HeaderValue)> {
        if answered.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN) {
            return Vec::new();
        }
        // Also to others, so that no cache gives one the answer that was for another.
        let mut headers = vec![(header::VARY, HeaderValue::from_static("Origin"))];
        if let Some(origin) = self.origin(request) {
            headers.push((header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone()));
            headers.push((header::ACCESS_CONTROL_ALLOW_CREDENTIALS, CREDENTIALS));
        }
        headers
    }
}
