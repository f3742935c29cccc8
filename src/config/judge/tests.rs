//! Each rule of the judge: what breaks it, which key is named, and what the message says.

use crate::config::{Config, ConfigErrors};

const PROVIDER: &str = "[[provider]]\nissuer = \"https://login.example.com\"\nclient_id = \"app\"\n";
pub(super) const UPSTREAM: &str = "[[upstream]]\nurl = \"http://127.0.0.1:3000\"\n";
pub(super) const SECRET: &str = "0123456789abcdef0123456789abcdef";

pub(super) fn load(text: &str) -> Result<Config, ConfigErrors> {
    let file = tempfile::NamedTempFile::new().expect("file");
    std::fs::write(file.path(), text).expect("write");
    Config::load(Some(file.path()), &[])
}

/// A good configuration with `head` among its first keys, `provider` behind the provider's, and `tail` at its end.
pub(super) fn with(head: &str, provider: &str, tail: &str) -> String {
    let public_url = if head.contains("public_url") { "" } else { "public_url = \"https://app.example.com\"\n" };
    let secrets = if head.contains("secrets") { String::new() } else { format!("secrets = [\"{SECRET}\"]\n") };
    format!("{public_url}{secrets}{head}\n{PROVIDER}{provider}\n{UPSTREAM}{tail}\n")
}

pub(super) fn errors_of(text: &str) -> Vec<String> {
    match load(text) {
        Ok(_) => Vec::new(),
        Err(errors) => errors.0.iter().map(|e| format!("{}: {}", e.line.unwrap_or(0), e)).collect(),
    }
}

pub(super) fn refuses(text: &str, key: &str, wanted: &str) {
    let errors = errors_of(text);
    let fits = |e: &&String| e.contains(&format!(" {key}: ")) && e.contains(wanted);
    assert!(errors.iter().any(|e| fits(&e)), "wanted `{key}: … {wanted}` of\n{text}\ngot {errors:#?}");
}

pub(super) fn warns(text: &str, key: &str, wanted: &str) {
    let config = load(text).unwrap_or_else(|e| panic!("{text}\n{e}"));
    let fits = |w: &String| w.contains(&format!("{key}: ")) && w.contains(wanted);
    assert!(config.warnings.iter().any(fits), "{:?}", config.warnings);
}

#[test]
fn ten_lines_are_enough() {
    let config = load(&with("", "", "")).expect("good");
    assert_eq!(config.warnings, [""; 0]);
    let routes = &config.settings.route;
    assert_eq!((routes.len(), routes[0].access), (1, crate::config::model::Access::SignedIn));
}

#[test]
fn openid_is_always_among_the_scopes() {
    let config = load(&with("", "scopes = [\"email\"]", "")).expect("good");
    assert_eq!(config.settings.provider[0].scopes, ["openid", "email"]);
}

#[test]
fn what_breaks_a_rule_of_the_listeners_is_refused() {
    for (head, tail, key, wanted) in [
        ("public_url = \"ftp://a.example\"", "", "public_url", "no scheme"),
        ("public_url = \"https://a.example/app\"", "", "public_url", "write \"https://a.example\""),
        ("public_url = \"https://a.example?x\"", "", "public_url", "query"),
        ("public_url = \"https://u:p@a.example\"", "", "public_url", "user or password"),
        ("", "[listen]\ntls_certificate_file = \"a.pem\"", "listen.tls_certificate_file", "needs `tls_key_file`"),
        ("", "[listen]\ntls_key_file = \"a.pem\"", "listen.tls_key_file", "needs `tls_certificate_file`"),
        ("", "[listen]\ntls_key_file = \"a.pem\"", "listen.tls_key_file", "is no file"),
        ("", "[listen]\naddress = \"0.0.0.0:9090\"", "admin.address", "same port"),
        ("", "[listen]\nmax_connections = 0", "listen.max_connections", "nobody"),
        ("", "[limits]\nheaders = 0", "limits.headers", "between 1 and 256"),
        ("", "[limits]\nheaders = 257", "limits.headers", "between 1 and 256"),
        ("", "[limits]\nheader_bytes = \"2MiB\"", "limits.header_bytes", "1MiB"),
        ("", "[limits]\nrequest_line = \"128KiB\"", "limits.request_line", "header_bytes"),
        ("", "[limits]\nrequest_line = 0", "limits.request_line", "no request"),
        ("", "[timeouts]\nconnect = \"0s\"", "timeouts.connect", "no time"),
        ("", "[brand]\nlogo_file = \"/does/not/exist.svg\"", "brand.logo_file", "is no file"),
    ] {
        refuses(&with(head, "", tail), key, wanted);
    }
}

