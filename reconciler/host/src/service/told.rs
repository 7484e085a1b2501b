//! States that programs of services were told: once a change for all virtual servers of a name. Values only.
//!
//! A service has its quorum when all of its virtual servers have it. A real server has failed as soon as it
//! has in one of them.

use std::collections::{BTreeMap, BTreeSet};

use evenkeel_converge::{DestinationKey, Position};
use evenkeel_schemas::plan::{Hook, Plan, VirtualServer};
use evenkeel_schemas::scalars::Name;

use super::key;
use super::state::{News, ServerState};
use crate::hooks::line::{HookChange, HookState};
use crate::hooks::states::Subject;

/// States that programs were told.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// Virtual servers of each service that has programs.
    servers: BTreeMap<Name, Vec<usize>>,
    /// Whether each service has its quorum.
    up: BTreeMap<Name, bool>,
    /// Real servers that failed, with the number of virtual servers in which they did.
    failed: BTreeMap<(Name, DestinationKey), usize>,
}

impl Told {
    /// Takes a plan. What it begins with is told to nobody.
    pub(super) fn configure(&mut self, plan: &Plan, states: &BTreeMap<usize, ServerState>) {
        self.servers.clear();
        self.failed.clear();
        for (number, server) in plan.virtual_servers.iter().enumerate() {
            let Some(state) = states.get(&number).filter(|_| server.hooks.is_some()) else { continue };
            self.servers.entry(server.name.clone()).or_default().push(number);
            let keys =
                state.failed().filter_map(|at| key(plan, Position { server: number, destination: at }));
            for key in keys {
                *self.failed.entry((server.name.clone(), key)).or_default() += 1;
            }
        }
        let before = std::mem::take(&mut self.up);
        for (name, servers) in &self.servers {
            let up = before.get(name).copied().unwrap_or_else(|| all_up(servers, states));
            self.up.insert(name.clone(), up);
        }
    }

    /// The services that have programs.
    pub(crate) fn services(&self) -> BTreeSet<Name> {
        self.servers.keys().cloned().collect()
    }

    /// The changes that programs are to be told of, for the news of virtual servers. `why` is the reason of a
    /// destination's verdict.
    pub(super) fn changes(
        &mut self,
        plan: &Plan,
        states: &BTreeMap<usize, ServerState>,
        news: &[(usize, News)],
        why: &dyn Fn(Position) -> String,
    ) -> Vec<(Subject, HookChange)> {
        let mut changes = Vec::new();
        let mut turned: BTreeSet<&Name> = BTreeSet::new();
        for (number, one) in news {
            let Some(server) = plan.virtual_servers.get(*number).filter(|server| server.hooks.is_some())
            else {
                continue;
            };
            let (destination, down) = match one {
                News::BelowFloor | News::AboveFloor => continue,
                News::FoundFailed(destination) => {
                    // Whether this is news nobody knows, so it is told to nobody.
                    let key = key(plan, Position { server: *number, destination: *destination });
                    if let Some(key) = key {
                        *self.failed.entry((server.name.clone(), key)).or_default() += 1;
                    }
                    continue;
                }
                News::QuorumUp | News::QuorumDown => {
                    turned.insert(&server.name);
                    continue;
                }
                News::Failed(destination) => (*destination, true),
                News::Healthy(destination) => (*destination, false),
            };
            let at = Position { server: *number, destination };
            changes.extend(key(plan, at).and_then(|key| self.real_server(server, key, down, &|| why(at))));
        }
        for name in turned {
            changes.extend(self.quorum(plan, states, name));
        }
        changes
    }

    fn real_server(
        &mut self,
        server: &VirtualServer,
        key: DestinationKey,
        down: bool,
        why: &dyn Fn() -> String,
    ) -> Option<(Subject, HookChange)> {
        let of = (server.name.clone(), key);
        let before = self.failed.get(&of).copied().unwrap_or_default();
        let now = if down { before + 1 } else { before.saturating_sub(1) };
        if now == 0 {
            self.failed.remove(&of);
        } else {
            self.failed.insert(of, now);
        }
        if (before == 0) == (now == 0) {
            return None;
        }
        let hooks = server.hooks.as_ref()?;
        let (hook, state) = if down {
            (&hooks.real_server_down, HookState::Down)
        } else {
            (&hooks.real_server_up, HookState::Up)
        };
        let reason = if down { why() } else { "its checks succeed".to_owned() };
        Some((Subject::RealServer(server.name.clone(), key), change(hook.as_ref()?, state, reason)))
    }

    fn quorum(
        &mut self,
        plan: &Plan,
        states: &BTreeMap<usize, ServerState>,
        name: &Name,
    ) -> Option<(Subject, HookChange)> {
        let servers = self.servers.get(name)?;
        let up = all_up(servers, states);
        if self.up.insert(name.clone(), up) == Some(up) {
            return None;
        }
        let worst = servers.iter().min_by_key(|number| states.get(number).map(|state| state.is_up()))?;
        let hooks = plan.virtual_servers.get(*worst)?.hooks.as_ref()?;
        let have = states.get(worst)?.have();
        let (hook, state, reason) = if up {
            (&hooks.quorum_up, HookState::Up, format!("it has a healthy weight of {have}"))
        } else {
            (&hooks.quorum_down, HookState::Down, format!("it has a healthy weight of {have} only"))
        };
        Some((Subject::Service(name.clone()), change(hook.as_ref()?, state, reason)))
    }
}

