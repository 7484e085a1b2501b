//! The canonical layout of a cluster file: order, blank lines, spacing, quotes. Comments stay.
//!
//! The text changes and never its meaning: what comes out is read again and compared.

use toml_edit::{Array, DocumentMut, InlineTable, Item, RawString, Table, Value};

use crate::codes::{self, Severity};
use crate::diagnostic::{Diagnostic, told};
use crate::parse;
use crate::schema::{choice, order};
use crate::source::SourceFile;

mod comments;

use comments::{Head, above, at_end, behind};

/// Indentation of the items of a list that has a line for each.
const INDENT: &str = "    ";

/// The text of a cluster file in canonical layout. Of one file: an `include` is not followed.
///
/// # Errors
/// Why it has none: it is not valid TOML.
pub fn layout(source: &SourceFile) -> Result<String, Vec<Diagnostic>> {
    let mut troubles = source.troubles.clone();
    if troubles.is_empty() {
        troubles.extend(source.unusable().filter(|fault| fault.code != &codes::EMPTY));
    }
    if troubles.iter().any(|trouble| trouble.severity() == Severity::Error) {
        return Err(troubles);
    }
    let before = parse::parse(source, choice).map_err(cut)?;
    let text = source.text().trim_start_matches('\u{feff}').replace("\r\n", "\n");
    let head = Head::of(&text);
    let mut document: DocumentMut =
        head.rest.parse().map_err(|_| vec![unsure("it cannot be taken apart with its comments")])?;
    let trailing = at_end(document.trailing().as_str().unwrap_or_default());
    document.set_trailing(trailing);
    let mut layouter = Layouter { path: Vec::new(), tables: 0, nothing_yet: true };
    layouter.sort(document.as_table_mut());
    layouter.table(document.as_table_mut());
    let text = head.put_before(&document.to_string());
    let after = SourceFile::new(source.name(), text);
    match parse::parse(&after, choice) {
        Ok(again) if same(&before, &again) => Ok(after.text().to_owned()),
        Ok(_) | Err(_) => Err(vec![unsure("its layout cannot be changed without changing its meaning")]),
    }
}

/// Whether two files say the same.
fn same(a: &parse::Document<'_>, b: &parse::Document<'_>) -> bool {
    let ((a, odd_of_a), (b, odd_of_b)) = (a.value_of_all(), b.value_of_all());
    a == b && odd_of_a.len() == odd_of_b.len()
}

/// The mistakes that are reported.
fn cut((mut found, stopped): (Vec<Diagnostic>, bool)) -> Vec<Diagnostic> {
    found.sort_by_key(Diagnostic::order);
    told(found, stopped).0
}

fn unsure(why: &str) -> Diagnostic {
    Diagnostic::of_file(&codes::NO_LAYOUT, why.to_owned())
        .hint("lay it out by hand; everything else works with it")
}

struct Layouter {
    path: Vec<String>,
    tables: isize,
    /// Nothing stands above yet, so no blank line is needed.
    nothing_yet: bool,
}

impl Layouter {
    fn sort(&mut self, table: &mut Table) {
        let rank = order(&self.path);
        // What the schema does not know keeps its place behind what it knows.
        let place = |key: &str| rank.iter().position(|known| *known == key).unwrap_or(rank.len());
        table.sort_values_by(|left, _, right, _| place(left.get()).cmp(&place(right.get())));
        for (key, item) in table.iter_mut() {
            self.path.push(key.get().to_owned());
            if let Item::Table(inner) = item {
                self.sort(inner);
            }
            self.path.pop();
        }
    }

    /// First the plain values, then the tables with headers: so it will be written.
    fn table(&mut self, table: &mut Table) {
        self.values(table, true);
        for (mut key, item) in table.iter_mut() {
            self.path.push(key.get().to_owned());
            match item {
                Item::Table(inner) if !inner.is_dotted() => {
                    key.fmt();
                    bare(key.leaf_decor_mut());
                    bare(key.dotted_decor_mut());
                    self.header(inner);
                }
                Item::ArrayOfTables(inner) => {
                    key.fmt();
                    bare(key.leaf_decor_mut());
                    bare(key.dotted_decor_mut());
                    inner.iter_mut().for_each(|inner| self.header(inner));
                }
                Item::Table(_) | Item::Value(_) | Item::None => {}
            }
            self.path.pop();
        }
    }