#[test]
fn what_is_allowed_and_probably_not_meant_is_a_warning() {
    warns(&with("public_url = \"http://app.example.com\"", "", ""), "public_url", "https");
    warns(&with("", "", "[admin]\naddress = \"0.0.0.0:9090\""), "admin.address", "other machines");
    warns(&with("", "", "[[upstream]]\nname = \"b\"\nurl = \"http://b:1\"\n[[route]]"), "upstream[1]", "no route");
    for loopback in ["localhost:8080", "127.0.0.1", "127.1.2.3:80", "[::1]:80", "app.localhost"] {
        let text = with(&format!("public_url = \"http://{loopback}\""), "", "");
        assert_eq!(load(&text).expect("good").warnings, [""; 0], "{loopback}");
    }
}

#[test]
fn what_breaks_a_rule_of_the_secrets_and_sessions_is_refused() {
    let twice = format!("secrets = [\"{SECRET}\", \"{SECRET}\"]");
    for (head, tail, key, wanted) in [
        ("secrets = []", "", "secrets", "openssl rand -base64 32"),
        ("secrets = [\"short\"]", "", "secrets", "has 5 characters"),
        (twice.as_str(), "", "secrets[1]", "twice"),
        ("", "[session]\nidle = \"25h\"", "session.idle", "longer than `absolute`"),
        ("", "[session]\nidle = \"0s\"", "session.idle", "no time"),
        ("", "[session]\nrefresh = true\nrefresh_ahead = \"0s\"", "session.refresh_ahead", "no time"),
        ("", "[session]\nrefresh_ahead = \"90s\"", "session.refresh_ahead", "without `refresh = true`"),
        ("", "[session]\non_refresh_failure = \"sign_in\"", "session.on_refresh_failure", "without `refresh = true`"),
        ("", "[session]\nmax_bytes = 100", "session.max_bytes", "too small"),
        ("", "[session]\ncookie_name = \"a b\"", "session.cookie_name", "no name of a cookie"),
        ("", "[session]\ncookie_name = \"\"", "session.cookie_name", "no name of a cookie"),
        ("", "[session]\ncookie_name = \"__Host-a\"", "session.cookie_name", "prefix"),
        ("", "[session]\ncookie_name = \"__secure-a\"", "session.cookie_name", "prefix"),
        ("", "[session]\ncookie_domain = \"com\"", "session.cookie_domain", "single label"),
        ("", "[session]\ncookie_domain = \".example.com\"", "session.cookie_domain", "write \"example.com\""),
        ("", "[session]\ncookie_domain = \"ample.com\"", "session.cookie_domain", "does not contain"),
        ("", "[session]\ncookie_domain = \"other.com\"", "session.cookie_domain", "does not contain"),
        (
            "public_url = \"http://127.0.0.1\"",
            "[session]\ncookie_domain = \"0.0.1\"",
            "session.cookie_domain",
            "host name",
        ),
        ("", "[sign_in]\nattempt_lifetime = \"0s\"", "sign_in.attempt_lifetime", "no time"),
        ("", "[sign_in]\nafter_logout = \"//evil.example\"", "sign_in.after_logout", "single slash"),
        ("", "[sign_in]\nafter_logout = \"https://evil.example\"", "sign_in.after_logout", "single slash"),
        ("", "[sign_in]\nafter_logout = \"/\\\\evil.example\"", "sign_in.after_logout", "no path"),
    ] {
        refuses(&with(head, "", tail), key, wanted);
    }
    load(&with("", "", "[session]\ncookie_domain = \"example.com\"")).expect("a domain above the host is good");
}

