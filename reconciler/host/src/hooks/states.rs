//! States of routers and groups as hooks see them, and which programs are notified of a change. Values only.
//!
//! A change is notified when a state differs from the last one notified. A group is Master when all of its
//! routers are, at fault when one of them is, Backup when none is Master and one takes part, stopped when all
//! are. In any other case it keeps its state.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use evenkeel_converge::DestinationKey;
use evenkeel_schemas::plan::{Plan, RouterHooks};
use evenkeel_schemas::scalars::Name;
use evenkeel_schemas::status::RouterState;

use super::line::{HookChange, HookState};
use crate::election::StateChange;

/// Subject of a hook.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// A virtual router.
    Router(Name),
    /// A sync group.
    Group(Name),
    /// A service.
    Service(Name),
    /// A real server of a service.
    RealServer(Name, DestinationKey),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Router(name) => write!(f, "router {name}"),
            Self::Group(name) => write!(f, "sync group {name}"),
            Self::Service(name) => write!(f, "service {name}"),
            Self::RealServer(service, key) => write!(f, "real server {key} of {service}"),
        }
    }
}

impl Subject {
    /// Arguments that follow a program's own where its hook has `state_arguments`, as with keepalived's
    /// `notify`; for services the words of its `notify_fifo`.
    pub fn arguments(&self, change: &HookChange) -> Vec<String> {
        let state = change.state.to_string();
        match self {
            Self::Router(name) => {
                vec!["INSTANCE".to_owned(), name.to_string(), state, change.priority.to_string()]
            }
            Self::Group(name) => {
                vec!["GROUP".to_owned(), name.to_string(), state, change.priority.to_string()]
            }
            Self::Service(name) => vec!["VS".to_owned(), name.to_string(), state],
            Self::RealServer(service, key) => {
                vec!["RS".to_owned(), key.to_string(), service.to_string(), state]
            }
        }
    }

    /// Whether it is about a service.
    pub(crate) const fn service(&self) -> Option<&Name> {
        match self {
            Self::Service(name) | Self::RealServer(name, _) => Some(name),
            Self::Router(_) | Self::Group(_) => None,
        }
    }

    /// Environment variables of its programs.
    pub fn environment(&self, change: &HookChange) -> Vec<(&'static str, String)> {
        let group = change.group.as_ref().map(Name::to_string).unwrap_or_default();
        let mut all = match self {
            Self::Router(name) => vec![("EVENKEEL_ROUTER", name.to_string()), ("EVENKEEL_GROUP", group)],
            Self::Group(name) => {
                vec![("EVENKEEL_ROUTER", String::new()), ("EVENKEEL_GROUP", name.to_string())]
            }
            Self::Service(name) => vec![("EVENKEEL_SERVICE", name.to_string())],
            Self::RealServer(service, key) => {
                vec![("EVENKEEL_SERVICE", service.to_string()), ("EVENKEEL_REAL_SERVER", key.to_string())]
            }
        };
        all.push(("EVENKEEL_STATE", change.state.to_string()));
        if self.service().is_none() {
            all.push(("EVENKEEL_PRIORITY", change.priority.to_string()));
        }
        all.push(("EVENKEEL_REASON", change.reason.clone()));
        all
    }
}

/// The last known state of a router.
#[derive(Debug, Clone)]
struct Heard {
    state: HookState,
    priority: u8,
    group: Option<Name>,
}

/// All states of a host.
#[derive(Debug, Default)]
pub(crate) struct States {
    hooks: BTreeMap<Subject, RouterHooks>,
    /// Of these, routers and groups that are no longer in the plan.
    leaving: BTreeSet<Subject>,
    members: BTreeMap<Name, BTreeSet<Name>>,
    heard: BTreeMap<Name, Heard>,
    notified: BTreeMap<Subject, HookState>,
    adopting: BTreeSet<Name>,
}

impl States {
    /// Routers that were Master when an earlier daemon ended.
    pub(crate) fn adopting(&mut self, routers: BTreeSet<Name>) {
        self.adopting = routers;
    }

    /// Whether this router or group may have further changes.
    pub(crate) fn knows(&self, subject: &Subject) -> bool {
        self.hooks.contains_key(subject)
    }

    /// Applies the hooks of a new plan.
    pub(crate) fn configure(&mut self, plan: &Plan) {
        let mut hooks: BTreeMap<Subject, RouterHooks> = BTreeMap::new();
        self.members.clear();
        for router in &plan.routers {
            hooks.insert(Subject::Router(router.name.clone()), router.hooks.clone());
            if let Some(group) = &router.sync_group {
                self.members.entry(group.clone()).or_default().insert(router.name.clone());
            }
        }
        for group in &plan.sync_groups {
            hooks.insert(Subject::Group(group.name.clone()), group.hooks.clone());
        }
        self.leaving = BTreeSet::new();
        for (subject, old) in std::mem::take(&mut self.hooks) {
            if let Entry::Vacant(place) = hooks.entry(subject) {
                self.leaving.insert(place.key().clone());
                place.insert(old);
            }
        }
        self.hooks = hooks;
    }