fn all_up(servers: &[usize], states: &BTreeMap<usize, ServerState>) -> bool {
    servers.iter().all(|number| states.get(number).is_some_and(ServerState::is_up))
}

fn change(hook: &Hook, state: HookState, reason: String) -> HookChange {
    HookChange { state, priority: 0, reason, group: None, hooks: vec![hook.clone()] }
}

#[cfg(test)]
mod tests {
    use evenkeel_health::Verdict;
    use evenkeel_schemas::time::MonoTime;

    use super::super::{Look, Services};
    use super::*;

    /// A service of two VIPs with two real servers, which need both for their quorum.
    fn plan() -> Plan {
        let mut text = "format = 1\ncluster = \"c\"\nhost = \"h\"\nhost_addresses = []\n\
             [policy]\nresync = \"5s\"\nexclusive_ipvs = false\n"
            .to_owned();
        let hook = "{ command = [\"/bin/true\"], timeout = \"1s\" }";
        for vip in [9, 8] {
            text += &format!(
                "[[virtual_server]]\nname = \"web\"\naddress = \"192.0.2.{vip}\"\nport = 80\n\
                 protocol = \"tcp\"\nscheduler = \"wlc\"\none_packet = false\nquorum = {{ weight = 2 }}\n\
                 sorry_server = {{ address = \"192.0.2.99\", port = 80, forwarding = \"dr\" }}\n\
                 hooks = {{ quorum_up = {hook}, quorum_down = {hook}, real_server_up = {hook}, \
                 real_server_down = {hook} }}\n"
            );
            for n in [1, 2] {
                text += &format!(
                    "[[virtual_server.destination]]\nhost = \"rs{n}\"\naddress = \"192.0.2.{n}\"\nport = \
                        80\nweight = 1\nforwarding = \"dr\"\n"
                );
            }
        }
        toml::from_str(&text).expect("plan")
    }

    /// `+` healthy, `-` failed, `?` nothing heard of; the destinations of the first virtual server, then
    /// those of the second.
    fn look(text: &str) -> impl Fn(Position, &VirtualServer) -> Look + '_ {
        |at, _| {
            let of = text.as_bytes()[at.server * 2 + at.destination];
            let verdict = if of == b'-' { Verdict::Down } else { Verdict::Up };
            Look { verdict: Some(verdict), settled: of != b'?', drains: false, weight: None, excused: false }
        }
    }

    fn told(services: &mut Services, plan: &Plan, text: &str) -> Vec<String> {
        let news = services.judge(plan, 0..2, &look(text), MonoTime::ZERO);
        let changes = services.changes(plan, &news, &|_| "refused".to_owned());
        changes
            .into_iter()
            .map(|(subject, change)| format!("{} {}", subject.arguments(&change).join(" "), change.reason))
            .collect()
    }

    #[test]
    fn a_change_is_told_once_for_all_virtual_servers_of_a_name() {
        let plan = plan();
        let mut services = Services::default();
        services.configure(&plan, None, &look("+-++"), MonoTime::ZERO);
        let run = |services: &mut Services, text: &str| told(services, &plan, text);
        assert_eq!(run(&mut services, "+-++"), [""; 0], "what it begins with");
        // The destination had failed at the other VIP before.
        assert_eq!(run(&mut services, "+-+-"), [""; 0]);
        assert_eq!(run(&mut services, "+++-"), [""; 0], "not at all of them");
        assert_eq!(
            run(&mut services, "++++"),
            ["RS 192.0.2.2:80 web UP its checks succeed", "VS web UP it has a healthy weight of 2"]
        );
        assert_eq!(
            run(&mut services, "-++-"),
            [
                "RS 192.0.2.1:80 web DOWN refused",
                "RS 192.0.2.2:80 web DOWN refused",
                "VS web DOWN it has a healthy weight of 1 only"
            ]
        );
        services.configure(&plan, Some(&plan), &look("-++-"), MonoTime::ZERO);
        assert_eq!(run(&mut services, "-++-"), [""; 0], "the same plan");
    }

    #[test]
    fn after_a_restart_what_is_found_is_not_told_and_what_mends_is() {
        let plan = plan();
        let mut services = Services::default();
        let both = plan.virtual_servers.iter().filter_map(evenkeel_converge::ServiceKey::of);
        services.recalled(both.collect(), BTreeSet::new());
        services.configure(&plan, None, &look("????"), MonoTime::ZERO);
        assert_eq!(told(&mut services, &plan, "-+-+"), [""; 0]);
        assert_eq!(
            told(&mut services, &plan, "++++"),
            ["RS 192.0.2.1:80 web UP its checks succeed", "VS web UP it has a healthy weight of 2"]
        );
    }
}
