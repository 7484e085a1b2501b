//! This process and its host: files and their trusted owners, sockets for root only, scheduling, signals,
//! memory, logging.
//!
//! Nothing here knows of plans, routers or services.

pub(crate) mod claim;
pub(crate) mod descriptors;
pub(crate) mod files;
pub(crate) mod helpers;
pub(crate) mod logging;
pub(crate) mod memory;
pub(crate) mod moment;
pub(crate) mod out;
pub(crate) mod private_socket;
pub(crate) mod scheduling;
pub(crate) mod signals;
pub(crate) mod times;
