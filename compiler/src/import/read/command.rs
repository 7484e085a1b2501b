//! Programs: a script with its arguments and its user.

use serde_json::{Value, json};

use super::super::notes::Fate;
use super::super::tree::Statement;
use super::super::words;
use super::{Reader, shorten};

/// Words that mean something to a shell and nothing without one.
const SHELL: [&str; 12] = ["|", "||", ";", "&", "&&", "<", ">", ">>", "2>", "2>&1", "&>", "*"];

/// A program with its arguments, and the user that it runs as.
pub(super) struct HookCommand {
    pub(super) words: Vec<String>,
    pub(super) user: Option<String>,
}

impl HookCommand {
    /// The hook of a keyword. Of keepalived's, only `notify` says what happened after the program's own
    /// arguments.
    pub(super) fn hook(&self, keyword: &str) -> Value {
        let mut hook = json!({ "command": self.words });
        if let Some(user) = &self.user {
            hook["user"] = json!(user);
        }
        if keyword != "notify" {
            hook["state_arguments"] = json!(false);
        }
        hook
    }
}

impl Reader<'_> {
    /// `keyword "program arguments" [user [group]]`.
    pub(super) fn notified(&mut self, statement: &Statement) -> Option<HookCommand> {
        let line = self.line_of_program(statement)?;
        let words = self.arguments(statement, line.get(1))?;
        let user = line.get(2).cloned();
        if line.get(3).is_some() {
            self.instead(
                Fate::Changed,
                "it runs with the groups of its user; the group that is written is not carried",
            );
        }
        let user = user.or_else(|| self.default_user());
        self.settle_program(self.note, &words, user.as_deref());
        Some(HookCommand { words, user })
    }

    /// `keyword "program arguments"`: keepalived drops what follows the quoted text.
    pub(super) fn program(&mut self, statement: &Statement) -> Option<Vec<String>> {
        let line = self.line_of_program(statement)?;
        let words = self.arguments(statement, line.get(1))?;
        if line.len() > 2 {
            let message = format!("`{}` is not quoted as a whole", statement.keyword());
            let taken = format!(
                "keepalived drops what follows `{}`, and so does the import",
                shorten(&words.join(" "))
            );
            self.bad_word(statement, line.get(2).map(String::as_str), message, &taken);
        }
        Some(words)
    }

    fn line_of_program(&mut self, statement: &Statement) -> Option<Vec<String>> {
        let line = statement.arguments();
        match &line {
            None => {
                let message = "its quotation marks cannot be followed".to_owned();
                self.bad(statement, message, "keepalived ignores the line");
            }
            Some(line) if line.len() < 2 => self.lacks_value(statement),
            Some(_) => {}
        }
        line.filter(|line| line.len() > 1)
    }

    /// The words of a program, which are themselves quoted.
    fn arguments(&mut self, statement: &Statement, text: Option<&String>) -> Option<Vec<String>> {
        let words = text.and_then(|text| {
            // A file that is opened and not run: keepalived leaves that to a shell.
            if text.trim_start().starts_with('<') {
                return Some(vec!["/bin/sh".to_owned(), "-c".to_owned(), text.clone()]);
            }
            words::arguments(text).filter(|words| !words.is_empty())
        });
        // keepalived looks for it in the PATH of its own environment, which an import does not know.
        let words = words.map(|mut words| {
            let known = words.first().and_then(|program| {
                self.request.programs.iter().find(|(name, _)| name == program).map(|(_, path)| path.clone())
            });
            if let (Some(program), Some(path)) = (words.first_mut(), known) {
                *program = path;
            }
            words
        });
        if words.is_none() {
            let message = "there is no program in it".to_owned();
            self.bad(statement, message, "keepalived ignores the line");
        }
        words
    }

    /// The user of programs that name none.
    pub(super) fn default_user(&self) -> Option<String> {
        self.script_user.clone().or_else(|| self.request.script_user.clone())
    }

    /// Findings about a program.
    pub(super) fn settle_program(&mut self, note: usize, words: &[String], user: Option<&str>) {
        let program = words.first().map_or("", String::as_str);
        if let [shell, dash, text] = words
            && shell == "/bin/sh"
            && dash == "-c"
            && text.trim_start().starts_with('<')
        {
            let why = "keepalived opens the file itself; here a shell does";
            self.notes.instead_at(note, Fate::Changed, why);
        }
        if !program.starts_with('/') {
            let why = format!(
                "keepalived looks for `{0}` in its PATH, and evenkeeld in none: say where it is on the \
                directors with \
                 `--program {0}=/path/of/it` (`command -v {0}` tells there)",
                shorten(program)
            );
            self.notes.instead_at(note, Fate::Decide, why);
        } else if user.is_none() {
            self.notes.instead_at(
                note,
                Fate::Decide,
                "say who runs it with `--script-user USER`: keepalived takes `keepalived_script` where that \
                user exists, and root \
                 otherwise; evenkeeld takes `evenkeel_script` or `nobody`",
            );
        } else if let Some(sign) = words.iter().find(|word| SHELL.contains(&word.as_str())) {
            let why = format!(
                "keepalived runs it without a shell and gives it `{sign}` as an argument; so does the daemon"
            );
            let told = self.notes.items.get(note).is_some_and(|(_, item)| item.fate != Fate::Carried);
            if !told {
                self.notes.instead_at(note, Fate::Carried, why);
            }
        }
    }

    /// Notes a user of a script: `user name [group]`.
    pub(super) fn user(&mut self, statement: &Statement) -> Option<String> {
        let user = self.word(statement)?;
        if statement.values().nth(1).is_some() {
            self.instead(
                Fate::Changed,
                "it runs with the groups of its user; the group that is written is not carried",
            );
        }
        Some(user)
    }
}
