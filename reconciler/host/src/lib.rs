//! The head of a host, pure: which plan is in force, on probation or refused; what operators ordered; who is Master; what each verdict
//! means; and what follows from all that.
//!
//! No sockets, no files, no clock: the agent carries inputs and outputs.

pub mod contradictions;
pub mod election;
pub mod handover;
pub mod history;
pub mod hooks;
pub mod line_limit;
pub mod loaded;
pub mod maintenance;
pub mod orders;
pub mod pass;
pub mod probation;
pub mod recall;
pub mod routers;
pub mod subjects;
pub mod verdicts;
