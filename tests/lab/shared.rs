//! Things that all hosts of a lab share: its clock, its directories, and the bridges between them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Instant;

use crate::check::Expected;
use crate::journal::lock;
use crate::netlink::{Netlink, new_bridge};

/// Things that all hosts of a lab share.
pub(crate) struct Shared {
    pub(crate) started: Instant,
    pub(crate) scratch: PathBuf,
    pub(crate) artefacts: PathBuf,
    /// A route socket in the root namespace.
    pub(crate) netlink: Mutex<Netlink>,
    /// Bridges by name, with their index.
    pub(crate) segments: Mutex<BTreeMap<String, u32>>,
    /// How many cables there are: their MAC addresses are numbered.
    pub(crate) cables: Mutex<u16>,
}

impl Shared {
    /// The bridge's index; made when it does not exist.
    pub(crate) fn segment(&self, name: &str) -> u32 {
        let mut segments = lock(&self.segments);
        if let Some(index) = segments.get(name) {
            return *index;
        }
        let mut netlink = lock(&self.netlink);
        netlink.transact(vec![new_bridge(name)]).or_fail(format_args!("bridge {name}"));
        let index = netlink.link(name);
        segments.insert(name.to_owned(), index);
        index
    }
}
