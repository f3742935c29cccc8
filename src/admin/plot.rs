//! Small plots of the last hour: bars or a line, with its last value and its story in words.

use super::samples::{Hour, MINUTES};
use super::words::{brief, count, counted};
use crate::telemetry::Totals;

/// Width of the picture in its own units, and its height.
const WIDTH: usize = 600;
const HEIGHT: f64 = 100.0;

/// One plot, ready to be drawn.
#[derive(Debug, Default)]
pub(super) struct Plot {
    pub title: &'static str,
    /// The figure that is shown large.
    pub figure: String,
    pub unit: &'static str,
    /// What the upper border stands for.
    pub top: String,
    pub bars: Vec<Bar>,
    /// Path of the line; empty where there is none.
    pub line: String,
    /// What the colours of the bars stand for: class and words.
    pub keys: &'static [(&'static str, &'static str)],
    /// What else there is to say.
    pub sum: String,
    /// The plot in words, for whoever cannot see it.
    pub words: String,
}

#[derive(Debug)]
pub(super) struct Bar {
    pub class: &'static str,
    pub x: usize,
    pub y: String,
    pub height: String,
}

/// A share of each minute.
type Part<'p> = (&'static str, &'p dyn Fn(&Totals) -> u64);

/// What was counted in each minute, in parts that stand on each other.
pub(super) fn counts(title: &'static str, unit: &'static str, hour: &Hour, parts: &[Part<'_>]) -> Plot {
    let all = |minute: &Totals| parts.iter().map(|(_, part)| part(minute)).sum::<u64>();
    let most = hour.minutes.iter().map(all).max().unwrap_or_default();
    let scale = HEIGHT / most.max(1) as f64;
    let mut bars = Vec::new();
    for (index, minute) in hour.minutes.iter().enumerate() {
        let x = index * WIDTH / MINUTES + 1;
        let mut below = 0;
        for (class, part) in parts {
            let number = part(minute);
            if number > 0 {
                let height = number as f64 * scale;
                let y = HEIGHT - below as f64 * scale - height;
                bars.push(Bar { class, x, y: format!("{y:.1}"), height: format!("{height:.1}") });
            }
            below += number;
        }
    }
    unseen(hour, &mut bars);
    let total = all(&hour.whole);
    let last = hour.minutes.iter().rev().nth(1).map(all).unwrap_or_default();
    Plot {
        title,
        figure: count(total),
        unit,
        top: most.to_string(),
        bars,
        words: format!(
            "{title} in each minute of the last hour: {} in all, at most {} in a minute, {} in the last whole minute.",
            count(total),
            count(most),
            count(last)
        ),
        ..Plot::default()
    }
}

/// A mean of each minute that has one; `None` breaks the line.
pub(super) fn means(
    title: &'static str,
    hour: &Hour,
    mean: impl Fn(&Totals) -> Option<f64>,
    said: impl Fn(f64) -> String,
) -> Plot {
    let values: Vec<_> = hour.minutes.iter().map(&mean).collect();
    let most = values.iter().flatten().copied().fold(0.0, f64::max);
    let scale = if most > 0.0 { HEIGHT / most } else { 0.0 };
    let (mut line, mut drawing) = (String::new(), false);
    for (index, value) in values.iter().enumerate() {
        let Some(value) = value else {
            drawing = false;
            continue;
        };
        let (x, y) = (index * WIDTH / MINUTES + 5, HEIGHT - value * scale);
        // A lone point is a dot: a line of no length with round ends.
        let step = if drawing { format!("L{x} {y:.1}") } else { format!("M{x} {y:.1}h4") };
        line.push_str(&step);
        drawing = true;
    }
    let mut bars = Vec::new();
    unseen(hour, &mut bars);
    let last = values.iter().rev().flatten().next();
    let words = match (last, mean(&hour.whole)) {
        (Some(last), Some(whole)) => format!(
            "{title} in each minute of the last hour: {} at last, {} on average, {} at most.",
            said(*last),
            said(whole),
            said(most)
        ),
        _ => format!("{title}: nothing in the last hour."),
    };
    Plot {
        title,
        figure: mean(&hour.whole).map_or_else(|| "–".to_owned(), &said),
        top: if most > 0.0 { said(most) } else { String::new() },
        bars,
        line,
        words,
        ..Plot::default()
    }
}

/// The part of the hour before the gateway started.
fn unseen(hour: &Hour, bars: &mut Vec<Bar>) {
    let before = MINUTES - hour.seen.clamp(1, MINUTES);
    let off = (0..before).map(|index| {
        let x = index * WIDTH / MINUTES + 1;
        Bar { class: "off", x, y: "94".into(), height: "6".into() }
    });
    bars.extend(off);
}

/// The plots of the first page.
pub(super) fn all(hour: &Hour) -> Vec<Plot> {
    let whole = &hour.whole;
    let mut requests = counts(
        "Requests",
        "in the last hour",
        hour,
        &[("a", &|minute| minute.passed + minute.own), ("b", &|minute| minute.refused)],
    );
    requests.keys = &[("a", "answered"), ("b", "refused or failed")];
    requests.sum = format!(
        "{} answered by apps, {} by the gateway itself, {} refused or failed",
        count(whole.passed),
        count(whole.own),
        count(whole.refused)
    );
    let mut sign_ins = counts(
        "Sign-ins",
        "in the last hour",
        hour,
        &[("a", &|minute| minute.signed_in), ("b", &|minute| minute.not_signed_in)],
    );
    sign_ins.keys = &[("a", "done"), ("b", "not done")];
    sign_ins.figure = count(whole.signed_in);
    sign_ins.sum = counted(whole.not_signed_in, "did not come to its end", "did not come to their end");
    let mut deciding = means("Deciding who asks", hour, |m| mean(m.deciding, m.decided), brief);
    deciding.unit = "on average";
    deciding.sum = counted(whole.decided, "decision", "decisions");
    let mut verifying = means("Judging a token", hour, |m| mean(m.verifying, m.verified), brief);
    verifying.unit = "on average";
    verifying.sum = counted(whole.verified, "token", "tokens");
    let share = |m: &Totals| mean(m.cache_hits as f64 * 100.0, m.cache_hits + m.cache_misses);
    let mut cache = means("Tokens found in the cache", hour, share, |percent| format!("{percent:.0} %"));
    cache.unit = "of those looked up";
    cache.sum = format!("{} found, {} not", count(whole.cache_hits), count(whole.cache_misses));
    let between = |m: &Totals| m.by_upstream.iter().map(|(_, count)| *count).sum();
    let apps = counts("Failures between gateway and app", "in the last hour", hour, &[("b", &between)]);
    vec![requests, sign_ins, apps, deciding, verifying, cache]
}

fn mean(sum: f64, number: u64) -> Option<f64> {
    (number > 0).then(|| sum / number as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hour(last: Totals) -> Hour {
        let mut minutes = vec![Totals::default(); MINUTES];
        minutes[58] = last.clone();
        Hour { minutes, whole: last, seen: 2 }
    }

    #[test]
    fn parts_stand_on_each_other_and_fill_the_plot() {
        let hour = hour(Totals { passed: 30, refused: 10, ..Totals::default() });
        let plot = counts("Requests", "", &hour, &[("a", &|m| m.passed), ("b", &|m| m.refused)]);
        let drawn: Vec<_> = plot
            .bars
            .iter()
            .filter(|bar| bar.class != "off")
            .map(|bar| (bar.y.as_str(), bar.height.as_str()))
            .collect();
        assert_eq!(drawn, [("25.0", "75.0"), ("0.0", "25.0")]);
        assert_eq!(plot.bars.iter().filter(|bar| bar.class == "off").count(), 58);
        assert!(
            plot.words.contains("40 in all, at most 40 in a minute, 40 in the last whole minute"),
            "{}",
            plot.words
        );
    }

    #[test]
    fn one_sign_in_is_counted_as_one() {
        let sum = |not_signed_in| {
            let hour = hour(Totals { not_signed_in, ..Totals::default() });
            let plots = all(&hour);
            plots.into_iter().find(|plot| plot.title == "Sign-ins").map(|plot| plot.sum)
        };
        assert_eq!(sum(1).as_deref(), Some("1 did not come to its end"));
        assert_eq!(sum(2).as_deref(), Some("2 did not come to their end"));
    }

    #[test]
    fn a_minute_without_tokens_has_no_mean() {
        let hour = hour(Totals { verified: 4, verifying: 8e-5, ..Totals::default() });
        let plot = means("Tokens", &hour, |m| mean(m.verifying, m.verified), brief);
        assert_eq!((plot.figure.as_str(), plot.line.matches('M').count()), ("20 µs", 1));
        let nothing = means("Tokens", &self::hour(Totals::default()), |m| mean(m.verifying, m.verified), brief);
        assert_eq!((nothing.figure.as_str(), nothing.line.as_str()), ("–", ""));
        assert!(nothing.words.ends_with("nothing in the last hour."));
    }
}
