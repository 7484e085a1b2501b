//! A sample for `tidy`.

use super::*;

pub struct A(B);
