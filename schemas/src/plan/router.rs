//! Virtual routers of a plan: one VRRP instance each, and what moves with it.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::is_false;
pub use crate::cluster::{AntiReplay, Checksum, HmacMode, Strangers, VirtualRule};
use crate::cluster::{is_default, is_true, yes};
use crate::scalars::{
    AddressLabel, AdvertInterval, Cidr, InterfaceName, Ip, Name, Priority, PriorityDrop, RouteTable, Span,
    TrackWeight, Vrid,
};

/// One VRRP instance on this host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Router {
    /// Name in the cluster file.
    pub name: Name,
    /// Interface for advertisements and VIPs.
    pub interface: InterfaceName,
    /// Source address of advertisements; its family is the router's. `::` is the link-local address of the
    /// interface, which only the host knows.
    pub source: Ip,
    /// 2 or 3.
    #[schemars(range(min = 2, max = 3))]
    pub version: u8,
    /// Virtual router identifier.
    pub vrid: Vrid,
    /// Priority of this host.
    pub priority: Priority,
    /// Time between advertisements.
    pub advert_interval: AdvertInterval,
    /// Whether to preempt a Master with a lower priority.
    pub preempt: bool,
    /// Time before a Master with a lower priority is preempted; absent: at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preempt_delay: Option<Span>,
    /// Time for which the daemon stays out of the election after its start; absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub startup_delay: Option<Span>,
    /// Advertise to each of these by unicast; absent: by multicast.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unicast: Option<Unicast>,
    /// Directors whose advertisements by multicast count; absent: everybody's do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directors: Option<Directors>,
    /// Checksum of sent version 3 advertisements over IPv4; absent: with a pseudo-header.
    #[serde(default, skip_serializing_if = "is_default")]
    pub checksum: Checksum,
    /// Authentication: a password with version 2, HMAC with both; absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<Auth>,
    /// Gratuitous ARP after becoming Master: how many at once, and again after `garp_delay`.
    #[schemars(range(min = 1, max = 100))]
    pub garp_repeat: u8,
    /// Time from becoming Master to the second burst of gratuitous ARP; `0s` is no second burst.
    pub garp_delay: Span,
    /// Time between bursts while Master; absent: none after the second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub garp_refresh: Option<Span>,
    /// Pause between two packets on one interface; absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub garp_interval: Option<Span>,
    /// VIPs are put on an interface of its own with the virtual MAC address of the VRID
    /// (RFC 9568 §7.3); absent: on `interface`, with its address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub virtual_mac: Option<VirtualMac>,
    /// Virtual routers of one name are Master together or not at all; absent: alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sync_group: Option<Name>,
    /// Trackers that change the priority, or keep the router out of the election.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub track: Vec<Track>,
    /// Amount by which the priority is lower while nothing behind the link to its real servers answers, and
    /// all did until then; absent: the priority stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own_fault_weight: Option<PriorityDrop>,
    /// Programs that run at changes.
    #[serde(default, skip_serializing_if = "is_default")]
    pub hooks: RouterHooks,
    /// Virtual addresses in the order of the advertisement, with the prefix they get on the interface.
    pub vips: Vec<Cidr>,
    /// Addresses that come and go with the VIPs and are not advertised.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unadvertised_vips: Vec<Cidr>,
    /// Addresses that are not simply put on `interface`, or on that of the virtual MAC address.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub vip_settings: Vec<VipSettings>,
    /// Routes that the Master has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<VirtualRoute>,
    /// Policy rules that the Master has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<VirtualRule>,
    /// Whether `evenkeel apply` and `compile` refuse to remove this virtual router. The host itself does not
    /// care.
    #[serde(default, skip_serializing_if = "is_false")]
    pub prevent_removal: bool,
}

/// Authentication of a router.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Auth {
    /// Simple text password (RFC 2338 §10.2).
    Pass {
        /// Place of the password on this host.
        secret: SecretReference,
    },
    /// A trailer with HMAC-SHA256 and a sequence behind each advertisement (draft-cassen-vrrp-auth-hmac).
    Hmac {
        /// Keys, whose numbers differ.
        #[schemars(length(min = 1))]
        keys: Vec<HmacKey>,
        /// Number of the key that is sent with.
        #[schemars(range(min = 1, max = 255))]
        active: u8,
        /// Whether trailers are sent and needed.
        mode: HmacMode,
        /// Protection against advertisements that were recorded.
        anti_replay: AntiReplay,
        /// With `time`: most that the clock of a sender may differ from ours, seconds.
        #[schemars(range(min = 1, max = 300))]
        window: u16,
    },
}

/// A key of HMAC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HmacKey {
    /// Number in the trailer.
    #[schemars(range(min = 1, max = 255))]
    pub id: u8,
    /// Place of the key on this host: 32 to 64 bytes as text, or `hex:` and hexadecimal digits.
    pub secret: SecretReference,
}

