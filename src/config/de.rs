//! Hands a [`Node`] to serde, so that an error knows which setting it is about.

use std::fmt;

use serde::de::value::{MapDeserializer, SeqDeserializer};
use serde::de::{self, DeserializeOwned, IntoDeserializer, Visitor};

use super::origin::KeyPath;
use super::tree::{Node, Plain};

/// A value that its type does not take.
#[derive(Debug)]
pub(crate) struct Unfit {
    pub message: String,
    /// The setting; the outermost deserializer that knows has put it in.
    pub path: Option<KeyPath>,
}

/// Reads a `T` from the whole tree.
pub(crate) fn read<T: DeserializeOwned>(root: &Node) -> Result<T, Unfit> {
    T::deserialize(At { node: root, path: KeyPath::default() })
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Unfit {}

impl de::Error for Unfit {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Unfit { message: message.to_string(), path: None }
    }
}

struct At<'a> {
    node: &'a Node,
    path: KeyPath,
}

impl<'de> IntoDeserializer<'de, Unfit> for At<'_> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> de::Deserializer<'de> for At<'_> {
    type Error = Unfit;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unfit> {
        let path = self.path;
        let result = match &self.node.plain {
            Plain::Text(text) => visitor.visit_str(text),
            Plain::Whole(number) => visitor.visit_i64(*number),
            Plain::Flag(flag) => visitor.visit_bool(*flag),
            Plain::Other(kind) => Err(de::Error::custom(format!("{kind} is not possible here"))),
            Plain::List(list) => visitor.visit_seq(SeqDeserializer::new(
                list.iter().enumerate().map(|(index, node)| At { node, path: path.index(index) }),
            )),
            Plain::Table(table) => visitor.visit_map(MapDeserializer::new(
                table.iter().map(|(key, node)| (key.as_str(), At { node, path: path.key(key) })),
            )),
        };
        result.map_err(|error: Unfit| Unfit { path: error.path.or(Some(path)), ..error })
    }

    // A key that is not set is not in the tree, so whatever is there is some value.
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unfit> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Unfit> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Unfit> {
        let path = self.path;
        let result = match &self.node.plain {
            Plain::Text(text) => visitor.visit_enum(text.as_str().into_deserializer()),
            other => Err(de::Error::custom(format!("{} is not possible here", other.kind()))),
        };
        result.map_err(|error: Unfit| Unfit { path: error.path.or(Some(path)), ..error })
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct
        seq tuple tuple_struct map struct identifier ignored_any
    }
}
