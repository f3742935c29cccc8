//! Reasons of the provider, of configuration and start, and of programs: hundreds six to eight.

/// Puts its rows behind those that it gets, and hands them on to `$then`.
macro_rules! operation {
    ($then:ident $($later:ident)*; $($table:tt)*) => { $then! { $($later)*; $($table)*
        // 6 ── the provider
        ProviderNotReady = "DW-6001", 503, Admin, "The provider cannot be reached yet",
            "The provider's metadata or keys have not been fetched since the gateway started.",
            "Wait a moment; an admin reads on /readyz which step fails and why.";
        ProviderUnreachable = "DW-6002", 503, Admin, "The provider does not answer",
            "The token endpoint could not be reached, or answered with a server error.",
            "Try again in a moment; an admin looks at the provider.";
        DiscoveryFailed = "DW-6101", 503, Admin, "The provider's metadata cannot be fetched",
            "The address of the metadata, which is `issuer` and `/.well-known/openid-configuration`, did not answer with them: DNS, TCP, TLS or HTTP failed.",
            "Check that `issuer` is right and open that address from the gateway's host; set `ca_file` where the provider has a certificate of an own authority.";
        DiscoveryIssuer = "DW-6102", 503, Admin, "The provider calls itself something else",
            "The `issuer` in the metadata is not the configured one, to the letter (OpenID Connect Discovery §4.3).",
            "Set `issuer` to what the metadata says, if that is your provider.";
        DiscoveryForm = "DW-6103", 503, Admin, "The provider's metadata cannot be used",
            "The answer is no JSON, too large, or lacks an endpoint that the code flow needs.",
            "Check that `issuer` is the issuer and not the address of a page or an endpoint.";
        KeysFailed = "DW-6104", 503, Admin, "The provider's keys cannot be fetched",
            "The `jwks_uri` did not answer with a key set that holds a usable signing key.",
            "Open the `jwks_uri` from the gateway's host: the provider's signing keys have to be there, as JSON.";
        ProviderCapability = "DW-6105", 0, Admin, "The provider cannot do what is configured",
            "The metadata does not list the response type, the response mode or the client authentication that is configured.",
            "Change the setting named in the log line, or the client's registration.";
        ProviderCertificateEnds = "DW-6106", 0, Admin, "The provider's certificate ends soon",
            "Its last day is less than a week away; after it nobody can sign in.",
            "Have whoever runs the provider renew it.";
        ProviderAddressDead = "DW-6107", 0, Admin, "An address of the provider does not answer",
            "Its name resolves to several addresses, and not all of them take connections: a part of the sign-ins waits or fails.",
            "Take the address out of the name's records, or mend the way there.";

        DirectoryUnreachable = "DW-6201", 503, Admin, "The directory does not answer",
            "No connection to any `address` of `[ldap]` could be made, it broke, or an answer took longer than `timeout`.",
            "Start the directory, or correct `address` of `[ldap]`: host and port, ldaps:// for TLS from the first byte (636), ldap:// with `start_tls` (389).";
        DirectoryTls = "DW-6202", 503, Admin, "The directory's certificate is not accepted",
            "TLS with the directory failed: another name, expired, an authority that is not trusted, or StartTLS was refused.",
            "Renew the directory's certificate, or set `ca_file` or the host in `address` of `[ldap]`; a directory without StartTLS needs ldaps://.";
        DirectoryBindRefused = "DW-6203", 503, Admin, "The directory does not accept the gateway",
            "The directory refused `bind_dn` with `bind_password`, or takes no anonymous search.",
            "Correct `bind_dn` (the whole DN) and `bind_password`, or set both where the search was anonymous; what the directory said stands in the detail.";
        DirectoryAnswer = "DW-6204", 503, Admin, "The directory's answer cannot be used",
            "What came is no LDAP, or the search failed: `base_dn` or `group_base_dn` does not exist, a limit, or missing rights.",
            "Compare `base_dn`, `group_base_dn` and the rights of `bind_dn` with the directory; the detail names the one and has the directory's own words.";
        DirectoryBusy = "DW-6205", 503, Admin, "Too many sign-ins at once",
            "More people sign in at the same time than the directory is asked about (`concurrent_sign_ins` of `[ldap]`).",
            "Try again in a moment.";

        // 7 ── configuration and start
        ConfigUnreadable = "DW-7001", 0, Admin, "The configuration file cannot be read",
            "It is missing, may not be read by the gateway's user, or is no text in UTF-8.",
            "Put the file in its place and let the gateway's user read it, or name another with `--config` or `DOORWARD_CONFIG`.";
        ConfigInvalid = "DW-7002", 0, Admin, "The configuration is not valid",
            "A key is unknown, a value has the wrong type, or two settings contradict each other.",
            "Correct the line that is named.";
        SecretMissing = "DW-7003", 0, Admin, "A secret is missing",
            "A required secret is not set, or its file is missing, empty or of more than one line.",
            "Set it, or correct the file; `openssl rand -base64 32` makes a new one for `secrets`.";
        ListenFailed = "DW-7004", 0, Admin, "An address cannot be listened on",
            "Another process has the port, the gateway's user may not take it, or this machine does not have the address.",
            "Choose an address that is free and the machine's own, or end the other process; a port below 1024 needs `CAP_NET_BIND_SERVICE`.";
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
    } };
}
