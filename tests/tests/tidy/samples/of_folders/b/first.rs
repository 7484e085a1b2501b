//! A sample for `tidy`.

pub struct First;
