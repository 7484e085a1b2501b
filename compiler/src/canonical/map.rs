//! Tables whose keys are no field names, such as the headers of a request: always in braces.

use serde::ser::{self, Serialize};

use super::{Slot, Unsupported, Writer, push_key, unsupported};

/// Writes the entries of a table.
pub(crate) struct MapWriter<'a> {
    out: &'a mut String,
    first: bool,
    /// Text behind the closing brace.
    end: &'static str,
}

impl<'a> MapWriter<'a> {
    pub(super) fn begin(writer: Writer<'a>) -> Result<Self, Unsupported> {
        let end = match writer.slot {
            Slot::Field { key, .. } => {
                writer.out.push_str(key);
                writer.out.push_str(" = ");
                "\n"
            }
            Slot::Inline => "",
            _ => return unsupported("a table of free keys in a list, or as a document"),
        };
        writer.out.push_str("{ ");
        Ok(Self { out: writer.out, first: true, end })
    }
}

impl ser::SerializeMap for MapWriter<'_> {
    type Ok = ();
    type Error = Unsupported;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Unsupported> {
        if !std::mem::take(&mut self.first) {
            self.out.push_str(", ");
        }
        match serde_json::to_value(key) {
            Ok(serde_json::Value::String(text)) => push_key(self.out, &text),
            _ => return unsupported("a key that is no text"),
        }
        self.out.push_str(" = ");
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Unsupported> {
        value.serialize(Writer { out: self.out, slot: Slot::Inline })
    }

    fn end(self) -> Result<(), Unsupported> {
        self.out.push_str(if self.first { "}" } else { " }" });
        self.out.push_str(self.end);
        Ok(())
    }
}
