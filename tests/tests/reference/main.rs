//! The reference cluster on a real kernel: what it must do, a test a promise.
//!
//! Each test is a guest of its own. How the cluster is set up is in the lab's `Reference`; limits on time are
//! the protocol's bounds plus what the issue allows.

mod changes;
mod cleanup;
mod disk;
mod drains;
mod drift;
mod failover;
mod flapping;
mod forwarding;
mod guard;
mod interop;
mod kernels;
mod leaving;
mod limits;
mod links;
mod logs;
mod maintenance;
mod monitoring;
mod own_fault;
mod ownership;
mod probation;
mod refusals;
mod restart;
mod services;
mod serving;
mod several_checks;
mod sharing;
mod signed;
mod sorry;
mod source;
mod support;
mod two_segments;
mod verdicts;
mod via_service;
