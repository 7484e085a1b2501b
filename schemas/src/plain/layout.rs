//! The compiler's layout of a plan, as serde's data: a strict part of TOML.
//!
//! One key a line, `key = value`, one space on each side; tables and lists of tables under headers, each list
//! in one piece; lists of values on one line or with one value a line; texts in `"`, with the escapes that
//! the compiler writes. No comment but on lines of its own. Whatever else TOML allows is an error here, which
//! has no words: nobody is told of it.

use std::borrow::Cow;
use std::fmt;

use serde::de::value::{BorrowedStrDeserializer, CowStrDeserializer};
use serde::de::{
    self, DeserializeSeed, Deserializer, EnumAccess, MapAccess, SeqAccess, VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;

/// Deepest value within a value.
const MAX_DEPTH: u8 = 8;

/// It is not in the layout, or a type does not take it.
#[derive(Debug)]
pub(super) struct Unlike;

impl fmt::Display for Unlike {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a plan in the compiler's layout")
    }
}

impl std::error::Error for Unlike {}

impl de::Error for Unlike {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self
    }
}

/// What of the text is still to be read.
pub(super) struct Layout<'de> {
    rest: &'de str,
}

/// A line that begins a table.
#[derive(Clone, Copy)]
struct Header<'de> {
    /// Its name, with dots.
    name: &'de str,
    /// Whether it is one of a list.
    listed: bool,
    /// Bytes of the line.
    length: usize,
}

impl<'de> Layout<'de> {
    pub(super) const fn new(text: &'de str) -> Self {
        Self { rest: text }
    }

    /// Whether nothing is left.
    pub(super) const fn is_done(&self) -> bool {
        self.rest.is_empty()
    }

    fn skip(&mut self, bytes: usize) {
        self.rest = self.rest.get(bytes..).unwrap_or_default();
    }

    fn take(&mut self, text: &str) -> Result<(), Unlike> {
        self.rest = self.rest.strip_prefix(text).ok_or(Unlike)?;
        Ok(())
    }

    fn takes(&mut self, text: &str) -> bool {
        self.take(text).is_ok()
    }

    /// What comes before one of the bytes that `end` tells, which are ASCII.
    fn until(&mut self, end: impl Fn(u8) -> bool) -> &'de str {
        let length = self.rest.bytes().position(end).unwrap_or(self.rest.len());
        let (text, rest) = self.rest.split_at_checked(length).unwrap_or((self.rest, ""));
        self.rest = rest;
        text
    }

    /// Passes empty lines and comments.
    fn lines(&mut self) -> Result<(), Unlike> {
        loop {
            if self.takes("\n") {
                continue;
            }
            if !self.takes("#") {
                return Ok(());
            }
            self.until(|byte| byte.is_ascii_control());
            self.take("\n")?;
        }
    }

    /// The header that comes next, which is not passed.
    fn header(&self) -> Result<Option<Header<'de>>, Unlike> {
        let Some(line) = self.rest.strip_prefix('[') else { return Ok(None) };
        let (listed, start) = match line.strip_prefix('[') {
            Some(line) => (true, line),
            None => (false, line),
        };
        let length = start.bytes().position(|byte| !is_bare(byte) && byte != b'.').ok_or(Unlike)?;
        let (name, end) = start.split_at_checked(length).ok_or(Unlike)?;
        let end_text = if listed { "]]\n" } else { "]\n" };
        if !end.starts_with(end_text) {
            return Err(Unlike);
        }
        let brackets = if listed { 2 } else { 1 };
        Ok(Some(Header { name, listed, length: brackets + length + end_text.len() }))
    }

    fn key(&mut self) -> Result<&'de str, Unlike> {
        let key = self.until(|byte| !is_bare(byte));
        self.take(" = ")?;
        if key.is_empty() { Err(Unlike) } else { Ok(key) }
    }

    /// A key of a table in braces, which may be one that needs quotes.
    fn free_key(&mut self) -> Result<Cow<'de, str>, Unlike> {
        if !self.rest.starts_with('"') {
            return self.key().map(Cow::Borrowed);
        }
        let key = self.text()?;
        self.take(" = ")?;
        Ok(key)
    }

    fn text(&mut self) -> Result<Cow<'de, str>, Unlike> {
        let ends = |byte: u8| byte == b'"' || byte == b'\\' || byte.is_ascii_control();
        self.take("\"")?;
        let start = self.until(ends);
        if self.takes("\"") {
            return Ok(Cow::Borrowed(start));
        }
        let mut text = start.to_owned();
        while self.takes("\\") {
            text.push(self.escaped()?);
            text.push_str(self.until(ends));
        }
        self.take("\"")?;
        Ok(Cow::Owned(text))
    }

    /// Character that is written behind a backslash.
    fn escaped(&mut self) -> Result<char, Unlike> {
        for (word, sign) in [("\"", '"'), ("\\", '\\'), ("n", '\n'), ("t", '\t')] {
            if self.takes(word) {
                return Ok(sign);
            }
        }
        // Of all others only control characters are written so.
        self.take("u00")?;
        let (digits, rest) = self.rest.split_at_checked(2).ok_or(Unlike)?;
        self.rest = rest;
        let plain = digits.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'A'..=b'F'));
        let number = u8::from_str_radix(digits, 16).ok().filter(|_| plain);
        number.map(char::from).filter(char::is_ascii_control).ok_or(Unlike)
    }

    fn number(&mut self) -> Result<i64, Unlike> {
        let text = self.until(|byte| !byte.is_ascii_digit() && byte != b'-');
        let digits = text.strip_prefix('-').unwrap_or(text);
        let plain = match digits.as_bytes() {
            [b'0'] => digits.len() == text.len(),
            [first, ..] => *first != b'0',
            [] => false,
        };
        if plain { text.parse().map_err(|_| Unlike) } else { Err(Unlike) }
    }
}

