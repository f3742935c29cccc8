//! A new session at the end of a sign-in, however somebody signed in.

use http::HeaderValue;

use super::callback::Trips;
use super::sign_out::revoke;
use super::{Answer, Context, LOGOUT, Visit};
use crate::authn::Verdict;
use crate::keys::Purpose;
use crate::oidc::SignedIn;
use crate::reason::{Failure, Reason};
use crate::session::ended::Mark;
use crate::session::{Session, Tokens};
use crate::telemetry::{Audit, Decision, audit, metrics};

/// Where somebody goes who has signed in.
pub struct WayOn<'a> {
    /// Judged once more.
    pub to: &'a str,
    /// Whether the person has to take the step. A page of ours that led there by itself would have another site's link look
    /// like one of this site to the app, which goes by Fetch metadata or `SameSite=Strict`.
    pub by_hand: bool,
}

/// A new session, whatever the browser brought before (no fixation), which ends; and the way to where the
/// person wanted to go.
pub fn make_session(
    context: &Context,
    visit: &Visit<'_>,
    way_on: WayOn<'_>,
    mut signed_in: SignedIn,
) -> Result<Answer, Failure> {
    let now = visit.seconds();
    let id_token = signed_in.id_token.take();
    let (session, sealed) = seal_session(context, signed_in, now)?;
    metrics().session_bytes.observe(sealed.len() as f64);
    context.ended.saw(&session);
    end_former(context, visit, &session);
    let mut cookies = context.cookies.store_session(&sealed, visit.headers);
    cookies.extend(Trips::of(context, visit).one_more(context, now));
    let hint = id_token.as_deref().and_then(|token| hint_cookie(context, token));
    // The hint of whoever was signed in before must not sign out somebody else.
    cookies.extend(hint.or_else(|| context.cookies.end(&context.cookies.hint(), LOGOUT)));
    let who = &session.identity;
    let granted = Audit {
        provider: Some(&who.provider),
        subject: Some(&who.subject),
        user: Some(&who.user),
        peer: visit.client,
        ..Audit::new(visit.reference, "sign_in", Decision::Allow)
    };
    audit::record(&granted, visit.now);
    // It was sealed by this gateway, but its address is judged again: rules may have changed since.
    let return_to = context.return_address(way_on.to);
    let to = return_to.as_ref().map_or("/", |address| context.onward(address));
    let mut answer = Answer::onward(context, visit, to, way_on.by_hand)?.with_cookies(cookies);
    answer.user = Some(session.identity.user);
    Ok(answer)
}

/// The session of somebody who signed in, and the same sealed. Fails where the app could not be told who it is, or where no
/// cookie holds it.
pub fn seal_session(context: &Context, signed_in: SignedIn, now: u64) -> Result<(Session, String), Failure> {
    let settings = &context.config.settings;
    // What the app could not be told later is better refused now.
    context.identity_headers.of(&signed_in.identity).map_err(|failure| match failure.reason {
        Reason::IdentityTooLarge => failure.renamed(Reason::SessionTooLarge),
        _ => failure,
    })?;
    let internal = |e: crate::keys::NoRandomness| Failure::new(Reason::Internal, e.to_string());
    let refresh_token = signed_in.refresh_token.filter(|_| settings.session.refresh);
    let session = Session {
        id: context.keys.random_id().map_err(internal)?,
        signed_in_at: signed_in.proven_at.map_or(now, |proven_at| proven_at.min(now)),
        last_used: now,
        authentication: signed_in.authentication,
        tokens: refresh_token.map(|token| Tokens {
            refresh_token: token.expose().to_owned(),
            expire_at: signed_in.tokens_expire_at.unwrap_or(now + DEFAULT_TOKEN_LIFETIME),
            renewed: 0,
            nonce: signed_in.nonce,
        }),
        identity: signed_in.identity,
    };
    let sealed = session.seal(&context.keys, context.cookies.sealed_for(), settings.session.max_bytes.0)?;
    Ok((session, sealed))
}

/// Ends the session that the browser brought to the sign-in: its cookie is overwritten, and nobody could sign out of it.
fn end_former(context: &Context, visit: &Visit<'_>, session: &Session) {
    let Verdict::Known(former) = context.session_rules().judge(visit.headers, visit.seconds(), |_| true) else {
        return;
    };
    if context.ended.is_replaced(&former) {
        return;
    }
    context.ended.end(Mark::Replaced { id: &former.id }, visit.seconds());
    let (who, now_who) = (&former.identity, &session.identity);
    let same_person = (&who.provider, &who.subject) == (&now_who.provider, &now_who.subject);
    // With one refresh token many providers take back all that the person granted, and the new one with it.
    if !(same_person && session.tokens.is_some()) {
        revoke(context, &former, visit.now);
    }
    let ended = Audit {
        detail: "its browser signed in anew",
        provider: Some(&who.provider),
        subject: Some(&who.subject),
        user: Some(&who.user),
        peer: visit.client,
        ..Audit::new(visit.reference, "session_ended", Decision::Allow)
    };
    audit::record(&ended, visit.now);
}

/// For providers that do not say how long their tokens hold (`expires_in` is only recommended, RFC 6749 §5.1).
pub const DEFAULT_TOKEN_LIFETIME: u64 = 300;

/// The ID token for signing out at the provider, in a cookie that only the sign-out address gets. Too large a token is
/// left out: the provider then asks the person (OpenID Connect RP-Initiated Logout §2).
fn hint_cookie(context: &Context, id_token: &str) -> Option<HeaderValue> {
    let name = context.cookies.hint();
    let sealed = context.keys.seal(Purpose::LogoutHint, &name, id_token.as_bytes()).ok()?;
    (sealed.len() <= 3900).then(|| context.cookies.set(&name, &sealed, None, LOGOUT)).flatten()
}
