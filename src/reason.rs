//! Every way the gateway can refuse or fail, each with a stable code, its cause and its remedy.
//!
//! Promise: a code never changes its meaning and is never used again for another. The reason decides
//! the status, the page, the log line and the metric label; no other room invents a status or a text.
//! `docs/reasons.md` is generated from this table (`doorward reasons`) and tested to be current.
//!
//! The hundreds say where in the way of a request a code belongs: 1 the request itself, 2 routes and
//! upstreams, 3 signing in, 4 sessions, 5 who may, 6 the provider, 7 configuration and start, 8 programs.

/// Who most likely reads about a failure, and therefore whom the remedy addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// Somebody in front of a browser.
    Person,
    /// Whoever runs the gateway, the provider's registration or the app.
    Admin,
    /// Only a hand-made request gets here.
    Attacker,
}

impl Reader {
    /// The word `docs/reasons.md` uses.
    pub fn as_str(self) -> &'static str {
        match self {
            Reader::Person => "person",
            Reader::Admin => "admin",
            Reader::Attacker => "attacker",
        }
    }
}

/// What there is to say about one [`Reason`].
#[derive(Debug)]
pub struct Info {
    /// Stable code, `DW-` and four digits.
    pub code: &'static str,
    /// HTTP status of the answer; 0 where the reason never answers a request.
    pub status: u16,
    pub reader: Reader,
    /// What happened, in a few words: the heading of the page.
    pub title: &'static str,
    /// Why, in a sentence.
    pub cause: &'static str,
    /// What to do about it, in a sentence.
    pub remedy: &'static str,
}

macro_rules! reasons {
    ($($variant:ident = $code:literal, $status:literal, $reader:ident, $title:literal,
       $cause:literal, $remedy:literal;)*) => {
        /// One way to refuse or fail. See [`Reason::info`] for its text.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Reason { $(#[doc = $title] $variant,)* }

        impl Reason {
            /// All of them, in the order of their codes.
            pub const ALL: &'static [Reason] = &[$(Reason::$variant,)*];

            /// Code, status, reader and texts.
            pub fn info(self) -> &'static Info {
                match self {
                    $(Reason::$variant => &Info {
                        code: $code, status: $status, reader: Reader::$reader,
                        title: $title, cause: $cause, remedy: $remedy,
                    },)*
                }
            }
        }
    };
}

