//! What a route asks of a sign-in beside that there was one: which kind, and how long ago.

use std::sync::Arc;

use http::HeaderValue;

use super::challenge::plain;
use crate::config::model;
use crate::oidc::Wish;
use crate::reason::{Failure, Reason};
use crate::session::Session;

/// `max_age` of a route that wants a fresh sign-in and does not say how fresh, in seconds.
const FRESH: u64 = 300;

/// `acr_values`, `max_age` and `fresh_sign_in` of one route that has any of them.
#[derive(Debug)]
pub struct StepUp {
    /// Not remembering a hint, it is the same for everybody.
    wish: Wish,
    /// What a program is told (RFC 9470 §3).
    challenge: Arc<HeaderValue>,
}

impl StepUp {
    /// `None` for a route that takes every sign-in.
    pub fn of(route: &model::Route) -> Option<Box<StepUp>> {
        let fresh = route.fresh_sign_in;
        let max_age = route.max_age.map(|age| age.0.as_secs()).or(fresh.then_some(FRESH));
        if route.acr_values.is_empty() && max_age.is_none() {
            return None;
        }
        let acr = match route.acr_values.as_slice() {
            [] => String::new(),
            values => format!(", acr_values=\"{}\"", plain(&values.join(" "))),
        };
        let age = max_age.map(|age| format!(", max_age=\"{age}\"")).unwrap_or_default();
        let description = plain(Reason::StepUpNeeded.info().title);
        let challenge = format!(
            "Session realm=\"doorward\", error=\"insufficient_user_authentication\", \
             error_description=\"{description}\"{acr}{age}"
        );
        // Every part was made plain.
        let challenge = HeaderValue::try_from(challenge).unwrap_or_else(|_| HeaderValue::from_static("Session"));
        let wish = Wish { acr_values: route.acr_values.clone(), max_age, fresh, login_hint: None };
        Some(Box::new(StepUp { wish, challenge: Arc::new(challenge) }))
    }

    /// What to ask the provider for.
    pub fn wish(&self) -> &Wish {
        &self.wish
    }

    pub fn challenge(&self) -> &Arc<HeaderValue> {
        &self.challenge
    }

    /// Whether the sign-in behind `session` is enough at `now`; `leeway` is how far the provider's clock may be off.
    ///
    /// Where the provider never said when the person authenticated, nothing shows that it was lately: a session made
    /// without a question at the provider is as young as any other.
    pub fn check(&self, session: &Session, leeway: u64, now: u64) -> Result<(), Failure> {
        let needed = |detail: String| Err(Failure::new(Reason::StepUpNeeded, detail));
        let Wish { acr_values, max_age, fresh, .. } = &self.wish;
        let authentication = &session.authentication;
        if !acr_values.is_empty() && !authentication.context.as_ref().is_some_and(|acr| acr_values.contains(acr)) {
            let got = authentication.context.as_deref().unwrap_or("none");
            return needed(format!("expected `acr` of {}, got {got}", acr_values.join(", ")));
        }
        let Some(max_age) = *max_age else { return Ok(()) };
        let Some(at) = authentication.at else {
            return needed(format!("expected `auth_time` within {max_age} s, and the provider did not say it"));
        };
        if at > now.saturating_add(leeway) {
            return needed(format!("expected `auth_time` within {max_age} s, got {} s ahead", at - now));
        }
        let age = now.saturating_sub(at);
        if age > max_age.saturating_add(leeway) {
            return needed(format!("expected `auth_time` within {max_age} s, got {age} s ago"));
        }
        let age = now.saturating_sub(session.signed_in_at);
        if *fresh && age > max_age {
            return needed(format!("expected a sign-in within {max_age} s, got one {age} s ago"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{Authentication, Identity};

    fn step_up(keys: &str) -> Option<Box<StepUp>> {
        StepUp::of(&toml::from_str::<model::Route>(keys).expect("a route"))
    }

    fn session(acr: Option<&str>, at: Option<u64>, signed_in_at: u64) -> Session {
        let identity = serde_json::json!({"p": "main", "s": "1", "u": "anna"});
        Session {
            id: "x".into(),
            signed_in_at,
            last_used: signed_in_at,
            identity: serde_json::from_value::<Identity>(identity).expect("an identity"),
            authentication: Authentication { provider_session: None, context: acr.map(str::to_owned), at },
            tokens: None,
        }
    }

    #[test]
    fn a_route_that_asks_for_nothing_has_nothing_to_check() {
        assert!(step_up("path = '/'").is_none());
    }

    #[test]
    fn a_sign_in_is_enough_by_kind_and_age() {
        let now = 1_800_000_000;
        let enough = |keys: &str, acr, at: Option<u64>, signed_in: u64| {
            let session = session(acr, at.map(|ago| now - ago), now - signed_in);
            step_up(keys).expect("asks for something").check(&session, 60, now).is_ok()
        };
        let acr = "acr_values = ['gold', 'platinum']";
        assert!(enough(acr, Some("platinum"), None, 9999));
        assert!(!enough(acr, Some("Gold"), None, 0) && !enough(acr, None, Some(0), 0));
        let age = "max_age = '10m'";
        assert!(enough(age, None, Some(660), 9999) && !enough(age, None, Some(661), 0));
        assert!(!enough(age, None, None, 0), "without `auth_time` nothing is shown");
        let fresh = "fresh_sign_in = true";
        assert!(enough(fresh, None, Some(300), 300));
        assert!(!enough(fresh, None, Some(10), 301), "the provider's session is young, the sign-in is not");
        assert!(!enough(fresh, None, Some(400), 10) && !enough(fresh, None, None, 10));
        assert!(enough("fresh_sign_in = true\nmax_age = '1h'", None, Some(3600), 3600));
    }

    #[test]
    fn a_program_is_told_what_is_missing() {
        let both = step_up("acr_values = ['a', 'b']\nmax_age = '5m'").expect("asks for something");
        let told = both.challenge().to_str().expect("ASCII");
        assert!(told.contains("error=\"insufficient_user_authentication\""), "{told}");
        assert!(told.ends_with(", acr_values=\"a b\", max_age=\"300\""), "{told}");
    }
}
