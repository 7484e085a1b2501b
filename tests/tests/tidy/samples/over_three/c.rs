//! A sample for `tidy`.

pub fn c(_: &crate::a::A) {}

pub struct C;
