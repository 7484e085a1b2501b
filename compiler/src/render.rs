//! Diagnostics and results for those who read them. One file a format.

mod human;
mod mask;
mod summary;

pub use human::human;
pub use summary::{invalid, valid};
