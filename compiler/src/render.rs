//! Diagnostics, changes and results for those who read them. One file a format.

mod change;
mod escape;
mod github;
mod human;
mod json;
mod markdown;
mod mask;
mod sarif;
mod summary;
mod unified;

pub use change::{View, change, objects as change_objects, summary as change_summary};
pub use escape::plain;
pub use github::github;
pub use human::human;
pub use json::{json, report};
pub use markdown::{MARKER, markdown};
pub use mask::mask_all as masked;
pub use sarif::sarif;
pub use summary::{invalid, valid};
pub use unified::unified;
