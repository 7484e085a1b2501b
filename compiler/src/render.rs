//! Diagnostics, changes and results for those who read them. One file a format.

mod change;
mod human;
mod markdown;
mod mask;
mod summary;
mod unified;

pub use change::{change, summary as change_summary};
pub use human::human;
pub use markdown::{MARKER, markdown};
pub use summary::{invalid, valid};
pub use unified::unified;
