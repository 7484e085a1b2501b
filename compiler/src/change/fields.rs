//! Fields of an object that comes or goes, as text: for a document, or a page.
//!
//! A change of a large cluster has millions of such fields, and of few shapes: which fields an object has, in
//! which order, what stands before their values and when they go without saying is found out once for each
//! shape. What is rare (a list, a table that is empty) is not told here: the caller does it in the general
//! way. Tests hold that both are the same.

use std::fmt::{self, Display, Write};

use serde::ser::{Impossible, Serialize, SerializeStruct, Serializer};

use super::implied::Implied;
use super::objects::Object;

/// Most shapes that are remembered. Plans have a few dozen kinds of objects with their optional keys.
const MAX_SHAPES: usize = 64;

/// Text before the value of a field: of the number of fields before it, and of its name.
pub(crate) type Before = fn(usize, &str) -> String;

/// Tells fields one by one, and remembers shapes.
#[derive(Debug)]
pub(crate) struct FieldTeller {
    before: Before,
    shapes: Vec<FieldShape>,
    /// Index of the shape of the last object.
    last: usize,
    reader: FieldReader,
}

/// A field that is told.
pub(crate) struct ToldField<'f> {
    pub(crate) before: &'f str,
    /// In JSON.
    pub(crate) value: &'f str,
    implied: ShapeImplied,
    reader: &'f FieldReader,
}

impl ToldField<'_> {
    /// Whether it goes without saying when its object is new.
    pub(crate) fn is_implied(&self) -> bool {
        match self.implied {
            ShapeImplied::Told => true,
            ShapeImplied::Default(json) => self.value == json,
            ShapeImplied::Like(index) => self.value == self.reader.value_at(index),
            ShapeImplied::Never => false,
        }
    }
}

/// As [`Implied`], with the index of the other field.
#[derive(Debug, Clone, Copy)]
enum ShapeImplied {
    Told,
    Default(&'static str),
    Like(usize),
    Never,
}

/// Which fields an object has.
#[derive(Debug)]
struct FieldShape {
    /// Kind of the object.
    kind: &'static str,
    keys: Vec<ShapeKey>,
    /// By name.
    fields: Vec<ShapeField>,
}

#[derive(Debug)]
struct ShapeField {
    /// Index of the value.
    index: usize,
    /// Text before it.
    before: String,
    implied: ShapeImplied,
}

/// A key, in the order in which the serialiser has them.
#[derive(Debug, Clone, Copy)]
struct ShapeKey {
    key: &'static str,
    /// Number of tables around it.
    depth: usize,
    /// Whether it is that of a table.
    table: bool,
}

impl PartialEq for ShapeKey {
    fn eq(&self, other: &Self) -> bool {
        let same = || std::ptr::eq(self.key, other.key) || self.key == other.key;
        self.depth == other.depth && self.table == other.table && same()
    }
}

impl FieldTeller {
    pub(crate) fn new(before: Before) -> Self {
        Self { before, shapes: Vec::new(), last: 0, reader: FieldReader::default() }
    }

