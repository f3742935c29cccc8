//! Who somebody is, as the provider said it and as rules and headers read it.
//!
//! An [`Identity`] is only made by a room that has verified it. It holds no token and no decision.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Somebody whose identity was verified.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Identity {
    /// Name of the `[[provider]]` that vouches for it.
    #[serde(rename = "p")]
    pub provider: String,
    /// `sub`: unique and never reassigned within the provider (OpenID Connect Core §2).
    #[serde(rename = "s")]
    pub subject: String,
    /// What the app knows the person by: the provider's `user_claim`.
    #[serde(rename = "u")]
    pub user: String,
    #[serde(rename = "e", default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// `email_verified`; `None` where the provider does not say.
    #[serde(rename = "ev", default, skip_serializing_if = "Option::is_none")]
    pub email_verified: Option<bool>,
    #[serde(rename = "pu", default, skip_serializing_if = "Option::is_none")]
    pub preferred_username: Option<String>,
    #[serde(rename = "n", default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// `None` where the provider sent no groups claim at all, which is not the same as no groups.
    #[serde(rename = "g", default, skip_serializing_if = "Option::is_none")]
    pub groups: Option<Vec<String>>,
    /// The other claims that a header or a rule of the configuration reads, and no more.
    #[serde(rename = "c", default, skip_serializing_if = "Claims::is_empty")]
    pub claims: Claims,
}

/// How and when somebody authenticated at the provider, and the session they have there.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Authentication {
    /// `sid`: the provider's name for its session, by which it ends ours (OpenID Connect Front- and Back-Channel Logout).
    pub provider_session: Option<String>,
    /// `acr`.
    pub context: Option<String>,
    /// `auth_time` in seconds since 1970, where the provider says it.
    pub at: Option<u64>,
}

/// The beginning of the SHA-256 of a sign-in's `nonce`, by which a renewed ID token shows that it is of that sign-in
/// (OpenID Connect Core §12.2). Short, for it travels in the session's cookie, and long enough for 256 random bits of ours.
pub type NonceDigest = [u8; 8];

impl Identity {
    /// What the identity says at `path`. The names `sub`, `user`, `email`, `email_verified`, `preferred_username`,
    /// `name` and `groups` are the fields above, whatever claims the provider keeps them in; any other path reads
    /// [`Identity::claims`]. `None` where nothing is said, which includes `null`.
    pub fn at<'a>(&'a self, path: &str) -> Option<Said<'a>> {
        match path {
            "sub" => Some(Said::Text(&self.subject)),
            "user" => Some(Said::Text(&self.user)),
            "email" => self.email.as_deref().map(Said::Text),
            "email_verified" => self.email_verified.map(Said::Flag),
            "preferred_username" => self.preferred_username.as_deref().map(Said::Text),
            "name" => self.name.as_deref().map(Said::Text),
            "groups" => self.groups.as_deref().map(Said::List),
            _ => self.claims.at(path).filter(|value| !value.is_null()).map(Said::Claim),
        }
    }
}

/// What an identity says at a path, borrowed from it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Said<'a> {
    Text(&'a str),
    Flag(bool),
    List(&'a [String]),
    /// Any other claim, never `null`.
    Claim(&'a Value),
}

impl Said<'_> {
    /// Whether it is a list, were it of one entry.
    pub fn is_list(&self) -> bool {
        matches!(self, Said::List(_) | Said::Claim(Value::Array(_)))
    }

    /// Whether one of its strings, as [`strings`] lists them, meets `wanted`. Allocates for numbers only.
    pub fn any(&self, mut wanted: impl FnMut(&str) -> bool) -> bool {
        let mut scalar_meets = |value: &Value| match value {
            Value::String(text) => wanted(text),
            other => scalar(other).is_some_and(|text| wanted(&text)),
        };
        match self {
            Said::Claim(Value::Array(items)) => items.iter().any(scalar_meets),
            Said::Claim(value) => scalar_meets(value),
            Said::Text(text) => wanted(text),
            Said::Flag(flag) => wanted(if *flag { "true" } else { "false" }),
            Said::List(items) => items.iter().any(|item| wanted(item)),
        }
    }

    /// Its strings, for a header.
    pub fn strings(&self) -> Vec<String> {
        let mut all = Vec::new();
        self.any(|text| {
            all.push(text.to_owned());
            false
        });
        all
    }
}

/// Claims by name. [`Claims::at`] reads them by path.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Claims(pub Map<String, Value>);

impl Claims {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value at `path`: a claim of exactly that name, else nested objects by the path's dots
    /// (`realm_access.roles`). The name comes first because names like `https://example.com/groups`
    /// hold dots themselves.
    pub fn at(&self, path: &str) -> Option<&Value> {
        value_at(&self.0, path)
    }
}

/// [`Claims::at`] of claims that are not picked yet.
pub fn value_at<'a>(map: &'a Map<String, Value>, path: &str) -> Option<&'a Value> {
    if let Some(value) = map.get(path) {
        return Some(value);
    }
    let mut dots = path.match_indices('.');
    dots.find_map(|(dot, _)| map.get(&path[..dot])?.as_object().and_then(|inner| value_at(inner, &path[dot + 1..])))
}

/// The strings in a claim that may be a list, a single string, a number or a boolean; other members of
/// a list are left out. Providers send a single group as a string, and numbers as group ids.
pub fn strings(value: &Value) -> Vec<String> {
    match value {
        Value::Array(items) => items.iter().filter_map(scalar).collect(),
        other => scalar(other).into_iter().collect(),
    }
}

/// A string, number or boolean as a string; `None` for null, lists and objects.
pub fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(s) => Some(s.clone()),
        Value::Number(n) => Some(n.to_string()),
        Value::Bool(b) => Some(b.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims(json: &str) -> Claims {
        serde_json::from_str(json).expect("test input")
    }

    #[test]
    fn a_path_reads_nested_claims_and_names_with_dots() {
        let c = claims(r#"{"realm_access":{"roles":["a"]},"https://x.example/groups":["b"],"a":{"b.c":{"d":1}}}"#);
        assert_eq!(c.at("realm_access.roles").map(strings), Some(vec!["a".into()]));
        assert_eq!(c.at("https://x.example/groups").map(strings), Some(vec!["b".into()]));
        assert_eq!(c.at("a.b.c.d").and_then(scalar), Some("1".into()));
        assert_eq!(c.at("realm_access.roles.x"), None);
        assert_eq!(c.at(""), None);
    }

    #[test]
    fn a_single_group_is_a_list_of_one() {
        assert_eq!(strings(&Value::String("g".into())), ["g"]);
        assert_eq!(strings(&serde_json::json!(["a", 7, null, {"x": 1}])), ["a", "7"]);
    }
}
