//! A virtual router of a plan with everything that the election needs to know of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use evenkeel_converge::{
    Address, AddressKey, Route, RouteKey, Rule, RuleKey, ServiceKey, router_routes, router_rules,
    vip_addresses,
};
use evenkeel_schemas::plan::{self, Router, Track};
use evenkeel_schemas::scalars::{InterfaceName, Ip, Name, PriorityDrop, Span};
use evenkeel_vrrp::{
    AntiReplay, Checksum, Config, Delivery, Directors, Hmac, HmacKey, HmacMode, RouterKey, Strangers, TTL,
    Version,
};

use crate::loaded::RouterSecret;

/// A virtual router as the plan has it. The election adds the effects of trackers, orders and the interface
/// while it runs.
#[derive(Debug, Clone)]
pub struct RouterSetup {
    /// Interface, address family and VRID.
    pub key: RouterKey,
    /// Name of its lease.
    pub lease: String,
    /// Name of the router in the plan.
    pub name: Name,
    /// Sync group of the router.
    pub group: Option<Name>,
    /// Configuration for the election.
    pub config: Config,
    /// Interface that its advertisements leave through.
    pub via: InterfaceName,
    /// Interface of its virtual MAC address, if it has one.
    pub virtual_mac: Option<InterfaceName>,
    /// VIPs of the router, which it has while it is Master.
    pub vips: Arc<BTreeMap<AddressKey, Address>>,
    /// VIPs that are addresses of the host itself, which the router owns: announced, but never added or
    /// removed.
    pub owned: BTreeSet<AddressKey>,
    /// Routes of the router, which it has while it is Master.
    pub routes: BTreeMap<RouteKey, Route>,
    /// Policy rules of the router, which it has while it is Master.
    pub rules: BTreeMap<RuleKey, Rule>,
    /// Trackers that change its priority or keep it out.
    pub track: Vec<Track>,
    /// Amount by which its priority is lower while this director's own link is at fault.
    pub own_fault_weight: Option<PriorityDrop>,
    /// Time after the start during which it stays out.
    pub startup_delay: Duration,
    /// Pause between two announcements on one interface.
    pub garp_pause: Duration,
    /// Whether something beside its VIPs follows its state, so that the host is notified at once.
    pub followed: bool,
    /// Virtual services that this host has only as Master of the router.
    pub bound: Vec<ServiceKey>,
}

/// Directors that may speak on the VRID; none: everybody.
fn directors(directors: &plan::Directors) -> Option<Directors> {
    let strangers = match directors.strangers {
        plan::Strangers::SameVips => Strangers::SameVips,
        plan::Strangers::Reject => Strangers::Reject,
        plan::Strangers::Accept => return None,
    };
    let addresses = directors.addresses.iter().map(|address| address.0).collect();
    Some(Directors { addresses, unnamed: directors.unnamed.into(), strangers })
}

/// HMAC as the plan has it, with its keys.
fn hmac(auth: &plan::Auth, keys: &BTreeMap<u8, HmacKey>) -> Option<Hmac> {
    match *auth {
        plan::Auth::Pass { .. } => None,
        plan::Auth::Hmac { active, mode, anti_replay, window, .. } => Some(Hmac {
            keys: keys.clone(),
            active,
            mode: match mode {
                plan::HmacMode::ReceiveOnly => HmacMode::ReceiveOnly,
                plan::HmacMode::Permissive => HmacMode::Permissive,
                plan::HmacMode::Enforce => HmacMode::Enforce,
            },
            anti_replay: match anti_replay {
                plan::AntiReplay::Time => AntiReplay::Time { window },
                plan::AntiReplay::Monotonic => AntiReplay::Monotonic,
            },
        }),
    }
}

impl RouterSetup {
    /// Whether routes or rules move with the VIPs.
    pub fn moves_more(&self) -> bool {
        !self.routes.is_empty() || !self.rules.is_empty()
    }

    /// The setup of a router of a plan, for a host with these addresses of its own; `followed` as the field
    /// of that name. None for a version that the schema does not let through.
    pub fn new(router: &Router, host: &[Ip], secret: Option<&RouterSecret>, followed: bool) -> Option<Self> {
        let time = |span: Option<Span>| span.map_or(Duration::ZERO, Span::as_duration);
        let config = Config {
            version: Version::from_number(router.version)?,
            vrid: router.vrid,
            priority: router.priority,
            interval: router.advert_interval,
            preempt: router.preempt,
            preempt_delay: time(router.preempt_delay),
            unready: false,
            delivery: router.unicast.as_ref().map_or(Delivery::Multicast, |unicast| Delivery::Unicast {
                peers: unicast.peers.iter().map(|peer| peer.0).collect(),
                ttl: unicast.ttl,
                min_ttl: unicast.min_ttl,
            }),
            directors: router.directors.as_ref().and_then(directors),
            auth: match secret {
                Some(RouterSecret::Password(password)) => Some(*password),
                Some(RouterSecret::Keys(_)) | None => None,
            },
            hmac: match (&router.auth, secret) {
                (Some(auth), Some(RouterSecret::Keys(keys))) => hmac(auth, keys).map(Arc::new),
                (_, _) => None,
            },
            source: router.source.0,
            vips: router.vip_addresses().collect(),
            garp_repeat: router.garp_repeat,
            garp_delay: router.garp_delay.as_duration(),
            garp_refresh: router.garp_refresh.map(Span::as_duration),
            checksum: match router.checksum {
                plan::Checksum::PseudoHeader => Checksum::WithPseudoHeader,
                plan::Checksum::MessageOnly => Checksum::Without,
            },
        };
        let mut vips = vip_addresses(router);
        let owned = vips.extract_if(.., |vip, _| host.contains(&Ip(vip.address.address())));
        let owned = owned.map(|(vip, _)| vip).collect();
        let apart = router.virtual_mac.as_ref().filter(|virtual_mac| !virtual_mac.advertise_from_base);
        let key = RouterKey::new(router.interface.clone(), &config);
        Some(Self {
            lease: key.to_string(),
            key,
            name: router.name.clone(),
            group: router.sync_group.clone(),
            config,
            via: apart.map_or(&router.interface, |virtual_mac| &virtual_mac.interface).clone(),
            virtual_mac: router.virtual_mac.as_ref().map(|virtual_mac| virtual_mac.interface.clone()),
            vips: Arc::new(vips),
            owned,
            routes: router_routes(router),
            rules: router_rules(router),
            track: router.track.clone(),
            own_fault_weight: router.own_fault_weight,
            startup_delay: time(router.startup_delay),
            garp_pause: time(router.garp_interval),
            followed,
            bound: Vec::new(),
        })
    }

    /// VIPs that the router may hold as Master. Before the election has started these are only the VIPs of
    /// the lease by which it is Master (`limit`), since nothing else is known to be served.
    pub fn own_vips(
        &self,
        limit: Option<&BTreeSet<AddressKey>>,
    ) -> impl Iterator<Item = (&AddressKey, &Address)> {
        self.vips.iter().filter(move |(vip, _)| limit.is_none_or(|limit| limit.contains(*vip)))
    }

    /// TTL or hop limit of its advertisements.
    pub const fn ttl(&self) -> u8 {
        match self.config.delivery {
            Delivery::Multicast => TTL,
            Delivery::Unicast { ttl, .. } => ttl,
        }
    }
}