#[test]
fn what_breaks_a_rule_of_the_providers_is_refused() {
    for (more, key, wanted) in [
        ("name = \"a b\"", "provider.name", "letters, digits"),
        ("name = \"\"", "provider.name", "letters, digits"),
        ("name = \"doorward\"", "provider.name", "own tokens"),
        ("name = \"service-account\"", "provider.name", "service accounts"),
        ("[[provider]]\nissuer = \"https://b.example\"\nclient_id = \"b\"", "provider[1].name", "the name of two"),
        ("client_auth = \"client_secret_basic\"", "provider.client_auth", "needs a client secret"),
        ("client_auth = \"client_secret_post\"", "provider.client_auth", "needs a client secret"),
        ("client_auth = \"none\"\nclient_secret = \"x\"", "provider.client_auth", "would not be used"),
        ("client_secret = \"\"", "provider.client_secret", "is empty"),
        ("logout_endpoint = \"http://a.example/bye\"", "provider.logout_endpoint", "use https"),
        ("logout_endpoint = \"ftp://a.example/bye\"", "provider.logout_endpoint", "no scheme of a web address"),
        ("logout_endpoint = \"https://a.example/#x\"", "provider.logout_endpoint", "fragment"),
        ("logout = \"none\"\nlogout_endpoint = \"https://a.example\"", "provider.logout_endpoint", "no effect"),
        ("id_token_algorithms = []", "provider.id_token_algorithms", "no ID token"),
        ("id_token_algorithms = [\"HS256\"]", "provider.id_token_algorithms", "everybody's secret"),
        (
            "id_token_algorithms = [\"HS512\"]\nclient_secret = \"0123456789abcdef0123456789abcdef\"",
            "provider.id_token_algorithms",
            "a secret of 64 characters",
        ),
        ("client_auth = \"client_secret_jwt\"", "provider.client_auth", "needs a client secret"),
        ("client_auth = \"private_key_jwt\"", "provider.client_auth", "needs a private key"),
        ("client_auth = \"tls_client_auth\"", "provider.client_auth", "needs a private key"),
        ("client_key_file = \"/no\"\nclient_auth = \"tls_client_auth\"", "provider.client_auth", "needs a certificate"),
        ("client_key_file = \"/no\"", "provider.client_key_file", "is no file"),
        ("client_key_file = \"/no\"\nclient_auth = \"none\"", "provider.client_key_file", "another way"),
        ("client_key_file = \"/no\"\nclient_secret = \"x\"", "provider.client_secret", "would authenticate with"),
        ("client_key_id = \"k\"", "provider.client_key_id", "no effect without `client_key_file`"),
        ("client_certificate_file = \"/no\"", "provider.client_certificate_file", "no effect without"),
        ("decryption_key_file = \"/no\"", "provider.decryption_key_file", "is no file"),
        ("client_assertion_algorithm = \"ES256\"", "provider.client_assertion_algorithm", "no assertion is sent"),
        (
            "client_assertion_algorithm = \"HS256\"\nclient_key_file = \"/no\"",
            "provider.client_assertion_algorithm",
            "is for secrets",
        ),
        (
            "client_assertion_algorithm = \"RS256\"\nclient_secret = \"x\"\nclient_auth = \"client_secret_jwt\"",
            "provider.client_assertion_algorithm",
            "needs a private key",
        ),
        ("client_assertion_audience = \"endpoint\"", "provider.client_assertion_audience", "no assertion is sent"),
        ("user_claim = \"\"", "provider.user_claim", "is empty"),
        ("timeout = \"0s\"", "provider.timeout", "no time"),
        ("ca_file = \"/does/not/exist\"", "provider.ca_file", "is no file"),
        ("authorization_params = { state = \"x\" }", "provider.authorization_params.state", "gateway itself"),
        ("authorization_params = { prompt = \"x\" }", "provider.authorization_params.prompt", "key of its own"),
    ] {
        refuses(&with("", more, ""), key, wanted);
    }
    for name in ["client_secret", "nonce", "scope", "redirect_uri", "response_mode", "code_challenge_method", "request"]
    {
        let place = format!("provider.authorization_params.{name}");
        refuses(&with("", &format!("authorization_params = {{ {name} = \"x\" }}"), ""), &place, "gateway itself");
    }
    for (issuer, wanted) in [
        ("ftp://a.example", "no scheme"),
        ("https://u@a.example", "user or password"),
        ("https://a.example?x=1", "query"),
        ("https://a.example/#x", "query"),
        ("https://a.example/t/.well-known/openid-configuration", "most likely \"https://a.example/t\""),
        ("https://a.example/oauth2/v2.0/authorize", "authorization endpoint"),
        ("https://a.example/realms/x/protocol/openid-connect/auth", "authorization endpoint"),
    ] {
        refuses(&with("", "", "").replace("https://login.example.com", issuer), "provider.issuer", wanted);
    }
    for issuer in ["https://sso.example.com/auth", "https://a.example/authorize"] {
        let text = with("", "", "").replace("https://login.example.com", issuer);
        warns(&text, "provider.issuer", "looks like the address of the authorization endpoint");
    }
    refuses(&with("", "", "").replace("\"app\"", "\"\""), "provider.client_id", "is empty");
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), rcgen::KeyPair::generate().expect("a key").serialize_pem()).expect("write");
    let key = format!("client_key_file = {:?}\n", file.path());
    let other = format!("{key}[[provider]]\nname = \"b\"\nissuer = \"https://b.example\"\nclient_id = \"app\"\n{key}");
    warns(&with("", &other, ""), "provider[1].client_key_file", "is that of provider `main`");
    let plain = with("", "", "").replace("https://login", "http://login");
    warns(&plain, "provider.issuer", "https");
}

