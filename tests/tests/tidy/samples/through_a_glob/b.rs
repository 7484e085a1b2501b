//! A sample for `tidy`.

use crate::a::A;

pub fn b(_: &A) {}

pub struct B;
