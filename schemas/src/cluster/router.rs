//! Virtual routers, their authentication, and sync groups.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Hook, is_default, is_false, is_true, yes};
use crate::scalars::{
    AddressLabel, AdvertInterval, Cidr, FirewallMark, InterfaceName, Ip, Name, Priority, PriorityDrop,
    RouteTable, Span, TrackWeight, Vrid,
};

/// A virtual router: virtual IPs that one of several directors holds (RFC 9568). With VIPs of both
/// families it is one VRRP instance per family, which move together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VirtualRouter {
    /// Virtual router identifier, unique on its segment among those of a family.
    pub vrid: Vrid,
    /// Virtual IP addresses. Each is put, and announced, on the director's interface of the VIP's own
    /// segment.
    #[schemars(length(min = 1))]
    pub vips: Vec<Ip>,
    /// Segment on which the directors advertise; it need not have a VIP. Absent: that of the first of `vips`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub segment: Option<String>,
    /// Further addresses that move along but are not advertised (keepalived: `virtual_ipaddress_excluded`).
    /// Absent: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unadvertised_vips: Vec<Ip>,
    /// Settings of VIPs on the interface, by VIP; those not named here get /32 or /128 on the director's
    /// interface of the segment. Absent: none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub vip_settings: BTreeMap<String, VipSettings>,
    /// Directors in order of preference: priorities 100, 90, 80, … unless `priorities` says otherwise.
    #[schemars(length(min = 1))]
    pub directors: Vec<String>,
    /// Priority by director, for all of them or none. The highest becomes Master; 255 is for the owner
    /// of the VIPs. Absent: by the order of `directors`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub priorities: BTreeMap<String, Priority>,
    /// Time between advertisements: multiples of 10ms up to 40950ms; whole seconds with version 2.
    #[serde(default = "default_advert_interval")]
    pub advert_interval: AdvertInterval,
    /// VRRP version on the wire: 3 (RFC 9568), or 2 (RFC 3768) to speak to routers that need it.
    #[serde(default = "default_vrrp_version")]
    #[schemars(range(min = 2, max = 3))]
    pub version: u8,
    /// Authentication; version 2 only. Absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<Auth>,
    /// Whether a director with a higher priority takes over from a Master with a lower one. Absent: yes.
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub preempt: bool,
    /// Time before a director preempts a Master with a lower priority. Absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preempt_delay: Option<Span>,
    /// Time for which a director that starts stays out of the election. Absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub startup_delay: Option<Span>,
    /// Advertise to each director by unicast. Absent: multicast (224.0.0.18, ff02::12).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unicast: Option<Unicast>,
    /// Treatment of advertisements by multicast whose source is no address of a director. By unicast none
    /// counts. Absent: `same_vips`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub strangers: Strangers,
    /// Checksum of version 3 advertisements over IPv4. Absent: `pseudo_header`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub checksum: Checksum,
    /// Use the virtual MAC address 00:00:5e:00:01:VRID on an interface of its own. Absent: the MAC
    /// address of the director, announced by gratuitous ARP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub virtual_mac: Option<VirtualMac>,
    /// Gratuitous ARP and unsolicited neighbour advertisements. Absent: 5 at once, and 5 more after 5s.
    #[serde(default, skip_serializing_if = "is_default")]
    pub garp: Garp,
    /// Trackers that lower or raise the priority, or take a director out of the election. Absent: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub track: Vec<Track>,
    /// Amount by which the priority of a director is lower while nothing behind its link to the real servers
    /// answers and all did until then: its own fault, more likely than theirs. 0 leaves it. Absent: so much
    /// that every director which hears them is preferred.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own_fault_weight: Option<PriorityDrop>,
    /// Routes that the Master has. Absent: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<VirtualRoute>,
    /// Policy rules that the Master has; those without `from` and `to` are for each family of the VIPs.
    /// Absent: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<VirtualRule>,
    /// Programs that run at changes; with VIPs of both families as of a sync group of the router's name, or
    /// in a sync group of the file as of the IPv4 instance. Absent: none.
    #[serde(default, skip_serializing_if = "is_default")]
    pub hooks: RouterHooks,
    /// Refuse plans in which this virtual router no longer appears. Absent: no.
    #[serde(default, skip_serializing_if = "is_false")]
    pub prevent_removal: bool,
}

