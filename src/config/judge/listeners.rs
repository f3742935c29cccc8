//! Addresses the gateway listens on and is reached at, its limits and its waiting times.

use std::net::SocketAddr;

use super::{Judge, is_loopback};
use crate::config::origin::KeyPath;
use crate::config::values::Period;
use crate::pem;

impl Judge<'_> {
    pub(super) fn listeners(&mut self) {
        self.public_url();
        let settings = self.settings;
        let (listen, admin) = (&settings.listen, settings.admin.address);
        let certificate = KeyPath::of("listen.tls_certificate_file");
        let key = KeyPath::of("listen.tls_key_file");
        match (&listen.tls_certificate_file, &listen.tls_key_file) {
            (Some(_), None) => self.error(&certificate, "needs `tls_key_file` as well", "set both, or neither"),
            (None, Some(_)) => self.error(&key, "needs `tls_certificate_file` as well", "set both, or neither"),
            _ => {}
        }
        self.pem(&certificate, listen.tls_certificate_file.as_deref(), pem::certificates);
        self.pem(&key, listen.tls_key_file.as_deref(), pem::private_keys);
        let admin_key = KeyPath::of("admin.address");
        if overlap(listen.address, admin) {
            let message = format!("takes the same port as `listen.address` ({})", listen.address);
            self.error(&admin_key, message, "give each listener its own port");
        }
        if !admin.ip().is_loopback() {
            self.warn(
                &admin_key,
                format!(
                    "{admin} is reachable from other machines; metrics and health are not protected by sign-in (the console is \
                     shown to this machine alone)"
                ),
            );
        }
        if listen.max_connections == 0 {
            self.error(&KeyPath::of("listen.max_connections"), "lets nobody in", "set it to 1 or more");
        }
    }

    fn public_url(&mut self) {
        let (url, key) = (&self.settings.public_url, KeyPath::of("public_url"));
        if !matches!(url.scheme(), "http" | "https") {
            let message = format!("`{}` is no scheme of a web address", url.scheme());
            return self.error(&key, message, "write as in \"https://app.example.com\"");
        }
        if !url.username().is_empty() || url.password().is_some() {
            self.error(&key, "holds a user or password", "take what stands before the @ away");
        }
        if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
            let hint = format!("write \"{}\"", url.origin().ascii_serialization());
            self.error(&key, "has a path, query or fragment; the gateway serves a whole host", hint);
        }
        if url.scheme() == "http" && !is_loopback(url.host()) {
            self.warn(&key, "is http, so cookies and sign-ins can be read on the way; use https outside of trials");
        }
    }

    pub(super) fn limits(&mut self) {
        const MOST_BYTES: usize = 1024 * 1024;
        let limits = &self.settings.limits;
        if !(1..=256).contains(&limits.headers) {
            let message = format!("{} is not between 1 and 256", limits.headers);
            self.error(&KeyPath::of("limits.headers"), message, "the HTTP parser reads no more than 256");
        }
        if limits.header_bytes.0 > MOST_BYTES {
            let message = format!("{} is more than 1MiB", limits.header_bytes);
            self.error(&KeyPath::of("limits.header_bytes"), message, "set it to 1MiB or less");
        }
        if limits.request_line > limits.header_bytes {
            let message = format!("{} is more than `header_bytes` ({})", limits.request_line, limits.header_bytes);
            self.error(&KeyPath::of("limits.request_line"), message, "lower it, or raise `header_bytes`");
        }
        if limits.request_line.0 == 0 {
            self.error(&KeyPath::of("limits.request_line"), "lets no request in", "set it to 16KiB");
        }
        let timeouts = &self.settings.timeouts;
        for (key, period) in [
            ("connect", timeouts.connect),
            ("first_byte", timeouts.first_byte),
            ("stream_idle", timeouts.stream_idle),
            ("client_idle", timeouts.client_idle),
            ("client_body", timeouts.client_body),
        ] {
            self.positive(&KeyPath::of("timeouts").key(key), period);
        }
    }

    /// No length of time that is waited for may be nothing: every request would fail at once.
    pub(super) fn positive(&mut self, key: &KeyPath, period: Period) {
        if period.0.is_zero() {
            self.error(key, "is no time at all", "set it to some seconds, as in \"30s\"");
        }
    }
}

/// Whether two listeners would want the same port. Port 0 is any free one.
fn overlap(a: SocketAddr, b: SocketAddr) -> bool {
    let same_host = a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified();
    a.port() != 0 && a.port() == b.port() && same_host
}
