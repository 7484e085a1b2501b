//! A comparison as the document that programs read (`evenkeel_schemas::change`): whole, or written object by
//! object. Both are the same, and a test holds that up.

use std::collections::BTreeSet;
use std::fmt::{self, Write};

use evenkeel_schemas::change::{self as document, Action, Change, FieldChange, HostChange, ObjectChange};
use evenkeel_schemas::scalars::Name;
use serde::Serialize;

use super::compare::{Delta, HostDelta};
use super::fields::{FieldTeller, ToldField, is_plain, push_text};
use super::{Comparison, Inputs};

impl<'a> Comparison<'a> {
    /// All of it.
    #[must_use]
    pub fn document(&self) -> Change {
        let host = |host: &HostDelta<'a>| HostChange {
            host: host.host.clone(),
            action: host.action,
            objects: host.deltas.iter().map(|delta| self.object(host.host, delta)).collect(),
        };
        Change {
            format: document::FORMAT,
            cluster: self.inputs.cluster.clone(),
            against: self.inputs.against.to_owned(),
            summary: self.summary,
            hosts: self.hosts.iter().map(host).collect(),
            stages: self.stages.clone(),
            warnings: self.warnings.iter().map(|warned| warned.warning.clone()).collect(),
            refusals: self.refusals.clone(),
        }
    }

    fn object(&self, host: &'a Name, delta: &Delta<'a>) -> ObjectChange {
        let origin = self.origin(host, delta);
        let fields = self.fields(host, delta, origin.as_ref());
        ObjectChange {
            kind: delta.kind().to_owned(),
            id: delta.id().to_string(),
            name: delta.name().map(str::to_owned),
            action: delta.action(),
            fields,
            origin,
        }
    }

    /// Fields of an object that comes from `object`.
    fn fields(
        &self,
        host: &'a Name,
        delta: &Delta<'a>,
        object: Option<&document::Origin>,
    ) -> Vec<FieldChange> {
        let mut fields = delta.fields();
        for field in &mut fields {
            field.origin = self.origin_of_field(host, delta, &field.field, object);
        }
        fields
    }
}

/// The document, to be written without being built: its objects are made one by one.
pub struct PlanDocument<'c, 'a> {
    /// The comparison.
    pub comparison: &'c Comparison<'a>,
    /// Hosts whose objects are shown; none means all. The rest of the document is always of all.
    pub hosts: Option<&'c BTreeSet<Name>>,
}

/// Bytes of text that are gathered before they are written.
const AT_ONCE: usize = 64 * 1024;

/// Text before the value of a field that comes.
fn before_new(place: usize, name: &str) -> String {
    before(place, name, "new")
}

/// Text before the value of a field that goes.
fn before_old(place: usize, name: &str) -> String {
    before(place, name, "old")
}

fn before(place: usize, name: &str, what: &str) -> String {
    let mut text = if place == 0 { String::new() } else { format!("{AFTER},") };
    text.push_str("\n            {\n              \"field\": ");
    push_text(&mut text, name);
    text.push_str(",\n              \"");
    text.push_str(what);
    text.push_str("\": ");
    text
}

/// Text after the value of a field.
const AFTER: &str = "\n            }";

/// Everything before the hosts.
#[derive(Serialize)]
struct DocumentHead<'c> {
    format: u32,
    cluster: &'c Name,
    against: &'c str,
    summary: &'c document::ChangeSummary,
}

/// Everything behind them.
#[derive(Serialize)]
struct DocumentTail<'c> {
    stages: &'c [document::Stage],
    warnings: Vec<&'c document::Warning>,
    refusals: &'c [document::Refusal],
}

