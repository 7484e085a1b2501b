//! A sample for `tidy`.

pub fn b(_: &crate::top::a::A) {}

pub struct B;
