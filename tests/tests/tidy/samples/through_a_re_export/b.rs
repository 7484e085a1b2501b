//! A sample for `tidy`.

pub fn b(_: &crate::A) {}

pub struct B;
