//! The daemon's socket: the status document and the requests of operators.
//!
//! `server` speaks HTTP over the socket, `requests` is its client in our own commands, `usage` completes the
//! document with facts that only the kernel knows. The head of the host makes the document itself. `metrics`
//! renders it for Prometheus, `scrapes` makes such pages when asked, `listener` serves them over TCP. Nothing
//! is decided here: requests are carried to the daemon.

pub(crate) mod asks;
pub(crate) mod listener;
pub(crate) mod metrics;
pub(crate) mod requests;
pub(crate) mod scrapes;
pub(crate) mod server;
pub(crate) mod usage;
