//! `evenkeel schema`: the JSON Schema of a document, by name, or what there is.

use evenkeel_schemas::json;

use super::{Schema, Terminal};

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