impl PlanDocument<'_, '_> {
    /// Writes it as `serde_json` writes a [`Change`] for people, with a newline at its end.
    ///
    /// # Errors
    /// When `out` takes no more.
    pub fn write(&self, out: &mut dyn Write) -> fmt::Result {
        let Self { comparison: all, hosts } = self;
        let Inputs { cluster, against, .. } = all.inputs;
        let head = DocumentHead { format: document::FORMAT, cluster, against, summary: &all.summary };
        let head = pretty(&head)?;
        out.write_str(head.strip_suffix("\n}").ok_or(fmt::Error)?)?;
        out.write_str(",\n  \"hosts\": [")?;
        let told = |host: &&HostDelta<'_>| hosts.is_none_or(|hosts| hosts.contains(host.host));
        let mut writer = ObjectWriter {
            all,
            text: String::new(),
            comes: FieldTeller::new(before_new),
            goes: FieldTeller::new(before_old),
        };
        let mut any = false;
        for host in all.hosts.iter().filter(told) {
            out.write_str(if any { ",\n" } else { "\n" })?;
            writer.host(host, out)?;
            any = true;
        }
        out.write_str(if any { "\n  ]," } else { "]," })?;
        let warnings = all.warnings.iter().map(|warned| &warned.warning).collect();
        let tail = DocumentTail { stages: &all.stages, warnings, refusals: &all.refusals };
        out.write_str(pretty(&tail)?.strip_prefix('{').ok_or(fmt::Error)?)?;
        out.write_str("\n")
    }
}

fn pretty(value: &impl Serialize) -> Result<String, fmt::Error> {
    serde_json::to_string_pretty(value).map_err(|_| fmt::Error)
}

/// Writes hosts and their objects.
struct ObjectWriter<'c, 'a> {
    all: &'c Comparison<'a>,
    text: String,
    comes: FieldTeller,
    goes: FieldTeller,
}

impl<'a> ObjectWriter<'_, 'a> {
    fn host(&mut self, host: &HostDelta<'a>, out: &mut dyn Write) -> fmt::Result {
        self.text.push_str("    {\n      \"host\": ");
        push_text(&mut self.text, host.host.as_str());
        self.text.push_str(",\n      \"action\": ");
        self.text.push_str(&pretty(&host.action)?);
        self.text.push_str(",\n      \"objects\": [");
        for (index, delta) in host.deltas.iter().enumerate() {
            self.text.push_str(if index > 0 { ",\n        {" } else { "\n        {" });
            self.object(host.host, delta)?;
            self.text.push_str("\n        }");
            if self.text.len() > AT_ONCE {
                out.write_str(&self.text)?;
                self.text.clear();
            }
        }
        self.text.push_str(if host.deltas.is_empty() { "]" } else { "\n      ]" });
        self.text.push_str("\n    }");
        out.write_str(&self.text)?;
        self.text.clear();
        Ok(())
    }

    fn object(&mut self, host: &'a Name, delta: &Delta<'a>) -> fmt::Result {
        let text = &mut self.text;
        text.push_str("\n          \"kind\": ");
        push_text(text, delta.kind());
        text.push_str(",\n          \"id\": \"");
        let id = text.len();
        write!(text, "{}", delta.id())?;
        if !is_plain(&text[id..]) {
            let id = text.split_off(id);
            text.truncate(text.len() - 1);
            push_text(text, &id);
        } else {
            text.push('"');
        }
        if let Some(name) = delta.name() {
            text.push_str(",\n          \"name\": ");
            push_text(text, name);
        }
        text.push_str(match delta.action() {
            Action::Add => ",\n          \"action\": \"add\"",
            Action::Change => ",\n          \"action\": \"change\"",
            Action::Remove => ",\n          \"action\": \"remove\"",
        });
        text.push_str(",\n          \"fields\": [");
        let mut write = |field: ToldField<'_>| {
            text.push_str(field.before);
            text.push_str(field.value);
            Ok(())
        };
        let written = match (delta.old, delta.new) {
            (Some(old), None) => self.goes.each(delta.kind(), old, &mut write)?,
            (None, Some(new)) => self.comes.each(delta.kind(), new, &mut write)?,
            (Some(_), Some(_)) | (None, None) => false,
        };
        let origin = self.all.origin(host, delta);
        if written {
            text.push_str(AFTER);
            text.push_str("\n          ]");
        } else {
            text.truncate(text.len() - 1);
            text.push_str(
                &pretty(&self.all.fields(host, delta, origin.as_ref()))?.replace('\n', "\n          "),
            );
        }
        if let Some(document::Origin { file, line }) = origin {
            text.push_str(",\n          \"origin\": {\n            \"file\": ");
            push_text(text, &file);
            write!(text, ",\n            \"line\": {line}\n          }}")?;
        }
        Ok(())
    }
}
