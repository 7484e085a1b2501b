//! All virtual routers of one host: who gets which input, and whose output and deadline is next.
//!
//! No protocol lives here: a packet's VRID is all that is looked at. What routers of one sync group
//! owe each other is in `group`.

mod group;
mod key;
mod slot;

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use evenkeel_schemas::scalars::{InterfaceName, Name, Vrid};
use evenkeel_schemas::time::MonoTime;

use crate::router::{Cause, Config, Dropped, Input, Output, Received, State, VirtualRouter, Why};

use crate::wall::WallClock;
use group::Group;
pub use key::{Family, RouterKey};
use slot::{Slot, Slots, Standing};

/// Most different unknown VRIDs that are counted one by one; there are 255 per segment and family.
const MAX_UNKNOWN: usize = 256;

/// Difference of the wall clock that routers are not told of: the clock is read beside another one, a moment
/// later, each turn. Windows have whole seconds.
const WALL_CLOCK_STEP: Duration = Duration::from_millis(1);

/// A virtual router as the host's plan has it.
#[derive(Debug, Clone)]
pub struct Member {
    /// Unique key of the router.
    pub key: RouterKey,
    /// Name of the router.
    pub name: Name,
    /// Sync group of the router: those of one group are Master together or not at all.
    pub group: Option<Name>,
    /// Configuration of the router.
    pub config: Config,
}

/// The virtual routers of a host.
///
/// As with one router: drain [`Election::poll_output`] after every input.
#[derive(Debug, Default, Clone)]
pub struct Election {
    slots: Slots,
    groups: Vec<Group>,
    /// Routers that are gone but have outputs left.
    leaving: VecDeque<(RouterKey, VirtualRouter)>,
    unknown: BTreeMap<(InterfaceName, u8), u64>,
    unknown_total: u64,
    wall: WallClock,
    /// The earliest deadline, as long as it is known: a driver asks for it several times between two inputs.
    earliest: Cell<Option<Option<(MonoTime, Why)>>>,
}

impl Election {
    /// An election without routers.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes `wanted` the routers of this host. A key that stays keeps its state and gets the new
    /// configuration live. One that goes is shut down: its outputs come out first, ahead of every
    /// other's. One that comes is in Initialize and wants [`Input::Startup`]. A change of version is
    /// a going and a coming. Of a key that is given twice the last counts.
    ///
    /// Nobody stops being Master because somebody comes into its sync group or leaves it, nor because
    /// the group gets another name or ends.
    pub fn configure(&mut self, wanted: Vec<Member>, now: MonoTime) {
        self.earliest.set(None);
        let mut wanted: BTreeMap<RouterKey, (Name, Option<Name>, Config)> = wanted
            .into_iter()
            .map(|Member { key, name, group, config }| (key, (name, group, config)))
            .collect();
        let groups: BTreeMap<RouterKey, Name> =
            wanted.iter().filter_map(|(key, (_, group, _))| Some((key.clone(), group.clone()?))).collect();
        let stays = |key: &RouterKey, slot: &mut Slot| {
            wanted.get(key).is_some_and(|(_, _, config)| {
                let running = slot.router.config();
                config.version == running.version && config.vrid == running.vrid
            })
        };
        let gone: Vec<_> = self.slots.map.extract_if(.., |key, slot| !stays(key, slot)).collect();
        for (key, mut slot) in gone {
            // No router is left here that would hear the new Master.
            slot.router.leave_at_once(Cause::Shutdown, true, now);
            self.leaving.push_back((key, slot.router));
        }
        self.slots.act_where(
            |_| true,
            |key, slot| {
                if let Some((name, _, config)) = wanted.remove(key) {
                    slot.name = name;
                    slot.router.handle(Input::Reconfigure(config), now);
                }
            },
        );
        let new = wanted
            .into_iter()
            .map(|(key, (name, _, config))| (key, Slot::new(name, VirtualRouter::new(config))));
        let wall = self.wall;
        self.slots.map.extend(new.map(|(key, mut slot)| {
            slot.router.set_wall_clock(wall);
            (key, slot)
        }));
        self.regroup(&groups, now);
    }

