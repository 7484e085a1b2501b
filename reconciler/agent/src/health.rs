//! Everything that is observed to judge health: `thread` is loop 3 around the crate `health`, `probe` makes
//! one probe, `lookout` watches the ways to targets, `trackers` watches the election's other conditions.
//!
//! The meaning of a finding is decided in the crate `health`.

mod held;
pub(crate) mod lookout;
pub(crate) mod probe;
pub(crate) mod thread;
pub(crate) mod trackers;
