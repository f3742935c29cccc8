//! What providers say when they refuse, in terms of what to change.
//!
//! Their words are for whoever wrote the client; an admin of this gateway has settings and a registration at the provider.
//! What is known is a table of texts as the products write them. It adds to their words in the log and decides nothing.

/// A text of a provider, and what to do about it.
struct Known {
    /// The `error`; any where it is empty.
    error: &'static str,
    /// In the description, or in the error where that says it; without regard to case.
    text: &'static str,
    advice: &'static str,
}

const fn known(text: &'static str, advice: &'static str) -> Known {
    Known { error: "", text, advice }
}

const fn said(error: &'static str, text: &'static str, advice: &'static str) -> Known {
    Known { error, text, advice }
}

const SECRET: &str = "compare `client_secret` with the one at the provider; it may have been replaced there";
const FLOW: &str = "allow the client this flow, or set `auth_method` (`OIDC_AUTH_METHOD`) to what it is registered for";
const REDIRECT: &str = "register the redirect URI that the gateway prints at its start, to the letter";
const ASSIGN: &str = "assign the person, or a group of theirs, to the application at the provider";

/// The first that fits is taken, so the narrower texts come first.
const TABLE: &[Known] = &[
    // ── Entra: codes, whose sentences change (learn.microsoft.com, "AADSTS error codes")
    known("AADSTS7000215", "set `client_secret` to the secret's Value, not to its Secret ID"),
    known(
        "AADSTS7000222",
        "the client secret has expired: make a new one in Entra and set `client_secret` to its Value",
    ),
    known(
        "AADSTS7000218",
        "set `client_secret`, or register the redirect URI under `Single-page application` for a client without one",
    ),
    known(
        "AADSTS700025",
        "take `client_secret` away, or register the redirect URI under `Web` instead of as a public client's",
    ),
    known(
        "AADSTS9002327",
        "set `send_origin = true` without a `client_secret`, or register the redirect URI under `Web`",
    ),
    known("AADSTS9002326", "set `send_origin = false`, or register the redirect URI under `Single-page application`"),
    known("AADSTS50011", REDIRECT),
    known(
        "AADSTS700016",
        "compare `client_id` with the Application (client) ID, and the tenant in `issuer` with its tenant",
    ),
    known("AADSTS90002", "there is no such tenant: compare the tenant in `issuer` with the Directory (tenant) ID"),
    known("AADSTS700027", "upload the certificate of `client_certificate_file` to the application in Entra"),
    known("AADSTS700024", "the clock of the gateway is wrong, or `client_assertion_algorithm` is not one of Entra's"),
    known("AADSTS65001", "grant admin consent to the application's permissions in Entra"),
    known("AADSTS90094", "grant admin consent to the application's permissions in Entra"),
    known("AADSTS650053", "Entra does not know one of `scopes`: take it away"),
    known("AADSTS70011", "Entra does not know one of `scopes`: take it away"),
    known("AADSTS700054", "allow `ID tokens` under Authentication of the application, or set `auth_method` to `pkce`"),
    known("AADSTS50105", ASSIGN),
    known("AADSTS50020", "the person's account is of another tenant: invite them, or use an issuer with `tenants`"),
    known("AADSTS50194", "the application is for one tenant alone: write the tenant's id in `issuer`"),
    known("AADSTS53003", "a Conditional Access policy of Entra blocks this sign-in"),
    known("AADSTS54005", "the code was redeemed before, most often by going back in the browser"),
    known("AADSTS700082", "the refresh token has expired, as Entra has it after some months: sign in again"),
    known("AADSTS70008", "the code or refresh token has expired: sign in again"),
    // ── Okta
    known("client secret supplied for a confidential client is invalid", SECRET),
    known(
        "browser requests to the token endpoint",
        "set `send_origin = false`: Okta takes the request for a browser's",
    ),
    known("cannot supply multiple client credentials", "set `client_auth` to the one way that the application has"),
    known("no client credentials found", "set `client_secret`: the application is registered with one"),
    known("must be a login redirect uri in the client app", REDIRECT),
    known("must be an absolute uri that is whitelisted", REDIRECT),
    known("user is not assigned to the client application", ASSIGN),
    known(
        "policy evaluation failed",
        "no access policy of the authorization server in `issuer` lets this application in",
    ),
    known(
        "scopes are not configured for the authorization server",
        "take the scope out of `scopes`, or define it at the authorization server in `issuer`",
    ),
    known(
        "response type is not supported by the authorization server",
        "allow the application this flow, or set `auth_method` to one that it has",
    ),
    known("client authentication failed. either the client or the client credentials are invalid", SECRET),
    known("token_endpoint_auth_method does not allow", "set `client_auth` to the one way that the application has"),
    // ── Keycloak
    known(
        "client secret not provided in request",
        "set `client_secret`: `Client authentication` is on for this client",
    ),
    known(
        "invalid client or invalid client credentials",
        "compare `client_id`, and the client's Secret under Credentials",
    ),
    known("standard flow is disabled", "turn `Standard flow` on for the client, or set `auth_method` to `implicit`"),
    known("implicit flow is disabled", "turn `Implicit flow` on for the client, or set `auth_method` to `pkce`"),
    known(
        "not allowed to initiate browser login with given response_type",
        "turn on the flow of `auth_method` for the client, under Capability config",
    ),
    known("invalid parameter: redirect_uri", REDIRECT),
    known("incorrect redirect_uri", REDIRECT),
    known("client disabled", "turn the client on at the provider"),
    // ── Cognito
    known("redirect_mismatch", REDIRECT),
    said("invalid_client", "invalid_client_secret", SECRET),
    // ── Google
    said("redirect_uri_mismatch", "", REDIRECT),
    said("deleted_client", "", "the client was deleted in the Google Cloud console: make a new one"),
    said(
        "invalid_scope",
        "offline_access",
        "take `offline_access` out of `scopes`; with the preset `google` and `session.refresh` the gateway asks in \
         Google's way",
    ),
    said(
        "invalid_client",
        "the oauth client was not found",
        "compare `client_id` with the client in the Google Cloud console",
    ),
    said("invalid_client", "unauthorized", SECRET),
    known("provided client secret is invalid", SECRET),
    known("client_secret is missing", "set `client_secret`: Google gives one to every web application"),
    said(
        "org_internal",
        "",
        "the consent screen is for people of the organisation alone: set it to External in Google's console",
    ),
    // ── Auth0
    said(
        "access_denied",
        "unauthorized",
        "compare `client_secret`, and `client_auth` with the application's Authentication Method",
    ),
    known(
        "unable to authenticate the client with the presented credentials",
        "register the public key of `client_key_file` at the application's Credentials",
    ),
    known("callback url mismatch", REDIRECT),
    known("not allowed for the client", "allow the grant under Advanced Settings, Grant Types, of the application"),
    // ── Lark
    known("only support one client credential way", "set `client_auth` to `client_secret_post`"),
    // ── GitLab and authentik, whose libraries share these sentences
    known(
        "client authentication failed",
        "compare `client_id` and `client_secret`, and `client_auth` with what the application allows",
    ),
    known("requested scope is invalid", "tick the scopes of `scopes` at the application, or take the others away"),
    known("redirect uri included is not valid", REDIRECT),
    known("mismatching redirection uri", REDIRECT),
    known("does not match the redirection uri", "the code has expired or was redeemed before: sign in again"),
    known("client identifier (client_id) is missing or invalid", "compare `client_id` with the one at the provider"),
    // ── ZITADEL
    known("redirect_uri is missing in the client configuration", REDIRECT),
    known(
        "response type is missing in the client configuration",
        "allow the application this response type, or set `auth_method` to one that it has",
    ),
    said("invalid_client", "invalid secret", SECRET),
    known("client must be authenticated", "set `client_secret`, or the application's Authentication Method to None"),
    known("auth_method post not supported", "set `client_auth` to `client_secret_basic`"),
    known("auth_method basic not supported", "set `client_auth` to `client_secret_post`"),
    known("errors.app.notfound", "compare `client_id` with the one at the provider"),
    // ── Dex
    known("unregistered redirect_uri", REDIRECT),
    said(
        "invalid_client",
        "invalid client credentials",
        "compare `client_id` and `client_secret` with `staticClients` of Dex",
    ),
    known("unrecognized scope", "the provider does not know one of `scopes`: take it away"),
    known("unsupported response type", "set `auth_method` to `pkce`, or add the type to `oauth2.responseTypes` of Dex"),
    // ── anybody, by the code alone
    said("invalid_client", "", "compare `client_id` and `client_secret` with the ones at the provider"),
    said("invalid_scope", "", "the provider does not know one of `scopes`: take it away"),
    said("unsupported_response_type", "", FLOW),
    known("response_type", FLOW),
    known("response type", FLOW),
    said(
        "unauthorized_client",
        "",
        "allow the client this flow at the provider, or set `auth_method` to one that it has",
    ),
];

