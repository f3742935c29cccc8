//! The value types of the configuration: each parses what an operator writes, or says what it wanted.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A length of time: a number and `ms`, `s`, `m`, `h` or `d` (`30s`, `8h`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Period(pub Duration);

impl Period {
    pub const fn seconds(seconds: u64) -> Self {
        Period(Duration::from_secs(seconds))
    }
}

impl FromStr for Period {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wanted =
            || format!("`{text}` is no length of time; write a number and ms, s, m, h or d, as in \"30s\" or \"8h\"");
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let number: u64 = text[..digits].parse().map_err(|_| wanted())?;
        let seconds = |factor: u64| number.checked_mul(factor).map(Duration::from_secs);
        let duration = match text[digits..].trim() {
            "ms" => Some(Duration::from_millis(number)),
            "s" => seconds(1),
            "m" => seconds(60),
            "h" => seconds(3600),
            "d" => seconds(86_400),
            _ => None,
        };
        // A hundred years: beyond it, sums of instants overflow.
        duration.filter(|d| d.as_secs() <= 36_500 * 86_400).map(Period).ok_or_else(wanted)
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (ms, s) = (self.0.subsec_millis(), self.0.as_secs());
        match s {
            _ if ms != 0 => write!(f, "{}ms", self.0.as_millis()),
            0 => f.write_str("0s"),
            s if s % 86_400 == 0 => write!(f, "{}d", s / 86_400),
            s if s % 3600 == 0 => write!(f, "{}h", s / 3600),
            s if s % 60 == 0 => write!(f, "{}m", s / 60),
            s => write!(f, "{s}s"),
        }
    }
}

/// A number of bytes: a number, alone or with `kB`, `KiB`, `MB` or `MiB`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub usize);

impl FromStr for ByteSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wanted = || format!("`{text}` is no number of bytes; write as in \"16KiB\" or 16384");
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let number: usize = text[..digits].parse().map_err(|_| wanted())?;
        let factor = match text[digits..].trim() {
            "" | "B" => 1,
            "kB" => 1000,
            "KiB" => 1024,
            "MB" => 1_000_000,
            "MiB" => 1024 * 1024,
            _ => return Err(wanted()),
        };
        number.checked_mul(factor).map(ByteSize).ok_or_else(wanted)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            n if n != 0 && n % (1024 * 1024) == 0 => write!(f, "{}MiB", n / (1024 * 1024)),
            n if n != 0 && n % 1024 == 0 => write!(f, "{}KiB", n / 1024),
            n => write!(f, "{n}"),
        }
    }
}

/// What is shown in place of a secret.
pub const MASK: &str = "********";

/// What stands where a secret was that somebody typed to try it out, and that was not kept.
pub const FORGOTTEN: &str = "(type the secret again)";

/// A secret. It has no `Display`, its `Debug` shows nothing, and it is wiped when dropped.
#[derive(Clone)]
pub struct Secret(SecretString);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Secret(SecretString::from(text.into()))
    }

    /// The secret itself, for the one place that needs it.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.expose() == other.expose()
    }
}

/// Where an app listens.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum AppUrl {
    /// `http`, `https` or `h2c`.
    Tcp { scheme: AppScheme, host: String, port: u16 },
    /// `unix:/path`: HTTP/1.1 over a unix socket.
    Unix { path: String },
}

/// How an app is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AppScheme {
    Http,
    Https,
    /// HTTP/2 without TLS.
    H2c,
}

impl FromStr for AppUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            return match path {
                p if p.starts_with('/') => Ok(AppUrl::Unix { path: p.into() }),
                _ => Err(format!("`{text}`: write a unix socket as unix:/absolute/path")),
            };
        }
        let url = url::Url::parse(text)
            .map_err(|e| format!("`{text}` is no address ({e}); write as in http://127.0.0.1:3000"))?;
        let (scheme, default_port) = match url.scheme() {
            "http" => (AppScheme::Http, Some(80)),
            "https" => (AppScheme::Https, Some(443)),
            "h2c" => (AppScheme::H2c, None),
            other => return Err(format!("`{text}`: `{other}` is none of http, https, h2c, unix")),
        };
        if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
            return Err(format!("`{text}`: an upstream has no path; use `strip_prefix` of the route, or none"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("an upstream address holds no user or password".into());
        }
        let host = url.host_str().filter(|h| !h.is_empty()).ok_or(format!("`{text}` names no host"))?;
        let port = url.port().or(default_port).ok_or(format!("`{text}` names no port"))?;
        Ok(AppUrl::Tcp { scheme, host: host.to_ascii_lowercase(), port })
    }
}

impl fmt::Display for AppUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AppUrl::Unix { path } => write!(f, "unix:{path}"),
            AppUrl::Tcp { scheme, host, port } => {
                let scheme = match scheme {
                    AppScheme::Http => "http",
                    AppScheme::Https => "https",
                    AppScheme::H2c => "h2c",
                };
                write!(f, "{scheme}://{host}:{port}")
            }
        }
    }
}

