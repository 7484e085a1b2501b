//! A sample for `tidy`.

pub mod one;
pub mod two;