    /// Makes `wanted` the sync groups.
    fn regroup(&mut self, wanted: &BTreeMap<RouterKey, Name>, now: MonoTime) {
        let mut members: BTreeMap<&Name, Vec<RouterKey>> = BTreeMap::new();
        for (key, name) in wanted {
            members.entry(name).or_default().push(key.clone());
        }
        let groups = members.into_iter().map(|(name, members)| Group::new(name.clone(), members)).collect();
        let before = std::mem::replace(&mut self.groups, groups);
        for group in &mut self.groups {
            if let Some(before) = before.iter().find(|before| before.name == group.name) {
                group.inherit(before);
            }
        }
        for (key, slot) in &mut self.slots.map {
            let name = wanted.get(key);
            let old = slot.group.and_then(|index| before.get(index)).map(|group| &group.name);
            slot.counts &= old == name;
            slot.group = name.and_then(|name| self.groups.iter().position(|group| group.name == *name));
        }
        for group in &mut self.groups {
            group.align(&mut self.slots, now);
        }
        // Routers that waited for a group that they have left start by themselves.
        self.slots.act_where(
            |slot| slot.group.is_none() && slot.standing == Standing::Ready && slot.is(State::Initialize),
            |_, slot| slot.router.handle(Input::Startup, now),
        );
    }

    /// Sets the clock of trailers, before the inputs of a turn. No timer follows from it.
    pub fn set_wall_clock(&mut self, wall: WallClock) {
        if self.wall.difference(wall) < WALL_CLOCK_STEP {
            return;
        }
        self.wall = wall;
        for slot in self.slots.map.values_mut() {
            slot.router.set_wall_clock(wall);
        }
    }

    /// Hands an input to one router. Returns whether there is such a router.
    ///
    /// In a sync group [`Input::Startup`] says that this router has no obstacle; it takes part once no router
    /// of the group has one. Until then [`VirtualRouter::reason`] names the member that is waited for.
    /// Repeating it does no harm.
    pub fn handle(&mut self, key: &RouterKey, input: Input<'_>, now: MonoTime) -> bool {
        self.earliest.set(None);
        let Some(slot) = self.slots.map.get_mut(key) else { return false };
        match slot.group.and_then(|index| self.groups.get_mut(index)) {
            Some(group) => group.handle(&mut self.slots, key, input, now),
            None => {
                slot.observe(&input);
                self.slots.act(key, |router| router.handle(input, now));
            }
        }
        true
    }

    /// Gives a packet to the router of its VRID. A packet of no router of ours is counted; one too
    /// short for a VRID counts as VRID 0.
    pub fn handle_packet(&mut self, interface: &InterfaceName, received: Received<'_>, now: MonoTime) {
        let number = received.payload.get(1).copied().unwrap_or(0);
        if let Ok(vrid) = Vrid::new(number) {
            let key = RouterKey { interface: interface.clone(), family: Family::of(received.src), vrid };
            if self.handle(&key, Input::Packet(received), now) {
                return;
            }
        }
        self.unknown_total += 1;
        let room = self.unknown.len() < MAX_UNKNOWN;
        let key = (interface.clone(), number);
        if let Some(count) = self.unknown.get_mut(&key) {
            *count += 1;
        } else if room {
            self.unknown.insert(key, 1);
        }
    }

    /// [`Self::handle_timers`] for Masters only. Whoever drives an election does this first, then hands over
    /// the packets that wait, then comes to all timers: advertisements leave on time whatever was received,
    /// and no Backup claims because its Master's advertisement has not been read yet.
    pub fn handle_masters(&mut self, now: MonoTime) {
        self.earliest.set(None);
        let mut at_once = 0;
        let mut left = BTreeSet::new();
        self.slots.act_where(
            |slot| slot.is(State::Master) && slot.router.poll_timeout().is_some_and(|(at, _)| at <= now),
            |_, slot| {
                at_once += 1;
                left.extend(handle_timer(slot, now));
            },
        );
        self.align(&left, now);
        if at_once > BURST {
            self.spread(now);
        }
    }

    /// Brings these groups in line with a member that is Master no more.
    fn align(&mut self, groups: &BTreeSet<usize>, now: MonoTime) {
        for index in groups {
            if let Some(group) = self.groups.get_mut(*index) {
                group.align(&mut self.slots, now);
            }
        }
    }

    /// Routers that became Master together would advertise together for ever, the last of them late each
    /// time. Each gets a place in its interval, [`BURST`] of them the same one, by advertising early once.
    fn spread(&mut self, now: MonoTime) {
        let places = self.masters().div_ceil(BURST);
        let masters = self.slots.map.values_mut().filter(|slot| slot.is(State::Master));
        for (number, slot) in masters.enumerate() {
            slot.router.take_place(number / BURST, places, now);
        }
    }

    /// Gives [`Input::Timer`] to every router whose deadline has come. Backups of a sync group have one
    /// deadline together.
    pub fn handle_timers(&mut self, now: MonoTime) {
        self.earliest.set(None);
        let mut left = BTreeSet::new();
        self.slots.act_where(
            |slot| own_timeout(slot).is_some_and(|(at, _)| at <= now),
            |_, slot| left.extend(handle_timer(slot, now)),
        );
        self.align(&left, now);
        for group in &mut self.groups {
            group.timers(&mut self.slots, now);
        }
    }

