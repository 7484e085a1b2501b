//! Diagnostics and results for those who read them. One file a format.

mod github;
mod human;
mod json;
mod mask;
mod sarif;
mod summary;

pub use github::github;
pub use human::human;
pub use json::{json, report};
pub use mask::mask_all as masked;
pub use sarif::sarif;
pub use summary::{invalid, valid};
