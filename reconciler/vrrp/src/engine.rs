//! All virtual routers of one host: who gets which input, and whose output and deadline is next.
//!
//! No protocol lives here: a packet's VRID is all that is looked at.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::net::IpAddr;

use evenkeel_schemas::scalars::{InterfaceName, Name, Vrid};
use evenkeel_schemas::time::MonoTime;

use crate::router::{Config, Input, Output, Received, State, VirtualRouter, Why};

/// Most different unknown VRIDs that are counted one by one; there are 255 per segment and family.
const MAX_UNKNOWN: usize = 256;

/// Address family of a virtual router.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// The family of an address.
    #[must_use]
    pub const fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}

/// What makes a virtual router unique on a host (RFC 9568 §5.2.3): its name may change.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouterKey {
    /// Interface of its advertisements.
    pub interface: InterfaceName,
    /// Address family.
    pub family: Family,
    /// Virtual router identifier.
    pub vrid: Vrid,
}

impl RouterKey {
    /// The key of a router with this configuration on `interface`.
    #[must_use]
    pub const fn new(interface: InterfaceName, config: &Config) -> Self {
        Self { interface, family: Family::of(config.source), vrid: config.vrid }
    }
}

impl fmt::Display for RouterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} VRID {}", self.interface, self.family, self.vrid)
    }
}

/// A virtual router as the host's plan has it.
#[derive(Debug, Clone)]
pub struct Member {
    /// What makes it unique.
    pub key: RouterKey,
    /// Its name.
    pub name: Name,
    /// Its sync group: those of one group are Master together or not at all.
    pub group: Option<Name>,
    /// Its configuration.
    pub config: Config,
}

#[derive(Debug)]
struct Slot {
    name: Name,
    router: VirtualRouter,
    /// Whether its key is in [`Election::ready`]; it need not stand there twice.
    queued: bool,
}

impl Slot {
    fn handle(&mut self, key: &RouterKey, input: Input<'_>, now: MonoTime, ready: &mut VecDeque<RouterKey>) {
        self.router.handle(input, now);
        if !self.queued {
            self.queued = true;
            ready.push_back(key.clone());
        }
    }
}

/// The virtual routers of a host.
///
/// As with one router: drain [`Election::poll_output`] after every input.
#[derive(Debug, Default)]
pub struct Election {
    routers: BTreeMap<RouterKey, Slot>,
    /// Routers that are gone but have outputs left.
    leaving: VecDeque<(RouterKey, VirtualRouter)>,
    /// Routers that may have outputs, in the order of their inputs. A key that is gone is skipped.
    ready: VecDeque<RouterKey>,
    unknown: BTreeMap<(InterfaceName, u8), u64>,
    unknown_total: u64,
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
    pub fn configure(&mut self, wanted: Vec<Member>, now: MonoTime) {
        let mut wanted: BTreeMap<RouterKey, (Name, Config)> =
            wanted.into_iter().map(|member| (member.key, (member.name, member.config))).collect();
        let stays = |key: &RouterKey, slot: &mut Slot| {
            wanted.get(key).is_some_and(|(_, config)| {
                let running = slot.router.config();
                config.version == running.version && config.vrid == running.vrid
            })
        };
        let gone: Vec<_> = self.routers.extract_if(.., |key, slot| !stays(key, slot)).collect();
        for (key, mut slot) in gone {
            slot.router.handle(Input::Shutdown, now);
            self.leaving.push_back((key, slot.router));
        }
        for (key, slot) in &mut self.routers {
            if let Some((name, config)) = wanted.remove(key) {
                slot.name = name;
                slot.handle(key, Input::Reconfigure(config), now, &mut self.ready);
            }
        }
        let new = wanted.into_iter().map(|(key, (name, config))| {
            (key, Slot { name, router: VirtualRouter::new(config), queued: false })
        });
        self.routers.extend(new);
    }

    /// Gives an input to one router. Returns whether there is such a router.
    pub fn handle(&mut self, key: &RouterKey, input: Input<'_>, now: MonoTime) -> bool {
        let Some(slot) = self.routers.get_mut(key) else { return false };
        slot.handle(key, input, now, &mut self.ready);
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

    /// Gives [`Input::Timer`] to every router whose deadline has come.
    pub fn handle_timers(&mut self, now: MonoTime) {
        for (key, slot) in &mut self.routers {
            if slot.router.poll_timeout().is_some_and(|(at, _)| at <= now) {
                slot.handle(key, Input::Timer, now, &mut self.ready);
            }
        }
    }

    /// Shuts every router down: the daemon ends and gives the VIPs away.
    pub fn shutdown(&mut self, now: MonoTime) {
        for (key, slot) in &mut self.routers {
            slot.handle(key, Input::Shutdown, now, &mut self.ready);
        }
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
        while let Some(key) = self.ready.front() {
            if let Some(slot) = self.routers.get_mut(key) {
                if let Some(output) = slot.router.poll_output() {
                    return Some((key.clone(), output));
                }
                slot.queued = false;
            }
            self.ready.pop_front();
        }
        None
    }

    /// The earliest deadline of all routers, and what it is for.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(MonoTime, Why)> {
        self.routers.values().filter_map(|slot| slot.router.poll_timeout()).min()
    }

    /// A router of this host.
    #[must_use]
    pub fn get(&self, key: &RouterKey) -> Option<(&Name, &VirtualRouter)> {
        self.routers.get(key).map(|slot| (&slot.name, &slot.router))
    }

    /// Every router, by key.
    pub fn iter(&self) -> impl Iterator<Item = (&RouterKey, &Name, &VirtualRouter)> {
        self.routers.iter().map(|(key, slot)| (key, &slot.name, &slot.router))
    }

    /// How many routers are Master.
    #[must_use]
    pub fn masters(&self) -> usize {
        self.routers.values().filter(|slot| slot.router.state() == State::Master).count()
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
