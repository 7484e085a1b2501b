//! A sample for `tidy`.

mod inner;

pub struct A(inner::Inner, crate::Root);
