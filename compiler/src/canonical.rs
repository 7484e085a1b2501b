//! Rust values -> TOML in the one form of a plan: fields in the order of the type, one blank line
//! between tables, lists of several items one to a line, small tables in braces.
//!
//! A list of tables becomes `[[blocks]]` in the document itself, and in [`SUBBLOCKS`]; any other table
//! or list of tables inside a block is written in braces, since what follows a block belongs to it.
//! Empty lists and absent options are left out: the types read them back as empty and absent.
//! Only what the plan types need is supported; the rest is an error, and a test of the plan's
//! round trip finds it.

use std::fmt::{self, Display, Write};

use serde::ser::{self, Impossible, Serialize};

mod map;

use map::MapWriter;

/// The last fields of their blocks, and long.
const SUBBLOCKS: [Path; 1] = [Path { outer: "virtual_server", inner: "destination" }];

/// Appends `value` as a document.
pub(crate) fn document(out: &mut String, value: &impl Serialize) {
    written(value.serialize(Writer { out, slot: Slot::Document(None) }));
}

/// Appends `value` as a document, of which one key is written already: its text is appended in the place of
/// its value.
pub(crate) fn document_around(out: &mut String, value: &impl Serialize, inserted: Inserted<'_>) {
    written(value.serialize(Writer { out, slot: Slot::Document(Some(inserted)) }));
}

/// Appends the blocks of a key of a document whose value is a list of tables.
pub(crate) fn blocks(out: &mut String, key: &'static str, tables: &[impl Serialize]) {
    let mut list = ListState { len: tables.len(), seen: Seen::Nothing, inline: false };
    for table in tables {
        let slot = Slot::Item { path: Path::DOCUMENT, key, list: &mut list };
        written(table.serialize(Writer { out, slot }));
    }
}

fn written(written: Result<(), Unsupported>) {
    written.expect("a plan consists of tables, lists, texts, whole numbers and flags");
}

/// A key of the document, and the function that appends its text.
pub(crate) type Inserted<'a> = (&'static str, &'a dyn Fn(&mut String));

/// Appends the line `key = "text"`.
pub(crate) fn entry(out: &mut String, key: &str, text: &str) {
    push_key(out, key);
    out.push_str(" = ");
    quote(out, text);
    out.push('\n');
}

/// Appends a key, in quotes where it needs them.
fn push_key(out: &mut String, key: &str) {
    let bare = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if key.bytes().all(bare) && !key.is_empty() {
        out.push_str(key);
    } else {
        quote(out, key);
    }
}

/// A TOML basic string.
fn quote(out: &mut String, text: &str) {
    out.push('"');
    // Writing to a String cannot fail.
    let _ = Escaped(out).write_str(text);
    out.push('"');
}

/// Escapes what is written to it.
struct Escaped<'a>(&'a mut String);

impl Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let plain = |byte: u8| !matches!(byte, 0..0x20 | b'"' | b'\\' | 0x7f);
        if text.bytes().all(plain) {
            self.0.push_str(text);
            return Ok(());
        }
        for character in text.chars() {
            match character {
                '"' => self.0.push_str("\\\""),
                '\\' => self.0.push_str("\\\\"),
                '\n' => self.0.push_str("\\n"),
                '\t' => self.0.push_str("\\t"),
                control if control.is_ascii_control() => write!(self.0, "\\u{:04X}", u32::from(control))?,
                plain => self.0.push(plain),
            }
        }
        Ok(())
    }
}

/// Digits of the largest number.
const MAX_DIGITS: usize = 20;

/// Why a value has no canonical form.
#[derive(Debug)]
pub(crate) struct Unsupported(String);

impl Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unsupported {}

impl ser::Error for Unsupported {
    fn custom<T: Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

/// The words of a header: none for the document itself, otherwise one or, for [`SUBBLOCKS`], two.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Path {
    outer: &'static str,
    inner: &'static str,
}

impl Path {
    const DOCUMENT: Self = Self { outer: "", inner: "" };

    fn is_document(self) -> bool {
        self == Self::DOCUMENT
    }

    /// The header of `key` in it; none when it has none.
    fn block(self, key: &'static str) -> Option<Self> {
        if self.is_document() {
            return Some(Self { outer: key, inner: "" });
        }
        let block = Self { outer: self.outer, inner: key };
        (self.inner.is_empty() && SUBBLOCKS.contains(&block)).then_some(block)
    }

