//! The start of a sign-in: the page with a button for each provider, and the redirect to one of them.

use std::time::UNIX_EPOCH;

use http::{HeaderValue, Method, StatusCode};

use super::callback::{TRIPS_BEFORE_STOP, Trips};
use super::lost_attempt::shown;
use super::{Answer, Context, LOGIN, Refusal, SignInWish, StepUp, Visit, Visitor, login_href, password};
use crate::authn::Verdict;
use crate::config::model::{SignInStyle, own_issuer};
use crate::keys::Purpose;
use crate::oidc::{Provider, Wish};
use crate::pages::ProviderButton;
use crate::reason::{Failure, Reason};
use crate::telemetry::metrics;
use crate::words::cut;

/// Characters of a visitor's text that are told.
const LONGEST: usize = 200;

/// Sign-ins that one browser may have open; the oldest gives way.
const MAX_ATTEMPTS: usize = 5;
/// Characters of `login_hint`.
const MAX_HINT: usize = 512;
/// Bytes of one parameter of such a form: a return address, or an issuer.
const MAX_VALUE: usize = 2000;
/// Bytes of a form by which somebody else has a person sign in.
pub const MAX_BODY: usize = 16 * 1024;

/// `GET /oidc/login?return_to=…&provider=…`; and, by GET or as a form, `iss`, `login_hint` and `target_link_uri`, by which
/// a portal or the provider has somebody sign in here (OpenID Connect Core §4). Any site may: it starts a sign-in, as a link
/// does, and no more.
pub fn login(context: &Context, visit: &Visit<'_>) -> Result<Answer, Refusal> {
    if *visit.method == Method::POST {
        return by_get(context, visit);
    }
    let return_to = wanted_address(context, visit)?;
    let hint = visit.parameter("login_hint")?.filter(|hint| is_hint(hint));
    let asked = visit.parameter("asked")?.and_then(|sealed| open_demand(context, &return_to, &sealed));
    let wish = Wish { login_hint: hint, ..asked.unwrap_or_default() };
    let unknown = |text: &str| Failure::new(Reason::ProviderUnknown, format!("{:?}", cut(text, LONGEST)));
    let named = match visit.parameter("provider")? {
        name if by_password(context, name.as_deref()) => {
            return Ok(Answer::redirect(context, &password::href(&return_to))?);
        }
        Some(name) => Some(context.providers.get(&name).ok_or_else(|| unknown(&name))?),
        None => None,
    };
    let issued = match visit.parameter("iss")? {
        Some(iss) => {
            let provider = match named {
                Some(named) => Some(named).filter(|named| named.is_issuer(&iss)),
                None => context.providers.of_issuer(&iss),
            };
            Some(provider.ok_or_else(|| unknown(&iss))?)
        }
        None => named,
    };
    match issued.or_else(|| only_provider(context)) {
        Some(provider) => start(context, visit, provider, &wish, &return_to),
        None => Ok(page(context, &wish, &return_to)),
    }
}

/// A form of another site comes without the cookies of the attempts that are open, and would open one more each time, until
/// the browser holds more cookies than a request may have. The same as a link comes with them.
fn by_get(context: &Context, visit: &Visit<'_>) -> Result<Answer, Refusal> {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    for name in ["iss", "login_hint", "target_link_uri", "return_to", "provider"] {
        if let Some(value) = visit.field(name)? {
            if value.len() > MAX_VALUE {
                return Err(Failure::new(Reason::ReturnAddress, format!("`{name}` has {} bytes", value.len())).into());
            }
            query.append_pair(name, &value);
        }
    }
    Ok(Answer::redirect(context, &format!("{LOGIN}?{}", query.finish()))?)
}

/// What a route asks of the sign-in that leads back to `return_to`, as the sign-in page carries it.
fn open_demand(context: &Context, return_to: &str, sealed: &str) -> Option<Wish> {
    let mut buffer = Vec::new();
    let range = context.keys.open(Purpose::Demand, return_to, sealed.as_bytes(), &mut buffer).ok()?;
    serde_json::from_slice(&buffer[range]).ok()
}

/// The same, sealed; `None` where nothing is asked.
fn demand(context: &Context, return_to: &str, wish: &Wish) -> Option<String> {
    let plain = serde_json::to_vec(wish).ok().filter(|_| !wish.is_empty())?;
    context.keys.seal(Purpose::Demand, return_to, &plain).ok()
}

