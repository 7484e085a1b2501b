//! Guards against changes that nobody meant: each refuses until it is overridden by its name.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use evenkeel_schemas::change::{Action, Refusal};

use super::objects::{self, Key};
use super::{Fleet, compare};
use crate::codes;

/// A guard that is overridden, as `--override` names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Override {
    /// More changes than `policy.max_change` allows.
    MaxChange,
    /// Nothing of what was there is left.
    Empty,
    /// Something with `prevent_removal` goes: `services.web`, `virtual_routers.VI_1`, `hosts.rs1`.
    PreventRemoval(String),
}

impl fmt::Display for Override {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MaxChange => f.write_str("max_change"),
            Self::Empty => f.write_str("empty"),
            Self::PreventRemoval(path) => write!(f, "prevent_removal={path}"),
        }
    }
}

impl FromStr for Override {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            None if text == "max_change" => Ok(Self::MaxChange),
            None if text == "empty" => Ok(Self::Empty),
            Some(("prevent_removal", path))
                if ["services.", "virtual_routers.", "hosts."].iter().any(|section| path.starts_with(section)) =>
            {
                Ok(Self::PreventRemoval(path.to_owned()))
            }
            _ => Err("there is `max_change`, `empty`, and `prevent_removal=` with the name of what may go, such as \
                      `prevent_removal=services.web`"
                .to_owned()),
        }
    }
}

/// Everything that stands against a change. None of it is overridden here.
#[must_use]
pub fn refusals(before: &Fleet, after: &Fleet, max_change: Option<u8>) -> Vec<Refusal> {
    let mut refusals = protected(before, after);
    refusals.extend(too_much(before, after, max_change));
    refusals.extend(nothing_left(before, after));
    refusals
}

fn refusal(guard: &Override, code: &codes::Code, message: String) -> Refusal {
    Refusal { guard: guard.to_string(), code: code.id.to_owned(), message }
}

/// By the plans that are in force: deleting the block must not delete its protection.
fn protected(before: &Fleet, after: &Fleet) -> Vec<Refusal> {
    let names = |fleet: &Fleet, all: bool| -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        for (host, state) in fleet {
            if all || state.plan.prevent_removal {
                names.insert(format!("hosts.{host}"));
            }
            let routers = state.plan.routers.iter().filter(|router| all || router.prevent_removal);
            names.extend(routers.map(|router| format!("virtual_routers.{}", router.name)));
            let servers = state.plan.virtual_servers.iter().filter(|server| all || server.prevent_removal);
            names.extend(servers.map(|server| format!("services.{}", server.name)));
        }
        names
    };
    let left = names(after, true);
    names(before, false)
        .into_iter()
        .filter(|name| !left.contains(name))
        .map(|name| {
            let message = format!(
                "{name} would be removed, and `prevent_removal = true` was applied for it; to remove it, first apply \
                 `prevent_removal = false`"
            );
            refusal(&Override::PreventRemoval(name), &codes::PREVENT_REMOVAL, message)
        })
        .collect()
}

fn too_much(before: &Fleet, after: &Fleet, max_change: Option<u8>) -> Option<Refusal> {
    let limit = u64::from(max_change?);
    let (mut there, mut touched) = (0_u64, 0_u64);
    for (host, old) in before {
        let new = after.get(host);
        let old_objects = objects::of_host(old);
        there += old_objects.len() as u64;
        if new == Some(old) {
            continue;
        }
        let new_objects = new.map(objects::of_host).unwrap_or_default();
        let changes = compare::differences(&old_objects, &new_objects);
        touched += changes.values().filter(|change| change.action != Action::Add).count() as u64;
    }
    // Without division: 50 % of 3 objects is one, not two.
    (touched * 100 > limit * there).then(|| {
        let message = format!(
            "{touched} of {there} objects would be changed or removed, {}%; `policy.max_change` allows {limit}%",
            (touched * 100).div_ceil(there)
        );
        refusal(&Override::MaxChange, &codes::MAX_CHANGE, message)
    })
}

/// Routers, services, destinations and addresses; settings and empty plans do nothing by themselves.
fn nothing_left(before: &Fleet, after: &Fleet) -> Option<Refusal> {
    let what_serves = |fleet: &Fleet| -> BTreeMap<String, BTreeSet<Key>> {
        let serves =
            |key: &Key| ["router", "virtual_server", "destination", "address"].contains(&key.kind.as_str());
        let keys = |state| objects::of_host(state).into_keys().filter(serves).collect();
        fleet.iter().map(|(host, state)| (host.to_string(), keys(state))).collect()
    };
    let (old, new) = (what_serves(before), what_serves(after));
    let count: usize = old.values().map(BTreeSet::len).sum();
    let left = old.iter().any(|(host, keys)| new.get(host).is_some_and(|new| !new.is_disjoint(keys)));
    (count > 0 && !left).then(|| {
        let message = format!(
            "nothing of what is there would be left: none of {count} routers, virtual servers, destinations and \
             addresses"
        );
        refusal(&Override::Empty, &codes::NOTHING_LEFT, message)
    })
}
