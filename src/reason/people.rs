//! Reasons of signing in, of sessions, and of who may: hundreds three to five.

/// Puts its rows behind those that it gets, and hands them on to `$then`.
macro_rules! people {
    ($then:ident $($later:ident)*; $($table:tt)*) => { $then! { $($later)*; $($table)*
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
            "The `state` belongs to no sign-in that this browser has open. Either the cookie was not kept (another host than the public URL, cookies blocked), or it was used before, or it was started in another browser, or something else than this gateway began it.",
            "Start again at the front page, in one browser; an admin checks that the address in the bar is the configured `public_url`.";
        AttemptExpired = "DW-3104", 400, Person, "The sign-in took too long",
            "More than `sign_in.attempt_lifetime` lies between the start of the sign-in and its end, or the clocks of two replicas differ.",
            "Start again; where people need longer, an admin raises `sign_in.attempt_lifetime`.";
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
            "Read what was seen; allow cookies for this site, and try again after a minute. An admin compares the address in the bar with `public_url`.";
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
        AuthorizationRefused = "DW-3119", 0, Admin, "The provider shows an error instead of its sign-in page",
            "The authorization endpoint answers with an error page and does not send the browser back; most often the client id or the redirect URI is not the one registered.",
            "Compare `client_id` and the redirect URI that the gateway prints at its start with the client's registration.";
        AttemptElsewhere = "DW-3120", 400, Person, "This is not the gateway's own address",
            "The request came for another host or port than `public_url` has; sign-ins begin and end there, and their cookies are kept for it.",
            "Open the address in `public_url`; an admin sets `public_url` to the address that people open, and registers the redirect URI that follows from it.";
        AttemptOverHttp = "DW-3121", 400, Person, "The sign-in came back over http",
            "`public_url` is https, and browsers send its cookies over https alone; this request came over http.",
            "Open the https address; an admin has whatever stands in front keep TLS, or lists it in `listen.trusted_proxies` and has it say `X-Forwarded-Proto`.";
        CookiesNotKept = "DW-3122", 400, Person, "This browser kept no cookie of the sign-in",
            "No cookie came with the provider's answer: cookies are blocked for this site, or the sign-in was started in another browser or a private window.",
            "Allow cookies for this site, and start again at the front page, in one browser.";
        AttemptUsed = "DW-3123", 400, Person, "That sign-in is over",
            "The provider's answer to it was taken before: the page was reloaded, or opened again by the browser's history.",
            "Start again at the front page.";
        AttemptKeyUnknown = "DW-3124", 400, Admin, "The sign-in began at a gateway with other secrets",
            "Its cookie is sealed with a secret that this gateway does not have: replicas have different `secrets`, or the old secret was taken away meanwhile.",
            "Give all replicas the same `secrets`, keep the old one behind the new one when you change them, and start again.";
        FlowRefused = "DW-3125", 502, Admin, "The provider does not allow this flow",
            "The client is not allowed the response type, response mode or grant that `auth_method` asks for.",
            "Set `auth_method` (`OIDC_AUTH_METHOD`) to what the client is registered for, or allow it this flow at the provider.";
        RedirectUriRefused = "DW-3126", 502, Admin, "The provider does not know the redirect URI",
            "The redirect URI that follows from `public_url` is not among those registered for this client, to the letter.",
            "Register the redirect URI that the gateway prints at its start and `doorward check` prints, to the letter, or correct `public_url`.";
        ClientUnknown = "DW-3127", 502, Admin, "The provider does not know this client",
            "At this issuer no client is registered as `client_id`, or it is turned off there.",
            "Compare `client_id` with the client at the provider, and `issuer` with the tenant or realm that the client is in.";
        ScopeRefused = "DW-3128", 502, Admin, "The provider does not allow a scope",
            "One of `scopes` is unknown at the provider, or not allowed for this client.",
            "Take the scope out of `scopes`, or allow it for this client at the provider.";
        NotAssigned = "DW-3129", 403, Person, "Your account may not use this application",
            "The provider lets in who is assigned to the application, or of its organisation, and this account is neither.",
            "Ask whoever runs the provider to assign you to the application, or come with another account.";
        ConsentNeeded = "DW-3130", 403, Admin, "The application lacks consent",
            "Nobody has consented to what the application asks for at the provider, or consent was declined.",
            "Grant admin consent to the application's permissions at the provider.";
        SilentSignIn = "DW-3131", 403, Admin, "The provider has to ask, and may not",
            "The provider would have had to show a page, and was asked with `prompt` not to, or nobody was there.",
            "Take `prompt = \"none\"` out of the `[[provider]]`; without it, sign in again.";
        PolicyRefused = "DW-3132", 403, Person, "A policy of the provider blocks this sign-in",
            "The provider's own rules ask for another device, place or factor.",
            "Sign in the way the provider asks for; whoever runs it finds the rule in its sign-in log.";

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
        ClientSecretMissing = "DW-3206", 502, Admin, "The provider wants a secret of this client",
            "The client is registered as one with a secret, and none was sent.",
            "Set `client_secret` to the one at the provider, or register the client as a public one.";
        ClientSecretUnwanted = "DW-3207", 502, Admin, "The provider wants no secret of this client",
            "The client is registered as a public one, and a secret or an assertion was sent.",
            "Take `client_secret` away, or register the client as one with a secret.";
        ClientSecretExpired = "DW-3208", 502, Admin, "The client's secret has expired",
            "The provider says that the secret was good until some time ago.",
            "Make a new secret at the provider, and set `client_secret` to it.";
        ClientSecretMistaken = "DW-3209", 502, Admin, "Something else stands where the secret belongs",
            "`client_secret` is the secret's id, the client id, or another value of the same page.",
            "Set `client_secret` to the value of the secret itself.";
        ClientAuthRefused = "DW-3210", 502, Admin, "The provider takes another client authentication",
            "The client's credentials were sent in a way that it is not registered for, or that the provider does not take.",
            "Set `client_auth` to the way that the client has at the provider.";
        OriginRefused = "DW-3211", 502, Admin, "The redirect URI is of another kind of application",
            "The redirect URI is registered for pages that redeem codes in the browser, or for servers, and `send_origin` says the other.",
            "Set `send_origin` to fit, or register the redirect URI for the other kind of application.";
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
            "Have the provider send fewer groups or claims to this client, or raise the limit that is named in the log line (`session.max_bytes`, `headers.max_value_bytes`).";
        ClaimMalformed = "DW-3402", 502, Admin, "A claim cannot be used",
            "A claim that a header or rule needs has a control character or another type than needed.",
            "Correct the value at the provider; the claim is named in the log line.";
        ClaimsElsewhere = "DW-3403", 0, Admin, "The provider keeps a claim elsewhere",
            "The token does not hold the claim but says where it is (`_claim_names`, OpenID Connect Core §5.6.2); Entra does so for people in more than about 200 groups.",
            "Have the provider send only the groups assigned to this application, or app roles; the claim is named in the log line.";

        PasswordWrong = "DW-3501", 401, Person, "Name or password is wrong",
            "The directory knows nobody of this name, or not with this password.",
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
        RestorePasswordWrong = "DW-3522", 401, Person, "That is not the password of the log",
            "The way in takes the one password that the gateway printed to its log when it started.",
            "Copy it from the log of the process that runs now, after `password=`; every start makes another one.";

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
        SessionKeyUnknown = "DW-4103", 401, Person, "The session was made with another secret",
            "The session cookie is sealed with a secret that this gateway does not have: replicas have different `secrets`, or the old one was taken away when it was changed.",
            "Sign in again; an admin gives all replicas the same `secrets`, and keeps the old one behind the new one until its sessions have ended.";

        // 5 ── who may
        RuleNotMet = "DW-5001", 403, Person, "You may not open this",
            "It is known who you are, and the rules of this route do not name you.",
            "Ask an admin for access, with the reference of this answer; or come as somebody else.";
        EmailUnverified = "DW-5002", 403, Person, "Your e-mail address is not verified",
            "A rule of this route goes by e-mail address, and the provider says that yours is not verified.",
            "Verify the address at the provider and sign in again.";
        ClaimAbsent = "DW-5003", 403, Admin, "The provider does not say what the rule needs",
            "A rule of this route goes by a claim that the session or token does not hold at all.",
            "Have the provider put the claim into the tokens of this client (with a directory, set the attribute in `attributes` of `[ldap]`), and sign in again or get a new one; the claim is named in the log line.";
        IdentityTooLarge = "DW-5004", 403, Admin, "Who you are does not fit into a header",
            "The value of an identity header would be longer than the app takes.",
            "Have the provider send fewer groups to this client, send another claim in the header, or raise `headers.max_value_bytes` where the app takes more.";
        StepUpNeeded = "DW-5005", 401, Person, "This needs another sign-in",
            "The route asks for a stronger or more recent sign-in (`acr_values`, `max_age`, `fresh_sign_in`) than the session's.",
            "Open the address in a browser, which leads through the sign-in (RFC 9470).";
        AppHeadersTooLarge = "DW-5006", 431, Admin, "The app does not take headers this large",
            "The app answered that the request's headers are too large: the identity headers and the cookies together are longer than it takes. Where the gateway wrote no header about a person, the answer of the app passes as it is.",
            "Have the provider send fewer groups to this client, delete the cookies of this site, or raise the limit of the app.";
    } };
}
