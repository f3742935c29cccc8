//! The shape of the configuration, read off the JSON Schema of [`Settings`]: which keys there are, of what type.
//!
//! Everything that must know all keys (the environment's names, "did you mean", the documentation, the start
//! table) asks here, so that a key added to `model.rs` cannot be forgotten anywhere.

use std::sync::LazyLock;

use serde_json::{Map, Value};

use super::model::Settings;

/// What a value may be.
#[derive(Clone, Debug)]
pub enum Shape {
    Flag,
    /// A whole number, 0 or more.
    Number,
    Text(Kind),
    /// One of these words.
    Choice(Vec<Word>),
    List(Box<Shape>),
    /// A table with keys of the operator's choice, all strings.
    Map,
    Table(Table),
}

/// What a string means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Plain,
    Secret,
    Url,
    /// A number with a unit of time.
    Period,
    /// May be written as a number as well.
    OrNumber,
}

/// One word of a choice.
#[derive(Clone, Debug)]
pub struct Word {
    pub word: String,
    pub about: String,
}

/// A table and its keys, in the order of the model.
#[derive(Clone, Debug)]
pub struct Table {
    pub about: String,
    pub fields: Vec<Field>,
}

/// One key.
#[derive(Clone, Debug)]
pub struct Field {
    pub name: String,
    pub about: String,
    pub required: bool,
    /// What it is where nobody sets it; `None` where that is "not set".
    pub default: Option<Value>,
    pub shape: Shape,
}

impl Table {
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|f| f.name == name)
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.fields.iter().map(|f| f.name.as_str())
    }
}

impl Shape {
    /// What to write, for people.
    pub fn wanted(&self) -> &'static str {
        match self {
            Shape::Flag => "true or false",
            Shape::Number => "a whole number, 0 or more",
            Shape::Text(Kind::OrNumber) => "a string or a number",
            Shape::Text(_) | Shape::Choice(_) => "a string",
            Shape::List(_) => "a list",
            Shape::Map | Shape::Table(_) => "a table",
        }
    }
}

/// The whole configuration file.
pub fn settings() -> &'static Table {
    static SETTINGS: LazyLock<Table> = LazyLock::new(|| {
        let root = json_schema();
        Reader { definitions: root.get("$defs").and_then(Value::as_object).cloned().unwrap_or_default() }.table(&root)
    });
    &SETTINGS
}

/// The JSON Schema of the configuration file.
pub fn json_schema() -> Value {
    schemars::schema_for!(Settings).to_value()
}

struct Reader {
    definitions: Map<String, Value>,
}

impl Reader {
    /// Follows `$ref`, and takes "this or null" for this.
    fn resolve<'a>(&'a self, schema: &'a Value) -> &'a Value {
        let any_of = schema.get("anyOf").and_then(Value::as_array);
        if let Some(some) = any_of.and_then(|list| list.iter().find(|s| s.get("type") != Some(&"null".into()))) {
            return self.resolve(some);
        }
        let name = schema.get("$ref").and_then(Value::as_str).and_then(|r| r.strip_prefix("#/$defs/"));
        match name.and_then(|name| self.definitions.get(name)) {
            Some(definition) => self.resolve(definition),
            None => schema,
        }
    }

    fn shape(&self, schema: &Value) -> Shape {
        let schema = self.resolve(schema);
        let words = self.words(schema);
        if !words.is_empty() {
            return Shape::Choice(words);
        }
        let types = types(schema);
        let is = |name: &str| types.contains(&name);
        match schema.get("format").and_then(Value::as_str) {
            Some("password") => return Shape::Text(Kind::Secret),
            Some("uri") => return Shape::Text(Kind::Url),
            _ => {}
        }
        let pattern = schema.get("pattern").and_then(Value::as_str).unwrap_or_default();
        if pattern.ends_with("(ms|s|m|h|d)$") {
            Shape::Text(Kind::Period)
        } else if is("string") {
            Shape::Text(if is("integer") { Kind::OrNumber } else { Kind::Plain })
        } else if is("integer") {
            Shape::Number
        } else if is("boolean") {
            Shape::Flag
        } else if is("array") {
            Shape::List(Box::new(self.shape(schema.get("items").unwrap_or(&Value::Null))))
        } else if schema.get("properties").is_some() {
            Shape::Table(self.table(schema))
        } else {
            Shape::Map
        }
    }

    fn words(&self, schema: &Value) -> Vec<Word> {
        let alternatives = schema.get("oneOf").and_then(Value::as_array).map_or(std::slice::from_ref(schema), |l| l);
        let mut words = Vec::new();
        for alternative in alternatives {
            let listed = alternative.get("enum").and_then(Value::as_array).into_iter().flatten();
            for word in alternative.get("const").into_iter().chain(listed).filter_map(Value::as_str) {
                words.push(Word { word: word.to_owned(), about: about(alternative) });
            }
        }
        words
    }

    fn table(&self, schema: &Value) -> Table {
        let required = schema.get("required").and_then(Value::as_array);
        let required = |name: &str| required.is_some_and(|list| list.iter().any(|r| r.as_str() == Some(name)));
        let properties = schema.get("properties").and_then(Value::as_object);
        let order = properties.map(|p| model_order(p.keys().map(String::as_str).collect())).unwrap_or_default();
        let fields = order.into_iter().filter_map(|name| properties?.get_key_value(name)).map(|(name, property)| {
            let own = about(property);
            Field {
                name: name.clone(),
                about: if own.is_empty() { about(self.resolve(property)) } else { own },
                required: required(name),
                default: property.get("default").filter(|d| !d.is_null()).cloned(),
                shape: self.shape(property),
            }
        });
        Table { about: about(schema), fields: fields.collect() }
    }
}

