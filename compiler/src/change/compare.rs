//! The one comparison: host by host, object by object. Fields are compared when somebody asks for them.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::fmt;

use evenkeel_schemas::change::{Action, FieldChange};
use evenkeel_schemas::plan::Plan;
use evenkeel_schemas::scalars::Name;

use super::fields::{FieldTeller, ToldField};
use super::implied::is_told;
use super::objects::{self, Fields, Id, Object, ObjectKey, Objects};
use super::{Fleet, HostState, Inputs};

/// Changes on a host.
#[derive(Debug)]
pub(crate) struct HostDelta<'a> {
    pub(crate) host: &'a Name,
    /// Whether the host itself comes or goes.
    pub(crate) action: Action,
    /// At least one, in the order of their keys.
    pub(crate) deltas: Vec<Delta<'a>>,
}

/// Change of an object.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Delta<'a> {
    pub(super) key: ObjectKey<'a>,
    pub(super) old: Option<Object<'a>>,
    pub(super) new: Option<Object<'a>>,
}

impl<'a> Delta<'a> {
    pub(crate) const fn action(&self) -> Action {
        match (self.old, self.new) {
            (Some(_), Some(_)) => Action::Change,
            (Some(_), None) => Action::Remove,
            (None, _) => Action::Add,
        }
    }

    pub(crate) const fn kind(&self) -> &'static str {
        self.key.id.kind()
    }

    /// Identity, as text.
    pub(crate) fn id(&self) -> impl std::fmt::Display + use<'a> {
        self.key
    }

    /// Name in the cluster file, if it has one that is not its identity; of a destination the host's.
    pub(crate) fn name(&self) -> Option<&'a str> {
        self.new.or(self.old).and_then(Object::name)
    }

    /// Whether it is another text of a secret, which no plan shows.
    pub(crate) const fn is_changed_secret(&self) -> bool {
        matches!((self.old, self.new), (Some(Object::Secret), Some(Object::Secret)))
    }

    /// Whether a host that stays goes into maintenance, or comes back from it.
    pub(crate) fn maintenance(&self) -> Option<bool> {
        let (Object::Host(old), Object::Host(new)) = (self.old?, self.new?) else { return None };
        (old.maintenance != new.maintenance).then_some(new.maintenance)
    }

    /// Whether a destination that stays drains from now on, or no longer, where nothing else of it changes.
    pub(crate) fn drain_only(&self) -> Option<bool> {
        let (Object::Destination(old), Object::Destination(new)) = (self.old?, self.new?) else {
            return None;
        };
        (old.drains() != new.drains() && self.fields().len() == 1).then_some(new.drains())
    }

    /// Fields that differ: all of them when it comes or goes.
    pub(crate) fn fields(&self) -> Vec<FieldChange> {
        let fields = |object: Option<Object<'_>>| object.map(Object::fields).unwrap_or_default();
        if self.is_changed_secret() {
            let field = objects::SECRET_FIELD.to_owned();
            return vec![FieldChange { field, old: None, new: None, origin: None }];
        }
        between(fields(self.old), fields(self.new))
    }

    /// Tells the fields of an object that comes; false when they must be told by [`Self::fields`].
    ///
    /// # Errors
    /// When `tell` fails.
    pub(crate) fn tell_new(
        &self,
        teller: &mut FieldTeller,
        tell: impl FnMut(ToldField<'_>) -> fmt::Result,
    ) -> Result<bool, fmt::Error> {
        match (self.old, self.new) {
            (None, Some(new)) => teller.each(self.kind(), new, tell),
            _ => Ok(false),
        }
    }

    /// Whether the same happens to the same object of another host: within a host each object is there once.
    /// Of new hosts, identities count only when shown in `full`.
    pub(super) fn is_like(&self, other: &Self, full: bool) -> bool {
        let same = |a: Option<Object<'_>>, b: Option<Object<'_>>| match (a, b) {
            (None, None) => true,
            (Some(a), Some(b)) => a.same(b),
            (None, Some(_)) | (Some(_), None) => false,
        };
        match (self.key.id, other.key.id) {
            (Id::Host(_), Id::Host(_)) if self.action() != other.action() => false,
            (Id::Host(_), Id::Host(_)) => match self.action() {
                Action::Remove => true,
                // All may get the same policy.
                Action::Change => self.fields() == other.fields(),
                Action::Add if full => false,
                Action::Add => {
                    let shown = |delta: &Self| {
                        let mut fields = delta.fields();
                        fields.retain(|field| !is_told("host", &field.field));
                        fields
                    };
                    shown(self) == shown(other)
                }
            },
            // Of what goes nothing else is told.
            _ if self.action() == Action::Remove && other.action() == Action::Remove => {
                self.key == other.key && self.name() == other.name()
            }
            _ => self.key == other.key && same(self.old, other.old) && same(self.new, other.new),
        }
    }

    /// Sorts what may be [alike](Self::is_like) side by side, and as a host's changes are.
    pub(super) fn order(&self, other: &Self) -> Ordering {
        match (self.key.id, other.key.id) {
            (Id::Host(_), Id::Host(_)) => Ordering::Equal,
            _ => self.key.cmp(&other.key),
        }
    }
}

