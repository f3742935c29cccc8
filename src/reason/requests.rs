//! Reasons of requests, routes and upstreams: the first two hundreds.

/// Puts its rows behind those that it gets, and hands them on to `$then`.
macro_rules! requests {
    ($then:ident $($later:ident)*; $($table:tt)*) => { $then! { $($later)*; $($table)*
        // 1 ── the request itself
        PathAmbiguous = "DW-1001", 400, Attacker, "The address has two readings",
            "The path holds dot segments, doubled slashes, a backslash, or an encoded slash, backslash, dot or control character.",
            "Ask for the plain form of the address.";
        TargetMalformed = "DW-1002", 400, Attacker, "The address cannot be read",
            "The request target is not a path that starts with a slash, or holds a raw `#` or a character that a target may not hold.",
            "Percent-encode what is not plain in an address (RFC 3986 §2.1).";
        HostAmbiguous = "DW-1003", 400, Attacker, "The request names no single host",
            "There is no Host, more than one, one that differs from the request target, or one that is not a host name.",
            "Send exactly one Host (RFC 9112 §3.2).";
        FramingAmbiguous = "DW-1004", 400, Attacker, "The length of the request has two readings",
            "Content-Length or Transfer-Encoding is doubled, lists several values, comes together with the other, or names something else than `chunked`.",
            "Send one Content-Length or `Transfer-Encoding: chunked` (RFC 9112 §6).";
        HeaderMalformed = "DW-1005", 400, Attacker, "A header cannot be read",
            "The head of the request has a bare line feed or carriage return, or a control character in a value; or `Connection` names a header that decides, such as `X-Forwarded-For`.",
            "End lines with CR LF and send only visible characters in values (RFC 9112 §2.2); name in `Connection` only headers that are meant for the next hop (RFC 9110 §7.6.1).";
        HeaderDoubled = "DW-1006", 400, Attacker, "A header that decides came twice",
            "Two `Authorization` headers, or two of another header of which only one can be meant.",
            "Send it once.";
        RequestLineTooLong = "DW-1007", 414, Person, "The address is too long",
            "The request line is longer than `limits.request_line`.",
            "Shorten the address, or raise `limits.request_line`.";
        HeadersTooLarge = "DW-1008", 431, Person, "The request's headers are too large",
            "The headers together exceed `limits.header_bytes` or `limits.headers`; most often too many cookies were set for this host.",
            "Delete the cookies of this site, or raise the limit.";
        BodyNotExpected = "DW-1009", 413, Attacker, "The body is too large for this page",
            "One of the gateway's own pages was sent more than it reads.",
            "Send what the page asks for.";
        MethodNotAllowed = "DW-1010", 405, Attacker, "This page does not take that method",
            "One of the gateway's own pages was asked with a method it does not know.",
            "Use GET, or POST where a form does.";
        RequestTimedOut = "DW-1011", 408, Person, "The request did not arrive in time",
            "The client stopped sending before its request was complete.",
            "Send it again.";
        ParameterDoubled = "DW-1012", 400, Attacker, "A parameter came twice",
            "The address of one of the gateway's own pages holds a parameter twice, and only one can be meant.",
            "Send it once.";

        // 2 ── routes and upstreams
        NoRoute = "DW-2001", 404, Admin, "Nothing is served at this address",
            "No `[[route]]` matches the host, path and method. What no route matches is refused.",
            "Check the address; an admin adds a route for it.";
        PreflightNotAllowed = "DW-2002", 403, Admin, "A cross-origin preflight is not let through here",
            "An OPTIONS preflight carries no credentials, and the route does not say `preflight = true`.",
            "Set `preflight = true` on the route if the app answers preflights itself.";
        UpstreamUnreachable = "DW-2101", 502, Admin, "The app does not answer",
            "No connection to the upstream could be made.",
            "Start the app, or correct the `url` of its `[[upstream]]`.";
        UpstreamUnresolved = "DW-2102", 502, Admin, "The app's address is not known",
            "The host name of the upstream does not resolve.",
            "Correct the host in the `url` of its `[[upstream]]`, or the name service the gateway uses.";
        UpstreamTls = "DW-2103", 502, Admin, "The app's certificate is not accepted",
            "The TLS handshake with the upstream failed: expired, another name, or an authority that is not trusted.",
            "Renew the app's certificate, or set `tls_ca_file` or `tls_server_name` of its `[[upstream]]`.";
        UpstreamTimeout = "DW-2104", 504, Admin, "The app took too long",
            "The upstream accepted the request and then said nothing for longer than `timeouts.first_byte`.",
            "Try again; if it is slow by nature, raise `first_byte` of its `[[upstream]]`.";
        UpstreamBroke = "DW-2105", 502, Admin, "The app broke off its answer",
            "The upstream closed the connection early or sent what is not HTTP.",
            "Look into the app's own log at this moment.";
        ClientGone = "DW-2106", 499, Person, "The client went away",
            "The client closed the connection before the answer was complete.",
            "Nothing to do; the line is for the log.";
        UpstreamScheme = "DW-2107", 502, Admin, "The app speaks another protocol than its address says",
            "The `url` of its `[[upstream]]` says https and the app does not speak TLS, or says http and it does.",
            "Write http:// in the `url` of its `[[upstream]]` where the app does not speak TLS, and https:// where it does.";
    } };
}
