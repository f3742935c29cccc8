//! A rule asks for a claim that nobody sent, or for an address that the provider calls unverified: what its tokens had
//! instead, and which of its settings mends it.
//!
//! A session keeps only what is read, so what else a token had is told by the names of its claims, remembered from the last
//! sign-ins that lacked something. Promise: names and no values, of a bounded number of people.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use serde_json::{Map, Value};

use super::provider::Provider;
use crate::claims::ClaimNames;
use crate::config::model::Preset;
use crate::identity::{Identity, value_at};
use crate::reason::{Failure, Reason};
use crate::words::in_words;

/// People whose last token is remembered.
const PEOPLE: usize = 64;
/// Names of claims that are told.
const NAMES: usize = 40;

/// The names of the claims that the last tokens had which lacked one, by subject, the newest first.
#[derive(Debug, Default)]
pub(super) struct Lacking(Mutex<VecDeque<(String, String)>>);

impl Lacking {
    fn note(&self, subject: &str, names: String) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|(other, _)| other != subject);
        known.push_front((subject.to_owned(), names));
        known.truncate(PEOPLE);
    }

    fn of(&self, subject: &str) -> Option<String> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.iter().find(|(other, _)| other == subject).map(|(_, names)| names.clone())
    }
}

impl Provider {
    /// Remembers what the verified `claims` of a sign-in are called, where one is absent that the configuration reads.
    pub(super) fn note_claims(&self, names: &ClaimNames, subject: &str, claims: &Map<String, Value>) {
        let read = [&*names.groups_claim, &*names.email_claim].into_iter().chain(self.needed.paths());
        let absent = |path: &str| value_at(claims, path).is_none_or(Value::is_null);
        if !read.into_iter().any(absent) {
            return;
        }
        let told: Vec<_> = claims.keys().take(NAMES).map(|name| in_words(name)).collect();
        self.lacking.note(subject, told.join(", "));
    }

    /// `failure`, by which a rule turned `identity` away for want of the claims `absent`, with what its token had and which
    /// settings of this product add them.
    pub fn explain_absence(&self, failure: Failure, identity: &Identity, absent: &[&str]) -> Failure {
        if failure.reason != Reason::ClaimAbsent {
            return failure;
        }
        let had = self.lacking.of(&identity.subject);
        let elsewhere =
            had.as_ref().is_some_and(|names| names.contains("`_claim_names`") || names.contains("`hasgroups`"));
        let had = had.map(|names| format!("; what came with the last sign-in was {names}")).unwrap_or_default();
        let mut failure = failure.and_seen(&had).of_provider(self.name());
        let mut remedies = Vec::new();
        if absent.contains(&"groups") {
            failure = failure.and_seen(&format!("; `groups_claim` is `{}`", self.settings.groups_claim));
            remedies.push(self.how_to_add_groups(elsewhere));
        }
        if absent.contains(&"email") {
            failure = failure.and_seen(&format!("; `email_claim` is `{}`", self.settings.email_claim));
            remedies.push(self.how_to_add_the_address());
        }
        let others: Vec<_> = absent.iter().filter(|claim| !matches!(**claim, "groups" | "email")).collect();
        if !others.is_empty() {
            let names: Vec<_> = others.iter().map(|claim| in_words(claim)).collect();
            let names = names.join(", ");
            remedies.push(format!("Have the provider put {names} into the tokens of this client; then sign in again."));
        }
        // Said once, at the end.
        let last = remedies.len().saturating_sub(1);
        for earlier in &mut remedies[..last] {
            if let Some(short) = earlier.strip_suffix("; then sign in again.") {
                *earlier = format!("{short}.");
            }
        }
        failure.remedied_by((!remedies.is_empty()).then(|| remedies.join(" ")))
    }

