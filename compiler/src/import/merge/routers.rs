//! Instances of several directors that are one virtual router; and what hangs on them: trackers, sync groups,
//! connection synchronisation.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use evenkeel_schemas::scalars::Priority;
use serde_json::{Map, Value, json};

use super::super::model::{Draft, Group, Instance, Tracker, Vip};
use super::super::notes::{Fate, Owner};
use super::super::read::named;
use super::super::source::Spot;
use super::{FreeNames, Merger, nested};

/// A virtual router: the instances of it, by director and number.
#[derive(Debug)]
pub(super) struct MergedRouter {
    pub(super) name: String,
    pub(super) members: Vec<(usize, usize)>,
    /// Its VIPs, advertised or not.
    pub(super) vips: BTreeSet<IpAddr>,
    /// Number of its link among the segments.
    pub(super) link: usize,
}

/// Highest priority of a director that is not the owner of the VIPs, and the lowest.
const HIGHEST: u8 = Priority::OWNER.get() - 1;
const LOWEST: u8 = 1;

/// Name of a file that only checks read: it has no object of its own.
const CHECKED: &str = "";

impl Merger<'_> {
    pub(super) fn instance(&self, (director, index): (usize, usize)) -> &Instance {
        // Members are made from the very lists that they point into.
        &self.configs[director].instances[index]
    }

    /// Which instances belong together.
    pub(super) fn group_routers(&mut self) {
        // Only what has the VRID or a VIP of an instance can be its router.
        let mut by_vrid: BTreeMap<Option<u8>, Vec<usize>> = BTreeMap::new();
        let mut by_vip: BTreeMap<IpAddr, BTreeSet<usize>> = BTreeMap::new();
        let vrid = |instance: &Instance| instance.vrid.as_ref().map(|at| at.value);
        for (director, config) in self.configs.iter().enumerate() {
            for (index, instance) in config.instances.iter().enumerate() {
                let likeness = |router: &MergedRouter| {
                    let first = self.instance(*router.members.first()?);
                    let taken = router.members.last().is_some_and(|(other, _)| *other == director);
                    if taken || first.is_v6() != instance.is_v6() {
                        return None;
                    }
                    let same = |a: bool, points: u32| if a { points } else { 0 };
                    let vip = instance.vips.iter().any(|vip| router.vips.contains(&vip.address));
                    let points = same(vrid(first) == vrid(instance), 4)
                        + same(vip, 3)
                        + same(first.name == instance.name, 2)
                        + same(same_interface(first, instance), 1);
                    (points >= 5).then_some(points)
                };
                let near = by_vrid.get(&vrid(instance)).into_iter().flatten();
                let sharing = instance.vips.iter().filter_map(|vip| by_vip.get(&vip.address)).flatten();
                let candidates: BTreeSet<usize> = near.chain(sharing).copied().collect();
                let best = candidates
                    .into_iter()
                    .filter_map(|at| Some((likeness(self.routers.get(at)?)?, at)))
                    .max_by_key(|(points, at)| (*points, usize::MAX - at))
                    .map(|(_, at)| at);
                let vips = instance.vips.iter().chain(&instance.excluded).map(|vip| vip.address);
                let at = best.unwrap_or(self.routers.len());
                for vip in vips.clone() {
                    by_vip.entry(vip).or_default().insert(at);
                }
                match self.routers.get_mut(at) {
                    Some(router) => {
                        router.members.push((director, index));
                        router.vips.extend(vips);
                    }
                    None => {
                        by_vrid.entry(vrid(instance)).or_default().push(at);
                        let vips = vips.collect();
                        let name = instance.name.clone();
                        self.routers.push(MergedRouter {
                            name,
                            members: vec![(director, index)],
                            vips,
                            link: 0,
                        });
                    }
                }
            }
        }
        let mut names = FreeNames::default();
        for (at, router) in self.routers.iter_mut().enumerate().rev() {
            self.holders.extend(router.vips.iter().map(|vip| (*vip, at)));
            router.name = names.free(&named(&router.name));
            for (director, index) in &router.members {
                self.merged.names.insert(Owner::Router(*director, *index), router.name.clone());
            }
        }
    }

    pub(super) fn virtual_routers(&mut self) {
        let routers = std::mem::take(&mut self.routers);
        for router in &routers {
            self.virtual_router(router);
        }
        self.routers = routers;
    }

    fn virtual_router(&mut self, router: &MergedRouter) {
        let mut members = router.members.clone();
        members.sort_by_key(|member| std::cmp::Reverse(self.instance(*member).priority.value));
        let instances: Vec<Instance> = members.iter().map(|member| self.instance(*member).clone()).collect();
        let Some(first) = instances.first() else { return };
        let what = format!("`{}`", router.name);
        let mut out = Map::new();
        let vrids: Vec<(String, Spot)> = instances
            .iter()
            .filter_map(|instance| instance.vrid.as_ref())
            .map(|at| (at.value.to_string(), at.spot))
            .collect();
        if let Some(other) = vrids.iter().find(|(vrid, _)| Some(vrid) != vrids.first().map(|(vrid, _)| vrid))
        {
            self.disagree(&format!("the VRID of {what}"), &[vrids[0].clone(), other.clone()]);
        }
        out.insert("vrid".to_owned(), json!(first.vrid.as_ref().map(|at| at.value)));
        let lists = |excluded: bool| -> Vec<(Vec<Vip>, Spot)> {
            let list = |instance: &Instance| {
                if excluded { instance.excluded.clone() } else { instance.vips.clone() }
            };
            instances.iter().map(|instance| (list(instance), instance.spot)).collect()
        };
        let vips = self.addresses(&format!("the VIPs of {what}"), &lists(false));
        let excluded = self.addresses(&format!("the unadvertised VIPs of {what}"), &lists(true));
        out.insert("vips".to_owned(), json!(vips));
        if !excluded.is_empty() {
            out.insert("unadvertised_vips".to_owned(), json!(excluded));
        }
        if vips.is_empty() {
            let why = "a virtual router has at least one VIP: write one, or take the router out";
            self.notes.say(Fate::Decide, vec![first.spot], format!("{what} has no VIP"), why);
        }
        let settings = self.vip_settings(&what, &instances);
        if !settings.is_empty() {
            out.insert("vip_settings".to_owned(), Value::Object(settings));
        }
        let directors: Vec<&str> =
            members.iter().map(|(director, _)| self.request.directors[*director].name.as_str()).collect();
        out.insert("directors".to_owned(), json!(directors));
        let priorities = self.priorities(&what, &members, &instances);
        let by_order = (0..priorities.len()).map(|place| 100_usize.saturating_sub(place * 10));
        if !by_order.eq(priorities.iter().map(|priority| usize::from(*priority))) {
            let table: Map<String, Value> = directors
                .iter()
                .zip(&priorities)
                .map(|(name, priority)| ((*name).to_owned(), json!(priority)))
                .collect();
            out.insert("priorities".to_owned(), Value::Object(table));
        }
        if let [only] = instances.as_slice()
            && self.configs.len() > 1
        {
            let why = "only one director's configuration has it";
            self.notes.say(Fate::Decide, vec![only.spot], format!("{what} is on one director"), why);
        }
        for (pair, taken) in instances.windows(2).zip(priorities.windows(2)) {
            if let ([a, b], [of_a, of_b]) = (pair, taken)
                && of_a == of_b
            {
                let why = "the higher address wins in keepalived; give each director a priority of its own";
                self.notes.say(
                    Fate::Decide,
                    vec![a.priority.spot, b.priority.spot],
                    format!("equal priorities in {what}"),
                    why,
                );
            }
        }
        let drafts: Vec<(&Draft, Spot)> =
            instances.iter().map(|instance| (&instance.draft, instance.spot)).collect();
        let defaults = [
            ("preempt", json!(true)),
            ("garp.repeat", json!(5)),
            ("garp.delay", json!("5s")),
            ("checksum", json!("pseudo_header")),
        ];
        let mut draft = self.in_agreement(&what, &drafts, &defaults);
        if let Some(path) = &self.request.secret_file
            && let Some(at) = draft.0.get_mut("auth")
        {
            at.value = json!({ "type": "pass", "secret": { "file": path } });
        }
        self.unicast(&what, &members, &mut draft);
        out.extend(nested(&draft));
        self.put("virtual_routers", &router.name, out);
    }

    /// Addresses that the directors list, each once, in the first one's order.
    fn addresses(&mut self, what: &str, lists: &[(Vec<Vip>, Spot)]) -> Vec<IpAddr> {
        let mut all: Vec<IpAddr> = Vec::new();
        let mut seen = BTreeSet::new();
        let places: Vec<BTreeMap<IpAddr, Spot>> = lists
            .iter()
            .map(|(list, _)| list.iter().rev().map(|vip| (vip.address, vip.spot)).collect())
            .collect();
        for vip in lists.iter().flat_map(|(list, _)| list) {
            if seen.insert(vip.address) {
                all.push(vip.address);
            }
        }
        for address in &all {
            let has: Vec<Option<Spot>> = places.iter().map(|places| places.get(address).copied()).collect();
            if has.iter().any(Option::is_none) {
                let said: Vec<(String, Spot)> = has
                    .iter()
                    .zip(lists)
                    .map(|(has, (_, spot))| match has {
                        Some(at) => (address.to_string(), *at),
                        None => (super::NOTHING.to_owned(), *spot),
                    })
                    .collect();
                self.disagree(what, &said);
            }
        }
        all
    }

    /// The priorities of directors, who are sorted by them. Only who has the VIPs as its own addresses may
    /// have 255 here; who has it without that gets 254, and whoever stood right below goes below that.
    fn priorities(&mut self, what: &str, members: &[(usize, usize)], instances: &[Instance]) -> Vec<u8> {
        let mut priorities: Vec<u8> = Vec::new();
        let mut before: Option<(u8, u8)> = None;
        for ((director, _), instance) in members.iter().zip(instances) {
            let said = instance.priority.value;
            let name = &self.request.directors[*director].name;
            let own: BTreeSet<IpAddr> =
                self.hosts.get(name).map(|host| host.addresses().collect()).unwrap_or_default();
            let owns = instance.vips.iter().all(|vip| own.contains(&vip.address));
            let most = if said == Priority::OWNER.get() && owns { said } else { HIGHEST };
            let below = before.filter(|(said_before, _)| said != *said_before);
            let below = below.map_or(most, |(_, taken)| taken.saturating_sub(1).max(LOWEST));
            let taken = said.min(most).min(below);
            if taken != said {
                let why = if said == Priority::OWNER.get() {
                    format!(
                        "255 is for the owner of the VIPs, and they are no addresses of {name}: keepalived \
                         takes it all the same, {taken} was taken"
                    )
                } else {
                    format!("{taken} was taken, to stay below who has 255 in keepalived and {HIGHEST} here")
                };
                let what = format!("priority {said} of {name} in {what}");
                self.notes.say(Fate::Changed, vec![instance.priority.spot], what, why);
            }
            let lowest = before.filter(|(said_before, _)| said == *said_before).map_or(taken, |(_, t)| t);
            before = Some((said, taken.min(lowest)));
            priorities.push(taken);
        }
        priorities
    }

    fn vip_settings(&mut self, what: &str, instances: &[Instance]) -> Map<String, Value> {
        let mut out = Map::new();
        let all = |instance: &Instance| -> BTreeMap<IpAddr, Vip> {
            let vips = instance.vips.iter().chain(&instance.excluded).rev();
            vips.map(|vip| (vip.address, vip.clone())).collect()
        };
        let lists: Vec<BTreeMap<IpAddr, Vip>> = instances.iter().map(all).collect();
        let addresses: BTreeSet<IpAddr> = lists.iter().flat_map(|list| list.keys().copied()).collect();
        for address in addresses {
            let drafts: Vec<(Draft, Spot)> = lists
                .iter()
                .filter_map(|list| list.get(&address))
                .map(|vip| (settings(vip), vip.spot))
                .collect();
            let drafts: Vec<(&Draft, Spot)> = drafts.iter().map(|(draft, spot)| (draft, *spot)).collect();
            let draft = self.in_agreement(&format!("{address} in {what}"), &drafts, &[]);
            out.insert(address.to_string(), Value::Object(nested(&draft)));
        }
        out.retain(|_, settings| settings.as_object().is_some_and(|settings| !settings.is_empty()));
        out
    }

    /// Peers are each other's addresses when all are well; then nobody need write them.
    fn unicast(&mut self, what: &str, members: &[(usize, usize)], draft: &mut Draft) {
        let Some(at) = draft.0.get_mut("unicast") else { return };
        let v6 = members.first().is_some_and(|member| self.instance(*member).is_v6());
        let name = |director: usize| self.request.directors[director].name.clone();
        let own: BTreeMap<IpAddr, String> = members
            .iter()
            .flat_map(|(director, _)| {
                let host = self.hosts.get(&name(*director));
                let addresses: Vec<IpAddr> = host.map(|host| host.addresses().collect()).unwrap_or_default();
                addresses.into_iter().map(|address| (address, name(*director)))
            })
            .collect();
        let mut peers = Map::new();
        let mut mesh = true;
        let mut strangers = Vec::new();
        for member in members {
            let me = name(member.0);
            let mut named = BTreeSet::new();
            for peer in &self.instance(*member).peers {
                match own.get(&peer.value) {
                    Some(other) if *other != me => {
                        named.insert(other.clone());
                    }
                    // Oneself among the peers is a common slip, and harmless.
                    Some(_) => {}
                    None => strangers.push((peer.value, peer.spot)),
                }
            }
            let all: BTreeSet<String> =
                members.iter().map(|(other, _)| name(*other)).filter(|other| *other != me).collect();
            mesh &= named == all;
            peers.insert(me, json!(named));
        }
        if !mesh && strangers.is_empty() {
            if let Value::Object(unicast) = &mut at.value {
                unicast.insert("peers".to_owned(), Value::Object(peers));
            }
            let spot = at.spot;
            let why = "not every director advertises to every other: leave `peers` out unless that is meant";
            self.notes.say(Fate::Decide, vec![spot], format!("the peers of {what}"), why);
        }
        let known = own.keys().any(|address| address.is_ipv6() == v6);
        for (address, spot) in strangers {
            let why = if known {
                "it is the address of none of the imported directors: import its configuration, too"
            } else {
                "no director has its address here: give it with --address"
            };
            self.notes.say(Fate::Decide, vec![spot], format!("the peer {address} of {what}"), why);
        }
    }

    pub(super) fn trackers(&mut self) {
        let used: BTreeSet<String> = self
            .configs
            .iter()
            .flat_map(|config| {
                let routers = config.instances.iter().map(|instance| &instance.draft);
                routers.chain(config.groups.iter().map(|group| &group.draft))
            })
            .filter_map(|draft| draft.get("track")?.as_array())
            .flatten()
            .filter_map(|entry| Some(entry.get("tracker")?.as_str()?.to_owned()))
            .collect();
        let mut names = BTreeSet::new();
        let by_name: Vec<BTreeMap<String, &Tracker>> = self
            .configs
            .iter()
            .map(|config| {
                config.trackers.iter().rev().map(|tracker| (named(&tracker.name), tracker)).collect()
            })
            .collect();
        for (director, config) in self.configs.iter().enumerate() {
            for (index, tracker) in config.trackers.iter().enumerate() {
                let name = named(&tracker.name);
                self.merged.names.insert(Owner::Tracker(director, index), name.clone());
                if tracker.checked {
                    self.merged.names.insert(Owner::Tracker(director, index), CHECKED.to_owned());
                }
                if tracker.checked && !used.contains(&name) {
                    continue;
                }
                if !used.contains(&name) {
                    // An interface has no block of its own: the line that names it says what becomes of it.
                    if tracker.draft.get("type") != Some(&json!("interface")) {
                        let why = "nothing tracks it, so keepalived does not look at it either";
                        self.notes.dropped(tracker.spot, Fate::Carried, why);
                    }
                    self.merged.names.remove(&Owner::Tracker(director, index));
                    continue;
                }
                if !names.insert(name.clone()) {
                    continue;
                }
                let same = by_name.iter().filter_map(|trackers| trackers.get(&name));
                let drafts: Vec<(&Draft, Spot)> =
                    same.map(|tracker| (&tracker.draft, tracker.spot)).collect();
                let draft = self.in_agreement(&format!("`{name}`"), &drafts, &[("interval", json!("1s"))]);
                self.put("trackers", &name, nested(&draft));
            }
        }
    }

    pub(super) fn sync_groups(&mut self) {
        let mut names = BTreeSet::new();
        let by_name: Vec<BTreeMap<String, &Group>> = self
            .configs
            .iter()
            .map(|config| config.groups.iter().rev().map(|group| (named(&group.name), group)).collect())
            .collect();
        let instances: Vec<BTreeMap<&str, usize>> = self
            .configs
            .iter()
            .map(|config| {
                let names = config.instances.iter().enumerate();
                names.map(|(index, instance)| (instance.name.as_str(), index)).collect()
            })
            .collect();
        for (director, config) in self.configs.iter().enumerate() {
            for (index, group) in config.groups.iter().enumerate() {
                let name = named(&group.name);
                let same: Vec<(usize, &Group)> = by_name
                    .iter()
                    .enumerate()
                    .filter_map(|(director, groups)| Some((director, *groups.get(&name)?)))
                    .collect();
                let members: Vec<(Vec<String>, Spot)> = same
                    .iter()
                    .map(|(director, group)| {
                        let known = instances.get(*director);
                        (self.members(*director, &group.members, known), group.spot)
                    })
                    .collect();
                let Some((first, spot)) = members.first().cloned() else { continue };
                if first.len() < 2 {
                    let why = "a group of fewer than two routers does nothing; put its hooks into the router";
                    self.notes.dropped(group.spot, Fate::NotCarried, why);
                    continue;
                }
                self.merged.names.insert(Owner::Group(director, index), name.clone());
                if !names.insert(name.clone()) {
                    continue;
                }
                let sorted = |list: &[String]| list.iter().cloned().collect::<BTreeSet<_>>();
                if let Some((other, second)) = members.iter().find(|(list, _)| sorted(list) != sorted(&first))
                {
                    self.disagree(
                        &format!("the routers of `{name}`"),
                        &[(first.join(" "), spot), (other.join(" "), *second)],
                    );
                }
                let drafts: Vec<(&Draft, Spot)> =
                    same.iter().map(|(_, group)| (&group.draft, group.spot)).collect();
                let draft = self.in_agreement(&format!("the group `{name}`"), &drafts, &[]);
                let mut out = Map::new();
                out.insert("virtual_routers".to_owned(), json!(first));
                out.extend(nested(&draft));
                self.put("sync_groups", &name, out);
            }
        }
    }

    /// The virtual routers that a group's instances became.
    fn members(
        &mut self,
        director: usize,
        members: &[super::At<String>],
        instances: Option<&BTreeMap<&str, usize>>,
    ) -> Vec<String> {
        let mut out: Vec<String> = Vec::new();
        let mut seen = BTreeSet::new();
        for member in members {
            let index = instances.and_then(|known| known.get(member.value.as_str())).copied();
            let name = index.and_then(|index| self.merged.names.get(&Owner::Router(director, index)));
            match name {
                Some(name) if seen.insert(name.clone()) => out.push(name.clone()),
                Some(_) => {}
                None => {
                    let why = "no instance has this name, and keepalived leaves it out";
                    self.notes.say(
                        Fate::NotCarried,
                        vec![member.spot],
                        format!("member `{}`", named(&member.value)),
                        why,
                    );
                }
            }
        }
        out
    }

    pub(super) fn connection_sync(&mut self) {
        let syncs: Vec<(usize, Draft, Option<String>, Spot)> = self
            .configs
            .iter()
            .enumerate()
            .filter_map(|(director, config)| {
                let (draft, instance, spot) = config.sync.clone()?;
                Some((director, draft, instance, spot))
            })
            .collect();
        let Some((director, _, instance, spot)) = syncs.first().cloned() else { return };
        let index = instance.as_ref().and_then(|name| {
            self.configs[director].instances.iter().position(|instance| instance.name == *name)
        });
        let name = index.and_then(|index| self.merged.names.get(&Owner::Router(director, index)).cloned());
        let router = match name {
            Some(name) => name,
            None => {
                let Some(first) = self.routers.first().map(|router| router.name.clone()) else { return };
                let why = format!(
                    "it follows a virtual router here, and never runs in both roles at once: `{first}` was \
                    taken"
                );
                self.notes.say(Fate::Decide, vec![spot], "lvs_sync_daemon without an instance", why);
                first
            }
        };
        let drafts: Vec<(&Draft, Spot)> = syncs.iter().map(|(_, draft, _, spot)| (draft, *spot)).collect();
        let mut draft = self.in_agreement("connection synchronisation", &drafts, &[]);
        let member =
            self.routers.iter().find(|other| other.name == router).and_then(|router| router.members.first());
        let instance = member.map(|member| self.instance(*member));
        if draft.get("id").is_none()
            && let Some(vrid) = instance.and_then(|instance| instance.vrid.clone())
        {
            draft.set("id", vrid.value, vrid.spot);
        }
        let own = instance.and_then(|instance| instance.interface.as_ref()).map(|at| json!(at.value));
        if draft.get("interface") == own.as_ref() {
            draft.remove("interface");
        }
        draft.set("router", router, spot);
        self.put("connection_sync", "sync", nested(&draft));
    }
}

fn same_interface(a: &Instance, b: &Instance) -> bool {
    a.interface.as_ref().map(|at| &at.value) == b.interface.as_ref().map(|at| &at.value)
}

fn settings(vip: &Vip) -> Draft {
    let mut draft = Draft::default();
    if let Some(prefix) = vip.prefix {
        draft.set("prefix", prefix, vip.spot);
    }
    if let Some(interface) = &vip.interface {
        draft.set("interface", interface.clone(), vip.spot);
    }
    if let Some(label) = &vip.label {
        draft.set("label", label.clone(), vip.spot);
    }
    draft
}
