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
//! `checker` is the whole as one machine. One schedule per distinct [`Check`]: a real server that several
//! virtual servers check in the same way is checked once. A probe that failed while the way to its target was
//! gone on this host says nothing ([`way`]), and is told of once ([`silence`]). Until checks have spoken
//! their routers do not take over from a living Master ([`gate`]). No sockets, no clock: the agent runs the
//! probes. What the elections watch besides is in [`tracker`].

pub mod ailment;
pub mod ask;
pub mod board;
pub mod checker;
pub mod fault;
pub mod gate;
pub mod own_fault;
pub mod places;
pub mod schedule;
pub mod silence;
pub mod state;
pub mod tracker;
pub mod way;

pub use ailment::Ailment;
pub use board::{Board, Change};
pub use checker::{CheckNews, CheckState, Checker, Reports, WayNews};
pub use fault::{Fault, Says, Share};
pub use gate::Gates;
pub use places::{Capacity, Load};
pub use schedule::Schedule;
pub use silence::Silences;
pub use state::{CheckId, Heard, Outcome, Reach, Report, Verdict};
pub use tracker::{Finding, Trackers};
pub use way::{Found, Ways};

pub use evenkeel_schemas::status::FaultLabel;

#[cfg(doc)]
use evenkeel_schemas::plan::Check;
