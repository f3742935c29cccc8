//! One record as one line, as JSON or as text for people, written by hand into a buffer that is used again.
//!
//! Promise: whatever a client, a provider or an app chose, one record stays one line and one value stays one value.
//! Control characters, the marks that turn the direction of text, and line separators are escaped; long values are cut.

use std::cell::{Cell, RefCell};
use std::fmt::Display;
use std::io::Write;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::writer;
use crate::config::model::LogFormat;
use crate::digits::{push_address, push_number};

/// Longest value, in bytes; the rest is replaced by an ellipsis.
const LONGEST: usize = 2048;

/// A line in the making. In text the positional values come first and the others as `key=value`.
pub(super) struct Line<'a> {
    out: &'a mut Vec<u8>,
    format: LogFormat,
}

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    /// The last second seen and how it is written: most lines of a thread share it with the one before.
    static SECOND: Cell<(u64, [u8; 20])> = const { Cell::new((u64::MAX, [0; 20])) };
}

/// Whether every line says that only the way in is open.
static RESTORE_MODE: AtomicBool = AtomicBool::new(false);

/// From now on every line of every log says that only the way in is open, or no longer.
pub fn say_restore_mode(open: bool) {
    RESTORE_MODE.store(open, Ordering::Relaxed);
}

/// Makes a line and hands it to the writer.
pub(super) fn write(format: LogFormat, kind: &str, now: SystemTime, fill: impl FnOnce(&mut Line)) {
    let fill = |line: &mut Line<'_>| {
        fill(line);
        if RESTORE_MODE.load(Ordering::Relaxed) {
            line.text("mode", "restore");
        }
    };
    BUFFER.with(|buffer| match buffer.try_borrow_mut() {
        Ok(mut buffer) => {
            buffer.clear();
            compose(&mut buffer, format, kind, now, fill);
            writer::write(&buffer);
        }
        // A value that logs while it is being logged.
        Err(_) => {
            let mut buffer = Vec::new();
            compose(&mut buffer, format, kind, now, fill);
            writer::write(&buffer);
        }
    });
}

