//! A sample for `tidy`.

use crate::renamed::B;

pub struct A(B);
