//! A sample for `tidy`.

use crate::b::B;

pub struct A(B);