    fn push_to(self, out: &mut String) {
        out.push_str(self.outer);
        if !self.inner.is_empty() {
            out.push('.');
            out.push_str(self.inner);
        }
    }
}

/// Place for a value.
enum Slot<'a> {
    /// The document itself, with what is inserted.
    Document(Option<Inserted<'a>>),
    /// `key = …` in the table `path`, or a table below it.
    Field { path: Path, key: &'static str },
    /// An item of the list `key` in the table `path`.
    Item { path: Path, key: &'static str, list: &'a mut ListState },
    /// Right here, inside braces or brackets.
    Inline,
}

/// State of a list that is being written.
struct ListState {
    len: usize,
    seen: Seen,
    /// In a line, rather than the value of a key of its own.
    inline: bool,
}

impl ListState {
    /// Writes what stands before an item of a list in brackets.
    fn begin(&mut self, out: &mut String, key: &str) {
        if self.inline {
            out.push_str(if self.seen == Seen::Nothing { "[" } else { ", " });
        } else {
            if self.seen == Seen::Nothing {
                _ = write!(out, "{key} = [{}", if self.len > 1 { "\n" } else { "" });
            }
            out.push_str(if self.len > 1 { "    " } else { "" });
        }
        self.seen = Seen::Values;
    }

    /// Sign behind an item.
    const fn end(&self) -> &'static str {
        if self.len > 1 && !self.inline { ",\n" } else { "" }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Seen {
    Nothing,
    Values,
    Tables,
}

struct Writer<'a> {
    out: &'a mut String,
    slot: Slot<'a>,
}

impl<'a> Writer<'a> {
    /// Writes a value that fits on a line.
    fn value(self, write: impl FnOnce(&mut String)) -> Result<(), Unsupported> {
        match self.slot {
            Slot::Document(_) => return Err(Unsupported("a document must be a table".to_owned())),
            Slot::Field { key, .. } => {
                self.out.push_str(key);
                self.out.push_str(" = ");
                write(self.out);
                self.out.push('\n');
            }
            Slot::Item { key, list, .. } => {
                if list.seen == Seen::Tables {
                    return Err(Unsupported(format!("`{key}` mixes tables and values")));
                }
                list.begin(self.out, key);
                write(self.out);
                self.out.push_str(list.end());
            }
            Slot::Inline => write(self.out),
        }
        Ok(())
    }

    fn number(self, number: i64) -> Result<(), Unsupported> {
        self.value(|out| {
            // A plan has a million of them, and formatting takes several times as long.
            let (mut digits, mut first, mut rest) = ([b'0'; MAX_DIGITS], MAX_DIGITS, number.unsigned_abs());
            while rest > 0 || first == MAX_DIGITS {
                first -= 1;
                digits[first] += u8::try_from(rest % 10).unwrap_or_default();
                rest /= 10;
            }
            if number < 0 {
                out.push('-');
            }
            out.push_str(std::str::from_utf8(&digits[first..]).unwrap_or_default());
        })
    }
}

fn unsupported<T>(what: &str) -> Result<T, Unsupported> {
    Err(Unsupported(format!("{what} has no canonical form")))
}

impl<'a> ser::Serializer for Writer<'a> {
    type Ok = ();
    type Error = Unsupported;
    type SerializeSeq = ListWriter<'a>;
    type SerializeTuple = Impossible<(), Unsupported>;
    type SerializeTupleStruct = Impossible<(), Unsupported>;
    type SerializeTupleVariant = Impossible<(), Unsupported>;
    type SerializeMap = MapWriter<'a>;
    type SerializeStruct = TableWriter<'a>;
    type SerializeStructVariant = Impossible<(), Unsupported>;

    fn serialize_bool(self, v: bool) -> Result<(), Unsupported> {
        self.value(|out| out.push_str(if v { "true" } else { "false" }))
    }

    fn serialize_i8(self, v: i8) -> Result<(), Unsupported> {
        self.number(v.into())
    }

    fn serialize_i16(self, v: i16) -> Result<(), Unsupported> {
        self.number(v.into())
    }

    fn serialize_i32(self, v: i32) -> Result<(), Unsupported> {
        self.number(v.into())
    }

    fn serialize_i64(self, v: i64) -> Result<(), Unsupported> {
        self.number(v)
    }

    fn serialize_u8(self, v: u8) -> Result<(), Unsupported> {
        self.number(v.into())
    }

    fn serialize_u16(self, v: u16) -> Result<(), Unsupported> {
        self.number(v.into())
    }

    fn serialize_u32(self, v: u32) -> Result<(), Unsupported> {
        self.number(v.into())
    }

    fn serialize_u64(self, v: u64) -> Result<(), Unsupported> {
        match i64::try_from(v) {
            Ok(v) => self.number(v),
            Err(_) => unsupported("a number beyond 63 bits"),
        }
    }

    fn serialize_f32(self, _: f32) -> Result<(), Unsupported> {
        unsupported("a decimal number")
    }

    fn serialize_f64(self, _: f64) -> Result<(), Unsupported> {
        unsupported("a decimal number")
    }

    fn serialize_char(self, v: char) -> Result<(), Unsupported> {
        self.serialize_str(v.encode_utf8(&mut [0; 4]))
    }

    fn serialize_str(self, v: &str) -> Result<(), Unsupported> {
        self.value(|out| quote(out, v))
    }

    fn collect_str<T: Display + ?Sized>(self, v: &T) -> Result<(), Unsupported> {
        self.value(|out| {
            out.push('"');
            // Writing to a String cannot fail.
            let _ = write!(Escaped(out), "{v}");
            out.push('"');
        })
    }

    fn serialize_bytes(self, _: &[u8]) -> Result<(), Unsupported> {
        unsupported("a byte string")
    }

    fn serialize_none(self) -> Result<(), Unsupported> {
        match self.slot {
            Slot::Field { .. } => Ok(()),
            Slot::Document(_) | Slot::Item { .. } | Slot::Inline => unsupported("an absent value in a line"),
        }
    }

    fn serialize_some<T: Serialize + ?Sized>(self, v: &T) -> Result<(), Unsupported> {
        v.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), Unsupported> {
        unsupported("nothing")
    }

    fn serialize_unit_struct(self, name: &'static str) -> Result<(), Unsupported> {
        unsupported(name)
    }

    fn serialize_unit_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
    ) -> Result<(), Unsupported> {
        self.serialize_str(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        v: &T,
    ) -> Result<(), Unsupported> {
        v.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        v: &T,
    ) -> Result<(), Unsupported> {
        let mut inner = String::new();
        v.serialize(Writer { out: &mut inner, slot: Slot::Inline })?;
        self.value(|out| _ = write!(out, "{{ {variant} = {inner} }}"))
    }

    fn serialize_seq(self, len: Option<usize>) -> Result<ListWriter<'a>, Unsupported> {
        let Some(len) = len else {
            return unsupported("a list of unknown length");
        };
        match self.slot {
            Slot::Field { path, key } => {
                let list = ListState { len, seen: Seen::Nothing, inline: false };
                Ok(ListWriter { out: self.out, path, key, list })
            }
            Slot::Inline => {
                let list = ListState { len, seen: Seen::Nothing, inline: true };
                Ok(ListWriter { out: self.out, path: Path::DOCUMENT, key: "", list })
            }
            Slot::Document(_) | Slot::Item { .. } => unsupported("a list in a list"),
        }
    }

    fn serialize_tuple(self, _: usize) -> Result<Self::SerializeTuple, Unsupported> {
        unsupported("a tuple")
    }

    fn serialize_tuple_struct(
        self,
        name: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleStruct, Unsupported> {
        unsupported(name)
    }

    fn serialize_tuple_variant(
        self,
        name: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant, Unsupported> {
        unsupported(name)
    }

    fn serialize_map(self, _: Option<usize>) -> Result<MapWriter<'a>, Unsupported> {
        MapWriter::begin(self)
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<TableWriter<'a>, Unsupported> {
        let form = match self.slot {
            Slot::Document(inserted) => {
                let form = Form::Block { path: Path::DOCUMENT };
                return Ok(TableWriter { out: self.out, form, inserted });
            }
            Slot::Field { path, key } if path.is_document() => {
                let path = Path { outer: key, inner: "" };
                self.out.push_str("\n[");
                path.push_to(self.out);
                self.out.push_str("]\n");
                Form::Block { path }
            }
            Slot::Field { key, .. } => {
                self.out.push_str(key);
                self.out.push_str(" = { ");
                Form::Braces { first: true, end: "\n" }
            }
            Slot::Item { path, key, list } => {
                let block = if list.inline { None } else { path.block(key) };
                let Some(path) = block else {
                    list.begin(self.out, key);
                    self.out.push_str("{ ");
                    return Ok(TableWriter {
                        out: self.out,
                        form: Form::Braces { first: true, end: list.end() },
                        inserted: None,
                    });
                };
                if list.seen == Seen::Values {
                    return Err(Unsupported(format!("`{key}` mixes tables and values")));
                }
                list.seen = Seen::Tables;
                self.out.push_str("\n[[");
                path.push_to(self.out);
                self.out.push_str("]]\n");
                Form::Block { path }
            }
            Slot::Inline => {
                self.out.push_str("{ ");
                Form::Braces { first: true, end: "" }
            }
        };
        Ok(TableWriter { out: self.out, form, inserted: None })
    }

    fn serialize_struct_variant(
        self,
        name: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStructVariant, Unsupported> {
        unsupported(name)
    }
}

/// Writes the items of a list.
pub(crate) struct ListWriter<'a> {
    out: &'a mut String,
    path: Path,
    key: &'static str,
    list: ListState,
}

impl ser::SerializeSeq for ListWriter<'_> {
    type Ok = ();
    type Error = Unsupported;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, v: &T) -> Result<(), Unsupported> {
        let slot = Slot::Item { path: self.path, key: self.key, list: &mut self.list };
        v.serialize(Writer { out: self.out, slot })
    }

    fn end(self) -> Result<(), Unsupported> {
        self.out.push_str(match (self.list.seen, self.list.inline) {
            (Seen::Values, true) => "]",
            (Seen::Values, false) => "]\n",
            (Seen::Nothing, true) => "[]",
            (Seen::Nothing, false) | (Seen::Tables, _) => "",
        });
        Ok(())
    }
}