    /// `failure`, where it is that an address is not verified, with what verifies one in this product.
    pub fn explain_unverified(&self, failure: Failure) -> Failure {
        if failure.reason != Reason::EmailUnverified {
            return failure;
        }
        let remedy = match self.settings.preset {
            // Since 2025.10, of everybody: nobody can verify an address there.
            Preset::Authentik => Some(
                "The mapping for `email` that authentik comes with says of everybody that their address is not verified: give the \
                 provider in authentik a scope mapping of your own for `email` in its place, which returns `email_verified` as true \
                 where that is so; then sign in again.",
            ),
            Preset::Keycloak => Some(
                "Verify the address at Keycloak, or have an admin there turn `Email verified` on for the account; then sign in \
                 again.",
            ),
            _ => None,
        };
        failure.of_provider(self.name()).remedied_by(remedy)
    }

    fn how_to_add_the_address(&self) -> String {
        let claim = &self.settings.email_claim;
        let start = match self.settings.scopes.iter().any(|scope| scope == "email") {
            true => "Have",
            false => "Put `email` among `scopes`, and have",
        };
        format!(
            "{start} the provider put the e-mail address into the claim `{claim}`, or set `email_claim` to the claim that has \
             it; the account needs one there; then sign in again."
        )
    }

    /// For a sign-in that asked how long ago the person authenticated, and was not told.
    pub(super) fn how_to_add_auth_time(&self) -> &'static str {
        match self.settings.preset.is_entra() {
            true => {
                "Add the optional claim `auth_time` to the application's ID tokens in Entra (Token configuration, Add optional claim, \
                 ID); then sign in again."
            }
            false => {
                "Have the provider put `auth_time` into the ID tokens of this client, or take `max_age` and `fresh_sign_in` away; then \
                 sign in again."
            }
        }
    }

    fn how_to_add_groups(&self, elsewhere: bool) -> String {
        let claim = &self.settings.groups_claim;
        let how = match self.settings.preset {
            Preset::Entra | Preset::EntraV1 if elsewhere => {
                "Somebody in more than about 200 groups gets none from Entra: choose Groups assigned to the application under Token \
                 configuration, or app roles with `groups_claim = \"roles\"`"
            }
            Preset::Entra | Preset::EntraV1 => {
                "Add the groups claim under Token configuration of the application in Entra (`groupMembershipClaims` of its \
                 manifest), or give it app roles and set `groups_claim = \"roles\"`"
            }
            Preset::Okta => {
                "Give the application in Okta a Groups claim filter (Sign On, OpenID Connect ID Token), or the authorization server in \
                 `issuer` a claim `groups`"
            }
            Preset::Keycloak => {
                return format!(
                    "Add a mapper of the type Group Membership to the client's dedicated scope in Keycloak, with Token Claim Name \
                     `{claim}` and Add to ID token on; then sign in again."
                );
            }
            Preset::Auth0 => {
                "Have a post-login Action of Auth0 write the groups under a name with an address before it, and set `groups_claim` \
                 to that"
            }
            Preset::Google => "Google sends no groups: let the rule go by `email_domains` or `emails`",
            Preset::Cognito => "Add the person to a group of the user pool: Cognito sends none to who is in none",
            Preset::Lark => "Lark sends no groups: let the rule go by `email_domains` or `emails`",
            Preset::Gitlab => "Leave `userinfo` on, from which GitLab's groups come, and add the person to a group",
            Preset::Authentik => {
                "Put `profile` among `scopes`, and give the provider in authentik the mapping of that scope"
            }
            Preset::Zitadel => {
                "Give the person a role in the project in ZITADEL, and have it assert roles: Assert Roles on Authentication"
            }
            Preset::Dex => "Put `groups` among `scopes`, and have a connector of Dex that knows groups",
            Preset::Generic => {
                return format!(
                    "Have the provider put `{claim}` into the ID tokens of this client, or set `groups_claim` to the claim that has the \
                     groups; then sign in again."
                );
            }
        };
        format!("{how}; then sign in again.")
    }
}
