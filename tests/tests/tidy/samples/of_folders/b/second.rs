//! A sample for `tidy`.

pub struct Second(crate::a::two::Two);