    fn header(&mut self, table: &mut Table) {
        self.tables += 1;
        table.set_position(Some(self.tables));
        // A table that is only on the way to others has no line of its own.
        if !table.is_implicit() {
            let first = std::mem::replace(&mut self.nothing_yet, false);
            let decor = table.decor_mut();
            let prefix = above(text(decor.prefix()), !first);
            let suffix = behind(text(decor.suffix()));
            decor.set_prefix(prefix);
            decor.set_suffix(suffix);
        }
        self.table(table);
    }

    fn values(&mut self, table: &mut Table, mut first: bool) -> bool {
        for (mut key, item) in table.iter_mut() {
            self.path.push(key.get().to_owned());
            match item {
                Item::Value(value) => {
                    let prefix = text(key.leaf_decor().prefix());
                    let blank = !first && prefix.starts_with('\n');
                    let prefix = above(prefix, blank);
                    // More than one space is somebody's column of signs.
                    let space = text(key.leaf_decor().suffix());
                    let aligned =
                        if space.len() > 1 && space.trim_matches(' ').is_empty() { space } else { " " };
                    let aligned = aligned.to_owned();
                    key.fmt();
                    key.leaf_decor_mut().set_prefix(prefix);
                    key.leaf_decor_mut().set_suffix(aligned);
                    bare(key.dotted_decor_mut());
                    let suffix = behind(text(value.decor().suffix()));
                    self.value(value);
                    value.decor_mut().set_prefix(" ");
                    value.decor_mut().set_suffix(suffix);
                    first = false;
                    self.nothing_yet = false;
                }
                Item::Table(inner) if inner.is_dotted() => {
                    key.fmt();
                    bare(key.leaf_decor_mut());
                    bare(key.dotted_decor_mut());
                    first = self.values(inner, first);
                }
                Item::Table(_) | Item::ArrayOfTables(_) | Item::None => {}
            }
            self.path.pop();
        }
        first
    }

    /// Everything but what stands around it.
    fn value(&mut self, value: &mut Value) {
        match value {
            Value::String(string) => {
                let plain = |text: &str| !text.contains(['\\', '"']) && !text.contains(char::is_control);
                let written = string.as_repr().and_then(|repr| repr.as_raw().as_str());
                if written.is_some_and(|text| text.starts_with('\'')) && plain(string.value()) {
                    string.fmt();
                }
            }
            Value::Array(items) => self.list(items),
            Value::InlineTable(table) => self.braces(table),
            Value::Integer(_) | Value::Float(_) | Value::Boolean(_) | Value::Datetime(_) => {}
        }
    }

    fn list(&mut self, items: &mut Array) {
        let written = items.to_string();
        for item in items.iter_mut() {
            let (prefix, suffix) =
                (text(item.decor().prefix()).to_owned(), text(item.decor().suffix()).to_owned());
            self.value(item);
            item.decor_mut().set_prefix(prefix);
            item.decor_mut().set_suffix(suffix);
        }
        if written.contains('#') {
            // A comment, or a text that holds the sign: who wrote it has an order in mind.
            return;
        }
        let lines = written.trim().contains('\n') && !items.is_empty();
        for (index, item) in items.iter_mut().enumerate() {
            let prefix = match (lines, index) {
                (true, _) => format!("\n{INDENT}"),
                (false, 0) => String::new(),
                (false, _) => " ".to_owned(),
            };
            item.decor_mut().set_prefix(prefix);
            item.decor_mut().set_suffix("");
        }
        items.set_trailing(if lines { "\n" } else { "" });
        items.set_trailing_comma(lines);
    }

    fn braces(&mut self, table: &mut InlineTable) {
        let written = table.to_string();
        if written.trim().contains('\n') {
            return;
        }
        let rank = order(&self.path);
        let place = |key: &str| rank.iter().position(|known| *known == key).unwrap_or(rank.len());
        table.sort_values_by(|left, _, right, _| place(left.get()).cmp(&place(right.get())));
        let last = table.len().saturating_sub(1);
        for (index, (mut key, value)) in table.iter_mut().enumerate() {
            self.path.push(key.get().to_owned());
            key.fmt();
            bare(key.dotted_decor_mut());
            key.leaf_decor_mut().set_prefix(" ");
            key.leaf_decor_mut().set_suffix(" ");
            self.value(value);
            value.decor_mut().set_prefix(" ");
            value.decor_mut().set_suffix(if index == last { " " } else { "" });
            self.path.pop();
        }
        table.set_trailing("");
        table.set_trailing_comma(false);
    }
}

fn bare(decor: &mut toml_edit::Decor) {
    decor.set_prefix("");
    decor.set_suffix("");
}

fn text(raw: Option<&RawString>) -> &str {
    raw.and_then(RawString::as_str).unwrap_or_default()
}