/// `return_to` or `target_link_uri`, of which there may be one.
fn wanted_address(context: &Context, visit: &Visit<'_>) -> Result<String, Failure> {
    let by_link = visit.parameter("return_to")?;
    let by_third_party = visit.parameter("target_link_uri")?;
    let (address, text) = match (by_link, by_third_party) {
        (None, None) => return Ok("/".to_owned()),
        (Some(_), Some(_)) => {
            return Err(Failure::new(Reason::ParameterDoubled, "`return_to` and `target_link_uri` are one"));
        }
        (Some(text), None) => (context.return_address(&text), text),
        (None, Some(text)) => (context.own_address(&text), text),
    };
    address.map(|address| context.onward(&address).to_owned()).ok_or_else(|| {
        let detail = format!("{:?}", cut(&text, LONGEST));
        Failure::new(Reason::ReturnAddress, detail)
    })
}

/// A hint may be anything by which somebody is known; what is no line of text is nobody's, and is not passed on.
fn is_hint(hint: &str) -> bool {
    !hint.is_empty() && hint.chars().count() <= MAX_HINT && !hint.chars().any(char::is_control)
}

/// Step 6 of the way of a request: somebody without a usable session asks for what needs one. A person is sent to
/// sign in; everybody else is told.
pub fn send_to_sign_in(
    context: &Context,
    visit: &Visit<'_>,
    verdict: &Verdict,
    wish: SignInWish<'_>,
) -> Result<Answer, Refusal> {
    let failure = match verdict {
        Verdict::Rejected(failure) => failure.clone(),
        _ => Failure::from(Reason::SignInNeeded),
    };
    match visit.visitor() {
        Visitor::Program => Err(failure.into()),
        // Where a directory is only tested there is nowhere to send anybody.
        _ if !context.offers_sign_in() => Err(failure.into()),
        // A frame shows the page; what a form held is not passed on, and a redirect would lose it without a word.
        Visitor::Reading if visit.method.is_safe() => Err(failure.into()),
        Visitor::Reading => Err(Failure::new(Reason::SessionEndedDuringPost, failure.to_string()).into()),
        Visitor::Navigating => {
            let return_to = match before_leaving(context, visit, verdict)? {
                Departure::From(return_to) => return_to,
                Departure::Elsewhere(answer) => return Ok(answer),
            };
            if wish.style == SignInStyle::Redirect && by_password(context, wish.provider) {
                return Ok(Answer::redirect(context, &password::href(&return_to))?);
            }
            let provider = match wish.provider {
                Some(name) => context.providers.get(name),
                None => only_provider(context),
            };
            let asked = wish.step_up.map_or_else(Wish::default, |step_up| step_up.wish().clone());
            match (provider, wish.style) {
                (Some(provider), SignInStyle::Redirect) => start(context, visit, provider, &asked, &return_to),
                (Some(provider), SignInStyle::Page) => {
                    Ok(page_of(context, [provider].into_iter(), false, &asked, &return_to))
                }
                (None, _) => Ok(page(context, &asked, &return_to)),
            }
        }
    }
}

/// Somebody is known, and the route asks for another kind of sign-in or a more recent one: a person who opens a page is
/// sent through the provider once more, everybody else is told what is missing.
pub fn send_to_step_up(
    context: &Context,
    visit: &Visit<'_>,
    failure: Failure,
    provider: &str,
    step_up: &StepUp,
) -> Result<Answer, Refusal> {
    let navigating = visit.visitor() == Visitor::Navigating;
    // A directory vouches for no kind of sign-in, only for when it was.
    let asked_again = navigating && step_up.wish().acr_values.is_empty() && by_password(context, Some(provider));
    let provider = context.providers.get(provider).filter(|_| navigating);
    let Some(provider) = provider else {
        if asked_again {
            return match before_leaving(context, visit, &Verdict::Rejected(failure))? {
                Departure::From(return_to) => Ok(Answer::redirect(context, &password::href(&return_to))?),
                Departure::Elsewhere(answer) => Ok(answer),
            };
        }
        return Err(Refusal { authenticate: Some(step_up.challenge().clone()), ..failure.into() });
    };
    match before_leaving(context, visit, &Verdict::Rejected(failure))? {
        Departure::From(return_to) => start(context, visit, provider, step_up.wish(), &return_to),
        Departure::Elsewhere(answer) => Ok(answer),
    }
}

/// Where a person who is sent to sign in comes back to, or another host to go to first.
enum Departure {
    From(String),
    Elsewhere(Answer),
}

fn before_leaving(context: &Context, visit: &Visit<'_>, verdict: &Verdict) -> Result<Departure, Refusal> {
    stop_loop(context, visit, verdict)?;
    if let Some(elsewhere) = public_host(context, visit) {
        // Counted, too: where a proxy in front changes Host, the browser would come back here for ever.
        let counted = Trips::of(context, visit).one_more(context, visit.seconds());
        return Ok(Departure::Elsewhere(Answer::redirect(context, &elsewhere)?.with_cookies(counted)));
    }
    let here = visit.target();
    let return_to = context.return_address(&return_text(context, visit, &here));
    Ok(Departure::From(return_to.map_or("/".to_owned(), |address| address.as_str().to_owned())))
}

