//! The daemon's socket: the status document and the requests of operators.
//!
//! `server` speaks HTTP over the socket, `usage` completes the document with facts that only the kernel
//! knows. The head of the host makes the document itself. Nothing is decided here: requests are carried to
//! the daemon.

pub(crate) mod server;
pub(crate) mod usage;
