//! A sample for `tidy`.

mod a;
mod b;

pub use a::A;
pub use b::{B, self as renamed};
