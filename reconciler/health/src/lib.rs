//! When to check what, and what the results mean. Pure.
//!
//! ```text
//!             success                          success: failures = 0
//!        +---------------+                    +----+
//!        v               |                    v    |
//!   +---------+     +---------+  failure   +----------+
//!   |  Down   |     |         +----------->|    Up,   |  failures <= retries: try again
//!   | interval|     |   Up    |            | retrying |  after retry_delay
//!   +---------+     +---------+            +----------+
//!        ^                                      | failures > retries
//!        +--------------------------------------+
//! ```
//!
//! One schedule per distinct [`Check`]: a real server that several virtual servers check in the
//! same way is checked once. No sockets, no clock: the agent runs the probes. What the elections watch
//! besides is in [`tracker`].

pub mod board;
pub mod schedule;
pub mod tracker;

pub use board::{Board, Change, Report};
pub use schedule::{Outcome, Schedule, Verdict};
pub use tracker::{Finding, Trackers};

#[cfg(doc)]
use evenkeel_schemas::plan::Check;