/// Form of a table.
enum Form {
    /// Below a header, a field a line.
    Block { path: Path },
    /// In braces, and what follows these.
    Braces { first: bool, end: &'static str },
}

/// Writes the fields of a table.
pub(crate) struct TableWriter<'a> {
    out: &'a mut String,
    form: Form,
    inserted: Option<Inserted<'a>>,
}

impl ser::SerializeStruct for TableWriter<'_> {
    type Ok = ();
    type Error = Unsupported;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        key: &'static str,
        v: &T,
    ) -> Result<(), Unsupported> {
        if let Some((at, append)) = self.inserted
            && at == key
        {
            append(self.out);
            return Ok(());
        }
        match &mut self.form {
            Form::Block { path } => {
                v.serialize(Writer { out: self.out, slot: Slot::Field { path: *path, key } })
            }
            Form::Braces { first, .. } => {
                if !std::mem::take(first) {
                    self.out.push_str(", ");
                }
                self.out.push_str(key);
                self.out.push_str(" = ");
                v.serialize(Writer { out: self.out, slot: Slot::Inline })
            }
        }
    }

    fn end(self) -> Result<(), Unsupported> {
        match self.form {
            Form::Block { .. } => {}
            Form::Braces { end, .. } => {
                self.out.push_str(" }");
                self.out.push_str(end);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod round_trip;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_in_full() {
        for number in [0, 7, -7, 10, 65_535, i64::MIN, i64::MAX] {
            let mut out = String::new();
            let written = number.serialize(Writer { out: &mut out, slot: Slot::Inline });
            assert!(written.is_ok() && out == number.to_string(), "{number}: {out}");
        }
    }

    #[test]
    fn texts_are_read_back_as_they_were() {
        for text in ["", "hell>com", "a\"b\\c", "tab\tline\nbell\u{7}", "é"] {
            let mut out = String::new();
            entry(&mut out, "VI_1", text);
            entry(&mut out, "a.b", text);
            let table: toml::Table = out.parse().expect("valid TOML");
            assert_eq!(table["VI_1"].as_str(), Some(text), "{out}");
            assert_eq!(table["a.b"].as_str(), Some(text), "{out}");
        }
    }
}