#[test]
fn a_file_that_holds_something_else_is_named_with_its_key_and_place() {
    let folder = tempfile::tempdir().expect("a folder");
    let made = || rcgen::generate_simple_self_signed(["a.example".into()]).expect("a certificate");
    let (one, other) = (made(), made());
    let file = |name: &str, text: String| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("write");
        path
    };
    let (key, certificate) = (file("key", one.signing_key.serialize_pem()), file("certificate", one.cert.pem()));
    let another = file("another", other.cert.pem());
    for (provider, name, wanted) in [
        (format!("client_key_file = {certificate:?}"), "client_key_file", "but a certificate; the private key is"),
        (format!("decryption_key_file = {certificate:?}"), "decryption_key_file", "but a certificate; "),
        (
            format!("client_key_file = {key:?}\nclient_certificate_file = {key:?}"),
            "client_certificate_file",
            "but a private key; the certificate is",
        ),
        (
            format!("client_key_file = {key:?}\nclient_certificate_file = {another:?}"),
            "client_certificate_file",
            "of another key",
        ),
    ] {
        let text = with("", &provider, "");
        refuses(&text, &format!("provider.{name}"), wanted);
        assert!(errors_of(&text).iter().all(|error| !error.starts_with("0: ")), "a line is named");
    }
    let good = format!("client_key_file = {key:?}\nclient_certificate_file = {certificate:?}");
    assert_eq!(errors_of(&with("", &good, "")), [""; 0]);
    let listen = format!("[listen]\ntls_key_file = {certificate:?}\ntls_certificate_file = {key:?}\n");
    refuses(&with("", "", &listen), "listen.tls_key_file", "but a certificate");
    refuses(&with("", "", &listen), "listen.tls_certificate_file", "but a private key");
}

