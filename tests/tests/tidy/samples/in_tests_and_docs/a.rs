//! A sample for `tidy`.

//! Like [`crate::b::B`].

use crate::b::B;

/// See `crate::b`.
pub struct A(B);