/// Hosts that differ.
pub(super) fn hosts<'a>(inputs: &Inputs<'a>) -> Vec<HostDelta<'a>> {
    // One after the other: each takes memory for all of its objects, and little time.
    let names = names(inputs.before, inputs.after).into_iter();
    names.filter_map(|name| host(name, inputs.before.get(name), inputs.after.get(name))).collect()
}

/// Hosts before and after together.
pub(super) fn names<'a>(before: &'a Fleet, after: &'a Fleet) -> BTreeSet<&'a Name> {
    before.keys().chain(after.keys()).collect()
}

/// Changes on a host; none when it stays the same.
pub(super) fn host<'a>(
    name: &'a Name,
    before: Option<&'a HostState>,
    after: Option<&'a HostState>,
) -> Option<HostDelta<'a>> {
    let action = match (before, after) {
        (Some(before), Some(after)) if before.is_like(after) => return None,
        (Some(_), Some(_)) => Action::Change,
        (None, Some(_)) => Action::Add,
        (Some(_), None) => Action::Remove,
        (None, None) => return None,
    };
    let old = before.map(objects::of_host).unwrap_or_default();
    let new = after.map(objects::of_host).unwrap_or_default();
    let changed_secret = |id: Id<'_>| match (before, after, id) {
        (Some(before), Some(after), Id::Secret(name)) => {
            before.secrets.get(name.0) != after.secrets.get(name.0)
        }
        _ => false,
    };
    let deltas = differences(&old, &new, changed_secret);
    (!deltas.is_empty()).then_some(HostDelta { host: name, action, deltas })
}

/// Differences between two plans.
pub(super) fn of_plans<'a>(old: Option<&'a Plan>, new: Option<&'a Plan>) -> Vec<Delta<'a>> {
    let objects = |plan: Option<&'a Plan>| plan.map(objects::of_plan).unwrap_or_default();
    differences(&objects(old), &objects(new), |_| false)
}

/// Differences between two sets of objects. Secrets have no fields: the caller, who knows them, says which
/// have changed.
fn differences<'a>(
    old: &Objects<'a>,
    new: &Objects<'a>,
    changed_secret: impl Fn(Id<'_>) -> bool,
) -> Vec<Delta<'a>> {
    let mut deltas = Vec::new();
    let (mut old, mut new) = (old.iter().peekable(), new.iter().peekable());
    loop {
        let order = match (old.peek(), new.peek()) {
            (None, None) => return deltas,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some((a, _)), Some((b, _))) => a.cmp(b),
        };
        let before = if order == Ordering::Greater { None } else { old.next() };
        let after = if order == Ordering::Less { None } else { new.next() };
        let Some((key, _)) = after.or(before) else { return deltas };
        if let (Some((_, before)), Some((_, after))) = (before, after)
            && before.same(*after)
            && !changed_secret(key.id)
        {
            continue;
        }
        let object = |side: Option<&(ObjectKey<'a>, Object<'a>)>| side.map(|(_, object)| *object);
        deltas.push(Delta { key: *key, old: object(before), new: object(after) });
    }
}

fn between(mut old: Fields, new: Fields) -> Vec<FieldChange> {
    let shown = |value: Option<serde_json::Value>| value.filter(|value| !value.is_null());
    let mut fields: Vec<FieldChange> = Vec::new();
    for (field, value) in new {
        let before = old.remove(&field);
        if before.as_ref() != Some(&value) {
            fields.push(FieldChange { field, old: shown(before), new: shown(Some(value)), origin: None });
        }
    }
    let gone = old.into_iter();
    fields.extend(gone.map(|(field, value)| FieldChange {
        field,
        old: shown(Some(value)),
        new: None,
        origin: None,
    }));
    fields.sort_by(|a, b| a.field.cmp(&b.field));
    fields
}