    /// Changes for routers and groups that left the plan. A router that takes part still is left out: the
    /// election will report that it stopped.
    pub(crate) fn routers_given(&mut self) -> Vec<(Subject, HookChange)> {
        let mut changes = Vec::new();
        for subject in self.leaving.clone() {
            let waits = matches!(&subject, Subject::Router(_))
                && matches!(self.notified.get(&subject), Some(HookState::Master | HookState::Backup));
            if !waits {
                changes.extend(self.leave(&subject, "it left the plan"));
            }
        }
        changes
    }

    /// The last change for a router or group that left the plan.
    fn leave(&mut self, subject: &Subject, reason: &str) -> Option<(Subject, HookChange)> {
        let known = self.notified.contains_key(subject);
        let change = if known { self.change(subject, HookState::Stop, 0, reason, None) } else { None };
        self.forget(subject);
        change
    }

    fn forget(&mut self, subject: &Subject) {
        self.leaving.remove(subject);
        self.hooks.remove(subject);
        self.notified.remove(subject);
        if let Subject::Router(name) = subject {
            self.heard.remove(name);
        }
    }

    /// Handles a router's state, which may be the same as before. Returns the changes for the router and its
    /// group.
    pub(crate) fn state_changed(&mut self, change: &StateChange) -> Vec<(Subject, HookChange)> {
        let StateChange { router, group, to, fault, priority, why, .. } = change;
        let subject = Subject::Router(router.clone());
        if !self.hooks.contains_key(&subject) {
            return Vec::new();
        }
        let state = match to {
            RouterState::Master => HookState::Master,
            RouterState::Backup => HookState::Backup,
            RouterState::Initialize if *fault => HookState::Fault,
            RouterState::Initialize => HookState::Stop,
        };
        self.heard.insert(router.clone(), Heard { state, priority: *priority, group: group.clone() });
        // Only the first report about a router can be that it continues as Master.
        let adopted = self.adopting.remove(router) && state == HookState::Master;
        let mut changes = Vec::new();
        if adopted {
            self.notified.insert(subject.clone(), state);
        } else {
            changes.extend(self.change(&subject, state, *priority, why, group.as_ref()));
        }
        if self.leaving.contains(&subject) && state == HookState::Stop {
            self.forget(&subject);
        }
        if let Some(group) = group
            && let Some(state) = self.group_state(group)
        {
            let subject = Subject::Group(group.clone());
            if adopted {
                self.notified.insert(subject, state);
            } else {
                changes.extend(self.change(&subject, state, 0, why, None));
            }
        }
        changes
    }

    fn group_state(&self, group: &Name) -> Option<HookState> {
        let members = self.members.get(group)?;
        let states: Vec<Option<HookState>> =
            members.iter().map(|name| self.heard.get(name).map(|heard| heard.state)).collect();
        let all = |wanted| states.iter().all(|state| *state == Some(wanted));
        let any = |wanted| states.contains(&Some(wanted));
        if any(HookState::Fault) {
            Some(HookState::Fault)
        } else if all(HookState::Master) {
            Some(HookState::Master)
        } else if all(HookState::Stop) {
            Some(HookState::Stop)
        } else if any(HookState::Backup) && !any(HookState::Master) {
            Some(HookState::Backup)
        } else {
            None
        }
    }

    /// The change to notify; none when the state was notified before or no program is set for it.
    fn change(
        &mut self,
        subject: &Subject,
        state: HookState,
        priority: u8,
        reason: &str,
        group: Option<&Name>,
    ) -> Option<(Subject, HookChange)> {
        let hooks = self.hooks.get(subject)?;
        if self.notified.insert(subject.clone(), state) == Some(state) {
            return None;
        }
        let own = match state {
            HookState::Master => &hooks.master,
            HookState::Backup => &hooks.backup,
            HookState::Fault => &hooks.fault,
            HookState::Stop => &hooks.stop,
            // Of services only.
            HookState::Up | HookState::Down => &None,
        };
        let hooks: Vec<_> = own.iter().chain(&hooks.any).cloned().collect();
        if hooks.is_empty() {
            return None;
        }
        let (reason, group) = (reason.to_owned(), group.cloned());
        Some((subject.clone(), HookChange { state, priority, reason, group, hooks }))
    }

    /// The daemon stops: a stop for every router and group that was notified before.
    pub(crate) fn stop(&mut self) -> Vec<(Subject, HookChange)> {
        let known: Vec<Subject> = self.notified.keys().cloned().collect();
        let mut changes = Vec::new();
        for subject in known {
            let heard = match &subject {
                Subject::Router(name) => self.heard.get(name).cloned(),
                Subject::Group(_) | Subject::Service(_) | Subject::RealServer(..) => None,
            };
            let (priority, group) = heard.map_or((0, None), |heard| (heard.priority, heard.group));
            changes.extend(self.change(
                &subject,
                HookState::Stop,
                priority,
                "the daemon stops",
                group.as_ref(),
            ));
        }
        changes
    }
}

#[cfg(test)]
mod tests {
    use evenkeel_schemas::plan::Hook;
    use evenkeel_schemas::scalars::Span;

    use super::*;

