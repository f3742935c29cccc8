//! Ending the provider's session when ours ends.

use url::Url;

use super::provider::Provider;

/// Longest ID token that is sent as a hint: servers commonly take 8 kB of request line.
const MAX_HINT: usize = 6 * 1024;

impl Provider {
    /// Where to send a browser to end the provider's session (OpenID Connect RP-Initiated Logout §2); `None` where
    /// the provider offers no such place. A hint too long for an address is left out: `client_id` says enough.
    pub fn end_session_url(
        &self,
        id_token_hint: Option<&str>,
        post_logout_redirect_uri: &Url,
        state: &str,
    ) -> Option<Url> {
        let mut url = self.snapshot()?.metadata.end_session_endpoint.clone()?;
        {
            let mut query = url.query_pairs_mut();
            query.append_pair("client_id", &self.settings.client_id);
            if let Some(hint) = id_token_hint.filter(|hint| hint.len() <= MAX_HINT) {
                query.append_pair("id_token_hint", hint);
            }
            query.append_pair("post_logout_redirect_uri", post_logout_redirect_uri.as_str());
            query.append_pair("state", state);
        }
        Some(url)
    }
}