/// The line with its newline, appended to `out`.
pub(super) fn compose(
    out: &mut Vec<u8>,
    format: LogFormat,
    kind: &str,
    now: SystemTime,
    fill: impl FnOnce(&mut Line<'_>),
) {
    match format {
        LogFormat::Json => {
            out.extend_from_slice(b"{\"time\":\"");
            time(out, now);
            out.extend_from_slice(b"\",\"kind\":\"");
            out.extend_from_slice(kind.as_bytes());
            out.push(b'"');
        }
        LogFormat::Text => {
            time(out, now);
            out.push(b' ');
            out.extend_from_slice(kind.as_bytes());
        }
    }
    let mut line = Line { out, format };
    fill(&mut line);
    out.extend_from_slice(match format {
        LogFormat::Json => b"}\n",
        LogFormat::Text => b"\n",
    });
}

/// The name of a value.
pub(super) trait Key {
    /// Appends the name with what stands around it.
    fn push(&self, out: &mut Vec<u8>, format: LogFormat);
}

impl Key for &str {
    fn push(&self, out: &mut Vec<u8>, format: LogFormat) {
        let around: [&[u8]; 2] = match format {
            LogFormat::Json => [b",\"", b"\":"],
            LogFormat::Text => [b" ", b"="],
        };
        for part in [around[0], self.as_bytes(), around[1]] {
            out.extend_from_slice(part);
        }
    }
}

/// A name that is known when the gateway is built, with what stands around it: one copy of known length.
#[derive(Clone, Copy)]
pub(super) struct Known {
    pub json: &'static str,
    pub text: &'static str,
}

impl Key for Known {
    #[inline(always)]
    fn push(&self, out: &mut Vec<u8>, format: LogFormat) {
        match format {
            LogFormat::Json => out.extend_from_slice(self.json.as_bytes()),
            LogFormat::Text => out.extend_from_slice(self.text.as_bytes()),
        }
    }
}

/// The [`Known`] name of a value.
macro_rules! key {
    ($name:literal) => {
        $crate::telemetry::line::Known { json: concat!(",\"", $name, "\":"), text: concat!(" ", $name, "=") }
    };
}
pub(super) use key;

impl Line<'_> {
    #[inline(always)]
    fn key(&mut self, key: impl Key) {
        key.push(self.out, self.format);
    }

    fn value(&mut self, text: &str) {
        let bare = |byte: u8| IS_BARE[usize::from(byte)];
        if !text.is_empty() && text.len() <= LONGEST && text.bytes().all(bare) {
            self.bare(text.as_bytes());
        } else {
            quoted(self.out, text);
        }
    }

    /// What needs no quotes in text format, and no escapes in JSON.
    fn bare(&mut self, text: &[u8]) {
        match self.format {
            LogFormat::Json => {
                self.out.push(b'"');
                self.out.extend_from_slice(text);
                self.out.push(b'"');
            }
            LogFormat::Text => self.out.extend_from_slice(text),
        }
    }

    /// A text.
    #[inline(always)]
    pub(super) fn text(&mut self, key: impl Key, text: &str) {
        self.key(key);
        self.value(text);
    }

    /// A text of the gateway's own, without space, quote or backslash, which need not be looked for.
    #[inline(always)]
    pub(super) fn word(&mut self, key: impl Key, text: &[u8]) {
        debug_assert!(!text.is_empty() && text.iter().copied().all(is_bare), "{text:?}");
        self.key(key);
        self.bare(text);
    }

    /// [`Line::word`] without a key in text format.
    #[inline(always)]
    pub(super) fn word_place(&mut self, key: impl Key, text: &[u8]) {
        match self.format {
            LogFormat::Json => self.word(key, text),
            LogFormat::Text => {
                self.out.push(b' ');
                self.bare(text);
            }
        }
    }

    /// A text where there is one.
    #[inline(always)]
    pub(super) fn maybe(&mut self, key: impl Key, text: Option<&str>) {
        if let Some(text) = text.filter(|text| !text.is_empty()) {
            self.text(key, text);
        }
    }

    /// A text which in text format needs no key, because its place tells what it is.
    #[inline(always)]
    pub(super) fn place(&mut self, key: impl Key, text: &str) {
        match self.format {
            LogFormat::Json => self.text(key, text),
            LogFormat::Text => {
                self.out.push(b' ');
                self.value(text);
            }
        }
    }

    /// The gateway's own sentence: in text format without quotes, which would only be noise. Still escaped.
    pub(super) fn sentence(&mut self, key: impl Key, text: &str) {
        match self.format {
            LogFormat::Json => self.text(key, text),
            LogFormat::Text => {
                self.out.push(b' ');
                escaped(self.out, text);
            }
        }
    }

    /// A number or boolean: what `value` displays must be one in JSON.
    pub(super) fn number(&mut self, key: impl Key, value: impl Display) {
        self.key(key);
        // Writing into memory cannot fail.
        let _ = write!(self.out, "{value}");
    }

    /// A count.
    #[inline(always)]
    pub(super) fn count(&mut self, key: impl Key, count: u64) {
        self.key(key);
        push_number(self.out, count);
    }

    /// A number without a key in text format.
    #[inline(always)]
    pub(super) fn count_place(&mut self, key: impl Key, count: u64) {
        match self.format {
            LogFormat::Json => self.key(key),
            LogFormat::Text => self.out.push(b' '),
        }
        push_number(self.out, count);
    }

    /// A duration, as milliseconds with three decimals.
    #[inline(always)]
    pub(super) fn milliseconds(&mut self, key: impl Key, took: Duration) {
        self.key(key);
        push_number(self.out, took.as_secs() * 1000 + u64::from(took.subsec_millis()));
        let decimals = took.subsec_micros() % 1000;
        self.out.extend_from_slice(&[b'.', digit(decimals / 100), digit(decimals / 10), digit(decimals)]);
    }

    /// An address, which has no character to escape.
    pub(super) fn address(&mut self, key: impl Key, address: IpAddr) {
        self.key(key);
        let quote: &[u8] = if self.format == LogFormat::Json { b"\"" } else { b"" };
        self.out.extend_from_slice(quote);
        push_address(self.out, address);
        self.out.extend_from_slice(quote);
    }

    /// Bytes a client sent; what is not UTF-8 becomes U+FFFD.
    pub(super) fn bytes(&mut self, key: impl Key, bytes: &[u8]) {
        match std::str::from_utf8(bytes) {
            Ok(text) => self.text(key, text),
            Err(_) => self.text(key, &String::from_utf8_lossy(&bytes[..bytes.len().min(LONGEST)])),
        }
    }
}