    /// Tells the fields of an object of this kind by name; false when it must be done in the general way, and
    /// nothing is told.
    ///
    /// # Errors
    /// When `tell` fails.
    pub(super) fn each(
        &mut self,
        kind: &'static str,
        object: Object<'_>,
        mut tell: impl FnMut(ToldField<'_>) -> fmt::Result,
    ) -> Result<bool, fmt::Error> {
        let reader = &mut self.reader;
        reader.keys.clear();
        reader.ends.clear();
        reader.values.clear();
        reader.depth = 0;
        if object.serialize(&mut *reader).is_err() || reader.ends.is_empty() {
            return Ok(false);
        }
        let reader = &self.reader;
        let is = |shape: &FieldShape| shape.kind == kind && shape.keys == reader.keys;
        if !self.shapes.get(self.last).is_some_and(is) {
            self.last = self.shapes.iter().position(is).unwrap_or_else(|| {
                if self.shapes.len() == MAX_SHAPES {
                    self.shapes.clear();
                }
                self.shapes.push(FieldShape::new(kind, &reader.keys, self.before));
                self.shapes.len() - 1
            });
        }
        for ShapeField { index, before, implied } in &self.shapes[self.last].fields {
            tell(ToldField { before, value: reader.value_at(*index), implied: *implied, reader })?;
        }
        Ok(true)
    }
}

impl FieldShape {
    fn new(kind: &'static str, keys: &[ShapeKey], before: Before) -> Self {
        let mut names: Vec<(String, usize)> = Vec::new();
        let mut around: Vec<&str> = Vec::new();
        for ShapeKey { key, depth, table } in keys {
            around.truncate(*depth);
            around.push(key);
            if !table {
                names.push((around.join("."), names.len()));
            }
        }
        names.sort();
        let index_of = |same: &str| names.iter().find(|(name, _)| name == same).map(|(_, index)| *index);
        let field = |(place, (name, index)): (usize, &(String, usize))| ShapeField {
            index: *index,
            before: before(place, name),
            implied: match Implied::of(kind, name) {
                Implied::Told => ShapeImplied::Told,
                Implied::Default(json) => ShapeImplied::Default(json),
                Implied::Like(same) => index_of(same).map_or(ShapeImplied::Never, ShapeImplied::Like),
                Implied::Never => ShapeImplied::Never,
            },
        };
        let fields = names.iter().enumerate().map(field).collect();
        Self { kind, keys: keys.to_vec(), fields }
    }
}

/// Whether a text stands in JSON as it is.
pub(super) fn is_plain(text: &str) -> bool {
    !text.bytes().any(|byte| byte < b' ' || byte == b'"' || byte == b'\\')
}

/// Appends a JSON string.
pub(super) fn push_text(out: &mut String, text: &str) {
    if !is_plain(text) {
        return out.push_str(&serde_json::Value::from(text).to_string());
    }
    out.push('"');
    out.push_str(text);
    out.push('"');
}

/// Reads the keys and values of an object.
#[derive(Debug, Default)]
struct FieldReader {
    keys: Vec<ShapeKey>,
    /// Values as JSON, and where each ends.
    values: String,
    ends: Vec<usize>,
    depth: usize,
    /// A text before it is one in JSON.
    text: String,
}

impl FieldReader {
    fn value_at(&self, index: usize) -> &str {
        let start = index.checked_sub(1).map_or(0, |previous| self.ends[previous]);
        &self.values[start..self.ends[index]]
    }

    fn value(&mut self, append: impl FnOnce(&mut String)) -> Result<(), Rare> {
        append(&mut self.values);
        self.ends.push(self.values.len());
        Ok(())
    }
}

/// The object has something that is not written here.
#[derive(Debug)]
struct Rare;

impl Display for Rare {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("it is written in the general way")
    }
}

impl std::error::Error for Rare {}

impl serde::ser::Error for Rare {
    fn custom<T: Display>(_: T) -> Self {
        Self
    }
}

impl<'b> Serializer for &'b mut FieldReader {
    type Ok = ();
    type Error = Rare;
    type SerializeSeq = Impossible<(), Rare>;
    type SerializeTuple = Impossible<(), Rare>;
    type SerializeTupleStruct = Impossible<(), Rare>;
    type SerializeTupleVariant = Impossible<(), Rare>;
    type SerializeMap = Impossible<(), Rare>;
    type SerializeStruct = TableReader<'b>;
    type SerializeStructVariant = Impossible<(), Rare>;

    fn serialize_bool(self, flag: bool) -> Result<(), Rare> {
        self.value(|out| out.push_str(if flag { "true" } else { "false" }))
    }

    fn serialize_i8(self, number: i8) -> Result<(), Rare> {
        self.serialize_i64(number.into())
    }

    fn serialize_i16(self, number: i16) -> Result<(), Rare> {
        self.serialize_i64(number.into())
    }

    fn serialize_i32(self, number: i32) -> Result<(), Rare> {
        self.serialize_i64(number.into())
    }

    fn serialize_i64(self, number: i64) -> Result<(), Rare> {
        // Writing to a String cannot fail.
        self.value(|out| _ = write!(out, "{number}"))
    }

    fn serialize_u8(self, number: u8) -> Result<(), Rare> {
        self.serialize_u64(number.into())
    }

    fn serialize_u16(self, number: u16) -> Result<(), Rare> {
        self.serialize_u64(number.into())
    }

    fn serialize_u32(self, number: u32) -> Result<(), Rare> {
        self.serialize_u64(number.into())
    }

    fn serialize_u64(self, number: u64) -> Result<(), Rare> {
        self.value(|out| _ = write!(out, "{number}"))
    }

