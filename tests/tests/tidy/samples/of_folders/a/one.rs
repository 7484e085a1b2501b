//! A sample for `tidy`.

use crate::b::first::First;

pub struct One(First);