/// What stands in text format without quotes.
const fn is_bare(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\')
}

/// [`is_bare`] for every byte.
const IS_BARE: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = is_bare(byte as u8);
        byte += 1;
    }
    table
};

fn quoted(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    if text.len() <= LONGEST {
        escaped(out, text);
    } else {
        let cut = (0..=LONGEST).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        escaped(out, &text[..cut]);
        out.extend_from_slice("…".as_bytes());
    }
    out.push(b'"');
}

/// JSON's escapes (RFC 8259 §7), also in text: one rule to read. Runs that need none are copied whole.
fn escaped(out: &mut Vec<u8>, text: &str) {
    // So is nearly every text, and every browser's User-Agent.
    if text.bytes().all(|byte| byte == b' ' || IS_BARE[usize::from(byte)]) {
        out.extend_from_slice(text.as_bytes());
        return;
    }
    let mut done = 0;
    for (at, character) in text.char_indices() {
        let plain = match character {
            ' '..='~' => character != '"' && character != '\\',
            _ => !is_hidden(character),
        };
        if plain {
            continue;
        }
        out.extend_from_slice(&text.as_bytes()[done..at]);
        done = at + character.len_utf8();
        match character {
            '"' => out.extend_from_slice(b"\\\""),
            '\\' => out.extend_from_slice(b"\\\\"),
            '\n' => out.extend_from_slice(b"\\n"),
            '\r' => out.extend_from_slice(b"\\r"),
            '\t' => out.extend_from_slice(b"\\t"),
            other => {
                let mut units = [0; 2];
                for unit in other.encode_utf16(&mut units) {
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
        }
    }
    out.extend_from_slice(&text.as_bytes()[done..]);
}

/// Characters that a terminal or a log viewer obeys instead of showing: controls (C0, DEL, C1), line and paragraph
/// separators, zero-width and direction marks, tags.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// RFC 3339 in UTC with milliseconds: `2026-11-22T03:08:21.123Z`.
fn time(out: &mut Vec<u8>, now: SystemTime) {
    // A clock before 1970 is shown as 1970.
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (cached, mut text) = SECOND.get();
    if cached != since.as_secs() {
        text = second(since.as_secs());
        SECOND.set((since.as_secs(), text));
    }
    out.extend_from_slice(&text);
    let ms = since.subsec_millis();
    out.extend_from_slice(&[digit(ms / 100), digit(ms / 10), digit(ms), b'Z']);
}

fn digit(number: u32) -> u8 {
    b'0' + (number % 10) as u8
}

/// Seconds since 1970 as RFC 3339 writes them: `2026-11-22T03:08:21Z`.
pub fn rfc3339(seconds: u64) -> String {
    let mut text = String::from_utf8_lossy(&second(seconds)).into_owned();
    text.pop();
    text.push('Z');
    text
}

/// `2026-11-22T03:08:21.`: the civil date from the day number by Howard Hinnant's algorithm, years 1970 to 9999.
fn second(seconds: u64) -> [u8; 20] {
    let (days, rest) = (seconds / 86_400, (seconds % 86_400) as u32);
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = (day_of_year - (153 * shifted + 2) / 5 + 1) as u32;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 } as u32;
    let year = (year_of_era + era * 400 + u64::from(month <= 2)) as u32;
    let (h, m, s) = (rest / 3600, rest / 60 % 60, rest % 60);
    let d = digit;
    [
        d(year / 1000),
        d(year / 100),
        d(year / 10),
        d(year),
        b'-',
        d(month / 10),
        d(month),
        b'-',
        d(day / 10),
        d(day),
        b'T',
        d(h / 10),
        d(h),
        b':',
        d(m / 10),
        d(m),
        b':',
        d(s / 10),
        d(s),
        b'.',
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(format: LogFormat, fill: impl FnOnce(&mut Line<'_>)) -> String {
        let mut out = Vec::new();
        compose(&mut out, format, "test", UNIX_EPOCH + Duration::from_millis(1_795_316_901_007), fill);
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn numbers_written_by_hand_read_like_those_of_the_library() {
        for address in ["0.0.0.0", "127.0.0.1", "10.200.3.99", "255.255.255.255", "::1", "2001:db8::7"] {
            let address: IpAddr = address.parse().expect("an address");
            assert!(line(LogFormat::Json, |l| l.address("a", address)).contains(&format!("\"a\":\"{address}\"")));
        }
        for micros in [0, 7, 999, 1000, 1001, 10_050, 999_999, 1_000_000, 86_400_000_000] {
            let expected = format!("a={}.{:03}", micros / 1000, micros % 1000);
            let text = line(LogFormat::Text, |l| l.milliseconds("a", Duration::from_micros(micros)));
            assert!(text.trim_end().ends_with(&format!(" {expected}")), "{text} {expected}");
        }
    }

    #[test]
    fn times_are_rfc_3339() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00."),
            (951_782_400, "2000-02-29T00:00:00."),
            (1_795_316_901, "2026-11-22T03:08:21."),
            (4_107_542_399, "2100-02-28T23:59:59."),
            (4_107_542_400, "2100-03-01T00:00:00."),
        ] {
            assert_eq!(std::str::from_utf8(&second(seconds)), Ok(text));
        }
        assert!(line(LogFormat::Text, |_| ()).starts_with("2026-11-22T03:08:21.007Z test\n"));
    }

    #[test]
    fn one_record_stays_one_line_and_one_value_stays_one_value() {
        let evil = "a\" b=c\r\n2026 \u{1b}[31m \u{9b} \u{2028} \u{202e} \\ \u{0} é 𝄞 \u{e0041}";
        for format in [LogFormat::Text, LogFormat::Json] {
            let line = line(format, |line| {
                line.place("first", evil);
                line.sentence("said", evil);
                line.bytes("agent", b"x\xff\ny");
            });
            assert_eq!(line.matches('\n').count(), 1, "{line}");
            assert!(line.ends_with('\n') && !line.chars().any(|c| c != '\n' && is_hidden(c)), "{line:?}");
            if format == LogFormat::Json {
                let value: serde_json::Value = serde_json::from_str(&line).expect("JSON");
                assert_eq!(value["first"], evil);
                assert_eq!(value["agent"], "x\u{fffd}\ny");
            } else {
                assert!(line.contains(r#""a\" b=c\r\n2026 \u001b[31m"#), "{line}");
            }
        }
    }

    #[test]
    fn a_long_value_is_cut_at_a_character() {
        let line = line(LogFormat::Json, |line| line.text("path", &"é".repeat(5000)));
        let value: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        let path = value["path"].as_str().expect("text");
        assert!(path.len() <= LONGEST + 3 && path.ends_with("é…"), "{}", path.len());
    }

    #[test]
    fn plain_values_in_text_need_no_quotes() {
        let line = line(LogFormat::Text, |line| {
            line.place("path", "/a?b=c");
            line.text("user", "jo");
            line.text("name", "Jo Doe");
            line.text("none", "");
            line.maybe("left_out", Some(""));
            line.milliseconds("took_ms", Duration::from_micros(12_034));
        });
        assert!(line.ends_with(" test /a?b=c user=jo name=\"Jo Doe\" none=\"\" took_ms=12.034\n"), "{line}");
    }
}
