//! Fetching a JSON document of a provider, each step named: DNS, TCP, TLS, HTTP status, redirect, content type.

use std::path::Path;
use std::time::{Duration, SystemTime};

use http::header::{ACCEPT, LOCATION};
use openidconnect::HttpResponse;
use url::Url;

use super::look::Shown;
use super::reach::{Proxy, Reached, reach, shown};
use super::skew::{Skew, skew};
use super::{Finding, Report, Weight, text};
use crate::http_client::{HttpClient, HttpError, media_type, require_json, require_success};
use crate::reason::Reason;
use crate::tls_fault::{MAKE_SERVERS, TlsFault};
use crate::words::{cut, in_words, plain_address};
use crate::x509::{Certificate, covers};

/// A certificate that ends before this is named.
const SOON: Duration = Duration::from_secs(7 * 24 * 3600);

/// Who is visited, and what for.
pub(super) struct Visit<'v> {
    pub place: String,
    pub http: &'v HttpClient,
    /// What it means that no answer comes.
    pub unanswered: Reason,
    /// What it means that another answer comes than a JSON document.
    pub malformed: Reason,
    /// `ca_file`, where one is set.
    pub ca_file: Option<&'v Path>,
    /// How the setting is called that names the address.
    pub setting: &'static str,
}

/// A document that was fetched.
pub(super) struct Fetched {
    pub body: Vec<u8>,
    /// What the answer's clock says of ours, where it says anything.
    pub skew: Option<Skew>,
}

/// Why there is no document.
pub(super) struct Missed {
    pub finding: Finding,
    /// Names of the certificate that was shown instead of the right one.
    pub names: Vec<String>,
    /// Where a redirect leads.
    pub redirect: Option<Url>,
}

impl Missed {
    fn of(finding: Finding) -> Missed {
        Missed { finding, names: Vec::new(), redirect: None }
    }
}

