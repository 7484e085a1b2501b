//! Loop 2: the convergence thread around the crate `converge`. It alone changes IPVS, addresses, routes and
//! settings, VIPs aside.
//!
//! `thread` decides when a pass is made, `goal` what it has to observe, `pass` makes one, `drift` and
//! `drains` are parts of a pass, `events` forwards the kernel's events to the thread. The wanted state comes
//! from the daemon; nothing here knows its reasons.

pub(crate) mod drains;
pub(crate) mod drift;
pub(crate) mod events;
mod goal;
pub(crate) mod pass;
pub(crate) mod thread;