impl Auth {
    /// Every secret that it names.
    pub fn secrets(&self) -> impl Iterator<Item = &SecretReference> {
        let (one, keys): (_, &[HmacKey]) = match self {
            Self::Pass { secret } => (Some(secret), &[]),
            Self::Hmac { keys, .. } => (None, keys),
        };
        one.into_iter().chain(keys.iter().map(|key| &key.secret))
    }
}

/// Place of a secret on a host. Never the secret itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum SecretReference {
    /// Key in the secrets file that was compiled beside this plan.
    Compiled(Name),
    /// Absolute path of a file on this host.
    File(String),
    /// Name of a systemd credential.
    Credential(Name),
}

/// Advertisements by unicast.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Unicast {
    /// To whom, and from whom they are accepted: addresses of the other directors.
    pub peers: Vec<Ip>,
    /// TTL or hop limit of sent advertisements.
    #[schemars(range(min = 1, max = 255))]
    pub ttl: u8,
    /// Lowest TTL or hop limit of received ones.
    #[schemars(range(min = 1, max = 255))]
    pub min_ttl: u8,
}

/// The other directors of a router by multicast.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Directors {
    /// All addresses of the router's family that they have on the interfaces where they speak.
    pub addresses: Vec<Ip>,
    /// Number of directors that speak from a link-local address that only they know: so many are learnt from
    /// advertisements with a VIP of the router. Absent: none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unnamed: u8,
    /// Treatment of other sources; absent: those with exactly the router's VIPs count.
    #[serde(default, skip_serializing_if = "is_default")]
    pub strangers: Strangers,
}

/// A virtual MAC address: 00:00:5e:00:01:VRID, or 00:00:5e:00:02:VRID for IPv6 (RFC 9568 §7.3).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VirtualMac {
    /// Name of the macvlan interface that has it.
    pub interface: InterfaceName,
    /// Send advertisements from the host's own MAC address.
    pub advertise_from_base: bool,
}

/// Settings of one VIP on its interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VipSettings {
    /// The VIP, advertised or not.
    pub address: Ip,
    /// Interface of the VIP; absent: as the others'.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<InterfaceName>,
    /// Label of the VIP; absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<AddressLabel>,
}

/// Effect of a tracker on a virtual router.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Track {
    /// Name of the tracker.
    pub tracker: Name,
    /// Weight, added to the priority: a negative one while the tracker fails, a positive one while it
    /// succeeds. Absent: while the tracker fails the router takes no part in the election.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<TrackWeight>,
    /// Take success for failure and failure for success.
    #[serde(default, skip_serializing_if = "is_false")]
    pub reverse: bool,
}

/// A route that the Master has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VirtualRoute {
    /// Destination network.
    pub destination: Cidr,
    /// Gateway; absent: directly reachable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<Ip>,
    /// Output interface.
    pub interface: InterfaceName,
    /// Preferred source address; absent: the kernel's choice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Ip>,
    /// Routing table.
    pub table: RouteTable,
    /// Metric; 0 is the kernel's own choice, which is 1024 for IPv6.
    pub metric: u32,
}

/// Programs that run at changes of a virtual router or sync group: with their own arguments, then
/// `INSTANCE|GROUP NAME STATE PRIORITY` unless `state_arguments` is false.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RouterHooks {
    /// Became Master.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub master: Option<Hook>,
    /// Became Backup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup: Option<Hook>,
    /// Program that runs when the router can take no part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<Hook>,
    /// The daemon stops, or the router left the plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop: Option<Hook>,
    /// Any change, after the one above.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub any: Option<Hook>,
}

/// A program, run without a shell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Hook {
    /// Absolute path of the program, and its arguments.
    #[schemars(length(min = 1))]
    pub command: Vec<String>,
    /// User that it runs as. Absent: `evenkeel_script` if the host has that user, or else `nobody`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Longest run, after which the program is killed.
    pub timeout: Span,
    /// Whether `INSTANCE|GROUP NAME STATE PRIORITY` follow the arguments of `command`, or those of a service.
    /// Absent: true.
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub state_arguments: bool,
}

/// Virtual routers that are Master together or not at all: those that name it as their `sync_group`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SyncGroup {
    /// Name in the cluster file; of a virtual router with VIPs of both families, that of the router.
    pub name: Name,
    /// Programs that run at changes.
    #[serde(default, skip_serializing_if = "is_default")]
    pub hooks: RouterHooks,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
const fn is_zero(number: &u8) -> bool {
    *number == 0
}

impl Router {
    /// The virtual addresses without their prefixes, in the order of the advertisement.
    pub fn vip_addresses(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.vips.iter().map(|vip| vip.address())
    }
}