/// Settings of a VIP on its interface.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VipSettings {
    /// Prefix length. Absent: 32, or 128.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 128))]
    pub prefix: Option<u8>,
    /// Interface on every director. Absent: the one on the VIP's segment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<InterfaceName>,
    /// Label, IPv4 only. Absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<AddressLabel>,
}

/// Authentication of advertisements.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Auth {
    /// A password of up to 8 bytes, readable by everyone on the segment (RFC 2338 §10.2).
    Pass {
        /// Source of the password.
        secret: SecretSource,
    },
    /// A trailer with HMAC-SHA256 and a sequence behind each advertisement, as keepalived 2.4 has it
    /// (`auth_hmac`, draft-cassen-vrrp-auth-hmac). For versions 2 and 3 and both families.
    Hmac {
        /// Keys by number, 1 to 255.
        #[schemars(length(min = 1))]
        keys: BTreeMap<String, KeySource>,
        /// Number of the key that is sent with.
        #[schemars(range(min = 1, max = 255))]
        active: u8,
        /// Whether trailers are sent and needed. Absent: `enforce`.
        #[serde(default, skip_serializing_if = "is_default")]
        mode: HmacMode,
        /// Protection against advertisements that were recorded. Absent: `time`.
        #[serde(default, skip_serializing_if = "is_default")]
        anti_replay: AntiReplay,
        /// With `time`: most that the clocks of two directors may differ, whole seconds up to 5 minutes.
        /// Absent: 3 advertisement intervals, at least 5 s.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        window: Option<Span>,
    },
}

/// Source of a key: 32 to 64 bytes as text, or `hex:` and hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum KeySource {
    /// Absolute path of a file on each director; a newline at its end does not count.
    File(String),
    /// Name of a systemd credential of the daemon's unit (`LoadCredential=`).
    Credential(Name),
}

/// Whether trailers are sent and needed. One that is received must be right in each mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HmacMode {
    /// None is sent.
    ReceiveOnly,
    /// Each advertisement is sent with one, and one without is accepted.
    Permissive,
    /// Each advertisement is sent with one, and one without is rejected.
    #[default]
    Enforce,
}

/// Protection against advertisements that were recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AntiReplay {
    /// The sequence of a sender grows, and its time is ours within the window.
    #[default]
    Time,
    /// The sequence of a sender grows.
    Monotonic,
}

/// Source of a secret.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum SecretSource {
    /// Written here, so it is in version control. Compiled into a file beside the plan, never into it.
    Literal(String),
    /// Absolute path of a file on each director; a newline at its end does not count.
    File(String),
    /// Name of a systemd credential of the daemon's unit (`LoadCredential=`).
    Credential(Name),
}

impl std::fmt::Debug for SecretSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Literal(_) => f.write_str("Literal(…)"),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Credential(name) => f.debug_tuple("Credential").field(name).finish(),
        }
    }
}

/// Advertisements by unicast.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Unicast {
    /// Peers of each director, by director. Absent: all others, which is nearly always right.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub peers: BTreeMap<String, Vec<String>>,
    /// TTL or hop limit of sent advertisements. Absent: 255.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 255))]
    pub ttl: Option<u8>,
    /// Lowest TTL or hop limit of received ones. Absent: 255, so that nothing is accepted that was routed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 255))]
    pub min_ttl: Option<u8>,
}

/// Treatment of advertisements from a source that is no address of a director.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Strangers {
    /// Those with exactly the same VIPs count, with a warning: the address of a director is probably written
    /// wrongly, and two Masters would be worse. Others change nothing.
    #[default]
    SameVips,
    /// None.
    Reject,
    /// All, as with keepalived: whoever is on the segment can take the VIPs away.
    Accept,
}

