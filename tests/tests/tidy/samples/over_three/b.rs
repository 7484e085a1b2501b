//! A sample for `tidy`.

use crate::c::C;

pub struct B(C);
