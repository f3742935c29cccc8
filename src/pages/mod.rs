//! The gateway's own pages: sign-in, signed out, and whatever went wrong. Rendered on the server, without JavaScript but
//! for the one line by which a form is sent on, and which a button stands in for.
//!
//! Promise: everything that came from outside is escaped, and the Content-Security-Policy allows nothing but the one
//! style sheet, embedded images and on that one page that one line, so that what slipped through escaping could still do
//! nothing. A page shows the text of a [`Reason`], never the detail of a failure.

mod brand;

use std::time::SystemTime;

use askama::Template;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderName, HeaderValue, header};

use crate::config::model::Brand;
use crate::reason::{Failure, Reader, Reason};
pub(crate) use brand::Look;

/// All pages, in the operator's look.
#[derive(Debug)]
pub struct Pages {
    look: Look,
    headers: Vec<(HeaderName, HeaderValue)>,
    bounce_policy: HeaderValue,
}

/// Sends the form of [`Pages::bounce`].
const SEND: &str = "document.forms[0].submit()";

/// One page.
#[derive(Clone, Debug)]
pub struct Page {
    /// To be sent as `text/html; charset=utf-8` with [`Pages::security_headers`].
    pub html: String,
}

/// A way to sign in.
#[derive(Clone, Copy, Debug)]
pub struct ProviderButton<'a> {
    pub name: &'a str,
    pub display_name: &'a str,
    pub href: &'a str,
}

/// The form for name and password.
#[derive(Clone, Copy, Debug)]
pub struct PasswordForm<'a> {
    pub action: &'a str,
    /// What belongs to this form and no other.
    pub state: &'a str,
    pub return_to: &'a str,
    /// What the directory is called; `None` where the form is the way in's.
    pub directory: Option<&'a str>,
    /// What was typed as name before.
    pub user: &'a str,
    pub problem: Option<PasswordProblem<'a>>,
}

/// Why a form comes back.
#[derive(Clone, Copy, Debug)]
pub struct PasswordProblem<'a> {
    pub reason: Reason,
    pub reference: &'a str,
    /// Seconds after which another try is taken.
    pub wait: Option<u64>,
}

/// What a page about a failure shows.
#[derive(Clone, Copy, Debug)]
pub struct FailurePage<'a> {
    pub reason: Reason,
    /// What to do: the reason's remedy, or a more exact one.
    pub remedy: &'a str,
    pub reference: &'a str,
    pub time: SystemTime,
    /// Where to sign in (again); no such button without it.
    pub sign_in_href: Option<&'a str>,
    /// Where to sign out to use another account; no such button without it.
    pub sign_out_href: Option<&'a str>,
    pub signed_in_as: Option<&'a str>,
    /// What was seen, a sentence each, for the page that ends a loop.
    pub seen: &'a [String],
    /// Whether nobody can sign in while this is so, and an admin has to come in by the way in.
    pub locks_out: bool,
}

impl Pages {
    /// Reads the logo. Fails with [`Reason::ConfigInvalid`] where it cannot be used.
    pub fn new(brand: &Brand) -> Result<Pages, Failure> {
        let look = Look::new(brand)?;
        let csp = policy(&look.style);
        let with_script = format!("{csp}; script-src 'sha256-{}'", sha256(SEND));
        let fixed = [
            ("x-content-type-options", "nosniff"),
            // The address of a callback page holds a code.
            ("referrer-policy", "no-referrer"),
            ("cache-control", "no-store"),
            ("x-frame-options", "DENY"),
            ("cross-origin-opener-policy", "same-origin"),
            ("cross-origin-resource-policy", "same-origin"),
            ("permissions-policy", "camera=(), geolocation=(), microphone=(), payment=()"),
        ];
        let unusable = |e| Failure::new(Reason::Internal, format!("the pages' policy: {e}"));
        let policy = HeaderValue::from_str(&csp).map_err(unusable)?;
        let fixed = fixed.map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        let headers = std::iter::once((header::CONTENT_SECURITY_POLICY, policy)).chain(fixed).collect();
        Ok(Pages { look, headers, bounce_policy: HeaderValue::from_str(&with_script).map_err(unusable)? })
    }

    /// The same pages, each of which says that only the way in is open, and what has to be taken away: `set_by`.
    pub fn in_restore_mode(mut self, set_by: &str) -> Pages {
        self.look.restore = Some(set_by.to_owned());
        self
    }

