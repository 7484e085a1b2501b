//! The words between a host and whoever watches the ways to its targets.

use std::collections::BTreeMap;
use std::net::IpAddr;

use evenkeel_health::way::{Link, Route};

/// What was found of the ways to targets.
#[derive(Debug, Clone)]
pub enum WayNews {
    /// These are all interfaces, by index.
    Links(BTreeMap<u32, Link>),
    /// An interface came, changed or went.
    Link(u32, Link),
    /// The routes to some targets.
    Routes(Vec<(IpAddr, Route)>),
}
