//! Times and counts as people read them.

use std::time::{Duration, SystemTime};

use crate::clock::unix_seconds;
use crate::telemetry::rfc3339;

/// `2026-11-22 12:34:56`.
pub(super) fn stamp(at: SystemTime) -> String {
    let text = rfc3339(unix_seconds(at));
    text.get(..19).map(|text| text.replace('T', " ")).unwrap_or(text)
}

/// `3 s`, `4 min`, `2 h 5 min`, `3 d 4 h`.
pub(super) fn span(length: Duration) -> String {
    let seconds = length.as_secs();
    let two = |big: u64, unit: &str, small: u64, small_unit: &str| match small {
        0 => format!("{big} {unit}"),
        _ => format!("{big} {unit} {small} {small_unit}"),
    };
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..86_400 => two(seconds / 3600, "h", seconds % 3600 / 60, "min"),
        _ => two(seconds / 86_400, "d", seconds % 86_400 / 3600, "h"),
    }
}

/// `4 min ago`, `just now`; `in 9 min` for what is to come.
pub(super) fn ago(at: SystemTime, now: SystemTime) -> String {
    match now.duration_since(at) {
        Ok(since) if since.as_secs() == 0 => "just now".into(),
        Ok(since) => format!("{} ago", span(since)),
        Err(ahead) => format!("in {}", span(ahead.duration())),
    }
}

/// With narrow spaces between the thousands.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + 4);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push('\u{202f}');
        }
        out.push(digit);
    }
    out
}

/// `1 request`, `1 200 requests`.
pub(super) fn counted(number: u64, one: &str, more: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { more })
}

/// A short time: `41 µs`, `1.2 ms`, `3.4 s`.
pub(super) fn brief(seconds: f64) -> String {
    let with = |value: f64, unit: &str| match value {
        value if value < 10.0 => format!("{value:.1} {unit}"),
        value => format!("{value:.0} {unit}"),
    };
    match seconds {
        seconds if seconds < 1e-3 => with(seconds * 1e6, "µs"),
        seconds if seconds < 1.0 => with(seconds * 1e3, "ms"),
        seconds => with(seconds, "s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_counts_read_as_people_write_them() {
        for (seconds, text) in
            [(0, "0 s"), (59, "59 s"), (61, "1 min"), (3600, "1 h"), (7500, "2 h 5 min"), (270_000, "3 d 3 h")]
        {
            assert_eq!(span(Duration::from_secs(seconds)), text);
        }
        assert_eq!(count(999), "999");
        assert_eq!(count(1_234_567), "1\u{202f}234\u{202f}567");
        assert_eq!([brief(4.1e-5), brief(0.0012), brief(12.0)], ["41 µs", "1.2 ms", "12 s"]);
        assert_eq!(stamp(SystemTime::UNIX_EPOCH), "1970-01-01 00:00:00");
    }
}