    /// The form for name and password. To be sent with a referrer policy that lets the browser say where it comes from.
    pub fn password(&self, form: &PasswordForm<'_>) -> Page {
        let problem = form.problem.map(|problem| {
            let info = problem.reason.info();
            Problem {
                title: info.title,
                remedy: lead(problem.reason).map_or_else(|| parts(info.remedy), parts),
                code: info.code,
                reference: problem.reference,
                wait: problem.wait.map(|seconds| match seconds {
                    0..=90 => format!("{seconds} seconds"),
                    _ => format!("{} minutes", seconds.div_ceil(60)),
                }),
            }
        });
        render(&Password {
            look: &self.look,
            action: safe_href(form.action),
            state: form.state,
            directory: form.directory.unwrap_or_default(),
            user: form.user,
            problem,
            target: target(form.return_to),
        })
    }

    /// The sign-in page, a button for each provider. `return_to` is shown without its query, and not at all where it
    /// is the start page.
    pub fn sign_in(&self, providers: &[ProviderButton<'_>], return_to: &str) -> Page {
        let providers = providers.iter().map(|provider| Button {
            display_name: provider.display_name,
            initial: initial(provider.display_name),
            href: safe_href(provider.href),
        });
        render(&SignIn { look: &self.look, providers: providers.collect(), target: target(return_to) })
    }

    /// The page after signing out. `provider_still_signed_in` where the provider's own session was not ended.
    pub fn signed_out(&self, sign_in_href: &str, provider_still_signed_in: bool) -> Page {
        render(&SignedOut { look: &self.look, sign_in_href: safe_href(sign_in_href), provider_still_signed_in })
    }

    /// The page that posts `fields` to `action`, a path of this host, as soon as it is shown or by its button. To be sent
    /// with [`Pages::bounce_policy`].
    pub fn bounce(&self, action: &str, fields: &[(&str, &str)]) -> Page {
        render(&Bounce { look: &self.look, action: safe_href(action), fields, script: SEND })
    }

    /// The page that goes on to `href` at once. It stands where a redirect would do, were it not for the policy of the page
    /// with the form: Chromium and Safari hold every address that a form's answer redirects to against `form-action`, the
    /// app's and the provider's own redirects among them. Not `by_itself` it waits for the person.
    pub fn onward(&self, href: &str, by_itself: bool) -> Page {
        render(&Onward { look: &self.look, href: safe_href(href), by_itself })
    }

    /// The Content-Security-Policy of [`Pages::bounce`]: its script may run, and no other.
    pub fn bounce_policy(&self) -> &HeaderValue {
        &self.bounce_policy
    }

    /// The page about a failure: what happened, what to do, and what to quote when asking.
    pub fn failure(&self, failure: &FailurePage<'_>) -> Page {
        let info = failure.reason.info();
        render(&FailureView {
            look: &self.look,
            title: info.title,
            lead: lead(failure.reason),
            cause: parts(info.cause),
            remedy: parts(failure.remedy),
            locks_out: failure.locks_out,
            code: info.code,
            reference: failure.reference,
            // IMF-fixdate is in GMT, which for a clock on a page is UTC.
            time: httpdate::fmt_http_date(failure.time).replace("GMT", "UTC"),
            signed_in_as: failure.signed_in_as.filter(|user| !user.is_empty()),
            seen: failure.seen.iter().map(|sentence| parts(sentence)).collect(),
            actions: actions(failure),
        })
    }

    /// The headers that go with every page, the Content-Security-Policy among them.
    pub fn security_headers(&self) -> &[(HeaderName, HeaderValue)] {
        &self.headers
    }
}

/// The Content-Security-Policy of a page that has the style sheet `style`: nothing is loaded, nothing runs.
pub(crate) fn policy(style: &str) -> String {
    format!(
        "default-src 'none'; style-src 'sha256-{}'; img-src data:; form-action 'self'; base-uri 'none'; \
         frame-ancestors 'none'",
        sha256(style)
    )
}

fn sha256(text: &str) -> String {
    STANDARD.encode(ring::digest::digest(&ring::digest::SHA256, text.as_bytes()))
}

#[derive(Template)]
#[template(path = "sign_in.html", config = "src/pages/askama.toml")]
struct SignIn<'a> {
    look: &'a Look,
    providers: Vec<Button<'a>>,
    target: Option<&'a str>,
}

struct Button<'a> {
    display_name: &'a str,
    initial: String,
    href: &'a str,
}

#[derive(Template)]
#[template(path = "password.html", config = "src/pages/askama.toml")]
struct Password<'a> {
    look: &'a Look,
    action: &'a str,
    state: &'a str,
    directory: &'a str,
    user: &'a str,
    problem: Option<Problem<'a>>,
    target: Option<&'a str>,
}