reasons! {
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
        "The head of the request has a bare line feed or carriage return, or a control character in a value.",
        "End lines with CR LF and send only visible characters in values (RFC 9112 §2.2).";
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

    // 3 ── signing in
    SignInNeeded = "DW-3001", 401, Person, "Sign in to go on",
        "This address is for people who are signed in, and the request brought no session.",
        "Open the sign-in address in a browser.";
    SessionEndedDuringPost = "DW-3002", 401, Person, "Your session ended before this was sent",
        "The form was sent without a valid session, and what it held was not passed on.",
        "Sign in again, go back, and send the form once more.";
    CallbackNotFromSignIn = "DW-3101", 400, Person, "This is not the end of a sign-in",
        "The callback was opened without a `state`: by hand, from a bookmark, or by a link that was built for another product.",
        "Start at the front page.";
    CallbackParameter = "DW-3102", 400, Attacker, "The provider's answer is malformed",
        "A parameter of the callback is missing, empty, doubled or of absurd length.",
        "Start the sign-in again.";
    AttemptUnknown = "DW-3103", 400, Person, "This browser did not start that sign-in",
        "The `state` belongs to no sign-in that this browser has open. Likely: the cookie was not kept (another host than the public URL, cookies blocked), it was used before, or it was started in another browser.",
        "Start again at the front page, in one browser; an admin checks that the address in the bar is the configured `public_url`.";
    AttemptExpired = "DW-3104", 400, Person, "The sign-in took too long",
        "More than `sign_in.attempt_lifetime` lies between the start of the sign-in and its end, or the clocks of two replicas differ.",
        "Start again.";
    IssuerMixUp = "DW-3105", 400, Attacker, "Another provider answered",
        "The `iss` of the authorization response is not the issuer that was asked, or is missing although the provider says it sends one (RFC 9207); or the answer came to the redirect URI of another provider.",
        "Start again; if it recurs, an admin compares the configured `issuer` with the provider's metadata, and the redirect URIs that `doorward check` prints with those registered.";
    ProviderSaidNo = "DW-3106", 403, Person, "The provider refused the sign-in",
        "The provider answered with an error instead of a code; its own words are in the log line.",
        "Try again, or ask whoever runs the provider with the reference below.";
    ProviderMisconfigured = "DW-3107", 502, Admin, "The provider does not accept this gateway",
        "The provider answered with an error that speaks of the registration: client, scope, response type or redirect URI.",
        "Compare the client's registration at the provider with `[[provider]]`; its own words are in the log line.";
    SignInLoop = "DW-3108", 508, Person, "Signing in goes round in circles",
        "Three sign-ins within a minute succeeded at the provider, and each time the browser came back without a usable session.",
        "Read what was seen, below; then try again after a minute.";
    ReturnAddress = "DW-3109", 400, Attacker, "The return address leads elsewhere",
        "The address to return to is not a path on this host.",
        "Start at the front page.";
    ProviderUnknown = "DW-3110", 404, Admin, "There is no such provider",
        "The sign-in address names a provider that is not configured.",
        "Start at the front page; an admin compares the name with `[[provider]]`.";
    LogoutFromElsewhere = "DW-3111", 403, Person, "Another site asked to sign you out",
        "The sign-out address was opened by a page of another site, which is not for it to decide.",
        "If you want to sign out, use the button on this page.";
    ResponseMode = "DW-3112", 400, Admin, "The provider answered another way than it was asked to",
        "The sign-in asked for an answer in a form or in the address, or for a code or an ID token, and the other came.",
        "Allow the flow and response mode of `auth_method` for this client at the provider, or set `auth_method` to what the client is registered for.";
    LogoutRequest = "DW-3113", 400, Admin, "The provider's sign-out request cannot be used",
        "A front-channel sign-out names no session (`iss` and `sid`) or a provider that is not configured.",
        "Have the provider send `iss` and `sid` (`frontchannel_logout_session_required`).";
    LogoutToken = "DW-3114", 400, Admin, "The logout token is not accepted",
        "The back-channel sign-out's `logout_token` is malformed, not the provider's, not for this client, too old, or not a logout token (OpenID Connect Back-Channel Logout §2.6).",
        "Compare the client's registration at the provider and the clocks; which check failed is in the log line.";
    LogoutTokenReplayed = "DW-3115", 400, Attacker, "The logout token was used before",
        "A logout token with this `jti` has been taken already.",
        "Nothing to do; the sessions it names have ended.";
    TooManyLogoutTokens = "DW-3116", 503, Admin, "Too many encrypted logout tokens at once",
        "More encrypted logout tokens came at the same time than the gateway opens; anybody can send some.",
        "The provider sends it again; where this goes on, an admin looks who else sends to `/oidc/backchannel-logout`.";
    CodeRefused = "DW-3201", 400, Person, "The provider does not take the code",
        "The token endpoint answered `invalid_grant`: the code was used before, is too old, or was issued for another redirect URI.",
        "Start again.";
    ClientRefused = "DW-3202", 502, Admin, "The provider does not accept the client's secret",
        "The token endpoint answered `invalid_client` or `unauthorized_client`: the secret is wrong, missing, expired or not wanted, or is sent another way than registered.",
        "Compare `client_id`, `client_secret` and `client_auth` with the registration at the provider.";
    TokenAnswer = "DW-3203", 502, Admin, "The provider's token answer cannot be used",
        "The token endpoint answered with another error, or with what is not a token response (RFC 6749 §5).",
        "Look at the provider's own words in the log line.";
    NoIdToken = "DW-3204", 502, Admin, "The provider sent no ID token",
        "The token response holds no `id_token`; the scope `openid` is missing, or this is not an OpenID provider.",
        "Add `openid` to `scopes`, and check that the `issuer` is an OpenID provider.";
    UserinfoAnswer = "DW-3205", 502, Admin, "The provider's userinfo answer cannot be used",
        "The userinfo endpoint answered with an error, with what is no JSON and no signed token, or about somebody else than the ID token.",
        "Look at the log line; take `userinfo = true` away where the ID token says enough.";
    IdTokenForm = "DW-3301", 502, Admin, "The ID token cannot be read",
        "It is not a signed JWT in compact form with the claims OpenID Connect Core §2 requires in their types.",
        "Set the client's ID token to be a signed JWT at the provider.";
    IdTokenAlgorithm = "DW-3302", 502, Admin, "The ID token's algorithm is not accepted",
        "The token is unsigned, or signed with an algorithm that `id_token_algorithms` does not list.",
        "Set the client's ID token algorithm at the provider to RS256, or add the algorithm to `id_token_algorithms`.";
    IdTokenSignature = "DW-3303", 502, Attacker, "The ID token's signature is wrong",
        "The signature does not match the provider's published key.",
        "Start again; if it recurs, an admin checks that the `issuer` is the right one and that nothing answers in its place.";
    IdTokenKey = "DW-3304", 502, Admin, "The ID token's key is not published",
        "The provider's key set holds no key, or no single key, for this token.",
        "Start again in a minute; if it recurs, look at the provider's key set.";
    IdTokenIssuer = "DW-3305", 502, Admin, "The ID token is from another issuer",
        "The `iss` claim is not the configured issuer, to the letter.",
        "Set `issuer` to what the provider says it is (mind a slash at the end).";
    IdTokenAudience = "DW-3306", 502, Admin, "The ID token is for another client",
        "The `aud` claim does not hold the `client_id`, holds others that are not trusted, or `azp` names another client.",
        "Compare `client_id` with the registration at the provider.";
    IdTokenExpired = "DW-3307", 502, Admin, "The ID token is not valid now",
        "Its `exp`, `iat` or `nbf` does not fit the gateway's clock within the leeway.",
        "Set the clocks of the gateway's and the provider's hosts; how far they are apart is in the log line.";
    IdTokenNonce = "DW-3308", 400, Attacker, "The ID token belongs to another sign-in",
        "The `nonce` claim is missing or not the one of this sign-in.",
        "Start again.";
    IdTokenHash = "DW-3309", 502, Attacker, "The tokens do not belong together",
        "The `at_hash` or `c_hash` of the ID token is not the hash of the access token or code that came with it, or two ID tokens of one sign-in are about different people.",
        "Start again; if it recurs, look at the provider.";
    IdTokenAuthentication = "DW-3310", 403, Person, "The provider did not ask as it was told to",
        "`max_age` or `acr_values` was asked for, and the ID token's `auth_time` or `acr` does not show it.",
        "Sign out at the provider and sign in again; an admin checks that the provider supports what is asked.";
    IdTokenEncrypted = "DW-3311", 502, Admin, "The ID token is encrypted",
        "The provider encrypts this client's ID tokens, and `decryption_key_file` is not set.",
        "Turn the encryption of ID tokens off for this client at the provider, or set `decryption_key_file` to the key whose public half is registered there.";
    IdTokenDecryption = "DW-3312", 502, Admin, "The ID token cannot be decrypted",
        "It is not encrypted for a key of `decryption_key_file`, by an algorithm that is not accepted, or was altered.",
        "Register the public half of the key in `decryption_key_file` at the provider, with RSA-OAEP, RSA-OAEP-256 or ECDH-ES and AES-GCM or AES-CBC with HMAC.";
    TenantRefused = "DW-3313", 403, Person, "Your organisation may not sign in here",
        "The provider serves several organisations, and that of this account is not among `tenants`, or not the one that `hd` of `authorization_params` names.",
        "Sign in with the account of another organisation; an admin adds the tenant's id to `tenants`, or corrects `hd`.";
    SessionTooLarge = "DW-3401", 502, Admin, "What the provider says about you is too large",
        "The session would not fit into the cookies a browser keeps, or one value is longer than a header may be; most often far too many groups.",
        "Have the provider send fewer groups or claims to this client, or raise `session.max_bytes`.";
    ClaimMalformed = "DW-3402", 502, Admin, "A claim cannot be used",
        "A claim that a header or rule needs has a control character or another type than needed.",
        "Correct the value at the provider; the claim is named in the log line.";
    ClaimsElsewhere = "DW-3403", 0, Admin, "The provider keeps a claim elsewhere",
        "The token does not hold the claim but says where it is (`_claim_names`, OpenID Connect Core §5.6.2); Entra does so for people in more than about 200 groups.",
        "Have the provider send only the groups assigned to this application, or app roles; the claim is named in the log line.";

    PasswordWrong = "DW-3501", 401, Person, "Name or password is wrong",
        "The directory knows nobody of this name, or not with this password; on the way in it is not the password of the log.",
        "Try again; whoever runs the directory can set a new password.";
    PasswordForm = "DW-3502", 400, Person, "The form could not be read",
        "The sign-in form came without what belongs to it: it was open for too long, was sent twice, or this browser keeps no cookies for this site.",
        "Open the sign-in page again and fill the form in once more.";
    PasswordFromElsewhere = "DW-3503", 403, Attacker, "The form was not sent from this site",
        "A page of another site sent the sign-in form, or a program did that does not say where it comes from.",
        "Open the sign-in page here and fill the form in.";
    TooManyAttempts = "DW-3504", 429, Person, "Too many attempts",
        "Passwords were wrong too often, for this account or from this address (`[attempts]`).",
        "Wait as long as `Retry-After` says, and try again; nothing is locked for good.";
    NameUnusable = "DW-3505", 400, Person, "That is no name",
        "The name is empty or too long, or has a control character or one that cannot be seen.",
        "Type the name by hand.";
    NameAmbiguous = "DW-3506", 403, Admin, "The name stands for two accounts",
        "The directory has more than one entry for this name, and nobody can tell whose the password would be.",
        "Make the name unique in the directory, or narrow `base_dn` or `user_filter` of `[ldap]`.";
    DirectoryGroupMissing = "DW-3507", 403, Person, "Your groups may not sign in",
        "The password is right, and none of your groups is in `group_allow_list` of `[ldap]`.",
        "Ask an admin to add you to a group that may.";
    DirectoryGroupsTooMany = "DW-3508", 403, Admin, "You are in too many groups",
        "The directory says more groups than `max_groups` of `[ldap]` allows.",
        "Narrow `group_base_dn` or `group_filter`, or raise `max_groups`.";
    DirectoryEntryUnusable = "DW-3509", 403, Admin, "Your entry in the directory cannot be used",
        "The entry lacks the attribute that says what you are called, or has it twice.",
        "Correct the entry, or `attributes` of `[ldap]`; the attribute is named in the log line.";
    RestoreOnly = "DW-3521", 503, Person, "Only the way in is open",
        "The gateway runs in restore mode: single sign-on, passwords, tokens and earlier sessions do not count while it is set.",
        "Wait until it is over; whoever runs the gateway takes `DOORWARD_RESTORE` or `LOCAL_RESTORE` away and starts it again.";

    // 4 ── sessions
    SessionMissing = "DW-4001", 401, Person, "There is no session",
        "The request brought no session cookie.",
        "Sign in.";
    SessionUnreadable = "DW-4002", 401, Person, "The session cannot be opened",
        "The session cookie is incomplete, was altered, or is sealed with a secret this gateway does not have.",
        "Sign in again; where it recurs, an admin checks that all replicas have the same `secrets`.";
    SessionExpired = "DW-4003", 401, Person, "The session has ended",
        "Its absolute limit has passed.",
        "Sign in again.";
    SessionIdle = "DW-4004", 401, Person, "The session was idle for too long",
        "Nothing was asked for longer than `session.idle`.",
        "Sign in again.";
    SessionProviderGone = "DW-4005", 401, Person, "The session's provider is no longer configured",
        "The session was made by a provider that the configuration does not name any more, or that this route does not accept.",
        "Sign in again.";
    SessionEnded = "DW-4006", 401, Person, "The session was ended",
        "Somebody signed out of it: the person in another tab, or the provider for all apps at once.",
        "Sign in again.";
    RefreshRefused = "DW-4101", 401, Person, "The provider did not renew the session",
        "The provider refused the refresh token, and `session.on_refresh_failure` says to sign in again.",
        "Sign in again.";
    RefreshUnavailable = "DW-4102", 401, Person, "The session could not be renewed",
        "The provider did not answer the renewal, and `session.on_refresh_failure` says to sign in again.",
        "Sign in again when the provider answers.";

    // 5 ── who may
    RuleNotMet = "DW-5001", 403, Person, "You may not open this",
        "It is known who you are, and the rules of this route do not name you.",
        "Ask an admin for access, with the reference of this answer; or come as somebody else.";
    EmailUnverified = "DW-5002", 403, Person, "Your e-mail address is not verified",
        "A rule of this route goes by e-mail address, and the provider says that yours is not verified.",
        "Verify the address at the provider and sign in again.";
    ClaimAbsent = "DW-5003", 403, Admin, "The provider does not say what the rule needs",
        "A rule of this route goes by a claim that the session or token does not hold at all.",
        "Have the provider put the claim into the tokens of this client, and sign in again or get a new one; the claim is named in the log line.";
    IdentityTooLarge = "DW-5004", 403, Admin, "Who you are does not fit into a header",
        "The value of an identity header would be longer than the app takes.",
        "Have the provider send fewer groups to this client, or send another claim in the header.";
    StepUpNeeded = "DW-5005", 401, Person, "This needs another sign-in",
        "The route asks for a stronger or more recent sign-in (`acr_values`, `max_age`, `fresh_sign_in`) than the session's.",
        "Open the address in a browser, which leads through the sign-in (RFC 9470).";

    // 6 ── the provider
    ProviderNotReady = "DW-6001", 503, Admin, "The provider cannot be reached yet",
        "The provider's metadata or keys have not been fetched since the gateway started.",
        "Wait a moment; an admin reads on /readyz which step fails and why.";
    ProviderUnreachable = "DW-6002", 503, Admin, "The provider does not answer",
        "The token endpoint could not be reached, or answered with a server error.",
        "Try again in a moment; an admin looks at the provider.";
    DiscoveryFailed = "DW-6101", 0, Admin, "The provider's metadata cannot be fetched",
        "DNS, TCP, TLS or HTTP failed at `{issuer}/.well-known/openid-configuration`.",
        "Check that `issuer` is right and open that address from the gateway's host; set `ca_file` where the provider has a certificate of an own authority.";
    DiscoveryIssuer = "DW-6102", 0, Admin, "The provider calls itself something else",
        "The `issuer` in the metadata is not the configured one, to the letter (OpenID Connect Discovery §4.3).",
        "Set `issuer` to what the metadata says, if that is your provider.";
    DiscoveryForm = "DW-6103", 0, Admin, "The provider's metadata cannot be used",
        "The answer is no JSON, too large, or lacks an endpoint that the code flow needs.",
        "Check that `issuer` is the issuer and not the address of a page or an endpoint.";
    KeysFailed = "DW-6104", 0, Admin, "The provider's keys cannot be fetched",
        "The `jwks_uri` did not answer with a key set that holds a usable signing key.",
        "Open the `jwks_uri` from the gateway's host.";
    ProviderCapability = "DW-6105", 0, Admin, "The provider cannot do what is configured",
        "The metadata does not list the response type, the response mode or the client authentication that is configured.",
        "Change the setting named in the log line, or the client's registration.";

    DirectoryUnreachable = "DW-6201", 503, Admin, "The directory does not answer",
        "No connection to any `address` of `[ldap]` could be made, it broke, or an answer took longer than `timeout`.",
        "Try again in a moment; an admin looks at the directory and at /readyz.";
    DirectoryTls = "DW-6202", 503, Admin, "The directory's certificate is not accepted",
        "TLS with the directory failed: another name, expired, an authority that is not trusted, or StartTLS was refused.",
        "Renew the directory's certificate, or set `ca_file` or the host in `address` of `[ldap]`.";
    DirectoryBindRefused = "DW-6203", 503, Admin, "The directory does not accept the gateway",
        "The directory refused `bind_dn` with `bind_password`, or takes no anonymous search.",
        "Correct them; the directory's own words are in the log line.";
    DirectoryAnswer = "DW-6204", 503, Admin, "The directory's answer cannot be used",
        "What came is no LDAP, or the search failed: `base_dn` does not exist, a limit, or missing rights.",
        "Compare `base_dn` and the rights of `bind_dn` with the directory; its own words are in the log line.";
    DirectoryBusy = "DW-6205", 503, Admin, "Too many sign-ins at once",
        "More people sign in at the same time than the directory is asked about (`concurrent_sign_ins` of `[ldap]`).",
        "Try again in a moment.";

    // 7 ── configuration and start
    ConfigUnreadable = "DW-7001", 0, Admin, "The configuration file cannot be read",
        "It is missing, or may not be read by the gateway's user.",
        "Name the file with `--config`, or correct its permissions.";
    ConfigInvalid = "DW-7002", 0, Admin, "The configuration is not valid",
        "A key is unknown, a value has the wrong type, or two settings contradict each other.",
        "Correct the line that is named.";
    SecretMissing = "DW-7003", 0, Admin, "A secret is missing",
        "A required secret is not set, or its file is missing, empty or of more than one line.",
        "Set it, or correct the file; `openssl rand -base64 32` makes a new one for `secrets`.";
    ListenFailed = "DW-7004", 0, Admin, "An address cannot be listened on",
        "Another process has the port, or the gateway's user may not take it.",
        "Choose another address, or end the other process.";
    CertificateUnusable = "DW-7005", 0, Admin, "A certificate or key file cannot be used",
        "The file is missing, is not PEM, or certificate and key do not belong together.",
        "Correct the file that is named.";
    Internal = "DW-7999", 500, Admin, "The gateway made a mistake",
        "Something happened that should not be possible.",
        "Report it with the log line of this reference.";

    // 8 ── programs: tokens, exchange, keys. Their details are shown to whoever sent the credential, so they hold nothing
    // but what is expected and what that credential itself says.
    TokenMissing = "DW-8001", 401, Person, "A bearer token is needed",
        "The request brought neither a bearer token nor a key, and this address is for programs.",
        "Send `Authorization: Bearer` with a token or a service account's key.";
    TokenForm = "DW-8002", 401, Person, "The token cannot be read",
        "It is not a signed JWT in compact form (RFC 7519 §7.2) with the claims it must have in their types, nor anything else that is accepted here.",
        "Send the access token as it was issued, whole and without quotes; what it says itself is for its issuer to correct.";
    TokenAlgorithm = "DW-8003", 401, Person, "The token's algorithm is not accepted",
        "It is unsigned, or signed with an algorithm that its issuer's entry does not accept or its key is not for.",
        "Have the issuer sign with an algorithm that is accepted and that its key is for; an admin reads `algorithms` of the `[[issuer]]`.";
    TokenIssuer = "DW-8004", 401, Person, "The token's issuer is not accepted here",
        "Its `iss` is none of the configured issuers, or this route does not take that issuer's tokens.",
        "Get a token of an accepted issuer; an admin compares `iss` with `issuer` of the `[[issuer]]`, to the letter.";
    TokenKey = "DW-8005", 401, Person, "The token's key is not published",
        "The issuer's key set holds no key, or no single key, for this token.",
        "Get a new token; if it recurs, an admin looks at the issuer's key set.";
    TokenSignature = "DW-8006", 401, Attacker, "The token's signature is wrong",
        "The signature does not match the issuer's key: the token was altered, cut off, or signed by somebody else.",
        "Get a new token and send it whole.";
    TokenExpired = "DW-8007", 401, Person, "The token has expired",
        "Its `exp` is past by the gateway's clock, the leeway included.",
        "Get a new token; if new ones are refused, set the clocks of the gateway's and the issuer's hosts.";
    TokenNotYetValid = "DW-8008", 401, Admin, "The token is not valid yet",
        "Its `nbf` or `iat` is ahead of the gateway's clock, the leeway included.",
        "Set the clocks of the gateway's and the issuer's hosts.";
    TokenAudience = "DW-8009", 401, Person, "The token is meant for another service",
        "Its `aud` names none of the audiences that are accepted here.",
        "Ask the issuer for a token with the right audience; an admin compares `audiences`.";
    TokenType = "DW-8010", 401, Person, "It is another kind of token",
        "Its `typ` is not accepted, or it is an ID token, a refresh token or a logout token, which are not made for APIs, or it is bound to a key, which is not checked here.",
        "Send an access token that is good for whoever has it; an admin can accept others with `typ`, `id_tokens` and `bound_tokens` of the `[[issuer]]`.";
    TokenClaim = "DW-8011", 403, Person, "The token lacks a claim that is required",
        "Its issuer's entry requires a claim that the token does not have, or has with another value.",
        "Have the issuer put the claim into the token; an admin compares `required_claims`.";
    TokenScope = "DW-8012", 403, Person, "The token lacks a scope",
        "A scope that is required here is not among the token's.",
        "Ask the issuer for a token with the scope.";
    TokenRevoked = "DW-8013", 401, Person, "The token was revoked",
        "An admin has revoked it, or its issuer says that it is not active.",
        "Get a new token.";
    AuthorizationForm = "DW-8014", 401, Person, "The Authorization header cannot be read",
        "It is neither `Bearer` with one token nor `Basic` with a key as the password.",
        "Send `Authorization: Bearer` with the token or key.";
    TokenIdentity = "DW-8015", 401, Admin, "The token does not say who it is",
        "The claim that names the user is missing or unusable, or a claim that a header needs has a control character.",
        "Have the issuer send the claim, or set `user_claim` of the `[[issuer]]`.";
    TokenNotTaken = "DW-8016", 401, Admin, "Tokens are not taken here",
        "The request brought a bearer token, and this route is for people who are signed in: its `access` is `signed-in`.",
        "Sign in; or an admin sets `access` of the route to `bearer` or `signed-in-or-bearer`.";
    KeyMalformed = "DW-8101", 401, Person, "The key cannot be read",
        "It begins like a key of a service account and is incomplete or mistyped: its checksum is wrong.",
        "Copy the whole key.";
    KeyUnknown = "DW-8102", 401, Person, "The key is not known",
        "No service account has this key; it was revoked, or is another deployment's.",
        "Ask an admin for a new key (`doorward service-account new-key`).";
    KeyExpired = "DW-8103", 401, Person, "The key has expired",
        "The key was made with an end, which has passed.",
        "Ask an admin for a new key.";
    AccountGone = "DW-8104", 401, Admin, "The service account does not exist any more",
        "The credential is good, and the account it belongs to is not in the configuration.",
        "An admin adds the `[[service_account]]` again, or revokes its keys.";
    KeysNotReady = "DW-8201", 503, Admin, "The token's issuer cannot be reached yet",
        "The issuer's keys have not been fetched since the gateway started, so nothing can be said about the token.",
        "Try again in a moment; an admin reads on /readyz which step fails and why.";
    KeysTooOld = "DW-8202", 503, Admin, "The token's issuer has not been reached for too long",
        "The issuer's keys are older than `keys_max_age`, so nothing can be said about the token.",
        "Try again in a moment; an admin reads on /readyz which step fails and why.";
    IntrospectionUnavailable = "DW-8203", 503, Admin, "The token's issuer does not answer",
        "The introspection endpoint could not be reached, or answered with an error or with what is no introspection response.",
        "Try again in a moment; an admin looks at the issuer.";
    IntrospectionRefused = "DW-8204", 503, Admin, "The token's issuer does not accept the gateway's secret",
        "The introspection endpoint refused the gateway's own credentials.",
        "An admin compares `client_id`, `client_secret` and `client_auth` of the `[[issuer]]` with the registration.";
    TooManyIntrospections = "DW-8205", 503, Admin, "Too many unknown tokens at once",
        "More tokens that are no JWT came than the issuer is asked about at the same time.",
        "Try again in a moment.";
    KeyNotSeenYet = "DW-8206", 503, Admin, "The token's key is not known yet",
        "The token is newer than the issuer's keys that were fetched last, and at this moment they cannot be fetched again.",
        "Try again in some seconds; where it lasts, an admin looks at the issuer's key set and at /readyz.";
    GrantUnsupported = "DW-8301", 400, Person, "That grant is not supported",
        "The token endpoint takes `urn:ietf:params:oauth:grant-type:jwt-bearer` (RFC 7523) and nothing else.",
        "Send that `grant_type`, and the JWT as `assertion`.";
    GrantMalformed = "DW-8302", 400, Person, "The token request cannot be read",
        "It is no form with exactly one `grant_type` and one `assertion` (RFC 6749 §4.5), or is too large.",
        "Send `grant_type` and `assertion` form-encoded in the body of a POST.";
    AssertionSubject = "DW-8303", 400, Person, "The assertion's subject is not known",
        "Its subject is neither an e-mail address nor the subject of a registered service account.",
        "Have the issuer put your e-mail address into the subject; an admin registers programs with `[[service_account]]`.";
    AssertionNotAllowed = "DW-8304", 400, Person, "The assertion's subject may not exchange it",
        "The rules of `[federation]` do not name the subject, or its e-mail address is not verified.",
        "Ask an admin to add you to `allow` of `[federation]`.";
}

