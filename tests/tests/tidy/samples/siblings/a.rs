//! A sample for `tidy`.

use crate::b::Inner;

pub struct Outer(Inner);
