//! What the daemon serves on its socket: the status document and the requests of operators.
//!
//! `server` speaks HTTP over the socket, `usage` completes the document with what only the kernel knows. The document itself is made by
//! the head of the host. Nothing is decided here: requests are carried to the daemon.

pub(crate) mod server;
pub(crate) mod usage;
