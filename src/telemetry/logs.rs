//! The log of events: what the gateway says about itself, through `tracing`, in the format of the other two logs.
//!
//! Promise: no token, code, cookie or secret at any level. The gateway's own events never hold one; libraries do not
//! know what is secret, so theirs are let through from `warn` on only (pingora's from `error`, but for handshakes that
//! fail, which anybody can cause: at `debug`), and are cut where a query, or bytes of a request that could not be parsed, begin.

use std::fmt::{self, Write};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::SystemTime;

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_log::NormalizeEvent;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use super::line::{self, Line};
use crate::config::model::{Log, LogFormat, LogLevel};

/// Target of the gateway's own events: its modules.
const OWN: &str = "doorward";

/// What the configuration wants of the logs, readable from every thread without a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) format: LogFormat,
    pub(super) level: LogLevel,
    pub(super) access: bool,
    pub(super) audit: bool,
}

static SHAPE: AtomicU8 = AtomicU8::new(0b0010_1100);

impl Shape {
    fn pack(self) -> u8 {
        let level = match self.level {
            LogLevel::Error => 0,
            LogLevel::Warn => 1,
            LogLevel::Info => 2,
            LogLevel::Debug => 3,
        };
        u8::from(self.format == LogFormat::Json) | u8::from(self.access) << 2 | u8::from(self.audit) << 3 | level << 4
    }

    fn unpack(bits: u8) -> Self {
        Shape {
            format: if bits & 1 == 1 { LogFormat::Json } else { LogFormat::Text },
            access: bits & 4 != 0,
            audit: bits & 8 != 0,
            level: match bits >> 4 {
                0 => LogLevel::Error,
                1 => LogLevel::Warn,
                2 => LogLevel::Info,
                _ => LogLevel::Debug,
            },
        }
    }
}

pub(super) fn shape() -> Shape {
    Shape::unpack(SHAPE.load(Ordering::Relaxed))
}

/// Turns the logs on, in the form that is configured. Called again after a reload it changes the form.
pub fn init(settings: &Log) {
    let shape =
        Shape { format: settings.format, level: settings.level, access: settings.access, audit: settings.audit };
    SHAPE.store(shape.pack(), Ordering::Relaxed);
    // Both fail where they were set before, which is what a second call finds.
    let _ = tracing::subscriber::set_global_default(tracing_subscriber::registry().with(Lines));
    let _ = tracing_log::LogTracer::builder().with_max_level(log_level(LevelFilter::WARN)).init();
    tracing::callsite::rebuild_interest_cache();
}

fn log_level(filter: LevelFilter) -> tracing_log::log::LevelFilter {
    use tracing_log::AsLog;
    filter.as_log()
}

/// From which level on events of `target` are written.
fn limit(target: &str, level: LogLevel) -> LevelFilter {
    let own = match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
    };
    if target == OWN || target.starts_with("doorward::") {
        own
    } else if target.starts_with("rustls_platform_verifier") && level != LogLevel::Debug {
        // It tells of every certificate that is not accepted, and so does whoever asked.
        LevelFilter::OFF
    } else if target.starts_with("pingora") && level != LogLevel::Debug {
        // At `warn` pingora says of every client that went away what the access log says better.
        LevelFilter::ERROR
    } else {
        own.min(LevelFilter::WARN)
    }
}

/// Writes events as lines.
struct Lines;

impl<S: Subscriber> Layer<S> for Lines {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        metadata.is_event() && *metadata.level() <= limit(metadata.target(), shape().level)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(limit(OWN, shape().level))
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let normalized = event.normalized_metadata();
        let metadata = normalized.as_ref().unwrap_or_else(|| event.metadata());
        let target = metadata.target();
        let mut fields = Fields { foreign: !(target == OWN || target.starts_with("doorward::")), ..Fields::default() };
        event.record(&mut fields);
        let (shape, level) = (shape(), weight(*metadata.level(), target, &fields.message));
        if level <= limit(OWN, shape.level) {
            line::write(shape.format, "event", SystemTime::now(), |line| fill(line, level, target, &fields));
        }
    }
}

/// How much an event matters. That somebody speaks http to the TLS port, trusts another certificate or says nothing at all
/// is an error to pingora, and anybody can cause one with each connection.
fn weight(level: Level, target: &str, message: &str) -> Level {
    let of_a_client = ["Downstream handshake", "H2 handshake error"].iter().any(|mark| message.starts_with(mark));
    if of_a_client && target.starts_with("pingora_core") { Level::DEBUG } else { level }
}

fn fill(line: &mut Line<'_>, level: Level, target: &str, fields: &Fields) {
    line.place("level", level_word(level));
    if fields.foreign {
        line.text("target", target);
    }
    line.sentence("message", &fields.message);
    for (name, value) in &fields.others {
        match value {
            Value::Number(number) => line.number(*name, number),
            Value::Text(text) => line.text(*name, text),
        }
    }
}