/// The keys in the order of the model: a schema's own order is the alphabet, which tears apart what belongs together.
fn model_order(mut names: Vec<&str>) -> Vec<&str> {
    use super::model::*;
    static ORDERS: LazyLock<[&'static [&'static str]; 16]> = LazyLock::new(|| {
        [
            order::of::<Settings>(),
            order::of::<Listen>(),
            order::of::<Admin>(),
            order::of::<Provider>(),
            order::of::<Upstream>(),
            order::of::<Route>(),
            order::of::<Allow>(),
            order::of::<ClaimRule>(),
            order::of::<Headers>(),
            order::of::<HeaderRule>(),
            order::of::<Session>(),
            order::of::<SignIn>(),
            order::of::<Timeouts>(),
            order::of::<Limits>(),
            order::of::<Log>(),
            order::of::<Brand>(),
        ]
    });
    let same = |order: &&&[&str]| order.len() == names.len() && names.iter().all(|name| order.contains(name));
    if let Some(order) = ORDERS.iter().find(same) {
        names.sort_by_key(|name| order.iter().position(|other| other == name));
    }
    names
}

/// Asks a type for the names of its fields: serde hands them to the deserializer before anything else.
mod order {
    use serde::de::{Deserialize, Deserializer, Visitor, value::Error};

    struct Ask<'a>(&'a mut &'static [&'static str]);

    pub fn of<'de, T: Deserialize<'de>>() -> &'static [&'static str] {
        let mut fields: &'static [&'static str] = &[];
        // Fails always, after the question was answered.
        let _ = T::deserialize(Ask(&mut fields));
        fields
    }

    impl<'de> Deserializer<'de> for Ask<'_> {
        type Error = Error;

        fn deserialize_struct<V: Visitor<'de>>(
            self,
            _: &'static str,
            fields: &'static [&'static str],
            visitor: V,
        ) -> Result<V::Value, Error> {
            *self.0 = fields;
            self.deserialize_any(visitor)
        }

        fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
            Err(serde::de::Error::custom("asked"))
        }

        serde::forward_to_deserialize_any! {
            bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
            unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
        }
    }
}

fn types(schema: &Value) -> Vec<&str> {
    match schema.get("type") {
        Some(Value::String(one)) => vec![one.as_str()],
        Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

fn about(schema: &Value) -> String {
    let text = schema.get("description").and_then(Value::as_str).unwrap_or_default();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shape_of_each_kind_of_key_is_read_off_the_model() {
        let root = settings();
        let table = |name: &str| match root.field(name).map(|f| &f.shape) {
            Some(Shape::Table(table)) => table.clone(),
            Some(Shape::List(inner)) => match inner.as_ref() {
                Shape::Table(table) => table.clone(),
                other => panic!("{name}: {other:?}"),
            },
            other => panic!("{name}: {other:?}"),
        };
        let field = |of: &str, name: &str| table(of).field(name).cloned().unwrap_or_else(|| panic!("{of}.{name}"));
        assert!(root.field("public_url").is_some_and(|f| f.required && matches!(f.shape, Shape::Text(Kind::Url))));
        assert!(matches!(field("provider", "client_secret").shape, Shape::Text(Kind::Secret)));
        assert!(matches!(field("provider", "max_age").shape, Shape::Text(Kind::Period)));
        assert!(matches!(field("provider", "authorization_params").shape, Shape::Map));
        assert!(matches!(field("provider", "client_auth").shape, Shape::Choice(words) if words.len() == 7));
        assert!(matches!(field("log", "level").shape, Shape::Choice(words) if words.len() == 4));
        assert!(matches!(field("listen", "threads").shape, Shape::Number));
        assert!(matches!(field("limits", "request_line").shape, Shape::Text(Kind::OrNumber)));
        assert!(matches!(field("route", "allow").shape, Shape::Table(_)));
        assert_eq!(field("session", "idle").default, Some("8h".into()));
        assert_eq!(field("provider", "leeway").default, Some("1m".into()));
        assert!(!field("provider", "issuer").about.is_empty());
    }

    #[test]
    fn keys_keep_the_order_of_the_model() {
        assert_eq!(settings().names().take(4).collect::<Vec<_>>(), ["public_url", "secrets", "secret_file", "listen"]);
        let Some(Shape::List(provider)) = settings().field("provider").map(|f| &f.shape) else { panic!("no provider") };
        let Shape::Table(provider) = provider.as_ref() else { panic!("no table") };
        assert_eq!(provider.names().take(3).collect::<Vec<_>>(), ["name", "display_name", "provider"]);
    }

    #[test]
    fn every_key_says_what_it_is_for() {
        fn walk(table: &Table, path: &str) {
            for field in &table.fields {
                assert!(!field.about.is_empty(), "{path}.{}", field.name);
                match &field.shape {
                    Shape::Table(inner) => walk(inner, &field.name),
                    Shape::List(inner) => {
                        if let Shape::Table(inner) = inner.as_ref() {
                            walk(inner, &field.name);
                        }
                    }
                    _ => {}
                }
            }
        }
        walk(settings(), "");
    }
}
