//! What the daemon serves on its socket: the status document and the requests of operators.
//!
//! `server` speaks HTTP over the socket, `status` renders the document. Neither decides anything: requests are carried to the daemon.

pub(crate) mod server;
pub(crate) mod status;