#[test]
fn what_breaks_a_rule_of_the_upstreams_is_refused() {
    for (more, key, wanted) in [
        ("tls_ca_file = \"a.pem\"", "upstream.tls_ca_file", "no effect"),
        ("tls_server_name = \"a\"", "upstream.tls_server_name", "no effect"),
        ("tls_server_name = \"a/b\"", "upstream.tls_server_name", "no host name"),
        ("host_header = \"a/b\"", "upstream.host_header", "neither"),
        ("host_header = \"a:b\"", "upstream.host_header", "neither"),
        ("connect = \"0s\"", "upstream.connect", "no time"),
        ("[[upstream]]\nurl = \"http://b:1\"\n[[route]]", "upstream[1].name", "the name of two"),
        ("[[upstream]]\nname = \"b\"\nurl = \"http://b:1\"", "route", "there is no route"),
    ] {
        refuses(&with("", "", more), key, wanted);
    }
    let unix = with("", "", "host_header = \"upstream\"").replace("http://127.0.0.1:3000", "unix:/run/a.sock");
    refuses(&unix, "upstream.host_header", "unix socket");
    for name in ["preserve", "upstream", "app.example.com", "app.example.com:8443", "[::1]:80"] {
        load(&with("", "", &format!("host_header = \"{name}\""))).expect(name);
    }
    let head = format!("public_url = \"https://a.example\"\nsecrets = [\"{SECRET}\"]\n");
    refuses(&format!("{head}{PROVIDER}"), "upstream", "no app to serve");
    refuses(&format!("{head}{PROVIDER}[[route]]"), "upstream", "needs an app");
    refuses(&format!("{head}{UPSTREAM}"), "route.access", "there is no provider");
    load(&format!("{head}{UPSTREAM}[[route]]\naccess = \"public\"")).expect("no provider is needed");
}

#[test]
fn what_breaks_a_rule_of_the_routes_is_refused() {
    for (route, key, wanted) in [
        ("provider = \"mian\"", "route.provider", "did you mean `main`?"),
        ("upstream = \"apps\"", "route.upstream", "did you mean `app`?"),
        ("upstream = \"elsewhere\"", "route.upstream", "there are: app"),
        ("access = \"bearer\"", "route.access", "neither issuer nor account"),
        ("access = \"signed-in\"\nscopes = [\"a\"]", "route.scopes", "takes no tokens"),
        ("access = \"bearer\"\nsign_in = \"page\"", "route.sign_in", "nobody signs in"),
        ("access = \"public\"\nallow = { groups = [\"a\"] }", "route.allow", "no effect on a public route"),
        ("access = \"public\"\nprovider = \"main\"", "route.provider", "no effect on a public route"),
        ("access = \"public\"\nsign_in = \"page\"", "route.sign_in", "no effect on a public route"),
        ("path = \"/a\"\nexact = \"/a\"", "route.exact", "both set"),
        ("path = \"/a/\"", "route.path", "write \"/a\""),
        ("exact = \"/a\"\nstrip_prefix = true", "route.strip_prefix", "no effect"),
        ("strip_prefix = true", "route.strip_prefix", "no effect"),
        ("path = \"/oidc/x\"", "route.path", "gateway itself"),
        ("exact = \"/logout\"", "route.exact", "gateway itself"),
        ("host = \"a.example:443\"", "route.host", "has a port"),
        ("host = \"*.example\"", "route.host", "wildcard"),
        ("host = \"a b\"", "route.host", "no host name"),
        ("host = \"\"", "route.host", "no host name"),
        ("name = \"\"", "route.name", "is empty"),
        ("name = \"a\"\n[[route]]\npath = \"/b\"\nname = \"a\"", "route[1].name", "the name of two"),
        ("allow = {}", "route.allow", "everybody would be refused"),
        ("allow = { emails = [\"ada\"] }", "route.allow.emails", "no e-mail address"),
        ("allow = { email_domains = [\"@example.com\"] }", "route.allow.email_domains", "write \"example.com\""),
        ("allow = { email_domains = [\"a b\"] }", "route.allow.email_domains", "no domain"),
        ("allow = { groups = [\"\"] }", "route.allow.groups", "no group"),
        ("allow = { claims = [{ claim = \"a\" }] }", "route.allow.claims", "exactly one"),
        (
            "allow = { claims = [{ claim = \"a\", equals = \"b\", contains = \"c\" }] }",
            "route.allow.claims",
            "exactly one",
        ),
        ("allow = { claims = [{ claim = \"a\", one_of = [] }] }", "route.allow.claims.one_of", "nobody meets it"),
        ("allow = { claims = [{ claim = \"\", equals = \"b\" }] }", "route.allow.claims.claim", "is empty"),
    ] {
        refuses(&with("", "", &format!("[[route]]\n{route}")), key, wanted);
    }
}

