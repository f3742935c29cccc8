//! The same-site bounce: how an answer that the provider's page posts meets the cookie of its attempt.
//!
//! A browser sends no Lax cookie with a POST from another site. So the first POST, which comes without one, is answered
//! with a page of the gateway's own that posts the same once more: now from the same site, with the cookie. The cookie
//! need not be `SameSite=None` for that, which every site could have sent along and which some browsers refuse.
//!
//! Promise: nothing is judged, made or ended by the first POST; the page holds what is known of an authorization
//! response, escaped, and nothing else of what came.

use http::{Method, StatusCode, header};

use super::{Answer, Context, Visit};
use crate::oidc::AuthorizationResponse;
use crate::session::cookies::find;

/// Field by which the second POST is told from the first. Whoever sends it with the first only saves the gateway the page.
const MARKER: &str = "doorward_bounced";

/// Whether `visit` is the first POST of an answer to the attempt whose cookie is called `cookie`.
pub fn is_due(visit: &Visit<'_>, cookie: &str) -> bool {
    let marked = || url::form_urlencoded::parse(visit.body).any(|(name, _)| name == MARKER);
    *visit.method == Method::POST && matches!(find(visit.headers, cookie), Ok(None)) && !marked()
}

/// The page that posts `response` again.
pub fn page(context: &Context, visit: &Visit<'_>, response: &AuthorizationResponse) -> Answer {
    let mut fields = response.parameters();
    fields.push((MARKER, "1"));
    let mut answer = Answer::page(context, StatusCode::OK, context.pages.bounce(visit.path, &fields));
    let policy = answer.headers.iter_mut().find(|(name, _)| *name == header::CONTENT_SECURITY_POLICY);
    if let Some((_, value)) = policy {
        *value = context.pages.bounce_policy().clone();
    }
    answer
}
