//! Ending the provider's session when ours ends.

use url::Url;

use super::provider::Provider;
use crate::config::model::{LogoutForm, Preset};

/// Longest ID token that is sent as a hint: servers commonly take 8 kB of request line.
const MAX_HINT: usize = 6 * 1024;

impl Provider {
    /// Where to send a browser to end the provider's session, in the form that the provider understands; `None` where it
    /// offers no such place. A hint too long for an address is left out: to most `client_id` says enough.
    pub fn end_session_url(
        &self,
        id_token_hint: Option<&str>,
        post_logout_redirect_uri: &Url,
        state: &str,
    ) -> Option<Url> {
        let mut url = self.end_session_address()?;
        {
            let mut query = url.query_pairs_mut();
            query.append_pair("client_id", &self.settings.client_id);
            match self.settings.logout {
                // OpenID Connect RP-Initiated Logout §2.
                LogoutForm::EndSession => {
                    if let Some(hint) = id_token_hint.filter(|hint| hint.len() <= MAX_HINT) {
                        query.append_pair("id_token_hint", hint);
                    }
                    query.append_pair("post_logout_redirect_uri", post_logout_redirect_uri.as_str());
                    query.append_pair("state", state);
                }
                // Both compare the address with those that are registered, so nothing is added to it.
                LogoutForm::Auth0 => drop(query.append_pair("returnTo", post_logout_redirect_uri.as_str())),
                LogoutForm::Cognito => drop(query.append_pair("logout_uri", post_logout_redirect_uri.as_str())),
                LogoutForm::None => {}
            }
        }
        Some(url)
    }

    /// Whether it refuses a sign-out without `id_token_hint`, as Okta does with a page of its own, from which nobody comes
    /// back.
    pub fn needs_logout_hint(&self) -> bool {
        self.settings.preset == Preset::Okta && self.settings.logout == LogoutForm::EndSession
    }

    /// Whether `state` comes back with the browser.
    pub fn brings_logout_state(&self) -> bool {
        self.settings.logout == LogoutForm::EndSession
    }

    fn end_session_address(&self) -> Option<Url> {
        if self.settings.logout == LogoutForm::None {
            return None;
        }
        if let Some(address) = &self.settings.logout_endpoint {
            return Some(address.clone());
        }
        match self.settings.logout {
            LogoutForm::Auth0 => {
                let mut url = self.settings.issuer.clone();
                url.path_segments_mut().ok()?.pop_if_empty().extend(["v2", "logout"]);
                Some(url)
            }
            LogoutForm::Cognito => {
                let snapshot = self.snapshot()?;
                let metadata = &snapshot.metadata;
                let host = metadata.end_session_endpoint.as_ref().unwrap_or(&metadata.authorization_endpoint);
                host.join("/logout").ok()
            }
            LogoutForm::EndSession => self.snapshot()?.metadata.end_session_endpoint.clone(),
            LogoutForm::None => None,
        }
    }

    /// Whether its frames may name a session without the issuer. Front-Channel Logout §2 has both or neither; Entra sends
    /// `sid` alone.
    pub fn frames_lack_issuer(&self) -> bool {
        self.settings.preset.is_entra()
    }

    /// Origins of the provider's pages, which may hold ours in a frame when it ends sessions (OpenID Connect
    /// Front-Channel Logout §3).
    pub fn origins(&self) -> Vec<String> {
        let snapshot = self.snapshot();
        let metadata = snapshot.as_ref().map(|snapshot| &snapshot.metadata);
        let pages = [
            Some(&self.settings.issuer),
            metadata.map(|metadata| &metadata.authorization_endpoint),
            metadata.and_then(|metadata| metadata.end_session_endpoint.as_ref()),
            self.settings.logout_endpoint.as_ref(),
        ];
        let mut origins: Vec<_> = pages.into_iter().flatten().map(|url| url.origin().ascii_serialization()).collect();
        origins.sort_unstable();
        origins.dedup();
        origins
    }
}
