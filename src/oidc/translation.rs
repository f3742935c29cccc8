//! What providers say when they refuse, in terms of what to change.
//!
//! Their words are for whoever wrote the client; an admin of this gateway has settings and a registration at the provider.
//! What is known is a table of texts as the products write them, each with the reason that it is and the remedy. The
//! provider's own words stand beside them in the log.

mod table;

use super::provider::Provider;
use super::response::AuthorizationResponse;
use crate::config::model::ClientAuth;
use crate::reason::{Failure, Reason};
use crate::sent::Sent;
use crate::words::in_words;
use table::TABLE;

/// A text of a provider, and what to do about it.
struct Known {
    /// The `error`; any where it is empty.
    error: &'static str,
    /// In the description, or in the error where that says it; without regard to case.
    text: &'static str,
    reason: Reason,
    remedy: &'static str,
}

/// Where a provider refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// In the browser (RFC 6749 §4.1.2.1, OpenID Connect Core §3.1.2.6).
    Authorization,
    /// The token endpoint (RFC 6749 §5.2).
    Token,
}

impl Provider {
    /// What an authorization response that is an error means; `None` for any other.
    pub fn refusal_in(&self, response: &AuthorizationResponse) -> Option<Failure> {
        let failure = response.failure()?;
        let secret = self.settings.client_secret.as_ref().map(|secret| secret.expose());
        Some(self.with_own_names(Sent::new(secret).cleaned(failure)))
    }

    /// What an error of the token endpoint means; the client was authenticated by `auth`.
    pub(super) fn refusal_of_tokens(&self, error: &str, description: Option<&str>, auth: ClientAuth) -> Failure {
        let failure = refused(At::Token, error, description);
        let way = auth.name().filter(|_| auth != ClientAuth::None);
        let sent = match way {
            Some(way) => format!("; the client was authenticated by `{way}`"),
            None => "; no client authentication was sent".into(),
        };
        let failure = self.with_own_names(failure.and_seen(&sent));
        let settings = &self.settings;
        let secret = settings.client_secret.as_ref().map(|secret| secret.expose());
        let methods = self.snapshot().and_then(|snapshot| snapshot.metadata.client_auth_methods.clone());
        match (failure.reason, way) {
            (Reason::ClientRefused, Some(_)) if secret == Some(settings.client_id.as_str()) => failure
                .renamed(Reason::ClientSecretMistaken)
                .remedied("`client_secret` is the same as `client_id`: set it to the secret."),
            (Reason::ClientRefused, None) if error == "invalid_client" => failure.renamed(Reason::ClientSecretMissing).remedied(
                "Set `client_secret`, for none was sent; where the client is a public one, compare `client_id` with the one \
                 at the provider.",
            ),
            (Reason::ClientRefused, Some(way)) => match methods.filter(|methods| !methods.iter().any(|m| m == way)) {
                Some(methods) => failure.renamed(Reason::ClientAuthRefused).remedied(format!(
                    "Set `client_auth`, by which it is {way} now, to a way that the provider has: {}.",
                    methods.iter().filter(|m| is_word(m)).take(8).map(String::as_str).collect::<Vec<_>>().join(", ")
                )),
                None => failure,
            },
            (Reason::ClientAuthRefused, Some(way)) => {
                // What the table says to set may be what was sent: then it was the other way that is meant.
                let said = failure.remedy().trim_end_matches('.').to_owned();
                let told = match (auth, said.ends_with(&format!("`{way}`"))) {
                    (ClientAuth::ClientSecretPost, true) => "Set `client_auth` to `client_secret_basic`".to_owned(),
                    (_, true) => "Set `client_auth` to the one way that the client has at the provider".to_owned(),
                    _ => said,
                };
                failure.remedied(format!("{told}; it is `{way}` now."))
            }
            _ => failure,
        }
    }

    /// With the remedy that names what is this provider's own.
    pub(super) fn with_own_names(&self, failure: Failure) -> Failure {
        let failure = failure.of_provider(self.name());
        match failure.reason {
            Reason::RedirectUriRefused => {
                let told = format!(
                    "Register `{}` as redirect URI of the client, to the letter, or correct `public_url`.",
                    self.redirect_uri
                );
                failure.remedied(told)
            }
            _ => failure,
        }
    }
}