struct Problem<'a> {
    title: &'a str,
    remedy: Vec<Part<'a>>,
    code: &'a str,
    reference: &'a str,
    wait: Option<String>,
}

/// Where somebody comes back to, without its query; nothing where that is the start page.
fn target(return_to: &str) -> Option<&str> {
    let path = return_to.split(['?', '#']).next().unwrap_or_default();
    (!matches!(path, "" | "/")).then_some(path)
}

#[derive(Template)]
#[template(path = "signed_out.html", config = "src/pages/askama.toml")]
struct SignedOut<'a> {
    look: &'a Look,
    sign_in_href: &'a str,
    provider_still_signed_in: bool,
}

#[derive(Template)]
#[template(path = "bounce.html", config = "src/pages/askama.toml")]
struct Bounce<'a> {
    look: &'a Look,
    action: &'a str,
    fields: &'a [(&'a str, &'a str)],
    script: &'static str,
}

#[derive(Template)]
#[template(path = "onward.html", config = "src/pages/askama.toml")]
struct Onward<'a> {
    look: &'a Look,
    href: &'a str,
    by_itself: bool,
}

#[derive(Template)]
#[template(path = "failure.html", config = "src/pages/askama.toml")]
struct FailureView<'a> {
    look: &'a Look,
    title: &'a str,
    /// What a person is told first where cause and remedy are for an admin.
    lead: Option<&'a str>,
    cause: Vec<Part<'a>>,
    remedy: Vec<Part<'a>>,
    locks_out: bool,
    code: &'a str,
    reference: &'a str,
    time: String,
    signed_in_as: Option<&'a str>,
    seen: Vec<Vec<Part<'a>>>,
    actions: Vec<Action<'a>>,
}

struct Action<'a> {
    label: &'a str,
    href: &'a str,
}

/// A piece of a sentence; what stands between backticks is code.
pub(crate) struct Part<'a> {
    pub(crate) text: &'a str,
    pub(crate) code: bool,
}

pub(crate) fn parts(sentence: &str) -> Vec<Part<'_>> {
    let parts = sentence.split('`').enumerate().map(|(n, text)| Part { text, code: n % 2 == 1 });
    parts.filter(|part| !part.text.is_empty()).collect()
}

/// Cause and remedy of an admin's reason speak of settings; whoever sees the page needs to hear first what it means
/// for them.
fn lead(reason: Reason) -> Option<&'static str> {
    let info = reason.info();
    match (info.reader, info.status) {
        (Reader::Person | Reader::Attacker, _) => None,
        (Reader::Admin, 404) => Some("The address may be mistyped, or nothing has been set up for it."),
        (Reader::Admin, 403) => Some("You did nothing wrong. An administrator has to change something first."),
        (Reader::Admin, _) if may_pass(reason) => {
            Some("You did nothing wrong. Try again in a moment; if it stays like this, tell whoever runs this site.")
        }
        (Reader::Admin, _) => Some("You did nothing wrong. Please tell whoever runs this site."),
    }
}

/// Whether the same request can do better a moment later: app or provider down.
fn may_pass(reason: Reason) -> bool {
    let code = reason.code();
    code.starts_with("DW-21") || code.starts_with("DW-6")
}

fn actions<'a>(failure: &FailurePage<'a>) -> Vec<Action<'a>> {
    let mut all = Vec::with_capacity(4);
    if may_pass(failure.reason) {
        // An empty reference is the address of the page itself (RFC 3986 §4.4).
        all.push(Action { label: "Try again", href: "" });
    }
    if let Some(href) = failure.sign_in_href {
        let label = match failure.reason {
            Reason::SignInNeeded | Reason::SessionMissing => "Sign in",
            _ => "Sign in again",
        };
        all.push(Action { label, href: safe_href(href) });
    }
    if let Some(href) = failure.sign_out_href {
        all.push(Action { label: "Use another account", href: safe_href(href) });
    }
    all.push(Action { label: "Start page", href: "/" });
    all
}

/// Links lead to this host or to a web address; escaping alone would let `javascript:` through.
fn safe_href(href: &str) -> &str {
    let fine = ["/", "https://", "http://"].iter().any(|start| href.starts_with(start));
    if fine && !href.chars().any(char::is_control) { href } else { "/" }
}

/// The letter on a provider's button.
fn initial(name: &str) -> String {
    name.chars().find(|c| c.is_alphanumeric()).map_or_else(|| "→".to_owned(), |c| c.to_uppercase().collect())
}

fn render(template: &impl Template) -> Page {
    // Rendering into memory fails only where a value's `Display` does, and these are strings.
    Page { html: template.render().unwrap_or_default() }
}

#[cfg(test)]
mod tests;
