//! Moments as the keys file writes them: TOML's date and time with offset (RFC 3339), in whole seconds.

use std::time::SystemTime;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use toml::value::{Datetime, Offset};

use crate::clock::unix_seconds;
use crate::telemetry::rfc3339;

/// Seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub u64);

impl Moment {
    pub fn now() -> Moment {
        Moment(unix_seconds(SystemTime::now()))
    }
}

impl std::fmt::Display for Moment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&rfc3339(self.0))
    }
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // What `rfc3339` writes can be read.
        let moment: Datetime = rfc3339(self.0).parse().map_err(serde::ser::Error::custom)?;
        moment.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let moment = Datetime::deserialize(deserializer)?;
        seconds(&moment).map(Moment).ok_or_else(|| {
            D::Error::custom("must be a date and time with offset from 1970 on, as in 2026-11-22T00:00:00Z")
        })
    }
}

fn seconds(moment: &Datetime) -> Option<u64> {
    let (date, time) = (moment.date?, moment.time?);
    let offset = match moment.offset? {
        Offset::Z => 0,
        Offset::Custom { minutes } => i64::from(minutes) * 60,
    };
    let clock = i64::from(time.hour) * 3600 + i64::from(time.minute) * 60 + i64::from(time.second.unwrap_or(0));
    u64::try_from(day_number(date.year.into(), date.month.into(), date.day.into()) * 86_400 + clock - offset).ok()
}

/// Days since 1970 by Howard Hinnant's algorithm.
fn day_number(year: i64, month: i64, day: i64) -> i64 {
    // Years begin in March, so that the leap day is the last.
    let year = year - i64::from(month <= 2);
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct File {
        at: Moment,
    }

    #[test]
    fn a_moment_is_written_and_read_as_toml_has_it() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_827_696, "2000-02-29T12:34:56Z"),
            (1_709_164_800, "2024-02-29T00:00:00Z"),
            (1_795_316_901, "2026-11-22T03:08:21Z"),
            (4_102_444_800, "2100-01-01T00:00:00Z"),
        ] {
            let written = toml::to_string(&File { at: Moment(seconds) }).expect("TOML");
            assert_eq!(written, format!("at = {text}\n"));
            assert_eq!(toml::from_str(&written), Ok(File { at: Moment(seconds) }));
        }
        for day in 0..60_000 {
            let text = Moment(day * 86_400 + 1).to_string();
            assert_eq!(text.parse().ok().and_then(|moment| seconds(&moment)), Some(day * 86_400 + 1), "{text}");
        }
        let read = |text: &str| toml::from_str::<File>(text).map(|file| file.at.0);
        assert_eq!(read("at = 2026-11-22T04:08:21+01:00"), Ok(1_795_316_901));
        assert_eq!(read("at = 2026-11-22 03:08:21.5Z"), Ok(1_795_316_901));
        for wrong in
            ["at = 2026-11-22", "at = 2026-11-22T03:08:21", "at = 03:08:21", "at = 1969-12-31T00:00:00Z", "at = 7"]
        {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
