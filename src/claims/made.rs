//! Claims that the configuration makes from others: renamed, joined, or with a default.
//!
//! They are made from what was verified and never from each other, so that their order means nothing.

use std::borrow::Cow;

use serde_json::{Map, Value};

use crate::config::model::ClaimMap;
use crate::identity::{strings, value_at};

/// The claims to make.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MadeClaims(Box<[ClaimMap]>);

impl MadeClaims {
    pub fn new(maps: &[ClaimMap]) -> Self {
        MadeClaims(maps.into())
    }

    /// The paths that they are made from.
    pub fn sources(&self) -> impl Iterator<Item = &str> {
        self.0.iter().flat_map(|map| &map.from).map(String::as_str)
    }

    /// Whether a claim of that name is made.
    pub fn makes(&self, name: &str) -> bool {
        self.0.iter().any(|map| map.name == name)
    }

    /// Whether the claim `name` is made of the claim `source`, among others.
    pub fn makes_of(&self, name: &str, source: &str) -> bool {
        self.0.iter().any(|map| map.name == name && map.from.iter().any(|path| path == source))
    }

    /// `claims` with those that are made. One of the same name is replaced, or gone where there is nothing to make it of.
    /// `without` names a source of which nothing is made: under another name it would no longer be known for what it is.
    pub fn add_to<'c>(&self, claims: &'c Map<String, Value>, without: Option<&str>) -> Cow<'c, Map<String, Value>> {
        if self.0.is_empty() {
            return Cow::Borrowed(claims);
        }
        let mut all = claims.clone();
        for map in &self.0 {
            match make(map, claims, without) {
                Some(value) => all.insert(map.name.clone(), value),
                None => all.remove(&map.name),
            };
        }
        Cow::Owned(all)
    }
}

fn make(map: &ClaimMap, claims: &Map<String, Value>, without: Option<&str>) -> Option<Value> {
    let sources = map.from.iter().filter(|path| Some(path.as_str()) != without);
    let said = sources.filter_map(|path| value_at(claims, path)).filter(|value| says_something(value));
    let mut said = said.map(|value| match value {
        Value::Object(members) if map.names => Value::Array(members.keys().cloned().map(Value::String).collect()),
        value => value.clone(),
    });
    let made = match &map.join {
        None => said.next(),
        Some(between) => {
            let texts: Vec<String> = said.flat_map(|value| strings(&value)).filter(|text| !text.is_empty()).collect();
            (!texts.is_empty()).then(|| Value::String(texts.join(between)))
        }
    };
    made.or_else(|| map.default.clone().map(Value::String))
}

fn says_something(value: &Value) -> bool {
    !matches!(value, Value::Null) && value.as_str() != Some("")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn made(map: Value, claims: Value) -> Value {
        let map: ClaimMap = serde_json::from_value(map).expect("a map");
        let claims: Map<String, Value> = serde_json::from_value(claims).expect("claims");
        Value::Object(MadeClaims::new(&[map]).add_to(&claims, None).into_owned())
    }

    #[test]
    fn a_claim_is_renamed_joined_or_has_a_default() {
        let person =
            json!({"given_name": "Ada", "family_name": "Lovelace", "org": {"team": "math"}, "ids": [1, 2], "no": ""});
        for (map, name, expected) in [
            (json!({"name": "team", "from": ["org.team"]}), "team", json!("math")),
            (json!({"name": "team", "from": ["no", "missing", "org.team"]}), "team", json!("math")),
            (json!({"name": "ids2", "from": ["ids"]}), "ids2", json!([1, 2])),
            (
                json!({"name": "name", "from": ["given_name", "family_name"], "join": " "}),
                "name",
                json!("Ada Lovelace"),
            ),
            (json!({"name": "name", "from": ["given_name", "no", "missing"], "join": " "}), "name", json!("Ada")),
            (json!({"name": "all", "from": ["ids", "org.team"], "join": "+"}), "all", json!("1+2+math")),
            (json!({"name": "team", "from": ["missing"], "default": "none"}), "team", json!("none")),
            (json!({"name": "team", "from": ["missing"], "join": ",", "default": "none"}), "team", json!("none")),
            (json!({"name": "teams", "from": ["org"], "names": true}), "teams", json!(["team"])),
            (json!({"name": "teams", "from": ["ids"], "names": true}), "teams", json!([1, 2])),
            (json!({"name": "teams", "from": ["org"]}), "teams", json!({"team": "math"})),
            (json!({"name": "teams", "from": ["org", "ids"], "names": true, "join": "+"}), "teams", json!("team+1+2")),
            (json!({"name": "given_name", "from": ["missing"]}), "given_name", Value::Null),
            (json!({"name": "given_name", "from": ["family_name"]}), "given_name", json!("Lovelace")),
        ] {
            assert_eq!(made(map.clone(), person.clone())[name], expected, "{map}");
        }
    }

    #[test]
    fn nothing_is_made_of_a_source_that_must_keep_its_name() {
        let map = json!([{"name": "login", "from": ["email", "upn"]}, {"name": "email", "from": ["email"]}]);
        let maps: Vec<ClaimMap> = serde_json::from_value(map).expect("maps");
        let claims: Map<String, Value> = serde_json::from_value(json!({"email": "a@x.example"})).expect("claims");
        let made = MadeClaims::new(&maps);
        assert_eq!(made.add_to(&claims, None)["login"], "a@x.example");
        assert!(!made.add_to(&claims, Some("email")).contains_key("login"));
        assert!(made.makes_of("login", "email") && !made.makes_of("login", "sub") && !made.makes_of("upn", "email"));
    }

    #[test]
    fn the_order_of_claims_that_are_made_means_nothing() {
        let swap = [json!({"name": "a", "from": ["b"]}), json!({"name": "b", "from": ["a"]})];
        let maps: Vec<ClaimMap> = swap.into_iter().map(|map| serde_json::from_value(map).expect("a map")).collect();
        let claims: Map<String, Value> = serde_json::from_value(json!({"a": 1, "b": 2})).expect("claims");
        let swapped = MadeClaims::new(&maps).add_to(&claims, None).into_owned();
        assert_eq!((&swapped["a"], &swapped["b"]), (&json!(2), &json!(1)));
    }
}
