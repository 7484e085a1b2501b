//! A sample for `tidy`.

use super::{a::Outer, a as other};

pub struct Inner(Option<Box<Outer>>, other::Outer);
