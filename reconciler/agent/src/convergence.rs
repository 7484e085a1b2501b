//! Loop 2: the convergence thread around the crate `converge`. It alone changes IPVS, addresses, routes and settings, VIPs aside.
//!
//! `thread` says when a pass is made, `pass` makes one, `drift` and `drains` are parts of a pass, `events` tells the thread what the
//! kernel says has changed. What is wanted comes from the daemon; nothing here knows why.

pub(crate) mod drains;
pub(crate) mod drift;
pub(crate) mod events;
pub(crate) mod pass;
pub(crate) mod thread;
