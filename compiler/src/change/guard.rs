//! Guards against changes that nobody meant: each refuses until it is overridden by its name.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use evenkeel_schemas::change::{Action, Refusal};

use super::compare::{self, Delta, HostDelta};
use super::{Fleet, HostState, objects};
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
                if ["services.", "virtual_routers.", "hosts."]
                    .iter()
                    .any(|section| path.starts_with(section)) =>
            {
                Ok(Self::PreventRemoval(path.to_owned()))
            }
            _ => Err("there is `max_change`, `empty`, and `prevent_removal=` with the name of what may go, \
                such as \
                      `prevent_removal=services.web`"
                .to_owned()),
        }
    }
}

/// Everything that stands against a change. None of it is overridden here.
#[must_use]
pub fn refusals(before: &Fleet, after: &Fleet, max_change: Option<u8>) -> Vec<Refusal> {
    let mut guards = Guards::new(max_change);
    for name in compare::names(before, after) {
        guards.look(before.get(name), after.get(name));
    }
    guards.refusals()
}

/// The same of hosts that have been compared.
pub(super) fn of_deltas(
    before: &Fleet,
    after: &Fleet,
    hosts: &[HostDelta<'_>],
    max_change: Option<u8>,
) -> Vec<Refusal> {
    let mut guards = Guards::new(max_change);
    let mut hosts = hosts.iter().peekable();
    for name in compare::names(before, after) {
        let deltas = hosts.next_if(|host| host.host == name).map_or(&[][..], |host| &host.deltas);
        guards.count(before.get(name), after.get(name), deltas);
    }
    guards.refusals()
}

/// The guards over a change, host by host.
#[derive(Debug, Default)]
pub struct Guards {
    max_change: Option<u8>,
    /// Objects that exist and are protected by the plans in force: deleting the block must not delete its
    /// protection.
    protected: BTreeSet<String>,
    /// Objects that exist afterwards, protected or not.
    left: BTreeSet<String>,
    /// Objects that are there, and how many of them change or go.
    there: u64,
    touched: u64,
    /// Routers, services, destinations and addresses that are there; and whether any of them stays.
    serving: usize,
    serves: bool,
}

impl Guards {
    /// No host seen yet. `max_change` is that of the new cluster file.
    #[must_use]
    pub fn new(max_change: Option<u8>) -> Self {
        Self { max_change, ..Self::default() }
    }

    /// Examines a host, once for each host.
    pub fn look(&mut self, before: Option<&HostState>, after: Option<&HostState>) {
        let host = before.and_then(|old| compare::host(&old.plan.host, before, after));
        self.count(before, after, host.as_ref().map_or(&[], |host| &host.deltas));
    }

    fn count(&mut self, before: Option<&HostState>, after: Option<&HostState>, deltas: &[Delta<'_>]) {
        if let Some(after) = after {
            names(after, true, &mut self.left);
        }
        let Some(before) = before else { return };
        names(before, false, &mut self.protected);
        self.there += objects::count(before) as u64;
        let touched =
            deltas.iter().filter(|delta| delta.action() != Action::Add && !delta.is_changed_secret());
        self.touched += touched.count() as u64;
        let serving = objects::count_serving(&before.plan);
        let removed =
            deltas.iter().filter(|delta| delta.action() == Action::Remove && delta.key.id.serves()).count();
        self.serving += serving;
        self.serves |= after.is_some() && serving > removed;
    }

    /// All refusals about the examined hosts.
    #[must_use]
    pub fn refusals(&self) -> Vec<Refusal> {
        let mut refusals: Vec<Refusal> = self.protected.difference(&self.left).map(removed).collect();
        refusals.extend(self.too_much());
        refusals.extend(self.nothing_left());
        refusals
    }

    fn too_much(&self) -> Option<Refusal> {
        let limit = u64::from(self.max_change?);
        let Self { there, touched, .. } = *self;
        // Without division: 50 % of 3 objects is one, not two.
        (touched * 100 > limit * there).then(|| {
            let message = format!(
                "{touched} of {there} objects would be changed or removed, {}%; `policy.max_change` allows \
                {limit}%",
                (touched * 100).div_ceil(there)
            );
            refusal(&Override::MaxChange, &codes::MAX_CHANGE, message)
        })
    }

    fn nothing_left(&self) -> Option<Refusal> {
        (self.serving > 0 && !self.serves).then(|| {
            let message = format!(
                "nothing of what is there would be left: none of {} routers, virtual servers, destinations \
                and \
                 addresses",
                self.serving
            );
            refusal(&Override::Empty, &codes::NOTHING_LEFT, message)
        })
    }
}

/// The names of a host and of what it has, as `--override` has them: all, or those that are protected.
fn names(state: &HostState, all: bool, names: &mut BTreeSet<String>) {
    let plan = &state.plan;
    if all || plan.prevent_removal {
        names.insert(format!("hosts.{}", plan.host));
    }
    let routers = plan.routers.iter().filter(|router| all || router.prevent_removal);
    names.extend(routers.map(|router| format!("virtual_routers.{}", router.name)));
    let servers = plan.virtual_servers.iter().filter(|server| all || server.prevent_removal);
    names.extend(servers.map(|server| format!("services.{}", server.name)));
}

fn removed(name: &String) -> Refusal {
    let message = format!(
        "{name} would be removed, and `prevent_removal = true` was applied for it; to remove it, first apply \
         `prevent_removal = false`"
    );
    refusal(&Override::PreventRemoval(name.clone()), &codes::PREVENT_REMOVAL, message)
}

fn refusal(guard: &Override, code: &codes::Code, message: String) -> Refusal {
    Refusal { guard: guard.to_string(), code: code.id.to_owned(), message }
}
