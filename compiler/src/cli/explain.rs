//! `evenkeel explain`: what a code means, or all of them in a list.

use evenkeel::{Severity, codes};

use super::{Explain, Terminal};

/// Width of explanations, in columns.
const WIDTH: usize = 80;

pub(super) fn run(arguments: &Explain, terminal: &Terminal) -> bool {
    let Some(id) = &arguments.code else {
        for code in codes::all() {
            terminal.say(format_args!("{}  {:7}  {}", code.id, word(code.severity), code.title));
        }
        return true;
    };
    let Some(code) = codes::find(id) else {
        terminal.fail(format_args!(
            "there is no code `{}`; `evenkeel explain` lists all of them",
            id.escape_debug()
        ));
        return false;
    };
    terminal.say(format_args!("{} ({}): {}", code.id, word(code.severity), code.title));
    for paragraph in code.explanation.split("\n\n") {
        terminal.say("");
        terminal.say(wrap(paragraph));
    }
    true
}

const fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    }
}

fn wrap(paragraph: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    for word in paragraph.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= WIDTH => {
                line.push(' ');
                line.push_str(word);
            }
            Some(_) | None => lines.push(word.to_owned()),
        }
    }
    lines.join("\n")
}
