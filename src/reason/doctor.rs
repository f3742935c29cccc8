//! Reasons that only the doctor finds, before a request fails of them: hundred ninety. What a request would fail of has
//! the code of that failure.

/// Puts its rows behind those that it gets, and hands them on to `$then`.
macro_rules! doctor {
    ($then:ident $($later:ident)*; $($table:tt)*) => { $then! { $($later)*; $($table)*
        // 9 ── found by the doctor
        SettingDoubtful = "DW-9001", 0, Admin, "A setting is allowed and probably not meant",
            "The configuration can be used, and says something that seldom is what somebody wants.",
            "Correct the setting that is named, or leave it where it is meant.";
        SecretExposed = "DW-9002", 0, Admin, "A file with a secret is open to others",
            "Its mode lets other users of the machine read or change it.",
            "`chmod 600` it, and give it to the gateway's user.";
        SecretGuessable = "DW-9003", 0, Admin, "A secret can be guessed",
            "It is the client id, an example, or is made of a few characters that repeat.",
            "Make a new one: at the provider for a client, with `openssl rand -base64 32` for `secrets` and for `secret` of an issuer.";
        PublicUrlUnreachable = "DW-9011", 0, Admin, "The public URL cannot be reached from here",
            "Its name does not resolve, nobody listens at its port, or the network does not lead back to this host.",
            "Correct `public_url`, or the DNS entry, port mapping or firewall that is named; open the address in a browser to see whether only the way from here is missing.";
        PublicUrlTls = "DW-9012", 0, Admin, "The certificate at the public URL is not accepted",
            "TLS failed there: expired, another name, or an authority that is not trusted.",
            "Renew or replace the certificate of whatever ends TLS at that address.";
        PublicUrlElsewhere = "DW-9013", 0, Admin, "The public URL leads to something else",
            "Something answers there, and it is not a Doorward with a secret.",
            "Point the DNS entry, load balancer or port mapping of `public_url` at this gateway, or correct `public_url`.";
        PublicUrlOtherGateway = "DW-9014", 0, Admin, "The public URL leads to another gateway",
            "A gateway answers there that has none of these secrets, or another `public_url`.",
            "Give all gateways behind the address the same configuration, or correct `public_url`.";
        PublicUrlRedirects = "DW-9015", 0, Admin, "The public URL is redirected",
            "Whoever asks for it is sent to another scheme, host or port, so that cookies and redirect URIs do not fit.",
            "Set `public_url` to the address at which the redirects end.";
        CertificateNames = "DW-9021", 0, Admin, "The certificate is for another host",
            "The listener's certificate does not name the host of `public_url`, so that browsers refuse it.",
            "Have a certificate made that names the host, or correct `public_url`.";
        CertificateExpires = "DW-9022", 0, Admin, "The certificate is past its time, or soon will be",
            "Browsers refuse a certificate outside of the time that it was made for.",
            "Renew it, and see why it was not renewed by itself.";
        CertificateChain = "DW-9023", 0, Admin, "The certificate's chain is not complete",
            "The certificates in the file do not lead from the first one up, so that clients without the missing ones refuse it.",
            "Put the whole chain into the file, the gateway's own certificate first; certbot calls it `fullchain.pem`.";
        CookieBudget = "DW-9031", 0, Admin, "The session may become too large",
            "What is kept of a person needs most of the room that browsers and apps leave for cookies.",
            "Send fewer groups to the gateway, or do without the claims that are named.";
        CookieReach = "DW-9032", 0, Admin, "The session cookie goes further than it is needed",
            "`session.cookie_domain` sends it to hosts that the gateway does not serve.",
            "Take `cookie_domain` away where one host is served, or narrow it.";
        DirectoryNobody = "DW-9041", 0, Admin, "Nobody is found in the directory",
            "The directory answers, and below `base_dn` is no entry with `user_attribute`, or none that the gateway may see.",
            "Compare `base_dn`, `user_attribute` and the rights of `bind_dn` with the directory.";
        AppRedirects = "DW-9051", 0, Admin, "The app redirects to another address",
            "It sends people to plain http or to its own host, because it does not go by `X-Forwarded-Proto` and `X-Forwarded-Host`.",
            "Tell the app its address, or to go by the forwarding headers of the gateway.";
        AppBelievesHeaders = "DW-9052", 0, Admin, "The app believes whoever reaches it",
            "Asked without the gateway it answered another way as soon as identity headers came along.",
            "See to it that only the gateway can reach the app: bind it to 127.0.0.1 or a unix socket, or close its port to others.";
        AppOpen = "DW-9053", 0, Admin, "The app can be reached without the gateway",
            "At the address that was named something takes connections that the gateway knows nothing of.",
            "Bind the app to an address that only the gateway reaches, or close the port.";
        AppRefusesHost = "DW-9054", 0, Admin, "The app does not serve the public host",
            "It answers requests for the host of `public_url` with an error, and those for its own not.",
            "Add the host to those that the app serves, or set `host_header` of its `[[upstream]]`.";
        ForgedHeadersPass = "DW-9061", 0, Admin, "Forged headers reach the app",
            "What a client wrote itself arrived at the app in the place of what the gateway says.",
            "Change the setting that is named; until then the app cannot trust these headers.";
        HostIsAnybodys = "DW-9062", 0, Admin, "The app sees any host that a client names",
            "A route for every host hands on the `Host` of the request, from which apps make links and keys of caches.",
            "Set `host` of the route, or `host_header` of the upstream.";
        FilesTooFew = "DW-9071", 0, Admin, "Too few files may be open",
            "Each connection takes two, and the limit is below what `listen.max_connections` needs.",
            "Raise the limit (`LimitNOFILE=` of the unit, `--ulimit nofile=` of the container), or lower `max_connections`.";
        MemoryTooLittle = "DW-9072", 0, Admin, "The memory limit is low for what is configured",
            "Caches and connections could need more than the container may have.",
            "Raise the memory limit, or lower `bearer.cache_bytes` or `listen.max_connections`.";
        ThreadsUnfit = "DW-9073", 0, Admin, "Worker threads and processors do not fit",
            "There are more workers than processors may be used, or a fraction of them.",
            "Leave `listen.threads` out, or set it to the number of processors.";
        ClockUnset = "DW-9074", 0, Admin, "The clock is not set",
            "The host's clock shows a time at which this program did not exist, so that every token and certificate looks wrong.",
            "Set the clock, and have it kept (chrony, systemd-timesyncd).";
        GatewayAnswer = "DW-9081", 0, Admin, "Something else answers at the admin address",
            "At `admin.address` is no gateway, or one that does not say what is asked.",
            "Correct `admin.address`, or end what has the port.";
    } };
}