#[test]
fn a_route_s_path_has_the_one_form_in_which_requests_are_matched() {
    for (path, wanted) in [
        ("", "begin with a slash"),
        ("a", "begin with a slash"),
        ("/a//b", "doubled slash"),
        ("/a/../b", "dot segment"),
        ("/.", "dot segment"),
        ("/a?b", "query"),
        ("/a#b", "query"),
        ("/a/*", "the prefix alone"),
        ("/é", "not ASCII"),
        ("/a b", "no path holds"),
        ("/a\\\\b", "no path holds"),
        ("/%", "two hexadecimal digits"),
        ("/%4", "two hexadecimal digits"),
        ("/%zz", "two hexadecimal digits"),
        ("/%41", "write `A` as it is"),
        ("/%2e%2e/x", "write `.` as it is"),
        ("/a%2Fb", "encodes a slash"),
        ("/a%00", "control character"),
        ("/caf%c3%a9", "write `%C3`"),
    ] {
        refuses(&with("", "", &format!("[[route]]\npath = \"{path}\"")), "route.path", wanted);
    }
    for path in ["/", "/a", "/a/b.c", "/caf%C3%A9", "/~a", "/a:b@c", "/oidcx", "/logout-help"] {
        load(&with("", "", &format!("[[route]]\npath = \"{path}\""))).expect(path);
    }
}

#[test]
fn two_routes_for_the_same_requests_are_refused_and_both_are_named() {
    for (first, second, clash) in [
        ("", "", true),
        ("path = \"/\"", "", true),
        ("path = \"/a\"", "path = \"/a\"", true),
        ("path = \"/a\"", "path = \"/b\"", false),
        ("path = \"/a\"", "exact = \"/a\"", false),
        ("exact = \"/a\"", "exact = \"/a\"", true),
        ("host = \"a.example\"", "host = \"A.example\"", true),
        ("host = \"a.example\"", "", false),
        ("methods = [\"GET\"]", "methods = [\"POST\"]", false),
        ("methods = [\"GET\"]", "methods = [\"POST\", \"get\"]", true),
        ("methods = [\"GET\"]", "methods = [\"HEAD\"]", true),
        ("methods = [\"GET\"]", "", false),
    ] {
        let text = with("", "", &format!("[[route]]\n{first}\n[[route]]\n{second}"));
        if clash {
            refuses(&text, "route[1]", "matches the same requests");
            refuses(&text, "route[1]", ":10;");
        } else {
            load(&text).unwrap_or_else(|e| panic!("{first} / {second}: {e}"));
        }
    }
}

#[test]
fn what_breaks_a_rule_of_the_headers_is_refused() {
    let rule = |name: &str| format!("[[headers.set]]\nname = \"{name}\"\nclaim = \"email\"\n");
    for name in [
        "Host",
        "Cookie",
        "Authorization",
        "Content-Length",
        "Content_Type",
        "X-Forwarded-For",
        "X_Forwarded_Proto",
        "X-Forwarded-Host",
        "X-Forwarded-Port",
        "Forwarded",
        "Connection",
        "Transfer-Encoding",
        "Sec-Fetch-Mode",
    ] {
        refuses(&with("", "", &rule(name)), "headers.set.name", "not for identities");
    }
    refuses(&with("", "", &rule("X_Forwarded_User")), "headers.set.name", "`headers.standard`");
    refuses(&with("", "", &(rule("X-User") + &rule("x_user"))), "headers.set[1].name", "set twice");
    refuses(&with("", "", &rule("X-User").replace("email", "")), "headers.set.claim", "is empty");
    refuses(&with("", "", &format!("[headers]\ndrop = [\"x.user\"]\n{}", rule("X-User"))), "headers.drop", "is set");
    refuses(&with("", "", "[headers]\ndrop = [\"Host\"]"), "headers.drop", "no identity header");
    refuses(&with("", "", "[headers]\nmax_value_bytes = 0"), "headers.max_value_bytes", "no value");
    load(&with("", "", &format!("[headers]\nstandard = false\n{}", rule("X-Forwarded-User")))).expect("no clash");
}

