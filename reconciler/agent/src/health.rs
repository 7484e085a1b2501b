//! What is looked at to judge health: probes of real servers, trackers, and the ways to both.
//!
//! What a finding means is decided in the crate `health`.

pub(crate) mod lookout;
pub(crate) mod probe;
pub(crate) mod prober;
pub(crate) mod trackers;
