//! A sample for `tidy`.

mod a;

pub struct Root;