const fn is_bare(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'
}

/// A table under a header, or the whole text.
pub(super) struct Table<'l, 'de> {
    layout: &'l mut Layout<'de>,
    /// Its name with a dot behind it; empty for the whole text.
    name: &'de str,
    next: Next<'de>,
}

/// What the next value of a table is.
enum Next<'de> {
    Line,
    Header(Header<'de>),
}

impl<'l, 'de> Table<'l, 'de> {
    pub(super) const fn root(layout: &'l mut Layout<'de>) -> Self {
        Self { layout, name: "", next: Next::Line }
    }

    const fn under(layout: &'l mut Layout<'de>, header: Header<'de>) -> Self {
        Self { layout, name: header.name, next: Next::Line }
    }

    /// The key that a header gives a value of, if it does in this table.
    fn key_of(&self, header: Header<'de>) -> Option<&'de str> {
        let rest = match self.name {
            "" => header.name,
            name => header.name.strip_prefix(name)?.strip_prefix('.')?,
        };
        (!rest.is_empty() && !rest.contains('.')).then_some(rest)
    }
}

impl<'de> Deserializer<'de> for Table<'_, 'de> {
    type Error = Unlike;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unlike> {
        visitor.visit_map(self)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unlike> {
        visitor.visit_some(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf unit
        unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

impl<'de> MapAccess<'de> for Table<'_, 'de> {
    type Error = Unlike;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Unlike> {
        self.layout.lines()?;
        if self.layout.is_done() {
            return Ok(None);
        }
        let key = match self.layout.header()? {
            None => self.layout.key()?,
            Some(header) => {
                let Some(key) = self.key_of(header) else { return Ok(None) };
                self.next = Next::Header(header);
                key
            }
        };
        seed.deserialize(BorrowedStrDeserializer::new(key)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Unlike> {
        match std::mem::replace(&mut self.next, Next::Line) {
            Next::Line => {
                let value = seed.deserialize(Value { layout: &mut *self.layout, depth: MAX_DEPTH })?;
                self.layout.take("\n")?;
                Ok(value)
            }
            Next::Header(header) if header.listed => {
                seed.deserialize(Tables { layout: &mut *self.layout, name: header.name })
            }
            Next::Header(header) => {
                self.layout.skip(header.length);
                seed.deserialize(Table::under(self.layout, header))
            }
        }
    }
}

/// A list of tables under headers.
struct Tables<'l, 'de> {
    layout: &'l mut Layout<'de>,
    name: &'de str,
}

impl<'de> Deserializer<'de> for Tables<'_, 'de> {
    type Error = Unlike;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unlike> {
        visitor.visit_seq(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option
        unit unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

impl<'de> SeqAccess<'de> for Tables<'_, 'de> {
    type Error = Unlike;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Unlike> {
        self.layout.lines()?;
        let next = self.layout.header()?.filter(|header| header.listed && header.name == self.name);
        let Some(header) = next else { return Ok(None) };
        self.layout.skip(header.length);
        seed.deserialize(Table::under(self.layout, header)).map(Some)
    }

    /// How many tables a list within a table has, so that it takes no more memory than it needs. A list of
    /// the whole text is not worth another look at all of it.
    fn size_hint(&self) -> Option<usize> {
        if !self.name.contains('.') {
            return None;
        }
        let headers = self.layout.rest.match_indices("\n[").map(|(at, _)| at + 1);
        let line = |at: usize| self.layout.rest.get(at..).and_then(|rest| rest.strip_prefix("[["));
        let more = headers.map_while(|at| line(at)?.strip_prefix(self.name)?.strip_prefix(']'));
        Some(1 + more.count())
    }
}

/// A value behind a key or in a list.
struct Value<'l, 'de> {
    layout: &'l mut Layout<'de>,
    /// How many more may be within each other.
    depth: u8,
}

impl<'de> Deserializer<'de> for Value<'_, 'de> {
    type Error = Unlike;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unlike> {
        let depth = self.depth.checked_sub(1).ok_or(Unlike)?;
        match self.layout.rest.as_bytes().first() {
            Some(b'"') => match self.layout.text()? {
                Cow::Borrowed(text) => visitor.visit_borrowed_str(text),
                Cow::Owned(text) => visitor.visit_string(text),
            },
            Some(b'0'..=b'9' | b'-') => visitor.visit_i64(self.layout.number()?),
            Some(b't') => self.layout.take("true").and_then(|()| visitor.visit_bool(true)),
            Some(b'f') => self.layout.take("false").and_then(|()| visitor.visit_bool(false)),
            Some(b'[') => {
                self.layout.take("[")?;
                let lines = self.layout.takes("\n");
                let mut list = List { layout: self.layout, depth, lines, first: true, ended: false };
                let value = visitor.visit_seq(&mut list)?;
                if list.ended { Ok(value) } else { Err(Unlike) }
            }
            Some(b'{') => {
                self.layout.take("{")?;
                let mut map = Inline { layout: self.layout, depth, first: true, ended: false, free: None };
                let value = visitor.visit_map(&mut map)?;
                if map.ended { Ok(value) } else { Err(Unlike) }
            }
            _ => Err(Unlike),
        }
    }

    /// A table whose keys are no field names, as headers are: a map says nothing of a key that is there
    /// twice, so they ascend.
    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unlike> {
        let depth = self.depth.checked_sub(1).ok_or(Unlike)?;
        self.layout.take("{")?;
        let free = Some(None);
        let mut map = Inline { layout: self.layout, depth, first: true, ended: false, free };
        let value = visitor.visit_map(&mut map)?;
        if map.ended { Ok(value) } else { Err(Unlike) }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unlike> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Unlike> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Unlike> {
        if self.layout.rest.starts_with('"') {
            return visitor.visit_enum(CowStrDeserializer::new(self.layout.text()?));
        }
        let depth = self.depth.checked_sub(1).ok_or(Unlike)?;
        self.layout.take("{ ")?;
        let value = visitor.visit_enum(Variant { layout: &mut *self.layout, depth })?;
        self.layout.take(" }")?;
        Ok(value)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf unit unit_struct seq
        tuple tuple_struct struct identifier ignored_any
    }
}

/// `[a, b]`, or one value a line with a comma behind each.
struct List<'l, 'de> {
    layout: &'l mut Layout<'de>,
    depth: u8,
    lines: bool,
    first: bool,
    ended: bool,
}

impl<'de> SeqAccess<'de> for &mut List<'_, 'de> {
    type Error = Unlike;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Unlike> {
        if self.layout.takes("]") {
            self.ended = true;
            return Ok(None);
        }
        if self.lines {
            self.layout.take("    ")?;
        } else if !self.first {
            self.layout.take(", ")?;
        }
        self.first = false;
        let value = seed.deserialize(Value { layout: &mut *self.layout, depth: self.depth })?;
        if self.lines {
            self.layout.take(",\n")?;
        }
        Ok(Some(value))
    }
}

/// `{ a = 1, b = 2 }`
struct Inline<'l, 'de> {
    layout: &'l mut Layout<'de>,
    depth: u8,
    first: bool,
    ended: bool,
    /// The key before, where keys are free; absent where they are fields.
    free: Option<Option<Cow<'de, str>>>,
}

impl<'de> MapAccess<'de> for &mut Inline<'_, 'de> {
    type Error = Unlike;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Unlike> {
        let end = if self.first { "}" } else { " }" };
        if self.layout.takes(end) {
            self.ended = true;
            return Ok(None);
        }
        self.layout.take(if self.first { " " } else { ", " })?;
        self.first = false;
        let Some(before) = &mut self.free else {
            return seed.deserialize(BorrowedStrDeserializer::new(self.layout.key()?)).map(Some);
        };
        let key = self.layout.free_key()?;
        if before.as_ref().is_some_and(|before| *before >= key) {
            return Err(Unlike);
        }
        *before = Some(key.clone());
        seed.deserialize(CowStrDeserializer::new(key)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Unlike> {
        seed.deserialize(Value { layout: &mut *self.layout, depth: self.depth })
    }
}

/// `variant = value` in a table of its own.
struct Variant<'l, 'de> {
    layout: &'l mut Layout<'de>,
    depth: u8,
}

impl<'de> EnumAccess<'de> for Variant<'_, 'de> {
    type Error = Unlike;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), Unlike> {
        let name = self.layout.key()?;
        Ok((seed.deserialize(BorrowedStrDeserializer::new(name))?, self))
    }
}

impl<'de> VariantAccess<'de> for Variant<'_, 'de> {
    type Error = Unlike;

    fn unit_variant(self) -> Result<(), Unlike> {
        Err(Unlike)
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Unlike> {
        seed.deserialize(Value { layout: self.layout, depth: self.depth })
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value, Unlike> {
        Err(Unlike)
    }

    fn struct_variant<V: Visitor<'de>>(self, _: &'static [&'static str], _: V) -> Result<V::Value, Unlike> {
        Err(Unlike)
    }
}