    fn name(text: &str) -> Name {
        text.parse().expect("name")
    }

    /// Routers by name and group, all with a hook for any change.
    fn plan(routers: &[(&str, &str)]) -> Plan {
        let mut text = "format = 1\ncluster = \"c\"\nhost = \"h\"\nhost_addresses = []\n\
             [policy]\nresync = \"5s\"\nexclusive_ipvs = false\n"
            .to_owned();
        for (n, (name, group)) in routers.iter().enumerate() {
            text += &format!(
                "[[router]]\nname = \"{name}\"\ninterface = \"eth0\"\nsource = \"192.0.2.1\"\nversion = 3\n\
                 vrid = {}\npriority = 100\nadvert_interval = \"1s\"\npreempt = true\ngarp_repeat = 1\n\
                 garp_delay = \"0s\"\nvips = [\"192.0.2.9/32\"]\nsync_group = \"{group}\"\n",
                n + 1
            );
        }
        for group in routers.iter().map(|(_, group)| group).collect::<BTreeSet<_>>() {
            text += &format!("[[sync_group]]\nname = \"{group}\"\n");
        }
        let mut plan: Plan = toml::from_str(&text).expect("plan");
        let any = Some(Hook {
            command: vec!["/bin/true".to_owned()],
            user: Some("nobody".to_owned()),
            timeout: Span::from_secs(1),
            state_arguments: true,
        });
        plan.routers.iter_mut().for_each(|router| router.hooks.any.clone_from(&any));
        plan.sync_groups.iter_mut().for_each(|group| group.hooks.any.clone_from(&any));
        plan
    }

    fn say(states: &mut States, router: &str, to: RouterState, fault: bool) -> Vec<String> {
        let (router, group) = (name(router), Some(name("G")));
        let change = StateChange {
            label: router.to_string(),
            router,
            group,
            to,
            fault,
            priority: 100,
            why: "why".to_owned(),
        };
        show(states.state_changed(&change))
    }

    fn show(changes: Vec<(Subject, HookChange)>) -> Vec<String> {
        changes.into_iter().map(|(subject, change)| format!("{subject} {}", change.state)).collect()
    }

    #[test]
    fn the_state_of_a_group_follows_its_routers() {
        let mut states = States::default();
        states.configure(&plan(&[("a", "G"), ("b", "G")]));
        use RouterState::{Backup, Initialize, Master};
        assert_eq!(say(&mut states, "a", Backup, false), ["router a BACKUP", "sync group G BACKUP"]);
        assert_eq!(say(&mut states, "b", Backup, false), ["router b BACKUP"]);
        assert_eq!(say(&mut states, "a", Master, false), ["router a MASTER"], "half way");
        assert_eq!(say(&mut states, "b", Master, false), ["router b MASTER", "sync group G MASTER"]);
        assert_eq!(say(&mut states, "b", Master, false), [""; 0], "no change");
        assert_eq!(say(&mut states, "a", Initialize, true), ["router a FAULT", "sync group G FAULT"]);
        assert_eq!(say(&mut states, "b", Initialize, true), ["router b FAULT"]);
        assert_eq!(say(&mut states, "a", Backup, false), ["router a BACKUP"], "b is at fault still");
        assert_eq!(say(&mut states, "b", Backup, false), ["router b BACKUP", "sync group G BACKUP"]);
        assert_eq!(say(&mut states, "a", Initialize, false), ["router a STOP"]);
        assert_eq!(show(states.stop()), ["router b STOP", "sync group G STOP"], "a knows already");
    }

    #[test]
    fn hooks_of_a_router_that_continues_as_master_are_not_notified() {
        let mut states = States::default();
        states.adopting([name("a"), name("b")].into());
        states.configure(&plan(&[("a", "G"), ("b", "G"), ("c", "H")]));
        assert_eq!(say(&mut states, "a", RouterState::Master, false), [""; 0]);
        assert_eq!(say(&mut states, "b", RouterState::Master, false), [""; 0]);
        assert_eq!(say(&mut states, "c", RouterState::Backup, false), ["router c BACKUP"]);
        assert_eq!(
            say(&mut states, "a", RouterState::Backup, false),
            ["router a BACKUP"],
            "later changes are notified"
        );
        assert_eq!(say(&mut states, "a", RouterState::Master, false), ["router a MASTER"]);
    }

    #[test]
    fn a_router_that_leaves_the_plan_is_stopped_once() {
        let mut states = States::default();
        states.configure(&plan(&[("a", "G"), ("b", "G"), ("c", "G")]));
        say(&mut states, "a", RouterState::Master, false);
        say(&mut states, "b", RouterState::Initialize, true);
        states.configure(&plan(&[]));
        let notified = show(states.routers_given());
        assert_eq!(
            notified,
            ["router b STOP", "sync group G STOP"],
            "a is still Master, c was never heard of"
        );
        assert_eq!(say(&mut states, "a", RouterState::Initialize, false), ["router a STOP"]);
        assert_eq!(say(&mut states, "a", RouterState::Backup, false), [""; 0], "nobody we know");
        assert!(states.hooks.is_empty() && states.notified.is_empty() && states.heard.is_empty());
    }
}