    /// Shuts every router down: the daemon ends and gives the VIPs away. While [`Self::is_leaving`], Masters
    /// still serve.
    pub fn shutdown(&mut self, now: MonoTime) {
        self.earliest.set(None);
        self.slots.act_where(
            |_| true,
            |_, slot| {
                slot.observe(&Input::Shutdown);
                slot.router.handle(Input::Shutdown, now);
            },
        );
        for group in &mut self.groups {
            group.align(&mut self.slots, now);
        }
    }

    /// Shuts every router down without waiting for other Masters.
    pub fn shutdown_at_once(&mut self, now: MonoTime) {
        self.shutdown(now);
        self.slots.act_where(
            |slot| slot.is(State::Master),
            |_, slot| slot.router.leave_at_once(Cause::Shutdown, false, now),
        );
    }

    /// Whether a Master leaves: it serves until another one is heard.
    #[must_use]
    pub fn is_leaving(&self) -> bool {
        self.slots.map.values().any(|slot| slot.router.is_leaving())
    }

    /// The next thing to do and for which router; `None` when all is done. All outputs of a router
    /// that [`Election::configure`] removed come before any other's, so whoever keeps data beside the
    /// routers drains once before replacing it.
    pub fn poll_output(&mut self) -> Option<(RouterKey, Output)> {
        while let Some((key, router)) = self.leaving.front_mut() {
            if let Some(output) = router.poll_output() {
                return Some((key.clone(), output));
            }
            self.leaving.pop_front();
        }
        self.slots.poll_output()
    }

    /// The earliest deadline of all routers and sync groups, and what it is for.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(MonoTime, Why)> {
        let earliest = self.earliest.get().unwrap_or_else(|| self.find_earliest());
        debug_assert_eq!(earliest, self.find_earliest(), "what was known still holds");
        self.earliest.set(Some(earliest));
        earliest
    }

    fn find_earliest(&self) -> Option<(MonoTime, Why)> {
        let own = self.slots.map.values().filter_map(own_timeout).min();
        let groups = self.groups.iter().filter_map(|group| group.poll_timeout(&self.slots)).min();
        [own, groups].into_iter().flatten().min()
    }

    /// A router of this host.
    #[must_use]
    pub fn get(&self, key: &RouterKey) -> Option<(&Name, &VirtualRouter)> {
        self.slots.map.get(key).map(|slot| (&slot.name, &slot.router))
    }

    /// Every router, by key.
    pub fn iter(&self) -> impl Iterator<Item = (&RouterKey, &Name, &VirtualRouter)> {
        self.slots.map.iter().map(|(key, slot)| (key, &slot.name, &slot.router))
    }

    /// Notices that each router has left out, once a minute; see [`VirtualRouter::dropped_notices`].
    pub fn dropped_notices(&mut self, now: MonoTime) -> Vec<(RouterKey, Dropped)> {
        let slots = self.slots.map.iter_mut();
        slots.filter_map(|(key, slot)| Some((key.clone(), slot.router.dropped_notices(now)?))).collect()
    }

    /// Number of routers that are Master.
    #[must_use]
    pub fn masters(&self) -> usize {
        self.slots.map.values().filter(|slot| slot.router.state() == State::Master).count()
    }

    /// Packets of VRIDs that no router here has, by interface and VRID; the first 256 of them.
    pub fn unknown_vrids(&self) -> impl Iterator<Item = (&InterfaceName, u8, u64)> {
        self.unknown.iter().map(|((interface, vrid), count)| (interface, *vrid, *count))
    }

    /// Packets of VRIDs that no router here has.
    #[must_use]
    pub const fn unknown_total(&self) -> u64 {
        self.unknown_total
    }
}

/// Most Masters that advertise at the same moment for long.
const BURST: usize = 64;

/// Gives [`Input::Timer`] to a router. Returns its group if the router is Master no more.
fn handle_timer(slot: &mut Slot, now: MonoTime) -> Option<usize> {
    let was_master = slot.is(State::Master);
    slot.router.handle(Input::Timer, now);
    slot.group.filter(|_| was_master && !slot.is(State::Master))
}

/// The deadline of a router that is not its group's.
fn own_timeout(slot: &Slot) -> Option<(MonoTime, Why)> {
    if slot.group.is_some() && slot.is(State::Backup) { None } else { slot.router.poll_timeout() }
}