    fn serialize_f32(self, _: f32) -> Result<(), Rare> {
        Err(Rare)
    }

    fn serialize_f64(self, _: f64) -> Result<(), Rare> {
        Err(Rare)
    }

    fn serialize_char(self, letter: char) -> Result<(), Rare> {
        self.collect_str(&letter)
    }

    fn serialize_str(self, text: &str) -> Result<(), Rare> {
        self.value(|out| push_text(out, text))
    }

    fn collect_str<T: Display + ?Sized>(self, shown: &T) -> Result<(), Rare> {
        let mut text = std::mem::take(&mut self.text);
        text.clear();
        _ = write!(text, "{shown}");
        let done = self.serialize_str(&text);
        self.text = text;
        done
    }

    fn serialize_bytes(self, _: &[u8]) -> Result<(), Rare> {
        Err(Rare)
    }

    fn serialize_none(self) -> Result<(), Rare> {
        Err(Rare)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Rare> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), Rare> {
        Err(Rare)
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<(), Rare> {
        Err(Rare)
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<(), Rare> {
        self.serialize_str(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Result<(), Rare> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<(), Rare> {
        Err(Rare)
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Self::SerializeSeq, Rare> {
        Err(Rare)
    }

    fn serialize_tuple(self, _: usize) -> Result<Self::SerializeTuple, Rare> {
        Err(Rare)
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Self::SerializeTupleStruct, Rare> {
        Err(Rare)
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant, Rare> {
        Err(Rare)
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Self::SerializeMap, Rare> {
        Err(Rare)
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<TableReader<'b>, Rare> {
        if let Some(key) = self.keys.last_mut() {
            key.table = true;
        }
        self.depth += 1;
        let before = self.ends.len();
        Ok(TableReader { reader: self, before })
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStructVariant, Rare> {
        Err(Rare)
    }
}

/// Reads a table field by field.
struct TableReader<'b> {
    reader: &'b mut FieldReader,
    /// Number of values before it.
    before: usize,
}

impl SerializeStruct for TableReader<'_> {
    type Ok = ();
    type Error = Rare;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<(), Rare> {
        self.reader.keys.push(ShapeKey { key, depth: self.reader.depth - 1, table: false });
        value.serialize(&mut *self.reader)
    }

    fn end(self) -> Result<(), Rare> {
        self.reader.depth -= 1;
        // One that is empty is a field itself.
        if self.reader.ends.len() == self.before { Err(Rare) } else { Ok(()) }
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "the test reads the cases")]
mod tests {
    use std::collections::BTreeMap;

    use super::super::compare::of_plans;
    use super::super::{compiled, is_implied};
    use super::*;
    use crate::{SourceFile, compile};

    #[test]
    fn fields_are_told_as_they_are_in_the_general_way() {
        let cases = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cases");
        let mut teller = FieldTeller::new(|_, name| name.to_owned());
        let mut told_by_kind: BTreeMap<&str, usize> = BTreeMap::new();
        for case in std::fs::read_dir(cases).expect("the cases") {
            let text = std::fs::read_to_string(case.expect("a case").path().join("cluster.toml"));
            let source = SourceFile::new("cluster.toml", text.unwrap_or_default());
            let Some(cluster) = compile(&source).cluster else { continue };
            for state in compiled(&cluster).into_values() {
                for delta in of_plans(None, Some(&state.plan)) {
                    let mut told = Vec::new();
                    let all = delta.tell_new(&mut teller, |field| {
                        told.push((field.before.to_owned(), field.value.to_owned(), field.is_implied()));
                        Ok(())
                    });
                    if !all.expect("nothing fails") {
                        assert!(told.is_empty(), "{told:?}");
                        continue;
                    }
                    let fields = delta.fields();
                    let general = fields.iter().map(|field| {
                        let value = field.new.as_ref().map(ToString::to_string).unwrap_or_default();
                        (field.field.clone(), value, is_implied(delta.kind(), field, &fields))
                    });
                    assert_eq!(told, general.collect::<Vec<_>>(), "{}", delta.id());
                    *told_by_kind.entry(delta.kind()).or_default() += 1;
                }
            }
        }
        let told = |kind| told_by_kind.get(kind).copied().unwrap_or_default();
        assert!(told("destination") > 100 && told("sysctl") > 100, "{told_by_kind:?}");
    }
}
