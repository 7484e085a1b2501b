//! `evenkeeld`, the daemon on each director and real server.
//!
//! The only crate of the reconciler with a runtime, threads, sockets and files (the kernel crate aside).
//! Decisions are made in the pure crates; this crate carries inputs to them and outputs from them. Each
//! module below is a wing with one subject; its own comment says what lives there.

mod api;
mod cli;
mod convergence;
mod daemon;
mod election;
mod guard;
mod health;
mod programs;
mod source;
mod state;
mod system;

pub use cli::{command, main};
pub use guard::main as guardian;
pub use programs::run::main as run_program;
pub use source::read::main as read_plan;