/// A request method (RFC 9110 §9.1).
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct HttpMethod(pub http::Method);

impl FromStr for HttpMethod {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let upper = text.to_ascii_uppercase();
        http::Method::from_bytes(upper.as_bytes()).map(HttpMethod).map_err(|_| format!("`{text}` is no method"))
    }
}

impl fmt::Display for HttpMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str())
    }
}

/// Name of a header, as written.
#[derive(Clone, PartialEq, Eq)]
pub struct HeaderNameText(pub http::HeaderName, String);

impl FromStr for HeaderNameText {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let name = http::HeaderName::from_str(text).map_err(|_| format!("`{text}` is no name of a header"))?;
        Ok(HeaderNameText(name, text.to_owned()))
    }
}

impl fmt::Display for HeaderNameText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.1)
    }
}

/// An address or a network (`10.0.0.0/8`).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Network(pub ipnet::IpNet);

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let address = text.parse::<std::net::IpAddr>().map(ipnet::IpNet::from);
        address
            .or_else(|_| text.parse())
            .map(Network)
            .map_err(|_| format!("`{text}` is no address or network; write as in 10.0.0.0/8"))
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A colour, `#rrggbb`.
#[derive(Clone, PartialEq, Eq)]
pub struct Color(String);

impl FromStr for Color {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let hex = text.strip_prefix('#').filter(|h| h.len() == 6 && h.bytes().all(|b| b.is_ascii_hexdigit()));
        hex.map(|_| Color(text.to_ascii_lowercase())).ok_or(format!("`{text}` is no colour; write as in #1a5fb4"))
    }
}

impl fmt::Display for Color {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A type that is written as a string: reading, writing, `Debug` and schema from its `FromStr` and `Display`.
macro_rules! written_as_string {
    ($($type:ident, $schema:expr;)*) => {$(
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(TextVisitor::<$type>(std::marker::PhantomData))
            }
        }
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }
            fn inline_schema() -> bool {
                true
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                $schema
            }
        }
    )*};
}

written_as_string! {
    Period, json_schema!({ "type": "string", "pattern": "^[0-9]+ ?(ms|s|m|h|d)$" });
    ByteSize, json_schema!({ "type": ["string", "integer"], "pattern": "^[0-9]+ ?(B|kB|KiB|MB|MiB)?$", "minimum": 0 });
    AppUrl, json_schema!({ "type": "string", "pattern": "^(https?://|h2c://|unix:/)" });
    HttpMethod, json_schema!({ "type": "string" });
    HeaderNameText, json_schema!({ "type": "string" });
    Network, json_schema!({ "type": "string" });
    Color, json_schema!({ "type": "string", "pattern": "^#[0-9A-Fa-f]{6}$" });
}

struct TextVisitor<T>(std::marker::PhantomData<T>);

impl<T: FromStr<Err = String>> de::Visitor<'_> for TextVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }

    // `request_line = 16384` and `idle = 30` arrive here; the second then says which units there are.
    fn visit_i64<E: de::Error>(self, number: i64) -> Result<T, E> {
        number.to_string().parse().map_err(E::custom)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Secret::new)
    }
}

// The start table is made from the serialised settings: what is written is the mask, never the secret.
impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(MASK)
    }
}

impl JsonSchema for Secret {
    fn schema_name() -> Cow<'static, str> {
        "Secret".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "password" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_and_sizes_read_what_they_print() {
        for text in ["0s", "250ms", "30s", "90s", "5m", "8h", "30d"] {
            let period: Period = text.parse().expect(text);
            assert_eq!(period.to_string().parse::<Period>(), Ok(period), "{text}");
        }
        for text in ["", "5", "5 weeks", "-1s", "99999999999999d", "1.5h"] {
            assert!(text.parse::<Period>().is_err(), "{text}");
        }
        assert_eq!("16KiB".parse::<ByteSize>().map(|b| b.0), Ok(16384));
        assert!("16 gallons".parse::<ByteSize>().is_err());
    }

    #[test]
    fn an_upstream_address_names_scheme_host_and_port() {
        assert_eq!(
            "https://App.example".parse::<AppUrl>().map(|u| u.to_string()),
            Ok("https://app.example:443".into())
        );
        assert_eq!("unix:/run/app.sock".parse::<AppUrl>().map(|u| u.to_string()), Ok("unix:/run/app.sock".into()));
        for text in ["http://a/b", "ftp://a", "h2c://a", "unix:run", "http://u:p@a", "a:80", "http://a?x"] {
            assert!(text.parse::<AppUrl>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_secret_does_not_show_itself() {
        assert_eq!(format!("{:?}", Secret::new("hunter2")), "********");
    }
}