impl Reason {
    /// Stable code, `DW-` and four digits; also the metric label.
    pub fn code(self) -> &'static str {
        self.info().code
    }

    /// Whether it is about a token or key. The details of such a failure are made for whoever sent it.
    pub fn is_about_credentials(self) -> bool {
        self.code().as_bytes()[3] == b'8'
    }

    /// HTTP status of an answer that this reason causes; reasons that never answer a request are 500.
    pub fn status(self) -> u16 {
        match self.info().status {
            0 => 500,
            status => status,
        }
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.info().code, self.info().title)
    }
}

/// A [`Reason`] with what was seen on this occasion: the value an operation fails with.
///
/// `detail` is for the log line and the admin only (expected and got, the provider's own words); it is shown to whoever
/// sent the request only where the reason [is about their credential](Reason::is_about_credentials).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub reason: Reason,
    pub detail: String,
}

impl Failure {
    pub fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Failure { reason, detail: detail.into() }
    }
}

impl From<Reason> for Failure {
    fn from(reason: Reason) -> Self {
        Failure { reason, detail: String::new() }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.reason)?;
        if !self.detail.is_empty() {
            write!(f, ": {}", self.detail)?;
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}

/// The page `docs/reasons.md`, whole.
pub fn as_markdown() -> String {
    use std::fmt::Write;
    let mut out = String::from(
        "# Reason codes\n\n<!-- Generated by `doorward reasons`; do not edit. -->\n\n\
         Every refusal and failure has a code. It stands on the page or in the JSON that was answered, in the log\n\
         line with the same reference, and as the `reason` label of the metrics. A code never changes its meaning.\n",
    );
    let sections = [
        ('1', "The request itself"),
        ('2', "Routes and upstreams"),
        ('3', "Signing in"),
        ('4', "Sessions"),
        ('5', "Who may"),
        ('6', "The provider"),
        ('7', "Configuration and start"),
        ('8', "Programs"),
    ];
    for (digit, heading) in sections {
        let _ = write!(
            out,
            "\n## {heading}\n\n| code | status | for | what happened | cause | remedy |\n|---|---|---|---|---|---|\n"
        );
        for info in Reason::ALL.iter().map(|r| r.info()).filter(|i| i.code.as_bytes()[3] as char == digit) {
            let status = if info.status == 0 { "–".to_owned() } else { info.status.to_string() };
            let _ = writeln!(
                out,
                "| <a id=\"{}\"></a>{} | {} | {} | {} | {} | {} |",
                info.code.to_lowercase(),
                info.code,
                status,
                info.reader.as_str(),
                info.title,
                info.cause,
                info.remedy
            );
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_ordered_and_well_formed() {
        let codes: Vec<_> = Reason::ALL.iter().map(|r| r.code()).collect();
        assert!(codes.windows(2).all(|w| w[0] < w[1]), "codes must rise: {codes:?}");
        for code in codes {
            assert!(code.len() == 7 && code.starts_with("DW-") && code[3..].bytes().all(|b| b.is_ascii_digit()));
        }
    }

    #[test]
    fn every_reason_says_cause_and_remedy_in_sentences() {
        for info in Reason::ALL.iter().map(|r| r.info()) {
            assert!(info.cause.ends_with('.') && info.remedy.ends_with('.'), "{}", info.code);
            assert!(!info.title.ends_with('.'), "{}", info.code);
        }
    }
}
