//! The lab: a throwaway Linux kernel with real IPVS in which an ordinary `#[test]` runs, with hosts as
//! network namespaces.
//!
//! ```no_run
//! #[test]
//! fn two_hosts_see_each_other() {
//!     lab::guest(|lab| {
//!         let one = lab.host("one", "10.0.0.1/24");
//!         let _two = lab.host("two", "10.0.0.2/24");
//!         one.run(["ping", "-c1", "-W1", "10.0.0.2"]);
//!     });
//! }
//! # fn main() {}
//! ```
//!
//! The kernel is User-Mode Linux: an ordinary process, no root needed, booted in about a second. The host's
//! files are the guest's root, read-only, so the programs just built run in it as they are. Everything in the
//! guest is gone afterwards.
//!
//! Code here observes with its own eyes: its netlink, VRRP and IPVS decoders share nothing with the
//! reconciler's, so that both cannot be wrong in the same way. No production crate may depend on this one.

mod announce;
mod capture;
mod check;
mod cluster;
mod datagram;
mod event;
mod figures;
mod forge;
mod guest;
mod here;
mod init;
mod ipvs;
mod ipvs_exact;
mod journal;
mod line;
mod monitor;
mod net;
mod netlink;
mod nlmon;
mod pair;
mod plans;
mod probe;
mod process;
mod pulse;
mod reference;
mod shared;
mod state_disk;
mod story;
mod strange;
mod time;
#[cfg(target_arch = "x86_64")]
mod trap;
mod uml;
mod verdict;
mod vrrp;
mod watch;
mod web;

pub use announce::{Announcement, Announcements};
pub use cluster::{Cluster, Lab};
pub use datagram::{Answerer, Asker};
pub use event::{LogEvent, SENTENCES, Sentence};
pub use figures::Figures;
pub use forge::{Flood, Forged};
pub use guest::{attempt, guest, guest_with, run_main};
pub use here::run_here;
pub use ipvs::{IpvsDestination, IpvsService};
pub use journal::Record;
pub use line::{Line, Wanted};
pub use monitor::{Action, Event, Monitor, Subject};
pub use net::Host;
pub use netlink::Address;
pub use nlmon::{NetlinkCapture, NetlinkRequest};
pub use pair::{Kind, Pair, Router};
pub use plans::{Plans, rejected};
pub use probe::{Download, Prober, Sample};
pub use process::{Daemon, Output};
pub use pulse::Pulse;
pub use reference::{CLUSTER_FILE, Daemons, Reference};
pub use state_disk::{StateDisk, Trouble};
pub use story::{is_outside, run_story, words};
pub use strange::{Kinds, Victim};
pub use time::{Mark, eventually, mark};
#[cfg(target_arch = "x86_64")]
pub use trap::{Operation, Trap};
pub use verdict::{Ended, Failure, Options};
pub use vrrp::{Advert, VrrpCapture};
pub use watch::VipWatch;
pub use web::WebServer;