/// Where the cookies of a sign-in belong to another host than the one in the address bar, the browser first goes there:
/// `localhost` for `127.0.0.1`, the bare name for the full one. Otherwise its attempt cookie would be left behind.
pub(super) fn public_host(context: &Context, visit: &Visit<'_>) -> Option<String> {
    let public = context.public_url();
    let own = public.host_str().unwrap_or_default();
    (visit.host != own && !context.shares_cookies(visit.host))
        .then(|| format!("{}{}", own_issuer(public), visit.target()))
}

/// The address to return to: a path, or with its host where the session is shared by several.
fn return_text(context: &Context, visit: &Visit<'_>, here: &str) -> String {
    let public = context.public_url();
    if visit.host == public.host_str().unwrap_or_default() {
        return here.to_owned();
    }
    let port = public.port().map_or(String::new(), |port| format!(":{port}"));
    format!("{}://{}{port}{here}", public.scheme(), visit.host)
}

/// Refuses to send the browser round once more when it has just come back several times without a usable session.
fn stop_loop(context: &Context, visit: &Visit<'_>, verdict: &Verdict) -> Result<(), Refusal> {
    let trips = Trips::of(context, visit);
    if trips.recent(visit.seconds()) < TRIPS_BEFORE_STOP {
        return Ok(());
    }
    let mut seen = vec![format!("In the last minute this browser was sent round {TRIPS_BEFORE_STOP} times.")];
    seen.push(match verdict {
        Verdict::Rejected(failure) => {
            format!("The session cookie came back, but {}: {}.", lower(failure.reason.info().title), failure.detail)
        }
        _ => "The session cookie that was set did not come back with the next request.".to_owned(),
    });
    // The cookie of one that was ended did all that is asked of one.
    let ended = matches!(verdict, Verdict::Rejected(failure) if failure.reason == Reason::SessionEnded);
    let why = if ended { Vec::new() } else { why_cookies_fail(context, visit) };
    let remedy = why.first().map(|(_, mends)| *mends);
    seen.extend(why.into_iter().map(|(seen, _)| seen));
    let detail = seen[1..].join(" ");
    seen.push(match ended {
        true => "It ended as soon as it had begun, and nothing is wrong with this browser: wait a moment, then sign in again.",
        false => "Check that this browser keeps cookies for this site, and that its clock is right.",
    }
    .into());
    let mut refusal = Refusal::from(Failure::new(Reason::SignInLoop, detail).remedied_by(remedy));
    refusal.seen = seen.into();
    Err(refusal)
}

/// What keeps a session's cookie from coming back, and what mends it.
fn why_cookies_fail(context: &Context, visit: &Visit<'_>) -> Vec<(String, &'static str)> {
    let mut why = Vec::new();
    let public = context.public_url().host_str().unwrap_or_default();
    if visit.host != public {
        let seen = format!(
            "This request came for `{}`, and the host of `public_url` is `{public}`: a proxy in front may change Host.",
            visit.host
        );
        why.push((
            seen,
            "Open the address in `public_url`. An admin has the proxy in front keep `Host`, or sets `public_url` to the address \
             that people open.",
        ));
    }
    if context.public_url().scheme() == "https" && !visit.over_tls {
        let seen = "This request came over http, and the cookie is kept for https alone: a proxy in front may have dropped TLS.";
        why.push((
            seen.to_owned(),
            "Open the https address. An admin has the proxy in front keep TLS, or lists it in `listen.trusted_proxies` and has it \
             say `X-Forwarded-Proto`.",
        ));
    }
    why
}

fn lower(title: &str) -> String {
    let mut letters = title.chars();
    letters.next().map_or(String::new(), |first| first.to_lowercase().chain(letters).collect())
}

/// Whether somebody who wants to sign in with `provider`, or with whatever there is, types a password here.
fn by_password(context: &Context, provider: Option<&str>) -> bool {
    match (context.directory(), provider) {
        _ if context.way_in.is_some() => true,
        (Some(directory), Some(name)) => directory.name() == name,
        (Some(_), None) => context.providers.is_empty(),
        (None, _) => false,
    }
}

/// The provider to go straight on to, where there is no choice.
fn only_provider(context: &Context) -> Option<&std::sync::Arc<Provider>> {
    let mut all = context.providers.iter().filter(|_| context.directory().is_none());
    all.next().filter(|_| all.next().is_none())
}

fn page(context: &Context, wish: &Wish, return_to: &str) -> Answer {
    page_of(context, context.providers.iter(), true, wish, return_to)
}

