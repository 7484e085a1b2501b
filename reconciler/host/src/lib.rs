//! The head of a host, pure: which plan is in force, on probation or refused; what operators ordered; who is
//! Master; what each verdict
//! means; and what follows from all that.
//!
//! No sockets, no files, no clock: the agent carries inputs and outputs.

mod beat;
mod contradictions;
mod facts;
mod filling;
mod handover;
mod history;
mod host;
mod numbers;
mod quorum;
mod service;
mod subjects;
mod units;

pub mod election;
pub mod event;
pub mod hooks;
pub mod io;
pub mod line_limit;
pub mod loaded;
pub mod maintenance;
pub mod moment;
pub mod orders;
pub mod pass;
pub mod probation;
pub mod recall;
mod router_checks;
pub mod routers;
pub mod verdicts;

pub use contradictions::first as first_contradiction;
pub use history::text as drift_text;
pub use host::{Host, Process, Questions, Start, Why, counts};
pub use io::{Input, Output};
pub use moment::Moment;
