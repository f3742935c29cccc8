//! People: from the session cookie to a verdict.

use http::HeaderMap;

use crate::config::model;
use crate::keys::Keyring;
use crate::reason::{Failure, Reason};
use crate::session::Session;
use crate::session::cookies::{Cookies, Found};
use crate::session::ended::Ended;

/// What the request's credentials say.
#[derive(Debug)]
pub enum Verdict {
    /// There are none.
    Missing,
    /// There are some that do not hold.
    Rejected(Failure),
    /// Somebody with a session within its limits that nobody ended.
    Known(Box<Session>),
}

/// What judging a session needs to know of the configuration.
pub struct SessionRules<'a> {
    pub cookies: &'a Cookies,
    pub keys: &'a Keyring,
    pub limits: &'a model::Session,
    /// None where a session counts although it was ended, which is for signing out of it once more.
    pub ended: Option<&'a Ended>,
    /// Whether the use of one that was ended counts in the metrics.
    pub counted: bool,
    /// Whether only sessions of the way in count, which are sealed for this process alone.
    pub restore: bool,
}

impl SessionRules<'_> {
    /// Judges the session cookie in `headers` at `now` (seconds since 1970). `accepted` tells whether sessions of a
    /// provider count here.
    pub fn judge(&self, headers: &HeaderMap, now: u64, accepted: impl Fn(&str) -> bool) -> Verdict {
        match self.judge_cookie(headers, now, accepted) {
            // It may be as good as ever; there is no telling, and it does not matter now.
            Verdict::Rejected(failure) if self.restore => {
                Verdict::Rejected(Failure::new(Reason::RestoreOnly, format!("the session that came: {failure}")))
            }
            verdict => verdict,
        }
    }

    /// Every session that came in a cookie and would count alone, for ending them: where two come, neither signs in, and
    /// each is as good as ever to whoever has a copy.
    pub fn every(&self, headers: &HeaderMap, now: u64) -> Vec<Session> {
        self.cookies.every_session(headers).iter().filter_map(|sealed| self.open(sealed, now).ok()).collect()
    }

    fn judge_cookie(&self, headers: &HeaderMap, now: u64, accepted: impl Fn(&str) -> bool) -> Verdict {
        let sealed = match self.cookies.find_session(headers) {
            Found::Missing => return Verdict::Missing,
            Found::Broken(what) => {
                let detail = format!("{what}; {}", self.cookies.sizes(headers));
                return Verdict::Rejected(Failure::new(Reason::SessionUnreadable, detail));
            }
            Found::Whole(sealed) => sealed,
        };
        match self.open(&sealed, now) {
            Err(failure) => Verdict::Rejected(failure),
            Ok(session) if !accepted(&session.identity.provider) => {
                let detail = format!("the session is of provider `{}`", session.identity.provider);
                Verdict::Rejected(Failure::new(Reason::SessionProviderGone, detail))
            }
            Ok(session) => Verdict::Known(Box::new(session)),
        }
    }

    /// The session in `sealed`, within its limits and not ended.
    fn open(&self, sealed: &[u8], now: u64) -> Result<Session, Failure> {
        let session = Session::open(self.keys, self.cookies.sealed_for(), sealed)?;
        session.check(self.limits, now)?;
        match self
            .ended
            .and_then(|ended| if self.counted { ended.ended(&session, now) } else { ended.look_at(&session, now) })
        {
            None => Ok(session),
            Some(ending) => Err(Failure::new(Reason::SessionEnded, ending.detail())),
        }
    }
}
