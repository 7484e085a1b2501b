//! Desired state against observed state, as ordered operations. Pure.
//!
//! ```text
//! plan + verdicts --desired--> Desired --+
//!                                        +--diff--> [Op] in phase order --kernel::apply--> observe again
//! kernel --observe--> KernelState -------+
//! ```
//!
//! What a host should look like ([`desired`]), what differs ([`diff()`]), in which order it is put right
//! ([`Phase`]), what others have changed ([`drift`]), what may go on for a while ([`drain`]), what this
//! kernel cannot have ([`lacking`]) and whose clients that costs ([`serving`]), what is ours ([`ledger`]) and
//! a kernel in memory for tests ([`memory`]). No I/O, no clock. There is one comparator: verifying is `diff`
//! of the new observation being empty.

pub mod desired;
pub mod diff;
pub mod drain;
pub mod drift;
pub mod lacking;
pub mod ledger;
pub mod memory;
pub mod model;
pub mod naming;
pub mod object;
pub mod op;
mod part;
pub mod paths;
pub mod serving;

pub use desired::{
    Desired, DrainRules, OtherRoles, Position, Row, Standing, View, desired, router_routes, router_rules,
    row, sync_daemons, vip_addresses,
};
pub use diff::{Diff, Domain, cleanup, diff, diff_kinds};
pub use drain::{Connections, Draining, Drains};
pub use drift::{Achieved, Cause, Judgement, Ruling};
pub use lacking::{Bars, Shortfall, shortfall};
pub use ledger::{Ledger, Origin};
pub use model::{
    Address, AddressKey, Destination, DestinationKey, Destinations, Encapsulation, Forward, GueChecksum,
    GuePort, KernelState, Kind, Link, LinkKind, Mark, Route, RouteKey, Rule, RuleKey, Service, ServiceKey,
    SyncDaemon, SyncRole, Timeouts, Tunnel, TunnelMode, Unwrap,
};
pub use object::ObjectKey;
pub use op::{Op, Phase};
pub use serving::{missing_services, unnamed, unserved};
