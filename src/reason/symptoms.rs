//! What people say when it does not work, and the reasons that it may have: the page `docs/troubleshooting.md`.
//!
//! Promise: whatever a person or an admin may meet is below some symptom, with cause and remedy to the letter as everywhere
//! else, so that the page cannot go stale.

use std::fmt::Write;

use super::Reason::{self, *};

/// What is seen, by somebody who knows no code yet.
struct Symptom {
    /// As it is asked.
    heading: &'static str,
    /// What to look at first.
    first: &'static str,
    /// The likeliest first.
    reasons: &'static [Reason],
}

const SYMPTOMS: &[Symptom] = &[
    Symptom {
        heading: "The browser goes round in circles",
        first: "The browser says “redirected too often”, or signing in begins again each time. Three parties can send it round: \
            the gateway stops by itself after three times and shows a page; a proxy or load balancer in front redirects to \
            another scheme or host; the app redirects to an address of its own. The address bar and the browser's network view \
            say which of them answered.",
        reasons: &[
            SignInLoop,
            PublicUrlRedirects,
            AppRedirects,
            PublicUrlOtherGateway,
            SessionKeyUnknown,
            SilentSignIn,
        ],
    },
    Symptom {
        heading: "The callback says that this browser did not start that sign-in",
        first: "A cookie that the gateway set when the sign-in began did not come back. Compare the address in the bar, from \
            the first page on, with `public_url`: scheme, host and port. Then try a window without extensions.",
        reasons: &[
            CookiesNotKept,
            AttemptElsewhere,
            AttemptOverHttp,
            AttemptKeyUnknown,
            AttemptUsed,
            AttemptExpired,
            AttemptUnknown,
            CallbackNotFromSignIn,
            CallbackParameter,
            PublicUrlElsewhere,
        ],
    },
    Symptom {
        heading: "The provider shows an error instead of its form",
        first: "The provider refuses what the gateway asks for, and keeps the browser: no log of the gateway has a line \
            of it. `doorward doctor` asks the same without a browser. The redirect URI that has to be registered is \
            printed by `doorward check`, and has to be the same to the letter.",
        reasons: &[
            AuthorizationRefused,
            RedirectUriRefused,
            ClientUnknown,
            FlowRefused,
            ScopeRefused,
            ProviderMisconfigured,
            ProviderCapability,
        ],
    },
    Symptom {
        heading: "Back from the provider, the gateway shows an error",
        first: "The provider's own words are in the log line and on the console, and what they mean in settings beside them. \
            Each product has a [page](providers.md) with its likeliest mistakes.",
        reasons: &[
            FlowRefused,
            ScopeRefused,
            RedirectUriRefused,
            ClientUnknown,
            NotAssigned,
            ConsentNeeded,
            SilentSignIn,
            PolicyRefused,
            TenantRefused,
            ProviderSaidNo,
            ProviderMisconfigured,
            ResponseMode,
            IssuerMixUp,
            ProviderUnknown,
        ],
    },
    Symptom {
        heading: "The provider does not accept the client or its secret",
        first: "The provider let the person in, and refused the gateway when it asked for the tokens. A secret is wrong, or \
            it goes another way than the client is registered for.",
        reasons: &[
            ClientRefused,
            ClientSecretMissing,
            ClientSecretUnwanted,
            ClientSecretExpired,
            ClientSecretMistaken,
            ClientAuthRefused,
            OriginRefused,
            CodeRefused,
            TokenAnswer,
            NoIdToken,
            UserinfoAnswer,
        ],
    },
    Symptom {
        heading: "The ID token is not accepted",
        first: "The provider let the person in, and what it wrote about it cannot be believed as configured. Which check \
            failed, and what was expected, is in the log line and on the console.",
        reasons: &[
            IdTokenAlgorithm,
            IdTokenEncrypted,
            IdTokenDecryption,
            IdTokenIssuer,
            IdTokenAudience,
            IdTokenKey,
            IdTokenExpired,
            IdTokenForm,
            IdTokenAuthentication,
        ],
    },
    Symptom {
        heading: "Nobody can sign in, and every page is 503",
        first: "The gateway has not got the provider's metadata and keys. `/readyz` at the admin address names the step that \
            fails: DNS, TCP, TLS, HTTP status, content type, issuer, endpoints, keys. Sessions that are open go on.",
        reasons: &[
            ProviderNotReady,
            ProviderUnreachable,
            DiscoveryFailed,
            DiscoveryIssuer,
            DiscoveryForm,
            KeysFailed,
            ProviderAddressDead,
            RestoreOnly,
        ],
    },
    Symptom {
        heading: "Groups or another claim are missing",
        first: "Most providers send groups only where the client is told to, and some under another name: compare \
            `groups_claim` with what stands in the token.",
        reasons: &[ClaimAbsent, ClaimsElsewhere, ClaimMalformed, TokenClaim, TokenIdentity, RuleNotMet],
    },
    Symptom {
        heading: "Signed in, and still not let in",
        first: "Who somebody is was found out; the rules of the route decide. `doorward explain` shows each rule with what it \
            was held against.",
        reasons: &[RuleNotMet, EmailUnverified, ClaimAbsent, StepUpNeeded, DirectoryGroupMissing, AssertionNotAllowed],
    },
    Symptom {
        heading: "There are too many groups, or a header is too large",
        first: "What a provider says about a person travels in cookies and headers, and both have an end. Fewer groups are the \
            remedy that helps everywhere.",
        reasons: &[
            SessionTooLarge,
            IdentityTooLarge,
            AppHeadersTooLarge,
            HeadersTooLarge,
            RequestLineTooLong,
            CookieBudget,
            DirectoryGroupsTooMany,
        ],
    },
    Symptom {
        heading: "People have to sign in again and again",
        first: "A session ends by its limits, by signing out, when the provider does not renew it, or when the gateway \
            cannot open it any more. Several gateways behind one address need the same `secrets`.",
        reasons: &[
            SessionKeyUnknown,
            SessionUnreadable,
            SessionIdle,
            SessionExpired,
            SessionEnded,
            SessionMissing,
            SessionProviderGone,
            SessionEndedDuringPost,
            RefreshRefused,
            RefreshUnavailable,
            SignInNeeded,
            PublicUrlOtherGateway,
        ],
    },
    Symptom {
        heading: "It says that a clock is wrong, or something has expired",
        first: "Tokens and certificates hold for a time, and two clocks have to agree about it. `doorward doctor` compares the \
            gateway's clock with the `Date` of the provider.",
        reasons: &[
            IdTokenExpired,
            TokenExpired,
            TokenNotYetValid,
            ClockUnset,
            CertificateExpires,
            ProviderCertificateEnds,
            AttemptExpired,
        ],
    },
    Symptom {
        heading: "A program gets 401 or 403 for its token",
        first: "The JSON says what was expected and what the token has. `doorward explain --token` goes through every check \
            without a request.",
        reasons: &[
            TokenMissing,
            TokenAudience,
            TokenIssuer,
            TokenExpired,
            TokenNotYetValid,
            TokenKey,
            TokenAlgorithm,
            TokenForm,
            TokenType,
            TokenScope,
            TokenClaim,
            TokenRevoked,
            TokenIdentity,
            TokenNotTaken,
            AuthorizationForm,
        ],
    },
    Symptom {
        heading: "A program gets 401 for its key",
        first: "`doorward service-account list` shows the keys that are known, without the keys themselves.",
        reasons: &[KeyMalformed, KeyUnknown, KeyExpired, AccountGone, AuthorizationForm],
    },
    Symptom {
        heading: "A program cannot exchange its token",
        first: "The [exchange](tokens.md) takes a JWT of an issuer in `[federation]` for a token of the gateway.",
        reasons: &[GrantUnsupported, GrantMalformed, AssertionSubject, AssertionNotAllowed],
    },
    Symptom {
        heading: "Good tokens are refused with 503",
        first: "Nothing can be said about a token while its issuer cannot be asked. `/readyz` names the step that fails.",
        reasons: &[
            KeysNotReady,
            KeysTooOld,
            KeyNotSeenYet,
            IntrospectionUnavailable,
            IntrospectionRefused,
            TooManyIntrospections,
        ],
    },
    Symptom {
        heading: "The app does not answer",
        first: "A page of the gateway with 502 or 504 is about the way from the gateway to the app. What the app answers \
            itself has no code of the gateway.",
        reasons: &[
            UpstreamUnreachable,
            UpstreamUnresolved,
            UpstreamTls,
            UpstreamScheme,
            UpstreamTimeout,
            UpstreamBroke,
            ClientGone,
            RequestTimedOut,
        ],
    },
    Symptom {
        heading: "A page is not found, though the app has it",
        first: "What no route matches is refused. `doorward check` prints the routes in their order.",
        reasons: &[NoRoute, AppRefusesHost, PreflightNotAllowed],
    },
    Symptom {
        heading: "The app shows its own login, or knows nobody",
        first: "The gateway lets people through and tells the app who they are in [headers](headers.md); it signs nobody in at \
            the app. Have the app read them (often called proxy, header or remote-user authentication), under the names that \
            `[headers]` writes, and trust the gateway's address. `doorward explain` lists the \
            headers that the app gets of a person, as its step 7. On a public route, and where the app is reached past the \
            gateway, there are none.",
        reasons: &[AppRedirects, SettingDoubtful, ClaimAbsent, ClaimsElsewhere, IdentityTooLarge],
    },
    Symptom {
        heading: "Everybody seems to be the same person, or anybody can be anybody",
        first: "An app that reads identity from headers has to be reachable through the gateway alone.",
        reasons: &[AppBelievesHeaders, AppOpen, ForgedHeadersPass, HostIsAnybodys],
    },
    Symptom {
        heading: "Name and password are not accepted",
        first: "The gateway asks the [directory](ldap.md); its own words are in the log line.",
        reasons: &[
            PasswordWrong,
            PasswordForm,
            NameUnusable,
            NameAmbiguous,
            TooManyAttempts,
            DirectoryGroupMissing,
            DirectoryEntryUnusable,
            DirectoryNobody,
        ],
    },
    Symptom {
        heading: "The directory cannot be asked",
        first: "`/readyz` names what fails, also where nobody has tried yet.",
        reasons: &[
            DirectoryUnreachable,
            DirectoryTls,
            DirectoryBindRefused,
            DirectoryAnswer,
            DirectoryBusy,
            DirectoryNobody,
        ],
    },
    Symptom {
        heading: "Everybody is locked out",
        first: "The gateway lets one person in by a password that it prints to its log: the [way in](way-in.md).",
        reasons: &[RestoreOnly, RestorePasswordWrong],
    },
    Symptom {
        heading: "Signing out does not work",
        first: "Signing out ends the gateway's session, and the provider's where it can be told.",
        reasons: &[LogoutFromElsewhere, LogoutRequest, LogoutToken, TooManyLogoutTokens],
    },
    Symptom {
        heading: "The gateway does not start",
        first: "Each error names file, line and key. `doorward check` reads the configuration without starting.",
        reasons: &[ConfigInvalid, ConfigUnreadable, SecretMissing, CertificateUnusable, ListenFailed],
    },
    Symptom {
        heading: "I changed a setting and nothing happens",
        first: "A configuration that is not good changes nothing, and the one before stays: the console's overview, the log and \
            `/readyz` say so. Variables win over the file, and are read at the start alone: the console's settings, and \
            `doorward check`, show each value with what it comes from. Some keys [wait for a restart](operations.md), which the \
            log names. People who are signed in keep what their sign-in said of them until they sign in again.",
        reasons: &[
            ConfigInvalid,
            ConfigUnreadable,
            SecretMissing,
            CertificateUnusable,
            SettingDoubtful,
            PublicUrlOtherGateway,
        ],
    },
    Symptom {
        heading: "Browsers do not reach the gateway, or warn of it",
        first: "The name in `public_url` has to lead here, with a certificate for it where it is https.",
        reasons: &[
            PublicUrlUnreachable,
            PublicUrlTls,
            PublicUrlElsewhere,
            PublicUrlRedirects,
            CertificateNames,
            CertificateExpires,
            CertificateChain,
            CertificateUnusable,
        ],
    },
    Symptom {
        heading: "It is slow, or connections are turned away",
        first: "The figures of the [metrics](operations.md) say where time goes; these limits are looked at by the doctor.",
        reasons: &[FilesTooFew, MemoryTooLittle, ThreadsUnfit, TooManyAttempts],
    },
    Symptom {
        heading: "It works, and the doctor warns all the same",
        first: "A warning is what would fail some people, or some day.",
        reasons: &[SettingDoubtful, SecretExposed, SecretGuessable, CookieReach, CookieBudget, GatewayAnswer],
    },
    Symptom {
        heading: "The console does not open",
        first: "The admin listener shows the console on the gateway's own host, or through a route of the gateway that only \
            admins may use.",
        reasons: &[
            ConsoleElsewhere,
            ConsoleProxied,
            ConsoleHost,
            ConsoleOpen,
            ConsolePage,
            ConsoleMethod,
            ConsoleForm,
            ConsoleBusy,
        ],
    },
    Symptom {
        heading: "The gateway says that it made a mistake",
        first: "That is a fault of Doorward and of nobody else.",
        reasons: &[Internal],
    },
];

