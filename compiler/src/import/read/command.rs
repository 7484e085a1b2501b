//! Programs: a script with its arguments and its user.

use evenkeel_schemas::scalars::Span;
use serde_json::{Value, json};

use super::super::notes::Fate;
use super::super::tree::Statement;
use super::{Reader, shorten};

/// Signs that mean something to a shell and nothing without one.
const SHELL: [char; 9] = ['|', ';', '&', '<', '>', '$', '`', '*', '~'];

/// A program with its arguments, and the user that it runs as.
pub(super) struct Command {
    pub(super) words: Vec<String>,
    pub(super) user: Option<String>,
}

impl Command {
    /// The hook of a keyword. Of keepalived's, only `notify` says what happened after the program's own arguments.
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
    pub(super) fn notified(&mut self, statement: &Statement) -> Option<Command> {
        let text = self.word(statement)?;
        let user = statement.values().nth(1).map(ToOwned::to_owned);
        if statement.values().nth(2).is_some() {
            self.notes.instead(
                Fate::Changed,
                "it runs with the groups of its user; the group that is written is not carried",
            );
        }
        self.command(&text, user)
    }

    /// `keyword "program arguments"`, or the same without quotes.
    pub(super) fn program(&mut self, statement: &Statement) -> Option<Command> {
        self.word(statement)?;
        let first = statement.words.get(1).is_some_and(|word| word.quoted);
        if first && statement.words.len() > 2 {
            // The program alone is quoted: what follows are arguments as they are.
            let mut command = self.command(statement.value()?, None)?;
            command.words.extend(statement.values().skip(1).map(ToOwned::to_owned));
            return Some(command);
        }
        let words: Vec<&str> = statement.values().collect();
        self.command(&words.join(" "), None)
    }

    fn command(&mut self, text: &str, user: Option<String>) -> Option<Command> {
        let user = user.or_else(|| self.script_user.clone());
        if text.contains(SHELL) {
            self.notes.instead(
                Fate::Changed,
                "it has signs of a shell, so it is run by one; programs run without a shell otherwise",
            );
            return Some(Command {
                words: vec!["/bin/sh".to_owned(), "-c".to_owned(), text.to_owned()],
                user,
            });
        }
        let mut words = split(text);
        let program = words.first_mut()?;
        // keepalived looks for it in the PATH of its own environment, which an import does not know.
        if let Some((_, path)) = self.request.programs.iter().find(|(name, _)| name == program) {
            program.clone_from(path);
        }
        if !program.starts_with('/') {
            self.notes.instead(
                Fate::Decide,
                format!(
                    "keepalived looks for `{0}` in its PATH, and evenkeeld in none: say where it is on the directors with \
                     `--program {0}=/path/of/it` (`command -v {0}` tells there)",
                    shorten(program)
                ),
            );
        } else if user.is_none() {
            self.notes.instead(
                Fate::Decide,
                "say who runs it with `--script-user USER`: keepalived takes `keepalived_script` where that user exists, and root \
                 otherwise; evenkeeld takes `evenkeel_script` or `nobody`",
            );
        }
        Some(Command { words, user })
    }

    /// Notes a user of a script: `user name [group]`.
    pub(super) fn user(&mut self, statement: &Statement) -> Option<String> {
        let user = self.word(statement)?;
        if statement.values().nth(1).is_some() {
            self.notes.instead(
                Fate::Changed,
                "it runs with the groups of its user; the group that is written is not carried",
            );
        }
        Some(user)
    }

    /// The first value as a time of the cluster file.
    pub(super) fn span(&mut self, statement: &Statement) -> Option<Value> {
        self.millis(statement).map(super::span)
    }

    /// The same for a time that must not be zero.
    pub(super) fn some_time(&mut self, statement: &Statement) -> Option<u32> {
        let millis = self.millis(statement)?;
        if millis == 0 {
            self.bad(statement, format!("`{}` cannot be 0", statement.keyword()), "the default was taken");
            return None;
        }
        Some(millis.min(Span::MAX_MILLIS))
    }
}

/// Words separated by blanks; quotes keep blanks together.
fn split(text: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for char in text.chars() {
        match quote {
            Some(open) if open == char => quote = None,
            Some(_) => word.get_or_insert_default().push(char),
            None if matches!(char, '\'' | '"') => {
                quote = Some(char);
                word.get_or_insert_default();
            }
            None if char.is_whitespace() => words.extend(word.take()),
            None => word.get_or_insert_default().push(char),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn quotes_keep_arguments_together() {
        assert_eq!(split("/a b  'c d' \"e\"f ''"), ["/a", "b", "c d", "ef", ""]);
        assert!(split("  ").is_empty());
    }
}
