//! A sample for `tidy`.

pub mod first;
pub mod second;