/// The page `docs/troubleshooting.md`, whole.
pub fn troubleshooting() -> String {
    let mut out = String::from(include_str!("troubleshooting.md"));
    for symptom in SYMPTOMS {
        let _ = writeln!(out, "- [{}](#{})", symptom.heading, anchor(symptom.heading));
    }
    for symptom in SYMPTOMS {
        let _ = write!(out, "\n## {}\n\n{}\n\n", symptom.heading, symptom.first);
        let _ = writeln!(out, "| code | cause | what to change |\n|---|---|---|");
        for info in symptom.reasons.iter().map(|reason| reason.info()) {
            let (code, anchor) = (info.code, info.code.to_lowercase());
            let _ = writeln!(
                out,
                "| [{code}](reasons.md#{anchor}) | **{}.** {} | {} |",
                info.title, info.cause, info.remedy
            );
        }
    }
    out
}

/// As pages of Markdown name the place of a heading.
fn anchor(heading: &str) -> String {
    let plain = heading.chars().filter(|c| c.is_alphanumeric() || [' ', '-'].contains(c)).collect::<String>();
    plain.to_lowercase().replace(' ', "-")
}

#[cfg(test)]
mod tests {
    use super::super::Reader;
    use super::*;

    #[test]
    fn whatever_a_person_or_an_admin_may_meet_has_a_symptom() {
        let known: Vec<Reason> = SYMPTOMS.iter().flat_map(|symptom| symptom.reasons).copied().collect();
        let met = Reason::ALL.iter().filter(|reason| reason.info().reader != Reader::Attacker);
        let lost: Vec<_> = met.filter(|reason| !known.contains(reason)).collect();
        assert!(lost.is_empty(), "put into a symptom: {lost:?}");
    }

