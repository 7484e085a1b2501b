//! FILE_CHECK: a file whose number keepalived adds to the weight of a real server, or that says success or
//! failure where its weight is 0. The daemon's check does the latter.

use serde_json::{Map, Value, json};

use super::super::notes::{Fate, Finding};
use super::super::source::Spot;
use super::super::tree::Statement;
use super::values::Reading;
use super::{Reader, shorten};
use crate::codes;

/// Largest weight of a file in a FILE_CHECK.
const MAX_WEIGHT: i64 = 2_147_483_647;

/// Weight of the number in a file.
#[derive(Debug, Default)]
pub(super) struct FileWeight {
    /// Weight in the check, and its note.
    own: Option<(i64, bool, usize)>,
    /// Weight in the definition of the file.
    of_file: Option<(i64, bool)>,
}

impl Reader<'_> {
    /// Takes a statement of FILE_CHECK; whether it was one.
    pub(super) fn file_line(
        &mut self,
        statement: &Statement,
        weight: &mut FileWeight,
        check: &mut Map<String, Value>,
    ) -> bool {
        match statement.keyword() {
            "track_file" => {
                let Some(name) = self.word(statement) else { return true };
                match self.checked_file(&name) {
                    Some((path, of_file, reverse)) => {
                        self.says("track_file");
                        check.insert("file".to_owned(), json!(path));
                        weight.of_file = Some((of_file, reverse));
                    }
                    None => {
                        let message = format!("the file `{}` is defined nowhere before it", shorten(&name));
                        let taken = "keepalived ignores the line";
                        let finding = Finding::new(&codes::IMPORT_REFERENCE, statement.spot, message, taken);
                        self.notes.finding(finding.at(name));
                        self.instead(Fate::NotCarried, "it refers to nothing that is defined before it");
                    }
                }
            }
            "weight" => {
                let reverse = match statement.values().nth(1) {
                    None | Some("noreverse") => Some(false),
                    Some("reverse") => Some(true),
                    Some(other) => {
                        let message = format!("`{}` is no option of a weight", shorten(other));
                        self.bad(statement, message, "keepalived ignores the line");
                        None
                    }
                };
                let ignored = "keepalived ignores the line";
                let number = self.number_or(statement, 0, -MAX_WEIGHT..=MAX_WEIGHT, Reading::Exact, ignored);
                if let (Some(number), Some(reverse)) = (number, reverse) {
                    self.says("weight");
                    weight.own = Some((number, reverse, self.note));
                }
            }
            _ => return false,
        }
        true
    }

    /// Notes the effect of the number in the file in keepalived and here.
    pub(super) fn settle_file(&mut self, spot: Spot, weight: FileWeight) {
        let own = weight.own.map(|(number, reverse, _)| (number, reverse));
        let Some((number, reverse)) = own.or(weight.of_file) else { return };
        let why = match (number, reverse) {
            (0, false) => return,
            (0, true) => "keepalived takes 0 for failure with `reverse`; here 0 is success".to_owned(),
            (number, _) => format!(
                "keepalived adds the number in the file, times {number}, to the weight of the real server; \
                 here another number than 0 is failure"
            ),
        };
        if !self.request.checks_as_tcp {
            self.notes.say(Fate::Changed, vec![spot], "the number in the file", why);
        }
        if let Some((.., note)) = weight.own {
            self.notes.instead_at(note, Fate::NotCarried, "a check of a file has no weight");
        }
    }
}
