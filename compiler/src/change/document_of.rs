//! A comparison as the document that programs read (`evenkeel_schemas::change`): whole, or written object by
//! object. Both are the same, and a test holds that up.

use std::collections::BTreeSet;

use evenkeel_schemas::change::{self as document, Change, HostChange, ObjectChange};
use evenkeel_schemas::scalars::Name;
use serde::ser::{Serialize, SerializeSeq, SerializeStruct, Serializer};

use super::Comparison;
use super::compare::{Delta, HostDelta};

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
        let mut fields = delta.fields();
        for field in &mut fields {
            field.origin = self.origin_of_field(host, delta, &field.field, origin.as_ref());
        }
        ObjectChange {
            kind: delta.kind().to_owned(),
            id: delta.id().to_string(),
            name: delta.name().map(str::to_owned),
            action: delta.action(),
            fields,
            origin,
        }
    }
}

/// The document, to be written without being built: its objects are made one by one.
pub struct PlanDocument<'c, 'a> {
    /// The comparison.
    pub comparison: &'c Comparison<'a>,
    /// Hosts whose objects are shown; none means all. The rest of the document is always of all.
    pub hosts: Option<&'c BTreeSet<Name>>,
}

impl Serialize for PlanDocument<'_, '_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let all = self.comparison;
        let warnings: Vec<&document::Warning> = all.warnings.iter().map(|warned| &warned.warning).collect();
        let mut table = serializer.serialize_struct("Change", 8)?;
        table.serialize_field("format", &document::FORMAT)?;
        table.serialize_field("cluster", all.inputs.cluster)?;
        table.serialize_field("against", all.inputs.against)?;
        table.serialize_field("summary", &all.summary)?;
        table.serialize_field("hosts", &Hosts(self))?;
        table.serialize_field("stages", &all.stages)?;
        table.serialize_field("warnings", &warnings)?;
        table.serialize_field("refusals", &all.refusals)?;
        table.end()
    }
}

struct Hosts<'d, 'c, 'a>(&'d PlanDocument<'c, 'a>);

impl Serialize for Hosts<'_, '_, '_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let PlanDocument { comparison, hosts } = self.0;
        let told = |host: &&HostDelta<'_>| hosts.is_none_or(|hosts| hosts.contains(host.host));
        let mut list = serializer.serialize_seq(None)?;
        for host in comparison.hosts.iter().filter(told) {
            list.serialize_element(&HostDocument { comparison, host })?;
        }
        list.end()
    }
}

struct HostDocument<'c, 'a> {
    comparison: &'c Comparison<'a>,
    host: &'c HostDelta<'a>,
}

impl Serialize for HostDocument<'_, '_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut table = serializer.serialize_struct("HostChange", 3)?;
        table.serialize_field("host", self.host.host)?;
        table.serialize_field("action", &self.host.action)?;
        table.serialize_field("objects", &Objects(self))?;
        table.end()
    }
}

struct Objects<'h, 'c, 'a>(&'h HostDocument<'c, 'a>);

impl Serialize for Objects<'_, '_, '_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let HostDocument { comparison, host } = self.0;
        let mut list = serializer.serialize_seq(Some(host.deltas.len()))?;
        for delta in &host.deltas {
            list.serialize_element(&comparison.object(host.host, delta))?;
        }
        list.end()
    }
}
