//! `evenkeeld`, the daemon on each director and real server.
//!
//! The only place of the reconciler with a runtime, threads, sockets and files (the kernel crate
//! aside). Decisions are made in the pure crates; here inputs are carried to them and outputs from
//! them:
//!
//! - `daemon`: the main loop, `source`, `plan_file`, `drift`, `probe`, `lookout` that feed it, `verdicts`, `subjects` and
//!   `handover` that work for it;
//! - `election`: the election thread; `guard`: the process that outlives a dead daemon;
//! - `converger`: the convergence thread, `convergence` one pass of it, `drifting` what others have changed,
//!   `draining` its drains, `drift_history` what of it is told; `state`: the files it keeps, `state::disk` who writes them; `probation`:
//!   plans that are taken back unless confirmed;
//! - `trackers`: what the election watches besides; `hooks`: programs that are told of its changes,
//!   `run_program` runs both kinds, `programs` knows where our own are; `orders`: what operators tell it;
//! - `files`: what others put there, and whom it is taken from; `descriptors`: how many may be open;
//! - `drain_orders`: what operators told to drain; `maintenance`: what a plan gives away that says so;
//! - `in_the_way`: what of others gets in the plan's way; `private_socket`: sockets for root only;
//! - `line_limit`: how many lines others can cause;
//! - `report`, `server`: status and orders by a socket; `once`: commands without the daemon, `control`: those
//!   that give it orders; `cli`: the command line, `out` what it prints; `claim`: one daemon a
//!   network namespace;
//! - `logging`: what daemons have to say, for which nothing waits.

mod claim;
mod cli;
mod control;
mod convergence;
mod converger;
mod daemon;
mod descriptors;
mod difference;
mod drain_orders;
mod draining;
mod drift;
mod drift_history;
mod drifting;
mod election;
mod files;
mod guard;
mod handover;
mod hooks;
mod in_the_way;
mod line_limit;
mod logging;
mod lookout;
mod maintenance;
mod memory;
mod once;
mod orders;
mod out;
mod plan_file;
mod private_socket;
mod probation;
mod probe;
mod programs;
mod report;
mod run_program;
mod scheduling;
mod server;
mod source;
mod state;
mod stop_signals;
mod subjects;
mod times;
mod trackers;
mod verdicts;

pub use cli::main;
pub use guard::main as guardian;
pub use plan_file::main as read_plan;
pub use run_program::main as run_program;
