//! How far the clocks of two machines are apart, by the `Date` of an answer (RFC 9110 §6.6.1).

use std::time::{Duration, SystemTime};

use http::header::{AGE, DATE};
use openidconnect::HttpResponse;

use super::{Finding, Report, Weight};
use crate::reason::Reason;

/// Below this nobody needs to know.
const WORTH_TELLING: u64 = 30;

/// Seconds by which the other clock is before (negative) or ahead of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Skew(i64);

/// What `answer`, asked for and answered at these times of ours, says of its clock; `None` where it says nothing. The time
/// that the answer took, and the second that a `Date` is whole, count for neither.
pub(super) fn skew(answer: &HttpResponse, asked_at: SystemTime, answered_at: SystemTime) -> Option<Skew> {
    let text = |name| answer.headers().get(name).and_then(|value: &http::HeaderValue| value.to_str().ok());
    let date = httpdate::parse_http_date(text(DATE)?).ok()?;
    // What a cache kept was written earlier (RFC 9111 §5.1).
    let age = text(AGE).and_then(|age| age.trim().parse().ok()).unwrap_or(0_u32);
    let date = date.checked_add(Duration::from_secs(age.into()))?;
    let seconds = |later: SystemTime, earlier: SystemTime| {
        let apart = later.duration_since(earlier).ok()?;
        i64::try_from(apart.as_secs()).ok()
    };
    let whole = date.checked_add(Duration::from_secs(1))?;
    let ahead = seconds(date, answered_at).unwrap_or(0);
    let behind = seconds(asked_at, whole).unwrap_or(0);
    Some(Skew(if ahead > 0 { ahead } else { -behind }))
}

/// Judges what several answers of one provider said: the smallest counts, for an answer from a cache may be old.
pub(super) fn judge(
    skews: impl IntoIterator<Item = Option<Skew>>,
    (reason, place, leeway): (Reason, &str, Duration),
    report: &mut Report,
) {
    let Some(Skew(seconds)) = skews.into_iter().flatten().min_by_key(|skew| skew.0.unsigned_abs()) else {
        return report.skipped(place, "clock", "no answer had a `Date`");
    };
    let apart = seconds.unsigned_abs();
    if apart < WORTH_TELLING {
        return report.good(place, "clock", "goes with the gateway's");
    }
    let (weight, beside) = match apart > leeway.as_secs() {
        true => (Weight::Broken, "more than"),
        false => (Weight::Warning, "within"),
    };
    let direction = if seconds > 0 { "ahead of" } else { "behind" };
    let seen =
        format!("its clock is {apart} s {direction} the gateway's, {beside} the {} s of `leeway`", leeway.as_secs());
    let change = "set the clocks of both machines by NTP; the gateway's says ";
    let change = format!("{change}{}", httpdate::fmt_http_date(SystemTime::now()));
    report.found(Finding::new(weight, reason, place, seen).at("clock").change(change));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(headers: &[(&'static str, String)], took: i64) -> Option<Skew> {
        let mut answer = HttpResponse::new(Vec::new());
        for (name, value) in headers {
            answer.headers_mut().insert(*name, value.parse().expect("a value"));
        }
        skew(&answer, at(0), at(took))
    }

    fn at(seconds: i64) -> SystemTime {
        let (base, apart) = (Duration::from_secs(1_700_000_000), Duration::from_secs(seconds.unsigned_abs()));
        SystemTime::UNIX_EPOCH + if seconds < 0 { base - apart } else { base + apart }
    }

    fn date(seconds: i64) -> (&'static str, String) {
        ("date", httpdate::fmt_http_date(at(seconds)))
    }

    #[test]
    fn a_clock_is_apart_by_what_neither_the_way_nor_a_whole_second_explains() {
        assert_eq!(said(&[date(0)], 0), Some(Skew(0)));
        assert_eq!(said(&[date(7)], 9), Some(Skew(0)));
        assert_eq!(said(&[date(100)], 10), Some(Skew(90)));
        assert_eq!(said(&[date(-100)], 10), Some(Skew(-99)));
        assert_eq!(said(&[date(-100), ("age", "99".into())], 1), Some(Skew(0)));
        assert_eq!(said(&[], 0), None);
        assert_eq!(said(&[("date", "yesterday".into())], 0), None);
    }

    #[test]
    fn clocks_apart_weigh_by_the_leeway_and_the_nearest_answer_counts() {
        let judged = |skews: &[i64]| {
            let mut report = Report::default();
            let about = (Reason::IdTokenExpired, "provider main", Duration::from_secs(60));
            judge(skews.iter().map(|seconds| Some(Skew(*seconds))), about, &mut report);
            report
        };
        assert_eq!(judged(&[29]).worst(), None);
        assert_eq!(judged(&[-30]).worst(), Some(Weight::Warning));
        assert_eq!(judged(&[90]).worst(), Some(Weight::Broken));
        assert_eq!(judged(&[-900, 2]).worst(), None);
        let found = judged(&[90]).findings.remove(0);
        assert_eq!((found.step, found.reason.code()), ("clock", "DW-3307"));
        assert_eq!(found.seen, "its clock is 90 s ahead of the gateway's, more than the 60 s of `leeway`");
        assert_eq!(judged(&[]).skipped.len(), 1);
    }
}