/// What to change, where the provider's words are known.
pub fn advice(error: &str, description: Option<&str>) -> Option<&'static str> {
    let texts = [description.unwrap_or_default().to_ascii_lowercase(), error.to_ascii_lowercase()];
    TABLE.iter().find(|known| known.fits(error, &texts)).map(|known| known.advice)
}

impl Known {
    fn fits(&self, error: &str, texts: &[String]) -> bool {
        let text = self.text.to_ascii_lowercase();
        (self.error.is_empty() || self.error == error) && texts.iter().any(|said| holds(said, &text))
    }
}

/// Whether `text` stands in `said`; a number that goes on is another one.
fn holds(said: &str, text: &str) -> bool {
    let ends_in_digit = text.ends_with(|c: char| c.is_ascii_digit());
    let mut found = said.match_indices(text);
    found.any(|(at, _)| !(ends_in_digit && said[at + text.len()..].starts_with(|c: char| c.is_ascii_digit())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_hides_another() {
        for known in TABLE {
            let found = advice(known.error, Some(known.text).filter(|text| !text.is_empty()));
            assert_eq!(found, Some(known.advice), "{} {}", known.error, known.text);
        }
    }

    #[test]
    fn words_as_the_products_write_them_name_what_to_change() {
        for (error, description, wanted) in [
            (
                "invalid_client",
                "AADSTS7000215: Invalid client secret provided. Ensure the secret being sent …",
                "Value",
            ),
            (
                "invalid_request",
                "AADSTS9002327: Tokens issued for the 'Single-Page Application' …",
                "send_origin = true",
            ),
            (
                "invalid_request",
                "AADSTS9002326: Cross-origin token redemption is permitted only …",
                "send_origin = false",
            ),
            (
                "invalid_client",
                "AADSTS700025: Client is public so neither 'client_assertion' nor …",
                "take `client_secret` away",
            ),
            (
                "invalid_request",
                "Cannot supply multiple client credentials. Use one of the following: …",
                "client_auth",
            ),
            ("unauthorized_client", "Invalid client or Invalid client credentials", "Secret under Credentials"),
            (
                "unauthorized_client",
                "Client is not allowed to initiate browser login with given response_type. Implicit flow is disabled for \
                 the client.",
                "turn `Implicit flow` on",
            ),
            ("invalid_scope", "Some requested scopes were invalid. {invalid=[offline_access]}", "session.refresh"),
            ("invalid_client", "Unauthorized", "client_secret"),
            ("access_denied", "Unauthorized", "Authentication Method"),
            ("unauthorized_client", "Grant type 'authorization_code' not allowed for the client.", "Grant Types"),
            ("invalid_request", "Only support one client credential way", "client_secret_post"),
            (
                "invalid_client",
                "Client authentication failed due to unknown client, no client authentication included, or unsupported \
                 authentication method.",
                "client_auth",
            ),
            ("invalid_request", "The requested redirect_uri is missing in the client configuration. …", "redirect URI"),
            ("invalid_request", "Unregistered redirect_uri (\"https://a.example/x\").", "redirect URI"),
            ("invalid_client", "Invalid client credentials.", "staticClients"),
            ("redirect_uri_mismatch", "Bad Request", "redirect URI"),
            ("unsupported_response_type", "", "OIDC_AUTH_METHOD"),
            ("unauthorized_client", "requested response_type is not allowed for this client", "OIDC_AUTH_METHOD"),
            ("invalid_request", "The response type `code` is not for this client.", "OIDC_AUTH_METHOD"),
        ] {
            let found = advice(error, Some(description)).unwrap_or_default();
            assert!(found.contains(wanted), "{error} {description}: {found:?}");
        }
    }

    #[test]
    fn what_the_pages_show_of_refusals_is_what_the_log_says() {
        let docs = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
        let pages = std::fs::read_dir(docs.join("providers")).expect("pages").map(|page| page.expect("a page").path());
        let mut shown = 0;
        for page in pages.chain([docs.join("providers.md")]) {
            let text = std::fs::read_to_string(&page).expect("a page");
            for line in text.lines().filter(|line| line.starts_with("DW-") && line.contains("the provider said")) {
                // The provider's words are in the first one or two pairs of back quotes.
                let rest = line.split_once("the provider said `").expect("words").1;
                let (error, rest) = rest.split_once('`').expect("an error");
                let described = rest.strip_prefix(": `").and_then(|rest| rest.split_once("`; "));
                let (description, advised) = match described {
                    Some((description, advised)) => (Some(description), advised),
                    None => (None, rest.strip_prefix("; ").expect("advice")),
                };
                assert_eq!(advice(error, description), Some(advised), "{}: {line}", page.display());
                shown += 1;
            }
        }
        assert!(shown > 12, "{shown}");
    }

    #[test]
    fn what_is_not_known_gets_no_advice() {
        for (error, description) in [
            ("access_denied", Some("The resource owner denied the request")),
            ("invalid_grant", None),
            ("server_error", Some("AADSTS500119: something else than 50011")),
            ("", None),
        ] {
            assert_eq!(advice(error, description), None, "{error} {description:?}");
        }
    }
}