fn level_word(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        Level::DEBUG => "debug",
        Level::TRACE => "trace",
    }
}

/// The fields of an event.
#[derive(Default)]
struct Fields {
    /// Of a library, which does not know what is secret.
    foreign: bool,
    message: String,
    others: Vec<(&'static str, Value)>,
}

enum Value {
    Number(String),
    Text(String),
}

impl Fields {
    fn text(&mut self, field: &Field, mut text: String) {
        if field.name().starts_with("log.") {
            return;
        }
        if self.foreign {
            cut(&mut text);
        }
        match field.name() {
            "message" => self.message = text,
            name => self.others.push((name, Value::Text(text))),
        }
    }

    fn number(&mut self, field: &Field, number: String) {
        if !field.name().starts_with("log.") {
            self.others.push((field.name(), Value::Number(number)));
        }
    }
}

/// Cuts a library's text where what a client sent could begin: pingora puts the bytes of a head that it cannot parse,
/// cookies and all, behind `context:` or `buf`, and the query of a request behind its path.
fn cut(text: &mut String) {
    let at =
        ["context:", "buf", "?", "ookie", "uthorization", "earer "].iter().filter_map(|mark| text.find(mark)).min();
    if let Some(at) = at {
        text.truncate(at);
        text.push('…');
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let mut text = String::new();
        // Writing into memory fails only where the value's own `Debug` does.
        let _ = write!(text, "{value:?}");
        self.text(field, text);
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field, value.to_owned());
    }
    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.text(field, value.to_string());
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.number(field, value.to_string());
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.number(field, value.to_string());
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.number(field, value.to_string());
    }
    // Infinities are no JSON numbers.
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.text(field, value.to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shape_survives_packing() {
        for bits in 0..64 {
            let shape = Shape::unpack(bits);
            assert_eq!(Shape::unpack(shape.pack()), shape);
        }
        assert_eq!(
            Shape::unpack(SHAPE.load(Ordering::Relaxed)),
            Shape { format: LogFormat::Text, level: LogLevel::Info, access: true, audit: true },
            "before `init`, what the configuration says by default"
        );
    }

    #[test]
    fn libraries_say_nothing_below_warn_at_any_level() {
        for level in [LogLevel::Error, LogLevel::Warn, LogLevel::Info, LogLevel::Debug] {
            for target in ["pingora_core::protocols", "hyper", "h2", "reqwest", "rustls", "openidconnect", "doorwardx"]
            {
                assert!(limit(target, level) <= LevelFilter::WARN, "{target}");
            }
        }
        assert_eq!(limit("pingora_proxy", LogLevel::Info), LevelFilter::ERROR);
        // What is wrong with a certificate stands in the gateway's own line.
        let verifier = "rustls_platform_verifier::verification::others";
        assert_eq!(limit(verifier, LogLevel::Info), LevelFilter::OFF);
        assert_eq!(limit(verifier, LogLevel::Debug), LevelFilter::WARN);
        assert_eq!(limit("doorward::gateway", LogLevel::Debug), LevelFilter::DEBUG);
    }

    #[test]
    fn what_any_client_can_have_the_library_say_is_no_error() {
        for (target, message, level) in [
            ("pingora_core::services::listening", "Downstream handshake error from 192.0.2.1:5: TLS", Level::DEBUG),
            ("pingora_core::services::listening", "Downstream handshake timeout", Level::DEBUG),
            ("pingora_core::apps", "H2 handshake error Http2", Level::DEBUG),
            // What is trouble of the gateway's own stays.
            ("pingora_core::services::listening", "Accept() failed too many open files", Level::ERROR),
            ("doorward::server", "Downstream handshake error", Level::ERROR),
        ] {
            assert_eq!(weight(Level::ERROR, target, message), level, "{target} {message}");
        }
    }

    #[test]
    fn what_a_client_sent_is_cut_from_a_librarys_text() {
        for text in [
            "Fail to proxy: InvalidHTTPHeader context: buf: GET / HTTP/1.1\\r\\nCookie: SECRET",
            "Fail to proxy: ConnectionClosed, GET /oidc/callback?code=SECRET&state=SECRET, Host: a",
            "header cookie: SECRET",
            "Authorization: Bearer SECRET",
        ] {
            let mut text = text.to_owned();
            cut(&mut text);
            assert!(!text.contains("SECRET"), "{text}");
        }
        let mut harmless = "Accept() failed: too many open files".to_owned();
        cut(&mut harmless);
        assert_eq!(harmless, "Accept() failed: too many open files");
    }
}
