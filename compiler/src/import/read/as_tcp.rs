//! `--checks-as-tcp`: every check becomes a TCP check, and each line of them says so.

use serde_json::{Value, json};

use super::super::model::At;
use super::super::notes::Fate;
use super::super::tree::Statement;
use super::Reader;

/// Keys of a check that a TCP check keeps.
const KEPT: [&str; 7] = ["type", "interval", "timeout", "retries", "retry_delay", "address", "port"];

/// Keywords of which such keys are made; those of a program's own time limit are not among them.
const KEPT_WORDS: [&str; 7] = [
    "delay_loop",
    "connect_timeout",
    "retry",
    "nb_get_retry",
    "delay_before_retry",
    "connect_ip",
    "connect_port",
];

/// Note on each setting that such a check does not keep.
const LEFT_OUT: &str = "it is left out with --checks-as-tcp";

impl Reader<'_> {
    /// Says of what checks take from above that a TCP check does not have it.
    pub(super) fn not_as_tcp(&mut self, statement: &Statement) {
        if self.request.checks_as_tcp && matches!(statement.keyword(), "warmup" | "alpha" | "virtualhost") {
            self.instead(Fate::NotCarried, LEFT_OUT);
        }
    }

    /// The checks of a block as TCP checks, where that is asked for. What was said of the block begins at the
    /// note `mark`.
    pub(super) fn as_tcp(
        &mut self,
        block: &Statement,
        mark: usize,
        checks: Vec<At<Value>>,
    ) -> Vec<At<Value>> {
        if !self.request.checks_as_tcp {
            return checks;
        }
        let needed = |check: &At<Value>| match check.value.as_object() {
            Some(table) => {
                table.get("type") != Some(&json!("tcp"))
                    || table.keys().any(|key| !KEPT.contains(&key.as_str()))
            }
            None => false,
        };
        if !checks.iter().any(needed) {
            return checks;
        }
        let kind = block.keyword();
        let mut out: Vec<At<Value>> = Vec::new();
        for At { value, spot } in checks {
            let mut table = value.as_object().cloned().unwrap_or_default();
            if kind == "MISC_CHECK" {
                // The time that a program may take is no time for a connection.
                table.remove("timeout");
            }
            table.retain(|key, _| KEPT.contains(&key.as_str()));
            table.insert("type".to_owned(), json!("tcp"));
            let check = At { value: Value::Object(table), spot };
            // Several addresses of one page are one port.
            if !out.iter().any(|known| known.value == check.value) {
                out.push(check);
            }
        }
        let kept = |what: &str| KEPT_WORDS.iter().any(|word| what.split(' ').next() == Some(word));
        let why = match kind {
            "TCP_CHECK" => LEFT_OUT.to_owned(),
            kind => format!(
                "the {kind} is a TCP check with --checks-as-tcp, which says no more than that the port \
                accepts connections"
            ),
        };
        let opened = block.spot;
        for (_, item) in self.notes.items.get_mut(mark..).unwrap_or_default() {
            let of_block = item.spots.first().copied() == Some(opened) && item.what.starts_with(kind);
            if of_block && kind != "TCP_CHECK" {
                item.fate = Fate::Changed;
                item.why = Some(why.clone());
            } else if !of_block && !kept(&item.what) {
                item.fate = Fate::NotCarried;
                item.ours = None;
                item.why = Some(why.clone());
            }
        }
        out
    }
}