fn page_of<'a>(
    context: &Context,
    providers: impl Iterator<Item = &'a std::sync::Arc<Provider>>,
    with_directory: bool,
    wish: &Wish,
    return_to: &str,
) -> Answer {
    let asked = demand(context, return_to, wish);
    let directory = context.directory().map(|d| (d.name(), d.display_name(), password::href(return_to)));
    let providers: Vec<_> = providers
        .map(|p| (p.name(), p.display_name(), login_href(return_to, Some(p.name()), asked.as_deref())))
        .chain(directory.filter(|_| with_directory))
        .collect();
    let buttons: Vec<_> =
        providers.iter().map(|&(name, display_name, ref href)| ProviderButton { name, display_name, href }).collect();
    Answer::page(context, StatusCode::OK, context.pages.sign_in(&buttons, return_to))
}

/// Sends the browser to the provider, and remembers the attempt in a cookie of its own, so that several tabs may sign
/// in at once.
fn start(
    context: &Context,
    visit: &Visit<'_>,
    provider: &Provider,
    wish: &Wish,
    return_to: &str,
) -> Result<Answer, Refusal> {
    by_the_public_port(context, visit).inspect_err(|refusal| visit.count("start", Some(refusal.failure.reason)))?;
    let begin = |id: String| Ok((provider.begin_with(wish, return_to, &id, visit.now)?, id));
    let begun = attempt_id(context, visit).and_then(begin);
    let (mut begun, id) = begun.inspect_err(|f| visit.count("start", Some(f.reason)))?;
    begun.attempt.from_another_site = visit.headers.get("sec-fetch-site").is_some_and(|site| site == "cross-site");
    let name = context.cookies.attempt(&id);
    let plain = serde_json::to_vec(&begun.attempt).map_err(|e| Failure::new(Reason::Internal, e.to_string()))?;
    let sealed = context
        .keys
        .seal(Purpose::Attempt, &name, &plain)
        .map_err(|e| Failure::new(Reason::Internal, e.to_string()))?;
    let lifetime = context.config.settings.sign_in.attempt_lifetime.0.as_secs();
    let mut cookies: Vec<HeaderValue> = context.cookies.set(&name, &sealed, Some(lifetime), "/").into_iter().collect();
    cookies.extend(oldest_attempts(context, visit));
    visit.count("start", None);
    Ok(Answer::redirect(context, begun.authorization_url.as_str())?.with_cookies(cookies))
}

/// Refuses somebody whom nothing but the port in the address bar keeps from the public URL: the provider would send them to an
/// address that perhaps nobody serves, and no page could say why.
fn by_the_public_port(context: &Context, visit: &Visit<'_>) -> Result<(), Refusal> {
    let public = context.public_url();
    let Some(port) = visit.port.filter(|port| Some(*port) != public.port_or_known_default()) else { return Ok(()) };
    // What stands in front may write its own port into Host. Then it mostly says so, or takes TLS off.
    let relayed = |name: &str| matches!(name, "forwarded" | "via" | "x-real-ip") || name.starts_with("x-forwarded-");
    let direct = visit.over_tls == (public.scheme() == "https")
        && !visit.headers.keys().any(|name| relayed(name.as_str()))
        && Some(visit.host) == public.host_str();
    if !direct {
        return Ok(());
    }
    let seen = format!("You came to `{}:{port}`, and `public_url` is `{}`.", visit.host, shown(public));
    let failure = Failure::new(Reason::AttemptElsewhere, seen.trim_end_matches('.'));
    Err(Refusal { seen: [seen].into(), ..failure.into() })
}

/// `Set-Cookie` that make room for one more attempt.
pub(super) fn oldest_attempts(context: &Context, visit: &Visit<'_>) -> Vec<HeaderValue> {
    let open = context.cookies.attempts(visit.headers);
    let too_many = (open.len() + 1).saturating_sub(MAX_ATTEMPTS);
    open.iter().take(too_many).filter_map(|id| context.cookies.end(&context.cookies.attempt(id), "/")).collect()
}

/// The name of an attempt: its time, so that the oldest sorts first, and enough randomness for parallel tabs.
pub(super) fn attempt_id(context: &Context, visit: &Visit<'_>) -> Result<String, Failure> {
    let random = context.keys.random_id().map_err(|e| Failure::new(Reason::Internal, e.to_string()))?;
    let tail: String = random.chars().filter(char::is_ascii_alphanumeric).take(8).collect();
    // Microseconds: a browser that opens several tabs asks for all of them within a millisecond or two.
    let at = visit.now.duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
    Ok(format!("{at:014x}{tail}"))
}

/// Counts a step of signing in or out.
pub(super) fn count(step: &str, reason: Option<Reason>) {
    metrics().sign_ins.with_label_values(&[step, reason.map_or("ok", Reason::code)]).inc();
}
