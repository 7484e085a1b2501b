//! `evenkeel schema`: the JSON Schema of a document, by name, or what there is.

use clap::builder::PossibleValuesParser;
use evenkeel_schemas::json;

use super::{Schema, Terminal};

/// The names that the command line takes.
pub(super) fn names() -> PossibleValuesParser {
    PossibleValuesParser::new(json::ALL.iter().map(|document| document.name))
}

pub(super) fn run(arguments: &Schema, terminal: &Terminal) -> bool {
    let Some(name) = &arguments.name else {
        for json::Document { name, about, .. } in &json::ALL {
            terminal.say(format_args!("{name:8}  {about}"));
        }
        return true;
    };
    // The command line takes no other name.
    if let Some(document) = json::ALL.iter().find(|document| document.name == name) {
        terminal.document(&document.text());
    }
    true
}
