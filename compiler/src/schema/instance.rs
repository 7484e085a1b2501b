//! The tree of a cluster file as a JSON document for the validator, so that nothing else is made of a file
//! whose shape is right.

use std::borrow::Cow;

use jsonschema::JsonType;
use jsonschema::json::{self, Json, JsonNumber, NodeIdentity};
use serde_json::{Number, Value};

use crate::parse::tree::{Entry, Table, TreeItem, TreeNode};

/// A JSON document that is a [`TreeNode`].
pub(super) struct JsonTree;

impl Json for JsonTree {
    type Node<'a> = &'a TreeNode<'a>;
    type PreparedKey = String;
    type StringBuffer = NameNode;

    /// Tables are small, and each key is looked for among all: to go through them once costs little more than
    /// two look-ups.
    const KEYS_PER_LOOKUP: usize = 2;

    fn prepare_key(key: &str) -> String {
        key.to_owned()
    }

    fn with_string_node<T>(buffer: &mut NameNode, text: &str, f: impl FnOnce(Self::Node<'_>) -> T) -> T {
        buffer.0 = TreeNode::Text(Cow::Owned(text.to_owned()));
        f(&buffer.0)
    }
}

/// The name of a key, to be judged as a value.
pub(super) struct NameNode(TreeNode<'static>);

impl Default for NameNode {
    fn default() -> Self {
        Self(TreeNode::Text(Cow::Borrowed("")))
    }
}

pub(super) struct Integer(i64);

impl JsonNumber for Integer {
    fn as_u64(&self) -> Option<u64> {
        u64::try_from(self.0).ok()
    }

    fn as_i64(&self) -> Option<i64> {
        Some(self.0)
    }

    fn as_f64(&self) -> Option<f64> {
        Number::from(self.0).as_f64()
    }

    fn as_str(&self) -> Cow<'_, str> {
        Cow::Owned(self.0.to_string())
    }

    fn to_number(&self) -> Cow<'_, Number> {
        Cow::Owned(Number::from(self.0))
    }

    fn is_integer(&self) -> bool {
        true
    }
}

impl<'a> json::Node<'a, JsonTree> for &'a TreeNode<'a> {
    type Object = &'a Table<'a>;
    type Array = &'a [TreeItem<'a>];
    type Number = Integer;

    fn as_object(&self) -> Option<&'a Table<'a>> {
        match self {
            TreeNode::Table(table) => Some(table),
            _ => None,
        }
    }

    fn as_array(&self) -> Option<&'a [TreeItem<'a>]> {
        match self {
            TreeNode::List(items) => Some(items),
            _ => None,
        }
    }

    fn as_string(&self) -> Option<Cow<'a, str>> {
        match self {
            TreeNode::Text(text) => Some(Cow::Borrowed(text)),
            _ => None,
        }
    }

    fn as_number(&self) -> Option<Integer> {
        match self {
            TreeNode::Integer(number) => Some(Integer(*number)),
            _ => None,
        }
    }

    fn as_boolean(&self) -> Option<bool> {
        match self {
            TreeNode::Boolean(flag) => Some(*flag),
            _ => None,
        }
    }

    fn is_null(&self) -> bool {
        matches!(self, TreeNode::Odd(_))
    }

    fn json_type(&self) -> JsonType {
        match self {
            TreeNode::Text(_) => JsonType::String,
            TreeNode::Integer(_) => JsonType::Number,
            TreeNode::Boolean(_) => JsonType::Boolean,
            TreeNode::Odd(_) => JsonType::Null,
            TreeNode::Table(_) => JsonType::Object,
            TreeNode::List(_) => JsonType::Array,
        }
    }

    fn equals_value(&self, expected: &Value) -> bool {
        match (self, expected) {
            (TreeNode::Text(text), Value::String(expected)) => text == expected,
            (TreeNode::Boolean(flag), Value::Bool(expected)) => flag == expected,
            (TreeNode::Integer(_), Value::Number(_))
            | (TreeNode::Table(_), Value::Object(_))
            | (TreeNode::List(_), Value::Array(_)) => json::cmp::equal(&self.to_value(), expected),
            (TreeNode::Odd(_), expected) => expected.is_null(),
            _ => false,
        }
    }

    fn to_value(&self) -> Cow<'a, Value> {
        Cow::Owned(match self {
            TreeNode::Text(text) => Value::String(text.as_ref().to_owned()),
            TreeNode::Integer(number) => Value::from(*number),
            TreeNode::Boolean(flag) => Value::Bool(*flag),
            TreeNode::Odd(_) => Value::Null,
            TreeNode::Table(table) => {
                let value = |entry: &'a Entry<'a>| {
                    (entry.key.as_ref().to_owned(), json::Node::to_value(&&entry.item.node).into_owned())
                };
                Value::Object(table.entries().iter().map(value).collect())
            }
            TreeNode::List(items) => {
                let value = |item: &'a TreeItem<'a>| json::Node::to_value(&&item.node).into_owned();
                Value::Array(items.iter().map(value).collect())
            }
        })
    }

    /// The schema of the cluster does not refer to itself, so there is nothing to remember.
    fn identity(&self) -> Option<NodeIdentity> {
        None
    }
}

