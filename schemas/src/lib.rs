//! The contract: what people write, what a host obeys, what a host reports, what would change.
//!
//! Types, their ranges and their text forms live here. No I/O, no clock, no rule that needs two
//! fields of different objects: those belong to the compiler.

pub mod change;
pub mod cluster;
pub mod diff;
pub mod json;
pub mod plain;
pub mod plan;
pub mod report;
pub mod saved;
pub mod scalars;
pub mod seal;
pub mod status;
pub mod time;
