//! How the admin listener answers.

use http::{HeaderName, HeaderValue, Response, StatusCode, header};

/// What every page of the console says of itself. A referrer is sent within the console alone: without one the browser
/// would not say where a form comes from.
static PAGE: [(HeaderName, &str); 7] = [
    (header::CACHE_CONTROL, "no-store"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "same-origin"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (HeaderName::from_static("permissions-policy"), "camera=(), geolocation=(), microphone=(), payment=()"),
];

/// An answer for programs.
pub(super) fn answer(status: StatusCode, kind: &'static str, body: Vec<u8>) -> Response<Vec<u8>> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let length = response.body().len().into();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response.headers_mut().insert(header::CONTENT_LENGTH, length);
    response
}

/// The same of what is the console's: for nobody's cache and no other site's page.
pub(super) fn guarded(status: StatusCode, kind: &'static str, body: Vec<u8>) -> Response<Vec<u8>> {
    let mut response = answer(status, kind, body);
    let fixed = PAGE.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value)));
    response.headers_mut().extend(fixed);
    response
}

/// JSON of the console's.
pub(super) fn json(status: StatusCode, value: &serde_json::Value) -> Response<Vec<u8>> {
    guarded(status, "application/json", format!("{value:#}\n").into_bytes())
}

/// A page.
pub(super) fn page(status: StatusCode, html: String, policy: &HeaderValue) -> Response<Vec<u8>> {
    let mut response = guarded(status, "text/html; charset=utf-8", html.into_bytes());
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy.clone());
    response
}

/// On to `place`, after a form.
pub(super) fn see_other(place: &str) -> Response<Vec<u8>> {
    let mut response = guarded(StatusCode::SEE_OTHER, "text/plain", Vec::new());
    // Of letters and slashes, which the root has been held to.
    let place = HeaderValue::from_str(place).unwrap_or_else(|_| HeaderValue::from_static("./"));
    response.headers_mut().insert(header::LOCATION, place);
    response
}