impl<'a> json::Object<'a, JsonTree> for &'a Table<'a> {
    type Node = &'a TreeNode<'a>;
    type MemberName = &'a str;
    type MembersIter = JsonMembers<'a>;

    fn len(&self) -> usize {
        self.entries().len()
    }

    fn get(&self, key: &String) -> Option<&'a TreeNode<'a>> {
        Some(&Table::get(self, key)?.item.node)
    }

    fn members(&self) -> JsonMembers<'a> {
        JsonMembers(self.entries().iter())
    }
}

pub(super) struct JsonMembers<'a>(std::slice::Iter<'a, Entry<'a>>);

impl<'a> Iterator for JsonMembers<'a> {
    type Item = (&'a str, &'a TreeNode<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().map(|entry| (&*entry.key, &entry.item.node))
    }
}

impl<'a> json::Array<'a, JsonTree> for &'a [TreeItem<'a>] {
    type Node = &'a TreeNode<'a>;
    type ElementsIter = JsonElements<'a>;

    fn len(&self) -> usize {
        <[TreeItem<'_>]>::len(self)
    }

    fn elements(&self) -> JsonElements<'a> {
        JsonElements(self.iter())
    }
}

pub(super) struct JsonElements<'a>(std::slice::Iter<'a, TreeItem<'a>>);

impl<'a> Iterator for JsonElements<'a> {
    type Item = &'a TreeNode<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().map(|item| &item.node)
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "the test reads the cases")]
mod tests {
    use super::*;
    use crate::parse;
    use crate::schema::{choice, shape};
    use crate::source::SourceFile;

    fn node(value: &Value) -> TreeNode<'static> {
        let spot = parse::tree::TreeSpot::NOWHERE;
        let item = |value: &Value| TreeItem { spot, node: node(value) };
        match value {
            Value::Null => TreeNode::Odd(parse::OddKind::Decimal),
            Value::Bool(flag) => TreeNode::Boolean(*flag),
            Value::Number(number) => TreeNode::Integer(number.as_i64().expect("a whole number")),
            Value::String(text) => TreeNode::Text(Cow::Owned(text.clone())),
            Value::Array(items) => TreeNode::List(items.iter().map(item).collect()),
            Value::Object(entries) => {
                let entry = |(key, value): (&String, &Value)| Entry {
                    key: Cow::Owned(key.clone()),
                    spot,
                    item: item(value),
                };
                TreeNode::Table(Table::whole(entries.iter().map(entry).collect()))
            }
        }
    }

    /// The paths of everything in a value.
    fn paths(value: &Value, path: &str, into: &mut Vec<String>) {
        into.push(path.to_owned());
        match value {
            Value::Object(entries) => {
                entries.iter().for_each(|(key, value)| paths(value, &format!("{path}/{key}"), into));
            }
            Value::Array(items) => {
                items.iter().enumerate().for_each(|(at, value)| paths(value, &format!("{path}/{at}"), into));
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    #[test]
    fn a_tree_is_judged_as_the_value_that_it_is() {
        let others = serde_json::json!([null, true, -1, 70_000, "x", "5s", [], {}, { "x": 1 }]);
        let others = others.as_array().expect("a list");
        let (mut valid, mut invalid) = (0, 0);
        let mut same = |value: &Value| {
            let verdict = shape::is_valid(value);
            assert_eq!(shape::is_valid_tree(&node(value)), verdict, "{value}");
            *(if verdict { &mut valid } else { &mut invalid }) += 1;
        };
        let cases = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cases");
        let mut next = others.iter().cycle();
        for case in std::fs::read_dir(cases).expect("the cases") {
            let text = std::fs::read_to_string(case.expect("a case").path().join("cluster.toml"));
            let source = SourceFile::new("cluster.toml", text.unwrap_or_default());
            let Ok(document) = parse::parse(&source, choice) else { continue };
            let value = document.value_of_all().0;
            same(&value);
            let mut all = Vec::new();
            paths(&value, "", &mut all);
            for path in all {
                let mut broken = value.clone();
                // A name with a slash is not found, which is no harm.
                if let Some(part) = broken.pointer_mut(&path) {
                    *part = next.next().expect("another").clone();
                    same(&broken);
                }
            }
        }
        assert!(valid > 200 && invalid > 5_000, "{valid} valid, {invalid} invalid");
    }
}
