//! Hooks: programs of the plan that are notified of changes of virtual routers and sync groups.
//!
//! `states` says which change is one, `line` what waits and how fast it goes.

pub mod line;
pub mod states;