#[test]
fn all_broken_rules_are_reported_at_once() {
    let errors =
        errors_of(&with("", "client_auth = \"client_secret_post\"", "[limits]\nheaders = 0\n[[route]]\npath = \"a\""));
    assert_eq!(errors.len(), 3, "{errors:#?}");
}

const ISSUER: &str = "[[issuer]]\nname = \"ci\"\nissuer = \"https://ci.example\"\n";

#[test]
fn what_breaks_a_rule_of_the_issuers_is_refused() {
    for (issuer, key, wanted) in [
        ("", "issuer.audiences", "for other services"),
        ("audiences = [\"a\"]\nany_audience = true", "issuer.any_audience", "lists some"),
        ("audiences = [\"a\"]\nprovider = \"main\"", "issuer.issuer", "says it too"),
        ("audiences = [\"a\"]\ntenants = [\"t\"]", "issuer.tenants", "no effect"),
        ("audiences = [\"a\"]\nissuer_aliases = [\"https://x/{tenantid}\"]", "issuer.tenants", "is needed"),
        ("audiences = [\"a\"]\nissuer_aliases = [\"https://ci.example\"]", "issuer.issuer", "two entries"),
        ("audiences = [\"a\"]\nalgorithms = [\"HS256\"]", "issuer.algorithms", "everybody's secret"),
        ("audiences = [\"a\"]\nsecret = \"short\"", "issuer.secret", "at least 32"),
        ("audiences = [\"a\"]\ntyp = []", "issuer.typ", "no token"),
        ("audiences = [\"a\"]\naddress = \"http://ci/path\"", "issuer.address", "has a path"),
        ("audiences = [\"a\"]\nintrospection = true", "issuer.client_id", "is needed"),
        (
            "audiences = [\"a\"]\nintrospection = true\nclient_id = \"a\"\nclient_auth = \"private_key_jwt\"",
            "issuer.client_auth",
            "not for introspection",
        ),
        ("audiences = [\"a\"]\nclient_id = \"x\"", "issuer.client_id", "no effect"),
        ("audiences = [\"a\"]\njwks_uri = \"https://a\"\njwks_file = \"x\"", "issuer.jwks_file", "one place"),
    ] {
        refuses(&with("", "", &format!("{ISSUER}{issuer}")), key, wanted);
    }
    for (tenants, key, wanted) in [
        ("[\"\"]", "issuer.tenants", "is no tenant"),
        ("[\"a/b\"]", "issuer.tenants", "is no tenant"),
        ("[\"a\", \"{tenantid}\"]", "issuer.tenants[1]", "is no tenant"),
        ("[\"a\", \"a\"]", "issuer.tenants[1]", "listed twice"),
    ] {
        let text = ISSUER.replace("ci.example", "ci.example/{tenantid}");
        refuses(&with("", "", &format!("{text}audiences = [\"a\"]\ntenants = {tenants}")), key, wanted);
    }
    for (name, wanted) in [("doorward", "own tokens"), ("service-account", "service accounts")] {
        let text = ISSUER.replace("\"ci\"", &format!("\"{name}\""));
        refuses(&with("", "", &format!("{text}audiences = [\"a\"]")), "issuer.name", wanted);
    }
    let secret = format!("audiences = [\"a\"]\nsecret = \"{SECRET}\"\nalgorithms = ");
    refuses(&with("", "", &format!("{ISSUER}{secret}[\"RS256\"]")), "issuer.algorithms", "not for a shared secret");
    refuses(&with("", "", &format!("{ISSUER}{secret}[\"HS512\"]")), "issuer.algorithms", "64 characters");
    warns(&with("", "", &format!("{ISSUER}any_audience = true")), "issuer.any_audience", "any other service");
    let plain = ISSUER.replace("https://ci", "http://ci");
    warns(&with("", "", &format!("{plain}audiences = [\"a\"]")), "issuer.issuer", "is http");
}