/// Checksum of version 3 advertisements over IPv4. Both kinds are accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Checksum {
    /// With a pseudo-header (RFC 5798), as keepalived sends it.
    #[default]
    PseudoHeader,
    /// Over the VRRP message alone (RFC 9568), as some routers expect it.
    MessageOnly,
}

/// A virtual MAC address.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VirtualMac {
    /// Name of the macvlan interface; with VIPs of both families that of IPv6 has a 6 added. Absent:
    /// `vrrp.VRID`, and `vrrp6.VRID` for IPv6.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<InterfaceName>,
    /// Send advertisements from the director's own MAC address. Absent: no.
    #[serde(default, skip_serializing_if = "is_false")]
    pub advertise_from_base: bool,
}

/// Gratuitous ARP and unsolicited neighbour advertisements.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Garp {
    /// Number of packets each time: the first at once, the others 20 ms later.
    #[serde(default = "default_garp_repeat")]
    #[schemars(range(min = 1, max = 100))]
    pub repeat: u8,
    /// Time from becoming Master to the second burst; `0s` is no second burst.
    #[serde(default = "default_garp_delay")]
    pub delay: Span,
    /// Time between bursts while Master. Absent: none after the second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh: Option<Span>,
    /// Pause between two packets on one interface, for switches that drop bursts. Absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<Span>,
}

impl Default for Garp {
    fn default() -> Self {
        Self { repeat: default_garp_repeat(), delay: default_garp_delay(), refresh: None, interval: None }
    }
}

/// Effect of a tracker on a virtual router.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Track {
    /// Name of the tracker.
    pub tracker: String,
    /// Added to the priority: a negative one while it fails, a positive one while it succeeds.
    /// Absent: while it fails the director takes no part in the election.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<TrackWeight>,
    /// Take success for failure and failure for success. Absent: no.
    #[serde(default, skip_serializing_if = "is_false")]
    pub reverse: bool,
}

/// A route that the Master has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VirtualRoute {
    /// Destination network.
    pub destination: Cidr,
    /// Gateway. Absent: directly reachable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<Ip>,
    /// Output interface. Absent: the director's on the VIPs' segment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<InterfaceName>,
    /// Preferred source address. Absent: the kernel's choice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Ip>,
    /// Routing table. Absent: 254, `main`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<RouteTable>,
    /// Metric: the lowest wins. Absent: 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<u32>,
}

/// A policy rule that the Master has (`ip rule`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VirtualRule {
    /// Number of the rule: the lowest comes first.
    #[schemars(range(min = 1, max = 32765))]
    pub preference: u32,
    /// Routing table that it leads to.
    pub table: RouteTable,
    /// Source network. Absent: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Cidr>,
    /// Destination network. Absent: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Cidr>,
    /// Input interface. Absent: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_interface: Option<InterfaceName>,
    /// Firewall mark. Absent: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub firewall_mark: Option<FirewallMark>,
}

/// Programs that run at changes of a virtual router or sync group. Each is called with the arguments that are
/// written, then `INSTANCE|GROUP NAME STATE PRIORITY` unless `state_arguments = false`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RouterHooks {
    /// Became Master. Absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub master: Option<Hook>,
    /// Became Backup. Absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup: Option<Hook>,
    /// A tracker or the interface failed. Absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<Hook>,
    /// The daemon stops, or the router left the plan. Absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop: Option<Hook>,
    /// Any change, after the one above. Absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub any: Option<Hook>,
}

/// Virtual routers that are Master together or not at all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SyncGroup {
    /// The virtual routers, all with the same directors.
    #[schemars(length(min = 2))]
    pub virtual_routers: Vec<String>,
    /// Trackers of all members, beside their own. Absent: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub track: Vec<Track>,
    /// Programs that run at changes. Absent: none.
    #[serde(default, skip_serializing_if = "is_default")]
    pub hooks: RouterHooks,
}

fn default_advert_interval() -> AdvertInterval {
    AdvertInterval::ONE_SECOND
}

const fn default_vrrp_version() -> u8 {
    3
}

/// keepalived's number.
const fn default_garp_repeat() -> u8 {
    5
}

/// keepalived's number.
const fn default_garp_delay() -> Span {
    Span::from_secs(5)
}