    #[test]
    fn no_link_of_the_page_leads_nowhere() {
        let page = troubleshooting();
        let docs = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
        for target in page.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let (file, place) = target.split_once('#').unwrap_or((target, ""));
            assert!(file.is_empty() || docs.join(file).exists(), "{target}");
            let heading = |line: &str| line.strip_prefix("## ").is_some_and(|heading| anchor(heading) == place);
            assert!(!file.is_empty() || page.lines().any(heading), "{target}");
        }
    }

    #[test]
    fn what_people_ask_without_a_code_has_a_symptom() {
        for (words, code) in [("its own login", AppRedirects), ("nothing happens", ConfigInvalid)] {
            let told = SYMPTOMS.iter().filter(|symptom| symptom.heading.contains(words));
            assert!(
                told.clone().count() == 1 && told.clone().all(|symptom| symptom.reasons.contains(&code)),
                "{words}"
            );
        }
    }

    #[test]
    fn no_symptom_tells_a_reason_twice() {
        for symptom in SYMPTOMS {
            let mut codes: Vec<_> = symptom.reasons.iter().map(|reason| reason.code()).collect();
            let count = codes.len();
            codes.sort_unstable();
            codes.dedup();
            assert_eq!(codes.len(), count, "{}", symptom.heading);
        }
    }
}