#[test]
fn what_breaks_a_rule_of_federation_and_accounts_is_refused() {
    let issuer = format!("{ISSUER}audiences = [\"a\"]\n");
    for (more, key, wanted) in [
        ("[federation]\naudiences = [\"a\"]", "federation.allow", "nobody's assertion"),
        ("[federation]\nallow = { groups = [\"g\"] }", "federation.audiences", "is required"),
        ("[federation]\naudiences = [\"a\"]\nissuers = [\"co\"]", "federation.issuers", "did you mean `ci`?"),
        ("[[service_account]]\nname = \"a b\"", "service_account.name", "no name"),
        ("[[service_account]]\nname = \"a\"\nemail = \"a\"", "service_account.email", "no e-mail"),
        ("[[service_account]]\nname = \"a\"\nacts_for = [\"\"]", "service_account.acts_for", "names nobody"),
        ("[[service_account]]\nname = \"a\"\nacts_for = [\"a, b\"]", "service_account.acts_for", "names nobody"),
        ("[[service_account]]\nname = \"a\"\nexternal_subject = \"s\"", "service_account.external_issuer", "needed"),
        ("[[route]]\naccess = \"bearer\"\nissuers = [\"doorward\"]", "route.issuers", "there is no issuer"),
        ("[[route]]\naccess = \"bearer\"\nattribution = true", "route.attribution", "no account"),
    ] {
        refuses(&with("", "", &format!("{issuer}{more}")), key, wanted);
    }
    let own = issuer.replace("https://ci.example", "https://app.example.com");
    let whole = "[federation]\naudiences = [\"a\"]\nallow = { groups = [\"g\"] }";
    refuses(&with("", "", &format!("{own}{whole}")), "issuer.issuer", "own tokens");
    // The provider's issuer has no path, so the slash is not known.
    for slash in ["", "/"] {
        let people = "[[issuer]]\nname = \"people\"\nprovider = \"main\"\naudiences = [\"a\"]\n";
        let again = issuer.replace("https://ci.example", &format!("https://login.example.com{slash}"));
        refuses(&with("", "", &format!("{people}{again}")), "issuer[1].issuer", "two entries");
    }
    // An account may name itself.
    let itself = "[[service_account]]\nname = \"a\"\n[[route]]\naccess = \"bearer\"\nattribution = true";
    load(&with("", "", &format!("{issuer}{itself}"))).expect("attribution to itself");
    let open = "[federation]\nskip_audience_validation = true\nallow = { groups = [\"g\"] }";
    warns(&with("", "", &format!("{issuer}{open}")), "federation.skip_audience_validation", "any other service");
}

#[test]
fn no_two_entries_stand_for_one_iss_by_way_of_a_tenant() {
    let all = "[[issuer]]\nname = \"all\"\nissuer = \"https://l.example/{tenantid}/v2.0\"\ntenants = [\"t1\", \"t2\"]\n\
               issuer_aliases = [\"https://sts.example/{tenantid}/\"]\naudiences = [\"a\"]\n";
    for (iss, clash) in
        [("https://l.example/t1/v2.0", true), ("https://sts.example/t2/", true), ("https://l.example/t3/v2.0", false)]
    {
        let one = ISSUER.replace("https://ci.example", iss) + "audiences = [\"b\"]\n";
        for both in [format!("{all}{one}"), format!("{one}{all}")] {
            match clash {
                true => refuses(&with("", "", &both), "issuer[1].issuer", "two entries"),
                false => drop(load(&with("", "", &both)).expect("another tenant")),
            }
        }
    }
}
