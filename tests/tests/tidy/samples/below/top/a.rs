//! A sample for `tidy`.

use super::b::B;

pub struct A(B);
