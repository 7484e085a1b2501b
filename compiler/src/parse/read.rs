//! A tree -> Rust values, as serde reads them.

use serde::de::value::{MapAccessDeserializer, MapDeserializer, SeqDeserializer};
use serde::de::{Deserializer, Error as _, IntoDeserializer, Unexpected, Visitor};
use serde::forward_to_deserialize_any;

use super::tree::{Table, TreeNode};

/// Why a tree is not what is to be read: only ever seen when the schema has let something wrong pass.
type Error = serde_json::Error;

/// A table without one of its keys.
pub(crate) fn without<'de>(
    table: &'de Table<'_>,
    key: &'static str,
) -> MapDeserializer<'de, impl Iterator<Item = (&'de str, &'de TreeNode<'de>)>, Error> {
    let others = table.entries().iter().filter(move |entry| entry.key != key);
    MapDeserializer::new(others.map(|entry| (&*entry.key, &entry.item.node)))
}

fn entries<'de>(
    table: &'de Table<'_>,
) -> MapDeserializer<'de, impl Iterator<Item = (&'de str, &'de TreeNode<'de>)>, Error> {
    MapDeserializer::new(table.entries().iter().map(|entry| (&*entry.key, &entry.item.node)))
}

impl<'de> IntoDeserializer<'de, Error> for &'de TreeNode<'_> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> Deserializer<'de> for &'de TreeNode<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self {
            TreeNode::Text(text) => visitor.visit_borrowed_str(text),
            TreeNode::Integer(number) => match u64::try_from(*number) {
                Ok(number) => visitor.visit_u64(number),
                Err(_) => visitor.visit_i64(*number),
            },
            TreeNode::Boolean(flag) => visitor.visit_bool(*flag),
            TreeNode::Odd(_) => visitor.visit_unit(),
            TreeNode::Table(table) => {
                let mut entries = entries(table);
                let value = visitor.visit_map(&mut entries)?;
                entries.end()?;
                Ok(value)
            }
            TreeNode::List(items) => {
                let mut items = SeqDeserializer::new(items.iter().map(|item| &item.node));
                let value = visitor.visit_seq(&mut items)?;
                items.end()?;
                Ok(value)
            }
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self {
            TreeNode::Odd(_) => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    /// The name of the variant, or a table with nothing but that name and what is in it.
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self {
            TreeNode::Text(text) => visitor.visit_enum((&**text).into_deserializer()),
            TreeNode::Table(table) if table.entries().len() == 1 => {
                visitor.visit_enum(MapAccessDeserializer::new(entries(table)))
            }
            TreeNode::Table(_) => Err(Error::invalid_value(Unexpected::Map, &"map with a single key")),
            TreeNode::Integer(_) | TreeNode::Boolean(_) | TreeNode::Odd(_) | TreeNode::List(_) => {
                Err(Error::invalid_type(Unexpected::Other("value"), &"string or map"))
            }
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct
        seq tuple tuple_struct map struct identifier ignored_any
    }
}