/// What a provider means by `error`, with its own words as the detail.
pub(super) fn refused(at: At, error: &str, description: Option<&str>) -> Failure {
    let description = description.filter(|text| !text.is_empty());
    let said = description.map(|text| format!(": {}", in_words(text))).unwrap_or_default();
    let detail = format!("the provider said {}{said}", in_words(error));
    match translated(at, error, description) {
        Some(known) => Failure::new(known.reason, detail).remedied(known.remedy),
        None => Failure::new(by_code(at, error), detail),
    }
}

/// Reason and remedy, where the provider's words are known.
pub fn known_words(at: At, error: &str, description: Option<&str>) -> Option<(Reason, &'static str)> {
    translated(at, error, description).map(|known| (known.reason, known.remedy))
}

/// What is known of these words, at that endpoint.
fn translated(at: At, error: &str, description: Option<&str>) -> Option<&'static Known> {
    let texts = [description.unwrap_or_default().to_ascii_lowercase(), error.to_ascii_lowercase()];
    // In the browser a provider says nothing of what only the token endpoint sees; the same words are about a person.
    let here = |known: &&Known| at == At::Token || !known.reason.code().starts_with("DW-32");
    TABLE.iter().filter(here).find(|known| known.fits(error, &texts))
}

/// The reason by the code alone.
fn by_code(at: At, error: &str) -> Reason {
    match (at, error) {
        (_, "server_error" | "temporarily_unavailable") => Reason::ProviderUnreachable,
        (_, "unsupported_response_type" | "unsupported_response_mode" | "unsupported_grant_type") => {
            Reason::FlowRefused
        }
        (At::Authorization, "unauthorized_client") => Reason::FlowRefused,
        (At::Authorization, "login_required" | "interaction_required" | "account_selection_required") => {
            Reason::SilentSignIn
        }
        (At::Authorization, "consent_required") => Reason::ConsentNeeded,
        (
            At::Authorization,
            "invalid_client"
            | "invalid_request"
            | "invalid_scope"
            | "invalid_target"
            | "invalid_request_uri"
            | "invalid_request_object"
            | "request_not_supported"
            | "request_uri_not_supported"
            | "registration_not_supported",
        ) => Reason::ProviderMisconfigured,
        // `access_denied`, and what a provider made up, which is most often about the person.
        (At::Authorization, _) => Reason::ProviderSaidNo,
        (At::Token, "invalid_grant") => Reason::CodeRefused,
        // Auth0 calls a wrong secret `access_denied`.
        (At::Token, "invalid_client" | "unauthorized_client" | "access_denied") => Reason::ClientRefused,
        (At::Token, _) => Reason::TokenAnswer,
    }
}

/// Whether a name of the metadata can stand in a sentence.
fn is_word(name: &str) -> bool {
    name.len() <= 64 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
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

    fn remedy(error: &str, description: Option<&str>) -> Option<&'static str> {
        translated(At::Token, error, description).map(|known| known.remedy)
    }

    #[test]
    fn no_text_hides_another() {
        for known in TABLE {
            let found = remedy(known.error, Some(known.text).filter(|text| !text.is_empty()));
            assert_eq!(found, Some(known.remedy), "{} {}", known.error, known.text);
            assert!(known.remedy.ends_with('.') && !known.remedy.contains("  "), "{}", known.remedy);
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
                "Take `client_secret` away",
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
                "Turn `Implicit flow` on",
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
            ("unauthorized_client", "requested response_type is not allowed for this client", "OIDC_AUTH_METHOD"),
            ("invalid_request", "The response type `code` is not for this client.", "OIDC_AUTH_METHOD"),
        ] {
            let found = remedy(error, Some(description)).unwrap_or_default();
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
            for line in text.lines().filter(|line| line.starts_with("reason=DW-") && line.contains("the provider said"))
            {
                // The provider's words are in the first one or two pairs of back quotes.
                let line = line.replace("\\\"", "\"");
                let code = &line["reason=".len()..][..7];
                let (said, advised) = line.split_once("\" remedy=\"").expect("a remedy");
                let rest = said.split_once("the provider said `").expect("words").1;
                let (error, rest) = rest.split_once('`').expect("an error");
                let description = rest.strip_prefix(": `").and_then(|rest| rest.split_once('`')).map(|(text, _)| text);
                let failure = refused(At::Token, error, description);
                let found = (failure.reason.code(), failure.remedy());
                assert_eq!(found, (code, advised.trim_end_matches('"')), "{}: {line}", page.display());
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
            assert_eq!(remedy(error, description), None, "{error} {description:?}");
        }
    }
}