impl Visit<'_> {
    /// The document at `url`, or the finding that says why there is none.
    pub async fn document(&self, url: &Url, report: &mut Report) -> Result<Fetched, Box<Missed>> {
        let reached = reach(url, &self.place, self.unanswered, report).await;
        let reached = reached.map_err(|finding| Box::new(Missed::of(finding)))?;
        let request = http::Request::get(url.as_str()).header(ACCEPT, "application/json").body(Vec::new());
        let request = request.map_err(|error| {
            Box::new(Missed::of(Finding::new(Weight::Broken, self.unanswered, &self.place, error.to_string())))
        })?;
        let asked_at = SystemTime::now();
        let answer = match self.http.send(request).await {
            Ok(answer) => answer,
            Err(error) => return Err(Box::new(self.unanswered(&error, &reached, url).await)),
        };
        let answered_at = SystemTime::now();
        if url.scheme() == "https" {
            self.certificate(&shown(&reached, url).await, report);
        }
        self.judge(&answer, url)?;
        report.good(&self.place, "HTTP", format!("{} answers with JSON", plain_address(url)));
        Ok(Fetched { skew: skew(&answer, asked_at, answered_at), body: answer.into_body() })
    }

    fn broken(&self, step: &'static str, seen: impl Into<String>) -> Finding {
        Finding::new(Weight::Broken, self.unanswered, &self.place, seen).at(step)
    }

    /// Why no answer came.
    async fn unanswered(&self, error: &HttpError, reached: &Reached, url: &Url) -> Missed {
        let host = url.host_str().unwrap_or_default();
        match (error, &reached.proxy) {
            (HttpError::Tls(why), _) => self.tls(why, &shown(reached, url).await, url),
            (HttpError::Dns(_) | HttpError::Tcp(_) | HttpError::ConnectTimeout, Some(proxy)) => {
                Missed::of(self.at_proxy(error, proxy, &shown(reached, url).await))
            }
            (HttpError::Dns(_), None) => Missed::of(self.broken("DNS", error.to_string())),
            (HttpError::Tcp(_) | HttpError::ConnectTimeout, None) => Missed::of(self.broken("TCP", error.to_string())),
            (HttpError::Timeout, _) => {
                let change = format!("look why {host} is slow, or raise `timeout`");
                Missed::of(self.broken("HTTP", error.to_string()).change(change))
            }
            (HttpError::TooLarge, _) => {
                let finding = self.broken("HTTP", format!("{error}, at {}", plain_address(url)));
                Missed::of(Finding { reason: self.malformed, ..finding })
            }
            (HttpError::Broken(_), _) => {
                let change = match url.scheme() {
                    "http" => format!("write https:// where {host} speaks TLS at this port, or correct the port"),
                    _ => format!("look what listens at this port of {host}"),
                };
                Missed::of(self.broken("HTTP", error.to_string()).change(change))
            }
            _ => Missed::of(self.broken("HTTP", error.to_string())),
        }
    }

    fn at_proxy(&self, error: &HttpError, proxy: &Proxy, shown: &Shown) -> Finding {
        let why = shown.failure.clone().unwrap_or_else(|| error.to_string());
        let change = format!(
            "have {} let the gateway through to this host, or add the host to NO_PROXY of the gateway's environment",
            proxy.shown
        );
        self.broken("proxy", why).change(change)
    }

    /// Why the handshake failed.
    fn tls(&self, why: &str, shown: &Shown, url: &Url) -> Missed {
        let host = url.host_str().unwrap_or_default();
        let setting = self.setting;
        let Some(leaf) = shown.chain.first() else {
            let failure = shown.failure.as_deref().unwrap_or_default();
            let plain = [why, failure].iter().any(|text| text.contains("corrupt message"));
            let (seen, change) = match plain {
                true => (
                    format!("what answers at {host} does not speak TLS ({why})"),
                    format!("correct the port in `{setting}`, or write http:// where the provider has no TLS"),
                ),
                false => (why.to_owned(), format!("look at the TLS settings of {host}")),
            };
            return Missed::of(self.broken("TLS", seen).change(change));
        };
        let now = SystemTime::now();
        let (seen, change) = if TlsFault::of(why) == Some(TlsFault::AuthorityAsServer) {
            (format!("the certificate of {host} is an authority's ({why})"), MAKE_SERVERS.to_owned())
        } else if leaf.not_after < now {
            let seen = format!("the certificate of {host} ended on {}; now it is {}", day(leaf.not_after), day(now));
            (seen, format!("renew the certificate of {host}; where it is good for others, set this machine's clock"))
        } else if leaf.not_before > now {
            let seen = format!("the certificate of {host} begins on {}; now it is {}", day(leaf.not_before), day(now));
            (seen, "set this machine's clock, or have the provider use a certificate that is valid".to_owned())
        } else if !covers(&leaf.names, host) {
            let seen = format!("the certificate is for {}, and not for `{host}`", all(&leaf.names));
            (
                seen,
                format!("write a name of the certificate as host in `{setting}`, or get it a certificate for `{host}`"),
            )
        } else {
            (self.unknown_authority(leaf, shown, why), self.trust(shown))
        };
        let names = leaf.names.clone();
        Missed { names, ..Missed::of(self.broken("TLS", seen).change(change)) }
    }

    fn unknown_authority(&self, leaf: &Certificate, shown: &Shown, why: &str) -> String {
        let trusted = match self.ca_file {
            Some(file) => format!("the authorities in {}", file.display()),
            None => "the system's authorities".to_owned(),
        };
        if !why.contains("UnknownIssuer") {
            return format!("the certificate of {} is not accepted: {why}", in_words(&leaf.subject));
        }
        let chain = match shown.chain.len() {
            1 if !leaf.is_self_signed() => ", and the server sends no certificate of that authority along",
            _ => "",
        };
        format!("the certificate is signed by {}, who is not among {trusted}{chain}", in_words(&last(shown)))
    }

    fn trust(&self, shown: &Shown) -> String {
        let authority = in_words(&last(shown));
        match self.ca_file {
            Some(_) => format!("put the certificate of {authority} into the file of `ca_file`"),
            None => format!("set `ca_file` to a PEM file with the certificate of {authority}"),
        }
    }

    /// A certificate that was accepted.
    fn certificate(&self, shown: &Shown, report: &mut Report) {
        let Some(leaf) = shown.chain.first() else { return };
        let until = day(leaf.not_after);
        let by = in_words(&leaf.issuer);
        report.good(
            &self.place,
            "TLS",
            format!("the certificate for {} by {by} is good until {until}", all(&leaf.names)),
        );
        let left = leaf.not_after.duration_since(SystemTime::now()).unwrap_or_default();
        if left < SOON {
            let seen = format!("the certificate ends on {until}, in {} h", left.as_secs() / 3600);
            report.found(Finding::new(Weight::Warning, Reason::ProviderCertificateEnds, &self.place, seen).at("TLS"));
        }
    }

    /// Whether the answer is a JSON document.
    fn judge(&self, answer: &HttpResponse, url: &Url) -> Result<(), Box<Missed>> {
        let address = plain_address(url);
        if let Err(error) = require_success(answer) {
            let target = answer.headers().get(LOCATION).and_then(|to| to.to_str().ok());
            let redirect = target.filter(|_| answer.status().is_redirection()).and_then(|to| url.join(to).ok());
            let (step, seen) = match &redirect {
                Some(to) => {
                    ("redirect", format!("{address} leads to {}, and no redirect is followed", plain_address(to)))
                }
                None => ("HTTP status", format!("{error}, at {address}{}", said(answer))),
            };
            let change = match (&redirect, answer.status().as_u16()) {
                (Some(_), _) => format!("write the address that answers by itself into `{}`", self.setting),
                (None, 401 | 403 | 407) => {
                    "let the gateway's host read this address without a sign-in: something before the provider asks for one"
                        .to_owned()
                }
                (None, 404 | 410) => format!("correct `{}`: the provider has nothing at this address", self.setting),
                (None, 500..) => "look at the provider, or what stands before it: it does not work".to_owned(),
                _ => format!("correct `{}`", self.setting),
            };
            return Err(Box::new(Missed { redirect, ..Missed::of(self.broken(step, seen).change(change)) }));
        }
        let change = format!("correct `{}`: something else than the document is at this address", self.setting);
        let malformed = |step, seen: String, change: String| {
            let finding = self.broken(step, seen).change(change);
            Err(Box::new(Missed::of(Finding { reason: self.malformed, ..finding })))
        };
        let page = text::is_html(answer.body());
        let titled =
            text::title(answer.body()).map_or_else(String::new, |title| format!(", titled {}", in_words(&title)));
        match require_json(answer) {
            Ok(()) if !page => Ok(()),
            Ok(()) => {
                malformed("JSON", format!("the answer calls itself JSON and is a page{titled}, at {address}"), change)
            }
            Err(_) if page => {
                let seen = format!("{address} answers with a page{titled}: a sign-in page, a proxy, or another app");
                malformed("content type", seen, change)
            }
            Err(error) => malformed("content type", format!("{error}, at {address}"), change),
        }
    }
}

/// What an answer that is no success says, where it says so in few words.
fn said(answer: &HttpResponse) -> String {
    let text = match media_type(answer).as_deref() {
        Some("text/html") => text::title(answer.body()),
        _ => Some(String::from_utf8_lossy(answer.body()).trim().to_owned()),
    };
    text.filter(|text| !text.is_empty())
        .map_or_else(String::new, |text| format!(", saying {}", in_words(&cut(&text, 200))))
}

/// The authority that the last of the certificates names.
fn last(shown: &Shown) -> String {
    shown.chain.last().map(|certificate| certificate.issuer.clone()).unwrap_or_default()
}

fn all(names: &[String]) -> String {
    match names {
        [] => "no name at all".to_owned(),
        names => {
            let shown: Vec<_> = names.iter().take(5).map(|name| in_words(name)).collect();
            let more = if names.len() > 5 { " and others" } else { "" };
            format!("{}{more}", shown.join(", "))
        }
    }
}

fn day(time: SystemTime) -> String {
    httpdate::fmt_http_date(time)
}
